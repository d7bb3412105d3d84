package mirror

import (
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"dray/fault"
	"dray/meter"
	"dray/remote"
	"dray/transfer"
)

// divisions say when a file is fetched over several connections. A zero field is its
// default.
type divisions struct {
	least   int64         // bytes that are left of a file which is divided without being asked to
	forced  int64         // the same where a number of connections was asked for
	piece   int64         // the smallest part
	settle  time.Duration // how long a connection takes to find its rate
	measure time.Duration // how long a rate is looked at then
	worth   time.Duration // what would go on for a shorter time is left alone
}

// usual is what was measured to be right. A second connection costs its login, eight
// round trips under TLS, and the time until it is as fast as it gets, which is a second
// or two over a long way: 20 MiB over 100 ms took others longer in five segments than in
// one. What is over in eight seconds does not pay that back, and less than 64 MiB takes
// longer only over lines which one connection fills. Where a window of 1 MiB bound a
// connection at 100 ms, 200 MiB took 35 s over one, 10.4 s over four that were asked for,
// and 15 s when four had been found to be right. A number that somebody asked for is
// worth its logins from 16 MiB on, a part of 4 MiB for each of four.
func (d divisions) usual() divisions {
	return divisions{
		least: cmp.Or(d.least, 64<<20), forced: cmp.Or(d.forced, 16<<20), piece: cmp.Or(d.piece, 4<<20),
		settle: cmp.Or(d.settle, time.Second), measure: cmp.Or(d.measure, 3*time.Second/2), worth: cmp.Or(d.worth, 8*time.Second),
	}
}

// mostDivided is how many connections a file gets without being asked to, and gain how
// much faster it has to become by them. patience is how long their first bytes may take,
// as a multiple of settle.
const (
	mostDivided = 8
	gain        = 1.2
	patience    = 15
)

// A piece is a part of a file, from one byte to another, that is fetched by one
// connection at a time. The pieces of a file touch each other.
type piece struct {
	from, to int64
	at       int64  // the bytes from from to here are there
	proof    extent // of the bytes of the last note
	order    int    // the pieces that are fetched, in the order of their beginning

	// What a connection that fetches it has to do.
	on    bool
	next  int64 // where the next byte belongs
	out   int64 // bytes that it may write and has not booked
	moves bool  // a byte has come
	ended bool  // it has ended, or was told that this is all: the piece can't become longer
	end   context.CancelCauseFunc
}

// A division is one try to fetch a file over as many connections as are worth while:
// one at first, unless a number was asked for.
type division struct {
	p      *part
	size   int64
	asked  int // connections; 0: as many as prove worth while
	limits divisions
	source remote.Entry // what the server told before the first byte

	noting sync.Mutex // one note is written at a time
	mu     sync.Mutex
	pieces []*piece
	holes  bool  // notes tell of them
	grain  int64 // the most of one grant while rates are looked at, which are seen by what is booked; 0: no limit
	moved  int64 // bytes of all connections, with those that are only compared

	// Of run alone.
	most    int // connections, for now
	running int
	started int
	calm    bool // nothing more is tried
	began   time.Time
	added   time.Time // the last connections
	since   time.Time // all connections move
	marked  time.Time // the look at the rate began, with so many bytes of the file and of the run
	mark    int64
	runMark int64
	before  float64   // the rate before the last connections were added
	fewer   int       // connections there were then
	lost    int       // connections that failed
	back    time.Time // when another may be made
}

// errGrown tells of a file that has more bytes than were told.
var errGrown = errors.New("the file is longer than it was")

// divide makes a division of what is left of a file; nil where one connection is right.
// from is how many of its first bytes are there, behind them are those of p.came.
func (p *part) divide(from, size int64) *division {
	if !p.divisible(size) {
		return nil
	}
	o := &p.run.opt
	d := &division{p: p, size: size, asked: o.Segments, limits: o.divisions.usual(), most: 1}
	left := size - from
	add := func(e extent) {
		if n := len(d.pieces); n > 0 {
			d.pieces[n-1].to = e.From
		}
		d.pieces = append(d.pieces, &piece{from: e.From, at: e.From + e.Bytes, to: size, proof: e})
	}
	if len(p.came) == 0 || p.came[0].From > 0 {
		add(p.first)
		d.pieces[0].at = from
	}
	for _, e := range p.came {
		add(e)
		left -= e.Bytes
	}
	least := d.limits.least
	if d.asked > 1 {
		least = d.limits.forced
	}
	if left <= 0 || len(p.came) == 0 && (left < least || d.asked == 1) {
		return nil
	}
	if d.asked == 0 {
		d.grain = firstGrain
	}
	if d.asked > 1 {
		d.most = int(min(int64(d.asked), max(left/d.limits.piece, 1)))
		d.cut((left + int64(d.most) - 1) / int64(d.most))
	}
	return d
}

