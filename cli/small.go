package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"dray/fault"
	"dray/mirror"
	"dray/remote"
)

// A target is a place on a server that a command was given.
type target struct {
	u    remote.URL
	tree remote.Tree
}

// targets reads URLs. Those of one account share a tree.
func (c *client) targets(verb string, args []string) ([]target, error) {
	var out []target
	trees := map[string]remote.Tree{}
	for _, arg := range args {
		if local(arg) {
			return nil, usagef("%s is no URL\n      %s works on a server: dray %[2]s sftp://host/%s, or dray %[2]s host:%[1]s", arg, verb, strings.TrimLeft(arg, "./"))
		}
		u, err := c.parse(arg)
		if err != nil {
			return nil, err
		}
		key := account1(u)
		if trees[key] == nil {
			if trees[key], err = c.open(u); err != nil {
				return nil, err
			}
		}
		out = append(out, target{u, trees[key]})
	}
	return out, nil
}

// wantsURLs is the Args of a command that takes at least n URLs.
func wantsURLs(n int, example string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < n {
			return usagef("%s needs a URL\n      for example: %s", cmd.Name(), example)
		}
		return nil
	}
}

// each does something with every target, goes on after a failure, and ends with the
// status that the failures share.
func (c *client) each(ctx context.Context, targets []target, do func(t target) error) error {
	failures := failures{c: c}
	for _, t := range targets {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := do(t); err != nil {
			failures.add(t.u.String(), err)
			if mirror.Fatal(err) {
				break
			}
		}
	}
	return failures.end()
}

// failures collects what went wrong, each told as it comes.
type failures struct {
	c      *client
	status int
	n      int
	told   map[fault.ID]error
	order  []fault.ID
}

// add tells a failure; where is what it was about.
func (f *failures) add(where string, err error) {
	err = atURL(err, where)
	if f.c.asJSONL {
		f.c.jsonLine(wireEvent{V: 1, T: stamp(), Event: "error", From: where, Error: wire(err)})
	}
	line := headline(err)
	if where != "" && !strings.Contains(line, clean(where)) {
		line = clean(where) + ": " + line
	}
	fmt.Fprintln(f.c.show, "dray: "+line)
	one := exitOf(err)
	if f.n == 0 {
		f.status = one
	} else if f.status != one {
		f.status = exitFailed
	}
	f.n++
	id := fault.Of(err).ID
	if f.told == nil {
		f.told = map[fault.ID]error{}
	}
	if f.told[id] == nil {
		f.told[id] = err
		f.order = append(f.order, id)
	}
}

// end tells what to do about the failures, and is the error that they make.
func (f *failures) end() error {
	if f.n == 0 {
		return nil
	}
	for i, id := range f.order[:min(len(f.order), 3)] {
		if len(f.order) > 1 {
			fmt.Fprintf(f.c.show, "   [%s]\n", f.order[i])
		}
		writeAdvice(f.c.show, advice(f.told[id]))
	}
	return &exitError{f.status, ""}
}

// one is the tree and URL of a command that takes one.
func (c *client) one(verb, arg string) (target, error) {
	t, err := c.targets(verb, []string{arg})
	if err != nil {
		return target{}, err
	}
	return t[0], nil
}
