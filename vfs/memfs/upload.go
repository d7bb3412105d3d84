package memfs

import (
	"context"
	"io/fs"
	"syscall"
	"time"

	"dray/fault"
	"dray/vfs"
)

// A draft is a file that no directory shows: a running upload or a partial.
type draft struct {
	node    *node
	dated   bool      // somebody set the time; it holds until the commit
	moded   bool      // somebody set the mode
	listed  bool      // Names tells its name
	written time.Time // when its bytes last changed; a date set does not count
}

// An upload is a draft on its way to a name, or, in place, a file being
// written.
type upload struct {
	tree  *Tree
	path  vfs.Path
	how   vfs.Create
	dir   *node // where the name is; nil in place without Create.Direct
	name  string
	draft *draft
	old   int64 // in place: the length to go back to
	made  bool  // direct: Create has made the file
	begun bool  // direct: what lay behind the offset is gone
	anew  bool  // it was made shorter than it began
	ended bool
}

// direct tells whether it is an upload with Create.Direct.
func (u *upload) direct() bool { return u.how.Direct && u.how.How != vfs.Resume }

// inPlace tells whether it writes to a file that has its name already.
func (u *upload) inPlace() bool { return u.how.How == vfs.InPlace || u.direct() }

// Create begins an upload. A link at the end of p is followed, except by New.
func (t *Tree) Create(ctx context.Context, p vfs.Path, how vfs.Create) (vfs.Upload, error) {
	u := &upload{tree: t, path: p, how: how}
	err := t.do(ctx, "create", p, u.begin)
	if err != nil {
		return nil, err
	}
	return u, nil
}

func (u *upload) begin() error {
	t := u.tree
	l := follow
	if u.how.How == vfs.New {
		l = noFollow
	}
	at, err := t.find(u.path, l)
	if err != nil {
		return err
	}
	if u.how.How == vfs.New && (at.node != nil || at.dir.reserved[at.name]) {
		return syscall.EEXIST
	}
	if at.node != nil && at.node.mode.IsDir() {
		return syscall.EISDIR
	}
	if u.direct() {
		return u.beginDirect(at)
	}
	if u.how.How == vfs.InPlace {
		return u.beginInPlace(at.node)
	}
	if u.how.Offset < 0 {
		return fault.New(fault.BadOffset, fault.IDOffset, u.how.Offset, int64(0))
	}
	if u.how.How == vfs.Resume {
		err = u.beginResume(at)
	} else {
		err = u.beginBeside(at)
	}
	if err != nil {
		return err
	}
	u.draft.listed = u.draft.listed || u.how.Listed
	u.dir, u.name = at.dir, at.name
	u.dir.running++
	return nil
}

// beginDirect takes the file itself, and makes it where there is none.
func (u *upload) beginDirect(at place) error {
	n := at.node
	if n == nil {
		switch {
		case u.how.How == vfs.InPlace:
			return syscall.ENOENT
		case u.how.Offset > 0:
			return fault.New(fault.BadOffset, fault.IDOffset, u.how.Offset, int64(0))
		}
		n = u.tree.node(u.mode(at))
		u.tree.put(at.dir, at.name, n)
		u.made, u.how.Offset = true, 0
	}
	u.dir, u.name = at.dir, at.name
	return u.beginInPlace(n)
}

// start takes away what lies behind the offset, once.
func (u *upload) start() error {
	if !u.direct() || u.begun {
		return nil
	}
	if err := u.tree.resize(u.draft.node, u.how.Offset); err != nil {
		return err
	}
	u.begun = true
	return nil
}

// mode is that of the file that will have the name.
func (u *upload) mode(at place) fs.FileMode {
	switch {
	case at.node != nil:
		return at.node.mode.Perm()
	case u.how.Mode != 0:
		return u.how.Mode.Perm()
	}
	return 0o644
}

func (u *upload) beginInPlace(n *node) error {
	switch {
	case n == nil:
		return syscall.ENOENT
	case n.writer != nil:
		return syscall.EBUSY
	}
	u.old = int64(len(n.data))
	if u.how.Offset == -1 {
		u.how.Offset = u.old
	}
	if u.how.Offset < 0 || u.how.Offset > u.old {
		return fault.New(fault.BadOffset, fault.IDOffset, u.how.Offset, u.old)
	}
	n.writer = u
	u.draft = &draft{node: n}
	return nil
}

func (u *upload) beginResume(at place) error {
	key := owned{at.name, u.how.Owner}
	d := at.dir.partials[key]
	switch {
	case d == nil && at.dir.resumed[key] != nil:
		return syscall.EBUSY
	case d == nil:
		return syscall.ENOENT
	case u.how.Offset > int64(len(d.node.data)):
		return fault.New(fault.BadOffset, fault.IDOffset, u.how.Offset, int64(len(d.node.data)))
	}
	delete(at.dir.partials, key)
	at.dir.resumed[key] = u
	u.draft = d
	return u.tree.resize(d.node, u.how.Offset)
}

func (u *upload) beginBeside(at place) error {
	t := u.tree
	var first []byte
	if u.how.Offset > 0 {
		size := int64(0)
		if at.node != nil {
			size = int64(len(at.node.data))
		}
		if u.how.Offset > size {
			return fault.New(fault.BadOffset, fault.IDOffset, u.how.Offset, size)
		}
		first = at.node.data[:u.how.Offset]
	}
	d := &draft{node: t.node(u.mode(at))}
	d.written = d.node.mtime
	if _, err := t.writeAt(d.node, first, 0); err != nil {
		return err
	}
	u.draft = d
	if u.how.How == vfs.New {
		at.dir.reserved[at.name] = true
	}
	return nil
}

