package sftpserver

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"dray/account"
	"dray/event"
	"dray/fault"
	"dray/sftp"
	"dray/vfs"
	"dray/vfs/osfs"
)

func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("it never came about: %s", what)
}

// partials are the hidden files of the stage.
func (st *stage) partials() []string {
	st.t.Helper()
	all, err := filepath.Glob(filepath.Join(st.dir, ".dray-*"))
	need(st.t, err)
	return all
}

func TestAnUploadShowsWhenItIsClosed(t *testing.T) {
	st := newStage(t)
	st.put("f", "old")
	w := st.newWire()
	h := w.open("f", makes)
	w.write(h, 6, "world") // in any order
	w.write(h, 0, "hello ")
	if got := st.file("f"); got != "old" {
		t.Errorf("before CLOSE the name shows %q", got)
	}
	if got := w.read(w.open("f", sftp.OpenRead), 0, 100); got != "hello world" {
		t.Errorf("its own session reads %q", got)
	}
	w.close(h)
	if got := st.file("f"); got != "hello world" {
		t.Errorf("behind CLOSE the name shows %q", got)
	}
	if got := st.partials(); len(got) != 0 {
		t.Errorf("left behind: %v", got)
	}
	ts := st.events.transfers()
	if len(ts) != 1 || !ts[0].Whole || ts[0].Bytes != 11 || ts[0].Path != "/f" {
		t.Errorf("events %+v", ts)
	}
}

func TestASessionThatEndsBeforeClosePublishesNothing(t *testing.T) {
	st := newStage(t)
	st.put("f", "old")
	c := st.dial()
	w := open(t, c)
	w.send((&sftp.Request{Type: sftp.TypeInit, Version: 3}).Append(nil))
	w.receive()
	data := strings.Repeat("x", 10_000)
	h := w.open("f", makes)
	w.write(h, 0, data)
	h = w.open("new", makes)
	w.write(h, 0, data)
	_ = c.Close()
	until(t, "two cut uploads", func() bool { return len(st.events.transfers()) == 2 })
	if got := st.file("f"); got != "old" {
		t.Errorf("f holds %d bytes", len(got))
	}
	st.missing("new")
	for _, e := range st.events.transfers() {
		if e.Whole || e.Reason != "upload-cut" {
			t.Errorf("event %+v", e)
		}
	}

	// The account sees what was kept by its name, and goes on from there.
	w = st.newWire()
	p := w.do(sftp.Request{Type: sftp.TypeStat, Path: []byte("new")})
	if p.Type != sftp.TypeAttrs || p.Attrs.Size != 10_000-4096 {
		t.Fatalf("STAT of what is kept: %+v", p)
	}
	if p := w.do(sftp.Request{Type: sftp.TypeStat, Path: []byte("f")}); p.Attrs.Size != 3 {
		t.Errorf("STAT of a finished file with a partial beside it: %+v", p.Attrs)
	}
	h = w.open("new", sftp.OpenWrite|sftp.OpenCreate)
	w.write(h, p.Attrs.Size, data[p.Attrs.Size:])
	st.missing("new")
	w.close(h)
	if got := st.file("new"); got != data {
		t.Errorf("new holds %d bytes", len(got))
	}
}

// drops is a session that sends what f does and is cut, as all that it leaves behind.
func (st *stage) drops(f func(w *wireClient)) {
	st.t.Helper()
	before := len(st.events.transfers())
	c := st.dial()
	w := open(st.t, c)
	w.send((&sftp.Request{Type: sftp.TypeInit, Version: 3}).Append(nil))
	w.receive()
	f(w)
	_ = c.Close()
	until(st.t, "a cut upload", func() bool { return len(st.events.transfers()) > before })
}

