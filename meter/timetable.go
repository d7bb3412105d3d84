package meter

import (
	"context"
	"time"
)

// A Timetable is a rate that depends on the time of day.
type Timetable struct {
	Windows []Window
	Else    int64 // bytes a second outside of them; 0: no limit
}

// A Window is a part of every day, to the minute: from From, before To, both since
// midnight. One whose To is not behind its From goes over midnight.
type Window struct {
	From, To time.Duration
	Rate     int64 // bytes a second; 0: no limit
}

// Holds tells whether the window has a time of day.
func (w Window) Holds(at time.Duration) bool {
	if w.From < w.To {
		return at >= w.From && at < w.To
	}
	return at >= w.From || at < w.To
}

// At is the rate at a time, by the clock of its place: that of the first window which
// holds it.
func (t Timetable) At(now time.Time) int64 {
	at := time.Duration(now.Hour())*time.Hour + time.Duration(now.Minute())*time.Minute
	for _, w := range t.Windows {
		if w.Holds(at) {
			return w.Rate
		}
	}
	return t.Else
}

// Keep sets r to what the timetable says, at once and again at every border of it,
// until ctx ends. It looks at the clock every minute: clocks are set, summer begins,
// and machines sleep.
func (t Timetable) Keep(ctx context.Context, r *Rate) {
	for {
		now := time.Now()
		if rate := t.At(now); rate != r.PerSecond() {
			r.Set(rate)
		}
		gone := time.Duration(now.Second())*time.Second + time.Duration(now.Nanosecond())
		next := time.NewTimer(time.Minute - gone)
		select {
		case <-next.C:
		case <-ctx.Done():
			next.Stop()
			return
		}
	}
}
