package transfer

import (
	"bytes"
	"compress/zlib"
	"context"
	"errors"
	"fmt"
	"hash/adler32"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"dray/fault"
)

// squeeze is b as one zlib stream.
func squeeze(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	zw := zlib.NewWriter(&out)
	if _, err := zw.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := zw.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// expand is what a zlib stream with nothing behind it holds.
func expand(b []byte) ([]byte, error) {
	r := bytes.NewReader(b)
	zr, err := zlib.NewReader(r)
	if err != nil {
		return nil, err
	}
	out, err := io.ReadAll(zr)
	if err == nil && r.Len() > 0 {
		err = errors.New("bytes behind the stream")
	}
	return out, err
}

// words is n bytes that compress as texts do, with line ends of both kinds.
func words(n int) []byte {
	return bytes.Repeat([]byte("the quick brown fox\njumps over\r\nthe lazy dog\r\r\n"), n/45+1)[:n]
}

var contents = []struct {
	name string
	b    []byte
}{
	{"nothing", nil},
	{"one byte", []byte("x")},
	{"one byte less than 64 KiB", noise(64<<10 - 1)},
	{"64 KiB", noise(64 << 10)},
	{"one byte more than 64 KiB", noise(64<<10 + 1)},
	{"10 MiB that do not compress", noise(10 << 20)},
	{"10 MiB of zeros", make([]byte, 10<<20)},
	{"a text", words(300_001)},
}

func TestCompressedDataGoesBothWays(t *testing.T) {
	for _, end := range ends {
		for _, c := range contents {
			for _, text := range []bool{false, true} {
				for _, from := range []int64{0, 4097} {
					large := len(c.b) > 1<<20
					if from > int64(len(c.b)) || large && (from > 0 || text || end.name == "TLS 1.2") {
						continue
					}
					name := fmt.Sprintf("%s, %s from %d, text %v", end.name, c.name, from, text)
					server, client := end.make(t)
					got := drain(client)
					m := &stingy{t: t}
					opt := Options{Deflate: true, Text: text, Meter: m, Idle: time.Minute}
					rep, err := Send(t.Context(), server, newDisk(t, c.b, 0), from, opt)
					server.Close()
					wire, readErr := got()
					if err != nil || readErr != nil {
						t.Fatalf("%s: Send = %v, and its peer read %v", name, err, readErr)
					}
					want := c.b[from:]
					if text {
						want = slowToWire(c.b, from)
					}
					if b, err := expand(wire); err != nil || !bytes.Equal(b, want) {
						t.Errorf("%s: the wire holds a stream of %d bytes, %v; want %d", name, len(b), err, len(want))
					}
					if left := int64(len(c.b)) - from; rep.Bytes != left || m.moved != left || rep.Road != RoadCopy || rep.Ended.IsZero() || rep.Whole {
						t.Errorf("%s: Send = %+v, and the meter counted %d", name, rep, m.moved)
					}

					server, client = end.make(t)
					feed(t, client, wire)
					m = &stingy{t: t}
					opt.Meter = m
					d := newDisk(t, c.b[:from], from)
					rep, err = Receive(t.Context(), d, server, opt)
					if err != nil {
						t.Fatalf("%s: Receive = %v", name, err)
					}
					want = append(bytes.Clone(c.b[:from]), want...)
					if text {
						want = append(bytes.Clone(c.b[:from]), bytes.ReplaceAll(slowToWire(c.b, from), []byte("\r\n"), []byte("\n"))...)
					}
					if b := d.content(t); !bytes.Equal(b, want) {
						t.Errorf("%s: the file holds %d bytes; want %d", name, len(b), len(want))
					}
					if left := int64(len(want)) - from; rep.Bytes != left || m.moved != left || rep.Road != RoadCopy || !rep.Whole || rep.Ended.IsZero() {
						t.Errorf("%s: Receive = %+v, and the meter counted %d; want %d", name, rep, m.moved, left)
					}
				}
			}
		}
	}
}

func TestEveryLevelMakesAStream(t *testing.T) {
	for level := range 11 { // 0 and 10 are no levels: the usual one
		s := &script{in: bytes.NewReader(nil)}
		if _, err := Send(t.Context(), s, &memory{words(100_000)}, 0, Options{Deflate: true, Level: level}); err != nil {
			t.Fatal(err)
		}
		if s.out.Len() > 5000 {
			t.Errorf("level %d: 100000 bytes of text are %d on the wire", level, s.out.Len())
		}
		if b, err := expand(s.out.Bytes()); err != nil || !bytes.Equal(b, words(100_000)) {
			t.Errorf("level %d: %d bytes, %v", level, len(b), err)
		}
	}
}

// In a crowd nobody waits and nobody needs a megabyte: later streams are stored.
func TestInACrowdStreamsAreStored(t *testing.T) {
	var crowd []*deflater
	for range maxDeflaters {
		crowd = append(crowd, newDeflater(t.Context(), io.Discard, 1))
	}
	for _, c := range contents {
		s := &script{in: bytes.NewReader(nil)}
		if _, err := Send(t.Context(), s, &memory{c.b}, 0, Options{Deflate: true}); err != nil {
			t.Fatal(err)
		}
		if most := len(c.b)*1001/1000 + 100; s.out.Len() < len(c.b) || s.out.Len() > most {
			t.Errorf("%s: %d bytes on the wire; want %d to %d", c.name, s.out.Len(), len(c.b), most)
		}
		if b, err := expand(s.out.Bytes()); err != nil || !bytes.Equal(b, c.b) {
			t.Errorf("%s: %d bytes, %v", c.name, len(b), err)
		}
	}
	for _, z := range crowd {
		z.release()
	}
	s := &script{in: bytes.NewReader(nil)}
	if _, err := Send(t.Context(), s, &memory{make([]byte, 1<<20)}, 0, Options{Deflate: true}); err != nil || s.out.Len() > 2000 {
		t.Errorf("after the crowd 1 MiB of zeros is %d bytes on the wire, %v", s.out.Len(), err)
	}
	if n := deflating.Load(); n != 0 {
		t.Errorf("%d deflaters are held", n)
	}
}

func TestAStreamThatEndsAnywhereBeforeItsEndIsCut(t *testing.T) {
	for _, c := range []struct {
		name string
		b    []byte
	}{{"a text", words(3000)}, {"noise", noise(500)}, {"nothing", nil}} {
		whole := squeeze(t, c.b)
		for n := range whole {
			m := &memory{}
			rep, err := Receive(t.Context(), m, &script{in: bytes.NewReader(whole[:n])}, Options{Deflate: true})
			wantFault(t, err, fault.Cut, fault.IDDataLost)
			if rep.Whole || !rep.Ended.IsZero() || !bytes.HasPrefix(c.b, m.b) || rep.Bytes != int64(len(m.b)) {
				t.Fatalf("%s, %d bytes of %d: Receive = %+v, %d in the file", c.name, n, len(whole), rep, len(m.b))
			}
		}
	}
	for _, end := range ends { // with a proper end of TLS too
		for _, size := range []int{0, 1, 2, 100, 50_000} {
			server, client := end.make(t)
			feed(t, client, squeeze(t, noise(100_000))[:size])
			_, err := Receive(t.Context(), newDisk(t, nil, 0), server, Options{Deflate: true, BareEnd: true})
			wantFault(t, err, fault.Cut, fault.IDDataLost)
		}
	}
}

func TestAWholeStreamInTLSWithoutCloseNotifyIsCut(t *testing.T) {
	for _, v := range versions {
		for _, accepted := range []bool{false, true} {
			rawServer, rawClient := pair(t)
			server, client := over(t, v.id, rawServer, rawClient)
			go func() {
				_, _ = client.Write(squeeze(t, words(1000)))
				rawClient.Close()
			}()
			rep, err := Receive(t.Context(), newDisk(t, nil, 0), server, Options{Deflate: true, BareEnd: accepted})
			if !accepted {
				wantFault(t, err, fault.Cut, fault.IDTLSNoClose)
			} else if err != nil || rep.Bytes != 1000 {
				t.Errorf("%s: %+v, %v", v.name, rep, err)
			}
		}
	}
}

func TestAResetBehindAWholeStreamIsNoEnd(t *testing.T) {
	server, client := pair(t)
	d := newDisk(t, nil, 0)
	go func() {
		_, _ = client.Write(squeeze(t, words(1000)))
		for { // the reset must not overtake what it follows
			if fi, err := d.Stat(); err != nil || fi.Size() > 0 {
				break
			}
			time.Sleep(time.Millisecond)
		}
		_ = client.SetLinger(0)
		client.Close()
	}()
	// Of one byte grants, so that something is in the file before the end is awaited.
	_, err := Receive(t.Context(), d, server, Options{Deflate: true, Meter: &stingy{t: t, grants: []int64{100}}})
	wantFault(t, err, fault.Cut, fault.IDDataLost)
}

func TestWhatIsNoStreamIsTakenAway(t *testing.T) {
	whole := squeeze(t, words(200_000))
	damaged := func(at int) []byte {
		b := bytes.Clone(whole)
		b[at] ^= 0x55
		return b
	}
	stored := func() []byte { // in stored blocks only the checksum tells
		z := &script{in: bytes.NewReader(nil)}
		d := &deflater{sum: adler32.New(), out: outbox{dst: z, buf: takeBuffer(&smallBuffers)}, ctx: context.Background()}
		_, _ = d.Write(noise(200_000))
		_ = d.finish()
		b := z.out.Bytes()
		b[100_000] ^= 1
		return b
	}
	dictionary := func() []byte {
		var out bytes.Buffer
		zw, err := zlib.NewWriterLevelDict(&out, 6, []byte("the quick brown fox"))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = zw.Write(words(100))
		_ = zw.Close()
		return out.Bytes()
	}
	for _, c := range []struct {
		name, why string
		wire      []byte
	}{
		{"a text", "begin", []byte("this is no zlib stream at all")},
		{"gzip", "begin", []byte("\x1f\x8b\x08\x00\x00\x00\x00\x00")},
		{"a byte behind the end", "behind the end", append(bytes.Clone(whole), 0)},
		{"a second stream behind the end", "behind the end", append(bytes.Clone(whole), whole...)},
		{"much behind the end", "behind the end", append(bytes.Clone(whole), noise(500_000)...)},
		{"a wrong checksum", "checksum", damaged(len(whole) - 1)},
		{"a stored byte that is another", "checksum", stored()},
		{"a wrong block type", "damaged", []byte{0x78, 0x9c, 0x07, 0, 0, 0, 0, 0}},
		{"a dictionary", "dictionary", dictionary()},
	} {
		for _, end := range ends {
			server, client := end.make(t)
			feed(t, client, c.wire)
			d := newDisk(t, []byte("before"), 6)
			rep, err := Receive(t.Context(), d, server, Options{Deflate: true})
			wantFault(t, err, fault.Cut, fault.IDDeflate)
			if why, _ := fault.Of(err).Facts[0].(string); !strings.Contains(why, c.why) {
				t.Errorf("%s: %q; want %q in it", c.name, why, c.why)
			}
			if b := d.content(t); string(b) != "before" || rep.Bytes != 0 || rep.Whole {
				t.Errorf("%s, %s: %d bytes are left in the file, %+v", end.name, c.name, len(b), rep)
			}
		}
	}
}

func TestABombIsEndedAndAnHonestImageIsNot(t *testing.T) {
	const size = 16 << 20
	bombed := squeeze(t, make([]byte, size))
	for _, c := range []struct {
		name   string
		expand int64
		ended  bool
	}{
		{"by default the first 4 GiB are free", 0, false},
		{"a quota that allows it", size, false},
		{"one byte less than the ratio allows", size - int64(len(bombed))*bombRatio + 1, false},
		{"all that the ratio allows", size - int64(len(bombed))*bombRatio, true},
		{"far behind what is free", 1 << 20, true},
	} {
		rep, err := Receive(t.Context(), void{}, &script{in: bytes.NewReader(bombed)}, Options{Deflate: true, Expand: c.expand})
		if c.ended {
			wantFault(t, err, fault.OverQuota, fault.IDBomb)
			if c.expand == 1<<20 && rep.Bytes > 8<<20 {
				t.Errorf("%s: %d bytes were written before the end", c.name, rep.Bytes)
			}
		} else if err != nil || rep.Bytes != size {
			t.Errorf("%s: %+v, %v", c.name, rep, err)
		}
	}
	for _, c := range []struct {
		expanded, came, free int64
		want                 bool
	}{
		{100, 0, 100, false}, {101, 1, 100, false}, {100 + bombRatio, 1, 100, true}, {99 + bombRatio, 1, 100, false},
		{1 << 62, 1 << 40, DefaultExpand, true}, {1 << 40, 1 << 33, DefaultExpand, false},
	} {
		if got := bomb(c.expanded, c.came, c.free); got != c.want {
			t.Errorf("bomb(%d, %d, %d) = %v", c.expanded, c.came, c.free, got)
		}
	}
}

func TestTheMeterOfACompressedUploadRefusesExpandedBytes(t *testing.T) {
	full := fault.New(fault.OverQuota, fault.IDQuota)
	wire := squeeze(t, make([]byte, 300_000))
	for limit, want := range map[int64]error{300_000: nil, 299_999: full} {
		m := &stingy{t: t, refuse: full, limit: limit}
		rep, err := Receive(t.Context(), void{}, &script{in: bytes.NewReader(wire)}, Options{Deflate: true, Meter: m})
		if !errors.Is(err, want) || rep.Bytes != limit || rep.Whole != (want == nil) {
			t.Errorf("a limit of %d: %+v, %v", limit, rep, err)
		}
	}
}

func TestCompressedTransfersEndByStallAndCancellation(t *testing.T) {
	why := errors.New("enough")
	large := &memory{noise(16 << 20)} // more than all buffers between two sockets hold
	wire := squeeze(t, make([]byte, 8<<20))
	for _, end := range ends {
		server, client := end.make(t)
		go client.Write(squeeze(t, noise(100_000))[:1000])
		_, err := Receive(t.Context(), newDisk(t, nil, 0), server, Options{Deflate: true, Idle: 50 * time.Millisecond})
		wantFault(t, err, fault.Stalled, fault.IDStall)

		server, _ = end.make(t)
		_, err = Send(t.Context(), server, large, 0, Options{Deflate: true, Level: 1, Idle: 50 * time.Millisecond})
		wantFault(t, err, fault.Stalled, fault.IDStall)

		// In zeros nobody waits for the network; the context is heard all the same.
		ctx, cancel := context.WithCancelCause(t.Context())
		server, _ = end.make(t)
		if _, err = Send(ctx, server, blank{1 << 50}, 0, Options{Deflate: true, Meter: &tripwire{at: 3, trip: func() { cancel(why) }}}); !errors.Is(err, why) {
			t.Errorf("%s: Send = %v", end.name, err)
		}
		ctx, cancel = context.WithCancelCause(t.Context())
		server, client = end.make(t)
		go client.Write(wire)
		if _, err = Receive(ctx, void{}, server, Options{Deflate: true, Meter: &tripwire{at: 3, trip: func() { cancel(why) }}}); !errors.Is(err, why) {
			t.Errorf("%s: Receive = %v", end.name, err)
		}
	}
}

// A file that shrinks to nothing is sent all the same, not kept for 64 KiB.
func TestCompressedBytesDoNotWaitLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, client := net.Pipe()
		begun := time.Now()
		var heard []time.Duration
		done := make(chan error, 1)
		go func() {
			zr, err := zlib.NewReader(client)
			if err != nil {
				done <- err
				return
			}
			b := make([]byte, 64<<10)
			for {
				n, err := zr.Read(b)
				if n > 0 {
					heard = append(heard, time.Since(begun))
				}
				if err == io.EOF {
					break
				}
				if err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
		// 100 slices of 1000 bytes, one a second.
		if _, err := Send(t.Context(), server, blank{100_000}, 0, Options{Deflate: true, Meter: slow{}}); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		last := time.Duration(0)
		for _, at := range heard {
			if at-last > 5*time.Second {
				t.Errorf("no byte between %v and %v", last, at)
			}
			last = at
		}
		server.Close()
		client.Close()
	})
}

