package ftp

import (
	"io/fs"
	"strings"
	"testing"
	"time"
)

// A time without a year is the last such one that has passed, or will have in a day.
func TestAListingWithoutAYear(t *testing.T) {
	east := time.FixedZone("east", 9*3600)
	for _, tt := range []struct {
		name string
		now  string
		zone *time.Location
		date string
		want string
	}{
		{"a minute ago", "2024-07-01T12:00:00Z", nil, "Jul  1 11:59", "2024-07-01T11:59:00Z"},
		{"in an hour: clocks differ", "2024-07-01T12:00:00Z", nil, "Jul  1 13:00", "2024-07-01T13:00:00Z"},
		{"in a day", "2024-07-01T12:00:00Z", nil, "Jul  2 12:00", "2024-07-02T12:00:00Z"},
		{"in more than a day is last year", "2024-07-01T12:00:00Z", nil, "Jul  2 12:01", "2023-07-02T12:01:00Z"},
		{"half a year ago", "2024-07-01T12:00:00Z", nil, "Jan  1 12:00", "2024-01-01T12:00:00Z"},
		{"last December", "2024-01-15T12:00:00Z", nil, "Dec 24 18:00", "2023-12-24T18:00:00Z"},
		{"New Year where the server is ahead", "2023-12-31T23:50:00Z", nil, "Jan  1 08:50", "2024-01-01T08:50:00Z"},
		{"New Year's Eve, a minute late", "2024-01-01T00:00:00Z", nil, "Dec 31 23:59", "2023-12-31T23:59:00Z"},
		{"a leap day of this year", "2024-03-01T00:00:00Z", nil, "Feb 29 09:00", "2024-02-29T09:00:00Z"},
		{"a leap day of a year ago", "2025-01-10T00:00:00Z", nil, "Feb 29 09:00", "2024-02-29T09:00:00Z"},
		{"a leap day of three years ago", "2027-06-10T00:00:00Z", nil, "Feb 29 09:00", "2024-02-29T09:00:00Z"},
		{"a leap day before it has come", "2028-02-20T00:00:00Z", nil, "Feb 29 09:00", "2024-02-29T09:00:00Z"},
		{"the end of a day", "2024-07-01T12:00:00Z", nil, "Jun 30 24:00", "2024-07-01T00:00:00Z"},
		{"the zone of the server", "2024-07-01T12:00:00Z", east, "Jul  1 20:59", "2024-07-01T11:59:00Z"},
		{"the year of the server", "2023-12-31T20:00:00Z", east, "Jan  1 04:59", "2023-12-31T19:59:00Z"},
	} {
		at, err := time.Parse(time.RFC3339, tt.now)
		if err != nil {
			t.Fatal(err)
		}
		p := ListParser{Now: at, Zone: tt.zone}
		l, ok := p.Line("-rw-r--r-- 1 alice staff 7 " + tt.date + " a")
		if got := l.Time.UTC().Format(time.RFC3339); !ok || got != tt.want || l.Step != time.Minute || !l.Is(KnownTime) {
			t.Errorf("%s: %s at %s = %s, step %v, %v; want %s", tt.name, tt.date, tt.now, got, l.Step, ok, tt.want)
		}
	}
}

func TestANewListParserIsReady(t *testing.T) {
	var p ListParser
	yesterday := time.Now().UTC().Add(-24 * time.Hour).Truncate(time.Minute)
	l, ok := p.Line("-rw-r--r-- 1 alice staff 7 " + yesterday.Format("Jan _2 15:04") + " a\r\n")
	if !ok || l.Name != "a" || !l.Time.Equal(yesterday) {
		t.Errorf("%+v, %v; want the time %v", l, ok, yesterday)
	}
}

