//go:build unix

package cli

import (
	"bytes"
	"context"
	"io/fs"
	"iter"
	"path"
	"strings"
	"testing"

	"dray/fault"
	"dray/ftp"
	"dray/remote"
)

// A thicket is a tree of directories, of which some can't be listed. A name that ends
// with a slash is a directory.
type thicket struct {
	remote.Tree
	dirs   map[string][]string
	listed int
	fails  error // of what is not in dirs; nil: permission denied
	end    context.CancelFunc
}

func (t *thicket) Stat(_ context.Context, p string) (remote.Entry, error) {
	var e remote.Entry
	e.Mode, e.Known = fs.ModeDir, ftp.KnownType
	return e, nil
}

func (t *thicket) List(ctx context.Context, dir string) iter.Seq2[remote.Entry, error] {
	return func(yield func(remote.Entry, error) bool) {
		t.listed++
		names, ok := t.dirs[path.Clean(dir)]
		switch {
		case t.end != nil && t.listed > 1:
			t.end()
			yield(remote.Entry{}, context.Canceled)
			return
		case !ok && t.fails != nil:
			yield(remote.Entry{}, t.fails)
			return
		case !ok:
			yield(remote.Entry{}, fault.New(fault.Denied, fault.IDPerm, dir))
			return
		}
		for _, n := range names {
			var e remote.Entry
			e.Name, e.Size, e.Known = strings.TrimSuffix(n, "/"), 1000, ftp.KnownType|ftp.KnownSize
			if e.Name != n {
				e.Mode, e.Size = fs.ModeDir, 0
			}
			if !yield(e, nil) {
				return
			}
		}
	}
}

// What can't be listed below a directory is told, and the rest is shown.
func TestWalksGoOnBehindADirectoryThatCantBeListed(t *testing.T) {
	full := map[string][]string{"/": {"a/", "b/", "c/"}, "/a": {"in a"}, "/c": {"deep/", "evil\x1b[2J"}, "/c/deep": {"last"}}
	walks := map[string]func(c *client, ctx context.Context, at []target) error{
		"ls -R": func(c *client, ctx context.Context, at []target) error {
			l := &listing{c: c, deep: true}
			return c.each(ctx, at, func(t target, fails *failures) error { return l.list(ctx, t, fails) })
		},
		"du": func(c *client, ctx context.Context, at []target) error {
			w := &usage{c: c, depth: -1, exact: true}
			return c.each(ctx, at, func(t target, fails *failures) error {
				_, _, err := w.dir(ctx, t, fails, 0)
				return err
			})
		},
		"find": func(c *client, ctx context.Context, at []target) error {
			fd := &finder{c: c, depth: -1, terminal: true}
			return c.each(ctx, at, func(t target, fails *failures) error { return fd.dir(ctx, t, fails, 0) })
		},
	}
	for name, walk := range walks {
		run := func(tree *thicket) (out, told string, err error) {
			var stdout, stderr bytes.Buffer
			c := &client{stdout: &stdout, show: &display{w: &stderr}}
			ctx, end := context.WithCancel(t.Context())
			defer end()
			if tree.end != nil {
				tree.end = end
			}
			u, err := remote.Parse("sftp://h/", nil)
			fine(t, err)
			err = walk(c, ctx, []target{{u, tree}})
			return stdout.String(), stderr.String(), err
		}
		out, told, err := run(&thicket{dirs: full})
		if exitOf(err) != exitDenied || strings.Count(told, "dray: sftp://h/b") != 1 {
			t.Errorf("%s: %v\n%s", name, err, told)
		}
		wanted := map[string][]string{"ls -R": {"in a\n", "last\n"}, "du": {"1000  sftp://h/a\n", "2000  sftp://h/c\n", "3000  sftp://h"}, "find": {"/a/in a\n", "/c/deep/last\n", "/c/evil?[2J\n"}}
		for _, want := range wanted[name] {
			if !strings.Contains(out, want) {
				t.Errorf("%s: no %q in\n%s", name, want, out)
			}
		}
		// A server that is gone is not asked for every directory.
		gone := &thicket{dirs: map[string][]string{"/": {"a/", "b/", "c/"}}, fails: fault.New(fault.Unreachable, fault.IDRefused, "h", 22)}
		if _, told, err := run(gone); exitOf(err) != exitReach || gone.listed != 2 {
			t.Errorf("%s of a server that is gone: %v after %d listings\n%s", name, err, gone.listed, told)
		}
		// An interrupt ends it, and is the only failure.
		if _, told, err := run(&thicket{dirs: full, end: func() {}}); exitOf(err) != exitInt || told != "" {
			t.Errorf("%s, interrupted: %v\n%s", name, err, told)
		}
	}
}

func TestFindGoesNoDeeperThanItIsTold(t *testing.T) {
	tree := &thicket{dirs: map[string][]string{"/": {"a/"}, "/a": {"b/"}, "/a/b": {"c"}}}
	for depth, want := range map[int]string{-1: "/a\n/a/b\n/a/b/c\n", 0: "", 1: "/a\n", 2: "/a\n/a/b\n"} {
		var stdout bytes.Buffer
		c := &client{stdout: &stdout, show: &display{w: &stdout}}
		u, err := remote.Parse("sftp://h/", nil)
		fine(t, err)
		fd := &finder{c: c, depth: depth}
		fine(t, c.each(t.Context(), []target{{u, tree}}, func(t target, fails *failures) error { return fd.dir(context.Background(), t, fails, 0) }))
		if stdout.String() != want {
			t.Errorf("--depth %d: %q; want %q", depth, stdout.String(), want)
		}
	}
}
