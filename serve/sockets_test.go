package serve

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"dray/account"
	"dray/config"
)

// opened is a socket as another process hands it in.
func opened(t *testing.T) (l net.Listener, port uint16) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l, netip.MustParseAddrPort(l.Addr().String()).Port()
}

func TestSocketsThatWereHandedInAreServed(t *testing.T) {
	tests := []struct {
		name   string
		named  string // how the other process calls the first socket
		listen func(port uint16) []string
	}{
		{"by the name of the listener, whatever its port", "ftp", func(uint16) []string { return []string{":2121"} }},
		{"by its port, without a name", "", func(port uint16) []string { return []string{fmt.Sprint(":", port)} }},
		{"by its port, under a name that no listener has", "dray.socket", func(port uint16) []string { return []string{fmt.Sprint("127.0.0.1:", port)} }},
		{"by one of its ports", "", func(port uint16) []string { return []string{":2121", fmt.Sprint("[::ffff:127.0.0.1]:", port)} }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := site(t)
			l, port := opened(t)
			c.Listeners[0].Listen = tt.listen(port)
			c.Listeners[0].Banner = "handed in"
			r, _, _ := run(t, Setup{Config: c, Sockets: map[string][]net.Listener{tt.named: {l}}})
			if got := addrsOf(r); len(got) != 2 || got[0] != l.Addr().String() {
				t.Fatalf("it serves %v, not %v", got, l.Addr())
			}
			dial(t, l.Addr().String()).want("220 handed in")

			// The process that opened it keeps it, so a reload must too.
			for _, banner := range []string{"second", "third"} {
				c.Listeners = slices.Clone(c.Listeners)
				c.Listeners[0].Banner = banner
				reload(t, r, c)
				if got := r.serving[0].l; got != l || len(r.serving) != 2 {
					t.Fatalf("after a reload it serves %v", addrsOf(r))
				}
				dial(t, l.Addr().String()).want("220 " + banner)
			}
		})
	}
}

// systemd accepts connections before the server is there: the first of them waits
// in the queue of the socket.
func TestAConnectionThatCameBeforeTheStartIsServed(t *testing.T) {
	c := site(t)
	l, _ := opened(t)
	early := dial(t, l.Addr().String())
	run(t, Setup{Config: c, Sockets: map[string][]net.Listener{"ftp": {l}}})
	early.want("220")
}

func TestAListenerMayHaveSeveralSockets(t *testing.T) {
	c := site(t)
	a, _ := opened(t)
	b, _ := opened(t)
	r, _, _ := run(t, Setup{Config: c, Sockets: map[string][]net.Listener{"ftp": {a, b}}})
	for _, l := range []net.Listener{a, b} {
		dial(t, l.Addr().String()).want("220")
	}
	if len(r.serving) != 3 {
		t.Errorf("it serves %v", addrsOf(r))
	}
}

func TestASocketThatNoListenerWantsIsTold(t *testing.T) {
	c := site(t)
	l, _ := opened(t)
	r, _, j := run(t, Setup{Config: c, Sockets: map[string][]net.Listener{"sftp": {l}}})
	if answers(l.Addr().String()) {
		t.Error("nobody serves it, and clients wait")
	}
	if log := j.String(); !strings.Contains(log, "a socket that was handed in is for no listener") || !strings.Contains(log, "socket=sftp") {
		t.Errorf("the log does not tell:\n%s", log)
	}
	if len(r.serving) != 2 {
		t.Errorf("it serves %v", addrsOf(r))
	}
}

func TestASocketWhoseListenerIsRemovedIsClosedAndTold(t *testing.T) {
	c := site(t)
	l, _ := opened(t)
	r, _, j := run(t, Setup{Config: c, Sockets: map[string][]net.Listener{"ftp": {l}}})
	c.Listeners = c.Listeners[1:]
	reload(t, r, c)
	if answers(l.Addr().String()) {
		t.Error("it answers")
	}
	if n := strings.Count(j.String(), "is for no listener"); n != 1 {
		t.Errorf("the log tells it %d times:\n%s", n, j)
	}
}

