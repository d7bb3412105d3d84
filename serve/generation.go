package serve

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"dray/account"
	"dray/certs"
	"dray/config"
	"dray/ftpserver"
	"dray/gate"
)

// A generation is what one configuration has made: what connections get that
// are accepted while it is the newest. They keep it to their end.
type generation struct {
	c          config.Config
	rules      []*rules      // of each listener
	hostKeys   []ssh.Signer  // of SSH; nil where nobody speaks it
	userCAs    [][]byte      // of SSH
	tls        []*tls.Config // to be given the keys of tickets
	set        *certs.Set
	cert       *certs.Certificate // of clients that name no host
	certs      []*certs.Certificate
	publicCert string // a copy of it for clients, "" when there is none
	ports      map[string]*ftpserver.Ports
	names      map[string]*publicName
	anonymous  *account.Account
}

// generation makes one, with what it can go on with from the one before: passive
// ranges, because their ports are in use, and names that were looked up.
func (r *Running) generation(c config.Config, old *generation) (*generation, error) {
	if len(c.Listeners) == 0 {
		c.Listeners = config.DefaultListeners()
	}
	g := &generation{c: c, ports: map[string]*ftpserver.Ports{}, names: map[string]*publicName{}}
	if old == nil {
		old = g
	}
	public := r.publicName(g, old, c.Public)
	all, err := r.certificates(c, public)
	if err != nil {
		return nil, err
	}
	g.certs = all
	g.set, g.cert = certs.NewSet(all[0], all[1:]...), all[0]
	if len(c.TLS.Certificates) == 0 {
		var perr error
		if g.publicCert, perr = g.cert.WritePublic(c.State); perr != nil { // a state directory that is only to be read is no reason not to start
			r.log.Warn("the copy of the certificate for clients can't be written", "error", perr)
			g.publicCert = ""
		}
	}
	verifier := r.gate.Verifier
	if r.db != nil {
		g.anonymous = strangers(c)
		verifier = r.checker.With(g.anonymous)
	}
	if err := g.ssh(); err != nil {
		return nil, err
	}
	var errs []error
	for i := range c.Listeners {
		l, by := &c.Listeners[i], &rules{}
		var err error
		if l.Protocol == gate.ProtocolSFTP {
			by.sftp = g.sftp(l, verifier)
		} else {
			by.ftp, err = r.rules(g, old, l, all, verifier)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("listener %s: %w", l.Name, err))
		}
		g.rules = append(g.rules, by)
	}
	for _, e := range c.Exceptions {
		if left := time.Until(e.Until.End()); left <= 0 {
			r.log.Warn("an exception is over: it counts no more", "allow", e.Allow, "until", e.Until.Format(time.DateOnly), "reason", e.Reason)
		} else {
			r.log.Warn("exception", "allow", e.Allow, "account", e.Account, "listener", e.Listener, "network", e.Network.String(),
				"until", e.Until.Format(time.DateOnly), "reason", e.Reason)
		}
	}
	return g, errors.Join(errs...)
}

// strangers is the account of anonymous, nil when there is none.
func strangers(c config.Config) *account.Account {
	an := c.Anonymous
	if an.Directory == "" {
		return nil
	}
	a := &account.Account{
		Name: "anonymous", Anonymous: true, Rights: account.ReadOnly, Home: an.Directory,
		MaxSessions: an.MaxSessions, MaxBytes: int64(an.MaxBytes), RateDown: int64(an.RateDown), RateUp: int64(an.RateUp),
	}
	if an.Incoming != "" {
		a.Paths = []account.PathRights{{Path: "/" + an.Incoming, Rights: account.Write}}
	}
	return a
}

// publicName is the name as the generation before has looked it up, or a new one.
func (r *Running) publicName(g, old *generation, name string) *publicName {
	if p := old.names[name]; p != nil {
		g.names[name] = p
		return p
	}
	p := newPublicName(name, r.log)
	g.names[name] = p
	return p
}

// certificates are those of the configuration, or the self-signed one.
func (r *Running) certificates(c config.Config, public *publicName) ([]*certs.Certificate, error) {
	if len(c.TLS.Certificates) == 0 {
		cert, err := selfSigned(c, public)
		if err != nil {
			return nil, err
		}
		if cert.Note != "" {
			r.log.Info("certificate", "note", cert.Note)
		}
		return []*certs.Certificate{cert}, nil
	}
	var all []*certs.Certificate
	var errs []error
	for _, pair := range c.TLS.Certificates {
		cert, err := certs.Load(pair.File, pair.Key)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, p := range cert.Problems() {
			r.log.Warn("certificate", "file", pair.File, "problem", p)
		}
		all = append(all, cert)
	}
	return all, errors.Join(errs...)
}

