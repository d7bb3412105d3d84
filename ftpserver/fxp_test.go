package ftpserver

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"dray/fault"
)

// from is a connection from another address of the loopback, so that a server on
// 127.0.0.1 is a foreign one.
func (st *site) from(addr string) *talk {
	st.t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(addr)}}
	nc, err := d.Dial("tcp", st.addr)
	if err != nil {
		st.t.Fatal(err)
	}
	k := newTalk(st.t, nc)
	k.hear(220)
	return k
}

func portArg(t testing.TB, addr string) string {
	t.Helper()
	a, err := netip.ParseAddrPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s,%d,%d", strings.ReplaceAll(a.Addr().String(), ".", ","), a.Port()>>8, a.Port()&255)
}

func fxpSite(t testing.TB) *site {
	s := switchedOn()
	s.rules.TLS, s.rules.Session = serverTLS(), SessionRequire
	s.rules.DataWait = 2 * time.Second
	return newSite(t, s)
}

// Two servers, and a client that moves no byte.
func TestServerToServerCopies(t *testing.T) {
	t.Parallel()
	content := noise(3<<20 + 1)
	for _, try := range []struct {
		name    string
		secure  bool
		passive []string // said to the passive server, the last one instead of PASV
		active  []string
	}{
		{"in clear text", false, []string{"PASV"}, nil},
		{"under TLS with CPSV", true, []string{"CPSV"}, nil},
		{"under TLS with SSCN", true, []string{"SSCN ON", "PASV"}, nil},
		{"compressed in clear text", false, []string{"MODE Z", "PASV"}, []string{"MODE Z"}},
		{"compressed under TLS", true, []string{"MODE Z", "CPSV"}, []string{"MODE Z"}},
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			for _, down := range []bool{true, false} { // from the passive one, or to it
				a, b := fxpSite(t), fxpSite(t)
				a.rules.TLS.MaxVersion = version
				if !try.secure && version == tls.VersionTLS12 {
					continue
				}
				ka, kb := a.from("127.0.0.2"), b.from("127.0.0.2")
				for _, k := range []*talk{ka, kb} {
					if try.secure {
						k.secure(clientTLS())
					}
					k.as("alice")
					k.do(200, "TYPE I")
					if try.secure {
						k.do(200, "PROT P")
					}
				}
				for _, line := range try.passive[:len(try.passive)-1] {
					ka.do(200, line)
				}
				for _, line := range try.active {
					kb.do(200, line)
				}
				kb.do(200, "PORT "+portArg(t, parsePASV(t, ka.do(227, try.passive[len(try.passive)-1]))))
				source, sink := a, b
				toSource, toSink := ka, kb
				if !down {
					source, sink, toSource, toSink = b, a, kb, ka
				}
				if err := source.mem.WriteFile("/from", []byte(content)); err != nil {
					t.Fatal(err)
				}
				toSink.say("STOR to")
				toSource.say("RETR from")
				toSink.hear(150)
				toSource.hear(150)
				toSource.hear(226)
				toSink.hear(226)
				if got, err := sink.mem.ReadFile("/to"); err != nil || string(got) != content {
					t.Errorf("%s, %s, down %v: %d bytes arrived, %v", try.name, tls.VersionName(version), down, len(got), err)
				}
				ka.bye()
				kb.bye()
			}
		}
	}
}

// SSCN ON makes this side TLS client of whoever connects, also of the client
// itself, in both modes.
func TestSSCNWorksInBothModes(t *testing.T) {
	t.Parallel()
	st := fxpSite(t)
	if err := st.mem.WriteFile("/a", []byte("content")); err != nil {
		t.Fatal(err)
	}
	k := st.secureLogin(clientTLS())
	k.do(200, "TYPE I")
	k.do(200, "SSCN ON")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, mode := range []string{"passive", "active"} {
		for _, command := range []string{"RETR a", "STOR b", "NLST"} {
			var raw net.Conn
			if mode == "passive" {
				raw = k.pasv()
				k.do(150, command)
			} else {
				k.do(200, "PORT "+portArg(t, l.Addr().String()))
				k.say(command)
				if raw, err = l.Accept(); err != nil {
					t.Fatal(err)
				}
				k.hear(150)
			}
			nc := tls.Server(raw, serverTLS())
			if command == "STOR b" {
				_, _ = io.WriteString(nc, "content")
				_ = nc.CloseWrite()
			} else if b, err := io.ReadAll(nc); err != nil || len(b) == 0 {
				t.Errorf("%s, %s: %q, %v", mode, command, b, err)
			}
			nc.Close()
			k.hear(226)
		}
	}
	if b, err := st.mem.ReadFile("/b"); string(b) != "content" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	k.do(200, "SSCN OFF")
	k.prot = true
	if got := k.get("RETR a"); got != "content" { // as ever
		t.Errorf("%q", got)
	}
}

