package ftpclient

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"dray/fault"
	"dray/ftp"
	"dray/transfer"
)

// What a listing may be at most: whoever asks for it keeps all of it.
const (
	maxLine    = 8 << 10
	maxLines   = 2_000_000
	maxListing = 512 << 20 // bytes
)

// List reads the listing of a directory, "" for the current one, without "." and
// "..". What MLSD knows is exact; a listing of LIST is read as ftp.ListParser
// does, in the server's zone as far as the Memory knows it.
//
// An error ends the listing; id partial-listing is one that broke off, after
// entries that are true. The connection is in use until the loop ends: a loop that
// breaks ends the transfer.
func (c *Conn) List(ctx context.Context, path string) iter.Seq2[ftp.Listed, error] {
	return func(yield func(ftp.Listed, error) bool) {
		if err := c.enter(); err != nil {
			yield(ftp.Listed{}, err)
			return
		}
		defer c.leave()
		stopped := false
		err := c.list(ctx, path, func(l ftp.Listed) bool {
			stopped = !yield(l, nil)
			return !stopped
		})
		if err != nil && !stopped {
			yield(ftp.Listed{}, err)
		}
	}
}

// list is List without its lock; each returns false when it wants no more.
func (c *Conn) list(ctx context.Context, path string, each func(ftp.Listed) bool) error {
	entry := func(l ftp.Listed) bool {
		if l.Kind != ftp.KindAuto || l.Name == "." || l.Name == ".." {
			return true
		}
		l.Name, l.Target = c.names.decode(l.Name), c.names.decode(l.Target)
		return each(l)
	}
	if c.facts659() && !c.noMLSD {
		w, err := c.wire(path)
		if err != nil {
			return err
		}
		strange := 0
		seen, err := c.lines(ctx, cmd("MLSD", w), path, func(line string) bool {
			l, err := ftp.ParseFactsLine(line)
			if err != nil {
				strange++
				return true
			}
			return entry(l)
		})
		if err == nil && seen > 0 && seen == strange {
			return c.unreadable()
		}
		if kind := fault.KindOf(err); err == nil || kind != fault.Unsupported || c.lost() != nil {
			return c.settledDir(ctx, err, path)
		}
		c.noMLSD = true // it has MLST alone
	}
	return c.listOld(ctx, path, entry)
}

// DirsOnly tells whether List is known to fail where there is no directory: by the
// server's answer to MLSD (RFC 3659, 7.2.1), or because what LIST shows was looked at.
func (c *Conn) DirsOnly() bool {
	return c.kind != kindOther && c.kind != kindIIS && c.kind != kindFileZilla
}

// facts659 tells whether the server has MLST and MLSD (RFC 3659, 7).
func (c *Conn) facts659() bool { return c.feat.Has("MLST") || c.feat.Has("MLSD") }

func (c *Conn) unreadable() error {
	return fault.New(fault.Unreachable, fault.IDBadReply, c.host, "listing")
}

// settledDir gives a refusal of MLSD its meaning. Pure-FTPd and pyftpdlib say of what
// is no directory, or one that may not be read, that it is not there.
func (c *Conn) settledDir(ctx context.Context, err error, path string) error {
	var fe *fault.Error
	var re *ReplyError
	if !errors.As(err, &fe) || !errors.As(err, &re) {
		return err
	}
	switch {
	case re.Reply.Code == 501 && fe.ID == fault.IDServerSaysNo:
		return fault.Because(re, fault.NotDir, fault.IDNotDir, path) // RFC 3659, 7.2.1
	case fe.ID != fault.IDNotFound || path == "" || !c.feat.Has("MLST"):
		return err
	}
	r, merr := c.about(ctx, "MLST", "", path)
	if merr != nil || len(r.Body) == 0 {
		return err
	}
	l, merr := ftp.ParseFactsLine(r.Body[0])
	switch {
	case merr != nil || !l.Is(ftp.KnownType):
		return err
	case l.Mode.IsDir():
		return fault.Because(re, fault.Denied, fault.IDPerm, path)
	case l.Mode.IsRegular():
		return fault.Because(re, fault.NotDir, fault.IDNotDir, path)
	}
	return err
}

// listOld lists by LIST.
func (c *Conn) listOld(ctx context.Context, path string, entry func(ftp.Listed) bool) error {
	w, err := c.wire(path)
	if err != nil {
		return err
	}
	// LIST takes options and patterns: a name that may be read as one is entered.
	if strings.HasPrefix(w, "-") || strings.ContainsAny(w, " *?[]{}~\t") {
		back, err := c.into(ctx, path, w)
		if err != nil {
			return err
		}
		err = c.listAt(ctx, path, "", entry)
		if berr := back(ctx); err == nil {
			err = berr
		}
		return err
	}
	return c.listAt(ctx, path, w, entry)
}

