package transfer

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func waiting(t *testing.T) (dst, peer *net.TCPConn, f *os.File) {
	t.Helper()
	dst, peer = pair(t)
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(64 << 20); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return dst, peer, f
}

// polled tells whether the socket is as package net needs it.
func polled(t *testing.T, c *net.TCPConn) bool {
	t.Helper()
	rc, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	ok := false
	if err := rc.Control(func(fd uintptr) {
		flags, err := unix.FcntlInt(fd, unix.F_GETFL, 0)
		tv, terr := unix.GetsockoptTimeval(int(fd), unix.SOL_SOCKET, unix.SO_SNDTIMEO)
		ok = err == nil && flags&unix.O_NONBLOCK != 0 && terr == nil && *tv == unix.Timeval{}
	}); err != nil {
		t.Fatal(err)
	}
	return ok
}

func TestAWaiterSendsAllThatIsThere(t *testing.T) {
	dst, peer, f := waiting(t)
	w := newWaiter(dst)
	if w == nil {
		t.Fatal("no waiter")
	}
	got := make(chan int64)
	go func() {
		n, _ := io.Copy(io.Discard, peer)
		got <- n
	}()
	for _, ask := range []struct{ n, sent int64 }{{40 << 20, 40 << 20}, {40 << 20, 24 << 20}, {1, 0}} {
		if n, err := w.send(f, ask.n); n != ask.sent || err != nil {
			t.Errorf("send %d: %d, %v", ask.n, n, err)
		}
	}
	if polled(t, dst) {
		t.Error("the socket does not wait in the kernel")
	}
	w.end()
	w.end()
	if !polled(t, dst) {
		t.Error("the socket waits in the kernel for ever")
	}
	_ = dst.CloseWrite()
	if n := <-got; n != 64<<20 {
		t.Errorf("%d bytes came", n)
	}
}

// A peer that takes nothing would hold the thread, and with it ABOR, for ever.
func TestAWaiterLooksUpWhenThePeerTakesNothing(t *testing.T) {
	dst, _, f := waiting(t)
	w := newWaiter(dst)
	defer w.end()
	start := time.Now()
	n, err := w.send(f, 64<<20)
	if !errors.Is(err, os.ErrDeadlineExceeded) || n <= 0 || n >= 64<<20 {
		t.Errorf("%d bytes, %v", n, err)
	}
	if took := time.Since(start); took > 20*waitTime {
		t.Errorf("it took %v", took)
	}
	if n, err := w.send(f, 64<<20); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("again: %d bytes, %v", n, err)
	}
}

func TestAWaiterHearsOfALostPeer(t *testing.T) {
	dst, peer, f := waiting(t)
	w := newWaiter(dst)
	defer w.end()
	_ = peer.SetLinger(0)
	_ = peer.Close()
	if _, err := w.send(f, 64<<20); !fromNetwork(err) || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("send = %v", err)
	}
}

func TestSoManyWaitersAndNoMore(t *testing.T) {
	var all []*waiter
	for range maxWaiters {
		dst, _, _ := waiting(t)
		all = append(all, newWaiter(dst))
	}
	dst, _, _ := waiting(t)
	if w := newWaiter(dst); w != nil || !polled(t, dst) {
		t.Error("one more than there may be")
	}
	for _, w := range all {
		w.end()
	}
	w := newWaiter(dst)
	if w == nil {
		t.Fatal("none after the others have ended")
	}
	w.end()
	if n := waiters.Load(); n != 0 {
		t.Errorf("%d waiters are left", n)
	}
}

// Bytes of a slow upload that wait in memory for others are lost when the server is.
func TestTheFirstBytesOfAnUploadAreWrittenAsTheyCome(t *testing.T) {
	server, client := pair(t)
	d := newDisk(t, nil, 0)
	ended := make(chan error, 1)
	go func() {
		_, err := Receive(t.Context(), d, server, Options{})
		ended <- err
	}()
	for sent := 1; sent <= 3; sent++ {
		if _, err := client.Write(make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(10 * time.Second); len(d.content(t)) < sent*1000; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%d bytes of %d are in the file", len(d.content(t)), sent*1000)
			}
		}
	}
	_ = client.Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
