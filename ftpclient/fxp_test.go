package ftpclient

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"dray/fault"
	"dray/ftp"
	"dray/ftpserver"
)

// A bench of two of our servers with FXP, and a connection to each that sees when data
// comes here.
func twoSites(t *testing.T, rules func() ftpserver.Rules, opt Options) (from, to *Conn, a, b *site, data *atomic.Int64) {
	t.Helper()
	data = new(atomic.Int64)
	opt.Trace = &Trace{Data: func(string) { data.Add(1) }}
	a, b = newSite(t, rules()), newSite(t, rules())
	return dial(t, as(opt, a.addr)), dial(t, as(opt, b.addr)), a, b, data
}

// Every way between two of our servers moves the bytes, none of them here, and leaves
// connections with which our own transfers go on.
func TestFilesGoFromServerToServer(t *testing.T) {
	want := noise(300_000)
	for _, try := range []struct {
		name  string
		rules func() ftpserver.Rules
		opt   Options
		ways  int
	}{
		{"clear", func() ftpserver.Rules { return ftpserver.Rules{Allow: []string{"FXP"}} }, Options{Plain: true}, 2},
		{"TLS", func() ftpserver.Rules { return ftpserver.Rules{Allow: []string{"FXP"}, TLS: serverTLS()} }, Options{TLS: trusting()}, 4},
		{"implicit TLS", func() ftpserver.Rules {
			return ftpserver.Rules{Allow: []string{"FXP"}, TLS: serverTLS(), Implicit: true}
		}, Options{Mode: TLSImplicit, TLS: trusting()}, 4},
		{"one command at a time", func() ftpserver.Rules { return ftpserver.Rules{Allow: []string{"FXP"}, TLS: serverTLS()} }, Options{TLS: trusting(), OneByOne: true}, 4},
	} {
		t.Run(try.name, func(t *testing.T) {
			from, to, _, _, data := twoSites(t, try.rules, try.opt)
			put(t, from, "a", want)
			put(t, from, "empty", nil)
			ways, err := Ways(from, to)
			if err != nil || len(ways) != try.ways {
				t.Fatalf("Ways = %v, %v; want %d", ways, err, try.ways)
			}
			if !ways[0].CPSV && try.opt.TLS != nil {
				t.Errorf("the first way is %v; want CPSV", ways[0])
			}
			ways = append(ways, Way{Listens: Source, Client: Source}, Way{Listens: Target, Client: Target})
			for i, w := range ways {
				if try.opt.TLS == nil && w.Client != Neither {
					continue
				}
				before := data.Load()
				for _, name := range []string{"a", "empty"} {
					if err := Pass(within(t), w, from, name, to, fmt.Sprint(name, i), Passing{Idle: 5 * time.Second, Size: -1}); err != nil {
						t.Fatalf("Pass, %v: %v", w, err)
					}
				}
				if n := data.Load() - before; n != 0 {
					t.Errorf("Pass, %v: %d data connections came here", w, n)
				}
				if got := get(t, to, fmt.Sprint("a", i)); string(got) != string(want) {
					t.Errorf("Pass, %v: %d bytes came that are not the %d sent", w, len(got), len(want))
				}
				if got := get(t, to, fmt.Sprint("empty", i)); len(got) != 0 {
					t.Errorf("Pass, %v: %d bytes came of none", w, len(got))
				}
				list(t, from, "")
			}
		})
	}
}

