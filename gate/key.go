package gate

import (
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"dray/account"
	"dray/fault"
)

// A More is the answer to a factor that was right, for an account that needs
// others too. It is no failure, and pays nothing.
type More struct{ Methods []string } // those that are missing: account.FactorKey, account.FactorPassword

func (m *More) Error() string { return "more factors: " + strings.Join(m.Methods, ", ") }

// maxKeys is how many keys one connection may ask for. Programs offer all that an
// agent holds.
const maxKeys = 32

// KeyWelcome tells whether a key would log user in, or be one of the factors that
// are wanted now: SSH's question before any signature (RFC 4252, 7). key is as SSH
// sends it, and may be a certificate. Whatever is wrong the answer is the same, and
// it costs the peer nothing: no event, no penalty. Kind NotLoggedIn, or Closing for
// who asks for too many.
func (v *Visit) KeyWelcome(ctx context.Context, user string, key []byte) error {
	v.mu.Lock()
	v.keys++
	many := v.keys > maxKeys
	v.mu.Unlock()
	if many {
		return fault.New(fault.Closing, fault.IDTries)
	}
	_, _, err := v.owner(ctx, user, key)
	return err
}

// PublicKey logs user in by a key whose signature was verified. A *More where the
// account needs other factors too. Kind NotLoggedIn when the key is none of that
// account's, which KeyWelcome has told already.
func (v *Visit) PublicKey(ctx context.Context, user string, key []byte) (*Session, error) {
	a, what, err := v.owner(ctx, user, key)
	if err != nil {
		return nil, err
	}
	return v.shown(ctx, a, account.FactorKey, what)
}

// owner is the account of that name, when the key is one of its own and counts
// here and now. what names the key, for the log.
func (v *Visit) owner(ctx context.Context, user string, key []byte) (a account.Account, what string, err error) {
	refused := fault.New(fault.NotLoggedIn, fault.IDAuth)
	if v.gate.Directory == nil || account.IsAnonymousName(user) {
		return a, "", refused
	}
	a, err = v.gate.Directory.Lookup(ctx, user)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			v.log.Error("a key can't be checked", "user", user, "error", err)
		}
		return account.Account{}, "", refused
	}
	why := ""
	if k, ok := a.Key(key); ok {
		what, why = k.Fingerprint(), k.Bars(v.peer.Remote.Addr(), v.gate.now())
	} else if what, why = v.certified(&a, key); what == "" && why == "" {
		return account.Account{}, "", refused
	}
	if why == "" && !within(a.Networks, v.peer.Remote.Addr()) {
		why = "the account may not log in from this network"
	}
	if why == "" {
		why = v.uncounted(&a, account.FactorKey)
	}
	if why != "" {
		v.log.Info("a known key does not count", "user", user, "peer", v.peer.Remote.String(), "key", what, "why", why)
		return account.Account{}, "", refused
	}
	return a, what, nil
}

// sourceAddress is the one critical option of certificates that is known here
// (OpenSSH, PROTOCOL.certkeys).
const sourceAddress = "source-address"

// certified tells which certificate the key is, when a CA that is trusted for the
// account has signed it, and why it does not count, "" when it does.
func (v *Visit) certified(a *account.Account, key []byte) (what, why string) {
	pub, err := ssh.ParsePublicKey(key)
	if err != nil {
		return "", ""
	}
	cert, ok := pub.(*ssh.Certificate)
	if !ok {
		return "", ""
	}
	by := string(cert.SignatureKey.Marshal())
	names := []string{a.Name}
	if !slices.ContainsFunc(v.peer.Door.UserCAs, func(ca []byte) bool { return string(ca) == by }) {
		own := slices.IndexFunc(a.Keys, func(k account.Key) bool { return k.CA && string(k.Wire()) == by })
		if own < 0 {
			return "", ""
		}
		k := &a.Keys[own]
		if why := k.Bars(v.peer.Remote.Addr(), v.gate.now()); why != "" {
			return k.Fingerprint(), why
		}
		if len(k.Principals) > 0 {
			names = k.Principals
		}
	}
	what = "certificate " + cert.KeyId + " of " + ssh.FingerprintSHA256(cert.SignatureKey)
	switch i := slices.IndexFunc(names, func(n string) bool { return slices.Contains(cert.ValidPrincipals, n) }); {
	case cert.CertType != ssh.UserCert:
		why = "it is a certificate of a host"
	case i < 0: // also without any principal, which some take for all of them
		why = "it does not name the account"
	case account.CheckKey(cert.Key) != nil:
		why = account.CheckKey(cert.Key).Error()
	case account.CheckKey(cert.SignatureKey) != nil || cert.Signature.Format == ssh.KeyAlgoRSA:
		why = "the CA signs with an algorithm that is too weak"
	default:
		checker := ssh.CertChecker{SupportedCriticalOptions: []string{sourceAddress}, Clock: v.gate.now}
		if err := checker.CheckCert(names[i], cert); err != nil {
			why = strings.TrimPrefix(err.Error(), "ssh: ")
		} else if networks, limited := cert.CriticalOptions[sourceAddress]; limited && !fromOneOf(networks, v.peer.Remote.Addr()) {
			why = "the certificate does not count from this address"
		}
	}
	return what, why
}

// fromOneOf tells whether an address is one of those between commas, or in one of
// the networks. What does not parse holds nobody.
func fromOneOf(list string, from netip.Addr) bool {
	from = from.Unmap().WithZone("")
	for part := range strings.SplitSeq(list, ",") {
		if n, err := netip.ParsePrefix(part); err == nil && n.Masked().Contains(from) {
			return true
		}
		if a, err := netip.ParseAddr(part); err == nil && a.Unmap() == from {
			return true
		}
	}
	return false
}

// uncounted is why a factor counts for nothing now, "" when it does. Factors may be
// shown in any order: programs try what they have, and OpenSSH's forgets a method that
// was refused once.
func (v *Visit) uncounted(a *account.Account, method string) string {
	if len(a.Factors) == 0 {
		return ""
	}
	if !v.overSSH() {
		return "the account needs " + strings.Join(a.Factors, " and ") + ", which only SSH can ask for"
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if !slices.Contains(v.missing(a), method) {
		return "the account needs " + strings.Join(a.Factors, " and ") + ", each once"
	}
	return ""
}

// missing are the factors that the account needs and that were not shown. v.mu is held.
func (v *Visit) missing(a *account.Account) []string {
	var shown []string
	if v.passer == a.Name {
		shown = v.passed
	}
	return slices.DeleteFunc(slices.Clone(a.Factors), func(f string) bool { return slices.Contains(shown, f) })
}

// shown lets an account in that has shown one factor, or asks for the others. The
// factor counts.
func (v *Visit) shown(ctx context.Context, a account.Account, method, what string) (*Session, error) {
	v.mu.Lock()
	if v.passer != a.Name {
		v.passer, v.passed = a.Name, nil
	}
	v.passed = append(v.passed, method)
	missing := v.missing(&a)
	if len(missing) == 0 {
		v.passer, v.passed = "", nil
	}
	v.mu.Unlock()
	if len(missing) > 0 {
		v.log.Info("one factor of several was right", "user", a.Name, "peer", v.peer.Remote.String(), "method", method, "missing", strings.Join(missing, ", "))
		return nil, &More{missing}
	}
	s, err := v.enter(ctx, a, "")
	if err == nil && what != "" {
		s.log.Info("login by key", "key", what)
	}
	return s, err
}

// overSSH tells whether the connection is one of SSH, which is always encrypted.
func (v *Visit) overSSH() bool { return v.peer.Door.Protocol == ProtocolSFTP }
