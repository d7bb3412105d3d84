package certs

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"os"
	"testing"
	"time"
)

// The copy for clients has the certificate and never the key, and is written
// again when the certificate is another one.
func TestPublicCopyHasNoKey(t *testing.T) {
	dir := t.TempDir()
	for range 2 {
		c, err := SelfSigned(dir, []string{"ftp.example.net"}, nil, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(dir+"/"+PublicFile, []byte("an old one"), 0o600); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			file, err := c.WritePublic(dir)
			if err != nil {
				t.Fatal(err)
			}
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			block, rest := pem.Decode(data)
			if block == nil || len(bytes.TrimSpace(rest)) != 0 || bytes.Contains(data, []byte("PRIVATE")) {
				t.Fatalf("%s holds more or less than one certificate:\n%s", file, data)
			}
			got, err := x509.ParseCertificate(block.Bytes)
			if err != nil || !got.Equal(c.Leaf) {
				t.Errorf("%s is another certificate: %v", file, err)
			}
			if fi, err := os.Stat(file); err != nil || fi.Mode().Perm() != 0o644 {
				t.Errorf("mode %v, %v; want 0644", fi.Mode(), err)
			}
		}
		if err := os.Remove(dir + "/" + SelfSignedFile); err != nil {
			t.Fatal(err)
		}
	}
}
