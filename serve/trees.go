package serve

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"dray/account"
	"dray/config"
	"dray/fault"
	"dray/vfs"
	"dray/vfs/mount"
	"dray/vfs/osfs"
)

// trees opens the tree of an account that logs in: gate.Trees.
func (r *Running) trees(ctx context.Context, a account.Account) (vfs.FS, error) {
	if r.tree != nil {
		return shared{r.tree}, nil
	}
	tree, err := r.open(ctx, &a, r.now.Load())
	if err != nil {
		return nil, fault.Because(err, fault.NotLoggedIn, fault.IDHome)
	}
	return tree, nil
}

// open opens the home of an account and what is mounted in it. A home that comes
// from the configuration is made when it is missing.
func (r *Running) open(_ context.Context, a *account.Account, g *generation) (vfs.FS, error) {
	home, made := g.c.HomeOf(a)
	if home == "" && len(a.Mounts) == 0 {
		return nil, fmt.Errorf("account %q has no home: set one with \"dray user set %s --home DIR\", or accounts.home for all", a.Name, a.Name)
	}
	var root vfs.FS
	if home != "" {
		tree, err := r.openDir(a, home)
		if made && errors.Is(err, fs.ErrNotExist) {
			if err = r.makeHome(a, home); err == nil {
				tree, err = r.openDir(a, home)
			}
		}
		if err != nil {
			return nil, fmt.Errorf("home of account %q: %w", a.Name, err)
		}
		root = tree
	}
	if len(a.Mounts) == 0 {
		return root, nil
	}
	var mounts []mount.Mount
	closeAll := func() {
		for _, m := range mounts {
			_ = m.FS.Close()
		}
		if root != nil {
			_ = root.Close()
		}
	}
	for _, m := range a.Mounts {
		at, err := vfs.Resolve(vfs.Root, m.At)
		var tree *osfs.Tree
		if err == nil {
			tree, err = r.openDir(a, m.Dir)
		}
		if err != nil {
			closeAll()
			return nil, fmt.Errorf("mount %s of account %q: %w", m.At, a.Name, err)
		}
		mounts = append(mounts, mount.Mount{At: at, FS: tree})
	}
	tree, err := mount.New(root, mounts)
	if err != nil {
		closeAll()
		return nil, fmt.Errorf("account %q: %w", a.Name, err)
	}
	return tree, nil
}

// openDir opens a directory as the account's owner. Where rights differ from path to
// path and the account can move or make links, or a mount hides what a link may lead to,
// no link is followed: it could change between the check and the use.
func (r *Running) openDir(a *account.Account, dir string) (tree *osfs.Tree, err error) {
	if why := r.now.Load().c.Exposes(dir); why != "" {
		return nil, fmt.Errorf("%q %s: clients could fetch the private key", dir, why)
	}
	if a.Owner == nil {
		tree, err = r.disk.Open(dir)
	} else {
		tree, err = r.disk.OpenAs(dir, identity(a.Owner))
	}
	if err != nil || len(a.Paths) == 0 || a.AnyRights()&(account.Rename|account.Link) == 0 && len(a.Mounts) == 0 {
		return tree, err
	}
	if err := tree.Straight(); err != nil {
		return nil, errors.Join(fmt.Errorf("an account with rights per path: %w", err), tree.Close())
	}
	return tree, nil
}

func identity(o *account.Owner) osfs.Identity {
	return osfs.Identity{UID: o.UID, GID: o.GID, Groups: o.Groups, Umask: fs.FileMode(o.Umask)}
}

// makeHome makes a home below a directory that exists. With an owner it is made by
// the server and given away, which takes more than the two capabilities: "dray
// user add" makes it beforehand. A client may log in several times at once: only
// one of them makes it.
func (r *Running) makeHome(a *account.Account, home string) error {
	r.homes.Lock()
	defer r.homes.Unlock()
	if _, err := os.Lstat(home); err == nil {
		return nil
	}
	if err := os.Mkdir(home, 0o750); err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(home), 0o755); err != nil {
			return err
		}
		if err := os.Mkdir(home, 0o750); err != nil {
			return err
		}
	}
	if a.Owner != nil {
		if err := os.Lchown(home, int(a.Owner.UID), int(a.Owner.GID)); err != nil {
			return errors.Join(fmt.Errorf("can't give the new home to its owner: %w", err), os.Remove(home))
		}
	}
	r.log.Info("home made", "user", a.Name, "home", home)
	return nil
}

// everyTree calls f for the tree of the Single, or of each account and of the
// strangers.
func (r *Running) everyTree(f func(a *account.Account, tree vfs.FS)) {
	if r.tree != nil {
		f(&r.single.Account, shared{r.tree})
		return
	}
	g := r.now.Load()
	one := func(a *account.Account) {
		home, _ := g.c.HomeOf(a)
		if _, err := os.Stat(home); err != nil && len(a.Mounts) == 0 { // nobody has logged in yet
			return
		}
		tree, err := r.open(r.ctx, a, g)
		if err != nil {
			r.log.Warn("the tree of an account can't be opened", "user", a.Name, "error", err)
			return
		}
		defer tree.Close()
		f(a, tree)
	}
	for a, err := range r.db.All(r.ctx) {
		if err != nil {
			if r.ctx.Err() == nil {
				r.log.Error("accounts can't be listed", "error", err)
			}
			return
		}
		one(&a)
	}
	if g.anonymous != nil {
		one(g.anonymous)
	}
}

