package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A ptyProgram is a program on a terminal of its own.
type ptyProgram struct {
	t    *testing.T
	tty  *os.File // the other end of its terminal
	cmd  *exec.Cmd
	over chan struct{}

	mu   sync.Mutex
	text []byte // all that it has written
	seen int    // up to here it was waited for
}

// dray is the program that this test is part of.
func dray(t *testing.T, dir string, env []string, args ...string) *exec.Cmd {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return &exec.Cmd{Path: self, Args: append([]string{"dray"}, args...), Dir: dir, Env: env}
}

func onTerminal(t *testing.T, cmd *exec.Cmd) *ptyProgram {
	tty, slave := openTTY(t, 100)
	p := &ptyProgram{t: t, tty: tty, cmd: cmd, over: make(chan struct{})}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = slave.Close() // the program has it: what reads the other end hears when it goes
	go func() {
		defer close(p.over)
		b := make([]byte, 4096)
		for {
			n, err := tty.Read(b)
			p.mu.Lock()
			p.text = append(p.text, b[:n]...)
			p.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return p
}

func (p *ptyProgram) send(text string) {
	p.t.Helper()
	if _, err := p.tty.WriteString(text); err != nil {
		p.t.Fatal(err)
	}
}

// wait waits until what matches is written behind what was waited for before.
func (p *ptyProgram) wait(pattern string) string {
	p.t.Helper()
	re := regexp.MustCompile(pattern)
	for begin := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		p.mu.Lock()
		rest := p.text[p.seen:]
		at := re.FindIndex(rest)
		if at != nil {
			found := string(rest[:at[1]])
			p.seen += at[1]
			p.mu.Unlock()
			return found
		}
		text := string(rest)
		p.mu.Unlock()
		if time.Since(begin) > patience {
			p.t.Fatalf("no %q in %q", pattern, text)
		}
	}
}

// end waits for the end and returns the status.
func (p *ptyProgram) end() int {
	p.t.Helper()
	done := make(chan error, 1)
	go func() { done <- p.cmd.Wait() }()
	select {
	case <-done:
	case <-time.After(patience):
		p.t.Fatalf("it does not end: %q", p.all())
	}
	return p.cmd.ProcessState.ExitCode()
}

func (p *ptyProgram) all() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return string(p.text)
}

// A shellHome is a server and the home of somebody who uses it.
type shellHome struct {
	dir, url string
	env      []string
}

func newShellHome(t *testing.T) *shellHome {
	h := &shellHome{dir: t.TempDir()}
	for name, content := range map[string]string{
		"srv/report one.txt": "the report\n", "srv/tree/deep.txt": "deep\n", "srv/big.bin": strings.Repeat("x", 4<<20), "pw": "correct-horse-9\n",
		"home/.keep": "",
	} {
		name = filepath.Join(h.dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(h.dir, "srv", "evil\x1b[31m.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	h.env = []string{"HOME=" + filepath.Join(h.dir, "home"), "PATH=" + os.Getenv("PATH"), "TERM=xterm", "GORACE=atexit_sleep_ms=0"}
	server := dray(t, h.dir, h.env, "serve", "srv", "--user", "alice", "--password-file", "pw", "--sftp", "127.0.0.1:0", "--state", "state", "--ready", "ready.json")
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Signal(syscall.SIGTERM)
		_ = server.Wait()
	})
	var ready struct {
		SFTP     []string `json:"sftp"`
		HostKeys []string `json:"host_keys"`
	}
	for begin := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		b, err := os.ReadFile(filepath.Join(h.dir, "ready.json"))
		if err == nil {
			if err := json.Unmarshal(b, &ready); err != nil {
				t.Fatal(err)
			}
			break
		}
		if time.Since(begin) > patience {
			t.Fatal("the server is not ready")
		}
	}
	h.url = "sftp://alice@" + ready.SFTP[0] + "/"
	if out, err := dray(t, h.dir, h.env, "trust", ready.SFTP[0], strings.Fields(ready.HostKeys[0])[1]).CombinedOutput(); err != nil {
		t.Fatalf("trust: %v\n%s", err, out)
	}
	return h
}

const shellPrompt = `alice@127\.0\.0\.1:[^>\r\n]*> `

