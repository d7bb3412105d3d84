package firewall

import "fmt"

// showRule asks Windows whether there is a rule of ours.
func (h *Host) showRule() bool {
	if h.GOOS != "windows" {
		return false
	}
	_, err := h.Run("netsh", "advfirewall", "firewall", "show", "rule", "name="+mark)
	return err == nil // "No rules match" is status 1
}

func windows(h *Host, p Ports) Plan {
	plan := Plan{Dialect: "windows"}
	if h.showRule() {
		plan.Steps = undoWindows(h, p).Steps
	}
	args := []string{"netsh", "advfirewall", "firewall", "add", "rule", "name=" + mark, "dir=in", "action=allow", "protocol=TCP", "localport=" + list(p.in(), "-", ",")}
	v4, v6, everybody := p.from()
	if !everybody {
		args = append(args, "remoteip="+prefixes(append(v4, v6...), ","))
	}
	plan.run("as administrator", args...)
	plan.note("The same in PowerShell; Remove-NetFirewallRule -DisplayName dray takes it back:")
	line := "New-NetFirewallRule -DisplayName dray -Direction Inbound -Action Allow -Protocol TCP -LocalPort "
	for i, r := range p.in() {
		if i > 0 {
			line += ","
		}
		line += fmt.Sprintf("%q", r.String())
	}
	if !everybody {
		line += " -RemoteAddress "
		for i, n := range append(v4, v6...) {
			if i > 0 {
				line += ","
			}
			line += fmt.Sprintf("%q", n.String())
		}
	}
	plan.line(line)
	plan.note("Rules are kept over the next start. Windows lets out everything unless a rule blocks it, so active mode needs none.")
	if p.ftp() {
		plan.note("Windows looks into FTP connections itself, and resets some that turn to TLS. This ends it, for all of them; data connections in clear text then need rules as well:")
		plan.line("netsh advfirewall set global StatefulFTP disable")
	}
	plan.Notes = append(plan.Notes, p.protocol()...)
	return plan
}

func undoWindows(h *Host, _ Ports) Plan {
	plan := Plan{Dialect: "windows"}
	if h.GOOS == "windows" && !h.showRule() {
		plan.say("There is no rule \"dray\": there is nothing to take back.")
		return plan
	}
	plan.run("as administrator", "netsh", "advfirewall", "firewall", "delete", "rule", "name="+mark)
	return plan
}
