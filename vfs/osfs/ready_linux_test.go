package osfs

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"dray/vfs"
)

// What was just written is in memory and read at once; what was dropped from memory is
// said to be missing, and read as it should be when it is there again.
func TestReady(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "nowait")
	content := make([]byte, 1<<20)
	for i := range content {
		content[i] = byte(i >> 8)
	}
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(name)
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := &file{File: f}
	b := make([]byte, 5000)
	n, err := w.ReadReady(b, 1<<20-3000)
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip("this file system can't tell")
	}
	if n != 3000 || err != io.EOF || string(b[:n]) != string(content[1<<20-3000:]) {
		t.Fatalf("at the end: %d bytes, %v", n, err)
	}
	if n, err := w.ReadReady(b, 1<<20); n != 0 || err != io.EOF {
		t.Errorf("behind the end: %d bytes, %v", n, err)
	}
	if n, err := w.ReadReady(b, 70_000); n != len(b) || err != nil || string(b) != string(content[70_000:75_000]) {
		t.Errorf("in the middle: %d bytes, %v", n, err)
	}
	if err := errors.Join(f.Sync(), unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)); err != nil {
		t.Fatal(err)
	}
	for try := 0; ; try++ {
		n, err := w.ReadReady(b, 500_000)
		if err == nil && n == len(b) && string(b) == string(content[500_000:505_000]) {
			break
		}
		if err != vfs.ErrWait || try > 0 {
			t.Fatalf("dropped from memory: %d bytes, %v", n, err)
		}
		if _, err := f.ReadAt(b, 500_000); err != nil {
			t.Fatal(err)
		}
	}
	if n := testing.AllocsPerRun(100, func() { _, _ = w.ReadReady(b, 500_000) }); n != 0 {
		t.Errorf("%v allocations for a read", n)
	}
}
