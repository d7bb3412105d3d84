package ftpserver

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"time"

	"dray/event"
	"dray/fault"
	"dray/ftp"
	"dray/meter"
	"dray/transfer"
	"dray/vfs"
)

// What may still come after an upload was refused in the middle is read and
// thrown away: a close with unread bytes resets the connection, and the client
// shows "broken pipe" in place of our sentence.
const (
	drainBytes = 256 << 20
	drainTime  = 10 * time.Second
)

func (c *conn) rest(_ context.Context, arg string) (ftp.Reply, error) {
	n, err := ftp.ParseRest(arg)
	if err != nil {
		return ftp.Reply{}, argError(err, "REST offset, in bytes", "")
	}
	c.pending.rest = n
	return ftp.Replyf(ftp.C350Pending, "The next transfer starts at %d.", n), nil
}

// allo takes the announced size and says now what would fail later.
func (c *conn) allo(ctx context.Context, arg string) (ftp.Reply, error) {
	n, err := ftp.ParseAllo(arg)
	if err != nil {
		return ftp.Reply{}, argError(err, "ALLO size, in bytes", "")
	}
	if err := c.session.Room(ctx, c.cwd, n); err != nil {
		return ftp.Reply{}, err
	}
	c.pending.allo = n
	return ftp.Replyf(ftp.C200OK, "There is room for %d bytes.", n), nil
}

// withData opens the planned data connection, says opening, and runs f on it,
// all beside a reader of the control connection. f ends the connection.
func (c *conn) withData(ctx context.Context, status func() string, opening ftp.Reply, upload bool, f func(context.Context, *dataConn) error) error {
	if !c.data.made() {
		return fault.New(fault.NoData, fault.IDNoDataPort)
	}
	c.aborted = false
	err := c.during(ctx, status, func(ctx context.Context) error {
		raw, err := c.connect(ctx)
		if err != nil {
			return err
		}
		d := &dataConn{Conn: raw, raw: raw}
		over := false
		defer func() {
			if !over { // nobody heard the opening, or a panic
				d.abort()
			}
		}()
		// RFC 959, 5.4: 150 before the data. The connection stands already, so a
		// blocked port is answered by 425 alone.
		if err := c.write(opening); err != nil {
			return fault.Because(err, fault.Cut, fault.IDUploadCut)
		}
		if c.prot {
			if err := c.secure(ctx, d, upload); err != nil {
				if upload && d.secure != nil {
					c.drainLater(d) // it is sending already
				} else {
					d.finish(ctx)
				}
				over = true
				return err
			}
		}
		err = f(ctx, d)
		over = true
		return err
	})
	c.attempt().useless(err)
	c.aborted = err != nil && fault.Of(err).ID == fault.IDAborted
	return err
}

// drainLater closes d once the client has had the final reply and has stopped
// sending, in the background.
func (c *conn) drainLater(d *dataConn) {
	if c.drained != nil { // one at a time: the one before has had its chance
		_ = c.drained.Close()
	}
	c.drained = d.raw
	c.data.after = func() {
		c.server.loop.More()
		go func() {
			defer c.server.loop.Exit()
			defer c.server.loop.Caught("drain", c.visit.Peer().Remote)
			d.closeWrite() // or we and a client that reads to the end wait for each other
			_, _ = transfer.Discard(c.server.loop.Context(), d.raw, drainBytes, drainTime)
			_ = d.raw.Close()
		}()
	}
}

func (c *conn) options(m meter.Meter) transfer.Options {
	o := transfer.Options{Meter: m, Text: c.text, Idle: c.rules.Stall, BareEnd: c.rules.BareEnd}
	if c.deflate.on {
		// What the quota lets in is no bomb, however few bytes it was.
		o.Deflate, o.Level, o.Expand = true, c.deflate.level, max(c.session.Account().MaxBytes, transfer.DefaultExpand)
	}
	return o
}

func (c *conn) kindOfData() string {
	kind := "binary"
	if c.text {
		kind = "text"
	}
	if c.deflate.on {
		kind = "compressed " + kind
	}
	return kind
}

