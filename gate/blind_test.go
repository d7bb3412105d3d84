package gate

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"dray/account"
	"dray/event"
	"dray/fault"
	"dray/transfer"
	"dray/vfs"
)

// blindAccounts can put files into /drop and see nothing there.
func blindAccounts() map[string]account.Account {
	return map[string]account.Account{
		"for uploads only":       {Name: "anna", Rights: account.UploadOnly},
		"Write and nothing else": {Name: "anna", Rights: account.Write},
		"full elsewhere":         {Name: "anna", Rights: account.Full, Paths: places("/drop", account.UploadOnly)},
		"stranger":               {Name: "anonymous", Anonymous: true, Rights: account.ReadOnly, Paths: places("/drop", account.Write)},
	}
}

// dropBox is a tree with a blind place, in which there are a file, a directory, a
// link to each, and a cut upload of somebody else.
func dropBox(t *testing.T) *house {
	h := newHouse(t)
	need(t, h.tree.WriteFile("/drop/file", []byte("12345")))
	need(t, h.tree.WriteFile("/drop/dir/file", []byte("12345")))
	need(t, h.tree.Link("/drop/link", "file"))
	need(t, h.tree.Link("/drop/linkdir", "dir"))
	need(t, h.tree.Link("/drop/broken", "none"))
	need(t, h.tree.WriteFile("/seen", []byte("12345")))
	up, err := h.tree.Create(t.Context(), at(t, "/drop/part"), vfs.Create{Owner: "somebody"})
	need(t, err)
	_, err = up.WriteAt(make([]byte, 10_000), 0)
	need(t, err)
	need(t, up.Cut())
	return h
}

// same wants two answers that tell the same, but for the name that they are about.
func sameAnswer(t *testing.T, doing, name string, got, want error) {
	t.Helper()
	tell := func(err error) string {
		if err == nil {
			return "no error"
		}
		e := fault.Of(err)
		return fmt.Sprintf("kind %d, id %s, facts %s", e.Kind, e.ID, strings.ReplaceAll(fmt.Sprint(e.Facts), name, "/drop/none"))
	}
	if g, w := tell(got), tell(want); g != w {
		t.Errorf("%s of %s: %s; of a name that there is none of: %s", doing, name, g, w)
	}
}

