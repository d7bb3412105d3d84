//go:build !linux

package ftpserver

import (
	"net"
	"testing"
	"time"
)

// delivered waits until the peer's kernel should have all that was written.
func delivered(testing.TB, net.Conn) { time.Sleep(50 * time.Millisecond) }
