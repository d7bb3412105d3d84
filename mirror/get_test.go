package mirror

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"dray/fault"
	"dray/remote"
)

func TestDownloadsAreWholeUnderTheirNames(t *testing.T) {
	for _, size := range []int{0, 1, 9_999, 10_000, 123_456} {
		for _, inPlace := range []bool{false, true} {
			t.Run(fmt.Sprint(size, " bytes"), func(t *testing.T) {
				d := newDesk(t)
				want := random(uint64(size), size)
				d.tree.put("/a", want).mode = 0o751
				s := d.get("a", Options{InPlace: inPlace})
				d.wantDone(s)
				d.wantHere("a")
				d.wantData("a", want)
				if s.Bytes != int64(size) || s.Size != int64(size) || s.Settled != int64(size) {
					t.Errorf("bytes %d, size %d, settled %d; want %d", s.Bytes, s.Size, s.Settled, size)
				}
				fi, err := d.place.Stat("a")
				if err != nil || !fi.ModTime().Equal(day) {
					t.Errorf("time %v, %v; want %v", fi.ModTime(), err, day)
				}
				if want := 0o751 &^ umask(); fi.Mode().Perm() != want|0o600 {
					t.Errorf("mode %v; want %v", fi.Mode(), want)
				}
				if got := d.heard.whats(); got != "plan start done" {
					t.Errorf("events: %s", got)
				}
			})
		}
	}
}

func TestTimesAndModesCanBeLeft(t *testing.T) {
	d := newDesk(t)
	d.tree.put("/a", []byte("x")).mode = 0o777
	d.wantDone(d.get("a", Options{NoTimes: true, NoModes: true}))
	fi, _ := d.place.Stat("a")
	if fi.ModTime().Equal(day) || fi.Mode().Perm() != 0o666&^umask() {
		t.Errorf("time %v and mode %v were taken over", fi.ModTime(), fi.Mode())
	}
}

func TestADownloadOfUnknownSize(t *testing.T) {
	d := newDesk(t)
	want := random(1, 50_000)
	d.tree.put("/a", want)
	d.tree.onStat = func(int, string, *remote.Entry) error {
		return fault.New(fault.Unsupported, fault.IDUnsupported, "SIZE")
	}
	d.wantDone(d.get("a", Options{}))
	d.wantData("a", want)

	// Cut, it stays as what it is: nothing proves it.
	d.tree.onGet = func(int, string, remote.Get) *cut { return &cut{after: 20_000, err: lost()} }
	s := d.get("a", Options{})
	d.wantFailed(s, fault.IDDataLost)
	if s.Resumable {
		t.Error("an unproven beginning is called resumable")
	}
	d.wantHere("a", "a.dray-part")
}

func TestAShortFileIsNoSuccess(t *testing.T) {
	d := newDesk(t)
	want := random(1, 50_000)
	d.tree.put("/a", want)
	d.tree.onGet = func(int, string, remote.Get) *cut { return &cut{after: 30_000} }
	s := d.get("a", Options{})
	d.wantFailed(s, fault.IDShortFile)
	if facts := fault.Of(first(s)).Facts; !slices.Equal(facts, []any{host + "/a", int64(30_000), int64(50_000)}) {
		t.Errorf("facts %v", facts)
	}
	if !s.Resumable || !s.Errors[0].Resumable {
		t.Error("what came is not called resumable")
	}
	d.wantHere("a.dray-part", "a.dray-part.json")
	d.tree.onGet = nil
	s = d.get("a", Options{})
	d.wantDone(s)
	d.wantData("a", want)
	d.wantHere("a")
	if s.Bytes != 50_000 { // 30,000 are compared, the rest is new
		t.Errorf("%d bytes moved", s.Bytes)
	}
	if kept := d.heard.of(Kept); len(kept) != 1 || kept[0].Begin != 30_000 {
		t.Errorf("kept: %v", kept)
	}
}