func selfSigned(c config.Config, public *publicName) (*certs.Certificate, error) {
	var names []string
	if c.Public != "" {
		if _, err := netip.ParseAddr(c.Public); err != nil {
			names = append(names, c.Public)
		}
	}
	if host, err := os.Hostname(); err == nil && host != "" && !slices.Contains(names, host) {
		names = append(names, host)
	}
	names = append(names, "localhost")
	ips := append(hostAddrs(), netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback())
	if a := public.fixed(); a.IsValid() {
		ips = append(ips, a)
	}
	return certs.SelfSigned(c.State, names, ips, time.Now())
}

// rules are those of one listener.
func (r *Running) rules(g, old *generation, l *config.Listener, all []*certs.Certificate, verifier account.Verifier) (*ftpserver.Rules, error) {
	c := g.c
	door := &gate.Door{
		Name: l.Name, Protocol: l.Protocol, Plain: l.Plain, Networks: l.Networks, Verifier: verifier,
		AnonymousPlain: c.Anonymous.Directory != "" && c.Anonymous.Plain, MaxSessions: c.Limits.SessionsPerAccount,
	}
	own := all
	if l.Certificate != "" { // those that name it first
		own = slices.Clone(all)
		slices.SortStableFunc(own, func(a, b *certs.Certificate) int {
			return covers(b, l.Certificate) - covers(a, l.Certificate)
		})
		if covers(own[0], l.Certificate) == 0 {
			return nil, fmt.Errorf("no certificate is for %q", l.Certificate)
		}
	}
	set := certs.NewSet(own[0], own[1:]...)
	cfg := certs.ServerConfig(set)
	if c.TLS.MinVersion == "1.3" {
		cfg.MinVersion = tls.VersionTLS13
	}
	if l.AsksCertificate() {
		cfg.ClientAuth = tls.RequestClientCert
	}
	if l.ClientCA != "" {
		pem, err := os.ReadFile(l.ClientCA)
		if err != nil {
			return nil, err
		}
		door.ClientCA = x509.NewCertPool()
		if !door.ClientCA.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate in PEM form", l.ClientCA)
		}
		cfg.ClientCAs = door.ClientCA // clients choose by the names of the CAs
	}
	g.tls = append(g.tls, cfg)

	passive := l.Passive
	if passive == "" {
		passive = c.Passive
	}
	ports := g.ports[passive]
	if ports == nil {
		if ports = old.ports[passive]; ports == nil {
			first, last, err := config.PassiveRange(passive)
			if err != nil {
				return nil, err
			}
			ports = ftpserver.NewPorts(first, last)
		}
		g.ports[passive] = ports
	}
	rules := &ftpserver.Rules{
		Door: door, TLS: cfg, Implicit: l.Protocol == "ftps", ClearData: l.ClearData, Ports: ports, Tell: r.teller(g, old),
		Host: hosts(set, cfg), ActivePort: activePort(l), NoActive: !l.Active, BareEnd: l.TLSEnd == "accept",
		Greeting: c.Messages.Banner, Welcome: c.Messages.Welcome, Goodbye: c.Messages.Goodbye,
		Allow: c.Commands.Allow, Deny: denied(c.Commands.Deny),
		LoginTime: c.Limits.LoginTime, Idle: c.Limits.Idle, IdleMax: c.Limits.IdleMax, DataWait: c.Limits.DataWait, Stall: c.Limits.Stall,
		Transcript: c.Log.Transcript,
	}
	if l.Banner != "" {
		rules.Greeting = l.Banner
	}
	switch l.DataSession {
	case "require":
		rules.Session = ftpserver.SessionRequire
	case "off":
		rules.Session = ftpserver.SessionOff
	}
	var old2 []config.Exception
	for _, e := range c.Exceptions {
		switch {
		case e.Listener != "" && e.Listener != l.Name, strings.HasPrefix(e.Allow, "ssh-"):
		case e.Allow == "plain":
			door.Exceptions = append(door.Exceptions, gate.Exception{Account: e.Account, Network: e.Network, Until: e.Until.End()})
		default:
			old2 = append(old2, e)
		}
	}
	rules = rules.Complete()
	if len(old2) > 0 {
		rules.For = func(peer netip.Addr) *ftpserver.Rules { return excepted(rules, set, old2, peer, time.Now()) }
	}
	return rules, nil
}

