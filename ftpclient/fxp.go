package ftpclient

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"dray/fault"
	"dray/ftp"
)

// Files that go from server to server without coming here (FXP): one server listens
// and the other is told where by PORT, and the two transfer commands meet there (RFC
// 959, 2.3, figure 2, and 5.2). All that this side has of it are the replies.

// A Side is one of the two servers, or none.
type Side int

// The sides.
const (
	Neither Side = iota
	Source
	Target
)

func (s Side) other() Side { return Source + Target - s }

// A Way is how two servers come by a data connection between themselves.
type Way struct {
	Listens Side
	// Client is the side that is TLS client in place of server, Neither in clear text:
	// a listening one by CPSV, else by SSCN.
	Client Side
	CPSV   bool
}

func (w Way) String() string {
	name := map[Side]string{Source: "the source", Target: "the target"}
	s := name[w.Listens] + " listens"
	if w.Client != Neither {
		s += ", " + name[w.Client] + " is TLS client"
	}
	return s
}

// NoDirect is what Ways and Pass return where two servers don't pass files on to each
// other in the way that was asked for; the server's words are in its chain, where it
// said any.
func noDirect(from, to *Conn, err error, why string) *fault.Error {
	return fault.Because(err, fault.Unsupported, fault.IDNoDirect, from.host, to.host, why)
}

// Ways are those that two servers may have, the best first. An error of id
// no-direct-copy says why there is none: data that would be protected on a way through
// here is not sent in clear text, and clear text is not used unless both connections
// allow it.
func Ways(from, to *Conn) ([]Way, error) {
	no := func(why string) ([]Way, error) { return nil, noDirect(from, to, nil, why) }
	switch {
	case from.prot != to.prot:
		return no("one of them encrypts its data and the other does not")
	case !from.prot && !(from.opt.Plain && to.opt.Plain):
		return no("the data would go in clear text, which --plain or ftp+plain:// allows")
	case !from.prot && from.kind == kindDray && !from.feat.Has("SSCN"):
		// One of ours that lets itself not be sent elsewhere says so at once, and has others
		// wait for ever at its ports.
		return []Way{{Listens: Target}, {Listens: Source}}, nil
	case !from.prot:
		return []Way{{Listens: Source}, {Listens: Target}}, nil
	}
	// RFC 4217, 7 has every server as TLS server. A server that listens is better the
	// client itself: dray's lets no stranger in otherwise.
	var first, ways, more []Way
	for _, s := range []Side{Source, Target} {
		c := from
		if s == Target {
			c = to
		}
		sscn := c.feat.Has("SSCN")
		switch {
		case c.feat.Has("CPSV") && !(from.remote.Is6() && to.remote.Is6()): // it has no form for IPv6
			first = append(first, Way{Listens: s, Client: s, CPSV: true})
		case sscn:
			ways = append(ways, Way{Listens: s, Client: s})
		}
		if sscn {
			more = append(more, Way{Listens: s.other(), Client: s})
		}
	}
	if ways = append(append(first, ways...), more...); len(ways) == 0 {
		return no("under TLS one of them has to offer SSCN or CPSV")
	}
	return ways, nil
}

// Passing is how Pass waits; the zero value waits for ever once data may move.
type Passing struct {
	// Idle is how long nothing may move. What moves is not seen here: after each Idle
	// without a reply Moved is asked.
	Idle time.Duration
	// Moved tells how many bytes the target has, false when that is not known; nil: it
	// never is. Where it is not, the time is limited by Size, as on a very slow line.
	Moved func(ctx context.Context) (int64, bool)
	Size  int64 // of the file, -1 unknown
}

// slowestLine is how many bytes a second a transfer has at least that nobody sees.
const slowestLine = 32 << 10

