//go:build unix

package cli

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"dray":      func() { os.Exit(Main(os.Args[1:], os.Stdout, os.Stderr)) },
		"activated": activated,
		"filtered":  filtered,
	})
}

// Each file in testdata is a story of the program.
func TestStories(t *testing.T) {
	deadline, ok := t.Deadline()
	if !ok {
		deadline = time.Now().Add(10 * time.Minute)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Deadline:            deadline,
		Setup: func(env *testscript.Env) error {
			file := filepath.Join(env.WorkDir, "horse.hash")
			env.Setenv("HORSE", file)
			env.Setenv("GORACE", "atexit_sleep_ms=0") // a binary that looks for races waits a second at its end
			env.Values["clients"] = map[string]*wireClient{}
			env.Values["held"] = map[string]*sql.Conn{}
			return os.WriteFile(file, []byte(horse+"\n"), 0o600)
		},
		Condition: func(cond string) (bool, error) {
			if cond == "root" {
				return os.Geteuid() == 0, nil
			}
			return false, fmt.Errorf("no condition %q", cond)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status":      status,
			"waitready":   waitReady,
			"waitlog":     waitLog,
			"shows":       shows,
			"from":        from,
			"unreachable": unreachable,
			"password":    password,
			"terminate":   terminate,
			"reload":      reload,
			"pid":         pid,
			"login":       login,
			"session":     session,
			"say":         say,
			"hear":        hear,
			"put":         put,
			"get":         get,
			"certificate": certificate,
			"sql":         runSQL,
			"hold":        hold,
			"release":     release,
			"notify":      listenNotify,
			"public":      publicPlace,
			"appears":     appears,
			"disappears":  disappears,
			"pasted":      pasted,
			"mode":        mode,
		},
	})
}

// horse is the md5crypt hash of "correct-horse-9", for stories that are not about
// passwords: quickly checked also by a binary that looks for races. The variable
// HORSE names a file with it.
const horse = "$1$saltsalt$xePvzaARj79GGFmYAB9DK1"

// patience is how long a story waits for a program that it has started.
const patience = 20 * time.Second

// status runs a program and wants an exit status: status 2 dray serve.
func status(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N program [args...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}

// until asks again and again, because another process answers.
func until(ts *testscript.TestScript, what string, done func() bool) {
	for begin := time.Now(); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Since(begin) > patience {
			ts.Fatalf("%s: nothing in %v", what, patience)
		}
	}
}

// appears waits until there is a file of that name: appears srv/a.txt.
func appears(ts *testscript.TestScript, neg bool, args []string) {
	until(ts, args[0], func() bool {
		_, err := os.Stat(ts.MkAbs(args[0]))
		return err == nil
	})
}

// disappears waits until there is none.
func disappears(ts *testscript.TestScript, neg bool, args []string) {
	until(ts, args[0], func() bool {
		_, err := os.Stat(ts.MkAbs(args[0]))
		return errors.Is(err, os.ErrNotExist)
	})
}

// waitReady waits for the file of --ready and sets variables to what is in it:
// waitready ready.json ftp ADDR sha256 SHA. Of addresses it is the first.
func waitReady(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args)%2 != 1 {
		ts.Fatalf("usage: waitready file [sftp|ftp|ftps|passive|sha256|hostkey VARIABLE]...")
	}
	name := ts.MkAbs(args[0])
	var b []byte
	until(ts, args[0], func() bool {
		var err error
		b, err = os.ReadFile(name)
		return err == nil
	})
	var ready struct {
		SFTP     []string `json:"sftp"`
		FTP      []string `json:"ftp"`
		FTPS     []string `json:"ftps"`
		Passive  string   `json:"passive"`
		SHA256   string   `json:"certificate_sha256"`
		HostKeys []string `json:"host_keys"`
	}
	// The file appears whole, or not at all.
	if err := json.Unmarshal(b, &ready); err != nil {
		ts.Fatalf("%s holds %q: %v", args[0], b, err)
	}
	for i := 1; i < len(args); i += 2 {
		var value string
		switch args[i] {
		case "sftp":
			value = first(ready.SFTP)
		case "hostkey": // the fingerprint of the first, without its kind
			_, value, _ = strings.Cut(first(ready.HostKeys), " ")
		case "ftp":
			value = first(ready.FTP)
		case "ftps":
			value = first(ready.FTPS)
		case "passive":
			value = ready.Passive
		case "sha256":
			value = ready.SHA256
		default:
			ts.Fatalf("no %q in a ready file", args[i])
		}
		if value == "" {
			ts.Fatalf("%s has no %s: %s", args[0], args[i], b)
		}
		ts.Setenv(args[i+1], value)
	}
}

