package ftpclient

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	mathrand "math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"dray/account"
	"dray/certs"
	"dray/fault"
	"dray/ftp"
	"dray/ftpserver"
	"dray/gate"
	"dray/guard"
	"dray/vfs"
	"dray/vfs/memfs"
)

// TestMain fails when a goroutine of a client is left after all tests.
func TestMain(m *testing.M) {
	farAway = 100 * time.Millisecond
	code := m.Run()
	if code == 0 {
		if left := leftovers(3 * time.Second); left != "" {
			fmt.Fprintf(os.Stderr, "goroutines are left after the tests:\n%s\n", left)
			code = 1
		}
	}
	os.Exit(code)
}

// leftovers are the stacks of goroutines of clients, once patience is over.
func leftovers(patience time.Duration) string {
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		buf := make([]byte, 4<<20)
		buf = buf[:runtime.Stack(buf, true)]
		var left []string
		for _, g := range strings.Split(string(buf), "\n\n") {
			if strings.Contains(g, "dray/ftpclient.(*") || strings.Contains(g, "dray/transfer.") {
				left = append(left, g)
			}
		}
		if len(left) == 0 {
			return ""
		}
		if time.Now().After(end) {
			return strings.Join(left, "\n\n")
		}
	}
}

const patience = 30 * time.Second

func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

var certificate = sync.OnceValue(func() *certs.Certificate {
	dir, err := os.MkdirTemp("", "dray-test-*")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	c, err := certs.SelfSigned(filepath.Join(dir, "state"), []string{"localhost"}, []netip.Addr{netip.MustParseAddr("127.0.0.1")}, time.Now())
	if err != nil {
		panic(err)
	}
	return c
})

func serverTLS() *tls.Config {
	cfg := certs.ServerConfig(certs.NewSet(certificate()))
	var key [32]byte
	_, _ = rand.Read(key[:])
	cfg.SetSessionTicketKeys([][32]byte{key})
	return cfg
}

// trusting verifies nobody.
func trusting() *tls.Config { return &tls.Config{InsecureSkipVerify: true} }

// A site is one of our servers, with a tree in memory and the user alice.
type site struct {
	addr string
	mem  *memfs.Tree
}

var allPorts = ftpserver.NewPorts(30000, 32000)

func newSite(t testing.TB, rules ftpserver.Rules) *site { return newSiteAt(t, rules, "127.0.0.1:0") }

func newSiteAt(t testing.TB, rules ftpserver.Rules, at string) *site {
	t.Helper()
	tree := memfs.New(memfs.Options{})
	one := account.NewOne(&account.Account{Name: "alice", Rights: account.Full}, account.NewSecret("secret"), nil)
	g := &gate.Gate{
		Guard:    guard.New(guard.Limits{Exempt: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}}, nil),
		Verifier: one, Trees: func(context.Context, account.Account) (vfs.FS, error) { return tree, nil },
	}
	rules.Door = &gate.Door{Name: "test", Protocol: "ftp", Plain: true}
	rules.Ports, rules.DataWait, rules.Stall = allPorts, 3*time.Second, 10*time.Second
	server := ftpserver.New(g, slog.New(slog.DiscardHandler))
	l, err := net.Listen("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l, func() *ftpserver.Rules { return &rules }) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			t.Errorf("connections were left: %v", err)
		}
		<-served
	})
	return &site{addr: l.Addr().String(), mem: tree}
}

// way is one way of talking to our server.

type way struct {
	name  string
	rules ftpserver.Rules
	opt   Options
}

