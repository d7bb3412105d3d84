package vfstest

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"dray/fault"
	"dray/vfs"
)

var nameTests = []test{
	{"a new tree is an empty directory", func(t *trial) {
		if !t.stat("/").IsDir() {
			t.Errorf("Stat(/) is no directory")
		}
		t.lists("/")
	}},
	{"a file has its size, its name and its bytes", func(t *trial) {
		t.put("a.txt", []byte("hello"))
		t.holds("a.txt", []byte("hello"))
		if fi := t.stat("a.txt"); fi.Name() != "a.txt" || fi.IsDir() {
			t.Errorf("Stat: name %q, directory %v", fi.Name(), fi.IsDir())
		}
		fi, err := t.tree.Lstat(t.Context(), t.path("a.txt"))
		t.need(err, "Lstat(a.txt)")
		if fi.Name() != "a.txt" || fi.Size() != 5 {
			t.Errorf("Lstat: name %q, size %d", fi.Name(), fi.Size())
		}
	}},
	{"an open file answers at any offset and ends with EOF", func(t *trial) {
		t.put("a.txt", []byte("hello"))
		f, err := t.tree.Open(t.Context(), t.path("a.txt"))
		t.need(err, "Open(a.txt)")
		defer f.Close()
		b := make([]byte, 3)
		if n, err := f.ReadAt(b, 1); n != 3 || string(b) != "ell" || (err != nil && err != io.EOF) {
			t.Errorf("ReadAt(3 bytes, 1) = %d %q, %v", n, b, err)
		}
		if n, err := f.ReadAt(b, 3); n != 2 || string(b[:n]) != "lo" || err != io.EOF {
			t.Errorf("ReadAt(3 bytes, 3) = %d %q, %v; want 2 bytes and io.EOF", n, b[:n], err)
		}
		if n, err := f.ReadAt(b, 99); n != 0 || err != io.EOF {
			t.Errorf("ReadAt(3 bytes, 99) = %d, %v; want 0, io.EOF", n, err)
		}
		fi, err := f.Stat()
		t.need(err, "Stat() of the open file")
		if fi.Size() != 5 {
			t.Errorf("Stat() of the open file: size %d; want 5", fi.Size())
		}
	}},
	{"an empty file is a file", func(t *trial) {
		t.put("empty", nil)
		t.holds("empty", nil)
		t.lists("/", "empty")
	}},
	{"a missing name is fs.ErrNotExist to every call", func(t *trial) {
		t.gone("no")
		p := t.path("no")
		t.is(t.tree.Remove(t.Context(), p), fs.ErrNotExist, "Remove(no)")
		t.is(t.tree.RemoveDir(t.Context(), p), fs.ErrNotExist, "RemoveDir(no)")
		t.is(t.tree.SetTime(t.Context(), p, day), fs.ErrNotExist, "SetTime(no)")
	}},
	{"below a missing directory all is missing", func(t *trial) {
		t.is(t.tree.Mkdir(t.Context(), t.path("no/d")), fs.ErrNotExist, "Mkdir(no/d)")
		_, err := t.tree.Stat(t.Context(), t.path("no/a"))
		t.is(err, fs.ErrNotExist, "Stat(no/a)")
		for _, how := range []vfs.How{vfs.Replace, vfs.New, vfs.InPlace} {
			t.is(t.refused("no/a", vfs.Create{How: how}), fs.ErrNotExist, "Create(no/a, how %d)", how)
		}
		t.lists("/")
	}},
	{"a file is no directory", func(t *trial) {
		t.put("f", []byte("x"))
		_, err := t.tree.Stat(t.Context(), t.path("f/a"))
		t.kind(err, kinds(fault.NotDir, fault.NotFound), "Stat(f/a)")
		t.kind(t.tree.Mkdir(t.Context(), t.path("f/a")), kinds(fault.NotDir, fault.NotFound), "Mkdir(f/a)")
		t.kind(t.refused("f/a", vfs.Create{}), kinds(fault.NotDir, fault.NotFound), "Create(f/a)")
		t.kind(t.tree.RemoveDir(t.Context(), t.path("f")), kinds(fault.NotDir), "RemoveDir(f)")
		t.holds("f", []byte("x"))
	}},
	{"a directory is no file", func(t *trial) {
		t.mkdir("d")
		f, err := t.tree.Open(t.Context(), t.path("d"))
		t.kind(err, kinds(fault.IsDir), "Open(d)")
		if err == nil {
			f.Close()
		}
		t.kind(t.tree.Remove(t.Context(), t.path("d")), kinds(fault.IsDir), "Remove(d)")
		t.kind(t.refused("d", vfs.Create{}), kinds(fault.IsDir), "Create(d, Replace)")
		t.kind(t.refused("d", vfs.Create{How: vfs.InPlace}), kinds(fault.IsDir), "Create(d, InPlace)")
		t.is(t.refused("d", vfs.Create{How: vfs.New}), fs.ErrExist, "Create(d, New)")
		if !t.stat("d").IsDir() {
			t.Errorf("d is no directory any more")
		}
	}},
	{"the root stays", func(t *trial) {
		t.put("f", []byte("x"))
		t.is(t.tree.Mkdir(t.Context(), vfs.Root), fs.ErrExist, "Mkdir(/)")
		t.fails(t.tree.Remove(t.Context(), vfs.Root), "Remove(/)")
		t.fails(t.tree.RemoveDir(t.Context(), vfs.Root), "RemoveDir(/)")
		t.fails(t.tree.Rename(t.Context(), vfs.Root, t.path("d"), vfs.Overwrite), "Rename(/, d)")
		t.fails(t.tree.Rename(t.Context(), t.path("f"), vfs.Root, vfs.Overwrite), "Rename(f, /)")
		t.fails(t.refused("/", vfs.Create{}), "Create(/)")
		t.lists("/", "f")
	}},
	{"the root of an empty tree stays too", func(t *trial) {
		t.fails(t.tree.RemoveDir(t.Context(), vfs.Root), "RemoveDir(/)")
		t.put("f", []byte("x"))
		t.lists("/", "f")
	}},
	{"Mkdir makes one empty directory", func(t *trial) {
		t.mkdir("d")
		t.mkdir("d/e")
		if fi := t.stat("d/e"); !fi.IsDir() || fi.Name() != "e" {
			t.Errorf("Stat(d/e): directory %v, name %q", fi.IsDir(), fi.Name())
		}
		t.lists("d", "e")
		t.lists("d/e")
	}},
	{"Mkdir of a taken name is fs.ErrExist", func(t *trial) {
		t.mkdir("d")
		t.put("d/f", []byte("x"))
		t.is(t.tree.Mkdir(t.Context(), t.path("d")), fs.ErrExist, "Mkdir(d)")
		t.is(t.tree.Mkdir(t.Context(), t.path("d/f")), fs.ErrExist, "Mkdir(d/f)")
		t.lists("d", "f")
		t.holds("d/f", []byte("x"))
	}},
	{"Remove and RemoveDir remove one name", func(t *trial) {
		t.mkdir("d")
		t.put("d/f", []byte("x"))
		t.kind(t.tree.RemoveDir(t.Context(), t.path("d")), kinds(fault.NotEmpty), "RemoveDir(d) with a file")
		t.holds("d/f", []byte("x"))
		t.need(t.tree.Remove(t.Context(), t.path("d/f")), "Remove(d/f)")
		t.gone("d/f")
		t.mkdir("d/e")
		t.kind(t.tree.RemoveDir(t.Context(), t.path("d")), kinds(fault.NotEmpty), "RemoveDir(d) with a directory")
		t.need(t.tree.RemoveDir(t.Context(), t.path("d/e")), "RemoveDir(d/e)")
		t.empties("d")
		t.gone("d")
	}},
	{"a file that is removed while it is open can still be read", func(t *trial) {
		t.put("f", []byte("hello"))
		f, err := t.tree.Open(t.Context(), t.path("f"))
		t.need(err, "Open(f)")
		t.need(t.tree.Remove(t.Context(), t.path("f")), "Remove(f)")
		b, err := io.ReadAll(io.NewSectionReader(f, 0, 100))
		if string(b) != "hello" || err != nil {
			t.Errorf("the open file holds %q, %v; want hello", b, err)
		}
		t.need(f.Close(), "Close()")
	}},
	{"SetTime dates files and directories", func(t *trial) {
		t.mkdir("d")
		t.put("d/f", []byte("x"))
		t.need(t.tree.SetTime(t.Context(), t.path("d/f"), day), "SetTime(d/f)")
		t.need(t.tree.SetTime(t.Context(), t.path("d"), day.AddDate(1, 0, 0)), "SetTime(d)")
		t.dated(t.stat("d/f"), day, "d/f")
		t.dated(t.stat("d"), day.AddDate(1, 0, 0), "d")
		t.holds("d/f", []byte("x"))
	}},
	{"names are kept as they were written", func(t *trial) {
		names := []string{"a b", " lead", "trail ", "-rf", "*?[x]", `back\slash`, "quote\"", "tab\t", "dot.", "...", ".profile", "größe", "日本", strings.Repeat("n", vfs.MaxName)}
		if !t.opt.UTF8Only {
			names = append(names, "latin\xe9", "\xff\xfe")
		}
		for i, name := range names {
			t.put(name, content(byte(i), 10))
		}
		t.lists("/", names...)
		for i, name := range names {
			t.holds(name, content(byte(i), 10))
			if got := t.stat(name).Name(); got != name {
				t.Errorf("Stat(%q).Name() = %q", name, got)
			}
		}
	}},
	{"a name of 255 bytes can be uploaded, cut and resumed", func(t *trial) {
		t.partials()
		name := strings.Repeat("n", vfs.MaxName)
		b := content(1, 3*vfs.CutTail)
		t.leave(name, "alice", b)
		up := t.create(name, vfs.Create{How: vfs.Resume, Offset: vfs.CutTail, Owner: "alice"})
		t.write(up, b[vfs.CutTail:], vfs.CutTail)
		t.commit(up)
		t.holds(name, b)
	}},
}

