package mirror

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"dray/fault"
	"dray/remote"
	"dray/transfer"
	"dray/vfs"
)

// A node is a file, directory or link of a fakeTree.
type node struct {
	mode   fs.FileMode
	data   []byte
	mtime  time.Time
	target string
	unique string
}

// A cut is how a transfer of a fakeTree ends before its end.
type cut struct {
	after int64 // bytes that pass; below 0: all
	err   error // nil: the server calls it complete
	extra []byte
	kept  int64 // of a Put: how many of the bytes before After the server keeps; 0: all of them
	mid   func()
}

// A fakeTree is a server in memory.
type fakeTree struct {
	mu      sync.Mutex
	nodes   map[string]*node
	partial map[string][]byte // uploads that nobody sees
	traits  remote.Traits
	width   int
	refused int
	calls   []string
	order   *rand.Rand    // bytes of a Get come in any order
	delay   time.Duration // of each piece
	piece   int
	step    time.Duration
	onlyNew bool // Rename refuses a target that is there

	// Hooks, called without mu; the number is that of the call, from 1.
	onGet    func(n int, p string, g remote.Get) *cut
	onPut    func(n int, p string, u remote.Put) *cut
	onStat   func(n int, p string, e *remote.Entry) error
	onSeen   func(n int, p string, e *remote.Entry) error
	onList   func(n int, dir string, all []remote.Entry) ([]remote.Entry, error)
	onMkdir  func(n int, p string) error
	onRename func(n int, from, to string) error
	onSum    func(n int, p string) (string, error)

	count map[string]int
}

func newFake() *fakeTree {
	return &fakeTree{
		nodes: map[string]*node{"/": {mode: fs.ModeDir | 0o755}}, partial: map[string][]byte{},
		traits: remote.Traits{Times: true, Modes: true, Links: true}, width: 4, piece: 10_000, step: time.Second, count: map[string]int{},
	}
}

var _ remote.Tree = (*fakeTree)(nil)

// put makes a file and the directories above it.
func (t *fakeTree) put(p string, data []byte) *node {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.above(p)
	n := &node{mode: 0o640, data: data, mtime: day}
	t.nodes[p] = n
	return n
}

func (t *fakeTree) above(p string) {
	for dir := path.Dir(p); t.nodes[dir] == nil; dir = path.Dir(dir) {
		t.nodes[dir] = &node{mode: fs.ModeDir | 0o755, mtime: day}
	}
}

func (t *fakeTree) dir(p string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.above(p)
	t.nodes[p] = &node{mode: fs.ModeDir | 0o755, mtime: day}
}

func (t *fakeTree) link(p, target string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.above(p)
	t.nodes[p] = &node{mode: fs.ModeSymlink | 0o777, target: target, mtime: day}
}

// data is what a file holds, nil where there is none.
func (t *fakeTree) data(p string) []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := t.nodes[p]; n != nil {
		return n.data
	}
	return nil
}

func (t *fakeTree) has(p string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.nodes[p] != nil
}

func (t *fakeTree) names() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []string
	for p := range t.nodes {
		out = append(out, p)
	}
	slices.Sort(out)
	return out
}

// called counts a call and tells its number.
func (t *fakeTree) called(what, p string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.calls = append(t.calls, what+" "+p)
	t.count[what]++
	return t.count[what]
}

func (t *fakeTree) times(what string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.count[what]
}

func missing(p string) error { return fault.New(fault.NotFound, fault.IDNotFound, p) }

// lost is a transfer that broke off.
func lost() error { return fault.New(fault.Cut, fault.IDDataLost) }

// find follows links; mu is held.
func (t *fakeTree) find(p string) (*node, string) {
	p = path.Join("/", p)
	for range 40 {
		parts := strings.Split(strings.Trim(p, "/"), "/")
		at, again := "/", false
		for i, part := range parts {
			if part == "" {
				continue
			}
			at = path.Join(at, part)
			n := t.nodes[at]
			if n == nil {
				return nil, p
			}
			if n.mode.Type() == fs.ModeSymlink {
				to := n.target
				if !path.IsAbs(to) {
					to = path.Join(path.Dir(at), to)
				}
				p, again = path.Join(append([]string{to}, parts[i+1:]...)...), true
				break
			}
		}
		if !again {
			return t.nodes[at], at
		}
	}
	return nil, p
}

