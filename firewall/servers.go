package firewall

import (
	"bufio"
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"
)

// A Server is what the configuration of another server says.
type Server struct {
	Name  string // vsftpd, ProFTPD, Pure-FTPd
	File  string
	Ports Ports
	Fix   []string // lines to be added where it names no passive range: any port may be asked for then
}

// Installed is the first other server of this machine that has a configuration.
func Installed(h *Host) (Server, bool) {
	for _, file := range []string{"/etc/vsftpd.conf", "/etc/vsftpd/vsftpd.conf"} {
		if b, err := h.Read(file); err == nil {
			return vsftpd(file, string(b)), true
		}
	}
	for _, file := range []string{"/etc/proftpd/proftpd.conf", "/etc/proftpd.conf"} {
		if b, err := h.Read(file); err == nil {
			return proftpd(h, file, string(b)), true
		}
	}
	const dir = "/etc/pure-ftpd/conf"
	if files := h.Glob(dir + "/*"); len(files) > 0 {
		var b strings.Builder
		for _, file := range files {
			if value, err := h.Read(file); err == nil {
				first, _, _ := strings.Cut(string(value), "\n")
				fmt.Fprintf(&b, "%s %s\n", path.Base(file), first)
			}
		}
		s := pureFTPd(dir, b.String())
		s.Fix = nil
		if len(s.Ports.Passive) == 0 {
			s.Fix = []string{"echo '" + defaultRange.with(" ") + "' > " + dir + "/PassivePortRange"}
		}
		return s, true
	}
	for _, file := range []string{"/etc/pure-ftpd/pure-ftpd.conf", "/etc/pure-ftpd.conf"} {
		if b, err := h.Read(file); err == nil {
			return pureFTPd(file, string(b)), true
		}
	}
	return Server{}, false
}

// defaultRange is the one that a server without any is advised to take.
var defaultRange = Range{30000, 30999}

// directives calls f with the first word of each line, in lower case, and with the
// others. Comments begin with a #.
func directives(text string, f func(name string, args []string)) {
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if len(words) > 0 && !strings.HasPrefix(words[0], "#") {
			f(strings.ToLower(words[0]), words[1:])
		}
	}
}

// ends is the range of two words; without both it is none.
func ends(args []string) []Range {
	if len(args) < 2 {
		return nil
	}
	if r, ok := ParseRange(args[0]+" "+args[1], " "); ok {
		return []Range{r}
	}
	return nil
}

// vsftpd reads vsftpd.conf(5): NAME=VALUE without spaces around the sign.
func vsftpd(file, text string) Server {
	set := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(name, "#") {
			set[strings.ToLower(strings.TrimSpace(name))] = strings.TrimSpace(value)
		}
	}
	yes := func(name string, otherwise bool) bool {
		switch strings.ToUpper(set[name]) {
		case "":
			return otherwise
		case "YES", "TRUE", "1":
			return true
		}
		return false
	}
	number := func(name string, otherwise uint16) uint16 {
		n, err := strconv.ParseUint(set[name], 10, 16)
		if err != nil {
			return otherwise
		}
		return uint16(n)
	}
	l := Listener{Protocol: "ftp", Port: number("listen_port", 21)}
	if yes("implicit_ssl", false) && yes("ssl_enable", false) {
		l.Protocol = "ftps"
	}
	for _, name := range []string{"listen_address", "listen_address6"} {
		if a, err := netip.ParseAddr(set[name]); err == nil {
			l.Addrs = append(l.Addrs, a)
		}
	}
	s := Server{Name: "vsftpd", File: file, Ports: Ports{Listeners: []Listener{l}, Public: set["pasv_address"]}}
	if !printable(s.Ports.Public) {
		s.Ports.Public = ""
	}
	if yes("port_enable", true) {
		s.Ports.Active = []uint16{0}
		if yes("connect_from_port_20", false) {
			s.Ports.Active[0] = number("ftp_data_port", 20)
		}
	}
	if !yes("pasv_enable", true) {
		return s
	}
	first, last := number("pasv_min_port", 0), number("pasv_max_port", 0)
	if first > 0 && last >= first {
		s.Ports.Passive = []Range{{first, last}}
		return s
	}
	s.Fix = []string{fmt.Sprintf("pasv_min_port=%d", defaultRange.First), fmt.Sprintf("pasv_max_port=%d", defaultRange.Last)}
	return s
}