// Whatever is asked about a name in a blind place, the answer is the same as for
// one that there is none of.
func TestInABlindPlaceNoAnswerTellsWhetherANameExists(t *testing.T) {
	listed := func(s *Session, p vfs.Path) (err error) {
		for fi, e := range s.List(t.Context(), p) {
			err = e
			if fi != nil {
				err = fmt.Errorf("it lists %q", fi.Name())
			}
		}
		return err
	}
	asks := []struct {
		doing string
		ask   func(s *Session, p vfs.Path) error
	}{
		{"Stat", func(s *Session, p vfs.Path) error { return second(s.Stat(t.Context(), p)) }},
		{"Lstat", func(s *Session, p vfs.Path) error { return second(s.Lstat(t.Context(), p)) }},
		{"Finished", func(s *Session, p vfs.Path) error { return second(s.Finished(t.Context(), p)) }},
		{"Partial", func(s *Session, p vfs.Path) error { return second(s.Partial(t.Context(), p)) }},
		{"Continue from 0", func(s *Session, p vfs.Path) error { return second(s.Continue(t.Context(), p, 0)) }},
		{"Continue from 5", func(s *Session, p vfs.Path) error { return second(s.Continue(t.Context(), p, 5)) }},
		{"Continue at the end", func(s *Session, p vfs.Path) error { return second(s.Continue(t.Context(), p, -1)) }},
		{"Listable", func(s *Session, p vfs.Path) error { return s.Listable(t.Context(), p) }},
		{"List", listed},
		{"Available", func(s *Session, p vfs.Path) error { return second(s.Available(t.Context(), p)) }},
		{"Open", func(s *Session, p vfs.Path) error { return second(s.Open(t.Context(), p)) }},
		{"Copyable", func(s *Session, p vfs.Path) error { return s.Copyable(t.Context(), p) }},
		{"Copy", func(s *Session, p vfs.Path) error { return second(s.Copy(t.Context(), p, at(t, "/copy"))) }},
		{"Combine", func(s *Session, p vfs.Path) error {
			return second(s.Combine(t.Context(), at(t, "/drop/whole"), []vfs.Path{p}))
		}},
		{"Remove", func(s *Session, p vfs.Path) error { return s.Remove(t.Context(), p) }},
		{"RemoveDir", func(s *Session, p vfs.Path) error { return s.RemoveDir(t.Context(), p) }},
		{"Renamable", func(s *Session, p vfs.Path) error { return s.Renamable(t.Context(), p) }},
		{"Rename", func(s *Session, p vfs.Path) error { return s.Rename(t.Context(), p, at(t, "/moved"), vfs.Overwrite) }},
		{"SetTime", func(s *Session, p vfs.Path) error { return s.SetTime(t.Context(), p, time.Unix(1, 0)) }},
		{"Chmod", func(s *Session, p vfs.Path) error { return s.Chmod(t.Context(), p, 0) }},
		{"Symlink", func(s *Session, p vfs.Path) error { return s.Symlink(t.Context(), "x", p) }},
		{"Resume", func(s *Session, p vfs.Path) error {
			how, err := s.Continue(t.Context(), p, 3)
			if err == nil {
				_, err = s.Create(t.Context(), p, how)
			}
			return err
		}},
		{"an upload below it", func(s *Session, p vfs.Path) error {
			q, _ := p.Join("x")
			return second(s.Create(t.Context(), q, vfs.Create{}))
		}},
		{"a directory below it", func(s *Session, p vfs.Path) error {
			q, _ := p.Join("x")
			return s.Mkdir(t.Context(), q)
		}},
		{"Stat below it", func(s *Session, p vfs.Path) error {
			q, _ := p.Join("x")
			return second(s.Stat(t.Context(), q))
		}},
	}
	for who, a := range blindAccounts() {
		t.Run(who, func(t *testing.T) {
			for _, ask := range asks {
				for _, name := range []string{"/drop/file", "/drop/part", "/drop/link", "/drop/broken"} {
					h := dropBox(t)
					s := h.login(a)
					before := snapshot(t, h.tree)
					want := ask.ask(s, at(t, "/drop/none"))
					sameAnswer(t, ask.doing, name, ask.ask(s, at(t, name)), want)
					if after := snapshot(t, h.tree); after != before {
						t.Errorf("%s has changed the tree from\n%s\nto\n%s", ask.doing, before, after)
					}
				}
			}
			s := dropBox(t).login(a)
			for _, name := range []string{"/drop/none", "/drop/file", "/drop/link", "/drop/broken"} {
				if target := s.Link(t.Context(), at(t, name)); target != "" {
					t.Errorf("Link(%s) = %q", name, target)
				}
			}
			for _, offset := range []int64{0, -1} {
				none, err := s.Continue(t.Context(), at(t, "/drop/none"), offset)
				need(t, err)
				if how, err := s.Continue(t.Context(), at(t, "/drop/file"), offset); err != nil || !reflect.DeepEqual(how, none) {
					t.Errorf("Continue(%d) = %+v, %v; of a name that there is none of: %+v", offset, how, err, none)
				}
			}
			_, err := s.Continue(t.Context(), at(t, "/drop/none"), 1)
			is(t, "REST", err, fault.Denied, fault.IDPerm)
			is(t, "Open", second(s.Open(t.Context(), at(t, "/drop/file"))), fault.Denied, fault.IDPerm)
		})
	}
}

// Programs change to the directory before they upload.
func TestInABlindPlaceDirectoriesCanBeSeen(t *testing.T) {
	for who, a := range blindAccounts() {
		t.Run(who, func(t *testing.T) {
			s := dropBox(t).login(a)
			for _, dir := range []string{"/", "/drop", "/drop/dir", "/drop/linkdir"} {
				fi, err := s.Finished(t.Context(), at(t, dir))
				if err != nil || !fi.IsDir() {
					t.Errorf("Finished(%s) = %v, %v", dir, fi, err)
				}
				if dir == "/" && len(a.Paths) > 0 {
					continue
				}
				if attr := vfs.AttrOf(fi); !fi.ModTime().IsZero() || attr.Ino != 0 || fi.Name() != at(t, dir).Base() {
					t.Errorf("%s is told as %q of %v, %+v", dir, fi.Name(), fi.ModTime(), attr)
				}
				is(t, "Stat "+dir, second(s.Stat(t.Context(), at(t, dir))), fault.Denied, fault.IDPerm)
				is(t, "Available "+dir, second(s.Available(t.Context(), at(t, dir))), fault.Denied, fault.IDPerm)
				is(t, "Listable", s.Listable(t.Context(), at(t, dir)), 0, "")
				if names := entries(t, s, dir); len(names) != 0 {
					t.Errorf("%s shows %q", dir, names)
				}
			}
		})
	}
}

