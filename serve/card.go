package serve

import (
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/crypto/ssh"

	"dray/account"
	"dray/config"
	"dray/gate"
)

// A Card is what a client, and whoever opens the firewall, has to know.
type Card struct {
	Dir         string
	SFTP        []string // addresses that answer, host:port
	FTP, FTPS   []string
	HostKeys    []string // "ed25519 SHA256:…", of SSH
	User        string
	Anonymous   bool
	Plain       bool
	ReadOnly    bool
	Ports       []string // of the control connections
	Passive     string   // every passive range, with ", " between them
	Active      []string // ports that active data connections come from; none: no active mode, or from any port
	Excepted    bool     // an exception lets clear text in from some networks
	Public      string
	SHA256      string // of the certificate, colon separated
	KeySHA256   string // of its key, "SHA256:…"
	SHA256Hex   string
	SelfSigned  bool
	Certificate string // its file, without the key: for clients
}

func (r *Running) card(g *generation) Card {
	card := Card{
		Anonymous: g.c.Anonymous.Directory != "", Public: g.c.Public,
		SHA256: g.cert.SHA256(), KeySHA256: g.cert.KeySHA256(), SHA256Hex: g.cert.Hex(), SelfSigned: len(g.c.TLS.Certificates) == 0, Certificate: g.publicCert,
	}
	if s := r.single; s != nil {
		card.Dir, card.User = s.Dir, s.Account.Name
		card.ReadOnly = s.Account.Rights == account.ReadOnly
	}
	for _, s := range r.serving {
		card.add(s.rules.Load(), s.l.Addr(), mayBind)
	}
	return card
}

// add adds a listener of a server that may bind some ports.
func (card *Card) add(r *rules, at net.Addr, mayBind func(port uint16) bool) {
	once := func(list *[]string, s string) {
		if !slices.Contains(*list, s) {
			*list = append(*list, s)
		}
	}
	if _, port, err := net.SplitHostPort(at.String()); err == nil {
		once(&card.Ports, port)
	}
	if r.sftp != nil {
		card.SFTP = append(card.SFTP, reachable(at)...)
		for _, k := range r.sftp.HostKeys {
			pub := k.PublicKey()
			once(&card.HostKeys, kindOf(pub.Type())+" "+ssh.FingerprintSHA256(pub))
		}
		return
	}
	rules := r.ftp
	card.Plain = card.Plain || rules.Door.Plain
	card.Excepted = card.Excepted || len(rules.Door.Exceptions) > 0
	to := &card.FTP
	if rules.Implicit {
		to = &card.FTPS
	}
	*to = append(*to, reachable(at)...)
	passive := strings.Split(card.Passive, ", ")
	if card.Passive == "" {
		passive = nil
	}
	once(&passive, rules.Ports.String())
	card.Passive = strings.Join(passive, ", ")
	if !rules.NoActive && rules.ActivePort != 0 && mayBind(rules.ActivePort) {
		once(&card.Active, strconv.Itoa(int(rules.ActivePort)))
	}
}

// kindOf is what people call a type of key.
func kindOf(typ string) string {
	switch {
	case strings.Contains(typ, "ed25519"):
		return "ed25519"
	case strings.Contains(typ, "ecdsa"):
		return "ecdsa"
	}
	return strings.TrimPrefix(typ, "ssh-")
}

// Preview is the card of a server that does not run yet. It makes the certificate
// when there is none, and opens nothing else.
func Preview(c config.Config, log *slog.Logger) (Card, error) {
	r := &Running{log: log, gate: &gate.Gate{}}
	g, err := r.generation(c, nil)
	if err != nil {
		return Card{}, err
	}
	card := r.card(g)
	bind := mayBind
	if c.User != "" { // who has the capability then
		bind = func(uint16) bool { return true }
	}
	for i := range g.c.Listeners {
		l := &g.c.Listeners[i]
		for _, at := range addresses(l) {
			host, port, err := "", uint16(0), error(nil)
			if at != "" {
				host, port, err = config.SplitAddr(at)
			} else {
				port = config.Ports(l.Protocol)[0]
			}
			if err != nil {
				return Card{}, err
			}
			if host == "" {
				host = "::"
			}
			if a, err := netip.ParseAddr(host); err == nil {
				card.add(g.rules[i], net.TCPAddrFromAddrPort(netip.AddrPortFrom(a, port)), bind)
			}
		}
	}
	return card, nil
}

// mayBind tells whether this process may bind a port. It asks with UDP, for which
// the same rule holds: no connection of another is in the way, or hindered.
func mayBind(port uint16) bool {
	p, err := net.ListenPacket("udp", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port))))
	if err != nil {
		return !errors.Is(err, fs.ErrPermission)
	}
	_ = p.Close()
	return true
}

// reachable lists the addresses at which a listener answers: its own, or for
// the wildcard those of this host, loopback first.
func reachable(a net.Addr) []string {
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil || !ap.Addr().IsUnspecified() {
		return []string{a.String()}
	}
	addrs := []netip.Addr{netip.MustParseAddr("127.0.0.1")}
	if ap.Addr().Is6() && hasIPv6() {
		addrs = append(addrs, netip.IPv6Loopback())
	}
	var out []string
	for _, addr := range append(addrs, hostAddrs()...) {
		if ap.Addr().Is4() && !addr.Is4() {
			continue
		}
		out = append(out, netip.AddrPortFrom(addr, ap.Port()).String())
	}
	return out
}

func hasIPv6() bool {
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		return false
	}
	_ = l.Close()
	return true
}

// hostAddrs are the addresses of this host that others may reach.
func hostAddrs() []netip.Addr {
	ifaces, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var out []netip.Addr
	for _, i := range ifaces {
		p, err := netip.ParsePrefix(i.String())
		if err != nil {
			continue
		}
		if a := p.Addr().Unmap(); !a.IsLoopback() && !a.IsLinkLocalUnicast() && !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	slices.SortStableFunc(out, func(a, b netip.Addr) int { return a.BitLen() - b.BitLen() })
	return out
}
