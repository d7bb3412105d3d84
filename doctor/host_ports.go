package doctor

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"dray/config"
	"dray/fault"
	"dray/firewall"
	"dray/screen"
)

// A socket is one that listens.
type socket struct {
	addr  netip.Addr
	port  uint16
	inode string
}

// A holder is the process that listens on a port.
type holder struct {
	pid  int // 0: this user may not see it
	name string
}

func (h holder) String() string {
	if h.pid == 0 {
		return "another program"
	}
	return fmt.Sprintf("%s (pid %d)", h.name, h.pid)
}

// parseSockets reads the sockets that listen from a table of proc_pid_net(5).
func parseSockets(table string) []socket {
	var out []socket
	for line := range strings.Lines(table) {
		f := strings.Fields(line)
		if len(f) < 10 || f[3] != "0A" {
			continue
		}
		digits, port, _ := strings.Cut(f[1], ":")
		n, err := strconv.ParseUint(port, 16, 16)
		if err != nil || len(digits)%8 != 0 {
			continue
		}
		var b []byte
		for ; len(digits) > 0 && err == nil; digits = digits[8:] {
			var word uint64
			word, err = strconv.ParseUint(digits[:8], 16, 32)
			b = binary.NativeEndian.AppendUint32(b, uint32(word))
		}
		if err != nil {
			continue
		}
		if addr, ok := netip.AddrFromSlice(b); ok {
			out = append(out, socket{addr.Unmap(), uint16(n), f[9]})
		}
	}
	return out
}

// listening are the sockets of this host that listen.
func (h *host) listening() []socket {
	h.socketsOnce.Do(func() {
		for _, name := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
			if b, err := h.m.Read(name); err == nil {
				h.sockets = append(h.sockets, parseSockets(string(b))...)
			}
		}
	})
	return h.sockets
}

// holder is who has a socket.
func (h *host) holder(s socket) holder {
	h.ownersOnce.Do(func() {
		h.owners = map[string]int{}
		for _, link := range h.m.Glob("/proc/[0-9]*/fd/*") {
			to, err := h.m.link(link)
			inode, ok := strings.CutPrefix(to, "socket:[")
			if err != nil || !ok {
				continue
			}
			inode = strings.TrimSuffix(inode, "]")
			pid, _ := strconv.Atoi(strings.Split(link, "/")[2])
			// Several may have it, as systemd and the server that it has started: the server's counts.
			if _, taken := h.owners[inode]; !taken || pid == h.info.PID {
				h.owners[inode] = pid
			}
		}
	})
	pid := h.owners[s.inode]
	name, _ := h.m.Read(fmt.Sprintf("/proc/%d/comm", pid))
	return holder{pid, screen.Line(strings.TrimSpace(string(name)))}
}

// holders are who listens on a port where a listener on host, "" for all addresses,
// would be in the way.
func (h *host) holders(host string, port uint16) []holder {
	if host == "localhost" {
		host = "127.0.0.1"
	}
	a, err := netip.ParseAddr(host)
	var out []holder
	for _, s := range h.listening() {
		if s.port == port && (err != nil || a.IsUnspecified() || s.addr.IsUnspecified() || s.addr == a.Unmap()) {
			if who := h.holder(s); !slices.Contains(out, who) {
				out = append(out, who)
			}
		}
	}
	return out
}

// ours tells whether the holder of a port is the server: it says so itself where this
// user may not see whose the port is. A server that does not answer is known by its name.
func (h *host) ours(who holder, port uint16) bool {
	switch {
	case h.running:
		return who.pid == h.info.PID || who.pid == 0 && h.listens(port)
	case h.unseen():
		return who.name == "dray"
	}
	return false
}

// handed tells whether a holder may keep a socket for the server.
func (h *host) handed(who holder, port uint16) bool {
	return who.name == "systemd" && (port != config.PortSFTP || h.unit != nil && h.listens(port))
}

// listens tells whether the running server says that it listens on a port.
func (h *host) listens(port uint16) bool {
	for _, l := range h.info.Listeners {
		if a, err := netip.ParseAddrPort(l.Address); err == nil && a.Port() == port {
			return true
		}
	}
	return false
}

// candidates are the ports that a listener takes at an address, the first that it can
// have.
func candidates(l config.Listener, at string) (host string, ports []uint16) {
	if at == "" {
		return "", config.Ports(l.Protocol)
	}
	host, port, err := config.SplitAddr(at)
	if err != nil {
		return at, nil
	}
	return host, []uint16{port}
}

