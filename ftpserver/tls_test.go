package ftpserver

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"dray/account"
	"dray/certs"
	"dray/fault"
)

// A countingCache counts the tickets that a client was handed.
type countingCache struct {
	tls.ClientSessionCache
	puts atomic.Int32
}

func (c *countingCache) Put(key string, cs *tls.ClientSessionState) {
	if cs != nil { // nil takes one away
		c.puts.Add(1)
	}
	c.ClientSessionCache.Put(key, cs)
}

// frozen lets nothing in: what is offered stays the same ticket.
type frozen struct{ tls.ClientSessionCache }

func (frozen) Put(string, *tls.ClientSessionState) {}

// A scale weighs what a client reads.
type scale struct {
	net.Conn
	got atomic.Int64
}

func (s *scale) Read(b []byte) (int, error) {
	n, err := s.Conn.Read(b)
	s.got.Add(int64(n))
	return n, err
}

// closeNotify is the size of an encrypted alert under TLS 1.3 with a suite
// whose tag has 16 bytes.
const closeNotify = 5 + 2 + 1 + 16

// dataConnection runs one command over a data connection of its own
// configuration, and tells how many tickets came, whether it was resumed and,
// in bytes, what came after the handshake.
func dataConnection(t *testing.T, k *talk, cfg *tls.Config, command, upload string) (tickets int, resumed bool, after int64) {
	t.Helper()
	count := &countingCache{ClientSessionCache: cfg.ClientSessionCache}
	cfg = cfg.Clone()
	if cfg.ClientSessionCache != nil {
		cfg.ClientSessionCache = count
	}
	raw := &scale{Conn: k.pasv()}
	nc := tls.Client(raw, cfg)
	k.do(150, command)
	if err := nc.Handshake(); err != nil {
		t.Fatalf("%s: %v", command, err)
	}
	before := raw.got.Load()
	if upload != "" {
		if _, err := io.WriteString(nc, upload); err != nil {
			t.Fatalf("%s: %v", command, err)
		}
		if err := nc.CloseWrite(); err != nil {
			t.Fatal(err)
		}
	}
	b, err := io.ReadAll(nc)
	if err != nil {
		t.Fatalf("%s: %v", command, err)
	}
	if upload != "" && len(b) > 0 {
		t.Errorf("%s: %d bytes came down", command, len(b))
	}
	nc.Close()
	k.hear(226)
	return int(count.puts.Load()), nc.ConnectionState().DidResume, raw.got.Load() - before
}

func TestTicketsOnDataConnections(t *testing.T) {
	t.Parallel()
	s := plain()
	s.tree = withFiles(t)
	s.rules.TLS = serverTLS()
	st := newSite(t, s)
	for _, version := range []uint16{tls.VersionTLS13, tls.VersionTLS12} {
		control := clientTLS()
		control.MaxVersion = version
		k := st.secureLogin(control)
		fresh := control.Clone()
		fresh.ClientSessionCache = tls.NewLRUClientSessionCache(1)
		for _, try := range []struct {
			name, command, content string
			cfg                    *tls.Config
			resumed                bool
			tickets                int // under TLS 1.3
		}{
			{"an upload that resumes gets none", "STOR up", noise(100_000), control, true, 0},
			{"nor does one that has nothing to resume", "STOR up", noise(100_000), fresh, false, 0},
			{"nor an append", "APPE up", "x", control, true, 0},
			{"nor STOU", "STOU", "x", control, true, 0},
			{"a download that resumes gets one", "RETR a", "", control, true, 1},
			{"a download that offered none gets none", "RETR a", "", fresh, false, 0},
			{"a listing that resumes gets one", "MLSD", "", control, true, 1},
		} {
			name := tls.VersionName(version) + ": " + try.name
			if version == tls.VersionTLS12 && try.cfg == fresh {
				try.cfg = fresh.Clone()
				try.cfg.ClientSessionCache = tls.NewLRUClientSessionCache(1) // 1.2 has filled the other
			}
			tickets, resumed, after := dataConnection(t, k, try.cfg, try.command, try.content)
			if resumed != try.resumed {
				t.Errorf("%s: resumed %v", name, resumed)
			}
			if version == tls.VersionTLS12 {
				continue // they are part of the handshake there
			}
			if tickets != try.tickets {
				t.Errorf("%s: %d tickets", name, tickets)
			}
			if try.content != "" && after != closeNotify {
				t.Errorf("%s: %d bytes came after the handshake; want %d, close_notify alone", name, after, closeNotify)
			}
		}
		k.bye()
	}
}

