package ftp

import (
	"bytes"
	"errors"
	"io"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// readReplies reads until the first error, which it returns too.
func readReplies(t testing.TB, src io.Reader) ([]Reply, error) {
	t.Helper()
	var all []Reply
	r := NewReplyReader(src)
	for {
		reply, err := r.ReadReply()
		if err != nil {
			return all, err
		}
		if n := cap(r.buf) + cap(r.line); n > 2*replyBuffer {
			t.Fatalf("between replies the reader owns %d bytes", n)
		}
		all = append(all, reply)
	}
}

var replyTests = []struct {
	name, in string
	want     []Reply
	err      error
}{
	{"one line", "220 ready\r\n", []Reply{{Code: 220, Text: "ready"}}, io.EOF},
	{"a bare line feed ends a line", "220 a\n221 b\n", []Reply{{Code: 220, Text: "a"}, {Code: 221, Text: "b"}}, io.EOF},
	{"a code alone", "200\r\n200 \r\n", []Reply{{Code: 200}, {Code: 200}}, io.EOF},
	{"blanks of the text stay", "257  a \r\n", []Reply{{Code: 257, Text: " a "}}, io.EOF},
	{"many lines", "211-Features:\r\n SIZE\r\n  UTF8\r\n211 End\r\n",
		[]Reply{{Code: 211, Text: "Features:", Body: []string{"SIZE", " UTF8"}, Last: "End"}}, io.EOF},
	{"two lines have no body", "230-Hello\r\n230 Welcome\r\n", []Reply{{Code: 230, Text: "Hello", Last: "Welcome"}}, io.EOF},
	{"a repeated code is no text", "230-a\r\n230-b\r\n230-\r\n230- c\r\n230 d\r\n",
		[]Reply{{Code: 230, Text: "a", Body: []string{"b", "", " c"}, Last: "d"}}, io.EOF},
	{"lines without a blank", "214-a\r\nb\r\n\r\n214 c\r\n", []Reply{{Code: 214, Text: "a", Body: []string{"b", ""}, Last: "c"}}, io.EOF},
	{"a code alone ends many lines", "230-a\n b\n230\n", []Reply{{Code: 230, Text: "a", Body: []string{"b"}}}, io.EOF},
	{"another code does not end them", "230-a\r\n226 b\r\n2300 c\r\n230:d\r\n 230 e\r\n230 f\r\n",
		[]Reply{{Code: 230, Text: "a", Body: []string{"226 b", "2300 c", "230:d", "230 e"}, Last: "f"}}, io.EOF},
	{"empty lines between replies", "\r\n220 a\r\n\n\r\n221 b\r\n", []Reply{{Code: 220, Text: "a"}, {Code: 221, Text: "b"}}, io.EOF},
	{"bytes that are no UTF-8 stay", "257 \"/\xe4\x01\x80\"\r\n", []Reply{{Code: 257, Text: "\"/\xe4\x01\x80\""}}, io.EOF},
	{"CR and NUL inside a line", "550 a\rb\x00c\r\r\n", []Reply{{Code: 550, Text: "a?b?c"}}, io.EOF},

	{"IAC IAC is one 0xFF", "257 a\xff\xffb\r\n", []Reply{{Code: 257, Text: "a\xffb"}}, io.EOF},
	{"a 0xFF that is not doubled is itself", "257 \xff.txt\xff\r\n", []Reply{{Code: 257, Text: "\xff.txt\xff"}}, io.EOF},
	{"other Telnet sequences are dropped", "\xff\xfb\x0a2\xff\xf120 a\xff\xfa\x1f\r\n221 x\r\n\xff\xf0\r\xff\xf9\n", []Reply{{Code: 220, Text: "a"}}, io.EOF},
	{"a subnegotiation without end", "220 a\xff\xfa" + strings.Repeat("x", 20_000), nil, ErrReplyTooLong},

	{"nothing", "", nil, io.EOF},
	{"the end in a line", "220 a\r\n221 b", []Reply{{Code: 220, Text: "a"}}, io.ErrUnexpectedEOF},
	{"the end between two lines", "220-a\r\n b\r\n", nil, io.ErrUnexpectedEOF},
	{"the end in a Telnet sequence", "\xff\xfb", nil, io.ErrUnexpectedEOF},

	{"no code", "hello\r\n220 a\r\n", nil, ErrBadReply},
	{"two digits", "22 a\r\n", nil, ErrBadReply},
	{"four digits", "2200 a\r\n", nil, ErrBadReply},
	{"a code below 100", "099 a\r\n", nil, ErrBadReply},
	{"a code above 599", "600 a\r\n", nil, ErrBadReply},
	{"a blank before the code", " 220 a\r\n", nil, ErrBadReply},
	{"another mark", "220:a\r\n", nil, ErrBadReply},
	{"TLS", "\x16\x03\x01\x00\x7a", nil, ErrBadReply},
	{"an alert of TLS", "\x15\x03\x03\x00\x02\x02\x46", nil, ErrBadReply},
	{"SSH", "SSH-2.0-OpenSSH_9.2p1\r\n", nil, ErrBadReply},
	{"HTTP", "HTTP/1.1 400 Bad Request\r\n", nil, ErrBadReply},
	{"SSH in a later line is a line", "220-\r\nSSH-2.0\r\nHTTP/\r\n220 x\r\n", []Reply{{Code: 220, Body: []string{"SSH-2.0", "HTTP/"}, Last: "x"}}, io.EOF},

	{"the longest line", "220 " + strings.Repeat("x", maxReplyLine-5) + "\r\n", []Reply{{Code: 220, Text: strings.Repeat("x", maxReplyLine-5)}}, io.EOF},
	{"one byte more", "220 " + strings.Repeat("x", maxReplyLine-4) + "\r\n220 a\r\n", nil, ErrReplyTooLong},
	{"a line without end", strings.Repeat("2", 100_000), nil, ErrReplyTooLong},
	{"too many lines", "220-a\n" + strings.Repeat("x\n", maxReplyLines) + "220 b\n", nil, ErrReplyTooLong},
	{"too many bytes", "220-a\n" + strings.Repeat(strings.Repeat("x", 8000)+"\n", 200) + "220 b\n", nil, ErrReplyTooLong},
	{"empty lines without end", strings.Repeat("\n", maxReplyLines+1), nil, ErrReplyTooLong},
	{"the limits are those of one reply", strings.Repeat("220 "+strings.Repeat("x", 8000)+"\n", 200), repeated(Reply{Code: 220, Text: strings.Repeat("x", 8000)}, 200), io.EOF},
}

func repeated(r Reply, n int) []Reply {
	all := make([]Reply, n)
	for i := range all {
		all[i] = r
	}
	return all
}

func TestReadReply(t *testing.T) {
	for _, tt := range replyTests {
		t.Run(tt.name, func(t *testing.T) {
			for how, src := range map[string]io.Reader{
				"in one piece":                  strings.NewReader(tt.in),
				"byte by byte":                  iotest.OneByteReader(strings.NewReader(tt.in)),
				"with the end in the last read": iotest.DataErrReader(strings.NewReader(tt.in)),
			} {
				if got, err := readReplies(t, src); !reflect.DeepEqual(got, tt.want) || err != tt.err {
					t.Errorf("%.60q %s = %.200q, %v; want %.200q, %v", tt.in, how, got, err, tt.want, tt.err)
				}
			}
			for cut := 1; cut < min(len(tt.in), 64) && len(tt.in) < 50_000; cut++ {
				if got, err := readReplies(t, &parts{tt.in[:cut], tt.in[cut:]}); !reflect.DeepEqual(got, tt.want) || err != tt.err {
					t.Errorf("%.60q cut at %d = %.200q, %v; want %.200q, %v", tt.in, cut, got, err, tt.want, tt.err)
				}
			}
		})
	}
}

// A deadline that is moved must not lose half a reply.
func TestReadReplyGoesOnAfterAReadError(t *testing.T) {
	slow := errors.New("slow")
	r := NewReplyReader(io.MultiReader(strings.NewReader("211-a\r\n SI"), &failOnce{err: slow}, strings.NewReader("ZE\xff"),
		&failOnce{err: slow}, strings.NewReader("\xff\r\n211 b\r\n")))
	for i := range 2 {
		if reply, err := r.ReadReply(); err != slow {
			t.Fatalf("call %d: ReadReply() = %v, %v; want the error of the connection", i, reply, err)
		}
	}
	want := Reply{Code: 211, Text: "a", Body: []string{"SIZE\xff"}, Last: "b"}
	if got, err := r.ReadReply(); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("ReadReply() = %q, %v; want %q", got, err, want)
	}
	if _, err := r.ReadReply(); err != io.EOF {
		t.Errorf("at the end ReadReply() = %v; want io.EOF", err)
	}
}

