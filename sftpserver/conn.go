package sftpserver

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"

	"dray/account"
	"dray/explain"
	"dray/fault"
	"dray/gate"
)

// maxChannels is how many channels a connection may have open at once.
const maxChannels = 10

// A conn is one SSH connection.
type conn struct {
	server *Server
	rules  *Rules
	wire   *wire
	visit  *gate.Visit
	log    *slog.Logger

	ssh     *ssh.ServerConn
	session *gate.Session // of who logged in; nil before
	auth    string        // the methods that were right, with commas between

	told     atomic.Bool // the client was told why its login is refused
	channels atomic.Int32
	away     atomic.Int32   // reads beside their dialogues
	wg       sync.WaitGroup // of the channels
	silence  silence

	mu       sync.Mutex
	draining bool
	busy     int // channels with open files
	open     map[*paced]struct{}
}

func newConn(s *Server, nc net.Conn, visit *gate.Visit, r *Rules) *conn {
	c := &conn{server: s, rules: r, wire: newWire(nc), visit: visit, log: visit.Log(), open: map[*paced]struct{}{}}
	c.silence.begun = time.Now()
	c.wire.heard = c.silence.spoke
	return c
}

// Drain ends the connection when it has no open files: until then they may be
// closed, and become whole.
func (c *conn) Drain() {
	c.mu.Lock()
	c.draining = true
	quiet := c.busy == 0
	c.mu.Unlock()
	if quiet {
		c.visit.End(fault.New(fault.Closing, fault.IDShutdown))
	}
}

// opened and closed count the channels with open files.
func (c *conn) opened() {
	c.mu.Lock()
	c.busy++
	c.mu.Unlock()
}

func (c *conn) closed() {
	c.mu.Lock()
	c.busy--
	end := c.draining && c.busy == 0
	c.mu.Unlock()
	if end {
		c.visit.End(fault.New(fault.Closing, fault.IDShutdown))
	}
}

// End ends what the connection does, and with that the connection.
func (c *conn) End(cause error) { c.visit.End(cause) }

// Abort closes the socket.
func (c *conn) Abort() { c.wire.Abort() }

// ended is called when the visit or the session ends, under locks of the gate.
func (c *conn) ended() { go c.beside("end", c.part) }

// beside runs what is done beside the channels. A panic in it ends the connection, and
// no other.
func (c *conn) beside(what string, f func()) {
	done := false
	defer func() {
		if !done {
			c.Abort()
		}
	}()
	defer c.server.loop.Caught(what, c.visit.Peer().Remote)
	f()
	done = true
}

// part tells the open channels why they end, as far as that is quickly done. Then
// the read that waits fails, which ends all of the rest.
func (c *conn) part() {
	c.mu.Lock()
	var open []*paced
	for ch := range c.open {
		open = append(open, ch)
	}
	c.mu.Unlock()
	if len(open) > 0 {
		said := make(chan struct{})
		go c.beside("farewell", func() {
			defer close(said)
			for _, ch := range open {
				c.farewell(ch)
			}
		})
		select {
		case <-said:
		case <-time.After(lastWords):
		}
	}
	if c.told.Load() && len(open) == 0 { // package ssh writes nothing more when it can't read
		time.Sleep(tellTime)
	}
	_ = c.wire.Conn.SetReadDeadline(longAgo)
	c.wire.hurry()
}

// stalled ends a connection whose client takes nothing.
func (c *conn) stalled() {
	c.log.Warn("connection ended: the client takes nothing", "after", c.rules.Stall.String())
	c.visit.End(fault.New(fault.Stalled, fault.IDStall, int(c.rules.Stall/time.Second)))
	c.wire.Abort()
}

var longAgo = time.Unix(1, 0)

// serve runs the connection to its end.
func (c *conn) serve() {
	defer c.wire.Close()
	// A login takes a deep stack, which a session that rests has no use for: it goes with
	// its goroutine.
	var channels <-chan ssh.NewChannel
	var requests <-chan *ssh.Request
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.beside("login", func() { channels, requests = c.login() })
	}()
	if <-done; c.session != nil {
		defer c.session.Close()
	}
	if channels == nil {
		return
	}
	c.listen()
	c.asked(channels, requests)
	c.deaf()
	// What has arrived is answered still, because it may be the CLOSE of a file. What
	// takes longer than that is for nobody.
	late := time.AfterFunc(lastWords, func() { c.visit.End(fault.New(fault.Cut, fault.IDUploadCut)) })
	c.wg.Wait()
	late.Stop()
	c.log.Debug("disconnected")
}

