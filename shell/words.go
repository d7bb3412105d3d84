package shell

import (
	"fmt"
	"path"
	"strings"
)

// A Word is one word of a line.
type Word struct {
	Text string // what it stands for when it is no pattern
	// Glob is the word as package path matches it, with what was quoted escaped; ""
	// where it has no * ? or [a-z] outside of quotes.
	Glob string
}

// A Command is a part of a line that is run by itself.
type Command struct {
	Words []Word
	// Program is what follows a ! at the begin, up to the end of the line, for the
	// shell of this machine. Then Words is empty, and IsProgram true.
	Program    string
	IsProgram  bool
	Join       Join
	Background bool   // a & ends it
	Text       string // as it was written
}

// Join says after what a command runs.
type Join int

// The joins: always (;), after success (&&), after a failure (||).
const (
	Always Join = iota
	And
	Or
)

const (
	maxLine  = 64 << 10
	maxWords = 10000
)

// A Misuse is a line that can't be run as it is written.
type Misuse struct{ Text string }

func (m *Misuse) Error() string { return m.Text }

func misuse(format string, args ...any) error { return &Misuse{fmt.Sprintf(format, args...)} }

// Parse splits a line. Words are separated by blanks; '…' takes everything as it
// is, "…" too but for \" and \\, and \ the next character outside of both. ; && || and
// & end a command, # begins a comment where a word may begin.
func Parse(line string) ([]Command, error) {
	s := scan(line)
	return s.commands, s.err
}

// A scanned line, with what a completion needs of its end.
type scanned struct {
	commands []Command
	err      error
	last     Command // the one that the end of the line belongs to, without its last word
	start    int     // where the last word begins, len(line) when none has begun
	word     Word
	quote    byte // ' or " when that is open at the end
}

func scan(line string) scanned {
	var s scanned
	fail := func(format string, args ...any) scanned {
		s.err = misuse(format, args...)
		return s
	}
	if len(line) > maxLine {
		return fail("a line of more than %d bytes", maxLine)
	}
	begin, ended := 0, 0 // of the command, and of its last word
	cur := Command{}
	next, pending := Always, ""
	end := func(background bool) bool {
		if len(cur.Words) == 0 && !cur.IsProgram {
			return false
		}
		cur.Join, cur.Background, cur.Text = next, background, strings.TrimLeft(line[begin:ended], blanks)
		s.commands = append(s.commands, cur)
		cur, pending = Command{}, ""
		return true
	}
	i := 0
	for {
		for i < len(line) && isBlank(line[i]) {
			i++
		}
		s.start, s.word, s.quote = len(line), Word{}, 0
		if i >= len(line) {
			break
		}
		switch c := line[i]; {
		case c == '#':
			end(false)
			s.last, s.quote = cur, '#'
			return s.check(pending)
		case c == '!' && len(cur.Words) == 0:
			cur.IsProgram, cur.Program, ended = true, strings.Trim(line[i+1:], blanks), len(line)
			end(false)
			s.last, s.quote = Command{IsProgram: true}, '#'
			return s
		case c == ';' || c == '&' || c == '|':
			op := line[i : i+1]
			if i+1 < len(line) && line[i+1] == c && c != ';' {
				op = line[i : i+2]
			}
			if op == "|" {
				return fail("there are no pipes: quote a | that belongs to a name\n!command runs a program of this machine")
			}
			there := end(op == "&")
			if !there && (op != ";" || pending != "") {
				return fail("there is nothing in front of %s", op)
			}
			i += len(op)
			begin = i
			switch op {
			case "&&":
				next, pending = And, op
			case "||":
				next, pending = Or, op
			default:
				next = Always
			}
			continue
		case c == '>' || c == '<':
			return fail("there is no %c: get -o FILE writes to a file; quote a %[1]c that belongs to a name", c)
		}
		s.start = i
		w, at, quote := scanWord(line, i)
		s.word, s.quote = w, quote
		if at == len(line) {
			s.last = cur // a completion may go on with it
			if quote != 0 {
				s.err = misuse("a %c without its other end", quote)
				return s
			}
		}
		if len(cur.Words) >= maxWords {
			return fail("a command of more than %d words", maxWords)
		}
		cur.Words = append(cur.Words, w)
		if i, ended = at, at; i == len(line) {
			end(false)
			return s.check(pending)
		}
	}
	s.last = cur
	end(false)
	return s.check(pending)
}

