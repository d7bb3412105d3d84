// Package guard decides who may stay at the door: limits on connections, delays
// after wrong logins, and bans. It is told what peers do and answers with a
// slot, a wait or a refusal.
//
// It knows no protocol, no accounts and no passwords, and it never closes a
// connection itself. In particular it never locks an account: then anybody could
// lock out its owner. Its memory is bounded whatever comes in.
package guard

import (
	"container/heap"
	"container/list"
	"net/netip"
	"slices"
	"sync"
	"time"

	"dray/fault"
)

// Limits are the rules. A zero field has the default named beside it; a negative
// one switches its rule off. Addresses count by IPv4 address and by IPv6 /64,
// because that is the least a customer of IPv6 has.
//
// Total and PerAddress refuse a connection. Pending and PendingPerAddress, which
// count connections that have not logged in, never do: an older one goes. They
// only act while they are below the other two.
type Limits struct {
	Total             int // open connections: 10,000
	PerAddress        int // of one address: 500
	Pending           int // not logged in: 2,000, or half of Total, but 10 at least
	PendingPerAddress int // of one address, not logged in: 100, or half of PerAddress, but 10 at least

	Tries    int           // wrong logins of one connection: 3
	BanAfter int           // wrong logins of one address within Window that ban it: 50
	BanFor   time.Duration // how long a ban lasts: 10 minutes
	Window   time.Duration // 10 minutes, counted in tenths of it

	// Exempt addresses are neither delayed nor banned; the limits hold for them
	// too. Loopback is never banned, and delayed unless it is named here.
	Exempt []netip.Prefix
}

func (l Limits) withDefaults() Limits {
	or := func(n *int, def int) {
		if *n == 0 {
			*n = def
		}
	}
	below := func(def, hard int) int {
		if hard < 0 {
			return def
		}
		return min(def, max(10, hard/2))
	}
	or(&l.Total, 10_000)
	or(&l.PerAddress, 500)
	or(&l.Pending, below(2000, l.Total))
	or(&l.PendingPerAddress, below(100, l.PerAddress))
	or(&l.Tries, 3)
	or(&l.BanAfter, 50)
	if l.BanFor == 0 {
		l.BanFor = 10 * time.Minute
	}
	if l.Window == 0 {
		l.Window = 10 * time.Minute
	}
	l.Exempt = slices.Clone(l.Exempt)
	for i, p := range l.Exempt { // peers are compared in their IPv4 form
		if a := p.Addr(); a.Is4In6() && p.Bits() >= 96 {
			l.Exempt[i] = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
		}
	}
	return l
}

func (l Limits) exempt(a netip.Addr) bool {
	return slices.ContainsFunc(l.Exempt, func(p netip.Prefix) bool { return p.Contains(a) })
}

// over reports whether one more than n is too many.
func over(n, limit int) bool { return limit >= 0 && n >= limit }

// A Guard watches the connections of one process. It is safe for concurrent use;
// each call costs at most the logarithm of the number of addresses.
type Guard struct {
	now   func() time.Time
	start time.Time // all times below are since then

	mu      sync.Mutex
	limits  Limits
	open    int
	pending int
	order   int64 // of arrival
	peers   map[netip.Prefix]*peer
	crowd   crowd // the peers with pending slots, the most first
	record  record
}

// New makes a Guard with the clock now, which must not call the Guard; nil is
// time.Now.
func New(l Limits, now func() time.Time) *Guard {
	if now == nil {
		now = time.Now
	}
	return &Guard{now: now, start: now(), limits: l.withDefaults(),
		peers: map[netip.Prefix]*peer{}, record: newRecord()}
}

// SetLimits changes the rules. Open connections stay, even where there are more
// of them than the new limits allow, and so do bans and delays.
func (g *Guard) SetLimits(l Limits) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.limits = l.withDefaults()
}

// since is the time now. It is asked under the lock, so that it never runs back
// between two calls.
func (g *Guard) since() time.Duration { return g.now().Sub(g.start) }

// A peer is one address with open slots.
type peer struct {
	key    netip.Prefix
	open   int
	silent list.List // of *Slot: never spoke, the oldest first
	spoke  list.List // of *Slot: spoke and not logged in, who spoke first first
	index  int       // in Guard.crowd, -1 when not there
}

func (p *peer) pending() int { return p.silent.Len() + p.spoke.Len() }

// next is the pending slot that goes first.
func (p *peer) next() *Slot {
	if e := p.silent.Front(); e != nil {
		return e.Value.(*Slot)
	}
	return p.spoke.Front().Value.(*Slot)
}

// A Slot is the place of one connection. Its methods are safe for concurrent use.
type Slot struct {
	g     *Guard
	addr  netip.Addr
	peer  *peer
	evict func(cause error)
	order int64

	// under g.mu
	place *list.Element // in which of the peer's lists; nil when not pending
	spoke bool
	gone  bool // released or evicted
	tries int
}

// keyOf is what an address counts as.
func keyOf(a netip.Addr) netip.Prefix {
	bits := 64
	if a.Is4() {
		bits = 32
	}
	p, _ := a.Prefix(bits) // the zero Addr, a peer without address, has the zero Prefix
	return p
}

