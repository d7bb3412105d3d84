package cli

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"dray/mirror"
	"dray/screen"
)

// A glass is what a terminal shows of what was written to it, as far as a display
// uses one.
type glass struct {
	mu    sync.Mutex
	width int
	lines []string
	row   int
	raw   bytes.Buffer
	draws []time.Time // writes that have a line in them
	bad   string
}

var up = regexp.MustCompile(`^\x1b\[(\d+)A`)

func (s *glass) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.raw.Write(b)
	if bytes.Contains(b, []byte("files  ")) {
		s.draws = append(s.draws, time.Now())
	}
	for text := string(b); text != ""; {
		for len(s.lines) <= s.row {
			s.lines = append(s.lines, "")
		}
		if m := up.FindStringSubmatch(text); m != nil {
			n, _ := strconv.Atoi(m[1])
			s.row -= n
			if s.row < 0 {
				s.bad, s.row = "the cursor leaves the screen", 0
			}
			text = text[len(m[0]):]
			continue
		}
		if rest, ok := strings.CutPrefix(text, "\x1b[J"); ok {
			s.lines = s.lines[:s.row]
			text = rest
			continue
		}
		switch r, size := utf8.DecodeRuneInString(text); {
		case r == '\n':
			s.row++
			text = text[size:]
			continue
		case r == '\r':
			s.lines[s.row] = "" // nothing is written over: a line is written whole
			text = text[size:]
			continue
		case r < ' ' || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e:
			s.bad = fmt.Sprintf("%q steers the terminal", text)
			return len(b), nil
		default:
			s.lines[s.row] += string(r)
			text = text[size:]
		}
		if s.width > 0 && screen.Cells(s.lines[s.row]) >= s.width {
			s.bad = fmt.Sprintf("a line of %d cells: %q", screen.Cells(s.lines[s.row]), s.lines[s.row])
		}
	}
	return len(b), nil
}

// shown is the lines of the screen.
func (s *glass) shown() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.TrimRight(strings.Join(s.lines, "\n"), "\n")
}

// moved is progress of one MiB a second since began.
func moved(began time.Time, size int64) func() mirror.Progress {
	return func() mirror.Progress {
		n := int64(time.Since(began).Seconds() * (1 << 20))
		var p mirror.Progress
		p.Found, p.Done, p.Bytes, p.Settled, p.Size = 3, 1, n, n, size
		p.Running = []mirror.Moving{{ID: 1, From: "ftp://h/dir/name", Size: size, At: n, Began: began}}
		return p
	}
}

func TestProgressIsDrawnTenTimesASecondAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &glass{width: 80}
		d := &display{w: s, bar: true, width: func() int { return 80 }}
		d.begin(moved(time.Now(), 100<<20))
		for i := range 3000 { // messages come much faster
			fmt.Fprintf(d, "message %d\n", i)
			time.Sleep(time.Millisecond)
		}
		d.end()
		for i := range s.draws {
			if i >= 10 && s.draws[i].Sub(s.draws[i-10]) < time.Second {
				t.Fatalf("11 draws in %v", s.draws[i].Sub(s.draws[i-10]))
			}
		}
		if len(s.draws) < 15 {
			t.Errorf("%d draws in 3 s", len(s.draws))
		}
		if s.bad != "" {
			t.Error(s.bad)
		}
		shown := strings.Split(s.shown(), "\n")
		for i, line := range shown { // and nothing else is left
			if line != fmt.Sprintf("message %d", i) {
				t.Fatalf("line %d is %q", i, line)
			}
		}
		if len(shown) != 3000 {
			t.Errorf("%d messages", len(shown))
		}
	})
}

func TestMessagesStandAboveTheBars(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &glass{width: 80}
		d := &display{w: s, bar: true, width: func() int { return 80 }}
		d.begin(moved(time.Now(), 100<<20))
		time.Sleep(2 * time.Second)
		synctest.Wait() // a line may be half drawn
		fmt.Fprintln(d, "one")
		time.Sleep(time.Second)
		synctest.Wait() // a line may be half drawn
		fmt.Fprintln(d, "two\nthree")
		time.Sleep(time.Second)
		synctest.Wait() // a line may be half drawn
		got := s.shown()
		want := regexp.MustCompile(`^one\ntwo\nthree\n  name +[34]%  +(3\.9|4\.0) MiB of 100 MiB\n1 of 3 files  (3\.9|4\.0) MiB of 100 MiB  [34]%  (1\.0 MiB|10\d\d KiB)/s  ETA 1:3\d$`)
		if !want.MatchString(got) {
			t.Errorf("the screen shows\n%s", got)
		}
		d.end()
		if got := s.shown(); got != "one\ntwo\nthree" {
			t.Errorf("left is\n%s", got)
		}
		fmt.Fprintln(d, "four")
		if got := s.shown(); got != "one\ntwo\nthree\nfour" || s.bad != "" {
			t.Errorf("left is\n%s\n%s", got, s.bad)
		}
	})
}

