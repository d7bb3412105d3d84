package admin

import (
	"errors"
	"io"
	"io/fs"
	"syscall"
)

// isSocket lets what is no directory pass: Windows shows sockets as irregular files.
func isSocket(fi fs.FileInfo) bool {
	return fi.Mode()&fs.ModeIrregular != 0 || fi.Mode()&fs.ModeSocket != 0
}

// wsaConnRefused is WSAECONNREFUSED, which package syscall does not name.
const wsaConnRefused = syscall.Errno(10061)

// gone tells that nobody listens at a socket that is there.
func gone(err error) bool { return errors.Is(err, wsaConnRefused) }

// lockFor is nothing: a socket at which somebody answers is not removed.
func lockFor(string) (io.Closer, error) { return nothing{}, nil }

type nothing struct{}

func (nothing) Close() error { return nil }
