package ftp

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

func TestParsePort(t *testing.T) {
	for _, tt := range []struct {
		name, in, want string // want "": ErrSyntax
	}{
		{"an address and a port", "192,168,1,20,4,1", "192.168.1.20:1025"},
		{"the highest numbers", "255,255,255,255,255,255", "255.255.255.255:65535"},
		{"zeros", "0,0,0,0,0,0", "0.0.0.0:0"},
		{"leading zeros are decimal", "010,001,002,003,004,001", "10.1.2.3:1025"},
		{"nothing", "", ""},
		{"five numbers", "1,2,3,4,5", ""},
		{"seven numbers", "1,2,3,4,5,6,7", ""},
		{"a comma too many", "1,2,3,4,5,6,", ""},
		{"a number is missing", "1,2,,4,5,6", ""},
		{"256", "1,2,3,256,5,6", ""},
		{"a long number", "1,2,3,0004,5,6", ""},
		{"a number that wraps", "1,2,3,18446744073709551620,5,6", ""},
		{"a sign", "1,2,3,+4,5,6", ""},
		{"a minus", "1,2,3,-4,5,6", ""},
		{"a blank between", "1, 2,3,4,5,6", ""},
		{"a blank behind", "1,2,3,4,5,6 ", ""},
		{"hexadecimal", "0x1,2,3,4,5,6", ""},
		{"digits of another script", "١,2,3,4,5,6", ""},
		{"dots", "1.2.3.4.5.6", ""},
	} {
		checkAddr(t, "ParsePort", tt.name, tt.in, tt.want, ErrSyntax, ParsePort)
	}
}

func TestParseEPRT(t *testing.T) {
	for _, tt := range []struct {
		name, in, want string
		err            error
	}{
		{"IPv4", "|1|132.235.1.2|6275|", "132.235.1.2:6275", nil},
		{"IPv6", "|2|1080::8:800:200C:417A|5282|", "[1080::8:800:200c:417a]:5282", nil},
		{"IPv4 in IPv6 form is IPv4", "|2|::ffff:10.0.0.1|5282|", "10.0.0.1:5282", nil},
		{"another delimiter", "!1!10.0.0.1!2000!", "10.0.0.1:2000", nil},
		{"a digit as delimiter", "919127.0.0.1980809", "127.0.0.1:8080", nil},
		{"the highest port", "|1|10.0.0.1|65535|", "10.0.0.1:65535", nil},
		{"a family that nobody has", "|3|10.0.0.1|2000|", "", ErrFamily},
		{"family 0", "|0|10.0.0.1|2000|", "", ErrFamily},
		{"a very high family", "|99999999999999999999|10.0.0.1|2000|", "", ErrFamily},
		{"an unknown family is said before the address is read", "|3|x|y|", "", ErrFamily},
		{"a family that is no number", "|x|10.0.0.1|2000|", "", ErrSyntax},
		{"no family", "||10.0.0.1|2000|", "", ErrSyntax},
		{"a signed family", "|+1|10.0.0.1|2000|", "", ErrSyntax},
		{"IPv4 that says it is IPv6", "|2|10.0.0.1|2000|", "", ErrSyntax},
		{"IPv6 that says it is IPv4", "|1|::1|2000|", "", ErrSyntax},
		{"a zone", "|2|fe80::1%eth0|2000|", "", ErrSyntax},
		{"a name for an address", "|1|localhost|2000|", "", ErrSyntax},
		{"brackets", "|2|[::1]|2000|", "", ErrSyntax},
		{"port 65536", "|1|10.0.0.1|65536|", "", ErrSyntax},
		{"a long port", "|1|10.0.0.1|002000|", "", ErrSyntax},
		{"no port", "|1|10.0.0.1||", "", ErrSyntax},
		{"a signed port", "|1|10.0.0.1|+2000|", "", ErrSyntax},
		{"no delimiter at the end", "|1|10.0.0.1|2000", "", ErrSyntax},
		{"something behind the end", "|1|10.0.0.1|2000| ", "", ErrSyntax},
		{"a delimiter too many", "|1|10.0.0.1|2000||", "", ErrSyntax},
		{"a blank as delimiter", " 1 10.0.0.1 2000 ", "", ErrSyntax},
		{"a delimiter that is not ASCII", "\xff1\xff10.0.0.1\xff2000\xff", "", ErrSyntax},
		{"nothing", "", "", ErrSyntax},
		{"a delimiter and nothing", "|", "", ErrSyntax},
	} {
		checkAddr(t, "ParseEPRT", tt.name, tt.in, tt.want, tt.err, ParseEPRT)
	}
}

