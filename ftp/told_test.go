package ftp

import (
	"io/fs"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestParseFactsLine(t *testing.T) {
	at := time.Date(2024, 6, 3, 9, 5, 7, 0, time.UTC)
	const typ, size, when, mode, owner = KnownType, KnownSize, KnownTime, KnownMode, KnownOwner
	link := func(name, target string) Listed {
		return Listed{Entry: Entry{Name: name, Mode: fs.ModeSymlink, Target: target}, Known: typ}
	}
	kind := func(m fs.FileMode) Listed { return Listed{Entry: Entry{Name: "a", Mode: m}, Known: typ} }
	for _, tt := range []struct {
		name, in string
		want     Listed
	}{
		{"all that there is", "type=file;size=12;modify=20240603090507;perm=adfrw;unique=801.2a;UNIX.mode=2640;UNIX.uid=1000;UNIX.gid=100;UNIX.ownername=alice;UNIX.groupname=staff; a b.txt",
			Listed{Entry{Name: "a b.txt", Mode: fs.ModeSetgid | 0o640, Size: 12, Time: at, UID: 1000, GID: 100, Owner: "alice", Group: "staff", Perm: "adfrw"},
				typ | size | when | mode | owner, time.Second, "801.2a"}},
		{"any case", "Type=File;SIZE=12;unix.MODE=0644; A", Listed{Entry: Entry{Name: "A", Mode: 0o644, Size: 12}, Known: typ | size | mode}},
		{"a line of MLST", " type=dir; /x", Listed{Entry: Entry{Name: "/x", Mode: fs.ModeDir}, Known: typ}},
		{"no facts", " a b", Listed{Entry: Entry{Name: "a b"}}},
		{"facts that nobody knows", "x.y=1;media-type=a/b;create=1; a", Listed{Entry: Entry{Name: "a"}}},
		{"values that do not parse", "type=pigeon;size=-1;modify=yesterday;UNIX.mode=rwx; a", Listed{Entry: Entry{Name: "a"}}},
		{"a name that looks like facts", "type=file; size=1; b", Listed{Entry: Entry{Name: "size=1; b"}, Known: typ}},
		{"a name that begins and ends with a blank", "type=file;  a ", Listed{Entry: Entry{Name: " a "}, Known: typ}},
		{"a name that begins with a semicolon", "type=file; ; a", Listed{Entry: Entry{Name: "; a"}, Known: typ}},
		{"a missing last semicolon", "type=file;size=1 a=b; c", Listed{Entry: Entry{Name: "a=b; c", Size: 1}, Known: typ | size}},
		{"a directory and the size of what is in it", "type=dir;sizd=4096; a", Listed{Entry: Entry{Name: "a", Mode: fs.ModeDir, Size: 4096}, Known: typ | size}},
		{"the listed directory", "type=cdir; .", Listed{Entry: Entry{Name: ".", Mode: fs.ModeDir, Kind: KindCdir}, Known: typ}},
		{"the one above", "type=pdir; ..", Listed{Entry: Entry{Name: "..", Mode: fs.ModeDir, Kind: KindPdir}, Known: typ}},
		{"a link and its target", "type=OS.unix=slink:../B:c; a", link("a", "../B:c")},
		{"a blank in a target", "type=OS.unix=slink:a b; c; d", link("c; d", "a b")},
		{"a link in other words", "type=OS.UNIX=symlink; a", link("a", "")},
		{"a link without a target", "type=OS.unix=slink:; a", link("a", "")},
		{"a pipe", "type=OS.unix=fifo; a", kind(fs.ModeNamedPipe)},
		{"a socket", "type=OS.unix=socket; a", kind(fs.ModeSocket)},
		{"a terminal", "type=OS.unix=chr-4/1; a", kind(fs.ModeDevice | fs.ModeCharDevice)},
		{"a disk", "type=OS.unix=blk; a", kind(fs.ModeDevice)},
		{"the mode before the type", "UNIX.mode=1777;type=dir; a", Listed{Entry: Entry{Name: "a", Mode: fs.ModeDir | fs.ModeSticky | 0o777}, Known: typ | mode}},
		{"a mode with the bits of a type", "UNIX.mode=0100644; a", Listed{Entry: Entry{Name: "a", Mode: 0o644}, Known: mode}},
		{"milliseconds", "modify=20240603090507.250; a", Listed{Entry: Entry{Name: "a", Time: at.Add(250 * time.Millisecond)}, Known: when, Step: time.Millisecond}},
		{"tenths", "modify=20240603090507.5; a", Listed{Entry: Entry{Name: "a", Time: at.Add(500 * time.Millisecond)}, Known: when, Step: 100 * time.Millisecond}},
		{"more digits than a nanosecond has", "modify=20240603090507.1234567891; a", Listed{Entry: Entry{Name: "a", Time: at.Add(123456789)}, Known: when, Step: time.Nanosecond}},
		{"no seconds", "modify=202406030905; a", Listed{Entry: Entry{Name: "a", Time: at.Add(-7 * time.Second)}, Known: when, Step: time.Minute}},
		{"owners by number", "UNIX.uid=0;UNIX.group=100; a", Listed{Entry: Entry{Name: "a", Owner: "0", Group: "100", GID: 100}, Known: owner}},
		{"an owner by name where others have numbers", "UNIX.owner=alice; a", Listed{Entry: Entry{Name: "a", Owner: "alice"}, Known: owner}},
		{"a number and a name", "UNIX.ownername=alice;UNIX.owner=1000; a", Listed{Entry: Entry{Name: "a", Owner: "alice", UID: 1000}, Known: owner}},
		{"a blank in a group", "type=file;UNIX.groupname=domain users; a", Listed{Entry: Entry{Name: "a", Group: "domain users"}, Known: typ | owner}},
	} {
		if got, err := ParseFactsLine(tt.in); err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: ParseFactsLine(%q)\n got %+v, %v\nwant %+v", tt.name, tt.in, got, err, tt.want)
		}
	}
	for _, in := range []string{"", " ", "a", "a b", "a; b", "type=file;", "type=file; ", "type=file", "type=file;size=1;", ";type=file; a", "=x; a", "total 5",
		"type=file; a\rb", "type=file; a\nb", "type=file; a\x00", "type=file; " + strings.Repeat("a", maxReplyLine)} {
		if got, err := ParseFactsLine(in); err != ErrSyntax {
			t.Errorf("ParseFactsLine(%.40q) = %+v, %v; want ErrSyntax", in, got, err)
		}
	}
}

