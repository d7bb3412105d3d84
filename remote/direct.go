package remote

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"dray/explain"
	"dray/fault"
	"dray/ftp"
	"dray/ftpclient"
	"dray/sftpclient"
	"dray/transfer"
)

// A Copier is a Tree into which a file of another one may come without its bytes
// passing through this machine.
type Copier interface {
	// Road is how files of source would come, RoadNone where they can only pass through
	// here. Whether the servers do it turns out by a Copy.
	Road(source Tree) transfer.Road
	// Copy makes p a copy of the file from of source, whose size is as a listing told
	// it, -1 unknown. nil promises that the server shows a file at p of the source's size.
	// Of u all but From and Fresh counts, and of its How the Meter, which hears of
	// bytes when they are there, and Idle. A *NotDirect is in the chain of an error after
	// which the file has to come through here; what a failure leaves at p is worth
	// nothing.
	Copy(ctx context.Context, source Tree, from, p string, size int64, u Put) (transfer.Report, error)
}

// The roads of a Copier, beside those of package transfer.
const (
	RoadServer transfer.Road = "server" // one server copies a file of its own
	RoadFXP    transfer.Road = "fxp"    // one server sends it to the other
)

// A NotDirect is in the chain of an error after which a file has to come through this
// machine.
type NotDirect struct {
	Err error
	// Known tells that there is nothing new in it: it was told before, or nobody was
	// asked.
	Known bool
	// Begun tells that something may lie under the name.
	Begun bool
}

func (e *NotDirect) Error() string { return e.Err.Error() }
func (e *NotDirect) Unwrap() error { return e.Err }

// Why is the reason for people.
func (e *NotDirect) Why() string {
	fe := fault.Of(e.Err)
	return explain.Line(fe) + "   [" + string(fe.ID) + "]"
}

var (
	_ Copier = (*ftpTree)(nil)
	_ Copier = (*sftpTree)(nil)
)

// accountOf tells whose files on which server a tree is.
func accountOf(u URL) string {
	return fmt.Sprintf("%s@%s:%d", u.User, strings.ToLower(u.Host), u.PortNumber())
}

// settled are the servers between which is known whether files go straight.
type settled struct {
	mu    sync.Mutex
	pairs map[string]*pairing
}

// A pairing is what is known of one source. A nil error says nothing yet.
type pairing struct {
	mu     sync.Mutex
	ways   []ftpclient.Way
	asked  bool
	proven bool // the first of ways has worked
	failed int  // files that did not come, while it had not
	no     error
}

func (s *settled) with(source string) *pairing {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pairs == nil {
		s.pairs = map[string]*pairing{}
	}
	if s.pairs[source] == nil {
		s.pairs[source] = &pairing{}
	}
	return s.pairs[source]
}

func (p *pairing) refused() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.no
}

func (p *pairing) works() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.proven = true
}

func (p *pairing) isProven() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.proven
}

// refuse settles that nothing goes straight; false when that was settled before.
func (p *pairing) refuse(err error) (first bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	first = p.no == nil
	if first {
		p.no = err
	}
	return first
}

// maxFailed is how many files of a pair may fail, before one has come, until no more
// are tried.
const maxFailed = 2

// fails takes a failure that says nothing about the pair. After some it does.
func (p *pairing) fails(err error) (first bool) {
	p.mu.Lock()
	p.failed++
	enough := p.failed >= maxFailed
	p.mu.Unlock()
	return enough && p.refuse(err)
}

// way is the one to be tried next.
func (p *pairing) way(from, to *ftpclient.Conn) (ftpclient.Way, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.asked {
		var err error
		if p.ways, err = ftpclient.Ways(from, to); err != nil {
			return ftpclient.Way{}, err
		}
		p.asked = true
	}
	if len(p.ways) == 0 {
		return ftpclient.Way{}, p.no
	}
	return p.ways[0], nil
}

// closed takes a way away because of err, and tells whether there is another one to be
// tried. The last one takes the pairing with it: first is whether that is news.
func (p *pairing) closed(w ftpclient.Way, err error) (another, first bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.proven { // meanwhile
		return false, false
	}
	vain := fault.KindOf(err) == fault.NoData // the other waits there in vain, whoever is TLS client
	none := fault.KindOf(err) == fault.Denied
	p.ways = slices.DeleteFunc(p.ways, func(o ftpclient.Way) bool { return o == w || none || vain && o.Listens == w.Listens })
	if len(p.ways) > 0 {
		return true, false
	}
	first = p.no == nil
	if first {
		p.no = err
	}
	return false, first
}

