package sshclient

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"dray/kexinit"
)

// Limits on what comes in front of the version of a server.
const (
	maxGreeting = 8 << 10
	readBuffer  = 64 << 10
)

// A wire is a connection as package ssh reads it. It reads as much as there is, and
// looks at what comes in front of the server's version: other protocols and words
// of refusal are found there.
type wire struct {
	net.Conn
	buf        []byte // read and not yet taken
	room       []byte
	said       []byte // what came in front of the version
	greeted    func(version string)
	done       bool                  // the version was seen, or something that is none
	first      []byte                // what came behind the version, until its first packet is read
	offers     func(o kexinit.Offer) // is told what the server offers; nil: it was, or nobody wants to know
	bad        error
	spoke      atomic.Bool  // the version was seen
	last       atomic.Int64 // when bytes came, in nanoseconds of a monotonic clock
	start      time.Time
	mu         sync.Mutex
	readErr    error
	closeOnce  sync.Once
	closeError error
	behind     atomic.Pointer[chan struct{}] // to be closed behind the next packet; nil: nobody waits for it
}

func newWire(c net.Conn, greeted func(string)) *wire {
	return &wire{Conn: c, greeted: greeted, start: time.Now(), room: make([]byte, readBuffer)}
}

// errAlien says that another protocol is spoken; errTurned that the server has sent
// a sentence instead of its version.
type errAlien struct{ speaks, said string }

func (e *errAlien) Error() string { return "the server speaks " + e.speaks }

// Said is what the server said.
func (e *errAlien) Said() string { return e.said }

type errTurned struct{ said string }

func (e *errTurned) Error() string { return "the server says: " + e.said }

// Said is what the server said.
func (e *errTurned) Said() string { return e.said }

// errSilentEnd is a connection that ended before the version.
var errSilentEnd = errors.New("the server closed the connection before it said its version")

func (w *wire) Read(p []byte) (int, error) {
	for len(w.buf) == 0 {
		if w.bad != nil {
			return 0, w.bad
		}
		if w.done && w.offers == nil && len(p) >= len(w.room) {
			n, err := w.Conn.Read(p)
			w.note(n, err)
			return n, err
		}
		n, err := w.Conn.Read(w.room)
		w.note(n, err)
		w.buf = w.room[:n]
		switch {
		case !w.done:
			w.look(w.buf, err)
			if w.bad != nil {
				return 0, w.bad
			}
		case w.offers != nil:
			w.peek(w.buf)
		}
		if n == 0 && err != nil {
			return 0, err
		}
	}
	n := copy(p, w.buf)
	w.buf = w.buf[n:]
	return n, nil
}

// Write takes a packet: package ssh has one in each.
func (w *wire) Write(p []byte) (int, error) {
	n, err := w.Conn.Write(p)
	if w.behind.Load() != nil {
		if sent := w.behind.Swap(nil); sent != nil {
			close(*sent)
		}
	}
	return n, err
}

// sends is closed when the next packet is on its way. One at a time may wait for it.
func (w *wire) sends() <-chan struct{} {
	sent := make(chan struct{})
	w.behind.Store(&sent)
	return sent
}

// note keeps when bytes came, and the first error.
func (w *wire) note(n int, err error) {
	if n > 0 {
		w.last.Store(int64(time.Since(w.start)))
	}
	if err != nil {
		w.mu.Lock()
		if w.readErr == nil {
			w.readErr = err
		}
		w.mu.Unlock()
	}
}

// failed is the error that ended the reading.
func (w *wire) failed() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.readErr
}

// quiet is for how long no byte has come.
func (w *wire) quiet() time.Duration { return time.Since(w.start) - time.Duration(w.last.Load()) }

// Close may be called by several.
func (w *wire) Close() error {
	w.closeOnce.Do(func() { w.closeError = w.Conn.Close() })
	return w.closeError
}

// look takes what came before the version is complete.
func (w *wire) look(b []byte, err error) {
	w.said = append(w.said, b...)
	version, turned, speaks := greeting(w.said, err != nil)
	switch {
	case version != "":
		w.done = true
		w.spoke.Store(true)
		w.greeted(version)
		if _, behind, ok := bytes.Cut(w.said, []byte(version)); ok && w.offers != nil {
			_, behind, _ = bytes.Cut(behind, []byte("\n"))
			w.peek(behind)
		}
	case speaks != "":
		w.bad = &errAlien{speaks, clean(firstLine(w.said), 200)}
	case turned != "":
		w.bad = &errTurned{clean(turned, 200)}
	case err != nil && !errors.Is(err, net.ErrClosed):
		w.bad = fmt.Errorf("%w: %w", errSilentEnd, err)
	case len(w.said) > maxGreeting:
		w.bad = &errAlien{"something else", clean(firstLine(w.said), 200)}
	}
	if w.bad != nil {
		w.done = true
	}
}

