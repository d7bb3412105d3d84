package gate

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"math/big"
	"testing"
	"time"

	"dray/account"
	"dray/event"
	"dray/fault"
)

// An issuer signs certificates.
type issuer struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newIssuer(t *testing.T, name string, above *issuer) *issuer {
	ca := &issuer{t: t}
	ca.cert, ca.key = sign(t, above, &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		NotBefore: noon.AddDate(-1, 0, 0), NotAfter: noon.AddDate(1, 0, 0),
	})
	return ca
}

// leaf makes a certificate for clients that is valid at noon, changed by with.
func (ca *issuer) leaf(with func(*x509.Certificate)) *x509.Certificate {
	c := &x509.Certificate{
		NotBefore: noon.Add(-time.Hour), NotAfter: noon.Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	with(c)
	cert, _ := sign(ca.t, ca, c)
	return cert
}

func (ca *issuer) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(ca.cert)
	return p
}

// sign makes a certificate; nil signs itself.
func sign(t *testing.T, by *issuer, c *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	need(t, err)
	c.SerialNumber = big.NewInt(time.Now().UnixNano())
	parent, signer := c, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), signer)
	need(t, err)
	cert, err := x509.ParseCertificate(der)
	need(t, err)
	return cert, key
}

func common(name string) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.Subject.CommonName = name }
}

func pin(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return hex.EncodeToString(sum[:])
}

// under tells the visit of TLS with a client certificate and what came with it.
func under(v *Visit, chain ...*x509.Certificate) *Visit {
	v.Secured(tls.ConnectionState{PeerCertificates: chain})
	return v
}

// A vault is a house with a directory, by the clock of noon.
func newVault(t *testing.T, accounts ...account.Account) (*house, *register) {
	h, r := newHouse(t), &register{known: map[string]account.Account{}}
	h.gate.Now = func() time.Time { return noon }
	h.gate.Directory = r
	for _, a := range accounts {
		r.known[a.Name], h.people.known[a.Name] = a, a
	}
	return h, r
}

// Which certificate logs in to the account "anna", and what the others are told:
// nothing, they are asked for a password.
func TestWhichCertificateLogsIn(t *testing.T) {
	ca, other := newIssuer(t, "CA", nil), newIssuer(t, "CA", nil)
	between := newIssuer(t, "between", ca)
	mine := ca.leaf(common("anna"))
	lone := func(from, to time.Time) *x509.Certificate {
		c, _ := sign(t, nil, &x509.Certificate{Subject: pkix.Name{CommonName: "anna"}, NotBefore: from, NotAfter: to})
		return c
	}
	self := lone(noon.AddDate(-9, 0, 0), noon.AddDate(9, 0, 0))
	expired, early := lone(noon.AddDate(-9, 0, 0), noon.Add(-time.Second)), lone(noon.Add(time.Second), noon.AddDate(9, 0, 0))
	chain := func(all ...*x509.Certificate) []*x509.Certificate { return all }
	tests := []struct {
		name  string
		keeps []string // of the account
		chain []*x509.Certificate
		in    bool
	}{
		{"the pinned one", []string{pin(mine)}, chain(mine), true},
		{"one of the pinned ones", []string{pin(ca.cert), pin(mine)}, chain(mine), true},
		{"a pinned one needs no CA and no usage", []string{pin(self)}, chain(self), true},
		{"a pinned one that has expired", []string{pin(expired)}, chain(expired), false},
		{"a pinned one that is not valid yet", []string{pin(early)}, chain(early), false},
		{"another than the pinned one", []string{pin(mine)}, chain(ca.leaf(common("anna"))), false},
		{"a pinned one that only comes along", []string{pin(mine)}, chain(ca.leaf(common("bob")), mine), false},
		{"a pin in capital letters is none", []string{"AB" + pin(mine)[2:]}, chain(mine), false},
		{"none at all", []string{pin(mine), "ca"}, nil, false},
		{"an account without certificates", nil, chain(mine), false},

		{"of the CA, with the common name", []string{"ca"}, chain(mine), true},
		{"of the CA, with the name as a mail address", []string{"ca"}, chain(ca.leaf(func(c *x509.Certificate) { c.EmailAddresses = []string{"x@example.net", "anna"} })), true},
		{"of the CA, with the name as a DNS name", []string{"ca"}, chain(ca.leaf(func(c *x509.Certificate) { c.DNSNames = []string{"example.net", "anna"} })), true},
		{"of the CA, for another name", []string{"ca"}, chain(ca.leaf(common("bob"))), false},
		{"of the CA, for a name in other letters", []string{"ca"}, chain(ca.leaf(common("Anna"))), false},
		{"of the CA, for a name that only begins so", []string{"ca"}, chain(ca.leaf(common("anna.example.net"))), false},
		{"of the CA, for a pattern", []string{"ca"}, chain(ca.leaf(func(c *x509.Certificate) { c.DNSNames = []string{"*"} })), false},
		{"of the CA, without a name", []string{"ca"}, chain(ca.leaf(func(*x509.Certificate) {})), false},
		{"of the CA, expired", []string{"ca"}, chain(ca.leaf(func(c *x509.Certificate) { common("anna")(c); c.NotAfter = noon.Add(-time.Second) })), false},
		{"of the CA, not valid yet", []string{"ca"}, chain(ca.leaf(func(c *x509.Certificate) { common("anna")(c); c.NotBefore = noon.Add(time.Second) })), false},
		{"of the CA, for servers", []string{"ca"}, chain(ca.leaf(func(c *x509.Certificate) {
			common("anna")(c)
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		})), false},
		{"of a CA below it that came along", []string{"ca"}, chain(between.leaf(common("anna")), between.cert), true},
		{"of a CA below it that did not", []string{"ca"}, chain(between.leaf(common("anna"))), false},
		{"of another CA with the same name", []string{"ca"}, chain(other.leaf(common("anna"))), false},
		{"of another CA that came along", []string{"ca"}, chain(other.leaf(common("anna")), other.cert), false},
		{"signed by itself", []string{"ca"}, chain(self), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h, _ := newVault(t, account.Account{Name: "anna", Certificates: tt.keeps})
			v := under(h.knock(alice, &Door{Protocol: "ftp", ClientCA: ca.pool()}), tt.chain...)
			ask, err := v.Name(t.Context(), "anna")
			need(t, err)
			s, err := v.Certificate(t.Context(), "anna")
			if !tt.in {
				if ask != AskPassword {
					t.Error("no password is asked for")
				}
				is(t, "Certificate", err, fault.NotLoggedIn, fault.IDAuth)
				if es := h.events.take(); len(es) != 0 {
					t.Errorf("events %+v; showing a certificate is no guess", es)
				}
				return
			}
			need(t, err)
			if ask != AskNothing {
				t.Error("a password is asked for")
			}
			if e := one[event.Login](t, h.events.take(), "anna"); !e.OK || !e.TLS {
				t.Errorf("event %+v", e)
			}
			s.Close()
			if h.people.asked != 0 {
				t.Error("a password was checked")
			}
		})
	}
}

