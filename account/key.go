package account

import (
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/crypto/ssh"
)

// A Key logs in without a password, or as one of several factors: the public key of
// a user, or that of a CA whose certificates do. It is a line of authorized_keys
// (sshd(8)) that was read.
type Key struct {
	Key        string    `json:"key"` // type and key in base64, as "ssh-ed25519 AAAA…"
	Comment    string    `json:"comment,omitempty"`
	From       []string  `json:"from,omitempty"`       // patterns of addresses; none: from anywhere
	Expires    time.Time `json:"expires,omitzero"`     // zero: never
	CA         bool      `json:"ca,omitempty"`         // certificates that it signed log in, and not it itself
	Principals []string  `json:"principals,omitempty"` // with CA: one of these, in place of the account's name
}

// MaxKeys is how many keys an account may have.
const MaxKeys = 256

// minRSA is the length of the shortest RSA key that is taken, in bits.
const minRSA = 2048

// ParseKey reads one line of authorized_keys. What restricts beyond what dray ever
// allows (restrict, no-pty, permitopen, …) is satisfied by itself; what dray can't
// keep, as command=, is refused.
func ParseKey(line string) (Key, error) {
	pub, comment, options, rest, err := ssh.ParseAuthorizedKey([]byte(line))
	switch {
	case err != nil && strings.Contains(line, "PRIVATE KEY"):
		return Key{}, errors.New("it is a private key; the public one is in the file with .pub")
	case err != nil:
		return Key{}, errors.New("it is no line of authorized_keys; write ssh-ed25519 AAAA… NAME, as in a file with .pub")
	case len(strings.TrimSpace(string(rest))) > 0:
		return Key{}, errors.New("there is more than one line")
	}
	if err := CheckKey(pub); err != nil {
		return Key{}, err
	}
	k := Key{Key: pub.Type() + " " + base64.StdEncoding.EncodeToString(pub.Marshal()), Comment: strings.ToValidUTF8(comment, "?")}
	for _, o := range options {
		if err := k.option(o); err != nil {
			return Key{}, err
		}
	}
	if len(k.Principals) > 0 && !k.CA {
		return Key{}, errors.New("principals= is for a line with cert-authority")
	}
	return k, nil
}

// ReadKeys reads a file of authorized_keys lines. Empty lines and those that begin
// with "#" are none. The error names the first line that is wrong.
func ReadKeys(file string) ([]Key, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var keys []Key
	n := 0
	for line := range strings.Lines(string(b)) {
		n++
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		k, err := ParseKey(line)
		if err != nil {
			return nil, fmt.Errorf("line %d of %s: %w", n, file, err)
		}
		if keys = append(keys, k); len(keys) > MaxKeys {
			return nil, fmt.Errorf("%s has more than %d keys", file, MaxKeys)
		}
	}
	return keys, nil
}

// CheckKey says why a public key is not taken: certificates, DSA, short RSA.
func CheckKey(pub ssh.PublicKey) error {
	switch {
	case strings.Contains(pub.Type(), "-cert-"):
		return errors.New("it is a certificate; trust the key of its CA (cert-authority)")
	case pub.Type() == "ssh-dss": // ssh.InsecureKeyAlgoDSA is deprecated
		return errors.New("DSA keys are too weak; make one with ssh-keygen -t ed25519")
	}
	if c, ok := pub.(ssh.CryptoPublicKey); ok {
		if k, ok := c.CryptoPublicKey().(*rsa.PublicKey); ok && k.N.BitLen() < minRSA {
			return fmt.Errorf("an RSA key of %d bits is too short; make one with ssh-keygen -t ed25519", k.N.BitLen())
		}
	}
	return nil
}

// satisfied are the options that forbid what dray never does.
var satisfied = []string{
	"restrict", "no-agent-forwarding", "no-port-forwarding", "no-pty", "no-user-rc", "no-x11-forwarding",
}

