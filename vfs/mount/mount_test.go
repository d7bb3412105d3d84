package mount

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"dray/fault"
	"dray/vfs"
	"dray/vfs/memfs"
)

func path(t testing.TB, s string) vfs.Path {
	t.Helper()
	p, err := vfs.Resolve(vfs.Root, s)
	need(t, err)
	return p
}

func need(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// filled is a tree with files that hold their own paths.
func filled(t testing.TB, files ...string) *memfs.Tree {
	t.Helper()
	mem := memfs.New(memfs.Options{})
	for _, name := range files {
		need(t, mem.WriteFile(name, []byte(name)))
	}
	return mem
}

func join(t testing.TB, root vfs.FS, at map[string]vfs.FS) *FS {
	t.Helper()
	var mounts []Mount
	for name, tree := range at {
		mounts = append(mounts, Mount{At: path(t, name), FS: tree})
	}
	f, err := New(root, mounts)
	need(t, err)
	return f
}

func read(ctx context.Context, tree vfs.FS, p vfs.Path) (string, error) {
	f, err := tree.Open(ctx, p)
	if err != nil {
		return "", err
	}
	b, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<20))
	return string(b), errors.Join(err, f.Close())
}

func put(ctx context.Context, tree vfs.FS, p vfs.Path, s string) error {
	up, err := tree.Create(ctx, p, vfs.Create{})
	if err != nil {
		return err
	}
	if _, err := up.WriteAt([]byte(s), 0); err != nil {
		return errors.Join(err, up.Discard())
	}
	if err := up.Commit(ctx); err != nil {
		return errors.Join(err, up.Discard())
	}
	return nil
}

func leave(t testing.TB, tree vfs.FS, p vfs.Path, size int) {
	t.Helper()
	up, err := tree.Create(t.Context(), p, vfs.Create{Owner: "alice"})
	need(t, err)
	_, err = up.WriteAt(make([]byte, size+vfs.CutTail), 0)
	need(t, err)
	need(t, up.Cut())
}

func list(t testing.TB, tree vfs.FS, p vfs.Path) []string {
	t.Helper()
	var names []string
	for fi, err := range tree.List(t.Context(), p) {
		need(t, err)
		names = append(names, fi.Name())
	}
	return names
}

// town is a root with trees mounted in each of the ways that there are.
func town(t testing.TB) (f *FS, root *memfs.Tree, mounted map[string]vfs.FS) {
	t.Helper()
	root = filled(t, "f", "home/f", "hides/secret", "file", "real/sub/f", "leads")
	need(t, root.Link("link", "real"))
	mounted = map[string]vfs.FS{
		"/m":             filled(t, "f", "d/f", "d/n/secret"),
		"/m/d/n":         filled(t, "f"),            // in a tree that is mounted itself
		"/home/w":        filled(t, "f"),            // in a directory that the root has
		"/v/deep/x":      filled(t, "f"),            // in one that it does not have
		"/v/y":           filled(t, "f"),            //
		"/hides":         filled(t, "f"),            // over a directory
		"/file":          filled(t, "f"),            // over a file
		"/leads/m":       filled(t, "f"),            // in what is a file in the root
		"/link/sub/m":    filled(t, "f"),            // in what is a link there
		"/real/sub/deep": filled(t, "f", "d/sub/f"), //
	}
	return join(t, root, mounted), root, mounted
}

func TestListings(t *testing.T) {
	f, _, _ := town(t)
	for _, row := range []struct {
		name, path string
		want       []string
	}{
		{"the root shows mount points, and what it hides only once", "/", []string{"file", "hides", "home", "leads", "link", "m", "real", "v", "f"}},
		{"a mounted tree", "/m", []string{"d", "f"}},
		{"a tree in a mounted tree", "/m/d", []string{"n", "f"}},
		{"a tree in a tree hides what that has there", "/m/d/n", []string{"f"}},
		{"a directory of the root with a mount point in it", "/home", []string{"w", "f"}},
		{"a virtual directory", "/v", []string{"deep", "y"}},
		{"a virtual directory in a virtual one", "/v/deep", []string{"x"}},
		{"a tree over a directory", "/hides", []string{"f"}},
		{"a tree over a file", "/file", []string{"f"}},
		{"a virtual directory over a file", "/leads", []string{"m"}},
		{"a virtual directory over a link", "/link", []string{"sub"}},
		{"what a hidden link leads to does not show", "/link/sub", []string{"m"}},
		{"a directory deep in the root", "/real/sub", []string{"deep", "f"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := path(t, row.path)
			if got := list(t, f, p); !slices.Equal(got, row.want) {
				t.Errorf("List(%s) = %q; want %q", p, got, row.want)
			}
			for fi, err := range f.List(t.Context(), p) {
				need(t, err)
				at, err := p.Join(fi.Name())
				need(t, err)
				again, err := f.Lstat(t.Context(), at)
				need(t, err)
				if again.Name() != fi.Name() || again.Mode() != fi.Mode() || !again.ModTime().Equal(fi.ModTime()) || vfs.AttrOf(again) != vfs.AttrOf(fi) {
					t.Errorf("List shows %s; Lstat says %s", fs.FormatFileInfo(fi), fs.FormatFileInfo(again))
				}
			}
			fi, err := f.Stat(t.Context(), p)
			need(t, err)
			if !fi.IsDir() || fi.Name() != p.Base() {
				t.Errorf("Stat(%s) = %s; want a directory of that name", p, fs.FormatFileInfo(fi))
			}
		})
	}
}

