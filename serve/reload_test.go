package serve

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"dray/account"
	"dray/config"
)

// pairOf is a new certificate for names, with its key, in one PEM file.
func pairOf(t *testing.T, names ...string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return pairFor(t, key, key.Public(), names...)
}

func pairFor(t *testing.T, key, public any, names ...string) string {
	t.Helper()
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: names[0]}, DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, public, key)
	if err != nil {
		t.Fatal(err)
	}
	priv, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "pair.pem")
	b := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: priv})...)
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func reload(t *testing.T, r *Running, c config.Config) {
	t.Helper()
	if err := r.Reload(Setup{Config: c}); err != nil {
		t.Fatalf("Reload() = %v", err)
	}
}

// subject is the common name of the certificate that a connection gets, and
// whether it resumed a session of the cache.
func subject(t *testing.T, addr string, cache tls.ClientSessionCache) (string, bool) {
	t.Helper()
	nc, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(10 * time.Second))
	conn := tls.Client(nc, &tls.Config{InsecureSkipVerify: true, ServerName: "ftp.example.net", ClientSessionCache: cache}) // the test looks
	if _, err := conn.Read(make([]byte, 100)); err != nil {                                                                 // the greeting, and the tickets in front of it
		t.Fatal(err)
	}
	cs := conn.ConnectionState()
	return cs.PeerCertificates[0].Subject.CommonName, cs.DidResume
}

// passivePort is where EPSV sends a client.
func (c *client) passivePort() uint16 {
	c.t.Helper()
	d := c.data()
	defer d.Close()
	return netip.MustParseAddrPort(d.RemoteAddr().String()).Port()
}

// Whoever logs in again for each file pays for one hash in five minutes, however
// often the configuration is read.
func TestAReloadForgetsNoPassword(t *testing.T) {
	c := site(t)
	add(t, c, account.Account{Name: "anna"})
	r, _, _ := run(t, Setup{Config: c})
	in(t, r, "anna")

	// Nobody has a turn for a hash now.
	free := make(chan struct{})
	var busy, ended sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		busy.Add(1)
		ended.Go(func() {
			_ = r.queue.Do(context.Background(), netip.IPv6Loopback(), func() { busy.Done(); <-free })
		})
	}
	defer ended.Wait()
	release := sync.OnceFunc(func() { close(free) })
	defer release()
	busy.Wait()

	next := c
	next.Anonymous.Directory, next.Anonymous.Plain = t.TempDir(), true
	reload(t, r, next)
	in(t, r, "anna")
	stranger(t, r)
	reload(t, r, c)
	in(t, r, "anna")

	release()
	ended.Wait()
	changed, err := account.NewHash(account.NewSecret("another"))
	if err != nil {
		t.Fatal(err)
	}
	if err := stored(t, c).Put(t.Context(), account.Account{Name: "anna", Hash: changed, Rights: account.Full}); err != nil {
		t.Fatal(err)
	}
	reload(t, r, next)
	k := dial(t, r.Card.FTPS[0]).under(r.Card)
	k.want("220")
	k.say("USER anna", "331")
	k.say("PASS "+password, "530")
	k.login("anna", "another")
}

