package ftp

import (
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestSightsAreReadAsTheyWereWritten(t *testing.T) {
	at := netip.MustParseAddrPort
	for _, s := range []Sight{
		{},
		{Peer: at("198.51.100.7:40112"), Local: at("192.0.2.1:21")},
		{
			Peer: at("[2001:db8::7]:40112"), Local: at("[2001:db8::1]:990"), TLS: "1.3", Resumed: true,
			Attempts: []Attempt{
				{Verb: "EPSV", At: at("[2001:db8::1]:50001"), Ago: 90 * time.Second, Outcome: Came, After: 12 * time.Millisecond, From: at("[2001:db8::7]:40113"), TLS: "1.3", Resumed: true, Ticket: TicketOwn},
				{Verb: "PASV", At: at("192.0.2.1:50002"), Ago: 3 * time.Second, Outcome: Waiting, Seen: SeenSYN, From: at("198.51.100.7:40114")},
				{Verb: "EPSV", At: at("192.0.2.1:50003"), Outcome: Nobody, After: 20 * time.Second, Seen: SeenNothing, Stranger: at("198.51.100.8:1"), ID: "data-blocked"},
				{Verb: "PORT", At: at("198.51.100.7:6000"), Ago: time.Second, Outcome: Refused, After: time.Millisecond, ID: "active-blocked"},
			},
		},
	} {
		lines := s.Format()
		got, err := ParseSight(lines)
		if err != nil || !reflect.DeepEqual(got, s) {
			t.Errorf("ParseSight(%q) = %+v, %v; want %+v", lines, got, err, s)
		}
	}
}

func TestParseSight(t *testing.T) {
	for _, c := range []struct {
		name, lines string
		want        Sight
		bad         bool
	}{
		{name: "names that are not known are left out", lines: "v=1|peer=192.0.2.1:5 weather=fine|weather=fine|data=EPSV at=unknown outcome=waiting weather=fine",
			want: Sight{Peer: netip.MustParseAddrPort("192.0.2.1:5"), Attempts: []Attempt{{Verb: "EPSV", Outcome: Waiting}}}},
		{name: "an IPv4 address in IPv6 form", lines: "v=1|peer=[::ffff:192.0.2.1]:5", want: Sight{Peer: netip.MustParseAddrPort("192.0.2.1:5")}},
		{name: "blanks and empty lines", lines: " v=1||  tls=none  ", want: Sight{}},
		{name: "no version", lines: "peer=192.0.2.1:5", bad: true},
		{name: "nothing", lines: "", bad: true},
		{name: "another version", lines: "v=2", bad: true},
		{name: "no address", lines: "v=1|peer=192.0.2.1", bad: true},
		{name: "a host name", lines: "v=1|peer=example.net:21", bad: true},
		{name: "a word that steers a terminal", lines: "v=1|tls=\x1b[2J", bad: true},
		{name: "no number", lines: "v=1|data=EPSV outcome=came ago=-1", bad: true},
		{name: "a number that nobody means", lines: "v=1|data=EPSV outcome=came ago=99999999999999999999", bad: true},
		{name: "an attempt without an outcome", lines: "v=1|data=EPSV", bad: true},
		{name: "too many attempts", lines: "v=1" + strings.Repeat("|data=EPSV outcome=came", MaxAttempts+1), bad: true},
		{name: "a line without an end", lines: "v=1|peer=192.0.2.1:5 " + strings.Repeat("x", maxSightLine), bad: true},
	} {
		got, err := ParseSight(strings.Split(c.lines, "|"))
		if errors.Is(err, ErrSyntax) != c.bad || !c.bad && (err != nil || !reflect.DeepEqual(got, c.want)) {
			t.Errorf("%s: ParseSight(%q) = %+v, %v; want %+v, bad %v", c.name, c.lines, got, err, c.want, c.bad)
		}
	}
}

// What was read is written so that it is read again as the same.
func FuzzParseSight(f *testing.F) {
	f.Add("v=1\npeer=192.0.2.1:5\ntls=1.3\nresumed=yes")
	f.Add("v=1\ndata=EPSV at=[2001:db8::1]:5 ago=5 outcome=came after=7 from=192.0.2.1:4 seen=syn stranger=192.0.2.1:3 tls=1.2 resumed=no ticket=own id=x")
	f.Add("v=1\ndata=PORT at=[fe80::1%eth0]:5 outcome=refused resumed=yes")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSight(strings.Split(text, "\n"))
		if err != nil {
			return
		}
		again, err := ParseSight(s.Format())
		if err != nil || !reflect.DeepEqual(again, s) {
			t.Fatalf("%+v is written as %q and read as %+v, %v", s, s.Format(), again, err)
		}
	})
}
