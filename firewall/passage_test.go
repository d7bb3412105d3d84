package firewall

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os/exec"
	"strings"
	"testing"
)

// served are the ports of the tests: 21, and 30000 to 30009.
var served = Ports{Listeners: []Listener{{Protocol: "ftp", Port: 21}}, Passive: []Range{{30000, 30009}}}

// nftRules is a ruleset with one base chain, as nft -j prints it; others have names.
func nftRules(t *testing.T, family, policy string, rules ...string) string {
	t.Helper()
	all := []string{fmt.Sprintf(`{"chain":{"family":%q,"table":"filter","name":"input","hook":"input","prio":0,"policy":%q}}`, family, policy)}
	names := map[string]bool{"input": true}
	for i, rule := range rules {
		chain, expr, ok := strings.Cut(rule, ": ")
		if !ok {
			chain, expr = "input", rule
		}
		if chain == "map" {
			all = append(all, fmt.Sprintf(`{"map":{"family":%q,"table":"filter","name":"ways","type":"ifname","map":"verdict","elem":[%s]}}`, family, expr))
			continue
		}
		if chain == "set" {
			all = append(all, fmt.Sprintf(`{"set":{"family":%q,"table":"filter","name":"ports","type":"inet_service","elem":[%s]}}`, family, expr))
			continue
		}
		if !names[chain] {
			names[chain] = true
			all = append(all, fmt.Sprintf(`{"chain":{"family":%q,"table":"filter","name":%q}}`, family, chain))
		}
		all = append(all, fmt.Sprintf(`{"rule":{"family":%q,"table":"filter","chain":%q,"handle":%d,"expr":[%s]}}`, family, chain, i+1, expr))
	}
	text := `{"nftables":[` + strings.Join(all, ",") + `]}`
	if !json.Valid([]byte(text)) {
		t.Fatalf("no JSON: %s", text)
	}
	return text
}

// Parts of rules, as nft -j prints them.
func dport(op, right string) string {
	return fmt.Sprintf(`{"match":{"op":%q,"left":{"payload":{"protocol":"tcp","field":"dport"}},"right":%s}}`, op, right)
}

const (
	acceptIt    = `{"accept":null}`
	dropIt      = `{"drop":null}`
	established = `{"match":{"op":"in","left":{"ct":{"key":"state"}},"right":["established","related"]}}`
	fresh       = `{"match":{"op":"in","left":{"ct":{"key":"state"}},"right":["new","untracked"]}}`
	dnat        = `{"match":{"op":"in","left":{"ct":{"key":"status"}},"right":"dnat"}}`
	lo          = `{"match":{"op":"==","left":{"meta":{"key":"iifname"}},"right":"lo"}}`
	eth0        = `{"match":{"op":"==","left":{"meta":{"key":"iifname"}},"right":"eth0"}}`
	docker0     = `{"match":{"op":"==","left":{"meta":{"key":"iifname"}},"right":"docker0"}}`
	near        = `{"match":{"op":"==","left":{"payload":{"protocol":"ip","field":"saddr"}},"right":{"prefix":{"addr":"10.0.0.0","len":8}}}}`
	icmp        = `{"match":{"op":"==","left":{"meta":{"key":"l4proto"}},"right":"icmp"}}`
	slow        = `{"limit":{"rate":10,"burst":5,"per":"second"}}`
	isIPv6      = `{"match":{"op":"==","left":{"meta":{"key":"nfproto"}},"right":"ipv6"}}`
	rest        = `{"range":[30000,30009]}`
)

