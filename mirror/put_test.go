package mirror

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"dray/fault"
	"dray/remote"
)

func unsure() error {
	return fmt.Errorf("%w: %w", remote.ErrUnsure, fault.New(fault.Cut, fault.IDLost, "h.test"))
}

func TestUploadsGoBesideAndAreRenamed(t *testing.T) {
	for _, size := range []int{0, 1, 123_456} {
		for _, dray := range []bool{false, true} {
			for _, inPlace := range []bool{false, true} {
				t.Run(fmt.Sprint(size, " dray ", dray, " in place ", inPlace), func(t *testing.T) {
					d := newDesk(t)
					want := random(1, size)
					d.write("a", want)
					d.tree.put("/a", []byte("what was there"))
					d.tree.traits.Dray = dray
					s := d.send("a", Options{InPlace: inPlace, State: d.state()})
					d.wantDone(s)
					d.wantSent("/a", want)
					under := "/a.dray-part"
					if dray || inPlace {
						under = "/a"
					}
					if got := d.tree.calls; !slices.Contains(got, "put "+under) || (d.tree.times("rename") == 1) != (under != "/a") {
						t.Errorf("calls: %q", got)
					}
					if got := d.tree.names(); !slices.Equal(got, []string{"/", "/a"}) {
						t.Errorf("the server holds %q", got)
					}
					n := d.tree.nodes["/a"]
					if !n.mtime.Equal(day) || n.mode != 0o644 {
						t.Errorf("time %v, mode %v", n.mtime, n.mode)
					}
					if s.Bytes != int64(size) || s.Settled != s.Size {
						t.Errorf("bytes %d, settled %d of %d", s.Bytes, s.Settled, s.Size)
					}
				})
			}
		}
	}
}

func TestARenameThatDoesNotReplace(t *testing.T) {
	d := newDesk(t)
	d.write("a", []byte("new"))
	d.tree.put("/a", []byte("old"))
	d.tree.put("/a.dray-part.old", []byte("of a client that died"))
	d.tree.onlyNew = true
	d.wantDone(d.send("a", Options{}))
	d.wantSent("/a", []byte("new"))
	if got := d.tree.names(); !slices.Equal(got, []string{"/", "/a"}) {
		t.Errorf("the server holds %q", got)
	}
}

func TestWhereNothingMayBeRenamedTheOldFileStays(t *testing.T) {
	d := newDesk(t)
	d.write("a", []byte("new"))
	d.tree.put("/a", []byte("old"))
	d.tree.onRename = func(int, string, string) error { return fault.New(fault.Denied, fault.IDPerm, "/a") }
	s := d.send("a", Options{})
	d.wantFailed(s, fault.IDPerm)
	if do := fault.Of(first(s)).Do; len(do) != 1 || !strings.Contains(do[0], "a.dray-part") || !strings.Contains(do[0], "--inplace") {
		t.Errorf("do: %q", do)
	}
	d.wantSent("/a", []byte("old"))
	d.wantSent("/a.dray-part", []byte("new"))
}

func TestALostAnswerToARename(t *testing.T) {
	for _, done := range []bool{true, false} {
		t.Run(fmt.Sprint("done ", done), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDesk(t)
				want := random(1, 50_000)
				d.write("a", want)
				d.tree.onRename = func(n int, from, to string) error {
					if n > 1 {
						return nil
					}
					if done {
						d.tree.mu.Lock()
						d.tree.nodes[to] = d.tree.nodes[from]
						delete(d.tree.nodes, from)
						d.tree.mu.Unlock()
					}
					return fault.New(fault.Cut, fault.IDLost, "h.test")
				}
				s := d.send("a", Options{Retry: 1, State: d.state()})
				d.wantDone(s)
				d.wantSent("/a", want)
				if got := d.tree.times("put"); got != 1 {
					t.Errorf("it was sent %d times", got)
				}
				if entries, _ := os.ReadDir(d.state()); len(entries) != 0 {
					t.Errorf("notes are left: %v", entries)
				}
			})
		})
	}
}

