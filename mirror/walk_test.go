package mirror

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
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

// getTree fetches all that is below /top.
func (d *desk) getTree(o Options) Summary {
	d.Helper()
	return d.run(o, func(r *Run) {
		r.DownloadTree(Tree{Path: "/top", URL: host + "/top", Place: d.place})
	})
}

// sendTree sends all that is in the place to /top.
func (d *desk) sendTree(o Options) Summary {
	d.Helper()
	return d.run(o, func(r *Run) {
		r.UploadTree(Tree{Path: "/top", URL: host + "/top", Dir: d.dir})
	})
}

// ids are the failures of a run, sorted.
func ids(s Summary) []string {
	var out []string
	for _, e := range s.Errors {
		out = append(out, string(fault.Of(e.Err).ID))
	}
	slices.Sort(out)
	return out
}

func TestATreeComesWhole(t *testing.T) {
	d := newDesk(t)
	d.tree.put("/top/a", []byte("a"))
	d.tree.put("/top/b/c/d", []byte("d"))
	d.tree.put("/top/b/e", nil)
	d.tree.dir("/top/empty/too")
	d.tree.link("/top/b/link", "../a")
	s := d.getTree(Options{})
	if s.Done != 3 || s.Failed != 0 || s.Found != 3 {
		t.Fatalf("done %d of %d, failed %d: %v", s.Done, s.Found, s.Failed, first(s))
	}
	d.wantHere("a", "b", "b/c", "b/c/d", "b/e", "b/link", "empty", "empty/too")
	if to, err := os.Readlink(filepath.Join(d.dir, "b/link")); to != "../a" {
		t.Errorf("the link leads to %q, %v", to, err)
	}
	// The same again: the link needs nothing.
	s = d.getTree(Options{Conflict: Skip})
	if s.Skipped != 4 || s.Done != 0 || len(d.heard.of(Linked)) != 0 {
		t.Errorf("skipped %d, done %d, linked %v", s.Skipped, s.Done, d.heard.of(Linked))
	}
}

func TestATreeIsSentWhole(t *testing.T) {
	d := newDesk(t)
	d.write("a", []byte("a"))
	d.write("b/c/d", []byte("d"))
	os.MkdirAll(filepath.Join(d.dir, "empty/too"), 0o777)
	os.Symlink("../a", filepath.Join(d.dir, "b/link"))
	want := []string{"/", "/top", "/top/a", "/top/b", "/top/b/c", "/top/b/c/d", "/top/b/link", "/top/empty", "/top/empty/too"}
	s := d.sendTree(Options{})
	if s.Done != 2 || s.Failed != 0 {
		t.Fatalf("done %d, failed %d: %v", s.Done, s.Failed, first(s))
	}
	if got := d.tree.names(); !slices.Equal(got, want) {
		t.Errorf("the server holds %q", got)
	}
	if n := len(d.heard.of(Made)); n != 5 {
		t.Errorf("%d directories were made", n)
	}
	s = d.sendTree(Options{}) // they are there
	if s.Done != 2 || s.Failed != 0 || s.Skipped != 1 || len(d.heard.of(Made)) != 0 {
		t.Errorf("done %d, skipped %d, made %v: %v", s.Done, s.Skipped, d.heard.of(Made), first(s))
	}
	d.tree.traits.Links = false
	if s = d.sendTree(Options{}); s.Skipped != 1 || !strings.Contains(d.heard.of(Skipped)[0].Why, "--follow") {
		t.Errorf("skipped: %v", d.heard.of(Skipped))
	}
}

func TestADirectoryThatIsAFileOnTheServer(t *testing.T) {
	d := newDesk(t)
	d.write("a/b", nil)
	d.write("c", nil)
	d.tree.put("/top/a", []byte("a file"))
	s := d.sendTree(Options{})
	if got := ids(s); s.Done != 1 || !slices.Equal(got, []string{"not-dir"}) {
		t.Errorf("done %d, failed with %q", s.Done, got)
	}
}

func TestLinksAreFollowed(t *testing.T) {
	d := newDesk(t)
	d.tree.put("/top/a", []byte("a"))
	d.tree.put("/top/dir/b", []byte("b"))
	d.tree.put("/else/c", []byte("c"))
	d.tree.link("/top/file", "a")
	d.tree.link("/top/other", "/else")
	d.tree.link("/top/dir/up", "..")
	d.tree.link("/top/self", ".")
	d.tree.link("/top/gone", "nowhere")
	s := d.getTree(Options{Follow: true})
	d.wantHere("a", "dir", "dir/b", "file", "other", "other/c")
	if got := ids(s); !slices.Equal(got, []string{"not-found"}) || s.Skipped != 2 {
		t.Errorf("failed with %q, skipped %d", got, s.Skipped)
	}
}

