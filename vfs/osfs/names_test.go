//go:build linux

package osfs

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"dray/vfs"
)

// both runs a test with extended attributes, where there are any, and with notes.
func both(t *testing.T, test func(t *testing.T, tree *Tree, dir string)) {
	for _, by := range []string{"attributes", "notes"} {
		t.Run(by, func(t *testing.T) {
			tree, dir := open(t, SyncNone)
			tree.disk.notes = by == "notes"
			if f := filepath.Join(dir, "probe"); by == "attributes" {
				if err := os.WriteFile(f, nil, 0o600); err != nil {
					t.Fatal(err)
				}
				if err := unix.Setxattr(f, nameAttr, []byte("x"), 0); err != nil {
					t.Skipf("SKIPPED: this file system has no extended attributes: %v", err)
				}
				if err := os.Remove(f); err != nil {
					t.Fatal(err)
				}
			}
			test(t, tree, dir)
		})
	}
}

func listed(t *testing.T, tree *Tree, name string, size int, how vfs.Create) vfs.Upload {
	t.Helper()
	how.Owner, how.Listed = "alice", true
	up, err := tree.Create(t.Context(), vpath(t, name), how)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := up.WriteAt(make([]byte, size), up.Offset()); err != nil {
		t.Fatal(err)
	}
	return up
}

func cutListed(t *testing.T, tree *Tree, name string, size int) {
	t.Helper()
	if err := listed(t, tree, name, size, vfs.Create{}).Cut(); err != nil {
		t.Fatal(err)
	}
}

func names(t *testing.T, tree *Tree, dir, owner string) (all []string) {
	t.Helper()
	for fi, err := range tree.Names(t.Context(), vpath(t, dir), owner) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, fi.Name())
	}
	slices.Sort(all)
	return all
}

// What a dead process leaves has its name too: at the first byte or later.
func TestDeadUploadKeepsItsName(t *testing.T) {
	both(t, func(t *testing.T, tree *Tree, dir string) {
		dies(listed(t, tree, "f", 10_000, vfs.Create{}))
		cutListed(t, tree, "g", 20_000)
		dies(listed(t, tree, "g", 10_000, vfs.Create{How: vfs.Resume, Offset: 5000}))
		dies(listed(t, tree, "short", 100, vfs.Create{}))
		sweepNow(t, tree)
		if got := names(t, tree, "/", "alice"); !slices.Equal(got, []string{"f", "g"}) {
			t.Errorf("Names after the sweep: %q; want f and g", got)
		}
		for _, name := range entries(t, dir) {
			k := parseHidden(name)
			if k.number != "" || k.partial == partialName("short", "alice") {
				t.Errorf("left behind: %s", name)
			}
		}
	})
}

// A finished file tells nothing of the name under which it was hidden, nor does
// it take an attribute over from a file that does.
func TestFinishedFileHasNoHiddenName(t *testing.T) {
	both(t, func(t *testing.T, tree *Tree, dir string) {
		cutListed(t, tree, "f", 10_000)
		for _, how := range []vfs.Create{{How: vfs.Resume, Offset: 100}, {}, {How: vfs.New}} {
			if how.How == vfs.New {
				_ = os.Remove(filepath.Join(dir, "f"))
			}
			if err := listed(t, tree, "f", 5000, how).Commit(t.Context()); err != nil {
				t.Fatal(err)
			}
			if n, err := unix.Getxattr(filepath.Join(dir, "f"), nameAttr, nil); err == nil {
				t.Errorf("%+v: the finished file has the attribute, of %d bytes", how, n)
			}
			if got := entries(t, dir); len(got) != 1 {
				t.Errorf("%+v: left behind: %q", how, got)
			}
		}
		// One that a crash of the machine left.
		if unix.Setxattr(filepath.Join(dir, "f"), nameAttr, []byte("elsewhere"), 0) != nil {
			return
		}
		if err := put(t, tree, "f", "new", vfs.Create{}); err != nil {
			t.Fatal(err)
		}
		if n, err := unix.Getxattr(filepath.Join(dir, "f"), nameAttr, nil); err == nil {
			t.Errorf("a replaced file hands the attribute on, of %d bytes", n)
		}
	})
}

