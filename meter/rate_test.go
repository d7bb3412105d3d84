package meter

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// run lets takers with these wants move bytes for d and returns what each moved.
// The line moves line bytes a second for each of them; 0 is no time at all.
func run(t *testing.T, r *Rate, d time.Duration, line float64, wants ...int64) []int64 {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	moved := make([]int64, len(wants))
	var wg sync.WaitGroup
	for i, want := range wants {
		wg.Go(func() {
			for {
				n, err := r.Take(ctx, want)
				if err != nil {
					if !errors.Is(err, context.DeadlineExceeded) {
						t.Errorf("Take: %v", err)
					}
					return
				}
				if n < 1 || n > want {
					t.Errorf("Take(%d) granted %d", want, n)
				}
				if line > 0 {
					time.Sleep(time.Duration(float64(n) / line * float64(time.Second)))
				}
				moved[i] += n
				r.Done(n, n)
			}
		})
	}
	wg.Wait()
	return moved
}

// within wants got to be want give or take part of it.
func within(t *testing.T, what string, got int64, want, part float64) {
	t.Helper()
	if math.Abs(float64(got)-want) > want*part {
		t.Errorf("%s is %d, want %.0f give or take %.0f %%", what, got, want, part*100)
	}
}

func sum(moved []int64) (n int64) {
	for _, m := range moved {
		n += m
	}
	return n
}

// wants are from 64 KiB to 4 MiB in turn.
func wants(n int) []int64 {
	w := make([]int64, n)
	for i := range w {
		w[i] = 64 << 10 << (i * 5 % 7)
	}
	return w
}

func TestTheRateHoldsInSumAndIsSharedAlike(t *testing.T) {
	for _, rate := range []int64{1000, 20_000, 100_000, 1_000_000, 50_000_000, 1_000_000_000} {
		for _, n := range []int{1, 4, 16} {
			for _, line := range []float64{0, 1.5} { // of rate
				t.Run(fmt.Sprintf("%d bytes a second, %d takers, line %v", rate, n, line), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						moved := run(t, NewRate(rate), 2*time.Second, line*float64(rate), wants(n)...)
						within(t, "the sum", sum(moved), 2*float64(rate), 0.05)
						for i, m := range moved {
							within(t, fmt.Sprintf("share %d", i), m, 2*float64(rate)/float64(n), 0.2)
						}
					})
				})
			}
		}
	}
}

func TestAnIdleRateSavesUpATwentiethOfASecond(t *testing.T) {
	for _, n := range []int{1, 4, 16} {
		synctest.Test(t, func(t *testing.T) {
			r := NewRate(1_000_000)
			time.Sleep(time.Hour)
			moved := run(t, r, 2*time.Second, 0, wants(n)...)
			within(t, "the sum", sum(moved), 2_050_000, 0.01)
			for i, m := range moved { // who comes first may have all of it
				if least := 2_000_000 * 0.95 / float64(n); float64(m) < least {
					t.Errorf("share %d of %d is %d, want %.0f or more", i, n, m, least)
				}
			}
		})
	}
}

func TestALoneTakerHasWhatTheOthersDoNotUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRate(1_000_000)
		var wg sync.WaitGroup
		wg.Go(func() { run(t, r, time.Second, 0, wants(3)...) })
		moved := run(t, r, 3*time.Second, 0, 1<<20)
		wg.Wait()
		within(t, "one of four for a second, alone for two", moved[0], 2_250_000, 0.05)
	})
}

func TestSmallWantsAreGrantedWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRate(1_000_000)
		begun := time.Now()
		for range 1000 {
			if n, err := r.Take(t.Context(), 100); n != 100 || err != nil {
				t.Fatalf("Take(100) = %d, %v", n, err)
			}
			r.Done(100, 100)
		}
		if took := time.Since(begun).Round(time.Microsecond); took != 100*time.Millisecond {
			t.Errorf("100,000 bytes took %v, want 100ms", took)
		}
	})
}

func TestWhatDidNotMoveIsGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRate(1_000_000)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		var moved int64
		for {
			n, err := r.Take(ctx, 1<<20)
			if err != nil {
				break
			}
			r.Done(n/4, 0) // as All does
			n -= n / 4
			r.Done(n, n/2)
			moved += n / 2
		}
		within(t, "what moved", moved, 2_000_000, 0.05)
	})
}

func TestGivingBackWakesTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRate(1000)
		time.Sleep(time.Second)
		var taken int64
		for range 2 { // all that was saved up
			n, _ := r.Take(t.Context(), 25)
			taken += n
		}
		begun := time.Now()
		var wg sync.WaitGroup
		wg.Go(func() {
			if n, err := r.Take(t.Context(), 20); n != 20 || err != nil {
				t.Errorf("Take(20) = %d, %v", n, err)
			}
		})
		synctest.Wait()
		r.Done(taken, 0)
		wg.Wait()
		if took := time.Since(begun); taken != 50 || took != 0 {
			t.Errorf("after %d bytes were given back the next waited %v", taken, took)
		}
	})
}

func TestARateCanBeChangedWhileTransfersWait(t *testing.T) {
	tests := []struct {
		name          string
		first, second int64
		want          float64 // after a second each
	}{
		{"up", 1000, 1_000_000, 1_001_000},
		{"down", 1_000_000, 1000, 1_001_000},
		{"from nearly nothing", 1, 1_000_000, 1_000_000},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := NewRate(tt.first)
				time.AfterFunc(time.Second, func() { r.Set(tt.second) })
				moved := run(t, r, 2*time.Second, 0, wants(4)...)
				within(t, "the sum", sum(moved), tt.want, 0.05)
				for i, m := range moved {
					within(t, fmt.Sprintf("share %d", i), m, tt.want/4, 0.2)
				}
			})
		})
	}
}

func TestNoLimitGrantsEverythingAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		lifted := NewRate(1)
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				if n, err := lifted.Take(t.Context(), 1<<40); n != 1<<40 || err != nil {
					t.Errorf("one who waited was granted %d, %v", n, err)
				}
			})
		}
		synctest.Wait()
		lifted.Set(0)
		wg.Wait()
		for name, r := range map[string]*Rate{"0": NewRate(0), "less than 0": NewRate(-5), "0, set later": lifted} {
			if n, err := r.Take(t.Context(), 1<<40); n != 1<<40 || err != nil {
				t.Errorf("a rate of %s granted %d, %v", name, n, err)
			}
		}
		if took := time.Since(begun); took != 0 {
			t.Errorf("it took %v", took)
		}
	})
}

func TestALimitAfterNoneIsNotOwedWhatMovedBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRate(0)
		if _, err := r.Take(t.Context(), 1<<40); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		r.Set(1_000_000)
		within(t, "the sum", sum(run(t, r, 2*time.Second, 0, 1<<20)), 2_000_000, 0.05)
	})
}

func TestCancellationLeavesTheOthersUnharmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRate(1_000_000)
		kicked := errors.New("kicked")
		var wg sync.WaitGroup
		for i := range 100 { // in and out of the queue all the time
			wg.Go(func() {
				for d := time.Duration(i+1) * 100 * time.Microsecond; d < 2*time.Second; d += 20 * time.Millisecond {
					ctx, cancel := context.WithCancelCause(t.Context())
					time.AfterFunc(time.Duration(i)*10*time.Microsecond, func() { cancel(kicked) })
					n, err := r.Take(ctx, 1<<20)
					if err != nil && !errors.Is(err, kicked) {
						t.Errorf("Take: %v, want the cause", err)
					}
					r.Done(n, 0)
					cancel(nil)
					time.Sleep(20 * time.Millisecond)
				}
			})
		}
		moved := run(t, r, 2*time.Second, 0, wants(4)...)
		wg.Wait()
		within(t, "the sum of the others", sum(moved), 2_000_000, 0.05)
		for i, m := range moved {
			within(t, fmt.Sprintf("share %d", i), m, 500_000, 0.2)
		}
	})
}

func TestAContextThatHasEndedTakesNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if n, err := NewRate(0).Take(ctx, 5); n != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("Take = %d, %v", n, err)
	}
}

// The order of the queue is that of coming, whatever is wanted.
func TestTakersHaveTheirTurnInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRate(1000)
		var mu sync.Mutex
		var order []int
		var wg sync.WaitGroup
		for i := range 5 {
			wg.Go(func() {
				if _, err := r.Take(t.Context(), int64(1000>>i)); err != nil {
					t.Errorf("Take: %v", err)
				}
				mu.Lock()
				order = append(order, i)
				mu.Unlock()
			})
			synctest.Wait()
		}
		wg.Wait()
		if got := fmt.Sprint(order); got != "[0 1 2 3 4]" {
			t.Errorf("the turns were %s", got)
		}
	})
}
