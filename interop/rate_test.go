//go:build linux

package interop

import (
	"fmt"
	"math"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A shaped is one account with a rate, and transfers without an end that share
// it.
type shaped struct {
	account, road, home string
	up                  bool
	sessions            []*visitor
	got                 []atomic.Int64 // of each download
}

// moved is what each transfer has moved so far: downloads as the client sees
// them, uploads as the server's disk does.
func (s *shaped) moved() (all []int64, err error) {
	if !s.up {
		for i := range s.got {
			all = append(all, s.got[i].Load())
		}
		return all, nil
	}
	entries, err := os.ReadDir(s.home) // hidden names stay as they are
	for _, e := range entries {
		fi, ierr := e.Info()
		if ierr != nil {
			return nil, ierr
		}
		all = append(all, fi.Size())
	}
	return all, err
}

// The rate of an account is that of all its transfers together, within 5 %, and
// they share it alike, within 20 %. It is a test that looks at a clock, so no
// other runs beside it; the cases do, each with its own account.
func TestRateIsSharedByAllTransfersOfAnAccount(t *testing.T) {
	const rate = 4 << 20 // bytes a second
	window := time.Duration(times(3, 20)) * time.Second
	s := newSite(t, "32200-32499", onThree)
	var all []*shaped
	for _, road := range []string{"plain", "explicit"} {
		for _, n := range []int{1, 4, 16} {
			for _, up := range []bool{false, true} {
				c := &shaped{account: fmt.Sprintf("%d downloads, %s", n, road), road: road, up: up, got: make([]atomic.Int64, n)}
				flag := "--rate-down"
				if up {
					c.account, flag = fmt.Sprintf("%d uploads, %s", n, road), "--rate-up"
				}
				c.home = s.add(t, c.account, flag, "4M")
				if !up { // a hole is long enough and takes no room
					f, err := os.Create(filepath.Join(c.home, "down.bin"))
					if err != nil {
						t.Fatal(err)
					}
					if err := f.Truncate(1 << 40); err != nil {
						t.Fatal(err)
					}
					if err := f.Close(); err != nil {
						t.Fatal(err)
					}
				}
				all = append(all, c)
			}
		}
	}
	srv := s.serve(t)
	cfg := srv.trusted(t)
	addr := map[string]string{"plain": srv.ready.FTP[0], "explicit": srv.ready.FTP[1]}
	for _, c := range all { // all are logged in before the clock runs
		for range c.got {
			v, err := enter(t.Context(), c.road, addr[c.road], c.account, cfg, "")
			if err != nil {
				t.Fatal(err)
			}
			defer v.hangUp()
			c.sessions = append(c.sessions, v)
		}
	}
	var wg sync.WaitGroup
	for _, c := range all {
		wg.Go(func() {
			if err := c.measure(t, rate, window); err != nil {
				t.Errorf("%s: %v", c.account, err)
			}
		})
	}
	wg.Wait()
}

// measure looks at the transfers for a while in which all of them run. Who gets
// less than the rate, or than a share, may have shared the processor with another
// program: the best of three windows counts. More is wrong at once.
func (s *shaped) measure(t *testing.T, rate int64, window time.Duration) (err error) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for i, v := range s.sessions {
		line := "RETR down.bin"
		if s.up {
			line = fmt.Sprintf("STOR up-%02d.bin", i)
		}
		data, err := v.open(t.Context(), line)
		if err != nil {
			return err
		}
		defer data.Close()
		defer v.hangUp() // first, so that the end of the data is a cut
		wg.Go(func() { s.pump(data, &s.got[i]) })
	}
	for range 3 {
		time.Sleep(window / 6)
		var more bool
		if more, err = s.look(t, rate, window); err == nil || more {
			return err
		}
		t.Logf("%s: %v", s.account, err)
	}
	return err
}

// pump moves until somebody hangs up.
func (s *shaped) pump(data net.Conn, got *atomic.Int64) {
	buf := make([]byte, 64<<10)
	for {
		var n int
		var err error
		if s.up {
			_, err = data.Write(buf)
		} else {
			n, err = data.Read(buf)
		}
		got.Add(int64(n))
		if err == nil {
			err = data.SetDeadline(time.Now().Add(patience))
		}
		if err != nil {
			return
		}
	}
}

// look measures one window. more tells that the rate was more than it may be.
func (s *shaped) look(t *testing.T, rate int64, window time.Duration) (more bool, err error) {
	from, err := s.moved()
	begun := time.Now()
	if err != nil {
		return false, err
	}
	time.Sleep(window)
	to, err := s.moved()
	took := time.Since(begun)
	if err != nil {
		return false, err
	}
	if len(from) != len(s.sessions) || len(to) != len(s.sessions) {
		return false, fmt.Errorf("%d and %d transfers run; want %d", len(from), len(to), len(s.sessions))
	}
	var total, least, most int64 = 0, math.MaxInt64, 0
	for i := range from {
		n := to[i] - from[i]
		total, least, most = total+n, min(least, n), max(most, n)
	}
	off := 100 * (float64(total)/took.Seconds()/float64(rate) - 1)
	mean := float64(total) / float64(len(from))
	low, high := 100*(float64(least)/mean-1), 100*(float64(most)/mean-1)
	said := fmt.Sprintf("the rate is %+.1f %% off, and the shares are %+.0f to %+.0f %%", off, low, high)
	if math.Abs(off) > 5 || low < -20 || high > 20 {
		return off > 5, fmt.Errorf("%s; want 5 %% and 20 %% at most", said)
	}
	t.Logf("%s: %s", s.account, said)
	return false, nil
}
