package shell

import (
	"fmt"
	"io/fs"
	"regexp"
	"strings"
	"time"

	"dray/ftp"
	"dray/remote"
)

// What an Entry may tell.
const (
	knownType = ftp.KnownType
	knownSize = ftp.KnownSize
	knownTime = ftp.KnownTime
	knownMode = ftp.KnownMode
)

// clean makes one line of text from outside that a terminal can show.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == '\u2028' || r == '\u2029' || r >= '\u202a' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069' {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}

// shown is a name as it is written: on a terminal without what would steer it, else
// without what would end its line.
func (c *call) shown(name string) string {
	if c.sh.opt.Terminal {
		return clean(name)
	}
	return strings.NewReplacer("\n", "?", "\r", "?", "\x00", "?").Replace(name)
}

var (
	secretURL  = regexp.MustCompile(`:.*@`) // in a line without its ://
	secretUser = regexp.MustCompile(`\s-[a-zA-Z]*u\s*["']?[^\s,:]+[,:]|--user`)
	secretRaw  = regexp.MustCompile(`(?i)\b(pass|acct)\b`)
)

// Secret tells whether a line may hold a password: then it is neither kept nor told.
func Secret(line string) bool {
	return secretURL.MatchString(strings.ReplaceAll(line, "://", "")) || secretUser.MatchString(line) || secretRaw.MatchString(line)
}

// masked is a line without what may be a password.
func masked(line string) string {
	if !Secret(line) {
		return line
	}
	verb, _, _ := strings.Cut(strings.TrimSpace(line), " ")
	if Secret(verb) {
		verb = ""
	}
	return strings.TrimSpace(verb + " [hidden]")
}

// sizeOf is a number of bytes for people: 999 B, 1.2 KiB, 34 MiB.
func sizeOf(n int64) string {
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

// short is a duration for people: 12 s, 3:04, 1:02:03.
func short(d time.Duration) string {
	s := int64(d.Seconds() + 0.5)
	switch {
	case s < 60:
		return fmt.Sprintf("%d s", s)
	case s < 3600:
		return fmt.Sprintf("%d:%02d", s/60, s%60)
	}
	return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
}

func typeOf(e *remote.Entry) string {
	switch {
	case !e.Is(knownType):
		return "unknown"
	case e.Mode.IsDir():
		return "dir"
	case e.Mode.Type() == fs.ModeSymlink:
		return "link"
	case e.Mode.Type() == 0:
		return "file"
	}
	return "other"
}

// letters is the mode as ls writes it, with ? for what is not known.
func letters(e *remote.Entry) string {
	kind := "-"
	switch typeOf(e) {
	case "dir":
		kind = "d"
	case "link":
		kind = "l"
	case "unknown", "other":
		kind = "?"
	}
	if !e.Is(knownMode) {
		return kind + "?????????"
	}
	return kind + e.Mode.Perm().String()[1:]
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// columns writes names beside each other.
func (c *call) columns(names []string) {
	widest := 0
	for _, n := range names {
		widest = max(widest, len([]rune(n)))
	}
	per := max(c.sh.width()/(widest+2), 1)
	rows := (len(names) + per - 1) / per
	for r := range rows {
		line := ""
		for i := r; i < len(names); i += rows {
			line += names[i]
			if i+rows < len(names) {
				line += strings.Repeat(" ", widest+2-len([]rune(names[i])))
			}
		}
		fmt.Fprintln(c.out, line)
	}
}
