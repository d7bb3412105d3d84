package ftpserver

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"dray/fault"
	"dray/ftp"
)

// maxQueued is how many lines are read ahead during a transfer, so that an ABOR
// behind other commands is heard.
const maxQueued = 16

// A beside is the reader that runs beside a transfer: it answers NOOP and STAT,
// hears ABOR, and keeps the rest for later.
type beside struct {
	ctx      context.Context // of the transfer
	cancel   context.CancelCauseFunc
	begun    time.Time
	done     chan struct{} // closed when the reader has ended; nil while it was not begun
	stopping bool          // under conn.mu
	ended    time.Time     // when the data ended, zero before; under conn.mu
	status   func() string // what STAT says about the transfer; nil: nothing was said yet, and all lines wait
}

// during runs f, a transfer, while a second goroutine listens to the control
// connection, from the time on that attendants give it. f's context ends by ABOR,
// when the control connection is lost, and with the session.
func (c *conn) during(ctx context.Context, status func() string, f func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	b := &beside{ctx: ctx, cancel: cancel, begun: time.Now(), status: status}
	c.mu.Lock()
	c.beside = b
	c.mu.Unlock()
	c.server.attendants.add(c)
	defer c.server.attendants.remove(c)
	err := f(ctx)
	cancel(nil)
	c.mu.Lock()
	b.stopping = true
	c.beside = nil
	done := b.done
	if done != nil {
		c.wake()
	}
	c.mu.Unlock()
	if done != nil {
		<-done
	}
	return err
}

// attend begins the reader beside the transfer that runs, unless it reads already
// or can't.
func (c *conn) attend() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.attendLocked()
}

func (c *conn) attendLocked() {
	b := c.beside
	if b == nil || b.done != nil || b.stopping || c.readErr != nil || len(c.queue) >= maxQueued {
		return
	}
	b.done = make(chan struct{})
	_ = c.raw.SetReadDeadline(time.Time{})
	if c.context().Err() != nil { // its end may have come before: that wake must not be lost
		c.wake()
	}
	go c.listen(b)
}

// listen reads commands until the transfer ends.
func (c *conn) listen(b *beside) {
	defer close(b.done)
	defer c.server.loop.Caught("reader", c.visit.Peer().Remote)
	for {
		cmd, err := c.rd.ReadCommand()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			c.mu.Lock()
			stopping := b.stopping
			c.mu.Unlock()
			if !stopping { // the session or the visit ends, and with it the transfer
				<-b.ctx.Done()
			}
			return
		}
		if err != nil && !errors.Is(err, ftp.ErrBadLine) && !errors.Is(err, ftp.ErrLineTooLong) {
			c.mu.Lock()
			c.readErr = err
			ended := b.ended
			if ended.IsZero() {
				ended = time.Now()
			}
			alive := c.spoke(ended)
			if b.status == nil && err != io.EOF {
				alive = false // a reset: there is nothing but the reply, and nobody hears it
			}
			c.mu.Unlock()
			if !alive {
				b.cancel(fault.Because(err, fault.Cut, fault.IDUploadCut))
			}
			return
		}
		c.mu.Lock()
		first := len(c.queue) == 0 // else it waits its turn: replies come in the order of commands
		c.mu.Unlock()
		if err == nil && first && b.status != nil {
			switch {
			case cmd.Verb == "NOOP":
				_ = c.write(ftp.Replyf(ftp.C200OK, "A transfer is running."))
				continue
			case cmd.Verb == "STAT" && cmd.Arg == "":
				_ = c.write(ftp.Reply{Code: ftp.C211Status, Text: "A transfer is running.", Body: []string{b.status()}})
				continue
			}
		}
		c.mu.Lock()
		c.queue = append(c.queue, line{cmd, err, time.Now()})
		full := len(c.queue) >= maxQueued
		if err == nil && cmd.Verb == "ABOR" { // as one with the line: who sees that knows that it has ended
			b.cancel(fault.New(fault.Canceled, fault.IDAborted))
		}
		c.mu.Unlock()
		if full {
			return
		}
	}
}

// proofWindow is how long before the end of the data a command may have come to
// prove that its sender has outlived them: data and commands go two ways.
const proofWindow = time.Second

// spoke tells whether a queued command proves that the client was done when it
// left: QUIT, which devices send before they hang up without waiting, or another
// that came with the end of the data. One from the middle of the transfer says
// nothing about its end. c.mu is held.
func (c *conn) spoke(dataEnded time.Time) bool {
	for _, l := range c.queue {
		if l.err == nil && l.cmd.Verb == "QUIT" || !l.at.Before(dataEnded.Add(-proofWindow)) {
			return true
		}
	}
	return false
}

// dataEnded tells the reader beside an upload when its data ended.
func (c *conn) dataEnded(at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.beside.ended = at
}

// heard is spoke for the loop.
func (c *conn) heard(dataEnded time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.spoke(dataEnded)
}

// alive tells whether the control connection still stands, as an error when it
// does not. What the kernel holds and the reader has not seen yet counts: a FIN
// is death, and so is a reset, unless a command before it proves that the client
// was done; a queued ABOR is a cut.
func (c *conn) alive(ctx context.Context, dataEnded time.Time) error {
	for tries := 0; ; tries++ {
		c.mu.Lock()
		spoke, ended, aborted := c.spoke(dataEnded), c.readErr, false
		for _, l := range c.queue {
			aborted = aborted || l.err == nil && l.cmd.Verb == "ABOR"
		}
		c.mu.Unlock()
		switch {
		case aborted:
			return fault.New(fault.Canceled, fault.IDAborted)
		case spoke:
			return nil
		case ended != nil:
			return fault.Because(ended, fault.Cut, fault.IDUploadCut)
		}
		switch peek(c.raw) {
		case peekQuiet:
			return nil
		case peekEnded:
			if tries >= 200 {
				return fault.New(fault.Cut, fault.IDUploadCut)
			}
		case peekBytes:
			if tries >= 200 {
				return nil
			}
		}
		c.attend()
		select {
		case <-time.After(250 * time.Microsecond): // the reader is about to see it
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// attendAfter is how long a transfer runs before somebody reads beside it. Most
// files are over by then, and a goroutine for each of them would cost more than
// their bytes: another thread is woken, finds nothing to read, and sleeps again.
const attendAfter = 5 * time.Millisecond

// attendants begin the readers of transfers that take longer. One timer looks
// after all of them; it runs only while there are transfers.
type attendants struct {
	mu      sync.Mutex
	waiting map[*conn]struct{}
	running bool
}

func (a *attendants) add(c *conn) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.waiting == nil {
		a.waiting = map[*conn]struct{}{}
	}
	a.waiting[c] = struct{}{}
	if !a.running {
		a.running = true
		time.AfterFunc(attendAfter, a.round)
	}
}

func (a *attendants) remove(c *conn) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.waiting, c)
}

func (a *attendants) round() {
	now := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	for c := range a.waiting {
		if c.attendSince(now.Add(-attendAfter)) {
			delete(a.waiting, c)
		}
	}
	if a.running = len(a.waiting) > 0; a.running {
		time.AfterFunc(attendAfter, a.round)
	}
}

// attendSince begins the reader of a transfer that has run since then; false when
// it is younger.
func (c *conn) attendSince(then time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.beside != nil && c.beside.begun.After(then) {
		return false
	}
	c.attendLocked()
	return true
}