// cutUpload makes an upload of a that is cut after n bytes.
func (d *desk) cutUpload(want []byte, n int64) {
	d.Helper()
	d.write("a", want)
	d.tree.onPut = func(int, string, remote.Put) *cut { return &cut{after: n, err: lost()} }
	s := d.send("a", Options{State: d.state()})
	d.wantFailed(s, fault.IDDataLost)
	if !s.Resumable {
		d.Fatal("it is not called resumable")
	}
	d.tree.onPut, d.tree.calls = nil, nil
}

func TestWhatAnUploadGoesOnWith(t *testing.T) {
	want := random(1, 400_000)
	other := random(2, 400_000)
	const n = 200_000
	sha := []string{"sha256"}
	tests := []struct {
		name  string
		set   func(d *desk)
		do    func(d *desk)
		begin int64
		noted string
	}{
		{"the last bytes are compared", nil, func(*desk) {}, n, ""},
		{"the last bytes are others", nil, func(d *desk) { d.tree.nodes["/a.dray-part"].data[n-1]++ }, 0, "differs"},
		{"it is shorter there", nil, func(d *desk) { d.tree.nodes["/a.dray-part"].data = want[:150_000] }, 150_000, ""},
		{"it is longer there than the source", nil, func(d *desk) { d.tree.put("/a.dray-part", slices.Concat(want, other)) }, 0, ""},
		{"it is gone", nil, func(d *desk) { delete(d.tree.nodes, "/a.dray-part") }, 0, ""},
		{"it can't be read back", nil, func(d *desk) {
			d.tree.onGet = func(int, string, remote.Get) *cut { return &cut{err: fault.New(fault.Denied, fault.IDPerm, "/a")} }
		}, 0, ""},
		{"the note is gone", nil, func(d *desk) { os.RemoveAll(d.state()) }, 0, ""},
		{"the source has other bytes", nil, func(d *desk) { d.write("a", other) }, 0, "changed"},
		{"the source has another time", nil, func(d *desk) {
			os.Chtimes(filepath.Join(d.dir, "a"), day.Add(time.Second), day.Add(time.Second))
		}, 0, "changed"},
		{"a checksum proves it", func(d *desk) { d.tree.traits.Sums = sha }, func(*desk) {}, n, ""},
		{"a checksum shows a hole", func(d *desk) { d.tree.traits.Sums = sha },
			func(d *desk) { clear(d.tree.nodes["/a.dray-part"].data[50_000:60_000]) }, 0, "differ"},
		{"dray keeps it", func(d *desk) { d.tree.traits.Dray = true }, func(*desk) {}, n, ""},
		{"dray has forgotten it, and shows an older file", func(d *desk) { d.tree.traits.Dray = true }, func(d *desk) {
			clear(d.tree.partial)
			d.tree.put("/a", other[:n])
		}, 0, ""},
		{"dray keeps it beside an older file", func(d *desk) { d.tree.traits.Dray = true }, func(d *desk) { d.tree.put("/a", other[:77]) }, n, ""},
		{"behind what was answered may be gaps", func(d *desk) { d.tree.traits.Overlap = true },
			func(d *desk) {
				d.tree.nodes["/a.dray-part"].data = slices.Concat(want[:n], make([]byte, 50_000), want[n+50_000:n+60_000])
			}, n, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := newDesk(t)
			if tt.set != nil {
				tt.set(d)
			}
			d.cutUpload(want, n)
			tt.do(d)
			now := d.read("a")
			from := int64(-1)
			d.tree.onPut = func(_ int, _ string, u remote.Put) *cut { from = u.From; return nil }
			s := d.send("a", Options{State: d.state()})
			d.wantDone(s)
			if from != tt.begin {
				t.Errorf("it went on at %d; want %d", from, tt.begin)
			}
			if kept := d.heard.of(Kept); (len(kept) == 1) != (tt.begin > 0) {
				t.Errorf("kept: %v", kept)
			}
			d.wantSent("/a", now)
			if tt.noted != "" {
				d.wantNoted(tt.noted)
			}
			if d.tree.has("/a.dray-part") {
				t.Error("the unfinished upload is left")
			}
			if entries, _ := os.ReadDir(d.state()); len(entries) != 0 {
				t.Errorf("notes are left: %v", entries)
			}
		})
	}
}

