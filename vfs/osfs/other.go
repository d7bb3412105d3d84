//go:build !linux

package osfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"time"

	"dray/fault"
	"dray/vfs"
)

const (
	openDirectory = 0
	openNonblock  = 0
	openNoAtime   = 0
)

func openJail(dir string) (jail, error) { return openRoot(dir) }

func infoOf(name string, fi fs.FileInfo) *info {
	return &info{name: name, size: fi.Size(), mode: fi.Mode(), mtime: fi.ModTime(), attr: vfs.Attr{Links: 1}}
}

// A guise is never there: see OpenAs.
type guise struct{ umask fs.FileMode }

func newGuise(Identity, *slog.Logger) (*guise, error) {
	return nil, fmt.Errorf("accounts with owners need Linux: %w", errors.ErrUnsupported)
}

func (*guise) openJail(string) (jail, error) { return nil, errors.ErrUnsupported }
func (*guise) run(op func() error) error     { return op() }
func (*guise) owns(*info) bool               { return true }

// CanSwitch tells whether this process may take the identities of others: never
// on this system.
func CanSwitch() bool { return false }

func list(ctx context.Context, f *os.File, _ *guise, yield func(fs.FileInfo, error) bool) {
	for {
		if err := context.Cause(ctx); err != nil {
			yield(nil, err)
			return
		}
		entries, err := f.ReadDir(256)
		for _, e := range entries {
			if hidden(e.Name()) {
				continue
			}
			fi, err := e.Info()
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				yield(nil, err)
				return
			}
			if !yield(infoOf(e.Name(), fi), nil) {
				return
			}
		}
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			yield(nil, err)
			return
		}
	}
}

func space(*os.File) (free, total uint64, err error) {
	return 0, 0, fault.New(fault.Unsupported, fault.IDUnsupported, "the free space of this system")
}

// Without locks that end with the process a living upload can't be told from a
// dead one; Sweep then goes by age alone.
func lockFile(*os.File)                       {}
func tryLockFile(*os.File) (free, known bool) { return false, false }
func linked(*os.File) bool                    { return true }

func fstat(f *os.File) (*info, error) {
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return infoOf(path.Base(f.Name()), fi), nil
}

func setFileTime(f *os.File, mtime time.Time) error { return os.Chtimes(f.Name(), time.Time{}, mtime) }

func syncDir(f *os.File) error { _ = f.Sync(); return nil }

func inherit(to, _ *os.File, _ *info) {}

func setAttr(*os.File, string, []byte) error   { return errors.ErrUnsupported }
func getAttr(*os.File, string) ([]byte, error) { return nil, errors.ErrUnsupported }
func removeAttr(*os.File, string) error        { return nil }

func disarm(*os.File, *info) error { return nil }

func reserveRoom(*os.File, int64) error { return nil }

func solid(_ *os.File, size int64) int64 { return size }
