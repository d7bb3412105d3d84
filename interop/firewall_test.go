//go:build linux

package interop

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A street is a room with a cable to another network, from which a client looks
// at it. The room listens on every port that a test is about.
type street struct {
	*room
	outside int      // the process that keeps the other network
	listing []string // the command that shows the rules; nil: those of the kernel
}

// Where the room is, and where the client is: a good one, and one that is banned.
var (
	inside4, inside6 = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	client4, client6 = netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("2001:db8::2")
	banned4          = netip.MustParseAddr("192.0.2.66")
)

// ports are those of the server; closed are none of its business, and must never
// be reached.
var (
	serverPorts = []uint16{21, 22, 990, 30000, 30005, 30009}
	closedPorts = []uint16{80, 29999, 30010}
	askPorts    = []string{"--ftp", "21", "--ftps", "990", "--sftp", "22", "--passive", "30000-30009"}
)

const activePort = 5000 // on which the client waits for data connections

func newStreet(t *testing.T) *street {
	t.Helper()
	s := &street{room: newRoom(t)}
	s.run(t, "", "mount", "-t", "tmpfs", "none", "/run") // for locks and sockets

	s.outside = newNetwork(t)
	lay := fmt.Sprintf("ip link add eth0 type veth peer name eth0 netns %d && ip link set eth0 up && "+
		"ip addr add %v/24 dev eth0 && ip addr add %v/24 dev eth0 && ip addr add %v/64 dev eth0 nodad", s.outside, inside4, "192.0.2.11", inside6)
	if out, err := s.in(t.Context(), "sh", "-c", lay).CombinedOutput(); err != nil {
		missing(t, "MISSING PEER veth: no pair of network devices here: "+string(out))
	}
	enter := []string{"-t", fmt.Sprint(s.outside), "-n", "--", "sh", "-ec", fmt.Sprintf("ip link set lo up; ip link set eth0 up; ip addr add %v/24 dev eth0; ip addr add %v/24 dev eth0; ip addr add %v/64 dev eth0 nodad", client4, banned4, client6)}
	if out, err := exec.Command("nsenter", enter...).CombinedOutput(); err != nil {
		t.Fatalf("the other network: %v\n%s", err, out)
	}
	for _, port := range append(slices.Clone(serverPorts), closedPorts...) {
		s.listen(t, s.pid, port)
	}
	s.listen(t, s.outside, activePort)
	return s
}

// newNetwork is the process that keeps a network without devices until the test ends.
func newNetwork(t *testing.T) int {
	t.Helper()
	cmd := exec.Command("unshare", "-n", "sh", "-c", "echo ready; cat >/dev/null")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() })
	if b := make([]byte, 6); true {
		if _, err := out.Read(b); err != nil {
			t.Fatal(err)
		}
	}
	return cmd.Process.Pid
}

// inNetwork runs f on a thread in the network of a process. The thread ends with it.
func inNetwork(pid int, f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked
		ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
		if err != nil {
			done <- err
			return
		}
		defer ns.Close()
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- err
			return
		}
		done <- f()
	}()
	return <-done
}

// listen takes connections on a port and ends them at once.
func (s *street) listen(t *testing.T, pid int, port uint16) {
	t.Helper()
	var l net.Listener
	err := inNetwork(pid, func() (err error) {
		l, err = net.Listen("tcp", fmt.Sprintf(":%d", port))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte("here\n"))
			_ = c.Close()
		}
	}()
}

// reaches connects from an address to another one, and reads what is said there: a
// firewall that lets one direction through only is not enough.
func reaches(pid int, from, to netip.AddrPort) bool {
	return inNetwork(pid, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 700*time.Millisecond)
		defer cancel()
		d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(from), Control: func(_, _ string, c syscall.RawConn) error {
			return c.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1) })
		}}
		c, err := d.DialContext(ctx, "tcp", to.String())
		if err != nil {
			return err
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(time.Second))
		_, err = c.Read(make([]byte, 5))
		return err
	}) == nil
}

// A view is what reaches what.
type view struct {
	open   []uint16 // ports of the room that the client reaches over IPv4 and IPv6
	half   []string // ports that it reaches over one of them only
	active []uint16 // source ports from which the room reaches the client, over both
	banned bool     // the banned address reaches port 21
}

func (v view) String() string {
	return fmt.Sprintf("open %v, over one family only %v, active mode from %v, banned address gets in: %v", v.open, v.half, v.active, v.banned)
}

