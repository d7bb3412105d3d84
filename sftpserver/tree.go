package sftpserver

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"dray/account"
	"dray/fault"
	"dray/ftp"
	"dray/gate"
	"dray/sftp"
	"dray/vfs"
)

// resolve reads a path of the wire: absolute, or relative to the home, which is "/".
func (d *dialogue) resolve(b []byte) (vfs.Path, error) { return vfs.Resolve(vfs.Root, string(b)) }

// resolveFile is resolve for what is to be opened as a file.
func (d *dialogue) resolveFile(b []byte) (vfs.Path, error) {
	p, err := d.resolve(b)
	if err == nil && vfs.MeansDir(string(b)) {
		if fi, err := d.session.Finished(d.ctx, p); err != nil || !fi.IsDir() {
			return p, fault.New(fault.NotDir, fault.IDNotDir, p.String())
		}
	}
	return p, err
}

// readOnly tells whether the account may change nothing anywhere.
func (d *dialogue) readOnly() bool {
	a := d.session.Account()
	return a.AnyRights()&^account.ReadOnly == 0
}

// here is the upload of this dialogue that a path means before it is published.
func (d *dialogue) here(p vfs.Path) *file {
	if f := d.newest[p]; f != nil && !f.unlinked {
		return f
	}
	return nil
}

// attrs answers with the attributes of a file.
func (d *dialogue) attrs(fi fs.FileInfo) {
	a := attributes(fi)
	d.say(sftp.AppendAttrs(d.out, d.req.ID, &a))
}

func attributes(fi fs.FileInfo) (a sftp.Attributes) {
	at := vfs.AttrOf(fi)
	a = sftp.Attributes{Flags: sftp.HasSize | sftp.HasOwner, Size: uint64(max(fi.Size(), 0)), UID: at.UID, GID: at.GID}
	a.SetMode(fi.Mode())
	if t := fi.ModTime(); !t.IsZero() {
		a.SetTimes(t, t)
	}
	return a
}

func (d *dialogue) stat(q *sftp.Request) error {
	p, err := d.resolve(q.Path)
	if err != nil {
		return err
	}
	fi, err := d.statOf(p)
	if err != nil {
		return err
	}
	d.attrs(fi)
	return nil
}

// statOf is what STAT tells: an upload of this dialogue, the account's own partial
// where no finished file has the name, of a directory that the account may not look
// into that it is one.
func (d *dialogue) statOf(p vfs.Path) (fs.FileInfo, error) {
	if f := d.here(p); f != nil {
		return f.up.Stat()
	}
	fi, err := d.session.Stat(d.ctx, p)
	if err != nil && fault.KindOf(err) == fault.Denied {
		return d.session.Finished(d.ctx, p)
	}
	return fi, err
}

func (d *dialogue) lstat(q *sftp.Request) error {
	p, err := d.resolve(q.Path)
	if err != nil {
		return err
	}
	var fi fs.FileInfo
	if f := d.here(p); f != nil {
		fi, err = f.up.Stat()
	} else if fi, err = d.session.Lstat(d.ctx, p); err != nil && errors.Is(err, fs.ErrNotExist) {
		if part, perr := d.session.Partial(d.ctx, p); perr == nil {
			fi, err = part, nil
		}
	}
	if err != nil {
		return err
	}
	d.attrs(fi)
	return nil
}

// named is a file by its name, as a changer.
type named struct {
	d *dialogue
	p vfs.Path
}

func (n *named) setSize(size int64) error {
	e, err := n.d.session.Edit(n.d.ctx, n.p)
	if err != nil {
		return err
	}
	err = e.Truncate(n.d.ctx, size)
	return errors.Join(err, e.Close(n.d.ctx, err))
}

func (n *named) chmod(mode fs.FileMode) error  { return n.d.session.Chmod(n.d.ctx, n.p, mode) }
func (n *named) setTime(mtime time.Time) error { return n.d.session.SetTime(n.d.ctx, n.p, mtime) }
func (n *named) stat() (fs.FileInfo, error)    { return n.d.statOf(n.p) }

