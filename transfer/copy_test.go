package transfer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"os"
	"runtime"
	"testing"

	"dray/fault"
	"dray/vfs"
)

// copyRoads are pairs of a source of the content and something to copy it to, each
// with the road that the copy takes.
func copyRoads(t *testing.T, content []byte) []struct {
	name string
	src  vfs.File
	dst  func(old []byte, at int64) Dest
	read func(Dest) []byte
	road Road
} {
	kernel := RoadKernel
	if runtime.GOOS != "linux" {
		kernel = RoadCopy
	}
	onDisk := func(old []byte, at int64) Dest { return newDisk(t, old, at) }
	fromDisk := func(d Dest) []byte { return d.(disk).content(t) }
	return []struct {
		name string
		src  vfs.File
		dst  func(old []byte, at int64) Dest
		read func(Dest) []byte
		road Road
	}{
		{"two files of the system", newDisk(t, content, 0), onDisk, fromDisk, kernel},
		{"a file without a descriptor", plain{newDisk(t, content, 0)}, onDisk, fromDisk, RoadCopy},
		{"from memory", &memory{content}, onDisk, fromDisk, RoadCopy},
		{"to a file without a descriptor", newDisk(t, content, 0), func(old []byte, at int64) Dest { return plain{newDisk(t, old, at)} },
			func(d Dest) []byte { return d.(plain).d.content(t) }, RoadCopy},
	}
}

func TestCopyMovesWhatWasAskedForAndNothingElse(t *testing.T) {
	content := noise(1<<20 + 7)
	for _, tt := range []struct {
		name    string
		old     string
		at      int64
		from, n int64
		want    int64
		err     error
	}{
		{"all", "", 0, 0, -1, 1<<20 + 7, nil},
		{"all, by number", "", 0, 0, 1<<20 + 7, 1<<20 + 7, nil},
		{"a part", "", 0, 1000, 70_000, 70_000, nil},
		{"the rest", "", 0, 1 << 20, -1, 7, nil},
		{"behind what is there", "abc", 3, 5, 100, 100, nil},
		{"nothing", "abc", 3, 5, 0, 0, nil},
		{"from the end", "", 0, 1<<20 + 7, -1, 0, nil},
		{"from behind the end", "", 0, 1 << 30, -1, 0, nil},
		{"more than there is", "", 0, 1 << 20, 8, 7, io.ErrUnexpectedEOF},
	} {
		for _, r := range copyRoads(t, content) {
			dst := r.dst([]byte(tt.old), tt.at)
			m := &countdown{}
			rep, err := Copy(t.Context(), dst, r.src, tt.from, tt.n, Options{Meter: m})
			if !errors.Is(err, tt.err) || err != nil && tt.err == nil {
				t.Errorf("%s, %s: error %v; want %v", tt.name, r.name, err, tt.err)
			}
			want := []byte(tt.old)
			if tt.want > 0 {
				want = append(want, content[tt.from:tt.from+tt.want]...)
			}
			if got := r.read(dst); !bytes.Equal(got, want) {
				t.Errorf("%s, %s: the file has %d bytes; want %d", tt.name, r.name, len(got), len(want))
			}
			if rep.Bytes != tt.want || m.moved != tt.want || rep.Road != r.road {
				t.Errorf("%s, %s: %+v, and the meter counted %d; want %d bytes by road %s", tt.name, r.name, rep, m.moved, tt.want, r.road)
			}
			if rep.Ended.IsZero() != (tt.err != nil) {
				t.Errorf("%s, %s: ended at %v", tt.name, r.name, rep.Ended)
			}
		}
	}
	if _, err := Copy(t.Context(), newDisk(t, nil, 0), newDisk(t, nil, 0), -1, 5, Options{}); fault.KindOf(err) != fault.BadOffset {
		t.Errorf("from -1: %v", err)
	}
}

// countdown is a meter that gives little, and ends with refuse when its limit is
// reached.
type countdown struct {
	moved, open, limit int64
	refuse             error
	asked              func()
}

