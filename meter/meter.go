// Package meter is permission to move bytes: rates and counters. A meter never
// sees the bytes; whoever copies takes permission by the slice, moves, and books
// what really moved. Quota is not here: it is about lengths of files, and belongs
// to package account.
package meter

import (
	"context"
	"sync/atomic"
)

// A Meter hands out permission.
type Meter interface {
	// Take waits until bytes may move and returns how many: 1 to want. An error
	// ends the transfer. What was granted goes back through Done, all of it, in one
	// call or two: All returns at once what a stricter meter did not grant.
	Take(ctx context.Context, want int64) (int64, error)
	// Done books that of taken bytes only moved did move; the rest is given back.
	Done(taken, moved int64)
}

// A Counter counts what moved and never waits. Its zero value is ready.
type Counter struct{ n atomic.Int64 }

// Take grants everything.
func (c *Counter) Take(_ context.Context, want int64) (int64, error) { return want, nil }

// Done adds what moved.
func (c *Counter) Done(_, moved int64) { c.n.Add(moved) }

// Bytes is what has moved so far.
func (c *Counter) Bytes() int64 { return c.n.Load() }

// All joins meters: every one of them must grant. Put those that refuse first
// and those that wait last, or bytes stay reserved while they wait.
func All(meters ...Meter) Meter { return all(meters) }

type all []Meter

func (ms all) Take(ctx context.Context, want int64) (int64, error) {
	var few [4]int64 // no transfer has more
	granted := few[:0]
	for _, m := range ms {
		n, err := m.Take(ctx, want)
		if err != nil {
			for i, g := range granted {
				ms[i].Done(g, 0)
			}
			return 0, err
		}
		granted = append(granted, n)
		want = n
	}
	for i, g := range granted { // an earlier one may have granted more than a later one
		if g > want {
			ms[i].Done(g-want, 0)
		}
	}
	return want, nil
}

func (ms all) Done(taken, moved int64) {
	for _, m := range ms {
		m.Done(taken, moved)
	}
}
