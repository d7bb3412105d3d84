package mirror

import (
	"errors"
	"io"
	"io/fs"
	"slices"
	"sync"

	"dray/transfer"
)

// An Ordered hands bytes of a download to a writer one behind the other, in whatever
// order they come. What comes early waits; more than maxAhead of that is an error.
type Ordered struct {
	mu   sync.Mutex
	w    io.Writer
	at   int64
	wait map[int64][]byte
	held int
}

var _ transfer.Dest = (*Ordered)(nil)

// maxAhead is how many bytes may come before those that belong in front of them.
const maxAhead = 64 << 20

// InOrder makes an Ordered, which begins at the first byte.
func InOrder(w io.Writer) *Ordered { return &Ordered{w: w, wait: map[int64][]byte{}} }

// Offset is where the first byte goes.
func (o *Ordered) Offset() int64 { return 0 }

// WriteAt takes bytes. An error of the writer is an *fs.PathError.
func (o *Ordered) WriteAt(b []byte, at int64) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if at != o.at {
		if at < o.at || o.held+len(b) > maxAhead {
			return 0, errors.New("bytes came out of their order")
		}
		o.wait[at] = slices.Clone(b)
		o.held += len(b)
		return len(b), nil
	}
	n, err := o.write(b)
	for next, ok := o.wait[o.at]; ok && err == nil; next, ok = o.wait[o.at] {
		delete(o.wait, o.at)
		o.held -= len(next)
		_, err = o.write(next)
	}
	return n, err
}

func (o *Ordered) write(b []byte) (int, error) {
	n, err := o.w.Write(b)
	o.at += int64(n)
	if err != nil {
		err = &fs.PathError{Op: "write", Path: "output", Err: err}
	}
	return n, err
}

// End tells whether all that came was written: io.ErrUnexpectedEOF when bytes in front
// of some never came.
func (o *Ordered) End() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.wait) > 0 {
		return io.ErrUnexpectedEOF
	}
	return nil
}
