package gate

import (
	"bytes"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"dray/account"
	"dray/event"
	"dray/fault"
	"dray/vfs"
)

// An act is one thing that a session can be asked for, in the tree of furnish,
// and the rights that it takes.
type act struct {
	method string // of Session
	name   string
	needs  account.Rights
	run    func(t *testing.T, s *Session) error
}

func acts() []act {
	begin := func(p string, how vfs.Create) func(*testing.T, *Session) error {
		return func(t *testing.T, s *Session) error {
			up, err := s.Create(t.Context(), at(t, p), how)
			if err != nil {
				return err
			}
			rep, err := put(t, up, 1)
			need(t, err)
			return up.Commit(t.Context(), rep, always)
		}
	}
	return []act{
		{"Stat", "look at a file", 0, func(t *testing.T, s *Session) error {
			_, err := s.Stat(t.Context(), at(t, "/file"))
			return err
		}},
		{"Enter", "change to a directory", 0, func(t *testing.T, s *Session) error {
			return s.Enter(t.Context(), at(t, "/dir"))
		}},
		{"Lstat", "look at a link", 0, func(t *testing.T, s *Session) error {
			_, err := s.Lstat(t.Context(), at(t, "/link"))
			return err
		}},
		{"Finished", "look at a finished file", 0, func(t *testing.T, s *Session) error {
			_, err := s.Finished(t.Context(), at(t, "/file"))
			return err
		}},
		{"Room", "ask for room", 0, func(t *testing.T, s *Session) error {
			return s.Room(t.Context(), vfs.Root, 1)
		}},
		{"Link", "see where a link leads", 0, func(t *testing.T, s *Session) error {
			if got := s.Link(t.Context(), at(t, "/link")); got != "file" {
				t.Errorf("Link = %q, want file", got)
			}
			return nil
		}},
		{"Continue", "ask how to go on", 0, func(t *testing.T, s *Session) error {
			_, err := s.Continue(t.Context(), at(t, "/file"), 1)
			return err
		}},
		{"Listable", "list", account.List, func(t *testing.T, s *Session) error { return s.Listable(t.Context(), vfs.Root) }},
		{"List", "list", account.List, func(t *testing.T, s *Session) error {
			for _, err := range s.List(t.Context(), vfs.Root) {
				if err != nil {
					return err
				}
			}
			return nil
		}},
		{"Open", "download", account.Read, func(t *testing.T, s *Session) error {
			f, err := s.Open(t.Context(), at(t, "/file"))
			if err != nil {
				return err
			}
			return f.Close()
		}},
		{"Create", "upload a new file", account.Write, begin("/new", vfs.Create{})},
		{"Create", "upload under a name of its own", account.Write, begin("/new", vfs.Create{How: vfs.New})},
		{"Create", "replace a file", account.Overwrite, begin("/file", vfs.Create{})},
		{"Create", "replace the end of a file", account.Overwrite, begin("/file", vfs.Create{Offset: 2})},
		{"Create", "replace the file behind a link", account.Overwrite, begin("/link", vfs.Create{})},
		{"Create", "append to a file", account.Overwrite, begin("/file", vfs.Create{How: vfs.InPlace, Offset: -1})},
		{"Mkdir", "make a directory", account.MakeDir, func(t *testing.T, s *Session) error {
			return s.Mkdir(t.Context(), at(t, "/made"))
		}},
		{"Remove", "delete", account.Delete, func(t *testing.T, s *Session) error {
			return s.Remove(t.Context(), at(t, "/file"))
		}},
		{"RemoveDir", "remove a directory", account.Delete, func(t *testing.T, s *Session) error {
			return s.RemoveDir(t.Context(), at(t, "/empty"))
		}},
		{"MayRemoveAll", "ask whether a directory can go with all in it", account.List | account.Delete, func(t *testing.T, s *Session) error {
			return s.MayRemoveAll(t.Context(), at(t, "/dir"))
		}},
		{"Renamable", "ask what can be renamed", account.Rename, func(t *testing.T, s *Session) error {
			return s.Renamable(t.Context(), at(t, "/file"))
		}},
		{"MayRename", "ask before a rename", account.Rename, func(t *testing.T, s *Session) error {
			return s.MayRename(at(t, "/file"), at(t, "/moved"))
		}},
		{"Rename", "rename", account.Rename, func(t *testing.T, s *Session) error {
			return s.Rename(t.Context(), at(t, "/file"), at(t, "/moved"), vfs.Overwrite)
		}},
		{"Rename", "rename over a file", account.Rename | account.Overwrite, func(t *testing.T, s *Session) error {
			return s.Rename(t.Context(), at(t, "/file"), at(t, "/dir/other"), vfs.Overwrite)
		}},
		{"SetTime", "set a time", account.Attributes, func(t *testing.T, s *Session) error {
			return s.SetTime(t.Context(), at(t, "/file"), time.Unix(1, 0))
		}},
		{"Available", "ask how much room there is", account.List, func(t *testing.T, s *Session) error {
			_, err := s.Available(t.Context(), vfs.Root)
			return err
		}},
		{"Chmodable", "ask whether modes can be set", account.Attributes, func(t *testing.T, s *Session) error {
			return s.Chmodable(t.Context(), at(t, "/file"))
		}},
		{"MkdirMode", "make a directory with a mode", account.MakeDir | account.Attributes, func(t *testing.T, s *Session) error {
			return s.MkdirMode(t.Context(), at(t, "/made"), 0o700)
		}},
		{"Symlink", "make a link", account.Link, func(t *testing.T, s *Session) error {
			return s.Symlink(t.Context(), "file", at(t, "/made"))
		}},
		{"Chmod", "set a mode", account.Attributes, func(t *testing.T, s *Session) error {
			return s.Chmod(t.Context(), at(t, "/file"), 0o600)
		}},
		{"Hardlink", "give a file another name", account.Read | account.Link, func(t *testing.T, s *Session) error {
			return s.Hardlink(t.Context(), at(t, "/file"), at(t, "/made"))
		}},
		{"SetLinkTime", "set the time of a link", account.Attributes, func(t *testing.T, s *Session) error {
			return s.SetLinkTime(t.Context(), at(t, "/link"), time.Unix(1, 0))
		}},
		{"Space", "ask how large the file system is", account.List, func(t *testing.T, s *Session) error {
			_, _, _, err := s.Space(t.Context(), vfs.Root)
			return err
		}},
		{"Edit", "change a file where it is", account.Overwrite, func(t *testing.T, s *Session) error {
			e, err := s.Edit(t.Context(), at(t, "/file"))
			if err != nil {
				return err
			}
			return errors.Join(e.Write(t.Context(), []byte("x"), 0), e.Close(t.Context(), nil))
		}},
		{"Edit", "read what is changed", account.Overwrite | account.Read, func(t *testing.T, s *Session) error {
			e, err := s.Edit(t.Context(), at(t, "/file"))
			if err != nil {
				return err
			}
			_, err = e.ReadAt(make([]byte, 1), 0)
			return errors.Join(err, e.Close(t.Context(), nil))
		}},
		{"Edit", "set the time of what is changed", account.Overwrite | account.Attributes, func(t *testing.T, s *Session) error {
			e, err := s.Edit(t.Context(), at(t, "/file"))
			if err != nil {
				return err
			}
			return errors.Join(e.SetTime(time.Unix(1, 0)), e.Chmod(0o600), e.Close(t.Context(), nil))
		}},
		{"Make", "make a name at once", account.Write | account.List, func(t *testing.T, s *Session) error {
			e, err := s.Make(t.Context(), at(t, "/made"), 0)
			if err != nil {
				return err
			}
			return e.Close(t.Context(), nil)
		}},
		{"Copyable", "ask what can be copied", account.Read, func(t *testing.T, s *Session) error {
			return s.Copyable(t.Context(), at(t, "/file"))
		}},
		{"Copy", "copy a file", account.Read | account.Write, copyTo("/file", "/copied")},
		{"Copy", "copy over a file", account.Read | account.Overwrite, copyTo("/file", "/dir/other")},
		{"Copy", "copy a directory", account.Read | account.List | account.Write | account.MakeDir, copyTo("/empty", "/copied")},
		{"Combine", "make a file of parts", account.Read | account.Delete | account.Write, combine("/new", "/file", "/dir/other")},
		{"Combine", "put parts behind a file", account.Read | account.Delete | account.Overwrite, combine("/file", "/dir/other")},
	}
}

