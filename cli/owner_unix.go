//go:build unix

package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// ownersOf are the user and the group that a file belongs to.
func ownersOf(fi fs.FileInfo) (uid, gid int, ok bool) {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return -1, -1, false
	}
	return int(st.Uid), int(st.Gid), true
}

// becomeOwner makes root the owner of dir, for good: files that root made in it
// could not be opened by a server that runs as that user.
func becomeOwner(dir string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	uid, gid, ok := ownerOf(dir)
	if !ok || uid == 0 {
		return nil
	}
	if err := errors.Join(syscall.Setgroups([]int{gid}), syscall.Setgid(gid), syscall.Setuid(uid)); err != nil {
		return fmt.Errorf("can't become the owner of %s: %w", dir, err)
	}
	return nil
}
