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

// parseSave reads the tables that "iptables-save" prints.
func parseSave(text string) map[string]filter {
	all := map[string]filter{}
	for _, part := range strings.Split("\n"+text, "\n*")[1:] {
		name, rules, _ := strings.Cut(part, "\n")
		f := parseFilter(rules)
		for line := range strings.Lines(rules) {
			if chain, ok := strings.CutPrefix(line, ":"); ok {
				if words := strings.Fields(chain); len(words) > 1 {
					f.policy[words[0]] = words[1]
				}
			}
		}
		all[strings.TrimSpace(name)] = f
	}
	return all
}

// A stop is a chain of iptables that the connections of a server pass.
type stop struct {
	table, chain string
	prio         int
}

// stops are in the order in which packets meet them, but for those of output. The rules
// of nat do not drop, and before OUTPUT of raw nothing is known about a packet.
var stops = []stop{
	{"raw", "PREROUTING", -300}, {"mangle", "PREROUTING", -150},
	{"mangle", "INPUT", -150}, {"filter", "INPUT", 0}, {"security", "INPUT", 50},
	{"mangle", "OUTPUT", -150}, {"filter", "OUTPUT", 0}, {"security", "OUTPUT", 50},
}

func (s stop) early() bool { return s.chain == "PREROUTING" }

func (s stop) out() bool { return s.chain == "OUTPUT" }

// of is how a stop is called in a sentence.
func (s stop) of(t table) string {
	if s.table == "filter" {
		return s.chain + " of " + t.program
	}
	return s.chain + " of the table " + s.table + " of " + t.program
}

// command is the begin of a command for a stop.
func (s stop) command(t table, option string) []string {
	if s.table == "filter" {
		return []string{t.program, option, s.chain}
	}
	return []string{t.program, "-t", s.table, option, s.chain}
}

// meetsAt is what of a server a chain meets.
func (p Ports) meetsAt(s stop) traffic {
	switch {
	case s.early():
		return p.incoming().early(s.prio)
	case s.out():
		return p.outgoing()
	}
	return p.incoming()
}

// filters tells whether a chain drops what a server needs, and in fates what each rule
// of it does.
func (f filter) filters(s stop, p Ports) (fates []fate, yes bool) {
	fates = f.fates(s.chain, p.meetsAt(s))
	_, blocked := place(fates)
	return fates, blocked || f.policy[s.chain] == "DROP"
}

// fates are what the rules of a chain do to a traffic. Ours do nothing.
func (f filter) fates(chain string, w traffic) []fate {
	return f.read(chain, w, map[string]fate{})
}

