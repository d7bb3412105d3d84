package sftp

import (
	"bytes"
	"errors"
	"io/fs"
	"reflect"
	"strings"
	"testing"
	"time"
)

// requests has one of each type and each extension.
func requests() []Request {
	all := Attributes{
		Flags: HasSize | HasOwner | HasMode | HasTimes | HasExtended, Size: 1 << 40, UID: 1000, GID: 100, Mode: 0o100644,
		ATime: 1, MTime: 1<<32 - 1, Extended: []Pair{{[]byte("a@b"), []byte("c")}},
	}
	h, p, to := []byte{0, 1, 2, 3}, []byte("/dir/näme"), []byte("new name\xff")
	return []Request{
		{Type: TypeInit, Version: 3, Pairs: []Pair{{[]byte("x@y"), []byte("1")}}},
		{Type: TypeInit, Version: 6},
		{Type: TypeOpen, ID: 1, Path: p, Flags: OpenWrite | OpenCreate | OpenTrunc, Attrs: all},
		{Type: TypeClose, ID: 2, Handle: h},
		{Type: TypeRead, ID: 3, Handle: h, Offset: 1<<63 - 1, Length: 1<<32 - 1},
		{Type: TypeWrite, ID: 4, Handle: h, Offset: 1 << 63, Data: []byte("data")},
		{Type: TypeLstat, ID: 5, Path: p},
		{Type: TypeFstat, ID: 6, Handle: h},
		{Type: TypeSetstat, ID: 7, Path: p, Attrs: Attributes{Flags: HasMode, Mode: 0o600}},
		{Type: TypeFsetstat, ID: 8, Handle: h, Attrs: Attributes{}},
		{Type: TypeOpendir, ID: 9, Path: p},
		{Type: TypeReaddir, ID: 10, Handle: h},
		{Type: TypeRemove, ID: 11, Path: p},
		{Type: TypeMkdir, ID: 12, Path: p, Attrs: Attributes{Flags: HasMode, Mode: 0o755}},
		{Type: TypeRmdir, ID: 13, Path: p},
		{Type: TypeRealpath, ID: 14, Path: []byte{}},
		{Type: TypeStat, ID: 15, Path: p},
		{Type: TypeRename, ID: 16, Path: p, To: to},
		{Type: TypeReadlink, ID: 17, Path: p},
		{Type: TypeSymlink, ID: 18, Path: to, To: p},
		{Type: TypeExtended, ID: 19, Extension: []byte(ExtPosixRename), Path: p, To: to},
		{Type: TypeExtended, ID: 20, Extension: []byte(ExtStatvfs), Path: p},
		{Type: TypeExtended, ID: 21, Extension: []byte(ExtFstatvfs), Handle: h},
		{Type: TypeExtended, ID: 22, Extension: []byte(ExtHardlink), Path: p, To: to},
		{Type: TypeExtended, ID: 23, Extension: []byte(ExtFsync), Handle: h},
		{Type: TypeExtended, ID: 24, Extension: []byte(ExtLsetstat), Path: p, Attrs: all},
		{Type: TypeExtended, ID: 25, Extension: []byte(ExtLimits)},
		{Type: TypeExtended, ID: 26, Extension: []byte(ExtExpandPath), Path: []byte("~/x")},
		{Type: TypeExtended, ID: 27, Extension: []byte(ExtCopyData), Handle: h, Offset: 1, Size: 2, Into: []byte("i"), At: 3},
		{Type: TypeExtended, ID: 28, Extension: []byte(ExtHomeDirectory), Path: []byte("alice")},
		{Type: TypeExtended, ID: 29, Extension: []byte(ExtUsersGroups), UIDs: []byte{0, 0, 0, 1}, GIDs: []byte{}},
		{Type: TypeExtended, ID: 30, Extension: []byte(ExtCheckName), Path: p, Algorithms: []byte("sha256,md5"), Offset: 5, Size: 6, Block: 512},
		{Type: TypeExtended, ID: 31, Extension: []byte(ExtCheckHandle), Handle: h, Algorithms: []byte("md5")},
		{Type: TypeExtended, ID: 32, Extension: []byte(ExtCheck), Handle: h, Algorithms: []byte("md5")},
		{Type: TypeExtended, ID: 35, Extension: []byte(ExtSight)},
		{Type: TypeExtended, ID: 33, Extension: []byte("unknown@example.org"), Data: []byte("what it likes")},
		{Type: 99, ID: 34, Data: []byte("?")},
	}
}

