package sftp

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"strings"
	"testing"
)

func TestSightsAreReadAsTheyWereWritten(t *testing.T) {
	at := netip.MustParseAddrPort
	for _, s := range []Sight{
		{},
		{Peer: at("[2001:db8::7]:4000"), Local: at("192.0.2.1:22"), Kex: "mlkem768x25519-sha256", HostKey: "ssh-ed25519",
			Up: "aes128-gcm@openssh.com", Down: "aes128-ctr", DownMAC: "hmac-sha2-256-etm@openssh.com", Auth: "publickey,password"},
	} {
		var p Reply
		if err := p.Parse(one(t, AppendSight(nil, 7, &s))); err != nil || p.ID != 7 {
			t.Fatalf("%+v, %v", p, err)
		}
		got, err := ParseSight(p.Data)
		if err != nil || got != s {
			t.Errorf("ParseSight(%q) = %+v, %v; want %+v", p.Data, got, err, s)
		}
	}
}

func TestParseSight(t *testing.T) {
	for _, c := range []struct {
		name, text string
		bad        bool
	}{
		{"lines of other names", "v=1\nweather=fine\nno line of facts\n", false},
		{"no version", "peer=192.0.2.1:5\n", true},
		{"another version", "v=2\n", true},
		{"no address", "v=1\npeer=192.0.2.1\n", true},
		{"a word that steers a terminal", "v=1\nkex=\x1b[2J\n", true},
		{"a word with a blank", "v=1\nkex=a b\n", true},
		{"a long one", "v=1\nkex=" + strings.Repeat("x", maxSightWord+1), true},
		{"too much", "v=1\n" + strings.Repeat("x", maxSight), true},
	} {
		_, err := ParseSight(appendString(nil, c.text))
		if errors.Is(err, ErrMalformed) != c.bad {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if _, err := ParseSight(binary.BigEndian.AppendUint32(nil, 1<<31)); !errors.Is(err, ErrMalformed) {
		t.Errorf("a length that is none: %v", err)
	}
}

// What was read is written so that it is read again as the same.
func FuzzParseSight(f *testing.F) {
	f.Add(appendString(nil, "v=1\npeer=192.0.2.1:5\nkex=x\nauth=password\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := ParseSight(data)
		if err != nil {
			return
		}
		if again, err := ParseSight(appendString(nil, s.Format())); err != nil || again != s {
			t.Fatalf("%+v is read again as %+v, %v", s, again, err)
		}
	})
}
