package sftpclient

import (
	"context"
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"dray/fault"
	"dray/meter"
	"dray/sftp"
	"dray/transfer"
)

var errNothing = errors.New("a DATA without data")

// Receive writes the file at path, from the byte at offset from on, to dst. size is
// the whole length that the file is known to have, and it is an error of id
// short-file when it ends before; -1: nobody knows, and it ends where it ends. A file
// that has grown is followed to its end.
//
// The pieces are written at dst.Offset() and behind it in the order in which the
// server answers, by a goroutine that serves all transfers of the Client: a WriteAt
// that waits makes them wait. Of o the Meter and Idle count; Take and Done of the
// meter are called by two goroutines.
//
// Errors of dst and of the meter are returned as they came, and when ctx ended the
// transfer its cause. Report.Bytes are those without a gap from the beginning, also
// after an error; behind them there may be others. The handle is closed without
// waiting.
func (c *Client) Receive(ctx context.Context, path string, from, size int64, dst transfer.Dest, o transfer.Options) (rep transfer.Report, err error) {
	began := time.Now()
	rep.Road = transfer.RoadNone
	defer func() { rep.Took = time.Since(began) }()
	if from < 0 || size >= 0 && from > size {
		return rep, fault.New(fault.BadOffset, fault.IDOffset)
	}
	h, err := c.open(ctx, &sftp.Request{Type: sftp.TypeOpen, Path: []byte(path), Flags: sftp.OpenRead}, path)
	if err != nil {
		return rep, err
	}
	r := &receiving{
		path: path, handle: h, dst: dst, base: dst.Offset() - from, from: from,
		size: size, known: size >= 0, next: from, top: from, chunk: c.reads, tail: 1, eof: math.MaxInt64, bad: math.MaxInt64,
	}
	r.flow.begin(c, o)
	rep.Road = transfer.RoadPackets
	err = r.run(ctx)
	rep.Bytes = r.end() - from
	c.shut(h)
	if err == nil {
		rep.Ended, rep.Whole = time.Now(), true
	}
	return rep, err
}

// receiving is one Receive.
type receiving struct {
	flow
	path   string
	handle []byte
	dst    transfer.Dest
	base   int64 // dst's offset of the file's first byte
	from   int64
	known  bool // size is what the file must have, and no guess

	// Under flow.mu.
	size   int64   // of the file; below 1: not told
	next   int64   // where nothing was asked yet
	top    int64   // the end of what was written
	again  []piece // of short answers the rest
	chunk  int64   // bytes of a READ
	tail   int     // READs that may be under way behind size
	behind int     // those that are
	eof    int64   // where the server says that the file ends
	ended  bool    // an answer proves that the file ends
	bad    int64   // where the first piece is that failed
	owed   int64   // permission that was taken and not given back
	shorts int64   // bytes of the last short answer
}

// A piece is bytes of the file to be asked for. behind is set when it reaches behind
// the size that is known.
type piece struct {
	at, n  int64
	behind bool
}

// A step is what is to be done next.
type step int

const (
	stepWait step = iota
	stepAsk
	stepEnd
)

