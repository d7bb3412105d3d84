//go:build linux

package osfs

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dray/fault"
	"dray/vfs"
)

func sweepNow(t *testing.T, tree *Tree) (freed []int64) {
	t.Helper()
	if err := tree.Sweep(t.Context(), time.Now().Add(-time.Hour), func(n int64) { freed = append(freed, n) }); err != nil {
		t.Fatalf("Sweep: %v", err)
	}
	return freed
}

// dies is what the kernel does with an upload whose process is killed: its files
// are closed, and its locks go with them.
func dies(up vfs.Upload) {
	u := up.(*upload)
	_ = u.f.Close()
	if u.noteF != nil {
		_ = u.noteF.Close()
	}
}

// A direct upload whose process died stays as it is under its name, and the next
// start has nothing to put right.
func TestDeadDirectUploadStays(t *testing.T) {
	for name, how := range map[string]vfs.Create{
		"from the start": {Direct: true},
		"from an offset": {Direct: true, Offset: 3},
		"appended":       {Direct: true, How: vfs.InPlace, Offset: -1},
	} {
		t.Run(name, func(t *testing.T) {
			tree, dir := open(t, SyncCommit)
			file := filepath.Join(dir, "f")
			if err := os.WriteFile(file, []byte("whole\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			up, err := tree.Create(t.Context(), vpath(t, "f"), how)
			if err != nil {
				t.Fatal(err)
			}
			if got := content(t, file); got != "whole\n" {
				t.Errorf("before the first byte: %q; want the old content", got)
			}
			if _, err := up.WriteAt([]byte("half a li"), up.Offset()); err != nil {
				t.Fatal(err)
			}
			want := "whole\n"[:up.Offset()] + "half a li"
			dies(up)
			again, err := NewDisk(SyncCommit, nil).Open(dir) // the next process
			if err != nil {
				t.Fatal(err)
			}
			defer again.Close()
			if freed := sweepNow(t, again); len(freed) > 0 {
				t.Errorf("the sweep freed %d bytes", freed)
			}
			if got, names := content(t, file), entries(t, dir); got != want || len(names) != 1 {
				t.Errorf("after the sweep: %q, %q; want %q and nothing beside it", got, names, want)
			}
			if err := put(t, again, "f", "ne", vfs.Create{How: vfs.InPlace, Offset: -1, Direct: true}); err != nil {
				t.Fatal(err)
			}
			if got := content(t, file); got != want+"ne" {
				t.Errorf("after another: %q; want %q", got, want+"ne")
			}
		})
	}
}

// Until the data connection stands nothing is lost, and a file of which not a
// byte came is left to nobody but a dead process.
func TestDeadDirectUploadOfNothing(t *testing.T) {
	tree, dir := open(t, SyncNone)
	up, err := tree.Create(t.Context(), vpath(t, "f"), vfs.Create{Direct: true})
	if err != nil {
		t.Fatal(err)
	}
	dies(up)
	sweepNow(t, tree)
	if got := content(t, filepath.Join(dir, "f")); got != "" {
		t.Errorf("f holds %q", got)
	}
}

// The note of an append that died must not take back what a direct upload has
// written since.
func TestDirectUploadEndsAnOldNote(t *testing.T) {
	tree, dir := open(t, SyncNone)
	file := filepath.Join(dir, "f")
	if err := os.WriteFile(file, []byte("whole\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	up, err := tree.Create(t.Context(), vpath(t, "f"), vfs.Create{How: vfs.InPlace, Offset: -1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := up.WriteAt([]byte("half"), 6); err != nil {
		t.Fatal(err)
	}
	other, err := NewDisk(SyncNone, nil).Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := put(t, other, "f", "x", vfs.Create{Direct: true}); fault.KindOf(err) != fault.Busy {
		t.Errorf("beside the append of another process that lives: %v; want kind Busy", err)
	}
	dies(up)
	if err := put(t, other, "f", "next\n", vfs.Create{How: vfs.InPlace, Offset: -1, Direct: true}); err != nil {
		t.Fatal(err)
	}
	sweepNow(t, other)
	if got, names := content(t, file), entries(t, dir); got != "whole\nnext\n" || len(names) != 1 {
		t.Errorf("%q, %q; want the append that died taken back, and the other one", got, names)
	}
}

// 226 means the same as ever: the file is flushed, and its name where that is new.
func TestDirectUploadIsFlushed(t *testing.T) {
	tree, dir := open(t, SyncCommit)
	var steps []string
	tree.disk.hook = func(op string) error { steps = append(steps, op); return nil }
	for _, want := range [][]string{{"create", "write", "fsync", "fsync directory"}, {"write", "fsync"}} {
		steps = nil
		if err := put(t, tree, "f", "new", vfs.Create{Direct: true}); err != nil {
			t.Fatal(err)
		}
		if fmt.Sprint(steps) != fmt.Sprint(want) {
			t.Errorf("steps: %q; want %q", steps, want)
		}
	}
	// One whose flush fails is not committed, and its bytes stay.
	tree.disk.hook = func(op string) error {
		if op == "fsync" {
			return errStop
		}
		return nil
	}
	up, err := tree.Create(t.Context(), vpath(t, "f"), vfs.Create{Direct: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := up.WriteAt([]byte("unflushed"), 0); err != nil {
		t.Fatal(err)
	}
	if err := up.Commit(t.Context()); err != errStop {
		t.Errorf("Commit = %v; want the failure of the flush", err)
	}
	if err := up.Cut(); err != nil {
		t.Error(err)
	}
	if got := content(t, filepath.Join(dir, "f")); got != "unflushed" {
		t.Errorf("f holds %q", got)
	}
}

// The kernel may move the bytes once what was there has gone.
func TestDirectUploadIsADescriptor(t *testing.T) {
	tree, dir := open(t, SyncNone)
	if err := os.WriteFile(filepath.Join(dir, "f"), []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	up, err := tree.Create(t.Context(), vpath(t, "f"), vfs.Create{Direct: true})
	if err != nil {
		t.Fatal(err)
	}
	defer up.Cut()
	if f := up.(vfs.Kernel).OSFile(); f != nil {
		t.Error("a descriptor is handed out whose old bytes would stay behind the new ones")
	}
	if err := up.Truncate(0); err != nil {
		t.Fatal(err)
	}
	if f := up.(vfs.Kernel).OSFile(); f == nil {
		t.Error("no descriptor once the old bytes have gone")
	}
}

// New content was not what the owner gave the set-uid bit to; and what is only
// looked at keeps it.
func TestDirectUploadTakesSetUIDAway(t *testing.T) {
	tree, dir := open(t, SyncNone)
	file := filepath.Join(dir, "f")
	if err := os.WriteFile(file, []byte("old"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, 0o755|fs.ModeSetuid); err != nil {
		t.Fatal(err)
	}
	mode := func() fs.FileMode {
		fi, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		return fi.Mode()
	}
	if mode()&fs.ModeSetuid == 0 {
		t.Skip("SKIPPED: this file system has no set-uid bits")
	}
	up, err := tree.Create(t.Context(), vpath(t, "f"), vfs.Create{Direct: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := up.Cut(); err != nil || mode()&fs.ModeSetuid == 0 {
		t.Errorf("an upload of which nothing came: %v, mode %v", err, mode())
	}
	if os.Geteuid() == 0 {
		return // the kernel lets root write without it; owners are never root
	}
	if err := put(t, tree, "f", "new", vfs.Create{Direct: true}); err != nil || mode()&fs.ModeSetuid != 0 {
		t.Errorf("after an upload: %v, mode %v", err, mode())
	}
}

// In a directory that can't be written, a file that can be takes direct uploads.
func TestDirectUploadWhereTheDirectoryCanNotBeWritten(t *testing.T) {
	tree, dir, asRoot := unwritable(t)
	up, err := tree.Create(t.Context(), vpath(t, "f"), vfs.Create{Direct: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := up.WriteAt([]byte("new"), 0); err != nil {
		t.Fatal(err)
	}
	if err := up.Cut(); err != nil {
		t.Fatal(err)
	}
	if err := put(t, tree, "other", "x", vfs.Create{Direct: true}); fault.KindOf(err) != fault.Denied {
		t.Errorf("a new name there: %v; want kind Denied", err)
	}
	asRoot()
	if got := content(t, filepath.Join(dir, "f")); got != "new" {
		t.Errorf("f holds %q", got)
	}
}

// A refused direct upload leaves no file behind that it has made.
func TestRefusedDirectUploadLeavesNothing(t *testing.T) {
	tree, dir := open(t, SyncNone)
	note, err := os.OpenFile(filepath.Join(dir, noteName("f")), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer note.Close()
	lockFile(note) // the append of another process to a file that it has removed
	if err := put(t, tree, "f", "x", vfs.Create{Direct: true}); fault.KindOf(err) != fault.Busy {
		t.Errorf("Create: %v; want kind Busy", err)
	}
	if names := entries(t, dir); len(names) != 1 || !strings.HasPrefix(names[0], vfs.Hidden) {
		t.Errorf("left behind: %q", names)
	}
}
