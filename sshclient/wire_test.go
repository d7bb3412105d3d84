package sshclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"

	"dray/fault"
)

// speaker is a listener that says one thing and then does another.
func speaker(t *testing.T, after func(net.Conn)) (host string, port int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	need(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				after(c)
			}()
		}
	}()
	a := l.Addr().(*net.TCPAddr)
	return a.IP.String(), a.Port
}

func says(text string) func(net.Conn) {
	return func(c net.Conn) {
		_, _ = io.WriteString(c, text)
		_, _ = io.Copy(io.Discard, c)
	}
}

// saysAndEnds ends in order: what was sent is not taken back by a reset.
func saysAndEnds(text string) func(net.Conn) {
	return func(c net.Conn) {
		_, _ = io.WriteString(c, text)
		_ = c.(*net.TCPConn).CloseWrite()
		_, _ = io.Copy(io.Discard, c)
	}
}

func TestOtherProtocolsAreNamed(t *testing.T) {
	tests := []struct {
		name   string
		server func(net.Conn)
		id     fault.ID
		speaks string
	}{
		{"an FTP server", says("220 ready\r\n"), fault.IDWrongProto, "FTP"},
		{"an FTP server with many lines", says("220-ready\r\n220-more\r\n"), fault.IDWrongProto, "FTP"},
		{"a busy FTP server", saysAndEnds("421 Too many\r\n"), fault.IDWrongProto, "FTP"},
		{"a mail server", says("220 mx.example ESMTP\r\n"), fault.IDWrongProto, "SMTP"},
		{"a web server", saysAndEnds("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n<html>"), fault.IDWrongProto, "HTTP"},
		{"a web server without an end", says("HTTP/1.0 400"), fault.IDWrongProto, "HTTP"},
		{"TLS", says("\x15\x03\x01\x00\x02\x02\x46"), fault.IDWrongProto, "TLS"},
		{"IMAP", says("* OK ready\r\n"), fault.IDWrongProto, "IMAP"},
		{"endless lines", func(c net.Conn) {
			for {
				if _, err := io.WriteString(c, "hello\r\n"); err != nil {
					return
				}
			}
		}, fault.IDWrongProto, "something else"},
		{"a server that is full", saysAndEnds("Exceeded MaxStartups\r\n"), fault.IDBusy, ""},
		{"a server that does not like us", says("Not allowed at this time\r\n"), fault.IDBusy, ""},
		{"words of a wrapper", saysAndEnds("go away"), fault.IDBusy, ""},
		{"an end at once", func(net.Conn) {}, fault.IDBusy, ""},
		{"an end after the version", saysAndEnds("SSH-2.0-x\r\n"), fault.IDSSHFailed, ""},
		{"nonsense after the version", saysAndEnds("SSH-2.0-x\r\n" + strings.Repeat("\xff", 5000)), fault.IDSSHFailed, ""},
		{"version 1", saysAndEnds("SSH-1.5-x\r\n"), fault.IDSSHFailed, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			st := newStage(t)
			host, port := speaker(t, tt.server)
			began := time.Now()
			fe := st.fails(st.bare(host, port), tt.id)
			if tt.speaks != "" && (fe.Facts[1] != tt.speaks || fe.Facts[2] != port || fe.Facts[3] != "SSH") {
				t.Errorf("facts %v", fe.Facts)
			}
			if d := time.Since(began); d > 2*time.Second {
				t.Errorf("it took %v", d)
			}
			if tt.name == "a server that is full" {
				var said interface{ Said() string }
				if !errors.As(fe, &said) || said.Said() != "Exceeded MaxStartups" {
					t.Errorf("said %v", fe.Err)
				}
			}
		})
	}
}