// Pass has the file at source of from sent to the path target of to, where it replaces
// what has the name. nil: both servers say that their part is done. That is not proof:
// in clear text the target takes a connection that broke for the end of the file, so
// the caller compares the size.
//
// An error of id no-direct-copy tells that this Way can't be taken, and another one may
// be; its kind is NoData when one server waited for the other in vain, and Denied when
// no other way can be. Both connections are in step afterwards unless their Err says otherwise. What
// came before a failure is left at the target.
func Pass(ctx context.Context, w Way, from *Conn, source string, to *Conn, target string, o Passing) error {
	if err := from.enter(); err != nil {
		return err
	}
	defer from.leave()
	if err := to.enter(); err != nil {
		return err
	}
	defer to.leave()
	s, err := from.wire(source)
	if err != nil {
		return err
	}
	t, err := to.wire(target)
	if err != nil {
		return err
	}
	p := &passing{how: o, legs: [2]*leg{{c: from, command: cmd("RETR", s), path: source}, {c: to, command: cmd("STOR", t), path: target}}}
	for _, g := range p.legs {
		if err := g.c.binary(ctx); err != nil {
			return err
		}
	}
	if w.Client != Neither && !w.CPSV {
		client := p.at(w.Client)
		defer client.server()
		if _, err := p.agree(ctx, client, "SSCN", "ON", ftp.C200OK); err != nil {
			return err
		}
	}
	listens, connects := p.at(w.Listens), p.at(w.Listens.other())
	if err := p.meet(ctx, w, listens, connects); err != nil {
		return err
	}
	from.opt.Trace.note("to " + to.host + " without us: " + w.String())
	defer p.stop()
	if err := p.begin(ctx); err != nil {
		return err
	}
	if err := p.wait(ctx); err != nil {
		return err
	}
	return p.verdict(ctx)
}

// A leg is one server's part of a pass.
type leg struct {
	c             *Conn
	command       ftp.Command
	path          string
	asked         bool
	opened, final ftp.Reply
	early         int // replies below 200
	err           error
}

func (g *leg) over() bool { return g.final.Code != 0 || g.err != nil }

// hears is where the next reply comes, nil when none is due.
func (g *leg) hears() <-chan answer {
	if g.over() {
		return nil
	}
	g.c.listen()
	return g.c.got
}

func (g *leg) hear(a answer) {
	r, err := g.c.take(a)
	if err == nil && g.c.lost() != nil { // a 421
		err = g.c.lost()
	}
	switch {
	case err != nil:
		g.err = err
	case r.Code < 200:
		g.opened = r
		if g.early++; g.early > maxPreliminary {
			g.err = g.c.lose(g.c.unread(ftp.ErrBadReply))
		}
	default:
		g.final = r
	}
}

// passing is one Pass.
type passing struct {
	how  Passing
	legs [2]*leg // of the source and the target
}

func (p *passing) at(s Side) *Conn { return p.legs[s-Source].c }

func (p *passing) no(err error, why string) *fault.Error {
	return noDirect(p.legs[0].c, p.legs[1].c, err, why)
}

// agree sends a command of the set-up. A refusal closes this way, and perhaps no other.
func (p *passing) agree(ctx context.Context, c *Conn, verb, arg string, want ftp.Code) (ftp.Reply, error) {
	step := cmd(verb, arg)
	r, err := c.do(ctx, verb, arg)
	switch {
	case err != nil:
		return r, err
	case c.lost() != nil:
		return r, c.lost()
	case r.Code == want:
		return r, nil
	}
	if err := c.refusedPort(step, r); fault.Of(err).ID == fault.IDPool { // others may be free in a moment
		return r, err
	}
	said := c.replyError(step, r)
	no := p.no(said, c.host+" refuses "+said.Error())
	if c.kind == kindDray && (verb == "PORT" || verb == "EPRT") { // one switch is for both
		no.Kind = fault.Denied
	}
	return r, no
}