// into changes to a directory; back returns to where it was.
func (c *Conn) into(ctx context.Context, path, wire string) (back func(context.Context) error, err error) {
	home, err := c.pwd(ctx)
	if err != nil {
		return nil, err
	}
	step := cmd("CWD", wire)
	r, err := c.do(ctx, step.Verb, step.Arg)
	if err != nil {
		return nil, err
	}
	if r.Code >= 300 {
		return nil, c.refused(step, r, path)
	}
	return func(ctx context.Context) error {
		if c.lost() != nil {
			return nil
		}
		step := cmd("CWD", home)
		r, err := c.do(ctx, step.Verb, step.Arg)
		if err == nil && r.Code >= 300 {
			// Relative names would be those of another directory from here on.
			err = c.lose(c.refused(step, r, home))
		}
		return err
	}, nil
}

// listAt is one LIST, and another without options where the first one was no good.
func (c *Conn) listAt(ctx context.Context, path, wire string, entry func(ftp.Listed) bool) error {
	m := c.opt.Memory
	all := m.get(&m.listAll)
	if all != no && c.unix(ctx) {
		arg := "-a"
		if wire != "" {
			arg += " " + wire
		}
		own := &itself{wire: wire, entry: entry}
		seen, err := c.readList(ctx, path, cmd("LIST", arg), own.take)
		var re *ReplyError
		var in *inListing // which may be about the options
		switch {
		case err == nil && seen > 0:
			m.set(&m.listAll, yes)
			return c.judge(ctx, path, own)
		case errors.As(err, &in) && c.lost() == nil:
		case err != nil && (seen > 0 || c.lost() != nil || !errors.As(err, &re)):
			own.flush()
			return err
		}
	}
	if c.lost() != nil {
		return c.lost()
	}
	own := &itself{wire: wire, entry: entry}
	seen, err := c.readList(ctx, path, cmd("LIST", wire), own.take)
	if err == nil && seen > 0 && all == unknown {
		m.set(&m.listAll, no)
	}
	if err == nil && seen > 0 {
		return c.judge(ctx, path, own)
	}
	if err != nil || wire == "" {
		own.flush()
		return err
	}
	// An empty listing: an empty directory, or what is none (vsftpd, ProFTPD and
	// Pure-FTPd answer 226 for a missing one).
	back, err := c.into(ctx, path, wire)
	var re *ReplyError
	if errors.As(err, &re) && re.Reply.Code == ftp.C550Unavailable && fault.Of(err).ID == fault.IDServerSaysNo {
		return fault.Because(re, fault.NotFound, fault.IDNotFound, path)
	}
	if err != nil {
		return err
	}
	return back(ctx)
}

// An itself looks at a listing for the line of a name in place of what is in it: ls
// and vsftpd answer so for a file, and vsftpd for a directory that may not be read.
type itself struct {
	wire  string
	entry func(ftp.Listed) bool
	held  *ftp.Listed // the first line, which may be that one
	other bool        // there was another line
}

func (i *itself) take(l ftp.Listed) bool {
	if _, name := split(i.wire); !i.other && i.held == nil && (l.Name == name || l.Name == i.wire) && i.wire != "" {
		i.held = &l
		return true
	}
	i.other = true
	return i.flush() && i.entry(l)
}

// flush hands out what was held.
func (i *itself) flush() bool {
	l := i.held
	i.held = nil
	return l == nil || i.entry(*l)
}

// judge asks whether a name whose listing is a line of that name can be entered: a
// directory may have one entry that is called as itself.
func (c *Conn) judge(ctx context.Context, path string, i *itself) error {
	if i.held == nil {
		return nil
	}
	back, err := c.into(ctx, path, i.wire)
	var re *ReplyError
	switch {
	case err == nil:
		i.flush()
		return back(ctx)
	case !errors.As(err, &re) || c.lost() != nil:
		return err
	case i.held.Mode.IsDir():
		return fault.Because(re, fault.Denied, fault.IDPerm, path)
	}
	return fault.Because(re, fault.NotDir, fault.IDNotDir, path)
}

// complaint is the error that a line is which stands in place of a listing: that of ls,
// which servers run that have none of their own. nil: it is none of these.
func complaint(line, path string) error {
	why := strings.ToLower(line[strings.LastIndex(line, ": ")+1:])
	for _, p := range files {
		switch {
		case len(why) == len(line) || !says(why, p.words...):
		case p.id == fault.IDNotFound, p.id == fault.IDPerm, p.id == fault.IDNotDir:
			return fault.Because(&inListing{line}, p.kind, p.id, path)
		}
	}
	return nil
}

