package doctor

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"time"

	"dray/explain"
	"dray/fault"
	"dray/ftp"
	"dray/ftpclient"
	"dray/remote"
)

// bothEnds asks a server of dray what it has seen of our connections, and compares that
// with what we have. Where they differ something is in between.
func (p *patient) bothEnds(ctx context.Context) Finding {
	if p.o.Remote.Proxied {
		return skip("the proxy is in between")
	}
	p.main.Lock()
	defer p.main.Unlock()
	c := p.conn
	if c.Err() != nil {
		return skip("the connection is lost")
	}
	before, err := c.Sight(ctx)
	if err != nil {
		return skip("the server is no dray that tells what it sees")
	}
	verbs := []string{"EPSV"}
	if addrOf(c).Is4() {
		verbs = append(verbs, "PASV")
	}
	peer, _ := netip.ParseAddrPort(c.LocalAddr().String())
	f := fine("the server sees us as %s", before.Peer)
	if before.Peer.Addr().Unmap() != peer.Addr().Unmap() {
		f.Saw += ", behind a NAT"
	}
	f = f.with("peer", before.Peer.String()).with("own", peer.String())
	for _, verb := range verbs {
		told, err := c.Passive(ctx, verb)
		if err != nil {
			continue // told elsewhere
		}
		nc, seen, dialed, err := p.sighted(ctx, c, told)
		if err != nil {
			return skip("the server did not tell: %s", explain.Line(fault.Of(err)))
		}
		if nc != nil {
			_ = nc.Close()
		}
		if verdict, ok := p.compared(verb, told, seen, dialed, before.Peer.Addr()); ok {
			return verdict
		}
		if dialed != nil {
			id := why(dialed)
			refused := id == fault.IDRefused || id == fault.IDRejected || p.answered(p.ports)
			switch {
			case seen.Seen == ftp.SeenSYN:
				f.Saw += "; our packets arrive at its port " + port(told) + ", and its answers are lost on the way back"
			case seen.Seen != ftp.SeenNothing:
			case refused:
				f.Saw += "; it listens at its port " + port(told) + " and nothing arrives there: a firewall of that host or on the way rejects it, or another machine answers"
			default: // the packets that a firewall of its own drops are not seen by the server either
				f.Saw += "; nothing arrives at its port " + port(told) + ": a firewall of that host drops it, or one on the way. dray doctor --server there tells: where its firewall lets the range in, it is one on the way"
			}
			f.Verdict = Note
			f = f.with("seen", string(seen.Seen))
			break
		}
	}
	return f
}

// sighted connects to a port and has the server tell of it meanwhile.
func (p *patient) sighted(ctx context.Context, c *ftpclient.Conn, told ftpclient.Port) (nc net.Conn, a ftp.Attempt, dialed, err error) {
	within, cancel := context.WithTimeout(ctx, 1500*time.Millisecond)
	defer cancel()
	type reached struct {
		nc  net.Conn
		err error
	}
	done := make(chan reached, 1)
	go func() {
		nc, err := c.Reach(within, told.Used, p.times.data)
		done <- reached{nc, err}
	}()
	var r reached
	pending := false
	select {
	case r = <-done:
	case <-time.After(500 * time.Millisecond):
		pending = true
	}
	s, err := c.Sight(ctx)
	if pending {
		r = <-done
	}
	if err == nil && len(s.Attempts) == 0 {
		err = errors.New("it told of no data connection")
	}
	if err != nil {
		if r.nc != nil {
			_ = r.nc.Close()
		}
		return nil, a, nil, err
	}
	return r.nc, s.Attempts[len(s.Attempts)-1], r.err, nil
}

// compared tells what is different at the two ends.
func (p *patient) compared(verb string, told ftpclient.Port, seen ftp.Attempt, dialed error, peer netip.Addr) (Finding, bool) {
	u := p.u
	u.Scheme = remote.FTPTLS
	switch {
	case seen.Verb != verb || seen.At.Port() != told.Told.Port() || verb == "PASV" && seen.At.Addr().Unmap() != told.Told.Addr().Unmap():
		what := told.Told.String()
		if verb == "EPSV" {
			what = "port " + port(told)
		}
		f := found(Fail, fault.IDALG, "the server answered %s with %s, and %s arrived here: something between changes it", verb, seen.At, what)
		return f.first(you(p.command("doctor", u, nil, "tls", "plain"), "over TLS nobody on the way can change it:")), true
	case dialed == nil && seen.Seen == ftp.SeenNothing && seen.Outcome == ftp.Waiting:
		f := found(Fail, fault.IDALG, "the connection to port %s of the server stands here, and the server has none: another machine answers for it", port(told))
		return f.first(you(p.command("doctor", u, nil, "tls", "plain"), "over TLS nobody on the way can take part:")), true
	case seen.From.IsValid() && seen.From.Addr().Unmap() != peer.Unmap():
		return found(Fail, fault.IDDataPeer, "the server sees the login come from %s and the data from %s: a NAT with several exits", peer, seen.From.Addr()), true
	case seen.Stranger.IsValid():
		return found(Warn, fault.IDDataPeer, "the server refused %s at our data port: the login came from %s", seen.Stranger.Addr(), peer), true
	}
	return Finding{}, false
}

func port(told ftpclient.Port) string { return strconv.Itoa(int(told.Told.Port())) }