func TestPassageOfNFT(t *testing.T) {
	both := dport("==", `{"set":[21,`+rest+`]}`)
	for _, row := range []struct {
		name      string
		policy    string
		rules     []string
		four, six string // what is open, some and shut, with slashes between
	}{
		{"nothing in a chain that accepts", "accept", nil, "21,30000-30009//", "21,30000-30009//"},
		{"nothing in a chain that drops", "drop", nil, "//21,30000-30009", "//21,30000-30009"},
		{"only what is not for clients", "drop", []string{established + "," + acceptIt, lo + "," + acceptIt, icmp + "," + acceptIt, dnat + "," + acceptIt, docker0 + "," + acceptIt},
			"/21,30000-30009/", "/21,30000-30009/"},
		{"both are let in", "drop", []string{established + "," + acceptIt, both + "," + acceptIt}, "21,30000-30009//", "21,30000-30009//"},
		{"the control port alone", "drop", []string{dport("==", "21") + "," + acceptIt}, "21//30000-30009", "21//30000-30009"},
		{"a part of the range", "drop", []string{dport("==", "21") + "," + acceptIt, dport("==", `{"range":[30000,30004]}`) + "," + acceptIt}, "21,30000-30004//30005-30009", "21,30000-30004//30005-30009"},
		{"a set with a name", "drop", []string{"set: 21," + rest, dport("==", `"@ports"`) + "," + acceptIt}, "21,30000-30009//", "21,30000-30009//"},
		{"a set that is not there", "drop", []string{dport("==", `"@other"`) + "," + acceptIt}, "/21,30000-30009/", "/21,30000-30009/"},
		{"all ports but one are dropped", "accept", []string{dport("!=", "21") + "," + dropIt}, "21//30000-30009", "21//30000-30009"},
		{"above a port", "drop", []string{dport(">=", "1024") + "," + acceptIt}, "30000-30009//21", "30000-30009//21"},
		{"a network", "drop", []string{near + "," + both + "," + acceptIt}, "/21,30000-30009/", "//21,30000-30009"},
		{"all but a network are dropped", "accept", []string{strings.Replace(near, "==", "!=", 1) + "," + dropIt}, "/21,30000-30009/", "21,30000-30009//"},
		{"all but a network are dropped, and then all", "drop", []string{strings.Replace(near, "==", "!=", 1) + "," + dropIt}, "//21,30000-30009", "//21,30000-30009"},
		{"a network leaves a chain that drops", "accept", []string{`{"jump":{"target":"fence"}}`, "fence: " + near + `,{"return":null}`, "fence: " + dropIt}, "/21,30000-30009/", "//21,30000-30009"},
		{"all but a network are let in", "drop", []string{strings.Replace(near, "==", "!=", 1) + "," + acceptIt}, "21,30000-30009//", "//21,30000-30009"},
		{"a ban is none of ours", "accept", []string{near + "," + dropIt}, "21,30000-30009//", "21,30000-30009//"},
		{"so many at once", "drop", []string{slow + "," + both + "," + acceptIt}, "/21,30000-30009/", "/21,30000-30009/"},
		{"IPv6 alone", "drop", []string{isIPv6 + "," + both + "," + acceptIt}, "//21,30000-30009", "21,30000-30009//"},
		{"a chain that rejects behind one that accepts", "accept", []string{`{"jump":{"target":"in"}}`, `{"reject":null}`, "in: " + both + "," + fresh + "," + acceptIt},
			"21,30000-30009//", "21,30000-30009//"},
		{"a return ends a chain", "drop", []string{`{"jump":{"target":"in"}}`, "in: " + `{"return":null}`, "in: " + acceptIt}, "//21,30000-30009", "//21,30000-30009"},
		{"zones as firewalld has them", "accept", []string{
			established + "," + acceptIt, dnat + "," + acceptIt, lo + "," + acceptIt, `{"jump":{"target":"zones"}}`, `{"reject":{"type":"icmpx","expr":"admin-prohibited"}}`,
			"zones: " + eth0 + `,{"goto":{"target":"public"}}`, "zones: " + `{"goto":{"target":"public"}}`,
			"public: " + `{"jump":{"target":"allow"}}`, "public: " + icmp + "," + acceptIt,
			"allow: " + dport("==", "21") + "," + fresh + "," + acceptIt,
		}, "21//30000-30009", "21//30000-30009"},
		{"a map of verdicts", "drop", []string{`{"vmap":{"key":{"payload":{"protocol":"tcp","field":"dport"}},"data":{"set":[[21,{"accept":null}],[` + rest + `,{"jump":{"target":"in"}}]]}}}`, "in: " + acceptIt},
			"21,30000-30009//", "21,30000-30009//"},
		{"a loop of chains ends", "drop", []string{`{"jump":{"target":"in"}}`, "in: " + `{"jump":{"target":"in"}}`}, "//21,30000-30009", "//21,30000-30009"},
	} {
		t.Run(row.name, func(t *testing.T) {
			text := nftRules(t, "inet", row.policy, row.rules...)
			h := answers(map[string]string{"nft -j list ruleset": text})
			four, six, err := PassagesOf(h, served)
			if err != nil {
				t.Fatal(err)
			}
			if got := four.In.short(); got != row.four {
				t.Errorf("over IPv4 %q; want %q", got, row.four)
			}
			if got := six.In.short(); got != row.six {
				t.Errorf("over IPv6 %q; want %q", got, row.six)
			}
			if (len(four.In.Shut) > 0) != (four.In.By == "the chain inet filter input of nftables") {
				t.Errorf("by %q", four.In.By)
			}
		})
	}
}

