package account

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"dray/fault"
)

const work = 50 * time.Millisecond

var (
	ada  = netip.MustParseAddr("192.0.2.1")
	otto = netip.MustParseAddr("192.0.2.2")
)

// nth is one of many addresses.
func nth(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}) }

// flood sends n from an address, which come in order.
func flood(t *testing.T, q *Queue, n int, from netip.Addr, wg *sync.WaitGroup, done func(i int, err error)) {
	t.Helper()
	for i := range n {
		wg.Go(func() { done(i, q.Do(t.Context(), from, func() { time.Sleep(work) })) })
		synctest.Wait()
	}
}

func isBusy(t *testing.T, err error, what string) {
	t.Helper()
	var fe *fault.Error
	if !errors.As(err, &fe) || fe.Kind != fault.Closing || fe.ID != fault.IDBusy || fe.Facts[0] != what || fe.Facts[1] != fe.Facts[2] {
		t.Errorf("the error is %v, want busy with %q", err, what)
	}
}

func TestOnlySoManyRunAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := NewQueue(3)
		var wg sync.WaitGroup
		var mu sync.Mutex
		running, most, ran := 0, 0, 0
		begun := time.Now()
		for i := range 60 {
			wg.Go(func() {
				err := q.Do(t.Context(), nth(i%7), func() {
					mu.Lock()
					running++
					ran++
					most = max(most, running)
					mu.Unlock()
					time.Sleep(work)
					mu.Lock()
					running--
					mu.Unlock()
				})
				if err != nil {
					t.Errorf("Do: %v", err)
				}
			})
		}
		wg.Wait()
		if most != 3 || ran != 60 || time.Since(begun) != 20*work {
			t.Errorf("%d ran, %d at once, in %v; want 60, 3 at once, in %v", ran, most, time.Since(begun), 20*work)
		}
		empty(t, q)
	})
}

// state is who waits, from how many addresses.
func (q *Queue) state() (waiting, lines int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.waiting, len(q.lines)
}

// empty wants that a queue has forgotten everybody.
func empty(t *testing.T, q *Queue) {
	t.Helper()
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.running != 0 || q.waiting != 0 || len(q.lines) != 0 || q.turns.Len() != 0 {
		t.Errorf("the queue still has %d running, %d waiting, %d lines, %d turns", q.running, q.waiting, len(q.lines), q.turns.Len())
	}
}

func TestZeroIsAsManyAsThereAreProcessors(t *testing.T) {
	for _, n := range []int{0, -1} {
		if q := NewQueue(n); q.atOnce < 1 {
			t.Errorf("NewQueue(%d) runs %d at once", n, q.atOnce)
		}
	}
}

func TestAFloodFromOneAddressDelaysAnotherByOneRound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := NewQueue(2)
		var wg sync.WaitGroup
		served, refused := 0, 0
		var mu sync.Mutex
		flood(t, q, 500, ada, &wg, func(_ int, err error) {
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				served++
				return
			}
			refused++
			isBusy(t, err, "logins that wait from your address")
		})
		begun := time.Now()
		for range 3 {
			asked := time.Now()
			if err := q.Do(t.Context(), otto, func() {}); err != nil {
				t.Fatalf("Do: %v", err)
			}
			if waited := time.Since(asked); waited > work {
				t.Errorf("the other waited %v, want %v at most", waited, work)
			}
		}
		if time.Since(begun) == 0 {
			t.Error("there was no flood")
		}
		wg.Wait()
		if served != 2+waitAddress || refused != 500-served {
			t.Errorf("%d served, %d refused; want %d served", served, refused, 2+waitAddress)
		}
		empty(t, q)
	})
}

func TestAddressesTakeTurnsAndWithinOneTheFirstIsFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := NewQueue(1)
		var wg sync.WaitGroup
		var order []string
		come := func(who string, from netip.Addr) {
			wg.Go(func() {
				if err := q.Do(t.Context(), from, func() { order = append(order, who); time.Sleep(work) }); err != nil {
					t.Errorf("Do: %v", err)
				}
			})
			synctest.Wait()
		}
		for i := range 4 {
			come(fmt.Sprintf("a%d", i), ada)
		}
		come("o0", otto)
		come("o1", otto)
		come("n0", nth(1))
		wg.Wait()
		if got, want := strings.Join(order, " "), "a0 a1 o0 n0 a2 o1 a3"; got != want {
			t.Errorf("the turns were %s, want %s", got, want)
		}
	})
}

