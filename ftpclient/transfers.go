package ftpclient

import (
	"context"
	"errors"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"dray/fault"
	"dray/ftp"
	"dray/transfer"
	"dray/vfs"
)

// Get is how a download is to be done.
type Get struct {
	From int64 // the first byte to fetch
	// Size is the size that the whole file should have, below 0 when it is not known.
	// What ends before it is an error.
	Size int64
}

// Put is how an upload is to be done; the zero Put replaces the file.
type Put struct {
	From   int64 // the first byte of the source, and where it goes
	Append bool  // behind what the file has: From is of the source only
	Size   int64 // of the whole file, to reserve where that helps; 0: not told
	Unique bool  // STOU: the server chooses a name; path is ignored
	// Named is told the name that STOU was given, before the first byte.
	Named func(name string)
}

// errStop ends a listing that nobody wants the rest of.
var errStop = errors.New("no more is wanted")

// An exchange is a command with a data connection.
type exchange struct {
	command ftp.Command
	path    string // for messages
	before  []ftp.Command
	rest    int64
	text    bool
	upload  bool
	began   time.Time
	// heard takes the replies to before.
	heard func([]ftp.Reply)
	// move moves the data, or less of it, and says why.
	move func(ctx context.Context, d *dataConn, opened ftp.Reply) error
}

// Receive fetches a file from the byte at how.From into dst. It is whole, and the
// error nil, only when the server says so and what came has the size that the
// server or the caller told, or under TLS is marked as ended. A Report comes with
// an error too.
func (c *Conn) Receive(ctx context.Context, path string, how Get, dst transfer.Dest, opt transfer.Options) (rep transfer.Report, err error) {
	rep.Road = transfer.RoadNone
	if err := c.enter(); err != nil {
		return rep, err
	}
	defer c.leave()
	w, err := c.wire(path)
	if err != nil {
		return rep, err
	}
	if how.From < 0 {
		return rep, fault.New(fault.BadOffset, fault.IDOffset)
	}
	m := c.opt.Memory
	asked := int64(-1)
	x := exchange{command: cmd("RETR", w), path: path, rest: how.From, text: opt.Text}
	if how.Size < 0 && !opt.Text && !c.prot && m.get(&m.openingSize) != yes && (c.feat.Has("SIZE") || c.kind != kindOther) {
		x.before = []ftp.Command{cmd("SIZE", w)}
		x.heard = func(r []ftp.Reply) {
			if n, err := strconv.ParseInt(strings.TrimSpace(r[0].Text), 10, 64); r[0].Code == ftp.C213File && err == nil && n >= 0 {
				asked = n
			}
		}
	}
	opened := int64(-1)
	x.move = func(ctx context.Context, d *dataConn, r ftp.Reply) error {
		if n, ok := ftp.ParseOpening(r.Text); ok && !opt.Text {
			opened = n
			m.set(&m.openingSize, yes)
		}
		if opt.Idle == 0 {
			opt.Idle = c.opt.Timeout
		}
		opt.BareEnd = true // judged below, with all that is known
		var err error
		rep, err = transfer.Receive(ctx, dst, d.conn(), opt)
		return c.dataError(err, path, rep.Bytes, opt.Idle)
	}
	defer func() { c.opt.Trace.road("RETR", rep) }()
	if err := c.exchange(ctx, x); err != nil {
		return rep, c.settled(ctx, cutShort(err, path, rep.Bytes), "RETR", path)
	}
	if opt.Text {
		if c.prot && !rep.Whole {
			return rep, fault.New(fault.Cut, fault.IDTLSNoClose, path)
		}
		return rep, nil
	}
	// What the whole file should have: the caller's word first, then the server's.
	end := how.From + rep.Bytes
	size := how.Size
	if size < 0 {
		size = asked
	}
	if size < 0 && opened >= 0 && end != opened {
		// With REST some servers tell the size of the file and some what is left.
		size = how.From + opened
	}
	switch {
	case size >= 0 && end < size:
		return rep, fault.New(fault.Cut, fault.IDShortFile, path, end, size)
	case c.prot && !rep.Whole && (size < 0 || end != size):
		return rep, fault.New(fault.Cut, fault.IDTLSNoClose, path)
	}
	return rep, nil
}

