package ftpclient

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"
)

// slowly is a sink that ends its context after some bytes.
type slowly struct {
	sink
	end func()
}

func (s *slowly) WriteAt(b []byte, at int64) (int, error) {
	if at > 100_000 {
		s.end()
		time.Sleep(20 * time.Millisecond)
	}
	return s.sink.WriteAt(b, at)
}

// endless never ends.
type endless struct {
	source
	end func()
}

func (e *endless) ReadAt(b []byte, at int64) (int, error) {
	if at > 1<<20 {
		e.end()
		time.Sleep(20 * time.Millisecond)
	}
	return len(b), nil
}

func TestCancelledTransfersLeaveAConnectionThatWorks(t *testing.T) {
	for _, w := range ways() {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			c := dial(t, as(w.opt, newSite(t, w.rules).addr))
			cancelled(t, c, "/", noise(1<<20))
			if err := c.Err(); err != nil {
				t.Errorf("Err = %v", err)
			}
		})
	}
}

func cancelled(t *testing.T, c *Conn, dir string, big []byte) {
	t.Helper()
	put(t, c, dir+"/huge", bytes.Repeat(big, 8))
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(within(t))
	start := time.Now()
	_, err := c.Receive(ctx, dir+"/huge", Get{Size: -1}, &slowly{end: func() { cancel(why) }}, none)
	if !errors.Is(err, why) {
		t.Errorf("a download that was ended: %v", err)
	}
	t.Logf("ended after %v, Err %v", time.Since(start), c.Err())
	if c.Err() != nil {
		return
	}
	if err := c.Noop(within(t)); err != nil {
		t.Errorf("Noop afterwards: %v", err)
	}
	ctx, cancel = context.WithCancelCause(within(t))
	_, err = c.Send(ctx, dir+"/cut", Put{}, &endless{source: from(make([]byte, 64<<20)), end: func() { cancel(why) }}, none)
	if !errors.Is(err, why) {
		t.Errorf("an upload that was ended: %v", err)
	}
	t.Logf("Err %v", c.Err())
	if c.Err() != nil {
		return
	}
	if got := get(t, c, dir+"/huge"); len(got) != 8*len(big) {
		t.Errorf("afterwards %d bytes", len(got))
	}
}
