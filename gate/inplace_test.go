package gate

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"dray/account"
	"dray/event"
	"dray/fault"
	"dray/transfer"
	"dray/vfs"
)

var inPlace = account.Account{Name: "anna", Rights: account.Full, Uploads: account.UploadsInPlace}

// classic is a session of an account whose uploads are in place, with a quota.
func classic(t testing.TB, maxBytes int64) (*house, *book, *Session) {
	h := newHouse(t)
	b := &book{t: t, maxBytes: maxBytes}
	h.gate.Ledger = b
	return h, b, h.login(inPlace)
}

// lose uploads size bytes, as REST offset and STOR do, or APPE (-1), and loses the
// client.
func lose(t testing.TB, s *Session, name string, offset, size int64) error {
	t.Helper()
	how := vfs.Create{}
	if offset != 0 {
		var err error
		how, err = s.Continue(t.Context(), at(t, name), offset)
		need(t, err)
	}
	up, err := s.Create(t.Context(), at(t, name), how)
	need(t, err)
	rep, err := put(t, up, size)
	need(t, err)
	return up.Cut(t.Context(), rep, errGone)
}

func TestAnUploadInPlaceIsSeenAtOnceAndStaysWhenItIsCut(t *testing.T) {
	h := newHouse(t)
	s, other := h.login(inPlace), h.login(account.Account{Name: "otto", Rights: account.Full})
	up, err := s.Create(t.Context(), at(t, "/a"), vfs.Create{Owner: "anna"})
	need(t, err)
	rep, err := put(t, up, 10_000)
	need(t, err)
	if got := finished(t, other, "/a"); got != 10_000 {
		t.Errorf("another account sees %d bytes; want 10000", got)
	}
	if got := up.Arrived(); got != 10_000 {
		t.Errorf("Arrived() = %d; want 10000", got)
	}
	h.events.take()
	err = up.Cut(t.Context(), rep, errGone)
	is(t, "Cut", err, fault.Cut, fault.IDCutInPlace)
	if facts := fmt.Sprint(fault.Of(err).Facts...); facts != "10000 bytes are in the file" {
		t.Errorf("the refusal tells %q", facts)
	}
	if e := one[event.Transfer](t, h.events.take(), "anna"); e.Whole || e.Bytes != 10_000 || e.Reason != string(fault.IDCutInPlace) {
		t.Errorf("event %+v; want a cut one of 10000 bytes", e)
	}
	if got, kept := finished(t, s, "/a"), partial(t, s, "/a"); got != 10_000 || kept != -1 {
		t.Errorf("after the cut: %d bytes, a partial of %d; want all of it and none", got, kept)
	}
	is(t, "going on", lose(t, s, "/a", 10_000, 5000), fault.Cut, fault.IDCutInPlace)
	is(t, "appending", lose(t, s, "/a", -1, 5), fault.Cut, fault.IDCutInPlace)
	how, err := s.Continue(t.Context(), at(t, "/a"), 4000)
	need(t, err)
	need(t, store(t, s, "/a", how, 11))
	if got := finished(t, s, "/a"); got != 4011 {
		t.Errorf("/a has %d bytes; want 4011", got)
	}
	if got := entries(t, s, "/"); len(got) != 1 {
		t.Errorf("the directory holds %q", got)
	}
}

