package transfer

import (
	"math"
	"sync"
	"sync/atomic"
)

// Sizes of buffers, in bytes.
const (
	smallBuffer = 64 << 10
	lineBuffer  = 32 << 10
	headBuffer  = 16 << 10 // of what an upload begins with
	// A record of TLS holds recordData bytes at most, and needs fullRecord with its
	// header, nonce, padding and tag (RFC 5246, 6.2.3 allows 2 KiB of them, the
	// suites that crypto/tls has need less than 256 bytes).
	recordData = 16 << 10
	fullRecord = recordData + 256
)

// A load is what transfers hold while there are up to most of them: with few,
// large buffers save system calls; with many, what counts is that together they
// stay small.
type load struct {
	most    int64
	records int // of TLS that a train holds

	buffers, trains sync.Pool
}

var loads = [...]*load{newLoad(8, 256<<10, 8), newLoad(math.MaxInt64, 64<<10, 4)}

func newLoad(most int64, buffer, records int) *load {
	l := &load{most: most, records: records}
	l.buffers.New, l.trains.New = newBuffer(buffer), newBuffer(records*fullRecord)
	return l
}

// The pools hold pointers so that putting a buffer back allocates nothing.
var (
	smallBuffers = sync.Pool{New: newBuffer(smallBuffer)}
	lineBuffers  = sync.Pool{New: newBuffer(lineBuffer)}
	headBuffers  = sync.Pool{New: newBuffer(headBuffer)}
	holders      atomic.Int64 // transfers that hold a buffer from borrow
)

func newBuffer(sizeBytes int) func() any {
	return func() any {
		b := make([]byte, sizeBytes)
		return &b
	}
}

func takeBuffer(pool *sync.Pool) *[]byte { return pool.Get().(*[]byte) }

// loadNow is that of so many transfers as there are.
func loadNow() *load {
	n := holders.Load()
	for _, l := range loads {
		if n <= l.most {
			return l
		}
	}
	return nil
}

// trains is the pool for a write of so many bytes: not more than it needs, because
// who reads nothing holds its train for long.
func trains(bytes int) *load {
	if l := loads[len(loads)-1]; bytes <= l.records*recordData {
		return l
	}
	return loadNow()
}

// A loan is the buffer of one transfer, to be given back. Its size changes with
// the load.
type loan struct {
	from *load
	buf  *[]byte
}

func borrow() loan {
	holders.Add(1)
	l := loadNow()
	return loan{l, takeBuffer(&l.buffers)}
}

// fit exchanges the buffer, whose content is lost, where the load is another one
// by now, and returns it.
func (n *loan) fit() []byte {
	if l := loadNow(); l != n.from {
		n.from.buffers.Put(n.buf)
		n.from, n.buf = l, takeBuffer(&l.buffers)
	}
	return *n.buf
}

func (n *loan) giveBack() {
	holders.Add(-1)
	n.from.buffers.Put(n.buf)
}
