package gate

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync/atomic"

	"dray/account"
	"dray/event"
	"dray/fault"
	"dray/meter"
	"dray/transfer"
	"dray/vfs"
)

// An Upload is a file that the session is writing, under its quota. It ends by
// exactly one of Commit and Cut.
type Upload struct {
	Text bool // TYPE A, for the record

	s       *Session
	p       vfs.Path
	up      vfs.Upload
	how     vfs.Create
	hold    account.Hold
	held    footing     // what hold holds
	file    int64       // length of the finished file when it began
	made    bool        // with Create.Direct: there was no file
	begun   atomic.Bool // with Create.Direct: what was behind the offset is gone
	taken   footing     // the partial that it goes on with, which counts already
	counter meter.Counter
	grow    *growth
	came    *extent // nil: from the offset on, one byte behind the other

	id   identity // of the file that it writes to in place, in Gate.appends
	gone bool     // that file counts no more; under appends.mu

	ended func() // of Session.Begin

	over   bool // settled, with gained; under appends.mu
	gained footing

	old   vfs.Edited // of an upload that goes over a file: that file
	under int64      // up to where it shows

	dir   identity // of the directory that it was begun in
	first footing  // what the name counted then
}

// Continue says how an upload goes on that asks for an offset (REST n and STOR:
// n; APPE: -1), by what is there under that name: a finished file, the account's
// partial, or both. Kind BadOffset when it does not fit.
func (s *Session) Continue(ctx context.Context, p vfs.Path, offset int64) (vfs.Create, error) {
	owner := s.account.Keeps()
	if s.blind(p) { // how it goes on would tell what is there
		if offset > 0 {
			return vfs.Create{}, fault.New(fault.Denied, fault.IDPerm, "go on with "+p.String())
		}
		return vfs.Create{How: vfs.Replace, Owner: owner}, nil
	}
	file, err := s.fs.Stat(ctx, p)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return vfs.Create{}, s.fail(err, "upload to", p)
	}
	part, perr := s.Partial(ctx, p)
	switch {
	case err != nil && perr != nil: // nothing is there
		if offset > 0 {
			return vfs.Create{}, fault.New(fault.BadOffset, fault.IDOffset, offset, int64(0))
		}
		return vfs.Create{How: vfs.Replace, Owner: owner}, nil
	case err != nil: // a partial alone
		if offset < 0 {
			offset = part.Size()
		}
		return vfs.Create{How: vfs.Resume, Offset: offset, Owner: owner}, nil
	case perr == nil && !s.inPlace(): // both: only the partial's own length goes on with it
		if offset != part.Size() {
			return vfs.Create{}, fault.New(fault.BadOffset, fault.IDResume, part.Size())
		}
		return vfs.Create{How: vfs.Resume, Offset: offset, Owner: owner}, nil
	case offset < 0 || offset == file.Size():
		return vfs.Create{How: vfs.InPlace, Offset: offset, Owner: owner}, nil
	}
	return vfs.Create{How: vfs.Replace, Offset: offset, Owner: owner}, nil // the tree refuses one above its size
}

// inPlace tells whether the account's uploads write to the name itself.
func (s *Session) inPlace() bool { return s.account.Uploads == account.UploadsInPlace }

// Create begins an upload. how.Owner, Listed and Direct are set here. An account
// without the right to overwrite never replaces what comes under the name
// meanwhile, and with vfs.New none does; where it can't even see what is there, a
// taken name is no refusal, because that would tell: the upload gets a name of its
// own. Without the right to set modes at p the file has the mode that the tree gives.
func (s *Session) Create(ctx context.Context, p vfs.Path, how vfs.Create) (*Upload, error) {
	// What was kept before the account was set to in-place goes on as it began.
	how.Direct = s.inPlace() && how.How != vfs.Resume
	how.Mode = s.modeAt(p, how.Mode)
	return s.upload(ctx, p, how)
}

// modeAt is the mode that a client gives something new at p, 0 where it may not.
func (s *Session) modeAt(p vfs.Path, mode fs.FileMode) fs.FileMode {
	if mode != 0 && !s.rights(p).Has(account.Attributes) {
		return 0
	}
	return mode
}

