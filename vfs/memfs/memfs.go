// Package memfs is a tree of files in memory. It keeps the whole contract of
// vfs, cut uploads, modes and symbolic links included, so that protocols can be
// tested and whole sessions fuzzed without a disk: its room is bounded, its
// clock can be handed in, and its listings are sorted by name.
//
// It has no descriptors, so transfers take the road that copies. It knows no
// users: a mode is kept and shown and stops nobody.
package memfs

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"iter"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"dray/vfs"
)

var (
	_ vfs.FS         = (*Tree)(nil)
	_ vfs.Partials   = (*Tree)(nil)
	_ vfs.Linker     = (*Tree)(nil)
	_ vfs.Symlinker  = (*Tree)(nil)
	_ vfs.Moder      = (*Tree)(nil)
	_ vfs.Editor     = (*Tree)(nil)
	_ vfs.LinkTimer  = (*Tree)(nil)
	_ vfs.HardLinker = (*Tree)(nil)
	_ vfs.Spacer     = (*Tree)(nil)
)

// DefaultMaxBytes is the room of a tree that is given none, in bytes.
const DefaultMaxBytes = 1 << 30

// MaxHops is how many symbolic links one path may lead through; one more fails
// with syscall.ELOOP, as Linux has it.
const MaxHops = 40

// Options of a tree. The zero value is usable.
type Options struct {
	// MaxBytes bounds the lengths of all files together, uploads and partials
	// included. What would go beyond fails with kind NoSpace and changes
	// nothing. 0 means DefaultMaxBytes.
	MaxBytes int64
	// Now is the clock; nil means time.Now. It is called under the tree's lock
	// and must not use the tree.
	Now func() time.Time
}

// A Tree is a file tree in memory. Only New makes one. Closing it does nothing:
// it may be handed to several sessions, of which each closes it.
type Tree struct {
	max int64
	now func() time.Time

	mu     sync.Mutex // over everything below, and over every node
	root   *node
	used   int64
	inodes uint64
}

// A node is a file, a directory or a symbolic link.
type node struct {
	ino   uint64
	mode  fs.FileMode
	mtime time.Time
	names int // how many a directory shows it under

	data    []byte  // of a file
	writer  *upload // of a file: who writes it in place
	editors int     // of a file: how many have it open to change it

	target string // of a link

	up       *node // of a directory: the one it is in; the root's is the root
	kids     map[string]*node
	reserved map[string]bool   // names of uploads with New
	partials map[owned]*draft  // cut uploads
	resumed  map[owned]*upload // partials that an upload has taken
	running  int               // uploads that will come into this directory
}

// owned is the key of a partial in its directory.
type owned struct{ name, owner string }

// New makes an empty tree.
func New(opt Options) *Tree {
	t := &Tree{max: opt.MaxBytes, now: opt.Now}
	if t.max == 0 {
		t.max = DefaultMaxBytes
	}
	if t.now == nil {
		t.now = time.Now
	}
	t.root = t.node(fs.ModeDir | 0o755)
	t.root.up = t.root
	t.root.names = 1
	return t
}

func (t *Tree) node(mode fs.FileMode) *node {
	t.inodes++
	n := &node{ino: t.inodes, mode: mode, mtime: t.now()}
	if mode.IsDir() {
		n.kids = map[string]*node{}
		n.reserved = map[string]bool{}
		n.partials = map[owned]*draft{}
		n.resumed = map[owned]*upload{}
	}
	return n
}

// empty tells whether a directory may be removed. Unfinished uploads count,
// though no listing shows them.
func (n *node) empty() bool {
	return len(n.kids) == 0 && len(n.partials) == 0 && n.running == 0
}

// put gives n a name, instead of what had it.
func (t *Tree) put(dir *node, name string, n *node) {
	if old := dir.kids[name]; old != nil && old != n {
		t.drop(dir, name)
	}
	if dir.kids[name] != n {
		n.names++
	}
	dir.kids[name] = n
	dir.mtime = t.now()
	if n.mode.IsDir() {
		n.up = dir
	}
}

