package ftpserver

import (
	"crypto/tls"
	"net"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// delivered waits until the peer's kernel has all that was written.
func delivered(t testing.TB, nc net.Conn) {
	t.Helper()
	if s, ok := nc.(*tls.Conn); ok {
		nc = s.NetConn()
	}
	rc, err := nc.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		queued := -1
		_ = rc.Control(func(fd uintptr) { queued, err = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) })
		if err != nil {
			t.Fatal(err)
		}
		if queued == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d bytes are not taken after 5 s", queued)
		}
	}
}
