package screen

import (
	"bytes"
	"io/fs"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"dray/ftp"
	"dray/remote"
)

func TestLine(t *testing.T) {
	for in, want := range map[string]string{
		"plain": "plain", "ä漢👩": "ä漢👩", "a\nb": "a?b", "a\tb": "a?b", "\x1b[31m": "?[31m", "\xff": "?", "\u009b": "?", "a\u202eb": "a?b", "\u2066": "?", "": "",
	} {
		if got := Line(in); got != want {
			t.Errorf("Line(%q) = %q; want %q", in, got, want)
		}
	}
}

func TestNumbersForPeople(t *testing.T) {
	for n, want := range map[int64]string{-1: "0 B", 0: "0 B", 999: "999 B", 1000: "1.0 KiB", 1 << 20: "1.0 MiB", 10 << 20: "10 MiB", 1 << 30: "1.0 GiB", 1 << 50: "1.0 PiB", 1<<63 - 1: "8192.0 PiB"} {
		if got := Size(n); got != want {
			t.Errorf("Size(%d) = %q; want %q", n, got, want)
		}
	}
	for d, want := range map[time.Duration]string{0: "0 s", 59 * time.Second: "59 s", 3*time.Minute + 4*time.Second: "3:04", time.Hour + 2*time.Minute + 3*time.Second: "1:02:03", 240 * time.Hour: "10 days"} {
		if got := Duration(d); got != want {
			t.Errorf("Duration(%v) = %q; want %q", d, got, want)
		}
	}
	for _, x := range [][3]int64{{0, 0, 0}, {5, 0, 0}, {-5, 10, 0}, {5, 10, 50}, {20, 10, 100}, {1 << 62, 1, 100}, {1<<63 - 1, 1<<63 - 1, 100}} {
		if got := Percent(x[0], x[1]); got != x[2] {
			t.Errorf("Percent(%d, %d) = %d; want %d", x[0], x[1], got, x[2])
		}
	}
}

func TestNamesForAProgramAreLeftAsTheyAre(t *testing.T) {
	const evil = "a\x1b[31m\nb\xff\u202e"
	if got, want := Name(evil, false), "a\x1b[31m?b\xff\u202e"; got != want {
		t.Errorf("%q; want %q", got, want)
	}
	if got, want := Name(evil, true), "a?[31m?b??"; got != want {
		t.Errorf("%q; want %q", got, want)
	}
}

func FuzzLine(f *testing.F) {
	f.Add("a\nb\x1b[2J\u202e", 3)
	f.Add("漢字\xff", 3)
	f.Fuzz(func(t *testing.T, s string, width int) {
		got := Line(s)
		if !utf8.ValidString(got) || strings.ContainsAny(got, "\x00\a\b\t\n\r\x1b\x7f\u009b\u2028\u202e\u2066") || Line(got) != got {
			t.Errorf("Line(%q) = %q", s, got)
		}
		if strings.ContainsAny(Name(s, false), "\n\r\x00") {
			t.Errorf("Name(%q) = %q", s, Name(s, false))
		}
		if width = min(max(width, 0), 1000); Cells(Cut(got, width)) > width {
			t.Errorf("Cut(%q, %d) = %q", got, width, Cut(got, width))
		}
	})
}

func TestRoom(t *testing.T) {
	for _, tt := range []struct {
		free, total uint64
		want        string
	}{
		{5 << 30, 0, "5.0 GiB free"},
		{5 << 30, 10 << 30, "5.0 GiB free of 10 GiB (50% used)"},
		{11 << 30, 10 << 30, "11 GiB free of 10 GiB (0% used)"},
		{1<<64 - 1, 1<<64 - 1, "4096.0 PiB free of 4096.0 PiB (0% used)"},
		{0, 7, "0 B free of 7 B (100% used)"},
	} {
		if got := Room(tt.free, tt.total, Size); got != tt.want {
			t.Errorf("Room(%d, %d) = %q; want %q", tt.free, tt.total, got, tt.want)
		}
	}
}

