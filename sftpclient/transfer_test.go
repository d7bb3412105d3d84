package sftpclient

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"dray/fault"
	"dray/meter"
	"dray/sftp"
	"dray/transfer"
)

// memory is a Dest.
type memory struct {
	mu sync.Mutex
	b  []byte
	at int64
}

func (m *memory) Offset() int64 { return m.at }

func (m *memory) WriteAt(b []byte, off int64) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := int(off) + len(b); n > len(m.b) {
		m.b = append(m.b, make([]byte, n-len(m.b))...)
	}
	return copy(m.b[off:], b), nil
}

func TestSmallFilesOverlap(t *testing.T) {
	const files, roundTrip = 100, 100 * time.Millisecond
	synctest.Test(t, func(t *testing.T) {
		s := newFake()
		s.limits = &sftp.Limits{Packet: sftp.MaxPacket, Read: sftp.MaxData, Write: sftp.MaxData}
		for i := range files {
			s.put(fmt.Sprint(i), random(1024))
		}
		a, b := line(roundTrip / 2)
		go s.serve(b)
		c, err := New(t.Context(), a, Options{})
		need(t, err)
		c.Limits() // which are on the way
		all := func(what string, most float64, f func(i int) error) {
			began := time.Now()
			var wg sync.WaitGroup
			for i := range files {
				wg.Go(func() {
					if err := f(i); err != nil {
						t.Errorf("%s of %d: %v", what, i, err)
					}
				})
			}
			wg.Wait()
			if trips := float64(time.Since(began)) / float64(roundTrip); trips > most {
				t.Errorf("%d %s take %.1f round trips, not %v", files, what, trips, most)
			}
		}
		all("downloads", 2, func(i int) error {
			m := &memory{}
			_, err := c.Receive(t.Context(), fmt.Sprint(i), 0, 1024, m, transfer.Options{})
			if err == nil && !bytes.Equal(m.b, s.file(fmt.Sprint(i))) {
				err = errors.New("other bytes")
			}
			return err
		})
		all("downloads of unknown size", 2, func(i int) error {
			_, err := c.Receive(t.Context(), fmt.Sprint(i), 0, -1, &memory{}, transfer.Options{})
			return err
		})
		all("uploads", 2, func(i int) error {
			_, err := c.Send(t.Context(), fmt.Sprint(i), Store{}, from(random(1024)), 0, transfer.Options{})
			return err
		})
		all("uploads with their time", 3, func(i int) error {
			_, err := c.Send(t.Context(), fmt.Sprint(i), Store{MTime: time.Unix(1, 0)}, from(random(1024)), 0, transfer.Options{})
			return err
		})
		all("listings", 2, func(i int) error {
			for _, err := range c.List(t.Context(), "dir") {
				if err != nil {
					return err
				}
			}
			return nil
		})
		_ = c.Close()
	})
}

// A long way is filled: the window grows until the file goes as fast as the window
// may at last.
func TestTheWindowGrows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFake()
		s.limits = &sftp.Limits{Packet: sftp.MaxPacket, Read: sftp.MaxData, Write: sftp.MaxData}
		s.put("file", make([]byte, 64<<20))
		a, b := line(50 * time.Millisecond)
		go s.serve(b)
		c, err := New(t.Context(), a, Options{})
		need(t, err)
		began := time.Now()
		_, err = c.Receive(t.Context(), "file", 0, 64<<20, &memory{}, transfer.Options{})
		need(t, err)
		if d := time.Since(began); d > 1200*time.Millisecond { // 3.3 s with 2 MiB
			t.Errorf("64 MiB come in %v", d)
		}
		began = time.Now()
		_, err = c.Send(t.Context(), "file", Store{}, from(make([]byte, 64<<20)), 0, transfer.Options{})
		need(t, err)
		if d := time.Since(began); d > 1200*time.Millisecond {
			t.Errorf("64 MiB go in %v", d)
		}
		_ = c.Close()
	})
}

