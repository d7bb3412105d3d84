// Package osfs is a vfs.FS over a directory of this machine. The tree is jailed
// by the directory's handle: on Linux every path is resolved by openat2 with
// RESOLVE_BENEATH, elsewhere (and where that call is missing) by os.Root, so
// neither ".." nor a symbolic link nor a race leads out of it. Absolute links
// are refused, also those that point inside.
//
// Uploads are written to a hidden name beside their target and renamed by
// Commit (upload.go). What a dead process left behind is put right by Sweep
// (sweep.go). A tree may have an owner, whose rights its operations have
// (owner.go).
package osfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"log/slog"
	"os"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"dray/fault"
	"dray/vfs"
)

// A Durability says when Commit may return.
type Durability int

const (
	// SyncCommit: the file and its directory are on the disk.
	SyncCommit Durability = iota
	// SyncNone: the kernel has them; a crash of the machine may lose them.
	SyncNone
)

// A Disk is what the trees of one process share: write locks on files, names
// reserved for exclusive uploads, and flushes of directories, which are grouped
// over concurrent uploads. Open trees of the same files from the same Disk.
type Disk struct {
	durability atomic.Int32
	log        *slog.Logger

	mu       sync.Mutex
	writing  map[fileID]struct{}   // files being appended to in place
	reserved map[nameID]struct{}   // names of New uploads
	flushes  map[fileID]*dirFlush  // directories being flushed
	hook     func(op string) error // tests: called before each step of an upload
	notes    bool                  // tests: as on a file system without extended attributes
}

type fileID struct{ dev, ino uint64 }

type nameID struct {
	dir  fileID
	name string
}

// NewDisk makes a Disk. log may be nil.
func NewDisk(d Durability, log *slog.Logger) *Disk {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	disk := &Disk{
		log:     log,
		writing: map[fileID]struct{}{}, reserved: map[nameID]struct{}{}, flushes: map[fileID]*dirFlush{},
	}
	disk.SetDurability(d)
	return disk
}

// SetDurability changes it for commits that begin from now on.
func (d *Disk) SetDurability(to Durability) { d.durability.Store(int32(to)) }

func (d *Disk) durable() bool { return Durability(d.durability.Load()) == SyncCommit }

// A Tree is one jailed directory.
type Tree struct {
	disk  *Disk
	jail  jail
	guise *guise // nil: everything is done as this process

	straight bool // no link is followed
}

var (
	_ vfs.FS         = (*Tree)(nil)
	_ vfs.Partials   = (*Tree)(nil)
	_ vfs.Linker     = (*Tree)(nil)
	_ vfs.Looker     = (*Tree)(nil)
	_ vfs.Symlinker  = (*Tree)(nil)
	_ vfs.HardLinker = (*Tree)(nil)
	_ vfs.LinkTimer  = (*Tree)(nil)
	_ vfs.Moder      = (*Tree)(nil)
	_ vfs.Spacer     = (*Tree)(nil)
	_ vfs.Kernel     = (*file)(nil)
)

// Open opens the tree of a directory, which must exist.
func (d *Disk) Open(dir string) (*Tree, error) {
	j, err := openJail(dir)
	if err != nil {
		return nil, fmt.Errorf("open tree: %w", err)
	}
	return &Tree{disk: d, jail: j}, nil
}

// Straight makes t follow no symbolic link at all, before anything else uses it:
// for those who check more of a path than the tree does, because a link may change
// between the check and the use. Links are still listed, read, renamed and
// removed. It needs openat2 (Linux 5.6), else the error wraps errors.ErrUnsupported.
func (t *Tree) Straight() error {
	j, ok := t.jail.(interface{ straight() })
	if !ok {
		return fmt.Errorf("follow no links: it needs openat2, of Linux 5.6: %w", errors.ErrUnsupported)
	}
	j.straight()
	t.straight = true
	return nil
}

// Close releases the directory. Files and uploads that are open go on.
func (t *Tree) Close() error { return t.jail.close() }

// Stat follows links inside the tree.
func (t *Tree) Stat(ctx context.Context, p vfs.Path) (fs.FileInfo, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	return t.stat(p, true)
}

func (t *Tree) stat(p vfs.Path, follow bool) (fs.FileInfo, error) {
	var i *info
	err := t.as(func() (err error) {
		i, err = t.jail.stat(p.Rel(), follow)
		return err
	})
	if err != nil {
		return nil, err // and no *info of nil, which is a FileInfo
	}
	return i, nil
}

