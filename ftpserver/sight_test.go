package ftpserver

import (
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"

	"dray/account"
	"dray/ftp"
)

// sight is what SITE DRAY tells.
func (k *talk) sight() ftp.Sight {
	k.t.Helper()
	lines := strings.Split(k.do(211, "SITE DRAY"), "\n")
	s, err := ftp.ParseSight(lines[1 : len(lines)-1])
	if err != nil {
		k.t.Fatalf("ParseSight(%q): %v", lines, err)
	}
	return s
}

// lastAttempt is the last of them.
func (k *talk) lastAttempt() ftp.Attempt {
	k.t.Helper()
	s := k.sight()
	if len(s.Attempts) == 0 {
		k.t.Fatal("no attempt is told")
	}
	return s.Attempts[len(s.Attempts)-1]
}

// end is an end of a connection.
func end(a net.Addr) netip.AddrPort { return a.(*net.TCPAddr).AddrPort() }

// seenHere is what is seen at a port where that can be told.
func seenHere(s ftp.Seen) ftp.Seen {
	if runtime.GOOS == "linux" {
		return s
	}
	return ftp.SeenUnknown
}

func TestSiteDrayTellsWhatBecameOfAPassivePort(t *testing.T) {
	t.Parallel()
	s := plain()
	s.tree = withFiles(t)
	s.rules.DataWait = 300 * time.Millisecond
	s.rules.Ports = freePorts(t, 4)
	st := newSite(t, s)
	k := st.login()

	seen := k.sight()
	if seen.Peer != end(k.nc.LocalAddr()) || seen.Local != end(k.nc.RemoteAddr()) || seen.TLS != "" || len(seen.Attempts) != 0 {
		t.Errorf("at the beginning: %+v", seen)
	}

	// The port survives the question, and what is told changes when the client comes.
	port := "127.0.0.1:" + parseEPSV(t, k.do(229, "EPSV"))
	a := k.lastAttempt()
	if a.Verb != "EPSV" || a.At.String() != port || a.Outcome != ftp.Waiting || a.Seen != seenHere(ftp.SeenNothing) || a.From.IsValid() {
		t.Errorf("before the client came: %+v", a)
	}
	data := k.connect(port)
	if a = k.lastAttempt(); a.Outcome != ftp.Waiting || a.Seen != seenHere(ftp.SeenWhole) || runtime.GOOS == "linux" && a.From != end(data.LocalAddr()) {
		t.Errorf("when the client has come: %+v", a)
	}
	k.do(150, "RETR a")
	if b, err := io.ReadAll(data); string(b) != "abc" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	k.hear(226)
	if a = k.lastAttempt(); a.Outcome != ftp.Came || a.From != end(data.LocalAddr()) || a.After == 0 || a.TLS != "" || a.ID != "" {
		t.Errorf("after the transfer: %+v", a)
	}

	// Nobody comes, a stranger comes, and the port is given up.
	k.do(229, "EPSV")
	k.do(425, "RETR a")
	if a = k.lastAttempt(); a.Outcome != ftp.Nobody || a.Seen != seenHere(ftp.SeenNothing) || a.ID != "data-blocked" || a.After < s.rules.DataWait {
		t.Errorf("when nobody came: %+v", a)
	}
	if runtime.GOOS == "linux" { // the whole of 127.0.0.0/8 is there
		port = "127.0.0.1:" + parseEPSV(t, k.do(229, "EPSV"))
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
		stranger, err := d.Dial("tcp", port)
		if err != nil {
			t.Fatal(err)
		}
		defer stranger.Close()
		if a = k.lastAttempt(); a.Seen != ftp.SeenWhole || a.From != end(stranger.LocalAddr()) {
			t.Errorf("while a stranger waits: %+v", a)
		}
		k.do(425, "RETR a")
		if a = k.lastAttempt(); a.Outcome != ftp.Nobody || a.Stranger != end(stranger.LocalAddr()) {
			t.Errorf("after a stranger came: %+v", a)
		}
	}
	k.do(229, "EPSV")
	k.do(550, "RETR nothing")
	if a = k.lastAttempt(); a.Outcome != ftp.Dropped {
		t.Errorf("after a command that was refused: %+v", a)
	}

	// Eight at most, the last ones.
	for range ftp.MaxAttempts {
		k.do(227, "PASV")
	}
	seen = k.sight()
	if n := len(seen.Attempts); n != ftp.MaxAttempts {
		t.Errorf("%d attempts are told", n)
	}
	for i, a := range seen.Attempts {
		want := ftp.Dropped
		if i == ftp.MaxAttempts-1 {
			want = ftp.Waiting
		}
		if a.Verb != "PASV" || a.Outcome != want {
			t.Errorf("attempt %d: %+v", i, a)
		}
	}
	k.bye()
	st.quiet()
}