func (d *dialogue) setstat(q *sftp.Request) error {
	p, err := d.resolve(q.Path)
	if err != nil {
		return err
	}
	if f := d.here(p); f != nil {
		return d.change(&opened{d, f}, &q.Attrs)
	}
	return d.change(&named{d, p}, &q.Attrs)
}

// change sets what the attributes have. The owner can't be changed, but setting it
// to what it is is no error: sshfs and archivers do.
func (d *dialogue) change(c changer, a *sftp.Attributes) error {
	if a.Has(sftp.HasOwner) {
		fi, err := c.stat()
		if err != nil {
			return err
		}
		if at := vfs.AttrOf(fi); at.UID != a.UID || at.GID != a.GID {
			return fault.New(fault.Denied, fault.IDPerm, "change the owner of a file")
		}
	}
	if a.Has(sftp.HasSize) {
		if a.Size > 1<<63-1 {
			return gate.ErrTooLarge()
		}
		if err := c.setSize(int64(a.Size)); err != nil {
			return err
		}
	}
	if a.Has(sftp.HasMode) {
		if err := c.chmod(a.FileMode().Perm()); err != nil {
			return err
		}
	}
	if a.Has(sftp.HasTimes) {
		return c.setTime(a.ModTime())
	}
	return nil
}

func (d *dialogue) opendir(q *sftp.Request) error {
	p, err := d.resolve(q.Path)
	if err != nil {
		return err
	}
	if err := d.session.Enter(d.ctx, p); err != nil {
		return err
	}
	if err := d.session.Listable(d.ctx, p); err != nil {
		return err
	}
	if d.handles.open == maxHandles {
		return fault.New(fault.Busy, fault.IDBusy, "open handles", d.handles.open, maxHandles)
	}
	return d.add(&handle{dir: d.listed(p)})
}

// How long an answer to READDIR gets. Old clients take 34,000 bytes
// (draft-ietf-secsh-filexfer-02, 3), those that ask for limits as much as READ gives:
// OpenSSH's, which takes 256 KiB.
const (
	namesBytes     = 32000
	manyNamesBytes = 120_000
)

// namesBytes is that of the next answer. The first one is short, because somebody waits.
func (d *dialogue) namesBytes(l *directory) int {
	if d.wide && l.bytes > 0 {
		return manyNamesBytes
	}
	return namesBytes
}

// largestName is what one entry takes at most: the name, the line with it, the
// numbers.
const largestName = 2*vfs.MaxName + 256

func (d *dialogue) readdir(q *sftp.Request) error {
	l := d.h.dir
	if l == nil {
		return fault.New(fault.NotDir, fault.IDNotDir, d.h.file.path.String())
	}
	size := d.namesBytes(l)
	if err := d.room(size + largestName); err != nil {
		return err
	}
	at := len(d.out)
	names, out := sftp.BeginNames(d.out, q.ID)
	now := time.Now()
	for names.Bytes(out) < size-largestName {
		name, fi, err := d.entry(l)
		if err != nil {
			return err
		}
		if fi == nil {
			break
		}
		if !ftp.NameOK(name) { // no client could name it, and its line would be two
			continue
		}
		out = d.appendEntry(out, &names, name, fi, now)
	}
	if names.Len() == 0 {
		return io.EOF
	}
	d.say(names.End(out))
	l.bytes += int64(len(d.out) - at)
	return nil
}