func TestAReloadIsForNewConnections(t *testing.T) {
	c := site(t)
	add(t, c, account.Account{Name: "anna"})
	c.TLS.Certificates = []config.Certificate{{File: pairOf(t, "old.example.net")}}
	c.Listeners[0].Plain = true
	c.Passive = "20100-20199"
	c.Messages = config.Messages{Banner: "old banner", Welcome: "old, {user}", Goodbye: "old goodbye"}
	r, _, j := run(t, Setup{Config: c})

	greeted := dial(t, r.Card.FTP[0])
	greeted.want("220 old banner")
	busy := dial(t, r.Card.FTP[0])
	busy.want("220 old banner")
	busy.say("USER anna", "331")
	busy.say("PASS "+password, "230 old, anna")

	next := c
	next.Listeners = slices.Clone(c.Listeners)
	next.Listeners[0].Plain = false
	next.Listeners[1].Banner = "of its own"
	next.TLS.Certificates = []config.Certificate{{File: pairOf(t, "new.example.net")}}
	next.Messages = config.Messages{Banner: "new banner", Welcome: "new, {user}", Goodbye: "new goodbye"}
	next.Commands = config.Commands{Deny: []string{"NOOP"}}
	next.Passive = "20200-20299"
	reload(t, r, next)
	if !strings.Contains(j.String(), "configuration loaded") {
		t.Errorf("the log does not tell:\n%s", j)
	}

	greeted.say("USER anna", "331") // in clear text, as when it came
	greeted.say("PASS "+password, "230 old, anna")
	greeted.say("QUIT", "221 old goodbye")
	busy.say("NOOP", "200")
	if port := busy.passivePort(); port < 20100 || port > 20199 {
		t.Errorf("an old connection gets the passive port %d", port)
	}

	k := dial(t, r.Card.FTP[0])
	k.want("220 new banner")
	k.say("USER anna", "5")
	k.say("AUTH TLS", "234")
	conn := tls.Client(k.c, &tls.Config{InsecureSkipVerify: true}) // looked at below
	if err := conn.Handshake(); err != nil {
		t.Fatal(err)
	}
	if got := conn.ConnectionState().PeerCertificates[0].Subject.CommonName; got != "new.example.net" {
		t.Errorf("a new connection gets the certificate of %s", got)
	}
	k = use(t, conn)
	k.say("USER anna", "331")
	k.say("PASS "+password, "230 new, anna")
	k.say("NOOP", "502")
	if port := k.passivePort(); port < 20200 || port > 20299 {
		t.Errorf("a new connection gets the passive port %d", port)
	}
	k.say("QUIT", "221 new goodbye")
	own := tls.Client(dial(t, r.Card.FTPS[0]).c, &tls.Config{InsecureSkipVerify: true})
	use(t, own).want("220 of its own")
}

// A certificate is renewed in place: the same files, which SIGHUP reads again.
func TestAReloadReadsCertificatesAgain(t *testing.T) {
	c := site(t)
	file := pairOf(t, "first.example.net")
	c.TLS.Certificates = []config.Certificate{{File: file}}
	r, _, _ := run(t, Setup{Config: c})
	if got, _ := subject(t, r.Card.FTPS[0], nil); got != "first.example.net" {
		t.Fatalf("the certificate is that of %s", got)
	}
	if err := os.Rename(pairOf(t, "second.example.net"), file); err != nil {
		t.Fatal(err)
	}
	if got, _ := subject(t, r.Card.FTPS[0], nil); got != "first.example.net" {
		t.Errorf("before the reload the certificate is that of %s", got)
	}
	reload(t, r, c)
	if got, _ := subject(t, r.Card.FTPS[0], nil); got != "second.example.net" {
		t.Errorf("after the reload the certificate is that of %s", got)
	}
}

func answers(addr string) bool {
	c, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err == nil {
		_ = c.Close()
	}
	return err == nil
}

func addrsOf(r *Running) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []string
	for _, s := range r.serving {
		all = append(all, s.l.Addr().String())
	}
	return all
}

func TestListenersComeAndGo(t *testing.T) {
	c := site(t)
	add(t, c, account.Account{Name: "anna"})
	r, _, _ := run(t, Setup{Config: c})
	first := addrsOf(r)
	sockets := slices.Clone(r.serving)
	anna := in(t, r, "anna")

	more := c
	more.Listeners = append(slices.Clone(c.Listeners), config.Listener{
		Name: "printers", Protocol: "ftp", Listen: []string{"127.0.0.1:0", "127.0.0.1:0"}, Banner: "printers only",
	})
	reload(t, r, more)
	second := addrsOf(r)
	if len(second) != 4 || !slices.Equal(second[:2], first) || r.serving[0] != sockets[0] || r.serving[1] != sockets[1] {
		t.Fatalf("after adding two addresses to %v there are %v", first, second)
	}
	for _, at := range second[2:] {
		dial(t, at).want("220 printers only")
	}
	dial(t, first[0]).want("220 dray ready.")

	// Without implicit TLS: its session goes on all the same.
	fewer := more
	fewer.Listeners = []config.Listener{more.Listeners[0], more.Listeners[2]}
	reload(t, r, fewer)
	if answers(first[1]) {
		t.Errorf("%s answers though its listener is gone", first[1])
	}
	anna.say("NOOP", "200")
	for _, at := range append(second[2:], first[0]) {
		dial(t, at).want("220")
	}
}