// login makes the SSH session and has the client log in; nil when none came about.
func (c *conn) login() (<-chan ssh.NewChannel, <-chan *ssh.Request) {
	c.log.Debug("connected", "peer", c.visit.Peer().Remote.String(), "door", c.rules.Door.Name)
	// One deadline for all of the login, so that a slow talker holds no slot.
	deadline := time.Now().Add(c.rules.LoginTime)
	_ = c.wire.SetDeadline(deadline)
	if c.visit.Context().Err() != nil { // after the deadline was set: the end may have come between
		c.ended()
	}
	version, err := c.wire.exchange(serverVersion)
	if err != nil {
		c.failed(err)
		return nil, nil
	}
	cfg := c.config(version)
	offered := c.wire.offered(time.Now().Add(min(offerTime, time.Until(deadline))))
	cfg.Ciphers = ciphersFor(&offered, cfg.Ciphers)
	_ = c.wire.SetReadDeadline(deadline)
	if c.visit.Context().Err() != nil { // the end may have come between
		c.ended()
	}
	sc, channels, requests, err := ssh.NewServerConn(c.wire, cfg)
	if err != nil {
		c.failed(err)
		return nil, nil
	}
	c.ssh = sc
	_ = c.wire.SetDeadline(time.Time{})
	c.wire.patience(c.rules.Stall)
	c.log = c.session.Log()
	c.log.Debug("client", "version", string(sc.ClientVersion()))
	if c.visit.Context().Err() != nil { // the end may have come before the deadline was taken away
		c.ended()
	}
	c.announceHostKeys()
	return channels, requests
}

// failed logs a login that has not come about.
func (c *conn) failed(err error) {
	var auth *ssh.ServerAuthError
	switch {
	case c.visit.Context().Err() != nil:
		c.log.Info("connection ended", "reason", string(fault.Of(context.Cause(c.visit.Context())).ID))
		if c.told.Load() {
			c.wire.linger()
		}
	case errors.As(err, &auth):
		c.log.Debug("left without a login")
	default:
		c.log.Info("no SSH session came about", "peer", c.visit.Peer().Remote.String(), "error", err)
	}
}

// serverVersion says who we are, and nothing of the version.
const serverVersion = "SSH-2.0-dray"

// serverConfig is what all connections of a listener share.
func serverConfig(r *Rules) *ssh.ServerConfig {
	cfg := &ssh.ServerConfig{
		Config: ssh.Config{
			KeyExchanges: with(keyExchanges, r.Legacy.KeyExchanges),
			Ciphers:      with(ciphers, r.Legacy.Ciphers),
			MACs:         with(macs, r.Legacy.MACs),
		},
		PublicKeyAuthAlgorithms: userAlgorithms,
		ServerVersion:           serverVersion,
		MaxAuthTries:            -1, // the gate counts: questions about keys are no failures
	}
	if r.Legacy.RSASHA1 {
		cfg.PublicKeyAuthAlgorithms = with(userAlgorithms, []string{ssh.KeyAlgoRSA})
	}
	// In the order of preference: those on NIST's curves are for old clients.
	for _, late := range []bool{false, true} {
		for _, k := range r.HostKeys {
			if strings.HasPrefix(k.PublicKey().Type(), "ecdsa-") == late {
				cfg.AddHostKey(modern(k, r.Legacy.RSASHA1))
			}
		}
	}
	return cfg
}

// modern is a host key without SHA-1, unless that is let in.
func modern(k ssh.Signer, sha1 bool) ssh.Signer {
	s, ok := k.(ssh.AlgorithmSigner)
	if !ok || k.PublicKey().Type() != ssh.KeyAlgoRSA {
		return k
	}
	algorithms := []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
	if sha1 {
		algorithms = append(algorithms, ssh.KeyAlgoRSA)
	}
	m, err := ssh.NewSignerWithAlgorithms(s, algorithms)
	if err != nil { // only when the key does not know them
		return k
	}
	return m
}