func (t *ftpTree) Road(source Tree) transfer.Road {
	s, ok := source.(*ftpTree)
	switch {
	case !ok:
		return transfer.RoadNone
	case accountOf(s.u) == accountOf(t.u):
		return RoadServer
	}
	return RoadFXP
}

func (t *ftpTree) Copy(ctx context.Context, source Tree, from, p string, size int64, u Put) (rep transfer.Report, err error) {
	began := time.Now()
	defer func() { rep.Took = time.Since(began) }()
	switch t.Road(source) {
	case RoadServer:
		return t.within(ctx, from, p, size, u)
	case RoadFXP:
		return t.between(ctx, source.(*ftpTree), from, p, size, u)
	}
	return rep, errNoRoad
}

// errNoRoad is a Copy where Road said that there is none.
var errNoRoad = &NotDirect{Err: errors.New("there is no road between the two"), Known: true}

// within has the server copy a file of its own.
func (t *ftpTree) within(ctx context.Context, from, p string, size int64, u Put) (rep transfer.Report, err error) {
	rep.Road = RoadServer
	known := t.direct.with("")
	if no := known.refused(); no != nil {
		return rep, &NotDirect{Err: no, Known: true}
	}
	asked := false
	err = t.do(ctx, func(c *ftpclient.Conn) error {
		err := c.Copy(ctx, from, p)
		if asked = fault.KindOf(err) != fault.Unsupported; err != nil {
			return err
		}
		return t.arrived(ctx, known, c, c, from, p, size, u, &rep)
	})
	var said *ftpclient.ReplyError
	switch {
	case err == nil:
		known.works()
	case ctx.Err() != nil, errors.Is(err, ErrNotRenamed):
	case !asked: // most servers can't, and nobody expects it
		first := known.refuse(err)
		return rep, &NotDirect{Err: err, Known: !first || !errors.As(err, &said)}
	case errors.As(err, &said) && !known.isProven():
		return rep, &NotDirect{Err: err, Known: !known.fails(err), Begun: true}
	}
	return rep, err
}

// arrived is what comes when a copy is said to be done: its size is compared with that
// of the source, and it gets time, mode and name.
func (t *ftpTree) arrived(ctx context.Context, known *pairing, sc, c *ftpclient.Conn, from, p string, size int64, u Put, rep *transfer.Report) error {
	is, err := known.size(ctx, c, p)
	if err != nil {
		return err
	}
	if size != is { // it may have grown since it was listed
		e, err := sc.Stat(ctx, from)
		if err != nil {
			return err
		}
		if size = -1; e.Is(ftp.KnownSize) {
			size = e.Size
		}
	}
	if is != size {
		return fault.New(fault.Cut, fault.IDShortFile, p, is, size)
	}
	rep.Bytes, rep.Ended, rep.Whole = is, time.Now(), true
	if err := book(ctx, u.How, is); err != nil {
		return err
	}
	if u.Before != nil {
		if err := u.Before(*rep); err != nil {
			return err
		}
	}
	return t.finish(ctx, c, p, u)
}

// size is that of a file which the server calls done. That of the first one is looked
// up in a listing, as others see it. A listing for each would be too much in a large
// directory, so the others are asked for by name, in which the server was right.
func (p *pairing) size(ctx context.Context, c *ftpclient.Conn, path string) (int64, error) {
	var e Entry
	var err error
	if !p.isProven() {
		if e, err = c.ListName(ctx, path); c.Err() != nil {
			return 0, err
		}
	}
	if !e.Is(ftp.KnownSize) { // what is not listed at all too
		if e, err = c.Stat(ctx, path); err != nil {
			return 0, err
		}
	}
	if !e.Is(ftp.KnownSize) {
		return 0, fault.New(fault.Unsupported, fault.IDUnsupported, "telling the size of a file")
	}
	return e.Size, nil
}

// book tells a meter what has moved elsewhere.
func book(ctx context.Context, o transfer.Options, n int64) error {
	for n > 0 && o.Meter != nil {
		took, err := o.Meter.Take(ctx, n)
		if err != nil {
			return err
		}
		o.Meter.Done(took, took)
		n -= took
	}
	return nil
}

