package interop

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"dray/account"
	"dray/account/accountsql"
)

// recorded runs "dray serve --config" until the test ends, with accounts, on
// 127.0.0.1 and, where there is one, on ::1. more is the end of its file.
func recorded(t *testing.T, more string, accounts ...account.Account) *server {
	t.Helper()
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	own := t.TempDir()
	s := &server{state: filepath.Join(own, "state"), log: filepath.Join(own, "log")}
	if err := os.Mkdir(s.state, 0o700); err != nil {
		t.Fatal(err)
	}
	db, err := accountsql.Open(t.Context(), filepath.Join(s.state, "accounts.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range accounts {
		if a.Hash, err = account.NewHash(account.NewSecret(password)); err != nil {
			t.Fatal(err)
		}
		if err := db.Put(t.Context(), a); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	listen := `"127.0.0.1:0"`
	if l, err := net.Listen("tcp", "[::1]:0"); err == nil {
		_ = l.Close()
		listen += `, "[::1]:0"`
	}
	low := 20000 + (ranges.Add(1)-1)%100*100
	config := filepath.Join(own, "dray.toml")
	text := fmt.Sprintf("state = %q\npassive = \"%d-%d\"\n[[listener]]\nlisten = [%s]\nplain = true\n"+
		"[limits]\ntries = 100\nexempt = [\"127.0.0.0/8\", \"::1/128\"]\n%s", s.state, low, low+99, listen, more)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	logFile, err := os.Create(s.log)
	if err != nil {
		t.Fatal(err)
	}
	defer logFile.Close()
	ready := filepath.Join(own, "ready.json")
	cmd := exec.Command(bin, "serve", "--config", config, "--ready", ready)
	cmd.Stdout, cmd.Stderr = logFile, logFile
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.process, s.ended = cmd.Process, make(chan error, 1)
	go func() { s.ended <- cmd.Wait() }()
	t.Cleanup(func() { s.stop(t) })
	within(t, "the ready file of dray "+text, func() bool {
		select {
		case err := <-s.ended:
			s.ended <- err
			t.Fatalf("dray serve --config ended before it was ready: %v\n%s", err, s.printed(t))
		default:
		}
		b, err := os.ReadFile(ready)
		return err == nil && json.Unmarshal(b, &s.ready) == nil
	})
	return s
}

// within waits for something that another process does.
func within(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

// linesOf waits until a file has n lines and returns all that it has.
func linesOf(t *testing.T, name string, n int) []string {
	t.Helper()
	var lines []string
	within(t, fmt.Sprintf("%d lines in %s", n, name), func() bool {
		b, err := os.ReadFile(name)
		lines = strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
		return err == nil && strings.HasSuffix(string(b), "\n") && len(lines) >= n
	})
	return lines
}

// A wire is a control connection whose every byte the test chooses.
type wire struct {
	*textproto.Conn
	host string
}

func connect(t *testing.T, addr string) *wire {
	t.Helper()
	c, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	host, _, _ := net.SplitHostPort(addr)
	w := &wire{textproto.NewConn(c), host}
	t.Cleanup(func() { _ = w.Close() })
	w.want(t, 220)
	return w
}

func (w *wire) want(t *testing.T, code int) string {
	t.Helper()
	_, text, err := w.ReadResponse(code)
	if err != nil {
		t.Fatalf("%v; want a reply %d", err, code)
	}
	return text
}

// ask sends a line as it is and wants one reply.
func (w *wire) ask(t *testing.T, line string, code int) string {
	t.Helper()
	if _, err := w.Cmd("%s", line); err != nil {
		t.Fatal(err)
	}
	return w.want(t, code)
}

func (w *wire) login(t *testing.T, name, secret string) {
	t.Helper()
	w.ask(t, "USER "+name, 331)
	w.ask(t, "PASS "+secret, 230)
}

// data sends a line that opens a data connection.
func (w *wire) data(t *testing.T, line string) *net.TCPConn {
	t.Helper()
	told := w.ask(t, "EPSV", 229)
	m := regexp.MustCompile(`\(\|\|\|(\d+)\|\)`).FindStringSubmatch(told)
	if m == nil {
		t.Fatalf("EPSV: %q", told)
	}
	c, err := net.DialTimeout("tcp", net.JoinHostPort(w.host, m[1]), 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	w.ask(t, line, 150)
	return c.(*net.TCPConn)
}

func (w *wire) store(t *testing.T, name, content string) {
	t.Helper()
	c := w.data(t, "STOR "+name)
	if _, err := io.WriteString(c, content); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	w.want(t, 226)
}

func (w *wire) fetch(t *testing.T, name string) {
	t.Helper()
	c := w.data(t, "RETR "+name)
	if _, err := io.Copy(io.Discard, c); err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	w.want(t, 226)
}

// local is a user that every Debian system has; vsftpd takes no others here.
const local = "games"

// transfers is what both servers are asked for. root is the directory of local on
// the disk; strangers see a file pub.bin.
func transfers(t *testing.T, addr, root string) {
	t.Helper()
	w := connect(t, addr)
	w.login(t, local, password)
	w.ask(t, "TYPE I", 200)
	w.store(t, "with space.bin", strings.Repeat("x", 3000))
	w.fetch(t, "with space.bin")
	w.store(t, "über.bin", "letters")
	w.ask(t, "TYPE A", 200)
	w.fetch(t, "with space.bin")
	w.ask(t, "TYPE I", 200)
	w.ask(t, "MKD directory", 257)
	w.ask(t, "CWD directory", 250)
	w.store(t, "empty.bin", "")
	w.ask(t, "DELE empty.bin", 250)

	cut := w.data(t, "STOR cut.bin")
	if _, err := cut.Write(make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	within(t, "1000 bytes on the disk of "+addr, func() bool {
		found := false
		all, err := os.ReadDir(filepath.Join(root, "directory"))
		for _, f := range all {
			fi, err := f.Info()
			found = found || err == nil && fi.Size() == 1000
		}
		return err == nil && found
	})
	_ = cut.SetLinger(0) // a reset
	_ = cut.Close()
	w.want(t, 426)
	w.ask(t, "QUIT", 221)

	w = connect(t, addr)
	w.login(t, "anonymous", "me and you@example.net") // which is in the log
	w.ask(t, "TYPE I", 200)
	w.fetch(t, "pub.bin")
	w.ask(t, "QUIT", 221)
}

// xferlog is what readers of such files look for: xferlog(5).
var xferlog = regexp.MustCompile(`^(\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4}) (\d+) (\S+) (\d+) (\S+) ([ab]) ([CUT_]) ([oid]) ([arg]) (\S+) (ftp) ([01]) (\S+) ([ci])$`)

// dated checks that a date is of local time and of now.
func dated(t *testing.T, date string) {
	t.Helper()
	at, err := time.ParseInLocation(time.ANSIC, date, time.Local)
	if age := time.Since(at); err != nil || age < -time.Second || age > 2*time.Minute {
		t.Errorf("date %q: %v, %v ago; want now", date, err, age)
	}
}

func TestXferlogIsThatOfVsftpd(t *testing.T) {
	vsftpd := peer(t, "vsftpd")
	pub := open(t)
	plant(t, pub, named{"pub.bin", make([]byte, 500)})

	root, theirs := open(t), filepath.Join(t.TempDir(), "xferlog")
	if err := os.Chmod(root, 0o777); err != nil {
		t.Fatal(err)
	}
	transfers(t, serveVsftpd(t, vsftpd, root, "anonymous_enable=YES", "anon_root="+pub, "ascii_download_enable=YES",
		"xferlog_enable=YES", "xferlog_std_format=YES", "xferlog_file="+theirs, "use_localtime=YES"), root)

	own, ours := t.TempDir(), filepath.Join(t.TempDir(), "xferlog")
	s := recorded(t, fmt.Sprintf("[anonymous]\ndirectory = %q\n[log]\nxferlog = %q\n", pub, ours),
		account.Account{Name: local, Home: own, Rights: account.Full})
	transfers(t, s.ready.FTP[0], own)

	const lines = 7 // neither server has one for the directory or what was deleted
	got, want := linesOf(t, ours, lines), linesOf(t, theirs, lines)
	if len(got) != lines || len(want) != lines {
		t.Fatalf("%d lines, vsftpd %d; want %d\n%s\n\n%s", len(got), len(want), lines, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for i := range lines {
		g, w := xferlog.FindStringSubmatch(got[i]), xferlog.FindStringSubmatch(want[i])
		if g == nil || w == nil {
			t.Errorf("%q\n%q\nwant both to match %s", got[i], want[i], xferlog)
			continue
		}
		dated(t, g[1])
		dated(t, w[1])
		// Behind date and duration all is the same, but that vsftpd writes "?" for
		// each byte of a letter beyond ASCII.
		g[5] = regexp.MustCompile(`[^ -~]`).ReplaceAllStringFunc(g[5], func(c string) string { return strings.Repeat("?", len(c)) })
		if !slices.Equal(g[3:], w[3:]) {
			t.Errorf("%q; vsftpd %q", got[i], want[i])
		}
	}
}

// open is a temporary directory that other users may enter.
func open(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// serveVsftpd runs vsftpd for every connection to the address that it returns, as
// inetd does. It lets local into root with any password: its PAM is one that permits,
// in a mount namespace of its own, so that the system's stays as it is. more are
// further lines of its configuration.
func serveVsftpd(t *testing.T, vsftpd, root string, more ...string) string {
	t.Helper()
	unshare := peer(t, "unshare")
	if os.Geteuid() != 0 {
		missing(t, "MISSING PEER vsftpd: it runs as root only")
	}
	if err := exec.Command(unshare, "-m", "true").Run(); err != nil {
		missing(t, "MISSING PEER vsftpd: no mount namespace here: "+err.Error())
	}
	own := t.TempDir()
	pam, empty, config := filepath.Join(own, "pam.d"), filepath.Join(own, "empty"), filepath.Join(own, "vsftpd.conf")
	for _, dir := range []string{pam, empty} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	lines := append([]string{
		"listen=NO", "seccomp_sandbox=NO", "secure_chroot_dir=" + empty,
		"local_enable=YES", "local_root=" + root, "pam_service_name=permits",
		"chroot_local_user=YES", "allow_writeable_chroot=YES", "write_enable=YES",
	}, more...)
	for name, text := range map[string]string{
		filepath.Join(pam, "permits"): "auth required pam_permit.so\naccount required pam_permit.so\n",
		config:                        strings.Join(lines, "\n") + "\n",
	} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	t.Cleanup(func() {
		_ = l.Close()
		all.Wait()
	})
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			f, err := c.(*net.TCPConn).File()
			_ = c.Close()
			if err != nil {
				t.Error(err)
				return
			}
			cmd := exec.CommandContext(t.Context(), unshare, "-m", "sh", "-c", `mount --bind "$1" /etc/pam.d && exec "$2" "$3"`, "sh", pam, vsftpd, config)
			cmd.Stdin, cmd.Stdout, cmd.Stderr = f, f, f
			err = cmd.Start()
			_ = f.Close()
			if err != nil {
				t.Error(err)
				return
			}
			all.Go(func() {
				if err := cmd.Wait(); err != nil && t.Context().Err() == nil {
					t.Logf("vsftpd: %v", err)
				}
			})
		}
	})
	return l.Addr().String()
}

// hostile are user names that want to be somebody else's failure, or nobody's.
var hostile = []string{
	"anna",
	"anna b",
	`x] FAIL LOGIN: Client "198.51.100.1"`,
	`x] FAIL LOGIN: Client "198.51.100.1", "`,
	`]`,
	`x" peer=198.51.100.1:5 tls=true error="x`,
	`x\" peer=198.51.100.1:5 tls=true error=x`,
	`x peer=198.51.100.1:5 tls=true error=x`,
	`x","peer":"198.51.100.1:5","tls":true,"error":"x`,
	`x\`,
	`\"`,
	`host dray[1]: time=2026-11-20T11:29:40Z level=WARN msg="login failed" session=a user=b peer=198.51.100.1:5 tls=true error=x`,
	`{"time":"2026-11-20T11:29:40Z","level":"WARN","msg":"login failed","session":"a","user":"b","peer":"198.51.100.1:5","tls":true,"error":"x"}`,
	`Fri Nov 20 11:29:40 2026 [pid 1] [y] FAIL LOGIN: Client "198.51.100.1"`,
	"time=2026-11-20T11:29:40Z",
	"tab\tescape\x1b[2Kdelete\x7f",
	"\xe9\xfe\x85",
	"x\u2028y\u0085z\u202e",
	"198.51.100.1",
	strings.Repeat("long ", 200),
}

// fail2ban is peer for the programs of that package.
func fail2ban(t *testing.T, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		missing(t, "MISSING PEER "+program+": apt-get install fail2ban")
	}
}

func TestFail2banFindsEveryFailedLogin(t *testing.T) {
	t.Parallel() // it waits for the answers to wrong passwords
	fail2ban(t, "fail2ban-regex")
	filter, err := filepath.Abs("../contrib/fail2ban/filter.d/dray.conf")
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"text", "json"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			log, auth := filepath.Join(dir, "dray.log"), filepath.Join(dir, "auth.log")
			s := recorded(t, fmt.Sprintf("[log]\nformat = %q\nlevel = \"debug\"\nfile = %q\nauth = %q\n", format, log, auth),
				account.Account{Name: "in", Home: t.TempDir(), Rights: account.Full},
				account.Account{Name: "off", Home: t.TempDir(), Rights: account.Full, Disabled: true})
			var want []string
			for i, addr := range s.ready.FTP {
				host, _, _ := net.SplitHostPort(addr)
				w := connect(t, addr)
				names := hostile
				if i > 0 { // only the address is new there, and each login takes its time
					names = hostile[:3]
				}
				for _, name := range names {
					w.ask(t, "USER "+name, 331)
					w.ask(t, "PASS wrong", 530)
					want = append(want, host)
				}
				w.ask(t, "USER off", 331)
				w.ask(t, "PASS "+password, 530) // right, so nobody guesses
				w.login(t, "in", password)
				w.ask(t, `CWD x] FAIL LOGIN: Client "198.51.100.1"`, 550)
				w.ask(t, "QUIT", 221)
			}
			s.end(t)

			found(t, want, log, filter)
			found(t, want, auth, "vsftpd")
			// The journal has other things in front.
			b, err := os.ReadFile(log)
			if err != nil {
				t.Fatal(err)
			}
			journal := filepath.Join(dir, "journal")
			lines := regexp.MustCompile(`(?m)^`).ReplaceAll(b, []byte(time.Now().Format(time.RFC3339)+" host dray[12]: "))
			lines = lines[:strings.LastIndexByte(string(lines), '\n')+1]
			if err := os.WriteFile(journal, lines, 0o600); err != nil {
				t.Fatal(err)
			}
			found(t, want, journal, filter, "-d", "{^LN-BEG}")
		})
	}
}

// end stops a server before its test ends; it must end well.
func (s *server) end(t *testing.T) {
	t.Helper()
	if err := s.process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-s.ended:
		s.ended <- err // for stop
	case <-time.After(20 * time.Second):
		t.Fatal("dray serve did not end within 20 s of SIGTERM")
	}
}