var (
	shut   = view{active: []uint16{20, 989, 5555}}
	served = view{open: serverPorts, active: []uint16{20, 989, 5555}, banned: true}
	some   = view{open: serverPorts, active: []uint16{20, 989, 5555}} // and the banned address does not get in
	sealed = view{}
)

// look tries everything at once.
func (s *street) look() view {
	var v view
	type try struct {
		pid      int
		from, to netip.AddrPort
		ok       bool
	}
	var all []*try
	var group sync.WaitGroup
	add := func(pid int, from, to netip.AddrPort) {
		x := &try{pid: pid, from: from, to: to}
		all = append(all, x)
		group.Go(func() { x.ok = reaches(x.pid, x.from, x.to) })
	}
	ports := append(slices.Clone(serverPorts), closedPorts...)
	sources := []uint16{20, 989, 5555}
	for _, port := range ports {
		add(s.outside, netip.AddrPortFrom(client4, 0), netip.AddrPortFrom(inside4, port))
		add(s.outside, netip.AddrPortFrom(client6, 0), netip.AddrPortFrom(inside6, port))
	}
	for _, source := range sources {
		add(s.pid, netip.AddrPortFrom(inside4, source), netip.AddrPortFrom(client4, activePort))
		add(s.pid, netip.AddrPortFrom(inside6, source), netip.AddrPortFrom(client6, activePort))
	}
	add(s.outside, netip.AddrPortFrom(banned4, 0), netip.AddrPortFrom(inside4, 21))
	group.Wait()
	for i, port := range append(ports, sources...) {
		four, six := all[2*i].ok, all[2*i+1].ok
		switch {
		case four != six:
			v.half = append(v.half, fmt.Sprintf("%d (IPv4 %v)", port, four))
		case four && i < len(ports):
			v.open = append(v.open, port)
		case four:
			v.active = append(v.active, port)
		}
	}
	slices.Sort(v.open)
	v.banned = all[len(all)-1].ok
	return v
}

// sees wants a view.
func (s *street) sees(t *testing.T, when string, want view) {
	t.Helper()
	got := s.look()
	for range 2 { // a machine with much to do may answer late
		if got.String() == want.String() {
			return
		}
		got = s.look()
	}
	if got.String() != want.String() {
		t.Fatalf("%s: %v\nwant %v", when, got, want)
	}
}

// firewall runs "dray firewall" in the room.
func (s *street) firewall(t *testing.T, args ...string) string {
	t.Helper()
	return s.run(t, "", append([]string{"dray", "firewall"}, args...)...)
}

// rules are all rules of the room, without counters; handles are none of it.
func (s *street) rules(t *testing.T) string {
	t.Helper()
	if s.listing != nil {
		return s.run(t, "", s.listing...)
	}
	text := ""
	for _, program := range [][]string{{"nft", "-s", "list", "ruleset"}, {"iptables-legacy-save"}, {"ip6tables-legacy-save"}} {
		if program[0] != "nft" && !s.legacy() {
			continue
		}
		for line := range strings.Lines(s.run(t, "", program...)) {
			if !strings.HasPrefix(line, "#") {
				text += counters.ReplaceAllString(line, "")
			}
		}
	}
	return text
}

// legacy tells whether the room has tables of the old kind.
func (s *street) legacy() bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/ip_tables_names", s.pid))
	return err == nil && len(b) > 0
}

// The rulesets of the tests let answers and neighbours through, as each that works
// does, and nothing else.
const (
	dropInput = `
table inet filter {
	chain input {
		type filter hook input priority filter; policy drop;
		ct state vmap { invalid : drop, established : accept, related : accept }
		iifname "lo" accept
		meta l4proto { icmp, ipv6-icmp } accept
	}
	chain forward { type filter hook forward priority filter; policy drop; }
}
`
	// One chain after another, with bans, with a reject in place of a policy, and
	// with nothing that lets answers in.
	severalInputs = `
table inet filter {
	set banned { type ipv4_addr; elements = { 192.0.2.66 } }
	chain input {
		type filter hook input priority filter; policy accept;
		iifname "lo" accept
		meta l4proto { icmp, ipv6-icmp } accept
		ip saddr @banned drop
		jump rest
	}
	chain rest { tcp dport 22222 accept; reject with icmpx admin-prohibited; }
	chain output {
		type filter hook output priority filter; policy drop;
		meta l4proto { icmp, ipv6-icmp } accept
	}
}
table ip late {
	chain in { type filter hook input priority 10; policy drop; ct state established accept; }
}
table ip6 late {
	chain in { type filter hook input priority 10; policy drop; meta l4proto ipv6-icmp accept; }
}
`
	// What people write who have not read how chains follow each other.
	ownTable = `
table inet dray {
	chain input {
		type filter hook input priority -10; policy accept;
		tcp dport { 21, 22, 990, 30000-30009 } accept
	}
}
`
)

