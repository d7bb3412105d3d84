package ftp

import (
	"math"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestFormatTime(t *testing.T) {
	berlin := time.FixedZone("", 2*60*60)
	for _, tt := range []struct {
		name string
		in   time.Time
		want string
	}{
		{"seconds", time.Date(2024, 2, 29, 23, 59, 59, 0, time.UTC), "20240229235959"},
		{"always UTC", time.Date(2024, 1, 1, 1, 0, 0, 0, berlin), "20231231230000"},
		{"milliseconds", time.Date(2024, 1, 1, 0, 0, 0, 5_000_000, time.UTC), "20240101000000.005"},
		{"what is finer is cut off", time.Date(2024, 1, 1, 0, 0, 0, 1_999_999, time.UTC), "20240101000000.001"},
		{"less than a millisecond is no fraction", time.Date(2024, 1, 1, 0, 0, 0, 999_999, time.UTC), "20240101000000"},
		{"before the first year", time.Date(-5, 1, 1, 0, 0, 0, 0, time.UTC), "00000101000000"},
		{"after the last year", time.Date(12345, 1, 1, 0, 0, 0, 0, time.UTC), "99991231235959.999"},
		{"early times have four digits too", time.Time{}, "00010101000000"},
	} {
		if got := FormatTime(tt.in); got != tt.want {
			t.Errorf("%s: FormatTime(%v) = %s; want %s", tt.name, tt.in, got, tt.want)
		}
	}
}

func TestParseTime(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		want     time.Time // zero: ErrSyntax
	}{
		{"seconds", "20240229235959", time.Date(2024, 2, 29, 23, 59, 59, 0, time.UTC)},
		{"a fraction of one digit", "20240101000000.5", time.Date(2024, 1, 1, 0, 0, 0, 500_000_000, time.UTC)},
		{"milliseconds", "20240101000000.005", time.Date(2024, 1, 1, 0, 0, 0, 5_000_000, time.UTC)},
		{"nanoseconds", "20240101000000.123456789", time.Date(2024, 1, 1, 0, 0, 0, 123_456_789, time.UTC)},
		{"a leap second", "20161231235960", time.Date(2017, 1, 1, 0, 0, 0, 0, time.UTC)},
		{"second 61", "20161231235961", time.Time{}},
		{"a fraction of ten digits", "20240101000000.1234567890", time.Time{}},
		{"a point without a fraction", "20240101000000.", time.Time{}},
		{"a comma", "20240101000000,5", time.Time{}},
		{"a signed fraction", "20240101000000.+5", time.Time{}},
		{"29 February of another year", "20230229000000", time.Time{}},
		{"31 April", "20240431000000", time.Time{}},
		{"day 0", "20240100000000", time.Time{}},
		{"month 0", "20240001000000", time.Time{}},
		{"month 13", "20241301000000", time.Time{}},
		{"hour 24", "20240101240000", time.Time{}},
		{"minute 60", "20240101006000", time.Time{}},
		{"no seconds", "202401010000", time.Time{}},
		{"a digit too many", "202401010000000", time.Time{}},
		{"a sign", "+2024010100000", time.Time{}},
		{"a blank", "2024 101000000", time.Time{}},
		{"a zone", "20240101000000Z", time.Time{}},
		{"nothing", "", time.Time{}},
	} {
		got, err := ParseTime(tt.in)
		wantErr := error(nil)
		if tt.want.IsZero() {
			wantErr = ErrSyntax
		}
		if !got.Equal(tt.want) || err != wantErr || got.Location() != time.UTC {
			t.Errorf("%s: ParseTime(%q) = %v, %v; want %v, %v", tt.name, tt.in, got, err, tt.want, wantErr)
		}
	}
}

// A time that was read is printed as the same one, to the millisecond.
func FuzzParseTime(f *testing.F) {
	for _, s := range []string{"20240229235959", "20240101000000.005", "20161231235960.999999999", "00000101000000", "99991231235960", "2024"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		got, err := ParseTime(in)
		if err != nil {
			return
		}
		printed := FormatTime(got)
		again, err := ParseTime(printed)
		if want := wireTime(got).Truncate(time.Millisecond); err != nil || !again.Equal(want) {
			t.Errorf("%q = %v, printed %s, then %v, %v", in, got, printed, again, err)
		}
		if in[12:14] != "60" && printed[:14] != in[:14] {
			t.Errorf("%q is printed %s", in, printed)
		}
	})
}