// The secret of the control connection is in the keys of a resumed one: that was
// agreed on with a post-quantum group, and need not be again.
func TestTheGroupOfADataConnection(t *testing.T) {
	t.Parallel()
	s := plain()
	s.tree = withFiles(t)
	s.rules.TLS = serverTLS()
	st := newSite(t, s)
	for _, try := range []struct {
		name    string
		groups  []tls.CurveID // of the client; nil: its own
		resumes bool
		want    tls.CurveID
	}{
		{"resumed", nil, true, tls.X25519},
		{"with nothing to resume", nil, false, tls.X25519MLKEM768},
		{"resumed by a client without X25519", []tls.CurveID{tls.X25519MLKEM768, tls.CurveP256}, true, tls.X25519MLKEM768},
		{"resumed by a client without post-quantum groups", []tls.CurveID{tls.CurveP256, tls.X25519}, true, tls.X25519},
	} {
		control := clientTLS()
		control.CurvePreferences = try.groups
		k := st.secureLogin(control)
		if got := k.nc.(*tls.Conn).ConnectionState().CurveID; try.groups == nil && got != tls.X25519MLKEM768 {
			t.Errorf("%s: the control connection has group %v", try.name, got)
		}
		cfg := control.Clone()
		if !try.resumes {
			cfg.ClientSessionCache = nil
		}
		nc := tls.Client(k.pasv(), cfg)
		k.do(150, "RETR a")
		if _, err := io.ReadAll(nc); err != nil {
			t.Fatalf("%s: %v", try.name, err)
		}
		if cs := nc.ConnectionState(); cs.CurveID != try.want || cs.DidResume != try.resumes {
			t.Errorf("%s: group %v, resumed %v", try.name, cs.CurveID, cs.DidResume)
		}
		nc.Close()
		k.hear(226)
		k.bye()
	}
	for _, set := range []struct{ groups, want []tls.CurveID }{
		{[]tls.CurveID{tls.X25519MLKEM768, tls.X25519}, []tls.CurveID{tls.X25519}},
		{[]tls.CurveID{tls.X25519MLKEM768, tls.CurveP256}, []tls.CurveID{tls.X25519MLKEM768, tls.CurveP256}},
	} {
		if got := forResumed(set.groups, []tls.CurveID{tls.X25519}); !slices.Equal(got, set.want) {
			t.Errorf("of %v: %v", set.groups, got)
		}
	}
}

// A client that only writes, closes and never reads loses nothing.
func TestUploadsOfClientsThatNeverRead(t *testing.T) {
	t.Parallel()
	s := plain()
	s.rules.TLS = serverTLS()
	st := newSite(t, s)
	k := st.secureLogin(clientTLS())
	k.do(200, "TYPE I")
	content := noise(3 << 20)
	for i := range 10 {
		nc := k.over(k.pasv())
		k.do(150, fmt.Sprintf("STOR f%d", i))
		if _, err := io.WriteString(nc, content); err != nil {
			t.Fatal(err)
		}
		nc.Close() // close_notify and close, with whatever is unread
		k.hear(226)
		if b, err := st.mem.ReadFile(fmt.Sprintf("/f%d", i)); err != nil || string(b) != content {
			t.Fatalf("f%d: %d bytes, %v", i, len(b), err)
		}
	}
}

