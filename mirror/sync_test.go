package mirror

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"dray/fault"
	"dray/remote"
)

func (d *desk) sync(o Options, s Sync) Summary {
	d.Helper()
	s.Path, s.URL, s.Place, s.Dir = "/top", host+"/top", d.place, d.dir
	if s.MaxDelete == 0 {
		s.MaxDelete = -1
	}
	return d.run(o, func(r *Run) { r.Sync(s) })
}

func TestASyncMakesTheSidesEqual(t *testing.T) {
	for _, up := range []bool{false, true} {
		t.Run(fmt.Sprint("up ", up), func(t *testing.T) {
			d := newDesk(t)
			same, changed := []byte("same"), []byte("changed")
			d.tree.put("/top/same", same)
			d.write("same", same)
			var s Summary
			if up {
				d.write("dir/new", changed)
				d.write("other", changed)
				d.tree.put("/top/other", []byte("old"))
				d.tree.put("/top/extra/deep/x", nil)
				d.tree.put("/top/half.dray-part", nil)
				if s = d.sync(Options{DryRun: true}, Sync{Up: true, Delete: true}); d.tree.has("/top/dir") || !d.tree.has("/top/extra") || s.Done != 0 {
					t.Error("a dry run changed something")
				}
				s = d.sync(Options{}, Sync{Up: true, Delete: true})
				want := []string{"/", "/top", "/top/dir", "/top/dir/new", "/top/half.dray-part", "/top/other", "/top/same"}
				if got := d.tree.names(); !slices.Equal(got, want) {
					t.Errorf("the server holds %q", got)
				}
				d.wantSent("/top/other", changed)
			} else {
				d.tree.put("/top/dir/new", changed)
				d.tree.put("/top/other", changed)
				d.write("other", []byte("old"))
				d.write("extra/deep/x", nil)
				d.write("half.dray-part", nil)
				before := d.here()
				if s = d.sync(Options{DryRun: true}, Sync{Delete: true}); !slices.Equal(before, d.here()) || s.Done != 0 {
					t.Error("a dry run changed something")
				}
				s = d.sync(Options{}, Sync{Delete: true})
				d.wantHere("dir", "dir/new", "half.dray-part", "other", "same")
				d.wantData("other", changed)
			}
			if s.Done != 2 || s.Skipped != 1 || s.Failed != 0 || s.Deleted != 1 {
				t.Errorf("done %d, skipped %d, failed %d, deleted %d: %v", s.Done, s.Skipped, s.Failed, s.Deleted, first(s))
			}
			s = d.sync(Options{}, Sync{Up: up, Delete: true})
			if s.Done != 0 || s.Skipped != 3 || s.Failed != 0 {
				t.Errorf("again: done %d, skipped %d, failed %d", s.Done, s.Skipped, s.Failed)
			}
		})
	}
}

// What could not be listed looks as if it were gone, and must not delete anything.
func TestNothingIsDeletedAfterAListingThatBrokeOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		d.tree.put("/top/dir/a", nil)
		d.tree.put("/top/b", nil)
		d.write("dir/a", nil)
		d.write("dir/c", nil)
		d.write("extra", nil)
		d.tree.onList = func(_ int, dir string, all []remote.Entry) ([]remote.Entry, error) {
			if strings.HasSuffix(dir, "dir") {
				return nil, fault.New(fault.Cut, fault.IDListingCut, dir)
			}
			return all, nil
		}
		s := d.sync(Options{Retry: 1}, Sync{Delete: true})
		d.wantHere("b", "dir", "dir/a", "dir/c", "extra")
		if s.Failed != 1 || s.Deleted != 0 {
			t.Errorf("failed %d, deleted %d", s.Failed, s.Deleted)
		}
	})
}

