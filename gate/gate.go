// Package gate is the one door: it admits peers, logs users in, and hands out
// Sessions that check rights, hold meters and quota, and emit events. Every
// protocol goes through it; it speaks none of them.
package gate

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base32"
	"encoding/hex"
	"errors"
	"io/fs"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"dray/account"
	"dray/event"
	"dray/explain"
	"dray/fault"
	"dray/guard"
	"dray/vfs"
)

// Trees opens the tree of an account. The Session closes it.
type Trees func(ctx context.Context, a account.Account) (vfs.FS, error)

// A Gate lets peers in. Its fields are set before use; Directory may be nil (no
// certificate logs in, nobody is looked up again), Ledger (no quota), Events and
// Log too.
type Gate struct {
	Guard     *guard.Guard
	Verifier  account.Verifier
	Directory account.Directory
	Trees     Trees
	Ledger    account.Ledger
	Events    event.Sink
	Log       *slog.Logger
	Now       func() time.Time // nil: time.Now

	live    live
	turns   turns
	tails   tails
	appends appends
}

// A Door is one listener's rules: plain data, swapped whole.
type Door struct {
	Name     string // of the listener, for the log
	Protocol string // "ftp", "ftps", ProtocolSFTP
	// Plain lets passwords come in clear text. Then every name is asked for one
	// and the password alone decides.
	Plain bool
	// Networks may connect; none: everybody.
	Networks []netip.Prefix
	// AnonymousPlain lets "anonymous" and "ftp" log in over clear text: there is
	// no secret in it.
	AnonymousPlain bool
	// Exceptions let passwords come in clear text from some networks.
	Exceptions []Exception
	// Verifier is that of this door; nil: the gate's.
	Verifier account.Verifier
	// MaxSessions is how many an account may have at once that has no limit of its
	// own; 0: any number.
	MaxSessions int
	// ClientCA are the roots of certificates that log in to accounts with "ca".
	ClientCA *x509.CertPool
	// UserCAs are the keys of SSH, as it sends them, whose certificates log in to the
	// accounts that they name.
	UserCAs [][]byte
}

// ProtocolSFTP is the Protocol of a Door of SSH.
const ProtocolSFTP = "sftp"

// An Exception lets clear text in from one network until a time: for one account,
// or with an empty name for all. From there every name is asked for a password,
// and that of an account without the exception is refused as a wrong one.
type Exception struct {
	Account string
	Network netip.Prefix
	Until   time.Time
}

// A Peer is who knocks. Remote is the real client, also behind a proxy.
type Peer struct {
	Remote, Local netip.AddrPort
	Door          *Door
}

// A Visit is one control connection, from Knock to Leave.
type Visit struct {
	gate   *Gate
	peer   Peer
	id     string
	slot   *guard.Slot
	ctx    context.Context
	cancel context.CancelCauseFunc
	log    *slog.Logger

	mu      sync.Mutex
	tls     bool
	version uint16 // of TLS
	chain   []*x509.Certificate
	in      *Session // nil: nobody; ended with the visit
	onEnd   func()
	asked   int // names whose certificate was looked at

	keys   int      // of SSH, that were asked for
	passer string   // the account that has shown some of its factors
	passed []string // which
}

// maxAsked is for how many names one connection may ask with its certificate.
const maxAsked = 8

// Knock asks to be let in: bans, then limits per address, then in total. The
// error is a *fault.Error of kind Closing, to be said before the door shuts.
// Every Visit ends by Leave.
//
// A visit has no parent context, and neither have its sessions: what an idle one
// holds is kept small, and a parent keeps a channel and a map for its children.
func (g *Gate) Knock(peer Peer) (*Visit, error) {
	ctx, cancel := context.WithCancelCause(context.Background())
	v := &Visit{gate: g, peer: peer, id: newID(), ctx: ctx, cancel: cancel}
	var err error
	if !within(peer.Door.Networks, peer.Remote.Addr()) {
		err = fault.New(fault.Closing, fault.IDNetwork)
	} else {
		v.slot, err = g.Guard.Admit(peer.Remote.Addr(), v.End)
	}
	v.log = tagged(g.logger(), v.id, "")
	if err != nil {
		cancel(err)
		v.log.Warn("turned away", append([]any{"peer", peer.Remote.String(), "door", peer.Door.Name}, reason(fault.Of(err))...)...)
		g.emit(ctx, event.Refusal{Meta: v.meta(""), Verb: "connect", Reason: string(fault.Of(err).ID)})
		return nil, err
	}
	return v, nil
}

