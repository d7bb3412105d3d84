package ftpserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"

	"dray/account"
	"dray/event"
	"dray/fault"
	"dray/ftp"
	"dray/transfer"
	"dray/vfs"
)

// Limits of one listing.
const (
	maxDepth     = 32      // LIST -R
	maxRecursive = 200_000 // entries of LIST -R and of a pattern
	globSteps    = 5_000_000
	maxBelow     = 10_000 // directories of one level that are kept to go into
	maxStat      = 2000   // entries of STAT path, which comes over the control connection
)

// A lister writes entries as one of LIST, NLST, MLSD.
type lister struct {
	c       *conn
	ctx     context.Context
	w       io.Writer
	now     time.Time
	form    func(l *lister, name string, at vfs.Path, fi fs.FileInfo)
	buf     []byte
	bytes   int64
	entries int
	left    int // for -R and patterns; 0: no limit
	skipped int
	told    bool
	uid     uint32
	owner   string
	gid     uint32
	group   string
	perms   [2]struct { // of files, of directories
		rights account.Rights
		text   string
	}
}

var errTooMany = fault.New(fault.Denied, fault.IDGlob)

// entry is what a listing shows of one file. at is its path when it is known
// already; a link asks for it.
func (l *lister) entry(name string, dir vfs.Path, fi fs.FileInfo) ftp.Entry {
	a := vfs.AttrOf(fi)
	e := ftp.Entry{
		Name: name, Mode: fi.Mode(), Size: fi.Size(), Time: wholeSeconds(fi.ModTime()),
		Links: a.Links, UID: a.UID, GID: a.GID, Owner: l.ownerName(a.UID), Group: l.groupName(a.GID), Dev: a.Dev, Ino: a.Ino,
	}
	if e.Mode&fs.ModeSymlink != 0 {
		if p, err := dir.Join(fi.Name()); err == nil {
			e.Target = l.c.session.Link(l.ctx, p)
		}
	}
	return e
}

// Owners are numbers: names of this machine's users are nobody's business, and
// clients show either. The text of the last one is kept.
func (l *lister) ownerName(id uint32) string {
	if l.owner == "" || l.uid != id {
		l.uid, l.owner = id, strconv.FormatUint(uint64(id), 10)
	}
	return l.owner
}

func (l *lister) groupName(id uint32) string {
	if l.group == "" || l.gid != id {
		l.gid, l.group = id, strconv.FormatUint(uint64(id), 10)
	}
	return l.group
}

// perm is what the last file or directory had, as long as the rights are the same.
func (l *lister) perm(r account.Rights, isDir bool) string {
	p := &l.perms[0]
	if isDir {
		p = &l.perms[1]
	}
	if p.text == "" || p.rights != r {
		p.rights, p.text = r, perm(r, isDir)
	}
	return p.text
}

func asList(l *lister, name string, dir vfs.Path, fi fs.FileInfo) {
	if !ftp.NameOK(name) {
		l.odd(name) // shown with '?' in place of it
	}
	l.buf = ftp.AppendList(l.buf, l.entry(name, dir, fi), l.now)
}

func asNames(l *lister, name string, _ vfs.Path, _ fs.FileInfo) {
	if !ftp.NameOK(name) {
		l.skip(name)
		return
	}
	l.buf = ftp.AppendName(l.buf, name)
}

func asFacts(l *lister, name string, dir vfs.Path, fi fs.FileInfo) {
	if !ftp.NameOK(name) {
		l.skip(name)
		return
	}
	l.facts(name, l.c.session.RightsIn(dir, fi.Name()), dir, fi, ftp.KindAuto)
	l.buf = append(l.buf, '\r', '\n')
}

func (l *lister) facts(name string, rights account.Rights, dir vfs.Path, fi fs.FileInfo, kind ftp.EntryKind) {
	e := l.entry(name, dir, fi)
	e.Owner, e.Group, e.Kind = "", "", kind
	e.Perm = l.perm(rights, fi.IsDir())
	l.buf = ftp.AppendFacts(l.buf, l.c.facts, e)
}

// skip leaves out a name that no line can hold.
func (l *lister) skip(name string) {
	l.skipped++
	l.odd(name)
}

// odd logs a name with a line end, once a listing.
func (l *lister) odd(name string) {
	if !l.told {
		l.told = true
		l.c.log.Warn("a name with a line end can't be shown", "name", strconv.Quote(name))
	}
}

