package firewall

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Passages are what becomes of the packets of a server's connections over IPv4 or over
// IPv6, as far as the rules of this host decide.
type Passages struct {
	In      Passage // new connections to the ports of listeners and of passive mode
	Answers Passage // what these ports send back
	Active  Passage // new connections from the ports of active mode, by these; without such ports it is empty
}

// A Passage is one of them. The lists are sorted and have no port in common.
type Passage struct {
	Open []Range
	Some []Range // some peers get there, or so many at once
	Shut []Range // nobody does
	By   string  // the first chain that shuts
}

// A wall is a chain that each connection of one direction has to pass.
type wall struct {
	name    string
	four    bool // it sees IPv4
	six     bool
	devices []string // it sees what comes by them; none: by all
	stage   int      // 0 at the ingress, 1 before it is known that packets are for this host, 2 behind it, 3 on the way out
	prio    int      // at its stage
	policy  outcome
	judge   func(p *packet) (outcome, tally)
}

// A tally is what became of some peers on the way to an outcome, which is about the others.
type tally struct {
	some bool // some were let in
	most bool // all but some were dropped
	away bool // some left the chain by a return
}

// A packet is one that begins a connection, or that answers.
type packet struct {
	own, peer Range // ports of this host and of the peer; of several any may be meant
	six       bool
	out       bool
	iface     string // by which it comes or goes; "": not known
	known     string // what connection tracking makes of it
	state     string // the same as the next rule has it
}

// begins tells whether a packet opens a connection.
func (p packet) begins() bool { return p.known == stateNew }

// An outcome is what a chain does to a packet.
type outcome int

const (
	undecided outcome = iota
	accepted
	partly // for some peers the one, for others the other
	dropped
)

// PassagesOf tells what becomes of the connections of a server over IPv4 and IPv6. The
// firewalls of Linux alone can be asked, which all of them are made of: nftables, and
// iptables of both kinds. An error says that they did not answer, as for others than root.
func PassagesOf(h *Host, p Ports) (four, six Passages, err error) {
	walls, cuts, err := h.walls()
	if err != nil {
		return four, six, err
	}
	from, any := p.active()
	if any && p.out() {
		from = []Range{high}
	}
	for _, v6 := range []bool{false, true} {
		all, ways := &four, h.ways(v6)
		if v6 {
			all = &six
		}
		for _, r := range pieces(p.in(), cuts) {
			own := Range{r.First, r.First} // the others of r are treated alike
			all.In.add(r, walls, ways, packet{own: own, peer: high, six: v6, known: stateNew})
			all.Answers.add(r, walls, ways, packet{own: own, peer: high, six: v6, out: true, known: stateOld})
		}
		for _, r := range from {
			all.Active.add(r, walls, ways, packet{own: r, peer: high, six: v6, out: true, known: stateNew})
		}
	}
	return four, six, nil
}

// ways are the interfaces that lead to clients over IPv4 or IPv6: those of networks
// between hosts where there are some. One without a name stands for any.
func (h *Host) ways(six bool) []string {
	var all []Interface
	if h.Interfaces != nil {
		all = h.Interfaces()
	}
	for _, fits := range []func(Interface) bool{
		func(i Interface) bool { return !virtual(i.Name) && (six && i.Six || !six && i.Four) },
		func(i Interface) bool { return !virtual(i.Name) },
		func(Interface) bool { return true },
	} {
		var names []string
		for _, i := range all {
			if fits(i) {
				names = append(names, i.Name)
			}
		}
		if len(names) > 0 {
			return names
		}
	}
	return []string{""}
}

// add puts ports that all rules treat alike into the list where they belong. Where some
// ways lead through all walls and others do not, some peers get in.
func (p *Passage) add(r Range, walls []wall, ways []string, one packet) {
	best, worst, by := dropped, accepted, ""
	for _, way := range ways {
		one.iface = way
		o, name := through(walls, one)
		best, worst = min(best, o), max(worst, o)
		if by == "" {
			by = name
		}
	}
	if best < worst {
		worst = partly
	}
	if worst == dropped && p.By == "" {
		p.By = by
	}
	to := map[outcome]*[]Range{accepted: &p.Open, partly: &p.Some, dropped: &p.Shut}[worst]
	*to = union(append(*to, r), 1)
}

