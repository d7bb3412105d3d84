package osfs

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"sync"
	"time"

	"dray/fault"
	"dray/vfs"
)

var _ vfs.Editor = (*Tree)(nil)

// An edited is a file open where it is. Its directory stays open while its name is
// to be made durable.
type edited struct {
	disk  *Disk
	guise *guise
	name  string

	mu  sync.RWMutex // write: what ends it
	f   *os.File     // nil when it has ended
	dir handle       // of a file that was made, until Sync
}

// Edit opens the file at p.
func (t *Tree) Edit(ctx context.Context, p vfs.Path) (vfs.Edited, error) {
	e := &edited{disk: t.disk, guise: t.guise}
	err := t.as(func() error {
		dir, name, old, err := t.locate(ctx, p)
		if err != nil {
			return err
		}
		defer dir.close()
		if old == nil {
			return fault.New(fault.NotFound, fault.IDNotFound, p.String())
		}
		if err := regular(old, p); err != nil {
			return err
		}
		if t.disk.isWritten(old.id()) {
			return fault.New(fault.Busy, fault.IDInUse, p.String())
		}
		f, err := dir.open(name, os.O_RDWR|openNonblock, 0)
		if errors.Is(err, fs.ErrPermission) {
			f, err = dir.open(name, os.O_WRONLY|openNonblock, 0)
		}
		if err != nil {
			return err
		}
		e.f, e.name = f, name
		i, err := fstat(f)
		if err == nil && i.id() != old.id() { // another, by now, and nobody knows of what kind
			err = fault.New(fault.Busy, fault.IDInUse, p.String())
		}
		if err == nil {
			err = disarm(f, i)
		}
		return err
	})
	return e.opened(err)
}

// Make makes the file p.
func (t *Tree) Make(ctx context.Context, p vfs.Path, mode fs.FileMode) (vfs.Edited, error) {
	e := &edited{disk: t.disk, guise: t.guise}
	err := t.as(func() error {
		dir, name, old, err := t.entry(ctx, p)
		if err != nil {
			return err
		}
		e.dir, e.name = dir, name
		if old != nil || t.disk.isReserved(dir, name) {
			return fault.New(fault.Exists, fault.IDExists, p.String())
		}
		bits := t.guise.modes(dir, 0o666)
		if m := mode.Perm(); m != 0 {
			bits = modes{m, true}
		}
		f, err := dir.open(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, bits.bits)
		if err != nil {
			return err
		}
		e.f = f
		if bits.exact {
			_ = f.Chmod(bits.bits) // what the umask took off; not every file system has modes
		}
		return nil
	})
	return e.opened(err)
}

// opened is e, unless it could not be opened.
func (e *edited) opened(err error) (vfs.Edited, error) {
	if err != nil {
		_ = e.Close()
		return nil, err
	}
	return e, nil
}

// isWritten tells whether an upload writes to a file in place.
func (d *Disk) isWritten(id fileID) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, is := d.writing[id]
	return is
}

// isReserved tells whether an upload with New will have a name.
func (d *Disk) isReserved(dir handle, name string) bool {
	key := nameID{dir.id(), name}
	d.mu.Lock()
	defer d.mu.Unlock()
	_, is := d.reserved[key]
	return is
}

// OSFile is the file itself, which the kernel may write to.
func (e *edited) OSFile() *os.File {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.f
}

func (e *edited) ReadAt(b []byte, off int64) (int, error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.f == nil {
		return 0, fs.ErrClosed
	}
	return e.f.ReadAt(b, off)
}

func (e *edited) WriteAt(b []byte, off int64) (int, error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.f == nil {
		return 0, fs.ErrClosed
	}
	return e.f.WriteAt(b, off)
}

func (e *edited) Truncate(size int64) error {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.f == nil {
		return fs.ErrClosed
	}
	return e.f.Truncate(size)
}

func (e *edited) Stat() (fs.FileInfo, error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.f == nil {
		return nil, fs.ErrClosed
	}
	i, err := fstat(e.f)
	if err != nil {
		return nil, err
	}
	i.name = e.name
	return i, nil
}

func (e *edited) SetTime(mtime time.Time) error {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.f == nil {
		return fs.ErrClosed
	}
	return e.guise.run(func() error { return setFileTime(e.f, mtime) })
}

func (e *edited) Chmod(mode fs.FileMode) error {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.f == nil {
		return fs.ErrClosed
	}
	return e.guise.run(func() error { return e.f.Chmod(mode.Perm()) })
}

// Sync flushes the file where the tree is durable, and once the directory of one
// that was made.
func (e *edited) Sync(ctx context.Context) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.f == nil {
		return fs.ErrClosed
	}
	if !e.disk.durable() {
		return nil
	}
	if err := e.f.Sync(); err != nil || e.dir == nil {
		return err
	}
	err := e.disk.syncDir(e.dir)
	if err == nil {
		_ = e.dir.close()
		e.dir = nil
	}
	return err
}

func (e *edited) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	var err error
	if e.f != nil {
		err = e.f.Close()
	}
	if e.dir != nil {
		_ = e.dir.close()
	}
	e.f, e.dir = nil, nil
	return err
}
