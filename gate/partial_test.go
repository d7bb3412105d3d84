package gate

import (
	"context"
	"fmt"
	"io/fs"
	"testing"
	"time"

	"dray/account"
	"dray/fault"
	"dray/vfs"
	"dray/vfs/memfs"
)

// kept is what is left of an upload of 10,000 bytes that was cut.
const kept = 10_000 - vfs.CutTail

func TestWhoSeesAPartial(t *testing.T) {
	type look func(t *testing.T, s *Session) (fs.FileInfo, error)
	looks := []struct {
		name string
		look look
		owns bool // the owner sees it by this
	}{
		{"Stat", func(t *testing.T, s *Session) (fs.FileInfo, error) { return s.Stat(t.Context(), at(t, "/dir/a")) }, true},
		{"Partial", func(t *testing.T, s *Session) (fs.FileInfo, error) { return s.Partial(t.Context(), at(t, "/dir/a")) }, true},
		{"Finished", func(t *testing.T, s *Session) (fs.FileInfo, error) { return s.Finished(t.Context(), at(t, "/dir/a")) }, false},
		{"Lstat", func(t *testing.T, s *Session) (fs.FileInfo, error) { return s.Lstat(t.Context(), at(t, "/dir/a")) }, false},
		{"Open", func(t *testing.T, s *Session) (fs.FileInfo, error) {
			f, err := s.Open(t.Context(), at(t, "/dir/a"))
			if err != nil {
				return nil, err
			}
			defer f.Close()
			return f.Stat()
		}, false},
	}
	who := []struct {
		name string
		a    account.Account
		owns bool
	}{
		{"its owner", account.Account{Name: "anna", Rights: account.Full}, true},
		{"another account", account.Account{Name: "otto", Rights: account.Full}, false},
		{"strangers", account.Account{Name: "ftp", Rights: account.ReadOnly, Anonymous: true}, false},
		{"the owner when only dropping files is left", account.Account{Name: "anna", Rights: account.Write | account.List}, false},
	}
	for _, w := range who {
		for _, l := range looks {
			t.Run(w.name+" by "+l.name, func(t *testing.T) {
				h := newHouse(t)
				need(t, h.tree.MkdirAll("/dir"))
				cut(t, h.anna(), "/dir/a", vfs.Create{}, 10_000)
				s := h.login(w.a)
				fi, err := l.look(t, s)
				if w.owns && l.owns {
					is(t, l.name, err, 0, "")
					if fi.Size() != kept || fi.Name() != "a" {
						t.Errorf("%s shows %s of %d bytes, want a of %d", l.name, fi.Name(), fi.Size(), kept)
					}
					return
				}
				if l.name == "Open" && !w.a.Rights.Has(account.Read) {
					is(t, l.name, err, fault.Denied, fault.IDPerm)
				} else {
					is(t, l.name, err, fault.NotFound, fault.IDNotFound)
				}
				if got := entries(t, s, "/dir"); len(got) != 0 {
					t.Errorf("List shows %q", got)
				}
			})
		}
	}
}

func TestAFinishedFileHidesThePartialOfItsName(t *testing.T) {
	h := newHouse(t)
	need(t, h.tree.WriteFile("/a", []byte("old")))
	s := h.anna()
	cut(t, s, "/a", vfs.Create{}, 10_000)
	fi, err := s.Stat(t.Context(), at(t, "/a"))
	need(t, err)
	if fi.Size() != 3 {
		t.Errorf("Stat shows %d bytes, want the 3 of the finished file", fi.Size())
	}
	if got := partial(t, s, "/a"); got != kept {
		t.Errorf("the partial has %d bytes, want %d", got, kept)
	}
	f, err := s.Open(t.Context(), at(t, "/a"))
	need(t, err)
	defer f.Close()
	if fi, err := f.Stat(); err != nil || fi.Size() != 3 {
		t.Errorf("Open shows %v, %v; want the finished file", fi.Size(), err)
	}
}

func TestStrangersKeepNoPartials(t *testing.T) {
	h := newHouse(t)
	for _, a := range []account.Account{
		{Name: "anonymous", Rights: account.Full, Anonymous: true},
		{Name: "drop", Rights: account.Write | account.List},
	} {
		s := h.login(a)
		cut(t, s, "/a", vfs.Create{Owner: "anna"}, 10_000) // an owner that a protocol names does not count
		if got := partial(t, s, "/a"); got != -1 {
			t.Errorf("%s keeps a partial of %d bytes", a.Name, got)
		}
	}
	if got := partial(t, h.anna(), "/a"); got != -1 {
		t.Errorf("anna has got a partial of %d bytes from a stranger", got)
	}
}