// A rule that names an interface is about those who come by it: all, where the host has
// no other.
func TestPassageByInterfaces(t *testing.T) {
	way := func(name string) Interface { return Interface{Name: name, Four: true, Six: true} }
	one, bridged := []Interface{way("eth0")}, []Interface{way("eth0"), way("docker0"), way("wg0")}
	two := []Interface{way("eth0"), way("eth1")}
	odd := []Interface{way("eth0"), {Name: "eth1", Four: true}}
	from := func(name string) string {
		return fmt.Sprintf(`{"match":{"op":"==","left":{"meta":{"key":"iifname"}},"right":%q}}`, name)
	}
	both := dport("==", `{"set":[21,`+rest+`]}`) + "," + acceptIt
	jumps := []string{
		from("eth1") + `,{"jump":{"target":"lan"}}`, from("eth0") + `,{"jump":{"target":"wan"}}`,
		"lan: " + acceptIt, "wan: " + dport("==", "8080") + "," + acceptIt,
	}
	ways := []string{
		`{"vmap":{"key":{"meta":{"key":"iifname"}},"data":{"set":[["eth1",{"jump":{"target":"lan"}}],["eth0",{"jump":{"target":"wan"}}]]}}}`,
		"lan: " + acceptIt, "wan: " + dport("==", "8080") + "," + acceptIt,
	}
	drop := "-P INPUT DROP\n-A INPUT "
	const open, some, shut = "21,30000-30009//", "/21,30000-30009/", "//21,30000-30009"
	for _, row := range []struct {
		name       string
		interfaces []Interface
		nft        []string // in a chain that drops
		iptables   string
		four, six  string
	}{
		{"the only one", one, []string{from("eth0") + "," + both}, drop + "-i eth0 -j ACCEPT", open, open},
		{"the only one beside bridges", bridged, []string{from("eth0") + "," + both}, drop + "-i eth0 -j ACCEPT", open, open},
		{"one that is not there", one, []string{from("eth1") + "," + both}, drop + "-i eth1 -j ACCEPT", shut, shut},
		{"one of two", two, []string{from("eth1") + "," + both}, drop + "-i eth1 -j ACCEPT", some, some},
		{"one of two by jumps", two, jumps, drop + "-i eth1 -j ACCEPT\n-A INPUT -i eth0 -p tcp -m tcp --dport 8080 -j ACCEPT", some, some},
		{"one of two by a map", two, ways, "", some, some},
		{"one of two by a map with a name", two, []string{
			`map: ["eth1",{"jump":{"target":"lan"}}],["eth0",{"jump":{"target":"wan"}}]`, `{"vmap":{"key":{"meta":{"key":"iifname"}},"data":"@ways"}}`,
			"lan: " + acceptIt, "wan: " + dport("==", "8080") + "," + acceptIt,
		}, "", some, some},
		{"both by a map with a name", two, []string{`map: ["eth1",{"accept":null}],["eth0",{"accept":null}]`, `{"vmap":{"key":{"meta":{"key":"iifname"}},"data":"@ways"}}`}, "", open, open},
		{"both, one after the other", two, []string{from("eth1") + "," + acceptIt, from("eth0") + "," + both}, drop + "-i eth1 -j ACCEPT\n-A INPUT -i eth0 -j ACCEPT", open, open},
		{"both by the begin of their names", two, []string{from("eth*") + "," + both}, drop + "-i eth+ -j ACCEPT", open, open},
		{"all but one", two, []string{strings.Replace(from("eth0"), "==", "!=", 1) + "," + both}, drop + "! -i eth0 -j ACCEPT", some, some},
		{"all but a bridge", two, []string{strings.Replace(docker0, "==", "!=", 1) + "," + both}, drop + "! -i docker0 -j ACCEPT", open, open},
		{"one of two is dropped", two, []string{from("eth0") + "," + dropIt, both}, drop + "-i eth0 -j DROP\n-A INPUT -j ACCEPT", some, some},
		{"the one that has no IPv6", odd, []string{from("eth1") + "," + both}, drop + "-i eth1 -j ACCEPT", some, shut},
		{"the one that has IPv6", odd, []string{from("eth0") + "," + both}, drop + "-i eth0 -j ACCEPT", some, open},
		{"they are not known", nil, []string{from("eth0") + "," + both}, drop + "-i eth0 -j ACCEPT", some, some},
		{"they are not known, all but the loopback", nil, []string{strings.Replace(lo, "==", "!=", 1) + "," + both}, drop + "! -i lo -j ACCEPT", open, open},
	} {
		said := []map[string]string{{"nft -j list ruleset": nftRules(t, "inet", "drop", row.nft...)}}
		if row.iptables != "" {
			said = append(said, map[string]string{"iptables -S": row.iptables, "ip6tables -S": row.iptables, "/proc/net/ip_tables_names": "filter\n"})
		}
		for i, said := range said {
			h := answers(said)
			h.Interfaces = func() []Interface { return row.interfaces }
			four, six, err := PassagesOf(h, served)
			if err != nil || four.In.short() != row.four || six.In.short() != row.six {
				t.Errorf("%s, %s: %q and %q, %v; want %q and %q", row.name, []string{"nft", "iptables"}[i], four.In.short(), six.In.short(), err, row.four, row.six)
			}
		}
	}
}

