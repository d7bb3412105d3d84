package accountsql

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"dray/account"
	"dray/account/accounttest"
	"dray/fault"
)

func TestLedger(t *testing.T) {
	accounttest.RunLedger(t, func(t *testing.T) (account.Store, account.Ledger) {
		db := opened(t, fresh(t), nil)
		return db, ledger(t, db)
	})
}

func ledger(t testing.TB, db *DB) *Ledger {
	t.Helper()
	l, err := db.Ledger(t.Context())
	need(t, err)
	return l
}

// kill ends a DB as the death of its process would.
func kill(t testing.TB, db *DB) {
	t.Helper()
	if l := db.keeper(); l != nil {
		l.stop()
		<-l.done
		l.unlock()
	}
	db.mu.Lock()
	db.closed = true
	db.mu.Unlock()
	need(t, db.sql.Close())
}

// upload books an upload, or with negative numbers a deletion.
func upload(t testing.TB, l *Ledger, name string, files int, bytes int64) {
	t.Helper()
	if files < 0 || bytes < 0 {
		need(t, l.Adjust(t.Context(), name, files, bytes))
		return
	}
	h, err := l.Hold(t.Context(), name, files, bytes)
	need(t, err)
	need(t, h.Settle(t.Context(), files, bytes))
}

func uses(t testing.TB, l *Ledger, name string, files int, bytes int64) {
	t.Helper()
	f, b, err := l.Usage(t.Context(), name)
	if err != nil || f != files || b != bytes {
		t.Errorf("the ledger has %d files and %d bytes of %s, %v; want %d, %d", f, b, name, err, files, bytes)
	}
}

func stored(t testing.TB, db *DB, name string, want Usage) {
	t.Helper()
	if got, err := db.Usage(t.Context(), name); err != nil || got != want {
		t.Errorf("stored of %s is %+v, %v; want %+v", name, got, err, want)
	}
}

func wanted(t testing.TB, l *Ledger, want ...string) {
	t.Helper()
	if got, err := l.RecountWanted(t.Context()); err != nil || !slices.Equal(got, want) {
		t.Errorf("RecountWanted = %q, %v; want %q", got, err, want)
	}
}

func TestUsageIsStoredBehindTheUploads(t *testing.T) {
	file := fresh(t)
	synctest.Test(t, func(t *testing.T) {
		server, other := opened(t, file, nil), opened(t, file, nil)
		put(t, server, "anna", "otto")
		l := ledger(t, server)
		upload(t, l, "anna", 1, 100)
		upload(t, l, "otto", 2, 200)
		stored(t, other, "anna", Usage{})
		time.Sleep(flushEvery + time.Millisecond)
		stored(t, other, "anna", Usage{Files: 1, Bytes: 100})
		stored(t, other, "otto", Usage{Files: 2, Bytes: 200})
		upload(t, l, "anna", 1, 50)
		need(t, l.Adjust(t.Context(), "anna", -1, -100))
		uses(t, l, "anna", 1, 50)
		time.Sleep(flushEvery + time.Millisecond)
		stored(t, other, "anna", Usage{Files: 1, Bytes: 50})
		upload(t, l, "anna", 1, 7)
		need(t, server.Close())
		stored(t, other, "anna", Usage{Files: 2, Bytes: 57})
		again := opened(t, file, nil)
		uses(t, ledger(t, again), "anna", 2, 57)
		need(t, again.Close())
		need(t, other.Close())
	})
}

func TestUploadsGoOnWhileTheDatabaseIsLocked(t *testing.T) {
	var lines bytes.Buffer
	file := fresh(t)
	synctest.Test(t, func(t *testing.T) {
		db := opened(t, file, slog.New(slog.NewTextHandler(&lines, nil)))
		need(t, db.Put(t.Context(), account.Account{Name: "anna", MaxBytes: 1000}))
		l := ledger(t, db)
		upload(t, l, "anna", 1, 100)
		time.Sleep(time.Second)
		other := raw(t, file)
		exec(t, other, `BEGIN EXCLUSIVE`)
		for range 80 {
			upload(t, l, "anna", 1, 10)
			time.Sleep(time.Second)
		}
		uses(t, l, "anna", 81, 900)
		if _, err := l.Hold(t.Context(), "anna", 0, 101); fault.KindOf(err) != fault.OverQuota {
			t.Errorf("Hold of more than is left = %v", err)
		}
		stored(t, db, "anna", Usage{Files: 1, Bytes: 100})
		if got := strings.Count(lines.String(), "usage can't be written"); got != 2 {
			t.Errorf("%d lines in 80 seconds, want one a minute:\n%s", got, &lines)
		}
		exec(t, other, `ROLLBACK`)
		time.Sleep(2 * time.Second)
		stored(t, db, "anna", Usage{Files: 81, Bytes: 900})
		need(t, other.Close())
		need(t, db.Close())
	})
}

