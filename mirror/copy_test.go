package mirror

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"dray/fault"
	"dray/meter"
	"dray/remote"
	"dray/transfer"
)

// A copierTree is a server that may copy by itself.
type copierTree struct {
	*fakeTree
	road transfer.Road
	// copies replaces a copy that goes well.
	copies func(n int, p string, u remote.Put) error
}

var _ remote.Copier = (*copierTree)(nil)

func (t *copierTree) Road(remote.Tree) transfer.Road { return t.road }

func (t *copierTree) Copy(ctx context.Context, source remote.Tree, from, p string, size int64, u remote.Put) (rep transfer.Report, err error) {
	n := t.called("copy", p)
	b := source.(*fakeTree).data(from)
	if t.copies != nil {
		if err := t.copies(n, p, u); err != nil {
			if fault.Of(err).ID != fault.IDNoDirect {
				t.put(p, b[:len(b)/2])
			}
			return rep, err
		}
	}
	t.put(p, b)
	rep.Bytes = int64(len(b))
	if err := t.pay(ctx, u.How, len(b)); err != nil {
		return rep, err
	}
	if u.Final != "" {
		if err := t.Rename(ctx, p, u.Final); err != nil {
			return rep, fmt.Errorf("%w: %w", remote.ErrNotRenamed, err)
		}
	}
	return rep, nil
}

func notDirect(known, begun bool) error {
	return &remote.NotDirect{Err: fault.New(fault.Unsupported, fault.IDNoDirect, "a", "b", "b says 500 Illegal PORT command."), Known: known, Begun: begun}
}

// bench is a desk whose server may copy by itself, and a source with two files.
func bench(t *testing.T, road transfer.Road) (*desk, *copierTree, *fakeTree) {
	t.Helper()
	d, source := newDesk(t), newFake()
	source.put("/d/a", random(1, 300_000))
	source.put("/d/b", random(2, 200_000))
	return d, &copierTree{fakeTree: d.tree, road: road}, source
}

// copyAll copies both files.
func copyAll(d *desk, tree remote.Tree, source *fakeTree, o Options, through bool) Summary {
	d.Helper()
	e, err := source.Stat(d.Context(), "/d")
	if err != nil {
		d.Fatal(err)
	}
	d.heard = heard{}
	o.Tell = d.heard.tell
	r := NewRun(d.Context(), tree, o)
	r.Copy(Copy{Tree: source, From: "/d", FromURL: "ftp://s.test/d", Entry: e, To: "/to", ToURL: host + "/to", Through: through})
	return r.Wait()
}

// What the servers copy by themselves does not come here, and lies under its final name
// at the end. What they don't goes through, and that is said once.
func TestServersCopyByThemselves(t *testing.T) {
	for _, try := range []struct {
		name    string
		road    transfer.Road
		dray    bool
		o       Options
		through bool
		copies  func(n int, p string, u remote.Put) error
		direct  int // files that are to be copied there
		fetched int // files that came here
		noted   string
	}{
		{name: "FXP", road: remote.RoadFXP, direct: 2, noted: "FXP"},
		{name: "one server", road: remote.RoadServer, direct: 2, noted: "the server copies it by itself"},
		{name: "a server of dray by FXP", road: remote.RoadFXP, dray: true, direct: 2, noted: "FXP",
			copies: func(_ int, p string, u remote.Put) error {
				if !strings.HasSuffix(p, Suffix) || u.Final == "" || u.Whole {
					return errors.New("under its final name, which a broken connection would end")
				}
				return nil
			}},
		{name: "one server of dray", road: remote.RoadServer, dray: true, direct: 2, noted: "by itself",
			copies: func(_ int, p string, u remote.Put) error {
				if strings.HasSuffix(p, Suffix) || !u.Whole {
					return errors.New("not under its final name")
				}
				return nil
			}},
		{name: "in place", road: remote.RoadFXP, o: Options{InPlace: true}, direct: 2, noted: "FXP"},
		{name: "with checksums", road: remote.RoadFXP, o: Options{Verify: VerifyHash}, direct: 2, fetched: 2, noted: "FXP"}, // here the fake's source is read
		{name: "no road", road: transfer.RoadNone, fetched: 2},
		{name: "it is not wanted", road: remote.RoadFXP, through: true, fetched: 2},
		{name: "a rate is to be kept", road: remote.RoadFXP, o: Options{Rate: meter.NewRate(1 << 30)}, fetched: 2},
		{name: "they refuse", road: remote.RoadFXP, fetched: 2, noted: "the bytes go through this machine: a and b do not pass files on to each other: b says 500 Illegal PORT command.",
			copies: func(n int, _ string, _ remote.Put) error { return notDirect(n > 1, false) }},
		{name: "they refuse when something has begun", road: remote.RoadFXP, fetched: 2, noted: "through this machine",
			copies: func(n int, _ string, _ remote.Put) error {
				return &remote.NotDirect{Err: errors.New("it broke"), Known: n > 1, Begun: true}
			}},
		{name: "nobody was asked", road: remote.RoadFXP, fetched: 2,
			copies: func(int, string, remote.Put) error { return notDirect(true, false) }},
		{name: "the first try fails", road: remote.RoadFXP, fetched: 2, o: Options{Retry: 1},
			copies: func(int, string, remote.Put) error { return lost() }},
	} {
		t.Run(try.name, func(t *testing.T) {
			d, tree, source := bench(t, try.road)
			tree.copies, tree.traits.Dray = try.copies, try.dray
			if try.o.Verify == VerifyHash {
				tree.traits.Sums = []string{"sha256"} // the source's are made here
			}
			s := copyAll(d, tree, source, try.o, try.through)
			if s.Done != 2 || s.Failed != 0 {
				t.Fatalf("done %d, failed %d: %v", s.Done, s.Failed, first(s))
			}
			d.wantSent("/to/a", random(1, 300_000))
			d.wantSent("/to/b", random(2, 200_000))
			if got := d.tree.names(); !slices.Equal(got, []string{"/", "/to", "/to/a", "/to/b"}) {
				t.Errorf("the server holds %q", got)
			}
			if n := source.times("get"); n != try.fetched {
				t.Errorf("%d files came here; want %d", n, try.fetched)
			}
			if try.direct > 0 && (tree.times("copy") != try.direct || tree.times("put") != 0) {
				t.Errorf("%d copies and %d uploads; want %d and none", tree.times("copy"), tree.times("put"), try.direct)
			}
			if want := int64(500_000); s.Bytes != want && try.o.Retry == 0 {
				t.Errorf("%d bytes are said to have moved; want %d", s.Bytes, want)
			}
			notes := d.heard.of(Noted)
			switch {
			case try.noted == "" && len(notes) > 0, try.noted != "" && len(notes) != 1:
				t.Errorf("noted: %v", notes)
			case try.noted != "":
				d.wantNoted(try.noted)
			}
		})
	}
}

