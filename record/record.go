// Package record is where records go: the log, the xferlog, and one line a
// failed login for whoever bans addresses. It opens the files, opens them again
// at a reload, and turns events into lines. It decides nothing about what is
// worth a record: that is the business of those who log and emit events.
//
// A line is written by one write(2) to a file opened for appending. Text from the
// wire never ends a line and never moves a field.
package record

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"dray/event"
	"dray/fault"
)

// Options say where records go and what the log looks like.
type Options struct {
	Format  string // "text" (also ""), "json"
	Level   string // "debug", "info" (also ""), "warn", "error"
	File    string // of the log; "": Stderr
	Xferlog string // "": none
	Auth    string // "": none
	Stderr  io.Writer
}

// queued is how many events may wait for the disk.
const queued = 4096

// closing is how long Close waits for the disk.
const closing = 5 * time.Second

// Records are the open files. All methods are safe for concurrent use.
type Records struct {
	now    func() time.Time
	log    *slog.Logger
	state  atomic.Pointer[state]
	queue  chan any // event.Transfer and event.Login
	stop   chan struct{}
	ended  chan struct{}
	losses [losers]losses
	stderr sync.Mutex // of writes to Options.Stderr

	missing atomic.Int64 // lines of the log of which it does not tell itself yet

	mu     sync.Mutex // of Reopen and Close
	closed bool
}

var _ event.Sink = (*Records)(nil)

// A state is what one Open or Reopen has set up. It never changes.
type state struct {
	level   slog.Level
	handler slog.Handler
	gap     slog.Handler // writes to the file of the log, whoever holds the lock of handler
	stderr  io.Writer
	files   [files]*file // nil: none
}

// which tells the files apart, and the queue, which loses records as they do.
type which int

const (
	toLog which = iota
	toXferlog
	toAuth
	files

	inQueue = files
	losers  = files + 1
)

// settings name the files.
var settings = [files]struct{ key, usual string }{
	{"log.file", "dray.log"}, {"log.xferlog", "xferlog"}, {"log.auth", "auth.log"},
}

// Open opens the files for appending and makes those that are missing, with mode
// 0640. Its error names the file, the cause and what to do. Records end by Close.
func Open(o Options) (*Records, error) { return open(o, queued) }

func open(o Options, room int) (*Records, error) {
	r := &Records{now: time.Now, queue: make(chan any, room), stop: make(chan struct{}), ended: make(chan struct{})}
	r.losses[inQueue].last.Store(&loss{err: errSlow})
	s, err := r.set(o)
	if err != nil {
		return nil, err
	}
	r.state.Store(s)
	r.log = slog.New(&handler{r: r})
	go r.run()
	return r, nil
}

// set opens what o names: all of it, or nothing.
func (r *Records) set(o Options) (*state, error) {
	s := &state{stderr: o.Stderr}
	if s.stderr == nil {
		s.stderr = os.Stderr
	}
	s.stderr = &locked{&r.stderr, s.stderr}
	if o.Level != "" {
		if err := s.level.UnmarshalText([]byte(o.Level)); err != nil {
			return nil, fmt.Errorf("log.level is %q: it must be debug, info, warn or error", o.Level)
		}
	}
	opt := &slog.HandlerOptions{Level: s.level}
	var format func(io.Writer) slog.Handler
	switch o.Format {
	case "", "text":
		format = func(w io.Writer) slog.Handler { return slog.NewTextHandler(w, opt) }
	case "json":
		format = func(w io.Writer) slog.Handler { return slog.NewJSONHandler(w, opt) }
	default:
		return nil, fmt.Errorf("log.format is %q: it must be text or json", o.Format)
	}
	s.handler = format(logWriter{r})
	for i, name := range [files]string{o.File, o.Xferlog, o.Auth} {
		if name == "" {
			continue
		}
		f, err := openFile(which(i), name)
		if err != nil {
			_ = s.close() // nothing was written
			return nil, err
		}
		s.files[i] = f
	}
	s.gap = format(s.files[toLog])
	return s, nil
}

func (s *state) close() error {
	var all error
	for _, f := range s.files {
		if f != nil {
			all = errors.Join(all, f.Close())
		}
	}
	return all
}

// Logger is the log. It, and every logger derived from it, follows Reopen.
func (r *Records) Logger() *slog.Logger { return r.log }

// Reopen goes over to o and opens every file again, for whoever has renamed the
// old ones. After an error the old ones go on, all of them.
func (r *Records) Reopen(o Options) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return fmt.Errorf("open records: %w", os.ErrClosed)
	}
	s, err := r.set(o)
	if err != nil {
		return err
	}
	if err := r.state.Swap(s).close(); err != nil {
		r.log.Error("the end of the old log files may be missing", "error", err)
	}
	return nil
}

// Close writes what waits, for 5 s at most, and closes the files. Events are
// dropped from then on, and the log goes to Stderr.
func (r *Records) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil
	}
	r.closed = true
	close(r.stop)
	patience := time.NewTimer(closing)
	defer patience.Stop()
	select {
	case <-r.ended:
	case <-patience.C:
		r.lose(inQueue, "", nil, int64(len(r.queue)))
	}
	for i := range r.losses {
		r.tell(which(i), r.losses[i].lines.Swap(0))
	}
	s := r.state.Load()
	r.state.Store(&state{level: s.level, handler: s.handler, stderr: s.stderr})
	return s.close()
}

// Event takes a transfer or a failed login to be written, and drops what is
// neither. It never waits: when the disk is so slow that the queue is full, the
// event is dropped and counted, and the log says how many were.
func (r *Records) Event(_ context.Context, e any) {
	s := r.state.Load()
	switch e := e.(type) {
	case event.Transfer:
		if s.files[toXferlog] == nil || e.Direction != event.Download && e.Direction != event.Upload {
			return
		}
	case event.Login:
		// A right password that may not come in is no guess.
		if s.files[toAuth] == nil || e.OK || e.Reason != string(fault.IDAuth) && e.Reason != string(fault.IDTries) {
			return
		}
	default:
		return
	}
	select {
	case r.queue <- e:
	default:
		r.losses[inQueue].lines.Add(1) // the writer tells, for it has the time
	}
}

// rest is how long the writer of events sleeps after it has written what there
// was: waking it for every line would cost small transfers more than the line.
const rest = 10 * time.Millisecond

// run is the goroutine that writes the lines of events.
func (r *Records) run() {
	defer close(r.ended)
	line := make([]byte, 0, 1024)
	drain := func() {
		for {
			select {
			case e := <-r.queue:
				line = r.one(line[:0], e)
			default:
				return
			}
		}
	}
	pause := time.NewTimer(rest)
	defer pause.Stop()
	for {
		select {
		case e := <-r.queue:
			line = r.one(line[:0], e)
			drain()
		case <-r.stop:
			drain()
			return
		}
		pause.Reset(rest)
		select {
		case <-pause.C:
		case <-r.stop: // the next round drains
		}
	}
}

// one writes the line of one event. It returns the buffer.
func (r *Records) one(line []byte, e any) []byte {
	switch e := e.(type) {
	case event.Transfer:
		line = appendXferlog(line, e)
		_, _ = r.put(toXferlog, line) // put has told
	case event.Login:
		line = appendAuth(line, e)
		_, _ = r.put(toAuth, line)
	}
	if r.losses[inQueue].lines.Load() > 0 {
		r.lose(inQueue, "", nil, 0)
	}
	return line
}
