package gate

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"log/slog"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"dray/account"
	"dray/event"
	"dray/fault"
	"dray/meter"
	"dray/vfs"
)

// A Session is one login: the account's tree behind its rights. It is safe for
// concurrent use. Its errors are *fault.Error with the facts that the sentence
// of their id wants, and never name a real path.
type Session struct {
	gate    *Gate
	visit   *Visit
	account account.Account
	fs      vfs.FS
	ctx     context.Context
	cancel  context.CancelCauseFunc
	log     *slog.Logger
	closed  sync.Once
	down    *meter.Rate // shared by all sessions of the account
	up      *meter.Rate
	room    *room
	given   string // of event.Meta
	since   time.Time
	doing   tasks
}

// Account is who logged in.
func (s *Session) Account() account.Account { return s.account }

// Context ends with the session, with the cause.
func (s *Session) Context() context.Context { return s.ctx }

// Log is the log of this session.
func (s *Session) Log() *slog.Logger { return s.log }

// End ends the session's context with a cause.
func (s *Session) End(cause error) {
	s.cancel(cause)
	v := s.visit
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.in == s && v.onEnd != nil {
		v.onEnd()
	}
}

// Close ends the session and closes its tree.
func (s *Session) Close() {
	s.closed.Do(func() {
		s.visit.out(s)
		s.cancel(context.Canceled)
		s.gate.live.remove(s)
		_ = s.fs.Close()
	})
}

// Down is the permission to send: the rate of the account.
func (s *Session) Down() meter.Meter { return s.down }

func (s *Session) meta() event.Meta {
	m := s.visit.meta(s.account.Name)
	m.Anonymous, m.Given = s.account.Anonymous, s.given
	return m
}

// may checks a right; doing says what for, as "delete". p is followed to the
// place where it leads.
func (s *Session) may(r account.Rights, doing string, p vfs.Path) error {
	return s.have(s.rights(p), r, doing, p)
}

// mayName is may for the name p itself, which may be a link.
func (s *Session) mayName(r account.Rights, doing string, p vfs.Path) error {
	return s.have(s.rightsOfName(p), r, doing, p)
}

func (s *Session) have(has, want account.Rights, doing string, p vfs.Path) error {
	if has.Has(want) {
		return nil
	}
	if any := s.account.AnyRights(); any.Has(account.ReadOnly) && any&^account.ReadOnly == 0 {
		return fault.New(fault.Denied, fault.IDReadOnly)
	}
	return fault.New(fault.Denied, fault.IDPerm, doing+" "+p.String())
}

// rights are what the account may do at p, and, where p leads through links, at
// the place itself too: a link gives no right. Where nobody can tell what place
// that is, there are none.
func (s *Session) rights(p vfs.Path) account.Rights {
	r := s.account.RightsAt(p.String())
	if len(s.account.Paths) == 0 {
		return r
	}
	at, ok := s.real(p)
	if !ok {
		return 0
	}
	return r & s.account.RightsAt(at.String())
}

// spread gives the places that the account's paths lead to by links the rights of
// those paths: what is said of /current holds in /release-7, however it is written.
func (s *Session) spread() {
	for _, p := range s.account.Paths {
		at, err := vfs.Resolve(vfs.Root, p.Path)
		if err != nil {
			continue
		}
		if real, ok := s.real(at); ok && real != at {
			s.account.Paths = append(slices.Clip(s.account.Paths), account.PathRights{Path: real.String(), Rights: p.Rights})
		}
	}
}

// rightsOfName are the rights of the directory that holds the name p, and of p
// as it is written.
func (s *Session) rightsOfName(p vfs.Path) account.Rights {
	r := s.account.RightsAt(p.String())
	if len(s.account.Paths) == 0 {
		return r
	}
	at, ok := s.realName(p)
	if !ok {
		return 0
	}
	return r & s.account.RightsAt(at.String())
}

// maxLinks is how many links a path may lead through, as the kernel has it.
const maxLinks = 40

