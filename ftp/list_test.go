package ftp

import (
	"io/fs"
	"strings"
	"testing"
	"time"
)

var now = time.Date(2024, 7, 1, 12, 0, 0, 0, time.UTC)

func TestAppendList(t *testing.T) {
	day := time.Date(2024, 6, 3, 9, 5, 0, 0, time.UTC)
	for _, tt := range []struct {
		name string
		in   Entry
		want string
	}{
		{"a file", Entry{Name: "a.txt", Mode: 0o644, Size: 1234, Time: day, Links: 2, Owner: "alice", Group: "staff"},
			"-rw-r--r--    2 alice    staff            1234 Jun  3 09:05 a.txt"},
		{"a directory", Entry{Name: "d", Mode: fs.ModeDir | 0o755, Size: 4096, Time: day, Links: 3, Owner: "alice", Group: "staff"},
			"drwxr-xr-x    3 alice    staff            4096 Jun  3 09:05 d"},
		{"numbers for owners without a name, one link at least", Entry{Name: "a", Time: day, UID: 1000, GID: 4294967295},
			"----------    1 1000     4294967295            0 Jun  3 09:05 a"},
		{"a symbolic link", Entry{Name: "l", Mode: fs.ModeSymlink | 0o777, Target: "../x y", Time: day},
			"lrwxrwxrwx    1 0        0                   0 Jun  3 09:05 l -> ../x y"},
		{"a symbolic link to where nobody knows", Entry{Name: "l", Mode: fs.ModeSymlink | 0o777, Time: day},
			"lrwxrwxrwx    1 0        0                   0 Jun  3 09:05 l"},
		{"what is no link has no arrow", Entry{Name: "a", Target: "b", Time: day},
			"----------    1 0        0                   0 Jun  3 09:05 a"},
		{"numbers that are wider than their column", Entry{Name: "a", Size: 1 << 62, Links: 123456, Owner: "a-long-name", Time: day},
			"---------- 123456 a-long-name 0        4611686018427387904 Jun  3 09:05 a"},
		{"a negative size is none", Entry{Name: "a", Size: -1, Time: day},
			"----------    1 0        0                   0 Jun  3 09:05 a"},
		{"blanks in names of owners", Entry{Name: "a", Owner: "domain users", Group: "a\tb\r\nc", Time: day},
			"----------    1 domain_users a_b__c              0 Jun  3 09:05 a"},
		{"line ends and control characters in names", Entry{Name: "a\r\nb\x00\x1b\x7f\tc", Mode: fs.ModeSymlink, Target: "x\ny", Time: day},
			"l---------    1 0        0                   0 Jun  3 09:05 a??b????c -> x?y"},
		{"blanks and bytes in names are kept", Entry{Name: " ü \xff ", Time: day},
			"----------    1 0        0                   0 Jun  3 09:05  ü \xff "},
		{"a month with two digits of day in winter", Entry{Name: "a", Time: time.Date(2024, 2, 29, 23, 59, 0, 0, time.UTC)},
			"----------    1 0        0                   0 Feb 29 23:59 a"},
		{"always UTC", Entry{Name: "a", Time: time.Date(2024, 6, 1, 1, 0, 0, 0, time.FixedZone("", 7200))},
			"----------    1 0        0                   0 May 31 23:00 a"},
		{"an unknown time", Entry{Name: "a"},
			"----------    1 0        0                   0 Jan  1  1970 a"},
		{"the listed directory", Entry{Name: ".", Kind: KindCdir, Mode: 0o700, Time: day},
			"drwx------    1 0        0                   0 Jun  3 09:05 ."},
	} {
		if got := string(AppendList(nil, tt.in, now)); got != tt.want+"\r\n" {
			t.Errorf("%s:\n got %q\nwant %q", tt.name, got, tt.want+"\r\n")
		}
	}
	if got := string(AppendList([]byte("x"), Entry{Name: "a"}, now)); !strings.HasPrefix(got, "x---") {
		t.Errorf("AppendList to something = %q", got)
	}
}

