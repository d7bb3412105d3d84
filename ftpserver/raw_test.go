package ftpserver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dray/fault"
	"dray/vfs"
	"dray/vfs/memfs"
)

func TestLinesThatAreNone(t *testing.T) {
	t.Parallel()
	st := newSite(t, plain())
	for name, bad := range map[string]struct {
		line string
		id   fault.ID
	}{
		"longer than 4 KiB":    {"STOR " + strings.Repeat("x", 4092), fault.IDLineTooLong},
		"a megabyte":           {strings.Repeat("x", 1<<20), fault.IDLineTooLong},
		"NUL":                  {"DELE a\x00b", fault.IDBadLine},
		"a bare CR":            {"DELE a\rNOOP", fault.IDBadLine},
		"NUL behind a blank":   {" \x00", fault.IDBadLine},
		"a word of 17 letters": {"ABCDEFGHIJKLMNOPQ", fault.IDBadLine},
	} {
		k := st.login()
		k.do(350, "REST 5")
		hasID(t, k.do(500, bad.line), bad.id)
		k.do(200, "NOOP")
		hasID(t, k.do(500, bad.line), bad.id)
		k.do(200, "NOOP")
		hasID(t, k.do(500, bad.line), bad.id)
		k.ended() // the third
		_ = name
	}
	k := st.login() // exactly 4 KiB is a line
	k.do(553, "STOR "+strings.Repeat("x", 4091))
}

func TestBytesOfTelnetInNames(t *testing.T) {
	t.Parallel()
	st := newSite(t, plain())
	k := st.login()
	if reply := k.do(257, "MKD a\xff\xffb"); !strings.Contains(reply, "\"/a\xff\xffb\"") {
		t.Errorf("reply %q; want the byte doubled", reply)
	}
	if _, err := st.mem.Lstat(t.Context(), resolve(t, "a\xffb")); err != nil {
		t.Error(err)
	}
	k.do(257, "MKD \xff\xfb\x01plain") // IAC WILL ECHO is dropped
	if _, err := st.mem.Lstat(t.Context(), resolve(t, "plain")); err != nil {
		t.Error(err)
	}
}

