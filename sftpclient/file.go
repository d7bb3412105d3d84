package sftpclient

import (
	"context"
	"io"
	"sync/atomic"

	"dray/fault"
	"dray/sftp"
)

// A File is open on the server. It may be used by several goroutines. It must be
// closed.
type File struct {
	c      *Client
	handle []byte
	path   string
	wrote  atomic.Bool
	closed atomic.Bool
}

// Open opens a file with flags of sftp, as sftp.OpenRead. a are the attributes of
// one that is made; nil: the server's. While as many are open as may be it waits
// until one is closed.
func (c *Client) Open(ctx context.Context, path string, flags uint32, a *sftp.Attributes) (*File, error) {
	q := &sftp.Request{Type: sftp.TypeOpen, Path: []byte(path), Flags: flags}
	if a != nil {
		q.Attrs = *a
	}
	h, err := c.open(ctx, q, path)
	if err != nil {
		return nil, err
	}
	return &File{c: c, handle: h, path: path}, nil
}

// open asks for a handle, for which it takes one of the places. A handle ends by shut
// or closeLater.
func (c *Client) open(ctx context.Context, q *sftp.Request, path string) ([]byte, error) {
	if err := c.ready(ctx, q); err != nil {
		return nil, err
	}
	if q.Type == sftp.TypeOpen { // what is done with a file depends on them
		if err := c.settled(ctx); err != nil {
			return nil, err
		}
	}
	select {
	case c.handles <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-c.dead:
		return nil, c.err
	}
	k := newCall(sftp.TypeHandle)
	began := c.now()
	id, err := c.ask(q, asked{by: k})
	if err != nil {
		<-c.handles
		return nil, err
	}
	p, gone, err := c.await(ctx, id, k, orphan{c})
	switch {
	case gone: // its place is free when the answer has come
		return nil, err
	case err != nil:
		<-c.handles
		return nil, err
	}
	c.sample(c.now() - began)
	if p.Type == sftp.TypeStatus {
		<-c.handles
		return nil, c.refused(q, path, p)
	}
	return p.Handle, nil
}

// An orphan takes the answer to an OPEN that nobody waits for.
type orphan struct{ c *Client }

func (o orphan) take(p *sftp.Reply, _ asked) error {
	if err := fits(p, sftp.TypeHandle); err != nil {
		return err
	}
	if p.Type == sftp.TypeHandle {
		o.c.shut(p.Handle)
		return nil
	}
	<-o.c.handles
	return nil
}

// shut sends CLOSE and does not wait for the answer. The place of the handle is free
// at once: servers answer an OPEN behind a CLOSE after it.
func (c *Client) shut(handle []byte) {
	_, _ = c.ask(&sftp.Request{Type: sftp.TypeClose, Handle: handle}, asked{by: unheard{}, patience: long})
	<-c.handles
}

// unheard takes a status that nobody waits for.
type unheard struct{}

func (unheard) take(p *sftp.Reply, _ asked) error { return fits(p, sftp.TypeStatus) }

// closeLater sends a CLOSE whose answer is awaited later.
func (c *Client) closeLater(handle []byte, how patience) *pending {
	p := c.begun(&sftp.Request{Type: sftp.TypeClose, Handle: handle}, sftp.TypeStatus, how)
	<-c.handles
	return p
}

// Close closes the file. Of one that was written its error counts: there servers
// tell that the quota or the disk is full.
func (f *File) Close(ctx context.Context) error {
	if f.closed.Swap(true) {
		return nil
	}
	how := usual
	if f.wrote.Load() {
		how = long
	}
	return f.c.closeLater(f.handle, how).status(ctx, f.path)
}

// leave closes the file without waiting.
func (f *File) leave() {
	if !f.closed.Swap(true) {
		f.c.shut(f.handle)
	}
}

// ReadAt reads as io.ReaderAt does. It waits for each piece that the server can
// read at once; Receive is for whole files.
func (f *File) ReadAt(ctx context.Context, b []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, fault.New(fault.BadOffset, fault.IDOffset)
	}
	for n < len(b) {
		m, err := f.read(ctx, b[n:], off+int64(n))
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

func (f *File) read(ctx context.Context, b []byte, off int64) (int, error) {
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	b = b[:min(int64(len(b)), f.c.reads)]
	k := newCall(sftp.TypeData)
	k.into = b
	q := &sftp.Request{Type: sftp.TypeRead, Handle: f.handle, Offset: uint64(off), Length: uint32(len(b))}
	id, err := f.c.ask(q, asked{by: k, at: off, n: int64(len(b))})
	if err != nil {
		return 0, err
	}
	p, _, err := f.c.await(ctx, id, k, nobody{})
	switch {
	case err != nil:
		return 0, err
	case p.Type == sftp.TypeStatus && p.Code == sftp.EOF:
		return 0, io.EOF
	case p.Type == sftp.TypeStatus:
		return 0, f.c.refused(q, f.path, p)
	case len(p.Data) == 0:
		return 0, f.c.bad(errNothing)
	}
	return len(p.Data), nil
}

// WriteAt writes as io.WriterAt does, and waits for each piece; Send is for whole
// files.
func (f *File) WriteAt(ctx context.Context, b []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, fault.New(fault.BadOffset, fault.IDOffset)
	}
	for n < len(b) {
		piece := b[n : n+int(min(int64(len(b)-n), f.c.writes))]
		f.wrote.Store(true)
		q := &sftp.Request{Type: sftp.TypeWrite, Handle: f.handle, Offset: uint64(off) + uint64(n), Data: piece}
		if _, err := f.c.do(ctx, q, sftp.TypeStatus, f.path); err != nil {
			return n, err
		}
		n += len(piece)
	}
	return n, nil
}

// Stat are the attributes of the file.
func (f *File) Stat(ctx context.Context) (sftp.Attributes, error) {
	return f.c.attrs(ctx, &sftp.Request{Type: sftp.TypeFstat, Handle: f.handle}, f.path)
}

// Setstat changes the attributes that a has; with a size it cuts the file, or makes
// it longer.
func (f *File) Setstat(ctx context.Context, a *sftp.Attributes) error {
	return f.c.status(ctx, &sftp.Request{Type: sftp.TypeFsetstat, Handle: f.handle, Attrs: *a}, f.path)
}

// Fsync waits until what was written is on the server's disk; kind Unsupported
// where the server can't.
func (f *File) Fsync(ctx context.Context) error {
	if !f.c.Has(sftp.ExtFsync) {
		return f.c.lacks("fsync", sftp.ExtFsync)
	}
	q := &sftp.Request{Type: sftp.TypeExtended, Extension: []byte(sftp.ExtFsync), Handle: f.handle}
	_, err := f.c.patiently(ctx, q, sftp.TypeStatus, f.path, long)
	return err
}

// CopyData makes the server copy n bytes of f at from into to at at; n 0 is all that
// follows. Kind Unsupported where the server can't.
func (f *File) CopyData(ctx context.Context, from, n int64, to *File, at int64) error {
	if !f.c.Has(sftp.ExtCopyData) {
		return f.c.lacks("copies on the server", sftp.ExtCopyData)
	}
	to.wrote.Store(true)
	q := &sftp.Request{
		Type: sftp.TypeExtended, Extension: []byte(sftp.ExtCopyData), Handle: f.handle, Offset: uint64(from), Size: uint64(n),
		Into: to.handle, At: uint64(at),
	}
	_, err := f.c.patiently(ctx, q, sftp.TypeStatus, f.path, endless)
	return err
}
