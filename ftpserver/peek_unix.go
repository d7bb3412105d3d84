//go:build unix

package ftpserver

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// What peek saw.
type peeked int

const (
	peekQuiet peeked = iota // the connection stands, nothing is waiting
	peekBytes               // bytes are waiting
	peekEnded               // FIN or reset
)

// peek looks at what the kernel holds for a connection, without taking it and
// without waiting. A connection that is no socket is quiet.
func peek(nc net.Conn) peeked {
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return peekQuiet
	}
	rc, err := sc.SyscallConn()
	if err != nil {
		return peekEnded
	}
	saw := peekEnded
	err = rc.Control(func(fd uintptr) {
		var b [1]byte
		n, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		switch {
		case err == unix.EAGAIN || err == unix.EINTR:
			saw = peekQuiet
		case err == nil && n > 0:
			saw = peekBytes
		}
	})
	if err != nil {
		return peekEnded
	}
	return saw
}

// swallow takes what the kernel holds for a connection, up to 16 KiB, without
// waiting. Closing a socket with unread bytes resets it, and with that the last
// reply is lost where it has not been read yet (RFC 1122, 4.2.2.13).
func swallow(nc net.Conn) {
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return
	}
	if rc, err := sc.SyscallConn(); err == nil {
		_ = rc.Control(func(fd uintptr) {
			var b [1024]byte
			for range 16 {
				if n, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_DONTWAIT); err != nil || n == 0 {
					return
				}
			}
		})
	}
}

// inlineUrgent leaves urgent data in the stream, where the Telnet Synch before
// an ABOR is stripped (RFC 959, 4.1.3; RFC 854). Out of band, the byte would be
// missing and the command would lose its first letter.
func inlineUrgent(t *net.TCPConn) {
	if rc, err := t.SyscallConn(); err == nil {
		_ = rc.Control(func(fd uintptr) {
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_OOBINLINE, 1)
		})
	}
}

// reuseAddress lets several connections leave from one local port.
func reuseAddress(_, _ string, rc syscall.RawConn) error {
	var err error
	if cerr := rc.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	}); cerr != nil {
		return cerr
	}
	return err
}
