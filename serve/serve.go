// Package serve turns a config.Config into a running server: certificate, gate,
// accounts, trees, listeners, and swaps them at a reload. It is the only package
// that does.
package serve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"dray/accept"
	"dray/account"
	"dray/account/accountsql"
	"dray/config"
	"dray/event"
	"dray/ftpserver"
	"dray/gate"
	"dray/guard"
	"dray/sftpserver"
	"dray/vfs/osfs"
)

// A Setup is what Start brings up.
type Setup struct {
	// Config has its defaults and no problems.
	Config config.Config
	// Single is the one account of "serve DIR"; nil: accounts are in the database.
	Single *Single
	// Sockets are listeners that another process has opened, by the name of their
	// configuration; those named "" are matched by their port.
	Sockets map[string][]net.Listener
	// Version is that of the program, for the administrator.
	Version string
	// Events get a copy of what happened; nil: nobody.
	Events event.Sink
}

// A Single is one directory for one account, and perhaps for strangers.
type Single struct {
	Dir       string
	Account   account.Account
	Password  account.Secret
	Keys      string // file with the authorized_keys of the account, "" for none
	Anonymous *account.Account
}

// Quick is the Setup of "serve DIR".
func Quick(q config.Quick) Setup {
	s := &Single{Dir: q.Dir, Password: q.Password, Keys: q.Keys, Account: account.Account{Name: q.User, Rights: account.Full}}
	if q.ReadOnly {
		s.Account.Rights = account.ReadOnly
	}
	if q.Anonymous {
		s.Anonymous = &account.Account{Name: "anonymous", Rights: account.ReadOnly, Anonymous: true}
	}
	return Setup{Config: q.Config(), Single: s}
}

// A Running is a server whose listeners are up.
type Running struct {
	Card Card // as it was at the start; see Now

	version string
	started time.Time
	log     *slog.Logger
	single  *Single
	loop    *accept.Loop // of the listeners
	server  *ftpserver.Server
	sftp    *sftpserver.Server
	gate    *gate.Gate
	guard   *guard.Guard
	disk    *osfs.Disk
	tree    *osfs.Tree     // of the Single
	db      *accountsql.DB // nil for a Single
	ledger  *accountsql.Ledger
	// notBefore is when accounts whose count has failed are counted again. It
	// belongs to the goroutine that counts.
	notBefore map[string]time.Time
	queue     *account.Queue
	checker   *account.Checker // what it remembers outlives the generations; nil for a Single
	events    *sinks
	homes     sync.Mutex // of making them

	admin net.Listener // of the administrator; nil: there is none

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	now    atomic.Pointer[generation]

	mu      sync.Mutex // under it a reload, and the end
	serving []*serving
	keys    [][32]byte // of session tickets
	stopped bool
}

// A serving is one socket of a listener. It outlives the generations that have it.
type serving struct {
	l     net.Listener
	at    string // the address asked for
	given bool   // opened by another process
	name  string // of its listener, or under which that process gave it
	rules atomic.Pointer[rules]
}

// rules are those of a listener, of the protocol that it speaks.
type rules struct {
	ftp  *ftpserver.Rules
	sftp *sftpserver.Rules
}

// serve serves a connection.
func (r *Running) serve(nc net.Conn, by *rules) {
	if by.sftp != nil {
		r.sftp.Accepted(nc, by.sftp)
		return
	}
	r.server.Accepted(nc, by.ftp)
}

// sweepWait is how long a start waits for what a dead process left behind to be
// put right; a large tree is finished in the background.
const sweepWait = 2 * time.Second

// defaultPartials is how long a cut upload waits to be resumed.
const defaultPartials = 7 * 24 * time.Hour

// Start brings up what s says. It serves until Stop.
func Start(s Setup, log *slog.Logger) (_ *Running, err error) {
	r := &Running{version: s.Version, started: time.Now(), log: log, single: s.Single, events: &sinks{}, notBefore: map[string]time.Time{}}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			r.release()
		}
	}()
	r.events.set(s.Events)
	r.disk = osfs.NewDisk(durability(s.Config), log)
	r.guard = guard.New(limits(s.Config), nil)
	r.gate = &gate.Gate{Guard: r.guard, Events: r.events, Log: log, Trees: r.trees}
	if s.Single != nil {
		if r.tree, err = r.disk.Open(s.Single.Dir); err != nil {
			return nil, err
		}
		one := account.NewOne(&s.Single.Account, s.Single.Password, s.Single.Anonymous)
		r.gate.Verifier = one
		if s.Single.Keys != "" {
			r.gate.Directory = &keyFile{Directory: one, file: s.Single.Keys, log: log}
		}
	} else {
		if r.db, err = accountsql.Open(r.ctx, s.Config.Database(), log); err != nil {
			return nil, err
		}
		r.queue = account.NewQueue(runtime.GOMAXPROCS(0))
		r.checker = account.NewChecker(r.db, r.queue, nil)
		if r.ledger, err = r.db.Ledger(r.ctx); err != nil {
			return nil, err
		}
		r.gate.Directory, r.gate.Ledger = r.db, r.ledger
	}
	r.loop, r.server, r.sftp = accept.New(log), ftpserver.New(r.gate, log), sftpserver.New(r.gate, log)
	g, err := r.generation(s.Config, nil)
	if err != nil {
		return nil, err
	}
	begin, err := r.swap(g, s.Sockets)
	if err != nil {
		return nil, err
	}
	r.openAdmin(&s.Config)
	r.sweep()
	begin()
	r.Card = r.card(g)
	return r, nil
}