// Pieces come in any order, and a length may be set before they do. Who goes on behind
// a gap would make a file with zeros in it.
func TestWhatIsKeptEndsBeforeItsFirstGap(t *testing.T) {
	piece := strings.Repeat("x", 50_000)
	sized := func(w *wireClient, h []byte, size uint64) {
		w.ok(sftp.Request{Type: sftp.TypeFsetstat, Handle: h, Attrs: sftp.Attributes{Flags: sftp.HasSize, Size: size}})
	}
	for name, tt := range map[string]struct {
		send func(w *wireClient, h []byte)
		came uint64
	}{
		"a piece is missing":   {func(w *wireClient, h []byte) { w.write(h, 0, piece); w.write(h, 100_000, piece) }, 50_000},
		"the first is missing": {func(w *wireClient, h []byte) { w.write(h, 50_000, piece) }, 0},
		"from back to front": {func(w *wireClient, h []byte) {
			w.write(h, 100_000, piece)
			w.write(h, 50_000, piece)
			w.write(h, 0, piece)
		}, 150_000},
		"its length was set":   {func(w *wireClient, h []byte) { sized(w, h, 1<<20); w.write(h, 0, piece) }, 50_000},
		"it was made shorter":  {func(w *wireClient, h []byte) { w.write(h, 0, piece); w.write(h, 50_000, piece); sized(w, h, 60_000) }, 60_000},
		"shorter, then longer": {func(w *wireClient, h []byte) { w.write(h, 0, piece); sized(w, h, 20_000); w.write(h, 50_000, piece) }, 20_000},
		"a piece comes in late": {func(w *wireClient, h []byte) {
			w.write(h, 0, piece)
			w.write(h, 100_000, piece)
			w.write(h, 40_000, piece)
		}, 90_000},
	} {
		t.Run(name, func(t *testing.T) {
			st := newStage(t)
			st.drops(func(w *wireClient) { tt.send(w, w.open("f", makes)) })
			p := st.newWire().do(sftp.Request{Type: sftp.TypeStat, Path: []byte("f")})
			switch {
			case tt.came == 0 && p.Code != sftp.NoSuchFile:
				t.Errorf("STAT of what is kept: %+v; want nothing", p)
			case tt.came > 0 && (p.Type != sftp.TypeAttrs || p.Attrs.Size != tt.came-4096):
				t.Errorf("STAT of what is kept: %+v; want %d bytes", p, tt.came-4096)
			}
		})
	}

	// The same for one that goes on.
	st := newStage(t)
	st.drops(func(w *wireClient) { w.write(w.open("f", makes), 0, piece) })
	st.drops(func(w *wireClient) {
		h := w.open("f", sftp.OpenWrite)
		w.write(h, 50_000-4096, piece)
		w.write(h, 200_000, piece)
	})
	if p := st.newWire().do(sftp.Request{Type: sftp.TypeStat, Path: []byte("f")}); p.Attrs.Size != 100_000-2*4096 {
		t.Errorf("what is kept of one that went on has %d bytes; want %d", p.Attrs.Size, 100_000-2*4096)
	}
}

// A client that resumes by the length that it sees, which is that of the old file, would
// join the beginning of one to the end of the other.
func TestAResumeOntoAReplacedFileIsRefused(t *testing.T) {
	st := newStage(t)
	st.put("f", "the old file")
	data := strings.Repeat("x", 10_000)
	st.drops(func(w *wireClient) { w.write(w.open("f", makes), 0, data) })
	w := st.newWire()
	for name, flags := range map[string]uint32{"WRITE": sftp.OpenWrite, "and CREAT": sftp.OpenWrite | sftp.OpenCreate, "and APPEND": sftp.OpenWrite | sftp.OpenAppend} {
		h := w.open("f", flags)
		for i := range uint64(3) { // one behind the other, as those do that do not wait
			text := w.fails(sftp.Request{Type: sftp.TypeWrite, Handle: h, Offset: 12 + 5*i, Data: []byte("xxxxx")}, sftp.Failure)
			if !strings.Contains(text, "5904 bytes") || !strings.HasSuffix(text, "[resume-mismatch]") {
				t.Errorf("%s: %q", name, text)
			}
		}
		w.fails(sftp.Request{Type: sftp.TypeFsetstat, Handle: h, Attrs: sftp.Attributes{Flags: sftp.HasSize, Size: 27}}, sftp.Failure)
		w.fails(sftp.Request{Type: sftp.TypeClose, Handle: h}, sftp.Failure)
	}
	if got := st.file("f"); got != "the old file" {
		t.Errorf("f holds %q", got)
	}
	// What does not go on behind the end is no resume.
	h := w.open("f", sftp.OpenWrite)
	w.write(h, 4, "OLD")
	w.write(h, 12, "!")
	w.close(h)
	if got := st.file("f"); got != "the OLD file!" {
		t.Errorf("f holds %q", got)
	}
	// With the old file out of the way it goes on with what was kept.
	w.ok(sftp.Request{Type: sftp.TypeRename, Path: []byte("f"), To: []byte("old")})
	h = w.open("f", sftp.OpenWrite)
	w.write(h, 5904, data[5904:])
	w.close(h)
	if got := st.file("f"); got != data {
		t.Errorf("f holds %d bytes", len(got))
	}
	// Then nothing is in the way of going on.
	h = w.open("f", sftp.OpenWrite|sftp.OpenAppend)
	w.write(h, 0, "more")
	w.close(h)
	// Nor while an upload of this session is flushed, and another is cut.
	h = w.open("g", makes)
	w.write(h, 0, "begun")
	w.ok(sftp.Request{Type: sftp.TypeExtended, Extension: []byte(sftp.ExtFsync), Handle: h})
	st.drops(func(w *wireClient) { w.write(w.open("g", makes), 0, data) })
	w.write(h, 5, " and ended")
	w.close(h)
	if got := st.file("g"); got != "begun and ended" {
		t.Errorf("g holds %q", got)
	}
}

