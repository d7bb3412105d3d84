package ftpserver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dray/fault"
	"dray/vfs"
)

// A command from the middle of an upload says nothing about its end; QUIT, or a
// command that came with the end, says that the client was done when it left.
func TestWhatProvesThatAClientWasDone(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name      string
		early     string // sent when the data begin
		late      string // sent with the end of the data
		published bool
	}{
		{"an early command and then nothing", "PWD", "", false},
		{"many early commands and then nothing", strings.Repeat("PWD\r\n", 30) + "PWD", "", false},
		{"a QUIT, however early", "QUIT", "", true},
		{"a QUIT with the end", "", "QUIT", true},
		{"another command with the end", "", "TYPE A", true},
		{"nothing at all", "", "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			st := newSite(t, plain())
			k := st.login()
			nc := k.pasv()
			k.do(150, "STOR up")
			_, _ = io.WriteString(nc, noise(10_000))
			if c.early != "" {
				k.say(c.early)
			}
			time.Sleep(proofWindow + 100*time.Millisecond)
			_, _ = io.WriteString(nc, noise(10_000))
			if c.late != "" {
				k.say(c.late)
			}
			nc.Close()
			k.raw.Close()
			st.quiet()
			if _, err := st.mem.ReadFile("/up"); (err == nil) != c.published {
				t.Errorf("published: %v; want %v", err == nil, c.published)
			}
		})
	}
}

// What an HTTP client says inside TLS is not run either: a page could have made
// a browser say it.
func TestHTTPInsideTLSIsNotRun(t *testing.T) {
	t.Parallel()
	s := plain()
	s.rules.TLS, s.rules.Implicit = serverTLS(), true
	st := newSite(t, s)
	nc, err := net.Dial("tcp", st.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(patience))
	c := tls.Client(nc, clientTLS())
	_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: x\r\n\r\nUSER alice\r\nPASS secret\r\nMKD made\r\n")
	said, _ := io.ReadAll(c)
	if !strings.Contains(string(said), "\n421 ") || strings.Contains(string(said), "\n331 ") || strings.Contains(string(said), "\n230 ") {
		t.Errorf("the server said %q; want one 421 behind the greeting", said)
	}
	if p, err := vfs.Resolve(vfs.Root, "made"); err != nil {
		t.Fatal(err)
	} else if _, err := st.mem.Stat(t.Context(), p); err == nil {
		t.Error("a command behind an HTTP request was run")
	}
}

// A peer that stalls before its login does not hold a shutdown.
func TestShutdownWaitsForTransfersOnly(t *testing.T) {
	t.Parallel()
	s := plain()
	s.rules.TLS, s.rules.Implicit = serverTLS(), true
	st := newSite(t, s)
	nc, err := net.Dial("tcp", st.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	_, _ = nc.Write([]byte{0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3}) // the beginning of a ClientHello
	st.eventually("the handshake has begun", func() bool {
		return len(st.server.loop.Conns()) == 1
	})
	time.Sleep(50 * time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	begun := time.Now()
	if err := st.server.Shutdown(ctx); err != nil || time.Since(begun) > 5*time.Second {
		t.Errorf("Shutdown = %v after %v", err, time.Since(begun))
	}
}

// A large range is shared: nobody holds more than half of it.
func TestNobodyHoldsARangeAlone(t *testing.T) {
	greedy, other := netip.MustParseAddr("198.51.100.7"), netip.MustParseAddr("198.51.100.8")
	p := NewPorts(20000, 20000+fairRange-1)
	held := 0
	for port := p.First; port <= p.Last; port++ {
		if taken, full := p.take(port, greedy, fairRange); !taken && !full {
			held++
		}
	}
	if held != fairRange/2 {
		t.Errorf("one address holds %d of %d ports; want half", held, fairRange)
	}
	if taken, full := p.take(p.Last, other, fairRange); taken || full {
		t.Errorf("another address gets no port: taken %v, full %v", taken, full)
	}
}

// Without a data connection nothing is touched, a partial neither.
func TestStorTouchesNothingWithoutADataConnection(t *testing.T) {
	t.Parallel()
	s := plain()
	s.rules.DataWait = 200 * time.Millisecond
	tree, _ := onDisk(t)
	s.tree = tree
	st := newSite(t, s)
	k := st.login()
	nc := k.pasv()
	k.do(150, "STOR up")
	_, _ = io.WriteString(nc, noise(20_000))
	reset(nc)
	k.hear(426)
	want := fmt.Sprintf("213 %d", 20_000-vfs.CutTail)
	for _, line := range []string{"PASV", "EPSV", ""} { // blocked: nobody connects; and none at all
		if line != "" {
			k.say(line)
			if code, _, err := k.reply(); err != nil || code/10 != 22 {
				t.Fatal(code, err)
			}
		}
		k.do(350, "REST 1000")
		k.do(425, "STOR up")
		if got := k.do(213, "SIZE up"); got != want {
			t.Errorf("after %q and a STOR without data: %s; want %s", line, got, want)
		}
	}
}

// A failure to listen that is no lack of ports is not called one.
func TestReserveSaysWhatIsMissing(t *testing.T) {
	p := NewPorts(20000, 20001)
	_, err := p.reserve(netip.MustParseAddr("203.0.113.254"), netip.MustParseAddr("127.0.0.1"))
	if err == nil {
		t.Fatal("listened on an address of the documentation")
	}
	if e := fault.Of(err); e.Kind != fault.NoData || e.ID != fault.IDInternal || errors.Unwrap(e) == nil {
		t.Errorf("reserve on an address that is not here: %v, %v", e.Kind, e.ID)
	}
	if len(p.held) != 0 {
		t.Errorf("%d ports stay held", len(p.held))
	}
}

// A name that is taken while a STOU runs is a refusal, not a second transfer over
// a connection that is spent.
func TestStouWhoseNameIsTakenMeanwhile(t *testing.T) {
	t.Parallel()
	s := plain()
	tree, dir := onDisk(t)
	s.tree = tree
	st := newSite(t, s)
	k := st.login()
	nc := k.pasv()
	k.do(150, "STOU up")
	_, _ = io.WriteString(nc, "mine")
	if err := os.WriteFile(filepath.Join(dir, "up"), []byte("theirs"), 0o644); err != nil {
		t.Fatal(err)
	}
	_ = finish(nc)
	hasID(t, k.hear(550), fault.IDExists)
	k.do(200, "NOOP")
	if b, err := os.ReadFile(filepath.Join(dir, "up")); string(b) != "theirs" || err != nil {
		t.Errorf("the file has %q, %v", b, err)
	}
}
