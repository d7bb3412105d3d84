package gate

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"dray/account"
	"dray/fault"
	"dray/vfs"
	"dray/vfs/memfs"
	"dray/vfs/mount"
	"dray/vfs/osfs"
)

func places(pairs ...any) (all []account.PathRights) {
	for i := 0; i < len(pairs); i += 2 {
		all = append(all, account.PathRights{Path: pairs[i].(string), Rights: pairs[i+1].(account.Rights)})
	}
	return all
}

func TestTheLongestPlaceDecides(t *testing.T) {
	s := newHouse(t).login(account.Account{Name: "anna", Rights: account.Full, Paths: places(
		"/a", account.ReadOnly, "/a/b/c", account.Rights(0), "/a/b", account.UploadOnly, "/slash/", account.List,
	)})
	for path, want := range map[string]account.Rights{
		"/": account.Full, "/x": account.Full, "/a": account.ReadOnly, "/a/x": account.ReadOnly, "/ab": account.Full,
		"/a/b": account.UploadOnly, "/a/bc": account.ReadOnly, "/a/b/x/y": account.UploadOnly, "/a/b/c": 0,
		"/a/b/c/d": 0, "/a/b/cd": account.UploadOnly, "/A": account.Full, "/slash": account.List, "/slash/x": account.List,
		"/x/a/b": account.Full,
	} {
		if got := s.rights(at(t, path)); got != want {
			t.Errorf("rights of %s = %v, want %v", path, got, want)
		}
		if p := at(t, path); !p.IsRoot() {
			if got := s.RightsIn(p.Dir(), p.Base()); got != want {
				t.Errorf("RightsIn(%s, %q) = %v, want %v", p.Dir(), p.Base(), got, want)
			}
		}
	}
	for _, name := range []string{".", "..", ""} {
		if got := s.RightsIn(at(t, "/a"), name); got != account.ReadOnly {
			t.Errorf("RightsIn(/a, %q) = %v", name, got)
		}
	}
}

// Where an act happens decides, and not what the account may do elsewhere: the
// matrix again, with the right missing in that place alone, or there alone.
func TestRightsAreThoseOfThePlace(t *testing.T) {
	names := []string{"/file", "/link", "/dir", "/empty", "/new", "/made", "/moved", "/copied"}
	everywhere := func(r account.Rights) (all []account.PathRights) {
		for _, name := range names {
			all = append(all, account.PathRights{Path: name, Rights: r})
		}
		return all
	}
	try := func(t *testing.T, a act, acc account.Account, want bool) {
		h := furnish(t)
		acc.Name = "anna"
		s := h.login(acc)
		before := snapshot(t, h.tree)
		err := a.run(t, s)
		if want {
			is(t, a.method, err, 0, "")
			return
		}
		is(t, a.method, err, fault.Denied, fault.IDPerm)
		if after := snapshot(t, h.tree); after != before {
			t.Errorf("the tree has changed from\n%s\nto\n%s", before, after)
		}
		if es := h.events.take(); len(es) != 0 {
			t.Errorf("something was done: %+v", es)
		}
	}
	for _, a := range acts() {
		for _, one := range singleRights {
			less := account.All &^ one.r
			may := !a.needs.Has(one.r)
			t.Run(a.name+" without "+one.name+" there", func(t *testing.T) {
				try(t, a, account.Account{Rights: account.All, Paths: places("/", less, "/elsewhere", account.All)}, may)
			})
			t.Run(a.name+" without "+one.name+" elsewhere", func(t *testing.T) {
				try(t, a, account.Account{Rights: less, Paths: places("/", account.All, "/elsewhere", less)}, true)
			})
			if slices.Contains([]string{"List", "Listable", "Room", "Available", "Space"}, a.method) {
				continue // they ask about "/"
			}
			t.Run(a.name+" without "+one.name+" at those names", func(t *testing.T) {
				try(t, a, account.Account{Rights: account.All, Paths: everywhere(less)}, may && !strings.HasSuffix(a.method, "Rename"))
			})
			if !strings.HasSuffix(a.method, "Rename") { // a place is not renamed itself
				t.Run(a.name+" with "+one.name+" at those names alone", func(t *testing.T) {
					try(t, a, account.Account{Rights: less, Paths: everywhere(account.All)}, true)
				})
			}
		}
	}
}

