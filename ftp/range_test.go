package ftp

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
)

func TestParseRang(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		want     Range
		err      error
	}{
		{"the byte at the end belongs to it", "0 49", Range{0, 50}, nil},
		{"one byte", "7 7", Range{7, 8}, nil},
		{"the first byte", "0 0", Range{0, 1}, nil},
		{"the second one", "1 1", Range{1, 2}, nil},
		{"1 0 is the whole file", "1 0", Range{}, nil},
		{"nothing else is above its end", "2 1", Range{}, ErrSyntax},
		{"not even by one", "5 4", Range{}, ErrSyntax},
		{"large files", "5000000000 6000000000", Range{5_000_000_000, 6_000_000_001}, nil},
		{"the largest number", "0 9223372036854775807", Range{0, math.MaxInt64}, nil},
		{"twice", "9223372036854775807 9223372036854775807", Range{math.MaxInt64 - 1, math.MaxInt64}, nil},
		{"above the largest number", "0 9223372036854775808", Range{}, ErrSyntax},
		{"no end", "5", Range{}, ErrSyntax},
		{"nothing", "", Range{}, ErrSyntax},
		{"three numbers", "1 2 3", Range{}, ErrSyntax},
		{"two blanks", "1  2", Range{}, ErrSyntax},
		{"signs", "-1 +2", Range{}, ErrSyntax},
		{"words", "all of it", Range{}, ErrSyntax},
	} {
		if got, err := ParseRang(tt.in); got != tt.want || err != tt.err {
			t.Errorf("%s: ParseRang(%q) = %v, %v; want %v, %v", tt.name, tt.in, got, err, tt.want, tt.err)
		}
	}
}

func TestParseParts(t *testing.T) {
	whole := func(path string) Part { return Part{Path: path, Whole: true} }
	for _, tt := range []struct {
		name, in string
		want     []Part
	}{
		{"a name", "a", []Part{whole("a")}},
		{"a name with blanks", "a b", []Part{whole("a b")}},
		{"a name in quotes", `"a b"`, []Part{whole(`"a b"`), whole("a b")}},
		{"a range", "a 0 100", []Part{whole("a 0 100"), {Path: "a", End: 100}}},
		{"a range behind a name with blanks", "a b 1 2", []Part{whole("a b 1 2"), {Path: "a b", Start: 1, End: 2}}},
		{"a range behind quotes", `"name with blank" 0 100`, []Part{
			whole(`"name with blank" 0 100`), {Path: `"name with blank"`, End: 100}, {Path: "name with blank", End: 100}}},
		{"quotes inside quotes", `"a ""b""" 3 4`, []Part{whole(`"a ""b""" 3 4`), {Path: `"a ""b"""`, Start: 3, End: 4}, {Path: `a "b"`, Start: 3, End: 4}}},
		{"a range that is upside down is one", "a 5 2", []Part{whole("a 5 2"), {Path: "a", Start: 5, End: 2}}},
		{"one number is a part of the name", "a 5", []Part{whole("a 5")}},
		{"two numbers and no name", "0 5", []Part{whole("0 5")}},
		{"numbers that are none", "a 0 -5", []Part{whole("a 0 -5")}},
		{"two names in quotes are one name", `"a" "b"`, []Part{whole(`"a" "b"`)}},
		{"a quote that does not end", `"a 0 1`, []Part{whole(`"a 0 1`), {Path: `"a`, End: 1}}},
		{"a blank at the end of the name", "a  0 1", []Part{whole("a  0 1"), {Path: "a ", End: 1}}},
	} {
		if got := ParseParts(tt.in); !slices.Equal(got, tt.want) {
			t.Errorf("%s: ParseParts(%q) = %+v; want %+v", tt.name, tt.in, got, tt.want)
		}
	}
}