// upload is Create for what comes from the server itself, too: that is never direct.
func (s *Session) upload(ctx context.Context, p vfs.Path, how vfs.Create) (*Upload, error) {
	r := s.rights(p)
	blind := r&(account.List|account.Read) == 0
	whole := how.How == vfs.Replace && how.Offset == 0
	if own := blind && how.How == vfs.New; !own && (!whole || r.Has(account.Overwrite) || !r.Has(account.Write)) {
		return s.create(ctx, p, how)
	}
	if _, err := s.fs.Stat(ctx, p); err != nil || blind {
		how.How = vfs.New
	}
	up, err := s.create(ctx, p, how)
	for i := 1; blind && err != nil && fault.KindOf(err) == fault.Exists && i < 20; i++ {
		base := p.Base()
		tail := fmt.Sprintf(".%d", i)
		if i >= 10 { // who sends a thousand must not look for a thousand names each time
			tail = "." + newID()
		}
		beside, jerr := p.Dir().Join(strings.ToValidUTF8(base[:min(len(base), vfs.MaxName-len(tail))], "") + tail)
		if jerr != nil {
			return nil, err
		}
		up, err = s.create(ctx, beside, how)
	}
	return up, err
}

func (s *Session) create(ctx context.Context, p vfs.Path, how vfs.Create) (*Upload, error) {
	how.Owner = s.account.Keeps()
	if s.blind(p) || how.Direct {
		how.Owner = "" // nothing there can be gone on with, or all of it
	}
	how.Listed = how.Owner != "" && s.account.Partials == account.PartialsListed
	u := &Upload{s: s, p: p, how: how, made: how.Direct}
	need := account.Write
	seen := u.look(ctx)
	if fi := seen.file; fi != nil {
		u.file, u.made = fi.Size(), false
		if how.How != vfs.New {
			need = account.Overwrite
		}
	}
	if err := s.may(need, "upload to", p); err != nil {
		return nil, err
	}
	var was footing
	if s.gate.Ledger != nil {
		was = u.counts(seen)
		u.first = was
		u.dir = seen.dir
		files := 0
		if was.files == 0 || u.made {
			files = 1
		}
		hold, err := s.gate.Ledger.Hold(ctx, s.account.Name, files, 0)
		if err != nil {
			return nil, s.fail(err, "upload to", p)
		}
		u.hold, u.held.files = hold, files
	}
	up, err := u.begin(ctx)
	if err != nil {
		u.settle(ctx, footing{})
		return nil, s.fail(err, "upload to", p)
	}
	if how.How == vfs.InPlace && how.Offset >= 0 && u.file != how.Offset {
		// It has grown since Continue looked: what came would go over it.
		u.settle(ctx, footing{})
		return nil, errors.Join(fault.New(fault.BadOffset, fault.IDOffset, how.Offset, u.file), up.Discard())
	}
	u.up = up
	// Only what grows over the file and the partial that the commit replaces is asked for.
	room := was.bytes
	if u.inPlace() {
		room = u.file
	}
	room = max(room, up.Offset())
	u.grow = &growth{u: u, at: up.Offset(), base: room, room: room}
	size := int64(-1)
	if how.Expect > 0 {
		size = how.Expect
	}
	u.ended = s.Begin(event.Upload, p, size, u.counter.Bytes)
	return u, nil
}

// begin begins the upload in the tree, and takes the partial or the file with
// which it goes on.
func (u *Upload) begin(ctx context.Context) (vfs.Upload, error) {
	switch {
	case u.how.How == vfs.Resume:
		defer u.s.lock(u.p)()
		u.taken = u.partial(ctx)
	case u.inPlace():
		defer u.s.lock(u.p)()
		if u.how.Direct {
			_, err := u.s.fs.Stat(ctx, u.p)
			u.made = errors.Is(err, fs.ErrNotExist)
		}
	}
	up, err := u.s.fs.Create(ctx, u.p, u.how)
	if err != nil || !u.inPlace() {
		return up, err
	}
	if fi, err := up.Stat(); err == nil {
		u.file = fi.Size() // as it is under the lock of the tree
		if u.hold != nil {
			u.s.gate.appends.begin(u, fi)
		}
	}
	return up, nil
}

// inPlace tells whether the upload writes to a file that has its name.
func (u *Upload) inPlace() bool { return u.how.How == vfs.InPlace || u.how.Direct }

// before is what the quota has of the file that is written in place.
func (u *Upload) before() footing {
	if u.made {
		return footing{}
	}
	return footing{1, u.file}
}