// counters are what a listing has that changes with the traffic.
var counters = regexp.MustCompile(`counter packets \d+ bytes \d+ ?|\[\d+:\d+\]`)

// load gives the room a ruleset of nft.
func (s *street) load(t *testing.T, rules string) {
	t.Helper()
	s.run(t, strings.ReplaceAll(rules, "; }", "\n}"), "nft", "-f", "-")
}

// goes applies the rules, again, and takes them back, and looks each time.
func (s *street) goes(t *testing.T, dialect string, before, after view) {
	t.Helper()
	s.sees(t, "before", before)
	s.judged(t, "before", before)
	was := s.rules(t)

	said := s.firewall(t, append([]string{dialect}, askPorts...)...)
	if now := s.rules(t); now != was {
		t.Fatalf("without --apply the rules changed:\n%s\nthey were\n%s", now, was)
	}
	s.firewall(t, append([]string{dialect, "--apply"}, askPorts...)...)
	s.sees(t, "after --apply", after)
	s.judged(t, "after --apply", after)
	first := s.rules(t)

	s.firewall(t, append([]string{dialect, "--apply"}, askPorts...)...)
	if again := s.rules(t); again != first {
		t.Errorf("applied twice, the rules are\n%s\nafter the first time\n%s", again, first)
	}
	if again := s.firewall(t, append([]string{dialect}, askPorts...)...); !strings.Contains(again, "All rules are there already") {
		t.Errorf("after --apply it prints\n%s", again)
	}
	s.firewall(t, dialect, "--undo", "--apply")
	s.sees(t, "after --undo", before)
	if now := s.rules(t); now != was {
		t.Errorf("after --undo the rules are\n%s\nbefore\n%s", now, was)
	}
	if again := s.firewall(t, dialect, "--undo", "--apply"); !strings.Contains(again, "nothing to take back") {
		t.Errorf("a second --undo says\n%s", again)
	}

	s.run(t, said, "sh", "-e") // pasted
	s.sees(t, "after the printed commands", after)
	if now := s.rules(t); now != first {
		t.Errorf("the printed commands make\n%s\n--apply made\n%s", now, first)
	}
	s.run(t, s.firewall(t, dialect, "--undo"), "sh", "-e")
	s.sees(t, "after the printed undo", before)
}

// The way that does not work, and the one that does.
func TestFirewallNFT(t *testing.T) {
	t.Parallel()
	tool(t, "nft", "nftables")
	s := newStreet(t)
	s.load(t, dropInput)
	s.load(t, ownTable)
	s.sees(t, "with an accept in a table of its own", shut)
	s.run(t, "", "nft", "delete", "table", "inet", "dray")
	s.goes(t, "nft", shut, served)
	s.goes(t, "auto", shut, served)

	// Only who is named gets in.
	s.firewall(t, append([]string{"nft", "--apply", "--from", "198.51.100.0/24", "--from", client6.String()}, askPorts...)...)
	got := s.look()
	if len(got.open) > 0 || len(got.half) != len(serverPorts) || slices.ContainsFunc(got.half, func(s string) bool { return strings.Contains(s, "true") }) {
		t.Errorf("with --from an IPv6 address alone: %v", got)
	}
	s.firewall(t, append([]string{"nft", "--apply", "--from", "192.0.2.0/26"}, append(askPorts, "--from", "2001:db8::/32")...)...)
	s.sees(t, "with --from the networks of the client", some)
	if rules := s.rules(t); strings.Count(rules, `"dray"`) != 2 {
		t.Errorf("an older rule is left:\n%s", rules)
	}
}

// Each chain that drops gets its own rule, in front of what rejects and behind
// bans; output chains let active mode and answers out.
func TestFirewallNFTSeveralChains(t *testing.T) {
	t.Parallel()
	tool(t, "nft", "nftables")
	s := newStreet(t)
	s.load(t, severalInputs)
	s.goes(t, "nft", sealed, view{open: serverPorts, active: []uint16{20, 989}})
}

