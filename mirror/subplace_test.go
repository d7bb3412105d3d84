package mirror

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// Directories stay open while they are used, and some of those that were.
func TestDirectoriesOfAPlaceAreKeptOpen(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there an open directory can't be removed: none is kept")
	}
	dir := t.TempDir()
	p, err := OpenPlace(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	const n = 3 * mostSubPlaces
	used := make([]*subPlace, n)
	for i := range n {
		if err := os.MkdirAll(filepath.Join(dir, "d", fmt.Sprint(i)), 0o755); err != nil {
			t.Fatal(err)
		}
		if used[i] = p.enter(fmt.Sprintf("d/%d", i)); used[i] == nil {
			t.Fatalf("%d is not entered", i)
		}
	}
	if again := p.enter("d/1"); again != used[1] {
		t.Error("a directory is opened twice")
	}
	for _, s := range append(used, used[1]) {
		p.leave(s)
	}
	if len(p.below.open) != mostSubPlaces || len(p.below.idle) != mostSubPlaces {
		t.Errorf("%d are open, %d of them idle", len(p.below.open), len(p.below.idle))
	}
	if p.enter("") != nil || p.enter(".") != nil || p.enter("none") != nil {
		t.Error("the place itself, or what is not there, is entered")
	}
	if err := os.Symlink(t.TempDir(), filepath.Join(dir, "out")); err != nil {
		t.Fatal(err)
	}
	if p.enter("out") != nil {
		t.Error("a link leads out of the place")
	}
	late := p.enter("d/2")
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	p.leave(late)
	if _, err := late.root.Stat("."); err == nil || len(p.below.open) != 0 || len(p.below.idle) != 0 {
		t.Errorf("something is open still: %v, %d, %d", err, len(p.below.open), len(p.below.idle))
	}
}

// A directory that is taken away, or moved, between two files is made again.
func TestADirectoryThatIsTakenAwayMeanwhile(t *testing.T) {
	for _, taken := range []func(string) error{
		os.RemoveAll,
		func(name string) error { return os.Rename(name, name+".moved") },
	} {
		d := newDesk(t)
		d.tree.put("/a", []byte("first"))
		d.tree.put("/b", []byte("second"))
		get := func(r *Run, name string) {
			r.Download(Download{Path: "/" + name, URL: host + "/" + name, Place: d.place, Name: "sub/" + name})
		}
		if err := d.place.Mkdir("sub"); err != nil {
			t.Fatal(err)
		}
		if s := d.run(Options{}, func(r *Run) { get(r, "a") }); s.Done != 1 {
			t.Fatalf("done %d: %v", s.Done, first(s))
		}
		if err := taken(filepath.Join(d.dir, "sub")); err != nil {
			t.Fatal(err)
		}
		if s := d.run(Options{}, func(r *Run) { get(r, "b") }); s.Done != 1 {
			t.Fatalf("done %d: %v", s.Done, first(s))
		}
		d.wantData("sub/b", []byte("second"))
	}
}
