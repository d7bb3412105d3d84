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
// take the socket away from each other. The file stays, because one that is removed
// may be locked by two.
func lockFor(path string) (io.Closer, error) {
	f, err := os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
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
	return f, nil
}