func TestExclusiveNamesAreThereAtOnce(t *testing.T) {
	st := newStage(t)
	a, b := st.newWire(), st.newWire()
	const lock = sftp.OpenWrite | sftp.OpenCreate | sftp.OpenExcl
	h := a.open("lock", lock)
	if got := st.file("lock"); got != "" {
		t.Errorf("lock holds %q", got)
	}
	if text := b.fails(sftp.Request{Type: sftp.TypeOpen, Path: []byte("lock"), Flags: lock}, sftp.Failure); !strings.Contains(text, "[exists]") {
		t.Errorf("the second hears %q", text)
	}
	a.write(h, 0, "pid")
	if got := st.file("lock"); got != "pid" {
		t.Errorf("lock holds %q", got)
	}
	a.close(h)
	a.ok(sftp.Request{Type: sftp.TypeRename, Path: []byte("lock"), To: []byte("done")})
	if got := st.file("done"); got != "pid" {
		t.Errorf("done holds %q", got)
	}
}

func TestAFinishedFileIsChangedWhereItIs(t *testing.T) {
	st := newStage(t)
	st.put("f", "hello world")
	need(t, os.Link(filepath.Join(st.dir, "f"), filepath.Join(st.dir, "twin")))
	w := st.newWire()
	h := w.open("f", sftp.OpenRead|sftp.OpenWrite)
	w.write(h, 0, "J")
	if got := st.file("twin"); got != "Jello world" {
		t.Errorf("its other name shows %q", got)
	}
	if got := w.read(h, 6, 100); got != "world" {
		t.Errorf("READ = %q", got)
	}
	w.ok(sftp.Request{Type: sftp.TypeFsetstat, Handle: h, Attrs: sftp.Attributes{Flags: sftp.HasSize, Size: 5}})
	w.write(h, 8, "!")
	w.close(h)
	if got := st.file("f"); got != "Jello\x00\x00\x00!" {
		t.Errorf("f holds %q", got)
	}
	h = w.open("f", sftp.OpenWrite|sftp.OpenTrunc)
	if got := st.file("f"); got != "" {
		t.Errorf("TRUNC without CREAT left %q", got)
	}
	w.close(h)
	w.ok(sftp.Request{Type: sftp.TypeSetstat, Path: []byte("f"), Attrs: sftp.Attributes{Flags: sftp.HasSize, Size: 3}})
	if got := st.file("twin"); got != "\x00\x00\x00" {
		t.Errorf("SETSTAT of the length left %q", got)
	}
}

func TestAppendsGoToTheEnd(t *testing.T) {
	st := newStage(t)
	st.put("f", "one,")
	w := st.newWire()
	h := w.open("f", sftp.OpenWrite|sftp.OpenAppend|sftp.OpenCreate)
	w.write(h, 0, "two,")
	w.write(h, 0, "three")
	w.close(h)
	if got := st.file("f"); got != "one,two,three" {
		t.Errorf("f holds %q", got)
	}
	h = w.open("new", sftp.OpenWrite|sftp.OpenAppend|sftp.OpenCreate)
	w.write(h, 100, "a")
	w.write(h, 0, "b")
	w.close(h)
	if got := st.file("new"); got != "ab" {
		t.Errorf("new holds %q", got)
	}
}