// within tells whether an address is in one of the networks; none: all are.
func within(networks []netip.Prefix, from netip.Addr) bool {
	from = from.Unmap().WithZone("")
	return len(networks) == 0 || slices.ContainsFunc(networks, func(n netip.Prefix) bool { return n.Contains(from) })
}

func (g *Gate) logger() *slog.Logger {
	if g.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return g.Log
}

func (g *Gate) now() time.Time {
	if g.Now == nil {
		return time.Now()
	}
	return g.Now()
}

func (g *Gate) emit(ctx context.Context, e any) {
	if g.Events != nil {
		g.Events.Event(ctx, e)
	}
}

// filled are attributes of a log line without those that are empty.
func filled(attrs ...any) []any {
	var out []any
	for pair := range slices.Chunk(attrs, 2) {
		if pair[1] != nil && pair[1] != "" {
			out = append(out, pair...)
		}
	}
	return out
}

// reason is what a log line says about a refusal.
func reason(e *fault.Error) []any {
	return filled("reason", string(e.ID), "facts", explain.Facts(e), "error", e.Err)
}

func newID() string {
	var b [5]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand, Go 1.24)
	return strings.ToLower(base32.StdEncoding.EncodeToString(b[:]))
}

// ID names the control connection, in logs, events and tickets.
func (v *Visit) ID() string { return v.id }

// Log is the log of this connection.
func (v *Visit) Log() *slog.Logger { return v.log }

// Peer is who knocked.
func (v *Visit) Peer() Peer { return v.peer }

// Context ends when the connection must: crowded out, kicked, shut down. Its
// cause is a *fault.Error.
func (v *Visit) Context() context.Context { return v.ctx }

// End ends the connection's context and that of its session.
func (v *Visit) End(cause error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.cutLocked(cause)
	if v.onEnd != nil {
		v.onEnd()
	}
}

func (v *Visit) cutLocked(cause error) {
	v.cancel(cause)
	if v.in != nil {
		v.in.cancel(cause)
	}
}

// OnEnd has f called when the connection, or the session that it has then, is
// ended: from any goroutine, maybe more than once, also after Leave. It is called
// under locks, so f neither waits nor locks.
func (v *Visit) OnEnd(f func()) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.onEnd = f
	if v.ctx.Err() != nil {
		f()
	}
}

// out forgets a session that is over: who ends it late must not wake the next.
func (v *Visit) out(s *Session) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.in == s {
		v.in = nil
	}
}

// Spoke tells that the peer said something; those who never do are the first
// to be crowded out.
func (v *Visit) Spoke() { v.slot.Spoke() }

// Secured tells that the connection is under TLS now, and with which certificate
// of the client, whose key the handshake has proved.
func (v *Visit) Secured(cs tls.ConnectionState) {
	v.mu.Lock()
	v.tls, v.version, v.chain = true, cs.Version, cs.PeerCertificates
	v.mu.Unlock()
}

func (v *Visit) secured() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.tls
}

// Leave frees the slot. It is always called, once.
func (v *Visit) Leave() {
	v.mu.Lock()
	v.cutLocked(context.Canceled)
	v.mu.Unlock()
	v.slot.Release()
}

func (v *Visit) meta(user string) event.Meta {
	return event.Meta{Time: v.gate.now(), Session: v.id, Protocol: v.peer.Door.Protocol, Remote: v.peer.Remote, User: user}
}

// An Ask is what a user has to show.
type Ask int

// What Name answers.
const (
	AskPassword Ask = iota
	AskNothing      // the certificate suffices: Certificate logs in
)

// Name hears a user name. Whether the name exists is told to nobody but who has
// a certificate of that account: the answer depends on the door and the peer's
// network. Kind NeedTLS when a password would have to cross in clear text.
func (v *Visit) Name(ctx context.Context, user string) (Ask, error) {
	if !v.mayPass(user) {
		return AskPassword, fault.New(fault.NeedTLS, fault.IDTLSRequired)
	}
	if a, ok := v.holder(ctx, user); ok && v.unwelcome(&a) == nil {
		return AskNothing, nil
	}
	return AskPassword, nil
}

func (v *Visit) mayPass(user string) bool {
	d := v.peer.Door
	return v.secured() || v.overSSH() || d.Plain || d.AnonymousPlain && account.IsAnonymousName(user) ||
		v.excepted(func(Exception) bool { return true })
}