// between has the source's server send the file to this one.
func (t *ftpTree) between(ctx context.Context, s *ftpTree, from, p string, size int64, u Put) (rep transfer.Report, err error) {
	rep.Road = RoadFXP
	known := t.direct.with(accountOf(s.u))
	touched := false
	for try := 1; ; {
		if no := known.refused(); no != nil {
			return rep, &NotDirect{Err: no, Known: true, Begun: touched}
		}
		var way ftpclient.Way
		// That of the source is taken first by all, so that none waits for one that waits
		// for it.
		err = s.do(ctx, func(sc *ftpclient.Conn) error {
			return t.do(ctx, func(c *ftpclient.Conn) (err error) {
				if way, err = known.way(sc, c); err != nil {
					return err
				}
				if err = t.pass(ctx, known, way, sc, c, from, p, size, u, &rep); err != nil {
					return begun{err}
				}
				return nil
			})
		})
		if err == nil {
			known.works()
			return rep, nil
		}
		none := way == ftpclient.Way{}
		touched = touched || !none
		switch refused := fault.Of(err).ID == fault.IDNoDirect; {
		case ctx.Err() != nil, errors.Is(err, ErrNotRenamed):
			return rep, err
		case none && refused:
			return rep, &NotDirect{Err: err, Known: !known.refuse(err), Begun: touched}
		case none: // a connection could not be made
			return rep, err
		case known.isProven() && refused && portless(err) && try < samePair:
			try++
			t.o.trace("-- %s: %v", way, err)
			continue
		case known.isProven() && refused:
			return rep, &NotDirect{Err: err, Known: true, Begun: true}
		case known.isProven():
			return rep, err
		case !refused && !about(err):
			return rep, &NotDirect{Err: err, Known: !known.fails(err), Begun: true}
		}
		t.o.trace("-- %s: %v", way, err)
		if another, first := known.closed(way, err); !another {
			return rep, &NotDirect{Err: err, Known: !first, Begun: true}
		}
	}
}

// samePair is how often a file is tried between servers that have done it before.
const samePair = 3

// portless tells whether a server could not come to the port that it was sent to. One
// that always comes from the same port, as from 20, can't come to a port again while
// the last connection between the two is remembered (RFC 9293, 3.4.2), and the other
// server may have few. Another port will do.
func portless(err error) bool {
	var said *ftpclient.ReplyError
	return errors.As(err, &said) && said.Reply.Code == ftp.C425NoData
}

// about tells whether an error is about the way that a file took, and not about the
// file: there are servers that end at the first word of SSCN.
func about(err error) bool {
	if fault.Of(err).ID == fault.IDPool { // a port may be free in a moment
		return false
	}
	switch fault.KindOf(err) {
	case fault.Unreachable, fault.Cut, fault.Stalled, fault.Closing, fault.NoData:
		return true
	}
	return false
}

// pass is one try of between.
func (t *ftpTree) pass(ctx context.Context, known *pairing, way ftpclient.Way, sc, c *ftpclient.Conn, from, p string, size int64, u Put, rep *transfer.Report) error {
	err := ftpclient.Pass(ctx, way, sc, from, c, p, ftpclient.Passing{
		Idle: u.How.Idle, Size: size,
		Moved: func(ctx context.Context) (int64, bool) {
			e, err := t.Stat(ctx, p) // over another connection
			return e.Size, err == nil && e.Is(ftp.KnownSize)
		},
	})
	if err != nil {
		return err
	}
	return t.arrived(ctx, known, sc, c, from, p, size, u, rep)
}

func (t *sftpTree) Road(source Tree) transfer.Road {
	if s, ok := source.(*sftpTree); ok && accountOf(s.u) == accountOf(t.u) {
		return RoadServer
	}
	return transfer.RoadNone
}

func (t *sftpTree) Copy(ctx context.Context, source Tree, from, p string, _ int64, u Put) (rep transfer.Report, err error) {
	if t.Road(source) != RoadServer {
		return rep, errNoRoad
	}
	known := t.direct.with("")
	if no := known.refused(); no != nil {
		return rep, &NotDirect{Err: no, Known: true}
	}
	c, err := t.session(ctx)
	if err != nil {
		return rep, err
	}
	rep, err = c.Copy(ctx, source.(*sftpTree).path(from), t.path(p), sftpclient.Store{Mode: u.Mode, MTime: u.Time, LeaveOpen: u.Whole}, u.How)
	rep.Road = RoadServer
	var said *sftpclient.StatusError
	switch refused := errors.As(err, &said); {
	case err == nil, rep.Whole:
		known.works()
	case fault.KindOf(err) != fault.Unsupported || ctx.Err() != nil:
	case !refused: // it says nothing of such copies
		known.refuse(err)
		return rep, &NotDirect{Err: err, Known: true}
	case known.isProven():
		return rep, &NotDirect{Err: err, Known: true, Begun: true}
	default:
		return rep, &NotDirect{Err: err, Known: !known.refuse(err), Begun: true}
	}
	return t.finish(ctx, c, p, u, rep, err)
}
