package transfer

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"io/fs"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"dray/fault"
	"dray/vfs"
)

// raced is true under the race detector, where pools forget on purpose.
var raced bool

// disk is a file of the system: an upload, or a file open for reading.
type disk struct {
	*os.File
	at int64
}

func (d disk) OSFile() *os.File { return d.File }
func (d disk) Offset() int64    { return d.at }

// plain is a disk that hides its descriptor.
type plain struct{ d disk }

func (p plain) ReadAt(b []byte, at int64) (int, error)  { return p.d.ReadAt(b, at) }
func (p plain) WriteAt(b []byte, at int64) (int, error) { return p.d.WriteAt(b, at) }
func (p plain) Stat() (fs.FileInfo, error)              { return p.d.Stat() }
func (p plain) Offset() int64                           { return p.d.at }
func (p plain) Close() error                            { return p.d.Close() }

var (
	_ vfs.File   = disk{}
	_ vfs.Kernel = disk{}
	_ Dest       = disk{}
	_ vfs.File   = plain{}
	_ Dest       = plain{}
)

// newDisk is a new file with the given content, at offset at.
func newDisk(t testing.TB, content []byte, at int64) disk {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return disk{f, at}
}

func (d disk) content(t testing.TB) []byte {
	t.Helper()
	b, err := os.ReadFile(d.Name())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// noise is n bytes that differ from place to place.
func noise(n int) []byte {
	b := make([]byte, n)
	r := mathrand.NewChaCha8([32]byte{1})
	r.Read(b)
	return b
}

// pair is a TCP connection over loopback, both ends.
func pair(t testing.TB) (server, client *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(); c.Close() })
	return s.(*net.TCPConn), c.(*net.TCPConn)
}

var certificate = sync.OnceValue(func() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"ftp.example.net"}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
})

// over puts TLS of one version on both ends of a connection and does the handshake.
func over(t testing.TB, version uint16, rawServer, rawClient net.Conn) (server, client *Secure) {
	t.Helper()
	server = Server(rawServer, &tls.Config{
		Certificates: []tls.Certificate{certificate()}, MinVersion: version, MaxVersion: version,
		DynamicRecordSizingDisabled: true, SessionTicketsDisabled: true,
	})
	client = Client(rawClient, &tls.Config{
		InsecureSkipVerify: true, MinVersion: version, MaxVersion: version, DynamicRecordSizingDisabled: true,
	})
	done := make(chan error, 1)
	go func() { done <- client.Handshake() }()
	if err := errors.Join(server.Handshake(), <-done); err != nil {
		t.Fatal(err)
	}
	return server, client
}

var versions = []struct {
	name string
	id   uint16
}{{"TLS 1.2", tls.VersionTLS12}, {"TLS 1.3", tls.VersionTLS13}}

// drain reads c to its end in the background.
func drain(c net.Conn) func() ([]byte, error) {
	var b []byte
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		b, err = io.ReadAll(c)
	}()
	return func() ([]byte, error) { <-done; return b, err }
}

// feed writes b to c and closes it, in the background.
func feed(t testing.TB, c net.Conn, b []byte) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = c.Write(b) // a test that cuts the transfer makes it fail
		c.Close()
	}()
	t.Cleanup(func() { socket(c).Close(); <-done })
}

// socket is what is below TLS, or c itself.
func socket(c net.Conn) net.Conn {
	if s, ok := c.(*Secure); ok {
		return s.Raw()
	}
	return c
}

// stingy grants the given amounts in turn, and checks its user.
type stingy struct {
	t      testing.TB
	grants []int64
	calls  int
	open   int64 // granted and not booked
	moved  int64
	refuse error // once limit has moved
	limit  int64
}

func (m *stingy) Take(_ context.Context, want int64) (int64, error) {
	if m.open != 0 {
		m.t.Errorf("Take while %d bytes are not booked", m.open)
	}
	if want < 1 || want > maxSlice {
		m.t.Errorf("Take(%d); want 1 to %d", want, maxSlice)
	}
	if m.refuse != nil {
		if m.moved >= m.limit {
			return 0, m.refuse
		}
		want = min(want, m.limit-m.moved)
	}
	if len(m.grants) > 0 {
		want = min(want, m.grants[m.calls%len(m.grants)])
	}
	m.calls++
	m.open = want
	return want, nil
}

func (m *stingy) Done(taken, moved int64) {
	if taken != m.open || moved < 0 || moved > taken {
		m.t.Errorf("Done(%d, %d) after %d were granted", taken, moved, m.open)
	}
	m.open = 0
	m.moved += moved
}

// wantFault fails unless err is of this kind and id.
func wantFault(t *testing.T, err error, kind fault.Kind, id fault.ID) {
	t.Helper()
	if fe := fault.Of(err); err == nil || fault.KindOf(err) != kind || fe.ID != id {
		t.Errorf("error %v; want kind %d, id %s", err, kind, id)
	}
}

// script is a connection that hands out the bytes of in and keeps those written.
type script struct {
	in  *bytes.Reader
	out bytes.Buffer
}

func (s *script) Read(b []byte) (int, error)       { return s.in.Read(b) }
func (s *script) Write(b []byte) (int, error)      { return s.out.Write(b) }
func (*script) Close() error                       { return nil }
func (*script) LocalAddr() net.Addr                { return &net.TCPAddr{} }
func (*script) RemoteAddr() net.Addr               { return &net.TCPAddr{} }
func (*script) SetDeadline(time.Time) error        { return nil }
func (*script) SetReadDeadline(t time.Time) error  { return nil }
func (*script) SetWriteDeadline(t time.Time) error { return nil }

// memory is a file in memory, both ways, without a descriptor.
type memory struct{ b []byte }

func (m *memory) Offset() int64              { return 0 }
func (m *memory) Close() error               { return nil }
func (m *memory) Stat() (fs.FileInfo, error) { return size(len(m.b)), nil }
func (m *memory) ReadAt(b []byte, at int64) (int, error) {
	return bytes.NewReader(m.b).ReadAt(b, at)
}
func (m *memory) WriteAt(b []byte, at int64) (int, error) {
	if gap := int(at) + len(b) - len(m.b); gap > 0 {
		m.b = append(m.b, make([]byte, gap)...)
	}
	return copy(m.b[at:], b), nil
}

// zeros is a file of so many zeros that nobody has to keep.
type zeros int64

func (zeros) Close() error                 { return nil }
func (z zeros) Stat() (fs.FileInfo, error) { return size(z), nil }
func (z zeros) ReadAt(b []byte, at int64) (int, error) {
	if left := int64(z) - at; left < int64(len(b)) {
		return int(max(left, 0)), io.EOF
	}
	return len(b), nil
}

// size is the FileInfo of a file of which only the length is known.
type size int64

func (size) Name() string       { return "file" }
func (s size) Size() int64      { return int64(s) }
func (size) Mode() fs.FileMode  { return 0o600 }
func (size) ModTime() time.Time { return time.Time{} }
func (size) IsDir() bool        { return false }
func (size) Sys() any           { return nil }

// void takes every byte and keeps none.
type void struct{ at int64 }

func (v void) Offset() int64                        { return v.at }
func (void) WriteAt(b []byte, _ int64) (int, error) { return len(b), nil }
