package ftpclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"dray/fault"
	"dray/ftpserver"
	"dray/transfer"
)

// ahead hears command between the EPSV for its own port and the one for the next, and
// answers to the first.
func (p *peer) ahead(command string) {
	p.hear("EPSV")
	p.hear(command)
	p.hear("EPSV")
	p.offers()
}

// warmed is a client that may ask for ports in advance, of a server that plays.
func warmed(t *testing.T, play func(*peer)) *Conn {
	t.Helper()
	opt := hurried(script(t, func(p *peer) {
		p.warm()
		play(p)
		p.rest()
	}))
	opt.User = "anonymous"
	c := dial(t, opt)
	if got := get(t, c, "/f"); string(got) != "hello" {
		t.Fatalf("%q", got)
	}
	c.Ahead(true)
	return c
}

// The port of a transfer comes with the end of the one before it.
func TestThePortComesInAdvance(t *testing.T) {
	c := warmed(t, func(p *peer) {
		p.ahead("RETR /1")
		p.hands("one")
		p.offers()
		p.hear("RETR /2") // and no EPSV
		p.hear("EPSV")
		p.hands("two")
		p.offers()
		p.hear("STOR /3") // the last one: no port is asked for
		d := p.accept()
		if b, err := io.ReadAll(d); err != nil || string(b) != "three" { // all of it before the 150
			t.Errorf("%q came, %v", b, err)
		}
		_ = d.Close()
		p.say("150 go on", "226 done")
		p.give("four")
	})
	for i, want := range []string{"one", "two"} {
		if got := get(t, c, fmt.Sprintf("/%d", i+1)); string(got) != want {
			t.Errorf("%q; want %q", got, want)
		}
	}
	c.Ahead(false)
	put(t, c, "/3", []byte("three"))
	if got := get(t, c, "/4"); string(got) != "four" {
		t.Errorf("%q", got)
	}
}

// A server that gives no port in advance, or takes it away, is not asked again, and no
// file is missed.
func TestPortsInAdvanceThatAreNoGood(t *testing.T) {
	for _, try := range []struct {
		name string
		play func(*peer)
	}{
		{"refused", func(p *peer) { p.say("425 No data ports are free.") }},
		{"unreadable", func(p *peer) { p.say("229 (|||99999|)") }},
		{"not there any more", func(p *peer) {
			p.offers()
			_ = p.data.Close()
			p.hear("RETR")
			p.hear("EPSV")
			p.say("425 Use PASV first.")
			p.offers()
			p.epsv()
			p.hear("RETR")
			p.hands("hello")
		}},
	} {
		t.Run(try.name, func(t *testing.T) {
			t.Parallel()
			c := warmed(t, func(p *peer) {
				p.ahead("RETR")
				p.hands("hello")
				try.play(p)
				p.give("hello")
				p.give("hello")
			})
			n := 3
			if strings.HasPrefix(try.name, "not") {
				n = 4
			}
			for range n {
				if got := get(t, c, "/f"); string(got) != "hello" {
					t.Fatalf("%q", got)
				}
			}
		})
	}
}

// A port is not used when it was told long ago: servers take it away.
func TestAnOldPortIsNotUsed(t *testing.T) {
	c := warmed(t, func(p *peer) {
		p.ahead("RETR")
		p.hands("hello")
		p.offers()
		p.ahead("RETR")
		p.hands("hello")
		p.offers()
	})
	get(t, c, "/f")
	c.ahead.ports[0].since = c.ahead.ports[0].since.Add(-aheadFor)
	if got := get(t, c, "/f"); string(got) != "hello" {
		t.Errorf("%q", got)
	}
}

// Replies stay with their commands whatever becomes of the transfer before the EPSV.
func TestFailuresBeforeAPortInAdvance(t *testing.T) {
	down := func(c *Conn) error {
		_, err := c.Receive(context.Background(), "/f", Get{Size: 5}, &sink{}, none)
		return err
	}
	for _, try := range []struct {
		name string
		play func(*peer)
		do   func(*Conn) error
		kind fault.Kind
		id   fault.ID
	}{
		{"a missing file", func(p *peer) {
			p.say("550 No such file.")
			p.offers()
		}, down, fault.NotFound, fault.IDNotFound},
		{"a short file", func(p *peer) {
			p.hands("hell")
			p.offers()
		}, down, fault.Cut, fault.IDShortFile},
		{"426", func(p *peer) {
			d := p.accept()
			p.say("150 here")
			_, _ = io.WriteString(d, "he")
			_ = d.Close()
			p.say("426 Failure writing network stream.")
			p.offers()
		}, down, fault.Cut, fault.IDDataLost},
		{"a listing that nobody wants to the end", func(p *peer) {
			d := p.accept()
			p.say("150 here")
			_, _ = io.WriteString(d, "-rw-r--r-- 1 a b 5 Jan 1 2020 a\r\n-rw-r--r-- 1 a b 5 Jan 1 2020 b\r\n")
			p.hear("ABOR")
			_ = d.Close()
			p.say("426 cut")
			p.offers()
			p.say("225 ABOR")
			p.hear("NOOP")
			p.say("200 ok")
		}, func(c *Conn) error {
			for range c.List(context.Background(), "/d") {
				break
			}
			return nil
		}, 0, ""},
		{"an upload that is refused while it comes", func(p *peer) {
			d := p.accept()
			_, _ = io.ReadFull(d, make([]byte, 5))
			p.say("553 Could not create file.")
			_ = d.Close()
			p.offers()
		}, func(c *Conn) error {
			_, err := c.Send(context.Background(), "/up", Put{}, from([]byte("hello")), none)
			return err
		}, fault.Denied, fault.IDPerm},
		{"a large upload that is refused", func(p *peer) {
			p.say("552 Disk full.")
			_ = p.data.Close()
			p.offers()
		}, func(c *Conn) error {
			_, err := c.Send(context.Background(), "/up", Put{}, from(make([]byte, 32<<20)), none)
			return err
		}, fault.NoSpace, fault.IDNoSpace},
	} {
		t.Run(try.name, func(t *testing.T) {
			t.Parallel()
			c := warmed(t, func(p *peer) {
				p.ahead("")
				try.play(p)
				for {
					line, err := p.rd.ReadString('\n')
					if err != nil {
						panic(hangUp{err})
					}
					switch verb, _, _ := strings.Cut(strings.TrimSpace(line), " "); verb {
					case "EPSV":
						p.offers()
					case "RETR":
						p.hands("hello")
					case "NOOP":
						p.say("200 ok")
					default: // CWD and LIST ask what a refusal means
						p.say("550 no")
					}
				}
			})
			m := c.opt.Memory
			m.set(&m.listAll, no)
			err := try.do(c)
			if try.id == "" && err != nil {
				t.Fatal(err)
			}
			if try.id != "" {
				wants(t, "the transfer", err, try.kind, try.id)
			}
			for range 2 {
				if got := get(t, c, "/f"); string(got) != "hello" {
					t.Fatalf("afterwards: %q", got)
				}
			}
		})
	}
}

