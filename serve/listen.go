package serve

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
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

func ports(l *config.Listener) (standard, high uint16) {
	if l.Protocol == "ftps" {
		return config.PortFTPS, config.PortFTPSHigh
	}
	return config.PortFTP, config.PortFTPHigh
}

// listen binds at, or without one the standard port on all addresses, else, where
// that may not be or is taken, the high one.
func listen(at string, standard, high uint16, log *slog.Logger) (net.Listener, error) {
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
	l, err := net.Listen("tcp", fmt.Sprintf(":%d", standard))
	if err == nil {
		return l, nil
	}
	log.Info("another port is taken", "wanted", standard, "port", high, "because", why(err, standard))
	if l, err = net.Listen("tcp", fmt.Sprintf(":%d", high)); err != nil {
		return nil, why(err, high)
	}
	return l, nil
}

// why says what to do about a port that can't be bound.
func why(err error, port uint16) error {
	switch {
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("port %d needs the capability CAP_NET_BIND_SERVICE or root", port)
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("port %d is in use by another program (ss -ltnp names it)", port)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("this host does not have that address: %w", err)
	}
	return err
}

// adopt takes the sockets that another process has opened for l out of given: by
// its name, else by a port that it asks for.
func adopt(l *config.Listener, given map[string][]net.Listener) []net.Listener {
	if named := given[l.Name]; len(named) > 0 && l.Name != "" {
		delete(given, l.Name)
		return named
	}
	var taken []net.Listener
	for name, ls := range given {
		rest := ls[:0]
		for _, nl := range ls {
			if fits(l, nl) {
				taken = append(taken, nl)
			} else {
				rest = append(rest, nl)
			}
		}
		given[name] = rest
	}
	return taken
}

// fits tells whether nl has a port that l asks for.
func fits(l *config.Listener, nl net.Listener) bool {
	a, ok := nl.Addr().(*net.TCPAddr)
	if !ok {
		return false
	}
	for _, at := range addresses(l) {
		want, _ := ports(l)
		if at != "" {
			host, p, err := config.SplitAddr(at)
			if err != nil || host != "" && host != a.IP.String() {
				continue
			}
			want = p
		}
		if int(want) == a.Port {
			return true
		}
	}
	return false
}