func (p Passage) short() string {
	return list(p.Open, "-", ",") + "/" + list(p.Some, "-", ",") + "/" + list(p.Shut, "-", ",")
}

// answers is a host whose programs say this.
func answers(said map[string]string) *Host {
	return &Host{
		GOOS: "linux",
		Run: func(name string, args ...string) (string, error) {
			if text, ok := said[strings.Join(append([]string{name}, args...), " ")]; ok {
				return text, nil
			}
			return "", &exec.Error{Name: name, Err: exec.ErrNotFound}
		},
		Read: func(name string) ([]byte, error) {
			if text, ok := said[name]; ok {
				return []byte(text), nil
			}
			return nil, fs.ErrNotExist
		},
		Glob: func(string) []string { return nil }, Owner: func(uint16) string { return "" },
	}
}

func TestPassageOfIPTables(t *testing.T) {
	for _, row := range []struct{ name, rules, four string }{
		{"a policy that drops", "-P INPUT DROP", "//21,30000-30009"},
		{"a policy that accepts", "-P INPUT ACCEPT", "21,30000-30009//"},
		{"both are let in", "-P INPUT DROP\n-A INPUT -p tcp -m multiport --dports 21,30000:30009 -m conntrack --ctstate NEW -j ACCEPT", "21,30000-30009//"},
		{"a part of the range", "-P INPUT DROP\n-A INPUT -p tcp -m tcp --dport 21 -j ACCEPT\n-A INPUT -p tcp -m tcp --dport 30005:31000 -j ACCEPT", "21,30005-30009//30000-30004"},
		{"only answers and the loopback", "-P INPUT DROP\n-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n-A INPUT -i lo -j ACCEPT\n-A INPUT -p icmp -j ACCEPT", "//21,30000-30009"},
		{"a network", "-P INPUT DROP\n-A INPUT -s 10.0.0.0/8 -p tcp -m tcp --dport 21 -j ACCEPT", "/21/30000-30009"},
		{"all but a network are dropped", "-P INPUT ACCEPT\n-A INPUT ! -s 10.0.0.0/8 -j DROP", "/21,30000-30009/"},
		{"a network leaves a chain that drops", "-P INPUT ACCEPT\n-A INPUT -j fence\n-A fence -s 10.0.0.0/8 -j RETURN\n-A fence -j DROP", "/21,30000-30009/"},
		{"a network leaves a chain that drops, and is dropped behind it", "-P INPUT DROP\n-A INPUT -j fence\n-A fence -s 10.0.0.0/8 -j RETURN\n-A fence -j DROP", "//21,30000-30009"},
		{"so many at once leave a chain that drops", "-P INPUT ACCEPT\n-A INPUT -p tcp -j flood\n-A flood -m limit --limit 9/sec -j RETURN\n-A flood -j DROP", "/21,30000-30009/"},
		{"all but a set are dropped", "-P INPUT ACCEPT\n-A INPUT -m set ! --match-set geo src -j DROP", "/21,30000-30009/"},
		{"a set is let in", "-P INPUT DROP\n-A INPUT -p tcp -m tcp --dport 21 -m set --match-set geo src -j ACCEPT", "/21/30000-30009"},
		{"a ban", "-P INPUT ACCEPT\n-N f2b\n-A INPUT -p tcp -j f2b\n-A f2b -s 192.0.2.66/32 -j REJECT\n-A f2b -j RETURN", "21,30000-30009//"},
		{"a first packet by its flags", "-P INPUT DROP\n-A INPUT -p tcp -m tcp --dport 21 --tcp-flags FIN,SYN,RST,ACK SYN -j ACCEPT\n-A INPUT -p tcp -m tcp ! --tcp-flags FIN,SYN,RST,ACK SYN -j ACCEPT", "21//30000-30009"},
		{"a bridge", "-P INPUT DROP\n-A INPUT -i docker0 -j ACCEPT", "/21,30000-30009/"},
		{"chains as ufw has them", `-P INPUT DROP
-A INPUT -j ufw-before-input
-A INPUT -j ufw-after-input
-A INPUT -j ufw-reject-input
-A ufw-before-input -i lo -j ACCEPT
-A ufw-before-input -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A ufw-before-input -m conntrack --ctstate INVALID -j DROP
-A ufw-before-input -p icmp -m icmp --icmp-type 8 -j ACCEPT
-A ufw-before-input -p udp -m udp --sport 67 --dport 68 -j ACCEPT
-A ufw-before-input -j ufw-not-local
-A ufw-before-input -d 224.0.0.251/32 -p udp -m udp --dport 5353 -j ACCEPT
-A ufw-before-input -j ufw-user-input
-A ufw-not-local -m addrtype --dst-type LOCAL -j RETURN
-A ufw-not-local -m addrtype --dst-type MULTICAST -j RETURN
-A ufw-not-local -m limit --limit 3/min --limit-burst 10 -j ufw-logging-deny
-A ufw-not-local -j DROP
-A ufw-after-input -p udp -m udp --dport 137 -j ufw-skip-to-policy-input
-A ufw-skip-to-policy-input -j DROP
-A ufw-user-input -p tcp -m tcp --dport 21 -j ACCEPT
-A ufw-user-input -s 10.0.0.0/8 -p tcp -m multiport --dports 30000:30004 -j ACCEPT`, "21/30000-30004/30005-30009"},
	} {
		t.Run(row.name, func(t *testing.T) {
			h := answers(map[string]string{"iptables -S": row.rules, "ip6tables -S": "-P INPUT ACCEPT", "/proc/net/ip_tables_names": "filter\n"})
			four, six, err := PassagesOf(h, served)
			if err != nil {
				t.Fatal(err)
			}
			if got := four.In.short(); got != row.four {
				t.Errorf("over IPv4 %q; want %q", got, row.four)
			}
			if got := six.In.short(); got != "21,30000-30009//" {
				t.Errorf("over IPv6 %q; want all open", got)
			}
		})
	}
}

