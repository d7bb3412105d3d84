package ftp

import (
	"errors"
	"io"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"unicode/utf8"
)

// What is no reply, and what is one of a size that nobody means. The stream can't
// be used after them.
var (
	ErrBadReply     = errors.New("malformed reply")
	ErrReplyTooLong = errors.New("reply too long")
)

const (
	maxReplyLine  = 8 << 10 // bytes of a line, its CR included
	maxReply      = 1 << 20 // bytes of a reply
	maxReplyLines = 10_000
	maxSaid       = 1000
	replyBuffer   = 512
)

// A ReplyReader reads replies from a server that is not trusted. Between replies
// it owns about 1 KiB. It reads only when it is asked to, and only what one Read
// brings. It is for one goroutine at a time.
//
// A line ends with CRLF or LF. Telnet sequences are treated as Reader does: IAC
// IAC is one byte 0xFF, others are dropped without an answer (RFC 854). A CR that
// is not at the end of a line and NUL become '?': what is left has nothing that
// no command could say. All other bytes stay as they are.
type ReplyReader struct {
	src      io.Reader
	buf      []byte // buf[off:end] came from src and is not consumed
	off, end int
	srcErr   error // came together with bytes: told when they are used up

	line   []byte // the line so far
	telnet telnet

	reply Reply // what is there of a reply of many lines
	multi bool
	lines int // of this reply
	size  int // bytes of those lines
	bad   error

	first  [maxFirst]byte
	nfirst int
	seen   int // bytes consumed, counted up to 2
}

// NewReplyReader returns a ReplyReader that reads from r.
func NewReplyReader(r io.Reader) *ReplyReader {
	return &ReplyReader{src: r, buf: make([]byte, replyBuffer)}
}

// ReadReply reads one whole reply. A reply of many lines begins with "230-" and
// ends with the first line that is "230 " and some text, or "230" alone (RFC 959,
// 4.2). Of the lines between, Body has what stands behind "230-" where a server
// repeats that, else the line without one leading blank. Last is the text of the
// last line. Empty lines before a reply are passed over.
//
// ErrBadReply is for a reply that does not begin with a code from 100 to 599, and
// ErrReplyTooLong for a line above 8 KiB, or a reply above 1 MiB or 10,000 lines;
// every later call returns them again. A connection that begins like TLS, SSH or
// HTTP gets its ErrBadReply at once, because the end of its first line may never
// come. Errors of reading are returned as they came, and the next call goes on
// where this one stopped; only io.EOF inside a reply is io.ErrUnexpectedEOF.
func (r *ReplyReader) ReadReply() (Reply, error) {
	if r.bad != nil {
		return Reply{}, r.bad
	}
	for empty := 0; ; {
		for r.off < r.end {
			b := r.buf[r.off]
			r.off++
			ended, err := r.take(b)
			if err != nil {
				return Reply{}, r.fail(err)
			}
			if !ended {
				continue
			}
			whole, done, err := r.finish()
			if err != nil {
				return Reply{}, r.fail(err)
			}
			if done {
				return whole, nil
			}
		}
		if err := r.srcErr; err != nil {
			r.srcErr = nil
			if err == io.EOF && (r.multi || len(r.line) > 0 || r.telnet.state != inData) {
				err = io.ErrUnexpectedEOF
			}
			return Reply{}, err
		}
		n, err := r.src.Read(r.buf)
		r.off, r.end, r.srcErr = 0, n, err
		r.nfirst += copy(r.first[r.nfirst:], r.buf[:n])
		if n > 0 || err != nil {
			empty = 0
			continue
		}
		if empty++; empty == maxNoBytes {
			return Reply{}, io.ErrNoProgress
		}
	}
}

// Buffered is the number of bytes that were read from the connection and belong
// to no reply yet. After a reply it counts what the server sent behind it.
func (r *ReplyReader) Buffered() int { return len(r.line) + r.end - r.off }

// First returns the first bytes that were ever read, at most max and at most 16,
// to tell a server that speaks another protocol. The caller owns the slice.
func (r *ReplyReader) First(max int) []byte {
	return append([]byte(nil), r.first[:min(r.nfirst, max)]...)
}

func (r *ReplyReader) fail(err error) error {
	r.bad, r.line, r.reply = err, nil, Reply{}
	return err
}

