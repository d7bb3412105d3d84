package doctor

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"dray/account"
	"dray/fault"
	"dray/remote"
	"dray/sftp"
)

// logins counts what an SSH server was told of logins.
func (s *sshFake) logins() *[]string {
	tried := new([]string)
	s.config.PasswordCallback = func(c ssh.ConnMetadata, p []byte) (*ssh.Permissions, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		*tried = append(*tried, c.User())
		return nil, errors.New("no")
	}
	s.config.KeyboardInteractiveCallback = func(c ssh.ConnMetadata, ask ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
		if _, err := ask("", "", []string{"Password: "}, []bool{false}); err == nil {
			s.mu.Lock()
			defer s.mu.Unlock()
			*tried = append(*tried, c.User())
		}
		return nil, errors.New("no")
	}
	return tried
}

// Who names no user over SFTP, and has no way in as who runs this, is told so: that is no
// fault of the server.
func TestSFTPWithoutUser(t *testing.T) {
	netrc, err := remote.ParseNetrc("machine 127.0.0.1 login bob password " + marker)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name    string
		how     func(o *Options)
		verdict Verdict
		id      fault.ID
		saw, do string
	}{
		{"no user", func(o *Options) { o.URL.User = "" }, Skipped, "", "no user was given", "sftp://USER@"},
		{"no user, and one of netrc", func(o *Options) {
			o.URL.User, o.Remote.Passwords = "", &remote.Passwords{Netrc: netrc}
		}, Skipped, "", "no user was given", "sftp://bob@"},
		{"no password", nil, Skipped, "", "no password is known for alice", "--ask-password"},
		{"a wrong password", func(o *Options) { o.URL.HasPassword = true }, Fail, fault.IDAuth, "rejected the login", ""},
		{"no user, and a password", func(o *Options) { o.URL.User, o.URL.HasPassword = "", true }, Skipped, "", "no user was given", "sftp://USER@"},
	} {
		s := newSSHFake(t)
		s.known(s.key.PublicKey())
		tried := s.logins()
		o := s.options()
		o.URL.HasPassword = false
		if row.how != nil {
			row.how(&o)
		}
		r := s.examine(t.Context(), o)
		f := wants(t, r, "login", row.verdict, row.id, row.saw)
		if row.do != "" {
			does(t, f, row.do)
		}
		if row.verdict == Skipped && (len(*tried) > 0 && !o.URL.HasPassword || r.Verdict() > Note || !strings.Contains(f.Saw, "password")) {
			t.Errorf("%s: %d logins, all in all %v: %s", row.name, len(*tried), r.Verdict(), f.Saw)
		}
	}
}

// Where no password is known over FTP none is sent, and no empty one either.
func TestNoPasswordIsKnown(t *testing.T) {
	for _, row := range []struct {
		name    string
		tls     bool
		stage   func(f *fake)
		verdict Verdict
		id      fault.ID
		saw, do string
	}{
		{"in clear text", false, nil, Skipped, "", "no password is known for alice: 331", "--ask-password"},
		{"over TLS", true, nil, Skipped, "", "no password is known for alice: 331", "--ask-password"},
		{"a server that takes several commands at once", true, func(f *fake) { f.greeting = "220 (vsFTPd 3.0.5)" }, Skipped, "", "no password is known", "--ask-password"},
		{"none is needed", true, func(f *fake) { f.at = says("USER", "230 in") }, OK, "", "as alice", ""},
		{"TLS first", true, func(f *fake) { f.at = inClear("USER", "530 no") }, Fail, fault.IDTLSRequired, "530", "ftp+tls://"},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := newFake(t)
			if row.tls {
				f.cert = issue(t, nil, nil)
			}
			if row.stage != nil {
				row.stage(f)
			}
			o := f.options()
			if row.id == fault.IDTLSRequired {
				o.Remote.FTP.Plain, o.Remote.FTP.TLS = true, remote.TLSOff
			}
			o.URL.HasPassword, o.URL.Password = false, account.Secret{}
			found := wants(t, f.examine(t.Context(), o), "login", row.verdict, row.id, row.saw)
			if row.do != "" {
				does(t, found, row.do)
			}
			f.mu.Lock()
			defer f.mu.Unlock()
			if slices.ContainsFunc(f.heard, func(s string) bool { return strings.HasPrefix(s, "PASS") }) {
				t.Errorf("a password was sent: %q", f.heard)
			}
		})
	}
}