// One is the only packet in b.
func one(t *testing.T, b []byte) []byte {
	t.Helper()
	body, rest, need, err := Split(b)
	if err != nil || body == nil || need != 0 || len(rest) != 0 {
		t.Fatalf("Split(%d bytes) = %v, %v, %d, %v", len(b), body, rest, need, err)
	}
	return body
}

func TestRequestsAreReadAsTheyWereWritten(t *testing.T) {
	var q Request // the same for all: nothing of one is left in the next
	for _, want := range requests() {
		if err := q.Parse(one(t, want.Append(nil))); err != nil {
			t.Errorf("Parse of %+v: %v", want, err)
			continue
		}
		if !same(q, want) {
			t.Errorf("Parse = %+v; want %+v", q, want)
		}
	}
}

// same compares without telling nil from empty.
func same[T any](a, b T) bool {
	return reflect.DeepEqual(deNil(reflect.ValueOf(a)).Interface(), deNil(reflect.ValueOf(b)).Interface())
}

func deNil(v reflect.Value) reflect.Value {
	out := reflect.New(v.Type()).Elem()
	out.Set(v)
	switch v.Kind() {
	case reflect.Slice:
		out.Set(reflect.MakeSlice(v.Type(), v.Len(), v.Len()))
		for i := range v.Len() {
			out.Index(i).Set(deNil(v.Index(i)))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			out.Field(i).Set(deNil(v.Field(i)))
		}
	}
	return out
}

// A packet that ends early is malformed wherever it ends, and says whose it was as
// soon as that was there.
func TestATruncatedRequestIsMalformed(t *testing.T) {
	for _, want := range requests() {
		body := one(t, want.Append(nil))
		fixed := len(body)
		switch { // whose rest is whatever there is, or nothing
		case want.Type == 99, string(want.Extension) == "unknown@example.org", want.Type == TypeInit:
			continue
		}
		for n := range fixed {
			var q Request
			if err := q.Parse(body[:n]); !errors.Is(err, ErrMalformed) {
				t.Errorf("Parse of the first %d of %d bytes of %+v: %v", n, fixed, want, err)
			}
			if n >= 5 && (q.ID != want.ID || q.Type != want.Type) {
				t.Errorf("the first %d bytes of %+v tell id %d and type %d", n, want, q.ID, q.Type)
			}
		}
	}
}

func TestLimitsOfPackets(t *testing.T) {
	pair := Pair{[]byte("n"), []byte("d")}
	tests := []struct {
		name string
		q    Request
		want error
	}{
		{"a handle of 256 bytes", Request{Type: TypeClose, Handle: make([]byte, MaxHandle)}, nil},
		{"a handle of 257 bytes", Request{Type: TypeClose, Handle: make([]byte, MaxHandle+1)}, ErrMalformed},
		{"64 extended attributes", Request{Type: TypeFsetstat, Attrs: Attributes{Flags: HasExtended, Extended: repeat(pair, MaxPairs)}}, nil},
		{"65 extended attributes", Request{Type: TypeFsetstat, Attrs: Attributes{Flags: HasExtended, Extended: repeat(pair, MaxPairs+1)}}, ErrMalformed},
		{"65 extensions in INIT", Request{Type: TypeInit, Pairs: repeat(pair, MaxPairs+1)}, ErrMalformed},
		{"a user id of five bytes", Request{Type: TypeExtended, Extension: []byte(ExtUsersGroups), UIDs: make([]byte, 5)}, ErrMalformed},
	}
	for _, tt := range tests {
		var q Request
		if err := q.Parse(one(t, tt.q.Append(nil))); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v; want %v", tt.name, err, tt.want)
		}
	}
}