func ways() []way {
	return []way{
		{"clear", ftpserver.Rules{}, Options{Plain: true}},
		{"auth", ftpserver.Rules{TLS: serverTLS()}, Options{TLS: trusting()}},
		{"auth, reuse required", ftpserver.Rules{TLS: serverTLS(), Session: ftpserver.SessionRequire}, Options{TLS: trusting()}},
		{"auth, TLS 1.2", ftpserver.Rules{TLS: serverTLS(), Session: ftpserver.SessionRequire}, Options{TLS: &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}}},
		{"implicit", ftpserver.Rules{TLS: serverTLS(), Implicit: true}, Options{Mode: TLSImplicit, TLS: trusting()}},
		{"active", ftpserver.Rules{}, Options{Plain: true, Active: true}},
		{"active, auth", ftpserver.Rules{TLS: serverTLS()}, Options{TLS: trusting(), Active: true}},
		{"one by one", ftpserver.Rules{TLS: serverTLS()}, Options{TLS: trusting(), OneByOne: true}},
	}
}

// as is opt for alice at addr, with short times.
func as(opt Options, addr string) Options {
	opt.Addr, opt.User, opt.Password = addr, "alice", account.NewSecret("secret")
	if opt.Timeout == 0 {
		opt.Timeout = 10 * time.Second
	}
	return opt
}

func dial(t testing.TB, opt Options) *Conn {
	t.Helper()
	if testing.Verbose() && opt.Trace == nil {
		opt.Trace = &Trace{
			Command: func(line string) { t.Log("> " + line) },
			Reply:   func(r ftp.Reply) { t.Log("< " + r.Said()) },
			Note:    func(text string) { t.Log("* " + text) },
		}
	}
	c, err := Dial(within(t), opt)
	if err != nil {
		t.Fatalf("Dial: %v", err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// A sink is a Dest in memory.
type sink struct {
	b  []byte
	at int64
}

func (s *sink) Offset() int64 { return s.at }

func (s *sink) WriteAt(b []byte, at int64) (int, error) {
	if end := int(at) + len(b); end > len(s.b) {
		s.b = append(s.b, make([]byte, end-len(s.b))...)
	}
	return copy(s.b[at:], b), nil
}

// A source is a vfs.File in memory.
type source struct{ *bytes.Reader }

func from(b []byte) source { return source{bytes.NewReader(b)} }

func (source) Close() error { return nil }

func (s source) Stat() (fs.FileInfo, error) { return sized{s.Size()}, nil }

type sized struct{ n int64 }

func (sized) Name() string       { return "source" }
func (s sized) Size() int64      { return s.n }
func (sized) Mode() fs.FileMode  { return 0o644 }
func (sized) ModTime() time.Time { return time.Time{} }
func (sized) IsDir() bool        { return false }
func (sized) Sys() any           { return nil }

func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = mathrand.NewChaCha8([32]byte{7}).Read(b)
	return b
}

// put and get are what most tests do, without options.
func put(t testing.TB, c *Conn, path string, b []byte) {
	t.Helper()
	if rep, err := c.Send(within(t), path, Put{Size: int64(len(b))}, from(b), none); err != nil || rep.Bytes != int64(len(b)) {
		t.Fatalf("Send %s = %d, %v", path, rep.Bytes, err)
	}
}

func get(t testing.TB, c *Conn, path string) []byte {
	t.Helper()
	var s sink
	if _, err := c.Receive(within(t), path, Get{Size: -1}, &s, none); err != nil {
		t.Fatalf("Receive %s: %v", path, err)
	}
	return s.b
}

func list(t testing.TB, c *Conn, path string) (names []string) {
	t.Helper()
	for l, err := range c.List(within(t), path) {
		if err != nil {
			t.Fatalf("List %s: %v", path, err)
		}
		names = append(names, l.Name)
	}
	return names
}

// wants fails unless err has this kind and id.
func wants(t testing.TB, what string, err error, kind fault.Kind, id fault.ID) {
	t.Helper()
	var fe *fault.Error
	if !errors.As(err, &fe) {
		t.Errorf("%s: %v; want %s", what, err, id)
		return
	}
	if fe.Kind != kind || fe.ID != id {
		t.Errorf("%s: kind %d, id %s (%v); want kind %d, id %s", what, fe.Kind, fe.ID, err, kind, id)
	}
}

var _ io.Closer = source{}
