package firewall

import (
	"slices"
	"strings"
)

// ufwStatus is what "ufw status verbose" says first.
type ufwStatus struct {
	active     bool
	in, out    string // default policies: allow, deny or reject
	addedRules [][]string
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
			s.addedRules = append(s.addedRules, words[1:])
		}
	}
	return s
}

// ufwRules are the rules that the ports need, in the words in which ufw is told,
// and behind them as "ufw show added" prints them.
func (p Ports) ufwRules(out bool) (told, shown [][]string) {
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
	return parseUFW(status, added), nil
}

func ufw(h *Host, p Ports) Plan {
	var plan Plan
	told, shown := p.ufwRules(false)
	s, err := h.ufw()
	outgoing := p.out() && (err != nil || s.out != "" && s.out != "allow")
	if err != nil {
		plan.say("ufw can't be asked (%s): these are the commands for one that has no rule of dray.", reason(err))
	} else if !s.active {
		plan.say("ufw is not active: it filters nothing now, and the rules wait for \"ufw enable\". Before that see that a rule lets you in by SSH.")
	}
	if outgoing {
		t, sh := p.ufwRules(true)
		told, shown = append(told, t...), append(shown, sh...)
	}
	there := make([]bool, len(told))
	var older [][]string
	for _, rule := range s.addedRules {
		if option(rule, "comment") != mark {
			continue
		}
		if i := slices.IndexFunc(shown, func(w []string) bool { return slices.Equal(w, rule) }); i >= 0 && !there[i] {
			there[i] = true
			continue
		}
		older = append(older, rule)
	}
	for i, rule := range told {
		if !there[i] {
			comment := ""
			if err != nil && rule[1] == "out" {
				comment = "where \"ufw status verbose\" says deny (outgoing), for active mode"
			}
			plan.run(comment, append([]string{"ufw"}, rule...)...)
		}
	}
	for _, rule := range older {
		plan.run("an older rule of dray", deleteUFW(rule)...)
	}
	if err == nil && len(plan.Steps) == 0 {
		plan.say("All rules are there already.")
	}
	for _, rule := range s.addedRules {
		var ports []Range
		for _, word := range rule {
			word, _, _ = strings.Cut(word, "/")
			for part := range strings.SplitSeq(word, ",") {
				if r, ok := ParseRange(part, ":"); ok {
					ports = append(ports, r)
				}
			}
		}
		out := slices.Contains(rule, "out")
		switch {
		case out || rule[0] == "allow" || rule[0] == "route" || !meet(ports, p.in()):
		case rule[0] == "limit" && meet(ports, p.passive()):
			plan.note("\"ufw %s\" comes before and cuts off who opens more than six connections in half a minute: each file is a connection of its own. Take it away for these ports.", strings.Join(rule, " "))
		case rule[0] == "deny" || rule[0] == "reject":
			plan.note("\"ufw %s\" comes before and goes on to hold: the first rule that fits decides. Where it should not: ufw delete %s", strings.Join(rule, " "), strings.Join(rule, " "))
		}
	}
	plan.note("ufw keeps its rules over the next start, and has them for IPv6 too unless /etc/default/ufw says IPV6=no. Never use \"ufw limit\" for the passive range: each file is a connection of its own.")
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
		plan.say("ufw can't be asked (%s): these are the commands for the rules of these ports.", reason(err))
		told, _ := p.ufwRules(false)
		for _, rule := range told {
			plan.run("", deleteUFW(rule)...)
		}
		return plan
	}
	for _, rule := range s.addedRules {
		if option(rule, "comment") == mark {
			plan.run("", deleteUFW(rule)...)
		}
	}
	if len(plan.Steps) == 0 {
		plan.say("No rule has the comment \"dray\": there is nothing to take back.")
	}
	return plan
}
