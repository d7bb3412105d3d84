package transfer

import "bytes"

// toWire writes src to dst with every LF that follows no CR as CRLF, and returns
// how many bytes that were. afterCR says that the byte before src was a CR; the
// second result says the same for the next call. dst has room for two times src.
// It may share src's memory when src begins at or behind dst[len(src)]: what is
// written never overtakes what is read.
//
// RFC 959, 3.1.1.1: lines end in CRLF on the wire.
func toWire(dst, src []byte, afterCR bool) (int, bool) {
	n := 0
	for len(src) > 0 {
		i := bytes.IndexByte(src, '\n')
		if i < 0 {
			afterCR = src[len(src)-1] == '\r'
			return n + copy(dst[n:], src), afterCR
		}
		if i > 0 {
			afterCR = src[i-1] == '\r'
		}
		n += copy(dst[n:], src[:i])
		if !afterCR {
			dst[n] = '\r'
			n++
		}
		dst[n] = '\n'
		n++
		src, afterCR = src[i+1:], false
	}
	return n, afterCR
}

// fromWire turns every CRLF in b into LF, in place, and returns how many bytes
// are left. Every other CR stays, one at the end too.
func fromWire(b []byte) int {
	n, r := 0, 0
	for {
		i := bytes.IndexByte(b[r:], '\r')
		if i < 0 {
			return n + copy(b[n:], b[r:])
		}
		n += copy(b[n:], b[r:r+i])
		r += i + 1
		if r == len(b) || b[r] != '\n' {
			b[n] = '\r'
			n++
		}
	}
}