// A data connection that came from another address may come in active mode, or over SFTP.
func TestOtherWaysOfABadPeer(t *testing.T) {
	p := &patient{u: remote.URL{Scheme: remote.FTP, Host: "h"}, doors: map[int]door{22: {state: open, speaks: speaksSSH}, 990: {state: open, speaks: speaksTLS}}}
	findings := []Finding{{Check: "listing", Verdict: Fail, ID: fault.IDDataPeer}, {Check: "active", Verdict: OK}}
	p.suggest(findings)
	does(t, findings[0], "--active")
	does(t, findings[0], "sftp://h")
	if strings.Contains(fmt.Sprint(findings[0].Do), "ftps://") {
		t.Errorf("over FTPS it would come from there too: %v", findings[0].Do)
	}
}

// A server that ends quiet connections is told from something that forgets them.
func TestIdle(t *testing.T) {
	idle := short
	idle.idle = 600 * time.Millisecond
	for _, row := range []struct {
		name    string
		tls     bool
		closes  func(c *talk)
		verdict Verdict
		saw, do string
		never   string
	}{
		{"it is there", true, nil, OK, "still there", "", ""},
		{"the server closes", false, func(c *talk) { c.hangUp() }, Warn, "the server has closed", "idle_session_timeout", "conntrack"},
		{"the server closes, over TLS", true, func(c *talk) { _ = c.nc.Close(); c.hangUp() }, Warn, "the server has closed", "idle_session_timeout", "conntrack"},
		{"the server resets", false, func(c *talk) {
			_ = c.raw.(*net.TCPConn).SetLinger(0)
			c.hangUp()
		}, Warn, "the server has closed", "idle_session_timeout", "conntrack"},
		{"the server says so", true, func(c *talk) { c.say("421 Timeout."); c.hangUp() }, Warn, "421 Timeout.", "idle_session_timeout", "conntrack"},
		{"nothing is answered", true, func(c *talk) { c.silent() }, Warn, "nothing is answered", "conntrack", "idle_session_timeout"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			if row.tls {
				f.cert = issue(t, nil, nil)
			}
			f.idled = row.closes
			o := f.options()
			o.Deep, o.times = true, &idle
			found := findingOf(t, f.examine(t.Context(), o), "idle")
			if found.Verdict != row.verdict || !strings.Contains(found.Saw, row.saw) {
				t.Errorf("idle: %v %q; want %v %q", found.Verdict, found.Saw, row.verdict, row.saw)
			}
			if row.do != "" {
				does(t, found, row.do)
			}
			if row.never != "" && strings.Contains(fmt.Sprint(found.Do), row.never) {
				t.Errorf("idle: %v", found.Do)
			}
		})
	}
}

// Over SSH too.
func TestSSHIdle(t *testing.T) {
	idle := short
	idle.idle = 300 * time.Millisecond
	for _, row := range []struct {
		name    string
		at      func(nc net.Conn)
		verdict Verdict
		saw, do string
	}{
		{"it is there", nil, OK, "still there", ""},
		{"the server closes", func(nc net.Conn) { _ = nc.Close() }, Warn, "the server has closed", "ClientAliveInterval"},
		{"nothing is answered", func(nc net.Conn) { nc.(*muted).mute.Store(true) }, Warn, "nothing is answered", "conntrack"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			s := newSSHFake(t)
			s.known(s.key.PublicKey())
			if row.at != nil {
				s.wrap = func(nc net.Conn) net.Conn { return &muted{Conn: nc} }
				s.says = func(q *sftp.Request) []byte {
					if q.Type == sftp.TypeClose { // of the last file
						time.AfterFunc(150*time.Millisecond, func() { row.at(s.last()) })
					}
					return nil
				}
			}
			o := s.options()
			o.Deep, o.times = true, &idle
			f := findingOf(t, s.examine(t.Context(), o), "idle")
			if f.Verdict != row.verdict || !strings.Contains(f.Saw, row.saw) {
				t.Errorf("idle: %v %q; want %v %q", f.Verdict, f.Saw, row.verdict, row.saw)
			}
			if row.do != "" {
				does(t, f, row.do)
			}
		})
	}
}

