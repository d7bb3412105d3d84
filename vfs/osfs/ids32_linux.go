//go:build linux && (386 || arm)

package osfs

import "golang.org/x/sys/unix"

// The calls without the number take ids of 16 bits here.
const (
	sysSetgroups = unix.SYS_SETGROUPS32
	sysSetfsgid  = unix.SYS_SETFSGID32
	sysSetfsuid  = unix.SYS_SETFSUID32
)