func TestAFileThatIsBiggerThanTold(t *testing.T) {
	want := random(1, 50_000)
	told := func(size int64) func(int, string, *remote.Entry) error {
		return func(n int, _ string, e *remote.Entry) error {
			if n == 1 {
				e.Size = size
			}
			return nil
		}
	}
	t.Run("it has grown, and the server tells so now", func(t *testing.T) {
		d := newDesk(t)
		d.tree.put("/a", want)
		d.tree.onStat = told(40_000)
		s := d.get("a", Options{})
		d.wantDone(s)
		d.wantData("a", want)
		if s.Size != 50_000 {
			t.Errorf("size %d", s.Size)
		}
	})
	t.Run("the server goes on telling the other size", func(t *testing.T) {
		d := newDesk(t)
		d.tree.put("/a", want)
		d.tree.onStat = func(_ int, _ string, e *remote.Entry) error { e.Size = 40_000; return nil }
		d.wantFailed(d.get("a", Options{}), fault.IDShortFile)
		d.wantHere()
	})
	t.Run("it grows on", func(t *testing.T) {
		d := newDesk(t)
		d.tree.put("/a", want)
		d.tree.onStat = func(n int, _ string, e *remote.Entry) error { e.Size = 40_000 + int64(n)*1000; return nil }
		d.wantFailed(d.get("a", Options{}), fault.IDSourceMoved)
		d.wantHere()
	})
}

// The part file of a failed download holds the first bytes and no others.
func TestResumeAtAnyByte(t *testing.T) {
	for _, ordered := range []bool{true, false} {
		t.Run(fmt.Sprint("in order ", ordered), func(t *testing.T) {
			r := rand.New(rand.NewPCG(7, 7))
			for round := range 50 {
				d := newDesk(t)
				size := 1 + r.IntN(600_000)
				want := random(uint64(round), size)
				d.tree.put("/dir/a", want)
				d.tree.piece = 1 + r.IntN(20_000)
				if !ordered {
					d.tree.order = r
					d.tree.traits.Overlap = true
				}
				d.tree.onGet = func(n int, _ string, g remote.Get) *cut {
					if n%4 == 0 {
						return nil
					}
					return &cut{after: r.Int64N(int64(size)-g.From+1) + 1, err: lost()}
				}
				for try := 0; ; try++ {
					s := d.get("dir/a", Options{})
					if s.Done == 1 {
						break
					}
					if try > 20 {
						t.Fatal("it does not end")
					}
					d.wantFailed(s, fault.IDDataLost)
					if _, err := d.place.Stat("dir/a"); err == nil {
						t.Fatal("the final name is there")
					}
					if _, err := d.place.Stat("dir/a.dray-part"); err == nil {
						if got := d.read("dir/a.dray-part"); !bytes.HasPrefix(want, got) {
							t.Fatalf("round %d: the %d bytes left are not the first ones", round, len(got))
						}
					}
				}
				d.wantData("dir/a", want)
				d.wantHere("dir", "dir/a")
			}
		})
	}
}

// leavePart makes a download of want that is cut after n bytes.
func (d *desk) leavePart(want []byte, n int64) {
	d.Helper()
	d.tree.put("/a", want)
	d.tree.onGet = func(int, string, remote.Get) *cut { return &cut{after: n, err: lost()} }
	d.wantFailed(d.get("a", Options{}), fault.IDDataLost)
	d.tree.onGet = nil
	d.tree.count["get"] = 0
}

// began is where the next download goes on.
func (d *desk) began(o Options) int64 {
	d.Helper()
	d.wantDone(d.get("a", o))
	kept := d.heard.of(Kept)
	if len(kept) == 0 {
		return 0
	}
	return kept[0].Begin
}