// A muted connection is one whose packets are lost on the way from the server.
type muted struct {
	net.Conn
	mute atomic.Bool
}

func (m *muted) Write(b []byte) (int, error) {
	if m.mute.Load() {
		return len(b), nil
	}
	return m.Conn.Write(b)
}

// What a server does that ends right behind the login, or runs something else than SFTP.
func TestNoSFTPBehindTheLogin(t *testing.T) {
	exits := func(status uint32, out, errs string) func(s *sshFake) {
		return func(s *sshFake) {
			s.program = func(ch ssh.Channel) {
				_, _ = io.WriteString(ch, out)
				_, _ = io.WriteString(ch.Stderr(), errs)
				_, _ = ch.SendRequest("exit-status", false, ssh.Marshal(struct{ N uint32 }{status}))
				_ = ch.Close()
			}
		}
	}
	for _, row := range []struct {
		name  string
		stage func(s *sshFake)
		id    fault.ID
		saw   string
	}{
		{"a chroot with the wrong owner", func(s *sshFake) {
			s.at = func(nc net.Conn, step string) bool {
				if step == "subsystem" {
					_ = nc.Close()
				}
				return step == "subsystem"
			}
		}, fault.IDChrootOwner, "right behind it"},
		{"ForceCommand /bin/false", exits(1, "", ""), fault.IDNoSFTP, "with status 1"},
		{"a program that is missing", exits(127, "", "sh: sftp-server: not found\n"), fault.IDNoSFTP, "not found"},
		{"nologin", exits(1, "This account is currently not available.\n", ""), fault.IDNoSFTP, "currently not available"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			s := newSSHFake(t)
			s.known(s.key.PublicKey())
			row.stage(s)
			r := s.examine(t.Context(), s.options())
			wants(t, r, "login", OK, "", "as alice")
			wants(t, r, "sftp", Fail, row.id, row.saw)
		})
	}
}

// Greetings that come late, or with which it ends.
func TestLateGreetings(t *testing.T) {
	hasty := short
	hasty.greeting, hasty.answer, hasty.all = 3*time.Second, 3*time.Second, 3500*time.Millisecond
	f := newFake(t)
	f.at = func(c *talk, verb, _ string) bool {
		switch verb {
		case "greeting":
			c.wait(time.Second)
		case "FEAT":
			c.silent()
		}
		return false
	}
	o := f.options()
	o.times = &hasty
	does(t, wants(t, f.examine(t.Context(), o), "control", Fail, fault.IDNoAnswer, "and then nothing for"), "--deep")

	f = newFake(t) // it greets in time, and the login is never answered
	f.at = func(c *talk, verb, _ string) bool {
		switch verb {
		case "greeting":
			c.wait(time.Second)
		case "USER":
			c.silent()
		}
		return false
	}
	o = f.options()
	o.times = &hasty
	r := f.examine(t.Context(), o)
	wants(t, r, "login", Fail, fault.IDNoAnswer, "the login was not answered for 2 s")
	if ms, _ := findingOf(t, r, "control").Facts["greeting_ms"].(int64); ms < 1000 {
		t.Errorf("the greeting came after %d ms; want a second", ms)
	}

	f = newFake(t) // it never speaks
	f.at = silentAt("greeting")
	found := wants(t, f.examine(t.Context(), f.options()), "control", Fail, fault.IDNoAnswer, "no greeting of FTP")
	does(t, found, "--deep")
	if strings.Contains(found.Means, "a command was sent") {
		t.Errorf("no command was sent: %s", found.Means)
	}

	s := newSSHFake(t) // SSH may take as long as FTP
	s.known(s.key.PublicKey())
	s.at = func(_ net.Conn, step string) bool {
		if step == "accept" {
			time.Sleep(1500 * time.Millisecond)
		}
		return false
	}
	patient := short
	patient.greeting = 3 * time.Second
	o = s.options()
	o.times = &patient
	r = s.examine(t.Context(), o)
	wants(t, r, "login", OK, "", "as alice")
	if ms, _ := findingOf(t, r, "control").Facts["greeting_ms"].(int64); ms < 1500 {
		t.Errorf("the version came after %d ms; want a second and a half", ms)
	}

	s = newSSHFake(t)
	s.at = func(nc net.Conn, step string) bool {
		if step == "accept" {
			time.Sleep(time.Second)
			_, _ = io.WriteString(nc, "SSH-2.0-slow\r\n")
			_, _ = io.Copy(io.Discard, nc)
		}
		return true
	}
	o = s.options()
	hasty.connect = 5 * time.Second
	o.times = &hasty
	wants(t, s.examine(t.Context(), o), "control", Fail, fault.IDNoAnswer, "and then nothing for 2 s: SSH-2.0-slow")
}