// take consumes one byte of the connection and tells whether it ended a line.
func (r *ReplyReader) take(b byte) (ended bool, err error) {
	if r.seen < 2 {
		// The first byte of a TLS record is its type: 0x16 is a handshake, 0x15 the
		// alert that a server sends that was not greeted in TLS.
		if r.seen++; r.seen == 2 && (r.first[0] == 0x16 || r.first[0] == 0x15) && r.first[1] == 0x03 {
			return false, ErrBadReply
		}
	}
	if r.telnet.plain(b) {
		return r.put(b)
	}
	switch r.telnet.take(b, maxReplyLine) {
	case telnetItself:
		return r.put(b)
	case telnetBehindIAC: // a server that does not double it
		if _, err := r.put(telnetIAC); err != nil {
			return false, err
		}
		return r.put(b)
	case telnetTooLong:
		return false, ErrReplyTooLong
	}
	return false, nil
}

// put adds one byte to the line and tells whether it ended it.
func (r *ReplyReader) put(b byte) (ended bool, err error) {
	switch {
	case b == '\n':
		return true, nil
	case len(r.line) == maxReplyLine:
		return false, ErrReplyTooLong
	}
	r.line = append(r.line, b)
	if r.lines == 0 && (string(r.line) == "SSH-" || string(r.line) == "HTTP/") {
		return false, ErrBadReply
	}
	return false, nil
}

// finish takes the line that has ended. done means that it ended a reply.
func (r *ReplyReader) finish() (whole Reply, done bool, err error) {
	line := replyLine(r.line)
	r.lines++
	r.size += len(r.line) + 1
	r.telnet.sub = 0
	if r.line = r.line[:0]; cap(r.line) > replyBuffer {
		r.line = nil
	}
	if r.lines > maxReplyLines || r.size > maxReply {
		return Reply{}, false, ErrReplyTooLong
	}
	if !r.multi {
		if line == "" {
			return Reply{}, false, nil
		}
		code, mark, text := cutCode(line)
		if code == 0 {
			return Reply{}, false, ErrBadReply
		}
		r.reply, r.multi = Reply{Code: code, Text: text}, mark == '-'
	} else if code, mark, text := cutCode(line); code != r.reply.Code {
		r.reply.Body = append(r.reply.Body, strings.TrimPrefix(line, " "))
	} else if mark == '-' {
		r.reply.Body = append(r.reply.Body, text)
	} else {
		r.reply.Last, r.multi = text, false
	}
	if r.multi {
		return Reply{}, false, nil
	}
	whole = r.reply
	r.reply, r.lines, r.size = Reply{}, 0, 0
	return whole, true, nil
}

// replyLine is a line without its end and without what no line may hold.
func replyLine(line []byte) string {
	s := strings.TrimRight(string(line), "\r")
	if NameOK(s) {
		return s
	}
	return string(appendOneLine(nil, s))
}

// cutCode splits a line that begins with a code; mark is ' ' where nothing
// follows the code. The code is 0 when there is none.
func cutCode(line string) (code Code, mark byte, text string) {
	if len(line) < 3 || !digits(line[:3]) {
		return 0, 0, ""
	}
	n, _ := number(line[:3], 999)
	switch {
	case n < 100 || n > 599:
	case len(line) == 3:
		return Code(n), ' ', ""
	case line[3] == ' ' || line[3] == '-':
		return Code(n), line[3], line[4:]
	}
	return 0, 0, ""
}

// All are the texts of all lines: the first, the body, and the last of a reply
// that has one.
func (r Reply) All() []string {
	all := append(make([]string, 0, len(r.Body)+2), r.Text)
	all = append(all, r.Body...)
	if r.Last != "" {
		all = append(all, r.Last)
	}
	return all
}

// Said is the reply as a message shows it: code and texts in one line of at most
// 1,000 bytes, where what does not print is escaped as in String.
func (r Reply) Said() string {
	var b strings.Builder
	b.WriteString(strconv.Itoa(int(r.Code)))
	for _, line := range r.All() {
		if b.Len() > maxSaid {
			break
		}
		if line = strings.TrimSpace(strings.ReplaceAll(line, "\t", " ")); line != "" {
			b.WriteString(" " + escape(line[:min(len(line), 2*maxSaid)]))
		}
	}
	s := b.String()
	if len(s) <= maxSaid {
		return s
	}
	end := maxSaid - len("...")
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "..."
}