// do runs one call of an upload that has not ended, under the lock.
func (u *upload) do(op string, call func() error) error {
	u.tree.mu.Lock()
	defer u.tree.mu.Unlock()
	err := fs.ErrClosed
	if !u.ended {
		err = call()
	}
	if err != nil {
		return failed(op, u.path, err)
	}
	return nil
}

// ReadAt returns io.EOF as it is, as io.ReaderAt wants it.
func (u *upload) ReadAt(b []byte, off int64) (int, error) {
	u.tree.mu.Lock()
	defer u.tree.mu.Unlock()
	if u.ended {
		return 0, failed("read", u.path, fs.ErrClosed)
	}
	return u.draft.node.readAt(b, off)
}

func (u *upload) WriteAt(b []byte, off int64) (n int, err error) {
	err = u.do("write", func() (err error) {
		return u.change(func() error {
			n, err = u.tree.writeAt(u.draft.node, b, off)
			return err
		})
	})
	return n, err
}

func (u *upload) Truncate(size int64) error {
	return u.do("truncate", func() error {
		if size < 0 {
			return syscall.EINVAL
		}
		u.anew = u.anew || size < u.how.Offset
		return u.change(func() error { return u.tree.resize(u.draft.node, size) })
	})
}

// change runs what changes the bytes, and dates it.
func (u *upload) change(call func() error) error {
	d := u.draft
	before := d.node.mtime
	if err := u.start(); err != nil {
		return err
	}
	if err := call(); err != nil {
		return err
	}
	d.written = u.tree.now()
	d.node.mtime = d.written
	if d.dated {
		d.node.mtime = before
	}
	return nil
}

func (u *upload) Stat() (fi fs.FileInfo, err error) {
	err = u.do("stat", func() error {
		fi = u.draft.node.info(u.path.Base())
		return nil
	})
	return fi, err
}

func (u *upload) SetTime(mtime time.Time) error {
	return u.do("settime", func() error {
		u.draft.node.mtime = mtime
		u.draft.dated = true
		return nil
	})
}

func (u *upload) Chmod(mode fs.FileMode) error {
	return u.do("chmod", func() error {
		u.draft.node.mode = mode.Perm()
		u.draft.moded = true
		return nil
	})
}

// Sync has nothing to do: memory is as durable as it gets.
func (u *upload) Sync(ctx context.Context) error {
	return u.do("sync", func() error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return u.start()
	})
}

func (u *upload) Offset() int64 { return u.how.Offset }

func (u *upload) Commit(ctx context.Context) error {
	return u.do("commit", func() error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if u.direct() {
			if err := u.start(); err != nil {
				return err
			}
			if now := u.dir.kids[u.name]; now == nil {
				return syscall.ENOENT
			} else if now != u.draft.node {
				return syscall.EBUSY
			}
		}
		if u.inPlace() {
			u.endInPlace()
			return nil
		}
		old := u.dir.kids[u.name]
		switch {
		case old != nil && u.how.How == vfs.New:
			return syscall.EEXIST
		case old != nil && old.mode.IsDir():
			return syscall.EISDIR
		case old != nil && old.mode.IsRegular() && !u.draft.moded:
			u.draft.node.mode = old.mode
		}
		u.end()
		u.tree.forget(u.dir, owned{u.name, u.how.Owner})
		u.tree.put(u.dir, u.name, u.draft.node)
		return nil
	})
}

func (u *upload) Cut() error {
	return u.do("cut", func() error {
		t, n := u.tree, u.draft.node
		if u.direct() && u.begun {
			u.endInPlace()
			return nil
		}
		if u.how.Owner == "" || u.inPlace() {
			return u.discard()
		}
		key := owned{u.name, u.how.Owner}
		keep := int64(len(n.data)) - vfs.CutTail
		switch came := u.anew || int64(len(n.data)) > u.how.Offset; {
		case !came && u.how.How == vfs.Resume: // as it was: its tail is off already
			keep = int64(len(n.data))
		case !came:
			return u.discard()
		case keep <= 0 && !u.hides():
			// An older partial goes too: what came may have been another file.
			t.forget(u.dir, key)
			return u.discard()
		}
		keep = max(keep, 0)
		u.end()
		if err := t.resize(n, keep); err != nil {
			return err
		}
		t.forget(u.dir, key)
		u.draft.written = t.now()
		u.dir.partials[key] = u.draft
		return nil
	})
}

func (u *upload) Discard() error { return u.do("discard", u.discard) }

func (u *upload) discard() error {
	n := u.draft.node
	if !u.inPlace() {
		u.end()
		u.tree.used -= int64(len(n.data))
		return nil
	}
	back := u.old
	if u.begun {
		back = u.how.Offset
	}
	if int64(len(n.data)) > back {
		if err := u.tree.resize(n, back); err != nil {
			return err
		}
	}
	if u.made && u.dir.kids[u.name] == n {
		u.tree.drop(u.dir, u.name)
	}
	u.endInPlace()
	return nil
}

// end frees what an upload beside its name held.
func (u *upload) end() {
	u.ended = true
	u.dir.running--
	switch key := (owned{u.name, u.how.Owner}); {
	case u.how.How == vfs.New:
		delete(u.dir.reserved, u.name)
	case u.dir.resumed[key] == u:
		delete(u.dir.resumed, key)
	}
}

func (u *upload) endInPlace() {
	u.ended = true
	n := u.draft.node
	n.writer = nil
	if n.names == 0 && n.editors == 0 { // removed or replaced meanwhile
		u.tree.used -= int64(len(n.data))
	}
}

// hides tells whether a finished file has the name. Then even an empty partial is
// kept: it refuses the client that takes the finished file for its own beginning.
func (u *upload) hides() bool {
	_, taken := u.dir.kids[u.name]
	return taken
}
