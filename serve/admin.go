package serve

import (
	"maps"
	"net/netip"
	"os"
	"slices"
	"time"

	"dray/admin"
	"dray/config"
	"dray/fault"
	"dray/gate"
)

// openAdmin opens the socket for the administrator. A server without it serves all
// the same: the log says why there is none.
func (r *Running) openAdmin(c *config.Config) {
	path := c.AdminSocket()
	l, err := admin.Listen(path)
	if err != nil {
		r.log.Warn("dray status can't ask this server", "socket", path, "error", err)
		return
	}
	r.admin = l
	r.wg.Go(func() {
		if err := admin.Serve(l, told{r}); err != nil {
			r.log.Error("the socket of dray status has ended", "socket", path, "error", err)
		}
	})
}

// told is what a server tells its administrator.
type told struct{ *Running }

var _ admin.Source = told{}

func (r told) Info() admin.Info {
	sessions := len(r.gate.Logins())
	r.mu.Lock()
	defer r.mu.Unlock()
	g := r.now.Load()
	info := admin.Info{
		Version: r.version, PID: os.Getpid(), Started: r.started, Config: g.c.File, Sessions: sessions, Public: g.c.Public,
		Listeners: []admin.Listener{}, Certificates: []admin.Certificate{},
	}
	if r.single != nil {
		info.Directory = r.single.Dir
	}
	secured := false
	for _, s := range r.serving {
		by := s.rules.Load()
		l := admin.Listener{Address: s.l.Addr().String()}
		switch {
		case by.sftp != nil:
			l.Name, l.Protocol = by.sftp.Door.Name, by.sftp.Door.Protocol
		default:
			secured = true
			l.Name, l.Protocol, l.Plain, l.Passive = by.ftp.Door.Name, by.ftp.Door.Protocol, by.ftp.Door.Plain, by.ftp.Ports.String()
		}
		info.Listeners = append(info.Listeners, l)
	}
	if a := g.names[g.c.Public].address(); a.IsValid() {
		info.Told = a.String()
	}
	for _, cert := range g.certs {
		if !secured {
			break
		}
		names := slices.Clone(cert.Leaf.DNSNames)
		for _, ip := range cert.Leaf.IPAddresses {
			names = append(names, ip.String())
		}
		info.Certificates = append(info.Certificates, admin.Certificate{
			Names: names, Until: cert.Leaf.NotAfter, SHA256: cert.Hex(), SelfSigned: len(g.c.TLS.Certificates) == 0,
		})
	}
	return info
}

func (r told) Sessions() []admin.Session {
	all := []admin.Session{}
	for _, l := range r.gate.Logins() {
		s := admin.Session{
			ID: l.ID, Protocol: l.Protocol, Listener: l.Door, User: l.User, Peer: ends(l.Remote), Local: ends(l.Local), Since: l.Since, Secure: l.Secure,
		}
		for _, t := range l.Tasks {
			s.Tasks = append(s.Tasks, admin.Task{What: string(t.Direction), Path: t.Path, Bytes: t.Bytes, Size: t.Size, Since: t.Since, Rate: rate(t)})
		}
		all = append(all, s)
	}
	return all
}

// rate is bytes a second.
func rate(t gate.Task) int64 {
	took := max(time.Since(t.Since), time.Millisecond)
	return int64(float64(t.Bytes) / took.Seconds())
}

func (r told) Watchdog() admin.Watchdog {
	seen := r.server.Watch()
	w := admin.Watchdog{HighPort: seen.HighPort, Findings: []admin.Finding{}, Networks: []admin.Network{}, Pools: []admin.Pool{}}
	g := r.now.Load()
	for _, name := range slices.Sorted(maps.Keys(g.ports)) {
		use := g.ports[name].Use()
		p := admin.Pool{Range: g.ports[name].String(), Size: use.Size, Held: use.Held, Exhausted: use.Lacked}
		if use.Lacked > 0 {
			p.Last = &use.Last
			w.Findings = append(w.Findings, admin.Finding{
				ID: string(fault.IDPool), Text: "all ports of the passive range " + p.Range + " were in use: it is too small", Times: use.Lacked, Last: use.Last,
			})
		}
		w.Pools = append(w.Pools, p)
	}
	for _, f := range seen.Findings {
		w.Findings = append(w.Findings, admin.Finding{ID: string(f.ID), Network: f.Network.String(), Text: f.Text, Times: f.Times, Last: f.Last})
	}
	for _, n := range seen.Networks {
		out := admin.Network{
			Network: n.Network.String(), Offered: n.Offered, Came: n.Came, Missed: n.Missed, HalfOpen: n.HalfOpen, Private: n.Private,
			Active: n.Active, Failed: n.Failed, NoReuse: n.NoReuse,
		}
		if n.Missed > 0 {
			out.Last, out.At = &n.Last, ends(n.At)
		}
		w.Networks = append(w.Networks, out)
	}
	return w
}

// ends writes one end of a connection.
func ends(a netip.AddrPort) string {
	if !a.IsValid() {
		return ""
	}
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()).String()
}
