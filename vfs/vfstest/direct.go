package vfstest

import (
	"bytes"
	"context"
	"io/fs"
	"sync"
	"sync/atomic"
	"time"

	"dray/fault"
	"dray/vfs"
)

// direct is an upload with Create.Direct. Its owner keeps nothing by it.
func direct(how vfs.How, offset int64) vfs.Create {
	return vfs.Create{How: how, Offset: offset, Owner: "alice", Direct: true}
}

var directTests = []test{
	{"the name shows what has come", func(t *trial) {
		for _, how := range []vfs.How{vfs.Replace, vfs.New} {
			t.mkdir("d")
			up := t.create("d/f", direct(how, 0))
			t.holds("d/f", nil)
			t.lists("d", "f")
			t.write(up, []byte("hello"), 0)
			t.holds("d/f", []byte("hello"))
			t.write(up, []byte(" world"), 5)
			t.holds("d/f", []byte("hello world"))
			t.commit(up)
			t.holds("d/f", []byte("hello world"))
			t.need(t.tree.Remove(t.Context(), t.path("d/f")), "Remove(d/f)")
			t.empties("d")
		}
	}},
	{"a cut leaves all that came, and no partial", func(t *trial) {
		t.mkdir("d")
		for _, size := range []int{1, vfs.CutTail, 3 * vfs.CutTail} {
			for _, how := range []vfs.How{vfs.Replace, vfs.New} {
				want := content(byte(size), size)
				up := t.create("d/f", direct(how, 0))
				t.write(up, want, 0)
				t.cut(up)
				t.holds("d/f", want)
				if !t.opt.NoPartials {
					t.noPartial("d/f", "alice")
				}
				t.need(t.tree.Remove(t.Context(), t.path("d/f")), "Remove(d/f)")
			}
		}
		t.empties("d")
	}},
	{"before the first byte nothing is lost", func(t *trial) {
		old := content(1, 10_000)
		for _, how := range []vfs.Create{direct(vfs.Replace, 0), direct(vfs.Replace, 500), direct(vfs.InPlace, -1), direct(vfs.InPlace, 10_000)} {
			for _, end := range []struct {
				name string
				call func(vfs.Upload) error
			}{{"Cut", vfs.Upload.Cut}, {"Discard", vfs.Upload.Discard}} {
				t.put("f", old)
				t.need(t.tree.SetTime(t.Context(), t.path("f"), day), "SetTime(f)")
				up := t.create("f", how)
				t.holds("f", old)
				fi, err := up.Stat()
				t.need(err, "Stat()")
				if fi.Size() != 10_000 {
					t.Errorf("Stat() of %+v before the first byte: size %d; want 10000, as it is", how, fi.Size())
				}
				t.need(end.call(up), "%s() of %+v", end.name, how)
				t.holds("f", old)
				t.dated(t.stat("f"), day, "f after "+end.name)
			}
		}
	}},
	{"a file that Create has made goes when nothing came", func(t *trial) {
		t.mkdir("d")
		for _, how := range []vfs.How{vfs.Replace, vfs.New} {
			for _, end := range []func(vfs.Upload) error{vfs.Upload.Cut, vfs.Upload.Discard} {
				up := t.create("d/f", direct(how, 0))
				t.need(end(up), "the end")
				t.gone("d/f")
			}
		}
		t.empties("d")
	}},
	{"the old bytes go with the first of the new", func(t *trial) {
		t.put("f", content(1, 10_000))
		up := t.create("f", direct(vfs.Replace, 0))
		t.write(up, []byte("new"), 0)
		t.holds("f", []byte("new"))
		t.cut(up)
		t.holds("f", []byte("new"))
	}},
	{"Truncate begins too, and a cut leaves an empty file", func(t *trial) {
		for _, there := range []string{"old", ""} {
			if there != "" {
				t.put("f", []byte(there))
			}
			up := t.create("f", direct(vfs.Replace, 0))
			t.need(up.Truncate(0), "Truncate(0)")
			t.holds("f", nil)
			t.cut(up)
			t.holds("f", nil)
			t.need(t.tree.Remove(t.Context(), t.path("f")), "Remove(f)")
		}
	}},
	{"an upload of nothing is an empty file", func(t *trial) {
		t.put("f", []byte("old"))
		for _, name := range []string{"f", "g"} {
			t.commit(t.create(name, direct(vfs.Replace, 0)))
			t.holds(name, nil)
			up := t.create(name, direct(vfs.Replace, 0)) // and Commit needs no Sync
			t.need(up.Commit(t.Context()), "Commit()")
			t.holds(name, nil)
		}
	}},
	{"it goes on at an offset and drops what is behind", func(t *trial) {
		old := content(1, 100_000)
		for _, n := range []int64{1, 70_001, 100_000} {
			for _, how := range []vfs.How{vfs.Replace, vfs.InPlace} {
				t.put("f", old)
				up := t.create("f", direct(how, n))
				if up.Offset() != n {
					t.Errorf("Offset() = %d; want %d", up.Offset(), n)
				}
				t.write(up, []byte("tail"), n)
				want := append(bytes.Clone(old[:n]), "tail"...)
				t.holds("f", want)
				if how == vfs.Replace {
					t.commit(up)
				} else {
					t.cut(up)
				}
				t.holds("f", want)
			}
		}
	}},
	{"an append that is cut stays", func(t *trial) {
		t.put("f", []byte("hello"))
		up := t.create("f", direct(vfs.InPlace, -1))
		if up.Offset() != 5 {
			t.Errorf("Offset() = %d; want 5", up.Offset())
		}
		t.write(up, []byte(" wor"), 5)
		t.cut(up)
		t.holds("f", []byte("hello wor"))
		up = t.create("f", direct(vfs.InPlace, -1))
		t.write(up, []byte("ld"), 9)
		t.commit(up)
		t.holds("f", []byte("hello world"))
		t.lists("/", "f")
	}},
	{"Discard takes away what came", func(t *trial) {
		t.mkdir("d")
		t.put("f", []byte("hello"))
		up := t.create("f", direct(vfs.InPlace, -1))
		t.write(up, []byte(" world"), 5)
		t.discard(up)
		t.holds("f", []byte("hello"))
		up = t.create("d/f", direct(vfs.Replace, 0))
		t.write(up, []byte("hello"), 0)
		t.discard(up)
		t.gone("d/f")
		t.empties("d")
	}},
	{"one writes to a name at a time", func(t *trial) {
		t.put("f", []byte("hello"))
		for _, name := range []string{"f", "new"} {
			for _, end := range []func(vfs.Upload) error{
				func(up vfs.Upload) error { return up.Commit(t.Context()) }, vfs.Upload.Cut, vfs.Upload.Discard,
			} {
				up := t.create(name, direct(vfs.Replace, 0))
				for _, second := range []vfs.Create{direct(vfs.Replace, 0), direct(vfs.InPlace, -1), {How: vfs.InPlace, Offset: -1}} {
					t.kind(t.refused(name, second), kinds(fault.Busy), "the second Create(%s, %+v)", name, second)
				}
				t.is(t.refused(name, direct(vfs.New, 0)), fs.ErrExist, "Create(%s, New)", name)
				t.need(end(up), "the end")
			}
		}
		up := t.create("f", vfs.Create{How: vfs.InPlace, Offset: -1})
		t.kind(t.refused("f", direct(vfs.Replace, 0)), kinds(fault.Busy), "Create(f) beside an append")
		t.discard(up)
	}},
	{"New is refused where the name is taken", func(t *trial) {
		t.put("f", []byte("old"))
		t.mkdir("d")
		for _, name := range []string{"f", "d"} {
			t.is(t.refused(name, direct(vfs.New, 0)), fs.ErrExist, "Create(%s, New)", name)
		}
		up := t.create("g", vfs.Create{How: vfs.New})
		t.is(t.refused("g", direct(vfs.New, 0)), fs.ErrExist, "Create(g, New) beside another New")
		t.discard(up)
		up = t.create("g", direct(vfs.New, 0))
		t.is(t.refused("g", vfs.Create{How: vfs.New}), fs.ErrExist, "Create(g, New) that shows at its commit")
		t.discard(up)
		t.holds("f", []byte("old"))
	}},
	{"offsets above the end, missing names and directories are refused", func(t *trial) {
		t.put("f", []byte("hello"))
		t.mkdir("d")
		for _, how := range []vfs.How{vfs.Replace, vfs.InPlace} {
			t.kind(t.refused("f", direct(how, 6)), kinds(fault.BadOffset), "Create(f) from 6")
			t.kind(t.refused("d", direct(how, 0)), kinds(fault.IsDir), "Create(d)")
		}
		t.kind(t.refused("no", direct(vfs.Replace, 1)), kinds(fault.BadOffset), "Create(no) from 1")
		t.is(t.refused("no", direct(vfs.InPlace, -1)), fs.ErrNotExist, "Create(no, InPlace)")
		t.is(t.refused("no/f", direct(vfs.Replace, 0)), fs.ErrNotExist, "Create(no/f)")
		t.holds("f", []byte("hello"))
		t.lists("/", "d", "f")
	}},
	{"a file that has lost its name is not committed", func(t *trial) {
		t.mkdir("d")
		take := map[string]func(){
			"removed":  func() { t.need(t.tree.Remove(t.Context(), t.path("d/f")), "Remove(d/f)") },
			"replaced": func() { t.put("d/f", []byte("other")) },
			"renamed": func() {
				t.need(t.tree.Rename(t.Context(), t.path("d/f"), t.path("d/g"), vfs.Overwrite), "Rename(d/f, d/g)")
			},
		}
		for what, change := range take {
			up := t.create("d/f", direct(vfs.Replace, 0))
			t.write(up, []byte("hello"), 0)
			change()
			t.kind(up.Commit(t.Context()), kinds(fault.NotFound, fault.Busy), "Commit() of a file that was "+what)
			t.cut(up)
			switch what {
			case "removed":
				t.lists("d")
				continue
			case "replaced":
				t.holds("d/f", []byte("other"))
				t.need(t.tree.Remove(t.Context(), t.path("d/f")), "Remove(d/f)")
			case "renamed":
				t.holds("d/g", []byte("hello"))
				t.need(t.tree.Remove(t.Context(), t.path("d/g")), "Remove(d/g)")
			}
		}
		t.empties("d")
	}},
	{"what took its name stays when nothing came", func(t *trial) {
		up := t.create("f", direct(vfs.Replace, 0))
		t.need(t.tree.Remove(t.Context(), t.path("f")), "Remove(f)")
		t.put("f", []byte("other"))
		t.cut(up)
		t.holds("f", []byte("other"))
	}},
	{"an older partial is left alone", func(t *trial) {
		t.partials()
		t.leave("f", "alice", content(1, 10_000))
		up := t.create("f", direct(vfs.Replace, 0))
		t.write(up, []byte("hello"), 0)
		t.commit(up)
		t.holds("f", []byte("hello"))
		t.partial("f", "alice", 10_000-vfs.CutTail)
	}},
	{"Resume takes no notice of it", func(t *trial) {
		t.partials()
		want := content(1, 20_000)
		t.leave("f", "alice", want[:10_000])
		up := t.create("f", direct(vfs.Resume, 5000))
		t.write(up, want[5000:15_000], 5000)
		t.gone("f")
		t.cut(up)
		t.partial("f", "alice", 15_000-vfs.CutTail)
	}},
	{"Sweep leaves it alone", func(t *trial) {
		parts := t.partials()
		up := t.create("f", direct(vfs.Replace, 0))
		t.write(up, []byte("hello"), 0)
		t.need(parts.Sweep(t.Context(), time.Now().Add(time.Hour), func(n int64) { t.Errorf("Sweep freed %d bytes", n) }), "Sweep(in an hour)")
		t.write(up, []byte(" world"), 5)
		t.commit(up)
		t.holds("f", []byte("hello world"))
	}},
	{"a mode and a time that are set stay", func(t *trial) {
		t.moder()
		t.put("f", []byte("old"))
		mode := t.stat("f").Mode()
		for _, row := range []struct {
			name string
			want fs.FileMode
		}{{"f", mode}, {"g", 0o604}} {
			how := direct(vfs.Replace, 0)
			how.Mode = 0o604
			up := t.create(row.name, how)
			t.write(up, []byte("new"), 0)
			t.need(up.SetTime(day), "SetTime()")
			t.commit(up)
			t.dated(t.stat(row.name), day, row.name)
			if got := t.stat(row.name).Mode(); got != row.want {
				t.Errorf("%s has mode %v; want %v", row.name, got, row.want)
			}
		}
	}},
	{"after the end every call is fs.ErrClosed", func(t *trial) {
		for _, end := range []struct {
			name string
			call func(vfs.Upload) error
		}{
			{"Commit", func(up vfs.Upload) error { return up.Commit(t.Context()) }},
			{"Cut", vfs.Upload.Cut},
			{"Discard", vfs.Upload.Discard},
		} {
			up := t.create("f", direct(vfs.Replace, 0))
			t.write(up, []byte("hello"), 0)
			t.need(end.call(up), "%s()", end.name)
			_, err := up.WriteAt([]byte("x"), 0)
			t.is(err, fs.ErrClosed, "WriteAt() after %s", end.name)
			t.is(up.Truncate(0), fs.ErrClosed, "Truncate() after %s", end.name)
			t.is(up.Sync(t.Context()), fs.ErrClosed, "Sync() after %s", end.name)
			t.is(up.Commit(t.Context()), fs.ErrClosed, "Commit() after %s", end.name)
			t.is(up.Cut(), fs.ErrClosed, "Cut() after %s", end.name)
			t.is(up.Discard(), fs.ErrClosed, "Discard() after %s", end.name)
		}
	}},
	{"a cancelled Commit changes nothing and does not end the upload", func(t *trial) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		t.put("f", []byte("old"))
		up := t.create("f", direct(vfs.Replace, 0))
		t.kind(up.Commit(ctx), kinds(fault.Canceled), "Commit(cancelled)")
		t.holds("f", []byte("old"))
		t.write(up, []byte("new"), 0)
		t.commit(up)
		t.holds("f", []byte("new"))
	}},
	{"of many at once one writes", func(t *trial) {
		ctx := t.Context()
		p := t.path("f")
		var wg sync.WaitGroup
		var won atomic.Int32
		begun := make(chan struct{})
		for i := range 32 {
			wg.Go(func() {
				<-begun
				up, err := t.tree.Create(ctx, p, direct(vfs.Replace, 0))
				if err != nil {
					if fault.KindOf(err) != fault.Busy {
						t.Errorf("Create %d: %v; want kind Busy or success", i, err)
					}
					return
				}
				won.Add(1)
				if _, err := up.WriteAt(versions(byte(i)), 0); err != nil {
					t.Errorf("WriteAt %d: %v", i, err)
				}
				if err := up.Commit(ctx); err != nil {
					t.Errorf("Commit %d: %v", i, err)
				}
			})
		}
		close(begun)
		wg.Wait()
		if won.Load() == 0 {
			t.Fatal("none was let in")
		}
		if err := whole(t.get("f")); err != nil {
			t.Errorf("f: %v", err)
		}
	}},
}
