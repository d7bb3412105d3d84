package mirror

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"dray/fault"
	"dray/meter"
	"dray/remote"
	"dray/transfer"
)

// A lineTree is a fakeTree whose downloads come over connections, one each, as those of
// an FTP server do.
type lineTree struct {
	*fakeTree
	tcp    bool        // of this machine, so that the kernel moves the bytes
	own    int64       // bytes a second of one connection; 0: no limit
	all    *meter.Rate // of all together
	most   int         // connections; one more is refused; 0: no limit
	noRest bool
	slow   time.Duration // before the first byte

	lines sync.Mutex
	open  int
	peak  int
}

func (t *lineTree) enter(n int) bool {
	t.lines.Lock()
	defer t.lines.Unlock()
	if n > 0 && t.most > 0 && t.open >= t.most {
		return false
	}
	t.open += n
	t.peak = max(t.peak, t.open)
	return true
}

// pair is a connection.
func (t *lineTree) pair() (here, there net.Conn, err error) {
	if !t.tcp {
		here, there = net.Pipe()
		return here, there, nil
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	defer l.Close()
	if here, err = net.Dial("tcp", l.Addr().String()); err != nil {
		return nil, nil, err
	}
	there, err = l.Accept()
	return here, there, err
}

func (t *lineTree) Get(ctx context.Context, p string, g remote.Get, dst transfer.Dest) (rep transfer.Report, err error) {
	num := t.called("get", p)
	c := &cut{after: -1}
	if t.onGet != nil {
		if own := t.onGet(num, p, g); own != nil {
			c = own
		}
	}
	if !t.enter(1) {
		return rep, fault.New(fault.Busy, fault.IDBusy)
	}
	defer t.enter(-1)
	if t.noRest && g.From > 0 {
		return rep, fault.New(fault.BadOffset, fault.IDUnsupported, "REST")
	}
	t.mu.Lock()
	n, _ := t.find(p)
	if n == nil {
		t.mu.Unlock()
		return rep, missing(p)
	}
	data := n.data
	t.mu.Unlock()
	if g.From > int64(len(data)) {
		return rep, fault.New(fault.BadOffset, fault.IDOffset)
	}
	data = data[g.From:]
	whole := c.after < 0 || c.after > int64(len(data))
	if !whole {
		data = data[:c.after]
	}
	here, there, err := t.pair()
	if err != nil {
		return rep, err
	}
	defer here.Close()
	go t.serve(there, data, c.mid)
	g.How.BareEnd = true
	rep, err = transfer.Receive(ctx, dst, here, g.How)
	switch {
	case err == nil && !whole:
		return rep, c.err
	case err == nil && !g.How.Text && g.Size >= 0 && g.From+rep.Bytes < g.Size:
		err = fault.New(fault.Cut, fault.IDShortFile, p, g.From+rep.Bytes, g.Size)
	}
	return rep, err
}

// serve sends data, as fast as its line is.
func (t *lineTree) serve(to net.Conn, data []byte, mid func()) {
	defer to.Close()
	time.Sleep(t.slow)
	own := meter.NewRate(t.own)
	for at := 0; at < len(data); at += t.piece {
		b := data[at:min(at+t.piece, len(data))]
		if mid != nil && at >= len(data)/2 {
			mid()
			mid = nil
		}
		for n := int64(len(b)); n > 0; {
			got, _ := own.Take(context.Background(), n) // never fails without an end
			if t.all != nil {
				part, _ := t.all.Take(context.Background(), got)
				own.Done(got, part)
				got = part
			}
			n -= got
		}
		if _, err := to.Write(b); err != nil {
			return
		}
	}
}

// small are divisions of small files.
var small = divisions{least: 64 << 10, forced: 32 << 10, piece: 16 << 10, settle: time.Second, measure: time.Second, worth: 4 * time.Second}

// A line is a desk with a lineTree.
type line struct {
	*desk
	tree *lineTree
}

func newLine(t *testing.T) *line {
	t.Helper()
	d := newDesk(t)
	l := &line{d, &lineTree{fakeTree: d.desk().tree}}
	l.tree.traits.Links = false
	return l
}

func (d *desk) desk() *desk { return d }

func (l *line) get(name string, o Options) Summary {
	l.Helper()
	l.heard = heard{}
	o.Tell = l.heard.tell
	if o.divisions == (divisions{}) {
		o.divisions = small
	}
	r := NewRun(l.Context(), l.tree, o)
	r.Download(Download{Path: "/" + name, URL: host + "/" + name, Place: l.place, Name: name})
	return r.Wait()
}

// holds checks that the note claims nothing but bytes of want, and returns how many.
func (l *line) holds(name string, want []byte) int64 {
	l.Helper()
	n, ok, _ := readNote(l.place.root, name+".dray-part.json")
	if !ok {
		return 0
	}
	got := l.read(name + ".dray-part")
	sum := int64(0)
	for _, e := range append([]extent{{0, n.Bytes, n.Blocks}}, n.Ranges...) {
		if e.From+e.Bytes > int64(len(got)) || !bytes.Equal(got[e.From:e.From+e.Bytes], want[e.From:e.From+e.Bytes]) {
			l.Fatalf("the note claims %d bytes at %d, which did not come", e.Bytes, e.From)
		}
		sum += e.Bytes
	}
	return sum
}

func TestSegmentsAreWhole(t *testing.T) {
	for _, tcp := range []bool{false, true} {
		for n := 1; n <= 16; n++ {
			l := newLine(t)
			l.tree.tcp = tcp
			want := random(uint64(n), 1<<20+n)
			l.tree.put("/a", want)
			l.wantDone(l.get("a", Options{Segments: n}))
			l.wantHere("a")
			l.wantData("a", want)
			if l.tree.times("get") < n {
				t.Errorf("%d segments in %d downloads", n, l.tree.times("get"))
			}
			if got := l.heard.whats(); got != "plan start done" {
				t.Errorf("events: %s", got)
			}
		}
	}
}

// Connections are cut at any byte, the run ends or goes on with the others, and is begun
// again, until the file is there: whole, however the unfinished one looked between.
func TestSegmentsAreGoneOnWithAtAnyByte(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 5))
	resumed, damaged := 0, 0
	for round := range 200 {
		l := newLine(t)
		l.tree.tcp = round%4 == 0
		size := 50_000 + r.IntN(900_000)
		want := random(uint64(round), size)
		l.tree.put("/dir/a", want)
		l.tree.piece = 1 + r.IntN(30_000)
		var mu sync.Mutex
		l.tree.onGet = func(n int, _ string, g remote.Get) *cut {
			mu.Lock()
			defer mu.Unlock()
			if r.IntN(3) == 0 || n > 60 {
				return nil
			}
			return &cut{after: r.Int64N(int64(size)-g.From+1) / int64(1+r.IntN(6)), err: lost()}
		}
		for try := 0; ; try++ {
			s := l.get("dir/a", Options{Segments: 1 + r.IntN(6)})
			if len(l.heard.of(Kept)) > 0 {
				resumed++
			}
			if s.Done == 1 {
				break
			}
			if try > 200 {
				t.Fatal("it does not end")
			}
			l.wantFailed(s, fault.IDDataLost)
			if _, err := l.place.Stat("dir/a"); err == nil {
				t.Fatal("the final name is there")
			}
			if kept := l.holds("dir/a", want); s.Resumable != (kept > 0) {
				t.Fatalf("round %d: resumable %v with %d bytes in the note", round, s.Resumable, kept)
			}
			if _, err := l.place.Stat("dir/a.dray-part"); err == nil && r.IntN(8) == 0 {
				b := l.read("dir/a.dray-part")
				if b = b[:r.IntN(len(b)+1)]; len(b) > 0 {
					b[r.IntN(len(b))] ^= 0x55
				}
				l.write("dir/a.dray-part", b)
				damaged++
			}
		}
		if got := l.read("dir/a"); sha256.Sum256(got) != sha256.Sum256(want) {
			t.Fatalf("round %d: %d bytes that are not the %d wanted", round, len(got), len(want))
		}
		l.wantHere("dir", "dir/a")
		if l.tree.open != 0 {
			t.Fatal("a connection was left")
		}
	}
	if resumed < 100 || damaged < 10 {
		t.Errorf("%d runs went on, %d files were damaged: too few to tell", resumed, damaged)
	}
}

