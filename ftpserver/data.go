package ftpserver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"dray/accept"
	"dray/fault"
	"dray/ftp"
	"dray/transfer"
)

// Ports is one passive range, shared by all listeners. A port is held by one
// reservation at a time; never is one given out that is outside the range.
type Ports struct {
	First, Last uint16

	mu       sync.Mutex
	held     map[uint16]netip.Addr // by the client
	lacked   int                   // how often there was none
	lackedAt time.Time
}

// NewPorts makes the range from first to last, both included.
func NewPorts(first, last uint16) *Ports {
	return &Ports{First: first, Last: last, held: map[uint16]netip.Addr{}}
}

func (p *Ports) String() string { return fmt.Sprintf("%d-%d", p.First, p.Last) }

// A reservation is one passive port with its listener, for one connection.
type reservation struct {
	ports *Ports
	port  uint16
	l     *net.TCPListener
	told  netip.AddrPort // what the client was told
	idle  *time.Timer    // gives it back when nobody uses it
	once  sync.Once

	n      int // the number of its attempt
	closed atomic.Bool
}

// fairRange is the size from which on a range is shared: no client's address may
// hold more than half of it.
const fairRange = 200

// passive listens for one data connection: plain TCP, where package net would make
// a Multipath TCP socket, and without keepalive probes, because a transfer ends by
// itself when nothing moves.
var passive = func() net.ListenConfig {
	lc := net.ListenConfig{KeepAlive: -1}
	lc.SetMultipathTCP(false)
	return lc
}()

// reserve listens on a random free port of the range, for a client. Kind NoData,
// id pool-exhausted, at once when there is none.
func (p *Ports) reserve(addr, client netip.Addr) (*reservation, error) {
	n := int(p.Last) - int(p.First) + 1
	start := rand.N(n)
	var last error
	for i := range n {
		port := p.First + uint16((start+i)%n)
		if taken, full := p.take(port, client, n); full {
			break
		} else if taken {
			continue
		}
		l, err := passive.Listen(context.Background(), "tcp", netip.AddrPortFrom(addr, port).String())
		if err == nil {
			r := &reservation{ports: p, port: port, l: l.(*net.TCPListener)}
			r.idle = time.AfterFunc(reservationLife, r.release)
			return r, nil
		}
		p.free(port)
		if last = err; !errors.Is(err, syscall.EADDRINUSE) && !errors.Is(err, syscall.EACCES) {
			// Out of descriptors, say: another port would not help.
			return nil, fault.Because(err, fault.NoData, fault.IDInternal)
		}
	}
	p.mu.Lock()
	p.lacked, p.lackedAt = p.lacked+1, time.Now()
	p.mu.Unlock()
	return nil, fault.Because(last, fault.NoData, fault.IDPool, p.String())
}

// A PoolUse is how a passive range is used.
type PoolUse struct {
	Size, Held int
	Lacked     int       // how often a client got none
	Last       time.Time // when the last time
}

// Use is how the range is used now.
func (p *Ports) Use() PoolUse {
	p.mu.Lock()
	defer p.mu.Unlock()
	return PoolUse{Size: int(p.Last) - int(p.First) + 1, Held: len(p.held), Lacked: p.lacked, Last: p.lackedAt}
}

// take books a port for a client; taken when somebody has it, full when the
// client has its share.
func (p *Ports) take(port uint16, client netip.Addr, n int) (taken, full bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, taken := p.held[port]; taken {
		return true, false
	}
	if n >= fairRange && len(p.held) >= n/2 { // counted only when it can matter
		own := 0
		for _, c := range p.held {
			if c == client {
				own++
			}
		}
		if own >= n/2 {
			return false, true
		}
	}
	p.held[port] = client
	return false, false
}

func (p *Ports) free(port uint16) {
	p.mu.Lock()
	delete(p.held, port)
	p.mu.Unlock()
}

func (r *reservation) release() {
	r.once.Do(func() {
		r.closed.Store(true)
		_ = r.l.Close()
		r.ports.free(r.port)
	})
}