func TestWhatAPartIsGoneOnWith(t *testing.T) {
	const n = 2*block + 100_000
	want := random(1, n+1_000_000)
	other := random(2, len(want))
	tests := []struct {
		name  string
		do    func(d *desk)
		begin int64
		noted string
	}{
		{"nothing changed", func(*desk) {}, n, ""},
		{"a byte in the second block is another", func(d *desk) {
			b := d.read("a.dray-part")
			b[block+5]++
			d.write("a.dray-part", b)
		}, block, ""},
		{"it is shorter than its note", func(d *desk) { d.write("a.dray-part", want[:block+7]) }, block, ""},
		{"it is longer than its note", func(d *desk) { d.write("a.dray-part", slices.Concat(want[:n], other[:99])) }, n, ""},
		{"the first byte is another", func(d *desk) { d.write("a.dray-part", other[:n]) }, 0, ""},
		{"the note is gone", func(d *desk) { os.Remove(filepath.Join(d.dir, "a.dray-part.json")) }, 0, ""},
		{"the note is damaged", func(d *desk) { d.write("a.dray-part.json", []byte(`{"v":1,"bytes`)) }, 0, ""},
		{"the source is larger now", func(d *desk) { want := slices.Concat(want, other); d.tree.nodes["/a"].data = want }, 0, "another version"},
		{"the source has another time", func(d *desk) { d.tree.nodes["/a"].mtime = day.Add(2 * time.Second) }, 0, "another version"},
		{"the source is told by minutes now", func(d *desk) {
			d.tree.step = time.Minute
			d.tree.nodes["/a"].mtime = day.Truncate(time.Minute)
		}, n, ""},
		{"the last bytes of the source are others", func(d *desk) {
			b := slices.Clone(want)
			b[n-10]++
			d.tree.nodes["/a"].data = b
		}, 0, "differs from the source"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := newDesk(t)
			d.leavePart(want, n)
			tt.do(d)
			now := d.tree.data("/a")
			begin := d.began(Options{})
			if tt.noted == "differs from the source" {
				begin = d.heard.of(Finished)[0].Begin
			}
			if begin != tt.begin {
				t.Errorf("it went on at %d; want %d", begin, tt.begin)
			}
			d.wantData("a", now)
			d.wantHere("a")
			if tt.noted != "" {
				d.wantNoted(tt.noted)
			}
		})
	}
}

func TestAnotherUniqueFactIsAnotherFile(t *testing.T) {
	d := newDesk(t)
	want := random(1, 100_000)
	d.tree.put("/a", want).unique = "1"
	d.tree.onGet = func(int, string, remote.Get) *cut { return &cut{after: 50_000, err: lost()} }
	d.wantFailed(d.get("a", Options{}), fault.IDDataLost)
	d.tree.onGet = nil
	d.tree.nodes["/a"].unique = "2"
	if got := d.began(Options{}); got != 0 {
		t.Errorf("it went on at %d", got)
	}
	d.wantNoted("another version")
}

// A time that was told by minutes when the note was written says no more than that.
func TestACoarseTimeInTheNoteIsNoOtherVersion(t *testing.T) {
	d := newDesk(t)
	d.tree.step = time.Minute
	want := random(1, 100_000)
	d.tree.put("/a", want).mtime = day.Truncate(time.Minute)
	d.tree.onGet = func(int, string, remote.Get) *cut { return &cut{after: 50_000, err: lost()} }
	d.wantFailed(d.get("a", Options{}), fault.IDDataLost)
	d.tree.onGet, d.tree.step = nil, time.Second
	d.tree.nodes["/a"].mtime = day
	if got := d.began(Options{}); got != 50_000 {
		t.Errorf("it went on at %d", got)
	}
}

