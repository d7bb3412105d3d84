package guard

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"dray/fault"
)

// A clock stands still until it is moved.
type clock struct{ ns atomic.Int64 }

func (c *clock) now() time.Time          { return time.Unix(1_700_000_000, c.ns.Load()) }
func (c *clock) forward(d time.Duration) { c.ns.Add(int64(d)) }

var (
	alice = netip.MustParseAddr("198.51.100.7")
	bob   = netip.MustParseAddr("203.0.113.9")
)

func admit(t *testing.T, g *Guard, from netip.Addr) *Slot {
	t.Helper()
	s, err := g.Admit(from, nil)
	if err != nil {
		t.Fatalf("Admit(%v): %v", from, err)
	}
	return s
}

func refused(t *testing.T, g *Guard, from netip.Addr, id fault.ID, facts ...any) {
	t.Helper()
	s, err := g.Admit(from, nil)
	var fe *fault.Error
	if !errors.As(err, &fe) {
		t.Fatalf("Admit(%v) = %v, %v; want %s", from, s, err, id)
	}
	if fe.Kind != fault.Closing || fe.ID != id || !slices.Equal(fe.Facts, facts) {
		t.Errorf("Admit(%v): kind %d %s %v; want kind %d %s %v", from, fe.Kind, fe.ID, fe.Facts, fault.Closing, id, facts)
	}
}

// check compares every count with what the lists really hold.
func (g *Guard) check(t *testing.T) {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	open, pending, crowded := 0, 0, 0
	for key, p := range g.peers {
		if p.key != key || p.open <= 0 || p.pending() > p.open {
			t.Errorf("peer %v: key %v, %d open, %d pending", key, p.key, p.open, p.pending())
		}
		if (p.index >= 0) != (p.pending() > 0) {
			t.Errorf("peer %v: %d pending at index %d", key, p.pending(), p.index)
		}
		open += p.open
		pending += p.pending()
		if p.pending() > 0 {
			crowded++
		}
	}
	if open != g.open || pending != g.pending || crowded != len(g.crowd) {
		t.Errorf("%d open, %d pending, %d crowded; want %d, %d, %d", g.open, g.pending, len(g.crowd), open, pending, crowded)
	}
	for i := range g.crowd {
		if i > 0 && g.crowd.Less(i, (i-1)/2) {
			t.Errorf("crowd is no heap at %d", i)
		}
	}
	if len(g.record.known) != len(g.record.heap) || len(g.record.heap) > maxRecord {
		t.Errorf("%d known, %d in the heap", len(g.record.known), len(g.record.heap))
	}
}

func TestZeroLimitsHaveDefaults(t *testing.T) {
	tests := []struct {
		name                                  string
		in                                    Limits
		total, perAddr, pending, pendingPeers int
	}{
		{"all of them", Limits{}, 10_000, 500, 2000, 100},
		{"pending follows smaller hard limits", Limits{Total: 500, PerAddress: 30}, 500, 30, 250, 15},
		{"but not below ten", Limits{Total: 5, PerAddress: 2}, 5, 2, 10, 10},
		{"what is said is kept", Limits{Total: 7, PerAddress: 6, Pending: 5, PendingPerAddress: 4}, 7, 6, 5, 4},
		{"negative stays", Limits{Total: -1, PerAddress: -1}, -1, -1, 2000, 100},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := tt.in.withDefaults()
			got := []int{l.Total, l.PerAddress, l.Pending, l.PendingPerAddress}
			if want := []int{tt.total, tt.perAddr, tt.pending, tt.pendingPeers}; !slices.Equal(got, want) {
				t.Errorf("limits = %v, want %v", got, want)
			}
			if l.Tries != 3 || l.BanAfter != 50 || l.BanFor != 10*time.Minute || l.Window != 10*time.Minute {
				t.Errorf("login rules = %d %d %v %v", l.Tries, l.BanAfter, l.BanFor, l.Window)
			}
		})
	}
}

func TestHardLimitsRefuse(t *testing.T) {
	g := New(Limits{Total: 3, PerAddress: 2}, new(clock).now)
	first := admit(t, g, alice)
	admit(t, g, alice)
	refused(t, g, alice, fault.IDBusy, "connections from your address", 2, 2)
	admit(t, g, bob)
	refused(t, g, alice, fault.IDBusy, "connections from your address", 2, 2) // its own limit is named first
	refused(t, g, bob, fault.IDBusy, "connections", 3, 3)
	first.Release()
	first.Release() // counts once
	admit(t, g, alice)
	refused(t, g, bob, fault.IDBusy, "connections", 3, 3)
	g.check(t)
}

func TestNegativeLimitsAreNone(t *testing.T) {
	g := New(Limits{Total: -1, PerAddress: -1, Pending: -1, PendingPerAddress: -1, Tries: -1, BanAfter: -1}, new(clock).now)
	for range 20_000 {
		admit(t, g, alice)
	}
	s := admit(t, g, alice)
	for range 200 {
		if _, last := s.Failed(); last {
			t.Fatal("a last try, though tries and bans are off")
		}
	}
	admit(t, g, alice)
}