// meet has one server listen and tells the other where.
func (p *passing) meet(ctx context.Context, w Way, listens, connects *Conn) error {
	listens.forgetAhead() // as the servers do
	connects.forgetAhead()
	six := listens.remote.Is6() && connects.remote.Is6()
	verb, code := "PASV", ftp.C227Passive
	switch {
	case six:
		verb, code = "EPSV", ftp.C229Extended
	case w.CPSV:
		verb = "CPSV"
	case listens.remote.Is6():
		return p.no(nil, "they are reached over different families of addresses")
	}
	r, err := p.agree(ctx, listens, verb, "", code)
	if err != nil {
		return err
	}
	var told netip.AddrPort
	if six {
		var port uint16
		port, err = ftp.ParseEPSVReply(r.Text)
		told = netip.AddrPortFrom(listens.remote, port)
	} else {
		told, err = ftp.ParsePASVReply(r.Text)
	}
	if err != nil {
		return p.no(listens.replyError(cmd(verb, ""), r), listens.host+" names no address for data")
	}
	addr, ok := meeting(told.Addr(), listens.remote, connects.remote)
	if !ok || told.Port() < 1024 { // the port of a service is nobody's data port (RFC 2577, 3)
		return p.no(listens.replyError(cmd(verb, ""), r), fmt.Sprintf("%s has no address for data that %s could reach (it tells %v)", listens.host, connects.host, told))
	}
	at := netip.AddrPortFrom(addr, told.Port())
	if six {
		_, err = p.agree(ctx, connects, "EPRT", ftp.FormatEPRT(at), ftp.C200OK)
	} else {
		_, err = p.agree(ctx, connects, "PORT", ftp.FormatPort(at), ftp.C200OK)
	}
	return err
}

// meeting is the address at which a server that listens is to be found by one that
// connects, from the one that it tells and those by which we reach both. It is false
// where that would be another machine for the one that connects, or nobody's: a
// server is not sent to its own loopback, or into its own network.
func meeting(told, listens, connects netip.Addr) (netip.Addr, bool) {
	at := listens
	if told.IsValid() && told != listens && !near(told) && !(near(listens) && near(connects)) {
		at = told // behind a router, or one of several machines
	}
	switch {
	case !at.IsValid(), at.IsUnspecified(), at.IsMulticast(), at.IsLinkLocalUnicast(), at == broadcast:
		return at, false
	case at.IsLoopback():
		return at, connects.IsLoopback()
	case near(at):
		return at, connects.IsValid() && near(connects)
	}
	return at, true
}

var (
	broadcast  = netip.AddrFrom4([4]byte{255, 255, 255, 255})
	carrierNAT = netip.MustParsePrefix("100.64.0.0/10") // RFC 6598
)

// near tells an address that is another machine in each network.
func near(a netip.Addr) bool {
	return a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsUnspecified() || carrierNAT.Contains(a)
}

// begin sends both transfer commands, that of the target first: it is to be there when
// the bytes are. Replies are not waited for in between, because many servers say 150
// when the connection stands.
func (p *passing) begin(ctx context.Context) error {
	for _, g := range []*leg{p.legs[1], p.legs[0]} {
		g.asked = true
		if err := g.c.say(ctx, g.command); err != nil {
			return err
		}
	}
	return nil
}

// The stages of a pass.
const (
	opening = iota
	moving  // data, as far as we know
	ending  // one side is done
	failing // one side has failed
)

// A growth is what was asked for at a stage: how many bytes the target has.
type growth struct {
	stage int
	bytes int64
	known bool
}

// blind is how long a transfer may take of which nobody knows whether it moves.
func (p *passing) blind() time.Duration {
	size := p.how.Size
	if size < 0 {
		size = 1 << 30
	}
	return p.how.Idle + time.Duration(size/slowestLine)*time.Second
}

// How long replies are waited for when one side has failed.
const afterFailure = 2 * time.Second

