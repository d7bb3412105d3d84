package vfstest

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"

	"dray/fault"
	"dray/vfs"
)

// leaveListed is leave for an upload with Create.Listed.
func (t *trial) leaveListed(s, owner string, b []byte) {
	t.Helper()
	up := t.create(s, vfs.Create{Owner: owner, Listed: true})
	t.write(up, b, 0)
	t.cut(up)
}

// names wants Names to yield exactly these.
func (t *trial) names(dir, owner string, want ...string) {
	t.Helper()
	got := []string{}
	for fi, err := range t.partials().Names(t.Context(), t.path(dir), owner) {
		t.need(err, "Names(%s, %q)", dir, owner)
		if !fi.Mode().IsRegular() {
			t.Errorf("Names(%s, %q): %s has mode %v", dir, owner, fi.Name(), fi.Mode())
		}
		got = append(got, strings.Clone(fi.Name()))
	}
	slices.Sort(got)
	if want = slices.Sorted(slices.Values(want)); !slices.Equal(got, want) && len(got)+len(want) > 0 {
		t.Errorf("Names(%s, %q) = %q; want %q", dir, owner, got, want)
	}
}

var namesTests = []test{
	{"Names tells partials of listed uploads with their size and time", func(t *trial) {
		parts := t.partials()
		t.mkdir("d")
		t.leaveListed("d/f", "alice", content(1, 10_000))
		t.leave("d/unlisted", "alice", content(1, 10_000))
		t.put("d/done", []byte("done"))
		t.need(parts.SetPartialTime(t.Context(), t.path("d/f"), "alice", day), "SetPartialTime(d/f)")
		t.names("d", "alice", "f")
		for fi, err := range parts.Names(t.Context(), t.path("d"), "alice") {
			t.need(err, "Names(d, alice)")
			if fi.Size() != 10_000-vfs.CutTail {
				t.Errorf("Names(d, alice): %s has %d bytes; want %d", fi.Name(), fi.Size(), 10_000-vfs.CutTail)
			}
			t.dated(fi, day, "the partial")
		}
		t.lists("d", "done")
	}},
	{"Names of one owner and one directory only", func(t *trial) {
		t.partials()
		t.mkdir("d")
		t.leaveListed("f", "alice", content(1, 10_000))
		t.leaveListed("d/g", "alice", content(1, 10_000))
		t.leaveListed("f", "bob", content(1, 10_000))
		t.names("/", "alice", "f")
		t.names("d", "alice", "g")
		t.names("/", "bob", "f")
		t.names("d", "bob")
		t.names("/", "carol")
		t.names("/", "")
	}},
	{"Names tells any name as it is", func(t *trial) {
		t.partials()
		want := []string{"a b", "größe", strings.Repeat("n", vfs.MaxName), "x.part", "...", "-", `"`}
		if !t.opt.UTF8Only {
			want = append(want, "\xff\xfe")
		}
		for _, name := range want {
			t.leaveListed("/"+name, "alice", content(1, 10_000))
		}
		t.names("/", "alice", want...)
	}},
	{"a partial whose upload goes on has no name", func(t *trial) {
		t.partials()
		t.leaveListed("f", "alice", content(1, 20_000))
		up := t.create("f", vfs.Create{How: vfs.Resume, Offset: 5000, Owner: "alice"})
		running := t.create("g", vfs.Create{Owner: "alice", Listed: true})
		t.write(running, content(1, 10_000), 0)
		t.names("/", "alice")
		t.write(up, content(1, 20_000)[5000:15_000], 5000)
		t.cut(up)
		t.names("/", "alice", "f") // known once, known from then on
		t.discard(running)
		up = t.create("f", vfs.Create{How: vfs.Resume, Offset: 5000, Owner: "alice"})
		t.write(up, content(1, 20_000)[5000:], 5000)
		t.commit(up)
		t.names("/", "alice")
		t.holds("f", content(1, 20_000))
	}},
	{"Resume makes a name known", func(t *trial) {
		t.partials()
		t.leave("f", "alice", content(1, 20_000))
		t.names("/", "alice")
		up := t.create("f", vfs.Create{How: vfs.Resume, Offset: 10_000, Owner: "alice", Listed: true})
		t.cut(up)
		t.names("/", "alice", "f")
	}},
	{"a finished file of the name does not hide it", func(t *trial) {
		t.partials()
		t.put("f", []byte("done"))
		t.leaveListed("f", "alice", []byte("short"))
		t.names("/", "alice", "f")
		t.partial("f", "alice", 0)
	}},
	{"New and links are named for the file", func(t *trial) {
		t.partials()
		up := t.create("f", vfs.Create{How: vfs.New, Owner: "alice", Listed: true})
		t.write(up, content(1, 10_000), 0)
		t.cut(up)
		t.names("/", "alice", "f")
		if t.opt.Symlink == nil {
			return
		}
		t.mkdir("d")
		t.opt.Symlink(t.T, t.tree, t.path("link"), "d/target")
		t.leaveListed("link", "alice", content(1, 10_000))
		t.names("d", "alice", "target")
		t.names("/", "alice", "f")
	}},
	{"MovePartial takes the name along", func(t *trial) {
		parts := t.partials()
		t.mkdir("d")
		t.mkdir("e")
		t.leaveListed("d/f", "alice", content(1, 10_000))
		t.leave("d/unlisted", "alice", content(2, 10_000))
		for _, step := range [][2]string{{"d/f", "d/g"}, {"d/g", "d/g"}, {"d/g", "e/h"}, {"d/unlisted", "d/u"}} {
			t.need(parts.MovePartial(t.Context(), t.path(step[0]), t.path(step[1]), "alice"), "MovePartial(%s, %s)", step[0], step[1])
		}
		t.names("d", "alice")
		t.names("e", "alice", "h")
		t.need(parts.Forget(t.Context(), t.path("d/u"), "alice"), "Forget(d/u)")
		t.need(parts.Forget(t.Context(), t.path("e/h"), "alice"), "Forget(e/h)")
		t.empties("d")
		t.empties("e")
	}},
	{"MovePartial over another partial", func(t *trial) {
		parts := t.partials()
		t.mkdir("d")
		t.leaveListed("d/f", "alice", content(1, 10_000))
		t.leaveListed("d/g", "alice", content(2, 20_000))
		t.need(parts.MovePartial(t.Context(), t.path("d/f"), t.path("d/g"), "alice"), "MovePartial(d/f, d/g)")
		t.names("d", "alice", "g")
		t.partial("d/g", "alice", 10_000-vfs.CutTail)
		t.need(parts.Forget(t.Context(), t.path("d/g"), "alice"), "Forget(d/g)")
		t.empties("d")
	}},
	{"a mode that is set keeps the name", func(t *trial) {
		parts := t.partials()
		t.moder()
		t.mkdir("d")
		t.leaveListed("d/f", "alice", content(1, 10_000))
		for _, mode := range []fs.FileMode{0o400, 0o200, 0} {
			t.need(parts.ChmodPartial(t.Context(), t.path("d/f"), "alice", mode), "ChmodPartial(d/f, %v)", mode)
			t.names("d", "alice", "f")
		}
		t.need(parts.MovePartial(t.Context(), t.path("d/f"), t.path("d/g"), "alice"), "MovePartial(d/f, d/g)")
		t.names("d", "alice", "g")
		t.need(parts.Clear(t.Context(), t.path("d"), "alice", func(int64) {}), "Clear(d, alice)")
		t.empties("d")
	}},
	{"whatever ends a partial leaves nothing of its name", func(t *trial) {
		parts := t.partials()
		t.mkdir("d")
		ends := []struct {
			name string
			call func()
		}{
			{"Forget", func() { t.need(parts.Forget(t.Context(), t.path("d/f"), "alice"), "Forget(d/f)") }},
			{"Clear", func() {
				var freed []int64
				t.need(parts.Clear(t.Context(), t.path("d"), "alice", func(n int64) { freed = append(freed, n) }), "Clear(d, alice)")
				if !slices.Equal(freed, []int64{10_000 - vfs.CutTail}) {
					t.Errorf("Clear(d, alice) freed %d; want the bytes of one partial", freed)
				}
			}},
			{"Sweep", func() {
				var freed []int64
				t.need(parts.Sweep(t.Context(), time.Now().Add(time.Hour), func(n int64) { freed = append(freed, n) }), "Sweep(in an hour)")
				if !slices.Equal(freed, []int64{10_000 - vfs.CutTail}) {
					t.Errorf("Sweep(in an hour) freed %d; want the bytes of one partial", freed)
				}
			}},
			{"an upload from the start", func() {
				up := t.create("d/f", vfs.Create{Owner: "alice"})
				t.write(up, []byte("new"), 0)
				t.commit(up)
				t.need(t.tree.Remove(t.Context(), t.path("d/f")), "Remove(d/f)")
			}},
			{"Resume and Commit", func() {
				t.commit(t.create("d/f", vfs.Create{How: vfs.Resume, Offset: 5000, Owner: "alice"}))
				t.need(t.tree.Remove(t.Context(), t.path("d/f")), "Remove(d/f)")
			}},
			{"Resume and Discard", func() {
				t.discard(t.create("d/f", vfs.Create{How: vfs.Resume, Offset: 5000, Owner: "alice"}))
			}},
			{"a cut of which nothing is left", func() {
				up := t.create("d/f", vfs.Create{Owner: "alice", Listed: true})
				t.write(up, []byte("short"), 0)
				t.cut(up)
			}},
		}
		for _, end := range ends {
			t.leaveListed("d/f", "alice", content(1, 10_000))
			t.names("d", "alice", "f")
			end.call()
			t.names("d", "alice")
			t.lists("d")
			if t.Failed() {
				t.Fatalf("after %s", end.name)
			}
		}
		t.empties("d")
	}},
	{"listed uploads that end otherwise leave nothing", func(t *trial) {
		t.mkdir("d")
		for _, how := range []vfs.How{vfs.Replace, vfs.New} {
			up := t.create("d/f", vfs.Create{How: how, Owner: "alice", Listed: true})
			t.write(up, []byte("hello"), 0)
			t.commit(up)
			t.need(t.tree.Remove(t.Context(), t.path("d/f")), "Remove(d/f)")
			up = t.create("d/f", vfs.Create{How: how, Owner: "alice", Listed: true})
			t.write(up, content(1, 10_000), 0)
			t.discard(up)
			up = t.create("d/f", vfs.Create{How: how, Listed: true})
			t.write(up, content(1, 10_000), 0)
			t.cut(up)
		}
		t.kind(t.refused("d/f", vfs.Create{Offset: 5, Owner: "alice", Listed: true}), kinds(fault.BadOffset), "Create(d/f) from 5")
		t.empties("d")
	}},
	{"one of two uploads to a name ends without the other's partial", func(t *trial) {
		t.partials()
		t.leaveListed("f", "alice", content(1, 10_000))
		t.discard(t.create("f", vfs.Create{Owner: "alice", Listed: true}))
		t.names("/", "alice", "f")
		a := t.create("f", vfs.Create{Owner: "alice", Listed: true})
		b := t.create("f", vfs.Create{Owner: "alice", Listed: true})
		t.write(a, content(2, 30_000), 0)
		t.write(b, []byte("done"), 0)
		t.commit(b)
		t.names("/", "alice")
		t.cut(a)
		t.names("/", "alice", "f")
		t.partial("f", "alice", 30_000-vfs.CutTail)
	}},
	{"Names of nothing and of a file are errors", func(t *trial) {
		parts := t.partials()
		t.put("f", []byte("done"))
		for dir, want := range map[string]fault.Kind{"no": fault.NotFound, "f": fault.NotDir} {
			var last error
			for fi, err := range parts.Names(t.Context(), t.path(dir), "alice") {
				if last != nil {
					t.Errorf("Names(%s) goes on after %v with %v", dir, last, fi)
				}
				last = err
			}
			t.kind(last, kinds(want), "Names(%s, alice)", dir)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for _, err := range parts.Names(ctx, vfs.Root, "alice") {
			t.kind(err, kinds(fault.Canceled), "Names(cancelled)")
		}
	}},
	{"who stops asking for Names is asked no more", func(t *trial) {
		for _, name := range []string{"a", "b", "c"} {
			t.leaveListed(name, "alice", content(1, 10_000))
		}
		n := 0
		for _, err := range t.partials().Names(t.Context(), vfs.Root, "alice") {
			t.need(err, "Names(/, alice)")
			n++
			break
		}
		if n != 1 {
			t.Errorf("%d names before the break", n)
		}
	}},
	{"OpenPartial reads what is kept", func(t *trial) {
		parts := t.partials()
		want := content(1, 10_000)
		t.leave("f", "alice", want)
		t.need(parts.SetPartialTime(t.Context(), t.path("f"), "alice", day), "SetPartialTime(f)")
		f, err := parts.OpenPartial(t.Context(), t.path("f"), "alice")
		t.need(err, "OpenPartial(f, alice)")
		got, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<30))
		if err != nil || !bytes.Equal(got, want[:10_000-vfs.CutTail]) {
			t.Errorf("the partial holds %s, %v; want %s", brief(got), err, brief(want[:10_000-vfs.CutTail]))
		}
		fi, err := f.Stat()
		t.need(err, "Stat()")
		if fi.Name() != "f" || fi.Size() != 10_000-vfs.CutTail {
			t.Errorf("Stat(): %s of %d bytes; want f of %d", fi.Name(), fi.Size(), 10_000-vfs.CutTail)
		}
		t.need(f.Close(), "Close()")
		// A look changes nothing: the time that was set holds.
		up := t.create("f", vfs.Create{How: vfs.Resume, Offset: 5000, Owner: "alice"})
		t.write(up, want[5000:], 5000)
		t.commit(up)
		t.dated(t.stat("f"), day, "f")
	}},
	{"OpenPartial of nothing, and by others, is fs.ErrNotExist", func(t *trial) {
		parts := t.partials()
		t.put("done", []byte("done"))
		t.leaveListed("f", "alice", content(1, 10_000))
		for _, row := range [][2]string{{"done", "alice"}, {"no", "alice"}, {"f", "bob"}, {"f", ""}, {"/", "alice"}} {
			f, err := parts.OpenPartial(t.Context(), t.path(row[0]), row[1])
			if err == nil {
				f.Close()
			}
			if row[0] == "/" {
				t.fails(err, "OpenPartial(/)")
				continue
			}
			t.is(err, fs.ErrNotExist, "OpenPartial(%s, %q)", row[0], row[1])
		}
	}},
}
