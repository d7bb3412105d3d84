package sftpclient

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"time"

	"dray/fault"
	"dray/sftp"
	"dray/transfer"
	"dray/vfs"
)

// A How is what Send does with a file that is there.
type How int

const (
	// Replace throws away what it holds.
	Replace How = iota
	// Exclusive fails when the name is taken.
	Exclusive
	// Resume keeps what lies before the offset, cuts what is behind, and fails with
	// kind BadOffset when the file is shorter.
	Resume
	// Append writes behind what the file holds, and makes a missing one.
	Append
)

// A Store says how Send makes a file.
type Store struct {
	How How
	// Mode are the permissions of a new file; 0: the server's. They are set again
	// before the file is closed, where the server's umask has taken some.
	Mode fs.FileMode
	// MTime is set before the file is closed; zero: not.
	MTime time.Time
	// LeaveOpen leaves an upload that fails without its CLOSE, and with it one of the
	// places for handles, until the session ends. Servers that publish a file by CLOSE
	// then keep the one that was there, as those of this project do.
	LeaveOpen bool
	// Fsync waits until the file is on the server's disk, where the server can do that.
	Fsync bool
}

// ErrAttributes is found in the error of a Send whose file is whole on the server,
// but has not got its mode or time. Report.Whole is set then.
var ErrAttributes = errors.New("the file is there, without its mode or time")

// Send writes src, from the byte at offset from on to its end or to o.To, to the
// file at path: at the same offset, with Append behind its end. Of o the Meter, Idle
// and To count. A nil error promises that the server has answered OK to every
// WRITE and to CLOSE.
//
// The first WRITE that fails ends it. Report.Bytes are those that the server has
// surely taken, without a gap from the beginning. When others may lie behind them,
// the file is cut there before it is closed, as far as the server lets us: no file
// has its full size and holes. When ctx ends, that is asked without waiting for
// answers.
//
// Errors of src and of the meter are returned as they came, and when ctx ended it
// its cause.
func (c *Client) Send(ctx context.Context, path string, how Store, src vfs.File, from int64, o transfer.Options) (rep transfer.Report, err error) {
	began := time.Now()
	rep.Road = transfer.RoadNone
	defer func() { rep.Took = time.Since(began) }()
	if from < 0 {
		return rep, fault.New(fault.BadOffset, fault.IDOffset)
	}
	q := &sftp.Request{Type: sftp.TypeOpen, Path: []byte(path), Flags: sftp.OpenWrite}
	switch how.How {
	case Replace:
		q.Flags |= sftp.OpenCreate | sftp.OpenTrunc
	case Exclusive:
		q.Flags |= sftp.OpenCreate | sftp.OpenExcl
	case Append:
		q.Flags |= sftp.OpenCreate | sftp.OpenAppend
	}
	if how.Mode != 0 {
		q.Attrs.SetMode(permissions(how.Mode))
		q.Attrs.Mode &= 0o7777
	}
	h, err := c.open(ctx, q, path)
	if err != nil {
		return rep, err
	}
	s := &sending{path: path, handle: h, src: src, at: from, from: from, to: o.To, how: how, bad: math.MaxInt64}
	s.flow.begin(c, o)
	rep.Road = transfer.RoadPackets
	defer s.stop()
	err = s.run(ctx)
	rep.Bytes = s.sure() - from
	if err == nil || errors.Is(err, ErrAttributes) {
		rep.Ended, rep.Whole = time.Now(), true
	}
	return rep, err
}

// permissions are what of a mode is not the kind of file.
func permissions(m fs.FileMode) fs.FileMode {
	return m & (fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky)
}

// sending is one Send.
type sending struct {
	flow
	path     string
	handle   []byte
	src      vfs.File
	at       int64 // of src, what is sent next
	from, to int64
	shift    int64 // of the server's file to src: Append
	how      Store
	closing  *pending // CLOSE was asked

	// Under flow.mu.
	bad  int64 // where the first WRITE is that failed, as src has it
	owed int64 // permission that was taken and not given back

	certain int64 // what sure has found
}

// run sends and closes.
func (s *sending) run(ctx context.Context) error {
	err := s.place(ctx)
	if err == nil {
		err = s.send(ctx)
	}
	if err == nil {
		return s.finish(ctx)
	}
	return s.undo(ctx, err)
}