// excepted tells whether one of the exceptions that hold for this peer is wanted.
func (v *Visit) excepted(wanted func(Exception) bool) bool {
	from, now := v.peer.Remote.Addr().Unmap().WithZone(""), v.gate.now()
	return slices.ContainsFunc(v.peer.Door.Exceptions, func(e Exception) bool {
		return e.Network.Contains(from) && now.Before(e.Until) && wanted(e)
	})
}

// mayPlain tells whether a's password may have crossed in clear text.
func (v *Visit) mayPlain(a *account.Account) bool {
	d := v.peer.Door
	if a.Anonymous {
		return d.AnonymousPlain || d.Plain
	}
	return d.Plain || v.excepted(func(e Exception) bool { return e.Account == "" || e.Account == a.Name })
}

func (v *Visit) verifier() account.Verifier {
	if v.peer.Door.Verifier != nil {
		return v.peer.Door.Verifier
	}
	return v.gate.Verifier
}

// Password checks a password and opens the account's tree. A wrong one is
// answered after a wait that grows with the failures of the peer's address;
// kind NotLoggedIn, or Closing after the last try of this connection. A *More where
// the account needs other factors too. A right one that comes from where the account
// may not log in is refused as a wrong one.
// Kind Internal when it can't be checked or the tree can't be opened.
func (v *Visit) Password(ctx context.Context, user string, s account.Secret) (*Session, error) {
	if !v.mayPass(user) {
		return nil, fault.New(fault.NeedTLS, fault.IDTLSRequired)
	}
	a, err := v.verifier().Verify(ctx, user, s, v.peer.Remote.Addr(), v.bar)
	if err != nil {
		return nil, v.refuse(ctx, user, err)
	}
	given := ""
	if a.Anonymous { // nothing was checked: it is no secret, and the log of transfers has a field for it
		given = s.Reveal()
		given = given[:min(len(given), maxGiven)]
	}
	if len(a.Factors) > 0 {
		return v.shown(ctx, a, account.FactorPassword, "")
	}
	return v.enter(ctx, a, given)
}

// maxGiven is how many bytes of a stranger's password are kept.
const maxGiven = 128

// bar is why a password of the account counts for nothing here, "" when it counts.
func (v *Visit) bar(a *account.Account) string {
	switch {
	case !v.secured() && !v.overSSH() && !v.mayPlain(a):
		return "the account has no exception for clear text"
	case !within(a.Networks, v.peer.Remote.Addr()):
		return "the account may not log in from this network"
	}
	return v.uncounted(a, account.FactorPassword)
}

// Certificate logs user in by the certificate that Secured was told of. Kind
// NotLoggedIn when it is none of that account's.
func (v *Visit) Certificate(ctx context.Context, user string) (*Session, error) {
	a, ok := v.holder(ctx, user)
	if !ok {
		return nil, fault.New(fault.NotLoggedIn, fault.IDAuth)
	}
	return v.enter(ctx, a, "")
}

// holder is the account of that name, when the peer's certificate is one of its
// own and valid now: the day on which it ends holds for one that is pinned too.
func (v *Visit) holder(ctx context.Context, user string) (account.Account, bool) {
	v.mu.Lock()
	chain := v.chain
	v.mu.Unlock()
	if len(chain) == 0 || v.gate.Directory == nil || account.IsAnonymousName(user) {
		return account.Account{}, false
	}
	if v.mu.Lock(); v.asked >= maxAsked { // a look-up takes a little longer for a name that exists
		v.mu.Unlock()
		return account.Account{}, false
	}
	v.asked++
	v.mu.Unlock()
	a, err := v.gate.Directory.Lookup(ctx, user)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			v.log.Error("a certificate can't be checked", "user", user, "error", err)
		}
		return account.Account{}, false
	}
	sum := sha256.Sum256(chain[0].Raw)
	now := v.gate.now()
	known := slices.Contains(a.Certificates, hex.EncodeToString(sum[:])) && !now.Before(chain[0].NotBefore) && !now.After(chain[0].NotAfter) ||
		slices.Contains(a.Certificates, "ca") && v.issued(chain, user)
	return a, known && len(a.Factors) == 0 && within(a.Networks, v.peer.Remote.Addr())
}

