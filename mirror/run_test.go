package mirror

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"dray/fault"
	"dray/meter"
	"dray/remote"
)

func TestAFatalFailureEndsTheRun(t *testing.T) {
	for _, err := range []error{
		fault.New(fault.NoSpace, fault.IDNoSpace, "/a", "on the server"),
		fault.New(fault.OverQuota, fault.IDQuota, "/a"),
		fault.New(fault.NotLoggedIn, fault.IDAuth, "h.test", "u"),
		fault.New(fault.Untrusted, fault.IDExpired, "h.test", "x"),
	} {
		d := newDesk(t)
		d.write("a", []byte("x"))
		d.tree.onPut = func(int, string, remote.Put) *cut { return &cut{err: err} }
		s := d.run(Options{Parallel: 1, Retry: 5}, func(r *Run) {
			for i := range 100 {
				r.Upload(Upload{File: filepath.Join(d.dir, "a"), Path: fmt.Sprint("/", i), URL: fmt.Sprint(host, "/", i), Size: 1})
			}
		})
		if s.Failed != 1 || d.tree.times("put") != 1 || s.Found != s.Failed+s.Left || len(d.heard.of(Again)) != 0 {
			t.Errorf("%v: failed %d, sent %d times, found %d, left %d", err, s.Failed, d.tree.times("put"), s.Found, s.Left)
		}
	}
}

// Those under way when another transfer ends the run tell what ended it, and a failure of
// their own stays theirs.
func TestWhatTheOthersOfAnEndedRunSay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		for i := range 3 {
			d.tree.put(fmt.Sprint("/", i), random(1, 100_000))
		}
		d.tree.delay = time.Second
		full := fault.New(fault.NoSpace, fault.IDNoSpace, "/0", "on this machine")
		d.tree.onGet = func(_ int, p string, _ remote.Get) *cut {
			switch p {
			case "/0":
				return &cut{after: 50_000, err: full}
			case "/1":
				return &cut{after: 60_000, mid: func() { time.Sleep(time.Minute) }, err: nil}
			}
			return nil
		}
		d.tree.onStat = func(_ int, p string, _ *remote.Entry) error {
			if p == "/2" {
				time.Sleep(30 * time.Second)
				return missing("/2")
			}
			return nil
		}
		s := d.run(Options{Parallel: 3}, func(r *Run) {
			for i := range 3 {
				r.Download(Download{Path: fmt.Sprint("/", i), URL: fmt.Sprint(host, "/", i), Place: d.place, Name: fmt.Sprint(i)})
			}
		})
		got := map[string]fault.ID{}
		for _, e := range s.Errors {
			got[e.From] = fault.Of(e.Err).ID
		}
		if got[host+"/0"] != fault.IDNoSpace || got[host+"/1"] != fault.IDNoSpace || got[host+"/2"] != fault.IDNotFound {
			t.Errorf("failed with %v", got)
		}
	})
}

func TestTheFirstFailureMayEndTheRun(t *testing.T) {
	for _, fast := range []bool{true, false} {
		d := newDesk(t)
		s := d.run(Options{Parallel: 1, FailFast: fast}, func(r *Run) {
			for i := range 10 {
				name := fmt.Sprint(i)
				r.Download(Download{Path: "/" + name, URL: host + "/" + name, Place: d.place, Name: name})
			}
		})
		if want := map[bool]int{true: 1, false: 10}[fast]; s.Failed != want || s.Found != s.Failed+s.Left {
			t.Errorf("failed %d, found %d, left %d", s.Failed, s.Found, s.Left)
		}
	}
}

