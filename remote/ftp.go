package remote

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"dray/account"
	"dray/explain"
	"dray/fault"
	"dray/ftp"
	"dray/ftpclient"
	"dray/transfer"
	"dray/vfs"
)

// An ftpTree is a Tree over FTP: connections that are made as they are needed and
// kept for the next use. A connection that the server turns away makes the number
// smaller.
type ftpTree struct {
	u      URL
	o      Options
	memory ftpclient.Memory
	direct settled

	mu     sync.Mutex
	free   []parked
	open   int           // connections that there are, or that are being made
	limit  int           // of them
	wake   chan struct{} // closed when one is free, or may be made
	closed bool
	way    time.Duration // how long a connection took to be made: a round trip
	login  *Login
	in     bool // somebody is logged in, or was
	traits *Traits
	noTime bool // MFMT and its kin are not there
	noMode bool // nor is SITE CHMOD
	warned int  // notes of memory that were told

	waiting  int    // transfers that have a connection or wait for one, as Width was told
	expected int    // transfers that have not begun, as Expect was told
	later    func() // makes the connections that are expected, behind the first login
}

// A parked connection waits for its next use.
type parked struct {
	c     *ftpclient.Conn
	since time.Time
}

// mostConnections is how many connections to one server there are, unless more or
// less is asked for.
const mostConnections = 16

func openFTP(u URL, o Options) (Tree, error) {
	t := &ftpTree{u: u, o: o, limit: o.Parallel, wake: make(chan struct{})}
	if t.limit <= 0 {
		t.limit = mostConnections
	}
	if o.FTP.ActiveIP != "" {
		if _, err := netip.ParseAddr(o.FTP.ActiveIP); err != nil {
			return nil, fmt.Errorf("%q is no address for active mode", o.FTP.ActiveIP)
		}
	}
	if o.FTP.EPSV != EPSVAuto {
		t.memory.SetEPSV(o.FTP.EPSV == EPSVAlways)
	}
	return t, nil
}

// staleAfter is how long a connection may wait until it is asked whether it is
// still there.
const staleAfter = 20 * time.Second

// take is a connection for one use: give takes it back.
func (t *ftpTree) take(ctx context.Context) (c *ftpclient.Conn, used bool, err error) {
	for {
		t.mu.Lock()
		switch {
		case t.closed:
			t.mu.Unlock()
			return nil, false, errClosed
		case len(t.free) > 0:
			p := t.free[len(t.free)-1]
			t.free = t.free[:len(t.free)-1]
			p.c.Ahead(t.more())
			t.mu.Unlock()
			if p.c.Err() != nil || time.Since(p.since) > staleAfter && p.c.Noop(ctx) != nil {
				t.give(p.c, true)
				if ctx.Err() != nil {
					return nil, false, context.Cause(ctx)
				}
				continue
			}
			return p.c, true, nil
		case t.open < t.limit:
			t.open++
			t.mu.Unlock()
			c, err := t.connect(ctx)
			t.mu.Lock()
			if err == nil {
				c.Ahead(t.more())
				t.mu.Unlock()
				return c, false, nil
			}
			t.open--
			others := t.open > 0
			if others && refusesMore(err) {
				t.limit = max(t.open, 1)
			}
			t.wakeAll()
			t.mu.Unlock()
			if others && refusesMore(err) {
				continue // wait for one of those that there are
			}
			return nil, false, err
		}
		wait := t.wake
		t.mu.Unlock()
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, false, context.Cause(ctx)
		}
	}
}

// refusesMore tells whether a login failed for being one too many. Some servers
// say so in the words of a wrong password; where others are logged in, it is right.
func refusesMore(err error) bool {
	switch fault.Of(err).ID {
	case fault.IDBusy, fault.IDPool, fault.IDAuth, fault.IDLost, fault.IDPlainInTLS, fault.IDRefused:
		return true
	}
	return false
}

// more tells whether a connection will be used again when its next use is over. t.mu is
// held.
func (t *ftpTree) more() bool { return max(t.waiting, t.expected) > t.open }

// begin counts a transfer that was expected.
func (t *ftpTree) begin() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.expected = max(t.expected-1, 0)
}

// give takes a connection back, or ends it.
func (t *ftpTree) give(c *ftpclient.Conn, broken bool) {
	t.mu.Lock()
	keep := !broken && c.Err() == nil && !t.closed && t.open <= t.limit
	if keep {
		t.free = append(t.free, parked{c, time.Now()})
	} else {
		t.open--
	}
	t.wakeAll()
	t.mu.Unlock()
	if !keep {
		_ = c.Close()
	}
}