// Admit gives a new connection its slot, or an *fault.Error of the kind Closing:
// fault.IDBanned with the time left (a time.Duration, in whole minutes, rounded
// up), or fault.IDBusy with what there is too much of (a string), how many there
// are and how many may be (two ints).
//
// Where there are too many connections that have not logged in, the new one is
// admitted and an older one goes: of the same address when that has too many,
// else of the address that has the most; the oldest that never spoke, else the
// one that spoke first. So a flood of silent connections keeps nobody out. Its
// slot is free at once and its evict is called with the cause, a busy error, in
// a goroutine of its own; evict has to end the connection. It may be nil.
func (g *Guard) Admit(from netip.Addr, evict func(cause error)) (*Slot, error) {
	from = from.Unmap().WithZone("")
	key := keyOf(from)
	g.mu.Lock()
	defer g.mu.Unlock()
	if left := g.banned(from, key, g.since()); left > 0 {
		return nil, fault.New(fault.Closing, fault.IDBanned, roundUp(left))
	}
	p := g.peers[key]
	if p == nil {
		p = &peer{key: key, index: -1}
	}
	if over(p.open, g.limits.PerAddress) {
		return nil, busy("connections from your address", p.open, g.limits.PerAddress)
	}
	if over(g.open, g.limits.Total) {
		return nil, busy("connections", g.open, g.limits.Total)
	}
	if n := p.pending(); n > 0 && over(n, g.limits.PendingPerAddress) {
		g.evict(p.next(), busy("connections from your address that have not logged in", n, g.limits.PendingPerAddress))
	}
	if g.pending > 0 && over(g.pending, g.limits.Pending) {
		g.evict(g.crowd[0].next(), busy("connections that have not logged in", g.pending, g.limits.Pending))
	}

	g.peers[key] = p // after the evictions, which may have forgotten it
	g.order++
	s := &Slot{g: g, addr: from, peer: p, evict: evict, order: g.order}
	s.place = p.silent.PushBack(s)
	p.open++
	g.open++
	g.pending++
	g.reorder(p)
	return s, nil
}

func busy(what string, used, limit int) *fault.Error {
	return fault.New(fault.Closing, fault.IDBusy, what, used, limit)
}

// evict frees the slot and has its connection ended, not under the lock.
func (g *Guard) evict(s *Slot, cause error) {
	g.free(s)
	if s.evict != nil {
		go s.evict(cause)
	}
}

// free takes the slot out of all counts, once.
func (g *Guard) free(s *Slot) {
	if s.gone {
		return
	}
	s.gone = true
	g.settle(s)
	g.open--
	s.peer.open--
	if s.peer.open == 0 {
		delete(g.peers, s.peer.key)
	}
}

// settle takes the slot out of the pending ones.
func (g *Guard) settle(s *Slot) {
	if s.place == nil {
		return
	}
	if s.spoke {
		s.peer.spoke.Remove(s.place)
	} else {
		s.peer.silent.Remove(s.place)
	}
	s.place = nil
	g.pending--
	g.reorder(s.peer)
}

// reorder puts p where it belongs in the crowd.
func (g *Guard) reorder(p *peer) {
	switch in := p.index >= 0; {
	case in && p.pending() == 0:
		heap.Remove(&g.crowd, p.index)
	case in:
		heap.Fix(&g.crowd, p.index)
	case p.pending() > 0:
		heap.Push(&g.crowd, p)
	}
}

// Spoke says that the peer said something, so that it goes after the silent ones.
func (s *Slot) Spoke() {
	s.g.mu.Lock()
	defer s.g.mu.Unlock()
	if s.spoke || s.place == nil {
		return
	}
	s.spoke = true
	s.peer.silent.Remove(s.place)
	s.place = s.peer.spoke.PushBack(s)
	s.g.reorder(s.peer)
}

// LoggedIn says that the slot is no longer pending: it won't be evicted.
func (s *Slot) LoggedIn() {
	s.g.mu.Lock()
	defer s.g.mu.Unlock()
	s.g.settle(s)
}

// Release gives the slot back. It is called at the end of every connection,
// evicted or not; only the first call counts.
func (s *Slot) Release() {
	s.g.mu.Lock()
	defer s.g.mu.Unlock()
	s.g.free(s)
}

// crowd is a heap.Interface: the address with the most pending slots first,
// among equals the one with a silent slot, then the one whose slot is oldest.
type crowd []*peer

func (c crowd) Len() int { return len(c) }

func (c crowd) Less(i, j int) bool {
	a, b := c[i], c[j]
	if m, n := a.pending(), b.pending(); m != n {
		return m > n
	}
	s, t := a.next(), b.next()
	if s.spoke != t.spoke {
		return t.spoke
	}
	return s.order < t.order
}

func (c crowd) Swap(i, j int) {
	c[i], c[j] = c[j], c[i]
	c[i].index, c[j].index = i, j
}

func (c *crowd) Push(x any) {
	p := x.(*peer)
	p.index = len(*c)
	*c = append(*c, p)
}

func (c *crowd) Pop() any {
	old := *c
	p := old[len(old)-1]
	old[len(old)-1] = nil
	*c = old[:len(old)-1]
	p.index = -1
	return p
}