// A dataPlan is how the next data connection comes about: one passive
// reservation, or an address of the client.
type dataPlan struct {
	passive *reservation
	later   []*reservation // of EPSV NEXT: for the transfers behind the next one
	active  netip.AddrPort
	n       int          // the number of the attempt of active
	client  bool         // this side is TLS client (CPSV)
	after   func()       // what is left to do once the final reply is out
	spent   *reservation // that of a command which was refused; see spend
}

// maxLater is how many ports a client may have asked for in advance.
const maxLater = 2

// spentLife is how long a refused client may need to hear of it.
const spentLife = 10 * time.Second

// spend ends the plan of a command that was refused before its data connection. The
// port stays open until the next command: a client under TLS that has connected
// already would take the reset of its handshake for the failure, and not hear the
// reply (curl reports a bad PASV). EPSV NEXT is sent before the reply is heard, with a
// connection to that port perhaps still on its way: it must not come to one who is
// given the port next.
func (d *dataPlan) spend() {
	d.forget()
	if r := d.passive; r != nil {
		d.passive = nil
		if r.idle.Stop() {
			d.spent = r
			time.AfterFunc(spentLife, r.release)
		} else { // it was waited for already, or has run out just now
			r.release()
		}
	}
	d.over()
}

// forget closes the port of a command that was refused.
func (d *dataPlan) forget() {
	if d.spent != nil {
		d.spent.release()
		d.spent = nil
	}
}

// used ends the plan of a transfer, which may still try something else.
func (d *dataPlan) used() {
	if d.passive != nil {
		d.passive.idle.Stop()
		d.passive.release()
	}
	d.passive, d.active, d.client = nil, netip.AddrPort{}, false
}

// over is the end of a transfer: the port that was asked for in advance is that of the
// next one.
func (d *dataPlan) over() {
	d.used()
	if len(d.later) > 0 {
		d.passive, d.later = d.later[0], d.later[1:]
	}
}

// release ends all plans.
func (d *dataPlan) release() {
	for d.used(); len(d.later) > 0; d.used() {
		d.over()
	}
}

func (d *dataPlan) made() bool { return d.passive != nil || d.active.IsValid() }

// reservationLife is how long a passive port waits for a transfer command.
const reservationLife = 2 * time.Minute

// offer reserves a passive port on the address that the client has reached, in place of
// what was planned.
func (c *conn) offer() (*reservation, error) {
	c.data.release()
	r, err := c.reserve()
	if err == nil {
		c.data.passive = r
	}
	return r, err
}

// asksNext tells whether a command is EPSV NEXT.
func asksNext(cmd ftp.Command) bool {
	if cmd.Verb != "EPSV" {
		return false
	}
	kind, err := ftp.ParseEPSV(cmd.Arg)
	return err == nil && kind == ftp.EPSVNext
}

// offerNext reserves one more port, for the transfer behind those that are planned.
func (c *conn) offerNext() (*reservation, error) {
	if !c.data.made() {
		return c.offer()
	}
	if len(c.data.later) >= maxLater {
		return nil, fault.New(fault.Sequence, fault.IDSequence, "a transfer over one of those ports")
	}
	r, err := c.reserve()
	if err == nil {
		c.data.later = append(c.data.later, r)
	}
	return r, err
}

func (c *conn) reserve() (*reservation, error) {
	if c.rules.Ports == nil {
		return nil, fault.New(fault.NotBuilt, fault.IDNotBuilt, "passive mode is off")
	}
	r, err := c.rules.Ports.reserve(c.local(), c.remote())
	if err != nil {
		if fault.Of(err).ID == fault.IDPool {
			c.server.watch.exhausted(c.rules.Ports)
		}
		return nil, err
	}
	r.told = netip.AddrPortFrom(c.local(), r.port)
	c.server.watch.offered(c.remote())
	return r, nil
}

