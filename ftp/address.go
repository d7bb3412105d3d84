package ftp

import (
	"net/netip"
	"strconv"
	"strings"
)

// number reads decimal digits and nothing else, leading zeros included. limit
// is the largest value.
func number(s string, limit int64) (int64, bool) {
	if s == "" {
		return 0, false
	}
	var n int64
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		d := int64(s[i] - '0')
		if n > (limit-d)/10 {
			return 0, false
		}
		n = n*10 + d
	}
	return n, true
}

func digits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// ParsePort reads the argument of PORT, h1,h2,h3,h4,p1,p2: six numbers of one to
// three digits up to 255, no signs, no blanks (RFC 959, 4.1.2). Which addresses
// and ports are allowed is for the caller to say.
func ParsePort(arg string) (netip.AddrPort, error) {
	var b [6]byte
	rest := arg
	for i := range b {
		field, after, found := strings.Cut(rest, ",")
		n, ok := number(field, 255)
		if !ok || len(field) > 3 || found != (i < 5) {
			return netip.AddrPort{}, ErrSyntax
		}
		b[i], rest = byte(n), after
	}
	addr := netip.AddrFrom4([4]byte(b[:4]))
	return netip.AddrPortFrom(addr, uint16(b[4])<<8|uint16(b[5])), nil
}

// ParseEPRT reads the argument of EPRT, |family|address|port|, with any
// delimiter from 33 to 126 (RFC 2428, 2). ErrFamily is a family that is neither
// 1 nor 2; an address of the other family than it says, and one with a zone, is
// ErrSyntax. An IPv4 address in IPv6 form is returned as IPv4.
func ParseEPRT(arg string) (netip.AddrPort, error) {
	if arg == "" || arg[0] < 33 || arg[0] > 126 {
		return netip.AddrPort{}, ErrSyntax
	}
	parts := strings.SplitN(arg, arg[:1], 6)
	if len(parts) != 5 || parts[4] != "" || !digits(parts[1]) {
		return netip.AddrPort{}, ErrSyntax
	}
	family, _ := number(parts[1], 255)
	if family != 1 && family != 2 {
		return netip.AddrPort{}, ErrFamily
	}
	addr, err := netip.ParseAddr(parts[2])
	if err != nil || addr.Zone() != "" || addr.Is4() != (family == 1) {
		return netip.AddrPort{}, ErrSyntax
	}
	port, ok := number(parts[3], 65535)
	if !ok || len(parts[3]) > 5 {
		return netip.AddrPort{}, ErrSyntax
	}
	return netip.AddrPortFrom(addr.Unmap(), uint16(port)), nil
}

// An EPSV is what the argument of EPSV asks for.
type EPSV int

// EPSVAny asks for the family of the control connection. EPSVAll announces that
// no other set-up command will come (RFC 2428, 4). EPSVNext is dray's own: one more
// port, for the transfer behind those that have one.
const (
	EPSVAny EPSV = iota
	EPSV4
	EPSV6
	EPSVAll
	EPSVNext
)

// ParseEPSV reads the argument of EPSV: none, 1, 2, ALL or NEXT in any case. ErrFamily
// is any other number.
func ParseEPSV(arg string) (EPSV, error) {
	switch {
	case arg == "":
		return EPSVAny, nil
	case strings.EqualFold(arg, "ALL"):
		return EPSVAll, nil
	case strings.EqualFold(arg, "NEXT"):
		return EPSVNext, nil
	case !digits(arg):
		return EPSVAny, ErrSyntax
	}
	switch n, _ := number(arg, 255); n {
	case 1:
		return EPSV4, nil
	case 2:
		return EPSV6, nil
	}
	return EPSVAny, ErrFamily
}

// FormatPASV writes an address as 227 has it, "(h1,h2,h3,h4,p1,p2)". An address
// that is not IPv4 is written as 0,0,0,0: no client can take it for another host.
func FormatPASV(a netip.AddrPort) string {
	var h [4]byte
	if addr := a.Addr().Unmap(); addr.Is4() {
		h = addr.As4()
	}
	b := make([]byte, 0, len("(255,255,255,255,255,255)"))
	b = append(b, '(')
	for _, n := range h {
		b = append(strconv.AppendUint(b, uint64(n), 10), ',')
	}
	b = append(strconv.AppendUint(b, uint64(a.Port()>>8), 10), ',')
	b = strconv.AppendUint(b, uint64(a.Port()&0xff), 10)
	return string(append(b, ')'))
}

// FormatEPSV writes a port as 229 has it, "(|||port|)" (RFC 2428, 3).
func FormatEPSV(port uint16) string {
	return "(|||" + strconv.Itoa(int(port)) + "|)"
}