// Chains before input, at the ingress of the interface and in raw, get their rules too;
// where packets are not tracked, none is new.
func TestFirewallNFTBeforeInput(t *testing.T) {
	t.Parallel()
	tool(t, "nft", "nftables")
	s := newStreet(t)
	after := view{open: serverPorts, active: []uint16{20, 989}, banned: true}
	for _, rules := range []string{`
table inet raw {
	chain pre {
		type filter hook prerouting priority raw; policy accept;
		iifname "lo" accept
		tcp dport != { 8080, 22222 } drop
	}
}
`, `
table netdev edge {
	chain in {
		type filter hook ingress device "eth0" priority 0; policy drop;
		ether type arp accept
		meta l4proto { icmp, ipv6-icmp } accept
	}
}
`, `
table inet raw {
	chain pre { type filter hook prerouting priority raw; policy accept; tcp dport { 21, 22, 990, 30000-30009 } notrack; }
	chain out { type filter hook output priority raw; policy accept; tcp sport { 21, 22, 990, 30000-30009 } notrack; }
}
table inet out {
	chain out {
		type filter hook output priority filter; policy drop;
		ct state established,related accept
		meta l4proto { icmp, ipv6-icmp } accept
	}
}
` + dropInput} {
		s.load(t, rules)
		s.goes(t, "auto", sealed, after)
		s.run(t, "", "nft", "flush", "ruleset")
	}
}

// Who is kept out by a restriction to a network, or banned behind it, stays out.
func TestFirewallLeavesBans(t *testing.T) {
	t.Parallel()
	tool(t, "nft", "nftables")
	tool(t, "iptables", "iptables")
	s := newStreet(t)
	after := view{active: []uint16{20, 989, 5555}}
	for _, port := range serverPorts { // no network of IPv6 is let in
		after.half = append(after.half, fmt.Sprintf("%d (IPv4 true)", port))
	}
	s.load(t, `
table inet filter {
	set geo {
		type ipv4_addr
		flags interval
		elements = { 192.0.2.0/24 }
	}
	chain input {
		type filter hook input priority filter; policy drop;
		ct state established,related accept
		meta l4proto { icmp, ipv6-icmp } accept
		ip saddr != @geo counter drop
		ip6 saddr != 2001:db8:77::/48 drop
		ip saddr 192.0.2.66 jump bad
		tcp dport 8080 accept
	}
	chain bad { drop; }
}
`)
	s.sees(t, "before", shut)
	if said := s.firewall(t, append([]string{"--apply"}, askPorts...)...); !strings.Contains(said, "ip saddr != @geo counter") {
		t.Errorf("the restriction is not named:\n%s", said)
	}
	s.sees(t, "after --apply", after)
	s.firewall(t, "--undo", "--apply")
	s.sees(t, "after --undo", shut)
	s.run(t, "", "nft", "flush", "ruleset")

	for program, only := range map[string]string{"iptables": "192.0.2.0/24", "ip6tables": "2001:db8:77::/48"} {
		s.run(t, "", "sh", "-ec", strings.NewReplacer("RUN", program, "ONLY", only).Replace("RUN -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT; RUN -A INPUT -p ipv6-icmp -j ACCEPT; RUN -A INPUT ! -s ONLY -j DROP; RUN -P INPUT DROP"))
	}
	s.run(t, "", "iptables", "-A", "INPUT", "-s", "192.0.2.66", "-j", "DROP")
	s.sees(t, "before", shut)
	s.firewall(t, append([]string{"--apply"}, askPorts...)...)
	s.sees(t, "after --apply", after)
	s.firewall(t, "--undo", "--apply")
	s.sees(t, "after --undo", shut)
}

// Two interfaces, of which rules let in one: who comes by the other is kept out, and that
// is told.
func TestFirewallOfOneInterface(t *testing.T) {
	t.Parallel()
	tool(t, "nft", "nftables")
	s := newStreet(t)
	s.run(t, "", "sh", "-ec", "ip link add eth1 type veth peer name other; ip link set other up; ip link set eth1 up; ip addr add 198.51.100.1/24 dev eth1; ip addr add 2001:db8:1::1/64 dev eth1 nodad")
	s.load(t, `
table inet filter {
	chain input {
		type filter hook input priority filter; policy drop;
		ct state established,related accept
		meta l4proto { icmp, ipv6-icmp } accept
		iifname vmap { "eth1" : jump lan, "eth0" : jump wan }
	}
	chain lan { accept; }
	chain wan { tcp dport 8080 accept; }
}
`)
	s.sees(t, "before", shut)
	out, _ := s.in(t.Context(), "dray", "doctor", "--server", "--json").Output() // its status is about all of it
	var d diagnosis
	if err := json.Unmarshal(out, &d); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, c := range d.Checks {
		if c.Check == "firewall" && !strings.Contains(c.Saw, "some peers alone") {
			t.Errorf("the doctor finds %s: %s", c.Status, c.Saw)
		}
	}
	s.firewall(t, append([]string{"--apply"}, askPorts...)...)
	s.sees(t, "after --apply", served)
	s.judged(t, "after --apply", served)
}