func (k *Key) option(o string) error {
	name, value, hasValue := strings.Cut(o, "=")
	name = strings.ToLower(name)
	if hasValue {
		if len(value) < 2 || value[0] != '"' || value[len(value)-1] != '"' {
			return fmt.Errorf("the value of %s= stands in double quotes", name)
		}
		value = value[1 : len(value)-1]
	}
	switch {
	case slices.Contains(satisfied, name) && !hasValue,
		(name == "permitopen" || name == "permitlisten") && hasValue:
		return nil
	case name == "cert-authority" && !hasValue:
		k.CA = true
		return nil
	case (name == "from" && len(k.From) > 0 || name == "principals" && len(k.Principals) > 0) && hasValue:
		return fmt.Errorf("%s= is there twice; write one list", name) // as OpenSSH has it
	case name == "principals" && hasValue:
		for p := range strings.SplitSeq(value, ",") {
			if p == "" || !utf8.ValidString(p) || strings.ContainsFunc(p, func(r rune) bool { return r < ' ' || r == '"' || r == '\\' }) {
				return fmt.Errorf("principals=: %q is no name", p)
			}
			k.Principals = append(k.Principals, p)
		}
		return nil
	case name == "from" && hasValue:
		for p := range strings.SplitSeq(value, ",") {
			if err := checkPattern(p); err != nil {
				return err
			}
			k.From = append(k.From, p)
		}
		return nil
	case name == "expiry-time" && hasValue:
		until, err := parseExpiry(value)
		if k.Expires.IsZero() || until.Before(k.Expires) { // the earliest counts, as in OpenSSH
			k.Expires = until
		}
		return err
	case name == "command":
		return errors.New("command= is refused: dray runs no commands; limit the account by its home and its rights")
	}
	return fmt.Errorf("the option %s is refused: dray can't do what it says; take it away", name)
}

// checkPattern takes what matchPattern understands: a network, or an address with
// "*" and "?", each with "!" before it or not. What no address can match is refused:
// with "!" it would keep nobody out.
func checkPattern(p string) error {
	bare := strings.TrimPrefix(p, "!")
	if _, err := netip.ParsePrefix(bare); err == nil {
		return nil
	}
	if bare == "" || strings.Contains(bare, "/") {
		return fmt.Errorf("from=: %q is no address or network", p)
	}
	if strings.ContainsFunc(bare, func(r rune) bool { return !strings.ContainsRune("0123456789abcdefABCDEF:.*?", r) }) {
		return fmt.Errorf("from=: %q is refused: names of hosts are not looked up; write addresses or networks", p)
	}
	if !possible(bare) {
		return fmt.Errorf("from=: no address is written as %q; write a network, as 2001:db8::/32", p)
	}
	return nil
}

// fillers are what "*" may stand for.
var fillers = []string{
	"", "1", "1.1", "1.1.1", "1.1.1.1",
	"1:1", "1:1:1", "1:1:1:1", "1:1:1:1:1", "1:1:1:1:1:1", "1:1:1:1:1:1:1", "1::", "::1", "1::1",
}

// possible tells whether the pattern matches an address of those that it can be
// filled up to.
func possible(pattern string) bool {
	first, rest, _ := strings.Cut(strings.ReplaceAll(pattern, "?", "1"), "*")
	stars := strings.Contains(pattern, "*")
	for i, f := range fillers {
		for j, g := range fillers {
			if i > 0 && !stars || j > 0 && !strings.Contains(rest, "*") {
				break
			}
			a, err := netip.ParseAddr(first + f + strings.ReplaceAll(rest, "*", g))
			if err == nil && matchPattern(pattern, a.Unmap()) {
				return true
			}
		}
	}
	return false
}

