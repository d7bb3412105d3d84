package ftpclient

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"time"

	"dray/fault"
	"dray/ftp"
	"dray/transfer"
)

// A dataConn is one data connection, or the listener for one in active mode.
type dataConn struct {
	raw    net.Conn
	secure *transfer.Secure // nil in clear text
	l      net.Listener
}

// conn is what data goes over.
func (d *dataConn) conn() net.Conn {
	if d.secure != nil {
		return d.secure
	}
	return d.raw
}

// reset ends the connection so that nobody can take what came over it for the
// whole: no close_notify, no FIN.
func (d *dataConn) reset() {
	if d == nil {
		return
	}
	if d.l != nil {
		_ = d.l.Close()
	}
	if d.raw == nil {
		return
	}
	if tcp, ok := d.raw.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = d.raw.Close()
}

// close ends the connection behind its last byte.
func (d *dataConn) close() {
	if d.secure != nil {
		_ = d.raw.SetWriteDeadline(time.Now().Add(2 * time.Second))
		_ = d.secure.Close()
		return
	}
	_ = d.raw.Close()
}

// closeWrite says that all was sent, and leaves reading open: under TLS by
// close_notify, then by FIN. Where the socket has no half, it is closed.
func (d *dataConn) closeWrite() error {
	if d.secure != nil {
		_ = d.raw.SetWriteDeadline(time.Now().Add(10 * time.Second))
		if err := d.secure.CloseWrite(); err != nil {
			return err
		}
	}
	if half, ok := d.raw.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	if d.secure == nil {
		return d.raw.Close()
	}
	return nil
}

// drain reads what the server still sends on an upload, which is nothing, or
// session tickets, and closes. A close with bytes unread would reset the
// connection, and with it the end of the file.
func (d *dataConn) drain() {
	_ = d.raw.SetReadDeadline(time.Now().Add(15 * time.Second))
	buf := make([]byte, 512)
	for range 64 {
		if _, err := d.conn().Read(buf); err != nil {
			break
		}
	}
	_ = d.raw.Close()
}

// passive agrees on a port of the server and connects to it; without EPSV where first is
// what came of that.
func (c *Conn) passive(ctx context.Context, first error) (*dataConn, error) {
	c.forgetAhead() // as the server does
	m := c.opt.Memory
	six := c.remote.Is6()
	if first == nil && (six || m.get(&m.epsv) != no) {
		r, err := c.do(ctx, "EPSV", "")
		if err != nil {
			return nil, err
		}
		d, err := c.epsv(ctx, r)
		if err == nil {
			return d, nil
		}
		if !c.another(err, r) {
			return nil, err
		}
		first = err
	}
	if first != nil {
		c.opt.Trace.note("EPSV does not work here: PASV")
	}
	r, err := c.do(ctx, "PASV", "")
	if err != nil {
		return nil, err
	}
	d, err := c.pasv(ctx, r)
	if err != nil {
		if first != nil && unreached(first) && fault.Of(err).ID != fault.IDPool {
			return nil, first
		}
		return nil, err
	}
	if first != nil {
		m.set(&m.epsv, no)
	}
	return d, nil
}

// another tells whether PASV may do what EPSV did not: the server does not know
// it, or a router lets only those ports through that it has read in a 227.
func (c *Conn) another(err error, r ftp.Reply) bool {
	m := c.opt.Memory
	if c.remote.Is6() || c.lost() != nil || m.get(&m.epsv) == yes {
		return false
	}
	switch id := fault.Of(err).ID; {
	case unreached(err):
		return c.tls == nil
	case id == fault.IDPool || r.Code == ftp.C421Closing:
		return false
	}
	return r.Code >= 400 || r.Code == ftp.C229Extended
}

// unreached tells whether a data port of the server could not be connected to.
func unreached(err error) bool {
	id := fault.Of(err).ID
	return id == fault.IDDataBlocked || id == fault.IDUnpublished
}