// furnished is a tree with an open place and a closed one, in which others have
// planted links from one to the other.
func furnished(t *testing.T) *house {
	h := newHouse(t)
	for _, name := range []string{"/open/file", "/closed/file", "/closed/dir/file", "/closed/dir/deep/file"} {
		need(t, h.tree.WriteFile(name, []byte(strings.Repeat("1234567890", 10))))
	}
	for name, target := range map[string]string{
		"/open/tofile":     "../closed/file",
		"/open/absolute":   "/closed/file",
		"/open/todir":      "../closed/dir",
		"/open/up":         "..",
		"/open/top":        "/",
		"/open/here":       ".",
		"/open/first":      "second",
		"/open/second":     "third",
		"/open/third":      "../closed/file",
		"/open/dirfirst":   "dirsecond",
		"/open/dirsecond":  "todir",
		"/open/dots":       "todir/../file",      // by the letters /open/file
		"/open/deepdots":   "todir/deep/../file", // by the letters /open/todir/file
		"/open/dirdots":    "todir/..",           // by the letters /open
		"/open/slashes":    ".././/closed///file",
		"/open/new":        "../closed/none",
		"/closed/out":      "../open/file",
		"/closed/outdir":   "../open",
		"/open/around":     "../closed/outdir/file", // /open/file, by way of the closed place
		"/open/beyond":     "../../../closed/file",
		"/open/loop":       "loop",
		"/open/loop1":      "loop2",
		"/open/loop2":      "loop1",
		"/open/fine":       "file",
		"/open/broken":     "none",
		"/open/brokendots": "none/../../closed/file",
	} {
		need(t, h.tree.Link(name, target))
	}
	return h
}

// Whatever a link is called and however it leads there: it gives no right of the
// place behind it.
func TestALinkGivesNoRightOfAnotherPlace(t *testing.T) {
	closed := []string{
		"/closed/file", "/open/tofile", "/open/absolute", "/open/todir/file", "/open/up/closed/file", "/open/top/closed/file",
		"/open/here/here/tofile", "/open/first", "/open/second", "/open/dirfirst/file", "/open/dirsecond/deep/file",
		"/open/dots", "/open/deepdots", "/open/dirdots/file", "/open/slashes", "/open/beyond", "/open/up/open/up/open/tofile",
		"/closed/out", "/open/todir/../../closed/file",
	}
	for _, name := range closed {
		t.Run(name, func(t *testing.T) {
			h := furnished(t)
			s := h.login(account.Account{Name: "anna", Rights: account.All, Paths: places("/closed", account.Rights(0))})
			before := snapshot(t, h.tree)
			p := at(t, name)
			for doing, err := range map[string]error{
				"Stat":     second(s.Stat(t.Context(), p)),
				"Finished": second(s.Finished(t.Context(), p)),
				"Open":     second(s.Open(t.Context(), p)),
				"replace":  second(s.Create(t.Context(), p, vfs.Create{})),
				"append":   second(s.Create(t.Context(), p, vfs.Create{How: vfs.InPlace, Offset: -1})),
				"cut":      second(s.Create(t.Context(), p, vfs.Create{Offset: 3})),
				"SetTime":  s.SetTime(t.Context(), p, time.Unix(1, 0)),
				"Chmod":    s.Chmod(t.Context(), p, 0),
				"Copyable": s.Copyable(t.Context(), p),
				"Copy":     second(s.Copy(t.Context(), p, at(t, "/open/copy"))),
				"copy to":  second(s.Copy(t.Context(), at(t, "/open/file"), p)),
				"Combine":  second(s.Combine(t.Context(), at(t, "/open/all"), []vfs.Path{p})),
				"to":       second(s.Combine(t.Context(), p, []vfs.Path{at(t, "/open/file")})),
			} {
				is(t, doing, err, fault.Denied, fault.IDPerm)
			}
			if r := s.RightsIn(p.Dir(), p.Base()); r != 0 {
				t.Errorf("RightsIn = %v, want none", r)
			}
			if after := snapshot(t, h.tree); after != before {
				t.Errorf("the tree has changed from\n%s\nto\n%s", before, after)
			}
		})
	}
	for _, name := range []string{
		"/open/file", "/open/fine", "/open/here/file", "/open/up/open/file", "/open/here/up/open/fine", "/open/around",
	} {
		h := furnished(t)
		s := h.login(account.Account{Name: "anna", Rights: account.All, Paths: places("/closed", account.Rights(0))})
		f, err := s.Open(t.Context(), at(t, name))
		is(t, "Open "+name, err, 0, "")
		if err == nil {
			need(t, f.Close())
		}
		is(t, "append to "+name, store(t, s, name, vfs.Create{How: vfs.InPlace, Offset: -1}, 5), 0, "")
	}
}