// REST n and STOR, and APPE (-1), for each state of a name.
func TestHowAnUploadGoesOn(t *testing.T) {
	const size = 20_000 // of the finished file
	none, part, file, both := "nothing", "a partial", "a file", "a file and a partial"
	tests := []struct {
		there  string
		offset int64
		want   vfs.Create // Owner is anna in each
		kind   fault.Kind
		id     fault.ID
		facts  []any
	}{
		{there: none, offset: -1, want: vfs.Create{How: vfs.Replace}},
		{there: none, offset: 0, want: vfs.Create{How: vfs.Replace}},
		{there: none, offset: 1, kind: fault.BadOffset, id: fault.IDOffset, facts: []any{int64(1), int64(0)}},

		{there: part, offset: -1, want: vfs.Create{How: vfs.Resume, Offset: kept}},
		{there: part, offset: 0, want: vfs.Create{How: vfs.Resume}},
		{there: part, offset: 1, want: vfs.Create{How: vfs.Resume, Offset: 1}},
		{there: part, offset: kept, want: vfs.Create{How: vfs.Resume, Offset: kept}},

		{there: file, offset: -1, want: vfs.Create{How: vfs.InPlace, Offset: -1}},
		{there: file, offset: 0, want: vfs.Create{How: vfs.Replace}},
		{there: file, offset: 1, want: vfs.Create{How: vfs.Replace, Offset: 1}},
		{there: file, offset: size - 1, want: vfs.Create{How: vfs.Replace, Offset: size - 1}},
		{there: file, offset: size, want: vfs.Create{How: vfs.InPlace, Offset: size}},

		{there: both, offset: -1, kind: fault.BadOffset, id: fault.IDResume, facts: []any{int64(kept)}},
		{there: both, offset: 1, kind: fault.BadOffset, id: fault.IDResume, facts: []any{int64(kept)}},
		{there: both, offset: kept - 1, kind: fault.BadOffset, id: fault.IDResume, facts: []any{int64(kept)}},
		{there: both, offset: kept, want: vfs.Create{How: vfs.Resume, Offset: kept}},
		{there: both, offset: kept + 1, kind: fault.BadOffset, id: fault.IDResume, facts: []any{int64(kept)}},
		{there: both, offset: size, kind: fault.BadOffset, id: fault.IDResume, facts: []any{int64(kept)}},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%s at %d", tt.there, tt.offset), func(t *testing.T) {
			h := newHouse(t)
			s := h.anna()
			if tt.there == file || tt.there == both {
				need(t, store(t, s, "/a", vfs.Create{}, size))
			}
			if tt.there == part || tt.there == both {
				cut(t, s, "/a", vfs.Create{}, 10_000)
			}
			got, err := s.Continue(t.Context(), at(t, "/a"), tt.offset)
			is(t, "Continue", err, tt.kind, tt.id)
			if err != nil {
				if facts := fault.Of(err).Facts; fmt.Sprint(facts) != fmt.Sprint(tt.facts) {
					t.Errorf("facts %v, want %v", facts, tt.facts)
				}
				return
			}
			tt.want.Owner = "anna"
			if got != tt.want {
				t.Fatalf("Continue = %+v, want %+v", got, tt.want)
			}
			// What it says must be what the tree takes.
			up, err := s.Create(t.Context(), at(t, "/a"), got)
			need(t, err)
			begin := max(tt.offset, 0)
			switch {
			case tt.offset < 0 && tt.there == part:
				begin = kept
			case tt.offset < 0 && tt.there == file:
				begin = size
			}
			if up.Dest().Offset() != begin || up.Resumed() != (begin > 0) {
				t.Errorf("the upload begins at %d, resumed %v; want %d", up.Dest().Offset(), up.Resumed(), begin)
			}
			need(t, up.Commit(t.Context(), must(put(t, up, 7)), always))
			if got := finished(t, s, "/a"); got != begin+7 {
				t.Errorf("the file has %d bytes, want %d", got, begin+7)
			}
		})
	}
}

