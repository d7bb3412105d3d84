package transfer

import (
	"sync"
	"sync/atomic"
)

// Sizes of buffers, in bytes. With few transfers large buffers save system
// calls; with many, what counts is that together they stay small.
const (
	largeBuffer = 256 << 10
	smallBuffer = 64 << 10
	lineBuffer  = 32 << 10
	headBuffer  = 16 << 10 // of what an upload begins with
	// trainBuffer holds four full records: 16 KiB each, with header, nonce,
	// padding and tag (RFC 5246, 6.2.3 allows 2 KiB of them, the suites that
	// crypto/tls has need less than 256 bytes).
	trainBuffer = 4 * (16<<10 + 256)

	// crowd is how many transfers make it a crowd: from so many on, buffers are
	// small.
	crowd = 32
)

// The pools hold pointers so that putting a buffer back allocates nothing.
var (
	largeBuffers = sync.Pool{New: newBuffer(largeBuffer)}
	smallBuffers = sync.Pool{New: newBuffer(smallBuffer)}
	lineBuffers  = sync.Pool{New: newBuffer(lineBuffer)}
	headBuffers  = sync.Pool{New: newBuffer(headBuffer)}
	trainBuffers = sync.Pool{New: newBuffer(trainBuffer)}
	holders      atomic.Int64 // transfers that hold a buffer from borrow
)

func newBuffer(sizeBytes int) func() any {
	return func() any {
		b := make([]byte, sizeBytes)
		return &b
	}
}

func takeBuffer(pool *sync.Pool) *[]byte { return pool.Get().(*[]byte) }

// borrow returns the buffer of one transfer, to be given back.
func borrow() *[]byte {
	if holders.Add(1) >= crowd {
		return takeBuffer(&smallBuffers)
	}
	return takeBuffer(&largeBuffers)
}

func giveBack(b *[]byte) {
	holders.Add(-1)
	if len(*b) == smallBuffer {
		smallBuffers.Put(b)
	} else {
		largeBuffers.Put(b)
	}
}
