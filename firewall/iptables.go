package firewall

import (
	"net/netip"
	"slices"
	"strings"
)

// A filter is the filter table of one program: what "iptables -S" prints.
type filter struct {
	policy map[string]string
	chains map[string][][]string // the rules of each chain, as words behind "-A CHAIN"
}

// parseFilter reads the output of "iptables -S". Lines that it can't read are left
// out.
func parseFilter(text string) filter {
	f := filter{map[string]string{}, map[string][][]string{}}
	for line := range strings.Lines(text) {
		words, err := split(line)
		if err != nil || len(words) < 2 || !printable(strings.Join(words, "")) {
			continue
		}
		switch name := words[1]; words[0] {
		case "-P":
			if len(words) > 2 {
				f.policy[name] = words[2]
			}
		case "-A":
			f.chains[name] = append(f.chains[name], words[2:])
		}
	}
	return f
}

// ours tells whether a rule has our comment.
func ours(rule []string) bool { return option(rule, "--comment") == mark }

// option is the word behind an option, "" when it is not there.
func option(rule []string, names ...string) string {
	for i, word := range rule {
		if i+1 < len(rule) && slices.Contains(names, word) {
			return rule[i+1]
		}
	}
	return ""
}

// negated tells whether an option has an exclamation mark before it.
func negated(rule []string, names ...string) bool {
	for i, word := range rule {
		if i > 0 && rule[i-1] == "!" && slices.Contains(names, word) {
			return true
		}
	}
	return false
}

// fates are what the rules of a chain do to a traffic. Ours do nothing.
func (f filter) fates(chain string, w traffic) []fate {
	return f.read(chain, w, map[string]fate{})
}

// read is fates with those of the chains that are known: each is read once.
func (f filter) read(chain string, w traffic, known map[string]fate) []fate {
	out := make([]fate, len(f.chains[chain]))
	for i, rule := range f.chains[chain] {
		if !ours(rule) {
			out[i] = f.fate(rule, w, known)
		}
	}
	return out
}

func (f filter) fate(rule []string, w traffic, known map[string]fate) fate {
	found := passes
	switch target := option(rule, "-j", "-g"); target {
	case "DROP", "REJECT", "TARPIT":
		found = blocks
	default:
		seen, ok := known[target]
		if !ok {
			known[target] = passes // there are no loops
			seen = worst(f.read(target, w, known))
			known[target] = seen
		}
		found = seen
	}
	if found == passes {
		return passes
	}
	ports := func(names ...string) []Range {
		var out []Range
		for word := range strings.SplitSeq(option(rule, names...), ",") {
			if r, ok := ParseRange(word, ":"); ok {
				out = append(out, r)
			}
		}
		return out
	}
	dports, sports := ports("--dport", "--dports"), ports("--sport", "--sports")
	peer, lo := "-s", option(rule, "-i")
	if w.out {
		peer, lo = "-d", option(rule, "-o")
	}
	protocol, states := option(rule, "-p"), option(rule, "--ctstate", "--state")
	not := func(names ...string) bool { return negated(rule, names...) }
	switch {
	case protocol != "" && protocol != "all" && (protocol == "tcp") == not("-p"),
		lo == "lo" && !not("-i", "-o"),
		states != "" && slices.Contains(strings.Split(states, ","), "NEW") == not("--ctstate", "--state"),
		len(dports) > 0 && len(w.dport) > 0 && !not("--dport", "--dports") && (!meet(dports, w.dport) || w.out && size(dports) < 1000),
		w.out && len(sports) > 0 && len(w.sport) > 0 && !not("--sport", "--sports") && !meet(sports, w.sport),
		slices.Contains(rule, "--tcp-flags"), slices.Contains(rule, "--syn") && not("--syn"):
		return passes
	case option(rule, peer) != "" && !not(peer), option(rule, "-d") != "" && !not("-d"), !w.out && len(sports) > 0,
		slices.ContainsFunc([]string{"set", "recent", "limit", "hashlimit", "connlimit", "geoip", "addrtype", "string", "iprange", "mark", "connmark"}, func(m string) bool { return hasMatch(rule, m) }):
		return min(found, bans)
	}
	return found
}

// hasMatch tells whether a rule has an extension, "-m name".
func hasMatch(rule []string, name string) bool {
	for i, word := range rule {
		if word == "-m" && i+1 < len(rule) && rule[i+1] == name {
			return true
		}
	}
	return false
}

