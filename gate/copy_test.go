package gate

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"testing"

	"dray/account"
	"dray/event"
	"dray/fault"
	"dray/vfs"
	"dray/vfs/memfs"
)

// copyTo and combine are acts.
func copyTo(from, to string) func(*testing.T, *Session) error {
	return func(t *testing.T, s *Session) error {
		_, err := s.Copy(t.Context(), at(t, from), at(t, to))
		return err
	}
}

func combine(target string, parts ...string) func(*testing.T, *Session) error {
	return func(t *testing.T, s *Session) error {
		var paths []vfs.Path
		for _, p := range parts {
			paths = append(paths, at(t, p))
		}
		_, err := s.Combine(t.Context(), at(t, target), paths)
		return err
	}
}

// holds wants a file with this content; "" wants none.
func holds(t *testing.T, tree *memfs.Tree, name, want string) {
	t.Helper()
	got, err := tree.ReadFile(name)
	if want == "" && errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil || string(got) != want {
		t.Errorf("%s holds %.60q, %v; want %.60q", name, got, err, want)
	}
}

func TestACopyOfADirectoryHasItsFilesAndNoLinks(t *testing.T) {
	h := furnish(t)
	need(t, h.tree.MkdirAll("/dir/sub/deep"))
	need(t, h.tree.WriteFile("/dir/sub/x", []byte("x")))
	need(t, h.tree.Link("/dir/link", "/file"))
	need(t, h.tree.Link("/dir/sub/up", ".."))
	s := h.anna()
	done, err := s.Copy(t.Context(), at(t, "/dir"), at(t, "/copy"))
	if want := (Copied{Files: 2, Dirs: 3, Bytes: 4, LeftOut: 2, Road: "copy"}); err != nil || done != want {
		t.Errorf("Copy = %+v, %v; want %+v", done, err, want)
	}
	holds(t, h.tree, "/copy/other", "123")
	holds(t, h.tree, "/copy/sub/x", "x")
	if fi, err := h.tree.Lstat(t.Context(), at(t, "/copy/sub/deep")); err != nil || !fi.IsDir() {
		t.Errorf("an empty directory was not copied: %v", err)
	}
	for _, name := range []string{"/copy/link", "/copy/sub/up"} {
		if _, err := h.tree.Lstat(t.Context(), at(t, name)); err == nil {
			t.Errorf("%s was copied", name)
		}
	}
	if es := of[event.Change](h.events.take()); len(es) != 5 || es[0].Verb != "copy" || es[0].Path != "/dir" || es[0].To != "/copy" {
		t.Errorf("events %+v, want one for each file and directory", es)
	}
	// Again, over what is there: nothing is made but the files.
	need(t, h.tree.WriteFile("/copy/own", []byte("own")))
	need(t, h.tree.WriteFile("/dir/other", []byte("new")))
	done, err = s.Copy(t.Context(), at(t, "/dir"), at(t, "/copy"))
	if err != nil || done.Dirs != 0 || done.Files != 2 {
		t.Errorf("Copy = %+v, %v", done, err)
	}
	holds(t, h.tree, "/copy/other", "new")
	holds(t, h.tree, "/copy/own", "own")
}

