//go:build !linux

package ftpserver

import (
	"net"
	"testing"
	"time"
)

// delivered waits until the peer's kernel should have all that was written.
func delivered(testing.TB, net.Conn) { time.Sleep(50 * time.Millisecond) }

func urgent(t *testing.T, _ net.Conn, _ []byte) {
	t.Helper()
	t.Skip("urgent data is sent on Linux only")
}
