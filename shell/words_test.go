package shell

import (
	"errors"
	"path"
	"reflect"
	"strings"
	"testing"
)

func texts(commands []Command) [][]string {
	var out [][]string
	for _, c := range commands {
		var words []string
		for _, w := range c.Words {
			words = append(words, w.Text)
		}
		if c.IsProgram {
			words = []string{"!" + c.Program}
		}
		out = append(out, words)
	}
	return out
}

func TestALineIsSplitIntoCommandsAndWords(t *testing.T) {
	for _, tt := range []struct {
		name, line string
		want       [][]string
	}{
		{"words are separated by blanks", " get  a\tb ", [][]string{{"get", "a", "b"}}},
		{"single quotes take everything", `get 'a "b\ ;&|#'`, [][]string{{"get", `a "b\ ;&|#`}}},
		{"double quotes know two escapes", `get "a\"b\\c\d"`, [][]string{{"get", `a"b\c\d`}}},
		{"a backslash takes the next character", `get a\ b\;c\\`, [][]string{{"get", `a b;c\`}}},
		{"quotes inside of a word", `get a'b c'd"e f"`, [][]string{{"get", "ab cde f"}}},
		{"an empty word", `get ''`, [][]string{{"get", ""}}},
		{"commands are separated by semicolons", "cd a;ls ; pwd;", [][]string{{"cd", "a"}, {"ls"}, {"pwd"}}},
		{"and, or", "cd a && ls||pwd", [][]string{{"cd", "a"}, {"ls"}, {"pwd"}}},
		{"a comment", "ls # get x", [][]string{{"ls"}}},
		{"a # inside of a word is none", "get a#b", [][]string{{"get", "a#b"}}},
		{"a program takes the rest of the line", "ls; ! echo 'a; b' & | #", [][]string{{"ls"}, {"!echo 'a; b' & | #"}}},
		{"a program only at the begin of a command", "echo !x", [][]string{{"echo", "!x"}}},
		{"nothing", "  ", nil},
		{"semicolons alone", " ; ; ", nil},
		{"a backslash at the end", `ls a\`, [][]string{{"ls", `a\`}}},
	} {
		got, err := Parse(tt.line)
		if err != nil || !reflect.DeepEqual(texts(got), tt.want) {
			t.Errorf("%s: Parse(%q) = %q, %v; want %q", tt.name, tt.line, texts(got), err, tt.want)
		}
	}
}

func TestTheEndOfACommandSaysHowTheNextOneRuns(t *testing.T) {
	got, err := Parse("a; b && c || d & e &")
	if err != nil {
		t.Fatal(err)
	}
	var joins []Join
	var behind []bool
	for _, c := range got {
		joins, behind = append(joins, c.Join), append(behind, c.Background)
	}
	if want := []Join{Always, Always, And, Or, Always}; !reflect.DeepEqual(joins, want) {
		t.Errorf("joins %v; want %v", joins, want)
	}
	if want := []bool{false, false, false, true, true}; !reflect.DeepEqual(behind, want) {
		t.Errorf("in the background %v; want %v", behind, want)
	}
}

func TestALineThatCantBeReadIsAMisuse(t *testing.T) {
	for _, line := range []string{`get 'a`, `get "a`, "&& ls", "ls &&", "ls || ", "ls && ; pwd", "ls | wc", "cat a > b", "& ls", "ls & && pwd", "ls " + strings.Repeat("x", maxLine)} {
		var m *Misuse
		if _, err := Parse(line); !errors.As(err, &m) {
			t.Errorf("Parse(%.30q) = %v; want a misuse", line, err)
		}
	}
}

func TestOnlyWhatIsNotQuotedIsAPattern(t *testing.T) {
	for _, tt := range []struct{ word, glob, match, differs string }{
		{`*.txt`, `*.txt`, "a.txt", "a.bin"},
		{`'*'.txt`, ``, "", ""},
		{`\*.txt`, ``, "", ""},
		{`'*'?`, `\*?`, "*a", "ba"},
		{`[ab]c`, `[ab]c`, "bc", "cc"},
		{`[ab`, ``, "", ""},
		{`"a[b"*`, `a\[b*`, "a[bc", "abc"},
	} {
		got, err := Parse("get " + tt.word)
		if err != nil || len(got) != 1 || len(got[0].Words) != 2 {
			t.Errorf("Parse(get %s) = %v, %v", tt.word, got, err)
			continue
		}
		w := got[0].Words[1]
		if w.Glob != tt.glob {
			t.Errorf("%s: the pattern %q; want %q", tt.word, w.Glob, tt.glob)
			continue
		}
		if tt.glob == "" {
			continue
		}
		if ok, _ := path.Match(w.Glob, tt.match); !ok {
			t.Errorf("%s does not match %q", tt.word, tt.match)
		}
		if ok, _ := path.Match(w.Glob, tt.differs); ok {
			t.Errorf("%s matches %q", tt.word, tt.differs)
		}
	}
}

// Words that were quoted and put in one line are read back as they were, and as no
// pattern.
func FuzzQuotedWordsAreReadBack(f *testing.F) {
	f.Add("a", "b c", "")
	f.Add(`it's "x"\`, "*?[", "-&;|#!~")
	f.Add("\n\r\t", "ä\xff", "$HOME")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		words := []string{"get", a, b, c}
		var quoted []string
		for _, w := range words {
			quoted = append(quoted, Quote(w))
		}
		line := strings.Join(quoted, " ")
		if len(line) > maxLine {
			return
		}
		got, err := Parse(line)
		if err != nil || len(got) != 1 || !reflect.DeepEqual(texts(got)[0], words) {
			t.Fatalf("Parse(%q) = %q, %v; want %q", line, texts(got), err, words)
		}
		for _, w := range got[0].Words {
			if w.Glob != "" {
				t.Errorf("%q became the pattern %q", w.Text, w.Glob)
			}
		}
		for _, quote := range []byte{0, '\'', '"'} { // what completion writes means the same
			text := escape(a, quote)
			if quote != 0 && a != "" && text[0] == quote {
				text += string(rune(quote))
			}
			if a == "" || strings.HasPrefix(a, "~") {
				continue
			}
			if got, err := Parse("get " + text); err != nil || len(got) != 1 || len(got[0].Words) != 2 || got[0].Words[1].Text != a {
				t.Errorf("completion writes %q for %q, and that is %q, %v", text, a, texts(got), err)
			}
		}
	})
}

// Any line is read or refused, and the parts of what is read are those of the line.
func FuzzParse(f *testing.F) {
	for _, line := range []string{"ls", "cd a && get 'b c' || !x & y", "a;b&c", `"\`, "#", "get *[a"} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		got, err := Parse(line)
		if err != nil {
			return
		}
		for i, c := range got {
			if c.IsProgram {
				if i != len(got)-1 || !strings.HasSuffix(strings.Trim(line, blanks), c.Program) {
					t.Errorf("Parse(%q): the program %q is not the end of the line", line, c.Program)
				}
				continue
			}
			if len(c.Words) == 0 {
				t.Errorf("Parse(%q): a command without words", line)
			}
			for _, w := range c.Words {
				if w.Glob == "" {
					continue
				}
				if _, err := path.Match(w.Glob, "x"); err != nil {
					t.Errorf("Parse(%q): %q is no pattern", line, w.Glob)
				}
				again, err := Parse("get " + quoteGlob(w.Glob))
				if err != nil || len(again) != 1 || len(again[0].Words) != 2 || again[0].Words[1].Text != w.Text {
					t.Errorf("the pattern %q is written as %q, and that is %q, %v", w.Glob, quoteGlob(w.Glob), texts(again), err)
				}
			}
			again, err := Parse(c.Text)
			if err != nil || len(again) != 1 || !reflect.DeepEqual(texts(again)[0], texts(got)[i]) {
				t.Errorf("Parse(%q): its part %q is %q, %v by itself", line, c.Text, texts(again), err)
			}
		}
	})
}