// What comes before input drops as well, as far as it sees the packets; and what is not
// tracked is never new.
func TestPassageBeforeInput(t *testing.T) {
	const (
		notrack   = `{"notrack":null}`
		isNew     = `{"match":{"op":"in","left":{"ct":{"key":"state"}},"right":"new"}}`
		untracked = `{"match":{"op":"in","left":{"ct":{"key":"state"}},"right":["new","untracked"]}}`
		invalid   = `{"match":{"op":"in","left":{"ct":{"key":"state"}},"right":"invalid"}}`
		begins    = `{"match":{"op":"==","left":{"&":[{"payload":{"protocol":"tcp","field":"flags"}},["fin","syn","rst","ack"]]},"right":"syn"}}`
	)
	base := func(family, name, hook string, prio int, policy string, rules ...string) string {
		text := fmt.Sprintf(`{"chain":{"family":%q,"table":"t","name":%q,"hook":%q,"prio":%d,"policy":%q}}`, family, name, hook, prio, policy)
		for _, rule := range rules {
			text += fmt.Sprintf(`,{"rule":{"family":%q,"table":"t","chain":%q,"handle":1,"expr":[%s]}}`, family, name, rule)
		}
		return text
	}
	both := dport("==", `{"set":[21,`+rest+`]}`)
	const open, some, shut = "21,30000-30009//", "/21,30000-30009/", "//21,30000-30009"
	for _, row := range []struct {
		name      string
		nft       []string
		iptables  map[string]string // beside a table filter that accepts
		four, six string
		by        string
	}{
		{"all ports but some in raw", []string{base("inet", "pre", "prerouting", -300, "accept", dport("!=", `{"set":[8080,22]}`)+","+dropIt)}, nil, shut, shut, "the chain inet t pre of nftables"},
		{"first packets of one port in mangle", []string{base("ip", "pre", "prerouting", -150, "accept", begins+","+dport("==", "21")+","+dropIt)}, nil, "30000-30009//21", open, "the chain ip t pre of nftables"},
		{"what is invalid, before anything is tracked", []string{base("inet", "pre", "prerouting", -300, "accept", invalid+","+dropIt)}, nil, shut, shut, "the chain inet t pre of nftables"},
		{"what is new, before anything is tracked", []string{base("inet", "pre", "prerouting", -300, "accept", isNew+","+dropIt)}, nil, open, open, ""},
		{"what is invalid, behind", []string{base("inet", "pre", "prerouting", -150, "accept", invalid+","+dropIt)}, nil, open, open, ""},
		{"a policy at the ingress", []string{base("netdev", "in", "ingress", 0, "drop", dport("==", "21")+","+acceptIt)}, nil, "21//30000-30009", "21//30000-30009", "the chain netdev t in of nftables"},
		{"the ingress of one interface", []string{base("netdev", "lan", "ingress", 0, "drop")}, nil, some, some, ""},
		{"the ingress of a bridge", []string{base("netdev", "docker", "ingress", 0, "drop")}, nil, open, open, ""},
		{"no track, and new ones are let in", []string{base("inet", "pre", "prerouting", -300, "accept", both+","+notrack), base("inet", "in", "input", 0, "drop", isNew+","+both+","+acceptIt)}, nil, shut, shut, "the chain inet t in of nftables"},
		{"no track, and both are let in", []string{base("inet", "pre", "prerouting", -300, "accept", both+","+notrack), base("inet", "in", "input", 0, "drop", untracked+","+both+","+acceptIt)}, nil, open, open, ""},
		{"no track of iptables", nil, map[string]string{"iptables-save": "*raw\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -p tcp -m tcp --dport 21 -j CT --notrack\n",
			"iptables -S": "-P INPUT DROP\n-A INPUT -p tcp -m conntrack --ctstate NEW -j ACCEPT\n"}, "30000-30009//21", open, "INPUT of iptables"},
		{"a policy in raw of iptables", nil, map[string]string{"iptables-save": "*raw\n:PREROUTING DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n"}, shut, open, "PREROUTING of the table raw of iptables"},
		{"one port in mangle of ip6tables", nil, map[string]string{"ip6tables-save": "*mangle\n:INPUT ACCEPT [0:0]\n-A INPUT -p tcp -m tcp --dport 21 --tcp-flags FIN,SYN,RST,ACK SYN -j DROP\n"}, open, "30000-30009//21", "INPUT of the table mangle of ip6tables"},
		{"tables of the old kind alone", nil, map[string]string{"iptables -V": "iptables v1.8.9 (nf_tables)", "/proc/net/ip_tables_names": "raw\n", "iptables-legacy-save": "*raw\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -p tcp -m tcp --dport 21 -j DROP\n"},
			"30000-30009//21", open, "PREROUTING of the table raw of iptables-legacy"},
	} {
		said := map[string]string{
			"nft -j list ruleset":            `{"nftables":[` + strings.Join(row.nft, ",") + `]}`,
			"nft list chain netdev t lan":    "\t\ttype filter hook ingress device \"eth1\" priority filter; policy drop;\n",
			"nft list chain netdev t docker": "\t\ttype filter hook ingress devices = { docker0, \"br-1\" } priority filter; policy drop;\n",
			"nft list chain netdev t in":     "\t\ttype filter hook ingress devices = { eth0, eth1 } priority filter; policy drop;\n",
			"iptables -S":                    "-P INPUT ACCEPT",
			"ip6tables -S":                   "-P INPUT ACCEPT",
			"/proc/net/ip_tables_names":      "mangle\n",
		}
		maps.Copy(said, row.iptables)
		h := answers(said)
		h.Interfaces = func() []Interface { return []Interface{{"eth0", true, true}, {"eth1", true, true}} }
		four, six, err := PassagesOf(h, served)
		if err != nil || four.In.short() != row.four || six.In.short() != row.six || cmp.Or(four.In.By, six.In.By) != row.by {
			t.Errorf("%s: %q and %q by %q, %v; want %q and %q by %q", row.name, four.In.short(), six.In.short(), cmp.Or(four.In.By, six.In.By), err, row.four, row.six, row.by)
		}
		_, found := Detect(h, served)
		if shuts, sees := len(four.In.Shut)+len(six.In.Shut) > 0, !strings.Contains(strings.Join(found, ""), "Nothing on this host filters"); shuts && !sees {
			t.Errorf("%s: ports are shut by %s, and it is said: %s", row.name, row.by, found)
		}
	}
}