func TestParseType(t *testing.T) {
	for _, tt := range []struct {
		in   string
		text bool
		err  error
	}{
		{"A", true, nil}, {"a", true, nil}, {"A N", true, nil}, {"a n", true, nil},
		{"I", false, nil}, {"i", false, nil}, {"L 8", false, nil}, {"l 8", false, nil},
		{"A T", false, ErrUnsupported}, {"A C", false, ErrUnsupported}, {"E", false, ErrUnsupported},
		{"E N", false, ErrUnsupported}, {"e t", false, ErrUnsupported}, {"L 7", false, ErrUnsupported},
		{"L 36", false, ErrUnsupported}, {"L 256", false, ErrSyntax}, {"L 0", false, ErrSyntax},
		{"", false, ErrSyntax}, {"X", false, ErrSyntax}, {"L", false, ErrSyntax}, {"L x", false, ErrSyntax},
		{"L 08", false, ErrUnsupported}, {"A X", false, ErrSyntax}, {"A ", false, ErrSyntax}, {"AN", false, ErrSyntax},
		{"I N", false, ErrSyntax}, {" A", false, ErrSyntax}, {"A  N", false, ErrSyntax},
	} {
		if text, err := ParseType(tt.in); text != tt.text || err != tt.err {
			t.Errorf("ParseType(%q) = %v, %v; want %v, %v", tt.in, text, err, tt.text, tt.err)
		}
	}
}

func TestParseRestAndAllo(t *testing.T) {
	for _, tt := range []struct {
		in         string
		rest, allo int64 // -1: ErrSyntax
	}{
		{"0", 0, 0},
		{"007", 7, 7},
		{"4294967296", 1 << 32, 1 << 32},
		{"9223372036854775807", math.MaxInt64, math.MaxInt64},
		{"9223372036854775808", -1, -1},
		{"18446744073709551616", -1, -1},
		{"99999999999999999999999999", -1, -1},
		{"", -1, -1},
		{"-1", -1, -1},
		{"+1", -1, -1},
		{" 1", -1, -1},
		{"1 ", -1, -1},
		{"1.0", -1, -1},
		{"0x10", -1, -1},
		{"5 R 80", -1, 5},
		{"5 r 80", -1, 5},
		{"5 R", -1, -1},
		{"5 R ", -1, -1},
		{"5 R x", -1, -1},
		{"5 80", -1, -1},
		{"R 80", -1, -1},
		{"5 R 80 ", -1, -1},
	} {
		check := func(fn string, want int64, parse func(string) (int64, error)) {
			wantErr := error(nil)
			if want < 0 {
				want, wantErr = 0, ErrSyntax
			}
			if got, err := parse(tt.in); got != want || err != wantErr {
				t.Errorf("%s(%q) = %d, %v; want %d, %v", fn, tt.in, got, err, want, wantErr)
			}
		}
		check("ParseRest", tt.rest, ParseRest)
		check("ParseAllo", tt.allo, ParseAllo)
	}
}

// A number that was read is printed as the same one, REST and ALLO read it
// alike, and a TYPE is read the same in both cases.
func FuzzParseNumbersAndType(f *testing.F) {
	for _, s := range []string{"0", "007", "9223372036854775807", "9223372036854775808", "5 R 80", "A N", "L 8", "L 36", "E"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		rest, restErr := ParseRest(in)
		allo, alloErr := ParseAllo(in)
		if restErr == nil && (alloErr != nil || allo != rest) {
			t.Errorf("%q: REST reads %d, ALLO %d, %v", in, rest, allo, alloErr)
		}
		if alloErr == nil {
			if again, err := ParseRest(strconv.FormatInt(allo, 10)); err != nil || again != allo || allo < 0 {
				t.Errorf("%q = %d, then %d, %v", in, allo, again, err)
			}
		}
		text, err := ParseType(in)
		if text2, err2 := ParseType(strings.ToUpper(in)); text2 != text || err2 != err {
			t.Errorf("TYPE %q = %v, %v; in upper case %v, %v", in, text, err, text2, err2)
		}
		if err == nil && restErr == nil {
			t.Errorf("%q is a type and a number", in)
		}
	})
}
