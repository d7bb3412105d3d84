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
	askHome bool
	home    string // where the session begins, with askHome
	homeErr error

	rw      io.ReadWriteCloser
	host    string
	window  int64
	answer  time.Duration
	trace   Trace
	start   time.Time
	ext     map[string]string
	limits  sftp.Limits // as announced, 0: not
	reads   int64       // bytes of one READ
	writes  int64       // and of one WRITE
	names   int         // of a directory at most
	handles chan struct{}
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

// New begins a session on rw: INIT, and the question for limits where the server
// answers it. It closes rw when that fails, and Close does later.
func New(ctx context.Context, rw io.ReadWriteCloser, o Options) (*Client, error) {
	c := &Client{
		rw: rw, host: o.Host, window: int64(o.Window), answer: o.Answer, trace: o.Trace, start: time.Now(),
		askHome: o.Home, ext: map[string]string{}, reads: usualData, writes: usualData, names: maxNames, bulk: make(chan struct{}, maxBulk),
		dead: make(chan struct{}), asked: map[uint32]asked{},
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
	if err := c.begin(ctx, o.Handles); err != nil {
		c.fail(err)
		return nil, err
	}
	return c, nil
}

// begin is INIT and what is asked right behind it.
func (c *Client) begin(ctx context.Context, handles int) error {
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
	var home sync.WaitGroup
	defer home.Wait()
	if c.askHome {
		home.Go(func() { c.home, c.homeErr = c.Realpath(ctx, ".") }) // in the same round trip as the limits
	}
	if c.Has(sftp.ExtLimits) {
		p, err := c.do(ctx, &sftp.Request{Type: sftp.TypeExtended, Extension: []byte(sftp.ExtLimits)}, sftp.TypeExtendedReply, "")
		var said *StatusError
		switch {
		case err == nil:
			if c.limits, err = sftp.ParseLimits(p.Data); err != nil {
				return c.bad(err)
			}
			c.reads = limit(c.limits.Read, c.limits.Packet)
			c.writes = limit(c.limits.Write, c.limits.Packet)
		case !errors.As(err, &said): // one that announces it and refuses has none
			return err
		}
	}
	if handles <= 0 {
		handles = usualHandles
		if n := c.limits.Handles; n > 0 {
			handles = int(min(n, 1<<10))
		}
	}
	c.handles = make(chan struct{}, handles)
	return nil
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

// Limits are those that hold: bytes of a packet, a READ and a WRITE, and handles.
func (c *Client) Limits() sftp.Limits {
	return sftp.Limits{Packet: sftp.MaxPacket, Read: uint64(c.reads), Write: uint64(c.writes), Handles: uint64(cap(c.handles))}
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

// closeGrace is how long Close waits until what was asked before has been sent.
const closeGrace = 500 * time.Millisecond

// Close ends the session, after what was said has been sent, and closes its
// channel. Calls that wait end. The goroutines of the session have ended when it
// returns, unless the channel or a file that is being received does not let them.
func (c *Client) Close() error {
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
	return fault.Because(err, fault.Cut, fault.IDLost, c.host)
}

// bad is what a server sends that is no SFTP. Behind it nothing can be understood.
func (c *Client) bad(err error) error {
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
	for _, b := range head[:min(len(head), 4)] { // where a length should be, of which the first byte is 0
		if b < ' ' && !strings.ContainsRune("\r\n\t\a\x1b", rune(b)) {
			return err
		}
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
