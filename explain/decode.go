package explain

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"unicode"
)

// The decoders of patterns: m is what the pattern has captured, before the text above
// its line.

// readable tells whether bytes are text, as a program prints it.
func readable(b []byte) bool {
	return !strings.ContainsFunc(string(b), func(r rune) bool {
		return r > unicode.MaxASCII || r < ' ' && !strings.ContainsRune("\n\r\t\x1b\x00", r) || r == 0x7f
	}) && b[0] != 0
}

// packetLength reads the number that an SSH or SFTP client took for a length: text in
// place of a packet (draft-ietf-secsh-filexfer-02, 3: the first four bytes are its length).
func packetLength(m []string, _ string) (string, bool) {
	n, err := strconv.ParseInt(m[1], 10, 64)
	if err != nil {
		return "", true
	}
	b := binary.BigEndian.AppendUint32(nil, uint32(n))
	if !readable(b) {
		return "", true
	}
	return fmt.Sprintf("%s is the text %q: the first four bytes of what the server printed", m[1], b), true
}

// recordVersion reads the version of a TLS record that is none (RFC 8446, 5.1: one
// byte of type, two of version, two of length).
func recordVersion(m []string, _ string) (string, bool) {
	b, err := hex.DecodeString(m[1])
	if err != nil || !readable(b) {
		return "", false
	}
	return fmt.Sprintf("%s is the text %q, the second and third letter of what the server wrote%s", m[1], b, asReply(b)), true
}

// recordLength is recordVersion for the length.
func recordLength(m []string, _ string) (string, bool) {
	n, err := strconv.ParseUint(m[1], 10, 16)
	if err != nil {
		return "", false
	}
	b := binary.BigEndian.AppendUint16(nil, uint16(n))
	if !readable(b) {
		return "", false
	}
	reply := ""
	if string(b) == " O" {
		reply = `, as in "500 OOPS"`
	}
	return fmt.Sprintf("%s is the text %q, the fourth and fifth letter of what the server wrote%s", m[1], b, reply), true
}

func asReply(b []byte) string {
	switch string(b) {
	case "00":
		return `, as in "500 OOPS"`
	case "21":
		return `, as in "421"`
	case "30":
		return `, as in "530"`
	}
	return ""
}

// alerts are descriptions of TLS alerts (RFC 8446, 6).
var alerts = map[string]string{
	"00": "close_notify", "0a": "unexpected_message", "16": "record_overflow", "28": "handshake_failure", "2a": "bad_certificate",
	"2e": "certificate_unknown", "2f": "illegal_parameter", "30": "unknown_ca", "32": "decode_error", "46": "protocol_version", "50": "internal_error",
}

func tlsAlert(m []string, _ string) (string, bool) {
	name := alerts[strings.ToLower(m[2]+m[4])]
	if name != "" {
		name = " (" + name + ")"
	}
	return "15 03 is a TLS alert" + name + ": the port speaks TLS from the first byte and refused what it got. ftps://HOST:PORT is the URL for that", true
}

func offer(m []string, _ string) (string, bool) {
	if m[1] == "" {
		return "", true
	}
	return "the other side has " + strings.ReplaceAll(text(m[1]), ",", ", "), true
}

// passiveAddress reads the address of a 227, which is wrong when it is one of a private
// network and not the one that the client has connected to.
func passiveAddress(m []string, before string) (string, bool) {
	var n [6]uint8
	for i := range n {
		v, err := strconv.ParseUint(m[i+1], 10, 8)
		if err != nil {
			return "", false
		}
		n[i] = uint8(v)
	}
	a := netip.AddrFrom4([4]byte(n[:4]))
	port := int(n[4])<<8 | int(n[5])
	switch {
	case a.IsUnspecified():
		return fmt.Sprintf("the server tells 0.0.0.0 and port %d, which is no address", port), true
	case !inner(a) || names(before, a.String()):
		return "", false
	}
	return fmt.Sprintf("the server tells %v and port %d, which can be reached from its own network only", a, port), true
}

// skipped is what curl says when it uses another address than the server told.
func skipped(m []string, _ string) (string, bool) {
	if m[1] == m[2] {
		return "", false
	}
	return fmt.Sprintf("the server tells %s; curl has gone to %s in its place, other programs may not", m[1], m[2]), true
}

// inner tells whether an address is one of a private network (RFC 1918, 6598, 3927).
func inner(a netip.Addr) bool {
	return a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() || netip.MustParsePrefix("100.64.0.0/10").Contains(a)
}

// names tells whether an address stands in s, and not only the beginning of a longer one.
func names(s, addr string) bool {
	for {
		i := strings.Index(s, addr)
		if i < 0 {
			return false
		}
		end := s[i+len(addr):]
		if (end == "" || end[0] < '0' || end[0] > '9') && (i == 0 || !strings.ContainsAny(s[i-1:i], "0123456789.")) {
			return true
		}
		s = end
	}
}

// droppedPort reads the port from what the firewall of Linux logs of a packet.
func droppedPort(m []string, _ string) (string, bool) {
	return "the firewall of the server's host kept a packet for port " + m[1] + " out", true
}