// Links back, of which nobody tells where they lead, end too.
func TestLoopsOfUnknownLinksEnd(t *testing.T) {
	d := newDesk(t)
	d.tree.put("/top/a", []byte("a"))
	d.tree.link("/top/one", ".")
	d.tree.link("/top/two", "one")
	d.tree.onList = func(_ int, _ string, all []remote.Entry) ([]remote.Entry, error) {
		for i := range all {
			if all[i].Mode.Type() == fs.ModeSymlink {
				all[i].Target = "x/../" + all[i].Target // no path that is known
			}
		}
		return all, nil
	}
	s := d.getTree(Options{Follow: true})
	if s.Failed != 0 || s.Done == 0 || s.Done > 2000 {
		t.Errorf("done %d, failed %d: %v", s.Done, s.Failed, first(s))
	}
}

func TestLocalLinksAreFollowed(t *testing.T) {
	d := newDesk(t)
	d.write("a", []byte("a"))
	d.write("dir/b", []byte("b"))
	os.Symlink("a", filepath.Join(d.dir, "file"))
	os.Symlink("..", filepath.Join(d.dir, "dir/up"))
	os.Symlink("dir", filepath.Join(d.dir, "again"))
	os.Symlink("nowhere", filepath.Join(d.dir, "gone"))
	s := d.sendTree(Options{Follow: true})
	want := []string{"/", "/top", "/top/a", "/top/again", "/top/again/b", "/top/dir", "/top/dir/b", "/top/file"}
	if got := d.tree.names(); !slices.Equal(got, want) {
		t.Errorf("the server holds %q", got)
	}
	if got := ids(s); !slices.Equal(got, []string{"not-found"}) || s.Skipped != 2 {
		t.Errorf("failed with %q, skipped %d", got, s.Skipped)
	}
}

func TestLinksThatLeadOutAreLeftOut(t *testing.T) {
	tests := []struct {
		rel, target string
		want        bool
	}{
		{"l", "a", true}, {"l", "a/b", true}, {"l", "./a", true}, {"l", ".", true}, {"d/l", "..", true}, {"d/e/l", "../../a", true},
		{"l", "", false}, {"l", "..", false}, {"l", "../a", false}, {"l", "/etc/passwd", false}, {"d/l", "../..", false},
		{"d/e/l", "x/../../a", false}, // x may be a link
		{"d/l", "../a/..", false}, {"l", "a\nb", false}, {"l", "a\x1bb", false}, {"l", "a\u009bb", false},
	}
	for _, tt := range tests {
		if got := stays(tt.rel, tt.target); got != tt.want {
			t.Errorf("stays(%q, %q) = %v", tt.rel, tt.target, got)
		}
	}
	d := newDesk(t)
	for _, tt := range tests {
		if !tt.want && tt.target != "" {
			d.tree.link("/top/"+tt.rel+fmt.Sprintf("%x", tt.target), tt.target)
		}
	}
	s := d.getTree(Options{})
	if s.Skipped != 9 || s.Failed != 0 {
		t.Errorf("skipped %d, failed %d: %v", s.Skipped, s.Failed, d.heard.of(Skipped))
	}
	for _, name := range d.here() {
		if fi, _ := d.place.Stat(name); fi.Mode().Type() == fs.ModeSymlink {
			t.Errorf("the link %s was made", name)
		}
	}
}

// Over two visits a server can make a directory of what was a link.
func TestLinksBelowLinksStayInside(t *testing.T) {
	d := newDesk(t)
	d.tree.link("/top/z", ".")
	d.getTree(Options{})
	d.wantHere("z")
	d.tree = newFake()
	d.tree.link("/top/z/l", "..")
	d.getTree(Options{})
	for _, name := range []string{"l", "z/l"} {
		if to, err := os.Readlink(filepath.Join(d.dir, name)); err == nil {
			t.Errorf("%s leads to %s, which is outside", name, to)
		}
	}
}

