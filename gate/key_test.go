package gate

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"

	"dray/account"
	"dray/event"
	"dray/fault"
)

var ssh22 = &Door{Name: "test", Protocol: ProtocolSFTP}

func signer(t testing.TB) ssh.Signer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	need(t, err)
	s, err := ssh.NewSignerFromSigner(private)
	need(t, err)
	return s
}

// keyOf is a key of an account, with options before it.
func keyOf(t testing.TB, s ssh.Signer, options string) account.Key {
	t.Helper()
	k, err := account.ParseKey(strings.TrimSpace(options + " " + string(ssh.MarshalAuthorizedKey(s.PublicKey()))))
	need(t, err)
	return k
}

// issue makes a certificate of anna that is valid at noon, changed by with.
func issue(t testing.TB, ca ssh.Signer, with func(*ssh.Certificate)) []byte {
	t.Helper()
	c := &ssh.Certificate{
		Key: signer(t).PublicKey(), CertType: ssh.UserCert, KeyId: "anna's", ValidPrincipals: []string{"anna"},
		ValidAfter: uint64(noon.Add(-time.Hour).Unix()), ValidBefore: uint64(noon.Add(time.Hour).Unix()),
	}
	with(c)
	need(t, c.SignCert(rand.Reader, ca))
	return c.Marshal()
}

func TestWhichKeysAreWelcome(t *testing.T) {
	own, other, ca, ownCA := signer(t), signer(t), signer(t), signer(t)
	wire := own.PublicKey().Marshal()
	door := &Door{Protocol: ProtocolSFTP, UserCAs: [][]byte{ca.PublicKey().Marshal()}}
	cert := func(by ssh.Signer, with func(*ssh.Certificate)) []byte { return issue(t, by, with) }
	as := func(options string) account.Account {
		return account.Account{Name: "anna", Rights: account.Full, Keys: []account.Key{keyOf(t, other, ""), keyOf(t, own, options)}}
	}
	byCA := func(options string) account.Account {
		return account.Account{Name: "anna", Rights: account.Full, Keys: []account.Key{keyOf(t, ownCA, "cert-authority"+options)}}
	}
	nothing := func(*ssh.Certificate) {}
	tests := []struct {
		name string
		a    account.Account
		key  []byte
		want bool
	}{
		{"its own", as(""), wire, true},
		{"from its network", as(`from="198.51.100.0/24"`), wire, true},
		{"from another network", as(`from="203.0.113.0/24"`), wire, false},
		{"before it expires", as(`expiry-time="20990101Z"`), wire, true},
		{"after it has expired", as(`expiry-time="20200101Z"`), wire, false},
		{"another's", account.Account{Name: "anna", Keys: []account.Key{keyOf(t, other, "")}}, wire, false},
		{"none at all", account.Account{Name: "anna"}, wire, false},
		{"no key", as(""), []byte("junk"), false},
		{"an account that may not log in from here", account.Account{
			Name: "anna", Keys: as("").Keys, Networks: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")},
		}, wire, false},
		{"one of two factors", account.Account{Name: "anna", Keys: as("").Keys, Factors: []string{"publickey", "password"}}, wire, true},
		{"one of two factors, the second in the list", account.Account{Name: "anna", Keys: as("").Keys, Factors: []string{"password", "publickey"}}, wire, true},
		{"no factor of the account", account.Account{Name: "anna", Keys: as("").Keys, Factors: []string{"password"}}, wire, false},

		{"a certificate of the door's CA", account.Account{Name: "anna"}, cert(ca, nothing), true},
		{"for somebody else", account.Account{Name: "anna"}, cert(ca, func(c *ssh.Certificate) { c.ValidPrincipals = []string{"bob"} }), false},
		{"for anybody", account.Account{Name: "anna"}, cert(ca, func(c *ssh.Certificate) { c.ValidPrincipals = nil }), false},
		{"for several", account.Account{Name: "anna"}, cert(ca, func(c *ssh.Certificate) { c.ValidPrincipals = []string{"bob", "anna"} }), true},
		{"for a host", account.Account{Name: "anna"}, cert(ca, func(c *ssh.Certificate) { c.CertType = ssh.HostCert }), false},
		{"that has expired", account.Account{Name: "anna"}, cert(ca, func(c *ssh.Certificate) { c.ValidBefore = uint64(noon.Unix()) }), false},
		{"that is not valid yet", account.Account{Name: "anna"}, cert(ca, func(c *ssh.Certificate) { c.ValidAfter = uint64(noon.Unix()) + 1 }), false},
		{"for another address", account.Account{Name: "anna"}, cert(ca, func(c *ssh.Certificate) {
			c.CriticalOptions = map[string]string{"source-address": "203.0.113.0/24,192.0.2.1"}
		}), false},
		{"for this address", account.Account{Name: "anna"}, cert(ca, func(c *ssh.Certificate) {
			c.CriticalOptions = map[string]string{"source-address": "203.0.113.0/24,198.51.100.7"}
		}), true},
		{"with a command", account.Account{Name: "anna"}, cert(ca, func(c *ssh.Certificate) {
			c.CriticalOptions = map[string]string{"force-command": "internal-sftp"}
		}), false},
		{"of a CA that nobody trusts", account.Account{Name: "anna"}, cert(own, nothing), false},
		{"signed by a key that logs in", as(""), cert(own, nothing), false},
		{"of the account's own CA", byCA(""), cert(ownCA, nothing), true},
		{"with a name that its own CA may use", byCA(`,principals="team,batch"`), cert(ownCA, func(c *ssh.Certificate) { c.ValidPrincipals = []string{"batch"} }), true},
		{"with the account's name, where its CA must use another", byCA(`,principals="batch"`), cert(ownCA, nothing), false},
		{"of its own CA, from another network", byCA(`,from="203.0.113.0/24"`), cert(ownCA, nothing), false},
		{"the key of its CA itself", byCA(""), ownCA.PublicKey().Marshal(), false},
	}
	for _, tt := range tests {
		h, _ := newVault(t, tt.a)
		v := h.knock(alice, door)
		err := v.KeyWelcome(t.Context(), "anna", tt.key)
		if tt.want {
			is(t, tt.name, err, 0, "")
		} else {
			is(t, tt.name, err, fault.NotLoggedIn, fault.IDAuth)
			_, err := v.PublicKey(t.Context(), "anna", tt.key)
			is(t, tt.name+", with a signature", err, fault.NotLoggedIn, fault.IDAuth)
		}
		if es := h.events.take(); len(es) != 0 {
			t.Errorf("%s: a question made the events %+v", tt.name, es)
		}
		if wait, _ := v.slot.Failed(); wait > 250*time.Millisecond {
			t.Errorf("%s: a question was counted as a wrong login", tt.name)
		}
	}
}

