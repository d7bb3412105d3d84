package gate

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"dray/account"
	"dray/fault"
	"dray/vfs"
)

var lister = account.Account{Name: "anna", Rights: account.Full, Partials: account.PartialsListed}

// shows is what a listing shows, with sizes.
func shows(t testing.TB, s *Session, dir string) []string {
	t.Helper()
	all := []string{}
	for fi, err := range s.List(t.Context(), at(t, dir)) {
		need(t, err)
		all = append(all, fmt.Sprintf("%s %d", fi.Name(), fi.Size()))
	}
	return all
}

func TestWhoSeesAListedPartial(t *testing.T) {
	part := fmt.Sprintf("a.part %d", kept)
	tests := []struct {
		name string
		a    account.Account
		want []string
	}{
		{"its owner, who has it so", lister, []string{part}},
		{"its owner, who has not", account.Account{Name: "anna", Rights: account.Full}, []string{}},
		{"another account that has its own listed", account.Account{Name: "otto", Rights: account.Full, Partials: account.PartialsListed}, []string{}},
		{"strangers", account.Account{Name: "anna", Rights: account.Full, Anonymous: true, Partials: account.PartialsListed}, []string{}},
		{"its owner, who may drop files only", account.Account{Name: "anna", Rights: account.List | account.Write, Partials: account.PartialsListed}, []string{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := newHouse(t)
			need(t, h.tree.MkdirAll("/dir"))
			cut(t, h.login(lister), "/dir/a", vfs.Create{}, 10_000)
			s := h.login(tt.a)
			if got := shows(t, s, "/dir"); !slices.Equal(got, tt.want) {
				t.Errorf("List shows %q; want %q", got, tt.want)
			}
			p := at(t, "/dir/a.part")
			for name, look := range map[string]func() (fs.FileInfo, error){
				"Stat":  func() (fs.FileInfo, error) { return s.Stat(t.Context(), p) },
				"Lstat": func() (fs.FileInfo, error) { return s.Lstat(t.Context(), p) },
				"Open": func() (fs.FileInfo, error) {
					f, err := s.Open(t.Context(), p)
					if err != nil {
						return nil, err
					}
					defer f.Close()
					b, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<20))
					if err != nil || int64(len(b)) != kept {
						t.Errorf("Open: %d bytes, %v", len(b), err)
					}
					return f.Stat()
				},
			} {
				fi, err := look()
				if len(tt.want) == 0 {
					if k := fault.KindOf(err); err == nil || k != fault.NotFound && k != fault.Denied {
						t.Errorf("%s = %v; want it refused", name, err)
					}
				} else if err != nil || fi.Size() != kept {
					t.Errorf("%s = %v; want %d bytes", name, err, kept)
				}
			}
			_, err := s.Finished(t.Context(), p)
			is(t, "Finished", err, fault.NotFound, fault.IDNotFound)
			if got := shows(t, s, "/"); !slices.Equal(got, []string{"dir 0"}) {
				t.Errorf("the directory above shows %q", got)
			}
		})
	}
}

// What was cut before the setting has no name that the tree would know.
func TestOnlyUploadsOfNowAreListed(t *testing.T) {
	h := newHouse(t)
	cut(t, h.anna(), "/a", vfs.Create{}, 10_000)
	s := h.login(lister)
	if got := shows(t, s, "/"); len(got) != 0 {
		t.Errorf("List shows %q", got)
	}
	fi, err := s.Stat(t.Context(), at(t, "/a.part")) // asked for by name it is there all the same
	if err != nil || fi.Size() != kept || fi.Name() != "a.part" {
		t.Errorf("Stat = %v, %v", fi, err)
	}
	cut(t, s, "/a", vfs.Create{How: vfs.Resume, Offset: kept}, 1000)
	if got := shows(t, s, "/"); len(got) != 1 {
		t.Errorf("after a resume List shows %q", got)
	}
}