// What PASV tells wrongly, with and without EPSV beside it.
func TestWrongAddress(t *testing.T) {
	for _, row := range []struct {
		told        string
		epsv        bool
		means, lack string
	}{
		{"0.0.0.0", true, "is none", "router"},
		{"0.0.0.0", false, "this server refuses EPSV", "use EPSV"},
		{"10.0.0.7", true, "behind the server's router", "refuses EPSV"},
		{"10.0.0.7", false, "this server refuses EPSV", "use EPSV"},
		{"127.0.0.1", true, "each machine itself", "router"},
		{"203.0.113.9", true, "not where the server was reached", "router"},
	} {
		f := (&patient{}).wrongAddress(netip.MustParseAddr(row.told), row.epsv)
		text := strings.ToLower(f.Means + fmt.Sprint(f.Do))
		if !strings.Contains(text, strings.ToLower(row.means)) || strings.Contains(text, strings.ToLower(row.lack)) {
			t.Errorf("%s, EPSV %v: %s; want %q and not %q", row.told, row.epsv, text, row.means, row.lack)
		}
	}
}

// Ports that refuse and ports that stay silent are one firewall, which does not always
// say so.
func TestPartlyAnswered(t *testing.T) {
	timeout := &net.OpError{Op: "dial", Err: context.DeadlineExceeded}
	for _, row := range []struct {
		name  string
		tries []error
		list  error
		id    fault.ID
		saw   string
	}{
		{"all refused", []error{syscall.ECONNREFUSED, syscall.ECONNREFUSED}, nil, fault.IDUnpublished, "refuses"},
		{"some refused", []error{timeout, syscall.ECONNREFUSED, timeout}, nil, fault.IDUnpublished, "or a firewall rejects them"},
		{"the listing was refused", []error{timeout, timeout}, fault.New(fault.NoData, fault.IDUnpublished, "x"), fault.IDUnpublished, "refuses"},
		{"some rejected", []error{timeout, syscall.EHOSTUNREACH}, nil, fault.IDDataBlocked, "rejects"},
		{"none answered", []error{timeout, timeout}, nil, fault.IDDataBlocked, "dropped"},
	} {
		p := &patient{}
		p.listErr = row.list
		for i, err := range row.tries {
			p.ports = append(p.ports, try{uint16(30000 + i), time.Millisecond, err})
		}
		if f := p.spread(netip.MustParseAddr("192.0.2.7")); f.ID != row.id || !strings.Contains(f.Saw, row.saw) {
			t.Errorf("%s: %q [%s]; want %q [%s]", row.name, f.Saw, f.ID, row.saw, row.id)
		}
	}
}