// must drops an error that the caller's arrangement makes impossible.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestAnOffsetAboveTheSizeIsRefused(t *testing.T) {
	for _, there := range []string{"a file", "a partial"} {
		t.Run(there, func(t *testing.T) {
			h := newHouse(t)
			s := h.anna()
			if there == "a file" {
				need(t, store(t, s, "/a", vfs.Create{}, kept))
			} else {
				cut(t, s, "/a", vfs.Create{}, 10_000)
			}
			before := snapshot(t, h.tree)
			how, err := s.Continue(t.Context(), at(t, "/a"), kept+1)
			if err == nil {
				_, err = s.Create(t.Context(), at(t, "/a"), how)
			}
			is(t, "an upload at one behind the end", err, fault.BadOffset, fault.IDOffset)
			if snapshot(t, h.tree) != before {
				t.Error("the tree has changed")
			}
		})
	}
}

func TestADirectoryIsNothingToGoOnWith(t *testing.T) {
	h := newHouse(t)
	need(t, h.tree.MkdirAll("/dir"))
	s := h.anna()
	for _, offset := range []int64{-1, 0, 5} {
		how, err := s.Continue(t.Context(), at(t, "/dir"), offset)
		if err == nil {
			_, err = s.Create(t.Context(), at(t, "/dir"), how)
		}
		is(t, "an upload to a directory", err, fault.IsDir, fault.IDIsDir)
	}
}

func TestRemoveTakesTheOwnPartialAlong(t *testing.T) {
	tests := []struct {
		name       string
		file, part bool
		want       fault.ID
	}{
		{"a file", true, false, ""},
		{"a partial alone", false, true, ""},
		{"both", true, true, ""},
		{"nothing", false, false, fault.IDNotFound},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := newHouse(t)
			s, other := h.anna(), h.login(account.Account{Name: "otto", Rights: account.Full})
			if tt.file {
				need(t, h.tree.WriteFile("/a", []byte("old")))
			}
			if tt.part {
				cut(t, s, "/a", vfs.Create{}, 10_000)
			}
			cut(t, other, "/a", vfs.Create{}, 20_000)
			is(t, "Remove", s.Remove(t.Context(), at(t, "/a")), fault.NotFound, tt.want)
			if got := finished(t, s, "/a"); got != -1 {
				t.Errorf("the file is there, %d bytes", got)
			}
			if got := partial(t, s, "/a"); got != -1 {
				t.Errorf("the partial is there, %d bytes", got)
			}
			if got := partial(t, other, "/a"); got != 20_000-vfs.CutTail {
				t.Errorf("the partial of the other account has %d bytes now", got)
			}
		})
	}
}

func TestRemoveOfADirectoryLeavesAPartialAlone(t *testing.T) {
	h := newHouse(t)
	s := h.anna()
	cut(t, s, "/a", vfs.Create{}, 10_000)
	need(t, h.tree.MkdirAll("/a"))
	is(t, "Remove", s.Remove(t.Context(), at(t, "/a")), fault.IsDir, fault.IDIsDir)
	need(t, s.RemoveDir(t.Context(), at(t, "/a")))
	if got := partial(t, s, "/a"); got != kept {
		t.Errorf("the partial has %d bytes, want %d", got, kept)
	}
}

func TestRenameOfAPartialLeavesItAPartial(t *testing.T) {
	h := newHouse(t)
	need(t, h.tree.MkdirAll("/dir"))
	s := h.anna()
	cut(t, s, "/a", vfs.Create{}, 10_000)
	is(t, "Renamable", s.Renamable(t.Context(), at(t, "/a")), 0, "")
	is(t, "Renamable by another", h.login(account.Account{Name: "otto", Rights: account.Full}).Renamable(t.Context(), at(t, "/a")),
		fault.NotFound, fault.IDNotFound)
	need(t, s.Rename(t.Context(), at(t, "/a"), at(t, "/dir/b"), vfs.Overwrite))
	if a, b := partial(t, s, "/a"), partial(t, s, "/dir/b"); a != -1 || b != kept {
		t.Errorf("partials: /a %d, /dir/b %d; want none and %d", a, b, kept)
	}
	if a, b := finished(t, s, "/a"), finished(t, s, "/dir/b"); a != -1 || b != -1 {
		t.Errorf("finished: /a %d, /dir/b %d; want none", a, b)
	}
	need(t, store(t, s, "/dir/b", vfs.Create{How: vfs.Resume, Offset: kept}, 10))
	if got := finished(t, s, "/dir/b"); got != kept+10 {
		t.Errorf("the finished file has %d bytes, want %d", got, kept+10)
	}
}

