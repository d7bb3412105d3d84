package accounttest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"unicode"

	"dray/account"
	"dray/explain"
	"dray/fault"
)

// RunLedger runs the suite of Ledgers. Each test asks open for an empty Store of
// its own and the Ledger that reads its quotas there; open closes them with
// t.Cleanup. Changes of the Store must act on the next Hold.
func RunLedger(t *testing.T, open func(t *testing.T) (account.Store, account.Ledger)) {
	for _, test := range ledgerTests {
		t.Run(test.name, func(t *testing.T) {
			store, ledger := open(t)
			test.run(&books{shelf: &shelf{T: t, Store: store}, ledger: ledger})
		})
	}
}

// books are one test with its Ledger.
type books struct {
	*shelf
	ledger account.Ledger
}

// anna makes the account anna with a quota.
func (t *books) anna(maxFiles int, maxBytes int64) {
	t.Helper()
	t.put(account.Account{Name: "anna", Rights: account.Full, MaxFiles: maxFiles, MaxBytes: maxBytes})
}

func (t *books) hold(name string, files int, bytes int64) account.Hold {
	t.Helper()
	h, err := t.ledger.Hold(t.Context(), name, files, bytes)
	if err != nil {
		t.Fatalf("Hold(%s, %d, %d): %v", name, files, bytes, err)
	}
	return h
}

func (t *books) more(h account.Hold, bytes int64) {
	t.Helper()
	if err := h.More(t.Context(), bytes); err != nil {
		t.Errorf("More(%d): %v", bytes, err)
	}
}

func (t *books) settle(h account.Hold, files int, bytes int64) {
	t.Helper()
	if err := h.Settle(t.Context(), files, bytes); err != nil {
		t.Errorf("Settle(%d, %d): %v", files, bytes, err)
	}
}

func (t *books) adjust(name string, files int, bytes int64) {
	t.Helper()
	if err := t.ledger.Adjust(t.Context(), name, files, bytes); err != nil {
		t.Errorf("Adjust(%s, %d, %d): %v", name, files, bytes, err)
	}
}

func (t *books) uses(name string, files int, bytes int64) {
	t.Helper()
	f, b, err := t.ledger.Usage(t.Context(), name)
	if err != nil || f != files || b != bytes {
		t.Errorf("Usage(%s) = %d files, %d bytes, %v; want %d, %d", name, f, b, err, files, bytes)
	}
}

// full wants a Hold to be refused for the quota.
func (t *books) full(name string, files int, bytes int64) {
	t.Helper()
	h, err := t.ledger.Hold(t.Context(), name, files, bytes)
	if h != nil {
		t.Errorf("Hold(%s, %d, %d) gives a hold", name, files, bytes)
	}
	t.quota(fmt.Sprintf("Hold(%s, %d, %d)", name, files, bytes), err)
}

// quota wants err to be the refusal of a full quota, with facts for people.
func (t *books) quota(doing string, err error) *fault.Error {
	t.Helper()
	fe, ok := errors.AsType[*fault.Error](err)
	if !ok || fe.Kind != fault.OverQuota || fe.ID != fault.IDQuota {
		t.Errorf("%s = %v; want kind OverQuota, id %s", doing, err, fault.IDQuota)
		return nil
	}
	if len(fe.Facts) != 2 {
		t.Errorf("%s: facts %q; want what is used and the limit", doing, fe.Facts)
		return nil
	}
	for _, fact := range fe.Facts {
		s, _ := fact.(string)
		if !strings.ContainsFunc(s, unicode.IsDigit) || !strings.ContainsFunc(s, unicode.IsLetter) {
			t.Errorf("%s: fact %#v; want a number and its unit", doing, fact)
		}
		if !strings.Contains(explain.Sentence(fe), s) {
			t.Errorf("%s: %q lacks %q", doing, explain.Sentence(fe), s)
		}
	}
	return fe
}

