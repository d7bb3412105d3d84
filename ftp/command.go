package ftp

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// MaxLine is the length of a command line without its end, in bytes, after
// Telnet sequences were taken out.
const MaxLine = 4096

const maxVerb = 16

// A line that is not a command. The reader has consumed it: the next call reads
// the next line.
var (
	ErrLineTooLong = errors.New("command line too long")
	ErrBadLine     = errors.New("malformed command line")
	// ErrNoVerb is the ErrBadLine of a line that is empty or begins with a blank.
	// It is harmless: some programs send bare line ends to keep a connection.
	ErrNoVerb = fmt.Errorf("%w: no verb", ErrBadLine)
)

// A Command is one command line. Verb has 1 to 16 printable ASCII characters,
// its letters in upper case. Arg is everything between the one space after the
// verb and the end of the line, blanks included, as bytes: it has no CR, LF or
// NUL, and may be no UTF-8. HasArg tells "NOOP " from "NOOP".
type Command struct {
	Verb, Arg string
	HasArg    bool
}

// String is the command for logs and transcripts: the arguments of PASS and
// ACCT are "***", what does not print is escaped as \x1b or \u202e.
func (c Command) String() string {
	if !c.HasArg && c.Arg == "" {
		return escape(c.Verb)
	}
	if strings.EqualFold(c.Verb, "PASS") || strings.EqualFold(c.Verb, "ACCT") {
		return c.Verb + " ***"
	}
	return escape(c.Verb) + " " + escape(c.Arg)
}

// escape makes s one printable line. It is for readers: a backslash stays as it
// is, and the result cannot be turned back.
func escape(s string) string {
	clean := true
	for _, r := range s {
		if r == utf8.RuneError || !strconv.IsPrint(r) {
			clean = false
			break
		}
	}
	if clean {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1, r < ' ', r == 0x7f:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case strconv.IsPrint(r):
			b.WriteString(s[i : i+n])
		case r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
		i += n
	}
	return b.String()
}

// parseCommand splits a line that has no end, CR, LF or NUL.
func parseCommand(line string) (Command, error) {
	verb, arg, hasArg := strings.Cut(line, " ")
	if verb == "" {
		return Command{}, ErrNoVerb
	}
	if len(verb) > maxVerb {
		return Command{}, ErrBadLine
	}
	for i := range len(verb) {
		if verb[i] <= ' ' || verb[i] >= 0x7f {
			return Command{}, ErrBadLine
		}
	}
	return Command{Verb: strings.ToUpper(verb), Arg: arg, HasArg: hasArg}, nil
}

const (
	smallBuffer = 256 // what an idle Reader owns at most, twice
	maxFirst    = 16
	maxNoBytes  = 100 // reads in a row that bring neither bytes nor an error
)

// A Reader reads command lines from an untrusted peer. Between commands it owns
// at most 512 bytes, and never more than MaxLine and 256 bytes, however long a line
// is. It reads only when it is asked to, and only what one Read brings. It is for one goroutine at a time.
//
// A line ends with CRLF or LF. Telnet sequences are taken out (RFC 854): IAC IAC
// is one byte 0xFF; two-byte commands, option requests and subnegotiations are
// dropped without an answer. A 0xFF before a byte below 240 is itself, because
// clients with a legacy charset do not double it. Before the verb a lone 0xFF
// or DM (0xF2) is dropped: that is what is left of a Synch whose other byte came
// out of band as urgent data.
type Reader struct {
	src      io.Reader
	buf      []byte // buf[off:end] came from src and is not consumed
	off, end int
	srcErr   error // came together with bytes: told when they are used up

	line   []byte // the line so far, without its end
	telnet telnet
	cr     bool  // the last byte was CR
	bad    error // why this line is none
	told   bool  // bad was returned before the line ended

	first  [maxFirst]byte
	nfirst int
	seen   int // bytes consumed, counted up to 2
}

// NewReader returns a Reader that reads from r.
func NewReader(r io.Reader) *Reader {
	return &Reader{src: r, buf: make([]byte, smallBuffer)}
}