// put writes one entry.
func (l *lister) put(name string, dir vfs.Path, fi fs.FileInfo) error {
	if l.left > 0 {
		if l.left--; l.left == 0 {
			return errTooMany
		}
	}
	l.entries++
	l.buf = l.buf[:0]
	l.form(l, name, dir, fi)
	return l.flush()
}

func (l *lister) line(s string) error {
	l.buf = ftp.AppendName(l.buf[:0], s)
	return l.flush()
}

func (l *lister) flush() error {
	if l.c.charset != nil {
		l.buf = append(l.buf[:0], l.c.charset.encode(string(l.buf))...)
	}
	l.bytes += int64(len(l.buf))
	_, err := l.w.Write(l.buf)
	return err
}

// dir writes the entries of one directory.
func (l *lister) dir(p vfs.Path) error {
	for fi, err := range l.c.session.List(l.ctx, p) {
		if err != nil {
			return err
		}
		if err := l.put(fi.Name(), p, fi); err != nil {
			return err
		}
	}
	return nil
}

// tree writes a directory and those below it, as ls -R does. It does not follow
// links.
func (l *lister) tree(p vfs.Path, title string, depth int) error {
	if depth > 0 {
		if err := errors.Join(l.line(""), l.line(title+":")); err != nil {
			return err
		}
	}
	var below []string
	for fi, err := range l.c.session.List(l.ctx, p) {
		if err != nil {
			return err
		}
		if fi.IsDir() && depth < maxDepth {
			if len(below) == maxBelow {
				return errTooMany
			}
			below = append(below, strings.Clone(fi.Name()))
		}
		if err := l.put(fi.Name(), p, fi); err != nil {
			return err
		}
	}
	slices.Sort(below)
	for _, name := range below {
		sub, err := p.Join(name)
		if err != nil {
			continue
		}
		err = l.tree(sub, title+"/"+name, depth+1)
		if k := fault.KindOf(err); err != nil && k != fault.Denied && k != fault.NotFound || errors.Is(err, errTooMany) {
			return err
		}
	}
	return nil
}

// glob writes what matches a pattern, whose every part may have wildcards.
// prefix is how the peer wrote what is done already.
func (l *lister) glob(dir vfs.Path, prefix string, parts []string, steps *int) error {
	part, rest := parts[0], parts[1:]
	if !ftp.HasGlob(part) {
		p, err := vfs.Resolve(dir, "./"+part)
		if err != nil {
			return err
		}
		if len(rest) > 0 {
			return l.glob(p, prefix+part+"/", rest, steps)
		}
		fi, err := l.c.session.Lstat(l.ctx, p)
		if err != nil {
			return nil // a pattern that matches nothing is no error
		}
		return l.put(prefix+part, dir, fi)
	}
	g, err := ftp.ParseGlob(part)
	if err != nil {
		return fault.Because(err, fault.Syntax, fault.IDSyntax, "a pattern with * ? [a-z]")
	}
	var below []string
	for fi, err := range l.c.session.List(l.ctx, dir) {
		if err != nil {
			if k := fault.KindOf(err); k == fault.NotFound || k == fault.NotDir {
				return nil
			}
			return err
		}
		ok, err := g.Match(fi.Name(), steps)
		if err != nil {
			return errTooMany
		}
		if !ok {
			continue
		}
		if len(rest) == 0 {
			if err := l.put(prefix+fi.Name(), dir, fi); err != nil {
				return err
			}
		} else if fi.IsDir() {
			if len(below) == maxBelow {
				return errTooMany
			}
			below = append(below, strings.Clone(fi.Name()))
		}
	}
	for _, name := range below {
		sub, err := dir.Join(name)
		if err != nil {
			continue
		}
		if err := l.glob(sub, prefix+name+"/", rest, steps); err != nil {
			return err
		}
	}
	return nil
}

// A listing is what LIST or NLST was asked for.
type listing struct {
	p         vfs.Path
	fi        fs.FileInfo // nil for a pattern
	arg       string
	glob      bool
	recursive bool
}