func (c *conn) retr(ctx context.Context, arg string) (ftp.Reply, error) {
	p, err := c.resolve(arg)
	if err != nil {
		return ftp.Reply{}, err
	}
	f, err := c.session.Open(ctx, p)
	if err != nil {
		return ftp.Reply{}, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return ftp.Reply{}, err
	}
	// Departure from RFC 3659, 5.3: REST above the end gives an empty transfer,
	// as all servers have it; clients resume what is whole already.
	from, to := min(c.pending.rest, fi.Size()), fi.Size()
	span := c.pending.span
	if span != (ftp.Range{}) { // draft-bryan-ftp-range, 4.3: the same holds for both of its ends
		from, to = min(span.Start, to), min(span.End, to)
	}
	var count meter.Counter
	status := func() string {
		return fmt.Sprintf("Sending %s: %d of %d bytes.", p, count.Bytes(), to-from)
	}
	defer c.session.Begin(event.Download, p, to-from, count.Bytes)()
	var rep transfer.Report
	opening := ftp.Replyf(ftp.C150Opening, "Opening %s data connection for %s (%d bytes).", c.kindOfData(), p.Base(), to-from)
	err = c.withData(ctx, status, opening, false, func(ctx context.Context, d *dataConn) error {
		if d.secure == nil {
			_ = d.raw.SetNoDelay(false) // whole segments; the FIN behind the last byte sends the rest
		}
		var err error
		opt := c.options(meter.All(&count, c.session.Down()))
		opt.To = span.End
		rep, err = transfer.Send(ctx, d.Conn, f, from, opt)
		if err != nil {
			d.abort()
			return err
		}
		d.finish(ctx)
		return nil
	})
	c.transferred(event.Download, p, rep, from > 0, err)
	if err != nil {
		return ftp.Reply{}, noted(err, c.rules.Stall)
	}
	return done(rep), nil
}

func done(rep transfer.Report) ftp.Reply {
	return ftp.Replyf(ftp.C226Done, "%d bytes in %s.", rep.Bytes, rep.Took.Round(time.Millisecond))
}

// noted gives errors of the wire the facts of their sentences.
func noted(err error, stall time.Duration) error {
	e := fault.Of(err)
	if e.ID == fault.IDStall && len(e.Facts) == 0 {
		e = &fault.Error{Kind: e.Kind, ID: e.ID, Facts: []any{int(stall / time.Second)}, Err: err}
	}
	return e
}

func (c *conn) transferred(dir event.Direction, p vfs.Path, rep transfer.Report, resumed bool, err error) {
	t := event.Transfer{Direction: dir, Path: p.String(), Bytes: rep.Bytes, Took: rep.Took, Road: string(rep.Road), Text: c.text, Resumed: resumed, Whole: err == nil}
	if err != nil {
		t.Reason = string(fault.Of(err).ID)
	}
	c.session.Transferred(t)
}

func (c *conn) stor(ctx context.Context, arg string) (ftp.Reply, error) {
	p, err := c.newName(arg)
	if err != nil {
		return ftp.Reply{}, err
	}
	how := vfs.Create{How: vfs.Replace}
	if c.pending.rest > 0 {
		if how, err = c.session.Continue(ctx, p, c.pending.rest); err != nil {
			return ftp.Reply{}, err
		}
	}
	return c.upload(ctx, p, how, "")
}

// appe: a REST before it is forgotten; the end of the file is the only offset.
func (c *conn) appe(ctx context.Context, arg string) (ftp.Reply, error) {
	p, err := c.newName(arg)
	if err != nil {
		return ftp.Reply{}, err
	}
	how, err := c.session.Continue(ctx, p, -1)
	if err != nil {
		return ftp.Reply{}, err
	}
	return c.upload(ctx, p, how, "")
}

// stou finds a name that is free: the one asked for, or with a number behind it.
func (c *conn) stou(ctx context.Context, arg string) (ftp.Reply, error) {
	if arg == "" {
		arg = "upload-" + time.Now().UTC().Format("20060102-150405")
	}
	name := arg
	for i := 1; ; i++ {
		p, err := c.newName(name)
		if err != nil {
			return ftp.Reply{}, err
		}
		if i == 1 && c.session.Blind(p) {
			// The name that is told must not tell whether the other one is there.
			arg += "." + strings.ToLower(rand.Text()[:8])
			name = arg
			if p, err = c.newName(name); err != nil {
				return ftp.Reply{}, err
			}
		}
		told := p.Base()
		if strings.Contains(arg, "/") {
			told = p.String()
		}
		reply, err := c.upload(ctx, p, vfs.Create{How: vfs.New}, told)
		if fault.KindOf(err) != fault.Exists || err == nil || i > 1000 || !c.data.made() {
			return reply, err
		}
		name = fmt.Sprintf("%s.%d", arg, i)
	}
}

