package transfer

import (
	"compress/flate"
	"compress/zlib"
	"context"
	"encoding/binary"
	"errors"
	"hash"
	"hash/adler32"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"dray/fault"
)

// MODE Z (draft-preston-ftpext-deflate): the data connection carries one zlib
// stream (RFC 1950) and nothing behind it. Everything is counted on the expanded
// side: permission, offsets, the bytes of a Report.

const (
	// DefaultLevel is how hard MODE Z compresses when nobody asks for another.
	DefaultLevel = 6

	// DefaultExpand and bombRatio are the bomb limit of Receive: what arrives may
	// expand to so many bytes at any ratio, and behind that to bombRatio bytes
	// for each that came. zlib makes 1032 of 1 at most, and of long runs of zeros
	// it does, so a ratio alone would refuse honest disk images; their first
	// 4 GiB pass whatever is in them, and with a quota all of it does (see
	// Options.Expand). What is left of the attack is what a client with a fast
	// line can do in MODE S.
	DefaultExpand = 4 << 30
	bombRatio     = 200

	// maxDeflaters is how many transfers compress at a time. Each needs about
	// 1.2 MiB for it, whatever its level is; later ones send stored blocks, which
	// every inflater reads and which need no memory.
	maxDeflaters = 64

	// flushEvery is how long compressed bytes may wait for others. A file that
	// shrinks to nothing under a rate limit would look like a stall to the peer.
	flushEvery = 2 * time.Second
)

var (
	inflaters = sync.Pool{New: func() any { return new(inflater) }}
	deflaters [zlib.BestCompression + 1]sync.Pool // by level
	deflating atomic.Int64                        // transfers that hold a deflater
)

// bomb tells whether so many bytes are too many for those that came.
func bomb(expanded, came, free int64) bool {
	return expanded > free && (expanded-free)/bombRatio >= came
}

// errBroken is the kind of what is no zlib stream; why stands in the sentence.
func errBroken(err error, why string) error {
	return fault.Because(err, fault.Cut, fault.IDDeflate, why)
}

// An inflater reads what expands from one connection.
type inflater struct {
	ctx   context.Context
	src   io.Reader
	watch *watch
	got   *int64 // bytes below src, as watch.gather wants it
	free  int64  // of the bomb limit

	zr       io.Reader // a zlib.Resetter too; nil until a stream came
	begun    bool
	expanded int64
	came     int64

	buf  [lineBuffer]byte
	r, w int   // what of buf is not read yet
	err  error // of src, sorted; it stays
}

// newInflater reads from src under watch. It is given back by release.
func newInflater(ctx context.Context, src io.Reader, watch *watch, got *int64, free int64) *inflater {
	z := inflaters.Get().(*inflater)
	if free <= 0 {
		free = DefaultExpand
	}
	z.ctx, z.src, z.watch, z.got, z.free = ctx, src, watch, got, free
	z.begun, z.expanded, z.came, z.r, z.w, z.err = false, 0, 0, 0, 0, nil
	return z
}

func (z *inflater) release() {
	z.ctx, z.src, z.watch, z.got, z.err = nil, nil, nil, nil, nil
	inflaters.Put(z)
}

// fill reads from the connection when all is used up. After it r < w, or err is
// the reason why not.
func (z *inflater) fill() error {
	for z.r == z.w {
		if z.err != nil {
			return z.err
		}
		z.r = 0
		z.w, z.err = z.watch.gather(z.src, z.buf[:], 1, z.got)
		z.came += int64(z.w)
	}
	return nil
}

// ReadByte lets the decompressor read no further than its stream goes.
func (z *inflater) ReadByte() (byte, error) {
	if err := z.fill(); err != nil {
		return 0, err
	}
	b := z.buf[z.r]
	z.r++
	return b, nil
}

// Read is for headers, checksums and stored blocks.
func (z *inflater) Read(b []byte) (int, error) {
	if err := z.fill(); err != nil {
		return 0, err
	}
	n := copy(b, z.buf[z.r:z.w])
	z.r += n
	return n, nil
}

// gather expands into b until it holds at least least bytes. err is io.EOF when
// the stream and the connection have both ended, with n bytes before it.
func (z *inflater) gather(b []byte, least int) (n int, err error) {
	if !z.begun {
		if err := z.begin(); err != nil {
			return 0, z.judge(err)
		}
		z.begun = true
	}
	for n < least {
		if z.ctx.Err() != nil { // nobody waits for the network in a long run of zeros
			return n, context.Cause(z.ctx)
		}
		m, err := z.zr.Read(b[n:])
		n += m
		z.expanded += int64(m)
		switch {
		case bomb(z.expanded, z.came, z.free):
			return n, fault.New(fault.OverQuota, fault.IDBomb, bombRatio)
		case err == io.EOF:
			return n, z.end()
		case err != nil:
			return n, z.judge(err)
		}
	}
	return n, nil
}

// begin reads the header of the stream.
func (z *inflater) begin() (err error) {
	if z.zr == nil {
		z.zr, err = zlib.NewReader(z)
		if err != nil {
			z.zr = nil // it has nothing to reset
		}
		return err
	}
	return z.zr.(zlib.Resetter).Reset(z, nil)
}

// end is the verdict when the stream has ended: io.EOF when nothing follows.
func (z *inflater) end() error {
	switch err := z.fill(); err {
	case nil:
		return errBroken(nil, "bytes came behind the end of the stream")
	default:
		return err
	}
}

