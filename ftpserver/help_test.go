package ftpserver

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	mathrand "math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"dray/account"
	"dray/certs"
	"dray/event"
	"dray/fault"
	"dray/ftp"
	"dray/gate"
	"dray/guard"
	"dray/vfs"
	"dray/vfs/memfs"
	"dray/vfs/osfs"
)

// TestMain fails when a goroutine of this project is left after all tests.
func TestMain(m *testing.M) {
	code := m.Run()
	if code == 0 {
		if left := leftovers(3 * time.Second); left != "" {
			fmt.Fprintf(os.Stderr, "goroutines are left after the tests:\n%s\n", left)
			code = 1
		}
	}
	os.Exit(code)
}

// leftovers are the stacks of goroutines that run code of the servers, once
// patience is over; "" when there are none.
func leftovers(patience time.Duration) string {
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		buf := make([]byte, 4<<20)
		buf = buf[:runtime.Stack(buf, true)]
		var left []string
		for _, g := range strings.Split(string(buf), "\n\n") {
			if strings.Contains(g, "dray/ftpserver.(*") || strings.Contains(g, "dray/transfer.") {
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

// A setup is what a site is made of; the zero values are usual.
type setup struct {
	rules     Rules
	door      gate.Door
	users     []account.Account // "alice" with all rights; the password of each is "secret"
	anonymous *account.Account
	tree      vfs.FS // memory
	limits    guard.Limits
	listen    string // "127.0.0.1:0"
	noisy     bool   // errors in the log are expected
}

// A site is a running server with one listener.
type site struct {
	t      testing.TB
	server *Server
	rules  *Rules
	addr   string
	mem    *memfs.Tree
	dir    string // of a tree on the disk
	log    *diary
	events *ledger
}

// alice may do everything.
var alice = account.Account{Name: "alice", Rights: account.Full}

// several is one account.One for each user.
type several []*account.One

func (s several) Verify(ctx context.Context, name string, secret account.Secret, from netip.Addr, bar account.Bar) (a account.Account, err error) {
	for _, one := range s {
		if a, err = one.Verify(ctx, name, secret, from, bar); err == nil {
			return a, nil
		}
	}
	return account.Account{}, account.ErrWrong
}

func verifier(users []account.Account, anonymous *account.Account) account.Verifier {
	s := several{}
	for i := range users {
		s = append(s, account.NewOne(&users[i], account.NewSecret("secret"), nil))
	}
	if anonymous != nil {
		s = append(s, account.NewOne(nil, account.NewSecret(""), anonymous))
	}
	return s
}

// shared outlives the sessions that close it.
type shared struct{ *osfs.Tree }

func (shared) Close() error { return nil }

// A diary keeps the log.
type diary struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (d *diary) Write(b []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.buf.Write(b)
}

func (d *diary) String() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.buf.String()
}

// A ledger keeps the events.
type ledger struct {
	mu  sync.Mutex
	all []any
}

func (l *ledger) Event(_ context.Context, e any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, e)
}

// transfers are the events of transfers so far.
func (l *ledger) transfers() []event.Transfer {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []event.Transfer
	for _, e := range l.all {
		if t, ok := e.(event.Transfer); ok {
			out = append(out, t)
		}
	}
	return out
}

// allPorts is the passive range of tests, below the ephemeral ports. Sites of one process share it.
var allPorts = NewPorts(20000, 29999)

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

// serverTLS is a new configuration with ticket keys of its own.
func serverTLS() *tls.Config {
	cfg := certs.ServerConfig(certs.NewSet(certificate()))
	var key [32]byte
	_, _ = rand.Read(key[:])
	cfg.SetSessionTicketKeys([][32]byte{key})
	return cfg
}

// newServer is what newSite makes, without a listener.
func newServer(t testing.TB, s setup) *site {
	t.Helper()
	st := &site{t: t, log: &diary{}, events: &ledger{}}
	if s.tree == nil {
		s.tree = memfs.New(memfs.Options{})
	}
	st.mem, _ = s.tree.(*memfs.Tree)
	if s.users == nil {
		s.users = []account.Account{alice}
	}
	if s.limits.Exempt == nil { // wrong logins cost no time here
		s.limits.Exempt = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128"), netip.MustParsePrefix("198.51.100.0/24")}
	}
	door := s.door
	if door.Name == "" {
		door.Name, door.Protocol = "test", "ftp"
	}
	log := slog.New(slog.NewTextHandler(st.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	g := &gate.Gate{
		Guard: guard.New(s.limits, nil), Verifier: verifier(s.users, s.anonymous), Log: log, Events: st.events,
		Trees: func(context.Context, account.Account) (vfs.FS, error) { return s.tree, nil },
	}
	rules := s.rules
	rules.Door = &door
	if rules.Ports == nil {
		rules.Ports = allPorts
	}
	or := func(v *time.Duration, d time.Duration) {
		if *v == 0 {
			*v = d
		}
	}
	or(&rules.DataWait, 3*time.Second)
	or(&rules.LoginTime, 20*time.Second)
	or(&rules.Stall, 10*time.Second)
	st.rules, st.server = &rules, New(g, log)
	return st
}

// newSite serves on a loopback port until the test ends; then nothing may be
// left of it.
func newSite(t testing.TB, s setup) *site {
	t.Helper()
	st := newServer(t, s)
	if s.listen == "" {
		s.listen = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", s.listen)
	if err != nil {
		t.Fatal(err)
	}
	st.addr = l.Addr().String()
	served := make(chan error, 1)
	go func() { served <- st.server.Serve(l, func() *Rules { return st.rules }) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		if err := st.server.Shutdown(ctx); err != nil {
			t.Errorf("connections were left and had to be cut: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("Serve = %v", err)
		}
		if st.rules.Ports != allPorts {
			st.rules.Ports.mu.Lock()
			defer st.rules.Ports.mu.Unlock()
			if n := len(st.rules.Ports.held); n > 0 {
				t.Errorf("%d passive ports are still held", n)
			}
		}
		if log := st.log.String(); !s.noisy && (strings.Contains(log, "level=ERROR") || strings.Contains(log, "panic")) {
			t.Errorf("errors in the log:\n%s", grep(log, "level=ERROR"))
		}
		if t.Failed() && testing.Verbose() {
			t.Logf("log:\n%s", st.log)
		}
	})
	return st
}

// onDisk is a tree in a new directory.
func onDisk(t testing.TB) (vfs.FS, string) {
	t.Helper()
	dir := t.TempDir()
	tree, err := osfs.NewDisk(osfs.SyncNone, nil).Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tree.Close() })
	return shared{tree}, dir
}

func grep(text, what string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if strings.Contains(line, what) {
			b.WriteString(line)
		}
	}
	return b.String()
}

// quiet waits until the server has no connection left.
func (st *site) quiet() {
	st.t.Helper()
	st.eventually("no connection is left", func() bool {
		return len(st.server.loop.Conns()) == 0
	})
}

// eventually waits up to five seconds for something that happens in another
// goroutine of the server, which nobody tells about.
func (st *site) eventually(what string, is func() bool) {
	st.t.Helper()
	for end := time.Now().Add(5 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			st.t.Fatalf("not so after 5 s: %s\nlog:\n%s", what, st.log)
		}
	}
}