// issued tells whether the door's CA has issued the certificate to user.
func (v *Visit) issued(chain []*x509.Certificate, user string) bool {
	if v.peer.Door.ClientCA == nil {
		return false
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	leaf := chain[0]
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots: v.peer.Door.ClientCA, Intermediates: between, CurrentTime: v.gate.now(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	return err == nil && (leaf.Subject.CommonName == user || slices.Contains(leaf.EmailAddresses, user) || slices.Contains(leaf.DNSNames, user))
}

// unwelcome is why an account that showed what it must can't come in now.
func (v *Visit) unwelcome(a *account.Account) error {
	if why := a.Usable(v.gate.now()); why != "" {
		return fault.New(fault.NotLoggedIn, fault.IDAccountOff, why)
	}
	if protocol := v.peer.Door.Protocol; !a.Welcome(v.peer.Remote.Addr(), protocol) {
		return fault.New(fault.NotLoggedIn, fault.IDProtocol, protocol, strings.Join(a.Protocols, ", "))
	}
	return nil
}

// enter opens the tree of an account that has shown what it must, and given that.
func (v *Visit) enter(ctx context.Context, a account.Account, given string) (*Session, error) {
	s := &Session{gate: v.gate, visit: v, account: a, given: given, since: v.gate.now(), log: tagged(v.log, v.id, a.Name)}
	err := v.unwelcome(&a)
	if err == nil {
		s.ctx, s.cancel = context.WithCancelCause(context.Background())
		v.mu.Lock()
		v.in = s
		v.mu.Unlock()
		if v.ctx.Err() != nil { // it was ended before it could end the session
			s.cancel(context.Cause(v.ctx))
		}
		err = v.gate.live.add(s, v.peer.Door.MaxSessions)
		if err != nil {
			v.out(s)
			s.cancel(err)
		}
	}
	if err != nil {
		return nil, v.turnedAway(ctx, a.Name, err)
	}
	tree, err := v.gate.Trees(ctx, a)
	if err != nil {
		v.out(s)
		s.cancel(err)
		v.gate.live.remove(s)
		var fe *fault.Error
		if !errors.As(err, &fe) {
			err = fault.Because(err, fault.Internal, fault.IDInternal)
		}
		v.log.Error("login refused: the directory of the account can't be opened", "user", a.Name, "peer", v.peer.Remote.String(), "error", err)
		v.gate.emit(ctx, event.Login{Meta: v.meta(a.Name), TLS: v.secured(), Reason: string(fault.Of(err).ID)})
		return nil, err
	}
	s.fs = tree
	s.spread()
	v.slot.Succeeded()
	v.slot.LoggedIn()
	v.log.Info("login", append([]any{"user", a.Name, "peer", v.peer.Remote.String()}, v.how()...)...)
	v.gate.emit(ctx, event.Login{Meta: s.meta(), OK: true, TLS: v.secured()})
	return s, nil
}

// how is what a log line says about how a login came. SSH is no TLS, and no clear text.
func (v *Visit) how() []any {
	if v.overSSH() {
		return []any{"protocol", v.peer.Door.Protocol}
	}
	return []any{"tls", v.secured()}
}

// turnedAway books a login that was right and may not be.
func (v *Visit) turnedAway(ctx context.Context, user string, err error) error {
	e := fault.Of(err)
	v.log.Warn("login refused", append([]any{"user", user, "peer", v.peer.Remote.String()}, reason(e)...)...)
	v.gate.emit(ctx, event.Login{Meta: v.meta(user), TLS: v.secured(), Reason: string(e.ID)})
	return e
}

func (v *Visit) refuse(ctx context.Context, user string, err error) error {
	if !errors.Is(err, account.ErrWrong) { // not the peer's fault: it pays nothing for it
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		var fe *fault.Error
		if errors.As(err, &fe) && fe.Kind == fault.Closing { // too many logins wait to be checked
			return v.turnedAway(ctx, user, err)
		}
		v.log.Error("a password can't be checked", "user", user, "error", err)
		v.gate.emit(ctx, event.Login{Meta: v.meta(user), TLS: v.secured(), Reason: string(fault.IDInternal)})
		return fault.Because(err, fault.Internal, fault.IDInternal)
	}
	wait, last := v.slot.Failed()
	v.log.Warn("login failed", append(append([]any{"user", user, "peer", v.peer.Remote.String()}, v.how()...), "error", err)...)
	v.gate.emit(ctx, event.Login{Meta: v.meta(user), TLS: v.secured(), Reason: string(fault.IDAuth)})
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if last {
		return fault.Because(err, fault.Closing, fault.IDTries)
	}
	return fault.Because(err, fault.NotLoggedIn, fault.IDAuth)
}
