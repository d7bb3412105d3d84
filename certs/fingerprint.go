package certs

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// A Fingerprint is the SHA-256 of a public key or of a certificate.
type Fingerprint [sha256.Size]byte

// String is SHA256: and base64 without padding, as OpenSSH writes it.
func (f Fingerprint) String() string {
	return "SHA256:" + base64.RawStdEncoding.EncodeToString(f[:])
}

// Pairs is the fingerprint as openssl writes it: pairs of upper-case hexadecimal digits
// with colons between them.
func (f Fingerprint) Pairs() string {
	return strings.ReplaceAll(fmt.Sprintf("% X", f[:]), " ", ":")
}

// ParseFingerprint reads SHA256: or curl's sha256// and base64, or 64
// hexadecimal digits, with or without colons between pairs and sha256: before
// them.
func ParseFingerprint(s string) (Fingerprint, error) {
	const forms = "write SHA256: and 43 characters of base64, or sha256: and 64 hexadecimal digits"
	text, prefixed := s, false
	for _, prefix := range []string{"sha256//", "sha256:"} {
		if len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix) {
			text, prefixed = s[len(prefix):], true
			break
		}
	}
	var f Fingerprint
	if digits := strings.ReplaceAll(text, ":", ""); len(digits) == 2*len(f) && (len(text) == len(digits) || len(text) == 3*len(f)-1) {
		if b, err := hex.DecodeString(digits); err == nil {
			copy(f[:], b)
			return f, nil
		}
	}
	b, err := base64.RawStdEncoding.Strict().DecodeString(strings.TrimSuffix(text, "="))
	if !prefixed || err != nil || len(b) != len(f) || strings.ContainsAny(text, "\r\n") {
		return f, errors.New("no SHA-256 fingerprint; " + forms)
	}
	copy(f[:], b)
	return f, nil
}

// KeyPrint is the fingerprint that dray shows and stores: of the public key
// (SubjectPublicKeyInfo), which a renewed certificate may keep.
func KeyPrint(c *x509.Certificate) Fingerprint { return sha256.Sum256(c.RawSubjectPublicKeyInfo) }

// CertPrint is the fingerprint of the whole certificate, as openssl, FileZilla
// and dray's server show it.
func CertPrint(c *x509.Certificate) Fingerprint { return sha256.Sum256(c.Raw) }

// Has tells whether f is the fingerprint of c or of its public key.
func (f Fingerprint) Has(c *x509.Certificate) bool { return f == KeyPrint(c) || f == CertPrint(c) }
