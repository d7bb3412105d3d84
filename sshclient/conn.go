// Package sshclient makes one SSH connection as OpenSSH's client does, ready for the
// sftp subsystem: it reads ssh_config and known_hosts, asks the agent, unlocks keys,
// goes through jump hosts, and names what went wrong. It also keeps known_hosts for
// those who manage it.
//
// The transport is golang.org/x/crypto/ssh. Nothing here knows SFTP, and nothing
// here talks to a terminal: whoever calls is asked by functions.
//
//   - RFC 4251 to 4254  SSH: architecture, authentication, transport, connection
//   - RFC 4256          keyboard-interactive
//   - RFC 8305          several addresses of one name
//   - ssh_config(5), sshd(8) for the forms of the files
package sshclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"

	"dray/fault"
	"dray/kexinit"
)

const (
	defaultConnect = 10 * time.Second
	maxHops        = 8
	// clientVersion is what we call ourselves (RFC 4253, 4.2).
	clientVersion = "SSH-2.0-dray"
)

// Options say where to connect to and who is asked. The zero value of each is the
// usual case; only Host is needed.
type Options struct {
	Host       string   // a name, an address, or a Host of ssh_config
	Port       int      // 0: ssh_config, else 22
	User       string   // "": ssh_config, else the user of this machine
	Identities []string // files of keys, offered first (-i)
	Jump       string   // "[user@]host[:port],…" (-J); "": ssh_config; "none"
	Config     string   // file in place of ~/.ssh/config and /etc/ssh/ssh_config (-F); "none"
	NoConfig   bool
	Family     string // "tcp4" or "tcp6"; "": ssh_config, else both

	KnownHosts []string // nil: ssh_config, else OpenSSH's files; the first is appended to
	Pins       []string // "SHA256:…" of host keys that are accepted in place of known_hosts
	Insecure   bool     // any host key of the target; jump hosts are still checked

	// Password is asked for the password of the target, when the server takes one;
	// for jump hosts Prompt is asked. It is asked again, with Try counting, when the
	// answer was refused; an error ends that. With ErrNoPassword a dialogue of the server
	// that asks for one is not answered at all where there is no Prompt, and the login ends:
	// an empty answer would be a login that failed. nil: no passwords.
	Password func(ctx context.Context, q Question) (string, error)
	// Ask decides about a host key that is not on file. nil: it is refused.
	Ask func(ctx context.Context, q HostKey) (Answer, error)
	// Prompt answers questions of the server and asks for passphrases, one answer
	// for each. nil: there is nobody to ask.
	Prompt func(ctx context.Context, instruction string, prompts []Prompt) ([]string, error)
	// Unlocked remembers keys whose passphrase Prompt has given, so that several
	// connections ask once. nil: each asks.
	Unlocked *Unlocked
	// Dial makes the connection under SSH, for proxies; the address has the name,
	// not what it resolves to. nil: directly. It is not used behind a jump host, and
	// it is used in place of a ProxyCommand.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)

	Connect time.Duration // for an address, and for each answer; 0: ssh_config, else 10 s
	// Greeting is for the version of the server; 0, or less than Connect: as Connect.
	Greeting time.Duration
	// Silent sends nothing while nobody asks for anything, not even keep-alives: a
	// connection that is lost without a word is found out by the next call at best.
	Silent bool
	Agent  string // socket of the agent; "": ssh_config, else SSH_AUTH_SOCK; "none"

	// Trace is told what happens, a line each: the step and what there is to say of
	// it. No secret is in it; text of the server is clean. It is called by several
	// goroutines, for one connection by one at a time.
	Trace func(step, text string)

	// Offered is told what the server says to know, before one of each kind is chosen.
	Offered func(server kexinit.Offer)

	Home   string              // of the user; "": as the system says
	System string              // "": /etc/ssh
	Env    func(string) string // nil: os.Getenv

	tracing *sync.Mutex
}

// A Question is for a password.
type Question struct {
	Host, User string
	Port       int
	Method     string // "password" or "keyboard-interactive"
	Text       string // as the server puts it
	Try        int    // 1 the first time
}

// A Prompt is one question.
type Prompt struct {
	Text string
	Echo bool // what is typed may be seen
}

func (o Options) trace(step, text string) {
	if o.Trace == nil {
		return
	}
	if o.tracing != nil {
		o.tracing.Lock()
		defer o.tracing.Unlock()
	}
	o.Trace(step, text)
}