// Directories behind links: what is listed, made, removed and renamed in them.
func TestALinkedDirectoryGivesNoRight(t *testing.T) {
	for _, dir := range []string{
		"/open/todir", "/open/dirfirst", "/open/up/closed", "/open/top/closed/dir", "/open/dirdots", "/open/todir/deep",
	} {
		t.Run(dir, func(t *testing.T) {
			h := furnished(t)
			s := h.login(account.Account{Name: "anna", Rights: account.All, Paths: places("/closed", account.Rights(0))})
			before := snapshot(t, h.tree)
			d := at(t, dir)
			in := func(name string) vfs.Path { p, _ := d.Join(name); return p }
			listed := func() (err error) {
				for _, e := range s.List(t.Context(), d) {
					err = e
				}
				return err
			}
			for doing, err := range map[string]error{
				"Stat":      second(s.Stat(t.Context(), d)),
				"Listable":  s.Listable(t.Context(), d),
				"List":      listed(),
				"Available": second(s.Available(t.Context(), d)),
				"upload":    second(s.Create(t.Context(), in("new"), vfs.Create{})),
				"Mkdir":     s.Mkdir(t.Context(), in("new")),
				"MkdirMode": s.MkdirMode(t.Context(), in("new"), 0o700),
				"Symlink":   s.Symlink(t.Context(), "x", in("new")),
				"Remove":    s.Remove(t.Context(), in("file")),
				"RemoveDir": s.RemoveDir(t.Context(), in("deep")),
				"Renamable": s.Renamable(t.Context(), in("file")),
				"Rename":    s.Rename(t.Context(), in("file"), at(t, "/open/stolen"), vfs.Overwrite),
				"rename to": s.Rename(t.Context(), at(t, "/open/file"), in("file"), vfs.Overwrite),
				"Lstat":     second(s.Lstat(t.Context(), in("file"))),
				"Copy":      second(s.Copy(t.Context(), at(t, "/open/file"), in("new"))),
				"copy all":  second(s.Copy(t.Context(), d, at(t, "/open/copied"))),
			} {
				is(t, doing, err, fault.Denied, fault.IDPerm)
			}
			if got := s.Link(t.Context(), in("out")); got != "" {
				t.Errorf("Link tells %q", got)
			}
			if after := snapshot(t, h.tree); after != before {
				t.Errorf("the tree has changed from\n%s\nto\n%s", before, after)
			}
		})
	}
}