// partialsLast is how long a cut upload waits to be resumed.
func partialsLast(c config.Config) time.Duration {
	if c.Limits.Partials <= 0 {
		return defaultPartials
	}
	return c.Limits.Partials
}

// sweepOnce ends what dead processes left behind and partials that are too old.
func (r *Running) sweepOnce() {
	age := partialsLast(r.now.Load().c)
	var files, bytes int64
	freed, shares := map[string]bool{}, map[string]bool{}
	r.everyTree(func(a *account.Account, tree vfs.FS) {
		shares[a.Name] = len(a.Mounts) > 0
		parts, ok := tree.(vfs.Partials)
		if !ok || r.ctx.Err() != nil {
			return
		}
		err := parts.Sweep(r.ctx, time.Now().Add(-age), func(n int64) {
			files++
			bytes += n
			freed[a.Name] = true
		})
		if err != nil && r.ctx.Err() == nil {
			r.log.Warn("part of the tree can't be looked through", "user", a.Name, "error", err)
		}
	})
	for name, shared := range shares {
		// Whose it was the hidden name does not say: who shares a directory is counted too.
		if r.ledger == nil || !freed[name] && (len(freed) == 0 || !shared) {
			continue
		}
		if err := r.db.WantRecount(r.ctx, name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			r.log.Error("an account can't be marked to be counted again", "user", name, "error", err)
		}
	}
	if files > 0 {
		r.log.Info("old unfinished uploads put away", "files", files, "bytes", bytes)
	}
}

// recount measures the accounts that are marked for it: all after a server that
// did not end by itself, and those of "dray user recount".
func (r *Running) recount() {
	if r.ledger == nil {
		return
	}
	names, err := r.ledger.RecountWanted(r.ctx)
	if err != nil {
		if r.ctx.Err() == nil {
			r.log.Error("accounts to be counted again can't be listed", "error", err)
		}
		return
	}
	for _, name := range names {
		if time.Now().Before(r.notBefore[name]) {
			continue
		}
		delete(r.notBefore, name)
		if err := r.recountOne(name); err != nil && r.ctx.Err() == nil {
			r.notBefore[name] = time.Now().Add(recountAgain)
			r.log.Error("an account can't be counted again", "user", name, "error", err, "next", recountAgain)
		}
	}
}

// recountAgain is when a count that failed is tried again.
const recountAgain = 10 * time.Minute

// countStrangers tells the ledger the quota of strangers, and what their incoming
// directory holds. Where neither has changed the ledger knows better.
func (r *Running) countStrangers(g, old *generation) {
	if r.ledger == nil || g.anonymous == nil {
		return
	}
	now, was := g.c.Anonymous, config.Anonymous{}
	if old != nil && old.anonymous != nil {
		was = old.c.Anonymous
	}
	if was.Directory == now.Directory && was.Incoming == now.Incoming && was.MaxBytes == now.MaxBytes {
		return
	}
	var files int
	var bytes int64
	if g.anonymous.MaxBytes > 0 && g.c.Anonymous.Incoming != "" {
		tree, err := r.disk.Open(filepath.Join(g.c.Anonymous.Directory, g.c.Anonymous.Incoming))
		if err == nil {
			files, bytes, err = tree.Measure(r.ctx, "")
			_ = tree.Close()
		}
		if err != nil {
			r.log.Error("the incoming directory can't be counted", "error", err)
		}
	}
	r.ledger.Guest(g.anonymous.Name, 0, g.anonymous.MaxBytes, files, bytes)
}

// recountTries is how often a count begins again because the account was busy. Then
// it waits until recountBusy is over.
const (
	recountTries = 3
	recountBusy  = time.Minute
)

func (r *Running) recountOne(name string) error {
	a, err := r.db.Lookup(r.ctx, name)
	if err != nil {
		return err
	}
	var files int
	var bytes int64
	for try := 1; ; try++ {
		count, err := r.ledger.BeginRecount(r.ctx, name)
		if err != nil {
			return err
		}
		files, bytes, err = r.measure(&a)
		if err == nil && count.Disturbed() {
			count.Cancel()
			if try < recountTries {
				continue
			}
			r.notBefore[name] = time.Now().Add(recountBusy)
			r.log.Info("an account is busy, and counted again later", "user", name, "next", recountBusy)
			return nil
		}
		if err == nil {
			err = count.Done(r.ctx, files, bytes)
		}
		count.Cancel()
		if err != nil {
			return err
		}
		r.log.Info("account counted again", "user", name, "files", files, "bytes", bytes)
		return nil
	}
}

// measure is what the trees of an account hold; nothing where its home is not made
// yet.
func (r *Running) measure(a *account.Account) (files int, bytes int64, err error) {
	g := r.now.Load()
	home, made := g.c.HomeOf(a)
	if _, serr := os.Stat(home); made && errors.Is(serr, fs.ErrNotExist) {
		return 0, 0, nil
	}
	tree, err := r.open(r.ctx, a, g)
	if err != nil {
		return 0, 0, err
	}
	defer tree.Close()
	m, ok := tree.(vfs.Measurer)
	if !ok {
		return 0, 0, errors.New("its tree can't be measured")
	}
	return m.Measure(r.ctx, a.Keeps())
}