// Whatever a server calls its files and whatever sizes it tells.
func TestADisplayKeepsToItsLines(t *testing.T) {
	names := []string{"", "/", "ftp://h/a\x1b[31mb", "ftp://h/a\nb\r", "ftp://h/\u202eexe.txt", "ftp://h/" + strings.Repeat("n", 500), "ftp://h/" + strings.Repeat("漢字", 100),
		"ftp://h/" + strings.Repeat("e\u0301", 200), "ftp://h/\xff\xfe\x9b31m", "ftp://h/" + strings.Repeat("👩‍👩‍👧", 50), "a", "b", "c"}
	for _, width := range []int{0, 1, 20, 30, 40, 80, 200} {
		synctest.Test(t, func(t *testing.T) {
			s := &glass{width: max(width, 20)}
			d := &display{w: s, bar: true, width: func() int { return width }}
			n := 0
			d.begin(func() mirror.Progress {
				var p mirror.Progress
				n++
				sizes := []int64{-1, 0, 1, 1 << 62, 5}
				p.Found, p.Done, p.Failed, p.Bytes, p.Settled, p.Size = 1<<40, 1<<30, 7, int64(n)*3, sizes[n%5], sizes[(n+2)%5]
				for i, name := range names {
					p.Running = append(p.Running, mirror.Moving{From: names[(i+n)%len(names)], Size: sizes[(i+n)%5], At: sizes[i%5]})
					_ = name
				}
				return p
			})
			time.Sleep(8 * time.Second)
			synctest.Wait() // a line may be half drawn
			if lines := strings.Count(s.shown(), "\n") + 1; lines > 8 {
				t.Errorf("%d lines", lines)
			}
			d.end()
			if s.bad != "" || s.shown() != "" {
				t.Errorf("width %d: %s; left is %q", width, s.bad, s.shown())
			}
			for _, m := range regexp.MustCompile(`(-?\d+)%`).FindAllStringSubmatch(s.raw.String(), -1) {
				if n, _ := strconv.Atoi(m[1]); n < 0 || n > 100 {
					t.Fatalf("%s", m[0])
				}
			}
			if bad := regexp.MustCompile(`-\d+ (s|B|days)|ETA -|NaN|Inf`).FindString(s.raw.String()); bad != "" {
				t.Errorf("it shows %q", bad)
			}
		})
	}
}

func TestWhatDoesNotMoveIsStalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &glass{width: 80}
		d := &display{w: s, bar: true, width: func() int { return 80 }}
		began := time.Now()
		d.begin(func() mirror.Progress {
			var p mirror.Progress
			p.Found, p.Bytes, p.Settled, p.Size = 1, min(int64(time.Since(began).Seconds()*1000), 10_000), 10_000, 20_000
			p.Running = []mirror.Moving{{From: "a", Size: 20_000, At: 10_000}}
			return p
		})
		time.Sleep(14 * time.Second)
		synctest.Wait() // a line may be half drawn
		if strings.Contains(s.shown(), "stalled") {
			t.Errorf("4 s without a byte:\n%s", s.shown())
		}
		time.Sleep(2 * time.Second)
		synctest.Wait() // a line may be half drawn
		if !regexp.MustCompile(`stalled for [56] s`).MatchString(s.shown()) || strings.Contains(s.shown(), "ETA") {
			t.Errorf("6 s without a byte:\n%s", s.shown())
		}
		d.end()
	})
}

func TestWithoutATerminalProgressIsLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &glass{}
		d := &display{w: s, width: func() int { return 80 }}
		d.begin(moved(time.Now(), 100<<20))
		time.Sleep(35 * time.Second)
		synctest.Wait() // a line may be half drawn
		fmt.Fprintln(d, "a message")
		d.end()
		got := s.shown()
		if strings.ContainsAny(s.raw.String(), "\x1b\r") {
			t.Errorf("escape codes in %q", s.raw.String())
		}
		if !regexp.MustCompile(`^(1 of 3 files  [123]0 MiB of 100 MiB  [123]0%  (1\.0 MiB|1?\d\d\d KiB)/s  ETA \S+( s)?\n){3}a message$`).MatchString(got) {
			t.Errorf("it says\n%s", got)
		}
	})
}

func TestAQuietDisplayShowsMessagesOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &glass{width: 80}
		d := &display{w: s, bar: true, quiet: true, width: func() int { return 80 }}
		d.begin(moved(time.Now(), 100<<20))
		time.Sleep(20 * time.Second)
		synctest.Wait() // a line may be half drawn
		fmt.Fprintln(d, "a message")
		d.end()
		if s.raw.String() != "a message\n" {
			t.Errorf("it says %q", s.raw.String())
		}
	})
}