// Lstat does not follow the last link.
func (t *Tree) Lstat(ctx context.Context, p vfs.Path) (fs.FileInfo, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	return t.stat(p, false)
}

// List opens the directory once and looks at each entry relative to it.
func (t *Tree) List(ctx context.Context, p vfs.Path) iter.Seq2[fs.FileInfo, error] {
	return func(yield func(fs.FileInfo, error) bool) {
		if err := context.Cause(ctx); err != nil {
			yield(nil, err)
			return
		}
		f, err := t.open(p, os.O_RDONLY|openDirectory)
		if err != nil {
			yield(nil, err)
			return
		}
		defer f.Close()
		list(ctx, f, t.guise, yield)
	}
}

// Look opens the directory once, and looks at all of it relative to that.
func (t *Tree) Look(ctx context.Context, p vfs.Path, owner string) (vfs.Sight, error) {
	var seen vfs.Sight
	err := t.as(func() error {
		d, name, file, err := t.locate(ctx, p)
		if err != nil {
			return err
		}
		defer d.close()
		if file != nil {
			seen.File = file
		}
		dir, err := d.info()
		if err != nil {
			return err
		}
		seen.Dir = dir
		if owner == "" {
			return nil
		}
		if part, err := d.lstat(partialName(name, owner)); err == nil && part.mode.IsRegular() {
			seen.Partial = part
		}
		return nil
	})
	return seen, err
}

// NoLinks asks the system to resolve p without following any.
func (t *Tree) NoLinks(ctx context.Context, p vfs.Path) bool {
	if p.IsRoot() {
		return true
	}
	j, ok := t.jail.(interface{ noLinks(rel string) bool })
	if !ok || ctx.Err() != nil {
		return false
	}
	plain := false
	_ = t.as(func() error {
		plain = j.noLinks(p.Rel())
		return nil
	})
	return plain
}

// OSFile is the file itself; the kernel may send it.
func (f *file) OSFile() *os.File { return f.File }

// Open refuses everything but regular files, without blocking on any of them.
func (t *Tree) Open(ctx context.Context, p vfs.Path) (vfs.File, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	f, err := t.open(p, os.O_RDONLY|openNonblock)
	if err != nil {
		if fi, serr := t.stat(p, true); serr == nil {
			if kerr := regular(fi, p); kerr != nil { // a socket or device answers open with an errno of its own
				return nil, kerr
			}
		}
		return nil, err
	}
	fi, err := f.Stat()
	if err == nil {
		err = regular(fi, p)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return &file{File: f}, nil
}

// open opens what p leads to, for reading.
func (t *Tree) open(p vfs.Path, flags int) (f *os.File, err error) {
	err = t.as(func() (err error) {
		f, err = t.jail.open(p.Rel(), flags, 0)
		return err
	})
	return f, err
}

// regular refuses what is not a regular file.
func regular(fi fs.FileInfo, p vfs.Path) error {
	switch {
	case fi.Mode().IsRegular():
		return nil
	case fi.IsDir():
		return fault.New(fault.IsDir, fault.IDIsDir, p.String())
	}
	return fault.New(fault.Denied, fault.IDNotRegular, p.String())
}

// parent opens the directory that holds p, which is not the root. It runs as the
// owner, as entry, locate and existing do.
func (t *Tree) parent(ctx context.Context, p vfs.Path) (handle, string, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, "", err
	}
	if p.IsRoot() {
		return nil, "", fault.New(fault.Denied, fault.IDPerm, "change the root directory itself")
	}
	d, err := t.jail.dir(p.Dir().Rel())
	return d, p.Base(), err
}

// entry is parent with what the name is, a link itself; nil when there is none.
func (t *Tree) entry(ctx context.Context, p vfs.Path) (handle, string, *info, error) {
	if p.IsRoot() {
		return nil, "", nil, fault.New(fault.IsDir, fault.IDIsDir, p.String())
	}
	d, name, err := t.parent(ctx, p)
	if err != nil {
		return nil, "", nil, err
	}
	i, err := d.lstat(name)
	if err != nil && !os.IsNotExist(err) {
		_ = d.close()
		return nil, "", nil, err
	}
	return d, name, i, nil
}