func TestRenameOfAFileLeavesThePartialOfItsOldName(t *testing.T) {
	h := newHouse(t)
	need(t, h.tree.WriteFile("/a", []byte("old")))
	s := h.anna()
	cut(t, s, "/a", vfs.Create{}, 10_000)
	need(t, s.Rename(t.Context(), at(t, "/a"), at(t, "/b"), vfs.Overwrite))
	if fi, err := s.Stat(t.Context(), at(t, "/a")); err != nil || fi.Size() != kept {
		t.Errorf("Stat(/a) = %v, %v; want the partial", fi, err)
	}
	if got := finished(t, s, "/b"); got != 3 {
		t.Errorf("/b has %d bytes, want 3", got)
	}
}

func TestRenameNamesTheNameThatIsInTheWay(t *testing.T) {
	furnished := func(t *testing.T) *Session {
		h := newHouse(t)
		need(t, h.tree.WriteFile("/file", []byte("1")))
		need(t, h.tree.WriteFile("/full/x", []byte("1")))
		need(t, h.tree.MkdirAll("/empty"))
		return h.anna()
	}
	tests := []struct {
		name, from, to string
		how            vfs.Rename
		kind           fault.Kind
		id             fault.ID
		fact           string
	}{
		{"what is not there", "/no", "/new", vfs.Overwrite, fault.NotFound, fault.IDNotFound, "/no"},
		{"into a directory that is not there", "/file", "/no/new", vfs.Overwrite, fault.NotFound, fault.IDNotFound, "/no/new"},
		{"below a file", "/full", "/file/new", vfs.Overwrite, fault.NotDir, fault.IDNotDir, "/file/new"},
		{"a file over a directory", "/file", "/empty", vfs.Overwrite, fault.IsDir, fault.IDIsDir, "/empty"},
		{"a directory over a file", "/empty", "/file", vfs.Overwrite, fault.NotDir, fault.IDNotDir, "/file"},
		{"a directory over one that is not empty", "/empty", "/full", vfs.Overwrite, fault.NotEmpty, fault.IDNotEmpty, "/full"},
		{"a name that is taken, without replacing", "/file", "/full/x", vfs.NoReplace, fault.Exists, fault.IDExists, "/full/x"},
		{"a directory into itself", "/full", "/full/in", vfs.Overwrite, fault.BadName, fault.IDBadName, "a directory can't be moved into itself"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := furnished(t)
			before := snapshot(t, s.fs)
			err := s.Rename(t.Context(), at(t, tt.from), at(t, tt.to), tt.how)
			is(t, "Rename", err, tt.kind, tt.id)
			if facts := fault.Of(err).Facts; len(facts) != 1 || facts[0] != tt.fact {
				t.Errorf("facts %q, want %q", facts, tt.fact)
			}
			if snapshot(t, s.fs) != before {
				t.Error("the tree has changed")
			}
		})
	}
}

func TestRemoveDir(t *testing.T) {
	tests := []struct {
		name               string
		file, own, foreign bool
		running            bool // an upload of the account's own
		kind               fault.Kind
		id                 fault.ID
	}{
		{name: "an empty directory goes"},
		{name: "own partials go with it", own: true},
		{name: "a file keeps it", file: true, kind: fault.NotEmpty, id: fault.IDNotEmpty},
		{name: "a file keeps own partials too", file: true, own: true, kind: fault.NotEmpty, id: fault.IDNotEmpty},
		{name: "a partial of another account is in the way", foreign: true, kind: fault.NotEmpty, id: fault.IDUploadInWay},
		{name: "also beside an own one", own: true, foreign: true, kind: fault.NotEmpty, id: fault.IDUploadInWay},
		{name: "a running upload is in the way", running: true, kind: fault.NotEmpty, id: fault.IDUploadInWay},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := newHouse(t)
			need(t, h.tree.MkdirAll("/dir"))
			s, other := h.anna(), h.login(account.Account{Name: "otto", Rights: account.Full})
			if tt.file {
				need(t, h.tree.WriteFile("/dir/f", []byte("old")))
			}
			if tt.own {
				cut(t, s, "/dir/a", vfs.Create{}, 10_000)
				cut(t, s, "/dir/b", vfs.Create{}, 10_000)
			}
			if tt.foreign {
				cut(t, other, "/dir/c", vfs.Create{}, 10_000)
			}
			if tt.running {
				up, err := s.Create(t.Context(), at(t, "/dir/d"), vfs.Create{})
				need(t, err)
				defer func() { _ = up.Cut(t.Context(), must(put(t, up, 1)), errGone) }()
			}
			err := s.RemoveDir(t.Context(), at(t, "/dir"))
			is(t, "RemoveDir", err, tt.kind, tt.id)
			if err == nil {
				if _, err := s.Finished(t.Context(), at(t, "/dir")); fault.KindOf(err) != fault.NotFound {
					t.Errorf("the directory is there: %v", err)
				}
				return
			}
			if facts := fault.Of(err).Facts; len(facts) != 1 || facts[0] != "/dir" {
				t.Errorf("facts %q, want the directory", facts)
			}
			if got := partial(t, s, "/dir/a"); tt.file && tt.own && got != kept {
				t.Errorf("the own partial has %d bytes though the directory stays", got)
			}
			if got := partial(t, other, "/dir/c"); tt.foreign && got != kept {
				t.Errorf("the partial of the other account has %d bytes now", got)
			}
		})
	}
}

