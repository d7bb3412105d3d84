package remote

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"dray/certs"
	"dray/fault"
)

// A pair is a certificate with its key.
type pair struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

var today = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// issue makes a certificate; a nil issuer signs itself. Without a time it is
// good for some months around today.
func issue(t testing.TB, tmpl x509.Certificate, issuer *pair) *pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl.SerialNumber, _ = rand.Int(rand.Reader, big.NewInt(1<<62))
	if tmpl.NotBefore.IsZero() {
		tmpl.NotBefore = today.AddDate(-5, 0, 0)
	}
	if tmpl.NotAfter.IsZero() {
		tmpl.NotAfter = today.AddDate(0, 3, 0)
	}
	tmpl.BasicConstraintsValid = true
	if tmpl.IsCA {
		tmpl.KeyUsage = x509.KeyUsageCertSign
	}
	signer := issuer
	if signer == nil {
		signer = &pair{&tmpl, key}
	}
	der, err := x509.CreateCertificate(rand.Reader, &tmpl, signer.cert, key.Public(), signer.key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &pair{c, key}
}

func named(name string, more ...string) x509.Certificate {
	return x509.Certificate{Subject: pkix.Name{CommonName: name}, DNSNames: append([]string{name}, more...)}
}

func authority(name string) x509.Certificate {
	return x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true}
}

// chain is what a server sends.
func (p *pair) chain(more ...*pair) tls.Certificate {
	c := tls.Certificate{Certificate: [][]byte{p.cert.Raw}, PrivateKey: p.key}
	for _, m := range more {
		c.Certificate = append(c.Certificate, m.cert.Raw)
	}
	return c
}

// shake makes one connection to a server with the certificate.
func shake(t testing.TB, server *tls.Config, client *tls.Config) (resumed bool, err error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer func() { _ = l.Close() }()
	wg.Go(func() {
		nc, err := l.Accept()
		if err != nil {
			return
		}
		defer func() { _ = nc.Close() }()
		tc := tls.Server(nc, server)
		if tc.Handshake() == nil {
			_, _ = tc.Write([]byte("x"))
			_, _ = tc.Read(make([]byte, 1))
		}
	})
	nc, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = nc.Close() }()
	tc := tls.Client(nc, client)
	if err := tc.HandshakeContext(t.Context()); err != nil {
		return false, err
	}
	_, err = tc.Read(make([]byte, 1)) // the ticket comes with it
	return tc.ConnectionState().DidResume, err
}

// A pki is what the tests of judgement need.
type pki struct{ root, between, good *pair }

func newPKI(t testing.TB) (*pki, *x509.CertPool) {
	k := &pki{root: issue(t, authority("Test Root"), nil)}
	k.between = issue(t, authority("Test Intermediate"), k.root)
	k.good = issue(t, named("ftp.example.test", "www.example.test"), k.between)
	pool := x509.NewCertPool()
	pool.AddCert(k.root.cert)
	return k, pool
}

