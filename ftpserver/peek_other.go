//go:build !unix

package ftpserver

import (
	"net"
	"syscall"
)

type peeked int

const (
	peekQuiet peeked = iota
	peekBytes
	peekEnded
)

// Without a way to look, the reader beside the transfer is the only witness.
func peek(net.Conn) peeked { return peekQuiet }

func swallow(net.Conn) {}

func inlineUrgent(*net.TCPConn) {}

func reuseAddress(_, _ string, _ syscall.RawConn) error { return nil }
