package interop

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io/fs"
	bignum "math/big"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"dray/account"
	"dray/fault"
	"dray/ftpclient"
	"dray/transfer"
)

// vsftpdTLS is serveVsftpd with a certificate.
func vsftpdTLS(t *testing.T, vsftpd, root string, more ...string) string {
	t.Helper()
	// Its ciphers want RSA.
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: bignum.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	pair := append(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}),
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	cert := filepath.Join(t.TempDir(), "cert.pem")
	if err := os.WriteFile(cert, pair, 0o600); err != nil {
		t.Fatal(err)
	}
	return serveVsftpd(t, vsftpd, root, append([]string{"anonymous_enable=NO", "local_umask=022", "rsa_cert_file=" + cert}, more...)...)
}

// fetchedBytes is a Dest.
type fetchedBytes struct{ bytes.Buffer }

func (m *fetchedBytes) Offset() int64                          { return 0 }
func (m *fetchedBytes) WriteAt(b []byte, _ int64) (int, error) { return m.Write(b) }

// givenBytes is a vfs.File.
type givenBytes struct{ *bytes.Reader }

func (givenBytes) Close() error                 { return nil }
func (h givenBytes) Stat() (fs.FileInfo, error) { return bytesInfo(h.Size()), nil }

type bytesInfo int64

func (bytesInfo) Name() string       { return "" }
func (h bytesInfo) Size() int64      { return int64(h) }
func (bytesInfo) Mode() fs.FileMode  { return 0o644 }
func (bytesInfo) ModTime() time.Time { return time.Time{} }
func (bytesInfo) IsDir() bool        { return false }
func (bytesInfo) Sys() any           { return nil }

// Our client with a server that wants the session of the control connection on
// every data connection, that lists by LIST alone, and that has one sentence for
// all refusals.
func TestClientWithVsftpd(t *testing.T) {
	vsftpd := peer(t, "vsftpd")
	secure := []string{"ssl_enable=YES", "require_ssl_reuse=YES", "force_local_logins_ssl=YES", "force_local_data_ssl=YES"}
	for _, try := range []struct {
		name string
		conf []string
		opt  ftpclient.Options
	}{
		{"TLS", secure, ftpclient.Options{TLS: &tls.Config{InsecureSkipVerify: true}}},
		{"TLS 1.2", secure, ftpclient.Options{TLS: &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}}},
		{"implicit", append(slices.Clone(secure), "implicit_ssl=YES"), ftpclient.Options{Mode: ftpclient.TLSImplicit, TLS: &tls.Config{InsecureSkipVerify: true}}},
		{"active", secure, ftpclient.Options{TLS: &tls.Config{InsecureSkipVerify: true}, Active: true}},
		{"clear", nil, ftpclient.Options{Plain: true}},
	} {
		t.Run(try.name, func(t *testing.T) {
			root := open(t)
			if err := os.Chmod(root, 0o777); err != nil {
				t.Fatal(err)
			}
			opt := try.opt
			opt.Addr, opt.User, opt.Password, opt.Timeout = vsftpdTLS(t, vsftpd, root, try.conf...), local, account.NewSecret(password), 20*time.Second
			ctx := t.Context()
			c, err := ftpclient.Dial(ctx, opt)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			want := map[string][]byte{"empty": {}, "one": {1}, ".hidden": []byte("h"), "two words": []byte("w"), "big": bytes.Repeat([]byte("0123456789abcdef"), 100_000)}
			for name, b := range want {
				if _, err := c.Send(ctx, "/"+name, ftpclient.Put{}, givenBytes{bytes.NewReader(b)}, transfer.Options{}); err != nil {
					t.Fatalf("Send %q: %v", name, err)
				}
				var m fetchedBytes
				if _, err := c.Receive(ctx, "/"+name, ftpclient.Get{Size: -1}, &m, transfer.Options{}); err != nil || !bytes.Equal(m.Bytes(), b) {
					t.Fatalf("Receive %q: %d bytes of %d, %v", name, m.Len(), len(b), err)
				}
			}
			n := 0
			for l, err := range c.List(ctx, "/") {
				if err != nil {
					t.Fatal(err)
				}
				if b, ok := want[l.Name]; !ok || l.Size != int64(len(b)) {
					t.Errorf("the listing has %q of %d bytes", l.Name, l.Size)
				}
				n++
			}
			if n != len(want) {
				t.Errorf("%d entries, want %d", n, len(want))
			}
			at := time.Date(2021, 2, 3, 4, 5, 6, 0, time.UTC)
			if err := c.SetTime(ctx, "/one", at); err != nil {
				t.Errorf("SetTime: %v", err)
			}
			if l, err := c.Stat(ctx, "/one"); err != nil || !l.Time.Equal(at) || l.Size != 1 {
				t.Errorf("Stat = %+v, %v", l, err)
			}
			if err := c.Mkdir(ctx, "/dir"); err != nil {
				t.Fatal(err)
			}
			_, missing := c.Receive(ctx, "/nope", ftpclient.Get{Size: -1}, &fetchedBytes{}, transfer.Options{})
			_, isDir := c.Receive(ctx, "/dir", ftpclient.Get{Size: -1}, &fetchedBytes{}, transfer.Options{})
			for _, no := range []struct {
				what string
				err  error
				kind fault.Kind
			}{{"a missing file", missing, fault.NotFound}, {"a directory", isDir, fault.IsDir}, {"a directory again", c.Mkdir(ctx, "/dir"), fault.Exists}} {
				if no.err == nil || fault.KindOf(no.err) != no.kind {
					t.Errorf("%s: %v", no.what, no.err)
				}
			}
			for _, err := range c.List(ctx, "/nope") {
				if fault.KindOf(err) != fault.NotFound {
					t.Errorf("the listing of a missing directory: %v", err)
				}
			}
			if err := c.Quit(ctx); err != nil {
				t.Errorf("Quit: %v", err)
			}
		})
	}
}
