package ftpserver

import (
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"dray/fault"
)

// A watchdog remembers what clients were told about passive ports and whether
// they arrived. A client that logs in and can't list sees a time-out; the cause
// is mostly on our side of the network, and only the operator can mend it.
type watchdog struct {
	log *slog.Logger
	now func() time.Time

	mu       sync.Mutex
	networks map[netip.Prefix]*sighting
	full     time.Time // when an exhausted range was last logged
	high     time.Time // the same for active mode from another port than 20
}

// A sighting is what is known of one client network: IPv4 /24, IPv6 /64.
type sighting struct {
	blocked int  // offers that nobody came to
	arrived int  // connections that came
	private bool // told a private address while its own is public
	logged  time.Time
}

const (
	maxNetworks = 4096
	logEvery    = 10 * time.Minute // per network
)

func newWatchdog(log *slog.Logger) *watchdog {
	return &watchdog{log: log, now: time.Now, networks: map[netip.Prefix]*sighting{}}
}

func network(a netip.Addr) netip.Prefix {
	bits := 64
	if a.Is4() {
		bits = 24
	}
	p, _ := a.Prefix(bits)
	return p
}

// at returns the sighting of a's network; the lock is held.
func (w *watchdog) at(a netip.Addr) *sighting {
	n := network(a)
	s := w.networks[n]
	if s == nil {
		if len(w.networks) >= maxNetworks {
			w.forget()
		}
		s = &sighting{}
		w.networks[n] = s
	}
	return s
}

// forget makes room: for a network that had no trouble, if one is soon found.
func (w *watchdog) forget() {
	var victim netip.Prefix
	tries := 0
	for n, s := range w.networks { // in random order
		victim = n
		if tries++; s.blocked == 0 || tries == 64 {
			break
		}
	}
	delete(w.networks, victim)
}

// local tells an address that can't be reached across the internet.
func local(a netip.Addr) bool {
	return a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsUnspecified() || carrierNAT.Contains(a)
}

var carrierNAT = netip.MustParsePrefix("100.64.0.0/10") // RFC 6598

// told books what PASV told, and says loudly what can't work.
func (w *watchdog) told(peer, tell netip.Addr) {
	if !local(tell) || local(peer) {
		return
	}
	w.mu.Lock()
	s := w.at(peer)
	loud := !s.private
	s.private = true
	w.mu.Unlock()
	if loud {
		w.log.Error("a private address was told to a public client: its passive transfers will fail",
			"id", string(fault.IDPasvAddress), "network", network(peer).String(), "told", tell.String(), "fix", "--public ADDRESS")
	}
}

// arrived books a data connection that came.
func (w *watchdog) arrived(peer netip.Addr) {
	w.mu.Lock()
	w.at(peer).arrived++
	w.mu.Unlock()
}

// nobody books an offer that nobody came to, and tells the operator the likely
// cause, at most every ten minutes for a network.
func (w *watchdog) nobody(peer netip.Addr, told netip.AddrPort, ports *Ports, log *slog.Logger) {
	w.mu.Lock()
	s := w.at(peer)
	s.blocked++
	now := w.now()
	loud := s.logged.IsZero() || now.Sub(s.logged) >= logEvery
	if loud {
		s.logged = now
	}
	seen := *s
	w.mu.Unlock()
	log.Info("nobody came to the offered data port", "id", string(fault.IDDataBlocked), "told", told.String())
	if !loud {
		return
	}
	cause := "the passive range " + ports.String() + " is not open in a firewall, or not forwarded by a router"
	switch {
	case seen.private:
		cause = "the address told is private and the client is not: set --public ADDRESS"
	case seen.arrived > 0:
		cause = "some of the passive range " + ports.String() + " is not open: other connections of this network came"
	case local(peer):
		cause = "a firewall on this host, or the client never tried"
	}
	w.log.Warn("clients log in and can't transfer", "id", string(fault.IDDataBlocked), "network", network(peer).String(),
		"told", told.String(), "times", seen.blocked, "likely", cause)
}

// often tells whether last is so long ago that the log may say it again, and
// notes that it did. The lock is not held.
func (w *watchdog) often(last *time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.now()
	if !last.IsZero() && now.Sub(*last) < logEvery {
		return false
	}
	*last = now
	return true
}

// highPort says that active data connections do not come from the port that
// firewalls expect.
func (w *watchdog) highPort(wanted uint16, err error) {
	if w.often(&w.high) {
		w.log.Info("active data connections come from a high port: some clients' firewalls drop them", "wanted", wanted, "error", err,
			"fix", "CAP_NET_BIND_SERVICE, or passive mode")
	}
}

// exhausted says that the range is too small, at most every ten minutes.
func (w *watchdog) exhausted(ports *Ports) {
	if w.often(&w.full) {
		w.log.Error("all data ports are in use", "id", string(fault.IDPool), "range", ports.String(), "fix", "a wider --passive A-B, open in the firewall")
	}
}