func first(s []string) string {
	if len(s) == 0 {
		return ""
	}
	return s[0]
}

var madePassword = regexp.MustCompile(`(?m)^(?:  password +|password: )([a-z2-7]{5}(?:-[a-z2-7]{5}){3})   \((?:made now, )?shown once\)$`)

// password takes the password that was made from what a command has printed to a
// file: password out.txt VARIABLE.
func password(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: password file VARIABLE")
	}
	text := ts.ReadFile(args[0])
	found := madePassword.FindStringSubmatch(text)
	if found == nil {
		ts.Fatalf("%s shows no password", args[0])
	}
	if n := strings.Count(text, found[1]); n != 1 {
		ts.Fatalf("the password is shown %d times", n)
	}
	ts.Setenv(args[1], found[1])
}

// terminate sends SIGTERM to what runs in the background.
func terminate(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: terminate")
	}
	for _, cmd := range ts.BackgroundCmds() {
		ts.Check(cmd.Process.Signal(syscall.SIGTERM))
	}
}

// reload sends SIGHUP to what runs in the background.
func reload(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: reload")
	}
	for _, cmd := range ts.BackgroundCmds() {
		ts.Check(cmd.Process.Signal(syscall.SIGHUP))
	}
}

// pid sets a variable to the process that runs in the background: pid PID.
func pid(ts *testscript.TestScript, neg bool, args []string) {
	cmds := ts.BackgroundCmds()
	if neg || len(args) != 1 || len(cmds) != 1 {
		ts.Fatalf("usage: pid VARIABLE, with one process in the background")
	}
	ts.Setenv(args[0], strconv.Itoa(cmds[0].Process.Pid))
}

// waitLog waits until a file has a line that matches, or that many: waitlog
// [-count=N] FILE PATTERN.
func waitLog(ts *testscript.TestScript, neg bool, args []string) {
	count := 1
	if len(args) == 3 {
		n, err := strconv.Atoi(strings.TrimPrefix(args[0], "-count="))
		ts.Check(err)
		count, args = n, args[1:]
	}
	if neg || len(args) != 2 {
		ts.Fatalf("usage: waitlog [-count=N] file pattern")
	}
	name, pattern := ts.MkAbs(args[0]), regexp.MustCompile("(?m)"+args[1])
	until(ts, args[0]+" with "+args[1], func() bool {
		b, err := os.ReadFile(name)
		return err == nil && len(pattern.FindAllIndex(b, -1)) >= count
	})
}

// shows runs a program again and again until its output matches, because the
// server writes what it counts from time to time: shows PATTERN program [args...].
func shows(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: shows pattern program [args...]")
	}
	pattern := regexp.MustCompile("(?m)" + args[0])
	until(ts, strings.Join(args[1:], " "), func() bool {
		ts.Check(ts.Exec(args[1], args[2:]...))
		return pattern.MatchString(ts.ReadFile("stdout"))
	})
}

// from waits for a file that appears whole, and sets a variable to what is in it:
// from FILE VARIABLE.
func from(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: from file VARIABLE")
	}
	until(ts, args[0], func() bool { _, err := os.Stat(ts.MkAbs(args[0])); return err == nil })
	ts.Setenv(args[1], strings.TrimSpace(ts.ReadFile(args[0])))
}

// unreachable wants nobody to listen at an address.
func unreachable(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: unreachable address")
	}
	conn, err := net.DialTimeout("tcp", args[0], patience)
	if err == nil {
		_ = conn.Close()
		ts.Fatalf("somebody listens at %s", args[0])
	}
	ts.Logf("%v", err)
}

// certificate writes a self-signed certificate with its key to a file, and its
// SHA-256 to a variable: certificate FILE NAME VARIABLE.
func certificate(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: certificate file name VARIABLE")
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ts.Check(err)
	form := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: args[1]}, DNSNames: []string{args[1]},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(90 * 24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, form, form, key.Public(), key)
	ts.Check(err)
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	ts.Check(err)
	text := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})...)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), text, 0o600))
	sum := sha256.Sum256(der)
	ts.Setenv(args[2], hex.EncodeToString(sum[:]))
}

// openSQL opens a database as another program would.
func openSQL(ts *testscript.TestScript, file string) *sql.Conn {
	db, err := sql.Open("sqlite", "file:"+ts.MkAbs(file)+"?mode=rw&_pragma=busy_timeout(5000)")
	ts.Check(err)
	ts.Defer(func() { _ = db.Close() })
	conn, err := db.Conn(context.Background())
	ts.Check(err)
	return conn
}