var listTests = []test{
	{"an empty directory has no entries", func(t *trial) {
		t.mkdir("d")
		for fi, err := range t.tree.List(t.Context(), t.path("d")) {
			t.Errorf("List(d) yields %v, %v", fi, err)
		}
	}},
	{"entries are told as Lstat sees them", func(t *trial) {
		t.mkdir("d")
		t.mkdir("d/sub")
		t.put("d/f", []byte("hello"))
		t.need(t.tree.SetTime(t.Context(), t.path("d/f"), day), "SetTime(d/f)")
		seen := 0
		for fi, err := range t.tree.List(t.Context(), t.path("d")) {
			t.need(err, "List(d)")
			seen++
			want, err := t.tree.Lstat(t.Context(), t.path("d/"+fi.Name()))
			t.need(err, "Lstat(d/%s)", fi.Name())
			if fi.Mode() != want.Mode() || fi.IsDir() != want.IsDir() || !fi.ModTime().Equal(want.ModTime()) || (!fi.IsDir() && fi.Size() != want.Size()) {
				t.Errorf("List shows %v; Lstat says %v", fs.FormatFileInfo(fi), fs.FormatFileInfo(want))
			}
		}
		if seen != 2 {
			t.Errorf("List(d) yields %d entries; want 2", seen)
		}
	}},
	{"a directory of 3000 entries is listed whole, each once", func(t *trial) {
		const many = 3000
		t.mkdir("d")
		var want []string
		for i := range many {
			name := fmt.Sprintf("an entry with a name of some length %04d", i)
			t.mkdir("d/" + name)
			want = append(want, name)
		}
		if got := t.list("d"); !slices.Equal(got, want) {
			t.Errorf("List(d) yields %d names; want %d, each once", len(got), many)
		}
	}},
	{"a listing may be left early, again and again", func(t *trial) {
		t.mkdir("d")
		for i := range 10 {
			t.mkdir(fmt.Sprintf("d/%d", i))
		}
		for range 2000 { // more than a process may have descriptors, by default
			for _, err := range t.tree.List(t.Context(), t.path("d")) {
				t.need(err, "List(d)")
				break
			}
		}
		if got := len(t.list("d")); got != 10 {
			t.Errorf("List(d) yields %d names; want 10", got)
		}
	}},
	{"one sequence can be ranged over twice", func(t *trial) {
		t.mkdir("d")
		seq := t.tree.List(t.Context(), vfs.Root)
		want := 1 + len(t.opt.Shows)
		for i := range 2 {
			n := 0
			for _, err := range seq {
				t.need(err, "List(/)")
				n++
			}
			if n != want {
				t.Errorf("pass %d yields %d entries; want %d", i+1, n, want)
			}
		}
	}},
	{"an error is told once and ends the sequence", func(t *trial) {
		t.put("f", []byte("x"))
		for _, row := range []struct {
			path string
			want []fault.Kind
		}{
			{"no", kinds(fault.NotFound)},
			{"no/no", kinds(fault.NotFound)},
			{"f", kinds(fault.NotDir)},
		} {
			steps := 0
			for _, err := range t.tree.List(t.Context(), t.path(row.path)) {
				steps++
				t.kind(err, row.want, "List(%s)", row.path)
			}
			if steps != 1 {
				t.Errorf("List(%s) yields %d times; want 1", row.path, steps)
			}
		}
	}},
	{"unfinished uploads are never listed", func(t *trial) {
		t.mkdir("d")
		b := content(1, 3*vfs.CutTail)
		t.leave("d/cut", "alice", b)
		a := t.create("d/running", vfs.Create{Owner: "alice"})
		t.write(a, b, 0)
		n := t.create("d/new", vfs.Create{How: vfs.New})
		t.write(n, b, 0)
		t.put("d/done", b)
		appending := t.create("d/done", vfs.Create{How: vfs.InPlace, Offset: -1})
		t.write(appending, b, appending.Offset())
		t.lists("d", "done")
		t.discard(a)
		t.discard(n)
		t.discard(appending)
	}},
}

