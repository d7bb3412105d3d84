package doctor

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"dray/account"
	"dray/certs"
	"dray/fault"
	"dray/remote"
)

// marker is the password of all tests. It must be in nothing that the doctor tells, and
// in clear text nowhere that nobody has allowed it.
const marker = "pass-marker-5c1d"

// short are the times of the tests: a server that waits is found out sooner.
var short = times{connect: time.Second, greeting: 900 * time.Millisecond, answer: 700 * time.Millisecond, data: 300 * time.Millisecond, ports: time.Second, all: 6 * time.Second}

// unhurried are those of a doctor that waits for whatever a busy machine does.
var unhurried = times{connect: 30 * time.Second, greeting: 30 * time.Second, answer: 30 * time.Second, data: 30 * time.Second, ports: 30 * time.Second, all: time.Minute}

// A fake is a small FTP server with its files in memory, which does something else
// where a test says so.
type fake struct {
	t        testing.TB
	addr     string
	greeting string
	feat     []string
	cert     *testCertificate // nil: no TLS
	tls      *tls.Config      // made of cert, unless a test makes it
	implicit bool
	resumes  bool // data connections have to resume the session
	noEPSV   bool

	// idled is called on a connection that is logged in and on which nothing was asked for
	// a third of a second.
	idled func(c *talk)

	// at is asked at each step, and true when it has done all that is to be done there.
	// Beside verbs there are the steps "accept" (a control connection), "greeting",
	// "stored" (an upload came, before its last reply).
	at func(c *talk, verb, arg string) bool

	mu      sync.Mutex
	files   map[string]string
	ever    []string // names that were ever stored
	heard   []string // commands
	inClear string   // all that came in clear text
	open    int      // control connections
	most    int
	count   int // of all of them
	data    int // data connections that came
}

// A talk is one control connection to a fake.
type talk struct {
	*fake
	raw, nc net.Conn
	rd      *bufio.Reader
	ctx     context.Context
	number  int
	pasv    net.Listener
	active  string
	prot    bool
	user    string
	in      bool // somebody is logged in
}

// gone ends a talk from within.
type gone struct{}

func newFake(t testing.TB) *fake {
	f := &fake{t: t, greeting: "220 ready", feat: []string{"AUTH TLS", "EPSV", "PASV", "SIZE", "MDTM", "REST STREAM", "UTF8", "MLST type*;size*;modify*;"}, files: map[string]string{"/a.txt": "content of a", "/b.bin": strings.Repeat("0123456789abcdef", 1<<12)}}
	f.addr = serveAll(t, func(ctx context.Context, nc net.Conn) {
		f.mu.Lock()
		f.count++
		f.open++
		f.most = max(f.most, f.open)
		c := &talk{fake: f, raw: nc, nc: nc, rd: bufio.NewReader(nc), ctx: ctx, number: f.count}
		f.mu.Unlock()
		defer func() {
			f.mu.Lock()
			f.open--
			f.mu.Unlock()
			if c.pasv != nil {
				_ = c.pasv.Close()
			}
			if r := recover(); r != nil {
				if _, ok := r.(gone); !ok {
					panic(r)
				}
			}
		}()
		c.serve()
	})
	return f
}

// serveAll calls serve for each connection until the test ends.
func serveAll(t testing.TB, serve func(ctx context.Context, nc net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		_ = l.Close()
		all.Wait()
	})
	all.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer func() { _ = nc.Close() }()
				defer context.AfterFunc(ctx, func() { _ = nc.Close() })()
				serve(ctx, nc)
			})
		}
	})
	return l.Addr().String()
}

func (c *talk) hangUp() { panic(gone{}) }

// silent says nothing more, until the client is gone.
func (c *talk) silent() {
	_, _ = io.Copy(io.Discard, c.rd)
	c.hangUp()
}

// wait lets time go by, as a slow server does.
func (c *talk) wait(d time.Duration) {
	select {
	case <-time.After(d):
	case <-c.ctx.Done():
		c.hangUp()
	}
}

func (c *talk) say(lines ...string) bool {
	for _, line := range lines {
		if _, err := io.WriteString(c.nc, line+"\r\n"); err != nil {
			c.hangUp()
		}
	}
	return true
}

func (c *talk) is(verb, arg string) bool { return c.at != nil && c.at(c, verb, arg) }

func (c *talk) clear() bool { return c.nc == c.raw }