// judge says whose failure stopped the decompressor.
func (z *inflater) judge(err error) error {
	var corrupt flate.CorruptInputError
	switch {
	case errors.Is(err, zlib.ErrHeader):
		return errBroken(err, "it does not begin as a zlib stream")
	case errors.Is(err, zlib.ErrDictionary):
		return errBroken(err, "it needs a dictionary")
	case errors.Is(err, zlib.ErrChecksum):
		return errBroken(err, "its checksum is wrong")
	case errors.As(err, &corrupt):
		return errBroken(err, "it is damaged")
	case z.err != nil && z.err != io.EOF:
		return z.err
	case z.err == io.EOF:
		// The data ended and the stream had not: whoever sent it did not live to.
		return fault.Because(err, fault.Cut, fault.IDDataLost)
	}
	return errBroken(err, "it can't be expanded")
}

// A deflater makes a zlib stream of what is written to it.
type deflater struct {
	ctx   context.Context
	level int
	zw    *zlib.Writer // nil: blocks are stored
	sum   hash.Hash32  // of what was stored; nil with zw
	begun bool         // the header is written; of zw it knows itself
	out   outbox
}

// An outbox gathers the small pieces that a compressor writes.
type outbox struct {
	dst  io.Writer
	buf  *[]byte
	n    int
	sent time.Time // when bytes went out last, or the beginning
}

func (o *outbox) Write(b []byte) (int, error) {
	for left := b; len(left) > 0; {
		n := copy((*o.buf)[o.n:], left)
		o.n += n
		if left = left[n:]; len(left) > 0 {
			if err := o.flush(); err != nil {
				return 0, err
			}
		}
	}
	return len(b), nil
}

func (o *outbox) flush() error {
	if o.n == 0 {
		return nil
	}
	_, err := o.dst.Write((*o.buf)[:o.n])
	o.n, o.sent = 0, time.Now()
	return err
}

// newDeflater writes to dst, a *Secure or a watch. It is given back by release.
func newDeflater(ctx context.Context, dst io.Writer, level int) *deflater {
	if level < zlib.BestSpeed || level > zlib.BestCompression {
		level = DefaultLevel
	}
	if deflating.Add(1) > maxDeflaters {
		deflating.Add(-1)
		level = 0
	}
	z, _ := deflaters[level].Get().(*deflater)
	if z == nil {
		z = &deflater{level: level}
		if level > 0 {
			z.zw, _ = zlib.NewWriterLevel(nil, level) // the error is that of a wrong level
		} else {
			z.sum = adler32.New()
		}
	}
	z.ctx, z.begun = ctx, false
	z.out = outbox{dst: dst, buf: takeBuffer(&smallBuffers), sent: time.Now()}
	if z.zw != nil {
		z.zw.Reset(&z.out)
	} else {
		z.sum.Reset()
	}
	return z
}

func (z *deflater) release() {
	smallBuffers.Put(z.out.buf)
	z.out, z.ctx = outbox{}, nil
	if z.zw != nil {
		deflating.Add(-1)
	}
	deflaters[z.level].Put(z)
}

// Write compresses b. After an error it says that nothing of b went, because
// nobody knows what did.
func (z *deflater) Write(b []byte) (int, error) {
	if z.ctx.Err() != nil {
		return 0, context.Cause(z.ctx)
	}
	if z.zw == nil {
		if err := z.store(b); err != nil {
			return 0, err
		}
	} else if _, err := z.zw.Write(b); err != nil {
		return 0, err
	}
	if time.Since(z.out.sent) >= flushEvery {
		if z.zw != nil {
			if err := z.zw.Flush(); err != nil {
				return 0, err
			}
		}
		if err := z.out.flush(); err != nil {
			return 0, err
		}
	}
	return len(b), nil
}

// finish ends the stream and has all of it on the socket.
func (z *deflater) finish() error {
	if z.zw == nil {
		if err := z.storeEnd(); err != nil {
			return err
		}
	} else if err := z.zw.Close(); err != nil {
		return err
	}
	return z.out.flush()
}

// store writes b in stored blocks (RFC 1951, 3.2.4) of a zlib stream whose
// header says that it was made in a hurry (RFC 1950, 2.2).
func (z *deflater) store(b []byte) error {
	if !z.begun {
		z.begun = true
		if _, err := z.out.Write([]byte{0x78, 0x01}); err != nil {
			return err
		}
	}
	_, _ = z.sum.Write(b)
	for len(b) > 0 {
		piece := b[:min(len(b), 0xffff)]
		if err := z.block(0, len(piece)); err != nil {
			return err
		}
		if _, err := z.out.Write(piece); err != nil {
			return err
		}
		b = b[len(piece):]
	}
	return nil
}

// block writes the header of a stored block; last is 1 for the final one.
func (z *deflater) block(last byte, size int) error {
	head := [5]byte{last}
	binary.LittleEndian.PutUint16(head[1:], uint16(size))
	binary.LittleEndian.PutUint16(head[3:], ^uint16(size))
	_, err := z.out.Write(head[:])
	return err
}

func (z *deflater) storeEnd() error {
	if err := z.store(nil); err != nil { // the header of an empty file
		return err
	}
	if err := z.block(1, 0); err != nil {
		return err
	}
	_, err := z.out.Write(binary.BigEndian.AppendUint32(nil, z.sum.Sum32()))
	return err
}
