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
		return []string{"firewalld"}, []string{"firewalld is running."}
	}
	out, err = h.Run("ufw", "status")
	switch {
	case err == nil && strings.HasPrefix(out, "Status: active"):
		return []string{"ufw"}, []string{"ufw is active."}
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
