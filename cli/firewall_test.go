package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"dray/admin"
	"dray/config"
	"dray/firewall"
)

// A machine is what "dray firewall" may ask.
type machine struct {
	says   map[string]string // what commands print; "!…" is how they fail; others are not there
	files  map[string]string
	owners map[uint16]string
	ran    []string
}

func (m *machine) host() *firewall.Host {
	return &firewall.Host{
		GOOS: "linux",
		Root: true,
		Run: func(name string, args ...string) (string, error) {
			command := strings.Join(append([]string{name}, args...), " ")
			m.ran = append(m.ran, command)
			said, ok := m.says[command]
			if !ok {
				return "", &exec.Error{Name: name, Err: exec.ErrNotFound}
			}
			if why, failed := strings.CutPrefix(said, "!"); failed {
				return "", errors.New("exit status 1: " + why)
			}
			return said, nil
		},
		Read: func(name string) ([]byte, error) {
			text, ok := m.files[name]
			if !ok {
				return nil, fs.ErrNotExist
			}
			return []byte(text), nil
		},
		Glob:  func(string) []string { return nil },
		Owner: func(port uint16) string { return m.owners[port] },
	}
}

// noneRuns is what a machine without a server of dray says.
func noneRuns(*config.Config) (admin.Info, bool) { return admin.Info{}, false }

const insert = "ufw allow proto tcp to any port "

// A port of another program is left as it is; where a listener names none, the
// next one is taken, as serve does.
func TestFirewallLeavesPortsOfOthersAlone(t *testing.T) {
	named := "[[listener]]\nprotocol = \"sftp\"\nlisten = [\":22\"]\n[[listener]]\nlisten = [\":21\"]\n"
	for _, tt := range []struct {
		name, config string
		owners       map[uint16]string
		want, remark string
	}{
		{"nobody", "", nil, "21 22 990 30000:30999", ""},
		{"dray", "", map[uint16]string{21: "dray", 22: "dray", 990: "dray"}, "21 22 990 30000:30999", ""},
		{"sshd", "", map[uint16]string{22: "sshd"}, "21 990 2022 30000:30999", "Port 22 is sshd's, not dray's: it is left as it is, and dray takes 2022."},
		{"sshd and another", "", map[uint16]string{22: "sshd", 2022: "etserver"}, "21 990 2222 30000:30999", "Port 2022 is etserver's"},
		{"sshd by systemd", "", map[uint16]string{22: "systemd"}, "21 990 2022 30000:30999", "Port 22 is systemd's"},
		{"sockets of systemd", "", map[uint16]string{21: "systemd", 990: "systemd"}, "21 22 990 30000:30999", ""},
		{"another server", "", map[uint16]string{21: "vsftpd"}, "22 990 2121 30000:30999", "Port 21 is vsftpd's"},
		{"named in the configuration", named, map[uint16]string{22: "sshd"}, "21 30000:30999", "Port 22 is sshd's, not dray's: it is left as it is."},
		{"named and dray's", named, map[uint16]string{22: "dray"}, "21 22 30000:30999", ""},
	} {
		file := filepath.Join(t.TempDir(), "dray.toml")
		if err := os.WriteFile(file, []byte(tt.config), 0o600); err != nil {
			t.Fatal(err)
		}
		m := &machine{owners: tt.owners, says: map[string]string{"ufw status verbose": "Status: active\n", "ufw show added": ""}}
		var out bytes.Buffer
		if err := (&firewallAsk{runs: noneRuns, name: "ufw", config: file}).run(m.host(), &out, &out); err != nil {
			t.Fatal(err)
		}
		want := insert + strings.ReplaceAll(tt.want, " ", ",") + " comment dray\n"
		if got := out.String(); !strings.Contains(got, want) || !strings.Contains(got, tt.remark) {
			t.Errorf("%s:\n%s\nwant %s and %q", tt.name, got, want, tt.remark)
		}
	}
}

// Without a configuration, that of another server decides, and what it lacks is
// said.
func TestFirewallOfAnotherServer(t *testing.T) {
	t.Setenv(configEnv, "")
	nowhere := filepath.Join(t.TempDir(), "dray.toml")
	for _, tt := range []struct {
		name, config string
		want         []string
	}{
		{"no range", "connect_from_port_20=YES\n", []string{"come from /etc/vsftpd.conf, of vsftpd.", "PROBLEM: /etc/vsftpd.conf names no passive range", "\n#     pasv_min_port=30000\n#     pasv_max_port=30999\n", insert + "21,30000:30999 comment"}},
		{"a range", "listen_port=2121\npasv_min_port=40000\npasv_max_port=40010\n", []string{insert + "2121,40000:40010 comment"}},
	} {
		m := &machine{files: map[string]string{"/etc/vsftpd.conf": tt.config}, says: map[string]string{"ufw status verbose": "Status: active\n", "ufw show added": ""}}
		var out bytes.Buffer
		if err := (&firewallAsk{runs: noneRuns, name: "ufw", usual: nowhere}).run(m.host(), &out, &out); err != nil {
			t.Fatal(err)
		}
		for _, want := range tt.want {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s: no %q in\n%s", tt.name, want, out.String())
			}
		}
		if strings.Contains(out.String(), "PROBLEM") != (tt.name == "no range") {
			t.Errorf("%s:\n%s", tt.name, out.String())
		}
	}
	var out bytes.Buffer
	if err := (&firewallAsk{runs: noneRuns, name: "aws", usual: nowhere}).run((&machine{}).host(), &out, &out); err != nil || !strings.Contains(out.String(), "the ports that dray serve takes") {
		t.Errorf("%v\n%s", err, out.String())
	}
}

