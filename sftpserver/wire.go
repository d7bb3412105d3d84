package sftpserver

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"time"
)

// A wire is the connection under package ssh. That reads and writes packet by
// packet, a large one in two or three calls; a wire reads as much as there is, and
// gathers what is written while the socket is busy, so that many packets cost one
// call. An idle wire owns no buffer and no goroutine.
type wire struct {
	net.Conn

	said  []byte // what the peer has said before package ssh reads
	greet int    // bytes of our version that package ssh writes, and the peer has already

	// Of the reader.
	in       *[]byte // borrowed while bytes come in large pieces; in[off:end] are unread
	off, end int

	mu      sync.Mutex
	space   sync.Cond // pending has become shorter
	pending []byte    // to be written by flush
	spare   []byte    // the other buffer of the two
	busy    bool      // somebody writes to the socket
	err     error     // of a write; for all that follow
	closed  bool
	stall   time.Duration // how long a write may take; 0: as long as the deadline says that others have set
}

const (
	wireBytes = 256 << 10 // of a buffer
	// smallWrite is what is written at once when nothing waits: a lone reply. Package
	// ssh writes large packets in pieces of its own buffer, which has 4,096 bytes.
	smallWrite = 4096
)

var wireBuffers = sync.Pool{New: func() any {
	b := make([]byte, wireBytes)
	return &b
}}

func newWire(nc net.Conn) *wire {
	w := &wire{Conn: nc}
	w.space.L = &w.mu
	return w
}

// maxVersion is the length of a version with its line end (RFC 4253, 4.2).
const maxVersion = 255

// exchange sends our version and returns that of the peer, so that the algorithms
// can be chosen by it. Package ssh does the same again, and sees nothing of this.
func (w *wire) exchange(version string) (peer string, err error) {
	line := version + "\r\n"
	if _, err := w.Conn.Write([]byte(line)); err != nil {
		return "", err
	}
	w.greet = len(line)
	b := make([]byte, 0, 1024)
	for bytes.IndexByte(b, '\n') < 0 {
		if len(b) >= maxVersion {
			return "", errors.New("no version of SSH, but a line without an end")
		}
		n, err := w.Conn.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		if err != nil && bytes.IndexByte(b, '\n') < 0 {
			return "", err
		}
	}
	w.said = b
	first, _, _ := bytes.Cut(b, []byte("\n"))
	return strings.TrimSuffix(string(first), "\r"), nil
}

// Read is for one goroutine at a time.
func (w *wire) Read(b []byte) (int, error) {
	if len(w.said) > 0 {
		n := copy(b, w.said)
		w.said = w.said[n:]
		return n, nil
	}
	if w.in == nil {
		n, err := w.Conn.Read(b)
		if n == len(b) && n >= smallWrite { // there is more where that came from
			w.in, w.off, w.end = wireBuffers.Get().(*[]byte), 0, 0
		}
		return n, err
	}
	if w.off == w.end {
		if len(b) >= wireBytes {
			return w.Conn.Read(b)
		}
		n, err := w.Conn.Read(*w.in)
		w.off, w.end = 0, n
		if err != nil && n == 0 {
			w.giveBack()
			return 0, err
		}
	}
	n := copy(b, (*w.in)[w.off:w.end])
	w.off += n
	if w.off == w.end && w.end < smallWrite { // little came: the rush is over
		w.giveBack()
	}
	return n, nil
}

func (w *wire) giveBack() {
	wireBuffers.Put(w.in)
	w.in = nil
}

// Write takes b, which may reach the socket later: an error may be that of an
// earlier one. It waits while a whole buffer is pending.
func (w *wire) Write(b []byte) (int, error) {
	w.mu.Lock()
	if n := min(w.greet, len(b)); n > 0 { // the version, which is out
		w.greet -= n
		w.mu.Unlock()
		return n, nil
	}
	for w.err == nil && !w.closed && len(w.pending) > 0 && len(w.pending)+len(b) > wireBytes {
		w.space.Wait()
	}
	switch {
	case w.closed:
		w.mu.Unlock()
		return 0, net.ErrClosed
	case w.err != nil:
		defer w.mu.Unlock()
		return 0, w.err
	case w.busy || len(b) >= smallWrite:
		if w.pending == nil {
			w.pending = (*wireBuffers.Get().(*[]byte))[:0]
		}
		w.pending = append(w.pending, b...)
		if !w.busy {
			w.busy = true
			go w.flush()
		}
		w.mu.Unlock()
		return len(b), nil
	}
	w.busy = true
	w.mu.Unlock()
	n, err := w.write(b)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failed(err)
	if len(w.pending) > 0 && w.err == nil {
		go w.flush() // goes on being busy
	} else {
		w.idle()
	}
	return n, err
}

// patience sets how long a write may take from now on.
func (w *wire) patience(d time.Duration) {
	w.mu.Lock()
	w.stall = d
	w.mu.Unlock()
}

// lastWords is how long a connection that ends may take for what was said.
const lastWords = time.Second

// hurry gives what is being written, and what still is, a moment and no more.
func (w *wire) hurry() {
	w.patience(lastWords)
	_ = w.Conn.SetWriteDeadline(time.Now().Add(lastWords))
}

// write is for whoever has made w busy.
func (w *wire) write(b []byte) (int, error) {
	w.mu.Lock()
	stall := w.stall
	w.mu.Unlock()
	if stall > 0 {
		_ = w.Conn.SetWriteDeadline(time.Now().Add(stall))
	}
	return w.Conn.Write(b)
}

// flush writes what is pending until nothing is.
func (w *wire) flush() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.pending) > 0 && w.err == nil {
		out := w.pending
		if w.pending = w.spare[:0]; w.pending == nil {
			w.pending = (*wireBuffers.Get().(*[]byte))[:0]
		}
		w.spare = nil
		w.space.Broadcast()
		w.mu.Unlock()
		_, err := w.write(out)
		w.mu.Lock()
		w.spare = out[:0]
		w.failed(err)
	}
	w.idle()
}

func (w *wire) failed(err error) {
	if err != nil && w.err == nil {
		w.err = err
	}
}

// idle gives the buffers back and wakes those who wait. w.mu is held.
func (w *wire) idle() {
	w.busy = false
	for _, b := range [...][]byte{w.pending, w.spare} {
		if b = b[:cap(b)]; len(b) == wireBytes {
			wireBuffers.Put(&b)
		}
	}
	w.pending, w.spare = nil, nil
	w.space.Broadcast()
}

// Close waits until what was written is on its way, as far as the write deadline
// lets it, and closes the socket.
func (w *wire) Close() error {
	w.mu.Lock()
	for w.busy && w.err == nil && !w.closed {
		w.space.Wait()
	}
	again := w.closed
	w.closed = true
	w.space.Broadcast()
	w.mu.Unlock()
	if again {
		return net.ErrClosed
	}
	return w.Conn.Close()
}

// Abort closes the socket, whatever is pending.
func (w *wire) Abort() {
	w.mu.Lock()
	w.failed(errors.Join(net.ErrClosed, io.ErrClosedPipe))
	w.space.Broadcast()
	w.mu.Unlock()
	_ = w.Conn.Close()
}
