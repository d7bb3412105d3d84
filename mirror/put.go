package mirror

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"dray/fault"
	"dray/remote"
	"dray/transfer"
	"dray/vfs"
)

// An Upload is one file to be sent.
type Upload struct {
	File string // on this machine
	Path string // on the server
	URL  string // of that, without a password
	// Fresh tells that nothing of that name is on the server, as in a directory
	// that was just made.
	Fresh bool
	Size  int64 // as a listing told it, -1 unknown
	// Backup is where a file of that name is moved before it is replaced; "": nowhere.
	Backup string
}

// Upload queues a file. The second one for a name that the first one of the run has is
// left out.
func (r *Run) Upload(u Upload) {
	if r.claims(u.File, u.URL) {
		r.give(u)
	}
}

func (r *Run) give(u Upload) {
	r.add(&job{from: u.File, to: u.URL, size: u.Size, run: func(ctx context.Context, j *job) error {
		return r.upload(ctx, j, &u)
	}})
}

// A source is the file of an upload. The kernel may read from it.
type source struct{ *os.File }

func (s source) OSFile() *os.File { return s.File }

var (
	_ vfs.File   = source{}
	_ vfs.Kernel = source{}
)

func (r *Run) upload(ctx context.Context, j *job, u *Upload) error {
	if fi, err := os.Stat(u.File); err == nil && !fi.Mode().IsRegular() { // opening it could wait for ever
		id := fault.IDNotRegular
		if fi.IsDir() {
			id = fault.IDIsDir
		}
		return fault.New(fault.IsDir, id, u.File)
	}
	f, err := os.Open(u.File)
	if err != nil {
		return LocalError(u.File, err)
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return LocalError(u.File, err)
	}
	r.resized(j, fi.Size())
	if err := r.refuseUpload(ctx, u, fi); err != nil || r.opt.DryRun {
		return err
	}
	traits, err := r.tree.Traits(ctx)
	if err != nil {
		return err
	}
	s := &sending{run: r, job: j, u: u, f: f, fi: fi, name: u.Path, traits: traits, size: fi.Size()}
	if !r.opt.InPlace && (!traits.Dray || u.Backup != "") {
		s.name = PartName(u.Path, r.opt.Suffix)
	}
	first := s.name
	if err = s.send(ctx); fault.Of(err).ID != fault.IDVerify {
		return err
	}
	// What is there was put aside. It may have been wrong on the way or on the disk.
	r.say(Event{What: Noted, ID: j.id, From: j.from, To: j.to, Size: j.size, Err: err, Why: "the checksums differ: it is sent once more from the start"})
	s.name, s.anew = first, true
	bad := s.bad()
	if err = s.send(ctx); err == nil {
		_ = r.tree.Remove(ctx, bad)
	}
	return err
}

// bad is the name of what turned out to be wrong.
func (s *sending) bad() string { return PartName(s.u.Path, s.run.opt.Suffix+".bad") }

// refuseUpload looks at what has the name on the server, where that matters.
func (r *Run) refuseUpload(ctx context.Context, u *Upload, fi fs.FileInfo) error {
	if r.opt.Conflict == Replace || u.Fresh {
		return nil
	}
	e, err := r.tree.Stat(ctx, u.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case r.opt.Conflict == Skip, e.Is(timed) && !e.Time.Add(e.Step).Before(fi.ModTime()):
		return errSkipped
	}
	return nil
}

// sending is one upload.
type sending struct {
	run    *Run
	job    *job
	u      *Upload
	f      *os.File
	fi     fs.FileInfo
	name   string // on the server, while it is not whole
	traits remote.Traits
	noted  bool
	size   int64 // of what was sent
	anew   bool  // nothing that is there is gone on with

	compares bool // the beginning could not be looked at: the whole is, at the end
}

func (s *sending) source() note {
	name, err := filepath.Abs(s.u.File)
	if err != nil {
		name = s.u.File
	}
	return note{Source: name, Target: s.u.URL, Size: s.fi.Size(), Time: s.fi.ModTime()}
}

