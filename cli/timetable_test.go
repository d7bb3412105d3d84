package cli

import (
	"strings"
	"testing"
	"time"

	"dray/meter"
)

func TestTimetables(t *testing.T) {
	const m = time.Minute
	tests := []struct {
		name   string
		values []string
		want   []meter.Window
		err    string
	}{
		{"one window", []string{"08:00-18:00=1M"}, []meter.Window{{From: 480 * m, To: 1080 * m, Rate: 1 << 20}}, ""},
		{"an hour of one digit", []string{"8:00-9:30=500K"}, []meter.Window{{From: 480 * m, To: 570 * m, Rate: 500 << 10}}, ""},
		{"over midnight, without a limit", []string{"22:00-06:00=off"}, []meter.Window{{From: 1320 * m, To: 360 * m}}, ""},
		{"0 is no limit", []string{"22:00-06:00=0"}, []meter.Window{{From: 1320 * m, To: 360 * m}}, ""},
		{"until midnight", []string{"22:00-24:00=5"}, []meter.Window{{From: 1320 * m, To: 1440 * m, Rate: 5}}, ""},
		{"all day", []string{"0:00-24:00=5"}, []meter.Window{{From: 0, To: 1440 * m, Rate: 5}}, ""},
		{"several, that touch", []string{"08:00-12:00=1,12:00-13:00=2", "13:00-8:00=3"},
			[]meter.Window{{From: 480 * m, To: 720 * m, Rate: 1}, {From: 720 * m, To: 780 * m, Rate: 2}, {From: 780 * m, To: 480 * m, Rate: 3}}, ""},
		{"blanks around a window", []string{" 08:00-12:00=1, 12:00-13:00=2 "}, []meter.Window{{From: 480 * m, To: 720 * m, Rate: 1}, {From: 720 * m, To: 780 * m, Rate: 2}}, ""},
		{"a rate alone", []string{"5M"}, nil, "--limit-rate"},
		{"no rate", []string{"08:00-18:00"}, nil, "FROM-TO=RATE"},
		{"an empty rate", []string{"08:00-18:00="}, nil, "has no rate"},
		{"a bad rate", []string{"08:00-18:00=fast"}, nil, "has no rate"},
		{"nothing", []string{""}, nil, "is no window"},
		{"an end of nothing", []string{"08:00-09:00=1,"}, nil, "is no window"},
		{"25 o'clock", []string{"08:00-25:00=1"}, nil, "no times of day"},
		{"behind midnight", []string{"08:00-24:01=1"}, nil, "no times of day"},
		{"60 minutes", []string{"08:60-09:00=1"}, nil, "no times of day"},
		{"hours alone", []string{"8-18=1M"}, nil, "no times of day"},
		{"seconds", []string{"08:00:00-18:00=1M"}, nil, "no times of day"},
		{"a sign", []string{"+8:00-18:00=1M"}, nil, "no times of day"},
		{"no time between", []string{"08:00-08:00=1"}, nil, "no minute"},
		{"from the end of the day", []string{"24:00-08:00=1"}, nil, "no minute"},
		{"two rates for a minute", []string{"08:00-12:00=1,11:59-13:00=2"}, nil, "in common"},
		{"one in the other", []string{"08:00-12:00=1,09:00-10:00=2"}, nil, "in common"},
		{"one around the other", []string{"09:00-10:00=1,20:00-19:00=2"}, nil, "in common"},
		{"too many", []string{strings.Repeat("00:00-00:01=1,", 3) + "x"}, nil, "in common"},
	}
	for _, tt := range tests {
		got, err := parseTimetable(tt.values)
		switch {
		case tt.err != "":
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%s: parseTimetable(%q) = %v, %v; want an error with %q", tt.name, tt.values, got, err, tt.err)
			}
		case err != nil || len(got) != len(tt.want):
			t.Errorf("%s: parseTimetable(%q) = %v, %v; want %v", tt.name, tt.values, got, err, tt.want)
		default:
			for i := range got {
				if got[i] != tt.want[i] {
					t.Errorf("%s: window %d is %v; want %v", tt.name, i, got[i], tt.want[i])
				}
			}
		}
	}
}

func TestLimitRates(t *testing.T) {
	tests := []struct {
		s           string
		total, file int64
		bad         bool
	}{
		{"5M", 5 << 20, 0, false}, {"5M/total", 5 << 20, 0, false}, {"5M/file", 0, 5 << 20, false}, {"100", 100, 0, false},
		{"", 0, 0, true}, {"0", 0, 0, true}, {"-1", 0, 0, true}, {"5M/", 0, 0, true}, {"5M/s", 0, 0, true}, {"5M/total/file", 0, 0, true}, {"/file", 0, 0, true}, {"fast", 0, 0, true},
	}
	for _, tt := range tests {
		total, file, err := parseRate(tt.s)
		if total != tt.total || file != tt.file || (err != nil) != tt.bad {
			t.Errorf("parseRate(%q) = %d, %d, %v; want %d, %d", tt.s, total, file, err, tt.total, tt.file)
		}
	}
}

// Whatever is taken for a timetable has one rate for each minute, and is short.
func FuzzTimetable(f *testing.F) {
	for _, s := range []string{"08:00-18:00=1M", "22:00-06:00=off,6:00-7:00=1", "0:00-24:00=5", "12:00-11:59=1K", "a", ",", "8:00-9:00=1,8:59-7:00=2"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		windows, err := parseTimetable([]string{s})
		if err != nil {
			if len(windows) > 0 || len(err.Error()) > 600 {
				t.Fatalf("%d windows, and %v", len(windows), err)
			}
			return
		}
		if len(windows) == 0 || len(windows) > maxWindows {
			t.Fatalf("%d windows", len(windows))
		}
		for minute := range 24 * 60 {
			n := 0
			for _, w := range windows {
				if w.Rate < 0 {
					t.Fatalf("a rate of %d", w.Rate)
				}
				if w.Holds(time.Duration(minute) * time.Minute) {
					n++
				}
			}
			if n > 1 {
				t.Fatalf("minute %d is in %d windows", minute, n)
			}
		}
	})
}