// take removes a name from its directory and leaves the node as it is.
func (t *Tree) take(dir *node, name string) {
	dir.kids[name].names--
	delete(dir.kids, name)
	dir.mtime = t.now()
}

// drop removes a name, and the node with its last one. The room of a file that is
// being written in place is given back when that ends.
func (t *Tree) drop(dir *node, name string) {
	n := dir.kids[name]
	t.take(dir, name)
	if n.names == 0 && n.writer == nil && n.editors == 0 {
		t.used -= int64(len(n.data))
	}
}

// resize gives a file's bytes another length, if there is room.
func (t *Tree) resize(n *node, size int64) error {
	grow := size - int64(len(n.data))
	switch {
	case grow > t.max-t.used:
		return syscall.ENOSPC
	case grow <= 0:
		n.data = n.data[:size]
		if int64(cap(n.data)) > 2*size+4096 {
			n.data = slices.Clone(n.data) // else the room is given back and the memory is not
		}
	default:
		old := len(n.data)
		n.data = slices.Grow(n.data, int(grow))[:size]
		clear(n.data[old:])
	}
	t.used += grow
	return nil
}

// A place is where a path leads. dir and name are missing when it leads to a
// directory by another way than its name (the root; a link to ".."); node is
// nil when nothing has the name.
type place struct {
	dir  *node
	name string
	node *node
}

// What happens when the last part of a path is a symbolic link.
type last int

const (
	follow last = iota
	noFollow
)

// find walks to p. The directory of the last part must exist.
func (t *Tree) find(p vfs.Path, l last) (place, error) {
	at := place{node: t.root}
	todo := strings.Split(p.String(), "/")
	for hops := 0; len(todo) > 0; {
		part := todo[0]
		todo = todo[1:]
		switch {
		case at.node == nil:
			return place{}, syscall.ENOENT
		case !at.node.mode.IsDir():
			return place{}, syscall.ENOTDIR
		case part == "" || part == ".":
			continue
		case part == "..":
			at = place{node: at.node.up}
			continue
		}
		dir := at.node
		n := dir.kids[part]
		if n == nil || n.mode.Type() != fs.ModeSymlink || (len(todo) == 0 && l == noFollow) {
			at = place{dir: dir, name: part, node: n}
			continue
		}
		if hops++; hops > MaxHops {
			return place{}, syscall.ELOOP
		}
		if strings.HasPrefix(n.target, "/") {
			dir = t.root
		}
		at = place{node: dir}
		todo = append(strings.Split(n.target, "/"), todo...)
	}
	return at, nil
}

// lookup is find for a name that must exist.
func (t *Tree) lookup(p vfs.Path, l last) (place, error) {
	at, err := t.find(p, l)
	if err == nil && at.node == nil {
		err = syscall.ENOENT
	}
	return at, err
}

func failed(op string, p vfs.Path, err error) error {
	return &fs.PathError{Op: op, Path: p.String(), Err: err}
}