// wakeAll makes those who wait look again. t.mu is held.
func (t *ftpTree) wakeAll() {
	close(t.wake)
	t.wake = make(chan struct{})
}

// FTPConn is how a Tree makes a control connection to u, without who logs in and what
// its connections share.
func (o Options) FTPConn(ctx context.Context, u URL) (ftpclient.Options, error) {
	o.complete()
	cfg, err := o.Trust.Config(ctx, u.Host, u.PortNumber())
	if err != nil {
		return ftpclient.Options{}, ofOurs("what TLS needs", err)
	}
	f := o.FTP
	fo := ftpclient.Options{
		Addr: u.Address(), Host: u.Host,
		Plain: f.Plain, TLS: cfg, Dial: o.Dial, Connect: o.Connect, DataWait: o.Connect, Timeout: o.Timeout,
		Active: f.Active, ActivePorts: [2]uint16{uint16(f.ActivePorts[0]), uint16(f.ActivePorts[1])},
		Charset: f.Charset, Proxied: o.Proxied,
	}
	if o.Network != "tcp" {
		fo.Network = o.Network
	}
	if f.ActiveIP != "" {
		fo.ActiveIP, _ = netip.ParseAddr(f.ActiveIP)
	}
	switch {
	case f.TLS == TLSPrefer:
		fo.Mode = ftpclient.TLSPrefer
	case f.TLS == TLSRequire, f.TLS == TLSByScheme && u.Scheme == FTPTLS:
		fo.Mode = ftpclient.TLSRequire
	case f.TLS == TLSImplicit, f.TLS == TLSByScheme && u.Scheme == FTPS:
		fo.Mode = ftpclient.TLSImplicit
	case f.TLS == TLSOff, u.Scheme == FTPPlain:
		fo.Mode, fo.Plain = ftpclient.TLSOff, fo.Plain || u.Scheme == FTPPlain
	}
	return fo, nil
}

// For makes l who logs in by o: over FTP nobody is anonymous.
func (l Login) For(o *ftpclient.Options) {
	o.User, o.Password = l.User, l.Password
	if l.User == "" && !l.HasPassword {
		o.User, o.Password = "anonymous", account.NewSecret("dray@")
	}
	if l.HasAccount {
		o.Account = l.Account.Reveal()
	}
}

func (t *ftpTree) connect(ctx context.Context) (*ftpclient.Conn, error) {
	o, err := t.o.FTPConn(ctx, t.u)
	if err != nil {
		return nil, err
	}
	l, err := t.who(ctx)
	if err != nil {
		return nil, err
	}
	l.For(&o)
	o.Memory = &t.memory
	t.mu.Lock()
	o.Ahead = max(t.waiting, t.expected) >= t.open
	t.mu.Unlock()
	o.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		began := time.Now()
		nc, err := t.o.Dial(ctx, network, addr)
		if err == nil {
			t.mu.Lock()
			if took := time.Since(began); t.way == 0 || took < t.way {
				t.way = took
			}
			t.mu.Unlock()
		}
		return nc, err
	}
	if t.o.Trace != nil {
		o.Trace = t.trace()
	}
	c, err := ftpclient.Dial(ctx, o)
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil && l.From == typedHere && fault.Of(err).ID == fault.IDAuth && t.open <= 1 {
		t.login = nil // perhaps a slip: it may be typed again
	}
	if err == nil {
		t.in = true
		if t.later != nil {
			t.later()
			t.later = nil
		}
	}
	return c, err
}

