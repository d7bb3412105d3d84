package cli

import (
	"context"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"dray/mirror"
)

func mirrorCommand() *cobra.Command {
	c, t := &client{}, &transfers{recursive: true}
	s := mirror.Sync{MaxDelete: -1}
	cmd := &cobra.Command{
		Use:   "mirror [-n] [--delete] SOURCE TARGET",
		Short: "make a directory equal to another, here or on a server",
		Long: `Make the directory TARGET equal to the directory SOURCE. One of them is a URL and the
other a directory of this machine: the order of the arguments is the direction.

What has another size or time is transferred; the same is left alone. Nothing is
deleted without --delete, and then only when all of SOURCE could be listed and after
everything else; on a terminal it is asked about. With -n what would be done is
listed, and nothing is done. With --backup-dir, a directory of the target's side,
files that would be replaced or deleted are moved there.

Patterns: *.bak is a name anywhere, /cache/ the directory at the top, doc/**/*.tmp a
path. What is left out by them is not deleted either.`,
		Example: `  dray mirror ftp://ftp.example.net/pub/photos photos
  dray mirror -n --delete site/ sftp://deploy@www.example.net/htdocs
  dray mirror --delete --max-delete 100 -x '*.log' site/ nas:htdocs`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 2 {
				return usagef("mirror needs a source and a target\n      for example: dray mirror site/ sftp://deploy@www.example.net/htdocs")
			}
			return nil
		},
	}
	c.flags(cmd.Flags())
	t.flags(cmd.Flags())
	t.segmentFlags(cmd.Flags())
	f := cmd.Flags()
	f.BoolVar(&s.Delete, "delete", false, "delete what the source has not")
	f.IntVar(&s.MaxDelete, "max-delete", -1, "delete nothing when it would be more than `N` names (default no limit)")
	f.StringVar(&s.Backup, "backup-dir", "", "move what would be replaced or deleted to `DIR`, on the target's side")
	f.BoolVar(&s.SizeOnly, "size-only", false, "take files of the same size for the same")
	f.BoolVar(&s.NewerOnly, "update", false, "leave files alone that are newer at the target")
	c.yesFlag(f)
	_ = f.MarkHidden("recursive")
	cmd.RunE = c.run(func(ctx context.Context, args []string) error {
		source, target := args[0], args[1]
		if local(source) == local(target) {
			if local(source) {
				return usagef("one of %s and %s has to be a URL\n      for two directories of this machine there are rsync and cp", source, target)
			}
			return usagef("one of %s and %s has to be a directory of this machine\n      between two servers, mirror to this machine first", source, target)
		}
		return c.mirror(ctx, t, s, source, target)
	})
	return cmd
}

func (c *client) mirror(ctx context.Context, t *transfers, s mirror.Sync, source, target string) error {
	s.Up = local(source)
	at := source
	if s.Up {
		at = target
	}
	u, err := c.parse(at)
	if err != nil {
		return err
	}
	if err := asItIs(u, "mirror"); err != nil {
		return err
	}
	if !s.Delete {
		if err := c.refuse("is for --delete, which is not there", "max-delete"); err != nil {
			return err
		}
	}
	if _, err := t.options(c); err != nil { // before a directory is made for what comes
		return err
	}
	if s.Filter, err = t.filter(); err != nil {
		return err
	}
	tree, err := c.open(u)
	if err != nil {
		return err
	}
	s.Path, s.URL = pathOf(u), u.String()
	if s.Up && t.divided() {
		return usagef("--segments is of files that are fetched, and these are sent: leave it away")
	}
	if s.Up {
		fi, err := os.Stat(source)
		if err != nil {
			return mirror.LocalError(source, err)
		}
		if !fi.IsDir() {
			return noDirectory(source)
		}
		s.Dir = source
		if s.Backup != "" && !local(s.Backup) {
			b, err := c.parse(s.Backup)
			if err != nil {
				return err
			}
			if account1(b) != account1(u) {
				return usagef("--backup-dir has to be on the server of the target")
			}
			s.Backup = pathOf(b)
		}
	} else {
		if s.Backup != "" {
			rel, err := below(target, s.Backup)
			if err != nil {
				return err
			}
			s.Backup = rel
		}
	}
	s.Confirm = c.confirms(ctx, source, target)
	if !s.Up {
		if s.Place, err = t.place(target); err != nil {
			return err
		}
		defer s.Place.Close()
	}
	r := c.reporter("mirror", nil)
	return c.transfer(ctx, t, tree, r, func(run *mirror.Run) error {
		run.Sync(s)
		return nil
	})
}

// below is dir as a path below the target, which it has to be: names move inside of
// one directory tree only.
func below(target, dir string) (string, error) {
	rel, ok := strings.CutPrefix(strings.TrimRight(dir, "/"), strings.TrimRight(target, "/")+"/")
	if !ok {
		if strings.HasPrefix(dir, "/") || strings.HasPrefix(dir, "..") {
			return "", usagef("--backup-dir %s is not below %s\n      name a directory in it, as %[2]s/.old; it is left out of the comparison", dir, target)
		}
		rel = strings.TrimRight(dir, "/")
	}
	return rel, nil
}