// do runs one call under the lock and names its error.
func (t *Tree) do(ctx context.Context, op string, p vfs.Path, call func() error) error {
	if ctx.Err() != nil {
		return failed(op, p, context.Cause(ctx))
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := call(); err != nil {
		return failed(op, p, err)
	}
	return nil
}

// Stat follows symbolic links.
func (t *Tree) Stat(ctx context.Context, p vfs.Path) (fs.FileInfo, error) {
	return t.info(ctx, "stat", p, follow)
}

// Lstat does not follow the last link.
func (t *Tree) Lstat(ctx context.Context, p vfs.Path) (fs.FileInfo, error) {
	return t.info(ctx, "lstat", p, noFollow)
}

func (t *Tree) info(ctx context.Context, op string, p vfs.Path, l last) (fi fs.FileInfo, err error) {
	err = t.do(ctx, op, p, func() error {
		at, err := t.lookup(p, l)
		if err == nil {
			fi = at.node.info(p.Base())
		}
		return err
	})
	return fi, err
}

// List yields the entries sorted by name, as they were when it began.
func (t *Tree) List(ctx context.Context, p vfs.Path) iter.Seq2[fs.FileInfo, error] {
	return func(yield func(fs.FileInfo, error) bool) {
		var infos []fs.FileInfo
		err := t.do(ctx, "list", p, func() error {
			at, err := t.lookup(p, follow)
			if err != nil {
				return err
			}
			if !at.node.mode.IsDir() {
				return syscall.ENOTDIR
			}
			for _, name := range slices.Sorted(maps.Keys(at.node.kids)) {
				infos = append(infos, at.node.kids[name].info(name))
			}
			return nil
		})
		for _, fi := range infos {
			if ctx.Err() != nil {
				err = failed("list", p, context.Cause(ctx))
				break
			}
			if !yield(fi, nil) {
				return
			}
		}
		if err != nil {
			yield(nil, err)
		}
	}
}

// Open opens a file for reading. What is open can be read to its end though
// its name be removed or replaced.
func (t *Tree) Open(ctx context.Context, p vfs.Path) (vfs.File, error) {
	var f *file
	err := t.do(ctx, "open", p, func() error {
		at, err := t.lookup(p, follow)
		switch {
		case err != nil:
			return err
		case at.node.mode.IsDir():
			return syscall.EISDIR
		}
		f = &file{tree: t, node: at.node, name: p.Base()}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Mkdir makes a directory of mode 0755.
func (t *Tree) Mkdir(ctx context.Context, p vfs.Path) error {
	return t.do(ctx, "mkdir", p, func() error {
		at, err := t.find(p, noFollow)
		switch {
		case err != nil:
			return err
		case at.node != nil:
			return syscall.EEXIST
		}
		t.put(at.dir, at.name, t.node(fs.ModeDir|0o755))
		return nil
	})
}

// Remove removes a file or a link.
func (t *Tree) Remove(ctx context.Context, p vfs.Path) error {
	return t.do(ctx, "remove", p, func() error {
		at, err := t.lookup(p, noFollow)
		switch {
		case err != nil:
			return err
		case at.node.mode.IsDir():
			return syscall.EISDIR
		}
		t.drop(at.dir, at.name)
		return nil
	})
}

// RemoveDir removes a directory that holds nothing, not even an unfinished
// upload.
func (t *Tree) RemoveDir(ctx context.Context, p vfs.Path) error {
	return t.do(ctx, "rmdir", p, func() error {
		at, err := t.lookup(p, noFollow)
		switch {
		case err != nil:
			return err
		case !at.node.mode.IsDir():
			return syscall.ENOTDIR
		case at.dir == nil:
			return syscall.EBUSY
		case !at.node.empty():
			return syscall.ENOTEMPTY
		}
		t.drop(at.dir, at.name)
		return nil
	})
}

// Rename gives a file, link or directory another name.
func (t *Tree) Rename(ctx context.Context, from, to vfs.Path, how vfs.Rename) error {
	return t.do(ctx, "rename", from, func() error {
		a, err := t.lookup(from, noFollow)
		if err != nil {
			return err
		}
		b, err := t.find(to, noFollow)
		switch {
		case err != nil:
			return err
		case a.dir == nil, b.dir == nil:
			return syscall.EBUSY
		case b.node != nil && how == vfs.NoReplace:
			return syscall.EEXIST
		case a.node == b.node:
			return nil
		case a.node.mode.IsDir():
			for dir := b.dir; dir != t.root; dir = dir.up {
				if dir == a.node {
					return syscall.EINVAL
				}
			}
			if b.node != nil && !b.node.mode.IsDir() {
				return syscall.ENOTDIR
			}
			if b.node != nil && !b.node.empty() {
				return syscall.ENOTEMPTY
			}
		case b.node != nil && b.node.mode.IsDir():
			return syscall.EISDIR
		}
		t.take(a.dir, a.name)
		t.put(b.dir, b.name, a.node)
		return nil
	})
}

// SetTime dates a file or directory.
func (t *Tree) SetTime(ctx context.Context, p vfs.Path, mtime time.Time) error {
	return t.do(ctx, "settime", p, func() error {
		at, err := t.lookup(p, follow)
		if err == nil {
			at.node.mtime = mtime
		}
		return err
	})
}

// Hardlink gives a file another name.
func (t *Tree) Hardlink(ctx context.Context, old, p vfs.Path) error {
	return t.do(ctx, "link", p, func() error {
		from, err := t.lookup(old, noFollow)
		if err != nil {
			return err
		}
		at, err := t.find(p, noFollow)
		switch {
		case err != nil:
			return err
		case from.node.mode.IsDir():
			return syscall.EISDIR
		case !from.node.mode.IsRegular():
			return syscall.EPERM
		case at.node != nil || at.dir == nil || at.dir.reserved[at.name]:
			return syscall.EEXIST
		}
		t.put(at.dir, at.name, from.node)
		return nil
	})
}

// SetLinkTime sets the time of a link itself.
func (t *Tree) SetLinkTime(ctx context.Context, p vfs.Path, mtime time.Time) error {
	return t.do(ctx, "settime", p, func() error {
		at, err := t.find(p, noFollow)
		if err == nil && at.node == nil {
			err = syscall.ENOENT
		}
		if err == nil {
			at.node.mtime = mtime
		}
		return err
	})
}

// Chmod sets the lowest nine bits of a mode.
func (t *Tree) Chmod(ctx context.Context, p vfs.Path, mode fs.FileMode) error {
	return t.do(ctx, "chmod", p, func() error {
		at, err := t.lookup(p, follow)
		if err == nil {
			at.node.mode = at.node.mode.Type() | mode.Perm()
		}
		return err
	})
}

// Readlink tells where a link points; kind BadName when p is no link.
func (t *Tree) Readlink(ctx context.Context, p vfs.Path) (target string, err error) {
	err = t.do(ctx, "readlink", p, func() error {
		at, err := t.lookup(p, noFollow)
		switch {
		case err != nil:
			return err
		case at.node.mode.Type() != fs.ModeSymlink:
			return syscall.EINVAL
		}
		target = at.node.target
		return nil
	})
	return target, err
}

// Symlink makes a symbolic link, of targets that vfs.Path.CheckTarget lets pass.
func (t *Tree) Symlink(ctx context.Context, target string, p vfs.Path) error {
	if err := p.CheckTarget(target); err != nil {
		return failed("symlink", p, err)
	}
	return t.link(ctx, target, p)
}

func (t *Tree) link(ctx context.Context, target string, p vfs.Path) error {
	return t.do(ctx, "symlink", p, func() error {
		at, err := t.find(p, noFollow)
		switch {
		case err != nil:
			return err
		case at.node != nil:
			return syscall.EEXIST
		}
		n := t.node(fs.ModeSymlink | 0o777)
		n.target = target
		t.put(at.dir, at.name, n)
		return nil
	})
}

// Space tells what is left of MaxBytes.
func (t *Tree) Space(ctx context.Context, p vfs.Path) (free, total uint64, err error) {
	err = t.do(ctx, "space", p, func() error {
		_, err := t.lookup(p, follow)
		free, total = uint64(t.max-t.used), uint64(t.max)
		return err
	})
	return free, total, err
}

// Close does nothing.
func (t *Tree) Close() error { return nil }

// A file is open for reading.
type file struct {
	tree   *Tree
	node   *node
	name   string
	closed bool // under the tree's lock
}

func (f *file) ReadAt(b []byte, off int64) (int, error) {
	f.tree.mu.Lock()
	defer f.tree.mu.Unlock()
	if f.closed {
		return 0, fs.ErrClosed
	}
	return f.node.readAt(b, off)
}

func (f *file) Stat() (fs.FileInfo, error) {
	f.tree.mu.Lock()
	defer f.tree.mu.Unlock()
	if f.closed {
		return nil, fs.ErrClosed
	}
	return f.node.info(f.name), nil
}

func (f *file) Close() error {
	f.tree.mu.Lock()
	defer f.tree.mu.Unlock()
	if f.closed {
		return fs.ErrClosed
	}
	f.closed = true
	return nil
}

func (n *node) readAt(b []byte, off int64) (int, error) {
	if off < 0 {
		return 0, syscall.EINVAL
	}
	if off >= int64(len(n.data)) {
		if len(b) == 0 {
			return 0, nil
		}
		return 0, io.EOF
	}
	c := copy(b, n.data[off:])
	if c < len(b) {
		return c, io.EOF
	}
	return c, nil
}

func (t *Tree) writeAt(n *node, b []byte, off int64) (int, error) {
	switch {
	case off < 0:
		return 0, syscall.EINVAL
	case off > math.MaxInt64-int64(len(b)):
		return 0, syscall.EFBIG
	case len(b) == 0:
		return 0, nil
	}
	if end := off + int64(len(b)); end > int64(len(n.data)) {
		if err := t.resize(n, end); err != nil {
			return 0, err
		}
	}
	n.mtime = t.now()
	return copy(n.data[off:], b), nil
}

// info is a node as it is now.
func (n *node) info(name string) fs.FileInfo {
	fi := &info{name: name, mode: n.mode, mtime: n.mtime, attr: vfs.Attr{Links: uint64(max(n.names, 1)), Dev: 1, Ino: n.ino}}
	switch n.mode.Type() {
	case fs.ModeDir:
		fi.attr.Links = 2
		for _, kid := range n.kids {
			if kid.mode.IsDir() {
				fi.attr.Links++
			}
		}
	case fs.ModeSymlink:
		fi.size = int64(len(n.target))
	default:
		fi.size = int64(len(n.data))
		fi.attr.Links = uint64(n.names)
	}
	return fi
}

type info struct {
	name  string
	size  int64
	mode  fs.FileMode
	mtime time.Time
	attr  vfs.Attr
}

func (fi *info) Name() string       { return fi.name }
func (fi *info) Size() int64        { return fi.size }
func (fi *info) Mode() fs.FileMode  { return fi.mode }
func (fi *info) ModTime() time.Time { return fi.mtime }
func (fi *info) IsDir() bool        { return fi.mode.IsDir() }
func (fi *info) Sys() any           { return &fi.attr }

// ReadFile returns the content of a file. Here and in the helpers below a path
// is read as vfs.Resolve reads it, relative to the root.
func (t *Tree) ReadFile(path string) ([]byte, error) {
	p, err := vfs.Resolve(vfs.Root, path)
	if err != nil {
		return nil, err
	}
	var b []byte
	err = t.do(context.Background(), "read", p, func() error {
		at, err := t.lookup(p, follow)
		switch {
		case err != nil:
			return err
		case at.node.mode.IsDir():
			return syscall.EISDIR
		}
		b = slices.Clone(at.node.data)
		return nil
	})
	return b, err
}

// WriteFile makes a file, or replaces its content as an upload does. It makes
// the directories that are missing.
func (t *Tree) WriteFile(path string, b []byte) error {
	p, err := vfs.Resolve(vfs.Root, path)
	if err != nil {
		return err
	}
	if err := t.MkdirAll(p.Dir().String()); err != nil {
		return err
	}
	ctx := context.Background()
	up, err := t.Create(ctx, p, vfs.Create{})
	if err != nil {
		return err
	}
	_, err = up.WriteAt(b, 0)
	if err == nil {
		err = up.Commit(ctx)
	}
	if err != nil {
		return errors.Join(err, up.Discard())
	}
	return nil
}

// MkdirAll makes a directory and those above it; those that exist stay.
func (t *Tree) MkdirAll(path string) error {
	p, err := vfs.Resolve(vfs.Root, path)
	if err != nil || p.IsRoot() {
		return err
	}
	if err := t.MkdirAll(p.Dir().String()); err != nil {
		return err
	}
	return t.do(context.Background(), "mkdir", p, func() error {
		at, err := t.find(p, follow)
		switch {
		case err != nil:
			return err
		case at.node == nil:
			t.put(at.dir, at.name, t.node(fs.ModeDir|0o755))
		case !at.node.mode.IsDir():
			return syscall.ENOTDIR
		}
		return nil
	})
}

// Link makes a symbolic link at a path, also one that Symlink refuses: it is how
// a test gets a tree that somebody else filled. A target that begins with a
// slash is looked up from the root of the tree; ".." stays inside.
func (t *Tree) Link(path, target string) error {
	p, err := vfs.Resolve(vfs.Root, path)
	if err != nil {
		return err
	}
	return t.link(context.Background(), target, p)
}
