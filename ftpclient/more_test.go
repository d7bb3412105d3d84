package ftpclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"dray/account"
	"dray/fault"
	"dray/ftpserver"
	"dray/transfer"
)

// known is in for a server whose greeting tells that it takes commands together.
func (p *peer) known(feat ...string) {
	p.say("220 (vsFTPd 3.0.3)")
	p.hear("AUTH TLS")
	p.say("500 no")
	p.hear("USER")
	p.hear("PASS")
	p.hear("FEAT")
	p.hear("TYPE I")
	p.hear("OPTS UTF8 ON")
	p.say("230 in", "202 in already", "211-Features")
	for _, f := range feat {
		p.say(" " + f)
	}
	p.say("211 End", "200 ok", "200 ok")
}

// give is one download of content by commands that came together.
func (p *peer) give(content string) {
	p.hear("EPSV")
	p.hear("RETR")
	p.offers()
	p.hands(content)
}

// hands gives content over the data port that was told last.
func (p *peer) hands(content string) {
	d := p.accept()
	p.say("150 here (" + fmt.Sprint(len(content)) + " bytes)")
	_, _ = io.WriteString(d, content)
	_ = d.Close()
	p.say("226 done")
}

// warm is what lets a client send commands together: a login, and a transfer in steps.
func (p *peer) warm() {
	p.known("EPSV", "SIZE")
	p.hear("SIZE")
	p.say("213 5")
	p.epsv()
	p.hear("RETR")
	p.hands("hello")
}

func TestCommandsThatGoTogether(t *testing.T) {
	for _, try := range []struct {
		name string
		play func(*peer)
		kind fault.Kind
		id   fault.ID
		then bool // the next transfer is careful
	}{
		{"a refusal of the file", func(p *peer) {
			p.hear("EPSV")
			p.hear("RETR")
			p.say("229 (|||"+p.port()+"|)", "550 No such file.")
		}, fault.NotFound, fault.IDNotFound, false},
		{"a refusal whose port is gone", func(p *peer) {
			p.hear("EPSV")
			p.hear("RETR")
			port := p.port()
			p.data.Close()
			p.say("229 (|||"+port+"|)", "550 No such file.")
		}, fault.NotFound, fault.IDNotFound, false},
		{"no ports", func(p *peer) {
			p.hear("EPSV")
			p.hear("RETR")
			p.say("425 No data ports are free.", "425 Use PORT or PASV first.")
			p.hear("ABOR")
			p.say("225 nothing to do")
			p.hear("NOOP")
			p.say("200 ok")
		}, fault.NoData, fault.IDPool, true},
		{"421", func(p *peer) {
			p.hear("EPSV")
			p.hear("RETR")
			p.say("421 Timeout.")
		}, fault.Closing, fault.IDLost, false},
	} {
		t.Run(try.name, func(t *testing.T) {
			t.Parallel()
			addr := script(t, func(p *peer) {
				p.warm()
				p.give("hello")
				try.play(p)
				if try.then {
					p.epsv()
					p.hear("RETR")
					p.hands("hello")
				} else {
					p.give("hello")
				}
				p.rest()
			})
			opt := hurried(addr)
			opt.User = "anonymous"
			c := dial(t, opt)
			for range 2 {
				if got := get(t, c, "/f"); string(got) != "hello" {
					t.Fatalf("%q", got)
				}
			}
			_, err := c.Receive(t.Context(), "/f", Get{Size: -1}, &sink{}, none)
			wants(t, "Receive", err, try.kind, try.id)
			if try.kind == fault.Closing {
				if c.Err() == nil {
					t.Error("the connection is good still")
				}
				return
			}
			if got := get(t, c, "/f"); string(got) != "hello" {
				t.Errorf("afterwards: %q", got)
			}
		})
	}
}

