package firewall

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// A Range is ports from First to Last.
type Range struct{ First, Last uint16 }

func (r Range) String() string { return r.with("-") }

// with is the range with a mark between its ends, or the one port.
func (r Range) with(mark string) string {
	if r.First == r.Last {
		return strconv.Itoa(int(r.First))
	}
	return fmt.Sprintf("%d%s%d", r.First, mark, r.Last)
}

// A Listener is where clients connect.
type Listener struct {
	Protocol string // ftp (explicit TLS), ftps (implicit) or sftp
	Port     uint16
	Addrs    []netip.Addr // none: all addresses
}

// local tells whether only programs of this host reach it.
func (l Listener) local() bool {
	return len(l.Addrs) > 0 && !slices.ContainsFunc(l.Addrs, func(a netip.Addr) bool { return !a.Unmap().IsLoopback() })
}

// Ports are what a server needs of a firewall.
type Ports struct {
	Listeners []Listener
	Passive   []Range        // of data connections that clients open; for sftp alone they mean nothing
	Active    []uint16       // where data connections that the server opens come from, 0 for any port; none: there are no such
	From      []netip.Prefix // who may connect; none: everybody
	Public    string         // address or name by which clients reach the host; "" when it is its own
}

// reached are the listeners that others than this host reach.
func (p Ports) reached() []Listener {
	return slices.DeleteFunc(slices.Clone(p.Listeners), Listener.local)
}

// ftp tells whether there are data connections.
func (p Ports) ftp() bool {
	return slices.ContainsFunc(p.reached(), func(l Listener) bool { return l.Protocol != "sftp" })
}

// control are the ports of the listeners, sorted.
func (p Ports) control() []Range {
	var out []Range
	for _, l := range p.reached() {
		out = append(out, Range{l.Port, l.Port})
	}
	slices.SortFunc(out, compareRanges)
	return slices.Compact(out)
}

// passive are the passive ranges, sorted, without overlap.
func (p Ports) passive() []Range {
	if !p.ftp() {
		return nil
	}
	return union(p.Passive, 0)
}

// in are all ports that must be open, sorted, without overlap.
func (p Ports) in() []Range { return union(append(p.control(), p.passive()...), 0) }

// active are the source ports of active mode; any says that no port is kept for it.
func (p Ports) active() (from []Range, any bool) {
	if !p.ftp() {
		return nil, false
	}
	for _, port := range p.Active {
		if port == 0 {
			return nil, true
		}
		from = append(from, Range{port, port})
	}
	slices.SortFunc(from, compareRanges)
	return slices.Compact(from), false
}

// out tells whether active mode needs anything.
func (p Ports) out() bool { return p.ftp() && len(p.Active) > 0 }

// from are the networks of each family, masked; everybody says that there is no
// limit.
func (p Ports) from() (v4, v6 []netip.Prefix, everybody bool) {
	for _, n := range p.From {
		n = n.Masked()
		if n.Addr().Is4In6() {
			n = netip.PrefixFrom(n.Addr().Unmap(), max(n.Bits()-96, 0))
		}
		if n.Addr().Is4() {
			v4 = append(v4, n)
		} else {
			v6 = append(v6, n)
		}
	}
	order := func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
	}
	slices.SortFunc(v4, order)
	slices.SortFunc(v6, order)
	return slices.Compact(v4), slices.Compact(v6), len(p.From) == 0
}

// high are the ports to which a server connects in active mode: it refuses those
// below.
var high = Range{1024, 65535}

// union is what some ranges cover: those that overlap become one, and those with
// less than gap+1 between them (gap 1: neighbours).
func union(ranges []Range, gap int) []Range {
	ranges = slices.Clone(ranges)
	slices.SortFunc(ranges, compareRanges)
	var out []Range
	for _, r := range ranges {
		if n := len(out); n > 0 && int(r.First) <= int(out[n-1].Last)+gap {
			out[n-1].Last = max(out[n-1].Last, r.Last)
			continue
		}
		out = append(out, r)
	}
	return out
}

func compareRanges(a, b Range) int {
	return cmp.Or(cmp.Compare(a.First, b.First), cmp.Compare(a.Last, b.Last))
}

// meet tells whether two lists have a port in common.
func meet(a, b []Range) bool {
	return slices.ContainsFunc(a, func(x Range) bool {
		return slices.ContainsFunc(b, func(y Range) bool { return x.First <= y.Last && y.First <= x.Last })
	})
}

// list writes ranges with one mark between their ends and one between them.
func list(ranges []Range, within, between string) string {
	words := make([]string, len(ranges))
	for i, r := range ranges {
		words[i] = r.with(within)
	}
	return strings.Join(words, between)
}

// size is how many ports they are.
func size(ranges []Range) int {
	n := 0
	for _, r := range ranges {
		n += int(r.Last) - int(r.First) + 1
	}
	return n
}

// english is a list of ports in a sentence.
func english(ranges []Range) string {
	words := make([]string, len(ranges))
	for i, r := range ranges {
		words[i] = r.String()
	}
	if n := len(words); n > 1 {
		return strings.Join(words[:n-1], ", ") + " and " + words[n-1]
	}
	return strings.Join(words, "")
}

// ParseRange reads "A-B", or with another mark between, or a single port. No
// port is 0.
func ParseRange(s, mark string) (Range, bool) {
	a, b, two := strings.Cut(s, mark)
	if !two {
		b = a
	}
	first, err1 := strconv.ParseUint(strings.TrimSpace(a), 10, 16)
	last, err2 := strconv.ParseUint(strings.TrimSpace(b), 10, 16)
	if err1 != nil || err2 != nil || first == 0 || last < first {
		return Range{}, false
	}
	return Range{uint16(first), uint16(last)}, true
}

func prefixes(ps []netip.Prefix, between string) string {
	words := make([]string, len(ps))
	for i, p := range ps {
		words[i] = p.String()
	}
	return strings.Join(words, between)
}

// None tells whether nothing has to be open.
func (p Ports) None() bool { return len(p.reached()) == 0 }