// The link itself belongs to the place where it stands.
func TestALinkItselfBelongsToItsPlace(t *testing.T) {
	h := furnished(t)
	s := h.login(account.Account{Name: "anna", Rights: account.All, Paths: places("/closed", account.Rights(0))})
	is(t, "rename a link", s.Rename(t.Context(), at(t, "/open/tofile"), at(t, "/open/moved"), vfs.Overwrite), 0, "")
	is(t, "rename a link to what holds another place", s.Rename(t.Context(), at(t, "/open/top"), at(t, "/open/moved2"), vfs.Overwrite), 0, "")
	is(t, "delete a link", s.Remove(t.Context(), at(t, "/open/todir")), 0, "")
	is(t, "delete a loop", s.Remove(t.Context(), at(t, "/open/loop")), 0, "")
	is(t, "delete a link in the closed place", s.Remove(t.Context(), at(t, "/closed/out")), fault.Denied, fault.IDPerm)
	is(t, "read the moved one", second(s.Open(t.Context(), at(t, "/open/moved"))), fault.Denied, fault.IDPerm)
	holds(t, h.tree, "/closed/dir/file", strings.Repeat("1234567890", 10))
}

// What leads nowhere, or round in a circle, opens nothing, and is no error of
// ours.
func TestLinksThatLeadNowhere(t *testing.T) {
	h := furnished(t)
	need(t, h.tree.Link("/open/0", "file"))
	for i := range 50 {
		need(t, h.tree.Link(fmt.Sprintf("/open/%d", i+1), fmt.Sprint(i)))
	}
	need(t, h.tree.Link("/open/long", strings.Repeat("here/", 30)+"file"))
	need(t, h.tree.Link("/open/hidden", vfs.Hidden+"x"))
	need(t, h.tree.Link("/open/toolong", strings.Repeat("x", 300)))
	s := h.login(account.Account{Name: "anna", Rights: account.All, Paths: places("/closed", account.Rights(0))})
	for name, want := range map[string]fault.Kind{
		"/open/loop": fault.Denied, "/open/loop1": fault.Denied, "/open/loop/x": fault.Denied, "/open/broken": fault.NotFound,
		"/open/brokendots": fault.Denied, "/open/50": fault.Denied, "/open/hidden": fault.Denied, "/open/toolong": fault.Denied,
		"/open/39": 0, "/open/long": 0,
	} {
		f, err := s.Open(t.Context(), at(t, name))
		if want == 0 {
			is(t, "Open "+name, err, 0, "")
			need(t, f.Close())
		} else if fault.KindOf(err) != want {
			t.Errorf("Open %s = %v (kind %d), want kind %d", name, err, fault.KindOf(err), want)
		}
	}
	is(t, "an upload through a link to a closed place", second(s.Create(t.Context(), at(t, "/open/new"), vfs.Create{})), fault.Denied, fault.IDPerm)
	is(t, "an upload through a link to nothing", store(t, s, "/open/broken", vfs.Create{}, 5), 0, "")
	holds(t, h.tree, "/open/none", "xxxxx")
}

// An account that makes links of its own gets nowhere by them either.
func TestLinksOfItsOwnGiveNoRight(t *testing.T) {
	h := furnished(t)
	s := h.login(account.Account{Name: "anna", Rights: account.All, Paths: places("/closed", account.Rights(0))})
	for name, target := range map[string]string{
		"/open/a": "../closed/file", "/open/b": "/closed/dir", "/open/c": "../closed/dir/deep", "/open/d": "c/../file",
	} {
		need(t, s.Symlink(t.Context(), target, at(t, name)))
	}
	for _, name := range []string{"/open/a", "/open/b/file", "/open/c/file", "/open/d"} {
		is(t, "Open "+name, second(s.Open(t.Context(), at(t, name))), fault.Denied, fault.IDPerm)
	}
	is(t, "a link in the closed place", s.Symlink(t.Context(), "x", at(t, "/closed/a")), fault.Denied, fault.IDPerm)
	is(t, "a link there by way of a link", s.Symlink(t.Context(), "x", at(t, "/open/b/a")), fault.Denied, fault.IDPerm)
}

