// Package vfs is the contract of a file tree: what the servers ask of a place
// that holds files, and what they may rely on. It knows no protocol and no
// accounts. Implementations are in its subpackages; vfstest runs the contract
// against each of them.
package vfs

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"iter"
	"os"
	"time"
)

// An FS is a tree of files, safe for concurrent use. Its errors satisfy the
// sentinels of io/fs where one fits, and fault.KindOf sorts the others.
// No method shows, opens or removes a name that begins with Hidden.
type FS interface {
	// Stat follows symbolic links inside the tree; Lstat does not follow the last one.
	Stat(ctx context.Context, p Path) (fs.FileInfo, error)
	Lstat(ctx context.Context, p Path) (fs.FileInfo, error)
	// List yields the entries of a directory in the tree's order, without "."
	// and "..", as Lstat sees them. A FileInfo and its Name are valid until the
	// next step only. After an error the sequence ends.
	List(ctx context.Context, p Path) iter.Seq2[fs.FileInfo, error]
	// Open opens a regular file for reading. It never blocks on a FIFO and
	// refuses everything that is not a regular file: a directory with kind
	// IsDir, the rest with id not-regular.
	Open(ctx context.Context, p Path) (File, error)
	// Create begins an upload to p. Nothing that has that name changes before
	// Commit, except with InPlace and Create.Direct. The directory must exist. A
	// directory of that name is kind IsDir, for New fs.ErrExist.
	Create(ctx context.Context, p Path, how Create) (Upload, error)
	Mkdir(ctx context.Context, p Path) error
	// Remove removes a name that is not a directory (a link, not its target);
	// RemoveDir an empty directory.
	Remove(ctx context.Context, p Path) error
	RemoveDir(ctx context.Context, p Path) error
	Rename(ctx context.Context, from, to Path, how Rename) error
	SetTime(ctx context.Context, p Path, mtime time.Time) error
	Close() error
}

// A File is a regular file open for reading.
type File interface {
	io.ReaderAt
	io.Closer
	Stat() (fs.FileInfo, error)
}

// A Kernel is a File or Upload that is one descriptor and nothing else: its
// bytes may be moved by the kernel, beginning at the offset that the caller
// seeks to. nil: not now.
type Kernel interface{ OSFile() *os.File }

// A Ready is a File that reads at once what the system has in memory, without waiting
// for a disk. ReadReady is that of io.ReaderAt, for one goroutine at a time. ErrWait
// means that some of it would have to be waited for, and errors.ErrUnsupported that
// this can't be told of this file.
type Ready interface {
	ReadReady(b []byte, off int64) (int, error)
}

// ErrWait is the answer to a read that must not wait and would have to.
var ErrWait = errors.New("not in memory")

// A How is the way in which an upload comes into being.
type How int

const (
	// Replace writes beside the name and renames over it at Commit. With
	// Create.Offset n above zero the new file begins with the first n bytes of
	// the old one.
	Replace How = iota
	// New is exclusive: beside, and Commit fails with fs.ErrExist when the name
	// was taken meanwhile. Create fails with it when the name is taken already, by
	// whatever it may be, also by another New that is not committed.
	New
	// Resume goes on with Owner's partial of this name, cut to Create.Offset;
	// fs.ErrNotExist when there is none, kind BadOffset when it is shorter. While
	// it runs there is no partial: a second Resume finds none. It keeps the mode of
	// the partial, which began with that of the file it was to replace.
	Resume
	// InPlace writes to the finished file itself from Create.Offset on (-1: its
	// end), under a write lock: a second one gets kind Busy. Cut and Discard
	// take it back to its old length. Kind BadOffset above the end.
	InPlace
)