func resolve(t testing.TB, s string) vfs.Path {
	t.Helper()
	p, err := vfs.Resolve(vfs.Root, s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPipelinedCommandsAreAnsweredInOrder(t *testing.T) {
	t.Parallel()
	st := newSite(t, plain())
	k := st.login()
	var b strings.Builder
	for i := range 300 {
		fmt.Fprintf(&b, "MKD %d\r\nCWD %d\nSIZE x\r\n", i, i)
	}
	go k.nc.Write([]byte(b.String()))
	for i := range 300 {
		if text := k.hear(257); !strings.Contains(text, fmt.Sprintf("/%d\"", i)) {
			t.Fatalf("reply %q in place of number %d", text, i)
		}
		k.hear(250)
		k.hear(550)
	}
}

func TestPipelinedCommandsBehindATransfer(t *testing.T) {
	t.Parallel()
	s := plain()
	tree := withFiles(t)
	s.tree = tree
	st := newSite(t, s)
	k := st.login()
	nc := k.pasv()
	var b strings.Builder
	b.WriteString("STOR up\r\n")
	for i := range 100 { // more than are read ahead
		fmt.Fprintf(&b, "MKD n%d\r\n", i)
	}
	k.write(b.String())
	k.hear(150)
	_, _ = io.WriteString(nc, "content")
	_ = finish(nc)
	k.hear(226)
	for i := range 100 {
		if text := k.hear(257); !strings.Contains(text, fmt.Sprintf("/n%d\"", i)) {
			t.Fatalf("reply %q in place of number %d", text, i)
		}
	}
	if b, err := tree.ReadFile("/up"); err != nil || string(b) != "content" {
		t.Errorf("up = %q, %v", b, err)
	}
}

func TestOneByteAtATime(t *testing.T) {
	t.Parallel()
	st := newSite(t, plain())
	k := st.greeted()
	_ = k.raw.(*net.TCPConn).SetNoDelay(true)
	for _, b := range []byte("USER alice\r\nPASS secret\r\nPWD\r\n") {
		k.write(string(b))
	}
	k.hear(331)
	k.hear(230)
	k.hear(257)
}

func TestTextBehindAuthIsNeverACommand(t *testing.T) {
	t.Parallel()
	s := plain()
	s.rules.TLS = serverTLS()
	st := newSite(t, s)

	k := st.login()
	k.write("AUTH TLS\r\nMKD evil\r\n")
	hasID(t, k.hear(421), fault.IDBehindAuth)
	k.ended()

	k = st.login()
	k.do(234, "AUTH TLS")
	k.write("USER alice\r\nPASS secret\r\nMKD evil\r\n")
	for { // an alert of TLS perhaps, and the end
		if _, err := k.rd.ReadByte(); err != nil {
			break
		}
	}

	// Pipelined with the handshake itself.
	k = st.login()
	k.do(234, "AUTH TLS")
	k.handshake(clientTLS())
	hasID(t, k.do(530, "MKD evil"), fault.IDLogin)
	if got := snapshot(t, st.mem); got != "" {
		t.Errorf("the tree holds %q", got)
	}
}

// aborts are the ways in which clients say ABOR.
var aborts = map[string]func(t *testing.T, k *talk){
	"alone": func(t *testing.T, k *talk) { k.say("ABOR") },
	"IP and Synch, DM urgent": func(t *testing.T, k *talk) {
		k.write("\xff\xf4")
		urgent(t, k.raw, []byte{0xff, 0xf2})
		k.say("ABOR")
	},
	"IP and Synch, IAC urgent": func(t *testing.T, k *talk) {
		urgent(t, k.raw, []byte{0xff, 0xf4, 0xff})
		k.write("\xf2ABOR\r\n")
	},
	"all urgent, as in RFC 959": func(t *testing.T, k *talk) {
		urgent(t, k.raw, []byte("\xff\xf4\xff\xf2ABOR\r\n"))
	},
}

func TestAbort(t *testing.T) {
	s := plain()
	tree := memfs.New(memfs.Options{})
	if err := tree.WriteFile("/big", []byte(noise(16<<20))); err != nil {
		t.Fatal(err)
	}
	s.tree = tree
	st := newSite(t, s)
	for name, abort := range aborts {
		t.Run(name, func(t *testing.T) {
			k := st.login()
			k.t = t
			abort(t, k)
			k.hear(226)
			k.do(200, "NOOP")

			// A download that waits for its reader.
			nc := k.pasv()
			k.do(150, "RETR big")
			if _, err := io.ReadFull(nc, make([]byte, 1000)); err != nil {
				t.Fatal(err)
			}
			abort(t, k)
			hasID(t, k.hear(426), fault.IDAborted)
			k.hear(226)
			if _, err := io.Copy(io.Discard, nc); err == nil {
				t.Error("an aborted download ends like a whole one")
			}
			k.do(200, "NOOP")

			// An upload.
			nc = k.pasv()
			k.do(150, "STOR up")
			_, _ = io.WriteString(nc, "part of it")
			abort(t, k)
			hasID(t, k.hear(426), fault.IDAborted)
			k.hear(226)
			if _, err := tree.ReadFile("/up"); err == nil {
				t.Error("an aborted upload is published")
			}

			// The wait for a client that does not connect.
			k.do(227, "PASV")
			k.say("LIST")
			abort(t, k)
			k.hear(426)
			k.hear(226)

			// After the end of a transfer there is nothing to abort.
			if got := k.get("NLST"); got != "big\r\n" {
				t.Errorf("NLST = %q", got)
			}
			abort(t, k)
			k.hear(226)
			k.bye()
		})
	}
}

func TestAbortBehindTheEndOfAnUploadIsACut(t *testing.T) {
	t.Parallel()
	st := newSite(t, plain())
	k := st.login()
	nc := k.pasv()
	k.do(150, "STOR up")
	_, _ = io.WriteString(nc, noise(10_000))
	k.say("ABOR")
	_ = finish(nc)
	switch code, text, err := k.reply(); { // which one is seen first is luck; both are true
	case code == 426:
		if _, err := st.mem.ReadFile("/up"); err == nil {
			t.Error("426, and the upload is published")
		}
	case code == 226:
		if b, err := st.mem.ReadFile("/up"); err != nil || len(b) != 10_000 {
			t.Errorf("226, and the file holds %d bytes, %v", len(b), err)
		}
	default:
		t.Errorf("reply %q, %v", text, err)
	}
	k.hear(226)
}

func TestQuitDuringATransferWaitsForIt(t *testing.T) {
	t.Parallel()
	s := plain()
	tree := memfs.New(memfs.Options{})
	content := noise(8 << 20)
	if err := tree.WriteFile("/big", []byte(content)); err != nil {
		t.Fatal(err)
	}
	s.tree = tree
	st := newSite(t, s)
	k := st.login()
	nc := k.pasv()
	k.do(150, "RETR big")
	k.say("QUIT")
	b, err := io.ReadAll(nc)
	if err != nil || string(b) != content {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	k.hear(226)
	k.hear(221)
	k.ended()
}

func TestStatusAndNoopDuringATransferAreAnsweredAtOnce(t *testing.T) {
	t.Parallel()
	s := plain()
	tree := memfs.New(memfs.Options{})
	if err := tree.WriteFile("/big", []byte(noise(16<<20))); err != nil {
		t.Fatal(err)
	}
	s.tree = tree
	st := newSite(t, s)
	k := st.login()

	nc := k.pasv()
	k.do(150, "RETR big")
	k.do(200, "NOOP")
	if text := k.do(211, "STAT"); !strings.Contains(text, "Sending /big: ") {
		t.Errorf("STAT = %q", text)
	}
	k.say("PWD") // this one waits, and what is behind it
	k.say("NOOP")
	n, _ := io.Copy(io.Discard, nc)
	if n != 16<<20 {
		t.Errorf("%d bytes came", n)
	}
	k.hear(226)
	k.hear(257)
	k.hear(200)

	nc = k.pasv()
	k.do(150, "STOR up")
	if text := k.do(211, "STAT"); !strings.Contains(text, "Receiving /up: 0 bytes so far.") {
		t.Errorf("STAT = %q", text)
	}
	for range 50 { // more than are queued: these are not
		k.do(200, "NOOP")
	}
	k.say(strings.Repeat("x", 5000)) // waits like any other
	_ = finish(nc)
	k.hear(226)
	hasID(t, k.hear(500), fault.IDLineTooLong)
}

func TestControlLostWhileWaitingForData(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"reset", "close"} {
		s := plain()
		s.rules.Ports = freePorts(t, 1)
		s.rules.DataWait = 20 * time.Second
		st := newSite(t, s)
		k := st.login()
		addr := k.pasvAddr()
		k.say("STOR up")
		delivered(t, k.raw)
		begun := time.Now()
		if how == "reset" {
			reset(k.raw)
		} else {
			k.raw.Close()
		}
		st.quiet()
		l, err := net.Listen("tcp", addr)
		if took := time.Since(begun); err != nil || took > time.Second {
			t.Errorf("%s: the port is free after %v: %v", how, took, err)
		}
		if l != nil {
			l.Close()
		}
	}
}

func TestControlLostInTheMiddle(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"reset", "close"} {
		s := plain()
		s.rules.Ports = freePorts(t, 1)
		tree := memfs.New(memfs.Options{})
		if err := tree.WriteFile("/big", []byte(noise(16<<20))); err != nil {
			t.Fatal(err)
		}
		s.tree = tree
		st := newSite(t, s)
		for _, command := range []string{"STOR up", "RETR big"} {
			k := st.login()
			nc := k.pasv()
			k.do(150, command)
			if command == "RETR big" {
				_, _ = io.ReadFull(nc, make([]byte, 1000))
			} else {
				_, _ = io.WriteString(nc, noise(100_000))
			}
			if how == "reset" {
				reset(k.raw)
			} else {
				k.raw.Close()
			}
			st.quiet()
			if _, err := io.Copy(io.Discard, nc); command == "RETR big" && err == nil {
				t.Error("a download whose control connection is lost ends like a whole one")
			}
			nc.Close()
			l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", s.rules.Ports.First))
			if err != nil {
				t.Errorf("the port is not free: %v", err)
				continue
			}
			l.Close()
		}
		if _, err := tree.ReadFile("/up"); err == nil {
			t.Error("a cut upload is published")
		}
		for _, e := range st.events.transfers() {
			if e.Whole {
				t.Errorf("a cut transfer is reported as whole: %+v", e)
			}
		}
	}
}

// A killed client: both connections end by FIN, the data connection first.
func TestFinOfAKilledClientIsNoEndOfFile(t *testing.T) {
	t.Parallel()
	s := plain()
	s.rules.CutGrace = 100 * time.Millisecond
	st := newSite(t, s)
	k := st.login()
	nc := k.pasv()
	k.do(150, "STOR up")
	_, _ = io.WriteString(nc, noise(10_000))
	time.Sleep(30 * time.Millisecond) // uploads shorter than 20 ms are believed
	nc.Close()
	time.Sleep(10 * time.Millisecond)
	k.raw.Close()
	st.quiet()
	if _, err := st.mem.ReadFile("/up"); err == nil {
		t.Error("the upload of a killed client is published")
	}
	k = st.login()
	if text := k.do(213, "SIZE up"); text != fmt.Sprintf("213 %d", 10_000-vfs.CutTail) {
		t.Errorf("SIZE = %q", text)
	}
}

func TestStrangerOnTheDataPort(t *testing.T) {
	t.Parallel()
	s := plain()
	s.tree = withFiles(t)
	st := newSite(t, s)
	k := st.login()
	from := func(ip string, addr string) net.Conn {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}
		nc, err := d.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { nc.Close() })
		_ = nc.SetDeadline(time.Now().Add(5 * time.Second))
		return nc
	}
	addr := k.pasvAddr()
	stranger := from("127.0.0.2", addr)
	k.say("RETR a")
	if b, _ := io.ReadAll(stranger); len(b) > 0 {
		t.Errorf("the stranger got %q", b)
	}
	nc := from("127.0.0.1", addr)
	k.hear(150)
	if b, err := io.ReadAll(nc); string(b) != "abc" || err != nil {
		t.Errorf("the client got %q, %v", b, err)
	}
	k.hear(226)
	if !strings.Contains(st.log.String(), "reason=bad-data-peer from=127.0.0.2:") {
		t.Error("the log does not name the stranger")
	}
}