// A Conn is one connection that is logged in.
type Conn struct {
	client  *ssh.Client
	wire    *wire
	s       *Settings
	o       Options
	below   []*Conn // jump hosts, the nearest last
	key     ssh.PublicKey
	by      string
	banner  string
	ended   chan struct{}
	endOnce sync.Once

	opened atomic.Bool // a channel was

	mu    sync.Mutex
	cause error
}

// Dial connects and logs in. It takes at most Connect for an address and an answer,
// and three and a half times as long in all, with more for Greeting, not counting the
// time in which a human is asked; cancelling ctx ends it at once. Errors are faults: see Options and the
// table of package explain.
func Dial(ctx context.Context, o Options) (*Conn, error) {
	o.tracing = new(sync.Mutex)
	s, err := Read(o)
	if err != nil {
		return nil, err
	}
	p := newPatience(s.Connect*7/2 + max(o.Greeting-s.Connect, 0))
	return o.dial(ctx, s, p, 0, false)
}

// dial connects to the host of s, through its jump hosts.
func (o Options) dial(ctx context.Context, s *Settings, p *patience, depth int, jump bool) (*Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	if depth > maxHops {
		return nil, fault.Because(fmt.Errorf("more than %d jump hosts, or hosts that are each other's", maxHops), fault.Unreachable, fault.IDSSHFailed, s.Name)
	}
	judge, err := newJudge(o, s, jump)
	if err != nil {
		return nil, err
	}
	var below *Conn
	if hops := s.Hops; len(hops) > 0 && !hops[len(hops)-1].is(s) {
		if below, err = o.through(ctx, s, hops, p, depth); err != nil {
			return nil, err
		}
	}
	c, err := o.handshake(ctx, s, p, judge, below, jump)
	if err != nil && below != nil {
		below.Close()
	}
	return c, err
}

// is says that a jump host is the target itself, as with "Host * ProxyJump bastion".
func (h Hop) is(s *Settings) bool {
	return (strings.EqualFold(h.Host, s.Host) || strings.EqualFold(h.Host, s.Name)) && (h.Port == 0 || h.Port == s.Port) && (h.User == "" || h.User == s.User)
}

// through is a connection to the last of the hops, through those before it.
func (o Options) through(ctx context.Context, s *Settings, hops []Hop, p *patience, depth int) (*Conn, error) {
	last := hops[len(hops)-1]
	h := o
	h.Host, h.Port, h.User, h.Jump = last.Host, last.Port, last.User, ""
	h.Identities, h.Family, h.Offered = nil, "", nil
	if len(hops) > 1 {
		var before []string
		for _, x := range hops[:len(hops)-1] {
			before = append(before, x.String())
		}
		h.Jump = strings.Join(before, ",")
	}
	hs, err := Read(h)
	if err != nil {
		return nil, err
	}
	c, err := h.dial(ctx, hs, p, depth+1, true)
	if err != nil {
		return nil, err
	}
	o.trace("jump", "through "+hs.address())
	return c, nil
}

// open makes the connection under SSH.
func (o Options) open(ctx context.Context, s *Settings, p *patience, below *Conn) (net.Conn, error) {
	// The patience is for all of it; connect has times of its own for an address.
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	p.enter("a connection", s.Connect*3, func() { cancel(context.DeadlineExceeded) })
	defer p.hold()
	began := time.Now()
	var c net.Conn
	var err error
	switch {
	case below != nil:
		var dctx context.Context
		dctx, done := context.WithTimeout(ctx, s.Connect)
		c, err = below.client.DialContext(dctx, "tcp", s.address())
		done()
		var refused *ssh.OpenChannelError
		switch {
		case err == nil:
		case errors.As(err, &refused):
			err = behind(below.s, s, refused, time.Since(began))
		case below.Err() != nil:
			err = below.Err()
		case ctx.Err() == nil || errors.Is(context.Cause(ctx), context.DeadlineExceeded):
			err = unreachable(err, s, time.Since(began))
		}
	case s.Command != "" && o.Dial == nil:
		c, err = o.command(s)
	default:
		c, err = o.connect(ctx, s)
	}
	if err != nil {
		if c := context.Cause(ctx); c != nil {
			if errors.Is(c, context.DeadlineExceeded) {
				return nil, fault.Because(err, fault.Unreachable, fault.IDFiltered, s.Name, s.Port, seconds(time.Since(began)))
			}
			return nil, c
		}
		return nil, err
	}
	return c, nil
}

