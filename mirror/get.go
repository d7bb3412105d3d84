package mirror

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"dray/fault"
	"dray/remote"
	"dray/transfer"
	"dray/vfs"
)

// A Download is one file to be received.
type Download struct {
	Path  string       // on the server
	URL   string       // of it, without a password
	Entry remote.Entry // what was told of it; the zero Entry: nothing yet
	Place *Place
	Name  string // in the place, with slashes
	// Backup is where a file of that name is moved before it is replaced; "": nowhere.
	Backup string

	told   remote.Entry // what Stat has told for this try; Known 0: it was not asked
	single bool         // it goes over one connection
}

// Download queues a file. The second one for a name that the first one of the run has
// is left out.
func (r *Run) Download(d Download) {
	if r.claims(d.URL, d.Place.Path(d.Name)) {
		r.fetch(d)
	}
}

func (r *Run) fetch(d Download) {
	size := int64(-1)
	if d.Entry.Is(sized) {
		size = d.Entry.Size
	}
	r.add(&job{from: d.URL, to: d.Place.Path(d.Name), size: size, run: func(ctx context.Context, j *job) error {
		return r.download(ctx, j, &d)
	}})
}

// overlap is how much of what is there is fetched again when a download goes on:
// bytes that differ show another version of the file.
const overlap = 64 << 10

// noteAfter is how long a download runs before a note is written beside it, and
// how often then.
const noteAfter = 2 * time.Second

func (r *Run) download(ctx context.Context, j *job, d *Download) error {
	if d.Entry.Known == 0 || j.try > 1 { // not told, or perhaps another one since
		e, err := r.tree.Stat(ctx, d.Path)
		switch {
		case err == nil:
			d.told = e
			d.Entry = newer(e, d.Entry)
		case fault.KindOf(err) != fault.Unsupported: // else the transfer will tell
			return err
		}
		if d.Entry.Is(typed) && d.Entry.Mode.IsDir() {
			return &fault.Error{Kind: fault.IsDir, ID: fault.IDIsDir, Facts: []any{d.URL}, Do: []string{"add -r to take a directory with all that is in it"}}
		}
		r.resize(j, d.Entry)
	}
	if d.Entry.Is(typed) && d.Entry.Mode.Type()&^fs.ModeSymlink != 0 {
		return fault.New(fault.IsDir, fault.IDNotRegular, d.URL)
	}
	if d.Backup == "" { // which is named from the top
		if sub := d.Place.enter(Dir(d.Name)); sub != nil {
			here := *d
			here.Place, here.Name = &sub.Place, path.Base(d.Name)
			err := r.into(ctx, j, &here)
			d.Place.leave(sub)
			d.Entry, d.told, d.single = here.Entry, here.told, here.single
			if err != nil && !errors.Is(err, fs.ErrNotExist) || d.Place.has(sub) {
				return err
			}
			d.Place.below.forget(sub) // somebody has taken it away, perhaps with what came
			j.goOn(0)
		}
	}
	return r.into(ctx, j, d)
}

// into receives a file of which is known what the server tells of it.
func (r *Run) into(ctx context.Context, j *job, d *Download) error {
	if err := r.refuseTarget(d); err != nil || r.opt.DryRun {
		return err
	}
	p := &part{run: r, job: j, d: d, name: filepath.FromSlash(d.Name)}
	if !r.opt.InPlace {
		p.name = filepath.FromSlash(PartName(d.Name, r.opt.Suffix))
		p.note = p.name + ".json"
	}
	err := p.whole(ctx)
	if fault.Of(err).ID != fault.IDVerify {
		return err
	}
	// What came is put aside. It may have been wrong on the way or on the disk.
	p.say(Noted, err, "the checksums differ: it is fetched once more from the start")
	p.anew = true
	j.goOn(0)
	if err = p.whole(ctx); err == nil {
		_ = d.Place.root.Remove(p.name + ".bad")
	}
	return err
}

// newer is what is told of an entry now, with the mode that was told before where it
// is not told again.
func newer(e, before remote.Entry) remote.Entry {
	if !e.Is(moded) && before.Is(moded) {
		e.Mode |= before.Mode.Perm()
		e.Known |= moded
	}
	return e
}

// resize takes over the size of a source that is known now.
func (r *Run) resize(j *job, e remote.Entry) {
	if e.Is(sized) {
		r.resized(j, e.Size)
	}
}

