package memfs

import (
	"cmp"
	"context"
	"io/fs"
	"syscall"
	"time"

	"dray/vfs"
)

// An edited is a file open where it is.
type edited struct {
	tree *Tree
	path vfs.Path
	node *node // nil when it has ended
}

// Edit opens the file at p.
func (t *Tree) Edit(ctx context.Context, p vfs.Path) (vfs.Edited, error) {
	e := &edited{tree: t, path: p}
	err := t.do(ctx, "edit", p, func() error {
		at, err := t.find(p, follow)
		switch {
		case err != nil:
			return err
		case at.node == nil:
			return syscall.ENOENT
		case at.node.mode.IsDir():
			return syscall.EISDIR
		case at.node.writer != nil:
			return syscall.EBUSY
		}
		e.node = at.node
		e.node.editors++
		return nil
	})
	if err != nil {
		return nil, err
	}
	return e, nil
}

// Make makes the file p.
func (t *Tree) Make(ctx context.Context, p vfs.Path, mode fs.FileMode) (vfs.Edited, error) {
	e := &edited{tree: t, path: p}
	err := t.do(ctx, "make", p, func() error {
		at, err := t.find(p, noFollow)
		switch {
		case err != nil:
			return err
		case at.node != nil || at.dir.reserved[at.name]:
			return syscall.EEXIST
		}
		if mode = mode.Perm(); mode == 0 {
			mode = 0o644
		}
		e.node = t.node(mode)
		e.node.editors++
		t.put(at.dir, at.name, e.node)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return e, nil
}

// do runs f under the lock, unless e is closed.
func (e *edited) do(op string, f func(*node) error) error {
	return e.tree.do(context.Background(), op, e.path, func() error {
		if e.node == nil {
			return fs.ErrClosed
		}
		return f(e.node)
	})
}

// ReadAt returns io.EOF as it is, as io.ReaderAt wants it.
func (e *edited) ReadAt(b []byte, off int64) (n int, err error) {
	end := e.do("read", func(f *node) error {
		n, err = f.readAt(b, off)
		return nil
	})
	return n, cmp.Or(end, err)
}

func (e *edited) WriteAt(b []byte, off int64) (n int, err error) {
	err = e.do("write", func(f *node) (err error) {
		n, err = e.tree.writeAt(f, b, off)
		return err
	})
	return n, err
}

func (e *edited) Truncate(size int64) error {
	return e.do("truncate", func(f *node) error {
		if size < 0 {
			return syscall.EINVAL
		}
		f.mtime = e.tree.now()
		return e.tree.resize(f, size)
	})
}

func (e *edited) SetTime(mtime time.Time) error {
	return e.do("set time", func(f *node) error {
		f.mtime = mtime
		return nil
	})
}

func (e *edited) Chmod(mode fs.FileMode) error {
	return e.do("chmod", func(f *node) error {
		f.mode = mode.Perm()
		return nil
	})
}

func (e *edited) Stat() (fi fs.FileInfo, err error) {
	err = e.do("stat", func(f *node) error {
		fi = f.info(e.path.Base())
		return nil
	})
	return fi, err
}

func (e *edited) Sync(ctx context.Context) error {
	return e.do("sync", func(*node) error { return context.Cause(ctx) })
}

func (e *edited) Close() error {
	e.tree.mu.Lock()
	defer e.tree.mu.Unlock()
	if e.node == nil {
		return fs.ErrClosed
	}
	if e.node.editors--; e.node.editors == 0 && e.node.writer == nil && e.node.names == 0 { // removed or replaced meanwhile
		e.tree.used -= int64(len(e.node.data))
	}
	e.node = nil
	return nil
}
