package ftpclient

import (
	"context"
	"net"
	"time"

	"dray/ftp"
)

// ahead are the data ports of the transfers after the one that runs. EPSV is sent right
// behind the command of a transfer, so that the reply to it comes with the end of that:
// the next transfer begins a round trip earlier. A server of dray (EPSV NEXT) tells two
// over a distance, and the next connection is made while the transfer before it
// runs, which saves one more.
type ahead struct {
	want  bool // another transfer will come
	asked int  // how many replies have not been read
	ports []aheadPort
}

// An aheadPort is one that was asked for in advance.
type aheadPort struct {
	port   uint16         // 0: there is none
	since  time.Time      // it was told, and the connection begun
	coming <-chan arrival // nil: nobody connects to it yet
	cancel context.CancelFunc
}

// An arrival is what became of a connection that was begun in advance.
type arrival struct {
	nc  net.Conn
	err error
}

// aheadFor is how long a port is used that was asked for in advance: servers give it up
// after a time, and others may have come to it.
const aheadFor = 10 * time.Second

// Ahead says whether another transfer will come behind the next operation, soon. A
// server that is known to take it is then asked for the port of the next transfer in
// advance, which holds one more of its ports at times, or two.
func (c *Conn) Ahead(more bool) { c.ahead.want = more }

// aheadCommands ask for the ports of the transfers behind one that is about to begin.
// ProFTPD and Pure-FTPd answer in the middle of a transfer that they are busy; vsFTPd
// and dray take the command when the transfer is over.
func (c *Conn) aheadCommands() []ftp.Command {
	m := c.opt.Memory
	if !c.ahead.want || c.opt.Active || !c.together() || m.get(&m.epsv) == no || m.isSet(&m.noAhead) {
		return nil
	}
	next := cmd("EPSV", "NEXT")
	switch {
	case c.kind == kindDray && c.far:
		return []ftp.Command{next, next}[min(len(c.ahead.ports), 2):]
	case c.kind == kindDray:
		return []ftp.Command{next}
	case c.kind == kindVsftpd:
		return []ftp.Command{cmd("EPSV", "")}
	}
	return nil
}

// reserved takes the port of the next transfer, 0: there is none, and the server forgets
// those that it told.
func (c *Conn) reserved() (p aheadPort) {
	if len(c.ahead.ports) == 0 {
		return p
	}
	p, c.ahead.ports = c.ahead.ports[0], c.ahead.ports[1:]
	if time.Since(p.since) > aheadFor {
		p.forget()
		c.forgetAhead()
		return aheadPort{}
	}
	return p
}

// forgetAhead gives up all ports that were asked for: the next one is asked for alone,
// which makes the server forget them too.
func (c *Conn) forgetAhead() {
	for _, p := range c.ahead.ports {
		p.forget()
	}
	c.ahead.ports = nil
}

// forget closes what was connected in advance.
func (p aheadPort) forget() {
	if p.cancel != nil {
		p.cancel()
	}
}

// hearAhead reads the replies to what was asked in advance. What they say concerns the
// next transfers alone.
func (c *Conn) hearAhead(ctx context.Context) {
	if c.ahead.asked == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), min(c.opt.Timeout, 5*time.Second))
	defer cancel()
	for ; c.ahead.asked > 0; c.ahead.asked-- {
		if c.lost() != nil {
			c.ahead.asked = 0
			return
		}
		if r, err := c.final(ctx); err == nil {
			c.tookAhead(r)
		}
	}
}

// tookAhead keeps the port that a reply to EPSV tells.
func (c *Conn) tookAhead(r ftp.Reply) {
	m := c.opt.Memory
	port, err := ftp.ParseEPSVReply(r.Text)
	if r.Code != ftp.C229Extended || err != nil {
		m.mark(&m.noAhead)
		return
	}
	p := aheadPort{port: port, since: time.Now()}
	if c.kind == kindDray && c.far {
		p.coming, p.cancel = c.reach(port)
	}
	c.ahead.ports = append(c.ahead.ports, p)
}

// reach begins a connection to a port of the server. Until somebody takes it, it ends
// with the Conn, or by cancel.
func (c *Conn) reach(port uint16) (<-chan arrival, context.CancelFunc) {
	coming := make(chan arrival)
	ctx, cancel := context.WithCancel(c.life)
	go func() {
		nc, err := c.dialTo(ctx, "tcp", c.target(port), addrOf(c.raw.LocalAddr()), c.opt.DataWait)
		select {
		case coming <- arrival{nc, err}:
		case <-ctx.Done():
			if err == nil {
				_ = nc.Close()
			}
		}
	}()
	return coming, cancel
}

// reachAhead is the data connection to a port that was asked for in advance.
func (c *Conn) reachAhead(ctx context.Context, p aheadPort) (*dataConn, error) {
	if p.coming == nil {
		return c.connect(ctx, p.port, c.opt.DataWait)
	}
	defer p.cancel()
	select {
	case a := <-p.coming:
		return c.reached(ctx, c.target(p.port), a.nc, a.err, p.since, c.opt.DataWait)
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-c.life.Done():
		return nil, c.lost()
	}
}