func TestWhoseTicketsCount(t *testing.T) {
	t.Parallel()
	for _, policy := range []DataSession{SessionPrefer, SessionRequire, SessionOff} {
		s := plain()
		s.tree = withFiles(t)
		s.users = []account.Account{alice, {Name: "bob", Rights: account.Full}}
		s.rules.TLS, s.rules.Session = serverTLS(), policy
		st := newSite(t, s)
		login := func(user, from string) (*talk, *tls.Config) {
			d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
			nc, err := d.Dial("tcp", st.addr)
			if err != nil {
				t.Fatal(err)
			}
			k := newTalk(t, nc)
			k.hear(220)
			cfg := clientTLS()
			k.secure(cfg)
			k.as(user)
			k.do(200, "PROT P")
			cfg = cfg.Clone()
			cfg.ClientSessionCache = frozen{cfg.ClientSessionCache}
			return k, cfg
		}
		alice1, tickets1 := login("alice", "127.0.0.1")
		alice2, tickets2 := login("alice", "127.0.0.1")
		bob, ticketsBob := login("bob", "127.0.0.1")
		gone, ticketsGone := login("alice", "127.0.0.1")
		gone.bye()
		elsewhere, ticketsElsewhere := login("alice", "127.0.0.2")
		elsewhere.do(200, "NOOP")
		again, ticketsAgain := login("bob", "127.0.0.1")
		again.as("alice") // its ticket is older than this login, and its connection is alice's now
		bob.do(200, "NOOP")

		_ = alice2
		for _, try := range []struct {
			name    string
			tickets *tls.Config
			counts  bool
		}{
			{"the connection's own", tickets1, true},
			{"of another connection of the account", tickets2, true},
			{"of a connection of the account that has ended", ticketsGone, true},
			{"of another account", ticketsBob, false},
			{"of the account from another address", ticketsElsewhere, false},
			{"of a connection that has logged in to the account since", ticketsAgain, true},
			{"none", &tls.Config{InsecureSkipVerify: true}, false},
		} {
			for _, command := range []string{"RETR a", "STOR up"} {
				name := fmt.Sprintf("policy %d, %s, ticket %s", policy, command, try.name)
				nc := tls.Client(alice1.pasv(), try.tickets)
				alice1.do(150, command)
				if err := nc.Handshake(); err != nil {
					t.Errorf("%s: the handshake did not end: %v", name, err)
				}
				if got, want := nc.ConnectionState().DidResume, try.counts && policy != SessionOff; got != want {
					t.Errorf("%s: resumed %v", name, got)
				}
				if command == "STOR up" {
					_, _ = io.WriteString(nc, "content")
					_ = nc.CloseWrite()
				} else {
					_, _ = io.Copy(io.Discard, nc)
				}
				if policy == SessionRequire && !try.counts {
					hasID(t, alice1.hear(425), fault.IDTLSReuse)
				} else {
					alice1.hear(226)
				}
				nc.Close()
			}
		}
	}
}

func TestTicketsAreForgottenInTime(t *testing.T) {
	now := time.Now()
	tk := newTickets()
	tk.now = func() time.Time { return now }
	addr := netip.MustParseAddr("192.0.2.1")
	tk.loggedIn("a", "alice", addr)
	tk.loggedIn("b", "bob", addr)
	tk.ended("a")
	tk.ended("a")
	if !tk.vouches("a", "alice", addr) || tk.vouches("a", "bob", addr) || tk.vouches("a", "alice", addr.Next()) || tk.vouches("c", "", addr) {
		t.Error("a vouches for others than its own, or not for those")
	}
	tk.loggedIn("a", "alice", addr) // again, on the same connection
	tk.ended("b")
	if !tk.vouches("a", "alice", addr) {
		t.Error("a connection that logged in again was forgotten with the first login")
	}
	now = now.Add(ticketLife)
	if tk.vouches("b", "bob", addr) || !tk.vouches("a", "alice", addr) {
		t.Error("after its life b vouches, or a, which stands, does not")
	}
	tk.ended("a")
	for i := range maxTickets + 10 {
		id := fmt.Sprint(i)
		tk.loggedIn(id, "x", addr)
		tk.ended(id)
	}
	if len(tk.ids) > maxTickets || tk.order.Len() > maxTickets || tk.vouches("a", "alice", addr) {
		t.Errorf("%d ended connections are remembered", len(tk.ids))
	}
}