// Every call ends at once with its context, whatever the server does.
func TestContextsEndEveryCall(t *testing.T) {
	calls := map[string]func(context.Context, *Conn) error{
		"List": func(ctx context.Context, c *Conn) error {
			for _, err := range c.List(ctx, "/d") {
				return err
			}
			return nil
		},
		"Receive": func(ctx context.Context, c *Conn) error {
			_, err := c.Receive(ctx, "/f", Get{Size: -1}, &sink{}, none)
			return err
		},
		"Send": func(ctx context.Context, c *Conn) error {
			_, err := c.Send(ctx, "/f", Put{}, from(make([]byte, 50<<20)), none)
			return err
		},
		"Stat":   func(ctx context.Context, c *Conn) error { _, err := c.Stat(ctx, "/f"); return err },
		"Mkdir":  func(ctx context.Context, c *Conn) error { return c.Mkdir(ctx, "/f") },
		"Rename": func(ctx context.Context, c *Conn) error { return c.Rename(ctx, "/f", "/g") },
	}
	for name, call := range calls {
		for _, steps := range []int{0, 1, 2} { // EPSV, the command, 150: then nothing moves
			t.Run(fmt.Sprint(name, steps), func(t *testing.T) {
				t.Parallel()
				addr := script(t, func(p *peer) {
					p.in("MLST type*;")
					for range steps {
						s, err := p.rd.ReadString('\n')
						switch {
						case err != nil:
							return
						case strings.HasPrefix(s, "EPSV"):
							p.offers()
						case strings.HasPrefix(s, "RNFR"):
							p.say("350 go on")
						default:
							if p.data != nil {
								d := p.accept()
								defer d.Close()
							}
							p.say("150 here")
						}
					}
					_, _ = io.Copy(io.Discard, p.rd)
				})
				opt := hurried(addr)
				opt.Timeout, opt.DataWait = 20*time.Second, 20*time.Second
				c := dial(t, opt)
				why := errors.New("enough")
				ctx, cancel := context.WithCancelCause(t.Context())
				time.AfterFunc(100*time.Millisecond, func() { cancel(why) })
				start := time.Now()
				if err := call(ctx, c); !errors.Is(err, why) {
					t.Errorf("%v; want the cause", err)
				}
				if took := time.Since(start); took > 6*time.Second {
					t.Errorf("it took %v", took)
				}
			})
		}
	}
}

func TestAProxyKnowsWhereDataGoes(t *testing.T) {
	addr := script(t, func(p *peer) {
		p.in()
		p.sends("RETR", "150 here", "hello", "226 done")
		p.rest()
	})
	_, port, _ := net.SplitHostPort(addr)
	var asked []string
	opt := hurried("ftp.example.net:" + port)
	opt.Proxied = true
	opt.Dial = func(ctx context.Context, network, to string) (net.Conn, error) {
		host, port, _ := net.SplitHostPort(to)
		asked = append(asked, host)
		var d net.Dialer
		return d.DialContext(ctx, network, "127.0.0.1:"+port)
	}
	c := dial(t, opt)
	if got := get(t, c, "/f"); string(got) != "hello" {
		t.Errorf("%q", got)
	}
	if len(asked) != 2 || asked[0] != "ftp.example.net" || asked[1] != "ftp.example.net" {
		t.Errorf("the proxy was asked for %q", asked)
	}
}

func TestTheMemoryKnowsHowManyConnectionsAHostTakes(t *testing.T) {
	turn := make(chan int, 1)
	turn <- 0
	addr := script(t, func(p *peer) {
		n := <-turn
		turn <- n + 1
		if n == 2 {
			p.say("421 Too many connections (2) from this IP")
			return
		}
		p.in()
		p.rest()
	})
	opt := hurried(addr)
	opt.Memory = &Memory{}
	dial(t, opt)
	dial(t, opt)
	_, err := Dial(t.Context(), opt)
	wants(t, "Dial", err, fault.Closing, fault.IDBusy)
	if n := opt.Memory.Limit(); n != 2 {
		t.Errorf("Limit = %d, want 2", n)
	}
	var said interface{ Said() string }
	if !errors.As(err, &said) || said.Said() != "421 Too many connections (2) from this IP" {
		t.Errorf("what the server said is not in %v", err)
	}
}

// One operation at a time, and a closed connection ends what waits.
func TestMisuseAndClose(t *testing.T) {
	addr := script(t, func(p *peer) { p.in(); _, _ = io.Copy(io.Discard, p.rd) })
	opt := hurried(addr)
	opt.Timeout = 20 * time.Second
	c := dial(t, opt)
	ended := make(chan error, 1)
	go func() { ended <- c.Noop(context.Background()) }()
	for !c.busy.Load() {
		time.Sleep(time.Millisecond)
	}
	if err := c.Mkdir(t.Context(), "/a"); !errors.Is(err, errBusy) {
		t.Errorf("a second operation: %v", err)
	}
	c.Close()
	select {
	case err := <-ended:
		wants(t, "Noop", err, fault.Unreachable, fault.IDLost)
	case <-time.After(5 * time.Second):
		t.Fatal("Close ends no wait")
	}
	c.Close()
}