func TestWhatCanNotBeCopied(t *testing.T) {
	for _, tt := range []struct {
		name, from, to string
		kind           fault.Kind
		id             fault.ID
	}{
		{"nothing of that name", "/none", "/copy", fault.NotFound, fault.IDNotFound},
		{"onto itself", "/file", "/file", fault.BadName, fault.IDBadName},
		{"a directory onto itself", "/dir", "/dir", fault.BadName, fault.IDBadName},
		{"a directory into itself", "/dir", "/dir/copy", fault.BadName, fault.IDBadName},
		{"everything into itself", "/", "/copy", fault.BadName, fault.IDBadName},
		{"a link to a directory", "/dirlink", "/copy", fault.Denied, fault.IDNotRegular},
		{"a link to nothing", "/broken", "/copy", fault.NotFound, fault.IDNotFound},
		{"a file over a directory", "/file", "/empty", fault.IsDir, fault.IDIsDir},
		{"a directory over a file", "/dir", "/file", fault.Exists, fault.IDExists},
		{"into a directory that is missing", "/file", "/none/copy", fault.NotFound, fault.IDNotFound},
		{"a directory into one that is missing", "/dir", "/none/copy", fault.NotFound, fault.IDNotFound},
		{"below a file", "/file", "/dir/other/copy", fault.NotDir, fault.IDNotDir},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := furnish(t)
			need(t, h.tree.Link("/dirlink", "dir"))
			need(t, h.tree.Link("/broken", "none"))
			before := snapshot(t, h.tree)
			_, err := h.anna().Copy(t.Context(), at(t, tt.from), at(t, tt.to))
			is(t, "Copy", err, tt.kind, tt.id)
			if after := snapshot(t, h.tree); after != before {
				t.Errorf("the tree has changed from\n%s\nto\n%s", before, after)
			}
		})
	}
	h := furnish(t)
	done, err := h.anna().Copy(t.Context(), at(t, "/link"), at(t, "/copy"))
	if err != nil || done.Files != 1 {
		t.Errorf("a link to a file: %+v, %v", done, err)
	}
	holds(t, h.tree, "/copy", "12345")
}

// The target lies in the source by way of a link, which no path tells.
func TestACopyIntoItselfByALinkEnds(t *testing.T) {
	h := newHouse(t)
	need(t, h.tree.MkdirAll("/dir/sub"))
	need(t, h.tree.WriteFile("/dir/x", []byte("x")))
	need(t, h.tree.Link("/way", "dir/sub"))
	done, err := h.anna().Copy(t.Context(), at(t, "/dir"), at(t, "/way/copy"))
	if err != nil || done.Files != 1 || done.Dirs != 2 || done.LeftOut != 0 {
		t.Errorf("Copy = %+v, %v", done, err)
	}
	holds(t, h.tree, "/dir/sub/copy/x", "x")
	if _, err := h.tree.Lstat(t.Context(), at(t, "/dir/sub/copy/sub/copy")); err == nil {
		t.Error("the copy has a copy of itself")
	}
}

// A path below has other rights: they hold for what is copied from and to there.
func TestACopyKeepsTheRightsOfEachPath(t *testing.T) {
	a := account.Account{Name: "anna", Rights: account.Full, Paths: []account.PathRights{
		{Path: "/dir/secret", Rights: account.List}, {Path: "/shared", Rights: account.Read | account.List},
	}}
	h := furnish(t)
	need(t, h.tree.MkdirAll("/dir/secret"))
	need(t, h.tree.MkdirAll("/shared"))
	need(t, h.tree.WriteFile("/dir/secret/key", []byte("key")))
	s := h.login(a)
	_, err := s.Copy(t.Context(), at(t, "/dir/secret/key"), at(t, "/copy"))
	is(t, "a file that may not be read", err, fault.Denied, fault.IDPerm)
	_, err = s.Copy(t.Context(), at(t, "/dir"), at(t, "/copy"))
	is(t, "a directory with such a file", err, fault.Denied, fault.IDPerm)
	holds(t, h.tree, "/copy/secret/key", "")
	_, err = s.Copy(t.Context(), at(t, "/file"), at(t, "/shared/copy"))
	is(t, "to where nothing may be written", err, fault.Denied, fault.IDPerm)
	is(t, "parts to where nothing may be written", combine("/shared/copy", "/file")(t, s), fault.Denied, fault.IDPerm)
	is(t, "parts that may not be deleted", combine("/copy/new", "/shared/x")(t, s), fault.Denied, fault.IDPerm)
	holds(t, h.tree, "/shared/copy", "")
}