func durability(c config.Config) osfs.Durability {
	if c.Sync == "none" {
		return osfs.SyncNone
	}
	return osfs.SyncCommit
}

// sinks are where events go; they may be exchanged.
type sinks struct {
	to   atomic.Pointer[event.Sink]
	calm calm
}

func (s *sinks) set(to event.Sink) {
	if to == nil {
		to = event.Discard
	}
	s.to.Store(&to)
}

func (s *sinks) Event(ctx context.Context, e any) {
	s.calm.stir()
	(*s.to.Load()).Event(ctx, e)
}

// shared is a tree that outlives the sessions that close it.
type shared struct{ *osfs.Tree }

func (shared) Close() error { return nil }

// limits are those of guard, within what the process may open: a session in an
// upload has six descriptors, the pipe of splice included.
func limits(c config.Config) guard.Limits {
	total := 10000
	if n := maxFiles(); n > 0 {
		total = max(16, min(total, n/6))
	}
	if n := c.Limits.Sessions; n > 0 {
		total = n
	}
	l := guard.Limits{
		Total: total, PerAddress: max(8, total/2),
		Pending: max(8, min(2000, total/4)), PendingPerAddress: max(8, min(200, total/8)),
		Tries: c.Limits.Tries, BanAfter: c.Limits.BanAfter, BanFor: c.Limits.BanFor, Window: c.Limits.BanWindow, Exempt: c.Limits.Exempt,
	}
	switch n := c.Limits.SessionsPerAddress; {
	case n > 0:
		l.PerAddress = n
		l.PendingPerAddress = min(l.PendingPerAddress, n)
	case n < 0:
		l.PerAddress = -1
	}
	return l
}

// sweep puts right what a dead process left behind, before the first client if
// that is quickly done, and keeps house from then on.
func (r *Running) sweep() {
	r.every(lookAgainEvery, func() { r.gate.Refresh(r.ctx) })
	r.every(24*time.Hour, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.rotate(r.now.Load())
	})
	done := make(chan struct{})
	r.wg.Go(func() {
		r.safely(r.sweepOnce)
		r.safely(r.recount)
		close(done)
		r.housekeep() // from here on it is the one that counts
	})
	select {
	case <-done:
	case <-time.After(sweepWait):
		r.log.Info("the tree is large: leftovers of an earlier run are looked for in the background")
	}
}

// housekeep counts and sweeps from time to time. That may take long, so nothing
// that has a date waits behind it.
func (r *Running) housekeep() {
	often, hourly := time.NewTicker(lookAgainEvery), time.NewTicker(time.Hour)
	defer often.Stop()
	defer hourly.Stop()
	for {
		select {
		case <-r.ctx.Done():
			return
		case <-often.C:
			r.safely(r.recount)
		case <-hourly.C:
			r.safely(r.sweepOnce)
		}
	}
}

// every runs f at intervals until the server stops.
func (r *Running) every(d time.Duration, f func()) {
	r.wg.Go(func() {
		t := time.NewTicker(d)
		defer t.Stop()
		for {
			select {
			case <-r.ctx.Done():
				return
			case <-t.C:
				r.safely(f)
			}
		}
	})
}

// safely runs f; a panic in it ends nothing else.
func (r *Running) safely(f func()) {
	defer func() {
		if v := recover(); v != nil {
			r.log.Error("panic", "in", "housekeeping", "panic", v, "stack", string(debug.Stack()))
		}
	}()
	f()
}

// lookAgainEvery is how often accounts with sessions are looked up again: they
// end at the latest so long after they were removed, disabled or expired.
const lookAgainEvery = 10 * time.Second

// release gives back what a start that failed has taken.
func (r *Running) release() {
	for _, s := range r.serving {
		_ = s.l.Close()
	}
	r.cancel()
	if r.tree != nil {
		_ = r.tree.Close()
	}
	if r.db != nil {
		_ = r.db.Close()
	}
}

// Stop ends accepting and lets transfers finish until ctx ends; then it cuts
// them.
func (r *Running) Stop(ctx context.Context) error {
	r.mu.Lock()
	r.stopped = true
	r.mu.Unlock()
	_ = r.loop.Shutdown(ctx) // closes the listeners
	var sftp error
	var both sync.WaitGroup
	both.Go(func() { sftp = r.sftp.Shutdown(ctx) })
	err := r.server.Shutdown(ctx)
	both.Wait()
	if err == nil {
		err = sftp
	}
	if r.admin != nil { // which tells of the end as long as it lasts
		err = errors.Join(err, r.admin.Close())
	}
	r.cancel()
	r.wg.Wait()
	if r.tree != nil {
		err = errors.Join(err, r.tree.Close())
	}
	if r.db != nil {
		err = errors.Join(err, r.db.Close())
	}
	return err
}