// Without a CA at the door nobody comes in by one, whatever the accounts say; a
// pin still does.
func TestADoorWithoutACA(t *testing.T) {
	ca := newIssuer(t, "CA", nil)
	cert := ca.leaf(common("anna"))
	h, r := newVault(t, account.Account{Name: "anna", Certificates: []string{"ca"}})
	v := under(h.knock(alice, safe), cert, ca.cert)
	if ask, err := v.Name(t.Context(), "anna"); err != nil || ask != AskPassword {
		t.Errorf("Name = %v, %v; want AskPassword", ask, err)
	}
	r.known["anna"] = account.Account{Name: "anna", Certificates: []string{"ca", pin(cert)}}
	if ask, err := v.Name(t.Context(), "anna"); err != nil || ask != AskNothing {
		t.Errorf("Name of the pinned one = %v, %v; want AskNothing", ask, err)
	}
}

// Only the holder of an account's certificate learns that it exists. For all
// other names the answer is the same.
func TestACertificateTellsOnlyOfItsOwnAccount(t *testing.T) {
	ca := newIssuer(t, "CA", nil)
	cert := ca.leaf(func(c *x509.Certificate) {
		c.Subject.CommonName = "anna"
		c.DNSNames = []string{"off", "late", "far", "sftp", "nobody", "anonymous", "ftp", "FTP"}
	})
	both := []string{"ca", pin(cert)}
	h, _ := newVault(t,
		account.Account{Name: "anna", Certificates: both},
		account.Account{Name: "bob", Certificates: []string{"ca"}},
		account.Account{Name: "off", Certificates: both, Disabled: true},
		account.Account{Name: "late", Certificates: both, Expires: noon},
		account.Account{Name: "far", Certificates: both, Networks: prefixes("10.0.0.0/8")},
		account.Account{Name: "sftp", Certificates: both, Protocols: []string{"sftp"}},
		account.Account{Name: "anonymous", Certificates: both, Anonymous: true},
		account.Account{Name: "ftp", Certificates: both},
		account.Account{Name: "FTP", Certificates: both},
	)
	door := &Door{Protocol: "ftp", ClientCA: ca.pool()}
	for _, name := range []string{"bob", "off", "late", "far", "sftp", "nobody", "anonymous", "ftp", "FTP", "", "ca", "Anna"} {
		v := under(h.knock(alice, door), cert)
		if ask, err := v.Name(t.Context(), name); err != nil || ask != AskPassword {
			t.Errorf("Name(%q) = %v, %v; want AskPassword", name, ask, err)
		}
	}
	v := under(h.knock(alice, door), cert)
	if ask, err := v.Name(t.Context(), "anna"); err != nil || ask != AskNothing {
		t.Errorf("Name of its own account = %v, %v; want AskNothing", ask, err)
	}
	// Without a certificate, all are the same.
	for _, name := range []string{"anna", "nobody"} {
		if ask, err := secured(h.knock(alice, door)).Name(t.Context(), name); err != nil || ask != AskPassword {
			t.Errorf("Name(%q) without a certificate = %v, %v", name, ask, err)
		}
	}
}

