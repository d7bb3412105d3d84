package osfs

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"dray/fault"
	"dray/vfs"
)

func TestAStraightTreeFollowsNoLink(t *testing.T) {
	tree, dir := open(t, SyncNone)
	if err := tree.Straight(); errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	for _, err := range []error{
		os.MkdirAll(filepath.Join(dir, "d"), 0o755), os.WriteFile(filepath.Join(dir, "d", "f"), []byte("x"), 0o644),
		os.Symlink("d", filepath.Join(dir, "ld")), os.Symlink("d/f", filepath.Join(dir, "lf")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	ctx := t.Context()
	denied := func(doing string, err error) {
		t.Helper()
		if fault.KindOf(err) != fault.Denied {
			t.Errorf("%s = %v, want it denied", doing, err)
		}
	}
	for _, name := range []string{"/ld/f", "/lf"} {
		p := vpath(t, name)
		_, err := tree.Open(ctx, p)
		denied("Open "+name, err)
		_, err = tree.Stat(ctx, p)
		denied("Stat "+name, err)
		_, err = tree.Create(ctx, p, vfs.Create{})
		denied("Create "+name, err)
		denied("SetTime "+name, tree.SetTime(ctx, p, time.Unix(1, 0)))
		denied("Chmod "+name, tree.Chmod(ctx, p, 0o600))
	}
	denied("Remove", tree.Remove(ctx, vpath(t, "/ld/f")))
	denied("Mkdir", tree.Mkdir(ctx, vpath(t, "/ld/new")))
	denied("Rename", tree.Rename(ctx, vpath(t, "/d/f"), vpath(t, "/ld/g"), vfs.Overwrite))
	for _, err := range tree.List(ctx, vpath(t, "/ld")) {
		denied("List", err)
	}
	// The links themselves are names as any other.
	if target, err := tree.Readlink(ctx, vpath(t, "/lf")); target != "d/f" || err != nil {
		t.Errorf("Readlink = %q, %v", target, err)
	}
	if err := tree.Rename(ctx, vpath(t, "/lf"), vpath(t, "/d/l"), vfs.Overwrite); err != nil {
		t.Error(err)
	}
	if err := tree.Remove(ctx, vpath(t, "/d/l")); err != nil {
		t.Error(err)
	}
	f, err := tree.Open(ctx, vpath(t, "/d/f"))
	if err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
}