func TestFirewallIPTables(t *testing.T) {
	for _, programs := range [][2]string{{"iptables", "ip6tables"}, {"iptables-legacy", "ip6tables-legacy"}} {
		t.Run(programs[0], func(t *testing.T) {
			t.Parallel()
			for _, program := range programs {
				tool(t, program, "iptables")
			}
			s := newStreet(t)
			if out, err := s.in(t.Context(), programs[0], "-S").CombinedOutput(); err != nil {
				missing(t, "MISSING PEER "+programs[0]+": this kernel does not have its tables: "+string(out))
			}
			for i, program := range programs {
				icmp := []string{"icmp", "ipv6-icmp"}[i]
				s.run(t, "", "sh", "-ec", strings.NewReplacer("RUN", program, "ICMP", icmp).Replace(
					"RUN -A INPUT -i lo -j ACCEPT; RUN -A INPUT -p ICMP -j ACCEPT; RUN -A INPUT -p tcp -m tcp --dport 22222 -j ACCEPT; RUN -A INPUT -j REJECT; RUN -P OUTPUT DROP; RUN -A OUTPUT -p ICMP -j ACCEPT"))
			}
			// A ban as fail2ban makes it, for IPv4.
			s.run(t, "", "sh", "-ec", strings.ReplaceAll("RUN -N f2b-x; RUN -A f2b-x -s 192.0.2.66 -j REJECT; RUN -A f2b-x -j RETURN; RUN -I INPUT -p tcp -m multiport --dports 21,990 -j f2b-x", "RUN", programs[0]))
			s.goes(t, "iptables", sealed, view{open: serverPorts, active: []uint16{20, 989}})
			s.goes(t, "auto", sealed, view{open: serverPorts, active: []uint16{20, 989}})

			// Drops before INPUT, and packets that are not tracked.
			for _, program := range programs {
				s.run(t, "", "sh", "-ec", strings.ReplaceAll("RUN -F; RUN -P OUTPUT ACCEPT; RUN -t mangle -A PREROUTING -i eth0 -p tcp --dport 1:40000 --syn -j DROP", "RUN", program))
			}
			s.goes(t, "auto", shut, served)
			for i, program := range programs {
				icmp := []string{"icmp", "ipv6-icmp"}[i]
				s.run(t, "", "sh", "-ec", strings.NewReplacer("RUN", program, "ICMP", icmp).Replace("RUN -t mangle -F; RUN -t raw -A PREROUTING -p tcp -m multiport --dports 21,22,990,30000:30009 -j CT --notrack; RUN -t raw -A OUTPUT -p tcp -m multiport --sports 21,22,990,30000:30009 -j CT --notrack; "+
					"for c in INPUT OUTPUT; do RUN -A $c -p ICMP -j ACCEPT; RUN -A $c -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT; RUN -P $c DROP; done"))
			}
			after := view{open: serverPorts, active: []uint16{20, 989}, banned: true}
			s.goes(t, "iptables", sealed, after)

			// Networks that are everybody are no news the second time.
			everybody := append([]string{"iptables", "--from", "0.0.0.0/0", "--from", "::/0"}, askPorts...)
			s.firewall(t, append(everybody, "--apply")...)
			s.sees(t, "with --from everybody", after)
			if again := s.firewall(t, everybody...); !strings.Contains(again, "All rules are there already") {
				t.Errorf("after --apply it prints\n%s", again)
			}
		})
	}
}

// nft and iptables side by side: a packet has to pass both.
func TestFirewallOfTwoKinds(t *testing.T) {
	t.Parallel()
	tool(t, "nft", "nftables")
	tool(t, "iptables", "iptables")
	s := newStreet(t)
	s.load(t, dropInput)
	s.run(t, "", "sh", "-ec", "iptables -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT; iptables -P INPUT DROP; ip6tables -A INPUT -p ipv6-icmp -j ACCEPT; ip6tables -P INPUT DROP; ip6tables -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT")
	s.goes(t, "auto", shut, served)
}

