package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"dray/fault"
	"dray/remote"
)

// says answers a step with lines.
func says(step string, lines ...string) func(*talk, string, string) bool {
	return func(c *talk, verb, _ string) bool {
		return verb == step && c.say(lines...)
	}
}

// begins is a server that speaks first, and something else.
func begins(text string) func(*talk, string, string) bool {
	return func(c *talk, verb, _ string) bool {
		if verb == "greeting" {
			_, _ = io.WriteString(c.nc, text)
			c.hangUp()
		}
		return false
	}
}

// silentAt says nothing from a step on.
func silentAt(step string) func(*talk, string, string) bool {
	return func(c *talk, verb, _ string) bool {
		if verb == step {
			c.silent()
		}
		return false
	}
}

// inClear refuses a step that comes without TLS.
func inClear(step string, lines ...string) func(*talk, string, string) bool {
	return func(c *talk, verb, _ string) bool {
		return verb == step && c.clear() && c.say(lines...)
	}
}

// One fault each: the check that finds it, and what it says.
func TestFTPFaults(t *testing.T) {
	plain := func(o *Options) { o.Remote.FTP.Plain, o.Remote.FTP.TLS = true, remote.TLSOff }
	anonymous := func(o *Options) { o.URL.User, o.URL.HasPassword = "", false }
	write := func(o *Options) { o.Write = true }
	for _, row := range []struct {
		name  string
		tls   bool // the server has it
		at    func(c *talk, verb, arg string) bool
		stage func(f *fake)
		how   func(o *Options)

		check   string
		verdict Verdict
		id      fault.ID
		saw     string
		do      string // in a step
		all     Verdict
	}{
		{name: "all is well in clear text", check: "login", verdict: OK, saw: "as alice: 230 in", all: Note},
		{name: "all is well over TLS", tls: true, check: "tls", verdict: OK, saw: "TLS 1.3", all: OK},
		{name: "all is well over implicit TLS", tls: true, stage: func(f *fake) { f.implicit = true }, check: "tls", verdict: OK, saw: "TLS from the first byte", all: OK},

		{name: "nobody listens", stage: func(f *fake) { f.addr = closedPort(f.t) }, check: "control", verdict: Fail, id: fault.IDRefused, all: Fail},
		{name: "SSH is there", at: begins("SSH-2.0-OpenSSH_9.9\r\n"), check: "control", verdict: Fail, id: fault.IDWrongProto, saw: "speaks SSH", do: "sftp://alice@", all: Fail},
		{name: "a web server is there", at: begins("HTTP/1.1 400 Bad Request\r\n\r\n"), check: "control", verdict: Fail, id: fault.IDWrongProto, saw: "HTTP", all: Fail},
		{name: "nobody speaks", at: silentAt("greeting"), check: "control", verdict: Fail, id: fault.IDNoAnswer, all: Fail},
		{name: "TLS is waited for", tls: true, stage: func(f *fake) { f.implicit = true }, how: func(o *Options) { o.URL.Scheme = remote.FTP }, check: "control", verdict: Fail, id: fault.IDImplicitTLS, do: "ftps://alice@", all: Fail},
		{name: "the port of implicit TLS speaks first", tls: true, how: func(o *Options) { o.URL.Scheme = remote.FTPS }, check: "control", verdict: Fail, id: fault.IDWrongProto, do: "ftp://alice@", all: Fail},
		{name: "the server is full", at: says("greeting", "421 Too many users, sorry."), check: "control", verdict: Fail, id: fault.IDBusy, saw: "421 Too many users", all: Fail},
		{name: "it hangs up at once", at: begins(""), check: "control", verdict: Fail, id: fault.IDLost, saw: "the connection before it says anything", do: "fail2ban", all: Fail},
		{name: "it resets at once", at: func(c *talk, verb, _ string) bool {
			if verb == "accept" {
				_ = c.raw.(*net.TCPConn).SetLinger(0)
				c.hangUp()
			}
			return false
		}, check: "control", verdict: Fail, id: fault.IDLost, saw: "accepts and resets the connection", all: Fail},
		{name: "SMTP is there", at: begins("220 mail.example.net ESMTP Postfix\r\n"), check: "control", verdict: Fail, id: fault.IDWrongProto, saw: "speaks SMTP", all: Fail},

		{name: "no TLS and no leave for clear text", how: func(o *Options) { o.Remote.FTP.Plain, o.Remote.FTP.TLS = false, remote.TLSByScheme }, check: "tls", verdict: Fail, id: fault.IDTLSMissing, do: "ftp+plain://", all: Fail},
		{name: "nothing follows the 234", tls: true, at: func(c *talk, verb, _ string) bool {
			if verb == "AUTH" {
				c.say("234 go")
				c.silent()
			}
			return false
		}, check: "tls", verdict: Fail, id: fault.IDNoAnswer, all: Fail},
		{name: "TLS 1.0 alone", tls: true, stage: func(f *fake) { f.tlsConfig().MinVersion, f.tls.MaxVersion = tls.VersionTLS10, tls.VersionTLS10 }, check: "tls", verdict: Fail, id: fault.IDTLSVersion, saw: "TLS 1.0 and nothing newer", do: "--tls-min 1.0", all: Fail},
		{name: "in clear text as asked for", tls: true, how: plain, check: "tls", verdict: Note, saw: "in clear text", all: Note},

		{name: "the password is wrong", at: says("PASS", "530 Login incorrect."), check: "login", verdict: Fail, id: fault.IDAuth, saw: "530 Login incorrect.", all: Fail},
		{name: "the password is wrong over TLS", tls: true, at: says("PASS", "530 Login incorrect."), check: "login", verdict: Fail, id: fault.IDAuth, all: Fail},
		{name: "no user, and anonymous is refused", at: says("PASS", "530 Login incorrect."), how: anonymous, check: "login", verdict: Skipped, saw: "no user was given", do: "ftp://USER@", all: Note},
		{name: "no user, and anonymous is disabled", at: says("USER", "530 Anonymous access is disabled."), how: anonymous, check: "login", verdict: Skipped, saw: "no user was given", do: "ftp://USER@", all: Note},
		{name: "the login is never answered", at: silentAt("PASS"), check: "login", verdict: Fail, id: fault.IDNoAnswer, all: Fail},

		{name: "every data port refuses", at: func(c *talk, verb, _ string) bool {
			return verb == "EPSV" && c.say(fmt.Sprintf("229 ok (|||%d|)", c.deaf())) || verb == "PASV" && pasv(c, "127,0,0,1", c.deaf())
		}, check: "passive", verdict: Fail, id: fault.IDUnpublished, saw: "refuses its own data ports", all: Fail},
		{name: "half of the data ports refuse", at: func(c *talk, verb, _ string) bool {
			return verb == "EPSV" && turns.Add(1)%2 == 0 && c.say(fmt.Sprintf("229 ok (|||%d|)", c.deaf()))
		}, check: "passive", verdict: Fail, id: fault.IDRangePartly, saw: "data ports of 127.0.0.1 answer", all: Fail},
		{name: "EPSV is refused", stage: func(f *fake) { f.noEPSV, f.feat = true, []string{"PASV", "SIZE"} }, check: "pasv", verdict: Note, saw: "EPSV is refused", all: Note},
		{name: "EPSV is named and refused", stage: func(f *fake) { f.noEPSV = true }, check: "pasv", verdict: Warn, id: fault.IDEpsvLie, all: Warn},
		{name: "PASV is refused", at: says("PASV", "502 no"), check: "pasv", verdict: Warn, id: fault.IDEpsvOnly, all: Warn},
		{name: "both are refused", at: func(c *talk, verb, _ string) bool { return (verb == "EPSV" || verb == "PASV") && c.say("502 no") }, check: "passive", verdict: Fail, id: fault.IDNoDataPort, all: Fail},
		{name: "PASV tells 0.0.0.0", at: func(c *talk, verb, _ string) bool { return verb == "PASV" && pasv(c, "0,0,0,0", c.listen()) }, check: "pasv", verdict: Warn, id: fault.IDPasvAddress, saw: "0.0.0.0", all: Warn},
		{name: "PASV tells another address where nobody is", at: func(c *talk, verb, _ string) bool { return verb == "PASV" && pasv(c, "127,0,0,9", c.deaf()) }, check: "pasv", verdict: Warn, id: fault.IDPasvAddress, saw: "127.0.0.9", all: Warn},
		{name: "the pool is exhausted", at: func(c *talk, verb, _ string) bool {
			return (verb == "EPSV" || verb == "PASV") && c.say("425 No free port in the passive range: no data ports")
		}, check: "passive", verdict: Fail, id: fault.IDPool, all: Fail},

		{name: "the session has to be resumed", tls: true, stage: func(f *fake) { f.resumes = true }, check: "reuse", verdict: Note, id: fault.IDTLSReuse, saw: "522", all: Note},
		{name: "the session need not be resumed", tls: true, check: "reuse", verdict: OK, all: OK},
		{name: "the directory may not be listed", at: func(c *talk, verb, _ string) bool {
			return (verb == "MLSD" || verb == "LIST") && c.say("550 Permission denied.")
		}, check: "listing", verdict: Fail, id: fault.IDPerm, all: Fail},

		{name: "a download stands still", at: func(c *talk, verb, arg string) bool {
			if verb != "RETR" || !strings.HasSuffix(arg, "b.bin") {
				return false
			}
			c.say("150 here it comes")
			d := c.accept()
			_, _ = io.WriteString(d, "0123456789")
			c.silent()
			return true
		}, check: "download", verdict: Fail, id: fault.IDStall, saw: "after 10 bytes", do: "--deep", all: Fail},

		{name: "an upload is well", how: write, check: "upload", verdict: OK, saw: "compared and removed", all: Note},
		{name: "an upload is well over TLS", tls: true, how: write, check: "upload", verdict: OK, saw: "with TLS 1.2", all: OK},
		{name: "uploads are refused", at: says("STOR", "550 Permission denied."), how: write, check: "upload", verdict: Fail, id: fault.IDPerm, all: Fail},
		{name: "the quota is full", tls: true, at: says("STOR", "552 Quota exceeded."), how: write, check: "upload", verdict: Fail, id: fault.IDQuota, all: Fail},
		{name: "the disk is full", at: func(c *talk, verb, arg string) bool {
			return verb == "stored" && c.say("452 No space left on the server.")
		}, how: write, check: "upload", verdict: Fail, id: fault.IDNoSpace, all: Fail},
		{name: "an upload arrives short", at: func(c *talk, verb, arg string) bool {
			if verb == "stored" {
				c.put(arg, "short")
			}
			return false
		}, how: write, check: "upload", verdict: Fail, id: fault.IDShortFile, all: Fail},
		{name: "an upload arrives altered", at: func(c *talk, verb, arg string) bool {
			if verb == "stored" {
				s, _ := c.file(arg)
				c.put(arg, "x"+s[1:])
			}
			return false
		}, how: write, check: "upload", verdict: Fail, id: fault.IDVerify, all: Fail},
		{name: "an upload is cut", at: func(c *talk, verb, arg string) bool {
			if verb == "stored" {
				c.hangUp()
			}
			return false
		}, how: write, check: "upload", verdict: Fail, id: fault.IDLost, all: Fail},
		{name: "an upload is never confirmed", at: silentAt("stored"), how: write, check: "upload", verdict: Fail, id: fault.IDNoAnswer, all: Fail},
		{name: "uploads over TLS 1.3 fail", tls: true, at: func(c *talk, verb, arg string) bool {
			if s, ok := c.nc.(*tls.Conn); ok && verb == "stored" && s.ConnectionState().Version == tls.VersionTLS13 {
				c.put(arg, "")
				return c.say("426 Failure reading network stream.")
			}
			return false
		}, how: write, check: "upload", verdict: Fail, id: fault.IDTLS13Loss, do: "--tls-max 1.2", all: Fail},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			if row.tls {
				f.cert = issue(t, nil, nil)
			}
			f.at = row.at
			if row.stage != nil {
				row.stage(f)
			}
			o := f.options()
			if row.how != nil {
				row.how(&o)
			}
			r := f.examine(t.Context(), o)
			found := wants(t, r, row.check, row.verdict, row.id, row.saw)
			if row.do != "" {
				does(t, found, row.do)
			}
			if r.Verdict() != row.all {
				t.Errorf("all in all %v; want %v\n%s", r.Verdict(), row.all, asText(r))
			}
			if left := f.left(); len(left) > 0 {
				t.Errorf("%q is left", left)
			}
		})
	}
}