// under follows how many bytes are asked and not answered.
func TestTheWindowHolds(t *testing.T) {
	s := newFake()
	s.put("file", random(3<<20))
	var mu sync.Mutex
	var asked []*sftp.Request
	most := 0
	s.says = func(q *sftp.Request, usual []byte) []byte {
		if q.Type != sftp.TypeRead {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		own := *q
		own.Handle = bytes.Clone(q.Handle)
		asked = append(asked, &own)
		return []byte{}
	}
	a, b := line(0)
	go s.serve(b)
	c, err := New(t.Context(), a, Options{Window: 256 << 10})
	need(t, err)
	defer c.Close()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { // answers in the wrong order, when nobody asks more
		had := 0
		for {
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
			}
			mu.Lock()
			if len(asked) == had && had > 0 {
				n := 0
				for _, q := range asked {
					n += int(q.Length)
				}
				most = max(most, n)
				for i := len(asked) - 1; i >= 0; i-- {
					s.mu.Lock()
					out := s.answer(asked[i])
					s.mu.Unlock()
					_, _ = b.Write(out)
				}
				asked = nil
			}
			had = len(asked)
			mu.Unlock()
		}
	})
	m := &memory{}
	rep, err := c.Receive(t.Context(), "file", 0, 3<<20, m, transfer.Options{})
	close(stop)
	wg.Wait()
	if err != nil || rep.Bytes != 3<<20 || !bytes.Equal(m.b, s.file("file")) {
		t.Fatalf("Receive = %+v, %v", rep, err)
	}
	if most > 256<<10 || most < 128<<10 {
		t.Errorf("%d bytes were under way with a window of %d", most, 256<<10)
	}
}

func TestShortAnswersAreAskedAgain(t *testing.T) {
	for _, most := range []int{1000, 4096, 32<<10 - 1} {
		s := newFake()
		s.most = most
		s.put("file", random(200_001))
		c := s.dial(t, Options{})
		for _, size := range []int64{200_001, -1} {
			m := &memory{}
			rep, err := c.Receive(t.Context(), "file", 0, size, m, transfer.Options{})
			if err != nil || rep.Bytes != 200_001 || !bytes.Equal(m.b, s.file("file")) {
				t.Errorf("%d bytes at once, size %d: %+v, %v", most, size, rep, err)
			}
		}
		if n := s.count(sftp.TypeRead); n > 2*(200_001/min(most, 32<<10)+140) {
			t.Errorf("%d bytes at once: %d READs", most, n)
		}
	}
}

func TestSizesThatDoNotHold(t *testing.T) {
	s := newFake()
	content := random(100_000)
	s.put("file", content)
	c := s.dial(t, Options{})
	tests := []struct {
		name       string
		from, size int64
		id         fault.ID
		bytes      int64
	}{
		{"as it is", 0, 100_000, "", 100_000},
		{"the rest", 60_000, 100_000, "", 40_000},
		{"nothing is left", 100_000, 100_000, "", 0},
		{"it has grown", 0, 99_999, "", 100_000},
		{"it has grown much", 0, 1000, "", 100_000},
		{"it was empty", 0, 0, "", 100_000},
		{"it ends early", 0, 100_001, fault.IDShortFile, 100_000},
		{"it ends much earlier", 0, 10_000_000, fault.IDShortFile, 100_000},
		{"the rest ends early", 60_000, 200_000, fault.IDShortFile, 40_000},
		{"an offset behind the size", 101_000, 100_000, fault.IDOffset, 0},
		{"nobody knows", 0, -1, "", 100_000},
		{"nobody knows the rest", 99_999, -1, "", 1},
		{"an offset behind what nobody knows", 200_000, -1, "", 0},
	}
	for _, tt := range tests {
		m := &memory{at: 7}
		rep, err := c.Receive(t.Context(), "file", tt.from, tt.size, m, transfer.Options{})
		if rep.Bytes != tt.bytes || (err == nil) != (tt.id == "") || err != nil && idOf(err) != tt.id {
			t.Errorf("%s: %+v, %v; want %d bytes, %s", tt.name, rep, err, tt.bytes, tt.id)
			continue
		}
		if want := content[min(tt.from, 100_000):]; tt.bytes > 0 && !bytes.Equal(m.b[7:], want[:tt.bytes]) {
			t.Errorf("%s: other bytes", tt.name)
		}
	}
	_, err := c.Receive(t.Context(), "file", 0, 123_456, &memory{}, transfer.Options{})
	var e *fault.Error
	if !errors.As(err, &e) || e.Kind != fault.Cut || fmt.Sprint(e.Facts) != "[file 100000 123456]" {
		t.Errorf("a short file is %#v", err)
	}
}