// upload receives a file. unique is the name that STOU tells before the data
// (RFC 1123, 4.1.2.9).
func (c *conn) upload(ctx context.Context, p vfs.Path, how vfs.Create, unique string) (ftp.Reply, error) {
	if !c.data.made() { // before anything is touched
		return ftp.Reply{}, fault.New(fault.NoData, fault.IDNoDataPort)
	}
	if c.pending.span != (ftp.Range{}) { // it would change what is outside of the range (draft-bryan-ftp-range, 4.3)
		return ftp.Reply{}, fault.New(fault.Unsupported, fault.IDUnsupported, "RANG before RETR and before checksums; REST before STOR")
	}
	how.Expect, how.Mode = c.pending.allo, c.modeFor(ctx, p, 0o666)
	up, err := c.session.Create(ctx, p, how)
	if err != nil {
		return ftp.Reply{}, err
	}
	up.Text = c.text
	status := func() string { return fmt.Sprintf("Receiving %s: %d bytes so far.", p, up.Arrived()) }
	opening := ftp.Replyf(ftp.C150Opening, "Opening %s data connection for %s.", c.kindOfData(), p.Base())
	if unique != "" {
		opening = ftp.Replyf(ftp.C150Opening, "FILE: %s", unique)
	}
	var rep transfer.Report
	begun, ended := false, false
	defer func() {
		if !ended { // a panic: the name must not stay taken
			_ = up.Cut(ctx, rep, fault.New(fault.Internal, fault.IDInternal))
		}
	}()
	err = c.withData(ctx, status, opening, true, func(ctx context.Context, d *dataConn) error {
		begun = true
		var err error
		rep, err = transfer.Receive(ctx, up.Dest(), d.Conn, c.options(up.Meter()))
		if err != nil {
			if fault.Of(err).ID == fault.IDDataLost { // of an upload there is more to say: what is kept
				err = fault.Because(err, fault.Cut, fault.IDUploadCut)
			}
			err = up.Cut(ctx, rep, noted(err, c.rules.Stall))
			switch kind := fault.KindOf(err); {
			case fault.Of(err).ID == fault.IDDeflate: // the peer is still there, and must hear why
				c.drainLater(d)
			case kind == fault.Cut, kind == fault.Stalled, kind == fault.Canceled, kind == fault.Closing:
				d.abort()
			default:
				c.drainLater(d)
			}
			return err
		}
		d.finish(ctx)
		c.dataEnded(rep.Ended)
		if allo := c.pending.allo; allo > 0 && rep.Bytes != allo {
			c.log.Info("upload is not as long as ALLO said", "path", p.String(), "said", allo, "bytes", rep.Bytes)
		}
		return up.Commit(ctx, rep, func(ctx context.Context) error { return c.whole(ctx, rep, d.secure != nil) })
	})
	ended = true
	if err != nil {
		if !begun {
			err = up.Cut(ctx, rep, err)
		}
		c.data.used() // STOU must not try another name on it
		return ftp.Reply{}, err
	}
	return done(rep), nil
}

// grace is how long the look at the control connection waits after the end of a
// clear-text upload. The two ends of a killed client come 1 ms apart (median of
// 120 kills on a host with a load of 11; 5 of them took 11 to 51 ms), so an
// upload that took long enough not to feel it waits longer than least: up to a
// quarter of its time and 2.5 times least, up to a 25th of it and ten times
// least. What was over in 20 ms waits as long as it took, and small files not at
// all: they were sent in one piece.
func grace(rep transfer.Report, least time.Duration) time.Duration {
	if rep.Took <= 20*time.Millisecond {
		if rep.Bytes <= 64<<10 {
			return 0
		}
		return min(rep.Took, least)
	}
	return max(least, min(rep.Took/4, least*5/2), min(rep.Took/25, 10*least))
}

// whole tells whether an upload whose data have ended is whole, as far as the
// protocol lets anybody know. Under TLS close_notify was seen already, and in
// MODE Z the end of the stream with its checksum, which no client writes that
// does not live to: both need no wait. In clear text and MODE S a FIN is all
// there is, and that of a killed client looks the same; its control connection
// follows at once, so the look waits a moment for that.
func (c *conn) whole(ctx context.Context, rep transfer.Report, secure bool) error {
	if !secure && !rep.Whole {
		if allo := c.pending.allo; allo > 0 && allo == rep.Bytes && !c.text {
			return nil // to the byte what was announced
		}
		if wait := time.Until(rep.Ended.Add(grace(rep, c.rules.CutGrace))); wait > 0 && !c.heard(rep.Ended) {
			t := time.NewTimer(wait)
			defer t.Stop()
			select {
			case <-t.C:
			case <-ctx.Done():
			}
		}
	}
	if err := c.alive(ctx, rep.Ended); err != nil {
		return err
	}
	return context.Cause(ctx)
}