// config is that of this connection, with its callbacks, for a program.
func (c *conn) config(peerVersion string) *ssh.ServerConfig {
	cfg := *c.rules.config
	cfg.MACs = macsFor(peerVersion, cfg.MACs)
	cfg.PasswordCallback = c.password
	cfg.KeyboardInteractiveCallback = c.keyboard
	cfg.PublicKeyCallback = c.keyWelcome
	cfg.VerifiedPublicKeyCallback = c.publicKey
	cfg.BannerCallback = func(ssh.ConnMetadata) string { // at the first request, also "none" before a prompt
		c.visit.Spoke()
		if c.rules.Banner == "" {
			return ""
		}
		return c.rules.Banner + "\n"
	}
	return &cfg
}

func (c *conn) password(m ssh.ConnMetadata, password []byte) (*ssh.Permissions, error) {
	return c.secret(m, "password", string(password))
}

// secret is a password, by one of two methods.
func (c *conn) secret(m ssh.ConnMetadata, method, password string) (*ssh.Permissions, error) {
	if err := c.over(); err != nil {
		return nil, err
	}
	s, err := c.visit.Password(c.visit.Context(), m.User(), account.NewSecret(password))
	return c.in(method, s, err)
}

// keyboard asks for the password by keyboard-interactive (RFC 4256), for clients
// that know nothing else. The question is the same for every name.
func (c *conn) keyboard(m ssh.ConnMetadata, ask ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
	answers, err := ask("", "", []string{"Password: "}, []bool{false})
	if err != nil {
		return nil, err
	}
	if len(answers) != 1 {
		return nil, errors.New("one answer was wanted")
	}
	return c.secret(m, "keyboard-interactive", answers[0])
}

// keyWelcome is asked before any signature; what it says of one key is kept by
// package ssh for the signature that follows.
func (c *conn) keyWelcome(m ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
	if err := c.over(); err != nil {
		return nil, err
	}
	err := c.visit.KeyWelcome(c.visit.Context(), m.User(), key.Marshal())
	if err != nil {
		return nil, c.refusal(err)
	}
	return &ssh.Permissions{}, nil
}

func (c *conn) publicKey(m ssh.ConnMetadata, key ssh.PublicKey, _ *ssh.Permissions, _ string) (*ssh.Permissions, error) {
	s, err := c.visit.PublicKey(c.visit.Context(), m.User(), key.Marshal())
	return c.in("publickey", s, err)
}

// in is what package ssh wants to hear of a factor, shown by a method.
func (c *conn) in(method string, s *gate.Session, err error) (*ssh.Permissions, error) {
	var more *gate.More
	if err == nil || errors.As(err, &more) {
		c.auth = strings.TrimPrefix(c.auth+","+method, ",")
	}
	switch {
	case err == nil:
		c.session = s
		return &ssh.Permissions{}, nil
	case more != nil:
		var next ssh.ServerAuthCallbacks
		if slices.Contains(more.Methods, account.FactorPassword) {
			next.PasswordCallback, next.KeyboardInteractiveCallback = c.password, c.keyboard
		}
		if slices.Contains(more.Methods, account.FactorKey) {
			next.PublicKeyCallback = c.keyWelcome
		}
		return nil, &ssh.PartialSuccessError{Next: next}
	}
	return nil, c.refusal(err)
}

// over is the error of a try behind the end of the visit. It comes when nothing is
// written any more: there was a last word.
func (c *conn) over() error {
	if c.visit.Context().Err() == nil {
		return nil
	}
	time.Sleep(2 * tellTime)
	return context.Cause(c.visit.Context())
}

// tellTime is how long the refusal of a login may take on its way.
const tellTime = 100 * time.Millisecond

// refusal says why, where there is more to say than that it was wrong: OpenSSH and
// others show it above the next question. Kind Closing ends the connection.
func (c *conn) refusal(err error) error {
	e := fault.Of(err)
	if e.ID == fault.IDAuth {
		return err
	}
	c.told.Store(true)
	if e.Kind == fault.Closing {
		c.visit.End(e)
	}
	return &ssh.BannerError{Err: err, Message: explain.Sentence(e) + "\n"}
}
