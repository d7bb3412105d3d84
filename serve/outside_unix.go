//go:build unix

package serve

import "golang.org/x/sys/unix"

// writable tells whether this process may make files in a directory.
func writable(dir string) bool {
	return unix.Faccessat(unix.AT_FDCWD, dir, unix.W_OK|unix.X_OK, unix.AT_EACCESS) == nil
}
