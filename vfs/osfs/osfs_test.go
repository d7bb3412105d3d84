package osfs

import (
	"os"
	"path/filepath"
	"testing"

	"dray/vfs"
	"dray/vfs/vfstest"
)

// A placed is a tree and where it is, so that the suite can make links in it.
type placed struct {
	*Tree
	dir string
}

func contract(t *testing.T, newDisk func() *Disk, open func(dir string) (jail, error)) {
	vfstest.RunWith(t, func(t *testing.T) vfs.FS {
		dir := t.TempDir()
		j, err := open(dir)
		if err != nil {
			t.Fatal(err)
		}
		return placed{&Tree{disk: newDisk(), jail: j}, dir}
	}, vfstest.Options{Symlink: func(t *testing.T, tree vfs.FS, p vfs.Path, target string) {
		t.Helper()
		if err := os.Symlink(target, filepath.Join(tree.(placed).dir, p.Rel())); err != nil {
			t.Fatal(err)
		}
	}})
}

func fast() *Disk { return NewDisk(SyncNone, nil) }

func TestContract(t *testing.T) { contract(t, fast, openJail) }

// The road for systems without openat2 keeps the same contract.
func TestContractByRoot(t *testing.T) {
	contract(t, func() *Disk { return NewDisk(SyncCommit, nil) }, openRoot)
}

// So does a file system without extended attributes.
func TestContractByNotes(t *testing.T) {
	for _, open := range []func(dir string) (jail, error){openJail, openRoot} {
		contract(t, func() *Disk {
			d := fast()
			d.notes = true
			return d
		}, open)
	}
}
