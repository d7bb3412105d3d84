package firewall

// What nft and iptables have in common: a chain is read rule by rule, and only as
// far as it is asked what happens to a new connection that a server needs.

// A traffic is the new connections that a server needs in one direction.
type traffic struct {
	out          bool
	sport, dport []Range // none: any
}

func (p Ports) incoming() traffic { return traffic{dport: p.in()} }

// outgoing is what active mode opens.
func (p Ports) outgoing() traffic {
	sport, _ := p.active()
	return traffic{out: true, sport: sport, dport: []Range{high}}
}

// A fate is what a rule does to such connections.
type fate int

const (
	passes fate = iota
	bans        // some of them end here: those of some peers, or too many at once
	blocks      // they end here
)

// place finds where in a chain an accept belongs: the count of rules before it. It
// is before whatever blocks, and behind bans: those go on to hold. blocked says
// that a rule blocks.
func place(fates []fate) (at int, blocked bool) {
	for i, f := range fates {
		switch f {
		case blocks:
			return at, true
		case bans:
			at = i + 1
		}
	}
	return at, false
}
