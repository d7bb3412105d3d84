package osfs

import (
	"errors"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"dray/vfs"
)

// A file is one that is open for reading.
type file struct {
	*os.File
	ready ready
}

// A ready asks the system for what it has in memory.
type ready struct {
	raw syscall.RawConn  // nil: not asked yet
	try func(fd uintptr) // made once, with its arguments and results beside it

	b   []byte
	off int64
	n   int
	err error
}

// ReadReady is that of vfs.Ready (preadv2, RWF_NOWAIT).
func (f *file) ReadReady(b []byte, off int64) (got int, err error) {
	r := &f.ready
	if r.raw == nil {
		if r.raw, err = f.SyscallConn(); err != nil {
			return 0, err
		}
		r.try = func(fd uintptr) {
			r.n, r.err = unix.Preadv2(int(fd), [][]byte{r.b}, r.off, unix.RWF_NOWAIT)
		}
	}
	for got < len(b) {
		r.b, r.off = b[got:], off+int64(got)
		err := r.raw.Control(r.try)
		r.b = nil
		switch {
		case err != nil:
			return got, err
		case r.err == unix.EINTR:
			continue
		case r.err == unix.EAGAIN:
			return got, vfs.ErrWait
		case r.err == unix.EOPNOTSUPP, r.err == unix.ENOSYS, r.err == unix.EINVAL, r.err == unix.EPERM:
			return got, errors.ErrUnsupported
		case r.err != nil:
			return got, &os.PathError{Op: "read", Path: f.Name(), Err: r.err}
		case r.n == 0:
			return got, io.EOF
		}
		got += r.n
	}
	return got, nil
}