func TestGreeting(t *testing.T) {
	tests := []struct {
		in                      string
		ended                   bool
		version, turned, speaks string
	}{
		{"SSH-2.0-OpenSSH_9.9\r\n", false, "SSH-2.0-OpenSSH_9.9", "", ""},
		{"SSH-2.0-x\nmore", false, "SSH-2.0-x", "", ""},
		{"SSH-2.0-x", false, "", "", ""},
		{"SSH-2.0-x", true, "", "", ""},
		{"hello\r\nSSH-2.0-x\r\n", false, "SSH-2.0-x", "", ""},
		{"hello\r\n", false, "", "", ""},
		{"hello\r\n", true, "", "hello", ""},
		{"22", false, "", "", ""},
		{"220", true, "", "220", ""},
		{"220 x\r\n", false, "", "", "FTP"},
		{"2200 bottles\r\nSSH-2.0-x\r\n", false, "SSH-2.0-x", "", ""},
		{"\x16\x03\x01", false, "", "", "TLS"},
		{"", true, "", "", ""},
	}
	for _, tt := range tests {
		v, turned, s := greeting([]byte(tt.in), tt.ended)
		if v != tt.version || turned != tt.turned || s != tt.speaks {
			t.Errorf("greeting(%q, %v) = %q %q %q", tt.in, tt.ended, v, turned, s)
		}
	}
}

// However the bytes of a greeting are cut, they mean the same.
func FuzzGreeting(f *testing.F) {
	f.Add("hello\r\nSSH-2.0-x\r\n\x00\x00", 3)
	f.Add("220 x\r\n", 1)
	f.Add("HTTP/1.1 400\r\n", 6)
	f.Fuzz(func(t *testing.T, text string, cut int) {
		if cut < 0 || cut > len(text) || len(text) > 4000 {
			return
		}
		run := func(parts ...string) string {
			version := ""
			w := newWire(&chunks{parts: parts}, func(v string) { version = v })
			got, err := io.ReadAll(w)
			if w.bad == nil && string(got) != text {
				t.Errorf("%q passes as %q, %v", text, got, err)
			}
			var alien *errAlien
			switch {
			case errors.As(w.bad, &alien):
				return "speaks " + alien.speaks
			case w.bad != nil:
				return "bad"
			}
			return version
		}
		if whole, cutUp := run(text), run(text[:cut], text[cut:]); whole != cutUp {
			t.Errorf("%q is %q, and cut at %d %q", text, whole, cut, cutUp)
		}
	})
}

// chunks is a connection that gives what it has, piece by piece.
type chunks struct {
	net.Conn
	parts []string
}

func (c *chunks) Read(p []byte) (int, error) {
	for len(c.parts) > 0 && c.parts[0] == "" {
		c.parts = c.parts[1:]
	}
	if len(c.parts) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.parts[0])
	c.parts[0] = c.parts[0][n:]
	return n, nil
}

func TestNoAlgorithmInCommon(t *testing.T) {
	config := open()
	config.Ciphers = []string{ssh.CipherAES128CTR}
	st, _, o := lobby(t, config)
	st.write("config", "Ciphers aes256-ctr\n")
	fe := st.fails(o, fault.IDKexCipher)
	if got := fe.Err.Error(); !strings.Contains(got, "cipher in common: the server offers aes128-ctr; offered to it: aes256-ctr") {
		t.Errorf("the cause is %s", got)
	}
	if got := strings.Join(fe.Do, "|"); !strings.Contains(got, "|    Ciphers +aes128-ctr") {
		t.Errorf("what to do: %s", got)
	}
	config = open()
	config.MACs, config.Ciphers = []string{ssh.HMACSHA1}, []string{ssh.CipherAES128CTR}
	st, _, o = lobby(t, config)
	fe = st.fails(o, fault.IDKexCipher)
	if got := strings.Join(fe.Do, "|"); !strings.Contains(got, "|    MACs +hmac-sha1") {
		t.Errorf("what to do: %s", got)
	}
	st.write("config", "MACs +hmac-sha1\n") // and it helps
	st.connects(o)
}

func TestNobodyListens(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	need(t, err)
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	st := newStage(t)
	fe := st.fails(st.bare("127.0.0.1", port), fault.IDRefused)
	if fe.Facts[1] != port {
		t.Errorf("facts %v", fe.Facts)
	}
	st.fails(st.bare("no-such-host.invalid", 22), fault.IDDNS)
}

