package firewall

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// ufwStatus is what "ufw status verbose" says first.
type ufwStatus struct {
	active  bool
	in, out string // default policies: allow, deny or reject
	rules   []ufwRule
}

// A ufwRule is a rule in the words in which "ufw show added" prints it.
type ufwRule struct {
	words   []string // all of them, without "ufw"
	action  string   // allow, limit, deny or reject
	same    []string // by which ufw knows a rule again: all but action, log and comment
	comment string
	route   bool
	out     bool
	device  string // "": any
	from    ufwEnd
	to      ufwEnd
	proto   string // "": any
}

// A ufwEnd is one end of the connections that a rule is about.
type ufwEnd struct {
	addr  string // "" and "any": every address
	ports []Range
	app   string // the profile that has the ports in their place
}

// parseUFW reads "ufw status verbose" and "ufw show added".
func parseUFW(status, added string) ufwStatus {
	var s ufwStatus
	for line := range strings.Lines(status) {
		line = strings.TrimSpace(line)
		if line == "Status: active" {
			s.active = true
		}
		rest, ok := strings.CutPrefix(line, "Default: ")
		if !ok {
			continue
		}
		for part := range strings.SplitSeq(rest, ",") {
			policy, direction, _ := strings.Cut(strings.TrimSpace(part), " ")
			switch direction {
			case "(incoming)":
				s.in = policy
			case "(outgoing)":
				s.out = policy
			}
		}
	}
	for line := range strings.Lines(added) {
		words, err := split(line)
		if err == nil && len(words) > 2 && words[0] == "ufw" && printable(strings.Join(words, "")) {
			s.rules = append(s.rules, parseUFWRule(words[1:]))
		}
	}
	return s
}

// parseUFWRule reads a rule of "ufw show added", which has two forms:
//
//	allow [out] [log] PORTS[/PROTO]|APP [comment TEXT]
//	[route] allow [in on DEV] [out [on DEV]] [log] [from ADDR [port PORTS|app APP]] [to ADDR [port PORTS|app APP]] [proto PROTO] [comment TEXT]
func parseUFWRule(words []string) ufwRule {
	r := ufwRule{words: words}
	w := words
	if n := len(w); n > 2 && w[n-2] == "comment" {
		w, r.comment = w[:n-2], w[n-1]
	}
	if w[0] == "route" && len(w) > 1 {
		r.route, r.same, w = true, w[:1:1], w[1:]
	}
	r.action, w = w[0], w[1:]
	for len(w) > 0 && slices.Contains([]string{"in", "out", "log", "log-all"}, w[0]) {
		n := 1
		if len(w) > 2 && w[1] == "on" {
			n, r.device = 3, w[2]
		}
		r.out = r.out || w[0] == "out"
		if !strings.HasPrefix(w[0], "log") {
			r.same = append(r.same, w[:n]...)
		}
		w = w[n:]
	}
	r.same = append(r.same, w...)
	if len(w) == 1 {
		ports, proto, _ := strings.Cut(w[0], "/")
		if r.to.ports = parsePorts(ports, ":"); r.to.ports != nil {
			r.proto = proto
		} else {
			r.to.app = w[0]
		}
		return r
	}
	end := &r.to
	for ; len(w) > 1; w = w[2:] {
		switch value := w[1]; w[0] {
		case "from":
			end, r.from.addr = &r.from, value
		case "to":
			end, r.to.addr = &r.to, value
		case "port":
			end.ports = parsePorts(value, ":")
		case "app":
			end.app = value
		case "proto":
			r.proto = value
		}
	}
	return r
}

// parsePorts reads ranges with commas between them; nil: something else stands there.
func parsePorts(text, within string) []Range {
	var ports []Range
	for part := range strings.SplitSeq(text, ",") {
		r, ok := ParseRange(part, within)
		if !ok {
			return nil
		}
		ports = append(ports, r)
	}
	return ports
}

// everywhere tells whether an end is every address.
func (e ufwEnd) everywhere() bool { return e.addr == "" || e.addr == "any" }

// holds tells whether an end is about all of an address or network, and of a range.
func (e ufwEnd) holds(addr ufwEnd, ports Range) bool {
	if len(e.ports) > 0 && !slices.ContainsFunc(union(e.ports, 1), func(r Range) bool { return r.First <= ports.First && ports.Last <= r.Last }) {
		return false
	}
	if e.everywhere() || addr.everywhere() {
		return e.everywhere()
	}
	outer, inner := network(e.addr), network(addr.addr)
	return outer.IsValid() && inner.IsValid() && outer.Bits() <= inner.Bits() && outer.Contains(inner.Addr())
}

// network reads an address or a network; the zero one when it is neither.
func network(s string) netip.Prefix {
	if n, err := netip.ParsePrefix(s); err == nil {
		return n
	}
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.PrefixFrom(a, a.BitLen())
	}
	return netip.Prefix{}
}

