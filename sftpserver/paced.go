package sftpserver

import (
	"io"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"
)

// A paced is a channel whose program tells the wire when it reads, and whose client
// must take what is written: it may take no more without a word, because the window
// of a channel can be full while the socket is not.
type paced struct {
	ssh.Channel
	conn *conn

	stall *time.Timer
	used  atomic.Bool // somebody has stall
}

func (p *paced) Read(b []byte) (int, error) {
	flow := &p.conn.wire.inflow
	flow.reading.Add(1)
	flow.acts.Add(1)
	n, err := p.Channel.Read(b)
	flow.reading.Add(-1)
	flow.acts.Add(1)
	flow.took(int64(n))
	return n, err
}

func (p *paced) Write(b []byte) (int, error) { return p.write(p.Channel, b) }

// Tell writes to the standard error of the client's program.
func (p *paced) Tell(text string) { _, _ = p.write(p.Channel.Stderr(), []byte(text)) }

func (p *paced) write(to io.Writer, b []byte) (int, error) {
	flow := &p.conn.wire.inflow
	flow.writing.Add(1)
	flow.acts.Add(1)
	defer func() {
		flow.writing.Add(-1)
		flow.acts.Add(1)
		p.conn.silence.spoke()
	}()
	defer p.patience().Stop()
	return to.Write(b)
}

// patience is a timer that ends a connection whose client takes nothing. Writes
// mostly come one by one, so that there is one timer for all.
func (p *paced) patience() timer {
	limit := p.conn.rules.Stall
	if p.used.Swap(true) {
		return timer{time.AfterFunc(limit, p.conn.stalled), nil}
	}
	if p.stall == nil {
		p.stall = time.AfterFunc(limit, p.conn.stalled)
	} else {
		p.stall.Reset(limit)
	}
	return timer{p.stall, &p.used}
}

type timer struct {
	t    *time.Timer
	used *atomic.Bool
}

func (t timer) Stop() {
	t.t.Stop()
	if t.used != nil {
		t.used.Store(false)
	}
}
