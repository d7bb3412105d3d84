package ftp

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"
)

// ErrBadArgument is a command that can't be written as one line. It does not say
// which: an argument may be a password.
var ErrBadArgument = errors.New("the command can't be sent: it is too long, or has a line end or NUL in it")

// AppendCommand appends one command line with its CRLF, without a blank behind
// the verb where arg is empty; 0xFF is doubled as Telnet wants it (RFC 854). The
// verb has 1 to 16 printable ASCII characters. ErrBadArgument is a verb that is
// none, CR, LF or NUL in arg, and a line above MaxLine; dst is returned as it was.
func AppendCommand(dst []byte, verb, arg string) ([]byte, error) {
	if verb == "" || len(verb) > maxVerb || len(verb)+1+len(arg) > MaxLine || !NameOK(arg) {
		return dst, ErrBadArgument
	}
	for i := range len(verb) {
		if verb[i] <= ' ' || verb[i] >= 0x7f {
			return dst, ErrBadArgument
		}
	}
	dst = append(dst, verb...)
	if arg != "" {
		dst = append(dst, ' ')
		for i := range len(arg) {
			if arg[i] == telnetIAC {
				dst = append(dst, telnetIAC)
			}
			dst = append(dst, arg[i])
		}
	}
	return append(dst, '\r', '\n'), nil
}

// FormatPort writes an address as PORT has it, h1,h2,h3,h4,p1,p2. An address that
// is not IPv4 is written as 0,0,0,0.
func FormatPort(a netip.AddrPort) string { return strings.Trim(FormatPASV(a), "()") }

// FormatEPRT writes an address as EPRT has it, |1|address|port| for IPv4 and with
// 2 for IPv6, without a zone (RFC 2428, 2).
func FormatEPRT(a netip.AddrPort) string {
	addr, family := a.Addr().Unmap().WithZone(""), "2"
	if addr.Is4() {
		family = "1"
	}
	return "|" + family + "|" + addr.String() + "|" + strconv.Itoa(int(a.Port())) + "|"
}