func TestWaysThatEnd(t *testing.T) {
	s := &Settings{Name: "h", Port: 22}
	op := func(err error) error {
		return &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", err)}
	}
	tests := []struct {
		errs []error
		want fault.ID
	}{
		{[]error{op(syscall.ECONNREFUSED)}, fault.IDRefused},
		{[]error{op(syscall.EHOSTUNREACH)}, fault.IDRejected},
		{[]error{op(syscall.ENETUNREACH), op(os.ErrDeadlineExceeded)}, fault.IDFiltered},
		{[]error{op(os.ErrDeadlineExceeded), op(syscall.ECONNREFUSED)}, fault.IDRefused},
		{[]error{op(syscall.ENETUNREACH), op(syscall.EHOSTUNREACH)}, fault.IDRejected},
		{[]error{errors.New("odd")}, fault.IDSSHFailed},
		{[]error{fault.New(fault.Unreachable, fault.IDProxy, "p", "no")}, fault.IDProxy},
	}
	for _, tt := range tests {
		if got := fault.Of(unreachable(telling(tt.errs), s, time.Second)); got.ID != tt.want {
			t.Errorf("%v: %s; want %s", tt.errs, got.ID, tt.want)
		}
	}
	if got := fault.Of(unreachable(op(syscall.EHOSTUNREACH), s, 3*time.Second)); got.ID != fault.IDFiltered { // the host is off
		t.Errorf("no host after a while: %s; want %s", got.ID, fault.IDFiltered)
	}
}

func TestRace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// The first address is silent, the second refuses, the third answers.
		here, there := net.Pipe()
		defer there.Close()
		began := time.Now()
		c, err := race(t.Context(), []string{"silent", "refuses", "answers"}, func(ctx context.Context, addr string) (net.Conn, error) {
			switch addr {
			case "silent":
				<-ctx.Done()
				return nil, ctx.Err()
			case "refuses":
				return nil, syscall.ECONNREFUSED
			}
			return here, nil
		})
		if err != nil || c != here || time.Since(began) != headStart {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errors.New("enough"))
		defer cancel()
		if _, err := race(ctx, []string{"a", "b"}, func(ctx context.Context, _ string) (net.Conn, error) {
			<-ctx.Done()
			time.Sleep(time.Minute)
			return nil, ctx.Err()
		}); err == nil || err.Error() != "enough" {
			t.Errorf("cancelled: %v", err)
		}
		time.Sleep(2 * time.Minute)
	})
}

// A queue is one direction of a connection in memory; unlike that of net.Pipe it
// holds what is written.
type queue struct {
	mu     sync.Mutex
	more   sync.Cond
	b      []byte
	closed bool
	deaf   bool
}

func newQueue() *queue {
	q := &queue{}
	q.more.L = &q.mu
	return q
}

type memory struct {
	in, out *queue
}

func pair() (a, b *memory) {
	x, y := newQueue(), newQueue()
	return &memory{x, y}, &memory{y, x}
}

func (m *memory) Read(p []byte) (int, error) {
	q := m.in
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.b) == 0 {
		if q.closed {
			return 0, io.EOF
		}
		q.more.Wait()
	}
	n := copy(p, q.b)
	q.b = q.b[n:]
	return n, nil
}

func (m *memory) Write(p []byte) (int, error) {
	q := m.out
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return 0, io.ErrClosedPipe
	}
	if !q.deaf {
		q.b = append(q.b, p...)
	}
	q.more.Broadcast()
	return len(p), nil
}

// silence drops what is written from now on.
func (m *memory) silence() {
	m.out.mu.Lock()
	m.out.deaf = true
	m.out.mu.Unlock()
}

func (m *memory) Close() error {
	for _, q := range []*queue{m.in, m.out} {
		q.mu.Lock()
		q.closed = true
		q.more.Broadcast()
		q.mu.Unlock()
	}
	return nil
}

func (m *memory) LocalAddr() net.Addr              { return pipeAddr{} }
func (m *memory) RemoteAddr() net.Addr             { return pipeAddr{} }
func (m *memory) SetDeadline(time.Time) error      { return nil }
func (m *memory) SetReadDeadline(time.Time) error  { return nil }
func (m *memory) SetWriteDeadline(time.Time) error { return nil }

// through are options that lead to a server in memory.
func (st *stage) through(server func(*memory)) Options {
	o := st.bare("h", 22)
	o.Connect = 10 * time.Second
	o.Dial = func(context.Context, string, string) (net.Conn, error) {
		a, b := pair()
		go server(b)
		return a, nil
	}
	return o
}

