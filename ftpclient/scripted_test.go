package ftpclient

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"dray/account"
	"dray/explain"
	"dray/fault"
	"dray/ftp"
	"dray/ftpserver"
)

// A peer is a server that does what a test says, and nothing else.
type peer struct {
	t    testing.TB
	raw  net.Conn
	nc   net.Conn
	rd   *bufio.Reader
	data net.Listener
	cfg  *tls.Config
}

// hangUp ends a script whose client is gone.
type hangUp struct{ err error }

// script serves each connection by play until the test ends.
func script(t testing.TB, play func(*peer)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() {
		cancel()
		l.Close()
		all.Wait()
	})
	all.Add(1)
	go func() {
		defer all.Done()
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			all.Add(1)
			go func() {
				defer all.Done()
				defer nc.Close()
				defer context.AfterFunc(ctx, func() { nc.Close() })()
				p := &peer{t: t, raw: nc, nc: nc, rd: bufio.NewReader(nc)}
				defer func() {
					if p.data != nil {
						p.data.Close()
					}
					if r := recover(); r != nil {
						if _, ok := r.(hangUp); !ok {
							panic(r)
						}
					}
				}()
				play(p)
			}()
		}
	}()
	return l.Addr().String()
}

func (p *peer) say(lines ...string) {
	for _, l := range lines {
		if _, err := io.WriteString(p.nc, l+"\r\n"); err != nil {
			panic(hangUp{err})
		}
	}
}

// hear reads a command; the connection ends when it is not the one that is wanted.
func (p *peer) hear(want string) string {
	s, err := p.rd.ReadString('\n')
	if err != nil {
		panic(hangUp{err})
	}
	s = strings.TrimRight(s, "\r\n")
	if !strings.HasPrefix(s, want) {
		p.t.Errorf("the client says %q; want %q", s, want)
		panic(hangUp{})
	}
	return s
}

// in is all from the greeting to the end of the set-up, for a server that has no
// features but these.
func (p *peer) in(feat ...string) {
	p.clear()
	p.login(feat...)
}

// clear is the greeting of a server without TLS.
func (p *peer) clear() {
	p.say("220 ready")
	p.hear("AUTH TLS")
	p.say("500 no")
}

func (p *peer) login(feat ...string) {
	p.hear("USER")
	p.say("331 password")
	p.hear("PASS")
	p.say("230 in")
	p.hear("FEAT")
	if len(feat) == 0 {
		p.say("502 no")
	} else {
		p.say("211-Features")
		for _, f := range feat {
			p.say(" " + f)
		}
		p.say("211 End")
	}
	if p.nc != p.raw {
		p.hear("PBSZ 0")
		p.say("200 ok")
		p.hear("PROT P")
		p.say("200 ok")
	}
	p.hear("TYPE I")
	p.say("200 ok")
}

// inTLS is in by AUTH TLS.
func (p *peer) inTLS(feat ...string) {
	p.say("220 ready")
	p.secure()
	p.login(feat...)
}

func (p *peer) secure() {
	p.hear("AUTH TLS")
	p.say("234 go")
	p.cfg = serverTLS()
	s := tls.Server(p.raw, p.cfg)
	if err := s.Handshake(); err != nil {
		panic(hangUp{err})
	}
	p.nc, p.rd = s, bufio.NewReader(s)
}

// epsv offers a data port.
func (p *peer) epsv() {
	p.hear("EPSV")
	p.offers()
}

// offers answers to an EPSV that was read before.
func (p *peer) offers() { p.say("229 (|||" + p.port() + "|)") }

func (p *peer) port() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(hangUp{err})
	}
	if p.data != nil {
		p.data.Close()
	}
	p.data = l
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// accept takes the data connection.
func (p *peer) accept() net.Conn {
	_ = p.data.(*net.TCPListener).SetDeadline(time.Now().Add(5 * time.Second))
	nc, err := p.data.Accept()
	if err != nil {
		panic(hangUp{err})
	}
	p.data.Close()
	p.data = nil
	return nc
}

// begins is a transfer up to its data connection: a port, the command, and opening.
func (p *peer) begins(command, opening string) net.Conn {
	p.epsv()
	p.hear(command)
	d := p.accept()
	p.say(opening)
	return d
}

// noTLS agrees to TLS, and says something else where the handshake should be.
func noTLS(words string) func(*peer) {
	return func(p *peer) {
		p.say("220 hi")
		p.hear("AUTH TLS")
		p.say("234 go")
		_, _ = p.rd.Peek(1)
		p.say(words)
		p.rest()
	}
}

// listed counts what a listing has before it ends, and tells how that ended.
func listed(t *testing.T, c *Conn, dir string) (n int, last error) {
	t.Helper()
	for _, err := range c.List(t.Context(), dir) {
		if last = err; err == nil {
			n++
		}
	}
	return n, last
}