func TestReadReplyStaysAtWhatIsNoReply(t *testing.T) {
	for in, want := range map[string]error{"x\r\n220 a\r\n": ErrBadReply, strings.Repeat("x", 9000) + "\n220 a\r\n": ErrReplyTooLong} {
		r := NewReplyReader(strings.NewReader(in))
		for range 3 {
			if _, err := r.ReadReply(); err != want {
				t.Errorf("%.20q: ReadReply() = %v; want %v", in, err, want)
			}
		}
	}
}

// A server of another protocol may wait for us: what it has said must be enough.
func TestReadReplyKnowsAnotherProtocolAtOnce(t *testing.T) {
	for _, in := range []string{"\x16\x03", "\x15\x03", "SSH-", "HTTP/"} {
		more := false
		r := NewReplyReader(io.MultiReader(strings.NewReader(in), readerFunc(func([]byte) (int, error) {
			more = true
			return 0, io.EOF
		})))
		if _, err := r.ReadReply(); err != ErrBadReply || more {
			t.Errorf("%q: %v, it waited for more: %v", in, err, more)
		}
		if got := string(r.First(16)); got != in {
			t.Errorf("First = %q; want %q", got, in)
		}
	}
}

func TestReadReplyGivesUpOnASourceThatBringsNothing(t *testing.T) {
	r := NewReplyReader(readerFunc(func([]byte) (int, error) { return 0, nil }))
	if _, err := r.ReadReply(); err != io.ErrNoProgress {
		t.Errorf("ReadReply() = %v; want io.ErrNoProgress", err)
	}
}