func checkAddr(t *testing.T, fn, name, in, want string, wantErr error, parse func(string) (netip.AddrPort, error)) {
	t.Helper()
	got, err := parse(in)
	if want == "" {
		if err != wantErr || got.IsValid() {
			t.Errorf("%s: %s(%q) = %v, %v; want %v", name, fn, in, got, err, wantErr)
		}
		return
	}
	if err != nil || got.String() != want {
		t.Errorf("%s: %s(%q) = %v, %v; want %s", name, fn, in, got, err, want)
	}
}

func TestParseEPSV(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want EPSV
		err  error
	}{
		{"", EPSVAny, nil},
		{"1", EPSV4, nil},
		{"2", EPSV6, nil},
		{"ALL", EPSVAll, nil},
		{"all", EPSVAll, nil},
		{"Next", EPSVNext, nil},
		{"3", EPSVAny, ErrFamily},
		{"0", EPSVAny, ErrFamily},
		{"99999999999999999999", EPSVAny, ErrFamily},
		{" ", EPSVAny, ErrSyntax},
		{"1 ", EPSVAny, ErrSyntax},
		{"-1", EPSVAny, ErrSyntax},
		{"ALLES", EPSVAny, ErrSyntax},
	} {
		if got, err := ParseEPSV(tt.in); got != tt.want || err != tt.err {
			t.Errorf("ParseEPSV(%q) = %v, %v; want %v, %v", tt.in, got, err, tt.want, tt.err)
		}
	}
}

func TestFormatPASVAndEPSV(t *testing.T) {
	for in, want := range map[string]string{
		"192.168.1.20:1025":      "(192,168,1,20,4,1)",
		"255.255.255.255:65535":  "(255,255,255,255,255,255)",
		"[::ffff:10.0.0.1]:8080": "(10,0,0,1,31,144)",
		"[2001:db8::1]:8080":     "(0,0,0,0,31,144)",
	} {
		if got := FormatPASV(netip.MustParseAddrPort(in)); got != want {
			t.Errorf("FormatPASV(%s) = %s; want %s", in, got, want)
		}
	}
	if got := FormatPASV(netip.AddrPort{}); got != "(0,0,0,0,0,0)" {
		t.Errorf("FormatPASV of nothing = %s", got)
	}
	if got := FormatEPSV(65535); got != "(|||65535|)" {
		t.Errorf("FormatEPSV(65535) = %s", got)
	}
}

// An address that was read is written in the form that is read as the same.
func FuzzParsePort(f *testing.F) {
	for _, s := range []string{"192,168,1,20,4,1", "010,0,0,1,0,255", "1,2,3,4,5", "1,2,3,4,5,6,", "+1,2,3,4,5,6"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		a, err := ParsePort(in)
		if err != nil {
			return
		}
		again, err := ParsePort(strings.Trim(FormatPASV(a), "()"))
		if err != nil || again != a || !a.Addr().Is4() {
			t.Errorf("%q = %v, then %v, %v", in, a, again, err)
		}
	})
}

func FuzzParseEPRT(f *testing.F) {
	for _, s := range []string{"|1|132.235.1.2|6275|", "|2|1080::8:800:200C:417A|5282|", "|2|::ffff:10.0.0.1|1|", "919127.0.0.1980809", "|2|fe80::1%a|1|", "|3|x|y|"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		a, err := ParseEPRT(in)
		if err != nil {
			if err != ErrSyntax && err != ErrFamily {
				t.Errorf("%q: %v", in, err)
			}
			return
		}
		family := 1
		if a.Addr().Is6() {
			family = 2
		}
		if again, err := ParseEPRT(fmt.Sprintf("|%d|%s|%d|", family, a.Addr(), a.Port())); err != nil || again != a {
			t.Errorf("%q = %v, then %v, %v", in, a, again, err)
		}
		if a.Addr().Zone() != "" || a.Addr().Is4In6() {
			t.Errorf("%q = %v", in, a)
		}
	})
}

func FuzzParseEPSV(f *testing.F) {
	for _, s := range []string{"", "1", "2", "ALL", "all", "3", "x"} {
		f.Add(s)
	}
	words := map[EPSV]string{EPSVAny: "", EPSV4: "1", EPSV6: "2", EPSVAll: "ALL"}
	f.Fuzz(func(t *testing.T, in string) {
		e, err := ParseEPSV(in)
		if err != nil {
			if e != EPSVAny || err != ErrSyntax && err != ErrFamily {
				t.Errorf("%q = %v, %v", in, e, err)
			}
			return
		}
		if word, known := words[e]; !known || !strings.EqualFold(strings.TrimLeft(in, "0"), word) {
			t.Errorf("%q = %v", in, e)
		}
	})
}