// ufw itself, with a copy of its configuration, in the namespaces of the room.
func TestFirewallUFW(t *testing.T) {
	t.Parallel()
	tool(t, "ufw", "ufw")
	s := newStreet(t)
	if out, err := s.in(t.Context(), "sh", "-c", "ufw --force reset && ufw default deny outgoing && ufw --force enable").CombinedOutput(); err != nil {
		missing(t, "MISSING PEER ufw: it can't be enabled in a namespace: "+string(out))
	}
	// ufw 0.36.2 itself forgets rules of its chain ufw6-user-limit at a deletion.
	s.listing = []string{"ufw", "status", "verbose"}
	all := view{open: serverPorts, active: []uint16{20, 989}, banned: true}
	s.goes(t, "ufw", sealed, all)
	s.goes(t, "auto", sealed, all)

	s.firewall(t, append([]string{"--apply", "--from", "192.0.2.0/26", "--from", "2001:db8::/32"}, askPorts...)...)
	s.sees(t, "with --from", view{open: serverPorts, active: []uint16{20, 989}})
	if added := s.run(t, "", "ufw", "show", "added"); strings.Count(added, "dray") != 3 {
		t.Errorf("an older rule is left:\n%s", added)
	}
	if again := s.firewall(t, append([]string{"--from", "192.0.2.0/26", "--from", "2001:db8::/32"}, askPorts...)...); !strings.Contains(again, "All rules are there already") {
		t.Errorf("after --apply it prints\n%s", again)
	}
}

// Rules of the administrator for the same ports are neither taken over nor taken back,
// and a limit stays one. ufw itself knows a rule without its comment and its action.
func TestFirewallUFWKeepsRulesOfOthers(t *testing.T) {
	t.Parallel()
	tool(t, "ufw", "ufw")
	s := newStreet(t)
	if out, err := s.in(t.Context(), "sh", "-c", "ufw --force reset && ufw --force enable").CombinedOutput(); err != nil {
		missing(t, "MISSING PEER ufw: it can't be enabled in a namespace: "+string(out))
	}
	s.listing = []string{"ufw", "show", "added"}
	s.run(t, "", "sh", "-ec", "ufw allow 22/tcp comment 'admin ssh'; ufw limit 2222/tcp; ufw deny 21/tcp; ufw allow log 990/tcp; ufw allow from 192.0.2.0/24 to any port 80 proto tcp")
	was := s.rules(t)
	for _, args := range [][]string{{"--sftp", "22"}, {"--sftp", "2222"}, {"--sftp", "990"}, {"--sftp", "21"}, {"--sftp", "80", "--from", "192.0.2.64/26"}} {
		s.firewall(t, append([]string{"ufw", "--apply"}, args...)...)
		if now := s.rules(t); now != was {
			t.Errorf("after %q the rules are\n%s\nbefore\n%s", args, now, was)
		}
		s.firewall(t, "ufw", "--undo", "--apply")
		if now := s.rules(t); now != was {
			t.Errorf("after %q and --undo the rules are\n%s\nbefore\n%s", args, now, was)
		}
	}
	// A rule for more ports is another rule.
	s.firewall(t, "ufw", "--apply", "--sftp", "22", "--sftp", "2022")
	if now := s.rules(t); !strings.Contains(now, "ufw allow 22/tcp comment 'admin ssh'\n") || !strings.Contains(now, "ufw allow 22,2022/tcp comment 'dray'") {
		t.Errorf("with one more port the rules are\n%s", now)
	}
	s.firewall(t, "ufw", "--undo", "--apply")
	if now := s.rules(t); now != was {
		t.Errorf("after --undo the rules are\n%s\nbefore\n%s", now, was)
	}
}

// A chain that drops before those of ufw are reached gets its rule as well.
func TestFirewallUFWAndNFT(t *testing.T) {
	t.Parallel()
	tool(t, "ufw", "ufw")
	tool(t, "nft", "nftables")
	s := newStreet(t)
	if out, err := s.in(t.Context(), "sh", "-c", "ufw --force reset && ufw --force enable").CombinedOutput(); err != nil {
		missing(t, "MISSING PEER ufw: it can't be enabled in a namespace: "+string(out))
	}
	s.load(t, `
table inet raw {
	chain pre {
		type filter hook prerouting priority raw; policy accept;
		tcp dport { 21, 22, 990, 30000-30009 } drop
	}
}
`)
	s.sees(t, "before", shut)
	s.firewall(t, append([]string{"--apply"}, askPorts...)...)
	s.sees(t, "after --apply", served)
	s.judged(t, "after --apply", served)
	s.firewall(t, "--undo", "--apply")
	s.sees(t, "after --undo", shut)
}