func TestWhatIsWrongWithACertificateHasItsName(t *testing.T) {
	k, pool := newPKI(t)
	expired := named("ftp.example.test")
	expired.NotAfter = time.Date(2024, 6, 1, 0, 0, 0, 0, time.UTC)
	future := named("ftp.example.test")
	future.NotBefore, future.NotAfter = today.AddDate(0, 1, 0), today.AddDate(1, 0, 0)
	aia := named("ftp.example.test")
	aia.IssuingCertificateURL = []string{"http://ca.example.test/ca.crt"}
	client := named("ftp.example.test")
	client.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	oldCA := authority("Old Intermediate")
	oldCA.NotAfter = time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)
	oldBetween := issue(t, oldCA, k.root)
	underOld := issue(t, named("ftp.example.test"), oldBetween)
	otherRoot := issue(t, authority("Other\nRoot"), nil)
	self := issue(t, named("ftp.example.test"), nil)
	selfOld := issue(t, expired, nil)
	wrong := issue(t, named("a.test", "b.test", "c.test", "d.test", "e.test", "f.test"), k.between)
	cn := issue(t, x509.Certificate{Subject: pkix.Name{CommonName: "ftp.example.test"}}, k.between)
	onAddress := issue(t, x509.Certificate{IPAddresses: []net.IP{net.ParseIP("192.0.2.1"), net.ParseIP("fe80::1")}}, k.between)

	tests := []struct {
		name  string
		chain []*pair
		host  string
		id    fault.ID
		line  string // the facts, joined
		do    string // within what to do next
	}{
		{"a good one", []*pair{k.good, k.between}, "ftp.example.test", "", "", ""},
		{"by its other name, with a dot", []*pair{k.good, k.between}, "WWW.example.test.", "", "", ""},
		{"for an address", []*pair{onAddress, k.between}, "192.0.2.1", "", "", ""},
		{"for an address with a zone", []*pair{onAddress, k.between}, "fe80::1%eth0", "", "", ""},
		{"the root is sent too", []*pair{k.good, k.between, k.root}, "ftp.example.test", "", "", ""},
		{"self-signed", []*pair{self}, "ftp.example.test", fault.IDSelfSigned,
			"ftp.example.test|" + certs.KeyPrint(self.cert).String(),
			"dray trust ftp.example.test:2121 " + certs.KeyPrint(self.cert).String()},
		{"self-signed and old", []*pair{selfOld}, "ftp.example.test", fault.IDSelfSigned, "SHA256:", "Besides: it expired 903 days ago (1 Jun 2024)"},
		{"self-signed for another", []*pair{self}, "x.test", fault.IDSelfSigned, "SHA256:", "Besides: it is for ftp.example.test, not for x.test"},
		{"an authority that nobody knows", []*pair{issue(t, named("ftp.example.test"), otherRoot)}, "ftp.example.test", fault.IDUnknownCA,
			`ftp.example.test|Other\nRoot`, "--ca FILE"},
		{"no intermediate, and nothing says where it is", []*pair{k.good}, "ftp.example.test", fault.IDUnknownCA, "ftp.example.test|Test Intermediate", "dray trust"},
		{"no intermediate", []*pair{issue(t, aia, k.between)}, "ftp.example.test", fault.IDIncomplete,
			"ftp.example.test", "Its issuer is Test Intermediate"},
		{"expired", []*pair{issue(t, expired, k.between), k.between}, "ftp.example.test", fault.IDExpired,
			"ftp.example.test|expired 903 days ago (1 Jun 2024)", "The clock of this machine says 21 Nov 2026"},
		{"not valid yet", []*pair{issue(t, future, k.between), k.between}, "ftp.example.test", fault.IDExpired, "is not valid before 21 Dec 2026", "clock"},
		{"the intermediate expired", []*pair{underOld, oldBetween}, "ftp.example.test", fault.IDExpired,
			"vouched for by Old Intermediate, whose certificate expired 1 day ago (20 Nov 2026)", "dray trust"},
		{"another name", []*pair{wrong, k.between}, "ftp.example.test", fault.IDCertName,
			"a.test, b.test, c.test, d.test and 2 more|ftp.example.test", "dray trust"},
		{"a name of the old kind", []*pair{cn, k.between}, "ftp.example.test", fault.IDCertName, "ftp.example.test (its Common Name alone, which is not looked at any more)|ftp.example.test", "dray trust"},
		{"a name for an address", []*pair{k.good, k.between}, "192.0.2.1", fault.IDCertName, "|192.0.2.1", ""},
		{"for clients only", []*pair{issue(t, client, k.between), k.between}, "ftp.example.test", fault.IDTLSFailed, "ftp.example.test", "incompatible key usage"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tr := &Trust{roots: pool, Now: func() time.Time { return today }}
			config, err := tr.Config(t.Context(), tt.host, 2121)
			if err != nil {
				t.Fatal(err)
			}
			_, err = shake(t, &tls.Config{Certificates: []tls.Certificate{tt.chain[0].chain(tt.chain[1:]...)}}, config)
			if tt.id == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			var f *fault.Error
			if !errors.As(err, &f) || f.ID != tt.id || f.Kind != fault.Untrusted {
				t.Fatalf("%v, want %s", err, tt.id)
			}
			if line := facts(f); !strings.Contains(line, tt.line) {
				t.Errorf("the facts are %q, want %q", line, tt.line)
			}
			if do := strings.Join(f.Do, "\n"); !strings.Contains(do, tt.do) || strings.Contains(do, "\n\n") {
				t.Errorf("to do: %q, want %q", do, tt.do)
			}
		})
	}
}