func portName(l config.Listener, at string) string {
	if _, ports := candidates(l, at); len(ports) > 0 && ports[0] > 0 {
		return fmt.Sprintf("port %d", ports[0])
	}
	return "port"
}

// port looks at an address of a listener: is it the server's, or can it be?
func (h *host) port(l config.Listener, at string) Finding {
	if f, ok := h.linux(); !ok {
		return f
	}
	address, ports := candidates(l, at)
	if len(ports) == 0 || ports[0] == 0 {
		return fine("%s: any port, of the kernel's choice", l.Name)
	}
	var first holder
	free := -1
	for i, port := range ports {
		held := h.holders(address, port)
		for _, who := range held {
			switch {
			case h.ours(who, port), h.handed(who, port) && h.running:
				if i > 0 {
					return h.fallback(l, ports[0], port, first, "listens on")
				}
				if who.pid == 0 {
					who = holder{h.info.PID, "dray"}
				}
				return fine("%s: %v listens on %d", l.Name, who, port)
			case h.handed(who, port):
				return plain(Note, "%s: systemd holds %d, for a socket unit", l.Name, port)
			}
		}
		if len(held) == 0 && free < 0 {
			free = i
		}
		if len(held) > 0 && first == (holder{}) {
			first = held[0]
		}
	}
	switch {
	case free < 0:
		return h.taken(l, ports[0], first)
	case h.running:
		f := plain(Warn, "%s: the server runs, and does not listen on %d", l.Name, ports[free]).
			means("The running server has another configuration than the file: it was changed since, or the port could not be had when it started.")
		if again := h.reload(); again != "" {
			f.Do = append(f.Do, admin(again, "let it read the file again:"))
		}
		return f
	case free > 0:
		return h.fallback(l, ports[0], ports[free], first, "takes")
	}
	return fine("%s: %d is free", l.Name, ports[0])
}

// fallback is a listener without an address on another port than the usual one.
func (h *host) fallback(l config.Listener, wanted, port uint16, by holder, takes string) Finding {
	why := fmt.Sprintf("%d could not be bound", wanted)
	if by != (holder{}) {
		why = fmt.Sprintf("%d is held by %v", wanted, by)
	}
	return plain(Note, "%s: %s, so dray %s %d", l.Name, why, takes, port).
		means("Clients have to be told the port, and the firewall has to let it in. Nothing else is wrong.").
		with("wanted", wanted).with("port", port)
}

// unitName is a service in a line of proc_pid_cgroup(5).
var unitName = regexp.MustCompile(`^[A-Za-z0-9@:_.\\-]+\.service$`)

// taken is a port that another program has.
func (h *host) taken(l config.Listener, port uint16, by holder) Finding {
	f := found(Fail, fault.IDPortTaken, "%s: %d is held by %v", l.Name, port, by).with("port", port).with("pid", by.pid).with("program", by.name)
	if by.name == "dray" {
		f.Saw += ", which is not the server of this configuration"
	}
	elsewhere := admin("", "or let the listener %s take another one: listen = [\":%d\"] under its [[listener]] in %s", l.Name, others(l.Protocol), orDefault(h.c.File))
	switch {
	case by.pid == 0 && h.unseen():
		return plain(Skipped, "%s: %d is held by a program that this user may not see, most likely the server", l.Name, port).only(h.asRoot("root sees which one that is:"))
	case by.pid == 0:
		return f.only(h.asRoot("root sees which program that is:"), elsewhere)
	case by.name == "sshd" || by.name == "systemd":
		elsewhere.Text = strings.TrimPrefix(elsewhere.Text, "or ")
		return f.only(elsewhere, admin("", "or move the SSH for administrators to another port, while a session is open: Port in /etc/ssh/sshd_config"))
	}
	stop := fmt.Sprintf("kill %d", by.pid)
	if b, err := h.m.Read(fmt.Sprintf("/proc/%d/cgroup", by.pid)); err == nil {
		name := path.Base(strings.TrimSpace(string(b)))
		if main, err := h.m.Run("systemctl", "show", "--value", "--property=MainPID", name); unitName.MatchString(name) && err == nil && strings.TrimSpace(main) == strconv.Itoa(by.pid) {
			stop = "systemctl disable --now " + name
		}
	}
	return f.only(admin(stop, "end %s, if nobody needs it:", by.name), elsewhere)
}

// others is a port that a listener can take in place of its own.
func others(protocol string) uint16 { return config.Ports(protocol)[1] }

func orDefault(file string) string {
	if file == "" {
		return drayConf
	}
	return file
}

const capNetBindService = 1 << 10 // capabilities(7)