// names lets a directory of the fake hold names that no path could have.
func hostile(names ...string) func(int, string, []remote.Entry) ([]remote.Entry, error) {
	return func(_ int, dir string, all []remote.Entry) ([]remote.Entry, error) {
		if dir != "/top" {
			return all, nil
		}
		for _, name := range names {
			e := remote.Entry{Known: typed | sized}
			e.Name, e.Size = name, 1
			all = append(all, e)
		}
		return all, nil
	}
}

func TestHostileNamesAreReportedAndNothingIsWrittenOutside(t *testing.T) {
	d := newDesk(t)
	d.tree.put("/top/good", []byte("x"))
	bad := []string{"../x", "/etc/passwd", "a\nb", "..", ".", "", "a\x00b", "a/b", "a\x1b[31m", "a\u0085b", strings.Repeat("n", 256)}
	d.tree.onList = hostile(bad...)
	s := d.getTree(Options{})
	if s.Done != 1 || s.Failed != len(bad) {
		t.Errorf("done %d, failed %d; want 1, %d", s.Done, s.Failed, len(bad))
	}
	for i, e := range s.Errors {
		if fe := fault.Of(e.Err); fe.ID != fault.IDUnsafeName || fe.Facts[0] != fmt.Sprintf("%q", bad[i]) {
			t.Errorf("%q: %v %v", bad[i], fe.ID, fe.Facts)
		}
	}
	d.wantHere("good")
	if entries, _ := os.ReadDir(filepath.Dir(d.dir)); len(entries) != 1 {
		t.Errorf("beside the place: %v", entries)
	}
}

func TestNamesOfUnfinishedFilesAreLeftOut(t *testing.T) {
	d := newDesk(t)
	for _, name := range []string{"a", "a.dray-part", "a.dray-part.json", "a.dray-part.json~", "b.dray-part.bad"} {
		d.tree.put("/top/"+name, []byte(name))
	}
	d.tree.link("/top/l.dray-part", "a")
	s := d.getTree(Options{})
	d.wantHere("a", "b.dray-part.bad")
	if s.Skipped != 4 {
		t.Errorf("skipped: %v", d.heard.of(Skipped))
	}
	d = newDesk(t)
	for _, name := range []string{"a", "a.dray-part", "a.dray-part.json"} {
		d.write(name, nil)
	}
	d.sendTree(Options{})
	if got := d.tree.names(); !slices.Equal(got, []string{"/", "/top", "/top/a"}) {
		t.Errorf("the server holds %q", got)
	}
}

func TestNamesThatDifferInCaseClashWhereThePlaceFolds(t *testing.T) {
	for _, folds := range []bool{true, false} {
		d := newDesk(t)
		d.place.fold.Do(func() { d.place.insensitive = folds })
		d.tree.put("/top/File", []byte("1"))
		d.tree.put("/top/file", []byte("2"))
		d.tree.put("/top/x.DRAY-PART", []byte("3"))
		s := d.getTree(Options{})
		if folds {
			d.wantHere("File")
			if got := ids(s); !slices.Equal(got, []string{"name-clash"}) || !slices.Equal(fault.Of(first(s)).Facts, []any{"file", "File"}) {
				t.Errorf("failed with %v", s.Errors)
			}
		} else if s.Done != 3 {
			t.Errorf("done %d", s.Done)
		}
	}
}

func TestANameThatIsListedTwiceIsOneFile(t *testing.T) {
	d := newDesk(t)
	d.tree.put("/top/a", []byte("a"))
	d.tree.onList = hostile("a", "a")
	if s := d.getTree(Options{}); s.Found != 1 || s.Done != 1 {
		t.Errorf("found %d, done %d: %v", s.Found, s.Done, first(s))
	}
}

func TestATreeWithoutAnEndEnds(t *testing.T) {
	d := newDesk(t)
	deep := "/top" + strings.Repeat("/d", maxDepth+1)
	d.tree.put(deep+"/a", nil)
	s := d.getTree(Options{})
	if got := ids(s); !slices.Equal(got, []string{"bad-name"}) {
		t.Errorf("failed with %q", got)
	}
}