func TestHostileListings(t *testing.T) {
	const ls = "-rw-r--r-- 1 alice staff 7 Jun  3 09:05 "
	long := strings.Repeat("x", maxListLine)
	for _, tt := range []struct {
		name, in string
		ok       bool
		unread   int
	}{
		{"nothing", "", false, 0},
		{"blanks", " \t ", false, 0},
		{"line ends", "\r\n", false, 0},
		{"a line end twice", ls + "a\r\r\n", true, 0},
		{"a line of the greatest length", ls + long[len(ls):], true, 0},
		{"a line that is too long", ls + long, false, 1},
		{"NUL", ls + "a\x00b", false, 1},
		{"CR", ls + "a\rb", false, 1},
		{"LF", ls + "a\n" + ls + "b", false, 1},
		{"no name", ls, false, 1},
		{"no blank before the name", strings.TrimRight(ls, " "), false, 1},
		{"only a mode", "-rw-r--r--", false, 1},
		{"only an arrow", "lrwxrwxrwx 1 a b 7 Jun  3 09:05  -> ", true, 0},
		{"a negative size", "04-14-00  03:47PM  -589 a", false, 1},
		{"a size above all", "-rw-r--r-- 1 a b 99999999999999999999 Jun  3 09:05 a", true, 0},
		{"a month of nothing", "-rw-r--r-- 1 a b 7 Jun  0 09:05 a", false, 1},
		{"a day too many", "-rw-r--r-- 1 a b 7 Jun 31 09:05 a", false, 1},
		{"an hour too many", "-rw-r--r-- 1 a b 7 Jun  3 25:05 a", false, 1},
		{"EPLF without a name", "+r\t", false, 1},
		{"a plus", "+", false, 1},
		{"a path", ls + "../../etc/passwd", true, 0},
		{"the master directory of VMS", "000000.DIR;1  1  2-JUL-2003", false, 0},
		{"VMS: a name that is all suffix", ".DIR;1  1  2-JUL-2003", true, 0},
		{"VMS: a bracket that does not end", "A.B;1 1 2-JUL-2003 [", true, 0},
		{"VMS: a size above all", "A.B;1 99999999999999999999 2-JUL-2003", false, 1},
		{"VMS: a half that stays alone", "A.B;1", false, 1},
		{"digits", strings.Repeat("1 ", maxListLine/2), false, 1},
		{"a reply of the control connection", "550 No such file or directory", false, 1},
	} {
		p := ListParser{Now: now}
		l, ok := p.Line(tt.in)
		n, first := p.Unread()
		if ok != tt.ok || n != tt.unread || (n > 0) != (first != "") || len(first) > maxShown {
			t.Errorf("%s: %+v, %v, %d lines not understood, %q", tt.name, l, ok, n, first)
		}
	}
}

func TestUnreadKeepsTheFirstLine(t *testing.T) {
	p := ListParser{Now: now}
	for _, line := range []string{"total 3", "first " + strings.Repeat("é", maxShown), "second"} {
		p.Line(line)
	}
	n, first := p.Unread()
	if n != 2 || !strings.HasPrefix(first, "first ") || len(first) != maxShown {
		t.Errorf("%d, %q", n, first)
	}
	p = ListParser{Now: now}
	for _, line := range []string{"A.B;1", "C.D;1", "  1  2-JUL-2003", "E.F;1  1  2-JUL-2003", "G.H;1"} {
		p.Line(line)
	}
	if n, first := p.Unread(); n != 2 || first != "A.B;1" {
		t.Errorf("halves without the other: %d, %q", n, first)
	}
}

func TestListingsThatMixDialects(t *testing.T) {
	p := ListParser{Now: now}
	for _, tt := range []struct{ in, name, dialect string }{
		{"Volume Unit    Referred Ext Used Recfm Lrecl BlkSz Dsorg Dsname", "", "mvs"},
		{"STOR07 3390   2004/06/23  1    1  FB     128  6144  PO  A.B", "A.B", "mvs"},
		{"drwxr-xr-x   2 OMVSKERN SYS1        8192 Oct 19  2015 downloads", "downloads", "mvs"},
		{"Migrated                                                OLD", "OLD", "mvs"},
		{"04-14-00  03:47PM                  589 read me.txt", "read me.txt", "mvs"},
	} {
		l, ok := p.Line(tt.in)
		if l.Name != tt.name || ok != (tt.name != "") || p.Dialect() != tt.dialect {
			t.Errorf("%q = %q, %v, dialect %q; want %q, %q", tt.in, l.Name, ok, p.Dialect(), tt.name, tt.dialect)
		}
	}
	if n, first := p.Unread(); n != 0 {
		t.Errorf("%d lines not understood, %q", n, first)
	}
}

// A bare word is a member where the listing is one of members, and nowhere else.
func TestABareWordIsNoEntry(t *testing.T) {
	p := ListParser{Now: now}
	if l, ok := p.Line("README"); ok || p.Dialect() != "" {
		t.Errorf("%+v", l)
	}
	p.Line(" Name     VV.MM   Created       Changed      Size  Init   Mod   Id")
	if l, ok := p.Line("README"); !ok || l.Name != "README" {
		t.Errorf("%+v, %v", l, ok)
	}
}

