//go:build unix

package ftpserver

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"dray/fault"
)

// The look at the control connection waits for the reader to see what has come; a
// session that ends meanwhile need not.
func TestTheLookAtTheControlConnectionEndsWithItsContext(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	c := seenFrom(t, "198.51.100.7")
	c.raw = server
	if _, err := io.WriteString(client, "NOOP\r\n"); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(5 * time.Second); peek(server) != peekBytes; {
		if time.Now().After(end) {
			t.Fatal("what was sent has not come after 5 s")
		}
	}
	gone := fault.New(fault.Closing, fault.IDShutdown)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(gone)
	if err := c.alive(ctx, time.Now()); !errors.Is(err, gone) {
		t.Errorf("alive = %v; want the cause", err)
	}
}