// entry is the next entry of a listing; nil at its end.
func (d *dialogue) entry(l *directory) (string, fs.FileInfo, error) {
	if l.dots < 2 {
		l.dots++
		at, name := l.path, "."
		if l.dots == 2 {
			at, name = l.path.Dir(), ".."
		}
		if fi, err := d.session.Finished(d.ctx, at); err == nil {
			return name, fi, nil
		}
		return d.entry(l)
	}
	if !l.done {
		fi, err, more := l.next()
		switch {
		case err != nil:
			return "", nil, err
		case more:
			if len(d.newest) == 0 {
				return fi.Name(), fi, nil
			}
			if at, jerr := l.path.Join(fi.Name()); jerr == nil {
				if f := d.here(at); f != nil { // what this client sees under the name
					if up, err := f.up.Stat(); err == nil {
						l.forget(f)
						return fi.Name(), up, nil
					}
				}
			}
			return fi.Name(), fi, nil
		}
		l.done = true
	}
	for len(l.pending) > 0 {
		f := l.pending[0]
		l.pending = l.pending[1:]
		if f.up != nil && !f.unlinked {
			if fi, err := f.up.Stat(); err == nil {
				return f.path.Base(), fi, nil
			}
		}
	}
	return "", nil, nil
}

// forget takes an upload out of those that are told at the end.
func (l *directory) forget(f *file) {
	for i, p := range l.pending {
		if p == f {
			l.pending = append(l.pending[:i], l.pending[i+1:]...)
			return
		}
	}
}

func (d *dialogue) appendEntry(out []byte, names *sftp.Names, name string, fi fs.FileInfo, now time.Time) []byte {
	a := attributes(fi)
	at := vfs.AttrOf(fi)
	e := ftp.Entry{Name: name, Mode: fi.Mode(), Size: fi.Size(), Time: fi.ModTime(), Links: at.Links, UID: at.UID, GID: at.GID}
	d.line = ftp.AppendList(d.line[:0], e, now)
	return names.Append(out, []byte(name), bytes.TrimSuffix(d.line, []byte("\r\n")), &a)
}

func (d *dialogue) remove(q *sftp.Request) error {
	p, err := d.resolve(q.Path)
	if err != nil {
		return err
	}
	f := d.here(p)
	if f == nil {
		return d.session.Remove(d.ctx, p)
	}
	// As on a file system: the name goes, and who has the file open goes on with it.
	// What the upload would have replaced had that name, and goes too.
	if err := d.session.Remove(d.ctx, p); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f.unlinked = true
	d.forget(f)
	return nil
}

func (d *dialogue) mkdir(q *sftp.Request) error {
	p, err := d.resolve(q.Path)
	if err != nil {
		return err
	}
	if err := d.session.Mkdir(d.ctx, p); err != nil {
		return err
	}
	// A mode can take away what a new directory has, and gives nothing that the umask
	// keeps: most programs ask for 0777.
	if fi, err := d.session.Finished(d.ctx, p); err == nil && q.Attrs.Has(sftp.HasMode) {
		if want := fi.Mode().Perm() & q.Attrs.FileMode().Perm(); want != fi.Mode().Perm() {
			_ = d.session.Chmod(d.ctx, p, want) // without the right to it the directory is as all are
		}
	}
	return nil
}

func (d *dialogue) rmdir(q *sftp.Request) error {
	p, err := d.resolve(q.Path)
	if err != nil {
		return err
	}
	return d.session.RemoveDir(d.ctx, p)
}

// realpath tells the plain form of a path whose last part need not exist: clients
// ask for what they are about to make.
func (d *dialogue) realpath(q *sftp.Request) error { return d.plain(string(q.Path)) }

func (d *dialogue) plain(path string) error {
	p, err := vfs.Resolve(vfs.Root, path)
	if err != nil {
		return err
	}
	if !p.IsRoot() && d.here(p) == nil {
		if _, err := d.session.Finished(d.ctx, p.Dir()); err != nil {
			return err
		}
	}
	d.say(sftp.AppendName(d.out, d.req.ID, p.String(), &sftp.Attributes{}))
	return nil
}

// expandPath knows one home, that of the account.
func (d *dialogue) expandPath(q *sftp.Request) error {
	path := string(q.Path)
	if rest, tilde := strings.CutPrefix(path, "~"); tilde {
		user, below, _ := strings.Cut(rest, "/")
		if err := d.home(user); err != nil {
			return err
		}
		path = "/" + below
	}
	return d.plain(path)
}

func (d *dialogue) homeDirectory(q *sftp.Request) error {
	if err := d.home(string(q.Path)); err != nil {
		return err
	}
	return d.plain("/")
}