// What a killed process leaves is gone on with: its holes are no data.
func TestAKilledDivisionGoesOn(t *testing.T) {
	l := newLine(t)
	want := random(1, 12*block+4321)
	l.tree.put("/a", want)
	l.tree.piece, l.tree.own = 64<<10, 1<<20
	var copies []string
	holes := 0
	all := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		done := make(chan Summary)
		go func() {
			r := NewRun(context.Background(), l.tree, Options{Segments: 4})
			r.Download(Download{Path: "/a", URL: host + "/a", Place: l.place, Name: "a"})
			done <- r.Wait()
		}()
		for i := range 12 {
			time.Sleep(1130 * time.Millisecond)
			synctest.Wait()
			if _, err := l.place.Stat("a"); err == nil {
				break
			}
			if l.holds("a", want) > 0 {
				if n, _, _ := readNote(l.place.root, "a.dray-part.json"); len(n.Ranges) > 0 {
					holes++
				}
			}
			dir := filepath.Join(all, fmt.Sprint(i))
			if err := os.CopyFS(dir, os.DirFS(l.dir)); err != nil {
				t.Fatal(err)
			}
			copies = append(copies, dir)
		}
		if s := <-done; s.Done != 1 {
			t.Fatal(first(s))
		}
	})
	l.wantData("a", want)
	if holes == 0 || len(copies) < 8 {
		t.Fatalf("%d copies, %d with holes", len(copies), holes)
	}
	for i, dir := range copies {
		for _, o := range []Options{{}, {Segments: 3}, {Segments: 1}, {Resume: ResumeForce}} {
			d := newLine(t)
			if err := os.CopyFS(d.dir, os.DirFS(dir)); err != nil && !errors.Is(err, fs.ErrExist) {
				t.Fatal(err)
			}
			d.tree.put("/a", want)
			d.tree.piece = 64 << 10
			claimed := d.holds("a", want)
			s := d.get("a", o)
			d.wantDone(s)
			if got := d.read("a"); sha256.Sum256(got) != sha256.Sum256(want) {
				t.Fatalf("copy %d, %+v: another file", i, o)
			}
			d.wantHere("a")
			if kept := d.heard.of(Kept); o.Resume == ResumeAuto && claimed > 0 && (len(kept) == 0 || kept[0].Begin != claimed) {
				t.Errorf("copy %d, %+v: it went on with %v of %d bytes", i, o, kept, claimed)
			}
		}
	}
}