// A footing is what counts in the quota.
type footing struct {
	files int
	bytes int64
}

func (f footing) plus(g footing) footing  { return footing{f.files + g.files, f.bytes + g.bytes} }
func (f footing) minus(g footing) footing { return footing{f.files - g.files, f.bytes - g.bytes} }

// partial is what the account's idle partial of the name counts.
func (u *Upload) partial(ctx context.Context) footing {
	if part, err := u.s.Partial(ctx, u.p); err == nil {
		return footing{1, part.Size()}
	}
	return footing{}
}

// A sight is what the path of an upload shows; nil: nothing.
type sight struct {
	file, part fs.FileInfo
	dir        identity // of the directory that holds them
}

// look looks at the path as it is now.
func (u *Upload) look(ctx context.Context) sight {
	s, owner := u.s, u.s.account.Keeps()
	if l, ok := s.fs.(vfs.Looker); ok {
		if s.blind(u.p) {
			owner = ""
		}
		seen, err := l.Look(ctx, u.p, owner)
		if err != nil {
			return sight{}
		}
		return sight{seen.File, seen.Partial, identityOf(seen.Dir)}
	}
	var seen sight
	if fi, err := s.fs.Stat(ctx, u.p); err == nil {
		seen.file = fi
	}
	if fi, err := s.Partial(ctx, u.p); err == nil {
		seen.part = fi
	}
	if fi, err := s.fs.Stat(ctx, u.p.Dir()); err == nil {
		seen.dir = identityOf(fi)
	}
	return seen
}

// counts is what a path counts: the finished file and the account's partial.
func (u *Upload) counts(seen sight) (f footing) {
	if seen.part != nil {
		f = footing{1, seen.part.Size()}
	}
	if seen.file != nil && seen.file.Mode().IsRegular() {
		c, _ := u.s.gate.appends.counts(seen.file)
		f = f.plus(c)
	}
	return f
}

// replaced is what counts for the name just before the commit.
func (u *Upload) replaced(ctx context.Context, seen sight) footing {
	switch {
	case u.hold == nil:
		return footing{}
	case u.how.Direct: // an older partial goes with the commit
		return u.before().plus(u.partial(ctx))
	case u.inPlace(): // the file has grown before our eyes
		return u.before()
	}
	if u.moved(seen) {
		return u.first
	}
	return u.counts(seen).plus(u.taken)
}

// moved tells whether the directory of the upload has another name by now. The
// upload goes where the directory went, so what the path shows is not its own.
func (u *Upload) moved(seen sight) bool {
	return u.hold != nil && u.dir != (identity{}) && seen.dir != u.dir
}

// reserve holds what a commit gains beyond what the upload holds: the file that it
// was to replace may have been moved away or deleted since it began. nil: nothing.
func (u *Upload) reserve(ctx context.Context, gain footing) (account.Hold, error) {
	if u.hold == nil {
		return nil, nil
	}
	lack := footing{max(gain.files-u.held.files, 0), max(gain.bytes-u.held.bytes, 0)}
	if lack == (footing{}) {
		return nil, nil
	}
	hold, err := u.s.gate.Ledger.Hold(ctx, u.s.account.Name, lack.files, lack.bytes)
	return hold, u.s.fail(err, "upload to", u.p)
}

