package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
)

// shake runs one handshake over a pipe and returns what the client saw, and the
// errors of both ends.
func shake(t testing.TB, srv, client *tls.Config) (tls.ConnectionState, error, error) {
	t.Helper()
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	s, c := tls.Server(a, srv), tls.Client(b, client)
	done := make(chan error, 1)
	go func() {
		err := s.Handshake()
		if err == nil { // TLS 1.3: the client's last word and the ticket are under way
			_, err = s.Write([]byte("2"))
		} else {
			a.Close()
		}
		done <- err
	}()
	err := c.Handshake()
	if err == nil {
		_, err = c.Read(make([]byte, 1))
	}
	if err != nil {
		b.Close()
	}
	return c.ConnectionState(), err, <-done
}

func TestTheClientAcceptsTheSelfSignedCertificateThatItKnows(t *testing.T) {
	c, err := SelfSigned(t.TempDir(), []string{"files.example"}, []netip.Addr{netip.MustParseAddr("192.0.2.1")}, today)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"files.example", "192.0.2.1"} {
		roots := x509.NewCertPool()
		roots.AddCert(c.Leaf)
		cfg := &tls.Config{RootCAs: roots, ServerName: name, Time: today.Local}
		if _, err, _ := shake(t, ServerConfig(NewSet(c)), cfg); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTheNameOfTheClientPicksTheCertificate(t *testing.T) {
	key := newKey(t)
	first := certificate(t, key, "first.example", "192.0.2.1")
	wild := certificate(t, key, "*.wild.example")
	exact := certificate(t, key, "a.wild.example", "b.example", "2001:db8::1")
	set := NewSet(first, wild, exact)
	tests := []struct {
		name, asked string
		want        *Certificate
	}{
		{"exact", "b.example", exact},
		{"exact, in capitals", "B.Example", exact},
		{"wildcard", "x.wild.example", wild},
		{"of two the earlier", "a.wild.example", wild},
		{"a wildcard is one label", "x.y.wild.example", first},
		{"a wildcard is a label at least", "wild.example", first},
		{"unknown", "nobody.example", first},
		{"none", "", first},
		{"an address is not sent", "2001:db8::1", first},
	}
	for _, tt := range tests {
		for version, label := range map[uint16]string{tls.VersionTLS12: "1.2", tls.VersionTLS13: "1.3"} {
			t.Run(tt.name+", TLS "+label, func(t *testing.T) {
				state, err, srvErr := shake(t, ServerConfig(set),
					&tls.Config{ServerName: tt.asked, InsecureSkipVerify: true, MaxVersion: version})
				if err != nil || srvErr != nil {
					t.Fatal(err, srvErr)
				}
				if got := state.PeerCertificates[0]; !got.Equal(tt.want.Leaf) {
					t.Errorf("%q got the certificate for %v", tt.asked, got.DNSNames)
				}
			})
		}
	}
}

func TestHasTakesTheFormsOfHost(t *testing.T) {
	key := newKey(t)
	first := certificate(t, key, "first.example", "192.0.2.1")
	second := certificate(t, key, "*.wild.example", "2001:db8::1")
	set := NewSet(first, second)
	tests := []struct {
		name string
		host string
		want *Certificate
	}{
		{"a name", "first.example", first},
		{"capitals", "FIRST.example", first},
		{"the dot of the root", "first.example.", first},
		{"a name under a wildcard", "x.wild.example", second},
		{"IPv4", "192.0.2.1", first},
		{"IPv6 in brackets", "[2001:db8::1]", second},
		{"IPv6 in brackets, long", "[2001:0DB8:0:0:0:0:0:1]", second},
		{"IPv6 bare", "2001:db8::1", second},
		{"another name", "second.example", nil},
		{"another address", "192.0.2.2", nil},
		{"nothing", "", nil},
		{"a star is no host", "*.wild.example", nil},
		{"a port does not belong", "first.example:21", nil},
		{"a bracket too few", "[2001:db8::1", nil},
		{"control characters", "x\r\n.wild.example", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := set.For(tt.host); got != tt.want {
				t.Errorf("For(%q) = %v", tt.host, got)
			}
			if got := set.Has(tt.host); got != (tt.want != nil) {
				t.Errorf("Has(%q) = %v", tt.host, got)
			}
		})
	}
}

func TestTheKeyThatTheClientCanUseIsPreferred(t *testing.T) {
	ec := certificate(t, newKey(t), "files.example")
	withRSA := certificate(t, newRSAKey(t, 2048), "files.example")
	set := NewSet(ec, withRSA)
	for _, name := range []string{"files.example", "", "nobody.example"} {
		cfg := &tls.Config{ServerName: name, InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12,
			CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}}
		state, err, _ := shake(t, ServerConfig(set), cfg)
		if err != nil {
			t.Fatalf("%q with RSA only: %v", name, err)
		}
		if !state.PeerCertificates[0].Equal(withRSA.Leaf) {
			t.Errorf("%q with RSA only got another key", name)
		}
		cfg.CipherSuites = nil
		if state, err, _ = shake(t, ServerConfig(set), cfg); err != nil || !state.PeerCertificates[0].Equal(ec.Leaf) {
			t.Errorf("%q did not get the first: %v", name, err)
		}
	}
}

