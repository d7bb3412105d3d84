package mirror

import (
	"os"
	"syscall"
	"testing"

	"dray/fault"
)

// mount is a file system of its own, in memory. Only root can make one; CI is root.
func mount(t *testing.T, flags uintptr, options string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("none", dir, "tmpfs", flags, options); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("CI must run this as root, who can mount: %v", err)
		}
		t.Skipf("SKIPPED: run as root: no tmpfs can be mounted: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, 0) })
	return dir
}

// readOnly is a directory that not even root can write.
func readOnly(t *testing.T) string {
	t.Helper()
	return mount(t, syscall.MS_RDONLY, "")
}

func TestAFullDiskEndsTheRun(t *testing.T) {
	d := newDesk(t)
	d.on(mount(t, 0, "size=1m"))
	want := random(1, 5<<20)
	d.tree.put("/a", want)
	d.tree.put("/b", want)
	s := d.run(Options{Parallel: 1, Retry: 3}, func(r *Run) {
		for _, name := range []string{"a", "b", "b"} {
			r.Download(Download{Path: "/" + name, URL: host + "/" + name, Place: d.place, Name: name})
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
