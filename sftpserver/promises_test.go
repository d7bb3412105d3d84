package sftpserver

import (
	"bytes"
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"dray/gate"
	"dray/sftp"
)

// A READ that has to wait for the rate of the account is answered with all that was
// asked for: PuTTY, curl and lftp take a short answer for the end, or for a mistake.
func TestARateMakesNoShortReads(t *testing.T) {
	st := newStage(t, func(st *stage) {
		a := st.people.known["anna"]
		a.RateDown = 400_000
		st.people.known["anna"] = a
	})
	content := strings.Repeat("0123456789abcdef", 16<<10)
	st.put("f", content)
	w := st.newWire()
	h := w.open("f", sftp.OpenRead)
	begun := time.Now()
	for off := 0; off < len(content); off += 64 << 10 {
		if got := w.read(h, uint64(off), 64<<10); got != content[off:off+64<<10] {
			t.Fatalf("at %d: %d bytes", off, len(got))
		}
	}
	if took := time.Since(begun); took < 300*time.Millisecond {
		t.Errorf("the rate was not kept: %v", took)
	}
}

// What two sessions append to one file is all there.
func TestTwoSessionsAppend(t *testing.T) {
	st := newStage(t)
	st.put("log", "")
	var wg sync.WaitGroup
	const each, lines = 100, 200
	for _, letter := range []string{"a", "b", "c"} {
		w := st.newWire()
		wg.Go(func() {
			h := w.open("log", sftp.OpenWrite|sftp.OpenAppend)
			for range lines {
				w.write(h, 0, strings.Repeat(letter, each-1)+"\n")
			}
			w.close(h)
		})
	}
	wg.Wait()
	got := st.file("log")
	if len(got) != 3*each*lines {
		t.Errorf("%d bytes, not %d", len(got), 3*each*lines)
	}
	for line := range strings.Lines(got) {
		if strings.Trim(line, line[:1]+"\n") != "" {
			t.Fatalf("a line is torn: %q", line)
		}
	}
}

// The name is gone and the handle that made the file is closed: the others still
// have the file, and nothing of it is left when they are closed.
func TestARemovedUploadLivesAsLongAsItsHandles(t *testing.T) {
	st := newStage(t)
	w := st.newWire()
	h := w.open("f", makes|sftp.OpenRead)
	other := w.open("f", sftp.OpenRead)
	w.write(h, 0, "hello")
	w.ok(sftp.Request{Type: sftp.TypeRemove, Path: []byte("f")})
	w.close(h)
	if got := w.read(other, 0, 100); got != "hello" {
		t.Errorf("the other handle reads %q", got)
	}
	w.close(other)
	st.missing("f")
	if got := st.partials(); len(got) != 0 {
		t.Errorf("left behind: %v", got)
	}
}

// A rename that is refused publishes nothing.
func TestARefusedRenamePublishesNothing(t *testing.T) {
	st := newStage(t)
	st.put("ra", "old a")
	st.put("rb", "old b")
	w := st.newWire()
	h := w.open("ra", makes)
	w.write(h, 0, "half")
	if text := w.fails(sftp.Request{Type: sftp.TypeRename, Path: []byte("ra"), To: []byte("rb")}, sftp.Failure); !strings.Contains(text, "[exists]") {
		t.Errorf("RENAME: %q", text)
	}
	if got := st.file("ra"); got != "old a" {
		t.Errorf("ra holds %q", got)
	}
	w.close(h)
	if a, b := st.file("ra"), st.file("rb"); a != "half" || b != "old b" {
		t.Errorf("ra %q, rb %q", a, b)
	}
}

// What is open goes by the name that it has now.
func TestOpenFilesFollowTheirNames(t *testing.T) {
	st := newStage(t)
	w := st.newWire()
	w.ok(sftp.Request{Type: sftp.TypeMkdir, Path: []byte("dir")})
	st.put("dir/f", "one")
	h := w.open("dir/f", sftp.OpenWrite)
	w.ok(sftp.Request{Type: sftp.TypeRename, Path: []byte("dir"), To: []byte("dir2")})
	w.write(h, 0, "two")
	w.close(h)
	if got := st.file("dir2/f"); got != "two" {
		t.Errorf("it holds %q", got)
	}
	if e := st.events.transfers(); len(e) != 1 || e[0].Path != "/dir2/f" {
		t.Errorf("events %+v", e)
	}
}

