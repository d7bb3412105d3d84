//go:build unix

package cli

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// A client is one control connection of a story.
type wireClient struct {
	ts   *testscript.TestScript
	host string
	conn net.Conn
	r    *bufio.Reader
	tls  *tls.Config // of data connections; nil: clear text
}

// dialClient connects, starts TLS ("tls": AUTH TLS, "implicit", else "clear") and
// reads the greeting. certificate is a PEM file to show, or "".
func dialClient(ts *testscript.TestScript, how, addr, certificate string) (c *wireClient, greeting string) {
	host, _, err := net.SplitHostPort(addr)
	ts.Check(err)
	conn, err := net.DialTimeout("tcp", addr, patience)
	ts.Check(err)
	c = &wireClient{ts: ts, host: host, conn: conn, r: bufio.NewReader(conn)}
	ts.Defer(func() { _ = c.conn.Close() })
	if how == "implicit" {
		c.secure(certificate)
	}
	greeting = c.reply(patience)
	if how == "tls" {
		c.want("AUTH TLS", "^234 ")
		c.secure(certificate)
	}
	return c, greeting
}

func (c *wireClient) secure(certificate string) {
	// One cache for control and data; what the server shows is compared by its sum.
	c.tls = &tls.Config{InsecureSkipVerify: true, ServerName: "story", ClientSessionCache: tls.NewLRUClientSessionCache(8)}
	if certificate != "" {
		pair, err := tls.LoadX509KeyPair(c.ts.MkAbs(certificate), c.ts.MkAbs(certificate))
		c.ts.Check(err)
		c.tls.Certificates = []tls.Certificate{pair}
	}
	conn := tls.Client(c.conn, c.tls)
	c.ts.Check(c.conn.SetDeadline(time.Now().Add(patience)))
	c.ts.Check(conn.Handshake())
	c.conn, c.r = conn, bufio.NewReader(conn)
}

// fingerprint is the SHA-256 of the server's certificate.
func (c *wireClient) fingerprint() string {
	sum := sha256.Sum256(c.conn.(*tls.Conn).ConnectionState().PeerCertificates[0].Raw)
	return hex.EncodeToString(sum[:])
}

// reply reads one reply, of one line or several; "closed" after the last.
func (c *wireClient) reply(wait time.Duration) string {
	c.ts.Check(c.conn.SetDeadline(time.Now().Add(wait)))
	var text strings.Builder
	for {
		line, err := c.r.ReadString('\n')
		switch {
		case os.IsTimeout(err):
			c.ts.Fatalf("no reply in %v", wait)
		case err != nil:
			return "closed"
		}
		text.WriteString(strings.TrimRight(line, "\r\n") + "\n")
		if first := text.String(); len(line) > 3 && line[3] == ' ' && line[:3] == first[:3] {
			c.ts.Logf("%s", strings.TrimSpace(text.String()))
			return text.String()
		}
	}
}

func (c *wireClient) say(line string) string {
	c.ts.Check(c.conn.SetDeadline(time.Now().Add(patience)))
	if _, err := fmt.Fprintf(c.conn, "%s\r\n", line); err != nil {
		return "closed"
	}
	return c.reply(patience)
}

func (c *wireClient) want(line, pattern string) string {
	reply := c.say(line)
	if !regexp.MustCompile(pattern).MatchString(reply) {
		verb, _, _ := strings.Cut(line, " ")
		c.ts.Fatalf("%s was answered %q, want %s", verb, reply, pattern)
	}
	return reply
}

// in tells whether the account is let in; without a password the certificate has
// to do.
func (c *wireClient) in(user, password string) bool {
	reply := c.say("USER " + user)
	if strings.HasPrefix(reply, "331") {
		reply = c.say("PASS " + password)
	}
	if !strings.HasPrefix(reply, "230") && !strings.HasPrefix(reply, "232") {
		return false
	}
	c.want("TYPE I", "^200 ")
	if c.tls != nil {
		c.want("PBSZ 0", "^200 ")
		c.want("PROT P", "^200 ")
	}
	return true
}

var extendedPort = regexp.MustCompile(`\(\|\|\|(\d+)\|\)`)