// asked reads the argument of LIST, NLST and STAT: flags as of ls, then a path
// or a pattern. A file that is really named so wins over both readings.
func (c *conn) asked(ctx context.Context, arg string) (listing, error) {
	flags, rest := ftp.SplitFlags(arg)
	if flags != "" || rest != arg {
		if p, err := c.resolve(arg); err == nil && arg != "" {
			if fi, err := c.session.Finished(ctx, p); err == nil {
				return listing{p: p, fi: fi, arg: arg}, nil
			}
		}
	}
	l := listing{arg: rest, recursive: strings.Contains(flags, "R")}
	var err error
	if l.p, err = c.resolve(rest); err != nil {
		return l, err
	}
	l.fi, err = c.session.Finished(ctx, l.p)
	if err != nil && !l.p.IsRoot() {
		if fi, lerr := c.session.Lstat(ctx, l.p); lerr == nil { // a link that leads nowhere
			l.fi, err = fi, nil
		}
	}
	if err != nil && ftp.HasGlob(rest) {
		l.glob, err = true, nil
	}
	return l, err
}

// write writes the listing.
func (q listing) write(l *lister) error {
	switch {
	case q.glob:
		l.left = maxRecursive
		steps := globSteps
		dir, prefix, pattern := l.c.cwd, "", q.arg
		if strings.HasPrefix(pattern, "/") {
			dir, prefix, pattern = vfs.Root, "/", strings.TrimLeft(pattern, "/")
		}
		return l.glob(dir, prefix, strings.Split(strings.TrimRight(pattern, "/"), "/"), &steps)
	case !q.fi.IsDir():
		fi, err := l.c.session.Lstat(l.ctx, q.p)
		if err != nil {
			return err
		}
		return l.put(q.arg, q.p.Dir(), fi)
	case q.recursive:
		l.left = maxRecursive
		title := q.arg
		if title == "" {
			title = "."
		}
		return l.tree(q.p, title, 0)
	}
	return l.dir(q.p)
}

func (c *conn) list(ctx context.Context, arg string) (ftp.Reply, error) {
	q, err := c.asked(ctx, arg)
	if err != nil {
		return ftp.Reply{}, err
	}
	return c.listing(ctx, q.p, q.isDir(), asList, q.write)
}

func (c *conn) nlst(ctx context.Context, arg string) (ftp.Reply, error) {
	q, err := c.asked(ctx, arg)
	if err != nil {
		return ftp.Reply{}, err
	}
	q.recursive = false
	return c.listing(ctx, q.p, q.isDir(), asNames, q.write)
}

func (c *conn) mlsd(ctx context.Context, arg string) (ftp.Reply, error) {
	p, err := c.resolve(arg)
	if err != nil {
		return ftp.Reply{}, err
	}
	fi, err := c.session.Finished(ctx, p)
	switch {
	case err != nil:
		return ftp.Reply{}, err
	case !fi.IsDir(): // RFC 3659, 7.1: 501, and nothing else
		return ftp.Reply{}, fault.New(fault.Syntax, fault.IDSyntax, "MLSD directory; MLST tells about a file")
	}
	return c.listing(ctx, p, true, asFacts, func(l *lister) error {
		if c.session.Blind(p) { // the list is empty
			return nil
		}
		l.buf = l.buf[:0]
		l.facts(".", c.session.RightsIn(p, "."), p, fi, ftp.KindCdir)
		l.buf = append(l.buf, '\r', '\n')
		if err := l.flush(); err != nil {
			return err
		}
		return l.dir(p)
	})
}

func (q listing) isDir() bool { return !q.glob && q.fi.IsDir() }

// listing streams what write writes over a data connection. A directory is tried
// first, so that one that can't be read is a 550 and no empty 226.
func (c *conn) listing(ctx context.Context, p vfs.Path, isDir bool, form func(*lister, string, vfs.Path, fs.FileInfo), write func(*lister) error) (ftp.Reply, error) {
	if err := c.session.Listable(ctx, p); err != nil {
		return ftp.Reply{}, err
	}
	if isDir {
		for _, err := range c.session.List(ctx, p) {
			if err != nil {
				return ftp.Reply{}, err
			}
			break
		}
	}
	l := &lister{c: c, form: form, now: time.Now(), buf: make([]byte, 0, 512)}
	status := func() string { return fmt.Sprintf("Listing %s.", p) }
	begun := time.Now()
	defer c.session.Begin(event.Listing, p, -1, nil)()
	err := c.withData(ctx, status, ftp.Replyf(ftp.C150Opening, "Here comes the listing."), false, func(ctx context.Context, d *dataConn) error {
		w := transfer.Lines(ctx, d.Conn, transfer.Options{Idle: c.rules.Stall, Deflate: c.deflate.on, Level: c.deflate.level})
		l.ctx, l.w = ctx, w
		if err := errors.Join(write(l), w.Close()); err != nil {
			d.abort()
			return err
		}
		d.finish(ctx)
		return nil
	})
	rep := transfer.Report{Bytes: l.bytes, Took: time.Since(begun), Road: transfer.RoadCopy}
	c.transferred(event.Listing, p, rep, false, err)
	if err != nil {
		return ftp.Reply{}, noted(err, c.rules.Stall)
	}
	if l.skipped > 0 {
		return ftp.Replyf(ftp.C226Done, "%d listed; %d with a line end in the name are left out.", l.entries-l.skipped, l.skipped), nil
	}
	return ftp.Replyf(ftp.C226Done, "%d listed.", l.entries), nil
}

