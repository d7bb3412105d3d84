package doctor

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"dray/account"
	running "dray/admin"
	"dray/config"
	"dray/explain"
	"dray/fault"
	"dray/firewall"
	"dray/vfs/osfs"
)

// today is the time of the tests.
var today = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// A patientHost is a machine on which all is well, and what is wrong with it.
type patientHost struct {
	o        HostOptions
	files    map[string]string
	links    map[string]string
	said     map[string]string // by command
	uid      int
	addrs    []netip.Addr
	names    map[string]string // addresses by name, with blanks between
	server   *running.Info     // nil: none runs
	seen     running.Watchdog
	askErr   error
	tried    map[string]error // by directory
	unread   map[string]error
	rooms    map[string]room
	open     uint64
	unset    bool // the clock
	mu       sync.Mutex
	acts     []string // of try
	goos     string
	lateName bool          // the name server hangs
	over     chan struct{} // a name server that hangs does so until then
}

func newPatientHost() *patientHost {
	c, _ := config.Parse("/etc/dray/dray.toml", []byte("state = \"/var/lib/dray\"\nuser = \"dray\"\n"), nil)
	c.Listeners = config.DefaultListeners()
	return &patientHost{
		o: HostOptions{
			Config: c,
			Ports:  firewall.Ports{Listeners: []firewall.Listener{{Protocol: "ftp", Port: 21}, {Protocol: "sftp", Port: 22}}, Passive: []firewall.Range{{First: 30000, Last: 30999}}},
			Accounts: func(context.Context) ([]Account, error) {
				return []Account{{Account: account.Account{Name: "anna", Rights: account.Full}, Home: "/srv/anna"}}, nil
			},
		},
		files: map[string]string{
			"/proc/net/tcp":                          "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n",
			"/proc/sys/net/ipv4/ip_local_port_range": "32768\t60999\n", "/proc/sys/net/ipv4/ip_local_reserved_ports": "\n",
			"/proc/sys/net/ipv4/ip_unprivileged_port_start": "1024\n",
			"/proc/self/status":                             "CapEff:\t000001ffffffffff\n",
		},
		links: map[string]string{}, said: map[string]string{"nft -j list ruleset": `{"nftables":[]}`},
		addrs: []netip.Addr{netip.MustParseAddr("203.0.113.20")},
		names: map[string]string{}, tried: map[string]error{}, unread: map[string]error{}, rooms: map[string]room{},
		open: 65536, goos: "linux",
	}
}

// listener adds a process that listens on a port of all addresses.
func (p *patientHost) listener(port, pid int, name string) {
	inode := 1000*pid + port
	p.files["/proc/net/tcp"] += fmt.Sprintf("   0: 00000000:%04X 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 %d 1 0 100 0 0 10 0\n", port, inode)
	p.links[fmt.Sprintf("/proc/%d/fd/%d", pid, port)] = fmt.Sprintf("socket:[%d]", inode)
	p.files[fmt.Sprintf("/proc/%d/comm", pid)] = name + "\n"
}

func (p *patientHost) machine() *machine {
	return &machine{
		Host: &firewall.Host{
			GOOS: p.goos,
			Run: func(name string, args ...string) (string, error) {
				if text, ok := p.said[strings.Join(append([]string{name}, args...), " ")]; ok {
					return text, nil
				}
				return "", &exec.Error{Name: name, Err: exec.ErrNotFound}
			},
			Read: func(name string) ([]byte, error) {
				if text, ok := p.files[name]; ok {
					return []byte(text), nil
				}
				return nil, fs.ErrNotExist
			},
			Glob: func(string) []string {
				var out []string
				for name := range p.links {
					out = append(out, name)
				}
				slices.Sort(out)
				return out
			},
			Owner: func(uint16) string { return "" },
		},
		uid: p.uid, exe: "/usr/local/bin/dray", now: func() time.Time { return today },
		link: func(name string) (string, error) { return p.links[name], nil },
		stat: func(name string) (fs.FileInfo, error) {
			if _, ok := p.files[name]; ok {
				return nil, nil
			}
			return nil, fs.ErrNotExist
		},
		lookup: func(ctx context.Context, name string) ([]netip.Addr, error) {
			if p.lateName {
				<-ctx.Done()
				<-p.over // and does not hear
			}
			var out []netip.Addr
			for word := range strings.FieldsSeq(p.names[name]) {
				out = append(out, netip.MustParseAddr(word))
			}
			if out == nil {
				return nil, errors.New("no such host")
			}
			return out, nil
		},
		addrs: func() []netip.Addr { return p.addrs },
		ask: func(string) (running.Info, running.Watchdog, error) {
			switch {
			case p.askErr != nil:
				return running.Info{}, running.Watchdog{}, p.askErr
			case p.server == nil:
				return running.Info{}, running.Watchdog{}, fs.ErrNotExist
			}
			return *p.server, p.seen, nil
		},
		user: func(name string) (identity, error) {
			return identity{name: name, Identity: osfs.Identity{UID: 998, GID: 997, Groups: []uint32{997}}}, nil
		},
		try: func(_ context.Context, dir string, who identity, write bool) error {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.acts = append(p.acts, fmt.Sprintf("%s as %d write %v", dir, who.UID, write))
			return p.tried[dir]
		},
		readable: func(_ context.Context, file string, _ identity) error { return p.unread[file] },
		room: func(dir string) (room, error) {
			if r, ok := p.rooms[dir]; ok {
				return r, nil
			}
			return room{device: "1", free: 50 << 30, total: 100 << 30, names: 1000, inodes: 1000}, nil
		},
		descriptors: func() uint64 { return p.open }, clock: func() (set, known bool) { return !p.unset, true },
	}
}

