package account

import (
	"container/list"
	"context"
	"net/netip"
	"runtime"
	"sync"

	"dray/fault"
)

// How many may wait in a Queue.
const (
	waitAddress = 64
	waitTotal   = 1024
)

// A Queue runs few things at once that are dear, and lets addresses take turns:
// who floods it from one address waits behind their own. Addresses count by IPv4
// address and by IPv6 /64; within one, who came first is first.
type Queue struct {
	atOnce int

	mu      sync.Mutex
	running int
	waiting int
	lines   map[netip.Prefix]*line
	turns   list.List // of *line, whose turn it is first
}

// A line is those who wait from one address; it has one waiter at least.
type line struct {
	from    netip.Prefix
	turn    *list.Element // in Queue.turns
	waiters list.List     // of chan error
}

// NewQueue makes a Queue that runs atOnce things at once; as many as there are
// processors for this process when it is 0 or less.
func NewQueue(atOnce int) *Queue {
	if atOnce <= 0 {
		atOnce = runtime.GOMAXPROCS(0)
	}
	return &Queue{atOnce: atOnce, lines: map[netip.Prefix]*line{}}
}

// Do waits for its turn and runs f. The error is the cause of ctx when it ends
// before that, or of kind fault.Closing and id fault.IDBusy where too many wait;
// f has not run then. At most 64 wait from one address and 1,024 in all; when
// those are there, the address with the most of them gives way to one with fewer.
func (q *Queue) Do(ctx context.Context, from netip.Addr, f func()) error {
	if err := q.enter(ctx, network(from)); err != nil {
		return err
	}
	defer q.leave()
	f()
	return nil
}

// network is what counts as one address.
func network(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits) // the zero Addr is one address too
	return p
}

func (q *Queue) enter(ctx context.Context, from netip.Prefix) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	q.mu.Lock()
	if q.running < q.atOnce { // nobody waits
		q.running++
		q.mu.Unlock()
		return nil
	}
	l, w, err := q.join(from)
	q.mu.Unlock()
	if err != nil {
		return err
	}
	turn := w.Value.(chan error)
	select {
	case err := <-turn:
		return err
	case <-ctx.Done():
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	select {
	case err := <-turn: // in the last moment
		if err == nil {
			q.next()
		}
	default:
		q.remove(l, w)
	}
	return context.Cause(ctx)
}

// join puts a new waiter into its line.
func (q *Queue) join(from netip.Prefix) (*line, *list.Element, error) {
	l := q.lines[from]
	if l != nil && l.waiters.Len() >= waitAddress {
		return nil, nil, busy("logins that wait from your address", waitAddress)
	}
	if q.waiting >= waitTotal {
		most := l
		for _, other := range q.lines {
			if most == nil || other.waiters.Len() > most.waiters.Len() {
				most = other
			}
		}
		full := busy("logins that wait", waitTotal)
		if most == l || most.waiters.Len() == 1 {
			return nil, nil, full
		}
		last := most.waiters.Back()
		last.Value.(chan error) <- full
		q.remove(most, last)
	}
	if l == nil {
		l = &line{from: from}
		l.turn = q.turns.PushBack(l)
		q.lines[from] = l
	}
	q.waiting++
	return l, l.waiters.PushBack(make(chan error, 1)), nil
}

// remove takes a waiter out of its line.
func (q *Queue) remove(l *line, w *list.Element) {
	l.waiters.Remove(w)
	q.waiting--
	if l.waiters.Len() == 0 {
		q.turns.Remove(l.turn)
		delete(q.lines, l.from)
	}
}

func (q *Queue) leave() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.next()
}

// next hands the place of one who has left to the next waiter.
func (q *Queue) next() {
	e := q.turns.Front()
	if e == nil {
		q.running--
		return
	}
	l := e.Value.(*line)
	w := l.waiters.Front()
	w.Value.(chan error) <- nil
	q.turns.MoveToBack(e)
	q.remove(l, w)
}

func busy(what string, limit int) error {
	return fault.New(fault.Closing, fault.IDBusy, what, limit, limit)
}