// key is the name of the note about this source and target.
func (s *sending) key() string {
	n := s.source()
	h := sha256.Sum256([]byte(n.Source + "\x00" + n.Target))
	return hex.EncodeToString(h[:16]) + ".json"
}

func (s *sending) shelf() shelf { return dirShelf(s.run.opt.State) }

func (s *sending) send(ctx context.Context) error {
	from, err := s.begin(ctx)
	if err != nil {
		return err
	}
	s.job.goOn(from)
	r := s.run
	put := remote.Put{From: from, Size: s.fi.Size(), Fresh: s.u.Fresh && s.job.try == 1 && !s.anew, Whole: s.name == s.u.Path, How: transfer.Options{Meter: r.permit(s.job), Idle: r.opt.Idle, Text: r.opt.Text}}
	if !r.opt.NoModes {
		put.Mode = s.fi.Mode().Perm()
	}
	if !r.opt.NoTimes {
		put.Time = s.fi.ModTime()
	}
	checks := r.opt.Verify == VerifySize || r.opt.Verify == VerifyHash
	if s.name != s.u.Path && !checks && s.u.Backup == "" { // nothing comes between the last byte and the name
		put.Final = s.u.Path
		put.Before = func(rep transfer.Report) error {
			if !s.same() || from+rep.Bytes < s.fi.Size() && !r.opt.Text {
				return errChanged // unchanged does the rest, when the connection is free
			}
			return nil
		}
	}
	sent, renamed := from, false
	if from < s.fi.Size() || from == 0 || s.traits.Dray {
		stop := s.takeNotes(ctx)
		rep, failed := r.tree.Put(ctx, s.name, put, source{s.f})
		stop()
		err, sent = failed, from+rep.Bytes
		renamed = err == nil && put.Final != ""
		if errors.Is(err, remote.ErrNotRenamed) {
			renamed = Transient(err) && s.bearsItsName(ctx)
			err = nil // once more, with what may help
		} else if errors.Is(err, errChanged) {
			err = nil
		}
	} else {
		s.dress(ctx, put)
	}
	if err != nil && errors.Is(err, remote.ErrUnsure) && s.arrived(ctx) {
		err, sent = nil, s.fi.Size()
	}
	if err != nil && from > 0 && sent == from && !s.anew && fault.Of(err).ID == fault.IDResume {
		// A server of dray shows the finished file, and keeps another length of what was cut.
		s.say(err, "the server can't go on with what it has: it is sent from the start")
		s.anew, s.job.begin = true, 0
		return s.send(ctx)
	}
	if err != nil {
		if sent == 0 && s.name != s.u.Path && !Transient(err) && ctx.Err() == nil {
			_ = r.tree.Remove(ctx, s.name) // some servers make it before they refuse
		}
		s.leave(sent)
		return named(err, s.u.File, s.u.File, sent)
	}
	if err := s.unchanged(ctx, sent); err != nil {
		return err
	}
	if err = s.verify(ctx); err == nil && s.name != s.u.Path && !renamed {
		err = s.rename(ctx)
	}
	if err != nil {
		if Transient(err) {
			s.leave(sent) // all of it
		}
		return err
	}
	s.forget()
	return nil
}

// dress gives a file that is whole already its mode and time. That it can't have them is
// no failure.
func (s *sending) dress(ctx context.Context, put remote.Put) {
	if put.Mode != 0 && s.traits.Modes {
		_ = s.run.tree.Chmod(ctx, s.name, put.Mode)
	}
	if !put.Time.IsZero() && s.traits.Times {
		_ = s.run.tree.SetTime(ctx, s.name, put.Time)
	}
}