// look is what one check finds, the worst where there are several.
func (p *patientHost) look(t *testing.T, name string) (Finding, Report) {
	t.Helper()
	r := examineHost(t.Context(), p.o, p.machine())
	var worst *Finding
	for i, f := range r.Findings {
		if f.Check == name && (worst == nil || f.Verdict > worst.Verdict) {
			worst = &r.Findings[i]
		}
	}
	if worst == nil {
		t.Fatalf("there is no check %q: %+v", name, r.Findings)
	}
	return *worst, r
}

// A healthy host has nothing worse than a note.
func TestHealthyHost(t *testing.T) {
	p := newPatientHost()
	r := examineHost(t.Context(), p.o, p.machine())
	for _, f := range r.Findings {
		if f.Verdict > Note {
			t.Errorf("%s: %v %s", f.Check, f.Verdict, f.Saw)
		}
	}
	if !slices.Contains(p.acts, "/srv/anna as 998 write true") || !slices.Contains(p.acts, "/var/lib/dray as 998 write true") {
		t.Errorf("the directories were not tried as the user of the configuration: %q", p.acts)
	}
}

func TestHostFaults(t *testing.T) {
	serves := func(p *patientHost) {
		p.server = &running.Info{PID: 40, Config: "/etc/dray/dray.toml", Started: today, Listeners: []running.Listener{{Protocol: "ftp", Address: "[::]:21"}}}
		p.files["/proc/40/status"] = "Uid:\t998\t998\t998\t998\nGid:\t997\t997\t997\t997\nGroups:\t997 \nCapEff:\t0000000000000400\n"
		p.files["/proc/40/limits"] = "Limit                     Soft Limit           Hard Limit           Units\nMax open files            65536                65536                files\n"
		for _, port := range []int{21, 990, 22} {
			p.listener(port, 40, "dray")
		}
	}
	unit := func(user, caps string) string {
		return "LoadState=loaded\nActiveState=inactive\nUser=" + user + "\nAmbientCapabilities=" + caps + "\nLimitNOFILE=1024\n"
	}
	const show = "systemctl show dray.service --property=LoadState,ActiveState,User,AmbientCapabilities,LimitNOFILE"
	answering := `{"nftables":[{"chain":{"family":"ip","table":"f","name":"out","hook":"output","prio":0,"policy":"drop"}},` +
		`{"rule":{"family":"ip","table":"f","chain":"out","handle":2,"expr":[{"match":{"op":"in","left":{"ct":{"key":"state"}},"right":"established"}},{"accept":null}]}}]}`
	dropping := `{"nftables":[{"chain":{"family":"inet","table":"f","name":"in","hook":"input","prio":0,"policy":"drop"}},` +
		`{"rule":{"family":"inet","table":"f","chain":"in","handle":1,"expr":[{"match":{"op":"==","left":{"payload":{"protocol":"tcp","field":"dport"}},"right":{"set":[21,22]}}},{"accept":null}]}}]}`
	for _, row := range []struct {
		name, check string
		make        func(*patientHost)
		verdict     Verdict
		id          fault.ID
		saw, run    string // parts of the evidence and of the first command
	}{
		{"a mistake in the configuration", "config", func(p *patientHost) {
			p.o.Problems = []config.Problem{{Field: "limits.idle", What: "is no duration", Do: `write "10m"`, File: "dray.toml", Line: 12}}
		}, Fail, "", "dray.toml:12: limits.idle: is no duration", ""},
		{"a warning about the configuration", "config", func(p *patientHost) {
			p.o.Problems = []config.Problem{{Field: "passive", What: "is small", Do: "widen it", Warning: true}}
		}, Warn, "", "passive: is small", ""},
		{"no configuration", "config", func(p *patientHost) { p.o.Config.File = "" }, Note, "", "there is no configuration", "dray init"},

		{"a port of another program", "port 21", func(p *patientHost) { p.listener(21, 77, "vsftpd"); p.listener(2121, 78, "other") }, Fail, fault.IDPortTaken, "21 is held by vsftpd (pid 77)", "kill 77"},
		{"a port of a service", "port 21", func(p *patientHost) {
			p.listener(21, 77, "vsftpd")
			p.listener(2121, 77, "vsftpd")
			p.files["/proc/77/cgroup"] = "0::/system.slice/vsftpd.service\n"
			p.said["systemctl show --value --property=MainPID vsftpd.service"] = "77\n"
		}, Fail, fault.IDPortTaken, "vsftpd", "systemctl disable --now vsftpd.service"},
		{"a port of somebody who can't be seen", "port 21", func(p *patientHost) {
			p.listener(21, 77, "vsftpd")
			p.listener(2121, 77, "vsftpd")
			p.links = nil
		}, Fail, fault.IDPortTaken, "another program", "sudo dray doctor --server"},
		{"a port of the server that can't be seen", "port 21", func(p *patientHost) {
			serves(p)
			p.uid, p.links = 1000, nil
			p.server.Listeners = []running.Listener{{Name: "ftp", Protocol: "ftp", Address: "[::]:21"}}
		}, OK, "", "dray (pid 40) listens on 21", ""},
		{"a port where nobody may look", "port 21", func(p *patientHost) {
			p.listener(21, 40, "dray")
			p.listener(2121, 41, "other")
			p.uid, p.links, p.askErr = 1000, nil, fs.ErrPermission
		}, Skipped, "", "most likely the server", "sudo dray doctor --server"},
		{"a port of another dray", "port 21", func(p *patientHost) {
			p.listener(21, 77, "dray")
			p.o.Config.Listeners[0].Listen = []string{":21"}
		}, Fail, fault.IDPortTaken, "dray (pid 77), which is not the server of this configuration", "kill 77"},
		{"sshd on 22, and SFTP takes another", "port 22", func(p *patientHost) { p.listener(22, 5, "sshd") }, Note, "", "22 is held by sshd (pid 5), so dray takes 2022", ""},
		{"sshd on 22, and SFTP wants it", "port 22", func(p *patientHost) {
			p.listener(22, 5, "sshd")
			p.o.Config.Listeners[2].Listen = []string{":22"}
		}, Fail, fault.IDPortTaken, "sshd (pid 5)", ""},
		{"sshd on another address", "port 22", func(p *patientHost) {
			p.listener(22, 5, "sshd")
			p.files["/proc/net/tcp"] = strings.ReplaceAll(p.files["/proc/net/tcp"], " 00000000:0016", " 0100007F:0016")
			p.o.Config.Listeners[2].Listen = []string{"203.0.113.20:22"}
		}, OK, "", "22 is free", ""},
		{"the server's own port", "port 21", serves, OK, "", "dray (pid 40) listens on 21", ""},
		{"a server that does not listen", "port 990", func(p *patientHost) {
			serves(p)
			delete(p.links, "/proc/40/fd/990")
			p.files["/proc/net/tcp"] = strings.ReplaceAll(p.files["/proc/net/tcp"], ":03DE", ":03DF")
		}, Warn, "", "does not listen on 990", "kill -HUP 40"},

		{"low ports for an ordinary user", "low ports", func(p *patientHost) {
			p.uid = 1000
			p.files["/proc/self/status"] = "CapEff:\t0000000000000000\n"
			p.o.Config.Listeners[0].Listen = []string{":21"}
		}, Fail, fault.IDLowPort, "may not bind 21", "sudo setcap cap_net_bind_service=+ep /usr/local/bin/dray"},
		{"low ports that may be others", "low ports", func(p *patientHost) {
			p.uid = 1000
			p.files["/proc/self/status"] = "CapEff:\t0000000000000000\n"
		}, Note, fault.IDLowPort, "takes others", "sudo setcap"},
		{"low ports for everybody", "low ports", func(p *patientHost) {
			p.uid = 1000
			p.files["/proc/sys/net/ipv4/ip_unprivileged_port_start"] = "0\n"
		}, OK, "", "no port below 0", ""},
		{"low ports for a root that may", "low ports", func(p *patientHost) { p.files["/proc/self/status"] = "CapEff:\t00000000a80425fb\n" }, OK, "", "keeps the right", ""},
		{"low ports for a root that may not", "low ports", func(p *patientHost) {
			p.files["/proc/self/status"] = "CapEff:\t00000000a80421fb\n"
			p.o.Config.Listeners[0].Listen = []string{":21"}
		}, Fail, fault.IDLowPort, "root may not bind 21, 990, 22 here", ""},
		{"a unit without the right", "low ports", func(p *patientHost) {
			p.said[show] = unit("dray", "")
			p.o.Config.Listeners[0].Listen = []string{":21"}
		}, Fail, fault.IDLowPort, "the user dray may not bind 21", "mkdir -p /etc/systemd/system/dray.service.d"},
		{"a unit with the right", "low ports", func(p *patientHost) { p.said[show] = unit("dray", "cap_net_bind_service") }, OK, "", "CAP_NET_BIND_SERVICE", ""},

		{"a range for half of the sessions", "range", func(p *patientHost) { p.o.Config.Limits.Sessions, p.o.Config.Passive = 100, "30000-30099" }, Warn, fault.IDPool, "100 ports for up to 100 sessions",
			`sed -i -e '1i passive = "30000-30199"' -e '0,/^ *\[/{/^ *passive *=/d}' /etc/dray/dray.toml`},
		{"a range as it should be", "range", func(p *patientHost) { p.o.Config.Limits.Sessions = 500 }, OK, "", "1000 ports", ""},
		{"ten ports", "range", func(p *patientHost) { p.o.Config.Passive = "30000-30009" }, Warn, fault.IDPool, "10 ports", `passive = "30000-30999"`},
		{"outgoing connections in the range", "ephemeral", func(p *patientHost) {
			p.o.Config.Passive = "40000-40999"
			p.files["/proc/sys/net/ipv4/ip_local_reserved_ports"] = "8080\n"
		}, Warn, fault.IDPool, "take ports of 40000-40999", "sysctl -w net.ipv4.ip_local_reserved_ports=8080,40000-40999"},
		{"a range that is kept", "ephemeral", func(p *patientHost) {
			p.o.Config.Passive = "40000-40999"
			p.files["/proc/sys/net/ipv4/ip_local_reserved_ports"] = "8080,39000-41000\n"
		}, OK, "", "is kept", ""},
		{"another program in the range", "range ports", func(p *patientHost) { p.listener(30005, 9, "node") }, Warn, fault.IDPool, "port 30005 is held by node (pid 9)", ""},

		{"another program in the usual range", "range ports", func(p *patientHost) {
			p.o.Config.Passive = "30000-30999"
			p.listener(30005, 9, "node")
		}, Warn, fault.IDPool, "port 30005 is held by node (pid 9)", ""},
		{"without a configuration", "firewall", func(p *patientHost) {
			p.said["nft -j list ruleset"] = dropping
			p.o.Config.File = ""
		}, Fail, fault.IDDataBlocked, "drops TCP 30000-30999", "dray firewall --ftp 21 --sftp 22 --passive 30000-30999 --apply"},
		{"a range that nobody reaches", "firewall", func(p *patientHost) { p.said["nft -j list ruleset"] = dropping }, Fail, fault.IDDataBlocked, "drops TCP 30000-30999", "dray firewall --apply"},
		{"a port that nobody reaches", "firewall", func(p *patientHost) {
			p.said["nft -j list ruleset"] = dropping
			p.o.Ports.Listeners[0].Port = 2121
			p.o.Config.File = "/srv/my dray.toml"
		}, Fail, fault.IDFiltered, "drops TCP 2121", "dray firewall --config '/srv/my dray.toml' --apply"},
		{"a range that is partly reached", "firewall", func(p *patientHost) {
			p.said["nft -j list ruleset"] = dropping
			p.o.Ports.Passive = []firewall.Range{{First: 22, Last: 23}}
		}, Fail, fault.IDRangePartly, "drops TCP 23", "dray firewall --apply"},
		{"answers that do not get out", "firewall", func(p *patientHost) {
			p.said["nft -j list ruleset"] = strings.ReplaceAll(dropping, "input", "output")
		}, Fail, fault.IDFiltered, "of nftables drops what comes from TCP 21-22, 30000-30999", "dray firewall --apply"},
		{"active mode that does not get out", "firewall", func(p *patientHost) {
			p.o.Ports.Active = []uint16{20}
			p.said["nft -j list ruleset"] = answering
		}, Warn, fault.IDActiveBlock, "the chain ip f out of nftables drops connections from TCP 20", "dray firewall --apply"},
		{"active mode that is off", "firewall", func(p *patientHost) {
			p.said["nft -j list ruleset"] = answering
		}, OK, "", "let TCP", ""},
		{"rules that can't be read", "firewall", func(p *patientHost) { p.said = nil }, Skipped, "", "there is no such program here", "sudo dray doctor --server"},

		{"behind a router", "public", func(p *patientHost) { p.addrs = []netip.Addr{netip.MustParseAddr("192.168.1.5")} }, Warn, fault.IDPasvAddress, "192.168.1.5", `public = "192.168.1.5"`},
		{"behind a router that is told", "public", func(p *patientHost) {
			p.addrs = []netip.Addr{netip.MustParseAddr("192.168.1.5")}
			p.o.Config.Public = "203.0.113.99"
		}, OK, "", "the router has to lead it here", ""},
		{"only near clients", "public", func(p *patientHost) {
			p.addrs = []netip.Addr{netip.MustParseAddr("192.168.1.5")}
			p.o.Config.Public = "192.168.1.5"
		}, OK, "", "an address of this host", ""},
		{"a private public address", "public", func(p *patientHost) { p.o.Config.Public = "10.0.0.1" }, Warn, fault.IDPasvAddress, "it is private", ""},
		{"an address of another host", "public", func(p *patientHost) { p.o.Config.Public = "198.51.100.7" }, Note, "", "no address of this host, which has 203.0.113.20", ""},
		{"a name without an address", "public", func(p *patientHost) { p.o.Config.Public = "ftp.example.net" }, Fail, fault.IDDNS, "has no address", "getent ahosts ftp.example.net"},
		{"a name of another host", "public", func(p *patientHost) {
			p.o.Config.Public = "ftp.example.net"
			p.names["ftp.example.net"] = "198.51.100.7"
		}, Note, "", "198.51.100.7, and this host has 203.0.113.20", ""},
		{"a name of this host", "public", func(p *patientHost) {
			p.o.Config.Public = "ftp.example.net"
			p.names["ftp.example.net"] = "203.0.113.20 2001:db8::1"
		}, OK, "", "of this host", ""},
		{"a name that leads to the loopback", "public", func(p *patientHost) {
			p.o.Config.Public = "ftp.example.net"
			p.names["ftp.example.net"] = "127.0.1.1"
		}, Warn, fault.IDPasvAddress, "127.0.1.1 here", ""},
		{"a name with IPv6 alone", "public", func(p *patientHost) {
			p.o.Config.Public = "ftp.example.net"
			p.names["ftp.example.net"] = "2001:db8::1"
		}, Warn, fault.IDPasvAddress, "IPv6 addresses alone", ""},
		{"a name that has moved", "public", func(p *patientHost) {
			serves(p)
			p.server.Told = "198.51.100.1"
			p.o.Config.Public = "ftp.example.net"
			p.names["ftp.example.net"] = "203.0.113.20"
		}, Warn, fault.IDPasvAddress, "the server that runs tells 198.51.100.1", ""},

		{"a home that is missing", "homes", func(p *patientHost) { p.tried["/srv/anna"] = fs.ErrNotExist }, Fail, fault.IDHome, "/srv/anna of anna is missing", "install -d -o dray -g 997 -m 750 /srv/anna"},
		{"a home of somebody else", "homes", func(p *patientHost) { p.tried["/srv/anna"] = syscall.EACCES }, Fail, fault.IDPerm, "dray may not write in it", "chown dray:997 /srv/anna"},
		{"a way to a home that is closed", "homes", func(p *patientHost) { p.tried["/srv/anna"] = &osfs.HomeError{Dir: "/srv", UID: 998, Mode: 0o700} }, Fail, fault.IDHome, "may not enter /srv, which is above it", "chmod a+x /srv"},
		{"a full home", "homes", func(p *patientHost) { p.tried["/srv/anna"] = syscall.ENOSPC }, Fail, fault.IDNoSpace, "no space left", ""},
		{"a home that is read-only", "homes", func(p *patientHost) { p.tried["/srv/anna"] = syscall.EROFS }, Fail, fault.IDReadOnly, "read only", "mount -o remount,rw /srv/anna"},
		{"a home with the state in it", "homes", func(p *patientHost) { p.o.Config.State = "/srv/anna/state" }, Fail, fault.IDHome, "holds the state directory", ""},
		{"a home that is made", "homes", func(p *patientHost) {
			p.tried["/srv/ftp/anna"] = fs.ErrNotExist
			p.tried["/srv"] = syscall.EACCES
			p.files["/srv"] = ""
			p.o.Accounts = func(context.Context) ([]Account, error) {
				return []Account{{Account: account.Account{Name: "anna", Rights: account.Full}, Home: "/srv/ftp/anna", Made: true}}, nil
			}
		}, Fail, fault.IDPerm, "/srv/ftp/anna of anna is missing, and dray may not make it: it may not write in /srv", "install -d -o dray -g 997 -m 750 /srv/ftp/anna"},
		{"two homes", "homes", func(p *patientHost) {
			p.o.Accounts = func(context.Context) ([]Account, error) {
				return []Account{{Account: account.Account{Name: "anna"}, Home: "/srv/anna"}, {Account: account.Account{Name: "bert"}, Home: "/srv/bert"}}, nil
			}
			p.tried["/srv/anna"], p.tried["/srv/bert"] = fs.ErrNotExist, fs.ErrNotExist
		}, Fail, fault.IDHome, "/srv/anna of anna is missing; /srv/bert of bert is missing", "install -d"},
		{"an owner that the server may not be", "homes", func(p *patientHost) {
			p.o.Accounts = func(context.Context) ([]Account, error) {
				return []Account{{Account: account.Account{Name: "carl", Owner: &account.Owner{UID: 1001, GID: 1001}}, Home: "/srv/carl"}}, nil
			}
		}, Fail, fault.IDHome, "carl has an owner, uid 1001", ""},
		{"an owner that the server may be", "homes", func(p *patientHost) {
			p.o.Config.Accounts.Owners = true
			p.o.Accounts = func(context.Context) ([]Account, error) {
				return []Account{{Account: account.Account{Name: "carl", Owner: &account.Owner{UID: 1001, GID: 1001}}, Home: "/srv/carl"}}, nil
			}
		}, OK, "", "can be used", ""},
		{"accounts that can't be read", "homes", func(p *patientHost) {
			p.o.Accounts = func(context.Context) ([]Account, error) { return nil, errors.New("the database is damaged") }
		}, Warn, "", "the database is damaged", "dray user ls"},
		{"an account that is off", "homes", func(p *patientHost) {
			p.o.Accounts = func(context.Context) ([]Account, error) {
				return []Account{{Account: account.Account{Name: "anna", Disabled: true}, Home: "/srv/anna"}}, nil
			}
			p.tried["/srv/anna"] = fs.ErrNotExist
		}, Skipped, "", "no accounts yet", ""},
		{"the state directory, for somebody who is not the server", "state", func(p *patientHost) {
			p.uid = 65534
			p.tried["/var/lib/dray"] = errUntried
		}, Skipped, "", "only root can try it", "sudo dray doctor --server"},
		{"a state directory of somebody else", "state", func(p *patientHost) { p.tried["/var/lib/dray"] = syscall.EACCES }, Fail, fault.IDPerm, "/var/lib/dray", "chown dray:997 /var/lib/dray"},
		{"no state directory yet", "state", func(p *patientHost) { p.tried["/var/lib/dray"] = fs.ErrNotExist }, OK, "", "made at the first start", ""},

		{"a full disk", "space", func(p *patientHost) { p.rooms["/srv/anna"] = room{device: "2", total: 1 << 40} }, Fail, fault.IDNoSpace, "/srv/anna: 0 B of", "df -h /srv/anna"},
		{"a disk that is nearly full", "space", func(p *patientHost) { p.rooms["/srv/anna"] = room{device: "2", free: 10 << 30, total: 1 << 40} }, Warn, fault.IDNoSpace, "/srv/anna", ""},
		{"a disk with less than a GiB", "space", func(p *patientHost) { p.rooms["/srv/anna"] = room{device: "2", free: 900 << 20, total: 2 << 30} }, Warn, fault.IDNoSpace, "/srv/anna", ""},
		{"a disk without names", "space", func(p *patientHost) {
			p.rooms["/srv/anna"] = room{device: "2", free: 1 << 40, total: 1 << 40, inodes: 1000}
		}, Fail, fault.IDNoSpace, "0 of 1000 names", ""},

		{"few descriptors", "descriptors", func(p *patientHost) { p.open = 256 }, Warn, fault.IDBusy, "256 descriptors", ""},
		{"more sessions than descriptors", "descriptors", func(p *patientHost) {
			serves(p)
			p.o.Config.Limits.Sessions = 20000
		}, Warn, fault.IDBusy, "limits.sessions is 20000", "prlimit --pid 40 --nofile=120000:120000"},
		{"few descriptors of the unit", "descriptors", func(p *patientHost) {
			p.said[show] = unit("dray", "")
			p.o.Config.Limits.Sessions = 500
		}, Warn, fault.IDBusy, "the unit may open 1024", "mkdir -p /etc/systemd/system/dray.service.d && printf '[Service]\\nLimitNOFILE=6000\\n'"},

		{"a clock that nobody sets", "clock", func(p *patientHost) { p.unset = true }, Note, "", "not synchronised", "timedatectl set-ntp true"},
		{"a clock before the program", "clock", func(p *patientHost) { p.o.Build = today.AddDate(0, 1, 0) }, Fail, "", "before this program was made", "timedatectl set-ntp true"},

		{"a container", "container", func(p *patientHost) {
			p.files["/.dockerenv"] = ""
			p.files["/proc/self/uid_map"] = "         0     100000      65536\n"
		}, Note, fault.IDUnpublished, "its user 0 is the host's 100000", "docker port CONTAINER"},
		{"a root that is an overlay", "container", func(p *patientHost) {
			p.files["/proc/self/mountinfo"] = "500 400 0:50 / / rw,relatime - overlay overlay rw,lowerdir=/x\n"
		}, Note, fault.IDUnpublished, "overlay", ""},

		{"a server that does not run", "watchdog", func(*patientHost) {}, Note, "", "no server runs by this configuration, as none answers at /var/lib/dray/", "dray serve --config /etc/dray/dray.toml"},
		{"a unit that does not run", "watchdog", func(p *patientHost) { p.said[show] = unit("dray", "") }, Note, "", "no server runs by this configuration", "systemctl start dray"},
		{"a server of somebody else", "watchdog", func(p *patientHost) { p.askErr = fs.ErrPermission }, Note, "", "does not answer this user", "sudo dray doctor --server"},
		{"clients that do not get through", "watchdog", func(p *patientHost) {
			serves(p)
			p.seen.Findings = []running.Finding{{ID: "data-blocked", Network: "198.51.100.0/24", Text: "nobody came", Times: 3, Last: today}}
		}, Warn, fault.IDDataBlocked, "198.51.100.0/24: nobody came (3 times, last 2026-06-01 12:00:00)", "dray doctor HOST"},
		{"clients that do", "watchdog", serves, OK, "", "has seen no data connection fail", ""},

		{"another system", "firewall", func(p *patientHost) { p.goos = "darwin" }, Skipped, "", "on Linux only", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := newPatientHost()
			row.make(p)
			f, r := p.look(t, row.check)
			if f.Verdict != row.verdict || f.ID != row.id || !strings.Contains(f.Saw, row.saw) {
				t.Errorf("%v [%s] %s; want %v [%s] %s", f.Verdict, f.ID, f.Saw, row.verdict, row.id, row.saw)
			}
			run := ""
			for _, s := range f.Do {
				if s.Run != "" {
					run = s.Run
					break
				}
			}
			if !strings.Contains(run, row.run) {
				t.Errorf("the first command is %q; want %q", run, row.run)
			}
			if row.verdict >= Warn {
				if first := r.First(); first == nil || first.Verdict < row.verdict {
					t.Errorf("the finding to begin with is %+v", first)
				}
				if row.verdict == Fail && f.Means == "" && len(f.Do) == 0 {
					t.Errorf("nothing explains it, and nothing is to be done: %+v", f)
				}
			}
			for _, s := range f.Do {
				if s.Side != explain.Admin && f.ID == "" {
					t.Errorf("a step of nobody who runs the server: %+v", s)
				}
			}
		})
	}
}