// The control connection alone has asked for it. A port that is blocked destroys
// nothing, and leaves no empty file.
func TestUntilTheDataConnectionStandsNothingHasChanged(t *testing.T) {
	h, b, s := classic(t, 1<<20)
	need(t, store(t, s, "/a", vfs.Create{}, 300))
	before := snapshot(t, h.tree)
	for _, name := range []string{"/a", "/new"} {
		for _, offset := range []int64{0, -1} {
			how := vfs.Create{}
			if offset < 0 {
				var err error
				how, err = s.Continue(t.Context(), at(t, name), offset)
				need(t, err)
			}
			up, err := s.Create(t.Context(), at(t, name), how)
			need(t, err)
			err = up.Cut(t.Context(), transfer.Report{}, fault.New(fault.NoData, fault.IDDataBlocked))
			if err == nil || fault.Of(err).ID != fault.IDDataBlocked {
				t.Errorf("Cut = %v; want its cause", err)
			}
		}
	}
	if after := snapshot(t, h.tree); after != before {
		t.Errorf("the tree was\n%sand is\n%s", before, after)
	}
	b.agree(t, h, "after uploads without data", "/a", "/new")
	up, err := s.Create(t.Context(), at(t, "/a"), vfs.Create{})
	need(t, err)
	up.Dest() // now it stands
	if got := finished(t, s, "/a"); got != 0 {
		t.Errorf("/a has %d bytes once the data connection stands; want none", got)
	}
	is(t, "Cut", up.Cut(t.Context(), transfer.Report{}, errGone), fault.Cut, fault.IDCutInPlace)
	b.agree(t, h, "after an upload of nothing", "/a")
}

func TestOneUploadAtATimeIsInPlace(t *testing.T) {
	h, b, s := classic(t, 1<<20)
	up, err := s.Create(t.Context(), at(t, "/a"), vfs.Create{})
	need(t, err)
	second, err := s.Create(t.Context(), at(t, "/a"), vfs.Create{})
	is(t, "a second upload", err, fault.Busy, fault.IDInUse)
	if second != nil {
		t.Error("an upload came with the refusal")
	}
	rep, err := put(t, up, 100)
	need(t, err)
	need(t, up.Commit(t.Context(), rep, always))
	b.agree(t, h, "after both", "/a")
	need(t, store(t, s, "/a", vfs.Create{}, 50))
}

func TestAnExclusiveUploadInPlaceTakesItsNameAtOnce(t *testing.T) {
	h, b, s := classic(t, 1<<20)
	up, err := s.Create(t.Context(), at(t, "/a"), vfs.Create{How: vfs.New})
	need(t, err)
	_, err = s.Create(t.Context(), at(t, "/a"), vfs.Create{How: vfs.New})
	is(t, "another", err, fault.Exists, fault.IDExists)
	rep, err := put(t, up, 100)
	need(t, err)
	need(t, up.Commit(t.Context(), rep, always))
	b.agree(t, h, "after both", "/a")
}

// Who may not overwrite can upload in place, and then not again.
func TestUploadsInPlaceKeepTheRights(t *testing.T) {
	h := newHouse(t)
	a := inPlace
	a.Rights = account.List | account.Read | account.Write
	s := h.login(a)
	need(t, store(t, s, "/a", vfs.Create{}, 10))
	is(t, "replacing", store(t, s, "/a", vfs.Create{}, 20), fault.Denied, fault.IDPerm)
	a.Rights = account.UploadOnly
	s = h.login(a)
	need(t, store(t, s, "/a", vfs.Create{}, 30))
	if got := snapshot(t, h.tree); !strings.Contains(got, "/a.1") {
		t.Errorf("what can't see the taken name is not stored beside it:\n%s", got)
	}
}

