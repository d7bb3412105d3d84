package ftpclient

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"dray/account"
	"dray/fault"
	"dray/ftpserver"
)

// Passive tells the port that a transfer would use, and connects to nothing.
func TestPassive(t *testing.T) {
	for _, row := range []struct {
		name, verb, reply string
		kind              fault.Kind
		id                fault.ID
		told, used        string
	}{
		{"EPSV", "EPSV", "229 ok (|||40001|)", 0, "", "", "127.0.0.1:40001"},
		{"EPSV with an address that nobody asked for", "EPSV", "229 ok (|1|192.0.2.1|40001|)", 0, "", "", "127.0.0.1:40001"},
		{"PASV", "PASV", "227 ok (127,0,0,1,156,65)", 0, "", "127.0.0.1:40001", "127.0.0.1:40001"},
		{"PASV elsewhere", "PASV", "227 ok (192,168,1,2,156,65)", 0, "", "192.168.1.2:40001", "127.0.0.1:40001"},
		{"PASV of a server that knows no address", "PASV", "227 ok (0,0,0,0,156,65)", 0, "", "0.0.0.0:40001", "127.0.0.1:40001"},
		{"unknown", "EPSV", "500 what?", fault.NoData, fault.IDNoDataPort, "", ""},
		{"switched off", "PASV", "502 no", fault.NoData, fault.IDNoDataPort, "", ""},
		{"another family", "EPSV", "522 use (1)", fault.NoData, fault.IDNoDataPort, "", ""},
		{"no port is free", "PASV", "425 no free port", fault.NoData, fault.IDPool, "", ""},
		{"no port in it", "EPSV", "229 ok", fault.NoData, fault.IDNoDataPort, "", ""},
		{"no number", "PASV", "227 ok (999,0,0,1,156,65)", fault.NoData, fault.IDNoDataPort, "", ""},
		{"busy", "PASV", "421 bye", fault.Closing, fault.IDLost, "", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			addr := script(t, func(p *peer) {
				p.in()
				p.hear(row.verb)
				p.say(row.reply)
				if row.id == "" || row.kind == fault.NoData {
					p.hear("NOOP") // the dialogue goes on
					p.say("200 ok")
				}
			})
			c := dial(t, as(Options{Plain: true}, addr))
			port, err := c.Passive(within(t), row.verb)
			if row.id != "" {
				wants(t, row.verb, err, row.kind, row.id)
				if row.kind != fault.NoData {
					return
				}
			} else if err != nil {
				t.Fatal(err)
			}
			if row.told != "" && port.Told.String() != row.told || row.used != "" && port.Used.String() != row.used {
				t.Errorf("told %v, used %v; want %s and %s", port.Told, port.Used, row.told, row.used)
			}
			if err := c.Noop(within(t)); err != nil {
				t.Error(err)
			}
		})
	}
}

// A port is reached from the address of the control connection, while that does
// something else, and no longer than is said.
func TestReach(t *testing.T) {
	s := newSite(t, ftpserver.Rules{})
	c := dial(t, as(Options{Plain: true}, s.addr))
	for _, verb := range []string{"EPSV", "PASV", "EPSV"} {
		port, err := c.Passive(within(t), verb)
		if err != nil {
			t.Fatal(err)
		}
		nc, err := c.Reach(within(t), port.Used, time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if from, _ := netip.ParseAddrPort(nc.LocalAddr().String()); from.Addr() != addrOf(c.LocalAddr()) {
			t.Errorf("it comes from %v", from)
		}
		_ = nc.Close()
	}
	put(t, c, "after", noise(1000))
	if len(get(t, c, "after")) != 1000 {
		t.Error("a transfer behind it fails")
	}
	slow := dial(t, as(Options{Plain: true, Dial: func() func(context.Context, string, string) (net.Conn, error) {
		var n atomic.Int32
		return func(ctx context.Context, network, addr string) (net.Conn, error) {
			if n.Add(1) > 1 {
				<-ctx.Done()
				return nil, context.Cause(ctx)
			}
			return (&net.Dialer{}).DialContext(ctx, network, addr)
		}
	}()}, s.addr))
	began := time.Now()
	var timeout net.Error
	if _, err := slow.Reach(within(t), netip.MustParseAddrPort("127.0.0.1:9"), 50*time.Millisecond); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("Reach = %v", err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}

// Open says nothing of who logs in, and Login goes on from there.
func TestOpenThenLogin(t *testing.T) {
	heard := make(chan string, 10)
	addr := script(t, func(p *peer) {
		p.say("220 ready")
		heard <- p.hear("FEAT")
		p.say("500 no")
		heard <- p.hear("AUTH TLS")
		p.say("500 no")
		p.login()
	})
	var greeting string
	c, err := Open(within(t), as(Options{Plain: true, Greeted: func(ctx context.Context, c *Conn) {
		greeting = c.Greeting().Text
		_, _ = c.Quote(ctx, "FEAT")
	}}, addr))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if len(heard) != 2 || greeting != "ready" {
		t.Errorf("%d commands, greeting %q", len(heard), greeting)
	}
	if err := c.Login(within(t)); err != nil {
		t.Error(err)
	}
}

// What is said behind the greeting ends no connection but one that it breaks.
func TestGreetedOnAConnectionThatBreaks(t *testing.T) {
	addr := script(t, func(p *peer) {
		p.say("220 ready")
		p.hear("FEAT")
	})
	c, err := Open(within(t), as(Options{Plain: true, Greeted: func(ctx context.Context, c *Conn) { _, _ = c.Quote(ctx, "FEAT") }}, addr))
	if err == nil {
		c.Close()
	}
	wants(t, "Open", err, fault.Unreachable, fault.IDLost)
}

// Whatever a server is, and however Open ended, the password is not sent by it.
func TestOpenSendsNoPassword(t *testing.T) {
	const marker = "pass-marker-1f8a"
	for _, greeting := range []string{"220 (vsFTPd 3.0.5)", "220 dray", "220 Pure-FTPd", "331 password?", "230 in"} {
		var seen atomic.Bool
		addr := script(t, func(p *peer) {
			p.say(greeting)
			for {
				line, err := p.rd.ReadString('\n')
				if strings.Contains(line, marker) || strings.HasPrefix(line, "USER") {
					seen.Store(true)
				}
				if err != nil {
					return
				}
				p.say("500 no", "331 password?")
			}
		})
		o := as(Options{Plain: true}, addr)
		o.Password = account.NewSecret(marker)
		if c, err := Open(within(t), o); err == nil {
			c.Close()
		}
		if seen.Load() {
			t.Errorf("behind %q the login was sent", greeting)
		}
	}
}

// NoReuse begins a session of its own on each data connection.
func TestNoReuse(t *testing.T) {
	s := newSite(t, ftpserver.Rules{TLS: serverTLS(), Session: ftpserver.SessionRequire})
	for _, no := range []bool{false, true} {
		c := dial(t, as(Options{TLS: trusting(), NoReuse: no}, s.addr))
		var err error
		for _, e := range c.List(within(t), "/") {
			err = e
		}
		if (err != nil) != no {
			t.Errorf("NoReuse %v: %v", no, err)
		}
		if no {
			wants(t, fmt.Sprintf("NoReuse %v", no), err, fault.NoData, fault.IDTLSReuse)
		}
	}
}