// full is a Dest that takes so many bytes.
type full struct {
	memory
	left int
}

var errFull = errors.New("no space left")

func (f *full) WriteAt(b []byte, off int64) (int, error) {
	if f.left -= len(b); f.left < 0 {
		return 0, errFull
	}
	return f.memory.WriteAt(b, off)
}

func TestATargetThatIsFull(t *testing.T) {
	s := newFake()
	s.put("file", random(1<<20))
	c := s.dial(t, Options{})
	rep, err := c.Receive(t.Context(), "file", 0, 1<<20, &full{left: 100_000}, transfer.Options{})
	if err != errFull || rep.Bytes != 3*32<<10 {
		t.Errorf("%+v, %v", rep, err)
	}
	if _, err := c.Realpath(t.Context(), "."); err != nil {
		t.Errorf("behind it: %v", err)
	}
}

// The first READ that fails tells how far the file is whole.
func TestAReadThatFails(t *testing.T) {
	s := newFake()
	s.put("file", random(1<<20))
	s.says = func(q *sftp.Request, usual []byte) []byte {
		if q.Type == sftp.TypeRead && q.Offset == 10*32<<10 {
			return status(q, sftp.Failure, "Input/output error")
		}
		return nil
	}
	c := s.dial(t, Options{})
	rep, err := c.Receive(t.Context(), "file", 0, 1<<20, &memory{}, transfer.Options{})
	var said *StatusError
	if !errors.As(err, &said) || said.Said() != "Input/output error" || idOf(err) != fault.IDServerSaysNo || rep.Bytes != 10*32<<10 {
		t.Errorf("%+v, %v", rep, err)
	}
	waitFor(t, "its handle is closed", func() bool { return s.open() == 0 })
}