func TestRefusedSegmentsAreNoFailure(t *testing.T) {
	l := newLine(t)
	want := random(1, 400_000)
	l.tree.put("/a", want)
	l.tree.most, l.tree.own = 2, 100_000
	l.inNoTime(Options{Segments: 6}, "a")
	l.wantData("a", want)
	if l.tree.peak != 2 || l.tree.refused == 0 {
		t.Errorf("%d connections at once; the tree heard of %d refusals", l.tree.peak, l.tree.refused)
	}
	if got := l.heard.whats(); got != "plan start done" {
		t.Errorf("events: %s", got)
	}
}

func TestParallelBoundsSegments(t *testing.T) {
	l := newLine(t)
	want := random(1, 400_000)
	l.tree.put("/a", want)
	l.tree.own = 100_000
	l.inNoTime(Options{Segments: 6, Parallel: 3}, "a")
	l.wantData("a", want)
	if l.tree.peak != 3 {
		t.Errorf("%d connections at once", l.tree.peak)
	}
}

// A connection that is lost is made again after a while, where a number was asked for.
func TestALostSegmentIsMadeAgain(t *testing.T) {
	l := newLine(t)
	want := random(1, 4<<20)
	l.tree.put("/a", want)
	l.tree.own = 100_000
	l.tree.onGet = func(n int, _ string, _ remote.Get) *cut {
		if n == 3 {
			return &cut{after: 50_000, err: lost()}
		}
		return nil
	}
	if took := l.inNoTime(Options{Segments: 4, Retry: 3}, "a"); took > 16*time.Second { // 10.5 s by four
		t.Errorf("it took %v", took)
	}
	l.wantData("a", want)
}