func TestCopiesCountInTheQuota(t *testing.T) {
	h := newHouse(t)
	b := &book{t: t, maxBytes: 250, maxFiles: 6}
	h.gate.Ledger = b
	s := h.anna()
	need(t, store(t, s, "/a", vfs.Create{}, 100))
	counts := func(what string, files int, bytes int64) {
		t.Helper()
		if b.files != files || b.bytes != bytes || b.heldF != 0 || b.heldB != 0 || b.open != 0 {
			t.Errorf("%s: %d files, %d bytes, held %d and %d, %d open; want %d and %d", what, b.files, b.bytes, b.heldF, b.heldB, b.open, files, bytes)
		}
	}
	need(t, copyTo("/a", "/b")(t, s))
	counts("a copy", 2, 200)
	need(t, copyTo("/a", "/b")(t, s))
	counts("a copy over a file", 2, 200)
	is(t, "a copy too many", copyTo("/a", "/c")(t, s), fault.OverQuota, fault.IDQuota)
	counts("a copy too many", 2, 200)
	holds(t, h.tree, "/c", "")
	need(t, store(t, s, "/c", vfs.Create{}, 30))
	is(t, "parts too many", combine("/new", "/a", "/c")(t, s), fault.OverQuota, fault.IDQuota)
	counts("parts too many", 3, 230)
	holds(t, h.tree, "/a", strings.Repeat("x", 100))
	need(t, s.Remove(t.Context(), at(t, "/b")))
	need(t, combine("/a", "/c")(t, s))
	counts("a part behind a file", 1, 130)
	need(t, store(t, s, "/d", vfs.Create{}, 10))
	need(t, combine("/e", "/d")(t, s))
	counts("a file of parts", 2, 140)
	need(t, copyTo("/e", "/e2")(t, s))
	need(t, store(t, s, "/empty", vfs.Create{}, 0))
	need(t, copyTo("/empty", "/empty2")(t, s))
	counts("empty ones", 5, 150)
}

func TestPartsAreCombinedInTheirOrder(t *testing.T) {
	h := newHouse(t)
	for name, content := range map[string]string{"/t": "zero ", "/1": "one ", "/2": "", "/3": "three", "/4": "four"} {
		need(t, h.tree.WriteFile(name, []byte(content)))
	}
	s := h.anna()
	done, err := s.Combine(t.Context(), at(t, "/t"), []vfs.Path{at(t, "/1"), at(t, "/2"), at(t, "/3")})
	if want := (Copied{Files: 3, Bytes: 9, Road: "copy"}); err != nil || done != want {
		t.Errorf("Combine = %+v, %v; want %+v", done, err, want)
	}
	holds(t, h.tree, "/t", "zero one three")
	need(t, combine("/new", "/4", "/t")(t, s))
	holds(t, h.tree, "/new", "fourzero one three")
	for _, gone := range []string{"/1", "/2", "/3", "/4", "/t"} {
		holds(t, h.tree, gone, "")
	}
	need(t, h.tree.WriteFile("/5", []byte("5")))
	done, err = s.Combine(t.Context(), at(t, "/twice"), []vfs.Path{at(t, "/5"), at(t, "/5")})
	if err != nil || done.Kept != 0 {
		t.Errorf("one part twice: %+v, %v", done, err)
	}
	holds(t, h.tree, "/twice", "55")
}

func TestACombinationThatFailsChangesNothing(t *testing.T) {
	for _, tt := range []struct {
		name, target string
		parts        []string
		kind         fault.Kind
		id           fault.ID
	}{
		{"a part is missing", "/file", []string{"/dir/other", "/none"}, fault.NotFound, fault.IDNotFound},
		{"a part is a directory", "/file", []string{"/dir/other", "/empty"}, fault.IsDir, fault.IDIsDir},
		{"the target is a directory", "/empty", []string{"/file"}, fault.IsDir, fault.IDIsDir},
		{"the target's directory is missing", "/none/new", []string{"/file"}, fault.NotFound, fault.IDNotFound},
		{"a part is the target", "/file", []string{"/dir/other", "/file"}, fault.BadName, fault.IDBadName},
		{"a part is the target by a link", "/file", []string{"/link"}, fault.BadName, fault.IDBadName},
		{"a part is the target by a linked directory", "/dir/other", []string{"/way/other"}, fault.BadName, fault.IDBadName},
		{"a part can't be read", "/file", []string{"/dir/other", "/broken"}, fault.NotFound, fault.IDNotFound},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := furnish(t)
			need(t, h.tree.Link("/broken", "none"))
			need(t, h.tree.Link("/way", "dir"))
			before := snapshot(t, h.tree)
			is(t, "Combine", combine(tt.target, tt.parts...)(t, h.anna()), tt.kind, tt.id)
			if after := snapshot(t, h.tree); after != before {
				t.Errorf("the tree has changed from\n%s\nto\n%s", before, after)
			}
			if es := h.events.take(); len(es) != 0 {
				t.Errorf("something was done: %+v", es)
			}
		})
	}
}