// home is an error for every user but the own one.
func (d *dialogue) home(user string) error {
	if user != "" && user != d.session.Account().Name {
		return fault.New(fault.NotFound, fault.IDNotFound, "the home of another user")
	}
	return nil
}

func (d *dialogue) rename(q *sftp.Request) error      { return d.move(q, vfs.NoReplace) }
func (d *dialogue) posixRename(q *sftp.Request) error { return d.move(q, vfs.Overwrite) }

// move renames. An upload of this dialogue is published first: its client has said
// under which name it wants what is there.
func (d *dialogue) move(q *sftp.Request, how vfs.Rename) error {
	from, err := d.resolve(q.Path)
	if err != nil {
		return err
	}
	to, err := d.resolve(q.To)
	if err != nil {
		return err
	}
	if d.here(to) != nil && how == vfs.NoReplace {
		return fault.New(fault.Exists, fault.IDExists, to.String())
	}
	if f := d.here(from); f != nil {
		// What can be said before is: a rename that is refused publishes nothing.
		if err := d.session.MayRename(from, to); err != nil {
			return err
		}
		if how == vfs.NoReplace {
			if _, err := d.session.Lstat(d.ctx, to); err == nil {
				return fault.New(fault.Exists, fault.IDExists, to.String())
			}
		}
		if err := d.publish(f, true); err != nil {
			return err
		}
	}
	if err := d.session.Rename(d.ctx, from, to, how); err != nil {
		return err
	}
	if f := d.here(to); f != nil { // the name is another file's now, and stays it
		f.unlinked = true
		d.forget(f)
	}
	d.follow(from, to)
	return nil
}

// follow gives the open files that have another path now, because they or a directory
// above them were renamed, that path: they go where it goes.
func (d *dialogue) follow(from, to vfs.Path) {
	seen := map[*file]bool{}
	for _, h := range d.handles.slots {
		if h == nil || h.file == nil || seen[h.file] || !h.file.path.Under(from) || h.file.unlinked {
			continue
		}
		f := h.file
		seen[f] = true
		now, err := vfs.Resolve(to, strings.TrimPrefix(strings.TrimPrefix(f.path.String(), from.String()), "/"))
		if err != nil { // too long a path to be asked for
			continue
		}
		shown := d.newest[f.path] == f
		d.forget(f)
		if f.path = now; shown {
			d.newest[now] = f
		}
		if f.edit != nil {
			f.edit.Moved(now)
		}
	}
}

// hardlink gives what has a name another one. An upload of this dialogue is published
// first, as by a rename.
func (d *dialogue) hardlink(q *sftp.Request) error {
	old, err := d.resolve(q.Path)
	if err != nil {
		return err
	}
	p, err := d.resolve(q.To)
	if err != nil {
		return err
	}
	if d.here(p) != nil {
		return fault.New(fault.Exists, fault.IDExists, p.String())
	}
	if f := d.here(old); f != nil {
		if err := d.publish(f, true); err != nil {
			return err
		}
	}
	return d.session.Hardlink(d.ctx, old, p)
}

// lsetstat is setstat for a name that may be a link: that has a time, and nothing
// else of its own.
func (d *dialogue) lsetstat(q *sftp.Request) error {
	p, err := d.resolve(q.Path)
	if err != nil {
		return err
	}
	if d.here(p) == nil {
		fi, err := d.session.Lstat(d.ctx, p)
		switch {
		case err != nil && !errors.Is(err, fs.ErrNotExist): // that may be a partial
			return err
		case err == nil && fi.Mode()&fs.ModeSymlink != 0:
			if q.Attrs.Flags&(sftp.HasSize|sftp.HasMode) != 0 {
				return fault.New(fault.Unsupported, fault.IDUnsupported, "the times of a link")
			}
			return d.change(&linkItself{d, p}, &q.Attrs)
		}
	}
	return d.setstat(q)
}

// linkItself is a link as a changer.
type linkItself struct {
	d *dialogue
	p vfs.Path
}