// epsv connects to where the reply to EPSV says.
func (c *Conn) epsv(ctx context.Context, r ftp.Reply) (*dataConn, error) {
	if r.Code != ftp.C229Extended {
		return nil, c.refusedPort(cmd("EPSV", ""), r)
	}
	port, err := ftp.ParseEPSVReply(r.Text)
	if err != nil {
		return nil, fault.Because(c.replyError(cmd("EPSV", ""), r), fault.NoData, fault.IDNoDataPort)
	}
	m := c.opt.Memory
	wait := c.opt.DataWait
	if m.get(&m.epsv) == unknown && c.tls == nil && !c.remote.Is6() {
		wait /= 2 // the other half is for PASV
	}
	d, err := c.connect(ctx, port, wait)
	if err == nil {
		m.set(&m.epsv, yes)
	}
	return d, err
}

// pasv connects to the port that the reply to PASV says, at the address of the
// control connection: another one is of a network behind the server's router, or
// somebody else's, whom we would be made to knock at.
func (c *Conn) pasv(ctx context.Context, r ftp.Reply) (*dataConn, error) {
	if r.Code != ftp.C227Passive {
		return nil, c.refusedPort(cmd("PASV", ""), r)
	}
	a, err := ftp.ParsePASVReply(r.Text)
	if err != nil {
		return nil, fault.Because(c.replyError(cmd("PASV", ""), r), fault.NoData, fault.IDNoDataPort)
	}
	if c.remote.IsValid() && a.Addr() != c.remote && c.opt.Memory.misled(a.Addr()) {
		c.opt.Trace.note("the server tells " + a.Addr().String() + " for its data: " + c.remote.String() + " is used")
	}
	return c.connect(ctx, a.Port(), c.opt.DataWait)
}

func (c *Conn) refusedPort(cmd ftp.Command, r ftp.Reply) error {
	if r.Code == ftp.C425NoData || r.Code == 500 || r.Code == ftp.C421Closing {
		if says(text(r), portWords...) {
			return fault.Because(c.replyError(cmd, r), fault.NoData, fault.IDPool)
		}
	}
	if r.Code == 500 || r.Code == 502 || r.Code == 522 || r.Code == 501 {
		return fault.Because(c.replyError(cmd, r), fault.NoData, fault.IDNoDataPort)
	}
	return c.refused(cmd, r, "")
}

// target is where a data port of the server is.
func (c *Conn) target(port uint16) string {
	if c.remote.IsValid() {
		return netip.AddrPortFrom(c.remote, port).String()
	}
	host, _, _ := net.SplitHostPort(c.opt.Addr)
	return net.JoinHostPort(host, strconv.Itoa(int(port)))
}

// connect opens a data connection to a port of the server, from the address that
// the control connection comes from: servers compare them.
func (c *Conn) connect(ctx context.Context, port uint16, wait time.Duration) (*dataConn, error) {
	to := c.target(port)
	start := time.Now()
	nc, err := c.dialTo(ctx, "tcp", to, addrOf(c.raw.LocalAddr()), wait)
	return c.reached(ctx, to, nc, err, start, wait)
}

// reached makes what a dial has given a data connection, or sorts its error.
func (c *Conn) reached(ctx context.Context, to string, nc net.Conn, err error, start time.Time, wait time.Duration) (*dataConn, error) {
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if errors.Is(err, syscall.ECONNREFUSED) {
			return nil, fault.Because(err, fault.NoData, fault.IDUnpublished, to)
		}
		if time.Since(start) < wait/2 { // no way there
			return nil, fault.Because(err, fault.NoData, fault.IDDataBlocked)
		}
		return nil, fault.Because(err, fault.NoData, fault.IDDataBlocked, to, seconds(c.opt.DataWait))
	}
	c.opt.Trace.data(to)
	return &dataConn{raw: nc}, nil
}

