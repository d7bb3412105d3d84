package transfer

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"runtime"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"dray/fault"
	"dray/meter"
)

// kernelUpload is the road of a plain upload to a descriptor on this system.
var kernelUpload = map[bool]Road{true: RoadKernel, false: RoadCopy}[runtime.GOOS == "linux"]

// ends makes the two ends of a data connection.
var ends = []struct {
	name   string
	secure bool
	make   func(testing.TB) (server, client net.Conn)
}{
	{"plain", false, func(t testing.TB) (net.Conn, net.Conn) { return pair(t) }},
	{"TLS 1.2", true, func(t testing.TB) (net.Conn, net.Conn) {
		s, c := pair(t)
		return over(t, tls.VersionTLS12, s, c)
	}},
	{"TLS 1.3", true, func(t testing.TB) (net.Conn, net.Conn) {
		s, c := pair(t)
		return over(t, tls.VersionTLS13, s, c)
	}},
}

// wholeBuffer is the largest buffer of a transfer.
var wholeBuffer = len(*loads[0].buffers.Get().(*[]byte))

var sizes = []int{0, 1, 4096, 16<<10 + 1, wholeBuffer, 3<<20 + 17}

func TestDownloadTakesTheCheapestRoadAndSendsTheFile(t *testing.T) {
	for _, end := range ends {
		for _, hidden := range []bool{false, true} {
			for _, text := range []bool{false, true} {
				road := RoadCopy
				if !end.secure && !hidden && !text {
					road = RoadKernel
				}
				for _, size := range sizes {
					for _, from := range []int64{0, 1, 4096, int64(size), int64(size) + 5} {
						server, client := end.make(t)
						content := noise(size)
						d := newDisk(t, content, 0)
						got := drain(client)
						m := &stingy{t: t}
						opt := Options{Meter: m, Text: text, Idle: time.Minute}
						var rep Report
						var err error
						if hidden {
							rep, err = Send(t.Context(), server, plain{d}, from, opt)
						} else {
							rep, err = Send(t.Context(), server, d, from, opt)
						}
						server.Close()
						b, readErr := got()
						if err != nil || readErr != nil {
							t.Fatalf("%s: Send(%d bytes from %d) = %v; the client read: %v", end.name, size, from, err, readErr)
						}
						tail := content[min(from, int64(size)):]
						want := tail
						if text {
							want = slowToWire(content, from)
						}
						if !bytes.Equal(b, want) {
							t.Errorf("%s: Send(%d bytes from %d, text %v): other content, %d bytes; want %d", end.name, size, from, text, len(b), len(want))
						}
						if rep.Road != road || rep.Bytes != int64(len(tail)) || rep.Ended.IsZero() || rep.Took <= 0 || rep.Whole {
							t.Errorf("%s: Send(%d bytes from %d, hidden %v, text %v) reports %+v; want road %s", end.name, size, from, hidden, text, rep, road)
						}
						if m.moved != rep.Bytes {
							t.Errorf("the meter counted %d; want %d", m.moved, rep.Bytes)
						}
					}
				}
			}
		}
	}
}

func TestUploadTakesTheCheapestRoadAndKeepsTheData(t *testing.T) {
	for _, end := range ends {
		for _, hidden := range []bool{false, true} {
			for _, text := range []bool{false, true} {
				road := RoadCopy
				if !end.secure && !hidden && !text {
					road = kernelUpload
				}
				for _, size := range sizes {
					road := road
					if size < headBuffer { // it is over before a road is chosen
						road = RoadCopy
					}
					for _, at := range []int64{0, 5} {
						server, client := end.make(t)
						content := noise(size)
						d := newDisk(t, []byte("01234"), at)
						feed(t, client, content)
						m := &stingy{t: t}
						opt := Options{Meter: m, Text: text, Idle: time.Minute}
						var rep Report
						var err error
						if hidden {
							rep, err = Receive(t.Context(), plain{d}, server, opt)
						} else {
							rep, err = Receive(t.Context(), d, server, opt)
						}
						if err != nil {
							t.Fatalf("%s: Receive(%d bytes at %d) = %v", end.name, size, at, err)
						}
						want := content
						if text {
							want = bytes.ReplaceAll(content, []byte("\r\n"), []byte("\n"))
						}
						file := d.content(t)
						if b := file[:min(at+int64(len(want)), int64(len(file)))]; !bytes.Equal(b, append([]byte("01234")[:at:at], want...)) {
							t.Errorf("%s: Receive(%d bytes at %d, text %v): other content", end.name, size, at, text)
						}
						if rep.Road != road || rep.Bytes != int64(len(want)) || rep.Ended.IsZero() || rep.Took <= 0 || rep.Whole != end.secure {
							t.Errorf("%s: Receive(%d bytes at %d, hidden %v, text %v) reports %+v; want road %s", end.name, size, at, hidden, text, rep, road)
						}
						if m.moved != rep.Bytes {
							t.Errorf("the meter counted %d; want %d", m.moved, rep.Bytes)
						}
					}
				}
			}
		}
	}
}

