package serve

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"dray/account"
	"dray/certs"
	"dray/config"
	"dray/ftpserver"
	"dray/gate"
)

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

var rsaKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

// pairOfRSA is a certificate that old key exchange can use.
func pairOfRSA(t *testing.T) string {
	t.Helper()
	key, err := rsaKey()
	if err != nil {
		t.Fatal(err)
	}
	return pairFor(t, key, key.Public(), "ftp.example.net")
}

// made is the generation of a configuration, without a server.
func made(t *testing.T, c config.Config) (*Running, *generation) {
	t.Helper()
	r := &Running{log: slog.New(slog.DiscardHandler), gate: &gate.Gate{}}
	g, err := r.generation(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.adoptKeys(g)
	return r, g
}

// shake tells how a handshake of a client with the rules of a peer ends.
func shake(t *testing.T, rules *ftpserver.Rules, client *tls.Config) error {
	t.Helper()
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	for _, c := range []net.Conn{a, b} {
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	}
	ended := make(chan error, 1)
	go func() {
		err := tls.Server(a, rules.TLS).Handshake()
		_ = a.Close()
		ended <- err
	}()
	client.InsecureSkipVerify = true
	k := tls.Client(b, client)
	err := k.Handshake()
	if err == nil {
		_, err = k.Read(make([]byte, 1)) // TLS 1.3: the server may refuse behind the handshake
		if errors.Is(err, fs.ErrClosed) || err != nil && strings.Contains(err.Error(), "EOF") {
			err = nil
		}
	}
	_ = b.Close()
	return errors.Join(err, <-ended)
}

func TestExceptionsLetOldTLSInFromTheirNetwork(t *testing.T) {
	from := netip.MustParsePrefix("192.0.2.0/24")
	inside, outside := netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("198.51.100.7")
	let := func(words ...string) (es []config.Exception) {
		for _, w := range words {
			es = append(es, config.Exception{Allow: w, Network: from, Until: tomorrow(), Reason: "old"})
		}
		return es
	}
	only := func(version uint16, suites ...uint16) *tls.Config {
		return &tls.Config{MinVersion: version, MaxVersion: version, CipherSuites: suites}
	}
	const (
		forward = tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA
		backup  = tls.TLS_RSA_WITH_AES_128_CBC_SHA
		gcm     = tls.TLS_RSA_WITH_AES_128_GCM_SHA256
	)
	v10, v11, v12, v13 := uint16(tls.VersionTLS10), uint16(tls.VersionTLS11), uint16(tls.VersionTLS12), uint16(tls.VersionTLS13)
	tests := []struct {
		name   string
		min    string
		let    []config.Exception
		client *tls.Config
		ok     bool // from the network; from elsewhere it never is but where normal
		normal bool // also from elsewhere
	}{
		{"TLS 1.3 needs none", "1.2", let("tls1.0", "old-ciphers"), only(v13), true, true},
		{"nor does TLS 1.2", "1.2", let("tls1.0", "old-ciphers"), only(v12), true, true},
		{"TLS 1.0 by its exception", "1.2", let("tls1.0"), only(v10), true, false},
		{"with it TLS 1.1", "1.2", let("tls1.0"), only(v11), true, false},
		{"TLS 1.1 by its exception", "1.2", let("tls1.1"), only(v11), true, false},
		{"which does not let 1.0 in", "1.2", let("tls1.1"), only(v10), false, false},
		{"the older of two counts", "1.2", let("tls1.0", "tls1.1"), only(v10), true, false},
		{"in any order", "1.2", let("tls1.1", "tls1.0"), only(v10), true, false},
		{"old versions have forward secrecy", "1.2", let("tls1.0"), only(v10, backup), false, false},
		{"unless old ciphers are let in too", "1.2", let("tls1.0", "old-ciphers"), only(v10, backup), true, false},
		{"CBC is an old cipher", "1.2", let("old-ciphers"), only(v12, forward), true, false},
		{"so is RSA key exchange", "1.2", let("old-ciphers"), only(v12, gcm), true, false},
		{"old ciphers are no old version", "1.2", let("old-ciphers"), only(v11), false, false},
		{"3DES never comes back", "1.2", let("tls1.0", "old-ciphers"), only(v10, tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA), false, false},
		{"RC4 neither", "1.2", let("tls1.0", "old-ciphers"), only(v10, tls.TLS_RSA_WITH_RC4_128_SHA), false, false},
		{"where 1.3 is needed 1.2 is refused", "1.3", nil, only(v12), false, false},
		{"an exception reaches below", "1.3", let("tls1.1"), only(v12), true, false},
		{"clear text says nothing of TLS", "1.2", let("plain", "tls-end"), only(v11), false, false},
	}
	file := pairOfRSA(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := site(t)
			c.TLS = config.TLS{MinVersion: tt.min, Certificates: []config.Certificate{{File: file}}}
			c.Exceptions = tt.let
			_, g := made(t, c)
			for peer, want := range map[netip.Addr]bool{inside: tt.ok, outside: tt.normal, netip.AddrFrom16(inside.As16()): tt.ok} {
				rules := g.rules[0].ftp
				if rules.For != nil {
					rules = rules.For(peer)
				}
				if err := shake(t, rules, tt.client.Clone()); (err == nil) != want {
					t.Errorf("from %v: %v; want it to succeed: %v", peer, err, want)
				}
			}
		})
	}
}

