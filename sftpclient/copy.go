package sftpclient

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"dray/fault"
	"dray/sftp"
	"dray/transfer"
)

// copyPiece is how much one copy-data asks for, in bytes: few enough that they take
// less than Options.Idle on a slow disk, and that others on the same session, whom many
// servers let wait meanwhile, don't wait long.
const copyPiece = 16 << 20

// extCopyFile copies by names (draft-ietf-secsh-filexfer-extensions-00, 6). Servers that
// tell of it in version 3 are few: ProFTPD 1.3.8 has it, and tells those of version 5.
const extCopyFile = "copy-file"

// slowest is how many bytes a second a server copies at least whose progress is not seen.
const slowest = 32 << 10

// maxCopies is how many bytes the server is asked to copy at once. Most copy one piece
// behind the other, and what waits in their queue would look as if nothing moved.
const maxCopies = 2 * copyPiece

// A budget is what is left of maxCopies.
type budget struct {
	mu   sync.Mutex
	used int64
	wake chan struct{} // closed when some is given back
}

// take waits for n bytes; whoever comes alone gets any number.
func (b *budget) take(ctx context.Context, c *Client, n int64) error {
	for {
		b.mu.Lock()
		if b.used == 0 || b.used+n <= maxCopies {
			b.used += n
			b.mu.Unlock()
			return nil
		}
		if b.wake == nil {
			b.wake = make(chan struct{})
		}
		wake := b.wake
		b.mu.Unlock()
		select {
		case <-wake:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-c.dead:
			return c.err
		}
	}
}

func (b *budget) give(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used -= n
	if b.wake != nil {
		close(b.wake)
		b.wake = nil
	}
}

// Copy has the server copy the file at from to to, by copy-data, else by copy-file. Of
// o the Meter and Idle count: for each piece, that is. A nil error promises that the server has
// answered OK to every piece and to CLOSE, and tells the size that the source had at the
// beginning for the copy. Kind Unsupported where the server can't; without a StatusError
// in the chain nothing was asked.
//
// What a failure leaves is no copy. how.LeaveOpen leaves it without its CLOSE, as Send
// does.
func (c *Client) Copy(ctx context.Context, from, to string, how Store, o transfer.Options) (rep transfer.Report, err error) {
	began := time.Now()
	rep.Road = transfer.RoadNone
	defer func() { rep.Took = time.Since(began) }()
	switch {
	case c.Has(sftp.ExtCopyData) && c.Limits().Handles > 1:
	case c.Has(extCopyFile) && how.How == Replace:
		err = c.copyFile(ctx, from, to, how, o, &rep)
		return rep, err
	default:
		return rep, c.lacks("copies on the server", sftp.ExtCopyData)
	}
	in, out, err := c.couple(ctx, from, to, how)
	if err != nil {
		return rep, err
	}
	defer in.leave()
	size := int64(0)
	if size, err = in.size(ctx); err == nil {
		err = in.copyTo(ctx, out, size, o, &rep)
	}
	if err == nil {
		var is int64
		if is, err = out.size(ctx); err == nil && is != size {
			err = fault.New(fault.Cut, fault.IDShortFile, to, is, size)
		}
	}
	if err != nil {
		if !how.LeaveOpen {
			out.leave()
		}
		return rep, err
	}
	out.closed.Store(true) // by finish
	s := &sending{flow: flow{c: c}, path: to, handle: out.handle, how: how}
	if err = s.finish(ctx); err == nil || errors.Is(err, ErrAttributes) {
		rep.Ended, rep.Whole = time.Now(), true
	}
	return rep, err
}

// couple opens the source and the target. Who waits for two places does so alone, or
// many would have one each and wait for ever.
func (c *Client) couple(ctx context.Context, from, to string, how Store) (in, out *File, err error) {
	select {
	case c.couples <- struct{}{}:
	case <-ctx.Done():
		return nil, nil, context.Cause(ctx)
	case <-c.dead:
		return nil, nil, c.err
	}
	defer func() { <-c.couples }()
	if in, err = c.Open(ctx, from, sftp.OpenRead, nil); err != nil {
		return nil, nil, err
	}
	flags := uint32(sftp.OpenWrite | sftp.OpenCreate | sftp.OpenTrunc)
	if how.How == Exclusive {
		flags = sftp.OpenWrite | sftp.OpenCreate | sftp.OpenExcl
	}
	var a sftp.Attributes
	if how.Mode != 0 {
		a.SetMode(permissions(how.Mode))
		a.Mode &= 0o7777
	}
	if out, err = c.Open(ctx, to, flags, &a); err != nil {
		in.leave()
		return nil, nil, err
	}
	return in, out, nil
}