// facts are those of a refusal, with | between.
func facts(f *fault.Error) string {
	var all []string
	for _, one := range f.Facts {
		all = append(all, fmt.Sprint(one))
	}
	return strings.Join(all, "|")
}

func idOf(err error) fault.ID {
	var f *fault.Error
	if errors.As(err, &f) {
		return f.ID
	}
	return ""
}

func TestPins(t *testing.T) {
	k, pool := newPKI(t)
	self := issue(t, named("x"), nil)
	spki, der := sha256.Sum256(self.cert.RawSubjectPublicKeyInfo), sha256.Sum256(self.cert.Raw)
	server := &tls.Config{Certificates: []tls.Certificate{self.chain()}}
	for _, pin := range []string{
		certs.Fingerprint(spki).String(), certs.Fingerprint(der).String() + "=", "sha256:" + hex.EncodeToString(der[:]), hex.EncodeToString(spki[:]),
		strings.ReplaceAll(fmt.Sprintf("% X", der[:]), " ", ":"), "sha256//" + certs.Fingerprint(spki).String()[7:] + "=",
	} {
		f, err := certs.ParseFingerprint(pin)
		if err != nil {
			t.Errorf("%s: %v", pin, err)
			continue
		}
		for _, mode := range []TrustMode{TrustCA, TrustPin, TrustTOFU, TrustInsecure} {
			config, err := (&Trust{Mode: mode, Pins: []certs.Fingerprint{f}, roots: pool}).Config(t.Context(), "ftp.example.test", 21)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := shake(t, server, config); err != nil {
				t.Errorf("%s, %s: %v", mode, pin, err)
			}
			if _, err := shake(t, &tls.Config{Certificates: []tls.Certificate{k.good.chain(k.between)}}, config); idOf(err) != fault.IDCertPin {
				t.Errorf("%s, another certificate: %v", mode, err)
			}
		}
	}
	if _, err := (&Trust{Mode: TrustPin}).Config(t.Context(), "h", 21); err == nil {
		t.Error("trust by fingerprint without one")
	}
}

func TestParseFingerprint(t *testing.T) {
	for _, s := range []string{"", "SHA256:", "SHA256:abc", strings.Repeat("A", 43), "md5:" + strings.Repeat("0", 32), strings.Repeat("0", 63),
		"SHA256:" + strings.Repeat("A", 42) + "B", "SHA256:" + strings.Repeat("A", 43) + "==", "0:" + strings.Repeat("0", 63) + ":", "SHA256:" + strings.Repeat("A", 20) + "\n" + strings.Repeat("A", 23)} {
		if f, err := certs.ParseFingerprint(s); err == nil {
			t.Errorf("certs.ParseFingerprint(%q) = %v", s, f)
		}
	}
}

