package ftp

import (
	"math"
	"strings"
	"time"
)

const (
	timeLayout  = "20060102150405"
	milliLayout = "20060102150405.000"
)

var (
	minTime = time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC)
	maxTime = time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, time.UTC)
)

// wireTime is t in UTC, moved into the years that four digits can show.
func wireTime(t time.Time) time.Time {
	switch t = t.UTC(); {
	case t.Before(minTime):
		return minTime
	case t.After(maxTime):
		return maxTime
	}
	return t
}

// FormatTime writes a time as MDTM and the modify fact have it: UTC,
// YYYYMMDDhhmmss, with .sss where there are milliseconds (RFC 3659, 2.3). What
// is finer is cut off.
func FormatTime(t time.Time) string {
	return string(appendTime(make([]byte, 0, len(milliLayout)), t))
}

// appendTime is by hand, as a line of MLSD is to a third its time.
func appendTime(dst []byte, t time.Time) []byte {
	t = wireTime(t)
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	dst = appendTwo(appendTwo(dst, year/100), year%100)
	dst = appendTwo(appendTwo(dst, int(month)), day)
	dst = appendTwo(appendTwo(appendTwo(dst, hour), minute), second)
	if ms := t.Nanosecond() / int(time.Millisecond); ms > 0 {
		dst = appendTwo(append(dst, '.', '0'+byte(ms/100)), ms%100)
	}
	return dst
}

// appendTwo appends the two digits of n, which is less than 100.
func appendTwo(dst []byte, n int) []byte { return append(dst, '0'+byte(n/10), '0'+byte(n%10)) }

// ParseTime reads YYYYMMDDhhmmss with an optional fraction of 1 to 9 digits, in
// UTC (RFC 3659, 2.3). Second 60, a leap second, is the first one of the next
// minute. A date that no calendar has is ErrSyntax.
func ParseTime(s string) (time.Time, error) {
	if len(s) < len(timeLayout) {
		return time.Time{}, ErrSyntax
	}
	whole, frac := s[:len(timeLayout)], s[len(timeLayout):]
	if !digits(whole) {
		return time.Time{}, ErrSyntax
	}
	nano := int64(0)
	if frac != "" {
		n, ok := number(frac[1:], 999_999_999)
		if frac[0] != '.' || !ok || len(frac) > 10 {
			return time.Time{}, ErrSyntax
		}
		for range 10 - len(frac) {
			n *= 10
		}
		nano = n
	}
	part := func(from, to int) int {
		n, _ := number(whole[from:to], 9999)
		return int(n)
	}
	year, month, day := part(0, 4), part(4, 6), part(6, 8)
	hour, minute, second := part(8, 10), part(10, 12), part(12, 14)
	if hour > 23 || minute > 59 || second > 60 {
		return time.Time{}, ErrSyntax
	}
	date := time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC)
	if date.Year() != year || int(date.Month()) != month || date.Day() != day {
		return time.Time{}, ErrSyntax
	}
	return time.Date(year, time.Month(month), day, hour, minute, second, int(nano), time.UTC), nil
}

// ParseType reads the argument of TYPE, in any case. "A" and "A N" are text, "I"
// and "L 8" are not. ErrUnsupported is what RFC 959, 3.1.1 has beyond that:
// telnet and carriage control formats, EBCDIC, other byte sizes.
func ParseType(arg string) (text bool, err error) {
	kind, param, hasParam := strings.Cut(strings.ToUpper(arg), " ")
	switch {
	case kind == "A" && (!hasParam || param == "N"):
		return true, nil
	case kind == "I" && !hasParam, kind == "L" && param == "8":
		return false, nil
	case kind == "E" && (!hasParam || param == "N"), (kind == "A" || kind == "E") && (param == "T" || param == "C"):
		return false, ErrUnsupported
	case kind == "L":
		if n, ok := number(param, 255); ok && n > 0 {
			return false, ErrUnsupported
		}
	}
	return false, ErrSyntax
}

// ParseRest reads the argument of REST in stream mode: an offset in bytes, in
// decimal digits (RFC 3659, 5.3).
func ParseRest(arg string) (int64, error) {
	n, ok := number(arg, math.MaxInt64)
	if !ok {
		return 0, ErrSyntax
	}
	return n, nil
}

// ParseAllo reads the argument of ALLO, "n" or "n R n", and returns the size in
// bytes; the record size is checked and forgotten (RFC 959, 4.1.3).
func ParseAllo(arg string) (int64, error) {
	size, record, hasRecord := strings.Cut(arg, " ")
	n, ok := number(size, math.MaxInt64)
	if !ok {
		return 0, ErrSyntax
	}
	if hasRecord {
		letter, length, _ := strings.Cut(record, " ")
		if _, ok := number(length, math.MaxInt64); !ok || !strings.EqualFold(letter, "R") {
			return 0, ErrSyntax
		}
	}
	return n, nil
}
