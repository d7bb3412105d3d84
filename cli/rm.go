package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/spf13/cobra"

	"dray/fault"
	"dray/ftp"
	"dray/mirror"
	"dray/remote"
)

func rmCommand() *cobra.Command {
	c := &client{}
	var recursive, force bool
	cmd := &cobra.Command{
		Use:   "rm [-r] URL...",
		Short: "remove files of a server",
		Long: `Remove files of a server, with -r directories with all that is in them. The last part
of a URL may be a pattern (* ? [a-z]). A link is removed, not what it leads to.`,
		Example: `  dray rm sftp://alice@example.net/old.txt
  dray rm 'ftp://ftp.example.net/logs/*.gz'
  dray rm -r nas:backups/2019`,
		Args: wantsURLs(1, "dray rm sftp://alice@example.net/old.txt"),
	}
	c.flags(cmd.Flags())
	cmd.Flags().BoolVarP(&recursive, "recursive", "r", false, "directories too, with all that is in them")
	cmd.Flags().BoolVarP(&force, "force", "f", false, "what is not there is no failure")
	cmd.RunE = c.changing(func(ctx context.Context, args []string) error {
		targets, err := c.targets("rm", args)
		if err != nil {
			return err
		}
		for _, t := range targets {
			if base := path.Base(t.u.Path); t.u.Path == "" || t.u.Path == "/" || base == "." || base == ".." {
				return usagef("%s is where everything is, and is not removed\n      name what is in it", t.u)
			}
		}
		r := &remover{c: c, failures: failures{c: c}}
		for _, t := range targets {
			if ctx.Err() != nil || r.failures.over(t) {
				continue
			}
			found, err := c.matching(ctx, t)
			if err != nil {
				if ctx.Err() == nil && (!force || !errors.Is(err, fs.ErrNotExist)) {
					r.failures.at(t, err)
				}
				continue
			}
			for _, m := range found {
				r.remove(ctx, m.target, m.entry, recursive, force)
			}
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return r.failures.end()
	})
	return cmd
}

// A match is what a URL stands for: itself, or what its pattern matches.
type match struct {
	target
	entry *remote.Entry // nil: nobody has looked
}

// matching is what the last part of a URL matches, when it is a pattern and no name.
func (c *client) matching(ctx context.Context, t target) ([]match, error) {
	base := remote.Base(t.u.Path)
	if !strings.ContainsAny(base, "*?[") {
		return []match{{target: t}}, nil
	}
	dir := t.u
	dir.Path, dir.DirWanted = strings.TrimSuffix(strings.TrimSuffix(t.u.Path, base), "/"), true
	if dir.Path == "" && t.u.Absolute() {
		dir.Path = "/"
	}
	is, err := (mirror.Rules{Include: []string{base}, Exclude: []string{"*"}, Most: -1}).Filter()
	if err != nil {
		return []match{{target: t}}, nil
	}
	var out []match
	for e, err := range t.tree.List(ctx, pathOf(dir)) {
		if err != nil {
			return nil, err
		}
		one := t
		one.u.Path, one.u.DirWanted = remote.Join(dir.Path, e.Name), false
		if e.Name == base {
			return []match{{one, &e}}, nil
		}
		if is(e.Name, &e) && (e.Name[0] != '.' || base[0] == '.') && mirror.CheckName(e.Name) == nil {
			out = append(out, match{one, &e})
		}
	}
	if len(out) == 0 {
		return nil, fault.New(fault.NotFound, fault.IDNotFound, t.u.String())
	}
	return out, nil
}

// A remover removes and counts what it could not.
type remover struct {
	c        *client
	failures failures
}

func (r *remover) remove(ctx context.Context, t target, e *remote.Entry, recursive, force bool) {
	if ctx.Err() != nil || r.failures.over(t) {
		return
	}
	p := pathOf(t.u)
	if e == nil || !e.Is(ftp.KnownType) {
		seen, err := r.look(ctx, t, p)
		if err != nil {
			if !force || !errors.Is(err, fs.ErrNotExist) {
				r.failures.at(t, err)
			}
			return
		}
		e = &seen
	}
	switch {
	case !e.Mode.IsDir():
		r.done(ctx, t, t.tree.Remove(ctx, p))
	case !recursive:
		r.failures.at(t, &fault.Error{Kind: fault.IsDir, ID: fault.IDIsDir, Facts: []any{t.u.String()}, Do: []string{"dray rm -r " + shellWord(t.u.String()) + " removes it with all that is in it; dray rmdir an empty one"}})
	default:
		r.removeDir(ctx, t, p, 0)
	}
}

// look tells what is at a path, a link as such. A server that lists nothing where it
// is tells it by Stat.
func (r *remover) look(ctx context.Context, t target, p string) (remote.Entry, error) {
	e, err := t.tree.Seen(ctx, p)
	if err != nil && ctx.Err() == nil && !mirror.Fatal(err) {
		if there, stat := t.tree.Stat(ctx, p); stat == nil {
			return there, nil
		} else if errors.Is(stat, fs.ErrNotExist) {
			return e, stat
		}
	}
	return e, err
}

const maxRemoved = 200 // directories deep

func (r *remover) removeDir(ctx context.Context, t target, p string, depth int) bool {
	if depth > maxRemoved {
		r.failures.at(t, fault.New(fault.BadName, fault.IDBadName, p))
		return false
	}
	var entries []remote.Entry
	for e, err := range t.tree.List(ctx, p) {
		if err != nil {
			r.failures.at(t, err)
			return false
		}
		entries = append(entries, e)
	}
	whole := true
	for i := range entries {
		e := &entries[i]
		if ctx.Err() != nil || r.failures.over(t) {
			return false
		}
		one := t
		one.u.Path, one.u.DirWanted = remote.Join(t.u.Path, e.Name), false
		if e.Name == "" || e.Name == "." || e.Name == ".." || strings.Contains(e.Name, "/") { // a server that names its way out
			r.failures.at(t, fault.New(fault.BadName, fault.IDUnsafeName, fmt.Sprintf("%q", e.Name)))
			whole = false
			continue
		}
		sub := remote.Join(p, e.Name)
		switch {
		case !e.Is(ftp.KnownType):
			there, err := t.tree.Stat(ctx, sub)
			if err == nil && there.Mode.IsDir() {
				whole = r.removeDir(ctx, one, sub, depth+1) && whole
				continue
			}
			whole = r.done(ctx, one, t.tree.Remove(ctx, sub)) && whole
		case e.Mode.IsDir():
			whole = r.removeDir(ctx, one, sub, depth+1) && whole
		default:
			whole = r.done(ctx, one, t.tree.Remove(ctx, sub)) && whole
		}
	}
	return whole && r.done(ctx, t, t.tree.RemoveDir(ctx, p))
}

// done tells what became of one removal.
func (r *remover) done(ctx context.Context, t target, err error) bool {
	if err != nil {
		if ctx.Err() == nil {
			r.failures.at(t, err)
		}
		return false
	}
	r.c.did("delete", t.u.String())
	return true
}
