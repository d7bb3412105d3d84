package firewall

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

var zoneName = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// foreign are zones that programs keep for their own networks, and those that let
// everything in.
var foreign = []string{"docker", "libvirt", "libvirt-routed", "nm-shared", "trusted"}

// parseZones reads "firewall-cmd --get-active-zones": the names at the margin, of
// which newer versions mark the default one.
func parseZones(text string) []string {
	var zones []string
	for line := range strings.Lines(text) {
		name, _, _ := strings.Cut(strings.TrimRight(line, "\n"), " ")
		if zoneName.MatchString(name) && !slices.Contains(foreign, name) && !slices.Contains(zones, name) {
			zones = append(zones, name)
		}
	}
	return zones
}

// parseNames reads a list of words, as services and ports are printed.
func parseNames(text string) []string {
	return slices.DeleteFunc(strings.Fields(text), func(s string) bool { return !nameOfService.MatchString(s) })
}

var nameOfService = regexp.MustCompile(`^[A-Za-z0-9_./-]+$`)

// permanent runs a question about the permanent configuration.
func (h *Host) permanent(args ...string) (string, error) {
	return h.Run("firewall-cmd", append([]string{"--permanent"}, args...)...)
}

// set is a command that changes the permanent configuration.
func set(args ...string) []string { return append([]string{"firewall-cmd", "--permanent"}, args...) }

// A zone is what a zone has of ours, now and after the next start.
type zone struct {
	name    string
	service bool
	rich    []string
}

func (h *Host) zone(name string) zone {
	z := zone{name: name}
	if out, err := h.permanent("--zone="+name, "--list-services"); err == nil {
		z.service = slices.Contains(parseNames(out), mark)
	}
	if out, err := h.permanent("--zone="+name, "--list-rich-rules"); err == nil {
		for line := range strings.Lines(out) {
			if line = strings.TrimSpace(line); strings.Contains(line, `service name="`+mark+`"`) && printable(line) {
				z.rich = append(z.rich, line)
			}
		}
	}
	return z
}

func firewalld(h *Host, p Ports) Plan {
	var plan Plan
	zones, err := h.zones(&plan)
	var want []string
	for _, r := range p.in() {
		want = append(want, r.String()+"/tcp")
	}
	services, serr := h.permanent("--get-services")
	if exists := serr == nil && slices.Contains(parseNames(services), mark); exists {
		out, _ := h.permanent("--service="+mark, "--get-ports")
		have := parseNames(out)
		service := []string{"--service=" + mark}
		comment := "the service of dray, with other ports"
		for _, c := range []struct {
			option      string
			ports, than []string
		}{{"--remove-port=", have, want}, {"--add-port=", want, have}} { // firewall-cmd takes one of them at a time
			args := service[:1:1]
			for _, port := range c.ports {
				if !slices.Contains(c.than, port) {
					args = append(args, c.option+port)
				}
			}
			if len(args) > 1 {
				plan.run(comment, set(args...)...)
				comment = ""
			}
		}
	} else {
		plan.run("a service of its own: the stock \"ftp\" opens 21 and relies on the helper", set("--new-service="+mark)...)
		plan.run("", set("--service="+mark, "--set-short=dray file transfer")...)
		args := []string{"--service=" + mark}
		for _, port := range want {
			args = append(args, "--add-port="+port)
		}
		plan.run("", set(args...)...)
	}
	v4, v6, everybody := p.from()
	var rich []string
	for _, n := range append(v4, v6...) {
		family := "ipv4"
		if n.Addr().Is6() {
			family = "ipv6"
		}
		rich = append(rich, fmt.Sprintf(`rule family="%s" source address="%s" service name="%s" accept`, family, n, mark))
	}
	for _, name := range zones {
		z := zone{name: name}
		if err == nil {
			z = h.zone(name)
		}
		for _, r := range z.rich {
			if !slices.Contains(rich, r) {
				plan.run("an older rule of dray", set("--zone="+name, "--remove-rich-rule="+r)...)
			}
		}
		switch {
		case everybody && !z.service:
			plan.run("", set("--zone="+name, "--add-service="+mark)...)
		case !everybody && z.service:
			plan.run("no longer for everybody", set("--zone="+name, "--remove-service="+mark)...)
		}
		for _, r := range rich {
			if !slices.Contains(z.rich, r) {
				plan.run("", set("--zone="+name, "--add-rich-rule="+r)...)
			}
		}
	}
	if len(plan.Steps) > 0 {
		plan.run("what was set for now only, without --permanent, is gone after this", "firewall-cmd", "--reload")
	} else {
		plan.say("All rules are there already.")
	}
	plan.note("firewalld keeps what is --permanent over the next start. It lets out everything unless a policy of yours says otherwise (firewall-cmd --get-policies).")
	plan.Notes = append(plan.Notes, p.notes(h)...)
	return plan
}

// zones are those that get rules: the active ones, or the default one.
func (h *Host) zones(plan *Plan) ([]string, error) {
	out, err := h.Run("firewall-cmd", "--get-active-zones")
	if err != nil {
		plan.say("firewalld can't be asked (%s): these are the commands for the zone public. \"firewall-cmd --get-active-zones\" shows yours.", reason(err))
		return []string{"public"}, err
	}
	if zones := parseZones(out); len(zones) > 0 {
		return zones, nil
	}
	out, err = h.Run("firewall-cmd", "--get-default-zone")
	if name := strings.TrimSpace(out); err == nil && zoneName.MatchString(name) {
		return []string{name}, nil
	}
	return []string{"public"}, err
}

func undoFirewalld(h *Host, _ Ports) Plan {
	var plan Plan
	out, err := h.permanent("--get-services")
	if err != nil {
		plan.say("firewalld can't be asked (%s): these are the commands for the zone public.", reason(err))
		plan.run("", set("--zone=public", "--remove-service="+mark)...)
		plan.run("", set("--delete-service="+mark)...)
		plan.run("", "firewall-cmd", "--reload")
		return plan
	}
	if !slices.Contains(parseNames(out), mark) {
		plan.say("There is no service \"dray\": there is nothing to take back.")
		return plan
	}
	zones, err := h.permanent("--get-zones")
	if err != nil {
		zones = "public"
	}
	for _, name := range strings.Fields(zones) {
		if !zoneName.MatchString(name) {
			continue
		}
		z := h.zone(name)
		for _, r := range z.rich {
			plan.run("", set("--zone="+name, "--remove-rich-rule="+r)...)
		}
		if z.service {
			plan.run("", set("--zone="+name, "--remove-service="+mark)...)
		}
	}
	plan.run("", set("--delete-service="+mark)...)
	plan.run("what was set for now only, without --permanent, is gone after this", "firewall-cmd", "--reload")
	return plan
}