var singleRights = []struct {
	name string
	r    account.Rights
}{
	{"List", account.List}, {"Read", account.Read}, {"Write", account.Write}, {"Overwrite", account.Overwrite},
	{"Delete", account.Delete}, {"Rename", account.Rename}, {"MakeDir", account.MakeDir}, {"Attributes", account.Attributes},
	{"Link", account.Link},
}

func furnish(t *testing.T) *house {
	h := newHouse(t)
	need(t, h.tree.WriteFile("/file", []byte("12345")))
	need(t, h.tree.WriteFile("/dir/other", []byte("123")))
	need(t, h.tree.MkdirAll("/empty"))
	need(t, h.tree.Link("/link", "file"))
	return h
}

func TestEveryMethodOfASessionIsInTheMatrix(t *testing.T) {
	// These ask for nothing in the tree, or only for the account's own partial.
	others := []string{"Account", "Begin", "Blind", "Close", "Context", "Down", "End", "Log", "OpenPartial", "Partial", "Refused", "RightsIn", "Sends", "Transferred"}
	s := reflect.TypeFor[*Session]()
	for i := range s.NumMethod() {
		name := s.Method(i).Name
		if !slices.Contains(others, name) && !slices.ContainsFunc(acts(), func(a act) bool { return a.method == name }) {
			t.Errorf("Session.%s has no row: which rights does it take?", name)
		}
	}
}

