//go:build linux

package interop

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The fault tests kill clients and servers, fill disks and flood listeners.
// DRAY_LONG=1 selects as many kills and entries as a release is tested with;
// without it they are a sample.
var longRun = os.Getenv("DRAY_LONG") == "1"

// times is how often a fault is tried.
func times(short, long int) int {
	if longRun {
		return long
	}
	return short
}

// needsRoot skips what only root may do: a privilege is missed as loudly as a peer.
func needsRoot(t *testing.T, what string) {
	t.Helper()
	if os.Geteuid() != 0 {
		missing(t, "MISSING ROOT: "+what)
	}
}

// small is a tmpfs of its own until the test ends.
func small(t *testing.T, options string) string {
	t.Helper()
	needsRoot(t, "mounting a tmpfs")
	dir := t.TempDir()
	if err := syscall.Mount("dray-test", dir, "tmpfs", syscall.MS_NOSUID|syscall.MS_NODEV, options); err != nil {
		missing(t, "MISSING MOUNT: tmpfs: "+err.Error()) // a container without the capability
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return dir
}

// A life is one process of a server that may be killed and started again on the
// same directories, which start's servers can't.
type life struct {
	root, state string
	passive     string
	env         []string // NAME=value, beside the test's own
	prefix      []string // a program that runs the server
	args        []string
	mortal      bool // the test kills it; else it must end well at the end of the test
}

// ownRange is a passive range that no other server of this process has.
func ownRange() string {
	low := 20000 + (ranges.Add(1)-1)%100*100
	return fmt.Sprintf("%d-%d", low, low+99)
}

// launch starts l and waits for its ready file.
func (l *life) launch(t *testing.T) *server {
	t.Helper()
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	own := t.TempDir()
	s := &server{root: l.root, state: l.state, log: filepath.Join(own, "log")}
	readyFile := filepath.Join(own, "ready.json")
	args := append(append([]string{}, l.prefix...), bin, "serve", l.root, "--user", user, "--passive", l.passive,
		"--state", l.state, "--ready", readyFile, "-v", "--ftp", "127.0.0.1:0", "--ftps", "off", "--sftp", "off", "--plain")
	args = append(args, l.args...)
	logFile, err := os.Create(s.log)
	if err != nil {
		t.Fatal(err)
	}
	defer logFile.Close()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(append(os.Environ(), "DRAY_PASSWORD="+password), l.env...)
	cmd.Stdout, cmd.Stderr = logFile, logFile
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.process, s.ended = cmd.Process, make(chan error, 1)
	go func() { s.ended <- cmd.Wait() }()
	if l.mortal {
		t.Cleanup(func() {
			_ = s.process.Kill()
			err := <-s.ended
			s.ended <- err
		})
	} else {
		t.Cleanup(func() { s.stop(t) })
	}
	for deadline := time.Now().Add(30 * time.Second); ; {
		b, err := os.ReadFile(readyFile)
		if err == nil && json.Unmarshal(b, &s.ready) == nil {
			return s
		}
		select {
		case err := <-s.ended:
			s.ended <- err
			t.Fatalf("dray ended before it was ready: %v\n%s", err, s.printed(t))
		case <-time.After(2 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatalf("no ready file in 30 s\n%s", s.printed(t))
		}
	}
}

// kill ends s as a crash does, and returns when it is gone.
func (s *server) kill(t *testing.T) {
	t.Helper()
	if err := s.process.Kill(); err != nil {
		t.Fatal(err)
	}
	err := <-s.ended
	s.ended <- err
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("the server ended before it was killed: %v\n%s", err, tail(s.printed(t), 6000))
	}
}

// trusted is the TLS configuration of a client that trusts s and resumes.
func (s *server) trusted(t *testing.T) *tls.Config {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(s.state, "certificate.pem"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		t.Fatal("certificate.pem holds no certificate")
	}
	return &tls.Config{RootCAs: pool, ServerName: "localhost"}
}

// A journal reads the log of a server while it is written.
type journal struct {
	path string

	mu    sync.Mutex
	off   int64
	rest  []byte
	lines []string
}

func (s *server) journal() *journal { return &journal{path: s.log} }

// from returns the lines from number i on.
func (j *journal) from(i int) ([]string, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	f, err := os.Open(j.path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.NewSectionReader(f, j.off, 1<<40))
	if err != nil {
		return nil, err
	}
	j.off += int64(len(b))
	j.rest = append(j.rest, b...)
	for {
		end := bytes.IndexByte(j.rest, '\n')
		if end < 0 {
			break
		}
		j.lines = append(j.lines, string(j.rest[:end]))
		j.rest = j.rest[end+1:]
	}
	return j.lines[min(i, len(j.lines)):], nil
}

// await returns the first line that re matches, once it is there.
func (j *journal) await(ctx context.Context, re *regexp.Regexp, within time.Duration) (string, error) {
	seen := 0
	for deadline := time.Now().Add(within); ; {
		lines, err := j.from(seen)
		if err != nil {
			return "", err
		}
		for _, line := range lines {
			if re.MatchString(line) {
				return line, nil
			}
		}
		seen += len(lines)
		if time.Now().After(deadline) {
			return "", fmt.Errorf("no line of the log matches %v within %v", re, within)
		}
		select {
		case <-ctx.Done():
			return "", context.Cause(ctx)
		case <-time.After(3 * time.Millisecond):
		}
	}
}

// number is the integer that line has as key=….
func number(line, key string) int64 {
	m := regexp.MustCompile(`\b` + key + `=(\d+)\b`).FindStringSubmatch(line)
	if m == nil {
		return -1
	}
	n, _ := strconv.ParseInt(m[1], 10, 64) // digits alone
	return n
}

// A visitor is an FTP client that does one thing at a time and reports every
// byte that it did not expect.
type visitor struct {
	nc     net.Conn
	rd     *bufio.Reader
	tp     *textproto.Reader
	tls    *tls.Config // nil: in the clear
	dialer net.Dialer
	host   string
}

// An answer is a reply that was not what the visitor needed.
type answer struct {
	verb string
	code int
	text string
}

func (a *answer) Error() string { return fmt.Sprintf("%s: %d %s", a.verb, a.code, a.text) }

const patience = 60 * time.Second

// call connects and reads the greeting. from is the visitor's own address; "":
// any.
func call(ctx context.Context, addr, from string) (*visitor, error) {
	v := &visitor{dialer: net.Dialer{Timeout: 20 * time.Second}}
	if from != "" {
		v.dialer.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
	}
	nc, err := v.dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	v.over(nc)
	if v.host, _, err = net.SplitHostPort(addr); err != nil {
		return nil, err
	}
	if err := v.expect("greeting", 220); err != nil {
		v.hangUp()
		return nil, err
	}
	return v, nil
}

// visit is call and a login; cfg is nil for clear text.
func visit(ctx context.Context, addr string, cfg *tls.Config) (*visitor, error) {
	v, err := call(ctx, addr, "")
	if err != nil {
		return nil, err
	}
	if cfg != nil {
		if err := v.secure(cfg); err != nil {
			v.hangUp()
			return nil, err
		}
	}
	if err := v.login(); err != nil {
		v.hangUp()
		return nil, err
	}
	return v, nil
}

func (v *visitor) over(nc net.Conn) {
	v.nc, v.rd = nc, bufio.NewReader(nc)
	v.tp = textproto.NewReader(v.rd)
}

// secure is AUTH TLS and protected data. Each visitor has a session cache of
// its own.
func (v *visitor) secure(cfg *tls.Config) error {
	if err := v.ask("AUTH TLS", 234); err != nil {
		return err
	}
	cfg = cfg.Clone()
	cfg.ClientSessionCache = tls.NewLRUClientSessionCache(8)
	c := tls.Client(v.nc, cfg)
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if err := c.Handshake(); err != nil {
		return err
	}
	v.tls = cfg
	v.over(c)
	return errors.Join(v.ask("PBSZ 0", 200), v.ask("PROT P", 200))
}

func (v *visitor) login() error {
	if err := v.ask("USER "+user, 331); err != nil {
		return err
	}
	if err := v.ask("PASS "+password, 230); err != nil {
		return err
	}
	return v.ask("TYPE I", 200)
}

func (v *visitor) hangUp() { _ = v.nc.Close() }

func (v *visitor) say(line string) error {
	if err := v.nc.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	_, err := io.WriteString(v.nc, line+"\r\n")
	return err
}

// reply reads one reply.
func (v *visitor) reply() (code int, text string, err error) {
	if err := v.nc.SetDeadline(time.Now().Add(patience)); err != nil {
		return 0, "", err
	}
	return v.tp.ReadResponse(0)
}

func (v *visitor) expect(verb string, want int) error {
	code, text, err := v.reply()
	if err != nil {
		return fmt.Errorf("%s: %w", verb, err)
	}
	if code != want {
		return &answer{verb, code, text}
	}
	return nil
}

// ask sends a command that must be answered with want.
func (v *visitor) ask(line string, want int) error {
	if err := v.say(line); err != nil {
		return err
	}
	verb, _, _ := strings.Cut(line, " ")
	return v.expect(verb, want)
}

var extended = regexp.MustCompile(`\|\|\|(\d+)\|`)

// passive asks for a data port and connects to it, still in the clear.
func (v *visitor) passive(ctx context.Context) (net.Conn, error) {
	if err := v.say("EPSV"); err != nil {
		return nil, err
	}
	code, text, err := v.reply()
	if err != nil {
		return nil, err
	}
	m := extended.FindStringSubmatch(text)
	if code != 229 || m == nil {
		return nil, &answer{"EPSV", code, text}
	}
	d := v.dialer
	if a, ok := v.nc.LocalAddr().(*net.TCPAddr); ok {
		d.LocalAddr = &net.TCPAddr{IP: a.IP}
	}
	nc, err := d.DialContext(ctx, "tcp", net.JoinHostPort(v.host, m[1]))
	if err != nil {
		return nil, err
	}
	return nc, nc.SetDeadline(time.Now().Add(patience))
}

// open starts a transfer and returns its data connection after the 150.
func (v *visitor) open(ctx context.Context, line string) (net.Conn, error) {
	nc, err := v.passive(ctx)
	if err != nil {
		return nil, err
	}
	if err := v.ask(line, 150); err != nil {
		_ = nc.Close()
		return nil, err
	}
	if v.tls == nil {
		return nc, nil
	}
	c := tls.Client(nc, v.tls)
	if err := c.Handshake(); err != nil {
		_ = nc.Close()
		return nil, err
	}
	return c, nil
}

// finish ends the data of an upload: under TLS close_notify, then read to the
// end; an early close makes the kernel drop the tail.
func finish(data net.Conn) error {
	defer data.Close()
	if c, ok := data.(*tls.Conn); ok {
		if err := c.CloseWrite(); err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, c); err != nil {
			return err
		}
	}
	return data.Close()
}