func (c *conn) pasv(context.Context, string) (ftp.Reply, error) {
	switch {
	case c.epsvAll:
		return ftp.Reply{}, fault.New(fault.Sequence, fault.IDEpsvOnly)
	case !c.local().Is4():
		return ftp.Reply{}, fault.New(fault.WrongFamily, fault.IDPasvIPv6)
	}
	tell := c.local()
	if c.rules.Tell != nil {
		var err error
		if tell, err = c.rules.Tell(c.remote(), c.local()); err != nil {
			return ftp.Reply{}, err
		}
	}
	r, err := c.offer()
	if err != nil {
		return ftp.Reply{}, err
	}
	r.told = netip.AddrPortFrom(tell, r.port)
	r.n = c.attempts.add(byPASV, r.told)
	c.server.watch.told(c.remote(), tell)
	// No other digits before the address: clients scan for them (RFC 1123, 4.1.2.6).
	return ftp.Replyf(ftp.C227Passive, "Entering Passive Mode %s.", ftp.FormatPASV(r.told)), nil
}

func (c *conn) epsv(_ context.Context, arg string) (ftp.Reply, error) {
	kind, err := ftp.ParseEPSV(arg)
	switch {
	case errors.Is(err, ftp.ErrFamily), kind == ftp.EPSV4 && !c.local().Is4(), kind == ftp.EPSV6 && c.local().Is4():
		return ftp.Reply{}, fault.New(fault.WrongFamily, fault.IDFamily, c.families())
	case err != nil:
		return ftp.Reply{}, fault.Because(err, fault.Syntax, fault.IDSyntax, "EPSV, EPSV 1, EPSV 2, EPSV ALL or EPSV NEXT")
	case kind == ftp.EPSVAll: // RFC 2428, 4: every other set-up command is refused from now on
		c.epsvAll = true
		return ftp.Replyf(ftp.C200OK, "Only EPSV from now on."), nil
	}
	offer := c.offer
	if kind == ftp.EPSVNext {
		offer = c.offerNext
	}
	r, err := offer()
	if err != nil {
		return ftp.Reply{}, err
	}
	r.n = c.attempts.add(byEPSV, r.told)
	return ftp.Replyf(ftp.C229Extended, "Entering Extended Passive Mode %s", ftp.FormatEPSV(r.port)), nil
}

// families is what RFC 2428, 2 lists in a 522: the one of this connection.
func (c *conn) families() string {
	if c.local().Is4() {
		return "1"
	}
	return "2"
}

func (c *conn) port(_ context.Context, arg string) (ftp.Reply, error) {
	a, err := ftp.ParsePort(arg)
	if err != nil {
		return ftp.Reply{}, argError(err, "PORT h1,h2,h3,h4,p1,p2", "")
	}
	return c.target(a, "PORT")
}

func (c *conn) eprt(_ context.Context, arg string) (ftp.Reply, error) {
	a, err := ftp.ParseEPRT(arg)
	if errors.Is(err, ftp.ErrFamily) || err == nil && a.Addr().Is4() != c.local().Is4() {
		return ftp.Reply{}, fault.New(fault.WrongFamily, fault.IDFamily, c.families())
	}
	if err != nil {
		return ftp.Reply{}, argError(err, "EPRT |1|192.0.2.1|50000| or EPRT |2|2001:db8::1|50000|", "")
	}
	return c.target(a, "EPRT")
}

// target takes the client's address for active mode: its own, where FXP is
// allowed that of another server, and no port of a service (RFC 2577, 3).
func (c *conn) target(a netip.AddrPort, verb string) (ftp.Reply, error) {
	// Unspecified is "the address that you see": lftp says it from ::1.
	own := a.Addr().Unmap() == c.remote().WithZone("") || a.Addr().IsUnspecified()
	why := ""
	switch {
	case c.epsvAll:
		return ftp.Reply{}, fault.New(fault.Sequence, fault.IDEpsvOnly)
	case c.rules.NoActive:
		return ftp.Reply{}, fault.New(fault.NotBuilt, fault.IDNotBuilt, "active mode is off; use passive mode")
	case !own && !c.allows("FXP"):
		why = "it is not yours"
	case !own:
		why = c.noServer(a.Addr())
	}
	if why != "" {
		c.log.Warn("data address refused", "verb", verb, "asked", a.String(), "peer", c.remote().String())
		return ftp.Reply{}, fault.New(fault.Syntax, fault.IDIllegalPort, why)
	}
	if a.Port() < 1024 {
		return ftp.Reply{}, fault.New(fault.Syntax, fault.IDIllegalPort, "its port is below 1024")
	}
	c.data.release()
	c.data.active = netip.AddrPortFrom(c.remote(), a.Port()) // with the zone of a link-local one
	if !own {
		c.data.active = netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
		c.log.Info("data to another server", "verb", verb, "to", c.data.active.String())
	}
	w := byPORT
	if verb == "EPRT" {
		w = byEPRT
	}
	c.data.n = c.attempts.add(w, c.data.active)
	return ftp.Replyf(ftp.C200OK, "Active mode."), nil
}