// through is what becomes of a packet behind all walls of its direction, and the first
// that drops it.
func through(walls []wall, p packet) (worst outcome, by string) {
	worst = accepted
	p.state = stateInvalid
	for _, w := range walls {
		if w.out() != p.out || p.six && !w.six || !p.six && !w.four || len(w.devices) > 0 && p.iface != "" && !slices.Contains(w.devices, p.iface) {
			continue
		}
		if p.state == stateInvalid && (w.stage == 2 || w.stage != 0 && w.prio > tracks) {
			p.state = p.known
		}
		o, t := w.judge(&p)
		if o == undecided {
			o = w.policy
		}
		if o == dropped && t.some || o == accepted && t.most {
			o = partly
		}
		if o == dropped && by == "" {
			by = w.name
		}
		worst = max(worst, o)
	}
	return worst, by
}

func (w wall) out() bool { return w.stage == slices.Index(hooks, "output") }

// pieces cuts ranges so that no port of cuts is inside of one.
func pieces(ranges []Range, cuts []uint16) []Range {
	slices.Sort(cuts)
	var out []Range
	for _, r := range ranges {
		for _, c := range slices.Compact(cuts) {
			if c > r.First && c <= r.Last {
				out = append(out, Range{r.First, c - 1})
				r.First = c
			}
		}
		out = append(out, r)
	}
	return out
}

// walls are the chains of nftables and of iptables, and the ports at which their rules
// begin to say something else.
func (h *Host) walls() (walls []wall, cuts []uint16, err error) {
	old := false
	rs, out, nftErr := h.ruleset()
	if nftErr == nil {
		sets, numbers := parseSets(out)
		cuts = append(cuts, numbers...)
		for _, c := range slices.Concat(rs.base("ingress"), rs.base("prerouting"), rs.base("input"), rs.base("output")) {
			if c.ofIPTables() {
				old = true
				continue
			}
			w := wall{name: "the chain " + c.String() + " of nftables", four: c.family != "ip6", six: c.family != "ip", devices: c.devices,
				stage: slices.Index(hooks, c.hook), prio: c.prio, policy: accepted}
			if c.policy == "drop" {
				w.policy = dropped
			}
			w.judge = func(p *packet) (outcome, tally) {
				j := &judge{rs: rs, sets: sets, packet: p}
				o, _ := j.chain(c, 0)
				return o, j.tally
			}
			walls = append(walls, w)
		}
	}
	old = old || h.legacy()
	if !old && nftErr == nil {
		return inOrder(walls), cuts, nil
	}
	asked := false
	var failed error
	for _, t := range h.tables() {
		tables, err := h.filters(t)
		if err != nil {
			failed = fmt.Errorf("%s: %s", t.program, reason(err))
			continue
		}
		asked = true
		for _, s := range stops {
			f, ok := tables[s.table]
			if !ok {
				continue
			}
			for _, rules := range f.chains {
				for _, rule := range rules {
					for word := range strings.SplitSeq(strings.Join(rule, ","), ",") {
						if r, ok := portsOf(word); ok {
							cuts = append(cuts, r.First, r.Last+1)
						}
					}
				}
			}
			w := wall{name: s.of(t), four: !t.v6, six: t.v6, stage: 2, prio: s.prio, policy: accepted}
			switch {
			case s.early():
				w.stage = slices.Index(hooks, "prerouting")
			case s.out():
				w.stage = slices.Index(hooks, "output")
			}
			if f.policy[s.chain] == "DROP" {
				w.policy = dropped
			}
			w.judge = func(p *packet) (o outcome, t tally) {
				o = f.judge(s.chain, p, 0, &t)
				return o, t
			}
			walls = append(walls, w)
		}
	}
	switch {
	case nftErr != nil && !asked:
		return nil, nil, fmt.Errorf("nft: %s; %w", reason(nftErr), failed)
	case old && !asked:
		return nil, nil, failed
	}
	return inOrder(walls), cuts, nil
}