func TestUploadsInAnOutage(t *testing.T) {
	file := fresh(t)
	synctest.Test(t, func(t *testing.T) {
		db := opened(t, file, nil)
		need(t, db.Put(t.Context(), account.Account{Name: "anna", MaxBytes: 1000}))
		need(t, db.Put(t.Context(), account.Account{Name: "bert", MaxBytes: 1000}))
		put(t, db, "carl")
		l := ledger(t, db)
		upload(t, l, "anna", 1, 100)
		upload(t, l, "carl", 1, 100)
		need(t, db.Close())

		db = opened(t, file, nil)
		l = ledger(t, db)
		uses(t, l, "anna", 1, 100)
		for _, name := range []string{"bert", "carl"} { // logged in, and no more
			_, err := db.Lookup(t.Context(), name)
			need(t, err)
		}
		back := away(t, file)
		for range 3 {
			time.Sleep(2 * limitsLast)
			upload(t, l, "anna", 1, 100)
			if _, err := l.Hold(t.Context(), "anna", 0, 801); fault.KindOf(err) != fault.OverQuota {
				t.Errorf("Hold of more than is left = %v", err)
			}
			if _, err := l.Hold(t.Context(), "bert", 0, 1); err == nil || fault.KindOf(err) == fault.OverQuota {
				t.Errorf("Hold against a quota of which nobody knows what is left = %v", err)
			}
			need(t, l.Adjust(t.Context(), "bert", 1, 3))
			upload(t, l, "carl", 1, 5) // has no quota
			if _, _, err := l.Usage(t.Context(), "carl"); err == nil {
				t.Error("Usage knows what the database did not say")
			}
		}
		back()
		time.Sleep(2 * time.Second)
		uses(t, l, "anna", 4, 400)
		uses(t, l, "bert", 3, 9)
		uses(t, l, "carl", 4, 115)
		need(t, db.Close())
	})
}

func TestWhatOtherProcessesChangeActsWithinASecond(t *testing.T) {
	file := fresh(t)
	synctest.Test(t, func(t *testing.T) {
		server, other := opened(t, file, nil), opened(t, file, nil)
		put(t, server, "anna")
		l := ledger(t, server)
		upload(t, l, "anna", 5, 500)
		need(t, other.Put(t.Context(), account.Account{Name: "anna", MaxBytes: 500}))
		time.Sleep(limitsLast)
		if _, err := l.Hold(t.Context(), "anna", 1, 1); fault.KindOf(err) != fault.OverQuota {
			t.Errorf("a quota that another process has set: %v", err)
		}
		// With a login it acts at once.
		need(t, other.Put(t.Context(), account.Account{Name: "anna", MaxBytes: 600}))
		if _, err := server.Lookup(t.Context(), "anna"); err != nil {
			t.Error(err)
		}
		upload(t, l, "anna", 0, 100)
		time.Sleep(2 * flushEvery)
		// Removed and made again: the new one has used nothing.
		need(t, other.Remove(t.Context(), "anna"))
		put(t, other, "anna")
		time.Sleep(limitsLast)
		uses(t, l, "anna", 0, 0)
		upload(t, l, "anna", 1, 10)
		time.Sleep(limitsLast)
		stored(t, other, "anna", Usage{Files: 1, Bytes: 10})
		need(t, server.Close())
		need(t, other.Close())
	})
}

// The anonymous account is in the configuration and not in the database.
func TestANameThatIsNotInTheDatabase(t *testing.T) {
	db := opened(t, fresh(t), nil)
	l := ledger(t, db)
	upload(t, l, "anonymous", 3, 1<<40)
	need(t, l.flush(t.Context(), nil))
	upload(t, l, "anonymous", 1, 1)
	uses(t, l, "anonymous", 4, 1<<40+1)
	if _, err := db.Usage(t.Context(), "anonymous"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Usage = %v", err)
	}
	if _, err := l.BeginRecount(t.Context(), "anonymous"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("BeginRecount = %v", err)
	}
	if err := db.WantRecount(t.Context(), "anonymous"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("WantRecount = %v", err)
	}
}