// Whatever is in a line, the work for it is in proportion to its length.
func TestLongLinesTakeNoLongTime(t *testing.T) {
	start := time.Now()
	for _, piece := range []string{" -> ", "1 ", "Jan 1 ", ";1", "[", "(", "* ", ",", ", ", "12-12-12 ", "? ", "1,111"} {
		for _, head := range []string{"", "lrwxrwxrwx 1 a b 3 Jun  3 09:05 x", "-rw-r--r-- ", "+", "A;1 ", "d [R] "} {
			line := head + strings.Repeat(piece, (maxListLine-len(head))/len(piece))
			p := ListParser{Now: now}
			for range 20 {
				p.Line(line)
			}
		}
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("1440 lines took %v", took)
	}
}

func BenchmarkListParser(b *testing.B) {
	p := ListParser{Now: now}
	b.ReportAllocs()
	for b.Loop() {
		p.Line("-rw-r--r--    1 alice    staff          123456 Jun  3 09:05 report-2024-06.pdf")
	}
}

// A listing of a million entries makes no garbage.
func TestReadingListingsDoesNotAllocate(t *testing.T) {
	for _, line := range []string{
		"-rw-r--r--    1 alice    staff          123456 Jun  3 09:05 report-2024-06.pdf",
		"lrwxrwxrwx    1 alice    staff               3 Jun  3  2019 a -> b c",
		"04-27-00  12:09PM       <DIR>          licensed programs",
		"04-14-00  03:47PM                  589 read me.txt",
	} {
		p := ListParser{Now: now}
		p.Line(line)
		if n := testing.AllocsPerRun(100, func() { p.Line(line) }); n != 0 {
			t.Errorf("%q: %v allocations", line, n)
		}
	}
}

func FuzzListParser(f *testing.F) {
	for _, seed := range []string{
		"drwxr-xr-x   4 root     wheel        512 Apr  8  1994 old things",
		"lrwxrwxrwx   1 root     other          3 Jan 25 00:17 a -> b -> x/y",
		"crw-r----- 1 root kmem 0, 27 Jan 30 11:42 kmem",
		"-rw-r--r--   1 root     root    12 2019-03-04 12:33:44.123456789 +0100 full iso",
		"-rw-rw---- 1 a b 0 6月 3日 2003年 x", "d????????? ? ?    ?          ?            ? secret",
		"d [R----F--] supervisor            512       Jan 16 18:53    login", "-[RWCEMFA] a 214059 Jan 01  2000    b",
		"04-27-00  12:09PM       <DIR>          a b", "01-01-00  01:00AM       <JUNCTION>     a -> b",
		"STOR07 3390   2004/06/23  1    1  FB     128  6144  PO  A.B", "Pseudo Directory   A",
		" Name     VV.MM\nROWDATA1  01.03 2002/09/12 2002/10/11 09:37    11    11     0 ANB002\nABC",
		"A.B;1\n  14/15   24-JUL-2002 14:35:40  [G,O]    (RWE,RWE,RWE,RE)", "PUB.DIR;1  1 19-NOV-2001 21:41 [a] (RWE,RWE,RE,RE)",
		"QSYS            77824 02/23/00 15:09:55 *DIR old dir/", "ABT     *MEM       A.FILE/A.MBR",
		"+i8388621.48594,m825718503,r,s280,\tx", `BRD 101 2522 27-Aug-02 13:57:10 155,106 "nnnn"`,
		"SESSION  GLOBALV   A1 V      41     21     1       9/16/91   15:10:32", "05/20/2000 13:38:19 F 1 65758 'a'",
		"     0           DIR   12-30-97   12:32  a", "   2048    Feb-28-1998  05:23:30   a <DIR>",
		"startup.cfg          2116  03/06/03  Thur.    07:38:50", "total 12\nDirectory A:[B]\n\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		p := ListParser{Now: now}
		var lines, entries int
		var before string
		for line := range strings.SplitSeq(in, "\n") {
			lines++
			l, ok := p.Line(line)
			last := before
			if strings.Trim(line, " \t\r") != "" {
				before = line
			}
			if !ok {
				if l != (Listed{}) {
					t.Fatalf("%q: no entry and %+v", line, l)
				}
				continue
			}
			entries++
			parts := []string{l.Name}
			if i := strings.IndexByte(l.Name, '.'); p.known == inVM || !strings.Contains(line, l.Name) && i > 0 {
				parts = []string{l.Name[:max(i, 0)], l.Name[i+1:]} // the words of CMS are joined by a dot
			}
			for _, part := range parts {
				if !strings.Contains(line, part) && !strings.Contains(last, part) {
					t.Errorf("%q, %q: name %q", last, line, l.Name)
				}
			}
			if l.Name == "" || l.Name == "." || l.Name == ".." || !NameOK(l.Name) || !NameOK(l.Target) || l.Size < 0 {
				t.Errorf("%q: %+v", line, l)
			}
			if l.Is(KnownTime) != (l.Step > 0) || l.Is(KnownTime) && l.Time.Truncate(time.Second) != l.Time {
				t.Errorf("%q: time %v, step %v, known %v", line, l.Time, l.Step, l.Is(KnownTime))
			}
			if !l.Is(KnownType) && l.Mode.Type() != 0 || l.Target != "" && l.Mode&fs.ModeSymlink == 0 {
				t.Errorf("%q: type %v, known %v", line, l.Mode, l.Is(KnownType))
			}
			if (l.Owner != "" || l.Group != "") != l.Is(KnownOwner) {
				t.Errorf("%q: owner %q, %q, known %v", line, l.Owner, l.Group, l.Is(KnownOwner))
			}
			if p.Dialect() == "" {
				t.Errorf("%q: an entry of no dialect", line)
			}
		}
		if n, first := p.Unread(); n+entries > lines || n > 0 && first == "" || len(first) > maxShown {
			t.Errorf("%d lines, %d entries, %d not understood, %q", lines, entries, n, first)
		}
	})
}

