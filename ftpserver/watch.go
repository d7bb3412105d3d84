package ftpserver

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"dray/fault"
)

// A Watch is what a server has seen of data connections since it started.
type Watch struct {
	Networks []Network // of clients, those with the newest trouble first
	Findings []Finding // what the log has said of them, in the same order
	HighPort int       // active connections that did not come from the port that firewalls expect
}

// A Network is one of clients, IPv4 /24 or IPv6 /64, and its data connections.
type Network struct {
	Network        netip.Prefix
	Offered, Came  int // passive: ports told, and connections that came
	Missed         int // offers that nobody came to
	HalfOpen       int // of these those to which a SYN came
	Last           time.Time
	At             netip.AddrPort // what was told at the last one that was missed
	Private        bool           // a private address was told, and its own is public
	Active, Failed int            // active: connections that stood, and those that did not
	NoReuse        int            // refused because they resumed no TLS session
}

// A Finding is something that keeps clients from transferring.
type Finding struct {
	ID      fault.ID
	Network netip.Prefix // of the clients
	Text    string
	Times   int
	Last    time.Time
}

// foundFor is how long after its last time a finding is told.
const foundFor = 24 * time.Hour

// Watch is what was seen so far.
func (s *Server) Watch() Watch { return s.watch.seen() }

func (w *watchdog) seen() Watch {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := Watch{HighPort: w.highs}
	for n, s := range w.networks {
		all.Networks = append(all.Networks, Network{
			Network: n, Offered: s.offered, Came: s.arrived, Missed: s.blocked, HalfOpen: s.half, Last: s.missed, At: s.at, Private: s.private,
			Active: s.reached, Failed: s.unheard, NoReuse: s.notTaken,
		})
		all.Findings = append(all.Findings, s.findings(n, w.now())...)
	}
	slices.SortFunc(all.Networks, func(a, b Network) int {
		if c := b.Last.Compare(a.Last); c != 0 {
			return c
		}
		return a.Network.Addr().Compare(b.Network.Addr())
	})
	slices.SortFunc(all.Findings, func(a, b Finding) int { return b.Last.Compare(a.Last) })
	return all
}

// findings are those of one network.
func (s *sighting) findings(n netip.Prefix, now time.Time) (out []Finding) {
	add := func(id fault.ID, times int, last time.Time, text string) {
		if times > 0 && now.Sub(last) < foundFor {
			out = append(out, Finding{id, n, text, times, last})
		}
	}
	if s.blocked > 0 {
		text := fmt.Sprintf("nobody came to %d of %d offered ports, the last %s; likely: %s", s.blocked, max(s.offered, s.blocked), s.at, s.likely(local(n.Addr())))
		if s.came.After(s.missed) {
			text += "; somebody has come since"
		}
		id := fault.IDDataBlocked
		if s.private {
			id = fault.IDPasvAddress
		}
		add(id, s.blocked, s.missed, text)
	}
	if s.unheard > 0 {
		add(fault.IDActiveBlock, s.unheard, s.tried, fmt.Sprintf("the server could not connect to %d of %d addresses that clients named, the last %s: passive mode needs no way in at the client", s.unheard, s.unheard+s.reached, s.to))
	}
	if s.notTaken > 0 {
		add(fault.IDTLSReuse, s.notTaken, s.refused, fmt.Sprintf("%d data connections resumed no TLS session, as data-session = \"require\" wants", s.notTaken))
	}
	return out
}