func (t *fakeTree) entry(name string, n *node) remote.Entry {
	e := remote.Entry{Known: typed | sized | timed | moded, Step: t.step, Unique: n.unique}
	e.Name, e.Mode, e.Size, e.Time, e.Target = name, n.mode, int64(len(n.data)), n.mtime, n.target
	return e
}

func (t *fakeTree) Traits(context.Context) (remote.Traits, error) { return t.traits, nil }

func (t *fakeTree) List(_ context.Context, dir string) iter.Seq2[remote.Entry, error] {
	return func(yield func(remote.Entry, error) bool) {
		num := t.called("list", dir)
		t.mu.Lock()
		n, at := t.find(dir)
		var all []remote.Entry
		if n != nil {
			for p, n := range t.nodes {
				if p != "/" && path.Dir(p) == at {
					all = append(all, t.entry(path.Base(p), n))
				}
			}
		}
		t.mu.Unlock()
		slices.SortFunc(all, func(a, b remote.Entry) int { return cmp.Compare(a.Name, b.Name) })
		var err error
		if n == nil || !n.mode.IsDir() {
			err = missing(dir)
		}
		if t.onList != nil {
			all, err = t.onList(num, dir, all)
		}
		for _, e := range all {
			if !yield(e, nil) {
				return
			}
		}
		if err != nil {
			yield(remote.Entry{}, err)
		}
	}
}

func (t *fakeTree) Stat(_ context.Context, p string) (remote.Entry, error) {
	num := t.called("stat", p)
	t.mu.Lock()
	n, _ := t.find(p)
	var e remote.Entry
	err := missing(p)
	if n != nil {
		e, err = t.entry(path.Base(p), n), nil
	}
	if b, ok := t.partial[p]; ok {
		e, err = t.entry(path.Base(p), &node{mode: 0o600, data: b, mtime: day}), nil
	}
	t.mu.Unlock()
	if t.onStat != nil && err == nil {
		err = t.onStat(num, p, &e)
	}
	return e, err
}

func (t *fakeTree) Seen(_ context.Context, p string) (remote.Entry, error) {
	num := t.called("seen", p)
	t.mu.Lock()
	n := t.nodes[path.Join("/", p)]
	var e remote.Entry
	err := missing(p)
	if n != nil {
		e, err = t.entry(path.Base(p), n), nil
	}
	t.mu.Unlock()
	if t.onSeen != nil {
		err = cmp.Or(t.onSeen(num, p, &e), err)
	}
	return e, err
}