func TestMoreThanAllowedIsNotDeleted(t *testing.T) {
	d := newDesk(t)
	d.tree.dir("/top")
	for i := range 5 {
		d.write(fmt.Sprint(i), nil)
	}
	d.wantFailed(d.sync(Options{}, Sync{Delete: true, MaxDelete: 4}), fault.IDMaxDelete)
	if got := d.here(); len(got) != 5 {
		t.Errorf("the place holds %q", got)
	}
	s := d.sync(Options{}, Sync{Delete: true, MaxDelete: 5, Confirm: func(n int) bool { return n != 5 }})
	if got := d.here(); len(got) != 5 || s.Deleted != 0 {
		t.Errorf("the place holds %q", got)
	}
}

func TestReplacedFilesAreKeptInTheBackup(t *testing.T) {
	for _, up := range []bool{false, true} {
		for _, dray := range []bool{false, true} {
			d := newDesk(t)
			d.tree.traits.Dray = dray
			d.tree.put("/top/a", []byte("theirs"))
			d.write("a", []byte("ours!"))
			if up {
				d.wantDone(d.sync(Options{}, Sync{Up: true, Backup: "/old"}))
				d.wantSent("/top/a", []byte("ours!"))
				d.wantSent("/old/a", []byte("theirs"))
			} else {
				d.wantDone(d.sync(Options{}, Sync{Backup: "old"}))
				d.wantData("a", []byte("theirs"))
				d.wantData("old/a", []byte("ours!"))
			}
		}
	}
}

func TestLoopsOfLinksEndInASync(t *testing.T) {
	d := newDesk(t)
	d.tree.put("/top/dir/a", nil)
	d.tree.link("/top/dir/up", "..")
	d.tree.link("/top/self", ".")
	s := d.sync(Options{Follow: true}, Sync{})
	d.wantHere("dir", "dir/a")
	if s.Skipped != 2 || s.Failed != 0 {
		t.Errorf("skipped %d, failed %d: %v", s.Skipped, s.Failed, first(s))
	}
	d = newDesk(t)
	d.write("dir/a", nil)
	os.Symlink("..", filepath.Join(d.dir, "dir/up"))
	os.Symlink("dir", filepath.Join(d.dir, "again"))
	s = d.sync(Options{Follow: true}, Sync{Up: true})
	want := []string{"/", "/top", "/top/again", "/top/again/a", "/top/dir", "/top/dir/a"}
	if got := d.tree.names(); !slices.Equal(got, want) || s.Skipped != 2 {
		t.Errorf("the server holds %q, skipped %d", got, s.Skipped)
	}
}

func TestCheckTellsWhatDiffers(t *testing.T) {
	d := newDesk(t)
	for _, name := range []string{"same", "content", "size", "missing", "time"} {
		d.tree.put("/top/"+name, []byte(name))
		if name != "missing" {
			d.write(name, []byte(name))
		}
	}
	d.tree.dir("/top/type")
	d.write("type", nil)
	d.write("extra", nil)
	d.write("size", []byte("another"))
	d.write("content", []byte("CONTENT"))
	at := day.Add(time.Hour)
	os.Chtimes(filepath.Join(d.dir, "time"), at, at)
	for _, hash := range []bool{false, true} {
		got := map[string]string{}
		s := d.run(Options{}, func(r *Run) {
			r.Check(Sync{Tree: Tree{Path: "/top", URL: host + "/top", Place: d.place, Dir: d.dir}}, hash, func(x Difference) { got[x.Name] = x.Why })
		})
		want := map[string]string{"size": "size", "missing": "missing", "extra": "extra", "type": "type"}
		if hash {
			want["content"] = "content"
		} else {
			want["time"] = "time"
		}
		if fmt.Sprint(got) != fmt.Sprint(want) || s.Failed != 0 {
			t.Errorf("hash %v: %v; want %v; %v", hash, got, want, first(s))
		}
	}
}

