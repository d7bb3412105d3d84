package cli

import (
	"context"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/spf13/cobra"

	"dray/fault"
	"dray/mirror"
	"dray/remote"
	"dray/screen"
)

func findCommand() *cobra.Command {
	c, t := &client{}, &transfers{}
	var names []string
	var kind string
	var depth int
	var zero bool
	cmd := &cobra.Command{
		Use:   "find URL... [--name PATTERN]",
		Short: "find files in directories of a server",
		Long: `Write the path of each file and directory below a URL, one a line, that is like what
the options ask for.`,
		Example: `  dray find ftp://ftp.example.net/pub --name '*.iso' --size 1G..
  dray find sftp://alice@example.net/~/ --type f --newer-than 7d`,
		Args: wantsURLs(1, "dray find ftp://ftp.example.net/pub --name '*.iso'"),
	}
	c.flags(cmd.Flags())
	f := cmd.Flags()
	f.StringArrayVar(&names, "name", nil, "only names like `PATTERN` (* ? [a-z])")
	f.StringVar(&kind, "type", "", "only of this `KIND`: f (files), d (directories) or l (links)")
	f.IntVar(&depth, "depth", -1, "at most `N` levels below")
	f.StringVar(&t.newer, "newer-than", "", "only files changed since `TIME`: 2026-01-31, or 36h before now")
	f.StringVar(&t.older, "older-than", "", "only files not changed since `TIME`")
	f.StringVar(&t.between, "size", "", "only files of a size in `A..B`, as 1K..5M or ..100M")
	f.BoolVarP(&zero, "print0", "0", false, "a NUL byte behind each path, not a line end")
	cmd.RunE = c.run(func(ctx context.Context, args []string) error {
		if kind != "" && kind != "f" && kind != "d" && kind != "l" {
			return usagef("--type is f, d or l, not %q", kind)
		}
		if kind == "d" || kind == "l" {
			if err := c.refuse("is for files, and --type "+kind+" finds none\n      leave one of them away", "newer-than", "older-than", "size"); err != nil {
				return err
			}
		}
		if zero && (c.asJSON || c.asJSONL) {
			return usagef("--print0 and --json do not go together")
		}
		filter, err := t.filter()
		if err != nil {
			return err
		}
		for _, n := range names {
			if _, err := path.Match(n, ""); err != nil {
				return usagef("--name: %q is no pattern: a [ without its ]", n)
			}
		}
		targets, err := c.targets("find", args)
		if err != nil {
			return err
		}
		fd := &finder{c: c, filter: filter, names: names, kind: kind, depth: depth, zero: zero}
		fd.terminal, _ = c.toTerminal()
		err = c.each(ctx, targets, func(t target, fails *failures) error { return fd.dir(ctx, t, fails, 0) })
		if c.asJSON {
			if fd.found == nil {
				fd.found = []wireEntry{}
			}
			c.jsonList(fd.found, err)
		}
		return err
	})
	return cmd
}

type finder struct {
	c      *client
	filter mirror.Filter
	names  []string
	kind   string
	depth  int // -1: no limit
	zero   bool
	found  []wireEntry

	terminal bool // reads it
}

// dir looks through a directory. One below it that can't be listed is told, and the
// others are looked through.
func (f *finder) dir(ctx context.Context, t target, fails *failures, level int) error {
	if f.depth >= 0 && level >= f.depth {
		return nil
	}
	if level > maxShown {
		return fault.New(fault.BadName, fault.IDBadName, t.u.String())
	}
	var subs []string
	for e, err := range t.tree.List(ctx, pathOf(t.u)) {
		if err != nil {
			return err
		}
		if f.wanted(&e) {
			f.show(remote.Join(t.u.Path, e.Name), &e)
		}
		if e.Mode.IsDir() && e.Name != "" && e.Name != "." && e.Name != ".." && !strings.Contains(e.Name, "/") {
			subs = append(subs, e.Name)
		}
	}
	for _, name := range subs {
		sub := t
		sub.u.Path, sub.u.DirWanted = remote.Join(t.u.Path, name), false
		if err := f.dir(ctx, sub, fails, level+1); err != nil {
			if ctx.Err() != nil {
				return err
			}
			if fails.at(sub, err); fails.over(sub) {
				return nil
			}
		}
	}
	return nil
}

func (f *finder) wanted(e *remote.Entry) bool {
	switch f.kind {
	case "f":
		if e.Mode.Type() != 0 {
			return false
		}
	case "d":
		if !e.Mode.IsDir() {
			return false
		}
	case "l":
		if e.Mode.Type() != fs.ModeSymlink {
			return false
		}
	}
	if len(f.names) > 0 {
		like := false
		for _, n := range f.names {
			ok, _ := path.Match(n, e.Name)
			like = like || ok
		}
		if !like {
			return false
		}
	}
	if f.filter == nil {
		return true
	}
	return !e.Mode.IsDir() && e.Mode.Type() != fs.ModeSymlink && f.filter(e.Name, e)
}

func (f *finder) show(p string, e *remote.Entry) {
	switch {
	case f.c.asJSON:
		f.found = append(f.found, wireOf(p, e))
	case f.c.asJSONL:
		f.c.jsonLine(wireOf(p, e))
	case f.zero:
		fmt.Fprintf(f.c.stdout, "%s\x00", p)
	default:
		fmt.Fprintln(f.c.stdout, screen.Name(p, f.terminal))
	}
}