func (l *linkItself) setSize(int64) error { return fault.New(fault.Unsupported, fault.IDUnsupported) }
func (l *linkItself) chmod(fs.FileMode) error {
	return fault.New(fault.Unsupported, fault.IDUnsupported)
}
func (l *linkItself) setTime(mtime time.Time) error {
	return l.d.session.SetLinkTime(l.d.ctx, l.p, mtime)
}
func (l *linkItself) stat() (fs.FileInfo, error) { return l.d.session.Lstat(l.d.ctx, l.p) }

func (d *dialogue) readlink(q *sftp.Request) error {
	p, err := d.resolve(q.Path)
	if err != nil {
		return err
	}
	fi, err := d.session.Lstat(d.ctx, p)
	switch {
	case err != nil:
		return err
	case fi.Mode()&fs.ModeSymlink == 0:
		return fault.New(fault.Denied, fault.IDNotRegular, p.String())
	}
	target := d.session.Link(d.ctx, p)
	if target == "" {
		return fault.New(fault.Denied, fault.IDPerm, "see where "+p.String()+" leads")
	}
	d.say(sftp.AppendName(d.out, d.req.ID, target, &sftp.Attributes{}))
	return nil
}

// symlink has the order of OpenSSH, where the link leads first, as every client has
// it; AsyncSSH alone goes by the draft, unless the server is called OpenSSH.
func (d *dialogue) symlink(q *sftp.Request) error {
	if strings.Contains(string(d.conn.ssh.ClientVersion()), "AsyncSSH") {
		q.SwapLink()
	}
	p, err := d.resolve(q.To)
	if err != nil {
		return err
	}
	return d.session.Symlink(d.ctx, string(q.Path), p)
}

func (d *dialogue) statvfs(q *sftp.Request) error {
	p, err := d.resolve(q.Path)
	if err != nil {
		return err
	}
	fi, err := d.statOf(p)
	if err != nil {
		return err
	}
	if !fi.IsDir() {
		p = p.Dir()
	}
	return d.space(p)
}

// space answers with the room of a directory, and with what the quota leaves of it.
// How many files there may be is not told.
func (d *dialogue) space(p vfs.Path) error {
	free, available, total, err := d.session.Space(d.ctx, p)
	if err != nil {
		return err
	}
	const unit = 4096
	d.say(sftp.AppendFileSystem(d.out, d.req.ID, sftp.FileSystem{
		BlockSize: unit, Fragment: unit, Blocks: total / unit, Free: free / unit, Available: available / unit, NameMax: vfs.MaxName,
	}))
	return nil
}

func (d *dialogue) limits(q *sftp.Request) error {
	d.wide = true
	d.say(sftp.AppendLimits(d.out, q.ID, sftp.Limits{
		Packet: sftp.MaxPacket, Read: sftp.MaxData, Write: sftp.MaxData, Handles: maxHandles,
	}))
	return nil
}

// sight tells what was seen of the client's own connection.
func (d *dialogue) sight(q *sftp.Request) error {
	c := d.conn
	s := sftp.Sight{Peer: c.visit.Peer().Remote, Local: c.visit.Peer().Local, Auth: c.auth}
	if of, ok := c.ssh.Conn.(ssh.AlgorithmsConnMetadata); ok {
		a := of.Algorithms()
		s.Kex, s.HostKey = a.KeyExchange, a.HostKey
		s.Up, s.UpMAC, s.Down, s.DownMAC = a.Read.Cipher, a.Read.MAC, a.Write.Cipher, a.Write.MAC
	}
	d.say(sftp.AppendSight(d.out, q.ID, &s))
	return nil
}

// usersGroups tells no name: those of this machine's users are nobody's business.
func (d *dialogue) usersGroups(q *sftp.Request) error {
	users, groups := len(q.UIDs)/4, len(q.GIDs)/4
	if err := d.room(4*(users+groups) + 64); err != nil {
		return err
	}
	d.say(sftp.AppendOwners(d.out, q.ID, make([]string, users), make([]string, groups)))
	return nil
}