// upload sends b with STOR, APPE or another verb and returns nil for a 226.
func (v *visitor) upload(ctx context.Context, line string, b []byte) error {
	data, err := v.open(ctx, line)
	if err != nil {
		return err
	}
	_, werr := data.Write(b)
	ferr := finish(data)
	verb, _, _ := strings.Cut(line, " ")
	if err := v.expect(verb, 226); err != nil {
		return err
	}
	return errors.Join(werr, ferr)
}

// lines counts the lines of a listing.
func (v *visitor) lines(ctx context.Context, line string) (int, error) {
	data, err := v.open(ctx, line)
	if err != nil {
		return 0, err
	}
	defer data.Close()
	count, last, buf := 0, byte('\n'), make([]byte, 256<<10)
	for {
		if err := data.SetDeadline(time.Now().Add(patience)); err != nil {
			return 0, err
		}
		n, err := data.Read(buf)
		count += bytes.Count(buf[:n], []byte{'\n'})
		if n > 0 {
			last = buf[n-1]
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return count, err
		}
	}
	if last != '\n' {
		return count, errors.New("the last line has no end")
	}
	return count, v.expect(line, 226)
}

// unfinished are the forms that a hidden name may have: cut, or still running.
var (
	cutName     = regexp.MustCompile(`^\.dray-[0-9a-f]{12}-[0-9a-f]{32}$`)
	runningName = regexp.MustCompile(`^\.dray-[0-9a-f-]{12}-[0-9a-f]{32}\.(n0|[0-9a-f]{16})$`)
)

// namesIn are the names in dir, hidden ones apart.
func namesIn(t *testing.T, dir string) (shown, hidden []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Error(err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".dray-") {
			hidden = append(hidden, e.Name())
		} else {
			shown = append(shown, e.Name())
		}
	}
	return shown, hidden
}
