// Package mount is several trees under one root. It is names only: each path
// belongs to exactly one of the trees, which is asked under the path as it knows
// it, and whose files and uploads are handed on as they are, descriptors
// included. It holds no bytes, follows no links and checks no rights.
//
// A tree shows at its mount point, and hides whatever the tree around it has
// under that name. The directories above a mount point are there in any case:
// where the tree around it has none of that name (or a link, or a file, which
// are hidden too), the directory is virtual, and holds nothing but the way to
// the mount points below. Mount points, and the directories that lead to them,
// can't be removed, renamed or replaced under their paths, and in virtual ones
// nothing can be made.
//
// Every tree stays its own jail. A symbolic link is followed by the tree that
// has it and never leads into another one: where its target, or a path through a
// linked directory, passes a mount point by name, the tree goes on to what it
// has there itself, which no other path shows.
package mount

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"dray/fault"
	"dray/vfs"
)

var (
	_ vfs.FS         = (*FS)(nil)
	_ vfs.Partials   = (*FS)(nil)
	_ vfs.Linker     = (*FS)(nil)
	_ vfs.Symlinker  = (*FS)(nil)
	_ vfs.HardLinker = (*FS)(nil)
	_ vfs.LinkTimer  = (*FS)(nil)
	_ vfs.Moder      = (*FS)(nil)
	_ vfs.Editor     = (*FS)(nil)
	_ vfs.Spacer     = (*FS)(nil)
	_ vfs.Measurer   = (*FS)(nil)
)

// A Mount is a tree and the path under which it shows.
type Mount struct {
	At vfs.Path
	FS vfs.FS
}

// An FS is several trees as one. It never changes once it is made. What is
// optional in vfs it offers always: where the tree of a path has no partials
// there are none to find, and where it lacks links, modes or room the error is of
// kind NotBuilt.
type FS struct {
	top   *point
	trees []vfs.FS
	made  time.Time // the date of virtual directories
}

// A point is a path that the mounts give a meaning: one of them is there, or the
// path leads to one.
type point struct {
	at   vfs.Path
	up   *point            // nil above the top
	tree vfs.FS            // nil where nothing is mounted
	kids map[string]*point // by name
}

// New puts trees together. root is the tree of "/"; where it is nil and nothing is
// mounted there either, "/" is a virtual directory. Two trees can't have the same
// path. The FS owns the trees, of which Close closes each; an error leaves them to
// the caller.
func New(root vfs.FS, mounts []Mount) (*FS, error) {
	f := &FS{top: &point{tree: root, kids: map[string]*point{}}, made: time.Now()}
	if root != nil {
		f.trees = append(f.trees, root)
	}
	for _, m := range mounts {
		if m.FS == nil {
			return nil, fmt.Errorf("mount %s: there is no tree", m.At)
		}
		pt := f.top
		for name := range parts(m.At) {
			if pt.kids[name] == nil {
				at, err := pt.at.Join(name)
				if err != nil {
					return nil, fmt.Errorf("mount %s: %w", m.At, err)
				}
				pt.kids[name] = &point{at: at, up: pt, kids: map[string]*point{}}
			}
			pt = pt.kids[name]
		}
		if pt.tree != nil {
			return nil, fmt.Errorf("mount %s: another tree is mounted there", m.At)
		}
		pt.tree = m.FS
		f.trees = append(f.trees, m.FS)
	}
	return f, nil
}

// parts are the names on the way from the root.
func parts(p vfs.Path) iter.Seq[string] {
	if p.IsRoot() {
		return func(func(string) bool) {}
	}
	return strings.SplitSeq(p.Rel(), "/")
}

// A place is what the mounts say about a path.
type place struct {
	path  vfs.Path
	last  *point   // the last point on the way; it is the path itself when point says so
	tree  vfs.FS   // whose path it is; nil: last is a virtual directory
	mount *point   // where that tree is mounted
	in    vfs.Path // the path inside of it
}

