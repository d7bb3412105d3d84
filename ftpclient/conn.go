package ftpclient

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"dray/account"
	"dray/fault"
	"dray/ftp"
)

// A TLSMode says how a connection is encrypted.
type TLSMode int

// The modes.
const (
	// TLSPrefer asks for TLS by AUTH TLS, always. Where the server refuses it, the
	// dialogue goes on in clear text for an anonymous login and with Options.Plain.
	TLSPrefer TLSMode = iota
	// TLSRequire goes on in clear text for nobody.
	TLSRequire
	// TLSImplicit is TLS from the first byte.
	TLSImplicit
	// TLSOff does not ask for TLS. A password needs Options.Plain.
	TLSOff
)

// Options are how to connect. Only Addr is needed; zero durations are the defaults
// named here.
type Options struct {
	// Addr is the host and port to connect to.
	Addr string
	// Host is the name that the certificate must be for and that messages name; "":
	// the host of Addr.
	Host string
	// Network is "tcp4" or "tcp6" for one family of addresses; "": both, the faster
	// one wins (RFC 8305).
	Network string

	User     string // "": anonymous
	Password account.Secret
	Account  string // for servers that answer 332 (RFC 959, 4.1.1)

	Mode TLSMode
	// Plain lets the password, the names and the data go in clear text where the
	// server has no TLS.
	Plain bool
	// TLS says whom to trust. It is cloned; ServerName is Host where it is empty, and
	// sessions are kept for this connection alone. Data connections are verified as
	// the control connection is. nil: the roots of the system.
	TLS *tls.Config

	// Dial makes connections, of control and data; nil: a net.Dialer. Its *fault.Error
	// are returned as they are.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Proxied says that the connections of Dial end at a proxy: their addresses are
	// not those of the server.
	Proxied bool

	Connect   time.Duration // for the control connection; 10 s
	Greeting  time.Duration // for the first bytes; as Connect
	Handshake time.Duration // of TLS on the control connection, in which somebody may be asked; as Timeout
	Timeout   time.Duration // for each reply, and without a byte in a transfer; 60 s
	DataWait  time.Duration // for a data connection; 10 s
	Slow      time.Duration // for a checksum, which the server reads a file for; 15 min
	Keepalive time.Duration // NOOP during transfers after so much silence; 60 s, below 0 never

	// Active makes the server connect to us: at ActiveIP, or the address that we have
	// towards it, and a port in ActivePorts, first and last, or any.
	Active      bool
	ActiveIP    netip.Addr
	ActivePorts [2]uint16

	// Charset is how the server writes names, "latin1" or "shift_jis"; "": UTF-8,
	// and other bytes as they are.
	Charset string

	// Memory is shared by all connections to one host; nil: one of its own.
	Memory *Memory
	// OneByOne sends no command before the reply to the last one.
	OneByOne bool
	// NoReuse begins a TLS session of its own on each data connection, as programs do
	// that know no better: many servers refuse that.
	NoReuse bool
	// Ahead is what Conn.Ahead says, from the login on.
	Ahead bool
	// Greeted is called behind the greeting, before AUTH TLS; only Quote and Greeting are
	// of use then. nil: nobody is.
	Greeted func(ctx context.Context, c *Conn)
	Trace   *Trace
}

// A Conn is one control connection, logged in. It does one thing at a time, for
// one goroutine; only Close may be called by another. Every method may wait for
// the server as long as Options.Timeout for each reply, and ends at once when its
// context does; after that, and after every lost or confused connection, Err says
// why it can't be used any more.
type Conn struct {
	opt        Options
	host, port string
	anonymous  bool

	raw     net.Conn // the socket
	under   *under   // what TLS has of it
	nc      net.Conn // raw, or TLS over it
	remote  netip.Addr
	rd      *ftp.ReplyReader
	ask     chan struct{}
	got     chan answer
	asking  bool            // a reply was asked for and is not taken yet
	life    context.Context // ends with Close
	stop    context.CancelFunc
	ending  sync.Once
	why     atomic.Pointer[error]
	busy    atomic.Bool
	counted bool
	heard   time.Time

	tls    *tls.Config // of this connection and its data; nil in clear text
	prot   bool        // data goes over TLS
	greets ftp.Reply
	enters ftp.Reply
	kind   serverKind
	feat   ftp.Features
	system string // of SYST, asked for when needed
	names  *charset
	far    bool   // a round trip takes long
	text   byte   // TYPE in force: 'A', 'I', 0 unknown
	cwd    string // as PWD said, "" unknown
	hash   string // of OPTS HASH
	noMLSD bool
	owed   int // replies to NOOP that are still to come
	ahead  ahead
}