// settled finds out what the refusal of a verb means that does not say why: vsftpd
// has one sentence for a missing file and one that may not be read.
func (c *Conn) settled(ctx context.Context, err error, verb, path string) error {
	var fe *fault.Error
	var re *ReplyError
	if !errors.As(err, &fe) || fe.ID != fault.IDServerSaysNo || !errors.As(err, &re) || re.Reply.Code != ftp.C550Unavailable || c.lost() != nil {
		return err
	}
	l, lerr := c.listName(ctx, path)
	there := lerr == nil
	dir := there && l.Is(ftp.KnownType) && l.Mode.IsDir()
	file := there && l.Is(ftp.KnownType) && !l.Mode.IsDir() && l.Mode&fs.ModeSymlink == 0
	makes := verb == "MKD" || verb == "RNTO" // a name that should not be there
	var none *ReplyError
	nowhere := errors.As(lerr, &none) // there is no directory that could have it
	switch {
	case !there && fault.Of(lerr).ID == fault.IDPerm: // nor may the directory be read
	case !there && fault.KindOf(lerr) != fault.NotFound:
		return err
	case !there && makes && !nowhere:
	case !there:
		return fault.Because(re, fault.NotFound, fault.IDNotFound, path)
	case verb == "MKD":
		return fault.Because(re, fault.Exists, fault.IDExists, path)
	case dir && (verb == "RETR" || verb == "DELE" || verb == "SIZE" || verb == "MDTM" || verb == "RNTO"):
		return fault.Because(re, fault.IsDir, fault.IDIsDir, path)
	case file && (verb == "CWD" || verb == "RMD"):
		return fault.Because(re, fault.NotDir, fault.IDNotDir, path)
	case dir && verb == "RMD":
		entries := 0
		if lerr := c.list(ctx, path, func(ftp.Listed) bool { entries++; return true }); lerr == nil && entries > 0 {
			return fault.Because(re, fault.NotEmpty, fault.IDNotEmpty, path)
		}
	}
	return fault.Because(re, fault.Denied, fault.IDPerm, path)
}

// peek waits for a reply without giving the connection up when there is none.
func (c *Conn) peek(ctx context.Context) (ftp.Reply, error) {
	r, err := c.reply(ctx, c.opt.Timeout)
	for err == nil && r.Code < 200 {
		r, err = c.reply(ctx, c.opt.Timeout)
	}
	return r, err
}

// Send stores src, from the byte at how.From to its end, as path. The error is nil
// only when the server says that it has all. When all was sent and its answer
// never came, a *LostReply is in the chain of the error.
func (c *Conn) Send(ctx context.Context, path string, how Put, src vfs.File, opt transfer.Options) (rep transfer.Report, err error) {
	rep.Road = transfer.RoadNone
	if err := c.enter(); err != nil {
		return rep, err
	}
	defer c.leave()
	w, err := c.wire(path)
	if err != nil {
		return rep, err
	}
	if how.From < 0 {
		return rep, fault.New(fault.BadOffset, fault.IDOffset)
	}
	x := exchange{command: cmd("STOR", w), path: path, text: opt.Text, upload: true}
	switch {
	case how.Append:
		x.command.Verb = "APPE"
	case how.Unique:
		x.command = cmd("STOU", "")
	default:
		x.rest = how.From
	}
	if left := how.Size - how.From; c.kind == kindDray && left >= largeUpload && !opt.Text {
		// Refused at once where the quota has not room for it. A small one is refused soon.
		x.before = []ftp.Command{cmd("ALLO", strconv.FormatInt(left, 10))}
	}
	x.move = func(ctx context.Context, d *dataConn, r ftp.Reply) error {
		if how.Unique && how.Named != nil {
			for _, line := range r.All() {
				if _, name, ok := strings.Cut(line, "FILE: "); ok { // RFC 1123, 4.1.2.9
					how.Named(c.names.decode(strings.TrimSpace(name)))
					break
				}
			}
		}
		if opt.Idle == 0 {
			opt.Idle = c.opt.Timeout
		}
		var err error
		rep, err = transfer.Send(ctx, d.conn(), src, how.From, opt)
		return c.dataError(err, path, rep.Bytes, opt.Idle)
	}
	defer func() { c.opt.Trace.road(x.command.Verb, rep) }()
	if err = c.exchange(ctx, x); err != nil {
		var lost *LostReply
		if errors.As(err, &lost) {
			lost.Bytes = rep.Bytes
		}
	}
	return rep, cutShort(err, path, rep.Bytes)
}