func TestWhatIsStoredIsTrusted(t *testing.T) {
	_, pool := newPKI(t)
	old := named("elsewhere.test")
	old.NotAfter = today.AddDate(-1, 0, 0)
	self, other := issue(t, old, nil), issue(t, old, nil)
	store := NewCertStore(filepath.Join(t.TempDir(), "a", "trusted_certs"))
	tr := &Trust{roots: pool, Store: store, Now: func() time.Time { return today }}
	try := func(p *pair, port int) error {
		config, err := tr.Config(t.Context(), "FTP.example.test", port)
		if err != nil {
			t.Fatal(err)
		}
		_, err = shake(t, &tls.Config{Certificates: []tls.Certificate{p.chain()}}, config)
		return err
	}
	if err := try(self, 21); idOf(err) != fault.IDSelfSigned {
		t.Fatal(err)
	}
	if err := store.Remember("ftp.example.test", 21, certs.KeyPrint(self.cert)); err != nil {
		t.Fatal(err)
	}
	if err := try(self, 21); err != nil {
		t.Errorf("stored: %v", err)
	}
	if err := try(self, 990); idOf(err) != fault.IDSelfSigned {
		t.Errorf("on another port: %v", err)
	}
	err := try(other, 21)
	var f *fault.Error
	if !errors.As(err, &f) || f.ID != fault.IDCertChanged {
		t.Fatalf("another: %v", err)
	}
	if do := strings.Join(f.Do, "\n"); !strings.Contains(do, "`dray trust FTP.example.test "+certs.KeyPrint(other.cert).String()+" --replace`") || !strings.Contains(do, certs.KeyPrint(self.cert).String()) {
		t.Errorf("to do: %s", do)
	}
	if line := facts(f); !strings.Contains(line, "FTP.example.test|"+day(time.Now().UTC())) {
		t.Errorf("says %q", line)
	}
	// An authority is as good as what is stored, and changes nothing in it.
	tr.roots = x509.NewCertPool()
	tr.roots.AddCert(other.cert)
	tr.Now = func() time.Time { return today.AddDate(-2, 0, 0) }
	good := issue(t, named("ftp.example.test"), nil)
	tr.roots.AddCert(good.cert)
	if err := try(good, 21); err != nil {
		t.Errorf("vouched for: %v", err)
	}
	if c, _ := store.Find("ftp.example.test", 21); c.Key != certs.KeyPrint(self.cert) {
		t.Error("the store changed")
	}
}

func TestSomebodyIsAskedOnce(t *testing.T) {
	_, pool := newPKI(t)
	self := issue(t, named("ftp.example.test"), nil)
	server := &tls.Config{Certificates: []tls.Certificate{self.chain()}}
	for _, tt := range []struct {
		answer Answer
		asked  int
		stored bool
		err    fault.ID
	}{{AnswerNo, 5, false, fault.IDSelfSigned}, {AnswerOnce, 1, false, ""}, {AnswerAlways, 1, true, ""}} {
		store := NewCertStore(filepath.Join(t.TempDir(), "certs"))
		asked := 0 // without a lock: one question at a time
		tr := &Trust{roots: pool, Store: store, Ask: func(_ context.Context, q CertQuestion) (Answer, error) {
			asked++
			if q.Host != "ftp.example.test" || q.Port != 21 || q.Key != certs.KeyPrint(self.cert) || q.Why.ID != fault.IDSelfSigned || len(q.Chain) != 1 {
				t.Errorf("asked %+v", q)
			}
			return tt.answer, nil
		}}
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() {
				config, err := tr.Config(t.Context(), "ftp.example.test", 21)
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := shake(t, server, config); idOf(err) != tt.err || tt.err == "" && err != nil {
					t.Errorf("answer %d: %v", tt.answer, err)
				}
			})
		}
		wg.Wait()
		if _, stored := store.Find("ftp.example.test", 21); asked != tt.asked || stored != tt.stored {
			t.Errorf("answer %d: asked %d times, stored %v", tt.answer, asked, stored)
		}
	}
}