func (m *countdown) Take(_ context.Context, want int64) (int64, error) {
	if m.asked != nil {
		m.asked()
	}
	if m.refuse != nil {
		if want = min(want, m.limit-m.moved); want <= 0 {
			return 0, m.refuse
		}
	}
	m.open = min(want, 300_000)
	return m.open, nil
}

func (m *countdown) Done(taken, moved int64) {
	if taken != m.open {
		panic("Done without Take")
	}
	m.open, m.moved = 0, m.moved+moved
}

func TestAMeterEndsACopyToTheByte(t *testing.T) {
	content := noise(1 << 20)
	refused := fault.New(fault.OverQuota, fault.IDQuota)
	for _, r := range copyRoads(t, content) {
		dst := r.dst(nil, 0)
		rep, err := Copy(t.Context(), dst, r.src, 0, -1, Options{Meter: &countdown{limit: 700_001, refuse: refused}})
		if err != error(refused) || rep.Bytes != 700_001 || !bytes.Equal(r.read(dst), content[:700_001]) {
			t.Errorf("%s: %+v, %v", r.name, rep, err)
		}
		if rep, err := Copy(t.Context(), r.dst(nil, 0), r.src, 0, 700_001, Options{Meter: &countdown{limit: 700_001, refuse: refused}}); err != nil {
			t.Errorf("%s: all that is allowed: %+v, %v", r.name, rep, err)
		}
	}
}

func TestACanceledCopyEndsWithTheCause(t *testing.T) {
	content := noise(1 << 20)
	why := fault.New(fault.Canceled, fault.IDAborted)
	for _, r := range copyRoads(t, content) {
		ctx, cancel := context.WithCancelCause(t.Context())
		n := 0
		m := &countdown{asked: func() {
			if n++; n == 2 {
				cancel(why)
			}
		}}
		rep, err := Copy(ctx, r.dst(nil, 0), r.src, 0, -1, Options{Meter: m})
		if err != error(why) || rep.Bytes == 0 || rep.Bytes > 600_000 {
			t.Errorf("%s: %+v, %v", r.name, rep, err)
		}
	}
}

