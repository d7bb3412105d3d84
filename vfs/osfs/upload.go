package osfs

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"

	"dray/fault"
	"dray/vfs"
)

// The hidden names: vfs.Hidden, a hash of the owner, a hash of owner and name
// for a partial; a point and a number more while the upload runs; ".name" more for
// the note with the name of a partial (names.go); for the note beside an append the
// hashes of no owner and ".n0". Never the name itself, which may have 255 bytes.
const (
	ownerDigits = 12
	nameDigits  = 32
	noOwner     = "------------" // in place of an owner's hash: nobody resumes it
)

func ownerHash(owner string) string {
	if owner == "" {
		return noOwner
	}
	return string(appendHash(nil, ownerDigits, "owner", owner))
}

// partialName makes one piece of garbage: it is asked for several times an upload.
func partialName(name, owner string) string {
	var room [len(vfs.Hidden) + ownerDigits + 1 + nameDigits]byte
	b := append(room[:0], vfs.Hidden...)
	if owner == "" {
		b = append(b, noOwner...)
	} else {
		b = appendHash(b, ownerDigits, "owner", owner)
	}
	return string(appendHash(append(b, '-'), nameDigits, "name", owner, name))
}

// appendHash appends the first hexadecimal digits, an even number, of the hash of
// what and parts.
func appendHash(b []byte, digits int, what string, parts ...string) []byte {
	var room [512]byte
	text := append(room[:0], what...)
	for _, part := range parts {
		text = append(append(text, 0), part...)
	}
	sum := sha256.Sum256(text)
	return hex.AppendEncode(b, sum[:digits/2])
}

func number() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand, Go 1.24)
	return hex.EncodeToString(b[:])
}

// An upload is one file being written. Its directory stays open, so renaming a
// directory above it moves the upload along.
type upload struct {
	disk   *Disk
	guise  *guise
	dir    handle
	name   string // what Commit makes it
	temp   string // its hidden name; "" when in place
	f      *os.File
	how    vfs.Create
	start  int64        // where the first byte goes
	base   int64        // the length with which it began
	mtime  time.Time    // to be set at the commit; zero: as written
	mode   *fs.FileMode // that was set; nil: none
	note   string       // in place: the hidden name of the note
	noteF  *os.File
	file   fileID      // in place: what is written to
	locked bool        // in place: disk.writing has it
	over   *os.File    // where the directory can't be written: the file to write over; f is nameless then
	trunc  bool        // Resume, direct: the file is to be cut to start before the first byte
	made   bool        // direct: Create has made the file
	perm   fs.FileMode // Resume: of the partial
	anew   bool        // it was made shorter than it began

	mu     sync.RWMutex // read: while the file is used; write: what ends it
	synced bool
	ended  bool
}

// as runs what opens files and changes names with the identity of the tree; see
// Tree.as. Bytes are read, written and flushed outside of it.
func (u *upload) as(op func() error) error { return u.guise.run(op) }

// direct tells whether it is an upload with Create.Direct.
func (u *upload) direct() bool { return u.how.Direct && u.how.How != vfs.Resume }

// Create begins an upload; see vfs.Create.
func (t *Tree) Create(ctx context.Context, p vfs.Path, how vfs.Create) (vfs.Upload, error) {
	u := &upload{disk: t.disk, guise: t.guise, how: how}
	var old *info
	err := t.as(func() (err error) {
		find := t.locate
		if how.How == vfs.New {
			find = t.entry // a link is a name that is taken, wherever it leads
		}
		if u.dir, u.name, old, err = find(ctx, p); err != nil {
			return err
		}
		if old != nil && how.How != vfs.New {
			if err := regular(old, p); err != nil {
				return err
			}
		}
		switch {
		case u.direct():
			return u.take(p, old)
		case how.How == vfs.New:
			return u.reserve(p, old)
		case how.How == vfs.Resume:
			return u.resume(p)
		case how.How == vfs.InPlace:
			return u.inPlace(p, old)
		}
		return u.beside(p, old)
	})
	if err == nil {
		switch {
		case u.direct(), how.How == vfs.InPlace:
			err = u.begin(p)
		case u.over != nil:
			err = u.spool(ctx, p)
		case how.How == vfs.Replace && how.Offset > 0:
			if err = u.copyHead(ctx); err != nil {
				err = errors.Join(err, u.as(u.drop))
			}
		}
	}
	if err != nil {
		if u.made {
			_ = u.unlink(u.name)
		}
		for _, f := range []*os.File{u.f, u.over} {
			if f != nil {
				_ = f.Close()
			}
		}
		u.unlock()
		if u.dir != nil {
			_ = u.dir.close()
		}
		return nil, err
	}
	return u, nil
}