// locate is parent with the links at the last part followed: the directory and
// name where the file really is or would be made. info is nil when there is no
// such file yet.
func (t *Tree) locate(ctx context.Context, p vfs.Path) (handle, string, *info, error) {
	if p.IsRoot() {
		return nil, "", nil, fault.New(fault.IsDir, fault.IDIsDir, p.String())
	}
	dir, name := p.Dir().Rel(), p.Base()
	for range 40 {
		if err := context.Cause(ctx); err != nil {
			return nil, "", nil, err
		}
		d, err := t.jail.dir(dir)
		if err != nil {
			return nil, "", nil, err
		}
		fi, err := d.lstat(name)
		switch {
		case os.IsNotExist(err):
			return d, name, nil, nil
		case err != nil:
			_ = d.close()
			return nil, "", nil, err
		case fi.Mode()&fs.ModeSymlink == 0:
			return d, name, fi, nil
		case t.straight:
			_ = d.close()
			return nil, "", nil, fault.New(fault.Denied, fault.IDPerm, "follow the link "+p.String())
		}
		target, err := d.readlink(name)
		_ = d.close()
		if err != nil {
			return nil, "", nil, err
		}
		if path.IsAbs(target) {
			return nil, "", nil, fault.New(fault.Denied, fault.IDPerm, "follow a link that leads out of this tree")
		}
		// Not cleaned: ".." behind a linked directory is that directory's parent.
		target = strings.TrimRight(target, "/")
		if i := strings.LastIndexByte(target, '/'); i >= 0 {
			dir, name = dir+"/"+target[:i], target[i+1:]
		} else {
			name = target
		}
		if name == ".." || name == "." || name == "" {
			return nil, "", nil, fault.New(fault.IsDir, fault.IDIsDir, p.String())
		}
		if strings.HasPrefix(name, vfs.Hidden) {
			return nil, "", nil, fault.New(fault.Denied, fault.IDPerm, "follow a link to an unfinished upload")
		}
	}
	return nil, "", nil, fault.New(fault.Denied, fault.IDPerm, "follow a chain of more than 40 links")
}

// Mkdir makes one directory.
func (t *Tree) Mkdir(ctx context.Context, p vfs.Path) error {
	if p.IsRoot() {
		return fault.New(fault.Exists, fault.IDExists, p.String())
	}
	return t.in(ctx, p, t.guise.mkdir)
}

// in runs op as the owner, with the directory that holds p and p's name in it.
func (t *Tree) in(ctx context.Context, p vfs.Path, op func(d handle, name string) error) error {
	return t.at(ctx, p, t.parent, op)
}

// at is in with another way to find the directory.
func (t *Tree) at(ctx context.Context, p vfs.Path, find func(context.Context, vfs.Path) (handle, string, error), op func(d handle, name string) error) error {
	return t.as(func() error {
		d, name, err := find(ctx, p)
		if err != nil {
			return err
		}
		defer d.close()
		return op(d, name)
	})
}

// Remove removes a name that is not a directory.
func (t *Tree) Remove(ctx context.Context, p vfs.Path) error {
	return t.in(ctx, p, handle.unlink)
}

// RemoveDir removes an empty directory.
func (t *Tree) RemoveDir(ctx context.Context, p vfs.Path) error {
	return t.in(ctx, p, handle.rmdir)
}

// Rename moves a name; links are moved themselves.
func (t *Tree) Rename(ctx context.Context, from, to vfs.Path, how vfs.Rename) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if from.IsRoot() || to.IsRoot() {
		return fault.New(fault.Denied, fault.IDPerm, "rename the root directory")
	}
	return t.as(func() error { return t.jail.rename(from.Rel(), to.Rel(), how) })
}

// Hardlink gives the file another name.
func (t *Tree) Hardlink(ctx context.Context, old, p vfs.Path) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	fi, err := t.stat(old, false)
	if err != nil {
		return err
	}
	if err := regular(fi, old); err != nil {
		return err
	}
	if p.IsRoot() {
		return fault.New(fault.Exists, fault.IDExists, p.String())
	}
	return t.as(func() error { return t.jail.link(old.Rel(), p.Rel()) })
}

// A linkTimer is a handle that can date a link itself.
type linkTimer interface {
	linkTime(name string, mtime time.Time) error
}

// SetLinkTime sets the modification time of p, a link itself.
func (t *Tree) SetLinkTime(ctx context.Context, p vfs.Path, mtime time.Time) error {
	return t.in(ctx, p, func(d handle, name string) error {
		if l, ok := d.(linkTimer); ok {
			return l.linkTime(name, mtime)
		}
		return fault.New(fault.NotBuilt, fault.IDNotBuilt, "links have no times of their own here")
	})
}

