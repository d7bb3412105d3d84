package gate

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"dray/account"
	"dray/fault"
	"dray/transfer"
	"dray/vfs"
)

// Copied is what a Copy or Combine did, also one that failed.
type Copied struct {
	Files, Dirs int
	Bytes       int64
	// LeftOut counts what was not copied because it is no file and no directory:
	// links, which are not followed below the first name, and special files.
	LeftOut int
	// Kept counts the parts of a Combine that could not be deleted behind it.
	Kept int
	Road transfer.Road // of the last file
}

// Copyable tells whether there is something at p that may be copied.
func (s *Session) Copyable(ctx context.Context, p vfs.Path) error {
	_, err := s.copyable(ctx, p)
	return err
}

// copyable is what a copy of p begins with: a file, also behind a link, or a
// directory itself.
func (s *Session) copyable(ctx context.Context, p vfs.Path) (fs.FileInfo, error) {
	if err := s.may(account.Read, "copy", p); err != nil {
		return nil, err
	}
	fi, err := s.fs.Lstat(ctx, p)
	if err == nil && fi.Mode()&fs.ModeSymlink != 0 {
		fi, err = s.fs.Stat(ctx, p)
		if err == nil && fi.IsDir() {
			return nil, fault.New(fault.Denied, fault.IDNotRegular, p.String())
		}
	}
	switch {
	case err != nil:
		return nil, s.fail(err, "copy", p)
	case !fi.IsDir() && !fi.Mode().IsRegular():
		return nil, fault.New(fault.Denied, fault.IDNotRegular, p.String())
	}
	return fi, nil
}

// Copy copies a file, or a directory with all that the account may see in it,
// inside the tree. It takes the right to read and those of an upload; for a
// directory the right to list and to make directories as well. Rates do not
// apply, the quota does.
//
// Each file is old or new at every moment. A directory that exists is filled up.
// When a directory's copy ends early, what was copied stays. Each file and
// directory that was made is an event of its own.
func (s *Session) Copy(ctx context.Context, from, to vfs.Path) (Copied, error) {
	var done Copied
	fi, err := s.copyable(ctx, from)
	if err != nil {
		return done, err
	}
	switch {
	case from == to:
		return done, fault.New(fault.BadName, fault.IDBadName, "a copy needs another name")
	case !fi.IsDir():
		return done, s.copyFile(ctx, from, to, &done)
	case to.Under(from):
		return done, fault.New(fault.BadName, fault.IDBadName, "a directory can't be copied into itself")
	}
	// Looked at before anything is made, so that a missing right changes nothing.
	for _, need := range []struct {
		right account.Rights
		p     vfs.Path
	}{{account.List, from}, {account.MakeDir, to}, {account.Write, to}} {
		if err := s.may(need.right, "copy", need.p); err != nil {
			return done, err
		}
	}
	c := copier{s: s, done: &done}
	err = c.dir(ctx, from, to)
	if err != nil && done.Files+done.Dirs > 0 {
		s.log.Warn("copy cut", "path", from.String(), "to", to.String(), "files", done.Files, "bytes", done.Bytes, "reason", string(fault.Of(err).ID))
	}
	return done, err
}

// A copier copies one directory.
type copier struct {
	s    *Session
	done *Copied
	made *identity // of the first directory that it made or fills
}

// An identity tells two names of one thing; a tree need not have any.
type identity struct{ dev, ino uint64 }

func identityOf(fi fs.FileInfo) identity {
	a := vfs.AttrOf(fi)
	return identity{a.Dev, a.Ino}
}

// same tells whether two entries are known to be one.
func same(a, b identity) bool { return a == b && a != identity{} }