// Whoever lacks one of the rights that an act takes is refused, and the tree is
// as it was. Whoever lacks another one is not.
func TestEachMissingRightRefusesWhatTakesIt(t *testing.T) {
	for _, a := range acts() {
		for _, missing := range singleRights {
			t.Run(a.name+" without "+missing.name, func(t *testing.T) {
				h := furnish(t)
				s := h.login(account.Account{Name: "anna", Rights: account.All &^ missing.r})
				before := snapshot(t, h.tree)
				err := a.run(t, s)
				if !a.needs.Has(missing.r) {
					is(t, a.method, err, 0, "")
					return
				}
				is(t, a.method, err, fault.Denied, fault.IDPerm)
				if facts := fault.Of(err).Facts; len(facts) != 1 || !strings.Contains(facts[0].(string), " /") {
					t.Errorf("facts %q; want what was refused, with its path", facts)
				}
				if after := snapshot(t, h.tree); after != before {
					t.Errorf("the tree has changed from\n%s\nto\n%s", before, after)
				}
				if es := h.events.take(); len(es) != 0 {
					t.Errorf("something was done: %+v", es)
				}
			})
		}
	}
}

func TestTheRightsOfAnActAreEnoughForIt(t *testing.T) {
	for _, a := range acts() {
		t.Run(a.name, func(t *testing.T) {
			rights := a.needs
			if rights == 0 { // to see anything takes one right at least
				rights = account.Read
			}
			s := furnish(t).login(account.Account{Name: "anna", Rights: rights})
			is(t, a.method, a.run(t, s), 0, "")
		})
	}
}

func TestAReaderIsToldThatTheAccountIsReadOnly(t *testing.T) {
	for _, a := range acts() {
		t.Run(a.name, func(t *testing.T) {
			h := furnish(t)
			s := h.login(account.Account{Name: "anna", Rights: account.ReadOnly})
			before := snapshot(t, h.tree)
			err := a.run(t, s)
			if account.ReadOnly.Has(a.needs) {
				is(t, a.method, err, 0, "")
				return
			}
			is(t, a.method, err, fault.Denied, fault.IDReadOnly)
			if after := snapshot(t, h.tree); after != before {
				t.Error("the tree has changed")
			}
		})
	}
}

