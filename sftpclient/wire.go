package sftpclient

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"dray/fault"
	"dray/sftp"
)

// An asker has sent a request and takes the answer.
type asker interface {
	// take is called once for each request, by the goroutine that reads. p is valid
	// until it returns. An error ends the session: the server does not keep to
	// the protocol.
	take(p *sftp.Reply, a asked) error
}

// asked is a request that waits for its answer.
type asked struct {
	by       asker
	typ      sftp.Type
	patience patience
	at, n    int64         // of a READ or WRITE: where, and how many bytes
	behind   bool          // of a READ that goes behind the size that is known
	since    time.Duration // when it was asked, since the start of the session
}

// A patience is how long a request may wait while nothing comes.
type patience uint8

const (
	usual   patience = iota // Options.Answer
	long                    // ten times as long
	endless                 // until the context ends
	patiences
)

// Sizes of buffers, in bytes.
const (
	smallBytes = 16 << 10 // of a segment of requests, and of what an idle session reads into
	readBytes  = 1 << 20
	dataBytes  = sftp.MaxPacket + 1024 // of a segment of WRITEs
	maxBulk    = 8                     // segments of WRITEs that are queued
)

var (
	smallPool = sync.Pool{New: newBuffer(smallBytes)}
	readPool  = sync.Pool{New: newBuffer(readBytes)}
	dataPool  = sync.Pool{New: newBuffer(dataBytes)}
)

// newBuffer makes buffers for a pool, which holds pointers so that putting one
// back allocates nothing.
func newBuffer(n int) func() any {
	return func() any {
		b := make([]byte, n)
		return &b
	}
}

// A segment is what one write writes: whole packets.
type segment struct {
	b     []byte
	buf   *[]byte // that b is in
	pool  *sync.Pool
	small bool          // more may be appended
	bulk  bool          // it has a place in Client.bulk
	moved *atomic.Int64 // told when it was written; nil: nobody
	sent  chan struct{} // closed when it was written; nil: nobody waits
}

func (s *segment) release(c *Client) {
	if s.buf != nil {
		s.pool.Put(s.buf)
	}
	if s.bulk {
		<-c.bulk
	}
	if s.sent != nil {
		close(s.sent)
	}
}

func (c *Client) now() time.Duration { return time.Since(c.start) }

func (c *Client) moved() { c.last.Store(int64(c.now())) }

// ask queues a request, which gets its number.
func (c *Client) ask(q *sftp.Request, a asked) (id uint32, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return 0, c.err
	}
	a.typ = q.Type
	q.ID = c.register(a)
	c.append(q)
	return q.ID, nil
}

// register makes a known as a request under a new number; c.mu is held.
func (c *Client) register(a asked) uint32 {
	for {
		c.next++
		if _, taken := c.asked[c.next]; !taken { // after four billion one may wait yet
			break
		}
	}
	if a.since == 0 {
		a.since = c.now()
	}
	if len(c.asked) == 0 {
		c.moved()
	}
	c.asked[c.next] = a
	c.patient[a.patience]++
	return c.next
}

// say queues INIT, which has no number.
func (c *Client) say(q *sftp.Request) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	c.moved()
	c.append(q)
	return nil
}

// append puts a packet behind those that are queued; c.mu is held.
func (c *Client) append(q *sftp.Request) {
	if n := len(c.queue); n == 0 || !c.queue[n-1].small || len(c.queue[n-1].b) > smallBytes/2 {
		buf := smallPool.Get().(*[]byte)
		c.queue = append(c.queue, segment{b: (*buf)[:0], buf: buf, pool: &smallPool, small: true})
	}
	s := &c.queue[len(c.queue)-1]
	s.b = q.Append(s.b) // a long path makes it grow; the pool keeps the buffer there was
	c.trace.sent(q)
	c.wake.Signal()
}

// enqueue queues a segment.
func (c *Client) enqueue(s segment) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	c.queue = append(c.queue, s)
	c.wake.Signal()
	return nil
}

// write writes what all have queued.
func (c *Client) write() {
	var batch []segment
	for {
		c.mu.Lock()
		for len(c.queue) == 0 && c.err == nil {
			c.wake.Wait()
		}
		if c.err != nil {
			c.mu.Unlock()
			return
		}
		batch, c.queue = c.queue, batch[:0]
		c.mu.Unlock()
		for i := range batch {
			s := &batch[i]
			if len(s.b) > 0 {
				if _, err := c.rw.Write(s.b); err != nil {
					c.unwritten(err)
					return
				}
				c.moved()
				if s.moved != nil {
					s.moved.Store(int64(c.now()))
				}
			}
			s.release(c)
			*s = segment{}
		}
	}
}

// unwritten ends the session because a write failed. The other end mostly said why
// before, so the reader may come to it first.
func (c *Client) unwritten(err error) {
	t := time.NewTimer(closeGrace)
	defer t.Stop()
	select {
	case <-c.dead:
	case <-t.C:
		c.fail(c.lost(err))
	}
}