// A certificate that was right all the same opens nothing for an account that is
// off, and its holder is told why.
func TestACertificateOfAnAccountThatIsOff(t *testing.T) {
	cert, _ := sign(t, nil, &x509.Certificate{NotAfter: noon})
	for _, tt := range []struct {
		name string
		a    account.Account
		id   fault.ID
	}{
		{"disabled", account.Account{Disabled: true}, fault.IDAccountOff},
		{"expired", account.Account{Expires: noon}, fault.IDAccountOff},
		{"by another protocol", account.Account{Protocols: []string{"ftps"}}, fault.IDProtocol},
		{"from another network", account.Account{Networks: prefixes("10.0.0.0/8")}, fault.IDAuth},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.a.Name, tt.a.Certificates = "anna", []string{pin(cert)}
			h, _ := newVault(t, tt.a)
			_, err := under(h.knock(alice, safe), cert).Certificate(t.Context(), "anna")
			is(t, "Certificate", err, fault.NotLoggedIn, tt.id)
			if h.gate.Sessions("anna") != 0 {
				t.Error("a session is left")
			}
		})
	}
}

// The rules of networks and protocols let the right ones in.
func TestACertificateKeepsTheRulesOfItsAccount(t *testing.T) {
	cert, _ := sign(t, nil, &x509.Certificate{NotAfter: noon})
	h, _ := newVault(t, account.Account{
		Name: "anna", Certificates: []string{pin(cert)}, Protocols: []string{"ftp"}, Networks: prefixes("198.51.100.0/24"), MaxSessions: 1,
	})
	s, err := under(h.knock(alice, safe), cert).Certificate(t.Context(), "anna")
	need(t, err)
	_, err = under(h.knock(alice, safe), cert).Certificate(t.Context(), "anna")
	is(t, "a second session", err, fault.Closing, fault.IDBusy)
	s.Close()
	_, err = under(h.knock(bob, safe), cert).Certificate(t.Context(), "anna")
	is(t, "from another network", err, fault.NotLoggedIn, fault.IDAuth)
}

// Where accounts can't be looked up, certificates count for nothing, and
// passwords go on.
func TestCertificatesWithoutADirectory(t *testing.T) {
	cert, _ := sign(t, nil, &x509.Certificate{NotAfter: noon})
	h, r := newVault(t, account.Account{Name: "anna", Certificates: []string{pin(cert)}})
	for _, tt := range []struct {
		name string
		set  func()
	}{
		{"none", func() { h.gate.Directory = nil }},
		{"one that does not answer", func() { h.gate.Directory, r.broken = r, errors.New("database is locked") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.set()
			v := under(h.knock(alice, safe), cert)
			if ask, err := v.Name(t.Context(), "anna"); err != nil || ask != AskPassword {
				t.Errorf("Name = %v, %v; want AskPassword", ask, err)
			}
			_, err := v.Certificate(t.Context(), "anna")
			is(t, "Certificate", err, fault.NotLoggedIn, fault.IDAuth)
			s, err := v.Password(t.Context(), "anna", account.NewSecret(right))
			need(t, err)
			s.Close()
		})
	}
}

// After CCC the connection is one without TLS: the certificate it had is gone,
// and the password needs TLS again.
func TestACertificateEndsWithItsTLS(t *testing.T) {
	cert, _ := sign(t, nil, &x509.Certificate{NotAfter: noon})
	h, _ := newVault(t, account.Account{Name: "anna", Certificates: []string{pin(cert)}})
	v := under(h.knock(alice, safe), cert)
	v.Cleared()
	_, err := v.Name(t.Context(), "anna")
	is(t, "Name", err, fault.NeedTLS, fault.IDTLSRequired)
	_, err = v.Certificate(t.Context(), "anna")
	is(t, "Certificate", err, fault.NotLoggedIn, fault.IDAuth)
}

var (
	_ account.Directory = (*register)(nil)
	_ account.Verifier  = patient{}
)
