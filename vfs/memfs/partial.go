package memfs

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"slices"
	"strings"
	"syscall"
	"time"

	"dray/vfs"
)

// forget removes a partial, if there is one.
func (t *Tree) forget(dir *node, key owned) {
	if d := dir.partials[key]; d != nil {
		delete(dir.partials, key)
		t.used -= int64(len(d.node.data))
	}
}

// slot finds the directory and the key of owner's partial of p. They are those
// of the file that an upload to p would make.
func (t *Tree) slot(p vfs.Path, owner string) (*node, owned, error) {
	at, err := t.find(p, follow)
	if err == nil && at.dir == nil {
		err = syscall.EISDIR
	}
	return at.dir, owned{at.name, owner}, err
}

// withPartial runs call on owner's partial of p.
func (t *Tree) withPartial(ctx context.Context, op string, p vfs.Path, owner string, call func(*draft)) error {
	return t.do(ctx, op, p, func() error {
		dir, key, err := t.slot(p, owner)
		if err != nil {
			return err
		}
		d := dir.partials[key]
		if d == nil {
			return syscall.ENOENT
		}
		call(d)
		return nil
	})
}

// Partial tells about owner's partial of p. One that is being resumed is none.
func (t *Tree) Partial(ctx context.Context, p vfs.Path, owner string) (fi fs.FileInfo, err error) {
	err = t.withPartial(ctx, "stat", p, owner, func(d *draft) { fi = d.node.info(p.Base()) })
	return fi, err
}

// Names yields the partials of owner in a directory that were uploaded with
// Create.Listed, sorted by name, as they were when it began.
func (t *Tree) Names(ctx context.Context, p vfs.Path, owner string) iter.Seq2[fs.FileInfo, error] {
	return func(yield func(fs.FileInfo, error) bool) {
		var infos []fs.FileInfo
		err := t.do(ctx, "list", p, func() error {
			at, err := t.lookup(p, follow)
			switch {
			case err != nil:
				return err
			case !at.node.mode.IsDir():
				return syscall.ENOTDIR
			}
			for key, d := range at.node.partials {
				if key.owner == owner && owner != "" && d.listed {
					infos = append(infos, d.node.info(key.name))
				}
			}
			return nil
		})
		if err != nil {
			yield(nil, err)
			return
		}
		slices.SortFunc(infos, func(a, b fs.FileInfo) int { return strings.Compare(a.Name(), b.Name()) })
		for _, fi := range infos {
			if !yield(fi, nil) {
				return
			}
		}
	}
}

// OpenPartial opens owner's partial of p for reading.
func (t *Tree) OpenPartial(ctx context.Context, p vfs.Path, owner string) (vfs.File, error) {
	var f *file
	err := t.withPartial(ctx, "open", p, owner, func(d *draft) { f = &file{tree: t, node: d.node, name: p.Base()} })
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Forget removes owner's partial of p.
func (t *Tree) Forget(ctx context.Context, p vfs.Path, owner string) error {
	return t.do(ctx, "forget", p, func() error {
		dir, key, err := t.slot(p, owner)
		if err == nil {
			t.forget(dir, key)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil // nothing is below a missing directory
		}
		return err
	})
}

// Clear removes the partials of owner in a directory, not below it.
func (t *Tree) Clear(ctx context.Context, p vfs.Path, owner string, freed func(sizeBytes int64)) error {
	return t.do(ctx, "clear", p, func() error {
		at, err := t.lookup(p, follow)
		switch {
		case err != nil:
			return err
		case !at.node.mode.IsDir():
			return syscall.ENOTDIR
		}
		for key, d := range at.node.partials {
			if key.owner == owner {
				freed(int64(len(d.node.data)))
				t.forget(at.node, key)
			}
		}
		return nil
	})
}

// MovePartial gives owner's partial another name, in place of an older partial
// of that name.
func (t *Tree) MovePartial(ctx context.Context, from, to vfs.Path, owner string) error {
	return t.do(ctx, "rename", from, func() error {
		a, old, err := t.slot(from, owner)
		if err != nil {
			return err
		}
		b, key, err := t.slot(to, owner)
		if err != nil {
			return err
		}
		d := a.partials[old]
		if d == nil {
			return syscall.ENOENT
		}
		if at, err := t.find(to, follow); err == nil && at.node != nil {
			return syscall.EEXIST
		}
		delete(a.partials, old)
		t.forget(b, key)
		b.partials[key] = d
		return nil
	})
}

// SetPartialTime dates a partial; the file has that date when it is finished.
func (t *Tree) SetPartialTime(ctx context.Context, p vfs.Path, owner string, mtime time.Time) error {
	return t.withPartial(ctx, "settime", p, owner, func(d *draft) {
		d.node.mtime = mtime
		d.dated = true
	})
}

// ChmodPartial sets the lowest nine bits of a partial's mode; the file has that
// mode when it is finished, also in place of an older file.
func (t *Tree) ChmodPartial(ctx context.Context, p vfs.Path, owner string, mode fs.FileMode) error {
	return t.withPartial(ctx, "chmod", p, owner, func(d *draft) {
		d.node.mode = mode.Perm()
		d.moded = true
	})
}

// Sweep removes the partials whose bytes last changed before the given time.
// freed is called after the tree is free again; it may use the tree, and be nil.
func (t *Tree) Sweep(ctx context.Context, before time.Time, freed func(sizeBytes int64)) error {
	var sizes []int64
	err := t.do(ctx, "sweep", vfs.Root, func() error {
		dirs := []*node{t.root}
		for len(dirs) > 0 {
			dir := dirs[0]
			dirs = dirs[1:]
			for key, d := range dir.partials {
				if d.written.Before(before) {
					sizes = append(sizes, int64(len(d.node.data)))
					t.forget(dir, key)
				}
			}
			for _, kid := range dir.kids {
				if kid.mode.IsDir() {
					dirs = append(dirs, kid)
				}
			}
		}
		return nil
	})
	if freed != nil {
		for _, size := range sizes {
			freed(size)
		}
	}
	return err
}
