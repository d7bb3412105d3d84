//go:build unix

package admin

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

func isSocket(fi fs.FileInfo) bool { return fi.Mode()&fs.ModeSocket != 0 }

// gone tells that nobody listens at a socket that is there.
func gone(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }

// lockFor holds what makes a server the only one at path: two that start at once would
// take the socket away from each other.
func lockFor(path string) (io.Closer, error) {
	path += ".lock"
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
		if err != nil {
			return nil, err
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			_ = f.Close()
			if errors.Is(err, unix.EWOULDBLOCK) {
				return nil, fmt.Errorf("%s: %w", path, ErrTaken)
			}
			return nil, err
		}
		own, err := f.Stat()
		now, lerr := os.Lstat(path)
		if err == nil && lerr == nil && os.SameFile(own, now) {
			return lock{f}, nil
		}
		_ = f.Close() // whoever had it has removed it meanwhile
	}
}

// A lock is a file that goes while it is held: whoever gets it then looks again.
type lock struct{ *os.File }

func (l lock) Close() error { return errors.Join(os.Remove(l.Name()), l.File.Close()) }
