// Package ftpserver is the server side of FTP and FTPS over listeners that are
// handed in. It knows the gate, transfer, vfs and the words of FTP; where
// accounts are kept, configuration files and the command line are not its
// business.
//
//   - RFC 959   File Transfer Protocol
//   - RFC 1123  section 4.1, host requirements
//   - RFC 2228  AUTH, PBSZ, PROT
//   - RFC 2389  FEAT, OPTS
//   - RFC 2428  EPRT, EPSV
//   - RFC 2577  security considerations
//   - RFC 3659  SIZE, MDTM, REST STREAM, MLST, MLSD
//   - RFC 4217  FTP over TLS
//   - RFC 7151  HOST
package ftpserver

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"dray/accept"
	"dray/account"
	"dray/explain"
	"dray/fault"
	"dray/ftp"
	"dray/gate"
)

// Rules are how one listener behaves. They are asked for at each accept and stay
// with the connection; swapping them is a reload. Zero values are the defaults
// named here.
type Rules struct {
	Door *gate.Door
	// TLS is nil where there is none. It must have session ticket keys set.
	TLS *tls.Config
	// Implicit: TLS from the first byte.
	Implicit bool
	// Host is the configuration with the certificate of a host name, or false
	// (RFC 7151). nil: HOST knows no name.
	Host func(name string) (*tls.Config, bool)
	// ClearData lets data go in the clear on a connection that is itself under
	// TLS. Over a clear-text connection it always may.
	ClearData bool
	Ports     *Ports
	// Tell is the address that PASV tells this peer; nil: the local one. An
	// error refuses PASV.
	Tell func(peer, local netip.Addr) (netip.Addr, error)
	// Session is what is asked of data connections under TLS.
	Session DataSession
	// ActivePort is the port that active data connections come from, where the
	// process may bind it: 20, or 989 for implicit FTPS. 0: any.
	ActivePort uint16
	NoActive   bool // PORT and EPRT are refused
	// For is the rules of one peer, where they differ from those of the others.
	For        func(peer netip.Addr) *Rules
	Transcript []string // accounts whose dialogue is logged
	BareEnd    bool     // uploads over TLS may end without close_notify (tls-end = "accept")
	Greeting   string
	Welcome    string        // after the login, "{user}" is the name; "": one line of ours
	Goodbye    string        // at QUIT
	Allow      []string      // switches that are on: CCC, COPY, FXP, PRET, RMDA
	Deny       []string      // commands to refuse, as "DELE", "SITE CHMOD", "MODE Z"
	IdleMax    time.Duration // what SITE IDLE may ask for; 2 h
	LoginTime  time.Duration // from accept to login; 30 s
	Idle       time.Duration // between commands; 10 min (RFC 1123, 4.1.3.2 wants 5 at least)
	DataWait   time.Duration // for a data connection to come; 20 s
	Stall      time.Duration // without a byte in a transfer; 120 s
	CutGrace   time.Duration // the least wait after the end of a clear-text upload (see grace); 10 ms

	complete bool
}

// A DataSession says whether a data connection under TLS must resume a session
// of the account's own control connections.
type DataSession int

// The policies.
const (
	SessionPrefer  DataSession = iota // taken when offered
	SessionRequire                    // 425 without
	SessionOff                        // never taken
)

// Complete is r with its defaults, and r itself when that is what it is. Rules
// that are not are completed for each connection.
func (r *Rules) Complete() *Rules {
	if r.complete {
		return r
	}
	d := *r
	d.complete = true
	or := func(v *time.Duration, def time.Duration) {
		if *v == 0 {
			*v = def
		}
	}
	or(&d.LoginTime, 30*time.Second)
	or(&d.Idle, 10*time.Minute)
	or(&d.IdleMax, 2*time.Hour)
	or(&d.DataWait, 20*time.Second)
	or(&d.Stall, 120*time.Second)
	or(&d.CutGrace, 10*time.Millisecond)
	if d.Greeting == "" {
		d.Greeting = "dray ready."
	}
	if d.Goodbye == "" {
		d.Goodbye = "Goodbye."
	}
	return &d
}

