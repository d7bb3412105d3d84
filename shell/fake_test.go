package shell

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"dray/fault"
	"dray/mirror"
	"dray/remote"
	"dray/transfer"
	"dray/vfs"
)

// A fakeTree is a server in memory.
type fakeTree struct {
	mu      sync.Mutex
	files   map[string]*fakeFile // by their absolute paths
	lists   int
	hostile []string // names that every listing has beside
	closed  bool
	quoted  []string
}

type fakeFile struct {
	dir  bool
	data []byte
	mode fs.FileMode
	time time.Time
}

var (
	_ remote.Tree = (*fakeTree)(nil)
	_ Quoter      = (*fakeTree)(nil)
)

var longAgo = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// listings is how many were asked for.
func (t *fakeTree) listings() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.lists
}

func (t *fakeTree) isClosed() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.closed
}

// newFake makes a tree; names that end with a slash are directories.
func newFake(names ...string) *fakeTree {
	t := &fakeTree{files: map[string]*fakeFile{"/": {dir: true, mode: 0o755}}}
	for _, n := range names {
		p := "/" + strings.Trim(n, "/")
		for d := path.Dir(p); t.files[d] == nil; d = path.Dir(d) {
			t.files[d] = &fakeFile{dir: true, mode: 0o755, time: longAgo}
		}
		t.files[p] = &fakeFile{dir: strings.HasSuffix(n, "/"), data: []byte("this is " + path.Base(p) + "\n"), mode: 0o644, time: longAgo}
	}
	return t
}

func (t *fakeTree) at(p string) (string, *fakeFile) {
	p = path.Clean("/" + p)
	return p, t.files[p]
}

func missing(p string) error { return fault.New(fault.NotFound, fault.IDNotFound, p) }

func entryOf(p string, f *fakeFile) remote.Entry {
	var e remote.Entry
	e.Name, e.Mode, e.Size, e.Time, e.Known = path.Base(p), f.mode, int64(len(f.data)), f.time, knownType|knownSize|knownTime|knownMode
	if f.dir {
		e.Mode, e.Size = e.Mode|fs.ModeDir, 0
	}
	return e
}

func (t *fakeTree) Traits(context.Context) (remote.Traits, error) {
	return remote.Traits{Times: true, Modes: true}, nil
}

func (t *fakeTree) Home(context.Context) (string, error) { return "/", nil }

func (t *fakeTree) List(ctx context.Context, dir string) iter.Seq2[remote.Entry, error] {
	return func(yield func(remote.Entry, error) bool) {
		t.mu.Lock()
		t.lists++
		d, f := t.at(dir)
		var all []remote.Entry
		for _, p := range slices.Sorted(maps.Keys(t.files)) {
			if p != "/" && path.Dir(p) == d {
				all = append(all, entryOf(p, t.files[p]))
			}
		}
		for _, n := range t.hostile {
			e := entryOf("x", &fakeFile{})
			e.Name = n
			all = append(all, e)
		}
		t.mu.Unlock()
		if path.Base(d) == "hang" {
			<-ctx.Done()
			yield(remote.Entry{}, context.Cause(ctx))
			return
		}
		if f == nil || !f.dir {
			yield(remote.Entry{}, missing(dir))
			return
		}
		for _, e := range all {
			if !yield(e, nil) {
				return
			}
		}
	}
}

func (t *fakeTree) Stat(_ context.Context, p string) (remote.Entry, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	at, f := t.at(p)
	if f == nil {
		return remote.Entry{}, missing(p)
	}
	return entryOf(at, f), nil
}

func (t *fakeTree) Seen(ctx context.Context, p string) (remote.Entry, error) { return t.Stat(ctx, p) }

func (t *fakeTree) Get(ctx context.Context, p string, g remote.Get, dst transfer.Dest) (transfer.Report, error) {
	if path.Base(p) == "hang.bin" {
		<-ctx.Done()
		return transfer.Report{}, context.Cause(ctx)
	}
	t.mu.Lock()
	_, f := t.at(p)
	t.mu.Unlock()
	if f == nil {
		return transfer.Report{}, missing(p)
	}
	n, err := dst.WriteAt(f.data[g.From:], dst.Offset())
	return transfer.Report{Bytes: int64(n)}, err
}

