package firewall

import (
	"strings"
)

// Detect names the firewalls that filter on this machine, in found what it has
// seen of each. Both nft and iptables may: a packet meets all of their chains.
// None: nothing filters that it could see.
func Detect(h *Host, p Ports) (dialects, found []string) {
	silent := false // one that is here did not answer
	say := func(text string) { found = append(found, text) }
	refused := func(name string, err error) {
		if !absent(err) {
			silent = true
			say(name + " can't be asked: " + reason(err) + ".")
		}
	}
	if h.GOOS == "windows" {
		return []string{"windows"}, nil
	}
	out, err := h.Run("firewall-cmd", "--state")
	if err == nil && strings.TrimSpace(out) == "running" {
		dialects, found = h.beside("firewalld", p)
		return append([]string{"firewalld"}, dialects...), append([]string{"firewalld is running."}, found...)
	}
	out, err = h.Run("ufw", "status")
	switch {
	case err == nil && strings.HasPrefix(out, "Status: active"):
		dialects, found = h.beside("ufw", p)
		return append([]string{"ufw"}, dialects...), append([]string{"ufw is active."}, found...)
	case err != nil:
		refused("ufw", err)
	}
	old := false // iptables has chains
	rs, err := readNFT(h)
	if err != nil {
		refused("nft", err)
		old = true // perhaps
	} else {
		filters := false
		for _, hook := range hooks {
			for _, c := range rs.base(hook) {
				if c.ofIPTables() {
					old = true
					continue
				}
				if fates, yes := rs.filters(c, p); yes || len(restricted(fates)) > 0 {
					filters = true
				}
			}
		}
		if filters {
			say("nftables has chains that filter.")
			dialects = append(dialects, "nft")
		}
	}
	if old || h.legacy() {
		filters := false
		for _, t := range h.tables() {
			tables, err := h.filters(t)
			if err != nil {
				refused(t.program, err)
				continue
			}
			for _, s := range stops {
				if fates, yes := tables[s.table].filters(s, p); yes || len(restricted(fates)) > 0 {
					filters = true
				}
			}
		}
		if filters {
			say("iptables has chains that filter.")
			dialects = append(dialects, "iptables")
		}
	}
	switch {
	case len(dialects) > 0:
	case silent:
		say("Whether something filters here is not known. Run this as root, or name the firewall: dray firewall --help lists them.")
	default:
		say("Nothing on this host filters what the server needs: no firewalld, no active ufw, no chain of nftables or iptables that drops. No rule is needed here.")
	}
	return dialects, found
}

// beside are the chains that filter beside those of a firewall which keeps its own: for
// nft as a dialect, and those of iptables before INPUT to be told.
func (h *Host) beside(name string, p Ports) (dialects, found []string) {
	rs, err := readNFT(h)
	if err != nil {
		return nil, nil // the firewall itself answers
	}
	old := h.legacy()
	for _, hook := range hooks {
		for _, c := range rs.base(hook) {
			if c.ofIPTables() {
				old = old || c.table != "filter"
				continue
			}
			if _, yes := rs.filters(c, p); yes && c.table != name && len(dialects) == 0 {
				dialects = []string{"nft"}
				found = append(found, "nftables has chains beside it that filter.")
			}
		}
	}
	if !old {
		return dialects, found
	}
	for _, t := range h.tables() {
		tables, _ := h.filters(t)
		for _, s := range stops {
			if _, yes := tables[s.table].filters(s, p); yes && s.early() {
				found = append(found, s.of(t)+" comes before it, and drops as well: dray firewall iptables has rules for that.")
			}
		}
	}
	return dialects, found
}
