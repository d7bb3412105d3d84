package ftp

import (
	"strings"
	"time"
)

// maxValues bounds how many values one argument may hold.
const maxValues = 16

// A Value is one "name=value;" of MFF or CSID. The name has one byte at least;
// its case is the peer's.
type Value struct{ Name, Value string }

// ParseMFF reads the argument of MFF, "fact=value;fact=value; path": 1 to 16
// facts without blanks, one space, and a path to which everything behind that
// belongs (draft-somers-ftp-mfxx, 5.1).
func ParseMFF(arg string) (facts []Value, path string, err error) {
	for !strings.HasPrefix(arg, " ") {
		fact, rest, found := strings.Cut(arg, ";")
		v, ok := cutValue(fact)
		if !found || !ok || len(facts) == maxValues || strings.Contains(fact, " ") {
			return nil, "", ErrSyntax
		}
		facts, arg = append(facts, v), rest
	}
	if path = arg[1:]; path == "" || len(facts) == 0 {
		return nil, "", ErrSyntax
	}
	return facts, path, nil
}

// ParseCSID reads the argument of CSID, "Name=value;Version=value;": 1 to 16
// values, which may hold blanks; blanks before a name and a missing last
// semicolon don't matter (draft-peterson-streamlined-ftp-command-extensions).
func ParseCSID(arg string) ([]Value, error) {
	var values []Value
	for part := range strings.SplitSeq(strings.TrimSuffix(strings.TrimSpace(arg), ";"), ";") {
		v, ok := cutValue(strings.TrimLeft(part, " "))
		if !ok || len(values) == maxValues {
			return nil, ErrSyntax
		}
		values = append(values, v)
	}
	return values, nil
}

func cutValue(s string) (Value, bool) {
	name, value, found := strings.Cut(s, "=")
	return Value{name, value}, found && name != ""
}

// ParseMode reads permission bits in 1 to 4 octal digits. ErrUnsupported is for
// those above 0777: set-uid, set-gid and sticky.
func ParseMode(s string) (uint32, error) {
	if s == "" || len(s) > 4 {
		return 0, ErrSyntax
	}
	var mode uint32
	for i := range len(s) {
		if s[i] < '0' || s[i] > '7' {
			return 0, ErrSyntax
		}
		mode = mode<<3 | uint32(s[i]-'0')
	}
	if mode > 0o777 {
		return 0, ErrUnsupported
	}
	return mode, nil
}

// ParseLang reads the argument of LANG: a language tag, "en" or "en-GB", or ""
// for the default. A '*' behind it, as FEAT marks the language in use, is taken
// along. The tag is returned in upper case, without the mark (RFC 2640, 4.1).
func ParseLang(arg string) (string, error) {
	tag := strings.TrimSuffix(arg, "*")
	if arg == "" {
		return "", nil
	}
	for i, part := range strings.Split(tag, "-") {
		if part == "" || len(part) > 8 || len(tag) > 64 {
			return "", ErrSyntax
		}
		for j := range len(part) {
			c := part[j] | 0x20
			if letter := 'a' <= c && c <= 'z'; !letter && (i == 0 || part[j] < '0' || part[j] > '9') {
				return "", ErrSyntax
			}
		}
	}
	return strings.ToUpper(tag), nil
}

// ParseUTime reads the argument of SITE UTIME in both of its forms: "time path",
// and "path atime mtime ctime UTC", whose last word decides. A time is
// YYYYMMDDhhmm or YYYYMMDDhhmmss, in UTC. The path may hold blanks. Of the three
// times the modification time is returned; the others must be times.
func ParseUTime(arg string) (mtime time.Time, path string, err error) {
	if words := strings.Split(arg, " "); len(words) >= 5 && strings.EqualFold(words[len(words)-1], "UTC") {
		n := len(words) - 4
		var times [3]time.Time
		var bad error
		for i := range times {
			if times[i], err = parseMinute(words[n+i]); err != nil {
				bad = err
			}
		}
		if path = strings.Join(words[:n], " "); bad == nil && path != "" {
			return times[1], path, nil
		}
	}
	when, path, _ := strings.Cut(arg, " ")
	if mtime, err = parseMinute(when); err != nil || path == "" {
		return time.Time{}, "", ErrSyntax
	}
	return mtime, path, nil
}

func parseMinute(s string) (time.Time, error) {
	switch len(s) {
	case len("YYYYMMDDhhmm"):
		return ParseTime(s + "00")
	case len("YYYYMMDDhhmmss"):
		return ParseTime(s)
	}
	return time.Time{}, ErrSyntax
}

// SplitTwo reads two names with a space between them. A name that has a blank in
// it, or begins with a quote, stands in double quotes, those inside doubled as
// Quote writes them. No name is empty.
func SplitTwo(arg string) (first, second string, err error) {
	first, rest, ok := cutName(arg)
	if !ok || !strings.HasPrefix(rest, " ") {
		return "", "", ErrSyntax
	}
	second, rest, ok = cutName(rest[1:])
	if !ok || rest != "" {
		return "", "", ErrSyntax
	}
	return first, second, nil
}

// cutName takes one name from the beginning of s.
func cutName(s string) (name, rest string, ok bool) {
	if !strings.HasPrefix(s, `"`) {
		end := strings.IndexByte(s, ' ')
		if end < 0 {
			end = len(s)
		}
		return s[:end], s[end:], end > 0
	}
	var b strings.Builder
	for s = s[1:]; ; {
		part, after, found := strings.Cut(s, `"`)
		if !found {
			return "", "", false
		}
		b.WriteString(part)
		if !strings.HasPrefix(after, `"`) {
			return b.String(), after, b.Len() > 0
		}
		b.WriteByte('"')
		s = after[1:]
	}
}