// largeUpload is the size in bytes from which on an upload is announced.
const largeUpload = 256 << 10

// cutShort gives a 426 the facts that its line has here.
func cutShort(err error, path string, n int64) error {
	var fe *fault.Error
	var re *ReplyError
	if errors.As(err, &fe) && fe.Kind == fault.Cut && errors.As(err, &re) && re.Reply.Code == ftp.C426Cut && fe.ID == fault.IDServerSaysNo {
		return fault.Because(re, fault.Cut, fault.IDDataLost, path, n)
	}
	return err
}

// dataError gives an error of transfer the facts that its line has here. What is
// not about the connection stays as it is.
func (c *Conn) dataError(err error, path string, n int64, idle time.Duration) error {
	if err == nil {
		return nil
	}
	var fe *fault.Error
	if !errors.As(err, &fe) || len(fe.Facts) > 0 {
		return err
	}
	switch fe.ID {
	case fault.IDStall:
		return fault.Because(err, fe.Kind, fe.ID, seconds(idle))
	case fault.IDDataLost:
		return fault.Because(err, fe.Kind, fe.ID, path, n)
	case fault.IDTLSNoClose:
		return fault.Because(err, fe.Kind, fe.ID, path)
	}
	return err
}

// exchange runs x from its first command to the reply behind its data. Where it
// fails, the connection can still be used unless Err says otherwise.
func (c *Conn) exchange(ctx context.Context, x exchange) error {
	err := c.exchanged(ctx, x)
	c.hearAhead(ctx)
	return err
}

func (c *Conn) exchanged(ctx context.Context, x exchange) error {
	x.began = time.Now()
	before := x.before
	if want := typeFor(x.text); c.text != want {
		before = append([]ftp.Command{cmd("TYPE", string(want))}, before...)
	}
	m := c.opt.Memory
	proven := m.get(&m.calm) == yes && m.get(&m.epsv) == yes || c.far && m.get(&m.calm) == unknown && m.get(&m.epsv) != no
	var tried error // EPSV, in vain
	if !c.opt.Active && c.together() && proven && (!x.upload || x.rest == 0) {
		done, err := c.pipelined(ctx, x, before)
		if done {
			return err
		}
		tried = err
		before = nil
		if want := typeFor(x.text); c.text != want {
			before = []ftp.Command{cmd("TYPE", string(want))}
		}
	}
	if len(before) > 0 {
		replies, err := c.batch(ctx, before...)
		if err != nil {
			return err
		}
		if err := c.prepared(x, before, replies); err != nil {
			return err
		}
	}
	var d *dataConn
	var err error
	if c.opt.Active {
		d, err = c.active(ctx)
	} else {
		d, err = c.passive(ctx, tried)
	}
	if err != nil {
		return err
	}
	if x.rest > 0 {
		r, err := c.do(ctx, "REST", strconv.FormatInt(x.rest, 10))
		if err == nil && r.Code != ftp.C350Pending {
			err = c.restRefused(x, r)
		}
		if err != nil {
			d.reset()
			return err
		}
	}
	if err := c.say(ctx, x.command); err != nil {
		d.reset()
		return err
	}
	err = c.run(ctx, x, d)
	if err == nil {
		m.set(&m.calm, yes)
	}
	return err
}

func (c *Conn) restRefused(x exchange, r ftp.Reply) error {
	step := cmd("REST", strconv.FormatInt(x.rest, 10))
	if id, ok := idOf(r); ok {
		return c.named(id, x.path, c.replyError(step, r))
	}
	return fault.Because(c.replyError(step, r), fault.BadOffset, fault.IDUnsupported, "REST")
}

func typeFor(text bool) byte {
	if text {
		return 'A'
	}
	return 'I'
}

