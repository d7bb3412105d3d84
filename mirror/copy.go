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

// A Copy is a file or directory of another server, or of another place on the same, that
// is copied to the server of the run: by the servers themselves where they do that, else
// through this machine and without being stored here. A limit of the rate, which no
// server keeps for us, leaves the second.
type Copy struct {
	Tree      remote.Tree // of the source; not that of the run, whose connections it must not wait for
	From      string      // there
	FromURL   string
	Entry     remote.Entry // of it
	To, ToURL string       // on the server of the run
	Filter    Filter
	Through   bool // this machine, always

	told *sync.Once // by which road the bytes go
}

// Copy queues a file, or all files below a directory and makes the directories. It
// returns when all is queued.
func (r *Run) Copy(c Copy) {
	c.told = new(sync.Once)
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
		k := &copying{run: r, job: j, c: &c, e: e, from: from, fromURL: fromURL, to: to, toURL: toURL, size: size}
		return k.copy(ctx)
	}})
}

// copying is the copy of one file.
type copying struct {
	run           *Run
	job           *job
	c             *Copy
	e             remote.Entry // of the source
	from, fromURL string
	to, toURL     string
	size          int64 // -1 unknown
	traits        remote.Traits
}

func (k *copying) copy(ctx context.Context) (err error) {
	r := k.run
	if k.traits, err = r.tree.Traits(ctx); err != nil {
		return err
	}
	switch r.opt.Conflict {
	case Skip, Newer:
		old, err := r.tree.Stat(ctx, k.to)
		if err == nil && (r.opt.Conflict == Skip || old.Is(timed) && k.e.Is(timed) && !old.Time.Add(old.Step).Before(k.e.Time)) {
			return errSkipped
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if r.opt.DryRun {
		return nil
	}
	// A second try goes the way that depends on less.
	if tree, ok := r.tree.(remote.Copier); ok && !k.c.Through && r.opt.Rate == nil && r.opt.FileRate == 0 && !r.opt.Text && k.job.try == 1 {
		// Of a file without a byte some servers hear the end before its beginning.
		if road := tree.Road(k.c.Tree); road != transfer.RoadNone && (k.size != 0 || road != remote.RoadFXP) {
			if err := k.direct(ctx, tree, road); !errors.Is(err, errThrough) {
				return err
			}
		}
	}
	return k.through(ctx)
}

// errThrough tells that a file has to go through this machine.
var errThrough = errors.New("it has to go through this machine")

// put is what both ways have in common.
func (k *copying) put(name string) remote.Put {
	r := k.run
	put := remote.Put{Whole: name == k.to, How: transfer.Options{Meter: r.permit(k.job), Idle: r.opt.Idle}}
	if k.e.Is(moded) && !r.opt.NoModes {
		put.Mode = k.e.Mode.Perm()
	}
	if k.e.Is(timed) && !r.opt.NoTimes {
		put.Time = k.e.Time
	}
	return put
}

// direct has the servers copy the file between themselves.
func (k *copying) direct(ctx context.Context, tree remote.Copier, road transfer.Road) error {
	r := k.run
	name := PartName(k.to, r.opt.Suffix)
	// A server of dray hides what is not whole, and knows by itself whether a copy of its
	// own is. With FXP it does not: it takes a connection that broke for the end of the
	// file, and the size is looked at before the file gets its name.
	if r.opt.InPlace || k.traits.Dray && road == remote.RoadServer {
		name = k.to
	}
	put := k.put(name)
	if name != k.to && r.opt.Verify != VerifyHash {
		put.Final = k.to
	}
	k.job.goOn(0)
	rep, err := tree.Copy(ctx, k.c.Tree, k.from, name, k.size, put)
	var no *remote.NotDirect
	switch {
	case errors.As(err, &no) && ctx.Err() == nil:
		if no.Begun {
			k.remove(name)
		}
		if !no.Known {
			r.say(Event{What: Noted, ID: k.job.id, From: k.fromURL, To: k.toURL, Size: k.size, Err: no.Err, Why: "the bytes go through this machine: " + no.Why()})
		}
		return errThrough
	case errors.Is(err, remote.ErrNotRenamed):
		if Transient(err) && k.sent(name, rep.Bytes).bearsItsName(ctx) {
			err = nil
		}
	case err != nil:
		k.remove(name)
		return named(err, k.toURL, k.toURL, rep.Bytes)
	}
	k.c.told.Do(func() {
		why := "the server copies it by itself: the bytes do not come here"
		if road == remote.RoadFXP {
			why = "the servers pass it on between themselves (FXP), without checking each other's certificates: the bytes do not come here, unless --through is given"
		}
		r.say(Event{What: Noted, ID: k.job.id, From: k.fromURL, To: k.toURL, Size: k.size, Why: why})
	})
	if err == nil && put.Final != "" {
		return nil
	}
	err = k.finish(ctx, name, rep.Bytes)
	if k.traits.Dray && name != k.to && fault.KindOf(err) == fault.Denied { // who may upload there, and not rename
		k.remove(name)
		return errThrough
	}
	return err
}

// finish is what comes when all bytes are at name.
func (k *copying) finish(ctx context.Context, name string, size int64) error {
	r := k.run
	if r.opt.Verify == VerifyHash {
		if err := r.compareSides(ctx, k.c.Tree, k.from, name, k.toURL, size); err != nil {
			if fault.KindOf(err) == fault.Mismatch {
				k.remove(name)
			}
			return err
		}
	}
	if name == k.to {
		return nil
	}
	return k.sent(name, size).rename(ctx)
}

// sent is the file at name as an upload that lacks its name.
func (k *copying) sent(name string, size int64) *sending {
	return &sending{run: k.run, job: k.job, u: &Upload{File: k.fromURL, Path: k.to, URL: k.toURL}, name: name, traits: k.traits, size: size}
}

// remove takes away the beginning of a file, which can't be gone on with.
func (k *copying) remove(name string) {
	if name == k.to {
		return
	}
	ctx, done := context.WithTimeout(context.WithoutCancel(k.run.ctx), 5*time.Second)
	defer done()
	_ = k.run.tree.Remove(ctx, name)
}

// through moves the file through this machine.
func (k *copying) through(ctx context.Context) error {
	r := k.run
	name := k.to
	if !k.traits.Dray && !r.opt.InPlace {
		name = PartName(k.to, r.opt.Suffix)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	p := newPassage(ctx, k.e, k.size)
	got := make(chan error, 1)
	go func() {
		rep, err := k.c.Tree.Get(ctx, k.from, remote.Get{Size: k.size, How: transfer.Options{Idle: r.opt.Idle}}, p)
		if err == nil && k.size >= 0 && rep.Bytes < k.size {
			err = fault.New(fault.Cut, fault.IDShortFile, k.fromURL, rep.Bytes, k.size)
		}
		p.end(err)
		if err != nil {
			cancel(err)
		}
		got <- err
	}()
	k.job.goOn(0)
	// The target is not asked before the source gives something: nothing is begun there
	// for a file that can't be read, and of two transfers that wait for connections none
	// has what the other one waits for.
	if err := p.begun(); err != nil {
		cancel(err)
		return named(cmp.Or(<-got, err), k.fromURL, k.fromURL, 0)
	}
	rep, err := r.tree.Put(ctx, name, k.put(name), p)
	if err != nil {
		cancel(err)
	}
	p.stop()
	if failed := <-got; failed != nil && (err == nil || errors.Is(err, failed) || context.Cause(ctx) == failed) {
		err = named(failed, k.fromURL, k.fromURL, rep.Bytes)
	}
	if err != nil {
		k.remove(name)
		return named(err, k.toURL, k.toURL, rep.Bytes)
	}
	return k.finish(ctx, name, rep.Bytes)
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

// begun waits for the first byte, or for the end of a file that has none. After an
// error nothing will come.
func (p *passage) begun() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		switch _, first := p.held[0]; {
		case p.err != nil:
			return p.err
		case first, p.ended:
			return nil
		case p.ctx.Err() != nil:
			return context.Cause(p.ctx)
		}
		p.cond.Wait()
	}
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
