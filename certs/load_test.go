package certs

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestLoadTakesEveryUsualForm(t *testing.T) {
	root := authority(t, "Root", nil)
	middle := authority(t, "Middle", root)
	key := newKey(t)
	ec := issue(t, server("files.example"), key, middle)
	chain := join(ec.certPEM(), middle.certPEM())
	sec1, err := x509.MarshalECPrivateKey(key.(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	rsaKey := newRSAKey(t, 2048)
	withRSA := issue(t, server("files.example"), rsaKey, nil)
	pkcs1 := x509.MarshalPKCS1PrivateKey(rsaKey.(*rsa.PrivateKey))
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ed := issue(t, server("files.example"), edKey, nil)

	tests := []struct {
		name      string
		cert, key []byte // no key: one file for both
		chain     int
	}{
		{"PKCS 8", chain, ec.keyPEM(t), 2},
		{"SEC 1", chain, block("EC PRIVATE KEY", sec1), 2},
		{"SEC 1 behind its parameters", chain, join(block("EC PARAMETERS", []byte{6, 0}), block("EC PRIVATE KEY", sec1)), 2},
		{"PKCS 1", withRSA.certPEM(), block("RSA PRIVATE KEY", pkcs1), 1},
		{"PKCS 1 in a block with the wrong name", withRSA.certPEM(), block("PRIVATE KEY", pkcs1), 1},
		{"Ed25519", ed.certPEM(), ed.keyPEM(t), 1},
		{"one file, key last", join(chain, ec.keyPEM(t)), nil, 2},
		{"one file, key first", join(ec.keyPEM(t), chain), nil, 2},
		{"text around the blocks", join([]byte("subject=files.example\n"), chain, []byte("\nbye\n")), ec.keyPEM(t), 2},
		{"byte order mark and CRLF", join([]byte("\xef\xbb\xbf"), bytes.ReplaceAll(chain, []byte("\n"), []byte("\r\n"))), ec.keyPEM(t), 2},
		{"request left in the file", join(block("CERTIFICATE REQUEST", []byte{1}), chain), ec.keyPEM(t), 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			certFile, keyFile := file(t, "cert.pem", tt.cert), ""
			if tt.key != nil {
				keyFile = file(t, "key.pem", tt.key)
			}
			c, err := Load(certFile, keyFile)
			if err != nil {
				t.Fatal(err)
			}
			if len(c.TLS.Certificate) != tt.chain || c.Leaf.DNSNames[0] != "files.example" {
				t.Errorf("chain of %d for %v, want %d", len(c.TLS.Certificate), c.Leaf.DNSNames, tt.chain)
			}
			if p := c.Problems(); len(p) != 0 {
				t.Errorf("problems: %q", p)
			}
		})
	}
}

func TestLoadSaysWhatIsWrong(t *testing.T) {
	root := authority(t, "Root", nil)
	good := issue(t, server("files.example"), newKey(t), root)
	other := issue(t, server("other.example"), newKey(t), nil)
	request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{"files.example"}}, good.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, key := good.certPEM(), good.keyPEM(t)
	oldLocked := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: []byte{1},
		Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-128-CBC,00"}})

	tests := []struct {
		name      string
		cert, key []byte
		why       Why
		file      string // which one is named
		says      string
	}{
		{"certificate request", block("CERTIFICATE REQUEST", request), key, Request, "cert.pem", "a certificate request, not a certificate"},
		{"certificate request of Windows", block("NEW CERTIFICATE REQUEST", request), key, Request, "cert.pem", "certificate that comes back"},
		{"files swapped", key, cert, NoCertificate, "cert.pem", "swapped"},
		{"certificate twice", cert, cert, NoKey, "key.pem", "a certificate and no private key"},
		{"only parameters", cert, block("EC PARAMETERS", []byte{6, 0}), NoKey, "key.pem", "BEGIN PRIVATE KEY"},
		{"no certificate but other things", block("DH PARAMETERS", []byte{1}), key, NoCertificate, "cert.pem", "BEGIN CERTIFICATE"},
		{"key of another certificate", cert, other.keyPEM(t), Mismatch, "key.pem", `issued to "files.example"`},
		{"authority before the server", join(root.certPEM(), cert), key, Order, "cert.pem", "certificate 2 of the file"},
		{"binary form", good.cert.Raw, key, NotPEM, "cert.pem", "openssl x509 -inform DER"},
		{"empty certificate file", nil, key, NotPEM, "cert.pem", "not a PEM file"},
		{"empty key file", cert, nil, NotPEM, "key.pem", "not a PEM file"},
		{"certificate cut off", cert[:len(cert)-40], key, Damaged, "cert.pem", "does not end"},
		{"second certificate cut off", join(cert, cert[:200]), key, Damaged, "cert.pem", "does not end"},
		{"key cut off", cert, key[:len(key)-40], Damaged, "key.pem", "does not end"},
		{"certificate that is none", block("CERTIFICATE", []byte("no")), key, Damaged, "cert.pem", "certificate 1"},
		{"key that is none", cert, block("PRIVATE KEY", []byte("no")), Damaged, "key.pem", "private key"},
		{"key with passphrase", cert, block("ENCRYPTED PRIVATE KEY", []byte{1}), Locked, "key.pem", "openssl pkey -in"},
		{"key with passphrase, old form", cert, oldLocked, Locked, "key.pem", "passphrase"},
		{"key of OpenSSH", cert, block("OPENSSH PRIVATE KEY", []byte{1}), NoKey, "key.pem", "for SSH"},
		{"far too large", make([]byte, maxFile+1), key, NotPEM, "cert.pem", "1 MiB"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := Load(file(t, "cert.pem", tt.cert), file(t, "key.pem", tt.key))
			wantError(t, err, tt.why, tt.file, tt.says)
			if c != nil {
				t.Error("a certificate with the error")
			}
		})
	}
}