func TestHowTheLastServerEnded(t *testing.T) {
	tests := []struct {
		name    string
		end     func(t *testing.T, db *DB)
		unclean bool
		recount []string
	}{
		{"by Close", func(t *testing.T, db *DB) { need(t, db.Close()) }, false, nil},
		{"by Close with an upload that nobody ended", func(t *testing.T, db *DB) {
			h, err := ledger(t, db).Hold(t.Context(), "otto", 1, 10)
			need(t, err)
			need(t, db.Close())
			if h.Settle(t.Context(), 1, 10) == nil {
				t.Error("Settle after Close was taken")
			}
		}, false, []string{"otto"}},
		{"by Close in a recount", func(t *testing.T, db *DB) {
			_, err := ledger(t, db).BeginRecount(t.Context(), "otto")
			need(t, err)
			need(t, db.Close())
		}, false, []string{"otto"}},
		{"by a crash", kills, true, []string{"anna", "bert", "otto"}},
		{"by a Close that could not write", func(t *testing.T, db *DB) {
			upload(t, ledger(t, db), "anna", 1, 10)
			other := raw(t, db.file)
			exec(t, other, `BEGIN EXCLUSIVE`)
			told(t, db.Close(), "locked")
			exec(t, other, `ROLLBACK`)
		}, true, []string{"anna", "bert", "otto"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			file := fresh(t)
			db := opened(t, file, nil)
			put(t, db, "anna", "bert", "otto")
			l := ledger(t, db)
			if l.NeedsRecount() || ledger(t, db) != l {
				t.Error("a new ledger needs a recount, or is not the only one")
			}
			upload(t, l, "anna", 1, 100)
			tt.end(t, db)
			command := opened(t, file, nil) // one that keeps no ledger changes nothing
			put(t, command, "anna")
			need(t, command.Close())
			for _, end := range []func(*testing.T, *DB){clean, kills} { // marks last until a recount
				db = opened(t, file, nil)
				l = ledger(t, db)
				if l.NeedsRecount() != tt.unclean {
					t.Errorf("NeedsRecount = %v, want %v", l.NeedsRecount(), tt.unclean)
				}
				wanted(t, l, tt.recount...)
				tt.unclean = false
				end(t, db)
			}
		})
	}
}

func kills(t *testing.T, db *DB) { kill(t, db) }
func clean(t *testing.T, db *DB) { need(t, db.Close()) }

func TestRecount(t *testing.T) {
	type step func(t *testing.T, db *DB, l *Ledger)
	up := func(files int, bytes int64) step {
		return func(t *testing.T, _ *DB, l *Ledger) { upload(t, l, "anna", files, bytes) }
	}
	flush := func(t *testing.T, _ *DB, l *Ledger) { need(t, l.flush(t.Context(), nil)) }
	tests := []struct {
		name      string
		before    []step
		meanwhile []step
		files     int // what the walk counted
		bytes     int64
		want      Usage
	}{
		{"repairs too much", []step{up(5, 500), flush}, nil, 2, 20, Usage{Files: 2, Bytes: 20}},
		{"repairs too little", []step{up(1, 10), flush}, nil, 7, 70, Usage{Files: 7, Bytes: 70}},
		{"what was booked before it and not written is not counted twice", []step{up(5, 500)}, nil, 2, 20, Usage{Files: 2, Bytes: 20}},
		{"nothing left", []step{up(5, 500)}, nil, 0, 0, Usage{}},
		{"what is settled meanwhile counts", []step{up(5, 500)}, []step{up(1, 30)}, 2, 20, Usage{Files: 3, Bytes: 50}},
		{"also when it was written meanwhile", []step{up(5, 500)}, []step{up(1, 30), flush, up(1, 5)}, 2, 20, Usage{Files: 4, Bytes: 55}},
		{"what is deleted meanwhile is gone", []step{up(5, 500)}, []step{up(-1, -15)}, 2, 20, Usage{Files: 1, Bytes: 5}},
		{"also of what the books never had", nil, []step{up(-1, -15)}, 2, 20, Usage{Files: 1, Bytes: 5}},
		{"never below nothing", []step{up(5, 500)}, []step{up(-5, -500)}, 2, 20, Usage{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			db := opened(t, fresh(t), nil)
			put(t, db, "anna")
			l := ledger(t, db)
			adjusts := func(steps []step) {
				for _, s := range steps {
					s(t, db, l)
				}
			}
			adjusts(tt.before)
			need(t, db.WantRecount(t.Context(), "anna"))
			wanted(t, l, "anna")
			long, err := l.Hold(t.Context(), "anna", 1, 1000) // an upload that spans it
			need(t, err)
			r, err := l.BeginRecount(t.Context(), "anna")
			need(t, err)
			wanted(t, l)
			adjusts(tt.meanwhile)
			if !r.Disturbed() {
				t.Error("an upload spans the count, and it is said to be undisturbed")
			}
			need(t, r.Done(t.Context(), tt.files, tt.bytes))
			uses(t, l, "anna", tt.want.Files, tt.want.Bytes)
			stored(t, db, "anna", tt.want)
			wanted(t, l)
			if err := r.Done(t.Context(), 99, 99); err == nil {
				t.Error("a second Done was taken")
			}
			r.Cancel()
			need(t, long.Settle(t.Context(), 1, 7))
			uses(t, l, "anna", tt.want.Files+1, tt.want.Bytes+7)
			need(t, l.flush(t.Context(), nil))
			stored(t, db, "anna", Usage{Files: tt.want.Files + 1, Bytes: tt.want.Bytes + 7})
		})
	}
}