// point tells whether the path is a mount point or leads to one.
func (pl *place) point() bool { return pl.last.at == pl.path }

// find asks no tree, except about directories that lead from its own mount point
// to others: whether it has them decides whether they are virtual.
func (f *FS) find(ctx context.Context, p vfs.Path) (place, error) {
	if ctx.Err() != nil {
		return place{}, context.Cause(ctx)
	}
	pl := place{path: p, last: f.top, mount: f.top}
	for name := range parts(p) {
		next := pl.last.kids[name]
		if next == nil {
			break
		}
		pl.last = next
		if next.tree != nil {
			pl.mount = next
		}
	}
	if pl.mount.tree == nil {
		return pl, nil
	}
	for way := pl.last; way != pl.mount; way = way.up {
		in, _ := way.at.Below(pl.mount.at)
		fi, err := pl.mount.tree.Lstat(ctx, in)
		switch {
		case err == nil && fi.IsDir():
			continue
		case err != nil && !slices.Contains([]fault.Kind{fault.NotFound, fault.NotDir, fault.Denied}, fault.KindOf(err)):
			return place{}, pl.told(err, in)
		}
		return pl, nil
	}
	pl.tree = pl.mount.tree
	pl.in, _ = p.Below(pl.mount.at)
	return pl, nil
}

// told is an error of the tree about some of its paths, where they are those that
// the caller knows: the facts of an error go into a sentence for a peer.
func (pl *place) told(err error, in ...vfs.Path) error {
	var fe *fault.Error
	if err == nil || pl.mount.at.IsRoot() || !errors.As(err, &fe) {
		return err
	}
	facts := slices.Clone(fe.Facts)
	for i, fact := range facts {
		for _, p := range in {
			if fact == p.String() {
				facts[i] = pl.mount.at.String() + strings.TrimSuffix(p.String(), "/")
			}
		}
	}
	return fault.Because(err, fe.Kind, fe.ID, facts...)
}

// fail is told about the place itself.
func (pl *place) fail(err error) error { return pl.told(err, pl.in) }

// fixed refuses a change of a directory that the mounts put there.
func fixed(p vfs.Path) error {
	return fault.New(fault.Denied, fault.IDFixedDir, p.String())
}

// missing is the error about a name in a virtual directory, which is no point.
func (pl *place) missing() error {
	return fault.New(fault.NotFound, fault.IDNotFound, pl.path.String())
}

// made is the error of making the name, when the mounts forbid it: a point is
// there already, and a virtual directory takes nothing.
func (pl *place) made() error {
	switch {
	case pl.point():
		return fault.New(fault.Exists, fault.IDExists, pl.path.String())
	case pl.tree != nil:
		return nil
	case pl.path.Dir() == pl.last.at:
		return fixed(pl.last.at)
	}
	return pl.missing()
}

// on runs call on what has the name: a tree's, or kind NotFound. A virtual
// directory can't be changed.
func (f *FS) on(ctx context.Context, p vfs.Path, call func(tree vfs.FS, in vfs.Path) error) error {
	pl, err := f.find(ctx, p)
	switch {
	case err != nil:
		return err
	case pl.tree != nil:
		return pl.fail(call(pl.tree, pl.in))
	case pl.point():
		return fixed(p)
	}
	return pl.missing()
}

// lacks is the error of a tree that does not have what was asked for.
func lacks(what string) error {
	return fault.New(fault.NotBuilt, fault.IDNotBuilt, "the directory has no "+what)
}

// Stat follows links inside of the tree that has p.
func (f *FS) Stat(ctx context.Context, p vfs.Path) (fs.FileInfo, error) {
	return f.info(ctx, p, vfs.FS.Stat)
}

// Lstat does not follow the last link. A mount point is a directory.
func (f *FS) Lstat(ctx context.Context, p vfs.Path) (fs.FileInfo, error) {
	return f.info(ctx, p, vfs.FS.Lstat)
}