func (d *desk) copyFrom(source *fakeTree, o Options, p string) Summary {
	d.Helper()
	e, err := source.Stat(d.Context(), p)
	if err != nil {
		d.Fatal(err)
	}
	return d.run(o, func(r *Run) {
		r.Copy(Copy{Tree: source, From: p, FromURL: "sftp://s.test" + p, Entry: e, To: "/to", ToURL: host + "/to"})
	})
}

func TestCopiesGoThrough(t *testing.T) {
	for _, dray := range []bool{false, true} {
		d, source := newDesk(t), newFake()
		d.tree.traits.Dray = dray
		want := random(1, 500_000)
		source.put("/a", want)
		d.wantDone(d.copyFrom(source, Options{Verify: VerifyHash}, "/a"))
		d.wantSent("/to", want)
		if s := d.copyFrom(source, Options{DryRun: true}, "/a"); s.Done != 0 || len(d.heard.of(Planned)) != 1 || d.tree.times("put") != 1 {
			t.Error("a dry run sent something")
		}
		if s := d.copyFrom(source, Options{Conflict: Skip}, "/a"); s.Skipped != 1 {
			t.Errorf("skipped %d", s.Skipped)
		}
		d.wantHere()
		if got := d.tree.names(); !slices.Equal(got, []string{"/", "/to"}) {
			t.Errorf("the server holds %q", got)
		}
	}
}

func TestACopyWithLinksBackEnds(t *testing.T) {
	d, source := newDesk(t), newFake()
	source.put("/top/dir/a", nil)
	source.link("/top/dir/up", "..")
	s := d.copyFrom(source, Options{Follow: true}, "/top")
	if got := d.tree.names(); !slices.Equal(got, []string{"/", "/to", "/to/dir", "/to/dir/a"}) || s.Skipped != 1 || s.Failed != 0 {
		t.Errorf("the server holds %q, skipped %d: %v", got, s.Skipped, first(s))
	}
}

func TestACopyThatFailsLeavesNothing(t *testing.T) {
	want := random(1, 500_000)
	for _, side := range []string{"get", "short", "put"} {
		t.Run(side, func(t *testing.T) {
			d, source := newDesk(t), newFake()
			source.put("/a", want)
			id := fault.IDDataLost
			switch side {
			case "get":
				source.onGet = func(int, string, remote.Get) *cut { return &cut{after: 100_000, err: lost()} }
			case "short":
				source.onGet = func(int, string, remote.Get) *cut { return &cut{after: 100_000} }
				id = fault.IDShortFile
			case "put":
				d.tree.onPut = func(int, string, remote.Put) *cut { return &cut{after: 100_000, err: lost()} }
			}
			s := d.copyFrom(source, Options{}, "/a")
			d.wantFailed(s, id)
			if got := d.tree.names(); !slices.Equal(got, []string{"/"}) {
				t.Errorf("the server holds %q", got)
			}
			if s.Resumable || errors.Is(first(s), os.ErrNotExist) {
				t.Error("it is called resumable")
			}
		})
	}
}

// A server that lets no times be set gives a file the time of its upload: what is not
// older than its source there is not sent again.
func TestAServerWithoutTimesIsNotSentAllAgain(t *testing.T) {
	for _, times := range []bool{false, true} {
		d := newDesk(t)
		d.tree.traits.Times = times
		d.write("a", []byte("as it was"))
		d.write("b", []byte("as it was"))
		for name, at := range map[string]time.Time{"a": day.Add(-time.Hour), "b": day.Add(time.Hour)} {
			if err := os.Chtimes(filepath.Join(d.dir, name), at, at); err != nil {
				t.Fatal(err)
			}
		}
		d.tree.put("/top/a", []byte("as it was"))
		d.tree.put("/top/b", []byte("as it is "))
		want := 1 // the one that is newer here
		if times {
			want = 2
		}
		if s := d.sync(Options{}, Sync{Up: true}); s.Done != want || s.Failed != 0 {
			t.Errorf("where times can be set (%v): done %d, failed %d; want %d done", times, s.Done, s.Failed, want)
		}
	}
}