// inListing is an error that came in place of a listing.
type inListing struct{ line string }

func (e *inListing) Error() string { return "in place of a listing: " + e.line }

// Said is the line.
func (e *inListing) Said() string { return e.line }

// unix tells whether LIST may be given the options of ls.
func (c *Conn) unix(ctx context.Context) bool {
	switch c.kind {
	case kindIIS, kindFileZilla, kindPyftpdlib:
		return false
	case kindDray, kindVsftpd, kindProFTPD, kindPureFTPd:
		return true
	}
	return strings.HasPrefix(strings.ToUpper(c.syst(ctx)), "UNIX")
}

// syst is the name of the system, asked for once.
func (c *Conn) syst(ctx context.Context) string {
	if c.system == "" {
		c.system = "unknown"
		if r, err := c.do(ctx, "SYST", ""); err == nil && r.Code == ftp.C215System {
			c.system = r.Text
		}
	}
	return c.system
}

// readList is one LIST. seen counts lines, those of "." among them. Lines tell the
// time of the server's clock and not its zone, so while that is not known, the
// first entries wait until MDTM has told the time of one of them.
func (c *Conn) readList(ctx context.Context, path string, command ftp.Command, entry func(ftp.Listed) bool) (seen int, err error) {
	m := c.opt.Memory
	zone := m.Zone()
	p := ftp.ListParser{Now: time.Now(), Zone: zone}
	var held []ftp.Listed
	hold := zone == nil && c.feat.Has("MDTM")
	good, stopped := 0, false
	release := func() bool {
		hold = false
		for _, l := range held {
			if stopped = !entry(l); stopped {
				break
			}
		}
		held = nil
		return !stopped
	}
	seen, err = c.lines(ctx, command, path, func(line string) bool {
		l, ok := p.Line(line)
		if !ok {
			return true
		}
		good++
		if !hold {
			return entry(l)
		}
		held = append(held, l)
		return len(held) < maxHeld || release()
	})
	if n, first := p.Unread(); err == nil && good == 0 && n > 0 {
		if no := complaint(first, path); n == 1 && no != nil {
			return seen, no
		}
		return seen, fault.Because(fmt.Errorf("the first line: %q", first), fault.Unreachable, fault.IDBadReply, c.host, "listing")
	}
	if len(held) == 0 {
		return seen, err
	}
	if err == nil {
		var zerr error
		if zone, zerr = c.learnZone(ctx, path, command.Arg == "" || command.Arg == "-a", held); zerr != nil {
			err = zerr
		}
	}
	if zone != nil {
		m.SetZone(zone)
		for i := range held {
			if held[i].Is(ftp.KnownTime) && held[i].Step < 24*time.Hour {
				t := held[i].Time
				held[i].Time = time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), 0, zone)
			}
		}
	}
	if !release() {
		return seen, nil
	}
	return seen, err
}

// maxHeld is how many entries wait for the zone of their times.
const maxHeld = 4096

// learnZone compares the time of a file in a listing, read as UTC, with that of
// MDTM, which is UTC (RFC 3659, 2.3). Zones are whole quarters of an hour. The
// error is one of the connection.
func (c *Conn) learnZone(ctx context.Context, path string, here bool, held []ftp.Listed) (*time.Location, error) {
	for _, l := range held {
		if !l.Is(ftp.KnownType|ftp.KnownTime) || !l.Mode.IsRegular() || l.Step > time.Minute || !ftp.NameOK(l.Name) || strings.Contains(l.Name, "/") {
			continue
		}
		name := l.Name // as it came, not decoded
		if !here {
			w, err := c.wire(path)
			if err != nil {
				return nil, nil
			}
			name = strings.TrimSuffix(w, "/") + "/" + name
		}
		if len(name) > ftp.MaxLine-32 {
			continue
		}
		r, err := c.do(ctx, "MDTM", name)
		if err != nil {
			return nil, err
		}
		t, err := ftp.ParseTime(strings.TrimSpace(r.Text))
		if r.Code != ftp.C213File || err != nil {
			return nil, nil
		}
		off := l.Time.Sub(t.Truncate(time.Minute)).Round(15 * time.Minute)
		if rest := l.Time.Sub(t.Truncate(time.Minute)) - off; rest.Abs() > time.Minute || off.Abs() > 15*time.Hour {
			return nil, nil
		}
		return time.FixedZone("", int(off/time.Second)), nil
	}
	return nil, nil
}

