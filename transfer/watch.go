package transfer

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"dray/fault"
)

// A way is the direction whose deadlines a watch moves.
type way int

const (
	reads way = iota
	writes
	both // receiving over TLS writes too: alerts, key updates
)

// past is a deadline that ends every call that waits.
var past = time.Unix(1, 0)

// ticks is how many deadlines in a row must pass without a byte to make a stall.
// One deadline for all of the idle time would take a byte at its beginning for
// life until its end.
const ticks = 4

// A watch ends the waiting on one socket: when its context ends, at once, and
// after silence. Its deadline is set where bytes are awaited and judged when it
// passed: one that passes although bytes moved is no stall. A watch belongs to
// one goroutine.
type watch struct {
	ctx   context.Context
	conn  net.Conn // the socket, under TLS too
	way   way
	idle  time.Duration
	quiet int // deadlines in a row that passed without progress

	// queue asks how many bytes the peer's side has not taken yet; nil where
	// nobody knows. queued is its last answer since something moved, or -1.
	queue  func() int
	queued int

	stop func() bool
	done chan struct{}
}

// newWatch clears the socket's deadlines. The watch must be ended.
func newWatch(ctx context.Context, conn net.Conn, way way, idle time.Duration) *watch {
	w := &watch{ctx: ctx, conn: conn, way: way, idle: idle, queued: -1}
	if sc, ok := conn.(syscall.Conn); ok && way == writes && idle > 0 {
		w.queue = sendQueue(sc)
	}
	w.deadline(time.Time{})
	if ctx.Done() != nil {
		w.done = make(chan struct{})
		w.stop = context.AfterFunc(ctx, func() {
			defer close(w.done)
			_ = conn.SetDeadline(past)
		})
	}
	return w
}

// end clears the deadlines, unless the context ended: then they stay in the past.
func (w *watch) end() {
	if w.stop != nil && !w.stop() {
		<-w.done // or it would strike after the caller went on
		return
	}
	w.deadline(time.Time{})
}

// deadline ignores the error of a socket that was closed or has no deadlines:
// the next read or write says the same and is heard.
func (w *watch) deadline(t time.Time) {
	switch w.way {
	case reads:
		_ = w.conn.SetReadDeadline(t)
	case writes:
		_ = w.conn.SetWriteDeadline(t)
	case both:
		_ = w.conn.SetDeadline(t)
	}
}

// arm sets the deadline for the next call that waits.
func (w *watch) arm() error {
	if w.idle > 0 {
		w.deadline(time.Now().Add(max(w.idle/ticks, 1)))
	}
	// Asked after the deadline was set: it may have replaced the one in the past
	// that the context's end had set.
	if w.ctx.Err() != nil {
		w.deadline(past)
		return context.Cause(w.ctx)
	}
	return nil
}

// moved says that bytes moved.
func (w *watch) moved() { w.quiet, w.queued = 0, -1 }

// judge sorts an error of the socket; progress tells whether bytes moved since
// arm. nil means: a deadline passed and that is no stall, arm and go on.
func (w *watch) judge(err error, progress bool) error {
	if progress {
		w.moved()
	}
	if w.ctx.Err() != nil {
		return context.Cause(w.ctx)
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return lost(err)
	}
	if progress {
		return nil
	}
	if w.idle > 0 {
		if w.draining() {
			w.quiet = 0
			return nil
		}
		if w.quiet++; w.quiet < ticks {
			return nil
		}
	}
	return fault.Because(err, fault.Stalled, fault.IDStall)
}

// draining tells whether the peer took bytes since the last deadline passed. A
// socket becomes writable only when a third of its buffer is free, and a slow
// peer may need minutes for that.
func (w *watch) draining() bool {
	if w.queue == nil {
		return false
	}
	before := w.queued
	w.queued = w.queue()
	return before >= 0 && w.queued < before
}

// Write writes all of b to the socket, as long as it takes while bytes move.
func (w *watch) Write(b []byte) (int, error) {
	n := 0
	for {
		if err := w.arm(); err != nil {
			return n, err
		}
		m, err := w.conn.Write(b[n:])
		n += m
		if err == nil {
			w.moved()
			return n, nil
		}
		if err = w.judge(err, m > 0); err != nil {
			return n, err
		}
	}
}

// lost is a failed read or write of the network, unless it was sorted already.
func lost(err error) error {
	var fe *fault.Error
	if errors.As(err, &fe) {
		return err
	}
	return fault.Because(err, fault.Cut, fault.IDDataLost)
}

// verdict is lost for errors that came through TLS, where the cause of the
// context may have passed too.
func (w *watch) verdict(err error) error {
	if w.ctx.Err() != nil {
		return context.Cause(w.ctx)
	}
	return lost(err)
}

// gather reads into b until it holds at least least bytes. err is io.EOF at the
// end of src, with n bytes before it. got counts bytes below src, nil when src is
// the socket itself: part of a record is progress too.
func (w *watch) gather(src io.Reader, b []byte, least int, got *int64) (n int, err error) {
	var mark int
	var below int64
	for armed := false; n < least; {
		if !armed {
			if err := w.arm(); err != nil {
				return n, err
			}
			armed, mark = true, n
			if got != nil {
				below = *got
			}
		}
		m, err := src.Read(b[n:])
		n += m
		if m > 0 {
			w.moved()
		}
		if err == io.EOF {
			return n, err
		}
		if err != nil {
			if err = w.judge(err, n > mark || got != nil && *got > below); err != nil {
				return n, err
			}
			armed = false
		}
	}
	return n, nil
}

// fromNetwork tells whose failure the one error of a splice or sendfile is. The
// kernel gives a bare errno for both ends, and no errno of a socket that lost
// its peer is one that a local file gives.
func fromNetwork(err error) bool {
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, net.ErrClosed) {
		return true
	}
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return false
	}
	switch errno {
	case syscall.ECONNRESET, syscall.ECONNABORTED, syscall.ECONNREFUSED, syscall.EPIPE, syscall.ENOTCONN,
		syscall.ESHUTDOWN, syscall.ETIMEDOUT, syscall.EHOSTUNREACH, syscall.EHOSTDOWN, syscall.ENETUNREACH,
		syscall.ENETDOWN, syscall.ENETRESET, syscall.EPROTO, syscall.ENOBUFS:
		return true
	}
	return false
}
