package sftpserver

import (
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"iter"
	"math/rand/v2"
	"sync"
	"time"

	"dray/event"
	"dray/fault"
	"dray/gate"
	"dray/sftp"
	"dray/transfer"
	"dray/vfs"
)

// maxHandles is how many handles a dialogue may have open.
const maxHandles = 256

// A handle is an open file or directory.
type handle struct {
	tag  uint32 // of this use of the slot; a handle that was closed is nobody's
	file *file  // nil for a directory
	dir  *directory

	reads, writes, appends bool // as OPEN has asked
	creator                bool // its CLOSE publishes the upload
}

// A file is what one or several handles have open: a finished file to read, an
// upload beside its name, or a finished file that is changed where it is.
type file struct {
	path  vfs.Path
	begun time.Time
	refs  int

	read vfs.File
	up   *gate.Upload
	edit *gate.Edit

	ready vfs.Ready      // of read; nil: it can't be told what has to be waited for
	away  sync.WaitGroup // of read: what is read beside the dialogue
	last  chan struct{}  // of away: closed when the last of it is answered; nil: all is

	mu         sync.Mutex
	sent, high int64  // of read: how much was read, and up to where
	whole      bool   // of read: its end was seen
	finished   func() // of gate.Session.Begin, for read

	fresh    bool  // of edit: nothing was done with it yet that tells whether it is replaced
	failed   error // of up: why it was cut, for all requests that follow
	unlinked bool  // of up: its name was removed; nothing is published
}

// A directory is being listed.
type directory struct {
	path vfs.Path
	next func() (fs.FileInfo, error, bool)
	stop func()
	dots int // of "." and "..", how many were told
	done bool
	// pending are names that are not in the tree yet: uploads of this dialogue.
	pending []*file
	begun   time.Time
	bytes   int64
}

// handles are those of a dialogue, by the number of their slot.
type handles struct {
	slots []*handle
	open  int
}

func (hs *handles) add(h *handle) ([]byte, error) {
	if hs.open == maxHandles {
		return nil, fault.New(fault.Busy, fault.IDBusy, "open handles", hs.open, maxHandles)
	}
	hs.open++
	h.tag = rand.Uint32()
	slot := 0
	for slot < len(hs.slots) && hs.slots[slot] != nil {
		slot++
	}
	if slot == len(hs.slots) {
		hs.slots = append(hs.slots, nil)
	}
	hs.slots[slot] = h
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, uint32(slot)), h.tag), nil
}

// find is nil for what is no open handle.
func (hs *handles) find(wire []byte) *handle {
	if len(wire) != 8 {
		return nil
	}
	slot := binary.BigEndian.Uint32(wire)
	if uint64(slot) >= uint64(len(hs.slots)) {
		return nil
	}
	if h := hs.slots[slot]; h != nil && h.tag == binary.BigEndian.Uint32(wire[4:]) {
		return h
	}
	return nil
}

func (hs *handles) remove(wire []byte) {
	hs.slots[binary.BigEndian.Uint32(wire)] = nil
	hs.open--
	for len(hs.slots) > 0 && hs.slots[len(hs.slots)-1] == nil {
		hs.slots = hs.slots[:len(hs.slots)-1]
	}
}

// errHandle is the answer to a handle that is none.
var errHandle = errors.New("it is not open")

// add opens a handle of a file and answers with it.
func (d *dialogue) add(h *handle) error {
	wire, err := d.handles.add(h)
	if err != nil {
		return err
	}
	switch {
	case d.quiet:
		d.quiet = false // it counts still
	case d.handles.open == 1:
		d.conn.opened()
	}
	if h.file != nil {
		h.file.refs++
	}
	d.say(sftp.AppendHandle(d.out, d.req.ID, wire))
	return nil
}

func (d *dialogue) close(q *sftp.Request) error {
	h := d.h
	d.handles.remove(q.Handle)
	defer d.fewer()
	if h.dir != nil {
		h.dir.stop()
		d.session.Transferred(h.dir.event())
		return nil
	}
	return d.closeFile(d.ctx, h, nil)
}

// fewer is behind the end of a handle. A stop of the server that waits for the last
// one goes on when its answer is on its way.
func (d *dialogue) fewer() { d.quiet = d.handles.open == 0 }

// settled is behind the answers.
func (d *dialogue) settled() {
	if d.quiet {
		d.quiet = false
		d.conn.closed()
	}
}

