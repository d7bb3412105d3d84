// Package sftpserver is the server side of SFTP over SSH, and the SSH under it,
// over listeners that are handed in. It knows the gate, vfs and the words of SFTP;
// where accounts are kept, configuration files and the command line are not its
// business. The transport of SSH, its key exchange and its ciphers are those of
// golang.org/x/crypto/ssh.
//
//   - RFC 4251 to 4254, 4256, 8308, 8332: SSH
//   - draft-ietf-secsh-filexfer-02: SFTP version 3
//   - OpenSSH, PROTOCOL: extensions, host key rotation, strict key exchange
package sftpserver

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"golang.org/x/crypto/ssh"

	"dray/accept"
	"dray/account"
	"dray/explain"
	"dray/fault"
	"dray/gate"
)

// Rules are how one listener behaves. They are asked for at each accept and stay
// with the connection; swapping them is a reload. Zero values are the defaults
// named here.
type Rules struct {
	Door     *gate.Door
	HostKeys []ssh.Signer // one of each kind at least; the first of a kind is offered
	Banner   string       // shown before the login, "": none
	Legacy   Legacy
	// For is the rules of one peer, where they differ from those of the others.
	For       func(peer netip.Addr) *Rules
	LoginTime time.Duration // from accept to login; 30 s
	Idle      time.Duration // without a word of the client; 24 h
	Stall     time.Duration // without the client taking a byte; 120 s
	// Exec runs the commands that are offered beside SFTP, by their first word; a
	// command of another name is refused.
	Exec map[string]Command

	config *ssh.ServerConfig // of all connections, but for the callbacks
}

// A Command is run in a channel of its own, for a client that has logged in. It
// returns the exit status.
type Command func(ctx context.Context, s *gate.Session, command string, ch Stream) int

// A Stream is what a Command reads and writes.
type Stream interface {
	Read(b []byte) (int, error)
	Write(b []byte) (int, error)
	// Tell writes to the standard error of the client.
	Tell(text string)
}

// Complete is r with its defaults, and r itself when that is what it is. Rules
// that are not are completed for each connection.
func (r *Rules) Complete() *Rules {
	if r.config != nil {
		return r
	}
	d := *r
	if d.LoginTime == 0 {
		d.LoginTime = 30 * time.Second
	}
	if d.Idle == 0 {
		d.Idle = 24 * time.Hour
	}
	if d.Stall == 0 {
		d.Stall = 120 * time.Second
	}
	d.config = serverConfig(&d)
	return &d
}

// With is r with algorithms that an exception lets in.
func (r *Rules) With(l Legacy) *Rules {
	d := *r
	d.Legacy, d.For, d.config = l, nil, nil
	return d.Complete()
}

// A Server serves SFTP. One per process.
type Server struct {
	gate *gate.Gate
	log  *slog.Logger
	loop *accept.Loop
	rows [256]*request
	exts map[string]*request
	sums *account.Queue // of checksums, which take a processor each
}

// New makes a Server. log may be nil.
func New(g *gate.Gate, log *slog.Logger) *Server {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s := &Server{gate: g, log: log, loop: accept.New(log), exts: map[string]*request{}, sums: account.NewQueue(0)}
	all := requests()
	for i := range all {
		if row := &all[i]; row.ext != "" {
			s.exts[row.ext] = row
		} else {
			s.rows[row.typ] = row
		}
	}
	return s
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

// ServeConn serves one connection to its end and closes it. A panic ends this
// connection and nothing else.
func (s *Server) ServeConn(nc net.Conn, peer gate.Peer, r *Rules) {
	defer nc.Close()
	if !s.loop.Enter() {
		return
	}
	defer s.loop.Exit()
	defer s.loop.Caught("connection", peer.Remote)
	if t, ok := nc.(*net.TCPConn); ok {
		_ = t.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 15 * time.Second, Count: 6})
	}
	r = r.Complete()
	visit, err := s.gate.Knock(peer)
	if err != nil {
		// What comes before the version is for people (RFC 4253, 4.2), and OpenSSH
		// shows it when the connection ends here.
		_ = nc.SetWriteDeadline(time.Now().Add(time.Second))
		_, _ = nc.Write([]byte(explain.Sentence(fault.Of(err)) + "\r\n"))
		return
	}
	c := newConn(s, nc, visit, r)
	visit.OnEnd(c.ended)
	if s.loop.Add(c) {
		c.Drain()
	}
	defer func() {
		s.loop.Remove(c)
		visit.Leave()
	}()
	c.serve()
}

// Shutdown ends accepting, lets open files be closed by their clients, and ends
// who has none. When ctx ends first, the rest is cut and its error returned.
func (s *Server) Shutdown(ctx context.Context) error { return s.loop.Shutdown(ctx) }
