package serve

import (
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
	"time"
)

const (
	calmAfter = 2 * time.Second // without an event
	wasteful  = 2 << 20         // bytes of garbage and of free memory that a collection is worth
)

// A calm gives the memory of a busy time back to the system when that is over.
// The collector would leave as much garbage as there are live objects, and the
// stacks of a thousand logins, to a server that makes no more of it.
type calm struct {
	stirred atomic.Int64 // when, in nanoseconds since begun
	awaited atomic.Bool
}

var begun = time.Now()

// stir tells that something has happened.
func (c *calm) stir() {
	c.stirred.Store(int64(time.Since(begun)))
	if !c.awaited.Load() && c.awaited.CompareAndSwap(false, true) {
		time.AfterFunc(calmAfter, c.look)
	}
}

func (c *calm) look() {
	last := c.stirred.Load()
	if left := calmAfter - (time.Since(begun) - time.Duration(last)); left > 0 {
		time.AfterFunc(left, c.look)
		return
	}
	c.awaited.Store(false)
	if c.stirred.Load() != last { // between the two, when nobody awaited it
		c.stir()
		return
	}
	if waste() > wasteful {
		debug.FreeOSMemory()
	}
}

// waste is what the heap holds and does not need.
func waste() int64 {
	s := []metrics.Sample{
		{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/unused:bytes"},
		{Name: "/memory/classes/heap/free:bytes"}, {Name: "/gc/heap/live:bytes"},
	}
	metrics.Read(s)
	return int64(s[0].Value.Uint64()+s[1].Value.Uint64()+s[2].Value.Uint64()) - int64(s[3].Value.Uint64())
}
