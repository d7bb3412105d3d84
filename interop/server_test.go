package interop

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

const (
	user     = "dray"
	password = "correct-horse-9"
)

// workDir holds what lives as long as the test process: the binary.
var workDir string

// The first thread of the process is for TestMain alone: who enters a network namespace
// does so on a thread that ends with it, and the first one never ends. /proc/net, where
// sockets are looked for, is that of the first thread.
func init() { runtime.LockOSThread() }

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "dray-interop-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		workDir = dir
		return m.Run()
	}())
}

// binary builds the program once, as it is released: static, without cgo.
var binary = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("DRAY_BINARY"); path != "" {
		return filepath.Abs(path)
	}
	path := filepath.Join(workDir, "dray")
	cmd := exec.Command("go", "build", "-o", path, "dray/cmd/dray")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build dray: %w\n%s", err, out)
	}
	return path, nil
})

// A server is one running "dray serve".
type server struct {
	root  string // the directory that it serves
	state string // its --state directory
	ready struct {
		SFTP        []string `json:"sftp"`
		FTP         []string `json:"ftp"`
		FTPS        []string `json:"ftps"`
		Passive     string   `json:"passive"`
		Certificate string   `json:"certificate_sha256"`
		HostKeys    []string `json:"host_keys"`
	}
	log     string // path of what it printed
	process *os.Process
	ended   chan error // receives what Wait returned, once
}

// ranges numbers the passive ranges: each server of this process has a
// hundred ports of its own, below the ports that the kernel hands out.
var ranges atomic.Int64

// start runs "dray serve root" with a passive range of its own until the test
// ends. args come last; those that name listeners use port 0. At the end the
// server gets SIGTERM, must end by itself with status 0, and must not have
// panicked.
func start(t *testing.T, root string, args ...string) *server {
	t.Helper()
	s := newServer(t, root)
	s.launch(t, append([]string{"serve", root, "--user", user, "--passive", passive(), "--state", s.state, "--sftp", "off"}, args...)...)
	return s
}

// configured runs "dray serve --config" on a configuration that begins with
// commands and has the one account, whose home is root. Plain or not, it listens
// on a port of the loopback for explicit TLS.
func configured(t *testing.T, root, commands string) *server {
	t.Helper()
	s := newServer(t, root)
	file := filepath.Join(t.TempDir(), "dray.toml")
	text := fmt.Sprintf("state = %q\npassive = %q\nsync = \"none\"\n\n%s\n\n[[listener]]\nlisten = [\"127.0.0.1:0\"]\nplain = true\nclear-data = true\n",
		s.state, passive(), commands)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	add := exec.Command(bin, "user", "add", user, "--config", file, "--home", root)
	add.Stdin = strings.NewReader(password + "\n")
	if out, err := add.CombinedOutput(); err != nil {
		t.Fatalf("dray user add: %v\n%s", err, out)
	}
	s.launch(t, "serve", "--config", file)
	return s
}

func newServer(t *testing.T, root string) *server {
	t.Helper()
	own := t.TempDir()
	s := &server{root: root, state: filepath.Join(own, "state"), log: filepath.Join(own, "log")}
	if err := os.Mkdir(s.state, 0o700); err != nil {
		t.Fatal(err)
	}
	return s
}

// passive is a range of ports for one server.
func passive() string {
	low := 20000 + (ranges.Add(1)-1)%100*100
	return fmt.Sprintf("%d-%d", low, low+99)
}

// launch starts the program and waits until it is ready.
func (s *server) launch(t *testing.T, args ...string) {
	t.Helper()
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	readyFile := filepath.Join(filepath.Dir(s.log), "ready.json")
	args = append(args, "--ready", readyFile, "-v")
	logFile, err := os.Create(s.log)
	if err != nil {
		t.Fatal(err)
	}
	defer logFile.Close()
	cmd := exec.Command(bin, args...)
	cmd.Env = append(os.Environ(), "DRAY_PASSWORD="+password)
	cmd.Stdout, cmd.Stderr = logFile, logFile
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.process, s.ended = cmd.Process, make(chan error, 1)
	go func() { s.ended <- cmd.Wait() }()
	t.Cleanup(func() { s.stop(t) })

	deadline := time.Now().Add(20 * time.Second)
	for {
		b, err := os.ReadFile(readyFile)
		if err == nil && json.Unmarshal(b, &s.ready) == nil {
			return
		}
		select {
		case err := <-s.ended:
			s.ended <- err
			t.Fatalf("dray %s ended before it was ready: %v\n%s", strings.Join(args, " "), err, s.printed(t))
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatalf("dray %s wrote no ready file in 20 s\n%s", strings.Join(args, " "), s.printed(t))
		}
	}
}

