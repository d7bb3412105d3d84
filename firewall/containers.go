package firewall

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// few is how many ports a container may publish before it hurts.
const few = 10

// published are the ports, the same outside and inside.
func (p Ports) published() []string {
	var out []string
	for _, r := range p.in() {
		out = append(out, r.String()+":"+r.String())
	}
	return out
}

// narrow is a range that containers bear, at the start of the one that is there.
func (p Ports) narrow() Range {
	first := 30000
	if r := p.passive(); len(r) > 0 {
		first = min(int(r[0].First), 65535-few+1)
	}
	return Range{uint16(first), uint16(first + few - 1)}
}

func (p Ports) inContainer() []string {
	var out []string
	if p.ftp() {
		out = append(out, "The numbers are the same outside and inside: the server tells clients the port that it has opened itself.", strings.Replace(p.behindNAT(), "The host", "The container", 1))
	}
	return append(out, p.protocol()...)
}

// dockerUser are the rules for Docker's chain DOCKER-USER that let in some networks
// only. All that is forwarded passes there, in both directions and of all containers,
// with the addresses and ports of the container: only the connection still has the port
// that was asked for (ctorigdstport), and that it was sent on (DNAT).
func (p Ports) dockerUser() (lines [][]string) {
	v4, v6, _ := p.from()
	for _, f := range []struct {
		program  string
		networks []netip.Prefix
	}{{"iptables", v4}, {"ip6tables", v6}} {
		for _, r := range p.in() {
			// Each goes before the one above it.
			rule := func(last ...string) {
				line := []string{f.program, "-I", "DOCKER-USER", "-p", "tcp", "-m", "conntrack", "--ctstate", "DNAT", "--ctdir", "ORIGINAL", "--ctorigdstport", r.with(":"), "-m", "comment", "--comment", mark}
				lines = append(lines, append(line, last...))
			}
			rule("-j", "DROP")
			for _, n := range f.networks {
				rule("-s", n.String(), "-j", "RETURN")
			}
		}
	}
	return lines
}

// undoDockerUser notes how the rules of DOCKER-USER are taken back, whatever ports and
// networks they are for.
func (p *Plan) undoDockerUser() {
	p.note("With --from there were rules for Docker's chain DOCKER-USER too, which the next start of this host takes away. These lines do it now:")
	for _, program := range []string{"iptables", "ip6tables"} {
		p.line(program + " -S DOCKER-USER | sed -n '/ --comment " + mark + " /s/^-A/" + program + " -D/p' | sh")
	}
}

func docker(_ *Host, p Ports) Plan {
	var plan Plan
	args := []string{"docker", "run", "-d", "--name", mark}
	for _, s := range p.published() {
		args = append(args, "-p", s)
	}
	plan.run("", append(args, "IMAGE")...)
	plan.note("Replace what is in capitals: IMAGE, and what else docker run is to do.")
	if size(p.passive()) > few {
		plan.note("Docker starts a docker-proxy process for each of the %d ports of the range, which takes memory and minutes. Take a range of %d ports or fewer (passive = %q in dray.toml, and the same here), or the network of the host, where nothing is published:", size(p.passive()), few, p.narrow())
		plan.line(plan.Line([]string{"docker", "run", "-d", "--name", mark, "--network", "host", "IMAGE"}))
	}
	plan.note("Published ports pass by the INPUT chain and by ufw: Docker forwards them. Who may connect is decided in its chain DOCKER-USER.")
	if len(p.From) > 0 {
		plan.note("These lines go there. They are about the ports as they were before Docker's DNAT, so what other containers publish and open goes on. They are gone after the next start of this host, unless iptables-persistent or the like keeps them. Take older ones back first: dray firewall docker --undo.")
		for _, line := range p.dockerUser() {
			plan.line(plan.Line(line))
		}
		plan.note("Where ip6tables has no chain DOCKER-USER, Docker does not forward IPv6: docker-proxy takes those connections as a program of the host, and its INPUT chain decides.")
	}
	plan.Notes = append(plan.Notes, p.inContainer()...)
	return plan
}

