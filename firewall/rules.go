package firewall

import "slices"

// What nft and iptables have in common: a chain is read rule by rule, and only as
// far as it is asked what happens to a new connection that a server needs.

// A traffic is the new connections that a server needs in one direction.
type traffic struct {
	out          bool
	sport, dport []Range // none: any
	state        string  // as connection tracking has it; see the names below
	answers      bool    // not the first packets, but those that come back
}

// States of connection tracking. Before it has seen a packet, and that is in front of
// the priority tracks, each is invalid.
const (
	stateNew       = "new"
	stateOld       = "established"
	stateInvalid   = "invalid"
	stateUntracked = "untracked"

	tracks = -200
)

func (p Ports) incoming() traffic { return traffic{dport: p.in(), state: stateNew} }

// outgoing is what active mode opens.
func (p Ports) outgoing() traffic {
	sport, _ := p.active()
	return traffic{out: true, sport: sport, dport: []Range{high}, state: stateNew}
}

// back are the answers that active mode gets; no ports: it is off.
func (p Ports) back() traffic {
	if !p.out() {
		return traffic{}
	}
	ports, any := p.active()
	if any {
		ports = []Range{high}
	}
	return traffic{dport: ports, state: stateOld, answers: true}
}

// early is a traffic as chains meet it that come before those of input; prio is theirs.
func (w traffic) early(prio int) traffic {
	if prio <= tracks {
		w.state = stateInvalid
	}
	return w
}

// begins tells what a condition on flags is true for: first packets, when they are those
// that it names.
func (w traffic) begins(flags []string) bool {
	return slices.Equal(flags, []string{"syn"}) && !w.answers
}

// A fate is what a rule does to such connections.
type fate int

const (
	passes    fate = iota
	bans           // some of them end here: those of some peers, or too many at once
	restricts      // those of all peers but some end here
	blocks         // they end here
)

// place finds where in a chain an accept belongs: the count of rules before it. It
// is before whatever blocks, and behind what is about peers: that goes on to hold. blocked
// says that a rule blocks.
func place(fates []fate) (at int, blocked bool) {
	for i, f := range fates {
		switch f {
		case blocks:
			return at, true
		case bans, restricts:
			at = i + 1
		}
	}
	return at, false
}

// A gate says how much of a chain's blocks is one, after what has left the chain before
// them by a return: all blocks are, until some packets or some peers have.
type gate fate

func (g *gate) leave(about fate, peers bool) {
	switch {
	case about != bans: // of all packets, or of none that matter
	case peers:
		*g = min(*g, gate(restricts))
	default:
		*g = gate(bans)
	}
}

// restricted are the rules before the place of an accept that let some peers alone go on.
func restricted(fates []fate) (rules []int) {
	at, _ := place(fates)
	for i, f := range fates[:at] {
		if f == restricts {
			rules = append(rules, i)
		}
	}
	return rules
}

// sayRestricted tells of rules that let some peers alone go on.
func (p *Plan) sayRestricted(where string, rules []string) {
	if len(rules) > 0 {
		p.say("%s lets some peers alone go on. This is left as it is, and dray's rules come behind it; to let in others, change it:", where)
		p.tell(rules)
	}
}

// sayPassed tells of rules that turn some peers away, but too late.
func (p *Plan) sayPassed(where string, rules []string) {
	if len(rules) > 0 {
		p.say("WARNING. %s turns some peers away only behind what drops the ports for all. dray's rules come before both, so these peers get in as well; to keep them out, move this to the head of the chain:", where)
		p.tell(rules)
	}
}

// tell adds lines to what was found.
func (p *Plan) tell(lines []string) {
	for _, line := range lines {
		p.say("\t%s", line)
	}
}