// refuseTarget looks at what has the name already.
func (r *Run) refuseTarget(d *Download) error {
	fi, err := d.Place.Stat(d.Name)
	switch {
	case err != nil:
		return nil // it is missing, or opening beside it will say why
	case fi.IsDir():
		return fault.New(fault.IsDir, fault.IDLocal, d.Place.Path(d.Name), "a directory has this name")
	case r.opt.Conflict == Skip:
		return errSkipped
	case r.opt.Conflict == Newer && d.Entry.Is(timed) && !fi.ModTime().Before(d.Entry.Time):
		return errSkipped
	}
	return nil
}

// A part is a file that is being received.
type part struct {
	run    *Run
	job    *job
	d      *Download
	f      *os.File
	name   string   // in the place
	note   string   // "": none is kept
	old    bool     // a note stands beside it
	summed []uint32 // checksums of the first blocks, as takeNotes made them
	anew   bool     // nothing that is there is gone on with
	front  *front   // nil: the bytes come in their order
	first  extent   // what the note has proven of the first bytes
	came   []extent // and behind the first hole
}

func (p *part) say(what What, err error, why string) {
	p.run.say(Event{What: what, ID: p.job.id, From: p.job.from, To: p.job.to, Size: p.job.size, Err: err, Why: why})
}

// whole receives the file and gives it its name.
func (p *part) whole(ctx context.Context) error {
	if err := p.open(); err != nil {
		return err
	}
	defer func() { p.f.Close() }()
	from, err := p.begin(ctx)
	if err != nil {
		if fi, stat := p.f.Stat(); stat == nil && fi.Size() == 0 && !p.run.opt.InPlace {
			p.remove()
		}
		return err
	}
	if err := p.receive(ctx, from); err != nil {
		return err
	}
	return p.finish(ctx)
}

// open opens the unfinished file, for this transfer alone.
func (p *part) open() error {
	root, at := p.d.Place.root, p.d.Place.Path(p.name)
	look := root.Lstat
	if p.run.opt.InPlace {
		look = root.Stat
	}
	for range 10 {
		f, err := root.OpenFile(p.name, os.O_RDWR|os.O_CREATE, 0o666)
		if errors.Is(err, fs.ErrNotExist) {
			p.d.Place.dirs.forget(Dir(p.d.Name))
			if err := p.d.Place.Mkdir(Dir(p.d.Name)); err != nil {
				return err
			}
			f, err = root.OpenFile(p.name, os.O_RDWR|os.O_CREATE, 0o666)
		}
		if err != nil {
			return LocalError(at, err)
		}
		if free, err := lock(f); err != nil || !free {
			f.Close()
			return fault.Because(err, fault.Busy, fault.IDLocal, at, "another transfer writes to it")
		}
		// Who had it before may have given it its final name meanwhile.
		own, err := f.Stat()
		there, missing := look(p.name)
		if err == nil && missing == nil && os.SameFile(own, there) {
			p.f = f
			return nil
		}
		f.Close()
		if missing == nil && there.Mode().Type() == fs.ModeSymlink {
			_ = root.Remove(p.name) // nothing of ours
		}
	}
	return fault.New(fault.Busy, fault.IDLocal, at, "another transfer writes to it")
}

// source is the note about this version of the source.
func (p *part) source() note {
	e := &p.d.Entry
	n := note{Source: p.d.URL, Size: -1, Unique: e.Unique}
	if e.Is(sized) {
		n.Size = e.Size
	}
	if e.Is(timed) {
		n.Time, n.Step = e.Time, e.Step
	}
	return n
}