func TestForeignBeginnings(t *testing.T) {
	want := random(1, 300_000)
	other := random(2, 300_000)
	const sum = "sha256"
	tests := []struct {
		name        string
		part, final []byte
		sums        []string
		resume      Resume
		begin       int64
		skipped     bool
		noted       string
	}{
		{"a part without a note is nobody's", want[:9_000], nil, []string{sum}, ResumeAuto, 0, false, ""},
		{"the final name is not looked at", nil, want[:9_000], []string{sum}, ResumeAuto, 0, false, ""},
		{"a proven part", want[:9_000], nil, []string{sum}, ResumeVerify, 9_000, false, ""},
		{"a part that is no beginning", other[:9_000], nil, []string{sum}, ResumeVerify, 0, false, "differs"},
		{"a proven file", nil, want[:200_000], []string{sum}, ResumeVerify, 200_000, false, ""},
		{"a proven file in place of a bad part", other[:10], want[:200_000], []string{sum}, ResumeVerify, 200_000, false, ""},
		{"a file that is no beginning", nil, other[:200_000], []string{sum}, ResumeVerify, 0, false, "differs"},
		{"a file with a hole", nil, slices.Concat(want[:100_000], make([]byte, 100_000)), []string{sum}, ResumeVerify, 0, false, "differs"},
		{"a full-size file with holes", nil, slices.Concat(want[:100_000], make([]byte, 200_000)), []string{sum}, ResumeVerify, 0, false, "differs"},
		{"a larger file", nil, slices.Concat(want, other), []string{sum}, ResumeVerify, 0, false, ""},
		{"the same file", nil, want, []string{sum}, ResumeVerify, 0, true, ""},
		{"no checksum, no proof", nil, want[:200_000], nil, ResumeVerify, 0, false, "nothing proves"},
		{"an unknown checksum is no proof", nil, want[:200_000], []string{"whirlpool"}, ResumeVerify, 0, false, "nothing proves"},
		{"force asks nothing", nil, want[:200_000], nil, ResumeForce, 200_000, false, ""},
		{"force takes a part", want[:150_000], nil, nil, ResumeForce, 150_000, false, ""},
		{"force takes the whole for the whole", nil, want, nil, ResumeForce, 0, true, ""},
		{"never begins again", want[:150_000], want[:200_000], []string{sum}, ResumeNever, 0, false, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := newDesk(t)
			d.tree.put("/a", want)
			d.tree.traits.Sums = tt.sums
			if tt.part != nil {
				d.write("a.dray-part", tt.part)
			}
			if tt.final != nil {
				d.write("a", tt.final)
			}
			during := []byte(nil)
			d.tree.onGet = func(int, string, remote.Get) *cut {
				return &cut{after: -1, mid: func() { during, _ = os.ReadFile(filepath.Join(d.dir, "a")) }}
			}
			s := d.get("a", Options{Resume: tt.resume})
			d.wantHere("a")
			d.wantData("a", want)
			if tt.skipped {
				if s.Skipped != 1 || s.Bytes != 0 {
					t.Errorf("skipped %d, moved %d", s.Skipped, s.Bytes)
				}
				return
			}
			d.wantDone(s)
			if got := d.heard.of(Finished)[0].Begin; got != tt.begin {
				t.Errorf("it went on at %d; want %d", got, tt.begin)
			}
			if !bytes.Equal(during, tt.final) {
				t.Error("the final name changed while the transfer ran")
			}
			if tt.noted != "" {
				d.wantNoted(tt.noted)
			}
		})
	}
}

