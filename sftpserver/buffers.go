package sftpserver

import (
	"runtime/debug"
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

// rush counts a wire in or out.
func rush(by int64) {
	if n := rushing.Add(by); by > 0 && n == crowd+1 || by < 0 && n == crowd/2 {
		thrift.weigh()
	}
}

// thrift has the garbage collected early while there is a crowd: package ssh makes
// garbage of each packet, as much as bytes come, and a heap that may double costs as
// much as all the rest (100 uploads: 136 MB in place of 107, for an eighth of the CPU).
var thrift thrifty

type thrifty struct {
	mu  sync.Mutex
	on  bool
	was int // GOGC before
}

// thriftPercent is GOGC in a crowd.
const thriftPercent = 50

func (t *thrifty) weigh() {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch n := rushing.Load(); {
	case n > crowd && !t.on:
		t.on, t.was = true, debug.SetGCPercent(thriftPercent)
		if t.was < thriftPercent { // less already, or off
			debug.SetGCPercent(t.was)
		}
	case n <= crowd/2 && t.on: // not at once, or it would go to and fro
		t.on = false
		debug.SetGCPercent(t.was)
	}
}

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
