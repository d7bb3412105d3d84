package ftp

import (
	"io/fs"
	"strconv"
	"strings"
	"time"
)

// An EntryKind tells the two entries of MLSD that are known by their place and
// not by their mode.
type EntryKind int

// The kinds. KindCdir is the directory that is being listed, KindPdir the one
// above it (RFC 3659, 7.5.1).
const (
	KindAuto EntryKind = iota // what Mode says
	KindCdir
	KindPdir
)

// An Entry is what a listing may show of one file. Zero values are left out or
// shown as an unknown: an empty Owner or Group is the number in LIST and no fact
// in MLSx, a zero Time is the year 1970 in LIST and no fact in MLSx.
type Entry struct {
	Name         string
	Mode         fs.FileMode
	Size         int64 // bytes
	Time         time.Time
	Links        uint64
	Owner, Group string
	UID, GID     uint32
	Target       string // of a symbolic link; "" unknown
	Dev, Ino     uint64 // the unique fact; both 0: none
	Perm         string // the perm fact, RFC 3659, 7.5.5
	Kind         EntryKind
}

func (e *Entry) isDir() bool { return e.Kind != KindAuto || e.Mode.IsDir() }

// What counts as recent in a listing: half of a Gregorian year, and a minute for
// clocks that differ.
const (
	recent = 31556952 * time.Second / 2
	ahead  = time.Minute
)

const months = "JanFebMarAprMayJunJulAugSepOctNovDec"

// AppendList appends one line of LIST with its CRLF, in the form of "ls -l" that
// all clients read: English months, UTC, the time of day when it is within half
// a year before now and else the year. Control characters in names become '?',
// blanks in owner and group '_'.
func AppendList(dst []byte, e Entry, now time.Time) []byte {
	dst = appendMode(dst, &e)
	dst = append(dst, ' ')
	dst = appendRight(dst, max(e.Links, 1), 4)
	dst = append(dst, ' ')
	dst = appendOwner(dst, e.Owner, e.UID)
	dst = append(dst, ' ')
	dst = appendOwner(dst, e.Group, e.GID)
	dst = append(dst, ' ')
	dst = appendRight(dst, uint64(max(e.Size, 0)), 12)
	dst = append(dst, ' ')
	t := e.Time
	if t.IsZero() {
		t = time.Unix(0, 0)
	}
	t = wireTime(t)
	year, month, day := t.Date()
	dst = append(append(dst, months[3*(month-1):3*month]...), ' ')
	if day < 10 {
		dst = append(dst, ' ', '0'+byte(day), ' ')
	} else {
		dst = append(appendTwo(dst, day), ' ')
	}
	if age := now.Sub(t); age >= -ahead && age < recent {
		hour, minute, _ := t.Clock()
		dst = appendTwo(append(appendTwo(dst, hour), ':'), minute)
	} else {
		dst = appendTwo(appendTwo(append(dst, ' '), year/100), year%100)
	}
	dst = append(dst, ' ')
	dst = appendPlain(dst, e.Name)
	if e.Target != "" && e.Kind == KindAuto && e.Mode&fs.ModeSymlink != 0 {
		dst = append(dst, " -> "...)
		dst = appendPlain(dst, e.Target)
	}
	return append(dst, '\r', '\n')
}

// AppendName appends one line of NLST with its CRLF. The caller leaves out names
// that are not NameOK; should one come, its CR, LF and NUL become '?'.
func AppendName(dst []byte, name string) []byte {
	return append(appendOneLine(dst, name), '\r', '\n')
}

// NameOK is false for a name with CR, LF or NUL, which no command could name
// again and which would be two lines in a listing: NLST and MLSD leave it out.
func NameOK(name string) bool {
	for i := range len(name) {
		if b := name[i]; b == '\r' || b == '\n' || b == 0 {
			return false
		}
	}
	return true
}

// appendMode writes the ten mode letters. Go's own FileMode.String has other
// ones, which no client knows.
func appendMode(dst []byte, e *Entry) []byte {
	m := e.Mode
	kind := byte('-')
	switch {
	case e.isDir():
		kind = 'd'
	case m&fs.ModeSymlink != 0:
		kind = 'l'
	case m&fs.ModeNamedPipe != 0:
		kind = 'p'
	case m&fs.ModeSocket != 0:
		kind = 's'
	case m&fs.ModeCharDevice != 0:
		kind = 'c'
	case m&fs.ModeDevice != 0:
		kind = 'b'
	}
	dst = append(dst, kind)
	const letters = "rwxrwxrwx"
	for i := range len(letters) {
		if m&(1<<(8-i)) != 0 {
			dst = append(dst, letters[i])
		} else {
			dst = append(dst, '-')
		}
	}
	bits := dst[len(dst)-len(letters):]
	special := func(bit fs.FileMode, at int, with, without byte) {
		if m&bit == 0 {
			return
		}
		if bits[at] == 'x' {
			bits[at] = with
		} else {
			bits[at] = without
		}
	}
	special(fs.ModeSetuid, 2, 's', 'S')
	special(fs.ModeSetgid, 5, 's', 'S')
	special(fs.ModeSticky, 8, 't', 'T')
	return dst
}

// appendRight writes n to the right of a column; a longer number makes it wider.
func appendRight(dst []byte, n uint64, width int) []byte {
	var digits [20]byte
	s := strconv.AppendUint(digits[:0], n, 10)
	for range width - len(s) {
		dst = append(dst, ' ')
	}
	return append(dst, s...)
}

// appendOwner writes one word, eight bytes wide at least.
func appendOwner(dst []byte, name string, id uint32) []byte {
	start := len(dst)
	if name == "" {
		dst = strconv.AppendUint(dst, uint64(id), 10)
	} else {
		dst = appendWord(dst, name)
	}
	for len(dst)-start < 8 {
		dst = append(dst, ' ')
	}
	return dst
}

// appendWord writes s with '_' for what would end a word, a fact or a line.
func appendWord(dst []byte, s string) []byte {
	for i := range len(s) {
		b := s[i]
		if b <= ' ' || b == 0x7f || b == ';' || b == '=' {
			b = '_'
		}
		dst = append(dst, b)
	}
	return dst
}

func appendPlain(dst []byte, s string) []byte {
	for i := range len(s) {
		b := s[i]
		if b < ' ' || b == 0x7f {
			b = '?'
		}
		dst = append(dst, b)
	}
	return dst
}

func appendOneLine(dst []byte, s string) []byte {
	if NameOK(s) {
		return append(dst, s...)
	}
	for i := range len(s) {
		b := s[i]
		if b == '\r' || b == '\n' || b == 0 {
			b = '?'
		}
		dst = append(dst, b)
	}
	return dst
}

// SplitFlags splits the argument of LIST or NLST. Leading words that begin with
// '-' are flags, for clients that take the server for "ls": flags are their
// letters, "la" for "-la" and for "-l -a"; words such as "--color" have none.
// "--" ends the flags, and "-" alone is a name. rest is the path exactly as
// written after the one space that ends the last flag word.
func SplitFlags(arg string) (flags, rest string) {
	rest = arg
	for len(rest) > 1 && rest[0] == '-' && rest[1] != ' ' {
		word, after, _ := strings.Cut(rest, " ")
		rest = after
		if word == "--" {
			break
		}
		if word[1] != '-' {
			flags += word[1:]
		}
	}
	return flags, rest
}
