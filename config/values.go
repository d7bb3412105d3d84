package config

import (
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// A Size is a number of bytes, not negative. As text it has a unit of 1024:
// "500M", "10G"; a bare number is bytes.
type Size int64

const sizeUnits = "KMGTP"

// ParseSize reads digits and at most one of the letters K, M, G, T and P, behind
// which a B changes nothing.
func ParseSize(s string) (Size, error) {
	digits, shift := s, 0
	if n := len(s); n > 1 && s[n-1]&^0x20 == 'B' && strings.IndexByte(sizeUnits, s[n-2]&^0x20) >= 0 {
		digits = s[:n-1]
	}
	if n := len(digits); n > 0 {
		if i := strings.IndexByte(sizeUnits, digits[n-1]&^0x20); i >= 0 {
			digits, shift = digits[:n-1], 10*(i+1)
		}
	}
	if digits == "" || strings.Trim(digits, "0123456789") != "" {
		return 0, fmt.Errorf("%q is no size", s)
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n > math.MaxInt64>>shift {
		return 0, fmt.Errorf("%q is more than any disk holds", s)
	}
	return Size(n << shift), nil
}

// String is the text with the largest unit that leaves no rest.
func (s Size) String() string {
	unit := -1
	for unit+1 < len(sizeUnits) && s != 0 && s%1024 == 0 {
		s /= 1024
		unit++
	}
	if unit < 0 {
		return strconv.FormatInt(int64(s), 10)
	}
	return strconv.FormatInt(int64(s), 10) + sizeUnits[unit:unit+1]
}

// A Date is a day, as 2027-06-30, in the time zone of the machine.
type Date struct{ time.Time }

// ParseDate reads a day as 2027-06-30, from 1970 on.
func ParseDate(s string) (Date, error) {
	t, err := time.ParseInLocation(time.DateOnly, s, time.Local)
	if err != nil || t.Year() < 1970 { // before that somebody has mistyped it
		return Date{}, fmt.Errorf("%q is no day", s)
	}
	return Date{t}, nil
}

// String is the day as 2027-06-30, "" for the zero Date.
func (d Date) String() string {
	if d.IsZero() {
		return ""
	}
	return d.Format(time.DateOnly)
}

// DaysLeft counts the days from now to the last one of e: 0 on the last day,
// negative once it is over.
func (e Exception) DaysLeft(now time.Time) int {
	day := func(t time.Time) int64 { // in UTC no day is longer than another
		y, m, d := t.Date()
		return time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix() / 86400
	}
	return int(day(e.Until.Time) - day(now.In(e.Until.Location())))
}

// formatDuration is d.String without minutes and seconds that are zero.
func formatDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// parseNetwork reads a network in its shortest form, or an address, which is a
// network of one.
func parseNetwork(s string) (netip.Prefix, *flaw) {
	form := `write a network such as "192.0.2.0/24" or "2001:db8::/32", or one address`
	p, err := netip.ParsePrefix(s)
	if err != nil {
		a, err := netip.ParseAddr(s)
		if err != nil || a.Zone() != "" {
			return netip.Prefix{}, &flaw{"is no network", form}
		}
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	if p.Addr().Is4In6() { // peers are compared in their short form
		if p.Bits() < 96 {
			return netip.Prefix{}, &flaw{"is no network of IPv4 addresses", form}
		}
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	if m := p.Masked(); m != p {
		return netip.Prefix{}, &flaw{"is an address in a network", fmt.Sprintf("write %q, or the address alone", m)}
	}
	return p, nil
}