func covers(c *certs.Certificate, name string) int {
	if c.Leaf.VerifyHostname(name) == nil {
		return 1
	}
	return 0
}

func denied(names []string) []string {
	var out []string
	for _, n := range names {
		out = append(out, strings.ToUpper(strings.Join(strings.Fields(n), " ")))
	}
	return out
}

func activePort(l *config.Listener) uint16 {
	switch {
	case l.ActivePort >= 0:
		return uint16(l.ActivePort)
	case l.Protocol == "ftps":
		return 989
	}
	return 20
}

// hosts is Rules.Host for the certificates of a set.
func hosts(set *certs.Set, cfg *tls.Config) func(string) (*tls.Config, bool) {
	return func(name string) (*tls.Config, bool) {
		cert := set.For(name)
		if cert == nil {
			return nil, false
		}
		own := cfg.Clone()
		own.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &cert.TLS, nil }
		return own, true
	}
}

// excepted is rules for one peer, with the old ways that exceptions let in for
// it now.
func excepted(rules *ftpserver.Rules, set *certs.Set, exceptions []config.Exception, peer netip.Addr, now time.Time) *ftpserver.Rules {
	oldest, weak, bare := uint16(0), false, false
	for _, e := range exceptions {
		if e.Network.IsValid() && !e.Network.Contains(peer.Unmap().WithZone("")) || !now.Before(e.Until.End()) {
			continue
		}
		switch e.Allow {
		case "tls-end":
			bare = true
		case "tls1.0":
			oldest = tls.VersionTLS10
		case "tls1.1":
			if oldest == 0 {
				oldest = tls.VersionTLS11
			}
		case "old-ciphers":
			weak = true
		}
	}
	if oldest == 0 && !weak && !bare {
		return rules
	}
	own := *rules
	own.For = nil
	own.BareEnd = own.BareEnd || bare
	if oldest != 0 || weak {
		cfg := rules.TLS.Clone()
		if oldest != 0 {
			cfg.MinVersion = oldest
		}
		// Versions before 1.2 know none of the modern suites: they get those of
		// their time that have forward secrecy.
		cfg.CipherSuites = slices.Clone(cfg.CipherSuites)
		for _, s := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
			if strings.Contains(s.Name, "_RC4_") || strings.Contains(s.Name, "_3DES_") {
				continue
			}
			if weak || strings.HasPrefix(s.Name, "TLS_ECDHE_") && strings.HasSuffix(s.Name, "_CBC_SHA") {
				cfg.CipherSuites = append(cfg.CipherSuites, s.ID)
			}
		}
		own.TLS, own.Host = cfg, hosts(set, cfg)
	}
	return &own
}

// teller is Rules.Tell: the address for the network that the peer is in, else the
// public one.
func (r *Running) teller(g, old *generation) func(peer, local netip.Addr) (netip.Addr, error) {
	public := r.publicName(g, old, g.c.Public)
	type near struct {
		network netip.Prefix
		name    *publicName // nil: the local address
	}
	var nears []near
	for _, p := range g.c.PublicFor {
		n := near{network: p.Network}
		if p.Address != "local" {
			n.name = r.publicName(g, old, p.Address)
		}
		nears = append(nears, n)
	}
	slices.SortStableFunc(nears, func(a, b near) int { return b.network.Bits() - a.network.Bits() }) // the narrowest first
	return func(peer, local netip.Addr) (netip.Addr, error) {
		for _, n := range nears {
			if !n.network.Contains(peer.Unmap().WithZone("")) {
				continue
			}
			if n.name != nil {
				if a := n.name.address(); a.Is4() {
					return a, nil
				}
			}
			return local, nil
		}
		return public.tell(peer, local)
	}
}

// adoptKeys gives a generation that is about to serve the keys of tickets that
// are out, or the first one. r.mu is held, or nobody else has r yet.
func (r *Running) adoptKeys(g *generation) {
	if r.keys == nil {
		r.rotate(g)
		return
	}
	for _, cfg := range g.tls {
		cfg.SetSessionTicketKeys(r.keys)
	}
}

// rotate makes a new key for session tickets and keeps the two before it for
// tickets that are out.
func (r *Running) rotate(g *generation) {
	var key [32]byte
	_, _ = rand.Read(key[:]) // never fails (crypto/rand, Go 1.24)
	r.keys = append([][32]byte{key}, r.keys...)
	r.keys = r.keys[:min(len(r.keys), 3)]
	for _, cfg := range g.tls {
		cfg.SetSessionTicketKeys(r.keys)
	}
}