// who finds who logs in, once for all connections.
func (t *ftpTree) who(ctx context.Context) (Login, error) {
	t.mu.Lock()
	if l := t.login; l != nil {
		t.mu.Unlock()
		return *l, nil
	}
	t.mu.Unlock()
	l, err := t.o.login(ctx, t.u)
	if err != nil {
		return Login{}, ofOurs("what the login needs", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.login = &l
	return l, nil
}

// trace tells the dialogue to Options.Trace.
func (t *ftpTree) trace() *ftpclient.Trace {
	return &ftpclient.Trace{
		Connected: func(addr string) { t.o.trace("-- connected to %s", addr) },
		Command:   func(line string) { t.o.trace("-> %s", line) },
		Reply: func(r ftp.Reply) {
			for i, line := range r.All() {
				mark := "-"
				if i == len(r.All())-1 {
					mark = " "
				}
				t.o.trace("<- %d%s%s", r.Code, mark, line)
			}
		},
		TLS: func(s ftpclient.Step, cs tls.ConnectionState) {
			resumed := ""
			if cs.DidResume {
				resumed = ", resumed"
			}
			t.o.trace("-- %s: %s, %s%s", s, tls.VersionName(cs.Version), tls.CipherSuiteName(cs.CipherSuite), resumed)
		},
		Data: func(addr string) { t.o.trace("-- data connection to %s", addr) },
		Road: func(verb string, r transfer.Report) {
			t.o.trace("-- %s: %d bytes in %v, %s", verb, r.Bytes, r.Took.Round(time.Millisecond), r.Road)
		},
		Note: func(text string) { t.o.trace("-- %s", text) },
	}
}

// do lends a connection to f. One that waited for its use may have been lost
// without a word: then f has another try with a fresh one.
func (t *ftpTree) do(ctx context.Context, f func(c *ftpclient.Conn) error) error {
	for again := true; ; again = false {
		c, used, err := t.take(ctx)
		if err != nil {
			return err
		}
		err = f(c)
		lost := c.Err() != nil
		t.give(c, lost)
		t.warn()
		if id := fault.Of(err).ID; again && lost && used && (id == fault.IDLost || id == fault.IDPlainInTLS) && ctx.Err() == nil && !errors.Is(err, ErrUnsure) && !errors.As(err, new(begun)) {
			continue
		}
		return err
	}
}

// A begun error is that of a transfer which had moved bytes: whoever began it
// decides whether and from where it is tried again.
type begun struct{ error }

func (b begun) Unwrap() error { return b.error }

func unlessBegun(rep transfer.Report, err error) error {
	if err != nil && rep.Bytes > 0 {
		return begun{err}
	}
	return err
}

// warn tells what is wrong at the server and did not keep us from our work, once.
func (t *ftpTree) warn() {
	notes := t.memory.Notes()
	t.mu.Lock()
	notes = notes[min(t.warned, len(notes)):]
	t.warned += len(notes)
	t.mu.Unlock()
	for _, n := range notes {
		if t.o.Warn != nil {
			t.o.Warn(noteText(n))
		}
	}
}

func (t *ftpTree) Traits(ctx context.Context) (Traits, error) {
	t.mu.Lock()
	known := t.traits
	t.mu.Unlock()
	if known != nil {
		return *known, nil
	}
	var tr Traits
	err := t.do(ctx, func(c *ftpclient.Conn) error {
		tr = Traits{Times: c.SetsTimes(), Modes: true, Software: strings.Join(c.Greeting().All(), " "), Dray: c.SaysDray(), DirsOnly: c.DirsOnly()}
		if !c.Known() && c.Features().Has("CSID") {
			if r, err := c.Quote(ctx, "CSID Name=dray;Version="+clientVersion+";"); err == nil && r.Code == ftp.C200OK {
				tr.Software = r.Text
				tr.Dray = strings.Contains(strings.ToLower(r.Text), "name=dray;")
			} else if err != nil {
				return err
			}
		}
		for _, name := range c.Hashes() {
			tr.Sums = append(tr.Sums, strings.ToLower(strings.ReplaceAll(name, "-", "")))
		}
		return nil
	})
	if err != nil {
		return Traits{}, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.traits = &tr
	return tr, nil
}

// clientVersion is what dray calls itself to servers.
const clientVersion = "1"

// name is a path as the server takes it: "." and "" are where the login leads.
func name(p string) string {
	if p == "." {
		return ""
	}
	return p
}

func (t *ftpTree) List(ctx context.Context, dir string) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		told, ended := false, false
		err := t.do(ctx, func(c *ftpclient.Conn) error {
			for e, err := range c.List(ctx, name(dir)) {
				if err != nil {
					if told { // the entries are with the caller already
						ended = true
						yield(Entry{}, err)
						return nil
					}
					return err
				}
				told = true
				if !yield(e, nil) {
					ended = true
					return nil
				}
			}
			return nil
		})
		if err != nil && !ended {
			yield(Entry{}, err)
		}
	}
}

func (t *ftpTree) Stat(ctx context.Context, p string) (e Entry, err error) {
	err = t.do(ctx, func(c *ftpclient.Conn) error {
		e, err = c.Stat(ctx, p)
		return err
	})
	return e, err
}

func (t *ftpTree) Seen(ctx context.Context, p string) (e Entry, err error) {
	err = t.do(ctx, func(c *ftpclient.Conn) error {
		e, err = c.ListName(ctx, p)
		return err
	})
	return e, err
}

func (t *ftpTree) Get(ctx context.Context, p string, g Get, dst transfer.Dest) (rep transfer.Report, err error) {
	t.begin()
	err = t.do(ctx, func(c *ftpclient.Conn) error {
		rep, err = c.Receive(ctx, p, ftpclient.Get{From: g.From, Size: g.Size}, dst, g.How)
		return unlessBegun(rep, err)
	})
	return rep, err
}

func (t *ftpTree) Put(ctx context.Context, p string, u Put, src vfs.File) (rep transfer.Report, err error) {
	t.begin()
	err = t.do(ctx, func(c *ftpclient.Conn) error {
		rep, err = c.Send(ctx, p, ftpclient.Put{From: u.From, Size: u.Size}, src, u.How)
		var lost *ftpclient.LostReply
		if errors.As(err, &lost) {
			return fmt.Errorf("%w: %w", ErrUnsure, err)
		}
		if err != nil {
			return unlessBegun(rep, err)
		}
		if u.Before != nil {
			if err := u.Before(rep); err != nil {
				return err
			}
		}
		return t.finish(ctx, c, p, u)
	})
	return rep, err
}

var _ Keeper = (*ftpTree)(nil)

// Kept asks a server of dray.
func (t *ftpTree) Kept(ctx context.Context, p string) (n int64, err error) {
	err = t.do(ctx, func(c *ftpclient.Conn) error {
		n, err = c.Kept(ctx, p)
		return err
	})
	return n, err
}

// usualMode is what servers give to new files.
const usualMode = 0o644

// finish gives a file its time, mode and final name. The bytes are there, so a server
// that does not let the first two be set is no failure.
func (t *ftpTree) finish(ctx context.Context, c *ftpclient.Conn, p string, u Put) error {
	t.mu.Lock()
	f := ftpclient.Finish{Name: u.Final}
	if u.Mode != 0 && u.Mode != usualMode && !t.noMode {
		f.Mode = u.Mode
	}
	if !t.noTime {
		f.Time = u.Time
	}
	t.mu.Unlock()
	done, err := c.Finish(ctx, p, f)
	if done.Mode != nil {
		t.o.trace("-- the mode of %s was not set: %v", p, done.Mode)
		t.never(&t.noMode, done.Mode)
	}
	if done.Time != nil {
		t.o.trace("-- the time of %s was not set: %v", p, done.Time)
		t.never(&t.noTime, done.Time)
	}
	if err == nil {
		err = done.Name
	}
	if err != nil && u.Final != "" {
		return fmt.Errorf("%w: %w", ErrNotRenamed, err)
	}
	return err
}

// never remembers that the server has no command for something.
func (t *ftpTree) never(what *bool, err error) {
	var said *ftpclient.ReplyError
	no := fault.KindOf(err) == fault.Unsupported || fault.KindOf(err) == fault.NotBuilt || fault.KindOf(err) == fault.Unknown
	if errors.As(err, &said) {
		no = no || said.Reply.Code == 500 || said.Reply.Code == 502 || said.Reply.Code == 504
	}
	if no {
		t.mu.Lock()
		defer t.mu.Unlock()
		*what = true
	}
}

// Quote sends a command as it is written, and returns what the server says to it.
func (t *ftpTree) Quote(ctx context.Context, line string) (string, error) {
	var said string
	err := t.do(ctx, func(c *ftpclient.Conn) error {
		r, err := c.Quote(ctx, line)
		said = fmt.Sprintf("%d %s", r.Code, strings.Join(r.All(), "\n"))
		return err
	})
	return said, err
}

func (t *ftpTree) Mkdir(ctx context.Context, p string) error {
	return t.do(ctx, func(c *ftpclient.Conn) error { return c.Mkdir(ctx, p) })
}

func (t *ftpTree) Remove(ctx context.Context, p string) error {
	return t.do(ctx, func(c *ftpclient.Conn) error { return c.Remove(ctx, p) })
}

func (t *ftpTree) RemoveDir(ctx context.Context, p string) error {
	return t.do(ctx, func(c *ftpclient.Conn) error { return c.RemoveDir(ctx, p) })
}

func (t *ftpTree) Rename(ctx context.Context, from, to string) error {
	return t.do(ctx, func(c *ftpclient.Conn) error { return c.Rename(ctx, from, to) })
}

func (t *ftpTree) Chmod(ctx context.Context, p string, mode fs.FileMode) error {
	return t.do(ctx, func(c *ftpclient.Conn) error { return c.Chmod(ctx, p, mode) })
}

func (t *ftpTree) SetTime(ctx context.Context, p string, mtime time.Time) error {
	return t.do(ctx, func(c *ftpclient.Conn) error { return c.SetTime(ctx, p, mtime) })
}

func (t *ftpTree) Readlink(context.Context, string) (string, error) {
	return "", fault.New(fault.Unsupported, fault.IDUnsupported, "FTP has no way to ask where a link leads")
}

func (t *ftpTree) Symlink(context.Context, string, string) error {
	return fault.New(fault.Unsupported, fault.IDUnsupported, "FTP has no symbolic links")
}

// hashNames are the algorithms of Tree.Sum in the words of HASH.
var hashNames = map[string]string{"sha512": "SHA-512", "sha256": "SHA-256", "sha1": "SHA-1", "md5": "MD5", "crc32": "CRC32"}

func (t *ftpTree) Sum(ctx context.Context, p, algorithm string, from, to int64) (sum string, err error) {
	word, ok := hashNames[strings.ToLower(algorithm)]
	if !ok {
		return "", fault.New(fault.Unsupported, fault.IDUnsupported, "checksums by "+algorithm)
	}
	if to <= 0 {
		to = -1
	}
	err = t.do(ctx, func(c *ftpclient.Conn) error {
		b, err := c.Hash(ctx, p, word, from, to)
		sum = hex.EncodeToString(b)
		return err
	})
	return sum, err
}

func (t *ftpTree) Space(ctx context.Context, dir string) (free, total uint64, err error) {
	err = t.do(ctx, func(c *ftpclient.Conn) error {
		n, err := c.Space(ctx, name(dir))
		free = uint64(max(n, 0))
		return err
	})
	return free, 0, err
}

// What makes more connections worth while: with a long way a transfer waits most of
// its time, with a short one it works.
const (
	fewConnections = 4
	manyEach       = 8 // transfers that wait for each connection, where the way is short
	longWay        = 5 * time.Millisecond
)

// Width grows with the round trip and with what waits, up to the limit.
func (t *ftpTree) Width(waiting int) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.waiting = waiting
	n := max(fewConnections, waiting/manyEach) // with small files each waits for the other side most of its time
	if t.way > longWay {
		n = max(n, waiting/3, t.open) // those that there are cost nothing more
	}
	return max(min(n, waiting, t.limit), 1)
}

