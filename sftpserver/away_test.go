package sftpserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"dray/account"
	"dray/event"
	"dray/sftp"
	"dray/vfs"
	"dray/vfs/osfs"
)

// A slow disk has files whose bytes must be waited for, below the offset warm.
type slow struct {
	warm    int64
	release chan struct{} // each read that waits takes one
	fail    error         // of reads that wait
	unknown bool          // it can't be told what must be waited for

	mu      sync.Mutex
	waiting int
	most    int
}

type slowTree struct {
	*osfs.Tree
	s *slow
}

func (t *slowTree) Open(ctx context.Context, p vfs.Path) (vfs.File, error) {
	f, err := t.Tree.Open(ctx, p)
	return &slowFile{f, t.s}, err
}

func (s *slow) waits(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting += n
	s.most = max(s.most, s.waiting)
}

type slowFile struct {
	vfs.File
	s *slow
}

func (f *slowFile) ReadReady(b []byte, off int64) (int, error) {
	switch {
	case f.s.unknown:
		return 0, errors.ErrUnsupported
	case off < f.s.warm:
		return 0, vfs.ErrWait
	}
	return f.File.ReadAt(b, off)
}

func (f *slowFile) ReadAt(b []byte, off int64) (int, error) {
	if off < f.s.warm && !f.s.unknown {
		f.s.waits(1)
		defer f.s.waits(-1)
		<-f.s.release
		if f.s.fail != nil {
			return 0, f.s.fail
		}
	}
	return f.File.ReadAt(b, off)
}

func (f *slowFile) OSFile() *os.File { return f.File.(vfs.Kernel).OSFile() }

// slowStage is a stage whose files below the offset warm are on a slow disk.
func slowStage(t *testing.T, warm int64) (*stage, *slow) {
	s := &slow{warm: warm, release: make(chan struct{})}
	return newStage(t, func(st *stage) {
		trees := st.gate.Trees
		st.gate.Trees = func(ctx context.Context, a account.Account) (vfs.FS, error) {
			tree, err := trees(ctx, a)
			if err != nil {
				return nil, err
			}
			return &slowTree{tree.(*osfs.Tree), s}, nil
		}
	}), s
}

// What has to come from a disk holds nothing else up, is read several pieces at a
// time, and comes whole and in its order, however late.
func TestReadsThatWaitHoldNothingUp(t *testing.T) {
	const piece = 1000
	st, disk := slowStage(t, 20*piece)
	content := strings.Repeat("0123456789", 3*piece)
	st.put("f", content)
	st.put("g", content)
	w := st.newWire()
	h, other := w.open("f", sftp.OpenRead), w.open("g", sftp.OpenRead)
	for i := range uint32(20) {
		w.send((&sftp.Request{Type: sftp.TypeRead, ID: 100 + i, Handle: h, Offset: uint64(i) * piece, Length: piece}).Append(nil))
		if i == maxAway-1 { // there is room for no more
			if got := w.read(other, 20*piece, piece); got != content[20*piece:21*piece] {
				t.Errorf("what is in memory is %d bytes", len(got))
			}
			if p := w.do(sftp.Request{Type: sftp.TypeStat, Path: []byte("f")}); p.Type != sftp.TypeAttrs {
				t.Errorf("STAT is answered with %+v", p)
			}
			if tr := st.events.transfers(); len(tr) > 0 {
				t.Errorf("it is recorded: %+v", tr)
			}
		}
	}
	w.send((&sftp.Request{Type: sftp.TypeClose, ID: 200, Handle: h}).Append(nil))
	go func() {
		for range 20 {
			disk.release <- struct{}{}
		}
	}()
	var got []uint32
	for range 21 {
		p := w.receive()
		if p.ID == 200 {
			if len(got) != 20 || p.Code != sftp.OK {
				t.Errorf("CLOSE is answered behind %d of 20 pieces: %+v", len(got), p)
			}
			continue
		}
		at := (p.ID - 100) * piece
		if string(p.Data) != content[at:at+piece] {
			t.Errorf("the piece at %d: %d bytes, %q", at, len(p.Data), p.Text)
		}
		got = append(got, p.ID)
	}
	if !slices.IsSorted(got) || len(slices.Compact(got)) != 20 {
		t.Errorf("pieces: %v", got)
	}
	if disk.most < 2 || disk.most > maxAway+1 {
		t.Errorf("%d waited at once", disk.most)
	}
	if tr := st.events.transfers(); len(tr) != 1 || tr[0].Bytes != 20*piece {
		t.Errorf("the record: %+v", tr)
	}
}

// Reads of one file are answered in their order, whichever of them wait for a disk: scp of
// OpenSSH before 9.4 cuts the file else, and says nothing.
func TestReadsOfOneFileAreAnsweredInTheirOrder(t *testing.T) {
	const piece = 1000
	st, disk := slowStage(t, piece)
	close(disk.release)
	content := strings.Repeat("0123456789", piece)
	st.put("f", content)
	w := st.newWire()
	h := w.open("f", sftp.OpenRead)
	for range 20 {
		var b []byte
		const all = 40
		for i := range uint32(all) {
			at := uint64(0) // which waits
			if i%5 != 2 {
				at = uint64(1+i%9) * piece
			}
			b = (&sftp.Request{Type: sftp.TypeRead, ID: i, Handle: h, Offset: at, Length: piece}).Append(b)
		}
		w.send(b)
		for i := range uint32(all) {
			if p := w.receive(); p.ID != i || len(p.Data) != piece {
				t.Fatalf("answer %d is to %d, with %d bytes", i, p.ID, len(p.Data))
			}
		}
	}
}

