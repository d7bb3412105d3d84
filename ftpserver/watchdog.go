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
	highs    int       // active connections from another port
}

// A sighting is what is known of one client network: IPv4 /24, IPv6 /64.
type sighting struct {
	offered int  // ports that were told
	blocked int  // offers that nobody came to
	half    int  // of these those to which a SYN came
	arrived int  // connections that came
	private bool // told a private address while its own is public
	logged  time.Time

	missed   time.Time      // when nobody came last
	at       netip.AddrPort // what was told then
	ports    *Ports         // that it was of
	came     time.Time      // when somebody came last
	reached  int            // active connections that stood
	unheard  int            // and those that did not
	tried    time.Time      // the last of these
	to       netip.AddrPort // where it was to go
	notTaken int            // data connections refused because they resumed no TLS session
	refused  time.Time      // the last of these
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

// offered books a port that a client was told.
func (w *watchdog) offered(peer netip.Addr) {
	w.mu.Lock()
	w.at(peer).offered++
	w.mu.Unlock()
}

// arrived books a data connection that came.
func (w *watchdog) arrived(peer netip.Addr) {
	w.mu.Lock()
	s := w.at(peer)
	s.arrived++
	s.came = w.now()
	w.mu.Unlock()
}

// active books an active data connection to a client, and how it ended.
func (w *watchdog) active(peer netip.Addr, to netip.AddrPort, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.at(peer)
	if err == nil {
		s.reached++
		return
	}
	s.unheard++
	s.tried, s.to = w.now(), to
}

// noReuse books a data connection that was refused because it resumed no session.
func (w *watchdog) noReuse(peer netip.Addr) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.at(peer)
	s.notTaken++
	s.refused = w.now()
}

// nobody books an offer that nobody came to, or half: a SYN came. It tells the
// operator the likely cause, at most every ten minutes for a network.
func (w *watchdog) nobody(peer netip.Addr, told netip.AddrPort, half bool, ports *Ports, log *slog.Logger) {
	w.mu.Lock()
	s := w.at(peer)
	s.blocked++
	if half {
		s.half++
	}
	now := w.now()
	s.missed, s.at, s.ports = now, told, ports
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
	w.log.Warn("clients log in and can't transfer", "id", string(fault.IDDataBlocked), "network", network(peer).String(),
		"told", told.String(), "times", seen.blocked, "likely", seen.likely(local(peer)))
}

// likely is the likely cause of offers that nobody came to.
func (s *sighting) likely(near bool) string {
	switch {
	case s.private:
		return "the address told is private and the client is not: set --public ADDRESS"
	case s.half > 0:
		return "clients' SYNs arrive and the answers do not reach them: this host's rules for what goes out, or another way back"
	case s.arrived > 0:
		return "some of the passive range " + s.ports.String() + " is not open: other connections of this network came"
	case near:
		return "a firewall on this host, or the client never tried"
	}
	return "the passive range " + s.ports.String() + " is not open in a firewall, or not forwarded by a router"
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
	w.mu.Lock()
	w.highs++
	w.mu.Unlock()
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