// wait hears both servers until both have ended, one has failed and the other had its
// chance, or the time is over. What they said is in the legs.
func (p *passing) wait(ctx context.Context) error {
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	a, b := p.legs[0], p.legs[1]
	began := time.Now()
	patience := max(a.c.opt.DataWait, b.c.opt.DataWait)
	timer := time.NewTimer(patience) // until both have opened
	defer timer.Stop()
	stage, last := opening, int64(0)
	grown := make(chan growth, 2) // of two stages
	for {
		select {
		case r := <-a.hears():
			a.hear(r)
		case r := <-b.hears():
			b.hear(r)
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-a.c.life.Done():
			return a.c.lost()
		case <-b.c.life.Done():
			return b.c.lost()
		case g := <-grown:
			switch {
			case g.stage != stage: // which has a time of its own
			case g.known && g.bytes > last:
				last = g.bytes
				timer.Reset(p.how.Idle)
			case stage == ending:
				return b.c.lose(b.c.silent(p.late(b.c, began)))
			case !g.known && time.Since(began) < p.blind():
				timer.Reset(p.how.Idle)
			default:
				return fault.New(fault.Stalled, fault.IDStall, seconds(p.how.Idle))
			}
			continue
		case <-timer.C:
			switch {
			case stage == opening:
				return fault.New(fault.NoData, fault.IDNoDirect, a.c.host, b.c.host, fmt.Sprintf("no data connection came about between them in %d s", seconds(patience)))
			case stage == moving, stage == ending && !b.over() && p.how.Idle > 0: // the source may be far ahead of a slow line
				go func(g growth) {
					if p.how.Moved != nil {
						short, cancel := context.WithTimeout(inner, p.how.Idle)
						defer cancel()
						g.bytes, g.known = p.how.Moved(short)
					}
					grown <- g
				}(growth{stage: stage})
				continue
			case stage == ending:
				for _, g := range p.legs {
					if !g.over() {
						return g.c.lose(g.c.silent(p.late(g.c, began)))
					}
				}
			}
			return nil
		}
		switch {
		case a.over() && b.over():
			return nil
		case stage != failing && (a.failed() || b.failed()):
			stage = failing
			timer.Reset(afterFailure)
		case stage < ending && (a.over() || b.over()):
			stage = ending
			timer.Reset(max(p.late(a.c, began), p.late(b.c, began)))
		case stage == opening && a.opened.Code != 0 && b.opened.Code != 0:
			if stage = moving; p.how.Idle > 0 {
				timer.Reset(p.how.Idle)
			} else {
				timer.Stop()
			}
		}
	}
}

func (g *leg) failed() bool { return g.err != nil || g.final.Code >= 300 }

// late is how long a server has to say that it is done when the other one has: some
// check or copy a large file before they answer.
func (p *passing) late(c *Conn, began time.Time) time.Duration {
	return c.opt.Timeout + time.Since(began)/4
}

// consequences are what a server says whose data connection never came, or broke.
var consequences = []ftp.Code{ftp.C425NoData, ftp.C426Cut}

// setUp are refusals that are about the data connection, or say that the server can't
// do this.
var setUp = []ftp.Code{ftp.C425NoData, ftp.C426Cut, ftp.C500Unknown, ftp.C501Syntax, ftp.C502NotBuilt, ftp.C503Sequence, ftp.C504Parameter,
	ftp.C521NeedProt, ftp.C522DataTLS, ftp.C533, ftp.C534NoClear, ftp.C536ProtLevel}

// verdict is what the replies come to.
func (p *passing) verdict(ctx context.Context) error {
	var blamed *leg
	for _, g := range p.legs {
		switch {
		case !g.failed():
		case blamed == nil, g.err == nil && slices.Contains(consequences, blamed.final.Code) && !slices.Contains(consequences, g.final.Code), blamed.err != nil && g.err == nil:
			blamed = g
		}
	}
	switch {
	case blamed == nil:
		return nil
	case blamed.err != nil:
		return blamed.err
	}
	said := blamed.c.replyError(blamed.command, blamed.final)
	if slices.Contains(setUp, blamed.final.Code) {
		return p.no(said, blamed.c.host+" says "+blamed.final.Said())
	}
	p.stop()
	return cutShort(blamed.c.settled(ctx, blamed.c.refused(blamed.command, blamed.final, blamed.path), blamed.command.Verb, blamed.path), blamed.path, 0)
}

// stop ends what still runs, on both sides at once.
func (p *passing) stop() {
	var all sync.WaitGroup
	for _, g := range p.legs {
		if g.asked && !g.over() {
			g.err = errors.New("ended")
			all.Go(func() { g.c.resync(nil) })
		}
	}
	all.Wait()
}

// server makes a server again what it is to us: TLS server. A connection where that
// fails would refuse our next handshake, and is given up.
func (c *Conn) server() {
	if c.lost() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), min(c.opt.Timeout, 5*time.Second))
	defer cancel()
	if r, err := c.do(ctx, "SSCN", "OFF"); err != nil || r.Code != ftp.C200OK {
		_ = c.lose(fault.Because(errors.New("SSCN OFF was refused"), fault.Unreachable, fault.IDLost, c.host))
	}
}
