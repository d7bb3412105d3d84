package ftpserver

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
)

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