// sends is a transfer of content to the client, with last behind it.
func (p *peer) sends(command, opening, content, last string) {
	d := p.begins(command, opening)
	_, _ = io.WriteString(d, content)
	_ = d.Close()
	p.say(last)
}

// reset ends a data connection as one that broke.
func reset(d net.Conn) {
	_ = d.(*net.TCPConn).SetLinger(0)
	_ = d.Close()
}

// rest answers what still comes: ABOR and its kin.
func (p *peer) rest() {
	for {
		s, err := p.rd.ReadString('\n')
		if err != nil {
			panic(hangUp{err})
		}
		switch s = strings.TrimSpace(s); {
		case s == "ABOR":
			p.say("226 aborted")
		case s == "NOOP":
			p.say("200 ok")
		case s == "QUIT":
			p.say("221 bye")
			return
		default:
			p.say("500 no")
		}
	}
}

// hurried is for alice at addr, with times for a test.
func hurried(addr string) Options {
	return Options{
		Addr: addr, User: "alice", Password: account.NewSecret("secret"), Plain: true, TLS: trusting(),
		Connect: 300 * time.Millisecond, Timeout: 700 * time.Millisecond, DataWait: 400 * time.Millisecond,
	}
}

// soon fails when f takes longer than a test of short times may.
func soon(t testing.TB, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatalf("%s does not end", what)
	}
}

// Before the login.
func TestServersThatAreNoneOrSayNo(t *testing.T) {
	forever := func(p *peer) { _, _ = io.Copy(io.Discard, p.rd) }
	admitted := func(p *peer) { // by TLS, up to FEAT
		p.say("220 hi")
		p.secure()
		p.hear("USER")
		p.say("230 in")
		p.hear("FEAT")
	}
	for _, try := range []struct {
		name string
		play func(*peer)
		opt  func(*Options)
		kind fault.Kind
		id   fault.ID
	}{
		{"SSH", func(p *peer) { p.say("SSH-2.0-OpenSSH_9.2"); forever(p) }, nil, fault.Unreachable, fault.IDWrongProto},
		{"HTTP", func(p *peer) { p.say("HTTP/1.1 400 Bad Request", "", "<html>"); forever(p) }, nil, fault.Unreachable, fault.IDWrongProto},
		{"a TLS alert", func(p *peer) { _, _ = p.nc.Write([]byte{0x15, 3, 1, 0, 2, 2, 10}); forever(p) }, nil, fault.Unreachable, fault.IDImplicitTLS},
		{"TLS that waits", func(p *peer) { _ = tls.Server(p.nc, serverTLS()).Handshake(); forever(p) }, nil, fault.Unreachable, fault.IDImplicitTLS},
		{"silence", forever, nil, fault.Stalled, fault.IDNoAnswer},
		{"the end at once", func(*peer) {}, nil, fault.Closing, fault.IDBusy},
		{"421 too many", func(p *peer) { p.say("421 There are too many connected users, please try later.") }, nil, fault.Closing, fault.IDBusy},
		{"421 banned", func(p *peer) { p.say("421 You are banned.") }, nil, fault.Closing, fault.IDBanned},
		{"garbage", func(p *peer) { p.say("hello world"); forever(p) }, nil, fault.Unreachable, fault.IDBadReply},
		{"an endless line", func(p *peer) {
			for {
				if _, err := p.nc.Write(bytes.Repeat([]byte("2"), 4096)); err != nil {
					return
				}
			}
		}, nil, fault.Unreachable, fault.IDBadReply},
		{"an endless reply", func(p *peer) {
			for {
				p.say("220-more")
			}
		}, nil, fault.Unreachable, fault.IDBadReply},
		{"a reply that drips", func(p *peer) {
			for {
				p.say("220-more")
				time.Sleep(50 * time.Millisecond)
			}
		}, nil, fault.Stalled, fault.IDNoAnswer},
		{"no TLS, and no leave to do without", func(p *peer) { p.say("220 hi"); p.hear("AUTH TLS"); p.say("500 what?"); p.hear("nothing") },
			func(o *Options) { o.Plain = false }, fault.NeedTLS, fault.IDTLSMissing},
		{"no TLS where it is required", func(p *peer) { p.say("220 hi"); p.hear("AUTH TLS"); p.say("534 no"); p.hear("nothing") },
			func(o *Options) { o.Mode = TLSRequire }, fault.NeedTLS, fault.IDTLSMissing},
		{"text behind 234", func(p *peer) { p.say("220 hi"); p.hear("AUTH TLS"); p.say("234 go\r\n230 you are in"); forever(p) }, nil, fault.Untrusted, fault.IDBehindAuth},
		{"no TLS behind 234", noTLS("500 OOPS: SSL: cannot load RSA certificate"), nil, fault.Unreachable, fault.IDPlainInTLS},
		{"neither TLS nor text behind 234", noTLS("\x01\x02\x03\x04\x05\x06"), nil, fault.Untrusted, fault.IDTLSFailed},
		{"silence behind 234", func(p *peer) { p.say("220 hi"); p.hear("AUTH TLS"); p.say("234 go"); forever(p) }, nil, fault.Stalled, fault.IDNoAnswer},
		{"TLS required at USER", func(p *peer) {
			p.clear()
			p.hear("USER")
			p.say("530 Non-anonymous sessions must use encryption.")
			forever(p)
		}, nil, fault.NeedTLS, fault.IDTLSRequired},
		{"a wrong password", func(p *peer) {
			p.clear()
			p.hear("USER")
			p.say("331 go on")
			p.hear("PASS secret")
			p.say("530 Login incorrect.")
			forever(p)
		}, nil, fault.NotLoggedIn, fault.IDAuth},
		{"too many at PASS", func(p *peer) {
			p.clear()
			p.hear("USER")
			p.say("331 go on")
			p.hear("PASS")
			p.say("530 Sorry, the maximum number of clients (3) from your host are already connected.")
			forever(p)
		}, nil, fault.Closing, fault.IDBusy},
		{"331 for ever", func(p *peer) {
			p.clear()
			for {
				_, err := p.rd.ReadString('\n')
				if err != nil {
					return
				}
				p.say("331 again")
			}
		}, nil, fault.NotLoggedIn, fault.IDAuth},
		{"PROT P refused", func(p *peer) {
			admitted(p)
			p.say("502 no")
			p.hear("PBSZ")
			p.say("200 ok")
			p.hear("PROT P")
			p.say("536 no")
			p.hear("TYPE I")
			p.say("200 ok")
			forever(p)
		}, func(o *Options) { o.Plain = false }, fault.NoClear, fault.IDTLSData},
		{"421 at FEAT", func(p *peer) {
			admitted(p)
			p.say("421 too many connections")
		}, nil, fault.Closing, fault.IDBusy},
		{"implicit TLS at a port in clear text", func(p *peer) { p.say("220 welcome"); forever(p) },
			func(o *Options) { o.Mode = TLSImplicit }, fault.Unreachable, fault.IDWrongProto},
	} {
		t.Run(try.name, func(t *testing.T) {
			t.Parallel()
			opt := hurried(script(t, try.play))
			if try.opt != nil {
				try.opt(&opt)
			}
			soon(t, "Dial", func() {
				c, err := Dial(t.Context(), opt)
				if err == nil {
					c.Close()
					t.Fatal("Dial found nothing wrong")
				}
				wants(t, "Dial", err, try.kind, try.id)
				if strings.Contains(err.Error(), "secret") {
					t.Errorf("the password is in %q", err)
				}
			})
		})
	}
}

