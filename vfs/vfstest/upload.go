package vfstest

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"math/rand/v2"

	"dray/fault"
	"dray/vfs"
)

var uploadTests = []test{
	{"nothing shows before Commit", func(t *trial) {
		t.mkdir("d")
		up := t.create("d/f", vfs.Create{Owner: "alice"})
		t.write(up, content(1, 10_000), 0)
		t.gone("d/f")
		t.need(up.Sync(t.Context()), "Sync()")
		t.gone("d/f")
		t.need(up.Commit(t.Context()), "Commit()")
		t.holds("d/f", content(1, 10_000))
	}},
	{"Commit needs no Sync", func(t *trial) {
		up := t.create("f", vfs.Create{})
		t.write(up, []byte("hello"), 0)
		t.need(up.Commit(t.Context()), "Commit()")
		t.holds("f", []byte("hello"))
	}},
	{"what is written after Sync is part of the file", func(t *trial) {
		up := t.create("f", vfs.Create{})
		t.write(up, []byte("hello"), 0)
		t.need(up.Sync(t.Context()), "Sync()")
		t.write(up, []byte(" world"), 5)
		t.need(up.Sync(t.Context()), "second Sync()")
		t.write(up, []byte("!"), 11)
		t.need(up.Commit(t.Context()), "Commit()")
		t.holds("f", []byte("hello world!"))
	}},
	{"the old file stays until Commit", func(t *trial) {
		t.put("f", []byte("old"))
		up := t.create("f", vfs.Create{})
		t.write(up, []byte("the new one"), 0)
		t.holds("f", []byte("old"))
		t.need(up.Sync(t.Context()), "Sync()")
		t.holds("f", []byte("old"))
		t.need(up.Commit(t.Context()), "Commit()")
		t.holds("f", []byte("the new one"))
		t.lists("/", "f")
	}},
	{"who reads the old file goes on reading the old file", func(t *trial) {
		t.put("f", content(1, 10_000))
		f, err := t.tree.Open(t.Context(), t.path("f"))
		t.need(err, "Open(f)")
		b := make([]byte, 10_000)
		_, err = f.ReadAt(b[:5000], 0)
		t.need(err, "ReadAt(5000 bytes, 0)")
		t.put("f", content(2, 9_000))
		if n, err := f.ReadAt(b[5000:], 5000); n != 5000 || (err != nil && err != io.EOF) {
			t.Errorf("ReadAt(5000 bytes, 5000) = %d, %v", n, err)
		}
		if !bytes.Equal(b, content(1, 10_000)) {
			t.Errorf("the reader saw two files mixed")
		}
		t.need(f.Close(), "Close()")
		t.holds("f", content(2, 9_000))
	}},
	{"Discard leaves nothing", func(t *trial) {
		t.mkdir("d")
		for _, how := range []vfs.How{vfs.Replace, vfs.New} {
			up := t.create("d/f", vfs.Create{How: how, Owner: "alice"})
			t.write(up, content(1, 10_000), 0)
			t.discard(up)
			t.gone("d/f")
			if !t.opt.NoPartials {
				t.noPartial("d/f", "alice")
			}
		}
		t.empties("d")
	}},
	{"Discard leaves the old file", func(t *trial) {
		t.put("f", []byte("old"))
		up := t.create("f", vfs.Create{})
		t.write(up, []byte("new"), 0)
		t.discard(up)
		t.holds("f", []byte("old"))
		t.lists("/", "f")
	}},
	{"a cut upload of nobody leaves nothing", func(t *trial) {
		t.mkdir("d")
		up := t.create("d/f", vfs.Create{})
		t.write(up, content(1, 3*vfs.CutTail), 0)
		t.cut(up)
		t.gone("d/f")
		if !t.opt.NoPartials {
			t.noPartial("d/f", "")
		}
		t.empties("d")
	}},
	{"a committed upload leaves nothing but the file", func(t *trial) {
		t.mkdir("d")
		for _, how := range []vfs.Create{{}, {How: vfs.Replace, Offset: 2}, {How: vfs.InPlace, Offset: -1}} {
			how.Owner = "alice"
			up := t.create("d/f", how)
			t.write(up, []byte("hello"), up.Offset())
			t.commit(up)
		}
		t.lists("d", "f")
		t.need(t.tree.Remove(t.Context(), t.path("d/f")), "Remove(d/f)")
		t.empties("d")
	}},
	{"bytes may come in any order, and holes are zeros", func(t *trial) {
		want := content(1, 100_000)
		up := t.create("f", vfs.Create{})
		var parts []int
		for off := 0; off < len(want); off += 1000 {
			parts = append(parts, off)
		}
		rand.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
		for _, off := range parts {
			t.write(up, want[off:off+1000], int64(off))
		}
		t.write(up, []byte("end"), 150_000)
		t.commit(up)
		t.holds("f", append(append(want, make([]byte, 50_000)...), "end"...))
	}},
	{"ReadAt and Stat see what was written", func(t *trial) {
		up := t.create("f", vfs.Create{})
		t.write(up, []byte("hello world"), 0)
		t.write(up, []byte("J"), 0)
		b := make([]byte, 5)
		if n, err := up.ReadAt(b, 0); n != 5 || string(b) != "Jello" || err != nil {
			t.Errorf("ReadAt(5 bytes, 0) = %d %q, %v; want Jello", n, b, err)
		}
		if n, err := up.ReadAt(b, 8); n != 3 || string(b[:n]) != "rld" || err != io.EOF {
			t.Errorf("ReadAt(5 bytes, 8) = %d %q, %v; want rld and io.EOF", n, b[:n], err)
		}
		fi, err := up.Stat()
		t.need(err, "Stat()")
		if fi.Size() != 11 || !fi.Mode().IsRegular() {
			t.Errorf("Stat(): size %d, mode %v; want a regular file of 11 bytes", fi.Size(), fi.Mode())
		}
		t.plain(fi)
		t.discard(up)
	}},
	{"Truncate shortens, and lengthens by zeros", func(t *trial) {
		up := t.create("f", vfs.Create{})
		t.write(up, []byte("hello world"), 0)
		t.need(up.Truncate(3), "Truncate(3)")
		fi, err := up.Stat()
		t.need(err, "Stat()")
		if fi.Size() != 3 {
			t.Errorf("Stat() after Truncate(3): size %d", fi.Size())
		}
		t.need(up.Truncate(6), "Truncate(6)")
		t.commit(up)
		t.holds("f", []byte("hel\x00\x00\x00"))
	}},
	{"what was announced is neither a length nor a limit", func(t *trial) {
		for _, expect := range []int64{1, 5, 1 << 20} {
			up := t.create("f", vfs.Create{Expect: expect})
			t.write(up, []byte("hello"), 0)
			t.commit(up)
			t.holds("f", []byte("hello"))
		}
	}},
	{"SetTime on an upload survives Commit", func(t *trial) {
		t.put("f", []byte("old"))
		for _, how := range []vfs.Create{{}, {How: vfs.New}, {How: vfs.InPlace, Offset: -1}} {
			name := "f"
			if how.How == vfs.New {
				name = "g"
			}
			up := t.create(name, how)
			t.write(up, []byte("new"), up.Offset())
			t.need(up.SetTime(day), "SetTime()")
			fi, err := up.Stat()
			t.need(err, "Stat()")
			t.dated(fi, day, "the upload")
			t.commit(up)
			t.dated(t.stat(name), day, name)
		}
	}},
	{"Offset is where the first byte goes", func(t *trial) {
		t.put("f", content(1, 5000))
		for _, row := range []struct {
			how  vfs.Create
			want int64
		}{
			{vfs.Create{}, 0},
			{vfs.Create{Offset: 1234}, 1234},
			{vfs.Create{Offset: 5000}, 5000},
			{vfs.Create{How: vfs.InPlace}, 0},
			{vfs.Create{How: vfs.InPlace, Offset: 77}, 77},
			{vfs.Create{How: vfs.InPlace, Offset: 5000}, 5000},
			{vfs.Create{How: vfs.InPlace, Offset: -1}, 5000},
		} {
			up := t.create("f", row.how)
			if got := up.Offset(); got != row.want {
				t.Errorf("Create(f, %+v).Offset() = %d; want %d", row.how, got, row.want)
			}
			t.discard(up)
		}
		up := t.create("g", vfs.Create{How: vfs.New})
		if got := up.Offset(); got != 0 {
			t.Errorf("Create(g, New).Offset() = %d; want 0", got)
		}
		t.discard(up)
		t.holds("f", content(1, 5000))
	}},
	{"Replace from an offset keeps the first bytes of the old file", func(t *trial) {
		old := content(1, 100_000)
		for _, n := range []int{1, 4096, 70_001, 100_000} {
			t.put("f", old)
			up := t.create("f", vfs.Create{Offset: int64(n)})
			t.write(up, []byte("tail"), up.Offset())
			t.holds("f", old)
			t.commit(up)
			t.holds("f", append(bytes.Clone(old[:n]), "tail"...))
		}
	}},
	{"Replace from an offset and Discard leave the old file", func(t *trial) {
		t.put("f", content(1, 10_000))
		up := t.create("f", vfs.Create{Offset: 5000})
		t.write(up, content(2, 10_000), 5000)
		t.discard(up)
		t.holds("f", content(1, 10_000))
		t.lists("/", "f")
	}},
	{"an offset above the size is of kind BadOffset", func(t *trial) {
		t.put("f", []byte("hello"))
		t.kind(t.refused("f", vfs.Create{Offset: 6}), kinds(fault.BadOffset), "Create(f, Replace from 6)")
		t.kind(t.refused("f", vfs.Create{How: vfs.InPlace, Offset: 6}), kinds(fault.BadOffset), "Create(f, InPlace from 6)")
		t.holds("f", []byte("hello"))
		t.lists("/", "f")
	}},
	{"the last commit of two wins", func(t *trial) {
		t.put("f", []byte("old"))
		a := t.create("f", vfs.Create{Owner: "alice"})
		b := t.create("f", vfs.Create{Owner: "alice"})
		t.write(a, content(1, 20_000), 0)
		t.write(b, content(2, 10_000), 0)
		t.write(a, content(3, 100), 0)
		t.commit(b)
		t.holds("f", content(2, 10_000))
		t.commit(a)
		t.holds("f", append(content(3, 100), content(1, 20_000)[100:]...))
	}},
	{"a name that was removed meanwhile is made again", func(t *trial) {
		t.put("f", []byte("old"))
		up := t.create("f", vfs.Create{})
		t.write(up, []byte("new"), 0)
		t.need(t.tree.Remove(t.Context(), t.path("f")), "Remove(f)")
		t.gone("f")
		t.commit(up)
		t.holds("f", []byte("new"))
	}},
	{"a directory that took the name meanwhile stays", func(t *trial) {
		up := t.create("f", vfs.Create{})
		t.write(up, []byte("new"), 0)
		t.mkdir("f")
		t.put("f/inside", []byte("x"))
		t.fails(up.Commit(t.Context()), "Commit()")
		t.discard(up)
		t.lists("/", "f")
		t.holds("f/inside", []byte("x"))
	}},
	{"New publishes a name that was free", func(t *trial) {
		up := t.create("f", vfs.Create{How: vfs.New})
		t.write(up, []byte("hello"), 0)
		t.gone("f")
		t.commit(up)
		t.holds("f", []byte("hello"))
	}},
	{"New of a taken name is fs.ErrExist at once", func(t *trial) {
		t.put("f", []byte("old"))
		t.is(t.refused("f", vfs.Create{How: vfs.New}), fs.ErrExist, "Create(f, New)")
		t.holds("f", []byte("old"))
		t.lists("/", "f")
	}},
	{"New reserves its name against another New until it ends", func(t *trial) {
		t.mkdir("d")
		for _, end := range []struct {
			name string
			call func(vfs.Upload) error
		}{{"Cut", vfs.Upload.Cut}, {"Discard", vfs.Upload.Discard}} {
			a := t.create("d/f", vfs.Create{How: vfs.New, Owner: "alice"})
			t.is(t.refused("d/f", vfs.Create{How: vfs.New, Owner: "alice"}), fs.ErrExist, "the second Create(d/f, New)")
			t.is(t.refused("d/f", vfs.Create{How: vfs.New, Owner: "bob"}), fs.ErrExist, "bob's Create(d/f, New)")
			other := t.create("d/g", vfs.Create{How: vfs.New})
			t.discard(other)
			t.need(end.call(a), "%s()", end.name)
		}
		a := t.create("d/f", vfs.Create{How: vfs.New})
		t.commit(a)
		t.is(t.refused("d/f", vfs.Create{How: vfs.New}), fs.ErrExist, "Create(d/f, New) after the commit")
		t.need(t.tree.Remove(t.Context(), t.path("d/f")), "Remove(d/f)")
		t.discard(t.create("d/f", vfs.Create{How: vfs.New}))
		t.empties("d")
	}},
	{"New never replaces what took its name meanwhile", func(t *trial) {
		for _, taker := range []struct {
			name string
			take func()
		}{
			{"rename", func() {
				t.put("other", []byte("other"))
				t.need(t.tree.Rename(t.Context(), t.path("other"), t.path("f"), vfs.NoReplace), "Rename(other, f)")
			}},
			{"upload", func() { t.put("f", []byte("other")) }},
		} {
			up := t.create("f", vfs.Create{How: vfs.New, Owner: "alice"})
			t.write(up, []byte("mine"), 0)
			t.need(up.Sync(t.Context()), "Sync()")
			taker.take()
			t.is(up.Commit(t.Context()), fs.ErrExist, "Commit() after a %s", taker.name)
			t.discard(up) // the upload had not ended
			t.holds("f", []byte("other"))
			t.need(t.tree.Remove(t.Context(), t.path("f")), "Remove(f)")
		}
		t.lists("/")
	}},
	{"a cancelled Commit changes nothing and does not end the upload", func(t *trial) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		t.put("f", []byte("old"))
		up := t.create("f", vfs.Create{})
		t.write(up, []byte("new"), 0)
		t.kind(up.Commit(ctx), kinds(fault.Canceled), "Commit(cancelled)")
		t.holds("f", []byte("old"))
		t.discard(up)
		t.holds("f", []byte("old"))

		up = t.create("g", vfs.Create{How: vfs.New})
		t.need(up.Sync(t.Context()), "Sync()")
		t.kind(up.Commit(ctx), kinds(fault.Canceled), "Commit(cancelled) after Sync")
		t.gone("g")
		t.commit(up)
		t.lists("/", "f", "g")
	}},
	{"after the end every call is fs.ErrClosed", func(t *trial) {
		t.mkdir("d")
		for _, how := range []vfs.Create{{Owner: "alice"}, {How: vfs.New, Owner: "alice"}, {How: vfs.InPlace, Offset: -1, Owner: "alice"}} {
			for _, end := range []struct {
				name string
				call func(vfs.Upload) error
			}{
				{"Commit", func(up vfs.Upload) error { return up.Commit(t.Context()) }},
				{"Cut", vfs.Upload.Cut},
				{"Discard", vfs.Upload.Discard},
			} {
				if how.How == vfs.InPlace {
					t.put("d/f", []byte("old"))
				}
				up := t.create("d/f", how)
				t.write(up, []byte("hello"), up.Offset())
				t.need(end.call(up), "%s()", end.name)
				_, err := up.WriteAt([]byte("x"), 0)
				t.is(err, fs.ErrClosed, "WriteAt() after %s", end.name)
				_, err = up.ReadAt(make([]byte, 1), 0)
				t.is(err, fs.ErrClosed, "ReadAt() after %s", end.name)
				_, err = up.Stat()
				t.is(err, fs.ErrClosed, "Stat() after %s", end.name)
				t.is(up.Truncate(0), fs.ErrClosed, "Truncate() after %s", end.name)
				t.is(up.SetTime(day), fs.ErrClosed, "SetTime() after %s", end.name)
				t.is(up.Sync(t.Context()), fs.ErrClosed, "Sync() after %s", end.name)
				t.is(up.Commit(t.Context()), fs.ErrClosed, "Commit() after %s", end.name)
				t.is(up.Cut(), fs.ErrClosed, "Cut() after %s", end.name)
				t.is(up.Discard(), fs.ErrClosed, "Discard() after %s", end.name)

				switch {
				case how.How == vfs.InPlace && end.name == "Commit":
					t.holds("d/f", []byte("oldhello"))
				case how.How == vfs.InPlace:
					t.holds("d/f", []byte("old"))
				case end.name == "Commit":
					t.holds("d/f", []byte("hello"))
				default:
					t.gone("d/f")
					continue
				}
				t.need(t.tree.Remove(t.Context(), t.path("d/f")), "Remove(d/f)")
			}
		}
		t.empties("d")
	}},
}

