package mirror

import (
	"cmp"
	"context"
	"slices"

	"dray/meter"
)

// permit is the meter of one transfer: it counts for it and for the run, and asks
// the rate of the run, if there is one.
func (r *Run) permit(j *job) meter.Meter {
	if r.opt.Rate != nil {
		return meter.All(r.opt.Rate, &counts{&j.moved, &r.moved})
	}
	return &counts{&j.moved, &r.moved}
}

// counts grants everything and counts twice.
type counts struct{ own, all *meter.Counter }

func (c *counts) Take(_ context.Context, want int64) (int64, error) { return want, nil }

func (c *counts) Done(taken, moved int64) {
	c.own.Done(taken, moved)
	c.all.Done(taken, moved)
}

func sortMoving(m []Moving) {
	slices.SortFunc(m, func(a, b Moving) int { return cmp.Compare(a.ID, b.ID) })
}