// proftpd reads the directives of ProFTPD that matter, with the files that it
// includes. Each virtual host may have a port of its own.
func proftpd(h *Host, file, text string) Server {
	s := Server{Name: "ProFTPD", File: file}
	s.Ports.Active = []uint16{0}
	type host struct {
		Listener
		set bool // its port
	}
	hosts := []host{{Listener: Listener{Protocol: "ftp", Port: 21}}}
	at := 0 // the host that directives are for; a <VirtualHost> is one more
	var read func(text string, depth int)
	read = func(text string, depth int) {
		directives(text, func(name string, args []string) {
			on := &hosts[at]
			one := ""
			if len(args) > 0 {
				one = args[0]
			}
			switch name {
			case "port":
				if n, err := strconv.ParseUint(one, 10, 16); err == nil {
					on.Port, on.set = uint16(n), true
				}
			case "defaultaddress":
				if a, err := netip.ParseAddr(one); err == nil {
					on.Addrs = append(on.Addrs, a)
				}
			case "passiveports":
				for _, r := range ends(args) {
					if !slices.Contains(s.Ports.Passive, r) {
						s.Ports.Passive = append(s.Ports.Passive, r)
					}
				}
			case "masqueradeaddress":
				if printable(one) {
					s.Ports.Public = one
				}
			case "sftpengine":
				if strings.EqualFold(one, "on") {
					on.Protocol = "sftp"
				}
			case "tlsoptions":
				if slices.ContainsFunc(args, func(a string) bool { return strings.EqualFold(a, "UseImplicitSSL") }) {
					on.Protocol = "ftps"
				}
			case "<virtualhost":
				hosts = append(hosts, host{Listener: Listener{Protocol: "ftp", Port: hosts[0].Port}})
				at = len(hosts) - 1
			case "</virtualhost>":
				at = 0
			case "include":
				// Of a directory all files are included.
				one = strings.TrimSuffix(strings.Trim(one, `"`), "/")
				for _, name := range append(h.Glob(one), h.Glob(one+"/*")...) {
					if b, err := h.Read(name); err == nil && depth < 8 {
						read(string(b), depth+1)
					}
				}
			}
		})
	}
	read(text, 0)
	for i, host := range hosts {
		// Port 0 is a host that is reached by the port of another one.
		if host.Port > 0 && (i == 0 || host.set) {
			s.Ports.Listeners = append(s.Ports.Listeners, host.Listener)
			if from := host.Port - 1; host.Protocol != "sftp" && from > 0 { // RFC 959, 5.2: the port below the control port
				s.Ports.Active = append(s.Ports.Active, from)
			}
		}
	}
	if len(s.Ports.Active) > 1 {
		s.Ports.Active = s.Ports.Active[1:]
	}
	if len(s.Ports.Passive) == 0 {
		s.Fix = []string{"PassivePorts " + defaultRange.with(" ")}
	}
	return s
}

// pureFTPd reads pure-ftpd.conf, or the files of Debian in the same form.
func pureFTPd(file, text string) Server {
	s := Server{Name: "Pure-FTPd", File: file}
	l := Listener{Protocol: "ftp", Port: 21}
	directives(text, func(name string, args []string) {
		if len(args) == 0 {
			return
		}
		switch name {
		case "passiveportrange":
			s.Ports.Passive = ends(args)
		case "forcepassiveip":
			if printable(args[0]) {
				s.Ports.Public = args[0]
			}
		case "bind": // ADDRESS,PORT
			host, port, _ := strings.Cut(args[0], ",")
			if n, err := strconv.ParseUint(port, 10, 16); err == nil && n > 0 {
				l.Port = uint16(n)
			}
			if a, err := netip.ParseAddr(host); err == nil && !a.IsUnspecified() {
				l.Addrs = []netip.Addr{a}
			}
		}
	})
	s.Ports.Listeners = []Listener{l}
	s.Ports.Active = []uint16{max(l.Port-1, 1)}
	if len(s.Ports.Passive) == 0 {
		s.Fix = []string{"PassivePortRange " + defaultRange.with(" ")}
	}
	return s
}
