package sftpclient

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"dray/sftp"
)

// A fake is a small server with its files in memory. Tests change what it answers.
type fake struct {
	pairs  []sftp.Pair
	limits *sftp.Limits
	// says replaces the answer to a request: nil keeps the usual one, empty sends none.
	says func(q *sftp.Request, usual []byte) []byte
	// most is how much it gives to one READ; 0: what is asked.
	most int
	// first is what it sends in front of everything.
	first string

	mu      sync.Mutex
	files   map[string][]byte
	handles map[string]string
	seen    []sftp.Type
	next    int
}

func newFake() *fake { return &fake{files: map[string][]byte{}, handles: map[string]string{}} }

func (s *fake) announce(names ...string) {
	for _, n := range names {
		s.pairs = append(s.pairs, sftp.Pair{Name: []byte(n), Data: []byte("1")})
	}
}

func (s *fake) file(name string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.files[name]
}

func (s *fake) put(name string, b []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files[name] = b
}

// change sets says of a server that is serving.
func (s *fake) change(says func(q *sftp.Request, usual []byte) []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.says = says
}

// open is how many handles are.
func (s *fake) open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.handles)
}

func (s *fake) count(typ sftp.Type) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.seen {
		if t == typ {
			n++
		}
	}
	return n
}

// serve answers until rw ends.
func (s *fake) serve(rw io.ReadWriteCloser) {
	defer rw.Close()
	if s.first != "" {
		_, _ = io.WriteString(rw, s.first)
	}
	var in []byte
	buf := make([]byte, 64<<10)
	for {
		body, rest, _, err := sftp.Split(in)
		if err != nil {
			return
		}
		if body == nil {
			n, err := rw.Read(buf)
			in = append(in, buf[:n]...)
			if err != nil {
				return
			}
			continue
		}
		var q sftp.Request
		if q.Parse(body) != nil {
			return
		}
		s.mu.Lock()
		s.seen = append(s.seen, q.Type)
		out, says := s.answer(&q), s.says
		s.mu.Unlock()
		if says != nil {
			if other := says(&q, out); other != nil {
				out = other
			}
		}
		in = rest
		if len(out) == 0 {
			continue
		}
		if _, err := rw.Write(out); err != nil {
			return
		}
	}
}

func status(q *sftp.Request, c sftp.Code, text string) []byte {
	return sftp.AppendStatus(nil, q.ID, c, text)
}

func data(q *sftp.Request, b []byte) []byte {
	out := append(make([]byte, sftp.DataHeader), b...)
	sftp.PutData(out, q.ID, len(b))
	return out
}