// A dataConn is an open data connection; Conn is raw, or TLS over it.
type dataConn struct {
	net.Conn
	raw    *net.TCPConn
	secure *transfer.Secure // nil in clear text
	client bool             // this side is TLS client
}

// finish ends a connection whose bytes have all gone over: close_notify, FIN.
func (d *dataConn) finish(ctx context.Context) {
	d.closeWrite()
	if d.client {
		// The other server may have sent tickets that nobody has read: a close
		// would reset the connection and take the tail of the file along. So its
		// end is waited for.
		_, _ = transfer.Discard(ctx, d.raw, 64<<10, 5*time.Second)
	}
	_ = d.raw.Close()
}

func (d *dataConn) closeWrite() {
	if d.secure != nil {
		_ = d.raw.SetWriteDeadline(time.Now().Add(5 * time.Second))
		_ = d.secure.CloseWrite()
	}
	_ = d.raw.CloseWrite()
}

// abort ends a connection so that the peer can't take what came for the whole:
// a reset, and no close_notify.
func (d *dataConn) abort() {
	_ = d.raw.SetLinger(0)
	_ = d.raw.Close()
}

// connect opens the planned data connection.
func (c *conn) connect(ctx context.Context) (*net.TCPConn, error) {
	if c.data.passive != nil {
		return c.accept(ctx)
	}
	return c.dial(ctx)
}

// accept waits for the client at the reserved port. A stranger who comes first
// does not take the slot.
func (c *conn) accept(ctx context.Context) (*net.TCPConn, error) {
	r, seen := c.data.passive, c.attempt()
	l := r.l
	r.idle.Stop()
	_ = l.SetDeadline(time.Now().Add(c.rules.DataWait))
	stop := context.AfterFunc(ctx, func() { _ = l.SetDeadline(longAgo) })
	defer stop()
	for {
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
		nc, err := l.AcceptTCP()
		if err == nil {
			from := accept.AddrPort(nc.RemoteAddr())
			if from.Addr() == c.remote() {
				r.release()
				seen.ends(came, from)
				c.server.watch.arrived(c.remote())
				return nc, nil
			}
			if c.mayCome() {
				r.release()
				seen.ends(came, from)
				c.log.Info("data connection from another server", "from", from.String(), "peer", c.remote().String())
				return nc, nil
			}
			c.log.Warn("stranger on a data port", "reason", string(fault.IDDataPeer), "from", from.String(), "peer", c.remote().String())
			_ = nc.Close()
			seen.stranger = from
			continue
		}
		if cause := context.Cause(ctx); cause != nil {
			return nil, cause
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return nil, fault.Because(err, fault.NoData, fault.IDNoDataPort) // the reservation had run out
		}
		seen.ends(nobody, seen.from)
		c.look([]*attempt{seen})
		c.server.watch.nobody(c.remote(), r.told, seen.seen == seenSYN, c.rules.Ports, c.log)
		return nil, fault.New(fault.NoData, fault.IDDataBlocked, r.told.String(), int(c.rules.DataWait/time.Second))
	}
}