// A failure of the local file is told as it is, and nothing is left on the server.
type broken struct{ source }

var errDisk = errors.New("the disk is broken")

func (b broken) ReadAt(p []byte, at int64) (int, error) {
	if at > 1<<20 {
		return 0, errDisk
	}
	return b.source.ReadAt(p, at)
}

type fullSink struct{ sink }

func (f *fullSink) WriteAt(b []byte, at int64) (int, error) {
	if at > 1<<20 {
		return 0, errDisk
	}
	return len(b), nil
}

func TestFailuresOfTheLocalFile(t *testing.T) {
	for _, w := range ways() {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			c := dial(t, as(w.opt, newSite(t, w.rules).addr))
			if _, err := c.Send(within(t), "/a", Put{}, broken{from(make([]byte, 4<<20))}, none); !errors.Is(err, errDisk) {
				t.Errorf("Send: %v", err)
			}
			if got := list(t, c, "/"); len(got) != 0 {
				t.Errorf("after an upload that failed: %q", got)
			}
			put(t, c, "/b", noise(8<<20))
			if _, err := c.Receive(within(t), "/b", Get{Size: -1}, &fullSink{}, none); !errors.Is(err, errDisk) {
				t.Errorf("Receive: %v", err)
			}
			if err := c.Err(); err != nil {
				t.Errorf("Err = %v", err)
			}
		})
	}
}

func TestTextTransfers(t *testing.T) {
	c := dial(t, as(Options{Plain: true}, newSite(t, ftpserver.Rules{}).addr))
	if _, err := c.Send(within(t), "/a", Put{}, from([]byte("one\ntwo\n")), transfer.Options{Text: true}); err != nil {
		t.Fatal(err)
	}
	var s sink
	if _, err := c.Receive(within(t), "/a", Get{Size: -1}, &s, transfer.Options{Text: true}); err != nil || string(s.b) != "one\ntwo\n" {
		t.Errorf("%q, %v", s.b, err)
	}
	if got := get(t, c, "/a"); string(got) != "one\ntwo\n" {
		t.Errorf("what the server has: %q", got)
	}
}

func TestAnonymousNeedsNoPassword(t *testing.T) {
	addr := script(t, func(p *peer) {
		p.say("220 hi")
		p.hear("AUTH TLS")
		p.say("502 no")
		p.hear("USER anonymous")
		p.say("331 go on")
		p.hear("PASS anonymous@")
		p.say("230 in")
		p.hear("FEAT")
		p.say("502 no")
		p.hear("TYPE")
		p.say("200 ok")
		p.rest()
	})
	opt := hurried(addr)
	opt.User, opt.Plain, opt.Password = "", false, account.Secret{}
	dial(t, opt)
}

func TestIPv6(t *testing.T) {
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("no IPv6 here: %v", err)
		}
		t.Skipf("SKIPPED: no IPv6 here: %v", err)
	}
	l.Close()
	for _, active := range []bool{false, true} {
		s := newSiteAt(t, ftpserver.Rules{TLS: serverTLS(), Session: ftpserver.SessionRequire}, "[::1]:0")
		c := dial(t, as(Options{TLS: trusting(), Active: active}, s.addr))
		for range 2 {
			put(t, c, "/a", []byte("six"))
			if got := get(t, c, "/a"); string(got) != "six" {
				t.Errorf("%q", got)
			}
		}
	}
}

func TestCloseEndsADownload(t *testing.T) {
	addr := script(t, func(p *peer) {
		p.in()
		d := p.begins("RETR", "150 here")
		defer d.Close()
		_, _ = io.WriteString(d, "hello")
		_, _ = io.Copy(io.Discard, p.rd)
		_, _ = io.Copy(io.Discard, d)
	})
	opt := hurried(addr)
	opt.Timeout = 20 * time.Second
	c := dial(t, opt)
	time.AfterFunc(100*time.Millisecond, func() { c.Close() })
	start := time.Now()
	_, err := c.Receive(t.Context(), "/f", Get{Size: -1}, &sink{}, none)
	wants(t, "Receive", err, fault.Unreachable, fault.IDLost)
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}