func TestIPv6(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("no IPv6 here: %v", err)
		}
		t.Skipf("SKIPPED: no IPv6 here: %v", err)
	}
	l.Close()
	s := plain()
	s.tree = withFiles(t)
	s.listen = "[::1]:0"
	st := newSite(t, s)
	k := st.login()
	hasID(t, k.do(522, "PASV"), fault.IDPasvIPv6)
	hasID(t, k.do(522, "EPSV 1"), fault.IDFamily)
	hasID(t, k.do(522, "EPRT |1|127.0.0.1|51200|"), fault.IDFamily)
	hasID(t, k.do(501, "PORT 127,0,0,1,200,1"), fault.IDIllegalPort)
	hasID(t, k.do(501, "EPRT |2|::2|51200|"), fault.IDIllegalPort)
	for _, ask := range []string{"EPSV", "EPSV 2"} {
		nc := k.connect("[::1]:" + parseEPSV(t, k.do(229, ask)))
		k.do(150, "RETR a")
		if b, err := io.ReadAll(nc); string(b) != "abc" || err != nil {
			t.Errorf("%q, %v", b, err)
		}
		k.hear(226)
	}
	back, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	defer back.Close()
	k.do(200, fmt.Sprintf("EPRT |2|::1|%d|", back.Addr().(*net.TCPAddr).Port))
	k.say("RETR a")
	nc, err := back.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	k.hear(150)
	if b, _ := io.ReadAll(nc); string(b) != "abc" {
		t.Errorf("%q", b)
	}
	k.hear(226)
	k.do(200, "EPSV ALL")
	hasID(t, k.do(503, fmt.Sprintf("EPRT |2|::1|%d|", back.Addr().(*net.TCPAddr).Port)), fault.IDEpsvOnly)
	k.do(229, "EPSV")
}