// lowPorts looks whether the server may bind ports below 1024.
func (h *host) lowPorts(context.Context) Finding {
	if f, ok := h.linux(); !ok {
		return f
	}
	start := 1024
	if b, err := h.m.Read("/proc/sys/net/ipv4/ip_unprivileged_port_start"); err == nil {
		if n, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil {
			start = n
		}
	}
	var wanted []string
	bound, flexible := true, true
	for _, l := range h.c.Listeners {
		for _, at := range append([]string{}, orOne(l.Listen)...) {
			if _, ports := candidates(l, at); len(ports) > 0 && ports[0] > 0 && int(ports[0]) < start {
				wanted = append(wanted, strconv.Itoa(int(ports[0])))
				bound = bound && h.listens(ports[0])
				flexible = flexible && at == ""
			}
		}
	}
	unit := h.unit != nil && !h.running
	switch {
	case len(wanted) == 0:
		return fine("no port below %d is asked for", start)
	case h.running && h.process.caps&capNetBindService != 0:
		return fine("the server may bind ports below %d (CAP_NET_BIND_SERVICE)", start)
	case h.running && bound:
		return fine("the server has them: %s", strings.Join(wanted, ", "))
	case unit && (h.unit["User"] == "" || h.unit["User"] == "root"):
		return fine("root starts the server by its unit, and it keeps the right to bind %s", strings.Join(wanted, ", "))
	case unit && strings.Contains(h.unit["AmbientCapabilities"], "cap_net_bind_service"):
		return fine("the unit gives %s CAP_NET_BIND_SERVICE", h.unit["User"])
	case !h.running && !unit && h.m.uid == 0 && h.read("self").caps&capNetBindService != 0:
		return fine("a server that root starts keeps the right to bind %s", strings.Join(wanted, ", "))
	case !h.running && !unit && h.read("self").caps&capNetBindService != 0:
		return fine("this user may bind ports below %d (CAP_NET_BIND_SERVICE)", start)
	}
	who := h.who.name
	if unit {
		who = h.unit["User"]
	}
	f := found(Fail, fault.IDLowPort, "the user %s may not bind %s: ports below %d are for root", who, strings.Join(wanted, ", "), start)
	if flexible {
		f.Verdict = Note // it takes others
		f.Saw += "; the server takes others in their place"
	}
	if unit {
		return f.only(admin("mkdir -p /etc/systemd/system/dray.service.d && printf '[Service]\\nAmbientCapabilities=CAP_NET_BIND_SERVICE\\n' > /etc/systemd/system/dray.service.d/ports.conf && systemctl daemon-reload && systemctl restart dray", "let the unit give it the right:"))
	}
	if h.m.uid == 0 { // a container, mostly
		f.Saw = fmt.Sprintf("root may not bind %s here: CAP_NET_BIND_SERVICE was taken from it", strings.Join(wanted, ", "))
		return f.only(admin("", "give it back: --cap-add NET_BIND_SERVICE for Docker and Podman, capabilities.add in Kubernetes, CapabilityBoundingSet= of a unit"))
	}
	lowest := slices.MinFunc(wanted, func(a, b string) int { return len(a)*1000 - len(b)*1000 + strings.Compare(a, b) })
	return f.only(
		admin("sudo setcap cap_net_bind_service=+ep "+firewall.Quote(h.m.exe), "give the program the right, and start it again:"),
		admin("sudo sysctl -w net.ipv4.ip_unprivileged_port_start="+lowest, "or let everybody on this host bind them:"))
}

func orOne(list []string) []string {
	if len(list) == 0 {
		return []string{""}
	}
	return list
}

// A passive is a passive range, and whether it is that of all listeners.
type passive struct {
	firewall.Range
	global bool
}

func (p passive) size() int { return int(p.Last) - int(p.First) + 1 }