// A talk is the client's end of a control connection.
type talk struct {
	t    testing.TB
	raw  net.Conn
	nc   net.Conn // raw, or TLS over it
	rd   *bufio.Reader
	tls  *tls.Config // of this client; nil: clear text
	prot bool

	deflate bool // MODE Z, for dialogs
}

// clientTLS is a client's configuration; control and data share its cache.
func clientTLS() *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, ServerName: "localhost", ClientSessionCache: tls.NewLRUClientSessionCache(8), DynamicRecordSizingDisabled: true}
}

// dial opens a connection and leaves the greeting unread.
func (st *site) dial() *talk {
	st.t.Helper()
	nc, err := net.Dial("tcp", st.addr)
	if err != nil {
		st.t.Fatal(err)
	}
	return newTalk(st.t, nc)
}

func newTalk(t testing.TB, nc net.Conn) *talk {
	k := &talk{t: t, raw: nc, nc: nc, rd: bufio.NewReader(nc)}
	t.Cleanup(func() { nc.Close() })
	return k
}

// greeted has heard the greeting.
func (st *site) greeted() *talk {
	st.t.Helper()
	k := st.dial()
	k.hear(220)
	return k
}

// login is logged in as alice, in clear text.
func (st *site) login() *talk {
	st.t.Helper()
	k := st.greeted()
	k.as("alice")
	return k
}