// firewalld itself, with a bus of its own, in the namespaces of the room.
func TestFirewallFirewalld(t *testing.T) {
	t.Parallel()
	tool(t, "firewall-cmd", "firewalld")
	tool(t, "dbus-daemon", "dbus-daemon")
	s := newStreet(t)
	for _, args := range [][]string{
		{"dbus-daemon", "--system", "--nofork", "--nopidfile"},
		{"firewalld", "--nofork", "--nopid"},
	} {
		if args[0] == "dbus-daemon" {
			s.run(t, "", "mkdir", "-p", "/run/dbus")
		}
		ctx, cancel := context.WithCancel(context.Background())
		cmd := s.in(ctx, args...)
		log, err := os.Create(filepath.Join(t.TempDir(), args[0]))
		if err != nil {
			t.Fatal(err)
		}
		cmd.Stdout, cmd.Stderr = log, log
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			cancel()
			_ = cmd.Wait()
			_ = log.Close()
		})
		if args[0] == "dbus-daemon" {
			within(t, "the bus", func() bool { return s.in(t.Context(), "test", "-S", "/run/dbus/system_bus_socket").Run() == nil })
		}
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		out, err := s.in(t.Context(), "firewall-cmd", "--state").CombinedOutput()
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			missing(t, "MISSING PEER firewalld: it does not start in a namespace: "+string(out))
		}
	}
	s.run(t, "", "sh", "-ec", "for m in '' --permanent; do firewall-cmd $m --zone=public --add-interface=eth0; firewall-cmd $m --zone=public --remove-service=ssh; done")
	s.goes(t, "firewalld", shut, served)

	s.firewall(t, append([]string{"--apply", "--from", "192.0.2.0/26", "--from", "2001:db8::/32"}, askPorts...)...)
	s.sees(t, "with --from", some)
	if again := s.firewall(t, append([]string{"--from", "192.0.2.0/26", "--from", "2001:db8::/32"}, askPorts...)...); !strings.Contains(again, "All rules are there already") {
		t.Errorf("after --apply it prints\n%s", again)
	}

	// Other ports: of the range some go and some come.
	s.firewall(t, "--apply", "--ftp", "21", "--sftp", "22", "--passive", "30005-30010", "--passive", "80")
	s.sees(t, "with other ports", view{open: []uint16{21, 22, 80, 30005, 30009, 30010}, active: served.active, banned: true})
	s.firewall(t, append([]string{"--apply"}, askPorts...)...)
	s.sees(t, "with the first ports again", served)
	s.firewall(t, "--undo", "--apply")
	s.sees(t, "after --undo", shut)
}