// What is booked while a count runs, and an upload that runs in its time, disturb it.
func TestWhatDisturbsARecount(t *testing.T) {
	db := opened(t, fresh(t), nil)
	put(t, db, "anna")
	l := ledger(t, db)
	count := func(meanwhile func()) bool {
		t.Helper()
		r, err := l.BeginRecount(t.Context(), "anna")
		need(t, err)
		defer r.Cancel()
		meanwhile()
		return r.Disturbed()
	}
	if count(func() {}) {
		t.Error("nothing happened, and it is disturbed")
	}
	if !count(func() { need(t, l.Adjust(t.Context(), "anna", 1, 1)) }) {
		t.Error("a booking does not disturb it")
	}
	var long account.Hold
	if !count(func() {
		var err error
		long, err = l.Hold(t.Context(), "anna", 1, 10)
		need(t, err)
	}) {
		t.Error("an upload that begins does not disturb it")
	}
	if !count(func() {}) {
		t.Error("an upload that runs does not disturb it")
	}
	need(t, long.Settle(t.Context(), 0, 0))
	if count(func() {}) {
		t.Error("it is disturbed when all has ended")
	}
}

func TestMarksForARecount(t *testing.T) {
	file := fresh(t)
	db, command := opened(t, file, nil), opened(t, file, nil)
	put(t, db, "anna", "otto")
	l := ledger(t, db)
	wanted(t, l)
	for _, name := range []string{"otto", "anna"} {
		need(t, command.WantRecount(t.Context(), name))
	}
	wanted(t, l, "anna", "otto")
	stored(t, command, "anna", Usage{Recount: true})

	r, err := l.BeginRecount(t.Context(), "anna")
	need(t, err)
	wanted(t, l, "otto")
	r.Cancel()
	wanted(t, l, "anna", "otto") // still

	// Asked for again in the middle: what is being measured is too old for that.
	r, err = l.BeginRecount(t.Context(), "anna")
	need(t, err)
	need(t, command.WantRecount(t.Context(), "anna"))
	need(t, r.Done(t.Context(), 1, 10))
	stored(t, command, "anna", Usage{Files: 1, Bytes: 10, Recount: true})
	wanted(t, l, "anna", "otto")
	r, err = l.BeginRecount(t.Context(), "anna")
	need(t, err)
	need(t, r.Done(t.Context(), 2, 20))
	wanted(t, l, "otto")
	stored(t, command, "anna", Usage{Files: 2, Bytes: 20})

	// Done fails while the database is locked, and may be called again.
	r, err = l.BeginRecount(t.Context(), "otto")
	need(t, err)
	other := raw(t, file)
	exec(t, other, `BEGIN EXCLUSIVE`)
	told(t, r.Done(t.Context(), 5, 50), "locked")
	uses(t, l, "otto", 0, 0)
	upload(t, l, "otto", 1, 1)
	exec(t, other, `ROLLBACK`)
	need(t, r.Done(t.Context(), 5, 50))
	uses(t, l, "otto", 6, 51)
	wanted(t, l)

	// An account that is gone, and a successor of its name, is not what was measured.
	r, err = l.BeginRecount(t.Context(), "otto")
	need(t, err)
	need(t, command.Remove(t.Context(), "otto"))
	if err := r.Done(t.Context(), 9, 90); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Done for an account that was removed = %v", err)
	}
	r.Cancel()
	put(t, db, "otto")
	r, err = l.BeginRecount(t.Context(), "otto")
	need(t, err)
	need(t, db.Remove(t.Context(), "otto"))
	put(t, db, "otto")
	if err := r.Done(t.Context(), 9, 90); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Done for an account that was removed and made again = %v", err)
	}
	uses(t, l, "otto", 0, 0)
	stored(t, db, "otto", Usage{})
}