// CREAT does not ask for WRITE (draft-ietf-secsh-filexfer-02, 6.3).
func TestMakingWithoutWriting(t *testing.T) {
	st := newStage(t)
	st.put("old", "content")
	w := st.newWire()
	w.close(w.open("lock", sftp.OpenCreate|sftp.OpenExcl))
	w.fails(sftp.Request{Type: sftp.TypeOpen, Path: []byte("lock"), Flags: sftp.OpenCreate | sftp.OpenExcl}, sftp.Failure)
	w.close(w.open("new", sftp.OpenRead|sftp.OpenCreate))
	h := w.open("old", sftp.OpenRead|sftp.OpenCreate)
	if got := w.read(h, 0, 100); got != "content" {
		t.Errorf("READ = %q", got)
	}
	w.close(h)
	h = w.open("old", sftp.OpenRead|sftp.OpenCreate|sftp.OpenTrunc)
	w.fails(sftp.Request{Type: sftp.TypeWrite, Handle: h, Data: []byte("x")}, sftp.PermissionDenied)
	w.close(h)
	for name, want := range map[string]string{"lock": "", "new": "", "old": ""} {
		if got := st.file(name); got != want {
			t.Errorf("%s holds %q", name, got)
		}
	}
}

// Two handles that both make the name have a file each; the last CLOSE wins.
func TestTwoUploadsToOneName(t *testing.T) {
	st := newStage(t)
	w := st.newWire()
	a, b := w.open("f", makes), w.open("f", makes)
	w.write(a, 0, "first")
	w.write(b, 0, "second")
	w.close(b)
	if got := st.file("f"); got != "second" {
		t.Errorf("behind the first CLOSE: %q", got)
	}
	w.close(a)
	if got := st.file("f"); got != "first" {
		t.Errorf("behind the last CLOSE: %q", got)
	}
}

// What a client does to the name of a file that it is writing.
func TestNamesOfOpenUploads(t *testing.T) {
	st := newStage(t)
	w := st.newWire()
	path := func(typ sftp.Type, p string) sftp.Request { return sftp.Request{Type: typ, Path: []byte(p)} }

	h := w.open("a", makes)
	w.write(h, 0, "12345")
	if p := w.do(path(sftp.TypeLstat, "a")); p.Attrs.Size != 5 {
		t.Errorf("LSTAT of what is open: %+v", p)
	}
	w.ok(sftp.Request{Type: sftp.TypeSetstat, Path: []byte("a"), Attrs: sftp.Attributes{Flags: sftp.HasMode, Mode: 0o600}})
	dir := w.do(path(sftp.TypeOpendir, "/"))
	names := w.do(sftp.Request{Type: sftp.TypeReaddir, Handle: dir.Handle})
	var found []string
	for _, n := range names.Names {
		found = append(found, string(n.Name))
	}
	if fmt.Sprint(found) != "[. .. a]" {
		t.Errorf("READDIR shows %v", found)
	}
	w.ok(sftp.Request{Type: sftp.TypeRename, Path: []byte("a"), To: []byte("b")})
	if got := st.file("b"); got != "12345" {
		t.Errorf("behind RENAME b holds %q", got)
	}
	w.write(h, 5, "6")
	w.close(h)
	if got := st.file("b"); got != "123456" {
		t.Errorf("behind CLOSE b holds %q", got)
	}
	st.missing("a")
	if fi, err := os.Stat(filepath.Join(st.dir, "b")); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("b is %v, %v", fi, err)
	}

	// A name that is removed is gone, and the handle goes on.
	st.put("c", "old")
	h = w.open("c", makes)
	w.write(h, 0, "new")
	w.ok(path(sftp.TypeRemove, "c"))
	st.missing("c")
	w.write(h, 3, "er")
	if got := w.do(sftp.Request{Type: sftp.TypeFstat, Handle: h}); got.Attrs.Size != 5 {
		t.Errorf("FSTAT of what was removed: %+v", got)
	}
	w.fails(path(sftp.TypeStat, "c"), sftp.NoSuchFile)
	w.close(h)
	st.missing("c")
	if got := st.partials(); len(got) != 0 {
		t.Errorf("left behind: %v", got)
	}

	// A directory that is renamed takes along what is being written in it.
	w.ok(sftp.Request{Type: sftp.TypeMkdir, Path: []byte("here")})
	h = w.open("here/f", makes)
	w.write(h, 0, "moved")
	w.ok(sftp.Request{Type: sftp.TypeRename, Path: []byte("here"), To: []byte("there")})
	if p := w.do(path(sftp.TypeStat, "there/f")); p.Attrs.Size != 5 {
		t.Errorf("STAT in the directory that was renamed: %+v", p)
	}
	w.fails(path(sftp.TypeStat, "here/f"), sftp.NoSuchFile)
	w.close(h)
	if got := st.file("there/f"); got != "moved" {
		t.Errorf("there/f holds %q", got)
	}

	// fsync publishes, and the handle goes on where the file is.
	h = w.open("d", makes)
	w.write(h, 0, "safe")
	w.ok(sftp.Request{Type: sftp.TypeExtended, Extension: []byte(sftp.ExtFsync), Handle: h})
	if got := st.file("d"); got != "safe" {
		t.Errorf("behind fsync d holds %q", got)
	}
	w.write(h, 4, " and more")
	w.close(h)
	if got := st.file("d"); got != "safe and more" {
		t.Errorf("d holds %q", got)
	}
}