func TestWhatHidesAListedPartial(t *testing.T) {
	h := newHouse(t)
	s := h.login(lister)
	cut(t, s, "/a", vfs.Create{}, 10_000)
	need(t, store(t, s, "/a", vfs.Create{How: vfs.New}, 5)) // beside the finished file it is listed
	cut(t, s, "/a", vfs.Create{}, 10_000)
	part := fmt.Sprintf("a.part %d", kept)
	if got := shows(t, s, "/"); !slices.Equal(got, []string{"a 5", part}) {
		t.Errorf("List shows %q", got)
	}
	for _, taker := range []struct {
		name       string
		take, free func() error
		want       []string
		size       int64
	}{
		{"a file", func() error { return store(t, s, "/a.part", vfs.Create{}, 7) }, func() error { return s.Remove(t.Context(), at(t, "/a.part")) }, []string{"a 5", "a.part 7"}, 7},
		{"a directory", func() error { return s.Mkdir(t.Context(), at(t, "/a.part")) }, func() error { return s.RemoveDir(t.Context(), at(t, "/a.part")) }, []string{"a 5", "a.part 0"}, 0},
		{"a link that leads nowhere", func() error { return h.tree.Link("/a.part", "no") }, func() error { return s.Remove(t.Context(), at(t, "/a.part")) }, []string{"a 5", "a.part 2"}, -1},
		{"a partial of that name", func() error { cut(t, s, "/a.part", vfs.Create{}, 20_000); return nil }, func() error { return s.Remove(t.Context(), at(t, "/a.part")) }, []string{"a 5", fmt.Sprintf("a.part.part %d", 20_000-vfs.CutTail)}, 20_000 - vfs.CutTail},
	} {
		need(t, taker.take())
		if got := shows(t, s, "/"); !slices.Equal(got, taker.want) {
			t.Errorf("with %s List shows %q; want %q", taker.name, got, taker.want)
		}
		if fi, err := s.Stat(t.Context(), at(t, "/a.part")); taker.size < 0 && err == nil || taker.size >= 0 && (err != nil || fi.Size() != taker.size) {
			t.Errorf("with %s Stat = %v, %v; want what has the name", taker.name, fi, err)
		}
		need(t, taker.free())
		if got := shows(t, s, "/"); !slices.Equal(got, []string{"a 5", part}) {
			t.Errorf("without %s List shows %q", taker.name, got)
		}
	}
	// A name that nobody could ask for is not shown.
	long := strings.Repeat("n", vfs.MaxName-2)
	cut(t, s, "/"+long, vfs.Create{}, 10_000)
	if got := shows(t, s, "/"); len(got) != 2 {
		t.Errorf("List shows %q", got)
	}
}