// ReadCommand reads one command line. ErrLineTooLong and ErrBadLine leave the
// stream usable: the line was consumed, to its end, however far that was; a
// deadline of the connection bounds the wait. A line with NUL or a CR that is not
// at its end, and one that does not begin with a verb is an ErrBadLine; where it
// is empty or begins with a blank, ErrNoVerb. Errors of reading are returned as they came, and a line that was
// begun goes on with the next call, so a deadline may be moved and the call
// repeated.
//
// A connection that begins like a TLS handshake gets its ErrBadLine at once:
// the peer waits for an answer, and the end of its first line may never come.
func (r *Reader) ReadCommand() (Command, error) {
	for empty := 0; ; {
		for r.off < r.end {
			b := r.buf[r.off]
			r.off++
			if r.wrongProtocol() {
				r.fail(ErrBadLine)
				r.told = true
				return Command{}, ErrBadLine
			}
			if !r.take(b) {
				continue
			}
			if c, err, told := r.finish(); !told {
				return c, err
			}
		}
		if err := r.srcErr; err != nil {
			r.srcErr = nil
			return Command{}, err
		}
		if r.fill() {
			empty = 0
			continue
		}
		if empty++; empty == maxNoBytes {
			return Command{}, io.ErrNoProgress
		}
	}
}

// Await waits until something has come, or the end; the next ReadCommand has it.
// It is here for callers that wait long: it needs less stack than ReadCommand.
func (r *Reader) Await() {
	if r.off == r.end && r.srcErr == nil {
		r.fill()
	}
}

// Drained tells that the last read brought less than it might have: the source
// held nothing more then.
func (r *Reader) Drained() bool { return r.off == r.end && r.end < len(r.buf) && r.srcErr == nil }

func (r *Reader) fill() (got bool) {
	n, err := r.src.Read(r.buf)
	r.off, r.end, r.srcErr = 0, n, err
	r.nfirst += copy(r.first[r.nfirst:], r.buf[:n])
	return n > 0 || err != nil
}

// Buffered is the number of bytes that were read from the connection and belong
// to no command yet. After a command it counts what the peer sent behind it.
func (r *Reader) Buffered() int { return len(r.line) + r.end - r.off }

// First returns the first bytes that were ever read, at most max and at most
// 16, to tell a peer that speaks another protocol. The caller owns the slice.
func (r *Reader) First(max int) []byte {
	return append([]byte(nil), r.first[:min(r.nfirst, max)]...)
}

// wrongProtocol is true once, at the second byte of a connection that began
// with the header of a TLS handshake record.
func (r *Reader) wrongProtocol() bool {
	if r.seen == 2 {
		return false
	}
	r.seen++
	return r.seen == 2 && r.first[0] == 0x16 && r.first[1] == 0x03
}

// take consumes one byte of the connection and tells whether it ended a line.
func (r *Reader) take(b byte) bool {
	if r.telnet.plain(b) {
		return r.put(b)
	}
	switch r.telnet.take(b, MaxLine) {
	case telnetItself:
		return r.put(b)
	case telnetBehindIAC:
		r.put(telnetIAC)
		return r.put(b)
	case telnetTooLong:
		r.fail(ErrLineTooLong)
	}
	return false
}

// put adds one byte to the line and tells whether it ended it.
func (r *Reader) put(b byte) bool {
	if b == '\n' {
		return true
	}
	if r.cr {
		r.fail(ErrBadLine) // bare CR; CR NUL of Telnet's NVT too, no command has one
	}
	r.cr = b == '\r'
	switch {
	case r.cr || r.bad != nil:
	case b == 0:
		r.fail(ErrBadLine)
	case len(r.line) == 0 && (b == telnetIAC || b == telnetDM):
	case len(r.line) == MaxLine:
		r.fail(ErrLineTooLong)
	default:
		if len(r.line) == cap(r.line) {
			grown := make([]byte, len(r.line), min(max(2*cap(r.line), 64), MaxLine))
			copy(grown, r.line)
			r.line = grown
		}
		r.line = append(r.line, b)
	}
	return false
}

// fail marks the line as none, for the first reason that was found.
func (r *Reader) fail(err error) {
	if r.bad == nil {
		r.bad = err
	}
	r.empty()
}

func (r *Reader) empty() {
	r.line = r.line[:0]
	if cap(r.line) > smallBuffer {
		r.line = nil
	}
}

// finish makes a command of the line that has ended. told means that the caller
// has had the error of this line already.
func (r *Reader) finish() (c Command, err error, told bool) {
	err, told = r.bad, r.told
	if err == nil {
		c, err = parseCommand(string(r.line))
	}
	r.empty()
	r.telnet.sub, r.cr, r.bad, r.told = 0, false, nil, false
	return c, err, told
}
