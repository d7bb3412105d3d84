//go:build unix

package ftpserver

import (
	"errors"
	"net"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// urgent sends bytes of which the last is urgent.
func urgent(t *testing.T, nc net.Conn, b []byte) {
	t.Helper()
	rc, err := nc.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	cerr := rc.Control(func(fd uintptr) { err = unix.Sendto(int(fd), b, unix.MSG_OOB, nil) })
	if err := errors.Join(cerr, err); err != nil {
		t.Fatal(err)
	}
}
