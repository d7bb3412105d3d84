package firewall

import (
	"fmt"
	"strconv"
	"strings"
)

func number(n int) string { return strconv.Itoa(n) }

// notes are what no rule does, for a firewall on the host of the server.
func (p Ports) notes(h *Host) []string {
	out := p.protocol()
	out = append(out, "The firewall of a provider is before this host, and not seen from here: dray firewall aws, gcp or azure.")
	if h.GOOS == "linux" {
		out = append(out, p.selinux(h)...)
	}
	return out
}

// protocol is what is true for every firewall.
func (p Ports) protocol() []string {
	var out []string
	if !p.ftp() {
		return append(out, "SFTP has one connection for all: no range, no helper and nothing outgoing is needed. "+p.client())
	}
	if len(p.passive()) == 0 {
		out = append(out, "Passive mode is off, so no range has to be open, and most clients can't list: what is behind a router of its own can't be reached in active mode.")
	} else {
		out = append(out, fmt.Sprintf("Under TLS a connection-tracking helper (nf_conntrack_ftp, the service \"ftp\" of firewalld, the ALG of a router) can't see which data port was agreed on. The passive range %s itself has to be open, with the same numbers in every firewall and every forwarding on the way.", english(p.passive())))
	}
	from, any := p.active()
	switch {
	case !p.out():
		out = append(out, "Active mode is off: nothing has to go out but answers.")
	case any:
		out = append(out, "Active mode: this server connects from any port to ports of the client from 1024 on. Where outgoing connections are filtered, by this host, a router or the security group of a provider, TCP to 1024-65535 has to go out.")
	default:
		out = append(out, fmt.Sprintf("Active mode: this server connects from TCP %s%s to ports of the client from 1024 on. Where outgoing connections are filtered, by this host, a router or the security group of a provider, these have to go out.", english(from), implicit(from)))
	}
	return append(out, p.client())
}

// implicit says which of the ports is for implicit TLS.
func implicit(from []Range) string {
	for _, r := range from {
		if r.First == 989 {
			return " (989: implicit TLS)"
		}
	}
	return ""
}

// client is what a client behind a firewall of its own needs.
func (p Ports) client() string {
	s := fmt.Sprintf("A client behind a firewall of its own needs TCP out to %s", english(p.control()))
	if !p.ftp() {
		return s + "."
	}
	if len(p.passive()) > 0 {
		s += " and to " + english(p.passive())
	}
	from, any := p.active()
	switch {
	case !p.out():
		return s + "."
	case any:
		return s + "; for active mode also TCP in from this server, from any port, to the ports that it offers."
	}
	return s + fmt.Sprintf("; for active mode also TCP in from port %s of this server, to the ports that it offers.", english(from))
}

// selinux names what a policy wants.
func (p Ports) selinux(h *Host) []string {
	enforcing := false
	if b, err := h.Read("/sys/fs/selinux/enforce"); err == nil {
		enforcing = strings.TrimSpace(string(b)) == "1"
	}
	var commands []string
	for _, r := range p.passive() {
		commands = append(commands, "semanage port -a -t ftp_port_t -p tcp "+r.String())
	}
	for _, l := range p.reached() {
		switch {
		case l.Protocol == "sftp" && l.Port != 22:
			commands = append(commands, fmt.Sprintf("semanage port -a -t ssh_port_t -p tcp %d", l.Port))
		case l.Protocol != "sftp" && l.Port != 21 && l.Port != 990 && l.Port != 989:
			commands = append(commands, fmt.Sprintf("semanage port -a -t ftp_port_t -p tcp %d", l.Port))
		}
	}
	if p.ftp() {
		commands = append(commands, "setsebool -P ftpd_use_passive_mode on", "setsebool -P ftpd_full_access on")
	}
	if len(commands) == 0 {
		return nil
	}
	if !enforcing {
		return []string{"SELinux does not enforce here. Where it does and its policy confines the server (type ftpd_t): " + strings.Join(commands, "; ")}
	}
	out := []string{"SELinux enforces here. dray runs unconfined unless a policy of yours confines it, and needs none of this then; for a server of the type ftpd_t (ps -eZ shows it), with -m in place of -a where a port has a label already:"}
	for _, c := range commands {
		out = append(out, "\t"+c)
	}
	return append(out, "ftpd_use_passive_mode lets it bind ports without the label, ftpd_full_access lets it read and write files of any type.")
}