func TestSiteDrayTellsWhatBecameOfAnActiveConnection(t *testing.T) {
	t.Parallel()
	s := plain()
	s.tree = withFiles(t)
	k := newSite(t, s).login()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	to := end(l.Addr())
	k.do(200, "EPRT |1|127.0.0.1|"+strings.TrimPrefix(to.String(), "127.0.0.1:")+"|")
	if a := k.lastAttempt(); a.Verb != "EPRT" || a.At != to || a.Outcome != ftp.Waiting || a.Seen != ftp.SeenUnknown {
		t.Errorf("before the transfer: %+v", a)
	}
	k.say("RETR a")
	data, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer data.Close()
	k.hear(150)
	if b, err := io.ReadAll(data); string(b) != "abc" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	k.hear(226)
	if a := k.lastAttempt(); a.Outcome != ftp.Came || a.From != end(data.RemoteAddr()) {
		t.Errorf("after the transfer: %+v", a)
	}
	l.Close()
	k.do(200, "PORT 127,0,0,1,"+ftp.FormatPASV(to)[len("(127,0,0,1,"):len(ftp.FormatPASV(to))-1])
	k.do(425, "RETR a")
	if a := k.lastAttempt(); a.Verb != "PORT" || a.Outcome != ftp.Refused || a.ID != "active-blocked" {
		t.Errorf("when it was refused: %+v", a)
	}
}

// What a client offers to resume is told as it is.
func TestSiteDrayTellsTheTicket(t *testing.T) {
	t.Parallel()
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		s := plain()
		s.tree = withFiles(t)
		s.users = []account.Account{alice, {Name: "bob", Rights: account.Full}}
		login := func(st *site, user string) (*talk, *tls.Config) {
			cfg := clientTLS()
			cfg.MaxVersion = version
			k := st.greeted()
			k.secure(cfg)
			k.as(user)
			k.do(200, "PBSZ 0")
			k.do(200, "PROT P")
			k.prot = true
			return k, cfg
		}
		s.rules.TLS = serverTLS()
		elsewhere := newSite(t, s)
		s.tree = withFiles(t)
		s.rules.TLS = serverTLS()
		st := newSite(t, s)
		k, own := login(st, "alice")
		_, other := login(st, "alice")
		_, bobs := login(st, "bob")
		_, foreign := login(elsewhere, "alice")
		none := own.Clone()
		none.ClientSessionCache = nil
		for _, c := range []struct {
			name    string
			cfg     *tls.Config
			resumed bool
			ticket  ftp.Ticket
		}{
			{"its own", own, true, ftp.TicketOwn},
			{"that of another connection of the account", other, true, ftp.TicketAccount},
			{"that of another account", bobs, false, ftp.TicketForeign},
			{"that of another server", foreign, false, ftp.TicketUnreadable},
			{"none", none, false, ftp.TicketNone},
		} {
			nc := tls.Client(k.pasv(), c.cfg)
			k.do(150, "RETR a")
			if _, err := io.ReadAll(nc); err != nil {
				t.Fatal(err)
			}
			nc.Close()
			k.hear(226)
			if a := k.lastAttempt(); a.TLS != tlsWord(version) || a.Resumed != c.resumed || a.Ticket != c.ticket {
				t.Errorf("TLS %s, %s: %+v", tlsWord(version), c.name, a)
			}
		}
		if got := k.sight(); got.TLS != tlsWord(version) || got.Resumed {
			t.Errorf("the control connection: %+v", got)
		}
	}
}

func TestAttemptsAreSmall(t *testing.T) {
	if n := unsafe.Sizeof(attempt{}) * ftp.MaxAttempts; n > 1200 {
		t.Errorf("%d bytes", n)
	}
	var s attempts
	for i := range 3 * ftp.MaxAttempts {
		if n := s.add(byEPSV, netip.AddrPort{}); n != i || s.nth(n) != &s.last[len(s.last)-1] {
			t.Fatalf("attempt %d has number %d", i, n)
		}
	}
	if len(s.last) != ftp.MaxAttempts || s.nth(0) == nil {
		t.Errorf("%d are kept", len(s.last))
	}
}