func wantError(t *testing.T, err error, why Why, base, says string) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("error = %v, want an *Error", err)
	}
	if e.Why != why || filepath.Base(e.File) != base || e.Do == "" {
		t.Errorf("why %d, file %s, do %q; want why %d, file %s", e.Why, e.File, e.Do, why, base)
	}
	if msg := err.Error(); !strings.Contains(msg, says) || !strings.Contains(msg, e.File) || strings.Contains(msg, "\n") {
		t.Errorf("message %q does not say %q in one line with the file", msg, says)
	}
}

func TestLoadNamesTheFileThatIsMissing(t *testing.T) {
	p := issue(t, server("files.example"), newKey(t), nil)
	dir := t.TempDir()
	_, err := Load(filepath.Join(dir, "cert.pem"), "")
	wantError(t, err, NoFile, "cert.pem", "no such file")
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v is not os.ErrNotExist", err)
	}
	_, err = Load(file(t, "cert.pem", p.certPEM()), filepath.Join(dir, "key.pem"))
	wantError(t, err, NoFile, "key.pem", "no such file")
	_, err = Load(dir, "")
	wantError(t, err, Unreadable, filepath.Base(dir), "directory")
}

func TestLoadReturnsACertificateOutOfItsTimeWithTheError(t *testing.T) {
	tmpl := server("files.example")
	tmpl.NotBefore = time.Date(2031, 5, 1, 12, 0, 0, 0, time.UTC)
	tmpl.NotAfter = time.Date(2031, 8, 1, 12, 0, 0, 0, time.UTC)
	p := issue(t, tmpl, newKey(t), nil)
	name := file(t, "both.pem", join(p.certPEM(), p.keyPEM(t)))
	tests := []struct {
		name string
		now  time.Time
		why  Why
		says string
	}{
		{"a second early", tmpl.NotBefore.Add(-time.Second), NotYet, "valid from 2031-05-01 12:00 UTC on"},
		{"the first second", tmpl.NotBefore, 0, ""},
		{"the last second", tmpl.NotAfter, 0, ""},
		{"a second late", tmpl.NotAfter.Add(time.Second), Expired, "expired at 2031-08-01 12:00 UTC"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := load(name, "", tt.now)
			if c == nil {
				t.Fatalf("no certificate: %v", err)
			}
			if tt.why == 0 && err != nil {
				t.Fatal(err)
			}
			if tt.why != 0 {
				wantError(t, err, tt.why, "both.pem", tt.says)
			}
		})
	}
}

