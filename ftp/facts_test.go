package ftp

import (
	"io/fs"
	"strings"
	"testing"
	"time"
)

func TestAppendFacts(t *testing.T) {
	file := Entry{Name: "a b.txt", Mode: fs.ModeSetgid | 0o640, Size: 1234, Time: time.Date(2024, 6, 3, 9, 5, 0, 7_000_000, time.UTC),
		Owner: "alice", Group: "domain users", UID: 1000, GID: 100, Dev: 0x801, Ino: 0x2a, Perm: "adfrw"}
	for _, tt := range []struct {
		name  string
		facts Facts
		in    Entry
		want  string
	}{
		{"all of them, in their order", AllFacts, file, "type=file;size=1234;modify=20240603090500.007;perm=adfrw;unique=801.2a;" +
			"UNIX.mode=2640;UNIX.uid=1000;UNIX.gid=100;UNIX.ownername=alice;UNIX.groupname=domain_users; a b.txt"},
		{"the usual ones", DefaultFacts, file, "type=file;size=1234;modify=20240603090500.007;perm=adfrw;unique=801.2a; a b.txt"},
		{"none", 0, file, " a b.txt"},
		{"a directory has no size", FactType | FactSize, Entry{Name: "d", Mode: fs.ModeDir, Size: 4096}, "type=dir; d"},
		{"the listed directory", FactType | FactSize, Entry{Name: "/d", Mode: fs.ModeDir, Size: 4096, Kind: KindCdir}, "type=cdir; /d"},
		{"the one above", FactType | FactSize, Entry{Name: "..", Size: 4096, Kind: KindPdir}, "type=pdir; .."},
		{"a symbolic link with its target", FactType, Entry{Name: "l", Mode: fs.ModeSymlink, Target: "../ü=x"}, "type=OS.unix=slink:../ü=x; l"},
		{"a symbolic link to where nobody knows", FactType, Entry{Name: "l", Mode: fs.ModeSymlink}, "type=OS.unix=slink; l"},
		{"a semicolon in a target", FactType, Entry{Name: "l", Mode: fs.ModeSymlink, Target: "a;b"}, "type=OS.unix=slink; l"},
		{"a blank in a target", FactType, Entry{Name: "l", Mode: fs.ModeSymlink, Target: "a b"}, "type=OS.unix=slink; l"},
		{"a line end in a target", FactType, Entry{Name: "l", Mode: fs.ModeSymlink, Target: "a\r\nb"}, "type=OS.unix=slink; l"},
		{"a pipe", FactType, Entry{Name: "p", Mode: fs.ModeNamedPipe}, "type=OS.unix=fifo; p"},
		{"a socket", FactType, Entry{Name: "s", Mode: fs.ModeSocket}, "type=OS.unix=socket; s"},
		{"a terminal", FactType, Entry{Name: "c", Mode: fs.ModeDevice | fs.ModeCharDevice}, "type=OS.unix=chr; c"},
		{"a disk", FactType, Entry{Name: "b", Mode: fs.ModeDevice}, "type=OS.unix=blk; b"},
		{"what is unknown is left out", AllFacts &^ FactType, Entry{Name: "a"}, "size=0;perm=;UNIX.mode=0000;UNIX.uid=0;UNIX.gid=0; a"},
		{"an inode number is enough for unique", FactUnique, Entry{Name: "a", Ino: 1}, "unique=0.1; a"},
		{"what would break a fact", FactPerm | FactOwner | FactGroup, Entry{Name: "a", Perm: "r; x", Owner: "a;b=c", Group: "\r\n"}, "perm=r__x;UNIX.ownername=a_b_c;UNIX.groupname=__; a"},
		{"a name that is not OK", 0, Entry{Name: "a\r\nb\x00"}, " a??b?"},
		{"setuid, setgid and sticky", FactMode, Entry{Name: "a", Mode: fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky | 0o777}, "UNIX.mode=7777; a"},
	} {
		if got := string(AppendFacts(nil, tt.facts, tt.in)); got != tt.want {
			t.Errorf("%s:\n got %q\nwant %q", tt.name, got, tt.want)
		}
	}
}