// prepared takes the replies to what stands before a transfer.
func (c *Conn) prepared(x exchange, before []ftp.Command, replies []ftp.Reply) error {
	if before[0].Verb == "TYPE" {
		if replies[0].Code >= 300 {
			return c.refused(before[0], replies[0], "")
		}
		c.text = before[0].Arg[0]
		before, replies = before[1:], replies[1:]
	}
	for i, r := range replies {
		if before[i].Verb == "ALLO" && r.Code >= 400 && r.Code != 500 && r.Code != 502 && r.Code != 504 {
			return c.refused(before[i], r, x.path)
		}
	}
	if x.heard != nil && len(replies) > 0 {
		x.heard(replies)
	}
	return nil
}

// pipelined sends all at once: the data port, where to begin and the command. done
// is false when x is to be run the careful way; err is then what came of EPSV where that
// need not be tried again.
func (c *Conn) pipelined(ctx context.Context, x exchange, before []ftp.Command) (done bool, err error) {
	ahead := c.reserved()
	port := ahead.port
	commands := append([]ftp.Command{}, before...)
	if port == 0 {
		commands = append(commands, cmd("EPSV", ""))
	}
	answered := len(commands)
	if x.rest > 0 {
		commands = append(commands, cmd("REST", strconv.FormatInt(x.rest, 10)))
	}
	commands = append(commands, x.command)
	next := c.aheadCommands()
	commands = append(commands, next...)
	if err := c.say(ctx, commands...); err != nil {
		ahead.forget()
		return true, err
	}
	c.ahead.asked = len(next)
	var d *dataConn
	var derr, refusal error
	if port != 0 {
		d, derr = c.reachAhead(ctx, ahead)
	}
	var replies []ftp.Reply
	for range answered {
		r, err := c.final(ctx)
		if err != nil {
			d.reset()
			return true, err
		}
		replies = append(replies, r)
	}
	told := time.Now()
	if port == 0 {
		d, derr = c.epsv(ctx, replies[len(before)])
	}
	if len(before) > 0 {
		refusal = c.prepared(x, before, replies[:len(before)])
	}
	if x.rest > 0 && c.lost() == nil {
		r, err := c.final(ctx)
		if err != nil {
			d.reset()
			return true, err
		}
		if r.Code != ftp.C350Pending && refusal == nil {
			refusal = c.restRefused(x, r)
		}
	}
	if derr == nil && refusal == nil {
		err := c.run(ctx, x, d)
		var said *ReplyError
		if port != 0 && !x.upload && c.lost() == nil && errors.As(err, &said) && said.Reply.Code == ftp.C425NoData {
			c.careful(port) // somebody took the connection, and the server waits for none
			c.hearAhead(ctx)
			return false, nil
		}
		return true, err
	}
	if c.lost() != nil {
		d.reset()
		return true, c.lost()
	}
	if derr != nil && refusal == nil && ctx.Err() == nil && unreached(derr) {
		// A server that has refused the command already takes its port away, and says so
		// soon, or has while the port was waited for.
		short, cancel := context.WithTimeout(ctx, max(time.Second-time.Since(told), 100*time.Millisecond))
		r, err := c.peek(short)
		cancel()
		switch {
		case err != nil && c.lost() != nil:
			return true, err
		case err == nil && r.Code >= 400 && r.Code != ftp.C425NoData:
			return true, c.refused(x.command, r, x.path)
		case err == nil && r.Code >= 200:
			c.careful(port)
			c.hearAhead(ctx)
			return false, nil
		}
	}
	// The command is under way and can't do what was meant.
	blocked := port == 0 && fault.Of(derr).ID == fault.IDDataBlocked
	hopeless := blocked && !c.another(derr, ftp.Reply{}) // one command at a time it would be the same
	if derr != nil && ctx.Err() == nil && !hopeless {
		c.careful(port)
	}
	c.resync(d)
	switch {
	case refusal != nil || hopeless || c.lost() != nil || ctx.Err() != nil || fault.Of(derr).ID == fault.IDPool:
		return true, errors.Join(refusal, derr)
	case blocked && len(before) == 0: // else a router may have overlooked the 229 behind another reply
		return false, derr
	}
	return false, nil
}