// meddler is a tree in which something happens when a file is opened or removed.
type meddler struct {
	vfs.FS
	opened  func(p vfs.Path)
	removed func(p vfs.Path) error
}

func (m *meddler) Open(ctx context.Context, p vfs.Path) (vfs.File, error) {
	f, err := m.FS.Open(ctx, p)
	if m.opened != nil {
		m.opened(p)
	}
	return f, err
}

func (m *meddler) Remove(ctx context.Context, p vfs.Path) error {
	if m.removed != nil {
		if err := m.removed(p); err != nil {
			return err
		}
	}
	return m.FS.Remove(ctx, p)
}

func (h *house) meddle() *meddler {
	m := &meddler{FS: h.tree}
	h.gate.Trees = func(context.Context, account.Account) (vfs.FS, error) { return m, nil }
	return m
}

func TestACopyThatIsEndedLeavesNoFile(t *testing.T) {
	why := fault.New(fault.Canceled, fault.IDAborted)
	for name, act := range map[string]func(context.Context, *testing.T, *Session) error{
		"Copy": func(ctx context.Context, t *testing.T, s *Session) error {
			_, err := s.Copy(ctx, at(t, "/file"), at(t, "/new"))
			return err
		},
		"Combine": func(ctx context.Context, t *testing.T, s *Session) error {
			_, err := s.Combine(ctx, at(t, "/new"), []vfs.Path{at(t, "/file"), at(t, "/dir/other")})
			return err
		},
		"Combine behind a file": func(ctx context.Context, t *testing.T, s *Session) error {
			_, err := s.Combine(ctx, at(t, "/file"), []vfs.Path{at(t, "/dir/other")})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := furnish(t)
			m := h.meddle()
			ctx, cancel := context.WithCancelCause(t.Context())
			m.opened = func(vfs.Path) { cancel(why) }
			before := snapshot(t, h.tree)
			s := h.anna()
			is(t, name, act(ctx, t, s), fault.Canceled, fault.IDAborted)
			if after := snapshot(t, h.tree); after != before {
				t.Errorf("the tree has changed from\n%s\nto\n%s", before, after)
			}
			if partial(t, s, "/new") >= 0 || partial(t, s, "/file") >= 0 {
				t.Error("a partial was kept of it")
			}
		})
	}
}

func TestATargetThatChangesMeanwhileIsNotLost(t *testing.T) {
	h := furnish(t)
	m := h.meddle()
	s := h.anna()
	m.opened = func(vfs.Path) {
		m.opened = nil
		need(t, h.tree.WriteFile("/file", []byte("somebody else was here")))
	}
	is(t, "Combine", combine("/file", "/dir/other")(t, s), fault.Busy, fault.IDInUse)
	holds(t, h.tree, "/file", "somebody else was here")
	holds(t, h.tree, "/dir/other", "123")
}

func TestAPartThatCanNotBeDeletedIsCounted(t *testing.T) {
	h := furnish(t)
	m := h.meddle()
	m.removed = func(p vfs.Path) error {
		if p.String() == "/dir/other" {
			return fs.ErrPermission
		}
		return nil
	}
	done, err := h.anna().Combine(t.Context(), at(t, "/new"), []vfs.Path{at(t, "/file"), at(t, "/dir/other")})
	if err != nil || done.Kept != 1 {
		t.Errorf("Combine = %+v, %v; want one part kept", done, err)
	}
	holds(t, h.tree, "/new", "12345123")
	holds(t, h.tree, "/file", "")
	holds(t, h.tree, "/dir/other", "123")
}