var inPlaceTests = []test{
	{"an append is behind the old bytes", func(t *trial) {
		t.put("f", []byte("hello"))
		up := t.create("f", vfs.Create{How: vfs.InPlace, Offset: -1, Owner: "alice"})
		t.write(up, []byte(" world"), up.Offset())
		t.commit(up)
		t.holds("f", []byte("hello world"))
		t.lists("/", "f")
	}},
	{"bytes in the middle are written over", func(t *trial) {
		t.put("f", []byte("hello world"))
		up := t.create("f", vfs.Create{How: vfs.InPlace, Offset: 6})
		t.write(up, []byte("W"), up.Offset())
		b := make([]byte, 11)
		if n, err := up.ReadAt(b, 0); n != 11 || string(b) != "hello World" || (err != nil && err != io.EOF) {
			t.Errorf("ReadAt(11 bytes, 0) = %d %q, %v", n, b, err)
		}
		t.commit(up)
		t.holds("f", []byte("hello World"))
	}},
	{"Truncate shortens the file", func(t *trial) {
		t.put("f", []byte("hello world"))
		up := t.create("f", vfs.Create{How: vfs.InPlace})
		t.need(up.Truncate(5), "Truncate(5)")
		t.commit(up)
		t.holds("f", []byte("hello"))
	}},
	{"Cut and Discard take an append back", func(t *trial) {
		t.mkdir("d")
		old := content(1, 10_000)
		for _, end := range []struct {
			name string
			call func(vfs.Upload) error
		}{{"Cut", vfs.Upload.Cut}, {"Discard", vfs.Upload.Discard}} {
			t.put("d/f", old)
			up := t.create("d/f", vfs.Create{How: vfs.InPlace, Offset: -1, Owner: "alice"})
			t.write(up, content(2, 3*vfs.CutTail), up.Offset())
			t.need(up.Sync(t.Context()), "Sync()")
			t.need(end.call(up), "%s()", end.name)
			t.holds("d/f", old)
			if !t.opt.NoPartials {
				t.noPartial("d/f", "alice")
			}
		}
		t.need(t.tree.Remove(t.Context(), t.path("d/f")), "Remove(d/f)")
		t.empties("d")
	}},
	{"one writes in place at a time", func(t *trial) {
		t.put("f", []byte("hello"))
		t.put("g", []byte("hello"))
		for _, end := range []struct {
			name string
			call func(vfs.Upload) error
		}{
			{"Commit", func(up vfs.Upload) error { return up.Commit(t.Context()) }},
			{"Cut", vfs.Upload.Cut},
			{"Discard", vfs.Upload.Discard},
		} {
			up := t.create("f", vfs.Create{How: vfs.InPlace, Offset: -1, Owner: "alice"})
			for _, owner := range []string{"alice", "bob", ""} {
				err := t.refused("f", vfs.Create{How: vfs.InPlace, Offset: -1, Owner: owner})
				t.kind(err, kinds(fault.Busy), "the second Create(f, InPlace)")
			}
			t.discard(t.create("g", vfs.Create{How: vfs.InPlace}))
			t.need(end.call(up), "%s()", end.name)
		}
		t.holds("f", []byte("hello"))
	}},
	{"a missing name is fs.ErrNotExist and is not made", func(t *trial) {
		for _, off := range []int64{-1, 0} {
			t.is(t.refused("no", vfs.Create{How: vfs.InPlace, Offset: off, Owner: "alice"}), fs.ErrNotExist, "Create(no, InPlace %d)", off)
		}
		t.lists("/")
	}},
	{"a partial is no file to write in place", func(t *trial) {
		t.partials()
		t.leave("f", "alice", content(1, 3*vfs.CutTail))
		t.is(t.refused("f", vfs.Create{How: vfs.InPlace, Offset: -1, Owner: "alice"}), fs.ErrNotExist, "Create(f, InPlace)")
		t.partial("f", "alice", 2*vfs.CutTail)
	}},
}