func TestServersThatFallSilentAtEachStep(t *testing.T) {
	steps := []string{"220 hi", "234", "331 go on", "230 in", "FEAT", "PBSZ", "PROT", "TYPE"}
	for silent := range steps {
		t.Run(steps[silent], func(t *testing.T) {
			t.Parallel()
			addr := script(t, func(p *peer) {
				defer func() { _, _ = io.Copy(io.Discard, p.rd) }()
				for i := range silent {
					switch i {
					case 0:
						p.say("220 hi")
					case 1:
						p.secure()
					default:
						p.hear("")
						p.say(map[int]string{2: "331 go on", 3: "230 in"}[i] + map[bool]string{true: "200 ok"}[i > 3])
					}
				}
			})
			opt := hurried(addr)
			soon(t, "Dial", func() {
				_, err := Dial(t.Context(), opt)
				wants(t, "Dial", err, fault.Stalled, fault.IDNoAnswer)
			})
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			start := time.Now()
			if _, err := Dial(ctx, opt); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("with a context that ends: %v", err)
			}
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("the context ended the wait after %v", took)
			}
		})
	}
}

// Downloads and listings.
func TestWhatIsNoWholeDownload(t *testing.T) {
	give := func(p *peer, opening, last string) {
		p.sends("RETR", opening, "hello", last)
		p.rest()
	}
	secure := func(p *peer, end func(*tls.Conn)) {
		d := p.begins("RETR", "150 here")
		s := tls.Server(d, p.cfg)
		if err := s.Handshake(); err != nil {
			panic(hangUp{err})
		}
		_, _ = io.WriteString(s, "hello")
		end(s)
		_ = d.Close()
		p.say("226 done")
		p.rest()
	}
	bare := func(*tls.Conn) {}
	marked := func(s *tls.Conn) { _ = s.CloseWrite() }
	for _, try := range []struct {
		name string
		play func(*peer)
		size int64
		kind fault.Kind
		id   fault.ID // "": it is whole
	}{
		{"whole, nobody tells a size", func(p *peer) { p.in(); give(p, "150 here", "226 done") }, -1, 0, ""},
		{"whole by 150", func(p *peer) { p.in(); give(p, "150 here (5 bytes).", "226 done") }, -1, 0, ""},
		{"short by 150", func(p *peer) { p.in(); give(p, "150 here (6 bytes).", "226 done") }, -1, fault.Cut, fault.IDShortFile},
		{"short by SIZE", func(p *peer) {
			p.in("SIZE")
			p.hear("SIZE")
			p.say("213 9")
			give(p, "150 here", "226 done")
		}, -1, fault.Cut, fault.IDShortFile},
		{"short by the caller", func(p *peer) { p.in(); give(p, "150 here", "226 done") }, 6, fault.Cut, fault.IDShortFile},
		{"250 is done too", func(p *peer) { p.in(); give(p, "150 here", "250 done") }, 5, 0, ""},
		{"426 behind all", func(p *peer) { p.in(); give(p, "150 here", "426 cut") }, 5, fault.Cut, fault.IDDataLost},
		{"no 226", func(p *peer) {
			p.in()
			_ = p.begins("RETR", "150 here").Close()
		}, -1, fault.Unreachable, fault.IDLost},
		{"silence behind the data", func(p *peer) {
			p.in()
			_ = p.begins("RETR", "150 here").Close()
			_, _ = io.Copy(io.Discard, p.rd)
		}, -1, fault.Stalled, fault.IDNoAnswer},
		{"silence before 150", func(p *peer) { p.in(); p.epsv(); p.hear("RETR"); _, _ = io.Copy(io.Discard, p.rd) }, -1, fault.Stalled, fault.IDNoAnswer},
		{"no byte for too long", func(p *peer) {
			p.in()
			defer p.begins("RETR", "150 here").Close()
			p.rest()
		}, -1, fault.Stalled, fault.IDStall},
		{"a reset", func(p *peer) {
			p.in()
			reset(p.begins("RETR", "150 here"))
			p.say("226 done")
			p.rest()
		}, -1, fault.Cut, fault.IDDataLost},
		{"under TLS with its mark", func(p *peer) { p.inTLS(); secure(p, marked) }, -1, 0, ""},
		{"under TLS without", func(p *peer) { p.inTLS(); secure(p, bare) }, -1, fault.Cut, fault.IDTLSNoClose},
		{"under TLS without, of the right size", func(p *peer) { p.inTLS(); secure(p, bare) }, 5, 0, ""},
		{"under TLS with its mark, and short", func(p *peer) { p.inTLS(); secure(p, marked) }, 6, fault.Cut, fault.IDShortFile},
		{"refused", func(p *peer) { p.in(); p.epsv(); p.hear("RETR"); p.say("550 No such file."); p.rest() }, -1, fault.NotFound, fault.IDNotFound},
		{"421 in place of 150", func(p *peer) { p.in(); p.epsv(); p.hear("RETR"); p.say("421 Shutting down.") }, -1, fault.Closing, fault.IDLost},
		{"session reuse", func(p *peer) {
			p.inTLS()
			p.sends("RETR", "150 here", "", "522 SSL connection failed: session reuse required")
			p.rest()
		}, -1, fault.NoData, fault.IDTLSReuse},
		{"another way out for data", func(p *peer) {
			p.in()
			p.epsv()
			p.hear("RETR")
			p.say("425 Security: Bad IP connecting.")
			p.rest()
		}, -1, fault.NoData, fault.IDDataPeer},
		{"no data port", func(p *peer) { p.in(); p.hear("EPSV"); p.say("500 OOPS: vsf_sysutil_bind") }, -1, fault.NoData, fault.IDPool},
	} {
		t.Run(try.name, func(t *testing.T) {
			t.Parallel()
			opt := hurried(script(t, try.play))
			opt.Timeout = 1500 * time.Millisecond
			soon(t, "Receive", func() {
				c := dial(t, opt)
				var s sink
				rep, err := c.Receive(t.Context(), "/f", Get{Size: try.size}, &s, none)
				if try.id != "" {
					wants(t, "Receive", err, try.kind, try.id)
				} else if err != nil || string(s.b) != "hello" || rep.Bytes != 5 {
					t.Errorf("Receive: %q, %v", s.b, err)
				}
			})
		})
	}
}

