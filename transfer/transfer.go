// Package transfer is the only place that copies file data: between a data
// connection and a file, by the cheapest road. Where nothing must see the bytes
// the kernel moves them (sendfile down, splice up). The first 16 KiB of an upload,
// and all of what goes under TLS, in TYPE A or to and from files that are not
// plain descriptors, is copied through pooled buffers.
// Which road it was is reported.
//
// Permission is taken from a meter by the slice and booked after it. Nothing here
// wraps a connection or file to count or to throttle: a wrapper either loses the
// kernel road or keeps it and stops counting.
//
// The package opens no connections, publishes no files and answers nobody. It
// says that the data ended, and how; whether a file is whole is decided by its
// caller, who also closes the connection.
//
//   - RFC 959, 3.1.1.1 and 3.4  TYPE A, stream mode
//   - RFC 1950, RFC 1951        MODE Z (draft-preston-ftpext-deflate)
//   - RFC 4217, 12              data connections under TLS
//   - RFC 8446, 6.1             close_notify
//
// Package-level state is pools (of buffers, of pipes, of what compresses and
// expands) and the numbers of transfers that hold a buffer or compress, which
// decide how large the next buffer is and whether the next transfer compresses.
// Nothing else depends on it.
package transfer

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"time"

	"dray/fault"
	"dray/meter"
	"dray/vfs"
)

// A Road is the way that bytes took.
type Road string

// The roads. RoadNone is that of a transfer which ended before it chose one.
const (
	RoadKernel Road = "kernel"
	RoadCopy   Road = "copy"
	// RoadPackets is that of SFTP: each packet says where its bytes belong. Who has
	// it moves them itself.
	RoadPackets Road = "packets"
	RoadNone    Road = "none"
)

// Options are how a transfer is to be done; the zero value is TYPE I without
// limits.
type Options struct {
	// Meter gives permission for the bytes of the file; nil: all of them.
	Meter meter.Meter
	// Text converts for TYPE A: LF to CRLF on the way out, CRLF to LF on the way in.
	Text bool
	// Idle is how long no byte may move before the transfer ends with kind
	// Stalled. The end comes after Idle and before one and a quarter of it. 0: never.
	Idle time.Duration
	// BareEnd accepts an upload over TLS that ends without close_notify.
	BareEnd bool
	// Deflate is MODE Z: one zlib stream on the wire. All counts are of what it
	// holds; text is converted before it is compressed.
	Deflate bool
	// Level is how hard Send and Lines compress, 1 to 9; 0: DefaultLevel. When
	// many transfers compress already, it goes without compression.
	Level int
	// To is where Send ends, before this byte of the file; 0, or above its end: there.
	To int64
	// Expand is how many bytes Receive lets a zlib stream make of however few: as
	// many as the account's quota allows. 0: DefaultExpand. Behind it the bomb limit holds.
	Expand int64
}

// A Report is what became of a transfer, also of one that failed.
type Report struct {
	// Bytes counts bytes of the file: written to it, or read from it and handed
	// to the connection.
	Bytes int64
	Took  time.Duration
	Road  Road
	// Ended is when the end of data was seen, or on a download when the last byte
	// was written; zero when the transfer did not get there.
	Ended time.Time
	// Whole says of received data that its end was marked: under TLS by
	// close_notify, in clear text with Deflate by the end of the zlib stream and
	// its checksum. A bare FIN marks nothing.
	Whole bool
}

// A Dest is where received data goes. The first byte is written at Offset. A
// Dest that is a vfs.Kernel too is written by the kernel where the system can; its
// descriptor must not be open with O_APPEND, which takes neither splice nor WriteAt.
type Dest interface {
	io.WriterAt
	Offset() int64
}

var (
	_ Dest     = vfs.Upload(nil)
	_ net.Conn = (*Secure)(nil)
)

// errOpaque is for a TLS connection whose end nobody can judge.
var errOpaque = errors.New("receive: a TLS connection that is not a transfer.Secure cannot prove its end")

