package firewall

import (
	"errors"
	"strings"
)

// Quote is s as one word of sh.
func Quote(s string) string {
	special := func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+:@,=%", r))
	}
	if s != "" && !strings.ContainsFunc(s, special) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// quoteWindows is s as one word of cmd and of PowerShell, which takes a comma for
// a list. s has no quotation marks in it.
func quoteWindows(s string) string {
	if s == "" || strings.ContainsAny(s, " ,;&|<>^()%!$`'{}@") {
		return `"` + s + `"`
	}
	return s
}

// split parts a line into words as sh does, without expanding anything. Programs
// print their rules in this form.
func split(line string) ([]string, error) {
	var words []string
	var word strings.Builder
	in := false // a word, which may be empty
	for i := 0; i < len(line); i++ {
		switch c := line[i]; c {
		case ' ', '\t', '\n':
			if in {
				words, in = append(words, word.String()), false
				word.Reset()
			}
		case '\'':
			end := strings.IndexByte(line[i+1:], '\'')
			if end < 0 {
				return nil, errors.New("a quotation mark is not closed")
			}
			word.WriteString(line[i+1 : i+1+end])
			i, in = i+1+end, true
		case '"':
			in = true
			for i++; ; i++ {
				if i >= len(line) {
					return nil, errors.New("a quotation mark is not closed")
				}
				if line[i] == '"' {
					break
				}
				if line[i] == '\\' && i+1 < len(line) && strings.IndexByte("\"\\$`'", line[i+1]) >= 0 {
					i++ // iptables puts a backslash before an apostrophe too
				}
				word.WriteByte(line[i])
			}
		case '\\':
			if i++; i >= len(line) {
				return nil, errors.New("a backslash ends the line")
			}
			word.WriteByte(line[i])
			in = true
		default:
			word.WriteByte(c)
			in = true
		}
	}
	if in {
		words = append(words, word.String())
	}
	return words, nil
}

// printable tells whether s has no control characters, which no line of a plan
// may have.
func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool {
		return r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == 0x2028 || r == 0x2029 || r == 0xfffd
	})
}

// fold breaks a text into lines between its words.
func fold(text string, width int) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines, line = append(lines, line), ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}