// turns counts for servers that do something every other time.
var turns atomic.Int32

func pasv(c *talk, address string, port int) bool {
	return c.say(fmt.Sprintf("227 ok (%s,%d,%d)", address, port>>8, port&0xff))
}

// closedPort is an address at which nobody listens.
func closedPort(t testing.TB) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// What servers say that take a login over TLS alone, with and without words about it.
func TestTLSIsRequired(t *testing.T) {
	for _, row := range []struct{ step, reply string }{
		{"USER", "421 Cleartext sessions are not accepted on this server."},
		{"USER", "503 Login with USER first."},
		{"USER", "503 Use AUTH first."},
		{"USER", "521 Data connection cannot be opened with this PROT setting"},
		{"USER", "522 no"},
		{"USER", "530 Non-anonymous sessions must use encryption."},
		{"USER", "530 Please login with USER and PASS."},
		{"PASS", "530 Login incorrect."},
		{"USER", "534 Policy requires SSL."},
		{"USER", "534 no"},
		{"USER", "550 SSL/TLS required on the control channel"},
		{"USER", "550 no"},
	} {
		t.Run(row.reply, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			f.cert = issue(t, nil, nil)
			f.at = inClear(row.step, row.reply)
			o := f.options()
			o.Remote.FTP.Plain, o.Remote.FTP.TLS = true, remote.TLSOff
			r := f.examine(t.Context(), o)
			does(t, wants(t, r, "login", Fail, fault.IDTLSRequired, row.reply[:3]), "dray doctor ftp+tls://alice@")
			if sent := strings.Contains(f.inClear, marker); sent != (row.step == "PASS") {
				t.Errorf("in clear text came\n%s", f.inClear)
			}
		})
	}
}

