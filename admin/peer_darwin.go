package admin

import (
	"net"

	"golang.org/x/sys/unix"
)

// peerUID is the user at the other end (unix(4), LOCAL_PEERCRED).
func peerUID(nc *net.UnixConn) (uid int, ok bool) {
	rc, err := nc.SyscallConn()
	if err != nil {
		return 0, false
	}
	err = rc.Control(func(fd uintptr) {
		var cred *unix.Xucred
		if cred, err = unix.GetsockoptXucred(int(fd), unix.SOL_LOCAL, unix.LOCAL_PEERCRED); err == nil {
			uid, ok = int(cred.Uid), true
		}
	})
	return uid, ok && err == nil
}
