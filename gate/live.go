package gate

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"

	"dray/account"
	"dray/fault"
	"dray/meter"
	"dray/vfs"
)

// live are the sessions there are, by account. Its zero value is ready.
type live struct {
	mu       sync.Mutex
	accounts map[string]*presence
}

// A presence is one account that is logged in: its sessions, and the rates that
// all of them share.
type presence struct {
	sessions map[*Session]struct{}
	down, up *meter.Rate
	room     *room
}

// add books a session, unless its account has as many as it may. most is the
// limit of accounts that have none of their own.
func (l *live) add(s *Session, most int) error {
	if s.account.MaxSessions > 0 {
		most = s.account.MaxSessions
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.accounts[s.account.Name]
	if p == nil {
		p = &presence{sessions: map[*Session]struct{}{}, down: meter.NewRate(0), up: meter.NewRate(0), room: &room{}}
	}
	if n := len(p.sessions); most > 0 && n >= most {
		return fault.New(fault.Closing, fault.IDBusy, "sessions of this account", n, most)
	}
	if l.accounts == nil {
		l.accounts = map[string]*presence{}
	}
	l.accounts[s.account.Name] = p
	p.sessions[s] = struct{}{}
	// The account as it is now: a rate that was changed holds from this login on,
	// for all of its transfers.
	p.down.Set(s.account.RateDown)
	p.up.Set(s.account.RateUp)
	s.down, s.up, s.room = p.down, p.up, p.room
	return nil
}

func (l *live) remove(s *Session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.accounts[s.account.Name]
	if p == nil {
		return
	}
	delete(p.sessions, s)
	if len(p.sessions) == 0 {
		delete(l.accounts, s.account.Name)
	}
}

// of are the sessions of an account.
func (l *live) of(name string) []*Session {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p := l.accounts[name]; p != nil {
		return slices.Collect(maps.Keys(p.sessions))
	}
	return nil
}

func (l *live) names() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Sorted(maps.Keys(l.accounts))
}

// Sessions is how many sessions an account has.
func (g *Gate) Sessions(name string) int { return len(g.live.of(name)) }

// Refresh looks up again every account that has a session, and ends the sessions
// of those that are removed, disabled or expired; that one has been added again
// under the name of a removed one helps no session of the old. An account that
// can't be looked up stays. Without a Directory it does nothing.
func (g *Gate) Refresh(ctx context.Context) {
	if g.Directory == nil {
		return
	}
	for _, name := range g.live.names() {
		sessions := g.live.of(name) // before the answer, which says nothing about who comes after it
		a, err := g.Directory.Lookup(ctx, name)
		why := ""
		switch {
		case err != nil && errors.Is(err, fs.ErrNotExist):
			why = "removed"
		case err != nil:
			g.logger().Error("an account can't be looked up again; its sessions stay", "user", name, "error", err)
		default:
			why = a.Usable(g.now())
		}
		for _, s := range sessions {
			why := why
			if err == nil && s.account.ID != a.ID {
				why = "removed"
			}
			if why != "" && !s.account.Anonymous && !account.IsAnonymousName(name) {
				s.log.Warn("session ended: the account is "+why, "peer", s.visit.peer.Remote.String())
				s.End(fault.New(fault.Closing, fault.IDAccountOff, why))
			}
		}
	}
}

// turns are locks on names, each for one account: what a change of a name gains
// for the quota is only known when nothing else changes it meanwhile. Its zero
// value is ready.
type turns struct {
	mu   sync.Mutex
	busy map[turnKey]*turn
}

type turnKey struct {
	account string
	path    vfs.Path
}

type turn struct {
	sync.Mutex
	users int // who hold it or wait for it
}

// lock waits for its turn at all of the names, which are the places themselves
// behind links. The function that it returns ends it.
func (s *Session) lock(names ...vfs.Path) (unlock func()) {
	var paths []vfs.Path
	for _, p := range names {
		if at, ok := s.real(p); ok {
			p = at
		}
		paths = append(paths, p)
	}
	// In one order, so that two that want the same ones don't wait for each other.
	slices.SortFunc(paths, func(a, b vfs.Path) int { return strings.Compare(a.String(), b.String()) })
	paths = slices.Compact(paths)
	t := &s.gate.turns
	for _, p := range paths {
		t.lock(turnKey{s.account.Name, p})
	}
	return func() {
		for _, p := range paths {
			t.unlock(turnKey{s.account.Name, p})
		}
	}
}

func (t *turns) lock(k turnKey) {
	t.mu.Lock()
	if t.busy == nil {
		t.busy = map[turnKey]*turn{}
	}
	one := t.busy[k]
	if one == nil {
		one = new(turn)
		t.busy[k] = one
	}
	one.users++
	t.mu.Unlock()
	one.Lock()
}

func (t *turns) unlock(k turnKey) {
	t.mu.Lock()
	defer t.mu.Unlock()
	one := t.busy[k]
	one.Unlock()
	if one.users--; one.users == 0 {
		delete(t.busy, k)
	}
}

// appends are the uploads that write to a file that has its name, by its identity.
// Until such an upload ends, the quota has the file as it was before: not at all,
// when the upload has made it. The zero value is ready.
type appends struct {
	mu      sync.Mutex
	running map[identity]*Upload
}

// begin tells that u writes to the file fi. A tree whose files have no identity
// leaves it to the next recount.
func (a *appends) begin(u *Upload, fi fs.FileInfo) {
	id := identityOf(fi)
	if id == (identity{}) {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.running == nil {
		a.running = map[identity]*Upload{}
	}
	a.running[id], u.id = u, id
}

// counts is what the quota has of a finished file, and the upload that writes to it.
func (a *appends) counts(fi fs.FileInfo) (footing, *Upload) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if u := a.running[identityOf(fi)]; u != nil {
		return u.before(), u
	}
	return footing{1, fi.Size()}, nil
}

// gone tells that the file of u has lost its name; it returns what u has booked
// since counts was asked.
func (a *appends) gone(u *Upload) footing {
	if u == nil {
		return footing{}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if u.over {
		return u.gained
	}
	u.gone = true
	if a.running[u.id] == u { // its number may be another file's as soon as it is closed
		delete(a.running, u.id)
	}
	return footing{}
}

// end tells that u is over, and reports whether its file has gone.
func (a *appends) end(u *Upload, gained footing) (gone bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if u.id != (identity{}) && a.running[u.id] == u {
		delete(a.running, u.id)
	}
	if !u.gone {
		u.over, u.gained = true, gained
	}
	return u.gone
}