// Rules for DOCKER-USER let in who is named to the ports that were published, and are
// about no other traffic of containers. Chains as Docker makes them stand for it.
func TestFirewallDocker(t *testing.T) {
	t.Parallel()
	tool(t, "iptables", "iptables")
	s := newStreet(t)
	box := newNetwork(t)
	if out, err := s.in(t.Context(), "sh", "-ec", fmt.Sprintf(`ip link add docker0 type veth peer name eth0 netns %d
ip addr add 172.30.0.1/24 dev docker0; ip link set docker0 up; echo 1 >/proc/sys/net/ipv4/ip_forward
iptables -t nat -N DOCKER; iptables -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
for p in 21 30000:30009; do iptables -t nat -A DOCKER ! -i docker0 -p tcp --dport $p -j DNAT --to-destination 172.30.0.2; done
iptables -t nat -A DOCKER ! -i docker0 -p tcp --dport 8021 -j DNAT --to-destination 172.30.0.3:21
iptables -t nat -A POSTROUTING -s 172.30.0.0/24 ! -o docker0 -j MASQUERADE
for i in iptables ip6tables; do $i -N DOCKER-USER; $i -A FORWARD -j DOCKER-USER; $i -A DOCKER-USER -s 203.0.113.9 -j DROP || $i -A DOCKER-USER -s 2001:db8:9::9 -j DROP; done 2>/dev/null`, box)).CombinedOutput(); err != nil {
		missing(t, "MISSING PEER iptables: no NAT in a namespace: "+string(out))
	}
	if out, err := exec.Command("nsenter", "-t", fmt.Sprint(box), "-n", "--", "sh", "-ec", "ip link set lo up; ip link set eth0 up; ip addr add 172.30.0.2/24 dev eth0; ip addr add 172.30.0.3/24 dev eth0; ip route add default via 172.30.0.1").CombinedOutput(); err != nil {
		t.Fatalf("the network of containers: %v\n%s", err, out)
	}
	for _, port := range []uint16{21, 30005} {
		s.listen(t, box, port)
		s.listen(t, s.outside, port)
	}
	container, other := netip.MustParseAddr("172.30.0.2"), netip.MustParseAddr("172.30.0.3")
	look := func(when string, banned bool) {
		t.Helper()
		for _, x := range []struct {
			what     string
			pid      int
			from, to netip.AddrPort
			want     bool
		}{
			{"the client to 21", s.outside, netip.AddrPortFrom(client4, 0), netip.AddrPortFrom(inside4, 21), true},
			{"the client to 30005", s.outside, netip.AddrPortFrom(client4, 0), netip.AddrPortFrom(inside4, 30005), true},
			{"the banned one to 21", s.outside, netip.AddrPortFrom(banned4, 0), netip.AddrPortFrom(inside4, 21), banned},
			{"the banned one to 30005", s.outside, netip.AddrPortFrom(banned4, 0), netip.AddrPortFrom(inside4, 30005), banned},
			{"the banned one to port 21 of another container", s.outside, netip.AddrPortFrom(banned4, 0), netip.AddrPortFrom(inside4, 8021), true},
			{"the container out to port 21", box, netip.AddrPortFrom(container, 0), netip.AddrPortFrom(banned4, 21), true},
			{"another container out to port 30005", box, netip.AddrPortFrom(other, 0), netip.AddrPortFrom(client4, 30005), true},
		} {
			got := reaches(x.pid, x.from, x.to)
			for range 2 { // a machine with much to do may answer late
				got = got || x.want && reaches(x.pid, x.from, x.to)
			}
			if got != x.want {
				t.Errorf("%s: %s: %v; want %v", when, x.what, got, x.want)
			}
		}
	}
	// lines are those to be copied for DOCKER-USER.
	lines := func(args ...string) string {
		text := ""
		for line := range strings.Lines(s.firewall(t, append([]string{"docker"}, args...)...)) {
			if command, ok := strings.CutPrefix(line, "#     "); ok && strings.Contains(command, "DOCKER-USER") {
				text += command
			}
		}
		return text
	}
	s.listing = []string{"sh", "-c", "iptables -S; ip6tables -S"}
	look("before", true)
	was := s.rules(t)
	ports := []string{"--ftp", "21", "--passive", "30000-30009", "--from", "192.0.2.0/26"}
	s.run(t, lines(ports...), "sh", "-e")
	look("with --from", false)
	if now := s.rules(t); strings.Count(now, "--comment dray ") != 6 {
		t.Errorf("the lines make\n%s", now)
	}
	s.run(t, lines("--undo"), "sh", "-e") // it needs no --from
	look("after --undo", true)
	if now := s.rules(t); now != was {
		t.Errorf("after --undo the rules are\n%s\nbefore\n%s", now, was)
	}
}

// The first command that fails ends it, and says what was done.
func TestFirewallStopsAtAFailure(t *testing.T) {
	t.Parallel()
	tool(t, "nft", "nftables")
	s := newStreet(t)
	s.load(t, severalInputs)
	// A nft that inserts once and then breaks.
	s.run(t, `#!/bin/sh
case "$*" in
*"late in"*) echo "broken" >&2; exit 1 ;;
esac
exec /usr/sbin/nft "$@"
`, "sh", "-ec", "cat >/usr/local/bin/nft; chmod 755 /usr/local/bin/nft")
	out, err := s.in(t.Context(), append([]string{"dray", "firewall", "nft", "--apply"}, askPorts...)...).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "broken") || !strings.Contains(string(out), "done before it: 2 commands of ") || !strings.Contains(string(out), "dray firewall nft --undo --apply") {
		t.Errorf("%v\n%s", err, out)
	}
	s.run(t, "", "rm", "/usr/local/bin/nft")
	s.firewall(t, "nft", "--undo", "--apply")
	if rules := s.rules(t); strings.Contains(rules, `"dray"`) {
		t.Errorf("--undo leaves\n%s", rules)
	}
}