func (c *talk) serve() {
	if c.is("accept", "") {
		return
	}
	if c.implicit {
		c.secure()
	}
	if !c.is("greeting", "") {
		c.say(c.greeting)
	}
	for {
		if c.idled != nil && c.in {
			_ = c.raw.SetReadDeadline(time.Now().Add(time.Second / 3))
		}
		line, err := c.rd.ReadString('\n')
		if errors.Is(err, os.ErrDeadlineExceeded) {
			_ = c.raw.SetReadDeadline(time.Time{})
			c.idled(c)
		}
		c.mu.Lock()
		if c.clear() {
			c.inClear += line
		}
		c.heard = append(c.heard, strings.TrimRight(line, "\r\n"))
		c.mu.Unlock()
		if err != nil {
			return
		}
		verb, arg, _ := strings.Cut(strings.TrimRight(line, "\r\n"), " ")
		if c.is(verb, arg) {
			continue
		}
		c.usual(verb, arg)
	}
}

func (f *fake) tlsConfig() *tls.Config {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.tls == nil {
		f.tls = &tls.Config{Certificates: []tls.Certificate{f.cert.pair}}
	}
	return f.tls
}

func (c *talk) secure() {
	s := tls.Server(c.raw, c.tlsConfig())
	if s.Handshake() != nil {
		c.hangUp()
	}
	c.nc, c.rd = s, bufio.NewReader(s)
}

func (c *talk) usual(verb, arg string) {
	switch verb {
	case "AUTH":
		if c.cert == nil {
			c.say("502 no")
			return
		}
		c.say("234 go")
		c.secure()
	case "USER":
		c.user = arg
		c.say("331 password")
	case "PASS":
		if arg != marker && c.user != "anonymous" {
			c.say("530 Login incorrect.")
			return
		}
		c.in = true
		c.say("230 in")
	case "FEAT":
		c.say("211-Features")
		for _, f := range c.feat {
			c.say(" " + f)
		}
		c.say("211 End")
	case "PROT":
		c.prot = arg == "P"
		c.say("200 ok")
	case "PBSZ", "TYPE", "OPTS", "NOOP":
		c.say("200 ok")
	case "SYST":
		c.say("215 UNIX Type: L8")
	case "PWD":
		c.say(`257 "/"`)
	case "CWD":
		c.say("250 ok")
	case "SIZE":
		if s, ok := c.file(arg); ok {
			c.say("213 " + strconv.Itoa(len(s)))
			return
		}
		c.say("550 no such file")
	case "MLST":
		if s, ok := c.file(arg); ok {
			c.say("250-here", fmt.Sprintf(" type=file;size=%d;modify=20240102030405; %s", len(s), arg), "250 end")
			return
		}
		c.say("250-here", " type=dir; "+arg, "250 end")
	case "EPSV":
		if c.noEPSV {
			c.say("502 no")
			return
		}
		c.say(fmt.Sprintf("229 ok (|||%d|)", c.listen()))
	case "PASV":
		port := c.listen()
		c.say(fmt.Sprintf("227 ok (127,0,0,1,%d,%d)", port>>8, port&0xff))
	case "EPRT":
		parts := strings.Split(arg, "|")
		c.active = net.JoinHostPort(parts[2], parts[3])
		c.say("200 ok")
	case "MLSD", "LIST":
		c.send(c.listing(verb))
	case "RETR":
		if s, ok := c.file(arg); ok {
			c.send(s)
			return
		}
		c.say("550 no such file")
	case "STOR":
		c.store(arg)
	case "DELE":
		if _, ok := c.file(arg); !ok {
			c.say("550 no such file")
			return
		}
		c.mu.Lock()
		delete(c.files, pathOf(arg))
		c.mu.Unlock()
		c.say("250 gone")
	case "QUIT":
		c.say("221 bye")
		c.hangUp()
	default:
		c.say("502 no")
	}
}

// path is the file that a name means: all of them are in one directory.
func pathOf(arg string) string {
	if !strings.HasPrefix(arg, "/") {
		arg = "/" + arg
	}
	return arg
}

func (f *fake) file(name string) (string, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s, ok := f.files[pathOf(name)]
	return s, ok
}

func (f *fake) put(name, s string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.files[pathOf(name)] = s
	if !slices.Contains(f.ever, pathOf(name)) {
		f.ever = append(f.ever, pathOf(name))
	}
}

func (f *fake) listing(verb string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var b strings.Builder
	for name, s := range f.files {
		if verb == "LIST" {
			fmt.Fprintf(&b, "-rw-r--r-- 1 owner group %d Jan 02 2024 %s\r\n", len(s), name[1:])
		} else {
			fmt.Fprintf(&b, "type=file;size=%d;modify=20240102030405; %s\r\n", len(s), name[1:])
		}
	}
	return b.String()
}

// listen makes a data port.
func (c *talk) listen() int {
	if c.pasv != nil {
		_ = c.pasv.Close()
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		c.hangUp()
	}
	c.pasv = l
	return l.Addr().(*net.TCPAddr).Port
}

