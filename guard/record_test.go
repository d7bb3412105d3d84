package guard

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"dray/fault"
)

func TestEachWrongLoginDoublesTheWait(t *testing.T) {
	const ms = time.Millisecond
	c := new(clock)
	g := New(Limits{Tries: 100}, c.now)
	s := admit(t, g, alice)
	var got []time.Duration
	for range 6 {
		wait, _ := s.Failed()
		got = append(got, wait)
	}
	if want := []time.Duration{250 * ms, 500 * ms, 1000 * ms, 2000 * ms, 3000 * ms, 3000 * ms}; !slices.Equal(got, want) {
		t.Errorf("waits = %v, want %v", got, want)
	}
	if wait, _ := admit(t, g, bob).Failed(); wait != 250*ms {
		t.Errorf("another address waits %v, want 250ms", wait)
	}
}

func TestTheScoreDecays(t *testing.T) {
	tests := []struct {
		name      string
		failures  int
		then      time.Duration
		successes int
		want      time.Duration // of the next wrong login
	}{
		{"at once", 2, 0, 0, time.Second},
		{"halved after a minute", 2, time.Minute, 0, 500 * time.Millisecond},
		{"halved twice after two", 4, 2 * time.Minute, 0, 500 * time.Millisecond},
		{"as good as new after a quarter of an hour", 3, 15 * time.Minute, 0, 250 * time.Millisecond},
		{"a success halves it and does not erase it", 4, 0, 1, time.Second},
		{"two successes halve it twice", 4, 0, 2, 500 * time.Millisecond},
		{"any number of successes erase it", 4, 0, 100_000, 250 * time.Millisecond},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := new(clock)
			g := New(Limits{}, c.now)
			s := admit(t, g, alice)
			for range tt.failures {
				s.Failed()
			}
			c.forward(tt.then)
			for range tt.successes {
				s.Succeeded()
			}
			if wait, _ := admit(t, g, alice).Failed(); wait != tt.want {
				t.Errorf("wait = %v, want %v", wait, tt.want)
			}
			g.check(t)
		})
	}
}

func TestTheLastTryOfAConnectionIsSaid(t *testing.T) {
	g := New(Limits{Tries: 3}, new(clock).now)
	for range 2 { // each connection has its own tries
		s := admit(t, g, alice)
		for i, want := range []bool{false, false, true, true} {
			if _, last := s.Failed(); last != want {
				t.Errorf("try %d: last = %v, want %v", i+1, last, want)
			}
		}
	}
}

func fail(t *testing.T, g *Guard, from netip.Addr, times int) {
	t.Helper()
	for range times {
		s := admit(t, g, from)
		s.Failed()
		s.Release()
	}
}

func TestTooManyWrongLoginsBanTheAddressForAWhile(t *testing.T) {
	c := new(clock)
	g := New(Limits{}, c.now)
	open := admit(t, g, alice)
	open.LoggedIn()
	fail(t, g, alice, 49)
	s := admit(t, g, alice)
	if _, last := s.Failed(); !last {
		t.Error("the login that brought the ban was not the last of its connection")
	}
	refused(t, g, alice, fault.IDBanned, 10*time.Minute)
	admit(t, g, bob)
	if _, last := open.Failed(); !last {
		t.Error("a connection from before the ban may go on guessing")
	}
	c.forward(30 * time.Second)
	refused(t, g, alice, fault.IDBanned, 10*time.Minute) // rounded up
	c.forward(9 * time.Minute)
	refused(t, g, alice, fault.IDBanned, time.Minute)
	c.forward(30 * time.Second)
	fail(t, g, alice, 49) // starts from nothing
	admit(t, g, alice).Failed()
	refused(t, g, alice, fault.IDBanned, 10*time.Minute)
}

func TestABanNeedsTheWrongLoginsWithinTheWindow(t *testing.T) {
	tests := []struct {
		name  string
		every time.Duration
		want  bool
	}{
		{"in one instant", 0, true},
		{"five in half the window", time.Minute, true},
		{"five in almost all of it", 2 * time.Minute, true},
		{"five in more than it", 3 * time.Minute, false},
		{"one in each window", 11 * time.Minute, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := new(clock)
			g := New(Limits{BanAfter: 5}, c.now)
			fail(t, g, alice, 1)
			for range 4 {
				c.forward(tt.every)
				fail(t, g, alice, 1)
			}
			_, err := g.Admit(alice, nil)
			if (err != nil) != tt.want {
				t.Errorf("banned: %v, want %v", err, tt.want)
			}
		})
	}
}

func TestSuccessesDoNotBuyGuesses(t *testing.T) {
	g := New(Limits{BanAfter: 10}, new(clock).now)
	for range 9 {
		s := admit(t, g, alice)
		s.Failed()
		s.Succeeded()
		s.Succeeded()
		s.Release()
	}
	admit(t, g, alice).Failed()
	refused(t, g, alice, fault.IDBanned, 10*time.Minute)
}

func TestABanIsForTheWholeNetworkOfIPv6(t *testing.T) {
	g := New(Limits{BanAfter: 1, BanFor: time.Second}, new(clock).now)
	fail(t, g, netip.MustParseAddr("2001:db8::1"), 1)
	refused(t, g, netip.MustParseAddr("2001:db8::2"), fault.IDBanned, time.Minute)
	admit(t, g, netip.MustParseAddr("2001:db8:0:1::2"))
}

