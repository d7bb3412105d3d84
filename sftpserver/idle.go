package sftpserver

import (
	"sync"
	"sync/atomic"
	"time"

	"dray/fault"
)

// A silence is how long a connection has said nothing: no packet of the client, no byte
// moved, nothing being answered. Keep-alives are packets, as a NOOP of FTP is a command:
// who sends them wants to stay.
type silence struct {
	begun   time.Time    // that of the connection
	last    atomic.Int64 // since begun, when something was said
	running atomic.Int32 // programs; those that do not read are answering

	mu    sync.Mutex
	timer *time.Timer // nil before the login and behind the end
}

// spoke tells that the client has said something, or was told something.
func (s *silence) spoke() { s.last.Store(int64(time.Since(s.begun))) }

// listen begins to wait for a silence of Rules.Idle.
func (c *conn) listen() {
	s := &c.silence
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spoke()
	s.timer = time.AfterFunc(c.rules.Idle, func() { c.beside("idle", c.silent) })
}

// deaf ends listen.
func (c *conn) deaf() {
	s := &c.silence
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timer.Stop()
	s.timer = nil
}

// silent ends the connection when the silence has lasted long enough, else it comes
// again when it might have.
func (c *conn) silent() {
	s, idle := &c.silence, c.rules.Idle
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timer == nil {
		return
	}
	// A program that does not read answers, however long it takes.
	if s.running.Load() > c.wire.reading.Load() {
		s.spoke()
	}
	if left := idle - time.Since(s.begun) + time.Duration(s.last.Load()); left > 0 {
		s.timer.Reset(left)
		return
	}
	c.log.Info("connection ended", "reason", string(fault.IDIdle))
	c.visit.End(fault.New(fault.Closing, fault.IDIdle, int(idle/time.Second)))
}
