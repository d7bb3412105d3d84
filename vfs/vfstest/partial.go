package vfstest

import (
	"bytes"
	"context"
	"io/fs"
	"slices"
	"strings"
	"time"

	"dray/fault"
	"dray/vfs"
)

var partialTests = []test{
	{"a cut upload is kept for its owner, less its last 4096 bytes", func(t *trial) {
		t.partials()
		for _, size := range []int{vfs.CutTail + 1, 2 * vfs.CutTail, 100_000} {
			t.leave("f", "alice", content(1, size))
			t.partial("f", "alice", int64(size-vfs.CutTail))
			t.gone("f")
		}
	}},
	{"of 4096 bytes or less nothing is kept", func(t *trial) {
		t.partials()
		t.mkdir("d")
		for _, size := range []int{0, 1, vfs.CutTail - 1, vfs.CutTail} {
			t.leave("d/f", "alice", content(1, size))
			t.noPartial("d/f", "alice")
			t.gone("d/f")
		}
		t.empties("d")
	}},
	{"a New that is cut is kept too", func(t *trial) {
		t.partials()
		up := t.create("f", vfs.Create{How: vfs.New, Owner: "alice"})
		t.write(up, content(1, 10_000), 0)
		t.cut(up)
		t.partial("f", "alice", 10_000-vfs.CutTail)
		t.gone("f")
	}},
	{"a commit that failed can still be cut", func(t *trial) {
		t.partials()
		up := t.create("f", vfs.Create{How: vfs.New, Owner: "alice"})
		t.write(up, content(1, 10_000), 0)
		t.put("f", []byte("other"))
		t.is(up.Commit(t.Context()), fs.ErrExist, "Commit()")
		t.cut(up)
		t.holds("f", []byte("other"))
		t.partial("f", "alice", 10_000-vfs.CutTail)
	}},
	{"no other owner and no other name has it", func(t *trial) {
		t.partials()
		t.leave("f", "alice", content(1, 10_000))
		for _, owner := range []string{"bob", "Alice", "alic", "alice2", ""} {
			t.noPartial("f", owner)
			t.is(t.refused("f", vfs.Create{How: vfs.Resume, Owner: owner}), fs.ErrNotExist, "Create(f, Resume) by %q", owner)
		}
		t.noPartial("g", "alice")
		t.partial("f", "alice", 10_000-vfs.CutTail)
	}},
	{"each owner and name has one of its own, whatever they are called", func(t *trial) {
		t.partials()
		type key struct{ name, owner string }
		keys := []key{
			{"ab", "c"}, {"a", "bc"}, {"abc", "d"}, {"f", "alice"}, {"f", "bob"}, {"f", "../bob"}, {"f", "a/b"}, {"f", "größe"},
			{"f", "Bob"}, {"f", strings.Repeat("x", 300)}, {strings.Repeat("n", vfs.MaxName), strings.Repeat("x", 300)},
		}
		for i, k := range keys {
			t.leave(k.name, k.owner, content(byte(i), 10_000+i))
		}
		t.lists("/")
		for i, k := range keys {
			t.partial(k.name, k.owner, int64(10_000+i-vfs.CutTail))
		}
		for i, k := range keys {
			want := content(byte(i), 10_000+i)
			up := t.create(k.name, vfs.Create{How: vfs.Resume, Offset: 5000, Owner: k.owner})
			t.write(up, want[5000:], 5000)
			t.commit(up)
			t.holds(k.name, want)
		}
	}},
	{"the finished file stays what is seen", func(t *trial) {
		t.partials()
		t.put("f", []byte("old"))
		t.leave("f", "alice", content(1, 10_000))
		t.holds("f", []byte("old"))
		t.lists("/", "f")
		t.partial("f", "alice", 10_000-vfs.CutTail)
	}},
	{"Resume goes on where the partial ends", func(t *trial) {
		t.partials()
		want := content(1, 100_000)
		t.leave("f", "alice", want[:60_000])
		n := int64(60_000 - vfs.CutTail)
		up := t.create("f", vfs.Create{How: vfs.Resume, Offset: n, Owner: "alice"})
		if up.Offset() != n {
			t.Errorf("Offset() = %d; want %d", up.Offset(), n)
		}
		got := make([]byte, n)
		if _, err := up.ReadAt(got, 0); err != nil || !bytes.Equal(got, want[:n]) {
			t.Errorf("ReadAt() = %s, %v; want %s", brief(got), err, brief(want[:n]))
		}
		t.gone("f")
		t.write(up, want[n:], n)
		t.gone("f")
		t.commit(up)
		t.holds("f", want)
		t.noPartial("f", "alice")
		t.lists("/", "f")
	}},
	{"Resume before the end of the partial drops what is behind", func(t *trial) {
		t.partials()
		t.leave("f", "alice", content(1, 50_000))
		up := t.create("f", vfs.Create{How: vfs.Resume, Offset: 1000, Owner: "alice"})
		fi, err := up.Stat()
		t.need(err, "Stat()")
		if fi.Size() != 1000 || up.Offset() != 1000 {
			t.Errorf("the upload has %d bytes and offset %d; want 1000", fi.Size(), up.Offset())
		}
		t.write(up, []byte("tail"), 1000)
		t.commit(up)
		t.holds("f", append(content(1, 1000), "tail"...))
	}},
	{"Resume from 0 starts with nothing", func(t *trial) {
		t.partials()
		t.leave("f", "alice", content(1, 50_000))
		up := t.create("f", vfs.Create{How: vfs.Resume, Owner: "alice"})
		t.write(up, []byte("new"), 0)
		t.commit(up)
		t.holds("f", []byte("new"))
		t.noPartial("f", "alice")
	}},
	{"Resume above the partial is of kind BadOffset and leaves it", func(t *trial) {
		t.partials()
		t.leave("f", "alice", content(1, 10_000))
		t.kind(t.refused("f", vfs.Create{How: vfs.Resume, Offset: 10_000 - vfs.CutTail + 1, Owner: "alice"}), kinds(fault.BadOffset), "Create(f, Resume)")
		t.partial("f", "alice", 10_000-vfs.CutTail)
		t.gone("f")
	}},
	{"Resume without a partial is fs.ErrNotExist, also of a finished file", func(t *trial) {
		t.partials()
		t.put("f", []byte("old"))
		t.is(t.refused("f", vfs.Create{How: vfs.Resume, Owner: "alice"}), fs.ErrNotExist, "Create(f, Resume)")
		t.is(t.refused("no", vfs.Create{How: vfs.Resume, Owner: "alice"}), fs.ErrNotExist, "Create(no, Resume)")
		t.holds("f", []byte("old"))
		t.lists("/", "f")
	}},
	{"Resume beside a finished file replaces it at Commit", func(t *trial) {
		t.partials()
		want := content(1, 20_000)
		t.put("f", []byte("old"))
		t.leave("f", "alice", want[:10_000])
		up := t.create("f", vfs.Create{How: vfs.Resume, Offset: 5000, Owner: "alice"})
		t.write(up, want[5000:], 5000)
		t.holds("f", []byte("old"))
		t.commit(up)
		t.holds("f", want)
		t.noPartial("f", "alice")
	}},
	{"Resume that is cut is a partial again, with another tail cut off", func(t *trial) {
		t.partials()
		want := content(1, 100_000)
		t.leave("f", "alice", want[:40_000])
		up := t.create("f", vfs.Create{How: vfs.Resume, Offset: 30_000, Owner: "alice"})
		t.write(up, want[30_000:80_000], 30_000)
		t.cut(up)
		t.partial("f", "alice", 80_000-vfs.CutTail)
		up = t.create("f", vfs.Create{How: vfs.Resume, Offset: 80_000 - vfs.CutTail, Owner: "alice"})
		t.write(up, want[80_000-vfs.CutTail:], 80_000-vfs.CutTail)
		t.commit(up)
		t.holds("f", want)
	}},
	{"Resume that is made shorter and cut loses its tail too", func(t *trial) {
		t.partials()
		want := content(1, 100_000)
		t.leave("f", "alice", want[:80_000])
		up := t.create("f", vfs.Create{How: vfs.Resume, Offset: 70_000, Owner: "alice"})
		t.need(up.Truncate(0), "Truncate")
		t.write(up, want[:20_000], 0) // which may be all of another file
		t.cut(up)
		t.partial("f", "alice", 20_000-vfs.CutTail)
	}},
	{"one resumes a partial at a time", func(t *trial) {
		t.partials()
		want := content(1, 20_000)
		t.leave("f", "alice", want[:10_000])
		up := t.create("f", vfs.Create{How: vfs.Resume, Offset: 5000, Owner: "alice"})
		t.kind(t.refused("f", vfs.Create{How: vfs.Resume, Offset: 5000, Owner: "alice"}), kinds(fault.Busy, fault.NotFound), "the second Create(f, Resume)")
		t.write(up, want[5000:], 5000)
		t.commit(up)
		t.holds("f", want)
	}},
	{"an upload from the start that commits forgets its owner's partial only", func(t *trial) {
		t.partials()
		t.leave("f", "alice", content(1, 10_000))
		t.leave("f", "bob", content(2, 20_000))
		up := t.create("f", vfs.Create{Owner: "alice"})
		t.write(up, []byte("new"), 0)
		t.partial("f", "alice", 10_000-vfs.CutTail)
		t.commit(up)
		t.holds("f", []byte("new"))
		t.noPartial("f", "alice")
		t.partial("f", "bob", 20_000-vfs.CutTail)
	}},
	{"an upload that is cut replaces the older partial", func(t *trial) {
		t.partials()
		t.leave("f", "alice", content(1, 50_000))
		want := content(2, 10_000)
		t.leave("f", "alice", want)
		t.partial("f", "alice", 10_000-vfs.CutTail)
		up := t.create("f", vfs.Create{How: vfs.Resume, Offset: 10_000 - vfs.CutTail, Owner: "alice"})
		t.write(up, want[10_000-vfs.CutTail:], 10_000-vfs.CutTail)
		t.commit(up)
		t.holds("f", want)
	}},
	{"a running upload is no partial", func(t *trial) {
		t.partials()
		up := t.create("f", vfs.Create{Owner: "alice"})
		t.write(up, content(1, 50_000), 0)
		t.noPartial("f", "alice")
		t.discard(up)
	}},
	{"Forget removes one partial and nothing else", func(t *trial) {
		parts := t.partials()
		t.mkdir("d")
		t.need(parts.Forget(t.Context(), t.path("d/f"), "alice"), "Forget() of nothing")
		t.leave("d/f", "alice", content(1, 10_000))
		t.leave("d/f", "bob", content(2, 20_000))
		t.put("d/f", []byte("old"))
		t.need(parts.Forget(t.Context(), t.path("d/f"), "alice"), "Forget(d/f, alice)")
		t.noPartial("d/f", "alice")
		t.is(t.refused("d/f", vfs.Create{How: vfs.Resume, Owner: "alice"}), fs.ErrNotExist, "Create(d/f, Resume)")
		t.partial("d/f", "bob", 20_000-vfs.CutTail)
		t.holds("d/f", []byte("old"))
		t.need(parts.Forget(t.Context(), t.path("d/f"), "bob"), "Forget(d/f, bob)")
		t.need(t.tree.Remove(t.Context(), t.path("d/f")), "Remove(d/f)")
		t.empties("d")
	}},
	{"RemoveDir fails over a partial until Clear", func(t *trial) {
		parts, freed := t.partials(), int64(0)
		t.mkdir("d")
		t.leave("d/f", "alice", content(1, 10_000))
		t.leave("d/g", "alice", content(1, 10_000))
		t.lists("d")
		t.kind(t.tree.RemoveDir(t.Context(), t.path("d")), kinds(fault.NotEmpty), "RemoveDir(d)")
		t.partial("d/f", "alice", 10_000-vfs.CutTail)
		t.need(parts.Clear(t.Context(), t.path("d"), "alice", func(n int64) { freed += n }), "Clear(d, alice)")
		if freed != 2*(10_000-vfs.CutTail) {
			t.Errorf("Clear(d, alice) frees %d bytes; want those of both partials", freed)
		}
		t.noPartial("d/f", "alice")
		t.noPartial("d/g", "alice")
		t.empties("d")
	}},
	{"Clear removes idle partials of one owner in one directory", func(t *trial) {
		parts := t.partials()
		t.mkdir("d")
		t.mkdir("d/sub")
		t.leave("d/f", "alice", content(1, 10_000))
		t.leave("d/f", "bob", content(2, 10_000))
		t.leave("d/sub/f", "alice", content(3, 10_000))
		t.leave("d/resumed", "alice", content(4, 10_000))
		t.put("d/done", []byte("done"))
		running := t.create("d/running", vfs.Create{Owner: "alice"})
		t.write(running, content(5, 10_000), 0)
		resumed := t.create("d/resumed", vfs.Create{How: vfs.Resume, Offset: 5000, Owner: "alice"})
		t.need(parts.Clear(t.Context(), t.path("d"), "alice", func(int64) {}), "Clear(d, alice)")
		t.noPartial("d/f", "alice")
		t.partial("d/f", "bob", 10_000-vfs.CutTail)
		t.partial("d/sub/f", "alice", 10_000-vfs.CutTail)
		t.commit(running)
		t.write(resumed, content(4, 10_000)[5000:], 5000)
		t.commit(resumed)
		t.holds("d/running", content(5, 10_000))
		t.holds("d/resumed", content(4, 10_000))
		t.holds("d/done", []byte("done"))
	}},
	{"MovePartial gives it another name, in any directory", func(t *trial) {
		parts := t.partials()
		want := content(1, 20_000)
		t.mkdir("d")
		t.mkdir("e")
		t.leave("d/f", "alice", want[:10_000])
		t.leave("d/f", "bob", content(2, 10_000))
		for _, step := range [][2]string{{"d/f", "d/g"}, {"d/g", "e/h"}} {
			t.need(parts.MovePartial(t.Context(), t.path(step[0]), t.path(step[1]), "alice"), "MovePartial(%s, %s)", step[0], step[1])
			t.noPartial(step[0], "alice")
			t.partial(step[1], "alice", 10_000-vfs.CutTail)
			t.gone(step[1])
		}
		t.partial("d/f", "bob", 10_000-vfs.CutTail)
		up := t.create("e/h", vfs.Create{How: vfs.Resume, Offset: 5000, Owner: "alice"})
		t.write(up, want[5000:], 5000)
		t.commit(up)
		t.holds("e/h", want)
		t.need(parts.Clear(t.Context(), t.path("d"), "bob", func(int64) {}), "Clear(d, bob)")
		t.empties("d")
	}},
	{"MovePartial does not take the place of a finished file", func(t *trial) {
		t.leave("f", "alice", content(1, 20_000))
		t.put("g", []byte("done"))
		t.is(t.partials().MovePartial(t.Context(), t.path("f"), t.path("g"), "alice"), fs.ErrExist, "MovePartial(f, g)")
		t.holds("g", []byte("done"))
		t.partial("f", "alice", 20_000-vfs.CutTail)
	}},
	{"MovePartial, SetPartialTime and ChmodPartial of nothing are fs.ErrNotExist", func(t *trial) {
		parts := t.partials()
		t.put("f", []byte("old"))
		mode := t.stat("f").Mode()
		t.is(parts.MovePartial(t.Context(), t.path("f"), t.path("g"), "alice"), fs.ErrNotExist, "MovePartial(f, g)")
		t.is(parts.SetPartialTime(t.Context(), t.path("f"), "alice", day), fs.ErrNotExist, "SetPartialTime(f)")
		t.is(parts.ChmodPartial(t.Context(), t.path("f"), "alice", 0o600), fs.ErrNotExist, "ChmodPartial(f)")
		t.holds("f", []byte("old"))
		if fi := t.stat("f"); fi.Mode() != mode || fi.ModTime().Equal(day) {
			t.Errorf("f has mode %v and is dated %v; want it untouched", fi.Mode(), fi.ModTime())
		}
	}},
	{"a time set on a partial is kept for the commit", func(t *trial) {
		parts := t.partials()
		want := content(1, 20_000)
		t.leave("f", "alice", want[:10_000])
		t.need(parts.SetPartialTime(t.Context(), t.path("f"), "alice", day), "SetPartialTime(f)")
		fi, err := parts.Partial(t.Context(), t.path("f"), "alice")
		t.need(err, "Partial(f, alice)")
		t.dated(fi, day, "the partial")
		up := t.create("f", vfs.Create{How: vfs.Resume, Offset: 5000, Owner: "alice"})
		t.write(up, want[5000:], 5000)
		t.commit(up)
		t.holds("f", want)
		t.dated(t.stat("f"), day, "f")
	}},
	{"a time set on a partial is kept over another cut", func(t *trial) {
		parts := t.partials()
		want := content(1, 40_000)
		t.leave("f", "alice", want[:10_000])
		t.need(parts.SetPartialTime(t.Context(), t.path("f"), "alice", day), "SetPartialTime(f)")
		up := t.create("f", vfs.Create{How: vfs.Resume, Offset: 5000, Owner: "alice"})
		t.write(up, want[5000:20_000], 5000)
		t.cut(up)
		up = t.create("f", vfs.Create{How: vfs.Resume, Offset: 5000, Owner: "alice"})
		t.write(up, want[5000:], 5000)
		t.commit(up)
		t.holds("f", want)
		t.dated(t.stat("f"), day, "f")
	}},
	{"a mode set on a partial is kept for the commit", func(t *trial) {
		parts := t.partials()
		m := t.moder()
		want := content(1, 20_000)
		for range 2 { // the second time it replaces a file, and the mode is the partial's all the same
			t.leave("f", "alice", want[:10_000])
			t.need(parts.ChmodPartial(t.Context(), t.path("f"), "alice", 0o604), "ChmodPartial(f)")
			up := t.create("f", vfs.Create{How: vfs.Resume, Offset: 5000, Owner: "alice"})
			t.write(up, want[5000:], 5000)
			t.commit(up)
			t.holds("f", want)
			if got := t.stat("f").Mode(); got != 0o604 {
				t.Errorf("f has mode %v; want %v", got, fs.FileMode(0o604))
			}
			t.need(m.Chmod(t.Context(), t.path("f"), 0o640), "Chmod(f)")
		}
	}},
	{"Sweep removes partials that are old enough and tells their bytes", func(t *trial) {
		parts := t.partials()
		t.mkdir("d")
		t.mkdir("d/deep")
		t.leave("f", "alice", content(1, 10_000))
		t.leave("d/f", "alice", content(2, 20_000))
		t.leave("d/deep/f", "bob", content(3, 30_000))
		t.put("d/deep/done", []byte("done"))
		t.need(t.tree.SetTime(t.Context(), t.path("d/deep/done"), day), "SetTime(d/deep/done)")

		var freed []int64
		book := func(sizeBytes int64) { freed = append(freed, sizeBytes) }
		t.need(parts.Sweep(t.Context(), time.Now().Add(-time.Hour), book), "Sweep(an hour ago)")
		if len(freed) > 0 {
			t.Errorf("Sweep(an hour ago) freed %d; want nothing", freed)
		}
		t.partial("d/deep/f", "bob", 30_000-vfs.CutTail)

		t.need(parts.Sweep(t.Context(), time.Now().Add(time.Hour), book), "Sweep(in an hour)")
		slices.Sort(freed)
		if want := []int64{10_000 - vfs.CutTail, 20_000 - vfs.CutTail, 30_000 - vfs.CutTail}; !slices.Equal(freed, want) {
			t.Errorf("Sweep(in an hour) freed %d; want %d", freed, want)
		}
		t.noPartial("f", "alice")
		t.noPartial("d/f", "alice")
		t.noPartial("d/deep/f", "bob")
		t.holds("d/deep/done", []byte("done"))
	}},
	{"a date set on a partial does not make it old", func(t *trial) {
		// "Last written" is about the bytes: clients that keep times date a
		// partial by its source, which may be years old.
		parts := t.partials()
		t.leave("f", "alice", content(1, 10_000))
		t.need(parts.SetPartialTime(t.Context(), t.path("f"), "alice", day), "SetPartialTime(f)")
		up := t.create("g", vfs.Create{Owner: "alice"})
		t.write(up, content(1, 10_000), 0)
		t.need(up.SetTime(day), "SetTime()")
		t.cut(up)
		freed := 0
		t.need(parts.Sweep(t.Context(), time.Now().Add(-time.Hour), func(int64) { freed++ }), "Sweep(an hour ago)")
		if freed > 0 {
			t.Errorf("Sweep(an hour ago) freed %d partials; want none", freed)
		}
		t.partial("f", "alice", 10_000-vfs.CutTail)
		t.partial("g", "alice", 10_000-vfs.CutTail)
	}},
	{"Sweep leaves running uploads alone", func(t *trial) {
		parts := t.partials()
		want := content(1, 20_000)
		t.put("done", []byte("old"))
		t.leave("resumed", "alice", want[:10_000])
		ups := map[string]vfs.Upload{
			"new":      t.create("new", vfs.Create{How: vfs.New, Owner: "alice"}),
			"replaced": t.create("replaced", vfs.Create{Owner: "alice"}),
			"resumed":  t.create("resumed", vfs.Create{How: vfs.Resume, Offset: 5000, Owner: "alice"}),
		}
		for _, up := range ups {
			t.write(up, want[up.Offset():15_000], up.Offset())
		}
		appending := t.create("done", vfs.Create{How: vfs.InPlace, Offset: -1, Owner: "alice"})
		t.write(appending, []byte(" and"), appending.Offset())
		t.need(parts.Sweep(t.Context(), time.Now().Add(time.Hour), func(n int64) { t.Errorf("Sweep freed %d bytes", n) }), "Sweep(in an hour)")
		for name, up := range ups {
			t.write(up, want[15_000:], 15_000)
			t.commit(up)
			t.holds(name, want)
		}
		t.write(appending, []byte(" more"), 7)
		t.commit(appending)
		t.holds("done", []byte("old and more"))
	}},
	{"a cancelled Resume stays resumable", func(t *trial) {
		t.partials()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		t.leave("f", "alice", content(1, 20_000))
		up := t.create("f", vfs.Create{How: vfs.Resume, Offset: 10_000, Owner: "alice"})
		t.write(up, content(1, 20_000)[10_000:], 10_000)
		t.kind(up.Commit(ctx), kinds(fault.Canceled), "Commit(cancelled)")
		t.cut(up)
		t.gone("f")
		t.partial("f", "alice", 20_000-vfs.CutTail)
	}},
}