func TestPathsBelongToOneTree(t *testing.T) {
	f, _, _ := town(t)
	for _, row := range []struct {
		name, path, want string
		kind             fault.Kind
	}{
		{"the root's own file", "/f", "f", 0},
		{"a file of a mounted tree", "/m/d/f", "d/f", 0},
		{"a file of a tree in a tree", "/m/d/n/f", "f", 0},
		{"a file beside a mount point", "/home/f", "home/f", 0},
		{"a file below virtual directories", "/v/deep/x/f", "f", 0},
		{"a file beside a deep mount point", "/real/sub/f", "real/sub/f", 0},
		{"a directory of the name of a mount point, in another tree", "/real/sub/deep/d/sub/f", "d/sub/f", 0},
		{"what a mount point hides", "/hides/secret", "", fault.NotFound},
		{"what one hides in a mounted tree", "/m/d/n/secret", "", fault.NotFound},
		{"what a hidden link leads to", "/link/sub/f", "", fault.NotFound},
		{"below a hidden file", "/leads/f", "", fault.NotFound},
		{"nothing in a virtual directory", "/v/f", "", fault.NotFound},
		{"nothing far below a virtual directory", "/v/no/f", "", fault.NotFound},
		{"a mount point is no file", "/file", "", fault.IsDir},
		{"a virtual directory is no file", "/v", "", fault.IsDir},
		{"the root is no file", "/", "", fault.IsDir},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, err := read(t.Context(), f, path(t, row.path))
			if got != row.want || (err != nil) != (row.want == "") || (err != nil && fault.KindOf(err) != row.kind) {
				t.Errorf("reading %s: %q, %v; want %q or kind %d", row.path, got, err, row.want, row.kind)
			}
		})
	}
}

func TestChangesAreOfTheTreeThatHasThePath(t *testing.T) {
	ctx := t.Context()
	f, root, mounted := town(t)
	m := mounted["/m"].(*memfs.Tree)
	day := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)

	need(t, put(ctx, f, path(t, "/m/d/new"), "in m"))
	need(t, put(ctx, f, path(t, "/home/new"), "in the root"))
	need(t, f.Mkdir(ctx, path(t, "/m/dir")))
	need(t, f.Rename(ctx, path(t, "/m/d/new"), path(t, "/m/dir/moved"), vfs.NoReplace))
	need(t, f.Rename(ctx, path(t, "/home/new"), path(t, "/real/moved"), vfs.NoReplace))
	need(t, f.SetTime(ctx, path(t, "/m/f"), day))
	need(t, f.Chmod(ctx, path(t, "/m/f"), 0o600))
	need(t, f.Symlink(ctx, "d/f", path(t, "/m/l")))
	need(t, f.Chmod(ctx, path(t, "/v/y"), 0o700))
	need(t, f.Remove(ctx, path(t, "/v/y/f")))
	need(t, f.Mkdir(ctx, path(t, "/m/gone")))
	need(t, f.RemoveDir(ctx, path(t, "/m/gone")))

	for _, row := range []struct {
		tree *memfs.Tree
		path string
		want string
	}{{m, "dir/moved", "in m"}, {root, "real/moved", "in the root"}, {m, "l", "d/f"}} {
		if b, err := row.tree.ReadFile(row.path); string(b) != row.want || err != nil {
			t.Errorf("%s holds %q, %v; want %q", row.path, b, err, row.want)
		}
	}
	fi, err := m.Stat(ctx, path(t, "/f"))
	need(t, err)
	if !fi.ModTime().Equal(day) || fi.Mode() != 0o600 {
		t.Errorf("f of m is %s; want mode 0600 and %v", fs.FormatFileInfo(fi), day)
	}
	if target, err := f.Readlink(ctx, path(t, "/m/l")); target != "d/f" || err != nil {
		t.Errorf("Readlink(/m/l) = %q, %v; want d/f", target, err)
	}
	if fi, err := mounted["/v/y"].Stat(ctx, vfs.Root); err != nil || fi.Mode().Perm() != 0o700 || len(list(t, mounted["/v/y"], vfs.Root)) > 0 {
		t.Errorf("the tree of /v/y: %v, %v; want it empty and of mode 0700", fi, err)
	}
	if got := list(t, m, vfs.Root); !slices.Equal(got, []string{"d", "dir", "f", "l"}) {
		t.Errorf("m holds %q", got)
	}
}