// established tells whether a chain, or one that it goes to without a condition,
// lets in what belongs to a connection that it has let in.
func (f filter) established(chain string, seen map[string]bool) bool {
	if seen[chain] {
		return false
	}
	seen[chain] = true
	return slices.ContainsFunc(f.chains[chain], func(rule []string) bool {
		if ours(rule) {
			return false
		}
		target := option(rule, "-j", "-g")
		if target == "ACCEPT" {
			states := strings.Split(option(rule, "--ctstate", "--state"), ",")
			return slices.Contains(states, "ESTABLISHED") && !negated(rule, "--ctstate", "--state") &&
				option(rule, "-s", "-d", "-p", "-i", "-o") == ""
		}
		return len(rule) == 2 && f.chains[target] != nil && f.established(target, seen)
	})
}

// chainRules are the rules that the ports need in INPUT or OUTPUT, as words
// behind the name of the chain, in the order in which iptables prints them.
func (p Ports) chainRules(v6, out bool) [][]string {
	rule := func(from string, ports []Range, option string) [][]string {
		var rules [][]string
		for _, some := range chunks(ports, 15) {
			var r []string
			if from != "" {
				r = append(r, "-s", from)
			}
			rules = append(rules, append(r, "-p", "tcp", "-m", "multiport", option, list(some, ":", ","),
				"-m", "conntrack", "--ctstate", "NEW", "-m", "comment", "--comment", mark, "-j", "ACCEPT"))
		}
		return rules
	}
	if out {
		if !p.out() {
			return nil
		}
		from, any := p.active()
		if any {
			return rule("", []Range{high}, "--dports")
		}
		return rule("", from, "--sports")
	}
	from, six, everybody := p.from()
	if v6 {
		from = six
	}
	if everybody {
		return rule("", p.in(), "--dports")
	}
	var rules [][]string
	for _, n := range from {
		rules = append(rules, rule(n.String(), p.in(), "--dports")...)
	}
	return rules
}

var stateRule = []string{"-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED", "-m", "comment", "--comment", mark, "-j", "ACCEPT"}

// chunks parts ranges so that each part has at most n ports, of which a range
// takes two: multiport and ufw bear no more than 15.
func chunks(ranges []Range, n int) [][]Range {
	var out [][]Range
	var some []Range
	have := 0
	for _, r := range ranges {
		cost := 1
		if r.First != r.Last {
			cost = 2
		}
		if have+cost > n {
			out, some, have = append(out, some), nil, 0
		}
		some, have = append(some, r), have+cost
	}
	if len(some) > 0 {
		out = append(out, some)
	}
	return out
}

// A table is the filter table that one program keeps.
type table struct {
	program string
	v6      bool
}

// tables are those that may have rules: iptables is the program of nftables or of
// the old tables, and the other kind may have rules beside it. That one is asked
// only where the kernel has such a table: the question would make it.
func (h *Host) tables() []table {
	all := []table{{"iptables", false}, {"ip6tables", true}}
	version, err := h.Run("iptables", "-V")
	if err != nil {
		return all
	}
	if !strings.Contains(version, "nf_tables") {
		return all
	}
	for _, t := range []struct {
		names string
		table
	}{{"/proc/net/ip_tables_names", table{"iptables-legacy", false}}, {"/proc/net/ip6_tables_names", table{"ip6tables-legacy", true}}} {
		if b, err := h.Read(t.names); err == nil && slices.Contains(strings.Fields(string(b)), "filter") {
			all = append(all, t.table)
		}
	}
	return all
}

func iptables(h *Host, p Ports) Plan {
	var plan Plan
	opened := false
	for _, t := range h.tables() {
		out, err := h.Run(t.program, "-S")
		if err != nil {
			plan.say("The rules of %s can't be read (%s): these are the commands for a chain that drops.", t.program, reason(err))
			f := filter{policy: map[string]string{"INPUT": "DROP"}}
			plan.openTable(t, p, f, "INPUT")
			if p.out() {
				plan.say("Those for OUTPUT are needed only where it drops.")
				f.policy["OUTPUT"] = "DROP"
				f.chains = map[string][][]string{"OUTPUT": {stateRule}}
				plan.openTable(t, p, f, "OUTPUT")
			}
			opened = true
			continue
		}
		f := parseFilter(out)
		opened = plan.openTable(t, p, f, "INPUT") || opened
		opened = plan.openTable(t, p, f, "OUTPUT") || opened
	}
	switch {
	case opened && len(plan.Steps) == 0:
		plan.say("All rules are there already.")
	case !opened:
		plan.say("No rule is needed now.")
	}
	if opened {
		plan.save(h)
	}
	plan.Notes = append(plan.Notes, p.notes(h)...)
	return plan
}

