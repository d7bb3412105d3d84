package ftp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
)

// told is what one ReadCommand returned.
type told struct {
	cmd Command
	err error
}

func ok(verb, arg string) told { return told{cmd: Command{verb, arg, true}} }
func bare(verb string) told    { return told{cmd: Command{Verb: verb}} }

var (
	badLine = told{err: ErrBadLine}
	tooLong = told{err: ErrLineTooLong}
	noVerb  = told{err: ErrNoVerb}
)

// readAll reads until the source has no more.
func readAll(t testing.TB, src io.Reader) []told {
	t.Helper()
	var all []told
	r := NewReader(src)
	for {
		c, err := r.ReadCommand()
		if n := cap(r.line); n > MaxLine {
			t.Fatalf("the reader holds a line buffer of %d bytes", n)
		}
		switch err {
		case nil, ErrBadLine, ErrNoVerb, ErrLineTooLong:
			if n := cap(r.buf) + cap(r.line); n > 512 {
				t.Fatalf("between commands the reader owns %d bytes", n)
			}
			all = append(all, told{c, err})
		case io.EOF:
			return all
		default:
			t.Fatalf("ReadCommand() = %v", err)
		}
	}
}

// parts is a source that brings one piece a read.
type parts []string

func (p *parts) Read(b []byte) (int, error) {
	if len(*p) == 0 {
		return 0, io.EOF
	}
	n := copy(b, (*p)[0])
	if (*p)[0] = (*p)[0][n:]; (*p)[0] == "" {
		*p = (*p)[1:]
	}
	return n, nil
}