// dir copies the directory from. One directory is open at a time, however deep
// the tree is: those below it wait until its end.
func (c *copier) dir(ctx context.Context, from, to vfs.Path) error {
	s := c.s
	if err := s.copyDir(ctx, from, to, c.done); err != nil {
		return err
	}
	if c.made == nil {
		fi, err := s.fs.Stat(ctx, to)
		if err != nil {
			return s.fail(err, "copy to", to)
		}
		id := identityOf(fi)
		c.made = &id
	}
	var below []string
	for fi, err := range s.finished(ctx, from) {
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		name := strings.Clone(fi.Name())
		switch {
		case fi.IsDir():
			// By way of a link the copy may lie in what is copied. It is not part of it.
			if !same(identityOf(fi), *c.made) {
				below = append(below, name)
			}
		case fi.Mode().IsRegular():
			f, t, err := both(from, to, name)
			if err == nil {
				err = s.copyFile(ctx, f, t, c.done)
			}
			if err != nil {
				return err
			}
		default:
			c.done.LeftOut++
		}
	}
	for _, name := range below {
		f, t, err := both(from, to, name)
		if err == nil {
			err = c.dir(ctx, f, t)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func both(from, to vfs.Path, name string) (f, t vfs.Path, err error) {
	if f, err = from.Join(name); err == nil {
		t, err = to.Join(name)
	}
	return f, t, err
}

// copyDir makes the directory to, unless it exists.
func (s *Session) copyDir(ctx context.Context, from, to vfs.Path, done *Copied) error {
	if err := s.may(account.MakeDir, "make the directory", to); err != nil {
		return err
	}
	err := s.fs.Mkdir(ctx, to)
	if err == nil {
		done.Dirs++
		return s.changedTo("copy", from, to.String(), nil)
	}
	if errors.Is(err, fs.ErrExist) {
		if fi, serr := s.fs.Stat(ctx, to); serr == nil && fi.IsDir() {
			return nil
		}
	}
	return s.fail(err, "make the directory", to)
}

// copyFile copies one file.
func (s *Session) copyFile(ctx context.Context, from, to vfs.Path, done *Copied) error {
	f, err := s.Open(ctx, from)
	if err != nil {
		return err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return s.fail(err, "copy", from)
	}
	u, err := s.upload(ctx, to, vfs.Create{How: vfs.Replace, Expect: fi.Size(), Mode: fi.Mode().Perm()})
	if err != nil {
		return err
	}
	rep, err := transfer.Copy(ctx, u.up, f, 0, fi.Size(), transfer.Options{Meter: u.grow})
	if err != nil {
		err = u.drop(ctx, readFailed(err, from))
	} else {
		err = u.publish(ctx)
	}
	if err != nil {
		return err
	}
	done.Files++
	done.Bytes += rep.Bytes
	done.Road = rep.Road
	return s.changedTo("copy", from, u.p.String(), nil)
}

// readFailed gives the end of a file that became shorter its kind.
func readFailed(err error, p vfs.Path) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return fault.Because(err, fault.Busy, fault.IDInUse, p.String())
	}
	return err
}

// publish is Commit for an upload that came from nobody: it is no transfer.
// After an error the upload has been dropped.
func (u *Upload) publish(ctx context.Context) error {
	err := u.up.Sync(ctx)
	if err == nil {
		err = context.Cause(ctx)
	}
	if err == nil {
		err = u.commit(ctx, nil)
	}
	if err != nil {
		return u.drop(context.WithoutCancel(ctx), err)
	}
	return nil
}

// drop forgets the upload; no partial is kept of it. It returns why with the
// facts of its sentence.
func (u *Upload) drop(ctx context.Context, why error) error {
	if err := u.up.Discard(); err != nil && !errors.Is(err, fs.ErrClosed) {
		u.s.log.Error("a copy that was cut can't be put away", "path", u.p.String(), "error", err)
	}
	u.settle(ctx, footing{})
	return u.s.fail(why, "copy to", u.p)
}

// A piece is a place in an upload or a file: what is copied there begins at it.
type piece struct {
	io.WriterAt
	at int64
}

func (p piece) Offset() int64 { return p.at }

// OSFile lets the kernel write to the piece.
func (p piece) OSFile() *os.File {
	if k, ok := p.WriterAt.(vfs.Kernel); ok {
		return k.OSFile()
	}
	return nil
}

// Combine puts the parts, in their order, behind what target holds already, or
// makes it of them, and then deletes them. It takes the rights of an upload to
// target, and of each part those to read and to delete it. The quota is held for
// the new bytes while the parts are still there.
//
// Until the last part has been copied nothing has changed; then target is whole
// at once. A part that can't be deleted behind that is counted and logged: an
// error would make the client say it again, and have everything twice. Kind
// BadName when a part is target itself, Busy when target or a part changed
// meanwhile.
func (s *Session) Combine(ctx context.Context, target vfs.Path, parts []vfs.Path) (Copied, error) {
	var done Copied
	var ids []identity
	for _, p := range parts {
		if err := s.may(account.Read, "combine", p); err != nil {
			return done, err
		}
		if err := s.mayName(account.Delete, "delete", p); err != nil {
			return done, err
		}
	}
	for _, p := range parts {
		fi, err := s.fs.Stat(ctx, p)
		switch {
		case err != nil:
			return done, s.fail(err, "combine", p)
		case fi.IsDir():
			return done, fault.New(fault.IsDir, fault.IDIsDir, p.String())
		case p == target:
			return done, errItself
		}
		ids = append(ids, identityOf(fi))
	}
	var old fs.FileInfo
	if !s.blind(target) {
		fi, err := s.fs.Stat(ctx, target)
		switch {
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return done, s.fail(err, "combine to", target)
		case err == nil:
			old = fi
		}
	}
	how := vfs.Create{How: vfs.Replace}
	if old != nil {
		how.Offset = old.Size()
		for _, id := range ids {
			if same(id, identityOf(old)) { // by another name: deleting the part would delete it all
				return done, errItself
			}
		}
	}
	u, err := s.upload(ctx, target, how)
	if err != nil {
		return done, err
	}
	for _, p := range parts {
		if err := s.part(ctx, u, p, &done); err != nil {
			return done, u.drop(ctx, err)
		}
	}
	if err := s.unchanged(ctx, target, old); err != nil {
		return done, u.drop(ctx, err)
	}
	if err := u.publish(ctx); err != nil {
		return done, err
	}
	_ = s.changed("combine", u.p, nil)
	// It is done; a client that leaves now does not leave the parts behind.
	ctx = context.WithoutCancel(ctx)
	for i, p := range parts {
		if err := s.Remove(ctx, p); err != nil && !(slices.Contains(parts[:i], p) && errors.Is(err, fs.ErrNotExist)) {
			s.log.Warn("a part that was combined can't be deleted", "path", p.String(), "error", err)
			done.Kept++
		}
	}
	return done, nil
}

var errItself = fault.New(fault.BadName, fault.IDBadName, "a file can't be combined with itself")

// part copies one part behind what u has.
func (s *Session) part(ctx context.Context, u *Upload, p vfs.Path, done *Copied) error {
	f, err := s.Open(ctx, p)
	if err != nil {
		return err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return s.fail(err, "combine", p)
	}
	to := piece{u.up, u.up.Offset() + done.Bytes}
	rep, err := transfer.Copy(ctx, to, f, 0, fi.Size(), transfer.Options{Meter: u.grow})
	done.Bytes += rep.Bytes
	if err != nil {
		return readFailed(err, p)
	}
	done.Files++
	done.Road = rep.Road
	return nil
}

// unchanged tells whether target is still what it was when the copying began.
func (s *Session) unchanged(ctx context.Context, target vfs.Path, old fs.FileInfo) error {
	if old == nil {
		return nil
	}
	fi, err := s.fs.Stat(ctx, target)
	if err != nil || fi.Size() != old.Size() || !fi.ModTime().Equal(old.ModTime()) || identityOf(fi) != identityOf(old) {
		return fault.Because(err, fault.Busy, fault.IDInUse, target.String())
	}
	return nil
}