// dial connects to the client, from the data port where the process may bind it
// (RFC 959, 3.2): some firewalls let only that in.
func (c *conn) dial(ctx context.Context) (*net.TCPConn, error) {
	to, own := c.data.active, c.local()
	if to.Addr() != c.remote() { // another server: the way to it may begin at another address
		own = netip.IPv6Unspecified()
		if to.Addr().Is4() {
			own = netip.IPv4Unspecified()
		}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, c.rules.DataWait, os.ErrDeadlineExceeded)
	defer cancel()
	try := func(port uint16) (net.Conn, error) {
		d := net.Dialer{
			LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(own, port)), Control: reuseAddress,
			KeepAlive: -1,
		}
		return d.DialContext(ctx, "tcp", to.String())
	}
	nc, err := try(c.rules.ActivePort)
	if c.rules.ActivePort != 0 && (errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, syscall.EADDRNOTAVAIL)) {
		c.server.watch.highPort(c.rules.ActivePort, err)
		nc, err = try(0)
	}
	if err == nil {
		c.attempt().ends(came, accept.AddrPort(nc.LocalAddr()))
		c.server.watch.active(c.remote(), to, nil)
		return nc.(*net.TCPConn), nil
	}
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, os.ErrDeadlineExceeded) {
		return nil, cause
	}
	why, end := "no route", unreachable
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		why, end = "connection refused", refused
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), errors.Is(err, syscall.ETIMEDOUT):
		why, end = fmt.Sprintf("no answer in %d s", int(c.rules.DataWait/time.Second)), nobody
	}
	c.attempt().ends(end, netip.AddrPort{})
	c.server.watch.active(c.remote(), to, err)
	return nil, fault.Because(err, fault.NoData, fault.IDActiveBlock, to.String(), why)
}

// secure does the TLS handshake of a data connection. The server is TLS server
// in active mode too (RFC 4217, 7), unless SSCN or CPSV said otherwise. Another
// server has no session of the control connection, so none is required of it.
func (c *conn) secure(ctx context.Context, d *dataConn, upload bool) error {
	id := c.visit.ID()
	account, from := c.session.Account().Name, c.remote()
	seen := c.attempt()
	cfg := dataTLS(c.tlsCfg, id, c.rules.Session, upload, func(of string) bool {
		good := c.server.tickets.vouches(of, account, from)
		switch {
		case of == "":
			seen.ticket = ticketUnreadable
		case of == id && good:
			seen.ticket = ticketOwn
		case good:
			seen.ticket = ticketAccount
		default:
			seen.ticket = ticketForeign
		}
		return good
	})
	s := transfer.Server(d.raw, cfg)
	if d.client = c.asClient(); d.client {
		s = transfer.Client(d.raw, peerTLS(c.tlsCfg))
	}
	_ = d.raw.SetDeadline(time.Now().Add(c.rules.DataWait))
	err := s.HandshakeContext(ctx)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		return fault.Because(err, fault.NoData, fault.IDTLSData, handshakeWhy(err))
	}
	_ = d.raw.SetDeadline(time.Time{})
	d.secure, d.Conn = s, s
	cs := s.ConnectionState()
	seen.tls, seen.resumed = cs.Version, cs.DidResume
	if d.client || cs.DidResume {
		return nil
	}
	if c.rules.Session == SessionRequire && accept.AddrPort(d.raw.RemoteAddr()).Addr() == c.remote() {
		// After the handshake: before it the client would only see the end.
		c.server.watch.noReuse(c.remote())
		return fault.New(fault.NoData, fault.IDTLSReuse)
	}
	c.log.Debug("data connection with a TLS session of its own")
	return nil
}

// handshakeWhy is what a peer may know of a failed handshake.
func handshakeWhy(err error) string {
	var alert *net.OpError
	var record tls.RecordHeaderError
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "it did not end in time"
	case errors.As(err, &record):
		return "what came was not TLS"
	case errors.As(err, &alert) && alert.Op == "remote error": // so does crypto/tls report an alert
		return "your program refused it, " + alert.Err.Error()
	case fault.KindOf(err) == fault.Cut, errors.Is(err, io.EOF):
		return "the connection was closed in the middle"
	}
	return "no agreement on version, cipher or certificate"
}