// Places of more rights, reached from one of fewer.
func TestALinkFromAPlaceOfFewerRights(t *testing.T) {
	h := furnished(t)
	s := h.login(account.Account{Name: "anna", Rights: account.ReadOnly, Paths: places("/closed", account.All)})
	is(t, "write by the link", store(t, s, "/open/tofile", vfs.Create{}, 5), fault.Denied, fault.IDPerm)
	is(t, "upload by the link", store(t, s, "/open/todir/new", vfs.Create{}, 5), fault.Denied, fault.IDPerm)
	is(t, "write by name", store(t, s, "/closed/file", vfs.Create{}, 5), 0, "")
	f, err := s.Open(t.Context(), at(t, "/open/tofile"))
	is(t, "read by the link", err, 0, "")
	need(t, f.Close())
}

// A rename gives no right that the old place does not have, and takes those of
// both.
func TestARenameBetweenPlaces(t *testing.T) {
	type m = account.Rights
	full, all := account.Full, account.All
	tests := []struct {
		name     string
		from, to m
		file     bool // a file may be moved
		dir      bool
	}{
		{"the same rights", full, full, true, true},
		{"to where there is no Rename", full, full &^ account.Rename, false, false},
		{"from where there is no Rename", full &^ account.Rename, full, false, false},
		{"to where new names may not be", full, full &^ account.Write, false, false},
		{"from where new names may not be", full &^ account.Write, full, true, true},
		{"neither may have new names: within a place", full &^ account.Write, full &^ account.Write, true, true},
		{"to where there is no Read", full, full &^ account.Read, true, true},
		{"from where there is no Read", full &^ account.Read, full, false, false},
		{"to where there is no List", full, full &^ account.List, true, true},
		{"from where there is no List", full &^ account.List, full, false, false},
		{"to where nothing is deleted", full, full &^ account.Delete, true, true},
		{"from where nothing is deleted", full &^ account.Delete, full, false, false},
		{"to where nothing is overwritten", full, full &^ account.Overwrite, true, true},
		{"from where nothing is overwritten", full &^ account.Overwrite, full, false, false},
		{"to where attributes stay", full, full &^ account.Attributes, true, true},
		{"from where attributes stay", full &^ account.Attributes, full, false, false},
		{"to where links may be made", full, all, true, true},
		{"out of a place for uploads", account.UploadOnly | account.Rename, full, false, false},
		{"into a place for uploads", full, account.UploadOnly | account.Rename, true, true},
	}
	for _, tt := range tests {
		for _, way := range []string{"by name", "by a link"} {
			for _, what := range []string{"file", "dir"} {
				t.Run(tt.name+", a "+what+" "+way, func(t *testing.T) {
					h := newHouse(t)
					need(t, h.tree.WriteFile("/from/file", []byte("123")))
					need(t, h.tree.WriteFile("/from/dir/file", []byte("123")))
					need(t, h.tree.MkdirAll("/to"))
					need(t, h.tree.Link("/fromlink", "from"))
					need(t, h.tree.Link("/tolink", "to"))
					s := h.login(account.Account{Name: "anna", Rights: all, Paths: places("/from", tt.from, "/to", tt.to)})
					before := snapshot(t, h.tree)
					from, to := "/from/", "/to/"
					if way == "by a link" {
						from, to = "/fromlink/", "/tolink/"
					}
					err := s.Rename(t.Context(), at(t, from+what), at(t, to+what), vfs.Overwrite)
					if want := tt.file && what == "file" || tt.dir && what == "dir"; want {
						is(t, "Rename", err, 0, "")
						return
					}
					is(t, "Rename", err, fault.Denied, fault.IDPerm)
					if after := snapshot(t, h.tree); after != before {
						t.Errorf("the tree has changed from\n%s\nto\n%s", before, after)
					}
				})
			}
		}
	}
}

