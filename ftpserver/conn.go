package ftpserver

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"dray/fault"
	"dray/ftp"
	"dray/gate"
	"dray/vfs"
)

// A phase is how far a connection has come. Orthogonal facts are fields.
type phase int

const (
	phaseGreeted phase = iota
	phaseNamed         // USER was taken, PASS is due
	phaseIn            // logged in
)

// pending is what one command leaves for a later one. The loop clears it after
// every row without keepsPending.
type pending struct {
	rest   int64    // REST
	allo   int64    // ALLO
	rename vfs.Path // RNFR
	named  bool     // rename is set

	span    ftp.Range // RANG
	copy    vfs.Path  // SITE CPFR
	copying bool      // copy is set
}

// A conn is one control connection. Its fields belong to the command loop,
// except those under mu.
type conn struct {
	server  *Server
	rules   *Rules
	visit   *gate.Visit
	log     *slog.Logger
	raw     net.Conn // the connection itself
	nc      net.Conn // raw, or TLS over it
	rd      *ftp.Reader
	tlsOn   bool
	tlsCfg  *tls.Config // what the control connection's handshake used
	served  []byte      // the certificate that it showed, in DER
	records *records    // the socket as TLS reads it
	cleared bool        // CCC was said
	begun   time.Time

	phase      phase
	user       string
	session    *gate.Session
	byCert     bool // the login was by certificate
	cwd        vfs.Path
	text       bool // TYPE A
	prot       bool // PROT P
	pbsz       bool
	epsvAll    bool
	facts      ftp.Facts
	client     string   // CLNT
	charset    *charset // of names on the wire; nil: UTF-8
	utf8       bool     // OPTS UTF8 was said before the login
	transcript bool     // the dialogue is logged for all to see
	sums       sums     // HASH, RANG
	deflate    deflate
	fxp        fxp
	idleFor    time.Duration // SITE IDLE; 0: as the rules say
	mask       *fs.FileMode  // SITE UMASK; nil: the tree's own
	pending    pending
	data       dataPlan
	attempts   attempts
	bad        int  // lines that were none
	aborted    bool // the last transfer was ended by ABOR
	quit       bool
	hurried    bool         // the wait ends with the login deadline
	drained    *net.TCPConn // the last one that drainLater took

	wmu sync.Mutex // one writer at a time: the loop, or the reader beside a transfer
	out []byte

	mu       sync.Mutex
	idle     bool // waiting for a command; a shutdown may wake it
	draining bool
	in       bool    // logged in
	beside   *beside // the transfer that is running
	queue    []line  // read during a transfer, to be run after it
	readErr  error   // the control connection has ended; told when queue is empty
}

// A line is a command, or why it is none.
type line struct {
	cmd ftp.Command
	err error
	at  time.Time // when it was read, during a transfer
}

func newConn(s *Server, nc net.Conn, v *gate.Visit, r *Rules) *conn {
	return &conn{
		server: s, rules: r, visit: v, log: v.Log(), raw: nc, nc: nc, rd: ftp.NewReader(nc), begun: time.Now(),
		facts: ftp.DefaultFacts, tlsCfg: r.TLS, text: true, // RFC 959, 5.1; Perl's Net::FTP and ftp.exe rely on it
	}
}

var longAgo = time.Unix(1, 0)

// wake ends a read that waits for a command.
func (c *conn) wake() { _ = c.raw.SetReadDeadline(longAgo) }

// Drain ends the connection at its next quiet moment.
func (c *conn) Drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.draining = true
	switch {
	case c.idle:
		c.wake()
	case !c.in: // in a handshake, or a wrong password that waits
		c.visit.End(fault.New(fault.Closing, fault.IDShutdown))
	}
}

// End ends what the connection does, and with that the connection.
func (c *conn) End(cause error) { c.visit.End(cause) }

// Abort closes the socket.
func (c *conn) Abort() { _ = c.raw.Close() }

// serve runs the dialogue to its end. It waits for the next command here, where
// little is on the stack, and deeper only for the rest of one: the stack is the
// memory of an idle session, and the runtime halves the 8 KiB that a login needs
// when less than 1,248 bytes of it are in use.
func (c *conn) serve() {
	defer c.close()
	if !c.greet() {
		return
	}
	for {
		switch {
		case !c.waits():
		case !c.tlsOn:
			c.rd.Await()
		case c.rd.Drained(): // so that TLS holds nothing either
			c.records.await()
		}
		if !c.step() {
			return
		}
	}
}

// greet is the beginning; false when it was the end.
func (c *conn) greet() bool {
	c.log.Debug("connected", "peer", c.visit.Peer().Remote.String(), "door", c.rules.Door.Name)
	if c.rules.Implicit && !c.implicit() {
		return false
	}
	return c.write(ftp.Lines(ftp.C220Ready, c.rules.Greeting, "Ready.")) == nil
}

// step runs one command; false ends the dialogue.
func (c *conn) step() bool {
	cmd, err := c.next()
	if err != nil {
		c.farewell(err)
		return false
	}
	c.run(c.trimmed(cmd))
	return !c.quit
}

