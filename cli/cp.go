package cli

import (
	"context"
	"errors"
	"io/fs"

	"github.com/spf13/cobra"

	"dray/fault"
	"dray/mirror"
	"dray/remote"
)

func cpCommand() *cobra.Command {
	c, t := &client{}, &transfers{}
	cmd := &cobra.Command{
		Use:   "cp [-r] URL... URL",
		Short: "copy files from server to server",
		Long: `Copy files from one server to another, or on one server, without storing them here.
The last URL is the directory that they are copied into, or the name that a single one
gets. -u and --port are for all of them; a login for each stands in its URL, in a stored
host or in ~/.netrc.

The bytes go straight where the servers do that: on one account by copy-data (SFTP) or
SITE CPTO (FTP), between two FTP servers by FXP. Else, with --limit-rate, and where data
would go in clear text that nobody allowed, they go through this machine; so does a
second try. What went straight gets its name when it has the size of the source.`,
		Example: `  dray cp ftp://old.example.net/data.tar sftp://alice@new.example.net/
  dray cp -r nas:photos backup:photos`,
		Args: wantsURLs(2, "dray cp ftp://old.example.net/data.tar sftp://alice@new.example.net/"),
	}
	c.flags(cmd.Flags())
	t.flags(cmd.Flags())
	through := cmd.Flags().Bool("through", false, "through this machine, also where the servers could copy by themselves")
	for _, hidden := range []string{"continue", "resume"} { // nothing of a copy is kept to go on with
		_ = cmd.Flags().MarkHidden(hidden)
	}
	cmd.RunE = c.run(func(ctx context.Context, args []string) error {
		if cmd.Flags().Changed("continue") || cmd.Flags().Changed("resume") {
			return usagef("a copy from server to server begins at the start each time\n      leave --continue and --resume away")
		}
		var sources []target
		for _, arg := range args[:len(args)-1] { // a tree of its own each: a copy on one server needs two connections
			one, err := c.one("cp", arg)
			if err != nil {
				return err
			}
			sources = append(sources, one)
		}
		to, err := c.one("cp", args[len(args)-1])
		if err != nil {
			return err
		}
		return c.cp(ctx, t, *through, sources, to)
	})
	return cmd
}

func (c *client) cp(ctx context.Context, t *transfers, through bool, sources []target, to target) error {
	if _, err := t.options(c); err != nil { // before anything is connected to
		return err
	}
	filter, err := t.filter()
	if err != nil {
		return err
	}
	into := to.u.DirWanted
	if !into {
		e, err := to.tree.Stat(ctx, pathOf(to.u))
		switch {
		case err == nil:
			into = e.Mode.IsDir()
		case !errors.Is(err, fs.ErrNotExist) && fault.KindOf(err) != fault.Unsupported:
			return err
		}
	}
	if !into && len(sources) > 1 {
		return fault.New(fault.NotDir, fault.IDNotDir, to.u.String())
	}
	r := c.reporter("cp", nil)
	return c.transfer(ctx, t, to.tree, r, func(run *mirror.Run) error {
		for _, s := range sources {
			found, err := c.matching(ctx, s)
			if err != nil {
				run.Fail(s.u.String(), "", err)
				continue
			}
			for _, m := range found {
				e, err := statRemote(ctx, m.tree, m.u)
				if err != nil {
					run.Fail(m.u.String(), "", err)
					continue
				}
				if e.Mode.IsDir() && !t.recursive {
					run.Fail(m.u.String(), "", &fault.Error{Kind: fault.IsDir, ID: fault.IDIsDir, Facts: []any{m.u.String()}, Do: []string{"add -r to take a directory with all that is in it"}})
					continue
				}
				at := to.u
				if into {
					at.Path = remote.Join(to.u.Path, remote.Base(m.u.Path))
				}
				at.DirWanted = false
				if account1(at) == account1(m.u) && at.Path == m.u.Path {
					run.Fail(m.u.String(), at.String(), fault.New(fault.Exists, fault.IDExists, at.String()))
					continue
				}
				run.Copy(mirror.Copy{Tree: m.tree, From: pathOf(m.u), FromURL: m.u.String(), Entry: e, To: pathOf(at), ToURL: at.String(), Filter: filter, Through: through})
			}
		}
		return nil
	})
}
