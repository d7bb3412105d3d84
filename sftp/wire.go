package sftp

import "encoding/binary"

// A reader takes values off the front of a packet. What is missing makes it bad,
// and everything after that is zero.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) take(n int) []byte {
	if r.bad || n > len(r.b) {
		r.bad = true
		return nil
	}
	b := r.b[:n:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) uint32() uint32 {
	if b := r.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (r *reader) uint64() uint64 {
	if b := r.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// bytes is a string of the wire, within the packet.
func (r *reader) bytes() []byte {
	n := r.uint32()
	if uint64(n) > uint64(len(r.b)) { // before it becomes an int, which may have 32 bits
		r.bad = true
		return nil
	}
	return r.take(int(n))
}

func (r *reader) string() string { return string(r.bytes()) }

// handle is a string of the wire that keeps MaxHandle.
func (r *reader) handle() []byte {
	h := r.bytes()
	if len(h) > MaxHandle {
		r.bad = true
		return nil
	}
	return h
}

// rest is all that is left.
func (r *reader) rest() []byte { return r.take(len(r.b)) }

func (r *reader) err() error {
	if r.bad {
		return ErrMalformed
	}
	return nil
}

func appendUint32(b []byte, n uint32) []byte { return binary.BigEndian.AppendUint32(b, n) }

func appendUint64(b []byte, n uint64) []byte { return binary.BigEndian.AppendUint64(b, n) }

// appendString appends a string of the wire.
func appendString[S string | []byte](b []byte, s S) []byte {
	return append(appendUint32(b, uint32(len(s))), s...)
}

// begin appends a length that end fills in, and a type.
func begin(b []byte, t Type) (start int, _ []byte) {
	return len(b), append(b, 0, 0, 0, 0, byte(t))
}

// end fills in the length of the packet that began at start.
func end(b []byte, start int) []byte {
	binary.BigEndian.PutUint32(b[start:], uint32(len(b)-start-4))
	return b
}

// Split takes the first packet off the front of b: type and body without the
// length. When b holds no whole packet, need is how long b must be for the next
// step, at least one byte more than it is, and body is nil. ErrTooLong and ErrEmpty
// come as soon as the length has been seen.
func Split(b []byte) (body, rest []byte, need int, err error) {
	if len(b) < 4 {
		return nil, b, 4, nil
	}
	n := binary.BigEndian.Uint32(b)
	switch {
	case n == 0:
		return nil, b, 0, ErrEmpty
	case n > MaxPacket:
		return nil, b, 0, ErrTooLong
	case len(b) < int(n)+4:
		return nil, b, int(n) + 4, nil
	}
	return b[4 : n+4 : n+4], b[n+4:], 0, nil
}
