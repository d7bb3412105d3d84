//go:build unix

package cli

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"dray/certs"
	"dray/remote"
)

// An ftpFake is a small FTP server with its files in memory, whose tests say at
// which step it does something else.
type ftpFake struct {
	t    testing.TB
	addr string
	cert *testCertificate // nil: no TLS
	feat []string
	dirs map[string]string // listings by path

	// at is asked at each step with the words of it, and true when it has done all
	// that is to be done there. Beside verbs there are the steps "greeting",
	// "handshake", "accept" (the data connection) and "done" (the final reply).
	at     func(c *ftpConn, verb, arg string) bool
	honest atomic.Bool // at is not asked any more

	implicit bool // TLS from the first byte
	deep     bool // each path is a directory
	mu       sync.Mutex
	files    map[string]string
	heard    []string // commands
	inClear  []string // those of them that came in clear text
}

// An ftpConn is one control connection to it.
type ftpConn struct {
	*ftpFake
	raw    net.Conn
	nc     net.Conn
	rd     *bufio.Reader
	pasv   net.Listener
	prot   bool
	rest   int
	number int
	dir    string
	from   string // of RNFR
}

func newFTPFake(t testing.TB) *ftpFake {
	f := &ftpFake{t: t, files: map[string]string{}, dirs: map[string]string{}, feat: []string{"EPSV", "PASV", "SIZE", "MDTM", "REST STREAM", "UTF8", "MLST type*;size*;modify*;"}}
	number := 0
	f.addr = serveAll(t, "127.0.0.1:0", func(_ context.Context, nc net.Conn) {
		f.mu.Lock()
		number++
		c := &ftpConn{ftpFake: f, raw: nc, nc: nc, rd: bufio.NewReader(nc), number: number, dir: "/"}
		f.mu.Unlock()
		defer func() {
			if c.pasv != nil {
				_ = c.pasv.Close()
			}
			_ = recover() // gone ends the connection
		}()
		c.serve()
	}).String()
	return f
}

// gone is what ends a connection from within.
type gone struct{}

func (c *ftpConn) hangUp() { panic(gone{}) }

// silent says nothing more, until the client is gone.
func (c *ftpConn) silent() {
	_, _ = io.Copy(io.Discard, c.rd)
	c.hangUp()
}

func (c *ftpConn) say(format string, args ...any) {
	if _, err := fmt.Fprintf(c.nc, format+"\r\n", args...); err != nil {
		c.hangUp()
	}
}

func (c *ftpConn) is(verb, arg string) bool {
	return c.at != nil && !c.honest.Load() && c.at(c, verb, arg)
}

func (f *ftpFake) put(name, content string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.files[name] = content
}

func (f *ftpFake) file(name string) (string, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s, ok := f.files[name]
	return s, ok
}

// count is how many commands began with this.
func (f *ftpFake) count(begin string) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, line := range f.heard {
		if strings.HasPrefix(line, begin) {
			n++
		}
	}
	return n
}

func (f *ftpFake) url(path string) string { return "ftp://alice@" + f.addr + path }

// fact is a line of MLSD.
func fact(kind string, size int, name string) string {
	if kind != "file" {
		return fmt.Sprintf("type=%s;modify=20240102030405; %s\r\n", kind, name)
	}
	return fmt.Sprintf("type=file;size=%d;modify=20240102030405; %s\r\n", size, name)
}

func (c *ftpConn) secure() {
	s := tls.Server(c.raw, &tls.Config{Certificates: []tls.Certificate{c.cert.pair}})
	if s.Handshake() != nil {
		c.hangUp()
	}
	c.nc, c.rd = s, bufio.NewReader(s)
}

