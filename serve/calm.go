package serve

import (
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
	"time"
)

const (
	calmAfter = 2 * time.Second // without an event
	wasteful  = 2 << 20         // bytes of waste that a collection is worth
)

// A calm gives the memory of a busy time back to the system when that is over.
// The collector would leave as much garbage as there are live objects, and stacks
// as deep as a login needs, to a server that makes no more of it.
type calm struct {
	stirred atomic.Int64 // when, in nanoseconds since begun
	awaited atomic.Bool
	left    uint64 // waste behind the last look; of look alone, which awaited makes one at a time
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
	c.clean()
	c.awaited.Store(false)
	if c.stirred.Load() != last { // before that, when nobody awaited it
		c.stir()
	}
}

// clean collects where much more is wasted than the last time left behind: what
// is between live objects and of the stacks in use can't be given back.
func (c *calm) clean() (did bool) {
	now, live := waste()
	if did = now > c.left+max(wasteful, live/8); did {
		debug.FreeOSMemory()
		now, _ = waste()
		c.left = now
	}
	c.left = min(c.left, now)
	return did
}

// waste is what heap and stacks hold beside the objects that were live at the
// last collection, in bytes, and those.
func waste() (bytes, live uint64) {
	s := []metrics.Sample{
		{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/unused:bytes"}, {Name: "/memory/classes/heap/free:bytes"},
		{Name: "/memory/classes/heap/stacks:bytes"}, {Name: "/gc/heap/live:bytes"},
	}
	metrics.Read(s)
	for _, m := range s[:4] {
		bytes += m.Value.Uint64()
	}
	live = s[4].Value.Uint64()
	return bytes - min(bytes, live), live
}