func TestTimesAndModesOutliveTheCommit(t *testing.T) {
	st := newStage(t)
	st.put("f", "old")
	w := st.newWire()
	p := w.do(sftp.Request{Type: sftp.TypeOpen, Path: []byte("f"), Flags: makes, Attrs: sftp.Attributes{Flags: sftp.HasMode, Mode: 0o666}})
	w.write(p.Handle, 0, "new")
	w.ok(sftp.Request{Type: sftp.TypeFsetstat, Handle: p.Handle, Attrs: sftp.Attributes{
		Flags: sftp.HasMode | sftp.HasTimes, Mode: 0o100750, ATime: 1000, MTime: 1000,
	}})
	w.write(p.Handle, 3, "er")
	w.close(p.Handle)
	fi, err := os.Stat(filepath.Join(st.dir, "f"))
	need(t, err)
	if fi.Mode().Perm() != 0o750 || fi.ModTime().Unix() != 1000 || fi.Size() != 5 {
		t.Errorf("f is %v, %d bytes, of %v", fi.Mode(), fi.Size(), fi.ModTime())
	}
	w.ok(sftp.Request{Type: sftp.TypeMkdir, Path: []byte("d"), Attrs: sftp.Attributes{Flags: sftp.HasMode, Mode: 0o777}})
	w.ok(sftp.Request{Type: sftp.TypeMkdir, Path: []byte("secret"), Attrs: sftp.Attributes{Flags: sftp.HasMode, Mode: 0o700}})
	for name, want := range map[string]os.FileMode{"d": 0o755, "secret": 0o700} {
		if fi, err := os.Stat(filepath.Join(st.dir, name)); err != nil || fi.Mode().Perm() != want {
			t.Errorf("%s is %v, %v; want %o", name, fi.Mode(), err, want)
		}
	}
}