var readTests = []struct {
	name, in string
	want     []told
}{
	{"a verb and an argument", "USER alice\r\n", []told{ok("USER", "alice")}},
	{"a bare line feed ends a line", "NOOP\nQUIT\n", []told{bare("NOOP"), bare("QUIT")}},
	{"the verb is made upper case, the argument is not", "stor Read.Me\r\n", []told{ok("STOR", "Read.Me")}},
	{"a verb may have other printable characters", "p@sw\r\n", []told{bare("P@SW")}},
	{"an empty argument is not no argument", "NOOP \r\n", []told{ok("NOOP", "")}},
	{"blanks after the first belong to the argument", "RETR   a b  \r\n", []told{ok("RETR", "  a b  ")}},
	{"tab belongs to the argument", "RETR a\tb\r\n", []told{ok("RETR", "a\tb")}},
	{"an argument that is not UTF-8 is kept", "RETR \xe4\xf6\x80\r\n", []told{ok("RETR", "\xe4\xf6\x80")}},
	{"an empty line has no verb", "\r\n\nNOOP\r\n", []told{noVerb, noVerb, bare("NOOP")}},
	{"a line of blanks has no verb", "  \r\n", []told{noVerb}},
	{"a line that begins with a blank has no verb", " NOOP\r\nNOOP\r\n", []told{noVerb, bare("NOOP")}},
	{"NUL behind a blank is a bad line", " \x00\r\nNOOP\r\n", []told{badLine, bare("NOOP")}},
	{"a tab after the verb is a bad line", "USER\talice\r\n", []told{badLine}},
	{"a verb of 16 characters is read", "ABCDEFGHIJKLMNOP x\r\n", []told{ok("ABCDEFGHIJKLMNOP", "x")}},
	{"a verb of 17 characters is a bad line", "ABCDEFGHIJKLMNOPQ x\r\n", []told{badLine}},
	{"a verb that is not ASCII is a bad line", "N\xc3\x96OP\r\n", []told{badLine}},
	{"DEL in a verb is a bad line", "NO\x7fOP\r\n", []told{badLine}},
	{"NUL is a bad line", "DELE a\x00b\r\nNOOP\r\n", []told{badLine, bare("NOOP")}},
	{"a CR in the middle is a bad line", "DELE a\rDELE b\r\nNOOP\r\n", []told{badLine, bare("NOOP")}},
	{"CR NUL is a bad line", "DELE a\r\x00\r\n", []told{badLine}},
	{"CR CR LF is a bad line", "NOOP\r\r\nQUIT\r\n", []told{badLine, bare("QUIT")}},
	{"an unfinished line is no command", "NOOP\r\nQUI", []told{bare("NOOP")}},
	{"the longest line is read", "RETR " + strings.Repeat("x", MaxLine-5) + "\r\n", []told{ok("RETR", strings.Repeat("x", MaxLine-5))}},
	{"one byte more is too long", "RETR " + strings.Repeat("x", MaxLine-4) + "\r\nNOOP\r\n", []told{tooLong, bare("NOOP")}},
	{"a line without end is too long once", strings.Repeat("x", 100_000) + "\nNOOP\n", []told{tooLong, bare("NOOP")}},
	{"the first reason holds", strings.Repeat("x", 5000) + "\x00\nNOOP\n", []told{tooLong, bare("NOOP")}},

	{"IAC IAC is one 0xFF", "RETR a\xff\xffb\r\n", []told{ok("RETR", "a\xffb")}},
	{"IAC IAC counts once in the length of a line", "RETR " + strings.Repeat("\xff\xff", MaxLine-5) + "\r\n", []told{ok("RETR", strings.Repeat("\xff", MaxLine-5))}},
	{"a 0xFF that is not doubled is itself", "RETR \xff.txt\r\n", []told{ok("RETR", "\xff.txt")}},
	{"a 0xFF before the end of the line is itself", "RETR a\xff\r\nRETR b\xff\n", []told{ok("RETR", "a\xff"), ok("RETR", "b\xff")}},
	{"0xFF 0xEF is below the commands", "RETR \xff\xef\r\n", []told{ok("RETR", "\xff\xef")}},
	{"Interrupt and Synch before ABOR are dropped", "\xff\xf4\xff\xf2ABOR\r\n", []told{bare("ABOR")}},
	{"a Synch whose data mark came out of band is dropped", "\xff\xf4\xffABOR\r\n", []told{bare("ABOR")}},
	{"a Synch whose IAC came out of band is dropped", "\xff\xf4\xf2ABOR\r\n", []told{bare("ABOR")}},
	{"two-byte commands are dropped anywhere", "NO\xff\xf1OP\xff\xf6\r\xff\xf9\n", []told{bare("NOOP")}},
	{"option requests are dropped with their option", "\xff\xfb\x0a\xff\xfc\x0d\xff\xfd\x00\xff\xfe\xffNOOP\r\n", []told{bare("NOOP")}},
	{"a subnegotiation is dropped with all that is in it", "NO\xff\xfa\x1fDELE a\r\n\x00\xff\xff\xf0\xff\xf0OP\r\n", []told{bare("NOOP")}},
	{"a subnegotiation without end is too long", "NOOP\r\n\xff\xfa" + strings.Repeat("x", MaxLine+1) + "\r\nQUIT\r\n", []told{bare("NOOP"), tooLong, bare("QUIT")}},
	{"many subnegotiations in one line are too long", strings.Repeat("\xff\xfaxxxxxxxx\xff\xf0", 500) + "NOOP\r\nQUIT\r\n", []told{tooLong, bare("QUIT")}},
	{"subnegotiations in many lines are not", strings.Repeat("\xff\xfa"+strings.Repeat("x", 4000)+"\xff\xf0NOOP\r\n", 3), []told{bare("NOOP"), bare("NOOP"), bare("NOOP")}},

	{"a TLS handshake is a bad line at once", "\x16\x03\x01\x02\x00\x01\x00", []told{badLine}},
	{"a TLS handshake is a bad line once", "\x16\x03\x01\x02\r\nNOOP\r\n", []told{badLine, bare("NOOP")}},
	{"only the first bytes can be a TLS handshake", "NOOP\r\n\x16\x03\x01\r\n", []told{bare("NOOP"), badLine}},
	{"an SSH client has too long a verb", "SSH-2.0-OpenSSH_9.2p1 Debian\r\n", []told{badLine}},
}

func TestReadCommand(t *testing.T) {
	for _, tt := range readTests {
		t.Run(tt.name, func(t *testing.T) {
			if got := readAll(t, strings.NewReader(tt.in)); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("%.80q in one piece = %.200v; want %.200v", tt.in, got, tt.want)
			}
			if got := readAll(t, iotest.OneByteReader(strings.NewReader(tt.in))); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("%.80q byte by byte = %.200v; want %.200v", tt.in, got, tt.want)
			}
			if got := readAll(t, iotest.DataErrReader(strings.NewReader(tt.in))); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("%.80q with the end in the last read = %.200v; want %.200v", tt.in, got, tt.want)
			}
			for cut := 1; cut < min(len(tt.in), 64); cut++ {
				if got := readAll(t, &parts{tt.in[:cut], tt.in[cut:]}); !reflect.DeepEqual(got, tt.want) {
					t.Errorf("%.80q cut at %d = %.200v; want %.200v", tt.in, cut, got, tt.want)
				}
			}
		})
	}
}