func TestAMeterThatGrantsLittleIsObeyedOnEveryRoad(t *testing.T) {
	content := noise(100_000)
	for _, end := range ends {
		for _, text := range []bool{false, true} {
			server, client := end.make(t)
			d := newDisk(t, nil, 0)
			feed(t, client, content)
			m := &stingy{t: t, grants: []int64{1, 1000, 7, 30_000}}
			rep, err := Receive(t.Context(), d, server, Options{Meter: m, Text: text})
			if err != nil || m.moved != rep.Bytes || len(d.content(t)) != int(rep.Bytes) {
				t.Errorf("%s: Receive = %+v, %v; the meter counted %d", end.name, rep, err, m.moved)
			}

			server, client = end.make(t)
			got := drain(client)
			m = &stingy{t: t, grants: []int64{1, 1000, 7, 30_000}}
			rep, err = Send(t.Context(), server, d, 0, Options{Meter: m})
			server.Close()
			b, _ := got()
			if err != nil || m.moved != rep.Bytes || !bytes.Equal(b, d.content(t)) {
				t.Errorf("%s: Send = %+v, %v; the meter counted %d", end.name, rep, err, m.moved)
			}
		}
	}
}

func TestAMeterThatRefusesEndsTheTransferWithItsError(t *testing.T) {
	full := fault.New(fault.OverQuota, fault.IDQuota)
	content := noise(1 << 20)
	for _, end := range ends {
		server, client := end.make(t)
		d := newDisk(t, nil, 0)
		feed(t, client, content)
		rep, err := Receive(t.Context(), d, server, Options{Meter: &stingy{t: t, refuse: full, limit: 300_000}})
		if err != full || rep.Bytes != 300_000 || !bytes.Equal(d.content(t), content[:300_000]) {
			t.Errorf("%s: Receive past a refusal = %+v, %v", end.name, rep, err)
		}

		server, client = end.make(t)
		got := drain(client)
		rep, err = Send(t.Context(), server, newDisk(t, content, 0), 0, Options{Meter: &stingy{t: t, refuse: full, limit: 300_000}})
		socket(server).Close()
		b, _ := got()
		if err != full || rep.Bytes != 300_000 || !bytes.Equal(b, content[:300_000]) {
			t.Errorf("%s: Send past a refusal = %+v, %v; %d bytes came", end.name, rep, err, len(b))
		}
	}
}

func TestAFileThatFillsItsQuotaToTheLastByteIsWhole(t *testing.T) {
	full := fault.New(fault.OverQuota, fault.IDQuota)
	content := noise(300_000)
	for _, end := range ends {
		server, client := end.make(t)
		d := newDisk(t, nil, 0)
		feed(t, client, content)
		rep, err := Receive(t.Context(), d, server, Options{Meter: &stingy{t: t, refuse: full, limit: 300_000}})
		if err != nil || rep.Bytes != 300_000 || rep.Whole != end.secure || rep.Ended.IsZero() {
			t.Errorf("%s: Receive = %+v, %v", end.name, rep, err)
		}
	}
}

func TestTLSDataWithoutCloseNotifyIsCut(t *testing.T) {
	content := noise(200_000)
	for _, v := range versions {
		for _, accepted := range []bool{false, true} {
			rawServer, rawClient := pair(t)
			server, client := over(t, v.id, rawServer, rawClient)
			d := newDisk(t, nil, 0)
			go func() {
				_, _ = client.Write(content)
				rawClient.Close()
			}()
			rep, err := Receive(t.Context(), d, server, Options{BareEnd: accepted})
			if accepted {
				if err != nil || rep.Whole {
					t.Errorf("%s: accepted bare end: %+v, %v", v.name, rep, err)
				}
			} else {
				wantFault(t, err, fault.Cut, fault.IDTLSNoClose)
			}
			if rep.Bytes != int64(len(content)) || !bytes.Equal(d.content(t), content) {
				t.Errorf("%s: %d bytes are in the file; want %d", v.name, rep.Bytes, len(content))
			}
		}
	}
}