// Create says how an upload begins. Owner is whose partial it becomes when it
// is cut; "" means that none is kept. Expect is the size that was announced, 0
// when none was: a hint for trees that store by the piece, and never a limit.
// Mode are the permission bits of a file that is new, 0 for those that the tree
// gives by itself; a file that takes the place of another has the other's.
//
// Listed lets the tree keep the name with the partial, so that
// Partials.Names tells it. A partial whose name is known stays so.
//
// Direct writes to the name itself, as servers did of old: everybody sees the file
// grow, nothing of it is hidden, and a cut leaves what came. Replace and New make
// a missing file at once; Resume takes no notice of it. The write lock is that of
// InPlace. A file that is there keeps all of its bytes until the first WriteAt,
// Truncate or Sync, which first takes away what is behind Offset.
type Create struct {
	How    How
	Offset int64
	Expect int64
	Owner  string
	Mode   fs.FileMode
	Listed bool
	Direct bool
}

// An Upload is a file being written. It ends by exactly one of Commit, Cut and
// Discard; calls after that return fs.ErrClosed, and a WriteAt that races with
// the end changes nothing once it has returned. Stat shows a time that was set.
type Upload interface {
	io.ReaderAt
	io.WriterAt
	Stat() (fs.FileInfo, error)
	Truncate(size int64) error
	// SetTime and Chmod are for the finished file: they hold whatever is written
	// later, and against what it takes from the one that it replaces. Of a mode the
	// lowest nine bits count; fs.ErrInvalid where the tree has none.
	SetTime(mtime time.Time) error
	Chmod(mode fs.FileMode) error
	// Sync makes what was written durable (where the tree is asked to be) and
	// does all of the preparation for Commit, so that the first thing Commit
	// does is to change the name.
	Sync(ctx context.Context) error
	// Offset is where the first byte of this upload goes.
	Offset() int64
	// Commit makes the name show the upload, durably where the tree is asked to
	// be. After an error the name shows what it showed before, and the upload is
	// cut or discarded by the caller. With Create.Direct it fails when the file
	// has lost its name meanwhile.
	Commit(ctx context.Context) error
	// Cut keeps the upload, less its last CutTail bytes, as Owner's partial of
	// this name, in place of an older one, which goes also when nothing would be
	// left of this one. Where a finished file has the name, a partial of nothing
	// is kept too: it keeps the two apart. When nothing came at all, things are as they were before
	// Create. Without an owner, and in place, it is Discard. With Create.Direct
	// it leaves what came under the name, all of it, and whoever is the owner.
	Cut() error
	// Discard leaves nothing of the upload. With Create.Direct it removes a file
	// that Create has made, and takes another back to what lay before Offset, but
	// for bytes that were written over; before the first byte it changes nothing.
	Discard() error
}

// CutTail is how much of an upload is cut off when it is kept as a partial, in
// bytes: a partial never has the length of the whole file.
const CutTail = 4096

// A Rename says what happens when the new name is taken.
type Rename int

const (
	Overwrite Rename = iota // the target is replaced, when neither is a directory, or both are and the target is empty
	NoReplace               // fs.ErrExist
)

// Partials is what a tree offers that keeps cut uploads. owner is the account.
// Where there is no partial, all but Forget and Clear return fs.ErrNotExist.
type Partials interface {
	// Partial tells about owner's partial of p; fs.ErrNotExist when there is none.
	Partial(ctx context.Context, p Path, owner string) (fs.FileInfo, error)
	// Names yields the idle partials of owner in a directory whose names
	// are known (see Create.Listed), in no order, each under the name that its file
	// will have. It costs one look at the directory. After an error the sequence
	// ends.
	Names(ctx context.Context, dir Path, owner string) iter.Seq2[fs.FileInfo, error]
	// OpenPartial opens it for reading. Bytes may come and go meanwhile.
	OpenPartial(ctx context.Context, p Path, owner string) (File, error)
	// Forget removes it. No partial is no error.
	Forget(ctx context.Context, p Path, owner string) error
	// Clear removes all idle partials of owner in a directory and reports the
	// bytes of each.
	Clear(ctx context.Context, dir Path, owner string, freed func(sizeBytes int64)) error
	// MovePartial gives it another name; it stays a partial, and takes the place
	// of an older one. fs.ErrExist where a finished file has the name.
	MovePartial(ctx context.Context, from, to Path, owner string) error
	// SetPartialTime and ChmodPartial are kept for the commit.
	SetPartialTime(ctx context.Context, p Path, owner string, mtime time.Time) error
	ChmodPartial(ctx context.Context, p Path, owner string, mode fs.FileMode) error
	// Sweep removes partials last written before the given time (a date that was
	// set does not make one old), takes what a
	// dead process left behind to its rest (uploads become partials, appends are
	// taken back), and reports the bytes of each file that it removed.
	Sweep(ctx context.Context, before time.Time, freed func(sizeBytes int64)) error
}

