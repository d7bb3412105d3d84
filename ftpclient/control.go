package ftpclient

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"strings"
	"time"

	"dray/fault"
	"dray/ftp"
)

// past is a deadline that ends every call that waits.
var past = time.Unix(1, 0)

// An answer is what the reader got.
type answer struct {
	reply ftp.Reply
	err   error
}

// read is the one goroutine of a Conn. It reads a reply when one is asked for and
// at no other time, so that nobody reads while a TLS handshake begins.
func (c *Conn) read() {
	for {
		select {
		case <-c.ask:
		case <-c.life.Done():
			return
		}
		r, err := c.rd.ReadReply()
		c.got <- answer{r, err} // never waits: one answer for each question, and room for it
	}
}

// listen asks for the next reply, unless it was asked for already.
func (c *Conn) listen() {
	if !c.asking {
		c.asking = true
		c.ask <- struct{}{}
	}
}

// take is the end of listen: what came on c.got.
func (c *Conn) take(a answer) (ftp.Reply, error) {
	c.asking = false
	if a.err != nil {
		return ftp.Reply{}, c.lose(c.unread(a.err))
	}
	a.reply = c.masked(a.reply)
	c.opt.Trace.reply(a.reply)
	c.heard = time.Now()
	if a.reply.Code == ftp.C421Closing {
		_ = c.lose(c.closing(a.reply))
	}
	return a.reply, nil
}

// masked is a reply without the password: some servers say back at the login what
// they did not take, and replies are shown and logged. Shorter ones are in too many
// words. Behind the login a reply may be a name, which has to stay as it is.
func (c *Conn) masked(r ftp.Reply) ftp.Reply {
	secret := c.opt.Password.Reveal()
	if !c.enters.IsZero() || c.anonymous || len(secret) < 4 {
		return r
	}
	mask := func(s string) string { return strings.ReplaceAll(s, secret, "***") }
	r.Text, r.Last, r.Body = mask(r.Text), mask(r.Last), slices.Clone(r.Body)
	for i := range r.Body {
		r.Body[i] = mask(r.Body[i])
	}
	return r
}

// unread is the error of a reply that could not be read.
func (c *Conn) unread(err error) error {
	if errors.Is(err, ftp.ErrBadReply) || errors.Is(err, ftp.ErrReplyTooLong) {
		return fault.Because(err, fault.Unreachable, fault.IDBadReply, c.host, "FTP")
	}
	var record tls.RecordHeaderError
	if errors.As(err, &record) && c.nc != c.raw {
		return c.cleared(record, err)
	}
	return fault.Because(err, fault.Unreachable, fault.IDLost, c.host)
}

// cleared is the error of a server that writes in clear text where TLS should begin or
// go on.
func (c *Conn) cleared(record tls.RecordHeaderError, err error) error {
	cause := &clearText{c.under.text(record.RecordHeader[:]), err}
	if says(strings.ToLower(cause.text), "vsf_sysutil_bind") { // vsFTPd without a free data port
		return fault.Because(cause, fault.NoData, fault.IDPool)
	}
	return fault.Because(cause, fault.Unreachable, fault.IDPlainInTLS, c.host)
}

// clearText is what a server writes beside its TLS: mostly the last words of a process
// that fell over.
type clearText struct {
	text string
	err  error
}

func (e *clearText) Error() string { return "clear text where TLS should go on: " + e.err.Error() }
func (e *clearText) Unwrap() error { return e.err }

// Said is that text.
func (e *clearText) Said() string { return e.text }

// An under is the socket below the TLS of a control connection. It keeps what came
// last, which TLS takes away even when it can't read it.
type under struct {
	net.Conn
	last []byte
}

// underLast is how much of it is kept.
const underLast = 512

func (u *under) Read(b []byte) (int, error) {
	n, err := u.Conn.Read(b)
	if n > 0 {
		u.last = append(u.last[:0], b[max(n-underLast, 0):n]...)
	}
	return n, err
}

// text is the first line in what came last that begins with head; else head. A server
// that falls over writes its line in pieces (vsFTPd: the code, the reason, the line
// end): what is missing is waited for.
func (u *under) text(head []byte) string {
	text := head
	if i := bytes.Index(u.last, head); i >= 0 { // the first: the process above it complains too
		text = slices.Clone(u.last[i:])
		_ = u.Conn.SetReadDeadline(time.Now().Add(lastWords)) // nothing else is read of it
		for b := make([]byte, underLast); len(text) < underLast && !bytes.ContainsAny(text, "\r\n"); {
			n, err := u.Conn.Read(b)
			text = append(text, b[:n]...)
			if err != nil {
				break
			}
		}
	}
	line, _, _ := strings.Cut(string(text), "\r")
	return strings.ToValidUTF8(line, "?")
}

// lastWords is how long the rest of a line in clear text may take.
const lastWords = 500 * time.Millisecond

// reply waits for the next reply, at most as long as wait. After an error the
// connection can't be used.
func (c *Conn) reply(ctx context.Context, wait time.Duration) (ftp.Reply, error) {
	c.listen()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select { // an answer that is there wins
	case a := <-c.got:
		return c.take(a)
	default:
	}
	select {
	case a := <-c.got:
		return c.take(a)
	case <-ctx.Done():
		return ftp.Reply{}, context.Cause(ctx)
	case <-timer.C:
		return ftp.Reply{}, c.lose(c.silent(wait))
	case <-c.life.Done():
		return ftp.Reply{}, c.lost()
	}
}