// inOrder are walls as packets meet them.
func inOrder(walls []wall) []wall {
	slices.SortStableFunc(walls, func(a, b wall) int { return cmp.Or(a.stage-b.stage, a.prio-b.prio) })
	return walls
}

// deepest is how many chains one inside another are followed; the kernel has a limit
// of 16.
const deepest = 20

// A judge follows one packet through a ruleset of nft.
type judge struct {
	rs   *ruleset
	sets map[string][]Range // ports, by "family table name"
	*packet
	tally
}

// parseSets reads the sets with names that have ports in them, and every number of the
// document that may be a port, with the one behind it.
func parseSets(text string) (sets map[string][]Range, cuts []uint16) {
	sets = map[string][]Range{}
	var doc struct {
		Nftables []struct {
			Set *struct {
				Family, Table, Name string
				Elem                []any
			}
			Map  *struct{ Elem any }
			Rule *struct{ Expr any }
		}
	}
	if json.Unmarshal([]byte(text), &doc) != nil {
		return sets, nil // parseRuleset says so
	}
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case float64:
			if v > 0 && v <= 65535 {
				cuts = append(cuts, uint16(v), uint16(v)+1)
			}
		case []any:
			for _, e := range v {
				walk(e)
			}
		case map[string]any:
			for _, e := range v {
				walk(e)
			}
		}
	}
	for _, o := range doc.Nftables {
		switch {
		case o.Set != nil:
			sets[o.Set.Family+" "+o.Set.Table+" "+o.Set.Name] = numbers(o.Set.Elem)
			walk(o.Set.Elem)
		case o.Map != nil:
			walk(o.Map.Elem)
		case o.Rule != nil:
			walk(o.Rule.Expr)
		}
	}
	slices.Sort(cuts)
	return sets, slices.Compact(cuts)
}

// chain is what a chain does; ended says that a chain which jumped here ends too.
func (j *judge) chain(c *chain, depth int) (o outcome, ended bool) {
	if depth > deepest {
		return undecided, false
	}
	defer j.enter()(&o)
	for _, r := range c.rules {
		if o, left := j.rule(c, r.expr, depth); o != undecided || left {
			return o, left
		}
	}
	return undecided, false
}

// enter begins a chain. Where it drops and some have left it, these go on: the outcome is
// not decided by it.
func (t *tally) enter() (leave func(o *outcome)) {
	before := t.away
	t.away = false
	return func(o *outcome) {
		if *o == dropped && t.away {
			*o, t.most = undecided, true
		}
		t.away = before
	}
}

// rule is what a rule does; left says that its chain ends with it.
func (j *judge) rule(c *chain, expr []map[string]any, depth int) (o outcome, left bool) {
	m := always
	for _, statement := range expr {
		for kind, value := range statement {
			v, _ := value.(map[string]any)
			switch kind {
			case "match":
				m = max(m, j.match(c, v["left"], fmt.Sprint(v["op"]), v["right"]))
				if m == never {
					return undecided, false
				}
			case "limit", "ct count", "quota", "meter", "xt":
				m = max(m, sometimes)
			case "notrack":
				if m == always {
					j.state = stateUntracked
				}
			case "accept":
				return j.decide(m, accepted), false
			case "drop", "reject":
				return j.decide(m, dropped), false
			case "return":
				j.away = j.away || m == sometimes
				return undecided, m <= mostly
			case "jump", "goto":
				name, _ := v["target"].(string)
				to := j.rs.chain(c.family, c.table, name)
				if to == nil {
					continue
				}
				sub, _ := j.chain(to, depth+1)
				if o := j.decide(m, sub); o != undecided {
					return o, false
				}
				if kind == "goto" && m <= mostly {
					return undecided, true
				}
			case "vmap":
				for _, one := range j.rs.verdicts(c, v) {
					o, left := j.rule(c, one, depth)
					if o = j.decide(m, o); o != undecided || left && m <= mostly {
						return o, left
					}
				}
			}
		}
	}
	return undecided, false
}

