package firewall

import (
	"fmt"
	"net/netip"
	"strings"
)

var (
	everybody4 = netip.MustParsePrefix("0.0.0.0/0")
	everybody6 = netip.MustParsePrefix("::/0")
)

// sources are the networks that may connect, written out.
func (p Ports) sources() (v4, v6 []netip.Prefix) {
	v4, v6, everybody := p.from()
	if everybody {
		return []netip.Prefix{everybody4}, []netip.Prefix{everybody6}
	}
	return v4, v6
}

// behindNAT is what a server in a cloud has to be told.
func (p Ports) behindNAT() string {
	if p.Public != "" {
		return fmt.Sprintf("The server tells clients %s, which has to be the public address of this host: it sees only its private one.", p.Public)
	}
	return "The host sees only its private address. Tell the server its public one, or clients get the private one in the answer to PASV: public = \"ADDRESS\" in dray.toml, or dray serve --public ADDRESS."
}

// inCloud are the notes for a provider; the host's own firewall is another matter.
func (p Ports) inCloud(replace string) []string {
	out := []string{"Replace what is in capitals: " + replace + "."}
	if p.ftp() {
		out = append(out, p.behindNAT())
	}
	return append(append(out, p.protocol()...), "The firewall of the host itself comes after this one: run dray firewall there.")
}

func aws(_ *Host, p Ports) Plan {
	var plan Plan
	v4, v6 := p.sources()
	permission := func(r Range, what string, v4, v6 []netip.Prefix) string {
		s := fmt.Sprintf("IpProtocol=tcp,FromPort=%d,ToPort=%d", r.First, r.Last)
		networks := func(key, item string, ns []netip.Prefix) {
			var items []string
			for _, n := range ns {
				items = append(items, fmt.Sprintf("{%s=%s,Description=%s}", item, n, what))
			}
			if len(items) > 0 {
				s += "," + key + "=[" + strings.Join(items, ",") + "]"
			}
		}
		networks("IpRanges", "CidrIp", v4)
		networks("Ipv6Ranges", "CidrIpv6", v6)
		return s
	}
	var permissions []string
	for _, r := range p.in() {
		permissions = append(permissions, permission(r, mark, v4, v6))
	}
	command := func(verb string, permissions ...string) []string {
		return append([]string{"aws", "ec2", verb, "--group-id", "SECURITY_GROUP", "--ip-permissions"}, permissions...)
	}
	plan.Steps = []Step{{Args: command("authorize-security-group-ingress", permissions...), Undo: command("revoke-security-group-ingress", permissions...)}}
	plan.Notes = p.inCloud("SECURITY_GROUP, as sg-0123456789abcdef0")
	if p.out() {
		plan.note("A new security group lets everything out. Where that rule was taken away, active mode needs this one, for a group can't ask for the source port:")
		plan.line(plan.Line(command("authorize-security-group-egress", permission(high, mark+"-active", v4, v6))))
	}
	acl := fmt.Sprintf("A network ACL keeps no state: beside TCP %s in, it has to let TCP 1024-65535 out for the answers", english(p.in()))
	if from, any := p.active(); p.out() && !any {
		acl += fmt.Sprintf(", and for active mode TCP %s in", english(from))
	} else if any {
		acl += ", and for active mode TCP 1024-65535 in"
	}
	plan.note("%s.", acl)
	if p.ftp() {
		plan.note("A load balancer needs a listener for each port of the range, and has to send all connections of a client to one host: behind it SFTP is simpler.")
	}
	return plan
}

func gcp(_ *Host, p Ports) Plan {
	var plan Plan
	v4, v6 := p.sources()
	rules := "tcp:" + list(p.in(), "-", ",tcp:")
	for _, f := range []struct {
		name string
		from []netip.Prefix
	}{{mark, v4}, {mark + "-ipv6", v6}} {
		if len(f.from) == 0 {
			continue
		}
		plan.Steps = append(plan.Steps, Step{
			Args: []string{"gcloud", "compute", "firewall-rules", "create", f.name, "--network=NETWORK", "--direction=INGRESS", "--action=ALLOW",
				"--rules=" + rules, "--source-ranges=" + prefixes(f.from, ","), "--target-tags=" + mark},
			Undo: []string{"gcloud", "compute", "firewall-rules", "delete", f.name, "--quiet"},
		})
	}
	if len(plan.Steps) == 2 {
		plan.Steps[1].Comment = "a rule has addresses of one kind only"
	}
	plan.Steps = append(plan.Steps, Step{
		Args: []string{"gcloud", "compute", "instances", "add-tags", "INSTANCE", "--zone=ZONE", "--tags=" + mark},
		Undo: []string{"gcloud", "compute", "instances", "remove-tags", "INSTANCE", "--zone=ZONE", "--tags=" + mark},
	})
	plan.Notes = p.inCloud("NETWORK (default is the usual one), INSTANCE, ZONE, as europe-west1-b")
	if p.out() {
		plan.note("A network lets everything out unless a rule denies it. Where one does, active mode needs, at a smaller priority number:")
		for i, to := range [][]netip.Prefix{v4, v6} {
			if len(to) > 0 {
				plan.line(plan.Line([]string{"gcloud", "compute", "firewall-rules", "create", mark + "-active" + []string{"", "-ipv6"}[i], "--network=NETWORK", "--direction=EGRESS", "--action=ALLOW",
					"--rules=tcp:" + high.String(), "--destination-ranges=" + prefixes(to, ","), "--target-tags=" + mark, "--priority=900"}))
			}
		}
	}
	return plan
}

func azure(_ *Host, p Ports) Plan {
	var plan Plan
	v4, v6, everybody := p.from()
	var ports []string
	for _, r := range p.in() {
		ports = append(ports, r.String())
	}
	rule := func(verb, name, direction, priority string) []string {
		w := []string{"az", "network", "nsg", "rule", verb, "--resource-group", "RESOURCE_GROUP", "--nsg-name", "NSG", "--name", name}
		if verb == "create" {
			w = append(w, "--priority", priority, "--direction", direction, "--access", "Allow", "--protocol", "Tcp")
		}
		return w
	}
	add := func(name, priority string, from ...string) {
		w := append(rule("create", name, "Inbound", priority), "--source-address-prefixes")
		w = append(append(w, from...), "--destination-port-ranges")
		plan.Steps = append(plan.Steps, Step{Args: append(w, ports...), Undo: rule("delete", name, "", "")})
	}
	if everybody {
		add(mark, "300", "Internet")
	}
	if len(v4) > 0 {
		add(mark, "300", strings.Fields(prefixes(v4, " "))...)
	}
	if len(v6) > 0 {
		add(mark+"-ipv6", "301", strings.Fields(prefixes(v6, " "))...)
	}
	plan.Notes = p.inCloud("RESOURCE_GROUP, NSG; the priorities, where others have them")
	if p.out() {
		plan.note("A security group lets everything out to the Internet unless a rule denies it. Where one does, active mode needs, at a smaller priority number:")
		plan.line(plan.Line(append(rule("create", mark+"-active", "Outbound", "300"), "--destination-address-prefixes", "Internet", "--destination-port-ranges", high.String())))
	}
	if p.ftp() {
		plan.note("Connections that say nothing for four minutes are forgotten by Azure's address translation: dray's keep-alives come more often, those of other servers may not.")
	}
	return plan
}