func (f *FS) info(ctx context.Context, p vfs.Path, stat func(vfs.FS, context.Context, vfs.Path) (fs.FileInfo, error)) (fs.FileInfo, error) {
	pl, err := f.find(ctx, p)
	switch {
	case err != nil:
		return nil, err
	case pl.tree == nil && pl.point():
		return f.virtual(pl.last), nil
	case pl.tree == nil:
		return nil, pl.missing()
	}
	fi, err := stat(pl.tree, ctx, pl.in)
	if err != nil {
		return nil, pl.fail(err)
	}
	if pl.in.IsRoot() && !p.IsRoot() {
		return &named{FileInfo: fi, name: p.Base()}, nil // to the tree it is "/"
	}
	return fi, nil
}

// List yields the mount points in p, and the directories that lead to some, in
// the order of their names, then what else the tree has. A mount point whose
// tree does not answer is shown all the same, as an empty directory.
func (f *FS) List(ctx context.Context, p vfs.Path) iter.Seq2[fs.FileInfo, error] {
	return func(yield func(fs.FileInfo, error) bool) {
		pl, err := f.find(ctx, p)
		if err == nil && pl.tree == nil && !pl.point() {
			err = pl.missing()
		}
		if err != nil {
			yield(nil, err)
			return
		}
		var kids map[string]*point
		if pl.point() {
			kids = pl.last.kids
		}
		for _, name := range slices.Sorted(maps.Keys(kids)) {
			fi, err := f.Lstat(ctx, kids[name].at)
			if ctx.Err() != nil {
				yield(nil, context.Cause(ctx))
				return
			}
			if err != nil {
				fi = f.virtual(kids[name])
			}
			if !yield(fi, nil) {
				return
			}
		}
		if pl.tree == nil {
			return
		}
		for fi, err := range pl.tree.List(ctx, pl.in) {
			if err != nil {
				yield(nil, pl.fail(err))
				return
			}
			if kids[fi.Name()] == nil && !yield(fi, nil) {
				return
			}
		}
	}
}

// Open opens a file of the tree that has it, and returns that tree's own value.
func (f *FS) Open(ctx context.Context, p vfs.Path) (vfs.File, error) {
	pl, err := f.find(ctx, p)
	switch {
	case err != nil:
		return nil, err
	case pl.point():
		return nil, fault.New(fault.IsDir, fault.IDIsDir, p.String())
	case pl.tree == nil:
		return nil, pl.missing()
	}
	file, err := pl.tree.Open(ctx, pl.in)
	if err != nil {
		return nil, pl.fail(err)
	}
	return file, nil
}

// Create begins an upload in the tree that has p, and returns that tree's own
// value.
func (f *FS) Create(ctx context.Context, p vfs.Path, how vfs.Create) (vfs.Upload, error) {
	pl, err := f.find(ctx, p)
	switch {
	case err != nil:
		return nil, err
	case pl.point() && how.How != vfs.New:
		return nil, fault.New(fault.IsDir, fault.IDIsDir, p.String())
	case pl.tree == nil && (how.How == vfs.InPlace || how.How == vfs.Resume):
		return nil, pl.missing()
	}
	if err := pl.made(); err != nil {
		return nil, err
	}
	up, err := pl.tree.Create(ctx, pl.in, how)
	if err != nil {
		return nil, pl.fail(err)
	}
	return up, nil
}

// Edit opens a file of the tree that has p, and returns that tree's own value.
func (f *FS) Edit(ctx context.Context, p vfs.Path) (vfs.Edited, error) {
	pl, err := f.find(ctx, p)
	switch {
	case err != nil:
		return nil, err
	case pl.point():
		return nil, fault.New(fault.IsDir, fault.IDIsDir, p.String())
	case pl.tree == nil:
		return nil, pl.missing()
	}
	e, ok := pl.tree.(vfs.Editor)
	if !ok {
		return nil, lacks("files to be changed where they are")
	}
	file, err := e.Edit(ctx, pl.in)
	if err != nil {
		return nil, pl.fail(err)
	}
	return file, nil
}

