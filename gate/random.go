package gate

import (
	"context"
	"errors"
	"hash/maphash"
	"io"
	"io/fs"
	"math"
	"slices"
	"sync"
	"syscall"
	"time"

	"dray/account"
	"dray/event"
	"dray/fault"
	"dray/meter"
	"dray/transfer"
	"dray/vfs"
)

// What follows is for protocols whose clients write where they like, and read what
// they have written. Of an Upload and of an Edit, what changes the length of the
// file is for one goroutine at a time.

// pass waits until n bytes may move by a meter, and books them.
func pass(ctx context.Context, m meter.Meter, n int64) error {
	for left := n; left > 0; {
		granted, err := m.Take(ctx, left)
		if err != nil {
			return err
		}
		m.Done(granted, granted)
		left -= granted
	}
	return nil
}

// Sends waits until n bytes may be sent, all of them: clients of protocols with a
// request for each piece take a short answer for the end of the file. It calls before
// when it may have to wait.
func (s *Session) Sends(ctx context.Context, n int, before func() error) error {
	if !s.down.Limited() {
		return nil
	}
	if err := before(); err != nil {
		return err
	}
	return pass(ctx, s.down, int64(n))
}

// ErrTooLarge is a length or an offset that no file has.
func ErrTooLarge() error {
	return fault.New(fault.BadOffset, fault.IDUnsupported, "offsets below 2^63")
}

// endOf is where n bytes at an offset end.
func endOf(off, n int64) (int64, error) {
	if off < 0 || off > math.MaxInt64-n {
		return 0, ErrTooLarge()
	}
	return off + n, nil
}

// Write writes all of b at an offset, within the quota and at the rate of the
// account. Where less than all of b has room nothing is written.
func (u *Upload) Write(ctx context.Context, b []byte, off int64) error {
	if err := u.ready(ctx, off, int64(len(b))); err != nil {
		return err
	}
	n, err := u.up.WriteAt(b, off)
	u.wrote(off, int64(n))
	return u.s.fail(err, "upload to", u.p)
}

// Copy is Write of n bytes that src has at from. It returns how many were written:
// fewer where src ends.
func (u *Upload) Copy(ctx context.Context, src vfs.File, from, off, n int64) (int64, error) {
	if err := u.ready(ctx, off, n); err != nil {
		return 0, err
	}
	n, err := copyPiece(ctx, piece{u.up, off}, src, from, n)
	u.wrote(off, n)
	return n, u.s.fail(err, "upload to", u.p)
}

// ready asks for all that n bytes at an offset need.
func (u *Upload) ready(ctx context.Context, off, n int64) error {
	end, err := endOf(off, n)
	if err != nil {
		return u.s.fail(err, "upload to", u.p)
	}
	if err := u.grow.reach(ctx, end); err != nil {
		return u.s.fail(err, "upload to", u.p)
	}
	if err := pass(ctx, u.s.up, n); err != nil {
		return err
	}
	u.Dest()
	if u.old != nil && len(u.anywhere().behind) == maxSpans { // one more would make it forget one
		return u.fill(ctx)
	}
	return nil
}

func (u *Upload) wrote(off, n int64) {
	u.counter.Done(n, n)
	u.anywhere().add(off, off+n)
}

// copyPiece copies what src has of n bytes.
func copyPiece(ctx context.Context, to transfer.Dest, src vfs.File, from, n int64) (int64, error) {
	rep, err := transfer.Copy(ctx, to, src, from, n, transfer.Options{})
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return rep.Bytes, err
}

// Over makes u, of which nothing was written yet, an upload that goes over the file
// that e has open: what is not written will be as it is there. The file itself stays as
// it is until the commit. E ends by it, unless there is an error.
func (u *Upload) Over(e *Edit) error {
	fi, err := e.f.Stat()
	if err != nil {
		return e.s.fail(err, "change", e.p)
	}
	u.old, u.under = e.f, fi.Size()
	e.ended()
	return nil
}