// What a server sends behind 234 in clear text must be seen by the client.
func TestBufferedCountsWhatCameBehindAReply(t *testing.T) {
	r := NewReplyReader(strings.NewReader("234 go\r\n230 in\r\n"))
	for _, want := range []int{0, 8, 0} {
		if n := r.Buffered(); n != want {
			t.Errorf("Buffered() = %d; want %d", n, want)
		}
		_, _ = r.ReadReply()
	}
}

func TestReplySaid(t *testing.T) {
	for _, tt := range []struct {
		name string
		in   Reply
		want string
	}{
		{"one line", Reply{Code: 550, Text: "No such file."}, "550 No such file."},
		{"no text", Reply{Code: 550}, "550"},
		{"many lines", Reply{Code: 530, Text: "a ", Body: []string{"", " b"}, Last: "c\td"}, "530 a b c d"},
		{"a body alone", Reply{Code: 530, Body: []string{"b"}}, "530 b"},
		{"what does not print", Reply{Code: 550, Text: "a\x1b[2J\u202e\x80"}, `550 a\x1b[2J\u202e\x80`},
		{"a long text", Reply{Code: 550, Text: strings.Repeat("ü", 5000)}, "550 " + strings.Repeat("ü", 496) + "..."},
		{"a text that is just not too long", Reply{Code: 550, Text: strings.Repeat("x", 996)}, "550 " + strings.Repeat("x", 996)},
	} {
		if got := tt.in.Said(); got != tt.want {
			t.Errorf("%s: Said() = %.80q; want %.80q", tt.name, got, tt.want)
		}
	}
	if got, want := (Reply{Code: 211, Text: "a", Body: []string{"b", ""}, Last: "c"}).All(), []string{"a", "b", "", "c"}; !reflect.DeepEqual(got, want) {
		t.Errorf("All() = %q; want %q", got, want)
	}
	if got, want := (Reply{Code: 200}).All(), []string{""}; !reflect.DeepEqual(got, want) {
		t.Errorf("All() = %q; want %q", got, want)
	}
}

func TestParsePASVReply(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"as all write it", "Entering Passive Mode (192,0,2,1,200,10).", "192.0.2.1:51210"},
		{"without parentheses", "Entering Passive Mode 192,0,2,1,200,10", "192.0.2.1:51210"},
		{"behind an equals sign", "=192,0,2,1,0,21", "192.0.2.1:21"},
		{"blanks around the commas", "(192, 0 ,2,1,  4, 0)", "192.0.2.1:1024"},
		{"numbers before it", "Mode 5, port 21, (192,0,2,1,4,0)", "192.0.2.1:1024"},
		{"leading zeros", "192,000,002,001,004,000", "192.0.2.1:1024"},
		{"the first of two", "(192,0,2,1,4,0) (192,0,2,2,4,0)", "192.0.2.1:1024"},
		{"no address", "(0,0,0,0,4,0)", "0.0.0.0:1024"},
		{"five numbers", "(192,0,2,1,4)", ""},
		{"seven numbers", "1,192,0,2,1,4,0", ""},
		{"a number above 255", "192,0,2,256,4,0", ""},
		{"four digits", "0192,0,2,1,4,0", ""},
		{"dots", "192.0.2.1.4.0", ""},
		{"port 0", "192,0,2,1,0,0", ""},
		{"nothing", "", ""},
	} {
		got, err := ParsePASVReply(tt.in)
		if tt.want == "" {
			if err != ErrSyntax {
				t.Errorf("%s: ParsePASVReply(%q) = %v, %v; want ErrSyntax", tt.name, tt.in, got, err)
			}
		} else if err != nil || got.String() != tt.want {
			t.Errorf("%s: ParsePASVReply(%q) = %v, %v; want %s", tt.name, tt.in, got, err, tt.want)
		}
	}
}

