package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"dray/mirror"
	"dray/remote"
)

func mkdirCommand() *cobra.Command {
	c := &client{}
	var parents bool
	cmd := &cobra.Command{
		Use:     "mkdir [-p] URL...",
		Short:   "make directories on a server",
		Example: `  dray mkdir -p sftp://alice@example.net/archive/2026/11`,
		Args:    wantsURLs(1, "dray mkdir sftp://alice@example.net/archive"),
	}
	c.flags(cmd.Flags(), "p")
	cmd.Flags().BoolVarP(&parents, "parents", "p", false, "those above too; what is there is no failure")
	cmd.RunE = c.changing(func(ctx context.Context, args []string) error {
		targets, err := c.targets("mkdir", args)
		if err != nil {
			return err
		}
		return c.each(ctx, targets, func(t target, _ *failures) error {
			if !parents {
				if err := t.tree.Mkdir(ctx, pathOf(t.u)); err != nil {
					return err
				}
				c.did("mkdir", t.u.String())
				return nil
			}
			return c.mkdirAll(ctx, t)
		})
	})
	return cmd
}

// mkdirAll makes a directory and those above it.
func (c *client) mkdirAll(ctx context.Context, t target) error {
	p := ""
	if t.u.Absolute() {
		p = "/"
	}
	for part := range strings.SplitSeq(strings.Trim(t.u.Path, "/"), "/") {
		p = remote.Join(p, part)
		if err := t.tree.Mkdir(ctx, p); err != nil {
			if mirror.Fatal(err) {
				return err
			}
			if e, stat := t.tree.Stat(ctx, p); stat != nil || !e.Mode.IsDir() {
				return err
			}
			continue
		}
		u := t.u
		u.Path = p
		c.did("mkdir", u.String())
	}
	return nil
}

func rmdirCommand() *cobra.Command {
	c := &client{}
	cmd := &cobra.Command{
		Use:     "rmdir URL...",
		Short:   "remove empty directories of a server",
		Example: `  dray rmdir sftp://alice@example.net/archive/2019`,
		Args:    wantsURLs(1, "dray rmdir sftp://alice@example.net/archive/2019"),
	}
	c.flags(cmd.Flags())
	cmd.RunE = c.changing(func(ctx context.Context, args []string) error {
		targets, err := c.targets("rmdir", args)
		if err != nil {
			return err
		}
		return c.each(ctx, targets, func(t target, _ *failures) error {
			if err := t.tree.RemoveDir(ctx, pathOf(t.u)); err != nil {
				return err
			}
			c.did("rmdir", t.u.String())
			return nil
		})
	})
	return cmd
}