// deaf is a port at which nobody listens.
func (c *talk) deaf() int {
	port := c.listen()
	_ = c.pasv.Close()
	c.pasv = nil
	return port
}

// accept makes the data connection, nil when none came or its TLS is not as wanted,
// which the client was told then.
func (c *talk) accept() net.Conn {
	var nc net.Conn
	var err error
	if c.active != "" {
		nc, err = net.DialTimeout("tcp", c.active, time.Second)
		c.active = ""
	} else {
		if c.pasv == nil {
			c.say("425 Use EPSV first.")
			return nil
		}
		_ = c.pasv.(*net.TCPListener).SetDeadline(time.Now().Add(2 * time.Second))
		nc, err = c.pasv.Accept()
		_ = c.pasv.Close()
		c.pasv = nil
	}
	if err != nil {
		c.say("425 no data connection")
		return nil
	}
	context.AfterFunc(c.ctx, func() { _ = nc.Close() })
	c.mu.Lock()
	c.data++
	c.mu.Unlock()
	if !c.prot {
		return nc
	}
	s := tls.Server(nc, c.tlsConfig())
	_ = nc.SetDeadline(time.Now().Add(2 * time.Second))
	if err := s.Handshake(); err != nil || c.resumes && !s.ConnectionState().DidResume {
		_ = nc.Close()
		c.say("522 SSL connection failed: session reuse required")
		return nil
	}
	_ = nc.SetDeadline(time.Time{})
	return s
}

func (c *talk) send(s string) {
	c.say("150 here it comes")
	d := c.accept()
	if d == nil {
		return
	}
	_, err := io.WriteString(d, s)
	_ = d.Close()
	if err != nil {
		c.say("426 cut")
		return
	}
	c.say("226 done")
}

func (c *talk) store(name string) {
	c.say("150 go on")
	d := c.accept()
	if d == nil {
		return
	}
	b, err := io.ReadAll(d)
	c.put(name, string(b))
	_ = d.Close()
	if c.is("stored", name) {
		return
	}
	if err != nil {
		c.say("426 cut")
		return
	}
	c.say("226 done")
}

// url is where a fake is, for alice.
func (f *fake) url(scheme remote.Scheme) remote.URL {
	name, port, _ := net.SplitHostPort(f.addr)
	n, _ := strconv.Atoi(port)
	return remote.URL{Scheme: scheme, User: "alice", Password: account.NewSecret(marker), HasPassword: true, Host: name, Port: n, DirWanted: true}
}

// options are how the doctor looks at a fake: in clear text, as --plain allows, where
// it has no TLS.
func (f *fake) options() Options {
	o := Options{URL: f.url(remote.FTP), times: &short}
	o.Remote.Network = "tcp4"
	o.Remote.Trust = &remote.Trust{Mode: remote.TrustInsecure}
	if f.cert != nil {
		o.Remote.Trust.Pins = []certs.Fingerprint{certs.KeyPrint(f.cert.leaf)}
	}
	if f.cert == nil {
		o.Remote.FTP.Plain, o.Remote.FTP.TLS = true, remote.TLSOff
	}
	if f.implicit {
		o.URL.Scheme = remote.FTPS
	}
	return o
}

// examine runs the doctor, and looks for what must be true of every run.
func (f *fake) examine(ctx context.Context, o Options) Report {
	f.t.Helper()
	var mu sync.Mutex
	var dialogue strings.Builder
	told := map[int]Finding{}
	o.Trace = func(line string) {
		mu.Lock()
		defer mu.Unlock()
		dialogue.WriteString(line + "\n")
	}
	o.Done = func(place int, found Finding) {
		if _, twice := told[place]; twice {
			f.t.Errorf("check %d was told twice", place)
		}
		told[place] = found
	}
	f.mu.Lock() // what the test has set up is seen by the talks
	began := time.Now()
	f.mu.Unlock()
	r := Examine(ctx, o)
	most := o.times.all + 2*time.Second
	if o.Write {
		most += o.times.all + o.times.answer
	}
	if took := time.Since(began); took > most {
		f.t.Errorf("it took %v; want at most %v", took, most)
	}
	if len(told) != len(r.Findings) {
		f.t.Errorf("%d of %d checks were told", len(told), len(r.Findings))
	}
	mu.Lock()
	text := fmt.Sprintf("%s\n%+v\n%+v", dialogue.String(), r, told)
	mu.Unlock()
	if strings.Contains(text, marker) {
		f.t.Errorf("the password is told:\n%s", text)
	}
	if i := strings.IndexFunc(text, func(r rune) bool {
		return r != '\n' && r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r >= '\u202a' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069'
	}); i >= 0 {
		f.t.Errorf("what steers a terminal is told: %q", text[max(0, i-80):min(len(text), i+20)])
	}
	if f.t.Failed() || testing.Verbose() {
		f.t.Logf("\n%s%s", dialogue.String(), asText(r))
	}
	for end := time.Now().Add(2 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		f.mu.Lock()
		open, ever := f.open, f.ever
		f.mu.Unlock()
		if open == 0 {
			if !o.Write && len(ever) > 0 {
				f.t.Errorf("%q was written without Write", ever)
			}
			if o.Write && (len(ever) > 1 || len(ever) == 1 && !strings.HasPrefix(ever[0][strings.LastIndex(ever[0], "/")+1:], "dray-doctor-")) {
				f.t.Errorf("%q was written", ever)
			}
			break
		}
		if time.Now().After(end) {
			f.t.Errorf("%d connections are left", open)
			break
		}
	}
	return r
}