// active listens and tells the server where.
func (c *Conn) active(ctx context.Context) (*dataConn, error) {
	local := addrOf(c.raw.LocalAddr())
	l, err := listenIn(local, c.opt.ActivePorts)
	if err != nil {
		return nil, fault.Because(err, fault.NoData, fault.IDNoDataPort)
	}
	d := &dataConn{l: l}
	tell := netip.AddrPortFrom(local, l.Addr().(*net.TCPAddr).AddrPort().Port())
	if c.opt.ActiveIP.IsValid() {
		tell = netip.AddrPortFrom(c.opt.ActiveIP.Unmap(), tell.Port())
	}
	m := c.opt.Memory
	var r ftp.Reply
	if tell.Addr().Is6() || m.get(&m.eprt) != no {
		step := cmd("EPRT", ftp.FormatEPRT(tell))
		if r, err = c.do(ctx, step.Verb, step.Arg); err != nil {
			d.reset()
			return nil, err
		}
		switch {
		case r.Code < 300:
			m.set(&m.eprt, yes)
			return d, nil
		case tell.Addr().Is6() || r.Code < 500:
			d.reset()
			return nil, c.refused(step, r, "")
		}
	}
	step := cmd("PORT", ftp.FormatPort(tell))
	if r, err = c.do(ctx, step.Verb, step.Arg); err == nil && r.Code >= 300 {
		err = fault.Because(c.replyError(step, r), fault.NoData, fault.IDNoDataPort)
	}
	if err != nil {
		d.reset()
		return nil, err
	}
	m.set(&m.eprt, no)
	return d, nil
}

// listenIn listens at one of ports, first and last; zeros are any.
func listenIn(at netip.Addr, ports [2]uint16) (net.Listener, error) {
	var l net.Listener
	err := errors.New("no address to listen at")
	first, last := int(ports[0]), max(int(ports[0]), int(ports[1]))
	begin := 0
	if last > first { // not always the same one first: it may be in use still
		begin = int(time.Now().UnixNano()/1000) % (last - first + 1)
	}
	for i := range last - first + 1 {
		port := first + (begin+i)%(last-first+1)
		if l, err = net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(at, uint16(port)))); err == nil {
			return l, nil
		}
	}
	return nil, err
}

// come waits for the server's connection. A stranger does not take its place.
func (c *Conn) come(d *dataConn) (net.Conn, error) {
	for range 1000 {
		nc, err := d.l.Accept()
		if err != nil {
			return nil, err
		}
		if from := addrOf(nc.RemoteAddr()); c.remote.IsValid() && from != c.remote {
			_ = nc.Close()
			continue
		}
		return nc, nil
	}
	return nil, errors.New("too many strangers at our data port")
}

// A start is what became of the beginning of a data connection.
type start struct {
	raw    net.Conn
	secure *transfer.Secure
	err    error
	tls    bool // the error is of the handshake
}

// ready makes d one that data can go over: it accepts in active mode, and does the
// handshake, beside the wait for the opening reply, because some servers do it
// before that and some behind.
func (c *Conn) ready(ctx context.Context, d *dataConn) <-chan start {
	out := make(chan start, 1)
	if d.raw != nil && !c.prot {
		out <- start{raw: d.raw}
		return out
	}
	go func() {
		s := start{raw: d.raw}
		if s.raw == nil {
			if s.raw, s.err = c.come(d); s.err != nil {
				out <- s
				return
			}
		}
		if c.prot {
			cfg := c.tls
			if c.opt.NoReuse {
				cfg = cfg.Clone()
				cfg.ClientSessionCache = nil
			}
			s.secure = transfer.Client(s.raw, cfg)
			if s.err = s.secure.HandshakeContext(ctx); s.err != nil {
				s.tls = true
			}
		}
		out <- s
	}()
	return out
}