// real is p with its links resolved, as far as they lead to something in the
// tree; false when nobody can tell. The tree itself is jailed, whatever this says.
func (s *Session) real(p vfs.Path) (at vfs.Path, ok bool) {
	l, ok := s.fs.(vfs.Linker)
	if !ok || p.IsRoot() {
		return p, true
	}
	ctx := context.WithoutCancel(s.ctx) // what ends late is asked for too
	if look, ok := s.fs.(vfs.Looker); ok && look.NoLinks(ctx, p) {
		return p, true
	}
	rest := strings.Split(p.Rel(), "/")
	for links := 0; len(rest) > 0; {
		part := rest[0]
		rest = rest[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			// Not by the letters of the target: what came before the dots may have
			// been a link, and led to another directory.
			at = at.Dir()
			continue
		}
		next, err := at.Join(part)
		if err != nil {
			return p, false
		}
		fi, err := s.fs.Lstat(ctx, next)
		switch {
		case err == nil && fi.Mode()&fs.ModeSymlink == 0:
			at = next
			continue
		case err != nil:
			switch fault.KindOf(err) {
			case fault.NotFound, fault.NotDir, fault.Denied, fault.BadName: // no link leads on from there
				at = next
				continue
			}
			return p, false
		}
		target, err := l.Readlink(ctx, next)
		if links++; err != nil || links > maxLinks {
			return p, false
		}
		if strings.HasPrefix(target, "/") {
			at = vfs.Root
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	return at, true
}

// realName is real for the name p itself, which may be a link.
func (s *Session) realName(p vfs.Path) (vfs.Path, bool) {
	if p.IsRoot() {
		return p, true
	}
	dir, ok := s.real(p.Dir())
	at, err := dir.Join(p.Base())
	return at, ok && err == nil
}

// blind tells whether the account can put something at p and see nothing there:
// then no answer may tell whether a name exists.
func (s *Session) blind(p vfs.Path) bool {
	return s.rights(p)&(account.List|account.Read) == 0
}

// Blind is for those who would tell of a name at p by other words than a refusal.
func (s *Session) Blind(p vfs.Path) bool { return s.blind(p) }

// see is the refusal of a look at p where the account is blind, whether it exists
// or not.
func (s *Session) see(fi fs.FileInfo, err error, p vfs.Path) (fs.FileInfo, error) {
	if s.blind(p) {
		return nil, fault.New(fault.Denied, fault.IDPerm, "look at "+p.String())
	}
	return fi, err
}

// seeDir is see for those who may learn that p is a directory, and nothing else of
// it: programs change to it before they upload.
func (s *Session) seeDir(fi fs.FileInfo, err error, p vfs.Path) (fs.FileInfo, error) {
	if s.blind(p) && err == nil && fi.IsDir() && (s.rights(p) != 0 || p.IsRoot()) {
		return shut{fi.Name()}, nil
	}
	return s.see(fi, err, p)
}

// A shut is a directory whose inside nobody may see. Its time would tell when
// something came.
type shut struct{ name string }

func (d shut) Name() string     { return d.name }
func (shut) Size() int64        { return 0 }
func (shut) Mode() fs.FileMode  { return fs.ModeDir | 0o311 }
func (shut) ModTime() time.Time { return time.Time{} }
func (shut) IsDir() bool        { return true }
func (shut) Sys() any           { return nil }

// fail gives an error of the tree the facts of its sentence: the path as the
// peer knows it.
func (s *Session) fail(err error, doing string, p vfs.Path) error {
	if err == nil {
		return nil
	}
	var fe *fault.Error
	if errors.As(err, &fe) && len(fe.Facts) > 0 || errors.Is(err, context.Canceled) {
		return fault.Of(err)
	}
	e := fault.Of(err)
	if e.Kind == fault.NotDir && s.blind(p) { // it would tell that a file has the name above it
		e = fault.Because(err, fault.NotFound, fault.IDNotFound)
	}
	switch e.Kind {
	case fault.Denied:
		e.Facts = []any{doing + " " + p.String()}
	case fault.NotFound, fault.Exists, fault.NotDir, fault.IsDir, fault.NotEmpty, fault.Busy:
		e.Facts = []any{p.String()}
	case fault.BadName:
		e.Facts = []any{"the file system does not take it"}
	case fault.NoSpace:
		e.Facts = []any{s.free(p), "nothing kept"}
	case fault.Internal:
		s.log.Error("unexpected error", "doing", doing, "path", p.String(), "error", err)
	}
	return e
}

func (s *Session) free(p vfs.Path) string {
	if sp, ok := s.fs.(vfs.Spacer); ok {
		if free, _, err := sp.Space(context.WithoutCancel(s.ctx), p.Dir()); err == nil {
			return Bytes(int64(free)) + " free"
		}
	}
	return "no room left"
}

// Stat tells about p, following links; where no finished file has the name,
// about the account's own partial, or the one that is listed under that name. Where
// the account is blind it is refused, for directories too.
func (s *Session) Stat(ctx context.Context, p vfs.Path) (fs.FileInfo, error) {
	fi, err := s.fs.Stat(ctx, p)
	if err != nil && errors.Is(err, fs.ErrNotExist) {
		if part, perr := s.Partial(ctx, p); perr == nil {
			return s.see(part, nil, p)
		}
		if _, part, ok := s.behind(ctx, p); ok {
			return part, nil
		}
	}
	return s.see(fi, s.fail(err, "look at", p), p)
}

// Finished is Stat without partials: what other users of the tree see. Where the
// account is blind a directory has a name, and neither time nor identity.
func (s *Session) Finished(ctx context.Context, p vfs.Path) (fs.FileInfo, error) {
	fi, err := s.fs.Stat(ctx, p)
	return s.seeDir(fi, s.fail(err, "look at", p), p)
}

// Enter tells whether p is a directory that the account may go into: the system may
// show one whose names it would not.
func (s *Session) Enter(ctx context.Context, p vfs.Path) error {
	fi, err := s.Finished(ctx, p)
	if err != nil {
		return err
	}
	if !fi.IsDir() {
		return fault.New(fault.NotDir, fault.IDNotDir, p.String())
	}
	if inside, err := p.Join("x"); err == nil {
		if _, err := s.fs.Lstat(ctx, inside); err != nil && fault.KindOf(err) == fault.Denied {
			return s.fail(err, "enter", p)
		}
	}
	return nil
}

// Lstat is Finished for a link itself, and knows the partials that are listed.
func (s *Session) Lstat(ctx context.Context, p vfs.Path) (fs.FileInfo, error) {
	fi, err := s.fs.Lstat(ctx, p)
	if err != nil && errors.Is(err, fs.ErrNotExist) {
		if _, part, ok := s.behind(ctx, p); ok {
			return part, nil
		}
	}
	return s.seeDir(fi, s.fail(err, "look at", p), p)
}

// Partial tells about the account's own cut upload to p; kind NotFound when
// there is none.
func (s *Session) Partial(ctx context.Context, p vfs.Path) (fs.FileInfo, error) {
	parts, ok := s.fs.(vfs.Partials)
	owner := s.account.Keeps()
	if !ok || owner == "" || s.blind(p) {
		return nil, fault.New(fault.NotFound, fault.IDNotFound, p.String())
	}
	fi, err := parts.Partial(ctx, p, owner)
	return fi, s.fail(err, "look at", p)
}

// PartSuffix is behind the names under which partials are listed.
const PartSuffix = ".part"

// listsPartials is what keeps the partials of an account that has its own listed;
// nil for all others.
func (s *Session) listsPartials() vfs.Partials {
	if s.account.Partials != account.PartialsListed || s.account.Keeps() == "" {
		return nil
	}
	parts, _ := s.fs.(vfs.Partials)
	return parts
}

// behind is the name whose partial is listed as p: NAME for NAME.part, where
// nothing has that name itself, neither a file nor a partial of its own.
func (s *Session) behind(ctx context.Context, p vfs.Path) (name vfs.Path, part fs.FileInfo, ok bool) {
	base, isPart := strings.CutSuffix(p.Base(), PartSuffix)
	if !isPart || s.listsPartials() == nil || s.blind(p) {
		return p, nil, false
	}
	if _, err := s.fs.Lstat(ctx, p); !errors.Is(err, fs.ErrNotExist) {
		return p, nil, false
	}
	if _, err := s.Partial(ctx, p); !errors.Is(err, fs.ErrNotExist) {
		return p, nil, false
	}
	name, err := p.Dir().Join(base)
	if err != nil {
		return p, nil, false
	}
	if part, err = s.Partial(ctx, name); err != nil {
		return p, nil, false
	}
	return name, &listed{FileInfo: part, name: p.Base()}, true
}

// A listed is a partial under the name with which it is listed.
type listed struct {
	fs.FileInfo
	name string
}

func (l *listed) Name() string { return l.name }

// Listable tells whether the account may list p at all. Where it can put files
// and see nothing, it may, and the list is empty.
func (s *Session) Listable(_ context.Context, p vfs.Path) error {
	if r := s.rights(p); r != 0 && r&(account.List|account.Read) == 0 {
		return nil
	}
	return s.may(account.List, "list", p)
}

// RightsIn is what the account may do with a name in dir.
func (s *Session) RightsIn(dir vfs.Path, name string) account.Rights {
	if len(s.account.Paths) == 0 {
		return s.account.Rights
	}
	p, err := dir.Join(name)
	if err != nil { // the directory itself, or the one above it
		p = dir
	}
	return s.rights(p)
}

// List yields the entries of a directory; see vfs.FS. Behind them come the
// account's own partials, where it has them listed.
func (s *Session) List(ctx context.Context, p vfs.Path) iter.Seq2[fs.FileInfo, error] {
	return func(yield func(fs.FileInfo, error) bool) {
		for fi, err := range s.finished(ctx, p) {
			if !yield(fi, err) || err != nil {
				return
			}
		}
		parts := s.listsPartials()
		if parts == nil || s.blind(p) {
			return
		}
		for fi, err := range parts.Names(ctx, p, s.account.Keeps()) {
			if err != nil {
				yield(nil, s.fail(err, "list", p))
				return
			}
			at, err := p.Join(fi.Name() + PartSuffix)
			if err != nil { // too long a name for anybody to ask for
				continue
			}
			if _, part, ok := s.behind(ctx, at); ok && !yield(part, nil) {
				return
			}
		}
	}
}

// finished is List without partials.
func (s *Session) finished(ctx context.Context, p vfs.Path) iter.Seq2[fs.FileInfo, error] {
	return func(yield func(fs.FileInfo, error) bool) {
		if err := s.Listable(ctx, p); err != nil {
			yield(nil, err)
			return
		}
		if s.blind(p) {
			return
		}
		for fi, err := range s.fs.List(ctx, p) {
			if err != nil {
				yield(nil, s.fail(err, "list", p))
				return
			}
			if !yield(fi, nil) {
				return
			}
		}
	}
}

// Link is where a link leads, as far as a peer may know: "" for an absolute
// target or one that leaves the tree.
func (s *Session) Link(ctx context.Context, p vfs.Path) string {
	l, ok := s.fs.(vfs.Linker)
	if !ok || s.rightsOfName(p)&account.ReadOnly == 0 {
		return ""
	}
	target, err := l.Readlink(ctx, p)
	if err != nil || strings.HasPrefix(target, "/") || strings.Contains(target, vfs.Hidden) {
		return ""
	}
	depth := strings.Count(strings.TrimPrefix(p.Dir().String(), "/"), "/")
	if !p.Dir().IsRoot() {
		depth++
	}
	for part := range strings.SplitSeq(path.Clean(target), "/") {
		if part != ".." {
			break
		}
		if depth--; depth < 0 {
			return ""
		}
	}
	return target
}

// Room tells whether size more bytes fit into the directory dir: kind NoSpace or
// OverQuota when they don't. A tree that does not know says yes.
func (s *Session) Room(ctx context.Context, dir vfs.Path, size int64) error {
	if sp, ok := s.fs.(vfs.Spacer); ok {
		if free, _, err := sp.Space(ctx, dir); err == nil && uint64(max(size, 0)) > free {
			return fault.New(fault.NoSpace, fault.IDNoSpace, Bytes(int64(free))+" free", "nothing was sent")
		}
	}
	if s.gate.Ledger == nil {
		return nil
	}
	hold, err := s.gate.Ledger.Hold(ctx, s.account.Name, 0, size)
	if err != nil {
		return s.fail(err, "upload to", dir)
	}
	return hold.Settle(ctx, 0, 0)
}

// Open opens a finished file for reading, or a partial by the name with which it
// is listed.
func (s *Session) Open(ctx context.Context, p vfs.Path) (vfs.File, error) {
	if err := s.may(account.Read, "download", p); err != nil {
		return nil, err
	}
	if name, _, ok := s.behind(ctx, p); ok {
		if err := s.may(account.Read, "download", name); err != nil {
			return nil, err
		}
		f, err := s.listsPartials().OpenPartial(ctx, name, s.account.Keeps())
		return f, s.fail(err, "download", p)
	}
	f, err := s.fs.Open(ctx, p)
	return f, s.fail(err, "download", p)
}

// OpenPartial opens the account's own cut upload to p for reading, as far as it came.
func (s *Session) OpenPartial(ctx context.Context, p vfs.Path) (vfs.File, error) {
	if err := s.may(account.Read, "download", p); err != nil {
		return nil, err
	}
	if _, err := s.Partial(ctx, p); err != nil {
		return nil, err
	}
	f, err := s.fs.(vfs.Partials).OpenPartial(ctx, p, s.account.Keeps())
	return f, s.fail(err, "download", p)
}

// Mkdir makes one directory.
func (s *Session) Mkdir(ctx context.Context, p vfs.Path) error {
	if err := s.may(account.MakeDir, "make the directory", p); err != nil {
		return err
	}
	return s.changed("mkdir", p, s.fail(s.fs.Mkdir(ctx, p), "make the directory", p))
}

// changed books a change of the tree.
func (s *Session) changed(verb string, p vfs.Path, err error) error {
	return s.changedTo(verb, p, "", err)
}

func (s *Session) changedTo(verb string, p vfs.Path, to string, err error) error {
	if err != nil {
		return err
	}
	if to == "" {
		s.log.Info(verb, "path", p.String())
	} else {
		s.log.Info(verb, "path", p.String(), "to", to)
	}
	s.gate.emit(s.ctx, event.Change{Meta: s.meta(), Verb: verb, Path: p.String(), To: to})
	return nil
}

// Remove removes a file, and with it the account's own partial of the name;
// where there is only the partial, that, and one by the name with which it is listed.
func (s *Session) Remove(ctx context.Context, p vfs.Path) error {
	if err := s.mayName(account.Delete, "delete", p); err != nil {
		return err
	}
	if name, _, ok := s.behind(ctx, p); ok {
		return s.removePart(ctx, p, name)
	}
	defer s.lock(p)()
	old, lerr := s.fs.Lstat(ctx, p)
	freed := s.frees(old, lerr)
	err := s.fs.Remove(ctx, p)
	if err == nil {
		freed(ctx)
	}
	parts, ok := s.fs.(vfs.Partials)
	if owner := s.account.Keeps(); ok && owner != "" && (err == nil || errors.Is(err, fs.ErrNotExist)) {
		if part, perr := parts.Partial(ctx, p, owner); perr == nil {
			if err = parts.Forget(ctx, p, owner); err == nil {
				s.credit(ctx, -1, -part.Size())
			}
		}
	}
	return s.changed("delete", p, s.fail(err, "delete", p))
}

// removePart removes the partial of a name that is listed as p.
func (s *Session) removePart(ctx context.Context, p, name vfs.Path) error {
	if err := s.mayName(account.Delete, "delete", name); err != nil {
		return err
	}
	defer s.lock(name)()
	part, err := s.Partial(ctx, name) // as it is now
	if err == nil {
		if err = s.listsPartials().Forget(ctx, name, s.account.Keeps()); err == nil {
			s.credit(ctx, -1, -part.Size())
		}
	}
	return s.changed("delete", p, s.fail(err, "delete", p))
}

// frees looks at a file whose name is about to go, and returns what books that it
// is gone. A file with other names stays.
func (s *Session) frees(fi fs.FileInfo, err error) func(context.Context) {
	if err != nil || !fi.Mode().IsRegular() || vfs.AttrOf(fi).Links > 1 {
		return func(context.Context) {}
	}
	had, u := s.gate.appends.counts(fi)
	return func(ctx context.Context) {
		had := had.plus(s.gate.appends.gone(u))
		s.credit(ctx, -had.files, -had.bytes)
	}
}

// credit books a change that no upload made.
func (s *Session) credit(ctx context.Context, files int, bytes int64) {
	if s.gate.Ledger == nil {
		return
	}
	if err := s.gate.Ledger.Adjust(context.WithoutCancel(ctx), s.account.Name, files, bytes); err != nil {
		s.log.Error("quota can't be booked", "error", err)
	}
}

// RemoveDir removes a directory that is empty but for the account's own
// partials, which go with it.
func (s *Session) RemoveDir(ctx context.Context, p vfs.Path) error {
	if err := s.mayName(account.Delete, "remove the directory", p); err != nil {
		return err
	}
	err := s.fs.RemoveDir(ctx, p)
	if err != nil && fault.KindOf(err) == fault.NotEmpty && s.looksEmpty(ctx, p) {
		if parts, ok := s.fs.(vfs.Partials); ok {
			if cerr := parts.Clear(ctx, p, s.account.Keeps(), func(n int64) { s.credit(ctx, -1, -n) }); cerr != nil {
				return s.fail(cerr, "remove the directory", p)
			}
			err = s.fs.RemoveDir(ctx, p)
		}
		if err != nil && fault.KindOf(err) == fault.NotEmpty {
			return fault.Because(err, fault.NotEmpty, fault.IDUploadInWay, p.String())
		}
	}
	return s.changed("rmdir", p, s.fail(err, "remove the directory", p))
}

// MayRemoveAll tells whether the account may remove the directory p and all that
// may be in it, whether or not there is anything at the paths below that have
// rights of their own.
func (s *Session) MayRemoveAll(ctx context.Context, p vfs.Path) error {
	if err := s.mayName(account.Delete, "remove the directory", p); err != nil {
		return err
	}
	for r := range s.below(p) {
		if !r.Has(account.List | account.Delete) {
			return fault.New(fault.Denied, fault.IDPerm, "remove "+p.String()+", because other rights hold in it")
		}
	}
	return s.Listable(ctx, p)
}

func (s *Session) looksEmpty(ctx context.Context, p vfs.Path) bool {
	for _, err := range s.fs.List(ctx, p) {
		_ = err
		return false
	}
	return true
}

// Renamable tells whether there is something to rename: a name, or the
// account's own partial.
func (s *Session) Renamable(ctx context.Context, p vfs.Path) error {
	if err := s.mayName(account.Rename, "rename", p); err != nil {
		return err
	}
	_, err := s.fs.Lstat(ctx, p)
	if err != nil && errors.Is(err, fs.ErrNotExist) {
		if _, perr := s.Partial(ctx, p); perr == nil {
			return nil
		}
		if name, _, ok := s.behind(ctx, p); ok {
			return s.mayName(account.Rename, "rename", name)
		}
	}
	return s.fail(err, "rename", p)
}

// MayRename checks the right to rename at both ends, before there is something to
// rename. A rename gives no right that
// the old place does not have, puts nothing where new names may not be, and moves
// no directory in which something holds that does not hold above it.
func (s *Session) MayRename(from, to vfs.Path) error {
	if err := s.mayName(account.Rename, "rename", from); err != nil {
		return err
	}
	if len(s.account.Paths) == 0 {
		return nil
	}
	if err := s.mayName(account.Rename, "rename to", to); err != nil {
		return err
	}
	old, now := s.rightsOfName(from), s.rightsOfName(to)
	if old != now {
		if err := s.mayName(account.Write, "rename to", to); err != nil {
			return err
		}
	}
	for _, r := range []account.Rights{account.List, account.Read, account.Overwrite, account.Delete, account.Attributes} {
		if now.Has(r) && !old.Has(r) {
			return fault.New(fault.Denied, fault.IDPerm, "move "+from.String()+" to where it has more rights")
		}
	}
	for range s.below(from) {
		return fault.New(fault.Denied, fault.IDPerm, "rename "+from.String()+", because other rights hold in it")
	}
	for range s.below(to) {
		return fault.New(fault.Denied, fault.IDPerm, "rename "+from.String()+" to "+to.String()+", because other rights hold there")
	}
	return nil
}

// below are the rights that the account's paths give inside of the directory p, and
// at its name.
func (s *Session) below(p vfs.Path) iter.Seq[account.Rights] {
	return func(yield func(account.Rights) bool) {
		top, _ := s.realName(p)
		for _, in := range s.account.Paths {
			if at, err := vfs.Resolve(vfs.Root, in.Path); err == nil && at.Under(top) && !at.IsRoot() && !yield(in.Rights) {
				return
			}
		}
	}
}

// Rename moves a name. A partial stays a partial, under the new name.
func (s *Session) Rename(ctx context.Context, from, to vfs.Path, how vfs.Rename) error {
	if err := s.MayRename(from, to); err != nil {
		return err
	}
	if name, _, ok := s.behind(ctx, from); ok {
		return s.renamePart(ctx, from, name, to)
	}
	defer s.lock(from, to)()
	old, lerr := s.fs.Lstat(ctx, to)
	if err := s.mayName(account.Overwrite, "replace", to); err != nil {
		if lerr == nil && how == vfs.Overwrite {
			return err
		}
		how = vfs.NoReplace // also what takes the name in this moment
	}
	replaced := s.frees(old, lerr)
	if to.Under(from) && to != from {
		return fault.New(fault.BadName, fault.IDBadName, "a directory can't be moved into itself")
	}
	fi, err := s.fs.Lstat(ctx, from)
	if err == nil {
		if err := s.keepsInside(ctx, fi, from, to); err != nil {
			return err
		}
		err = s.fs.Rename(ctx, from, to, how)
		// By way of a link both may be one name, and nothing has happened.
		if err == nil && from != to && (lerr != nil || !same(identityOf(fi), identityOf(old))) {
			replaced(ctx)
		}
	} else if parts, ok := s.fs.(vfs.Partials); ok && errors.Is(err, fs.ErrNotExist) && s.account.Keeps() != "" {
		older, perr := s.Partial(ctx, to)
		err = parts.MovePartial(ctx, from, to, s.account.Keeps())
		if err == nil && perr == nil && from != to {
			s.credit(ctx, -1, -older.Size())
		}
	}
	at := from
	if k := fault.KindOf(err); err != nil && (k == fault.Exists || k == fault.NotEmpty || k == fault.IsDir || k == fault.NotDir) {
		at = to // it is the new name that is in the way
	} else if err != nil && k == fault.NotFound {
		if _, ferr := s.fs.Lstat(ctx, from); ferr == nil {
			at = to
		}
	}
	return s.changedTo("rename", from, to.String(), s.fail(err, "rename to", at))
}

// keepsInside refuses to move a link to where its target would lead out of the tree:
// here nobody could follow it, but other programs of the machine would.
func (s *Session) keepsInside(ctx context.Context, fi fs.FileInfo, from, to vfs.Path) error {
	l, ok := s.fs.(vfs.Linker)
	if !ok || fi.Mode()&fs.ModeSymlink == 0 {
		return nil
	}
	target, err := l.Readlink(ctx, from)
	if err != nil || from.CheckTarget(target) != nil { // it was made by somebody else, and leads out already
		return nil
	}
	return to.CheckTarget(target)
}

// renamePart moves the partial of a name that is listed as from. It stays a
// partial, and is listed as to, whether that has the suffix or not.
func (s *Session) renamePart(ctx context.Context, from, name, to vfs.Path) error {
	target := to
	if base, isPart := strings.CutSuffix(to.Base(), PartSuffix); isPart {
		if at, err := to.Dir().Join(base); err == nil {
			target = at
		}
	}
	if err := s.MayRename(name, target); err != nil {
		return err
	}
	defer s.lock(name, target)()
	_, err := s.fs.Lstat(ctx, to)
	switch {
	case err == nil:
		return fault.New(fault.Exists, fault.IDExists, to.String())
	case !errors.Is(err, fs.ErrNotExist):
		return s.fail(err, "rename to", to)
	}
	older, perr := s.Partial(ctx, target)
	err = s.listsPartials().MovePartial(ctx, name, target, s.account.Keeps())
	if err == nil && perr == nil && name != target {
		s.credit(ctx, -1, -older.Size())
	}
	at := from
	if err != nil && fault.KindOf(err) == fault.Exists {
		at = target
	}
	return s.changedTo("rename", from, to.String(), s.fail(err, "rename to", at))
}

// SetTime sets the modification time of a file, or of the account's partial.
func (s *Session) SetTime(ctx context.Context, p vfs.Path, mtime time.Time) error {
	if err := s.may(account.Attributes, "set the time of", p); err != nil {
		return err
	}
	if name, _, ok := s.behind(ctx, p); ok {
		if err := s.may(account.Attributes, "set the time of", name); err != nil {
			return err
		}
		err := s.listsPartials().SetPartialTime(ctx, name, s.account.Keeps(), mtime)
		return s.changed("set time", p, s.fail(err, "set the time of", p))
	}
	err := s.fs.SetTime(ctx, p, mtime)
	if parts, ok := s.fs.(vfs.Partials); ok && errors.Is(err, fs.ErrNotExist) && s.account.Keeps() != "" {
		err = parts.SetPartialTime(ctx, p, s.account.Keeps(), mtime)
	}
	return s.changed("set time", p, s.fail(err, "set the time of", p))
}

// Chmod sets the nine permission bits. Kind NotBuilt where the tree has none.
func (s *Session) Chmod(ctx context.Context, p vfs.Path, mode fs.FileMode) error {
	if err := s.may(account.Attributes, "set the mode of", p); err != nil {
		return err
	}
	m, ok := s.fs.(vfs.Moder)
	if !ok {
		return fault.New(fault.NotBuilt, fault.IDNotBuilt, "this tree has no permission bits")
	}
	if name, _, ok := s.behind(ctx, p); ok {
		if err := s.may(account.Attributes, "set the mode of", name); err != nil {
			return err
		}
		err := s.listsPartials().ChmodPartial(ctx, name, s.account.Keeps(), mode)
		return s.changed("set mode", p, s.fail(err, "set the mode of", p))
	}
	err := m.Chmod(ctx, p, mode)
	if parts, ok := s.fs.(vfs.Partials); ok && errors.Is(err, fs.ErrNotExist) && s.account.Keeps() != "" {
		err = parts.ChmodPartial(ctx, p, s.account.Keeps(), mode)
	}
	return s.changed("set mode", p, s.fail(err, "set the mode of", p))
}

// Refused books a request that was answered with an error.
func (s *Session) Refused(verb, arg string, err error) {
	e := fault.Of(err)
	s.log.Info("refused", append(filled("verb", verb, "arg", arg), reason(e)...)...)
	s.gate.emit(s.ctx, event.Refusal{Meta: s.meta(), Verb: verb, Path: arg, Reason: string(e.ID)})
}

// Transferred books a transfer that is no upload: a download or a listing. A lost
// connection is one of data then, whatever it was for others that ran beside it.
func (s *Session) Transferred(t event.Transfer) {
	if t.Direction != event.Upload && t.Reason == string(fault.IDUploadCut) {
		t.Reason = string(fault.IDDataLost)
	}
	t.Meta = s.meta()
	t.TLS = t.TLS || s.visit.secured()
	if what := filled("path", t.Path, "bytes", t.Bytes, "took", t.Took, "road", t.Road); t.Whole {
		s.log.Info(string(t.Direction)+" done", what...)
	} else {
		s.log.Warn(string(t.Direction)+" cut", append(what, "reason", t.Reason)...)
	}
	s.gate.emit(s.ctx, t)
}