// pair writes a certificate and its key, and returns their names.
func pair(t *testing.T, names []string, from, until time.Time, mode fs.FileMode) config.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: names, NotBefore: from, NotAfter: until, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	c := config.Certificate{File: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	if err := os.WriteFile(c.File, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(c.Key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), mode); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCertificatesOfTheHost(t *testing.T) {
	now := time.Now()
	for _, row := range []struct {
		name    string
		until   time.Duration
		from    time.Duration
		mode    fs.FileMode
		change  func(p *patientHost, c config.Certificate)
		verdict Verdict
		id      fault.ID
	}{
		{"for a year", 365 * day, -day, 0o600, nil, OK, ""},
		{"for twenty days", 20 * day, -day, 0o600, nil, Note, fault.IDExpired},
		{"for six days", 6 * day, -day, 0o600, nil, Warn, fault.IDExpired},
		{"for hours", 5 * time.Hour, -day, 0o600, nil, Fail, fault.IDExpired},
		{"over", -time.Hour, -day, 0o600, nil, Fail, fault.IDExpired},
		{"not yet", 365 * day, day, 0o600, nil, Fail, fault.IDExpired},
		{"a key for everybody", 365 * day, -day, 0o644, nil, Warn, fault.IDKeyExposed},
		{"another name", 365 * day, -day, 0o600, func(p *patientHost, _ config.Certificate) {
			p.o.Config.Public = "other.example.net"
			p.names["other.example.net"] = "203.0.113.20"
		}, Warn, fault.IDCertName},
		{"a key that the server may not read", 365 * day, -day, 0o600, func(p *patientHost, c config.Certificate) { p.unread[c.Key] = syscall.EACCES }, Fail, fault.IDPerm},
		{"another one than is served", 365 * day, -day, 0o600, func(p *patientHost, _ config.Certificate) {
			p.server = &running.Info{PID: 40, Certificates: []running.Certificate{{SHA256: "00"}}}
		}, Warn, ""},
		{"no key", 365 * day, -day, 0o600, func(_ *patientHost, c config.Certificate) { _ = os.Remove(c.Key) }, Fail, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := newPatientHost()
			c := pair(t, []string{"ftp.example.net"}, now.Add(row.from), now.Add(row.until), row.mode)
			p.o.Config.TLS.Certificates = []config.Certificate{c}
			if row.change != nil {
				row.change(p, c)
			}
			m := p.machine()
			m.now = time.Now
			for _, f := range examineHost(t.Context(), p.o, m).Findings {
				if f.Check == "certificate" && (f.Verdict != row.verdict || f.ID != row.id) {
					t.Errorf("%v [%s] %s; want %v [%s]", f.Verdict, f.ID, f.Saw, row.verdict, row.id)
				}
			}
		})
	}
}