func TestTLSDataThatEndsInsideARecordIsCutEvenWhereABareEndIsAccepted(t *testing.T) {
	for _, v := range versions {
		rawServer, rawClient := pair(t)
		server, _ := over(t, v.id, rawServer, rawClient)
		_, _ = rawClient.Write([]byte{23, 3, 3, 0x40}) // a header without its last byte
		rawClient.Close()
		_, err := Receive(t.Context(), newDisk(t, nil, 0), server, Options{BareEnd: true})
		wantFault(t, err, fault.Cut, fault.IDDataLost)
	}
}

// trusting is a connection whose last bytes come together with its end.
type trusting struct{ net.Conn }

func (c trusting) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err == nil && n < len(b) {
		var m int
		m, err = io.ReadFull(c.Conn, b[n:])
		n += m
		if err == io.ErrUnexpectedEOF {
			err = io.EOF
		}
	}
	return n, err
}

func TestCloseNotifyIsSeenWhenTheSocketsEndComesWithIt(t *testing.T) {
	rawServer, rawClient := pair(t)
	server, client := over(t, tls.VersionTLS13, rawServer, rawClient)
	feed(t, client, []byte("hello"))
	server.wire.Conn = trusting{rawServer}
	rep, err := Receive(t.Context(), void{}, server, Options{})
	if err != nil || !rep.Whole || rep.Bytes != 5 {
		t.Errorf("Receive = %+v, %v", rep, err)
	}
}

func TestAResetIsNeverAnEnd(t *testing.T) {
	content := noise(100_000)
	for _, end := range ends {
		for _, text := range []bool{false, true} {
			server, client := end.make(t)
			tcp := socket(client).(*net.TCPConn)
			d := newDisk(t, nil, 0)
			go func() {
				_, _ = client.Write(content)
				_ = tcp.SetLinger(0)
				tcp.Close()
			}()
			rep, err := Receive(t.Context(), d, server, Options{Text: text, BareEnd: true})
			wantFault(t, err, fault.Cut, fault.IDDataLost)
			if !rep.Ended.IsZero() || rep.Whole {
				t.Errorf("%s: Receive reports an end: %+v", end.name, rep)
			}
			if fi, _ := d.Stat(); fi.Size() != rep.Bytes {
				t.Errorf("%s: %d bytes are in the file, %d reported", end.name, fi.Size(), rep.Bytes)
			}
		}
	}
}

func TestAPeerThatLeavesADownloadCutsIt(t *testing.T) {
	for _, end := range ends {
		for _, text := range []bool{false, true} {
			server, client := end.make(t)
			go func() {
				_, _ = client.Read(make([]byte, 10))
				socket(client).Close() // with bytes unread: a reset
			}()
			rep, err := Send(t.Context(), server, sparse(t), 0, Options{Text: text})
			wantFault(t, err, fault.Cut, fault.IDDataLost)
			if !rep.Ended.IsZero() {
				t.Errorf("%s: Send reports an end: %+v", end.name, rep)
			}
		}
	}
}

// sparse is a file of 1 GiB, more than all buffers between two sockets hold.
func sparse(t testing.TB) disk {
	d := newDisk(t, nil, 0)
	if err := d.Truncate(1 << 30); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestSilenceIsAStall(t *testing.T) {
	const idle = 50 * time.Millisecond
	for _, end := range ends {
		for _, text := range []bool{false, true} {
			opt := Options{Text: text, Idle: idle}
			server, client := end.make(t)
			go client.Write([]byte("some"))
			d := newDisk(t, nil, 0)
			rep, err := Receive(t.Context(), d, server, opt)
			wantFault(t, err, fault.Stalled, fault.IDStall)
			if rep.Took < idle || string(d.content(t)) != "some" || rep.Bytes != 4 {
				t.Errorf("%s: Receive = %+v, file %q", end.name, rep, d.content(t))
			}

			server, _ = end.make(t)
			rep, err = Send(t.Context(), server, sparse(t), 0, opt)
			wantFault(t, err, fault.Stalled, fault.IDStall)
			if rep.Took < idle || rep.Bytes == 0 {
				t.Errorf("%s: Send = %+v", end.name, rep)
			}
		}
	}
}

func TestSlownessIsNoStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, client := net.Pipe()
		go func() {
			for range 20 {
				time.Sleep(900 * time.Millisecond)
				_, _ = client.Write([]byte("x"))
			}
			client.Close()
		}()
		if rep, err := Receive(t.Context(), void{}, server, Options{Idle: time.Second}); err != nil || rep.Bytes != 20 {
			t.Errorf("Receive = %+v, %v", rep, err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		server, client := net.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				time.Sleep(900 * time.Millisecond)
				if _, err := client.Read(make([]byte, 1)); err != nil {
					return
				}
			}
		}()
		if rep, err := Send(t.Context(), server, &memory{make([]byte, 20)}, 0, Options{Idle: time.Second}); err != nil || rep.Bytes != 20 {
			t.Errorf("Send = %+v, %v", rep, err)
		}
		server.Close()
		<-done
	})
}