func TestAQuestionThatWaitsEndsWithItsContext(t *testing.T) {
	self := issue(t, named("h"), nil)
	inside, out := make(chan struct{}), make(chan struct{})
	tr := &Trust{roots: x509.NewCertPool(), Ask: func(context.Context, CertQuestion) (Answer, error) {
		close(inside)
		<-out
		return AnswerNo, nil
	}}
	go func() { _ = tr.verify(context.Background(), "h", 21, tr.roots, []*x509.Certificate{self.cert}) }()
	<-inside
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := tr.verify(ctx, "h", 21, tr.roots, []*x509.Certificate{self.cert}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	close(out)
}

func TestTrustOnFirstUse(t *testing.T) {
	self, other := issue(t, named("h"), nil), issue(t, named("h"), nil)
	tr := &Trust{Mode: TrustTOFU, roots: x509.NewCertPool(), Store: NewCertStore(filepath.Join(t.TempDir(), "certs"))}
	config, _ := tr.Config(t.Context(), "h", 21)
	if _, err := shake(t, &tls.Config{Certificates: []tls.Certificate{self.chain()}}, config); err != nil {
		t.Error(err)
	}
	if _, err := shake(t, &tls.Config{Certificates: []tls.Certificate{other.chain()}}, config); idOf(err) != fault.IDCertChanged {
		t.Errorf("another one later: %v", err)
	}
}

func TestInsecureTakesAnybody(t *testing.T) {
	self := issue(t, named("other"), nil)
	config, _ := (&Trust{Mode: TrustInsecure, roots: x509.NewCertPool()}).Config(t.Context(), "h", 21)
	if _, err := shake(t, &tls.Config{Certificates: []tls.Certificate{self.chain()}}, config); err != nil {
		t.Error(err)
	}
}

// A resumed session is judged again: the server may have lost its trust.
func TestAResumedSessionIsJudgedToo(t *testing.T) {
	self := issue(t, named("h"), nil)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		store := NewCertStore(filepath.Join(t.TempDir(), "certs"))
		if err := store.Remember("h", 21, certs.KeyPrint(self.cert)); err != nil {
			t.Fatal(err)
		}
		tr := &Trust{roots: x509.NewCertPool(), Store: store}
		config, _ := tr.Config(t.Context(), "h", 21)
		server := &tls.Config{Certificates: []tls.Certificate{self.chain()}, MaxVersion: version}
		server.SetSessionTicketKeys([][32]byte{{1}})
		for i, want := range []bool{false, true} {
			if resumed, err := shake(t, server, config); err != nil || resumed != want {
				t.Errorf("%x connection %d: resumed %v, %v", version, i, resumed, err)
			}
		}
		if found, err := store.Forget("h", 21); !found || err != nil {
			t.Fatal(found, err)
		}
		if _, err := shake(t, server, config); idOf(err) != fault.IDSelfSigned {
			t.Errorf("%x after it was forgotten: %v", version, err)
		}
	}
}

func TestFilesOfTrust(t *testing.T) {
	k, _ := newPKI(t)
	dir := t.TempDir()
	write := func(name string, kind string, der []byte) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	ca := write("ca.pem", "CERTIFICATE", k.root.cert.Raw)
	me := issue(t, named("me"), k.root)
	key, _ := x509.MarshalPKCS8PrivateKey(me.key)
	tr := &Trust{CAFile: ca, ClientCert: write("me.pem", "CERTIFICATE", me.cert.Raw), ClientKey: write("me.key", "PRIVATE KEY", key), Now: func() time.Time { return today }}
	config, err := tr.Config(t.Context(), "ftp.example.test", 21)
	if err != nil {
		t.Fatal(err)
	}
	var seen []*x509.Certificate
	server := &tls.Config{Certificates: []tls.Certificate{k.good.chain(k.between)}, ClientAuth: tls.RequireAnyClientCert, VerifyConnection: func(cs tls.ConnectionState) error {
		seen = cs.PeerCertificates
		return nil
	}}
	if _, err := shake(t, server, config); err != nil || len(seen) != 1 || !seen[0].Equal(me.cert) {
		t.Errorf("%v, the server sees %d certificates", err, len(seen))
	}
	for _, bad := range []*Trust{{CAFile: filepath.Join(dir, "none")}, {CAFile: tr.ClientKey}, {ClientCert: ca}, {ClientKey: tr.ClientKey}} {
		if _, err := bad.Config(t.Context(), "h", 21); err == nil {
			t.Errorf("%+v: no error", bad)
		}
	}
}