// pay asks the meter for n bytes, books them and waits for the line.
func (t *fakeTree) pay(ctx context.Context, o transfer.Options, n int) error {
	if t.delay > 0 {
		select {
		case <-time.After(t.delay):
		case <-ctx.Done():
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	for n > 0 && o.Meter != nil {
		got, err := o.Meter.Take(ctx, int64(n))
		if err != nil {
			return err
		}
		o.Meter.Done(got, got)
		n -= int(got)
	}
	return nil
}

func (t *fakeTree) Get(ctx context.Context, p string, g remote.Get, dst transfer.Dest) (rep transfer.Report, err error) {
	num := t.called("get", p)
	var c cut
	c.after = -1
	if t.onGet != nil {
		if own := t.onGet(num, p, g); own != nil {
			c = *own
		}
	}
	t.mu.Lock()
	n, _ := t.find(p)
	if n == nil {
		t.mu.Unlock()
		return rep, missing(p)
	}
	data := append(slices.Clone(n.data), c.extra...)
	t.mu.Unlock()
	if g.From > int64(len(data)) {
		return rep, fault.New(fault.BadOffset, fault.IDOffset)
	}
	data = data[g.From:]
	if c.after >= 0 && c.after < int64(len(data)) {
		data = data[:c.after]
	}
	// The pieces, in groups that may come in any order.
	type span struct{ from, to int }
	var spans []span
	for at := 0; at < len(data); at += t.piece {
		spans = append(spans, span{at, min(at+t.piece, len(data))})
	}
	drop := -1
	if t.order != nil {
		t.mu.Lock()
		for i := 0; i < len(spans); i += 8 {
			group := spans[i:min(i+8, len(spans))]
			t.order.Shuffle(len(group), func(i, j int) { group[i], group[j] = group[j], group[i] })
		}
		if c.err != nil && len(spans) > 1 {
			drop = t.order.IntN(len(spans)) // a piece that never came, with others behind it
		}
		t.mu.Unlock()
	}
	came := make([]bool, len(data)/t.piece+1)
	for i, s := range spans {
		if i == drop {
			continue
		}
		if i == len(spans)/2 && c.mid != nil {
			c.mid()
		}
		if err = t.pay(ctx, g.How, s.to-s.from); err != nil {
			break
		}
		if _, err = dst.WriteAt(data[s.from:s.to], dst.Offset()+int64(s.from)); err != nil {
			break
		}
		came[s.from/t.piece] = true
	}
	for i := 0; i < len(came) && came[i]; i++ {
		rep.Bytes = min(int64((i+1)*t.piece), int64(len(data)))
	}
	return rep, cmp.Or(err, c.err)
}

func (t *fakeTree) Put(ctx context.Context, p string, u remote.Put, src vfs.File) (rep transfer.Report, err error) {
	num := t.called("put", p)
	c := cut{after: -1}
	if t.onPut != nil {
		if own := t.onPut(num, p, u); own != nil {
			c = *own
		}
	}
	t.mu.Lock()
	var had []byte
	if n := t.nodes[p]; n != nil {
		had = n.data
	}
	if b, ok := t.partial[p]; ok && t.traits.Dray {
		had = b
	}
	if parent := t.nodes[path.Dir(p)]; parent == nil || !parent.mode.IsDir() {
		t.mu.Unlock()
		return rep, missing(p)
	}
	t.mu.Unlock()
	if u.From > int64(len(had)) {
		return rep, fault.New(fault.BadOffset, fault.IDOffset)
	}
	out := slices.Clone(had[:u.From])
	buf := make([]byte, t.piece)
	for whole := false; !whole && (c.after < 0 || rep.Bytes < c.after); {
		want := buf
		if c.after >= 0 {
			want = buf[:min(int64(len(buf)), c.after-rep.Bytes)]
		}
		if c.mid != nil && rep.Bytes > 0 {
			c.mid()
			c.mid = nil
		}
		m, read := src.ReadAt(want, u.From+rep.Bytes)
		if read != nil && read != io.EOF {
			err = read
			break
		}
		whole = read == io.EOF
		if err = t.pay(ctx, u.How, m); err != nil {
			break
		}
		out = append(out, want[:m]...)
		rep.Bytes += int64(m)
	}
	err = cmp.Or(err, c.err)
	if c.kept > 0 {
		out = out[:min(u.From+c.kept, int64(len(out)))]
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.traits.Dray && (err != nil && c.kept >= 0 && c.kept != keptWhole) {
		t.partial[p] = out
		return rep, err
	}
	delete(t.partial, p)
	n := &node{mode: 0o644, data: out, mtime: day.Add(time.Hour)}
	if err == nil || c.kept == keptWhole {
		if u.Mode != 0 {
			n.mode = u.Mode
		}
		if !u.Time.IsZero() {
			n.mtime = u.Time.Truncate(time.Second)
		}
	}
	t.nodes[p] = n
	if err != nil {
		return rep, err
	}
	if u.Before != nil {
		t.mu.Unlock()
		err = u.Before(rep)
		t.mu.Lock()
		if err != nil {
			return rep, err
		}
	}
	if u.Final != "" {
		t.mu.Unlock()
		err = t.Rename(ctx, p, u.Final)
		t.mu.Lock()
		if err != nil {
			err = fmt.Errorf("%w: %w", remote.ErrNotRenamed, err)
		}
	}
	return rep, err
}

// keptWhole is a cut whose answer is lost, and whose upload is whole on the server.
const keptWhole = 1 << 40

func (t *fakeTree) Mkdir(_ context.Context, p string) error {
	num := t.called("mkdir", p)
	if t.onMkdir != nil {
		if err := t.onMkdir(num, p); err != nil {
			return err
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	p = path.Join("/", p)
	if t.nodes[p] != nil {
		return fault.New(fault.Denied, fault.IDServerSaysNo, "MKD") // in words of its own
	}
	if t.nodes[path.Dir(p)] == nil {
		return missing(p)
	}
	t.nodes[p] = &node{mode: fs.ModeDir | 0o755, mtime: day}
	return nil
}

func (t *fakeTree) Remove(_ context.Context, p string) error {
	t.called("remove", p)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.nodes[p] == nil {
		return missing(p)
	}
	delete(t.nodes, p)
	return nil
}

func (t *fakeTree) RemoveDir(ctx context.Context, p string) error { return t.Remove(ctx, p) }

func (t *fakeTree) Rename(_ context.Context, from, to string) error {
	num := t.called("rename", from+" "+to)
	if t.onRename != nil {
		if err := t.onRename(num, from, to); err != nil {
			return err
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.nodes[from] == nil:
		return missing(from)
	case t.onlyNew && t.nodes[to] != nil:
		return fault.New(fault.Exists, fault.IDExists, to)
	}
	t.nodes[to] = t.nodes[from]
	delete(t.nodes, from)
	return nil
}

func (t *fakeTree) Chmod(_ context.Context, p string, mode fs.FileMode) error {
	t.called("chmod", p)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.nodes[p].mode = mode
	return nil
}

func (t *fakeTree) SetTime(_ context.Context, p string, mtime time.Time) error {
	t.called("settime", p)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.nodes[p].mtime = mtime.Truncate(time.Second)
	return nil
}

func (t *fakeTree) Readlink(_ context.Context, p string) (string, error) {
	t.called("readlink", p)
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.nodes[path.Join("/", p)]
	if n == nil {
		return "", missing(p)
	}
	if n.mode.Type() != fs.ModeSymlink {
		return "", fault.New(fault.BadName, fault.IDServerSaysNo, "READLINK")
	}
	return n.target, nil
}

func (t *fakeTree) Symlink(_ context.Context, target, p string) error {
	t.called("symlink", p)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.nodes[p] != nil {
		return fault.New(fault.Exists, fault.IDExists, p)
	}
	t.nodes[p] = &node{mode: fs.ModeSymlink | 0o777, target: target, mtime: day}
	return nil
}

func (t *fakeTree) Sum(_ context.Context, p, algorithm string, from, to int64) (string, error) {
	num := t.called("sum", p)
	if t.onSum != nil {
		if s, err := t.onSum(num, p); s != "" || err != nil {
			return s, err
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	n, _ := t.find(p)
	switch {
	case !slices.Contains(t.traits.Sums, algorithm):
		return "", fault.New(fault.Unsupported, fault.IDUnsupported, "checksums")
	case n == nil:
		return "", missing(p)
	case to == 0:
		to = int64(len(n.data))
	case to > int64(len(n.data)):
		return "", fault.New(fault.BadOffset, fault.IDRange)
	}
	return SumReader(algorithm, bytes.NewReader(n.data[from:to]))
}

func (t *fakeTree) Space(context.Context, string) (uint64, uint64, error) {
	return 0, 0, fault.New(fault.Unsupported, fault.IDUnsupported, "space")
}

func (t *fakeTree) Expect(context.Context, int) {}

func (t *fakeTree) Width(waiting int) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return max(min(t.width, waiting), 1)
}

func (t *fakeTree) Refused() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.refused++
	t.width = max(t.width/2, 1)
}

func (t *fakeTree) Close() error { return nil }

// A keepingTree is a server of dray over FTP: a file hides the upload that is to replace
// it, and how much of that is there is told to who asks.
type keepingTree struct {
	*fakeTree
	onKept func(n int, p string) (int64, error) // 0 and nil: as it is
}

var _ remote.Keeper = (*keepingTree)(nil)

func (t *keepingTree) Kept(_ context.Context, p string) (int64, error) {
	num := t.called("kept", p)
	if t.onKept != nil {
		if n, err := t.onKept(num, p); n != 0 || err != nil {
			return n, err
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if b, ok := t.partial[p]; ok && t.nodes[p] != nil {
		return int64(len(b)), nil
	}
	return 0, missing(p)
}

func (t *keepingTree) Stat(ctx context.Context, p string) (remote.Entry, error) {
	if t.has(p) {
		return t.Seen(ctx, p)
	}
	return t.fakeTree.Stat(ctx, p)
}

// heard keeps the events of a run.
type heard struct {
	mu  sync.Mutex
	all []Event
}

func (h *heard) tell(e Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all = append(h.all, e)
}

// of are the events of a kind.
func (h *heard) of(w What) []Event {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []Event
	for _, e := range h.all {
		if e.What == w {
			out = append(out, e)
		}
	}
	return out
}

func (h *heard) whats() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []string
	for _, e := range h.all {
		out = append(out, string(e.What))
	}
	return strings.Join(out, " ")
}

// random are bytes that differ from one seed to the next.
func random(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// A desk is a place of a test with a server.
type desk struct {
	*testing.T
	tree  *fakeTree
	as    remote.Tree // what runs see of tree; nil: tree itself
	place *Place
	dir   string
	heard heard
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	dir := t.TempDir()
	place, err := OpenPlace(filepath.Join(dir, "here"), true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { place.Close() })
	return &desk{T: t, tree: newFake(), place: place, dir: filepath.Join(dir, "here")}
}

// on makes a directory that is there the one that receives.
func (d *desk) on(dir string) {
	d.Helper()
	place, err := OpenPlace(dir, false)
	if err != nil {
		d.Fatal(err)
	}
	d.Cleanup(func() { place.Close() })
	d.place, d.dir = place, dir
}

const host = "ftp://h.test"

// run makes a run of what add queues.
func (d *desk) run(o Options, add func(r *Run)) Summary {
	d.Helper()
	if o.Tell == nil {
		d.heard = heard{}
		o.Tell = d.heard.tell
	}
	tree := d.as
	if tree == nil {
		tree = d.tree
	}
	r := NewRun(d.Context(), tree, o)
	add(r)
	return r.Wait()
}

// get fetches one file, looked up before.
func (d *desk) get(name string, o Options) Summary {
	d.Helper()
	return d.run(o, func(r *Run) {
		r.Download(Download{Path: "/" + name, URL: host + "/" + name, Place: d.place, Name: name})
	})
}

// send uploads one file of the place.
func (d *desk) send(name string, o Options) Summary {
	d.Helper()
	return d.run(o, func(r *Run) {
		r.Upload(Upload{File: filepath.Join(d.dir, name), Path: "/" + name, URL: host + "/" + name, Size: -1})
	})
}

func (d *desk) write(name string, b []byte) {
	d.Helper()
	p := filepath.Join(d.dir, name)
	if err := os.MkdirAll(filepath.Dir(p), 0o777); err != nil {
		d.Fatal(err)
	}
	if err := os.WriteFile(p, b, 0o644); err != nil {
		d.Fatal(err)
	}
	if err := os.Chtimes(p, day, day); err != nil {
		d.Fatal(err)
	}
}

func (d *desk) read(name string) []byte {
	d.Helper()
	b, err := os.ReadFile(filepath.Join(d.dir, name))
	if err != nil {
		d.Fatal(err)
	}
	return b
}

// here are the names in the place, with what is in its directories.
func (d *desk) here() []string {
	var out []string
	_ = filepath.WalkDir(d.dir, func(p string, e fs.DirEntry, err error) error {
		if p != d.dir {
			rel, _ := filepath.Rel(d.dir, p)
			out = append(out, filepath.ToSlash(rel))
		}
		return nil
	})
	return out
}

func (d *desk) wantHere(names ...string) {
	d.Helper()
	if got := d.here(); !slices.Equal(got, names) {
		d.Errorf("the place holds %q; want %q", got, names)
	}
}

func (d *desk) wantData(name string, want []byte) {
	d.Helper()
	if got := d.read(name); !bytes.Equal(got, want) {
		d.Errorf("%s has %d bytes that are not the %d wanted", name, len(got), len(want))
	}
}

func (d *desk) wantSent(p string, want []byte) {
	d.Helper()
	if got := d.tree.data(p); !bytes.Equal(got, want) {
		d.Errorf("%s on the server has %d bytes that are not the %d wanted", p, len(got), len(want))
	}
}

func (d *desk) wantDone(s Summary) {
	d.Helper()
	if s.Done != 1 || s.Failed != 0 || s.Skipped != 0 {
		d.Fatalf("done %d, failed %d, skipped %d; want 1, 0, 0: %v", s.Done, s.Failed, s.Skipped, first(s))
	}
}

func (d *desk) wantFailed(s Summary, id fault.ID) {
	d.Helper()
	if s.Failed != 1 || s.Done != 0 {
		d.Fatalf("done %d, failed %d; want 0, 1: %v", s.Done, s.Failed, first(s))
	}
	if got := fault.Of(s.Errors[0].Err).ID; got != id {
		d.Errorf("failed with %s (%v); want %s", got, s.Errors[0].Err, id)
	}
}

// wantNoted looks for a note of the run that has a text.
func (d *desk) wantNoted(text string) {
	d.Helper()
	for _, e := range d.heard.of(Noted) {
		if strings.Contains(e.Why, text) {
			return
		}
	}
	d.Errorf("nothing was noted with %q: %v", text, d.heard.of(Noted))
}

func first(s Summary) error {
	if len(s.Errors) > 0 {
		return s.Errors[0].Err
	}
	return nil
}

// state is where notes about uploads go.
func (d *desk) state() string { return filepath.Join(filepath.Dir(d.dir), "state") }