func TestAddressesCountByIPv4AndByIPv6Network(t *testing.T) {
	tests := []struct {
		name, a, b string
		same       bool
	}{
		{"IPv4 neighbours are two", "192.0.2.1", "192.0.2.2", false},
		{"IPv4 mapped into IPv6 is IPv4", "192.0.2.1", "::ffff:192.0.2.1", true},
		{"mapped neighbours are two", "::ffff:192.0.2.1", "::ffff:192.0.2.2", false},
		{"one /64 is one", "2001:db8:1:2::1", "2001:db8:1:2:ffff::9", true},
		{"the next /64 is another", "2001:db8:1:2::1", "2001:db8:1:3::1", false},
		{"a zone does not matter", "fe80::1%eth0", "fe80::1", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := New(Limits{PerAddress: 1}, new(clock).now)
			admit(t, g, netip.MustParseAddr(tt.a))
			_, err := g.Admit(netip.MustParseAddr(tt.b), nil)
			if (err != nil) != tt.same {
				t.Errorf("Admit(%s) after %s: %v", tt.b, tt.a, err)
			}
		})
	}
}

func TestPeersWithoutAnAddressCountAsOne(t *testing.T) {
	g := New(Limits{PerAddress: 1}, new(clock).now)
	admit(t, g, netip.Addr{})
	refused(t, g, netip.Addr{}, fault.IDBusy, "connections from your address", 1, 1)
}

// evictions records who had to go, by name.
type evictions struct {
	mu   sync.Mutex
	who  []string
	last error
}

func (e *evictions) admit(t *testing.T, g *Guard, name string, from netip.Addr) *Slot {
	t.Helper()
	s, err := g.Admit(from, func(cause error) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.who, e.last = append(e.who, name), cause
	})
	if err != nil {
		t.Fatalf("Admit(%s): %v", name, err)
	}
	synctest.Wait() // one after the other, so that their order is known
	return s
}

func (e *evictions) want(t *testing.T, who ...string) {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	if !slices.Equal(e.who, who) {
		t.Errorf("evicted %q, want %q", e.who, who)
	}
}

func TestTheOldestSilentSlotOfTheAddressGoesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var e evictions
		g := New(Limits{PendingPerAddress: 3}, nil)
		e.admit(t, g, "bob", bob)
		e.admit(t, g, "spoke", alice).Spoke()
		e.admit(t, g, "in", alice).LoggedIn()
		e.admit(t, g, "silent 1", alice)
		e.admit(t, g, "silent 2", alice)
		e.want(t)
		e.admit(t, g, "three", alice).Spoke()
		e.want(t, "silent 1")
		if fe := fault.Of(e.last); fe.Kind != fault.Closing || fe.ID != fault.IDBusy ||
			!slices.Equal(fe.Facts, []any{"connections from your address that have not logged in", 3, 3}) {
			t.Errorf("cause = %s %v", fe.ID, fe.Facts)
		}
		e.admit(t, g, "four", alice).Spoke()
		e.want(t, "silent 1", "silent 2")
		e.admit(t, g, "five", alice).Spoke() // nobody is silent any more
		e.want(t, "silent 1", "silent 2", "spoke")
		g.check(t)
	})
}

func TestInTotalTheMostCrowdedAddressGivesWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var e evictions
		g := New(Limits{Pending: 4}, nil)
		e.admit(t, g, "bob 1", bob)
		e.admit(t, g, "alice 1", alice).Spoke()
		e.admit(t, g, "alice 2", alice).Spoke()
		e.admit(t, g, "alice 3", alice)
		carol := netip.MustParseAddr("2001:db8::1")
		e.admit(t, g, "carol 1", carol)
		e.want(t, "alice 3")
		e.admit(t, g, "carol 2", carol) // bob and carol have a silent one, but alice has two
		e.want(t, "alice 3", "alice 1")
		e.admit(t, g, "carol 3", carol)
		e.want(t, "alice 3", "alice 1", "carol 1")
		e.admit(t, g, "bob 2", bob)
		e.want(t, "alice 3", "alice 1", "carol 1", "carol 2")
		g.check(t)
	})
}

func TestAmongEquallyCrowdedAddressesTheOldestSilentSlotGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var e evictions
		g := New(Limits{Pending: 3}, nil)
		e.admit(t, g, "honest", alice).Spoke()
		for i := range 5 {
			e.admit(t, g, fmt.Sprint(i), netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}))
		}
		e.want(t, "0", "1", "2")
	})
}

func TestAFloodOfSilentConnectionsKeepsNobodyOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Limits{}, nil)
		var ended atomic.Int64
		flood := func(from netip.Addr) {
			if _, err := g.Admit(from, func(error) { ended.Add(1) }); err != nil {
				t.Fatalf("flood from %v: %v", from, err)
			}
		}
		for range 5000 {
			flood(alice)
		}
		evict := func(error) { t.Error("the honest one was evicted") }
		honest, err := g.Admit(alice, evict)
		if err != nil {
			t.Fatal(err)
		}
		honest.Spoke()
		for i := range 20_000 { // while it logs in, from its own address and from everywhere
			flood(alice)
			flood(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}))
		}
		honest.LoggedIn()
		synctest.Wait()
		g.check(t)
		if g.pending > 2000 || ended.Load() != 45_000-int64(g.pending) {
			t.Errorf("%d pending, %d ended", g.pending, ended.Load())
		}
	})
}

