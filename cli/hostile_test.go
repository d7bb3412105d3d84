//go:build unix

package cli

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io/fs"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// marker is the password in all tests with hostile servers. It must be in nothing
// that the program writes.
const marker = "pass-marker-3d9e"

// A ward is where the program runs: a home, and a target that has something beside
// and above it that nobody may touch.
type ward struct {
	t      testing.TB
	root   string
	home   string
	target string // where the program runs
	env    []string
	before string // what is outside of the target
}

func newWard(t testing.TB) *ward {
	t.Helper()
	root := t.TempDir()
	w := &ward{t: t, root: root, home: filepath.Join(root, "home"), target: filepath.Join(root, "a", "b", "target")}
	for _, dir := range []string{w.home, w.target} {
		fine(t, os.MkdirAll(dir, 0o755))
	}
	fine(t, os.WriteFile(filepath.Join(root, "a", "b", "x"), []byte("mine"), 0o644))
	fine(t, os.WriteFile(filepath.Join(root, "a", "x"), []byte("mine"), 0o644))
	w.env = append(slices.DeleteFunc(os.Environ(), func(s string) bool {
		return strings.HasPrefix(s, "DRAY_") || strings.HasPrefix(s, "HOME=") || strings.HasPrefix(s, "XDG_") || strings.HasPrefix(s, "SSH_")
	}), "HOME="+w.home, "CI=1", "GORACE=atexit_sleep_ms=0", "DRAY_PASSWORD="+marker)
	return w
}

func fine(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// outside is all that is not in the target and not in the state of the program.
func (w *ward) outside() string {
	var b strings.Builder
	_ = filepath.WalkDir(filepath.Join(w.root, "a"), func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name == w.target {
			return filepath.SkipDir
		}
		b.WriteString(name + " " + d.Type().String())
		if d.Type().IsRegular() {
			text, _ := os.ReadFile(name)
			b.Write(text)
		}
		b.WriteByte('\n')
		return nil
	})
	return b.String()
}

// inside is the names in the target, below each other, without notes about parts.
func (w *ward) inside() []string {
	names := []string{}
	_ = filepath.WalkDir(w.target, func(name string, d fs.DirEntry, err error) error {
		if rel, _ := filepath.Rel(w.target, name); err == nil && rel != "." && rel != "dialogue.log" && !strings.HasSuffix(rel, ".dray-part.json") {
			if d.IsDir() {
				rel += "/"
			}
			names = append(names, rel)
		}
		return err
	})
	return names
}

func (w *ward) read(name string) string {
	b, err := os.ReadFile(filepath.Join(w.target, name))
	if err != nil {
		return ""
	}
	return string(b)
}

// A running program.
type running struct {
	w        *ward
	cmd      *exec.Cmd
	out, err bytes.Buffer
	began    time.Time
	took     time.Duration
	ended    chan error
	line     string
}

// A run is what became of a program.
type run struct {
	status      int
	out, err    string
	took        time.Duration
	memory      int64 // at most, in bytes; 0: not known
	w           *ward
	commandLine string
}

// longest is how long any run may take.
const longest = 60 * time.Second

func (w *ward) start(args ...string) *running {
	w.t.Helper()
	r := &running{w: w, cmd: exec.Command("dray", append(args, "--log", "dialogue.log")...), began: time.Now(), ended: make(chan error, 1), line: "dray " + strings.Join(args, " ")}
	r.cmd.Dir, r.cmd.Env, r.cmd.Stdout, r.cmd.Stderr = w.target, w.env, &r.out, &r.err
	w.before = w.outside()
	pass()
	fine(w.t, r.cmd.Start())
	go func() {
		err := r.cmd.Wait()
		r.took = time.Since(r.began)
		r.ended <- err
	}()
	return r
}

// wait waits for the end, and looks for what must be true of every run.
func (r *running) wait() run {
	t, w := r.w.t, r.w
	t.Helper()
	var err error
	select {
	case err = <-r.ended:
	case <-time.After(longest):
		_ = r.cmd.Process.Kill()
		<-r.ended
		t.Fatalf("%s does not end\n%s", r.line, r.err.String())
	}
	p := run{out: r.out.String(), err: r.err.String(), took: r.took, w: w, commandLine: r.line}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		p.status = exit.ExitCode()
	} else {
		fine(t, err)
	}
	if use, ok := r.cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		p.memory = maxRSS(use)
	}
	if now := w.outside(); now != w.before {
		t.Errorf("%s: outside of the target was\n%s\nand is\n%s", r.line, w.before, now)
	}
	w.noMarker(p.out, p.err)
	if bad := regexp.MustCompile("[\x00-\x08\x0b-\x1f\x7f]").FindString(p.err); bad != "" {
		t.Errorf("%s: %q in its messages: %q", r.line, bad, p.err)
	}
	for _, word := range []string{"panic", "goroutine ", "%!", "<nil>", "DATA RACE"} {
		if strings.Contains(p.err, word) {
			t.Errorf("%s: %q in its messages:\n%s", r.line, word, p.err)
		}
	}
	return p
}