func waitFor(t testing.TB, what string, f func() bool) {
	t.Helper()
	for range 500 {
		if f() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("not after five seconds: %s", what)
}

// An upload of which a piece in the middle fails has no holes, although those
// behind it were taken.
func TestAWriteThatFails(t *testing.T) {
	tests := []struct {
		fails uint64
		text  string
		id    fault.ID
		kind  fault.Kind
	}{
		{0, "Failure", fault.IDServerSaysNo, fault.Unsupported},
		{5 * 32 << 10, "No space left on device", fault.IDNoSpace, fault.NoSpace},
		{9 * 32 << 10, "The quota is used up. [quota]", fault.IDQuota, fault.OverQuota},
		{31 * 32 << 10, "write: Disk quota exceeded", fault.IDQuota, fault.OverQuota},
	}
	for _, tt := range tests {
		s := newFake()
		s.says = func(q *sftp.Request, usual []byte) []byte {
			if q.Type == sftp.TypeWrite && q.Offset == tt.fails {
				return status(q, sftp.Failure, tt.text)
			}
			return nil
		}
		c := s.dial(t, Options{})
		var k meter.Counter
		content := random(1 << 20)
		rep, err := c.Send(t.Context(), "file", Store{MTime: time.Unix(1, 0)}, from(content), 0, transfer.Options{Meter: &k})
		if idOf(err) != tt.id || fault.KindOf(err) != tt.kind || rep.Bytes != int64(tt.fails) || rep.Whole {
			t.Errorf("%q: %+v, %v", tt.text, rep, err)
		}
		if got := s.file("file"); !bytes.Equal(got, content[:tt.fails]) {
			t.Errorf("%q leaves %d bytes", tt.text, len(got))
		}
		if s.open() != 0 {
			t.Errorf("%q leaves a handle open", tt.text)
		}
		if k.Bytes() >= 1<<20 {
			t.Errorf("%d bytes were counted", k.Bytes())
		}
	}
}

func TestAnEndThatFails(t *testing.T) {
	for _, n := range []int{0, 100, 1 << 20} {
		s := newFake()
		s.says = func(q *sftp.Request, usual []byte) []byte {
			if q.Type == sftp.TypeClose {
				return status(q, sftp.Failure, "The quota is used up. [quota]")
			}
			return nil
		}
		c := s.dial(t, Options{Handles: 1})
		for range 3 { // the place of the handle comes back
			rep, err := c.Send(t.Context(), "file", Store{}, from(random(n)), 0, transfer.Options{})
			if idOf(err) != fault.IDQuota || rep.Whole {
				t.Errorf("%d bytes: %+v, %v", n, rep, err)
			}
		}
	}
}

// OpenSSH says "Failure" when the disk is full, and how full it is.
func TestAFullDiskThatSaysFailure(t *testing.T) {
	for free, id := range map[uint64]fault.ID{0: fault.IDNoSpace, 1000: fault.IDServerSaysNo} {
		s := newFake()
		s.announce(sftp.ExtFstatvfs)
		s.says = func(q *sftp.Request, usual []byte) []byte {
			switch {
			case q.Type == sftp.TypeWrite && q.Offset >= 100_000:
				return status(q, sftp.Failure, "Failure")
			case string(q.Extension) == sftp.ExtFstatvfs:
				return sftp.AppendFileSystem(nil, q.ID, sftp.FileSystem{BlockSize: 4096, Fragment: 4096, Available: free})
			}
			return nil
		}
		c := s.dial(t, Options{})
		rep, err := c.Send(t.Context(), "file", Store{}, from(random(1<<20)), 0, transfer.Options{})
		var said *StatusError
		if idOf(err) != id || !errors.As(err, &said) || said.Said() != "Failure" || int64(len(s.file("file"))) != rep.Bytes {
			t.Errorf("%d blocks free: %+v, %v", free, rep, err)
		}
	}
}

func TestAnUploadThatIsLeftOpen(t *testing.T) {
	s := newFake()
	s.says = func(q *sftp.Request, usual []byte) []byte {
		if q.Type == sftp.TypeWrite && q.Offset >= 100_000 {
			return status(q, sftp.Failure, "Failure")
		}
		return nil
	}
	c := s.dial(t, Options{})
	if _, err := c.Send(t.Context(), "file", Store{LeaveOpen: true}, from(random(1<<20)), 0, transfer.Options{}); err == nil || s.count(sftp.TypeClose) != 0 {
		t.Errorf("%v, and %d CLOSEs", err, s.count(sftp.TypeClose))
	}
}

func TestATimeThatIsRefused(t *testing.T) {
	s := newFake()
	s.says = func(q *sftp.Request, usual []byte) []byte {
		if q.Type == sftp.TypeFsetstat {
			return status(q, sftp.PermissionDenied, "no")
		}
		return nil
	}
	c := s.dial(t, Options{})
	rep, err := c.Send(t.Context(), "file", Store{MTime: time.Unix(1, 0)}, from(random(100)), 0, transfer.Options{})
	if !errors.Is(err, ErrAttributes) || !rep.Whole || rep.Bytes != 100 || len(s.file("file")) != 100 {
		t.Errorf("%+v, %v", rep, err)
	}
}

func TestHowsOfSend(t *testing.T) {
	s := newFake()
	c := s.dial(t, Options{})
	ctx := t.Context()
	old, fresh := random(50_000), random(100_000)
	send := func(how How, at, to int64) (transfer.Report, error) {
		return c.Send(ctx, "file", Store{How: how}, from(fresh), at, transfer.Options{To: to})
	}
	s.put("file", bytes.Clone(old))
	if _, err := send(Exclusive, 0, 0); err == nil || !bytes.Equal(s.file("file"), old) {
		t.Errorf("Exclusive: %v", err)
	}
	if rep, err := send(Resume, 60_000, 0); idOf(err) != fault.IDOffset || rep.Bytes != 0 || len(s.file("file")) != 50_000 {
		t.Errorf("Resume behind the end: %+v, %v", rep, err)
	}
	want := append(bytes.Clone(old[:40_000]), fresh[40_000:]...)
	if rep, err := send(Resume, 40_000, 0); err != nil || rep.Bytes != 60_000 || !bytes.Equal(s.file("file"), want) {
		t.Errorf("Resume: %+v, %v", rep, err)
	}
	if rep, err := send(Append, 99_000, 0); err != nil || rep.Bytes != 1000 || !bytes.Equal(s.file("file"), append(want, fresh[99_000:]...)) {
		t.Errorf("Append: %+v, %v", rep, err)
	}
	if rep, err := send(Replace, 0, 70_000); err != nil || rep.Bytes != 70_000 || !bytes.Equal(s.file("file"), fresh[:70_000]) {
		t.Errorf("To: %+v, %v", rep, err)
	}
	if rep, err := send(Replace, 0, 0); err != nil || rep.Bytes != 100_000 || !bytes.Equal(s.file("file"), fresh) {
		t.Errorf("Replace: %+v, %v", rep, err)
	}
	if _, err := c.Send(ctx, "none", Store{How: Resume}, from(fresh), 1, transfer.Options{}); idOf(err) != fault.IDNotFound {
		t.Errorf("Resume of none: %v", err)
	}
	if s.open() != 0 {
		t.Error("a handle is open")
	}
}

// liar tells another size than it has.
type liar struct {
	source
	size int64
}

func (l liar) Stat() (os.FileInfo, error) { return sized(l.size), nil }

func TestSourcesThatLie(t *testing.T) {
	s := newFake()
	c := s.dial(t, Options{})
	for _, n := range []int{0, 1, 5000, 100_000, 3 << 20} {
		for _, size := range []int64{0, 1, int64(n) / 2, int64(n), int64(n) + 1, 2*int64(n) + 70_000} {
			content := random(n)
			var k meter.Counter
			rep, err := c.Send(t.Context(), "file", Store{}, liar{from(content), size}, 0, transfer.Options{Meter: &k})
			if err != nil || rep.Bytes != int64(n) || !bytes.Equal(s.file("file"), content) || k.Bytes() != int64(n) {
				t.Errorf("%d bytes that say to be %d: %+v, %v, %d counted", n, size, rep, err, k.Bytes())
			}
		}
	}
}

// broken fails at an offset.
type broken struct {
	source
	at int64
}

func (b broken) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > b.at {
		return 0, errFull
	}
	return b.source.ReadAt(p, off)
}

