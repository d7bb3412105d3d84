package scpserver

import "errors"

// Limits of a command line.
const (
	maxCommand = 16 << 10
	maxWords   = 256
)

// Errors of a command line.
var (
	errQuote = errors.New("a quote is not closed")
	errLong  = errors.New("the command line is too long")
)

// A word is one of a command line. Bare says of each byte whether it stood outside
// of quotes, where "*", "?" and "[" make a pattern.
type word struct {
	text string
	bare []bool
}

// pattern tells whether the word is to be expanded.
func (w word) pattern() bool {
	for i, bare := range w.bare {
		if c := w.text[i]; bare && (c == '*' || c == '?' || c == '[') {
			return true
		}
	}
	return false
}

// split parts a command line as a shell does: blanks, quotes of both kinds,
// backslashes. Nothing is expanded yet; "$" and "`" are letters like others.
func split(line string) ([]word, error) {
	if len(line) > maxCommand {
		return nil, errLong
	}
	var words []word
	var text []byte
	var bares []bool
	open, quote := false, byte(0)
	add := func(c byte, bare bool) { text, bares, open = append(text, c), append(bares, bare), true }
	end := func() {
		if open {
			words = append(words, word{string(text), bares})
		}
		text, bares, open = nil, nil, false
	}
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case quote == '\'' && c == quote, quote == '"' && c == quote:
			quote = 0
		case quote == '\'':
			add(c, false)
		case c == '\\' && i+1 < len(line) && (quote == 0 || line[i+1] == '"' || line[i+1] == '\\' || line[i+1] == '$' || line[i+1] == '`'):
			i++
			add(line[i], false)
		case quote == '"':
			add(c, false)
		case c == '\'' || c == '"':
			quote, open = c, true
		case c == ' ' || c == '\t' || c == '\n':
			end()
		default:
			add(c, true)
		}
		if len(words) > maxWords {
			return nil, errLong
		}
	}
	if quote != 0 {
		return nil, errQuote
	}
	end()
	return words, nil
}
