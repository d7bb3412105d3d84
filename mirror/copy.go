package mirror

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"sync"
	"time"

	"dray/fault"
	"dray/remote"
	"dray/transfer"
	"dray/vfs"
)

// A Copy is a file or directory of another server that is copied to the server of the
// run, through this machine and without being stored here.
type Copy struct {
	Tree      remote.Tree // of the source; not that of the run, whose connections it must not wait for
	From      string      // there
	FromURL   string
	Entry     remote.Entry // of it
	To, ToURL string       // on the server of the run
	Filter    Filter
}

// Copy queues a file, or all files below a directory and makes the directories. It
// returns when all is queued.
func (r *Run) Copy(c Copy) {
	if !c.Entry.Mode.IsDir() {
		r.copyFile(c, c.Entry, c.From, c.FromURL, c.To, c.ToURL)
		return
	}
	r.each(r.listWidth(), func(w *walk, d walked) {
		if err := r.copyDir(w, &c, d); err != nil {
			r.Fail(joinURL(c.FromURL, d.rel), joinURL(c.ToURL, d.rel), err)
		}
	})
}

func (r *Run) copyDir(w *walk, c *Copy, d walked) error {
	if d.depth > maxDepth {
		return fault.New(fault.BadName, fault.IDBadName, joinURL(c.FromURL, d.rel))
	}
	var entries []remote.Entry
	for e, err := range c.Tree.List(r.ctx, remote.Join(c.From, d.rel)) {
		if err != nil {
			return err
		}
		entries = append(entries, e)
	}
	if !r.opt.DryRun {
		if _, err := r.makeDir(remote.Join(c.To, d.rel), joinURL(c.ToURL, d.rel)); err != nil {
			return err
		}
	}
	for _, e := range entries {
		rel := path.Join(d.rel, e.Name)
		from, url := remote.Join(c.From, rel), joinURL(c.FromURL, rel)
		if bad := CheckName(e.Name); bad != nil {
			r.Fail(joinURL(c.FromURL, d.rel), "", bad)
			continue
		}
		link := ""
		if e.Is(typed) && e.Mode.Type() == fs.ModeSymlink {
			link = cmp.Or(e.Target, followed)
		}
		if !e.Is(typed) || link != "" && r.opt.Follow {
			there, err := c.Tree.Stat(r.ctx, from)
			if err != nil {
				r.Fail(url, "", err)
				continue
			}
			there.Name = e.Name
			e = there
		}
		if c.Filter != nil && !c.Filter(rel, &e) {
			continue
		}
		switch {
		case e.Mode.IsDir():
			up := d.way
			if up == nil {
				up = &way{real: path.Clean(c.From)}
			}
			there := &way{up: up, real: path.Join(up.real, e.Name), links: up.links}
			if link != "" {
				r.lead(c.Tree, there, up.real, from, link)
				if up.has(there) {
					r.Skip(url, joinURL(c.ToURL, rel), -1, whyLoop)
					continue
				}
			}
			w.add(walked{rel: rel, depth: d.depth + 1, way: there})
		case e.Mode.Type() == fs.ModeSymlink:
			r.Skip(url, joinURL(c.ToURL, rel), -1, "it is a link; --follow copies what it leads to")
		case e.Mode.Type() != 0:
			r.Skip(url, joinURL(c.ToURL, rel), -1, "it is no regular file")
		case strings.HasSuffix(e.Name, r.opt.Suffix):
			r.Skip(url, joinURL(c.ToURL, rel), e.Size, "it is an upload that is not finished")
		default:
			r.copyFile(*c, e, from, url, remote.Join(c.To, rel), joinURL(c.ToURL, rel))
		}
	}
	return nil
}

func (r *Run) copyFile(c Copy, e remote.Entry, from, fromURL, to, toURL string) {
	size := int64(-1)
	if e.Is(sized) {
		size = e.Size
	}
	r.add(&job{from: fromURL, to: toURL, size: size, run: func(ctx context.Context, j *job) error {
		return r.through(ctx, j, c.Tree, e, from, fromURL, to, toURL)
	}})
}

