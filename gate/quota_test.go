package gate

import (
	"bytes"
	"context"
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

// A book is an account.Ledger in memory, exact to the byte.
type book struct {
	mu       sync.Mutex
	t        testing.TB
	maxBytes int64 // 0: none
	maxFiles int
	files    int
	bytes    int64
	heldF    int
	heldB    int64
	open     int // holds that are not settled
}

func (b *book) full() error {
	return fault.New(fault.OverQuota, fault.IDQuota, Bytes(b.bytes+b.heldB), Bytes(b.maxBytes))
}

func (b *book) Hold(_ context.Context, name string, files int, bytes int64) (account.Hold, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if name != "anna" || files < 0 || bytes < 0 {
		b.t.Errorf("Hold(%q, %d, %d)", name, files, bytes)
	}
	h := &hold{b: b}
	if err := h.more(files, bytes); err != nil {
		return nil, err
	}
	b.open++
	return h, nil
}

func (b *book) Adjust(ctx context.Context, name string, files int, bytes int64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if name != "anna" || ctx.Err() != nil {
		b.t.Errorf("Adjust(%q, %d, %d), context %v", name, files, bytes, ctx.Err())
	}
	b.files += files
	b.bytes += bytes
	return nil
}

func (b *book) Usage(context.Context, string) (int, int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.files, b.bytes, nil
}

type hold struct {
	b     *book
	files int
	bytes int64
	done  bool
}

// more is called under the book's lock.
func (h *hold) more(files int, bytes int64) error {
	b := h.b
	if b.maxBytes > 0 && bytes > 0 && b.bytes+b.heldB+bytes > b.maxBytes || b.maxFiles > 0 && b.files+b.heldF+files > b.maxFiles {
		return b.full()
	}
	b.heldF, b.heldB = b.heldF+files, b.heldB+bytes
	h.files, h.bytes = h.files+files, h.bytes+bytes
	return nil
}

func (h *hold) More(ctx context.Context, bytes int64) error {
	h.b.mu.Lock()
	defer h.b.mu.Unlock()
	if h.done || bytes < 1 {
		h.b.t.Errorf("More(%d), settled %v", bytes, h.done)
	}
	return h.more(0, bytes)
}

func (h *hold) Less(bytes int64) {
	h.b.mu.Lock()
	defer h.b.mu.Unlock()
	if h.done || bytes < 1 || bytes > h.bytes {
		h.b.t.Errorf("Less(%d) of %d, settled %v", bytes, h.bytes, h.done)
	}
	h.bytes -= bytes
	h.b.heldB -= bytes
}

func (h *hold) Settle(ctx context.Context, files int, bytes int64) error {
	b := h.b
	b.mu.Lock()
	defer b.mu.Unlock()
	if h.done || ctx.Err() != nil {
		b.t.Errorf("Settle(%d, %d), settled before %v, context %v", files, bytes, h.done, ctx.Err())
	}
	h.done = true
	b.open--
	b.heldF, b.heldB = b.heldF-h.files, b.heldB-h.bytes
	b.files, b.bytes = b.files+files, b.bytes+bytes
	return nil
}

// rich is a session of an account with a quota.
func rich(t testing.TB, maxBytes int64) (*house, *book, *Session) {
	h := newHouse(t)
	b := &book{t: t, maxBytes: maxBytes}
	h.gate.Ledger = b
	return h, b, h.anna()
}

// agree wants the book to say what the tree holds: finished files and partials.
func (b *book) agree(t testing.TB, h *house, doing string, names ...string) {
	t.Helper()
	free, total, err := h.tree.Space(t.Context(), vfs.Root)
	need(t, err)
	files := 0
	for _, name := range names {
		if fi, err := h.tree.Stat(t.Context(), at(t, name)); err == nil && !fi.IsDir() {
			files++
		}
		if _, err := h.tree.Partial(t.Context(), at(t, name), "anna"); err == nil {
			files++
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.bytes != int64(total-free) || b.files != files {
		t.Errorf("%s: the book has %d bytes in %d files, the tree %d in %d", doing, b.bytes, b.files, total-free, files)
	}
	if b.open != 0 || b.heldB != 0 || b.heldF != 0 {
		t.Errorf("%s: %d bytes and %d files are held, %d holds open", doing, b.heldB, b.heldF, b.open)
	}
}

// After each step the book says what the tree holds, unfinished uploads
// included.
func TestTheBookSaysWhatTheTreeHolds(t *testing.T) {
	type step func(t *testing.T, s *Session)
	put := func(name string, size int64) step {
		return func(t *testing.T, s *Session) { need(t, store(t, s, name, vfs.Create{}, size)) }
	}
	lose := func(name string, size int64) step {
		return func(t *testing.T, s *Session) { cut(t, s, name, vfs.Create{}, size) }
	}
	goOn := func(name string, size int64) step {
		return func(t *testing.T, s *Session) {
			need(t, store(t, s, name, vfs.Create{How: vfs.Resume, Offset: partial(t, s, name)}, size))
		}
	}
	goOnAndLose := func(name string, size int64) step {
		return func(t *testing.T, s *Session) {
			cut(t, s, name, vfs.Create{How: vfs.Resume, Offset: partial(t, s, name)}, size)
		}
	}
	rename := func(from, to string) step {
		return func(t *testing.T, s *Session) { need(t, s.Rename(t.Context(), at(t, from), at(t, to), vfs.Overwrite)) }
	}
	remove := func(name string) step {
		return func(t *testing.T, s *Session) { need(t, s.Remove(t.Context(), at(t, name))) }
	}
	refused := func(name string, how vfs.Create) step {
		return func(t *testing.T, s *Session) {
			if up, err := s.Create(t.Context(), at(t, name), how); err == nil {
				t.Fatalf("Create(%+v) was taken: %v", how, up)
			}
		}
	}
	tests := []struct {
		name  string
		steps []step
	}{
		{"a new file", []step{put("/d/a", 100)}},
		{"an empty file", []step{put("/d/a", 0)}},
		{"a larger file in place of a smaller one", []step{put("/d/a", 100), put("/d/a", 300)}},
		{"a smaller file in place of a larger one", []step{put("/d/a", 300), put("/d/a", 100)}},
		{"nothing in place of a file", []step{put("/d/a", 300), put("/d/a", 0)}},
		{"a file under a name of its own", []step{func(t *testing.T, s *Session) {
			need(t, store(t, s, "/d/a", vfs.Create{How: vfs.New}, 70))
		}}},
		{"an append", []step{put("/d/a", 300), func(t *testing.T, s *Session) {
			need(t, store(t, s, "/d/a", vfs.Create{How: vfs.InPlace, Offset: -1}, 50))
		}}},
		{"an append that was cut", []step{put("/d/a", 300), func(t *testing.T, s *Session) {
			cut(t, s, "/d/a", vfs.Create{How: vfs.InPlace, Offset: -1}, 5000)
		}}},
		{"a new end that is shorter", []step{put("/d/a", 300), func(t *testing.T, s *Session) {
			need(t, store(t, s, "/d/a", vfs.Create{Offset: 10}, 20))
		}}},
		{"a new end that is longer", []step{put("/d/a", 300), func(t *testing.T, s *Session) {
			need(t, store(t, s, "/d/a", vfs.Create{Offset: 200}, 200))
		}}},
		{"a cut upload that is kept", []step{lose("/d/a", 10_000)}},
		{"a cut upload that is not", []step{lose("/d/a", 100)}},
		{"a cut upload that was replacing a file", []step{put("/d/a", 300), lose("/d/a", 10_000)}},
		{"a small cut upload that was replacing a file", []step{put("/d/a", 300), lose("/d/a", 100)}},
		{"resumed", []step{lose("/d/a", 10_000), goOn("/d/a", 5000)}},
		{"resumed by nothing", []step{lose("/d/a", 10_000), goOn("/d/a", 0)}},
		{"resumed from before its end", []step{lose("/d/a", 10_000), func(t *testing.T, s *Session) {
			need(t, store(t, s, "/d/a", vfs.Create{How: vfs.Resume, Offset: 10}, 20))
		}}},
		{"resumed and cut again", []step{lose("/d/a", 10_000), goOnAndLose("/d/a", 20_000)}},
		{"resumed and cut again, shorter than it was", []step{lose("/d/a", 10_000), goOnAndLose("/d/a", 100)}},
		{"resumed and cut until nothing is left", []step{lose("/d/a", 10_000), goOnAndLose("/d/a", 1), goOnAndLose("/d/a", 1)}},
		{"resumed over the file that it was to replace", []step{put("/d/a", 300), lose("/d/a", 10_000), goOn("/d/a", 5000)}},
		{"started again", []step{lose("/d/a", 10_000), put("/d/a", 100)}},
		{"started again and cut again", []step{lose("/d/a", 10_000), lose("/d/a", 20_000)}},
		{"started again and cut at once: the older partial stays", []step{lose("/d/a", 10_000), lose("/d/a", 100)}},
		{"started again over a file", []step{put("/d/a", 300), lose("/d/a", 10_000), put("/d/a", 200)}},
		{"an append cut beside a partial", []step{put("/d/a", 300), lose("/d/a", 10_000), func(t *testing.T, s *Session) {
			cut(t, s, "/d/a", vfs.Create{How: vfs.InPlace, Offset: -1}, 7000)
		}}},
		{"deleted", []step{put("/d/a", 300), remove("/d/a")}},
		{"a partial deleted", []step{lose("/d/a", 10_000), remove("/d/a")}},
		{"both deleted", []step{put("/d/a", 300), lose("/d/a", 10_000), remove("/d/a")}},
		{"renamed", []step{put("/d/a", 300), rename("/d/a", "/d/b")}},
		{"renamed to itself", []step{put("/d/a", 300), rename("/d/a", "/d/a")}},
		{"renamed over another", []step{put("/d/a", 300), put("/d/b", 200), rename("/d/a", "/d/b")}},
		{"a partial renamed", []step{lose("/d/a", 10_000), rename("/d/a", "/d/b")}},
		{"a partial renamed over another partial", []step{lose("/d/a", 10_000), lose("/d/b", 20_000), rename("/d/a", "/d/b")}},
		{"a resume of nothing is refused", []step{refused("/d/a", vfs.Create{How: vfs.Resume, Offset: 5})}},
		{"an offset above the size is refused", []step{put("/d/a", 10), refused("/d/a", vfs.Create{Offset: 11})}},
		{"an upload to a directory is refused", []step{refused("/d", vfs.Create{})}},
		{"a taken name is refused", []step{put("/d/a", 10), refused("/d/a", vfs.Create{How: vfs.New})}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h, b, s := rich(t, 1<<20)
			need(t, h.tree.MkdirAll("/d"))
			for i, step := range tt.steps {
				step(t, s)
				b.agree(t, h, fmt.Sprintf("after step %d", i+1), "/d/a", "/d/b")
			}
		})
	}
}

// Whatever an account does in whatever order, the book stays right.
func TestTheBookStaysRight(t *testing.T) {
	names := []string{"/a", "/b", "/c"}
	for seed := range uint64(200) {
		h, b, s := rich(t, 60_000)
		r := rand.New(rand.NewPCG(2, seed))
		var did []string
		for range 12 {
			name, other := names[r.IntN(len(names))], names[r.IntN(len(names))]
			size := []int64{0, 1, 100, 4097, 10_000, 25_000}[r.IntN(6)]
			switch what := r.IntN(8); what {
			case 0, 1, 2, 3, 4:
				how := vfs.Create{}
				if what == 4 {
					how.How = vfs.New
				} else if what > 1 {
					var err error
					offset := []int64{-1, 0, partial(t, s, name), finished(t, s, name), 10}[r.IntN(5)]
					if how, err = s.Continue(t.Context(), at(t, name), offset); err != nil {
						continue
					}
				}
				did = append(did, fmt.Sprintf("%+v of %s with %d", how, name, size))
				up, err := s.Create(t.Context(), at(t, name), how)
				if err != nil {
					break
				}
				rep, err := put(t, up, size)
				switch {
				case err != nil:
					is(t, "put", up.Cut(t.Context(), rep, err), fault.OverQuota, fault.IDQuota)
					did[len(did)-1] += ", over the quota"
				case r.IntN(3) == 0:
					_ = up.Cut(t.Context(), rep, errGone)
					did[len(did)-1] += ", cut"
				default:
					_ = up.Commit(t.Context(), rep, always)
				}
			case 5:
				did = append(did, "remove "+name)
				_ = s.Remove(t.Context(), at(t, name))
			default:
				did = append(did, "rename "+name+" to "+other)
				_ = s.Rename(t.Context(), at(t, name), at(t, other), vfs.Overwrite)
			}
			b.agree(t, h, fmt.Sprint("seed ", seed), names...)
			if t.Failed() {
				t.Fatalf("after %q", did)
			}
		}
	}
}

func TestAnUploadEndsWhereTheQuotaEnds(t *testing.T) {
	tests := []struct {
		name  string
		quota int64
		old   int64 // of the finished file of that name
		size  int64
		want  int64 // how much could be written
	}{
		{"to the byte", 100_000, 0, 100_000, 100_000},
		{"one byte too much", 100_000, 0, 100_001, 100_000},
		{"far too much", 100_000, 0, 1 << 20, 100_000},
		{"only growth over the old file counts", 100_000, 60_000, 100_000, 100_000},
		{"and not a byte more", 100_000, 60_000, 100_001, 100_000},
		{"a full account may still replace by as much", 60_000, 60_000, 60_000, 60_000},
		{"a very small quota", 10, 0, 11, 10},
		{"a large quota", 8<<20 + 1, 0, 12 << 20, 8<<20 + 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h, b, s := rich(t, tt.quota)
			if tt.old > 0 {
				need(t, store(t, s, "/a", vfs.Create{}, tt.old))
				h.events.take()
			}
			up, err := s.Create(t.Context(), at(t, "/a"), vfs.Create{})
			need(t, err)
			rep, err := put(t, up, tt.size)
			if rep.Bytes != tt.want || up.Arrived() != tt.want {
				t.Errorf("%d bytes were written, %d counted, want %d", rep.Bytes, up.Arrived(), tt.want)
			}
			if tt.want == tt.size {
				need(t, err)
				need(t, up.Commit(t.Context(), rep, always))
				b.agree(t, h, "after the commit", "/a")
				return
			}
			err = up.Cut(t.Context(), rep, err)
			is(t, "Cut", err, fault.OverQuota, fault.IDQuota)
			if facts := fault.Of(err).Facts; len(facts) != 2 || facts[1] != Bytes(tt.quota) {
				t.Errorf("facts %q; want what is used and the limit", facts)
			}
			b.agree(t, h, "after the cut", "/a")
			if e := one[event.Transfer](t, h.events.take(), "anna"); e.Whole || e.Reason != "quota" {
				t.Errorf("event %+v", e)
			}
		})
	}
}

func TestAFileMoreThanTheQuotaIsRefusedBeforeItBegins(t *testing.T) {
	h, b, s := rich(t, 0)
	b.maxFiles = 1
	need(t, store(t, s, "/a", vfs.Create{}, 10))
	before := snapshot(t, h.tree)
	is(t, "a second file", second(s.Create(t.Context(), at(t, "/b"), vfs.Create{})), fault.OverQuota, fault.IDQuota)
	if snapshot(t, h.tree) != before {
		t.Error("the tree has changed")
	}
	need(t, store(t, s, "/a", vfs.Create{}, 20)) // the same file again is no file more
	b.agree(t, h, "at the end", "/a", "/b")
}

// Uploads at once never get more than the quota together, and all of it.
func TestParallelUploadsShareTheQuotaToTheByte(t *testing.T) {
	const quota, uploads = 1_000_003, 8
	h, b, s := rich(t, quota)
	ups := make([]*Upload, uploads)
	for i := range ups {
		var err error
		ups[i], err = s.Create(t.Context(), at(t, fmt.Sprintf("/%d", i)), vfs.Create{})
		need(t, err)
	}
	wrote := make([]int64, uploads)
	var wg sync.WaitGroup
	for i, up := range ups {
		wg.Go(func() {
			m, block := up.Meter(), bytes.Repeat([]byte("x"), 30_000)
			for {
				n, err := m.Take(context.Background(), int64(len(block)))
				if err != nil {
					is(t, "Take", err, fault.OverQuota, fault.IDQuota)
					return
				}
				if n < 1 {
					t.Errorf("Take granted %d", n)
					return
				}
				if _, err := up.Dest().WriteAt(block[:n], wrote[i]); err != nil {
					t.Error(err)
				}
				m.Done(n, n)
				wrote[i] += n
			}
		})
	}
	wg.Wait()
	var sum int64
	for _, n := range wrote {
		sum += n
	}
	if sum != quota {
		t.Errorf("together %d bytes were written, the quota is %d", sum, quota)
	}
	var names []string
	for i, up := range ups {
		names = append(names, fmt.Sprintf("/%d", i))
		rep := must(put(t, up, 0))
		if i%2 == 0 {
			need(t, up.Commit(t.Context(), rep, always))
		} else {
			is(t, "Cut", up.Cut(t.Context(), rep, errGone), fault.Cut, fault.IDUploadCut)
		}
	}
	b.agree(t, h, "at the end", names...)
}

// Two uploads to one name: the first that ends makes the file, the second
// replaces it.
func TestTwoUploadsToOneNameAreCountedOnce(t *testing.T) {
	for _, old := range []int64{-1, 300} {
		for _, ends := range []string{"commit, commit", "cut, commit", "commit, cut", "cut, cut"} {
			t.Run(fmt.Sprintf("old %d, %s", old, ends), func(t *testing.T) {
				h, b, s := rich(t, 1<<20)
				if old >= 0 {
					need(t, store(t, s, "/a", vfs.Create{}, old))
				}
				first, err := s.Create(t.Context(), at(t, "/a"), vfs.Create{})
				need(t, err)
				second, err := s.Create(t.Context(), at(t, "/a"), vfs.Create{})
				need(t, err)
				ups := []*Upload{first, second}
				reps := []transfer.Report{must(put(t, first, 10_000)), must(put(t, second, 20_000))}
				for i, end := range strings.Split(ends, ", ") {
					if end == "cut" {
						_ = ups[i].Cut(t.Context(), reps[i], errGone)
					} else {
						need(t, ups[i].Commit(t.Context(), reps[i], always))
					}
				}
				b.agree(t, h, "at the end", "/a")
			})
		}
	}
}

// What one upload gives back, another may take, while it is asking.
func TestAQuotaThatBecomesFreeWhileAnUploadAsks(t *testing.T) {
	h, b, s := rich(t, 1000)
	up, err := s.Create(t.Context(), at(t, "/a"), vfs.Create{})
	need(t, err)
	rep := must(put(t, up, 1000))
	freed := &freeing{Hold: up.hold, b: b, after: 10}
	up.hold = freed
	n, err := up.Meter().Take(t.Context(), 1000)
	if err != nil || n < 1 {
		t.Fatalf("Take = %d, %v; want at least 1 byte of what became free", n, err)
	}
	up.Meter().Done(n, 0)
	b.maxBytes = 1000
	need(t, up.Commit(t.Context(), rep, always))
	b.agree(t, h, "at the end", "/a")
}

// freeing is a Hold whose quota grows at its last call: after the whole of what
// is wanted and every half of it were refused.
type freeing struct {
	account.Hold
	b     *book
	after int
}

func (f *freeing) More(ctx context.Context, bytes int64) error {
	if f.after--; f.after == 0 {
		f.b.mu.Lock()
		f.b.maxBytes = 2000
		f.b.mu.Unlock()
	}
	return f.Hold.More(ctx, bytes)
}

func TestRoom(t *testing.T) {
	_, b, s := rich(t, 1000)
	is(t, "Room for all of it", s.Room(t.Context(), vfs.Root, 1000), 0, "")
	is(t, "Room for more than the quota", s.Room(t.Context(), vfs.Root, 1001), fault.OverQuota, fault.IDQuota)
	is(t, "Room for more than the disk", s.Room(t.Context(), vfs.Root, 1<<40), fault.NoSpace, fault.IDNoSpace)
	if b.open != 0 || b.heldB != 0 || b.bytes != 0 {
		t.Errorf("asking has left %d bytes held, %d used", b.heldB, b.bytes)
	}
}

func TestBytesArePrintedForPeople(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 bytes", 1023: "1023 bytes", 1024: "1.0 KiB", 1536: "1.5 KiB", 1 << 20: "1.0 MiB",
		5 << 30: "5.0 GiB", 3 << 40: "3.0 TiB", 1 << 50: "1.0 PiB", 1 << 60: "1024.0 PiB",
	} {
		if got := Bytes(n); got != want {
			t.Errorf("Bytes(%d) = %q, want %q", n, got, want)
		}
	}
}
