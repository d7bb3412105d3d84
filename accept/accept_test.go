package accept

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"dray/fault"
)

// A guest says what it is told, and leaves at one of the words.
type guest struct {
	loop *Loop
	goes string
	mu   sync.Mutex
	told []string
	gone bool
}

func (g *guest) hear(word string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.told = append(g.told, word)
	if word == g.goes && !g.gone {
		g.gone = true
		g.loop.Remove(g)
		g.loop.Exit()
	}
}

func (g *guest) Drain()          { g.hear("drain") }
func (g *guest) End(cause error) { g.hear("end " + string(fault.Of(cause).ID)) }
func (g *guest) Abort()          { g.hear("abort") }

func TestShutdownBecomesMoreUrgent(t *testing.T) {
	tests := []struct {
		goes string
		told []string
		err  bool
		took time.Duration
	}{
		{"drain", []string{"drain"}, false, 0},
		{"end shutdown", []string{"drain", "end shutdown"}, true, time.Minute},
		{"abort", []string{"drain", "end shutdown", "abort"}, true, time.Minute + lastWords},
	}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			s := New(slog.New(slog.DiscardHandler))
			g := &guest{loop: s, goes: tt.goes}
			if !s.Enter() || s.Add(g) {
				t.Fatal("a guest was not let in")
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			begun := time.Now()
			err := s.Shutdown(ctx)
			if (err != nil) != tt.err || time.Since(begun) != tt.took || !slices.Equal(g.told, tt.told) {
				t.Errorf("who goes at %q: %v after %v, told %q; want %q after %v", tt.goes, err, time.Since(begun), g.told, tt.told, tt.took)
			}
			if s.Enter() {
				t.Error("work was let in behind the end")
			}
			if (s.Context().Err() != nil) != tt.err {
				t.Errorf("the context says %v", s.Context().Err())
			}
			if !s.Add(g) {
				t.Error("a connection that comes late is not told to end")
			}
		})
	}
}

func TestServeEndsWithItsListener(t *testing.T) {
	s := New(slog.New(slog.DiscardHandler))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	came, ended := make(chan net.Conn), make(chan error, 1)
	go func() { ended <- s.Serve(l, func(nc net.Conn) { came <- nc }) }()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	nc := <-came
	defer nc.Close()
	if got := AddrPort(nc.RemoteAddr()); got != client.LocalAddr().(*net.TCPAddr).AddrPort() {
		t.Errorf("the peer is %v", got)
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("Serve = %v", err)
	}
	// The connection is whoever's it is: Shutdown knows nothing of it.
	if _, err := client.Write([]byte("x")); err != nil {
		t.Error(err)
	}
	if _, err := io.ReadFull(nc, make([]byte, 1)); err != nil {
		t.Error(err)
	}
	if err := s.Serve(l, nil); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Serve behind the end = %v", err)
	}
}

func TestAPanicIsCaught(t *testing.T) {
	s := New(slog.New(slog.DiscardHandler))
	func() {
		defer s.Caught("test", netip.AddrPort{})
		panic("on purpose")
	}()
}

func TestAddressesAreUnmapped(t *testing.T) {
	if got := AddrPort(&net.TCPAddr{IP: net.ParseIP("::ffff:192.0.2.1"), Port: 5}); got != netip.MustParseAddrPort("192.0.2.1:5") {
		t.Errorf("AddrPort = %v", got)
	}
	if got := AddrPort(&net.UnixAddr{}); got.IsValid() {
		t.Errorf("AddrPort of a pipe = %v", got)
	}
}