// A copy that fails for a reason that is not the way fails as such, and leaves nothing.
func TestACopyByTheServersThatFails(t *testing.T) {
	for _, err := range []error{lost(), fault.New(fault.NoSpace, fault.IDNoSpace, "/to/a", "on the server"), fault.New(fault.Cut, fault.IDShortFile, "/to/a", 5, 6)} {
		d, tree, source := bench(t, remote.RoadFXP)
		tree.copies = func(int, string, remote.Put) error { return err }
		s := copyAll(d, tree, source, Options{}, false)
		if s.Done != 0 || s.Failed == 0 || fault.Of(first(s)).ID != fault.Of(err).ID {
			t.Errorf("%v: done %d, failed %d: %v", err, s.Done, s.Failed, first(s))
		}
		for _, name := range d.tree.names() {
			if name != "/" && name != "/to" {
				t.Errorf("%v: %s is left", err, name)
			}
		}
	}
}

// Checksums that differ are a failure, also where the servers say that all went well.
func TestACopyByTheServersThatDiffers(t *testing.T) {
	d, tree, source := bench(t, remote.RoadFXP)
	tree.traits.Sums = []string{"sha256"}
	tree.onSum = func(int, string) (string, error) { return strings.Repeat("0", 64), nil }
	s := copyAll(d, tree, source, Options{Verify: VerifyHash}, false)
	if s.Failed != 2 || fault.Of(first(s)).ID != fault.IDVerify {
		t.Errorf("failed %d: %v", s.Failed, first(s))
	}
	if got := d.tree.names(); !slices.Equal(got, []string{"/", "/to"}) {
		t.Errorf("the server holds %q", got)
	}
}

// Where a server lets nobody rename, the copy is kept and said; a server of dray takes
// it through here, under its final name.
func TestACopyByTheServersThatCantBeRenamed(t *testing.T) {
	for _, dray := range []bool{false, true} {
		d, tree, source := bench(t, remote.RoadFXP)
		tree.traits.Dray = dray
		tree.onRename = func(int, string, string) error { return fault.New(fault.Denied, fault.IDPerm, "/to/a") }
		s := copyAll(d, tree, source, Options{}, false)
		if dray {
			if s.Done != 2 || source.times("get") != 2 {
				t.Errorf("done %d, fetched %d: %v", s.Done, source.times("get"), first(s))
			}
			if got := d.tree.names(); !slices.Equal(got, []string{"/", "/to", "/to/a", "/to/b"}) {
				t.Errorf("the server holds %q", got)
			}
			continue
		}
		if s.Failed != 2 || len(fault.Of(first(s)).Do) == 0 {
			t.Errorf("failed %d: %v", s.Failed, first(s))
		}
	}
}

// A name whose answer was lost is looked up, and not given twice.
func TestACopyByTheServersWhoseNameIsNotAnswered(t *testing.T) {
	d, tree, source := bench(t, remote.RoadFXP)
	tree.onRename = func(_ int, from, to string) error {
		tree.mu.Lock()
		defer tree.mu.Unlock()
		tree.nodes[to] = tree.nodes[from]
		delete(tree.nodes, from)
		return fault.New(fault.Unreachable, fault.IDLost, "h.test")
	}
	s := copyAll(d, tree, source, Options{}, false)
	if s.Done != 2 || tree.times("rename") != 2 || source.times("get") != 0 {
		t.Errorf("done %d, renamed %d times, %d came here: %v", s.Done, tree.times("rename"), source.times("get"), first(s))
	}
	d.wantSent("/to/a", random(1, 300_000))
}

// Nothing is begun at the target for a file that can't be read.
func TestNothingIsBegunForASourceThatCantBeRead(t *testing.T) {
	d, source := newDesk(t), newFake()
	source.put("/a", random(1, 1000))
	d.tree.put("/to", []byte("old"))
	source.onGet = func(int, string, remote.Get) *cut { return &cut{after: 0, err: missing("/a")} }
	d.wantFailed(d.copyFrom(source, Options{InPlace: true}, "/a"), fault.IDNotFound)
	d.wantSent("/to", []byte("old"))
	if n := d.tree.times("put"); n != 0 {
		t.Errorf("%d uploads were begun", n)
	}
	source.onGet = nil
	source.put("/a", nil)
	d.wantDone(d.copyFrom(source, Options{}, "/a"))
	d.wantSent("/to", nil)
}