func TestRefusals(t *testing.T) {
	f, _, _ := town(t)
	ctx := t.Context()
	rename := func(how vfs.Rename) func(from, to vfs.Path) error {
		return func(from, to vfs.Path) error { return f.Rename(ctx, from, to, how) }
	}
	create := func(how vfs.Create) func(p, _ vfs.Path) error {
		return func(p, _ vfs.Path) error {
			up, err := f.Create(ctx, p, how)
			if err == nil {
				return up.Discard()
			}
			return err
		}
	}
	one := func(call func(context.Context, vfs.Path) error) func(p, _ vfs.Path) error {
		return func(p, _ vfs.Path) error { return call(ctx, p) }
	}
	setTime := func(p, _ vfs.Path) error { return f.SetTime(ctx, p, time.Now()) }
	chmod := func(p, _ vfs.Path) error { return f.Chmod(ctx, p, 0o700) }
	link := func(p, _ vfs.Path) error { return f.Symlink(ctx, "f", p) }
	readlink := func(p, _ vfs.Path) error { _, err := f.Readlink(ctx, p); return err }
	replace, exclusive, inPlace := create(vfs.Create{}), create(vfs.Create{How: vfs.New}), create(vfs.Create{How: vfs.InPlace, Offset: -1})
	resume := create(vfs.Create{How: vfs.Resume, Owner: "alice"})

	before := tour(t, f, vfs.Root)
	for _, row := range []struct {
		name     string
		call     func(p, to vfs.Path) error
		path, to string
		kind     fault.Kind
		id       fault.ID
	}{
		{"a mount point is not removed", one(f.RemoveDir), "/m", "", fault.Denied, fault.IDFixedDir},
		{"nor by the call for files", one(f.Remove), "/file", "", fault.IsDir, fault.IDIsDir},
		{"a directory of the root that leads to one is not removed", one(f.RemoveDir), "/home", "", fault.Denied, fault.IDFixedDir},
		{"nor one of a mounted tree", one(f.RemoveDir), "/m/d", "", fault.Denied, fault.IDFixedDir},
		{"a virtual directory is not removed", one(f.RemoveDir), "/v/deep", "", fault.Denied, fault.IDFixedDir},
		{"nor by the call for files", one(f.Remove), "/v", "", fault.IsDir, fault.IDIsDir},
		{"the root is not removed", one(f.RemoveDir), "/", "", fault.Denied, fault.IDFixedDir},
		{"what is not in a virtual directory is missing", one(f.RemoveDir), "/v/no", "", fault.NotFound, fault.IDNotFound},
		{"and is missing to the call for files", one(f.Remove), "/v/no", "", fault.NotFound, fault.IDNotFound},

		{"a mount point is not renamed", rename(vfs.Overwrite), "/m", "/other", fault.Denied, fault.IDFixedDir},
		{"nor is it renamed to itself", rename(vfs.Overwrite), "/m", "/m", fault.Denied, fault.IDFixedDir},
		{"a directory that leads to one is not renamed", rename(vfs.Overwrite), "/real", "/other", fault.Denied, fault.IDFixedDir},
		{"a virtual directory is not renamed", rename(vfs.NoReplace), "/v", "/other", fault.Denied, fault.IDFixedDir},
		{"nothing is renamed over a mount point", rename(vfs.Overwrite), "/f", "/hides", fault.Denied, fault.IDFixedDir},
		{"nor over a directory that leads to one", rename(vfs.Overwrite), "/f", "/home", fault.Denied, fault.IDFixedDir},
		{"nor over a virtual directory", rename(vfs.Overwrite), "/f", "/v", fault.Denied, fault.IDFixedDir},
		{"whose names are taken", rename(vfs.NoReplace), "/f", "/v", fault.Exists, fault.IDExists},
		{"as are those of mount points", rename(vfs.NoReplace), "/f", "/m", fault.Exists, fault.IDExists},
		{"nothing is renamed into a virtual directory", rename(vfs.Overwrite), "/f", "/v/f", fault.Denied, fault.IDFixedDir},
		{"nor below a name that is not there", rename(vfs.Overwrite), "/f", "/v/no/f", fault.NotFound, fault.IDNotFound},
		{"nothing comes out of a virtual directory", rename(vfs.Overwrite), "/v/no", "/g", fault.NotFound, fault.IDNotFound},
		{"a file does not go from the root into a tree", rename(vfs.Overwrite), "/f", "/m/g", fault.Denied, fault.IDAcrossMounts},
		{"nor over a file there", rename(vfs.Overwrite), "/f", "/m/f", fault.Denied, fault.IDAcrossMounts},
		{"nor back", rename(vfs.NoReplace), "/m/f", "/g", fault.Denied, fault.IDAcrossMounts},
		{"nor into a tree in the tree", rename(vfs.NoReplace), "/m/d/f", "/m/d/n/g", fault.Denied, fault.IDAcrossMounts},
		{"nor does a directory", rename(vfs.NoReplace), "/real/sub/deep/d", "/real/d", fault.Denied, fault.IDAcrossMounts},
		{"what is missing is missing first", rename(vfs.Overwrite), "/no", "/m/g", fault.NotFound, fault.IDNotFound},

		{"a mount point is there already", one(f.Mkdir), "/m", "", fault.Exists, fault.IDExists},
		{"so is a virtual directory", one(f.Mkdir), "/v/deep", "", fault.Exists, fault.IDExists},
		{"so is the root", one(f.Mkdir), "/", "", fault.Exists, fault.IDExists},
		{"no directory is made in a virtual one", one(f.Mkdir), "/v/new", "", fault.Denied, fault.IDFixedDir},
		{"nor below what is not there", one(f.Mkdir), "/v/no/new", "", fault.NotFound, fault.IDNotFound},
		{"no link is made in the place of a mount point", link, "/m", "", fault.Exists, fault.IDExists},
		{"nor in a virtual directory", link, "/link/l", "", fault.Denied, fault.IDFixedDir},
		{"a mount point is no link", readlink, "/m", "", fault.BadName, fault.IDBadName},
		{"nor is a virtual directory where a tree has one", readlink, "/link", "", fault.BadName, fault.IDBadName},
		{"a link is missing in a virtual directory", readlink, "/v/l", "", fault.NotFound, fault.IDNotFound},

		{"no file takes the place of a mount point", replace, "/file", "", fault.IsDir, fault.IDIsDir},
		{"nor of a virtual directory", replace, "/leads", "", fault.IsDir, fault.IDIsDir},
		{"neither is written in place", inPlace, "/file", "", fault.IsDir, fault.IDIsDir},
		{"an exclusive file finds the name taken", exclusive, "/file", "", fault.Exists, fault.IDExists},
		{"no file is made in a virtual directory", replace, "/v/f", "", fault.Denied, fault.IDFixedDir},
		{"also not exclusively", exclusive, "/v/f", "", fault.Denied, fault.IDFixedDir},
		{"nor where a hidden file would be a directory", replace, "/leads/f", "", fault.Denied, fault.IDFixedDir},
		{"nor where a hidden link leads", replace, "/link/sub/new", "", fault.Denied, fault.IDFixedDir},
		{"nor below what is not there", replace, "/v/no/f", "", fault.NotFound, fault.IDNotFound},
		{"none is there to be written in place", inPlace, "/v/f", "", fault.NotFound, fault.IDNotFound},
		{"none is there to be resumed", resume, "/v/f", "", fault.NotFound, fault.IDNotFound},

		{"a virtual directory has no other date", setTime, "/v", "", fault.Denied, fault.IDFixedDir},
		{"nor another mode", chmod, "/leads", "", fault.Denied, fault.IDFixedDir},
		{"what is not in one has none", setTime, "/v/no", "", fault.NotFound, fault.IDNotFound},
	} {
		t.Run(row.name, func(t *testing.T) {
			err := row.call(path(t, row.path), path(t, row.to))
			if fe := fault.Of(err); err == nil || fe.Kind != row.kind || fe.ID != row.id {
				t.Errorf("%s %s: %v; want kind %d, id %s", row.path, row.to, err, row.kind, row.id)
			}
		})
	}
	if after := tour(t, f, vfs.Root); !maps.Equal(before, after) {
		t.Errorf("after the refusals the tree is %q; want %q", after, before)
	}
}