// A record of 16 KiB may take longer than Idle; its pieces are life.
func TestASlowTLSRecordIsNoStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rawServer, rawClient := net.Pipe()
		far, near := net.Pipe() // the slow line is between rawClient and far
		go func() {
			b := make([]byte, 1000)
			for {
				n, err := far.Read(b)
				if err != nil {
					rawClient.Close()
					return
				}
				time.Sleep(900 * time.Millisecond)
				_, _ = rawClient.Write(b[:n])
			}
		}()
		go io.Copy(far, rawClient)
		server, client := over(t, tls.VersionTLS13, rawServer, near)
		go func() {
			_, _ = client.Write(make([]byte, 16<<10))
			client.Close()
		}()
		rep, err := Receive(t.Context(), void{}, server, Options{Idle: time.Second})
		if err != nil || rep.Bytes != 16<<10 || !rep.Whole {
			t.Errorf("Receive = %+v, %v", rep, err)
		}
		server.Close()
	})
}

func TestAStallIsNoticedAfterIdleAndNotMuchLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, client := net.Pipe()
		go func() {
			time.Sleep(time.Second)
			_, _ = client.Write([]byte("x"))
		}()
		rep, err := Receive(t.Context(), void{}, server, Options{Idle: 40 * time.Second})
		wantFault(t, err, fault.Stalled, fault.IDStall)
		if silent := rep.Took - time.Second; silent < 40*time.Second || silent > 50*time.Second {
			t.Errorf("noticed after %v; want 40 to 50 s", silent)
		}
		server.Close()
		client.Close()
	})
}

func TestAPeerThatDrainsItsQueueIsNoStall(t *testing.T) {
	answers := []int{9, 9, 8, 8, 8, 8, 8, 8}
	w := &watch{ctx: t.Context(), idle: time.Second, queued: -1}
	w.queue = func() int { a := answers[0]; answers = answers[1:]; return a }
	for i := range 6 {
		if err := w.judge(os.ErrDeadlineExceeded, false); err != nil {
			t.Fatalf("deadline %d: %v", i+1, err)
		}
	}
	wantFault(t, w.judge(os.ErrDeadlineExceeded, false), fault.Stalled, fault.IDStall)
}

func TestTheSendQueueKnowsWhatThePeerTook(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells")
	}
	server, client := pair(t)
	ask := sendQueue(server)
	_, err := Send(t.Context(), server, sparse(t), 0, Options{Idle: 20 * time.Millisecond}) // until it is full
	wantFault(t, err, fault.Stalled, fault.IDStall)
	before := ask()
	if before <= 0 {
		t.Fatalf("a full queue has %d bytes", before)
	}
	server.CloseWrite()
	_, _ = io.Copy(io.Discard, client)
	if after := ask(); after >= before {
		t.Errorf("%d bytes in the queue, %d after the peer read", before, after)
	}
	server.Close()
	if q := ask(); q <= before {
		t.Errorf("a closed connection drains: %d", q)
	}
}

var errKick = errors.New("kicked")