// With our own server: every way of talking, files and listings in turn.
func TestPortsInAdvanceOfOurServer(t *testing.T) {
	for _, w := range ways() {
		advance(t, w, false)
		advance(t, w, true)
	}
}

// distant dials so that the server seems far away.
func distant(ctx context.Context, network, addr string) (net.Conn, error) {
	time.Sleep(farAway)
	return new(net.Dialer).DialContext(ctx, network, addr)
}

func advance(t *testing.T, w way, far bool) {
	t.Run(fmt.Sprintf("%s, far %v", w.name, far), func(t *testing.T) {
		t.Parallel()
		s := newSite(t, w.rules)
		var said []string
		opt := as(w.opt, s.addr)
		if far {
			opt.Dial = distant
		}
		opt.Trace = &Trace{Command: func(line string) { said = append(said, line) }}
		c := dial(t, opt)
		c.Ahead(true)
		put(t, c, "/a", []byte("hello")) // in steps
		said = nil
		for i := range 20 {
			name := fmt.Sprintf("/%d", i)
			put(t, c, name, []byte(name))
			if got := get(t, c, name); string(got) != name {
				t.Fatalf("%q", got)
			}
			if n := len(list(t, c, "/")); n != i+2 {
				t.Fatalf("%d names; want %d", n, i+2)
			}
			_, err := c.Receive(within(t), "/none", Get{Size: -1}, &sink{}, none)
			wants(t, "a missing file", err, fault.NotFound, fault.IDNotFound)
			if _, err := c.Finish(within(t), name, Finish{Time: time.Now(), Name: name + "x"}); err != nil {
				t.Fatal(err)
			}
			put(t, c, name+"y", make([]byte, 3<<20))
			if err := c.Remove(within(t), name+"y"); err != nil {
				t.Fatal(err)
			}
		}
		asked := 0
		for _, line := range said {
			if strings.HasPrefix(line, "EPSV") {
				asked++
			}
		}
		// One more than transfers, or two over a distance, but where the first one brought a
		// port already: a slow machine is taken for one that is far away.
		if !opt.Active && !opt.OneByOne && (asked < 20*5 || asked > 20*5+2) {
			t.Errorf("EPSV was sent %d times for %d transfers", asked, 20*5)
		}
		if next := slices.Contains(said, "EPSV NEXT"); far && !opt.Active && !opt.OneByOne && !next {
			t.Errorf("no port was asked for in advance: %q", said[:10])
		}
	})
}

// Who ends a transfer finds the connection in step, or lost.
func TestATransferWithAPortInAdvanceThatEndsEarly(t *testing.T) {
	endsEarly(t, Options{Plain: true})
	endsEarly(t, Options{Plain: true, Dial: distant})
}

func endsEarly(t *testing.T, opt Options) {
	s := newSite(t, ftpserver.Rules{})
	if err := s.mem.WriteFile("/big", make([]byte, 64<<20)); err != nil {
		t.Fatal(err)
	}
	c := dial(t, as(opt, s.addr))
	c.Ahead(true)
	put(t, c, "/small", []byte("hello"))
	for range 5 {
		enough := errors.New("enough")
		_, err := c.Receive(within(t), "/big", Get{Size: -1}, &fullDisk{err: enough}, transfer.Options{})
		if !errors.Is(err, enough) {
			t.Fatalf("Receive: %v", err)
		}
		if c.Err() != nil {
			t.Fatalf("the connection is lost: %v", c.Err())
		}
		if got := get(t, c, "/small"); string(got) != "hello" {
			t.Fatalf("%q", got)
		}
	}
}

// A fullDisk takes nothing.
type fullDisk struct{ err error }

func (f *fullDisk) Offset() int64 { return 0 }

func (f *fullDisk) WriteAt([]byte, int64) (int, error) { return 0, f.err }