// tour is all that can be found from p on: files with what they hold, links with
// where they point, directories as "/".
func tour(t testing.TB, tree vfs.FS, p vfs.Path) map[string]string {
	t.Helper()
	all := map[string]string{}
	for fi, err := range tree.List(t.Context(), p) {
		need(t, err)
		at, err := p.Join(fi.Name())
		need(t, err)
		if _, twice := all[at.String()]; twice {
			t.Fatalf("List(%s) shows %q twice", p, fi.Name())
		}
		switch fi.Mode().Type() {
		case fs.ModeDir:
			all[at.String()] = "/"
			maps.Copy(all, tour(t, tree, at))
		case fs.ModeSymlink:
			all[at.String()], err = tree.(vfs.Linker).Readlink(t.Context(), at)
		default:
			all[at.String()], err = read(t.Context(), tree, at)
		}
		need(t, err)
	}
	return all
}

func TestAVirtualDirectoryIsOneOnlyWhileTheTreeHasNone(t *testing.T) {
	ctx := t.Context()
	root := filled(t, "f")
	f := join(t, root, map[string]vfs.FS{"/a/b/m": filled(t, "f")})
	if err := put(ctx, f, path(t, "/a/f"), "x"); fault.KindOf(err) != fault.Denied {
		t.Errorf("an upload into a virtual directory = %v; want kind Denied", err)
	}
	need(t, root.MkdirAll("/a")) // by somebody who does not come through the mounts
	need(t, put(ctx, f, path(t, "/a/f"), "x"))
	if err := put(ctx, f, path(t, "/a/b/f"), "x"); fault.KindOf(err) != fault.Denied {
		t.Errorf("an upload into the one below = %v; want kind Denied", err)
	}
	if got := list(t, f, path(t, "/a")); !slices.Equal(got, []string{"b", "f"}) {
		t.Errorf("List(/a) = %q; want the mounts' and the tree's", got)
	}
	need(t, f.Remove(ctx, path(t, "/a/f")))
	need(t, root.RemoveDir(ctx, path(t, "/a")))
	if got := list(t, f, path(t, "/a")); !slices.Equal(got, []string{"b"}) {
		t.Errorf("List(/a) = %q; want the mounts' alone", got)
	}
	if got, err := read(ctx, f, path(t, "/a/b/m/f")); got != "f" || err != nil {
		t.Errorf("the mounted file is %q, %v", got, err)
	}
}

func TestALinkStaysInItsTree(t *testing.T) {
	ctx := t.Context()
	root := filled(t, "m/own", "d/f")
	m := filled(t, "f", "d/inner")
	need(t, root.Link("in", "m"))
	need(t, root.Link("here", "."))
	need(t, m.Link("out", "../d"))
	need(t, m.Link("abs", "/d"))
	f := join(t, root, map[string]vfs.FS{"/m": m})
	for _, row := range []struct {
		name, path string
		want       []string
	}{
		{"a link to a mount point leads to what the tree has there itself", "/in", []string{"own"}},
		{"so does a path through a linked directory", "/here/m", []string{"own"}},
		{"dots end at the root of the mounted tree", "/m/out", []string{"inner"}},
		{"an absolute link is about the tree's own root", "/m/abs", []string{"inner"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := list(t, f, path(t, row.path)); !slices.Equal(got, row.want) {
				t.Errorf("List(%s) = %q; want %q", row.path, got, row.want)
			}
		})
	}
	if err := f.Symlink(ctx, "../d/f", path(t, "/m/l")); fault.KindOf(err) != fault.Denied {
		t.Errorf("a link out of a mounted tree = %v; want kind Denied", err)
	}
	need(t, f.Symlink(ctx, "../f", path(t, "/m/d/l")))
	if got, err := read(ctx, f, path(t, "/m/d/l")); got != "f" || err != nil {
		t.Errorf("a link in a mounted tree leads to %q, %v; want f", got, err)
	}
}

