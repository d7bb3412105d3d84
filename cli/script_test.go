package cli

import (
	"bufio"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"dray": func() { os.Exit(Main(os.Args[1:], os.Stdout, os.Stderr)) },
	})
}

// Each file in testdata is a story of the program.
func TestStories(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Deadline:            time.Now().Add(time.Minute),
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status":    status,
			"waitready": waitReady,
			"password":  password,
			"terminate": terminate,
			"login":     login,
		},
	})
}

// patience is how long a story waits for a program that it has started.
const patience = 10 * time.Second

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

// waitReady waits for the file of --ready and sets variables to what is in it:
// waitready ready.json ftp ADDR sha256 SHA. Of addresses it is the first.
func waitReady(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args)%2 != 1 {
		ts.Fatalf("usage: waitready file [ftp|ftps|passive|sha256 VARIABLE]...")
	}
	name := ts.MkAbs(args[0])
	var b []byte
	until(ts, args[0], func() bool {
		var err error
		b, err = os.ReadFile(name)
		return err == nil
	})
	var ready struct {
		FTP     []string `json:"ftp"`
		FTPS    []string `json:"ftps"`
		Passive string   `json:"passive"`
		SHA256  string   `json:"certificate_sha256"`
	}
	// The file appears whole, or not at all.
	if err := json.Unmarshal(b, &ready); err != nil {
		ts.Fatalf("%s holds %q: %v", args[0], b, err)
	}
	for i := 1; i < len(args); i += 2 {
		var value string
		switch args[i] {
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

var madePassword = regexp.MustCompile(`(?m)^  password +([a-z2-7]{5}(?:-[a-z2-7]{5}){3})   \(made now, shown once\)$`)

// password takes the password that was made from what a server has printed to a
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

// login logs in over explicit TLS, or in clear text, and wants to be let in, or
// with ! to be refused: login tls ADDR SHA256 USER PASSWORD.
func login(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 5 || args[0] != "tls" && args[0] != "clear" {
		ts.Fatalf("usage: login tls|clear address sha256 user password")
	}
	how, addr, sha, user, secret := args[0], args[1], args[2], args[3], args[4]
	c, err := net.DialTimeout("tcp", addr, patience)
	ts.Check(err)
	defer func() { _ = c.Close() }()
	ts.Check(c.SetDeadline(time.Now().Add(patience)))
	r := bufio.NewReader(c)
	say := func(line string) string {
		if line != "" {
			_, err := fmt.Fprintf(c, "%s\r\n", line)
			ts.Check(err)
		}
		reply, err := r.ReadString('\n')
		ts.Check(err)
		ts.Logf("%s", strings.TrimSpace(reply))
		return reply
	}
	say("")
	if how == "tls" {
		if reply := say("AUTH TLS"); !strings.HasPrefix(reply, "234") {
			ts.Fatalf("AUTH TLS: %s", reply)
		}
		conn := tls.Client(c, &tls.Config{InsecureSkipVerify: true}) // compared below
		ts.Check(conn.Handshake())
		sum := sha256.Sum256(conn.ConnectionState().PeerCertificates[0].Raw)
		if got := hex.EncodeToString(sum[:]); got != sha {
			ts.Fatalf("the certificate is %s, want %s", got, sha)
		}
		c, r = conn, bufio.NewReader(conn)
	}
	reply := say("USER " + user)
	if strings.HasPrefix(reply, "331") {
		reply = say("PASS " + secret)
	}
	if in := strings.HasPrefix(reply, "230"); in == neg {
		ts.Fatalf("login of %s over %s: %s", user, how, reply)
	}
	if !neg {
		say("QUIT")
	}
}