// A cut upload that was to replace a file goes on where the server says, and what nobody
// can read back meanwhile is compared when all is there.
func TestAReplacementThatWasCutGoesOn(t *testing.T) {
	want, old := random(1, 400_000), random(2, 300_000)
	const n = 200_000
	says := func(n int64, err error) func(d *desk, k *keepingTree) {
		return func(_ *desk, k *keepingTree) { k.onKept = func(int, string) (int64, error) { return n, err } }
	}
	tests := []struct {
		name  string
		do    func(d *desk, k *keepingTree)
		begin int64
		asks  int
		puts  int // after the cut
		noted string
	}{
		{"at what it keeps", func(*desk, *keepingTree) {}, n, 1, 1, ""},
		{"which may be less than was sent", func(d *desk, _ *keepingTree) { d.tree.partial["/a"] = want[:n-4096] }, n - 4096, 1, 1, ""},
		{"with the server's checksum", func(d *desk, _ *keepingTree) { d.tree.traits.Sums = []string{"sha256"} }, n, 1, 1, ""},
		{"what it keeps is something else", func(d *desk, _ *keepingTree) { d.tree.partial["/a"] = slices.Clone(old[:n]) }, n, 1, 2, "checksums differ"},
		{"more than was sent is not ours", says(n+1, nil), 0, 1, 1, ""},
		{"nothing is kept", func(d *desk, _ *keepingTree) { clear(d.tree.partial) }, 0, 1, 1, ""},
		{"it does not tell", says(0, fault.New(fault.Denied, fault.IDPerm, "/a")), 0, 1, 1, ""},
		{"the connection is lost at the question", func(_ *desk, k *keepingTree) {
			k.onKept = func(try int, _ string) (int64, error) {
				if try == 1 {
					return 0, fault.New(fault.Unreachable, fault.IDLost, "h.test")
				}
				return 0, nil
			}
		}, n, 2, 1, ""},
		{"no file hides it", func(d *desk, _ *keepingTree) { delete(d.tree.nodes, "/a") }, n, 0, 1, ""},
		{"the source is another one", func(d *desk, _ *keepingTree) { d.write("a", random(3, 400_000)) }, 0, 0, 1, "changed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := newDesk(t)
			d.tree.traits.Dray = true
			keeps := &keepingTree{fakeTree: d.tree}
			d.as = keeps
			d.tree.put("/a", old)
			d.cutUpload(want, n)
			d.wantSent("/a", old) // until the new one is whole
			tt.do(d, keeps)
			now, before := d.read("a"), d.tree.times("put")
			from := int64(-1)
			d.tree.onPut = func(try int, _ string, u remote.Put) *cut {
				if try == before+1 {
					from = u.From
				}
				return nil
			}
			s := d.send("a", Options{State: d.state(), Retry: 1})
			d.wantDone(s)
			d.wantSent("/a", now)
			if puts := d.tree.times("put") - before; from != tt.begin || puts != tt.puts || d.tree.times("kept") != tt.asks {
				t.Errorf("it went on at %d with %d uploads, and asked %d times; want %d, %d, %d", from, puts, d.tree.times("kept"), tt.begin, tt.puts, tt.asks)
			}
			if looked := d.tree.times("get")+d.tree.times("sum") > 0; looked != (tt.begin > 0 && tt.asks > 0) {
				t.Errorf("the whole was compared: %v", looked)
			}
			if tt.noted != "" {
				d.wantNoted(tt.noted)
			}
			if entries, _ := os.ReadDir(d.state()); len(entries) != 0 {
				t.Errorf("notes are left: %v", entries)
			}
		})
	}
}

