package transfer

import (
	"context"
	"io"
	"math"
	"net"
	"os"
	"time"

	"dray/fault"
)

// incoming is one Receive.
type incoming struct {
	ctx    context.Context
	src    net.Conn
	secure *Secure // src, when it is one
	dst    Dest
	opt    Options
	watch  *watch
	rep    *Report

	got *int64    // bytes below TLS, nil without
	z   *inflater // nil without MODE Z
}

// gather reads bytes of the file, as watch.gather does from a connection.
func (in *incoming) gather(b []byte, least int) (int, error) {
	if in.z != nil {
		return in.z.gather(b, least)
	}
	return in.watch.gather(in.src, b, least, in.got)
}

// put is WriteAt, which has an error when it wrote less.
func put(dst Dest, b []byte, at int64) (n int, err error) {
	if n, err = dst.WriteAt(b, at); n < len(b) && err == nil {
		err = io.ErrShortWrite
	}
	return n, err
}

// head reads the first bytes by a buffer, and tells whether the transfer ended with
// them: for a small file the pipe of the kernel road is more work than its bytes.
// What has come is written at once, as on that road.
func (in *incoming) head() (ended bool, err error) {
	buf := takeBuffer(&headBuffers)
	defer headBuffers.Put(buf)
	p := pace{meter: in.opt.Meter, slice: headBuffer, most: headBuffer}
	for in.rep.Bytes < headBuffer {
		taken, err := p.take(in.ctx, headBuffer-in.rep.Bytes)
		if err != nil {
			return true, in.refused(err)
		}
		n, readErr := in.gather((*buf)[:taken], 1)
		moved, writeErr := 0, error(nil)
		if n > 0 {
			moved, writeErr = put(in.dst, (*buf)[:n], in.dst.Offset()+in.rep.Bytes)
		}
		p.done(taken, int64(moved))
		in.rep.Bytes += int64(moved)
		switch {
		case writeErr != nil:
			return true, writeErr
		case readErr == io.EOF:
			return true, in.end()
		case readErr != nil:
			return true, readErr
		}
	}
	return false, nil
}

// splice is the kernel road: socket to pipe to file, without user memory. The
// pipe is empty whenever the socket is waited for, so nothing is lost when a
// deadline passes.
func (in *incoming) splice(tcp *net.TCPConn, f *os.File) error {
	if _, err := f.Seek(in.dst.Offset()+in.rep.Bytes, io.SeekStart); err != nil {
		return err
	}
	p := pace{meter: in.opt.Meter, slice: firstSlice, most: maxSlice}
	src := &io.LimitedReader{R: tcp} // the one wrapper that os.File looks through
	for {
		taken, err := p.take(in.ctx, math.MaxInt64)
		if err != nil {
			return in.refused(err)
		}
		if err := in.watch.arm(); err != nil {
			p.done(taken, 0)
			return err
		}
		src.N = taken
		n, err := f.ReadFrom(src)
		p.done(taken, n)
		in.rep.Bytes += n
		switch {
		case err == nil && n == taken:
			in.watch.moved()
		case err == nil:
			return in.end()
		case fromNetwork(err):
			if err = in.watch.judge(err, n > 0); err != nil {
				return err
			}
		default:
			return err
		}
	}
}

// copy is the other road. It gathers before it writes: crypto/tls hands out one
// record of 16 KiB at a time.
func (in *incoming) copy() error {
	loan := borrow()
	defer loan.giveBack()
	p := pace{meter: in.opt.Meter}
	at := in.dst.Offset() + in.rep.Bytes
	afterCR := false // the last byte written is a CR
	for {
		buf := loan.fit()
		p.fit(len(buf))
		taken, err := p.take(in.ctx, math.MaxInt64)
		if err != nil {
			return in.refused(err)
		}
		b := buf[:taken]
		n, readErr := in.gather(b, len(b)-len(b)/4)
		b = b[:n]
		// A CR at the end of a piece is written as a lone one. When the next piece
		// begins with LF they were one line end, and the LF takes the CR's place.
		back := int64(0)
		if in.opt.Text && n > 0 {
			if afterCR && b[0] == '\n' {
				back = 1
			}
			b = b[:fromWire(b)]
			afterCR = b[len(b)-1] == '\r'
		}
		var writeErr error
		moved := int64(0)
		if n > 0 {
			n, writeErr = put(in.dst, b, at-back)
			moved = max(int64(n)-back, 0)
			at += moved
			in.rep.Bytes += moved
		}
		p.done(taken, moved)
		switch {
		case writeErr != nil:
			return writeErr
		case readErr == io.EOF:
			return in.end()
		case readErr != nil:
			return in.distrust(readErr)
		}
	}
}

// distrust takes away what came of a broken zlib stream: its checksum stands at
// its end, so any of it may be wrong, and nobody must go on behind it.
func (in *incoming) distrust(err error) error {
	if t, ok := in.dst.(interface{ Truncate(size int64) error }); ok && fault.Of(err).ID == fault.IDDeflate {
		if terr := t.Truncate(in.dst.Offset()); terr != nil {
			return terr
		}
		in.rep.Bytes = 0
	}
	return err
}

// end judges the end of data.
func (in *incoming) end() error {
	in.rep.Ended = time.Now()
	if in.secure == nil {
		in.rep.Whole = in.z != nil
		return nil
	}
	// RFC 8446, 6.1: without close_notify the peer, or anybody on the way, may
	// have cut the data here. crypto/tls reports both as io.EOF.
	in.rep.Whole = !in.secure.wire.ended
	if !in.rep.Whole && !in.opt.BareEnd {
		return fault.New(fault.Cut, fault.IDTLSNoClose)
	}
	return nil
}

// refused is what becomes of a meter's refusal: nothing, when the data has ended
// and there is nothing to refuse. A file that fills its quota to the last byte
// is found out here.
func (in *incoming) refused(err error) error {
	if in.ctx.Err() != nil {
		return err
	}
	n, readErr := in.gather(make([]byte, 1), 1)
	switch {
	case n > 0:
		return err
	case readErr == io.EOF:
		return in.end()
	}
	return in.distrust(readErr)
}