// The end of a file and a disk that fails are told as they are for all other reads.
func TestReadsThatWaitAndFail(t *testing.T) {
	st, disk := slowStage(t, 1<<30)
	close(disk.release)
	st.put("f", "hello")
	w := st.newWire()
	h := w.open("f", sftp.OpenRead)
	if got := w.read(h, 0, 100); got != "hello" {
		t.Errorf("a short file is read as %q", got)
	}
	if got := w.read(h, 5, 100); got != "EOF" {
		t.Errorf("behind the end: %q", got)
	}
	disk.fail = &os.PathError{Op: "read", Path: "f", Err: syscall.EIO}
	text := w.fails(sftp.Request{Type: sftp.TypeRead, Handle: h, Length: 5}, sftp.Failure)
	if !strings.Contains(text, "[") {
		t.Errorf("the status says %q", text)
	}
	w.close(h)
	if tr := st.events.transfers(); len(tr) != 1 || !tr[0].Whole || tr[0].Direction != event.Download {
		t.Errorf("the record: %+v", tr)
	}
}

// A request that changes what is being read comes behind it.
func TestChangesWaitForReadsBeforeThem(t *testing.T) {
	for name, change := range map[string]func(w *wireClient, other []byte) sftp.Request{
		"WRITE": func(w *wireClient, other []byte) sftp.Request {
			return sftp.Request{Type: sftp.TypeWrite, Handle: other, Data: []byte("new")}
		},
		"FSETSTAT": func(w *wireClient, other []byte) sftp.Request {
			return sftp.Request{Type: sftp.TypeFsetstat, Handle: other, Attrs: sftp.Attributes{Flags: sftp.HasSize}}
		},
		"SETSTAT": func(w *wireClient, other []byte) sftp.Request {
			return sftp.Request{Type: sftp.TypeSetstat, Path: []byte("f"), Attrs: sftp.Attributes{Flags: sftp.HasSize}}
		},
		"OPEN with TRUNC": func(w *wireClient, other []byte) sftp.Request {
			return sftp.Request{Type: sftp.TypeOpen, Path: []byte("f"), Flags: sftp.OpenWrite | sftp.OpenTrunc}
		},
	} {
		t.Run(name, func(t *testing.T) {
			st, disk := slowStage(t, 1<<30)
			st.put("f", "old")
			w := st.newWire()
			h, other := w.open("f", sftp.OpenRead), w.open("f", sftp.OpenWrite)
			q := change(w, other)
			q.ID = 200
			w.send(q.Append((&sftp.Request{Type: sftp.TypeRead, ID: 100, Handle: h, Length: 3}).Append(nil)))
			time.Sleep(50 * time.Millisecond)
			close(disk.release)
			if p := w.receive(); p.ID != 100 || string(p.Data) != "old" {
				t.Errorf("the read is answered with %+v", p)
			}
			if p := w.receive(); p.ID != 200 || p.Type == sftp.TypeStatus && p.Code != sftp.OK {
				t.Errorf("the change is answered with %+v", p)
			}
		})
	}
}

// Where it can't be told what must be waited for, reads are answered in their order.
func TestReadsInOrder(t *testing.T) {
	st, disk := slowStage(t, 1<<30)
	disk.unknown = true
	st.put("f", "0123456789")
	w := st.newWire()
	h := w.open("f", sftp.OpenRead)
	var b []byte
	for i := range uint32(10) {
		b = (&sftp.Request{Type: sftp.TypeRead, ID: i, Handle: h, Offset: uint64(i), Length: 1}).Append(b)
	}
	w.send(b)
	for i := range uint32(10) {
		if p := w.receive(); p.ID != i || string(p.Data) != fmt.Sprint(i) {
			t.Errorf("%d is answered with %+v", i, p)
		}
	}
}

// The end of a connection waits for what is away, and no longer.
func TestAnEndWithReadsAway(t *testing.T) {
	st, disk := slowStage(t, 1<<30)
	st.put("f", "hello")
	c := st.dial()
	w := open(t, c)
	w.send((&sftp.Request{Type: sftp.TypeInit, Version: 3}).Append(nil))
	w.receive()
	h := w.open("f", sftp.OpenRead)
	for i := range uint32(3) {
		w.send((&sftp.Request{Type: sftp.TypeRead, ID: 100 + i, Handle: h, Length: 5}).Append(nil))
	}
	until(t, "three reads wait", func() bool {
		disk.mu.Lock()
		defer disk.mu.Unlock()
		return disk.waiting == 3
	})
	need(t, c.Close())
	close(disk.release)
	until(t, "the download is recorded", func() bool { return len(st.events.transfers()) == 1 })
}

// What is copied on the server passes no memory of ours where the system can do it.
func TestCopyDataByTheSystem(t *testing.T) {
	st, disk := slowStage(t, 1<<30) // nobody lets go: a read would last for ever
	content := strings.Repeat("0123456789abcdef", 1<<18)
	st.put("f", content)
	w := st.newWire()
	from := w.open("f", sftp.OpenRead)
	for name, flags := range map[string]uint32{"new": makes, "in place": makes | sftp.OpenExcl} {
		to := w.open(name, flags)
		w.ok(sftp.Request{Type: sftp.TypeExtended, Extension: []byte(sftp.ExtCopyData), Handle: from, Into: to, Offset: 5, Size: 3<<20 + 1, At: 7})
		w.close(to)
		if got := st.file(name); got != "\x00\x00\x00\x00\x00\x00\x00"+content[5:5+3<<20+1] {
			t.Errorf("%s: %d bytes", name, len(got))
		}
	}
	if disk.most > 0 {
		t.Error("a read was waited for")
	}
}