func TestListings(t *testing.T) {
	at := time.Date(2026, 11, 21, 6, 7, 8, 0, time.Local)
	entry := func(name string, mode fs.FileMode, size int64, age time.Duration, owner, target string) remote.Entry {
		var e remote.Entry
		e.Name, e.Mode, e.Size, e.Time, e.Owner, e.Target = name, mode, size, at.Add(-age), owner, target
		e.Known = ftp.KnownType | ftp.KnownSize | ftp.KnownTime | ftp.KnownMode
		return e
	}
	bare := remote.Entry{}
	bare.Name = "bare"
	entries := []remote.Entry{
		entry("b\x1b", 0o640, 2048, 0, "ann", ""), entry("漢", fs.ModeDir|0o755, 0, time.Hour, "漢漢", ""),
		entry("a", fs.ModeSymlink|0o777, 1, 2*time.Hour, "", "to\x1b"), bare,
	}
	for _, tt := range []struct {
		name string
		l    Listing
		want string
	}{
		{"a name a line", Listing{}, "a\nb\x1b\nbare\n漢\n"},
		{"the other way round", Listing{Reverse: true}, "漢\nbare\nb\x1b\na\n"},
		{"newest first", Listing{ByTime: true}, "b\x1b\n漢\na\nbare\n"},
		{"largest first", Listing{BySize: true}, "b\x1b\na\nbare\n漢\n"},
		{"beside each other", Listing{Terminal: true, Width: 13}, "a     bare\nb?    漢/\n"},
		{"a terminal without a width", Listing{Terminal: true}, "a     b?    bare  漢/\n"},
		{"a name a line on a terminal", Listing{Terminal: true, Single: true}, "a\nb?\nbare\n漢/\n"},
		{"long", Listing{Long: true, Seconds: true},
			"lrwxrwxrwx  -     -     1  2026-11-21 04:07:08  a -> to\x1b\n" +
				"-rw-r-----  ann   -  2048  2026-11-21 06:07:08  b\x1b\n" +
				"??????????  -     -     -  -                    bare\n" +
				"drwxr-xr-x  漢漢  -     -  2026-11-21 05:07:08  漢\n"},
		{"long for people", Listing{Long: true, Human: true, Terminal: true},
			"lrwxrwxrwx  -     -      1 B  2026-11-21 04:07  a -> to?\n" +
				"-rw-r-----  ann   -  2.0 KiB  2026-11-21 06:07  b?\n" +
				"??????????  -     -        -  -                 bare\n" +
				"drwxr-xr-x  漢漢  -        -  2026-11-21 05:07  漢/\n"},
	} {
		var b bytes.Buffer
		tt.l.Sort(entries)
		tt.l.Write(&b, entries)
		if b.String() != tt.want {
			t.Errorf("%s:\n%s\nwant:\n%s", tt.name, b.String(), tt.want)
		}
	}
}

func TestFactsThatAreNotToldAreLeftOut(t *testing.T) {
	var e remote.Entry
	e.UID = 7
	var b bytes.Buffer
	Facts(&b, "ftp://h/a\x1b", &e)
	if want := "url     ftp://h/a?\ntype    unknown\nowner   7\n"; b.String() != want {
		t.Errorf("%q; want %q", b.String(), want)
	}
}

func TestParseSize(t *testing.T) {
	for in, want := range map[string]int64{
		"0": 0, "500": 500, "1K": 1 << 10, "1.5k": 1536, "20MB": 20 << 20, "4GiB": 4 << 30, " 2t ": 2 << 40, "4611686018427387904": 1 << 62,
		"": -1, "K": -1, "-1": -1, "NaN": -1, "Inf": -1, "infinity": -1, "5P": -1, "1 2": -1, "4194304.5T": -1,
	} {
		got, err := ParseSize(in)
		if err != nil {
			got = -1
		}
		if got != want {
			t.Errorf("ParseSize(%q) = %d, %v; want %d", in, got, err, want)
		}
	}
}
