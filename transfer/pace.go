package transfer

import (
	"context"
	"errors"
	"time"

	"dray/meter"
)

// Slices, in bytes. Small ones make splice dear; large ones make a slow transfer
// hold much permission, and let a cancellation wait.
const (
	minSlice   = 64 << 10
	maxSlice   = 4 << 20
	firstSlice = 1 << 20
)

// A pace takes permission for slices, and sizes them by how long they take.
type pace struct {
	meter meter.Meter
	slice int64
	most  int64 // what a slice grows to
	begun time.Time
}

// fit makes a slice as long as a buffer that has changed.
func (p *pace) fit(n int) {
	if int64(n) != p.most {
		p.slice, p.most = int64(n), int64(n)
	}
}

// take waits for permission to move 1 to limit bytes, at most a slice.
func (p *pace) take(ctx context.Context, limit int64) (int64, error) {
	n := min(p.slice, limit)
	if p.meter != nil {
		var err error
		if n, err = p.meter.Take(ctx, n); err != nil {
			if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
				err = context.Cause(ctx)
			}
			return 0, err
		}
	}
	p.begun = time.Now()
	return n, nil
}

// done books a slice, and tells how long it took.
func (p *pace) done(taken, moved int64) time.Duration {
	if p.meter != nil {
		p.meter.Done(taken, moved)
	}
	took := time.Since(p.begun)
	p.adapt(took, moved)
	return took
}

func (p *pace) adapt(took time.Duration, moved int64) {
	switch {
	case took > time.Second:
		p.slice = max(p.slice/2, min(minSlice, p.most))
	case took < 100*time.Millisecond && moved >= p.slice/2: // one that the meter or the end cut short says nothing
		p.slice = min(p.slice*2, p.most)
	}
}