// read is fates with those of the chains that are known: each is read once.
func (f filter) read(chain string, w traffic, known map[string]fate) []fate {
	out := make([]fate, len(f.chains[chain]))
	g := gate(blocks)
	for i, rule := range f.chains[chain] {
		if ours(rule) {
			continue
		}
		if option(rule, "-j") == "RETURN" {
			peer := "-s"
			if w.out {
				peer = "-d"
			}
			g.leave(f.about(rule, w, blocks), ofPeers(rule, peer) == sometimes)
			continue
		}
		out[i] = min(f.fate(rule, w, known), fate(g))
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
	return f.about(rule, w, found)
}

// about is what a rule does whose target would do found to all packets that get there.
func (f filter) about(rule []string, w traffic, found fate) fate {
	if found == passes {
		return passes
	}
	ports := func(names ...string) []Range {
		var out []Range
		for word := range strings.SplitSeq(option(rule, names...), ",") {
			if r, ok := portsOf(word); ok {
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
	set := flags(rule)
	not := func(names ...string) bool { return negated(rule, names...) }
	switch {
	case protocol != "" && protocol != "all" && (protocol == "tcp") == not("-p"),
		lo == "lo" && !not("-i", "-o"),
		states != "" && slices.Contains(strings.Split(states, ","), strings.ToUpper(w.state)) == not("--ctstate", "--state"),
		len(dports) > 0 && len(w.dport) > 0 && !not("--dport", "--dports") && (!meet(dports, w.dport) || w.out && size(dports) < 1000),
		w.out && len(sports) > 0 && len(w.sport) > 0 && !not("--sport", "--sports") && !meet(sports, w.sport),
		len(set) > 0 && (!slices.Equal(set, []string{"syn"}) || w.begins(set) == not("--tcp-flags", "--syn")),
		slices.Contains(rule, "-f") && !not("-f"):
		return passes
	case ofPeers(rule, peer) == sometimes, option(rule, "-d") != "" && !not("-d"), !w.out && len(sports) > 0, partial(rule):
		return min(found, bans)
	case ofPeers(rule, peer) == mostly:
		return min(found, restricts)
	}
	return found
}

// passed are the rules about some peers, of a chain and those that it goes to, which an
// accept before the rule number at goes round. closed says that nothing gets behind the
// chain.
func (f filter) passed(chain string, at int, w traffic, seen map[string]bool) (rules []string, closed bool) {
	seen[chain] = true
	fates := f.fates(chain, w)
	for i := at; i < len(fates); i++ {
		rule := f.chains[chain][i]
		switch fates[i] {
		case bans, restricts:
			rules = append(rules, "-A "+chain+" "+strings.Join(rule, " "))
		case blocks:
			closed = rule[0] == "-j" || rule[0] == "-g" // no condition before it
			if to := option(rule, "-j", "-g"); f.chains[to] != nil {
				all := false
				if !seen[to] {
					var inside []string
					inside, all = f.passed(to, 0, w, seen)
					rules = append(rules, inside...)
				}
				closed = closed && all
			}
			if closed {
				return rules, true
			}
		}
	}
	return rules, false
}

// portsOf reads a word of --dport or --dports, which may begin with 0.
func portsOf(word string) (Range, bool) {
	if end, ok := strings.CutPrefix(word, "0:"); ok {
		word = "1:" + end
	}
	return ParseRange(word, ":")
}

// The options about the address of a peer, beside that of the rule itself.
var peerOptions = []string{"--match-set", "--src-range", "--source-country", "--src-cc"}

// ofPeers is how many peers a rule is about, by the option for their address and those
// of extensions.
func ofPeers(rule []string, address string) match {
	m := always
	for _, name := range append([]string{address}, peerOptions...) {
		switch {
		case option(rule, name) == "":
		case negated(rule, name):
			m = max(m, mostly)
		default:
			return sometimes
		}
	}
	return m
}

// flags are the flags that a rule wants of a packet, of those that it looks at; none:
// it does not look.
func flags(rule []string) []string {
	for i, word := range rule {
		if word == "--syn" {
			return []string{"syn"}
		}
		if word == "--tcp-flags" && i+2 < len(rule) {
			return strings.Split(strings.ToLower(rule[i+2]), ",")
		}
	}
	return nil
}

// partial tells whether a rule has an extension that is about some packets only, or one
// that is not known here.
func partial(rule []string) bool {
	for i, word := range rule {
		if word == "-m" && i+1 < len(rule) && !slices.Contains([]string{"tcp", "conntrack", "state", "comment", "multiport", "set", "iprange", "geoip"}, rule[i+1]) &&
			(rule[i+1] != "addrtype" || option(rule, "--dst-type") != "LOCAL" || negated(rule, "--dst-type") || option(rule, "--src-type") != "") {
			return true
		}
	}
	return false
}

// untracks tells whether a rule takes packets from connection tracking.
func untracks(rule []string) bool {
	return slices.Contains(rule, "--notrack") || option(rule, "-j") == "NOTRACK"
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

// chainRules are the rules that the ports need in a chain, as words behind its name, in
// the order in which iptables prints them.
func (p Ports) chainRules(v6 bool, s stop) [][]string {
	rule := func(from string, ports []Range, option string) [][]string {
		var rules [][]string
		for _, some := range chunks(ports, 15) {
			var r []string
			if from != "" {
				r = append(r, "-s", from)
			}
			r = append(r, "-p", "tcp", "-m", "multiport", option, list(some, ":", ","))
			if s.early() { // no state is known there, and others than this host may be meant
				r = append(r, "-m", "addrtype", "--dst-type", "LOCAL")
			} else {
				r = append(r, "-m", "conntrack", "--ctstate", "NEW,UNTRACKED")
			}
			rules = append(rules, append(r, accepting...))
		}
		return rules
	}
	if s.out() {
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
		peer := n.String()
		if n.Bits() == 0 { // iptables prints it as no condition
			peer = ""
		}
		rules = append(rules, rule(peer, p.in(), "--dports")...)
	}
	return rules
}

// wants are chainRules, with those for packets of connections that they let in where the
// chain would drop these. notrack says that some rule takes packets from connection
// tracking.
func (f filter) wants(t table, s stop, p Ports, notrack bool) [][]string {
	want := p.chainRules(t.v6, s)
	switch back := p.back().early(s.prio); {
	case len(want) == 0 && !s.out():
		return nil // nobody is let in there
	case s.early():
		if _, blocked := place(f.fates(s.chain, back)); len(back.dport) > 0 && (blocked || f.policy[s.chain] == "DROP") {
			for _, some := range chunks(back.dport, 15) {
				want = append(want, append([]string{"-p", "tcp", "-m", "tcp", "--tcp-flags", "ACK", "ACK", "-m", "multiport", "--dports", list(some, ":", ","), "-m", "addrtype", "--dst-type", "LOCAL"}, accepting...))
			}
		}
		return want
	case s.out() && notrack:
		for _, some := range chunks(p.in(), 15) {
			want = append(want, append([]string{"-p", "tcp", "-m", "multiport", "--sports", list(some, ":", ","), "-m", "conntrack", "--ctstate", "UNTRACKED"}, accepting...))
		}
	}
	if !f.established(s.chain, map[string]bool{}) {
		want = append([][]string{stateRule}, want...)
	}
	return want
}

// accepting is the end of each rule of ours.
var accepting = []string{"-m", "comment", "--comment", mark, "-j", "ACCEPT"}

var stateRule = append([]string{"-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED"}, accepting...)

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

// A table is what one program keeps: tables of the names in stops.
type table struct {
	program string
	v6      bool
	bare    bool // the table filter is not there, and not to be asked for: the question would make it
}

// tables are those that may have rules: iptables is the program of nftables or of
// the old tables, and the other kind may have rules beside it. That one is asked
// only where the kernel has such a table: the question would make it.
func (h *Host) tables() []table {
	all := []table{{program: "iptables"}, {program: "ip6tables", v6: true}}
	version, err := h.Run("iptables", "-V")
	if err != nil {
		return all
	}
	if !strings.Contains(version, "nf_tables") {
		return all
	}
	for _, t := range []table{{program: "iptables-legacy"}, {program: "ip6tables-legacy", v6: true}} {
		if names := h.legacyTables(t.v6); len(names) > 0 {
			t.bare = !slices.Contains(names, "filter")
			all = append(all, t)
		}
	}
	return all
}

// legacyTables are the tables of the old kind that the kernel has and that may filter.
func (h *Host) legacyTables(v6 bool) []string {
	file := "/proc/net/ip_tables_names"
	if v6 {
		file = "/proc/net/ip6_tables_names"
	}
	b, err := h.Read(file)
	if err != nil {
		return nil
	}
	return slices.DeleteFunc(strings.Fields(string(b)), func(name string) bool {
		return !slices.ContainsFunc(stops, func(s stop) bool { return s.table == name })
	})
}

// legacy tells whether there is one of legacyTables.
func (h *Host) legacy() bool { return len(h.legacyTables(false))+len(h.legacyTables(true)) > 0 }

// filters are the tables of one program, by name. The question makes none.
func (h *Host) filters(t table) (map[string]filter, error) {
	all := map[string]filter{}
	saved, err := h.Run(t.program + "-save")
	if err == nil {
		all = parseSave(saved)
	}
	if t.bare {
		return all, err
	}
	out, err := h.Run(t.program, "-S")
	if err != nil {
		return nil, err
	}
	all["filter"] = parseFilter(out)
	return all, nil
}

func iptables(h *Host, p Ports) Plan {
	var plan Plan
	opened := false
	for _, t := range h.tables() {
		tables, err := h.filters(t)
		if err != nil {
			plan.say("The rules of %s can't be read (%s): these are the commands for a chain that drops.", t.program, reason(err))
			f := filter{policy: map[string]string{"INPUT": "DROP"}}
			plan.openTable(t, p, f, stop{"filter", "INPUT", 0}, false)
			if p.out() {
				plan.say("Those for OUTPUT are needed only where it drops.")
				f.policy["OUTPUT"] = "DROP"
				f.chains = map[string][][]string{"OUTPUT": {stateRule}}
				plan.openTable(t, p, f, stop{"filter", "OUTPUT", 0}, false)
			}
			opened = true
			continue
		}
		notrack := slices.ContainsFunc(slices.Concat(tables["raw"].chains["PREROUTING"], tables["raw"].chains["OUTPUT"]), untracks)
		for _, s := range stops {
			if _, ok := tables[s.table]; ok {
				opened = plan.openTable(t, p, tables[s.table], s, notrack) || opened
			}
		}
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
func (plan *Plan) openTable(t table, p Ports, f filter, s stop, notrack bool) bool {
	fates, filters := f.filters(s, p)
	var rules []string
	for _, i := range restricted(fates) {
		rules = append(rules, "-A "+s.chain+" "+strings.Join(f.chains[s.chain][i], " "))
	}
	plan.sayRestricted(s.of(t), rules)
	if !filters {
		if s.table == "filter" && len(rules) == 0 {
			plan.say("%s drops nothing that is needed here.", s.of(t))
		}
		return false
	}
	if s.early() {
		plan.say("%s comes before INPUT, and drops as well.", s.of(t))
	}
	at, _ := place(fates)
	want := f.wants(t, s, p, notrack)
	if len(want) > 0 {
		passed, _ := f.passed(s.chain, at, p.meetsAt(s), map[string]bool{})
		plan.sayPassed(s.of(t), passed)
	} else {
		plan.say("%s is for %s, of which no network is let in: no rule is needed there.", s.of(t), family(t.v6))
	}
	there := make([]bool, len(want))
	var older [][]string
	for _, rule := range f.chains[s.chain] {
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
	where := s.command(t, "-I")
	if at > 0 {
		comment = "behind the rules of " + s.chain + " that turn some peers away: those go on to hold"
		where = append(where, number(at+1))
	}
	for i, rule := range want {
		if !there[i] {
			plan.run(comment, append(slices.Clone(where), rule...)...)
			comment = ""
		}
	}
	for _, rule := range older {
		plan.run("an older rule of dray", append(s.command(t, "-D"), rule...)...)
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
		tables, err := h.filters(t)
		if err != nil {
			plan.say("The rules of %s can't be read (%s). \"%s -S\" shows those with the comment \"dray\"; each goes by the same line with -D in place of -A.", t.program, reason(err), t.program)
			continue
		}
		for _, s := range stops {
			for _, rule := range tables[s.table].chains[s.chain] {
				if ours(rule) {
					plan.run("", append(s.command(t, "-D"), rule...)...)
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
