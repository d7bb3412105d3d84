package cli

import (
	"errors"
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

	"golang.org/x/sys/unix"
)

// A seat is a terminal with the program in front of it, and somebody who types.
type seat struct {
	t      *testing.T
	w      *ward
	cmd    *exec.Cmd
	master *os.File
	slave  *os.File

	mu   sync.Mutex
	text strings.Builder
	at   int // what was read of it
}

// sit starts the program at a new terminal of 80 columns. It finds no password in
// its environment.
func sit(t *testing.T, w *ward, args ...string) *seat {
	t.Helper()
	master, slave := openTTY(t, 80)
	s := &seat{t: t, w: w, cmd: exec.Command("dray", args...), master: master, slave: slave}
	s.cmd.Stdin, s.cmd.Stdout, s.cmd.Stderr, s.cmd.Dir = slave, slave, slave, w.target
	s.cmd.Env = append(slices.DeleteFunc(slices.Clone(w.env), func(v string) bool {
		return strings.HasPrefix(v, "CI=") || strings.HasPrefix(v, "DRAY_PASSWORD=") || strings.HasPrefix(v, "TERM=")
	}), "TERM=xterm", "CI=")
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0}
	pass()
	fine(t, s.cmd.Start())
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := master.Read(buf)
			s.mu.Lock()
			s.text.Write(buf[:n])
			s.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() { _ = s.cmd.Process.Kill() })
	return s
}

func (s *seat) all() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// sees waits until the terminal shows something new.
func (s *seat) sees(pattern string) {
	s.t.Helper()
	what := regexp.MustCompile(pattern)
	for begin := time.Now(); time.Since(begin) < patience; time.Sleep(5 * time.Millisecond) {
		text := s.all()
		if at := what.FindStringIndex(text[s.at:]); at != nil {
			s.at += at[1]
			return
		}
	}
	s.t.Fatalf("the terminal shows no %q:\n%q", pattern, s.all())
}

func (s *seat) types(text string) {
	s.t.Helper()
	_, err := s.master.WriteString(text)
	fine(s.t, err)
}

// leaves wants the end of the program with a status, and returns what the terminal
// shows then.
func (s *seat) leaves(status int) string {
	s.t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- s.cmd.Wait() }()
	var err error
	select {
	case err = <-ended:
	case <-time.After(longest):
		s.t.Fatalf("the program does not end:\n%s", s.all())
	}
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		fine(s.t, err)
	}
	var mode *unix.Termios
	raw, err := s.slave.SyscallConn()
	fine(s.t, err)
	fine(s.t, raw.Control(func(fd uintptr) { mode, err = unix.IoctlGetTermios(int(fd), unix.TCGETS) }))
	fine(s.t, err)
	if mode.Lflag&unix.ECHO == 0 || mode.Lflag&unix.ICANON == 0 {
		s.t.Error("the terminal does not echo any more")
	}
	for last, still := -1, 0; still < 5; time.Sleep(10 * time.Millisecond) { // what is under way
		if n := len(s.all()); n != last {
			last, still = n, 0
		}
		still++
	}
	sc := &glass{} // messages may be wider than it
	_, _ = sc.Write([]byte(strings.ReplaceAll(s.all(), "\r\n", "\n")))
	if sc.bad != "" {
		s.t.Error(sc.bad)
	}
	shown := sc.shown()
	if got != status {
		s.t.Errorf("status %d, want %d\n%s", got, status, shown)
	}
	s.w.noMarker(s.all())
	return shown
}

func TestProgressOnATerminal(t *testing.T) {
	t.Parallel()
	f := newFTPFake(t)
	f.cert = newCertificate(t, nil)
	f.put("/large.bin", strings.Repeat("0123456789abcdef", 5<<20/16))
	w := newWard(t)
	w.env = append(w.env, "DRAY_CA="+f.cert.file)
	w.env = append(w.env, "DRAY_PASSWORD_FILE="+secretFile(t))
	s := sit(t, w, "get", f.url("/large.bin"), "--limit-rate", "2M")
	s.sees(`large\.bin +\d+% .*of 5\.0 MiB`)
	s.sees(`\d+% .*MiB/s  ETA \d+ s`)
	shown := s.leaves(0)
	if strings.Contains(shown, "%") || strings.Contains(shown, "ETA") || len(strings.Split(shown, "\n")) > 2 {
		t.Errorf("left on the terminal is\n%s", shown)
	}
	if len(w.read("large.bin")) != 5<<20 {
		t.Error("the file is not whole")
	}
	for _, m := range regexp.MustCompile(`\x1b\[[0-9;?]*[A-Za-z]`).FindAllString(s.all(), -1) {
		if !regexp.MustCompile(`^\x1b\[(\d+A|J)$`).MatchString(m) {
			t.Fatalf("it sends %q", m)
		}
	}
}