// What is wrong with a certificate, and what to do.
func TestCertificates(t *testing.T) {
	ca := authority(t)
	file := ca.file(t)
	day := 24 * time.Hour
	for _, row := range []struct {
		name    string
		by      *testCertificate
		how     func(c *x509.Certificate)
		verdict Verdict
		id      fault.ID
	}{
		{"good", ca, nil, OK, ""},
		{"self-signed", nil, nil, Fail, fault.IDSelfSigned},
		{"of an authority that nobody knows", authority(t), nil, Fail, fault.IDUnknownCA},
		{"expired", ca, func(c *x509.Certificate) { c.NotBefore, c.NotAfter = time.Now().Add(-90*day), time.Now().Add(-2*day) }, Fail, fault.IDExpired},
		{"not valid yet", ca, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(day) }, Fail, fault.IDExpired},
		{"of another name", ca, func(c *x509.Certificate) { c.IPAddresses = nil }, Fail, fault.IDCertName},
		{"without the intermediate", authority(t), func(c *x509.Certificate) { c.IssuingCertificateURL = []string{"http://ca.example.net/ca.crt"} }, Fail, fault.IDIncomplete},
		{"about to expire", ca, func(c *x509.Certificate) { c.NotBefore, c.NotAfter = time.Now().Add(-80*day), time.Now().Add(5*day) }, Warn, fault.IDExpired},
		{"of six days, and new", ca, func(c *x509.Certificate) { c.NotBefore, c.NotAfter = time.Now().Add(-day), time.Now().Add(5*day) }, OK, ""},
	} {
		for _, implicit := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, implicit %v", row.name, implicit), func(t *testing.T) {
				t.Parallel()
				f := newFake(t)
				f.cert, f.implicit = issue(t, row.by, row.how), implicit
				o := f.options()
				o.Remote.Trust = &remote.Trust{CAFile: file}
				r := f.examine(t.Context(), o)
				found := wants(t, r, "tls", row.verdict, row.id, "")
				if row.verdict != Fail {
					return
				}
				if found.Facts["certificate"] == nil {
					t.Errorf("the certificate is not among the facts: %v", found.Facts)
				}
				does(t, found, "dray trust "+trustName(f.addr)+" SHA256:")
				if slices.ContainsFunc(f.heard, func(s string) bool { return strings.HasPrefix(s, "USER") || strings.HasPrefix(s, "PASS") }) {
					t.Errorf("somebody logged in: %q", f.heard)
				}
			})
		}
	}
}

