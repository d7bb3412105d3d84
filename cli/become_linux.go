package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// becomeUser makes root a user without privileges, for good: it starts this
// program again as that user, with the capability to bind low ports, and with
// owners those to act as them. The process stays the same one, so descriptors and
// the main process of a unit do too. For anybody but root it does nothing.
func becomeUser(name string, owners bool) error {
	if name == "" || os.Geteuid() != 0 {
		return nil
	}
	uid, gid, err := idsOf(name)
	if err != nil {
		return err
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	caps := []uint{unix.CAP_NET_BIND_SERVICE}
	if owners {
		caps = append(caps, unix.CAP_SETUID, unix.CAP_SETGID)
	}
	runtime.LockOSThread() // what follows is for this thread, which is all that is left after exec
	if err := dropTo(uid, gid, caps); err != nil {
		return fmt.Errorf("can't become %s: %w", name, err)
	}
	err = syscall.Exec(program, os.Args, os.Environ())
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%s may not run %s, or may not enter a directory above it\n      install the program where everybody may run it, as /usr/local/bin/dray", name, program)
	}
	return fmt.Errorf("can't start again as %s: %w", name, err)
}

func dropTo(uid, gid int, caps []uint) error {
	groups := []uint32{uint32(gid)}
	if err := unix.Prctl(unix.PR_SET_KEEPCAPS, 1, 0, 0, 0); err != nil {
		return err
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, 1, uintptr(unsafe.Pointer(&groups[0])), 0); errno != 0 {
		return fmt.Errorf("setgroups: %w", errno)
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESGID, uintptr(gid), uintptr(gid), uintptr(gid)); errno != 0 {
		return fmt.Errorf("setresgid: %w", errno)
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)); errno != 0 {
		return fmt.Errorf("setresuid: %w", errno)
	}
	var set uint32
	for _, c := range caps {
		set |= 1 << c
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	data := [2]unix.CapUserData{{Effective: set, Permitted: set, Inheritable: set}}
	if err := unix.Capset(&header, &data[0]); err != nil {
		return fmt.Errorf("capset: %w", err)
	}
	for _, c := range caps {
		if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, uintptr(c), 0, 0); err != nil {
			return fmt.Errorf("keep capability %d: %w", c, err)
		}
	}
	return nil
}
