package gate

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"

	"dray/account"
	"dray/account/accountsql"
	"dray/fault"
	"dray/transfer"
	"dray/vfs"
	"dray/vfs/memfs"
)

// A bank is a house whose quota is kept by the real ledger.
type bank struct {
	*house
	t      *testing.T
	ledger account.Ledger
}

func newBank(t *testing.T, a account.Account) bank {
	db, err := accountsql.Open(t.Context(), filepath.Join(t.TempDir(), "accounts.db"), nil)
	need(t, err)
	t.Cleanup(func() { need(t, db.Close()) })
	need(t, db.Put(t.Context(), a))
	l, err := db.Ledger(t.Context())
	need(t, err)
	b := bank{newHouse(t), t, l}
	b.gate.Ledger = l
	return b
}

// agree wants the ledger to say what the tree holds: all finished files, and the
// partials under those names.
func (b bank) agree(doing string, names ...string) {
	b.t.Helper()
	free, total, err := b.tree.Space(b.t.Context(), vfs.Root)
	need(b.t, err)
	files := 0
	var walk func(vfs.Path)
	walk = func(p vfs.Path) {
		for fi, err := range b.tree.List(b.t.Context(), p) {
			need(b.t, err)
			switch q, _ := p.Join(fi.Name()); {
			case fi.IsDir():
				walk(q)
			case fi.Mode().IsRegular():
				files++
			}
		}
	}
	walk(vfs.Root)
	for _, name := range names {
		if _, err := b.tree.Partial(b.t.Context(), at(b.t, name), "anna"); err == nil {
			files++
		}
	}
	f, n, err := b.ledger.Usage(b.t.Context(), "anna")
	need(b.t, err)
	if f != files || n != int64(total-free) {
		b.t.Errorf("%s: the ledger has %d bytes in %d files, the tree %d in %d", doing, n, f, total-free, files)
	}
}