// run asks until all has come.
func (r *receiving) run(ctx context.Context) error {
	if !r.known { // beside the first READ
		if _, err := r.c.ask(&sftp.Request{Type: sftp.TypeFstat, Handle: r.handle}, asked{by: sizing{r}}); err != nil {
			return err
		}
	}
	defer r.stop()
	for {
		r.mu.Lock()
		p, fresh, what, err := r.step()
		r.mu.Unlock()
		switch {
		case err != nil:
			return err
		case what == stepEnd:
			return nil
		case what == stepWait:
			if err := r.wait(ctx); err != nil {
				return err
			}
			continue
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if fresh {
			if p, err = r.permitted(ctx, p); err != nil {
				return err
			}
		}
		if p.n == 0 {
			continue
		}
		q := sftp.Request{Type: sftp.TypeRead, Handle: r.handle, Offset: uint64(p.at), Length: uint32(p.n)}
		if _, err := r.c.ask(&q, asked{by: r, at: p.at, n: p.n, behind: p.behind}); err != nil {
			return err
		}
	}
}

// step tells what to do; mu is held. What it returns to be asked is counted as
// under way, and when it is fresh, permission is needed for it.
func (r *receiving) step() (p piece, fresh bool, what step, err error) {
	if r.err != nil {
		return p, false, stepEnd, r.err
	}
	if n := len(r.again); n > 0 {
		p = r.again[n-1]
		r.again = r.again[:n-1]
		r.count(p, 1)
		return p, false, stepAsk, nil
	}
	if r.requests == 0 && r.ended {
		return p, false, stepEnd, r.whole()
	}
	if r.ended || r.next >= r.eof {
		return p, false, stepWait, nil
	}
	p = piece{at: r.next, n: r.chunk}
	if r.size > 0 && r.next < r.size {
		p.n = min(p.n, r.size-r.next)
	} else if p.behind = true; r.behind >= r.tail {
		return p, false, stepWait, nil
	}
	if p.at > math.MaxInt64-p.n {
		return p, false, stepEnd, r.c.bad(errNoEnd)
	}
	if !r.room(p.n) {
		return p, false, stepWait, nil
	}
	r.count(p, 1)
	return p, true, stepAsk, nil
}

var errNoEnd = errors.New("a file without an end")

// count counts a piece as under way, or with -1 not any more.
func (r *receiving) count(p piece, times int) {
	r.under += int64(times) * p.n
	r.requests += times
	if p.behind {
		r.behind += times
	}
}

// whole is the verdict when all answers are in.
func (r *receiving) whole() error {
	end := min(r.eof, r.next)
	switch {
	case r.known && r.size > 0 && end < r.size:
		return fault.New(fault.Cut, fault.IDShortFile, r.path, end, r.size)
	case r.eof < r.top: // bytes behind an end: it changed meanwhile
		return fault.New(fault.Mismatch, fault.IDSourceMoved, r.path)
	}
	return nil
}

// permitted waits for permission for a piece, which may become shorter, and counts
// it as asked. A piece that ends with the file is made longer by one byte, so that
// its answer tells whether the file does end there.
func (r *receiving) permitted(ctx context.Context, p piece) (piece, error) {
	got := p.n
	var err error
	if r.meter != nil {
		got, err = r.meter.Take(ctx, p.n)
		if err != nil && ctx.Err() != nil && errors.Is(err, ctx.Err()) {
			err = context.Cause(ctx)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count(p, -1)
	if err != nil {
		return piece{}, err
	}
	r.owed += got
	if r.err != nil || r.ended || p.at >= r.eof { // an answer came meanwhile
		return piece{}, nil
	}
	p.n = got
	if !p.behind && p.at+p.n == r.size && p.n < r.chunk {
		p.n++
		p.behind = true
	}
	r.next = p.at + p.n
	r.count(p, 1)
	if r.requests == 1 {
		r.touch()
	}
	return p, nil
}

// sizing takes the answer to FSTAT. That there is none changes nothing.
type sizing struct{ r *receiving }

func (s sizing) take(p *sftp.Reply, _ asked) error {
	if err := fits(p, sftp.TypeAttrs); err != nil {
		return err
	}
	r := s.r
	r.mu.Lock()
	defer r.mu.Unlock()
	if p.Type == sftp.TypeAttrs && p.Attrs.Has(sftp.HasSize) && p.Attrs.Size < math.MaxInt64/2 && r.size < 0 && int64(p.Attrs.Size) > r.from {
		r.size = int64(p.Attrs.Size)
	}
	r.signal()
	return nil
}

// take writes what came.
func (r *receiving) take(p *sftp.Reply, a asked) error {
	if err := fits(p, sftp.TypeData); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	defer r.signal()
	r.count(piece{a.at, a.n, a.behind}, -1)
	if r.over {
		return nil
	}
	switch {
	case p.Type == sftp.TypeData:
		return r.data(p.Data, a)
	case p.Code == sftp.EOF:
		r.eof, r.ended = min(r.eof, a.at), true
	default:
		r.failed(a.at, r.c.refused(&sftp.Request{Type: sftp.TypeRead}, r.path, p))
	}
	return nil
}

// failed notes the first failure, and where the first gap is.
func (r *receiving) failed(at int64, err error) {
	r.bad = min(r.bad, at)
	if r.err == nil {
		r.err = err
	}
}

func (r *receiving) data(b []byte, a asked) error {
	n := int64(len(b))
	switch {
	case n > a.n:
		return errLong
	case n == 0: // it could go on for ever
		r.failed(a.at, r.c.bad(errNothing))
		return nil
	}
	if _, err := r.dst.WriteAt(b, r.base+a.at); err != nil {
		r.failed(a.at, err)
		return nil
	}
	r.touch()
	r.grow(a)
	if r.meter != nil {
		r.meter.Done(n, n)
	}
	r.owed -= min(n, r.owed)
	end := a.at + n
	r.top = max(r.top, end)
	switch {
	case n == a.n: // also of the byte behind what was known
		if a.behind {
			r.tail = min(2*r.tail, maxRequests)
		}
	case r.size > 0 && end == r.size: // the server had no more for a READ that asked for more
		r.ended, r.eof = true, min(r.eof, end)
	default:
		r.again = append(r.again, piece{end, a.n - n, a.behind})
		if r.shorts == n && end < r.eof { // not the first: it has a limit of its own
			r.chunk = max(min(r.chunk, n), 1<<10)
		}
		r.shorts = n
	}
	return nil
}

// end gives back what was taken, sees to it that nothing more is written, and
// returns the end of what is there without a gap.
func (r *receiving) end() int64 {
	least := int64(math.MaxInt64)
	r.mu.Lock()
	waits := r.requests > 0
	r.mu.Unlock()
	if waits {
		least = r.c.leaveAll(r, least)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.over = true
	if r.meter != nil && r.owed > 0 {
		r.meter.Done(r.owed, 0)
		r.owed = 0
	}
	for _, p := range r.again {
		least = min(least, p.at)
	}
	return max(min(least, r.bad, r.eof, r.top), r.from)
}

// A flow is what both directions have in common: what is under way, and how much
// may be.
type flow struct {
	c     *Client
	meter meter.Meter
	idle  time.Duration
	wake  chan struct{}
	timer *time.Timer
	wire  atomic.Int64 // when the last of what is sent was written to the channel

	mu       sync.Mutex
	over     bool
	err      error // the first failure
	under    int64 // bytes under way
	requests int
	window   int64
	round    time.Duration // when this round began: what was asked since tells how it goes
	full     bool          // the window was the limit in this round
	moved    time.Duration // when something came last
}

func (f *flow) begin(c *Client, o transfer.Options) {
	f.c, f.meter, f.idle, f.wake, f.window, f.moved = c, o.Meter, o.Idle, make(chan struct{}, 1), c.window, c.now()
}

func (f *flow) signal() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

func (f *flow) touch() { f.moved = f.c.now() }

// room tells whether n bytes more may be under way.
func (f *flow) room(n int64) bool {
	if f.requests == 0 || f.under+n <= f.window && f.requests < maxRequests {
		return true
	}
	f.full = true
	return false
}

// grow makes the window larger where it is what limits the rate: when it was full,
// and an answer still takes no longer than twice what the way takes at least. Where
// the line is the limit, answers wait for each other and take longer.
func (f *flow) grow(a asked) {
	if a.since < f.round {
		return
	}
	now := f.c.now()
	least := time.Duration(f.c.rtt.Load())
	if f.full && f.window < MaxWindow && least > 0 && now-a.since < 2*least+time.Millisecond {
		f.window = min(2*f.window, MaxWindow)
	}
	f.round, f.full = now, false
}

// wait waits for a signal.
func (f *flow) wait(ctx context.Context) error {
	var timeout <-chan time.Time
	if f.idle > 0 {
		if f.timer == nil {
			f.timer = time.NewTimer(f.idle)
		}
		timeout = f.timer.C
	}
	select {
	case <-f.wake:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-f.c.dead:
		select {
		case <-f.wake: // what came last
		default:
			return f.c.err
		}
	case <-timeout:
		return f.stalled()
	}
	return nil
}

// stalled is asked when the timer has run out: since something moved or not.
func (f *flow) stalled() error {
	f.mu.Lock()
	left := max(f.moved, time.Duration(f.wire.Load())) + f.idle - f.c.now()
	f.mu.Unlock()
	if left <= 0 {
		return fault.New(fault.Stalled, fault.IDStall, int(f.idle.Seconds()))
	}
	f.timer.Reset(left)
	return nil
}

func (f *flow) stop() {
	if f.timer != nil {
		f.timer.Stop()
	}
}