// What is said of a server that has nothing in common with us names the kind, and what
// the server offers of it.
func TestNothingInCommon(t *testing.T) {
	for _, row := range []struct {
		how  func(c *ssh.ServerConfig)
		saw  string
		do   string
		lack string
	}{
		{func(c *ssh.ServerConfig) { c.KeyExchanges = []string{"diffie-hellman-group1-sha1"} }, "no key exchange in common: the server offers diffie-hellman-group1-sha1", "KexAlgorithms", "Ciphers"},
		{func(c *ssh.ServerConfig) { c.Ciphers = []string{"3des-cbc"} }, "cipher in common: the server offers 3des-cbc", "Ciphers", "KexAlgorithms"},
	} {
		s := newSSHFake(t)
		s.known(s.key.PublicKey())
		row.how(&s.config)
		f := wants(t, s.examine(t.Context(), s.options()), "algorithms", Fail, fault.IDKexCipher, row.saw)
		does(t, f, row.do)
		if strings.Contains(fmt.Sprint(f.Do), row.lack) {
			t.Errorf("%s is about %s: %v", row.saw, row.lack, f.Do)
		}
	}
	s := newSSHFake(t) // at first contact the algorithms are agreed on already
	f := findingOf(t, s.examine(t.Context(), s.options()), "algorithms")
	if f.Verdict != OK || f.Saw == "" {
		t.Errorf("algorithms: %v %q", f.Verdict, f.Saw)
	}
}

// Ctrl-C while the password is asked for, and while ports are looked at, is no failure.
func TestInterruptedEarly(t *testing.T) {
	f := newFake(t)
	f.cert = issue(t, nil, nil)
	ctx, cancel := context.WithCancel(t.Context())
	o := f.options()
	o.URL.HasPassword = false
	o.Remote.Passwords = &remote.Passwords{Ask: func(ctx context.Context, _ remote.URL) (account.Secret, error) {
		cancel()
		return account.Secret{}, ctx.Err()
	}}
	wants(t, f.examine(ctx, o), "settings", Skipped, "", "interrupted")

	p := &patient{times: short, host: "127.0.0.1"}
	if d := p.knock(ctx, 22); d.String() != "interrupted" {
		t.Errorf("port 22: %s; want interrupted", d)
	}
}

// A certificate that nobody has checked is told as one; one for an address has its names.
func TestUncheckedCertificate(t *testing.T) {
	f := newFake(t)
	f.cert = issue(t, nil, nil)
	o := f.options()
	o.Remote.Trust = &remote.Trust{Mode: remote.TrustInsecure}
	found := wants(t, f.examine(t.Context(), o), "tls", Note, "", "nobody has checked it")
	if text := fmt.Sprint(found.Facts["certificate"]); !strings.Contains(text, "127.0.0.1") {
		t.Errorf("the names leave the address out: %s", text)
	}
}

// The server's words at a data connection without the session are kept, where the data
// connection breaks before they come.
func TestReuseWords(t *testing.T) {
	f := newFake(t)
	f.cert, f.resumes = issue(t, nil, nil), true
	f.at = func(c *talk, verb, _ string) bool {
		if verb != "MLSD" && verb != "LIST" || c.number == 1 || c.pasv == nil {
			return false
		}
		c.say("150 here it comes")
		d, err := c.pasv.Accept()
		if err != nil {
			c.hangUp()
		}
		s := tls.Server(d, c.tlsConfig())
		if s.Handshake() == nil && !s.ConnectionState().DidResume {
			_ = d.Close()
			c.say("522 SSL connection failed: session reuse required")
			c.hangUp()
		}
		_ = s.Close()
		return c.say("226 done")
	}
	wants(t, f.examine(t.Context(), f.options()), "reuse", Note, fault.IDTLSReuse, "522 SSL connection failed")
}

// A listing whose port a firewall rejects is not told as one that waited for nothing.
func TestRejectedListing(t *testing.T) {
	f := newFake(t)
	o := f.options()
	o.Remote.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if addr != f.addr {
			return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.EHOSTUNREACH}
		}
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}
	r := f.examine(t.Context(), o)
	wants(t, r, "listing", Fail, fault.IDDataBlocked, "a firewall rejects")
	wants(t, r, "passive", Fail, fault.IDDataBlocked, "a firewall rejects")
}