// No document says it: clients take a time without a year as the last one
// that has passed, so what is not of the last half year must show its year.
func TestListTimeShowsTheYearWhenItMust(t *testing.T) {
	for _, tt := range []struct {
		name string
		age  time.Duration
		want string
	}{
		{"now", 0, "Jul  1 12:00"},
		{"a clock that is a minute ahead", -time.Minute, "Jul  1 12:01"},
		{"the future", -time.Minute - time.Second, "Jul  1  2024"},
		{"nearly half a year", recent - time.Second, "Dec 31 21:05"},
		{"half a year", recent, "Dec 31  2023"},
	} {
		line := string(AppendList(nil, Entry{Name: "a", Time: now.Add(-tt.age)}, now))
		if got := line[len(line)-len(tt.want)-4 : len(line)-4]; got != tt.want {
			t.Errorf("%s: %q; want %q", tt.name, got, tt.want)
		}
	}
	if got := string(AppendList(nil, Entry{Name: "a", Time: time.Date(20000, 1, 1, 0, 0, 0, 0, time.UTC)}, now)); !strings.HasSuffix(got, " Dec 31  9999 a\r\n") {
		t.Errorf("a year of five digits: %q", got)
	}
}

func TestListModeLettersAreThoseOfUnix(t *testing.T) {
	for _, tt := range []struct {
		mode fs.FileMode
		want string
	}{
		{0o751, "-rwxr-x--x"},
		{fs.ModeDir | 0o777, "drwxrwxrwx"},
		{fs.ModeSymlink | 0o777, "lrwxrwxrwx"},
		{fs.ModeNamedPipe | 0o600, "prw-------"},
		{fs.ModeSocket | 0o600, "srw-------"},
		{fs.ModeDevice | 0o600, "brw-------"},
		{fs.ModeDevice | fs.ModeCharDevice | 0o600, "crw-------"},
		{fs.ModeSetuid | 0o755, "-rwsr-xr-x"},
		{fs.ModeSetuid | 0o644, "-rwSr--r--"},
		{fs.ModeSetgid | 0o755, "-rwxr-sr-x"},
		{fs.ModeSetgid | 0o644, "-rw-r-Sr--"},
		{fs.ModeDir | fs.ModeSticky | 0o777, "drwxrwxrwt"},
		{fs.ModeDir | fs.ModeSticky | 0o770, "drwxrwx--T"},
	} {
		if got := string(AppendList(nil, Entry{Name: "a", Mode: tt.mode}, now)[:10]); got != tt.want {
			t.Errorf("%v: %s; want %s", tt.mode, got, tt.want)
		}
	}
}

func TestAppendName(t *testing.T) {
	for _, tt := range []struct {
		in, want string
		ok       bool
	}{
		{"a b", "a b\r\n", true},
		{"\x1b\t\xff", "\x1b\t\xff\r\n", true},
		{"", "\r\n", true},
		{"a\nb", "a?b\r\n", false},
		{"a\r", "a?\r\n", false},
		{"\x00", "?\r\n", false},
	} {
		if got := string(AppendName(nil, tt.in)); got != tt.want {
			t.Errorf("AppendName(%q) = %q; want %q", tt.in, got, tt.want)
		}
		if got := NameOK(tt.in); got != tt.ok {
			t.Errorf("NameOK(%q) = %v", tt.in, got)
		}
	}
}

