package sftpclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"dray/explain"
	"dray/fault"
	"dray/sftp"
)

// Windows, in bytes that one transfer has under way.
const (
	// DefaultWindow is what a transfer begins with.
	DefaultWindow = 2 << 20
	// MaxWindow is what it grows to, where the way is long and fast.
	MaxWindow = 16 << 20
)

const (
	// usualData is what a READ or WRITE carries where the server tells no limits:
	// the draft has every server take packets of 34000 bytes (filexfer-02, 3).
	usualData = 32 << 10
	// usualHandles is how many files are open at once where it tells none. Servers
	// that have a limit mostly have one above 100.
	usualHandles = 128
	mostHandles  = 1 << 10
	// maxRequests is how many requests of one transfer are under way at most.
	maxRequests = 1024
	// maxPath is the length of a path in bytes that is sent.
	maxPath = 64 << 10
)

// Options are how a Client behaves; the zero value is the usual.
type Options struct {
	// Host is the server's name in messages.
	Host string
	// Window is how many bytes of one transfer are under way at its beginning; 0:
	// DefaultWindow. It is also the most when it is above MaxWindow.
	Window int
	// Handles is how many files and directories are open at once; 0: as many as the
	// server announces, or 128. Whoever wants one more waits.
	Handles int
	// Answer is how long requests may wait while nothing at all comes and nothing
	// can be sent, before the session ends with id no-answer; 0: 60 s. The end comes
	// before one and a quarter of it. What takes a server long (CLOSE after an upload)
	// has ten times as long, and copies and checksums as long as they take.
	Answer time.Duration
	// Home asks at once where the session begins.
	Home bool
	// Trace sees the dialogue.
	Trace Trace
}

// A Client is one session. All methods but Close wait for the server, end with
// the cause of their context, and may be called by any number of goroutines. Paths
// are the server's, as bytes.
//
// Errors are of package fault. What the server said of a request is found in them
// as a *StatusError.
type Client struct {
	home   *home         // nil: it was not asked at once
	learnt chan struct{} // closed when the limits are settled: limits, reads, writes

	rw      io.ReadWriteCloser
	host    string
	window  int64
	answer  time.Duration
	trace   Trace
	start   time.Time
	ext     map[string]string
	limits  sftp.Limits   // as announced, 0: not
	reads   int64         // bytes of one READ
	writes  int64         // and of one WRITE
	names   int           // of a directory at most
	handles chan struct{} // places: taken ones, and those that the limit leaves out
	left    atomic.Int64  // of these, those that are left out
	couples chan struct{} // held by who waits for two places of handles
	copies  budget
	bulk    chan struct{} // of segments that are queued and hold data

	dead  chan struct{} // closed when err is set
	last  atomic.Int64  // when something moved last, since start
	rtt   atomic.Int64  // the shortest time of a small request
	busy  atomic.Bool   // the reader hands out an answer
	ended sync.WaitGroup

	mu      sync.Mutex
	wake    sync.Cond // of the writer
	queue   []segment
	asked   map[uint32]asked
	next    uint32
	hello   *call          // waits for VERSION
	patient [patiences]int // requests under way, by patience
	head    []byte         // the first bytes that came, while no packet has
	err     error          // why the session is over
}

// New begins a session on rw by INIT. It closes rw when that fails, and Close does
// later. The questions for the limits, where the server answers them, and with
// Options.Home for where the session begins are on the way when it returns; what
// depends on their answers waits for them.
func New(ctx context.Context, rw io.ReadWriteCloser, o Options) (*Client, error) {
	c := &Client{
		rw: rw, host: o.Host, window: int64(o.Window), answer: o.Answer, trace: o.Trace, start: time.Now(),
		learnt: make(chan struct{}), ext: map[string]string{}, reads: usualData, writes: usualData, names: maxNames, bulk: make(chan struct{}, maxBulk),
		dead: make(chan struct{}), couples: make(chan struct{}, 1), asked: map[uint32]asked{},
	}
	c.wake.L = &c.mu
	if c.window <= 0 {
		c.window = DefaultWindow
	}
	if c.answer <= 0 {
		c.answer = 60 * time.Second
	}
	if c.host == "" {
		c.host = "the server"
	}
	c.ended.Go(c.read)
	c.ended.Go(c.write)
	c.ended.Go(c.watch)
	if err := c.begin(ctx); err != nil {
		c.fail(err)
		return nil, err
	}
	c.limitHandles(o.Handles)
	if o.Home {
		q := c.begun(&sftp.Request{Type: sftp.TypeRealpath, Path: []byte(".")}, sftp.TypeName, usual)
		c.home = &home{known: make(chan struct{})}
		c.ended.Go(func() {
			defer close(c.home.known)
			c.home.path, c.home.err = c.named(q.answer(context.Background(), "."))
		})
	}
	if !c.Has(sftp.ExtLimits) {
		close(c.learnt)
		return c, nil
	}
	q := c.begun(&sftp.Request{Type: sftp.TypeExtended, Extension: []byte(sftp.ExtLimits)}, sftp.TypeExtendedReply, usual)
	c.ended.Go(func() { c.learn(q, o.Handles) })
	return c, nil
}