func TestAListingThatBreaksOff(t *testing.T) {
	for _, retry := range []int{0, 2} {
		synctest.Test(t, func(t *testing.T) {
			d := newDesk(t)
			for i := range 10 {
				d.tree.put(fmt.Sprint("/top/", i), []byte("x"))
			}
			d.tree.onList = func(n int, dir string, all []remote.Entry) ([]remote.Entry, error) {
				if n > 2 {
					return all, nil
				}
				return all[:4], fault.New(fault.Cut, fault.IDListingCut, dir)
			}
			s := d.getTree(Options{Retry: retry})
			if retry > 0 {
				if s.Done != 10 || s.Failed != 0 || len(d.heard.of(Again)) != 2 {
					t.Errorf("done %d, failed %d, events %s", s.Done, s.Failed, d.heard.whats())
				}
				return
			}
			if s.Done != 4 || !slices.Equal(ids(s), []string{"partial-listing"}) {
				t.Errorf("done %d, failed with %q", s.Done, ids(s))
			}
		})
	}
}

func TestDirectoriesAreMadeAgainAfterALostAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		d.write("a/b", []byte("x"))
		d.tree.onMkdir = func(n int, p string) error {
			if n%2 == 0 {
				return nil
			}
			return fault.New(fault.Busy, fault.IDBusy, "h.test")
		}
		s := d.sendTree(Options{Retry: 1})
		if s.Done != 1 || s.Failed != 0 || d.tree.refused != 2 {
			t.Errorf("done %d, failed %d, refused %d: %v", s.Done, s.Failed, d.tree.refused, first(s))
		}
	})
}

func TestTypesThatAreNotToldAreAsked(t *testing.T) {
	d := newDesk(t)
	d.tree.put("/top/dir/a.txt", []byte("x"))
	d.tree.put("/top/b", []byte("x"))
	d.tree.onList = func(_ int, _ string, all []remote.Entry) ([]remote.Entry, error) {
		for i := range all {
			all[i].Known, all[i].Mode = 0, 0
		}
		return all, nil
	}
	match, err := Rules{Include: []string{"*.txt"}, Most: -1}.Filter()
	if err != nil {
		t.Fatal(err)
	}
	s := d.run(Options{}, func(r *Run) {
		r.DownloadTree(Tree{Path: "/top", URL: host + "/top", Place: d.place, Filter: match})
	})
	d.wantHere("dir", "dir/a.txt")
	if s.Failed != 0 {
		t.Error(first(s))
	}
}

func TestSpecialFilesAreSkipped(t *testing.T) {
	d := newDesk(t)
	d.tree.put("/top/dev", nil).mode = fs.ModeDevice | 0o600
	d.write("a", nil)
	if s := d.getTree(Options{}); s.Skipped != 1 || s.Found != 0 {
		t.Errorf("skipped %d, found %d", s.Skipped, s.Found)
	}
	d.wantFailed(d.run(Options{}, func(r *Run) {
		r.Download(Download{Path: "/top/dev", URL: host + "/top/dev", Place: d.place, Name: "dev"})
	}), fault.IDNotRegular)
	if mkfifo(filepath.Join(d.dir, "fifo")) == nil {
		if s := d.sendTree(Options{}); s.Skipped != 1 || s.Done != 1 {
			t.Errorf("skipped %d, done %d", s.Skipped, s.Done)
		}
	}
}

func TestTenThousandFiles(t *testing.T) {
	d := newDesk(t)
	d.tree.width = 16
	const n = 10_000
	for i := range n {
		d.tree.put(fmt.Sprintf("/top/%d/%d", i/1000, i), []byte{byte(i)})
	}
	before := runtime.NumGoroutine()
	s := d.getTree(Options{})
	if s.Done != n || s.Found != n || s.Failed != 0 || s.Bytes != n {
		t.Fatalf("found %d, done %d, failed %d, %d bytes: %v", s.Found, s.Done, s.Failed, s.Bytes, first(s))
	}
	wantGoroutines(t, before)
}

func wantGoroutines(t *testing.T, most int) {
	t.Helper()
	for range 100 {
		if runtime.NumGoroutine() <= most {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d goroutines run; there were %d", runtime.NumGoroutine(), most)
}

// No more than maxQueue wait, however fast they are found.
func TestTheQueueHoldsBackWhoAdds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		d.tree.put("/a", []byte("x"))
		hold := make(chan struct{})
		d.tree.onStat = func(int, string, *remote.Entry) error { <-hold; return missing("/a") }
		r := NewRun(t.Context(), d.tree, Options{Parallel: 2})
		added := 0
		go func() {
			for i := range maxQueue + 100 {
				r.Download(Download{Path: "/a", URL: host + "/a", Place: d.place, Name: fmt.Sprint(i)})
				added++
			}
		}()
		synctest.Wait()
		if added != maxQueue+2 {
			t.Errorf("%d were added; want %d", added, maxQueue+2)
		}
		close(hold)
		synctest.Wait()
		if s := r.Wait(); s.Failed != maxQueue+100 || len(s.Errors) != maxErrors {
			t.Errorf("failed %d, kept %d", s.Failed, len(s.Errors))
		}
	})
}