func TestPortsInUse(t *testing.T) {
	t.Parallel()
	s := plain()
	s.rules.Ports = freePorts(t, 2)
	s.noisy = true
	st := newSite(t, s)
	a, b, c := st.login(), st.login(), st.login()
	a.do(227, "PASV")
	b.do(229, "EPSV")
	b.do(227, "PASV") // in place of the one before
	begun := time.Now()
	reply := c.do(425, "PASV")
	hasID(t, reply, fault.IDPool)
	if !strings.Contains(reply, s.rules.Ports.String()) {
		t.Errorf("reply %q; want the range in it", reply)
	}
	hasID(t, c.do(425, "EPSV"), fault.IDPool)
	if took := time.Since(begun); took > time.Second {
		t.Errorf("it took %v to say so", took)
	}
	c.do(200, "NOOP")
	a.bye()
	st.eventually("a port is free", func() bool {
		c.say("PASV")
		code, _, _ := c.reply()
		return code == 227
	})
	b.do(220, "REIN") // frees too
	a = st.login()
	a.do(227, "PASV")
}

func TestNobodyConnects(t *testing.T) {
	t.Parallel()
	s := plain()
	s.tree = withFiles(t)
	s.rules.DataWait = 100 * time.Millisecond
	s.rules.Ports = freePorts(t, 1)
	st := newSite(t, s)
	k := st.login()
	addr := k.pasvAddr()
	reply := k.do(425, "STOR a")
	hasID(t, reply, fault.IDDataBlocked)
	if !strings.Contains(reply, addr) {
		t.Errorf("reply %q; want %s in it", reply, addr)
	}
	if b, err := st.mem.ReadFile("/a"); string(b) != "abc" || err != nil {
		t.Errorf("a blocked port changed the file: %q, %v", b, err)
	}
	k.do(227, "PASV") // the port is free again
	if log := st.log.String(); !strings.Contains(log, "level=WARN msg=\"clients log in and can't transfer\"") || !strings.Contains(log, "told="+addr) {
		t.Errorf("the watchdog is silent:\n%s", log)
	}
}