// Whatever an entry holds, what AppendFacts writes of it is read as it.
func FuzzParseFactsLine(f *testing.F) {
	f.Add("a b", "alice", "staff", "x;y z", "rw", uint32(fs.ModeSymlink|0o777), int64(5), int64(1_700_000_000_250_000_000), uint32(AllFacts), "type=file;size=1; a")
	f.Add("; a", "", "7", "", "", uint32(fs.ModeDir|fs.ModeSticky), int64(-1), int64(0), uint32(0), " type=dir;x=; ")
	f.Add("type=file; b", "", "", "", "", uint32(fs.ModeDevice|fs.ModeCharDevice), int64(1), int64(0), uint32(FactMode), "modify=20240101000000.5 a")
	f.Fuzz(func(t *testing.T, name, owner, group, target, perm string, mode uint32, size, nano int64, facts uint32, line string) {
		if l, err := ParseFactsLine(line); err == nil {
			if l.Name == "" || !NameOK(l.Name) || !strings.HasSuffix(line, " "+l.Name) {
				t.Errorf("%q names %q", line, l.Name)
			}
			if l.Size < 0 || l.Is(KnownTime) != (l.Step > 0) || l.Is(KnownTime) == l.Time.IsZero() && l.Time.Year() != 1 ||
				l.Is(KnownOwner) != (l.Owner != "" || l.Group != "") || !l.Is(KnownType) && l.Mode.Type() != 0 {
				t.Errorf("%q is read as %+v", line, l)
			}
		}

		e := Entry{Name: name, Mode: fs.FileMode(mode), Size: size, Time: time.Unix(0, nano), Owner: owner, Group: group, UID: mode, GID: uint32(size), Target: target, Perm: perm, Dev: 1, Ino: uint64(facts)}
		set := Facts(facts) & AllFacts
		written := string(AppendFacts(nil, set, e))
		got, err := ParseFactsLine(written)
		if name == "" || len(written) > maxReplyLine {
			if err != ErrSyntax {
				t.Errorf("%q is read as %+v, %v", written, got, err)
			}
			return
		}
		want := Listed{Entry: Entry{Name: string(appendOneLine(nil, name))}}
		if set == 0 { // a name that looks like facts is taken for a line of MLST
			if _, _, facts := cutFacts(want.Name); facts {
				return
			}
		}
		if set&FactType != 0 {
			want.Known |= KnownType
			want.Mode = typeOf(e.Mode)
			if want.Mode == fs.ModeSymlink && factValue(target) {
				want.Target = target
			}
		}
		if set&FactSize != 0 && !e.isDir() {
			want.Known |= KnownSize
			want.Size = max(size, 0)
		}
		if set&FactModify != 0 {
			want.Known |= KnownTime
			want.Time, want.Step = e.Time.UTC().Truncate(time.Millisecond), time.Second
			if want.Time.Nanosecond() > 0 {
				want.Step = time.Millisecond
			}
		}
		if set&FactPerm != 0 {
			want.Perm = string(appendWord(nil, perm))
		}
		if set&FactUnique != 0 {
			want.Unique = "1." + strconv.FormatUint(uint64(facts), 16)
		}
		if set&FactMode != 0 {
			want.Known |= KnownMode
			want.Mode |= e.Mode & (fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky)
		}
		if set&FactUID != 0 {
			want.UID, want.Owner = e.UID, strconv.FormatUint(uint64(e.UID), 10)
		}
		if set&FactGID != 0 {
			want.GID, want.Group = e.GID, strconv.FormatUint(uint64(e.GID), 10)
		}
		if set&FactOwner != 0 && owner != "" {
			want.Owner = string(appendWord(nil, owner))
		}
		if set&FactGroup != 0 && group != "" {
			want.Group = string(appendWord(nil, group))
		}
		if want.Owner != "" || want.Group != "" {
			want.Known |= KnownOwner
		}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q is read as\n%+v, %v; want\n%+v", written, got, err, want)
		}
	})
}

// typeOf is the type that AppendFacts writes.
func typeOf(m fs.FileMode) fs.FileMode {
	for _, bits := range []fs.FileMode{fs.ModeDir, fs.ModeSymlink, fs.ModeNamedPipe, fs.ModeSocket} {
		if m&bits != 0 {
			return bits
		}
	}
	if m&fs.ModeCharDevice != 0 {
		return fs.ModeDevice | fs.ModeCharDevice
	}
	return m & fs.ModeDevice
}