// A deadline that is moved, or a cut for a moment, must not lose half a line.
func TestReadCommandGoesOnAfterAReadError(t *testing.T) {
	slow := errors.New("slow")
	src := io.MultiReader(strings.NewReader("RETR re"), &failOnce{err: slow}, strings.NewReader("adme\xff"),
		&failOnce{err: slow}, strings.NewReader("\xff\r\n"))
	r := NewReader(src)
	for i := range 2 {
		if c, err := r.ReadCommand(); err != slow {
			t.Fatalf("call %d: ReadCommand() = %v, %v; want the error of the connection", i, c, err)
		}
	}
	if n := r.Buffered(); n != len("RETR readme") {
		t.Errorf("Buffered() in the middle of a line = %d", n)
	}
	want := Command{"RETR", "readme\xff", true}
	if c, err := r.ReadCommand(); err != nil || c != want {
		t.Errorf("ReadCommand() = %#v, %v; want %#v", c, err, want)
	}
	if _, err := r.ReadCommand(); err != io.EOF {
		t.Errorf("at the end ReadCommand() = %v; want io.EOF", err)
	}
}

type failOnce struct {
	err  error
	done bool
}

func (f *failOnce) Read([]byte) (int, error) {
	if f.done {
		return 0, io.EOF
	}
	f.done = true
	return 0, f.err
}

