package meter

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestATimetableHasARateForEveryTime(t *testing.T) {
	at := func(hour, minute int) time.Duration {
		return time.Duration(hour)*time.Hour + time.Duration(minute)*time.Minute
	}
	table := Timetable{Windows: []Window{{at(8, 0), at(18, 0), 1}, {at(22, 30), at(6, 0), 2}, {at(23, 0), at(24, 0), 3}}, Else: 9}
	tests := []struct {
		clock string
		want  int64
	}{
		{"00:00:00", 2}, {"05:59:59", 2}, {"06:00:00", 9}, {"07:59:59", 9}, {"08:00:00", 1}, {"17:59:59", 1}, {"18:00:00", 9},
		{"22:29:59", 9}, {"22:30:00", 2}, {"23:30:00", 2},
	}
	berlin := time.FixedZone("CET", 3600)
	for _, tt := range tests {
		for _, day := range []string{"2026-01-31", "2026-03-29", "2026-10-25"} {
			now, err := time.ParseInLocation("2006-01-02 15:04:05", day+" "+tt.clock, berlin)
			if err != nil {
				t.Fatal(err)
			}
			if got := table.At(now); got != tt.want {
				t.Errorf("At(%v) = %d; want %d", now, got, tt.want)
			}
		}
	}
	if got := (Timetable{}).At(time.Now()); got != 0 {
		t.Errorf("an empty one has the rate %d", got)
	}
	all := Timetable{Windows: []Window{{0, 24 * time.Hour, 5}}, Else: 9}
	for hour := range 24 {
		if got := all.At(time.Date(2026, 1, 1, hour, 59, 59, 0, time.UTC)); got != 5 {
			t.Errorf("a whole day has %d at %d h", got, hour)
		}
	}
}

// A transfer that runs goes at the other rate from the minute on at which that begins.
func TestARateChangesAtTheBorderOfAWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(90*time.Second + 300*time.Millisecond) // a minute has begun
		now := time.Now()
		soon := time.Duration(now.Hour())*time.Hour + time.Duration(now.Minute()+2)*time.Minute
		table := Timetable{Windows: []Window{{soon, soon + time.Minute, 50_000}}, Else: 1_000_000}
		r := NewRate(table.Else)
		ctx, cancel := context.WithCancel(t.Context())
		over := make(chan struct{})
		go func() {
			defer close(over)
			table.Keep(ctx, r)
		}()
		begun := time.Now()
		left := now.Truncate(time.Minute).Add(2 * time.Minute).Sub(now)
		moved := run(t, r, left, 0, 1<<20)
		within(t, "what moved before", moved[0], 1_000_000*left.Seconds(), 0.02)
		moved = run(t, r, time.Minute, 0, 1<<20)
		within(t, "what moved in the window", moved[0], 50_000*60, 0.02)
		moved = run(t, r, time.Minute, 0, 1<<20)
		within(t, "what moved behind it", moved[0], 1_000_000*60, 0.02)
		if d := time.Since(begun); d != left+2*time.Minute {
			t.Errorf("it took %v", d)
		}
		cancel()
		<-over
	})
}
