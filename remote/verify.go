package remote

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"dray/certs"
	"dray/fault"
	"dray/sshclient"
)

// judge asks the authorities about a chain, for the host and for now. nil: they
// vouch for it.
func judge(host string, port int, roots *x509.CertPool, chain []*x509.Certificate, now time.Time) *fault.Error {
	leaf := chain[0]
	late := outside(leaf, now)
	err := verifyAt(roots, chain, now)
	if err != nil {
		// The same at a time when all of the chain was valid: is it only the date?
		if at, which := goodTime(chain, now); which != nil {
			if err = verifyAt(roots, chain, at); err == nil {
				late = which
			}
		}
	}
	named := nameFor(host)
	nameErr := leaf.VerifyHostname(named)
	if err == nil && late == nil && nameErr == nil {
		return nil
	}
	key := certs.KeyPrint(leaf)
	f := &fault.Error{Kind: fault.Untrusted}
	trust := "Compare the fingerprint with what the administrator of the server says, then: `dray trust " + sshclient.TrustName(host, port, 21) + " " + key.String() + "`"
	issuer := nameOf(leaf.Issuer.CommonName, leaf.Issuer.String())
	switch {
	case err != nil && selfSigned(leaf):
		f.ID, f.Facts, f.Err = fault.IDSelfSigned, []any{host, key.String()}, err
		f.Do = []string{trust}
	case err != nil && len(chain) == 1 && len(leaf.IssuingCertificateURL) > 0 && isUnknownAuthority(err):
		f.ID, f.Facts, f.Err = fault.IDIncomplete, []any{host}, err
		f.Do = []string{"Its issuer is " + issuer + "; the administrator of the server has to install the file with the whole chain", trust}
	case late != nil && isTime(err):
		// No time is in that of all of the chain, so nobody can vouch for it at any.
		f.ID, f.Facts, f.Err = fault.IDExpired, []any{host, when(late, leaf, now)}, err
		f.Do = []string{trust}
	case err != nil && isUnknownAuthority(err):
		f.ID, f.Facts, f.Err = fault.IDUnknownCA, []any{host, issuer}, err
		f.Do = []string{"Where that is an authority of your own, give the file with its certificate: `--ca FILE`", trust}
	case err != nil:
		f.ID, f.Facts, f.Err = fault.IDTLSFailed, []any{host}, err
		f.Do = []string{"Its certificate can't be used for a server: " + reason(err), trust}
	case nameErr != nil:
		f.ID, f.Facts, f.Err = fault.IDCertName, []any{names(leaf), host}, nameErr
		f.Do = []string{"Use a name that it is for, when that is the server that you mean", trust}
	default:
		f.ID, f.Facts = fault.IDExpired, []any{host, when(late, leaf, now)}
		f.Err = x509.CertificateInvalidError{Cert: late, Reason: x509.Expired}
		f.Do = []string{trust}
	}
	f.Do = append(f.Do, "Other programs show the fingerprint of the whole certificate: SHA-256 "+certs.CertPrint(leaf).Pairs())
	// What else is wrong, so that it is not found out one by one.
	if late != nil {
		if f.ID != fault.IDExpired {
			f.Do = append([]string{"Besides: it " + when(late, leaf, now)}, f.Do...)
		}
		f.Do = append([]string{"The clock of this machine says " + day(now) + "; when that is wrong, set it"}, f.Do...)
	}
	if nameErr != nil && f.ID != fault.IDCertName {
		f.Do = append([]string{"Besides: it is for " + names(leaf) + ", not for " + host}, f.Do...)
	}
	return f
}

// verifyAt asks whether somebody known vouches for the chain at a time, by any
// name.
func verifyAt(roots *x509.CertPool, chain []*x509.Certificate, at time.Time) error {
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: at})
	return err
}

// outside returns c when now is not in its time.
func outside(c *x509.Certificate, now time.Time) *x509.Certificate {
	if now.Before(c.NotBefore) || now.After(c.NotAfter) {
		return c
	}
	return nil
}

// goodTime is a time within all certificates of the chain, and the first that
// now is outside of; nil when now is within all of them.
func goodTime(chain []*x509.Certificate, now time.Time) (at time.Time, which *x509.Certificate) {
	from, to := chain[0].NotBefore, chain[0].NotAfter
	for _, c := range chain {
		if c.NotBefore.After(from) {
			from = c.NotBefore
		}
		if c.NotAfter.Before(to) {
			to = c.NotAfter
		}
		if which == nil {
			which = outside(c, now)
		}
	}
	if now.After(to) {
		return to, which
	}
	return from, which
}

// when says what is wrong with the time of c, as the end of "it …".
func when(c, leaf *x509.Certificate, now time.Time) string {
	whose := ""
	if c != leaf {
		whose = "vouched for by " + nameOf(c.Subject.CommonName, c.Subject.String()) + ", whose certificate "
	}
	if now.Before(c.NotBefore) {
		return whose + "is not valid before " + day(c.NotBefore)
	}
	return fmt.Sprintf("%sexpired %s ago (%s)", whose, days(now.Sub(c.NotAfter)), day(c.NotAfter))
}

func days(d time.Duration) string {
	switch n := int(d / (24 * time.Hour)); n {
	case 0:
		return "less than a day"
	case 1:
		return "1 day"
	default:
		return fmt.Sprintf("%d days", n)
	}
}

// selfSigned tells whether c is signed by its own key.
func selfSigned(c *x509.Certificate) bool {
	return string(c.RawIssuer) == string(c.RawSubject) &&
		c.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature) == nil
}

// isTime tells whether it is the time that a certificate of a chain is not good at.
func isTime(err error) bool {
	var invalid x509.CertificateInvalidError
	return errors.As(err, &invalid) && invalid.Reason == x509.Expired
}

func isUnknownAuthority(err error) bool {
	var unknown x509.UnknownAuthorityError
	return errors.As(err, &unknown)
}

// reason is the sentence of package x509 without its prefix, safe to print.
func reason(err error) string {
	return clean(strings.TrimPrefix(err.Error(), "x509: "))
}

// nameFor is the host as a certificate has it: without zone and last dot.
func nameFor(host string) string {
	host, _, zoned := strings.Cut(host, "%")
	if addr, err := netip.ParseAddr(host); err == nil && (zoned || addr.Is6()) {
		return "[" + host + "]"
	}
	return strings.TrimSuffix(host, ".")
}

const maxNames = 4

// names lists what c is for.
func names(c *x509.Certificate) string {
	all := c.DNSNames[:len(c.DNSNames):len(c.DNSNames)]
	for _, ip := range c.IPAddresses {
		all = append(all, ip.String())
	}
	if len(all) == 0 {
		if c.Subject.CommonName == "" {
			return "no name at all"
		}
		return nameOf(c.Subject.CommonName, "") + " (its Common Name alone, which is not looked at any more)"
	}
	more := ""
	if len(all) > maxNames {
		more = fmt.Sprintf(" and %d more", len(all)-maxNames)
		all = all[:maxNames]
	}
	return clean(strings.Join(all, ", ")) + more
}

// nameOf is a name out of a certificate, which anybody may have written.
func nameOf(name, other string) string {
	if name == "" {
		name = other
	}
	if name == "" {
		return "nobody"
	}
	return clean(name)
}
