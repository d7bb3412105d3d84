package firewall

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write what is there as what is wanted")

// A scripted host says what the parts of a file say: "-- run COMMAND --" is what a
// program prints, "-- fail COMMAND --" how it fails, "-- file NAME --" a file. A
// program with no part is not there.
type scripted struct {
	parts []part
	asked []string
}

type part struct{ kind, name, text string }

func parseScript(text string) (s scripted) {
	for line := range strings.Lines(text) {
		head, ok := strings.CutPrefix(strings.TrimRight(line, "\n"), "-- ")
		head, end := strings.CutSuffix(head, " --")
		if ok && end {
			kind, name, _ := strings.Cut(head, " ")
			s.parts = append(s.parts, part{kind: kind, name: name})
			continue
		}
		if n := len(s.parts); n > 0 {
			s.parts[n-1].text += line
		}
	}
	return s
}

func (s *scripted) part(kind, name string) (string, bool) {
	for _, p := range s.parts {
		if p.kind == kind && p.name == name {
			return p.text, true
		}
	}
	return "", false
}

func (s *scripted) host() *Host {
	return &Host{
		GOOS: "linux",
		Run: func(name string, args ...string) (string, error) {
			command := strings.Join(append([]string{name}, args...), " ")
			s.asked = append(s.asked, command)
			if text, ok := s.part("run", command); ok {
				return text, nil
			}
			if text, ok := s.part("fail", command); ok {
				return "", errors.New("exit status 1: " + strings.TrimSpace(text))
			}
			if slices.ContainsFunc(s.parts, func(p part) bool { return strings.HasPrefix(p.name, name+" ") }) {
				return "", errors.New("exit status 2: not in the script: " + command)
			}
			return "", &exec.Error{Name: name, Err: exec.ErrNotFound}
		},
		Read: func(name string) ([]byte, error) {
			if text, ok := s.part("file", name); ok {
				return []byte(text), nil
			}
			return nil, fs.ErrNotExist
		},
		Glob: func(pattern string) []string {
			var names []string
			for _, p := range s.parts {
				if ok, _ := path.Match(pattern, p.name); ok && p.kind == "file" {
					names = append(names, p.name)
				}
			}
			return names
		},
		Owner: func(uint16) string { return "" },
	}
}

// usual are the ports of the stories; words of the part "ask" change them.
func usual(words []string) (p Ports, rest []string) {
	p = Ports{
		Listeners: []Listener{{Protocol: "ftp", Port: 21}, {Protocol: "ftps", Port: 990}, {Protocol: "sftp", Port: 22}},
		Passive:   []Range{{30000, 30009}},
		Active:    []uint16{20, 989},
	}
	for _, w := range words {
		value, from := strings.CutPrefix(w, "from=")
		switch {
		case from:
			p.From = append(p.From, netip.MustParsePrefix(value))
		case w == "wide":
			p.Passive = []Range{{30000, 30999}}
		case w == "any":
			p.Active = []uint16{0}
		case w == "passive-only":
			p.Active = nil
		case w == "active-only":
			p.Passive = nil
		case w == "sftp":
			p.Listeners = p.Listeners[2:]
		case w == "public":
			p.Public = "ftp.example.net"
		case w == "high":
			p.Listeners[0].Port, p.Listeners[1].Port, p.Listeners[2].Port = 2121, 2990, 2022
		default:
			rest = append(rest, w)
		}
	}
	return p, rest
}