// FTP clients connect to a browser's victim as little as browsers to FTP: the
// ALPACA attack needs a server that takes anybody.
func TestALPN(t *testing.T) {
	srv := ServerConfig(NewSet(certificate(t, newKey(t), "files.example")))
	tests := []struct {
		name    string
		offers  []string
		want    string
		refused bool
	}{
		{"nothing offered", nil, "", false},
		{"ftp", []string{"ftp"}, "ftp", false},
		{"the word of FileZilla", []string{"x-filezilla-ftp"}, "x-filezilla-ftp", false},
		{"both", []string{"x-filezilla-ftp", "ftp"}, "ftp", false},
		{"ftp among others", []string{"h2", "ftp"}, "ftp", false},
		{"a browser", []string{"h2", "http/1.1"}, "", true},
		{"an old browser", []string{"http/1.1"}, "", true},
		{"mail", []string{"imap"}, "", true},
	}
	for _, tt := range tests {
		for version, label := range map[uint16]string{tls.VersionTLS12: "1.2", tls.VersionTLS13: "1.3"} {
			t.Run(tt.name+", TLS "+label, func(t *testing.T) {
				state, err, srvErr := shake(t, srv, &tls.Config{ServerName: "files.example", InsecureSkipVerify: true,
					NextProtos: tt.offers, MaxVersion: version})
				if !tt.refused {
					if err != nil || srvErr != nil || state.NegotiatedProtocol != tt.want {
						t.Errorf("agreed on %q: %v, %v; want %q", state.NegotiatedProtocol, err, srvErr, tt.want)
					}
					return
				}
				var op *net.OpError // RFC 7301, 3.2: alert 120
				if srvErr == nil || !errors.As(err, &op) || !strings.Contains(op.Error(), "no application protocol") {
					t.Errorf("client: %v, server: %v; want the alert no_application_protocol", err, srvErr)
				}
			})
		}
	}
}

func TestOnlyModernTLS(t *testing.T) {
	ec := certificate(t, newKey(t), "files.example")
	withRSA := certificate(t, newRSAKey(t, 2048), "files.example")
	srv := ServerConfig(NewSet(ec, withRSA))
	tests := []struct {
		name   string
		min    uint16
		max    uint16
		suites []uint16
		ok     bool
	}{
		{"1.3", tls.VersionTLS13, tls.VersionTLS13, nil, true},
		{"1.2", tls.VersionTLS12, tls.VersionTLS12, nil, true},
		{"1.1", tls.VersionTLS10, tls.VersionTLS11, nil, false},
		{"1.2 without forward secrecy", tls.VersionTLS12, tls.VersionTLS12, []uint16{tls.TLS_RSA_WITH_AES_128_GCM_SHA256}, false},
		{"1.2 with CBC", tls.VersionTLS12, tls.VersionTLS12, []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err, srvErr := shake(t, srv, &tls.Config{ServerName: "files.example", InsecureSkipVerify: true,
				MinVersion: tt.min, MaxVersion: tt.max, CipherSuites: tt.suites})
			if ok := err == nil && srvErr == nil; ok != tt.ok {
				t.Errorf("client: %v, server: %v", err, srvErr)
			}
		})
	}
	insecure := map[uint16]bool{}
	for _, s := range tls.InsecureCipherSuites() {
		insecure[s.ID] = true
	}
	if i := slices.IndexFunc(srv.CipherSuites, func(id uint16) bool { return insecure[id] }); i >= 0 {
		t.Errorf("%s is insecure", tls.CipherSuiteName(srv.CipherSuites[i]))
	}
}

func TestSwapTakesEffectWhileHandshakesRun(t *testing.T) {
	key := newKey(t)
	old, next := certificate(t, key, "files.example"), certificate(t, key, "files.example")
	set := NewSet(old)
	srv := ServerConfig(set)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 10 {
				state, err, _ := shake(t, srv, &tls.Config{ServerName: "files.example", InsecureSkipVerify: true})
				if err != nil {
					t.Error(err)
					return
				}
				if got := state.PeerCertificates[0]; !got.Equal(old.Leaf) && !got.Equal(next.Leaf) {
					t.Error("neither the old nor the new certificate")
				}
			}
		})
	}
	set.Swap(next)
	state, err, _ := shake(t, srv, &tls.Config{ServerName: "files.example", InsecureSkipVerify: true})
	if err != nil || !state.PeerCertificates[0].Equal(next.Leaf) {
		t.Errorf("after Swap not the new certificate: %v", err)
	}
	wg.Wait()
	if set.For("files.example") != next {
		t.Error("For has the old certificate")
	}
}

func TestAZeroSetHasNoCertificate(t *testing.T) {
	var set Set
	if set.Has("files.example") {
		t.Error("Has")
	}
	if _, err := set.GetCertificate(&tls.ClientHelloInfo{}); err == nil {
		t.Error("no error")
	}
}