// check refuses a line that ends where a command has to follow.
func (s scanned) check(pending string) scanned {
	if pending != "" {
		s.err = misuse("there is nothing behind %s", pending)
	}
	return s
}

// scanWord reads the word that begins at i.
func scanWord(line string, i int) (w Word, end int, quote byte) {
	var text, glob strings.Builder
	pattern := false
	put := func(c byte, quoted bool) {
		text.WriteByte(c)
		if strings.IndexByte(`*?[\`, c) >= 0 {
			if quoted {
				glob.WriteByte('\\')
			} else {
				pattern = true
			}
		}
		glob.WriteByte(c)
	}
	for ; i < len(line); i++ {
		c := line[i]
		switch {
		case quote == '\'':
			if c == '\'' {
				quote = 0
			} else {
				put(c, true)
			}
		case quote == '"':
			switch {
			case c == '"':
				quote = 0
			case c == '\\' && i+1 < len(line) && (line[i+1] == '"' || line[i+1] == '\\'):
				i++
				put(line[i], true)
			default:
				put(c, true)
			}
		case c == '\'' || c == '"':
			quote = c
		case c == '\\':
			if i+1 < len(line) {
				i++
				put(line[i], true)
			} else {
				put(c, true)
			}
		case isBlank(c) || c == ';' || c == '&' || c == '|':
			w = Word{Text: text.String()}
			if pattern {
				w.Glob = asGlob(glob.String())
			}
			return w, i, 0
		default:
			put(c, false)
		}
	}
	w = Word{Text: text.String()}
	if pattern {
		w.Glob = asGlob(glob.String())
	}
	return w, len(line), quote
}

// asGlob is a pattern that can be read, "" when it can't: then it is a name.
func asGlob(s string) string {
	if _, err := path.Match(s, ""); err != nil {
		return ""
	}
	return s
}

const blanks = " \t\n\r"

func isBlank(c byte) bool { return strings.IndexByte(blanks, c) >= 0 }

// special is what is quoted in a word.
const special = " \t\n\r'\"\\*?[;&|<>#!~"

// Quote writes a word so that Parse reads it back as it is.
func Quote(text string) string {
	switch {
	case text == "":
		return "''"
	case !strings.ContainsAny(text, special):
		return text
	case !strings.Contains(text, "'"):
		return "'" + text + "'"
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text) + `"`
}

// quoteGlob writes a pattern so that Parse reads it back as one.
func quoteGlob(glob string) string {
	var b strings.Builder
	for i := 0; i < len(glob); i++ {
		switch c := glob[i]; {
		case c == '\\' && i+1 < len(glob):
			i++
			b.WriteString(escape(glob[i:i+1], 0))
		case c == '*' || c == '?' || c == '[':
			b.WriteByte(c)
		default:
			b.WriteString(escape(glob[i:i+1], 0))
		}
	}
	return b.String()
}

// escape writes what a completion has found, behind the quote that somebody has
// opened; without one by backslashes.
func escape(text string, quote byte) string {
	switch quote {
	case '\'':
		if strings.Contains(text, "'") {
			return Quote(text)
		}
		return "'" + text
	case '"':
		return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text)
	}
	var b strings.Builder
	for i := range len(text) {
		if strings.IndexByte(special, text[i]) >= 0 && (text[i] != '~' || i > 0) {
			b.WriteByte('\\')
		}
		b.WriteByte(text[i])
	}
	return b.String()
}