// copy-data to the end copies to where the end was: a file that is copied into
// itself does not grow for ever.
func TestCopyDataEnds(t *testing.T) {
	st := newStage(t)
	st.put("self", strings.Repeat("x", 100_000))
	w := st.newWire()
	from, to := w.open("self", sftp.OpenRead), w.open("self", sftp.OpenWrite)
	q := sftp.Request{Type: sftp.TypeExtended, Extension: []byte(sftp.ExtCopyData), Handle: from, Into: to, At: 100_000}
	w.ok(q)
	if got := st.file("self"); len(got) != 200_000 {
		t.Errorf("%d bytes", len(got))
	}
}

// Who has gone gets no more work done: checksums of a large file end, and the slot of
// the session is free.
func TestWorkEndsWithTheConnection(t *testing.T) {
	st := newStage(t, func(st *stage) {
		a := st.people.known["anna"]
		a.RateUp = 1000
		st.people.known["anna"] = a
	})
	c := st.dial()
	w := open(t, c)
	w.send((&sftp.Request{Type: sftp.TypeInit, Version: 3}).Append(nil))
	w.receive()
	h := w.open("slow", makes)
	data := bytes.Repeat([]byte("x"), 30_000)
	w.send((&sftp.Request{Type: sftp.TypeWrite, ID: 77, Handle: h, Data: data}).Append(nil)) // takes half a minute
	time.Sleep(50 * time.Millisecond)
	_ = c.Close()
	until(t, "the upload is cut", func() bool { return len(st.events.transfers()) == 1 })
	if e := st.events.transfers()[0]; e.Whole || e.Reason != "upload-cut" {
		t.Errorf("event %+v", e)
	}
}

// Offsets that no file has are refused for what they are, and handles that are open
// for the other direction too.
func TestWhatAHandleIsNotFor(t *testing.T) {
	st := newStage(t)
	st.put("f", "12345")
	w := st.newWire()
	in, out := w.open("f", sftp.OpenRead), w.open("f", sftp.OpenWrite)
	for _, tt := range []struct {
		q    sftp.Request
		code sftp.Code
		id   string
	}{
		{sftp.Request{Type: sftp.TypeWrite, Handle: out, Offset: 1 << 63, Data: []byte("x")}, sftp.Failure, "[unsupported]"},
		{sftp.Request{Type: sftp.TypeWrite, Handle: out, Offset: 1<<63 - 1, Data: []byte("x")}, sftp.Failure, "[unsupported]"},
		{sftp.Request{Type: sftp.TypeFsetstat, Handle: out, Attrs: sftp.Attributes{Flags: sftp.HasSize, Size: 1 << 63}}, sftp.Failure, "[unsupported]"},
		{sftp.Request{Type: sftp.TypeRead, Handle: out, Length: 1}, sftp.PermissionDenied, "[bad-handle]"},
		{sftp.Request{Type: sftp.TypeWrite, Handle: in, Data: []byte("x")}, sftp.PermissionDenied, "[bad-handle]"},
		{sftp.Request{Type: sftp.TypeFsetstat, Handle: in, Attrs: sftp.Attributes{Flags: sftp.HasSize}}, sftp.PermissionDenied, "[bad-handle]"},
	} {
		if text := w.fails(tt.q, tt.code); !strings.Contains(text, tt.id) {
			t.Errorf("request %d: %q", tt.q.Type, text)
		}
	}
	if got := st.file("f"); got != "12345" {
		t.Errorf("f holds %q", got)
	}
}