// Each file in testdata is a machine, what is asked for, and the whole answer.
func TestPlans(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d files in testdata, %v", len(files), err)
	}
	seen := map[string]bool{}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			s := parseScript(string(b))
			line, _ := s.part("ask", "")
			p, words := usual(strings.Fields(line))
			h := s.host()
			if words[0] == "windows-host" {
				h.GOOS, words = "windows", words[1:]
			}
			var got strings.Builder
			names := words[:1]
			if names[0] == "auto" {
				var found []string
				names, found = Detect(h, p)
				got.WriteString(Plan{Found: found}.String())
			}
			for _, name := range names {
				make := Open
				if slices.Contains(words, "undo") {
					make = Undo
				}
				plan, err := make(h, name, p)
				if err != nil {
					t.Fatal(err)
				}
				checkPlan(t, plan)
				seen[name+fmt.Sprint(slices.Contains(words, "undo"))] = true
				got.WriteString(plan.String())
			}
			want, _ := s.part("want", "")
			if got.String() == want {
				return
			}
			if !*update {
				t.Errorf("got\n%s\nwant\n%s", got.String(), want)
				return
			}
			before, _, _ := strings.Cut(string(b), "-- want --\n")
			if err := os.WriteFile(file, []byte(before+"-- want --\n"+got.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		})
	}
	names, doc := Dialects()
	for _, name := range names {
		if doc[name] == "" {
			t.Errorf("%s says not what it is", name)
		}
		if !seen[name+"false"] || !seen[name+"true"] {
			t.Errorf("no file in testdata asks for %s, or none for its undo", name)
		}
	}
}

// checkPlan is true for every plan: a command is one line, that a shell reads as
// the words that are run, and a note is no command.
func checkPlan(t *testing.T, p Plan) {
	t.Helper()
	commands := 0
	for _, s := range p.Steps {
		line := p.Line(s.Args)
		if strings.ContainsAny(line, "\n\r\x00") || !printable(line) {
			t.Errorf("a command of more than one line: %q", line)
		}
		words, err := split(line)
		if err != nil || !slices.Equal(words, s.Args) {
			t.Errorf("split(%q) = %q, %v; want %q", line, words, err, s.Args)
		}
		commands++
	}
	text := p.String()
	if p.Text != "" {
		text = strings.Replace(text, p.Text, "", 1)
	}
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "#") {
			commands--
		}
	}
	if commands != 0 {
		t.Errorf("the text has %d lines more without a # than commands:\n%s", -commands, text)
	}
}

func TestUnknownDialect(t *testing.T) {
	if p, err := Open(parseScriptHost(""), "pf", Ports{}); err == nil {
		t.Errorf("Open(pf) = %v; want an error", p)
	}
}

func parseScriptHost(text string) *Host {
	s := parseScript(text)
	return s.host()
}

// What is told is why a program failed, not what it warns of before.
func TestReason(t *testing.T) {
	for said, want := range map[string]string{
		"exit status 1: Operation not permitted": "Operation not permitted",
		"exit status 4: # Warning: iptables-legacy tables present, use iptables-legacy to see them\niptables v1.8.9 (nf_tables): Could not fetch rule set generation id: Permission denied (you must be root)\n": "iptables v1.8.9 (nf_tables): Could not fetch rule set generation id: Permission denied (you must be root)",
		"exit status 1: WARNING: initcaps: can't open\nERROR: You need to be root to run this script":                                                                                                            "ERROR: You need to be root to run this script",
		"exit status 1: # Warning: alone": "it can't be asked",
		"exit status 1: a\x1b[31mb\nc":    "c",
		"exit status 1: ":                 "it can't be asked",
	} {
		if got := reason(errors.New(said)); got != want {
			t.Errorf("reason(%q) = %q; want %q", said, got, want)
		}
	}
}

