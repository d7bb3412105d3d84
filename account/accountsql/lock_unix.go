//go:build unix

package accountsql

import (
	"errors"
	"os"
	"syscall"
)

// lockFile takes the lock of the one server that keeps the ledger of a database; it
// ends with the process. taken: another one has it.
func lockFile(name string) (f *os.File, taken bool, err error) {
	f, err = os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, false, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, true, nil
		}
		return nil, false, nil // a file system without locks
	}
	return f, false, nil
}
