package transfer

import (
	"crypto/tls"
	"io"
	"net"
	"sync"
)

// A Secure is a data connection under TLS. It knows whether the data ended with
// close_notify, which a tls.Conn does not tell, and it writes records in trains
// instead of one by one. It owns no buffer of its own while nothing is
// written.
//
// Give it a configuration with DynamicRecordSizingDisabled: else the first
// records have the size of a packet. The configuration is used as it is.
type Secure struct {
	*tls.Conn
	wire    *wire
	writing sync.Mutex
}

// Server is the server's end on raw; the handshake is still to be done.
func Server(raw net.Conn, cfg *tls.Config) *Secure {
	w := &wire{Conn: raw}
	return &Secure{Conn: tls.Server(w, cfg), wire: w}
}

// Client is the client's end on raw; the handshake is still to be done.
func Client(raw net.Conn, cfg *tls.Config) *Secure {
	w := &wire{Conn: raw}
	return &Secure{Conn: tls.Client(w, cfg), wire: w}
}

// Raw is the connection below TLS. Closing it ends the data without
// close_notify, as is right for data that is not whole.
func (s *Secure) Raw() net.Conn { return s.wire.Conn }

// Write writes b in records and has them on the socket when it returns. After
// an error n may be less than what was sent, by up to one train; the stream is
// broken then and nothing more can be written, not even close_notify.
func (s *Secure) Write(b []byte) (n int, err error) {
	if err := s.Handshake(); err != nil { // it waits for answers, so it must not be gathered
		return 0, err
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	l := trains(len(b))
	s.wire.gather(takeBuffer(&l.trains))
	defer func() { l.trains.Put(s.wire.release()) }()
	piece := l.records * recordData
	for n < len(b) {
		m := min(piece, len(b)-n)
		_, err := s.Conn.Write(b[n : n+m])
		if lost := s.wire.flush(); lost != nil {
			return n, lost
		}
		if err != nil {
			return n, err
		}
		n += m
	}
	return n, nil
}

// A wire is the socket as crypto/tls sees it.
type wire struct {
	net.Conn // the socket

	// Of the reader.
	got   int64 // bytes that came from the socket
	ended bool  // crypto/tls was told that the socket is at its end

	// Of the writers: crypto/tls writes alerts and key updates while reading.
	mu    sync.Mutex
	train *[]byte // nil: records are written as they come
	n     int     // bytes in train
	watch *watch  // of the transfer that writes
	err   error   // the first failed write; records after a hole are garbage
}

func (w *wire) Read(b []byte) (int, error) {
	n, err := w.Conn.Read(b)
	w.got += int64(n)
	if n == 0 && err == io.EOF { // with bytes before it, close_notify may be among them
		w.ended = true
	}
	return n, err
}

// follow makes t decide how long a write to the socket may wait; nil: nobody.
func (w *wire) follow(t *watch) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.watch = t
}

// gather begins a train; flush sends what is in it; release ends it.
func (w *wire) gather(train *[]byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.train = train
}

func (w *wire) release() (train *[]byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	train, w.train, w.n = w.train, nil, 0
	return train
}

func (w *wire) flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.flushLocked()
}

func (w *wire) flushLocked() error {
	if w.err == nil && w.n > 0 {
		_, _ = w.send((*w.train)[:w.n]) // the error stays in w.err
		w.n = 0
	}
	return w.err
}

// Write takes one record, or a few during the handshake.
func (w *wire) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return 0, w.err
	}
	if w.train == nil {
		return w.send(b)
	}
	if w.n+len(b) > len(*w.train) {
		if err := w.flushLocked(); err != nil {
			return 0, err
		}
		if len(b) > len(*w.train) {
			return w.send(b)
		}
	}
	w.n += copy((*w.train)[w.n:], b)
	return len(b), nil
}

func (w *wire) send(b []byte) (n int, err error) {
	if w.watch != nil {
		n, err = w.watch.Write(b)
	} else {
		n, err = w.Conn.Write(b)
	}
	w.err = err
	return n, err
}