// Whatever step a server is silent at, the wait ends.
func TestSilence(t *testing.T) {
	host := newKey(t)
	tests := []struct {
		name   string
		server func(*testing.T, *memory)
		after  time.Duration
	}{
		{"from the start", func(*testing.T, *memory) {}, 10 * time.Second},
		{"in front of the version", func(_ *testing.T, m *memory) {
			for {
				if _, err := io.WriteString(m, "."); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}, 10 * time.Second},
		{"after the version", func(_ *testing.T, m *memory) { _, _ = io.WriteString(m, "SSH-2.0-x\r\n") }, 10 * time.Second},
		{"at the login", func(t *testing.T, m *memory) {
			config := &ssh.ServerConfig{PasswordCallback: func(ssh.ConnMetadata, []byte) (*ssh.Permissions, error) {
				m.silence()
				return nil, errors.New("no")
			}}
			config.AddHostKey(host)
			_, _, _, _ = ssh.NewServerConn(m, config)
		}, 20 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			st := newStage(t)
			need(t, Remember(st.known, "h", 22, host.PublicKey(), Remembering{}))
			synctest.Test(t, func(t *testing.T) {
				o := st.through(func(m *memory) { tt.server(t, m) })
				o.Password = gives(password)
				began := time.Now()
				_, err := Dial(t.Context(), o)
				fe := fault.Of(err)
				if took := time.Since(began); fe.ID != fault.IDNoAnswer || took != tt.after || fe.Facts[1] != int(tt.after.Seconds()) {
					t.Errorf("%v after %v, facts %v", err, took, fe.Facts)
				}
				time.Sleep(time.Minute) // for the server to notice
			})
		})
	}
}

// A proxy that never connects is not waited for longer than an address.
func TestSilentProxy(t *testing.T) {
	st := newStage(t)
	synctest.Test(t, func(t *testing.T) {
		o := st.bare("h", 22)
		o.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		began := time.Now()
		_, err := Dial(t.Context(), o)
		if fe := fault.Of(err); fe.ID != fault.IDFiltered || time.Since(began) != 5*time.Second || fe.Facts[2] != 5 {
			t.Errorf("%v after %v, facts %v", err, time.Since(began), fe.Facts)
		}
	})
}

// A server that drips is not waited for for ever.
func TestTheWholeIsBounded(t *testing.T) {
	host := newKey(t)
	st := newStage(t)
	need(t, Remember(st.known, "h", 22, host.PublicKey(), Remembering{}))
	synctest.Test(t, func(t *testing.T) {
		o := st.through(func(m *memory) {
			config := &ssh.ServerConfig{MaxAuthTries: -1, PasswordCallback: func(ssh.ConnMetadata, []byte) (*ssh.Permissions, error) {
				time.Sleep(15 * time.Second)
				return nil, errors.New("no")
			}}
			config.AddHostKey(host)
			_, _, _, _ = ssh.NewServerConn(m, config)
		})
		n := 0
		o.Password = func(context.Context, Question) (string, error) { n++; return strconv.Itoa(n), nil }
		began := time.Now()
		_, err := Dial(t.Context(), o)
		if fe := fault.Of(err); fe.ID != fault.IDNoAnswer || time.Since(began) != 35*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		time.Sleep(time.Minute)
	})
}

// A human may take longer than a server.
func TestHumansHaveTime(t *testing.T) {
	host := newKey(t)
	st := newStage(t)
	file, key := keyInFile(t, st.home, "id", passphrase)
	synctest.Test(t, func(t *testing.T) {
		o := st.through(func(m *memory) {
			config := takesKeys(key.PublicKey())
			config.AddHostKey(host)
			c, chans, reqs, err := ssh.NewServerConn(m, config)
			if err != nil {
				return
			}
			go ssh.DiscardRequests(reqs)
			go func() {
				for nc := range chans {
					_ = nc.Reject(ssh.Prohibited, "")
				}
			}()
			_ = c.Wait()
		})
		o.Identities = []string{file}
		o.Ask = func(context.Context, HostKey) (Answer, error) { time.Sleep(time.Hour); return Once, nil }
		o.Prompt = func(context.Context, string, []Prompt) ([]string, error) {
			time.Sleep(time.Hour)
			return []string{passphrase}, nil
		}
		c, err := Dial(t.Context(), o)
		if err != nil {
			t.Fatalf("%v\n%s", err, st.trace())
		}
		c.Close()
	})
}

