package ftpserver

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"dray/fault"
	"dray/gate"
)

// seenFrom is a connection of a peer at an address, with nothing said.
func seenFrom(t *testing.T, remote string) *conn {
	t.Helper()
	st := newServer(t, plain())
	client, server := net.Pipe()
	t.Cleanup(func() { client.Close(); server.Close() })
	at := netip.AddrPortFrom(netip.MustParseAddr(remote), 40000)
	visit, err := st.server.gate.Knock(gate.Peer{Remote: at, Local: at, Door: st.rules.Door})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(visit.Leave)
	return newConn(st.server, server, visit, st.rules)
}

// clear ends TLS as a client does behind CCC: close_notify both ways.
func (k *talk) clear() {
	k.t.Helper()
	t := k.nc.(*tls.Conn)
	if err := t.CloseWrite(); err != nil {
		k.t.Fatal(err)
	}
	k.cleared()
}

// cleared waits for the server's close_notify and goes on in clear text.
func (k *talk) cleared() {
	k.t.Helper()
	_ = k.nc.SetReadDeadline(time.Now().Add(patience))
	if b, err := io.ReadAll(k.rd); err != nil || len(b) > 0 {
		k.t.Fatalf("in place of close_notify: %q, %v", b, err)
	}
	_ = k.raw.SetDeadline(time.Time{})
	k.nc, k.rd = k.raw, bufio.NewReader(k.raw)
}

func cccSite(t testing.TB) *site {
	s := plain()
	s.door.Plain = false
	s.tree = withFiles(t)
	s.rules.TLS, s.rules.Allow = serverTLS(), []string{"CCC"}
	s.rules.Host = func(string) (*tls.Config, bool) { return nil, false }
	return newSite(t, s)
}

// However the client ends TLS: at once, after the server, not at all, or with
// the next command glued to it.
func TestCCCAndTheWaysToEndTLS(t *testing.T) {
	t.Parallel()
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for name, end := range map[string]func(k *talk){
			"close_notify first": func(k *talk) { k.clear() },
			"close_notify second": func(k *talk) {
				c := k.nc.(*tls.Conn)
				k.cleared()
				_ = c.CloseWrite()
				_ = k.raw.SetDeadline(time.Time{})
			},
			"no close_notify":           func(k *talk) { k.cleared() },
			"a command glued behind it": nil,
			"in pieces of one byte":     nil,
		} {
			st := cccSite(t)
			k := st.greeted()
			cfg := clientTLS()
			cfg.MaxVersion = version
			var slow *recorder
			if end == nil {
				slow = &recorder{Conn: k.raw}
				k.raw = slow
			}
			k.secure(cfg)
			k.as("alice")
			k.do(200, "PROT P")
			k.prot = true
			k.do(200, "CCC")
			if end != nil {
				end(k)
				k.do(257, "PWD")
			} else {
				slow.hold = true
				if err := k.nc.(*tls.Conn).CloseWrite(); err != nil {
					t.Fatal(err)
				}
				_ = slow.Conn.SetDeadline(time.Time{})
				piece := slow.held.Len() + 5
				if name == "in pieces of one byte" {
					piece = 1
				}
				slow.held.WriteString("PWD\r\n")
				for slow.held.Len() > 0 {
					if _, err := slow.Conn.Write(slow.held.Next(piece)); err != nil {
						t.Fatal(err)
					}
				}
				slow.hold = false
				k.cleared()
				k.hear(257)
			}
			k.do(200, "NOOP")
			if got := k.get("RETR a"); got != "abc" { // still PROT P, with a ticket of the control connection
				t.Errorf("%s, %s: %q", tls.VersionName(version), name, got)
			}
			k.put("STOR up", noise(100_000))
			if b, err := st.mem.ReadFile("/up"); err != nil || len(b) != 100_000 {
				t.Errorf("%s, %s: %d bytes arrived, %v", tls.VersionName(version), name, len(b), err)
			}
			k.do(530, "USER alice") // the next login needs TLS again
			hasID(t, k.do(534, "AUTH TLS"), fault.IDNotBuilt)
			k.do(530, "PWD")
			k.bye()
		}
	}
}

// A recorder keeps what is written to it while it holds.
type recorder struct {
	net.Conn
	hold bool
	held bytes.Buffer
}

func (r *recorder) Write(b []byte) (int, error) {
	if r.hold {
		return r.held.Write(b)
	}
	return r.Conn.Write(b)
}