// fill takes from the file below what was not written.
func (u *Upload) fill(ctx context.Context) error {
	if u.old == nil {
		return nil
	}
	came := u.anywhere()
	for came.end < u.under {
		to := u.under
		if len(came.behind) > 0 {
			to = min(to, came.behind[0].from)
		}
		if err := u.grow.reach(ctx, to); err != nil {
			return u.s.fail(err, "upload to", u.p)
		}
		n, err := copyPiece(ctx, piece{u.up, came.end}, u.old, came.end, to-came.end)
		came.add(came.end, came.end+n)
		if err != nil {
			return u.s.fail(err, "upload to", u.p)
		}
		if n == 0 { // it became shorter meanwhile
			break
		}
	}
	u.leaveOld()
	return nil
}

// leaveOld is behind the need for the file below.
func (u *Upload) leaveOld() {
	if u.old != nil {
		_ = u.old.Close()
		u.old, u.under = nil, 0
	}
}

// anywhere is what has come, once the upload is written by Write.
func (u *Upload) anywhere() *extent {
	if u.came == nil {
		u.came = &extent{end: u.up.Offset()}
	}
	return u.came
}

// closeGaps takes away what lies behind a gap: what is kept has to be a true beginning.
func (u *Upload) closeGaps() error {
	if u.came == nil {
		return nil
	}
	fi, err := u.up.Stat()
	if err != nil || fi.Size() <= u.came.end {
		return err
	}
	return u.up.Truncate(u.came.end)
}

// An extent is what has come of a file whose pieces come in any order.
type extent struct {
	end    int64  // up to here all has come
	behind []span // what else has, in order, with a gap before each
}

type span struct{ from, to int64 }

// maxSpans is how many pieces behind a gap are remembered. Of a file that has more
// the last are forgotten, and less of it is kept.
const maxSpans = 256

func (e *extent) add(from, to int64) {
	if from > e.end {
		i := 0
		for i < len(e.behind) && e.behind[i].to < from {
			i++
		}
		j := i
		for j < len(e.behind) && e.behind[j].from <= to {
			from, to = min(from, e.behind[j].from), max(to, e.behind[j].to)
			j++
		}
		e.behind = slices.Replace(e.behind, i, j, span{from, to})
		e.behind = e.behind[:min(len(e.behind), maxSpans)]
		return
	}
	e.end = max(e.end, to)
	for len(e.behind) > 0 && e.behind[0].from <= e.end {
		e.end = max(e.end, e.behind[0].to)
		e.behind = e.behind[1:]
	}
}

// shorten is behind a truncation. A file that became longer by one has a gap there.
func (e *extent) shorten(size int64) {
	e.end = min(e.end, size)
	for i, s := range e.behind {
		if s.from >= size {
			e.behind = e.behind[:i]
			break
		}
		e.behind[i].to = min(s.to, size)
	}
}

// ReadAt reads what has been written so far.
func (u *Upload) ReadAt(b []byte, off int64) (int, error) { return u.up.ReadAt(b, off) }

// Stat tells about the file as it is so far.
func (u *Upload) Stat() (fs.FileInfo, error) { return u.up.Stat() }

// Truncate gives the file another length, within the quota.
func (u *Upload) Truncate(ctx context.Context, size int64) error {
	if size < 0 {
		return u.s.fail(syscall.EINVAL, "upload to", u.p)
	}
	if err := u.grow.reach(ctx, size); err != nil {
		return u.s.fail(err, "upload to", u.p)
	}
	u.Dest()
	if err := u.up.Truncate(size); err != nil {
		return u.s.fail(err, "upload to", u.p)
	}
	u.anywhere().shorten(size)
	u.under = min(u.under, size)
	u.grow.shrink(size)
	return nil
}

// SetTime is kept for the finished file.
func (u *Upload) SetTime(mtime time.Time) error {
	if err := u.s.may(account.Attributes, "set the time of", u.p); err != nil {
		return err
	}
	return u.s.fail(u.up.SetTime(mtime), "set the time of", u.p)
}

// Chmod is kept for the finished file.
func (u *Upload) Chmod(mode fs.FileMode) error {
	if err := u.s.may(account.Attributes, "set the mode of", u.p); err != nil {
		return err
	}
	return u.s.fail(u.up.Chmod(mode), "set the mode of", u.p)
}

// Path is the name that the upload will have.
func (u *Upload) Path() vfs.Path { return u.p }

// Report is what Commit and Cut want to know of an upload that was written by Write.
func (u *Upload) Report(took time.Duration) transfer.Report {
	return transfer.Report{Bytes: u.counter.Bytes(), Took: took, Road: transfer.RoadPackets}
}