// A Server serves FTP. One per process: it joins gate, watchdog and the
// transfers to drain.
type Server struct {
	gate    *gate.Gate
	log     *slog.Logger
	table   []command
	site    []command
	rows    map[string]*command
	watch   *watchdog
	tickets *tickets
	sums    *account.Queue // of checksums, which take a processor each

	attendants attendants
	looking    sync.Mutex // one look at the kernel's table at a time

	loop *accept.Loop // connections, and what still drains behind them
}

// New makes a Server. log may be nil.
func New(g *gate.Gate, log *slog.Logger) *Server {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s := &Server{
		gate: g, log: log, table: commands(), site: siteCommands(), rows: map[string]*command{},
		watch: newWatchdog(log), tickets: newTickets(), sums: account.NewQueue(0),
		loop: accept.New(log),
	}
	for i := range s.table {
		s.rows[s.table[i].verb] = &s.table[i]
	}
	return s
}

// siteRow is the row of a command behind SITE, in any case; nil when there is none.
func (s *Server) siteRow(name string) *command {
	for i := range s.site {
		if row := &s.site[i]; strings.EqualFold(row.verb, name) {
			return row
		}
	}
	return nil
}

// Serve accepts on l until it is closed or the server shuts down, and closes it.
// rules is asked at each accept. A listener is no parent: closing it ends no
// connection.
func (s *Server) Serve(l net.Listener, rules func() *Rules) error {
	return s.loop.Serve(l, func(nc net.Conn) { s.Accepted(nc, rules()) })
}

// Accepted serves a connection that somebody has accepted, in a goroutine of its own.
func (s *Server) Accepted(nc net.Conn, r *Rules) {
	peer := gate.Peer{Remote: accept.AddrPort(nc.RemoteAddr()), Local: accept.AddrPort(nc.LocalAddr()), Door: r.Door}
	if r.For != nil {
		r = r.For(peer.Remote.Addr())
	}
	go s.ServeConn(nc, peer, r)
}

// ServeConn serves one control connection to its end and closes it. A panic
// ends this connection and nothing else.
func (s *Server) ServeConn(nc net.Conn, peer gate.Peer, r *Rules) {
	defer nc.Close()
	if !s.loop.Enter() {
		return
	}
	defer s.loop.Exit()
	defer s.loop.Caught("connection", peer.Remote)
	if c := s.admitted(nc, peer, r); c != nil {
		defer s.left(c)
		c.serve()
	}
}

// admitted is a connection that may stay, nil for one that was turned away.
func (s *Server) admitted(nc net.Conn, peer gate.Peer, r *Rules) *conn {
	r = r.Complete()
	if t, ok := nc.(*net.TCPConn); ok {
		// The idle timer rests while data flow; a middlebox must not forget us.
		_ = t.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 15 * time.Second, Count: 6})
		inlineUrgent(t)
	}
	visit, err := s.gate.Knock(peer)
	if err != nil {
		if !r.Implicit { // in clear text on an implicit port nobody would read it
			_ = nc.SetWriteDeadline(time.Now().Add(time.Second))
			_, _ = nc.Write(ftp.Replyf(ftp.C421TooMany, "%s", explain.Sentence(fault.Of(err))).Append(nil))
		}
		return nil
	}
	c := newConn(s, nc, visit, r)
	visit.OnEnd(c.wake)
	if s.loop.Add(c) {
		c.Drain()
		visit.End(fault.New(fault.Closing, fault.IDShutdown))
	}
	return c
}

func (s *Server) left(c *conn) {
	s.loop.Remove(c)
	c.visit.Leave()
}

// Shutdown ends accepting, lets running transfers end, and tells idle clients
// goodbye. When ctx ends first, the rest is cut and its error returned.
func (s *Server) Shutdown(ctx context.Context) error { return s.loop.Shutdown(ctx) }
