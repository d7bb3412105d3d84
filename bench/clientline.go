//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// The ends of the line, each the only address of its network namespace beside
// loopback. Servers listen on all addresses then.
var (
	nearEnd = netip.MustParseAddr("10.77.0.1") // the clients' end
	farEnd  = netip.MustParseAddr("10.77.0.2") // the servers'
)

// A line is a network of two hosts that are a round trip apart: two TUN devices
// in two network namespaces, between which this process carries every packet,
// late. Handshakes, acknowledgements and passive data connections are late like
// everything else, which no relay of TCP connections could do: a client's
// connect succeeds at once there. It needs no netem, which kernels lack as often
// as not, but /dev/net/tun.
//
// Nothing is lost, and the rate has no limit unless one is set; then a buffer of
// 200 ms stands before the line, and what does not fit in is dropped.
type line struct {
	clients *seat        // from where clients start
	oneWay  atomic.Int64 // nanoseconds
	rate    int64        // bytes a second; 0: no limit
	ends    [2]*os.File
}

// lineBuffer is how much of a limited rate waits before the line, as time.
const lineBuffer = 200 * time.Millisecond

// newLine makes the servers' end in the namespace of the caller, and a namespace
// for the other. It lasts as long as the process.
func newLine(bytesPerSecond int64) (*line, error) {
	l := &line{rate: bytesPerSecond}
	there, err := openTUN("far0", farEnd)
	if err != nil {
		return nil, err
	}
	l.clients, err = newSeat(func() (err error) {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("network namespace of the clients: %w", err)
		}
		if err := loopback(); err != nil {
			return err
		}
		l.ends[0], err = openTUN("near0", nearEnd)
		return err
	})
	if err != nil {
		return nil, errors.Join(err, there.Close())
	}
	l.ends[1] = there
	go l.carry(l.ends[1], l.ends[0])
	go l.carry(l.ends[0], l.ends[1])
	return l, nil
}

// set makes the round trip so long for all packets from now on.
func (l *line) set(roundTrip time.Duration) { l.oneWay.Store(int64(roundTrip / 2)) }

// carry takes packets from one end to the other, in order.
func (l *line) carry(dst, src *os.File) {
	type packet struct {
		due   time.Time
		bytes []byte
	}
	flying := make(chan packet, 1<<17)
	go func() {
		for p := range flying {
			time.Sleep(time.Until(p.due))
			_, _ = dst.Write(p.bytes) // a full queue drops it, as networks do
		}
	}()
	defer close(flying)
	var busy time.Time // until then a limited line has what it can carry
	buf := make([]byte, 64<<10)
	for {
		n, err := src.Read(buf)
		if err != nil {
			return
		}
		now := time.Now()
		due := now
		if l.rate > 0 {
			if busy.Before(now) {
				busy = now
			}
			if busy.Sub(now) > lineBuffer {
				continue
			}
			busy = busy.Add(time.Duration(int64(n) * int64(time.Second) / l.rate))
			due = busy
		}
		flying <- packet{due.Add(time.Duration(l.oneWay.Load())), append([]byte(nil), buf[:n]...)}
	}
}

// roundTrip is how long a connect to a port of the other end takes.
func (l *line) roundTrip(port string) (took time.Duration, err error) {
	err = l.clients.do(func() error {
		start := time.Now()
		var d net.Dialer
		nc, err := d.DialContext(context.Background(), "tcp", net.JoinHostPort(farEnd.String(), port))
		took = time.Since(start)
		if err != nil {
			return err
		}
		return nc.Close()
	})
	return took, err
}

// openTUN makes a TUN device in the network namespace of the thread.
func openTUN(name string, addr netip.Addr) (*os.File, error) {
	fail := func(what string, err error) (*os.File, error) {
		return nil, fmt.Errorf("tun device: %s: %w", what, err)
	}
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return fail("open", err)
	}
	ifr, err := unix.NewIfreq(name)
	if err != nil {
		_ = unix.Close(fd)
		return fail("name", err)
	}
	ifr.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr); err != nil {
		_ = unix.Close(fd)
		return fail("make", err)
	}
	f := os.NewFile(uintptr(fd), name)
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		_ = f.Close()
		return fail("socket", err)
	}
	defer unix.Close(s)
	for _, set := range []struct {
		what string
		ask  uint
		put  func(*unix.Ifreq) error
	}{
		{"address", unix.SIOCSIFADDR, func(r *unix.Ifreq) error { return r.SetInet4Addr(addr.AsSlice()) }},
		{"mask", unix.SIOCSIFNETMASK, func(r *unix.Ifreq) error { return r.SetInet4Addr([]byte{255, 255, 255, 0}) }},
		// The queue from which carry reads: a burst must find room.
		{"queue", unix.SIOCSIFTXQLEN, func(r *unix.Ifreq) error { r.SetUint32(50_000); return nil }},
		{"up", unix.SIOCSIFFLAGS, func(r *unix.Ifreq) error { r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING); return nil }},
	} {
		r, err := unix.NewIfreq(name)
		if err == nil {
			err = set.put(r)
		}
		if err == nil {
			err = unix.IoctlIfreq(s, set.ask, r)
		}
		if err != nil {
			_ = f.Close()
			return fail(set.what, err)
		}
	}
	return f, nil
}

// A seat is a thread that is kept: what it starts is in its network namespace,
// and may have a death signal.
type seat struct{ ask chan func() }

func newSeat(prepare func() error) (*seat, error) {
	s := &seat{ask: make(chan func())}
	ready := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: no other goroutine gets this thread
		err := prepare()
		ready <- err
		if err != nil {
			return
		}
		for f := range s.ask {
			f()
		}
	}()
	return s, <-ready
}

func (s *seat) do(f func() error) error {
	done := make(chan error, 1)
	s.ask <- func() { done <- f() }
	return <-done
}