func TestWhatCountsAsOneAddress(t *testing.T) {
	tests := []struct {
		name, a, b string
		same       bool
	}{
		{"an IPv4 address", "192.0.2.1", "192.0.2.1", true},
		{"its form in IPv6", "192.0.2.1", "::ffff:192.0.2.1", true},
		{"the next one is another", "192.0.2.1", "192.0.2.2", false},
		{"all of a /64", "2001:db8::1", "2001:db8::ffff:1:2:3", true},
		{"zones do not count", "fe80::1%eth0", "fe80::1%eth1", true},
		{"the next /64 is another", "2001:db8::1", "2001:db8:0:1::1", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, b := network(netip.MustParseAddr(tt.a)), network(netip.MustParseAddr(tt.b))
			if (a == b) != tt.same {
				t.Errorf("network(%s) = %v, network(%s) = %v", tt.a, a, tt.b, b)
			}
		})
	}
	if err := NewQueue(1).Do(t.Context(), netip.Addr{}, func() {}); err != nil {
		t.Errorf("no address at all: %v", err)
	}
}

func TestAFullQueueGivesWayToAddressesWithFewer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := NewQueue(1)
		var wg sync.WaitGroup
		var mu sync.Mutex
		crowded := map[int]int{} // by address
		flood(t, q, 1, ada, &wg, func(int, error) {})
		for i := range waitTotal / waitAddress {
			flood(t, q, waitAddress, nth(i), &wg, func(n int, err error) {
				if err == nil {
					return
				}
				isBusy(t, err, "logins that wait")
				if n != waitAddress-1 {
					t.Errorf("number %d gave way, want the last", n)
				}
				mu.Lock()
				crowded[i]++
				mu.Unlock()
			})
		}
		if n, _ := q.state(); n != waitTotal {
			t.Fatalf("%d wait", n)
		}
		for i := range 5 {
			flood(t, q, 1, nth(1000+i), &wg, func(_ int, err error) {
				if err != nil {
					t.Errorf("an address with none was turned away: %v", err)
				}
			})
		}
		mu.Lock()
		if n, _ := q.state(); n != waitTotal || len(crowded) != 5 {
			t.Errorf("%d wait, %d addresses gave way; want %d and 5", n, len(crowded), waitTotal)
		}
		mu.Unlock()
		wg.Wait()
		empty(t, q)
	})
}

func TestAFullQueueOfSingleAddressesRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := NewQueue(1)
		var wg sync.WaitGroup
		for i := range 1 + waitTotal {
			flood(t, q, 1, nth(i), &wg, func(_ int, err error) {
				if err != nil {
					t.Errorf("Do: %v", err)
				}
			})
		}
		isBusy(t, q.Do(t.Context(), otto, func() { t.Error("it ran") }), "logins that wait")
		isBusy(t, q.Do(t.Context(), nth(5), func() { t.Error("it ran") }), "logins that wait")
		wg.Wait()
		empty(t, q)
	})
}

func TestAnEndedContextLeavesTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := NewQueue(1)
		var wg sync.WaitGroup
		gone := errors.New("gone")
		flood(t, q, 2, ada, &wg, func(_ int, err error) {
			if err != nil {
				t.Errorf("Do: %v", err)
			}
		})
		ctx, cancel := context.WithCancelCause(t.Context())
		for range 10 {
			wg.Go(func() {
				if err := q.Do(ctx, otto, func() { t.Error("it ran") }); !errors.Is(err, gone) {
					t.Errorf("Do: %v, want the cause", err)
				}
			})
		}
		synctest.Wait()
		begun := time.Now()
		cancel(gone)
		if err := q.Do(ctx, otto, func() { t.Error("it ran") }); !errors.Is(err, gone) {
			t.Errorf("Do in an ended context: %v", err)
		}
		synctest.Wait()
		if n, lines := q.state(); n != 1 || lines != 1 || time.Since(begun) != 0 {
			t.Errorf("%d wait from %d addresses after %v, want 1 at once", n, lines, time.Since(begun))
		}
		wg.Wait()
		empty(t, q)
	})
}

// A turn that comes in the moment in which the waiter gives up goes to the next.
func TestNoPlaceIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := NewQueue(2)
		var wg sync.WaitGroup
		for i := range 300 {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i%8)*work)
				defer cancel()
				_ = q.Do(ctx, nth(i%11), func() { time.Sleep(work) })
			})
		}
		wg.Wait()
		empty(t, q)
	})
}

func TestAPanicFreesItsPlace(t *testing.T) {
	q := NewQueue(1)
	func() {
		defer func() { _ = recover() }()
		_ = q.Do(t.Context(), ada, func() { panic("bad") })
	}()
	empty(t, q)
}