// A connection that has come and was not accepted yet is not lost, and none that
// comes meanwhile is refused.
func TestAListenerThatStaysLosesNoConnection(t *testing.T) {
	c := site(t)
	c.Limits.SessionsPerAddress = -1
	r, _, _ := run(t, Setup{Config: c})
	const clients, each = 4, 25
	errs := make(chan error, clients*each)
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for range each {
				errs <- func() error {
					k, err := net.DialTimeout("tcp", r.Card.FTP[0], 5*time.Second)
					if err != nil {
						return err
					}
					defer k.Close()
					_ = k.SetDeadline(time.Now().Add(10 * time.Second))
					b := make([]byte, 4)
					if _, err := k.Read(b); err != nil || string(b) != "220 " {
						return fmt.Errorf("the greeting is %q, %w", b, err)
					}
					return nil
				}()
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	for i := 0; ; i++ {
		select {
		case <-done:
			close(errs)
			for err := range errs {
				if err != nil {
					t.Error(err)
				}
			}
			return
		default:
			c.Messages.Banner = fmt.Sprint("banner ", i)
			reload(t, r, c)
		}
	}
}

func TestAnUploadGoesOnThroughReloads(t *testing.T) {
	c := site(t)
	add(t, c, account.Account{Name: "anna"})
	c.Listeners[0].Plain = true
	r, _, _ := run(t, Setup{Config: c})
	k := dial(t, r.Card.FTP[0])
	k.want("220")
	k.login("anna", password)
	d := k.data()
	k.say("STOR big", "150")
	half := make([]byte, 100_000)
	for _, passive := range []string{"20300-20309", "20310-20319"} {
		if _, err := d.Write(half); err != nil {
			t.Fatal(err)
		}
		c.Passive = passive
		reload(t, r, c)
	}
	_ = d.Close()
	k.want("226")
	k.say("SIZE big", "213 200000")
}

// refused checks that a reload which is an error has changed nothing at all.
func refused(t *testing.T, r *Running, next config.Config, says ...string) {
	t.Helper()
	now, sockets := r.now.Load(), slices.Clone(r.serving)
	rules := r.serving[0].rules.Load()
	err := r.Reload(Setup{Config: next})
	if err == nil {
		t.Fatal("Reload() = nil")
	}
	for _, want := range says {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("Reload() = %v; want %q in it", err, want)
		}
	}
	if r.now.Load() != now || !slices.Equal(r.serving, sockets) || r.serving[0].rules.Load() != rules {
		t.Error("a part of it is in force")
	}
}