// behind is what a jump host says of the way from it to the target.
func behind(jump, s *Settings, refused *ssh.OpenChannelError, took time.Duration) error {
	words := clean(refused.Message, 200)
	if words == "" {
		words = refused.Reason.String()
	}
	err := fmt.Errorf("jump host %s: %w", jump.Name, &errTurned{words})
	says := func(list ...string) bool {
		return slices.ContainsFunc(list, func(s string) bool { return strings.Contains(strings.ToLower(words), s) })
	}
	switch {
	case refused.Reason == ssh.Prohibited:
	case says("refused"):
		return fault.Because(err, fault.Unreachable, fault.IDRefused, s.Name, s.Port)
	case says("timed out", "timeout"):
		return fault.Because(err, fault.Unreachable, fault.IDFiltered, s.Name, s.Port, seconds(took))
	case says("no route", "unreachable"):
		return fault.Because(err, fault.Unreachable, fault.IDRejected, s.Name, s.Port)
	case says("not known", "no such host", "name resolution", "no address"):
		return fault.Because(err, fault.Unreachable, fault.IDDNS, s.Name)
	}
	return fault.Because(err, fault.Unreachable, fault.IDProxy, jump.Name, words)
}

// handshake makes the connection, exchanges keys, and logs in.
func (o Options) handshake(ctx context.Context, s *Settings, p *patience, judge *judge, below *Conn, jump bool) (*Conn, error) {
	raw, err := o.open(ctx, s, p, below)
	if err != nil {
		return nil, err
	}
	if _, ok := raw.(*pipe); ok {
		o.trace("connected", "through ProxyCommand") // which may hold a password
	} else {
		o.trace("connected", s.address()+at(raw))
	}
	conn := &Conn{s: s, o: o, ended: make(chan struct{})}
	if below != nil {
		conn.below = append(slices.Clone(below.below), below)
	}
	w := newWire(raw, func(version string) {
		o.trace("server version", clean(version, 255))
		p.next("the key exchange", s.Connect)
	})
	conn.wire = w
	if o.Offered != nil {
		w.offers = o.Offered
	}
	defer context.AfterFunc(ctx, func() { w.Close() })()
	p.enter("the version of the server", max(s.Connect, o.Greeting), func() { w.Close() })
	defer p.hold()

	lg := &login{ctx: ctx, o: o, s: s, jump: jump, wait: p, wire: w, given: map[string]bool{}, refused: map[string][]string{}}
	defer lg.close()
	var keyErr error
	keysDone, told := false, false
	tell := func(a ssh.NegotiatedAlgorithms) {
		if !told {
			o.trace("algorithms", fmt.Sprintf("%s, %s, %s", a.KeyExchange, a.HostKey, a.Write.Cipher))
		}
		told = true
	}
	config := &ssh.ClientConfig{
		Config: ssh.Config{KeyExchanges: s.algorithms.kex, Ciphers: s.algorithms.ciphers, MACs: s.algorithms.macs},
		User:   s.User,
		HostKeyCallback: func(_ string, remote net.Addr, key ssh.PublicKey) error {
			if keysDone { // keys are exchanged again after a while
				if !same(key, conn.key) {
					return errors.New("the host key changed in the middle of the connection")
				}
				return nil
			}
			p.hold()
			conn.key = key
			keyErr = judge.check(ctx, remote, key)
			keysDone = true
			p.next("the answer to the login", 2*s.Connect)
			return keyErr
		},
		BannerCallback:    lg.said,
		ClientVersion:     clientVersion,
		HostKeyAlgorithms: judge.algorithms(),
		AuthCallback: func(c *ssh.ClientAuthContext) (ssh.AuthMethod, error) {
			tell(c.Algorithms)
			return lg.next(c)
		},
	}
	sc, chans, reqs, err := ssh.NewClientConn(w, s.address(), config)
	if err != nil {
		w.Close()
		return nil, o.explain(ctx, err, keyErr, s, p, lg, raw)
	}
	if err := ctx.Err(); err != nil {
		sc.Close()
		return nil, context.Cause(ctx)
	}
	if a, ok := sc.(ssh.AlgorithmsConnMetadata); ok {
		tell(a.Algorithms())
	}
	conn.client = ssh.NewClient(sc, chans, reqs)
	conn.by = lg.current
	if conn.by == "" {
		conn.by = "none"
	}
	if conn.by == methodKey && len(lg.tried) > 0 {
		conn.by += " " + lg.tried[len(lg.tried)-1]
	}
	conn.banner = strings.ToValidUTF8(string(lg.banner), "?")
	o.trace("authenticated by", conn.by)
	go conn.watch()
	if !o.Silent {
		go conn.keepalive()
	}
	return conn, nil
}