func (s *fake) answer(q *sftp.Request) []byte {
	handle := func(name string) []byte {
		s.next++
		h := fmt.Sprintf("h%d", s.next)
		s.handles[h] = name
		return sftp.AppendHandle(nil, q.ID, []byte(h))
	}
	path := string(q.Path)
	open, isOpen := s.handles[string(q.Handle)]
	switch q.Type {
	case sftp.TypeInit:
		if s.limits != nil {
			s.announce(sftp.ExtLimits)
		}
		return sftp.AppendVersion(nil, s.pairs)
	case sftp.TypeOpen:
		b, ok := s.files[path]
		switch {
		case !ok && q.Flags&sftp.OpenCreate == 0:
			return status(q, sftp.NoSuchFile, "No such file")
		case ok && q.Flags&sftp.OpenExcl != 0:
			return status(q, sftp.Failure, "Failure")
		case q.Flags&sftp.OpenTrunc != 0:
			b = nil
		}
		s.files[path] = b
		return handle(path)
	case sftp.TypeOpendir:
		return handle(path)
	case sftp.TypeClose:
		delete(s.handles, string(q.Handle))
		return status(q, sftp.OK, "")
	case sftp.TypeRead:
		b := s.files[open]
		if q.Offset >= uint64(len(b)) {
			return status(q, sftp.EOF, "EOF")
		}
		b = b[q.Offset:]
		b = b[:min(len(b), int(q.Length))]
		if s.most > 0 {
			b = b[:min(len(b), s.most)]
		}
		return data(q, b)
	case sftp.TypeWrite:
		b := s.files[open]
		if end := int(q.Offset) + len(q.Data); end > len(b) {
			b = append(b, make([]byte, end-len(b))...)
		}
		copy(b[q.Offset:], q.Data)
		s.files[open] = b
		return status(q, sftp.OK, "")
	case sftp.TypeFsetstat:
		if b := s.files[open]; q.Attrs.Has(sftp.HasSize) {
			s.files[open] = append(b[:min(len(b), int(q.Attrs.Size))], make([]byte, max(int(q.Attrs.Size)-len(b), 0))...)
		}
		return status(q, sftp.OK, "")
	case sftp.TypeFstat, sftp.TypeStat, sftp.TypeLstat:
		name := path
		if isOpen {
			name = open
		}
		b, ok := s.files[name]
		if !ok {
			return status(q, sftp.NoSuchFile, "")
		}
		return sftp.AppendAttrs(nil, q.ID, &sftp.Attributes{Flags: sftp.HasSize, Size: uint64(len(b))})
	case sftp.TypeReaddir:
		if open == "" {
			return status(q, sftp.EOF, "")
		}
		s.handles[string(q.Handle)] = ""
		n, out := sftp.BeginNames(nil, q.ID)
		for name := range s.files {
			out = n.Append(out, []byte(name), nil, &sftp.Attributes{})
		}
		return n.End(out)
	case sftp.TypeRealpath:
		return sftp.AppendName(nil, q.ID, "/"+path, &sftp.Attributes{})
	case sftp.TypeExtended:
		if string(q.Extension) == sftp.ExtLimits {
			return sftp.AppendLimits(nil, q.ID, *s.limits)
		}
		return status(q, sftp.OpUnsupported, "")
	}
	return status(q, sftp.OK, "")
}

// dial begins a session with s.
func (s *fake) dial(t testing.TB, o Options) *Client {
	t.Helper()
	c, err := s.try(t, o)
	need(t, err)
	return c
}

func (s *fake) try(t testing.TB, o Options) (*Client, error) {
	a, b := net.Pipe()
	served := make(chan struct{})
	go func() {
		defer close(served)
		s.serve(b)
	}()
	c, err := New(context.Background(), a, o)
	t.Cleanup(func() {
		if c != nil {
			_ = c.Close()
		}
		_ = a.Close()
		_ = b.Close()
		<-served
	})
	return c, err
}

// A way is one direction of a line that takes its time.
type way struct {
	delay time.Duration
	mu    sync.Mutex
	queue []parcel
	more  chan struct{}
	end   chan struct{}
	once  *sync.Once
	rest  []byte
}

type parcel struct {
	at time.Time
	b  []byte
}

func (w *way) Write(b []byte) (int, error) {
	select {
	case <-w.end:
		return 0, io.ErrClosedPipe
	default:
	}
	w.mu.Lock()
	w.queue = append(w.queue, parcel{time.Now().Add(w.delay), append([]byte(nil), b...)})
	w.mu.Unlock()
	select {
	case w.more <- struct{}{}:
	default:
	}
	return len(b), nil
}

func (w *way) Read(b []byte) (int, error) {
	for len(w.rest) == 0 {
		w.mu.Lock()
		var p parcel
		if len(w.queue) > 0 {
			p, w.queue = w.queue[0], w.queue[1:]
		}
		w.mu.Unlock()
		if p.b == nil {
			select {
			case <-w.more:
			case <-w.end:
				return 0, io.EOF
			}
			continue
		}
		select {
		case <-time.After(time.Until(p.at)):
		case <-w.end:
			return 0, io.EOF
		}
		w.rest = p.b
	}
	n := copy(b, w.rest)
	w.rest = w.rest[n:]
	return n, nil
}

// An end is one end of a line.
type end struct {
	io.Reader
	io.Writer
	close func()
}

func (e *end) Close() error {
	e.close()
	return nil
}

// line is a line with so much delay in each direction.
func line(delay time.Duration) (a, b *end) {
	stop, once := make(chan struct{}), &sync.Once{}
	there := &way{delay: delay, more: make(chan struct{}, 1), end: stop, once: once}
	back := &way{delay: delay, more: make(chan struct{}, 1), end: stop, once: once}
	hang := func() { once.Do(func() { close(stop) }) }
	return &end{back, there, hang}, &end{there, back, hang}
}
