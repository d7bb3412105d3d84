package admin

import (
	"net"

	"golang.org/x/sys/unix"
)

// peerUID is the user at the other end (unix(7), SO_PEERCRED).
func peerUID(nc *net.UnixConn) (uid int, ok bool) {
	rc, err := nc.SyscallConn()
	if err != nil {
		return 0, false
	}
	err = rc.Control(func(fd uintptr) {
		var cred *unix.Ucred
		if cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			uid, ok = int(cred.Uid), true
		}
	})
	return uid, ok && err == nil
}