// The grants to a connection whose rate is looked at: what comes in a twentieth of a
// second.
const (
	firstGrain = 16 << 10
	leastGrain = 4 << 10
	perGrain   = 50 * time.Millisecond
)

// divisible tells whether holes may be in the unfinished file.
func (p *part) divisible(size int64) bool {
	o := &p.run.opt
	return size >= 0 && size < 1<<62 && !o.Text && !o.InPlace && o.Resume != ResumeForce && !p.d.single && !p.run.traits().Overlap
}

// cut makes several pieces of those of which more than most bytes are missing.
func (d *division) cut(most int64) {
	for i := 0; i < len(d.pieces) && len(d.pieces) < maxRanges/2; i++ {
		if pc := d.pieces[i]; pc.to-pc.at > most {
			n := (pc.to - pc.at + most - 1) / most
			d.split(i, pc.at+(pc.to-pc.at+n-1)/n)
		}
	}
}

// split makes two pieces of one.
func (d *division) split(i int, at int64) {
	pc := d.pieces[i]
	d.pieces = slices.Insert(d.pieces, i+1, &piece{from: at, at: at, to: pc.to, proof: extent{From: at}})
	pc.to = at
}

// receive fetches what is missing, and leaves what came where that fails.
func (d *division) receive(ctx context.Context) error {
	p := d.p
	p.job.goOn(d.there())
	known, err := d.known(ctx)
	switch {
	case err != nil && len(p.came) == 0: // nothing has come
		p.leave(d.pieces[0].at)
		return named(err, p.d.URL, p.d.Place.Path(p.name), d.pieces[0].at)
	case err != nil:
		d.leave()
		return named(err, p.d.URL, p.d.Place.Path(p.name), d.there())
	case !known || len(d.pieces) > 1 && d.pierce() != nil:
		why := "" // nobody asked for more
		if d.asked > 1 || len(p.came) > 0 {
			why = "nothing would show that the file is changed meanwhile: it is fetched over one connection"
		}
		return d.alone(ctx, nil, why, d.pieces[0].at)
	}
	stop := d.takeNotes(ctx)
	err = d.run(ctx)
	stop()
	divided := len(d.pieces) > 1
	switch {
	case errors.Is(err, errOther):
		p.d.single = true
		return p.fromTheStart(ctx)
	case divided && errors.Is(err, errGrown):
		return d.changed(ctx)
	case divided && ctx.Err() == nil && fault.KindOf(err) == fault.BadOffset:
		return d.alone(ctx, err, "the server does not send a file from its middle: it is fetched over one connection", 0)
	case divided && err == nil:
		var same bool
		if same, err = d.same(ctx); err == nil && !same {
			return d.changed(ctx)
		}
	case !divided:
		p.summed = d.pieces[0].proof.Blocks[:min(int64(len(d.pieces[0].proof.Blocks)), d.pieces[0].proof.Bytes/block)]
		if whole := d.pieces[0].next; err == nil && whole > d.size {
			if err = p.grown(ctx, whole, d.size); err != nil {
				p.leave(0)
				return named(err, p.d.URL, p.d.Place.Path(p.name), 0)
			}
		}
	}
	if err != nil {
		d.leave()
		return named(err, p.d.URL, p.d.Place.Path(p.name), d.there())
	}
	return nil
}

// alone fetches the file over one connection from the byte at at on. What is behind it
// is forgotten.
func (d *division) alone(ctx context.Context, err error, why string, at int64) error {
	p := d.p
	if why != "" {
		p.say(Noted, err, why)
	}
	p.d.single = true
	if _, err := p.goOn(at); err != nil {
		return err
	}
	p.job.begin = min(p.job.begin, at)
	return p.receive(ctx, at)
}

// changed fetches a file again whose parts may be of two versions.
func (d *division) changed(ctx context.Context) error {
	p := d.p
	_ = p.d.Place.root.Remove(p.note)
	p.old = false
	e, err := p.run.tree.Stat(ctx, p.d.Path)
	if err != nil {
		p.leave(0)
		return named(err, p.d.URL, p.d.Place.Path(p.name), 0)
	}
	p.d.Entry = newer(e, p.d.Entry)
	p.run.resize(p.job, e)
	return d.alone(ctx, fault.New(fault.Mismatch, fault.IDSourceMoved, p.d.URL), "the source was changed meanwhile: it is fetched again, over one connection", 0)
}

