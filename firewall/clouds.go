package firewall

import (
	"fmt"
	"net/netip"
	"slices"
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
func (p Ports) inCloud(dialect, replace string) []string {
	out := []string{
		"Replace what is in capitals: " + replace + ".",
		"Where an earlier run was for other ports or networks, take back first what it made: dray firewall " + dialect + " --undo, which knows it by the name \"dray\" alone.",
	}
	if p.ftp() {
		out = append(out, p.behindNAT())
	}
	return append(append(out, p.protocol()...), "The firewall of the host itself comes after this one: run dray firewall there.")
}

func aws(_ *Host, p Ports) Plan {
	var plan Plan
	v4, v6 := p.sources()
	command := func(verb, what string, r Range, n netip.Prefix) []string {
		key, item := "IpRanges", "CidrIp"
		if n.Addr().Is6() {
			key, item = "Ipv6Ranges", "CidrIpv6"
		}
		return []string{"aws", "ec2", verb, "--group-id", "SECURITY_GROUP", "--ip-permissions",
			fmt.Sprintf("IpProtocol=tcp,FromPort=%d,ToPort=%d,%s=[{%s=%s,Description=%s}]", r.First, r.Last, key, item, n, what)}
	}
	// One call each: of several permissions none is made when one is there already.
	for _, r := range p.in() {
		for _, n := range slices.Concat(v4, v6) {
			plan.run("", command("authorize-security-group-ingress", mark, r, n)...)
		}
	}
	plan.Notes = p.inCloud("aws", "SECURITY_GROUP, as sg-0123456789abcdef0")
	plan.note("InvalidPermission.Duplicate says that the group has this rule already: it is left as it is, also by --undo. Go on with the next one.")
	if p.out() {
		plan.note("A new security group lets everything out. Where that rule was taken away, active mode needs this, for a group can't ask for the source port:")
		for _, n := range slices.Concat(v4, v6) {
			plan.line(plan.Line(command("authorize-security-group-egress", mark+"-active", high, n)))
		}
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

// undoAWS finds the rules by their description. A rule that was there before has
// another one, or none.
func undoAWS(*Host, Ports) Plan {
	var plan Plan
	find := func(what string) []string {
		return []string{"aws", "ec2", "describe-security-group-rules", "--filters", "Name=group-id,Values=SECURITY_GROUP",
			"--query", "SecurityGroupRules[?Description==`\"" + what + "\"`].SecurityGroupRuleId", "--output", "text"}
	}
	revoke := func(direction string) []string {
		return []string{"aws", "ec2", "revoke-security-group-" + direction, "--group-id", "SECURITY_GROUP", "--security-group-rule-ids", "RULES"}
	}
	plan.run("prints the rules of dray, as sgr-0123456789abcdef0; nothing: there is nothing to take back", find(mark)...)
	plan.run("all that it printed in place of RULES", revoke("ingress")...)
	plan.note("Replace what is in capitals: SECURITY_GROUP, as sg-0123456789abcdef0, and RULES.")
	plan.note("Where the rule for active mode was made too:")
	plan.line(plan.Line(find(mark + "-active")))
	plan.line(plan.Line(revoke("egress")))
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
		plan.run("", "gcloud", "compute", "firewall-rules", "create", f.name, "--network=NETWORK", "--direction=INGRESS", "--action=ALLOW",
			"--rules="+rules, "--source-ranges="+prefixes(f.from, ","), "--target-tags="+mark)
	}
	if len(plan.Steps) == 2 {
		plan.Steps[1].Comment = "a rule has addresses of one kind only"
	}
	plan.run("", "gcloud", "compute", "instances", "add-tags", "INSTANCE", "--zone=ZONE", "--tags="+mark)
	plan.Notes = p.inCloud("gcp", "NETWORK (default is the usual one), INSTANCE, ZONE, as europe-west1-b")
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

func undoGCP(*Host, Ports) Plan {
	var plan Plan
	remove := func(name string) []string {
		return []string{"gcloud", "compute", "firewall-rules", "delete", name, "--quiet"}
	}
	plan.run("", "gcloud", "compute", "instances", "remove-tags", "INSTANCE", "--zone=ZONE", "--tags="+mark)
	plan.run("where --from had addresses of one kind only, one of these is not found", remove(mark+"-ipv6")...)
	plan.run("", remove(mark)...)
	plan.note("Replace what is in capitals: INSTANCE, ZONE, as europe-west1-b.")
	plan.note("Where rules for active mode were made too:")
	plan.line(plan.Line(remove(mark + "-active")))
	plan.line(plan.Line(remove(mark + "-active-ipv6")))
	return plan
}

func azure(_ *Host, p Ports) Plan {
	var plan Plan
	v4, v6, everybody := p.from()
	var ports []string
	for _, r := range p.in() {
		ports = append(ports, r.String())
	}
	create := func(name, priority, direction string) []string {
		return append(nsgRule("create", name), "--priority", priority, "--direction", direction, "--access", "Allow", "--protocol", "Tcp")
	}
	add := func(name, priority string, from ...string) {
		w := append(create(name, priority, "Inbound"), "--source-address-prefixes")
		w = append(append(w, from...), "--destination-port-ranges")
		plan.run("", append(w, ports...)...)
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
	plan.Notes = p.inCloud("azure", "RESOURCE_GROUP, NSG; the priorities, where others have them")
	if p.out() {
		plan.note("A security group lets everything out to the Internet unless a rule denies it. Where one does, active mode needs, at a smaller priority number:")
		plan.line(plan.Line(append(create(mark+"-active", "300", "Outbound"), "--destination-address-prefixes", "Internet", "--destination-port-ranges", high.String())))
	}
	if p.ftp() {
		plan.note("Connections that say nothing for four minutes are forgotten by Azure's address translation: dray's keep-alives come more often, those of other servers may not.")
	}
	return plan
}

// nsgRule is a command about a rule of a security group.
func nsgRule(verb, name string) []string {
	return []string{"az", "network", "nsg", "rule", verb, "--resource-group", "RESOURCE_GROUP", "--nsg-name", "NSG", "--name", name}
}

func undoAzure(*Host, Ports) Plan {
	var plan Plan
	plan.run("there only where --from had IPv6 networks", nsgRule("delete", mark+"-ipv6")...)
	plan.run("", nsgRule("delete", mark)...)
	plan.note("Replace what is in capitals: RESOURCE_GROUP, NSG.")
	plan.note("Where the rule for active mode was made too:")
	plan.line(plan.Line(nsgRule("delete", mark+"-active")))
	return plan
}