// tails are locks on the ends of files, by identity: who appends looks where the end
// is, and writes there.
type tails [64]sync.Mutex

var tailSeed = maphash.MakeSeed()

// lock waits for its turn, and returns what ends it.
func (t *tails) lock(id identity) (unlock func()) {
	m := &t[maphash.Comparable(tailSeed, id)%uint64(len(t))]
	m.Lock()
	return m.Unlock
}

// An Edit is a finished file that the session changes where it is, as programs on a
// file system do. It ends by Close.
type Edit struct {
	s       *Session
	p       vfs.Path
	f       vfs.Edited
	changed bool
	begun   time.Time
	counter meter.Counter
	adrift  int64  // booked for a file that had no name any more
	placed  bool   // where the first bytes go has been looked at, or need not be
	mixes   error  // they go on with another file than the client thinks
	lacks   error  // why bytes are missing that a client has sent
	ended   func() // of Session.Begin
}

// begins tells that the session changes the file.
func (e *Edit) begins() *Edit {
	e.ended = e.s.Begin(event.Upload, e.p, -1, e.counter.Bytes)
	return e
}

// editor is the tree as what opens files where they are.
func (s *Session) editor() (vfs.Editor, error) {
	e, ok := s.fs.(vfs.Editor)
	if !ok {
		return nil, fault.New(fault.NotBuilt, fault.IDNotBuilt, "files of this tree are replaced as a whole")
	}
	return e, nil
}

// Edit opens a finished file to change it. It takes the right to overwrite.
func (s *Session) Edit(ctx context.Context, p vfs.Path) (*Edit, error) {
	if err := s.may(account.Overwrite, "change", p); err != nil {
		return nil, err
	}
	tree, err := s.editor()
	if err != nil {
		return nil, err
	}
	f, err := tree.Edit(ctx, p)
	if err != nil {
		return nil, s.fail(err, "change", p)
	}
	return (&Edit{s: s, p: p, f: f, begun: time.Now()}).begins(), nil
}

// Make makes an empty file, which is there at once, and opens it. Kind Exists when
// the name is taken: that tells, so it takes the right to list beside that to write.
func (s *Session) Make(ctx context.Context, p vfs.Path, mode fs.FileMode) (*Edit, error) {
	if err := s.may(account.Write|account.List, "make", p); err != nil {
		return nil, err
	}
	tree, err := s.editor()
	if err != nil {
		return nil, err
	}
	settle := func(int) {}
	if s.gate.Ledger != nil {
		hold, err := s.gate.Ledger.Hold(ctx, s.account.Name, 1, 0)
		if err != nil {
			return nil, s.fail(err, "upload to", p)
		}
		settle = func(files int) { s.booked(hold.Settle(context.WithoutCancel(ctx), files, 0)) }
	}
	f, err := tree.Make(ctx, p, s.modeAt(p, mode))
	if err != nil {
		settle(0)
		return nil, s.fail(err, "upload to", p)
	}
	settle(1)
	s.log.Info("made", "path", p.String())
	return (&Edit{s: s, p: p, f: f, placed: true, changed: true, begun: time.Now()}).begins(), nil
}

func (s *Session) booked(err error) {
	if err != nil {
		s.log.Error("quota can't be booked", "error", err)
	}
}

// grows runs f, which may make the file as long as length or shorter, and books what
// it has gained or lost. One at a time for a name.
func (e *Edit) grows(ctx context.Context, length int64, f func() error) error {
	e.changed = true
	s := e.s
	if s.gate.Ledger == nil {
		return f()
	}
	defer s.lock(e.p)()
	fi, err := e.f.Stat()
	if err != nil {
		return err
	}
	was := fi.Size()
	hold, err := s.gate.Ledger.Hold(ctx, s.account.Name, 0, max(length-was, 0))
	if err != nil {
		return err
	}
	err = f()
	gained := int64(0)
	if now, serr := e.f.Stat(); serr == nil {
		gained = now.Size() - was
		if vfs.AttrOf(now).Links == 0 {
			e.adrift += gained
		}
	}
	s.booked(hold.Settle(context.WithoutCancel(ctx), 0, gained))
	return err
}