// Others may write into the tree. A name counts that has the hash.
func TestForgedNamesAreNotTold(t *testing.T) {
	both(t, func(t *testing.T, tree *Tree, dir string) {
		plant := func(hiddenName, tells string) {
			file := filepath.Join(dir, hiddenName)
			if err := os.WriteFile(file, make([]byte, 10), 0o600); err != nil {
				t.Fatal(err)
			}
			var err error
			if tree.disk.notes {
				err = os.WriteFile(filepath.Join(dir, nameNote(hiddenName)), []byte(tells), 0o600)
			} else {
				err = unix.Setxattr(file, nameAttr, []byte(tells), 0)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		plant(partialName("secret", "alice"), "public")
		plant(partialName("bobs", "bob"), "alices")
		for _, name := range []string{"../up", "a/b", ".", "..", "", vfs.Hidden + "x", "nul\x00", strings.Repeat("x", vfs.MaxName+1)} {
			plant(partialName(name, "alice"), name)
		}
		if err := os.Symlink("/etc/passwd", filepath.Join(dir, partialName("link", "alice"))); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mkfifo(filepath.Join(dir, partialName("fifo", "alice")), 0o600); err != nil {
			t.Fatal(err)
		}
		plant(partialName("real", "alice"), "real")
		if err := unix.Mkfifo(filepath.Join(dir, nameNote(partialName("noted", "alice"))), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, partialName("noted", "alice")), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if got := names(t, tree, "/", "alice"); !slices.Equal(got, []string{"real"}) {
			t.Errorf("Names: %q; want the real one alone", got)
		}
	})
}

// A note is never written into what has its name already.
func TestNoteIsMadeAnew(t *testing.T) {
	tree, dir := open(t, SyncNone)
	tree.disk.notes = true
	victim := filepath.Join(dir, "victim")
	if err := os.WriteFile(victim, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(victim, filepath.Join(dir, nameNote(partialName("f", "alice")))); err != nil {
		t.Fatal(err)
	}
	cutListed(t, tree, "f", 10_000)
	if got := content(t, victim); got != "precious" {
		t.Errorf("the other name of the note holds %q", got)
	}
	if got := names(t, tree, "/", "alice"); !slices.Equal(got, []string{"f"}) {
		t.Errorf("Names: %q", got)
	}
}

// A note that is alone goes once it is old, and one with its partial stays.
func TestSweepOfNotes(t *testing.T) {
	tree, dir := open(t, SyncNone)
	tree.disk.notes = true
	cutListed(t, tree, "f", 10_000)
	alone := nameNote(partialName("g", "alice"))
	if err := os.WriteFile(filepath.Join(dir, alone), []byte("g"), 0o600); err != nil {
		t.Fatal(err)
	}
	sweepNow(t, tree)
	if got := entries(t, dir); len(got) != 3 {
		t.Errorf("a sweep of what is older than an hour left %q; want all three", got)
	}
	running := listed(t, tree, "f", 10_000, vfs.Create{How: vfs.Resume, Offset: 5000})
	var freed []int64
	if err := tree.Sweep(t.Context(), time.Now().Add(time.Hour), func(n int64) { freed = append(freed, n) }); err != nil {
		t.Fatal(err)
	}
	if got := entries(t, dir); len(got) != 2 || slices.Contains(got, alone) || len(freed) > 0 {
		t.Errorf("the sweep left %q and freed %d; want what runs, and its note", got, freed)
	}
	if err := running.Cut(); err != nil {
		t.Fatal(err)
	}
	if got := names(t, tree, "/", "alice"); !slices.Equal(got, []string{"f"}) {
		t.Errorf("Names: %q; want f", got)
	}
}

// A name weighs nothing in a quota.
func TestMeasureCountsNoNames(t *testing.T) {
	both(t, func(t *testing.T, tree *Tree, dir string) {
		cutListed(t, tree, "f", 10_000)
		files, size, err := tree.Measure(t.Context(), "alice")
		if files != 1 || size != 10_000-vfs.CutTail || err != nil {
			t.Errorf("Measure = %d files, %d bytes, %v; want the partial alone", files, size, err)
		}
	})
}

// Partials of before, with a note, are known where attributes have come since.
func TestNotesAndAttributesTogether(t *testing.T) {
	tree, dir := open(t, SyncNone)
	tree.disk.notes = true
	cutListed(t, tree, "f", 10_000)
	tree.disk.notes = false
	if got := names(t, tree, "/", "alice"); !slices.Equal(got, []string{"f"}) {
		t.Errorf("Names: %q; want f", got)
	}
	if err := tree.MovePartial(t.Context(), vpath(t, "f"), vpath(t, "g"), "alice"); err != nil {
		t.Fatal(err)
	}
	if got := names(t, tree, "/", "alice"); !slices.Equal(got, []string{"g"}) {
		t.Errorf("Names: %q; want g", got)
	}
	if err := tree.Forget(t.Context(), vpath(t, "g"), "alice"); err != nil {
		t.Fatal(err)
	}
	if got := entries(t, dir); len(got) != 0 {
		t.Errorf("left behind: %q", got)
	}
}