func undoDocker(*Host, Ports) Plan {
	var plan Plan
	plan.run("the ports go with the container; its volumes stay", "docker", "rm", "--force", mark)
	plan.undoDockerUser()
	return plan
}

func compose(_ *Host, p Ports) Plan {
	var plan Plan
	var b strings.Builder
	b.WriteString("services:\n  dray:\n    image: IMAGE\n    ports:\n")
	for _, s := range p.published() {
		fmt.Fprintf(&b, "      - %q\n", s)
	}
	plan.Text = b.String()
	plan.note("Replace what is in capitals: IMAGE.")
	if size(p.passive()) > few {
		plan.note("Docker starts a docker-proxy process for each of the %d ports of the range, which takes memory and minutes. Take a range of %d ports or fewer (passive = %q in dray.toml, and the same here), or \"network_mode: host\" in place of \"ports:\".", size(p.passive()), few, p.narrow())
	}
	if len(p.From) > 0 {
		plan.note("A Compose file can't say who may connect: the lines for Docker's chain DOCKER-USER are those of dray firewall docker.")
	}
	plan.Notes = append(plan.Notes, p.inContainer()...)
	return plan
}

func undoCompose(*Host, Ports) Plan {
	var plan Plan
	plan.say("Take the lines out of \"ports:\", then: docker compose up -d")
	plan.undoDockerUser()
	return plan
}

func kubernetes(_ *Host, p Ports) Plan {
	var plan Plan
	var b strings.Builder
	if size(p.passive()) > few {
		plan.say("A Service has no ranges: each of the %d ports of the range is an entry, and providers bear few of them (a load balancer of AWS 50). Take a range of %d ports or fewer: passive = %q in dray.toml, and dray firewall kubernetes --passive %v.", size(p.passive()), few, p.narrow(), p.narrow())
	}
	b.WriteString("apiVersion: v1\nkind: Service\nmetadata:\n  name: dray\nspec:\n  type: LoadBalancer\n  externalTrafficPolicy: Local\n  sessionAffinity: ClientIP\n  selector:\n    app: dray\n")
	if len(p.From) > 0 {
		v4, v6, _ := p.from()
		b.WriteString("  loadBalancerSourceRanges:\n")
		for _, n := range append(v4, v6...) {
			fmt.Fprintf(&b, "    - %q\n", n.String())
		}
	}
	b.WriteString("  ports:\n")
	entry := func(name string, port int) {
		fmt.Fprintf(&b, "    - name: %s-%d\n      protocol: TCP\n      port: %d\n      targetPort: %d\n", name, port, port, port)
	}
	var done []uint16
	for _, l := range p.reached() {
		if !slices.Contains(done, l.Port) {
			entry(l.Protocol, int(l.Port))
			done = append(done, l.Port)
		}
	}
	for _, r := range p.passive() {
		for port := int(r.First); port <= int(r.Last); port++ {
			if !slices.Contains(done, uint16(port)) {
				entry("passive", port)
			}
		}
	}
	plan.Text = b.String()
	plan.note("externalTrafficPolicy: Local keeps the address of the client, which logins, limits and the data connection are judged by; sessionAffinity keeps the data connections of a client with its control connection, where there are several pods.")
	plan.Notes = append(plan.Notes, p.inContainer()...)
	if p.out() {
		plan.note("In active mode the connection comes from the address of the node, not from that of the Service: most clients behind a firewall refuse it. Passive mode is the way in a cluster; active = false in a [[listener]] of dray.toml says so to clients.")
	}
	return plan
}

func undoKubernetes(*Host, Ports) Plan {
	var plan Plan
	plan.run("", "kubectl", "delete", "service", mark)
	return plan
}
