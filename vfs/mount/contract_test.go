package mount

import (
	"context"
	"io/fs"
	"iter"
	"testing"
	"time"

	"dray/vfs"
	"dray/vfs/memfs"
	"dray/vfs/vfstest"
)

// The contract holds for a root that has a tree mounted in it, inside of a mounted
// tree, and in a directory of the root that leads to a mount point.
func TestContract(t *testing.T) {
	t.Run("in the root tree", func(t *testing.T) {
		vfstest.RunWith(t, func(t *testing.T) vfs.FS {
			return join(t, memfs.New(memfs.Options{}), map[string]vfs.FS{"/else/where": filled(t, "f")})
		}, vfstest.Options{
			Shows: []string{"else"},
			Symlink: func(t *testing.T, tree vfs.FS, p vfs.Path, target string) {
				need(t, tree.(*FS).top.tree.(*memfs.Tree).Link(p.String(), target))
			},
		})
	})
	t.Run("in a mounted tree", func(t *testing.T) {
		vfstest.RunWith(t, func(t *testing.T) vfs.FS {
			mem := memfs.New(memfs.Options{})
			f := join(t, nil, map[string]vfs.FS{"/a/in": mem, "/a/other": filled(t, "f")})
			return &jailed{below{FS: f, dir: path(t, "/a/in"), mem: mem}}
		}, vfstest.Options{
			Symlink: func(t *testing.T, tree vfs.FS, p vfs.Path, target string) {
				need(t, tree.(*jailed).mem.Link(p.String(), target))
			},
		})
	})
	t.Run("beside a mounted tree", func(t *testing.T) {
		vfstest.RunWith(t, func(t *testing.T) vfs.FS {
			mem := memfs.New(memfs.Options{})
			need(t, mem.MkdirAll("/home"))
			f := join(t, mem, map[string]vfs.FS{"/home/here": filled(t, "f")})
			return &below{FS: f, dir: path(t, "/home"), mem: mem}
		}, vfstest.Options{
			Shows: []string{"here"},
			Symlink: func(t *testing.T, tree vfs.FS, p vfs.Path, target string) {
				need(t, tree.(*below).mem.Link("/home"+p.String(), target))
			},
		})
	})
}

// below is a directory of an FS as a tree, for the suite to run in.
type below struct {
	*FS
	dir vfs.Path
	mem *memfs.Tree
}

// jailed is below for a directory that is the root of its tree: there a link that
// leads out of the directory leads out of the tree.
type jailed struct{ below }

func (b *below) full(p vfs.Path) vfs.Path {
	full, err := vfs.Resolve(b.dir, p.Rel())
	if err != nil {
		panic(err)
	}
	return full
}

func (b *below) Stat(ctx context.Context, p vfs.Path) (fs.FileInfo, error) {
	return b.FS.Stat(ctx, b.full(p))
}
func (b *below) Lstat(ctx context.Context, p vfs.Path) (fs.FileInfo, error) {
	return b.FS.Lstat(ctx, b.full(p))
}
func (b *below) List(ctx context.Context, p vfs.Path) iter.Seq2[fs.FileInfo, error] {
	return b.FS.List(ctx, b.full(p))
}
func (b *below) Open(ctx context.Context, p vfs.Path) (vfs.File, error) {
	return b.FS.Open(ctx, b.full(p))
}
func (b *below) Create(ctx context.Context, p vfs.Path, how vfs.Create) (vfs.Upload, error) {
	return b.FS.Create(ctx, b.full(p), how)
}
func (b *below) Mkdir(ctx context.Context, p vfs.Path) error  { return b.FS.Mkdir(ctx, b.full(p)) }
func (b *below) Remove(ctx context.Context, p vfs.Path) error { return b.FS.Remove(ctx, b.full(p)) }
func (b *below) RemoveDir(ctx context.Context, p vfs.Path) error {
	return b.FS.RemoveDir(ctx, b.full(p))
}
func (b *below) Rename(ctx context.Context, from, to vfs.Path, how vfs.Rename) error {
	return b.FS.Rename(ctx, b.full(from), b.full(to), how)
}
func (b *below) SetTime(ctx context.Context, p vfs.Path, mtime time.Time) error {
	return b.FS.SetTime(ctx, b.full(p), mtime)
}
func (b *below) Chmod(ctx context.Context, p vfs.Path, mode fs.FileMode) error {
	return b.FS.Chmod(ctx, b.full(p), mode)
}
func (b *below) Edit(ctx context.Context, p vfs.Path) (vfs.Edited, error) {
	return b.FS.Edit(ctx, b.full(p))
}
func (b *below) Make(ctx context.Context, p vfs.Path, mode fs.FileMode) (vfs.Edited, error) {
	return b.FS.Make(ctx, b.full(p), mode)
}
func (b *below) Hardlink(ctx context.Context, old, p vfs.Path) error {
	return b.FS.Hardlink(ctx, b.full(old), b.full(p))
}
func (b *below) SetLinkTime(ctx context.Context, p vfs.Path, mtime time.Time) error {
	return b.FS.SetLinkTime(ctx, b.full(p), mtime)
}
func (b *below) Readlink(ctx context.Context, p vfs.Path) (string, error) {
	return b.FS.Readlink(ctx, b.full(p))
}
func (b *below) Space(ctx context.Context, p vfs.Path) (free, total uint64, err error) {
	return b.FS.Space(ctx, b.full(p))
}
func (b *below) Partial(ctx context.Context, p vfs.Path, owner string) (fs.FileInfo, error) {
	return b.FS.Partial(ctx, b.full(p), owner)
}
func (b *below) Names(ctx context.Context, p vfs.Path, owner string) iter.Seq2[fs.FileInfo, error] {
	return b.FS.Names(ctx, b.full(p), owner)
}
func (b *below) OpenPartial(ctx context.Context, p vfs.Path, owner string) (vfs.File, error) {
	return b.FS.OpenPartial(ctx, b.full(p), owner)
}
func (b *below) Forget(ctx context.Context, p vfs.Path, owner string) error {
	return b.FS.Forget(ctx, b.full(p), owner)
}
func (b *below) Clear(ctx context.Context, p vfs.Path, owner string, freed func(int64)) error {
	return b.FS.Clear(ctx, b.full(p), owner, freed)
}
func (b *below) MovePartial(ctx context.Context, from, to vfs.Path, owner string) error {
	return b.FS.MovePartial(ctx, b.full(from), b.full(to), owner)
}
func (b *below) SetPartialTime(ctx context.Context, p vfs.Path, owner string, mtime time.Time) error {
	return b.FS.SetPartialTime(ctx, b.full(p), owner, mtime)
}
func (b *below) ChmodPartial(ctx context.Context, p vfs.Path, owner string, mode fs.FileMode) error {
	return b.FS.ChmodPartial(ctx, b.full(p), owner, mode)
}

// Symlink of below would be FS's own, with paths of the whole: it is hidden, and
// jailed has the right one.
func (b *below) Symlink() {}

func (j *jailed) Symlink(ctx context.Context, target string, p vfs.Path) error {
	return j.FS.Symlink(ctx, target, j.full(p))
}

var _ vfs.Symlinker = (*jailed)(nil)