// blank is a file of so many bytes that are really zero.
type blank struct{ zeros }

func (f blank) ReadAt(b []byte, at int64) (int, error) {
	clear(b)
	return f.zeros.ReadAt(b, at)
}

// slow grants 1000 bytes a second.
type slow struct{}

func (slow) Take(_ context.Context, want int64) (int64, error) {
	time.Sleep(time.Second)
	return min(want, 1000), nil
}
func (slow) Done(int64, int64) {}

func TestCompressedListings(t *testing.T) {
	for _, end := range ends {
		for _, n := range []int{0, 1, 10_000} {
			server, client := end.make(t)
			got := drain(client)
			w := Lines(t.Context(), server, Options{Deflate: true})
			want := bytes.Repeat([]byte("-rw-r--r-- 1 0 0 5 Jan  1 00:00 a\r\n"), n)
			for line := range bytes.Lines(want) {
				if _, err := w.Write(line); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			server.Close()
			wire, err := got()
			if err != nil {
				t.Fatal(err)
			}
			if b, err := expand(wire); err != nil || !bytes.Equal(b, want) || len(wire) > 20_000 {
				t.Errorf("%s, %d lines: %d bytes from %d on the wire, %v", end.name, n, len(b), len(wire), err)
			}
		}
	}
}

func TestAListingThatFailedHasNoEndOfItsStream(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	s := &script{in: bytes.NewReader(nil)}
	w := Lines(ctx, s, Options{Deflate: true})
	_, _ = w.Write(make([]byte, 100_000))
	why := errors.New("enough")
	cancel(why)
	if err := w.Close(); !errors.Is(err, why) {
		t.Errorf("Close = %v", err)
	}
	if err := w.Close(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("a second Close = %v", err)
	}
	if _, err := expand(s.out.Bytes()); err == nil {
		t.Error("the wire holds a whole stream")
	}
	if n := deflating.Load(); n != 0 {
		t.Errorf("%d deflaters are held", n)
	}
}

func TestAllocationsOfCompressedTransfersDoNotGrow(t *testing.T) {
	if raced {
		t.Skip("the race detector makes pools forget")
	}
	const amount = 32 << 20
	run := func(size int64) {
		s := &script{in: bytes.NewReader(nil)}
		s.out.Grow(256 << 10)
		if _, err := Send(t.Context(), s, blank{zeros(size)}, 0, Options{Deflate: true}); err != nil {
			t.Fatal(err)
		}
		if rep, err := Receive(t.Context(), void{}, &script{in: bytes.NewReader(s.out.Bytes())}, Options{Deflate: true}); err != nil || rep.Bytes != size {
			t.Fatal(rep, err)
		}
	}
	run(1 << 20) // fills the pools
	// A collection may take from the pools, so a new deflater is no leak.
	if objects, size := allocated(func() { run(amount) }); objects > 200 || size > 4<<20 {
		t.Errorf("32 MiB there and back allocate %d objects of %d bytes", objects, size)
	}
}

// Whatever comes is what zlib makes of it, with nothing behind it, or an error;
// what an error leaves in the file is the beginning of that.
func FuzzInflate(f *testing.F) {
	for _, b := range [][]byte{nil, []byte("x"), noise(300), make([]byte, 3000), words(1000)} {
		f.Add(squeeze(f, b), []byte{1, 0, 200})
	}
	f.Add(append(squeeze(f, words(100)), 1), []byte{3})
	f.Add(squeeze(f, words(1000))[:50], []byte{10})
	f.Add([]byte{0x78, 0xbb, 0, 0, 0, 1, 3, 0, 0, 0, 0, 1}, []byte{1})
	f.Fuzz(func(t *testing.T, wire, sizes []byte) {
		want, wantErr := expand(wire)
		if len(want) > 1<<16 { // in pieces of one byte more takes long
			return
		}
		file := &memory{}
		rep, err := Receive(t.Context(), file, &script{in: bytes.NewReader(wire)}, Options{Deflate: true, Meter: &stingy{t: t, grants: grants(sizes)}})
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("Receive = %v; zlib says %v", err, wantErr)
		}
		switch {
		case err == nil && (!bytes.Equal(file.b, want) || !rep.Whole):
			t.Errorf("%d bytes in the file, whole %v; zlib makes %d", len(file.b), rep.Whole, len(want))
		case err != nil && fault.KindOf(err) != fault.Cut:
			t.Errorf("error %v; want one of kind Cut", err)
		case err != nil && (rep.Whole || !bytes.HasPrefix(want, file.b)):
			t.Errorf("after %v: %d bytes in the file that are not the beginning, whole %v", err, len(file.b), rep.Whole)
		}
	})
}