// Each change of NAME.part is one of the partial, and of nothing else; the book
// agrees.
func TestChangesOfAListedPartial(t *testing.T) {
	day := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
	p := func(name string) vfs.Path { return at(t, name) }
	tests := []struct {
		name  string
		do    func(ctx context.Context, s *Session) error
		id    fault.ID
		kind  fault.Kind
		shows []string // without "b"
		parts []string
	}{
		{name: "deleted", do: func(ctx context.Context, s *Session) error { return s.Remove(ctx, p("/d/a.part")) }},
		{name: "may be renamed", do: func(ctx context.Context, s *Session) error { return s.Renamable(ctx, p("/d/a.part")) }, shows: []string{"a.part"}, parts: []string{"/d/a"}},
		{name: "renamed", do: func(ctx context.Context, s *Session) error {
			return s.Rename(ctx, p("/d/a.part"), p("/d/c"), vfs.Overwrite)
		}, shows: []string{"c.part"}, parts: []string{"/d/c"}},
		{name: "renamed with the suffix", do: func(ctx context.Context, s *Session) error {
			return s.Rename(ctx, p("/d/a.part"), p("/d/c.part"), vfs.Overwrite)
		}, shows: []string{"c.part"}, parts: []string{"/d/c"}},
		{name: "renamed to itself", do: func(ctx context.Context, s *Session) error {
			return s.Rename(ctx, p("/d/a.part"), p("/d/a.part"), vfs.Overwrite)
		}, shows: []string{"a.part"}, parts: []string{"/d/a"}},
		{name: "renamed to its name: it is no finished file by that", do: func(ctx context.Context, s *Session) error {
			return s.Rename(ctx, p("/d/a.part"), p("/d/a"), vfs.Overwrite)
		}, shows: []string{"a.part"}, parts: []string{"/d/a"}},
		{name: "renamed over a finished file", do: func(ctx context.Context, s *Session) error {
			return s.Rename(ctx, p("/d/a.part"), p("/d/b"), vfs.Overwrite)
		}, kind: fault.Exists, id: fault.IDExists, shows: []string{"a.part"}, parts: []string{"/d/a"}},
		{name: "renamed with the suffix of a finished file", do: func(ctx context.Context, s *Session) error {
			return s.Rename(ctx, p("/d/a.part"), p("/d/b.part"), vfs.Overwrite)
		}, kind: fault.Exists, id: fault.IDExists, shows: []string{"a.part"}, parts: []string{"/d/a"}},
		{name: "renamed to where there is no directory", do: func(ctx context.Context, s *Session) error {
			return s.Rename(ctx, p("/d/a.part"), p("/no/c"), vfs.Overwrite)
		}, kind: fault.NotFound, id: fault.IDNotFound, shows: []string{"a.part"}, parts: []string{"/d/a"}},
		{name: "renamed over another partial", do: func(ctx context.Context, s *Session) error {
			cut(t, s, "/d/c", vfs.Create{}, 20_000)
			return s.Rename(ctx, p("/d/a.part"), p("/d/c.part"), vfs.Overwrite)
		}, shows: []string{"c.part"}, parts: []string{"/d/c"}},
		{name: "dated", do: func(ctx context.Context, s *Session) error {
			if err := s.SetTime(ctx, p("/d/a.part"), day); err != nil {
				return err
			}
			if fi, err := s.Stat(ctx, p("/d/a.part")); err != nil || !fi.ModTime().Equal(day) {
				t.Errorf("Stat = %v, %v; want the date", fi, err)
			}
			return nil
		}, shows: []string{"a.part"}, parts: []string{"/d/a"}},
		{name: "its mode", do: func(ctx context.Context, s *Session) error {
			if err := s.Chmod(ctx, p("/d/a.part"), 0o604); err != nil {
				return err
			}
			if fi, err := s.Partial(ctx, p("/d/a")); err != nil || fi.Mode() != 0o604 {
				t.Errorf("Partial = %v, %v; want the mode", fi, err)
			}
			return nil
		}, shows: []string{"a.part"}, parts: []string{"/d/a"}},
		{name: "an upload to it is an ordinary new file", do: func(ctx context.Context, s *Session) error {
			return store(t, s, "/d/a.part", vfs.Create{}, 9)
		}, shows: []string{"a.part"}, parts: []string{"/d/a"}},
		{name: "an upload is not gone on with by it", do: func(ctx context.Context, s *Session) error {
			_, err := s.Continue(ctx, p("/d/a.part"), kept)
			return err
		}, kind: fault.BadOffset, id: fault.IDOffset, shows: []string{"a.part"}, parts: []string{"/d/a"}},
		{name: "the directory goes with it", do: func(ctx context.Context, s *Session) error {
			if err := s.Remove(ctx, p("/d/b")); err != nil {
				return err
			}
			if err := s.RemoveDir(ctx, p("/d")); err != nil {
				return err
			}
			return s.Mkdir(ctx, p("/d"))
		}},
		{name: "a copy of the directory has none of it", do: func(ctx context.Context, s *Session) error {
			done, err := s.Copy(ctx, p("/d"), p("/e"))
			if done.Files != 1 {
				t.Errorf("Copy copied %+v; want b alone", done)
			}
			return err
		}, shows: []string{"a.part"}, parts: []string{"/d/a"}},
		{name: "nothing of that name", do: func(ctx context.Context, s *Session) error { return s.Remove(ctx, p("/d/x.part")) },
			kind: fault.NotFound, id: fault.IDNotFound, shows: []string{"a.part"}, parts: []string{"/d/a"}},
		{name: "the suffix alone", do: func(ctx context.Context, s *Session) error { return s.Remove(ctx, p("/d/.part")) },
			kind: fault.NotFound, id: fault.IDNotFound, shows: []string{"a.part"}, parts: []string{"/d/a"}},
		{name: "dots before the suffix", do: func(ctx context.Context, s *Session) error { return s.Remove(ctx, p("/d/...part")) },
			kind: fault.NotFound, id: fault.IDNotFound, shows: []string{"a.part"}, parts: []string{"/d/a"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := newHouse(t)
			b := &book{t: t, maxBytes: 1 << 20}
			h.gate.Ledger = b
			need(t, h.tree.MkdirAll("/d"))
			s := h.login(lister)
			need(t, store(t, s, "/d/b", vfs.Create{}, 50))
			cut(t, s, "/d/a", vfs.Create{}, 10_000)
			is(t, tt.name, tt.do(t.Context(), s), tt.kind, tt.id)
			b.agree(t, h, "afterwards", "/d/a", "/d/b", "/d/c", "/d/a.part", "/e/b")
			got := slices.DeleteFunc(entries(t, s, "/d"), func(name string) bool { return name == "b" })
			if !slices.Equal(got, tt.shows) {
				t.Errorf("List shows %q; want %q", got, tt.shows)
			}
			for _, name := range []string{"/d/a", "/d/b", "/d/c"} {
				if there := partial(t, s, name) >= 0; there != slices.Contains(tt.parts, name) {
					t.Errorf("a partial of %s: %v; want of %q alone", name, there, tt.parts)
				}
			}
		})
	}
}