func at(c net.Conn) string {
	if a, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		return " at " + a.String()
	}
	return ""
}

// explain turns what package ssh says into a fault.
func (o Options) explain(ctx context.Context, err, keyErr error, s *Settings, p *patience, lg *login, raw net.Conn) error {
	var alien *errAlien
	var turned *errTurned
	var none *ssh.AlgorithmNegotiationError
	what, waited, over := p.lost()
	inLogin := len(lg.allowed) > 0
	words := disconnected(err)
	if c, ok := raw.(*pipe); ok && !lg.wire.spoke.Load() && ctx.Err() == nil {
		if said := c.said(); said != "" {
			return fault.Because(errors.Join(err, &errTurned{said}), fault.Unreachable, fault.IDProxy, "command", said)
		}
	}
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case over:
		return fault.Because(fmt.Errorf("no sign of %s in %v", what, waited.Round(time.Second)), fault.Stalled, fault.IDNoAnswer, s.Name, seconds(waited))
	case keyErr != nil:
		return keyErr
	case lg.fatal != nil:
		return lg.fatal
	case errors.As(err, &alien):
		return fault.Because(alien, fault.Unreachable, fault.IDWrongProto, s.Name, alien.speaks, s.Port, "SSH")
	case strings.Contains(err.Error(), "overflow reading version string"):
		return fault.Because(err, fault.Unreachable, fault.IDWrongProto, s.Name, "something else", s.Port, "SSH")
	case errors.As(err, &turned):
		return fault.Because(turned, fault.Busy, fault.IDBusy, s.Name)
	case errors.Is(err, errSilentEnd):
		return fault.Because(err, fault.Busy, fault.IDBusy, s.Name)
	case errors.As(err, &none):
		id := fault.IDKexCipher
		if none.What == "host key" {
			id = fault.IDHostKeyAlg
		}
		fe := fault.Because(negotiation(none), fault.Unreachable, id, s.Name)
		fe.Do = wayBack(none, s.Host)
		return fe
	case errors.Is(err, errNothingLeft):
		return lg.failure("")
	case inLogin && words != "":
		return lg.failure(words)
	case words != "":
		if refusal(words) {
			return fault.Because(&errTurned{words}, fault.Busy, fault.IDBusy, s.Name)
		}
		return fault.Because(&errTurned{words}, fault.Unreachable, fault.IDSSHFailed, s.Name)
	case lg.wire.failed() != nil && lg.wire.spoke.Load():
		step := "during the key exchange"
		if inLogin {
			step = "during the login"
			if len(lg.tried) > 0 {
				return fault.Because(errors.Join(errors.New("the server closed the connection "+step), lg.failure("").(*fault.Error).Err), fault.NotLoggedIn, fault.IDAuth, s.Name, s.User)
			}
		}
		return fault.Because(fmt.Errorf("the server closed the connection %s: %w", step, lg.wire.failed()), fault.Unreachable, fault.IDSSHFailed, s.Name)
	}
	return fault.Because(errors.New(clean(strings.TrimPrefix(err.Error(), "ssh: "), 500)), fault.Unreachable, fault.IDSSHFailed, s.Name)
}

// disconnected are the words of a server that hung up (RFC 4253, 11.1): package ssh
// has them in the text of its error only.
func disconnected(err error) string {
	text := err.Error()
	i := strings.Index(text, "ssh: disconnect, reason ")
	if i < 0 {
		return ""
	}
	_, words, _ := strings.Cut(text[i:], ": disconnect, reason ")
	_, words, _ = strings.Cut(words, ": ")
	if words = clean(unquote(words), 300); words == "" {
		words = "disconnected"
	}
	return words
}

// negotiation says in plain words that there is no algorithm that both know.
func negotiation(e *ssh.AlgorithmNegotiationError) error {
	list := clean(strings.Join(e.RequestedAlgorithms, ", "), 400)
	if list == "" {
		list = "nothing"
	}
	return &inCommon{fmt.Sprintf("no %s in common: the server offers %s; offered to it: %s", e.What, list, strings.Join(e.SupportedAlgorithms, ", ")), e}
}

