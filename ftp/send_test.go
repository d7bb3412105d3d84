package ftp

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

func TestAppendCommand(t *testing.T) {
	for _, tt := range []struct{ name, verb, arg, want string }{
		{"a verb alone has no blank behind it", "NOOP", "", "NOOP\r\n"},
		{"an argument as it is", "RETR", " a  b ", "RETR  a  b \r\n"},
		{"bytes that are no UTF-8 stay", "RETR", "\xe4\x1b", "RETR \xe4\x1b\r\n"},
		{"0xFF is doubled", "RETR", "\xffa\xff", "RETR \xff\xffa\xff\xff\r\n"},
		{"the longest line", "RETR", strings.Repeat("x", MaxLine-5), "RETR " + strings.Repeat("x", MaxLine-5) + "\r\n"},
	} {
		if got, err := AppendCommand([]byte("> "), tt.verb, tt.arg); err != nil || string(got) != "> "+tt.want {
			t.Errorf("%s: AppendCommand = %.80q, %v; want %.80q", tt.name, got, err, tt.want)
		}
	}
	for _, tt := range []struct{ name, verb, arg string }{
		{"a line feed", "RETR", "a\nDELE b"},
		{"a CR", "RETR", "a\r"},
		{"NUL", "PASS", "a\x00b"},
		{"too long a line", "RETR", strings.Repeat("x", MaxLine-4)},
		{"no verb", "", "a"},
		{"a verb with a blank", "SITE CHMOD", "a"},
		{"a verb with a line end", "NOOP\r\nQUIT", ""},
		{"too long a verb", strings.Repeat("X", maxVerb+1), ""},
	} {
		if got, err := AppendCommand([]byte("> "), tt.verb, tt.arg); err != ErrBadArgument || string(got) != "> " {
			t.Errorf("%s: AppendCommand = %.80q, %v; want ErrBadArgument", tt.name, got, err)
		}
	}
}

func TestFormatPortAndEPRT(t *testing.T) {
	for _, tt := range []struct{ in, port, eprt string }{
		{"192.0.2.1:51210", "192,0,2,1,200,10", "|1|192.0.2.1|51210|"},
		{"[::ffff:192.0.2.1]:21", "192,0,2,1,0,21", "|1|192.0.2.1|21|"},
		{"[2001:db8::1]:21", "0,0,0,0,0,21", "|2|2001:db8::1|21|"},
		{"[fe80::1%eth0]:21", "0,0,0,0,0,21", "|2|fe80::1|21|"},
	} {
		a := netip.MustParseAddrPort(tt.in)
		if got := FormatPort(a); got != tt.port {
			t.Errorf("FormatPort(%v) = %s; want %s", a, got, tt.port)
		}
		if got := FormatEPRT(a); got != tt.eprt {
			t.Errorf("FormatEPRT(%v) = %s; want %s", a, got, tt.eprt)
		}
	}
}

// A command is one line or none, and is read by the other side as it was meant.
func FuzzAppendCommand(f *testing.F) {
	f.Add("RETR", "a b")
	f.Add("PASS", "\xff\xf4\xff")
	f.Add("x\r", "\n")
	f.Fuzz(func(t *testing.T, verb, arg string) {
		line, err := AppendCommand(nil, verb, arg)
		if err != nil {
			if err != ErrBadArgument || line != nil {
				t.Errorf("AppendCommand(%q, %q) = %q, %v", verb, arg, line, err)
			}
			return
		}
		want := []told{{cmd: Command{Verb: strings.ToUpper(verb), Arg: arg, HasArg: arg != ""}}}
		if got := readAll(t, strings.NewReader(string(line))); !reflect.DeepEqual(got, want) {
			t.Errorf("%q is read as %v; want %v", line, got, want)
		}
	})
}