// errStopped is for a reload that comes too late.
var errStopped = errors.New("the server is stopping")

// Reload goes over to another configuration without ending a connection. After an
// error the one before goes on, all of it. What a running server can't change is
// an error too.
func (r *Running) Reload(s Setup) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped {
		return errStopped
	}
	old := r.now.Load()
	if s.Config.Database() != old.c.Database() || s.Config.State != old.c.State {
		return errors.New("state and accounts.database can't change while the server runs: restart it for them")
	}
	if s.Config.AdminSocket() != old.c.AdminSocket() {
		r.log.Warn("admin acts on the next start: restart the server for it", "socket", s.Config.AdminSocket())
	}
	g, err := r.generation(s.Config, old)
	if err != nil {
		return err
	}
	begin, err := r.swap(g, nil)
	if err != nil {
		return err
	}
	begin()
	r.guard.SetLimits(limits(s.Config))
	r.disk.SetDurability(durability(s.Config))
	r.events.set(s.Events)
	r.log.Info("configuration loaded", "file", s.Config.File)
	return nil
}

// swap makes g the generation that new connections get: it opens the listeners
// that are new, all of them or none, gives every listener its rules, and closes
// those that are gone. begin starts accepting at those that are new.
func (r *Running) swap(g *generation, given map[string][]net.Listener) (begin func(), err error) {
	var next, opened []*serving
	var all []*rules
	var errs []error
	defer func() {
		if err != nil {
			for _, s := range opened {
				if !s.given {
					_ = s.l.Close()
				}
			}
		}
	}()
	fresh := handed(given)
	sockets := slices.Clone(fresh)
	for _, s := range r.serving {
		if s.given { // the other process keeps it open
			sockets = append(sockets, s)
		}
	}
	adopted := adopt(g.c.Listeners, sockets)
	for i := range g.c.Listeners {
		l := &g.c.Listeners[i]
		add := func(s *serving) {
			next, all = append(next, s), append(all, g.rules[i])
			if !slices.Contains(r.serving, s) {
				opened = append(opened, s)
			}
		}
		for _, s := range adopted[i] {
			add(s)
		}
		if len(adopted[i]) > 0 {
			continue
		}
		for _, at := range addresses(l) {
			if j := slices.IndexFunc(r.serving, func(s *serving) bool { return !s.given && s.is(l, at) && !slices.Contains(next, s) }); j >= 0 {
				add(r.serving[j])
				continue
			}
			nl, err := listen(at, config.Ports(l.Protocol), r.log)
			if err != nil && at == "" && l.Protocol == "sftp" { // nobody has asked for a port
				r.log.Error("no SFTP: none of its ports can be had", "error", err)
				continue
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", r.title(l), r.inTheWay(l, at, err)))
				continue
			}
			add(&serving{l: nl, at: at, name: l.Name})
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	// Nothing fails from here on.
	r.adoptKeys(g)
	for i, s := range next {
		s.rules.Store(all[i])
	}
	before := r.serving
	r.serving = next
	r.countStrangers(g, r.now.Swap(g))
	for _, s := range slices.Concat(before, fresh) {
		if slices.Contains(next, s) {
			continue
		}
		if s.given {
			r.log.Warn("a socket that was handed in is for no listener: nobody answers there", "socket", s.name, "address", s.l.Addr().String())
		}
		_ = s.l.Close()
	}
	return func() {
		for _, s := range opened {
			r.wg.Go(func() {
				err := r.loop.Serve(s.l, func(nc net.Conn) { r.serve(nc, s.rules.Load()) })
				if err != nil && !errors.Is(err, net.ErrClosed) {
					r.log.Error("listener ended", "listener", s.l.Addr().String(), "error", err)
				}
			})
		}
	}, nil
}

// inTheWay is err, or says that the address is taken by this server itself, which
// closes a listener only when the new ones are open.
func (r *Running) inTheWay(l *config.Listener, at string, err error) error {
	host, port := asked(l, at)
	if taken := portTaken(0); !errors.As(err, &taken) || port != uint16(taken) {
		return err
	}
	for _, s := range r.serving {
		if a, ok := s.l.Addr().(*net.TCPAddr); ok && a.Port == int(port) && (host == "" || a.IP.IsUnspecified() || isHost(host, a)) {
			return fmt.Errorf("port %d is in use by this server itself, at %v: restart it for this change", port, a)
		}
	}
	return err
}

// Now is the card of the configuration that was loaded last.
func (r *Running) Now() Card {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.card(r.now.Load())
}

// title is a listener as whoever set it knows it: by its flag, or its name.
func (r *Running) title(l *config.Listener) string {
	if r.single != nil {
		return "--" + l.Name
	}
	return "listener " + l.Name
}