// 200 uploads at once, over, under and through each other: in the end the ledger
// says what the tree holds.
func TestTheLedgerSaysWhatTheTreeHoldsAfterParallelChanges(t *testing.T) {
	const workers = 200
	several := func(n int) (names []string) {
		for i := range n {
			names = append(names, fmt.Sprintf("/d/%d", i))
		}
		return names
	}
	upload := func(t *testing.T, s *Session, r *rand.Rand, name string) {
		how := vfs.Create{}
		switch r.IntN(4) {
		case 0: // on the partial, if there is one now
			if fi, err := s.Partial(t.Context(), at(t, name)); err == nil {
				how = vfs.Create{How: vfs.Resume, Offset: fi.Size()}
			}
		case 1: // a new end
			if fi, err := s.Finished(t.Context(), at(t, name)); err == nil {
				how.Offset = fi.Size() / 2
			}
		}
		up, err := s.Create(t.Context(), at(t, name), how)
		if err != nil {
			return
		}
		rep, err := put(t, up, []int64{0, 1, 100, 5000, 20_000}[r.IntN(5)])
		if err != nil {
			t.Error(err)
		}
		if r.IntN(3) == 0 {
			_ = up.Cut(t.Context(), rep, errGone)
		} else {
			_ = up.Commit(t.Context(), rep, always)
		}
	}
	appended := func(t *testing.T, s *Session, r *rand.Rand, name string) {
		up, err := s.Create(t.Context(), at(t, name), vfs.Create{How: vfs.InPlace, Offset: -1})
		if err != nil {
			return
		}
		rep, err := put(t, up, r.Int64N(3000))
		if err != nil {
			t.Error(err)
		}
		if r.IntN(3) == 0 {
			_ = up.Cut(t.Context(), rep, errGone)
		} else {
			_ = up.Commit(t.Context(), rep, always)
		}
	}
	remove := func(t *testing.T, s *Session, _ *rand.Rand, name string) { _ = s.Remove(t.Context(), at(t, name)) }
	for _, tt := range []struct {
		name  string
		names []string
		do    []func(*testing.T, *Session, *rand.Rand, string)
	}{
		{"uploads to one name", several(1), []func(*testing.T, *Session, *rand.Rand, string){upload}},
		{"uploads to names of their own", several(workers), []func(*testing.T, *Session, *rand.Rand, string){upload}},
		{"uploads and removals", several(3), []func(*testing.T, *Session, *rand.Rand, string){upload, upload, remove}},
		{"uploads and renames", several(4), []func(*testing.T, *Session, *rand.Rand, string){upload, upload, func(t *testing.T, s *Session, r *rand.Rand, name string) {
			_ = s.Rename(t.Context(), at(t, name), at(t, several(4)[r.IntN(4)]), vfs.Overwrite)
		}}},
		{"uploads and copies", several(4), []func(*testing.T, *Session, *rand.Rand, string){upload, func(t *testing.T, s *Session, r *rand.Rand, name string) {
			_, _ = s.Copy(t.Context(), at(t, name), at(t, several(4)[r.IntN(4)]))
		}}},
		{"appends", several(2), []func(*testing.T, *Session, *rand.Rand, string){upload, appended, appended}},
		{"appends and removals", several(2), []func(*testing.T, *Session, *rand.Rand, string){upload, appended, appended, remove}},
		{"through links", append(several(1), "/link/0", "/link/1"), []func(*testing.T, *Session, *rand.Rand, string){upload, upload, remove}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBank(t, account.Account{Name: "anna", MaxBytes: 1 << 40, MaxFiles: 1 << 20})
			need(t, b.tree.MkdirAll("/d"))
			need(t, b.tree.Link("/link", "d"))
			var sessions []*Session
			for range 4 {
				sessions = append(sessions, b.anna())
			}
			for round := range 3 {
				var wg sync.WaitGroup
				for i := range workers {
					wg.Go(func() {
						r := rand.New(rand.NewPCG(uint64(round), uint64(i)))
						tt.do[i%len(tt.do)](t, sessions[i%4], r, tt.names[i%len(tt.names)])
					})
				}
				wg.Wait()
				names := tt.names
				if tt.names[len(tt.names)-1] == "/link/1" {
					names = several(2)
				}
				b.agree(fmt.Sprintf("after round %d", round+1), names...)
			}
			for _, name := range several(workers) {
				_ = sessions[0].Remove(t.Context(), at(t, name))
			}
			if files, n, err := b.ledger.Usage(t.Context(), "anna"); err != nil || files != 0 || n != 0 {
				t.Errorf("when all is deleted, the ledger has %d bytes in %d files, %v", n, files, err)
			}
			if len(b.gate.turns.busy) != 0 {
				t.Errorf("%d names are still locked", len(b.gate.turns.busy))
			}
		})
	}
}

// Two ways to one name are one file: renamed onto itself it is still there.
func TestAFileRenamedOntoItselfByWayOfALinkStillCounts(t *testing.T) {
	b := newBank(t, account.Account{Name: "anna", MaxBytes: 1 << 30})
	need(t, b.tree.MkdirAll("/d"))
	need(t, b.tree.Link("/link", "d"))
	s := b.anna()
	need(t, store(t, s, "/d/a", vfs.Create{}, 100))
	for _, way := range [][2]string{{"/link/a", "/d/a"}, {"/d/a", "/link/a"}, {"/d/a", "/d/a"}} {
		need(t, s.Rename(t.Context(), at(t, way[0]), at(t, way[1]), vfs.Overwrite))
		b.agree("renamed " + way[0] + " to " + way[1])
	}
	need(t, store(t, s, "/link/a", vfs.Create{}, 30))
	b.agree("replaced by the other way")
	need(t, s.Remove(t.Context(), at(t, "/link/a")))
	b.agree("removed by the other way")
}

