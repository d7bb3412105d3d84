package mirror

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"dray/fault"
	"dray/remote"
)

func TestCheckName(t *testing.T) {
	good := []string{"a", "a b", "...", "..a", "-rf", "ä", "\xe4 in Latin-1", "a~", strings.Repeat("n", 255), ".hidden"}
	bad := []string{"", ".", "..", "a/b", "/", "../x", "a\nb", "a\rb", "a\x00", "\x7f", "\u0085", strings.Repeat("n", 256)}
	devices := []string{"NUL", "com1", "a:b", `a\b`, "a.", "a ", "a?", "<", "LPT1.txt"}
	if runtime.GOOS == "windows" {
		bad = append(bad, devices...)
	} else {
		good = append(good, devices...)
	}
	for _, name := range good {
		if err := CheckName(name); err != nil {
			t.Errorf("CheckName(%q) = %v", name, err)
		}
	}
	for _, name := range bad {
		if err := CheckName(name); fault.Of(err).ID != fault.IDUnsafeName || err == nil {
			t.Errorf("CheckName(%q) = %v", name, err)
		}
	}
}

// The unfinished file, its note, the note before it is renamed and what turned out to be
// wrong have names that a file system takes.
func TestPartNamesAreNotTooLong(t *testing.T) {
	for _, suffix := range []string{Suffix, Suffix + ".bad", "x", strings.Repeat("s", 300)} {
		seen := map[string]string{}
		for n := 1; n <= 255; n++ {
			for _, base := range []string{strings.Repeat("a", n), strings.Repeat("a", n-1) + "b", strings.Repeat("ä", n/2+1)[:n]} {
				got := PartName("d/"+base, suffix)
				dir, name := path.Split(got)
				if dir != "d/" || !strings.HasSuffix(name, suffix) || len(suffix) < 100 && len(name)+len(".json~") > 255 {
					t.Fatalf("PartName(%q, %q) = %q", base, suffix, got)
				}
				if other, ok := seen[got]; ok && other != base {
					t.Fatalf("%q and %q have one part: %q", base, other, got)
				}
				seen[got] = base
			}
		}
	}
	if got := PartName("a", Suffix); got != "a.dray-part" {
		t.Errorf("PartName(a) = %q", got)
	}
	if got := PartName(strings.Repeat("ä", 127), Suffix); !utf8.ValidString(got) {
		t.Errorf("a character was cut: %q", got)
	}
}

func TestALongNameIsReceivedAndGoneOnWith(t *testing.T) {
	d := newDesk(t)
	for _, n := range []int{239, 240, 244, 245, 255} {
		name := strings.Repeat("n", n)
		want := random(uint64(n), 50_000)
		d.tree.put("/"+name, want)
		d.tree.onGet = func(int, string, remote.Get) *cut { return &cut{after: 20_000, err: lost()} }
		if s := d.get(name, Options{}); !s.Resumable {
			t.Errorf("%d: what came is not kept: %v", n, first(s))
		}
		d.tree.onGet = nil
		if got := d.began2(name); got != 20_000 {
			t.Errorf("%d: it went on at %d", n, got)
		}
		d.wantData(name, want)
	}
}

func (d *desk) began2(name string) int64 {
	d.Helper()
	d.wantDone(d.get(name, Options{}))
	return d.heard.of(Finished)[0].Begin
}

func TestOpenPlace(t *testing.T) {
	dir := t.TempDir()
	if _, err := OpenPlace(filepath.Join(dir, "missing"), false); fault.KindOf(err) != fault.NotFound {
		t.Error(err)
	}
	p, err := OpenPlace(filepath.Join(dir, "a/b"), true)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenPlace(filepath.Join(dir, "file"), true); err == nil {
		t.Error("a file is no place")
	}
	if err := p.Mkdir("../out"); err == nil {
		t.Error("a directory was made outside")
	}
	if _, err := p.Stat("x"); fault.Of(err).ID != fault.IDNotFound {
		t.Error(err)
	}
	if p.folds() != (runtime.GOOS == "windows" || runtime.GOOS == "darwin") && runtime.GOOS == "linux" {
		t.Error("this system folds case")
	}
	if entries, _ := os.ReadDir(filepath.Join(dir, "a/b")); len(entries) != 0 {
		t.Errorf("left: %v", entries)
	}
}