func TestAReloadThatFailsChangesNothing(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	tests := []struct {
		name string
		set  func(t *testing.T, c *config.Config)
		says []string
	}{
		{"an address that another program has", func(_ *testing.T, c *config.Config) { c.Listeners[3].Listen = []string{taken.Addr().String()} },
			[]string{"listener wrong", "in use by another program"}},
		{"an address of another host", func(_ *testing.T, c *config.Config) { c.Listeners[3].Listen = []string{"192.0.2.1:0"} },
			[]string{"listener wrong", "does not have that address"}},
		{"two mistakes are both told", func(_ *testing.T, c *config.Config) {
			c.Listeners[3].Listen = []string{taken.Addr().String(), "192.0.2.1:0"}
		}, []string{"in use by another program", "does not have that address"}},
		{"a certificate that is none", func(t *testing.T, c *config.Config) {
			file := filepath.Join(t.TempDir(), "cert.pem")
			write(t, file, 10)
			c.TLS.Certificates = []config.Certificate{{File: file}}
		}, []string{"cert.pem"}},
		{"a certificate that is missing", func(_ *testing.T, c *config.Config) {
			c.TLS.Certificates = []config.Certificate{{File: "/nowhere/cert.pem"}}
		}, []string{"/nowhere/cert.pem"}},
		{"a name that no certificate is for", func(_ *testing.T, c *config.Config) { c.Listeners[3].Certificate = "else.example.net" },
			[]string{"listener wrong", "else.example.net"}},
		{"a client CA that is missing", func(_ *testing.T, c *config.Config) { c.Listeners[3].ClientCA = "/nowhere/ca.pem" },
			[]string{"listener wrong", "/nowhere/ca.pem"}},
		{"a client CA that is none", func(t *testing.T, c *config.Config) {
			c.Listeners[3].ClientCA = filepath.Join(t.TempDir(), "ca.pem")
			write(t, c.Listeners[3].ClientCA, 10)
		}, []string{"listener wrong", "ca.pem", "PEM"}},
		{"another state directory", func(t *testing.T, c *config.Config) { c.State = t.TempDir() }, []string{"state", "restart"}},
		{"another database", func(_ *testing.T, c *config.Config) { c.Accounts.Database = "/nowhere/accounts.db" }, []string{"accounts.database", "restart"}},
	}
	c := site(t)
	add(t, c, account.Account{Name: "anna"})
	c.TLS.Certificates = []config.Certificate{{File: pairOf(t, "ftp.example.net")}}
	c.Passive = "20400-20409"
	c.Messages.Banner = "old banner"
	r, _, j := run(t, Setup{Config: c})
	anna := in(t, r, "anna")
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			free, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			opened := free.Addr().String()
			_ = free.Close()
			next := c
			next.Listeners = append(slices.Clone(c.Listeners), // the third could be opened
				config.Listener{Name: "new", Protocol: "ftp", Listen: []string{opened}},
				config.Listener{Name: "wrong", Protocol: "ftp", Listen: []string{"127.0.0.1:0"}})
			next.TLS.Certificates = []config.Certificate{{File: pairOf(t, "new.example.net")}}
			next.Passive, next.Messages.Banner, next.Sync = "20500-20509", "new banner", "commit"
			next.Limits.SessionsPerAddress, next.Anonymous.Directory = 1, t.TempDir()
			next.Exceptions = []config.Exception{{Allow: "plain", Network: loopback[0], Until: tomorrow(), Reason: "test"}}
			tt.set(t, &next)
			refused(t, r, next, tt.says...)

			if answers(opened) {
				t.Errorf("%s, which is new, answers", opened)
			}
			if l, err := net.Listen("tcp", opened); err != nil {
				t.Errorf("it is kept open: %v", err)
			} else {
				_ = l.Close()
			}
			anna.say("NOOP", "200") // and with the limit of one session nobody else would come in
			k := dial(t, r.Card.FTP[0])
			k.want("220 old banner")
			k.say("USER anna", "5")
			k.say("USER anonymous", "5")
			k.say("QUIT", "221")
			if got, _ := subject(t, r.Card.FTPS[0], nil); got != "ftp.example.net" {
				t.Errorf("the certificate is that of %s", got)
			}
			if port := anna.passivePort(); port < 20400 || port > 20409 {
				t.Errorf("the passive port is %d", port)
			}
		})
	}
	if strings.Contains(j.String(), "configuration loaded") {
		t.Errorf("the log tells of a success:\n%s", j)
	}
	reload(t, r, c) // nothing stands in the way of the next one
}

// A listener is closed only when all new ones are open, so its own address can't
// be one of those.
func TestAnAddressThatTheServerHasItselfIsNamedAsThat(t *testing.T) {
	c := site(t)
	r, _, _ := run(t, Setup{Config: c})
	port := netip.MustParseAddrPort(addrsOf(r)[0]).Port()
	c.Listeners = slices.Clone(c.Listeners)
	c.Listeners[0].Listen = []string{fmt.Sprint(":", port)}
	refused(t, r, c, "in use by this server itself", "restart")

	// One that is nobody's is another matter, also where the port is the same.
	c.Listeners[0].Listen = []string{fmt.Sprint("192.0.2.1:", port)}
	refused(t, r, c, "does not have that address")

	// In another form it is the same address.
	c.Listeners[0].Listen = []string{fmt.Sprint("[::ffff:127.0.0.1]:", port)}
	was := r.serving[0]
	reload(t, r, c)
	if r.serving[0] != was {
		t.Error("the same address in another form is another socket")
	}
}

func tomorrow() config.Date { return config.Date{Time: time.Now().AddDate(0, 0, 1)} }

func yesterday() config.Date { return config.Date{Time: time.Now().AddDate(0, 0, -1)} }

