// Package screen is what people read on a terminal: text from outside that can't steer
// it, sizes, durations and times, and listings as ls writes them.
//
// It draws nothing that moves and asks nobody: that is the command line's.
package screen

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"

	"golang.org/x/text/width"
)

// Line makes one line of text from outside that a terminal can show: what would end
// the line, steer the terminal or turn the direction of writing becomes '?'.
func Line(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == '\u2028' || r == '\u2029' || r >= '\u202a' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069' {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}

var oneLine = strings.NewReplacer("\n", "?", "\r", "?", "\x00", "?")

// Name is a name as it is written: on a terminal a Line, else as it is but for what
// would end its line, so that a program finds it again.
func Name(s string, terminal bool) string {
	if terminal {
		return Line(s)
	}
	return oneLine.Replace(s)
}

// Size is a number of bytes: 999 B, 1.2 KiB, 34 MiB.
func Size(n int64) string {
	if n < 1000 {
		return fmt.Sprintf("%d B", max(n, 0))
	}
	f := float64(n)
	for _, unit := range []string{"KiB", "MiB", "GiB", "TiB"} {
		f /= 1024
		if f < 9.95 {
			return fmt.Sprintf("%.1f %s", f, unit)
		}
		if f < 999.5 {
			return fmt.Sprintf("%.0f %s", f, unit)
		}
	}
	return fmt.Sprintf("%.1f PiB", f/1024)
}

// ParseSize reads a number of bytes as people write it: 500, 1.5K, 20MB, 4GiB.
// K, M, G and T are powers of 1024; at most 2^62 bytes.
func ParseSize(s string) (int64, error) {
	text := strings.TrimSuffix(strings.TrimSuffix(strings.ToUpper(strings.TrimSpace(s)), "B"), "I")
	unit := int64(1)
	if text != "" {
		if i := strings.IndexByte("KMGT", text[len(text)-1]); i >= 0 {
			unit = 1 << (10 * (i + 1))
			text = text[:len(text)-1]
		}
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || !(f >= 0) || f*float64(unit) > 1<<62 {
		return 0, fmt.Errorf("%q is no size", s)
	}
	return int64(f * float64(unit)), nil
}

// Duration is how long something takes: 12 s, 3:04, 1:02:03, 10 days.
func Duration(d time.Duration) string {
	s := int64(d.Seconds() + 0.5)
	switch {
	case s < 60:
		return fmt.Sprintf("%d s", s)
	case s < 3600:
		return fmt.Sprintf("%d:%02d", s/60, s%60)
	case s < 100*3600:
		return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
	}
	return fmt.Sprintf("%d days", s/86400)
}

// Percent is how much n is of a whole, from 0 to 100.
func Percent(n, of int64) int64 {
	if of <= 0 {
		return 0
	}
	return int64(max(min(float64(n)/float64(of), 1), 0) * 100)
}

// Room tells how much of a file system is free, as df does. total 0 is unknown; size
// writes a number of bytes.
func Room(free, total uint64, size func(int64) string) string {
	const most = 1 << 62
	text := size(int64(min(free, most))) + " free"
	if total == 0 {
		return text
	}
	used := total - min(free, total)
	return fmt.Sprintf("%s of %s (%d%% used)", text, size(int64(min(total, most))), Percent(int64(min(used, most)), int64(min(total, most))))
}

// Cut is a line of at most so many cells.
func Cut(s string, cells int) string {
	for i, r := range s {
		if cells -= RuneCells(r); cells < 0 {
			return s[:i]
		}
	}
	return s
}

// Cells is how much room a text takes on a terminal.
func Cells(s string) (n int) {
	for _, r := range s {
		n += RuneCells(r)
	}
	return n
}

// RuneCells is the room of one letter: those of East Asia and most pictures take two
// cells, marks on the letter before them none.
func RuneCells(r rune) int {
	if r < 0x300 {
		return 1
	}
	if unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf) {
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}