// through moves one file from server to server.
func (r *Run) through(ctx context.Context, j *job, source remote.Tree, e remote.Entry, from, fromURL, to, toURL string) error {
	traits, err := r.tree.Traits(ctx)
	if err != nil {
		return err
	}
	switch r.opt.Conflict {
	case Skip, Newer:
		old, err := r.tree.Stat(ctx, to)
		if err == nil && (r.opt.Conflict == Skip || old.Is(timed) && e.Is(timed) && !old.Time.Add(old.Step).Before(e.Time)) {
			return errSkipped
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if r.opt.DryRun {
		return nil
	}
	name := to
	if !traits.Dray && !r.opt.InPlace {
		name = PartName(to, r.opt.Suffix)
	}
	size := int64(-1)
	if e.Is(sized) {
		size = e.Size
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	p := newPassage(ctx, e, size)
	got := make(chan error, 1)
	go func() {
		rep, err := source.Get(ctx, from, remote.Get{Size: size, How: transfer.Options{Idle: r.opt.Idle}}, p)
		if err == nil && size >= 0 && rep.Bytes < size {
			err = fault.New(fault.Cut, fault.IDShortFile, fromURL, rep.Bytes, size)
		}
		p.end(err)
		if err != nil {
			cancel(err)
		}
		got <- err
	}()
	put := remote.Put{Whole: name == to, How: transfer.Options{Meter: r.permit(j), Idle: r.opt.Idle}}
	if e.Is(moded) && !r.opt.NoModes {
		put.Mode = e.Mode.Perm()
	}
	if e.Is(timed) && !r.opt.NoTimes {
		put.Time = e.Time
	}
	j.goOn(0)
	rep, err := r.tree.Put(ctx, name, put, p)
	if err != nil {
		cancel(err)
	}
	p.stop()
	if failed := <-got; failed != nil && (err == nil || errors.Is(err, failed) || context.Cause(ctx) == failed) {
		err = named(failed, fromURL, fromURL, rep.Bytes)
	}
	if err != nil {
		if name != to {
			clean, done := context.WithTimeout(context.WithoutCancel(r.ctx), 5*time.Second)
			_ = r.tree.Remove(clean, name) // its beginning can't be gone on with
			done()
		}
		return named(err, toURL, toURL, rep.Bytes)
	}
	if r.opt.Verify == VerifyHash {
		if err := r.compareSides(ctx, source, from, name, toURL, rep.Bytes); err != nil {
			return err
		}
	}
	if name == to {
		return nil
	}
	s := &sending{run: r, job: j, u: &Upload{File: fromURL, Path: to, URL: toURL}, name: name, traits: traits, size: rep.Bytes}
	return s.rename(ctx)
}

// compareSides compares the checksums of both servers.
func (r *Run) compareSides(ctx context.Context, source remote.Tree, from, to, toURL string, size int64) error {
	algorithm, theirs, err := r.theirSum(ctx, to, size)
	if err != nil {
		return err
	}
	other := &Run{opt: Options{Algorithm: algorithm, Idle: r.opt.Idle}, tree: source, ctx: r.ctx}
	_, ours, err := other.theirSum(ctx, from, size)
	if err != nil {
		return err
	}
	if !strings.EqualFold(ours, theirs) {
		return fault.Because(fmt.Errorf("the source has %s, the target %s", ours, theirs), fault.Mismatch, fault.IDVerify, toURL, algorithm)
	}
	return nil
}

// ahead is how much of a file is kept that was received and not sent yet. What comes
// out of its order counts too; a server that answers further ahead than twice that is
// refused.
const ahead = 32 << 20

// A passage is a file that is received and sent at once: transfer.Dest of the
// one, vfs.File of the other, which reads from the beginning to the end.
type passage struct {
	ctx  context.Context
	e    remote.Entry
	size int64

	mu    sync.Mutex
	cond  sync.Cond
	at    int64            // the first byte that has not been sent
	held  map[int64][]byte // by where they begin
	n     int64            // bytes in held
	ended bool
	err   error
	over  bool // nobody reads any more
}

var (
	_ transfer.Dest = (*passage)(nil)
	_ vfs.File      = (*passage)(nil)
)

func newPassage(ctx context.Context, e remote.Entry, size int64) *passage {
	p := &passage{ctx: ctx, e: e, size: size, held: map[int64][]byte{}}
	p.cond.L = &p.mu
	context.AfterFunc(ctx, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.cond.Broadcast()
	})
	return p
}

// Offset is where what is received begins.
func (p *passage) Offset() int64 { return 0 }

// WriteAt keeps what was received until it is sent, and waits while there is much.
func (p *passage) WriteAt(b []byte, at int64) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.n >= ahead && at > p.at && p.ctx.Err() == nil && !p.over {
		if _, next := p.held[p.at]; !next {
			break // what is to be sent next has not come: waiting would be for ever
		}
		p.cond.Wait()
	}
	switch {
	case p.ctx.Err() != nil:
		return 0, context.Cause(p.ctx)
	case p.over:
		return 0, io.ErrClosedPipe
	case at < p.at || p.n > 2*ahead:
		return 0, errors.New("bytes came too far out of their order")
	}
	p.held[at] = append([]byte(nil), b...)
	p.n += int64(len(b))
	p.cond.Broadcast()
	return len(b), nil
}

// ReadAt gives what was received, in order only.
func (p *passage) ReadAt(b []byte, off int64) (n int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if off != p.at {
		return 0, fmt.Errorf("a file that passes through is read in order: at %d, not %d", p.at, off)
	}
	for n < len(b) {
		piece, ok := p.held[p.at]
		switch {
		case ok:
			delete(p.held, p.at)
			m := copy(b[n:], piece)
			n += m
			p.at += int64(m)
			p.n -= int64(m)
			if m < len(piece) {
				p.held[p.at] = piece[m:]
			}
			p.cond.Broadcast()
		case p.err != nil:
			return n, p.err
		case p.ctx.Err() != nil:
			return n, context.Cause(p.ctx)
		case p.ended:
			return n, io.EOF
		default:
			p.cond.Wait()
		}
	}
	return n, nil
}

// end says that all was received, or why not.
func (p *passage) end(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended, p.err = true, err
	p.cond.Broadcast()
}

// stop says that nothing is sent any more.
func (p *passage) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	p.cond.Broadcast()
}

// Stat tells the size as far as it is known.
func (p *passage) Stat() (fs.FileInfo, error) { return passing{p}, nil }

// Close has nothing to close.
func (p *passage) Close() error { return nil }

type passing struct{ p *passage }

func (i passing) Name() string       { return i.p.e.Name }
func (i passing) Size() int64        { return max(i.p.size, 0) }
func (i passing) Mode() fs.FileMode  { return i.p.e.Mode }
func (i passing) ModTime() time.Time { return i.p.e.Time }
func (i passing) IsDir() bool        { return false }
func (i passing) Sys() any           { return nil }