// careful remembers that what was sent together did not do: with a port that was asked
// for in advance it may be that alone.
func (c *Conn) careful(port uint16) {
	m := c.opt.Memory
	if port != 0 {
		m.mark(&m.noAhead)
		return
	}
	m.mark(&m.serial)
}

// run is the part of x behind its command.
func (c *Conn) run(ctx context.Context, x exchange, d *dataConn) error {
	opened, final, err := c.opening(ctx, d, x)
	if err != nil {
		if final.Code == 0 && c.lost() == nil {
			c.resync(d)
		}
		return err
	}
	inner, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var side *beside
	if final.Code == 0 {
		side = c.beside(cancel, x.upload)
	}
	err = x.move(inner, d, opened)
	if side != nil {
		final = side.stop()
	}
	if err != nil {
		return c.broken(ctx, x, d, final, err)
	}
	if x.upload {
		return c.sent(ctx, x, d, final)
	}
	d.close()
	return c.conclude(ctx, x, final)
}

// conclude waits for the reply that makes a transfer true.
func (c *Conn) conclude(ctx context.Context, x exchange, final ftp.Reply) error {
	if final.Code == 0 {
		var err error
		// Some servers check or copy a large file before they answer.
		if final, err = c.finalIn(ctx, c.opt.Timeout+time.Since(x.began)/4); err != nil {
			return err
		}
	}
	c.hearAhead(ctx)
	if final.Code >= 300 {
		return c.refused(x.command, final, x.path)
	}
	return c.calm(ctx)
}

// sent ends an upload whose last byte is written.
func (c *Conn) sent(ctx context.Context, x exchange, d *dataConn, final ftp.Reply) error {
	err := d.closeWrite()
	go d.drain()
	defer d.raw.Close()
	if err == nil || final.Code != 0 {
		if cerr := c.conclude(ctx, x, final); cerr != nil || err == nil {
			var re *ReplyError
			if cerr != nil && !errors.As(cerr, &re) {
				return &unanswered{cerr, &LostReply{}}
			}
			return cerr
		}
	}
	return c.broken(ctx, x, d, final, fault.Because(err, fault.Cut, fault.IDDataLost, x.path, int64(0)))
}

// unanswered is an error after all was sent.
type unanswered struct {
	err  error
	lost *LostReply
}

func (e *unanswered) Error() string   { return e.err.Error() }
func (e *unanswered) Unwrap() []error { return []error{e.err, e.lost} }

// broken ends a transfer that failed at our end or on the way. What the server
// says about it is better than what the socket said.
func (c *Conn) broken(ctx context.Context, x exchange, d *dataConn, final ftp.Reply, err error) error {
	if final.Code >= 300 {
		d.reset()
		if c.keeps(ctx, err) {
			return err
		}
		return c.refused(x.command, final, x.path)
	}
	if c.lost() != nil {
		d.reset()
		if c.keeps(ctx, err) {
			return err
		}
		return c.lost()
	}
	kind := fault.KindOf(err)
	if final.Code == 0 && ctx.Err() == nil && (kind == fault.Cut) && !errors.Is(err, errStop) {
		// The connection broke: the server knows why, and says it soon.
		d.reset()
		short, cancel := context.WithTimeout(ctx, min(c.opt.Timeout, 10*time.Second))
		defer cancel()
		r, rerr := c.final(short)
		switch {
		case rerr == nil && r.Code >= 300:
			return c.refused(x.command, r, x.path)
		case rerr == nil:
			return err
		case ctx.Err() != nil:
			return context.Cause(ctx)
		}
		return err
	}
	if final.Code != 0 {
		d.reset()
		return err
	}
	c.resync(d)
	return err
}

// keeps tells whether err is ours, and not a consequence of what the server did.
func (c *Conn) keeps(ctx context.Context, err error) bool {
	if ctx.Err() != nil || errors.Is(err, errStop) {
		return true
	}
	var ended *endedBeside
	if errors.As(err, &ended) {
		return false
	}
	switch fault.KindOf(err) {
	case fault.Cut, fault.Stalled, fault.Canceled:
		return false
	}
	return true
}