// The rights hold for every way to write.
func TestRights(t *testing.T) {
	st := newStage(t)
	st.put("f", "old")
	st.put("g", "old")
	req := func(typ sftp.Type, p string) sftp.Request { return sftp.Request{Type: typ, Path: []byte(p)} }
	as := func(r account.Rights) *wireClient {
		a := st.people.known["anna"]
		a.Rights = r
		st.people.mu.Lock()
		st.people.known["anna"] = a
		st.people.mu.Unlock()
		return st.newWire()
	}
	w := as(account.ReadOnly)
	for _, q := range []sftp.Request{
		{Type: sftp.TypeOpen, Path: []byte("new"), Flags: makes}, {Type: sftp.TypeOpen, Path: []byte("f"), Flags: sftp.OpenWrite},
		{Type: sftp.TypeOpen, Path: []byte("lock"), Flags: sftp.OpenWrite | sftp.OpenCreate | sftp.OpenExcl},
		req(sftp.TypeRemove, "f"), req(sftp.TypeMkdir, "d"), req(sftp.TypeRmdir, "d"),
		{Type: sftp.TypeRename, Path: []byte("f"), To: []byte("h")}, {Type: sftp.TypeSymlink, Path: []byte("f"), To: []byte("l")},
		{Type: sftp.TypeSetstat, Path: []byte("f"), Attrs: sftp.Attributes{Flags: sftp.HasSize}},
	} {
		if text := w.fails(q, sftp.PermissionDenied); !strings.Contains(text, "[read-only]") {
			t.Errorf("%+v: %q", q, text)
		}
	}
	if got := w.read(w.open("f", sftp.OpenRead), 0, 9); got != "old" {
		t.Errorf("READ = %q", got)
	}

	w = as(account.UploadOnly)
	w.fails(sftp.Request{Type: sftp.TypeOpen, Path: []byte("f"), Flags: sftp.OpenRead}, sftp.PermissionDenied)
	w.fails(req(sftp.TypeStat, "f"), sftp.PermissionDenied)
	w.fails(req(sftp.TypeStat, "none"), sftp.PermissionDenied)
	if p := w.do(req(sftp.TypeStat, "/")); p.Type != sftp.TypeAttrs {
		t.Errorf("STAT / of an upload-only account: %+v", p)
	}
	h := w.open("f", makes) // under another name: whether f is there is not told
	w.write(h, 0, "mine")
	w.close(h)
	if got := st.file("f"); got != "old" {
		t.Errorf("f holds %q", got)
	}
	if got := st.file("f.1"); got != "mine" {
		t.Errorf("f.1 holds %q", got)
	}

	w = as(account.Full &^ account.Overwrite)
	w.fails(sftp.Request{Type: sftp.TypeOpen, Path: []byte("g"), Flags: makes}, sftp.PermissionDenied)
	w.fails(sftp.Request{Type: sftp.TypeOpen, Path: []byte("g"), Flags: sftp.OpenWrite}, sftp.PermissionDenied)
	w.fails(sftp.Request{Type: sftp.TypeSetstat, Path: []byte("g"), Attrs: sftp.Attributes{Flags: sftp.HasSize}}, sftp.PermissionDenied)
	w.fails(sftp.Request{Type: sftp.TypeExtended, Extension: []byte(sftp.ExtPosixRename), Path: []byte("f"), To: []byte("g")}, sftp.PermissionDenied)
	h = w.open("new", makes)
	w.write(h, 0, "x")
	w.ok(sftp.Request{Type: sftp.TypeExtended, Extension: []byte(sftp.ExtFsync), Handle: h})
	w.write(h, 1, "y") // its own file, which it has published itself
	w.close(h)
	if got := st.file("new"); got != "xy" || st.file("g") != "old" {
		t.Errorf("new holds %q, g %q", got, st.file("g"))
	}
}

// OPEN with EXCL makes a name or fails, whether or not the account may list.
func TestANameThatMustBeNewReplacesNothing(t *testing.T) {
	const mustNew = sftp.OpenWrite | sftp.OpenCreate | sftp.OpenExcl
	for _, tt := range []struct {
		rights account.Rights
		own    bool // the upload gets a name of its own
	}{
		{account.All, false}, {account.All &^ account.List, false}, {account.Read | account.Write, false},
		{account.UploadOnly, true}, {account.UploadOnly | account.Overwrite, true},
	} {
		st := newStage(t)
		a := st.people.known["anna"]
		a.Rights = tt.rights
		st.people.known["anna"] = a
		st.put("f", "old")
		w := st.newWire()
		if tt.own {
			h := w.open("f", mustNew)
			w.write(h, 0, "new")
			w.close(h)
			if got := st.file("f.1"); got != "new" {
				t.Errorf("%s: f.1 holds %q", tt.rights, got)
			}
		} else if text := w.fails(sftp.Request{Type: sftp.TypeOpen, Path: []byte("f"), Flags: mustNew}, sftp.Failure); !strings.Contains(text, "[exists]") {
			t.Errorf("%s: %q", tt.rights, text)
		}
		if got := st.file("f"); got != "old" {
			t.Errorf("%s: f holds %q", tt.rights, got)
		}
	}
}

// Who can see nothing is told that, and not that the file is missing.
func TestAFileThatCantBeSeenCantBeOpened(t *testing.T) {
	st := newStage(t)
	a := st.people.known["anna"]
	a.Rights = account.UploadOnly | account.Overwrite
	st.people.known["anna"] = a
	st.put("f", "old")
	w := st.newWire()
	for _, name := range []string{"f", "none"} {
		for _, flags := range []uint32{sftp.OpenRead, sftp.OpenWrite, sftp.OpenWrite | sftp.OpenTrunc, sftp.OpenWrite | sftp.OpenAppend} {
			if text := w.fails(sftp.Request{Type: sftp.TypeOpen, Path: []byte(name), Flags: flags}, sftp.PermissionDenied); !strings.Contains(text, "[perm]") {
				t.Errorf("OPEN %s with %x: %q", name, flags, text)
			}
		}
	}
	if got := st.file("f"); got != "old" {
		t.Errorf("f holds %q", got)
	}
}