// A partial is moved by the same rules.
func TestAPartialIsNotMovedToWhereItHasMoreRights(t *testing.T) {
	h := newHouse(t)
	need(t, h.tree.MkdirAll("/from"))
	need(t, h.tree.MkdirAll("/to"))
	s := h.login(account.Account{Name: "anna", Rights: account.Full, Paths: places("/from", account.Full&^account.Delete)})
	cut(t, s, "/from/a", vfs.Create{}, 10_000)
	is(t, "Rename", s.Rename(t.Context(), at(t, "/from/a"), at(t, "/to/a"), vfs.Overwrite), fault.Denied, fault.IDPerm)
	if partial(t, s, "/from/a") < 0 || partial(t, s, "/to/a") >= 0 {
		t.Error("it was moved")
	}
}

// Other rights hold in a directory by its name. Moved elsewhere, or another one in
// its place, they would hold no more, or for what they were not meant for.
func TestADirectoryInWhichOtherRightsHoldIsNotMoved(t *testing.T) {
	for _, tt := range []struct {
		name, from, to string
		id             fault.ID
	}{
		{"the place itself", "/a/b/place", "/x", fault.IDPerm},
		{"the directory with it", "/a/b", "/x", fault.IDPerm},
		{"the one above", "/a", "/x", fault.IDPerm},
		{"by a link above it", "/link/b", "/x", fault.IDPerm},
		{"another one beside", "/a/other", "/x", ""},
		{"one whose name only begins so", "/a/b/placebo", "/x", ""},
		{"another one in its place", "/a/other", "/a/missing", fault.IDPerm},
		{"another one in the place of the directory above", "/a/other", "/gone", fault.IDPerm},
		{"by a link", "/a/other", "/link/missing", fault.IDPerm},
		{"the link", "/link", "/x", ""},
		{"within the place", "/a/b/place/file", "/a/b/place/moved", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHouse(t)
			need(t, h.tree.WriteFile("/a/b/place/file", nil))
			need(t, h.tree.MkdirAll("/a/b/placebo"))
			need(t, h.tree.MkdirAll("/a/other/place"))
			need(t, h.tree.Link("/link", "a"))
			s := h.login(account.Account{Name: "anna", Rights: account.Full, Paths: places(
				"/", account.Full, "/a/b/place/", account.Full&^account.Delete, "/a/missing", account.ReadOnly, "/gone/place", account.Rights(0),
			)})
			before := snapshot(t, h.tree)
			err := s.Rename(t.Context(), at(t, tt.from), at(t, tt.to), vfs.Overwrite)
			is(t, "Rename", err, fault.Denied, tt.id)
			if after := snapshot(t, h.tree); tt.id != "" && after != before {
				t.Errorf("the tree has changed from\n%s\nto\n%s", before, after)
			}
		})
	}
}

// A late comer is a tree in which a name is taken in the moment between the look
// at it and the rename.
type lateComer struct {
	*memfs.Tree
	t *testing.T
}

func (l lateComer) Rename(ctx context.Context, from, to vfs.Path, how vfs.Rename) error {
	need(l.t, l.WriteFile(to.String(), []byte("theirs")))
	return l.Tree.Rename(ctx, from, to, how)
}

func TestARenameReplacesNothingWithoutTheRight(t *testing.T) {
	for _, tt := range []struct {
		name string
		r    account.Rights
		id   fault.ID
		want string
	}{
		{"without Overwrite", account.Full &^ account.Overwrite, fault.IDExists, "theirs"},
		{"with it", account.Full, "", "mine"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHouse(t)
			need(t, h.tree.WriteFile("/a", []byte("mine")))
			h.gate.Trees = func(context.Context, account.Account) (vfs.FS, error) { return lateComer{h.tree, t}, nil }
			s := h.login(account.Account{Name: "anna", Rights: tt.r})
			is(t, "Rename", s.Rename(t.Context(), at(t, "/a"), at(t, "/b"), vfs.Overwrite), fault.Exists, tt.id)
			holds(t, h.tree, "/b", tt.want)
		})
	}
}