func TestCancellationEndsACopyInFlightWithItsCause(t *testing.T) {
	for _, end := range ends {
		for _, text := range []bool{false, true} {
			for _, idle := range []time.Duration{0, time.Hour} {
				opt := Options{Text: text, Idle: idle}
				ctx, cancel := context.WithCancelCause(t.Context())
				server, client := end.make(t)
				flood := make(chan struct{})
				go func() { // data comes all the time
					defer close(flood)
					for {
						if _, err := client.Write(make([]byte, 100_000)); err != nil {
							return
						}
					}
				}()
				m := &tripwire{at: 3, trip: func() { go cancel(errKick) }}
				opt.Meter = m
				_, err := Receive(ctx, void{}, server, opt)
				if err != errKick {
					t.Errorf("%s: Receive = %v", end.name, err)
				}
				if _, err := server.Read(make([]byte, 1<<20)); !end.secure && !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("%s: a read after the cancellation: %v", end.name, err)
				}
				server.Close()
				client.Close()
				<-flood

				ctx, cancel = context.WithCancelCause(t.Context())
				server, client = end.make(t)
				go func() { // then it waits for a client that reads nothing
					_, _ = client.Read(make([]byte, 1))
					cancel(errKick)
				}()
				opt.Meter = nil
				if _, err := Send(ctx, server, sparse(t), 0, opt); err != errKick {
					t.Errorf("%s: Send = %v", end.name, err)
				}
			}
		}
	}
}

// tripwire calls trip at its at-th Take.
type tripwire struct {
	meter.Counter
	at   int
	trip func()
}

func (w *tripwire) Take(ctx context.Context, want int64) (int64, error) {
	if w.at--; w.at == 0 {
		w.trip()
	}
	return w.Counter.Take(ctx, want)
}

func TestCancellationEndsTheWaitForDataWithItsCause(t *testing.T) {
	for _, end := range ends {
		ctx, cancel := context.WithCancelCause(t.Context())
		server, client := end.make(t)
		go client.Write([]byte("some"))
		d := newDisk(t, nil, 0)
		time.AfterFunc(10*time.Millisecond, func() { cancel(errKick) })
		if _, err := Receive(ctx, d, server, Options{}); err != errKick {
			t.Errorf("%s: Receive = %v", end.name, err)
		}
		if _, err := Receive(ctx, d, server, Options{}); err != errKick {
			t.Errorf("%s: Receive with an ended context = %v", end.name, err)
		}
		if rep, err := Send(ctx, server, d, 0, Options{}); err != errKick || rep.Road != RoadNone {
			t.Errorf("%s: Send with an ended context = %+v, %v", end.name, rep, err)
		}
	}
}

// A cancellation is heard in the very moment in which a deadline passes, a byte
// comes and the next deadline is set.
func TestNoCancellationIsLostToAnIdleDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const tick = 10 * time.Millisecond
		for after := range time.Duration(50) {
			ctx, cancel := context.WithCancelCause(t.Context())
			server, client := net.Pipe()
			done := make(chan struct{})
			go func() {
				defer close(done)
				for {
					if _, err := client.Write([]byte("x")); err != nil {
						return
					}
					time.Sleep(tick)
				}
			}()
			start := time.Now()
			time.AfterFunc(after*tick, func() { cancel(errKick) })
			_, err := Receive(ctx, void{}, server, Options{Idle: ticks * tick})
			if took := time.Since(start); err != errKick || took != after*tick {
				t.Errorf("cancelled after %v: %v after %v", after*tick, err, took)
			}
			client.Close()
			<-done
		}
	})
}

func TestDeadlinesAreClearedBeforeAndAfterwards(t *testing.T) {
	for _, idle := range []time.Duration{0, time.Hour} {
		opt := Options{Idle: idle}
		server, client := pair(t)
		_ = server.SetDeadline(past) // left by somebody
		feed(t, client, []byte("all"))
		d := newDisk(t, nil, 0)
		if rep, err := Receive(t.Context(), d, server, opt); err != nil || rep.Bytes != 3 {
			t.Errorf("Receive = %+v, %v", rep, err)
		}
		if _, err := server.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("a read after an upload: %v", err)
		}
		server, client = pair(t)
		_ = server.SetDeadline(past)
		got := drain(client)
		if rep, err := Send(t.Context(), server, d, 0, opt); err != nil || rep.Bytes != 3 {
			t.Errorf("Send = %+v, %v", rep, err)
		}
		if _, err := server.Write([]byte("!")); err != nil {
			t.Errorf("a write after a download: %v", err)
		}
		server.Close()
		if b, _ := got(); string(b) != "all!" {
			t.Errorf("%q came", b)
		}
	}
	server, client := pair(t)
	_, err := Receive(t.Context(), newDisk(t, nil, 0), server, Options{Idle: 10 * time.Millisecond})
	wantFault(t, err, fault.Stalled, fault.IDStall)
	feed(t, client, []byte("late"))
	if n, err := server.Read(make([]byte, 10)); n != 4 || err != nil {
		t.Errorf("a read after a stall = %d, %v", n, err)
	}
}

