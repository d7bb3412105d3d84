package mirror

import (
	"testing"

	"dray/fault"
)

// What was taken for a directory may be something else, which only its listing shows.
func TestWhatIsNoDirectory(t *testing.T) {
	for _, settled := range []bool{true, false} {
		d := newDesk(t)
		d.tree.put("/top", []byte("a file"))
		asked := 0
		s := d.run(Options{}, func(r *Run) {
			r.DownloadTree(Tree{Path: "/top", URL: host + "/top", Place: d.place, Name: "top", Else: func() bool {
				asked++
				if settled {
					r.Download(Download{Path: "/top", URL: host + "/top", Place: d.place, Name: "top"})
				}
				return settled
			}})
		})
		if asked != 1 {
			t.Errorf("asked %d times", asked)
		}
		if settled {
			if s.Failed != 0 || s.Done != 1 {
				t.Errorf("done %d, failed %d: %v", s.Done, s.Failed, first(s))
			}
			d.wantHere("top")
			continue
		}
		if s.Failed != 1 {
			t.Errorf("failed %d: %v", s.Failed, first(s))
		}
		d.wantHere() // no directory of its name either
	}
	// A directory that is there is not asked about, whatever is wrong below it.
	d := newDesk(t)
	d.tree.put("/top/a", []byte("a"))
	s := d.run(Options{}, func(r *Run) {
		r.DownloadTree(Tree{Path: "/top", URL: host + "/top", Place: d.place, Else: func() bool { t.Error("asked"); return false }})
	})
	if s.Done != 1 {
		t.Errorf("done %d: %v", s.Done, first(s))
	}
}

// Two sources that would be one file are not written over each other, and one that is
// named twice comes once.
func TestTwoSourcesForOneName(t *testing.T) {
	d := newDesk(t)
	d.tree.put("/one/a", []byte("first"))
	d.tree.put("/two/a", []byte("second"))
	s := d.run(Options{}, func(r *Run) {
		for _, dir := range []string{"/one", "/two", "/one"} {
			r.Download(Download{Path: dir + "/a", URL: host + dir + "/a", Place: d.place, Name: "a"})
		}
	})
	if s.Done != 1 || s.Skipped != 1 || s.Failed != 1 || fault.Of(s.Errors[0].Err).ID != fault.IDNameClash {
		t.Errorf("done %d, skipped %d, failed %d: %v", s.Done, s.Skipped, s.Failed, first(s))
	}
	d.wantData("a", []byte("first"))
}