func TestPartialsAreOfTheTreeThatHasThePath(t *testing.T) {
	ctx := t.Context()
	f, root, mounted := town(t)
	leave(t, f, path(t, "/m/cut"), 100)
	leave(t, f, path(t, "/home/cut"), 200)
	size := func(tree vfs.FS, p string) int64 {
		fi, err := tree.(vfs.Partials).Partial(ctx, path(t, p), "alice")
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("Partial(%s) = %v", p, err)
			}
			return -1
		}
		return fi.Size()
	}
	if got := []int64{size(f, "/m/cut"), size(mounted["/m"], "/cut"), size(f, "/home/cut"), size(root, "/home/cut"), size(root, "/m/cut")}; !slices.Equal(got, []int64{100, 100, 200, 200, -1}) {
		t.Errorf("the partials have %d bytes; want 100, 100, 200, 200 and none", got)
	}

	for _, row := range []struct {
		name, from, to string
		kind           fault.Kind
		id             fault.ID
	}{
		{"across trees", "/m/cut", "/cut", fault.Denied, fault.IDAcrossMounts},
		{"back", "/home/cut", "/m/other", fault.Denied, fault.IDAcrossMounts},
		{"onto a mount point", "/home/cut", "/m", fault.Exists, fault.IDExists},
		{"into a virtual directory", "/home/cut", "/v/cut", fault.Denied, fault.IDFixedDir},
		{"of what is not there", "/f", "/m/cut", fault.NotFound, ""},
		{"of a mount point", "/m", "/cut", fault.NotFound, ""},
		{"out of a virtual directory", "/v/cut", "/cut", fault.NotFound, ""},
	} {
		err := f.MovePartial(ctx, path(t, row.from), path(t, row.to), "alice")
		if fe := fault.Of(err); err == nil || fe.Kind != row.kind || (row.id != "" && fe.ID != row.id) {
			t.Errorf("MovePartial %s = %v; want kind %d, id %s", row.name, err, row.kind, row.id)
		}
	}
	need(t, f.MovePartial(ctx, path(t, "/m/cut"), path(t, "/m/d/cut"), "alice"))
	need(t, f.ChmodPartial(ctx, path(t, "/m/d/cut"), "alice", 0o600))
	need(t, f.SetPartialTime(ctx, path(t, "/m/d/cut"), "alice", time.Unix(0, 0)))
	if fi, err := f.Partial(ctx, path(t, "/m/d/cut"), "alice"); err != nil || fi.Mode() != 0o600 || fi.ModTime().Unix() != 0 {
		t.Errorf("the moved partial is %v, %v; want it dated and of mode 0600", fi, err)
	}
	for _, p := range []string{"/v", "/v/cut", "/m"} {
		if got := size(f, p); got != -1 {
			t.Errorf("there is a partial of %s", p)
		}
		need(t, f.Forget(ctx, path(t, p), "alice"))
		if err := f.SetPartialTime(ctx, path(t, p), "alice", time.Now()); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("SetPartialTime(%s) = %v; want fs.ErrNotExist", p, err)
		}
	}

	var freed []int64
	book := func(n int64) { freed = append(freed, n) }
	for _, dir := range []string{"/v", "/m/d", "/hides", "/"} { // and not what is in /home
		need(t, f.Clear(ctx, path(t, dir), "alice", book))
	}
	if err := f.Clear(ctx, path(t, "/v/no"), "alice", book); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Clear(/v/no) = %v; want fs.ErrNotExist", err)
	}
	if !slices.Equal(freed, []int64{100}) || size(f, "/home/cut") != 200 {
		t.Errorf("Clear freed %d; want the partial in /m/d", freed)
	}
	need(t, f.Forget(ctx, path(t, "/home/cut"), "alice"))
	if size(root, "/home/cut") != -1 {
		t.Errorf("Forget(/home/cut) left it")
	}
}

func TestSweepGoesThroughEveryTree(t *testing.T) {
	ctx := t.Context()
	f, root, mounted := town(t)
	leave(t, root, path(t, "/hides/cut"), 1) // no path of f shows it
	leave(t, f, path(t, "/home/cut"), 2)
	leave(t, f, path(t, "/m/cut"), 3)
	leave(t, f, path(t, "/m/d/n/cut"), 4)
	leave(t, f, path(t, "/v/deep/x/cut"), 5)
	var freed []int64
	book := func(n int64) { freed = append(freed, n) }
	need(t, f.Sweep(ctx, time.Now().Add(-time.Hour), book))
	if len(freed) > 0 {
		t.Errorf("Sweep(an hour ago) freed %d; want nothing", freed)
	}
	need(t, f.Sweep(ctx, time.Now().Add(time.Hour), book))
	if slices.Sort(freed); !slices.Equal(freed, []int64{1, 2, 3, 4, 5}) {
		t.Errorf("Sweep freed %d; want 1 to 5", freed)
	}

	broken := errors.New("the disk is gone")
	leave(t, mounted["/m"], path(t, "/cut"), 6)
	f, err := New(&odd{FS: root, err: broken}, []Mount{
		{path(t, "/plain"), plain{root}}, // which keeps no partials
		{path(t, "/m"), mounted["/m"]},
	})
	need(t, err)
	freed = nil
	if err := f.Sweep(ctx, time.Now().Add(time.Hour), book); !errors.Is(err, broken) || !slices.Equal(freed, []int64{6}) {
		t.Errorf("Sweep over a broken tree = %v and freed %d; want its error, and the others swept", err, freed)
	}
}

// plain is a tree that offers nothing optional.
type plain struct{ vfs.FS }

// odd is a tree that fails, or hands out one file and one upload.
type odd struct {
	vfs.FS
	err    error
	file   vfs.File
	up     vfs.Upload
	closed int
}

func (o *odd) Stat(_ context.Context, p vfs.Path) (fs.FileInfo, error)          { return nil, o.err }
func (o *odd) Lstat(_ context.Context, p vfs.Path) (fs.FileInfo, error)         { return nil, o.err }
func (o *odd) Open(context.Context, vfs.Path) (vfs.File, error)                 { return o.file, o.err }
func (o *odd) Create(context.Context, vfs.Path, vfs.Create) (vfs.Upload, error) { return o.up, o.err }
func (o *odd) Close() error                                                     { o.closed++; return o.err }
func (o *odd) Partial(context.Context, vfs.Path, string) (fs.FileInfo, error)   { return nil, o.err }
func (o *odd) Names(context.Context, vfs.Path, string) iter.Seq2[fs.FileInfo, error] {
	return func(yield func(fs.FileInfo, error) bool) { yield(nil, o.err) }
}
func (o *odd) OpenPartial(context.Context, vfs.Path, string) (vfs.File, error)   { return o.file, o.err }
func (o *odd) Forget(context.Context, vfs.Path, string) error                    { return o.err }
func (o *odd) Clear(context.Context, vfs.Path, string, func(int64)) error        { return o.err }
func (o *odd) MovePartial(context.Context, vfs.Path, vfs.Path, string) error     { return o.err }
func (o *odd) SetPartialTime(context.Context, vfs.Path, string, time.Time) error { return o.err }
func (o *odd) ChmodPartial(context.Context, vfs.Path, string, fs.FileMode) error { return o.err }
func (o *odd) Sweep(context.Context, time.Time, func(int64)) error               { return o.err }

// described is an upload and a file that a kernel may move.
type described struct {
	vfs.Upload
	f *os.File
}

func (d *described) OSFile() *os.File { return d.f }
func (d *described) Close() error     { return nil }