func (o *Options) complete() error {
	or := func(v *time.Duration, d time.Duration) {
		if *v == 0 {
			*v = d
		}
	}
	or(&o.Connect, 10*time.Second)
	or(&o.Greeting, o.Connect)
	or(&o.Timeout, 60*time.Second)
	or(&o.Handshake, o.Timeout)
	or(&o.DataWait, 10*time.Second)
	or(&o.Slow, 15*time.Minute)
	or(&o.Keepalive, 60*time.Second)
	if o.Memory == nil {
		o.Memory = &Memory{}
	}
	if o.User == "" {
		o.User = "anonymous"
	}
	if o.Network == "" {
		o.Network = "tcp"
	}
	return nil
}

// Dial connects, begins TLS, logs in and settles how the two sides talk. An error
// says at which step it failed; nothing is left open then.
func Dial(ctx context.Context, opt Options) (*Conn, error) {
	c, err := Open(ctx, opt)
	if err != nil {
		return nil, err
	}
	if err := c.Login(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// Open connects and begins TLS as Dial does, and does not log in. Until Login only
// Quote, Greeting, TLS, the addresses and Close are of use.
func Open(ctx context.Context, opt Options) (*Conn, error) {
	if err := opt.complete(); err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(opt.Addr)
	if err != nil {
		return nil, fault.Because(err, fault.Syntax, fault.IDDNS, opt.Addr)
	}
	c := &Conn{
		opt: opt, host: opt.Host, port: port,
		ask: make(chan struct{}, 1), got: make(chan answer, 1),
		ahead: ahead{want: opt.Ahead},
	}
	c.life, c.stop = context.WithCancel(context.Background())
	if c.host == "" {
		c.host = host
	}
	name := strings.ToLower(opt.User)
	c.anonymous = name == "anonymous" || name == "ftp"
	if c.names, err = newCharset(opt.Charset); err != nil {
		return nil, err
	}
	for _, s := range []string{opt.User, opt.Password.Reveal(), opt.Account} {
		if !ftp.NameOK(s) {
			return nil, fault.New(fault.BadName, fault.IDBadName, "the name or the password of the login")
		}
	}
	if opt.Mode == TLSOff && !c.clear() {
		return nil, fault.New(fault.NeedTLS, fault.IDTLSMissing, c.host)
	}
	if opt.Mode != TLSOff {
		c.tls = clientTLS(opt.TLS, c.host)
	}
	if err := c.dial(ctx); err != nil {
		return nil, err
	}
	if err := c.begin(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// Login logs in, once, and settles how the two sides talk. After an error the
// connection is only good for Close.
func (c *Conn) Login(ctx context.Context) error {
	settled, err := c.login(ctx)
	if err == nil && !settled {
		err = c.settle(ctx)
	}
	if err != nil {
		return err
	}
	c.opt.Memory.entered()
	c.counted = true
	return nil
}

// clear tells whether the login may go in clear text.
func (c *Conn) clear() bool {
	return c.opt.Mode != TLSRequire && c.opt.Mode != TLSImplicit && (c.opt.Plain || c.anonymous)
}

// clientTLS is what control and data connections share. A server name is needed
// also where nobody verifies it: sessions are kept by it, and without one by
// address and port, under which no data connection finds them.
func clientTLS(of *tls.Config, host string) *tls.Config {
	cfg := of.Clone()
	if cfg == nil {
		cfg = &tls.Config{}
	}
	if cfg.ServerName == "" {
		cfg.ServerName = host
	}
	if cfg.MinVersion == 0 {
		cfg.MinVersion = tls.VersionTLS12
	}
	if verify := cfg.VerifyConnection; verify != nil {
		cfg.VerifyConnection = func(cs tls.ConnectionState) error {
			if err := verify(cs); err != nil {
				return &distrust{err}
			}
			return nil
		}
	}
	cfg.ClientSessionCache = &session{}
	cfg.DynamicRecordSizingDisabled = true
	return cfg
}

// distrust marks what the caller's verification said.
type distrust struct{ err error }

func (e *distrust) Error() string { return e.err.Error() }
func (e *distrust) Unwrap() error { return e.err }

// distrusted is what the verification said, nil when it is not why err is there.
func distrusted(err error) error {
	var no *distrust
	var cert *tls.CertificateVerificationError
	switch {
	case errors.As(err, &no):
		return no.err
	case errors.As(err, &cert):
		return err
	}
	return nil
}

// A session is that of the control connection and its successors. crypto/tls
// forgets one when a handshake that offered it fails; here that is mostly a data
// connection whose command was refused meanwhile, and servers that require a
// resumed session would refuse all that come after it.
type session struct {
	mu   sync.Mutex
	last *tls.ClientSessionState
}

func (s *session) Get(string) (*tls.ClientSessionState, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last, s.last != nil
}

func (s *session) Put(_ string, cs *tls.ClientSessionState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if cs != nil {
		s.last = cs
	}
}

// dialTo makes one connection. local is the address to come from, if any.
func (c *Conn) dialTo(ctx context.Context, network, addr string, local netip.Addr, wait time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, wait, errSlow)
	defer cancel()
	if c.opt.Dial != nil {
		return c.opt.Dial(ctx, network, addr)
	}
	d := net.Dialer{KeepAlive: -1} // data connections end soon
	if local.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(local, 0))
	}
	return d.DialContext(ctx, network, addr)
}

// farAway is the round trip from which on it pays to trust a server that is known to
// take commands at once before it has shown so. On machines that are busy tests want more.
var farAway = 5 * time.Millisecond

// errSlow is a connection that took too long.
var errSlow net.Error = slow{}

type slow struct{}

func (slow) Error() string   { return "no answer in time" }
func (slow) Timeout() bool   { return true }
func (slow) Temporary() bool { return true }

// dial makes the control connection.
func (c *Conn) dial(ctx context.Context) error {
	began := time.Now()
	nc, err := c.dialTo(ctx, c.opt.Network, c.opt.Addr, netip.Addr{}, c.opt.Connect)
	c.far = time.Since(began) > farAway
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return c.unreached(err, time.Since(began))
	}
	if tcp, ok := nc.(*net.TCPConn); ok {
		_ = tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 30 * time.Second, Count: 4})
	}
	c.raw, c.nc = nc, nc
	if !c.opt.Proxied {
		c.remote = addrOf(nc.RemoteAddr())
	}
	c.opt.Trace.connected(nc.RemoteAddr().String())
	return nil
}