// The ports are those that the server that runs has taken: all of them where it has no
// configuration, and else those of listeners that name none.
func TestFirewallOfTheServerThatRuns(t *testing.T) {
	t.Setenv(configEnv, "")
	file := filepath.Join(t.TempDir(), "dray.toml")
	if err := os.WriteFile(file, []byte("passive = \"30000-30099\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	runs := func(*config.Config) (admin.Info, bool) {
		return admin.Info{PID: 42, Listeners: []admin.Listener{
			{Name: "ftp", Protocol: "ftp", Address: "[::]:2121", Passive: "41000-41010"}, {Name: "sftp", Protocol: "sftp", Address: "[::]:2022"}, {Name: "ftps", Protocol: "ftps", Address: "127.0.0.1:2990", Passive: "41000-41010"},
		}}, true
	}
	vsftpd := map[string]string{"/etc/vsftpd.conf": "listen_port=2100\npasv_min_port=40000\npasv_max_port=40010\n"}
	for _, tt := range []struct {
		name   string
		ask    firewallAsk
		owners map[uint16]string
		want   string
	}{
		{"of no file", firewallAsk{runs: runs, usual: filepath.Join(t.TempDir(), "none")}, nil, insert + "2022,2121,41000:41010 comment"},
		{"of a file", firewallAsk{runs: runs, config: file}, nil, insert + "2022,2121,30000:30099 comment"},
		{"another's, seen by its port", firewallAsk{runs: noneRuns, config: file}, map[uint16]string{2121: "dray"}, insert + "22,990,2121,30000:30099 comment"},
		{"none", firewallAsk{runs: noneRuns, config: file}, nil, insert + "21,22,990,30000:30099 comment"},
	} {
		m := &machine{files: vsftpd, owners: tt.owners, says: map[string]string{"ufw status verbose": "Status: active\n", "ufw show added": ""}}
		tt.ask.name = "ufw"
		var out bytes.Buffer
		if err := tt.ask.run(m.host(), &out, &out); err != nil || !strings.Contains(out.String(), tt.want) {
			t.Errorf("%s: %v, no %q in\n%s", tt.name, err, tt.want, out.String())
		}
	}
}

// Listeners that share a range and a port for active mode name them once.
func TestFirewallJSONNamesPortsOnce(t *testing.T) {
	file := filepath.Join(t.TempDir(), "dray.toml")
	const text = "[[listener]]\n[[listener]]\nlisten = [\":2121\"]\n[[listener]]\nprotocol = \"ftps\"\npassive = \"40000-40009\"\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := (&firewallAsk{runs: noneRuns, name: "windows", config: file, json: true}).run((&machine{}).host(), &out, &out); err != nil {
		t.Fatal(err)
	}
	var got firewallJSON
	if err := json.Unmarshal(out.Bytes(), &got); err != nil || !slices.Equal(got.Passive, []string{"30000-30999", "40000-40009"}) || !slices.Equal(got.Active, []uint16{20, 989}) {
		t.Errorf("%v, passive %q, active %d", err, got.Passive, got.Active)
	}
}

