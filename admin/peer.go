//go:build linux || darwin

package admin

import (
	"net"
	"os"
)

// allowed tells whether the other end is root, or the user that this server runs as.
func allowed(nc net.Conn) bool {
	u, ok := nc.(*net.UnixConn)
	if !ok {
		return false
	}
	uid, ok := peerUID(u)
	return ok && may(uid)
}

func may(uid int) bool { return uid == 0 || uid == os.Geteuid() }