// size is what FSTAT tells.
func (f *File) size(ctx context.Context) (int64, error) {
	a, err := f.Stat(ctx)
	return f.c.told(&a, err)
}

// copyTo copies the first size bytes, piece by piece.
func (f *File) copyTo(ctx context.Context, out *File, size int64, o transfer.Options, rep *transfer.Report) error {
	for rep.Bytes < size {
		n := min(size-rep.Bytes, copyPiece)
		if o.Meter != nil {
			var err error
			if n, err = o.Meter.Take(ctx, n); err != nil {
				return err
			}
		}
		err := f.c.copies.take(ctx, f.c, n)
		if err == nil {
			err = f.copyOne(ctx, out, rep.Bytes, n, o.Idle)
			f.c.copies.give(n)
		}
		moved := n
		if err != nil {
			moved = 0
		}
		if o.Meter != nil {
			o.Meter.Done(n, moved)
		}
		if rep.Bytes += moved; err != nil {
			return err
		}
	}
	return nil
}

// copyOne copies a piece, for which the server has the time idle; 0: any.
func (f *File) copyOne(ctx context.Context, out *File, at, n int64, idle time.Duration) error {
	if idle > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, idle, stalled(idle))
		defer cancel()
	}
	return f.CopyData(ctx, at, n, out, at)
}

// copyFile is Copy by names.
func (c *Client) copyFile(ctx context.Context, from, to string, how Store, o transfer.Options, rep *transfer.Report) error {
	size, err := c.sizeOf(ctx, from)
	if err != nil {
		return err
	}
	wait := ctx
	if o.Idle > 0 {
		most := o.Idle + time.Duration(size/slowest)*time.Second
		var cancel context.CancelFunc
		wait, cancel = context.WithTimeoutCause(ctx, most, stalled(most))
		defer cancel()
	}
	q := &sftp.Request{Type: sftp.TypeExtended, Extension: []byte(extCopyFile), Path: []byte(from), To: []byte(to)}
	for _, name := range []string{from, to} {
		q.Data = append(binary.BigEndian.AppendUint32(q.Data, uint32(len(name))), name...)
	}
	q.Data = append(q.Data, 1) // over what has the name
	if _, err := c.patiently(wait, q, sftp.TypeStatus, from, endless); err != nil {
		return err
	}
	is, err := c.sizeOf(ctx, to)
	if err == nil && is != size {
		err = fault.New(fault.Cut, fault.IDShortFile, to, is, size)
	}
	if err != nil {
		return err
	}
	for left := size; left > 0 && o.Meter != nil; {
		n, err := o.Meter.Take(ctx, left)
		if err != nil {
			return err
		}
		o.Meter.Done(n, n)
		left -= n
	}
	rep.Bytes, rep.Ended, rep.Whole = size, time.Now(), true
	var a sftp.Attributes
	if how.Mode != 0 {
		a.SetMode(permissions(how.Mode))
		a.Mode &= 0o7777
	}
	if !how.MTime.IsZero() {
		a.SetTimes(how.MTime, how.MTime)
	}
	if a.Flags != 0 {
		if err := c.Setstat(ctx, to, &a); err != nil {
			return fmt.Errorf("%w: %w", ErrAttributes, err)
		}
	}
	return nil
}

// sizeOf is what STAT tells.
func (c *Client) sizeOf(ctx context.Context, path string) (int64, error) {
	a, err := c.Stat(ctx, path)
	return c.told(&a, err)
}

// told is the size that attributes tell.
func (c *Client) told(a *sftp.Attributes, err error) (int64, error) {
	if err == nil && (!a.Has(sftp.HasSize) || a.Size >= 1<<63) {
		err = c.lacks("the size of a file", "FSTAT")
	}
	return int64(a.Size), err
}

func stalled(after time.Duration) error {
	return fault.New(fault.Stalled, fault.IDStall, int((after+time.Second-1)/time.Second))
}
