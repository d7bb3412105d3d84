package ftp

import (
	"fmt"
	"strconv"
	"strings"
)

// A Reply is one answer. Without Body it is the line "code Text". With Body it
// is "code-Text", each line of Body after one space, and "code Last", where an
// empty Last is "End" (RFC 959, 4.2 and RFC 2389, 3.2).
type Reply struct {
	Code Code
	Text string
	Body []string
	Last string
}

// Replyf makes a reply of one line. Control characters in the finished text
// become '?', so that what a peer or a file system put into an argument cannot
// begin a line of its own; tab stays.
func Replyf(code Code, format string, args ...any) Reply {
	return Reply{Code: code, Text: cleanText(fmt.Sprintf(format, args...))}
}

// IsZero tells whether r is the zero Reply, which is none.
func (r Reply) IsZero() bool {
	return r.Code == 0 && r.Text == "" && len(r.Body) == 0 && r.Last == ""
}

// Append appends the wire form of r, lines ended by CRLF. Whatever its fields
// hold, it is one reply: control characters except tab become '?', 0xFF is
// doubled as Telnet wants it (RFC 854), and a Code that has not three digits is
// sent as 451.
func (r Reply) Append(dst []byte) []byte {
	code := r.Code
	if code < 100 || code > 999 {
		code = C451Local
	}
	if len(r.Body) == 0 {
		return appendReplyLine(dst, code, ' ', r.Text)
	}
	dst = appendReplyLine(dst, code, '-', r.Text)
	for _, line := range r.Body {
		dst = append(dst, ' ')
		dst = append(appendWire(dst, line), '\r', '\n')
	}
	last := r.Last
	if last == "" {
		last = "End"
	}
	return appendReplyLine(dst, code, ' ', last)
}

// String is the reply for logs and transcripts: its lines with LF between them
// and what does not print escaped.
func (r Reply) String() string {
	if len(r.Body) == 0 {
		return strconv.Itoa(int(r.Code)) + " " + escape(r.Text)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d-%s\n", r.Code, escape(r.Text))
	for _, line := range r.Body {
		b.WriteString(" " + escape(line) + "\n")
	}
	last := r.Last
	if last == "" {
		last = "End"
	}
	fmt.Fprintf(&b, "%d %s", r.Code, escape(last))
	return b.String()
}

func appendReplyLine(dst []byte, code Code, mark byte, text string) []byte {
	dst = strconv.AppendInt(dst, int64(code), 10)
	dst = append(dst, mark)
	return append(appendWire(dst, text), '\r', '\n')
}

func appendWire(dst []byte, text string) []byte {
	for i := range len(text) {
		switch b := text[i]; {
		case b < ' ' && b != '\t':
			dst = append(dst, '?')
		case b == telnetIAC:
			dst = append(dst, b, b)
		default:
			dst = append(dst, b)
		}
	}
	return dst
}

func cleanText(s string) string {
	control := func(b byte) bool { return b < ' ' && b != '\t' }
	for i := range len(s) {
		if !control(s[i]) {
			continue
		}
		clean := []byte(s)
		for j := i; j < len(clean); j++ {
			if control(clean[j]) {
				clean[j] = '?'
			}
		}
		return string(clean)
	}
	return s
}

// Quote writes a path as 257 has it: in double quotes, those inside doubled
// (RFC 959, appendix II).
func Quote(path string) string {
	return `"` + strings.ReplaceAll(path, `"`, `""`) + `"`
}

// Lines makes a reply of a text of one line, or of several with last behind them.
// Control characters are as Replyf has them; line ends around the text do not
// count.
func Lines(code Code, text, last string) Reply {
	lines := strings.Split(strings.Trim(strings.ReplaceAll(text, "\r\n", "\n"), "\n"), "\n")
	for i := range lines {
		lines[i] = cleanText(lines[i])
	}
	r := Reply{Code: code, Text: lines[0], Body: lines[1:]}
	if len(r.Body) > 0 {
		r.Last = cleanText(last)
	}
	return r
}
