package transfer

import (
	"os"

	"golang.org/x/sys/unix"
)

// copyRange moves up to n bytes between two files without user memory, and
// without the positions of either. offered is false where the system does not do
// that for these two; then nothing was moved.
func copyRange(dst, src *os.File, to, at int64, n int) (moved int, offered bool, err error) {
	in, err := src.SyscallConn()
	if err != nil {
		return 0, false, nil
	}
	out, err := dst.SyscallConn()
	if err != nil {
		return 0, false, nil
	}
	var answer error
	err = in.Control(func(r uintptr) {
		err = out.Control(func(w uintptr) {
			for {
				moved, answer = unix.CopyFileRange(int(r), &at, int(w), &to, n, 0)
				if answer != unix.EINTR {
					return
				}
			}
		})
	})
	if err != nil { // closed; the other road says so in the words of package os
		return 0, false, nil
	}
	switch answer {
	case nil:
		return moved, true, nil
	case unix.EXDEV, unix.ENOSYS, unix.EINVAL, unix.EOPNOTSUPP, unix.EPERM, unix.ETXTBSY, unix.EBADF:
		// Two file systems, an old kernel, a file system without it, a seccomp
		// filter. The other road meets what is really wrong again.
		return 0, false, nil
	}
	return 0, true, &os.PathError{Op: "copy_file_range", Path: dst.Name(), Err: answer}
}
