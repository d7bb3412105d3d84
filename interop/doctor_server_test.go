//go:build linux

package interop

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/textproto"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// doctor looks at the server of a machine.
func (m *machine) doctor(t *testing.T, args ...string) *diagnosis {
	t.Helper()
	began := time.Now()
	cmd := m.in(t.Context(), append([]string{"dray", "doctor", "--server", "--json"}, args...)...)
	out, err := cmd.Output()
	d := &diagnosis{took: time.Since(began), text: string(out)}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		d.status = exit.ExitCode()
		d.text += string(exit.Stderr)
	} else if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(out, d); err != nil {
		t.Fatalf("dray doctor --server: %v\n%s", err, d.text)
	}
	if d.took > 10*time.Second {
		t.Errorf("it took %v", d.took)
	}
	return d
}

// healthy wants nothing that is worse than a note.
func (m *machine) healthy(t *testing.T, when string) {
	t.Helper()
	if d := m.doctor(t); d.status != 0 {
		t.Fatalf("%s: %v", when, d)
	}
}

// command is the first thing that the administrator is told to paste.
func (d *diagnosis) command(t *testing.T, id string) string {
	t.Helper()
	for _, c := range d.Checks {
		for _, s := range c.Admin {
			if c.ID == id && c.Status != "ok" && c.Status != "note" && s.Run != "" {
				return s.Run
			}
		}
	}
	t.Fatalf("no command for %s: %v", id, d)
	return ""
}

// judged wants dray doctor --server to say of the rules what a client sees of them.
func (s *street) judged(t *testing.T, when string, want view) {
	t.Helper()
	const config = `state = "/var/lib/dray"
passive = "30000-30009"
[[listener]]
protocol = "ftp"
[[listener]]
protocol = "ftps"
[[listener]]
protocol = "sftp"
listen = [":22"]
`
	s.run(t, config, "sh", "-c", "cat >/var/lib/judged.toml")
	out, _ := s.in(t.Context(), "dray", "doctor", "--server", "--json", "--config", "/var/lib/judged.toml").Output() // its status is about all of it
	var d diagnosis
	if err := json.Unmarshal(out, &d); err != nil {
		t.Fatalf("%s: %v\n%s", when, err, out)
	}
	status, id := "fail", "filtered"
	switch {
	case len(want.open) > 0 && len(want.active) == 0:
		status, id = "warn", "active-blocked"
	case len(want.open) > 0:
		status, id = "ok", ""
	}
	for _, c := range d.Checks {
		if c.Check == "firewall" && (c.Status != status || c.ID != id) {
			t.Errorf("%s the doctor finds %s %s: %s; want %s %s", when, c.Status, c.ID, c.Saw, status, id)
		}
	}
}