// noMarker looks for the password in texts and in all files.
func (w *ward) noMarker(texts ...string) {
	w.t.Helper()
	for _, s := range texts {
		if strings.Contains(s, marker) {
			w.t.Errorf("the password is shown: %s", s)
		}
	}
	_ = filepath.WalkDir(w.root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil
		}
		if b, _ := os.ReadFile(name); bytes.Contains(b, []byte(marker)) {
			w.t.Errorf("the password is in %s", name)
		}
		return nil
	})
}

func (w *ward) dray(args ...string) run {
	w.t.Helper()
	return w.start(args...).wait()
}

// is wants a status and an id, "" for none.
func (p run) is(status int, id string) {
	p.w.t.Helper()
	if p.status != status {
		p.w.t.Errorf("%s: status %d, want %d\n%s", p.commandLine, p.status, status, p.err)
	}
	if id != "" && !strings.Contains(p.err, "["+id+"]\n") {
		p.w.t.Errorf("%s: no [%s] in\n%s", p.commandLine, id, p.err)
	}
	if id == "" && status == 0 && regexp.MustCompile(`(?m)\[[a-z0-9-]+\]$`).MatchString(p.err) {
		p.w.t.Errorf("%s: it complains\n%s", p.commandLine, p.err)
	}
}

func (p run) says(texts ...string) {
	p.w.t.Helper()
	for _, s := range texts {
		if !strings.Contains(p.err, s) {
			p.w.t.Errorf("%s: no %q in\n%s", p.commandLine, s, p.err)
		}
	}
}

var resumeLine = regexp.MustCompile(`(?m)^ +to go on where it was cut:\n +dray (get|put) (.*)$`)

// resume is the command that the messages name to go on.
func (p run) resume() []string {
	p.w.t.Helper()
	found := resumeLine.FindStringSubmatch(p.err)
	if found == nil {
		p.w.t.Fatalf("%s: no command to go on in\n%s", p.commandLine, p.err)
	}
	return append([]string{found[1]}, strings.Fields(found[2])...) // no blank is in what the tests name
}

// A certificate of a test.
type testCertificate struct {
	leaf *x509.Certificate
	pair tls.Certificate
	file string
}

func newCertificate(t testing.TB, change func(*x509.Certificate)) *testCertificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	fine(t, err)
	form := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "hostile"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(48 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if change != nil {
		change(form)
	}
	der, err := x509.CreateCertificate(rand.Reader, form, form, key.Public(), key)
	fine(t, err)
	leaf, err := x509.ParseCertificate(der)
	fine(t, err)
	c := &testCertificate{leaf, tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, filepath.Join(t.TempDir(), "ca.pem")}
	fine(t, os.WriteFile(c.file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644))
	return c
}

var gatekeeper sync.Mutex

// pass is called before the program is started, and where its connection has come: what
// a test has prepared before that is seen by the server behind it.
func pass() {
	gatekeeper.Lock()
	defer gatekeeper.Unlock()
}

// serveAll serves each connection of a new listener until the test ends.
func serveAll(t testing.TB, addr string, play func(ctx context.Context, nc net.Conn)) net.Addr {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	fine(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() {
		cancel()
		_ = l.Close()
	})
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				stop := context.AfterFunc(ctx, func() { _ = nc.Close() })
				defer stop()
				defer nc.Close()
				pass()
				play(ctx, nc)
			}()
		}
	}()
	return l.Addr()
}

// together starts rows of a table a few at a time, because most of them wait, and
// looks at each in a test of its own.
func together[Row any](t *testing.T, rows []Row, name func(Row) string, start func(t testing.TB, row Row) (*running, func(t *testing.T, p run))) {
	const many = 8
	for part := range slices.Chunk(rows, many) {
		type begun struct {
			name string
			r    *running
			look func(t *testing.T, p run)
		}
		var all []begun
		for _, row := range part {
			r, look := start(t, row)
			all = append(all, begun{name(row), r, look})
		}
		for _, b := range all {
			t.Run(b.name, func(t *testing.T) {
				b.r.w.t = t
				b.look(t, b.r.wait())
			})
		}
	}
}