// skipElsewhere skips a test that needs a file of Linux, and fails it there.
func skipElsewhere(t *testing.T, err error) {
	t.Helper()
	if runtime.GOOS == "linux" {
		t.Fatal(err)
	}
	t.Skip("only on Linux: ", err)
}

func TestAFullFileSystemIsTheFilesError(t *testing.T) {
	f, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
	if err != nil {
		skipElsewhere(t, err)
	}
	defer f.Close()
	for _, end := range ends {
		server, client := end.make(t)
		feed(t, client, noise(1<<20))
		rep, err := Receive(t.Context(), disk{File: f}, server, Options{})
		var fe *fault.Error
		if !errors.Is(err, syscall.ENOSPC) || fault.KindOf(err) != fault.NoSpace || errors.As(err, &fe) {
			t.Errorf("%s: Receive = %v", end.name, err)
		}
		// The device takes no splice; that is found out before bytes are lost.
		if rep.Road != RoadCopy || rep.Bytes != 0 {
			t.Errorf("%s: Receive reports %+v", end.name, rep)
		}
	}
}

func TestAFileThatCannotBeReadIsTheFilesError(t *testing.T) {
	name := newDisk(t, noise(100), 0).Name()
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, end := range ends {
		server, client := end.make(t)
		got := drain(client)
		_, err = Send(t.Context(), server, disk{File: f}, 0, Options{})
		var path *fs.PathError
		var op *net.OpError
		if !errors.As(err, &path) || path.Path != name || errors.As(err, &op) || !errors.Is(err, syscall.EBADF) {
			t.Errorf("%s: Send = %#v", end.name, err)
		}
		server.Close()
		_, _ = got()
	}
}

func TestOnlyErrnosOfSocketsAreTheNetworks(t *testing.T) {
	cases := []struct {
		err  error
		want bool
	}{
		{&fs.PathError{Op: "write", Err: os.NewSyscallError("splice", syscall.ECONNRESET)}, true},
		{&fs.PathError{Op: "write", Err: os.NewSyscallError("splice", syscall.ENOTCONN)}, true},
		{&fs.PathError{Op: "write", Err: os.NewSyscallError("splice", syscall.ENOSPC)}, false},
		{&fs.PathError{Op: "write", Err: os.NewSyscallError("splice", syscall.EDQUOT)}, false},
		{&fs.PathError{Op: "write", Err: os.NewSyscallError("splice", syscall.EFBIG)}, false},
		{&fs.PathError{Op: "write", Err: os.NewSyscallError("splice", syscall.EIO)}, false},
		{&fs.PathError{Op: "write", Err: os.ErrDeadlineExceeded}, true},
		{&fs.PathError{Op: "write", Err: fs.ErrClosed}, false},
		{&net.OpError{Op: "readfrom", Err: os.NewSyscallError("sendfile", syscall.EPIPE)}, true},
		{&net.OpError{Op: "readfrom", Err: net.ErrClosed}, true},
		{&net.OpError{Op: "readfrom", Err: os.NewSyscallError("sendfile", syscall.EIO)}, false},
		{errors.New("something else"), false},
	}
	for _, c := range cases {
		if got := fromNetwork(c.err); got != c.want {
			t.Errorf("fromNetwork(%v) = %v; want %v", c.err, got, c.want)
		}
	}
}

func TestAClosedFileIsTheFilesErrorAndAClosedSocketIsNot(t *testing.T) {
	for _, hidden := range []bool{false, true} {
		server, client := pair(t)
		d := newDisk(t, []byte("x"), 0)
		d.File.Close()
		feed(t, client, []byte("x"))
		var err error
		if hidden {
			_, err = Receive(t.Context(), plain{d}, server, Options{})
		} else {
			_, err = Receive(t.Context(), d, server, Options{})
		}
		if !errors.Is(err, fs.ErrClosed) || errors.Is(err, net.ErrClosed) {
			t.Errorf("a closed file: %v", err)
		}
		server, _ = pair(t)
		server.Close()
		d = newDisk(t, []byte("x"), 0)
		if hidden {
			_, err = Receive(t.Context(), plain{d}, server, Options{})
		} else {
			_, err = Receive(t.Context(), d, server, Options{})
		}
		wantFault(t, err, fault.Cut, fault.IDDataLost)
		if hidden {
			_, err = Send(t.Context(), server, plain{d}, 0, Options{})
		} else {
			_, err = Send(t.Context(), server, d, 0, Options{})
		}
		wantFault(t, err, fault.Cut, fault.IDDataLost)
	}
}