// transfer runs a command with a data connection and returns the final reply.
func (c *wireClient) transfer(line string, move func(io.ReadWriter) error) string {
	found := extendedPort.FindStringSubmatch(c.want("EPSV", "^229 "))
	if found == nil {
		c.ts.Fatalf("the reply to EPSV names no port")
	}
	data, err := net.DialTimeout("tcp", net.JoinHostPort(c.host, found[1]), patience)
	c.ts.Check(err)
	defer func() { _ = data.Close() }()
	c.ts.Check(data.SetDeadline(time.Now().Add(patience)))
	reply := c.say(line)
	if !strings.HasPrefix(reply, "1") {
		return reply
	}
	var end interface {
		io.ReadWriter
		CloseWrite() error
	} = data.(*net.TCPConn)
	if c.tls != nil {
		end = tls.Client(data, c.tls)
	}
	if err := move(end); err == nil {
		err = end.CloseWrite()
		if err == nil {
			_, err = io.Copy(io.Discard, end) // the server closes when it has read all
		}
		c.ts.Logf("data connection: %v", err)
	}
	_ = data.Close()
	return c.reply(patience)
}

func clients(ts *testscript.TestScript) map[string]*wireClient {
	return ts.Value("clients").(map[string]*wireClient)
}

func clientOf(ts *testscript.TestScript, name string) *wireClient {
	c := clients(ts)[name]
	if c == nil {
		ts.Fatalf("there is no session %q", name)
	}
	c.ts = ts
	return c
}

// login logs in and wants to be let in, or with ! to be refused, over TLS under
// the certificate of that SHA-256: login tls ADDR SHA256 USER PASSWORD.
func login(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 5 || args[0] != "tls" && args[0] != "implicit" && args[0] != "clear" {
		ts.Fatalf("usage: login tls|implicit|clear address sha256 user password")
	}
	how, addr, sha, user, secret := args[0], args[1], args[2], args[3], args[4]
	c, _ := dialClient(ts, how, addr, "")
	if how != "clear" {
		if got := c.fingerprint(); got != sha {
			ts.Fatalf("the certificate is %s, want %s", got, sha)
		}
	}
	if c.in(user, secret) == neg {
		ts.Fatalf("login of %s over %s: let in is %v", user, how, !neg)
	}
	if !neg {
		c.say("QUIT")
	}
	_ = c.conn.Close()
}

// session opens a session that stays, under a name: session a tls ADDR USER
// PASSWORD; with cert:FILE in place of the password the client shows that
// certificate. With ! it wants to be refused.
func session(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 5 {
		ts.Fatalf("usage: session name tls|implicit|clear address user password|cert:file")
	}
	password, certificate := args[4], ""
	if file, ok := strings.CutPrefix(password, "cert:"); ok {
		password, certificate = "", file
	}
	c, greeting := dialClient(ts, args[1], args[2], certificate)
	ts.Setenv("GREETING", strings.TrimSpace(greeting))
	if c.in(args[3], password) == neg {
		ts.Fatalf("login of %s over %s: let in is %v", args[3], args[1], !neg)
	}
	clients(ts)[args[0]] = c
}

// say sends one line and wants a reply: say a 'SIZE x' '^550 '.
func say(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: say session line pattern")
	}
	clientOf(ts, args[0]).want(args[1], args[2])
}

// kicking is how long a server has to end the sessions of an account.
const kicking = 30 * time.Second

// hear waits for what a server says unasked, and for the end of the session after
// it: hear a '^421 '.
func hear(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: hear session pattern")
	}
	c := clientOf(ts, args[0])
	if reply := c.reply(kicking); !regexp.MustCompile(args[1]).MatchString(reply) {
		ts.Fatalf("heard %q, want %s", reply, args[1])
	}
	if reply := c.reply(patience); reply != "closed" {
		ts.Fatalf("after the end the session says %q", reply)
	}
}

// put uploads a file, or with ! wants to be refused: put a FILE REMOTE.
func put(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: put session file remote")
	}
	content := ts.ReadFile(args[1])
	reply := clientOf(ts, args[0]).transfer("STOR "+args[2], func(data io.ReadWriter) error {
		_, err := io.WriteString(data, content)
		return err
	})
	if strings.HasPrefix(reply, "226") == neg {
		ts.Fatalf("the upload was answered %q", reply)
	}
}

// get downloads to a file, or with ! wants to be refused: get a REMOTE FILE.
func get(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: get session remote file")
	}
	var content bytes.Buffer
	reply := clientOf(ts, args[0]).transfer("RETR "+args[1], func(data io.ReadWriter) error {
		_, err := io.Copy(&content, data)
		return err
	})
	if strings.HasPrefix(reply, "226") == neg {
		ts.Fatalf("the download was answered %q", reply)
	}
	if !neg {
		ts.Check(os.WriteFile(ts.MkAbs(args[2]), content.Bytes(), 0o644))
	}
}
