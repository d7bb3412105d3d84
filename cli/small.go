package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"dray/fault"
	"dray/mirror"
	"dray/remote"
	"dray/screen"
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
		if verb != "cat" {
			if err := asItIs(u, verb); err != nil {
				return nil, err
			}
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

// asItIs refuses a URL with ;type=A for a command that converts no text.
func asItIs(u remote.URL, verb string) error {
	if u.Type == "A" {
		return usagef("%s takes files as they are, and ;type=A converts line ends\n      leave it away; get, put and cat convert", verb)
	}
	return nil
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
// status that the failures share. do may tell failures of its own, and go on too.
func (c *client) each(ctx context.Context, targets []target, do func(t target, fails *failures) error) error {
	fails := &failures{c: c}
	for _, t := range targets {
		if ctx.Err() == nil && !fails.over(t) {
			if err := do(t, fails); err != nil && ctx.Err() == nil {
				fails.at(t, err)
			}
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return fails.end()
}

// eachMatch is each for all that the targets stand for.
func (c *client) eachMatch(ctx context.Context, targets []target, do func(m match) error) error {
	return c.each(ctx, targets, func(t target, fails *failures) error {
		found, err := c.matching(ctx, t)
		if err != nil {
			return err
		}
		for _, m := range found {
			if ctx.Err() != nil || fails.over(t) {
				return nil
			}
			if err := do(m); err != nil && ctx.Err() == nil {
				fails.at(m.target, err)
			}
		}
		return nil
	})
}

// failures collects what went wrong, each told as it comes.
type failures struct {
	c      *client
	status int
	n      int
	told   map[fault.ID]error
	order  []fault.ID
	dead   map[remote.Tree]bool
}

// at tells a failure of what has to do with a target. One of the server names the
// server, and the path does not matter.
func (f *failures) at(t target, err error) {
	name := t.u.String()
	if mirror.Fatal(err) && strings.Contains(headline(err), screen.Line(t.u.Host)) {
		name = ""
	}
	f.tell(t.u.String(), name, err)
	if mirror.Fatal(err) {
		if f.dead == nil {
			f.dead = map[remote.Tree]bool{}
		}
		f.dead[t.tree] = true
	}
}

// over tells that nothing can succeed any more with the server of a target.
func (f *failures) over(t target) bool { return f.dead[t.tree] }

// add tells a failure; where is what it was about.
func (f *failures) add(where string, err error) { f.tell(where, where, err) }

// tell tells a failure with name in front of it, where it does not name that itself.
func (f *failures) tell(where, name string, err error) {
	err = atURL(err, where)
	event := wireEvent{V: 1, T: stamp(), Event: "error", From: where, Error: wire(err)}
	if f.c.asJSONL {
		f.c.jsonLine(event)
	} else if f.c.asJSON && f.c.errors != nil {
		*f.c.errors = append(*f.c.errors, event)
	}
	line := headline(err)
	if name != "" && !strings.Contains(line, screen.Line(name)) {
		line = screen.Line(name) + ": " + line
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
		writeAdvice(f.c.show, f.c.advice(f.told[id]))
	}
	return &exitError{f.status, ""}
}

// jsonList writes what a command has found as one value: the list, or where something
// failed the list with the failures. A failure that was not told yet is a value of its own.
func (c *client) jsonList(found any, err error) {
	var ee *exitError
	switch {
	case err == nil:
		c.jsonLine(found)
	case errors.As(err, &ee):
		c.jsonLine(struct {
			OK     bool        `json:"ok"`
			Exit   int         `json:"exit"`
			Found  any         `json:"found"`
			Errors []wireEvent `json:"errors,omitempty"`
		}{false, ee.status, found, *c.errors})
	}
}

// wireChanges are what a command has changed, for --json.
type wireChanges struct {
	OK      bool         `json:"ok"`
	Exit    int          `json:"exit"`
	Changes []wireChange `json:"changes"`
	Errors  []wireEvent  `json:"errors,omitempty"`
}

type wireChange struct {
	Event string `json:"event"`
	To    string `json:"to"`
}

// changing is run for a command that tells what it has changed.
func (c *client) changing(do func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return c.run(func(ctx context.Context, args []string) error {
		c.changes = &wireChanges{Changes: []wireChange{}}
		return do(ctx, args)
	})
}

// did tells of one change that was made.
func (c *client) did(what, url string) {
	switch {
	case c.asJSONL:
		c.jsonLine(wireEvent{V: 1, T: stamp(), Event: what, To: url})
	case c.asJSON:
		c.changes.Changes = append(c.changes.Changes, wireChange{what, url})
	case c.verbose > 0:
		fmt.Fprintf(c.show, "%s %s\n", what, screen.Line(url))
	}
}

// one is the tree and URL of a command that takes one.
func (c *client) one(verb, arg string) (target, error) {
	t, err := c.targets(verb, []string{arg})
	if err != nil {
		return target{}, err
	}
	return t[0], nil
}