func TestParseEPSVReply(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		want     uint16
	}{
		{"as all write it", "Entering Extended Passive Mode (|||6446|)", 6446},
		{"another delimiter", "(!!!6446!)", 6446},
		{"with family and address", "(|2|2001:db8::1|6446|)", 6446},
		{"with an IPv4 address", "ok (|1|192.0.2.1|6446|).", 6446},
		{"without parentheses", "Entering Extended Passive Mode |||6446|", 6446},
		{"without the last one", "(|||6446|", 6446},
		{"other parentheses before it", "Mode (extended) (|||21|)", 21},
		{"the largest port", "(|||65535|)", 65535},
		{"one more", "(|||65536|)", 0},
		{"port 0", "(|||0|)", 0},
		{"no port", "(||||)", 0},
		{"a sign", "(|||+21|)", 0},
		{"six digits", "(|||000021|)", 0},
		{"digits as delimiters", "(111211)", 0},
		{"the form of 227", "(192,0,2,1,4,0)", 0},
		{"nothing", "", 0},
		{"open", "(", 0},
	} {
		got, err := ParseEPSVReply(tt.in)
		if want := tt.want; got != want || (err == ErrSyntax) != (want == 0) {
			t.Errorf("%s: ParseEPSVReply(%q) = %d, %v; want %d", tt.name, tt.in, got, err, want)
		}
	}
}

func TestParseQuoted(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"as all write it", `"/a b" is the current directory`, `/a b`},
		{"nothing behind it", `"/a"`, `/a`},
		{"a full stop behind it", `"/a".`, `/a`},
		{"text before it", `Created "/a" for you`, `/a`},
		{"doubled quotes", `"/q""q" is current`, `/q"q`},
		{"a name that is a quote", `"/""" is current`, `/"`},
		{"quotes in the text behind", `"/a" is "home"`, `/a`},
		{"a quote that is not doubled", `"/q"q" is current`, `/q"q`},
		{"one at the end", `"/q"" is current`, `/q"`},
		{"nothing in quotes", `""`, ``},
	} {
		if got, err := ParseQuoted(tt.in); err != nil || got != tt.want {
			t.Errorf("%s: ParseQuoted(%q) = %q, %v; want %q", tt.name, tt.in, got, err, tt.want)
		}
	}
	for _, in := range []string{"", "/a", `"/a`, `/a"`} {
		if got, err := ParseQuoted(in); err != ErrSyntax {
			t.Errorf("ParseQuoted(%q) = %q, %v; want ErrSyntax", in, got, err)
		}
	}
}

func TestParseOpening(t *testing.T) {
	for in, want := range map[string]int64{
		"Opening BINARY mode data connection for a (12345 bytes).": 12345,
		"Opening data connection for a(0 bytes)":                   0,
		"for a (1 bytes) (2 Bytes)":                                2,
		"for a (2 bytes) (in a moment)":                            2,
		"(1 byte)":                                                 1,
		"(12345bytes)":                                             12345,
		"(9223372036854775807 bytes)":                              1<<63 - 1,
		"(9223372036854775808 bytes)":                              -1,
		"(-1 bytes)":                                               -1,
		"12 bytes":                                                 -1,
		"(12 kbytes)":                                              -1,
		"(":                                                        -1,
		"(5":                                                       -1,
		"(5 ":                                                      -1,
		"":                                                         -1,
	} {
		if n, ok := ParseOpening(in); ok != (want >= 0) || ok && n != want {
			t.Errorf("ParseOpening(%q) = %d, %v; want %d", in, n, ok, want)
		}
	}
}