// Who does not ask to replace is not refused for the right to it.
func TestARenameToANameThatIsTaken(t *testing.T) {
	for _, r := range []account.Rights{account.Full, account.Full &^ account.Overwrite} {
		h := furnish(t)
		s := h.login(account.Account{Name: "anna", Rights: r})
		is(t, r.String(), s.Rename(t.Context(), at(t, "/file"), at(t, "/dir/other"), vfs.NoReplace), fault.Exists, fault.IDExists)
		holds(t, h.tree, "/dir/other", "123")
	}
}

// A copy of a directory takes the rights at each path, and never brings out what
// can't be seen.
func TestACopyOfADirectoryInWhichOtherRightsHold(t *testing.T) {
	for _, tt := range []struct {
		name  string
		place account.PathRights
		id    fault.ID
	}{
		{"nothing may be seen", account.PathRights{Path: "/from/in", Rights: 0}, fault.IDPerm},
		{"its names only", account.PathRights{Path: "/from/in", Rights: account.List}, fault.IDPerm},
		{"one file may not be read", account.PathRights{Path: "/from/in/file", Rights: account.List}, fault.IDPerm},
		{"it is for uploads", account.PathRights{Path: "/from/in", Rights: account.UploadOnly}, ""},
		{"nothing may be put where it goes", account.PathRights{Path: "/to/in", Rights: account.ReadOnly}, fault.IDPerm},
		{"directories only, where it goes", account.PathRights{Path: "/to/in", Rights: account.MakeDir}, fault.IDPerm},
		{"all", account.PathRights{Path: "/from/in", Rights: account.All}, "all"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHouse(t)
			need(t, h.tree.WriteFile("/from/in/file", []byte("hush")))
			s := h.login(account.Account{Name: "anna", Rights: account.Full, Paths: []account.PathRights{tt.place}})
			_, err := s.Copy(t.Context(), at(t, "/from"), at(t, "/to"))
			if tt.id == "all" {
				need(t, err)
				holds(t, h.tree, "/to/in/file", "hush")
				return
			}
			is(t, "Copy", err, fault.Denied, tt.id)
			holds(t, h.tree, "/to/in/file", "")
		})
	}
}

