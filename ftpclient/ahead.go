package ftpclient

import (
	"context"
	"time"

	"dray/ftp"
)

// ahead is the data port of the transfer after the one that runs. EPSV is sent right
// behind the command of a transfer, so that the reply to it comes with the end of that:
// the next transfer begins a round trip earlier.
type ahead struct {
	want  bool // another transfer will come
	asked bool // EPSV was sent, and its reply has not been read
	port  uint16
	since time.Time // port was told
}

// aheadFor is how long a port is used that was asked for in advance: servers give it up
// after a time, and others may have come to it.
const aheadFor = 10 * time.Second

// Ahead says whether another transfer will come behind the next operation, soon. A
// server that is known to take it is then asked for the port of the next transfer in
// advance, which holds one more of its ports at times.
func (c *Conn) Ahead(more bool) { c.ahead.want = more }

// asksAhead tells whether the port of the next transfer is to be asked for now. ProFTPD
// and Pure-FTPd answer in the middle of a transfer that they are busy; vsFTPd and dray
// take the command when the transfer is over.
func (c *Conn) asksAhead() bool {
	m := c.opt.Memory
	return c.ahead.want && (c.kind == kindDray || c.kind == kindVsftpd) && c.together() &&
		!c.opt.Active && m.get(&m.epsv) != no && !m.isSet(&m.noAhead)
}

// reserved takes the port that was asked for in advance, 0: there is none.
func (c *Conn) reserved() uint16 {
	port := c.ahead.port
	c.ahead.port = 0
	if time.Since(c.ahead.since) > aheadFor {
		return 0
	}
	return port
}

// hearAhead reads the reply to an EPSV that was sent in advance. What it says concerns
// the next transfer alone.
func (c *Conn) hearAhead(ctx context.Context) {
	if !c.ahead.asked {
		return
	}
	c.ahead.asked = false
	if c.lost() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), min(c.opt.Timeout, 5*time.Second))
	defer cancel()
	if r, err := c.final(ctx); err == nil {
		c.tookAhead(r)
	}
}

// tookAhead keeps the port that a reply to EPSV tells.
func (c *Conn) tookAhead(r ftp.Reply) {
	port, err := ftp.ParseEPSVReply(r.Text)
	if r.Code != ftp.C229Extended || err != nil {
		c.opt.Memory.mark(&c.opt.Memory.noAhead)
		return
	}
	c.ahead.port, c.ahead.since = port, time.Now()
}