func repeat(p Pair, n int) (out []Pair) {
	for range n {
		out = append(out, p)
	}
	return out
}

func TestSplit(t *testing.T) {
	two := append((&Request{Type: TypeLstat, ID: 1, Path: []byte("a")}).Append(nil), 0, 0, 0, 9, 1)
	body, rest, _, err := Split(two)
	if err != nil || len(body) != 10 || len(rest) != 5 {
		t.Fatalf("the first of two: %d bytes, %d left, %v", len(body), len(rest), err)
	}
	if body, _, need, err := Split(rest); body != nil || need != 13 || err != nil {
		t.Errorf("a beginning: %v, need %d, %v; want 13 more", body, need, err)
	}
	tests := []struct {
		name string
		in   string
		need int
		want error
	}{
		{"nothing", "", 4, nil},
		{"half a length", "\x00\x00", 4, nil},
		{"an empty packet", "\x00\x00\x00\x00", 0, ErrEmpty},
		{"256 MiB announced", "\x10\x00\x00\x00", 0, ErrTooLong},
		{"4 GiB announced", "\xff\xff\xff\xff", 0, ErrTooLong},
		{"one more than there may be", "\x00\x04\x00\x01", 0, ErrTooLong},
		{"as much as there may be", "\x00\x04\x00\x00", MaxPacket + 4, nil},
	}
	for _, tt := range tests {
		body, _, need, err := Split([]byte(tt.in))
		if body != nil || need != tt.need || !errors.Is(err, tt.want) {
			t.Errorf("%s: Split = %v, need %d, %v; want need %d, %v", tt.name, body, need, err, tt.need, tt.want)
		}
	}
}

func TestRepliesAreReadAsTheyWereWritten(t *testing.T) {
	attrs := Attributes{Flags: HasSize | HasMode, Size: 7, Mode: 0o40755}
	n, names := BeginNames(nil, 8)
	names = n.Append(names, []byte("a\xff"), []byte("-rw-r--r-- a"), &attrs)
	names = n.Append(names, []byte("b"), nil, &Attributes{})
	if got := n.Bytes(names); got != len(names)-4 {
		t.Errorf("Bytes = %d of a packet of %d", got, len(names))
	}
	names = n.End(names)
	data := append(make([]byte, DataHeader), "some data"...)
	PutData(data, 4, 9)
	tests := []struct {
		in   []byte
		want Reply
	}{
		{AppendVersion(nil, []Pair{{[]byte("a"), []byte("1")}}), Reply{Type: TypeVersion, Version: 3, Pairs: []Pair{{[]byte("a"), []byte("1")}}}},
		{AppendStatus(nil, 1, NoSuchFile, "no such file"), Reply{Type: TypeStatus, ID: 1, Code: NoSuchFile, Text: []byte("no such file"), Language: []byte("en")}},
		{AppendHandle(nil, 2, []byte{9, 9}), Reply{Type: TypeHandle, ID: 2, Handle: []byte{9, 9}}},
		{AppendAttrs(nil, 3, &attrs), Reply{Type: TypeAttrs, ID: 3, Attrs: attrs}},
		{data, Reply{Type: TypeData, ID: 4, Data: []byte("some data")}},
		{AppendName(nil, 5, "/x", &Attributes{}), Reply{Type: TypeName, ID: 5, Names: []Name{{Name: []byte("/x"), Long: []byte("/x")}}}},
		{names, Reply{Type: TypeName, ID: 8, Names: []Name{{[]byte("a\xff"), []byte("-rw-r--r-- a"), attrs}, {Name: []byte("b")}}}},
		{[]byte{0, 0, 0, 9, byte(TypeStatus), 0, 0, 0, 6, 0, 0, 0, 4}, Reply{Type: TypeStatus, ID: 6, Code: Failure}}, // of an old server
	}
	var p Reply
	for _, tt := range tests {
		if err := p.Parse(one(t, tt.in)); err != nil || !same(p, tt.want) {
			t.Errorf("Parse = %+v, %v; want %+v", p, err, tt.want)
		}
	}
}

