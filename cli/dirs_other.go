//go:build !linux

package cli

import "io/fs"

// safeDir is no safer here than what others do.
func safeDir(name string, mode fs.FileMode, uid, gid int) (dir, error) {
	return plainDir(name, mode, uid, gid)
}