// home is where the session begins, when it is known.
type home struct {
	known chan struct{}
	path  string
	err   error
}

// begin is INIT.
func (c *Client) begin(ctx context.Context) error {
	k := newCall(sftp.TypeVersion)
	c.hello = k // nobody else looks at it before ask
	if err := c.say(&sftp.Request{Type: sftp.TypeInit, Version: sftp.Version}); err != nil {
		return err
	}
	select {
	case <-k.done:
	case <-c.dead:
		return c.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if k.reply.Version != sftp.Version {
		return fault.New(fault.Unsupported, fault.IDUnsupported, fmt.Sprintf("SFTP version 3 (it has %d)", k.reply.Version))
	}
	for _, p := range k.reply.Pairs {
		c.ext[string(p.Name)] = string(p.Data)
	}
	return nil
}

// learn takes the limits. A server that announces them and refuses to tell has none.
func (c *Client) learn(q *pending, handles int) {
	defer close(c.learnt)
	p, err := q.answer(context.Background(), "")
	var said *StatusError
	switch {
	case err == nil:
		if c.limits, err = sftp.ParseLimits(p.Data); err != nil {
			c.fail(c.bad(err))
			return
		}
		c.reads = limit(c.limits.Read, c.limits.Packet)
		c.writes = limit(c.limits.Write, c.limits.Packet)
		c.limitHandles(handles)
	case !errors.As(err, &said):
		c.fail(err)
	}
}

// limitHandles settles how many handles there may be: n, or for 0 what the server has
// told so far.
func (c *Client) limitHandles(n int) {
	if n <= 0 {
		n = usualHandles
		if told := c.limits.Handles; told > 0 {
			n = int(min(told, mostHandles))
		}
	}
	if c.handles == nil {
		c.handles = make(chan struct{}, max(n, mostHandles))
	}
	for c.left.Load() > int64(cap(c.handles)-n) {
		<-c.handles
		c.left.Add(-1)
	}
	for c.left.Load() < int64(cap(c.handles)-n) {
		select {
		case c.handles <- struct{}{}:
			c.left.Add(1)
		case <-c.dead:
			return
		}
	}
}

// settled waits for the limits.
func (c *Client) settled(ctx context.Context) error {
	select {
	case <-c.learnt:
		return nil
	default:
	}
	select {
	case <-c.learnt:
		return nil
	case <-c.dead:
		return c.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// limit is how many bytes of data a packet has, from a limit for them and one for
// the packet, each 0 where there is none.
func limit(data, packet uint64) int64 {
	n := uint64(sftp.MaxData)
	if data > 0 {
		n = min(n, data)
	}
	if packet > 0 { // less what is in a WRITE beside its data
		n = min(n, max(packet, 2<<10)-1<<10)
	}
	return int64(max(n, 1))
}

// Has tells whether the server announced an extension.
func (c *Client) Has(name string) bool {
	_, ok := c.ext[name]
	return ok
}

// Extensions are those that the server announced, with their versions. The map
// must not be changed.
func (c *Client) Extensions() map[string]string { return c.ext }

// Limits are those that hold: bytes of a packet, a READ and a WRITE, and handles. It
// waits until the server has told them, or the session is over.
func (c *Client) Limits() sftp.Limits {
	if c.settled(context.Background()) != nil {
		return sftp.Limits{}
	}
	return sftp.Limits{Packet: sftp.MaxPacket, Read: uint64(c.reads), Write: uint64(c.writes), Handles: uint64(int64(cap(c.handles)) - c.left.Load())}
}

// Err is why the session is over, nil while it is not.
func (c *Client) Err() error {
	select {
	case <-c.dead:
		return c.err
	default:
		return nil
	}
}

// Done is closed when the session is over.
func (c *Client) Done() <-chan struct{} { return c.dead }

// closeGrace is how long Flush waits, and then Close.
const closeGrace = 500 * time.Millisecond

// Flush waits until what was asked before has been sent, for a moment.
func (c *Client) Flush() {
	sent := make(chan struct{})
	if c.enqueue(segment{sent: sent}) == nil {
		t := time.NewTimer(closeGrace)
		defer t.Stop()
		select {
		case <-sent:
		case <-c.dead:
		case <-t.C:
		}
	}
}

// Close ends the session, after what was said has been sent, and closes its
// channel. Calls that wait end. The goroutines of the session have ended when it
// returns, unless the channel or a file that is being received does not let them.
func (c *Client) Close() error {
	c.Flush()
	c.fail(fault.Because(net.ErrClosed, fault.Cut, fault.IDLost, c.host))
	ended := make(chan struct{})
	go func() {
		c.ended.Wait()
		close(ended)
	}()
	t := time.NewTimer(closeGrace)
	defer t.Stop()
	select {
	case <-ended:
	case <-t.C:
	}
	return nil
}

// fail ends the session, the first time.
func (c *Client) fail(err error) {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	c.err = err
	c.queue = nil
	c.ended.Go(func() { _ = c.rw.Close() }) // which may want to write, and nobody takes it
	close(c.dead)
	c.wake.Broadcast()
	c.mu.Unlock()
}

// lost is the end of the channel.
func (c *Client) lost(err error) error {
	var fe *fault.Error
	if errors.As(err, &fe) { // who carries us knows better
		return err
	}
	c.mu.Lock()
	begins := c.hello != nil
	c.mu.Unlock()
	if ch, ok := c.rw.(program); ok && begins && errors.Is(err, io.EOF) { // the connection below stands
		return fault.Because(&EndError{ch.Status(), ch.Printed(), err}, fault.Unsupported, fault.IDNoSFTP, c.host)
	}
	return fault.Because(err, fault.Cut, fault.IDLost, c.host)
}

// An EndError is a program of the server that ended before it said anything of SFTP.
type EndError struct {
	Status  string // how it ended; "" where that is not known
	Printed string // beside SFTP
	err     error
}

func (e *EndError) Error() string {
	text := "the program behind the subsystem ended before SFTP began"
	if e.Status != "" {
		text += ", with status " + e.Status
	}
	return text
}

func (e *EndError) Unwrap() error { return e.err }

// Said is what it printed.
func (e *EndError) Said() string { return e.Printed }

// A program is a channel that knows how the program behind it ended.
type program interface {
	Status() string  // "" where that is not known
	Printed() string // beside what is read
}

// noLogin is what a shell prints that lets nobody in (nologin(8)).
const noLogin = "account is currently not available"

// bad is what a server sends that is no SFTP. Behind it nothing can be understood.
func (c *Client) bad(err error) error {
	var text *TextError
	if errors.As(err, &text) && strings.Contains(text.Text, noLogin) {
		return fault.Because(err, fault.Unsupported, fault.IDNoSFTP, c.host)
	}
	if text != nil {
		return fault.Because(err, fault.Cut, fault.IDSFTPNoise)
	}
	return fault.Because(err, fault.Cut, fault.IDBadReply, c.host, "SFTP")
}

// A TextError is text where SFTP was expected: what a login script of the server
// printed, mostly.
type TextError struct{ Text string }

func (e *TextError) Error() string { return fmt.Sprintf("it sends text: %q", e.Text) }

// Said is that text.
func (e *TextError) Said() string { return e.Text }

// headBytes is how much of the first bytes is kept to be shown.
const headBytes = 256

// noPacket is what the bytes are that begin no packet: text, or else err.
func noPacket(head []byte, err error) error {
	letters := 0
	length := head[:min(len(head), 4)] // where a length should be, of which the first byte is 0
	for _, b := range length {
		switch {
		case b >= ' ' && b < 0x7f, strings.IndexByte("\r\n\t\a\x1b", b) >= 0:
			letters++
		case b < 0x80:
			return err
		}
	}
	if 2*letters < len(length) {
		return err
	}
	s := strings.TrimSpace(clean(string(head[:min(len(head), headBytes)])))
	if s == "" {
		return err
	}
	return &TextError{s}
}

// known is one entry of explain for an id with its facts by name.
func known(err error, kind fault.Kind, id fault.ID, facts map[string]any) *fault.Error {
	e := fault.Because(err, kind, id)
	if en, ok := explain.For(id); ok {
		for _, name := range en.HereFacts {
			e.Facts = append(e.Facts, facts[name])
		}
	}
	return e
}