// Over IPv6 the two have EPSV and EPRT.
func TestFilesGoFromServerToServerOverIPv6(t *testing.T) {
	for _, secure := range []bool{false, true} {
		rules, opt := ftpserver.Rules{Allow: []string{"FXP"}}, Options{Plain: true}
		if secure {
			rules.TLS, opt = serverTLS(), Options{TLS: trusting()}
		}
		a, b := newSiteAt(t, rules, "[::1]:0"), newSiteAt(t, rules, "[::1]:0")
		var said strings.Builder
		opt.Trace = &Trace{Command: func(line string) { said.WriteString(line + "\n") }}
		from, to := dial(t, as(opt, a.addr)), dial(t, as(opt, b.addr))
		put(t, from, "a", noise(5000))
		ways, err := Ways(from, to)
		if err != nil {
			t.Fatal(err)
		}
		said.Reset()
		for _, w := range ways {
			if err := Pass(within(t), w, from, "a", to, "b", Passing{}); err != nil {
				t.Errorf("Pass, %v: %v", w, err)
			}
		}
		for _, want := range []string{"EPSV\n", "EPRT |2|::1|"} {
			if !strings.Contains(said.String(), want) {
				t.Errorf("no %q in:\n%s", want, said.String())
			}
		}
		for _, no := range []string{"PASV", "PORT", "CPSV"} {
			if strings.Contains(said.String(), no) {
				t.Errorf("%s over IPv6:\n%s", no, said.String())
			}
		}
		if got := get(t, to, "b"); len(got) != 5000 {
			t.Errorf("%d bytes came of 5000", len(got))
		}
	}
}

// Clear text takes the word of who runs us, and nothing that a way through here would
// protect goes without TLS.
func TestNoWayIsTakenThatGivesDataAway(t *testing.T) {
	secure := ftpserver.Rules{Allow: []string{"FXP"}, TLS: serverTLS()}
	clear := ftpserver.Rules{Allow: []string{"FXP"}}
	noSwitch := ftpserver.Rules{TLS: serverTLS()}
	for _, try := range []struct {
		name     string
		from, to ftpserver.Rules
		a, b     Options
		why      string
	}{
		{"TLS and none", secure, clear, Options{TLS: trusting(), Plain: true}, Options{Plain: true}, "one of them encrypts"},
		{"none and TLS", clear, secure, Options{Plain: true}, Options{TLS: trusting(), Plain: true}, "one of them encrypts"},
		{"TLS without SSCN and CPSV", noSwitch, noSwitch, Options{TLS: trusting(), Plain: true}, Options{TLS: trusting(), Plain: true}, "SSCN or CPSV"},
	} {
		from, to := dial(t, as(try.a, newSite(t, try.from).addr)), dial(t, as(try.b, newSite(t, try.to).addr))
		ways, err := Ways(from, to)
		wants(t, try.name, err, fault.Unsupported, fault.IDNoDirect)
		if len(ways) != 0 || !strings.Contains(fmt.Sprint(fault.Of(err).Facts...), try.why) {
			t.Errorf("%s: %v, %v; want %q", try.name, ways, fault.Of(err).Facts, try.why)
		}
	}
	// A login by name in clear text that nobody allowed is anonymous.
	from, to := &Conn{host: "a"}, &Conn{host: "b", opt: Options{Plain: true}}
	if ways, err := Ways(from, to); len(ways) != 0 || fault.Of(err).ID != fault.IDNoDirect {
		t.Errorf("clear text that one side allows: %v, %v", ways, err)
	}
}

func TestMeeting(t *testing.T) {
	at := netip.MustParseAddr
	for _, try := range []struct {
		name                    string
		told, listens, connects string
		want                    string // "": none
	}{
		{"the one by which it is reached", "198.51.100.7", "198.51.100.7", "203.0.113.9", "198.51.100.7"},
		{"a private one is of a network behind its router", "192.168.1.5", "198.51.100.7", "203.0.113.9", "198.51.100.7"},
		{"a public one is of a machine that has several", "198.51.100.8", "198.51.100.7", "203.0.113.9", "198.51.100.8"},
		{"the public one of a server that we reach at its private one", "198.51.100.7", "10.0.0.5", "203.0.113.9", "198.51.100.7"},
		{"both near us", "198.51.100.7", "10.0.0.5", "10.0.0.6", "10.0.0.5"},
		{"one that only we can reach", "10.0.0.5", "10.0.0.5", "203.0.113.9", ""},
		{"behind the NAT of a carrier", "100.64.0.5", "100.64.0.5", "203.0.113.9", ""},
		{"our loopback is not that of the other", "127.0.0.1", "127.0.0.1", "203.0.113.9", ""},
		{"our loopback is not that of a neighbour", "127.0.0.1", "127.0.0.1", "10.0.0.6", ""},
		{"all on one machine", "127.0.0.2", "127.0.0.2", "127.0.0.3", "127.0.0.2"},
		{"nobody's", "0.0.0.0", "198.51.100.7", "203.0.113.9", "198.51.100.7"},
		{"everybody's", "255.255.255.255", "198.51.100.7", "203.0.113.9", ""},
		{"many", "224.0.0.1", "198.51.100.7", "203.0.113.9", ""},
		{"through a proxy, which has another address", "198.51.100.7", "", "203.0.113.9", "198.51.100.7"},
		{"through a proxy, into a network of its own", "10.0.0.5", "", "203.0.113.9", ""},
		{"to one behind a proxy, from a near one", "10.0.0.5", "10.0.0.5", "", ""},
		{"IPv6", "2001:db8::1", "2001:db8::1", "2001:db8::2", "2001:db8::1"},
		{"IPv6 of a link", "fe80::1", "fe80::1", "fe80::2", ""},
	} {
		parse := func(s string) (a netip.Addr) {
			if s != "" {
				a = at(s)
			}
			return a
		}
		got, ok := meeting(parse(try.told), parse(try.listens), parse(try.connects))
		if ok != (try.want != "") || ok && got != at(try.want) {
			t.Errorf("%s: meeting(%s, %s, %s) = %v, %v; want %s", try.name, try.told, try.listens, try.connects, got, ok, try.want)
		}
	}
}