func (k *talk) as(user string) {
	k.t.Helper()
	k.do(331, "USER "+user)
	k.do(230, "PASS secret")
}

// secureLogin is logged in as alice over AUTH TLS with data to be encrypted.
func (st *site) secureLogin(cfg *tls.Config) *talk {
	st.t.Helper()
	k := st.greeted()
	k.secure(cfg)
	k.as("alice")
	k.do(200, "PBSZ 0")
	k.do(200, "PROT P")
	k.prot = true
	return k
}

// secure does AUTH TLS.
func (k *talk) secure(cfg *tls.Config) {
	k.t.Helper()
	k.do(234, "AUTH TLS")
	k.handshake(cfg)
}

func (k *talk) handshake(cfg *tls.Config) {
	k.t.Helper()
	k.tls = cfg
	t := tls.Client(k.raw, cfg)
	if err := t.Handshake(); err != nil {
		k.t.Fatalf("handshake: %v", err)
	}
	k.nc, k.rd = t, bufio.NewReader(t)
}

// say writes one line.
func (k *talk) say(line string) {
	k.t.Helper()
	k.write(line + "\r\n")
}

func (k *talk) write(s string) {
	k.t.Helper()
	_ = k.nc.SetWriteDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(k.nc, s); err != nil {
		k.t.Fatalf("write %.80q: %v", s, err)
	}
}

// patience is how long a test waits for a server that shares its processors with
// others: under the race detector and a load of ten, 10 s were too short.
const patience = 30 * time.Second

// line reads one line, without its end.
func (k *talk) line() (string, error) {
	_ = k.nc.SetReadDeadline(time.Now().Add(patience))
	s, err := k.rd.ReadString('\n')
	if err == nil && !strings.HasSuffix(s, "\r\n") {
		k.t.Errorf("the line %q does not end with CR LF", s)
	}
	return strings.TrimRight(s, "\r\n"), err
}

// reply reads one reply.
func (k *talk) reply() (int, string, error) {
	text := ""
	for {
		s, err := k.line()
		if err != nil {
			return 0, text, err
		}
		text += s + "\n"
		if len(s) >= 4 && s[3] == ' ' {
			if code, err := strconv.Atoi(s[:3]); err == nil {
				return code, strings.TrimSuffix(text, "\n"), nil
			}
		}
	}
}

// hear reads one reply, which must have this code.
func (k *talk) hear(code int) string {
	k.t.Helper()
	got, text, err := k.reply()
	if err != nil || got != code {
		k.t.Fatalf("reply %q, %v; want %d", text, err, code)
	}
	return text
}

// do says a line and hears the answer.
func (k *talk) do(code int, line string) string {
	k.t.Helper()
	k.say(line)
	got, text, err := k.reply()
	if err != nil || got != code {
		k.t.Fatalf("%q: reply %q, %v; want %d", line, text, err, code)
	}
	return text
}

// hasID fails unless a reply ends with the id of a refusal.
func hasID(t testing.TB, reply string, id fault.ID) {
	t.Helper()
	if !strings.HasSuffix(reply, " ["+string(id)+"]") {
		t.Errorf("reply %q; want one with [%s]", reply, id)
	}
}

// ended fails unless the server has closed the connection.
func (k *talk) ended() {
	k.t.Helper()
	if s, err := k.line(); err == nil || isTimeout(err) {
		k.t.Fatalf("the connection goes on: %q, %v", s, err)
	}
}

func isTimeout(err error) bool {
	t, ok := err.(interface{ Timeout() bool })
	return ok && t.Timeout()
}

// bye says QUIT and hears the answer.
func (k *talk) bye() {
	k.t.Helper()
	k.do(221, "QUIT")
	k.ended()
}