// What lay hidden before the account was set to in-place is finished as it began,
// or goes with the next upload from the start.
func TestPartialsOfBeforeAreEndedInPlaceOrNot(t *testing.T) {
	h, b, _ := classic(t, 1<<20)
	old := h.anna()
	cut(t, old, "/a", vfs.Create{}, 10_000)
	cut(t, old, "/b", vfs.Create{}, 10_000)
	need(t, store(t, old, "/c", vfs.Create{}, 300))
	cut(t, old, "/c", vfs.Create{}, 10_000)
	s := h.login(inPlace)
	names := []string{"/a", "/b", "/c"}
	b.agree(t, h, "before", names...)

	how, err := s.Continue(t.Context(), at(t, "/a"), kept)
	need(t, err)
	need(t, store(t, s, "/a", how, 100))
	if got := finished(t, s, "/a"); got != kept+100 {
		t.Errorf("/a has %d bytes; want %d", got, kept+100)
	}
	b.agree(t, h, "after the resume", names...)

	is(t, "a cut", lose(t, s, "/b", 0, 50), fault.Cut, fault.IDCutInPlace)
	b.agree(t, h, "after a cut over a partial", names...)
	need(t, store(t, s, "/b", vfs.Create{}, 60))
	if got, left := finished(t, s, "/b"), partial(t, s, "/b"); got != 60 || left != -1 {
		t.Errorf("/b has %d bytes and a partial of %d; want 60 and none", got, left)
	}
	b.agree(t, h, "after the upload", names...)

	// Beside a finished file it is the file that goes on.
	how, err = s.Continue(t.Context(), at(t, "/c"), -1)
	need(t, err)
	need(t, store(t, s, "/c", how, 7))
	if got, left := finished(t, s, "/c"), partial(t, s, "/c"); got != 307 || left != -1 {
		t.Errorf("/c has %d bytes and a partial of %d; want 307 and none", got, left)
	}
	b.agree(t, h, "at the end", names...)
}

// Copies come from the server: they are old or new at every moment, whatever the
// account's uploads are.
func TestCopiesAreNeverInPlace(t *testing.T) {
	h, b, s := classic(t, 1<<20)
	need(t, store(t, s, "/a", vfs.Create{}, 1000))
	need(t, store(t, s, "/b", vfs.Create{}, 300))
	b.maxBytes = 1500
	if _, err := s.Copy(t.Context(), at(t, "/a"), at(t, "/b")); fault.KindOf(err) != fault.OverQuota {
		t.Errorf("Copy = %v; want kind OverQuota", err)
	}
	if got := finished(t, s, "/b"); got != 300 {
		t.Errorf("/b has %d bytes after a copy that failed; want its 300", got)
	}
	b.agree(t, h, "after the copy", "/a", "/b")
}