func FuzzMeeting(f *testing.F) {
	f.Add([]byte{1, 2, 3, 4}, []byte{127, 0, 0, 1}, []byte{10, 0, 0, 1})
	f.Fuzz(func(t *testing.T, a, b, c []byte) {
		told, _ := netip.AddrFromSlice(a)
		listens, _ := netip.AddrFromSlice(b)
		connects, _ := netip.AddrFromSlice(c)
		at, ok := meeting(told.Unmap(), listens.Unmap(), connects.Unmap())
		if !ok {
			return
		}
		if at != told.Unmap() && at != listens.Unmap() {
			t.Errorf("%v is the address of nobody who said one", at)
		}
		if at.IsLoopback() && !connects.Unmap().IsLoopback() || near(at) && !near(connects.Unmap()) {
			t.Errorf("%v is sent to %v, which is another machine for it", connects, at)
		}
	})
}

// scripted is the connection to a server that plays its part once it is in, and the
// end of it.
func scripted(t *testing.T, play func(p *peer)) *Conn {
	t.Helper()
	return dial(t, hurried(script(t, func(p *peer) {
		p.in()
		play(p)
	})))
}

// part is that of one of two servers in a pass, the source with RETR or the target with
// STOR. end is what it says behind its 150.
func part(verb string, end func(*peer)) func(*peer) {
	return func(p *peer) {
		if verb == "RETR" {
			p.hear("PASV")
			p.say(listens)
		} else {
			p.hear("PORT")
			p.say("200 ok")
		}
		p.hear(verb)
		p.say("150 go")
		end(p)
		p.rest()
	}
}

// listens is the answer of a server to PASV that nobody will connect to.
const listens = "227 Entering Passive Mode (127,0,0,1,200,10)."