func TestReadCommandGivesUpOnASourceThatBringsNothing(t *testing.T) {
	r := NewReader(readerFunc(func([]byte) (int, error) { return 0, nil }))
	if _, err := r.ReadCommand(); err != io.ErrNoProgress {
		t.Errorf("ReadCommand() = %v; want io.ErrNoProgress", err)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

// What a peer sends behind AUTH TLS in clear text must be seen by the server.
func TestBufferedCountsWhatCameBehindACommand(t *testing.T) {
	r := NewReader(strings.NewReader("AUTH TLS\r\nUSER x\r\n"))
	if n := r.Buffered(); n != 0 {
		t.Errorf("before anything was read Buffered() = %d", n)
	}
	if _, err := r.ReadCommand(); err != nil {
		t.Fatal(err)
	}
	if n := r.Buffered(); n != len("USER x\r\n") {
		t.Errorf("Buffered() = %d; want %d", n, len("USER x\r\n"))
	}
	if _, err := r.ReadCommand(); err != nil {
		t.Fatal(err)
	}
	if n := r.Buffered(); n != 0 {
		t.Errorf("when all is used up Buffered() = %d", n)
	}
}

func TestFirstKeepsTheFirstBytesOfTheConnection(t *testing.T) {
	r := NewReader(iotest.OneByteReader(strings.NewReader("GET / HTTP/1.1\r\nHost: x\r\n\r\n")))
	if got := r.First(16); len(got) != 0 {
		t.Errorf("before anything was read First = %q", got)
	}
	for range 3 {
		_, _ = r.ReadCommand() // the second and third line are no commands
	}
	for n, want := range map[int]string{0: "", 3: "GET", 16: "GET / HTTP/1.1\r\n", 99: "GET / HTTP/1.1\r\n"} {
		if got := string(r.First(n)); got != want {
			t.Errorf("First(%d) = %q; want %q", n, got, want)
		}
	}
}

func TestCommandString(t *testing.T) {
	for _, tt := range []struct {
		name string
		in   Command
		want string
	}{
		{"a verb alone", Command{Verb: "NOOP"}, "NOOP"},
		{"an argument as it is", Command{"RETR", `a "b" c:\d ü`, true}, `RETR a "b" c:\d ü`},
		{"a password is hidden", Command{"PASS", "secret", true}, "PASS ***"},
		{"an empty password looks the same", Command{"PASS", "", true}, "PASS ***"},
		{"a password is hidden without HasArg too", Command{Verb: "pass", Arg: "secret"}, "pass ***"},
		{"PASS alone has nothing to hide", Command{Verb: "PASS"}, "PASS"},
		{"an account is hidden", Command{"ACCT", "secret", true}, "ACCT ***"},
		{"control bytes are escaped", Command{"RETR", "a\x1b[2J\x7f\t", true}, `RETR a\x1b[2J\x7f\x09`},
		{"bytes that are no UTF-8 are escaped", Command{"RETR", "\xff\xe4b", true}, `RETR \xff\xe4b`},
		{"what turns the direction of a text is escaped", Command{"RETR", "a\u202eb\u0085\U000e0001", true}, `RETR a\u202eb\u0085\U000e0001`},
	} {
		if got := tt.in.String(); got != tt.want {
			t.Errorf("%s: String() = %q; want %q", tt.name, got, tt.want)
		}
	}
}

// However the bytes arrive, they are the same commands, and no command has what
// no line can hold.
func FuzzReadCommand(f *testing.F) {
	for i, tt := range readTests {
		f.Add([]byte(tt.in), uint8(i*7))
	}
	f.Fuzz(func(t *testing.T, in []byte, step uint8) {
		want := readAll(t, bytes.NewReader(in))
		for _, c := range want {
			if c.err != nil {
				continue
			}
			if n := len(c.cmd.Verb) + len(c.cmd.Arg); n > MaxLine {
				t.Errorf("a command of %d bytes", n)
			}
			if v := c.cmd.Verb; v == "" || len(v) > maxVerb || strings.ToUpper(v) != v || strings.ContainsFunc(v, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
				t.Errorf("the verb %q", v)
			}
			if !NameOK(c.cmd.Arg) {
				t.Errorf("the argument %q", c.cmd.Arg)
			}
			if s := c.cmd.String(); strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
				t.Errorf("String() = %q", s)
			}
			// Written as a client writes it, it is read as itself.
			line := c.cmd.Verb
			if c.cmd.HasArg {
				line += " " + strings.ReplaceAll(c.cmd.Arg, "\xff", "\xff\xff")
			}
			if again := readAll(t, strings.NewReader(line+"\r\n")); len(again) != 1 || again[0] != c {
				t.Errorf("%q is read as %v; want %v", line, again, c)
			}
		}
		if lines := bytes.Count(in, []byte("\n")); len(want) > lines+1 {
			t.Errorf("%d results of %d lines", len(want), lines)
		}
		var pieces parts
		for rest := string(in); rest != ""; {
			n := min(len(rest), int(step)+1)
			pieces, rest = append(pieces, rest[:n]), rest[n:]
		}
		if got := readAll(t, &pieces); !reflect.DeepEqual(got, want) {
			t.Errorf("in pieces of %d = %v; want %v", int(step)+1, got, want)
		}
		if got := readAll(t, iotest.OneByteReader(bytes.NewReader(in))); !reflect.DeepEqual(got, want) {
			t.Errorf("byte by byte = %v; want %v", got, want)
		}
	})
}

func (c told) String() string {
	return fmt.Sprintf("{%q %q %v %v}", c.cmd.Verb, c.cmd.Arg, c.cmd.HasArg, c.err)
}

func TestAwaitTakesNothingAndLosesNothing(t *testing.T) {
	r := NewReader(iotest.DataErrReader(strings.NewReader("NOOP\r\nQUIT\r\n"))) // the end comes with the bytes
	for range 3 {
		r.Await() // one read, however often
	}
	if r.Buffered() != 12 || r.Drained() {
		t.Errorf("%d bytes are there, drained %v", r.Buffered(), r.Drained())
	}
	for _, want := range []string{"NOOP", "QUIT"} {
		if c, err := r.ReadCommand(); err != nil || c.Verb != want {
			t.Errorf("%v, %v; want %s", c, err, want)
		}
		r.Await()
	}
	if _, err := r.ReadCommand(); err != io.EOF {
		t.Errorf("the end is %v", err)
	}

	for _, n := range []int{1, smallBuffer - 2, smallBuffer, smallBuffer + 2} {
		r := NewReader(strings.NewReader(strings.Repeat("x", n-1) + "\n" + strings.Repeat("NOOP\n", 100)))
		_, _ = r.ReadCommand()
		if r.Drained() {
			t.Errorf("a line of %d bytes, more behind it, and nothing more is awaited", n)
		}
	}
	if r := NewReader(strings.NewReader("")); !r.Drained() {
		t.Error("a new reader waits for what it may have")
	}
}

// again is a connection that brings the same bytes for ever.
type again struct {
	text string
	at   int
}

func (a *again) Read(b []byte) (int, error) {
	n := copy(b, a.text[a.at:])
	a.at = (a.at + n) % len(a.text)
	return n, nil
}

func BenchmarkReadCommand(b *testing.B) {
	for _, row := range []struct{ name, text string }{
		{"a session", "EPSV\r\nSTOR upload/2026/report-0017.pdf\r\nMFMT 20261121055355 upload/2026/report-0017.pdf\r\nNOOP\r\n"},
		{"Telnet", "EPSV\r\nSTOR \xff\xff\xff\xff\r\n\xff\xf4\xff\xf2ABOR\r\n\xff\xfb\x01NOOP\r\n"},
	} {
		b.Run(row.name, func(b *testing.B) {
			b.ReportAllocs()
			r := NewReader(&again{text: row.text})
			for b.Loop() {
				if _, err := r.ReadCommand(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