var renameTests = []test{
	{"a file gets another name", func(t *trial) {
		t.mkdir("d")
		t.put("a", []byte("hello"))
		t.need(t.tree.SetTime(t.Context(), t.path("a"), day), "SetTime(a)")
		t.need(t.tree.Rename(t.Context(), t.path("a"), t.path("b"), vfs.NoReplace), "Rename(a, b)")
		t.gone("a")
		t.need(t.tree.Rename(t.Context(), t.path("b"), t.path("d/c"), vfs.Overwrite), "Rename(b, d/c)")
		t.gone("b")
		t.holds("d/c", []byte("hello"))
		t.dated(t.stat("d/c"), day, "d/c")
	}},
	{"a directory takes along what it holds", func(t *trial) {
		t.mkdir("a")
		t.mkdir("a/sub")
		t.put("a/sub/f", []byte("hello"))
		t.mkdir("d")
		t.need(t.tree.Rename(t.Context(), t.path("a"), t.path("d/b"), vfs.NoReplace), "Rename(a, d/b)")
		t.lists("/", "d")
		t.holds("d/b/sub/f", []byte("hello"))
	}},
	{"Overwrite replaces a file", func(t *trial) {
		t.put("a", []byte("new"))
		t.put("b", []byte("old file"))
		t.need(t.tree.Rename(t.Context(), t.path("a"), t.path("b"), vfs.Overwrite), "Rename(a, b)")
		t.lists("/", "b")
		t.holds("b", []byte("new"))
	}},
	{"NoReplace leaves both as they are", func(t *trial) {
		t.put("a", []byte("new"))
		t.put("b", []byte("old file"))
		t.mkdir("d")
		t.mkdir("e")
		for _, to := range []string{"b", "d"} {
			t.is(t.tree.Rename(t.Context(), t.path("a"), t.path(to), vfs.NoReplace), fs.ErrExist, "Rename(a, %s, NoReplace)", to)
		}
		t.is(t.tree.Rename(t.Context(), t.path("d"), t.path("e"), vfs.NoReplace), fs.ErrExist, "Rename(d, e, NoReplace)")
		t.lists("/", "a", "b", "d", "e")
		t.holds("a", []byte("new"))
		t.holds("b", []byte("old file"))
	}},
	{"Overwrite replaces an empty directory with a directory", func(t *trial) {
		t.mkdir("a")
		t.put("a/f", []byte("x"))
		t.mkdir("b")
		t.need(t.tree.Rename(t.Context(), t.path("a"), t.path("b"), vfs.Overwrite), "Rename(a, b)")
		t.lists("/", "b")
		t.holds("b/f", []byte("x"))
	}},
	{"Overwrite replaces no directory that holds something", func(t *trial) {
		t.mkdir("a")
		t.mkdir("b")
		t.put("b/f", []byte("x"))
		t.put("c", []byte("y"))
		t.kind(t.tree.Rename(t.Context(), t.path("a"), t.path("b"), vfs.Overwrite), kinds(fault.NotEmpty, fault.Exists), "Rename(a, b)")
		t.kind(t.tree.Rename(t.Context(), t.path("c"), t.path("b"), vfs.Overwrite), kinds(fault.IsDir, fault.NotEmpty, fault.Exists), "Rename(c, b)")
		t.lists("/", "a", "b", "c")
		t.holds("b/f", []byte("x"))
		t.holds("c", []byte("y"))
	}},
	{"a directory does not replace a file", func(t *trial) {
		t.mkdir("d")
		t.put("f", []byte("x"))
		t.kind(t.tree.Rename(t.Context(), t.path("d"), t.path("f"), vfs.Overwrite), kinds(fault.NotDir, fault.Exists), "Rename(d, f)")
		t.lists("/", "d", "f")
		t.holds("f", []byte("x"))
	}},
	{"what is missing is fs.ErrNotExist", func(t *trial) {
		t.put("f", []byte("x"))
		for _, how := range []vfs.Rename{vfs.Overwrite, vfs.NoReplace} {
			t.is(t.tree.Rename(t.Context(), t.path("no"), t.path("b"), how), fs.ErrNotExist, "Rename(no, b)")
			t.is(t.tree.Rename(t.Context(), t.path("f"), t.path("no/b"), how), fs.ErrNotExist, "Rename(f, no/b)")
		}
		t.lists("/", "f")
	}},
	{"a missing name does not harm the file it should replace", func(t *trial) {
		t.put("f", []byte("x"))
		t.is(t.tree.Rename(t.Context(), t.path("no"), t.path("f"), vfs.Overwrite), fs.ErrNotExist, "Rename(no, f)")
		t.holds("f", []byte("x"))
	}},
	{"a directory cannot go below itself", func(t *trial) {
		t.mkdir("d")
		t.mkdir("d/e")
		t.put("d/f", []byte("x"))
		for _, to := range []string{"d/g", "d/e/g", "d/e"} {
			t.fails(t.tree.Rename(t.Context(), t.path("d"), t.path(to), vfs.Overwrite), "Rename(d, %s)", to)
		}
		t.lists("d", "e", "f")
		t.holds("d/f", []byte("x"))
	}},
	{"a name renamed to itself stays", func(t *trial) {
		t.mkdir("d")
		t.put("d/f", []byte("x"))
		t.need(t.tree.Rename(t.Context(), t.path("d/f"), t.path("d/f"), vfs.Overwrite), "Rename(d/f, d/f)")
		t.need(t.tree.Rename(t.Context(), t.path("d"), t.path("d"), vfs.Overwrite), "Rename(d, d)")
		t.holds("d/f", []byte("x"))
	}},
}