// left are the files that were written and are there.
func (f *fake) left() (names []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, name := range f.ever {
		if _, ok := f.files[name]; ok {
			names = append(names, name)
		}
	}
	return names
}

// asText is a report for the log of a test.
func asText(r Report) string {
	var b strings.Builder
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "  %-12s%-6v%s [%s]\n", f.Check, f.Verdict, f.Saw, f.ID)
		for _, s := range f.Do {
			fmt.Fprintf(&b, "      %v: %s | %s\n", s.Side, s.Text, s.Run)
		}
	}
	return b.String()
}

func findingOf(t testing.TB, r Report, name string) Finding {
	t.Helper()
	for _, f := range r.Findings {
		if f.Check == name {
			return f
		}
	}
	t.Errorf("no check %q:\n%s", name, asText(r))
	return Finding{}
}

// wants fails unless a check has found this.
func wants(t testing.TB, r Report, name string, v Verdict, id fault.ID, saw string) Finding {
	t.Helper()
	f := findingOf(t, r, name)
	if f.Verdict != v || f.ID != id || !strings.Contains(f.Saw, saw) {
		t.Errorf("%s: %v %q [%s]; want %v %q [%s]\n%s", name, f.Verdict, f.Saw, f.ID, v, saw, id, asText(r))
	}
	return f
}

// does fails unless a step of a finding has this text or command.
func does(t testing.TB, f Finding, part string) {
	t.Helper()
	for _, s := range f.Do {
		if strings.Contains(s.Text, part) || strings.Contains(s.Run, part) {
			return
		}
	}
	t.Errorf("%s: nothing says %q: %v", f.Check, part, f.Do)
}

// A testCertificate is a key pair with its chain.
type testCertificate struct {
	pair tls.Certificate
	leaf *x509.Certificate
	key  *ecdsa.PrivateKey
}

// issue makes a certificate for 127.0.0.1, changed by how; by is who signs it, nil
// itself.
func issue(t testing.TB, by *testCertificate, how func(c *x509.Certificate)) *testCertificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	form := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "ftp.example.net"},
		DNSNames: []string{"ftp.example.net"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(90 * 24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true,
	}
	if how != nil {
		how(form)
	}
	parent, signer := form, key
	if by != nil {
		parent, signer = by.leaf, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, form, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &testCertificate{pair: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, leaf: leaf, key: key}
}

func authority(t testing.TB) *testCertificate {
	return issue(t, nil, func(c *x509.Certificate) { c.IsCA, c.Subject.CommonName = true, "Test Authority" })
}

// file writes the certificate to a file, for --ca.
func (c *testCertificate) file(t testing.TB) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.leaf.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestMain fails when a goroutine of the doctor or its clients is left after all tests.
func TestMain(m *testing.M) {
	code := m.Run()
	for end := time.Now().Add(5 * time.Second); code == 0; time.Sleep(10 * time.Millisecond) {
		buf := make([]byte, 4<<20)
		buf = buf[:runtime.Stack(buf, true)]
		var left []string
		for g := range strings.SplitSeq(string(buf), "\n\n") {
			if strings.Contains(g, "dray/doctor.(*patient).") || strings.Contains(g, "dray/ftpclient.") || strings.Contains(g, "dray/sshclient.") || strings.Contains(g, "dray/sftpclient.") || strings.Contains(g, "dray/transfer.") {
				left = append(left, g)
			}
		}
		if len(left) == 0 {
			break
		}
		if time.Now().After(end) {
			fmt.Fprintf(os.Stderr, "goroutines are left after the tests:\n%s\n", strings.Join(left, "\n\n"))
			code = 1
		}
	}
	os.Exit(code)
}