// commit changes the name and books what that has gained. Still, where there is
// one, is asked immediately before it. After an error nothing has changed.
func (u *Upload) commit(ctx context.Context, still func(context.Context) error) error {
	// One at a time for a name: what is gained is how much more there is behind the
	// commit than before it.
	defer u.s.lock(u.p)()
	end := context.WithoutCancel(ctx)
	seen := u.look(end)
	was := u.replaced(end, seen)
	if u.how.How == vfs.Resume && !u.s.rights(u.p).Has(account.Overwrite) && seen.file != nil { // the other ways see to it themselves
		return fault.New(fault.Exists, fault.IDExists, u.p.String())
	}
	in := footing{1, u.file}
	var own identity
	if fi, err := u.up.Stat(); err == nil {
		in.bytes, own = fi.Size(), identityOf(fi)
	}
	more, err := u.reserve(end, in.minus(was))
	if err != nil {
		return err
	}
	if more != nil {
		defer func() { _ = more.Settle(end, 0, 0) }() // behind the settling of what was gained
	}
	moved := u.moved(seen)
	var writer *Upload
	if seen.file != nil && !moved {
		_, writer = u.s.gate.appends.counts(seen.file)
	}
	if still != nil {
		if err := still(ctx); err != nil {
			return err
		}
	}
	// The decision has fallen; a client that leaves now gets what it sent.
	if err := u.up.Commit(end); err != nil {
		// It may have failed behind the change of the name, at the flush of the
		// directory: then the file is there, and counts.
		if fi, serr := u.s.fs.Stat(end, u.p); u.hold != nil && serr == nil && own != (identity{}) && identityOf(fi) == own && !u.inPlace() {
			u.settle(end, in.minus(was))
			u.hold = nil
		}
		return err
	}
	if u.how.Direct {
		u.forget(end)
		in = in.plus(u.partial(end))
	}
	if u.hold == nil {
		return nil
	}
	// What was moved may show another file under its name by now, or none; and where
	// nothing was before, there is now what was committed.
	fresh := seen.file == nil && seen.part == nil && seen.dir == u.dir && u.dir != (identity{}) && own != (identity{})
	if !u.inPlace() && !moved && !fresh {
		now := u.look(end)
		in = u.counts(now)
		if seen.file != nil && now.file != nil && identityOf(now.file) != identityOf(seen.file) {
			more := u.s.gate.appends.gone(writer)
			u.s.credit(end, -more.files, -more.bytes)
		}
	}
	u.settle(end, in.minus(was))
	return nil
}

// forget removes what an earlier upload has left hidden.
func (u *Upload) forget(ctx context.Context) {
	parts, ok := u.s.fs.(vfs.Partials)
	owner := u.s.account.Keeps()
	if !ok || owner == "" {
		return
	}
	if err := parts.Forget(ctx, u.p, owner); err != nil {
		u.s.log.Error("an older unfinished upload can't be removed", "path", u.p.String(), "error", err)
	}
}

// Dest is where transfer writes. It is asked for when the data connection stands:
// an upload in place of its name takes away now what it replaces, and not before.
func (u *Upload) Dest() transfer.Dest {
	if u.how.Direct && !u.begun.Load() {
		// What fails here fails again at the first byte, where it is told.
		u.begun.Store(u.up.Truncate(u.up.Offset()) == nil)
	}
	return u.up
}

// Meter is the permission to write: growth within the quota, the count, and the
// rate of the account.
func (u *Upload) Meter() meter.Meter { return meter.All(u.grow, &u.counter, u.s.up) }

// Arrived is how many bytes have come so far. The kernel road books by the slice;
// the file knows better.
func (u *Upload) Arrived() int64 {
	if fi, err := u.up.Stat(); err == nil && (!u.inPlace() || u.begun.Load()) {
		return max(fi.Size()-u.up.Offset(), 0)
	}
	return u.counter.Bytes()
}

// Resumed tells whether the upload began behind the start of the file.
func (u *Upload) Resumed() bool { return u.up.Offset() > 0 }

func (u *Upload) settle(ctx context.Context, gained footing) {
	if u.hold == nil {
		return
	}
	if u.s.gate.appends.end(u, gained) {
		gained = footing{}
	}
	if err := u.hold.Settle(context.WithoutCancel(ctx), gained.files, gained.bytes); err != nil {
		u.s.log.Error("quota can't be booked", "error", err)
	}
	if u.grow != nil {
		u.grow.end()
	}
}

// Commit publishes the upload. Still is asked after the data are durable and
// immediately before the name changes: an error of it cuts the upload. From then
// on nothing ends the commit. After an error the upload has been cut.
func (u *Upload) Commit(ctx context.Context, r transfer.Report, still func(context.Context) error) error {
	defer u.ended()
	err := u.fill(ctx)
	if err == nil {
		err = u.up.Sync(ctx)
	}
	if err == nil {
		u.begun.Store(u.how.Direct)
		err = context.Cause(ctx)
	}
	if err == nil {
		err = u.commit(ctx, still)
	}
	if err != nil {
		return u.Cut(ctx, r, err)
	}
	u.s.log.Info("upload done", "path", u.p.String(), "bytes", r.Bytes, "took", r.Took, "road", string(r.Road), "resumed", u.Resumed())
	u.s.gate.emit(u.s.ctx, u.event(r, true, ""))
	return nil
}