func TestAnExceptionIsOverAfterItsDay(t *testing.T) {
	day, err := config.ParseDate("2027-06-30")
	if err != nil {
		t.Fatal(err)
	}
	rules := &ftpserver.Rules{TLS: &tls.Config{MinVersion: tls.VersionTLS12}}
	peer := netip.MustParseAddr("192.0.2.7")
	for _, allow := range []string{"tls-end", "tls1.0", "tls1.1", "old-ciphers"} {
		es := []config.Exception{{Allow: allow, Until: day}}
		last := time.Date(2027, 6, 30, 23, 59, 59, 999, time.Local)
		if excepted(rules, certs.NewSet(nil), es, peer, last) == rules {
			t.Errorf("%s does not hold on its last day", allow)
		}
		if excepted(rules, certs.NewSet(nil), es, peer, last.Add(time.Second)) != rules {
			t.Errorf("%s holds after its last day", allow)
		}
	}
}

func TestAnExceptionForBareEndsChangesNothingElse(t *testing.T) {
	c := site(t)
	c.TLS.Certificates = []config.Certificate{{File: pairOf(t, "ftp.example.net")}}
	c.Exceptions = []config.Exception{{Allow: "tls-end", Listener: "ftp", Network: loopback[0], Until: tomorrow(), Reason: "scanner"}}
	_, g := made(t, c)
	if g.rules[1].ftp.For != nil {
		t.Error("it holds for another listener too")
	}
	own := g.rules[0].ftp.For(loopback[0].Addr())
	if !own.BareEnd || own.TLS != g.rules[0].ftp.TLS || own.Door != g.rules[0].ftp.Door || own.For != nil {
		t.Errorf("for its network the rules are %+v", own)
	}
	if other := g.rules[0].ftp.For(netip.MustParseAddr("192.0.2.7")); other != g.rules[0].ftp {
		t.Error("from elsewhere the rules are others than those of the listener")
	}
}

// By HOST an excepted peer gets another certificate, and the same old TLS.
func TestHOSTKeepsTheException(t *testing.T) {
	c := site(t)
	c.TLS.Certificates = []config.Certificate{{File: pairOfRSA(t)}, {File: pairOf(t, "other.example.net")}}
	c.Exceptions = []config.Exception{{Allow: "tls1.0", Until: tomorrow(), Reason: "old"}}
	_, g := made(t, c)
	rules := g.rules[0].ftp.For(loopback[0].Addr())
	cfg, ok := rules.Host("other.example.net")
	if !ok || cfg.MinVersion != tls.VersionTLS10 {
		t.Fatalf("Host() = %v, %v", cfg, ok)
	}
	own := *rules
	own.TLS = cfg
	if err := shake(t, &own, &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10}); err != nil {
		t.Errorf("TLS 1.0 behind HOST: %v", err)
	}
	if _, ok := rules.Host("unknown.example.net"); ok {
		t.Error("a name that no certificate covers is known")
	}
}