func TestAServerThatDoesNotSendFromTheMiddle(t *testing.T) {
	for _, fast := range []bool{true, false} {
		l := newLine(t)
		want := random(1, 600_000)
		l.tree.put("/a", want)
		l.tree.noRest = true
		if !fast {
			l.tree.slow = 50 * time.Millisecond
		}
		l.wantDone(l.get("a", Options{Segments: 4}))
		l.wantData("a", want)
		l.wantHere("a")
	}
}

func TestASourceThatChangesBetweenSegments(t *testing.T) {
	was, is := random(1, 600_000), random(2, 600_000)
	tests := []struct {
		name   string
		change func(n *node)
	}{
		{"another time", func(n *node) { n.data, n.mtime = is, day.Add(time.Hour) }},
		{"longer", func(n *node) { n.data = slices.Concat(was, is) }},
		{"shorter", func(n *node) { n.data, n.mtime = is[:400_000], day.Add(time.Hour) }},
		{"another unique fact", func(n *node) { n.data, n.unique = is, "2" }},
	}
	for _, tt := range tests {
		for _, when := range []int{1, 2, 3} {
			l := newLine(t)
			n := l.tree.put("/a", was)
			n.unique = "1"
			var once sync.Once
			l.tree.onGet = func(num int, _ string, _ remote.Get) *cut {
				if num == when {
					once.Do(func() {
						l.tree.mu.Lock()
						defer l.tree.mu.Unlock()
						tt.change(n)
					})
				}
				return nil
			}
			s := l.get("a", Options{Segments: 3})
			if s.Done == 0 { // the failure of a shorter one may be that of a segment: the next run sees it
				s = l.get("a", Options{Segments: 3})
			}
			l.wantDone(s)
			l.wantData("a", n.data)
			l.wantHere("a")
		}
	}
}

// The first connection has the old file open when the second one is made.
func TestASourceThatChangesBeforeItIsDivided(t *testing.T) {
	for _, listed := range []bool{false, true} {
		l := newLine(t)
		was, is := random(1, 4<<20), random(2, 4<<20)
		n := l.tree.put("/a", was)
		l.tree.own = 100_000
		l.bubble(Options{}, func(r *Run) {
			d := Download{Path: "/a", URL: host + "/a", Place: l.place, Name: "a"}
			if listed {
				d.Entry = l.tree.entry("a", n)
			}
			r.Download(d)
			time.Sleep(time.Second)
			l.tree.mu.Lock()
			defer l.tree.mu.Unlock()
			n.data, n.mtime = is, day.Add(time.Hour)
		})
		l.wantData("a", is)
		l.wantNoted("changed meanwhile")
		if l.tree.peak < 2 {
			t.Error("it was not divided")
		}
	}
}

func TestASizeThatNoFileHas(t *testing.T) {
	for _, size := range []int64{1<<62 - 1, 1 << 62, 1<<63 - 1} {
		l := newLine(t)
		l.tree.put("/a", random(1, 100_000))
		l.tree.onStat = func(_ int, _ string, e *remote.Entry) error { e.Size = size; return nil }
		for _, n := range []int{0, 16} {
			if s := l.get("a", Options{Segments: n}); s.Done != 0 {
				t.Errorf("a file of %d bytes is whole with 100,000", size)
			}
		}
	}
}

// Nothing but its bytes shows that the source is another one.
func TestWhatIsThereIsComparedBeforeItIsGoneOnWith(t *testing.T) {
	l := newLine(t)
	was, is := random(1, 900_000), random(2, 900_000)
	n := l.tree.put("/a", was)
	l.tree.onGet = func(num int, _ string, g remote.Get) *cut { return &cut{after: 100_000, err: lost()} }
	l.wantFailed(l.get("a", Options{Segments: 4}), fault.IDDataLost)
	l.tree.onGet = nil
	n.data = is
	l.wantDone(l.get("a", Options{Segments: 4}))
	l.wantData("a", is)
	l.wantNoted("differs from the source")
	l.wantHere("a")
}