func (t *fakeTree) Put(ctx context.Context, p string, u remote.Put, src vfs.File) (transfer.Report, error) {
	rep, err := t.put(p, u, src)
	if err == nil && u.Before != nil {
		err = u.Before(rep)
	}
	if err == nil && u.Final != "" {
		err = t.Rename(ctx, p, u.Final)
	}
	return rep, err
}

func (t *fakeTree) put(p string, u remote.Put, src vfs.File) (transfer.Report, error) {
	b, err := io.ReadAll(io.NewSectionReader(src, u.From, 1<<30))
	t.mu.Lock()
	defer t.mu.Unlock()
	at, f := t.at(p)
	if t.files[path.Dir(at)] == nil {
		return transfer.Report{}, missing(p)
	}
	var data []byte
	if f != nil {
		data = f.data[:u.From]
	}
	t.files[at] = &fakeFile{data: append(slices.Clone(data), b...), mode: 0o644, time: time.Now()}
	return transfer.Report{Bytes: int64(len(b))}, err
}

// change does something to a name that has to be there.
func (t *fakeTree) change(p string, do func(at string, f *fakeFile) error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	at, f := t.at(p)
	if f == nil {
		return missing(p)
	}
	return do(at, f)
}

func (t *fakeTree) Mkdir(_ context.Context, p string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	at, f := t.at(p)
	switch {
	case f != nil:
		return fault.New(fault.Exists, fault.IDExists, p)
	case t.files[path.Dir(at)] == nil:
		return missing(p)
	}
	t.files[at] = &fakeFile{dir: true, mode: 0o755}
	return nil
}

func (t *fakeTree) Remove(_ context.Context, p string) error {
	return t.change(p, func(at string, _ *fakeFile) error { delete(t.files, at); return nil })
}

func (t *fakeTree) RemoveDir(_ context.Context, p string) error {
	return t.change(p, func(at string, _ *fakeFile) error {
		for other := range t.files {
			if strings.HasPrefix(other, at+"/") {
				return fault.New(fault.NotEmpty, fault.IDNotEmpty, p)
			}
		}
		delete(t.files, at)
		return nil
	})
}

func (t *fakeTree) Rename(_ context.Context, from, to string) error {
	return t.change(from, func(at string, f *fakeFile) error {
		target, _ := t.at(to)
		delete(t.files, at)
		t.files[target] = f
		return nil
	})
}

func (t *fakeTree) Chmod(_ context.Context, p string, mode fs.FileMode) error {
	return t.change(p, func(_ string, f *fakeFile) error { f.mode = mode; return nil })
}

func (t *fakeTree) SetTime(_ context.Context, p string, at time.Time) error {
	return t.change(p, func(_ string, f *fakeFile) error { f.time = at; return nil })
}

func (t *fakeTree) Readlink(context.Context, string) (string, error) {
	return "", fault.New(fault.Unsupported, fault.IDUnsupported, "links")
}

func (t *fakeTree) Symlink(context.Context, string, string) error {
	return fault.New(fault.Unsupported, fault.IDUnsupported, "links")
}

func (t *fakeTree) Sum(context.Context, string, string, int64, int64) (string, error) {
	return "", fault.New(fault.Unsupported, fault.IDUnsupported, "checksums")
}

func (t *fakeTree) Space(context.Context, string) (free, total uint64, err error) {
	return 1 << 30, 4 << 30, nil
}

func (t *fakeTree) Width(int) int { return 2 }
func (t *fakeTree) Refused()      {}

func (t *fakeTree) Expect(context.Context, int) {}

func (t *fakeTree) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	return nil
}

func (t *fakeTree) Quote(_ context.Context, line string) (string, error) {
	t.quoted = append(t.quoted, line)
	return "211-\x1b[2Jsystem\n211 end", nil
}

