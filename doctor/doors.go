package doctor

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"dray/remote"
	"dray/screen"
)

// A state is what became of a connection to a port.
type state int

const (
	closed state = iota // not looked at, or not reached: door.why
	open
)

// What a port may speak.
const (
	speaksFTP = "FTP"
	speaksSSH = "SSH"
	speaksTLS = "FTP over implicit TLS"
)

// A door is a port, seen from outside.
type door struct {
	state  state
	why    string // where it is closed
	speaks string // "" for something else, or nothing
	said   string // its first line
}

func (d door) String() string {
	switch {
	case d.state != open && d.why != "":
		return d.why
	case d.state != open:
		return "not looked at"
	case d.speaks == speaksTLS:
		return speaksTLS
	case d.said != "":
		return d.said
	}
	return "open and silent"
}

// noKnock is why nobody connects to an address that a server at reached has told for its
// data, in the words that follow the address; "" where it may be done. A server could
// have anybody knocked at from here: so it may point out, never further in than it is
// itself, and to no port of a service.
func noKnock(told netip.AddrPort, reached netip.Addr) string {
	a := told.Addr().Unmap()
	depth := func(a netip.Addr) int {
		switch {
		case a.IsLoopback():
			return 2
		case a.IsPrivate(), shared.Contains(a):
			return 1
		}
		return 0
	}
	switch {
	case a.IsUnspecified(), a.IsMulticast(), a == broadcast, a.IsLinkLocalUnicast():
		return "which is no address to connect to"
	case depth(a) > depth(reached) && a.IsLoopback():
		return "which is each machine itself"
	case depth(a) > depth(reached):
		return "which is an address of the network behind it"
	case told.Port() < 1024:
		return "and port " + strconv.Itoa(int(told.Port())) + ", which is another service's"
	}
	return ""
}

var (
	shared    = netip.MustParsePrefix("100.64.0.0/10") // RFC 6598
	broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})
)

// knock connects to a port and hears who is there. Nothing is said, but for the port of
// implicit TLS, where a handshake begins.
func (p *patient) knock(all context.Context, port int) door {
	ctx, cancel := context.WithTimeout(all, p.times.data)
	defer cancel()
	dial := p.o.Remote.Dial
	if dial == nil {
		dial = (*remote.Proxies)(nil).DialContext
	}
	network := p.o.Remote.Network
	if network == "" {
		network = "tcp"
	}
	c, err := dial(ctx, network, net.JoinHostPort(p.host, strconv.Itoa(port)))
	switch {
	case err == nil:
	case errors.Is(context.Cause(all), errNoTime):
		return door{why: "no time"}
	case all.Err() != nil:
		return door{why: "interrupted"}
	default:
		return door{why: reason(err)}
	}
	defer func() { _ = c.Close() }()
	end, _ := ctx.Deadline()
	_ = c.SetDeadline(end.Add(time.Second))
	if port == remote.FTPS.Port() {
		t := tls.Client(c, &tls.Config{InsecureSkipVerify: true, ServerName: p.u.Host}) // nothing is said but hello
		err := t.HandshakeContext(ctx)
		var record tls.RecordHeaderError
		switch {
		case err == nil:
			return door{state: open, speaks: speaksTLS}
		case errors.As(err, &record) && strings.HasPrefix(string(record.RecordHeader[:]), "220"):
			return door{state: open, speaks: speaksFTP, said: "speaks FTP in clear text"}
		}
		return door{state: open}
	}
	buf := make([]byte, 512)
	n, _ := c.Read(buf)
	line, _, _ := strings.Cut(string(buf[:n]), "\n")
	d := door{state: open, said: screen.Line(strings.TrimSpace(line))}
	switch {
	case strings.HasPrefix(line, "SSH-"):
		d.speaks = speaksSSH
	case strings.HasPrefix(line, "220"), strings.HasPrefix(line, "120"):
		d.speaks = speaksFTP
	}
	return d
}
