package account

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// publicKey is the line of a key that never changes.
func publicKey(t testing.TB) string {
	t.Helper()
	pub, err := ssh.NewPublicKey(ed25519.NewKeyFromSeed(make([]byte, 32)).Public())
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(pub)))
}

func TestParseKey(t *testing.T) {
	key := publicKey(t)
	tests := []struct {
		name, in string
		want     Key    // but for Key itself
		err      string // part of it; "": none
	}{
		{"the line of a .pub file", key + " anna@laptop", Key{Comment: "anna@laptop"}, ""},
		{"a comment with blanks", key + " of the camera", Key{Comment: "of the camera"}, ""},
		{"no comment", key, Key{}, ""},
		{"a line end", key + "\r\n", Key{}, ""},
		{"restrict is satisfied", "restrict,no-pty,no-X11-forwarding,permitopen=\"x:1\" " + key, Key{}, ""},
		{"from", `from="192.0.2.0/24,!192.0.2.7,2001:db8::*" ` + key, Key{From: []string{"192.0.2.0/24", "!192.0.2.7", "2001:db8::*"}}, ""},
		{"expiry in UTC", `expiry-time="20311224Z" ` + key, Key{Expires: time.Date(2031, 12, 24, 0, 0, 0, 0, time.UTC)}, ""},
		{"expiry with a small z", `expiry-time="203112242359z" ` + key, Key{Expires: time.Date(2031, 12, 24, 23, 59, 0, 0, time.UTC)}, ""},
		{"expiry with UTC", `expiry-time="20311224235958UTC" ` + key, Key{Expires: time.Date(2031, 12, 24, 23, 59, 58, 0, time.UTC)}, ""},
		{"expiry in local time", `expiry-time="20311224" ` + key, Key{Expires: time.Date(2031, 12, 24, 0, 0, 0, 0, time.Local)}, ""},
		{"of two ends the earlier", `expiry-time="20311224Z",expiry-time="20321224Z" ` + key, Key{Expires: time.Date(2031, 12, 24, 0, 0, 0, 0, time.UTC)}, ""},
		{"of two ends the earlier, the last", `expiry-time="20321224Z",expiry-time="20311224Z" ` + key, Key{Expires: time.Date(2031, 12, 24, 0, 0, 0, 0, time.UTC)}, ""},
		{"a CA with principals", `cert-authority,principals="anna,batch" ` + key, Key{CA: true, Principals: []string{"anna", "batch"}}, ""},

		{"a command", `command="internal-sftp" ` + key, Key{}, "runs no commands"},
		{"an environment", `environment="A=b" ` + key, Key{}, "environment"},
		{"what asks for more than there is", "pty " + key, Key{}, "pty"},
		{"names of hosts", `from="*.example.org" ` + key, Key{}, "not looked up"},
		{"a broken network", `from="192.0.2.0/240" ` + key, Key{}, "no address"},
		{"two lists of addresses", `from="192.0.2.1",from="198.51.100.1" ` + key, Key{}, "twice"},
		{"two lists of principals", `cert-authority,principals="anna",principals="batch" ` + key, Key{}, "twice"},
		{"the first of two times is none", `expiry-time="tomorrow",expiry-time="20311224Z" ` + key, Key{}, "no time"},
		{"a time before there were keys", `expiry-time="00010101Z" ` + key, Key{}, "no time"},
		{"parts of a second", `expiry-time="20311224235958.5Z" ` + key, Key{}, "no time"},
		{"another zone", `expiry-time="20311224CET" ` + key, Key{}, "no time"},
		{"addresses of IPv4 in IPv6", `from="!::ffff:127.0.0.1,::ffff:10.0.*,::FFFF:0:0/96" ` + key, Key{From: []string{"!::ffff:127.0.0.1", "::ffff:10.0.*", "::FFFF:0:0/96"}}, ""},
		{"patterns in other forms", `from="2001:0DB8:*,2001:db8:0:0:*,*:1,*,10.?.*" ` + key, Key{From: []string{"2001:0DB8:*", "2001:db8:0:0:*", "*:1", "*", "10.?.*"}}, ""},
		{"part of an address", `from="192.0.2" ` + key, Key{}, "no address"},
		{"a pattern that is no form of an address", `from="2001:0db8::*" ` + key, Key{}, "no address"},
		{"zeros that are never written", `from="192.168.001.*" ` + key, Key{}, "no address"},
		{"a number that is too large", `from="3??.0.0.1" ` + key, Key{}, "no address"},
		{"five numbers", `from="1.2.3.4.*" ` + key, Key{}, "no address"},
		{"a part of what is IPv4", `from="::ffff:*" ` + key, Key{}, "no address"},
		{"no time", `expiry-time="tomorrow" ` + key, Key{}, "no time"},
		{"principals of no CA", `principals="anna" ` + key, Key{}, "cert-authority"},
		{"a principal with a quote", `cert-authority,principals="a\"b" ` + key, Key{}, "no name"},
		{"nothing", "", Key{}, "no line of authorized_keys"},
		{"a comment line", "# keys", Key{}, "no line of authorized_keys"},
		{"a private key", "-----BEGIN OPENSSH PRIVATE KEY-----", Key{}, "private key"},
		{"two lines", key + "\n" + key, Key{}, "more than one"},
	}
	for _, tt := range tests {
		got, err := ParseKey(tt.in)
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%s: ParseKey = %+v, %v; want an error with %q", tt.name, got, err, tt.err)
			}
			continue
		}
		tt.want.Key = key
		got.Expires, tt.want.Expires = got.Expires.UTC(), tt.want.Expires.UTC()
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: ParseKey = %+v, %v; want %+v", tt.name, got, err, tt.want)
			continue
		}
		again, err := ParseKey(got.Line())
		again.Expires = again.Expires.UTC()
		if err != nil || !reflect.DeepEqual(again, got) {
			t.Errorf("%s: its line %q is read as %+v, %v", tt.name, got.Line(), again, err)
		}
	}
}