// resync ends the transfer that runs from our side, and reads until the two sides
// are in step again: ABOR has one reply or two, so a NOOP behind them marks the
// end. Where that takes too long, the connection is lost.
func (c *Conn) resync(d *dataConn) {
	if c.lost() != nil {
		d.reset()
		return
	}
	c.ahead.asked = 0 // their replies are passed over with the others
	c.forgetAhead()
	c.opt.Trace.note("the transfer is ended by ABOR")
	ctx, cancel := context.WithTimeout(context.Background(), abortTime)
	defer cancel()
	err := c.say(ctx, cmd("ABOR", ""))
	d.reset()
	if err != nil {
		return
	}
	// What comes first may be the end of the transfer or the answer to ABOR.
	if _, err = c.final(ctx); err == nil {
		err = c.say(ctx, cmd("NOOP", ""))
	}
	for i := 0; err == nil && i < maxPreliminary; i++ {
		var r ftp.Reply
		if r, err = c.reply(ctx, abortTime); err == nil && r.Code == ftp.C200OK {
			if c.owed--; c.owed < 0 {
				c.owed = 0
				return
			}
		}
	}
	_ = c.lose(fault.Because(errors.New("no answer to ABOR"), fault.Unreachable, fault.IDLost, c.host))
}

// abortTime is how long ABOR may take.
const abortTime = 2 * time.Second

// beside hears the control connection while data moves: a server that ends an
// upload says so there, and the transfer is ended. It sends NOOP where nothing was
// said for long, so that routers do not forget the connection.
type beside struct {
	c     *Conn
	quit  chan struct{}
	ended chan struct{}
	final ftp.Reply
}

// endedBeside ends a transfer because of what came on the control connection.
type endedBeside struct{}

func (*endedBeside) Error() string { return "the control connection ended the transfer" }

func (c *Conn) beside(cancel context.CancelCauseFunc, upload bool) *beside {
	b := &beside{c: c, quit: make(chan struct{}), ended: make(chan struct{})}
	c.owed = 0
	go func() {
		defer close(b.ended)
		every := c.opt.Keepalive
		if every < 0 || c.opt.Memory.isSet(&c.opt.Memory.noKeepalive) {
			every = 1000 * time.Hour
		}
		tick := time.NewTimer(every)
		defer tick.Stop()
		for {
			c.listen()
			select {
			case a := <-c.got:
				r, err := c.take(a)
				switch {
				case err != nil:
					if upload || c.closed() {
						cancel(&endedBeside{})
					}
					return // a download has its data: what comes is kept
				case r.Code < 200:
				case c.owed > 0 && isNoop(r):
					c.owed--
				default:
					b.final = r
					if r.Code >= 300 && upload {
						cancel(&endedBeside{})
					}
					return
				}
			case <-tick.C:
				if c.owed >= 3 { // it does not answer meanwhile: what is owed comes behind the transfer
					break
				}
				if c.say(context.Background(), cmd("NOOP", "")) != nil {
					return
				}
				c.owed++
			case <-b.quit:
				return
			}
			tick.Reset(every)
		}
	}()
	return b
}

// isNoop tells a reply to NOOP from the end of a transfer.
func isNoop(r ftp.Reply) bool {
	return r.Code == 200 || r.Code == 202 || r.Code == 500 && !says(text(r), "oops") || r.Code == 502 || r.Code == 503
}

// stop ends b and returns the reply that ends the transfer, the zero Reply if it
// did not come yet.
func (b *beside) stop() ftp.Reply {
	close(b.quit)
	<-b.ended
	return b.final
}

// calm waits for the replies to NOOP that a server owes when the transfer is over.
func (c *Conn) calm(ctx context.Context) error {
	for c.owed > 0 {
		c.owed--
		short, cancel := context.WithTimeout(ctx, 5*time.Second)
		_, err := c.reply(short, c.opt.Timeout)
		cancel()
		if err != nil {
			c.opt.Memory.mark(&c.opt.Memory.noKeepalive)
			_ = c.lose(fault.Because(errors.New("NOOP was not answered"), fault.Unreachable, fault.IDLost, c.host))
			return nil // the transfer itself is done
		}
	}
	return nil
}