// read takes packets apart and hands them to who asked.
func (c *Client) read() {
	idle := make([]byte, smallBytes)
	buf := idle
	var large *[]byte // buf is it
	defer func() {
		if large != nil {
			readPool.Put(large)
		}
	}()
	at, have, nothing := 0, 0, 0
	var p sftp.Reply
	begun := false
	for {
		body, rest, need, err := sftp.Split(buf[at:have])
		if err != nil {
			c.fail(c.bad(noPacket(buf[at:have], err)))
			return
		}
		if body != nil {
			begun = true
			c.busy.Store(true)
			err := c.deliver(&p, body)
			c.moved()
			c.busy.Store(false)
			if err != nil {
				c.fail(c.bad(err))
				return
			}
			at = have - len(rest)
			continue
		}
		if at == have {
			at, have = 0, 0
			if large != nil && c.quiet() {
				readPool.Put(large)
				large, buf = nil, idle
			}
		}
		switch {
		case need > len(buf), have == len(buf) && large == nil && at == 0:
			b := readPool.Get().(*[]byte) // larger than any packet
			have, at = copy(*b, buf[at:have]), 0
			large, buf = b, *b
		case at+need > len(buf), have == len(buf):
			have, at = copy(buf, buf[at:have]), 0
		}
		n, err := c.rw.Read(buf[have:])
		have += n
		switch {
		case n > 0:
			nothing = 0
			c.moved()
			if !begun {
				c.keepHead(buf[at:have])
			}
		case err == nil && nothing < 100:
			nothing++
		case err == nil:
			c.fail(c.lost(io.ErrNoProgress))
			return
		default:
			if have > at && errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
				if !begun {
					if e := noPacket(buf[at:have], nil); e != nil {
						c.fail(c.bad(e))
						return
					}
				}
			}
			c.fail(c.lost(err))
			return
		}
	}
}

// quiet tells that nothing is asked.
func (c *Client) quiet() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.asked) == 0
}

// keepHead keeps the first bytes for who gives up waiting for a packet.
func (c *Client) keepHead(b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.head = append(c.head[:0], b[:min(len(b), headBytes)]...)
}

// mostNames is how many names of one packet the reader keeps room for.
const mostNames = 1024

// deliver hands one packet to who asked for it. An error is what the server did
// against the protocol.
func (c *Client) deliver(p *sftp.Reply, body []byte) error {
	if cap(p.Names) > mostNames {
		p.Names = nil
	}
	if err := p.Parse(body); err != nil {
		return err
	}
	c.mu.Lock()
	if c.hello != nil || p.Type == sftp.TypeVersion {
		k := c.hello
		c.hello, c.head = nil, nil
		c.mu.Unlock()
		if k == nil || p.Type != sftp.TypeVersion {
			return fmt.Errorf("a packet of type %d out of order", p.Type)
		}
		c.trace.got(p)
		return k.take(p, asked{})
	}
	a, ok := c.asked[p.ID]
	if ok {
		delete(c.asked, p.ID)
		c.patient[a.patience]--
	}
	c.mu.Unlock()
	if !ok {
		return fmt.Errorf("an answer to request %d, which is not waiting for one", p.ID)
	}
	c.trace.got(p)
	return a.by.take(p, a)
}

// leave makes the answer to a request one for by. It tells whether the answer has
// not come yet; else who asked is taking it.
func (c *Client) leave(id uint32, by asker) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	a, ok := c.asked[id]
	if ok {
		a.by = by
		if a.patience == endless { // who would have ended it has done so
			c.patient[endless]--
			c.patient[long]++
			a.patience = long
		}
		c.asked[id] = a
	}
	return ok
}

// leaveAll does it for all requests of one asker, and returns the smallest offset
// of them, or least when that is smaller.
func (c *Client) leaveAll(of asker, least int64) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, a := range c.asked {
		if a.by == of {
			least = min(least, a.at)
			a.by = nobody{}
			c.asked[id] = a
		}
	}
	return least
}

// nobody takes what is of no use any more.
type nobody struct{}

func (nobody) take(*sftp.Reply, asked) error { return nil }

// sample notes how long a small request took: what the way takes at least.
func (c *Client) sample(took time.Duration) {
	for {
		old := c.rtt.Load()
		if old != 0 && old <= int64(took) || c.rtt.CompareAndSwap(old, max(int64(took), 1)) {
			return
		}
	}
}

// watch ends a session in which nothing moves although answers are due.
func (c *Client) watch() {
	t := time.NewTicker(max(c.answer/4, time.Millisecond))
	defer t.Stop()
	for {
		select {
		case <-c.dead:
			return
		case <-t.C:
		}
		limit := c.answer
		c.mu.Lock()
		waits := len(c.asked) > 0 || c.hello != nil
		switch {
		case c.patient[endless] > 0:
			waits = false
		case c.patient[long] > 0:
			limit *= 10
		}
		head := c.head
		c.mu.Unlock()
		if !waits || c.busy.Load() || c.now()-time.Duration(c.last.Load()) < limit {
			continue
		}
		if text := noPacket(head, nil); text != nil {
			c.fail(c.bad(text))
			return
		}
		c.fail(fault.New(fault.Stalled, fault.IDNoAnswer, c.host, int(limit.Seconds())))
		return
	}
}
