package mount

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"time"

	"dray/fault"
	"dray/vfs"
)

// partials is the tree that may keep partials of p; nil where none can be: of a
// mount point, in a virtual directory, in a tree that keeps none.
func (f *FS) partials(ctx context.Context, p vfs.Path) (vfs.Partials, place, error) {
	pl, err := f.find(ctx, p)
	if err != nil || pl.tree == nil || pl.point() {
		return nil, pl, err
	}
	parts, _ := pl.tree.(vfs.Partials)
	return parts, pl, nil
}

// onPartial runs call on the tree that may have a partial of p; kind NotFound
// where none can be.
func (f *FS) onPartial(ctx context.Context, p vfs.Path, call func(parts vfs.Partials, in vfs.Path) error) error {
	parts, pl, err := f.partials(ctx, p)
	switch {
	case err != nil:
		return err
	case parts == nil:
		return pl.missing()
	}
	return pl.fail(call(parts, pl.in))
}

// Partial tells about owner's partial of p.
func (f *FS) Partial(ctx context.Context, p vfs.Path, owner string) (fi fs.FileInfo, err error) {
	err = f.onPartial(ctx, p, func(parts vfs.Partials, in vfs.Path) error {
		fi, err = parts.Partial(ctx, in, owner)
		return err
	})
	return fi, err
}

// Names yields those of the tree that has the directory, but for what mount points
// hide.
func (f *FS) Names(ctx context.Context, dir vfs.Path, owner string) iter.Seq2[fs.FileInfo, error] {
	return func(yield func(fs.FileInfo, error) bool) {
		pl, err := f.find(ctx, dir)
		if err == nil && pl.tree == nil && !pl.point() {
			err = pl.missing()
		}
		if err != nil {
			yield(nil, err)
			return
		}
		parts, ok := pl.tree.(vfs.Partials)
		if !ok {
			return
		}
		for fi, err := range parts.Names(ctx, pl.in, owner) {
			if err != nil {
				yield(nil, pl.fail(err))
				return
			}
			if pl.point() && pl.last.kids[fi.Name()] != nil {
				continue
			}
			if !yield(fi, nil) {
				return
			}
		}
	}
}

// OpenPartial opens it, and returns that tree's own value.
func (f *FS) OpenPartial(ctx context.Context, p vfs.Path, owner string) (file vfs.File, err error) {
	err = f.onPartial(ctx, p, func(parts vfs.Partials, in vfs.Path) error {
		file, err = parts.OpenPartial(ctx, in, owner)
		return err
	})
	if err != nil {
		return nil, err
	}
	return file, nil
}

// Forget removes it.
func (f *FS) Forget(ctx context.Context, p vfs.Path, owner string) error {
	parts, pl, err := f.partials(ctx, p)
	if err != nil || parts == nil {
		return err
	}
	return pl.fail(parts.Forget(ctx, pl.in, owner))
}

// Clear removes the idle partials of owner in a directory of one tree.
func (f *FS) Clear(ctx context.Context, dir vfs.Path, owner string, freed func(sizeBytes int64)) error {
	pl, err := f.find(ctx, dir)
	switch {
	case err != nil:
		return err
	case pl.tree == nil && !pl.point():
		return pl.missing()
	}
	if parts, ok := pl.tree.(vfs.Partials); ok {
		return pl.fail(parts.Clear(ctx, pl.in, owner, freed))
	}
	return nil
}

// MovePartial gives it another name in the same tree, and is refused across two
// as Rename is.
func (f *FS) MovePartial(ctx context.Context, from, to vfs.Path, owner string) error {
	parts, a, err := f.partials(ctx, from)
	switch {
	case err != nil:
		return err
	case parts == nil:
		return a.missing()
	}
	b, err := f.find(ctx, to)
	if err != nil {
		return err
	}
	refusal := b.made()
	if refusal == nil && a.mount != b.mount {
		refusal = fault.New(fault.Denied, fault.IDAcrossMounts)
	}
	if refusal == nil {
		return a.told(parts.MovePartial(ctx, a.in, b.in, owner), a.in, b.in)
	}
	if _, err := parts.Partial(ctx, a.in, owner); err != nil {
		return a.fail(err) // where there is nothing to move, that comes first
	}
	return refusal
}

// SetPartialTime dates it.
func (f *FS) SetPartialTime(ctx context.Context, p vfs.Path, owner string, mtime time.Time) error {
	return f.onPartial(ctx, p, func(parts vfs.Partials, in vfs.Path) error { return parts.SetPartialTime(ctx, in, owner, mtime) })
}

// ChmodPartial sets its mode.
func (f *FS) ChmodPartial(ctx context.Context, p vfs.Path, owner string, mode fs.FileMode) error {
	return f.onPartial(ctx, p, func(parts vfs.Partials, in vfs.Path) error { return parts.ChmodPartial(ctx, in, owner, mode) })
}

// Sweep goes through every tree that keeps partials, also through what is hidden
// under mount points. A tree that fails does not keep the others from theirs.
func (f *FS) Sweep(ctx context.Context, before time.Time, freed func(sizeBytes int64)) error {
	var problems []error
	for _, tree := range f.trees {
		if ctx.Err() != nil {
			problems = append(problems, context.Cause(ctx))
			break
		}
		if parts, ok := tree.(vfs.Partials); ok {
			problems = append(problems, parts.Sweep(ctx, before, freed))
		}
	}
	return errors.Join(problems...)
}

// Measure is the sum of what the trees hold. A tree that can't measure is kind
// NotBuilt.
func (f *FS) Measure(ctx context.Context, owner string) (files int, sizeBytes int64, err error) {
	for _, tree := range f.trees {
		m, ok := tree.(vfs.Measurer)
		if !ok {
			return 0, 0, fault.New(fault.NotBuilt, fault.IDNotBuilt, "this tree can't be measured")
		}
		n, size, err := m.Measure(ctx, owner)
		if err != nil {
			return 0, 0, err
		}
		files, sizeBytes = files+n, sizeBytes+size
	}
	return files, sizeBytes, nil
}