func (u *upload) unlink(name string) error {
	return u.as(func() error { return u.dir.unlink(name) })
}

// beside makes the hidden file; copyHead gives it the first bytes of the old one.
// It runs as the owner.
func (u *upload) beside(p vfs.Path, old *info) error {
	if old == nil && u.how.Offset > 0 {
		return fault.New(fault.BadOffset, fault.IDOffset, u.how.Offset, int64(0))
	}
	mode := u.newModes()
	if old != nil {
		if u.how.Offset > old.size {
			return fault.New(fault.BadOffset, fault.IDOffset, u.how.Offset, old.size)
		}
		// A rename asks for no right on the file that it replaces. Who may not
		// write to a file may not replace it either.
		if err := u.dir.writable(u.name); err != nil {
			return err
		}
		mode = modes{old.mode.Perm(), true}
	}
	u.start, u.base = u.how.Offset, u.how.Offset
	err := u.temporary(mode)
	if err != nil && old != nil && fault.KindOf(err) == fault.Denied {
		return u.instead(p, old)
	}
	return err
}

// newModes are those of a file that replaces none.
func (u *upload) newModes() modes {
	if bits := u.how.Mode.Perm(); bits != 0 {
		return modes{bits, true}
	}
	return u.guise.modes(u.dir, 0o666)
}

// temporary makes and locks the hidden file. The lock tells Sweep, of this
// process or another, that the upload lives. It runs as the owner.
func (u *upload) temporary(mode modes) error {
	for range 8 {
		u.temp = partialName(u.name, u.how.Owner) + "." + number()
		if err := u.step("create"); err != nil {
			return err
		}
		f, err := u.dir.open(u.temp, os.O_RDWR|os.O_CREATE|os.O_EXCL, mode.bits)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return err
		}
		if lockFile(f); linked(f) { // a sweep may have come between
			u.f = f
			if mode.exact {
				_ = f.Chmod(mode.bits) // what the umask took off; not every file system has modes
			}
			u.keepName()
			return nil
		}
		_ = f.Close()
	}
	return fault.New(fault.Busy, fault.IDInUse, u.name)
}