// What AppendList writes comes back.
func FuzzAppendListIsRead(f *testing.F) {
	f.Add("a.txt", "", "alice", "staff", int64(1234), uint32(0o644), int64(1719800000), uint64(1))
	f.Add(" a  b ", "x y", "", "", int64(1)<<40, uint32(0o777)|uint32(fs.ModeSymlink), int64(0), uint64(0))
	f.Add("2019 x", "", "Jan", "5", int64(2019), uint32(0o755)|uint32(fs.ModeDir), int64(1709210000), uint64(12))
	f.Add("->", " -", "2019-03-04", "12:33", int64(12), uint32(fs.ModeSetuid|fs.ModeSticky|0o111), int64(-6e10), uint64(7))
	f.Add("x", "", "1", "1", int64(0), uint32(fs.ModeDevice|fs.ModeCharDevice|0o600), int64(2e11), uint64(1))
	f.Fuzz(func(t *testing.T, name, target, owner, group string, size int64, mode uint32, unix int64, links uint64) {
		e := Entry{Name: name, Size: max(size, 0), Owner: owner, Group: group, Links: links,
			Mode: fs.FileMode(mode) & (fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky)}
		kinds := []fs.FileMode{0, fs.ModeDir, fs.ModeSymlink, fs.ModeNamedPipe, fs.ModeSocket, fs.ModeDevice, fs.ModeDevice | fs.ModeCharDevice}
		e.Mode |= kinds[mode>>9%uint32(len(kinds))]
		if e.Mode&fs.ModeSymlink != 0 {
			e.Target = target
		}
		e.Time = time.Unix(unix%250000000000, 0).UTC()
		if y := e.Time.Year(); y < 1 || y > 9999 || e.Time.IsZero() {
			return
		}
		plain := func(s string) string { return string(appendPlain(nil, s)) }
		word := func(s string) string { return string(appendWord(nil, s)) }
		line := string(AppendList(nil, e, now))
		p := ListParser{Now: now}
		l, ok := p.Line(line)
		switch {
		case len(line) > maxListLine, name == "", name == ".", name == "..":
			if ok && len(line) <= maxListLine+2 && name != "" && e.Target == "" {
				t.Errorf("%q: %+v", line, l)
			}
			return
		case strings.Contains(name+" "+target, " -> "), strings.HasSuffix(name, " ->"), strings.HasSuffix(name, " -"), strings.Contains(name, "/"):
			return // nobody can tell where the name ends
		}
		if !ok || p.Dialect() != "unix" {
			t.Fatalf("%q is not read", line)
		}
		if l.Name != plain(name) || l.Target != plain(e.Target) || l.Mode != e.Mode || !l.Is(KnownType|KnownMode|KnownTime|KnownOwner) {
			t.Errorf("%q = %q, %q, %v, known %b", line, l.Name, l.Target, l.Mode, l.Known)
		}
		if e.Mode&fs.ModeDevice == 0 && (l.Size != e.Size || !l.Is(KnownSize)) {
			t.Errorf("%q: size %d", line, l.Size)
		}
		if d := e.Time.Sub(l.Time); d < 0 || d >= l.Step {
			t.Errorf("%q: time %v, %v before, step %v", line, l.Time, d, l.Step)
		}
		if e.Mode&fs.ModeDevice != 0 && strings.HasSuffix(group, ",") {
			return // as a major number
		}
		if owner != "" && l.Owner != word(owner) || group != "" && l.Group != word(group) {
			t.Errorf("%q: owner %q, %q", line, l.Owner, l.Group)
		}
	})
}