func TestASourceThatFails(t *testing.T) {
	s := newFake()
	c := s.dial(t, Options{})
	content := random(4 << 20)
	rep, err := c.Send(t.Context(), "file", Store{}, broken{from(content), 1 << 20}, 0, transfer.Options{})
	if err != errFull || rep.Bytes == 0 || rep.Bytes > 1<<20 || !bytes.Equal(s.file("file"), content[:rep.Bytes]) || s.open() != 0 {
		t.Errorf("%+v, %v, and %d bytes are there", rep, err, len(s.file("file")))
	}
}

// A strict meter grants little, and wants back what it gave.
type strict struct {
	taken, back, moved atomic.Int64
	grant, refuse      int64
}

var errRefused = errors.New("refused")

func (m *strict) Take(ctx context.Context, want int64) (int64, error) {
	if m.refuse > 0 && m.taken.Load() >= m.refuse {
		return 0, errRefused
	}
	n := min(want, m.grant)
	m.taken.Add(n)
	return n, ctx.Err()
}

func (m *strict) Done(taken, moved int64) {
	m.back.Add(taken)
	m.moved.Add(moved)
}

func TestPermission(t *testing.T) {
	s := newFake()
	content := random(300_000)
	s.put("there", content)
	c := s.dial(t, Options{})
	for _, grant := range []int64{777, 32 << 10, math.MaxInt32} {
		for _, refuse := range []int64{0, 100_000} {
			for _, size := range []int64{300_000, -1} {
				m := &strict{grant: grant, refuse: refuse}
				rep, err := c.Receive(t.Context(), "there", 0, size, &memory{}, transfer.Options{Meter: m})
				checkMeter(t, fmt.Sprintf("Receive by %d until %d", grant, refuse), m, rep, err)
			}
			m := &strict{grant: grant, refuse: refuse}
			rep, err := c.Send(t.Context(), "to", Store{}, from(content), 0, transfer.Options{Meter: m})
			checkMeter(t, fmt.Sprintf("Send by %d until %d", grant, refuse), m, rep, err)
		}
	}
}