// What sh makes of a quoted word is the word.
func TestQuoteIsReadBySh(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("no sh")
	}
	words := []string{"", "a", "a b", "{ 21, 22 }", `"dray"`, "it's", `$HOME`, "`id`", `\`, "*", "~", "#x", "a=b", "!", "-x", "[{}]", "é"}
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = Quote(w)
	}
	out, err := exec.Command(sh, "-c", `printf '%s\n' `+strings.Join(quoted, " ")).Output()
	if err != nil || string(out) != strings.Join(words, "\n")+"\n" {
		t.Errorf("sh reads %q, %v; want %q", out, err, words)
	}
	if got, err := split(strings.Join(quoted, " ")); err != nil || !slices.Equal(got, words) {
		t.Errorf("split = %q, %v; want %q", got, err, words)
	}
}

func TestPorts(t *testing.T) {
	local := []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::1")}
	p := Ports{
		Listeners: []Listener{{"ftp", 2121, nil}, {"ftp", 21, nil}, {"ftps", 990, local}, {"sftp", 21, nil}, {"ftp", 30005, []netip.Addr{local[0], netip.MustParseAddr("192.0.2.1")}}},
		Passive:   []Range{{30010, 30020}, {30000, 30012}},
		Active:    []uint16{989, 20, 20},
	}
	if got := list(p.in(), "-", " "); got != "21 2121 30000-30020" {
		t.Errorf("in() = %s; want each port once, none of loopback", got)
	}
	if from, any := p.active(); list(from, "-", " ") != "20 989" || any {
		t.Errorf("active() = %v, %v", from, any)
	}
	p.Listeners = p.Listeners[2:4]
	if from, _ := p.active(); list(p.in(), "-", " ") != "21" || len(from) > 0 || p.out() {
		t.Errorf("SFTP alone: in %v, active %v", p.in(), from)
	}
	p.Listeners = p.Listeners[:1]
	if !p.None() {
		t.Error("a listener on loopback needs a rule")
	}
	p.From = []netip.Prefix{netip.MustParsePrefix("::ffff:192.0.2.77/120"), netip.MustParsePrefix("192.0.2.9/24"), netip.MustParsePrefix("2001:db8::1/32")}
	if v4, v6, everybody := p.from(); prefixes(v4, " ") != "192.0.2.0/24" || prefixes(v6, " ") != "2001:db8::/32" || everybody {
		t.Errorf("from() = %v, %v, %v", v4, v6, everybody)
	}
}

func TestParseRange(t *testing.T) {
	for s, want := range map[string]string{"30000-30999": "30000-30999", "21": "21", " 1 - 2 ": "1-2", "0": "", "2-1": "", "1-65536": "", "": "", "1-2-3": "", "a-b": ""} {
		r, ok := ParseRange(s, "-")
		if ok != (want != "") || ok && r.String() != want {
			t.Errorf("ParseRange(%q) = %v, %v; want %q", s, r, ok, want)
		}
	}
}

// multiport and ufw bear 15 ports, of which a range takes two.
func TestChunks(t *testing.T) {
	var ports []Range
	for i := range uint16(20) {
		ports = append(ports, Range{100 + 10*i, 100 + 10*i + i%2})
	}
	total := 0
	for _, some := range chunks(ports, 15) {
		cost := 0
		for _, r := range some {
			cost += min(int(r.Last-r.First), 1) + 1
		}
		if cost > 15 {
			t.Errorf("%v counts as %d ports", some, cost)
		}
		total += len(some)
	}
	if total != len(ports) {
		t.Errorf("%d ranges of %d", total, len(ports))
	}
}

func TestInstalled(t *testing.T) {
	for _, tt := range []struct {
		name, files string
		want        string // name file listeners passive active public
		fix         string
	}{
		{"nothing", "", "", ""},
		{"vsftpd as Debian ships it", "-- file /etc/vsftpd.conf --\n# comment\nlisten=NO\nlisten_ipv6=YES\nconnect_from_port_20=YES\nssl_enable=NO\n",
			"vsftpd /etc/vsftpd.conf ftp:21 [] [20] ", "pasv_min_port=30000 pasv_max_port=30999"},
		{"vsftpd, implicit, with a range", "-- file /etc/vsftpd/vsftpd.conf --\nlisten_port=990\nssl_enable=YES\nimplicit_ssl=YES\npasv_min_port=40000\npasv_max_port=40100\npasv_address=192.0.2.1\n",
			"vsftpd /etc/vsftpd/vsftpd.conf ftps:990 [40000-40100] [0] 192.0.2.1", ""},
		{"vsftpd without passive and active mode", "-- file /etc/vsftpd.conf --\npasv_enable=NO\nport_enable=NO\nlisten_address=127.0.0.1\n",
			"vsftpd /etc/vsftpd.conf ftp:21[127.0.0.1] [] [] ", ""},
		{"vsftpd with half a range", "-- file /etc/vsftpd.conf --\npasv_min_port=40000\n",
			"vsftpd /etc/vsftpd.conf ftp:21 [] [0] ", "pasv_min_port=30000 pasv_max_port=30999"},
		{"ProFTPD with hosts and an include", "-- file /etc/proftpd/proftpd.conf --\nInclude /etc/proftpd/conf.d/*.conf\nPort 2121\n  PassivePorts 49152 65534\nMasqueradeAddress ftp.example.net\n<VirtualHost 0.0.0.0>\nSFTPEngine on\nPort 2222\n</VirtualHost>\n" +
			"-- file /etc/proftpd/conf.d/tls.conf --\n<VirtualHost 0.0.0.0>\nPort 990\nTLSOptions UseImplicitSSL\n</VirtualHost>\n",
			"ProFTPD /etc/proftpd/proftpd.conf ftp:2121 ftps:990 sftp:2222 [49152-65534] [2120 989] ftp.example.net", ""},
		{"ProFTPD of Debian, with a directory", "-- file /etc/proftpd/proftpd.conf --\nInclude /etc/proftpd/conf.d/\nInclude \"/etc/proftpd/more\"\n-- file /etc/proftpd/conf.d/a.conf --\nPassivePorts 60000 60100\n-- file /etc/proftpd/more/b --\nMasqueradeAddress 192.0.2.1\n",
			"ProFTPD /etc/proftpd/proftpd.conf ftp:21 [60000-60100] [20] 192.0.2.1", ""},
		{"ProFTPD that includes itself", "-- file /etc/proftpd/proftpd.conf --\nInclude /etc/proftpd/*.conf\n",
			"ProFTPD /etc/proftpd/proftpd.conf ftp:21 [] [20] ", "PassivePorts 30000 30999"},
		{"Pure-FTPd of Debian", "-- file /etc/pure-ftpd/conf/PassivePortRange --\n30000 30100\n-- file /etc/pure-ftpd/conf/Bind --\n,2121\n",
			"Pure-FTPd /etc/pure-ftpd/conf ftp:2121 [30000-30100] [2120] ", ""},
		{"Pure-FTPd of Debian without a range", "-- file /etc/pure-ftpd/conf/MinUID --\n1000\n",
			"Pure-FTPd /etc/pure-ftpd/conf ftp:21 [] [20] ", "echo '30000 30999' > /etc/pure-ftpd/conf/PassivePortRange"},
		{"Pure-FTPd", "-- file /etc/pure-ftpd/pure-ftpd.conf --\n# PassivePortRange 1 2\nBind 127.0.0.1,21\nForcePassiveIP 192.0.2.1\n",
			"Pure-FTPd /etc/pure-ftpd/pure-ftpd.conf ftp:21[127.0.0.1] [] [20] 192.0.2.1", "PassivePortRange 30000 30999"},
	} {
		s, ok := Installed(parseScriptHost(tt.files))
		got := ""
		if ok {
			got = s.Name + " " + s.File
			for _, l := range s.Ports.Listeners {
				got += fmt.Sprintf(" %s:%d", l.Protocol, l.Port)
				if len(l.Addrs) > 0 {
					got += fmt.Sprint(l.Addrs)
				}
			}
			got += fmt.Sprintf(" %v %v %s", s.Ports.Passive, s.Ports.Active, s.Ports.Public)
		}
		if fix := strings.Join(s.Fix, " "); got != tt.want || fix != tt.fix {
			t.Errorf("%s: %q, fix %q; want %q, %q", tt.name, got, fix, tt.want, tt.fix)
		}
	}
}

// A directory of this machine is read as ProFTPD reads it, and not what is below.
func TestProFTPDIncludesADirectory(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "below"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"a.conf": "PassivePorts 60000 60100\n", "b.bak": "Port 2121\n", "below/c.conf": "PassivePorts 1 2\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, include := range []string{dir, dir + "/"} {
		s := proftpd(Here(t.Context()), "f", "Include "+include+"\n")
		if got := fmt.Sprint(s.Ports.Passive, s.Ports.Listeners); got != "[60000-60100] [{ftp 2121 []}]" {
			t.Errorf("Include %s: %s", include, got)
		}
	}
}

// Legacy tables are asked for only where the kernel has some: the question makes
// them.
func TestLegacyTablesAreNotMade(t *testing.T) {
	s := parseScript("-- run iptables -V --\niptables v1.8.9 (nf_tables)\n-- run iptables -S --\n-P INPUT ACCEPT\n-- run ip6tables -S --\n-P INPUT ACCEPT\n")
	p, _ := usual(nil)
	if _, err := Open(s.host(), "iptables", p); err != nil {
		t.Fatal(err)
	}
	if slices.ContainsFunc(s.asked, func(c string) bool { return strings.Contains(c, "legacy") }) {
		t.Errorf("asked %q", s.asked)
	}
}

func TestListening(t *testing.T) {
	const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12345 1 0000000000000000 100 0 0 10 0
   1: 0100007F:0016 0100007F:D431 01 00000000:00000000 00:00000000 00000000     0        0 999 1 0000000000000000 20 4 30 10 -1
`
	if got := listening(table, 22); len(got) != 1 || !got["12345"] {
		t.Errorf("listening(22) = %v; want 12345", got)
	}
	if got := listening(table, 21); len(got) != 0 {
		t.Errorf("listening(21) = %v; want none", got)
	}
}