func TestListingsThatEndBadly(t *testing.T) {
	const line = "type=file;size=1;modify=20200101000000; "
	for _, try := range []struct {
		name string
		data func(net.Conn)
		last string
		n    int
		kind fault.Kind
		id   fault.ID
	}{
		{"whole", func(d net.Conn) { io.WriteString(d, line+"a\r\n"+line+"b\n"+line+"c") }, "226 done", 3, 0, ""},
		{"426", func(d net.Conn) { io.WriteString(d, line+"a\r\n"+line+"b\r\n") }, "426 cut", 2, fault.Cut, fault.IDListingCut},
		{"a reset", func(d net.Conn) {
			io.WriteString(d, line+"a\r\n")
			time.Sleep(50 * time.Millisecond)
			reset(d)
		}, "226 done", 1, fault.Cut, fault.IDListingCut},
		{"an endless line", func(d net.Conn) {
			for range 100 {
				io.WriteString(d, strings.Repeat("x", 1000))
			}
		}, "226 done", 0, fault.Unreachable, fault.IDBadReply},
		{"nothing that anybody can read", func(d net.Conn) { io.WriteString(d, "what\r\nis this?\r\n") }, "226 done", 0, fault.Unreachable, fault.IDBadReply},
		{"dots and no name", func(d net.Conn) { io.WriteString(d, "type=cdir; .\r\ntype=pdir; ..\r\ntype=dir; .\r\n"+line+"a\r\n") }, "226 done", 1, 0, ""},
	} {
		t.Run(try.name, func(t *testing.T) {
			t.Parallel()
			addr := script(t, func(p *peer) {
				p.in("MLST type*;size*;modify*;")
				d := p.begins("MLSD /d", "150 here")
				try.data(d)
				_ = d.Close()
				p.say(try.last)
				p.rest()
			})
			soon(t, "List", func() {
				c := dial(t, hurried(addr))
				n, last := listed(t, c, "/d")
				if n != try.n {
					t.Errorf("%d entries, want %d", n, try.n)
				}
				if try.id != "" {
					wants(t, "List", last, try.kind, try.id)
				} else if last != nil {
					t.Errorf("List: %v", last)
				}
			})
		})
	}
}

