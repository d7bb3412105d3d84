//go:build !linux

package transfer

import (
	"errors"
	"net"
	"os"
	"syscall"
)

// splices tells whether the kernel moves bytes from a socket to f; here it does not.
func splices(*os.File) bool { return false }

// sendQueue would ask how much the peer has not taken; here nobody is asked.
func sendQueue(syscall.Conn) func() int { return nil }

// A waiter would let a thread wait in the kernel; here the poller does it.
type waiter struct{}

func newWaiter(*net.TCPConn) *waiter { return nil }

func (*waiter) end() {}

func (*waiter) send(*os.File, int64) (int64, error) { return 0, errors.ErrUnsupported }