func TestSums(t *testing.T) {
	want := map[string]string{
		"md5": "900150983cd24fb0d6963f7d28e17f72", "sha1": "a9993e364706816aba3e25717850c26c9cd0d89d", "crc32": "352441c2",
		"SHA256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
	}
	for a, sum := range want {
		if got, err := SumReader(a, strings.NewReader("abc")); got != sum || err != nil {
			t.Errorf("SumReader(%s) = %s, %v", a, got, err)
		}
	}
	if _, err := SumReader("whirlpool", strings.NewReader("")); err == nil {
		t.Error("an unknown algorithm was taken")
	}
	for _, a := range Sums() {
		if hashes[a] == nil {
			t.Errorf("%s can't be computed", a)
		}
	}
	if len(Sums()) != len(hashes) {
		t.Error("not all are told")
	}
}

func TestASummerTakesBytesInAnyOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	data := random(1, 200_000)
	want, _ := SumReader("sha256", bytes.NewReader(data))
	for range 50 {
		s := NewSummer("sha256")
		var cuts []int
		for at := 0; at < len(data); at += 1 + r.IntN(9000) {
			cuts = append(cuts, at)
		}
		cuts = append(cuts, len(data))
		order := r.Perm(len(cuts) - 1)
		for _, i := range order {
			b := data[cuts[i]:cuts[i+1]]
			if n, err := s.WriteAt(b, int64(cuts[i])); n != len(b) || err != nil {
				t.Fatal(n, err)
			}
		}
		if got, err := s.Sum(); got != want || err != nil || s.held != 0 {
			t.Fatalf("%s, %v, held %d", got, err, s.held)
		}
	}
	s := NewSummer("md5")
	_, _ = s.WriteAt(data[10:], 10)
	if _, err := s.Sum(); err == nil {
		t.Error("a gap was summed")
	}
	if _, err := s.WriteAt(make([]byte, maxAhead), 1<<30); err == nil {
		t.Error("more than maxAhead was held")
	}
	if NewSummer("whirlpool") != nil {
		t.Error("an unknown algorithm was taken")
	}
}

// A memShelf is a shelf in memory.
type memShelf map[string][]byte

func (m memShelf) ReadFile(name string) ([]byte, error) {
	if b, ok := m[name]; ok {
		return b, nil
	}
	return nil, fs.ErrNotExist
}
func (m memShelf) WriteFile(name string, b []byte, _ fs.FileMode) error { m[name] = b; return nil }
func (m memShelf) Rename(from, to string) error {
	m[to] = m[from]
	delete(m, from)
	return nil
}
func (m memShelf) Remove(name string) error { delete(m, name); return nil }

func TestNotes(t *testing.T) {
	data := random(1, 2*block+5)
	blocks, err := sums(bytes.NewReader(data), int64(len(data)))
	if err != nil || len(blocks) != 3 {
		t.Fatal(blocks, err)
	}
	n := note{Source: "s", Size: 1 << 40, Time: day, Step: time.Second, Unique: "u", Bytes: int64(len(data)), Blocks: blocks}
	m := memShelf{}
	if err := writeNote(m, "a", n); err != nil || len(m) != 1 {
		t.Fatal(err, len(m))
	}
	got, ok, there := readNote(m, "a")
	if !ok || !there || got.proven(bytes.NewReader(data), int64(len(data))) != int64(len(data)) || !got.same("s", 1<<40, day, 0, "u") {
		t.Errorf("%+v", got)
	}
	if _, ok, there := readNote(m, "b"); ok || there {
		t.Error("a note that is not there was read")
	}
	if _, err := sums(bytes.NewReader(data), int64(len(data))+1); err == nil {
		t.Error("bytes that are not there were summed")
	}
	for _, bad := range []string{"", "{", "null", "[]", `{"v":3,"bytes":1,"blocks":[1]}`, `{"v":1,"bytes":-1}`, `{"v":1,"blocks":[-1]}`,
		`{"v":1,"ranges":[{"from":5,"bytes":1,"blocks":[1]}]}`, `{"v":2,"bytes":6,"ranges":[{"from":5,"bytes":1}]}`, `{"v":2,"ranges":[{"from":5,"bytes":0}]}`,
		`{"v":2,"ranges":[{"from":5,"bytes":9},{"from":7,"bytes":9}]}`, `{"v":2,"ranges":[{"from":9223372036854775807,"bytes":9}]}`} {
		m["bad"] = []byte(bad)
		if _, ok, there := readNote(m, "bad"); ok || !there {
			t.Errorf("readNote(%q) is a note", bad)
		}
	}
}