func TestParseFacts(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want Facts
	}{
		{"", 0},
		{"type;size;", FactType | FactSize},
		{"SIZE;Type", FactType | FactSize},
		{"unix.MODE;UNIX.uid;", FactMode | FactUID},
		{"create;media-type;size;x.y;", FactSize},
		{";;;", 0},
		{"type, size", 0},
		{"type;type;", FactType},
	} {
		if got := ParseFacts(tt.in); got != tt.want {
			t.Errorf("ParseFacts(%q) = %v; want %v", tt.in, got, tt.want)
		}
	}
}

func TestFactsInWords(t *testing.T) {
	if got, want := DefaultFacts.String(), "type;size;modify;perm;unique;"; got != want {
		t.Errorf("DefaultFacts = %s; want %s", got, want)
	}
	if got, want := AllFacts.String(), "type;size;modify;perm;unique;UNIX.mode;UNIX.uid;UNIX.gid;UNIX.ownername;UNIX.groupname;"; got != want {
		t.Errorf("AllFacts = %s; want %s", got, want)
	}
	if got := Facts(0).String(); got != "" {
		t.Errorf("no facts = %s", got)
	}
	if got, want := FeatFacts(FactType|FactMode), "type*;size;modify;perm;unique;UNIX.mode*;UNIX.uid;UNIX.gid;UNIX.ownername;UNIX.groupname;"; got != want {
		t.Errorf("FeatFacts = %s; want %s", got, want)
	}
}

// What is printed parses back, and FEAT shows the same set.
func FuzzParseFacts(f *testing.F) {
	for _, s := range []string{"", "type;size;", "Type;UNIX.mode;x;", AllFacts.String()} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		set := ParseFacts(in)
		if set&^AllFacts != 0 || ParseFacts(set.String()) != set {
			t.Errorf("%q = %v, printed %s", in, uint32(set), set)
		}
		var starred Facts
		for fact := range strings.SplitSeq(FeatFacts(set), ";") {
			if name, on := strings.CutSuffix(fact, "*"); on {
				starred |= ParseFacts(name)
			}
		}
		if starred != set {
			t.Errorf("FeatFacts(%s) = %s", set, FeatFacts(set))
		}
	})
}

// Whatever an entry holds, a client that splits its line as RFC 3659, 7.2 says
// finds the name, and each listing is one line.
func FuzzListings(f *testing.F) {
	f.Add("a b", "alice", "staff", "x;y z", "rw", uint32(fs.ModeSymlink|0o777), int64(5), int64(0), uint32(AllFacts))
	f.Add("\r\n", "\n", " ", "\x00", ";", uint32(0o644), int64(-1), int64(1<<62), uint32(3))
	f.Fuzz(func(t *testing.T, name, owner, group, target, perm string, mode uint32, size, sec int64, facts uint32) {
		e := Entry{Name: name, Mode: fs.FileMode(mode), Size: size, Time: time.Unix(sec, 0), Owner: owner, Group: group, Target: target, Perm: perm, Dev: 1, Ino: 1}
		for _, line := range []string{string(AppendList(nil, e, now)), string(AppendName(nil, name)), string(AppendFacts(nil, Facts(facts), e)) + "\r\n"} {
			body, ended := strings.CutSuffix(line, "\r\n")
			if !ended || !NameOK(body) {
				t.Errorf("%q is not one line", line)
			}
		}
		set, got, _ := strings.Cut(string(AppendFacts(nil, Facts(facts), e)), " ")
		if NameOK(name) && got != name {
			t.Errorf("the name is read as %q; want %q", got, name)
		}
		for fact := range strings.SplitSeq(set, ";") {
			if key, _, found := strings.Cut(fact, "="); fact != "" && (!found || ParseFacts(key) == 0) {
				t.Errorf("the fact %q in %q", fact, set)
			}
		}
		if fields := strings.Fields(string(AppendList(nil, e, now))); len(fields) < 8 {
			t.Errorf("%d fields in %q", len(fields), fields)
		}
	})
}
