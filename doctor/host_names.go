package doctor

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"dray/explain"
	"dray/fault"
)

// clock looks whether the time is right, as far as that can be known without asking
// anybody.
func (h *host) clock(context.Context) Finding {
	now := h.m.now()
	sync := admin("timedatectl set-ntp true", "set it from the network:")
	if !h.o.Build.IsZero() && now.Before(h.o.Build.Add(-24*time.Hour)) {
		return plain(Fail, "%s is before this program was made (%s)", now.Format("2006-01-02 15:04"), h.o.Build.Format("2006-01-02")).
			means("The clock of this host is wrong. Certificates look as if they were not valid yet, and times of files are wrong.").only(sync)
	}
	set, known := h.m.clock()
	switch {
	case !known:
		return skip("whether the clock is set from the network is not known here")
	case !set:
		return plain(Note, "%s, and the kernel says that nothing sets the clock (adjtimex: not synchronised)", now.Format("2006-01-02 15:04:05 MST")).
			means("A clock that nobody sets goes wrong by seconds a day: certificates, bans and times of files follow it. In a container or a virtual machine the host may set it without the kernel's knowledge.").only(sync)
	}
	return fine("set from the network; it is %s", now.Format("2006-01-02 15:04:05 MST"))
}

// container looks whether this is one, whose ports have to be published.
func (h *host) container(context.Context) Finding {
	if f, ok := h.linux(); !ok {
		return f
	}
	kind := h.containerKind()
	if kind == "" {
		return fine("this is none")
	}
	addrs := h.m.addrs()
	var published []string
	for _, l := range h.o.Ports.Listeners {
		published = append(published, fmt.Sprintf("-p %d:%d", l.Port, l.Port))
	}
	for _, r := range h.o.Ports.Passive {
		if p := fmt.Sprintf("-p %v:%v", r, r); !slices.Contains(published, p) {
			published = append(published, p)
		}
	}
	about := fmt.Sprintf("%s, which has the address %s", kind, joined(addrs))
	f := found(Note, fault.IDUnpublished, "%s; which ports are published can't be seen from inside", about).
		means("Clients reach the ports of a container that the host publishes, and no others. The passive range has to be published whole, under the same numbers, and the public address has to be that of the host.").
		only(admin("docker port CONTAINER", "on the host, see that it lists all of %s:", strings.Join(published, " ")))
	if ids := h.mapped(); ids != "" {
		f.Saw += "; " + ids
		f.Do = append(f.Do, admin("", "files on volumes belong to other numbers on the host: chown them there by the numbers of the host"))
	}
	return f
}

func (h *host) containerKind() string {
	has := func(name string) bool { _, err := h.m.stat(name); return err == nil }
	switch {
	case has("/.dockerenv"):
		return "a container of Docker"
	case has("/run/.containerenv"):
		return "a container of Podman"
	case has("/var/run/secrets/kubernetes.io"):
		return "a pod of Kubernetes"
	}
	b, _ := h.m.Read("/proc/1/cgroup")
	for _, word := range []string{"docker", "kubepods", "containerd", "libpod", "lxc"} {
		if strings.Contains(string(b), word) {
			return "a container (" + word + ")"
		}
	}
	b, _ = h.m.Read("/proc/self/mountinfo")
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if i := slices.Index(f, "-"); i > 4 && f[4] == "/" && len(f) > i+1 && f[i+1] == "overlay" {
			return "a container (its root is an overlay)"
		}
	}
	return ""
}

// mapped says how the numbers of users differ from those of the host; "" where they do
// not.
func (h *host) mapped() string {
	b, err := h.m.Read("/proc/self/uid_map")
	f := strings.Fields(string(b))
	if err != nil || len(f) < 3 || f[0] == "0" && f[1] == "0" {
		return ""
	}
	return fmt.Sprintf("its user %s is the host's %s", f[0], f[1])
}

func joined(addrs []netip.Addr) string {
	if len(addrs) == 0 {
		return "none"
	}
	var words []string
	for _, a := range addrs {
		words = append(words, a.String())
	}
	return strings.Join(words, ", ")
}