// Mounted directories have the rights of the paths under which they show, also
// for real ones with links in them.
func TestMountedDirectoriesHaveTheRightsOfTheirPlaces(t *testing.T) {
	ctx := t.Context()
	home, projects, archive := t.TempDir(), t.TempDir(), t.TempDir()
	for dir, links := range map[string]map[string]string{
		home:     {"toprojects": "projects/file", "todir": "projects"},
		projects: {"tosub": "sub/file", "out": "../home", "abs": "/etc/passwd", "subdir": "sub/deep", "dots": "subdir/../file"},
		archive:  {"self": "file"},
	} {
		need(t, os.MkdirAll(filepath.Join(dir, "sub", "deep"), 0o700))
		need(t, os.WriteFile(filepath.Join(dir, "file"), []byte("12345"), 0o600))
		need(t, os.WriteFile(filepath.Join(dir, "sub", "file"), []byte("12345"), 0o600))
		for name, target := range links {
			need(t, os.Symlink(target, filepath.Join(dir, name)))
		}
	}
	disk := osfs.NewDisk(osfs.SyncNone, nil)
	opened := func(dir string) vfs.FS {
		tree, err := disk.Open(dir)
		need(t, err)
		return tree
	}
	tree, err := mount.New(opened(home), []mount.Mount{{At: at(t, "/projects"), FS: opened(projects)}, {At: at(t, "/old/archive"), FS: opened(archive)}})
	need(t, err)
	h := newHouse(t)
	h.gate.Trees = func(context.Context, account.Account) (vfs.FS, error) { return tree, nil }
	s := h.login(account.Account{Name: "anna", Rights: account.Full, Paths: places(
		"/projects", account.ReadOnly, "/projects/sub", account.Rights(0), "/old", account.Rights(0), "/old/archive", account.UploadOnly,
	)})
	read := func(name string) error {
		f, err := s.Open(ctx, at(t, name))
		if err == nil {
			err = f.Close()
		}
		return err
	}
	for _, tt := range []struct {
		name string
		err  error
		ok   bool
	}{
		{"read in the home", read("/file"), true},
		{"write in the home", store(t, s, "/new", vfs.Create{}, 5), true},
		{"read in the mount", read("/projects/file"), true},
		{"write in the mount", store(t, s, "/projects/new", vfs.Create{}, 5), false},
		{"replace in the mount", store(t, s, "/projects/file", vfs.Create{}, 5), false},
		{"delete in the mount", s.Remove(ctx, at(t, "/projects/file")), false},
		{"date the mount", s.SetTime(ctx, at(t, "/projects"), time.Unix(1, 0)), false},
		{"read below it where nothing may be", read("/projects/sub/file"), false},
		{"by a link in it", read("/projects/tosub"), false},
		{"by a link whose dots come behind a link", read("/projects/dots"), false},
		{"by a link that leaves it", read("/projects/out/file"), false},
		{"by an absolute link", read("/projects/abs"), false},
		{"look at the way to a mount", second(s.Stat(ctx, at(t, "/old"))), false},
		{"list it", s.Listable(ctx, at(t, "/old")), false},
		{"look at a mount for uploads", s.Enter(ctx, at(t, "/old/archive")), true},
		{"upload to it", store(t, s, "/old/archive/new", vfs.Create{}, 5), true},
		{"read in it", read("/old/archive/file"), false},
		{"look at a file in it", second(s.Stat(ctx, at(t, "/old/archive/file"))), false},
		{"rename into a mount", s.Rename(ctx, at(t, "/file"), at(t, "/projects/moved"), vfs.Overwrite), false},
		{"rename out of it", s.Rename(ctx, at(t, "/projects/file"), at(t, "/moved"), vfs.Overwrite), false},
		{"copy out of it", second(s.Copy(ctx, at(t, "/projects/file"), at(t, "/copy"))), true},
		{"copy into it", second(s.Copy(ctx, at(t, "/file"), at(t, "/projects/copy"))), false},
		{"copy out of the one for uploads", second(s.Copy(ctx, at(t, "/old/archive/file"), at(t, "/copy"))), false},
	} {
		if ok := tt.err == nil; ok != tt.ok || !ok && fault.KindOf(tt.err) != fault.Denied {
			t.Errorf("%s: %v", tt.name, tt.err)
		}
	}
	for _, dir := range []string{projects, archive} {
		if b, err := os.ReadFile(filepath.Join(dir, "file")); err != nil || string(b) != "12345" {
			t.Errorf("a file was changed: %q, %v", b, err)
		}
	}
}

// A path that leads through a link names a place, and its rights hold there by
// whatever name it is asked for.
func TestRightsOfAPathHoldAtThePlaceItLeadsTo(t *testing.T) {
	h := newHouse(t)
	need(t, h.tree.WriteFile("/v1/private/f", []byte("secret")))
	need(t, h.tree.Link("/cur", "v1"))
	s := h.login(account.Account{Name: "anna", Rights: account.ReadOnly, Paths: []account.PathRights{{Path: "/cur/private"}}})
	for _, p := range []string{"/cur/private/f", "/v1/private/f"} {
		_, err := s.Open(t.Context(), at(t, p))
		if fault.KindOf(err) != fault.Denied {
			t.Errorf("Open(%s) = %v, want it denied", p, err)
		}
	}
}