// unreached sorts the failure of the control connection after so long.
func (c *Conn) unreached(err error, tried time.Duration) error {
	port, _ := strconv.Atoi(c.port)
	if e := fault.Unreached(err, c.host, port, tried); e != nil {
		return e
	}
	return fault.Because(err, fault.Unreachable, fault.IDLost, c.host)
}

// addrOf is the address of a, the zero Addr when it has none.
func addrOf(a net.Addr) netip.Addr {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

// SaysDray tells whether the greeting is that of a server of dray.
func (c *Conn) SaysDray() bool { return c.kind == kindDray }

// Known tells whether the greeting names a server that is known here.
func (c *Conn) Known() bool { return c.kind != kindOther }

// Err is why the connection can't be used any more, nil while it can.
func (c *Conn) Err() error { return c.lost() }

// closed tells whether Close was called.
func (c *Conn) closed() bool {
	select {
	case <-c.life.Done():
		return true
	default:
		return false
	}
}

// Close ends the connection without a word, and what runs on it.
func (c *Conn) Close() error {
	var err error
	c.ending.Do(func() {
		c.stop()
		_ = c.raw.SetDeadline(time.Now().Add(2 * time.Second)) // a TLS close says so to the peer
		err = c.nc.Close()
		if c.counted {
			c.opt.Memory.left()
		}
	})
	return err
}

// Quit says goodbye, waits shortly for the answer, and closes.
func (c *Conn) Quit(ctx context.Context) error {
	if c.enter() == nil {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		_, _ = c.do(ctx, "QUIT", "")
		cancel()
		c.leave()
	}
	return c.Close()
}

// Host is the name under which messages know the server.
func (c *Conn) Host() string { return c.host }

// Greeting and Welcome are what the server said at first, and after the login.
func (c *Conn) Greeting() ftp.Reply { return c.greets }

// Welcome is the reply to the login.
func (c *Conn) Welcome() ftp.Reply { return c.enters }

// Features are those that the server named to FEAT.
func (c *Conn) Features() ftp.Features { return c.feat }

// TLS is the state of the control connection's TLS, false in clear text.
func (c *Conn) TLS() (tls.ConnectionState, bool) {
	if t, ok := c.nc.(*tls.Conn); ok {
		return t.ConnectionState(), true
	}
	return tls.ConnectionState{}, false
}

// Protected tells whether data goes over TLS.
func (c *Conn) Protected() bool { return c.prot }

// LocalAddr and RemoteAddr are those of the control connection.
func (c *Conn) LocalAddr() net.Addr { return c.raw.LocalAddr() }

// RemoteAddr is the other end of the control connection, which may be a proxy.
func (c *Conn) RemoteAddr() net.Addr { return c.raw.RemoteAddr() }