// peek looks for the first packet of the server, which package ssh reads again.
func (w *wire) peek(b []byte) {
	w.first = append(w.first, b[:min(len(b), kexinit.Max+4)]...)
	o, need := kexinit.Parse(w.first)
	if len(w.first) < need {
		return
	}
	if need == 0 && len(o[kexinit.Kex]) > 0 {
		w.offers(o)
	}
	w.offers, w.first = nil, nil
}

// greeting sorts the first bytes of a server: its version (RFC 4253, 4.2), words in
// its place, or another protocol. All are empty while it can't be told yet; ended
// says that nothing more comes.
func greeting(b []byte, ended bool) (version, turned, speaks string) {
	if len(b) >= 3 && (b[0] == 0x15 || b[0] == 0x16) && b[1] == 3 {
		return "", "", "TLS" // an alert, or a handshake (RFC 8446, 5.1)
	}
	for rest := b; ; {
		i := bytes.IndexByte(rest, '\n')
		if i < 0 {
			if !ended {
				return "", "", alien(string(b), false)
			}
			if text := strings.TrimSpace(string(rest)); text != "" && !strings.HasPrefix(text, "SSH-") {
				return "", text, alien(string(b), true)
			}
			break
		}
		line := strings.TrimRight(string(rest[:i]), "\r")
		if strings.HasPrefix(line, "SSH-") {
			return line, "", ""
		}
		if s := alien(line, true); s != "" {
			return "", "", s
		}
		if refusal(line) {
			return "", line, ""
		}
		rest = rest[i+1:]
	}
	if text := strings.TrimSpace(firstLine(b)); ended && text != "" && !strings.HasPrefix(text, "SSH-") {
		return "", text, ""
	}
	return "", "", ""
}

// refusal are the words of servers that have no room (OpenSSH: sshd.c).
func refusal(line string) bool {
	for _, s := range []string{"Exceeded MaxStartups", "Not allowed at this time", "Too many connections", "Connection refused", "Access denied"} {
		if strings.Contains(line, s) {
			return true
		}
	}
	return false
}

// alien names the protocol whose server begins a line so; "" for none, and while
// less than what tells it has come.
func alien(line string, whole bool) string {
	upper := strings.ToUpper(line)
	switch {
	case strings.HasPrefix(line, "HTTP/"), whole && strings.HasPrefix(upper, "<!DOCTYPE HTML"), whole && strings.HasPrefix(upper, "<HTML"):
		return "HTTP"
	case !whole:
		return ""
	case len(line) >= 4 && (strings.HasPrefix(line, "220") || strings.HasPrefix(line, "120") || strings.HasPrefix(line, "421")) && (line[3] == ' ' || line[3] == '-'):
		if strings.Contains(upper, "SMTP") {
			return "SMTP"
		}
		return "FTP"
	case len(line) >= 4 && (strings.HasPrefix(line, "530") || strings.HasPrefix(line, "500") || strings.HasPrefix(line, "554")) && (line[3] == ' ' || line[3] == '-'):
		return "FTP"
	case strings.HasPrefix(line, "* OK"), strings.HasPrefix(line, "* BYE"):
		return "IMAP"
	case strings.HasPrefix(line, "+OK"):
		return "POP3"
	case strings.HasPrefix(line, "RFB "):
		return "VNC"
	}
	return ""
}

func firstLine(b []byte) string {
	if i := bytes.IndexAny(b, "\r\n"); i >= 0 {
		b = b[:i]
	}
	return string(b)
}

// clean makes text of a peer fit for one line of a terminal, of at most n bytes.
func clean(s string, n int) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case r == '\r':
			return -1
		case r < 0x20 || r == 0x7f || r >= 0x80 && r < 0xa0 || r == 0xfffd || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 || r == 0x200e || r == 0x200f || r == 0x2028 || r == 0x2029 || r == 0x061c:
			return '?'
		}
		return r
	}, s)
	s = strings.TrimSpace(s)
	if len(s) > n {
		s = strings.ToValidUTF8(s[:n], "") + "..."
	}
	return s
}

// unquote undoes %q, as far as it was used.
func unquote(s string) string {
	if u, err := strconv.Unquote(s); err == nil {
		return u
	}
	return strings.Trim(s, `"`)
}