func TestUploadsThatOthersBegan(t *testing.T) {
	want := random(1, 200_000)
	other := random(2, 200_000)
	tests := []struct {
		name   string
		there  []byte
		sums   []string
		resume Resume
		begin  int64
	}{
		{"auto looks at ours only", want[:90_000], []string{"sha1"}, ResumeAuto, 0},
		{"proven", want[:90_000], []string{"sha1"}, ResumeVerify, 90_000},
		{"another file", other[:90_000], []string{"sha1"}, ResumeVerify, 0},
		{"no proof", want[:90_000], nil, ResumeVerify, 0},
		{"force", want[:90_000], nil, ResumeForce, 90_000},
		{"never", want[:90_000], []string{"sha1"}, ResumeNever, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := newDesk(t)
			d.write("a", want)
			d.tree.put("/a", tt.there)
			d.tree.traits.Sums = tt.sums
			from := int64(-1)
			d.tree.onPut = func(_ int, _ string, u remote.Put) *cut { from = u.From; return nil }
			d.wantDone(d.send("a", Options{Resume: tt.resume, State: d.state()}))
			d.wantSent("/a", want)
			if from != tt.begin {
				t.Errorf("it went on at %d; want %d", from, tt.begin)
			}
		})
	}
}

func TestUploadsResumeAtAnyByte(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	for round := range 50 {
		d := newDesk(t)
		d.tree.traits.Dray = round%3 == 0
		want := random(uint64(round), 1+r.IntN(500_000))
		d.write("a", want)
		d.tree.piece = 1 + r.IntN(20_000)
		d.tree.onPut = func(n int, _ string, u remote.Put) *cut {
			if n%4 == 0 {
				return nil
			}
			c := &cut{after: r.Int64N(int64(len(want))-u.From+1) + 1, err: lost()}
			c.kept = max(c.after-r.Int64N(5000), 1) // the server keeps less than was sent
			return c
		}
		for try := 0; ; try++ {
			s := d.send("a", Options{State: d.state()})
			if s.Done == 1 {
				break
			}
			if try > 20 {
				t.Fatal("it does not end")
			}
			d.wantFailed(s, fault.IDDataLost)
			if d.tree.has("/a") {
				t.Fatal("the final name is there")
			}
		}
		d.wantSent("/a", want)
	}
}

func TestALostAnswerIsSettledByAListing(t *testing.T) {
	want := random(1, 200_000)
	tests := []struct {
		name string
		set  func(d *desk)
		kept int64
		puts int
	}{
		{"it is listed with its full size", func(*desk) {}, keptWhole, 1},
		{"it is listed with less", func(*desk) {}, 150_000, 2},
		{"SIZE tells all, and no listing does", func(d *desk) {
			d.tree.onSeen = func(_ int, p string, _ *remote.Entry) error { return missing(p) }
		}, keptWhole, 1},
		{"dray has it, and it is new there", func(d *desk) { d.tree.traits.Dray, d.tree.traits.Sums = true, []string{"md5"} }, keptWhole, 1},
		{"dray has not", func(d *desk) { d.tree.traits.Dray = true }, 150_000, 2},
		{"an older file of the same size is no proof", func(d *desk) {
			d.tree.traits.Dray = true
			d.tree.put("/a", random(9, len(want)))
		}, 150_000, 2},
		{"a checksum shows the older file", func(d *desk) {
			d.tree.traits.Dray, d.tree.traits.Sums = true, []string{"md5"}
			d.tree.put("/a", random(9, len(want)))
		}, 150_000, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDesk(t)
				d.write("a", want)
				tt.set(d)
				d.tree.onPut = func(n int, _ string, _ remote.Put) *cut {
					if n == 1 {
						return &cut{after: -1, err: unsure(), kept: tt.kept}
					}
					return nil
				}
				s := d.send("a", Options{Retry: 1, State: d.state()})
				d.wantDone(s)
				d.wantSent("/a", want)
				if tt.name != "SIZE tells all, and no listing does" && d.tree.times("put") != tt.puts {
					t.Errorf("it was sent %d times; want %d", d.tree.times("put"), tt.puts)
				}
				if d.tree.times("seen") == 0 {
					t.Error("no listing was asked")
				}
			})
		})
	}
}

