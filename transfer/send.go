package transfer

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"math"
	"net"
	"os"
	"syscall"
	"time"

	"dray/vfs"
)

// outgoing is one Send.
type outgoing struct {
	ctx   context.Context
	src   vfs.File
	from  int64
	opt   Options
	watch *watch
	rep   *Report
	z     *deflater // nil without MODE Z

	size int64 // as last asked; 0 when it is not known
}

// left returns how many bytes to ask permission for at most, 0 at the end. The
// meter is not made to wait for bytes that the file does not have. A file that
// claims to be empty is read to its end: those of /proc do.
func (out *outgoing) left(pos int64) int64 {
	if out.opt.To > 0 {
		return min(out.there(pos), max(out.opt.To-pos, 0))
	}
	return out.there(pos)
}

// there is left as far as the file goes.
func (out *outgoing) there(pos int64) int64 {
	if pos < out.size {
		return out.size - pos
	}
	known := out.size > 0
	fi, err := out.src.Stat()
	if err != nil {
		return math.MaxInt64 // the read will say
	}
	out.size = fi.Size()
	if out.size == 0 && !known {
		return math.MaxInt64
	}
	return max(out.size-pos, 0)
}

// sendfile is the kernel road.
func (out *outgoing) sendfile(tcp *net.TCPConn, f *os.File) error {
	if _, err := f.Seek(out.from, io.SeekStart); err != nil {
		return err
	}
	p := pace{meter: out.opt.Meter, slice: firstSlice, most: maxSlice}
	src := &io.LimitedReader{R: f} // the one wrapper that net.TCPConn looks through
	var wait *waiter
	defer func() { wait.end() }()
	for pos := out.from; ; {
		left := out.left(pos)
		if left == 0 {
			return out.end()
		}
		taken, err := p.take(out.ctx, left)
		if err != nil {
			return err
		}
		if err := out.watch.arm(); err != nil {
			p.done(taken, 0)
			return err
		}
		var n int64
		waited := wait != nil
		if waited {
			n, err = wait.send(f, taken)
		} else {
			src.N = taken
			n, err = tcp.ReadFrom(src)
		}
		took := p.done(taken, n)
		pos += n
		out.rep.Bytes += n
		switch fast := taken == n && n >= maxSlice && took < fastSlice*time.Duration(n/maxSlice); {
		case wait == nil && fast && out.left(pos) > maxSlice:
			if wait = newWaiter(tcp); wait != nil {
				p.most = maxWait
			}
		case wait != nil && !fast:
			wait.end()
			wait, p.most, p.slice = nil, maxSlice, maxSlice
		}
		switch {
		case err == nil && n == taken:
			out.watch.moved()
		case err == nil: // the file is shorter than it said
			return out.end()
		case waited && errors.Is(err, os.ErrDeadlineExceeded): // not the watch's deadline
			if n > 0 {
				out.watch.moved()
			}
		case fromNetwork(err):
			if err = out.watch.judge(err, n > 0); err != nil {
				return err
			}
			// Needed: when the deadline has passed already, the net package falls
			// back to copying, and reads from the file what it cannot write then.
			if _, err := f.Seek(pos, io.SeekStart); err != nil {
				return err
			}
		default:
			return fileError(err, f)
		}
	}
}

const (
	// fastSlice is how long maxSlice may take for the next slice to be waited for
	// in the kernel: 200 MB/s.
	fastSlice = 20 * time.Millisecond
	// maxWait is how many bytes are waited for at once, a third of a second then:
	// ABOR and the end of a session have to wait too.
	maxWait = 64 << 20
)

// fileError takes a failure of the file out of the error of the connection whose
// method met it.
func fileError(err error, f *os.File) error {
	var path *fs.PathError
	var errno syscall.Errno
	if errors.As(err, &path) {
		return path
	}
	if errors.As(err, &errno) {
		return &fs.PathError{Op: "read", Path: f.Name(), Err: errno}
	}
	return err
}

// copy is the other road. dst is a *Secure, the watch itself, or a deflater over
// one of them.
func (out *outgoing) copy(dst io.Writer) error {
	loan := borrow()
	defer loan.giveBack()
	afterCR := false
	if out.opt.Text {
		if out.from > 0 {
			// The peer has what comes before from: a CR there and an LF here are one
			// line end.
			var b [1]byte
			if n, _ := out.src.ReadAt(b[:], out.from-1); n == 1 {
				afterCR = b[0] == '\r'
			}
		}
	}
	p := pace{meter: out.opt.Meter}
	for pos := out.from; ; {
		buf := loan.fit()
		in := buf
		if out.opt.Text {
			in = in[len(in)/2:] // converted to the front of the buffer: it may double
		}
		p.fit(len(in))
		left := out.left(pos)
		if left == 0 {
			return out.end()
		}
		taken, err := p.take(out.ctx, left)
		if err != nil {
			return err
		}
		n, readErr := out.src.ReadAt(in[:taken], pos)
		if int64(n) < taken && readErr == nil {
			readErr = io.ErrNoProgress
		}
		moved := int64(n)
		var writeErr error
		if n > 0 && out.opt.Text {
			n, afterCR = toWire(buf, in[:n], afterCR)
			if _, writeErr = dst.Write(buf[:n]); writeErr != nil {
				moved = 0 // part of it went, but who knows which bytes of the file those are
			}
		} else if n > 0 {
			n, writeErr = dst.Write(in[:n])
			moved = int64(n)
		}
		p.done(taken, moved)
		pos += moved
		out.rep.Bytes += moved
		switch {
		case writeErr != nil:
			return out.watch.verdict(writeErr)
		case readErr == io.EOF:
			return out.end()
		case readErr != nil:
			return readErr
		}
	}
}

// end says that the last byte of the file is written.
func (out *outgoing) end() error {
	if out.z != nil {
		if err := out.z.finish(); err != nil {
			return out.watch.verdict(err)
		}
	}
	out.rep.Ended = time.Now()
	return nil
}