func TestWhatAnEvictedSlotDoesCountsNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var e evictions
		g := New(Limits{PendingPerAddress: 1, PerAddress: 2}, nil)
		old := e.admit(t, g, "old", alice)
		e.admit(t, g, "new", alice)
		e.want(t, "old")
		old.Spoke()
		old.LoggedIn()
		old.Release()
		old.Release()
		g.check(t)
		if g.open != 1 || g.pending != 1 {
			t.Errorf("%d open, %d pending; want 1, 1", g.open, g.pending)
		}
		for range 3 { // but guesses do
			old.Failed()
		}
		if wait, _ := admit(t, g, alice).Failed(); wait != 2*time.Second {
			t.Errorf("the fourth guess waits %v, want 2s", wait)
		}
	})
}

func TestEvictMayCallTheGuard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Limits{PendingPerAddress: 1}, nil)
		var s *Slot
		s, err := g.Admit(alice, func(error) { s.Release() })
		if err != nil {
			t.Fatal(err)
		}
		admit(t, g, alice)
		synctest.Wait()
		g.check(t)
	})
}

func TestNewLimitsLeaveOpenConnectionsAlone(t *testing.T) {
	g := New(Limits{}, new(clock).now)
	a, b := admit(t, g, alice), admit(t, g, alice)
	g.SetLimits(Limits{PerAddress: 1})
	refused(t, g, alice, fault.IDBusy, "connections from your address", 2, 1)
	a.Release()
	b.Release()
	admit(t, g, alice)
}

// Whatever order the calls come in, the counts stay true and the limits hold.
func TestCountsHoldUnderAnyOrderOfCalls(t *testing.T) {
	for seed := range uint64(30) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		l := Limits{Total: 60, PerAddress: 12, Pending: 30, PendingPerAddress: 6, BanAfter: 1 << 20}
		c := new(clock)
		g := New(l, c.now)
		var slots []*Slot
		for range 2000 {
			if n := rnd.IntN(10); n < 4 || len(slots) == 0 {
				if s, err := g.Admit(netip.AddrFrom4([4]byte{192, 0, 2, byte(rnd.IntN(9))}), nil); err == nil {
					slots = append(slots, s)
				}
				continue
			}
			i := rnd.IntN(len(slots))
			switch s := slots[i]; rnd.IntN(6) {
			case 0, 1:
				s.Spoke()
			case 2:
				s.LoggedIn()
			case 3:
				s.Failed()
			case 4:
				s.Succeeded()
			case 5:
				s.Release()
				slots = slices.Delete(slots, i, i+1)
			}
			c.forward(time.Duration(rnd.IntN(int(time.Second))))
			if g.open > l.Total || g.pending > l.Pending {
				t.Fatalf("seed %d: %d open, %d pending", seed, g.open, g.pending)
			}
			for _, p := range g.peers {
				if p.open > l.PerAddress || p.pending() > l.PendingPerAddress {
					t.Fatalf("seed %d: %v has %d open, %d pending", seed, p.key, p.open, p.pending())
				}
			}
		}
		g.check(t)
		for _, s := range slots {
			s.Release()
		}
		if g.open != 0 || g.pending != 0 || len(g.peers) != 0 || len(g.crowd) != 0 {
			t.Errorf("seed %d: after the last release %d open, %d pending, %d peers", seed, g.open, g.pending, len(g.peers))
		}
	}
}

func TestManyGoroutines(t *testing.T) {
	g := New(Limits{Total: 15, PerAddress: 6, Pending: 5, PendingPerAddress: 2, BanAfter: 1 << 20}, nil)
	var wg sync.WaitGroup
	for n := range 16 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(n), 2))
			for range 1000 {
				ended := make(chan struct{}) // evicted at most once, or this panics
				s, err := g.Admit(netip.AddrFrom4([4]byte{192, 0, 2, byte(rnd.IntN(8))}), func(error) { close(ended) })
				if err != nil {
					continue
				}
				s.Spoke()
				if rnd.IntN(2) == 0 {
					s.Failed()
				} else {
					s.Succeeded()
					s.LoggedIn()
				}
				s.Release()
			}
		})
	}
	wg.Wait()
	g.check(t)
	if g.open != 0 || g.pending != 0 {
		t.Errorf("%d open, %d pending after all left", g.open, g.pending)
	}
}

func BenchmarkAdmit(b *testing.B) {
	g := New(Limits{}, nil)
	for i := range 5000 { // always at the limit of pending ones
		g.Admit(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), nil)
	}
	for i := 0; b.Loop(); i++ {
		s, err := g.Admit(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), nil)
		if err != nil {
			b.Fatal(err)
		}
		s.Spoke()
		s.LoggedIn()
		s.Release()
	}
}