// With no right at all a directory can't even be seen, but for the root.
func TestAPlaceWithoutRightsIsNotThere(t *testing.T) {
	s := dropBox(t).login(account.Account{Name: "anna", Paths: places("/drop/dir", account.Full)})
	if fi, err := s.Finished(t.Context(), vfs.Root); err != nil || !fi.IsDir() {
		t.Errorf("Finished(/) = %v, %v", fi, err)
	}
	is(t, "list it", s.Listable(t.Context(), vfs.Root), fault.Denied, fault.IDPerm)
	for _, name := range []string{"/drop", "/drop/file", "/none", "/seen"} {
		is(t, "Stat "+name, second(s.Stat(t.Context(), at(t, name))), fault.Denied, fault.IDPerm)
		is(t, "Listable "+name, s.Listable(t.Context(), at(t, name)), fault.Denied, fault.IDPerm)
		is(t, "upload to "+name, store(t, s, name, vfs.Create{}, 1), fault.Denied, fault.IDPerm)
	}
	is(t, "what is below it", store(t, s, "/drop/dir/new", vfs.Create{}, 1), 0, "")
}

// begin uploads as a protocol does: Continue for APPE, none for STOR.
func begin(t *testing.T, s *Session, name string, offset int64) *Upload {
	t.Helper()
	how := vfs.Create{}
	if offset != 0 {
		var err error
		how, err = s.Continue(t.Context(), at(t, name), offset)
		need(t, err)
	}
	up, err := s.Create(t.Context(), at(t, name), how)
	need(t, err)
	return up
}

// An upload to a name that is taken gets a name of its own, and so does an APPE:
// nothing is replaced, nothing is lost, nothing is told.
func TestInABlindPlaceATakenNameGetsANameOfItsOwn(t *testing.T) {
	for who, a := range blindAccounts() {
		for _, tt := range []struct {
			name   string // that is uploaded to
			offset int64
			want   string // where it is
		}{
			{"/drop/none", 0, "/drop/none"},
			{"/drop/file", 0, "/drop/file.1"},
			{"/drop/file", -1, "/drop/file.1"},
			{"/drop/dir", 0, "/drop/dir.1"},
			{"/drop/link", 0, "/drop/link.1"},
			{"/drop/broken", 0, "/drop/broken.1"},
			{"/drop/part", -1, "/drop/part"},
			{"/drop/linkdir/file", 0, "/drop/dir/file.1"},
		} {
			t.Run(fmt.Sprintf("%s, %s from %d", who, tt.name, tt.offset), func(t *testing.T) {
				h := dropBox(t)
				s := h.login(a)
				up := begin(t, s, tt.name, tt.offset)
				if up.Resumed() {
					t.Error("it goes on with something")
				}
				rep, err := put(t, up, 7)
				need(t, err)
				need(t, up.Commit(t.Context(), rep, always))
				holds(t, h.tree, tt.want, "xxxxxxx")
				holds(t, h.tree, "/drop/file", "12345")
				holds(t, h.tree, "/drop/dir/file", "12345")
				if e := of[event.Transfer](h.events.take()); len(e) != 1 || strings.ReplaceAll(e[0].Path, "linkdir", "dir") != tt.want {
					t.Errorf("events %+v, want an upload to %s", e, tt.want)
				}
				// And once more.
				up = begin(t, s, tt.name, tt.offset)
				rep, err = put(t, up, 3)
				need(t, err)
				need(t, up.Commit(t.Context(), rep, always))
				holds(t, h.tree, tt.want, "xxxxxxx")
			})
		}
	}
}

// Whoever wants a name that nothing has replaces nothing, with the right to overwrite
// too, and does not hear that the name is taken.
func TestInABlindPlaceANameThatMustBeNewIsOneOfItsOwn(t *testing.T) {
	for _, r := range []account.Rights{account.UploadOnly, account.UploadOnly | account.Overwrite} {
		h := dropBox(t)
		need(t, store(t, h.login(account.Account{Name: "anna", Rights: r}), "/drop/file", vfs.Create{How: vfs.New}, 7))
		holds(t, h.tree, "/drop/file", "12345")
		holds(t, h.tree, "/drop/file.1", "xxxxxxx")
	}
}