// What changes the tree leaves one event, what only looks leaves none.
func TestEachChangeIsAnEvent(t *testing.T) {
	changes := map[string]event.Change{
		"make a directory":             {Verb: "mkdir", Path: "/made"},
		"make a directory with a mode": {Verb: "mkdir", Path: "/made"},
		"make a link":                  {Verb: "symlink", Path: "/made", To: "file"},
		"delete":                       {Verb: "delete", Path: "/file"},
		"remove a directory":           {Verb: "rmdir", Path: "/empty"},
		"rename":                       {Verb: "rename", Path: "/file", To: "/moved"},
		"rename over a file":           {Verb: "rename", Path: "/file", To: "/dir/other"},
		"set a time":                   {Verb: "set time", Path: "/file"},
		"set a mode":                   {Verb: "set mode", Path: "/file"},
		"give a file another name":     {Verb: "hardlink", Path: "/file", To: "/made"},
		"set the time of a link":       {Verb: "set time", Path: "/link"},
		"copy a file":                  {Verb: "copy", Path: "/file", To: "/copied"},
		"copy over a file":             {Verb: "copy", Path: "/file", To: "/dir/other"},
		"copy a directory":             {Verb: "copy", Path: "/empty", To: "/copied"},
	}
	for _, a := range acts() {
		t.Run(a.name, func(t *testing.T) {
			h := furnish(t)
			need(t, a.run(t, h.login(account.Account{Name: "anna", Rights: account.All})))
			es := h.events.take()
			want, ok := changes[a.name]
			switch {
			case ok:
				got := one[event.Change](t, es, "anna")
				if want.Meta = got.Meta; got != want {
					t.Errorf("event %+v, want %+v", got, want)
				}
			case a.method == "Create":
				if got := one[event.Transfer](t, es, "anna"); !got.Whole || got.Direction != event.Upload || got.Bytes != 1 {
					t.Errorf("event %+v, want an upload of 1 byte that is whole", got)
				}
			case a.name == "change a file where it is", a.name == "make a name at once":
				if got := one[event.Transfer](t, es, "anna"); !got.Whole || got.Direction != event.Upload {
					t.Errorf("event %+v, want an upload that is whole", got)
				}
			case a.method == "Combine": // and what it deletes behind that
				for i, e := range of[event.Change](es) {
					if want := []string{"combine", "delete", "delete"}[i]; e.Verb != want {
						t.Errorf("event %d is %+v, want %s", i, e, want)
					}
				}
			case len(es) != 0:
				t.Errorf("events %+v, want none", es)
			}
		})
	}
}

// A partial is an upload in the making: resuming it takes the right to upload.
func TestResumingTakesTheRightThatTheUploadTook(t *testing.T) {
	tests := []struct {
		name  string
		file  bool // a finished file has the name too
		right account.Rights
	}{
		{"a new name", false, account.Write},
		{"a name that was to be replaced", true, account.Overwrite},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := newHouse(t)
			if tt.file {
				need(t, h.tree.WriteFile("/a", []byte("old")))
			}
			cut(t, h.anna(), "/a", vfs.Create{}, 10_000)
			s := h.login(account.Account{Name: "anna", Rights: account.Full &^ tt.right})
			_, err := s.Create(t.Context(), at(t, "/a"), vfs.Create{How: vfs.Resume, Offset: 10})
			is(t, "resume", err, fault.Denied, fault.IDPerm)
			need(t, store(t, h.anna(), "/a", vfs.Create{How: vfs.Resume, Offset: 10}, 5))
			if got, err := h.tree.ReadFile("/a"); err != nil || !bytes.Equal(got, bytes.Repeat([]byte("x"), 15)) {
				t.Errorf("the file is %q, %v", got, err)
			}
		})
	}
}