// A transfer is the first thing behind CCC, so that the reader beside it meets
// the close_notify.
func TestTheReaderBesideATransferMeetsTheEndOfTLS(t *testing.T) {
	t.Parallel()
	st := cccSite(t)
	k := st.secureLogin(clientTLS())
	addr := k.pasvAddr()
	k.do(200, "CCC")
	k.cleared()
	nc := k.over(k.connect(addr))
	k.do(150, "STOR up")
	_, _ = io.WriteString(nc, "some")
	k.do(200, "NOOP") // in clear text, without close_notify before it
	_, _ = io.WriteString(nc, "thing")
	_ = finish(nc)
	k.hear(226)
	nc.Close()
	k.do(226, "ABOR")
}

func TestCCCWithCommandsBehindIt(t *testing.T) {
	t.Parallel()
	st := cccSite(t)
	k := st.secureLogin(clientTLS())
	k.write("CCC\r\nPWD\r\n")
	hasID(t, k.hear(503), fault.IDSequence)
	k.hear(257) // still under TLS
	k.do(200, "CCC")
	k.write("PWD\r\n") // under TLS, after the reply
	if s, err := io.ReadAll(k.rd); len(s) > 0 || err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !strings.Contains(err.Error(), "reset") {
		t.Errorf("a command under TLS behind CCC was answered: %q, %v", s, err)
	}
	st.quiet()
}

// Clear text or silence in place of the end of TLS does no harm, and neither
// does the end of the connection.
func TestCCCAndAPeerThatLeaves(t *testing.T) {
	t.Parallel()
	for name, leave := range map[string]func(k *talk){
		"with a reset":                     func(k *talk) { reset(k.nc) },
		"without close_notify":             func(k *talk) { k.raw.Close() },
		"with close_notify":                func(k *talk) { k.nc.Close() },
		"in the middle of a record":        func(k *talk) { _, _ = k.raw.Write([]byte{21, 3, 3}); k.raw.Close() },
		"with a record that is not theirs": func(k *talk) { _, _ = k.raw.Write([]byte{21, 3, 3, 0, 2, 1, 0}) },
	} {
		st := cccSite(t)
		k := st.secureLogin(clientTLS())
		k.do(200, "CCC")
		leave(k)
		st.quiet()
		if log := st.log.String(); strings.Contains(log, "panic") {
			t.Errorf("%s: %s", name, grep(log, "panic"))
		}
	}
}

func TestCCCKeepsDataProtected(t *testing.T) {
	t.Parallel()
	st := cccSite(t)
	k := st.greeted()
	k.secure(clientTLS())
	k.as("alice")
	k.do(200, "CCC") // before PROT P
	k.clear()
	k.do(227, "PASV")
	hasID(t, k.do(521, "RETR a"), fault.IDProtRequired)
	for _, line := range []string{"PBSZ 0", "PROT P"} {
		reply := k.do(503, line)
		hasID(t, reply, fault.IDNotBuilt)
		if !strings.Contains(reply, "new connection") {
			t.Errorf("%s after CCC: %q", line, reply)
		}
	}
}

func TestCCCIsInFeatWhereItIsAllowed(t *testing.T) {
	t.Parallel()
	st := cccSite(t)
	k := st.secureLogin(clientTLS())
	gone := []string{"\n CCC\n", "\n AUTH TLS\n", "\n PBSZ\n", "\n PROT\n", "\n HOST\n"}
	for feat := k.do(211, "FEAT"); len(gone) > 0; gone = gone[1:] {
		if !strings.Contains(feat, gone[0]) {
			t.Errorf("FEAT = %q, without %q", feat, gone[0])
		}
	}
	k.do(200, "CCC")
	k.clear()
	if feat := k.do(211, "FEAT"); strings.Contains(feat, "AUTH") || strings.Contains(feat, "CCC") ||
		strings.Contains(feat, "PBSZ") || strings.Contains(feat, "PROT") || strings.Contains(feat, "HOST") {
		t.Errorf("FEAT after CCC = %q", feat)
	}
	s := plain()
	s.rules.TLS = serverTLS()
	st = newSite(t, s)
	k = st.secureLogin(clientTLS())
	hasID(t, k.do(502, "CCC"), fault.IDNotBuilt)
	if feat := k.do(211, "FEAT"); strings.Contains(feat, "CCC") {
		t.Errorf("FEAT without the switch = %q", feat)
	}
}

func TestCCCOnAnImplicitPort(t *testing.T) {
	t.Parallel()
	s := plain()
	s.tree = withFiles(t)
	s.rules.TLS, s.rules.Allow, s.rules.Implicit = serverTLS(), []string{"CCC"}, true
	st := newSite(t, s)
	k := st.dial()
	k.handshake(clientTLS())
	k.hear(220)
	k.as("alice")
	k.prot = true
	k.do(200, "CCC")
	k.clear()
	if got := k.get("RETR a"); got != "abc" {
		t.Errorf("%q", got)
	}
	k.bye()
}