// A server that vanishes is noticed, and what waits for it ends with the reason.
func TestAVanishedServerIsNoticed(t *testing.T) {
	host := newKey(t)
	st := newStage(t)
	need(t, Remember(st.known, "h", 22, host.PublicKey(), Remembering{}))
	synctest.Test(t, func(t *testing.T) {
		var server *memory
		p := &peer{t: t, config: open()}
		p.config.AddHostKey(host)
		c, err := Dial(t.Context(), st.through(func(m *memory) {
			server = m
			p.serve(m)
		}))
		need(t, err)
		ch, err := c.Subsystem(t.Context(), "sftp")
		need(t, err)
		time.Sleep(time.Hour) // idle, and alive
		if c.Err() != nil {
			t.Fatalf("it ended while the server answered: %v", c.Err())
		}
		server.silence()
		began := time.Now()
		_, err = ch.Read(make([]byte, 1))
		fe := fault.Of(err)
		if took := time.Since(began); fe.ID != fault.IDNoAnswer || fe.Facts[0] != "h" || took > 76*time.Second || took < 45*time.Second {
			t.Errorf("%v after %v", err, took)
		}
		if _, err := ch.Write([]byte("x")); fault.Of(err).ID != fault.IDNoAnswer {
			t.Errorf("a write: %v", err)
		}
		if _, err := c.Subsystem(t.Context(), "sftp"); fault.Of(err).ID != fault.IDNoAnswer {
			t.Errorf("another subsystem: %v", err)
		}
		c.Close()
		server.Close()
	})
}

// A server that ends the connection is not taken for the end of a file.
func TestALostConnectionIsNoEnd(t *testing.T) {
	st, p, o := lobby(t, open())
	c := st.connects(o)
	ch, err := c.Subsystem(t.Context(), "sftp")
	need(t, err)
	p.mu.Lock()
	p.conns[0].Close()
	p.mu.Unlock()
	if _, err := io.ReadAll(ch); fault.Of(err).ID != fault.IDLost {
		t.Errorf("the read ends with %v", err)
	}
	<-c.Done()
	if fe := fault.Of(c.Err()); fe.ID != fault.IDLost || fe.Facts[0] != "127.0.0.1" {
		t.Errorf("%v", c.Err())
	}
}