// After each step the book says what the tree holds.
func TestTheBookSaysWhatUploadsInPlaceLeave(t *testing.T) {
	type step func(t *testing.T, h *house, s *Session)
	whole := func(name string, offset, size int64) step {
		return func(t *testing.T, _ *house, s *Session) {
			how := vfs.Create{}
			if offset != 0 {
				var err error
				how, err = s.Continue(t.Context(), at(t, name), offset)
				need(t, err)
			}
			need(t, store(t, s, name, how, size))
		}
	}
	lost := func(name string, offset, size int64) step {
		return func(t *testing.T, _ *house, s *Session) {
			is(t, "Cut", lose(t, s, name, offset, size), fault.Cut, fault.IDCutInPlace)
		}
	}
	// during changes the tree in the middle of an upload, which then ends.
	during := func(name string, offset int64, commit bool, change func(t *testing.T, h *house, s *Session)) step {
		return func(t *testing.T, h *house, s *Session) {
			how := vfs.Create{}
			if offset != 0 {
				var err error
				how, err = s.Continue(t.Context(), at(t, name), offset)
				need(t, err)
			}
			up, err := s.Create(t.Context(), at(t, name), how)
			need(t, err)
			_, err = put(t, up, 500)
			need(t, err)
			change(t, h, s)
			rep := transfer.Report{Bytes: 500}
			if commit {
				_ = up.Commit(t.Context(), rep, always) // it may be refused: the file has lost its name
			} else {
				_ = up.Cut(t.Context(), rep, errGone)
			}
		}
	}
	remove := func(t *testing.T, _ *house, s *Session) { need(t, s.Remove(t.Context(), at(t, "/d/a"))) }
	rename := func(from, to string) func(t *testing.T, _ *house, s *Session) {
		return func(t *testing.T, _ *house, s *Session) {
			need(t, s.Rename(t.Context(), at(t, from), at(t, to), vfs.Overwrite))
		}
	}
	outside := func(t *testing.T, h *house, _ *Session) { need(t, h.tree.Remove(t.Context(), at(t, "/d/a"))) }
	tests := []struct {
		name  string
		steps []step
	}{
		{"a new file", []step{whole("/d/a", 0, 100)}},
		{"an empty file", []step{whole("/d/a", 0, 0)}},
		{"a larger one over it", []step{whole("/d/a", 0, 100), whole("/d/a", 0, 300)}},
		{"a smaller one over it", []step{whole("/d/a", 0, 300), whole("/d/a", 0, 100)}},
		{"nothing over it", []step{whole("/d/a", 0, 300), whole("/d/a", 0, 0)}},
		{"a new one that was cut", []step{lost("/d/a", 0, 100)}},
		{"one that was cut before its first byte", []step{lost("/d/a", 0, 0), whole("/d/a", 0, 10), lost("/d/a", 0, 0)}},
		{"a cut one over it, smaller", []step{whole("/d/a", 0, 300), lost("/d/a", 0, 100)}},
		{"a cut one over it, larger", []step{whole("/d/a", 0, 300), lost("/d/a", 0, 5000)}},
		{"gone on with", []step{lost("/d/a", 0, 300), whole("/d/a", 300, 100)}},
		{"gone on with and cut again", []step{lost("/d/a", 0, 300), lost("/d/a", 300, 100), lost("/d/a", -1, 100)}},
		{"gone on with from before its end", []step{lost("/d/a", 0, 300), whole("/d/a", 100, 50)}},
		{"appended", []step{whole("/d/a", 0, 300), whole("/d/a", -1, 100)}},
		{"appended to nothing", []step{whole("/d/a", -1, 100)}},
		{"deleted meanwhile, when it was new", []step{during("/d/a", 0, true, remove)}},
		{"deleted meanwhile, and cut", []step{during("/d/a", 0, false, remove)}},
		{"deleted meanwhile, when it was there", []step{whole("/d/a", 0, 300), during("/d/a", 0, true, remove)}},
		{"deleted meanwhile, appended to", []step{whole("/d/a", 0, 300), during("/d/a", -1, false, remove)}},
		{"deleted by others, when it was new", []step{during("/d/a", 0, false, outside)}},
		{"deleted by others, when it was there", []step{whole("/d/a", 0, 300), during("/d/a", -1, true, outside)}},
		{"renamed meanwhile", []step{during("/d/a", 0, true, rename("/d/a", "/d/b"))}},
		{"renamed meanwhile, when it was there", []step{whole("/d/a", 0, 300), during("/d/a", 0, false, rename("/d/a", "/d/b"))}},
		{"renamed and deleted meanwhile", []step{whole("/d/a", 0, 300), during("/d/a", -1, false, func(t *testing.T, h *house, s *Session) {
			rename("/d/a", "/d/b")(t, h, s)
			need(t, s.Remove(t.Context(), at(t, "/d/b")))
		})}},
		{"another renamed over it meanwhile", []step{whole("/d/b", 0, 70), during("/d/a", 0, true, rename("/d/b", "/d/a"))}},
		{"another renamed over it meanwhile, when it was there", []step{whole("/d/a", 0, 300), whole("/d/b", 0, 70), during("/d/a", 0, false, rename("/d/b", "/d/a"))}},
		{"an upload beside of an older login commits over it meanwhile", []step{whole("/d/a", 0, 300), during("/d/a", 0, false, func(t *testing.T, h *house, _ *Session) {
			need(t, store(t, h.anna(), "/d/a", vfs.Create{}, 20))
		})}},
		{"an upload beside of an older login commits over a new one", []step{during("/d/a", 0, true, func(t *testing.T, h *house, _ *Session) {
			need(t, store(t, h.anna(), "/d/a", vfs.Create{}, 20))
		})}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h, b, s := classic(t, 1<<20)
			need(t, h.tree.MkdirAll("/d"))
			for i, step := range tt.steps {
				step(t, h, s)
				b.agree(t, h, fmt.Sprintf("after step %d", i+1), "/d/a", "/d/b")
			}
		})
	}
}