// public compares the address that PASV tells with those of this host and with DNS.
func (h *host) public(ctx context.Context) Finding {
	own := h.m.addrs()
	name := h.c.Public
	if name == "" {
		return h.untold(own)
	}
	fromInside := "the router has to lead it here, with the listeners and the passive range under the same numbers"
	if a, err := netip.ParseAddr(name); err == nil {
		a = a.Unmap()
		switch {
		case slices.Contains(own, a):
			return fine("%v, which is an address of this host", a)
		case private(a):
			return found(Warn, fault.IDPasvAddress, "%v is told to clients elsewhere; it is private, and not this host's", a).
				only(h.tells("write the address or name that clients elsewhere dial"))
		case len(own) > 0 && !slices.ContainsFunc(own, private):
			return plain(Note, "%v is no address of this host, which has %s", a, joined(own)).with("public", a.String()).
				means("PASV leads clients to another host, unless a router or balancer in front of this one has that address.").
				only(admin("", "see that the address is right"))
		}
		return fine("%v; this host has %s: %s", a, joined(own), fromInside).with("public", a.String())
	}
	addrs, err := h.m.lookup(ctx, name)
	if err != nil || len(addrs) == 0 {
		return found(Fail, fault.IDDNS, "%s has no address: until it has one, clients elsewhere are told an address of this host", name).with("public", name).
			only(admin("getent ahosts "+name, "see what this host's resolver says; the name needs an A record"))
	}
	var four []netip.Addr
	for _, a := range addrs {
		if a = a.Unmap(); a.Is4() {
			four = append(four, a)
		}
	}
	mine := slices.ContainsFunc(addrs, func(a netip.Addr) bool { return slices.Contains(own, a.Unmap()) })
	told, _ := netip.ParseAddr(h.info.Told)
	about := func(f Finding) Finding { return f.with("public", name).with("addresses", joined(addrs)) }
	switch {
	case len(four) == 0:
		return about(found(Warn, fault.IDPasvAddress, "%s has IPv6 addresses alone, and PASV can tell an IPv4 one only", name)).
			only(admin("", "give the name an A record, or write the IPv4 address: public = \"ADDRESS\""))
	case h.running && told.IsValid() && !slices.Contains(four, told.Unmap()):
		return about(found(Warn, fault.IDPasvAddress, "%s is %s, and the server that runs tells %v", name, joined(four), told)).
			means("The address of the name has changed. The server looks it up again every two minutes, at the next client.").
			only(admin("dray status", "when that does not help, see what it tells in some minutes:"))
	case mine:
		return about(fine("%s is %s, of this host", name, joined(four)))
	case slices.ContainsFunc(four, netip.Addr.IsLoopback):
		return about(found(Warn, fault.IDPasvAddress, "%s is %s here, and clients elsewhere would be told that", name, joined(four))).
			only(admin("", "take the name out of /etc/hosts, or write the address itself: public = \"ADDRESS\""))
	case len(own) > 0 && !slices.ContainsFunc(own, private):
		return about(plain(Note, "%s is %s, and this host has %s", name, joined(four), joined(own))).
			means("DNS leads clients to another host, unless a router or balancer in front of this one has that address.").
			only(admin("", "see that the A record is right"))
	}
	return about(fine("%s is %s; this host has %s: %s", name, joined(four), joined(own), fromInside))
}

// untold is what becomes of clients elsewhere without a public address.
func (h *host) untold(own []netip.Addr) Finding {
	var four []netip.Addr
	for _, a := range own {
		if a.Is4() {
			four = append(four, a)
		}
	}
	switch {
	case len(four) == 0:
		return skip("this host has no IPv4 address, and PASV is for IPv4 only")
	case slices.ContainsFunc(four, func(a netip.Addr) bool { return !private(a) }):
		return fine("clients are told the address that they have reached; this host has %s", joined(four))
	}
	f := found(Warn, fault.IDPasvAddress, "this host has private addresses alone (%s), and no public one is configured", joined(four)).with("addresses", joined(four)).
		means("Clients elsewhere reach this host by another address, of a router or a provider. PASV tells them a private one, and programs that believe it can't list or transfer.")
	local := h.set("when all clients are in networks of this host, say so:", "public", fmt.Sprintf("%q", four[0]))
	return f.only(h.tells("write the address or name that clients elsewhere dial"), local)
}

// tells is the step that names the public address, which nobody here knows: there is no
// command to paste.
func (h *host) tells(text string) explain.Step {
	return admin("", "%s: public = \"ADDRESS\", first in %s", text, orDefault(h.c.File))
}

func private(a netip.Addr) bool {
	return a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() || shared.Contains(a)
}