// there is how much of the file is there.
func (d *division) there() (n int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, pc := range d.pieces {
		n += pc.at - pc.from
	}
	return n
}

// known asks the server for the version of the file, before any byte of it is asked for.
// false: versions can't be told from each other.
func (d *division) known(ctx context.Context) (bool, error) {
	e := d.p.d.told
	if e.Known == 0 {
		var err error
		switch e, err = d.p.run.tree.Stat(ctx, d.p.d.Path); {
		case ctx.Err() != nil:
			return false, context.Cause(ctx)
		case err != nil && Transient(err):
			return false, err
		case err != nil:
			return false, nil
		}
	}
	d.source = e
	return e.Is(sized|timed) && e.Size == d.size, nil
}

// pierce writes a note that tells of holes, before the first one is there.
func (d *division) pierce() error {
	d.mu.Lock()
	d.holes = true
	d.mu.Unlock()
	return d.writes()
}

// same tells whether the file is the one still that it was when it was divided.
func (d *division) same(ctx context.Context) (bool, error) {
	e, err := d.p.run.tree.Stat(ctx, d.p.d.Path)
	if err != nil {
		return false, err
	}
	before := note{Version: 2, Size: d.size, Time: d.source.Time, Step: d.source.Step, Unique: d.source.Unique}
	return e.Is(sized|timed) && before.same("", e.Size, e.Time, e.Step, e.Unique), nil
}

// A result is what became of a connection's piece.
type result struct {
	pc  *piece
	err error
}

// run fetches all pieces. A failure is that of the last connection, or one that no
// other connection would be spared.
func (d *division) run(ctx context.Context) error {
	r := d.p.run
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	results := make(chan result)
	tick := time.NewTicker(max(d.limits.settle/4, time.Millisecond))
	defer tick.Stop()
	var tail error
	d.began = time.Now()
	d.added, d.since = d.began, d.began
	for {
		for d.running < d.most && ctx.Err() == nil && (d.running == 0 || !time.Now().Before(d.back)) {
			if d.running > 0 && !r.lend(d.asked > 1) {
				break
			}
			pc := d.next()
			if pc == nil {
				if d.running > 0 {
					r.giveBack()
				}
				break
			}
			d.running++
			d.started++
			pc.order = d.started
			inner, end := context.WithCancelCause(ctx)
			pc.end = end
			go func() {
				err := d.fetch(inner, pc)
				end(nil)
				results <- result{pc, err}
			}()
		}
		switch {
		case d.running == 0 && ctx.Err() != nil:
			return context.Cause(ctx)
		case d.running == 0:
			return tail
		}
		select {
		case <-tick.C:
			d.look()
		case got := <-results:
			if d.running--; d.running > 0 {
				r.giveBack()
			}
			d.mu.Lock()
			got.pc.on = false
			d.mu.Unlock()
			switch {
			case got.err == nil, errors.Is(got.err, errEnough):
				d.join(got.pc)
			case got.pc.at == got.pc.to && !hard(got.err):
				tail = got.err // all is there, and nobody has said so
			default:
				d.join(got.pc)
				if hard(got.err) || ctx.Err() != nil || d.running == 0 {
					cancel(got.err)
					for ; d.running > 0; d.running-- {
						<-results
						if d.running > 1 {
							r.giveBack()
						}
					}
					return got.err
				}
				d.without(got.err)
			}
		}
	}
}

// hard tells of a failure that no other connection would be spared.
func hard(err error) bool {
	var fe *fault.Error
	if !errors.As(err, &fe) {
		var pe *fs.PathError
		var errno syscall.Errno
		return errors.Is(err, errOther) || errors.Is(err, errGrown) || errors.As(err, &pe) || errors.As(err, &errno)
	}
	return fe.Kind == fault.NoSpace || fe.Kind == fault.OverQuota || fe.Kind == fault.Untrusted || fe.ID == fault.IDLocal
}

// without goes on after the failure of one connection of several. The server has
// perhaps too many: another is made only where a number was asked for, and after a
// while.
func (d *division) without(err error) {
	r := d.p.run
	if busy(err) {
		r.tree.Refused()
	}
	d.calm = true
	d.lost++
	if d.asked > 1 && !busy(err) && d.lost <= r.opt.Retry && r.again(err) {
		d.back = time.Now().Add(backOff(d.lost))
		return
	}
	d.most = max(min(d.most-1, d.running), 1)
}