func TestASourceThatChangesIsSentAgain(t *testing.T) {
	for _, dray := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			d := newDesk(t)
			d.tree.traits.Dray = dray
			d.write("a", random(1, 100_000))
			now := random(2, 120_000)
			d.tree.onPut = func(n int, _ string, _ remote.Put) *cut {
				if n > 1 {
					return nil
				}
				return &cut{after: -1, mid: func() {
					d.write("a", now)
					os.Chtimes(filepath.Join(d.dir, "a"), day.Add(time.Minute), day.Add(time.Minute))
				}}
			}
			s := d.send("a", Options{Retry: 1, State: d.state()})
			d.wantDone(s)
			d.wantSent("/a", now)
			if again := d.heard.of(Again); len(again) != 1 || fault.Of(again[0].Err).ID != fault.IDSourceMoved {
				t.Errorf("again: %v", again)
			}
			if s.Size != 120_000 || s.Settled != s.Size {
				t.Errorf("settled %d of %d", s.Settled, s.Size)
			}
		})
	}
}

func TestAChangedSourceLeavesNothingBehind(t *testing.T) {
	d := newDesk(t)
	d.write("a", random(1, 100_000))
	d.tree.onPut = func(int, string, remote.Put) *cut {
		return &cut{after: -1, mid: func() { d.write("a", random(2, 120_000)) }}
	}
	d.wantFailed(d.send("a", Options{State: d.state()}), fault.IDSourceMoved)
	if got := d.tree.names(); !slices.Equal(got, []string{"/"}) {
		t.Errorf("the server holds %q", got)
	}
}

func TestUploadsAreVerified(t *testing.T) {
	want := random(1, 100_000)
	t.Run("the size", func(t *testing.T) {
		d := newDesk(t)
		d.write("a", want)
		d.tree.onSeen = func(_ int, _ string, e *remote.Entry) error { e.Size--; return nil }
		d.wantFailed(d.send("a", Options{Verify: VerifySize}), fault.IDShortFile)
		if d.tree.has("/a") {
			t.Error("it has its final name")
		}
		d.tree.onSeen = nil
		d.wantDone(d.send("a", Options{Verify: VerifySize}))
	})
	for _, sums := range [][]string{{"sha512"}, nil} {
		t.Run(fmt.Sprint("checksums ", sums), func(t *testing.T) {
			d := newDesk(t)
			d.write("a", want)
			d.tree.traits.Sums = sums
			d.wantDone(d.send("a", Options{Verify: VerifyHash}))
			d.wantSent("/a", want)
		})
	}
	t.Run("a checksum that is wrong once", func(t *testing.T) {
		d := newDesk(t)
		d.write("a", want)
		d.tree.onSum = func(n int, _ string) (string, error) { return []string{"00", ""}[min(n-1, 1)], nil }
		d.tree.traits.Sums = []string{"sha256"}
		d.wantDone(d.send("a", Options{Verify: VerifyHash}))
		d.wantNoted("once more")
		if got := d.tree.names(); !slices.Equal(got, []string{"/", "/a"}) {
			t.Errorf("the server holds %q", got)
		}
	})
	for _, dray := range []bool{false, true} {
		t.Run(fmt.Sprint("a checksum that is always wrong, dray ", dray), func(t *testing.T) {
			d := newDesk(t)
			d.write("a", want)
			d.tree.traits.Sums, d.tree.traits.Dray = []string{"sha256"}, dray
			d.tree.onSum = func(int, string) (string, error) { return "00", nil }
			d.wantFailed(d.send("a", Options{Verify: VerifyHash, Retry: 2}), fault.IDVerify)
			if got := d.tree.names(); !slices.Equal(got, []string{"/", "/a.dray-part.bad"}) {
				t.Errorf("the server holds %q", got)
			}
			if d.tree.times("put") != 2 {
				t.Errorf("it was sent %d times", d.tree.times("put"))
			}
		})
	}
}