// opening waits for the data connection and for the reply that opens the transfer.
// final is a reply that ended it already. After an error d is closed.
//
// Servers that are known to take it get an upload as soon as the connection is there:
// opened is the zero Reply then, and may still come. One that refuses the upload has no
// use for what came.
func (c *Conn) opening(ctx context.Context, d *dataConn, x exchange) (opened, final ftp.Reply, err error) {
	command, path := x.command, x.path
	early := x.upload && command.Verb == "STOR" && !c.opt.Active && (c.kind == kindDray || c.kind == kindVsftpd)
	inner, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	coming := c.ready(inner, d)
	settled := false
	defer func() {
		if err == nil {
			return
		}
		cancel(err)
		d.reset()
		if !settled { // it ends now, and what it made must not be left open
			go func() {
				if s := <-coming; s.raw != nil {
					_ = s.raw.Close()
				}
			}()
		}
	}()
	timer := time.NewTimer(c.opt.Timeout)
	defer timer.Stop()
	blocked := time.NewTimer(c.opt.DataWait)
	defer blocked.Stop()
	if d.l == nil {
		blocked.Stop()
	}
	var failed error // of the data connection; the server's words explain it
	for {
		c.listen()
		var got <-chan answer = c.got
		if final.Code != 0 {
			got = nil
		}
		select {
		case a := <-got:
			r, err := c.take(a)
			switch {
			case err != nil:
				return opened, final, err
			case r.Code < 200:
				opened = r
			case r.Code < 300:
				final = r
			case opened.Code != 0 && !settled && (r.Code == ftp.C426Cut || r.Code == ftp.C451Local) && !x.upload:
				// The transfer broke off so soon that we have not looked at the data
				// connection yet. What is in it is worth to be kept.
				final = r
				timer.Reset(min(c.opt.Timeout, 2*time.Second))
			default:
				err := c.refused(command, r, path)
				if !settled && c.prot && (r.Code == ftp.C425NoData || r.Code == ftp.C522DataTLS || r.Code == ftp.C426Cut) {
					// A handshake that we refused may be why the server gave up.
					select {
					case s := <-coming:
						settled, d.raw = true, s.raw
						if no := distrusted(s.err); no != nil {
							err = no
						}
					case <-time.After(200 * time.Millisecond):
					}
				}
				return opened, r, err
			}
		case s := <-coming:
			settled, coming = true, nil
			if s.err != nil {
				if s.raw != nil {
					_ = s.raw.Close()
				}
				if ctx.Err() != nil {
					return opened, final, context.Cause(ctx)
				}
				if failed = c.untrusted(s.err, fault.IDTLSData); distrusted(s.err) != nil {
					return opened, final, failed
				}
				if final.Code >= 300 {
					return opened, final, c.refused(command, final, path)
				}
				timer.Reset(min(c.opt.Timeout, 5*time.Second))
				break
			}
			d.raw, d.secure = s.raw, s.secure
			if d.l != nil {
				_ = d.l.Close()
				c.opt.Trace.data(s.raw.RemoteAddr().String())
			}
			blocked.Stop()
			if s.secure != nil {
				c.opt.Trace.tls(StepData, s.secure.ConnectionState())
			}
		case <-ctx.Done():
			return opened, final, context.Cause(ctx)
		case <-blocked.C:
			return opened, final, fault.New(fault.NoData, fault.IDActiveBlock, seconds(c.opt.DataWait))
		case <-timer.C:
			if final.Code >= 300 {
				return opened, final, c.refused(command, final, path)
			}
			if failed != nil {
				return opened, final, failed
			}
			return opened, final, c.lose(c.silent(c.opt.Timeout))
		case <-c.life.Done():
			return opened, final, c.lost()
		}
		if failed != nil && final.Code != 0 {
			return opened, final, failed
		}
		if failed == nil && settled && (early || opened.Code != 0 || final.Code != 0) {
			return opened, final, nil
		}
	}
}