// copyHead copies by the kernel: a reflink where the file system has them.
func (u *upload) copyHead(ctx context.Context) error {
	old, err := u.open(u.name, os.O_RDONLY|openNonblock)
	if err != nil {
		return err
	}
	defer old.Close()
	for left := u.how.Offset; left > 0; {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		n, err := io.CopyN(u.f, old, min(left, 64<<20))
		left -= n
		if err == io.EOF {
			return fault.New(fault.BadOffset, fault.IDOffset, u.how.Offset, u.how.Offset-left)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// open opens a name beside the target.
func (u *upload) open(name string, flags int) (f *os.File, err error) {
	err = u.as(func() (err error) {
		f, err = u.dir.open(name, flags, 0)
		return err
	})
	return f, err
}

// instead is for a directory that can't be written and a file that can: the
// upload is kept in the spool and written over the old content by Commit. Until
// then nothing is lost. It runs as the owner, and opens the file to write over.
func (u *upload) instead(p vfs.Path, old *info) error {
	over, err := u.dir.open(u.name, os.O_RDWR|openNonblock, 0)
	if err != nil {
		return err
	}
	u.over = over
	i, err := fstat(over)
	if err != nil || i.id() != old.id() {
		return fault.New(fault.Busy, fault.IDInUse, p.String())
	}
	if err := disarm(over, i); err != nil {
		return err
	}
	return u.lock(p, old)
}

// spool opens the nameless file of the temporary directory, which is the server's.
func (u *upload) spool(ctx context.Context, p vfs.Path) error {
	f, err := os.CreateTemp("", "dray-")
	if err != nil { // it is not about the file that was asked for
		return fault.Because(err, fault.Internal, fault.IDInternal)
	}
	u.f, u.temp = f, ""
	if err := os.Remove(f.Name()); err != nil {
		return err
	}
	if u.how.Offset > 0 {
		if err := u.copyHead(ctx); err != nil {
			return err
		}
	}
	u.disk.log.Warn("upload will be written over the old file: its directory can't be written", "path", p.String())
	return nil
}

// reserve makes the hidden file of an exclusive upload and keeps the name from
// others of this process until it ends. It runs as the owner.
func (u *upload) reserve(p vfs.Path, old *info) error {
	if old != nil {
		return fault.New(fault.Exists, fault.IDExists, p.String())
	}
	key := nameID{u.dir.id(), u.name}
	u.disk.mu.Lock()
	_, taken := u.disk.reserved[key]
	if !taken {
		u.disk.reserved[key] = struct{}{}
	}
	u.disk.mu.Unlock()
	if taken {
		return fault.New(fault.Exists, fault.IDExists, p.String())
	}
	// Looked at again, because who had it reserved until now may have taken it.
	_, err := u.dir.lstat(u.name)
	switch {
	case err == nil:
		err = fault.New(fault.Exists, fault.IDExists, p.String())
	case os.IsNotExist(err):
		err = u.temporary(u.newModes())
	}
	if err != nil {
		u.unreserve()
	}
	return err
}

func (u *upload) unreserve() {
	if u.how.How != vfs.New || u.direct() {
		return
	}
	key := nameID{u.dir.id(), u.name}
	u.disk.mu.Lock()
	delete(u.disk.reserved, key)
	u.disk.mu.Unlock()
}

// resume takes the partial by its lock and another name: of two that ask, one
// gets it. It is cut to the offset when the first byte comes and not before. It
// runs as the owner.
func (u *upload) resume(p vfs.Path) error {
	none := fault.New(fault.NotFound, fault.IDNotFound, p.String())
	partial := partialName(u.name, u.how.Owner)
	if u.how.Owner == "" {
		return none
	}
	f, err := u.dir.open(partial, os.O_RDWR|openNonblock, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return none
	}
	if err != nil {
		return err
	}
	u.f = f
	if free, known := tryLockFile(f); known && !free {
		return fault.New(fault.Busy, fault.IDInUse, p.String())
	}
	i, err := fstat(f)
	switch {
	case err != nil:
		return err
	case !i.mode.IsRegular():
		return none
	case u.how.Offset > i.size:
		return fault.New(fault.BadOffset, fault.IDOffset, u.how.Offset, i.size)
	}
	u.temp = partial + "." + number()
	if err := u.dir.rename(partial, u.temp, vfs.NoReplace); err != nil {
		return none
	}
	if named, err := u.dir.lstat(u.temp); err != nil || named.id() != i.id() {
		_ = u.dir.rename(u.temp, partial, vfs.NoReplace) // another one, cut meanwhile
		return fault.New(fault.Busy, fault.IDInUse, p.String())
	}
	u.start, u.base, u.mtime, u.perm = u.how.Offset, u.how.Offset, keptTime(i), i.mode.Perm()
	u.trunc = u.how.Offset < i.size
	u.keepName()
	return nil
}

// keptTime is the time that somebody set on a partial. Setting it makes access
// and modification time the same and older than the change; writing never does.
func keptTime(i *info) time.Time {
	if i.atime.Equal(i.mtime) && !i.mtime.Equal(i.ctime) {
		return i.mtime
	}
	return time.Time{}
}

// inPlace opens the finished file for an append. It runs as the owner.
func (u *upload) inPlace(p vfs.Path, old *info) error {
	if old == nil {
		return fault.New(fault.NotFound, fault.IDNotFound, p.String())
	}
	f, err := u.dir.open(u.name, os.O_RDWR|openNonblock, 0)
	if err != nil {
		return err
	}
	u.f = f
	if err := u.lock(p, old); err != nil {
		return err
	}
	i, err := fstat(f)
	if err == nil && i.id() != old.id() {
		err = fault.New(fault.Busy, fault.IDInUse, p.String())
	}
	if err == nil && !u.direct() {
		err = disarm(f, i)
	}
	return err
}

// take opens the file itself, or makes it where there is none. It runs as the
// owner.
func (u *upload) take(p vfs.Path, old *info) error {
	switch {
	case u.how.How == vfs.New && (old != nil || u.disk.isReserved(u.dir, u.name)):
		return fault.New(fault.Exists, fault.IDExists, p.String())
	case old != nil || u.how.How == vfs.InPlace:
		return u.inPlace(p, old)
	case u.how.Offset > 0:
		return fault.New(fault.BadOffset, fault.IDOffset, u.how.Offset, int64(0))
	}
	if err := u.step("create"); err != nil {
		return err
	}
	mode := u.newModes()
	f, err := u.dir.open(u.name, os.O_RDWR|os.O_CREATE|os.O_EXCL, mode.bits)
	if errors.Is(err, fs.ErrExist) { // in this moment
		if u.how.How == vfs.New {
			return err
		}
		return fault.Because(err, fault.Busy, fault.IDInUse, p.String())
	}
	if err != nil {
		return err
	}
	u.f = f
	if mode.exact {
		_ = f.Chmod(mode.bits)
	}
	i, err := fstat(f)
	if err != nil {
		return err
	}
	if err := u.lock(p, i); err != nil { // another upload was quicker: the file is its own now
		return err
	}
	u.made = true
	return nil
}

// begin looks how long the file is, once no other append is left, and writes that
// into a note beside it, for the start after a crash. A direct upload is not taken
// back, and leaves no note.
func (u *upload) begin(p vfs.Path) error {
	log := func() {}
	err := u.as(func() (err error) {
		log, err = u.staleNote(p)
		return err
	})
	log()
	if err != nil {
		return err
	}
	i, err := fstat(u.f) // under the lock: nobody else appends now
	if err != nil {
		return err
	}
	u.base, u.start = i.size, u.how.Offset
	if u.start < 0 {
		u.start = i.size
	}
	if u.start > i.size {
		return fault.New(fault.BadOffset, fault.IDOffset, u.start, i.size)
	}
	if u.direct() {
		u.trunc = true
		return nil
	}
	if err := u.writeNote(i); err != nil {
		if fault.KindOf(err) != fault.Denied {
			return err
		}
		u.disk.log.Warn("append without a note: its directory can't be written", "path", p.String())
	}
	return nil
}

func (u *upload) lock(p vfs.Path, old *info) error {
	u.disk.mu.Lock()
	defer u.disk.mu.Unlock()
	if _, taken := u.disk.writing[old.id()]; taken {
		return fault.New(fault.Busy, fault.IDInUse, p.String())
	}
	u.file, u.locked = old.id(), true
	u.disk.writing[u.file] = struct{}{}
	return nil
}

func (u *upload) unlock() {
	if !u.locked {
		return
	}
	u.disk.mu.Lock()
	delete(u.disk.writing, u.file)
	u.disk.mu.Unlock()
	u.locked = false
}

// A note is what lies beside a file that is being appended to.
type note struct {
	Name     []byte `json:"name"` // bytes: not every name is UTF-8
	Dev, Ino uint64
	Size     int64
}

// noteName is the one note that a file can have: who finds it taken knows of the
// append, whoever made it.
func noteName(name string) string { return partialName(name, "") + ".n0" }

// staleNote takes back what a dead process appended, where no sweep has been yet:
// a note that is found later must not take back this append too. It runs as the
// owner, and returns what is to be logged later.
func (u *upload) staleNote(p vfs.Path) (log func(), err error) {
	log = func() {}
	name := noteName(u.name)
	f, err := u.dir.open(name, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return log, nil
	}
	if errors.Is(err, fs.ErrPermission) { // another user's: not ours to believe, nor to be stopped by
		return func() {
			u.disk.log.Warn("a note of another user's append is removed unread", "path", p.String())
		}, u.dir.unlink(name)
	}
	if err != nil {
		return log, err
	}
	defer f.Close()
	if free, known := tryLockFile(f); known && !free || !linked(f) {
		return log, fault.New(fault.Busy, fault.IDInUse, p.String())
	}
	return u.disk.takeBack(u.dir, f, u.guise), u.dir.unlink(name)
}

// writeNote puts the note beside the file, before the first byte of the append.
func (u *upload) writeNote(i *info) error {
	b, err := json.Marshal(note{[]byte(u.name), i.attr.Dev, i.attr.Ino, i.size})
	if err != nil {
		return err
	}
	if err := u.as(u.openNote); err != nil {
		return err
	}
	if _, err = u.noteF.Write(b); err == nil && u.disk.durable() {
		if err = u.noteF.Sync(); err == nil {
			err = u.disk.syncDir(u.dir)
		}
	}
	if err != nil {
		u.removeNote()
	}
	return err
}

// openNote makes and locks the note. It runs as the owner.
func (u *upload) openNote() error {
	for range 8 {
		f, err := u.dir.open(noteName(u.name), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if errors.Is(err, fs.ErrExist) { // of another process
			return fault.New(fault.Busy, fault.IDInUse, u.name)
		}
		if err != nil {
			return err
		}
		if lockFile(f); linked(f) { // a sweep may have come between
			u.note, u.noteF = noteName(u.name), f
			return nil
		}
		_ = f.Close()
	}
	return fault.New(fault.Busy, fault.IDInUse, u.name)
}

func (u *upload) removeNote() {
	if u.note == "" {
		return
	}
	if err := u.unlink(u.note); err != nil {
		u.disk.log.Warn("note of an append stays behind", "error", err)
	}
	_ = u.noteF.Close()
	u.note = ""
}

// step is where a test stops or fails an upload.
func (u *upload) step(op string) error {
	if u.disk.hook == nil {
		return nil
	}
	return u.disk.hook(op)
}

// OSFile is the file itself; its bytes may be spliced in. Not for a resume that
// begins before the partial's end: that one is cut by the first byte, and only
// WriteAt sees it come.
func (u *upload) OSFile() *os.File {
	u.mu.RLock()
	defer u.mu.RUnlock()
	if u.ended || u.trunc {
		return nil
	}
	return u.f
}

func (u *upload) empty() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ended {
		return fs.ErrClosed
	}
	return u.behind()
}

// behind takes away what lies behind the start, once. u.mu is held.
func (u *upload) behind() error {
	if !u.trunc {
		return nil
	}
	if u.direct() {
		err := u.as(func() error {
			i, err := fstat(u.f)
			if err == nil {
				err = disarm(u.f, i)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	if err := u.f.Truncate(u.start); err != nil {
		return err
	}
	u.trunc = false
	return nil
}

func (u *upload) ReadAt(b []byte, off int64) (int, error) {
	u.mu.RLock()
	defer u.mu.RUnlock()
	if u.ended {
		return 0, fs.ErrClosed
	}
	return u.f.ReadAt(b, off)
}

func (u *upload) WriteAt(b []byte, off int64) (int, error) {
	if err := u.step("write"); err != nil {
		return 0, err
	}
	u.mu.RLock() // the end waits for it: nothing is written once it has returned
	defer u.mu.RUnlock()
	for u.trunc && !u.ended {
		u.mu.RUnlock()
		err := u.empty()
		u.mu.RLock()
		if err != nil {
			return 0, err
		}
	}
	if u.ended {
		return 0, fs.ErrClosed
	}
	return u.f.WriteAt(b, off)
}

func (u *upload) Truncate(size int64) error {
	if err := u.empty(); err != nil {
		return err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ended {
		return fs.ErrClosed
	}
	u.anew = u.anew || size < u.base
	return u.f.Truncate(size)
}

func (u *upload) Stat() (fs.FileInfo, error) {
	u.mu.RLock()
	defer u.mu.RUnlock()
	if u.ended {
		return nil, fs.ErrClosed
	}
	i, err := fstat(u.f)
	if err != nil {
		return nil, err
	}
	i.name = u.name
	if u.trunc && !u.direct() {
		i.size = u.start
	}
	if !u.mtime.IsZero() {
		i.mtime = u.mtime
	}
	return i, nil
}

// SetTime is remembered: what is written later would change it.
func (u *upload) SetTime(mtime time.Time) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ended {
		return fs.ErrClosed
	}
	u.mtime, u.synced = mtime, false
	return nil
}

// Chmod changes the file now, and is remembered: it may get the mode of the file
// that it replaces later.
func (u *upload) Chmod(mode fs.FileMode) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ended {
		return fs.ErrClosed
	}
	f := u.f
	if u.over != nil {
		f = u.over
	}
	mode = mode.Perm()
	err := u.as(func() error { return f.Chmod(mode) })
	if err == nil {
		u.mode, u.synced = &mode, false
	}
	return err
}

func (u *upload) Offset() int64 { return u.start }

// end marks the upload as ended; false when it was already.
func (u *upload) end() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ended {
		return false
	}
	u.ended = true
	return true
}

// release gives back all that an upload holds, once it has ended.
func (u *upload) release() {
	u.unlock() // first: the number of a file that is gone may be another's at once
	_ = u.f.Close()
	if u.over != nil {
		_ = u.over.Close()
	}
	u.unreserve()
	_ = u.dir.close()
}

// Sync gives the file what Commit must not spend time on and flushes it.
func (u *upload) Sync(ctx context.Context) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ended {
		return fs.ErrClosed
	}
	if u.synced {
		return nil
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if err := u.behind(); err != nil { // nothing was written: the upload ends at its offset
		return err
	}
	if u.over != nil { // what lasts is the file that Commit writes over
		u.synced = true
		return nil
	}
	if u.inherits() || !u.mtime.IsZero() {
		if err := u.as(u.attributes); err != nil {
			return err
		}
	}
	if u.disk.durable() {
		if err := u.step("fsync"); err != nil {
			return err
		}
		if err := u.f.Sync(); err != nil {
			return err
		}
	}
	u.synced = true
	return nil
}

// attributes gives the file what it has beside its content. It runs as the owner.
func (u *upload) attributes() error {
	if u.inherits() {
		u.inherit()
	}
	if u.mtime.IsZero() {
		return nil
	}
	return setFileTime(u.f, u.mtime)
}

// inherits tells whether the file may take the place of another.
func (u *upload) inherits() bool { return u.temp != "" && u.how.How != vfs.New }

func (u *upload) inherit() {
	old, err := u.dir.lstat(u.name)
	if err != nil || !old.mode.IsRegular() {
		return
	}
	f, err := u.dir.open(u.name, os.O_RDONLY|openNonblock, 0)
	if err != nil {
		f = nil
	} else {
		defer f.Close()
	}
	inherit(u.f, f, old)
	// After chown, which clears bits, and without set-uid: new content was not
	// what its owner gave that bit to. A partial has its mode from its beginning,
	// or from a client that has set it since.
	perm := old.mode.Perm()
	switch {
	case u.mode != nil:
		perm = *u.mode
	case u.how.How == vfs.Resume:
		perm = u.perm
	}
	_ = u.f.Chmod(perm)
}

// Commit renames, then flushes the directory.
func (u *upload) Commit(ctx context.Context) error {
	if err := u.Sync(ctx); err != nil {
		return err
	}
	if u.temp == "" && u.over == nil {
		return u.commitInPlace(ctx)
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if err := u.step("rename"); err != nil {
		return err
	}
	u.mu.Lock()
	err := fs.ErrClosed
	if !u.ended {
		err = u.publish()
		u.ended = err == nil
	}
	u.mu.Unlock()
	if err != nil || u.over != nil {
		if err == nil {
			u.release()
		}
		return err
	}
	defer u.release()
	u.loseName()
	return u.flushDir()
}

// publish gives the name the new file. Of a file with several names, and of one
// whose directory can't be written, the content is written over instead.
func (u *upload) publish() error {
	if u.over != nil {
		if err := u.stillNamed(); err != nil {
			return err
		}
		return u.writeOver(u.over)
	}
	var twin *os.File
	err := u.as(func() (err error) {
		if twin, err = u.rename(); err == nil && twin == nil {
			u.forgetOlder()
		}
		return err
	})
	if twin == nil {
		return err
	}
	defer twin.Close()
	u.disk.log.Warn("upload is written over a file with several links", "name", u.name)
	if err := u.writeOver(twin); err != nil {
		return err
	}
	err = u.as(func() error {
		u.forgetOlder()
		return u.dir.unlink(u.temp)
	})
	if err != nil { // published all the same; a sweep takes it
		u.disk.log.Warn("hidden file stays behind", "error", err)
	}
	return nil
}

// forgetOlder removes an older partial of this name, which has had its day, and
// the note that tells its name.
func (u *upload) forgetOlder() {
	if u.how.Owner == "" {
		return
	}
	partial := partialName(u.name, u.how.Owner)
	if u.dir.unlink(partial) == nil || u.how.Listed || u.how.How == vfs.Resume {
		_ = u.dir.unlink(nameNote(partial))
	}
}

// rename gives the name the hidden file, or returns the file to write over where
// a rename would part several names of one. It runs as the owner.
func (u *upload) rename() (twin *os.File, err error) {
	how := vfs.Overwrite
	if u.how.How == vfs.New {
		how = vfs.NoReplace
	}
	old, err := u.dir.lstat(u.name)
	if err != nil || how == vfs.NoReplace || !old.mode.IsRegular() || old.attr.Links < 2 {
		return nil, u.dir.rename(u.temp, u.name, how)
	}
	f, err := u.dir.open(u.name, os.O_WRONLY|openNonblock, 0)
	if err != nil {
		return nil, err
	}
	if err := disarm(f, old); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// writeOver makes f's content that of the upload. Room for it is taken first, so
// that a full disk leaves the old content.
func (u *upload) writeOver(f *os.File) error {
	i, err := fstat(u.f)
	if err != nil {
		return err
	}
	if err := reserveRoom(f, i.size); err != nil {
		return err
	}
	if _, err := u.f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if _, err := io.Copy(f, u.f); err != nil {
		u.disk.log.Error("a file is damaged: writing over it failed in the middle", "name", u.name, "error", err)
		return err
	}
	if err := f.Truncate(i.size); err != nil {
		return err
	}
	if !u.mtime.IsZero() {
		err := u.as(func() error { return setFileTime(f, u.mtime) })
		if err != nil && !errors.Is(err, fs.ErrPermission) { // the time of another's file, which may be written
			return err
		}
	}
	if u.disk.durable() {
		return f.Sync()
	}
	return nil
}

// stillNamed tells whether the name is still that of the file that we write to:
// it may have been replaced or renamed meanwhile.
func (u *upload) stillNamed() error {
	return u.as(func() error {
		i, err := u.dir.lstat(u.name)
		if err == nil && i.id() != u.file {
			err = fault.New(fault.Busy, fault.IDInUse, u.name)
		}
		return err
	})
}

func (u *upload) commitInPlace(ctx context.Context) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if err := u.stillNamed(); err != nil {
		return err
	}
	if !u.end() {
		return fs.ErrClosed
	}
	defer u.release()
	if u.note == "" && !u.made {
		return nil
	}
	u.removeNote()
	// Before the answer: a note that came back with a crash would take back
	// what was acknowledged.
	return u.flushDir()
}

func (u *upload) flushDir() error {
	if !u.disk.durable() {
		return nil
	}
	if err := u.step("fsync directory"); err != nil {
		return err
	}
	return u.disk.syncDir(u.dir)
}

// Cut keeps the upload as its owner's partial.
func (u *upload) Cut() error {
	if u.direct() {
		return u.leave()
	}
	if u.temp == "" || u.how.Owner == "" {
		return u.Discard()
	}
	if !u.end() {
		return fs.ErrClosed
	}
	defer u.release()
	return u.as(u.cut)
}

// leave ends a direct upload as it is: what came stays under the name.
func (u *upload) leave() error {
	if !u.end() {
		return fs.ErrClosed
	}
	defer u.release()
	if u.trunc { // nothing came, not even a beginning
		return u.unmake()
	}
	if u.mtime.IsZero() {
		return nil
	}
	return u.as(func() error { return setFileTime(u.f, u.mtime) })
}

// unmake removes the file that Create made, if it has its name still.
func (u *upload) unmake() error {
	if !u.made || u.stillNamed() != nil {
		return nil
	}
	return u.unlink(u.name)
}

// cut runs as the owner.
func (u *upload) cut() error {
	partial := partialName(u.name, u.how.Owner)
	i, err := fstat(u.f)
	if err != nil {
		return errors.Join(err, u.dir.unlink(u.temp))
	}
	came := !u.trunc && (u.anew || i.size > u.base)
	switch keep := max(i.size-vfs.CutTail, 0); {
	case !came && u.how.How == vfs.Resume: // as it was: its tail is off already
	case !came:
		return u.drop()
	case keep == 0 && !u.hides():
		// An older partial goes too: what came may have been another file, and a
		// client that goes on with the old one by its size would mix the two.
		_ = u.dir.unlink(partial)
		return u.drop()
	default:
		if err := u.f.Truncate(keep); err != nil {
			return errors.Join(err, u.drop())
		}
	}
	u.keepName()
	if !u.mtime.IsZero() {
		_ = u.dir.chtimes(u.temp, u.mtime, u.mtime)
	}
	return u.dir.rename(u.temp, partial, vfs.Overwrite)
}

// drop removes the hidden file, and the note that tells its name, unless that
// tells an older partial's too. It runs as the owner.
func (u *upload) drop() error {
	err := u.dir.unlink(u.temp)
	if u.how.Listed || u.how.How == vfs.Resume {
		partial := partialName(u.name, u.how.Owner)
		if _, lerr := u.dir.lstat(partial); errors.Is(lerr, fs.ErrNotExist) {
			_ = u.dir.unlink(nameNote(partial))
		}
	}
	return err
}

// hides tells whether a finished file has the name. Then even an empty partial is
// kept: it refuses the client that takes the finished file for its own beginning.
func (u *upload) hides() bool {
	_, err := u.dir.lstat(u.name)
	return err == nil
}

// Discard leaves nothing behind.
func (u *upload) Discard() error {
	if !u.end() {
		return fs.ErrClosed
	}
	defer u.release()
	switch {
	case u.temp != "":
		return u.as(u.drop)
	case u.over != nil, u.direct() && u.trunc && !u.made:
		return nil
	case u.made:
		return u.unmake()
	case u.direct():
		return u.f.Truncate(u.start)
	}
	err := u.f.Truncate(u.base)
	u.removeNote()
	return err
}

// A dirFlush is a directory whose fsync is running. Those who come meanwhile
// wait for one more, together: it covers all of their renames.
type dirFlush struct{ next *flushRound }

type flushRound struct {
	turn chan struct{} // closed when its first member may flush
	done chan struct{} // closed when it is over
	err  error

	members int
}

func (d *Disk) syncDir(h handle) error {
	id := h.id()
	d.mu.Lock()
	f, running := d.flushes[id]
	if !running {
		f = &dirFlush{}
		d.flushes[id] = f
		d.mu.Unlock()
		err := h.sync()
		d.nextRound(id, f)
		return err
	}
	round := f.next
	first := round == nil
	if first {
		round = &flushRound{turn: make(chan struct{}), done: make(chan struct{})}
		f.next = round
	}
	round.members++
	d.mu.Unlock()
	if !first {
		<-round.done
		return round.err
	}
	<-round.turn
	round.err = h.sync()
	close(round.done)
	d.nextRound(id, f)
	return round.err
}

// nextRound lets those flush who wait, or ends the series.
func (d *Disk) nextRound(id fileID, f *dirFlush) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if f.next == nil {
		delete(d.flushes, id)
		return
	}
	close(f.next.turn)
	f.next = nil
}
