// Package accept takes connections from listeners, and ends them in order when the
// server stops. It is what the servers of all protocols share; it reads and writes
// nothing.
package accept

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"time"

	"dray/fault"
)

// A Conn is a connection as far as its end goes. Its methods return at once and
// may be called in any order and more than once, from any goroutine.
type Conn interface {
	Drain()          // ends it at its next quiet moment
	End(cause error) // ends what it does; its last words may still be said
	Abort()          // closes the socket, whatever runs
}

// A Loop is the connections of one server. Its methods are safe for concurrent use.
type Loop struct {
	log    *slog.Logger
	ctx    context.Context
	cancel context.CancelCauseFunc

	mu        sync.Mutex
	conns     map[Conn]struct{}
	listeners map[net.Listener]struct{}
	closing   bool
	wg        sync.WaitGroup // of what Enter let in
}

// New makes a Loop.
func New(log *slog.Logger) *Loop {
	s := &Loop{log: log, conns: map[Conn]struct{}{}, listeners: map[net.Listener]struct{}{}}
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	return s
}

// Context ends when Shutdown cuts what has not ended by itself.
func (s *Loop) Context() context.Context { return s.ctx }

// Serve accepts on l until it is closed or the server shuts down, and closes it.
// each is called in the goroutine of Serve. A listener is no parent: closing it
// ends no connection.
func (s *Loop) Serve(l net.Listener, each func(net.Conn)) error {
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		_ = l.Close()
		return net.ErrClosed
	}
	s.listeners[l] = struct{}{}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.listeners, l)
		s.mu.Unlock()
		_ = l.Close()
	}()
	for wait := time.Duration(0); ; {
		nc, err := l.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return nil
			}
			// Out of descriptors, or a peer that left before it was accepted.
			wait = min(max(2*wait, 5*time.Millisecond), time.Second)
			s.log.Warn("accept failed", "listener", l.Addr().String(), "error", err)
			select {
			case <-time.After(wait):
				continue
			case <-s.ctx.Done():
				return nil
			}
		}
		wait = 0
		each(nc)
	}
}

// Enter counts work that Shutdown waits for; false when the server is stopping.
// Every true has its Exit.
func (s *Loop) Enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return false
	}
	s.wg.Add(1)
	return true
}

// More is Enter for what goes on behind work that was let in: it is never refused.
func (s *Loop) More() { s.wg.Add(1) }

// Exit ends what Enter or More has counted.
func (s *Loop) Exit() { s.wg.Done() }

// Add books a connection, until Remove. closing says that Shutdown has come
// between: then nobody else drains it.
func (s *Loop) Add(c Conn) (closing bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns[c] = struct{}{}
	return s.closing
}

// Remove forgets a connection.
func (s *Loop) Remove(c Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

// Conns are the connections there are.
func (s *Loop) Conns() []Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Conn, 0, len(s.conns))
	for c := range s.conns {
		all = append(all, c)
	}
	return all
}

// lastWords is how long a connection that is ended may take for its last reply.
const lastWords = 5 * time.Second

// Shutdown ends accepting and drains the connections. When ctx ends first, the
// rest is cut and its error returned.
func (s *Loop) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.closing = true
	for l := range s.listeners {
		_ = l.Close()
	}
	s.mu.Unlock()
	for _, c := range s.Conns() {
		c.Drain()
	}
	done := make(chan struct{})
	go func() {
		s.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	s.cancel(fault.New(fault.Closing, fault.IDShutdown))
	for _, c := range s.Conns() {
		c.End(context.Cause(s.ctx))
	}
	select {
	case <-done:
	case <-time.After(lastWords): // a peer that does not take its last reply
		for _, c := range s.Conns() {
			c.Abort()
		}
		<-done
	}
	return context.Cause(ctx)
}

// Caught logs a panic and goes on. It is deferred.
func (s *Loop) Caught(what string, peer netip.AddrPort) {
	if v := recover(); v != nil {
		s.log.Error("panic", "in", what, "peer", peer.String(), "panic", v, "stack", string(debug.Stack()))
	}
}

// AddrPort is a as netip has it, IPv4 as IPv4; the zero AddrPort when a is none.
func AddrPort(a net.Addr) netip.AddrPort {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := t.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