// A directory of a million entries makes no garbage.
func TestListingsDoNotAllocate(t *testing.T) {
	entries := []Entry{
		{Name: "a b\nc", Mode: fs.ModeSetuid | 0o755, Size: 1 << 40, Time: now, Links: 1, Owner: "domain users", Group: "staff", Dev: 1, Ino: 2, Perm: "adfrw"},
		{Name: "l", Mode: fs.ModeSymlink | 0o777, Target: "x", Time: now.Add(-recent - time.Millisecond), UID: 1000, GID: 1000},
		{Name: "d", Mode: fs.ModeDir | 0o755, Kind: KindCdir},
	}
	buf := make([]byte, 0, 4096)
	if n := testing.AllocsPerRun(100, func() {
		b := buf
		for _, e := range entries {
			b = AppendList(b, e, now)
			b = AppendName(b, e.Name)
			b = AppendFacts(b, AllFacts, e)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkAppendList(b *testing.B) {
	e := Entry{Name: "report-2024-06.pdf", Mode: 0o644, Size: 123456, Time: now, Links: 1, Owner: "alice", Group: "staff"}
	buf := make([]byte, 0, 4096)
	for b.Loop() {
		buf = AppendList(buf[:0], e, now)
	}
}

func BenchmarkAppendFacts(b *testing.B) {
	e := Entry{Name: "report-2024-06.pdf", Mode: 0o644, Size: 123456, Time: now, Perm: "adfrw", Dev: 64769, Ino: 123456}
	buf := make([]byte, 0, 4096)
	for b.Loop() {
		buf = AppendFacts(buf[:0], DefaultFacts, e)
	}
}

var flagTests = []struct{ name, in, flags, rest string }{
	{"nothing", "", "", ""},
	{"a path", "pub", "", "pub"},
	{"flags", "-la", "la", ""},
	{"flags and a path", "-la pub", "la", "pub"},
	{"two words of flags", "-l -a pub", "la", "pub"},
	{"blanks in a path are kept", "-l a  b ", "l", "a  b "},
	{"a path may begin with a blank", "-l  pub", "l", " pub"},
	{"and then it is no flag", "-l  -a", "l", " -a"},
	{"a blank before everything belongs to the path", " -l", "", " -l"},
	{"flags with a blank behind", "-l ", "l", ""},
	{"a dash alone is a name", "-", "", "-"},
	{"a dash alone is a name behind flags", "-l -", "l", "-"},
	{"a dash and more words is a name", "- x", "", "- x"},
	{"two dashes end the flags", "-l -- -x", "l", "-x"},
	{"two dashes and nothing", "--", "", ""},
	{"two dashes and a blank", "-- ", "", ""},
	{"two dashes and blanks", "--  a", "", " a"},
	{"two dashes twice", "-- --", "", "--"},
	{"a word with two dashes has no letters", "--color -R x", "R", "x"},
	{"only leading words are flags", "pub -R", "", "pub -R"},
}

func TestSplitFlags(t *testing.T) {
	for _, tt := range flagTests {
		if flags, rest := SplitFlags(tt.in); flags != tt.flags || rest != tt.rest {
			t.Errorf("%s: SplitFlags(%q) = %q, %q; want %q, %q", tt.name, tt.in, flags, rest, tt.flags, tt.rest)
		}
	}
}

// The path is always an end of what was written, and flags and path written in
// their plainest form are read as the same.
func FuzzSplitFlags(f *testing.F) {
	for _, tt := range flagTests {
		f.Add(tt.in)
	}
	f.Fuzz(func(t *testing.T, in string) {
		flags, rest := SplitFlags(in)
		if !strings.HasSuffix(in, rest) || strings.Contains(flags, " ") {
			t.Errorf("%q = %q, %q", in, flags, rest)
		}
		if !strings.HasPrefix(in, "-") && (flags != "" || rest != in) {
			t.Errorf("%q = %q, %q", in, flags, rest)
		}
		plain := "-- " + rest
		if flags != "" {
			plain = "-" + flags + " " + plain
		}
		if f2, r2 := SplitFlags(plain); f2 != flags || r2 != rest {
			t.Errorf("%q = %q, %q, then %q = %q, %q", in, flags, rest, plain, f2, r2)
		}
	})
}