func TestWeakKeysAreRefused(t *testing.T) {
	for bits, refused := range map[int]bool{1024: true, 2048: false} {
		k, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			t.Fatal(err)
		}
		pub, err := ssh.NewPublicKey(&k.PublicKey)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseKey(string(ssh.MarshalAuthorizedKey(pub))); (err != nil) != refused {
			t.Errorf("RSA of %d bits: %v", bits, err)
		}
	}
	// What ssh-keygen -t dsa wrote: five numbers, of which the parser reads the first four.
	wire := ssh.Marshal(struct {
		Name       string
		P, Q, G, Y []byte
	}{"ssh-dss", bytes.Repeat([]byte{0x71}, 128), bytes.Repeat([]byte{0x71}, 20), []byte{2}, []byte{3}})
	if _, err := ParseKey("ssh-dss " + base64.StdEncoding.EncodeToString(wire)); err == nil {
		t.Error("a DSA key was taken")
	}
}

func TestWhenAKeyCounts(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	tests := []struct {
		name string
		key  Key
		from string
		want bool
	}{
		{"a key without limits", Key{}, "192.0.2.1", true},
		{"before it ends", Key{Expires: now.Add(time.Second)}, "192.0.2.1", true},
		{"when it ends", Key{Expires: now}, "192.0.2.1", false},
		{"from its network", Key{From: []string{"192.0.2.0/24"}}, "192.0.2.1", true},
		{"from its network, mapped into IPv6", Key{From: []string{"192.0.2.0/24"}}, "::ffff:192.0.2.1", true},
		{"from another", Key{From: []string{"192.0.2.0/24"}}, "198.51.100.1", false},
		{"a pattern", Key{From: []string{"192.0.2.?"}}, "192.0.2.1", true},
		{"a pattern that is too short", Key{From: []string{"192.0.2.?"}}, "192.0.2.11", false},
		{"an address of IPv6, written in another way", Key{From: []string{"2001:db8:0::1"}}, "2001:db8::1", true},
		{"what is left out of a network", Key{From: []string{"192.0.2.0/24", "!192.0.2.1"}}, "192.0.2.1", false},
		{"what is left out, mapped into IPv6", Key{From: []string{"!::ffff:127.0.0.1", "*"}}, "127.0.0.1", false},
		{"it leaves others in", Key{From: []string{"!::ffff:127.0.0.1", "*"}}, "127.0.0.2", true},
		{"a network that is left out, mapped", Key{From: []string{"!::ffff:127.0.0.0/104", "*"}}, "127.9.0.1", false},
		{"all of IPv4, mapped", Key{From: []string{"::ffff:0:0/96"}}, "192.0.2.1", true},
		{"all of IPv4 is none of IPv6", Key{From: []string{"::ffff:0:0/96"}}, "2001:db8::1", false},
		{"a pattern that is left out, mapped", Key{From: []string{"!::FFFF:127.0.*", "*"}}, "127.0.0.1", false},
		{"a pattern in capitals", Key{From: []string{"2001:DB8::*"}}, "2001:db8::1", true},
		{"capitals that are left out", Key{From: []string{"!2001:DB8:*", "*"}}, "2001:db8::1", false},
		{"a pattern with all zeros", Key{From: []string{"2001:0db8:0000:*"}}, "2001:db8::1", true},
		{"a pattern with zeros between colons", Key{From: []string{"2001:db8:0:0:*"}}, "2001:db8::1", true},
		{"a pattern of IPv6 for IPv4", Key{From: []string{"*:*"}}, "192.0.2.1", false},
		{"only what is left out", Key{From: []string{"!192.0.2.1"}}, "198.51.100.1", false},
	}
	for _, tt := range tests {
		if why := tt.key.Bars(netip.MustParseAddr(tt.from), now); (why == "") != tt.want {
			t.Errorf("%s from %s: %q", tt.name, tt.from, why)
		}
	}
}