// Write writes all of b at an offset, within the quota and at the rate of the
// account.
func (e *Edit) Write(ctx context.Context, b []byte, off int64) error {
	if err := pass(ctx, e.s.up, int64(len(b))); err != nil {
		return err
	}
	return e.write(ctx, b, off)
}

// Copy is Write of n bytes that src has at from. It returns how many were written:
// fewer where src ends.
func (e *Edit) Copy(ctx context.Context, src vfs.File, from, off, n int64) (done int64, err error) {
	if err := pass(ctx, e.s.up, n); err != nil {
		return 0, err
	}
	err = e.change(ctx, off, n, func() (int64, error) {
		done, err = copyPiece(ctx, piece{e.f, off}, src, from, n)
		return done, err
	})
	return done, err
}

// write is Write without a look at the rate.
func (e *Edit) write(ctx context.Context, b []byte, off int64) error {
	return e.change(ctx, off, int64(len(b)), func() (int64, error) {
		n, err := e.f.WriteAt(b, off)
		return int64(n), err
	})
}

// change runs f, which writes up to n bytes at an offset.
func (e *Edit) change(ctx context.Context, off, n int64, f func() (int64, error)) error {
	end, err := endOf(off, n)
	if err != nil {
		return e.s.fail(err, "change", e.p)
	}
	if err := e.mixing(ctx, off); err != nil {
		return err
	}
	err = e.grows(ctx, end, func() error {
		n, err := f()
		e.counter.Done(n, n)
		return err
	})
	if err = e.s.fail(err, "change", e.p); err != nil && fault.KindOf(err) == fault.NoSpace {
		err = fault.Because(err, fault.NoSpace, fault.IDNoSpace, e.s.free(e.p), "what was written before is in the file")
	}
	if err != nil {
		e.lacks = err
	}
	return err
}

// mixing refuses to go on behind a finished file while an unfinished upload to its name
// is kept: a client that resumes by the length that it sees would join the beginning of
// one file to the end of another. What the first bytes of a handle do decides for all.
func (e *Edit) mixing(ctx context.Context, off int64) error {
	if e.placed {
		return e.mixes
	}
	e.placed = true
	fi, err := e.f.Stat()
	if err != nil || off == 0 || off != fi.Size() || e.s.inPlace() {
		return nil
	}
	if part, err := e.s.Partial(ctx, e.p); err == nil {
		e.mixes = fault.New(fault.BadOffset, fault.IDResume, part.Size())
	}
	return e.mixes
}

// Append writes all of b behind what there is, whoever else appends to the file.
func (e *Edit) Append(ctx context.Context, b []byte) error {
	if err := pass(ctx, e.s.up, int64(len(b))); err != nil {
		return err
	}
	fi, err := e.f.Stat()
	if err != nil {
		return e.s.fail(err, "change", e.p)
	}
	defer e.s.gate.tails.lock(identityOf(fi))()
	if fi, err = e.f.Stat(); err != nil {
		return e.s.fail(err, "change", e.p)
	}
	return e.write(ctx, b, fi.Size())
}

// Moved tells e that its file has another name now.
func (e *Edit) Moved(to vfs.Path) { e.p = to }

// ReadAt takes the right to read.
func (e *Edit) ReadAt(b []byte, off int64) (int, error) {
	if err := e.s.may(account.Read, "download", e.p); err != nil {
		return 0, err
	}
	return e.f.ReadAt(b, off)
}

// Stat tells about the file as it is.
func (e *Edit) Stat() (fs.FileInfo, error) { return e.f.Stat() }

// Truncate gives the file another length, within the quota. Behind a Write that has
// failed it makes no file longer: scp asks for the whole length then all the same, and
// what has that looks whole.
func (e *Edit) Truncate(ctx context.Context, size int64) error {
	if size < 0 {
		return e.s.fail(syscall.EINVAL, "change", e.p)
	}
	if e.mixes != nil {
		return e.mixes
	}
	if e.lacks != nil {
		if fi, err := e.f.Stat(); err != nil || size > fi.Size() {
			return e.lacks
		}
	}
	return e.s.fail(e.grows(ctx, size, func() error { return e.f.Truncate(size) }), "change", e.p)
}