// Notes of a file without holes are those that they were, and those of one with holes
// are none to who does not know of holes.
func TestNotesTellOfHolesByTheirVersion(t *testing.T) {
	l := newLine(t)
	want := random(1, 900_000)
	l.tree.put("/a", want)
	version := func() int {
		var n struct {
			V      int   `json:"v"`
			Bytes  int64 `json:"bytes"`
			Ranges []extent
		}
		if err := json.Unmarshal(l.read("a.dray-part.json"), &n); err != nil {
			t.Fatal(err)
		}
		if (n.V == 2) != (len(n.Ranges) > 0) {
			t.Errorf("version %d with %d ranges", n.V, len(n.Ranges))
		}
		return n.V
	}
	l.tree.onGet = func(num int, _ string, g remote.Get) *cut { return &cut{after: 70_000, err: lost()} }
	l.wantFailed(l.get("a", Options{Segments: 1}), fault.IDDataLost)
	if got := version(); got != 1 {
		t.Errorf("of one connection the version is %d", got)
	}
	l.wantFailed(l.get("a", Options{Segments: 3}), fault.IDDataLost) // goes on with the old note
	if kept := l.heard.of(Kept); len(kept) != 1 || kept[0].Begin != 70_000 {
		t.Errorf("kept %v", kept)
	}
	if got := version(); got != 2 {
		t.Errorf("of three connections the version is %d", got)
	}
	l.tree.onGet = nil
	before := l.holds("a", want)
	l.wantDone(l.get("a", Options{Segments: 1})) // one connection fills the holes
	if kept := l.heard.of(Kept); len(kept) != 1 || kept[0].Begin != before {
		t.Errorf("kept %v of %d", kept, before)
	}
	l.wantData("a", want)
	l.wantHere("a")
}

func TestFilesThatAreNeverDivided(t *testing.T) {
	tests := []struct {
		name string
		o    Options
		set  func(l *line)
	}{
		{"one was asked for", Options{Segments: 1}, nil},
		{"in place", Options{Segments: 4, InPlace: true}, nil},
		{"text", Options{Segments: 4, Text: true}, nil},
		{"one connection for all transfers", Options{Segments: 4}, func(l *line) { l.tree.traits.Overlap = true }},
		{"no size", Options{Segments: 4}, func(l *line) {
			l.tree.onStat = func(int, string, *remote.Entry) error {
				return fault.New(fault.Unsupported, fault.IDUnsupported, "SIZE")
			}
		}},
		{"no time", Options{Segments: 4}, func(l *line) {
			l.tree.onStat = func(_ int, _ string, e *remote.Entry) error { e.Known &^= timed; return nil }
		}},
		{"too small", Options{Segments: 4, divisions: divisions{forced: 1 << 20}}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := newLine(t)
			want := random(1, 600_000)
			l.tree.put("/a", want)
			if tt.set != nil {
				tt.set(l)
			}
			l.wantDone(l.get("a", tt.o))
			if l.tree.peak != 1 || l.tree.times("get") != 1 {
				t.Errorf("%d downloads, %d at once", l.tree.times("get"), l.tree.peak)
			}
			if !tt.o.Text {
				l.wantData("a", want)
			}
		})
	}
}

// inNoTime fetches files where time costs nothing, and tells how long that took.
func (l *line) inNoTime(o Options, names ...string) time.Duration {
	l.Helper()
	return l.bubble(o, func(r *Run) {
		for _, name := range names {
			r.Download(Download{Path: "/" + name, URL: host + "/" + name, Place: l.place, Name: name})
		}
	})
}

// bubble is the same for what add queues.
func (l *line) bubble(o Options, add func(r *Run)) (took time.Duration) {
	l.Helper()
	synctest.Test(l.T, func(t *testing.T) {
		if o.Rate != nil {
			o.Rate = meter.NewRate(o.Rate.PerSecond())
		}
		if l.tree.all != nil {
			l.tree.all = meter.NewRate(l.tree.all.PerSecond())
		}
		began := time.Now()
		l.heard = heard{}
		o.Tell, o.divisions = l.heard.tell, small
		r := NewRun(context.Background(), l.tree, o)
		add(r)
		if s := r.Wait(); s.Failed > 0 || s.Done != s.Found {
			t.Fatalf("done %d of %d: %v", s.Done, s.Found, first(s))
		}
		took = time.Since(began)
		if r.lent != 0 {
			t.Errorf("%d connections are lent", r.lent)
		}
		time.Sleep(time.Minute) // the other ends find out
	})
	return took
}