// lines runs a command whose data is lines, and hands them out without their ends.
func (c *Conn) lines(ctx context.Context, command ftp.Command, path string, line func(string) bool) (seen int, err error) {
	in := &lineDest{line: line}
	x := exchange{command: command, path: path}
	if command.Verb != "MLSD" && c.kind == kindOther && !strings.HasPrefix(strings.ToUpper(c.syst(ctx)), "UNIX") {
		x.text = true // RFC 959, 4.1.3: else machines with other characters send theirs
	}
	var rep transfer.Report
	x.move = func(ctx context.Context, d *dataConn, _ ftp.Reply) error {
		var err error
		rep, err = transfer.Receive(ctx, in, d.conn(), transfer.Options{Idle: c.opt.Timeout, BareEnd: true})
		return c.dataError(err, path, rep.Bytes, c.opt.Timeout)
	}
	err = c.exchange(ctx, x)
	c.opt.Trace.road(command.Verb, rep)
	if err == nil && c.prot && !rep.Whole {
		err = fault.New(fault.Cut, fault.IDTLSNoClose, path)
	}
	if err == nil {
		err = in.end()
	}
	switch {
	case err == nil:
		return in.seen, nil
	case errors.Is(err, errStop):
		return in.seen, nil
	case in.bad != nil:
		return in.seen, in.bad
	}
	var re *ReplyError
	refused := errors.As(err, &re) && rep.Bytes == 0 && re.Reply.Code != ftp.C426Cut
	if ctx.Err() != nil || refused || rep.Road == transfer.RoadNone || rep.Road == "" {
		return in.seen, err
	}
	return in.seen, fault.Because(err, fault.Cut, fault.IDListingCut, path)
}

// A lineDest takes a listing as transfer.Receive writes it, and hands out its
// lines.
type lineDest struct {
	line func(string) bool
	part []byte // of a line whose end has not come
	seen int
	size int64
	bad  error
}

func (d *lineDest) Offset() int64 { return 0 }

func (d *lineDest) WriteAt(b []byte, _ int64) (int, error) {
	n := len(b)
	for len(b) > 0 {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			i = len(b)
		}
		if len(d.part)+i > maxLine {
			d.bad = fault.Because(errors.New("a line is too long"), fault.Unreachable, fault.IDBadReply, "the server", "listing")
			return 0, d.bad
		}
		if i == len(b) {
			d.part = append(d.part, b...)
			break
		}
		whole := b[:i]
		if len(d.part) > 0 {
			d.part = append(d.part, whole...)
			whole = d.part
		}
		b = b[i+1:]
		if err := d.take(whole); err != nil {
			return 0, err
		}
		d.part = d.part[:0]
	}
	return n, nil
}

func (d *lineDest) take(b []byte) error {
	s := strings.TrimRight(string(b), "\r")
	if s == "" {
		return nil
	}
	d.size += int64(len(b))
	if d.seen++; d.seen > maxLines || d.size > maxListing {
		d.bad = fault.Because(errors.New("too many lines"), fault.Unreachable, fault.IDBadReply, "the server", "listing")
		return d.bad
	}
	if !d.line(s) {
		return errStop
	}
	return nil
}

// end takes a last line that has no end.
func (d *lineDest) end() error {
	if len(d.part) == 0 {
		return nil
	}
	err := d.take(d.part)
	d.part = nil
	return err
}

// ListName is the entry of path in the listing of its directory: what others see,
// where SIZE and MLST of some servers tell of an upload that nobody else has. It
// is how a lost reply to an upload is settled.
func (c *Conn) ListName(ctx context.Context, path string) (ftp.Listed, error) {
	if err := c.enter(); err != nil {
		return ftp.Listed{}, err
	}
	defer c.leave()
	return c.listName(ctx, path)
}

func (c *Conn) listName(ctx context.Context, path string) (ftp.Listed, error) {
	dir, name := split(path)
	if name == "" {
		return ftp.Listed{Entry: ftp.Entry{Name: path, Mode: dirMode}, Known: ftp.KnownType}, nil
	}
	var found ftp.Listed
	ok := false
	err := c.list(ctx, dir, func(l ftp.Listed) bool {
		if l.Name == name {
			found, ok = l, true
		}
		return true // an end before the end would cost more than the rest
	})
	switch {
	case err != nil:
		return ftp.Listed{}, err
	case !ok:
		return ftp.Listed{}, fault.New(fault.NotFound, fault.IDNotFound, path)
	}
	return found, nil
}