func checkMeter(t *testing.T, what string, m *strict, rep transfer.Report, err error) {
	t.Helper()
	if m.refuse > 0 && err != errRefused && rep.Bytes != 300_000 || m.refuse == 0 && (err != nil || rep.Bytes != 300_000) {
		t.Errorf("%s: %+v, %v", what, rep, err)
	}
	if m.taken.Load() != m.back.Load() || m.moved.Load() < rep.Bytes {
		t.Errorf("%s: %d taken, %d given back, %d moved of %d", what, m.taken.Load(), m.back.Load(), m.moved.Load(), rep.Bytes)
	}
}

// A transfer that is cancelled ends at once, whatever the server does.
func TestCancelling(t *testing.T) {
	for _, what := range []string{"Receive", "Send", "List", "Stat", "OPEN"} {
		s := newFake()
		s.put("file", random(1<<20))
		s.says = func(q *sftp.Request, usual []byte) []byte {
			switch {
			case q.Type == sftp.TypeRead && q.Offset > 500_000, q.Type == sftp.TypeWrite && q.Offset > 500_000,
				q.Type == sftp.TypeReaddir, q.Type == sftp.TypeStat:
				return []byte{}
			}
			return nil
		}
		c := s.dial(t, Options{})
		cause := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(50*time.Millisecond, func() { cancel(cause) })
		var err error
		switch what {
		case "Receive":
			_, err = c.Receive(ctx, "file", 0, 1<<20, &memory{}, transfer.Options{})
		case "Send":
			var rep transfer.Report
			rep, err = c.Send(ctx, "up", Store{}, from(random(1<<20)), 0, transfer.Options{})
			waitFor(t, "the upload is cut", func() bool { return int64(len(s.file("up"))) == rep.Bytes })
		case "List":
			for _, err = range c.List(ctx, "/") {
			}
		case "Stat":
			_, err = c.Stat(ctx, "file")
		case "OPEN":
			s.change(func(q *sftp.Request, usual []byte) []byte {
				if q.Type == sftp.TypeOpen {
					time.Sleep(100 * time.Millisecond)
				}
				return nil
			})
			_, err = c.Open(ctx, "file", sftp.OpenRead, nil)
		}
		if err != cause {
			t.Errorf("%s: %v", what, err)
		}
		waitFor(t, what+" closes its handle", func() bool { return s.open() == 0 && int64(len(c.handles)) == c.left.Load() })
		s.change(nil)
		if _, err := c.Realpath(t.Context(), "."); err != nil {
			t.Errorf("behind %s: %v", what, err)
		}
	}
}

func TestStalls(t *testing.T) {
	for _, send := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := newFake()
			s.put("file", random(1<<20))
			s.says = func(q *sftp.Request, usual []byte) []byte {
				if (q.Type == sftp.TypeRead || q.Type == sftp.TypeWrite) && q.Offset > 500_000 {
					return []byte{}
				}
				return nil
			}
			c := s.dial(t, Options{Answer: time.Hour})
			began := time.Now()
			var err error
			if o := (transfer.Options{Idle: 20 * time.Second}); send {
				_, err = c.Send(t.Context(), "up", Store{}, from(random(1<<20)), 0, o)
			} else {
				_, err = c.Receive(t.Context(), "file", 0, 1<<20, &memory{}, o)
			}
			if took := time.Since(began); idOf(err) != fault.IDStall || fault.KindOf(err) != fault.Stalled || took < 20*time.Second || took > 25*time.Second {
				t.Errorf("%v after %v", err, took)
			}
			_ = c.Close()
		})
	}
}

