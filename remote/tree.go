package remote

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"path"
	"strings"
	"time"

	"dray/ftp"
	"dray/meter"
	"dray/transfer"
	"dray/vfs"
)

// An Entry is one name of a server, as far as the server tells about it.
type Entry = ftp.Listed

// A Tree is the files of one account on one server. It is safe for any number of
// goroutines: it opens connections as they are needed, up to what the server bears,
// and makes those who come later wait.
//
// Paths are those of the server, with slashes: absolute, or relative to where the
// login leads. Errors are *fault.Error with the facts that package explain has for
// a client. After an error of kind Cut, Stalled or Closing the next call connects
// again.
type Tree interface {
	// Traits connects when nobody has yet.
	Traits(ctx context.Context) (Traits, error)
	// List yields the entries of a directory without "." and "..". After an error
	// the sequence ends.
	List(ctx context.Context, dir string) iter.Seq2[Entry, error]
	// Stat follows links. Seen tells what a listing of the directory shows, and
	// so what others see: no upload that is not finished.
	Stat(ctx context.Context, p string) (Entry, error)
	Seen(ctx context.Context, p string) (Entry, error)
	Get(ctx context.Context, p string, g Get, dst transfer.Dest) (transfer.Report, error)
	Put(ctx context.Context, p string, u Put, src vfs.File) (transfer.Report, error)
	Mkdir(ctx context.Context, p string) error
	Remove(ctx context.Context, p string) error
	RemoveDir(ctx context.Context, p string) error
	// Rename replaces a file that has the new name.
	Rename(ctx context.Context, from, to string) error
	Chmod(ctx context.Context, p string, mode fs.FileMode) error
	SetTime(ctx context.Context, p string, mtime time.Time) error
	Readlink(ctx context.Context, p string) (string, error)
	Symlink(ctx context.Context, target, p string) error
	// Sum is the checksum of the bytes from to to (0: the end), in lower-case
	// hexadecimal digits. Kind Unsupported where the server has none of that name.
	Sum(ctx context.Context, p, algorithm string, from, to int64) (string, error)
	// Space is how many bytes may still be stored in a directory, and how large
	// the place is; total 0 where that is not told.
	Space(ctx context.Context, dir string) (free, total uint64, err error)
	// Width is how many transfers are worth while at once when so many wait.
	Width(waiting int) int
	// Expect says that about n transfers will come soon, so that connections may be
	// made in advance; best before anything else is asked.
	Expect(ctx context.Context, n int)
	// Refused tells that the server has turned a transfer away for being one too
	// many, so that Width becomes less.
	Refused()
	Close() error
}

// A Keeper is a Tree that tells how many bytes the server keeps of an upload which was
// cut and was to replace the file at p, where that file is all that others are shown;
// fs.ErrNotExist where it keeps none. A Put that begins there goes on with them.
type Keeper interface {
	Kept(ctx context.Context, p string) (int64, error)
}

// Homed is a Tree that tells where relative paths begin, as an absolute path.
type Homed interface {
	Home(ctx context.Context) (string, error)
}

// Traits are what a server is and can, as far as it decides how files are moved.
type Traits struct {
	// Dray tells that the server keeps uploads hidden until they are whole, so that
	// they may go under their final names.
	Dray bool
	// Software is how the server calls itself, for people.
	Software string
	// Times and Modes tell that they may be set, Links that symbolic links may be
	// made and read.
	Times, Modes, Links bool
	// Sums are the algorithms of Sum, the strongest first.
	Sums []string
	// DirsOnly tells that List fails where there is no directory, which LIST of FTP
	// does not.
	DirsOnly bool
	// Overlap tells that transfers share one connection, so that many small files
	// cost little more than one.
	Overlap bool
}

// Get is how a download is made.
type Get struct {
	From int64 // the first byte that is wanted
	Size int64 // of the whole file as it was told, -1 unknown
	How  transfer.Options
}

// Put is how an upload is made. The zero Mode and Time leave both to the server.
type Put struct {
	From  int64 // where it goes on; what the server has before it stays
	Size  int64 // of the whole source, told to servers that make room for it; 0: not told
	Mode  fs.FileMode
	Time  time.Time
	Fresh bool // nothing of that name is there
	// Whole says that the path is the final name, under which a server shows an upload
	// when it has ended: one that fails must not end there.
	Whole bool
	// Final is the name that the file gets when all of it is there; "": that of the
	// path. A file that has it is replaced where the server does that; ErrNotRenamed is
	// in the chain of the error where the name alone is wrong.
	Final string
	// Before is asked when all was sent, before the file gets its final name; nil:
	// nobody is.
	Before func(rep transfer.Report) error
	How    transfer.Options
}

// Meter is permission for one transfer and the count of what has moved.
type Meter = meter.Meter

// Join is a path of a server below dir.
func Join(dir, name string) string {
	switch {
	case dir == "" || dir == ".":
		return name
	case strings.HasSuffix(dir, "/"):
		return dir + name
	}
	return dir + "/" + name
}

// Dir and Base are those of package path: what holds a path, and its last part.
func Dir(p string) string { return path.Dir(p) }

// Base is the last part of a path, "/" for the root.
func Base(p string) string { return path.Base(p) }

// ErrNotRenamed is in the chain of the failure of a Put whose file is whole under the
// path and has not got its final name, or perhaps has: nobody heard.
var ErrNotRenamed = errors.New("the file is whole, and has not got its final name")

// ErrUnsure is in the chain of the failure of a Put whose bytes have all been sent
// and whose answer was lost: the file may be there.
var ErrUnsure = errors.New("all was sent, and the answer was lost")