// What two servers may say, in the way where the source listens.
func TestWhatTwoServersSayToAPass(t *testing.T) {
	says := func(want string, lines ...string) func(*peer) {
		return func(p *peer) { p.hear(want); p.say(lines...) }
	}
	quiet := func(want string) func(*peer) { return says(want) }
	pasv, port := says("PASV", listens), says("PORT 127,0,0,1,200,10", "200 ok")
	for _, try := range []struct {
		name     string
		from, to []func(*peer)
		o        Passing
		kind     fault.Kind
		id       fault.ID // "": none
		words    string   // of the servers
		lost     bool     // one of the connections is
	}{
		{name: "all is well",
			from: []func(*peer){pasv, says("RETR a", "150 go", "226 done")}, to: []func(*peer){port, says("STOR b", "150 go", "226 done")}},
		{name: "250 and no word before it",
			from: []func(*peer){pasv, says("RETR a", "226 done")}, to: []func(*peer){port, says("STOR b", "250 done")}},
		{name: "PASV refused", from: []func(*peer){says("PASV", "502 no")}, kind: fault.Unsupported, id: fault.IDNoDirect, words: "502 no"},
		{name: "PASV without an address", from: []func(*peer){says("PASV", "227 here")}, kind: fault.Unsupported, id: fault.IDNoDirect, words: "227 here"},
		{name: "PASV at the port of a service", from: []func(*peer){says("PASV", "227 (127,0,0,1,0,22)")}, kind: fault.Unsupported, id: fault.IDNoDirect, words: "227"},
		{name: "the address of a network behind its router",
			from: []func(*peer){says("PASV", "227 (10,0,0,1,200,10)"), says("RETR a", "226 done")}, to: []func(*peer){port, says("STOR b", "226 done")}},
		{name: "no port free", from: []func(*peer){says("PASV", "425 no data ports are free")}, kind: fault.NoData, id: fault.IDPool},
		{name: "PORT refused",
			from: []func(*peer){pasv}, to: []func(*peer){says("PORT", "500 Illegal PORT command.")}, kind: fault.Unsupported, id: fault.IDNoDirect, words: "500 Illegal PORT command."},
		{name: "the listening one lets no stranger in",
			from: []func(*peer){pasv, says("RETR a", "425 Security: Bad IP connecting.")}, to: []func(*peer){port, says("STOR b", "150 go", "426 gone")},
			kind: fault.Unsupported, id: fault.IDNoDirect, words: "425 Security"},
		{name: "the connecting one does not get there",
			from: []func(*peer){pasv, quiet("RETR a")}, to: []func(*peer){port, says("STOR b", "425 can't connect")}, kind: fault.Unsupported, id: fault.IDNoDirect, words: "425 can't connect"},
		{name: "nobody says anything to the transfer",
			from: []func(*peer){pasv, quiet("RETR a")}, to: []func(*peer){port, quiet("STOR b")}, kind: fault.NoData, id: fault.IDNoDirect},
		{name: "the source is missing",
			from: []func(*peer){pasv, says("RETR a", "550 a: No such file or directory.")}, to: []func(*peer){port, quiet("STOR b")}, kind: fault.NotFound, id: fault.IDNotFound, words: "550 a:"},
		{name: "the target is full, which the source calls 426",
			from: []func(*peer){pasv, says("RETR a", "150 go", "426 gone")}, to: []func(*peer){port, says("STOR b", "150 go", "452 No space left.")}, kind: fault.NoSpace, id: fault.IDNoSpace, words: "452"},
		{name: "one says 226 and the other 426",
			from: []func(*peer){pasv, says("RETR a", "150 go", "426 it broke")}, to: []func(*peer){port, says("STOR b", "150 go", "226 done")},
			kind: fault.Unsupported, id: fault.IDNoDirect, words: "426 it broke"},
		{name: "one says 226 and the other nothing",
			from: []func(*peer){pasv, says("RETR a", "150 go", "226 done")}, to: []func(*peer){port, says("STOR b", "150 go")}, kind: fault.Stalled, id: fault.IDNoAnswer, lost: true},
		{name: "no data moves",
			from: []func(*peer){pasv, says("RETR a", "150 go")}, to: []func(*peer){port, says("STOR b", "150 go")},
			o: Passing{Idle: 100 * time.Millisecond, Moved: func(context.Context) (int64, bool) { return 5, true }}, kind: fault.Stalled, id: fault.IDStall},
		{name: "nobody knows whether data moves",
			from: []func(*peer){pasv, says("RETR a", "150 go")}, to: []func(*peer){port, says("STOR b", "150 go")},
			o: Passing{Idle: 100 * time.Millisecond, Size: 10}, kind: fault.Stalled, id: fault.IDStall},
		{name: "150 without an end",
			from: []func(*peer){pasv, says("RETR a", "150 1", "150 2", "150 3", "150 4", "150 5", "150 6", "150 7", "150 8", "150 9", "150 10")}, to: []func(*peer){port, says("STOR b", "150 go")},
			kind: fault.Unreachable, id: fault.IDBadReply, lost: true},
		{name: "one goes", from: []func(*peer){pasv, says("RETR a", "150 go", "421 I stop")}, to: []func(*peer){port, says("STOR b", "150 go")}, kind: fault.Closing, id: fault.IDLost, words: "421 I stop", lost: true},
	} {
		t.Run(try.name, func(t *testing.T) {
			t.Parallel()
			play := func(steps []func(*peer)) func(*peer) {
				return func(p *peer) {
					for _, step := range steps {
						step(p)
					}
					p.rest()
				}
			}
			from, to := scripted(t, play(try.from)), scripted(t, play(try.to))
			if try.o.Size == 0 {
				try.o.Size = -1
			}
			soon(t, "Pass", func() {
				err := Pass(within(t), Way{Listens: Source}, from, "a", to, "b", try.o)
				if try.id == "" {
					if err != nil {
						t.Errorf("Pass: %v", err)
					}
				} else {
					wants(t, "Pass", err, try.kind, try.id)
				}
				var said *ReplyError
				if try.words != "" && (!errors.As(err, &said) || !strings.Contains(said.Said(), try.words)) {
					t.Errorf("Pass: %v; want the words %q", err, try.words)
				}
				if try.lost {
					if from.Err() == nil && to.Err() == nil {
						t.Error("both connections are said to be in step")
					}
					return
				}
				for _, c := range []*Conn{from, to} { // in step
					if err := c.Noop(within(t)); err != nil {
						t.Errorf("Noop behind it: %v", err)
					}
				}
			})
		})
	}
}