// next is the piece for one more connection, nil where there is none: one that nobody
// fetches, or the second half of the longest.
func (d *division) next() *piece {
	d.mu.Lock()
	longest, most := -1, int64(0)
	for i, pc := range d.pieces {
		if !pc.on && pc.at < pc.to {
			pc.begin(pc.at)
			d.mu.Unlock()
			return pc
		}
		if left := pc.to - pc.next - pc.out; pc.on && !pc.ended && left > most {
			longest, most = i, left
		}
	}
	worth := longest >= 0 && most >= 2*d.limits.piece && len(d.pieces) < maxRanges/2
	if took := time.Since(d.began); worth && d.running > 0 && took > 0 {
		rate := float64(d.moved) / took.Seconds() / float64(d.running)
		worth = float64(most) > rate*d.limits.worth.Seconds()/4
	}
	d.mu.Unlock()
	if !worth {
		return nil
	}
	if !d.holes && d.pierce() != nil {
		d.calm, d.most = true, d.running
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	pc := d.pieces[longest] // nobody else inserts
	at := pc.next + pc.out
	if at += (pc.to - at) / 2; !pc.on || pc.ended || at < pc.at || pc.to-at < d.limits.piece {
		return nil
	}
	d.split(longest, at)
	pc = d.pieces[longest+1]
	pc.begin(at)
	return pc
}

// begin takes the piece for a connection whose first byte belongs at at.
func (pc *piece) begin(at int64) {
	pc.on, pc.next, pc.out, pc.moves, pc.ended = true, at, 0, false, false
}

// join gives a piece of which nothing has come back to the connection in front of it,
// when that has not come to its end.
func (d *division) join(pc *piece) {
	d.mu.Lock()
	defer d.mu.Unlock()
	i := slices.Index(d.pieces, pc)
	if i > 0 && pc.at == pc.from && d.pieces[i-1].on && !d.pieces[i-1].ended {
		d.pieces[i-1].to = pc.to
		d.pieces = slices.Delete(d.pieces, i, i+1)
	}
}

// look decides whether more connections are worth while: as long as twice as many bring
// a fifth more. Those that did not are ended.
func (d *division) look() {
	r := d.p.run
	if d.asked > 0 || d.running == 0 {
		return
	}
	if d.running > 1 && r.crowded() {
		d.drop(1)
		return
	}
	now := time.Now()
	d.mu.Lock()
	moved := d.moved
	if d.calm {
		d.grain = 0
	} else if took := now.Sub(d.began); took > 0 {
		d.grain = max(int64(float64(moved)/took.Seconds()/float64(d.running)*perGrain.Seconds()), leastGrain)
	}
	if now.Sub(d.added) < patience*d.limits.settle && slices.ContainsFunc(d.pieces, func(pc *piece) bool { return pc.on && !pc.moves && !pc.ended }) {
		d.since = now // it logs in, over a long way
	}
	d.mu.Unlock()
	// As long as the first byte took, because that is a number of round trips, as it is
	// until a connection has found its rate.
	if d.calm || now.Sub(d.since) < max(d.limits.settle, d.since.Sub(d.added)) {
		return
	}
	all := r.moved.Bytes()
	if d.marked.IsZero() {
		d.marked, d.mark, d.runMark = now, moved, all
		return
	}
	took := now.Sub(d.marked)
	if took < d.limits.measure {
		return
	}
	rate := float64(moved-d.mark) / took.Seconds()
	limited := d.p.limited(rate, float64(all-d.runMark)/took.Seconds())
	d.marked, d.mark, d.runMark = now, moved, all
	if d.before > 0 && rate < d.before*gain {
		d.drop(d.running - d.fewer)
		return
	}
	d.before = 0
	left := d.size - d.there()
	if left < d.limits.least || float64(left) < rate*d.limits.worth.Seconds() || limited {
		return
	}
	more := min(d.running, mostDivided-d.running, r.room())
	if more < 1 {
		return
	}
	d.before, d.fewer = rate, d.running
	d.most = d.running + more
	d.added, d.since, d.marked = now, now, time.Time{}
}

// drop ends the n connections that were made last, and tries no more.
func (d *division) drop(n int) {
	d.calm = true
	d.mu.Lock()
	defer d.mu.Unlock()
	var on []*piece
	for _, pc := range d.pieces {
		if pc.on {
			on = append(on, pc)
		}
	}
	slices.SortFunc(on, func(a, b *piece) int { return b.order - a.order })
	n = min(n, len(on)-1)
	for _, pc := range on[:max(n, 0)] {
		pc.end(errEnough)
	}
	d.most = max(d.running-max(n, 0), 1)
}

// fetch fetches one piece. What is directly before it is fetched again and compared,
// as far as it is there.
func (d *division) fetch(ctx context.Context, pc *piece) error {
	p := d.p
	d.mu.Lock()
	at := pc.at
	skip := d.behind(at)
	pc.begin(at - skip)
	g := remote.Get{From: pc.next, Size: d.size, How: transfer.Options{Meter: meter.All(lane{d, pc}, p.run.permit(p.job)), Idle: p.run.opt.Idle}}
	d.mu.Unlock()
	p.job.base.Add(-skip)
	f, own := p.handle()
	var dst transfer.Dest = sink{f, at}
	switch {
	case skip > 0:
		dst = &joint{f: f, at: g.From, from: at}
	case !own:
		dst = shared{f, at}
	}
	rep, err := p.run.tree.Get(ctx, p.d.Path, g, dst)
	if own {
		if closed := f.Close(); closed != nil { // what was written may be lost
			rep.Bytes, err = 0, closed
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	pc.ended = true // nobody else takes it before its result is heard
	pc.next = g.From + rep.Bytes
	came := min(max(pc.next, at), pc.to)
	if came < pc.at { // what was booked had not been written
		pc.proof = extent{From: pc.from}
	}
	pc.at = came
	last := pc.to == d.size
	switch {
	case errors.Is(err, errOther):
	case last && pc.next > d.size && len(d.pieces) > 1:
		return errGrown
	case !last && came == pc.to:
		return nil
	case err == nil && came < pc.to:
		return fault.New(fault.Cut, fault.IDShortFile, p.d.URL, came, d.size)
	case errors.Is(context.Cause(ctx), errEnough) && !hard(err):
		return errEnough
	}
	return err
}

// behind is how many bytes before at are there, at most overlap.
func (d *division) behind(at int64) int64 {
	n := int64(0)
	for _, pc := range slices.Backward(d.pieces) {
		if pc.from >= at-n {
			continue
		}
		if pc.at < at-n {
			break
		}
		n = at - pc.from
	}
	return min(n, overlap)
}

// handle is the unfinished file with a position of its own, to be closed, or else the
// file itself.
func (p *part) handle() (f *os.File, own bool) {
	f, err := p.d.Place.root.OpenFile(p.name, os.O_RDWR, 0)
	if err == nil {
		this, first := p.f.Stat()
		that, second := f.Stat()
		if first == nil && second == nil && os.SameFile(this, that) {
			return f, true
		}
		_ = f.Close()
	}
	return p.f, false
}

// shared is a file whose position is not its own, so that the kernel can't write to it.
type shared struct {
	f  *os.File
	at int64
}

func (s shared) WriteAt(b []byte, at int64) (int, error) { return s.f.WriteAt(b, at) }
func (s shared) Offset() int64                           { return s.at }

// A lane is the meter of the connection that fetches a piece: it ends at the end of
// the piece, wherever that is by then.
type lane struct {
	d  *division
	pc *piece
}

func (l lane) Take(_ context.Context, want int64) (int64, error) {
	l.d.mu.Lock()
	defer l.d.mu.Unlock()
	pc := l.pc
	room := pc.to - pc.next - pc.out
	switch {
	case len(l.d.pieces) == 1: // judged by its length when it has ended
		room = want
	case pc.to == l.d.size: // its end is heard, and whether there is more
		room++
	}
	if room <= 0 {
		pc.ended = true
		return 0, errEnough
	}
	if l.d.grain > 0 {
		room = min(room, l.d.grain)
	}
	want = min(want, room)
	pc.out += want
	return want, nil
}

func (l lane) Done(taken, moved int64) {
	l.d.mu.Lock()
	defer l.d.mu.Unlock()
	pc := l.pc
	pc.out -= taken
	pc.next += moved
	pc.moves = pc.moves || moved > 0
	l.d.moved += moved
	pc.at = max(pc.at, min(pc.next, pc.to))
}

// note is what the last proofs of the pieces tell.
func (d *division) note() note {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.p.source()
	if d.holes {
		n.Version = 2
	}
	for _, pc := range d.pieces {
		switch {
		case pc.from == 0:
			n.Bytes, n.Blocks = pc.proof.Bytes, slices.Clone(pc.proof.Blocks)
		case pc.proof.Bytes > 0:
			n.Ranges = append(n.Ranges, pc.proof)
		}
	}
	return n
}

// prove sums what has come since the last time, in whole blocks unless all is wanted,
// and tells whether there was anything.
func (d *division) prove(all bool) (news bool, err error) {
	type state struct {
		pc    *piece
		at    int64
		proof extent
	}
	var now []state
	d.mu.Lock()
	for _, pc := range d.pieces {
		now = append(now, state{pc, pc.at, pc.proof})
	}
	d.mu.Unlock()
	for _, s := range now {
		n := s.at - s.pc.from
		if !all {
			n = n / block * block
		}
		if n <= s.proof.Bytes {
			continue
		}
		whole := s.proof.Bytes / block
		from := s.pc.from + whole*block
		blocks, err := sums(io.NewSectionReader(d.p.f, from, s.pc.from+n-from), s.pc.from+n-from)
		if err != nil {
			return news, err
		}
		d.mu.Lock()
		if s.pc.at >= s.pc.from+n { // else it was taken back meanwhile
			s.pc.proof = extent{s.pc.from, n, append(slices.Clip(s.proof.Blocks[:whole]), blocks...)}
			news = true
		}
		d.mu.Unlock()
	}
	return news, nil
}

// takeNotes writes notes while the transfer runs, for the case that the process is
// killed. The returned function ends that.
func (d *division) takeNotes(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	over := make(chan struct{})
	go func() {
		defer close(over)
		tick := time.NewTicker(noteAfter)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if news, err := d.prove(false); news && err == nil {
				_ = d.writes()
			}
		}
	}()
	return func() {
		cancel()
		<-over
	}
}

// writes writes the note of the last proofs.
func (d *division) writes() error {
	d.noting.Lock()
	defer d.noting.Unlock()
	err := writeNote(d.p.d.Place.root, d.p.note, d.note())
	if err == nil {
		d.p.old = true
	}
	return err
}

// leave keeps what is there, with a note that proves it, for the next time.
func (d *division) leave() {
	p := d.p
	if len(d.pieces) == 1 {
		p.leave(d.pieces[0].at)
		return
	}
	p.job.left = false
	if d.there() == 0 {
		p.remove()
		return
	}
	write := func() error {
		top := int64(0)
		for _, pc := range d.pieces {
			if pc.at > pc.from {
				top = pc.at
			}
		}
		if fi, err := p.f.Stat(); err == nil && fi.Size() > top {
			_ = p.f.Truncate(top)
		}
		if _, err := d.prove(true); err != nil {
			return err
		}
		return d.writes()
	}
	err := write()
	if kind := fault.KindOf(err); kind == fault.NoSpace || kind == fault.OverQuota {
		for _, pc := range slices.Backward(d.pieces) { // make room for it
			if pc.at > pc.from {
				pc.at = max(pc.from, pc.at-overlap)
				pc.proof = extent{From: pc.from}
				break
			}
		}
		err = write()
	}
	p.job.left = err == nil || p.old // the last note is of this version too
}

// limited tells whether rates of the file and of the run are what is allowed, more or
// less: more connections bring nothing then.
func (p *part) limited(file, all float64) bool {
	const most = 0.8
	o := &p.run.opt
	if o.FileRate > 0 && file > most*float64(o.FileRate) {
		return true
	}
	if o.Rate == nil {
		return false
	}
	rate := o.Rate.PerSecond()
	return rate > 0 && all > most*float64(rate)
}

// lend gives one more connection to a transfer that runs. With asked only the number
// of transfers that was given is a limit, else what the tree thinks right.
func (r *Run) lend(asked bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if asked && r.opt.Parallel == 0 || r.free() > 0 {
		r.lent++
		return true
	}
	return false
}

// free is how many more connections there may be. r.mu is held.
func (r *Run) free() int {
	most := r.opt.Parallel
	if most == 0 {
		most = r.tree.Width(len(r.queue) + r.running + r.lent + mostDivided)
	}
	return most - r.running - r.lent
}

// room is how many more connections a transfer may have: none while others wait.
func (r *Run) room() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.queue) > 0 {
		return 0
	}
	return r.free()
}

// crowded tells whether a transfer waits for a connection that is lent.
func (r *Run) crowded() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.queue) > 0 && r.lent > 0 && r.running+r.lent >= r.width()
}

func (r *Run) giveBack() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lent--
	r.cond.Broadcast()
}