// runSQL changes a database behind the program's back: sql FILE STATEMENT.
func runSQL(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: sql file statement")
	}
	conn := openSQL(ts, args[0])
	_, err := conn.ExecContext(context.Background(), args[1])
	ts.Check(errors.Join(err, conn.Close()))
}

// hold locks a database for all other writers, until release.
func hold(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: hold file")
	}
	conn := openSQL(ts, args[0])
	_, err := conn.ExecContext(context.Background(), "BEGIN IMMEDIATE")
	ts.Check(err)
	ts.Value("held").(map[string]*sql.Conn)[args[0]] = conn
}

// release ends hold.
func release(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: release file")
	}
	conn := ts.Value("held").(map[string]*sql.Conn)[args[0]]
	_, err := conn.ExecContext(context.Background(), "ROLLBACK")
	ts.Check(errors.Join(err, conn.Close()))
}

// listenNotify is systemd for what is started from here on: it writes what it is
// told (sd_notify(3)) to a file.
func listenNotify(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: notify file")
	}
	at := ts.MkAbs("notify.sock")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: at, Net: "unixgram"})
	ts.Check(err)
	ts.Defer(func() { _ = conn.Close() })
	ts.Setenv("NOTIFY_SOCKET", at)
	out, err := os.Create(ts.MkAbs(args[0]))
	ts.Check(err)
	go func() {
		defer func() { _ = out.Close() }()
		for buf := make([]byte, 4096); ; {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			if _, err := out.Write(append(buf[:n:n], '\n')); err != nil {
				return
			}
		}
	}()
}

// activated is a program that is systemd for one socket: it writes its address to
// a file and becomes the program with that socket, which has a name:
// activated FILE NAME PROGRAM [ARGS...].
func activated() {
	fail := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, "activated:", err)
			os.Exit(1)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	fail(err)
	f, err := l.(*net.TCPListener).File()
	fail(err)
	fail(os.WriteFile(os.Args[1]+".new", []byte(l.Addr().String()), 0o644))
	fail(os.Rename(os.Args[1]+".new", os.Args[1]))
	program, err := exec.LookPath(os.Args[3])
	fail(err)
	fail(os.Setenv("LISTEN_FDS", "1"))
	fail(os.Setenv("LISTEN_FDNAMES", os.Args[2]))
	fail(os.Setenv("LISTEN_PID", strconv.Itoa(os.Getpid()))) // exec keeps it
	env := os.Environ()
	fail(unix.Dup2(int(f.Fd()), 3)) // without close-on-exec
	fail(syscall.Exec(program, os.Args[3:], env))
}

// publicPlace makes a directory that every user of this machine may enter, with the
// program in it, and subdirectories of a user: public PLACE USER DIR...
func publicPlace(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: public VARIABLE user dir...")
	}
	u, err := user.Lookup(args[1])
	ts.Check(err)
	uid, err := strconv.Atoi(u.Uid)
	ts.Check(err)
	gid, err := strconv.Atoi(u.Gid)
	ts.Check(err)
	parent := ""
	for _, dir := range []string{os.TempDir(), "/tmp", "/var/tmp"} {
		if parent == "" && openToAll(dir) {
			parent = dir
		}
	}
	if parent == "" {
		ts.Fatalf("no directory for temporary files is open to all users")
	}
	place, err := os.MkdirTemp(parent, "dray-story-")
	ts.Check(err)
	ts.Defer(func() { _ = os.RemoveAll(place) })
	ts.Check(os.Chmod(place, 0o755))
	for _, dir := range args[2:] {
		ts.Check(os.Mkdir(filepath.Join(place, dir), 0o755))
		ts.Check(os.Chown(filepath.Join(place, dir), uid, gid))
	}
	program, err := exec.LookPath("dray")
	ts.Check(err)
	in, err := os.Open(program)
	ts.Check(err)
	defer func() { _ = in.Close() }()
	out, err := os.OpenFile(filepath.Join(place, "dray"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	ts.Check(err)
	_, err = io.Copy(out, in)
	ts.Check(errors.Join(err, out.Chmod(0o755), out.Close()))
	ts.Setenv(args[0], place)
}

// openToAll tells whether everybody may pass through dir and all above it.
func openToAll(dir string) bool {
	for ; ; dir = filepath.Dir(dir) {
		if fi, err := os.Stat(dir); err != nil || fi.Mode()&0o001 == 0 {
			return false
		}
		if dir == filepath.Dir(dir) {
			return true
		}
	}
}