// reset closes so that the peer gets a reset.
func reset(nc net.Conn) {
	if t, ok := nc.(*tls.Conn); ok {
		nc = t.NetConn()
	}
	_ = nc.(*net.TCPConn).SetLinger(0)
	_ = nc.Close()
}

// pasv asks for a port and connects to it.
func (k *talk) pasv() net.Conn {
	k.t.Helper()
	return k.connect(k.pasvAddr())
}

func (k *talk) pasvAddr() string {
	k.t.Helper()
	return parsePASV(k.t, k.do(227, "PASV"))
}

func parsePASV(t testing.TB, reply string) string {
	t.Helper()
	at := strings.IndexByte(reply, '(')
	a, err := ftp.ParsePort(strings.TrimRight(reply[at+1:], ")."))
	if at < 0 || err != nil {
		t.Fatalf("227 without an address: %q", reply)
	}
	return a.String()
}

func parseEPSV(t testing.TB, reply string) string {
	t.Helper()
	at := strings.Index(reply, "(|||")
	end := strings.LastIndex(reply, "|)")
	if at < 0 || end < at {
		t.Fatalf("229 without a port: %q", reply)
	}
	return reply[at+4 : end]
}

func (k *talk) connect(addr string) net.Conn {
	k.t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		k.t.Fatal(err)
	}
	k.t.Cleanup(func() { nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(15 * time.Second))
	return nc
}

// over puts TLS on a data connection where PROT P was said; the handshake
// happens at the first byte.
func (k *talk) over(nc net.Conn) net.Conn {
	if !k.prot {
		return nc
	}
	return tls.Client(nc, k.tls)
}

// get downloads or lists over a passive connection.
func (k *talk) get(command string) string {
	k.t.Helper()
	nc := k.over(k.pasv())
	k.do(150, command)
	b, err := io.ReadAll(nc)
	if err != nil {
		k.t.Fatalf("%s: %v after %d bytes", command, err, len(b))
	}
	k.hear(226)
	_ = nc.Close()
	return string(b)
}

// put uploads over a passive connection.
func (k *talk) put(command, content string) {
	k.t.Helper()
	nc := k.over(k.pasv())
	k.do(150, command)
	if _, err := io.WriteString(nc, content); err != nil {
		k.t.Fatalf("%s: %v", command, err)
	}
	if err := finish(nc); err != nil {
		k.t.Fatalf("%s: %v", command, err)
	}
	k.hear(226)
	_ = nc.Close()
}

// finish ends what was sent properly: close_notify, FIN.
func finish(nc net.Conn) error {
	if z, ok := nc.(*compressed); ok {
		if err := z.Close(); err != nil {
			return err
		}
		nc = z.Conn
	}
	if t, ok := nc.(*tls.Conn); ok {
		if err := t.Handshake(); err != nil {
			return err
		}
		if err := t.CloseWrite(); err != nil {
			return err
		}
		nc = t.NetConn()
	}
	return nc.(*net.TCPConn).CloseWrite()
}

// nextPort begins anywhere, because other processes may test the same.
var nextPort = func() *atomic.Int32 {
	var n atomic.Int32
	n.Store(mathrand.Int32N(2500))
	return &n
}()

// freePorts finds n ports in a row that nobody listens on, other ones at each call.
func freePorts(t testing.TB, n int) *Ports {
	t.Helper()
	for range 100 {
		base := 30000 + int(nextPort.Add(int32(n)))%2500 - n
		ok := true
		for i := range n {
			l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", base+i))
			if err != nil {
				ok = false
				break
			}
			l.Close()
		}
		if ok {
			return NewPorts(uint16(base), uint16(base+n-1))
		}
	}
	t.Fatal("no free ports")
	return nil
}

var pattern = sync.OnceValue(func() string {
	var b strings.Builder
	for i := range 9973 {
		fmt.Fprintf(&b, "%07d.", i)
	}
	return b.String()
})

// noise is n bytes that differ from place to place and hold no line end.
func noise(n int) string {
	return strings.Repeat(pattern(), n/len(pattern())+1)[:n]
}
