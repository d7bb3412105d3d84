package mirror

import (
	"cmp"
	"context"
	"slices"

	"dray/meter"
)

// permit is the meter of one transfer: it counts for it and for the run, and asks
// the rates of the file and of the run, if there are any.
func (r *Run) permit(j *job) meter.Meter {
	c := &counts{&j.moved, &r.moved}
	j.once.Do(func() { j.rate = r.opt.Permit() })
	if j.rate != nil {
		return meter.All(j.rate, c)
	}
	return c
}

// Permit is the meter of one file, nil without limits: its own rate and the one that
// it shares with all.
func (o *Options) Permit() meter.Meter {
	switch {
	case o.FileRate > 0 && o.Rate != nil:
		return meter.All(meter.NewRate(o.FileRate), o.Rate)
	case o.FileRate > 0:
		return meter.NewRate(o.FileRate)
	case o.Rate != nil:
		return o.Rate
	}
	return nil
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