// What the kernel takes for empty is read, and what it does not offer for two
// files is done on the other road from where the first ended.
func TestTheOtherRoadGoesOnWhereTheKernelGivesUp(t *testing.T) {
	content := noise(900_000)
	for _, first := range []int{0, 5, 300_000} {
		dst := newDisk(t, []byte("abc"), 3)
		rep := &Report{}
		c := copying{ctx: t.Context(), dst: dst, src: newDisk(t, content, 0), n: -1, opt: Options{Meter: &countdown{}}, rep: rep}
		calls := 0
		done, err := c.kernel(func(at, to int64, n int) (int, bool, error) {
			if calls++; calls == 2 || first == 0 {
				return 0, false, nil
			}
			m, err := dst.WriteAt(content[at:min(at+int64(first), int64(len(content)))], to)
			return m, true, err
		})
		if done || err != nil || rep.Bytes != int64(first) {
			t.Fatalf("the first road ends with %v, %v, %d bytes", done, err, rep.Bytes)
		}
		if err := c.copy(); err != nil || !bytes.Equal(dst.content(t), append([]byte("abc"), content...)) {
			t.Errorf("after %d bytes the other road ends with %v, %d bytes", first, err, rep.Bytes)
		}
	}
	if runtime.GOOS != "linux" {
		return
	}
	f, err := os.Open("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	dst := newDisk(t, nil, 0)
	if rep, err := Copy(t.Context(), dst, disk{File: f}, 0, -1, Options{}); err != nil || rep.Bytes == 0 || len(dst.content(t)) != int(rep.Bytes) {
		t.Errorf("a file of /proc: %+v, %v", rep, err)
	}
}

func TestCopyReturnsTheErrorsOfItsFiles(t *testing.T) {
	closed := newDisk(t, noise(10), 0)
	closed.Close()
	for name, pair := range map[string][2]disk{
		"source": {closed, newDisk(t, nil, 0)}, "target": {newDisk(t, noise(10), 0), closed},
	} {
		if rep, err := Copy(t.Context(), pair[1], pair[0], 0, 10, Options{}); !errors.Is(err, fs.ErrClosed) || rep.Bytes != 0 {
			t.Errorf("a %s that is closed: %+v, %v", name, rep, err)
		}
	}
}

func TestSum(t *testing.T) {
	content := noise(1<<20 + 7)
	for _, tt := range []struct {
		name    string
		from, n int64
		want    []byte
		err     error
	}{
		{"all", 0, -1, content, nil},
		{"all, by number", 0, 1<<20 + 7, content, nil},
		{"a part", 5, 300_000, content[5:300_005], nil},
		{"the rest", 1 << 20, -1, content[1<<20:], nil},
		{"nothing", 5, 0, nil, nil},
		{"nothing behind the end", 1 << 30, -1, nil, nil},
		{"more than there is", 1 << 20, 8, content[1<<20:], io.ErrUnexpectedEOF},
	} {
		for _, src := range []vfs.File{newDisk(t, content, 0), &memory{content}} {
			h := sha256.New()
			if err := Sum(t.Context(), h, src, tt.from, tt.n); err != tt.err {
				t.Errorf("%s: %v; want %v", tt.name, err, tt.err)
			}
			if want := sha256.Sum256(tt.want); !bytes.Equal(h.Sum(nil), want[:]) {
				t.Errorf("%s: another checksum", tt.name)
			}
		}
	}
	if err := Sum(t.Context(), sha256.New(), &memory{}, -1, 5); fault.KindOf(err) != fault.BadOffset {
		t.Errorf("from -1: %v", err)
	}
}

// endless is a file that ends its reader's context at the third read.
type endless struct {
	zeros
	reads  *int
	cancel func()
}

func (e endless) ReadAt(b []byte, at int64) (int, error) {
	if *e.reads++; *e.reads == 3 {
		e.cancel()
	}
	return len(b), nil
}

func TestACanceledSumEndsWithTheCause(t *testing.T) {
	why := fault.New(fault.Canceled, fault.IDAborted)
	ctx, cancel := context.WithCancelCause(t.Context())
	reads := 0
	err := Sum(ctx, sha256.New(), endless{1 << 62, &reads, func() { cancel(why) }}, 0, -1)
	if err != error(why) || reads != 3 {
		t.Errorf("%v after %d reads", err, reads)
	}
}

// However a copy and a checksum are cut, they are of the bytes that were asked for.
func FuzzCopyAndSum(f *testing.F) {
	f.Add([]byte("hello world"), uint16(3), int16(5), []byte{1, 2})
	f.Add([]byte(""), uint16(0), int16(-1), []byte{})
	f.Fuzz(func(t *testing.T, content []byte, from uint16, n int16, pieces []byte) {
		start := min(int(from), len(content))
		end := len(content)
		if n >= 0 {
			end = min(start+int(n), end)
		}
		want := content[start:end]
		short := n >= 0 && int(from)+int(n) > len(content) && n > 0
		dst := &memory{}
		rep, err := Copy(t.Context(), dst, &memory{content}, int64(from), int64(n), Options{Meter: &stingy{t: t, grants: grants(pieces)}})
		if (err != nil) != short || rep.Bytes != int64(len(want)) || !bytes.Equal(dst.b, want) {
			t.Fatalf("%d bytes from %d of %q are %q, %+v, %v", n, from, content, dst.b, rep, err)
		}
		h := sha256.New()
		err = Sum(t.Context(), h, &memory{content}, int64(from), int64(n))
		if sum := sha256.Sum256(want); (err != nil) != short || !bytes.Equal(h.Sum(nil), sum[:]) {
			t.Fatalf("the sum of %d bytes from %d of %q is another, %v", n, from, content, err)
		}
	})
}
