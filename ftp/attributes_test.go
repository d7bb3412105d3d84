package ftp

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParseMFF(t *testing.T) {
	tests := []struct {
		name, in string
		facts    []Value
		path     string
		err      error
	}{
		{"one fact", "modify=20200102030405; a", []Value{{"modify", "20200102030405"}}, "a", nil},
		{"two facts, in the peer's case", "Modify=1;UNIX.mode=0644; a", []Value{{"Modify", "1"}, {"UNIX.mode", "0644"}}, "a", nil},
		{"an empty value", "create=; a", []Value{{"create", ""}}, "a", nil},
		{"a value with an equals sign", "x=y=z; a", []Value{{"x", "y=z"}}, "a", nil},
		{"everything behind the space is the path", "x=y;  a; b=c; ", []Value{{"x", "y"}}, " a; b=c; ", nil},
		{"nothing", "", nil, "", ErrSyntax},
		{"no fact", " a", nil, "", ErrSyntax},
		{"no path", "x=y;", nil, "", ErrSyntax},
		{"an empty path", "x=y; ", nil, "", ErrSyntax},
		{"no semicolon", "x=y a", nil, "", ErrSyntax},
		{"no equals sign", "x; a", nil, "", ErrSyntax},
		{"no name", "=y; a", nil, "", ErrSyntax},
		{"a blank in a fact", "x=y z; a", nil, "", ErrSyntax},
		{"an empty fact", "x=y;; a", nil, "", ErrSyntax},
		{"too many facts", strings.Repeat("x=y;", maxValues+1) + " a", nil, "", ErrSyntax},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			facts, path, err := ParseMFF(tt.in)
			if !slices.Equal(facts, tt.facts) || path != tt.path || err != tt.err {
				t.Errorf("ParseMFF(%q) = %q, %q, %v; want %q, %q, %v", tt.in, facts, path, err, tt.facts, tt.path, tt.err)
			}
		})
	}
}

func TestParseCSID(t *testing.T) {
	tests := []struct {
		name, in string
		want     []Value
		err      error
	}{
		{"name and version", "Name=x;Version=1;", []Value{{"Name", "x"}, {"Version", "1"}}, nil},
		{"no semicolon at the end", "Name=x;Version=1", []Value{{"Name", "x"}, {"Version", "1"}}, nil},
		{"blanks in values and before names", "Name=an FTP program; Version=1; ", []Value{{"Name", "an FTP program"}, {"Version", "1"}}, nil},
		{"no values", "program", nil, ErrSyntax},
		{"a semicolon alone", ";", nil, ErrSyntax},
		{"no name", "=x;", nil, ErrSyntax},
		{"a hole", "Name=x;;Version=1;", nil, ErrSyntax},
		{"too many", strings.Repeat("x=y;", maxValues+1), nil, ErrSyntax},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseCSID(tt.in)
			if !slices.Equal(got, tt.want) || err != tt.err {
				t.Errorf("ParseCSID(%q) = %q, %v; want %q, %v", tt.in, got, err, tt.want, tt.err)
			}
		})
	}
}

func TestParseMode(t *testing.T) {
	tests := []struct {
		in   string
		want uint32
		err  error
	}{
		{"0", 0, nil}, {"22", 0o22, nil}, {"644", 0o644, nil}, {"0644", 0o644, nil}, {"777", 0o777, nil},
		{"1000", 0, ErrUnsupported}, {"4755", 0, ErrUnsupported}, {"7777", 0, ErrUnsupported},
		{"", 0, ErrSyntax}, {"8", 0, ErrSyntax}, {"rw", 0, ErrSyntax}, {"-1", 0, ErrSyntax}, {"00644", 0, ErrSyntax}, {" 644", 0, ErrSyntax},
	}
	for _, tt := range tests {
		if got, err := ParseMode(tt.in); got != tt.want || err != tt.err {
			t.Errorf("ParseMode(%q) = %o, %v; want %o, %v", tt.in, got, err, tt.want, tt.err)
		}
	}
}