func TestProblemsAreWhatClientsStumbleOver(t *testing.T) {
	root := authority(t, "Root", nil)
	middle := authority(t, "Middle", root)
	plain := server("files.example")
	mail := plain
	mail.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection}
	anyUse := plain
	anyUse.ExtKeyUsage = nil
	nameless := server()
	nameless.Subject = pkix.Name{CommonName: "files.example"}
	short := newRSAKey(t, 1024)

	tests := []struct {
		name string
		leaf *pair
		more [][]byte
		want []string
	}{
		{"whole chain", issue(t, plain, newKey(t), middle), [][]byte{middle.certPEM()}, nil},
		{"whole chain with the root", issue(t, plain, newKey(t), middle), [][]byte{middle.certPEM(), root.certPEM()}, nil},
		{"self-signed", issue(t, plain, newKey(t), nil), nil, nil},
		{"no usage named means any", issue(t, anyUse, newKey(t), nil), nil, nil},
		{"intermediate missing", issue(t, plain, newKey(t), middle), nil, []string{"CN=Middle"}},
		{"intermediate skipped", issue(t, plain, newKey(t), middle), [][]byte{root.certPEM()}, []string{"certificate 2 of the file did not issue certificate 1"}},
		{"no names but the common one", issue(t, nameless, newKey(t), nil), nil, []string{"subject alternative name"}},
		{"for mail", issue(t, mail, newKey(t), nil), nil, []string{"serverAuth"}},
		{"short key", issue(t, plain, short, nil), nil, []string{"1024 bits"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			data := join(append([][]byte{tt.leaf.keyPEM(t), tt.leaf.certPEM()}, tt.more...)...)
			c, err := Load(file(t, "both.pem", data), "")
			if err != nil {
				t.Fatal(err)
			}
			got := c.Problems()
			if len(got) != len(tt.want) {
				t.Fatalf("problems %q, want %q", got, tt.want)
			}
			for i := range got {
				if !strings.Contains(got[i], tt.want[i]) {
					t.Errorf("problem %q does not say %q", got[i], tt.want[i])
				}
			}
		})
	}
}

func TestAKeyForEverybodyIsAProblem(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no permission bits")
	}
	p := issue(t, server("files.example"), newKey(t), nil)
	cert, key := file(t, "cert.pem", p.certPEM()), file(t, "key file.pem", p.keyPEM(t))
	for _, tt := range []struct {
		mode os.FileMode
		want int
	}{{0o600, 0}, {0o640, 0}, {0o644, 1}} {
		if err := os.Chmod(key, tt.mode); err != nil {
			t.Fatal(err)
		}
		c, err := Load(cert, key)
		if err != nil {
			t.Fatal(err)
		}
		got := c.Problems()
		if len(got) != tt.want {
			t.Fatalf("mode %o: problems %q", tt.mode, got)
		}
		if tt.want == 1 && !strings.HasSuffix(got[0], "chmod o= '"+key+"'") {
			t.Errorf("problem %q has no command to paste", got[0])
		}
	}
}

// Whatever the files hold: either a pair that belongs together, or an error
// with a remedy and without a byte of the files.
func FuzzParse(f *testing.F) {
	p := issue(f, server("files.example"), newKey(f), nil)
	cert, key := p.certPEM(), p.keyPEM(f)
	f.Add(cert, key)
	f.Add(key, cert)
	f.Add(join(cert, cert), key)
	f.Add(cert[:100], key)
	f.Add(block("CERTIFICATE REQUEST", []byte{1}), block("ENCRYPTED PRIVATE KEY", []byte{2}))
	f.Fuzz(func(t *testing.T, cert, key []byte) {
		c, err := parse("cert.pem", "key.pem", cert, key)
		if err == nil {
			if !belongs(c.TLS.PrivateKey.(*ecdsa.PrivateKey), c.Leaf) || len(c.TLS.Certificate) == 0 ||
				!bytes.Equal(c.TLS.Certificate[0], c.Leaf.Raw) {
				t.Error("key and certificate do not belong together")
			}
			return
		}
		var e *Error
		if c != nil || !errors.As(err, &e) || e.Why == 0 || e.Text == "" || e.Do == "" {
			t.Fatalf("parse = %v, %v", c, err)
		}
	})
}
