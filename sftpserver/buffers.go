package sftpserver

import (
	"sync"
	"sync/atomic"

	"dray/sftp"
)

// Lengths of the buffers that are lent while bytes move.
const (
	// bufferBytes holds the largest packet. As much is read at a time, and replies are
	// sent when as much has come together.
	bufferBytes = sftp.MaxPacket + 1024
	// crowdBytes is used in its place when many connections move bytes, as far as the
	// packets fit.
	crowdBytes = 66 << 10
	// replyBytes holds replies without data.
	replyBytes = 20 << 10
)

// crowd is how many connections make it.
const crowd = 16

// rushing is how many wires have a buffer.
var rushing atomic.Int64

// bulkBytes is the length of a buffer for bytes that come or go in large pieces.
func bulkBytes() int {
	if rushing.Load() > crowd {
		return crowdBytes
	}
	return bufferBytes
}

// buffers are lent to wires and dialogues. A pool holds pointers to arrays, because
// a slice in it would be garbage each time.
var buffers pool

type pool struct{ large, middle, small sync.Pool }

// get is a buffer of at least n bytes, which are no more than bufferBytes.
func (p *pool) get(n int) []byte {
	switch {
	case n <= replyBytes:
		if b, ok := p.small.Get().(*[replyBytes]byte); ok {
			return b[:]
		}
		return make([]byte, replyBytes)
	case n <= crowdBytes:
		if b, ok := p.middle.Get().(*[crowdBytes]byte); ok {
			return b[:]
		}
		return make([]byte, crowdBytes)
	}
	if b, ok := p.large.Get().(*[bufferBytes]byte); ok {
		return b[:]
	}
	return make([]byte, bufferBytes)
}

// put takes back a buffer that get has lent, whatever its length is now. One that
// has grown meanwhile is another, and forgotten.
func (p *pool) put(b []byte) {
	switch b = b[:cap(b)]; len(b) {
	case replyBytes:
		p.small.Put((*[replyBytes]byte)(b))
	case crowdBytes:
		p.middle.Put((*[crowdBytes]byte)(b))
	case bufferBytes:
		p.large.Put((*[bufferBytes]byte)(b))
	}
}