func TestWrongDoors(t *testing.T) {
	t.Parallel()
	s := plain()
	s.rules.TLS = serverTLS()
	st := newSite(t, s)
	implicit := variant(t, "implicit")
	implicit.rules.LoginTime = 300 * time.Millisecond
	im := newSite(t, implicit)

	hello := func() string {
		a, b := net.Pipe()
		go tls.Client(a, clientTLS()).Handshake()
		buf := make([]byte, 4096)
		n, _ := b.Read(buf)
		a.Close()
		b.Close()
		return string(buf[:n])
	}
	for _, try := range []struct {
		name, say string
		site      *site
		id        fault.ID
		with      string
	}{
		{"SSH", "SSH-2.0-OpenSSH_9.2\r\n", st, fault.IDWrongProto, "SSH is not spoken"},
		{"HTTP", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", st, fault.IDWrongProto, "HTTP is not spoken"},
		{"TLS", hello(), st, fault.IDWrongProto, "TLS is not spoken"},
		{"text on the implicit port", "USER alice\r\n", im, fault.IDImplicitTLS, "TLS from the first byte"},
		{"SSH on the implicit port", "SSH-2.0-OpenSSH_9.2\r\n", im, fault.IDWrongProto, "SSH is not spoken"},
		{"silence on the implicit port", "", im, fault.IDImplicitTLS, "TLS from the first byte"},
	} {
		t.Run(try.name, func(t *testing.T) {
			k := try.site.dial()
			k.t = t
			if try.site == st {
				k.hear(220)
			}
			if try.say != "" {
				k.write(try.say)
			}
			reply := k.hear(421)
			hasID(t, reply, try.id)
			if !strings.Contains(reply, try.with) {
				t.Errorf("reply %q; want %q in it", reply, try.with)
			}
			k.ended()
		})
	}
}

func TestUploadEndedByTheServer(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"plain", "tls"} {
		s := plain()
		s.tree = memfs.New(memfs.Options{MaxBytes: 1 << 20})
		s.rules.TLS = serverTLS()
		st := newSite(t, s)
		var k *talk
		if kind == "tls" {
			k = st.secureLogin(clientTLS())
		} else {
			k = st.login()
		}
		k.do(200, "TYPE I")
		nc := k.over(k.pasv())
		k.do(150, "STOR up")
		piece := []byte(noise(64 << 10))
		for range 32 { // twice the room
			if _, err := nc.Write(piece); err != nil {
				t.Fatalf("%s: %v", kind, err)
			}
		}
		hasID(t, k.hear(452), fault.IDNoSpace) // at once, while the client is sending
		for range 64 {
			if _, err := nc.Write(piece); err != nil {
				t.Fatalf("%s: the connection was reset under a client that sends: %v", kind, err)
			}
		}
		if err := finish(nc); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		k.do(200, "NOOP")
		if _, err := st.mem.ReadFile("/up"); err == nil {
			t.Errorf("%s: a refused upload is published", kind)
		}
		k.bye()
	}
}

// trap is a tree that panics at names that say so.
type trap struct{ *memfs.Tree }