// Make makes a file in the tree that has p, and returns that tree's own value.
func (f *FS) Make(ctx context.Context, p vfs.Path, mode fs.FileMode) (file vfs.Edited, err error) {
	err = f.make(ctx, p, func(tree vfs.FS, in vfs.Path) (err error) {
		e, ok := tree.(vfs.Editor)
		if !ok {
			return lacks("files to be changed where they are")
		}
		file, err = e.Make(ctx, in, mode)
		return err
	})
	return file, err
}

// Mkdir makes a directory in the tree that has p.
func (f *FS) Mkdir(ctx context.Context, p vfs.Path) error {
	return f.make(ctx, p, func(tree vfs.FS, in vfs.Path) error { return tree.Mkdir(ctx, in) })
}

// Symlink makes a link in the tree that has p. That tree decides about the
// target, which can't lead into another one.
func (f *FS) Symlink(ctx context.Context, target string, p vfs.Path) error {
	return f.make(ctx, p, func(tree vfs.FS, in vfs.Path) error {
		if s, ok := tree.(vfs.Symlinker); ok {
			return s.Symlink(ctx, target, in)
		}
		return lacks("symbolic links to make")
	})
}

func (f *FS) make(ctx context.Context, p vfs.Path, call func(tree vfs.FS, in vfs.Path) error) error {
	pl, err := f.find(ctx, p)
	if err != nil {
		return err
	}
	if err := pl.made(); err != nil {
		return err
	}
	return pl.fail(call(pl.tree, pl.in))
}

// Remove removes what is no directory.
func (f *FS) Remove(ctx context.Context, p vfs.Path) error {
	pl, err := f.find(ctx, p)
	switch {
	case err != nil:
		return err
	case pl.point():
		return fault.New(fault.IsDir, fault.IDIsDir, p.String())
	case pl.tree == nil:
		return pl.missing()
	}
	return pl.fail(pl.tree.Remove(ctx, pl.in))
}

// RemoveDir removes an empty directory that is no mount point and leads to none:
// those are of kind Denied.
func (f *FS) RemoveDir(ctx context.Context, p vfs.Path) error {
	pl, err := f.find(ctx, p)
	switch {
	case err != nil:
		return err
	case pl.point():
		return fixed(p)
	case pl.tree == nil:
		return pl.missing()
	}
	return pl.fail(pl.tree.RemoveDir(ctx, pl.in))
}

// Rename moves a name inside of one tree. From one to another it is refused with
// kind Denied and id across-mounts, and changes nothing: it would be a copy, which
// the caller can make, with its rights, quota and progress.
func (f *FS) Rename(ctx context.Context, from, to vfs.Path, how vfs.Rename) error {
	a, err := f.find(ctx, from)
	switch {
	case err != nil:
		return err
	case a.point():
		return fixed(from)
	case a.tree == nil:
		return a.missing()
	}
	b, err := f.find(ctx, to)
	switch {
	case err != nil:
		return err
	case b.point() && how != vfs.NoReplace:
		return fixed(to)
	}
	if err := b.made(); err != nil {
		return err
	}
	if a.mount != b.mount {
		if _, err := a.tree.Lstat(ctx, a.in); err != nil {
			return a.fail(err)
		}
		return fault.New(fault.Denied, fault.IDAcrossMounts)
	}
	return a.told(a.tree.Rename(ctx, a.in, b.in, how), a.in, b.in)
}

// Hardlink gives a file another name in the same tree. Into another one it is refused
// with kind Denied and id across-mounts.
func (f *FS) Hardlink(ctx context.Context, old, p vfs.Path) error {
	a, err := f.find(ctx, old)
	switch {
	case err != nil:
		return err
	case a.point():
		return fault.New(fault.IsDir, fault.IDIsDir, old.String())
	case a.tree == nil:
		return a.missing()
	}
	b, err := f.find(ctx, p)
	if err != nil {
		return err
	}
	if err := b.made(); err != nil {
		return err
	}
	if a.mount != b.mount {
		return fault.New(fault.Denied, fault.IDAcrossMounts)
	}
	l, ok := a.tree.(vfs.HardLinker)
	if !ok {
		return lacks("hard links")
	}
	return a.told(l.Hardlink(ctx, a.in, b.in), a.in, b.in)
}

