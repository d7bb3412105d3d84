package ftpserver

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"time"

	"dray/fault"
	"dray/ftp"
)

// CCC takes the control connection back to clear text (RFC 2228, 3; RFC 4217,
// 12.3), for firewalls that must read PORT and PASV. From then on anybody on the
// way can add commands, so it is offered where a listener allows it and nowhere
// else.

func cccCommands() []command {
	return []command{
		{verb: "CCC", arg: argNone, phase: phaseIn, run: (*conn).ccc, feat: underTLS("CCC"), by: "CCC", help: "take this connection back to clear text", rfc: "RFC 4217, 12.3"},
	}
}

// ccc answers under TLS, ends TLS with close_notify, and goes on in clear text on
// the same socket. PROT stays as it is, so does the login; a new one is on its
// own, and there is no way back to TLS.
func (c *conn) ccc(context.Context, string) (ftp.Reply, error) {
	t, ok := c.nc.(*tls.Conn)
	switch {
	case !ok: // RFC 2228, 3: CCC itself must be protected
		return ftp.Replyf(ftp.C533, "There is no TLS on this connection that could end. [%s]", fault.IDTLSMissing), nil
	case c.rd.Buffered() > 0 || c.hasQueue():
		// They came under TLS, and what comes behind them would not.
		return ftp.Replyf(ftp.C503Sequence, "Other commands came behind CCC. Wait for its reply before the next one. [%s]", fault.IDSequence), nil
	}
	if err := c.write(ftp.Replyf(ftp.C200OK, "TLS ends on this connection.")); err != nil {
		c.quit = true
		return ftp.Reply{}, nil
	}
	err := t.CloseWrite()
	_ = c.raw.SetWriteDeadline(time.Time{}) // crypto/tls leaves one in the past
	if err != nil {
		c.log.Info("CCC failed", "error", err)
		c.quit = true
		return ftp.Reply{}, nil
	}
	c.log.Info("control connection in clear text from here on", "verb", "CCC")
	c.records.ending = true
	c.nc = &cleartext{Conn: c.raw, records: c.records, tls: t}
	c.rd = ftp.NewReader(c.nc)
	c.tlsOn, c.cleared = false, true
	return ftp.Reply{}, nil
}

// A cleartext is the control connection after CCC: written at once in clear text,
// read in clear text from where the peer has ended TLS too. The peer's
// close_notify is waited for where its next command is, because some never send
// it.
type cleartext struct {
	net.Conn // the socket
	records  *records
	tls      *tls.Conn // nil: the peer's TLS is over
}

var errBehindCCC = errors.New("a command under TLS after CCC")

func (k *cleartext) Read(b []byte) (int, error) {
	if k.tls != nil {
		var one [1]byte
		n, err := k.tls.Read(one[:])
		switch {
		case n > 0:
			return 0, fault.Because(errBehindCCC, fault.Cut, fault.IDSequence)
		case errors.Is(err, errClear), err == io.EOF && !k.records.over:
			k.tls = nil
		default:
			return 0, err
		}
	}
	if len(b) > 0 && k.records.first {
		k.records.first = false
		b[0] = k.records.head[0]
		return 1, nil
	}
	return k.records.Conn.Read(b)
}

// CloseWrite ends this side.
func (k *cleartext) CloseWrite() error {
	if t, ok := k.Conn.(interface{ CloseWrite() error }); ok {
		return t.CloseWrite()
	}
	return nil
}