// What came of a listing is told also where its end is said before there is a data
// connection to look at.
func TestAListingThatEndsAtOnce(t *testing.T) {
	addr := script(t, func(p *peer) {
		p.inTLS("MLST type*;size*;modify*;")
		d := p.begins("MLSD /d", "150 here\r\n426 cut")
		time.Sleep(100 * time.Millisecond) // the handshake waits for us
		s := tls.Server(d, p.cfg)
		_, _ = io.WriteString(s, "type=file;size=1; a\r\n")
		_ = s.Close()
		p.rest()
	})
	n, err := listed(t, dial(t, hurried(addr)), "/d")
	if n != 1 {
		t.Errorf("%d names; want 1", n)
	}
	wants(t, "List", err, fault.Cut, fault.IDListingCut)
}

// Uploads.
func TestUploadsThatEndEarly(t *testing.T) {
	for _, try := range []struct {
		name string
		play func(p *peer, d net.Conn)
		kind fault.Kind
		id   fault.ID
		lost bool
	}{
		{"552 in the middle, and a reset", func(p *peer, d net.Conn) {
			_, _ = io.CopyN(io.Discard, d, 100_000)
			p.say("552 Quota exceeded.")
			reset(d)
			p.rest()
		}, fault.OverQuota, fault.IDQuota, false},
		{"a reset, and 452 behind it", func(p *peer, d net.Conn) {
			_, _ = io.CopyN(io.Discard, d, 100_000)
			reset(d)
			time.Sleep(100 * time.Millisecond)
			p.say("452 No space left on device.")
			p.rest()
		}, fault.NoSpace, fault.IDNoSpace, false},
		{"the control connection is gone in the middle", func(p *peer, d net.Conn) {
			_, _ = io.CopyN(io.Discard, d, 100_000)
			p.nc.Close()
			time.Sleep(200 * time.Millisecond)
			d.Close()
		}, fault.Unreachable, fault.IDLost, false},
		{"the reply to all of it is lost", func(p *peer, d net.Conn) {
			_, _ = io.Copy(io.Discard, d)
			p.nc.Close()
			d.Close()
		}, fault.Unreachable, fault.IDLost, true},
		{"the reply to all of it does not come", func(p *peer, d net.Conn) {
			_, _ = io.Copy(io.Discard, d)
			d.Close()
			_, _ = io.Copy(io.Discard, p.rd)
		}, fault.Stalled, fault.IDNoAnswer, true},
		{"refused behind all", func(p *peer, d net.Conn) {
			_, _ = io.Copy(io.Discard, d)
			d.Close()
			p.say("451 Failure writing to local file.")
			p.rest()
		}, fault.NoSpace, fault.IDNoSpace, false},
	} {
		t.Run(try.name, func(t *testing.T) {
			t.Parallel()
			addr := script(t, func(p *peer) {
				p.in()
				try.play(p, p.begins("STOR", "150 go"))
			})
			soon(t, "Send", func() {
				c := dial(t, hurried(addr))
				_, err := c.Send(t.Context(), "/f", Put{}, from(make([]byte, 20<<20)), none)
				wants(t, "Send", err, try.kind, try.id)
				var lost *LostReply
				if errors.As(err, &lost) != try.lost {
					t.Errorf("a lost reply: %v, want %v (%v)", !try.lost, try.lost, err)
				} else if try.lost && lost.Bytes != 20<<20 {
					t.Errorf("a lost reply of %d bytes", lost.Bytes)
				}
			})
		})
	}
}

