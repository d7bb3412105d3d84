package serve

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"syscall"

	"dray/config"
)

// addresses are those that a listener asks for; "" is the standard port of its
// protocol on all addresses, or the high one.
func addresses(l *config.Listener) []string {
	if len(l.Listen) == 0 {
		return []string{""}
	}
	return l.Listen
}

// listen binds at, or without one the first of the ports that can be had, on all
// addresses.
func listen(at string, ports []uint16, log *slog.Logger) (net.Listener, error) {
	if at != "" {
		host, p, err := config.SplitAddr(at)
		if err != nil {
			return nil, err
		}
		l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(int(p))))
		if err != nil {
			return nil, why(err, p)
		}
		return l, nil
	}
	for i, port := range ports {
		l, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
		if err == nil {
			return l, nil
		}
		if i == len(ports)-1 {
			return nil, why(err, port)
		}
		log.Info("another port is taken", "wanted", port, "port", ports[i+1], "because", why(err, port))
	}
	return nil, errors.New("no port to listen on")
}

// why says what to do about a port that can't be bound.
func why(err error, port uint16) error {
	switch {
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("port %d needs the capability CAP_NET_BIND_SERVICE or root", port)
	case errors.Is(err, syscall.EADDRINUSE):
		return portTaken(port)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("this host does not have that address: %w", err)
	}
	return err
}

// portTaken is the error of a port that somebody listens on.
type portTaken uint16

func (p portTaken) Error() string {
	return fmt.Sprintf("port %d is in use by another program (ss -ltnp names it)", uint16(p))
}

// asked is what an address asks for; host "" is all addresses, port 0 any port.
func asked(l *config.Listener, at string) (host string, port uint16) {
	if at == "" {
		return "", config.Ports(l.Protocol)[0]
	}
	host, port, err := config.SplitAddr(at)
	if err != nil {
		return at, 0
	}
	if a, err := netip.ParseAddr(host); err == nil && a.IsUnspecified() {
		host = "" // net.Listen takes both kinds of addresses for either
	}
	return host, port
}

// is tells whether s listens where at asks for, in whatever form that is written.
func (s *serving) is(l *config.Listener, at string) bool {
	a, ok := s.l.Addr().(*net.TCPAddr)
	if !ok {
		return false
	}
	host, port := asked(l, at)
	if s.at == at {
		switch {
		case at == "":
			return slices.Contains(config.Ports(l.Protocol), uint16(a.Port))
		case port == 0: // any: other listeners may have asked for the same
			return s.name == l.Name
		}
		return true
	}
	if port == 0 || int(port) != a.Port {
		return false
	}
	if host == "" {
		return a.IP.IsUnspecified()
	}
	return isHost(host, a)
}

func isHost(host string, a *net.TCPAddr) bool {
	want, err := netip.ParseAddr(host)
	return err == nil && want.Unmap() == a.AddrPort().Addr().Unmap()
}

// handed are the sockets that another process has opened, by name.
func handed(given map[string][]net.Listener) []*serving {
	var all []*serving
	for _, name := range slices.Sorted(maps.Keys(given)) {
		for _, l := range given[name] {
			all = append(all, &serving{l: l, at: l.Addr().String(), given: true, name: name})
		}
	}
	return all
}

// adopt gives each listener the sockets of another process that are for it:
// those of its name, and to listeners without any those with a port that they
// ask for.
func adopt(ls []config.Listener, sockets []*serving) [][]*serving {
	out := make([][]*serving, len(ls))
	taken := map[*serving]bool{}
	take := func(i int, wanted func(*serving) bool) {
		for _, s := range sockets {
			if !taken[s] && wanted(s) {
				taken[s] = true
				out[i] = append(out[i], s)
			}
		}
	}
	for i := range ls {
		take(i, func(s *serving) bool { return s.name != "" && s.name == ls[i].Name })
	}
	for i := range ls {
		if len(out[i]) == 0 {
			take(i, func(s *serving) bool { return fits(&ls[i], s.l) })
		}
	}
	return out
}

// fits tells whether nl has a port that l asks for.
func fits(l *config.Listener, nl net.Listener) bool {
	a, ok := nl.Addr().(*net.TCPAddr)
	return ok && slices.ContainsFunc(addresses(l), func(at string) bool {
		host, port := asked(l, at)
		return int(port) == a.Port && (host == "" || isHost(host, a))
	})
}