func TestWhoIsNeverBanned(t *testing.T) {
	exempt := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::7/128"),
		netip.MustParsePrefix("::ffff:198.51.100.0/120")}
	tests := []struct {
		name, addr string
		banned     bool
		wait       time.Duration // for the tenth wrong login
	}{
		{"others are", "203.0.113.1", true, 3 * time.Second},
		{"loopback is not, but waits", "127.0.0.1", false, 3 * time.Second},
		{"nor any other loopback address", "127.9.9.9", false, 3 * time.Second},
		{"nor that of IPv6", "::1", false, 3 * time.Second},
		{"nor loopback mapped into IPv6", "::ffff:127.0.0.1", false, 3 * time.Second},
		{"exempt ones do not even wait", "192.0.2.77", false, 0},
		{"also mapped into IPv6", "::ffff:192.0.2.77", false, 0},
		{"also when the prefix is the mapped one", "198.51.100.9", false, 0},
		{"a single IPv6 address", "2001:db8::7", false, 0},
		{"its neighbour is banned", "2001:db8::8", true, 3 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := New(Limits{BanAfter: 10, Exempt: exempt}, new(clock).now)
			addr := netip.MustParseAddr(tt.addr)
			fail(t, g, addr, 9)
			s := admit(t, g, addr)
			wait, last := s.Failed()
			if wait != tt.wait || last != tt.banned {
				t.Errorf("Failed() = %v, %v; want %v, %v", wait, last, tt.wait, tt.banned)
			}
			_, err := g.Admit(addr, nil)
			if (err != nil) != tt.banned {
				t.Errorf("Admit: %v", err)
			}
			if tt.banned {
				return
			}
			for range 3 { // the tries of one connection are limited for everybody
				_, last = s.Failed()
			}
			if !last {
				t.Error("no last try")
			}
		})
	}
}

func TestAnExemptAddressGetsInThoughItsNetworkIsBanned(t *testing.T) {
	g := New(Limits{BanAfter: 2, Exempt: []netip.Prefix{netip.MustParsePrefix("2001:db8::7/128")}}, new(clock).now)
	neighbour, owner := netip.MustParseAddr("2001:db8::8"), netip.MustParseAddr("2001:db8::7")
	fail(t, g, neighbour, 2)
	refused(t, g, neighbour, fault.IDBanned, 10*time.Minute)
	fail(t, g, owner, 10)
}

func TestAMillionAddressesDoNotHideAnOffender(t *testing.T) {
	c := new(clock)
	g := New(Limits{}, c.now)
	banned := netip.MustParseAddr("2001:db8::1")
	fail(t, g, banned, 50)
	fail(t, g, alice, 20)
	addresses := uint32(1_000_000)
	if testing.Short() {
		addresses = 2 * maxRecord
	}
	for i := range addresses {
		s := admit(t, g, netip.AddrFrom4([4]byte{11, byte(i >> 16), byte(i >> 8), byte(i)}))
		s.Failed()
		s.Release()
		if i%100_000 == 0 && len(g.record.known) > maxRecord {
			t.Fatalf("%d addresses remembered", len(g.record.known))
		}
	}
	g.check(t)
	if n := len(g.record.known); n != maxRecord {
		t.Errorf("%d addresses remembered, want %d", n, maxRecord)
	}
	if len(g.peers) != 0 {
		t.Errorf("%d addresses with open slots, want 0", len(g.peers))
	}
	c.forward(100 * time.Second)
	refused(t, g, banned, fault.IDBanned, 9*time.Minute)
	if wait, _ := admit(t, g, alice).Failed(); wait != 3*time.Second {
		t.Errorf("the offender waits %v, want 3s", wait)
	}
}

func TestTheRecordShrinksWhenItIsQuiet(t *testing.T) {
	c := new(clock)
	g := New(Limits{}, c.now)
	for i := range 1000 {
		fail(t, g, netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 1)
	}
	c.forward(11 * time.Minute)
	for i := range 1000 {
		fail(t, g, netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), 1)
	}
	g.check(t)
	if n := len(g.record.known); n != 1000 {
		t.Errorf("%d addresses remembered, want the 1000 of the last minutes", n)
	}
}

func TestAnotherWindowStartsTheCountAgain(t *testing.T) {
	c := new(clock)
	c.forward(time.Hour)
	g := New(Limits{BanAfter: 5}, c.now)
	c.forward(time.Hour)
	fail(t, g, alice, 4)
	g.SetLimits(Limits{BanAfter: 5, Window: time.Hour})
	fail(t, g, alice, 4)
	admit(t, g, alice).Failed()
	refused(t, g, alice, fault.IDBanned, 10*time.Minute)
}

func BenchmarkFailedWithAFullRecord(b *testing.B) {
	g := New(Limits{Tries: -1, BanAfter: -1}, nil)
	for i := 0; b.Loop(); i++ {
		s, err := g.Admit(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), nil)
		if err != nil {
			b.Fatal(err)
		}
		s.Failed()
		s.Release()
	}
}