func TestFilesAndUploadsAreTheTreesOwn(t *testing.T) {
	d := &described{f: os.Stderr}
	f := join(t, nil, map[string]vfs.FS{"/m": &odd{file: d, up: d}})
	file, err := f.Open(t.Context(), path(t, "/m/f"))
	if file != vfs.File(d) || err != nil {
		t.Errorf("Open = %T, %v; want the tree's own value", file, err)
	}
	up, err := f.Create(t.Context(), path(t, "/m/f"), vfs.Create{})
	if up != vfs.Upload(d) || err != nil {
		t.Errorf("Create = %T, %v; want the tree's own value", up, err)
	}
	if k, ok := up.(vfs.Kernel); !ok || k.OSFile() != os.Stderr {
		t.Errorf("the upload %T is no descriptor any more", up)
	}
}

func TestErrorsTellThePathOfTheCaller(t *testing.T) {
	ctx := t.Context()
	cause := errors.New("openat2: no such file")
	for _, row := range []struct {
		name, at, path string
		facts, want    []any
	}{
		{"a file of a mounted tree", "/m", "/m/d/f", []any{"/d/f"}, []any{"/m/d/f"}},
		{"the tree itself", "/m/n", "/m/n", []any{"/"}, []any{"/m/n"}},
		{"other facts stay", "/m", "/m/f", []any{"delete", 7, "/g"}, []any{"delete", 7, "/g"}},
		{"a tree at the root", "/", "/f", []any{"/f"}, []any{"/f"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			tree := &odd{err: fmt.Errorf("stat: %w", fault.Because(cause, fault.NotFound, fault.IDNotFound, row.facts...))}
			f := join(t, nil, map[string]vfs.FS{row.at: tree})
			_, err := f.Stat(ctx, path(t, row.path))
			fe := fault.Of(err)
			if !slices.Equal(fe.Facts, row.want) || fe.Kind != fault.NotFound || fe.ID != fault.IDNotFound || !errors.Is(err, cause) || !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("Stat(%s) = %v with facts %q; want %q, and the rest as the tree has it", row.path, err, fe.Facts, row.want)
			}
		})
	}
}

func TestATreeThatDoesNotAnswerIsListed(t *testing.T) {
	broken := errors.New("the disk is gone")
	f := join(t, filled(t, "f"), map[string]vfs.FS{"/m": &odd{err: broken}})
	if got := list(t, f, vfs.Root); !slices.Equal(got, []string{"m", "f"}) {
		t.Errorf("List(/) = %q; want m and f", got)
	}
	if _, err := f.Stat(t.Context(), path(t, "/m")); !errors.Is(err, broken) {
		t.Errorf("Stat(/m) = %v; want the error of the tree", err)
	}

	// And one that can't tell about the way to others is not taken for empty.
	f = join(t, &odd{err: broken}, map[string]vfs.FS{"/a/m": filled(t, "f")})
	if _, err := f.Stat(t.Context(), path(t, "/a")); !errors.Is(err, broken) {
		t.Errorf("Stat(/a) = %v; want the error of the tree", err)
	}
	if got, err := read(t.Context(), f, path(t, "/a/m/f")); got != "f" || err != nil {
		t.Errorf("a file of the other tree is %q, %v; want f", got, err)
	}
}

func TestATreeWithoutWhatIsOptional(t *testing.T) {
	ctx := t.Context()
	f := join(t, nil, map[string]vfs.FS{"/m": plain{filled(t, "f")}})
	p := path(t, "/m/f")
	_, linkErr := f.Readlink(ctx, p)
	_, _, spaceErr := f.Space(ctx, p)
	_, partialErr := f.Partial(ctx, p, "alice")
	for _, row := range []struct {
		name string
		err  error
		want fault.Kind
	}{
		{"Chmod", f.Chmod(ctx, p, 0o600), fault.NotBuilt},
		{"Readlink", linkErr, fault.NotBuilt},
		{"Symlink", f.Symlink(ctx, "f", path(t, "/m/l")), fault.NotBuilt},
		{"Space", spaceErr, fault.NotBuilt},
		{"Partial", partialErr, fault.NotFound},
		{"MovePartial", f.MovePartial(ctx, p, path(t, "/m/g"), "alice"), fault.NotFound},
		{"ChmodPartial", f.ChmodPartial(ctx, p, "alice", 0o600), fault.NotFound},
	} {
		if row.err == nil || fault.KindOf(row.err) != row.want {
			t.Errorf("%s = %v; want kind %d", row.name, row.err, row.want)
		}
	}
	need(t, f.Forget(ctx, p, "alice"))
	need(t, f.Clear(ctx, path(t, "/m"), "alice", nil))
	need(t, f.Sweep(ctx, time.Now(), nil))
}

func TestSpaceIsThatOfTheTree(t *testing.T) {
	small, large := memfs.New(memfs.Options{MaxBytes: 1000}), memfs.New(memfs.Options{MaxBytes: 5000})
	need(t, small.WriteFile("f", make([]byte, 400)))
	need(t, large.MkdirAll("real"))
	f := join(t, large, map[string]vfs.FS{"/real/s": small, "/v/s": small})
	for _, row := range []struct {
		path        string
		free, total uint64
	}{{"/", 5000, 5000}, {"/real", 5000, 5000}, {"/real/s", 600, 1000}, {"/v/s/f", 600, 1000}, {"/v", 0, 0}} {
		free, total, err := f.Space(t.Context(), path(t, row.path))
		if free != row.free || total != row.total || err != nil {
			t.Errorf("Space(%s) = %d, %d, %v; want %d, %d", row.path, free, total, err, row.free, row.total)
		}
	}
	if _, _, err := f.Space(t.Context(), path(t, "/v/no")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Space(/v/no) = %v; want fs.ErrNotExist", err)
	}
}