func TestUploadWithoutCloseNotify(t *testing.T) {
	t.Parallel()
	for _, accept := range []bool{false, true} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			s := plain()
			s.rules.TLS, s.rules.BareEnd = serverTLS(), accept
			st := newSite(t, s)
			if err := st.mem.WriteFile("/up", []byte("old")); err != nil {
				t.Fatal(err)
			}
			cfg := clientTLS()
			cfg.MaxVersion = version
			k := st.secureLogin(cfg)
			nc := tls.Client(k.pasv(), cfg)
			k.do(150, "STOR up")
			_, _ = io.WriteString(nc, noise(10_000))
			_ = nc.NetConn().(*net.TCPConn).CloseWrite()
			want := "old"
			if accept {
				want = noise(10_000)
				k.hear(226)
			} else {
				hasID(t, k.hear(426), fault.IDTLSNoClose)
			}
			nc.Close()
			if b, err := st.mem.ReadFile("/up"); err != nil || string(b) != want {
				t.Errorf("BareEnd %v: the file holds %d bytes, %v", accept, len(b), err)
			}
			k.bye()
		}
	}
}

func TestHandshakesThatFailOnDataConnections(t *testing.T) {
	t.Parallel()
	s := plain()
	s.tree = withFiles(t)
	s.rules.TLS = serverTLS()
	s.rules.DataWait = 300 * time.Millisecond
	st := newSite(t, s)
	k := st.secureLogin(clientTLS())
	for _, try := range []struct {
		name, why string
		do        func(nc net.Conn)
	}{
		{"clear text", "what came was not TLS", func(nc net.Conn) { _, _ = io.WriteString(nc, "this is no TLS at all") }},
		{"nothing", "it did not end in time", func(net.Conn) {}},
		{"an end", "the connection was closed in the middle", func(nc net.Conn) { nc.Close() }},
		{"a client that refuses the certificate", "your program refused it", func(nc net.Conn) {
			_ = tls.Client(nc, &tls.Config{ServerName: "localhost", VerifyConnection: func(tls.ConnectionState) error { return errors.New("no") }, InsecureSkipVerify: true}).Handshake()
		}},
	} {
		for _, command := range []string{"RETR a", "STOR up"} {
			nc := k.pasv()
			k.do(150, command)
			try.do(nc)
			reply := k.hear(425)
			hasID(t, reply, fault.IDTLSData)
			if !strings.Contains(reply, try.why) {
				t.Errorf("%s, %s: %q; want %q in it", command, try.name, reply, try.why)
			}
			nc.Close()
		}
	}
	if _, err := st.mem.ReadFile("/up"); err == nil {
		t.Error("an upload without a handshake is published")
	}
	k.bye()
}

func TestActiveDataOverTLS(t *testing.T) {
	t.Parallel()
	s := plain()
	s.tree = withFiles(t)
	s.rules.TLS, s.rules.Session = serverTLS(), SessionRequire
	st := newSite(t, s)
	k := st.secureLogin(clientTLS())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	k.do(200, fmt.Sprintf("PORT 127,0,0,1,%d,%d", port>>8, port&255))
	k.say("RETR a")
	raw, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	k.hear(150)
	if b, err := io.ReadAll(tls.Client(raw, k.tls)); string(b) != "abc" || err != nil { // we are client here too
		t.Errorf("%q, %v", b, err)
	}
	k.hear(226)
}

