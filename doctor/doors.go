package doctor

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
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

// knock connects to a port and hears who is there. Nothing is said, but for the port of
// implicit TLS, where a handshake begins.
func (p *patient) knock(ctx context.Context, port int) door {
	ctx, cancel := context.WithTimeout(ctx, p.times.data)
	defer cancel()
	dial := p.o.Remote.Dial
	if dial == nil {
		dial = (*remote.Proxies)(nil).DialContext
	}
	network := p.o.Remote.Network
	if network == "" {
		network = "tcp"
	}
	c, err := dial(ctx, network, net.JoinHostPort(p.u.Host, strconv.Itoa(port)))
	if err != nil {
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