// openTable adds what one chain needs, in place of what is there of ours. It
// returns false when the chain lets everything through.
func (plan *Plan) openTable(t table, p Ports, f filter, chain string) bool {
	out := chain == "OUTPUT"
	w := p.incoming()
	if out {
		w = p.outgoing()
	}
	at, blocked := place(f.fates(chain, w))
	if f.policy[chain] != "DROP" && !blocked {
		plan.say("%s of %s drops nothing that is needed here.", chain, t.program)
		return false
	}
	want := p.chainRules(t.v6, out)
	if !f.established(chain, map[string]bool{}) {
		want = append([][]string{stateRule}, want...)
	}
	there := make([]bool, len(want))
	var older [][]string
	for _, rule := range f.chains[chain] {
		if !ours(rule) {
			continue
		}
		if n := slices.IndexFunc(want, func(w []string) bool { return sameRule(w, rule) }); n >= 0 && !there[n] {
			there[n] = true
			continue
		}
		older = append(older, rule)
	}
	comment := ""
	where := []string{t.program, "-I", chain}
	if at > 0 {
		comment = "behind the rules of " + chain + " that turn some peers away: those go on to hold"
		where = append(where, number(at+1))
	}
	for i, rule := range want {
		if !there[i] {
			plan.run(comment, append(slices.Clone(where), rule...)...)
			comment = ""
		}
	}
	for _, rule := range older {
		plan.run("an older rule of dray", append([]string{t.program, "-D", chain}, rule...)...)
	}
	return true
}

// sameRule compares a rule with one that iptables has printed: it tells the order
// of states and of ports in its own way.
func sameRule(a, b []string) bool {
	norm := func(rule []string) []string {
		rule = slices.Clone(rule)
		for i := range rule[:max(len(rule)-1, 0)] {
			if rule[i] == "--ctstate" {
				states := strings.Split(rule[i+1], ",")
				slices.Sort(states)
				rule[i+1] = strings.Join(states, ",")
			}
			if rule[i] == "-s" {
				if a, err := netip.ParseAddr(rule[i+1]); err == nil {
					rule[i+1] = netip.PrefixFrom(a, a.BitLen()).String()
				}
			}
		}
		return rule
	}
	return slices.Equal(norm(a), norm(b))
}

// save adds how rules are kept over a start.
func (plan *Plan) save(h *Host) {
	dynamic := false
	if out, err := h.Run("iptables", "-S"); err == nil {
		dynamic = strings.Contains(out, "-N DOCKER") || strings.Contains(out, "-N f2b-") || strings.Contains(out, "-N KUBE-")
	}
	var how []string
	switch _, err := h.Run("netfilter-persistent", "--help"); {
	case !absent(err):
		how = []string{"netfilter-persistent", "save"}
	case h.has("/etc/sysconfig/iptables"):
		how = []string{"service", "iptables", "save"}
	default:
		plan.note("These rules last until the next start. To keep them: apt-get install iptables-persistent && netfilter-persistent save; on RHEL: dnf install iptables-services && service iptables save && service ip6tables save.")
		return
	}
	if dynamic {
		plan.note("These rules last until the next start. To keep them: %s. It keeps the rules of containers and bans as well, which other programs have added here: it is better to write these lines into the saved file by hand.", strings.Join(how, " "))
		return
	}
	if len(plan.Steps) == 0 {
		return
	}
	plan.run("keep all rules over the next start", how...)
	if how[0] == "service" {
		plan.run("", "service", "ip6tables", "save")
	}
}

func undoIPTables(h *Host, _ Ports) Plan {
	var plan Plan
	for _, t := range h.tables() {
		out, err := h.Run(t.program, "-S")
		if err != nil {
			plan.say("The rules of %s can't be read (%s). \"%s -S\" shows those with the comment \"dray\"; each goes by the same line with -D in place of -A.", t.program, reason(err), t.program)
			continue
		}
		f := parseFilter(out)
		for _, chain := range []string{"INPUT", "OUTPUT"} {
			for _, rule := range f.chains[chain] {
				if ours(rule) {
					plan.run("", append([]string{t.program, "-D", chain}, rule...)...)
				}
			}
		}
	}
	if len(plan.Steps) > 0 {
		plan.save(h)
	} else if len(plan.Found) == 0 {
		plan.say("No rule has the comment \"dray\": there is nothing to take back.")
	}
	return plan
}