func TestNewRefuses(t *testing.T) {
	mem := memfs.New(memfs.Options{})
	at := func(s string) Mount { return Mount{path(t, s), mem} }
	for _, row := range []struct {
		name   string
		root   vfs.FS
		mounts []Mount
		want   string
	}{
		{"two trees at one path", mem, []Mount{at("/a"), at("/b"), at("/a")}, "mount /a: another tree is mounted there"},
		{"a tree at the root beside the root", mem, []Mount{at("/")}, "mount /: another tree is mounted there"},
		{"two trees at the root", nil, []Mount{at("/"), at("/")}, "mount /: another tree is mounted there"},
		{"no tree", mem, []Mount{{At: path(t, "/a")}}, "mount /a: there is no tree"},
	} {
		t.Run(row.name, func(t *testing.T) {
			f, err := New(row.root, row.mounts)
			if f != nil || err == nil || err.Error() != row.want {
				t.Errorf("New = %v, %v; want %s", f, err, row.want)
			}
		})
	}
	f, err := New(nil, nil)
	need(t, err)
	if got := list(t, f, vfs.Root); len(got) > 0 {
		t.Errorf("no trees at all show %q", got)
	}
	if _, err := New(nil, []Mount{at("/a/b"), at("/a"), at("/")}); err != nil {
		t.Errorf("New with trees in trees, the inner first: %v", err)
	}
}

func TestCloseClosesEveryTree(t *testing.T) {
	one, two := errors.New("one"), errors.New("two")
	trees := []*odd{{err: one}, {}, {err: two}}
	f, err := New(trees[0], []Mount{{path(t, "/a"), trees[1]}, {path(t, "/a/b"), trees[2]}})
	need(t, err)
	if err := f.Close(); !errors.Is(err, one) || !errors.Is(err, two) {
		t.Errorf("Close() = %v; want the errors of both trees", err)
	}
	for i, tree := range trees {
		if tree.closed != 1 {
			t.Errorf("tree %d was closed %d times; want once", i, tree.closed)
		}
	}
}

func TestACancelledCallSaysWhy(t *testing.T) {
	kicked := fault.New(fault.Closing, fault.IDShutdown)
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	f, _, _ := town(t)

	n := 0
	for _, err := range f.List(ctx, path(t, "/v")) {
		if n++; n == 1 {
			need(t, err)
			cancel(kicked)
		} else if !errors.Is(err, kicked) {
			t.Errorf("List after it was cancelled: %v; want the cause", err)
		}
	}
	if n != 2 {
		t.Errorf("List yields %d times; want an entry and the cause", n)
	}
	v, x := path(t, "/v"), path(t, "/v/y/f")
	_, statErr := f.Stat(ctx, v)
	_, openErr := f.Open(ctx, x)
	_, createErr := f.Create(ctx, x, vfs.Create{})
	_, _, spaceErr := f.Space(ctx, v)
	_, linkErr := f.Readlink(ctx, v)
	_, partialErr := f.Partial(ctx, v, "alice")
	for name, err := range map[string]error{
		"Stat": statErr, "Open": openErr, "Create": createErr, "Space": spaceErr, "Readlink": linkErr, "Partial": partialErr,
		"Mkdir": f.Mkdir(ctx, v), "Remove": f.Remove(ctx, v), "RemoveDir": f.RemoveDir(ctx, v), "Rename": f.Rename(ctx, x, v, vfs.Overwrite),
		"SetTime": f.SetTime(ctx, v, time.Now()), "Forget": f.Forget(ctx, v, "alice"), "Clear": f.Clear(ctx, v, "alice", nil),
		"MovePartial": f.MovePartial(ctx, x, v, "alice"), "Sweep": f.Sweep(ctx, time.Now(), nil),
	} {
		if !errors.Is(err, kicked) {
			t.Errorf("%s(cancelled) = %v; want the cause", name, err)
		}
	}
}

// The mounts hold through whatever many do at once to the trees around them.
func TestManyAtOnce(t *testing.T) {
	ctx := t.Context()
	f, root, _ := town(t)
	var paths []vfs.Path
	for _, dir := range []string{"/", "/m", "/m/d", "/m/d/n", "/home", "/home/w", "/v", "/v/y", "/link", "/real/sub"} {
		for _, name := range []string{"one", "two", "cut"} {
			paths = append(paths, path(t, dir+"/"+name))
		}
	}
	fixed := []vfs.Path{path(t, "/m"), path(t, "/m/d"), path(t, "/v/y"), path(t, "/leads"), path(t, "/real")}
	home, virtual, deep := path(t, "/real/sub/deep/f"), path(t, "/link"), path(t, "/v/deep")
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 40 {
				// Each may find names taken or gone; what must not happen is that a
				// directory of the mounts goes, or that a file crosses.
				a, b := paths[(i*7+j)%len(paths)], paths[(i*5+j*3)%len(paths)]
				if err := put(ctx, f, a, a.Dir().String()); err == nil && a.Dir() == virtual {
					t.Errorf("%s was uploaded into a virtual directory", a)
				}
				if err := f.Rename(ctx, a, b, vfs.Overwrite); err == nil && treeOf(f, a) != treeOf(f, b) {
					t.Errorf("%s was renamed to %s, in another tree", a, b)
				}
				if j%4 == 0 {
					_ = f.Remove(ctx, b)
					_ = root.MkdirAll(deep.String()) // virtual or not, by turns
				} else if j%4 == 2 {
					_ = root.RemoveDir(ctx, deep)
				}
				for _, p := range fixed {
					if err := f.RemoveDir(ctx, p); fault.KindOf(err) != fault.Denied {
						t.Errorf("RemoveDir(%s) = %v; want kind Denied", p, err)
					}
				}
				seen := 0
				for fi, err := range f.List(ctx, vfs.Root) {
					if err != nil {
						t.Errorf("List(/): %v", err)
						return
					}
					if fi.Name() == "m" || fi.Name() == "v" || fi.Name() == "link" {
						seen++
					}
				}
				if got, err := read(ctx, f, home); got != "f" || err != nil || seen != 3 {
					t.Errorf("%s is %q, %v, and List(/) shows %d of m, v and link", home, got, err, seen)
					return
				}
			}
		})
	}
	wg.Wait()
}