func TestConnectionsAreAddedWhileTheyHelp(t *testing.T) {
	const size = 4 << 20
	tests := []struct {
		name      string
		own, all  int64
		o         Options
		width     int
		peak      int
		downloads int // at most
		least     float64
		most      float64 // seconds
	}{
		{"each connection has its rate", 100_000, 0, Options{}, 4, 4, 6, 10, 16},
		{"and eight may be made", 50_000, 0, Options{}, 20, 8, 12, 10, 20},
		{"one fills the line", 0, 100_000, Options{}, 4, 2, 3, 41, 44},
		{"two fill the line", 100_000, 200_000, Options{}, 8, 4, 8, 20, 26},
		{"one transfer at once", 100_000, 0, Options{Parallel: 1}, 4, 1, 1, 41, 43},
		{"one segment", 100_000, 0, Options{Segments: 1}, 4, 1, 1, 41, 43},
		{"the server bears one", 100_000, 0, Options{}, 1, 1, 1, 41, 43},
		{"the rate is limited", 1_000_000, 0, Options{Rate: meter.NewRate(100_000)}, 4, 1, 1, 41, 43},
		{"the rate of the file is limited", 1_000_000, 0, Options{FileRate: 100_000}, 4, 1, 1, 41, 43},
		{"it is over soon", 2_000_000, 0, Options{}, 4, 1, 1, 1, 3},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := newLine(t)
			want := random(1, size)
			l.tree.put("/a", want)
			l.tree.own, l.tree.width = tt.own, tt.width
			if tt.all > 0 {
				l.tree.all = meter.NewRate(tt.all)
			}
			took := l.inNoTime(tt.o, "a").Seconds()
			t.Logf("%.1f s, %d downloads, %d at once", took, l.tree.times("get"), l.tree.peak)
			if took < tt.least || took > tt.most {
				t.Errorf("it took %.1f s; want %v to %v", took, tt.least, tt.most)
			}
			l.wantData("a", want)
			l.wantHere("a")
			if l.tree.peak != tt.peak || l.tree.times("get") > tt.downloads {
				t.Errorf("%d connections at once, %d downloads; want %d, at most %d", l.tree.peak, l.tree.times("get"), tt.peak, tt.downloads)
			}
		})
	}
}

// A connection that takes long to log in is not judged before its first byte.
func TestSlowLoginsAreWaitedFor(t *testing.T) {
	l := newLine(t)
	want := random(1, 4<<20)
	l.tree.put("/a", want)
	l.tree.own, l.tree.slow = 100_000, 4*time.Second
	took := l.inNoTime(Options{}, "a")
	l.wantData("a", want)
	if l.tree.peak != 4 || took > 35*time.Second {
		t.Errorf("%d connections at once, %v", l.tree.peak, took)
	}
}

// A file that waits gets the connection that a divided one was lent.
func TestOtherFilesAreNotKeptWaiting(t *testing.T) {
	l := newLine(t)
	want := random(1, 8<<20)
	l.tree.put("/big", want)
	l.tree.own = 100_000
	for i := range 3 {
		l.tree.put(fmt.Sprint("/", i), want[:50_000])
	}
	var small time.Duration
	l.bubble(Options{}, func(r *Run) {
		r.Download(Download{Path: "/big", URL: host + "/big", Place: l.place, Name: "big"})
		time.Sleep(15 * time.Second)
		if l.tree.peak != 4 {
			l.Errorf("%d connections before the others came", l.tree.peak)
		}
		began := time.Now()
		for i := range 3 {
			name := fmt.Sprint(i)
			r.Download(Download{Path: "/" + name, URL: host + "/" + name, Place: l.place, Name: name})
		}
		for l.has("2") == false && time.Since(began) < time.Minute {
			time.Sleep(100 * time.Millisecond)
		}
		small = time.Since(began)
	})
	if small > 5*time.Second {
		t.Errorf("small files waited %v", small)
	}
	if l.tree.peak > 4 {
		t.Errorf("%d connections at once", l.tree.peak)
	}
	l.wantData("big", want)
}