// finish gives the file what it has beside its bytes, and closes it. The requests go
// out together.
func (s *sending) finish(ctx context.Context) error {
	var attrsErr, syncErr error
	var attrs, sync *pending
	set := sftp.Request{Type: sftp.TypeFsetstat, Handle: s.handle}
	if s.how.Mode != 0 {
		set.Attrs.SetMode(permissions(s.how.Mode))
		set.Attrs.Mode &= 0o7777
	}
	if !s.how.MTime.IsZero() {
		set.Attrs.SetTimes(s.how.MTime, s.how.MTime)
	}
	if set.Attrs.Flags != 0 {
		attrs = s.c.begun(&set, sftp.TypeStatus, usual)
	}
	if s.how.Fsync && s.c.Has(sftp.ExtFsync) {
		sync = s.c.begun(&sftp.Request{Type: sftp.TypeExtended, Extension: []byte(sftp.ExtFsync), Handle: s.handle}, sftp.TypeStatus, long)
	}
	s.close()
	if attrs != nil {
		attrsErr = attrs.status(ctx, s.path)
	}
	if sync != nil {
		syncErr = sync.status(ctx, s.path)
	}
	err := s.closed(ctx)
	switch {
	case err != nil:
		return err
	case syncErr != nil:
		return syncErr
	case attrsErr != nil:
		return fmt.Errorf("%w: %w", ErrAttributes, attrsErr)
	}
	return nil
}

// close asks for CLOSE, unless it was.
func (s *sending) close() {
	if s.closing == nil {
		s.closing = s.c.closeLater(s.handle, long)
	}
}

// closed waits for its answer.
func (s *sending) closed(ctx context.Context) error {
	return s.closing.status(ctx, s.path)
}

// undo closes a file that has not become whole. What was written behind the first
// gap is cut off before. When ctx has ended, or the server did not answer any more,
// nothing is waited for. It returns the error of the upload.
func (s *sending) undo(ctx context.Context, why error) error {
	lasts := true
	waits := func() bool { return lasts && ctx.Err() == nil && fault.KindOf(why) != fault.Stalled }
	for waits() {
		s.mu.Lock()
		n := s.requests
		s.mu.Unlock()
		if n == 0 {
			break
		}
		lasts = s.wait(ctx) == nil
	}
	sure := s.sure()
	if s.closing != nil { // one WRITE, which left no gap
		return why
	}
	if waits() {
		why = s.space(ctx, why)
	}
	var cut *pending
	if sure < s.at {
		cut = s.c.begun(&sftp.Request{
			Type: sftp.TypeFsetstat, Handle: s.handle, Attrs: sftp.Attributes{Flags: sftp.HasSize, Size: uint64(sure + s.shift)},
		}, sftp.TypeStatus, usual)
	}
	if !s.how.LeaveOpen {
		s.close()
	}
	if waits() {
		if cut != nil {
			_ = cut.status(ctx, s.path)
		}
		if s.closing != nil {
			_ = s.closed(ctx)
		}
	}
	return why
}

// space looks whether a WRITE that was refused without a reason failed because the
// file system is full: OpenSSH says no more than "Failure" then.
func (s *sending) space(ctx context.Context, why error) error {
	var e *fault.Error
	if !errors.As(why, &e) || e.ID != fault.IDServerSaysNo || !s.c.Has(sftp.ExtFstatvfs) {
		return why
	}
	q := &sftp.Request{Type: sftp.TypeExtended, Extension: []byte(sftp.ExtFstatvfs), Handle: s.handle}
	p, err := s.c.do(ctx, q, sftp.TypeExtendedReply, s.path)
	if err != nil {
		return why
	}
	f, err := sftp.ParseFileSystem(p.Data)
	if err != nil || f.Fragment == 0 || f.Available > uint64(s.c.writes)/f.Fragment {
		return why
	}
	return known(e.Err, fault.NoSpace, fault.IDNoSpace, map[string]any{"path": s.path, "where": "on the server"})
}