// wayBack is how to let in an old algorithm that both know and that is not offered,
// because it is weak.
func wayBack(e *ssh.AlgorithmNegotiationError, host string) []string {
	good, old := ssh.SupportedAlgorithms(), ssh.InsecureAlgorithms()
	var keyword string
	var known []string
	switch {
	case e.What == "key exchange":
		keyword, known = "KexAlgorithms", slices.Concat(good.KeyExchanges, old.KeyExchanges)
	case e.What == "host key":
		keyword, known = "HostKeyAlgorithms", slices.Concat(good.HostKeys, old.HostKeys)
	case strings.HasSuffix(e.What, "cipher"):
		keyword, known = "Ciphers", slices.Concat(good.Ciphers, old.Ciphers)
	case strings.HasSuffix(e.What, "MAC"):
		keyword, known = "MACs", slices.Concat(good.MACs, old.MACs)
	}
	for _, a := range e.RequestedAlgorithms {
		if slices.Contains(known, a) {
			return []string{
				"Have the server updated: what it offers is old and weak. Until then, in ~/.ssh/config:",
				"Host " + host,
				"    " + keyword + " +" + a,
			}
		}
	}
	return nil
}

// inCommon is an error of package ssh in plain words.
type inCommon struct {
	text string
	err  error
}

func (e *inCommon) Error() string { return e.text }
func (e *inCommon) Unwrap() error { return e.err }

// Client is the connection as package ssh has it.
func (c *Conn) Client() *ssh.Client { return c.client }

// Server is the version that the server has sent, "SSH-2.0-…", clean.
func (c *Conn) Server() string { return clean(string(c.client.ServerVersion()), 255) }

// HostKey is the key that the server has shown; a certificate, if it showed one.
func (c *Conn) HostKey() ssh.PublicKey { return c.key }

// Fingerprint is that of the host key: "ED25519 SHA256:…".
func (c *Conn) Fingerprint() string { return fingerprint(c.key) }

// User is who is logged in.
func (c *Conn) User() string { return c.s.User }

// By says how the login was made: "publickey agent: comment ED25519 SHA256:…".
func (c *Conn) By() string { return c.by }

// Banner is what the server has said before the login; it is not clean.
func (c *Conn) Banner() string { return c.banner }

// Settings are those that the connection was made with.
func (c *Conn) Settings() *Settings { return c.s }

// Close ends the connection, and those to the jump hosts.
func (c *Conn) Close() error {
	c.end(net.ErrClosed)
	return nil
}

// Done is closed when the connection has ended; Err says why.
func (c *Conn) Done() <-chan struct{} { return c.ended }

// Err is nil while the connection stands. It is net.ErrClosed after Close, else a
// fault: the server stopped answering, or the connection was lost.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cause
}

func (c *Conn) end(cause error) {
	c.endOnce.Do(func() {
		c.mu.Lock()
		c.cause = cause
		c.mu.Unlock()
		close(c.ended)
		c.wire.Close()
		_ = c.client.Close()
		for _, b := range slices.Backward(c.below) {
			b.end(cause)
		}
	})
}

// watch waits for the end of the connection.
func (c *Conn) watch() {
	err := c.client.Wait()
	if err == nil {
		err = io.EOF
	}
	for _, b := range c.below { // the jump host may be what was lost
		if cause := b.Err(); cause != nil {
			err = cause
			break
		}
	}
	var fe *fault.Error
	if !errors.As(err, &fe) {
		cause := err
		if words := disconnected(err); words != "" {
			cause = &errTurned{words}
		}
		err = fault.Because(cause, fault.Cut, fault.IDLost, c.s.Name)
	}
	c.end(err)
}

// keepalive asks for a sign of life when nothing has come for a while. It ends with
// the connection.
func (c *Conn) keepalive() {
	every := c.s.Alive
	t := time.NewTicker(every)
	defer t.Stop()
	answered := make(chan struct{}, 1)
	asking := false
	for missed := 0; ; {
		select {
		case <-c.ended:
			return
		case <-answered:
			asking, missed = false, 0
		case <-t.C:
			if c.wire.quiet() < every {
				missed = 0
				continue
			}
			if missed >= c.s.AliveCount {
				wait := time.Duration(missed) * every
				c.o.trace("keepalive", "no answer")
				c.end(fault.Because(fmt.Errorf("%d requests for a sign of life were not answered", missed), fault.Stalled, fault.IDNoAnswer, c.s.Name, seconds(wait)))
				return
			}
			missed++
			if !asking {
				asking = true
				go func() {
					// A server that does not know it answers with a refusal (RFC 4254, 4).
					_, _, _ = c.client.SendRequest("keepalive@openssh.com", true, nil)
					answered <- struct{}{}
				}()
			}
		}
	}
}