// An unknown name is answered as a known one, and by its own error value alone.
func TestAQueryTellsNothingOfNames(t *testing.T) {
	h, _ := newVault(t, account.Account{Name: "anna"})
	key := signer(t).PublicKey().Marshal()
	known := h.knock(alice, ssh22).KeyWelcome(t.Context(), "anna", key)
	for _, name := range []string{"nobody", "", "anonymous", "ftp"} {
		if err := h.knock(alice, ssh22).KeyWelcome(t.Context(), name, key); err == nil || err.Error() != known.Error() {
			t.Errorf("%q: %v; a known name: %v", name, err, known)
		}
	}
}

func TestAKeyLogsIn(t *testing.T) {
	own := signer(t)
	h, r := newVault(t, account.Account{Name: "anna", Rights: account.Full, Keys: []account.Key{keyOf(t, own, "")}})
	v := h.knock(alice, ssh22)
	s, err := v.PublicKey(t.Context(), "anna", own.PublicKey().Marshal())
	need(t, err)
	defer s.Close()
	if e := one[event.Login](t, h.events.take(), "anna"); !e.OK || e.TLS || e.Protocol != "sftp" {
		t.Errorf("event %+v", e)
	}
	r.known["anna"] = account.Account{Name: "anna", Disabled: true, Keys: []account.Key{keyOf(t, own, "")}}
	_, err = h.knock(alice, ssh22).PublicKey(t.Context(), "anna", own.PublicKey().Marshal())
	is(t, "a disabled account", err, fault.NotLoggedIn, fault.IDAccountOff)
}

// Two factors are both needed, in any order and each once, and nothing but SSH can ask
// for them.
func TestFactorsComeInAnyOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		own, password := signer(t), account.NewSecret(right)
		wire := own.PublicKey().Marshal()
		both := account.Account{Rights: account.Full, Keys: []account.Key{keyOf(t, own, "")}, Factors: []string{account.FactorPassword, account.FactorKey}}
		anna, bert := both, both
		anna.Name, bert.Name = "anna", "bert"
		h, _ := newVault(t, anna, bert)
		wants := func(what string, err error, method string) {
			t.Helper()
			if more := new(More); !errors.As(err, &more) || !slices.Equal(more.Methods, []string{method}) {
				t.Fatalf("%s: %v; want %s to be missing", what, err, method)
			}
		}
		v := h.knock(alice, ssh22)
		_, err := v.PublicKey(t.Context(), "anna", wire)
		wants("the key", err, account.FactorPassword)
		is(t, "the key once more", v.KeyWelcome(t.Context(), "anna", wire), fault.NotLoggedIn, fault.IDAuth)
		_, err = v.PublicKey(t.Context(), "anna", wire)
		is(t, "the key again", err, fault.NotLoggedIn, fault.IDAuth)
		s, err := v.Password(t.Context(), "anna", password)
		need(t, err)
		s.Close()

		v = h.knock(bob, ssh22)
		_, err = v.Password(t.Context(), "anna", password)
		wants("the password", err, account.FactorKey)
		_, err = v.Password(t.Context(), "anna", password)
		is(t, "the password again", err, fault.NotLoggedIn, fault.IDAuth)
		_, err = v.PublicKey(t.Context(), "bert", wire)
		wants("the key of another, behind the password of anna", err, account.FactorPassword)
		_, err = v.PublicKey(t.Context(), "anna", wire)
		wants("the key of anna, behind that of another", err, account.FactorPassword)

		_, err = secured(h.knock(bob, safe)).Password(t.Context(), "anna", password)
		is(t, "the password over FTP", err, fault.NotLoggedIn, fault.IDAuth)
	})
}

func TestWhoAsksForManyKeysIsSentAway(t *testing.T) {
	h, _ := newVault(t)
	v := h.knock(alice, ssh22)
	for i := range maxKeys {
		is(t, "a key", v.KeyWelcome(t.Context(), "anna", []byte{byte(i)}), fault.NotLoggedIn, fault.IDAuth)
	}
	is(t, "one more", v.KeyWelcome(t.Context(), "anna", nil), fault.Closing, fault.IDTries)
}