// A process may be killed at any time: what is on the disk then is gone on with, and
// only bytes that had come are believed.
func TestAKilledDownloadGoesOn(t *testing.T) {
	for _, overlap := range []bool{false, true} {
		t.Run(fmt.Sprint("in any order ", overlap), func(t *testing.T) {
			d := newDesk(t)
			want := random(1, 6*block)
			d.tree.put("/a", want)
			d.tree.piece = 256 << 10
			if overlap {
				d.tree.order, d.tree.traits.Overlap = rand.New(rand.NewPCG(1, 2)), true
			}
			dead := newDesk(t)
			notes := 0
			synctest.Test(t, func(t *testing.T) {
				d.tree.delay = 500 * time.Millisecond
				done := make(chan Summary)
				go func() {
					r := NewRun(context.Background(), d.tree, Options{})
					r.Download(Download{Path: "/a", URL: host + "/a", Place: d.place, Name: "a"})
					done <- r.Wait()
				}()
				for range 30 {
					time.Sleep(1300 * time.Millisecond)
					synctest.Wait()
					part, err := os.ReadFile(filepath.Join(d.dir, "a.dray-part"))
					if err != nil {
						break
					}
					n, ok, _ := readNote(d.place.root, "a.dray-part.json")
					if !ok {
						continue
					}
					notes++
					if n.Bytes > int64(len(part)) || !bytes.Equal(part[:n.Bytes], want[:n.Bytes]) {
						t.Fatalf("the note claims %d bytes, which did not come", n.Bytes)
					}
					_ = os.CopyFS(dead.dir, os.DirFS(d.dir)) // the last copy wins below
					for _, e := range []string{"a.dray-part", "a.dray-part.json"} {
						b, err := os.ReadFile(filepath.Join(d.dir, e))
						if err != nil {
							t.Fatal(err)
						}
						if err := os.WriteFile(filepath.Join(dead.dir, e), b, 0o644); err != nil {
							t.Fatal(err)
						}
					}
				}
				if s := <-done; s.Done != 1 {
					t.Fatal(first(s))
				}
			})
			d.wantHere("a")
			d.wantData("a", want)
			if notes == 0 {
				t.Fatal("no note was written")
			}
			dead.tree.put("/a", want)
			if begin := dead.began(Options{}); begin < block {
				t.Errorf("it went on at %d", begin)
			}
			dead.wantData("a", want)
			dead.wantHere("a")
		})
	}
}

func TestTheSecondTransferToOneTargetIsRefused(t *testing.T) {
	d := newDesk(t)
	want := random(1, 100_000)
	d.tree.put("/a", want)
	var second Summary
	d.tree.onGet = func(n int, _ string, _ remote.Get) *cut {
		if n > 1 {
			return nil
		}
		return &cut{after: -1, mid: func() { second = (&desk{T: t, tree: d.tree, place: d.place, dir: d.dir}).get("a", Options{}) }}
	}
	d.wantDone(d.get("a", Options{}))
	d.wantFailed(second, fault.IDLocal)
	if fault.KindOf(first(second)) != fault.Busy {
		t.Errorf("the second failed with %v", first(second))
	}
	d.wantData("a", want)
	d.wantHere("a")
}

// Whoever opened the unfinished file just before it got its final name must not write
// into the finished one.
func TestManyTransfersToOneTargetLeaveAWholeFile(t *testing.T) {
	d := newDesk(t)
	want := random(1, 30_000)
	d.tree.put("/a", want)
	s := d.run(Options{Parallel: 8}, func(r *Run) {
		for range 200 {
			r.Download(Download{Path: "/a", URL: host + "/a", Place: d.place, Name: "a"})
		}
	})
	if s.Done == 0 {
		t.Fatal(first(s))
	}
	for _, e := range s.Errors {
		if fault.KindOf(e.Err) != fault.Busy {
			t.Errorf("failed with %v", e.Err)
		}
	}
	d.wantData("a", want)
}

func TestWhatHasTheNameAlready(t *testing.T) {
	tests := []struct {
		name     string
		conflict Conflict
		ours     time.Duration // of the file that is there, to the source
		skipped  bool
	}{
		{"replace", Replace, time.Hour, false},
		{"skip", Skip, -time.Hour, true},
		{"newer: ours is older", Newer, -time.Second, false},
		{"newer: ours is as old", Newer, 0, true},
		{"newer: ours is newer", Newer, time.Second, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := newDesk(t)
			d.tree.put("/a", []byte("theirs"))
			d.write("a", []byte("ours"))
			at := day.Add(tt.ours)
			if err := os.Chtimes(filepath.Join(d.dir, "a"), at, at); err != nil {
				t.Fatal(err)
			}
			s := d.get("a", Options{Conflict: tt.conflict})
			want := "theirs"
			if tt.skipped {
				want = "ours"
			}
			if got := string(d.read("a")); got != want || (s.Skipped == 1) != tt.skipped {
				t.Errorf("a holds %q, skipped %d", got, s.Skipped)
			}
			d.wantHere("a")
		})
	}
}