func TestSameVersion(t *testing.T) {
	n := note{Version: 1, Source: "s", Size: 5, Time: day, Unique: "u"}
	tests := []struct {
		name   string
		set    func(n *note)
		source string
		size   int64
		at     time.Time
		step   time.Duration
		unique string
		want   bool
	}{
		{"the same", nil, "s", 5, day, 0, "u", true},
		{"no unique fact now", nil, "s", 5, day, 0, "", true},
		{"another unique fact", nil, "s", 5, day, 0, "v", false},
		{"another source", nil, "t", 5, day, 0, "u", false},
		{"another size", nil, "s", 6, day, 0, "u", false},
		{"no size", nil, "s", -1, day, 0, "u", false},
		{"a second later", nil, "s", 5, day.Add(time.Second), time.Second, "u", false},
		{"within a second", nil, "s", 5, day.Add(time.Second / 2), time.Second, "u", true},
		{"within a minute", nil, "s", 5, day.Add(-8 * time.Second), time.Minute, "u", true},
		{"the note knows minutes", func(n *note) { n.Step = time.Minute }, "s", 5, day.Add(30 * time.Second), 0, "u", true},
		{"no time now", nil, "s", 5, time.Time{}, 0, "u", false},
		{"never a time", func(n *note) { n.Time = time.Time{} }, "s", 5, time.Time{}, 0, "u", true},
		{"with holes", func(n *note) { n.Version = 2 }, "s", 5, day, 0, "u", true},
		{"a later format", func(n *note) { n.Version = 3 }, "s", 5, day, 0, "u", false},
	}
	for _, tt := range tests {
		own := n
		if tt.set != nil {
			tt.set(&own)
		}
		if got := own.same(tt.source, tt.size, tt.at, tt.step, tt.unique); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

// A damaged note never claims bytes that are not there, nor bytes that its sums do not prove.
func FuzzNote(f *testing.F) {
	data := bytes.Repeat([]byte("0123456789abcdef"), (block+1000)/16)
	blocks, _ := sums(bytes.NewReader(data), int64(len(data)))
	b, _ := json.Marshal(note{Version: 1, Source: "s", Size: 1 << 30, Bytes: int64(len(data)), Blocks: blocks})
	f.Add(b, uint(len(data)))
	f.Add([]byte(`{"v":1,"bytes":9223372036854775807,"blocks":[]}`), uint(5))
	f.Add([]byte(fmt.Sprintf(`{"v":1,"bytes":%d,"blocks":[0,0,0]}`, int64(math.MaxInt64))), uint(5))
	f.Fuzz(func(t *testing.T, text []byte, size uint) {
		size %= uint(len(data) + 1)
		n, ok, _ := readNote(memShelf{"n": text}, "n")
		have := data[:size]
		got := n.proven(bytes.NewReader(have), int64(size))
		if got < 0 || got > int64(size) || got > n.Bytes || !ok && got != 0 {
			t.Fatalf("%d of %d bytes are proven", got, size)
		}
		if got > 0 {
			want, err := sums(bytes.NewReader(have), got)
			if err != nil || !slices.Equal(want, n.Blocks[:len(want)]) {
				t.Fatalf("%d bytes are not those of the note", got)
			}
		}
	})
}

// A front claims the first bytes and nothing behind a gap, whatever comes.
func FuzzFront(f *testing.F) {
	f.Add([]byte{1, 2, 0, 1, 3, 3})
	f.Fuzz(func(t *testing.T, moves []byte) {
		file, err := os.Create(filepath.Join(t.TempDir(), "f"))
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		s := &front{dst: sink{file, 0}, later: map[int64]int64{}}
		var there [300]bool
		for i := 0; i+1 < len(moves) && i < 100; i += 2 {
			at, n := int(moves[i]), int(moves[i+1]%16)
			if _, err := s.WriteAt(make([]byte, n), int64(at)); err != nil {
				t.Fatal(err)
			}
			for j := at; j < at+n; j++ {
				there[j] = true
			}
			gap := slices.Index(there[:], false)
			if got := s.top(); got < 0 || got > int64(gap) {
				t.Fatalf("the front is at %d; the first gap at %d", got, gap)
			}
		}
	})
}
