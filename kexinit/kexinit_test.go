package kexinit

import (
	"encoding/binary"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// packed is a message as the first packet of a connection, before any keys.
func packed(m []byte) []byte {
	padding := 8 - (len(m)+5)%8 + 4
	b := binary.BigEndian.AppendUint32(nil, uint32(1+len(m)+padding))
	return append(append(append(b, byte(padding)), m...), make([]byte, padding)...)
}

// hello is a KEXINIT with these lists.
func hello(lists ...string) []byte {
	m := append([]byte{Message}, make([]byte, 16)...)
	for _, l := range lists {
		m = append(binary.BigEndian.AppendUint32(m, uint32(len(l))), l...)
	}
	return packed(append(m, 0, 0, 0, 0, 0))
}

func TestParse(t *testing.T) {
	whole := hello("curve25519-sha256,ext-info-s", "ssh-ed25519", "a,b", "c", "d", "e", "none", "none", "", "")
	o, need := Parse(whole)
	want := Offer{Kex: {"curve25519-sha256", "ext-info-s"}, HostKeys: {"ssh-ed25519"}, CiphersUp: {"a", "b"}, CiphersDown: {"c"}, MACsUp: {"d"}, MACsDown: {"e"}}
	if need != 0 || !reflect.DeepEqual(o, want) {
		t.Errorf("Parse = %q, %d; want %q, 0", o, need, want)
	}
	for n := range whole { // never half of it
		if o, need := Parse(whole[:n]); need <= n || !reflect.DeepEqual(o, Offer{}) {
			t.Errorf("Parse of %d bytes = %q, %d", n, o, need)
		}
	}
	for name, b := range map[string][]byte{
		"another message": packed(append([]byte{21}, make([]byte, 60)...)),
		"too long":        append(binary.BigEndian.AppendUint32(nil, Max+1), 4, Message),
		"all padding":     {0, 0, 0, 20, 19, Message},
		"a list too long": packed(append(append([]byte{Message}, make([]byte, 16)...), 0xff, 0xff, 0xff, 0xff)),
		"lists missing":   packed(append([]byte{Message}, make([]byte, 18)...)),
	} {
		if o, need := Parse(b); need != 0 || !reflect.DeepEqual(o, Offer{}) {
			t.Errorf("%s: Parse = %q, %d; want nothing", name, o, need)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(hello("k", "h", "c", "c", "m", "m", "none", "none", "", ""))
	f.Add(hello("k", "h")[:30])
	f.Add([]byte{0, 0, 0, 200, 4, Message, 1, 2})
	f.Add([]byte("\xff\xff\xff\xff\xff\x14 more"))
	f.Fuzz(func(t *testing.T, b []byte) {
		o, need := Parse(b)
		switch {
		case need != 0 && (need <= len(b) || need > Max+4):
			t.Errorf("%d bytes are needed, of %d", need, len(b))
		case need != 0 && !reflect.DeepEqual(o, Offer{}):
			t.Error("an offer of half a packet")
		}
		for _, list := range o {
			if len(strings.Join(list, ",")) > len(b) {
				t.Error("more names than there are bytes")
			}
		}
		if need == 0 { // more bytes change nothing
			if again, more := Parse(append(slices.Clone(b), "behind"...)); more != 0 || !reflect.DeepEqual(again, o) {
				t.Errorf("%q, and with more behind it %q", o, again)
			}
		}
	})
}
