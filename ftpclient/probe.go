package ftpclient

import (
	"context"
	"net"
	"net/netip"
	"time"

	"dray/fault"
	"dray/ftp"
)

// A Port is a passive data port that the server has told. It is good until the server
// is asked for another one, or for a transfer.
type Port struct {
	Reply ftp.Reply
	// Told is what stands in the reply; the address is the zero one behind EPSV, which
	// tells none (RFC 2428, 3).
	Told netip.AddrPort
	// Used is where a transfer would connect to: the same port, at the address of the
	// control connection. The zero one behind a proxy, where that is not known.
	Used netip.AddrPort
}

// Passive asks for a data port by verb, EPSV or PASV, as a transfer does, and connects
// to nothing. A refusal is the error that the transfer would have.
func (c *Conn) Passive(ctx context.Context, verb string) (Port, error) {
	if err := c.enter(); err != nil {
		return Port{}, err
	}
	defer c.leave()
	c.forgetAhead()
	r, err := c.do(ctx, verb, "")
	if err != nil {
		return Port{}, err
	}
	p := Port{Reply: r}
	if r.Code != ftp.C227Passive && r.Code != ftp.C229Extended {
		return p, c.refusedPort(cmd(verb, ""), r)
	}
	if r.Code == ftp.C229Extended {
		port, err := ftp.ParseEPSVReply(r.Text)
		if err != nil {
			return p, fault.Because(c.replyError(cmd(verb, ""), r), fault.NoData, fault.IDNoDataPort)
		}
		p.Told = netip.AddrPortFrom(netip.Addr{}, port)
	} else if p.Told, err = ftp.ParsePASVReply(r.Text); err != nil {
		return p, fault.Because(c.replyError(cmd(verb, ""), r), fault.NoData, fault.IDNoDataPort)
	}
	if c.remote.IsValid() {
		p.Used = netip.AddrPortFrom(c.remote, p.Told.Port())
	}
	return p, nil
}

// Reach connects to a data port as a transfer does, at most as long as wait. The error
// is that of the dialer. It may be called while the connection does something else.
func (c *Conn) Reach(ctx context.Context, to netip.AddrPort, wait time.Duration) (net.Conn, error) {
	return c.dialTo(ctx, "tcp", to.String(), addrOf(c.raw.LocalAddr()), wait)
}