// close gives back what the connection held.
func (c *conn) close() {
	c.data.release()
	c.data.forget()
	if c.session != nil {
		c.session.Close()
	}
	c.server.tickets.ended(c.visit.ID())
	if t, ok := c.nc.(*tls.Conn); ok {
		_ = c.raw.SetWriteDeadline(time.Now().Add(time.Second))
		_ = t.CloseWrite()
		swallow(c.raw) // a close_notify behind QUIT, say
	}
	_ = c.raw.Close()
	c.log.Debug("disconnected")
}

// waits sets the deadline of a wait for the peer: the idle time, or what is left
// for the login. It is false where there is something to do without it.
func (c *conn) waits() bool {
	c.mu.Lock()
	if len(c.queue) > 0 || c.readErr != nil || c.draining {
		c.mu.Unlock()
		return false
	}
	deadline := time.Now().Add(c.idleTime())
	c.hurried = false
	if c.phase != phaseIn {
		// One deadline for all of the login, so that a slow talker holds no slot.
		login := c.begun.Add(c.rules.LoginTime)
		if login.Before(deadline) {
			deadline, c.hurried = login, true
		}
	}
	c.idle = true
	_ = c.raw.SetReadDeadline(deadline)
	c.mu.Unlock()
	if c.context().Err() != nil { // after the deadline was set: the end may have come between
		c.wake()
	}
	return true
}

// next is the next line: one that was read during a transfer, else from the
// connection.
func (c *conn) next() (line, error) {
	if !c.idle {
		c.mu.Lock()
		defer c.mu.Unlock()
		if len(c.queue) > 0 {
			l := c.queue[0]
			c.queue = c.queue[1:]
			return l, nil
		}
		if c.readErr != nil {
			return line{}, c.readErr
		}
		return line{}, fault.New(fault.Closing, fault.IDShutdown)
	}
	cmd, err := c.rd.ReadCommand()
	c.mu.Lock()
	c.idle = false
	draining := c.draining
	c.mu.Unlock()
	switch {
	case err == nil, errors.Is(err, ftp.ErrBadLine), errors.Is(err, ftp.ErrLineTooLong):
		return line{cmd: cmd, err: err}, nil
	case !errors.Is(err, os.ErrDeadlineExceeded):
		return line{}, err
	}
	if ended := context.Cause(c.context()); ended != nil {
		return line{}, ended
	}
	if draining {
		return line{}, fault.New(fault.Closing, fault.IDShutdown)
	}
	if c.hurried {
		return line{}, fault.New(fault.Closing, fault.IDLoginTime, int(c.rules.LoginTime/time.Second))
	}
	return line{}, fault.New(fault.Closing, fault.IDIdle, int(c.idleTime()/time.Second))
}

// context is that of the session, else of the visit.
func (c *conn) context() context.Context {
	if c.session != nil {
		return c.session.Context()
	}
	return c.visit.Context()
}

// farewell says why the connection ends, where the peer can still hear it.
func (c *conn) farewell(err error) {
	if errors.Is(err, io.EOF) || fault.KindOf(err) != fault.Closing {
		return // the peer has gone
	}
	c.log.Info("connection ended", "reason", string(fault.Of(err).ID))
	_ = c.write(replyFor(err))
}

// run runs one line and writes its one final reply.
func (c *conn) run(l line) {
	c.visit.Spoke()
	if !asksNext(l.cmd) {
		c.data.forget()
	}
	if l.err != nil {
		c.badLine(l.err)
		return
	}
	cmd := l.cmd
	c.dialogue("command", func() string {
		if c.secret(cmd) {
			return cmd.Verb + " ***"
		}
		return cmd.String()
	})
	row := c.server.rows[cmd.Verb]
	if row == nil && c.wrongDoor(cmd) {
		return
	}
	if cmd.Verb != "ABOR" { // which is told about the command before it
		c.aborted = false
	}
	var reply ftp.Reply
	err := c.refuse(row, cmd)
	if err == nil {
		ctx := c.context()
		reply, err = row.run(c, ctx, c.charset.decode(cmd.Arg))
	}
	if row == nil || !c.keeps(row, cmd.Arg) {
		c.pending = pending{}
	}
	if row != nil && row.also&opensData != 0 { // one set-up is for one transfer, also when it never began
		if err != nil {
			c.data.spend()
		} else {
			c.data.over()
		}
	}
	after := c.data.after
	c.data.after = nil
	if err != nil {
		reply = replyFor(err)
		if fault.KindOf(err) == fault.Closing {
			c.quit = true
		}
		if c.session != nil {
			c.session.Refused(cmd.Verb, c.masked(cmd), err)
		} else {
			c.log.Info("refused", "verb", cmd.Verb, "peer", c.visit.Peer().Remote.String(), "reason", string(fault.Of(err).ID))
		}
	}
	if reply.IsZero() { // AUTH and CCC have written their own, on the other side of TLS
		return
	}
	if c.write(reply) != nil {
		c.quit = true
	} else if err != nil && c.quit {
		c.lastWords() // what the peer has sent already must not reset them
	}
	if after != nil {
		after()
	}
}