// SetTime sets the modification time of what p leads to.
func (t *Tree) SetTime(ctx context.Context, p vfs.Path, mtime time.Time) error {
	return t.at(ctx, p, t.existing, func(d handle, name string) error {
		return d.chtimes(name, time.Time{}, mtime)
	})
}

// Chmod sets the nine permission bits of what p leads to.
func (t *Tree) Chmod(ctx context.Context, p vfs.Path, mode fs.FileMode) error {
	return t.at(ctx, p, t.existing, func(d handle, name string) error {
		return d.chmod(name, mode.Perm())
	})
}

// existing is locate for something that must exist; the root is its own ".".
func (t *Tree) existing(ctx context.Context, p vfs.Path) (handle, string, error) {
	if p.IsRoot() {
		d, err := t.jail.dir(".")
		return d, ".", err
	}
	d, name, fi, err := t.locate(ctx, p)
	if err != nil {
		return nil, "", err
	}
	if fi == nil {
		_ = d.close()
		return nil, "", fault.New(fault.NotFound, fault.IDNotFound, p.String())
	}
	return d, name, nil
}

// Readlink returns what a link says.
func (t *Tree) Readlink(ctx context.Context, p vfs.Path) (target string, err error) {
	err = t.in(ctx, p, func(d handle, name string) (err error) {
		target, err = d.readlink(name)
		return err
	})
	return target, err
}

// Symlink makes a link to a target that vfs.Path.CheckTarget lets pass. Where it
// leads when directories are moved or links lie on its way, the jail decides when
// it is followed.
func (t *Tree) Symlink(ctx context.Context, target string, p vfs.Path) error {
	if p.IsRoot() {
		return fault.New(fault.Exists, fault.IDExists, p.String())
	}
	if err := p.CheckTarget(target); err != nil {
		return err
	}
	return t.in(ctx, p, func(d handle, name string) error { return d.symlink(target, name) })
}

// Space is the room on the file system of p.
func (t *Tree) Space(ctx context.Context, p vfs.Path) (free, total uint64, err error) {
	if err := context.Cause(ctx); err != nil {
		return 0, 0, err
	}
	f, err := t.open(p, os.O_RDONLY|openNonblock)
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	return space(f)
}

// A jail resolves paths inside one directory. Paths are relative, slash
// separated, may hold "..", and never lead out.
type jail interface {
	stat(rel string, follow bool) (*info, error)
	open(rel string, flags int, perm fs.FileMode) (*os.File, error) // follows links inside the jail
	dir(rel string) (handle, error)                                 // follows links inside the jail
	rename(from, to string, how vfs.Rename) error
	link(old, name string) error // what old is, a link itself
	close() error
}

// A handle is one open directory; names are single parts. It never follows a
// link that a name is.
type handle interface {
	open(name string, flags int, perm fs.FileMode) (*os.File, error)
	lstat(name string) (*info, error)
	mkdir(name string, perm fs.FileMode) error
	unlink(name string) error
	rmdir(name string) error
	rename(from, to string, how vfs.Rename) error
	readlink(name string) (string, error)
	symlink(target, name string) error
	chtimes(name string, atime, mtime time.Time) error // a zero time stays as it is
	chmod(name string, perm fs.FileMode) error
	writable(name string) error // may this process, or the owner, write the file
	defaultACL() bool           // has the directory one for what is made in it
	sync() error
	info() (*info, error) // of the directory itself
	id() fileID
	close() error
}

// An info is a FileInfo of this package.
type info struct {
	name         string
	size         int64
	mode         fs.FileMode
	mtime        time.Time
	atime, ctime time.Time // zero where the system does not tell
	attr         vfs.Attr
}

func (i *info) Name() string       { return i.name }
func (i *info) Size() int64        { return i.size }
func (i *info) Mode() fs.FileMode  { return i.mode }
func (i *info) ModTime() time.Time { return i.mtime }
func (i *info) IsDir() bool        { return i.mode.IsDir() }
func (i *info) Sys() any           { return &i.attr }
func (i *info) id() fileID         { return fileID{i.attr.Dev, i.attr.Ino} }

func hidden(name string) bool { return strings.HasPrefix(name, vfs.Hidden) }