// sure is the end of what the server has taken without a gap. Behind it no answer is
// waited for, and permission that was not used is given back.
func (s *sending) sure() int64 {
	least := s.at
	s.mu.Lock()
	waits, asked := s.requests > 0, s.over
	s.mu.Unlock()
	if asked { // the answers that were left are not waited for twice
		return s.certain
	}
	if waits {
		least = s.c.leaveAll(s, least)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	if s.meter != nil && s.owed > 0 {
		s.meter.Done(s.owed, 0)
	}
	s.owed = 0
	s.certain = min(least, s.bad)
	return s.certain
}

// place looks at the file that is there, where that counts.
func (s *sending) place(ctx context.Context) error {
	if s.how.How != Append && s.how.How != Resume {
		return nil
	}
	f := &File{c: s.c, handle: s.handle, path: s.path}
	a, err := f.Stat(ctx)
	if err != nil {
		return err
	}
	size := int64(min(a.Size, math.MaxInt64/2))
	switch {
	case !a.Has(sftp.HasSize):
		return s.c.lacks("sizes of files", "FSTAT")
	case s.how.How == Append:
		s.shift = size - s.from
	case size < s.from:
		return fault.New(fault.BadOffset, fault.IDOffset)
	case size > s.from:
		return f.Setstat(ctx, &sftp.Attributes{Flags: sftp.HasSize, Size: uint64(s.from)})
	}
	return nil
}

// writeHeader is what of a WRITE comes before its handle and its data: length, type,
// number and the lengths of handle and data with the offset between.
const writeHeader = 4 + 1 + 4 + 4 + 8 + 4

// smallFile is what goes into a small buffer, in bytes.
const smallFile = smallBytes - writeHeader - sftp.MaxHandle

// send sends all there is and waits for the answers.
func (s *sending) send(ctx context.Context) error {
	for {
		if err := s.await(ctx, s.batch()); err != nil {
			return err
		}
		last, err := s.piece(ctx)
		if err != nil {
			return err
		}
		if last {
			break
		}
	}
	return s.await(ctx, 0)
}

// batch is how many bytes may be under way so that some WRITEs are sent together.
func (s *sending) batch() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return max(s.window-min(s.window/8, 4*s.c.writes), 1)
}

// await waits until at most n bytes are under way.
func (s *sending) await(ctx context.Context, n int64) error {
	for {
		s.mu.Lock()
		err, ready := s.err, s.requests == 0 || s.under <= n && s.requests < maxRequests
		if !ready {
			s.full = true
		}
		s.mu.Unlock()
		if err != nil || ready {
			return err
		}
		if err := s.wait(ctx); err != nil {
			return err
		}
	}
}

// left is how many bytes src has yet, as far as it tells.
func (s *sending) left() int64 {
	left := int64(-1)
	if fi, err := s.src.Stat(); err == nil {
		left = max(fi.Size()-s.at, 0)
	}
	if s.to > 0 && (left < 0 || s.to-s.at < left) {
		left = max(s.to-s.at, 0)
	}
	return left
}

// piece reads what goes into one buffer and queues it as WRITEs. It tells whether
// that was the last.
func (s *sending) piece(ctx context.Context) (last bool, err error) {
	s.mu.Lock()
	room := max(s.window-s.under, 1)
	s.mu.Unlock()
	left := s.left()
	pool := &dataPool
	if left >= 0 && left < smallFile {
		pool = &smallPool
	}
	seg := segment{buf: pool.Get().(*[]byte), pool: pool, bulk: true, moved: &s.wire}
	buf, used := *seg.buf, 0
	var writes []asked
	head := writeHeader + len(s.handle)
	begun := s.at
	for room > 0 && !last {
		n := min(s.c.writes, int64(len(buf)-used-head), max(room, min(s.c.writes, 1<<10)))
		if s.to > 0 {
			n = min(n, s.to-s.at)
		}
		if n <= 0 {
			last = s.to > 0 && s.at >= s.to
			break
		}
		if used > 0 && n < s.c.writes && n < left {
			break // a whole one next time
		}
		n, last, err = s.read(ctx, buf[used+head:used+head+int(n)], left)
		if n > 0 {
			s.header(buf[used:], int(n))
			writes = append(writes, asked{by: s, typ: sftp.TypeWrite, at: s.at, n: n})
			used += head + int(n)
			s.at += n
			room -= n
			left -= min(n, max(left, 0))
		}
		if err != nil || len(writes) == maxRequests/8 {
			break
		}
	}
	seg.b = buf[:used]
	if used == 0 {
		pool.Put(seg.buf)
		return last, err
	}
	if err != nil { // nothing of it goes out
		s.at = begun
		pool.Put(seg.buf)
		return false, err
	}
	whole := last && len(writes) == 1 && begun == s.from && s.how.MTime.IsZero() && s.how.Mode == 0 && !s.how.Fsync
	if err := s.queue(ctx, seg, writes, head); err != nil {
		s.at = begun
		return false, err
	}
	if whole { // one WRITE leaves no gap, and servers close behind it
		s.close()
	}
	return last, nil
}