func TestWhichSocketIsForWhichListener(t *testing.T) {
	// fake is a listener that has an address and nothing else.
	socket := func(name, addr string) *serving {
		return &serving{given: true, name: name, l: fake{net.TCPAddrFromAddrPort(netip.MustParseAddrPort(addr))}}
	}
	tests := []struct {
		name      string
		listeners []config.Listener
		sockets   []*serving
		want      [][]int // sockets of each listener
	}{
		{"names go before ports, whatever the order",
			[]config.Listener{{Name: "a", Protocol: "ftp", Listen: []string{":21"}}, {Name: "b", Protocol: "ftp", Listen: []string{":2121"}}},
			[]*serving{socket("b", "[::]:21"), socket("", "[::]:2121")}, [][]int{nil, {0}}},
		{"no listener means the standard port",
			[]config.Listener{{Name: "ftp", Protocol: "ftp"}, {Name: "ftps", Protocol: "ftps"}},
			[]*serving{socket("", "[::]:990"), socket("", "0.0.0.0:21")}, [][]int{{1}, {0}}},
		{"an address must be the same one",
			[]config.Listener{{Name: "a", Protocol: "ftp", Listen: []string{"192.0.2.1:21"}}, {Name: "b", Protocol: "ftp", Listen: []string{"0.0.0.0:21"}}},
			[]*serving{socket("", "192.0.2.2:21"), socket("", "192.0.2.1:21")}, [][]int{{1}, {0}}},
		{"each socket is for one listener",
			[]config.Listener{{Name: "a", Protocol: "ftp", Listen: []string{":21"}}, {Name: "b", Protocol: "ftp", Listen: []string{":21"}}},
			[]*serving{socket("x", "[::]:21")}, [][]int{{0}, nil}},
		{"a listener takes all that it asks for",
			[]config.Listener{{Name: "a", Protocol: "ftp", Listen: []string{":21", ":2121"}}},
			[]*serving{socket("x", "[::]:2121"), socket("", "192.0.2.1:21"), socket("", "[::]:22")}, [][]int{{0, 1}}},
		{"a listener without a name takes none by it",
			[]config.Listener{{Protocol: "ftp", Listen: []string{":21"}}},
			[]*serving{socket("", "[::]:22")}, [][]int{nil}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := adopt(tt.listeners, tt.sockets)
			for i := range tt.want {
				var want []*serving
				for _, n := range tt.want[i] {
					want = append(want, tt.sockets[n])
				}
				if !slices.Equal(got[i], want) {
					t.Errorf("listener %d got %d sockets, want %v", i, len(got[i]), tt.want[i])
				}
			}
		})
	}
}

type fake struct{ addr net.Addr }

func (f fake) Addr() net.Addr            { return f.addr }
func (f fake) Accept() (net.Conn, error) { return nil, net.ErrClosed }
func (f fake) Close() error              { return nil }

// A file that gets its first listener, or loses its last one, asks for the same
// addresses in other words.
func TestAnAddressIsKnownInWhateverForm(t *testing.T) {
	ftp, ftps := &config.Listener{Name: "ftp", Protocol: "ftp"}, &config.Listener{Name: "ftps", Protocol: "ftps"}
	tests := []struct {
		name      string
		asked, at string // of the socket: what was asked for and what came of it
		l         *config.Listener
		now       string // what is asked for
		want      bool
	}{
		{"the default is the standard port", "", "[::]:21", ftp, ":21", true},
		{"and back", ":21", "[::]:21", ftp, "", true},
		{"all addresses are all addresses", ":21", "[::]:21", ftp, "0.0.0.0:21", true},
		{"in IPv6 too", "21", "[::]:21", ftp, "[::]:21", true},
		{"a port alone", "0.0.0.0:21", "0.0.0.0:21", ftp, "21", true},
		{"the default of the other protocol is another port", "", "[::]:21", ftps, "", false},
		{"a high port that stands in stays", "", "[::]:2121", ftp, "", true},
		{"it is not the standard one", "", "[::]:2121", ftp, ":21", false},
		{"one address is not all", "192.0.2.1:21", "192.0.2.1:21", ftp, ":21", false},
		{"and not another one", "192.0.2.1:21", "192.0.2.1:21", ftp, "192.0.2.2:21", false},
		{"nor another port", "192.0.2.1:21", "192.0.2.1:21", ftp, "192.0.2.1:22", false},
		{"IPv4 inside IPv6", "192.0.2.1:21", "192.0.2.1:21", ftp, "[::ffff:192.0.2.1]:21", true},
		{"a host name as it was", "localhost:21", "127.0.0.1:21", ftp, "localhost:21", true},
		{"any port is the one that it was", "127.0.0.1:0", "127.0.0.1:4711", ftp, "127.0.0.1:0", true},
		{"but not that of another listener", "127.0.0.1:0", "127.0.0.1:4711", ftps, "127.0.0.1:0", false},
		{"nor of another address", "127.0.0.2:0", "127.0.0.2:4711", ftp, "127.0.0.1:0", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := &serving{at: tt.asked, name: "ftp", l: fake{net.TCPAddrFromAddrPort(netip.MustParseAddrPort(tt.at))}}
			if got := s.is(tt.l, tt.now); got != tt.want {
				t.Errorf("a socket at %s, asked for as %q, is %q: %v, want %v", tt.at, tt.asked, tt.now, got, tt.want)
			}
		})
	}
}

// After a kill accounts are counted before the first client comes in, also before
// one that waits in the queue of the socket already.
func TestWhoIsEarlyWaitsUntilTheTreesArePutRight(t *testing.T) {
	c := site(t)
	const accounts = 15
	var all []account.Account
	for i := range accounts {
		all = append(all, account.Account{Name: fmt.Sprint("user", i)})
	}
	add(t, c, all...)
	c.State = killed(t, c)
	c.Listeners[0].Networks = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} // turned away at once, which is logged
	l, _ := opened(t)
	early := dial(t, l.Addr().String())
	_, _, j := run(t, Setup{Config: c, Sockets: map[string][]net.Listener{"ftp": {l}}})
	early.want("421")
	if strings.Contains(j.String(), "in the background") {
		t.Skip("this machine is too busy to count in time")
	}
	before, _, _ := strings.Cut(j.String(), "turned away")
	if n := strings.Count(before, "account counted again"); n != accounts {
		t.Errorf("it came in when %d of %d accounts were counted", n, accounts)
	}
}
