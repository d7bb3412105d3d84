package vfstest

import (
	"io"
	"io/fs"
	"sync"

	"dray/fault"
	"dray/vfs"
)

// editor is the tree as a vfs.Editor; the test is skipped where it is none.
func (t *trial) editor() vfs.Editor {
	t.Helper()
	e, ok := t.tree.(vfs.Editor)
	if !ok {
		t.Skip("this tree has no files to be changed where they are")
	}
	return e
}

func (t *trial) edit(p string) vfs.Edited {
	t.Helper()
	e, err := t.editor().Edit(t.Context(), t.path(p))
	t.need(err, "Edit(%s)", p)
	return e
}

func (t *trial) make(p string, mode fs.FileMode) vfs.Edited {
	t.Helper()
	e, err := t.editor().Make(t.Context(), t.path(p), mode)
	t.need(err, "Make(%s)", p)
	return e
}

func (t *trial) writes(e vfs.Edited, b string, off int64) {
	t.Helper()
	n, err := e.WriteAt([]byte(b), off)
	t.need(err, "WriteAt(%q, %d)", b, off)
	if n != len(b) {
		t.Fatalf("WriteAt(%q, %d) = %d", b, off, n)
	}
}

var editTests = []test{
	{"what is written shows at once", func(t *trial) {
		t.put("f", []byte("hello world"))
		e := t.edit("f")
		t.writes(e, "J", 0)
		t.holds("f", []byte("Jello world"))
		t.writes(e, "!", 13)
		t.holds("f", []byte("Jello world\x00\x00!"))
		t.need(e.Truncate(5), "Truncate(5)")
		t.holds("f", []byte("Jello"))
		t.need(e.Truncate(7), "Truncate(7)")
		t.holds("f", []byte("Jello\x00\x00"))
		b := make([]byte, 9)
		if n, err := e.ReadAt(b, 1); n != 6 || err != io.EOF || string(b[:n]) != "ello\x00\x00" {
			t.Errorf("ReadAt(9 bytes, 1) = %d, %v, %q", n, err, b[:n])
		}
		t.need(e.Sync(t.Context()), "Sync()")
		t.need(e.Close(), "Close()")
		t.holds("f", []byte("Jello\x00\x00"))
	}},
	{"two have one file", func(t *trial) {
		t.put("f", []byte("aaaa"))
		a, b := t.edit("f"), t.edit("f")
		t.writes(a, "A", 0)
		t.writes(b, "B", 3)
		t.holds("f", []byte("AaaB"))
		t.need(a.Close(), "Close()")
		t.writes(b, "B", 2)
		t.need(b.Close(), "Close()")
		t.holds("f", []byte("AaBB"))
	}},
	{"a file without a name goes on", func(t *trial) {
		t.put("f", []byte("old"))
		e := t.edit("f")
		t.need(t.tree.Remove(t.Context(), t.path("f")), "Remove(f)")
		t.writes(e, "er", 3)
		b := make([]byte, 5)
		if _, err := e.ReadAt(b, 0); err != nil || string(b) != "older" {
			t.Errorf("ReadAt of a removed file: %q, %v", b, err)
		}
		t.need(e.Close(), "Close()")
		t.gone("f")
		t.put("g", []byte("1"))
		e = t.edit("g")
		t.need(t.tree.Rename(t.Context(), t.path("g"), t.path("h"), vfs.Overwrite), "Rename(g, h)")
		t.writes(e, "2", 1)
		t.need(e.Close(), "Close()")
		t.holds("h", []byte("12"))
	}},
	{"times and modes are set on the file", func(t *trial) {
		e := t.make("f", 0o640)
		t.writes(e, "x", 0)
		t.need(e.SetTime(day), "SetTime()")
		t.need(e.Chmod(0o600), "Chmod()")
		fi, err := e.Stat()
		t.need(err, "Stat()")
		t.dated(fi, day, "the open file")
		if fi.Mode() != 0o600 || fi.Size() != 1 || fi.Name() != "f" {
			t.Errorf("Stat() = %v, %d bytes, %q", fi.Mode(), fi.Size(), fi.Name())
		}
		t.need(e.Close(), "Close()")
		t.dated(t.stat("f"), day, "f")
	}},
	{"Make makes the name at once, once", func(t *trial) {
		t.mkdir("d")
		e := t.make("d/lock", 0)
		t.lists("d", "lock")
		_, err := t.editor().Make(t.Context(), t.path("d/lock"), 0)
		t.is(err, fs.ErrExist, "Make(d/lock) again")
		_, err = t.editor().Make(t.Context(), t.path("d"), 0)
		t.is(err, fs.ErrExist, "Make(d)")
		_, err = t.editor().Make(t.Context(), t.path("no/lock"), 0)
		t.is(err, fs.ErrNotExist, "Make(no/lock)")
		t.writes(e, "pid", 0)
		t.need(e.Sync(t.Context()), "Sync()")
		t.need(e.Sync(t.Context()), "Sync() again")
		t.need(e.Close(), "Close()")
		t.holds("d/lock", []byte("pid"))
	}},
	{"of many who make one name one does", func(t *trial) {
		e := t.editor()
		var wg sync.WaitGroup
		made := make(chan vfs.Edited, 16)
		for range cap(made) {
			wg.Go(func() {
				if f, err := e.Make(t.Context(), t.path("f"), 0); err == nil {
					made <- f
				}
			})
		}
		wg.Wait()
		if len(made) != 1 {
			t.Errorf("%d have made it", len(made))
		}
		close(made)
		for f := range made {
			t.need(f.Close(), "Close()")
		}
	}},
	{"what is no file is refused", func(t *trial) {
		e := t.editor()
		t.mkdir("d")
		_, err := e.Edit(t.Context(), t.path("d"))
		t.kind(err, []fault.Kind{fault.IsDir}, "Edit(d)")
		_, err = e.Edit(t.Context(), t.path("/"))
		t.kind(err, []fault.Kind{fault.IsDir}, "Edit(/)")
		_, err = e.Edit(t.Context(), t.path("f"))
		t.is(err, fs.ErrNotExist, "Edit(f)")
		_, err = e.Edit(t.Context(), t.path("no/f"))
		t.is(err, fs.ErrNotExist, "Edit(no/f)")
	}},
	{"an upload in place has the file for itself", func(t *trial) {
		t.put("f", []byte("1"))
		up := t.create("f", vfs.Create{How: vfs.InPlace, Offset: -1})
		_, err := t.editor().Edit(t.Context(), t.path("f"))
		t.kind(err, []fault.Kind{fault.Busy}, "Edit(f)")
		t.commit(up)
		t.need(t.edit("f").Close(), "Close()")
	}},
	{"a name that an upload has reserved is taken", func(t *trial) {
		up := t.create("f", vfs.Create{How: vfs.New})
		_, err := t.editor().Make(t.Context(), t.path("f"), 0)
		t.is(err, fs.ErrExist, "Make(f)")
		t.commit(up)
	}},
	{"behind the end nothing works", func(t *trial) {
		t.put("f", []byte("1"))
		e := t.edit("f")
		t.need(e.Close(), "Close()")
		_, err := e.WriteAt([]byte("x"), 0)
		t.is(err, fs.ErrClosed, "WriteAt")
		_, err = e.ReadAt(make([]byte, 1), 0)
		t.is(err, fs.ErrClosed, "ReadAt")
		_, err = e.Stat()
		t.is(err, fs.ErrClosed, "Stat")
		t.is(e.Truncate(0), fs.ErrClosed, "Truncate")
		t.is(e.SetTime(day), fs.ErrClosed, "SetTime")
		t.is(e.Chmod(0o600), fs.ErrClosed, "Chmod")
		t.is(e.Sync(t.Context()), fs.ErrClosed, "Sync")
		t.holds("f", []byte("1"))
	}},
	{"a link is followed by Edit, and taken for Make", func(t *trial) {
		if t.opt.Symlink == nil {
			t.Skip("no links here")
		}
		t.mkdir("d")
		t.put("d/f", []byte("1"))
		t.opt.Symlink(t.T, t.tree, t.path("l"), "d/f")
		e := t.edit("l")
		t.writes(e, "2", 0)
		t.need(e.Close(), "Close()")
		t.holds("d/f", []byte("2"))
		t.opt.Symlink(t.T, t.tree, t.path("dangling"), "d/none")
		_, err := t.editor().Make(t.Context(), t.path("dangling"), 0)
		t.is(err, fs.ErrExist, "Make(dangling)")
		t.gone("d/none")
	}},
	{"a file with two names is one file", func(t *trial) {
		l := t.hardLinker()
		t.put("f", []byte("12345"))
		t.mkdir("d")
		t.need(l.Hardlink(t.Context(), t.path("f"), t.path("d/g")), "Hardlink(f, d/g)")
		t.holds("d/g", []byte("12345"))
		if got := vfs.AttrOf(t.stat("f")).Links; got != 2 {
			t.Errorf("%d links", got)
		}
		e := t.edit("d/g")
		t.writes(e, "X", 0)
		t.need(e.Close(), "Close()")
		t.holds("f", []byte("X2345"))
		t.is(l.Hardlink(t.Context(), t.path("f"), t.path("d/g")), fs.ErrExist, "Hardlink to a name that is taken")
		t.is(l.Hardlink(t.Context(), t.path("f"), t.path("d")), fs.ErrExist, "Hardlink to a directory")
		t.is(l.Hardlink(t.Context(), t.path("no"), t.path("h")), fs.ErrNotExist, "Hardlink of nothing")
		t.fails(l.Hardlink(t.Context(), t.path("d"), t.path("h")), "Hardlink of a directory")
		t.need(t.tree.Remove(t.Context(), t.path("f")), "Remove(f)")
		t.holds("d/g", []byte("X2345"))
		t.need(t.tree.Remove(t.Context(), t.path("d/g")), "Remove(d/g)")
		t.empties("d")
	}},
	{"a link has a time of its own", func(t *trial) {
		l, ok := t.tree.(vfs.LinkTimer)
		if !ok || t.opt.Symlink == nil {
			t.Skip("no times of links here")
		}
		t.put("f", nil)
		t.opt.Symlink(t.T, t.tree, t.path("l"), "f")
		err := l.SetLinkTime(t.Context(), t.path("l"), day)
		if fault.KindOf(err) == fault.NotBuilt {
			t.Skip("no times of links here")
		}
		t.need(err, "SetLinkTime(l)")
		fi, lerr := t.tree.Lstat(t.Context(), t.path("l"))
		t.need(lerr, "Lstat(l)")
		t.dated(fi, day, "the link")
		if t.stat("f").ModTime().Equal(day) {
			t.Error("what it leads to was dated")
		}
	}},
	{"the mode that an upload was given outlives what it replaces", func(t *trial) {
		t.put("f", []byte("old"))
		m, ok := t.tree.(vfs.Moder)
		if !ok {
			t.Skip("no modes here")
		}
		t.need(m.Chmod(t.Context(), t.path("f"), 0o644), "Chmod(f)")
		up := t.create("f", vfs.Create{Owner: "alice"})
		t.write(up, []byte("new"), 0)
		t.need(up.Chmod(0o600), "Chmod of the upload")
		if fi, err := up.Stat(); err != nil || fi.Mode().Perm() != 0o600 {
			t.Errorf("Stat of the upload = %v, %v", fi, err)
		}
		t.commit(up)
		if got := t.stat("f").Mode().Perm(); got != 0o600 {
			t.Errorf("the mode is %o", got)
		}
		t.is(up.Chmod(0o600), fs.ErrClosed, "Chmod behind the end")
	}},
}