// A quota ends an upload in place where it is reached, to the byte, and what it
// takes the place of is room for it.
func TestTheQuotaOfAnUploadInPlaceIsExact(t *testing.T) {
	h, b, s := classic(t, 10_000)
	need(t, store(t, s, "/a", vfs.Create{}, 8000))
	up, err := s.Create(t.Context(), at(t, "/a"), vfs.Create{})
	need(t, err)
	rep, err := put(t, up, 20_000)
	if fault.KindOf(err) != fault.OverQuota || rep.Bytes != 10_000 {
		t.Errorf("%d bytes came, then %v; want 10000 and kind OverQuota", rep.Bytes, err)
	}
	if err := up.Cut(t.Context(), rep, err); fault.KindOf(err) != fault.OverQuota {
		t.Errorf("Cut = %v", err)
	}
	b.agree(t, h, "at the limit", "/a")
	if _, err := s.Create(t.Context(), at(t, "/b"), vfs.Create{}); err != nil {
		t.Errorf("a file of nothing: %v", err) // it may be empty; its first byte is refused
	}
}

func TestTheNumberOfFilesHoldsInPlace(t *testing.T) {
	h, b, s := classic(t, 0)
	b.maxFiles = 1
	need(t, store(t, s, "/a", vfs.Create{}, 10))
	_, err := s.Create(t.Context(), at(t, "/b"), vfs.Create{})
	is(t, "a second file", err, fault.OverQuota, fault.IDQuota)
	if got := entries(t, s, "/"); len(got) != 1 {
		t.Errorf("the tree holds %q", got)
	}
	need(t, store(t, s, "/a", vfs.Create{}, 20))
	b.agree(t, h, "at the end", "/a")
}

// Many at once, over and through each other: in the end the book is right.
func TestTheBookAfterParallelUploadsInPlace(t *testing.T) {
	h, b, _ := classic(t, 0)
	names := []string{"/0", "/1", "/2", "/3"}
	var wg sync.WaitGroup
	for i := range 32 {
		s := h.login(inPlace)
		wg.Go(func() {
			r := rand.New(rand.NewPCG(1, uint64(i)))
			for range 10 {
				name := names[r.IntN(len(names))]
				p, _ := vfs.Resolve(vfs.Root, name)
				switch r.IntN(6) {
				case 0:
					_ = s.Remove(t.Context(), p)
					continue
				case 1:
					to, _ := vfs.Resolve(vfs.Root, names[r.IntN(len(names))])
					_ = s.Rename(t.Context(), p, to, vfs.Overwrite)
					continue
				}
				how := vfs.Create{}
				if r.IntN(2) == 0 {
					var err error
					if how, err = s.Continue(t.Context(), p, -1); err != nil {
						t.Error(err)
						return
					}
				}
				up, err := s.Create(t.Context(), p, how)
				if err != nil {
					continue // another one writes there, or it went meanwhile
				}
				size := r.Int64N(9000)
				dest, m := up.Dest(), up.Meter()
				n, err := m.Take(t.Context(), size+1)
				if err == nil {
					_, err = dest.WriteAt(make([]byte, n), dest.Offset())
					m.Done(n, n)
				}
				if err != nil {
					t.Error(err)
				}
				rep := transfer.Report{Bytes: n}
				if r.IntN(2) == 0 {
					_ = up.Cut(t.Context(), rep, errGone)
				} else {
					_ = up.Commit(t.Context(), rep, always)
				}
			}
		})
	}
	wg.Wait()
	b.agree(t, h, "at the end", names...)
}