func TestWhatHappensWhileUsageIsWritten(t *testing.T) {
	tests := []struct {
		name string
		do   func(t *testing.T, db *DB, l *Ledger)
		want Usage
	}{
		{"an upload", func(t *testing.T, _ *DB, l *Ledger) { upload(t, l, "anna", 1, 30) }, Usage{Files: 2, Bytes: 130}},
		{"a deletion", func(t *testing.T, _ *DB, l *Ledger) { upload(t, l, "anna", -1, -30) }, Usage{Files: 0, Bytes: 70}},
		{"a look at the limits", func(t *testing.T, db *DB, l *Ledger) {
			l.mu.Lock()
			l.entries["anna"].asked = time.Time{}
			l.mu.Unlock()
			upload(t, l, "anna", 1, 30)
			uses(t, l, "anna", 2, 130)
		}, Usage{Files: 2, Bytes: 130}},
		{"a look that sees what is committed and not yet taken off", func(t *testing.T, _ *DB, l *Ledger) {
			l.mu.Lock()
			e := l.entries["anna"]
			e.asked = time.Time{}
			turn := e.turn
			l.mu.Unlock()
			_, err := l.learn(e, turn, row{settings: "{}", files: 1, bytes: 100}, nil, nil)
			need(t, err)
			uses(t, l, "anna", 1, 100)
		}, Usage{Files: 1, Bytes: 100}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				db := opened(t, fresh(t), nil)
				put(t, db, "anna")
				l := ledger(t, db)
				upload(t, l, "anna", 1, 100)
				db.writing <- struct{}{} // another change of the database takes its time
				time.Sleep(2 * flushEvery)
				stored(t, db, "anna", Usage{})
				tt.do(t, db, l)
				<-db.writing
				time.Sleep(4 * flushEvery)
				uses(t, l, "anna", tt.want.Files, tt.want.Bytes)
				stored(t, db, "anna", tt.want)
				need(t, db.Close())
			})
		})
	}
}

func TestUsageThatIsNotYetWrittenGoesWithItsAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := opened(t, fresh(t), nil)
		put(t, db, "anna")
		l := ledger(t, db)
		upload(t, l, "anna", 1, 100)
		need(t, db.Remove(t.Context(), "anna"))
		put(t, db, "anna")
		time.Sleep(2 * flushEvery)
		stored(t, db, "anna", Usage{})

		// The same while it is being written.
		upload(t, l, "anna", 1, 100)
		db.writing <- struct{}{}
		time.Sleep(2 * flushEvery)
		done := make(chan error)
		go func() {
			done <- errors.Join(db.Remove(t.Context(), "anna"), db.Put(t.Context(), account.Account{Name: "anna"}))
		}()
		synctest.Wait()
		<-db.writing
		need(t, <-done)
		time.Sleep(2 * flushEvery)
		stored(t, db, "anna", Usage{})
		uses(t, l, "anna", 0, 0)
		need(t, db.Close())
	})
}

func TestWhatIsBookedBelowNothingIsNotOwed(t *testing.T) {
	db := opened(t, fresh(t), nil)
	put(t, db, "anna")
	l := ledger(t, db)
	upload(t, l, "anna", 1, 50)
	need(t, l.flush(t.Context(), nil))
	upload(t, l, "anna", -5, -500)
	upload(t, l, "anna", 1, 30)
	need(t, l.flush(t.Context(), nil))
	uses(t, l, "anna", 1, 30)
	stored(t, db, "anna", Usage{Files: 1, Bytes: 30})
}