// The program that listens on a port is found, also by who is not root.
func TestOwner(t *testing.T) {
	comm, err := os.ReadFile("/proc/self/comm")
	if err != nil {
		t.Skip("no /proc here")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).AddrPort().Port()
	if got := owner(port); got != strings.TrimSpace(string(comm)) {
		t.Errorf("owner(%d) = %q; want %q", port, got, comm)
	}
	_ = l.Close()
	if got := owner(port); got != "" {
		t.Errorf("owner of a closed port: %q", got)
	}
}

// Whatever the programs of a firewall say, each command is one line that a shell
// reads as the words that are run, and none is an option where a name should be.
func FuzzWhatFirewallsSay(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.txt")
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		s := parseScript(string(b))
		nft, _ := s.part("run", "nft -j list ruleset")
		tables, _ := s.part("run", "iptables -S")
		status, _ := s.part("run", "ufw status verbose")
		added, _ := s.part("run", "ufw show added")
		zones, _ := s.part("run", "firewall-cmd --get-active-zones")
		rich, _ := s.part("run", "firewall-cmd --permanent --zone=public --list-rich-rules")
		f.Add(nft, tables, status, added, zones, rich)
	}
	f.Add("", "*mangle\n:PREROUTING DROP\n-A PREROUTING -j \"a\nb\" --comment dray\n*raw\n-A PREROUTING --comment dray -j X", "", "", "", "")
	f.Add(`{"nftables":[{"chain":{"family":"inet","table":"-f","name":"a\nb","hook":"input","policy":"drop"}}]}`, "-A INPUT -j \"a\nb\" --comment dray", "", "ufw allow 'a\nb' comment 'dray'", "a b\n-x\n", "rule service name=\"dray\" \x00")
	f.Fuzz(func(t *testing.T, nft, tables, status, added, zones, rich string) {
		answers := map[string]string{
			"nft -j list ruleset": nft, "iptables -S": tables, "ip6tables -S": tables, "iptables -V": "nf_tables",
			"iptables-save": tables, "ip6tables-save": "*raw\n:PREROUTING DROP\n" + tables,
			"ufw status": status, "ufw status verbose": status, "ufw show added": added,
			"firewall-cmd --state": status, "firewall-cmd --get-active-zones": zones, "firewall-cmd --get-default-zone": zones,
		}
		h := parseScriptHost("")
		h.Run = func(name string, args ...string) (string, error) {
			if text, ok := answers[strings.Join(append([]string{name}, args...), " ")]; ok {
				return text, nil
			}
			if name == "firewall-cmd" {
				if slices.Contains(args, "--list-rich-rules") {
					return rich, nil
				}
				return zones, nil
			}
			return "", exec.ErrNotFound
		}
		p, _ := usual([]string{"from=192.0.2.0/24", "from=2001:db8::/32"})
		Detect(h, p)
		for _, name := range []string{"nft", "iptables", "ufw", "firewalld"} {
			for _, make := range []func(*Host, string, Ports) (Plan, error){Open, Undo} {
				plan, err := make(h, name, p)
				if err != nil {
					t.Fatal(err)
				}
				checkPlan(t, plan)
			}
		}
	})
}

