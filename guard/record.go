package guard

import (
	"container/heap"
	"math"
	"net/netip"
	"time"
)

// What wrong logins cost. The score of an address is their number, halved with
// every halfLife; the wait doubles with every point of it.
const (
	halfLife  = time.Minute
	firstWait = 250 * time.Millisecond
	maxWait   = 3 * time.Second
)

// maxRecord is how many addresses are remembered for their wrong logins, about
// 200 bytes each. Above it the lowest score goes.
const maxRecord = 65_536

// forget is how many half-lives after its score was 1 an address is forgotten.
const forget = 8

// Failed says that a login was wrong. The caller waits that long, from 250 ms to
// 3 s and nothing for an exempt address, before it answers, and ends the
// connection after the answer if this was the last try: of this connection, or
// because the address is banned now.
func (s *Slot) Failed() (wait time.Duration, last bool) {
	g := s.g
	g.mu.Lock()
	defer g.mu.Unlock()
	s.tries++
	last = over(s.tries, g.limits.Tries)
	if g.limits.exempt(s.addr) {
		return 0, last
	}
	now := g.since()
	o := g.record.at(s.peer.key, now, g.limits.Window)
	wait = o.fail(now)
	if l := g.limits; l.BanAfter >= 0 && l.BanFor > 0 && l.Window > 0 && !s.addr.IsLoopback() {
		// Exempt and loopback addresses are not even counted: else others of
		// their /64 would be banned for them.
		if n := o.count(now, l.Window); n >= l.BanAfter && o.ban <= now {
			o.ban = now + l.BanFor
			o.tenths = [tenths]int32{} // a new start after the ban
		}
	}
	g.record.moved(o)
	return wait, last || g.banned(s.addr, s.peer.key, now) > 0
}

// Succeeded says that a login was right. It halves the score of the address and
// does not erase it: else one account would buy any number of guesses at others.
func (s *Slot) Succeeded() {
	g := s.g
	g.mu.Lock()
	defer g.mu.Unlock()
	if o := g.record.known[s.peer.key]; o != nil {
		o.one = max(o.one-halfLife, g.since()-2*forget*halfLife) // it is as good as 0 there
		g.record.moved(o)
	}
}

// banned is how much longer the address is banned.
func (g *Guard) banned(a netip.Addr, key netip.Prefix, now time.Duration) time.Duration {
	o := g.record.known[key]
	if o == nil || o.ban <= now || a.IsLoopback() || g.limits.exempt(a) {
		return 0
	}
	return o.ban - now
}

func roundUp(d time.Duration) time.Duration {
	return (d + time.Minute - 1) / time.Minute * time.Minute
}

// tenths is into how many parts the window is divided: exact times would cost
// eight bytes a failure.
const tenths = 10

// An offender is an address with wrong logins. Times are since Guard.start.
type offender struct {
	key  netip.Prefix
	one  time.Duration // when the score is, or was, exactly 1
	ban  time.Duration // when the ban ends
	last time.Duration // the latest wrong login

	tenth  int64 // number of the latest tenth, counted from Guard.start
	tenths [tenths]int32

	index int
}

// until is what offenders are compared by. All scores halve at the same pace, so
// of two the one that reaches 1 later is higher at any time, and the order never
// changes by itself.
func (o *offender) until() time.Duration { return max(o.one, o.ban) }

// fail adds a wrong login to the score and returns the wait for it.
func (o *offender) fail(now time.Duration) time.Duration {
	score := math.Exp2(float64(o.one-now)/float64(halfLife)) + 1
	o.one = now + time.Duration(math.Log2(score)*float64(halfLife))
	o.last = now
	wait := math.Exp2(min(score, 16)-1) * float64(firstWait)
	return min(time.Duration(wait).Round(time.Millisecond), maxWait)
}

// count adds a wrong login to the window and returns how many are in it.
func (o *offender) count(now, window time.Duration) int {
	tenth := int64(now / max(1, window/tenths))
	switch gone := tenth - o.tenth; {
	case gone < 0, gone >= tenths: // below: the window was changed
		o.tenths = [tenths]int32{}
	default:
		for i := o.tenth + 1; i <= tenth; i++ {
			o.tenths[i%tenths] = 0
		}
	}
	o.tenth = tenth
	if n := &o.tenths[tenth%tenths]; *n < math.MaxInt32 {
		*n++
	}
	sum := 0
	for _, n := range o.tenths {
		sum += int(n)
	}
	return sum
}

// A record is the offenders, at most maxRecord.
type record struct {
	known map[netip.Prefix]*offender
	heap  offenders // the lowest score first
}

func newRecord() record { return record{known: map[netip.Prefix]*offender{}} }

// at finds the offender or makes it, and then drops another where there are too
// many: the lowest, but never the new one, or a full record would learn nothing.
func (r *record) at(key netip.Prefix, now, window time.Duration) *offender {
	if o := r.known[key]; o != nil {
		return o
	}
	// Two of the forgotten for one that is new: the record shrinks when it is quiet.
	for range 2 {
		if len(r.heap) > 0 && r.heap[0].spent(now, window) {
			r.drop()
		}
	}
	if len(r.heap) >= maxRecord {
		r.drop()
	}
	o := &offender{key: key, one: math.MinInt64 / 2} // a score of 0
	r.known[key] = o
	heap.Push(&r.heap, o)
	return o
}

// spent reports whether nothing about the offender matters any longer.
func (o *offender) spent(now, window time.Duration) bool {
	return o.until()+forget*halfLife < now && o.last+window < now
}

func (r *record) drop() {
	o := heap.Pop(&r.heap).(*offender)
	delete(r.known, o.key)
}

func (r *record) moved(o *offender) { heap.Fix(&r.heap, o.index) }

// offenders is a heap.Interface.
type offenders []*offender

func (h offenders) Len() int           { return len(h) }
func (h offenders) Less(i, j int) bool { return h[i].until() < h[j].until() }

func (h offenders) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *offenders) Push(x any) {
	o := x.(*offender)
	o.index = len(*h)
	*h = append(*h, o)
}

func (h *offenders) Pop() any {
	old := *h
	o := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return o
}