func TestWhatTheServerHasAlready(t *testing.T) {
	tests := []struct {
		name     string
		conflict Conflict
		theirs   time.Duration
		skipped  bool
	}{
		{"replace", Replace, time.Hour, false},
		{"skip", Skip, -time.Hour, true},
		{"newer: theirs is older", Newer, -2 * time.Second, false},
		{"newer: theirs is as old", Newer, 0, true},
		{"newer: theirs is newer", Newer, time.Hour, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := newDesk(t)
			d.write("a", []byte("ours"))
			d.tree.put("/a", []byte("theirs")).mtime = day.Add(tt.theirs)
			s := d.send("a", Options{Conflict: tt.conflict})
			want := "ours"
			if tt.skipped {
				want = "theirs"
			}
			if got := string(d.tree.data("/a")); got != want || (s.Skipped == 1) != tt.skipped {
				t.Errorf("a holds %q, skipped %d", got, s.Skipped)
			}
		})
	}
}

func TestSourcesThatCantBeSent(t *testing.T) {
	d := newDesk(t)
	d.wantFailed(d.send("missing", Options{}), fault.IDNotFound)
	d.write("dir/in", nil)
	d.wantFailed(d.send("dir", Options{}), fault.IDIsDir)
	if err := mkfifo(filepath.Join(d.dir, "fifo")); err != nil {
		if runtime.GOOS != "windows" {
			t.Fatal(err)
		}
		t.Skip("SKIPPED: Windows has no named pipes among its files")
	}
	d.wantFailed(d.send("fifo", Options{}), fault.IDNotRegular) // and nobody waits for a writer
}

// What is whole on the server, and was not renamed, gets its time and mode.
func TestAWholeUploadIsDressed(t *testing.T) {
	d := newDesk(t)
	want := random(1, 100_000)
	d.write("a", want)
	d.tree.onPut = func(int, string, remote.Put) *cut { return &cut{after: 100_000, err: lost()} }
	d.wantFailed(d.send("a", Options{State: d.state()}), fault.IDDataLost)
	d.tree.onPut = nil
	d.wantDone(d.send("a", Options{State: d.state()}))
	if n := d.tree.nodes["/a"]; d.tree.times("put") != 1 || !n.mtime.Equal(day) || !bytes.Equal(n.data, want) {
		t.Errorf("sent %d times, time %v", d.tree.times("put"), n.mtime)
	}
}

func TestAKilledUploadGoesOn(t *testing.T) {
	for _, overlap := range []bool{false, true} {
		d := newDesk(t)
		d.tree.traits.Overlap = overlap
		want := random(1, 8*block)
		if overlap {
			want = slices.Concat(want, make([]byte, 3*block))
		}
		d.write("a", want)
		d.tree.piece = 256 << 10
		var notes []note
		synctest.Test(t, func(t *testing.T) {
			d.tree.delay = 500 * time.Millisecond
			ctx, kill := context.WithCancel(context.Background())
			done := make(chan Summary)
			go func() {
				r := NewRun(ctx, d.tree, Options{State: d.state()})
				r.Upload(Upload{File: filepath.Join(d.dir, "a"), Path: "/a", URL: host + "/a", Size: -1})
				done <- r.Wait()
			}()
			for range 20 {
				time.Sleep(3 * time.Second)
				synctest.Wait()
				entries, _ := os.ReadDir(d.state())
				for _, e := range entries {
					if n, ok, _ := readNote(dirShelf(d.state()), e.Name()); ok {
						notes = append(notes, n)
					}
				}
			}
			kill()
			<-done
		})
		if len(notes) == 0 {
			t.Fatal("no note was written")
		}
		for _, n := range notes {
			if !bytes.Equal(d.read("a"), want) || n.proven(bytes.NewReader(want), int64(len(want))) != n.Bytes || n.Bytes == 0 {
				t.Errorf("the note of %d bytes is wrong", n.Bytes)
			}
		}
	}
}

func TestOldNotesAreSweptAway(t *testing.T) {
	dir := t.TempDir()
	old := strings.Repeat("0", 32) + ".json"
	young := strings.Repeat("1", 32) + ".json"
	for _, name := range []string{old, young, old + "~", "mine.json"} {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if name != young {
			at := time.Now().Add(-notesLast - time.Hour)
			_ = os.Chtimes(p, at, at)
		}
	}
	sweepNotes(dir)
	entries, _ := os.ReadDir(dir)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if !slices.Equal(names, []string{young, "mine.json"}) {
		t.Errorf("left: %q", names)
	}
}