// A transfer that moves is waited for, however long it takes; also when the source has
// sent all, and the line to the target is slow.
func TestASlowPassIsWaitedFor(t *testing.T) {
	for _, ahead := range []bool{false, true} {
		slowPass(t, ahead)
	}
}

func slowPass(t *testing.T, ahead bool) {
	end := make(chan bool)
	from := scripted(t, part("RETR", func(p *peer) {
		if !ahead {
			<-end
		}
		p.say("226 done")
	}))
	to := scripted(t, part("STOR", func(p *peer) {
		<-end
		p.say("226 done")
	}))
	asked := 0
	err := Pass(within(t), Way{Listens: Source}, from, "a", to, "b", Passing{Idle: 50 * time.Millisecond, Moved: func(context.Context) (int64, bool) {
		if asked++; asked == 5 {
			close(end)
		}
		return int64(asked), true
	}})
	if err != nil || asked < 5 {
		t.Errorf("Pass = %v, asked %d times; want 5", err, asked)
	}
}

// Who ends a pass gets both connections back, or loses them.
func TestAPassIsEnded(t *testing.T) {
	ctx, cancel := context.WithCancelCause(within(t))
	why := errors.New("enough")
	var opened atomic.Int32
	end := func(p *peer) {
		if opened.Add(1) == 2 {
			cancel(why)
		}
		p.hear("ABOR")
		p.say("426 ended", "226 aborted")
	}
	from, to := scripted(t, part("RETR", end)), scripted(t, part("STOR", end))
	if err := Pass(ctx, Way{Listens: Source}, from, "a", to, "b", Passing{}); !errors.Is(err, why) {
		t.Errorf("Pass = %v; want %v", err, why)
	}
	for _, c := range []*Conn{from, to} {
		if err := c.Noop(within(t)); err != nil {
			t.Errorf("Noop behind it: %v", err)
		}
	}
}

// A server that stays TLS client would refuse our next data connection.
func TestSSCNThatIsNotTakenBack(t *testing.T) {
	a := script(t, func(p *peer) {
		p.inTLS("SSCN")
		p.hear("SSCN ON")
		p.say("200 SSCN:CLIENT METHOD")
		p.hear("PASV")
		p.say("502 no")
		p.hear("SSCN OFF")
		p.say("500 what?")
		p.rest()
	})
	b := script(t, func(p *peer) {
		p.inTLS()
		p.rest()
	})
	from, to := dial(t, hurried(a)), dial(t, hurried(b))
	ways, err := Ways(from, to)
	if err != nil || len(ways) != 2 || ways[0] != (Way{Listens: Source, Client: Source}) || ways[1] != (Way{Listens: Target, Client: Source}) {
		t.Fatalf("Ways = %v, %v", ways, err)
	}
	wants(t, "Pass", Pass(within(t), ways[0], from, "a", to, "b", Passing{}), fault.Unsupported, fault.IDNoDirect)
	if from.Err() == nil || to.Err() != nil {
		t.Errorf("the connections: %v, %v; want the first to be lost", from.Err(), to.Err())
	}
}

