package memfs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"dray/fault"
	"dray/vfs"
	"dray/vfs/vfstest"
)

func TestContract(t *testing.T) {
	vfstest.RunWith(t, func(t *testing.T) vfs.FS { return New(Options{}) }, vfstest.Options{
		Symlink: func(t *testing.T, tree vfs.FS, p vfs.Path, target string) {
			if err := tree.(*Tree).Link(p.String(), target); err != nil {
				t.Fatal(err)
			}
		},
	})
}

func path(t testing.TB, s string) vfs.Path {
	t.Helper()
	p, err := vfs.Resolve(vfs.Root, s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func need(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func create(t testing.TB, tree *Tree, s string, how vfs.Create) vfs.Upload {
	t.Helper()
	up, err := tree.Create(t.Context(), path(t, s), how)
	need(t, err)
	return up
}

func write(t testing.TB, up vfs.Upload, size int, off int64) {
	t.Helper()
	_, err := up.WriteAt(bytes.Repeat([]byte("x"), size), off)
	need(t, err)
}

func used(t testing.TB, tree *Tree) int64 {
	t.Helper()
	free, total, err := tree.Space(t.Context(), vfs.Root)
	need(t, err)
	return int64(total - free)
}

func TestTooMuchIsNoSpaceAndChangesNothing(t *testing.T) {
	const room = 20_000
	tree := New(Options{MaxBytes: room})
	need(t, tree.WriteFile("old", make([]byte, 12_000)))
	up := create(t, tree, "new", vfs.Create{Owner: "alice"})
	write(t, up, 5000, 0)
	edit := create(t, tree, "old", vfs.Create{How: vfs.InPlace, Offset: -1})
	for _, row := range []struct {
		name string
		call func() error
	}{
		{"one byte too many", func() error { _, err := up.WriteAt(make([]byte, 3001), 5000); return err }},
		{"a byte far behind the end", func() error { _, err := up.WriteAt([]byte("x"), 1<<40); return err }},
		{"a byte at the last offset", func() error { _, err := up.WriteAt([]byte("x"), math.MaxInt64-1); return err }},
		{"bytes behind the last offset", func() error { _, err := up.WriteAt([]byte("xx"), math.MaxInt64); return err }},
		{"a length beyond the room", func() error { return up.Truncate(1 << 50) }},
		{"an append", func() error { _, err := edit.WriteAt(make([]byte, 3001), 12_000); return err }},
		{"a copy of the first bytes", func() error {
			_, err := tree.Create(t.Context(), path(t, "old"), vfs.Create{Offset: 3001})
			return err
		}},
		{"a helper's file", func() error { return tree.WriteFile("more", make([]byte, 3001)) }},
	} {
		if err := row.call(); fault.KindOf(err) != fault.NoSpace {
			t.Errorf("%s: %v; want kind NoSpace", row.name, err)
		}
		if got := used(t, tree); got != 17_000 {
			t.Errorf("%s: %d bytes used; want 17000", row.name, got)
		}
	}
	write(t, up, 3000, 5000)
	need(t, edit.Discard())
	need(t, up.Commit(t.Context()))
	if b, err := tree.ReadFile("new"); len(b) != 8000 || err != nil {
		t.Errorf("new has %d bytes, %v; want 8000", len(b), err)
	}
}

func TestRoomIsGivenBack(t *testing.T) {
	ctx := context.Background()
	f := path(t, "f")
	for _, row := range []struct {
		name string
		run  func(tree *Tree) error
		want int64
	}{
		{"remove", func(tree *Tree) error { return tree.Remove(ctx, f) }, 0},
		{"replace", func(tree *Tree) error { return tree.WriteFile("f", make([]byte, 3)) }, 3},
		{"rename over", func(tree *Tree) error {
			return errors.Join(tree.WriteFile("g", make([]byte, 3)), tree.Rename(ctx, path(t, "g"), f, vfs.Overwrite))
		}, 3},
		{"discard", func(tree *Tree) error {
			up := create(t, tree, "f", vfs.Create{Offset: 5000})
			write(t, up, 5000, 5000)
			return up.Discard()
		}, 10_000},
		{"cut", func(tree *Tree) error {
			up := create(t, tree, "f", vfs.Create{Owner: "alice"})
			write(t, up, 5000, 0)
			return up.Cut()
		}, 10_000 + 5000 - vfs.CutTail},
		{"an append taken back", func(tree *Tree) error {
			up := create(t, tree, "f", vfs.Create{How: vfs.InPlace, Offset: -1})
			write(t, up, 5000, up.Offset())
			return up.Cut()
		}, 10_000},
		{"an append to a file that is removed meanwhile", func(tree *Tree) error {
			up := create(t, tree, "f", vfs.Create{How: vfs.InPlace, Offset: -1})
			err := tree.Remove(ctx, f)
			write(t, up, 5000, up.Offset())
			if used(t, tree) != 15_000 {
				t.Errorf("a removed file that is still written takes no room")
			}
			return errors.Join(err, up.Commit(ctx))
		}, 0},
		{"a resume from an earlier offset", func(tree *Tree) error {
			up := create(t, tree, "g", vfs.Create{Owner: "alice"})
			write(t, up, 8000, 0)
			need(t, up.Cut())
			return create(t, tree, "g", vfs.Create{How: vfs.Resume, Offset: 7, Owner: "alice"}).Commit(ctx)
		}, 10_007},
	} {
		t.Run(row.name, func(t *testing.T) {
			tree := New(Options{})
			need(t, tree.WriteFile("f", make([]byte, 10_000)))
			need(t, row.run(tree))
			if got := used(t, tree); got != row.want {
				t.Errorf("%d bytes used; want %d", got, row.want)
			}
		})
	}
}

func TestTheClockIsTheOneHandedIn(t *testing.T) {
	now := time.Date(2020, 1, 2, 3, 4, 5, 6, time.UTC)
	tree := New(Options{Now: func() time.Time { return now }})
	need(t, tree.WriteFile("d/f", []byte("x")))
	for _, name := range []string{"d", "d/f"} {
		fi, err := tree.Stat(t.Context(), path(t, name))
		need(t, err)
		if !fi.ModTime().Equal(now) {
			t.Errorf("%s is dated %v; want %v", name, fi.ModTime(), now)
		}
	}
	up := create(t, tree, "cut", vfs.Create{Owner: "alice"})
	write(t, up, 5000, 0)
	now = now.Add(time.Hour)
	need(t, up.Cut())
	var freed int64
	book := func(n int64) { freed += n }
	need(t, tree.Sweep(t.Context(), now, book))
	if freed != 0 {
		t.Errorf("Sweep(the time of the cut) freed %d bytes; want 0", freed)
	}
	need(t, tree.Sweep(t.Context(), now.Add(1), book))
	if freed != 5000-vfs.CutTail {
		t.Errorf("Sweep(just after the cut) freed %d bytes; want %d", freed, 5000-vfs.CutTail)
	}
}

func TestListIsSorted(t *testing.T) {
	tree := New(Options{})
	want := []string{"A", "B", "a", "a b", "b", "é"}
	for _, name := range []string{"b", "é", "a b", "B", "a", "A"} {
		need(t, tree.WriteFile(name, nil))
	}
	var got []string
	for fi, err := range tree.List(t.Context(), vfs.Root) {
		need(t, err)
		got = append(got, fi.Name())
	}
	if !slices.Equal(got, want) {
		t.Errorf("List(/) = %q; want %q", got, want)
	}
}

func TestLinks(t *testing.T) {
	tree := New(Options{})
	need(t, tree.WriteFile("d/e/f", []byte("hello")))
	need(t, tree.WriteFile("f", []byte("root")))
	for i := range MaxHops + 1 { // h0 → f, h1 → h0, …
		target := "f"
		if i > 0 {
			target = fmt.Sprintf("h%d", i-1)
		}
		need(t, tree.Link(fmt.Sprintf("h%d", i), target))
	}
	for link, target := range map[string]string{
		"d/abs": "/d/e", "d/out": "../../../f", "d/dots": "./e/../e//./f", "d/dir": "e/", "slash": "f/", "d/up": "..", "nowhere": "no/f", "d/top": "/",
	} {
		need(t, tree.Link(link, target))
	}
	for _, row := range []struct {
		name, path, want string
		kind             fault.Kind
	}{
		{"a target with a slash is looked up from the root", "d/abs/f", "hello", 0},
		{"dots do not leave the tree", "d/out", "root", 0},
		{"empty parts and dots are nothing", "d/dots", "hello", 0},
		{"a slash at the end of a directory", "d/dir/f", "hello", 0},
		{"a slash at the end of a file", "slash", "", fault.NotDir},
		{"a directory above", "d/up/d/up/f", "root", 0},
		{"the root itself", "d/top/f", "root", 0},
		{"the root is no file", "d/top", "", fault.IsDir},
		{"a missing directory", "nowhere", "", fault.NotFound},
		{"as many hops as are allowed", fmt.Sprintf("h%d", MaxHops-1), "root", 0},
		{"one hop too many", fmt.Sprintf("h%d", MaxHops), "", fault.Denied},
	} {
		t.Run(row.name, func(t *testing.T) {
			b, err := tree.ReadFile(row.path)
			if string(b) != row.want || (err != nil) != (row.want == "") || (err != nil && fault.KindOf(err) != row.kind) {
				t.Errorf("ReadFile(%s) = %q, %v; want %q or kind %d", row.path, b, err, row.want, row.kind)
			}
		})
	}

	// A partial belongs to the file that its upload would have made.
	up := create(t, tree, "h3", vfs.Create{Owner: "alice"})
	write(t, up, 5000, 0)
	need(t, up.Cut())
	if _, err := tree.Partial(t.Context(), path(t, "f"), "alice"); err != nil {
		t.Errorf("Partial(f) of an upload to a link to f: %v", err)
	}
	if err := tree.Mkdir(t.Context(), path(t, "d/top/d/top/new")); err != nil {
		t.Errorf("Mkdir through links: %v", err)
	}
	if err := tree.Rename(t.Context(), path(t, "d"), path(t, "d/top/d/e/d"), vfs.Overwrite); fault.KindOf(err) != fault.BadName {
		t.Errorf("Rename below itself through a link = %v; want kind BadName", err)
	}
}

func TestAttributes(t *testing.T) {
	tree := New(Options{})
	need(t, tree.WriteFile("d/f", []byte("x")))
	need(t, tree.MkdirAll("d/a"))
	need(t, tree.MkdirAll("d/b"))
	seen := map[uint64]bool{}
	for _, row := range []struct {
		path  string
		links uint64
	}{{"/", 3}, {"d", 4}, {"d/f", 1}, {"d/a", 2}} {
		fi, err := tree.Stat(t.Context(), path(t, row.path))
		need(t, err)
		a, ok := fi.Sys().(*vfs.Attr)
		if !ok {
			t.Fatalf("Stat(%s).Sys() is a %T; want *vfs.Attr", row.path, fi.Sys())
		}
		if a.Links != row.links || seen[a.Ino] {
			t.Errorf("Stat(%s): %+v; want %d links and an inode of its own", row.path, *a, row.links)
		}
		seen[a.Ino] = true
	}
}

func TestHelpers(t *testing.T) {
	tree := New(Options{})
	b := []byte("hello")
	need(t, tree.WriteFile("/a/b/f", b))
	b[0] = 'J'
	got, err := tree.ReadFile("a/b/f")
	if string(got) != "hello" || err != nil {
		t.Errorf("ReadFile = %q, %v; want hello, whatever became of the slice that was written", got, err)
	}
	got[0] = 'J'
	if got, _ := tree.ReadFile("a/b/f"); string(got) != "hello" {
		t.Errorf("ReadFile = %q; want hello, whatever became of the slice that was read", got)
	}
	need(t, tree.MkdirAll("a/b"))
	need(t, tree.MkdirAll("/"))
	for _, row := range []struct {
		name string
		err  error
		want fault.Kind
	}{
		{"a directory over a file", tree.MkdirAll("a/b/f"), fault.NotDir},
		{"a file below a file", tree.WriteFile("a/b/f/g", b), fault.NotDir},
		{"a file over a directory", tree.WriteFile("a/b", b), fault.IsDir},
		{"a link over a file", tree.Link("a/b/f", "x"), fault.Exists},
		{"a hidden name", tree.WriteFile(vfs.Hidden+"x", b), fault.BadName},
	} {
		if fault.KindOf(row.err) != row.want {
			t.Errorf("%s: %v (kind %d); want kind %d", row.name, row.err, fault.KindOf(row.err), row.want)
		}
	}
	if _, err := tree.ReadFile("a/no"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("ReadFile(a/no) = %v; want fs.ErrNotExist", err)
	}
	need(t, tree.Close())
	if _, err := tree.ReadFile("a/b/f"); err != nil {
		t.Errorf("after Close: %v; a tree in memory outlives its sessions", err)
	}
}

func TestACancelledCallSaysWhy(t *testing.T) {
	kicked := fault.New(fault.Closing, fault.IDShutdown)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(kicked)
	tree := New(Options{})
	if _, err := tree.Stat(ctx, vfs.Root); !errors.Is(err, kicked) || fault.KindOf(err) != fault.Closing {
		t.Errorf("Stat(cancelled) = %v; want the cause", err)
	}
	ctx, cancel = context.WithCancelCause(t.Context())
	defer cancel(nil)
	need(t, tree.MkdirAll("a"))
	need(t, tree.MkdirAll("b"))
	steps := 0
	for _, err := range tree.List(ctx, vfs.Root) {
		steps++
		if steps == 1 {
			cancel(kicked)
		} else if !errors.Is(err, kicked) {
			t.Errorf("step %d of List = %v; want the cause", steps, err)
		}
	}
	if steps != 2 {
		t.Errorf("List yields %d times; want an entry and the error", steps)
	}
}

// FuzzTree does what the bytes say. Whatever it is, the room that is booked is
// the room that is taken, never above the bound; listings are sorted and show
// what Lstat finds; and when all has been removed nothing is booked.
func FuzzTree(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9})
	f.Add([]byte{1, 0, 0, 8, 0, 200, 9, 0, 2, 1, 0, 2, 8, 1, 255, 9, 1, 0})
	f.Add([]byte("a longer walk through names, uploads, cuts and renames"))
	f.Fuzz(func(t *testing.T, ops []byte) {
		const room = 50_000
		tree := New(Options{MaxBytes: room})
		ctx := t.Context()
		names := []string{"a", "b", "d", "d/a", "d/b", "d/d", "l", "l/a", "/"}
		owners := []string{"", "alice", "bob"}
		var ups []*upload
		arg := func() int {
			if len(ops) == 0 {
				return 0
			}
			b := ops[0]
			ops = ops[1:]
			return int(b)
		}
		name := func() vfs.Path { return path(t, names[arg()%len(names)]) }
		one := func() *upload {
			if len(ups) == 0 {
				return nil
			}
			return ups[arg()%len(ups)]
		}
		for len(ops) > 0 {
			// Errors are welcome: most of what the bytes say cannot be done.
			switch arg() % 16 {
			case 0:
				tree.Mkdir(ctx, name())
			case 1:
				tree.Remove(ctx, name())
			case 2:
				tree.RemoveDir(ctx, name())
			case 3:
				tree.Rename(ctx, name(), name(), vfs.Rename(arg()%2))
			case 4:
				tree.Link(name().String(), []string{"d", "../d", "a", "/", ".."}[arg()%5])
			case 5, 6:
				how := vfs.Create{How: vfs.How(arg() % 4), Offset: int64(arg()%8-1) * 1000, Owner: owners[arg()%3]}
				if up, err := tree.Create(ctx, name(), how); err == nil {
					ups = append(ups, up.(*upload))
				}
			case 7, 8:
				if up := one(); up != nil {
					up.WriteAt(make([]byte, arg()*100), up.Offset()+int64(arg()*100))
				}
			case 9:
				if up := one(); up != nil {
					up.Truncate(int64(arg()-1) * 500)
				}
			case 10:
				if up := one(); up != nil {
					up.Commit(ctx)
				}
			case 11:
				if up := one(); up != nil {
					up.Cut()
				}
			case 12:
				if up := one(); up != nil {
					up.Discard()
				}
			case 13:
				tree.Forget(ctx, name(), owners[arg()%3])
			case 14:
				tree.MovePartial(ctx, name(), name(), owners[arg()%3])
			case 15:
				tree.Clear(ctx, name(), owners[arg()%3], func(int64) {})
			}
			audit(t, tree, ups)
		}
		for _, up := range ups {
			up.Discard()
		}
		need(t, tree.Sweep(ctx, time.Now().Add(time.Hour), nil))
		empty(t, tree, vfs.Root)
		if tree.used != 0 {
			t.Errorf("%d bytes are booked in an empty tree", tree.used)
		}
	})
}

// audit counts the room again and walks the tree.
func audit(t *testing.T, tree *Tree, ups []*upload) {
	t.Helper()
	var sum int64
	var walk func(dir *node, p vfs.Path)
	walk = func(dir *node, p vfs.Path) {
		for _, d := range dir.partials {
			sum += int64(len(d.node.data))
		}
		for _, kid := range dir.kids {
			sum += int64(len(kid.data))
		}
		prev := ""
		for fi, err := range tree.List(t.Context(), p) {
			need(t, err)
			name := fi.Name()
			if name <= prev || strings.HasPrefix(name, vfs.Hidden) {
				t.Fatalf("List(%s) shows %q after %q", p, name, prev)
			}
			prev = name
			below, err := p.Join(name)
			need(t, err)
			again, err := tree.Lstat(t.Context(), below)
			need(t, err)
			if again.Size() != fi.Size() || again.Mode() != fi.Mode() || dir.kids[name].names != 1 {
				t.Fatalf("List(%s) shows %s; Lstat says %s", p, fs.FormatFileInfo(fi), fs.FormatFileInfo(again))
			}
			if fi.IsDir() {
				if dir.kids[name].up != dir {
					t.Fatalf("%s does not know the directory it is in", below)
				}
				walk(dir.kids[name], below)
			}
		}
	}
	walk(tree.root, vfs.Root)
	for _, up := range ups {
		if n := up.draft.node; !up.ended && (up.how.How != vfs.InPlace || n.names == 0) {
			sum += int64(len(n.data))
		}
	}
	if sum != tree.used || sum > tree.max {
		t.Fatalf("%d bytes are booked, %d are taken, %d are allowed", tree.used, sum, tree.max)
	}
}

// empty removes all below p.
func empty(t *testing.T, tree *Tree, p vfs.Path) {
	t.Helper()
	for fi, err := range tree.List(t.Context(), p) {
		need(t, err)
		below, err := p.Join(fi.Name())
		need(t, err)
		if fi.IsDir() {
			empty(t, tree, below)
			need(t, tree.RemoveDir(t.Context(), below))
		} else {
			need(t, tree.Remove(t.Context(), below))
		}
	}
}