// A run that is cancelled in the middle ends soon, and every file is accounted for.
func TestACancelledRunEnds(t *testing.T) {
	for _, up := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			d := newDesk(t)
			d.tree.delay = time.Second
			d.tree.width = 8
			data := random(1, 30_000)
			for i := range 5000 {
				name := fmt.Sprintf("%d/%d", i/1000, i)
				if up && i < 500 {
					d.write(name, data)
				} else if !up {
					d.tree.put("/top/"+name, data)
				}
			}
			ctx, cancel := context.WithCancelCause(t.Context())
			stop := fault.New(fault.Canceled, fault.IDInterrupted)
			time.AfterFunc(22500*time.Millisecond, func() { cancel(stop) })
			began := time.Now()
			r := NewRun(ctx, d.tree, Options{Tell: d.heard.tell, State: d.state(), Retry: 5})
			if up {
				r.UploadTree(Tree{Path: "/top", URL: host + "/top", Dir: d.dir})
			} else {
				r.DownloadTree(Tree{Path: "/top", URL: host + "/top", Place: d.place})
			}
			s := r.Wait()
			if took := time.Since(began); took > 23*time.Second {
				t.Errorf("it ended after %v", took)
			}
			if s.Found != s.Done+s.Skipped+s.Failed+s.Left || s.Done == 0 || s.Failed != 8 || s.Left == 0 {
				t.Errorf("found %d, done %d, skipped %d, failed %d, left %d", s.Found, s.Done, s.Skipped, s.Failed, s.Left)
			}
			for _, e := range s.Errors {
				if !errors.Is(e.Err, stop) || !e.Resumable {
					t.Errorf("%s: %v, resumable %v", e.From, e.Err, e.Resumable)
				}
			}
		})
	}
}

func TestADryRunChangesNothing(t *testing.T) {
	d := newDesk(t)
	d.tree.put("/top/new", []byte("x"))
	d.tree.put("/top/dir/same", []byte("x"))
	d.tree.link("/top/link", "new")
	d.tree.link("/top/out", "/etc")
	d.tree.put("/top/half.dray-part", nil)
	d.tree.onList = hostile("../x")
	d.write("dir/same", []byte("x"))
	before := d.here()
	s := d.getTree(Options{DryRun: true, Conflict: Newer})
	if got := d.here(); !slices.Equal(got, before) {
		t.Errorf("the place holds %q now", got)
	}
	var planned []string
	for _, e := range d.heard.of(Planned) {
		planned = append(planned, path.Base(e.From))
	}
	slices.Sort(planned)
	if !slices.Equal(planned, []string{"link", "new"}) || s.Done != 0 || s.Skipped != 3 || s.Failed != 1 || s.Bytes != 0 {
		t.Errorf("planned %q, done %d, skipped %d, failed %d", planned, s.Done, s.Skipped, s.Failed)
	}
	for _, w := range []What{Started, Finished, Made, Linked} {
		if len(d.heard.of(w)) != 0 {
			t.Errorf("a dry run tells %s", w)
		}
	}

	d = newDesk(t)
	d.write("new", []byte("x"))
	d.write("dir/same", []byte("x"))
	os.Symlink("new", filepath.Join(d.dir, "link"))
	d.tree.put("/top/dir/same", []byte("y"))
	names := d.tree.names()
	s = d.sendTree(Options{DryRun: true, Conflict: Skip, State: d.state()})
	if got := d.tree.names(); !slices.Equal(got, names) {
		t.Errorf("the server holds %q now", got)
	}
	if n := len(d.heard.of(Planned)); n != 2 || s.Skipped != 1 || s.Done != 0 || s.Failed != 0 {
		t.Errorf("planned %d, skipped %d, done %d, failed %d: %v", n, s.Skipped, s.Done, s.Failed, first(s))
	}
	for _, c := range d.tree.calls {
		if what, _, _ := strings.Cut(c, " "); !slices.Contains([]string{"stat", "readlink", "list"}, what) {
			t.Errorf("a dry run called %s", c)
		}
	}
}
