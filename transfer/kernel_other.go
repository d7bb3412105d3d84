//go:build !linux

package transfer

import (
	"os"
	"syscall"
)

// splices tells whether the kernel moves bytes from a socket to f; here it does not.
func splices(*os.File) bool { return false }

// sendQueue would ask how much the peer has not taken; here nobody is asked.
func sendQueue(syscall.Conn) func() int { return nil }