// A server that is well has nothing but notes; each fault is the first finding, and
// where the fix is a command, all is well after it.
func TestDoctorOfTheServer(t *testing.T) {
	t.Parallel()
	needsRoot(t, "a machine of its own")
	tool(t, "nft", "nftables")
	tool(t, "python3", "python3")
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	cas := newCAs(t)
	s := newScene(t, cas, direct)
	m := s.server
	// Where the user dray may run it.
	m.must("rm /usr/local/bin/dray && cp " + bin + " /usr/local/bin/dray && chmod 755 /usr/local/bin/dray")
	m.must("chown dray " + s.cert + " && chmod 755 /etc/ssl/private && install -d -o dray -g dray -m 700 /var/lib/dray")
	m.write("/etc/dray/dray.toml", fmt.Sprintf(`state = "/var/lib/dray"
user = "dray"
public = %q
passive = "30000-30099"
sync = "none"
[[tls.certificate]]
file = %q
[limits]
data-wait = "200ms"
[[listener]]
protocol = "ftp"
plain = true
[[listener]]
protocol = "sftp"
listen = [":22"]
`, serverName, s.cert))
	m.must("printf '%s\\n' " + password + " | dray user add " + user + " --home " + home)
	m.healthy(t, "before the server runs")

	t.Run("port held", func(t *testing.T) {
		holder := m.in(t.Context(), "python3", "-c", "import socket,time; s=socket.create_server(('',21)); time.sleep(600)")
		if err := holder.Start(); err != nil {
			t.Fatal(err)
		}
		go func() { _ = holder.Wait() }()
		within(t, "the other program", func() bool { return m.listens(21) })
		d := m.doctor(t)
		if d.status != 20 && d.status != 21 || d.First != "port-taken" || !strings.Contains(d.String(), "python3 (pid ") {
			t.Fatalf("another program has the port: %v", d)
		}
		m.must(d.command(t, "port-taken"))
		within(t, "the end of the other program", func() bool { return !m.listens(21) })
		m.healthy(t, "after the fix")
	})

	s.serve("dray", 21, func() *exec.Cmd {
		return m.in(s.t.Context(), "/usr/local/bin/dray", "serve", "--config", "/etc/dray/dray.toml")
	})
	within(t, "the socket of the server", func() bool {
		_, err := m.shell(5*time.Second, "dray status")
		return err == nil
	})
	m.healthy(t, "with the server")

	for _, fault := range []struct {
		name, id string
		status   int
		stage    string
		undo     string // "": the command of the finding mends it
	}{
		{"range closed", "data-blocked", 21, `nft -f - <<'X'
table inet filter {
	chain input {
		type filter hook input priority filter; policy drop;
		ct state established,related accept
		iifname "lo" accept
		tcp dport { 21, 22 } accept
	}
}
X`, ""},
		{"range closed in part", "range-partly-open", 21, "nft flush ruleset; nft 'add table inet f; add chain inet f in { type filter hook input priority 0; policy accept; }; add rule inet f in tcp dport 30050-30999 reject'", ""},
		{"control port closed", "filtered", 21, "nft flush ruleset; nft 'add table inet f; add chain inet f in { type filter hook input priority 0; policy accept; }; add rule inet f in tcp dport 21 drop'", ""},
		{"answers held back", "filtered", 21, "nft flush ruleset; nft 'add table inet f; add chain inet f out { type filter hook output priority 0; policy drop; }; add rule inet f out oifname lo accept'", ""},
		{"active mode held back", "active-blocked", 20, "nft flush ruleset; iptables -P OUTPUT DROP; iptables -A OUTPUT -o lo -j ACCEPT; iptables -A OUTPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT; iptables -A OUTPUT -p tcp -m multiport --dports 53,80,443 -j ACCEPT", ""},
		{"range taken by outgoing connections", "pool-exhausted", 20, "nft flush ruleset; sysctl -qw net.ipv4.ip_local_port_range='30050 60999'", ""},
		{"key open to everybody", "key-exposed", 20, "chmod 644 " + s.cert, ""},
		{"key closed to the server", "perm", 21, "chown root:root " + s.cert + " && chmod 600 " + s.cert, ""},
		{"home of somebody else", "perm", 21, "chown root:root " + home + " && chmod 755 " + home, ""},
		{"home that is missing", "home", 21, "mv " + home + " /srv/away", ""},
		{"full disk", "no-space", 21, "mount -t tmpfs -o size=256k,uid=" + fmt.Sprint(userID) + " none " + home + "; dd if=/dev/zero of=" + home + "/fill 2>/dev/null; true", "umount " + home},
	} {
		t.Run(fault.name, func(t *testing.T) {
			m.must(fault.stage)
			d := m.doctor(t)
			if d.status != fault.status || d.First != fault.id {
				t.Fatalf("want %s first, and status %d: %v", fault.id, fault.status, d)
			}
			fix := fault.undo
			if fix == "" {
				fix = d.command(t, fault.id)
			}
			said := m.must(fix)
			if d := m.doctor(t); d.status != 0 {
				t.Fatalf("after %s\n%s\n%v", fix, said, d)
			}
		})
	}

	t.Run("expired certificate", func(t *testing.T) {
		tmpl := hostNamed(serverName)
		tmpl.NotBefore, tmpl.NotAfter = time.Now().AddDate(-1, 0, 0), time.Now().AddDate(0, 0, -1)
		s.certify(cas.issue(t, tmpl, cas.between), cas.between)
		m.must("chown dray " + s.cert)
		if d := m.doctor(t); d.status != 21 || d.First != "cert-expired" {
			t.Fatalf("with an expired certificate: %v", d)
		}
		s.certify(cas.issue(t, hostNamed(serverName), cas.between), cas.between)
		m.must("chown dray " + s.cert)
		d := m.doctor(t)
		if d.status != 20 || !strings.Contains(d.String(), "shows clients another certificate") {
			t.Fatalf("the server has not read the new one: %v", d)
		}
		for _, c := range d.Checks {
			if c.Check == "certificate" && len(c.Admin) > 0 {
				m.must(c.Admin[0].Run)
			}
		}
		within(t, "the new certificate", func() bool { return m.doctor(t).status == 0 })
	})

	t.Run("a client that can't get through", func(t *testing.T) {
		nc, err := s.client.dial(serverAddress + ":21")
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		c := textproto.NewConn(nc)
		say := func(line string, want int) {
			t.Helper()
			if line != "" {
				if err := c.PrintfLine("%s", line); err != nil {
					t.Fatal(err)
				}
			}
			if code, text, err := c.ReadResponse(want); err != nil {
				t.Fatalf("%s: %d %s %v", line, code, text, err)
			}
		}
		say("", 220)
		say("USER "+user, 331)
		say("PASS "+password, 230)
		for range 5 {
			say("EPSV", 229)
			say("LIST", 425)
		}
		d := m.doctor(t)
		if d.status != 20 || d.First != "data-blocked" || !strings.Contains(d.String(), "watchdog") {
			t.Fatalf("after clients that never came: %v", d)
		}
	})

	if out, err := m.shell(10*time.Second, "ls -A "+home+" | grep doctor; ls -A /var/lib/dray | grep doctor"); err == nil || out != "" {
		t.Errorf("left behind: %s", out)
	}
}