func TestParseLang(t *testing.T) {
	tests := []struct {
		in, want string
		err      error
	}{
		{"", "", nil}, {"en", "EN", nil}, {"EN*", "EN", nil}, {"en-gb", "EN-GB", nil}, {"zh-Hans-419", "ZH-HANS-419", nil},
		{"*", "", ErrSyntax}, {"e n", "", ErrSyntax}, {"en-", "", ErrSyntax}, {"-en", "", ErrSyntax}, {"419", "", ErrSyntax},
		{"englishes", "", ErrSyntax}, {"en_GB.UTF-8", "", ErrSyntax}, {"\xe9n", "", ErrSyntax}, {strings.Repeat("a-", 40) + "a", "", ErrSyntax},
	}
	for _, tt := range tests {
		if got, err := ParseLang(tt.in); got != tt.want || err != tt.err {
			t.Errorf("ParseLang(%q) = %q, %v; want %q, %v", tt.in, got, err, tt.want, tt.err)
		}
	}
}

func TestParseUTime(t *testing.T) {
	second := time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)
	minute := second.Truncate(time.Minute)
	tests := []struct {
		name, in string
		time     time.Time
		path     string
		err      error
	}{
		{"minutes", "202001020304 a", minute, "a", nil},
		{"seconds", "20200102030405 a", second, "a", nil},
		{"a path with blanks", "20200102030405  a b ", second, " a b ", nil},
		{"the long form takes the second of its times", "a 20190101000000 20200102030405 20210101000000 UTC", second, "a", nil},
		{"the long form with blanks, and in lower case", "a b  c 201901010000 202001020304 202101010000 utc", minute, "a b  c", nil},
		{"a path that ends in UTC", "20200102030405 a b c UTC", second, "a b c UTC", nil},
		{"the short form with a path that looks long", "20200102030405 a 20190101000000 20190101000000 20190101000000", second, "a 20190101000000 20190101000000 20190101000000", nil},
		{"nothing", "", time.Time{}, "", ErrSyntax},
		{"no path", "20200102030405", time.Time{}, "", ErrSyntax},
		{"an empty path", "20200102030405 ", time.Time{}, "", ErrSyntax},
		{"no time", "a", time.Time{}, "", ErrSyntax},
		{"hours alone", "2020010203 a", time.Time{}, "", ErrSyntax},
		{"13 digits", "2020010203040 a", time.Time{}, "", ErrSyntax},
		{"a fraction", "20200102030405.5 a", time.Time{}, "", ErrSyntax},
		{"a month that isn't one", "202013020304 a", time.Time{}, "", ErrSyntax},
		{"the long form with a word for a time", "a 20190101000000 now 20210101000000 UTC", time.Time{}, "", ErrSyntax},
		{"the long form without a path", " 20190101000000 20190101000000 20210101000000 UTC", time.Time{}, "", ErrSyntax},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, path, err := ParseUTime(tt.in)
			if !got.Equal(tt.time) || path != tt.path || err != tt.err {
				t.Errorf("ParseUTime(%q) = %v, %q, %v; want %v, %q, %v", tt.in, got, path, err, tt.time, tt.path, tt.err)
			}
		})
	}
}

func TestSplitTwo(t *testing.T) {
	tests := []struct {
		name, in, first, second string
		err                     error
	}{
		{"two words", "a b", "a", "b", nil},
		{"quoted", `"a b" "c d"`, "a b", "c d", nil},
		{"one quoted", `a "c d"`, "a", "c d", nil},
		{"quotes inside are doubled", `"a ""b""" c`, `a "b"`, "c", nil},
		{"a quote in the middle is a letter", `a"b c"d`, `a"b`, `c"d`, nil},
		{"nothing", "", "", "", ErrSyntax},
		{"one word", "a", "", "", ErrSyntax},
		{"three words", "a b c", "", "", ErrSyntax},
		{"an empty word", "a ", "", "", ErrSyntax},
		{"an empty first word", " b", "", "", ErrSyntax},
		{"empty quotes", `a ""`, "", "", ErrSyntax},
		{"no end", `a "b`, "", "", ErrSyntax},
		{"letters behind the quotes", `"a"b c`, "", "", ErrSyntax},
		{"two blanks", "a  b", "", "", ErrSyntax},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			first, second, err := SplitTwo(tt.in)
			if first != tt.first || second != tt.second || err != tt.err {
				t.Errorf("SplitTwo(%q) = %q, %q, %v; want %q, %q, %v", tt.in, first, second, err, tt.first, tt.second, tt.err)
			}
		})
	}
}