// Receive writes what comes from src to dst until the data ends. The data has
// ended at FIN, and on a *Secure at close_notify; a reset, a broken record or
// any other failed read is an error of kind Cut, never an end, and so is a bare
// FIN under TLS (id tls-no-close), unless opt.BareEnd. What came before an error
// is in the file.
//
// With opt.Deflate the zlib stream must end too, and nothing may follow it. Data
// that end inside of it are lost data as after a reset. What is no zlib stream is
// an error of kind Cut, id bad-deflate; what came of it may be wrong anywhere, so
// where dst has a Truncate it is taken away again. More than the bomb limit
// allows is one of kind OverQuota, id bomb.
//
// An error of dst or of the meter is returned as it came, one of the network as
// a *fault.Error; when ctx ended the transfer, the error is its cause. A meter
// that refuses once all has come refuses nothing.
//
// src's handshake must be done; a *tls.Conn that is no *Secure is refused.
// Nobody else may read from src or set its deadlines meanwhile. After the call
// they are cleared, after a cancellation they are in the past. The caller
// closes src.
func Receive(ctx context.Context, dst Dest, src net.Conn, opt Options) (rep Report, err error) {
	start := time.Now()
	defer func() { rep.Took = time.Since(start) }()
	rep.Road = RoadNone
	if _, ok := src.(*tls.Conn); ok {
		return rep, errOpaque
	}
	if ctx.Err() != nil {
		return rep, context.Cause(ctx)
	}
	secure, _ := src.(*Secure)
	in := incoming{ctx: ctx, src: src, secure: secure, dst: dst, opt: opt, rep: &rep}
	if secure != nil {
		in.watch = newWatch(ctx, secure.Raw(), both, opt.Idle)
	} else {
		in.watch = newWatch(ctx, src, reads, opt.Idle)
	}
	defer in.watch.end()
	if tcp, ok := src.(*net.TCPConn); ok && !opt.Text && !opt.Deflate {
		if f := osFile(dst); f != nil {
			if ended, err := in.head(); ended {
				rep.Road = RoadCopy
				return rep, err
			}
			if splices(f) {
				rep.Road = RoadKernel
				return rep, in.splice(tcp, f)
			}
		}
	}
	rep.Road = RoadCopy
	if secure != nil {
		in.got = &secure.wire.got
	}
	if opt.Deflate {
		in.z = newInflater(ctx, src, in.watch, in.got, opt.Expand)
		defer in.z.release()
	}
	return rep, in.copy()
}

// Send writes src to dst, from the byte at offset from to the file's end. A file
// that grows meanwhile is followed to where it ends then; a from behind the end
// sends nothing. With opt.Text from counts bytes of the file, not of the wire.
//
// Errors are those of Receive. After one, close the socket itself (Raw of a
// *Secure) and send no close_notify: it would tell the peer that it has the
// whole file.
//
// dst's handshake must be done. Nobody else may write to dst, set its write
// deadline or, where src is a vfs.Kernel, move src's position meanwhile. The
// caller closes both.
func Send(ctx context.Context, dst net.Conn, src vfs.File, from int64, opt Options) (rep Report, err error) {
	start := time.Now()
	defer func() { rep.Took = time.Since(start) }()
	rep.Road = RoadNone
	if from < 0 {
		return rep, fault.New(fault.BadOffset, fault.IDOffset)
	}
	if ctx.Err() != nil {
		return rep, context.Cause(ctx)
	}
	secure, _ := dst.(*Secure)
	out := outgoing{ctx: ctx, src: src, from: from, opt: opt, rep: &rep}
	if secure != nil {
		out.watch = newWatch(ctx, secure.Raw(), writes, opt.Idle)
	} else {
		out.watch = newWatch(ctx, dst, writes, opt.Idle)
	}
	defer out.watch.end()
	if tcp, ok := dst.(*net.TCPConn); ok && !opt.Text && !opt.Deflate {
		if f := osFile(src); f != nil {
			rep.Road = RoadKernel
			return rep, out.sendfile(tcp, f)
		}
	}
	rep.Road = RoadCopy
	to := io.Writer(out.watch)
	if secure != nil {
		secure.wire.follow(out.watch)
		defer secure.wire.follow(nil)
		to = secure
	}
	if opt.Deflate {
		out.z = newDeflater(ctx, to, opt.Level)
		defer out.z.release()
		to = out.z
	}
	return rep, out.copy(to)
}

// osFile is v's descriptor, nil when it has none to give.
func osFile(v any) *os.File {
	if k, ok := v.(vfs.Kernel); ok {
		return k.OSFile()
	}
	return nil
}

// Discard reads and throws away what src still sends, so that closing it does
// not reset the connection and with it the reply that says why. It returns how
// many bytes came. The error is nil when the peer ended, the cause when ctx did,
// of kind Stalled after maxTime and of kind Cut after maxBytes or when a read
// failed. On a *Secure it reads from the socket and decrypts nothing; nothing
// can be read from the *Secure afterwards, a close_notify can still be sent.
func Discard(ctx context.Context, src net.Conn, maxBytes int64, maxTime time.Duration) (int64, error) {
	if s, ok := src.(*Secure); ok {
		src = s.Raw()
	}
	ctx, cancel := context.WithTimeoutCause(ctx, maxTime, fault.New(fault.Stalled, fault.IDStall))
	defer cancel()
	w := newWatch(ctx, src, reads, 0)
	defer w.end()
	buf := takeBuffer(&smallBuffers)
	defer smallBuffers.Put(buf)
	var total int64
	for total < maxBytes {
		if err := w.arm(); err != nil {
			return total, err
		}
		n, err := src.Read((*buf)[:min(int64(len(*buf)), maxBytes-total)])
		total += int64(n)
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, w.judge(err, n > 0)
		}
	}
	return total, fault.New(fault.Cut, fault.IDDataLost)
}