var ledgerTests = []struct {
	name string
	run  func(*books)
}{
	{"a new account uses nothing", func(t *books) {
		t.anna(0, 0)
		t.uses("anna", 0, 0)
	}},
	{"what is settled is used, what is held is not yet", func(t *books) {
		t.anna(10, 1000)
		h := t.hold("anna", 1, 300)
		t.uses("anna", 0, 0)
		t.more(h, 500)
		t.uses("anna", 0, 0)
		t.settle(h, 1, 700)
		t.uses("anna", 1, 700)
	}},
	{"to the byte", func(t *books) {
		t.anna(0, 1000)
		h := t.hold("anna", 1, 400)
		t.full("anna", 1, 601)
		t.more(h, 600)
		t.full("anna", 1, 1)
		t.quota("More(1)", h.More(t.Context(), 1))
		t.settle(h, 1, 1000)
		t.full("anna", 0, 1)
		t.settle(t.hold("anna", 1, 0), 1, 0) // a file without bytes
		t.uses("anna", 2, 1000)
	}},
	{"to the file", func(t *books) {
		t.anna(2, 0)
		a, b := t.hold("anna", 1, 10), t.hold("anna", 1, 1<<40)
		t.full("anna", 1, 0)
		t.settle(t.hold("anna", 0, 5), 0, 5) // a file more is not asked for
		t.settle(a, 1, 10)
		t.full("anna", 1, 0)
		t.settle(b, 0, 0) // was discarded
		t.settle(t.hold("anna", 1, 0), 1, 0)
		t.full("anna", 1, 0)
		t.uses("anna", 2, 15)
	}},
	{"a refused Hold or More holds nothing", func(t *books) {
		t.anna(3, 1000)
		h := t.hold("anna", 1, 0)
		for range 10 {
			t.full("anna", 1, 1001)
			t.full("anna", 3, 10)
			t.quota("More(1001)", h.More(t.Context(), 1001))
		}
		t.more(h, 500)
		rest := t.hold("anna", 2, 500)
		t.full("anna", 0, 1)
		t.full("anna", 1, 0)
		t.settle(rest, 0, 0)
		t.settle(h, 1, 500)
		t.uses("anna", 1, 500)
	}},
	{"Settle frees the rest", func(t *books) {
		t.anna(1, 1000)
		t.settle(t.hold("anna", 1, 1000), 0, 100)
		t.full("anna", 1, 901)
		t.settle(t.hold("anna", 1, 900), 0, 0)
		t.uses("anna", 0, 100)
	}},
	{"a larger file that was replaced gives room", func(t *books) {
		t.anna(0, 1000)
		t.settle(t.hold("anna", 1, 1000), 1, 1000)
		t.full("anna", 0, 1)
		t.settle(t.hold("anna", 0, 0), 0, -400) // a full account may still replace
		t.uses("anna", 1, 600)
		t.settle(t.hold("anna", 0, 400), 0, 400)
		t.uses("anna", 1, 1000)
	}},
	{"what was gained counts also above what was held", func(t *books) {
		t.anna(1, 100)
		t.settle(t.hold("anna", 1, 10), 2, 150)
		t.uses("anna", 2, 150)
		t.full("anna", 0, 1)
		t.full("anna", 1, 0)
		t.settle(t.hold("anna", 0, 0), -1, -100)
		t.uses("anna", 1, 50)
		t.settle(t.hold("anna", 0, 50), 0, 50)
	}},
	{"Settle is the last call", func(t *books) {
		t.anna(10, 1000)
		h := t.hold("anna", 1, 100)
		t.settle(h, 1, 100)
		if h.Settle(t.Context(), 1, 100) == nil {
			t.Error("a second Settle was taken")
		}
		if h.More(t.Context(), 10) == nil {
			t.Error("More was taken after Settle")
		}
		t.uses("anna", 1, 100)
		t.settle(t.hold("anna", 9, 900), 0, 0)
	}},
	{"Adjust books, and never below nothing", func(t *books) {
		t.anna(5, 1000)
		t.adjust("anna", 3, 500)
		t.uses("anna", 3, 500)
		t.adjust("anna", -1, -100)
		t.uses("anna", 2, 400)
		t.adjust("anna", -5, -100)
		t.uses("anna", 0, 300)
		t.adjust("anna", 0, -1000)
		t.uses("anna", 0, 0)
		t.adjust("anna", 1, 10)
		t.uses("anna", 1, 10)
		t.settle(t.hold("anna", 0, 0), -7, -70)
		t.uses("anna", 0, 0)
		t.adjust("anna", 0, math.MinInt64/2)
		t.settle(t.hold("anna", 5, 1000), 0, 0)
		t.full("anna", 0, 1001)
	}},
	{"Adjust is not refused by a quota, and makes room", func(t *books) {
		t.anna(1, 100)
		t.adjust("anna", 5, 500)
		t.full("anna", 0, 1)
		t.adjust("anna", -5, -401)
		t.uses("anna", 0, 99)
		t.settle(t.hold("anna", 1, 1), 1, 1)
		t.uses("anna", 1, 100)
	}},
	{"accounts without a quota are counted", func(t *books) {
		t.anna(0, 0)
		h := t.hold("anna", 1000, 1<<50)
		t.more(h, 1<<50)
		t.settle(h, 3, 1<<41)
		t.adjust("anna", -1, -1)
		t.uses("anna", 2, 1<<41-1)
	}},
	{"accounts don't share", func(t *books) {
		t.anna(1, 100)
		t.put(account.Account{Name: "Anna", MaxBytes: 50})
		t.put(account.Account{Name: "otto"})
		t.settle(t.hold("anna", 1, 100), 1, 100)
		t.uses("Anna", 0, 0)
		t.settle(t.hold("Anna", 2, 50), 2, 50)
		t.full("Anna", 0, 1)
		t.settle(t.hold("otto", 7, 1<<40), 7, 1<<40)
		t.uses("anna", 1, 100)
		t.uses("Anna", 2, 50)
		t.uses("otto", 7, 1<<40)
	}},
	{"a changed quota acts on the next Hold", func(t *books) {
		t.anna(0, 100)
		t.settle(t.hold("anna", 1, 100), 1, 100)
		t.full("anna", 0, 1)
		t.anna(0, 200)
		t.settle(t.hold("anna", 1, 100), 1, 100)
		t.full("anna", 0, 1)
		t.anna(2, 0)
		t.settle(t.hold("anna", 0, 1000), 0, 1000)
		t.full("anna", 1, 0)
		t.anna(0, 0)
		t.settle(t.hold("anna", 9, 1<<40), 0, 0)
		t.anna(0, 50) // below what is used
		t.full("anna", 0, 1)
		t.settle(t.hold("anna", 1, 0), 0, -1200)
		t.uses("anna", 2, 0)
		t.settle(t.hold("anna", 0, 50), 0, 0)
	}},
	{"the refusal says what is used and the limit", func(t *books) {
		t.anna(3, 3<<20)
		h := t.hold("anna", 2, 1<<20)
		t.settle(h, 2, 1<<20)
		_, err := t.ledger.Hold(t.Context(), "anna", 1, 2<<20+1)
		inBytes := t.quota("a Hold of too many bytes", err)
		_, err = t.ledger.Hold(t.Context(), "anna", 2, 1)
		inFiles := t.quota("a Hold of too many files", err)
		if inBytes == nil || inFiles == nil {
			return
		}
		if used, limit := fmt.Sprint(inBytes.Facts[0]), fmt.Sprint(inBytes.Facts[1]); !strings.HasPrefix(used, "1") || !strings.HasPrefix(limit, "3") {
			t.Errorf("too many bytes: %q of %q; want 1 MiB of 3 MiB", used, limit)
		}
		if used, limit := fmt.Sprint(inFiles.Facts[0]), fmt.Sprint(inFiles.Facts[1]); !strings.HasPrefix(used, "2") || !strings.Contains(limit, "3 files") {
			t.Errorf("too many files: %q of %q; want 2 of 3 files", used, limit)
		}
		// What the refused hold has itself is not used: it will be given back.
		h = t.hold("anna", 1, 1<<20)
		if fe := t.quota("More of too many bytes", h.More(t.Context(), 1<<20+1)); fe != nil {
			if used := fmt.Sprint(fe.Facts[0]); !strings.HasPrefix(used, "1") {
				t.Errorf("too many bytes of a hold that has 1 MiB: %q; want 1 MiB used", used)
			}
		}
		t.settle(h, 0, 0)
	}},
	{"less than nothing can't be held", func(t *books) {
		t.anna(1, 100)
		for _, a := range []struct {
			files int
			bytes int64
		}{{-1, 0}, {0, -1}, {0, math.MinInt64}} {
			if h, err := t.ledger.Hold(t.Context(), "anna", a.files, a.bytes); err == nil {
				t.Errorf("Hold(%d, %d) = %v", a.files, a.bytes, h)
			}
		}
		h := t.hold("anna", 1, 100)
		if h.More(t.Context(), -50) == nil {
			t.Error("More(-50) was taken")
		}
		t.full("anna", 0, 1)
		t.settle(h, 0, 0)
	}},
	{"the largest numbers don't turn over", func(t *books) {
		t.anna(1, 100)
		t.full("anna", 0, math.MaxInt64)
		h := t.hold("anna", 1, 100)
		t.full("anna", 0, math.MaxInt64)
		t.quota("More", h.More(t.Context(), math.MaxInt64))
		t.settle(h, 1, 100)
		t.full("anna", 0, math.MaxInt64)
		t.anna(0, math.MaxInt64)
		h = t.hold("anna", 0, math.MaxInt64-100)
		t.full("anna", 0, 1)
		t.settle(h, 0, 0)
		t.anna(0, 0)
		var open []account.Hold
		for range 4 { // refused or not, the books stay right
			if h, err := t.ledger.Hold(t.Context(), "anna", 1, math.MaxInt64/2); err == nil {
				open = append(open, h)
			}
		}
		t.anna(0, 200)
		if len(open) > 0 {
			t.full("anna", 0, 1)
		}
		for _, h := range open {
			t.settle(h, 0, 0)
		}
		t.settle(t.hold("anna", 0, 100), 0, 0)
		t.full("anna", 0, 101)
	}},
	{"200 uploads at once get the quota together, to the byte", func(t *books) {
		const uploads, quota = 200, 1_000_003
		t.anna(0, quota)
		holds := make([]account.Hold, uploads)
		got := make([]int64, uploads)
		t.atOnce(uploads, func(i int) {
			h, err := t.ledger.Hold(t.Context(), "anna", 1, 0)
			if err != nil {
				t.Errorf("Hold: %v", err)
				return
			}
			holds[i] = h
			for block := int64(997); block > 0; {
				if err := h.More(t.Context(), block); err == nil {
					got[i] += block
					continue
				} else if fault.KindOf(err) != fault.OverQuota {
					t.Errorf("More: %v", err)
				}
				block /= 2
			}
		})
		var sum int64
		for _, n := range got {
			sum += n
		}
		if sum != quota {
			t.Errorf("together they hold %d bytes, the quota is %d", sum, quota)
		}
		t.atOnce(uploads, func(i int) {
			gained := got[i]
			if i%2 == 0 {
				gained = 0 // cut, and nothing was kept
			}
			if err := holds[i].Settle(t.Context(), i%2, gained); err != nil {
				t.Errorf("Settle: %v", err)
			}
		})
		sum = 0
		for i, n := range got {
			sum += n * int64(i%2)
		}
		t.uses("anna", uploads/2, sum)
		t.settle(t.hold("anna", 0, quota-sum), 0, 0)
		t.full("anna", 0, quota-sum+1)
	}},
	{"200 uploads at once get the quota together, to the file", func(t *books) {
		const uploads, quota = 200, 73
		t.anna(quota, 0)
		var mu sync.Mutex
		var holds []account.Hold
		t.atOnce(uploads, func(int) {
			h, err := t.ledger.Hold(t.Context(), "anna", 1, 10)
			if err != nil {
				if fault.KindOf(err) != fault.OverQuota {
					t.Errorf("Hold: %v", err)
				}
				return
			}
			mu.Lock()
			defer mu.Unlock()
			holds = append(holds, h)
		})
		if len(holds) != quota {
			t.Errorf("%d files were granted, the quota is %d", len(holds), quota)
		}
		t.atOnce(len(holds), func(i int) {
			if err := holds[i].Settle(t.Context(), 1, 10); err != nil {
				t.Errorf("Settle: %v", err)
			}
		})
		t.uses("anna", quota, 10*quota)
		t.full("anna", 1, 0)
	}},
	{"200 that come and go never exceed the quota", func(t *books) {
		const uploads, quota = 200, 10_000
		t.anna(0, quota)
		var mu sync.Mutex
		var held, most int64
		t.atOnce(uploads, func(i int) {
			r := rand.New(rand.NewPCG(7, uint64(i)))
			for range 20 {
				n := 1 + r.Int64N(quota/4)
				h, err := t.ledger.Hold(t.Context(), "anna", 1, n)
				if err != nil {
					if fault.KindOf(err) != fault.OverQuota {
						t.Errorf("Hold: %v", err)
					}
					continue
				}
				mu.Lock()
				held += n
				most = max(most, held)
				mu.Unlock()
				runtime.Gosched()
				mu.Lock() // before it is freed: held is never above what the Ledger holds
				held -= n
				mu.Unlock()
				if err := h.Settle(t.Context(), 1, n); err != nil {
					t.Errorf("Settle: %v", err)
				}
				if err := t.ledger.Adjust(t.Context(), "anna", -1, -n); err != nil {
					t.Errorf("Adjust: %v", err)
				}
			}
		})
		if most > quota {
			t.Errorf("%d bytes were held at once, the quota is %d", most, quota)
		}
		t.uses("anna", 0, 0)
		t.settle(t.hold("anna", 0, quota), 0, 0)
	}},
	{"whatever is done in whatever order, the books stay right", func(t *books) {
		type open struct {
			h     account.Hold
			files int
			bytes int64
		}
		for seed := range uint64(20) {
			name := fmt.Sprint("user", seed)
			t.put(account.Account{Name: name, MaxFiles: 12, MaxBytes: 1000})
			r := rand.New(rand.NewPCG(11, seed))
			var holds []open
			var files, heldFiles int
			var bytes, heldBytes int64
			for range 200 {
				n, f := r.Int64N(300), r.IntN(3)
				switch what := r.IntN(5); {
				case what < 2:
					fits := (f == 0 || files+heldFiles+f <= 12) && (n == 0 || bytes+heldBytes+n <= 1000)
					h, err := t.ledger.Hold(t.Context(), name, f, n)
					if (err == nil) != fits {
						t.Fatalf("seed %d: Hold(%d, %d) with %d+%d files, %d+%d bytes: %v", seed, f, n, files, heldFiles, bytes, heldBytes, err)
					}
					if fits {
						holds = append(holds, open{h, f, n})
						heldFiles, heldBytes = heldFiles+f, heldBytes+n
					}
				case what == 2 && len(holds) > 0:
					i := r.IntN(len(holds))
					fits := n == 0 || bytes+heldBytes+n <= 1000
					if err := holds[i].h.More(t.Context(), n); (err == nil) != fits {
						t.Fatalf("seed %d: More(%d) with %d+%d bytes: %v", seed, n, bytes, heldBytes, err)
					}
					if fits {
						holds[i].bytes += n
						heldBytes += n
					}
				case what == 3 && len(holds) > 0:
					i := r.IntN(len(holds))
					o := holds[i]
					holds = append(holds[:i], holds[i+1:]...)
					gained := r.Int64N(o.bytes+1) - r.Int64N(50)
					t.settle(o.h, o.files, gained)
					heldFiles, heldBytes = heldFiles-o.files, heldBytes-o.bytes
					files, bytes = max(files+o.files, 0), max(bytes+gained, 0)
				case what == 4:
					t.adjust(name, -f, -n)
					files, bytes = max(files-f, 0), max(bytes-n, 0)
				}
				t.uses(name, files, bytes)
			}
		}
	}},
	{"a removed account takes its usage along", func(t *books) {
		t.anna(1, 100)
		t.settle(t.hold("anna", 1, 100), 1, 100)
		if err := t.Remove(t.Context(), "anna"); err != nil {
			t.Fatal(err)
		}
		t.anna(1, 100)
		t.uses("anna", 0, 0)
		t.settle(t.hold("anna", 1, 100), 0, 0)
	}},
	{"a hold of a removed account is not one of its successor", func(t *books) {
		t.anna(1, 100)
		h := t.hold("anna", 1, 60)
		if err := t.Remove(t.Context(), "anna"); err != nil {
			t.Fatal(err)
		}
		t.anna(1, 100)
		t.settle(t.hold("anna", 1, 100), 0, 0)
		_ = h.More(t.Context(), 20) // refused or not
		t.settle(h, 1, 80)
		t.uses("anna", 0, 0)
	}},
	{"a cancelled context ends calls and holds nothing", func(t *books) {
		t.anna(1, 100)
		ctx, cancel := context.WithCancel(t.Context())
		h := t.hold("anna", 0, 40)
		cancel()
		canceled := func(doing string, err error) {
			t.Helper()
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%s = %v; want %v", doing, err, context.Canceled)
			}
		}
		_, err := t.ledger.Hold(ctx, "anna", 1, 10)
		canceled("Hold", err)
		_, _, err = t.ledger.Usage(ctx, "anna")
		canceled("Usage", err)
		canceled("More", h.More(ctx, 10))
		canceled("Adjust", t.ledger.Adjust(ctx, "anna", 1, 10))
		t.settle(t.hold("anna", 1, 60), 0, 0)
		t.settle(h, 0, 0)
		t.uses("anna", 0, 0)
	}},
}

// atOnce runs f n times at once. f reports by Errorf, because only the test's
// own goroutine may end it.
func (t *books) atOnce(n int, f func(i int)) {
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			f(i)
		})
	}
	close(start)
	wg.Wait()
}

var _ testing.TB = (*books)(nil)
