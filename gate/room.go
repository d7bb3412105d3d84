package gate

import (
	"context"
	"sync"
	"time"

	"dray/fault"
)

// A room is shared by the uploads of an account: what of its quota they hold and
// have not written yet. Its zero value is ready.
type room struct {
	mu      sync.Mutex
	held    int64
	changed chan struct{} // closed when something was given back or written
}

func (r *room) hold(n int64) {
	r.mu.Lock()
	r.held += n
	r.mu.Unlock()
}

// free books that n bytes are held no more.
func (r *room) free(n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held -= n
	if r.changed != nil {
		close(r.changed)
		r.changed = nil
	}
}

// watch tells how much is held, and when to ask again.
func (r *room) watch() (int64, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.changed == nil {
		r.changed = make(chan struct{})
	}
	return r.held, r.changed
}

const (
	// roomWait is how long an upload waits for what others of its account hold and
	// may not need. A client that stalls holds a slice at most.
	roomWait = 5 * time.Second
	// crumb is the least that is worth asking for while others hold something, in bytes.
	crumb = 4 << 10
)

// growth is permission for a file to grow, asked for before it does. Nothing is
// held longer than it takes to write it: what one upload does not need another
// may.
type growth struct {
	u    *Upload
	at   int64 // where the next byte goes
	base int64 // up to where it may grow without asking
	room int64 // up to where it may grow
	out  int64 // granted and not yet booked
}

// Take grants what there is. It waits while the quota is full only of what others
// hold; when nobody does, or for too long, it is full.
func (g *growth) Take(ctx context.Context, want int64) (int64, error) {
	if g.u.hold == nil {
		return want, nil
	}
	need := g.at + want - g.room
	if need <= 0 {
		g.out += want
		return want, nil
	}
	var late <-chan time.Time
	for {
		others, changed := g.u.s.room.watch()
		n, err := g.more(ctx, need, others)
		switch granted := want - need + n; {
		case err != nil && fault.KindOf(err) != fault.OverQuota:
			return 0, err
		case granted > 0:
			g.room += n
			g.out += granted
			g.u.held.bytes += n
			g.u.s.room.hold(n)
			return granted, nil
		case others == 0:
			return 0, err
		}
		if late == nil {
			late = time.After(roomWait)
		}
		select {
		case <-changed:
		case <-late:
			return 0, err
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
}

// more asks for n bytes, and where that is too much for halves.
func (g *growth) more(ctx context.Context, n, others int64) (int64, error) {
	least := int64(1)
	if others > 0 {
		least = min(n, crumb)
	}
	for {
		err := g.u.hold.More(ctx, n)
		switch {
		case err == nil:
			return n, nil
		case n == least || fault.KindOf(err) != fault.OverQuota:
			return 0, err
		}
		n = max(n/2, least)
	}
}

// unwritten is what is held for bytes that have not come.
func (g *growth) unwritten() int64 { return max(g.room-max(g.at, g.base), 0) }

func (g *growth) Done(taken, moved int64) {
	was := g.unwritten()
	g.out -= taken
	g.at += moved
	if keep := max(g.at+g.out, g.base); g.u.hold != nil && g.room > keep {
		g.u.hold.Less(g.room - keep)
		g.u.held.bytes -= g.room - keep
		g.room = keep
	}
	if n := was - g.unwritten(); n > 0 {
		g.u.s.room.free(n)
	}
}

// reach asks for a length of the file, for bytes that come in any order. What was
// granted on the way to a length that is not stays asked for.
func (g *growth) reach(ctx context.Context, length int64) error {
	for g.at < length {
		n, err := g.Take(ctx, length-g.at)
		if err != nil {
			return err
		}
		g.Done(n, n)
	}
	return nil
}

// shrink gives back what lies behind a length.
func (g *growth) shrink(length int64) {
	if length < g.at {
		g.Done(0, length-g.at)
	}
}

// end gives back what is held, once the hold is settled.
func (g *growth) end() {
	n := g.unwritten()
	g.room, g.at = 0, 0
	g.u.s.room.free(n)
}