// secretFile is a file with the password outside of what is looked through.
func secretFile(t testing.TB) string {
	name := filepath.Join(t.TempDir(), "pw")
	fine(t, os.WriteFile(name, []byte(marker+"\n"), 0o600))
	return name
}

func TestCtrlCEndsADownloadThatCanBeGoneOnWith(t *testing.T) {
	t.Parallel()
	f := newFTPFake(t)
	f.cert = newCertificate(t, nil)
	large := strings.Repeat("0123456789abcdef", 5<<20/16)
	f.put("/large.bin", large)
	w := newWard(t)
	w.env = append(w.env, "DRAY_CA="+f.cert.file, "DRAY_PASSWORD_FILE="+secretFile(t))
	s := sit(t, w, "get", f.url("/large.bin"), "--limit-rate", "1M")
	s.sees(`large\.bin +[1-9]\d*% `)
	began := time.Now()
	s.types("\x03")
	shown := s.leaves(130)
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("it took %v", took)
	}
	if strings.Contains(shown, "ETA") || !strings.Contains(shown, "[interrupted]") {
		t.Errorf("left on the terminal is\n%s", shown)
	}
	p := run{err: shown + "\n", w: w}
	w.env = slices.DeleteFunc(w.env, func(v string) bool { return strings.HasPrefix(v, "DRAY_PASSWORD=") })
	w.dray(p.resume()...).is(0, "")
	if w.read("large.bin") != large || f.count("REST") == 0 {
		t.Errorf("the file is not gone on with: %q", w.inside())
	}
}

func TestQuestionsOfSFTPOnATerminal(t *testing.T) {
	t.Parallel()
	f := newSFTPFake(t)
	f.dirs["/"] = nil
	f.dirs["/dir"] = append(f.dirs["/dir"], named(regular, 1, "a-file"))
	var mu sync.Mutex
	tries := 0
	f.ssh = func(step string, _ net.Conn) bool {
		if step != "password" {
			return false
		}
		mu.Lock()
		defer mu.Unlock()
		tries++
		return tries == 1
	}
	w := newWard(t)
	s := sit(t, w, "ls", f.url("/dir/"))
	s.sees(`First contact with .*\n.*SHA256:`)
	s.sees(`\? \[.*\] `)
	s.types("yes\n")
	s.sees(`(?i)password.*: `)
	s.types("wrong-marker-11\n")
	s.sees(`(?i)password.*: `)
	s.types(marker + "\n")
	s.sees("a-file")
	shown := s.leaves(0)
	if strings.Contains(shown, "wrong-marker") {
		t.Errorf("what was typed is shown:\n%s", shown)
	}
	known, _ := os.ReadFile(filepath.Join(w.home, ".ssh", "known_hosts"))
	if !strings.Contains(string(known), "ssh-ed25519 ") {
		t.Errorf("known_hosts has %q", known)
	}

	// It is known now, and no is no.
	s = sit(t, w, "ls", f.url("/dir/"))
	s.sees(`(?i)password.*: `)
	s.types("\x03")
	shown = s.leaves(130)
	if strings.Contains(shown, "First contact") {
		t.Errorf("it asks again:\n%s", shown)
	}
	fine(t, os.Remove(filepath.Join(w.home, ".ssh", "known_hosts")))
	s = sit(t, w, "ls", f.url("/dir/"))
	s.sees(`\? \[.*\] `)
	s.types("no\n")
	if shown = s.leaves(4); !strings.Contains(shown, "[hostkey-unknown]") {
		t.Errorf("no [hostkey-unknown] in\n%s", shown)
	}
}