func (p trap) Stat(ctx context.Context, at vfs.Path) (fs.FileInfo, error) {
	if at.Base() == "panic" {
		panic("as it was told")
	}
	return p.Tree.Stat(ctx, at)
}

func (p trap) Create(ctx context.Context, at vfs.Path, how vfs.Create) (vfs.Upload, error) {
	up, err := p.Tree.Create(ctx, at, how)
	if at.Base() == "late" {
		up = trapUpload{up}
	}
	return up, err
}

type trapUpload struct{ vfs.Upload }

func (trapUpload) WriteAt([]byte, int64) (int, error) { panic("as it was told") }

func TestAPanicEndsOneConnection(t *testing.T) {
	t.Parallel()
	s := plain()
	s.noisy = true
	tree := memfs.New(memfs.Options{})
	s.tree = trap{tree}
	s.rules.Ports = freePorts(t, 2)
	st := newSite(t, s)
	other := st.login()
	k := st.login()
	k.do(227, "PASV")
	k.say("SIZE panic")
	k.ended()
	k = st.login()
	k.do(257, "MKD d")
	nc := k.pasv()
	k.do(150, "STOR d/late")
	_, _ = io.WriteString(nc, "x")
	_ = finish(nc)
	k.ended()
	if b, _ := io.ReadAll(nc); len(b) > 0 {
		t.Errorf("data after a panic: %q", b)
	}
	other.do(200, "NOOP")
	other.do(250, "RMD d") // nothing of the upload is left in it
	other.bye()
	st.quiet()
	st.eventually("both panics are logged", func() bool { return strings.Count(st.log.String(), "msg=panic") == 2 })
}

func TestNamesWithLineEnds(t *testing.T) {
	t.Parallel()
	s := plain()
	var dir string
	s.tree, dir = onDisk(t)
	for _, name := range []string{"good", "two\nlines", "c\rr"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	st := newSite(t, s)
	k := st.login()
	if got := k.get("NLST"); got != "good\r\n" {
		t.Errorf("NLST = %q", got)
	}
	if got := k.get("MLSD"); strings.Count(got, "\r\n") != 2 || strings.Contains(got, "lines") {
		t.Errorf("MLSD = %q", got)
	}
	got := k.get("LIST")
	if strings.Count(got, "\n") != 3 || !strings.Contains(got, " two?lines\r\n") || !strings.Contains(got, " c?r\r\n") {
		t.Errorf("LIST = %q", got)
	}
	if got := k.do(212, "STAT /"); strings.Count(got, "\n") != 4 {
		t.Errorf("STAT = %q", got)
	}
	if n := strings.Count(st.log.String(), "a name with a line end"); n != 4 {
		t.Errorf("the log says so %d times; want once a listing", n)
	}
}

func TestShutdown(t *testing.T) {
	t.Parallel()
	s := plain()
	tree := memfs.New(memfs.Options{})
	content := noise(8 << 20)
	if err := tree.WriteFile("/big", []byte(content)); err != nil {
		t.Fatal(err)
	}
	s.tree = tree

	t.Run("transfers end, idle clients hear goodbye, nobody new comes in", func(t *testing.T) {
		st := newSite(t, s)
		idle, busy := st.login(), st.login()
		nc := busy.pasv()
		busy.do(150, "RETR big")
		done := make(chan error, 1)
		go func() { done <- st.server.Shutdown(t.Context()) }()
		hasID(t, idle.hear(421), fault.IDShutdown)
		idle.ended()
		if nc, err := net.Dial("tcp", st.addr); err == nil {
			nc.Close()
			t.Error("the listener is open")
		}
		if b, err := io.ReadAll(nc); err != nil || string(b) != content {
			t.Errorf("%d bytes, %v", len(b), err)
		}
		busy.hear(226)
		hasID(t, busy.hear(421), fault.IDShutdown)
		if err := <-done; err != nil {
			t.Errorf("Shutdown = %v", err)
		}
	})
	t.Run("who is not done in time is cut", func(t *testing.T) {
		st := newSite(t, s)
		busy := st.login()
		nc := busy.pasv()
		busy.do(150, "STOR up")
		_, _ = io.WriteString(nc, noise(10_000))
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if err := st.server.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Shutdown = %v", err)
		}
		hasID(t, busy.hear(421), fault.IDShutdown)
		busy.ended()
		if _, err := tree.ReadFile("/up"); err == nil {
			t.Error("a cut upload is published")
		}
	})
}