// Cancelling ends the wait at once, whatever it is for.
func TestCancelEndsAtOnce(t *testing.T) {
	silent, port := speaker(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	st := newStage(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("changed my mind")
	time.AfterFunc(50*time.Millisecond, func() { cancel(why) })
	began := time.Now()
	if _, err := Dial(ctx, st.bare(silent, port)); !errors.Is(err, why) || time.Since(began) > 2*time.Second {
		t.Errorf("%v after %v", err, time.Since(began))
	}
	if _, err := Dial(ctx, st.bare(silent, port)); !errors.Is(err, why) {
		t.Errorf("cancelled before: %v", err)
	}
	if _, err := Fetch(ctx, st.bare(silent, port)); !errors.Is(err, why) {
		t.Errorf("fetch: %v", err)
	}
}

func TestJumpHosts(t *testing.T) {
	st := newStage(t)
	var peers []*peer
	for range 3 {
		host := newKey(t)
		p := newPeer(t, takesPassword(), host)
		st.trust(p, host.PublicKey())
		peers = append(peers, p)
	}
	hop := func(p *peer) string { return "otto@" + HostName(p.host, p.port) }
	o := st.options(peers[2])
	o.Jump = hop(peers[0]) + "," + hop(peers[1])
	o.Password = func(_ context.Context, q Question) (string, error) {
		if q.Port != peers[2].port || q.User != "anna" {
			t.Errorf("the password of the target was asked for %+v", q)
		}
		return password, nil
	}
	a := &answering{answers: []string{password, password}}
	o.Prompt = a.prompt
	c := st.connects(o)
	ch, err := c.Subsystem(t.Context(), "sftp")
	need(t, err)
	_, err = ch.Write([]byte("x"))
	need(t, err)
	if n, err := ch.Read(make([]byte, 1)); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if len(a.asked) != 2 || !strings.Contains(a.asked[0], "otto@127.0.0.1's password") {
		t.Errorf("asked %q", a.asked)
	}
	if len(peers[0].seen) != 1 || peers[0].seen[0] != peers[1].addr || len(peers[1].seen) != 1 || peers[1].seen[0] != peers[2].addr || peers[2].seen != nil {
		t.Errorf("the ways are %q, %q, %q", peers[0].seen, peers[1].seen, peers[2].seen)
	}
	c.Close()

	// The same by ssh_config, with names.
	config := ""
	for i, p := range peers {
		config += fmt.Sprintf("Host h%d\n HostName %s\n Port %d\n User otto\n", i, p.host, p.port)
	}
	st.write("config", config+"Match host 127.0.0.1 originalhost h1,h2\n ProxyJump h0\nMatch all\n")
	o = st.bare("h2", 0)
	o.User, o.Password, o.Prompt = "", gives(password), (&answering{answers: []string{password}}).prompt
	c = st.connects(o)
	if c.User() != "otto" {
		t.Errorf("user %q", c.User())
	}

	// A jump host in the middle goes: the target's connection says so.
	peers[0].mu.Lock()
	for _, x := range peers[0].conns {
		x.Close()
	}
	peers[0].mu.Unlock()
	<-c.Done()
	if fault.Of(c.Err()).ID != fault.IDLost {
		t.Errorf("%v", c.Err())
	}

	// Behind the jump host nobody listens.
	o.Host, o.Port, o.Jump = "127.0.0.1", 1, "h0"
	o.Prompt = (&answering{answers: []string{password}}).prompt
	st.fails(o, fault.IDRefused)

	// A key of a jump host that nobody knows, and a target for which all is allowed.
	st = newStage(t)
	o = st.options(peers[2])
	o.Jump, o.Insecure, o.Pins, o.Password = hop(peers[0]), true, []string{ssh.FingerprintSHA256(newKey(t).PublicKey())}, gives(password)
	st.fails(o, fault.IDHostKeyNew)
}

// "Host * ProxyJump bastion" means the bastion itself too, and rings have an end.
func TestJumpsToOneself(t *testing.T) {
	st, p, o := lobby(t, open())
	st.write("config", fmt.Sprintf("Host bastion\n HostName %s\n Port %d\nHost *\n ProxyJump bastion\n", p.host, p.port))
	o.Host, o.Port = "bastion", 0
	st.connects(o)
	st.write("config", "Host a\n ProxyJump b\nHost b\n ProxyJump a\n")
	o.Host = "a"
	st.fails(o, fault.IDSSHFailed)
}

// What was closed leaves no goroutine.
func TestCloseLeavesNothing(t *testing.T) {
	st, p, o := lobby(t, takesPassword())
	o.Password = gives(password)
	inner := newPeer(t, takesPassword(), newKey(t))
	o2 := st.options(inner)
	o2.Jump, o2.Password, o2.Insecure = "anna@"+HostName(p.host, p.port), gives(password), true
	before := runtime.NumGoroutine()
	for range 5 {
		c := st.connects(o)
		_, err := c.Subsystem(t.Context(), "sftp")
		need(t, err)
		c.Close()
		o2.Prompt = (&answering{answers: []string{password}}).prompt
		c = st.connects(o2)
		_, err = c.Subsystem(t.Context(), "sftp")
		need(t, err)
		c.Close()
		if !errors.Is(c.Err(), net.ErrClosed) {
			t.Errorf("closed: %v", c.Err())
		}
		bad := o
		bad.Password = gives("wrong")
		st.fails(bad, fault.IDAuth)
	}
	for range 100 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	buf := make([]byte, 1<<16)
	t.Errorf("%d goroutines, before %d\n%s", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
}

// A subsystem that is cancelled while the server is silent is not waited for.
func TestCancelASubsystem(t *testing.T) {
	config := open()
	host := newKey(t)
	config.AddHostKey(host)
	h, port := speaker(t, func(c net.Conn) {
		sc, chans, reqs, err := ssh.NewServerConn(c, config)
		if err != nil {
			return
		}
		go ssh.DiscardRequests(reqs)
		<-chans // and no answer
		_ = sc.Wait()
	})
	st := newStage(t)
	need(t, Remember(st.known, h, port, host.PublicKey(), Remembering{}))
	c := st.connects(st.bare(h, port))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := c.Subsystem(ctx, "sftp"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}