// Cut ends an upload that is not whole and says, with why as its cause, what was
// kept.
func (u *Upload) Cut(ctx context.Context, r transfer.Report, why error) error {
	defer u.ended()
	ctx = context.WithoutCancel(ctx)
	left := u.cut(ctx, why)
	kept, became, bytes := "nothing kept", "nothing was published", left.bytes
	switch {
	case left.files == 0:
	case u.how.Direct:
		kept = fmt.Sprintf("%d bytes are in the file", bytes)
		became = fmt.Sprintf("the file itself has %d bytes now", bytes)
	default:
		kept = fmt.Sprintf("%d bytes kept to resume", bytes)
	}
	e := fault.Of(u.s.fail(why, "upload to", u.p))
	e = &fault.Error{Kind: e.Kind, ID: e.ID, Facts: e.Facts, Err: why}
	switch e.ID {
	case fault.IDNoSpace:
		e.Facts = []any{u.s.free(u.p), kept}
	case fault.IDTLSNoClose:
		e.Facts = []any{became}
	case fault.IDDeflate:
		e.Facts = append(slices.Clip(e.Facts), became)
	case fault.IDUploadCut:
		e.Facts = []any{kept}
		if u.how.Direct && left.files > 0 {
			e.ID = fault.IDCutInPlace
		}
	}
	u.s.log.Warn("upload cut", filled("path", u.p.String(), "bytes", r.Bytes, "took", r.Took, "road", string(r.Road),
		"reason", string(e.ID), "kept", bytes, "error", why)...)
	u.s.gate.emit(u.s.ctx, u.event(r, false, string(e.ID)))
	return e
}

// cut keeps what came and books it. It returns the partial that there is now, of a
// direct upload the file. What the quota ended is not kept: it would fill the quota,
// and where nobody lists it.
func (u *Upload) cut(ctx context.Context, why error) footing {
	u.leaveOld()
	defer u.s.lock(u.p)()
	if u.how.Direct {
		return u.leave(ctx)
	}
	was := u.partial(ctx).plus(u.taken)
	end := u.up.Cut
	moved := u.hold != nil && !u.inPlace() && u.moved(u.look(ctx))
	if moved || fault.KindOf(why) == fault.OverQuota && u.how.How != vfs.Resume {
		end = u.up.Discard // of a directory that has moved nobody could say what is left there
	} else if err := u.closeGaps(); err != nil {
		u.s.log.Error("a cut upload with a gap can't be kept", "path", u.p.String(), "error", err)
		end = u.up.Discard
	}
	if err := end(); err != nil && !errors.Is(err, fs.ErrClosed) {
		u.s.log.Error("a cut upload can't be put away", "path", u.p.String(), "error", err)
	}
	left := u.partial(ctx)
	if moved {
		left, was = footing{}, u.taken
	}
	u.settle(ctx, left.minus(was))
	return left
}

// leave ends a direct upload as it is. Where nothing came, nothing has changed.
func (u *Upload) leave(ctx context.Context) footing {
	left := u.before()
	if fi, err := u.up.Stat(); err == nil {
		a, known := fi.Sys().(*vfs.Attr)
		switch {
		case known && a.Links == 0: // somebody has deleted it
			left = footing{}
		case u.begun.Load() || u.counter.Bytes() > 0:
			left = footing{1, fi.Size()}
		}
	}
	if err := u.up.Cut(); err != nil && !errors.Is(err, fs.ErrClosed) {
		u.s.log.Error("a cut upload can't be put away", "path", u.p.String(), "error", err)
	}
	u.settle(ctx, left.minus(u.before()))
	return left
}

func (u *Upload) event(r transfer.Report, whole bool, reason string) event.Transfer {
	return event.Transfer{
		Meta: u.s.meta(), Direction: event.Upload, Path: u.p.String(), Bytes: r.Bytes, Took: r.Took,
		Road: string(r.Road), Text: u.Text, TLS: u.s.visit.secured(), Resumed: u.Resumed(), Whole: whole, Reason: reason,
	}
}

// Bytes writes a size for people: "1.0 MiB".
func Bytes(n int64) string {
	if n < 1024 {
		return fmt.Sprintf("%d bytes", n)
	}
	f, unit := float64(n), ""
	for _, unit = range []string{"KiB", "MiB", "GiB", "TiB", "PiB"} {
		if f /= 1024; f < 1024 {
			break
		}
	}
	return fmt.Sprintf("%.1f %s", f, unit)
}
