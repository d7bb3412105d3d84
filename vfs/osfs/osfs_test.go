package osfs

import (
	"testing"

	"dray/vfs"
	"dray/vfs/vfstest"
)

func newTree(t *testing.T) vfs.FS {
	t.Helper()
	tree, err := NewDisk(SyncNone, nil).Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tree.Close() })
	return tree
}

func TestContract(t *testing.T) { vfstest.Run(t, newTree) }

// The road for systems without openat2 keeps the same contract.
func TestContractByRoot(t *testing.T) {
	vfstest.Run(t, func(t *testing.T) vfs.FS {
		j, err := openRoot(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		tree := &Tree{disk: NewDisk(SyncCommit, nil), jail: j}
		t.Cleanup(func() { tree.Close() })
		return tree
	})
}