func TestAKeyIsFoundByItsBytes(t *testing.T) {
	k, err := ParseKey(publicKey(t) + " anna")
	if err != nil {
		t.Fatal(err)
	}
	a := Account{Keys: []Key{{Key: "ssh-ed25519 %%%"}, {Key: k.Key, CA: true}}}
	if _, ok := a.Key(k.Wire()); ok {
		t.Error("the key of a CA logs in itself")
	}
	a.Keys = append(a.Keys, k)
	if got, ok := a.Key(k.Wire()); !ok || got.Comment != "anna" {
		t.Errorf("Key = %+v, %v", got, ok)
	}
	if _, ok := a.Key(nil); ok {
		t.Error("no bytes are a key")
	}
	if !strings.HasPrefix(k.Fingerprint(), "SHA256:") {
		t.Errorf("Fingerprint = %q", k.Fingerprint())
	}
}

// FuzzPattern holds that a pattern that is taken is the same in capitals, and that an
// address matches its own text.
func FuzzPattern(f *testing.F) {
	f.Add("2001:db8::*", "2001:db8::1")
	f.Add("::ffff:10.0.0.?", "10.0.0.1")
	f.Add("::ffff:10.0.0.0/120", "::ffff:10.0.0.1")
	f.Fuzz(func(t *testing.T, pattern, addr string) {
		a, err := netip.ParseAddr(addr)
		if err != nil || a.Zone() != "" {
			return
		}
		if err := checkPattern(addr); err != nil || !matchPattern(addr, a.Unmap()) {
			t.Fatalf("%s does not match itself, %v", addr, err)
		}
		if checkPattern(pattern) == nil && matchPattern(pattern, a.Unmap()) != matchPattern(strings.ToUpper(pattern), a.Unmap()) {
			t.Fatalf("%q and %s: capitals matter", pattern, addr)
		}
	})
}

// FuzzParseKey holds that a key that is taken is written as a line that is read as
// the same key.
func FuzzParseKey(f *testing.F) {
	key := publicKey(f)
	f.Add(key + " c")
	f.Add(`restrict,from="192.0.2.1,!::1",expiry-time="20311224Z" ` + key)
	f.Add(`cert-authority,principals="a,b c" ` + key)
	f.Fuzz(func(t *testing.T, line string) {
		k, err := ParseKey(line)
		if err != nil {
			return
		}
		again, err := ParseKey(k.Line())
		if err != nil {
			t.Fatalf("%q was taken, and its line %q is refused: %v", line, k.Line(), err)
		}
		k.Expires, again.Expires = k.Expires.UTC(), again.Expires.UTC()
		if !reflect.DeepEqual(again, k) {
			t.Fatalf("%q is %+v, and its line is %+v", line, k, again)
		}
	})
}