func TestAnswersToExtensions(t *testing.T) {
	data := func(b []byte) []byte {
		var p Reply
		if err := p.Parse(one(t, b)); err != nil || p.Type != TypeExtendedReply || p.ID != 7 {
			t.Fatalf("Parse = %+v, %v", p, err)
		}
		return p.Data
	}
	f := FileSystem{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}
	if got, err := ParseFileSystem(data(AppendFileSystem(nil, 7, f))); got != f || err != nil {
		t.Errorf("ParseFileSystem = %+v, %v", got, err)
	}
	l := Limits{MaxPacket, MaxData, MaxData, 256}
	if got, err := ParseLimits(data(AppendLimits(nil, 7, l))); got != l || err != nil {
		t.Errorf("ParseLimits = %+v, %v", got, err)
	}
	users, groups, err := ParseOwners(data(AppendOwners(nil, 7, []string{"root", ""}, []string{"staff"})))
	if err != nil || !reflect.DeepEqual(users, []string{"root", ""}) || !reflect.DeepEqual(groups, []string{"staff"}) {
		t.Errorf("ParseOwners = %q, %q, %v", users, groups, err)
	}
	for _, name := range []string{ExtCheck, ExtCheckName, ExtCheckHandle} {
		q := Request{Type: TypeExtended, ID: 7, Extension: []byte(name)}
		alg, sums, err := q.ParseSums(data(q.AppendSums(nil, "md5", []byte("0123456789abcdef"))))
		if alg != "md5" || string(sums) != "0123456789abcdef" || err != nil {
			t.Errorf("ParseSums = %q, %q, %v", alg, sums, err)
		}
	}
	for _, short := range []error{
		func() error { _, err := ParseFileSystem(make([]byte, 87)); return err }(),
		func() error { _, err := ParseLimits(nil); return err }(),
		func() error { _, _, err := ParseOwners([]byte{0, 0, 0, 5, 0, 0, 0, 2, 'x', 0, 0, 0, 0}); return err }(),
		func() error { _, _, err := new(Request).ParseSums([]byte{0, 0, 0, 2, 'x'}); return err }(),
	} {
		if !errors.Is(short, ErrMalformed) {
			t.Errorf("a short answer: %v", short)
		}
	}
}

func TestModesGoBothWays(t *testing.T) {
	for _, m := range []fs.FileMode{
		0o644, fs.ModeDir | 0o755, fs.ModeSymlink | 0o777, fs.ModeNamedPipe, fs.ModeSocket | 0o600, fs.ModeDevice | 0o660,
		fs.ModeDevice | fs.ModeCharDevice | 0o620, fs.ModeSetuid | 0o755, fs.ModeDir | fs.ModeSetgid | fs.ModeSticky | 0o777,
	} {
		var a Attributes
		a.SetMode(m)
		if got := a.FileMode(); got != m || !a.Has(HasMode) {
			t.Errorf("%v became %o and %v", m, a.Mode, got)
		}
	}
}

func TestTimesOutsideOfTheirRange(t *testing.T) {
	var a Attributes
	a.SetTimes(time.Unix(-5, 0), time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC))
	if a.ATime != 0 || a.MTime != 1<<32-1 || !a.ModTime().Equal(time.Unix(1<<32-1, 0)) {
		t.Errorf("times %d and %d", a.ATime, a.MTime)
	}
}