// A download whose client leaves was lost; nothing of it is an upload.
func TestADownloadThatIsLeft(t *testing.T) {
	st := newStage(t)
	st.put("big", strings.Repeat("x", 100_000))
	w := st.newWire()
	h := w.open("big", sftp.OpenRead)
	if got := w.read(h, 0, 1000); len(got) != 1000 {
		t.Fatalf("%d bytes", len(got))
	}
	need(t, w.ch.Close())
	until(t, "a lost download", func() bool { return len(st.events.transfers()) == 1 })
	if e := st.events.transfers()[0]; e.Whole || e.Bytes != 1000 || e.Direction != event.Download || e.Reason != string(fault.IDDataLost) {
		t.Errorf("event %+v", e)
	}
}

// So is one whose client leaves while the rate of its account makes it wait, for longer
// than a lost connection is waited for; what is uploaded beside it is cut.
func TestASlowDownloadThatIsLeft(t *testing.T) {
	st := newStage(t)
	a := st.people.known["anna"]
	a.RateDown = 10_000
	st.people.known["anna"] = a
	st.put("big", strings.Repeat("x", 300_000))
	c := st.dial()
	w := open(t, c)
	w.send((&sftp.Request{Type: sftp.TypeInit, Version: 3}).Append(nil))
	w.receive()
	w.write(w.open("new", makes), 0, "new")
	h := w.open("big", sftp.OpenRead)
	for i := range uint32(2) {
		w.send((&sftp.Request{Type: sftp.TypeRead, ID: 100 + i, Handle: h, Offset: uint64(i) * 100_000, Length: 100_000}).Append(nil))
	}
	time.Sleep(50 * time.Millisecond)
	need(t, c.Close())
	until(t, "two lost transfers", func() bool { return len(st.events.transfers()) == 2 })
	for _, e := range st.events.transfers() {
		want := fault.IDDataLost
		if e.Direction == event.Upload {
			want = fault.IDUploadCut
		}
		if e.Whole || e.Reason != string(want) {
			t.Errorf("event %+v; want the reason %s", e, want)
		}
	}
}

// The old file under an upload whose name is removed is given back with it.
func TestARemovedUploadGivesTheOldFileBack(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells which files are open")
	}
	st := newStage(t)
	st.put("f", "an old file")
	w := st.newWire()
	h := w.open("f", sftp.OpenWrite|sftp.OpenCreate)
	w.write(h, 0, "new")
	w.ok(sftp.Request{Type: sftp.TypeRemove, Path: []byte("f")})
	w.close(h)
	fds, err := os.ReadDir("/proc/self/fd")
	need(t, err)
	for _, fd := range fds {
		if at, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && strings.HasPrefix(at, filepath.Join(st.dir, "f")) {
			t.Errorf("%s is open", at)
		}
	}
}

// A full tree takes no upload.
type fullTree struct{ *osfs.Tree }

func (fullTree) Create(context.Context, vfs.Path, vfs.Create) (vfs.Upload, error) {
	return nil, &os.PathError{Op: "open", Path: "f", Err: syscall.ENOSPC}
}

// Where the upload that goes over a file can't begin, what comes behind its first bytes
// does not go into the file in its place.
func TestAnUploadThatCanNotGoOverAFile(t *testing.T) {
	st := newStage(t, func(st *stage) {
		trees := st.gate.Trees
		st.gate.Trees = func(ctx context.Context, a account.Account) (vfs.FS, error) {
			tree, err := trees(ctx, a)
			if err != nil {
				return nil, err
			}
			return fullTree{tree.(*osfs.Tree)}, nil
		}
	})
	st.put("f", "an old file")
	w := st.newWire()
	h := w.open("f", sftp.OpenWrite|sftp.OpenCreate)
	for off := range uint64(3) {
		w.fails(sftp.Request{Type: sftp.TypeWrite, Handle: h, Offset: off, Data: []byte("new")}, sftp.Failure)
	}
	w.fails(sftp.Request{Type: sftp.TypeClose, Handle: h}, sftp.Failure)
	if got := st.file("f"); got != "an old file" {
		t.Errorf("the file is %q", got)
	}
}