func TestExceptionsComeAndGoForNewConnections(t *testing.T) {
	c := site(t)
	add(t, c, account.Account{Name: "anna"}, account.Account{Name: "scanner"})
	r, _, j := run(t, Setup{Config: c})
	tries := []struct {
		name      string
		exception *config.Exception
		user      string // the answer to USER
		anna      string // the answers to PASS, "" where USER is refused
		scanner   string
	}{
		{"without one", nil, "5", "", ""},
		{"for all", &config.Exception{Allow: "plain", Network: loopback[0], Until: tomorrow(), Reason: "old"}, "331", "230", "230"},
		{"for one account", &config.Exception{Allow: "plain", Account: "scanner", Network: loopback[0], Until: tomorrow(), Reason: "old"}, "331", "530", "230"},
		{"for another network", &config.Exception{Allow: "plain", Network: netip.MustParsePrefix("192.0.2.0/24"), Until: tomorrow(), Reason: "old"}, "5", "", ""},
		{"for another listener", &config.Exception{Allow: "plain", Listener: "ftps", Network: loopback[0], Until: tomorrow(), Reason: "old"}, "5", "", ""},
		{"for this listener", &config.Exception{Allow: "plain", Listener: "ftp", Network: loopback[0], Until: tomorrow(), Reason: "old"}, "331", "230", "230"},
		{"over since yesterday", &config.Exception{Allow: "plain", Network: loopback[0], Until: yesterday(), Reason: "was old"}, "5", "", ""},
	}
	old := dial(t, r.Card.FTP[0])
	old.want("220")
	for _, tt := range tries {
		t.Run(tt.name, func(t *testing.T) {
			c.Exceptions = nil
			if tt.exception != nil {
				c.Exceptions = []config.Exception{*tt.exception}
			}
			reload(t, r, c)
			old.say("USER anna", "5")
			for user, want := range map[string]string{"anna": tt.anna, "scanner": tt.scanner} {
				k := dial(t, r.Card.FTP[0])
				k.want("220")
				k.say("USER "+user, tt.user)
				if want != "" {
					k.say("PASS "+password, want)
				}
			}
		})
	}
	if log := j.String(); !strings.Contains(log, "an exception is over") || !strings.Contains(log, `reason="was old"`) {
		t.Errorf("the log does not tell of the one that is over:\n%s", log)
	}
}

func TestLimitsChangeWithAReload(t *testing.T) {
	c := site(t)
	add(t, c, account.Account{Name: "anna"}, account.Account{Name: "otto", MaxSessions: 3})
	c.Limits.SessionsPerAddress = 2
	r, _, _ := run(t, Setup{Config: c})
	addr := r.Card.FTP[0]
	a, b := dial(t, addr), dial(t, addr)
	a.want("220")
	b.want("220")
	dial(t, addr).want("421")

	c.Limits.SessionsPerAddress, c.Limits.Sessions = -1, 3
	reload(t, r, c)
	third := dial(t, addr)
	third.want("220")
	dial(t, addr).want("421") // three in all
	a.say("NOOP", "200")

	c.Limits.Sessions, c.Limits.SessionsPerAddress = 1, 1
	reload(t, r, c) // more are there than may be: they stay
	for _, k := range []*client{a, b, third} {
		k.say("NOOP", "200")
	}
	dial(t, addr).want("421")

	c.Limits.Sessions, c.Limits.SessionsPerAddress, c.Limits.SessionsPerAccount = 0, 0, 1
	c.Limits.Tries = 1
	reload(t, r, c)
	anna := in(t, r, "anna")
	for user, want := range map[string]string{"anna": "421", "otto": "230"} { // who has a limit of his own has that
		k := dial(t, r.Card.FTPS[0]).under(r.Card)
		k.want("220")
		k.say("USER "+user, "331")
		k.say("PASS "+password, want)
	}
	anna.say("NOOP", "200")
	k := dial(t, r.Card.FTPS[0]).under(r.Card)
	k.want("220")
	k.say("USER anna", "331")
	k.say("PASS wrong", "421") // one try
}

