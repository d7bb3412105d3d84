package sftpserver

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A wire is the connection under package ssh. That reads and writes packet by
// packet, a large one in two or three calls; a wire reads as much as there is, and
// gathers what is written while the socket is busy, so that many packets cost one
// call. An idle wire owns no buffer and no goroutine.
type wire struct {
	net.Conn

	heard func() // is called when the client says something

	line  []byte // the version of the peer, with its end
	said  []byte // what the peer has said behind it before package ssh reads
	greet int    // bytes of our version that package ssh writes, and the peer has already

	// Of the reader.
	in       []byte // borrowed while bytes come in large pieces; in[off:end] are unread
	off, end int
	rushes   atomic.Bool // it counts in rushing

	inflow

	mu      sync.Mutex
	space   sync.Cond // pending has become shorter
	pending []byte    // to be written by flush
	spare   []byte    // the other buffer of the two
	busy    bool      // somebody writes to the socket
	err     error     // of a write; for all that follow
	closed  bool
	stall   time.Duration // how long a write may take; 0: as long as the deadline says that others have set
}

// smallWrite is what is written at once when nothing waits: a lone reply. Package
// ssh writes large packets in pieces of its own buffer, which has 4,096 bytes.
const smallWrite = 4096

func newWire(nc net.Conn) *wire {
	w := &wire{Conn: nc, heard: func() {}}
	w.space.L = &w.mu
	w.inflow.wake = make(chan struct{}, 1)
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
	first, rest, _ := bytes.Cut(b, []byte("\n"))
	w.line, w.said = b[:len(first)+1], rest
	return strings.TrimSuffix(string(first), "\r"), nil
}

// Read is for one goroutine at a time.
func (w *wire) Read(b []byte) (int, error) {
	for _, said := range [...]*[]byte{&w.line, &w.said} {
		if len(*said) > 0 {
			n := copy(b, *said)
			if *said = (*said)[n:]; len(*said) == 0 {
				*said = nil // with the room that it had
			}
			return n, nil
		}
	}
	w.hold()
	n, err := w.take(b)
	if n > 0 {
		w.heard()
	}
	w.ahead.Add(int64(n))
	return n, err
}

// take is Read, without a look at what is ahead.
func (w *wire) take(b []byte) (int, error) {
	if w.in == nil {
		n, err := w.Conn.Read(b)
		if n == len(b) && n >= smallWrite { // there is more where that came from
			w.in, w.off, w.end = buffers.get(bulkBytes()), 0, 0
			w.rushes.Store(true)
			rush(1)
		}
		return n, err
	}
	if w.off == w.end {
		if len(b) >= len(w.in) {
			return w.Conn.Read(b)
		}
		n, err := w.Conn.Read(w.in)
		w.off, w.end = 0, n
		if err != nil && n == 0 {
			w.giveBack()
			return 0, err
		}
	}
	n := copy(b, w.in[w.off:w.end])
	w.off += n
	if w.off == w.end && w.end < smallWrite { // little came: the rush is over
		w.giveBack()
	}
	return n, nil
}

func (w *wire) giveBack() {
	buffers.put(w.in)
	w.in = nil
	w.calm()
}

// calm takes w out of those that rush.
func (w *wire) calm() {
	if w.rushes.Swap(false) {
		rush(-1)
	}
}

// An inflow bounds what lies between the wire and the programs that read the channels
// of its connection: package ssh takes as much as the window of each channel allows,
// 2 MiB, packet by packet, and all of it is garbage in the end.
type inflow struct {
	ahead atomic.Int64 // bytes that package ssh has and the programs have not, more or less

	programs, reading, writing atomic.Int32 // programs that run, and what they wait in
	acts                       atomic.Int64 // how often one of the two began or ended

	loose atomic.Bool // only the bound of all is held: a program writes, or takes its time
	over  atomic.Bool // the connection ends
	held  atomic.Bool // somebody is in hold
	wake  chan struct{}
}

const (
	// allAhead is what all connections may have ahead together, as long as each has
	// leastAhead; one alone has no use for more than mostAhead.
	allAhead   = 6 << 20
	leastAhead = 64 << 10
	mostAhead  = 1 << 20
	// hardAhead is what a connection with several channels may have ahead whatever its
	// programs do; that of one alone is bounded by its window. What is more comes in by
	// slowAhead each holdTime: ahead is not exact, and what waits may be room for what a
	// program writes.
	hardAhead = 4 << 20
	slowAhead = 256 << 10
	// holdTime is how long a wire is not read when too much is ahead. What a program
	// does may last: behind the data there may be a question whether we are alive.
	holdTime = time.Second
	// emptyTime is for how long a program must have waited to be sure that nothing is
	// ahead, and how long a write takes that waits for the client.
	emptyTime = 20 * time.Millisecond
	// packetShare is the part of what comes that is head and code of packets, at
	// least: 40 bytes of 32 KiB. What it is more adds up until it is found out that
	// nothing is ahead.
	packetShare = 32 << 10 / 40
)