// The other server sends tickets that this side, which only writes, would never
// read: a close with them unread would reset the connection and take the tail of
// the file along.
func TestNoTailIsLostToTheTicketsOfAnotherServer(t *testing.T) {
	t.Parallel()
	st := fxpSite(t)
	content := noise(2<<20 + 1)
	if err := st.mem.WriteFile("/a", []byte(content)); err != nil {
		t.Fatal(err)
	}
	k := st.secureLogin(clientTLS())
	k.do(200, "TYPE I")
	for range 5 {
		raw := k.connect(parsePASV(t, k.do(227, "CPSV")))
		k.do(150, "RETR a")
		nc := tls.Server(raw, serverTLS())
		// A record that nobody reads stands for a ticket: the client of crypto/tls
		// asks for none where it keeps none, and not every server listens to that.
		if _, err := io.WriteString(nc, "ticket"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond) // real time: the other end is to be done long before this one reads
		b, err := io.ReadAll(nc)
		if string(b) != content || err != nil {
			t.Fatalf("%d bytes of %d came, %v", len(b), len(content), err)
		}
		nc.Close()
		k.hear(226)
	}
}

// CPSV is for one data connection.
func TestCPSVIsForOneConnection(t *testing.T) {
	t.Parallel()
	st := fxpSite(t)
	if err := st.mem.WriteFile("/a", []byte("content")); err != nil {
		t.Fatal(err)
	}
	k := st.secureLogin(clientTLS())
	raw := k.connect(parsePASV(t, k.do(227, "CPSV")))
	k.do(150, "RETR a")
	if b, err := io.ReadAll(tls.Server(raw, serverTLS())); string(b) != "content" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	raw.Close()
	k.hear(226)
	if got := k.get("RETR a"); got != "content" {
		t.Errorf("%q", got)
	}
	k.do(227, "CPSV")
	if got := k.get("RETR a"); got != "content" { // a PASV behind it takes it back
		t.Errorf("%q", got)
	}
}

// Without a word of SSCN or CPSV a stranger gets nothing under TLS, and without
// the switch nowhere.
func TestStrangersAtDataPorts(t *testing.T) {
	t.Parallel()
	for _, try := range []struct {
		name            string
		allow           []string
		secure, refused bool
	}{
		{"without the switch", nil, false, true},
		{"without the switch under TLS", nil, true, true},
		{"under TLS", []string{"FXP"}, true, true},
		{"in clear text", []string{"FXP"}, false, false},
	} {
		s := plain()
		s.tree = withFiles(t)
		s.rules.TLS, s.rules.Allow, s.rules.DataWait = serverTLS(), try.allow, 300*time.Millisecond
		st := newSite(t, s)
		k := st.from("127.0.0.2")
		if try.secure {
			k.secure(clientTLS())
		}
		k.as("alice")
		if try.secure {
			k.do(200, "PROT P")
		}
		nc := k.connect(k.pasvAddr()) // from 127.0.0.1
		if try.refused {
			hasID(t, k.do(425, "RETR a"), fault.IDDataBlocked)
			if b, _ := io.ReadAll(nc); len(b) > 0 {
				t.Errorf("%s: the stranger got %q", try.name, b)
			}
			continue
		}
		k.do(150, "RETR a")
		k.hear(226)
		if b, err := io.ReadAll(nc); string(b) != "abc" || err != nil {
			t.Errorf("%s: %q, %v", try.name, b, err)
		}
	}
}

// The other server must be one that the client could reach itself.
func TestNoBounceToWhereOnlyTheServerCanGo(t *testing.T) {
	t.Parallel()
	for _, try := range []struct {
		remote, to, why string
	}{
		{"198.51.100.7", "203.0.113.5", ""},
		{"198.51.100.7", "127.0.0.1", "can't be reached"},
		{"198.51.100.7", "10.1.2.3", "can't be reached"},
		{"198.51.100.7", "192.168.0.1", "can't be reached"},
		{"198.51.100.7", "169.254.169.254", "can't be reached"},
		{"198.51.100.7", "100.64.0.1", "can't be reached"},
		{"198.51.100.7", "239.1.2.3", "one host"},
		{"10.1.2.3", "10.1.2.4", ""},
		{"10.1.2.3", "127.0.0.1", "can't be reached"},
		{"10.1.2.3", "169.254.169.254", "can't be reached"},
		{"10.1.2.3", "203.0.113.5", ""},
		{"2001:db8::1", "2001:db8::2", ""},
		{"2001:db8::1", "::1", "can't be reached"},
		{"2001:db8::1", "fe80::1", "can't be reached"},
		{"2001:db8::1", "fd00::1", "can't be reached"},
		{"2001:db8::1", "ff02::1", "one host"},
		{"127.0.0.1", "127.0.0.2", ""},
	} {
		c := seenFrom(t, try.remote)
		why := c.noServer(netip.MustParseAddr(try.to))
		if (why == "") != (try.why == "") || !strings.Contains(why, try.why) {
			t.Errorf("%s asks for %s: %q; want %q", try.remote, try.to, why, try.why)
		}
	}
}