// begin finds out how much of the file the server has already.
func (s *sending) begin(ctx context.Context) (int64, error) {
	r := s.run
	if s.anew || r.opt.Resume == ResumeNever || r.opt.Text || s.u.Fresh && r.opt.State == "" {
		return 0, nil
	}
	n, noted := note{}, false
	if r.opt.State != "" {
		n, noted, s.noted = readNote(s.shelf(), s.key())
	}
	if !noted && r.opt.Resume == ResumeAuto {
		return 0, nil
	}
	want := s.source()
	known := noted && n.same(want.Source, want.Size, want.Time, 0, "") && n.Target == want.Target && n.proven(s.f, want.Size) == n.Bytes
	if noted && !known && r.opt.Resume != ResumeForce {
		s.say(nil, "the file changed since its upload was cut: it is sent from the start")
		return 0, nil
	}
	if have, err := s.replacing(ctx, known, n.Bytes); have > 0 || err != nil {
		return have, err
	}
	name := s.name
	e, err := r.tree.Stat(ctx, name)
	if errors.Is(err, fs.ErrNotExist) && !noted && name != s.u.Path { // another program's
		name = s.u.Path
		e, err = r.tree.Stat(ctx, name)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return 0, nil
	case err != nil:
		return 0, err
	case !e.Is(sized), e.Size == 0, e.Size > want.Size:
		return 0, nil
	}
	have := e.Size
	if known && s.traits.Overlap && !s.traits.Dray && name != s.u.Path {
		have = min(have, n.Bytes) // what was sent behind them may have gaps
	}
	if r.opt.Resume != ResumeForce {
		ok, err := s.proven(ctx, name, have, e.Size, known)
		if err != nil || !ok {
			return 0, err
		}
	}
	s.name = name
	return s.goesOn(have), nil
}

// goesOn tells that the first have bytes are on the server.
func (s *sending) goesOn(have int64) int64 {
	if have > 0 && s.job.begin == 0 && s.job.moved.Bytes() == 0 {
		s.job.begin = have
		s.run.say(Event{What: Kept, ID: s.job.id, From: s.job.from, To: s.job.to, Size: s.job.size, Begin: have})
	}
	return have
}

// replacing is how much a server of dray keeps of an upload of ours that was to replace
// a file. Nobody can read that back, but when all is sent the whole is compared.
func (s *sending) replacing(ctx context.Context, known bool, sent int64) (int64, error) {
	tree, asks := s.run.tree.(remote.Keeper)
	if !known || !s.traits.Dray || !asks || s.name != s.u.Path {
		return 0, nil
	}
	if _, err := s.run.tree.Seen(ctx, s.name); errors.Is(err, fs.ErrNotExist) {
		return 0, nil // no file hides it: it is looked at as any other
	} else if err != nil {
		return 0, err
	}
	have, err := tree.Kept(ctx, s.name)
	switch {
	case err != nil && (Transient(err) || ctx.Err() != nil):
		return 0, err
	case err != nil, have <= 0, have > sent:
		return 0, nil
	}
	s.compares = true
	return s.goesOn(have), nil
}

func (s *sending) say(err error, why string) {
	s.run.say(Event{What: Noted, ID: s.job.id, From: s.job.from, To: s.job.to, Size: s.job.size, Err: err, Why: why})
}