// hold waits while too much is ahead.
func (f *inflow) hold() {
	if !f.much() {
		return
	}
	f.held.Store(true)
	defer f.held.Store(false)
	t := time.NewTicker(emptyTime)
	defer t.Stop()
	start, before := time.Now(), int64(-1)
	slow := start
	for f.much() {
		select {
		case <-f.wake:
		case <-t.C:
			acts := f.acts.Load()
			switch still := acts == before; {
			case still && f.reading.Load() == f.programs.Load():
				f.ahead.Store(0) // they have it all
			case still && f.writing.Load() > 0, time.Since(start) > holdTime:
				f.loose.Store(true) // until a program reads again
			}
			before = acts
			if time.Since(slow) > holdTime && f.ahead.Load() > hardAhead {
				f.ahead.Add(-slowAhead)
				slow = time.Now()
			}
		}
	}
}

func (f *inflow) much() bool {
	ahead := f.ahead.Load()
	switch {
	case ahead <= leastAhead, f.over.Load():
		return false
	case ahead > hardAhead && f.programs.Load() > 1:
		return true
	}
	// One of several programs must not wait for another.
	return !f.loose.Load() && f.programs.Load() == 1 && ahead > min(mostAhead, allAhead/max(rushing.Load(), 1))
}

// release lets all through.
func (f *inflow) release() {
	f.over.Store(true)
	f.look()
}

// look has who holds look again.
func (f *inflow) look() {
	if f.held.Load() {
		select {
		case f.wake <- struct{}{}:
		default:
		}
	}
}

// took is called when the program has read n bytes.
func (f *inflow) took(n int64) {
	f.ahead.Add(-n - n/packetShare)
	f.loose.Store(false)
	f.look()
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
	for w.err == nil && !w.closed && len(w.pending) > 0 && len(w.pending)+len(b) > cap(w.pending) {
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
			w.pending = buffers.get(bulkBytes())[:0]
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
	w.release()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stall = lastWords
	_ = w.Conn.SetWriteDeadline(time.Now().Add(lastWords))
}

// write is for whoever has made w busy.
func (w *wire) write(b []byte) (int, error) {
	w.mu.Lock()
	if w.stall > 0 {
		_ = w.Conn.SetWriteDeadline(time.Now().Add(w.stall))
	}
	w.mu.Unlock()
	return w.Conn.Write(b)
}

// flush writes what is pending until nothing is.
func (w *wire) flush() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.pending) > 0 && w.err == nil {
		out := w.pending
		if w.pending = w.spare[:0]; w.pending == nil {
			w.pending = buffers.get(bulkBytes())[:0]
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

// failed ends the connection with its first write that fails: package ssh reads on
// behind one, and a client that takes nothing would keep its place.
func (w *wire) failed(err error) {
	if err != nil && w.err == nil {
		w.err = err
		w.release()
		_ = w.Conn.Close()
	}
}

// idle gives the buffers back and wakes those who wait. w.mu is held.
func (w *wire) idle() {
	w.busy = false
	for _, b := range [...][]byte{w.pending, w.spare} {
		buffers.put(b)
	}
	w.pending, w.spare = nil, nil
	w.space.Broadcast()
}

// Close waits until what was written is on its way, as far as the write deadline
// lets it, and closes the socket.
func (w *wire) Close() error {
	w.release()
	w.calm()
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

// linger sends what was written and the end of it, and takes what the client still
// says, for a moment: a close with that unread would reset the connection, and take
// our last words along.
func (w *wire) linger() {
	w.mu.Lock()
	for w.busy && w.err == nil && !w.closed {
		w.space.Wait()
	}
	w.mu.Unlock()
	half, ok := w.Conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	_ = w.Conn.SetReadDeadline(time.Now().Add(lastWords))
	_, _ = io.CopyN(io.Discard, w.Conn, lingerBytes)
}

// lingerBytes is what a client may say behind the end.
const lingerBytes = 64 << 10

// Abort closes the socket, whatever is pending.
func (w *wire) Abort() {
	w.release()
	w.mu.Lock()
	w.failed(errors.Join(net.ErrClosed, io.ErrClosedPipe))
	w.space.Broadcast()
	w.mu.Unlock()
	_ = w.Conn.Close()
}
