package transfer

import (
	"context"
	"hash"
	"io"
	"math"
	"time"

	"dray/fault"
	"dray/vfs"
)

// copySlice is how many bytes the kernel copies from file to file before the
// context is asked again. Small slices would break what a file system could
// share into pieces that it can't.
const copySlice = 16 << 20

// Copy writes n bytes of src from the byte at offset from on to dst, beginning at
// dst's Offset; n below zero is all there is. Between two files of the system
// the kernel moves them, and shares them where the file system can; else they
// are copied through a buffer. Of opt only the meter counts.
//
// Errors of either file or of the meter are returned as they came. A src that
// ends before n bytes is io.ErrUnexpectedEOF. When ctx ended the copy, the error
// is its cause. The caller closes both.
func Copy(ctx context.Context, dst Dest, src vfs.File, from, n int64, opt Options) (rep Report, err error) {
	start := time.Now()
	defer func() { rep.Took = time.Since(start) }()
	rep.Road = RoadNone
	if from < 0 {
		return rep, fault.New(fault.BadOffset, fault.IDOffset)
	}
	c := copying{ctx: ctx, dst: dst, src: src, from: from, n: n, opt: opt, rep: &rep}
	if in, out := osFile(src), osFile(dst); in != nil && out != nil {
		rep.Road = RoadKernel
		done, err := c.kernel(func(at, to int64, n int) (int, bool, error) { return copyRange(out, in, to, at, n) })
		if done {
			return rep, err
		}
	}
	rep.Road = RoadCopy
	return rep, c.copy()
}

// copying is one Copy. What was done is in the report, so that the second road
// goes on where the first one ended.
type copying struct {
	ctx  context.Context
	dst  Dest
	src  vfs.File
	from int64
	n    int64
	opt  Options
	rep  *Report
}

// left is how many bytes to ask permission for at most. The meter is not made to
// wait for bytes that the file does not have; one that claims to be empty is
// read to its end.
func (c *copying) left() int64 {
	left := int64(math.MaxInt64)
	if c.n >= 0 {
		left = c.n - c.rep.Bytes
	}
	if fi, err := c.src.Stat(); err == nil && fi.Size() > 0 {
		left = min(left, max(fi.Size()-c.from-c.rep.Bytes, 0))
	}
	return left
}

// end says that src has no more, or that enough was copied.
func (c *copying) end() error {
	if c.n > c.rep.Bytes {
		return io.ErrUnexpectedEOF
	}
	c.rep.Ended = time.Now()
	return nil
}

// kernel copies by move, which tells whether the system offers it for these two
// files; done is false when it does not.
func (c *copying) kernel(move func(at, to int64, n int) (moved int, offered bool, err error)) (done bool, err error) {
	p := pace{meter: c.opt.Meter, slice: firstSlice, most: copySlice}
	for {
		if c.ctx.Err() != nil {
			return true, context.Cause(c.ctx)
		}
		left := c.left()
		if left == 0 {
			return true, c.end()
		}
		taken, err := p.take(c.ctx, left)
		if err != nil {
			return true, err
		}
		n, offered, err := move(c.from+c.rep.Bytes, c.dst.Offset()+c.rep.Bytes, int(taken))
		p.done(taken, int64(n))
		c.rep.Bytes += int64(n)
		switch {
		case !offered:
			return false, nil
		case err != nil:
			return true, err
		case n == 0 && c.rep.Bytes == 0:
			return false, nil // a file of /proc, which the kernel takes for empty
		case n == 0:
			return true, c.end()
		}
	}
}

// copy is the other road.
func (c *copying) copy() error {
	loan := borrow()
	defer loan.giveBack()
	p := pace{meter: c.opt.Meter}
	for {
		if c.ctx.Err() != nil {
			return context.Cause(c.ctx)
		}
		buf := loan.fit()
		p.fit(len(buf))
		left := c.left()
		if left == 0 {
			return c.end()
		}
		taken, err := p.take(c.ctx, left)
		if err != nil {
			return err
		}
		n, readErr := c.src.ReadAt(buf[:taken], c.from+c.rep.Bytes)
		if int64(n) < taken && readErr == nil {
			readErr = io.ErrNoProgress
		}
		var writeErr error
		moved := 0
		if n > 0 {
			moved, writeErr = put(c.dst, buf[:n], c.dst.Offset()+c.rep.Bytes)
		}
		p.done(taken, int64(moved))
		c.rep.Bytes += int64(moved)
		switch {
		case writeErr != nil:
			return writeErr
		case readErr == io.EOF:
			return c.end()
		case readErr != nil:
			return readErr
		}
	}
}

// Sum writes n bytes of src from the byte at offset from on to h; n below zero
// is all there is. Errors are those of Copy, and ctx is asked at every buffer.
func Sum(ctx context.Context, h hash.Hash, src vfs.File, from, n int64) error {
	if from < 0 {
		return fault.New(fault.BadOffset, fault.IDOffset)
	}
	loan := borrow()
	defer loan.giveBack()
	for n != 0 {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		b := loan.fit()
		if n > 0 {
			b = b[:min(int64(len(b)), n)]
		}
		m, err := src.ReadAt(b, from)
		_, _ = h.Write(b[:m]) // never fails (package hash)
		from += int64(m)
		if n > 0 {
			n -= int64(m)
		}
		switch {
		case err == io.EOF && n > 0:
			return io.ErrUnexpectedEOF
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		case m < len(b):
			return io.ErrNoProgress
		}
	}
	return nil
}