// Whatever runs beside whatever, nothing is lost.
func TestRecountsAmongUploads(t *testing.T) {
	db := opened(t, fresh(t), nil)
	need(t, db.Put(t.Context(), account.Account{Name: "anna", MaxBytes: 1 << 40}))
	l := ledger(t, db)
	// The files, as a walk would find them. The lock makes change and booking one,
	// which they are not on a disk: there, who wants to be exact asks Disturbed.
	var tree sync.RWMutex
	var files int
	var bytes int64
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 200 {
				h, err := l.Hold(t.Context(), "anna", 1, 1000)
				if err != nil {
					t.Errorf("Hold: %v", err)
					return
				}
				tree.Lock()
				n := int64(w*1000 + i)
				files, bytes = files+1, bytes+n
				if err := h.Settle(t.Context(), 1, n); err != nil {
					t.Errorf("Settle: %v", err)
				}
				tree.Unlock()
			}
		})
	}
	for range 2 {
		wg.Go(func() {
			for range 20 {
				tree.RLock()
				r, err := l.BeginRecount(t.Context(), "anna")
				f, b := files, bytes
				tree.RUnlock()
				if err != nil {
					t.Errorf("BeginRecount: %v", err)
					return
				}
				if err := errors.Join(l.flush(t.Context(), nil), r.Done(t.Context(), f, b)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	uses(t, l, "anna", files, bytes)
	need(t, l.flush(t.Context(), nil))
	stored(t, db, "anna", Usage{Files: files, Bytes: bytes})
}

func TestSizesForPeople(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 bytes", 1023: "1023 bytes", 1024: "1.0 KiB", 1536: "1.5 KiB", 1 << 20: "1.0 MiB", 5 << 30: "5.0 GiB", 1 << 60: "1024.0 PiB",
	} {
		if got := size(n); got != want {
			t.Errorf("size(%d) = %q, want %q", n, got, want)
		}
	}
	for n, want := range map[int]string{0: "0 files", 1: "1 file", 2: "2 files"} {
		if got := files(n); got != want {
			t.Errorf("files(%d) = %q, want %q", n, got, want)
		}
	}
}

func BenchmarkLookup(b *testing.B) {
	db := opened(b, fresh(b), nil)
	need(b, db.Put(b.Context(), accounttest.Full("anna")))
	for b.Loop() {
		if _, err := db.Lookup(b.Context(), "anna"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkHold(b *testing.B) {
	db := opened(b, fresh(b), nil)
	put(b, db, "anna")
	l := ledger(b, db)
	for b.Loop() {
		upload(b, l, "anna", 0, 1)
	}
}

func TestAnAnswerFromBeforeAFlushIsNotTakenAfterIt(t *testing.T) {
	db := opened(t, fresh(t), nil)
	put(t, db, "anna")
	l := ledger(t, db)
	upload(t, l, "anna", 1, 100)
	e := l.entries["anna"]
	turn := e.turn
	need(t, l.flush(t.Context(), nil))
	_, err := l.learn(e, turn, row{settings: `{"max-files":1}`}, nil, nil) // usage as it was
	need(t, err)
	uses(t, l, "anna", 1, 100)
}

func TestAGuestHasAQuotaWithoutAnAccount(t *testing.T) {
	db, err := Open(t.Context(), filepath.Join(t.TempDir(), "accounts.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	l, err := db.Ledger(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	l.Guest("anonymous", 3, 1000, 1, 900)
	if _, err := l.Hold(t.Context(), "anonymous", 1, 101); fault.KindOf(err) != fault.OverQuota {
		t.Errorf("Hold of more than is left = %v, want an error of the quota", err)
	}
	h, err := l.Hold(t.Context(), "anonymous", 1, 100)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Settle(t.Context(), 1, 60); err != nil {
		t.Fatal(err)
	}
	if files, bytes, err := l.Usage(t.Context(), "anonymous"); files != 2 || bytes != 960 || err != nil {
		t.Errorf("Usage() = %d, %d, %v; want 2 files of 960 bytes", files, bytes, err)
	}
	l.Guest("anonymous", 0, 0, 2, 960)
	if _, err := l.Hold(t.Context(), "anonymous", 10, 5000); err != nil {
		t.Errorf("Hold without a quota = %v", err)
	}
}

// A second server would count for itself, and take the mark off that says how the
// first one ended.
func TestOneServerKeepsTheLedger(t *testing.T) {
	file := fresh(t)
	db, second := opened(t, file, nil), opened(t, file, nil)
	put(t, db, "anna")
	l := ledger(t, db)
	var e *Error
	if _, err := second.Ledger(t.Context()); !errors.As(err, &e) || !strings.Contains(e.What, "another server") {
		t.Errorf("the second Ledger() = %v, want an error that says who keeps it", err)
	}
	need(t, second.Close())
	upload(t, l, "anna", 1, 10)
	kill(t, db)
	third := opened(t, file, nil)
	if l := ledger(t, third); !l.NeedsRecount() {
		t.Error("the end of the first server is forgotten")
	}
}
