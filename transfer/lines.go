package transfer

import (
	"context"
	"io"
	"net"
	"os"
)

// Lines returns a writer for a listing: what is written to it goes to dst in
// pieces of 32 KiB, the rest at Close; with opt.Deflate compressed, and Close ends
// the zlib stream. The bytes are not converted, and counted by the meter as they
// are. Errors are those of Send, and after one every call returns it again.
//
// It belongs to one goroutine and must be closed, after an error too: Close
// frees the buffer and clears dst's write deadline. It does not close dst.
func Lines(ctx context.Context, dst net.Conn, opt Options) io.WriteCloser {
	l := &lines{ctx: ctx, buf: takeBuffer(&lineBuffers), pace: pace{meter: opt.Meter, slice: lineBuffer, most: lineBuffer}}
	if s, ok := dst.(*Secure); ok {
		l.secure = s
		l.watch = newWatch(ctx, s.Raw(), writes, opt.Idle)
		s.wire.follow(l.watch)
		l.dst = s
	} else {
		l.watch = newWatch(ctx, dst, writes, opt.Idle)
		l.dst = l.watch
	}
	if opt.Deflate {
		l.z = newDeflater(ctx, l.dst, opt.Level)
		l.dst = l.z
	}
	return l
}

type lines struct {
	ctx    context.Context
	dst    io.Writer
	secure *Secure // dst, when it is one
	watch  *watch
	z      *deflater // dst, with MODE Z
	pace   pace
	buf    *[]byte // nil: closed
	n      int     // bytes in buf
	err    error
}

func (l *lines) Write(b []byte) (int, error) {
	if l.buf == nil {
		return 0, os.ErrClosed
	}
	written := 0
	for l.err == nil && len(b) > 0 {
		if l.n == len(*l.buf) {
			l.flush()
			continue
		}
		n := copy((*l.buf)[l.n:], b)
		l.n += n
		written += n
		b = b[n:]
	}
	return written, l.err
}

func (l *lines) flush() {
	for b := (*l.buf)[:l.n]; len(b) > 0 && l.err == nil; {
		taken, err := l.pace.take(l.ctx, int64(len(b)))
		if err != nil {
			l.err = err
			return
		}
		n, err := l.dst.Write(b[:taken])
		l.pace.done(taken, int64(n))
		if err != nil {
			l.err = l.watch.verdict(err)
		}
		b = b[n:]
	}
	l.n = 0
}

func (l *lines) Close() error {
	if l.buf == nil {
		return os.ErrClosed
	}
	l.flush()
	if l.z != nil {
		if l.err == nil {
			if err := l.z.finish(); err != nil {
				l.err = l.watch.verdict(err)
			}
		}
		l.z.release()
	}
	lineBuffers.Put(l.buf)
	l.buf = nil
	if l.secure != nil {
		l.secure.wire.follow(nil)
	}
	l.watch.end()
	return l.err
}