func TestSessionTicketsSurviveReloadsAndTurnOver(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			c := site(t)
			c.TLS.Certificates = []config.Certificate{{File: pairOf(t, "ftp.example.net")}}
			r, _, _ := run(t, Setup{Config: c})
			cache := tls.NewLRUClientSessionCache(0)
			resumed := func() bool {
				t.Helper()
				nc, err := net.DialTimeout("tcp", r.Card.FTPS[0], 5*time.Second)
				if err != nil {
					t.Fatal(err)
				}
				defer nc.Close()
				_ = nc.SetDeadline(time.Now().Add(10 * time.Second))
				conn := tls.Client(nc, &tls.Config{InsecureSkipVerify: true, ServerName: "x", ClientSessionCache: cache, MaxVersion: version})
				if _, err := conn.Read(make([]byte, 100)); err != nil {
					t.Fatal(err)
				}
				return conn.ConnectionState().DidResume
			}
			if resumed() {
				t.Fatal("the first connection resumes a session")
			}
			if !resumed() {
				t.Fatal("the second one does not")
			}
			c.Messages.Banner = "another"
			c.Listeners = slices.Clone(c.Listeners)
			c.Listeners[1].Certificate = "ftp.example.net"
			reload(t, r, c)
			if !resumed() {
				t.Error("after a reload the ticket is not taken")
			}
			kept, _ := cache.Get("x")
			turn := func() {
				r.mu.Lock()
				r.rotate(r.now.Load())
				r.mu.Unlock()
			}
			for day := 1; day <= 3; day++ {
				turn()
				cache.Put("x", kept) // the one from before
				if got, want := resumed(), day < 3; got != want {
					t.Errorf("%d days later: resumed %v, want %v", day, got, want)
				}
			}
			reload(t, r, c)
			if !resumed() { // by the ticket of the last connection
				t.Error("the reload went back to older keys")
			}
		})
	}
}

// Reloads, sessions, and the end all at once: what counts is what the race
// detector says, and that everything ends.
func TestReloadsInTheMiddleOfEverything(t *testing.T) {
	c := site(t)
	add(t, c, account.Account{Name: "anna"})
	c.Listeners[0].Plain = true
	public(t, &c)
	r, stop, _ := run(t, Setup{Config: c})
	k := dial(t, r.Card.FTP[0])
	k.want("220")
	k.login("anna", password)

	ends := make(chan struct{})
	var wg sync.WaitGroup
	var late sync.Map // errors of reloads
	for i := range 3 {
		wg.Go(func() {
			for n := 0; ; n++ {
				next := c
				next.Messages.Banner = fmt.Sprint(i, n)
				next.Limits.SessionsPerAddress = 1000 + n
				next.Exceptions = []config.Exception{{Allow: "tls1.0", Network: loopback[0], Until: tomorrow(), Reason: "test"}}
				if n%2 == i%2 {
					next.Listeners = append(slices.Clone(c.Listeners), config.Listener{Name: "more", Protocol: "ftp", Listen: []string{"127.0.0.1:0"}})
				}
				if err := r.Reload(Setup{Config: next}); err != nil {
					late.Store(err, true)
					return
				}
			}
		})
	}
	wg.Go(func() {
		for {
			select {
			case <-ends:
				return
			default:
			}
			nc, err := net.DialTimeout("tcp", r.Card.FTPS[0], time.Second)
			if err != nil {
				return
			}
			_ = nc.SetDeadline(time.Now().Add(5 * time.Second))
			_ = tls.Client(nc, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}).Handshake() // may come too late
			_ = nc.Close()
		}
	})
	for i := range 20 {
		if got := k.send(fmt.Sprint("f", i), make([]byte, 20_000)); !strings.HasPrefix(got, "226") {
			t.Fatalf("an upload among reloads: %q", got)
		}
		if i == 10 {
			r.mu.Lock()
			r.rotate(r.now.Load())
			r.mu.Unlock()
		}
	}
	stop()
	close(ends)
	wg.Wait()
	late.Range(func(err, _ any) bool {
		if !errors.Is(err.(error), errStopped) {
			t.Errorf("Reload() = %v, want %v", err, errStopped)
		}
		return true
	})
	for _, at := range addrsOf(r) {
		if answers(at) {
			t.Errorf("%s answers after the end", at)
		}
	}
	if err := r.Reload(Setup{Config: c}); !errors.Is(err, errStopped) {
		t.Errorf("Reload() after the end = %v", err)
	}
}

func TestEventsGoWhereTheLastReloadSays(t *testing.T) {
	c := site(t)
	add(t, c, account.Account{Name: "anna"})
	var first, second tally
	r, _, _ := run(t, Setup{Config: c, Events: &first})
	in(t, r, "anna")
	if err := r.Reload(Setup{Config: c, Events: &second}); err != nil {
		t.Fatal(err)
	}
	in(t, r, "anna")
	if first.n() != 1 || second.n() != 1 {
		t.Errorf("the first sink got %d events, the second %d; want 1 each", first.n(), second.n())
	}
}

// A tally counts events.
type tally struct {
	mu sync.Mutex
	k  int
}

func (e *tally) Event(context.Context, any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.k++
}

func (e *tally) n() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.k
}