// What SplitTwo reads comes back when it is quoted.
func FuzzSplitTwo(f *testing.F) {
	for _, s := range []string{"a b", `"a b" "c ""d"`, `"`, `"" x`, "a  b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		first, second, err := SplitTwo(in)
		if err != nil {
			if err != ErrSyntax || first+second != "" {
				t.Fatalf("SplitTwo(%q) = %q, %q, %v", in, first, second, err)
			}
			return
		}
		a, b, err := SplitTwo(Quote(first) + " " + Quote(second))
		if a != first || b != second || err != nil {
			t.Fatalf("%q, %q come back as %q, %q, %v", first, second, a, b, err)
		}
	})
}

// What ParseMFF reads is all of the argument, and ParseCSID reads its facts
// alike where they have no blanks.
func FuzzParseMFF(f *testing.F) {
	for _, s := range []string{"modify=20200102030405; a", "a=b;c=d; e f", "; ", "=; x", "a=b;"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		facts, path, err := ParseMFF(in)
		if err != nil {
			return
		}
		var b strings.Builder
		for _, v := range facts {
			b.WriteString(v.Name + "=" + v.Value + ";")
		}
		if b.String()+" "+path != in || path == "" || len(facts) > maxValues {
			t.Fatalf("ParseMFF(%q) = %q, %q", in, facts, path)
		}
		if clean := strings.TrimSpace(b.String()); clean == b.String() {
			if again, err := ParseCSID(clean); err != nil || !slices.Equal(again, facts) {
				t.Fatalf("ParseCSID(%q) = %q, %v; want %q", clean, again, err, facts)
			}
		}
	})
}

// A time and path that ParseUTime reads are read again from the short form.
func FuzzParseUTime(f *testing.F) {
	for _, s := range []string{"202001020304 a", "a 20190101000000 20200102030405 20210101000000 UTC", "20200102030460 a", "a b c d UTC"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		when, path, err := ParseUTime(in)
		if err != nil {
			return
		}
		if path == "" || !strings.Contains(in, path) {
			t.Fatalf("ParseUTime(%q) = %v, %q", in, when, path)
		}
		if strings.HasSuffix(strings.ToUpper(path), " UTC") || when.Year() > 9999 {
			return // it could be the long form
		}
		again, p, err := ParseUTime(FormatTime(when) + " " + path)
		if !again.Equal(when) || p != path || err != nil {
			t.Fatalf("%v, %q are read again as %v, %q, %v", when, path, again, p, err)
		}
	})
}

// What ParseLang accepts is a tag of letters, digits and hyphens that it accepts
// again, and modes are at most nine bits.
func FuzzParseLangAndMode(f *testing.F) {
	for _, s := range []string{"en", "EN*", "zh-Hans", "0644", "4755", "-"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		if tag, err := ParseLang(in); err == nil {
			if strings.Trim(tag, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") != "" {
				t.Fatalf("ParseLang(%q) = %q", in, tag)
			}
			if again, err := ParseLang(tag); again != tag || err != nil {
				t.Fatalf("ParseLang(%q) = %q, %v", tag, again, err)
			}
		}
		if m, err := ParseMode(in); m > 0o777 || err != nil && m != 0 {
			t.Fatalf("ParseMode(%q) = %o, %v", in, m, err)
		}
	})
}