// The deadline that passed before a sendfile makes the net package copy, and
// read what it cannot write.
func TestNoByteIsSkippedWhenADeadlinePasses(t *testing.T) {
	content := noise(24 << 20)
	server, client := pair(t)
	done := make(chan []byte)
	go func() {
		b, _ := io.ReadAll(client)
		done <- b
	}()
	// A nanosecond: every slice begins with a deadline that has passed, and a
	// queue that drains for ever keeps it from being a stall.
	rep := Report{}
	q := 1 << 60
	out := outgoing{ctx: t.Context(), src: newDisk(t, content, 0), opt: Options{}, rep: &rep}
	out.watch = newWatch(t.Context(), server, writes, 0)
	out.watch.idle = time.Microsecond
	out.watch.queue = func() int { q--; return q }
	err := out.sendfile(server, out.src.(disk).File)
	out.watch.end()
	server.Close()
	if got := <-done; err != nil || !bytes.Equal(got, content) {
		t.Errorf("sendfile = %v; %d bytes came of %d", err, len(got), len(content))
	}
}

func TestAFileThatGrowsIsFollowedAndOneThatShrinksEnds(t *testing.T) {
	server, client := pair(t)
	d := newDisk(t, noise(100), 0)
	got := drain(client)
	grown := false
	m := &tripwire{at: 1, trip: func() {
		if !grown {
			_, _ = d.WriteAt([]byte("more"), 100)
			grown = true
		}
	}}
	rep, err := Send(t.Context(), server, d, 0, Options{Meter: m})
	if err != nil || rep.Bytes != 104 {
		t.Errorf("a file that grew: %+v, %v", rep, err)
	}
	m = &tripwire{at: 1, trip: func() { _ = d.Truncate(10) }}
	rep, err = Send(t.Context(), server, d, 0, Options{Meter: m})
	if err != nil || rep.Bytes != 10 {
		t.Errorf("a file that shrank: %+v, %v", rep, err)
	}
	server.Close()
	_, _ = got()
}

func TestAFileThatClaimsToBeEmptyIsReadToItsEnd(t *testing.T) {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		skipElsewhere(t, err)
	}
	defer f.Close()
	for _, end := range ends {
		server, client := end.make(t)
		got := drain(client)
		if _, err := Send(t.Context(), server, disk{File: f}, 0, Options{}); err != nil {
			t.Errorf("%s: %v", end.name, err)
		}
		server.Close()
		if b, _ := got(); !bytes.Contains(b, []byte("Name:")) {
			t.Errorf("%s: %q came", end.name, b)
		}
	}
}

func TestOffsetsBelowZeroAndOpaqueTLSAreRefused(t *testing.T) {
	server, client := pair(t)
	_, err := Send(t.Context(), server, newDisk(t, nil, 0), -1, Options{})
	wantFault(t, err, fault.BadOffset, fault.IDOffset)
	if _, err := Receive(t.Context(), void{}, tls.Client(client, &tls.Config{}), Options{}); err != errOpaque {
		t.Errorf("Receive from a bare tls.Conn = %v", err)
	}
}

func TestDiscardEndsAtTheEndTheLimitTheTimeAndTheContext(t *testing.T) {
	for _, end := range ends {
		server, client := end.make(t)
		feed(t, client, noise(300_000))
		if n, err := Discard(t.Context(), server, 1<<30, time.Minute); n < 300_000 || err != nil {
			t.Errorf("%s: Discard to the end = %d, %v", end.name, n, err)
		}
		server, client = end.make(t)
		feed(t, socket(client), noise(300_000))
		n, err := Discard(t.Context(), server, 1000, time.Minute)
		wantFault(t, err, fault.Cut, fault.IDDataLost)
		if n != 1000 {
			t.Errorf("%s: Discard = %d; want 1000", end.name, n)
		}
		server, _ = end.make(t)
		_, err = Discard(t.Context(), server, 1000, time.Millisecond)
		wantFault(t, err, fault.Stalled, fault.IDStall)
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errKick)
		if _, err = Discard(ctx, server, 1000, time.Minute); err != errKick {
			t.Errorf("%s: Discard with an ended context = %v", end.name, err)
		}
	}
}

