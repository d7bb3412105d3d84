package transfer

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"dray/fault"
)

// The splice road has one error for both of its ends.
func TestADiskThatFillsUpUnderASpliceIsTheFilesError(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("a small file system needs root: ", err)
		}
		t.Skip("SKIPPED: a small file system needs root: ", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	for _, end := range ends {
		f, err := os.Create(filepath.Join(dir, "file"))
		if err != nil {
			t.Fatal(err)
		}
		server, client := end.make(t)
		feed(t, client, noise(8<<20))
		rep, err := Receive(t.Context(), disk{File: f}, server, Options{})
		f.Close()
		if !errors.Is(err, syscall.ENOSPC) || fault.KindOf(err) != fault.NoSpace {
			t.Errorf("%s: Receive = %v", end.name, err)
		}
		want := RoadKernel
		if end.secure {
			want = RoadCopy
		}
		if rep.Road != want || rep.Bytes == 0 {
			t.Errorf("%s: Receive reports %+v", end.name, rep)
		}
	}
}
