// Package gate is the one door: it admits peers, logs users in, and hands out
// Sessions that check rights, hold meters and quota, and emit events. Every
// protocol goes through it; it speaks none of them.
package gate

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/base32"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"time"

	"dray/account"
	"dray/event"
	"dray/fault"
	"dray/guard"
	"dray/vfs"
)

// Trees opens the tree of an account. The Session closes it.
type Trees func(ctx context.Context, a account.Account) (vfs.FS, error)

// A Gate lets peers in. Its fields are set before use; Ledger may be nil (no
// quota), so may Events and Log.
type Gate struct {
	Guard    *guard.Guard
	Verifier account.Verifier
	Trees    Trees
	Ledger   account.Ledger
	Events   event.Sink
	Log      *slog.Logger
	Now      func() time.Time // nil: time.Now
}

// A Door is one listener's rules: plain data, swapped whole.
type Door struct {
	Name     string // of the listener, for the log
	Protocol string // "ftp", "ftps"
	// Plain lets passwords come in clear text. Then every name is asked for one
	// and the password alone decides.
	Plain bool
	// AnonymousPlain lets "anonymous" and "ftp" log in over clear text: there is
	// no secret in it.
	AnonymousPlain bool
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

	mu  sync.Mutex
	tls bool
}

// Knock asks to be let in: bans, then limits per address, then in total. The
// error is a *fault.Error of kind Closing, to be said before the door shuts.
// Every Visit ends by Leave.
func (g *Gate) Knock(ctx context.Context, peer Peer) (*Visit, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	slot, err := g.Guard.Admit(peer.Remote.Addr().Unmap(), func(cause error) { cancel(cause) })
	v := &Visit{gate: g, peer: peer, id: newID(), slot: slot, ctx: ctx, cancel: cancel}
	v.log = g.logger().With("session", v.id)
	if err != nil {
		cancel(err)
		v.log.Warn("turned away", "peer", peer.Remote.String(), "door", peer.Door.Name, "reason", string(fault.Of(err).ID))
		g.emit(ctx, event.Refusal{Meta: v.meta(""), Verb: "connect", Reason: string(fault.Of(err).ID)})
		return nil, err
	}
	return v, nil
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

// End ends the connection's context.
func (v *Visit) End(cause error) { v.cancel(cause) }

// Spoke tells that the peer said something; those who never do are the first
// to be crowded out.
func (v *Visit) Spoke() { v.slot.Spoke() }

// Secured tells that the connection is under TLS now.
func (v *Visit) Secured(tls.ConnectionState) {
	v.mu.Lock()
	v.tls = true
	v.mu.Unlock()
}

func (v *Visit) secured() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.tls
}

// Leave frees the slot. It is always called, once.
func (v *Visit) Leave() {
	v.cancel(context.Canceled)
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
)

// Name hears a user name. Whether the name exists is never told: the answer
// depends on the door alone. Kind NeedTLS when a password would have to cross in
// clear text.
func (v *Visit) Name(_ context.Context, user string) (Ask, error) {
	if v.mayPass(user) {
		return AskPassword, nil
	}
	return AskPassword, fault.New(fault.NeedTLS, fault.IDTLSRequired)
}

func (v *Visit) mayPass(user string) bool {
	d := v.peer.Door
	return v.secured() || d.Plain || d.AnonymousPlain && account.IsAnonymousName(user)
}

// Password checks a password and opens the account's tree. A wrong one is
// answered after a wait that grows with the failures of the peer's address;
// kind NotLoggedIn, or Closing after the last try of this connection. Kind
// Internal when it can't be checked or the tree can't be opened.
func (v *Visit) Password(ctx context.Context, user string, s account.Secret) (*Session, error) {
	if !v.mayPass(user) {
		return nil, fault.New(fault.NeedTLS, fault.IDTLSRequired)
	}
	a, err := v.gate.Verifier.Verify(ctx, user, s, v.peer.Remote.Addr())
	if err == nil && !v.secured() && !v.peer.Door.Plain && !a.Anonymous {
		err = account.ErrWrong
	}
	if err != nil {
		return nil, v.refuse(ctx, user, err)
	}
	tree, err := v.gate.Trees(ctx, a)
	if err != nil {
		v.log.Error("login refused: the directory of the account can't be opened", "user", user, "error", err)
		v.gate.emit(ctx, event.Login{Meta: v.meta(user), TLS: v.secured(), Reason: string(fault.IDInternal)})
		return nil, fault.Because(err, fault.Internal, fault.IDInternal)
	}
	v.slot.Succeeded()
	v.slot.LoggedIn()
	v.log.Info("login", "user", a.Name, "peer", v.peer.Remote.String(), "tls", v.secured())
	v.gate.emit(ctx, event.Login{Meta: v.meta(a.Name), OK: true, TLS: v.secured()})
	sctx, cancel := context.WithCancelCause(v.ctx)
	return &Session{gate: v.gate, visit: v, account: a, fs: tree, ctx: sctx, cancel: cancel, log: v.log.With("user", a.Name)}, nil
}

func (v *Visit) refuse(ctx context.Context, user string, err error) error {
	if !errors.Is(err, account.ErrWrong) { // not the peer's fault: it pays nothing for it
		v.log.Error("a password can't be checked", "user", user, "error", err)
		v.gate.emit(ctx, event.Login{Meta: v.meta(user), TLS: v.secured(), Reason: string(fault.IDInternal)})
		return fault.Because(err, fault.Internal, fault.IDInternal)
	}
	wait, last := v.slot.Failed()
	v.log.Warn("login failed", "user", user, "peer", v.peer.Remote.String(), "tls", v.secured())
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
