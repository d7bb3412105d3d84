package sftpserver

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"dray/account"
	"dray/event"
	"dray/gate"
	"dray/guard"
	"dray/sftp"
	"dray/vfs"
	"dray/vfs/osfs"
)

// The password of every account.
const password = "sesame"

// people are accounts that are known by heart.
type people struct {
	mu    sync.Mutex
	known map[string]account.Account
}

func (p *people) Lookup(_ context.Context, name string) (account.Account, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	a, ok := p.known[name]
	if !ok {
		return a, fs.ErrNotExist
	}
	return a, nil
}

func (p *people) Verify(ctx context.Context, name string, s account.Secret, _ netip.Addr, bar account.Bar) (account.Account, error) {
	a, err := p.Lookup(ctx, name)
	if err != nil || s.Reveal() != password {
		return account.Account{}, account.ErrWrong
	}
	if why := bar(&a); why != "" {
		return account.Account{}, fmt.Errorf("%w: %s", account.ErrWrong, why)
	}
	return a, nil
}

// seen are the events there were.
type seen struct {
	mu  sync.Mutex
	all []any
}

func (s *seen) Event(_ context.Context, e any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, e)
}

func (s *seen) transfers() (all []event.Transfer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.all {
		if t, ok := e.(event.Transfer); ok {
			all = append(all, t)
		}
	}
	return all
}

