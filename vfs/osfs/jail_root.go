package osfs

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"dray/fault"
	"dray/vfs"
)

// openRoot is the jail for systems without openat2. os.Root looks at every part
// of a path by itself: as safe, and several times as dear in deep trees.
func openRoot(dir string) (jail, error) {
	r, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return rooted{r}, nil
}

type rooted struct{ r *os.Root }

func (j rooted) stat(rel string, follow bool) (*info, error) {
	stat := j.r.Lstat
	if follow {
		stat = j.r.Stat
	}
	fi, err := stat(rel)
	if err != nil {
		return nil, err
	}
	return infoOf(path.Base(rel), fi), nil
}

func (j rooted) open(rel string, flags int, perm fs.FileMode) (*os.File, error) {
	return j.r.OpenFile(rel, flags, perm.Perm())
}

func (j rooted) dir(rel string) (handle, error) {
	r, err := j.r.OpenRoot(rel)
	if err == nil {
		return rootDir{r}, nil
	}
	if fi, serr := j.r.Stat(rel); serr == nil && !fi.IsDir() { // os.Root says it in words only
		return nil, fault.Because(err, fault.NotDir, fault.IDNotDir)
	}
	return nil, err
}

func (j rooted) link(old, name string) error { return j.r.Link(old, name) }

func (j rooted) rename(from, to string, how vfs.Rename) error { return rootRename(j.r, from, to, how) }

func (j rooted) close() error { return j.r.Close() }

func rootRename(r *os.Root, from, to string, how vfs.Rename) error {
	fi, err := r.Lstat(from)
	if err != nil {
		return err
	}
	if how == vfs.Overwrite {
		// os.Root refuses every directory as the target; rename(2) takes an empty
		// one in place of a directory.
		if old, err := r.Lstat(to); err == nil && fi.IsDir() && old.IsDir() && !strings.HasPrefix(to, from+"/") {
			if os.SameFile(fi, old) {
				return nil
			}
			if err := r.Remove(to); err != nil {
				return err
			}
		}
		return r.Rename(from, to)
	}
	if fi.IsDir() { // a directory can't be linked; the look before is the best there is
		if _, err := r.Lstat(to); err == nil {
			return &os.LinkError{Op: "rename", Old: from, New: to, Err: fs.ErrExist}
		}
		return r.Rename(from, to)
	}
	if err := r.Link(from, to); err != nil {
		return err
	}
	return r.Remove(from)
}

type rootDir struct{ r *os.Root }

func (d rootDir) open(name string, flags int, perm fs.FileMode) (*os.File, error) {
	if flags&os.O_EXCL == 0 {
		fi, err := d.r.Lstat(name)
		if err == nil && fi.Mode()&fs.ModeSymlink != 0 {
			return nil, fault.New(fault.Denied, fault.IDPerm, "open a link")
		}
	}
	return d.r.OpenFile(name, flags, perm.Perm())
}

func (d rootDir) lstat(name string) (*info, error) {
	fi, err := d.r.Lstat(name)
	if err != nil {
		return nil, err
	}
	return infoOf(name, fi), nil
}

func (d rootDir) mkdir(name string, perm fs.FileMode) error { return d.r.Mkdir(name, perm.Perm()) }

func (d rootDir) unlink(name string) error {
	fi, err := d.r.Lstat(name)
	if err != nil {
		return err
	}
	if fi.IsDir() {
		return fault.New(fault.IsDir, fault.IDIsDir, name)
	}
	return d.r.Remove(name)
}

func (d rootDir) rmdir(name string) error {
	fi, err := d.r.Lstat(name)
	if err != nil {
		return err
	}
	if !fi.IsDir() {
		return fault.New(fault.NotDir, fault.IDNotDir, name)
	}
	return d.r.Remove(name)
}

func (d rootDir) rename(from, to string, how vfs.Rename) error {
	return rootRename(d.r, from, to, how)
}

func (d rootDir) readlink(name string) (string, error) { return d.r.Readlink(name) }

func (d rootDir) symlink(target, name string) error { return d.r.Symlink(target, name) }

// Only trees with an owner ask, and those are not of this kind.
func (d rootDir) defaultACL() bool { return false }

func (d rootDir) chtimes(name string, atime, mtime time.Time) error {
	return d.r.Chtimes(name, atime, mtime)
}

func (d rootDir) chmod(name string, perm fs.FileMode) error { return d.r.Chmod(name, perm.Perm()) }

func (d rootDir) writable(name string) error {
	f, err := d.r.OpenFile(name, os.O_WRONLY|openNonblock, 0)
	if err != nil {
		return err
	}
	return f.Close()
}

func (d rootDir) sync() error {
	f, err := d.r.Open(".")
	if err != nil {
		return nil // may be entered and not read: no durability for its names
	}
	defer f.Close()
	return syncDir(f)
}

func (d rootDir) info() (*info, error) {
	fi, err := d.r.Stat(".")
	if err != nil {
		return nil, err
	}
	return infoOf(".", fi), nil
}

func (d rootDir) id() fileID {
	i, err := d.info()
	if err != nil {
		return fileID{}
	}
	return i.id()
}

func (d rootDir) close() error { return d.r.Close() }

func (d rootDir) names() (hiddenNames, dirs []string, err error) {
	f, err := d.r.Open(".")
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	return hiddenAndDirs(f)
}

// hiddenAndDirs lists an open directory: the names that begin with vfs.Hidden,
// and the subdirectories.
func hiddenAndDirs(f *os.File) (hiddenNames, dirs []string, err error) {
	for {
		entries, err := f.ReadDir(256)
		for _, e := range entries {
			switch {
			case hidden(e.Name()):
				hiddenNames = append(hiddenNames, e.Name())
			case e.IsDir():
				dirs = append(dirs, e.Name())
			}
		}
		if errors.Is(err, io.EOF) {
			return hiddenNames, dirs, nil
		}
		if err != nil {
			return hiddenNames, dirs, err
		}
	}
}