// Rules for what goes out are about the answers, and about the connections of active
// mode: they come from a port of ours, and go to any high one.
func TestPassageOut(t *testing.T) {
	const (
		tcp    = `{"match":{"op":"==","left":{"meta":{"key":"l4proto"}},"right":"tcp"}}`
		eth0   = `{"match":{"op":"==","left":{"meta":{"key":"oifname"}},"right":"eth0"}}`
		root   = `{"match":{"op":"==","left":{"meta":{"key":"skuid"}},"right":0}}`
		away   = `{"match":{"op":"==","left":{"payload":{"protocol":"ip","field":"daddr"}},"right":{"prefix":{"addr":"10.0.0.0","len":8}}}}`
		syn    = `{"match":{"op":"==","left":{"&":[{"payload":{"protocol":"tcp","field":"flags"}},["fin","syn","rst","ack"]]},"right":"syn"}}`
		fromUs = "21,30000-30009"
	)
	sport := func(op, right string) string { return strings.Replace(dport(op, right), "dport", "sport", 1) }
	out := func(family, policy string, rules ...string) string {
		return strings.NewReplacer(`"input"`, `"output"`).Replace(nftRules(t, family, policy, rules...))
	}
	const open, shut, activeShut = fromUs + "// 20,989//", "//" + fromUs + " //20,989", fromUs + "// //20,989"
	for _, row := range []struct {
		name, nft, iptables string
		four                string // answers and active mode
		six                 string // "": the same, or all is open where the rules are those of iptables
	}{
		{"a policy that accepts", out("inet", "accept"), "-P OUTPUT ACCEPT", open, ""},
		{"a policy that drops", out("inet", "drop"), "-P OUTPUT DROP", shut, ""},
		{"of IPv6 alone", out("ip6", "drop"), "", open, shut},
		{"answers alone", out("inet", "drop", established+","+acceptIt), "-P OUTPUT DROP\n-A OUTPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", activeShut, ""},
		{"new ones alone", out("inet", "drop", fresh+","+acceptIt), "-P OUTPUT DROP\n-A OUTPUT -m conntrack --ctstate NEW -j ACCEPT", "//" + fromUs + " 20,989//", ""},
		{"the loopback and what comes in", out("inet", "drop", established+","+acceptIt, lo+","+acceptIt, strings.Replace(lo, "iif", "oif", 1)+","+acceptIt),
			"-P OUTPUT DROP\n-A OUTPUT -m state --state ESTABLISHED -j ACCEPT\n-A OUTPUT -o lo -j ACCEPT\n-A OUTPUT -i lo -j ACCEPT", activeShut, ""},
		{"by one interface", out("inet", "drop", eth0+","+acceptIt), "-P OUTPUT DROP\n-A OUTPUT -o eth0 -j ACCEPT", "/" + fromUs + "/ /20,989/", ""},
		{"from one port of both", out("inet", "drop", established+","+acceptIt, sport("==", "20")+","+acceptIt),
			"-P OUTPUT DROP\n-A OUTPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT\n-A OUTPUT -p tcp -m tcp --sport 20 -j ACCEPT", fromUs + "// 20//989", ""},
		{"from below 1024", out("inet", "drop", sport("<", "1024")+","+acceptIt), "-P OUTPUT DROP\n-A OUTPUT -p tcp -m tcp --sport 0:1023 -j ACCEPT", "21//30000-30009 20,989//", ""},
		{"to high ports", out("inet", "drop", dport(">=", "1024")+","+acceptIt), "-P OUTPUT DROP\n-A OUTPUT -p tcp -m tcp --dport 1024:65535 -j ACCEPT", open, ""},
		{"to some high ports", out("inet", "drop", dport("==", `{"range":[32768,60999]}`)+","+acceptIt), "-P OUTPUT DROP\n-A OUTPUT -p tcp -m tcp --dport 32768:60999 -j ACCEPT", "/" + fromUs + "/ /20,989/", ""},
		{"to a few ports, as people open them", out("inet", "drop", established+","+acceptIt, dport("==", `{"set":[25,53,80,443,8443]}`)+","+acceptIt),
			"-P OUTPUT DROP\n-A OUTPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT\n-A OUTPUT -p tcp -m multiport --dports 25,53,80,443,8443 -j ACCEPT", activeShut, ""},
		{"not to a few ports", out("inet", "accept", dport("==", `{"range":[6660,6669]}`)+","+dropIt), "-P OUTPUT ACCEPT\n-A OUTPUT -p tcp -m tcp --dport 6660:6669 -j DROP", open, ""},
		{"to all but a few ports", out("inet", "drop", dport("!=", "6667")+","+acceptIt), "-P OUTPUT DROP\n-A OUTPUT -p tcp -m tcp ! --dport 6667 -j ACCEPT", open, ""},
		{"to all but a network", out("ip", "accept", strings.Replace(away, "==", "!=", 1)+","+dropIt), "-P OUTPUT ACCEPT\n-A OUTPUT ! -d 10.0.0.0/8 -j DROP", "/" + fromUs + "/ /20,989/", open},
		{"a user's alone", out("inet", "drop", established+","+acceptIt, root+","+acceptIt), "-P OUTPUT DROP\n-A OUTPUT -m state --state ESTABLISHED -j ACCEPT\n-A OUTPUT -m owner --uid-owner 0 -j ACCEPT", fromUs + "// /20,989/", ""},
		{"no first packets", out("inet", "accept", tcp+","+syn+","+`{"reject":null}`), "-P OUTPUT ACCEPT\n-A OUTPUT -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -j REJECT", activeShut, ""},
		{"all but first packets", out("inet", "drop", strings.Replace(syn, "==", "!=", 1)+","+acceptIt), "-P OUTPUT DROP\n-A OUTPUT -p tcp -m tcp ! --tcp-flags FIN,SYN,RST,ACK SYN -j ACCEPT", activeShut, ""},
	} {
		six := cmp.Or(row.six, row.four)
		said := []map[string]string{{"nft -j list ruleset": row.nft}}
		if row.iptables != "" {
			said = append(said, map[string]string{"iptables -S": "-P INPUT ACCEPT\n" + row.iptables, "ip6tables -S": "-P INPUT ACCEPT\n-P OUTPUT ACCEPT", "/proc/net/ip_tables_names": "filter\n"})
		}
		for i, said := range said {
			if i > 0 {
				six = open
			}
			h := answers(said)
			h.Interfaces = func() []Interface { return []Interface{{"eth0", true, true}, {"eth1", true, true}} }
			p := served
			p.Active = []uint16{20, 989}
			four6 := [2]Passages{}
			var err error
			if four6[0], four6[1], err = PassagesOf(h, p); err != nil {
				t.Fatal(err)
			}
			for v6, want := range []string{row.four, six} {
				got := four6[v6]
				if s := got.Answers.short() + " " + got.Active.short(); s != want || got.In.short() != fromUs+"//" {
					t.Errorf("%s, %s, IPv%d: %q, and in %q; want %q", row.name, []string{"nft", "iptables"}[i], 4+2*v6, s, got.In.short(), want)
				}
			}
		}
	}

	// Without active mode, and with one that takes any port.
	h := answers(map[string]string{"nft -j list ruleset": out("inet", "drop", established+","+acceptIt)})
	if four, _, err := PassagesOf(h, served); err != nil || four.Active.short() != "//" {
		t.Errorf("without active mode: %q, %v", four.Active.short(), err)
	}
	p := served
	p.Active = []uint16{0}
	if four, _, err := PassagesOf(h, p); err != nil || four.Active.short() != "//1024-65535" {
		t.Errorf("from any port: %q, %v", four.Active.short(), err)
	}
}