func FuzzSplit(f *testing.F) {
	for _, s := range []string{"a b", `"a\"b" 'c d'`, `a\ b`, `'`, `"`, `\`, ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		words, err := split(line)
		if err != nil {
			return
		}
		quoted := make([]string, len(words))
		for i, w := range words {
			quoted[i] = Quote(w)
		}
		if again, err := split(strings.Join(quoted, " ")); err != nil || !slices.Equal(again, words) {
			t.Errorf("split(Quote(split(%q))) = %q, %v; want %q", line, again, err, words)
		}
	})
}

// Files of other programs make no port 0, and no range that is empty.
func FuzzServers(f *testing.F) {
	f.Add("listen_port=21\npasv_min_port=1\npasv_max_port=2\n")
	f.Add("Port 21\nPassivePorts 1 2\n<VirtualHost x>\nPort 22\nSFTPEngine on\n</VirtualHost>\n")
	f.Add("PassivePortRange 1 2\nBind a,b\n")
	f.Fuzz(func(t *testing.T, text string) {
		for _, s := range []Server{vsftpd("f", text), proftpd(parseScriptHost(""), "f", text), pureFTPd("f", text)} {
			for _, r := range s.Ports.Passive {
				if r.First == 0 || r.Last < r.First {
					t.Errorf("%s: %q has the range %v", s.Name, text, r)
				}
			}
			if !printable(s.Ports.Public) {
				t.Errorf("%s: %q has the public address %q", s.Name, text, s.Ports.Public)
			}
			for _, l := range s.Ports.Listeners {
				if l.Port == 0 && s.Name != "vsftpd" {
					t.Errorf("%s: %q has port 0", s.Name, text)
				}
			}
		}
	})
}

// Which rules end the connections that a server needs, and which are about some
// peers only, whose bans have to go on.
func TestWhatARuleDoes(t *testing.T) {
	p, _ := usual(nil)
	for _, tt := range []struct {
		rule string
		out  bool
		want fate
	}{
		{"-j DROP", false, blocks},
		{"-j ACCEPT", false, passes},
		{"-p tcp -j REJECT --reject-with tcp-reset", false, blocks},
		{"-p udp -j DROP", false, passes},
		{"! -p udp -j DROP", false, blocks},
		{"-s 192.0.2.7/32 -j DROP", false, bans},
		{"! -s 192.0.2.0/24 -j DROP", false, restricts},
		{"-m set ! --match-set geo src -j DROP", false, restricts},
		{"-m iprange ! --src-range 192.0.2.1-192.0.2.9 -j all", false, restricts},
		{"! -d 192.0.2.0/24 -j REJECT", true, restricts},
		{"-d 127.0.0.0/8 ! -s 127.0.0.0/8 -j DROP", false, bans},
		{"-p tcp -m multiport --dports 25,80:90 -j DROP", false, passes},
		{"-p tcp -m tcp --dport 1024:65535 -j DROP", false, blocks},
		{"-p tcp -m tcp ! --dport 22 -j DROP", false, blocks},
		{"-m conntrack --ctstate INVALID -j DROP", false, passes},
		{"-m conntrack ! --ctstate RELATED,ESTABLISHED -j DROP", false, blocks},
		{"-p tcp -m state --state NEW -j DROP", false, blocks},
		{"-p tcp -m tcp ! --tcp-flags FIN,SYN,RST,ACK SYN -m conntrack --ctstate NEW -j DROP", false, passes},
		{"-p tcp -m tcp --dport 21 --tcp-flags FIN,SYN,RST,ACK SYN -j DROP", false, blocks},
		{"-p tcp -m tcp --tcp-flags FIN,SYN FIN,SYN -j DROP", false, passes},
		{"-f -j DROP", false, passes},
		{"-p tcp -m conntrack --ctstate NEW -m tcpmss ! --mss 536:65535 -j DROP", false, bans},
		{"-m rpfilter --invert -j DROP", false, bans},
		{"-m addrtype --dst-type LOCAL -j DROP", false, blocks},
		{"-m addrtype --dst-type BROADCAST -j DROP", false, bans},
		{"-i lo -j DROP", false, passes},
		{"! -i lo -j DROP", false, blocks},
		{"-i eth0 -j DROP", false, blocks},
		{"-m set --match-set bad src -j DROP", false, bans},
		{"-m mark --mark 0x8000/0x8000 -j DROP", false, bans},
		{"-m hashlimit --hashlimit-above 9/sec --hashlimit-name x -j DROP", false, bans},
		{"-j all", false, blocks},
		{"-s 192.0.2.7/32 -j all", false, bans},
		{"-j some", false, bans},
		{"-j fence", false, restricts},
		{"-j flood", false, bans},
		{"-j gone", false, passes},
		{"-j loop", false, passes},
		{"-p tcp -m tcp --dport 25 -j REJECT", true, passes},
		{"-p tcp -m tcp --sport 20 -j REJECT", true, blocks},
		{"-p tcp -m tcp --sport 25 -j REJECT", true, passes},
		{"-d 192.0.2.0/24 -j REJECT", true, bans},
		{"-o lo -j REJECT", true, passes},
		{"-j REJECT", true, blocks},
	} {
		chain, w := "INPUT", p.incoming()
		if tt.out {
			chain, w = "OUTPUT", p.outgoing()
		}
		f := parseFilter("-A " + chain + " " + tt.rule + "\n-A all -j DROP\n-A some -s 192.0.2.7/32 -j DROP\n-A some -j RETURN\n-A loop -j loop\n" +
			"-A fence -p udp -j RETURN\n-A fence -s 192.0.2.0/24 -j RETURN\n-A fence -j DROP\n-A flood -m limit --limit 9/s -j RETURN\n-A flood -j DROP\n-A gone -p udp -s 192.0.2.7 -j RETURN\n-A gone -p udp -j DROP\n")
		if got := worst(f.fates(chain, w)); got != tt.want {
			t.Errorf("%s (out %v): %v; want %v", tt.rule, tt.out, got, tt.want)
		}
	}
}

// The same of nft, as its JSON has it.
func TestWhatAnNFTRuleDoes(t *testing.T) {
	p, _ := usual(nil)
	const (
		drop  = `{"drop":null}`
		saddr = `{"match":{"op":"==","left":{"payload":{"protocol":"ip","field":"saddr"}},"right":"@bad"}}`
		dport = `{"match":{"op":"%s","left":{"payload":{"protocol":"tcp","field":"dport"}},"right":%s}}`
		state = `{"match":{"op":"%s","left":{"ct":{"key":"state"}},"right":%s}}`
	)
	for _, tt := range []struct {
		name, expr string
		want       fate
	}{
		{"drop", drop, blocks},
		{"counter drop", `{"counter":{}},` + drop, blocks},
		{"accept", `{"accept":null}`, passes},
		{"reject of some", saddr + `,{"reject":{"type":"icmp"}}`, bans},
		{"not from", strings.Replace(saddr, "==", "!=", 1) + "," + drop, restricts},
		{"another port", fmt.Sprintf(dport, "==", `{"set":[25,{"range":[80,90]}]}`) + "," + drop, passes},
		{"one of ours", fmt.Sprintf(dport, "==", `{"set":[25,{"range":[30009,30010]}]}`) + "," + drop, blocks},
		{"all but one", fmt.Sprintf(dport, "!=", `22`) + "," + drop, blocks},
		{"above", fmt.Sprintf(dport, ">", `1023`) + "," + drop, blocks},
		{"a set with a name", fmt.Sprintf(dport, "==", `"@ports"`) + "," + drop, bans},
		{"invalid", fmt.Sprintf(state, "in", `"invalid"`) + "," + drop, passes},
		{"not established", fmt.Sprintf(state, "!=", `["established","related"]`) + "," + drop, blocks},
		{"udp", `{"match":{"op":"==","left":{"meta":{"key":"l4proto"}},"right":"udp"}},` + drop, passes},
		{"not udp", `{"match":{"op":"!=","left":{"meta":{"key":"l4proto"}},"right":"udp"}},` + drop, blocks},
		{"loopback", `{"match":{"op":"==","left":{"meta":{"key":"iifname"}},"right":"lo"}},` + drop, passes},
		{"all but loopback", `{"match":{"op":"!=","left":{"meta":{"key":"iifname"}},"right":"lo"}},` + drop, blocks},
		{"too many", `{"limit":{"rate":5,"per":"second","inv":true}},` + drop, bans},
		{"flags", `{"match":{"op":"!=","left":{"&":[{"payload":{"protocol":"tcp","field":"flags"}},["fin"]]},"right":"syn"}},` + drop, passes},
		{"first packets", `{"match":{"op":"==","left":{"&":[{"payload":{"protocol":"tcp","field":"flags"}},["fin","syn","rst","ack"]]},"right":"syn"}},` + drop, blocks},
		{"IPv4", `{"match":{"op":"==","left":{"meta":{"key":"protocol"}},"right":"ip"}},` + drop, blocks},
		{"ARP", `{"match":{"op":"==","left":{"payload":{"protocol":"ether","field":"type"}},"right":"arp"}},` + drop, passes},
		{"jump to all", `{"jump":{"target":"all"}}`, blocks},
		{"jump to a fence", `{"jump":{"target":"fence"}}`, restricts},
		{"jump of some", saddr + `,{"goto":{"target":"all"}}`, bans},
		{"a map of states", `{"vmap":{"key":{"ct":{"key":"state"}},"data":{"set":[["invalid",{"drop":null}],["new",{"accept":null}]]}}}`, passes},
		{"a map of ports", `{"vmap":{"key":{"payload":{"protocol":"tcp","field":"dport"}},"data":{"set":[[25,{"drop":null}],[21,{"jump":{"target":"all"}}]]}}}`, blocks},
		{"a map elsewhere", `{"vmap":{"key":{"payload":{"protocol":"tcp","field":"dport"}},"data":"@verdicts"}}`, passes},
		{"a map with a name", `{"vmap":{"key":{"payload":{"protocol":"tcp","field":"dport"}},"data":"@ports"}}`, blocks},
		{"a loop", `{"jump":{"target":"in"}}`, passes},
	} {
		rs, err := parseRuleset(`{"nftables":[{"chain":{"family":"inet","table":"f","name":"in","hook":"input"}},{"chain":{"family":"inet","table":"f","name":"all"}},{"map":{"family":"inet","table":"f","name":"ports","elem":[[25,{"accept":null}],[{"range":[20,22]},{"goto":{"target":"all"}}]]}},` +
			`{"chain":{"family":"inet","table":"f","name":"fence"}},{"rule":{"family":"inet","table":"f","chain":"fence","handle":7,"expr":[` + saddr + `,{"return":null}]}},{"rule":{"family":"inet","table":"f","chain":"fence","handle":8,"expr":[{"drop":null}]}},` +
			`{"rule":{"family":"inet","table":"f","chain":"all","handle":9,"expr":[{"drop":null}]}},{"rule":{"family":"inet","table":"f","chain":"in","handle":1,"expr":[` + tt.expr + `]}}]}`)
		if err != nil {
			t.Fatal(err)
		}
		if got := worst(rs.fates(rs.chains[0], p.incoming())); got != tt.want {
			t.Errorf("%s: %v; want %v", tt.name, got, tt.want)
		}
	}
}
