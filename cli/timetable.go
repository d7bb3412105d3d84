package cli

import (
	"context"
	"strings"
	"time"

	"dray/meter"
	"dray/screen"
)

// maxWindows bounds a timetable.
const maxWindows = 48

// parseTimetable reads what --limit was given: windows as 08:00-18:00=1M, several with
// commas between. No two of them may hold the same minute, so that it does not matter
// which is first.
func parseTimetable(values []string) ([]meter.Window, error) {
	var all []meter.Window
	var words []string
	for _, value := range values {
		for word := range strings.SplitSeq(value, ",") {
			w, err := parseWindow(word)
			if err != nil {
				return nil, err
			}
			for i, other := range all {
				if w.Holds(other.From) || other.Holds(w.From) {
					return nil, usagef("--limit: %s and %s have minutes in common; each minute has one rate", words[i], screen.Line(word))
				}
			}
			if len(all) == maxWindows {
				return nil, usagef("--limit: more than %d windows", maxWindows)
			}
			all, words = append(all, w), append(words, screen.Line(word))
		}
	}
	return all, nil
}

// parseWindow reads FROM-TO=RATE.
func parseWindow(word string) (meter.Window, error) {
	bad := func(why string) (meter.Window, error) {
		if len(word) > 64 {
			word = word[:64] + "…"
		}
		return meter.Window{}, usagef("--limit: %q %s\n      write FROM-TO=RATE, as 08:00-18:00=1M; a RATE for all day is that of --limit-rate", screen.Line(word), why)
	}
	times, rate, ok := strings.Cut(strings.TrimSpace(word), "=")
	from, to, both := strings.Cut(times, "-")
	if !ok || !both {
		return bad("is no window")
	}
	begin, ok := parseClock(from)
	end, also := parseClock(to)
	switch {
	case !ok || !also:
		return bad("has no times of day")
	case begin == end || begin == 24*time.Hour:
		return bad("has no minute in it")
	}
	w := meter.Window{From: begin, To: end}
	if rate == "off" {
		return w, nil
	}
	n, err := screen.ParseSize(rate)
	if err != nil || n < 0 {
		return bad("has no rate: bytes a second, as 500K or 5M, or off")
	}
	w.Rate = n
	return w, nil
}

// parseClock reads a time of day, to the minute: 8:00, 08:00, 24:00.
func parseClock(s string) (time.Duration, bool) {
	hour, minute, ok := strings.Cut(s, ":")
	number := func(s string, least, most int) (int, bool) {
		n := 0
		for _, d := range []byte(s) {
			if d < '0' || d > '9' {
				return 0, false
			}
			n = n*10 + int(d-'0')
		}
		return n, len(s) >= least && len(s) <= 2 && n <= most
	}
	if !ok || len(s) > len("00:00") {
		return 0, false
	}
	h, first := number(hour, 1, 24)
	m, second := number(minute, 2, 59)
	return time.Duration(h)*time.Hour + time.Duration(m)*time.Minute, first && second && (h < 24 || m == 0)
}

// parseRate reads what --limit-rate was given: a rate of all transfers together, also
// with /total behind it, or with /file of each file.
func parseRate(s string) (total, file int64, err error) {
	text, whose, named := strings.Cut(s, "/")
	n, err := screen.ParseSize(text)
	if err != nil || n <= 0 || named && whose != "total" && whose != "file" {
		return 0, 0, usagef("--limit-rate: %q is no rate; write bytes a second, as 500K or 5M, of all transfers together, or 5M/file of each", screen.Line(s))
	}
	if whose == "file" {
		return 0, n, nil
	}
	return n, 0, nil
}

// keep makes the rate follow the timetable, where there is one, until the returned
// function is called.
func (t *transfers) keep(ctx context.Context, rate *meter.Rate) (stop func()) {
	if len(t.table.Windows) == 0 || rate == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	go t.table.Keep(ctx, rate)
	return cancel
}