func TestTargetsThatCantBe(t *testing.T) {
	d := newDesk(t)
	d.tree.put("/a", []byte("x"))
	d.tree.put("/b/c", []byte("x"))
	d.write("a/in", nil)
	d.wantFailed(d.get("a", Options{}), fault.IDLocal)
	d.wantFailed(d.get("b", Options{}), fault.IDIsDir)
	d.wantFailed(d.get("missing", Options{}), fault.IDNotFound)
	d.write("b", nil)
	d.wantFailed(d.get("b/c", Options{}), fault.IDLocal)
	d.wantHere("a", "a/in", "b")
}

func TestAMissingTargetDirectoryIsMade(t *testing.T) {
	d := newDesk(t)
	d.tree.put("/x/y/a", []byte("x"))
	d.wantDone(d.get("x/y/a", Options{}))
	d.wantHere("x", "x/y", "x/y/a")
	if err := os.RemoveAll(filepath.Join(d.dir, "x")); err != nil {
		t.Fatal(err)
	}
	d.wantDone(d.get("x/y/a", Options{})) // the place remembers that it was made
	d.wantHere("x", "x/y", "x/y/a")
}

func TestADirectoryThatMayNotBeWritten(t *testing.T) {
	d := newDesk(t)
	d.tree.put("/a", []byte("x"))
	if os.Getuid() == 0 { // who may write everywhere but here
		d.on(readOnly(t))
	} else if err := os.Chmod(d.dir, 0o555); err != nil {
		t.Fatal(err)
	}
	s := d.get("a", Options{})
	d.wantFailed(s, fault.IDLocal)
	if kind := fault.KindOf(first(s)); kind != fault.Denied {
		t.Errorf("%v: %v", kind, first(s))
	}
	d.wantHere()
}

func TestChecksumsAreCompared(t *testing.T) {
	want := random(1, 100_000)
	for _, sums := range [][]string{{"sha256"}, {"md5"}, nil} {
		t.Run(fmt.Sprint(sums), func(t *testing.T) {
			d := newDesk(t)
			d.tree.put("/a", want)
			d.tree.traits.Sums = sums
			d.wantDone(d.get("a", Options{Verify: VerifyHash}))
			d.wantHere("a")
			if got := d.tree.times("get"); (got == 2) != (sums == nil) {
				t.Errorf("it was fetched %d times", got)
			}
		})
	}
	t.Run("wrong once", func(t *testing.T) {
		d := newDesk(t)
		d.tree.put("/a", want)
		d.tree.traits.Sums = []string{"sha256"}
		d.tree.onSum = func(n int, _ string) (string, error) {
			if n == 1 {
				return "00", nil
			}
			return "", nil
		}
		d.wantDone(d.get("a", Options{Verify: VerifyHash}))
		d.wantHere("a")
		d.wantNoted("once more")
		if got := d.tree.times("get"); got != 2 {
			t.Errorf("it was fetched %d times", got)
		}
	})
	for _, inPlace := range []bool{false, true} {
		t.Run(fmt.Sprint("wrong twice, in place ", inPlace), func(t *testing.T) {
			d := newDesk(t)
			d.tree.put("/a", want)
			d.tree.traits.Sums = []string{"sha256"}
			d.tree.onSum = func(int, string) (string, error) { return "00", nil }
			s := d.get("a", Options{Verify: VerifyHash, Retry: 3, InPlace: inPlace})
			d.wantFailed(s, fault.IDVerify)
			bad := "a.dray-part.bad"
			if inPlace {
				bad = "a.bad"
			}
			d.wantHere(bad)
			if s.Resumable {
				t.Error("what is wrong is called resumable")
			}
			if got := d.tree.times("get"); got != 2 {
				t.Errorf("it was fetched %d times", got)
			}
		})
	}
	t.Run("the server is lost before it tells", func(t *testing.T) {
		d := newDesk(t)
		d.tree.put("/a", want)
		d.tree.traits.Sums = []string{"sha256"}
		d.tree.onSum = func(n int, _ string) (string, error) {
			if n == 1 {
				return "", fault.New(fault.Cut, fault.IDLost, "h.test")
			}
			return "", nil
		}
		s := d.get("a", Options{Verify: VerifyHash})
		d.wantFailed(s, fault.IDLost)
		if !s.Resumable {
			t.Error("what came is lost")
		}
		if got := d.began(Options{Verify: VerifyHash}); got != int64(len(want)) {
			t.Errorf("it went on at %d", got)
		}
		d.wantHere("a")
	})
}