// treeOf is the mount point that a path belongs to, by the letters.
func treeOf(f *FS, p vfs.Path) string {
	best := "/"
	var walk func(pt *point)
	walk = func(pt *point) {
		if pt.tree != nil && p.Under(pt.at) && len(pt.at.String()) >= len(best) {
			best = pt.at.String()
		}
		for _, kid := range pt.kids {
			walk(kid)
		}
	}
	walk(f.top)
	return best
}

// Whatever is done, what the whole shows is what the trees hold, each under its
// mount point, less what a mount point hides.
func FuzzTheWholeIsItsTrees(f *testing.F) {
	f.Add([]byte{0, 4, 1, 5, 2, 6, 3, 7, 9, 1, 4, 8, 2, 30, 31})
	f.Add([]byte("put, rename, remove and link, across and around"))
	ats := []string{"/a", "/a/b/c", "/d/e", "/f"}
	f.Fuzz(func(t *testing.T, ops []byte) {
		if len(ops) > 300 {
			return // longer ones only take longer
		}
		ctx := t.Context()
		trees := map[string]*memfs.Tree{"/": memfs.New(memfs.Options{MaxBytes: 1 << 20})}
		mounts := map[string]vfs.FS{}
		for _, at := range ats {
			trees[at] = memfs.New(memfs.Options{MaxBytes: 1 << 20})
			mounts[at] = trees[at]
		}
		whole := join(t, trees["/"], mounts)
		var names []vfs.Path
		for _, s := range []string{"/", "/a", "/a/b", "/a/b/c", "/a/b/c/a", "/a/f", "/a/b/x", "/d", "/d/x", "/d/e", "/d/e/b", "/f", "/f/a", "/f/a/b", "/x", "/x/a", "/x/a/b", "/d/e/b/c"} {
			names = append(names, path(t, s))
		}
		arg := func() int {
			if len(ops) == 0 {
				return 0
			}
			c := ops[0]
			ops = ops[1:]
			return int(c)
		}
		name := func() vfs.Path { return names[arg()%len(names)] }
		for len(ops) > 0 {
			// Errors are welcome: most of what the bytes say cannot be done.
			switch arg() % 8 {
			case 0, 1:
				p := name()
				_ = put(ctx, whole, p, p.String())
			case 2:
				_ = whole.Mkdir(ctx, name())
			case 3:
				_ = whole.Remove(ctx, name())
			case 4:
				_ = whole.RemoveDir(ctx, name())
			case 5:
				a, b := name(), name()
				if err := whole.Rename(ctx, a, b, vfs.Rename(arg()%2)); err == nil && treeOf(whole, a) != treeOf(whole, b) {
					t.Fatalf("%s was renamed to %s, in another tree", a, b)
				}
			case 6:
				_ = whole.Symlink(ctx, []string{"a", "../d", "b/c", "."}[arg()%4], name())
			case 7: // past the mounts: things appear under mount points too
				tree := trees[slices.Sorted(maps.Keys(trees))[arg()%len(trees)]]
				if p := name(); arg()%2 == 0 {
					_ = tree.Mkdir(ctx, p)
				} else {
					_ = put(ctx, tree, p, p.String())
				}
			}
		}

		want := map[string]string{}
		for at, tree := range trees {
			for below, holds := range tour(t, tree, vfs.Root) {
				p := path(t, at+below)
				if treeOf(whole, p) != at {
					continue
				}
				want[p.String()] = holds
			}
		}
		for _, at := range ats { // and the way to each, whatever a tree has there
			for p := path(t, at); !p.IsRoot(); p = p.Dir() {
				want[p.String()] = "/"
			}
		}
		if got := tour(t, whole, vfs.Root); !maps.Equal(got, want) {
			t.Errorf("the whole shows %q; its trees hold %q", got, want)
		}
	})
}

// What a mount point hides is no partial that anybody could name; virtual
// directories have none.
func TestNamesLeaveOutWhatMountPointsHide(t *testing.T) {
	root, sub := memfs.New(memfs.Options{}), memfs.New(memfs.Options{})
	for tree, names := range map[*memfs.Tree][]string{root: {"/m", "/free"}, sub: {"/inside"}} {
		for _, name := range names {
			up, err := tree.Create(t.Context(), path(t, name), vfs.Create{Owner: "alice", Listed: true})
			need(t, err)
			_, err = up.WriteAt(make([]byte, 10_000), 0)
			need(t, err)
			need(t, up.Cut())
		}
	}
	f, err := New(root, []Mount{{At: path(t, "/m"), FS: sub}, {At: path(t, "/v/w"), FS: plain{memfs.New(memfs.Options{})}}})
	need(t, err)
	for dir, want := range map[string][]string{"/": {"free"}, "/m": {"inside"}, "/v": nil, "/v/w": nil} {
		var got []string
		for fi, err := range f.Names(t.Context(), path(t, dir), "alice") {
			need(t, err)
			got = append(got, fi.Name())
		}
		if !slices.Equal(got, want) {
			t.Errorf("Names(%s) = %q; want %q", dir, got, want)
		}
	}
	for _, dir := range []string{"/v/no", "/no"} {
		var last error
		for _, err := range f.Names(t.Context(), path(t, dir), "alice") {
			last = err
		}
		if !errors.Is(last, fs.ErrNotExist) {
			t.Errorf("Names(%s) ends with %v; want fs.ErrNotExist", dir, last)
		}
	}
	file, err := f.OpenPartial(t.Context(), path(t, "/m/inside"), "alice")
	need(t, err)
	need(t, file.Close())
	if _, err := f.OpenPartial(t.Context(), path(t, "/m"), "alice"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("OpenPartial(/m) = %v; want fs.ErrNotExist", err)
	}
}