// ranges are the passive ranges in use.
func (h *host) ranges() []passive {
	var out []passive
	for _, l := range h.c.Listeners {
		if l.Protocol == "sftp" {
			continue
		}
		text := l.Passive
		if text == "" {
			text = h.c.Passive
		}
		first, last, err := config.PassiveRange(text)
		p := passive{firewall.Range{First: first, Last: last}, l.Passive == ""}
		if err == nil && !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out
}

// fewPorts is how small a range is too small for a server without a limit on sessions.
const fewPorts = 50

// rangeSize compares a range with the sessions that may be.
func (h *host) rangeSize(p passive) Finding {
	n, sessions := p.size(), h.c.Limits.Sessions
	switch {
	case sessions > 0 && n >= 2*sessions, sessions == 0 && n >= fewPorts:
		return fine("%v: %d ports", p, n).with("ports", n)
	case sessions == 0:
		sessions = fewPorts
	}
	f := found(Warn, fault.IDPool, "%v: %d ports for up to %d sessions, and each transfer takes one for up to a minute after it", p, n, sessions).with("ports", n).with("sessions", sessions)
	if h.c.Limits.Sessions == 0 {
		f.Saw = fmt.Sprintf("%v: %d ports, and each transfer takes one", p, n)
	}
	// The widest of 30000 to 32767 is below the ephemeral ports.
	last := min(32767, 30000+2*sessions-1)
	if h.c.Limits.Sessions == 0 {
		last = 30999
	}
	wide := fmt.Sprintf("%q", fmt.Sprintf("30000-%d", last))
	if last-30000+1 <= n || !p.global {
		return f.only(admin("", "widen it to twice the sessions, passive = %s, or lower sessions under [limits], in %s", wide, orDefault(h.c.File)))
	}
	return f.only(h.set("widen it, and open it in the firewall:", "passive", wide), admin("dray firewall"+h.config()+" --apply", "open the new ports:"))
}

// config is the option that names the configuration, "" for the usual one.
func (h *host) config() string {
	if h.c.File == "" || h.c.File == drayConf {
		return ""
	}
	return " --config " + firewall.Quote(h.c.File)
}

// parsePorts reads "1-3,7", as the kernel writes lists of ports.
func parsePorts(text string) []firewall.Range {
	var out []firewall.Range
	for word := range strings.SplitSeq(strings.TrimSpace(text), ",") {
		if r, ok := firewall.ParseRange(word, "-"); ok {
			out = append(out, r)
		}
	}
	return out
}

// ephemeral looks whether outgoing connections take ports of a range.
func (h *host) ephemeral(p passive) Finding {
	if f, ok := h.linux(); !ok {
		return f
	}
	b, err := h.m.Read("/proc/sys/net/ipv4/ip_local_port_range")
	f := strings.Fields(string(b))
	if err != nil || len(f) != 2 {
		return skip("the ports of outgoing connections are not known")
	}
	theirs, ok := firewall.ParseRange(f[0]+"-"+f[1], "-")
	if !ok || p.Last < theirs.First || theirs.Last < p.First {
		return fine("outgoing connections take none of it: they take %v", theirs)
	}
	both := firewall.Range{First: max(p.First, theirs.First), Last: min(p.Last, theirs.Last)}
	b, _ = h.m.Read("/proc/sys/net/ipv4/ip_local_reserved_ports")
	reserved := parsePorts(string(b))
	free := 0
	for port := int(both.First); port <= int(both.Last); port++ {
		if !slices.ContainsFunc(reserved, func(r firewall.Range) bool { return int(r.First) <= port && port <= int(r.Last) }) {
			free++
		}
	}
	if free == 0 {
		return fine("%v is kept from outgoing connections (ip_local_reserved_ports)", both)
	}
	words := []string{}
	for _, r := range append(reserved, p.Range) {
		words = append(words, r.String())
	}
	setting := "net.ipv4.ip_local_reserved_ports=" + strings.Join(words, ",")
	return found(Warn, fault.IDPool, "outgoing connections of this host take ports of %v too: theirs are %v", p, theirs).
		means("When a port of the range is taken by an outgoing connection, the server can't offer it, and transfers fail now and then, more often the busier the host is.").
		only(admin("sysctl -w "+setting, "keep them out of it:"), admin("echo '"+setting+"' > /etc/sysctl.d/60-dray.conf", "and after the next start:"))
}

// rangeTaken looks for other programs that listen on ports of a range.
func (h *host) rangeTaken(p passive) Finding {
	if f, ok := h.linux(); !ok {
		return f
	}
	var held []string
	var port uint16
	var by holder
	for _, s := range h.listening() {
		if s.port < p.First || s.port > p.Last {
			continue
		}
		who := h.holder(s)
		if h.ours(who, s.port) || who.pid == 0 && h.m.uid != 0 && (h.unseen() || h.running && h.process.id.UID != uint32(h.m.uid)) { // it may be the server's
			continue
		}
		if len(held) == 0 {
			port, by = s.port, who
		}
		held = append(held, fmt.Sprintf("%d by %v", s.port, who))
	}
	if len(held) == 0 {
		return fine("no other program listens on a port of %v", p)
	}
	f := found(Warn, fault.IDPool, "%v: port %d is held by %v", p, port, by).with("held", held).
		means("The server passes over ports that it can't have, so the range is smaller than it looks; where a firewall forwards the port, clients reach the other program.")
	if len(held) > 1 {
		f.Saw += fmt.Sprintf(", and %d more", len(held)-1)
	}
	step := admin("", "let %s listen elsewhere", cmp.Or(by.name, "that program"))
	if other, ok := h.spare(p); ok {
		step.Text += fmt.Sprintf(", or move the range: passive = %q in %s", other, orDefault(h.c.File))
	}
	return f.only(step)
}

// spare is a range like the usual one at which nobody listens.
func (h *host) spare(p passive) (firewall.Range, bool) {
	for first := uint16(30000); first < 32000; first += 1000 {
		r := firewall.Range{First: first, Last: first + 999}
		if (p.Last < r.First || r.Last < p.First) && !slices.ContainsFunc(h.listening(), func(s socket) bool { return r.First <= s.port && s.port <= r.Last }) {
			return r, true
		}
	}
	return firewall.Range{}, false
}

// firewall looks whether the rules of this host let clients in.
func (h *host) firewall(context.Context) Finding {
	if f, ok := h.linux(); !ok {
		return f
	}
	p := h.o.Ports
	if p.None() {
		return skip("no listener is reached from elsewhere")
	}
	four, six, err := firewall.PassagesOf(h.m.Host, p)
	if err != nil {
		return skip("the rules of this host can't be read: %s", screen.Line(err.Error())).only(h.asRoot("ask as root:"))
	}
	if !slices.ContainsFunc(h.m.addrs(), func(a netip.Addr) bool { return a.Is6() && a.IsGlobalUnicast() && !a.IsPrivate() }) {
		six = four // nobody comes that way
	}
	for i, all := range []firewall.Passages{four, six} {
		v, family := Fail, ""
		if i > 0 {
			v, family = Warn, " over IPv6"
		}
		for _, one := range []struct {
			firewall.Passage
			f         Finding
			saw, mend string
		}{
			{all.In, h.shut(v, p, all.In.Shut), "%s drops TCP %s", "let clients in"},
			{all.Answers, h.shut(v, p, all.Answers.Shut).means("Clients get in, and nothing that this host answers gets out."), "%s drops what comes from TCP %s", "let answers out"},
			{all.Active, found(Warn, fault.IDActiveBlock, "").means("In active mode the server opens the data connections. Clients that know no other mode, such as cameras and scanners, log in and transfer nothing."), "%s drops connections from TCP %s, as active mode makes them", "let them out"},
		} {
			if len(one.Shut) > 0 {
				one.f.Saw = fmt.Sprintf(one.saw, one.By, ports(one.Shut)) + family
				return one.f.with("shut", ports(one.Shut)).with("by", one.By).
					only(admin("dray firewall"+h.asked()+" --apply", "%s (without --apply it prints what it would do):", one.mend))
			}
		}
	}
	if some := four.In.Some; len(some) > 0 {
		return plain(Note, "the rules of this host let some peers alone reach TCP %s", ports(some)).
			means("Rules name networks, interfaces or rates. When that is meant, nothing is wrong.").with("some", ports(some)).
			only(admin("dray firewall"+h.asked(), "to let everybody in, see what it would add:"))
	}
	return fine("the rules of this host let TCP %s in; a provider's or router's are not seen from here", ports(four.In.Open)).with("open", ports(four.In.Open))
}

// asked are the options by which dray firewall means the same ports: without a
// configuration it may find that of another server.
func (h *host) asked() string {
	if h.c.File != "" {
		return h.config()
	}
	var words strings.Builder
	for _, l := range h.o.Ports.Listeners {
		fmt.Fprintf(&words, " --%s %d", l.Protocol, l.Port)
	}
	for _, r := range h.o.Ports.Passive {
		fmt.Fprintf(&words, " --passive %v", r)
	}
	return words.String()
}

// shut is the finding for ports that are shut: those of listeners matter more than those
// of data connections.
func (h *host) shut(v Verdict, p firewall.Ports, shut []firewall.Range) Finding {
	in := func(port uint16) bool {
		return slices.ContainsFunc(shut, func(r firewall.Range) bool { return r.First <= port && port <= r.Last })
	}
	for _, l := range p.Listeners {
		if in(l.Port) {
			return found(v, fault.IDFiltered, "")
		}
	}
	for _, r := range p.Passive {
		for port := int(r.First); port <= int(r.Last); port++ {
			if !in(uint16(port)) {
				return found(v, fault.IDRangePartly, "")
			}
		}
	}
	return found(v, fault.IDDataBlocked, "")
}

func ports(ranges []firewall.Range) string {
	words := make([]string, len(ranges))
	for i, r := range ranges {
		words[i] = r.String()
	}
	return strings.Join(words, ", ")
}