func TestOnlyTransientFailuresAreTriedAgain(t *testing.T) {
	busy := fault.New(fault.Busy, fault.IDBusy, "h.test")
	gone := fault.New(fault.NotFound, fault.IDNotFound, "/a")
	denied := fault.New(fault.Denied, fault.IDPerm, "/a")
	tests := []struct {
		name    string
		err     error
		o       Options
		tries   int
		refused int
		least   time.Duration
	}{
		{"lost", lost(), Options{Retry: 3}, 4, 0, 5 * time.Second},
		{"no retries", lost(), Options{}, 1, 0, 0},
		{"busy", busy, Options{Retry: 2}, 3, 3, 2 * time.Second},
		{"not found", gone, Options{Retry: 3}, 1, 0, 0},
		{"denied", denied, Options{Retry: 3}, 1, 0, 0},
		{"any", denied, Options{Retry: 3, RetryOn: RetryAny}, 4, 0, 5 * time.Second},
		{"none", lost(), Options{Retry: 3, RetryOn: RetryNone}, 1, 0, 0},
		{"for a time", lost(), Options{Retry: 100, RetryFor: 10 * time.Second}, 4, 0, 5 * time.Second},
		{"many", lost(), Options{Retry: 9}, 10, 0, 100 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDesk(t)
				d.tree.put("/a", []byte("x"))
				d.tree.onGet = func(int, string, remote.Get) *cut { return &cut{err: tt.err} }
				began := time.Now()
				d.wantFailed(d.get("a", tt.o), fault.Of(named(tt.err, "", "", 0)).ID)
				if got := d.tree.times("get"); got != tt.tries && !(tt.o.RetryFor > 0 && got == tt.tries-1) {
					t.Errorf("%d tries; want %d", got, tt.tries)
				}
				if d.tree.refused != tt.refused {
					t.Errorf("refused %d; want %d", d.tree.refused, tt.refused)
				}
				took := time.Since(began)
				if tt.o.RetryFor > 0 {
					if took > tt.o.RetryFor {
						t.Errorf("it took %v", took)
					}
				} else if took < tt.least || took > tt.least*5/2+tt.least/10 {
					t.Errorf("it took %v; want about %v", took, tt.least)
				}
				if again := d.heard.of(Again); len(again) > 0 && (again[0].Try != 1 || again[0].Wait <= 0 || again[0].Err == nil) {
					t.Errorf("%+v", again[0])
				}
			})
		})
	}
}

func TestBackOffGrowsToHalfAMinute(t *testing.T) {
	for try, want := range []time.Duration{1: 1, 2: 2, 3: 4, 4: 8, 5: 16, 6: 30, 7: 30, 1000: 30} {
		if want == 0 {
			continue
		}
		for range 100 {
			if got := backOff(try); got < want*time.Second*4/5 || got > want*time.Second*6/5 {
				t.Fatalf("backOff(%d) = %v", try, got)
			}
		}
	}
}

// No id is worth another try and the end of the run.
func TestNoFailureIsTransientAndFatal(t *testing.T) {
	for _, id := range []fault.ID{fault.IDLost, fault.IDBusy, fault.IDNoSpace, fault.IDQuota, fault.IDAuth, fault.IDInterrupted, fault.IDSourceMoved, fault.IDTLSReuse, fault.IDStall} {
		if err := fault.New(fault.Internal, id); Transient(err) == Fatal(err) {
			t.Errorf("%s: transient %v, fatal %v", id, Transient(err), Fatal(err))
		}
	}
}

// Every transfer is planned, started, tried again, and ends once.
func TestEventsComeInTheirOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		d.tree.width = 8
		for i := range 300 {
			d.tree.put(fmt.Sprint("/top/", i), random(uint64(i), i*10))
		}
		for i := range 20 {
			d.write(fmt.Sprint(i*15), nil)
		}
		d.tree.onGet = func(n int, p string, _ remote.Get) *cut {
			switch n % 7 {
			case 0:
				return &cut{after: 3, err: lost()}
			case 1:
				return &cut{after: 3, err: fault.New(fault.Denied, fault.IDPerm, p)}
			}
			return nil
		}
		s := d.getTree(Options{Retry: 2, Conflict: Skip})
		if s.Found != 300 || s.Found != s.Done+s.Skipped+s.Failed {
			t.Errorf("found %d, done %d, skipped %d, failed %d", s.Found, s.Done, s.Skipped, s.Failed)
		}
		order := map[int64][]What{}
		for _, e := range d.heard.all {
			if e.ID == 0 {
				t.Errorf("an event without a transfer: %+v", e)
			}
			order[e.ID] = append(order[e.ID], e.What)
		}
		for id, all := range order {
			all = slices.DeleteFunc(all, func(w What) bool { return w == Noted || w == Kept })
			if len(all) < 3 || all[0] != Planned || all[1] != Started || !slices.Contains([]What{Finished, Failed, Skipped}, all[len(all)-1]) {
				t.Errorf("transfer %d: %v", id, all)
				continue
			}
			for _, w := range all[2 : len(all)-1] {
				if w != Again {
					t.Errorf("transfer %d: %v", id, all)
				}
			}
		}
		if len(order) != 300 {
			t.Errorf("%d transfers had events", len(order))
		}
	})
}

func TestProgressIsNeverMoreThanAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		d.tree.width = 3
		d.tree.delay = 100 * time.Millisecond
		d.tree.traits.Sums = []string{"sha256"}
		for i := range 20 {
			d.tree.put(fmt.Sprint("/top/", i), random(uint64(i), 5000+i*20_000))
		}
		d.tree.onGet = func(n int, _ string, g remote.Get) *cut {
			if n%3 == 0 {
				return &cut{after: 70_000, err: lost()}
			}
			return nil
		}
		d.tree.onSum = func(n int, _ string) (string, error) {
			if n%5 == 0 {
				return "00", nil
			}
			return "", nil
		}
		r := NewRun(t.Context(), d.tree, Options{Retry: 50, Verify: VerifyHash})
		over := make(chan struct{})
		var all sync.WaitGroup
		all.Go(func() {
			for {
				p := r.Progress()
				if p.Settled > p.Size || p.Settled < 0 || p.Done+p.Failed+p.Skipped+len(p.Running) > p.Found {
					t.Errorf("settled %d of %d, done %d, running %d of %d", p.Settled, p.Size, p.Done, len(p.Running), p.Found)
				}
				for i, m := range p.Running {
					if m.At < 0 || m.Size >= 0 && m.At > m.Size || m.Began.IsZero() || i > 0 && m.ID <= p.Running[i-1].ID {
						t.Errorf("moving: %+v", m)
					}
				}
				select {
				case <-over:
					return
				case <-time.After(37 * time.Millisecond):
				}
			}
		})
		r.DownloadTree(Tree{Path: "/top", URL: host + "/top", Place: d.place})
		s := r.Wait()
		close(over)
		all.Wait()
		if s.Done+s.Failed != 20 || s.Done == 0 {
			t.Errorf("done %d, failed %d: %v", s.Done, s.Failed, first(s))
		}
		if p := r.Progress(); s.Failed == 0 && (p.Settled != p.Size || len(p.Running) != 0) {
			t.Errorf("settled %d of %d", p.Settled, p.Size)
		}
	})
}

// The rate is of all transfers together, and of what is read to be compared too.
func TestTheRateLimitsTheTotal(t *testing.T) {
	for _, verify := range []Verify{VerifyAuto, VerifyHash} {
		synctest.Test(t, func(t *testing.T) {
			d := newDesk(t)
			for i := range 4 {
				d.tree.put(fmt.Sprint("/top/", i), random(uint64(i), 100_000))
			}
			began := time.Now()
			s := d.getTree(Options{Rate: meter.NewRate(100_000), Verify: verify})
			want := 4 * time.Second
			if verify == VerifyHash {
				want *= 2
			}
			if took := time.Since(began); s.Done != 4 || took < want*9/10 || took > want*11/10 {
				t.Errorf("done %d in %v; want %v", s.Done, took, want)
			}
		})
	}
}

func TestWidthIsKept(t *testing.T) {
	for _, o := range []Options{{}, {Parallel: 2}} {
		synctest.Test(t, func(t *testing.T) {
			d := newDesk(t)
			d.tree.width = 5
			most, now := 0, 0
			var mu sync.Mutex
			d.tree.onStat = func(int, string, *remote.Entry) error {
				mu.Lock()
				now++
				most = max(most, now)
				mu.Unlock()
				time.Sleep(time.Second)
				mu.Lock()
				now--
				mu.Unlock()
				return nil
			}
			d.tree.put("/a", nil)
			d.run(o, func(r *Run) {
				for i := range 20 {
					r.Download(Download{Path: "/a", URL: host + "/a", Place: d.place, Name: fmt.Sprint(i)})
				}
			})
			want := 5
			if o.Parallel > 0 {
				want = o.Parallel
			}
			if most != want {
				t.Errorf("%d ran at once; want %d", most, want)
			}
		})
	}
}

func TestARunOfNothingEnds(t *testing.T) {
	d := newDesk(t)
	if s := d.run(Options{}, func(*Run) {}); s.Found != 0 || s.Failed != 0 {
		t.Errorf("%+v", s)
	}
}

func TestFailAndSkipAreCounted(t *testing.T) {
	d := newDesk(t)
	s := d.run(Options{}, func(r *Run) {
		r.Fail("a", "b", lost())
		r.Skip("c", "d", 1, "why")
		r.Note("e", "note", nil)
	})
	if s.Failed != 1 || s.Skipped != 1 || len(s.Errors) != 1 || !strings.Contains(d.heard.whats(), "error skip note") {
		t.Errorf("%+v, %s", s, d.heard.whats())
	}
}
