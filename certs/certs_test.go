package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A pair is a certificate with its key, to sign others or to be written to files.
type pair struct {
	cert *x509.Certificate
	key  crypto.Signer
}

var serial int64

// issue makes a certificate from a template that needs nothing but its names;
// a nil issuer signs itself.
func issue(t testing.TB, tmpl x509.Certificate, key crypto.Signer, issuer *pair) *pair {
	t.Helper()
	serial++
	tmpl.SerialNumber = big.NewInt(serial)
	if tmpl.NotBefore.IsZero() {
		tmpl.NotBefore = time.Now().Add(-time.Hour)
	}
	if tmpl.NotAfter.IsZero() {
		tmpl.NotAfter = tmpl.NotBefore.Add(100 * 24 * time.Hour)
	}
	tmpl.BasicConstraintsValid = true
	p := &pair{key: key}
	if issuer == nil {
		issuer = &pair{cert: &tmpl, key: key}
	}
	der, err := x509.CreateCertificate(rand.Reader, &tmpl, issuer.cert, key.Public(), issuer.key)
	if err != nil {
		t.Fatal(err)
	}
	if p.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return p
}

func newKey(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newRSAKey(t testing.TB, bits int) crypto.Signer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// authority makes a CA; issuer nil makes a root.
func authority(t testing.TB, name string, issuer *pair) *pair {
	t.Helper()
	return issue(t, x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, KeyUsage: x509.KeyUsageCertSign},
		newKey(t), issuer)
}

// server is the template of a good certificate.
func server(names ...string) x509.Certificate {
	tmpl := x509.Certificate{Subject: pkix.Name{CommonName: "server"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			tmpl.IPAddresses = append(tmpl.IPAddresses, ip)
			continue
		}
		tmpl.DNSNames = append(tmpl.DNSNames, n)
	}
	return tmpl
}

// certificate makes a self-signed Certificate for names.
func certificate(t testing.TB, key crypto.Signer, names ...string) *Certificate {
	t.Helper()
	p := issue(t, server(names...), key, nil)
	c, err := parse("cert", "key", p.certPEM(), p.keyPEM(t))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (p *pair) certPEM() []byte { return block("CERTIFICATE", p.cert.Raw) }

func (p *pair) keyPEM(t testing.TB) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(p.key)
	if err != nil {
		t.Fatal(err)
	}
	return block("PRIVATE KEY", der)
}

func block(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func join(parts ...[]byte) []byte {
	var out []byte
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

// file writes data to a new file that only its owner can read.
func file(t testing.TB, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFingerprintsAreThoseOfOpenssl(t *testing.T) {
	// What openssl x509 -fingerprint -sha256 prints for these bytes' SHA-256 (FIPS 180, "abc").
	c := &Certificate{Leaf: &x509.Certificate{Raw: []byte("abc")}}
	const want = "BA:78:16:BF:8F:01:CF:EA:41:41:40:DE:5D:AE:22:23:B0:03:61:A3:96:17:7A:9C:B4:10:FF:61:F2:00:15:AD"
	if got := c.SHA256(); got != want {
		t.Errorf("SHA256() = %s, want %s", got, want)
	}
	const hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
	if got := c.Hex(); got != hex {
		t.Errorf("Hex() = %s, want %s", got, hex)
	}
	if sum := c.Fingerprint(); sum[0] != 0xba || sum[31] != 0xad {
		t.Errorf("Fingerprint() = %x", sum)
	}
}