// decide is what a verdict comes to under a condition that is true so far. Where some
// are dropped, those are bans and none of ours.
func (t *tally) decide(m match, o outcome) outcome {
	switch {
	case o == undecided:
		return undecided
	case m == sometimes:
		t.some = t.some || o == accepted
		return undecided
	case m == mostly && o == dropped:
		t.most = true
		return undecided
	}
	return o
}

// match is how far a condition is true. Unlike matchOf, which looks for what blocks, it
// takes none for true that it doesn't know.
func (j *judge) match(c *chain, left any, op string, right any) match {
	is := func(true bool) match {
		if true != (op == "!=") {
			return always
		}
		return never
	}
	if m, ok := left.(map[string]any); ok && m["&"] != nil {
		return is(slices.Equal(texts(right), []string{"syn"}) == j.begins())
	}
	protocol, name, _ := strings.Cut(field(left), " ")
	meta := key(left, "meta")
	switch {
	case meta == "nfproto":
		return is(slices.Contains(texts(right), map[bool]string{false: "ipv4", true: "ipv6"}[j.six]))
	case meta == "protocol" || field(left) == "ether type":
		return is(slices.Contains(texts(right), map[bool]string{false: "ip", true: "ip6"}[j.six]))
	case protocol == "ip" && j.six, protocol == "ip6" && !j.six:
		return never
	case meta == "iifname" || meta == "iif" || meta == "oifname" || meta == "oif":
		if (meta[0] == 'o') != j.out {
			return is(false)
		}
		return j.uses(texts(right), "*", op == "!=")
	case meta == "l4proto", field(left) == "ip protocol", field(left) == "ip6 nexthdr", key(left, "ct") == "state":
		return matchOf(left, op, right, traffic{state: j.state})
	case key(left, "ct") == "status":
		return never // of the kind of dnat: not of a connection to this host
	case protocol == "udp" || protocol == "icmp" || protocol == "icmpv6" || protocol == "sctp" || protocol == "udplite":
		return never
	case (protocol == "tcp" || protocol == "th") && (name == "dport" || name == "sport"):
		ports := numbers(right)
		if named(right) {
			s, _ := right.(string)
			known, ok := j.sets[c.family+" "+c.table+" "+strings.TrimPrefix(s, "@")]
			if !ok {
				return sometimes
			}
			ports = known
		}
		return j.port(name == "sport", op, ports)
	case name == "flags":
		return is(slices.Equal(texts(right), []string{"syn"}) == j.begins())
	case op == "!=" && (name == "saddr" && !j.out || name == "daddr" && j.out):
		return mostly
	case kindOf(left) == "fib" && slices.Equal(texts(right), []string{"local"}) && !j.out:
		return is(true)
	}
	return sometimes
}

// port tells whether the port that a packet comes from, or goes to, is one of some, or
// is less or more than one.
func (p packet) port(from bool, op string, ports []Range) match {
	if len(ports) == 1 && ports[0].First == ports[0].Last {
		n := ports[0].First
		switch {
		case op == "<" && n == 0, op == ">" && n == 65535:
			return never
		case op == "<":
			ports = []Range{{0, n - 1}}
		case op == "<=":
			ports = []Range{{0, n}}
		case op == ">":
			ports = []Range{{n + 1, 65535}}
		case op == ">=":
			ports = []Range{{n, 65535}}
		}
	} else if op != "==" && op != "in" && op != "!=" {
		return sometimes
	}
	m := sometimes
	ours := p.peer
	if from == p.out {
		ours = p.own
	}
	var both []Range
	for _, r := range union(ports, 1) {
		if r.First <= ours.Last && ours.First <= r.Last {
			both = append(both, Range{max(r.First, ours.First), min(r.Last, ours.Last)})
		}
	}
	switch n, all := size(both), size([]Range{ours}); {
	case n == all, n > all-1000 && all > 1000: // of many, a few are not meant
		m = always
	case n == 0, n < 1000 && all > 1000:
		m = never
	}
	switch {
	case op != "!=" || m == sometimes:
		return m
	case m == never:
		return always
	}
	return never
}