// A file in place has no note, and another file may well have the name of one.
func TestInPlaceLeavesTheJSONBesideAlone(t *testing.T) {
	d := newDesk(t)
	d.tree.put("/a", []byte("new"))
	d.write("a", []byte("old and longer"))
	d.write("a.json", []byte(`{"v":1,"bytes":3}`))
	d.wantDone(d.get("a", Options{InPlace: true}))
	d.wantHere("a", "a.json")
	d.wantData("a", []byte("new"))
}

func TestALinkInTheWayOfThePartIsNotFollowed(t *testing.T) {
	d := newDesk(t)
	d.tree.put("/a", []byte("new"))
	d.write("precious", []byte("precious"))
	if err := os.Symlink("precious", filepath.Join(d.dir, "a.dray-part")); err != nil {
		t.Fatal(err)
	}
	d.wantDone(d.get("a", Options{}))
	d.wantData("precious", []byte("precious"))
	d.wantData("a", []byte("new"))
	d.wantHere("a", "precious")
}

func TestADownloadThatFailsAtOnceLeavesNothing(t *testing.T) {
	d := newDesk(t)
	d.tree.put("/a", []byte("x"))
	d.tree.onGet = func(int, string, remote.Get) *cut {
		return &cut{err: fault.New(fault.Denied, fault.IDPerm, "/a")}
	}
	d.wantFailed(d.get("a", Options{}), fault.IDPerm)
	d.wantHere()
}

// A failure of this machine is not blamed on the server.
func TestALocalFailureNamesTheFile(t *testing.T) {
	d := newDesk(t)
	err := named(&fs.PathError{Op: "write", Path: "a.dray-part", Err: syscall.EIO}, host+"/a", d.place.Path("a.dray-part"), 1)
	if e := fault.Of(err); e.ID != fault.IDLocal || !strings.HasSuffix(fmt.Sprint(e.Facts[0]), "here/a.dray-part") {
		t.Errorf("%v %v", e.ID, e.Facts)
	}
	err = named(lost(), host+"/a", "", 17)
	if e := fault.Of(err); e.ID != fault.IDDataLost || !slices.Equal(e.Facts, []any{host + "/a", int64(17)}) {
		t.Errorf("%v %v", e.ID, e.Facts)
	}
}

func TestATransferIsTriedAgainWithWhatIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		want := random(1, 300_000)
		d.tree.put("/a", want)
		d.tree.onGet = func(n int, _ string, g remote.Get) *cut {
			if n < 4 {
				return &cut{after: 100_000, err: lost()}
			}
			return nil
		}
		began := time.Now()
		s := d.get("a", Options{Retry: 3})
		d.wantDone(s)
		d.wantData("a", want)
		d.wantHere("a")
		if got := d.heard.whats(); got != "plan start retry retry retry done" {
			t.Errorf("events: %s", got)
		}
		if took := time.Since(began); took < 5*time.Second || took > 9*time.Second { // 1, 2, 4, give or take
			t.Errorf("it took %v", took)
		}
		if s.Settled != s.Size {
			t.Errorf("settled %d of %d", s.Settled, s.Size)
		}
	})
}
