package transfer

import (
	"math"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// probes are pipes that stay empty, kept to ask with.
var probes = sync.Pool{New: func() any {
	r, w, err := os.Pipe()
	if err != nil {
		return (*probe)(nil)
	}
	return &probe{r, w}
}}

// A probe keeps the writing end too: without it the pipe is at its end.
type probe struct{ r, w *os.File }

// splices tells whether the kernel moves bytes from a socket to f. Some file
// systems (eCryptfs) and files open with O_APPEND take no splice, and answer so
// only when the bytes are in the pipe already and lost. So they are asked with an
// empty one first: EINVAL is no, EAGAIN is yes.
func splices(f *os.File) bool {
	p := probes.Get().(*probe)
	if p == nil {
		return false
	}
	defer probes.Put(p)
	from, err := p.r.SyscallConn()
	if err != nil {
		return false
	}
	to, err := f.SyscallConn()
	if err != nil {
		return false
	}
	var answer error
	err = from.Control(func(r uintptr) {
		err = to.Control(func(w uintptr) {
			_, answer = unix.Splice(int(r), nil, int(w), nil, 1, unix.SPLICE_F_NONBLOCK)
		})
	})
	return err == nil && answer == unix.EAGAIN
}

// sendQueue returns a question: how many bytes of c has the peer not
// acknowledged? It is nil when c does not know.
func sendQueue(c syscall.Conn) func() int {
	rc, err := c.SyscallConn()
	if err != nil {
		return nil
	}
	var queued int
	ask := func(fd uintptr) {
		if queued, err = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ); err != nil {
			queued = math.MaxInt
		}
	}
	return func() int {
		if rc.Control(ask) != nil {
			return math.MaxInt // closed: nothing drains any more
		}
		return queued
	}
}

// A waiter sends by a thread that sleeps in the kernel until all is sent. Through
// the poller every time that the socket's buffer is full costs a round of the
// scheduler; on a fast way that is a tenth of the work. It can't be woken, so it
// is for slices that are over soon (outgoing.sendfile sees to that), and it looks
// up after waitTime without progress.
type waiter struct {
	rc   syscall.RawConn
	done bool
}

const (
	// waitTime is how long a waiter sleeps while the peer takes nothing.
	waitTime = 250 * time.Millisecond
	// maxWaiters is how many transfers may hold a thread each.
	maxWaiters = 16
)

var waiters atomic.Int64

// newWaiter makes tcp's writes wait in the kernel, until end; nil when too many do,
// or where the system does not let it.
func newWaiter(tcp *net.TCPConn) *waiter {
	if waiters.Add(1) > maxWaiters {
		waiters.Add(-1)
		return nil
	}
	rc, err := tcp.SyscallConn()
	if err != nil {
		waiters.Add(-1)
		return nil
	}
	w := &waiter{rc: rc}
	tv := unix.NsecToTimeval(int64(waitTime))
	if cerr := rc.Control(func(fd uintptr) {
		if err = unix.SetsockoptTimeval(int(fd), unix.SOL_SOCKET, unix.SO_SNDTIMEO, &tv); err == nil {
			err = unix.SetNonblock(int(fd), false)
		}
	}); cerr != nil || err != nil {
		w.end()
		return nil
	}
	return w
}

// end lets the socket be polled again. It may be called twice.
func (w *waiter) end() {
	if w == nil || w.done {
		return
	}
	w.done = true
	waiters.Add(-1)
	_ = w.rc.Control(func(fd uintptr) {
		_ = unix.SetsockoptTimeval(int(fd), unix.SOL_SOCKET, unix.SO_SNDTIMEO, &unix.Timeval{})
		_ = unix.SetNonblock(int(fd), true)
	})
}

// send sends n bytes of f from its position on, as far as it gets within waitTime
// of the last progress: then the error is os.ErrDeadlineExceeded. Fewer without an
// error are the end of f.
func (w *waiter) send(f *os.File, n int64) (sent int64, err error) {
	in, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	cerr := w.rc.Write(func(out uintptr) bool {
		if rerr := in.Control(func(fd uintptr) { sent, err = sendAll(int(out), int(fd), n) }); rerr != nil {
			err = rerr
		}
		return true
	})
	if cerr != nil {
		return sent, cerr
	}
	return sent, err
}

func sendAll(out, in int, n int64) (sent int64, err error) {
	for sent < n {
		m, err := unix.Sendfile(out, in, nil, int(min(n-sent, 1<<30)))
		switch {
		case m > 0:
			sent += int64(m)
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			return sent, os.ErrDeadlineExceeded
		case err != nil:
			return sent, os.NewSyscallError("sendfile", err)
		default:
			return sent, nil
		}
	}
	return sent, nil
}