func trustName(addr string) string { return addr }

// Whatever a server does, no password is in clear text where nobody allowed it, and
// with leave only where the server has asked for it.
func TestNoPasswordInClearText(t *testing.T) {
	greetings := []string{"220 ready", "220 (vsFTPd 3.0.5)", "220 ProFTPD Server", "220 Welcome to Pure-FTPd", "220 dray", "421 busy", "530 no", "SSH-2.0-x"}
	auths := map[string]func(*talk, string, string) bool{
		"no AUTH":           says("AUTH", "502 no"),
		"AUTH denied":       says("AUTH", "534 no"),
		"AUTH 200":          says("AUTH", "200 ok"),
		"AUTH 334":          says("AUTH", "334 more"),
		"handshake":         func(c *talk, verb, _ string) bool { return verb == "AUTH" && c.say("234 go", "220 not TLS") },
		"hang up":           func(c *talk, verb, _ string) bool { return verb == "AUTH" && func() bool { c.hangUp(); return true }() },
		"AUTH and 331":      says("AUTH", "502 no", "331 password?"),
		"FEAT and then 331": says("FEAT", "211 none", "331 password?"),
		"USER refused": func(c *talk, verb, _ string) bool {
			return verb == "AUTH" && c.say("502 no") || verb == "USER" && c.say("530 no")
		},
		"USER closed": func(c *talk, verb, _ string) bool {
			return verb == "AUTH" && c.say("502 no") || verb == "USER" && c.say("421 bye")
		},
		"TLS": nil,
	}
	for _, greeting := range greetings {
		for name, at := range auths {
			for _, leave := range []string{"none", "plain", "off"} {
				t.Run(greeting+", "+name+", "+leave, func(t *testing.T) {
					t.Parallel()
					f := newFake(t)
					f.cert, f.greeting, f.at = issue(t, nil, nil), greeting, at
					o := f.options()
					o.Write = true
					o.Remote.FTP.Plain = leave != "none"
					if leave == "off" {
						o.Remote.FTP.TLS = remote.TLSOff
					}
					f.examine(t.Context(), o)
					f.mu.Lock()
					defer f.mu.Unlock()
					if !strings.Contains(f.inClear, marker) {
						return
					}
					if leave == "none" || !strings.HasPrefix(greeting, "220") || strings.HasPrefix(name, "USER") {
						t.Errorf("in clear text came\n%s", f.inClear)
					}
				})
			}
		}
	}
}

