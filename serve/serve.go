// Package serve turns a config.Quick into a running server: certificate, gate,
// trees, listeners. It is the only package that does.
package serve

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"dray/account"
	"dray/certs"
	"dray/config"
	"dray/event"
	"dray/ftpserver"
	"dray/gate"
	"dray/guard"
	"dray/vfs"
	"dray/vfs/osfs"
)

// A Running is a server whose listeners are up.
type Running struct {
	Card Card

	log     *slog.Logger
	server  *ftpserver.Server
	disk    *osfs.Disk
	tree    *osfs.Tree
	tls     *tls.Config
	certs   *certs.Set
	public  *publicName
	cancel  context.CancelFunc
	wg      sync.WaitGroup
	serving []serving
}

type serving struct {
	l     net.Listener
	rules *ftpserver.Rules
}

// partialAge is how long a cut upload waits to be resumed.
const partialAge = 7 * 24 * time.Hour

// sweepWait is how long a start waits for what a dead process left behind to be
// put right; a large tree is finished in the background.
const sweepWait = 2 * time.Second

// Start brings up what c says, which must have its defaults and no problems. It
// serves until Stop.
func Start(c config.Quick, log *slog.Logger) (_ *Running, err error) {
	r := &Running{log: log}
	defer func() {
		if err != nil {
			r.release()
		}
	}()
	durability := osfs.SyncCommit
	if c.Sync == "none" {
		durability = osfs.SyncNone
	}
	r.disk = osfs.NewDisk(durability, log)
	tree, err := r.disk.Open(c.Dir)
	if err != nil {
		return nil, err
	}
	r.tree = tree
	r.public = newPublicName(c.Public, log)
	cert, err := certificate(c, r.public)
	if err != nil {
		return nil, err
	}
	if cert.Note != "" {
		log.Info("certificate", "note", cert.Note)
	}
	public, perr := cert.WritePublic(c.State)
	if perr != nil { // a state directory that is only to be read is no reason not to start
		log.Warn("the copy of the certificate for clients can't be written", "error", perr)
		public = ""
	}
	r.certs = certs.NewSet(cert)
	r.tls = certs.ServerConfig(r.certs)
	keys := rotate(r.tls, nil)

	verifier := account.NewOne(named(c), c.Password, anonymous(c))
	g := &gate.Gate{
		Guard: guard.New(limits(), nil), Verifier: verifier, Log: log, Events: event.Discard,
		Trees: func(context.Context, account.Account) (vfs.FS, error) { return shared{r.tree}, nil },
	}
	r.server = ftpserver.New(g, log)

	first, last, err := config.PassiveRange(c.Passive)
	if err != nil {
		return nil, err
	}
	ports := ftpserver.NewPorts(first, last)
	if err := r.listen(c, ports); err != nil {
		return nil, err
	}

	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	r.sweep(ctx)
	r.Card = r.card(c, cert, public)
	r.wg.Go(func() { r.housekeep(ctx, keys) })
	for _, s := range r.serving {
		r.wg.Go(func() {
			if err := r.server.Serve(s.l, func() *ftpserver.Rules { return s.rules }); err != nil && !errors.Is(err, net.ErrClosed) {
				log.Error("listener ended", "listener", s.l.Addr().String(), "error", err)
			}
		})
	}
	return r, nil
}

// shared is a tree that outlives the sessions that close it.
type shared struct{ *osfs.Tree }

func (shared) Close() error { return nil }

func named(c config.Quick) *account.Account {
	a := &account.Account{Name: c.User, Rights: account.Full}
	if c.ReadOnly {
		a.Rights = account.ReadOnly
	}
	return a
}

func anonymous(c config.Quick) *account.Account {
	if !c.Anonymous {
		return nil
	}
	return &account.Account{Name: "anonymous", Rights: account.ReadOnly, Anonymous: true}
}

// limits are those of guard, within what the process may open: a session in an
// upload has six descriptors, the pipe of splice included.
func limits() guard.Limits {
	total := 10000
	if n := maxFiles(); n > 0 {
		total = max(16, min(total, n/6))
	}
	return guard.Limits{
		Total: total, PerAddress: max(8, total/2),
		Pending: max(8, min(2000, total/4)), PendingPerAddress: max(8, min(200, total/8)),
	}
}