// What is kept of an upload that was cut stands in the refusal of a REST behind every file.
func TestWhatAServerOfOursKeeps(t *testing.T) {
	ours := func(id fault.ID, facts ...any) string {
		return "554 " + explain.Sentence(fault.New(fault.BadOffset, id, facts...))
	}
	for _, try := range []struct {
		name, rest, stor string
		kept             int64
		none             bool // fs.ErrNotExist
		kind             fault.Kind
		id               fault.ID
	}{
		{"the figure", "350 go on", ours(fault.IDResume, 123_456), 123_456, false, 0, ""},
		{"as an answer to REST", ours(fault.IDResume, int64(1)<<40), "", 1 << 40, false, 0, ""},
		{"nothing is kept", "350 go on", ours(fault.IDOffset, int64(math.MaxInt64), int64(7)), 0, true, fault.BadOffset, fault.IDOffset},
		{"the sentence without its figure", "350 go on", ours(fault.IDResume), 0, true, fault.BadOffset, fault.IDResume},
		{"a figure below 0", "350 go on", ours(fault.IDResume, -5), 0, true, fault.BadOffset, fault.IDResume},
		{"a figure that is none", "350 go on", ours(fault.IDResume, "1e3"), 0, true, fault.BadOffset, fault.IDResume},
		{"a figure that no file has", "350 go on", ours(fault.IDResume, "99999999999999999999"), 0, true, fault.BadOffset, fault.IDResume},
		{"a foreign 554", "350 go on", "554 There are 5 bytes of it.", 0, true, fault.BadOffset, fault.IDServerSaysNo},
		{"another refusal", "350 go on", "550 Permission denied.", 0, false, fault.Denied, fault.IDPerm},
		{"no REST", "502 no", "", 0, true, fault.BadOffset, fault.IDUnsupported},
		{"it is taken", "350 go on", "150 go", 0, false, fault.Unsupported, fault.IDUnsupported},
	} {
		t.Run(try.name, func(t *testing.T) {
			t.Parallel()
			addr := script(t, func(p *peer) {
				p.in()
				p.epsv()
				p.hear("REST 9223372036854775807")
				p.say(try.rest)
				if try.stor != "" {
					p.hear("STOR /f")
					p.say(try.stor)
				}
				if strings.HasPrefix(try.stor, "150") {
					d := p.accept()
					_, _ = io.Copy(io.Discard, d)
					d.Close()
					p.say("226 done")
				}
				p.rest()
			})
			soon(t, "Kept", func() {
				c := dial(t, hurried(addr))
				n, err := c.Kept(t.Context(), "/f")
				if n != try.kept || errors.Is(err, fs.ErrNotExist) != try.none {
					t.Errorf("%d, %v; want %d, none of it: %v", n, err, try.kept, try.none)
				}
				if try.id != "" {
					wants(t, "Kept", err, try.kind, try.id)
				} else if err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// Data ports.
func TestEPSVIsRefusedOnceAndPASVIsUsedAfterwards(t *testing.T) {
	addr := script(t, func(p *peer) {
		p.in()
		p.hear("EPSV")
		p.say("500 what?")
		for range 2 {
			p.hear("PASV")
			var n int
			fmt.Sscan(p.port(), &n)
			p.say(fmt.Sprintf("227 ok (192,168,99,99,%d,%d)", n>>8, n&255))
			p.hear("RETR")
			d := p.accept()
			p.say("150 here")
			d.Close()
			p.say("226 done")
		}
		p.rest()
	})
	opt := hurried(addr)
	opt.Memory = &Memory{}
	c := dial(t, opt)
	for range 2 {
		var s sink
		if _, err := c.Receive(t.Context(), "/f", Get{Size: -1}, &s, none); err != nil {
			t.Fatal(err)
		}
	}
	notes := opt.Memory.Notes()
	if len(notes) != 1 || notes[0].ID != fault.IDPasvAddress {
		t.Errorf("notes %v; want one about the address", notes)
	}
}

func TestNobodyAnswersAtTheDataPort(t *testing.T) {
	addr := script(t, func(p *peer) {
		p.in()
		p.hear("EPSV")
		port := p.port()
		p.data.Close()
		p.say("229 (|||" + port + "|)")
		p.hear("PASV")
		p.say("502 no")
		p.rest()
	})
	c := dial(t, hurried(addr))
	_, err := c.Receive(t.Context(), "/f", Get{Size: -1}, &sink{}, none)
	wants(t, "Receive", err, fault.NoData, fault.IDUnpublished)
	if err := c.Noop(t.Context()); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestActiveModeThatIsBlocked(t *testing.T) {
	addr := script(t, func(p *peer) {
		p.in()
		p.hear("EPRT")
		p.say("200 ok")
		p.hear("RETR")
		p.rest()
	})
	opt := hurried(addr)
	opt.Active = true
	c := dial(t, opt)
	_, err := c.Receive(t.Context(), "/f", Get{Size: -1}, &sink{}, none)
	wants(t, "Receive", err, fault.NoData, fault.IDActiveBlock)
}

func TestAHandshakeBeforeThe150(t *testing.T) {
	addr := script(t, func(p *peer) {
		p.inTLS()
		for _, early := range []bool{true, false} {
			p.epsv()
			p.hear("STOR")
			s := tls.Server(p.accept(), p.cfg)
			if !early {
				p.say("150 go")
			}
			if err := s.Handshake(); err != nil {
				panic(hangUp{err})
			}
			if early {
				p.say("150 go")
			}
			if n, err := io.Copy(io.Discard, s); n != 0 || err != nil { // an empty file
				t.Errorf("%d bytes, %v", n, err)
			}
			s.Close()
			p.say("226 done")
		}
		p.rest()
	})
	c := dial(t, hurried(addr))
	for range 2 {
		if _, err := c.Send(t.Context(), "/f", Put{}, from(nil), none); err != nil {
			t.Fatal(err)
		}
	}
}

func TestNoopsDuringATransferAreNotItsEnd(t *testing.T) {
	for _, late := range []bool{false, true} {
		addr := script(t, func(p *peer) {
			p.in()
			d := p.begins("RETR", "150 here")
			for range 2 {
				p.hear("NOOP")
				if !late {
					p.say("200 ok")
				}
			}
			_, _ = io.WriteString(d, "hello")
			d.Close()
			p.say("226 done")
			if late {
				p.say("200 ok", "200 ok")
			}
			p.hear("PWD")
			p.say(`257 "/here"`)
			p.rest()
		})
		opt := hurried(addr)
		opt.Timeout, opt.Keepalive = 5*time.Second, 50*time.Millisecond
		c := dial(t, opt)
		var s sink
		if _, err := c.Receive(t.Context(), "/f", Get{Size: -1}, &s, none); err != nil || string(s.b) != "hello" {
			t.Fatalf("late %v: %q, %v", late, s.b, err)
		}
		if dir, err := c.Pwd(t.Context()); dir != "/here" || err != nil {
			t.Errorf("late %v: Pwd = %q, %v", late, dir, err)
		}
	}
}

func TestNamesInAnotherCharacterSet(t *testing.T) {
	addr := script(t, func(p *peer) {
		p.in("MLST type*;", "UTF8")
		p.hear("DELE \xe9t\xe9")
		p.say("250 ok")
		p.sends("MLSD", "150 here", "type=file; \xe9t\xe9\r\n", "226 done")
		p.rest()
	})
	opt := hurried(addr)
	opt.Charset = "latin1"
	c := dial(t, opt)
	if err := c.Remove(t.Context(), "été"); err != nil {
		t.Error(err)
	}
	if got := list(t, c, ""); len(got) != 1 || got[0] != "été" {
		t.Errorf("List = %q", got)
	}
	wants(t, "a name that has no bytes", c.Remove(t.Context(), "日本"), fault.BadName, fault.IDBadName)
	_, err := Dial(t.Context(), Options{Addr: addr, Charset: "klingon"})
	wants(t, "Dial", err, fault.Unsupported, fault.IDUnsupported)
}

// What is secret is in no trace.
func TestSecretsAreInNoTrace(t *testing.T) {
	addr := script(t, func(p *peer) { p.in(); p.rest() })
	var all strings.Builder
	opt := hurried(addr)
	opt.Trace = &Trace{Command: func(s string) { all.WriteString(s + "\n") }, Reply: func(r ftp.Reply) { all.WriteString(r.Said() + "\n") }}
	c, err := Dial(t.Context(), opt)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if s := all.String(); strings.Contains(s, "secret") || !strings.Contains(s, "PASS ***") {
		t.Errorf("the trace:\n%s", s)
	}
}

// Listings of LIST.
func TestListingsOfServersWithoutMLSD(t *testing.T) {
	year := time.Now().Year() - 2
	old := fmt.Sprintf("-rw-r--r-- 1 a b 5 Jan  2  %d old.txt\r\n", year)
	recent := time.Now().UTC().Add(-48 * time.Hour).Truncate(time.Minute)
	addr := script(t, func(p *peer) {
		listing := func(want, content string) { p.sends(want, "150 here", content, "226 done") }
		p.in("MDTM", "SIZE")
		p.hear("SYST")
		p.say("215 UNIX Type: L8")
		// The clock of the server is two hours ahead.
		listing("LIST -a /d", "total 3\r\ndrwxr-xr-x 2 a b 4096 Jan  1  2020 .\r\ndrwxr-xr-x 2 a b 4096 Jan  1  2020 ..\r\n"+old+
			"-rw-r--r-- 1 a b 7 "+recent.Add(2*time.Hour).Format("Jan _2 15:04")+" new.txt\r\n")
		p.hear("MDTM /d/new.txt")
		p.say("213 " + recent.Add(7*time.Second).Format("20060102150405"))
		// A name with a blank is entered.
		p.hear("PWD")
		p.say(`257 "/home"`)
		p.hear("CWD /my dir")
		p.say("250 ok")
		listing("LIST -a", old)
		p.hear("CWD /home")
		p.say("250 ok")
		// Nothing at all: it is not there.
		listing("LIST -a /gone", "")
		listing("LIST /gone", "")
		p.hear("CWD /gone")
		p.say("550 Failed to change directory.")
		p.rest()
	})
	opt := hurried(addr)
	opt.Memory = &Memory{}
	c := dial(t, opt)
	got := map[string]ftp.Listed{}
	for l, err := range c.List(t.Context(), "/d") {
		if err != nil {
			t.Fatal(err)
		}
		got[l.Name] = l
	}
	if l := got["new.txt"]; len(got) != 2 || !l.Time.Equal(recent) || l.Size != 7 {
		t.Errorf("%+v; want new.txt of %v", got, recent)
	}
	if names := list(t, c, "/my dir"); len(names) != 1 || names[0] != "old.txt" {
		t.Errorf("a name with a blank: %q", names)
	}
	for _, err := range c.List(t.Context(), "/gone") {
		wants(t, "List", err, fault.NotFound, fault.IDNotFound)
	}
}

// A server that does not know LIST -a is asked without.
func TestListWithoutOptions(t *testing.T) {
	addr := script(t, func(p *peer) {
		p.in()
		p.hear("SYST")
		p.say("215 UNIX Type: L8")
		p.epsv()
		p.hear("LIST -a /d")
		p.say("550 -a: no such file")
		for range 2 {
			p.sends("LIST /d", "150 here", "-rw-r--r-- 1 a b 5 Jan  2  2020 a\r\n", "226 done")
		}
		p.rest()
	})
	c := dial(t, hurried(addr))
	for range 2 {
		if names := list(t, c, "/d"); len(names) != 1 {
			t.Errorf("%q", names)
		}
	}
}

// The way there.
func TestTheWayToTheServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := l.Addr().String()
	l.Close()
	own := fault.New(fault.Unreachable, fault.IDProxy, "proxy.example", "no")
	for _, try := range []struct {
		name string
		opt  Options
		kind fault.Kind
		id   fault.ID
	}{
		{"refused", Options{Addr: closed}, fault.Unreachable, fault.IDRefused},
		{"no such name", Options{Addr: "no-such-name.invalid:21"}, fault.Unreachable, fault.IDDNS},
		{"silence", Options{Addr: "192.0.2.1:21", Connect: 50 * time.Millisecond, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}}, fault.Unreachable, fault.IDFiltered},
		{"what Dial says", Options{Addr: "192.0.2.1:21", Dial: func(context.Context, string, string) (net.Conn, error) { return nil, own }}, fault.Unreachable, fault.IDProxy},
		{"a password in clear text", Options{Addr: closed, User: "alice", Mode: TLSOff}, fault.NeedTLS, fault.IDTLSMissing},
		{"a line end in the password", Options{Addr: closed, User: "alice", Password: account.NewSecret("a\r\nDELE b")}, fault.BadName, fault.IDBadName},
	} {
		_, err := Dial(t.Context(), try.opt)
		wants(t, try.name, err, try.kind, try.id)
	}
}

// Whoever is trusted on the control connection is asked again for each data
// connection, also where the session is resumed.
func TestDataConnectionsAreVerifiedToo(t *testing.T) {
	addr := script(t, func(p *peer) {
		p.inTLS()
		s := tls.Server(p.begins("RETR", "150 here"), p.cfg)
		_ = s.Handshake()
		s.Close()
		p.say("425 no TLS")
		p.rest()
	})
	no := errors.New("not today")
	asked := 0
	opt := hurried(addr)
	opt.TLS.VerifyConnection = func(tls.ConnectionState) error {
		if asked++; asked > 1 {
			return no
		}
		return nil
	}
	c := dial(t, opt)
	_, err := c.Receive(t.Context(), "/f", Get{Size: -1}, &sink{}, none)
	if !errors.Is(err, no) || asked != 2 {
		t.Errorf("asked %d times: %v", asked, err)
	}
}

// Once a server has shown that it works, a transfer is one round trip and the data.
func TestRoundTrips(t *testing.T) {
	s := newSite(t, ftpserver.Rules{TLS: serverTLS()})
	var writes []string
	opt := as(Options{TLS: trusting()}, s.addr)
	trips, quiet := 0, true
	opt.Trace = &Trace{
		Command: func(line string) {
			if quiet {
				trips++
			}
			quiet = false
			writes = append(writes, line)
		},
		Reply: func(ftp.Reply) { quiet = true },
	}
	c := dial(t, opt)
	if trips != 2 { // AUTH, and all the rest
		t.Errorf("%d round trips to log in: %q", trips, writes)
	}
	put(t, c, "/a", []byte("hello"))
	for _, what := range []func(){func() { get(t, c, "/a") }, func() { put(t, c, "/a", []byte("again")) }, func() { list(t, c, "/") }} {
		trips, writes = 0, nil
		what()
		if trips != 1 {
			t.Errorf("%d round trips: %q", trips, writes)
		}
	}
}