// proven tells whether the first have bytes of the server are those of the source:
// by a checksum of the server's, else, where a note tells that we sent them, by the
// last of them. size is how many the server has.
func (s *sending) proven(ctx context.Context, name string, have, size int64, known bool) (bool, error) {
	agree, algorithm, err := s.run.agree(ctx, name, s.f, have)
	if err != nil {
		return false, named(err, s.u.File, s.u.File, 0)
	}
	if algorithm != "" {
		if !agree {
			s.say(fault.New(fault.Mismatch, fault.IDResume, s.job.to, "the "+algorithm+" of both sides differ"),
				"what is on the server differs from the source: it is sent from the start")
		}
		return agree, nil
	}
	if !known || have == 0 {
		return false, nil
	}
	if s.traits.Dray {
		// Nobody but this account has written an unfinished upload, and nobody can read
		// it back. A file that others see is another one.
		e, err := s.run.tree.Seen(ctx, name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
		return err != nil || e.Is(sized) && e.Size != have, nil
	}
	back := min(have, overlap)
	tail := &tail{want: make([]byte, back), at: have - back}
	if _, err := s.f.ReadAt(tail.want, tail.at); err != nil {
		return false, LocalError(s.u.File, err)
	}
	_, err = s.run.tree.Get(ctx, name, remote.Get{From: have - back, Size: size, How: s.run.reading()}, tail)
	switch {
	case errors.Is(err, errOther):
		s.say(fault.New(fault.Mismatch, fault.IDResume, s.job.to, "its last bytes are others"),
			"what is on the server differs from the source: it is sent from the start")
		return false, nil
	case err != nil && (Transient(err) || ctx.Err() != nil):
		return false, err
	}
	return tail.seen >= back, nil // what can't be read back proves nothing
}

// A tail compares what comes with what is wanted.
type tail struct {
	want []byte
	at   int64
	seen int64
}

func (t *tail) Offset() int64 { return t.at }

// errEnough ends a download when all that is wanted has been seen.
var errEnough = errors.New("the rest is not wanted")

func (t *tail) WriteAt(b []byte, at int64) (int, error) {
	i, n := at-t.at, int64(len(t.want))
	switch {
	case i < 0:
		return 0, errOther
	case i >= n && t.seen >= n:
		return 0, errEnough
	case i >= n:
		return len(b), nil
	}
	if part := t.want[i:min(i+int64(len(b)), n)]; !bytes.Equal(b[:len(part)], part) {
		return 0, errOther
	} else {
		t.seen += int64(len(part))
	}
	return len(b), nil
}

// arrived settles an upload whose last answer was lost: by what a listing shows,
// for a server may tell the size of an upload that it has not finished.
func (s *sending) arrived(ctx context.Context) bool {
	e, err := s.run.tree.Seen(ctx, s.name)
	if err != nil || !e.Is(sized) || e.Size != s.fi.Size() || s.run.opt.Text {
		return false
	}
	if s.name != s.u.Path {
		return true // the name is ours alone
	}
	for _, a := range s.traits.Sums { // an older file may have the same size
		if hashes[strings.ToLower(a)] == nil {
			continue
		}
		theirs, err := s.run.tree.Sum(ctx, s.name, a, 0, 0)
		if err != nil {
			return false
		}
		ours, err := fileSum(a, s.f, s.fi.Size())
		return err == nil && ours == theirs
	}
	return s.u.Fresh
}

// unchanged makes sure that what was sent is one version of the source.
func (s *sending) unchanged(ctx context.Context, sent int64) error {
	if !s.same() {
		s.forget()
		if s.name != s.u.Path {
			_ = s.run.tree.Remove(ctx, s.name) // nobody can go on with it
		}
		return fault.New(fault.Mismatch, fault.IDSourceMoved, s.u.File)
	}
	if sent < s.fi.Size() && !s.run.opt.Text {
		return fault.New(fault.Cut, fault.IDShortFile, s.u.File, sent, s.fi.Size())
	}
	return nil
}

// errChanged is a source that is another one than when its upload began.
var errChanged = errors.New("the source changed")

// same tells whether the source is what it was when its upload began.
func (s *sending) same() bool {
	now, err := s.f.Stat()
	return err == nil && now.Size() == s.fi.Size() && now.ModTime().Equal(s.fi.ModTime())
}

func (s *sending) verify(ctx context.Context) error {
	r := s.run
	if r.opt.Text {
		return nil
	}
	switch {
	case r.opt.Verify == VerifySize && !s.compares:
		e, err := r.tree.Seen(ctx, s.name)
		if err != nil {
			return err
		}
		if e.Is(sized) && e.Size != s.fi.Size() {
			return fault.New(fault.Mismatch, fault.IDShortFile, s.u.URL, e.Size, s.fi.Size())
		}
	case r.opt.Verify == VerifyHash, s.compares:
		algorithm, theirs, err := r.theirSum(ctx, s.name, s.fi.Size())
		if err != nil {
			return err
		}
		ours, err := fileSum(algorithm, s.f, s.fi.Size())
		if err != nil {
			return LocalError(s.u.File, err)
		}
		if !strings.EqualFold(ours, theirs) {
			s.forget()
			kept := ""
			if bad := s.bad(); r.tree.Rename(ctx, s.name, bad) == nil {
				kept = "; what was sent is kept as " + remote.Base(bad)
			}
			return fault.Because(fmt.Errorf("here %s, on the server %s%s", ours, theirs, kept), fault.Mismatch, fault.IDVerify, s.u.URL, algorithm)
		}
	}
	return nil
}

// rename gives the upload its final name. Where a rename does not replace, the old file
// is put aside first and removed last: a server that renames nothing keeps it.
func (s *sending) rename(ctx context.Context) error {
	tree := s.run.tree
	if s.u.Backup != "" {
		if err := s.run.keepThere(s.u.Path, s.u.Backup); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	err := tree.Rename(ctx, s.name, s.u.Path)
	if err == nil {
		return nil
	}
	if Transient(err) { // it may have been done
		if s.bearsItsName(ctx) {
			return nil
		}
		return err
	}
	if e, stat := tree.Stat(ctx, s.u.Path); stat == nil && !e.Mode.IsDir() {
		aside := PartName(s.u.Path, s.run.opt.Suffix+".old")
		moved := tree.Rename(ctx, s.u.Path, aside)
		if moved != nil && tree.Remove(ctx, aside) == nil { // one from before was in the way
			moved = tree.Rename(ctx, s.u.Path, aside)
		}
		if moved == nil {
			if err = tree.Rename(ctx, s.name, s.u.Path); err == nil {
				_ = tree.Remove(ctx, aside)
				return nil
			}
			_ = tree.Rename(ctx, aside, s.u.Path)
		}
	}
	e := fault.Of(err)
	e.Do = append(slices.Clip(e.Do), fmt.Sprintf("the upload is whole and lies on the server as %s; where renaming is not allowed, add --inplace", remote.Base(s.name)))
	return e
}

// bearsItsName tells whether a rename whose answer was lost has been done.
func (s *sending) bearsItsName(ctx context.Context) bool {
	e, err := s.run.tree.Seen(ctx, s.u.Path)
	if err != nil || !e.Is(sized) || e.Size != s.size {
		return false
	}
	_, err = s.run.tree.Seen(ctx, s.name)
	return errors.Is(err, fs.ErrNotExist)
}

// leave notes that the first bytes of the source are on the server.
func (s *sending) leave(sent int64) {
	s.job.left = false
	if s.run.opt.State == "" || s.run.opt.Text || sent <= 0 {
		return
	}
	n := s.source()
	n.Bytes = min(sent, n.Size)
	var err error
	if n.Blocks, err = sums(s.f, n.Bytes); err != nil {
		return
	}
	s.job.left = writeNote(s.shelf(), s.key(), n) == nil
	s.noted = s.noted || s.job.left
	sweepNotes(s.run.opt.State)
}

// takeNotes writes a note while a long upload runs, for the case that the process
// is killed.
func (s *sending) takeNotes(ctx context.Context) (stop func()) {
	if s.run.opt.State == "" || s.run.opt.Text || s.fi.Size() < block {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	over := make(chan struct{})
	go func() {
		defer close(over)
		tick := time.NewTicker(noteAfter)
		defer tick.Stop()
		n := s.source()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			at := min(s.job.at(), n.Size)
			if s.traits.Overlap {
				at -= outOfOrder
			}
			if at = at / block * block; at < n.Bytes+block {
				continue
			}
			more, err := sums(io.NewSectionReader(s.f, n.Bytes, at-n.Bytes), at-n.Bytes)
			if err != nil {
				return
			}
			n.Blocks, n.Bytes = append(n.Blocks, more...), at
			s.noted = writeNote(s.shelf(), s.key(), n) == nil || s.noted
		}
	}()
	return func() {
		cancel()
		<-over
	}
}

// outOfOrder is how far answers may come in front of those that belong before them,
// where transfers overlap.
const outOfOrder = 16 << 20

func (s *sending) forget() {
	if s.noted {
		_ = s.shelf().Remove(s.key())
	}
	s.job.left, s.noted = false, false
}

// notesLast is how long the note about a cut upload is kept.
const notesLast = 30 * 24 * time.Hour

// sweepNotes removes notes that nobody came back for.
func sweepNotes(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		name := strings.TrimSuffix(e.Name(), "~")
		if fi, err := e.Info(); err == nil && len(name) == 32+len(".json") && strings.HasSuffix(name, ".json") && time.Since(fi.ModTime()) > notesLast {
			_ = os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}