// A Linker has symbolic links that may be read.
type Linker interface {
	Readlink(ctx context.Context, p Path) (string, error)
}

// A Looker answers in one look what an upload asks before and after it changes a
// name; each answer alone would resolve the path again.
type Looker interface {
	// Look tells what there is at p. An error is that of the way to it.
	Look(ctx context.Context, p Path, owner string) (Sight, error)
	// NoLinks tells whether no part of p is a symbolic link, as far as p exists.
	// False may also mean that it can't be told.
	NoLinks(ctx context.Context, p Path) bool
}

// A Sight is what there is at a path; nil: nothing.
type Sight struct {
	File    fs.FileInfo // links followed
	Partial fs.FileInfo // the owner's cut upload to it
	Dir     fs.FileInfo // what holds both: the directory of the file where p is a link
}

// A Symlinker makes symbolic links. target is what the link will hold, relative to
// the directory of p; a tree refuses one that is absolute or leads out of it with
// kind Denied. fs.ErrExist when the name is taken.
type Symlinker interface {
	Symlink(ctx context.Context, target string, p Path) error
}

// A HardLinker gives a regular file another name. fs.ErrExist when the name is
// taken. A link is no regular file, wherever it leads.
type HardLinker interface {
	Hardlink(ctx context.Context, old, p Path) error
}

// A LinkTimer sets the modification time of a symbolic link itself.
type LinkTimer interface {
	SetLinkTime(ctx context.Context, p Path, mtime time.Time) error
}

// A Moder has permission bits that may be set; only the lowest nine are.
type Moder interface {
	Chmod(ctx context.Context, p Path, mode fs.FileMode) error
}

// An Editor opens files where they are, as programs on a file system do: to be read
// and written by any number at once, with nothing hidden and nothing taken back.
type Editor interface {
	// Edit opens the regular file at p. Kind Busy while an upload writes to it in
	// place.
	Edit(ctx context.Context, p Path) (Edited, error)
	// Make makes an empty file of that name at once and opens it. fs.ErrExist when
	// the name is taken, by whatever it may be, also by an upload with New. A link
	// is a name that is taken, wherever it leads. Mode is as in Create.
	Make(ctx context.Context, p Path, mode fs.FileMode) (Edited, error)
}

// An Edited is a regular file open for reading, where the tree lets it, and for
// writing. It stays open when its name goes. Truncate may make it longer.
type Edited interface {
	File
	io.WriterAt
	Truncate(size int64) error
	SetTime(mtime time.Time) error
	Chmod(mode fs.FileMode) error // as Upload.Chmod
	// Sync makes what was written durable, and the name of a file that was made.
	Sync(ctx context.Context) error
}

// A Spacer knows how much room is left, in bytes, for this process.
type Spacer interface {
	Space(ctx context.Context, p Path) (free, total uint64, err error)
}

// A Measurer counts what a tree holds: the regular files, and the idle partials of
// owner, each file once whatever number of names it has. It is for recounts of a
// quota, and may take minutes.
type Measurer interface {
	Measure(ctx context.Context, owner string) (files int, sizeBytes int64, err error)
}

// An Attr is what a listing shows beyond fs.FileInfo. A tree offers it as the
// FileInfo's Sys value, as *Attr.
type Attr struct {
	Links    uint64
	UID, GID uint32
	Dev, Ino uint64 // together they tell two names of one file
}

// AttrOf returns the attributes that fi carries; the zero Attr when it has none.
func AttrOf(fi fs.FileInfo) Attr {
	if a, ok := fi.Sys().(*Attr); ok {
		return *a
	}
	return Attr{}
}