// A server of ours copies its own files where that is switched on, and says so.
func TestAServerCopiesByItself(t *testing.T) {
	c := dial(t, as(Options{Plain: true}, newSite(t, ftpserver.Rules{Allow: []string{"COPY"}}).addr))
	put(t, c, "a b", noise(100_000))
	for _, to := range []string{"c d", "c d", "dir"} {
		if to == "dir" {
			if err := c.Mkdir(within(t), to); err != nil {
				t.Fatal(err)
			}
			if err := c.Copy(within(t), "a b", to); err == nil {
				t.Error("Copy onto a directory is done")
			}
			continue
		}
		if err := c.Copy(within(t), "a b", to); err != nil {
			t.Fatal(err)
		}
		if got := get(t, c, to); string(got) != string(noise(100_000)) {
			t.Errorf("Copy: %d other bytes", len(got))
		}
	}
	wants(t, "Copy of nothing", c.Copy(within(t), "no", "x"), fault.NotFound, fault.IDNotFound)
	wants(t, "Copy where it is off", dial(t, as(Options{Plain: true}, newSite(t, ftpserver.Rules{}).addr)).Copy(within(t), "a", "b"), fault.Unsupported, fault.IDUnsupported)
}

// FuzzPass has two servers that say anything: pieces between NULs, one for each line
// they hear. No pass may stay or come here, and one that is done was called so by both.
func FuzzPass(f *testing.F) {
	in := "220 hi\x00500 no\x00331 go\x00230 in\x00211-F\r\n SSCN\r\n211 End\x00200 I\x00"
	port := "227 (93,184,216,34,200,10)\x00"
	f.Add([]byte(in+port+"150 go\r\n226 done"), []byte(in+"200 ok\x00150 go\r\n226 done"))
	f.Add([]byte(in+port+"150 go\r\n426 no"), []byte(in+"200 ok\x00150 go\r\n226 done"))
	f.Add([]byte(in+port+"\x00226 aborted\x00200 ok"), []byte(in+"500 Illegal PORT command."))
	f.Add([]byte(in+"227 (127,0,0,1,0,22)"), []byte(in))
	f.Add([]byte(in+port+"150\r\n150\r\n150\r\n150\r\n150\r\n150\r\n150\r\n150\r\n150"), []byte(in+"200 ok\x00421 bye"))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		if len(a) > 1<<12 || len(b) > 1<<12 {
			return
		}
		var all sync.WaitGroup
		defer all.Wait()
		var conns []*Conn
		var last [2]atomic.Int64
		for i, control := range [][]byte{a, b} {
			dials := 0
			c, err := Dial(t.Context(), Options{
				Addr: "peer.example:21", Plain: true, User: "alice", Proxied: true, TLS: trusting(),
				Connect: 50 * time.Millisecond, Timeout: 50 * time.Millisecond, DataWait: 50 * time.Millisecond,
				Trace: &Trace{Reply: func(r ftp.Reply) { last[i].Store(int64(r.Code)) }},
				Dial: func(context.Context, string, string) (net.Conn, error) {
					if dials++; dials > 1 {
						t.Error("a data connection is made here")
					}
					here, there := net.Pipe()
					all.Go(func() {
						defer there.Close()
						babble(there, control)
					})
					return here, nil
				},
			})
			if err != nil {
				return
			}
			defer c.Close()
			conns = append(conns, c)
		}
		start := time.Now()
		err := Pass(t.Context(), Way{Listens: Source}, conns[0], "a", conns[1], "b", Passing{Idle: 20 * time.Millisecond, Size: 5})
		if took := time.Since(start); took > 20*time.Second {
			t.Fatalf("it took %v", took)
		}
		for i := range last {
			if code := last[i].Load(); err == nil && (code < 200 || code >= 300) {
				t.Errorf("done, and the last word of server %d was %d", i, code)
			}
		}
	})
}