// A context that ends in the middle of an upload leaves nothing on the server.
func TestInterruptedUpload(t *testing.T) {
	for _, secure := range []bool{false, true} {
		for _, step := range []string{"STOR", "stored", "SIZE", "RETR", "DELE"} {
			t.Run(fmt.Sprintf("%s, TLS %v", step, secure), func(t *testing.T) {
				t.Parallel()
				f := newFake(t)
				ctx, cancel := context.WithCancel(t.Context())
				f.at = func(c *talk, verb, arg string) bool {
					if verb == step && strings.Contains(arg, "dray-doctor-") {
						cancel()
						c.wait(50 * time.Millisecond)
					}
					return false
				}
				if secure {
					f.cert = issue(t, nil, nil)
				}
				o := f.options()
				o.Write = true
				r := f.examine(ctx, o)
				if left := f.left(); len(left) > 0 {
					t.Errorf("%q is left", left)
				}
				if v := r.Verdict(); v == Fail {
					t.Errorf("what was interrupted is told as a failure:\n%s", asText(r))
				}
			})
		}
	}
}

// Where the file can't be removed somebody is told of it.
func TestProbeThatStays(t *testing.T) {
	for _, secure := range []bool{false, true} {
		f := newFake(t)
		f.at = says("DELE", "550 Permission denied.")
		if secure {
			f.cert = issue(t, nil, nil)
		}
		o := f.options()
		o.Write = true
		r := f.examine(t.Context(), o)
		found := wants(t, r, "upload", Warn, fault.IDPerm, strings.TrimPrefix(f.ever[0], "/"))
		does(t, found, "dray rm ftp://alice@"+f.addr+f.ever[0])
	}
}