// Expect makes connections in advance, where a round trip takes long. The first one
// has to be logged in: nobody's password is tried many times at once.
func (t *ftpTree) Expect(ctx context.Context, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.expected = n
	if !t.in {
		t.later = func() { t.advance(ctx, n) }
		return
	}
	t.advance(ctx, n)
}

// advance makes connections until there are n. t.mu is held.
func (t *ftpTree) advance(ctx context.Context, n int) {
	if t.way <= longWay || t.closed {
		return
	}
	for range min(n, t.limit) - t.open {
		t.open++
		go func() {
			c, err := t.connect(ctx)
			if err == nil {
				t.give(c, false)
				return
			}
			t.mu.Lock()
			defer t.mu.Unlock()
			t.open--
			if t.open > 0 && refusesMore(err) {
				t.limit = max(t.open, 1)
			}
			t.wakeAll()
		}()
	}
}

// Refused halves the number of connections.
func (t *ftpTree) Refused() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.limit = max(min(t.limit, t.open)/2, 1)
}

func (t *ftpTree) Close() error {
	t.mu.Lock()
	t.closed = true
	free := t.free
	t.free = nil
	t.open -= len(free)
	t.wakeAll()
	wait := time.Second
	if t.way > longWay {
		wait = 10 * time.Millisecond // what is said to QUIT is not worth a long way
	}
	t.mu.Unlock()
	var all sync.WaitGroup
	for _, p := range free {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), wait)
			defer cancel()
			_ = p.c.Quit(ctx)
		})
	}
	all.Wait()
	return nil
}

// noteText is something wrong at the server that did not keep us from our work.
func noteText(e *fault.Error) string {
	if e.ID == fault.IDPasvAddress && len(e.Facts) > 0 {
		return fmt.Sprintf("the server tells clients to connect to %v for data; its own address was used instead   [%s]", e.Facts[0], e.ID)
	}
	return explain.Line(e) + "   [" + string(e.ID) + "]"
}