func (l *line) has(name string) bool {
	_, err := l.place.Stat(name)
	return err == nil
}

func TestAnInterruptedDivisionIsResumable(t *testing.T) {
	l := newLine(t)
	want := random(1, 4<<20)
	l.tree.put("/a", want)
	l.tree.own = 100_000
	why := fault.New(fault.Canceled, fault.IDInterrupted)
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(context.Background())
		time.AfterFunc(5*time.Second, func() { cancel(why) })
		r := NewRun(ctx, l.tree, Options{Segments: 4, divisions: small})
		r.Download(Download{Path: "/a", URL: host + "/a", Place: l.place, Name: "a"})
		s := r.Wait()
		if s.Failed != 1 || !s.Resumable || fault.Of(first(s)).ID != fault.IDInterrupted {
			t.Fatalf("%+v", s)
		}
		time.Sleep(time.Minute) // the other ends find out
	})
	if got := l.holds("a", want); got < 1_500_000 || got > 2_100_000 {
		t.Errorf("%d bytes are kept", got)
	}
	l.tree.own = 0
	l.wantDone(l.get("a", Options{}))
	l.wantData("a", want)
}

func TestTheRateOfAFileIsThatOfItsSegmentsTogether(t *testing.T) {
	l := newLine(t)
	want := random(1, 1<<20)
	l.tree.put("/a", want)
	l.tree.put("/b", want)
	// Both have room at once: four connections that were asked for are taken as soon as a
	// file begins, perhaps before the other one is queued.
	took := l.inNoTime(Options{Segments: 4, Parallel: 8, FileRate: 100_000}, "a", "b")
	if took < 10*time.Second || took > 12*time.Second {
		t.Errorf("two files of 1 MiB at 100,000 bytes a second each took %v", took)
	}
}

// A damaged note with ranges never claims bytes that its sums do not prove.
func FuzzNoteWithRanges(f *testing.F) {
	data := random(1, 2*block+1000)
	part := func(from, to int64) extent {
		s, _ := sums(bytes.NewReader(data[from:to]), to-from)
		return extent{from, to - from, s}
	}
	p := part(0, 5000)
	b, _ := json.Marshal(note{Version: 2, Source: "s", Size: 3 * block, Bytes: p.Bytes, Blocks: p.Blocks,
		Ranges: []extent{part(6000, 7000), part(block, 2*block+500)}})
	f.Add(b, uint(len(data)))
	f.Add(b, uint(block+7))
	f.Add([]byte(`{"v":2,"ranges":[{"from":9223372036854775800,"bytes":7,"blocks":[1]}]}`), uint(5))
	f.Add([]byte(`{"v":2,"bytes":4,"blocks":[0],"ranges":[{"from":-1,"bytes":7,"blocks":[1]}]}`), uint(5))
	f.Add([]byte(strings.Replace(string(b), `"v":2`, `"v":1`, 1)), uint(len(data)))
	f.Fuzz(func(t *testing.T, text []byte, size uint) {
		have := data[:size%uint(len(data)+1)]
		n, ok, _ := readNote(memShelf{"n": text}, "n")
		if !ok {
			if n.Ranges != nil {
				t.Fatal("no note, and it has ranges")
			}
			return
		}
		all := append([]extent{{0, n.proven(bytes.NewReader(have), int64(len(have))), n.Blocks}}, n.ranges(bytes.NewReader(have), int64(len(have)), n.Size)...)
		end := int64(0)
		for i, e := range all {
			if e.From < end || e.Bytes < 0 || e.From+e.Bytes > int64(len(have)) || i > 0 && e.Bytes == 0 {
				t.Fatalf("range %d: %d bytes at %d of %d, behind %d", i, e.Bytes, e.From, len(have), end)
			}
			end = e.From + e.Bytes
			got, err := sums(bytes.NewReader(have[e.From:]), e.Bytes)
			if err != nil || !slices.Equal(got, e.Blocks[:len(got)]) {
				t.Fatalf("range %d is not that of the note", i)
			}
		}
	})
}
