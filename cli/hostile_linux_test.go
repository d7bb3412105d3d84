package cli

import (
	"fmt"
	"net"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// maxRSS is the largest size of an ended process in memory, in bytes.
func maxRSS(use *syscall.Rusage) int64 { return int64(use.Maxrss) << 10 }

// blackHole is a port of this machine at which nothing answers: its queue is full.
func blackHole(t testing.TB) int {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	fine(t, err)
	t.Cleanup(func() { _ = unix.Close(fd) })
	fine(t, unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	fine(t, unix.Listen(fd, 0))
	at, err := unix.Getsockname(fd)
	fine(t, err)
	port := at.(*unix.SockaddrInet4).Port
	for range 3 {
		if nc, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), 100*time.Millisecond); err == nil {
			t.Cleanup(func() { _ = nc.Close() })
		}
	}
	return port
}
