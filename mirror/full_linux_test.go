package mirror

import (
	"os"
	"syscall"
	"testing"

	"dray/fault"
)

func TestAFullDiskEndsTheRun(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can mount a small file system")
	}
	small := t.TempDir()
	if err := syscall.Mount("none", small, "tmpfs", 0, "size=1m"); err != nil {
		t.Skip("no tmpfs can be mounted here: ", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(small, 0) })
	d := newDesk(t)
	place, err := OpenPlace(small, false)
	if err != nil {
		t.Fatal(err)
	}
	defer place.Close()
	d.place, d.dir = place, small
	want := random(1, 5<<20)
	d.tree.put("/a", want)
	d.tree.put("/b", want)
	s := d.run(Options{Parallel: 1, Retry: 3}, func(r *Run) {
		for _, name := range []string{"a", "b", "b"} {
			r.Download(Download{Path: "/" + name, URL: host + "/" + name, Place: place, Name: name})
		}
	})
	if s.Failed != 1 || s.Found != s.Failed+s.Left {
		t.Fatalf("found %d, failed %d, left %d", s.Found, s.Failed, s.Left)
	}
	if e := fault.Of(first(s)); e.ID != fault.IDNoSpace || e.Kind != fault.NoSpace || !Fatal(first(s)) {
		t.Errorf("failed with %v", first(s))
	}
	d.wantHere("a.dray-part", "a.dray-part.json")
	if !s.Resumable {
		t.Error("what came is not called resumable")
	}
}
