package sftpserver

import (
	"errors"
	"io"

	"dray/explain"
	"dray/fault"
	"dray/sftp"
	"dray/vfs"
)

// maxAway is how many reads of a connection may wait for a disk at once. Each has a
// buffer of its own. One more waits in its dialogue, and all behind it.
const maxAway = 8

// errAway says that a READ is answered by another goroutine.
var errAway = errors.New("answered later")

// readAt reads what a READ asks for. What has to come from a disk is waited for beside
// the dialogue, so that a disk has several to do at once, and requests about other things
// don't wait: they may be answered before it (draft-ietf-secsh-filexfer-02, 4.1). The
// reads of one file are answered in their order, though: scp of OpenSSH before 9.4 cuts
// a file where the answers to its reads were in another one, and ends with status 0.
func (d *dialogue) readAt(f *file, b []byte, off int64) (int, error) {
	if f.ready == nil {
		return f.readAt(b, off)
	}
	if f.waits() {
		if d.readAway(f, len(b), off) {
			return 0, errAway
		}
		f.away.Wait()
	}
	got, err := f.ready.ReadReady(b, off)
	switch {
	case errors.Is(err, vfs.ErrWait):
		if d.readAway(f, len(b), off) {
			return 0, errAway
		}
		return f.readAt(b, off)
	case errors.Is(err, errors.ErrUnsupported):
		f.ready = nil
		return f.readAt(b, off)
	}
	return got, err
}

// waits tells whether a read of the file is still to be answered beside the dialogue.
func (f *file) waits() bool {
	select {
	case <-f.last:
		f.last = nil
	default:
	}
	return f.last != nil
}

// readAway begins a read beside the dialogue, if there may be one more. It is answered
// behind the reads of the file before it.
func (d *dialogue) readAway(f *file, n int, off int64) bool {
	c := d.conn
	if c.away.Add(1) > maxAway {
		c.away.Add(-1)
		return false
	}
	_ = d.flush() // what was read before it; an error shows at the next one
	before, said := f.last, make(chan struct{})
	f.last = said
	id := d.req.ID
	f.away.Add(1)
	d.away.Add(1)
	go func() {
		defer d.away.Done()
		defer f.away.Done()
		defer close(said)
		defer c.away.Add(-1)
		c.beside("a read", func() {
			b := buffers.get(sftp.DataHeader + n) // which holds a status, too
			defer buffers.put(b)
			got, err := f.read.ReadAt(b[sftp.DataHeader:sftp.DataHeader+n], off)
			if before != nil {
				<-before
			}
			switch {
			case got > 0:
				sftp.PutData(b, id, got)
				f.delivered(off, got)
				_ = d.send(b[:sftp.DataHeader+got])
			case err == nil, errors.Is(err, io.EOF):
				f.ended()
				_ = d.send(sftp.AppendStatus(b[:0], id, sftp.EOF, endOfFile))
			default:
				e := fault.Of(err)
				d.session.Refused("READ", f.path.String(), err)
				_ = d.send(sftp.AppendStatus(b[:0], id, statuses[e.Kind], explain.Sentence(e)))
			}
		})
	}()
	return true
}

// settle waits for the reads beside the dialogue before a request that may change what
// they read: requests for one file have the results of their order.
func (d *dialogue) settle() { d.away.Wait() }

// send writes whole packets to the client; one that a request away has made comes
// between others, and not into one.
func (d *dialogue) send(b []byte) error {
	d.sending.Lock()
	defer d.sending.Unlock()
	_, err := d.ch.Write(b)
	return err
}

// delivered notes that bytes of a finished file are on their way.
func (f *file) delivered(off int64, n int) {
	f.mu.Lock()
	f.sent += int64(n)
	f.high = max(f.high, off+int64(n))
	f.mu.Unlock()
}

// ended notes that the end of a file was seen.
func (f *file) ended() {
	f.mu.Lock()
	f.whole = true
	f.mu.Unlock()
}
