//go:build unix

package remote

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// withLock runs do while no other process is in it for the same file. The lock
// is a file beside it, because the file itself is replaced.
func withLock(file string, do func() error) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(file+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // the lock goes with it
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	// A file system without locks does not keep anybody from a change that is
	// made whole or not at all.
	return do()
}