// A suffix gives no right that the name behind it does not have.
func TestAListedPartialHasTheRightsOfItsName(t *testing.T) {
	for _, at0 := range []string{"/d/a", "/d/a.part"} {
		h := newHouse(t)
		need(t, h.tree.MkdirAll("/d"))
		cut(t, h.login(lister), "/d/a", vfs.Create{}, 10_000)
		a := lister
		a.Paths = []account.PathRights{{Path: at0, Rights: account.List}}
		s := h.login(a)
		p := at(t, "/d/a.part")
		ctx := t.Context()
		for name, do := range map[string]func() error{
			"Open":    func() error { return second(s.Open(ctx, p)) },
			"Remove":  func() error { return s.Remove(ctx, p) },
			"Rename":  func() error { return s.Rename(ctx, p, at(t, "/d/x"), vfs.Overwrite) },
			"SetTime": func() error { return s.SetTime(ctx, p, time.Now()) },
			"Chmod":   func() error { return s.Chmod(ctx, p, 0o600) },
		} {
			is(t, name+" with rights for "+at0, do(), fault.Denied, fault.IDPerm)
		}
		if got := partial(t, s, "/d/a"); got != kept {
			t.Errorf("the partial has %d bytes", got)
		}
		if at0 == "/d/a" {
			a.Paths[0].Rights = 0
			if got := entries(t, h.login(a), "/d"); len(got) != 0 {
				t.Errorf("where nothing may be seen List shows %q", got)
			}
		}
	}
}

// A tree that counts its looks at hidden names.
type counting struct {
	vfs.FS
	vfs.Partials
	looks int
}

func (c *counting) Names(ctx context.Context, dir vfs.Path, owner string) iter.Seq2[fs.FileInfo, error] {
	c.looks++
	return c.Partials.Names(ctx, dir, owner)
}

var _ vfs.Partials = (*counting)(nil)

func TestAListingLooksOnceAtHiddenNamesAndOnlyWhereItMust(t *testing.T) {
	for _, tt := range []struct {
		a    account.Account
		want int
	}{{lister, 1}, {account.Account{Name: "anna", Rights: account.Full}, 0}} {
		h := newHouse(t)
		c := &counting{FS: h.tree, Partials: h.tree}
		h.gate.Trees = func(context.Context, account.Account) (vfs.FS, error) { return c, nil }
		s := h.login(tt.a)
		for i := range 5 {
			cut(t, s, fmt.Sprintf("/%d", i), vfs.Create{}, 10_000)
		}
		entries(t, s, "/")
		if c.looks != tt.want {
			t.Errorf("with partials %q: %d looks at hidden names; want %d", tt.a.Partials, c.looks, tt.want)
		}
	}
}