func certificate(c config.Quick, public *publicName) (*certs.Certificate, error) {
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

// rotate gives the configuration a new key for session tickets and keeps the
// two before it for tickets that are out.
func rotate(cfg *tls.Config, keys [][32]byte) [][32]byte {
	var key [32]byte
	_, _ = rand.Read(key[:]) // never fails (crypto/rand, Go 1.24)
	keys = append([][32]byte{key}, keys...)
	keys = keys[:min(len(keys), 3)]
	cfg.SetSessionTicketKeys(keys)
	return keys
}

func (r *Running) listen(c config.Quick, ports *ftpserver.Ports) error {
	open := func(field, addr string, port, high uint16, implicit bool) error {
		if addr == config.Off {
			return nil
		}
		ls, err := listeners(addr, port, high, r.log)
		if err != nil {
			return fmt.Errorf("%s: %w", field, err)
		}
		for _, l := range ls {
			r.serving = append(r.serving, serving{l, r.rules(c, ports, implicit)})
		}
		return nil
	}
	return errors.Join(
		open("--ftp", c.FTP, config.PortFTP, config.PortFTPHigh, false),
		open("--ftps", c.FTPS, config.PortFTPS, config.PortFTPSHigh, true),
	)
}

func (r *Running) rules(c config.Quick, ports *ftpserver.Ports, implicit bool) *ftpserver.Rules {
	door := &gate.Door{Name: "ftp", Protocol: "ftp", Plain: c.Plain, AnonymousPlain: c.Anonymous}
	rules := &ftpserver.Rules{
		Door: door, TLS: r.tls, Implicit: implicit, ClearData: c.Plain && !implicit, Ports: ports,
		Tell: r.public.tell, ActivePort: 20,
		Host: func(name string) (*tls.Config, bool) {
			if !r.certs.Has(name) {
				return nil, false
			}
			cert := r.certs.For(name)
			cfg := r.tls.Clone()
			cfg.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &cert.TLS, nil }
			return cfg, true
		},
	}
	if implicit {
		door.Name, door.Protocol, rules.ActivePort = "ftps", "ftps", 989
	}
	return rules
}

// listeners binds addr, or without one the port of the protocol on all
// addresses, else, where that may not be or is taken, the high one.
func listeners(addr string, port, high uint16, log *slog.Logger) ([]net.Listener, error) {
	if addr != "" {
		host, p, err := config.SplitAddr(addr)
		if err != nil {
			return nil, err
		}
		l, err := net.Listen("tcp", net.JoinHostPort(host, fmt.Sprint(p)))
		if err != nil {
			return nil, why(err, p)
		}
		return []net.Listener{l}, nil
	}
	l, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
	if err == nil {
		return []net.Listener{l}, nil
	}
	log.Info("another port is taken", "wanted", port, "port", high, "because", why(err, port))
	if l, err = net.Listen("tcp", fmt.Sprintf(":%d", high)); err != nil {
		return nil, why(err, high)
	}
	return []net.Listener{l}, nil
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

// sweep puts right what a dead process left behind, before the first client if
// that is quickly done.
func (r *Running) sweep(ctx context.Context) {
	done := make(chan struct{})
	r.wg.Go(func() {
		defer close(done)
		r.sweepOnce(ctx)
	})
	select {
	case <-done:
	case <-time.After(sweepWait):
		r.log.Info("the tree is large: leftovers of an earlier run are looked for in the background")
	}
}

func (r *Running) sweepOnce(ctx context.Context) {
	var files, bytes int64
	err := r.tree.Sweep(ctx, time.Now().Add(-partialAge), func(n int64) { files++; bytes += n })
	if err != nil && ctx.Err() == nil {
		r.log.Warn("part of the tree can't be looked through", "error", err)
	}
	if files > 0 {
		r.log.Info("old unfinished uploads put away", "files", files, "bytes", bytes)
	}
}

// housekeep does what has to be done from time to time.
func (r *Running) housekeep(ctx context.Context, keys [][32]byte) {
	hourly, daily := time.NewTicker(time.Hour), time.NewTicker(24*time.Hour)
	defer hourly.Stop()
	defer daily.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-hourly.C:
			r.sweepOnce(ctx)
		case <-daily.C:
			keys = rotate(r.tls, keys)
		}
	}
}

// release gives back what a start that failed has taken.
func (r *Running) release() {
	for _, s := range r.serving {
		_ = s.l.Close()
	}
	if r.tree != nil {
		_ = r.tree.Close()
	}
}

// Stop ends accepting and lets transfers finish until ctx ends; then it cuts
// them.
func (r *Running) Stop(ctx context.Context) error {
	err := r.server.Shutdown(ctx)
	r.cancel()
	r.wg.Wait()
	return errors.Join(err, r.tree.Close())
}

// A Card is what a client, and whoever opens the firewall, has to know.
type Card struct {
	Dir         string
	FTP, FTPS   []string // addresses that answer, host:port
	User        string
	Anonymous   bool
	Plain       bool
	ReadOnly    bool
	Passive     string
	Public      string
	SHA256      string // of the certificate, colon separated
	SHA256Hex   string
	Certificate string // its file, without the key: for clients
}

func (r *Running) card(c config.Quick, cert *certs.Certificate, public string) Card {
	card := Card{
		Dir: c.Dir, User: c.User, Anonymous: c.Anonymous, Plain: c.Plain, ReadOnly: c.ReadOnly, Passive: c.Passive,
		Public: c.Public, SHA256: cert.SHA256(), SHA256Hex: cert.Hex(), Certificate: public,
	}
	for _, s := range r.serving {
		if s.rules.Implicit {
			card.FTPS = append(card.FTPS, reachable(s.l.Addr())...)
		} else {
			card.FTP = append(card.FTP, reachable(s.l.Addr())...)
		}
	}
	return card
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