// stop ends the one process that start started.
func (s *server) stop(t *testing.T) {
	_ = s.process.Signal(syscall.SIGTERM) // it may have ended already; the channel tells
	select {
	case err := <-s.ended:
		if err != nil {
			t.Errorf("dray serve after SIGTERM: %v; want exit status 0", err)
		}
	case <-time.After(20 * time.Second):
		_ = s.process.Kill()
		<-s.ended
		t.Error("dray serve did not end within 20 s of SIGTERM")
	}
	out := s.printed(t)
	if strings.Contains(out, "panic") || strings.Contains(out, "goroutine ") {
		t.Error("dray serve panicked")
	}
	if t.Failed() {
		t.Logf("dray serve printed:\n%s", tail(out, 12000))
	}
}

func (s *server) printed(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(s.log)
	if err != nil {
		t.Error(err)
	}
	return string(b)
}

// tail is the end of s, at most n bytes.
func tail(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return "[…]\n" + s[len(s)-n:]
}

// trust returns a file with the server's certificate when it stands for host,
// and "" when a client can only be told not to verify.
func (s *server) trust(t *testing.T, host string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(s.state, "certificate.pem"))
	if err != nil {
		t.Logf("clients do not verify: %v", err)
		return ""
	}
	var certs bytes.Buffer
	var leaf *x509.Certificate
	for {
		var block *pem.Block
		if block, b = pem.Decode(b); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		if leaf == nil {
			if leaf, err = x509.ParseCertificate(block.Bytes); err != nil {
				t.Fatalf("certificate.pem: %v", err)
			}
			sum := sha256.Sum256(block.Bytes)
			told := strings.ToLower(strings.NewReplacer(":", "", " ", "").Replace(s.ready.Certificate))
			if told != hex.EncodeToString(sum[:]) {
				t.Errorf("certificate_sha256 = %s; certificate.pem has %x", s.ready.Certificate, sum)
			}
		}
		if err := pem.Encode(&certs, block); err != nil {
			t.Fatal(err)
		}
	}
	if leaf == nil {
		t.Fatal("certificate.pem holds no certificate")
	}
	if err := leaf.VerifyHostname(host); err != nil {
		t.Logf("clients do not verify: %v", err)
		return ""
	}
	path := filepath.Join(t.TempDir(), "trust.pem")
	if err := os.WriteFile(path, certs.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// address splits the only element of list.
func address(t *testing.T, kind string, list []string) (host, port string) {
	t.Helper()
	if len(list) != 1 {
		t.Fatalf("ready file: %s = %q; want one address", kind, list)
	}
	host, port, err := net.SplitHostPort(list[0])
	if err != nil {
		t.Fatalf("ready file: %s: %v", kind, err)
	}
	return host, port
}

// peer returns the path of the program name. Missing peers are loud.
func peer(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	pkg := packages[name]
	if pkg == "" {
		pkg = name
	}
	missing(t, fmt.Sprintf("MISSING PEER %s: apt-get install %s", name, pkg))
	return ""
}

// missing skips the test loudly, and fails it where CI is set.
func missing(t *testing.T, line string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(line)
	}
	fmt.Fprintln(os.Stderr, line)
	t.Skip(line)
}

// packages are the Debian packages of programs with another name.
var packages = map[string]string{
	"php": "php-cli", "ncftpput": "ncftp", "ncftpget": "ncftp", "ncftpls": "ncftp",
	"ssh": "openssh-client", "sftp": "openssh-client", "scp": "openssh-client",
	"psftp": "putty-tools", "pscp": "putty-tools", "puttygen": "putty-tools",
	"fusermount3": "sshfs", "script": "bsdutils", "/usr/bin/python3": "python3",
}

// library is peer for what an interpreter has to load.
func library(t *testing.T, pkg, interpreter string, args ...string) {
	t.Helper()
	path := peer(t, interpreter)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, args...).CombinedOutput()
	if err == nil {
		return
	}
	missing(t, fmt.Sprintf("MISSING PEER %s %s: apt-get install %s (%s)",
		interpreter, strings.Join(args, " "), pkg, strings.TrimSpace(tail(string(out), 300))))
}