// parseExpiry reads YYYYMMDD, YYYYMMDDHHMM or YYYYMMDDHHMMSS, in local time, or with
// "Z" or "UTC" behind it in that.
func parseExpiry(s string) (time.Time, error) {
	digits, zone := s, time.Local
	for _, utc := range []string{"Z", "UTC"} {
		if n := len(s) - len(utc); n > 0 && strings.EqualFold(s[n:], utc) {
			digits, zone = s[:n], time.UTC
		}
	}
	for _, layout := range []string{"20060102", "200601021504", "20060102150405"} {
		if len(digits) != len(layout) { // time.Parse takes parts of a second too
			continue
		}
		if t, err := time.ParseInLocation(layout, digits, zone); err == nil && t.Unix() > 0 {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("expiry-time=: %q is no time; write 20271231 or 202712312359Z", s)
}

// Wire is the key as SSH sends it; nil when it does not parse.
func (k *Key) Wire() []byte {
	_, b64, _ := strings.Cut(k.Key, " ")
	b, err := base64.StdEncoding.DecodeString(b64)
	if err != nil {
		return nil
	}
	return b
}

// Fingerprint is that of the key, as "SHA256:…".
func (k *Key) Fingerprint() string {
	pub, err := ssh.ParsePublicKey(k.Wire())
	if err != nil {
		return "?"
	}
	return ssh.FingerprintSHA256(pub)
}

// Line is the key as a line of authorized_keys.
func (k *Key) Line() string {
	var options []string
	if k.CA {
		options = append(options, "cert-authority")
	}
	if len(k.Principals) > 0 {
		options = append(options, `principals="`+strings.Join(k.Principals, ",")+`"`)
	}
	if len(k.From) > 0 {
		options = append(options, `from="`+strings.Join(k.From, ",")+`"`)
	}
	if !k.Expires.IsZero() {
		options = append(options, `expiry-time="`+k.Expires.UTC().Format("20060102150405")+`Z"`)
	}
	line := k.Key
	if len(options) > 0 {
		line = strings.Join(options, ",") + " " + line
	}
	if k.Comment != "" {
		line += " " + k.Comment
	}
	return line
}

// Bars tells why the key counts for nothing from an address at a time, "" when it
// counts.
func (k *Key) Bars(from netip.Addr, now time.Time) string {
	switch {
	case !k.Expires.IsZero() && !now.Before(k.Expires):
		return "the key has expired"
	case len(k.From) > 0 && !matchPatterns(k.From, from.Unmap().WithZone("")):
		return "the key does not count from this address"
	}
	return ""
}

// matchPatterns tells whether one of the patterns holds the address and none of
// those with "!" does.
func matchPatterns(patterns []string, addr netip.Addr) (in bool) {
	for _, p := range patterns {
		bare, not := strings.CutPrefix(p, "!")
		if !matchPattern(bare, addr) {
			continue
		}
		if not {
			return false
		}
		in = true
	}
	return in
}

// matchPattern takes addr unmapped. A pattern with "*" or "?" is compared with the
// forms of an address that people write: the short one, the one with all of its
// numbers, and that with all of its zeros.
func matchPattern(pattern string, addr netip.Addr) bool {
	if n, err := netip.ParsePrefix(pattern); err == nil {
		if a := n.Addr(); a.Is4In6() && n.Bits() >= 96 { // peers are compared in their IPv4 form
			n = netip.PrefixFrom(a.Unmap(), n.Bits()-96)
		}
		return n.Masked().Contains(addr)
	}
	if a, err := netip.ParseAddr(pattern); err == nil {
		return a.Unmap() == addr
	}
	pattern = strings.ToLower(pattern)
	if rest, mapped := strings.CutPrefix(pattern, "::ffff:"); mapped {
		if !addr.Is4() || !strings.Contains(rest, ".") {
			return false
		}
		pattern = rest
	}
	forms := []string{addr.String()}
	if addr.Is6() {
		b := addr.As16()
		numbers := make([]string, 0, 8)
		for i := 0; i < len(b); i += 2 {
			numbers = append(numbers, strconv.FormatUint(uint64(b[i])<<8|uint64(b[i+1]), 16))
		}
		forms = append(forms, strings.Join(numbers, ":"), addr.StringExpanded())
	}
	return slices.ContainsFunc(forms, func(form string) bool {
		ok, err := path.Match(pattern, form)
		return ok && err == nil
	})
}

// Key finds the key of the account that is the one on the wire; false when it has none.
func (a *Account) Key(wire []byte) (*Key, bool) {
	for i := range a.Keys {
		if k := &a.Keys[i]; !k.CA && len(wire) > 0 && string(k.Wire()) == string(wire) {
			return k, true
		}
	}
	return nil, false
}