func TestOldTLSNeedsASwitch(t *testing.T) {
	self := issue(t, named("h"), nil)
	server := &tls.Config{Certificates: []tls.Certificate{self.chain()}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10}
	for text, good := range map[string]bool{"": false, "1.2": false, "1.3": false, "1.0": true} {
		min, err := ParseTLSVersion(text)
		if err != nil {
			t.Fatal(err)
		}
		config, _ := (&Trust{Mode: TrustInsecure, MinVersion: min}).Config(t.Context(), "h", 21)
		if _, err := shake(t, server, config); (err == nil) != good {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := ParseTLSVersion("1.4"); err == nil {
		t.Error("1.4")
	}
}

func TestNewTLSCanBeLeftOut(t *testing.T) {
	self := issue(t, named("h"), nil)
	server := &tls.Config{Certificates: []tls.Certificate{self.chain()}, MinVersion: tls.VersionTLS13}
	for most, good := range map[uint16]bool{0: true, tls.VersionTLS12: false} {
		config, _ := (&Trust{Mode: TrustInsecure, MaxVersion: most}).Config(t.Context(), "h", 21)
		if _, err := shake(t, server, config); (err == nil) != good {
			t.Errorf("%x: %v", most, err)
		}
	}
}

func TestCertStore(t *testing.T) {
	file := filepath.Join(t.TempDir(), "state", "trusted_certs")
	a, b := certs.Fingerprint{1}, certs.Fingerprint{2}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("# mine\nh:21 "+a.String()+" 2026-05-03\nbroken line\nh:x "+a.String()+" 2026-05-03\n[::1]:990 "+a.String()+" 2026-05-03"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := NewCertStore(file)
	if c, ok := s.Find("H.", 21); !ok || c.Key != a || c.Day() != "3 May 2026" {
		t.Errorf("%+v", c)
	}
	if err := s.Remember("h", 21, b); err != nil {
		t.Fatal(err)
	}
	if err := s.Remember("fe80::1%eth0", 21, b); err != nil {
		t.Fatal(err)
	}
	if c, ok := s.Find("h", 21); !ok || c.Key != b {
		t.Errorf("the older line counts: %+v", c)
	}
	all, damaged, err := s.List()
	if err != nil || len(all) != 3 || len(damaged) != 2 || !strings.HasPrefix(damaged[0], file+":3: ") {
		t.Errorf("%+v\n%q\n%v", all, damaged, err)
	}
	if found, err := s.Forget("h", 21); !found || err != nil {
		t.Error(found, err)
	}
	if _, ok := s.Find("h", 21); ok {
		t.Error("the older line is back")
	}
	if found, _ := s.Forget("h", 21); found {
		t.Error("forgotten twice")
	}
	text, _ := os.ReadFile(file)
	if !strings.HasPrefix(string(text), "# mine\nbroken line\n") {
		t.Errorf("the file is %q", text)
	}
	if fi, _ := os.Stat(file); fi.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", fi.Mode())
	}
	if err := s.Remember("a\nb", 21, a); err == nil {
		t.Error("a name with a line end")
	}
	var none *CertStore
	if _, ok := none.Find("h", 21); ok {
		t.Error("nil has something")
	}
}

func TestManyProcessesStoreAtOnce(t *testing.T) {
	file := filepath.Join(t.TempDir(), "certs")
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			s := NewCertStore(file)
			if err := s.Remember(fmt.Sprintf("h%d", i), 21, certs.Fingerprint{byte(i)}); err != nil {
				t.Error(err)
			}
			if i%2 == 1 {
				if found, err := s.Forget(fmt.Sprintf("h%d", i), 21); !found || err != nil {
					t.Error(found, err)
				}
			}
		})
	}
	wg.Wait()
	if all, damaged, err := NewCertStore(file).List(); len(all) != 10 || len(damaged) != 0 || err != nil {
		t.Errorf("%d stored, damaged %q, %v", len(all), damaged, err)
	}
}

// A line that is read prints as one that is read the same.
func FuzzCertLine(f *testing.F) {
	f.Add("h:21 " + certs.Fingerprint{}.String() + " 2026-05-03")
	f.Add("[fe80::1%eth0]:990 sha256:" + strings.Repeat("0a", 32) + " 0001-01-01")
	f.Add("..:0 " + certs.Fingerprint{}.String() + " 0000-01-01")
	f.Fuzz(func(t *testing.T, s string) {
		c, err := parseCertLine(s)
		if err != nil {
			return
		}
		line := c.line()
		again, err := parseCertLine(strings.TrimSuffix(line, "\n"))
		if err != nil || again != c || strings.Count(line, "\n") != 1 {
			t.Fatalf("%q reads as %+v, prints as %q, %v", s, c, line, err)
		}
	})
}