// SetTime sets the time of modification.
func (e *Edit) SetTime(mtime time.Time) error {
	if err := e.s.may(account.Attributes, "set the time of", e.p); err != nil {
		return err
	}
	return e.s.fail(e.f.SetTime(mtime), "set the time of", e.p)
}

// Chmod sets the nine permission bits.
func (e *Edit) Chmod(mode fs.FileMode) error {
	if err := e.s.may(account.Attributes, "set the mode of", e.p); err != nil {
		return err
	}
	return e.s.fail(e.f.Chmod(mode), "set the mode of", e.p)
}

// Path is the name under which the file was opened.
func (e *Edit) Path() vfs.Path { return e.p }

// Sync makes what was written durable.
func (e *Edit) Sync(ctx context.Context) error { return e.s.fail(e.f.Sync(ctx), "change", e.p) }

// Close ends the edit. What was changed is durable then, unless there is an error,
// and why is nil: that is why it ends without the client's word.
func (e *Edit) Close(ctx context.Context, why error) error {
	defer e.ended()
	err := e.mixes
	if e.changed && why == nil {
		err = errors.Join(err, e.Sync(ctx))
	}
	if cerr := e.f.Close(); err == nil {
		err = e.s.fail(cerr, "change", e.p)
	}
	if e.adrift != 0 {
		e.s.credit(ctx, 0, -e.adrift)
		e.adrift = 0
	}
	if e.changed {
		e.record(why, errors.Join(err, e.lacks))
	}
	return err
}

func (e *Edit) record(why, err error) {
	t := event.Transfer{
		Direction: event.Upload, Path: e.p.String(), Bytes: e.counter.Bytes(), Took: time.Since(e.begun),
		Road: string(transfer.RoadPackets), Whole: why == nil && err == nil,
	}
	if !t.Whole {
		if why == nil {
			why = err
		}
		t.Reason = string(fault.Of(why).ID)
	}
	e.s.Transferred(t)
}

// Publish is Commit for a client that goes on writing: what is there gets its name,
// and is changed where it is from then on. After an error the upload has been cut.
func (u *Upload) Publish(ctx context.Context, r transfer.Report) (*Edit, error) {
	if err := u.Commit(ctx, r, nil); err != nil {
		return nil, err
	}
	tree, err := u.s.editor()
	if err != nil {
		return nil, err
	}
	f, err := tree.Edit(ctx, u.p)
	if err != nil {
		return nil, u.s.fail(err, "change", u.p)
	}
	return (&Edit{s: u.s, p: u.p, f: f, placed: true, begun: time.Now()}).begins(), nil
}

// Drop ends an upload of which nobody wants anything: its client has removed the
// name. Nothing of it stays, as if it had never begun.
func (u *Upload) Drop(ctx context.Context) error {
	defer u.ended()
	u.leaveOld()
	ctx = context.WithoutCancel(ctx)
	defer u.s.lock(u.p)()
	if u.how.Direct {
		u.leave(ctx)
		return nil
	}
	err := u.up.Discard()
	u.settle(ctx, footing{}.minus(u.taken))
	u.s.log.Info("upload dropped", "path", u.p.String())
	return u.s.fail(err, "upload to", u.p)
}

// Space is how much room there is on the file system of p, and for this account, in
// bytes. It takes the right to list. Kind NotBuilt when nobody knows.
func (s *Session) Space(ctx context.Context, p vfs.Path) (free, available, total uint64, err error) {
	if err := s.may(account.List, "look at", p); err != nil {
		return 0, 0, 0, err
	}
	sp, ok := s.fs.(vfs.Spacer)
	if !ok {
		return 0, 0, 0, fault.New(fault.NotBuilt, fault.IDNotBuilt, "this tree does not tell how much room it has")
	}
	if free, total, err = sp.Space(ctx, p); err != nil {
		return 0, 0, 0, s.fail(err, "look at", p)
	}
	available = free
	if s.gate.Ledger != nil && s.account.MaxBytes > 0 {
		_, used, err := s.gate.Ledger.Usage(ctx, s.account.Name)
		if err != nil {
			return 0, 0, 0, s.fail(err, "look at", p)
		}
		total = min(total, uint64(s.account.MaxBytes))
		available = min(free, uint64(max(s.account.MaxBytes-used, 0)))
		free = min(free, total)
	}
	return free, available, total, nil
}