// What is printed is what is run, in order, until something fails; then it is
// said what was done. Without --apply nothing is run that changes anything.
func TestFirewallApply(t *testing.T) {
	says := func() map[string]string {
		return map[string]string{
			"ufw status": "Status: active\n", "ufw status verbose": "Status: active\nDefault: deny (incoming), deny (outgoing), disabled (routed)\n", "ufw show added": "",
			insert + "21,30000:30999 comment dray":                                          "Rule added\n",
			"ufw allow out proto tcp from any port 20 to any comment dray":                  "Rule added\n",
			"ufw delete allow 21/tcp":                                                       "Rule deleted\n",
			"ufw delete allow out from any port 20 proto tcp":                               "!no such rule",
			"ufw allow proto tcp from 192.0.2.0/24 to any port 21,30000:30999 comment dray": "!broken",
		}
	}
	for _, tt := range []struct {
		name string
		ask  firewallAsk
		said string // of ufw show added
		run  []string
		err  string
	}{
		{"printed only", firewallAsk{runs: noneRuns, name: "auto"}, "", nil, ""},
		{"applied", firewallAsk{runs: noneRuns, name: "auto", apply: true}, "", []string{insert + "21,30000:30999 comment dray", "ufw allow out proto tcp from any port 20 to any comment dray"}, ""},
		{"as JSON", firewallAsk{runs: noneRuns, name: "auto", apply: true, json: true}, "", []string{insert + "21,30000:30999 comment dray", "ufw allow out proto tcp from any port 20 to any comment dray"}, ""},
		{"the first fails", firewallAsk{runs: noneRuns, name: "ufw", apply: true, from: []string{"192.0.2.9/24"}}, "", []string{"ufw allow proto tcp from 192.0.2.0/24 to any port 21,30000:30999 comment dray"},
			"ufw allow proto tcp from 192.0.2.0/24 to any port 21,30000:30999 comment dray: exit status 1: broken\ndone before it: 0 commands of 2, and none behind it"},
		{"an undo that fails", firewallAsk{runs: noneRuns, name: "ufw", apply: true, undo: true}, "ufw allow 21/tcp comment 'dray'\nufw allow out from any port 20 proto tcp comment 'dray'\n", []string{"ufw delete allow 21/tcp", "ufw delete allow out from any port 20 proto tcp"},
			"ufw delete allow out from any port 20 proto tcp: exit status 1: no such rule\ndone before it: 1 command of 2, and none behind it\nwhat is left to be taken back: dray firewall ufw --undo"},
		{"an undo of nothing", firewallAsk{runs: noneRuns, name: "ufw", apply: true, undo: true}, "", nil, ""},
	} {
		m := &machine{says: says()}
		m.says["ufw show added"] = tt.said
		tt.ask.ftp = []string{"21"}
		var out, said bytes.Buffer
		err := tt.ask.run(m.host(), &out, &said)
		if got := fmt.Sprint(err); err != nil && got != tt.err || err == nil && tt.err != "" {
			t.Errorf("%s: %v; want %s", tt.name, err, tt.err)
		}
		m.ran = slices.DeleteFunc(m.ran, func(c string) bool { return !strings.Contains(c, " allow ") })
		if !slices.Equal(m.ran, tt.run) {
			t.Errorf("%s: ran %q; want %q", tt.name, m.ran, tt.run)
		}
		if tt.ask.json {
			var got firewallJSON
			if err := json.Unmarshal(out.Bytes(), &got); err != nil || len(got.Plans) != 1 || len(got.Plans[0].Steps) != 2 || !got.Plans[0].Steps[1].Done {
				t.Errorf("%s: %v\n%s", tt.name, err, out.String())
			}
			continue
		}
		for _, command := range tt.run {
			if err == nil && !strings.Contains(out.String(), "\n"+command+"\n") {
				t.Errorf("%s: %q was run, and printed\n%s", tt.name, command, out.String())
			}
		}
	}
}

// An undo of auto looks also where nothing filters any more.
func TestFirewallUndoOfAuto(t *testing.T) {
	m := &machine{says: map[string]string{"nft -j list ruleset": `{"nftables":[{"chain":{"family":"inet","table":"f","name":"in","hook":"input","policy":"accept"}},` +
		`{"rule":{"family":"inet","table":"f","chain":"in","handle":7,"comment":"dray","expr":[{"accept":null}]}}]}`}}
	var out bytes.Buffer
	if err := (&firewallAsk{runs: noneRuns, name: "auto", undo: true, ftp: []string{"21"}}).run(m.host(), &out, &out); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); !strings.HasPrefix(got, "# nft\nnft delete rule inet f in handle 7\n") {
		t.Errorf("got\n%s", got)
	}
	out.Reset()
	if err := (&firewallAsk{runs: noneRuns, name: "auto", undo: true, ftp: []string{"21"}}).run((&machine{}).host(), &out, &out); err != nil || !strings.Contains(out.String(), "nothing to take back") {
		t.Errorf("%v\n%s", err, out.String())
	}
}

// Who may not change rules is told so before anything is run.
func TestFirewallApplyNeedsRoot(t *testing.T) {
	m := &machine{says: map[string]string{"ufw status verbose": "Status: active\n", "ufw show added": ""}}
	h := m.host()
	h.Root = false
	var out bytes.Buffer
	err := (&firewallAsk{runs: noneRuns, name: "ufw", ftp: []string{"21"}, apply: true}).run(h, &out, &out)
	if err == nil || !strings.Contains(err.Error(), "--apply needs root, and nothing was done") {
		t.Errorf("%v\n%s", err, out.String())
	}
	for _, command := range m.ran {
		if strings.HasPrefix(command, "ufw allow") {
			t.Errorf("%s was run", command)
		}
	}
}