// begin finds out how much of the file is there already, and belongs to it.
func (p *part) begin(ctx context.Context) (int64, error) {
	r := p.run
	fi, err := p.f.Stat()
	if err != nil {
		return 0, LocalError(p.d.Place.Path(p.name), err)
	}
	if !fi.Mode().IsRegular() {
		return 0, fault.New(fault.IsDir, fault.IDLocal, p.d.Place.Path(p.name), "it is no regular file")
	}
	n, noted := note{}, false
	if p.note != "" {
		n, noted, p.old = readNote(p.d.Place.root, p.note)
	}
	p.first, p.came = extent{}, nil
	if p.anew || r.opt.Resume == ResumeNever || r.opt.Text {
		return p.goOn(0)
	}
	want := p.source()
	have := int64(0)
	switch there := fi.Size(); {
	case there == 0:
	case r.opt.Resume == ResumeForce:
		if noted && n.Version > 1 { // a hole is no data
			there = min(there, n.Bytes)
		}
		if want.Size < 0 || there <= want.Size {
			have = there
		}
	case noted && n.same(want.Source, want.Size, want.Time, p.d.Entry.Step, want.Unique):
		if have = n.proven(p.f, there); have > want.Size {
			have = 0
		}
		p.first = extent{0, have, n.Blocks[:(have+block-1)/block]}
		if p.divisible(want.Size) {
			p.came = n.ranges(p.f, there, want.Size)
		}
	case r.opt.Resume == ResumeVerify && there <= want.Size:
		if have, err = p.proves(ctx, p.f, there); err != nil {
			return 0, err
		}
	case noted:
		p.say(Noted, nil, "the unfinished file is of another version of the source: it is fetched from the start")
	}
	if have == 0 && len(p.came) == 0 && !r.opt.InPlace && (r.opt.Resume == ResumeVerify || r.opt.Resume == ResumeForce) {
		if have, err = p.adopt(ctx, want.Size); err != nil {
			return 0, err
		}
	}
	all := have
	for _, e := range p.came {
		all += e.Bytes
	}
	if all > 0 && p.job.begin == 0 && p.job.moved.Bytes() == 0 {
		p.job.begin = all
		r.say(Event{What: Kept, ID: p.job.id, From: p.job.from, To: p.job.to, Size: p.job.size, Begin: all})
	}
	if len(p.came) > 0 && all < want.Size {
		p.job.goOn(all)
		return have, nil
	}
	if all == fi.Size() {
		p.summed = nil
		p.job.goOn(all)
		return all, nil
	}
	return p.goOn(all)
}

// proves asks the server whether the first n bytes of f are those of the source, and
// returns n or 0.
func (p *part) proves(ctx context.Context, f io.ReaderAt, n int64) (int64, error) {
	agree, algorithm, err := p.run.agree(ctx, p.d.Path, f, n)
	switch {
	case err != nil:
		return 0, named(err, p.d.URL, p.d.Place.Path(p.name), 0)
	case agree:
		return n, nil
	case algorithm == "":
		p.say(Noted, nil, "nothing proves that what is there is the beginning of the source: it is fetched from the start")
	default:
		p.say(Noted, fault.New(fault.Mismatch, fault.IDResume, p.job.to, "the "+algorithm+" of both sides differ"),
			"what is there differs from the source: it is fetched from the start")
	}
	return 0, nil
}