// allowing are rules that are not of dray, and that together let in all that the rule
// w would, or out; none when something is left over.
func (s ufwStatus) allowing(w ufwRule) (by []ufwRule) {
	each := func(ports []Range, none Range) []Range {
		if len(ports) == 0 {
			return []Range{none}
		}
		return ports
	}
	for _, sport := range each(w.from.ports, Range{1, 65535}) {
		for _, dport := range each(w.to.ports, high) { // active mode goes no lower
			i := slices.IndexFunc(s.rules, func(r ufwRule) bool {
				return r.comment != mark && r.action == "allow" && !r.route && r.out == w.out && r.device == "" && (r.proto == "" || r.proto == "tcp") &&
					r.from.app == "" && r.to.app == "" && r.from.holds(w.from, sport) && r.to.holds(w.to, dport)
			})
			if i < 0 {
				return nil
			}
			if !slices.ContainsFunc(by, func(r ufwRule) bool { return slices.Equal(r.words, s.rules[i].words) }) {
				by = append(by, s.rules[i])
			}
		}
	}
	return by
}

// whom says for whom a rule does what w would do.
func (r ufwRule) whom(w ufwRule) string {
	switch {
	case w.out:
		return "active mode out"
	case r.from.everywhere() && !w.from.everywhere():
		return "everybody in, whatever --from says"
	case r.from.everywhere():
		return "everybody in"
	}
	return r.from.addr + " in"
}

// appPorts reads the TCP ports of "ufw app info":
//
//	Ports:
//	  80,443/tcp
//	  53
func appPorts(text string) []Range {
	var ports []Range
	_, text, _ = strings.Cut(text, "\nPort")
	for line := range strings.Lines(text) {
		some, proto, _ := strings.Cut(strings.TrimSpace(line), "/")
		if proto == "" || proto == "tcp" {
			ports = append(ports, parsePorts(some, ":")...)
		}
	}
	return ports
}

// ufwRules are the rules that the ports need, in the words in which ufw is told,
// and behind them as "ufw show added" prints them. six: IPv6 has rules too.
func (p Ports) ufwRules(out, six bool) (told, shown [][]string) {
	add := func(from, short string, ports []Range) {
		for _, some := range chunks(ports, 15) {
			text := list(some, ":", ",")
			rule, show := []string{"allow", "proto", "tcp", "to", "any", "port", text}, []string{"allow", text + "/tcp"}
			if from != "" {
				rule = []string{"allow", "proto", "tcp", "from", from, "to", "any", "port", text}
				show = []string{"allow", "from", short, "to", "any", "port", text, "proto", "tcp"}
			}
			told, shown = append(told, append(rule, "comment", mark)), append(shown, append(show, "comment", mark))
		}
	}
	if out {
		from, any := p.active()
		if any {
			told = append(told, []string{"allow", "out", "proto", "tcp", "to", "any", "port", high.with(":"), "comment", mark})
			return told, append(shown, []string{"allow", "out", high.with(":") + "/tcp", "comment", mark})
		}
		told = append(told, []string{"allow", "out", "proto", "tcp", "from", "any", "port", list(from, ":", ","), "to", "any", "comment", mark})
		return told, append(shown, []string{"allow", "out", "from", "any", "port", list(from, ":", ","), "proto", "tcp", "comment", mark})
	}
	v4, v6, everybody := p.from()
	if everybody {
		add("", "", p.in())
	}
	if !six {
		v6 = nil
	}
	for _, n := range append(v4, v6...) {
		short := n.String()
		if n.IsSingleIP() {
			short = n.Addr().String()
		}
		add(n.String(), short, p.in())
	}
	return told, shown
}

func (h *Host) ufw() (ufwStatus, error) {
	status, err := h.Run("ufw", "status", "verbose")
	if err != nil {
		return ufwStatus{}, err
	}
	added, err := h.Run("ufw", "show", "added")
	if err != nil {
		return ufwStatus{}, err
	}
	s := parseUFW(status, added)
	for i, r := range s.rules {
		if app := r.to.app; app != "" && !strings.HasPrefix(app, "-") {
			if out, err := h.Run("ufw", "app", "info", app); err == nil {
				if ports := appPorts(out); len(ports) > 0 {
					s.rules[i].to = ufwEnd{addr: r.to.addr, ports: ports}
				}
			}
		}
	}
	return s, nil
}

// ufwDefaults is where ufw is told whether it has rules for IPv6.
const ufwDefaults = "/etc/default/ufw"

// ufwSix tells whether ufw takes rules for IPv6.
func (h *Host) ufwSix() bool {
	b, err := h.Read(ufwDefaults)
	if err != nil {
		return true
	}
	six := true
	for line := range strings.Lines(string(b)) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), "IPV6="); ok {
			six = strings.EqualFold(strings.Trim(value, `"'`), "yes")
		}
	}
	return six
}