// Under TLS the name in the handshake has chosen already.
func TestHostUnderTLSIsServedByTheCertificateInUse(t *testing.T) {
	t.Parallel()
	first, other := certificate(), otherCertificate(t)
	set := certs.NewSet(first, other)
	cfg := certs.ServerConfig(set)
	var key [32]byte
	cfg.SetSessionTicketKeys([][32]byte{key})
	s := plain()
	s.rules.TLS = cfg
	s.rules.Host = func(name string) (*tls.Config, bool) {
		cert := set.For(name)
		if cert == nil {
			return nil, false
		}
		own := cfg.Clone()
		own.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &cert.TLS, nil }
		return own, true
	}
	st := newSite(t, s)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, c := range []struct{ asked, served, refused string }{
			{"localhost", "127.0.0.1", "other.example.net"},
			{"other.example.net", "other.example.net", "localhost"},
			{"", "localhost", "other.example.net"}, // by address
		} {
			cfg := clientTLS()
			cfg.ServerName, cfg.MaxVersion = c.asked, version
			for _, resumed := range []bool{false, true} {
				if c.asked == "" && resumed {
					continue // a client without a name has no place to keep its session
				}
				k := st.greeted()
				k.secure(cfg)
				k.do(220, "HOST "+c.served)
				hasID(t, k.do(504, "HOST "+c.refused), fault.IDHost)
				hasID(t, k.do(504, "HOST nowhere.example.net"), fault.IDHost)
				if got := k.nc.(*tls.Conn).ConnectionState().DidResume; got != resumed {
					t.Errorf("%s, %q: resumed %v", tls.VersionName(version), c.asked, got)
				}
				k.bye()
			}
		}
	}
	k := st.greeted() // what HOST said before TLS counts, whatever the handshake asks for
	k.do(220, "HOST other.example.net")
	cfgA := clientTLS()
	k.secure(cfgA)
	if got := k.nc.(*tls.Conn).ConnectionState().PeerCertificates[0]; !bytes.Equal(got.Raw, other.TLS.Certificate[0]) {
		t.Errorf("the certificate of %v", got.DNSNames)
	}
	k.do(220, "HOST other.example.net")
	k.bye()
}

// otherCertificate is one for other.example.net.
func otherCertificate(t *testing.T) *certs.Certificate {
	t.Helper()
	c, err := certs.SelfSigned(t.TempDir()+"/state", []string{"other.example.net"}, nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestHostChoosesTheCertificate(t *testing.T) {
	t.Parallel()
	s := plain()
	s.rules.TLS = serverTLS()
	other := serverTLS()
	other.NextProtos = []string{"of-the-other"}
	s.rules.Host = func(name string) (*tls.Config, bool) {
		return other, name == "ftp.example.net" || name == "2001:db8::1"
	}
	st := newSite(t, s)
	for name, want := range map[string]string{"": "ftp", "ftp.example.net": "of-the-other", "[2001:db8::1]": "of-the-other"} {
		k := st.greeted()
		if name != "" {
			hasID(t, k.do(504, "HOST nowhere.example.net"), fault.IDHost)
			k.do(220, "HOST "+name)
			if feat := k.do(211, "FEAT"); !strings.Contains(feat, "\n HOST\n") {
				t.Errorf("FEAT = %q", feat)
			}
		}
		cfg := clientTLS()
		cfg.NextProtos = []string{"ftp", "of-the-other"}
		k.secure(cfg)
		if got := k.nc.(*tls.Conn).ConnectionState().NegotiatedProtocol; got != want {
			t.Errorf("HOST %q: the configuration of %q", name, got)
		}
		k.as("alice")
		k.do(200, "PROT P")
		k.prot = true
		k.put("STOR up", "x")
	}
}

// One client that logs in again and again filled the memory for ended logins, and
// data connections of all others had to begin without a session.
func TestALoginLoopPushesNobodysTicketsOut(t *testing.T) {
	tk := newTickets()
	addr := netip.MustParseAddr("192.0.2.1")
	tk.loggedIn("other", "bob", addr)
	tk.ended("other")
	for range maxTickets + 1 {
		tk.loggedIn("a", "alice", addr)
		tk.ended("a")
	}
	if n := tk.order.Len(); n != 2 || len(tk.ids) != 2 {
		t.Errorf("%d places and %d logins are kept of two connections", n, len(tk.ids))
	}
	if !tk.vouches("other", "bob", addr) || !tk.vouches("a", "alice", addr) {
		t.Error("a connection that has ended vouches no more")
	}
	tk.loggedIn("a", "carol", addr)
	if tk.vouches("a", "alice", addr) || !tk.vouches("a", "carol", addr) || tk.order.Len() != 1 {
		t.Error("the connection vouches for the account that it had, and not for the one that it has")
	}
	for i := range maxTickets {
		id := fmt.Sprint("n", i)
		tk.loggedIn(id, "alice", addr)
		tk.ended(id)
	}
	if n := tk.order.Len(); n != maxTickets || len(tk.ids) != maxTickets+1 || tk.vouches("other", "bob", addr) || !tk.vouches("a", "carol", addr) {
		t.Errorf("%d places, %d logins; want %d, without the oldest and with the one that stands", n, len(tk.ids), maxTickets)
	}
}