// An account that may upload and see nothing is no failure of uploads.
func TestBlindUpload(t *testing.T) {
	f := newFake(t)
	f.at = func(c *talk, verb, arg string) bool {
		return (verb == "SIZE" || verb == "RETR" || verb == "MLST") && strings.Contains(arg, "dray-doctor") && c.say("550 Permission denied.")
	}
	o := f.options()
	o.Write = true
	wants(t, f.examine(t.Context(), o), "upload", OK, "", "not compared")
	if left := f.left(); len(left) > 0 {
		t.Errorf("%q is left", left)
	}
}

// A server can't have its clients knock at whom it likes.
func TestNoKnock(t *testing.T) {
	for _, row := range []struct{ told, reached, why string }{
		{"203.0.113.7:30000", "203.0.113.9", ""},
		{"203.0.113.7:30000", "192.168.1.2", ""},
		{"203.0.113.7:30000", "127.0.0.1", ""},
		{"192.168.1.3:30000", "192.168.1.2", ""},
		{"10.0.0.3:30000", "127.0.0.1", ""},
		{"127.0.0.2:30000", "127.0.0.1", ""},
		{"192.168.1.3:30000", "203.0.113.9", "network behind it"},
		{"100.64.0.3:30000", "203.0.113.9", "network behind it"},
		{"127.0.0.1:30000", "192.168.1.2", "itself"},
		{"0.0.0.0:30000", "127.0.0.1", "no address"},
		{"169.254.169.254:30000", "127.0.0.1", "no address"},
		{"224.0.0.1:30000", "203.0.113.9", "no address"},
		{"255.255.255.255:30000", "203.0.113.9", "no address"},
		{"203.0.113.7:25", "203.0.113.9", "port 25"},
	} {
		if why := noKnock(netip.MustParseAddrPort(row.told), netip.MustParseAddr(row.reached)); (why == "") != (row.why == "") || !strings.Contains(why, row.why) {
			t.Errorf("noKnock(%s, %s) = %q; want %q", row.told, row.reached, why, row.why)
		}
	}
}

// Whom a server names for its data is connected to once at most, and hears nothing.
func TestThirdParty(t *testing.T) {
	var came, heard atomic.Int32
	l, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		if runtime.GOOS == "linux" {
			t.Fatal(err)
		}
		t.Skip("SKIPPED: 127.0.0.2 is no address of this machine; Linux has all of 127.0.0.0/8")
	}
	defer func() { _ = l.Close() }()
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			came.Add(1)
			n, _ := io.Copy(io.Discard, nc)
			heard.Add(int32(n))
			_ = nc.Close()
		}
	}()
	for _, refused := range []bool{false, true} {
		f := newFake(t)
		f.noEPSV = refused
		f.at = func(c *talk, verb, _ string) bool {
			return verb == "PASV" && pasv(c, "127,0,0,2", l.Addr().(*net.TCPAddr).Port)
		}
		o := f.options()
		o.Write = true
		f.examine(t.Context(), o)
		if n := came.Swap(0); n > 1 || heard.Load() != 0 {
			t.Errorf("EPSV refused %v: %d connections, which said %d bytes", refused, n, heard.Load())
		}
	}
}

// hurry is how much faster than in life slow servers are, and the times of the doctor.
const hurry = 5

