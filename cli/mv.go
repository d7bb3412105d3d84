package cli

import (
	"context"
	"errors"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"

	"dray/fault"
	"dray/mirror"
	"dray/remote"
)

func mvCommand() *cobra.Command {
	c := &client{}
	var keep bool
	cmd := &cobra.Command{
		Use:   "mv URL... TARGET",
		Short: "rename or move files on a server",
		Long: `Rename a file or directory of a server, or move it into another directory. TARGET is
a URL of the same account, or a path on the same server. Where it is a directory, what
is moved keeps its name. A file that has the new name is replaced where the server
does that.`,
		Example: `  dray mv sftp://alice@example.net/a.txt /archive/a.txt
  dray mv 'ftp://ftp.example.net/in/*.csv' ftp://ftp.example.net/done/`,
		Args: wantsURLs(2, "dray mv sftp://alice@example.net/a.txt /archive/"),
	}
	c.flags(cmd.Flags())
	cmd.Flags().BoolVar(&keep, "no-clobber", false, "leave a file alone that has the new name")
	cmd.RunE = c.changing(func(ctx context.Context, args []string) error {
		from, err := c.targets("mv", args[:len(args)-1])
		if err != nil {
			return err
		}
		to := from[0].u
		if last := args[len(args)-1]; local(last) {
			to.Path, to.DirWanted = strings.TrimRight(last, "/"), strings.HasSuffix(last, "/")
			if last == "/" {
				to.Path = "/"
			}
		} else if to, err = c.parse(last); err != nil {
			return err
		} else if err := asItIs(to, "mv"); err != nil {
			return err
		}
		for _, f := range from {
			if account1(f.u) != account1(to) {
				return usagef("mv moves on one server, and %s and %s are two accounts\n      copy with dray cp, and remove then", f.u, to)
			}
		}
		var moves []match
		failed := failures{c: c}
		for _, f := range from {
			if failed.over(f) {
				break
			}
			found, err := c.matching(ctx, f)
			if err != nil {
				failed.at(f, err)
				continue
			}
			moves = append(moves, found...)
		}
		if len(moves) == 0 {
			return failed.end()
		}
		into := to.DirWanted
		if !into {
			e, err := from[0].tree.Stat(ctx, pathOf(to))
			if err != nil && mirror.Fatal(err) {
				return err
			}
			into = err == nil && e.Mode.IsDir()
		}
		if !into && len(moves) > 1 {
			return fault.New(fault.NotDir, fault.IDNotDir, to.String())
		}
		for _, m := range moves {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if failed.over(m.target) {
				break
			}
			t := to
			if into {
				t.Path = remote.Join(to.Path, remote.Base(m.u.Path))
			}
			t.DirWanted = false
			if keep {
				if _, err := m.tree.Stat(ctx, pathOf(t)); err == nil {
					failed.add(t.String(), fault.New(fault.Exists, fault.IDExists, t.String()))
					continue
				} else if !errors.Is(err, fs.ErrNotExist) {
					failed.add(t.String(), err)
					continue
				}
			}
			if err := m.tree.Rename(ctx, pathOf(m.u), pathOf(t)); err != nil {
				failed.at(m.target, err)
				continue
			}
			c.did("rename", t.String())
		}
		return failed.end()
	})
	return cmd
}
