// Package certs is where a server's TLS certificates come from: a self-signed
// one that it makes for itself at the first start, files that the operator
// names, and the set from which a handshake picks by host name. It explains
// what is wrong with a certificate, because a client only ever says "bad
// certificate".
//
// The host keys of SSH are kept here too: they are what a certificate is to TLS.
//
// It listens nowhere and knows no protocol beyond TLS; the one word of FTP in
// it is the ALPN name. Client certificates are not its business.
//
//   - RFC 5280 X.509 certificates
//   - RFC 6066 server name indication
//   - RFC 7301 ALPN
//   - RFC 9325 recommendations for TLS
package certs

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
)

// A Certificate is a certificate with its chain and its private key. It is not
// changed after it was made, and safe for concurrent use.
type Certificate struct {
	TLS  tls.Certificate
	Leaf *x509.Certificate // the server's own, the first of the chain
	Note string            // what SelfSigned did, for the log; "" when there is nothing to tell

	problems []string
}

// Fingerprint is the SHA-256 of the certificate as clients show it: of the DER
// form of the leaf.
func (c *Certificate) Fingerprint() Fingerprint { return CertPrint(c.Leaf) }

// SHA256 is the fingerprint in the form of openssl and FileZilla: pairs of
// upper-case hexadecimal digits with colons between them.
func (c *Certificate) SHA256() string {
	return c.Fingerprint().Pairs()
}

// KeySHA256 is the fingerprint of its key, SHA256: and base64, by which dray knows a
// server: it stays through renewals with the same key.
func (c *Certificate) KeySHA256() string {
	return KeyPrint(c.Leaf).String()
}

// Hex is the fingerprint as 64 lower-case hexadecimal digits.
func (c *Certificate) Hex() string {
	sum := c.Fingerprint()
	return hex.EncodeToString(sum[:])
}

// Problems lists what was found when the certificate was loaded and does not
// keep it from being used, though some clients will refuse it: one sentence
// each, the remedy included, without a full stop.
func (c *Certificate) Problems() []string { return c.problems }

// covers reports whether a client that asked for name would accept the names of
// the certificate.
func (c *Certificate) covers(name string) bool { return c.Leaf.VerifyHostname(name) == nil }