// A client that takes nothing is ended in a program as well, not only in SFTP.
func TestAProgramWhoseClientTakesNothing(t *testing.T) {
	done := make(chan error, 1)
	st := newStage(t, func(st *stage) {
		st.rules.Stall = 200 * time.Millisecond
		st.rules.Exec = map[string]Command{"pour": func(_ context.Context, _ *gate.Session, _ string, ch Stream) int {
			_, err := ch.Write(make([]byte, 8<<20)) // the window has 2 MiB
			done <- err
			return 1
		}}
	})
	s, err := st.dial().NewSession()
	need(t, err)
	_, err = s.StdoutPipe()
	need(t, err)
	need(t, s.Start("pour"))
	select {
	case err := <-done:
		if err == nil {
			t.Error("all of it was taken")
		}
	case <-time.After(10 * time.Second):
		t.Error("it waits for ever")
	}
}

// OpenSSH's scp replaces a file without saying so: it opens it to write, writes from
// the beginning and sets the length. A cut leaves the old file, and what is not written
// is as it was.
func TestWritingFromTheBeginningReplaces(t *testing.T) {
	const replaces = sftp.OpenWrite | sftp.OpenCreate
	old := strings.Repeat("old!", 300_000)
	size := func(h []byte, n uint64) sftp.Request {
		return sftp.Request{Type: sftp.TypeFsetstat, Handle: h, Attrs: sftp.Attributes{Flags: sftp.HasSize, Size: n}}
	}
	for name, tt := range map[string]struct {
		do   func(w *wireClient, h []byte)
		want string
	}{
		"as scp does": {func(w *wireClient, h []byte) {
			w.write(h, 0, "new")
			w.ok(size(h, 3))
		}, "new"},
		"emptied first": {func(w *wireClient, h []byte) {
			w.ok(size(h, 0))
			w.write(h, 0, "new")
		}, "new"},
		"a part": {func(w *wireClient, h []byte) { w.write(h, 0, "new!") }, "new!" + old[4:]},
		"parts": {func(w *wireClient, h []byte) {
			w.write(h, 0, "new!")
			w.write(h, 400_000, "new!")
			w.write(h, 1_199_998, "longer")
		}, "new!" + old[4:400_000] + "new!" + old[400_004:1_199_998] + "longer"},
		"shorter and longer again": {func(w *wireClient, h []byte) {
			w.write(h, 0, "new!")
			w.ok(size(h, 8))
			w.ok(size(h, 12))
		}, "new!old!\x00\x00\x00\x00"},
		"a part behind the beginning": {func(w *wireClient, h []byte) { w.write(h, 4, "new!") }, "old!new!" + old[8:]},
		"nothing":                     {func(*wireClient, []byte) {}, old},
	} {
		t.Run(name, func(t *testing.T) {
			st := newStage(t)
			st.put("f", old)
			w := st.newWire()
			h := w.open("f", replaces)
			tt.do(w, h)
			if got := st.file("f"); got != old && name != "a part behind the beginning" {
				t.Errorf("before CLOSE there are %d other bytes", len(got))
			}
			w.close(h)
			if got := st.file("f"); got != tt.want {
				t.Errorf("%d bytes, %.20q, not %d", len(got), got, len(tt.want))
			}
			if got := st.partials(); len(got) != 0 {
				t.Errorf("left behind: %v", got)
			}
		})
	}

	// More gaps than are remembered.
	st := newStage(t)
	st.put("f", old)
	w := st.newWire()
	h := w.open("f", replaces)
	want := []byte(old)
	for i := 0; i < 600; i++ {
		at := i * 1000
		w.write(h, uint64(at), "new!")
		copy(want[at:], "new!")
	}
	w.close(h)
	if got := st.file("f"); got != string(want) {
		t.Error("600 pieces do not make what they should")
	}

	// And the cut.
	c := st.dial()
	w = open(t, c)
	w.send((&sftp.Request{Type: sftp.TypeInit, Version: 3}).Append(nil))
	w.receive()
	h = w.open("f", replaces)
	w.write(h, 0, strings.Repeat("half", 10_000))
	before := len(st.events.transfers())
	_ = c.Close()
	until(t, "the cut", func() bool { return len(st.events.transfers()) > before })
	if got := st.file("f"); got != string(want) {
		t.Error("a cut upload has changed the file")
	}
}