func TestWhatPASVTellsByNetwork(t *testing.T) {
	prefix := netip.MustParsePrefix
	c := site(t)
	c.Public = "198.51.100.1"
	c.PublicFor = []config.PublicFor{
		{Network: prefix("10.0.0.0/8"), Address: "198.51.100.8"},
		{Network: prefix("10.1.0.0/16"), Address: "198.51.100.16"},
		{Network: prefix("10.1.2.0/24"), Address: "local"},
		{Network: prefix("203.0.113.0/24"), Address: "localhost"},
		{Network: prefix("192.0.2.0/24"), Address: "2001:db8::1"},
		{Network: prefix("fe80::/10"), Address: "198.51.100.6"},
	}
	_, g := made(t, c)
	const local = "172.16.0.2"
	tests := []struct{ name, peer, want string }{
		{"a network of its own", "10.9.9.9", "198.51.100.8"},
		{"the narrowest wins, whatever the order", "10.1.9.9", "198.51.100.16"},
		{"the narrowest may be local", "10.1.2.9", local},
		{"a name is looked up", "203.0.113.9", "127.0.0.1"},
		{"PASV has no room for IPv6", "192.0.2.9", local},
		{"IPv4 inside IPv6 is IPv4", "::ffff:10.9.9.9", "198.51.100.8"},
		{"a zone is no part of the network", "fe80::1%eth0", "198.51.100.6"},
		{"elsewhere the public address holds", "8.8.8.8", "198.51.100.1"},
		{"and near us the local one", "192.168.0.9", local},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, rules := range g.rules {
				got, err := rules.ftp.Tell(netip.MustParseAddr(tt.peer), netip.MustParseAddr(local))
				if err != nil || got != netip.MustParseAddr(tt.want) {
					t.Errorf("Tell(%s) = %v, %v; want %s", tt.peer, got, err, tt.want)
				}
			}
		})
	}
}

func TestNamesAreLookedUpOnceForAllAndKeptOverAReload(t *testing.T) {
	c := site(t)
	c.Public = "localhost"
	c.PublicFor = []config.PublicFor{{Network: netip.MustParsePrefix("10.0.0.0/8"), Address: "localhost"}}
	r, g := made(t, c)
	next, err := r.generation(c, g)
	if err != nil {
		t.Fatal(err)
	}
	if len(g.names) != 1 || next.names["localhost"] != g.names["localhost"] {
		t.Errorf("names %v, and after a reload %v", g.names, next.names)
	}
	if next.ports[c.Passive] != g.ports[c.Passive] {
		t.Error("the passive range is another one, though its ports are in use")
	}
	c.Public, c.PublicFor = "198.51.100.1", nil
	if next, err = r.generation(c, next); err != nil || len(next.names) != 1 || next.names["localhost"] != nil {
		t.Errorf("names that nobody needs any more stay: %v, %v", next.names, err)
	}
}