func ufw(h *Host, p Ports) Plan {
	var plan Plan
	six := h.ufwSix()
	told, shown := p.ufwRules(false, six)
	s, err := h.ufw()
	outgoing := p.out() && (err != nil || s.out != "" && s.out != "allow")
	if err != nil {
		plan.say("ufw can't be asked (%s): these are the commands for one that has no rule of dray. Leave out one for which you have a rule of the same ports: ufw would make it dray's.", reason(err))
	} else if !s.active {
		plan.say("ufw is not active: it filters nothing now, and the rules wait for \"ufw enable\". Before that see that a rule lets you in by SSH.")
	}
	if _, v6, _ := p.from(); len(v6) > 0 && !six {
		plan.say("%s says IPV6=no: ufw drops all of IPv6 and takes no rule for it. %s gets in after IPV6=yes there, \"ufw reload\", and this command again.", ufwDefaults, prefixes(v6, ", "))
	}
	if outgoing {
		t, sh := p.ufwRules(true, six)
		told, shown = append(told, t...), append(shown, sh...)
	}
	kept := map[int]bool{} // of s.rules: ours that stay
	var taken []ufwRule    // of others, in the places of ours
	for i, rule := range told {
		w := parseUFWRule(shown[i])
		at := slices.IndexFunc(s.rules, func(r ufwRule) bool { return slices.Equal(r.same, w.same) })
		if at >= 0 && s.rules[at].comment == mark {
			kept[at] = true
			if s.rules[at].action == w.action {
				continue
			}
		} else if at >= 0 && s.rules[at].action != w.action { // ufw would put ours in its place
			taken = append(taken, s.rules[at])
			continue
		}
		by := s.allowing(w)
		if at >= 0 && !kept[at] {
			by = s.rules[at : at+1]
		}
		for _, r := range by {
			line := fmt.Sprintf("\"ufw %s\" is there, and lets %s. It is not dray's: it is left as it is, also by --undo.", plan.Line(r.words), r.whom(w))
			if !slices.Contains(plan.Found, line) {
				plan.Found = append(plan.Found, line)
			}
		}
		if len(by) > 0 {
			continue
		}
		comment := ""
		if err != nil && rule[1] == "out" {
			comment = "where \"ufw status verbose\" says deny (outgoing), for active mode"
		}
		plan.run(comment, append([]string{"ufw"}, rule...)...)
	}
	for i, r := range s.rules {
		if r.comment == mark && !kept[i] {
			plan.run("an older rule of dray", deleteUFW(r.words)...)
		}
	}
	for _, r := range taken {
		allow := slices.Clone(deleteUFW(r.words)[2:])
		allow[0] = "allow"
		what := "It shuts these ports"
		if r.action == "limit" {
			what = "It lets clients in, and cuts off who opens more than six connections in half a minute"
		}
		plan.say("\"ufw %s\" is there, and is not dray's. %s. An allow would take its place, so it is left as it is. Where it should give way: ufw %s", plan.Line(r.words), what, plan.Line(allow))
	}
	if err == nil && len(plan.Steps) == 0 && len(taken) == 0 && len(told) > 0 {
		plan.say("All rules are there already.")
	}
	for _, r := range s.rules {
		line := plan.Line(r.words)
		switch {
		case r.out || r.route || r.action == "allow" || !meet(r.to.ports, p.in()) || slices.ContainsFunc(taken, func(t ufwRule) bool { return slices.Equal(t.words, r.words) }):
		case r.action == "limit" && meet(r.to.ports, p.passive()):
			plan.note("\"ufw %s\" comes before and cuts off who opens more than six connections in half a minute: each file is a connection of its own. Take it away for these ports.", line)
		case r.action == "deny" || r.action == "reject":
			plan.note("\"ufw %s\" comes before and goes on to hold: the first rule that fits decides. Where it should not: %s", line, plan.Line(deleteUFW(r.words)))
		}
	}
	plan.note("ufw keeps its rules over the next start, and has them for IPv6 too unless " + ufwDefaults + " says IPV6=no. Never use \"ufw limit\" for the passive range: each file is a connection of its own.")
	plan.Notes = append(plan.Notes, p.notes(h)...)
	return plan
}

// deleteUFW is the command that takes a rule back, which is as it was added,
// without the comment.
func deleteUFW(rule []string) []string {
	if i := slices.Index(rule, "comment"); i >= 0 {
		rule = rule[:i]
	}
	return append([]string{"ufw", "delete"}, rule...)
}

func undoUFW(h *Host, p Ports) Plan {
	var plan Plan
	s, err := h.ufw()
	if err != nil {
		plan.say("ufw can't be asked (%s): these are the commands for the rules of these ports. Delete only what \"ufw show added\" shows with the comment 'dray': another rule for the same ports is yours.", reason(err))
		told, _ := p.ufwRules(false, h.ufwSix())
		for _, rule := range told {
			plan.run("", deleteUFW(rule)...)
		}
		return plan
	}
	for _, r := range s.rules {
		if r.comment == mark {
			plan.run("", deleteUFW(r.words)...)
		}
	}
	if len(plan.Steps) == 0 {
		plan.say("No rule has the comment \"dray\": there is nothing to take back.")
	}
	return plan
}