func TestTimeAndModeOfAPartialAreThoseOfTheFile(t *testing.T) {
	h := newHouse(t)
	s := h.anna()
	cut(t, s, "/a", vfs.Create{}, 10_000)
	when := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
	need(t, s.SetTime(t.Context(), at(t, "/a"), when))
	need(t, s.Chmod(t.Context(), at(t, "/a"), 0o600))
	fi, err := s.Stat(t.Context(), at(t, "/a"))
	need(t, err)
	if !fi.ModTime().Equal(when) || fi.Mode().Perm() != 0o600 {
		t.Errorf("the partial has %v, %v", fi.ModTime(), fi.Mode())
	}
	need(t, store(t, s, "/a", vfs.Create{How: vfs.Resume, Offset: kept}, 5))
	fi, err = s.Finished(t.Context(), at(t, "/a"))
	need(t, err)
	if !fi.ModTime().Equal(when) || fi.Mode().Perm() != 0o600 {
		t.Errorf("the file has %v, %v; want %v, 0600", fi.ModTime(), fi.Mode(), when)
	}
	for name, err := range map[string]error{
		"SetTime": h.login(account.Account{Name: "otto", Rights: account.Full}).SetTime(t.Context(), at(t, "/b"), when),
		"Chmod":   s.Chmod(t.Context(), at(t, "/b"), 0o600),
	} {
		is(t, name+" of nothing", err, fault.NotFound, fault.IDNotFound)
	}
}

// bare is a tree that can do no more than it must.
type bare struct{ vfs.FS }

func TestATreeWithoutPartialsModesAndRoom(t *testing.T) {
	h := newHouse(t)
	h.gate.Trees = func(context.Context, account.Account) (vfs.FS, error) { return bare{memfs.New(memfs.Options{})}, nil }
	s := h.anna()
	need(t, store(t, s, "/a", vfs.Create{}, 3))
	cut(t, s, "/b", vfs.Create{}, 10_000)
	is(t, "Partial", second(s.Partial(t.Context(), at(t, "/b"))), fault.NotFound, fault.IDNotFound)
	is(t, "Stat", second(s.Stat(t.Context(), at(t, "/b"))), fault.NotFound, fault.IDNotFound)
	is(t, "Chmod", s.Chmod(t.Context(), at(t, "/a"), 0o600), fault.NotBuilt, fault.IDNotBuilt)
	is(t, "Rename", s.Rename(t.Context(), at(t, "/b"), at(t, "/c"), vfs.Overwrite), fault.NotFound, fault.IDNotFound)
	is(t, "Remove", s.Remove(t.Context(), at(t, "/b")), fault.NotFound, fault.IDNotFound)
	is(t, "SetTime", s.SetTime(t.Context(), at(t, "/b"), time.Now()), fault.NotFound, fault.IDNotFound)
	is(t, "Room", s.Room(t.Context(), vfs.Root, 1<<60), 0, "")
	if got := s.Link(t.Context(), at(t, "/a")); got != "" {
		t.Errorf("Link = %q", got)
	}
}

func second[T any](_ T, err error) error { return err }