// adopt takes the file that has the final name for the beginning of the source, when it
// is one. It is copied, so that the name has what it had until the whole file is there.
func (p *part) adopt(ctx context.Context, size int64) (int64, error) {
	f, err := p.d.Place.root.Open(filepath.FromSlash(p.d.Name))
	if err != nil {
		return 0, nil
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil || !fi.Mode().IsRegular() || fi.Size() == 0 || size >= 0 && fi.Size() > size {
		return 0, nil
	}
	n := fi.Size()
	if p.run.opt.Resume != ResumeForce {
		if proven, err := p.proves(ctx, f, n); proven == 0 {
			return 0, err
		}
	}
	if n == size {
		return 0, errSkipped
	}
	if _, err := transfer.Copy(ctx, sink{p.f, 0}, source{f}, 0, n, transfer.Options{}); err != nil {
		_ = p.f.Truncate(0)
		return 0, named(err, p.d.URL, p.d.Place.Path(p.name), 0)
	}
	return n, nil
}

// goOn cuts off what is behind the first at bytes.
func (p *part) goOn(at int64) (int64, error) {
	p.summed = nil
	if err := p.f.Truncate(at); err != nil {
		return 0, LocalError(p.d.Place.Path(p.name), err)
	}
	p.job.goOn(at)
	return at, nil
}

// receive fetches the file from the byte at from on.
func (p *part) receive(ctx context.Context, from int64) error {
	r := p.run
	size := p.source().Size
	if r.opt.Resume == ResumeForce && from == size && from > 0 && !r.opt.Text {
		return nil
	}
	if d := p.divide(from, size); d != nil {
		return d.receive(ctx)
	}
	g, dst := p.request(from, size)
	stop := p.takeNotes(ctx, from)
	rep, err := r.tree.Get(ctx, p.d.Path, g, dst)
	stop()
	if errors.Is(err, errOther) {
		return p.fromTheStart(ctx)
	}
	whole := g.From + rep.Bytes
	if p.front != nil && err != nil {
		whole = min(whole, p.front.top())
	}
	left := max(whole, from)
	if err == nil && size >= 0 && whole != size && !r.opt.Text {
		if whole < size {
			err = fault.New(fault.Cut, fault.IDShortFile, p.d.URL, whole, size)
		} else if err = p.grown(ctx, whole, size); err != nil {
			left = 0 // nobody knows which version it is of
		}
	}
	if err != nil {
		p.leave(left)
		return named(err, p.d.URL, p.d.Place.Path(p.name), left)
	}
	return nil
}

// request is what is asked for, and where it goes. With a beginning that is there
// already the last of it is fetched again and compared.
func (p *part) request(from, size int64) (remote.Get, transfer.Dest) {
	g := remote.Get{From: from, Size: size, How: transfer.Options{Meter: p.run.permit(p.job), Idle: p.run.opt.Idle, Text: p.run.opt.Text}}
	var dst transfer.Dest = sink{p.f, from}
	if from > 0 && p.run.opt.Resume != ResumeForce {
		g.From = from - min(from, overlap)
		dst = &joint{f: p.f, at: g.From, from: from}
	}
	p.job.goOn(g.From)
	p.front = nil
	if p.run.traits().Overlap {
		p.front = &front{dst: dst, at: g.From, later: map[int64]int64{}}
		dst = p.front
	}
	return g, dst
}

// grown settles a file that has more bytes than was told: it is whole when the server
// tells the new size now.
func (p *part) grown(ctx context.Context, whole, size int64) error {
	e, err := p.run.tree.Stat(ctx, p.d.Path)
	switch {
	case err != nil:
		return err
	case !e.Is(sized) || e.Size == size:
		return fault.New(fault.Mismatch, fault.IDShortFile, p.d.URL, whole, size)
	case e.Size != whole:
		return fault.New(fault.Mismatch, fault.IDSourceMoved, p.d.URL)
	}
	p.d.Entry = newer(e, p.d.Entry)
	p.run.resize(p.job, e)
	return nil
}

// fromTheStart forgets a beginning that belongs to another version of the file.
func (p *part) fromTheStart(ctx context.Context) error {
	p.say(Noted, fault.New(fault.Mismatch, fault.IDResume, p.job.to, "its last bytes are others"), "the unfinished file differs from the source: it is fetched from the start")
	if _, err := p.goOn(0); err != nil {
		return err
	}
	p.job.begin = 0
	return p.receive(ctx, 0)
}

// named puts a path into a failure of a transfer that has no facts of its own. What is
// no failure of the network is one of file, which is on this machine.
func named(err error, path, file string, at int64) error {
	var fe *fault.Error
	var pe *fs.PathError
	var errno syscall.Errno
	if !errors.As(err, &fe) && (errors.As(err, &pe) || errors.As(err, &errno)) {
		return LocalError(file, err)
	}
	e := fault.Of(err)
	if len(e.Facts) > 0 {
		return err
	}
	switch e.ID {
	case fault.IDDataLost, fault.IDUploadCut:
		return fault.Because(err, e.Kind, fault.IDDataLost, path, at)
	case fault.IDTLSNoClose:
		return fault.Because(err, e.Kind, e.ID, path)
	}
	return err
}

// leave keeps the first at bytes, with a note that proves them, for the next time.
func (p *part) leave(at int64) {
	p.job.left = false
	if p.run.opt.InPlace {
		return
	}
	if at <= 0 {
		p.remove()
		return
	}
	if fi, err := p.f.Stat(); err == nil && fi.Size() > at {
		_ = p.f.Truncate(at)
	}
	if p.run.opt.Text {
		return
	}
	err := p.write(at)
	if kind := fault.KindOf(err); at > overlap && (kind == fault.NoSpace || kind == fault.OverQuota) {
		if _, err = p.goOn(at - overlap); err == nil { // make room for it
			err = p.write(at - overlap)
		}
	}
	if p.job.left = err == nil; err != nil && p.old {
		_ = p.d.Place.root.Remove(p.note) // it was about something else
	}
}

// remove takes away an unfinished file that has nothing in it.
func (p *part) remove() {
	_ = p.d.Place.root.Remove(p.name)
	_ = p.d.Place.root.Remove(p.note)
}

// write writes the note about the first at bytes.
func (p *part) write(at int64) error {
	n := p.source()
	if n.Size < 0 {
		return errors.ErrUnsupported // nothing tells one version from another
	}
	var err error
	n.Bytes = at
	whole := int(min(int64(len(p.summed)), at/block)) // these were summed on the way
	from := int64(whole) * block
	if n.Blocks, err = sums(io.NewSectionReader(p.f, from, at-from), at-from); err != nil {
		return err
	}
	n.Blocks = append(slices.Clip(p.summed[:whole]), n.Blocks...)
	p.old = true
	return writeNote(p.d.Place.root, p.note, n)
}

// takeNotes writes notes while a long transfer runs, for the case that the process
// is killed. The returned function ends that.
func (p *part) takeNotes(ctx context.Context, from int64) (stop func()) {
	if p.note == "" || p.run.opt.Text || p.d.Entry.Is(sized) && p.d.Entry.Size-from < block {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	over := make(chan struct{})
	go func() {
		defer close(over)
		tick := time.NewTicker(noteAfter)
		defer tick.Stop()
		n := p.source()
		for n.Size >= 0 {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			at := p.job.at()
			if p.front != nil {
				at = p.front.top()
			}
			if at = at / block * block; at < n.Bytes+block {
				continue
			}
			more, err := sums(io.NewSectionReader(p.f, n.Bytes, at-n.Bytes), at-n.Bytes)
			if err != nil {
				continue
			}
			n.Blocks = append(n.Blocks, more...)
			n.Bytes = at
			_ = writeNote(p.d.Place.root, p.note, n)
			p.old, p.summed = true, n.Blocks
		}
	}()
	return func() {
		cancel()
		<-over
	}
}

// finish gives the file its name.
func (p *part) finish(ctx context.Context) error {
	r, e := p.run, &p.d.Entry
	if err := p.verify(ctx); err != nil {
		if fi, stat := p.f.Stat(); stat == nil && fault.Of(err).ID != fault.IDVerify {
			p.leave(fi.Size()) // all of it
		}
		return err
	}
	if e.Is(moded) && !r.opt.NoModes {
		mode := e.Mode.Perm()&^p.d.Place.umask | 0o600
		if fi, err := p.f.Stat(); err == nil && fi.Mode().Perm() != mode {
			_ = p.f.Chmod(mode) // a file system without modes is no reason to fail
		}
	}
	if e.Is(timed) && !r.opt.NoTimes {
		_ = p.d.Place.root.Chtimes(p.name, e.Time, e.Time)
	}
	at := filepath.FromSlash(p.d.Name)
	if p.name != at {
		if p.d.Backup != "" {
			if err := p.d.Place.keep(p.d.Name, p.d.Backup); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		if err := p.d.Place.root.Rename(p.name, at); err != nil {
			return LocalError(p.d.Place.Path(p.d.Name), err)
		}
	}
	if p.old {
		_ = p.d.Place.root.Remove(p.note)
	}
	p.job.left = false
	if err := p.f.Close(); err != nil {
		return LocalError(p.d.Place.Path(p.d.Name), err)
	}
	return nil
}

// verify compares checksums, where that was asked for.
func (p *part) verify(ctx context.Context) error {
	r := p.run
	if r.opt.Verify != VerifyHash || r.opt.Text {
		return nil
	}
	fi, err := p.f.Stat()
	if err != nil {
		return LocalError(p.d.Place.Path(p.name), err)
	}
	algorithm, theirs, err := r.theirSum(ctx, p.d.Path, fi.Size())
	if err != nil {
		return err
	}
	ours, err := fileSum(algorithm, p.f, fi.Size())
	if err != nil {
		return LocalError(p.d.Place.Path(p.name), err)
	}
	if strings.EqualFold(ours, theirs) {
		return nil
	}
	bad := p.name + ".bad"
	if p.d.Place.root.Rename(p.name, bad) == nil && p.old {
		_ = p.d.Place.root.Remove(p.note)
	}
	p.job.left = false
	return fault.Because(fmt.Errorf("here %s, on the server %s; what came is kept as %s", ours, theirs, p.d.Place.Path(bad)), fault.Mismatch, fault.IDVerify, p.d.URL, algorithm)
}

// theirSum is the checksum of the first size bytes of a file of the server, by the
// server, or of what it sends when it is read again.
func (r *Run) theirSum(ctx context.Context, path string, size int64) (algorithm, sum string, err error) {
	algorithm = r.opt.Algorithm
	if algorithm == "" {
		algorithm = "sha256"
		for _, a := range r.traits().Sums {
			if hashes[strings.ToLower(a)] != nil {
				algorithm = strings.ToLower(a)
				break
			}
		}
	}
	if sum, err = r.tree.Sum(ctx, path, algorithm, 0, 0); err == nil || fault.KindOf(err) != fault.Unsupported {
		return algorithm, sum, err
	}
	h := NewSummer(algorithm)
	if h == nil {
		return algorithm, "", fault.New(fault.Unsupported, fault.IDUnsupported, "checksums by "+algorithm)
	}
	_, err = r.tree.Get(ctx, path, remote.Get{Size: size, How: r.reading()}, h)
	if err == nil {
		sum, err = h.Sum()
	}
	return algorithm, sum, err
}

// reading is how bytes are fetched that are only looked at. The rates are of all bytes.
func (r *Run) reading() transfer.Options {
	return transfer.Options{Idle: r.opt.Idle, Meter: r.opt.Permit()}
}

// agree tells whether the first n bytes of a file of the server are those of f, by a
// checksum of the server's. Where it makes none, algorithm is "".
func (r *Run) agree(ctx context.Context, path string, f io.ReaderAt, n int64) (agree bool, algorithm string, err error) {
	for _, a := range r.traits().Sums {
		a = strings.ToLower(a)
		if hashes[a] == nil {
			continue
		}
		theirs, err := r.tree.Sum(ctx, path, a, 0, n)
		switch {
		case ctx.Err() != nil:
			return false, "", context.Cause(ctx)
		case err != nil && Transient(err):
			return false, "", err
		case err != nil: // of what is not whole, or not of a part
			return false, "", nil
		}
		ours, err := fileSum(a, f, n)
		if err != nil {
			return false, a, err
		}
		return strings.EqualFold(ours, theirs), a, nil
	}
	return false, "", nil
}

// traits are those of the tree, the zero ones when it is not to be reached.
func (r *Run) traits() remote.Traits {
	t, _ := r.tree.Traits(r.ctx)
	return t
}

// A sink is a file that the kernel may write to.
type sink struct {
	f  *os.File
	at int64
}

func (s sink) WriteAt(b []byte, at int64) (int, error) { return s.f.WriteAt(b, at) }
func (s sink) Offset() int64                           { return s.at }
func (s sink) OSFile() *os.File                        { return s.f }

var (
	_ transfer.Dest = sink{}
	_ vfs.Kernel    = sink{}
)

// A front is a Dest whose bytes come in any order. It knows how many of the first ones
// are there: bytes behind a gap prove nothing.
type front struct {
	dst   transfer.Dest
	mu    sync.Mutex
	at    int64
	later map[int64]int64 // the pieces behind a gap: where they begin, and end
}

// maxLater bounds the pieces that are remembered. What is forgotten counts as missing.
const maxLater = 1 << 16

func (s *front) Offset() int64 { return s.dst.Offset() }

func (s *front) WriteAt(b []byte, at int64) (int, error) {
	n, err := s.dst.WriteAt(b, at)
	s.mu.Lock()
	defer s.mu.Unlock()
	end := at + int64(n)
	if at > s.at {
		if n > 0 && len(s.later) < maxLater {
			s.later[at] = max(end, s.later[at])
		}
		return n, err
	}
	s.at = max(s.at, end)
	for next, ok := s.later[s.at]; ok; next, ok = s.later[s.at] {
		delete(s.later, s.at)
		s.at = next
	}
	return n, err
}

// top is the end of the bytes that are there without a gap.
func (s *front) top() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at
}

// errOther is the failure of a joint whose two sides do not fit.
var errOther = errors.New("the bytes that are there already differ")

// A joint is a file of which the bytes before from are compared and not written.
type joint struct {
	f        *os.File
	at, from int64
}

func (s *joint) Offset() int64 { return s.at }

func (s *joint) WriteAt(b []byte, at int64) (int, error) {
	n := 0
	if at < s.from {
		n = int(min(int64(len(b)), s.from-at))
		have := make([]byte, n)
		if _, err := s.f.ReadAt(have, at); err != nil {
			return 0, err
		}
		if !bytes.Equal(have, b[:n]) {
			return 0, errOther
		}
	}
	if n == len(b) {
		return n, nil
	}
	m, err := s.f.WriteAt(b[n:], at+int64(n))
	return n + m, err
}

// Dir is what holds a name of a place, "." at its top.
func Dir(name string) string {
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		return name[:i]
	}
	return "."
}

func hexSum(b []byte) string { return hex.EncodeToString(b) }