var linkTests = []test{
	{"a link is followed by Stat and Open and seen by Lstat, List and Readlink", func(t *trial) {
		link := t.linker()
		t.mkdir("d")
		t.put("d/f", []byte("hello"))
		link("l", "d/f")
		link("d/up", "../d")
		t.holds("l", []byte("hello"))
		t.holds("d/up/up/f", []byte("hello"))
		if fi := t.stat("d/up"); !fi.IsDir() {
			t.Errorf("Stat(d/up) is no directory")
		}
		fi, err := t.tree.Lstat(t.Context(), t.path("l"))
		t.need(err, "Lstat(l)")
		if fi.Mode().Type() != fs.ModeSymlink {
			t.Errorf("Lstat(l) has mode %v; want a link", fi.Mode())
		}
		for fi, err := range t.tree.List(t.Context(), vfs.Root) {
			t.need(err, "List(/)")
			if fi.Name() == "l" && fi.Mode().Type() != fs.ModeSymlink {
				t.Errorf("List shows l with mode %v; want a link", fi.Mode())
			}
		}
		t.lists("d/up", "f", "up")
		if r, ok := t.tree.(vfs.Linker); ok {
			got, err := r.Readlink(t.Context(), t.path("l"))
			if got != "d/f" || err != nil {
				t.Errorf("Readlink(l) = %q, %v; want d/f", got, err)
			}
		}
	}},
	{"Remove removes the link and Rename moves it", func(t *trial) {
		link := t.linker()
		t.mkdir("d")
		t.put("f", []byte("hello"))
		link("l", "f")
		link("ld", "d")
		t.need(t.tree.Rename(t.Context(), t.path("l"), t.path("m"), vfs.NoReplace), "Rename(l, m)")
		t.holds("m", []byte("hello"))
		t.kind(t.tree.RemoveDir(t.Context(), t.path("ld")), kinds(fault.NotDir), "RemoveDir of a link")
		t.need(t.tree.Remove(t.Context(), t.path("m")), "Remove(m)")
		t.need(t.tree.Remove(t.Context(), t.path("ld")), "Remove(ld)")
		t.lists("/", "d", "f")
	}},
	{"an upload to a link replaces its target", func(t *trial) {
		link := t.linker()
		t.mkdir("d")
		t.put("d/f", []byte("old"))
		link("l", "d/f")
		t.put("l", []byte("new"))
		t.holds("d/f", []byte("new"))
		fi, err := t.tree.Lstat(t.Context(), t.path("l"))
		t.need(err, "Lstat(l)")
		if fi.Mode().Type() != fs.ModeSymlink {
			t.Errorf("l has mode %v; want that it stays a link", fi.Mode())
		}
	}},
	{"New does not follow a link", func(t *trial) {
		link := t.linker()
		link("l", "target")
		t.is(t.refused("l", vfs.Create{How: vfs.New}), fs.ErrExist, "Create(l, New)")
		t.lists("/", "l")
	}},
	{"a link to nothing is missing when it is followed", func(t *trial) {
		link := t.linker()
		link("l", "no")
		_, err := t.tree.Stat(t.Context(), t.path("l"))
		t.is(err, fs.ErrNotExist, "Stat(l)")
		_, err = t.tree.Open(t.Context(), t.path("l"))
		t.is(err, fs.ErrNotExist, "Open(l)")
		t.lists("/", "l")
	}},
	{"links in a circle end with an error", func(t *trial) {
		link := t.linker()
		link("a", "b")
		link("b", "a")
		_, err := t.tree.Stat(t.Context(), t.path("a"))
		t.kind(err, kinds(fault.Denied), "Stat(a)")
		_, err = t.tree.Open(t.Context(), t.path("a/f"))
		t.kind(err, kinds(fault.Denied), "Open(a/f)")
		t.fails(t.refused("a", vfs.Create{}), "Create(a)")
		t.lists("/", "a", "b")
	}},
	{"a link never leads out of the tree", func(t *trial) {
		link := t.linker()
		t.mkdir("d")
		for i, target := range []string{"../../../../../../../../etc/passwd", "/etc/passwd"} {
			name := fmt.Sprintf("d/l%d", i)
			link(name, target)
			f, err := t.tree.Open(t.Context(), t.path(name))
			t.fails(err, "Open of a link to %s", target)
			if err == nil {
				f.Close()
			}
			_, err = t.tree.Stat(t.Context(), t.path(name))
			t.fails(err, "Stat of a link to %s", target)
		}
	}},
	{"Readlink of what is no link fails", func(t *trial) {
		r, ok := t.tree.(vfs.Linker)
		if !ok {
			t.Skip("this tree shows no links")
		}
		t.put("f", []byte("x"))
		_, err := r.Readlink(t.Context(), t.path("f"))
		t.fails(err, "Readlink(f)")
		_, err = r.Readlink(t.Context(), t.path("no"))
		t.is(err, fs.ErrNotExist, "Readlink(no)")
	}},
}