// A fakeFront tells failures in one line.
type fakeFront struct {
	trees map[string]*fakeTree
	yes   bool
	asked []string
	opens []Open
}

func (f *fakeFront) Open(o Open) (remote.URL, remote.Tree, error) {
	f.opens = append(f.opens, o)
	u, err := remote.Parse(o.URL, nil)
	if err != nil {
		return u, nil, misuse("%v", err)
	}
	t := f.trees[u.Host]
	if t == nil {
		return u, nil, fault.New(fault.Unreachable, fault.IDDNS, u.Host)
	}
	return u, t, nil
}

func (f *fakeFront) Transfer(ctx context.Context, t Transfer, add func(*mirror.Run) error) error {
	o := t.Options
	o.Tell = func(e mirror.Event) {
		switch e.What {
		case mirror.Finished:
			fmt.Fprintf(t.Err, "%s -> %s\n", e.From, e.To)
		case mirror.Failed:
			fmt.Fprintf(t.Err, "failed: %s: %s\n", e.From, fault.Of(e.Err).ID)
		}
	}
	run := mirror.NewRun(ctx, t.Tree, o)
	err := add(run)
	sum := run.Wait()
	if err == nil && sum.Failed > 0 {
		return &Told{sum.Errors[0].Err}
	}
	return err
}

func (f *fakeFront) Complain(w io.Writer, all []Failure) {
	for _, one := range all {
		var told *Told
		if !errors.As(one.Err, &told) {
			fmt.Fprintf(w, "failed: %s: %v\n", one.Where, one.Err)
		}
	}
}

func (f *fakeFront) Status(err error) int {
	var m *Misuse
	switch {
	case errors.As(err, &m):
		return 2
	case errors.Is(err, fs.ErrNotExist):
		return 7
	case fault.Of(err).ID == fault.IDInterrupted:
		return 130
	}
	return 1
}

func (f *fakeFront) Confirm(_ context.Context, question string) bool {
	f.asked = append(f.asked, question)
	return f.yes
}

// A session is a shell on a fake server, in a directory of its own.
type session struct {
	*Shell
	t        *testing.T
	tree     *fakeTree
	front    *fakeFront
	out, err bytes.Buffer
	dir      string
}

func newSession(t *testing.T, names ...string) *session {
	t.Helper()
	s := &session{t: t, tree: newFake(names...), dir: t.TempDir()}
	s.front = &fakeFront{trees: map[string]*fakeTree{"one": s.tree, "two": newFake("other.txt")}}
	t.Chdir(s.dir)
	s.Shell = New(s.front, Options{Out: &s.out, Err: &s.err, Home: s.dir, Version: "1.2.3", Getenv: func(string) string { return "" }, Transfer: mirror.Options{State: t.TempDir()}})
	if err := s.Open(t.Context(), Open{URL: "sftp://one/"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// do runs a line and wants a status; it returns what was written.
func (s *session) do(line string, status int) string {
	s.t.Helper()
	s.out.Reset()
	s.err.Reset()
	if got := s.Do(s.t.Context(), line); got != status {
		s.t.Errorf("%s: status %d, want %d\n%s%s", line, got, status, s.out.String(), s.err.String())
	}
	return s.out.String()
}

func (s *session) names() []string {
	s.tree.mu.Lock()
	defer s.tree.mu.Unlock()
	return slices.Sorted(maps.Keys(s.tree.files))[1:]
}

// A meddled tree is one where somebody else changes a.txt after it was fetched.
type meddled struct {
	*fakeTree
	other *fakeFile
}

func (m *meddled) Get(ctx context.Context, p string, g remote.Get, dst transfer.Dest) (transfer.Report, error) {
	rep, err := m.fakeTree.Get(ctx, p, g, dst)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.other == nil {
		delete(m.files, "/a.txt")
	} else {
		m.files["/a.txt"] = m.other
	}
	return rep, err
}