// What a download and an upload are made of costs no allocation.
func TestPacketsOfTransfersDoNotAllocate(t *testing.T) {
	read := (&Request{Type: TypeRead, ID: 1, Handle: []byte{1}, Length: 32768}).Append(nil)[4:]
	write := (&Request{Type: TypeWrite, ID: 1, Handle: []byte{1}, Data: make([]byte, 32768)}).Append(nil)[4:]
	out := make([]byte, 0, 64<<10)
	var q Request
	allocs := testing.AllocsPerRun(100, func() {
		if q.Parse(read) != nil || q.Parse(write) != nil {
			t.Fatal("they don't parse")
		}
		out = AppendStatus(out[:0], q.ID, OK, "")
		PutData(out[:DataHeader], q.ID, 32768)
		out = q.Append(out[:0])
	})
	if allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

// FuzzRequest holds that what was parsed is written as it came, up to bytes that
// nobody needs, and that nothing is larger than the packet.
func FuzzRequest(f *testing.F) {
	for _, q := range requests() {
		f.Add(q.Append(nil)[4:])
	}
	f.Add([]byte(strings.Repeat("\xff", 40)))
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(body) == 0 || len(body) > MaxPacket {
			return
		}
		var q Request
		if err := q.Parse(body); err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatalf("Parse(%x): %v", body, err)
			}
			return
		}
		out := q.Append(nil)
		if !bytes.HasPrefix(body, out[4:]) {
			t.Fatalf("Parse(%x) = %+v, written as %x", body, q, out[4:])
		}
		var again Request
		if err := again.Parse(one(t, out)); err != nil || !same(again, q) {
			t.Fatalf("%+v was written and read as %+v, %v", q, again, err)
		}
	})
}

// FuzzReply holds that a reply that parses holds no more than the packet, and that
// those that a server writes are read back.
func FuzzReply(f *testing.F) {
	attrs := Attributes{Flags: HasSize | HasExtended, Size: 7, Extended: []Pair{{[]byte("a"), []byte("b")}}}
	for _, b := range [][]byte{
		AppendVersion(nil, []Pair{{[]byte("a"), []byte("1")}}), AppendStatus(nil, 1, Failure, "x"), AppendHandle(nil, 1, []byte("h")),
		AppendAttrs(nil, 1, &attrs), AppendName(nil, 1, "n", &attrs), AppendLimits(nil, 1, Limits{}), AppendFileSystem(nil, 1, FileSystem{}),
		AppendOwners(nil, 1, []string{"a"}, nil), new(Request).AppendSums(nil, "md5", []byte("x")),
	} {
		f.Add(b[4:])
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(body) > MaxPacket {
			return
		}
		var p Reply
		if err := p.Parse(body); err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatalf("Parse(%x): %v", body, err)
			}
			return
		}
		held := len(p.Text) + len(p.Data) + len(p.Handle)
		for _, n := range p.Names {
			held += len(n.Name) + len(n.Long) + 12
		}
		if held > len(body) {
			t.Fatalf("Parse(%x) holds %d bytes", body, held)
		}
		var b []byte
		switch p.Type {
		case TypeStatus:
			b = AppendStatus(nil, p.ID, p.Code, string(p.Text))
		case TypeHandle:
			b = AppendHandle(nil, p.ID, p.Handle)
		case TypeAttrs:
			b = AppendAttrs(nil, p.ID, &p.Attrs)
		case TypeName:
			n, out := BeginNames(nil, p.ID)
			for i := range p.Names {
				out = n.Append(out, p.Names[i].Name, p.Names[i].Long, &p.Names[i].Attrs)
			}
			b = n.End(out)
		case TypeExtendedReply:
			_, _ = ParseFileSystem(p.Data)
			_, _, _ = ParseOwners(p.Data)
			_, _, _ = new(Request).ParseSums(p.Data)
			return
		default:
			return
		}
		var again Reply
		if err := again.Parse(one(t, b)); err != nil {
			t.Fatalf("%+v was written and can't be read: %v", p, err)
		}
		again.Language, p.Language = nil, nil
		if !same(again, p) {
			t.Fatalf("%+v was written and read as %+v", p, again)
		}
	})
}

func FuzzSplit(f *testing.F) {
	f.Add((&Request{Type: TypeExtended, Extension: []byte(ExtLimits)}).Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		body, rest, need, err := Split(b)
		switch {
		case err != nil:
			if body != nil {
				t.Fatalf("%x: a body with %v", b, err)
			}
		case body == nil:
			if need <= len(b) || need > MaxPacket+4 {
				t.Fatalf("%x: need %d", b, need)
			}
		case 4+len(body)+len(rest) != len(b) || len(body) == 0 || len(body) > MaxPacket:
			t.Fatalf("%x: %d and %d bytes", b, len(body), len(rest))
		}
	})
}