// ParsePASVReply finds the address in the text of 227: six numbers up to 255 with
// commas between them, wherever they stand, with or without parentheses (RFC
// 1123, 4.1.2.6), and blanks around the commas. Whether the address is the
// server's is for the caller to say; a port 0 is ErrSyntax.
func ParsePASVReply(text string) (netip.AddrPort, error) {
	for text != "" {
		if !isDigit(text[0]) {
			text = text[1:]
			continue
		}
		var six [6]byte
		var n int
		if n, text = cutNumbers(text, &six); n != len(six) {
			continue
		}
		if port := uint16(six[4])<<8 | uint16(six[5]); port != 0 {
			return netip.AddrPortFrom(netip.AddrFrom4([4]byte(six[:4])), port), nil
		}
	}
	return netip.AddrPort{}, ErrSyntax
}

// cutNumbers reads all numbers with commas between them that s begins with. n is
// how many there are, or 0 when one of them is above 255.
func cutNumbers(s string, six *[6]byte) (n int, rest string) {
	for bad := false; ; {
		field, after := cutDigits(s)
		v, ok := number(field, 255)
		if bad = bad || !ok || len(field) > 3; n < len(six) {
			six[n] = byte(v)
		}
		n++
		next, comma := strings.CutPrefix(strings.TrimLeft(after, " "), ",")
		next = strings.TrimLeft(next, " ")
		if !comma || next == "" || !isDigit(next[0]) {
			if bad {
				n = 0
			}
			return n, after
		}
		s = next
	}
}

func isDigit(b byte) bool { return '0' <= b && b <= '9' }

// cutDigits splits s behind the digits that it begins with.
func cutDigits(s string) (field, after string) {
	after = strings.TrimLeft(s, "0123456789")
	return s[:len(s)-len(after)], after
}

// ParseEPSVReply finds the port in the text of 229, "(|||port|)" with any
// delimiter from 33 to 126 that is no digit (RFC 2428, 3). A family and an
// address between the delimiters are passed over, missing parentheses do not
// matter. Port 0 is ErrSyntax.
func ParseEPSVReply(text string) (uint16, error) {
	for rest := text; ; {
		_, after, found := strings.Cut(rest, "(")
		if !found {
			break
		}
		if port, ok := epsvPort(after); ok {
			return port, nil
		}
		rest = after
	}
	for i := 0; i+3 < len(text); i++ {
		if text[i] == text[i+1] && text[i] == text[i+2] {
			if port, ok := epsvPort(text[i:]); ok {
				return port, nil
			}
		}
	}
	return 0, ErrSyntax
}

// epsvPort reads "|family|address|port|" at the beginning of s.
func epsvPort(s string) (uint16, bool) {
	if s == "" || s[0] < 33 || s[0] > 126 || isDigit(s[0]) {
		return 0, false
	}
	parts := strings.SplitN(s, s[:1], 5)
	if len(parts) != 5 || len(parts[3]) > 5 {
		return 0, false
	}
	port, ok := number(parts[3], math.MaxUint16)
	return uint16(port), ok && port > 0
}

// ParseQuoted finds the path in the text of 257: what stands between the first
// quote and its partner, doubled quotes undone (RFC 959, appendix II). Some
// servers do not double: where the first reading leaves a quote in the middle of
// a word or has no end, it is what stands between the first quote and the last.
func ParseQuoted(text string) (string, error) {
	first, last := strings.IndexByte(text, '"'), strings.LastIndexByte(text, '"')
	if first == last {
		return "", ErrSyntax
	}
	path, after, ok := cutQuoted(text[first+1:])
	if ok && (after == "" || after[0] == ' ' || !strings.Contains(after, `"`)) {
		return path, nil
	}
	return text[first+1 : last], nil
}

// cutQuoted reads up to the quote that is not doubled.
func cutQuoted(s string) (path, after string, ok bool) {
	var b strings.Builder
	for {
		part, rest, found := strings.Cut(s, `"`)
		b.WriteString(part)
		if !found {
			return "", "", false
		}
		if !strings.HasPrefix(rest, `"`) {
			return b.String(), rest, true
		}
		b.WriteByte('"')
		s = rest[1:]
	}
}

// ParseOpening finds the size that many servers tell in 150 before a download,
// "(12345 bytes)". It is good for a progress bar and for nothing else: no document
// has it. The last one counts, because the name of the file stands before it.
func ParseOpening(text string) (size int64, ok bool) {
	for i := strings.LastIndexByte(text, '('); i >= 0; i = strings.LastIndexByte(text[:i], '(') {
		field, after := cutDigits(text[i+1:])
		unit := strings.TrimLeft(after, " ")
		if n, ok := number(field, math.MaxInt64); ok && len(unit) >= 4 && strings.EqualFold(unit[:4], "byte") {
			return n, true
		}
	}
	return 0, false
}