func TestLimitsOfTheFile(t *testing.T) {
	defaults := limits(config.Config{})
	with := func(sessions, perAddress int) config.Config {
		return config.Config{Limits: config.Limits{Sessions: sessions, SessionsPerAddress: perAddress}}
	}
	tests := []struct {
		name                  string
		c                     config.Config
		total, perAddress     int
		mostPending, mostEach int
	}{
		{"those of the code", with(0, 0), defaults.Total, max(8, defaults.Total/2), defaults.Total, defaults.PerAddress},
		{"in all", with(100, 0), 100, 50, 100, 50},
		{"for each address", with(100, 7), 100, 7, 100, 7},
		{"for each address as many as in all", with(100, 100), 100, 100, 100, 100},
		{"for each address without end", with(100, -1), 100, -1, 100, 100},
		{"few in all", with(4, 0), 4, 8, 8, 8},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := limits(tt.c)
			if l.Total != tt.total || l.PerAddress != tt.perAddress {
				t.Errorf("%d in all and %d for each address, want %d and %d", l.Total, l.PerAddress, tt.total, tt.perAddress)
			}
			if l.Pending < 1 || l.Pending > tt.mostPending || l.PendingPerAddress < 1 || l.PendingPerAddress > tt.mostEach {
				t.Errorf("before the login %d in all and %d for each address", l.Pending, l.PendingPerAddress)
			}
		})
	}
}

func TestPreviewOpensNothing(t *testing.T) {
	c := site(t)
	c.Public = "198.51.100.1"
	c.Anonymous.Directory = t.TempDir()
	c.Listeners = []config.Listener{
		{Name: "ftp", Protocol: "ftp", Listen: []string{"192.0.2.1:21", "[2001:db8::1]:21"}, Plain: true},
		{Name: "ftps", Protocol: "ftps", Listen: []string{":990"}},
		{Name: "high", Protocol: "ftps", Listen: []string{"192.0.2.1:2990"}},
	}
	card, err := Preview(c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"192.0.2.1:21", "[2001:db8::1]:21"}; !slices.Equal(card.FTP, want) {
		t.Errorf("FTP at %q, want %q", card.FTP, want)
	}
	if len(card.FTPS) < 2 || card.FTPS[0] != "127.0.0.1:990" || card.FTPS[len(card.FTPS)-1] != "192.0.2.1:2990" {
		t.Errorf("FTPS at %q", card.FTPS)
	}
	if !card.Plain || !card.Anonymous || card.Passive != c.Passive || card.Public != c.Public || len(card.SHA256Hex) != 64 || !card.SelfSigned {
		t.Errorf("card %+v", card)
	}
	if _, err := os.Stat(c.Database()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the database was made: %v", err)
	}
	if _, err := os.Stat(filepath.Join(c.State, certs.SelfSignedFile)); err != nil {
		t.Errorf("the certificate that the card tells is not there: %v", err)
	}
	again, err := Preview(c, slog.New(slog.DiscardHandler))
	if err != nil || again.SHA256 != card.SHA256 {
		t.Errorf("the second time it is %s, %v; the first %s", again.SHA256, err, card.SHA256)
	}

	c.Listeners = nil
	c.TLS.Certificates = []config.Certificate{{File: pairOf(t, "ftp.example.net")}}
	if card, err = Preview(c, slog.New(slog.DiscardHandler)); err != nil || card.SelfSigned || card.Certificate != "" {
		t.Errorf("with a certificate: %+v, %v", card, err)
	}
	if card.FTP[0] != "127.0.0.1:21" || card.FTPS[0] != "127.0.0.1:990" {
		t.Errorf("without listeners: %q and %q", card.FTP, card.FTPS)
	}
}

// A login by certificate needs the rules to ask for one, and a password then is
// still enough.
func TestClientCertificatesLogIn(t *testing.T) {
	c := site(t)
	file := pairOf(t, "anna")
	pair, err := tls.LoadX509KeyPair(file, file)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := certs.Load(file, file)
	if err != nil {
		t.Fatal(err)
	}
	add(t, c, account.Account{Name: "anna", Certificates: []string{cert.Hex()}}, account.Account{Name: "otto"})
	c.Listeners[1].ClientCertificates = "ask"
	r, _, _ := run(t, Setup{Config: c})
	for user, want := range map[string]string{"anna": "232", "otto": "331"} {
		conn := tls.Client(dial(t, r.Card.FTPS[0]).c, &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{pair}})
		k := use(t, conn)
		k.want("220")
		k.say("USER "+user, want)
	}
	in(t, r, "anna") // without one her password is needed, and enough
}