// listing is what is in a directory; "*" stands for the files that there are.
func (c *ftpConn) listing(p string) (string, bool) {
	text, ok := c.dirs[p]
	if text != "*" {
		return text, ok
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	text = ""
	for name, content := range c.files {
		if base, below := strings.CutPrefix(name, strings.TrimSuffix(p, "/")+"/"); below && !strings.Contains(base, "/") {
			text += fact("file", len(content), base)
		}
	}
	return text, true
}

func (c *ftpConn) serve() {
	if c.implicit {
		c.secure()
	}
	if !c.is("greeting", "") {
		c.say("220 ready")
	}
	for {
		line, err := c.rd.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		verb, arg, _ := strings.Cut(line, " ")
		verb = strings.ToUpper(verb)
		c.mu.Lock()
		c.heard = append(c.heard, line)
		if c.nc == c.raw {
			c.inClear = append(c.inClear, line)
		}
		c.mu.Unlock()
		if c.is(verb, arg) {
			continue
		}
		if optional := []string{"SIZE", "MDTM", "MLST", "MLSD"}; slices.Contains(optional, verb) && !slices.ContainsFunc(c.feat, func(s string) bool { return strings.HasPrefix(s, verb[:3]) }) {
			c.say("502 no")
			continue
		}
		c.usual(verb, arg)
	}
}

// path is what a name means to this connection.
func (c *ftpConn) path(arg string) string {
	if !strings.HasPrefix(arg, "/") {
		arg = strings.TrimSuffix(c.dir, "/") + "/" + arg
	}
	if arg != "/" {
		arg = strings.TrimSuffix(arg, "/")
	}
	return arg
}

func (c *ftpConn) usual(verb, arg string) {
	switch verb {
	case "AUTH":
		if c.cert == nil {
			c.say("500 what?")
			return
		}
		c.say("234 go")
		if c.is("handshake", "") {
			return
		}
		c.secure()
	case "USER":
		c.say("331 password")
	case "PASS":
		c.say("230 in")
	case "FEAT":
		c.say("211-Features\r\n %s\r\n211 End", strings.Join(c.feat, "\r\n "))
	case "PROT":
		c.prot = arg == "P"
		c.say("200 ok")
	case "PBSZ", "TYPE", "OPTS", "NOOP", "ALLO", "MFMT":
		c.say("200 ok")
	case "SYST":
		c.say("215 UNIX Type: L8")
	case "PWD":
		c.say("257 %q", c.dir)
	case "CWD":
		if _, ok := c.dirs[c.path(arg)]; !ok {
			c.say("550 no such directory")
			return
		}
		c.dir = c.path(arg)
		c.say("250 ok")
	case "REST":
		c.rest, _ = strconv.Atoi(arg)
		c.say("350 ok")
	case "SIZE":
		if s, ok := c.file(c.path(arg)); ok {
			c.say("213 %d", len(s))
			return
		}
		c.say("550 no such file")
	case "MDTM":
		if _, ok := c.file(c.path(arg)); ok {
			c.say("213 20240102030405")
			return
		}
		c.say("550 no such file")
	case "MLST":
		p := c.path(arg)
		if _, ok := c.dirs[p]; ok || c.deep {
			c.say("250-here\r\n type=dir; %s\r\n250 end", p)
		} else if s, ok := c.file(p); ok {
			c.say("250-here\r\n type=file;size=%d;modify=20240102030405; %s\r\n250 end", len(s), p)
		} else {
			c.say("550 no such file")
		}
	case "EPSV":
		c.say("229 (|||%d|)", c.listen("127.0.0.1"))
	case "PASV":
		port := c.listen("127.0.0.1")
		c.say("227 (127,0,0,1,%d,%d)", port>>8, port&0xff)
	case "MLSD", "LIST":
		p := c.path(strings.TrimSpace(strings.TrimPrefix(arg, "-a")))
		if arg == "" || arg == "-a" {
			p = c.dir
		}
		if c.dirs == nil {
			c.say("502 no")
			return
		}
		text, ok := c.listing(p)
		if !ok {
			c.say("550 no such directory")
			return
		}
		c.send(text)
	case "RETR":
		s, ok := c.file(c.path(arg))
		if !ok {
			c.say("550 no such file")
			return
		}
		from := min(c.rest, len(s))
		c.rest = 0
		c.send(s[from:])
	case "STOR":
		c.store(c.path(arg))
	case "DELE":
		c.mu.Lock()
		delete(c.files, c.path(arg))
		c.mu.Unlock()
		c.say("250 gone")
	case "RNFR":
		c.from = c.path(arg)
		c.say("350 to what?")
	case "RNTO":
		c.mu.Lock()
		c.files[c.path(arg)] = c.files[c.from]
		delete(c.files, c.from)
		c.mu.Unlock()
		c.say("250 ok")
	case "ABOR":
		c.say("226 aborted")
	case "QUIT":
		c.say("221 bye")
		c.hangUp()
	default:
		c.say("502 no")
	}
}

// listen makes a data port.
func (c *ftpConn) listen(host string) int {
	if c.pasv != nil {
		_ = c.pasv.Close()
	}
	l, err := net.Listen("tcp", host+":0")
	if err != nil {
		c.hangUp()
	}
	c.pasv = l
	return l.Addr().(*net.TCPAddr).Port
}

// A dataEnd is the server's end of a data connection.
type dataEnd struct {
	raw net.Conn
	net.Conn
}

// open takes the data connection, behind its 150.
func (c *ftpConn) open() *dataEnd {
	c.say("150 here it comes")
	return c.accept()
}

func (c *ftpConn) accept() *dataEnd {
	if c.pasv == nil {
		c.hangUp()
	}
	_ = c.pasv.(*net.TCPListener).SetDeadline(time.Now().Add(10 * time.Second))
	nc, err := c.pasv.Accept()
	if err != nil {
		c.hangUp()
	}
	_ = c.pasv.Close()
	c.pasv = nil
	d := &dataEnd{nc, nc}
	if c.prot {
		s := tls.Server(nc, &tls.Config{Certificates: []tls.Certificate{c.cert.pair}})
		if s.Handshake() != nil {
			_ = nc.Close()
		}
		d.Conn = s
	}
	return d
}

// send is a whole download.
func (c *ftpConn) send(s string) {
	d := c.open()
	_, _ = io.WriteString(d, s)
	_ = d.Close()
	if !c.is("done", "") {
		c.say("226 done")
	}
}

// store is a whole upload.
func (c *ftpConn) store(name string) {
	from := c.rest
	c.rest = 0
	d := c.open()
	b, _ := io.ReadAll(d)
	old, _ := c.file(name)
	c.put(name, old[:min(from, len(old))]+string(b))
	_ = d.Close()
	if !c.is("done", name) {
		c.say("226 done")
	}
}

// Names that no file below the target can have, by every way of telling them.
func TestHostileNamesOverFTP(t *testing.T) {
	names := []string{"../x", "/etc/passwd", "..", ".", "a/b", "a\x01b", "a\x1b]0;owned\ab", "sub/../../x", strings.Repeat("n", 300)}
	lists := map[string]func(kind string, size int, name string) string{
		"MLSD": fact,
		"LIST": func(kind string, size int, name string) string {
			mode := "-rw-r--r--"
			if kind == "dir" {
				mode = "drwxr-xr-x"
			}
			return fmt.Sprintf("%s 1 owner group %d Jan 02 2024 %s\r\n", mode, size, name)
		},
	}
	for how, line := range lists {
		for _, verb := range []string{"get", "mirror"} {
			t.Run(how+" "+verb, func(t *testing.T) {
				t.Parallel()
				f := newFTPFake(t)
				if how == "LIST" {
					f.feat = f.feat[:len(f.feat)-1]
				}
				var top strings.Builder
				for _, name := range names {
					top.WriteString(line("file", 4, name))
				}
				link := "type=OS.unix=symlink:../../../x; out\r\n"
				if how == "LIST" {
					link = "lrwxrwxrwx 1 owner group 5 Jan 02 2024 out -> ../../../x\r\n"
				}
				top.WriteString(link + line("dir", 0, "out") + line("file", 5, "good") + line("dir", 0, "deep"))
				f.dirs["/top/out"] = line("file", 4, "x")
				f.put("/top/out/x", "evil")
				f.dirs["/"] = line("dir", 0, "top")
				f.dirs["/top"] = top.String()
				f.dirs["/top/deep"] = line("file", 4, "../../x") + line("dir", 0, "../../y") + line("file", 4, "well")
				f.put("/top/good", "whole")
				f.put("/top/deep/well", "deep")
				for _, name := range names { // it would give all of them
					f.put("/top/"+name, "evil")
					f.put(name, "evil")
				}
				w := newWard(t)
				args := []string{"get", "-r", "--plain", f.url("/top"), "got"}
				if verb == "mirror" {
					args = []string{"mirror", "--plain", f.url("/top"), "got/top"}
				}
				p := w.dray(append(args, "--retry", "0")...)
				p.is(1, "unsafe-name")
				p.says("leads out of the tree")
				got := slices.DeleteFunc(w.inside(), func(s string) bool { return strings.HasPrefix(s, "got/top/out/") }) // the first or the second of that name
				if !slices.Equal(got, []string{"got/", "got/top/", "got/top/deep/", "got/top/deep/well", "got/top/good"}) {
					t.Errorf("on the disk: %q\n%s", got, p.err)
				}
				if got := w.read("got/top/good"); got != "whole" {
					t.Errorf("the good file has %q", got)
				}
				for _, name := range names {
					if name == "." || name == ".." {
						continue // they mean the directory and the one above it
					}
					if want := strings.Trim(strconv.Quote(name), `"`); !strings.Contains(p.err, want) {
						t.Errorf("%s is not reported:\n%s", want, p.err)
					}
				}
				for _, line := range []string{"RETR ../", "RETR /etc", "RETR /top/.."} {
					if f.count(line) > 0 {
						t.Errorf("the client says %s", line)
					}
				}
			})
		}
	}
}

// theFile is what the tests fetch and send.
var theFile = func() string {
	var b strings.Builder
	for i := 0; b.Len() < 300_000; i++ {
		fmt.Fprintf(&b, "line %d of the file\n", i)
	}
	return b.String()
}()

// half sends the beginning of a download, and returns the connection as it is then.
func (c *ftpConn) half() *dataEnd {
	d := c.open()
	_, _ = io.WriteString(d, theFile[:100_000])
	return d
}

// cut closes the socket under TLS without the mark of the end.
func (d *dataEnd) cut() { _ = d.raw.Close() }

// An ftpFault is something that a server does, and what becomes of it.
type ftpFault struct {
	name string
	tls  bool
	// step is where it does it; "" is nowhere.
	step string
	do   func(c *ftpConn)
	set  func(f *ftpFake)

	verb   string   // "": get
	args   []string // in place of those of verb
	more   []string // options
	status int
	id     string

	kept   int // how many bytes of the file are kept at least; 0: not looked at
	resume bool
	also   func(t *testing.T, f *ftpFake, p run)
}

func TestHostileFTPServers(t *testing.T) {
	t.Parallel()
	silent := func(c *ftpConn) { c.silent() }
	forever := func(line string) func(*ftpConn) {
		block := strings.Repeat(line+"\r\n", 1000)
		return func(c *ftpConn) {
			for {
				if _, err := io.WriteString(c.nc, block); err != nil {
					c.hangUp()
				}
			}
		}
	}
	listing := func(text string, say string) func(c *ftpConn) {
		return func(c *ftpConn) {
			d := c.open()
			_, _ = io.WriteString(d, text)
			_ = d.Close()
			c.say("%s", say)
		}
	}
	noSecret := func(t *testing.T, f *ftpFake, p run) {
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, line := range f.inClear {
			if strings.Contains(line, marker) {
				t.Errorf("the server heard in clear text: %s", line)
			}
		}
	}
	small := func(t *testing.T, f *ftpFake, p run) {
		t.Logf("%d MiB", p.memory>>20)
		if p.memory > 1536<<20 {
			t.Errorf("it took %d MiB of memory", p.memory>>20)
		}
	}
	rows := []ftpFault{
		// Silence at each step.
		{name: "silence in place of the greeting", step: "greeting", do: silent, status: 12, id: "no-answer"},
		{name: "silence at AUTH", tls: true, step: "AUTH", do: silent, status: 12, id: "no-answer"},
		{name: "silence at the handshake", tls: true, step: "handshake", do: silent, status: 12, id: "no-answer"},
		{name: "silence at USER", step: "USER", do: silent, status: 12, id: "no-answer"},
		{name: "silence at PASS", step: "PASS", do: silent, status: 12, id: "no-answer"},
		{name: "silence at FEAT", step: "FEAT", do: silent, status: 12, id: "no-answer"},
		{name: "silence at PROT", tls: true, step: "PROT", do: silent, status: 12, id: "no-answer"},
		{name: "silence at MLST", step: "MLST", do: silent, status: 12, id: "no-answer"},
		{name: "silence at EPSV", step: "EPSV", do: silent, status: 12, id: "no-answer"},
		{name: "silence at RETR", step: "RETR", do: silent, status: 12, id: "no-answer"},
		{name: "silence at the handshake of the data", tls: true, step: "RETR", do: func(c *ftpConn) { c.say("150 soon"); c.silent() }, status: 12},
		{name: "silence behind 150", step: "RETR", do: func(c *ftpConn) { d := c.open(); defer d.cut(); c.silent() }, status: 12, id: "stall"},
		{name: "silence in the data", step: "RETR", do: func(c *ftpConn) { d := c.half(); defer d.cut(); c.silent() }, status: 12, id: "stall", kept: 100_000, resume: true},
		{name: "silence in the data under TLS", tls: true, step: "RETR", do: func(c *ftpConn) { d := c.half(); defer d.cut(); c.silent() }, status: 12, id: "stall", kept: 65_536, resume: true},
		{name: "silence in place of 226", step: "done", do: silent, status: 12, id: "no-answer", kept: len(theFile), resume: true},
		{name: "silence in place of 226 to an upload", verb: "put", step: "done", do: silent, status: 12, id: "no-answer"},
		{name: "silence at STOR", verb: "put", step: "STOR", do: silent, status: 12, id: "no-answer"},
		{name: "silence in a listing", verb: "ls", step: "MLSD", do: func(c *ftpConn) { d := c.open(); defer d.cut(); fmt.Fprint(d, fact("file", 1, "a")); c.silent() }, status: 11, id: "partial-listing"},
		{name: "silence in place of a listing", verb: "ls", step: "MLSD", do: func(c *ftpConn) { d := c.open(); defer d.cut(); c.silent() }, status: 11, id: "partial-listing"},
		{name: "a server that reads nothing of an upload", verb: "put", step: "STOR", do: func(c *ftpConn) { d := c.open(); defer d.cut(); c.silent() }, status: 12},

		// Too much.
		{name: "an endless reply to USER", step: "USER", do: forever("331-more"), status: 3, id: "bad-reply", also: small},
		{name: "an endless greeting", step: "greeting", do: forever("220-more"), status: 3, id: "bad-reply", also: small},
		{name: "a greeting of one line without end", step: "greeting", do: func(c *ftpConn) {
			for {
				if _, err := c.nc.Write(bytes.Repeat([]byte("2"), 1<<16)); err != nil {
					c.hangUp()
				}
			}
		}, status: 3, id: "bad-reply", also: small},
		{name: "replies to nothing, without end", step: "TYPE", do: forever("200 ok"), status: 1, id: "server-refused", also: small},
		{name: "150 without end", step: "RETR", do: forever("150 soon"), status: 12, id: "stall", also: small},
		{name: "an endless listing", verb: "ls", step: "MLSD", do: func(c *ftpConn) {
			d := c.open()
			block := strings.Repeat(fact("file", 1, "name"), 1000)
			for {
				if _, err := io.WriteString(d, block); err != nil {
					c.hangUp()
				}
			}
		}, more: []string{"--max-time", "3s"}, status: -1, also: func(t *testing.T, f *ftpFake, p run) {
			if p.status != 124 && p.status != 3 { // in time, or at the limit before that
				t.Errorf("status %d\n%s", p.status, p.err)
			}
			small(t, f, p)
		}},
		{name: "an endless listing for a mirror", verb: "mirror", step: "MLSD", do: func(c *ftpConn) {
			d := c.open()
			block := strings.Repeat(fact("file", 1, "name"), 1000)
			for {
				if _, err := io.WriteString(d, block); err != nil {
					c.hangUp()
				}
			}
		}, more: []string{"--max-time", "3s"}, status: -1, also: func(t *testing.T, f *ftpFake, p run) {
			if p.status != 124 && p.status != 3 { // in time, or at the limit before that
				t.Errorf("status %d\n%s", p.status, p.err)
			}
			small(t, f, p)
		}},
		{name: "a listing of one line of 8 MiB", verb: "ls", step: "MLSD", do: listing(fact("file", 1, strings.Repeat("n", 8<<20)), "226 done"), status: 3, id: "bad-reply"},
		{name: "a listing that is none", verb: "ls", step: "MLSD", do: listing("<html>\r\n<body>\r\n", "226 done"), status: 3, id: "bad-reply"},
		{name: "directories without end", verb: "get", args: []string{"get", "-r", "--plain", "URL/deep", "got"}, step: "MLSD", do: listing(fact("dir", 0, "deep"), "226 done"), set: func(f *ftpFake) { f.deep = true }, status: 1, id: "bad-name"},
		{name: "more data than the file has", step: "RETR", do: func(c *ftpConn) {
			d := c.open()
			for {
				if _, err := io.WriteString(d, theFile); err != nil {
					c.hangUp()
				}
				time.Sleep(10 * time.Millisecond)
			}
		}, more: []string{"--max-time", "2s"}, status: -1, also: func(t *testing.T, f *ftpFake, p run) {
			if p.status == 0 {
				t.Error("it is content")
			}
		}},

		// TLS.
		{name: "text behind 234", tls: true, step: "AUTH", do: func(c *ftpConn) { c.say("234 go\r\n230 you are in"); c.silent() }, status: 4, id: "text-behind-auth", also: noSecret},
		{name: "AUTH refused", step: "AUTH", do: func(c *ftpConn) { c.say("502 no") }, args: []string{"get", "URL/file"}, status: 4, id: "tls-missing", also: func(t *testing.T, f *ftpFake, p run) {
			if f.count("PASS") > 0 || f.count("USER") > 0 {
				t.Errorf("the server heard %q", f.heard)
			}
		}},
		{name: "AUTH refused to somebody without a name", step: "AUTH", do: func(c *ftpConn) { c.say("502 no") }, args: []string{"get", "ANON/file"}, status: 0, also: noSecret},
		{name: "AUTH cut off", step: "AUTH", do: func(c *ftpConn) { c.hangUp() }, args: []string{"get", "URL/file"}, status: 11, id: "connection-lost", also: noSecret},
		{name: "PROT refused", tls: true, step: "PROT", do: func(c *ftpConn) { c.say("536 no") }, args: []string{"get", "URL/file", "--ca", "CA"}, status: 6, id: "tls-data", also: func(t *testing.T, f *ftpFake, p run) {
			if f.count("RETR") > 0 {
				t.Errorf("the server heard %q", f.heard)
			}
		}},
		{name: "an unknown certificate", tls: true, args: []string{"get", "URL/file"}, status: 4, id: "cert-self-signed", also: noSecret},
		{name: "a server that ends TLS at the login", tls: true, step: "USER", do: func(c *ftpConn) { _ = c.raw.Close(); c.hangUp() }, status: 11, id: "connection-lost", also: noSecret},

		// Downloads.
		{name: "226 for a short file", step: "RETR", do: func(c *ftpConn) { d := c.half(); _ = d.Close(); c.say("226 done") }, status: 10, id: "short-file", kept: 100_000, resume: true},
		{name: "226 for a short file without its mark under TLS", tls: true, step: "RETR", do: func(c *ftpConn) { d := c.half(); d.cut(); c.say("226 done") }, status: 10, id: "short-file", kept: 65_536, resume: true},
		{name: "data without its mark under TLS, of nobody knows how much", tls: true, set: func(f *ftpFake) { f.feat, f.dirs = []string{"EPSV"}, nil }, step: "RETR",
			do: func(c *ftpConn) { d := c.half(); d.cut(); c.say("226 done") }, status: 11, id: "tls-no-close"},
		{name: "data without its mark under TLS, and 426", tls: true, step: "RETR", do: func(c *ftpConn) { d := c.half(); d.cut(); c.say("426 broke off") }, status: 11, id: "data-lost", kept: 65_536, resume: true},
		{name: "data cut, and 426", step: "RETR", do: func(c *ftpConn) { d := c.half(); d.cut(); c.say("426 broke off") }, status: 11, id: "data-lost", kept: 100_000, resume: true},
		{name: "data cut, and the connection closed", step: "RETR", do: func(c *ftpConn) { d := c.half(); d.cut(); c.hangUp() }, status: 11, id: "connection-lost", kept: 100_000, resume: true},
		{name: "data cut, and both closed under TLS", tls: true, step: "RETR", do: func(c *ftpConn) { d := c.half(); d.cut(); _ = c.raw.Close(); c.hangUp() }, status: 11, kept: 65_536, resume: true},
		{name: "all data, and the connection closed", step: "done", do: func(c *ftpConn) { c.hangUp() }, status: 11, id: "connection-lost", kept: len(theFile), resume: true},
		{name: "all data, and 451", step: "done", do: func(c *ftpConn) { c.say("451 something broke \x1b[31mhere\x07") }, status: 1, id: "server-refused"},
		{name: "425", step: "RETR", do: func(c *ftpConn) { c.say("425 can't open data connection") }, status: 6, id: "no-data-port"},
		{name: "a data port that nobody listens at", step: "EPSV", do: func(c *ftpConn) { c.say("229 (|||1|)") }, set: func(f *ftpFake) {}, more: nil, status: -1, also: func(t *testing.T, f *ftpFake, p run) {
			// PASV names another port, which works.
			p.is(0, "")
		}},
		{name: "no data port at all", set: func(f *ftpFake) {
			f.at = func(c *ftpConn, verb, arg string) bool {
				switch verb {
				case "EPSV":
					c.say("229 (|||1|)")
				case "PASV":
					c.say("227 (127,0,0,1,0,1)")
				default:
					return false
				}
				return true
			}
		}, status: 6, id: "pasv-unpublished"},
		{name: "a data port that is blocked", set: func(f *ftpFake) {
			port := blackHole(f.t)
			f.at = func(c *ftpConn, verb, arg string) bool {
				switch verb {
				case "EPSV":
					c.say("229 (|||%d|)", port)
				case "PASV":
					c.say("227 (127,0,0,1,%d,%d)", port>>8, port&0xff)
				default:
					return false
				}
				return true
			}
		}, status: 6, id: "data-blocked", also: func(t *testing.T, f *ftpFake, p run) {
			if p.took > 8*time.Second {
				t.Errorf("it took %v", p.took)
			}
		}},
		{name: "a listing that broke off", verb: "ls", step: "MLSD", do: listing(fact("file", 1, "a"), "426 broke off"), status: 11, id: "partial-listing"},
		{name: "a listing that broke off, for a mirror that deletes", verb: "mirror", more: []string{"--delete"}, step: "MLSD", do: listing(fact("file", 1, "a"), "426 broke off"), status: -1,
			also: func(t *testing.T, f *ftpFake, p run) {
				if p.status == 0 || p.w.read("got/mine") != "mine" {
					t.Errorf("status %d, left is %q\n%s", p.status, p.w.inside(), p.err)
				}
			}},

		// Refusals.
		{name: "421 in place of the greeting", step: "greeting", do: func(c *ftpConn) { c.say("421 come back later"); c.hangUp() }, status: 13, id: "busy"},
		{name: "530 too many connections", step: "PASS", do: func(c *ftpConn) { c.say("530 too many connections from your address"); c.hangUp() }, status: 13, id: "busy"},
		{name: "a wrong password", step: "PASS", do: func(c *ftpConn) { c.say("530 no, %s is wrong", marker[:4]) }, status: 5, id: "auth"},
		{name: "a server that says the password back", step: "PASS", do: func(c *ftpConn) { c.say("530 %s is wrong", marker) }, status: 5, id: "auth"},
		{name: "331 for ever", step: "PASS", do: func(c *ftpConn) { c.say("331 password") }, status: 5, id: "auth"},
		{name: "550 for a file that is there", step: "RETR", do: func(c *ftpConn) { c.say("550 Permission denied") }, status: 8, id: "perm"},
		{name: "552 to an upload", verb: "put", step: "STOR", do: func(c *ftpConn) {
			d := c.open()
			_, _ = io.CopyN(io.Discard, d, 1000)
			c.say("552 quota exceeded")
			d.cut()
		}, status: 9, id: "quota"},
		{name: "552 at the end of an upload", verb: "put", step: "done", do: func(c *ftpConn) { c.say("552 quota exceeded") }, status: 9, id: "quota"},
		{name: "452 to an upload", verb: "put", step: "STOR", do: func(c *ftpConn) { c.say("452 no space left") }, status: 9, id: "no-space"},
		{name: "426 to an upload", verb: "put", step: "STOR", do: func(c *ftpConn) { d := c.open(); _, _ = io.CopyN(io.Discard, d, 1000); d.cut(); c.say("426 broke off") }, status: 11, id: "data-lost"},
		{name: "an upload whose connections are closed", verb: "put", step: "STOR", do: func(c *ftpConn) { d := c.open(); _, _ = io.CopyN(io.Discard, d, 1000); d.cut(); c.hangUp() }, status: 11},
	}
	together(t, rows, func(row ftpFault) string { return row.name }, func(t testing.TB, row ftpFault) (*running, func(*testing.T, run)) {
		f := newFTPFake(t)
		f.put("/file", theFile)
		f.dirs["/"] = "*"
		f.dirs["/dir"] = "*"
		if row.tls {
			f.cert = newCertificate(t, nil)
		}
		if row.step != "" {
			f.at = func(c *ftpConn, verb, _ string) bool {
				if verb != row.step {
					return false
				}
				row.do(c)
				return true
			}
		}
		if row.set != nil {
			row.set(f)
		}
		w := newWard(t)
		url, ca := "ftp://alice@"+f.addr, ""
		if row.tls {
			ca = f.cert.file
		}
		args := row.args
		switch {
		case args != nil:
			args = slices.Clone(args)
			for i := range args {
				args[i] = strings.NewReplacer("URL", url, "ANON", "ftp://"+f.addr, "CA", ca).Replace(args[i])
			}
		default:
			switch row.verb {
			case "put":
				fine(t, os.WriteFile(filepath.Join(w.target, "mine"), []byte(strings.Repeat(theFile, 40)), 0o644))
				args = []string{"put", "mine", url + "/dir/yours"}
			case "ls":
				args = []string{"ls", url + "/dir/"}
			case "mirror":
				fine(t, os.Mkdir(filepath.Join(w.target, "got"), 0o755))
				fine(t, os.WriteFile(filepath.Join(w.target, "got", "mine"), []byte("mine"), 0o644))
				args = []string{"mirror", url + "/dir", "got"}
			default:
				args = []string{"get", url + "/file"}
			}
			if row.tls {
				w.env = append(w.env, "DRAY_CA="+ca)
			} else {
				w.env = append(w.env, "DRAY_PLAIN=true")
			}
		}
		verb := args[0]
		args = append(append(args, "--timeout", "1s", "--connect-timeout", "1s"), row.more...)
		if verb != "ls" {
			args = append(args, "--retry", "0")
		}
		return w.start(args...), func(t *testing.T, p run) {
			if row.status >= 0 {
				p.is(row.status, row.id)
			}
			if p.took > 12*time.Second {
				t.Errorf("it took %v", p.took)
			}
			if verb == "get" && p.status != 0 && slices.Contains(w.inside(), "file") {
				t.Error("the file has its name")
			}
			if n := len(w.read("file.dray-part")); n < row.kept {
				t.Errorf("%d bytes are kept, want %d", n, row.kept)
			}
			if row.also != nil {
				row.also(t, f, p)
			}
			if row.resume {
				f.honest.Store(true)
				w.dray(p.resume()...).is(0, "")
				if w.read("file") != theFile {
					t.Errorf("the file has %d bytes behind the resumption", len(w.read("file")))
				}
				if f.count("REST") == 0 {
					t.Error("it was fetched from the start")
				}
				if left := w.inside(); !slices.Equal(left, []string{"file"}) {
					t.Errorf("left is %q", left)
				}
			}
		}
	})
}

// A server that names the address of somebody else for its data.
func TestAForeignDataAddressIsNotConnectedTo(t *testing.T) {
	t.Parallel()
	var strangers atomic.Int32
	f := newFTPFake(t)
	f.put("/file", theFile)
	f.at = func(c *ftpConn, verb, _ string) bool {
		switch verb {
		case "EPSV":
			c.say("500 what?")
		case "PASV":
			port := c.listen("127.0.0.1")
			l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.2:%d", port))
			if err != nil {
				c.say("425 %v", err)
				return true
			}
			go func() {
				for {
					nc, err := l.Accept()
					if err != nil {
						return
					}
					strangers.Add(1)
					_ = nc.Close()
				}
			}()
			c.t.Cleanup(func() { _ = l.Close() })
			c.say("227 (127,0,0,2,%d,%d)", port>>8, port&0xff)
		default:
			return false
		}
		return true
	}
	l, err := net.Listen("tcp", "127.0.0.2:0")
	switch {
	case err != nil && runtime.GOOS == "linux":
		t.Fatal(err)
	case err != nil:
		t.Skip("SKIPPED: 127.0.0.2 is no address of this machine; Linux has all of 127.0.0.0/8")
	}
	_ = l.Close()
	w := newWard(t)
	w.dray("get", "--plain", f.url("/file"), "--retry", "0").is(0, "pasv-address")
	if w.read("file") != theFile {
		t.Error("the file is not whole")
	}
	if n := strangers.Load(); n > 0 {
		t.Errorf("%d connections to a foreign address", n)
	}
}

// An upload whose last reply is lost: the client looks whether the file is there.
func TestALostReplyToAnUpload(t *testing.T) {
	for _, try := range []struct {
		name  string
		there bool
		stor  int
	}{{"the file is there", true, 1}, {"the file is not there", false, 2}} {
		t.Run(try.name, func(t *testing.T) {
			t.Parallel()
			f := newFTPFake(t)
			f.dirs["/"] = "*"
			var once sync.Once
			f.at = func(c *ftpConn, verb, arg string) bool {
				if verb == "done" && strings.Contains(arg, "yours") {
					once.Do(func() {
						if !try.there {
							c.mu.Lock()
							delete(c.files, arg)
							c.mu.Unlock()
						}
						c.hangUp()
					})
				}
				return false
			}
			w := newWard(t)
			fine(t, os.WriteFile(filepath.Join(w.target, "mine"), []byte(theFile), 0o644))
			p := w.dray("put", "--plain", "mine", f.url("/yours"), "--retry", "1")
			p.is(0, "")
			if got, _ := f.file("/yours"); got != theFile {
				t.Errorf("the server has %d bytes", len(got))
			}
			if n := f.count("STOR"); n != try.stor {
				t.Errorf("%d times STOR, want %d\n%s", n, try.stor, p.err)
			}
		})
	}
}

// Certificates that are not what they should be. The password stays here.
func TestHostileCertificates(t *testing.T) {
	for _, try := range []struct {
		name   string
		change func(*x509.Certificate)
		ca     bool
		stored bool // another certificate of this host is known
		id     string
	}{
		{"changed", nil, false, true, "cert-changed"},
		{"expired", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Hour) }, true, false, "cert-expired"},
		{"not valid yet", func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) }, true, false, "cert-expired"},
		{"for another name", func(c *x509.Certificate) { c.IPAddresses, c.DNSNames = nil, []string{"ftp.example.net"} }, true, false, "cert-name"},
		{"of nobody", nil, false, false, "cert-self-signed"},
		{"with a name that steers a terminal", func(c *x509.Certificate) { c.IPAddresses, c.DNSNames, c.Subject.CommonName = nil, nil, "a\x1b[31m\nb" }, true, false, "cert-name"},
	} {
		for _, scheme := range []string{"ftp", "ftps"} {
			t.Run(try.name+" "+scheme, func(t *testing.T) {
				t.Parallel()
				f := newFTPFake(t)
				f.cert, f.implicit = newCertificate(t, try.change), scheme == "ftps"
				f.put("/file", theFile)
				w := newWard(t)
				args := []string{"get", scheme + "://alice@" + f.addr + "/file", "--retry", "0"}
				if try.ca {
					args = append(args, "--ca", f.cert.file)
				}
				if try.stored {
					host, port, _ := net.SplitHostPort(f.addr)
					n, _ := strconv.Atoi(port)
					store := remote.NewCertStore(filepath.Join(w.home, ".local", "state", "dray", "trusted_certs"))
					fine(t, store.Remember(host, n, certs.KeyPrint(newCertificate(t, nil).leaf)))
				}
				w.dray(args...).is(4, try.id)
				if f.count("PASS") > 0 || f.count("USER") > 0 {
					t.Errorf("the server heard %q", f.heard)
				}
				if left := w.inside(); len(left) > 0 {
					t.Errorf("left is %q", left)
				}
			})
		}
	}
}

// Options that the first command had are in the command that goes on.
func TestTheCommandToGoOnIsWhole(t *testing.T) {
	t.Parallel()
	f := newFTPFake(t)
	f.cert = newCertificate(t, nil)
	f.put("/file", theFile)
	f.at = func(c *ftpConn, verb, _ string) bool {
		if verb != "RETR" {
			return false
		}
		d := c.half()
		d.cut()
		c.say("426 broke off")
		return true
	}
	w := newWard(t)
	p := w.dray("get", f.url("/file"), "--ca", f.cert.file, "-o", "deep/other", "--retry", "0")
	p.is(11, "data-lost")
	f.honest.Store(true)
	w.dray(p.resume()...).is(0, "")
	if w.read("deep/other") != theFile || f.count("REST") == 0 {
		t.Errorf("left is %q, the server heard %q\n%s", w.inside(), f.heard, p.err)
	}
}