// Together they get the quota and not a byte or a file more.
func TestParallelUploadsAgainstTheLedger(t *testing.T) {
	const workers, size, fits = 200, 10_000, 37
	for _, tt := range []struct {
		name string
		a    account.Account
	}{
		{"bytes", account.Account{Name: "anna", MaxBytes: size * fits}},
		{"files", account.Account{Name: "anna", MaxFiles: fits}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBank(t, tt.a)
			s := b.anna()
			var mu sync.Mutex
			whole := 0
			var wg sync.WaitGroup
			for i := range workers {
				wg.Go(func() {
					up, err := s.Create(t.Context(), at(t, fmt.Sprint("/", i)), vfs.Create{})
					var rep transfer.Report
					if err == nil {
						if rep, err = put(t, up, size); err != nil {
							err = up.Cut(t.Context(), rep, err)
						} else {
							err = up.Commit(t.Context(), rep, always)
						}
					}
					mu.Lock()
					defer mu.Unlock()
					if err == nil {
						whole++
					} else {
						is(t, "upload", err, fault.OverQuota, fault.IDQuota)
					}
				})
			}
			wg.Wait()
			var names []string
			for i := range workers {
				names = append(names, fmt.Sprint("/", i))
			}
			b.agree("at the end", names...)
			if whole > fits || tt.a.MaxFiles > 0 && whole != fits {
				t.Errorf("%d uploads fitted, want %d", whole, fits)
			}
			// What was deleted may be used again.
			for _, name := range names {
				_ = s.Remove(t.Context(), at(t, name))
			}
			b.agree("when all is deleted", names...)
			for i := range fits {
				is(t, "upload again", store(t, s, names[i], vfs.Create{}, size), 0, "")
			}
			is(t, "one more", store(t, s, names[fits], vfs.Create{}, size), fault.OverQuota, fault.IDQuota)
			b.agree("full again", names...)
		})
	}
}

// An append and a removal, or a replacement, of one file: whichever ends first,
// each byte counts once.
func TestAnAppendToAFileThatGoesMeanwhile(t *testing.T) {
	for _, tt := range []struct {
		name string
		gone func(t *testing.T, s *Session) error
		want int64 // bytes in the end, beside the 50 of another file
	}{
		{"removed", func(t *testing.T, s *Session) error { return s.Remove(t.Context(), at(t, "/a")) }, 0},
		{"replaced", func(t *testing.T, s *Session) error { return store(t, s, "/a", vfs.Create{}, 7) }, 7},
		{"renamed over", func(t *testing.T, s *Session) error {
			need(t, store(t, s, "/b", vfs.Create{}, 9))
			return s.Rename(t.Context(), at(t, "/b"), at(t, "/a"), vfs.Overwrite)
		}, 9},
		{"copied over", func(t *testing.T, s *Session) error {
			_, err := s.Copy(t.Context(), at(t, "/other"), at(t, "/a"))
			return err
		}, 50},
		{"renamed", func(t *testing.T, s *Session) error {
			return s.Rename(t.Context(), at(t, "/a"), at(t, "/c"), vfs.Overwrite)
		}, -1},
		{"renamed and removed", func(t *testing.T, s *Session) error {
			need(t, s.Rename(t.Context(), at(t, "/a"), at(t, "/c"), vfs.Overwrite))
			return s.Remove(t.Context(), at(t, "/c"))
		}, 0},
	} {
		for _, end := range []string{"commit", "cut"} {
			for _, before := range []int64{0, 30, 60} { // of the 60 bytes that come
				t.Run(fmt.Sprintf("%s after %d bytes, %s", tt.name, before, end), func(t *testing.T) {
					b := newBank(t, account.Account{Name: "anna", MaxBytes: 1 << 30})
					s := b.anna()
					need(t, store(t, s, "/other", vfs.Create{}, 50))
					need(t, store(t, s, "/a", vfs.Create{}, 100))
					up, err := s.Create(t.Context(), at(t, "/a"), vfs.Create{How: vfs.InPlace, Offset: -1})
					need(t, err)
					m, off := up.Meter(), up.Dest().Offset()
					bring := func(n int64) {
						if n == 0 {
							return
						}
						n, err := m.Take(t.Context(), n)
						need(t, err)
						_, err = up.Dest().WriteAt(make([]byte, n), off)
						need(t, err)
						m.Done(n, n)
						off += n
					}
					bring(before)
					need(t, tt.gone(t, b.anna()))
					bring(60 - before)
					want := tt.want
					if want < 0 {
						want = 100
					}
					if end == "commit" {
						need(t, up.Commit(t.Context(), transfer.Report{}, always))
						if tt.want < 0 {
							want = 160
						}
					} else {
						is(t, "Cut", up.Cut(t.Context(), transfer.Report{}, errGone), fault.Cut, fault.IDUploadCut)
					}
					b.agree("at the end")
					if _, n, err := b.ledger.Usage(t.Context(), "anna"); err != nil || n != want+50 {
						t.Errorf("usage %d, %v; want %d", n, err, want+50)
					}
				})
			}
		}
	}
}

