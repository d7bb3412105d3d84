package osfs

import (
	"os"
	"path/filepath"
	"testing"
)

func TestMeasureCountsFilesOnceAndPartialsOfTheOwner(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, size int) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), make([]byte, size), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("a", 100)
	write("sub/deep/b", 20)
	write("sub/line\nend", 3)
	write("sub/"+partialName("x", "anna"), 1000)
	write("sub/"+partialName("x", "otto"), 5000)
	write(partialName("y", "anna")+".1", 7000) // it runs, and is held
	if err := os.Link(filepath.Join(dir, "a"), filepath.Join(dir, "sub", "a again")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("a", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	tree, err := NewDisk(SyncNone, nil).Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	for owner, want := range map[string]struct {
		files int
		bytes int64
	}{"anna": {4, 1123}, "otto": {4, 5123}, "": {3, 123}} {
		files, bytes, err := tree.Measure(t.Context(), owner)
		if files != want.files || bytes != want.bytes || err != nil {
			t.Errorf("Measure(%q) = %d files, %d bytes, %v; want %d, %d", owner, files, bytes, err, want.files, want.bytes)
		}
	}
}