// A name that is as long as it may be gets a shorter one.
func TestInABlindPlaceLongNamesGetANameOfTheirOwn(t *testing.T) {
	for _, base := range []string{strings.Repeat("x", vfs.MaxName), strings.Repeat("é", vfs.MaxName/2), strings.Repeat("x", vfs.MaxName-1)} {
		h := newHouse(t)
		need(t, h.tree.WriteFile("/"+base, []byte("12345")))
		s := h.login(account.Account{Name: "anna", Rights: account.UploadOnly})
		for i := range 12 {
			is(t, fmt.Sprintf("upload %d", i), store(t, s, "/"+base, vfs.Create{}, 1), 0, "")
		}
		holds(t, h.tree, "/"+base, "12345")
		n := 0
		for fi, err := range h.tree.List(t.Context(), vfs.Root) {
			need(t, err)
			n++
			if len(fi.Name()) > vfs.MaxName {
				t.Errorf("a name of %d bytes", len(fi.Name()))
			}
		}
		if n != 13 {
			t.Errorf("%d files, want 13", n)
		}
	}
}

// Parallel uploads to one name all survive, whoever they come from.
func TestInABlindPlaceParallelUploadsToOneNameAllSurvive(t *testing.T) {
	const uploads = 20
	for range 20 {
		h := newHouse(t)
		need(t, h.tree.MkdirAll("/drop"))
		var sessions []*Session
		for _, a := range blindAccounts() {
			sessions = append(sessions, h.login(a))
		}
		var wg sync.WaitGroup
		p := at(t, "/drop/a")
		for i := range uploads {
			wg.Go(func() {
				up, err := sessions[i%len(sessions)].Create(t.Context(), p, vfs.Create{})
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := up.Dest().WriteAt(fmt.Appendf(nil, "upload %d", i), 0); err != nil {
					t.Error(err)
				}
				if err := up.Commit(t.Context(), transfer.Report{}, always); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		came := map[string]bool{}
		for fi, err := range h.tree.List(t.Context(), p.Dir()) {
			need(t, err)
			b, err := h.tree.ReadFile("/drop/" + fi.Name())
			need(t, err)
			came[string(b)] = true
		}
		if len(came) != uploads {
			t.Errorf("%d of %d uploads are there: %v", len(came), uploads, came)
		}
	}
}

// What was cut could never be gone on with there, so nothing of it is kept.
func TestInABlindPlaceNothingOfACutUploadIsKept(t *testing.T) {
	for who, a := range blindAccounts() {
		for _, name := range []string{"/drop/new", "/drop/file"} {
			t.Run(who+", "+name, func(t *testing.T) {
				h := dropBox(t)
				s := h.login(a)
				before := snapshot(t, h.tree)
				up := begin(t, s, name, 0)
				rep, err := put(t, up, 100_000)
				need(t, err)
				err = up.Cut(t.Context(), rep, errGone)
				is(t, "Cut", err, fault.Cut, fault.IDUploadCut)
				if facts := fmt.Sprint(fault.Of(err).Facts); facts != "[nothing kept]" {
					t.Errorf("facts %s", facts)
				}
				if after := snapshot(t, h.tree); after != before {
					t.Errorf("the tree has changed from\n%s\nto\n%s", before, after)
				}
				is(t, "Partial", second(s.Partial(t.Context(), at(t, name))), fault.NotFound, fault.IDNotFound)
				// The next one is whole, under that name.
				need(t, store(t, s, "/drop/new", vfs.Create{}, 3))
				holds(t, h.tree, "/drop/new", "xxx")
			})
		}
	}
}

// A partial from a time of other rights tells nothing either.
func TestInABlindPlaceAnOldPartialIsNotTold(t *testing.T) {
	h := newHouse(t)
	need(t, h.tree.MkdirAll("/drop"))
	cut(t, h.anna(), "/drop/a", vfs.Create{}, 10_000)
	s := h.login(account.Account{Name: "anna", Rights: account.Full, Paths: places("/drop", account.UploadOnly)})
	is(t, "Partial", second(s.Partial(t.Context(), at(t, "/drop/a"))), fault.NotFound, fault.IDNotFound)
	is(t, "Stat", second(s.Stat(t.Context(), at(t, "/drop/a"))), fault.Denied, fault.IDPerm)
	how, err := s.Continue(t.Context(), at(t, "/drop/a"), -1)
	if err != nil || how.How != vfs.Replace || how.Offset != 0 {
		t.Errorf("Continue = %+v, %v; want a new upload", how, err)
	}
}

// Two uploads of one new name, without the right to replace: one is the file, the
// other is refused, whichever way they come.
func TestWithoutOverwriteOneOfTwoUploadsWins(t *testing.T) {
	a := account.Account{Name: "anna", Rights: account.Full &^ account.Overwrite}
	one, two := strings.Repeat("1", 10_000), strings.Repeat("2", 10_000)
	write := func(t *testing.T, u *Upload, b string) {
		_, err := u.Dest().WriteAt([]byte(b[u.Dest().Offset():]), u.Dest().Offset())
		need(t, err)
	}
	t.Run("the second begins while the first runs", func(t *testing.T) {
		h := newHouse(t)
		first, err := h.login(a).Create(t.Context(), at(t, "/a"), vfs.Create{})
		need(t, err)
		write(t, first, one)
		is(t, "the second", second(h.login(a).Create(t.Context(), at(t, "/a"), vfs.Create{})), fault.Exists, fault.IDExists)
		need(t, first.Commit(t.Context(), transfer.Report{}, always))
		holds(t, h.tree, "/a", one)
	})
	t.Run("somebody else's file comes meanwhile", func(t *testing.T) {
		h := newHouse(t)
		up, err := h.login(a).Create(t.Context(), at(t, "/a"), vfs.Create{})
		need(t, err)
		write(t, up, one)
		need(t, h.tree.WriteFile("/a", []byte(two)))
		is(t, "Commit", up.Commit(t.Context(), transfer.Report{}, always), fault.Exists, fault.IDExists)
		holds(t, h.tree, "/a", two)
	})
	t.Run("the first goes on with a partial", func(t *testing.T) {
		h := newHouse(t)
		s := h.login(a)
		cut(t, s, "/a", vfs.Create{}, 8192)
		first, err := s.Create(t.Context(), at(t, "/a"), vfs.Create{How: vfs.Resume, Offset: partial(t, s, "/a")})
		need(t, err)
		write(t, first, one)
		other, err := h.login(a).Create(t.Context(), at(t, "/a"), vfs.Create{})
		need(t, err)
		write(t, other, two)
		need(t, other.Commit(t.Context(), transfer.Report{}, always))
		is(t, "Commit of the first", first.Commit(t.Context(), transfer.Report{}, always), fault.Exists, fault.IDExists)
		holds(t, h.tree, "/a", two)
	})
	t.Run("a copy", func(t *testing.T) {
		h := newHouse(t)
		need(t, h.tree.WriteFile("/from", []byte(one)))
		s := h.login(a)
		up, err := s.Create(t.Context(), at(t, "/a"), vfs.Create{})
		need(t, err)
		write(t, up, two)
		is(t, "Copy", second(s.Copy(t.Context(), at(t, "/from"), at(t, "/a"))), fault.Exists, fault.IDExists)
		need(t, up.Commit(t.Context(), transfer.Report{}, always))
		holds(t, h.tree, "/a", two)
	})
	t.Run("many at once", func(t *testing.T) {
		for range 50 {
			h := newHouse(t)
			sessions := []*Session{h.login(a), h.login(a), h.login(a), h.login(a)}
			won := make([]bool, len(sessions))
			var wg sync.WaitGroup
			for i, s := range sessions {
				wg.Go(func() {
					up, err := s.Create(t.Context(), at(t, "/a"), vfs.Create{})
					if err == nil {
						if _, err := up.Dest().WriteAt(bytes.Repeat([]byte{byte('0' + i)}, 100), 0); err != nil {
							t.Error(err)
						}
						err = up.Commit(t.Context(), transfer.Report{}, always)
					}
					won[i] = err == nil
					if err != nil && fault.KindOf(err) != fault.Exists && fault.KindOf(err) != fault.Denied {
						t.Errorf("refused by %v", err)
					}
				})
			}
			wg.Wait()
			winner := -1
			for i, w := range won {
				switch {
				case w && winner >= 0:
					t.Fatalf("%d and %d have won", winner, i)
				case w:
					winner = i
				}
			}
			if winner < 0 {
				t.Fatal("nobody has won")
			}
			holds(t, h.tree, "/a", strings.Repeat(string(rune('0'+winner)), 100))
		}
	})
}