// SetLinkTime dates a link itself.
func (f *FS) SetLinkTime(ctx context.Context, p vfs.Path, mtime time.Time) error {
	pl, err := f.find(ctx, p)
	switch {
	case err != nil:
		return err
	case pl.point():
		return fixed(p)
	case pl.tree == nil:
		return pl.missing()
	}
	l, ok := pl.tree.(vfs.LinkTimer)
	if !ok {
		return lacks("times of links")
	}
	return pl.fail(l.SetLinkTime(ctx, pl.in, mtime))
}

// SetTime dates what p leads to, a mounted directory too.
func (f *FS) SetTime(ctx context.Context, p vfs.Path, mtime time.Time) error {
	return f.on(ctx, p, func(tree vfs.FS, in vfs.Path) error { return tree.SetTime(ctx, in, mtime) })
}

// Chmod sets the mode of what p leads to, a mounted directory too.
func (f *FS) Chmod(ctx context.Context, p vfs.Path, mode fs.FileMode) error {
	return f.on(ctx, p, func(tree vfs.FS, in vfs.Path) error {
		if m, ok := tree.(vfs.Moder); ok {
			return m.Chmod(ctx, in, mode)
		}
		return lacks("permission bits")
	})
}

// Readlink tells what a link holds; kind BadName when p is none.
func (f *FS) Readlink(ctx context.Context, p vfs.Path) (target string, err error) {
	pl, err := f.find(ctx, p)
	switch {
	case err != nil:
		return "", err
	case pl.point():
		return "", fault.New(fault.BadName, fault.IDBadName, "it is no symbolic link")
	case pl.tree == nil:
		return "", pl.missing()
	}
	l, ok := pl.tree.(vfs.Linker)
	if !ok {
		return "", lacks("symbolic links")
	}
	target, err = l.Readlink(ctx, pl.in)
	return target, pl.fail(err)
}

// Space is the room in the tree that has p. In a virtual directory there is none.
func (f *FS) Space(ctx context.Context, p vfs.Path) (free, total uint64, err error) {
	pl, err := f.find(ctx, p)
	switch {
	case err != nil:
		return 0, 0, err
	case pl.tree == nil && pl.point():
		return 0, 0, nil
	case pl.tree == nil:
		return 0, 0, pl.missing()
	}
	s, ok := pl.tree.(vfs.Spacer)
	if !ok {
		return 0, 0, lacks("room that is known")
	}
	free, total, err = s.Space(ctx, pl.in)
	return free, total, pl.fail(err)
}

// Close closes every tree.
func (f *FS) Close() error {
	var problems []error
	for _, tree := range f.trees {
		problems = append(problems, tree.Close())
	}
	return errors.Join(problems...)
}

// virtual is a point that no tree tells about.
func (f *FS) virtual(pt *point) fs.FileInfo {
	return &virtual{name: pt.at.Base(), made: f.made, attr: vfs.Attr{Links: 2 + uint64(len(pt.kids))}}
}

// A virtual is a directory that is in no tree. Its Attr has no Dev and Ino.
type virtual struct {
	name string
	made time.Time
	attr vfs.Attr
}

func (v *virtual) Name() string       { return v.name }
func (v *virtual) Size() int64        { return 0 }
func (v *virtual) Mode() fs.FileMode  { return fs.ModeDir | 0o555 }
func (v *virtual) ModTime() time.Time { return v.made }
func (v *virtual) IsDir() bool        { return true }
func (v *virtual) Sys() any           { return &v.attr }

// A named is the root of a tree under the name of its mount point.
type named struct {
	fs.FileInfo
	name string
}

func (n *named) Name() string { return n.name }