// uses tells whether a packet comes or goes by one of the interfaces that a rule names, or
// by none of them; behind any is how a name may go on. Those between this host and its
// own machines bring some packets too.
func (p packet) uses(names []string, any string, not bool) match {
	m := never
	if not {
		m = always
	}
	for _, name := range names {
		begin, open := strings.CutSuffix(name, any)
		switch {
		case p.iface != "" && (name == p.iface || open && strings.HasPrefix(p.iface, begin)):
			if not {
				return never
			}
			return always
		case p.iface == "" && name != "lo" && !virtual(name), !not && virtual(name):
			m = sometimes
		}
	}
	return m
}

// virtual tells whether an interface is one between this host and its own machines, or
// of a network over others.
func virtual(name string) bool {
	return slices.ContainsFunc([]string{"docker", "br-", "virbr", "veth", "vnet", "lxc", "lxd", "cni", "podman", "wg", "tun", "tap", "tailscale", "zt", "nebula", "flannel", "cali", "cilium", "kube", "incus", "vxlan", "dummy"},
		func(begin string) bool { return strings.HasPrefix(name, begin) })
}

// judge follows one packet through a chain of iptables.
func (f filter) judge(chain string, p *packet, depth int, t *tally) (o outcome) {
	defer t.enter()(&o)
	for _, rule := range f.chains[chain] {
		m := matchWords(rule, p)
		if m == never || depth > deepest {
			continue
		}
		if m == always && untracks(rule) {
			p.state = stateUntracked
		}
		o := undecided
		switch target := option(rule, "-j", "-g"); target {
		case "ACCEPT":
			o = accepted
		case "DROP", "REJECT", "TARPIT":
			o = dropped
		case "RETURN":
			if m <= mostly {
				return undecided
			}
			t.away = true
		default:
			o = f.judge(target, p, depth+1, t)
			if o == undecided && m <= mostly && slices.Contains(rule, "-g") {
				return undecided
			}
		}
		if o = t.decide(m, o); o != undecided {
			return o
		}
	}
	return undecided
}

// matchWords is how far a rule of iptables is about a packet. What it doesn't know is
// true for some.
func matchWords(rule []string, p *packet) match {
	m := always
	for i := 0; i < len(rule); i++ {
		word, not := rule[i], i > 0 && rule[i-1] == "!"
		value := ""
		if i+1 < len(rule) {
			value = rule[i+1]
		}
		is := func(true bool) match {
			if true != not {
				return always
			}
			return never
		}
		one := always
		switch word {
		case "-p":
			one = is(value == "tcp" || value == "all")
		case "-i", "-o":
			one = is(false)
			if (word == "-o") == p.out {
				one = p.uses([]string{value}, "+", not)
			}
		case "-s", "-d":
			one = sometimes
			if (word == "-d") == p.out {
				one = ofPeers(rule, word)
			}
		case "--match-set", "--src-range", "--source-country", "--src-cc":
			one = ofPeers(rule, map[bool]string{false: "-s", true: "-d"}[p.out])
		case "--dport", "--dports", "--destination-port", "--sport", "--sports", "--source-port":
			var ports []Range
			for w := range strings.SplitSeq(value, ",") {
				if r, ok := portsOf(w); ok {
					ports = append(ports, r)
				}
			}
			one = p.port(strings.HasPrefix(word, "--s"), map[bool]string{false: "==", true: "!="}[not], ports)
		case "--ports", "--dst-range", "--dst-cc":
			one = sometimes
		case "--ctstate", "--state":
			one = is(slices.Contains(strings.Split(value, ","), strings.ToUpper(p.state)))
		case "--tcp-flags":
			one = never
			if i+2 < len(rule) && strings.Contains(value, "SYN") && rule[i+2] == "SYN" {
				one = is(p.begins())
			}
		case "-f":
			one = is(false)
		case "--dst-type":
			one = is(value == "LOCAL" && !p.out)
		case "-m":
			if !slices.Contains([]string{"tcp", "conntrack", "state", "comment", "multiport", "addrtype", "set", "iprange", "geoip"}, value) {
				one = sometimes
			}
		}
		m = max(m, one)
	}
	return m
}
