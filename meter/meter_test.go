package meter

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
)

// A purse grants at most per bytes a time, out of what is left.
type purse struct {
	mu    sync.Mutex
	left  int64
	per   int64
	taken int64 // and not yet done
	moved int64
}

var errEmpty = errors.New("empty")

func (p *purse) Take(ctx context.Context, want int64) (int64, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	n := min(want, p.per, p.left)
	if n <= 0 {
		return 0, errEmpty
	}
	p.left -= n
	p.taken += n
	return n, nil
}

func (p *purse) Done(taken, moved int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken -= taken
	p.left += taken - moved
	p.moved += moved
}

// is wants what a purse still has, what of it is out, and what moved.
func (p *purse) is(t *testing.T, left, taken, moved int64) {
	t.Helper()
	if p.left != left || p.taken != taken || p.moved != moved {
		t.Errorf("purse has %d, %d taken, %d moved; want %d, %d, %d", p.left, p.taken, p.moved, left, taken, moved)
	}
}

func TestACounterGrantsEverythingAndCountsWhatMoved(t *testing.T) {
	var c Counter
	for _, want := range []int64{1, 1 << 40} {
		if n, err := c.Take(t.Context(), want); n != want || err != nil {
			t.Errorf("Take(%d) = %d, %v", want, n, err)
		}
	}
	c.Done(1, 1)
	c.Done(1<<40, 10)
	c.Done(5, 0)
	if c.Bytes() != 11 {
		t.Errorf("Bytes() = %d, want 11", c.Bytes())
	}
}

func TestAllGrantsTheLeastAndGivesTheRestBack(t *testing.T) {
	wide, narrow, middle := &purse{left: 1000, per: 100}, &purse{left: 1000, per: 30}, &purse{left: 1000, per: 50}
	var c Counter
	m := All(wide, narrow, middle, &c)
	n, err := m.Take(t.Context(), 500)
	if n != 30 || err != nil {
		t.Fatalf("Take(500) = %d, %v; want 30", n, err)
	}
	for _, p := range []*purse{wide, narrow, middle} {
		p.is(t, 970, 30, 0)
	}
	m.Done(30, 12) // the other side ended
	for _, p := range []*purse{wide, narrow, middle} {
		p.is(t, 988, 0, 12)
	}
	if c.Bytes() != 12 {
		t.Errorf("Bytes() = %d, want 12", c.Bytes())
	}
}

func TestAllNeverAsksALaterMeterForMoreThanAnEarlierOneGranted(t *testing.T) {
	first, second := &purse{left: 7, per: 100}, &purse{left: 1000, per: 100}
	if n, err := All(first, second).Take(t.Context(), 50); n != 7 || err != nil {
		t.Fatalf("Take(50) = %d, %v; want 7", n, err)
	}
	second.is(t, 993, 7, 0)
}

func TestAnErrorTakesNothingFromAnybody(t *testing.T) {
	full, more, empty, untouched := &purse{left: 50, per: 9}, &purse{left: 50, per: 20}, &purse{}, &purse{left: 50, per: 20}
	n, err := All(full, more, empty, untouched).Take(t.Context(), 10)
	if n != 0 || !errors.Is(err, errEmpty) {
		t.Fatalf("Take = %d, %v; want the error of the third", n, err)
	}
	for _, p := range []*purse{full, more, untouched} {
		p.is(t, 50, 0, 0)
	}
}

func TestTheCauseOfTheContextComesThrough(t *testing.T) {
	kicked := errors.New("kicked")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(kicked)
	p := &purse{left: 50, per: 50}
	if _, err := All(new(Counter), p).Take(ctx, 10); !errors.Is(err, kicked) {
		t.Errorf("Take = %v, want the cause", err)
	}
	p.is(t, 50, 0, 0)
}

func TestNoMeterIsNoLimit(t *testing.T) {
	m := All()
	if n, err := m.Take(t.Context(), 77); n != 77 || err != nil {
		t.Errorf("Take(77) = %d, %v", n, err)
	}
	m.Done(77, 77)
}

func TestAllInAll(t *testing.T) {
	p, c := &purse{left: 100, per: 40}, new(Counter)
	m := All(All(c), All(p, All()))
	if n, err := m.Take(t.Context(), 60); n != 40 || err != nil {
		t.Fatalf("Take(60) = %d, %v; want 40", n, err)
	}
	m.Done(40, 40)
	p.is(t, 60, 0, 40)
	if c.Bytes() != 40 {
		t.Errorf("Bytes() = %d, want 40", c.Bytes())
	}
}

// Transfers of one account share a meter: whatever they do at once, nothing is
// granted twice and nothing is lost.
func TestManyTransfersShareOneMeter(t *testing.T) {
	const room = 100_000
	shared, total := &purse{left: room, per: 64}, new(Counter)
	var wg sync.WaitGroup
	counters := make([]Counter, 8)
	for i := range counters {
		own := &counters[i]
		r := rand.New(rand.NewPCG(1, uint64(i)))
		wg.Go(func() {
			m := All(shared, own, total)
			for {
				n, err := m.Take(t.Context(), 1+r.Int64N(100))
				if err != nil {
					return
				}
				if n < 1 || n > 64 {
					t.Errorf("Take granted %d", n)
				}
				m.Done(n, r.Int64N(n+1))
			}
		})
	}
	wg.Wait()
	var sum int64
	for i := range counters {
		sum += counters[i].Bytes()
	}
	if sum != total.Bytes() {
		t.Errorf("the transfers counted %d bytes, together %d", sum, total.Bytes())
	}
	if shared.taken != 0 || shared.moved != sum || shared.left != room-sum {
		t.Errorf("meter has %d left, %d out, %d moved of %d", shared.left, shared.taken, shared.moved, room)
	}
}