// read fills b from src, with permission for as much as it returns. last says that
// src has ended.
func (s *sending) read(ctx context.Context, b []byte, left int64) (n int64, last bool, err error) {
	take := func(want int64) (int64, error) {
		if s.meter == nil {
			return want, nil
		}
		got, err := s.meter.Take(ctx, want)
		if err != nil && ctx.Err() != nil && errors.Is(err, ctx.Err()) {
			err = context.Cause(ctx)
		}
		return got, err
	}
	permitted := int64(0)
	if left > 0 {
		if permitted, err = take(min(left, int64(len(b)))); err != nil {
			return 0, false, err
		}
		b = b[:permitted]
	}
	m, err := s.src.ReadAt(b, s.at)
	n = int64(m)
	switch {
	case err == io.EOF:
		last, err = true, nil
	case err == nil && m < len(b):
		err = io.ErrNoProgress
	}
	for err == nil && s.meter != nil && permitted < n { // more than src told
		var got int64
		if got, err = take(n - permitted); err == nil {
			permitted += got
		}
	}
	s.mu.Lock()
	s.owed += permitted
	s.mu.Unlock()
	if err != nil {
		n = 0
	}
	return n, last, err
}

// header writes the beginning of a WRITE of n bytes at s.at; its number comes later.
func (s *sending) header(b []byte, n int) {
	binary.BigEndian.PutUint32(b, uint32(writeHeader-4+len(s.handle)+n))
	b[4] = byte(sftp.TypeWrite)
	binary.BigEndian.PutUint32(b[9:], uint32(len(s.handle)))
	rest := b[13+copy(b[13:], s.handle):]
	binary.BigEndian.PutUint64(rest, uint64(s.at+s.shift))
	binary.BigEndian.PutUint32(rest[8:], uint32(n))
}

// queue gives the WRITEs of a segment their numbers and queues it.
func (s *sending) queue(ctx context.Context, seg segment, writes []asked, head int) error {
	c := s.c
	select {
	case c.bulk <- struct{}{}:
	case <-ctx.Done():
		seg.pool.Put(seg.buf)
		return context.Cause(ctx)
	case <-c.dead:
		return c.err
	}
	var bytes int64
	for i := range writes {
		bytes += writes[i].n
	}
	s.mu.Lock()
	s.under += bytes
	s.requests += len(writes)
	if s.requests == len(writes) { // nothing was due before
		s.touch()
	}
	s.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	at := 0
	for _, a := range writes {
		binary.BigEndian.PutUint32(seg.b[at+5:], c.register(a))
		if c.trace.Sent != nil {
			var q sftp.Request
			if q.Parse(seg.b[at+4:at+head+int(a.n)]) == nil {
				c.trace.sent(&q)
			}
		}
		at += head + int(a.n)
	}
	c.queue = append(c.queue, seg)
	c.wake.Signal()
	return nil
}

// take counts what was written.
func (s *sending) take(p *sftp.Reply, a asked) error {
	if p.Type != sftp.TypeStatus {
		return fits(p, sftp.TypeStatus)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.signal()
	s.under -= a.n
	s.requests--
	s.touch()
	if p.Code == sftp.OK {
		if s.meter != nil && !s.over {
			s.meter.Done(a.n, a.n)
			s.owed -= min(a.n, s.owed)
		}
		s.grow(a)
		return nil
	}
	s.bad = min(s.bad, a.at)
	if s.err == nil {
		s.err = s.c.refused(&sftp.Request{Type: sftp.TypeWrite}, s.path, p)
	}
	return nil
}