func TestHandlesAreLimited(t *testing.T) {
	s := newFake()
	s.limits = &sftp.Limits{Handles: 3}
	var most atomic.Int64
	s.says = func(*sftp.Request, []byte) []byte {
		most.Store(max(most.Load(), int64(s.open())))
		return nil
	}
	for i := range 50 {
		s.put(fmt.Sprint(i), random(100))
	}
	c := s.dial(t, Options{})
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			if _, err := c.Receive(t.Context(), fmt.Sprint(i), 0, 100, &memory{}, transfer.Options{}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if most.Load() > 3 {
		t.Errorf("%d handles were open", most.Load())
	}
}

func TestReadAtAndWriteAt(t *testing.T) {
	s := newFake()
	c := s.dial(t, Options{})
	ctx := t.Context()
	f, err := c.Open(ctx, "file", sftp.OpenRead|sftp.OpenWrite|sftp.OpenCreate, nil)
	need(t, err)
	content := random(100_000)
	if n, err := f.WriteAt(ctx, content, 10); n != len(content) || err != nil {
		t.Fatalf("WriteAt = %d, %v", n, err)
	}
	b := make([]byte, 100_100)
	if n, err := f.ReadAt(ctx, b, 10); n != 100_000 || err != io.EOF || !bytes.Equal(b[:n], content) {
		t.Errorf("ReadAt = %d, %v", n, err)
	}
	if a, err := f.Stat(ctx); err != nil || a.Size != 100_010 {
		t.Errorf("Stat = %+v, %v", a, err)
	}
	need(t, f.Setstat(ctx, &sftp.Attributes{Flags: sftp.HasSize, Size: 5}))
	if len(s.file("file")) != 5 {
		t.Error("Setstat does not cut")
	}
	if err := f.Fsync(ctx); idOf(err) != fault.IDUnsupported {
		t.Errorf("Fsync = %v", err)
	}
	need(t, f.Close(ctx))
	need(t, f.Close(ctx))
}

// What is traced is lines, and never what files hold.
func TestTheTraceHasNoContents(t *testing.T) {
	var mu sync.Mutex
	var all strings.Builder
	note := func(way string) func(string) {
		return func(s string) {
			mu.Lock()
			defer mu.Unlock()
			fmt.Fprintln(&all, way, s)
		}
	}
	s := newFake()
	s.put("file", []byte("sesame sesame"))
	c := s.dial(t, Options{Trace: Trace{Sent: note(">"), Got: note("<")}})
	_, err := c.Receive(t.Context(), "file", 0, 13, &memory{}, transfer.Options{})
	need(t, err)
	_, err = c.Send(t.Context(), "up", Store{}, from([]byte("sesame")), 0, transfer.Options{})
	need(t, err)
	_, _ = c.Stat(t.Context(), "no\nne")
	mu.Lock()
	defer mu.Unlock()
	for _, want := range []string{
		"> INIT version 3\n", "< VERSION 3\n", "> OPEN 1 \"file\" read\n", "< HANDLE 1 6831\n", "> READ 2 handle 6831 at 0, 14 bytes\n",
		"< DATA 2 13 bytes\n", "> WRITE 5 handle 6832 at 0, 6 bytes\n", "> STAT 7 \"no\\nne\"\n", "< STATUS 7 no such file\n",
	} {
		if !strings.Contains(all.String(), want) {
			t.Errorf("the trace lacks %q:\n%s", want, all.String())
		}
	}
	if strings.Contains(all.String(), "sesame") {
		t.Errorf("the trace has what the file holds:\n%s", all.String())
	}
}

func TestOpenSSHsFiles(t *testing.T) {
	c, dir := openssh(t, Options{})
	ctx := t.Context()
	home, err := c.Home(ctx)
	if real, _ := filepath.EvalSymlinks(dir); err != nil || home != real {
		t.Errorf("Home = %s, %v", home, err)
	}
	need(t, c.Mkdir(ctx, "d", 0o750))
	for i := range 1000 {
		need(t, os.WriteFile(filepath.Join(dir, "d", fmt.Sprint(i)), nil, 0o600))
	}
	names := map[string]bool{}
	for e, err := range c.List(ctx, "d") {
		need(t, err)
		if !e.Attrs.FileMode().IsRegular() || !strings.HasPrefix(e.Long, "-rw-------") {
			t.Fatalf("%+v", e)
		}
		names[e.Name] = true
	}
	if len(names) != 1000 || names["."] {
		t.Errorf("%d names", len(names))
	}
	need(t, os.WriteFile(filepath.Join(dir, "a"), []byte("a"), 0o600))
	need(t, os.WriteFile(filepath.Join(dir, "b"), []byte("b"), 0o600))
	if err := c.RenameNew(ctx, "a", "b"); idOf(err) != fault.IDServerSaysNo {
		t.Errorf("RenameNew onto a file: %v", err)
	}
	need(t, c.Rename(ctx, "a", "b"))
	need(t, c.RenameNew(ctx, "b", "c"))
	need(t, c.Symlink(ctx, "c", "link"))
	if to, err := c.Readlink(ctx, "link"); to != "c" || err != nil {
		t.Errorf("Readlink = %s, %v", to, err)
	}
	if a, err := c.Lstat(ctx, "link"); err != nil || a.FileMode()&os.ModeSymlink == 0 {
		t.Errorf("Lstat = %+v, %v", a, err)
	}
	if a, err := c.Stat(ctx, "link"); err != nil || a.Size != 1 {
		t.Errorf("Stat = %+v, %v", a, err)
	}
	need(t, c.Hardlink(ctx, "c", "hard"))
	if f, err := c.Space(ctx, "."); err != nil || f.Blocks == 0 {
		t.Errorf("Space = %+v, %v", f, err)
	}
	need(t, c.Setstat(ctx, "c", &sftp.Attributes{Flags: sftp.HasMode, Mode: 0o644}))
	need(t, c.Lsetstat(ctx, "link", &sftp.Attributes{Flags: sftp.HasTimes, MTime: 5}))
	if a, _ := c.Lstat(ctx, "link"); a.MTime != 5 {
		t.Errorf("Lsetstat leaves %d", a.MTime)
	}
	if users, _, err := c.Owners(ctx, []uint32{0, 4_000_000_000}, nil); err != nil || users[0] != "root" || users[1] != "" {
		t.Errorf("Owners = %q, %v", users, err)
	}
	if p, err := c.Expand(ctx, "~/x"); err != nil || !strings.HasSuffix(p, "/x") || p[0] != '/' {
		t.Errorf("Expand = %s, %v", p, err)
	}
	src, err := c.Open(ctx, "c", sftp.OpenRead, nil)
	need(t, err)
	dst, err := c.Open(ctx, "copy", sftp.OpenWrite|sftp.OpenCreate, nil)
	need(t, err)
	need(t, src.CopyData(ctx, 0, 0, dst, 0))
	need(t, dst.Fsync(ctx))
	need(t, src.Close(ctx))
	need(t, dst.Close(ctx))
	if b, _ := os.ReadFile(filepath.Join(dir, "copy")); string(b) != "a" {
		t.Errorf("the copy has %q", b)
	}
	if _, err := c.CheckFile(ctx, "c", Range{}, "sha256"); idOf(err) != fault.IDUnsupported {
		t.Errorf("CheckFile = %v", err)
	}
	tests := []struct {
		name string
		err  error
		id   fault.ID
	}{
		{"Remove of none", c.Remove(ctx, "none"), fault.IDNotFound},
		{"Remove of a directory", c.Remove(ctx, "d"), fault.IDServerSaysNo},
		{"RemoveDir of one that is full", c.RemoveDir(ctx, "d"), fault.IDServerSaysNo},
		{"Mkdir of one that is there", c.Mkdir(ctx, "d", 0), fault.IDServerSaysNo},
		{"a path with a NUL", c.Remove(ctx, "a\x00b"), fault.IDBadName},
		{"a path without an end", c.Remove(ctx, strings.Repeat("a", 300_000)), fault.IDBadName},
	}
	for _, tt := range tests {
		if idOf(tt.err) != tt.id {
			t.Errorf("%s: %v; want %s", tt.name, tt.err, tt.id)
		}
	}
	for _, err := range c.List(ctx, "none") {
		if idOf(err) != fault.IDNotFound || !errors.Is(err, os.ErrNotExist) {
			t.Errorf("List of none: %v", err)
		}
	}
	need(t, c.Remove(ctx, "hard"))
}