// A replacement holds nothing for what it replaces. When that is moved away before
// the commit, the new file is new, and needs room of its own.
func TestMovingAwayWhatIsBeingReplacedBuysNoRoom(t *testing.T) {
	b := newBank(t, account.Account{Name: "anna", Rights: account.Full, MaxBytes: 10_000, MaxFiles: 1})
	s := b.login(account.Account{Name: "anna", Rights: account.Full, MaxBytes: 10_000, MaxFiles: 1})
	need(t, store(t, s, "/x", vfs.Create{}, 9000))
	up, err := s.Create(t.Context(), at(t, "/x"), vfs.Create{})
	need(t, err)
	rep, err := put(t, up, 9000)
	need(t, err)
	need(t, s.Rename(t.Context(), at(t, "/x"), at(t, "/y"), vfs.Overwrite))
	if err := up.Commit(t.Context(), rep, always); fault.KindOf(err) != fault.OverQuota {
		t.Errorf("Commit() = %v, want an error of the quota", err)
	}
	b.agree("after the refusal", "/x")
}

// An upload goes where its directory goes, and so do its bytes in the books.
func TestADirectoryThatMovesTakesItsUploadsAlong(t *testing.T) {
	b := newBank(t, account.Account{Name: "anna", Rights: account.Full})
	s := b.login(account.Account{Name: "anna", Rights: account.Full})
	need(t, s.Mkdir(t.Context(), at(t, "/d")))
	need(t, store(t, s, "/d/old", vfs.Create{}, 700))
	for _, name := range []string{"/d/new", "/d/old"} {
		up, err := s.Create(t.Context(), at(t, name), vfs.Create{})
		need(t, err)
		rep, err := put(t, up, 9000)
		need(t, err)
		need(t, s.Rename(t.Context(), at(t, "/d"), at(t, "/e"), vfs.Overwrite))
		need(t, up.Commit(t.Context(), rep, always))
		b.agree("after " + name)
		need(t, s.Rename(t.Context(), at(t, "/e"), at(t, "/d"), vfs.Overwrite))
	}
	up, err := s.Create(t.Context(), at(t, "/d/cut"), vfs.Create{})
	need(t, err)
	rep, err := put(t, up, 90_000)
	need(t, err)
	need(t, s.Rename(t.Context(), at(t, "/d"), at(t, "/e"), vfs.Overwrite))
	_ = up.Cut(t.Context(), rep, fault.New(fault.Cut, fault.IDUploadCut))
	b.agree("after a cut", "/e/cut")
}

// lame is a tree whose directories can't be flushed behind a rename.
type lame struct{ *memfs.Tree }

type lameUpload struct{ vfs.Upload }

func (l lame) Create(ctx context.Context, p vfs.Path, how vfs.Create) (vfs.Upload, error) {
	up, err := l.Tree.Create(ctx, p, how)
	return lameUpload{up}, err
}

func (u lameUpload) Commit(ctx context.Context) error {
	return errors.Join(u.Upload.Commit(ctx), errors.New("fsync of the directory: input/output error"))
}

func TestWhatACommitHasPublishedCountsAlsoWhenItFails(t *testing.T) {
	b := newBank(t, account.Account{Name: "anna", Rights: account.Full})
	b.gate.Trees = func(context.Context, account.Account) (vfs.FS, error) { return lame{b.tree}, nil }
	s := b.login(account.Account{Name: "anna", Rights: account.Full})
	up, err := s.Create(t.Context(), at(t, "/a"), vfs.Create{})
	need(t, err)
	rep, err := put(t, up, 10_000)
	need(t, err)
	if err := up.Commit(t.Context(), rep, always); err == nil {
		t.Error("the failure was not told")
	}
	b.agree("after a commit that failed behind the rename", "/a")
}