// However the bytes arrive they are the same replies, which hold nothing that no
// line can hold, keep the limits, and are read again as they were.
func FuzzReadReply(f *testing.F) {
	for i, tt := range replyTests {
		if len(tt.in) < 10_000 {
			f.Add([]byte(tt.in), uint8(i*7))
		}
	}
	f.Fuzz(func(t *testing.T, in []byte, step uint8) {
		want, wantErr := readReplies(t, bytes.NewReader(in))
		for _, r := range want {
			if r.Code < 100 || r.Code > 599 || len(r.Body) > maxReplyLines {
				t.Errorf("the reply %q", r)
			}
			for _, line := range r.All() {
				if !NameOK(line) || len(line) > maxReplyLine {
					t.Errorf("the line %q", line)
				}
			}
			if s := r.Said(); len(s) > maxSaid || escape(s) != s {
				t.Errorf("Said() = %q", s)
			}
			clean := true
			for _, line := range r.All() {
				clean = clean && cleanText(line) == line && len(line)+6 < maxReplyLine
			}
			if r.Last == "" {
				r.Last = "End"
			}
			if again, _ := readReplies(t, bytes.NewReader(r.Append(nil))); clean && len(r.Body) > 0 && (len(again) != 1 || !reflect.DeepEqual(again[0], r)) {
				t.Errorf("%q is read again as %q", r, again)
			}
			_, _ = ParsePASVReply(r.Text)
			_, _ = ParseEPSVReply(r.Text)
			_, _ = ParseQuoted(r.Text)
			_, _ = ParseOpening(r.Text)
			_ = ParseFeatures(r).Facts()
		}
		var pieces parts
		for rest := string(in); rest != ""; {
			n := min(len(rest), int(step)+1)
			pieces, rest = append(pieces, rest[:n]), rest[n:]
		}
		if got, err := readReplies(t, &pieces); !reflect.DeepEqual(got, want) || err != wantErr {
			t.Errorf("in pieces of %d = %q, %v; want %q, %v", int(step)+1, got, err, want, wantErr)
		}
	})
}

// What one side writes is what the other reads, whatever stands around it.
func FuzzAddresses(f *testing.F) {
	f.Add("Entering Passive Mode ", ".", []byte{192, 0, 2, 1}, uint16(1024))
	f.Add("5, (", ",7", []byte{255, 255, 255, 255}, uint16(1))
	f.Fuzz(func(t *testing.T, before, after string, ip []byte, port uint16) {
		a, ok := netip.AddrFromSlice(ip)
		if !ok || port == 0 {
			return
		}
		a = a.Unmap()
		want := netip.AddrPortFrom(a, port)
		if got, err := ParseEPRT(FormatEPRT(want)); err != nil || got != want {
			t.Errorf("EPRT %s is read as %v, %v", FormatEPRT(want), got, err)
		}
		if a.Is4() {
			if got, err := ParsePort(FormatPort(want)); err != nil || got != want {
				t.Errorf("PORT %s is read as %v, %v", FormatPort(want), got, err)
			}
			text := before + FormatPASV(want) + after
			if got, err := ParsePASVReply(text); !strings.ContainsAny(before, "0123456789") && (err != nil || got != want) {
				t.Errorf("%q is read as %v, %v", text, got, err)
			}
		}
		text := before + FormatEPSV(port) + after
		if got, err := ParseEPSVReply(text); !strings.Contains(before, "(") && (err != nil || got != port) {
			t.Errorf("%q is read as %v, %v", text, got, err)
		}
		begun := time.Now()
		_, _ = ParsePASVReply(strings.Repeat(before, 100))
		_, _ = ParseEPSVReply(strings.Repeat(before, 100))
		_, _ = ParseOpening(strings.Repeat(before, 100))
		if took := time.Since(begun); took > 10*time.Second {
			t.Errorf("%v for %q a hundred times", took, before)
		}
	})
}

// Every quoted path is found again; what is found has no bytes that were not there.
func FuzzParseQuoted(f *testing.F) {
	f.Add(`/q"q`, ` is current`)
	f.Add(`"`, ` is "x"`)
	f.Add(``, ``)
	f.Fuzz(func(t *testing.T, path, after string) {
		if after != "" && after[0] != ' ' {
			after = " " + after
		}
		if got, err := ParseQuoted(Quote(path) + after); err != nil || got != path {
			t.Errorf("%q in quotes is read as %q, %v", path, got, err)
		}
		if got, err := ParseQuoted(after); err == nil && !strings.Contains(after, Quote(got)) && !strings.Contains(after, `"`+got+`"`) {
			t.Errorf("ParseQuoted(%q) = %q", after, got)
		}
	})
}