// symlinkTests are about vfs.Symlinker, and need no Options.Symlink.
var symlinkTests = []test{
	{"what is made is read back and leads to its target", func(t *trial) {
		links := t.symlinker()
		t.mkdir("d")
		t.mkdir("d/sub")
		t.put("d/f", []byte("hello"))
		t.put("g", []byte("above"))
		for _, row := range []struct{ link, target, holds string }{
			{"l", "d/f", "hello"},
			{"d/beside", "f", "hello"},
			{"d/up", "../g", "above"},
			{"d/sub/round", "../../d/sub/../f", "hello"},
		} {
			t.need(links.Symlink(t.Context(), row.target, t.path(row.link)), "Symlink(%s, %s)", row.target, row.link)
			fi, err := t.tree.Lstat(t.Context(), t.path(row.link))
			t.need(err, "Lstat(%s)", row.link)
			if fi.Mode().Type() != fs.ModeSymlink {
				t.Errorf("Lstat(%s) has mode %v; want a link", row.link, fi.Mode())
			}
			t.holds(row.link, []byte(row.holds))
			if r, ok := t.tree.(vfs.Linker); ok {
				if got, err := r.Readlink(t.Context(), t.path(row.link)); got != row.target || err != nil {
					t.Errorf("Readlink(%s) = %q, %v; want %q", row.link, got, err, row.target)
				}
			}
		}
		t.lists("/", "d", "g", "l")
		t.lists("d", "beside", "f", "sub", "up")
	}},
	{"a link to a directory is a way into it", func(t *trial) {
		links := t.symlinker()
		t.mkdir("d")
		t.need(links.Symlink(t.Context(), "d", t.path("l")), "Symlink(d, l)")
		t.put("l/f", []byte("hello"))
		t.holds("d/f", []byte("hello"))
	}},
	{"a link may be made before its target", func(t *trial) {
		links := t.symlinker()
		t.need(links.Symlink(t.Context(), "f", t.path("l")), "Symlink(f, l)")
		_, err := t.tree.Stat(t.Context(), t.path("l"))
		t.is(err, fs.ErrNotExist, "Stat(l)")
		t.put("f", []byte("hello"))
		t.holds("l", []byte("hello"))
	}},
	{"a target that is absolute or leads out of the tree is refused", func(t *trial) {
		links := t.symlinker()
		t.mkdir("d")
		t.put("d/f", []byte("x"))
		for _, row := range [][2]string{
			{"l", "/"}, {"l", "/d/f"}, {"l", ".."}, {"l", "../d/f"}, {"l", "d/../../d/f"},
			{"d/l", "../../d/f"}, {"d/l", "../../../../../../../../etc/passwd"}, {"d/l", "/etc/passwd"},
		} {
			t.kind(links.Symlink(t.Context(), row[1], t.path(row[0])), kinds(fault.Denied), "Symlink(%s, %s)", row[1], row[0])
		}
		t.lists("/", "d")
		t.lists("d", "f")
	}},
	{"a target with a reserved name, or none, is refused", func(t *trial) {
		links := t.symlinker()
		t.mkdir("d")
		for _, target := range []string{vfs.Hidden + "x", "d/" + vfs.Hidden + "x", vfs.Hidden + "x/../d"} {
			t.kind(links.Symlink(t.Context(), target, t.path("l")), kinds(fault.Denied, fault.BadName), "Symlink(%s, l)", target)
		}
		t.fails(links.Symlink(t.Context(), "", t.path("l")), "Symlink of no target")
		t.lists("/", "d")
	}},
	{"a taken name is fs.ErrExist and stays what it is", func(t *trial) {
		links := t.symlinker()
		t.mkdir("d")
		t.put("f", []byte("x"))
		t.need(links.Symlink(t.Context(), "no", t.path("l")), "Symlink(no, l)")
		for _, name := range []string{"d", "f", "l"} {
			t.is(links.Symlink(t.Context(), "f", t.path(name)), fs.ErrExist, "Symlink(f, %s)", name)
		}
		t.fails(links.Symlink(t.Context(), "f", vfs.Root), "Symlink(f, /)")
		_, err := t.tree.Stat(t.Context(), t.path("l"))
		t.is(err, fs.ErrNotExist, "Stat(l)")
		t.holds("f", []byte("x"))
		t.lists("/", "d", "f", "l")
	}},
	{"the directory must exist and be one", func(t *trial) {
		links := t.symlinker()
		t.put("f", []byte("x"))
		t.is(links.Symlink(t.Context(), "f", t.path("no/l")), fs.ErrNotExist, "Symlink(f, no/l)")
		t.kind(links.Symlink(t.Context(), "f", t.path("f/l")), kinds(fault.NotDir, fault.NotFound), "Symlink(f, f/l)")
		t.lists("/", "f")
	}},
}