func (c *conn) mlst(ctx context.Context, arg string) (ftp.Reply, error) {
	p, err := c.resolve(arg)
	if err != nil {
		return ftp.Reply{}, err
	}
	fi, err := c.session.Stat(ctx, p)
	if err != nil && c.session.Blind(p) { // a directory, with the facts that CWD tells too
		fi, err = c.session.Finished(ctx, p)
	}
	if err != nil {
		return ftp.Reply{}, err
	}
	l := &lister{c: c, ctx: ctx}
	l.facts(p.String(), c.session.RightsIn(p, "."), p.Dir(), fi, ftp.KindAuto)
	return ftp.Reply{Code: ftp.C250OK, Text: "Facts:", Body: []string{string(l.buf)}, Last: "End"}, nil
}

// stat in its two quiet forms; the one during a transfer is in beside.go.
func (c *conn) stat(ctx context.Context, arg string) (ftp.Reply, error) {
	if arg == "" {
		return c.status(), nil
	}
	if c.phase != phaseIn {
		return ftp.Reply{}, fault.New(fault.NotLoggedIn, fault.IDLogin)
	}
	q, err := c.asked(ctx, arg)
	if err != nil {
		return ftp.Reply{}, err
	}
	r := ftp.Reply{Code: ftp.C213File, Text: "Status of " + q.p.String() + ":", Last: "End"}
	if q.isDir() {
		r.Code = ftp.C212Dir
	}
	w := &statLines{left: maxStat}
	l := &lister{c: c, ctx: ctx, w: w, form: asList, now: time.Now()}
	err = q.write(l)
	r.Body = w.lines
	if errors.Is(err, errStatFull) {
		r.Body, err = append(r.Body, fmt.Sprintf("more than %d entries: use LIST", maxStat)), nil
	}
	if err != nil {
		return ftp.Reply{}, err
	}
	return r, nil
}

var errStatFull = errors.New("more entries than STAT shows")

// statLines takes lines for the body of a reply.
type statLines struct {
	lines []string
	left  int
}

func (s *statLines) Write(b []byte) (int, error) {
	if s.left--; s.left < 0 {
		return 0, errStatFull
	}
	s.lines = append(s.lines, strings.TrimRight(string(b), "\r\n"))
	return len(b), nil
}

func (c *conn) status() ftp.Reply {
	r := ftp.Reply{Code: ftp.C211Status, Text: "Status:", Last: "End"}
	add := func(format string, args ...any) { r.Body = append(r.Body, fmt.Sprintf(format, args...)) }
	add("Connected from %s", c.visit.Peer().Remote)
	if c.session == nil {
		add("Not logged in")
	} else {
		add("Logged in as %s", c.session.Account().Name)
		add("Directory %s", c.cwd)
	}
	add("Control connection %s, data connections %s", clearOr(c.tlsOn), clearOr(c.prot))
	add("TYPE: %s, STRU: File, MODE: %s", map[bool]string{true: "ASCII Non-print", false: "Image"}[c.text],
		map[bool]string{true: "Deflate", false: "Stream"}[c.deflate.on])
	switch {
	case c.data.passive != nil:
		add("Passive on %s", c.data.passive.told)
	case c.data.active.IsValid():
		add("Active to %s", c.data.active)
	}
	return r
}

func clearOr(tls bool) string {
	if tls {
		return "under TLS"
	}
	return "in clear text"
}
