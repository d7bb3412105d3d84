//go:build !unix

package remote

import (
	"os"
	"path/filepath"
)

// withLock runs do; on this system two processes that do it at once may lose
// the change of one of them.
func withLock(file string, do func() error) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	return do()
}
