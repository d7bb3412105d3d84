package mirror

import (
	"os"
	"syscall"
	"testing"

	"dray/fault"
)

// A disk that is full ends all segments at once, and what they have is kept.
func TestAFullDiskEndsADivision(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can mount a small file system")
	}
	small := t.TempDir()
	if err := syscall.Mount("none", small, "tmpfs", 0, "size=1m"); err != nil {
		t.Skip("no tmpfs can be mounted here: ", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(small, 0) })
	for _, tcp := range []bool{false, true} {
		l := newLine(t)
		place, err := OpenPlace(small, false)
		if err != nil {
			t.Fatal(err)
		}
		defer place.Close()
		l.place, l.dir, l.tree.tcp = place, small, tcp
		want := random(1, 5<<20)
		l.tree.put("/a", want)
		s := l.get("a", Options{Segments: 4, Retry: 3})
		l.wantFailed(s, fault.IDNoSpace)
		if got := l.tree.times("get"); got != 4 {
			t.Errorf("%d downloads: it was tried again", got)
		}
		l.wantHere("a.dray-part", "a.dray-part.json")
		if kept := l.holds("a", want); !s.Resumable || kept < 500_000 {
			t.Errorf("resumable %v, %d bytes are kept", s.Resumable, kept)
		}
		for _, name := range l.here() {
			if err := os.Remove(small + "/" + name); err != nil {
				t.Fatal(err)
			}
		}
	}
}
