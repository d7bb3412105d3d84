package transfer

import (
	"math"
	"os"
	"sync"
	"syscall"

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
