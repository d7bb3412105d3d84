package meter

import (
	"container/list"
	"context"
	"math"
	"sync"
	"time"
)

// Sizes of a Rate, in seconds' worth of bytes unless they say bytes.
const (
	burst      = 1.0 / 20 // what an idle Rate saves up
	slice      = 1.0 / 80 // the most of one grant; well below burst, or a timer that comes late would lose bytes
	slowSlice  = 1.0 / 40 // the same for slow rates, up to packet bytes
	packet     = 1400     // bytes: smaller grants make a packet each
	round      = 1.0 / 10 // all waiters have their turn within it
	sharedMost = 32 << 10 // bytes: the most of one grant while others wait, the least that anybody asks for in the middle of a file
)

// crowdLasts is how long a Rate remembers how many waited.
const crowdLasts = 200 * time.Millisecond

// A Rate is a Meter that allows a number of bytes a second, to all transfers
// that share it together. It saves up a twentieth of a second's worth while
// nothing moves, and starts with nothing. Waiting transfers take turns in the
// order in which they came; while several wait, the grants are the same for all,
// whatever they want, and so are their shares.
type Rate struct {
	mu      sync.Mutex
	rate    float64 // bytes a second; 0: no limit
	have    float64 // bytes that may move now
	at      time.Time
	queue   list.List // of *taker
	crowd   int       // the most that waited lately
	crowdAt time.Time
	timer   *time.Timer // grants to the front of queue
}

// A taker waits for a grant.
type taker struct {
	want, got int64
	ready     chan struct{} // closed when got is set
}

// NewRate makes a Rate. 0 is no limit.
func NewRate(bytesPerSecond int64) *Rate {
	return &Rate{rate: float64(max(bytesPerSecond, 0)), at: time.Now()}
}

// Set changes the rate, also for those who wait; 0 is no limit.
func (r *Rate) Set(bytesPerSecond int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fill()
	r.rate = float64(max(bytesPerSecond, 0))
	r.have = min(r.have, r.burst())
	r.grant()
}

// Limited tells whether there is a limit now.
func (r *Rate) Limited() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.rate > 0
}

// PerSecond is the rate, in bytes; 0: no limit.
func (r *Rate) PerSecond() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return int64(r.rate)
}

// Take waits for its turn and until there is something to grant. A ctx that ends
// ends the wait with its cause.
func (r *Rate) Take(ctx context.Context, want int64) (int64, error) {
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	r.mu.Lock()
	if r.rate == 0 && r.queue.Len() == 0 {
		r.mu.Unlock()
		return want, nil
	}
	t := &taker{want: want, ready: make(chan struct{})}
	e := r.queue.PushBack(t)
	r.fill()
	r.grant()
	r.mu.Unlock()
	select {
	case <-t.ready:
		return t.got, nil
	case <-ctx.Done():
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fill()
	select {
	case <-t.ready: // in the last moment
		r.have += float64(t.got)
	default:
		r.queue.Remove(e)
	}
	r.grant()
	return 0, context.Cause(ctx)
}

// Done gives back what did not move; those who wait have it at once.
func (r *Rate) Done(taken, moved int64) {
	if taken <= moved {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fill()
	r.have += float64(taken - moved)
	r.grant()
}

// burst is what is saved up: some grants, also where a second's worth is less
// than that.
func (r *Rate) burst() float64 { return max(r.rate*burst, 4) }

// fill adds what has become free since the last time.
func (r *Rate) fill() {
	now := time.Now()
	if r.have < r.burst() { // what was given back on top stays
		r.have = min(r.have+r.rate*now.Sub(r.at).Seconds(), r.burst())
	}
	r.at = now
}

// size is how much one grant has at most.
func (r *Rate) size() int64 {
	n := r.queue.Len()
	if n >= r.crowd || r.at.Sub(r.crowdAt) > crowdLasts {
		r.crowd, r.crowdAt = n, r.at
	}
	s := max(r.rate*slice, min(r.rate*slowSlice, packet))
	if r.crowd > 1 {
		s = min(s, r.rate*round/float64(r.crowd), sharedMost)
	}
	return max(int64(s), 1)
}

// grant gives to those who wait, in their order, as long as there is enough, and
// sets the timer for the next.
func (r *Rate) grant() {
	for e := r.queue.Front(); e != nil; e = r.queue.Front() {
		t := e.Value.(*taker)
		t.got = t.want
		if r.rate > 0 {
			t.got = min(t.want, r.size())
			if missing := float64(t.got) - r.have; missing > 0 {
				r.wake(missing)
				return
			}
			r.have -= float64(t.got)
		}
		r.queue.Remove(e)
		close(t.ready)
	}
	if r.timer != nil {
		r.timer.Stop()
	}
}

// wake sets the timer to when bytes more are there.
func (r *Rate) wake(bytes float64) {
	d := time.Duration(math.Ceil(min(bytes/r.rate, 3600) * float64(time.Second)))
	if r.timer != nil {
		r.timer.Reset(d)
		return
	}
	r.timer = time.AfterFunc(d, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.fill()
		r.grant()
	})
}

var _ Meter = (*Rate)(nil)
