package transfer

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"dray/fault"
)

func TestLinesArriveInLargePiecesAndTheRestAtClose(t *testing.T) {
	for _, end := range ends {
		server, client := end.make(t)
		got := drain(client)
		m := &stingy{t: t, grants: []int64{30_000, 1, 2767}}
		l := Lines(t.Context(), server, Options{Meter: m, Text: true, Idle: time.Minute})
		var want bytes.Buffer
		for i := range 10_000 {
			line := fmt.Sprintf("-rw-r--r-- 1 ftp ftp %d file\n", i)
			want.WriteString(line)
			if n, err := l.Write([]byte(line)); n != len(line) || err != nil {
				t.Fatalf("%s: Write = %d, %v", end.name, n, err)
			}
		}
		large := noise(100_000)
		want.Write(large)
		if n, err := l.Write(large); n != len(large) || err != nil {
			t.Fatalf("%s: Write = %d, %v", end.name, n, err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Write([]byte("x")); err != os.ErrClosed || l.Close() != os.ErrClosed {
			t.Errorf("%s: a closed listing takes lines: %v", end.name, err)
		}
		if _, err := server.Write([]byte("!")); err != nil {
			t.Errorf("%s: Close closed the connection: %v", end.name, err)
		}
		want.WriteByte('!')
		server.Close()
		if b, err := got(); err != nil || !bytes.Equal(b, want.Bytes()) {
			t.Errorf("%s: %d bytes came, %v; want %d", end.name, len(b), err, want.Len())
		}
		if m.moved != int64(want.Len())-1 {
			t.Errorf("%s: the meter counted %d; want %d", end.name, m.moved, want.Len()-1)
		}
	}
}

func TestLinesAreWrittenOnlyWhenTheBufferIsFull(t *testing.T) {
	rawServer, client := pair(t)
	count := &tally{Conn: rawServer}
	go drain(client)
	l := Lines(t.Context(), count, Options{})
	for range 1000 {
		_, _ = l.Write(make([]byte, 100))
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if want := []int{lineBuffer, lineBuffer, lineBuffer, 100_000 - 3*lineBuffer}; fmt.Sprint(count.writes) != fmt.Sprint(want) {
		t.Errorf("writes of %v; want %v", count.writes, want)
	}
}

func TestLinesEndByStallCancellationAndRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, client := net.Pipe()
		defer client.Close()
		l := Lines(t.Context(), server, Options{Idle: time.Minute})
		_, _ = l.Write([]byte("x"))
		start := time.Now()
		wantFault(t, l.Close(), fault.Stalled, fault.IDStall)
		if took := time.Since(start); took != time.Minute {
			t.Errorf("stalled after %v", took)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		server, client := net.Pipe()
		defer client.Close()
		l := Lines(ctx, server, Options{})
		time.AfterFunc(time.Second, func() { cancel(errKick) })
		n, err := l.Write(make([]byte, lineBuffer+1))
		if n != lineBuffer || err != errKick {
			t.Errorf("Write = %d, %v", n, err)
		}
		if _, err := l.Write([]byte("x")); err != errKick {
			t.Errorf("Write after a cancellation = %v", err)
		}
		if err := l.Close(); err != errKick {
			t.Errorf("Close after a cancellation = %v", err)
		}
	})
	full := fault.New(fault.OverQuota, fault.IDQuota)
	conn := &script{}
	l := Lines(t.Context(), conn, Options{Meter: &stingy{t: t, refuse: full, limit: 10}})
	_, _ = l.Write(make([]byte, 100))
	if err := l.Close(); err != full || conn.out.Len() != 10 {
		t.Errorf("Close = %v, %d bytes", err, conn.out.Len())
	}
	server, client := pair(t)
	client.Close()
	l = Lines(t.Context(), server, Options{})
	var err error
	for err == nil {
		_, err = l.Write(make([]byte, lineBuffer))
	}
	wantFault(t, err, fault.Cut, fault.IDDataLost)
	wantFault(t, l.Close(), fault.Cut, fault.IDDataLost)
}
