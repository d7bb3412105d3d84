package record

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// A file takes lines.
type file struct {
	*os.File
	pipe  bool         // a write can wait for a reader
	torn  atomic.Bool  // the last line has no end
	hangs atomic.Int64 // until then nothing is written, in nanoseconds of Unix time; 0: it is
}

// patience is how long a write waits for the reader of a pipe, and pause how long
// none is tried after one that has waited in vain: whoever logs would wait too.
const (
	patience = 100 * time.Millisecond
	pause    = 5 * time.Second
)

var errHangs = errors.New("its reader takes nothing, so nothing is written for a while")

func openFile(w which, name string) (*file, error) {
	// O_NONBLOCK: a FIFO that nobody reads is an error then, and no wait.
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND|os.O_CREATE|syscall.O_CLOEXEC|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0o640)
	if err != nil {
		var pe *fs.PathError
		if errors.As(err, &pe) {
			err = pe.Err
		}
		return nil, fmt.Errorf("%s: open %s: %w; %s", settings[w].key, name, err, advice(w, name, err))
	}
	return &file{File: f, pipe: f.SetWriteDeadline(time.Time{}) == nil}, nil
}

// advice is what to do about a file that can't be opened.
func advice(w which, name string, err error) string {
	dir := filepath.Dir(name)
	switch {
	case errors.Is(err, syscall.EISDIR):
		return "name a file in it: " + filepath.Join(name, settings[w].usual)
	case errors.Is(err, fs.ErrNotExist):
		return "make its directory: mkdir -p " + dir
	case errors.Is(err, syscall.ENOTDIR):
		return "a part of its path is a file: name another place"
	case errors.Is(err, fs.ErrPermission):
		return fmt.Sprintf("let the user id %d write there, with chown or chmod of it and of %s", os.Geteuid(), dir)
	case errors.Is(err, syscall.ENXIO):
		return "nobody reads this pipe or socket: start its reader first, or name a file"
	case errors.Is(err, syscall.EROFS):
		return "name a place that can be written (in a unit of systemd: LogsDirectory= or ReadWritePaths=)"
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return "make room on the disk of " + dir
	}
	return "name another file"
}

// Write appends one line by one write(2). A line that was cut by an error is
// ended before the next one begins.
func (f *file) Write(line []byte) (int, error) {
	torn := f.torn.Swap(false)
	if torn {
		line = append([]byte{'\n'}, line...)
	}
	if f.pipe {
		// Only a closed file has an error here, and Write has it too.
		_ = f.SetWriteDeadline(time.Now().Add(patience))
	}
	n, err := f.File.Write(line)
	switch {
	case err == nil:
	case n == 0 && torn, n > 1, n == 1 && !torn:
		f.torn.Store(true)
	}
	return n, err
}

// put writes a line to the file of now. It waits for the disk; what it can't
// write is counted, and told once a minute, and by the log itself as soon as it can.
func (r *Records) put(to which, line []byte) (int, error) {
	for {
		s := r.state.Load()
		f := s.files[to]
		if f == nil {
			if to == toLog {
				return s.stderr.Write(line)
			}
			return len(line), nil // switched off while it waited
		}
		err := r.write(to, s, line)
		if err == nil {
			return len(line), nil
		}
		if errors.Is(err, os.ErrClosed) && r.state.Load() != s {
			continue // Reopen came in between
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			f.hangs.Store(r.now().Add(pause).UnixNano())
		}
		if to == toLog {
			r.missing.Add(1)
		}
		r.lose(to, f.Name(), err, 1)
		return 0, err
	}
}

// write writes a line to the file of s, unless the reader of that hangs, and
// before it what the file has missed.
func (r *Records) write(to which, s *state, line []byte) error {
	f := s.files[to]
	until := f.hangs.Load()
	if until != 0 && r.now().UnixNano() < until {
		return errHangs
	}
	if to == toLog {
		if err := r.confess(s); err != nil {
			return err
		}
	}
	if _, err := f.Write(line); err != nil {
		return err
	}
	switch {
	case until != 0 && f.hangs.CompareAndSwap(until, 0):
		r.tell(to, r.losses[to].lines.Swap(0))
	case r.losses[to].lines.Load() > 0:
		r.lose(to, f.Name(), nil, 0)
	}
	return nil
}

// confess writes to the log how many of its lines are missing before the next one.
func (r *Records) confess(s *state) error {
	n := r.missing.Swap(0)
	if n == 0 {
		return nil
	}
	rec := slog.NewRecord(r.now(), slog.LevelError, "lines were lost", 0)
	rec.AddAttrs(slog.Int64("lines", n))
	err := s.gap.Handle(context.Background(), rec)
	if err != nil {
		r.missing.Add(n)
	}
	return err
}

// losses count the lines that nobody will read.
type losses struct {
	lines atomic.Int64 // untold
	quiet atomic.Int64 // until then, in nanoseconds of Unix time
	last  atomic.Pointer[loss]
}

// A loss is where and why.
type loss struct {
	file string
	err  error
}

// often is how often a loss is told.
const often = time.Minute

var errSlow = errors.New("the disk is too slow")

// lose counts lines lost, err being why (nil: as the last time), and tells about
// them once a minute.
func (r *Records) lose(from which, name string, err error, lines int64) {
	l := &r.losses[from]
	if err != nil {
		l.last.Store(&loss{name, err})
	}
	l.lines.Add(lines)
	now, quiet := r.now().UnixNano(), l.quiet.Load()
	if now < quiet || !l.quiet.CompareAndSwap(quiet, now+int64(often)) {
		return
	}
	r.tell(from, l.lines.Swap(0))
}

func (r *Records) tell(from which, lines int64) {
	if lines == 0 {
		return
	}
	log := r.log
	if from == toLog { // the log can't tell about itself
		log = slog.New(slog.NewTextHandler(r.state.Load().stderr, nil))
	}
	last := r.losses[from].last.Load()
	attrs := []any{"lines", lines, "error", last.err}
	if last.file != "" {
		attrs = append(attrs, "file", last.file)
	}
	log.Error("records are lost", attrs...)
}

// logWriter is what the handlers of the log write to, of whatever state they are.
type logWriter struct{ r *Records }

func (w logWriter) Write(line []byte) (int, error) { return w.r.put(toLog, line) }

// A locked writer is shared by handlers that have no lock in common.
type locked struct {
	mu *sync.Mutex
	w  io.Writer
}

func (l *locked) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}