func TestHostKeysOfTheHost(t *testing.T) {
	p := newPatientHost()
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte("no key"), 0o644); err != nil {
		t.Fatal(err)
	}
	p.o.Config.SSH.HostKeys = []string{file}
	if f, _ := p.look(t, "host keys"); f.Verdict != Fail || f.ID != fault.IDKeyExposed || f.Do[0].Run != "chmod 600 "+file {
		t.Errorf("a host key for everybody: %+v", f)
	}
	if err := os.Chmod(file, 0o600); err != nil {
		t.Fatal(err)
	}
	if f, _ := p.look(t, "host keys"); f.Verdict != Fail || !strings.Contains(f.Saw, "is no private key") {
		t.Errorf("a host key that is none: %+v", f)
	}
}

// A name server that hangs does not keep the rest from ending.
func TestHostEndsInTime(t *testing.T) {
	p := newPatientHost()
	p.o.Config.Public, p.lateName, p.over = "ftp.example.net", true, make(chan struct{})
	defer close(p.over)
	ctx, end := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer end()
	began := time.Now()
	r := examineHost(ctx, p.o, p.machine())
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	for _, f := range r.Findings {
		if f.Check == "public" && (f.Verdict != Warn || !strings.Contains(f.Saw, "no answer")) {
			t.Errorf("%+v", f)
		}
	}
}

// What is tried is gone afterwards.
func TestTryDirLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	if err := tryDir(t.Context(), dir, identity{own: true}, true); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if err := tryDir(t.Context(), filepath.Join(dir, "none"), identity{own: true}, true); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a directory that is missing: %v", err)
	}
}

func TestParseSockets(t *testing.T) {
	const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1
   1: 00000000:0015 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4712 1
   2: 0100007F:0016 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 4713 1
   3: B80D0120000000000000000001000000:03DE 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4714 1
   4: 0000000000000000FFFF00000A0000C0:03DE 00000000000000000000000000000000:0000 0A 0:0 0:0 0     0        0 4715 1
   5: nonsense:ZZZZ 0 0A 0 0 0 0 0 0 0
   6: 00:0001 0 0A 0 0 0 0 0 0 0
`
	var got []string
	for _, s := range parseSockets(table) {
		got = append(got, fmt.Sprintf("%v %d %s", s.addr, s.port, s.inode))
	}
	want := []string{"127.0.0.1 22 4711", "0.0.0.0 21 4712", "2001:db8::1 990 4714", "192.0.0.10 990 4715"}
	if !slices.Equal(got, want) {
		t.Errorf("%q; want %q", got, want)
	}
}