func TestTheShellOnATerminal(t *testing.T) {
	h := newShellHome(t)
	p := onTerminal(t, dray(t, h.dir, append(h.env, "PAGER=head -c 10; echo"), "sh", h.url))
	p.wait(`Password for alice@127\.0\.0\.1: `)
	p.send("correct-horse-9\r")
	p.wait(shellPrompt)

	// Names are listed, and none of them steers the terminal.
	p.send("ls\r")
	p.wait(`big\.bin`)
	p.wait(shellPrompt)
	if strings.Contains(p.all(), "\x1b[31m") {
		t.Errorf("a name of the server reached the terminal: %q", p.all())
	}

	// Tab completes a verb, and a name with a blank.
	p.send("ca\trep\t\r")
	p.wait(`the report`)
	p.wait(shellPrompt)
	p.send("cd tr\t\r")
	p.wait(`tree> `)
	p.send("cd\r")
	p.wait(`:/> `)

	// A program has the terminal as it is used to.
	p.send("!stty -a | tr ';' '\\n' | grep -o '[-]*icanon\\|[-]*echo\\>' | tr '\\n' '.'\r")
	p.wait(`[^-]icanon\.echo\.`)
	p.wait(shellPrompt)

	// The pager sees as much as it wants of a file that would take an hour.
	p.send("limit-rate 200K\r")
	p.wait(shellPrompt)
	p.send("more big.bin\r")
	p.wait(`xxxxxxxxxx\r\n`)
	p.wait(shellPrompt)
	p.send("more tree/*.txt\r")
	p.wait(`deep\r\n`)
	p.wait(shellPrompt)

	// Ctrl-C ends a transfer, and not the shell.
	p.send("limit-rate 1K\r")
	p.wait(shellPrompt)
	p.send("get big.bin\r")
	p.wait(`big\.bin +\d+%`) // it is shown how far it is
	p.send("\x03")
	p.wait(`interrupted`)
	p.wait(shellPrompt)

	// A job goes on meanwhile, and is told of before it would be lost.
	p.send("get big.bin -o second.bin &\r")
	p.wait(`\[1\] get big`)
	p.wait(shellPrompt)
	p.send("jobs\r")
	p.wait(`\[1\] running`)
	p.wait(shellPrompt)
	p.send("\x04")
	p.wait(`1 commands run in the background`)
	p.send("kill 1\r")
	p.wait(`\[1\] ended`)
	p.wait(shellPrompt)

	// What fails is told as everywhere.
	p.send("get nope\r")
	p.wait(`no such file or directory.*\[not-found\]`)
	p.wait(shellPrompt)

	// Ctrl-C at an empty prompt does nothing; twice tells the way out.
	p.send("\x03")
	p.wait(shellPrompt)
	p.send("\x03")
	p.wait(`exit with Ctrl-D`)
	p.wait(shellPrompt)

	// Lines with a password are not kept.
	p.send("open sftp://alice:not-the-secret@127.0.0.1:1/\r")
	p.wait(`nothing listens`)
	p.wait(shellPrompt)
	p.send("\x1b[A\r") // the line before, which is not that one
	p.wait(`no such file or directory`)
	p.wait(shellPrompt)
	p.send("\x04")
	if status := p.end(); status != 0 {
		t.Errorf("status %d", status)
	}
	history := filepath.Join(h.dir, "home/.local/state/dray/history")
	b, err := os.ReadFile(history)
	if err != nil || !bytes.Contains(b, []byte("get nope\n")) || bytes.Contains(b, []byte("secret")) {
		t.Errorf("the history: %q, %v", b, err)
	}
	if fi, err := os.Stat(history); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("the history: %v, %v", fi.Mode(), err)
	}
	if strings.Contains(p.all(), "correct-horse") {
		t.Errorf("the password was shown: %q", p.all())
	}

	// The next shell knows the lines.
	p = onTerminal(t, dray(t, h.dir, append(h.env, "DRAY_PASSWORD_FILE=pw"), "sh", h.url))
	p.wait(shellPrompt)
	p.send("history\r")
	p.wait(`limit-rate 1K`)
	p.wait(shellPrompt)
	p.send("exit 5\r")
	if status := p.end(); status != 5 {
		t.Errorf("exit 5: status %d", status)
	}
}

// Who does not know the password after all goes on in the shell.
func TestCtrlCAtAPasswordLeavesTheShellAsItWas(t *testing.T) {
	h := newShellHome(t)
	p := onTerminal(t, dray(t, h.dir, h.env, "sh"))
	p.wait(`dray> `)
	p.send("open " + h.url + "\r")
	p.wait(`Password for alice@127\.0\.0\.1: `)
	p.send("halfway\x03")
	p.wait(`Return ends this`)
	p.send("\r")
	p.wait(`interrupted`)
	p.wait(`dray> `)
	for range 3 {
		p.send("echo all is well\r")
		p.wait(`\nall is well\r\n`)
		p.wait(`dray> `)
	}
	p.send("\x04")
	if status := p.end(); status != 0 {
		t.Errorf("status %d", status)
	}
}

func TestSIGTERMEndsTheShellAtItsPrompt(t *testing.T) {
	h := newShellHome(t)
	p := onTerminal(t, dray(t, h.dir, append(h.env, "DRAY_PASSWORD_FILE=pw"), "sh", h.url))
	p.wait(shellPrompt)
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if status := p.end(); status != exitTerm {
		t.Errorf("status %d", status)
	}
}