func TestBuffersFitTheLoad(t *testing.T) {
	want := func(n int) int {
		if n <= 8 {
			return 256 << 10
		}
		return 64 << 10
	}
	var held []*loan
	for i := range 40 {
		l := borrow()
		held = append(held, &l)
		if got := len(*l.buf); got != want(i+1) {
			t.Errorf("transfer %d got %d bytes; want %d", i+1, got, want(i+1))
		}
	}
	for i, l := range held {
		if got := len(l.fit()); got != want(len(held)-i) {
			t.Errorf("with %d transfers one has %d bytes; want %d", len(held)-i, got, want(len(held)-i))
		}
		l.giveBack()
	}
	if n := holders.Load(); n != 0 {
		t.Errorf("%d loans are left", n)
	}
}

// A moody file has other transfers come and go while it is used, and notes how many
// bytes are asked for at once.
type moody struct {
	memory
	calls  int
	others []loan
	asked  map[int]bool
}

func (m *moody) mood(n int) {
	if m.asked[n] = true; m.calls%2 == 0 {
		for range 20 {
			m.others = append(m.others, borrow())
		}
	} else {
		m.alone()
	}
	m.calls++
}

func (m *moody) alone() {
	for i := range m.others {
		m.others[i].giveBack()
	}
	m.others = nil
}

func (m *moody) ReadAt(b []byte, at int64) (int, error) {
	m.mood(len(b))
	return m.memory.ReadAt(b, at)
}
func (m *moody) WriteAt(b []byte, at int64) (int, error) {
	m.mood(len(b))
	return m.memory.WriteAt(b, at)
}

// The sizes of what a transfer holds change under it, and nothing of the file does.
func TestTheLoadChangesDuringATransfer(t *testing.T) { // alone: the load is one for all
	content := bytes.ReplaceAll(noise(4<<20), []byte("\r"), []byte(" ")) // which TYPE A takes for a part of a line end
	for _, text := range []bool{false, true} {
		rawServer, rawClient := pair(t)
		server, client := over(t, tls.VersionTLS13, rawServer, rawClient)
		m := &moody{memory: memory{content}, asked: map[int]bool{}}
		go func() {
			_, _ = Send(t.Context(), server, m, 0, Options{Text: text})
			server.Close()
		}()
		back := &moody{asked: map[int]bool{}}
		_, err := Receive(t.Context(), back, client, Options{Text: text})
		m.alone()
		back.alone()
		if err != nil || !bytes.Equal(back.b, content) {
			t.Errorf("text %v: %d of %d bytes, %v", text, len(back.b), len(content), err)
		}
		large, small := 256<<10, 64<<10
		if text {
			large, small = large/2, small/2
		}
		if !m.asked[large] || !m.asked[small] {
			t.Errorf("text %v: the file was read by pieces of %v bytes, want some of %d and some of %d", text, m.asked, large, small)
		}
	}
}

func TestALittleNeedsNoLongTrain(t *testing.T) {
	for _, tt := range []struct{ bytes, records int }{{1, 4}, {lineBuffer, 4}, {64 << 10, 4}, {64<<10 + 1, 8}, {256 << 10, 8}} {
		if got := trains(tt.bytes).records; got != tt.records {
			t.Errorf("%d bytes go by %d records at once, want %d", tt.bytes, got, tt.records)
		}
	}
}

func TestSlicesGrowWhileTheyAreFastAndShrinkWhenTheyAreSlow(t *testing.T) {
	p := pace{slice: firstSlice, most: maxSlice}
	steps := []struct {
		took  time.Duration
		moved int64
		want  int64
	}{
		{10 * time.Millisecond, 1 << 20, 2 << 20},
		{10 * time.Millisecond, 2 << 20, 4 << 20},
		{10 * time.Millisecond, 4 << 20, 4 << 20},
		{500 * time.Millisecond, 4 << 20, 4 << 20},
		{2 * time.Second, 4 << 20, 2 << 20},
		{10 * time.Millisecond, 1000, 2 << 20}, // the meter or the end cut it short
		{2 * time.Second, 2 << 20, 1 << 20},
		{2 * time.Second, 1, 512 << 10},
		{2 * time.Second, 1, 256 << 10},
		{2 * time.Second, 1, 128 << 10},
		{2 * time.Second, 1, 64 << 10},
		{2 * time.Second, 1, 64 << 10},
	}
	for i, s := range steps {
		if p.adapt(s.took, s.moved); p.slice != s.want {
			t.Errorf("step %d: slice %d; want %d", i+1, p.slice, s.want)
		}
	}
}