// found checks which addresses fail2ban finds in a log, in their order, and that
// it reads the time of each as now.
func found(t *testing.T, want []string, log, filter string, more ...string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "fail2ban-regex", append(more, "-o", "<ip> <time>", log, filter)...).CombinedOutput()
	if err != nil {
		t.Fatalf("fail2ban-regex: %v\n%s", err, out)
	}
	var got []string
	for line := range strings.Lines(string(out)) {
		ip, at, _ := strings.Cut(strings.TrimSpace(line), " ")
		got = append(got, ip)
		seconds, err := strconv.ParseFloat(at, 64)
		if age := time.Since(time.Unix(int64(seconds), 0)); err != nil || age < -time.Second || age > 5*time.Minute {
			t.Errorf("%s: %q is %v ago; want now", filepath.Base(log), line, age)
		}
	}
	if !slices.Equal(got, want) {
		b, err := os.ReadFile(log)
		t.Errorf("filter %s finds in %s:\n%s\nwant %d: %s\n%s (%v)", filter, filepath.Base(log), out, len(want), want, b, err)
	}
}

// What contrib says about the jail is a configuration that fail2ban takes.
func TestFail2banTakesTheJail(t *testing.T) {
	fail2ban(t, "fail2ban-client")
	dir := filepath.Join(t.TempDir(), "fail2ban")
	if err := os.CopyFS(dir, os.DirFS("/etc/fail2ban")); err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(t.TempDir(), "dray.log")
	if err := os.WriteFile(log, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	off, err := filepath.Glob(filepath.Join(dir, "jail.d", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range off { // their logs may not be here
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"filter.d/dray.conf", "jail.d/dray.conf"} {
		b, err := os.ReadFile(filepath.Join("../contrib/fail2ban", name))
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(name, "jail.d") {
			if out, err := taken(t, dir, name, b); err != nil {
				t.Errorf("as it comes, fail2ban-client -t: %v\n%s", err, out)
			}
			b = []byte(strings.Replace(string(b), "backend  = systemd", "backend = auto\nlogpath = "+log, 1))
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.CommandContext(t.Context(), "fail2ban-client", "-c", dir, "-t").CombinedOutput(); err != nil {
		t.Errorf("fail2ban-client -t: %v\n%s", err, out)
	}
	out, err := exec.CommandContext(t.Context(), "fail2ban-client", "-c", dir, "-d").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"'addlogpath', '" + log + "'", "['start', 'dray']", "'addfailregex'"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("fail2ban-client -d has no %s:\n%s", want, out)
		}
	}
}

// taken writes the jail and asks fail2ban to check its whole configuration.
func taken(t *testing.T, dir, name string, text []byte) ([]byte, error) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
		t.Fatal(err)
	}
	return exec.CommandContext(t.Context(), "fail2ban-client", "-c", dir, "-t").CombinedOutput()
}
