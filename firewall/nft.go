package firewall

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strings"
)

// mark is the comment by which our rules are known.
const mark = "dray"

// A ruleset is what "nft -j list ruleset" says, as far as it matters here
// (libnftables-json(5)).
type ruleset struct {
	chains []*chain
	maps   map[string][]any // the elements of maps with names, by "family table name"
}

type chain struct {
	family, table, name string
	hook, policy        string // of base chains
	prio                int
	devices             []string // of those with hook ingress; none: not known
	rules               []nftRule
}

type nftRule struct {
	handle  int64
	comment string
	expr    []map[string]any
}

func (c *chain) String() string { return c.family + " " + c.table + " " + c.name }

// words are the chain as arguments of nft.
func (c *chain) words() []string { return []string{c.family, c.table, c.name} }

// early tells whether a chain comes before those with hook input.
func (c *chain) early() bool { return c.hook == "ingress" || c.hook == "prerouting" }

// A name of nft that needs no quotation.
var nftName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_./\\-]*$`)

// parseRuleset reads the JSON of nft. Objects that it doesn't know are left out,
// and chains whose names nft itself would not read.
func parseRuleset(text string) (*ruleset, error) {
	var doc struct {
		Nftables []struct {
			Chain *struct {
				Family, Table, Name, Hook, Policy string
				Prio, Dev                         any
			}
			Map *struct {
				Family, Table, Name string
				Elem                []any
			}
			Rule *struct {
				Family, Table, Chain, Comment string
				Handle                        int64
				Expr                          []map[string]any
			}
		}
	}
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		return nil, fmt.Errorf("what nft says can't be read: %w", err)
	}
	rs := &ruleset{maps: map[string][]any{}}
	for _, o := range doc.Nftables {
		switch {
		case o.Chain != nil:
			c := &chain{family: o.Chain.Family, table: o.Chain.Table, name: o.Chain.Name, hook: o.Chain.Hook, policy: o.Chain.Policy}
			if prio, ok := o.Chain.Prio.(float64); ok {
				c.prio = int(prio)
			}
			c.devices = texts(o.Chain.Dev)
			if nftName.MatchString(c.table) && nftName.MatchString(c.name) && slices.Contains([]string{"ip", "ip6", "inet", "netdev"}, c.family) {
				rs.chains = append(rs.chains, c)
			}
		case o.Map != nil:
			rs.maps[o.Map.Family+" "+o.Map.Table+" "+o.Map.Name] = o.Map.Elem
		case o.Rule != nil:
			if c := rs.chain(o.Rule.Family, o.Rule.Table, o.Rule.Chain); c != nil && o.Rule.Handle > 0 {
				c.rules = append(c.rules, nftRule{o.Rule.Handle, o.Rule.Comment, o.Rule.Expr})
			}
		}
	}
	return rs, nil
}

func (rs *ruleset) chain(family, table, name string) *chain {
	for _, c := range rs.chains {
		if c.family == family && c.table == table && c.name == name {
			return c
		}
	}
	return nil
}

// base are the base chains of a hook, in the order in which packets meet them.
func (rs *ruleset) base(hook string) []*chain {
	var out []*chain
	for _, c := range rs.chains {
		if c.hook == hook {
			out = append(out, c)
		}
	}
	slices.SortStableFunc(out, func(a, b *chain) int { return a.prio - b.prio })
	return out
}

// hooks are those that the connections of a server pass.
var hooks = []string{"ingress", "prerouting", "input", "output"}

// meets is what of a server a base chain meets.
func (p Ports) meets(c *chain) traffic {
	switch {
	case c.hook == "output":
		return p.outgoing()
	case c.hook == "ingress":
		return p.incoming().early(tracks)
	case c.hook == "prerouting":
		return p.incoming().early(c.prio)
	}
	return p.incoming()
}

// filters tells whether a base chain drops what a server needs, and in fates what each
// rule of it does.
func (rs *ruleset) filters(c *chain, p Ports) (fates []fate, yes bool) {
	fates = rs.fates(c, p.meets(c))
	_, blocked := place(fates)
	return fates, blocked || c.policy == "drop"
}

// A ruleOf is a rule with its chain.
type ruleOf struct {
	*chain
	nftRule
}

// passed are the rules about some peers, of a chain and those that it goes to, which an
// accept before the rule number at goes round. closed says that nothing gets behind the
// chain.
func (rs *ruleset) passed(c *chain, at int, w traffic, seen map[*chain]bool) (rules []ruleOf, closed bool) {
	seen[c] = true
	fates := rs.fates(c, w)
	for i := at; i < len(fates); i++ {
		r := c.rules[i]
		switch fates[i] {
		case bans, restricts:
			rules = append(rules, ruleOf{c, r})
		case blocks:
			conditions, targets := rs.parts(c, r.expr)
			closed = !conditions
			for _, to := range targets {
				if seen[to] {
					closed = false
					continue
				}
				inside, all := rs.passed(to, 0, w, seen)
				rules, closed = append(rules, inside...), closed && all
			}
			if closed {
				return rules, true
			}
		}
	}
	return rules, false
}

// parts are whether a rule is about some packets only, and the chains that it goes to.
func (rs *ruleset) parts(c *chain, expr []map[string]any) (conditions bool, targets []*chain) {
	for _, statement := range expr {
		for kind, value := range statement {
			v, _ := value.(map[string]any)
			switch kind {
			case "jump", "goto":
				name, _ := v["target"].(string)
				if to := rs.chain(c.family, c.table, name); to != nil {
					targets = append(targets, to)
				}
			case "vmap":
				conditions = true
				for _, one := range rs.verdicts(c, v) {
					_, to := rs.parts(c, one)
					targets = append(targets, to...)
				}
			case "counter", "log", "drop", "reject":
			default:
				conditions = true
			}
		}
	}
	return conditions, targets
}

// ruleText is a rule as nft writes it.
func (h *Host) ruleText(r ruleOf) string {
	if text, err := h.Run("nft", append([]string{"-a", "list", "chain"}, r.words()...)...); err == nil {
		for line := range strings.Lines(text) {
			rule, handle, _ := strings.Cut(strings.TrimSpace(line), " # handle ")
			if handle == fmt.Sprint(r.handle) && printable(rule) && !strings.HasSuffix(rule, "{") {
				return rule
			}
		}
	}
	return fmt.Sprintf("the rule with the handle %d of %v", r.handle, r.chain)
}

// untracks tells whether a rule takes packets from connection tracking.
func (rs *ruleset) untracks() bool {
	return slices.ContainsFunc(rs.chains, func(c *chain) bool {
		return slices.ContainsFunc(c.rules, func(r nftRule) bool {
			return slices.ContainsFunc(r.expr, func(e map[string]any) bool { _, ok := e["notrack"]; return ok })
		})
	})
}

// ofIPTables tells whether a chain is one that iptables-nft keeps: its names, its
// place, and a counter in each rule. Rules of nft in it would confuse iptables.
func (c *chain) ofIPTables() bool {
	prio, ok := map[string]int{"raw": -300, "mangle": -150, "filter": 0, "security": 50}[c.table]
	if c.family != "ip" && c.family != "ip6" || !ok || c.prio != prio || c.name != strings.ToUpper(c.hook) {
		return false
	}
	return !slices.ContainsFunc(c.rules, func(r nftRule) bool {
		return !slices.ContainsFunc(r.expr, func(e map[string]any) bool { _, ok := e["counter"]; return ok })
	})
}

// fates are what the rules of a chain do to a traffic. Ours do nothing.
func (rs *ruleset) fates(c *chain, w traffic) []fate {
	return reading{rs, w, map[*chain]fate{}}.fates(c)
}

// A reading is how a ruleset is read for one traffic: each chain once.
type reading struct {
	*ruleset
	traffic
	known map[*chain]fate
}

func (rd reading) fates(c *chain) []fate {
	out := make([]fate, len(c.rules))
	g := gate(blocks)
	for i, r := range c.rules {
		if r.comment == mark {
			continue
		}
		if n := len(r.expr); n > 0 && kindOf(r.expr[n-1]) == "return" {
			drop := append(slices.Clone(r.expr[:n-1]), map[string]any{"drop": nil})
			g.leave(rd.fate(c, drop), ofPeer(r.expr, rd.out))
			continue
		}
		out[i] = min(rd.fate(c, r.expr), fate(g))
	}
	return out
}

// ofPeer tells whether a rule has a condition on the address of the peer.
func ofPeer(expr []map[string]any, out bool) bool {
	return slices.ContainsFunc(expr, func(e map[string]any) bool {
		v, _ := e["match"].(map[string]any)
		_, name, _ := strings.Cut(field(v["left"]), " ")
		return name == "saddr" && !out || name == "daddr" && out
	})
}

func (rd reading) fate(c *chain, expr []map[string]any) fate {
	about := always // how many of the connections the rule is about
	limited := func(f fate) fate {
		switch about {
		case always:
			return f
		case mostly:
			return min(f, restricts)
		}
		return min(f, bans)
	}
	for _, statement := range expr {
		for kind, value := range statement {
			v, _ := value.(map[string]any)
			switch kind {
			case "match":
				m := matchOf(v["left"], fmt.Sprint(v["op"]), v["right"], rd.traffic)
				if m == never {
					return passes
				}
				about = max(about, m)
			case "limit", "ct count", "quota", "meter", "set", "map":
				about = sometimes
			case "drop", "reject":
				return limited(blocks)
			case "jump", "goto":
				if f := limited(rd.to(c, v["target"])); f != passes {
					return f
				}
			case "vmap":
				found := passes
				for _, one := range rd.verdicts(c, v) {
					found = max(found, rd.fate(c, one))
				}
				if f := limited(found); f != passes {
					return f
				}
			}
		}
	}
	return passes
}

// to is what happens in a chain that a rule of c goes to.
func (rd reading) to(c *chain, target any) fate {
	name, _ := target.(string)
	to := rd.chain(c.family, c.table, name)
	if to == nil {
		return passes
	}
	f, ok := rd.known[to]
	if !ok {
		rd.known[to] = passes // there are no loops
		f = worst(rd.fates(to))
		rd.known[to] = f
	}
	return f
}

func worst(fates []fate) fate {
	if len(fates) == 0 {
		return passes
	}
	return slices.Max(fates)
}

// verdicts are the rules that a map of verdicts in a chain stands for.
func (rs *ruleset) verdicts(c *chain, v map[string]any) (rules [][]map[string]any) {
	var elements []any
	switch data := v["data"].(type) {
	case map[string]any:
		elements, _ = data["set"].([]any)
	case string:
		elements = rs.maps[c.family+" "+c.table+" "+strings.TrimPrefix(data, "@")]
	}
	for _, e := range elements {
		pair, _ := e.([]any)
		if len(pair) != 2 {
			continue
		}
		verdict, ok := pair[1].(map[string]any)
		if !ok {
			continue
		}
		rule := []map[string]any{{"match": map[string]any{"op": "==", "left": v["key"], "right": pair[0]}}, verdict}
		if pair[0] == "*" {
			rule = rule[1:]
		}
		rules = append(rules, rule)
	}
	return rules
}

// established tells whether a chain, or one that it goes to, lets in what belongs
// to a connection that it has let in.
func (rs *ruleset) established(c *chain, seen map[*chain]bool) bool {
	if seen[c] {
		return false
	}
	seen[c] = true
	for _, r := range c.rules {
		if r.comment == mark {
			continue
		}
		state := false
		for _, statement := range r.expr {
			for kind, value := range statement {
				v, _ := value.(map[string]any)
				switch kind {
				case "match":
					if key(v["left"], "ct") != "state" { // about some packets only
						state = false
					} else if v["op"] != "!=" {
						state = slices.Contains(texts(v["right"]), "established")
					}
				case "accept":
					if state {
						return true
					}
				case "vmap":
					data, _ := v["data"].(map[string]any)
					elements, _ := data["set"].([]any)
					for _, e := range elements {
						pair, _ := e.([]any)
						if key(v["key"], "ct") == "state" && len(pair) == 2 && pair[0] == "established" {
							if verdict, ok := pair[1].(map[string]any); ok {
								if _, ok := verdict["accept"]; ok {
									return true
								}
							}
						}
					}
				case "jump", "goto":
					if name, _ := v["target"].(string); len(r.expr) <= 2 { // counter jump
						if to := rs.chain(c.family, c.table, name); to != nil && rs.established(to, seen) {
							return true
						}
					}
				}
			}
		}
	}
	return false
}

// A match says how many of the connections a condition is true for.
type match int

const (
	always match = iota // or it is not known
	mostly              // for all peers but some
	sometimes
	never
)

// matchOf is how far a condition is true for w.
func matchOf(left any, op string, right any, w traffic) match {
	negated := op == "!="
	exact := func(is bool) match { // true for all or for none
		if is == negated {
			return never
		}
		return always
	}
	protocol, name, _ := strings.Cut(field(left), " ")
	masked, _ := left.(map[string]any)
	switch {
	case masked["&"] != nil || name == "flags":
		if slices.Equal(texts(right), []string{"syn"}) {
			return exact(w.begins(texts(right)))
		}
		return never // about broken packets
	case key(left, "meta") == "protocol", field(left) == "ether type":
		return exact(slices.Contains(texts(right), "ip") || slices.Contains(texts(right), "ip6"))
	case key(left, "meta") == "l4proto", field(left) == "ip protocol", field(left) == "ip6 nexthdr":
		return exact(slices.Contains(texts(right), "tcp") || meet(numbers(right), []Range{{6, 6}}))
	case key(left, "ct") == "state":
		return exact(slices.Contains(texts(right), w.state))
	case key(left, "meta") == "iifname", key(left, "meta") == "iif", key(left, "meta") == "oifname", key(left, "meta") == "oif":
		return exact(!slices.Equal(texts(right), []string{"lo"}))
	case kindOf(left) == "fib", key(left, "meta") == "mark", key(left, "ct") == "mark":
		return sometimes
	case protocol == "udp" || protocol == "icmp" || protocol == "icmpv6" || protocol == "sctp" || protocol == "udplite":
		return never
	case name == "dport" || name == "sport":
		ours := w.dport
		if name == "sport" {
			ours = w.sport
		}
		switch {
		case named(right), name == "sport" && !w.out:
			return sometimes
		case len(ours) == 0, op != "==" && op != "in":
			return always
		}
		if !meet(numbers(right), ours) || w.out && name == "dport" && size(numbers(right)) < 1000 {
			return never // of outgoing ones a few destinations are not meant
		}
		return always
	case negated && (name == "saddr" && !w.out || name == "daddr" && w.out):
		return mostly
	case !negated && (name == "saddr" || name == "daddr"):
		return sometimes
	}
	return always
}

// kindOf is the only key of an object.
func kindOf(v any) string {
	if m, ok := v.(map[string]any); ok && len(m) == 1 {
		for k := range maps.Keys(m) {
			return k
		}
	}
	return ""
}

// key is the key of a meta or ct expression.
func key(v any, kind string) string {
	if kindOf(v) != kind {
		return ""
	}
	m, _ := v.(map[string]any)[kind].(map[string]any)
	s, _ := m["key"].(string)
	return s
}

// field is "tcp dport" for the expression of a payload.
func field(v any) string {
	if kindOf(v) != "payload" {
		return ""
	}
	m, _ := v.(map[string]any)["payload"].(map[string]any)
	protocol, _ := m["protocol"].(string)
	name, _ := m["field"].(string)
	return protocol + " " + name
}

// members are the values of a set, a list, or the one value.
func members(v any) []any {
	switch v := v.(type) {
	case []any:
		return v
	case map[string]any:
		if set, ok := v["set"]; ok {
			return members(set)
		}
	}
	return []any{v}
}

// named tells whether a value is a set with a name, whose elements are elsewhere.
func named(v any) bool {
	s, _ := v.(string)
	return strings.HasPrefix(s, "@")
}

func texts(v any) []string {
	var out []string
	for _, m := range members(v) {
		if s, ok := m.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

// numbers are the ports in a value, neighbours as one range.
func numbers(v any) []Range {
	port := func(v any) (uint16, bool) {
		f, ok := v.(float64)
		return uint16(f), ok && f >= 0 && f <= 65535
	}
	var out []Range
	for _, m := range members(v) {
		if o, ok := m.(map[string]any); ok {
			if r, ok := o["range"].([]any); ok && len(r) == 2 {
				a, ok1 := port(r[0])
				b, ok2 := port(r[1])
				if ok1 && ok2 && a <= b {
					out = append(out, Range{a, b})
				}
			}
			continue
		}
		if n, ok := port(m); ok {
			out = append(out, Range{n, n})
		}
	}
	return union(out, 1)
}

// A span is addresses from the first to the last.
type span struct{ first, last netip.Addr }

// spans are the addresses of networks, those that overlap or touch as one: so nft has them.
func spans(networks []netip.Prefix) []span {
	var all []span
	for _, n := range networks {
		all = append(all, spanOf(n))
	}
	return joined(all)
}

func spanOf(n netip.Prefix) span {
	last := n.Masked().Addr().AsSlice()
	for bit := n.Bits(); bit < 8*len(last); bit++ {
		last[bit/8] |= 0x80 >> (bit % 8)
	}
	a, _ := netip.AddrFromSlice(last)
	return span{n.Masked().Addr(), a}
}

func joined(all []span) []span {
	slices.SortFunc(all, func(a, b span) int { return cmp.Or(a.first.Compare(b.first), a.last.Compare(b.last)) })
	var out []span
	for _, s := range all {
		if n := len(out); n > 0 && (s.first.Compare(out[n-1].last) <= 0 || s.first == out[n-1].last.Next()) {
			if out[n-1].last.Less(s.last) {
				out[n-1].last = s.last
			}
			continue
		}
		out = append(out, s)
	}
	return out
}

// addresses are the addresses in a value.
func addresses(v any) []span {
	var out []span
	for _, m := range members(v) {
		switch m := m.(type) {
		case string:
			if a, err := netip.ParseAddr(m); err == nil {
				out = append(out, span{a, a})
			}
		case map[string]any:
			if r := texts(m["range"]); len(r) == 2 {
				a, err1 := netip.ParseAddr(r[0])
				b, err2 := netip.ParseAddr(r[1])
				if err1 == nil && err2 == nil {
					out = append(out, span{a, b})
				}
			}
			o, _ := m["prefix"].(map[string]any)
			addr, _ := o["addr"].(string)
			bits, _ := o["len"].(float64)
			if a, err := netip.ParseAddr(addr); err == nil && bits >= 0 && bits <= float64(a.BitLen()) {
				out = append(out, spanOf(netip.PrefixFrom(a, int(bits))))
			}
		}
	}
	return joined(out)
}

// An accept is one of our rules.
type accept struct {
	family       string // ip or ip6 where from is set
	from         []netip.Prefix
	sport, dport []Range // none: what belongs to a connection
	back         bool    // answers alone
	local        bool    // to addresses of this host alone
	state        string  // as nft writes it; "": any
}

// States of our rules. Where others say notrack, a packet is never new.
const (
	ofConnection = "established,related"
	ofFirst      = "new,untracked"
)

// words are the rule as arguments of nft.
func (a accept) words() []string {
	var w []string
	if len(a.from) > 0 {
		w = append(w, a.family, "saddr", "{ "+prefixes(a.from, ", ")+" }")
	}
	if len(a.sport) > 0 {
		w = append(w, "tcp", "sport", "{ "+list(a.sport, "-", ", ")+" }")
	}
	if len(a.dport) > 0 {
		w = append(w, "tcp", "dport", "{ "+list(a.dport, "-", ", ")+" }")
	}
	if a.back {
		w = append(w, "tcp", "flags", "ack")
	}
	if a.local {
		w = append(w, "fib", "daddr", "type", "local")
	}
	if a.state != "" {
		w = append(w, "ct", "state", a.state)
	}
	return append(w, "accept", "comment", `"`+mark+`"`)
}

// text is the rule as a file of nft has it.
func (a accept) text() string { return strings.Join(a.words(), " ") }

// same tells whether a rule of nft is this one.
func (a accept) same(r nftRule) bool {
	var got accept
	var from []span
	verdict := false
	for _, statement := range r.expr {
		for kind, value := range statement {
			v, _ := value.(map[string]any)
			switch {
			case kind == "accept":
				verdict = true
			case kind != "match" || v["op"] == "!=":
				return false
			case strings.HasSuffix(field(v["left"]), " saddr"):
				got.family = strings.TrimSuffix(field(v["left"]), " saddr")
				from = addresses(v["right"])
			case field(v["left"]) == "tcp dport":
				got.dport = numbers(v["right"])
			case field(v["left"]) == "tcp sport":
				got.sport = numbers(v["right"])
			case field(v["left"]) == "tcp flags" && slices.Equal(texts(v["right"]), []string{"ack"}):
				got.back = true
			case kindOf(v["left"]) == "fib" && slices.Equal(texts(v["right"]), []string{"local"}):
				got.local = true
			case key(v["left"], "ct") == "state":
				states := texts(v["right"])
				slices.Sort(states)
				got.state = strings.Join(states, ",")
			default:
				return false
			}
		}
	}
	if len(a.from) == 0 {
		a.family = ""
	}
	return verdict && got.family == a.family && slices.Equal(from, spans(a.from)) && got.back == a.back && got.local == a.local && got.state == a.state &&
		slices.Equal(union(got.sport, 1), union(a.sport, 1)) && slices.Equal(union(got.dport, 1), union(a.dport, 1))
}

// accepts are the rules that a base chain needs for the ports.
func (p Ports) accepts(c *chain) []accept {
	if c.hook == "output" {
		if !p.out() {
			return nil
		}
		from, any := p.active()
		if any {
			return []accept{{dport: []Range{high}, state: ofFirst}}
		}
		return []accept{{sport: from, state: ofFirst}}
	}
	one := accept{dport: p.in(), state: ofFirst}
	if c.early() { // no state is known there, and others than this host may be meant
		one.state, one.local = "", c.hook == "prerouting"
	}
	v4, v6, everybody := p.from()
	if everybody {
		return []accept{one}
	}
	var list []accept
	if len(v4) > 0 && c.family != "ip6" {
		one.family, one.from = "ip", v4
		list = append(list, one)
	}
	if len(v6) > 0 && c.family != "ip" {
		one.family, one.from = "ip6", v6
		list = append(list, one)
	}
	return list
}

// wants are the rules of accepts, with those for packets of connections that they let in
// where the chain would drop these.
func (rs *ruleset) wants(c *chain, p Ports) []accept {
	want := p.accepts(c)
	switch back := p.back().early(c.prio); {
	case len(want) == 0 && c.hook != "output":
		return nil // nobody is let in there
	case c.early():
		if _, blocked := place(rs.fates(c, back)); len(back.dport) > 0 && (blocked || c.policy == "drop") {
			want = append(want, accept{dport: back.dport, back: true, local: c.hook == "prerouting"})
		}
		return want
	case c.hook == "output" && rs.untracks():
		want = append(want, accept{sport: p.in(), state: stateUntracked})
	}
	if !rs.established(c, map[*chain]bool{}) {
		want = append([]accept{{state: ofConnection}}, want...)
	}
	return want
}

const ownTable = "A table of its own with an accept would not do: an accept ends only the chain that it stands in, and the next one drops the packet all the same. The rules go into each chain that filters."

func nft(h *Host, p Ports) Plan {
	var plan Plan
	rs, err := readNFT(h)
	if err != nil {
		plan.say("The ruleset can't be read (%s), so the chains are not known. In place of \"inet filter input\" and \"inet filter output\" write those that \"nft list ruleset\" shows with \"hook input\" and \"hook output\".", reason(err))
		for _, a := range append([]accept{{state: ofConnection}}, p.accepts(&chain{family: "inet", hook: "input"})...) {
			plan.run("", append([]string{"nft", "insert", "rule", "inet", "filter", "input"}, a.words()...)...)
		}
		if p.out() {
			plan.say("The last command is for an output chain that drops, and for nothing else.")
			for _, a := range p.accepts(&chain{family: "inet", hook: "output"}) {
				plan.run("", append([]string{"nft", "insert", "rule", "inet", "filter", "output"}, a.words()...)...)
			}
		}
		plan.note("%s", ownTable)
		plan.Notes = append(plan.Notes, p.notes(h)...)
		return plan
	}
	zones := false // firewalld keeps its own table
	if slices.ContainsFunc(rs.chains, func(c *chain) bool { return c.table == "firewalld" }) {
		state, err := h.Run("firewall-cmd", "--state")
		zones = err == nil && strings.TrimSpace(state) == "running"
	}
	var keep []string // notes on how to keep the rules
	chains, left := 0, 0
	for _, hook := range hooks {
		for _, c := range rs.base(hook) {
			if zones && c.table == "firewalld" {
				if !c.early() {
					left++
					plan.say("The chain %q is one of firewalld, and left to it: dray firewall firewalld.", c)
				}
				continue
			}
			fates, filters := rs.filters(c, p)
			at, _ := place(fates)
			few := restricted(fates)
			switch idle := !filters && len(few) == 0; {
			case c.early() && idle:
				continue
			case c.ofIPTables() && idle && c.table != "filter":
				continue
			}
			chains++
			if c.ofIPTables() {
				left++
				plan.say("The chain %q is one of iptables, and left to it: dray firewall iptables.", c)
				continue
			}
			var rules []string
			for _, i := range few {
				rules = append(rules, h.ruleText(ruleOf{c, c.rules[i]}))
			}
			plan.sayRestricted(fmt.Sprintf("The chain %q", c), rules)
			if !filters {
				if len(few) == 0 {
					plan.say("The chain %q drops nothing that is needed here.", c)
				}
				continue
			}
			if c.early() {
				plan.say("The chain %q (hook %s) comes before all input chains, and drops as well.", c, c.hook)
			}
			want := rs.wants(c, p)
			rules = nil
			passed, _ := rs.passed(c, at, p.meets(c), map[*chain]bool{})
			for _, r := range passed {
				rules = append(rules, h.ruleText(r))
			}
			if len(want) > 0 {
				plan.sayPassed(fmt.Sprintf("The chain %q", c), rules)
			}
			plan.openChain(c, want, at)
			if len(want) == 0 {
				plan.say("The chain %q is for %s, of which no network is let in: no rule is needed there.", c, family(c.family == "ip6"))
				continue
			}
			keep = append(keep, fmt.Sprintf("Into the chain %q, behind rules that turn some peers away and before what drops:", c))
			for _, a := range want {
				keep = append(keep, "\t"+a.text())
			}
		}
	}
	switch {
	case chains == 0:
		plan.say("There is no chain with hook input or output: nothing filters here, and no rule is needed. A table of its own is not needed either.")
	case len(keep) == 0 && left == 0:
		plan.say("No rule is needed now.")
	case len(keep) > 0 && len(plan.Steps) == 0:
		plan.say("All rules are there already.")
	}
	if len(keep) > 0 {
		plan.note("%s", ownTable)
		plan.note("These rules last until the next start. To keep them, write them into %s as well.", nftFile(h))
		plan.Notes = append(plan.Notes, keep...)
		plan.note("Don't write the file with \"nft list ruleset\": bans and the rules of containers would be kept with it.")
	}
	plan.Notes = append(plan.Notes, p.notes(h)...)
	return plan
}

// family is the name of a family of addresses.
func family(six bool) string {
	if six {
		return "IPv6"
	}
	return "IPv4"
}

// openChain puts the rules want into a chain, behind the first at rules, in place
// of those of ours that it has.
func (plan *Plan) openChain(c *chain, want []accept, at int) {
	there := make([]bool, len(want))
	var older []nftRule
	for _, r := range c.rules {
		if r.comment != mark {
			continue
		}
		if i := slices.IndexFunc(want, func(a accept) bool { return a.same(r) }); i >= 0 && !there[i] {
			there[i] = true
			continue
		}
		older = append(older, r)
	}
	where := append([]string{"nft", "insert", "rule"}, c.words()...)
	comment := fmt.Sprintf("at the head of the chain %q", c)
	if c.policy == "drop" {
		comment += ", whose policy is drop"
	}
	if at > 0 { // each new rule comes directly behind this one
		comment = fmt.Sprintf("in the chain %q, behind the rules that turn some peers away: those go on to hold", c)
		where = append(append([]string{"nft", "add", "rule"}, c.words()...), "handle", fmt.Sprint(c.rules[at-1].handle))
	}
	for i, a := range want {
		if !there[i] {
			plan.run(comment, append(slices.Clone(where), a.words()...)...)
			comment = ""
		}
	}
	for _, r := range older {
		plan.run("an older rule of dray", deleteRule(c, r)...)
	}
}

func deleteRule(c *chain, r nftRule) []string {
	return append(append([]string{"nft", "delete", "rule"}, c.words()...), "handle", fmt.Sprint(r.handle))
}

func undoNFT(h *Host, _ Ports) Plan {
	var plan Plan
	rs, err := readNFT(h)
	if err != nil {
		plan.say("The ruleset can't be read (%s). \"nft -a list ruleset\" shows the rules with the comment \"dray\" and their handles; each goes by: nft delete rule FAMILY TABLE CHAIN handle HANDLE", reason(err))
		return plan
	}
	for _, c := range rs.chains {
		for _, r := range c.rules {
			if r.comment == mark {
				plan.run("", deleteRule(c, r)...)
			}
		}
	}
	if len(plan.Steps) == 0 {
		plan.say("No rule has the comment \"dray\": there is nothing to take back.")
		return plan
	}
	plan.note("Where lines with the comment \"dray\" were written into %s, take them out of it.", nftFile(h))
	return plan
}

func readNFT(h *Host) (*ruleset, error) {
	rs, _, err := h.ruleset()
	return rs, err
}

// ruleset is what nft says, and its text. Chains at the ingress of interfaces that no
// client comes by are no base chains of it.
func (h *Host) ruleset() (*ruleset, string, error) {
	out, err := h.Run("nft", "-j", "list", "ruleset")
	if err != nil {
		return nil, "", err
	}
	rs, err := parseRuleset(out)
	if err != nil {
		return nil, "", err
	}
	for _, c := range rs.base("ingress") {
		if len(c.devices) == 0 { // older ones leave them out
			if text, err := h.Run("nft", append([]string{"list", "chain"}, c.words()...)...); err == nil {
				c.devices = devices(text)
			}
		}
		if len(c.devices) > 0 && !slices.ContainsFunc(c.devices, func(n string) bool { return !virtual(n) }) {
			c.hook = ""
		}
	}
	return rs, out, nil
}

// devices are the interfaces of a chain, as nft writes it.
func devices(text string) []string {
	m := nftDevices.FindStringSubmatch(text)
	if m == nil {
		return nil
	}
	return strings.FieldsFunc(m[1], func(r rune) bool { return strings.ContainsRune(" \",{}=", r) })
}

var nftDevices = regexp.MustCompile(`hook ingress devices? ([^;\n]*) priority`)

// nftFile is the file that a start of the nftables service reads.
func nftFile(h *Host) string {
	const redHat = "/etc/sysconfig/nftables.conf"
	if h.has(redHat) {
		return redHat
	}
	return "/etc/nftables.conf"
}

// reason is in one line why something can't be asked. Warnings that a program prints
// before it are none.
func reason(err error) string {
	if absent(err) {
		return "there is no such program here"
	}
	for line := range strings.Lines(status.ReplaceAllString(err.Error(), "")) {
		line = strings.TrimSpace(line)
		if line != "" && printable(line) && !strings.HasPrefix(line, "#") && !strings.HasPrefix(strings.ToLower(line), "warning") {
			return line
		}
	}
	return "it can't be asked"
}

var status = regexp.MustCompile(`^exit status \d+: `)
