package ftpserver

import (
	"context"
	"crypto/tls"
	"encoding/binary"
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

// A records hands crypto/tls no byte beyond the record that it is reading.
// crypto/tls reads as much as there is: it would swallow what comes in clear
// text behind close_notify, and nobody could wait for the next record but it,
// whose wait needs a stack of twice the size (see serve).
type records struct {
	net.Conn
	ending bool // close_notify was sent: the peer may go on in clear text at any record

	head  [5]byte // type, version, length (RFC 8446, 5.1)
	n     int     // bytes of head that were read
	given int     // bytes of head that crypto/tls has
	left  int     // bytes of the body that were not read
	first bool    // head[0] is no record but the first byte in clear text
	over  bool    // the socket has ended
	err   error   // of await, for the next Read
}

// await waits for the beginning of a record, unless one has begun.
func (r *records) await() {
	if r.left == 0 && r.n == 0 && !r.first && r.err == nil {
		r.err = r.more()
	}
}

// more reads the head of a record, or the beginning of it.
func (r *records) more() error {
	want := r.head[r.n:]
	if r.ending && r.n == 0 {
		want = want[:1]
	}
	n, err := r.Conn.Read(want)
	r.over = r.over || err == io.EOF
	if r.ending && r.n == 0 && n == 1 && (want[0] < 0x14 || want[0] > 0x18) { // RFC 8446, B.1; no command begins so
		r.first = true
		return errClear
	}
	r.n += n
	return err
}

// errClear says that the peer went on in clear text without close_notify, as
// curl does with --ftp-ssl-ccc-mode passive.
var errClear = errors.New("clear text in place of a TLS record")

func (r *records) Read(b []byte) (int, error) {
	if r.first {
		return 0, errClear
	}
	if len(b) == 0 {
		return 0, nil
	}
	if r.left > 0 {
		n, err := r.Conn.Read(b[:min(r.left, len(b))])
		r.over = r.over || err == io.EOF
		r.left -= n
		return n, err
	}
	if err := r.err; err != nil && r.given == r.n {
		r.err = nil
		return 0, err
	}
	var err error
	if r.given == r.n {
		err = r.more()
	}
	n := copy(b, r.head[r.given:r.n])
	if r.given += n; r.given == len(r.head) {
		r.n, r.given, r.left = 0, 0, int(binary.BigEndian.Uint16(r.head[3:]))
	}
	return n, err
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