func TestFetch(t *testing.T) {
	k, _ := newPKI(t)
	config := &tls.Config{Certificates: []tls.Certificate{k.good.chain(k.between)}}
	secure := func(nc net.Conn) { _ = tls.Server(nc, config).Handshake() }
	answer := func(text string) func(nc net.Conn) {
		return func(nc net.Conn) {
			for part := range strings.SplitSeq(text, "<AUTH>") {
				if part != "" {
					_, _ = nc.Write([]byte(part))
				}
				_, _ = nc.Read(make([]byte, 100))
			}
		}
	}
	tests := []struct {
		name   string
		scheme Scheme
		serve  func(net.Conn)
		id     fault.ID
		line   string
	}{
		{"behind AUTH TLS", FTP, func(nc net.Conn) {
			_, _ = nc.Write([]byte("120 soon\r\n220-Welcome\r\n220x\r\n220 done\r\n"))
			_, _ = nc.Read(make([]byte, 100))
			_, _ = nc.Write([]byte("234 go\r\n"))
			secure(nc)
		}, "", ""},
		{"from the first byte", FTPS, secure, "", ""},
		{"where the server wants one of ours", FTPS, func(nc net.Conn) {
			c := config.Clone()
			c.ClientAuth = tls.RequireAnyClientCert
			_ = tls.Server(nc, c).Handshake()
		}, "", ""},
		{"no TLS", FTPTLS, answer("220 x\r\n<AUTH>502 no\r\n"), fault.IDTLSMissing, "127.0.0.1"},
		{"busy", FTP, answer("421 too many\r\n"), fault.IDBusy, "127.0.0.1"},
		{"refused", FTP, answer("500 OOPS\r\n"), fault.IDServerSaysNo, "the connection"},
		{"SSH", FTP, answer("SSH-2.0-x"), fault.IDWrongProto, "127.0.0.1|SSH|"},
		{"a web server", FTP, answer("HTTP/1.1 400 Bad\r\n"), fault.IDWrongProto, "127.0.0.1|HTTP|"},
		{"FTP where TLS was asked for", FTPS, answer("220 x\r\n"), fault.IDWrongProto, "127.0.0.1|FTP|"},
		{"noise", FTP, answer("hello\r\n"), fault.IDBadReply, ""},
		{"a line without an end", FTP, answer(strings.Repeat("2", 5000)), fault.IDBadReply, ""},
		{"a reply without an end", FTP, answer(strings.Repeat("220-x\r\n", 300)), fault.IDBadReply, ""},
		{"text in front of the handshake", FTP, answer("220 x\r\n<AUTH>234 ok\r\n220 x\r\n"), fault.IDTLSFailed, ""},
		{"nothing", FTP, func(net.Conn) {}, fault.IDLost, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			addr := serveOnce(t, tt.serve)
			u := URL{Scheme: tt.scheme, Host: "127.0.0.1", Port: addr.Port}
			chain, err := Fetch(t.Context(), u, (&net.Dialer{}).DialContext)
			if tt.id == "" {
				if err != nil || len(chain) != 2 || !chain[0].Equal(k.good.cert) {
					t.Errorf("%d certificates, %v", len(chain), err)
				}
				return
			}
			var f *fault.Error
			if !errors.As(err, &f) || f.ID != tt.id || !strings.Contains(facts(f), tt.line) {
				t.Errorf("%v, want %s", err, tt.id)
			}
			var said interface{ Said() string }
			if slices.Contains([]fault.ID{fault.IDBusy, fault.IDTLSMissing, fault.IDServerSaysNo}, tt.id) && !errors.As(err, &said) {
				t.Error("the server's words are lost")
			}
		})
	}
}

func TestFetchEndsWithItsContext(t *testing.T) {
	addr := serveOnce(t, func(nc net.Conn) { _, _ = nc.Read(make([]byte, 1)) })
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(30*time.Millisecond, cancel)
	if _, err := Fetch(ctx, URL{Scheme: FTP, Host: "127.0.0.1", Port: addr.Port}, (&net.Dialer{}).DialContext); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// serveOnce serves one connection, and waits for its end when the test ends.
func serveOnce(t testing.TB, serve func(net.Conn)) *net.TCPAddr {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		nc, err := l.Accept()
		if err != nil {
			return
		}
		defer func() { _ = nc.Close() }()
		_ = nc.SetDeadline(time.Now().Add(10 * time.Second))
		serve(nc)
	})
	t.Cleanup(func() {
		_ = l.Close()
		wg.Wait()
	})
	return l.Addr().(*net.TCPAddr)
}
