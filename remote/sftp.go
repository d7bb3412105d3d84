package remote

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"path"
	"strings"
	"sync"
	"time"

	"dray/fault"
	"dray/ftp"
	"dray/sftp"
	"dray/sftpclient"
	"dray/sshclient"
	"dray/transfer"
	"dray/vfs"
)

// An sftpTree is a Tree over SFTP: one SSH connection, and one session in it that
// all transfers share. A connection that was lost is made again by the next call.
type sftpTree struct {
	u URL
	o Options

	mu     sync.Mutex
	busy   chan struct{} // closed when the connection that somebody makes is there
	conn   *sshclient.Conn
	client *sftpclient.Client
	closed bool
	limit  int // transfers at once, after the server has refused one; 0: no limit
	asked  *Login
	direct settled
}

var errClosed = errors.New("the tree is closed")

// session is the session that is there, or a new one.
func (t *sftpTree) session(ctx context.Context) (*sftpclient.Client, error) {
	for {
		t.mu.Lock()
		switch {
		case t.closed:
			t.mu.Unlock()
			return nil, errClosed
		case t.client != nil && t.client.Err() == nil:
			defer t.mu.Unlock()
			return t.client, nil
		case t.busy == nil:
			t.busy = make(chan struct{})
			old, oldConn := t.client, t.conn
			t.client, t.conn = nil, nil
			t.mu.Unlock()
			if old != nil {
				_ = old.Close()
				_ = oldConn.Close()
			}
			conn, client, err := t.connect(ctx)
			t.mu.Lock()
			close(t.busy)
			t.busy = nil
			if err == nil && t.closed {
				err = errClosed
				go func() {
					_ = client.Close()
					_ = conn.Close()
				}()
			}
			if err != nil {
				t.mu.Unlock()
				return nil, err
			}
			t.conn, t.client = conn, client
			t.mu.Unlock()
			return client, nil
		}
		wait := t.busy
		t.mu.Unlock()
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// SSHConn is how a Tree makes an SSH connection to u, but for who is asked for the
// password.
func (o Options) SSHConn(u URL) sshclient.Options {
	o.complete()
	so := sshclient.Options{
		Host: u.Host, Port: u.Port, User: u.User,
		Identities: o.SSH.Identities, Jump: o.SSH.Jump, Config: o.SSH.Config, NoConfig: o.SSH.NoConfig,
		KnownHosts: o.SSH.KnownHosts, Pins: o.SSH.Pins, Insecure: o.SSH.Insecure,
		Ask: o.SSH.Ask, Prompt: o.SSH.Prompt, Dial: o.Dial, Connect: o.Connect,
		Home: o.SSH.Home, Env: o.SSH.Getenv,
	}
	if o.Network != "tcp" {
		so.Family = o.Network
	}
	if !o.Proxied { // only a proxy is used in place of a ProxyCommand
		if s, err := sshclient.Read(so); err == nil && s.Command != "" {
			so.Dial = nil
		}
	}
	return so
}

func (t *sftpTree) connect(ctx context.Context) (*sshclient.Conn, *sftpclient.Client, error) {
	o := t.o.SSHConn(t.u)
	o.Password = t.password
	if t.o.Trace != nil {
		o.Trace = func(step, text string) { t.o.trace("-- %s: %s", step, text) }
	}
	conn, err := sshclient.Dial(ctx, o)
	if err != nil {
		return nil, nil, err
	}
	wait := t.o.Timeout
	if wait <= 0 {
		wait = time.Minute
	}
	opening, cancel := context.WithTimeoutCause(ctx, wait, fault.New(fault.Stalled, fault.IDNoAnswer, t.u.Host, int((wait+time.Second-1)/time.Second)))
	ch, err := conn.Subsystem(opening, "sftp")
	cancel()
	if err != nil {
		_ = conn.Close()
		return nil, nil, err
	}
	so := sftpclient.Options{Host: t.u.Host, Answer: t.o.Timeout, Home: true}
	if t.o.Trace != nil && t.o.Debug {
		so.Trace = sftpclient.Trace{
			Sent: func(line string) { t.o.trace("-> %s", line) },
			Got:  func(line string) { t.o.trace("<- %s", line) },
		}
	}
	client, err := sftpclient.New(ctx, ch, so)
	if err != nil {
		_ = conn.Close()
		return nil, nil, err
	}
	return conn, client, nil
}

// password answers the server's question from where passwords are found. What was
// typed is kept, because a connection may have to be made again.
func (t *sftpTree) password(ctx context.Context, q sshclient.Question) (string, error) {
	t.mu.Lock()
	asked := t.asked
	t.mu.Unlock()
	if asked != nil && q.Try == 1 {
		return asked.Password.Reveal(), nil
	}
	if q.Try > 1 && (asked == nil || asked.From != typedHere || q.Try > 3) {
		return "", errNoPassword // a stored one does not become right by being sent again
	}
	u := t.u
	u.User = q.User
	l, err := t.o.login(ctx, u)
	if err != nil {
		return "", err
	}
	if !l.HasPassword {
		return "", errNoPassword
	}
	t.mu.Lock()
	t.asked = &l
	t.mu.Unlock()
	return l.Password.Reveal(), nil
}

// typedHere is Login.From of a password that somebody was asked for.
const typedHere = "the terminal"

var errNoPassword = errors.New("no password is known: --ask-password, --password-file, DRAY_PASSWORD and ~/.netrc are where it may come from")

// path is a path as the server takes it. Relative ones begin where the session does
// (filexfer-02, 6.2); nobody waits to hear where that is.
func (t *sftpTree) path(p string) string {
	if p == "" {
		return "."
	}
	return p
}

var _ Homed = (*sftpTree)(nil)

// Home asks the server, once for each connection.
func (t *sftpTree) Home(ctx context.Context) (home string, err error) {
	err = t.do(ctx, func(c *sftpclient.Client) error {
		home, err = c.Home(ctx)
		return err
	})
	return home, err
}

func (t *sftpTree) Traits(ctx context.Context) (Traits, error) {
	c, err := t.session(ctx)
	if err != nil {
		return Traits{}, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	tr := Traits{Times: true, DirsOnly: true, Modes: true, Links: true, Overlap: true}
	if t.conn != nil {
		tr.Software = strings.TrimPrefix(t.conn.Server(), "SSH-2.0-")
	}
	tr.Dray = tr.Software == "dray" || strings.HasPrefix(tr.Software, "dray_")
	if c.HasSums() {
		tr.Sums = []string{"sha512", "sha256", "sha1", "md5"}
	}
	return tr, nil
}

func (t *sftpTree) List(ctx context.Context, dir string) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		c, err := t.session(ctx)
		if err != nil {
			yield(Entry{}, err)
			return
		}
		for e, err := range c.List(ctx, t.path(dir)) {
			if err != nil {
				yield(Entry{}, err)
				return
			}
			l := told(&e.Attrs)
			l.Name = e.Name
			if f := strings.Fields(e.Long); len(f) >= 9 && len(f[0]) >= 10 {
				l.Owner, l.Group = f[2], f[3]
				l.Known |= ftp.KnownOwner
			}
			if l.Mode.Type() == fs.ModeSymlink {
				l.Target, _ = c.Readlink(ctx, path.Join(t.path(dir), e.Name))
			}
			if !yield(l, nil) {
				return
			}
		}
	}
}

// told is what attributes tell of an entry.
func told(a *sftp.Attributes) Entry {
	var e Entry
	if a.Has(sftp.HasMode) {
		e.Mode = a.FileMode()
		e.Known |= ftp.KnownType | ftp.KnownMode
	}
	if a.Has(sftp.HasSize) && a.Size < 1<<63 {
		e.Size = int64(a.Size)
		e.Known |= ftp.KnownSize
	}
	if a.Has(sftp.HasTimes) {
		e.Time, e.Step = a.ModTime(), time.Second
		e.Known |= ftp.KnownTime
	}
	if a.Has(sftp.HasOwner) {
		e.UID, e.GID = a.UID, a.GID
	}
	return e
}

func (t *sftpTree) Stat(ctx context.Context, p string) (Entry, error) {
	c, err := t.session(ctx)
	if err != nil {
		return Entry{}, err
	}
	a, err := c.Stat(ctx, t.path(p))
	if err != nil {
		return Entry{}, err
	}
	e := told(&a)
	e.Name = Base(p)
	return e, nil
}

func (t *sftpTree) Seen(ctx context.Context, p string) (Entry, error) {
	p = t.path(p)
	for e, err := range t.List(ctx, Dir(p)) {
		if err != nil {
			return Entry{}, err
		}
		if e.Name == Base(p) {
			return e, nil
		}
	}
	return Entry{}, fault.New(fault.NotFound, fault.IDNotFound, p)
}

func (t *sftpTree) Get(ctx context.Context, p string, g Get, dst transfer.Dest) (transfer.Report, error) {
	c, err := t.session(ctx)
	if err != nil {
		return transfer.Report{}, err
	}
	return c.Receive(ctx, t.path(p), g.From, g.Size, dst, g.How)
}

func (t *sftpTree) Put(ctx context.Context, p string, u Put, src vfs.File) (transfer.Report, error) {
	c, err := t.session(ctx)
	if err != nil {
		return transfer.Report{}, err
	}
	how := sftpclient.Store{Mode: u.Mode, MTime: u.Time, LeaveOpen: u.Whole}
	if u.From > 0 {
		how.How = sftpclient.Resume
	}
	rep, err := c.Send(ctx, t.path(p), how, src, u.From, u.How)
	return t.finish(ctx, c, p, u, rep, err)
}

// finish is what comes behind the bytes of a file.
func (t *sftpTree) finish(ctx context.Context, c *sftpclient.Client, p string, u Put, rep transfer.Report, err error) (transfer.Report, error) {
	if errors.Is(err, sftpclient.ErrAttributes) && rep.Whole {
		t.o.trace("-- %v", err)
		err = nil
	}
	if err == nil && u.Before != nil {
		err = u.Before(rep)
	}
	if err == nil && u.Final != "" {
		if err = c.Rename(ctx, t.path(p), t.path(u.Final)); err != nil {
			err = fmt.Errorf("%w: %w", ErrNotRenamed, err)
		}
	}
	return rep, err
}

func (t *sftpTree) Mkdir(ctx context.Context, p string) error {
	return t.do(ctx, func(c *sftpclient.Client) error { return c.Mkdir(ctx, t.path(p), 0) })
}

func (t *sftpTree) Remove(ctx context.Context, p string) error {
	return t.do(ctx, func(c *sftpclient.Client) error { return c.Remove(ctx, t.path(p)) })
}

func (t *sftpTree) RemoveDir(ctx context.Context, p string) error {
	return t.do(ctx, func(c *sftpclient.Client) error { return c.RemoveDir(ctx, t.path(p)) })
}

func (t *sftpTree) Rename(ctx context.Context, from, to string) error {
	return t.do(ctx, func(c *sftpclient.Client) error { return c.Rename(ctx, t.path(from), t.path(to)) })
}

func (t *sftpTree) Chmod(ctx context.Context, p string, mode fs.FileMode) error {
	a := sftp.Attributes{Flags: sftp.HasMode, Mode: uint32(mode.Perm())}
	return t.do(ctx, func(c *sftpclient.Client) error { return c.Setstat(ctx, t.path(p), &a) })
}

func (t *sftpTree) SetTime(ctx context.Context, p string, mtime time.Time) error {
	var a sftp.Attributes
	a.SetTimes(mtime, mtime)
	a.Flags = sftp.HasTimes
	return t.do(ctx, func(c *sftpclient.Client) error { return c.Setstat(ctx, t.path(p), &a) })
}

func (t *sftpTree) Readlink(ctx context.Context, p string) (target string, err error) {
	err = t.do(ctx, func(c *sftpclient.Client) error {
		target, err = c.Readlink(ctx, t.path(p))
		return err
	})
	return target, err
}

func (t *sftpTree) Symlink(ctx context.Context, target, p string) error {
	return t.do(ctx, func(c *sftpclient.Client) error { return c.Symlink(ctx, target, t.path(p)) })
}

func (t *sftpTree) Sum(ctx context.Context, p, algorithm string, from, to int64) (sum string, err error) {
	if to > 0 && to <= from {
		return "", fault.New(fault.BadOffset, fault.IDRange)
	}
	r := sftpclient.Range{Offset: from}
	if to > 0 {
		r.Size = to - from
	}
	err = t.do(ctx, func(c *sftpclient.Client) error {
		s, err := c.CheckFile(ctx, t.path(p), r, strings.ToLower(algorithm))
		sum = hex.EncodeToString(s.Bytes)
		return err
	})
	return sum, err
}

func (t *sftpTree) Space(ctx context.Context, dir string) (free, total uint64, err error) {
	err = t.do(ctx, func(c *sftpclient.Client) error {
		f, err := c.Space(ctx, t.path(dir))
		free, total = f.Available*f.Fragment, f.Blocks*f.Fragment
		return err
	})
	return free, total, err
}

func (t *sftpTree) do(ctx context.Context, f func(c *sftpclient.Client) error) error {
	c, err := t.session(ctx)
	if err != nil {
		return err
	}
	return f(c)
}

// manySmall is how many transfers share a connection at once: each waits for round
// trips most of its time.
const manySmall = 128

// Width is as many as wait: they share one connection.
func (t *sftpTree) Width(waiting int) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	most := manySmall
	if t.limit > 0 {
		most = t.limit
	}
	return max(min(waiting, most), 1)
}

// Expect has nothing to prepare: all share one connection.
func (t *sftpTree) Expect(context.Context, int) {}

// Refused halves what is done at once.
func (t *sftpTree) Refused() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.limit == 0 {
		t.limit = manySmall
	}
	t.limit = max(t.limit/2, 1)
}

func (t *sftpTree) Close() error {
	t.mu.Lock()
	t.closed = true
	client, conn := t.client, t.conn
	t.client, t.conn = nil, nil
	t.mu.Unlock()
	if client == nil {
		return nil
	}
	client.Flush()
	return errors.Join(conn.Close(), client.Close()) // the end of the connection is that of all in it
}