// masked is the argument of a command for logs and events.
func (c *conn) masked(cmd ftp.Command) string {
	if c.secret(cmd) {
		return ""
	}
	return c.charset.decode(cmd.Arg)
}

// secret tells whether there are passwords in what a command was given, also one
// that is refused. Before the login that is any command that is none of ours: it may
// be PASS, mistyped.
func (c *conn) secret(cmd ftp.Command) bool {
	if c.session == nil && c.server.rows[cmd.Verb] == nil && cmd.Arg != "" {
		return true
	}
	sub, _, _ := strings.Cut(strings.TrimLeft(cmd.Arg, " "), " ")
	return cmd.Verb == "PASS" || cmd.Verb == "ACCT" || cmd.Verb == "SITE" && strings.EqualFold(sub, "PSWD")
}

// trimmed is a line without the blanks that mean nothing: those around an
// argument that holds no name, and those before the command behind SITE.
func (c *conn) trimmed(l line) line {
	switch row := c.server.rows[l.cmd.Verb]; {
	case row == nil:
	case row.plain():
		l.cmd.Arg = strings.Trim(l.cmd.Arg, " ")
	case row.verb == "SITE":
		l.cmd.Arg = strings.TrimLeft(l.cmd.Arg, " ")
	}
	return l
}

// refuse checks what the row says about a command; handlers check nothing that
// a row can say.
func (c *conn) refuse(row *command, cmd ftp.Command) error {
	if row == nil {
		if why, ok := neverBuilt[cmd.Verb]; ok {
			return fault.New(fault.NotBuilt, fault.IDNotBuilt, why)
		}
		return fault.New(fault.Unknown, fault.IDUnknown)
	}
	switch {
	case c.off(row, row.verb):
		return fault.New(fault.NotBuilt, fault.IDNotBuilt, switchedOff)
	case c.phase < row.phase && row.phase == phaseIn:
		return fault.New(fault.NotLoggedIn, fault.IDLogin)
	case c.phase < row.phase:
		return fault.New(fault.Sequence, fault.IDSequence, "USER")
	case !row.takes(cmd.Arg):
		return fault.New(fault.Syntax, fault.IDSyntax, c.form(row))
	case row.also&opensData != 0 && (c.tlsOn || c.cleared) && !c.prot && !c.rules.ClearData:
		// RFC 4217, 9: refused before anything is opened.
		return fault.New(fault.NeedProt, fault.IDProtRequired)
	}
	return nil
}

// badLine answers a line that is none; the third one ends the connection. Lines
// without a verb are not counted: a login deadline or an idle time is there for
// who sends nothing else.
func (c *conn) badLine(err error) {
	if c.wrongDoor(ftp.Command{}) {
		return
	}
	if errors.Is(err, ftp.ErrNoVerb) {
		c.pending = pending{}
		if c.write(replyFor(fault.New(fault.Unknown, fault.IDUnknown))) != nil {
			c.quit = true
		}
		return
	}
	e := fault.New(fault.Unknown, fault.IDBadLine)
	if errors.Is(err, ftp.ErrLineTooLong) {
		e = fault.New(fault.Unknown, fault.IDLineTooLong, ftp.MaxLine)
	}
	c.bad++
	c.log.Info("bad line", "reason", string(e.ID), "count", c.bad)
	c.pending = pending{}
	if c.write(replyFor(e)) != nil {
		c.quit = true
	}
	if c.bad >= 3 {
		c.quit = true
		c.lastWords()
	}
}

// write sends one reply in one piece. A peer that does not take it within 30 s
// has lost its connection.
func (c *conn) write(r ftp.Reply) error {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	c.dialogue("reply", r.String)
	c.out = c.charset.reply(r).Append(c.out[:0])
	_ = c.raw.SetWriteDeadline(time.Now().Add(30 * time.Second))
	_, err := c.nc.Write(c.out)
	if cap(c.out) > 1024 { // an idle session owns no large buffer
		c.out = nil
	}
	return err
}

// dialogue logs a line of the dialogue, at the level of the transcript that was
// asked for. Passwords are masked in it.
func (c *conn) dialogue(msg string, text func() string) {
	level := slog.LevelDebug
	if c.transcript {
		level = slog.LevelInfo
	}
	if c.log.Enabled(context.Background(), level) {
		c.log.Log(context.Background(), level, msg, "line", text())
	}
}

// resolve is the path that an argument names.
func (c *conn) resolve(arg string) (vfs.Path, error) {
	p, err := vfs.Resolve(c.cwd, arg)
	if err == nil && c.charset != nil {
		p = c.asShown(p)
	}
	return p, err
}

// remote is the peer's address.
func (c *conn) remote() netip.Addr { return c.visit.Peer().Remote.Addr().Unmap() }

// local is our address on the control connection.
func (c *conn) local() netip.Addr { return c.visit.Peer().Local.Addr().Unmap() }
