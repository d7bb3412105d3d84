package admin

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"sync"
	"time"
)

// ErrTaken is the error of a socket at which another server answers.
var ErrTaken = errors.New("another server answers there")

// Listen opens the socket at path, for this user alone. What a dead server has left
// there goes first. ErrTaken when a living one has it.
func Listen(path string) (net.Listener, error) {
	held, err := lockFor(path)
	if err != nil {
		return nil, err
	}
	l, err := listen(path)
	if err != nil {
		_ = held.Close()
		return nil, err
	}
	return &listener{Listener: l, lock: held}, nil
}

func listen(path string) (net.Listener, error) {
	fi, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	case !isSocket(fi):
		return nil, fmt.Errorf("%s is there and no socket", path)
	case answers(path):
		return nil, fmt.Errorf("%s: %w", path, ErrTaken)
	default:
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// answers tells whether somebody listens at path.
func answers(path string) bool {
	nc, err := net.DialTimeout("unix", path, time.Second)
	if err != nil {
		return !gone(err)
	}
	_ = nc.Close()
	return true
}

// A listener holds the lock of its path as long as it is open.
type listener struct {
	net.Listener
	lock io.Closer
}

func (l *listener) Close() error { return errors.Join(l.Listener.Close(), l.lock.Close()) }

// Serve answers at l until it is closed, which is no error.
func Serve(l net.Listener, source Source) error {
	var all sync.WaitGroup
	defer all.Wait()
	free := make(chan struct{}, maxConns)
	var mu sync.Mutex
	open := map[net.Conn]struct{}{}
	defer func() {
		mu.Lock()
		defer mu.Unlock()
		for nc := range open {
			_ = nc.Close()
		}
	}()
	for {
		nc, err := l.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return nil
		case err != nil:
			var temporary interface{ Temporary() bool }
			if errors.As(err, &temporary) && temporary.Temporary() { // out of descriptors, say
				time.Sleep(100 * time.Millisecond)
				continue
			}
			return err
		}
		select {
		case free <- struct{}{}:
		default:
			_ = nc.Close()
			continue
		}
		mu.Lock()
		open[nc] = struct{}{}
		mu.Unlock()
		all.Go(func() {
			defer func() {
				mu.Lock()
				delete(open, nc)
				mu.Unlock()
				_ = nc.Close()
				<-free
			}()
			if allowed(nc) {
				converse(nc, source)
			}
		})
	}
}

// converse answers the requests of one client, until it leaves or says what is none.
func converse(nc net.Conn, source Source) {
	r := bufio.NewReaderSize(nc, 4<<10)
	for {
		_ = nc.SetDeadline(time.Now().Add(patience))
		line, err := readLine(r, maxRequest)
		if err != nil && !errors.Is(err, errLong) {
			return
		}
		var a answer
		q, perr := parseRequest(line)
		switch {
		case err != nil:
			a.Error = err.Error()
		case perr != nil:
			a.Error = perr.Error()
		default:
			a = reply(q, source)
		}
		out, merr := encode(a)
		if merr != nil || len(out) > maxAnswer {
			out, _ = encode(answer{Error: "the answer is too long"})
		}
		_ = nc.SetDeadline(time.Now().Add(patience))
		if _, werr := nc.Write(out); werr != nil || err != nil || perr != nil {
			return
		}
	}
}

func encode(a answer) ([]byte, error) {
	a.V = Version
	out, err := json.Marshal(a)
	return append(out, '\n'), err
}

// reply is the answer to a request. A panic in it ends nothing else.
func reply(q request, source Source) (a answer) {
	defer func() {
		if v := recover(); v != nil {
			a = answer{Error: "the server has failed at this request"}
		}
	}()
	switch q.Do {
	case "info":
		info := source.Info()
		return answer{OK: true, Info: &info}
	case "sessions":
		all := source.Sessions()
		few := all[:min(len(all), MaxSessions)]
		return answer{OK: true, Sessions: few, More: len(all) - len(few)}
	case "watchdog":
		seen := source.Watchdog()
		return answer{OK: true, Watchdog: &seen}
	}
	return answer{Error: fmt.Sprintf("there is no request %.40q; there are info, sessions, watchdog", q.Do)}
}

// parseRequest reads one line.
func parseRequest(line []byte) (request, error) {
	var q request
	if err := json.Unmarshal(line, &q); err != nil {
		return request{}, errors.New("the line is no request in JSON")
	}
	if q.V != Version {
		return request{}, fmt.Errorf("the version of the request is %d, and this server speaks %d", q.V, Version)
	}
	return q, nil
}

var errLong = errors.New("the line is too long")

// readLine reads up to a line end, which it takes off; most bytes at most.
func readLine(r *bufio.Reader, most int) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		if len(line)+len(part) > most {
			return nil, errLong
		}
		line = append(line, part...)
		switch {
		case err == nil:
			return bytes.TrimRight(line, "\r\n"), nil
		case errors.Is(err, bufio.ErrBufferFull):
		case err == io.EOF && len(line) > 0:
			return nil, io.ErrUnexpectedEOF
		default:
			return nil, err
		}
	}
}
