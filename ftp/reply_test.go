package ftp

import (
	"regexp"
	"strings"
	"testing"
)

func TestReplyAppend(t *testing.T) {
	for _, tt := range []struct {
		name string
		in   Reply
		want string
	}{
		{"one line", Reply{Code: C200OK, Text: "OK."}, "200 OK.\r\n"},
		{"no text still has the blank", Reply{Code: C200OK}, "200 \r\n"},
		{"a body makes three kinds of lines", Reply{Code: C211Features, Text: "Features:", Body: []string{"SIZE", "UTF8"}}, "211-Features:\r\n SIZE\r\n UTF8\r\n211 End\r\n"},
		{"the last line may say something", Reply{Code: C230LoggedIn, Text: "Hello", Body: []string{""}, Last: "Welcome."}, "230-Hello\r\n \r\n230 Welcome.\r\n"},
		{"a line end in the text is no line end", Reply{Code: C550Unavailable, Text: "a\r\n226 b\x00"}, "550 a??226 b?\r\n"},
		{"a line end in the body is no line end", Reply{Code: C211Status, Text: "x", Body: []string{"a\n211 End\r"}, Last: "y\nz"}, "211-x\r\n a?211 End?\r\n211 y?z\r\n"},
		{"a body line that looks like the last one is not", Reply{Code: C211Status, Text: "x", Body: []string{"211 End"}}, "211-x\r\n 211 End\r\n211 End\r\n"},
		{"tab stays, escape does not", Reply{Code: C200OK, Text: "a\tb\x1b[0m"}, "200 a\tb?[0m\r\n"},
		{"0xFF is doubled", Reply{Code: C257Path, Text: "\xff", Body: []string{"\xffa"}, Last: "b\xff"}, "257-\xff\xff\r\n \xff\xffa\r\n257 b\xff\xff\r\n"},
		{"a code without three digits is an error of this side", Reply{Code: 7, Text: "x"}, "451 x\r\n"},
		{"a negative code too", Reply{Code: -200, Text: "x"}, "451 x\r\n"},
	} {
		if got := string(tt.in.Append(nil)); got != tt.want {
			t.Errorf("%s: Append = %q; want %q", tt.name, got, tt.want)
		}
	}
	if got := string(Reply{Code: C200OK, Text: "b"}.Append([]byte("a"))); got != "a200 b\r\n" {
		t.Errorf("Append to something = %q", got)
	}
}

func TestReplyf(t *testing.T) {
	if got := Replyf(C257Path, "%s is %d.", Quote("/a\r\nb\x00\x1b\tc"), 5); got.Code != C257Path || got.Text != "\"/a??b??\tc\" is 5." || got.Body != nil || got.Last != "" {
		t.Errorf("Replyf = %#v", got)
	}
	if got := Replyf(C200OK, "ü\xff\x7f").Text; got != "ü\xff\x7f" {
		t.Errorf("Replyf changed %q", got)
	}
}

func TestReplyString(t *testing.T) {
	for _, tt := range []struct {
		in   Reply
		want string
	}{
		{Reply{Code: C200OK, Text: "a\r\nb"}, `200 a\x0d\x0ab`},
		{Reply{Code: C211Features, Text: "Features:", Body: []string{"SIZE\n"}}, "211-Features:\n SIZE\\x0a\n211 End"},
		{Reply{Code: C211Features, Text: "a", Body: []string{"b"}, Last: "c"}, "211-a\n b\n211 c"},
	} {
		if got := tt.in.String(); got != tt.want {
			t.Errorf("String() = %q; want %q", got, tt.want)
		}
	}
}

func TestReplyIsZero(t *testing.T) {
	if !(Reply{}).IsZero() {
		t.Error("the zero Reply is not zero")
	}
	for _, r := range []Reply{{Code: C200OK}, {Text: "x"}, {Body: []string{""}}, {Last: "x"}} {
		if r.IsZero() {
			t.Errorf("%#v is zero", r)
		}
	}
}

func TestQuote(t *testing.T) {
	for in, want := range map[string]string{"": `""`, "/": `"/"`, `/q"q`: `"/q""q"`, `"`: `""""`} {
		if got := Quote(in); got != want {
			t.Errorf("Quote(%q) = %s; want %s", in, got, want)
		}
	}
}

var lastLine = regexp.MustCompile(`^[1-9][0-9][0-9] `)

// One reply stays one reply: the only line that begins with a code and a blank
// is the last one.
func FuzzReplyAppend(f *testing.F) {
	f.Add(200, "OK.", "", "")
	f.Add(211, "Features:", "SIZE\n211 End\r\n|UTF8|", "211 End")
	f.Add(-1, "\xff\xf4\r\n226 x", "\x00", "\r\n")
	f.Fuzz(func(t *testing.T, code int, text, body, last string) {
		r := Reply{Code: Code(code), Text: text, Last: last}
		if body != "" {
			r.Body = strings.Split(body, "|")
		}
		wire := string(r.Append(nil))
		whole, ended := strings.CutSuffix(wire, "\r\n")
		if !ended {
			t.Fatalf("%q has no end", wire)
		}
		lines := strings.Split(whole, "\r\n")
		if want := 1; len(r.Body) == 0 && len(lines) != want || len(r.Body) > 0 && len(lines) != len(r.Body)+2 {
			t.Errorf("%q has %d lines", wire, len(lines))
		}
		for i, line := range lines {
			if strings.ContainsFunc(line, func(r rune) bool { return r < ' ' && r != '\t' }) {
				t.Errorf("line %q", line)
			}
			if lastLine.MatchString(line) != (i == len(lines)-1) {
				t.Errorf("line %d of %q", i, wire)
			}
			if strings.Contains(strings.ReplaceAll(line, "\xff\xff", ""), "\xff") {
				t.Errorf("a Telnet command in %q", line)
			}
		}
		if f := Replyf(r.Code, "%s", text); string(f.Append(nil)) != string(Reply{Code: r.Code, Text: text}.Append(nil)) {
			t.Errorf("Replyf(%q) is cleaned in another way", text)
		}
	})
}

// Two names may share a number; each has three digits of a class that a final
// or preliminary reply may have.
func TestCodesAreReplyCodes(t *testing.T) {
	for _, c := range []Code{C110Restart, C120Soon, C125Transferring, C150Opening, C200OK, C226Aborted, C257Path,
		C331NeedPassword, C350Pending, C421Closing, C452NoSpace, C500Unknown, C533, C551, C555BadType} {
		if !lastLine.Match(Reply{Code: c}.Append(nil)) || c/100 > 5 {
			t.Errorf("code %d", c)
		}
	}
}

func TestLinesMakesOneReplyOfAnyText(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"one line", "Hello", "220 Hello\r\n"},
		{"two lines", "Hello\nthere", "220-Hello\r\n there\r\n220 Ready.\r\n"},
		{"line ends of any kind, and one behind it", "a\r\nb\nc\n", "220-a\r\n b\r\n c\r\n220 Ready.\r\n"},
		{"a line that looks like the end of a reply", "a\n220 b\nc", "220-a\r\n 220 b\r\n c\r\n220 Ready.\r\n"},
		{"an empty line inside", "a\n\nb", "220-a\r\n \r\n b\r\n220 Ready.\r\n"},
		{"nothing", "", "220 \r\n"},
		{"control characters", "a\x1b[31m", "220 a?[31m\r\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := string(Lines(C220Ready, tt.text, "Ready.").Append(nil)); got != tt.want {
				t.Errorf("Lines(%q) = %q, want %q", tt.text, got, tt.want)
			}
		})
	}
}