func (t *trial) symlinker() vfs.Symlinker {
	t.Helper()
	s, ok := t.tree.(vfs.Symlinker)
	if !ok {
		t.Skip("this tree makes no links")
	}
	return s
}

func (t *trial) linker() func(name, target string) {
	t.Helper()
	if t.opt.Symlink == nil {
		t.Skip("no way to make links in this tree")
	}
	return func(name, target string) {
		t.Helper()
		t.opt.Symlink(t.T, t.tree, t.path(name), target)
	}
}

var extraTests = []test{
	{"Chmod sets the lowest nine bits", func(t *trial) {
		m := t.moder()
		t.mkdir("d")
		t.put("f", []byte("x"))
		t.need(m.Chmod(t.Context(), t.path("f"), 0o640|fs.ModeSetuid|fs.ModeSticky), "Chmod(f)")
		if got := t.stat("f").Mode(); got != 0o640 {
			t.Errorf("f has mode %v; want %v", got, fs.FileMode(0o640))
		}
		t.need(m.Chmod(t.Context(), t.path("d"), 0o750), "Chmod(d)")
		if got := t.stat("d").Mode(); !got.IsDir() || got.Perm() != 0o750 {
			t.Errorf("d has mode %v; want %v", got, fs.ModeDir|0o750)
		}
		t.is(m.Chmod(t.Context(), t.path("no"), 0o640), fs.ErrNotExist, "Chmod(no)")
		t.holds("f", []byte("x"))
	}},
	{"a file that is replaced keeps its mode", func(t *trial) {
		m := t.moder()
		t.put("f", []byte("old"))
		t.need(m.Chmod(t.Context(), t.path("f"), 0o604), "Chmod(f)")
		t.put("f", []byte("new"))
		if got := t.stat("f").Mode(); got != 0o604 {
			t.Errorf("f has mode %v; want %v", got, fs.FileMode(0o604))
		}
	}},
	{"a new file has the mode that was asked for", func(t *trial) {
		t.moder()
		for i, how := range []vfs.Create{{}, {How: vfs.New}, {Owner: "alice"}} {
			// Modes that leave nothing to a umask: whether one holds here too is the tree's.
			for _, mode := range []fs.FileMode{0o600, 0o700} {
				name := fmt.Sprintf("%d-%o", i, mode)
				how.Mode = mode | fs.ModeSetuid
				up := t.create(name, how)
				t.write(up, []byte("x"), 0)
				t.commit(up)
				t.holds(name, []byte("x"))
				if got := t.stat(name).Mode(); got != mode {
					t.Errorf("a file of Create(%+v) has mode %v; want %v", how, got, mode)
				}
			}
		}
	}},
	{"the mode of a file that is replaced or written in place wins", func(t *trial) {
		m := t.moder()
		t.put("f", []byte("old"))
		t.need(m.Chmod(t.Context(), t.path("f"), 0o604), "Chmod(f)")
		for _, how := range []vfs.Create{{}, {Offset: 1}, {How: vfs.InPlace, Offset: -1}} {
			how.Mode = 0o700
			up := t.create("f", how)
			t.write(up, []byte("x"), up.Offset())
			t.commit(up)
			if got := t.stat("f").Mode(); got != 0o604 {
				t.Errorf("f has mode %v after Create(%+v); want %v", got, how, fs.FileMode(0o604))
			}
		}
	}},
	{"a resumed upload has the mode that it began with", func(t *trial) {
		t.partials()
		t.moder()
		want := content(1, 20_000)
		up := t.create("f", vfs.Create{Owner: "alice", Mode: 0o600})
		t.write(up, want[:10_000], 0)
		t.cut(up)
		up = t.create("f", vfs.Create{How: vfs.Resume, Offset: 5000, Owner: "alice", Mode: 0o700})
		t.write(up, want[5000:], 5000)
		t.commit(up)
		t.holds("f", want)
		if got := t.stat("f").Mode(); got != 0o600 {
			t.Errorf("f has mode %v; want %v", got, fs.FileMode(0o600))
		}
	}},
	{"no more room is free than there is", func(t *trial) {
		s, ok := t.tree.(vfs.Spacer)
		if !ok {
			t.Skip("this tree does not tell its room")
		}
		free, total, err := s.Space(t.Context(), vfs.Root)
		t.need(err, "Space(/)")
		if free > total || total == 0 {
			t.Errorf("Space(/) = %d of %d bytes", free, total)
		}
	}},
	{"what a kernel writes to an upload is in it, and reads from a file is its content", func(t *trial) {
		up := t.create("f", vfs.Create{})
		k, ok := up.(vfs.Kernel)
		if !ok || k.OSFile() == nil {
			t.discard(up)
			t.Skip("uploads of this tree are no descriptors")
		}
		f := k.OSFile()
		_, err := f.Seek(up.Offset(), io.SeekStart)
		t.need(err, "Seek(%d)", up.Offset())
		b := content(1, 100_000)
		_, err = io.Copy(f, bytes.NewReader(b))
		t.need(err, "writing to the descriptor")
		t.commit(up)
		t.holds("f", b)

		r, err := t.tree.Open(t.Context(), t.path("f"))
		t.need(err, "Open(f)")
		defer r.Close()
		k, ok = r.(vfs.Kernel)
		if !ok || k.OSFile() == nil {
			return
		}
		_, err = k.OSFile().Seek(7, io.SeekStart)
		t.need(err, "Seek(7)")
		got, err := io.ReadAll(k.OSFile())
		if !bytes.Equal(got, b[7:]) || err != nil {
			t.Errorf("the descriptor reads %s, %v; want %s", brief(got), err, brief(b[7:]))
		}
	}},
}

func (t *trial) hardLinker() vfs.HardLinker {
	t.Helper()
	l, ok := t.tree.(vfs.HardLinker)
	if !ok {
		t.Skip("no hard links here")
	}
	return l
}

func (t *trial) moder() vfs.Moder {
	t.Helper()
	m, ok := t.tree.(vfs.Moder)
	if !ok {
		t.Skip("this tree has no modes")
	}
	return m
}