// Two chains that filter: a packet has to pass both.
func TestPassageOfTwoKinds(t *testing.T) {
	h := answers(map[string]string{
		"nft -j list ruleset":        nftRules(t, "inet", "drop", dport("==", "21")+","+acceptIt),
		"iptables -S":                "-P INPUT DROP\n-A INPUT -p tcp -m tcp --dport 30000:30009 -j ACCEPT",
		"/proc/net/ip_tables_names":  "filter\n",
		"ip6tables -S":               "-P INPUT ACCEPT",
		"/proc/net/ip6_tables_names": "",
	})
	four, six, err := PassagesOf(h, served)
	if err != nil || four.In.short() != "//21,30000-30009" || six.In.short() != "21//30000-30009" {
		t.Errorf("%q, %q, %v", four.In.short(), six.In.short(), err)
	}
}

func TestPassageOfProgramsThatDoNotAnswer(t *testing.T) {
	h := answers(nil)
	if _, _, err := PassagesOf(h, served); err == nil || !strings.Contains(err.Error(), "there is no such program here") {
		t.Errorf("without a program: %v", err)
	}
	h.Run = func(string, ...string) (string, error) {
		return "", errors.New("exit status 1: Operation not permitted")
	}
	if _, _, err := PassagesOf(h, served); err == nil || !strings.Contains(err.Error(), "Operation not permitted") {
		t.Errorf("without the right: %v", err)
	}
}
