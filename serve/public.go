package serve

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"
)

// A publicName is the address that clients from elsewhere reach this host by,
// given as such or as a host name, which is looked up again from time to time:
// many owners of small servers have an address that changes.
type publicName struct {
	name string
	log  *slog.Logger

	mu     sync.Mutex
	addr   netip.Addr // IPv4: what PASV can tell
	looked time.Time
	asking bool
}

// shared100 is shared address space (RFC 6598): the provider's NAT, and overlay
// networks in which both ends have such an address.
var shared100 = netip.MustParsePrefix("100.64.0.0/10")

const lookAgain = 2 * time.Minute

func newPublicName(name string, log *slog.Logger) *publicName {
	p := &publicName{name: name, log: log}
	if name == "" {
		return p
	}
	if a, err := netip.ParseAddr(name); err == nil {
		p.name, p.addr = "", a.Unmap()
		return p
	}
	if err := p.look(); err != nil { // at boot the network may come later than we do
		log.Error("the public name can't be looked up: until it can, clients elsewhere are told an address of this host", "name", name, "error", err)
	}
	return p
}

// fixed is the address when it was given as one.
func (p *publicName) fixed() netip.Addr {
	if p.name != "" {
		return netip.Addr{}
	}
	return p.addr
}

func (p *publicName) look() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip4", p.name)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.looked, p.asking = time.Now(), false
	if err != nil {
		return err
	}
	if a := addrs[0].Unmap(); a != p.addr {
		if p.addr.IsValid() {
			p.log.Info("public address changed", "name", p.name, "address", a.String())
		}
		p.addr = a
	}
	return nil
}

// tell is what PASV tells: on a local network the address that the client has
// reached already, elsewhere the public one, if it is known.
func (p *publicName) tell(peer, local netip.Addr) (netip.Addr, error) {
	addr := p.address()
	near := peer.IsPrivate() || peer.IsLoopback() || peer.IsLinkLocalUnicast() ||
		shared100.Contains(peer) && shared100.Contains(local)
	if !addr.Is4() || near {
		return local, nil
	}
	return addr, nil
}

// address is the last one that is known. It looks the name up again, in the
// background, when that was long ago.
func (p *publicName) address() netip.Addr {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.name != "" && !p.asking && time.Since(p.looked) > lookAgain {
		p.asking = true
		go func() {
			if err := p.look(); err != nil {
				p.log.Warn("public name can't be looked up; the last address stays", "name", p.name, "error", err)
			}
		}()
	}
	return p.addr
}