// silent is a server that does not answer.
func (c *Conn) silent(wait time.Duration) error {
	return fault.New(fault.Stalled, fault.IDNoAnswer, c.host, seconds(wait))
}

func seconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }

// lose marks the connection as one that can't be used any more, for this reason
// or the first one that there was, and returns err.
func (c *Conn) lose(err error) error {
	c.why.CompareAndSwap(nil, &err)
	return err
}

// lost is why the connection can't be used, nil while it can.
func (c *Conn) lost() error {
	if why := c.why.Load(); why != nil {
		return *why
	}
	if c.closed() {
		return fault.Because(net.ErrClosed, fault.Unreachable, fault.IDLost, c.host)
	}
	return nil
}

// say writes commands in one piece.
func (c *Conn) say(ctx context.Context, commands ...ftp.Command) error {
	if err := c.lost(); err != nil {
		return err
	}
	var line []byte
	var err error
	for _, cmd := range commands {
		if line, err = ftp.AppendCommand(line, cmd.Verb, cmd.Arg); err != nil {
			return fault.Because(err, fault.BadName, fault.IDBadName, cmd.String())
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	for _, cmd := range commands {
		c.opt.Trace.command(cmd)
	}
	_ = c.nc.SetWriteDeadline(time.Now().Add(c.opt.Timeout))
	struck := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(struck)
		_ = c.nc.SetWriteDeadline(past)
	})
	_, err = c.nc.Write(line)
	if !stop() {
		<-struck // or it would strike at the next command
	}
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		c.confused(ctx)
		return context.Cause(ctx)
	}
	// A server that said 421 and closed is known by its words.
	if r, rerr := c.lastWords(); rerr == nil && r.Code == ftp.C421Closing {
		return c.lost()
	}
	return c.lose(fault.Because(err, fault.Unreachable, fault.IDLost, c.host))
}

// lastWords is what the server said before the connection broke.
func (c *Conn) lastWords() (ftp.Reply, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	return c.reply(ctx, 2*time.Second)
}

// cmd makes a command; the verb is ours.
func cmd(verb, arg string) ftp.Command {
	return ftp.Command{Verb: verb, Arg: arg, HasArg: arg != ""}
}

// do sends one command and returns the reply to it, whatever that says. When ctx
// ends first the connection can't be used any more: nobody knows to what the next
// reply belongs.
func (c *Conn) do(ctx context.Context, verb, arg string) (ftp.Reply, error) {
	replies, err := c.batch(ctx, cmd(verb, arg))
	if err != nil {
		return ftp.Reply{}, err
	}
	return replies[0], nil
}

// batch sends commands and returns their replies, as many. They go in one write
// where the server is known to take that, else one after another.
func (c *Conn) batch(ctx context.Context, commands ...ftp.Command) ([]ftp.Reply, error) {
	replies := make([]ftp.Reply, 0, len(commands))
	together := c.together()
	if together {
		if err := c.say(ctx, commands...); err != nil {
			return nil, err
		}
	}
	for i := range commands {
		if !together {
			if err := c.say(ctx, commands[i]); err != nil {
				return nil, err
			}
		}
		r, err := c.final(ctx)
		if err != nil {
			return nil, err
		}
		replies = append(replies, r)
		if r.Code == ftp.C421Closing {
			for len(replies) < len(commands) {
				replies = append(replies, r)
			}
			break
		}
	}
	return replies, nil
}

// confused marks a connection whose next reply belongs to nobody knows what.
func (c *Conn) confused(ctx context.Context) {
	_ = c.lose(fault.Because(context.Cause(ctx), fault.Unreachable, fault.IDLost, c.host))
}

// final is the reply that ends a command without data.
func (c *Conn) final(ctx context.Context) (ftp.Reply, error) { return c.finalIn(ctx, c.opt.Timeout) }

// finalIn is final with a time of its own. Replies to NOOP that the server owes
// are passed over.
func (c *Conn) finalIn(ctx context.Context, wait time.Duration) (ftp.Reply, error) {
	for range maxPreliminary {
		r, err := c.reply(ctx, wait)
		switch {
		case err != nil:
			if ctx.Err() != nil {
				c.confused(ctx)
			}
			return r, err
		case r.Code < 200:
		case c.owed > 0 && isNoop(r):
			c.owed--
		default:
			return r, nil
		}
	}
	return ftp.Reply{}, c.lose(c.unread(ftp.ErrBadReply))
}

// maxPreliminary is how many replies below 200 one command may have.
const maxPreliminary = 8

// enter begins an operation; only one may run.
func (c *Conn) enter() error {
	if !c.busy.CompareAndSwap(false, true) {
		return errBusy
	}
	if err := c.lost(); err != nil {
		c.busy.Store(false)
		return err
	}
	return nil
}

func (c *Conn) leave() { c.busy.Store(false) }

// errBusy is a mistake of the caller.
var errBusy = errors.New("ftpclient: the connection is in use by another operation")

// simple sends one command for a public method.
func (c *Conn) simple(ctx context.Context, verb, arg string) (ftp.Reply, error) {
	if err := c.enter(); err != nil {
		return ftp.Reply{}, err
	}
	defer c.leave()
	return c.do(ctx, verb, arg)
}