// What a server says in clear text where it has promised TLS is shown: vsFTPd without
// its certificate says so there.
func TestClearTextInPlaceOfAHandshakeIsShown(t *testing.T) {
	const words = "500 OOPS: SSL: cannot load RSA certificate"
	opt := hurried(script(t, noTLS(words)))
	_, err := Dial(t.Context(), opt)
	wants(t, "Dial", err, fault.Unreachable, fault.IDPlainInTLS)
	var said interface{ Said() string }
	if !errors.As(err, &said) || said.Said() != words {
		t.Errorf("%v: the server's words are not shown", err)
	}
}

// Servers that run ls send its complaints as a listing, and call that a success.
func TestComplaintsInPlaceOfAListing(t *testing.T) {
	for _, try := range []struct {
		first, second string // what LIST -a shows, and LIST; "": is not asked for
		kind          fault.Kind
		id            fault.ID
		entries       int
	}{
		{"d: No such file or directory", "d: No such file or directory", fault.NotFound, fault.IDNotFound, 0},
		{"ls: -a d: No such file or directory", "/bin/ls: cannot open directory 'd': Permission denied", fault.Denied, fault.IDPerm, 0},
		{"-a: No such file or directory", "-rw-r--r-- 1 a a 3 Jan  2  2020 Permission denied: no such file", 0, "", 1},
		{"-rw-r--r-- 1 a a 3 Jan  2  2020 d: No such file or directory", "", 0, "", 1},
		{"/bin/ls: error while loading shared libraries: libc.so.6", "", fault.Unreachable, fault.IDBadReply, 0},
		{"d: No such file or directory\r\ne: Permission denied", "", fault.Unreachable, fault.IDBadReply, 0},
		{"no such file or directory", "", fault.Unreachable, fault.IDBadReply, 0},
	} {
		t.Run(try.first, func(t *testing.T) {
			t.Parallel()
			addr := script(t, func(p *peer) {
				p.in()
				p.hear("SYST")
				p.say("215 UNIX Type: L8")
				p.sends("LIST -a d", "150 here", try.first+"\r\n", "226 done")
				if try.second != "" {
					p.sends("LIST d", "150 here", try.second+"\r\n", "226 done")
				}
				p.rest()
			})
			soon(t, "List", func() {
				c := dial(t, hurried(addr))
				n, last := listed(t, c, "d")
				if n != try.entries {
					t.Errorf("%d entries, want %d", n, try.entries)
				}
				if try.id == "" {
					if last != nil {
						t.Errorf("List: %v", last)
					}
					return
				}
				wants(t, "List", last, try.kind, try.id)
				var said interface{ Said() string }
				if try.second != "" && (!errors.As(last, &said) || said.Said() != try.second) {
					t.Errorf("%v does not show %q", last, try.second)
				}
			})
		})
	}
}

// Where the packets to the data ports are dropped, a transfer waits for one port, and in
// clear text for one more of PASV: over a distance, where the command goes along with
// EPSV, as near by.
func TestAPortThatSaysNothingIsNotTriedAgain(t *testing.T) {
	for _, far := range []bool{false, true} {
		for _, secure := range []bool{false, true} {
			t.Run(fmt.Sprintf("far %v, TLS %v", far, secure), func(t *testing.T) {
				t.Parallel()
				rules := ftpserver.Rules{}
				if secure {
					rules.TLS = serverTLS()
				}
				opt := as(Options{Plain: true, TLS: trusting(), DataWait: 2 * time.Second}, newSite(t, rules).addr)
				var said []string
				opt.Trace = &Trace{Command: func(line string) {
					verb, _, _ := strings.Cut(line, " ")
					said = append(said, verb)
				}}
				var dropping atomic.Bool
				opt.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
					if addr != opt.Addr && dropping.Load() {
						<-ctx.Done()
						return nil, context.Cause(ctx)
					}
					if far {
						return distant(ctx, network, addr)
					}
					return new(net.Dialer).DialContext(ctx, network, addr)
				}
				c := dial(t, opt)
				for _, warm := range []bool{false, true} {
					dropping.Store(true)
					said = nil
					_, err := listed(t, c, "/")
					wants(t, "List", err, fault.NoData, fault.IDDataBlocked)
					ports := slices.DeleteFunc(slices.Clone(said), func(verb string) bool { return verb != "EPSV" && verb != "PASV" })
					want := []string{"EPSV"}
					if !secure && !warm {
						want = []string{"EPSV", "PASV"}
					}
					if !slices.Equal(ports, want) {
						t.Errorf("after a transfer %v: ports %q of %q; want %q", warm, ports, said, want)
					}
					dropping.Store(false)
					put(t, c, "/a", []byte("hello"))
				}
			})
		}
	}
}