// Servers that are slow, or let few connections in, have no fault.
func TestHealthyServers(t *testing.T) {
	limited := func(most int, reply string) func(f *fake) {
		return func(f *fake) {
			f.at = func(c *talk, verb, _ string) bool {
				if verb != "greeting" {
					return false
				}
				c.mu.Lock()
				open := c.open
				c.mu.Unlock()
				if open > most {
					c.say(reply)
					c.hangUp()
				}
				return false
			}
		}
	}
	hurried := times{connect: quick.connect / hurry, greeting: quick.greeting / hurry, answer: quick.answer / hurry, data: quick.data / hurry, ports: quick.ports / hurry, all: quick.all / hurry}
	for _, row := range []struct {
		name  string
		tls   bool
		stage func(f *fake)
		times *times // nil: short ones
		saw   map[string]string
	}{
		{name: "one connection", stage: limited(1, "421 Too many connections from your address.")},
		{name: "one connection, TLS", tls: true, stage: limited(1, "421 Too many connections from your address.")},
		{name: "two connections", stage: limited(2, "530 Sorry, the maximum number of clients (2) are already connected.")},
		{name: "one login at a time", stage: func(f *fake) {
			f.at = func(c *talk, verb, _ string) bool {
				return verb == "PASS" && c.number > 1 && c.say("530 Login incorrect.")
			}
		}},
		{name: "a ban after three connections", stage: func(f *fake) {
			f.at = func(c *talk, verb, _ string) bool {
				if verb == "accept" && c.number > 3 {
					c.hangUp()
				}
				return false
			}
		}},
		{name: "silence after three connections", stage: func(f *fake) {
			f.at = func(c *talk, verb, _ string) bool {
				if verb == "greeting" && c.number > 3 {
					c.silent()
				}
				return false
			}
		}},
		{name: "logins take two seconds", tls: true, times: &hurried, stage: func(f *fake) {
			f.at = func(c *talk, verb, _ string) bool {
				if verb == "PASS" {
					c.wait(2 * time.Second / hurry)
				}
				return false
			}
		}},
		{name: "every answer takes half a second", tls: true, times: &hurried, stage: func(f *fake) {
			f.at = func(c *talk, verb, _ string) bool { c.wait(500 * time.Millisecond / hurry); return false }
		}},
		{name: "no FEAT and no MLSD", stage: func(f *fake) {
			f.at = func(c *talk, verb, _ string) bool {
				return slices.Contains([]string{"FEAT", "MLSD", "MLST", "OPTS", "SIZE", "SYST"}, verb) && c.say("500 what?")
			}
		}},
		{name: "nothing is there", stage: func(f *fake) { f.files = map[string]string{} }},
		{name: "empty files alone", stage: func(f *fake) { f.files = map[string]string{"/empty": ""} }},
		{name: "many names", times: &unhurried, stage: func(f *fake) {
			for i := range 100_000 {
				f.files[fmt.Sprintf("/file-%06d", i)] = "x"
			}
		}, saw: map[string]string{"listing": "100002 names"}},
		{name: "QUIT is never answered", stage: func(f *fake) { f.at = silentAt("QUIT") }},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			if row.tls {
				f.cert = issue(t, nil, nil)
			}
			row.stage(f)
			o := f.options()
			if row.times != nil {
				o.times = row.times
			}
			o.Write = row.times != &hurried
			r := f.examine(t.Context(), o)
			if v := r.Verdict(); v > Note {
				t.Errorf("all in all %v\n%s", v, asText(r))
			}
			for name, saw := range row.saw {
				wants(t, r, name, OK, "", saw)
			}
			if left := f.left(); len(left) > 0 {
				t.Errorf("%q is left", left)
			}
		})
	}
}

// A URL of a file, and not of a directory.
func TestURLOfAFile(t *testing.T) {
	for _, secure := range []bool{false, true} {
		f := newFake(t)
		if secure {
			f.cert, f.resumes = issue(t, nil, nil), false
		}
		f.at = func(c *talk, verb, arg string) bool {
			return (verb == "MLSD" || verb == "LIST") && strings.HasSuffix(arg, "a.txt") && c.say("501 Not a directory")
		}
		o := f.options()
		o.URL.Path, o.URL.DirWanted = "/a.txt", false
		o.Write = true
		r := f.examine(t.Context(), o)
		wants(t, r, "download", OK, "", "of a.txt")
		wants(t, r, "active", OK, "", "")
		wants(t, r, "upload", OK, "", "")
		if secure {
			wants(t, r, "reuse", OK, "", "")
		}
		if strings.HasPrefix(f.ever[0], "/a.txt") {
			t.Errorf("%q was written", f.ever)
		}
	}
}