// A stage is a server with one directory, and the account "anna" in it.
type stage struct {
	t      testing.TB
	dir    string
	addr   string
	key    ssh.Signer // anna's
	people *people
	events *seen
	gate   *gate.Gate
	server *Server
	rules  *Rules
	log    *lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

var hostSigners = sync.OnceValue(func() []ssh.Signer {
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	must(err)
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	r, err := rsa.GenerateKey(rand.Reader, 3072)
	must(err)
	var all []ssh.Signer
	for _, k := range []any{ed, ec, r} {
		s, err := ssh.NewSignerFromKey(k)
		must(err)
		all = append(all, s)
	}
	return all
})

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func need(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// builtStage is a stage whose server does not listen.
func builtStage(t testing.TB, with ...func(*stage)) *stage {
	t.Helper()
	st := &stage{
		t: t, dir: t.TempDir(), people: &people{known: map[string]account.Account{}}, events: &seen{}, log: &lockedBuffer{},
		rules: &Rules{Door: &gate.Door{Name: "test", Protocol: gate.ProtocolSFTP}, HostKeys: hostSigners()},
	}
	_, private, err := ed25519.GenerateKey(rand.Reader)
	need(t, err)
	st.key, err = ssh.NewSignerFromSigner(private)
	need(t, err)
	line, err := account.ParseKey(string(ssh.MarshalAuthorizedKey(st.key.PublicKey())))
	need(t, err)
	st.people.known["anna"] = account.Account{Name: "anna", Rights: account.All, Keys: []account.Key{line}}
	log := slog.New(slog.NewTextHandler(st.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	disk := osfs.NewDisk(osfs.SyncCommit, log)
	st.gate = &gate.Gate{
		Guard: guard.New(guard.Limits{}, nil), Verifier: st.people, Directory: st.people, Events: st.events, Log: log,
		Trees: func(context.Context, account.Account) (vfs.FS, error) { return disk.Open(st.dir) },
	}
	st.server = New(st.gate, log)
	for _, f := range with {
		f(st)
	}
	return st
}

// newStage begins a server, with the rules changed by with.
func newStage(t testing.TB, with ...func(*stage)) *stage {
	t.Helper()
	st := builtStage(t, with...)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	need(t, err)
	st.addr = l.Addr().String()
	served := make(chan error, 1)
	rules := st.rules.Complete()
	go func() { served <- st.server.Serve(l, func() *Rules { return rules }) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		_ = st.server.Shutdown(ctx)
		if err := <-served; err != nil {
			t.Errorf("Serve = %v", err)
		}
		if s := st.log.String(); strings.Contains(s, "msg=panic") {
			t.Errorf("a panic:\n%s", s)
		}
	})
	return st
}

// dial logs in by password.
func (st *stage) dial() *ssh.Client {
	st.t.Helper()
	c, err := ssh.Dial("tcp", st.addr, &ssh.ClientConfig{
		User: "anna", Auth: []ssh.AuthMethod{ssh.Password(password)}, HostKeyCallback: ssh.InsecureIgnoreHostKey(), Timeout: 10 * time.Second,
	})
	need(st.t, err)
	st.t.Cleanup(func() { _ = c.Close() })
	return c
}

func (st *stage) file(name string) string {
	st.t.Helper()
	b, err := os.ReadFile(filepath.Join(st.dir, name))
	need(st.t, err)
	return string(b)
}

func (st *stage) put(name, content string) {
	st.t.Helper()
	need(st.t, os.WriteFile(filepath.Join(st.dir, name), []byte(content), 0o644))
}

func (st *stage) missing(name string) {
	st.t.Helper()
	if _, err := os.Lstat(filepath.Join(st.dir, name)); !errors.Is(err, fs.ErrNotExist) {
		st.t.Errorf("%s is there: %v", name, err)
	}
}

// A wireClient speaks SFTP packet by packet.
type wireClient struct {
	t   testing.TB
	ch  ssh.Channel
	buf []byte
	id  uint32
}

// open begins SFTP on a new channel, without INIT.
func open(t testing.TB, c *ssh.Client) *wireClient {
	t.Helper()
	ch, reqs, err := c.OpenChannel("session", nil)
	need(t, err)
	go ssh.DiscardRequests(reqs)
	ok, err := ch.SendRequest("subsystem", true, ssh.Marshal(struct{ S string }{"sftp"}))
	need(t, err)
	if !ok {
		t.Fatal("the subsystem was refused")
	}
	return &wireClient{t: t, ch: ch}
}

// newWire is a client behind INIT.
func (st *stage) newWire() *wireClient {
	st.t.Helper()
	w := open(st.t, st.dial())
	w.send((&sftp.Request{Type: sftp.TypeInit, Version: 3}).Append(nil))
	if p := w.receive(); p.Type != sftp.TypeVersion || p.Version != 3 {
		st.t.Fatalf("VERSION is %+v", p)
	}
	return w
}

func (w *wireClient) send(b []byte) {
	w.t.Helper()
	_, err := w.ch.Write(b)
	need(w.t, err)
}

// next is the next packet, false at the end.
func (w *wireClient) next() (p sftp.Reply, ok bool) {
	w.t.Helper()
	for {
		body, rest, _, err := sftp.Split(w.buf)
		need(w.t, err)
		if body != nil {
			need(w.t, p.Parse(bytes.Clone(body)))
			w.buf = rest
			return p, true
		}
		b := make([]byte, 64<<10)
		n, err := w.ch.Read(b)
		if n == 0 {
			return p, false
		}
		_ = err
		w.buf = append(w.buf, b[:n]...)
	}
}

func (w *wireClient) receive() sftp.Reply {
	w.t.Helper()
	p, ok := w.next()
	if !ok {
		w.t.Fatal("the session has ended")
	}
	return p
}

// do sends one request and returns its reply.
func (w *wireClient) do(q sftp.Request) sftp.Reply {
	w.t.Helper()
	w.id++
	q.ID = w.id
	w.send(q.Append(nil))
	p := w.receive()
	if p.ID != q.ID {
		w.t.Fatalf("the reply %+v is not to %d", p, q.ID)
	}
	return p
}

// ok wants a STATUS of OK.
func (w *wireClient) ok(q sftp.Request) {
	w.t.Helper()
	w.fails(q, sftp.OK)
}

func (w *wireClient) fails(q sftp.Request, want sftp.Code) string {
	w.t.Helper()
	p := w.do(q)
	if p.Type != sftp.TypeStatus || p.Code != want {
		w.t.Fatalf("%+v is answered with type %d, status %d %q; want status %d", q, p.Type, p.Code, p.Text, want)
	}
	return string(p.Text)
}

func (w *wireClient) open(path string, flags uint32) []byte {
	w.t.Helper()
	p := w.do(sftp.Request{Type: sftp.TypeOpen, Path: []byte(path), Flags: flags})
	if p.Type != sftp.TypeHandle {
		w.t.Fatalf("OPEN %s: status %d %q", path, p.Code, p.Text)
	}
	return p.Handle
}

func (w *wireClient) write(h []byte, off uint64, data string) {
	w.t.Helper()
	w.ok(sftp.Request{Type: sftp.TypeWrite, Handle: h, Offset: off, Data: []byte(data)})
}

func (w *wireClient) read(h []byte, off uint64, n uint32) string {
	w.t.Helper()
	p := w.do(sftp.Request{Type: sftp.TypeRead, Handle: h, Offset: off, Length: n})
	if p.Type == sftp.TypeStatus && p.Code == sftp.EOF {
		return "EOF"
	}
	if p.Type != sftp.TypeData {
		w.t.Fatalf("READ: status %d %q", p.Code, p.Text)
	}
	return string(p.Data)
}

func (w *wireClient) close(h []byte) {
	w.t.Helper()
	w.ok(sftp.Request{Type: sftp.TypeClose, Handle: h})
}

const makes = sftp.OpenWrite | sftp.OpenCreate | sftp.OpenTrunc
