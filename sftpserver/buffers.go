package sftpserver

import "sync"

// buffers are lent to dialogues while bytes move.
var buffers pool

type pool struct{ p sync.Pool }

// get is a buffer of bufferBytes.
func (p *pool) get() []byte {
	if b, ok := p.p.Get().(*[]byte); ok {
		return *b
	}
	return make([]byte, bufferBytes)
}

// put takes back a buffer that get has lent, whatever its length is now. One that
// has grown meanwhile is another, and forgotten.
func (p *pool) put(b []byte) {
	if b = b[:cap(b)]; len(b) == bufferBytes {
		p.p.Put(&b)
	}
}