func TestQuestionsOfFTPOnATerminal(t *testing.T) {
	t.Parallel()
	f := newFTPFake(t)
	f.cert = newCertificate(t, nil)
	f.dirs["/dir"] = fact("file", 1, "a-file")
	f.at = func(c *ftpConn, verb, arg string) bool {
		if verb == "PASS" && arg != marker {
			c.say("530 Login incorrect")
			return true
		}
		return false
	}
	w := newWard(t)
	s := sit(t, w, "ls", f.url("/dir/"))
	s.sees(`(?i)password.*: `)
	s.types("wrong-marker-11\n")
	s.sees(`(?s)certificate.*Trust it\? \[.*\] `)
	if f.count("USER") > 0 {
		t.Error("somebody logs in before the answer")
	}
	s.types("yes\n")
	shown := s.leaves(5)
	if strings.Contains(shown, "wrong-marker") || !strings.Contains(shown, "[auth]") {
		t.Errorf("left on the terminal is\n%s", shown)
	}
	s = sit(t, w, "ls", f.url("/dir/"))
	s.sees(`(?i)password.*: `)
	s.types(marker + "\n")
	s.sees("a-file")
	if shown = s.leaves(0); strings.Contains(shown, "Trust it") {
		t.Errorf("it asks again:\n%s", shown)
	}
}

// watch asks before its first comparison deletes, and not about what is deleted here
// while it runs.
func TestWatchAsksBeforeItDeletes(t *testing.T) {
	t.Parallel()
	question := `Delete 1 names of ftp://.* that site has not\? \[yes/no\] `
	begin := func(t *testing.T, more ...string) (*ftpFake, *ward, *seat) {
		f := newFTPFake(t)
		f.cert = newCertificate(t, nil)
		f.dirs["/"] = "*"
		f.put("/theirs", "theirs")
		w := newWard(t)
		fine(t, os.Mkdir(filepath.Join(w.target, "site"), 0o755))
		fine(t, os.WriteFile(filepath.Join(w.target, "site", "mine"), []byte("mine"), 0o644))
		w.env = append(w.env, "DRAY_CA="+f.cert.file, "DRAY_PASSWORD_FILE="+secretFile(t))
		return f, w, sit(t, w, append([]string{"watch", "--settle", "20ms", "site", f.url("/")}, more...)...)
	}
	has := func(t *testing.T, f *ftpFake, name string, want bool) {
		t.Helper()
		for began := time.Now(); time.Since(began) < patience; time.Sleep(5 * time.Millisecond) {
			if _, ok := f.file(name); ok == want {
				return
			}
		}
		t.Fatalf("%s on the server: %v", name, !want)
	}
	// follows deletes a file here, and waits until it is gone there, unasked.
	follows := func(t *testing.T, f *ftpFake, w *ward, s *seat) {
		t.Helper()
		has(t, f, "/mine", true)
		before := strings.Count(s.all(), "[yes/no]")
		fine(t, os.Remove(filepath.Join(w.target, "site", "mine")))
		has(t, f, "/mine", false)
		if n := strings.Count(s.all(), "[yes/no]"); n != before {
			t.Errorf("it asks again:\n%s", s.all())
		}
	}
	t.Run("yes", func(t *testing.T) {
		t.Parallel()
		f, w, s := begin(t, "--delete")
		s.sees(question)
		has(t, f, "/theirs", true)
		s.types("yes\n")
		has(t, f, "/theirs", false)
		follows(t, f, w, s)
		s.types("\x03")
		s.leaves(130)
	})
	t.Run("no", func(t *testing.T) {
		t.Parallel()
		f, w, s := begin(t, "--delete")
		s.sees(question)
		s.types("no\n")
		follows(t, f, w, s)
		has(t, f, "/theirs", true)
		s.types("\x03")
		s.leaves(130)
		has(t, f, "/theirs", true)
	})
	t.Run("Ctrl-C", func(t *testing.T) {
		t.Parallel()
		f, _, s := begin(t, "--delete")
		s.sees(question)
		s.types("\x03")
		s.leaves(130)
		has(t, f, "/theirs", true)
	})
	t.Run("--yes", func(t *testing.T) {
		t.Parallel()
		f, w, s := begin(t, "--delete", "--yes")
		has(t, f, "/theirs", false)
		follows(t, f, w, s)
		s.types("\x03")
		if shown := s.leaves(130); strings.Contains(shown, "yes/no") {
			t.Errorf("it asks:\n%s", shown)
		}
	})
	t.Run("without --delete", func(t *testing.T) {
		t.Parallel()
		f, _, s := begin(t)
		has(t, f, "/mine", true)
		s.types("\x03")
		if shown := s.leaves(130); strings.Contains(shown, "yes/no") {
			t.Errorf("it asks:\n%s", shown)
		}
		has(t, f, "/theirs", true)
	})
}