func (l *directory) event() event.Transfer {
	return event.Transfer{
		Direction: event.Listing, Path: l.path.String(), Bytes: l.bytes, Took: time.Since(l.begun),
		Road: string(transfer.RoadPackets), Whole: true,
	}
}

// closeFile ends one handle of a file. why is nil when the client closes it.
func (d *dialogue) closeFile(ctx context.Context, h *handle, why error) error {
	f := h.file
	f.refs--
	var err error
	if h.creator && f.up != nil && !(f.unlinked && f.refs > 0 && why == nil) {
		if why == nil && !f.unlinked {
			err = d.publish(f, f.refs > 0)
		} else {
			err = d.discard(f, why)
		}
	} else if h.creator && f.failed != nil {
		err = f.failed
	}
	if f.refs > 0 {
		return err
	}
	if f.up != nil { // its name is gone, and it had other handles than that which made it
		err = errors.Join(err, d.discard(f, why))
	}
	if f.edit != nil {
		err = errors.Join(err, f.edit.Close(context.WithoutCancel(ctx), why))
		f.edit = nil
	}
	if f.read != nil {
		f.away.Wait()
		d.session.Transferred(f.event(why))
		f.finished()
		_ = f.read.Close()
		f.read = nil
	}
	return err
}

// event is that of a download.
func (f *file) event(why error) event.Transfer {
	t := event.Transfer{
		Direction: event.Download, Path: f.path.String(), Bytes: f.sent, Took: time.Since(f.begun),
		Road: string(transfer.RoadPackets), Whole: f.whole, Resumed: f.sent < f.high,
	}
	if fi, err := f.read.Stat(); err == nil && f.high >= fi.Size() {
		t.Whole = true
	}
	if !t.Whole {
		t.Reason = string(fault.IDPartly)
		if why != nil {
			t.Reason = string(fault.Of(why).ID)
		}
	}
	return t
}

// moved is how much of read was read.
func (f *file) moved() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sent
}

// publish makes the name show the upload. With goesOn the file stays open, and is
// changed where it is from then on.
func (d *dialogue) publish(f *file, goesOn bool) error {
	if f.up == nil {
		return f.failed
	}
	up := f.up
	d.forget(f)
	f.up = nil
	rep := up.Report(time.Since(f.begun))
	var err error
	if goesOn {
		f.edit, err = up.Publish(d.ctx, rep)
	} else {
		err = up.Commit(d.ctx, rep, nil)
	}
	if err != nil {
		f.failed = err
	}
	return err
}

// discard ends an upload that is not published: cut, or one whose name was removed.
func (d *dialogue) discard(f *file, why error) error {
	up := f.up
	d.forget(f)
	f.up = nil
	if f.unlinked { // nobody wants what came
		f.failed = why
		return errors.Join(why, up.Drop(d.ctx))
	}
	if why == nil {
		why = fault.New(fault.Cut, fault.IDUploadCut)
	}
	f.failed = up.Cut(context.WithoutCancel(d.ctx), up.Report(time.Since(f.begun)), why)
	return f.failed
}

// forget takes an upload out of the names that requests see.
func (d *dialogue) forget(f *file) {
	if d.newest[f.path] == f {
		delete(d.newest, f.path)
	}
}

// closeAll ends what a client has left open.
func (hs *handles) closeAll(d *dialogue) {
	if hs.open == 0 {
		return
	}
	for _, h := range hs.slots {
		why := error(fault.New(fault.Cut, fault.IDUploadCut))
		switch {
		case h == nil:
			continue
		case h.dir != nil:
			h.dir.stop()
			continue
		case d.ctx.Err() != nil:
			why = context.Cause(d.ctx)
		case h.file.read != nil:
			why = fault.New(fault.Cut, fault.IDDataLost)
		}
		_ = d.closeFile(d.ctx, h, why)
	}
	hs.slots, hs.open = nil, 0
	d.quiet = true
}

// listed begins a listing.
func (d *dialogue) listed(p vfs.Path) *directory {
	l := &directory{path: p, begun: time.Now()}
	l.next, l.stop = iter.Pull2(d.session.List(d.ctx, p))
	for at, f := range d.newest {
		if at.Dir() == p && !f.unlinked {
			l.pending = append(l.pending, f)
		}
	}
	return l
}