func TestParseNames(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		want     []string // nil: ErrSyntax
	}{
		{"bare words", "a b c", []string{"a", "b", "c"}},
		{"quotes", `"a b" "c"`, []string{"a b", "c"}},
		{"both", `"a b" c`, []string{"a b", "c"}},
		{"several blanks between", `  a   "b"  `, []string{"a", "b"}},
		{"doubled quotes", `"say ""hi""" b`, []string{`say "hi"`, "b"}},
		{"only quotes", `""""`, []string{`"`}},
		{"escaped quotes", `"say \"hi\" now" b`, []string{`say "hi" now`, "b"}},
		{"an escaped quote at the end", `"end\"" "c"`, []string{`end"`, "c"}},
		{"a backslash is a character", `"a\b" c\d`, []string{`a\b`, `c\d`}},
		{"at the end of a name too", `"a\" "b"`, []string{`a\`, "b"}},
		{"a quote inside a bare word", `a"b c`, []string{`a"b`, "c"}},
		{"commas are characters", `a,b "c,d"`, []string{"a,b", "c,d"}},
		{"nothing", "", nil},
		{"blanks", "   ", nil},
		{"an empty name", `"" a`, nil},
		{"a quote that does not end", `"a b`, nil},
		{"text behind a quote", `"a"b c`, nil},
	} {
		got, err := ParseNames(tt.in)
		if !slices.Equal(got, tt.want) || (err == nil) != (tt.want != nil) || err != nil && err != ErrSyntax {
			t.Errorf("%s: ParseNames(%q) = %q, %v; want %q", tt.name, tt.in, got, err, tt.want)
		}
	}
}

func TestParseList(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		want     []string // nil: ErrSyntax
	}{
		{"one", "a", []string{"a"}},
		{"several", "a,b,  c ,d", []string{"a", "b", "c", "d"}},
		{"blanks are characters", "a b, c d", []string{"a b", "c d"}},
		{"quotes", `"a, b", c`, []string{"a, b", "c"}},
		{"doubled quotes", `"a""b" , c`, []string{`a"b`, "c"}},
		{"nothing", "", nil},
		{"a comma at the end", "a,", nil},
		{"a comma at the beginning", ",a", nil},
		{"two commas", "a,,b", nil},
		{"text behind a quote", `"a" b`, nil},
		{"a quote that does not end", `a, "b`, nil},
	} {
		got, err := ParseList(tt.in)
		if !slices.Equal(got, tt.want) || (err == nil) != (tt.want != nil) || err != nil && err != ErrSyntax {
			t.Errorf("%s: ParseList(%q) = %q, %v; want %q", tt.name, tt.in, got, err, tt.want)
		}
	}
}

// A range that parses holds a byte or is the whole file, and prints back.
func FuzzParseRang(f *testing.F) {
	for _, s := range []string{"0 49", "1 0", "2 1", "9223372036854775807 9223372036854775807", "0", "00 07"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseRang(s)
		if err != nil {
			if r != (Range{}) {
				t.Fatalf("ParseRang(%q) = %v with an error", s, r)
			}
			return
		}
		if r == (Range{}) {
			return
		}
		if r.Start < 0 || r.Start >= r.End {
			t.Fatalf("ParseRang(%q) = %v", s, r)
		}
		if again, err := ParseRang(fmt.Sprintf("%d %d", r.Start, r.End-1)); err != nil || again != r {
			t.Fatalf("ParseRang(%q) = %v, which comes back as %v, %v", s, r, again, err)
		}
	})
}

// There is always the literal reading first, a path is never longer than the
// argument, and a range that was written comes out.
func FuzzParseParts(f *testing.F) {
	for _, s := range []string{"a", `"a b" 0 5`, "a 5 2", `"" 0 1`, "a 9223372036854775807 0", `"a""" 1 2`} {
		f.Add(s, int64(1), int64(2))
	}
	f.Fuzz(func(t *testing.T, s string, start, end int64) {
		parts := ParseParts(s)
		if len(parts) == 0 || len(parts) > 4 || parts[0] != (Part{Path: s, Whole: true}) {
			t.Fatalf("ParseParts(%q) = %+v", s, parts)
		}
		for _, p := range parts {
			if len(p.Path) > len(s) || p.Start < 0 || p.End < 0 || p.Whole && (p.Start != 0 || p.End != 0) {
				t.Fatalf("ParseParts(%q) has %+v", s, p)
			}
		}
		if s == "" || start < 0 || end < 0 {
			return
		}
		want := Part{Path: s, Start: start, End: end}
		if got := ParseParts(fmt.Sprintf("%s %d %d", Quote(s), start, end)); !slices.Contains(got, want) {
			t.Fatalf("%+v was written and read as %+v", want, got)
		}
	})
}

// Names that Quote writes come back, whatever is in them.
func FuzzParseNames(f *testing.F) {
	f.Add("a b", `c"d`, `"a b" c`)
	f.Add(`a\`, `\"`, `"say \"hi\"" x`)
	f.Add(",", " ", `"",`)
	f.Fuzz(func(t *testing.T, a, b, loose string) {
		for _, parse := range []func(string) ([]string, error){ParseNames, ParseList} {
			names, err := parse(loose)
			if (err == nil) != (len(names) > 0) || slices.Contains(names, "") || len(strings.Join(names, " ")) > len(loose) {
				t.Fatalf("%q is read as %q, %v", loose, names, err)
			}
		}
		if a == "" || b == "" {
			return
		}
		want := []string{a, b}
		if got, err := ParseNames(Quote(a) + " " + Quote(b)); err != nil || !slices.Equal(got, want) {
			t.Fatalf("%q was written and read as %q, %v", want, got, err)
		}
		if got, err := ParseList(Quote(a) + ", " + Quote(b)); err != nil || !slices.Equal(got, want) {
			t.Fatalf("%q was written as a list and read as %q, %v", want, got, err)
		}
	})
}