// Through a proxy there is the dialogue to look at, and no address of the server.
func TestProxied(t *testing.T) {
	f := newFake(t)
	f.cert = issue(t, nil, func(c *x509.Certificate) { c.DNSNames = []string{"only.the.proxy.example"} })
	o := f.options()
	var dialed atomic.Int32
	o.Remote.Proxied = true
	o.Remote.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		dialed.Add(1)
		_, port, _ := net.SplitHostPort(addr)
		return (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", port))
	}
	o.URL.Host = "only.the.proxy.example"
	o.Write = true
	r := f.examine(t.Context(), o)
	for _, name := range []string{"name", "control", "tls", "login", "listing", "download", "upload"} {
		wants(t, r, name, OK, "", "")
	}
	for _, name := range []string{"families", "both ends", "passive", "pasv", "active", "other ports"} {
		wants(t, r, name, Skipped, "", "proxy")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if int(dialed.Load()) != f.count+f.data {
		t.Errorf("%d connections went through the proxy; the server had %d and %d", dialed.Load(), f.count, f.data)
	}
}

// Without a scheme that protocol is looked at that somebody speaks.
func TestChoice(t *testing.T) {
	ftps, sshd := newFake(t), newSSHFake(t)
	sshd.known(sshd.key.PublicKey())
	closed := closedPort(t)
	for _, row := range []struct {
		name     string
		ftp, ssh string // who is at ports 21 and 22
		full     bool   // FTP lets one connection in, and notices late that it has ended
		check    string
		verdict  Verdict
		target   string
	}{
		{"both", ftps.addr, sshd.addr, false, "login", OK, "ftp://"},
		{"FTP alone", ftps.addr, closed, false, "login", OK, "ftp://"},
		{"FTP for one connection", ftps.addr, closed, true, "login", OK, "ftp://"},
		{"SSH alone", closed, sshd.addr, false, "login", OK, "sftp://"},
		{"neither", closed, closed, false, "control", Fail, "ftp://"},
	} {
		ftps.at = nil
		if row.full {
			first := ftps.count + 1
			ftps.at = func(c *talk, verb, _ string) bool {
				if verb == "greeting" && c.number == first+1 {
					c.say("421 Too many connections from your address.")
					c.hangUp()
				}
				return false
			}
		}
		o := sshd.options()
		plain := ftps.options()
		o.Remote.Trust, o.Remote.FTP, o.Remote.Network = plain.Remote.Trust, plain.Remote.FTP, "tcp4"
		o.Open, o.URL.Scheme, o.URL.Port = true, remote.FTP, 0
		o.Remote.SSH.Insecure = true
		o.Remote.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			switch _, port, _ := net.SplitHostPort(addr); port {
			case "21":
				addr = row.ftp
			case "22":
				addr = row.ssh
			case "990":
				addr = closed
			}
			return (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		}
		t.Run(row.name, func(t *testing.T) {
			r := ftps.examine(t.Context(), o)
			wants(t, r, row.check, row.verdict, findingOf(t, r, row.check).ID, "")
			if !strings.HasPrefix(r.Target, row.target) || r.User != "alice" {
				t.Errorf("the target is %s for %s; want %s…", r.Target, r.User, row.target)
			}
		})
	}
}

// A password needs leave to go in clear text: without it nobody is connected to.
func TestTLSOffNeedsLeave(t *testing.T) {
	f := newFake(t)
	o := f.options()
	o.Remote.FTP.Plain = false
	r := f.examine(t.Context(), o)
	found := wants(t, r, "control", Fail, fault.IDTLSMissing, "only --plain allows")
	does(t, found, "--plain")
	if !strings.Contains(found.Do[0].Text, "leave --tls off away") {
		t.Errorf("the first step is %v; want to ask for TLS", found.Do[0])
	}
	if f.count != 0 {
		t.Errorf("%d connections were made", f.count)
	}
}
