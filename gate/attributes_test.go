package gate

import (
	"context"
	"errors"
	"io/fs"
	"testing"

	"dray/account"
	"dray/fault"
	"dray/vfs"
	"dray/vfs/memfs"
)

// spaced tells of a room of its own, or of none; chmods fail with deny.
type spaced struct {
	*memfs.Tree
	free uint64
	err  error
	deny error
}

func (s spaced) Space(context.Context, vfs.Path) (free, total uint64, err error) {
	return s.free, s.free, s.err
}

func (s spaced) Chmod(ctx context.Context, p vfs.Path, mode fs.FileMode) error {
	if s.deny != nil {
		return s.deny
	}
	return s.Tree.Chmod(ctx, p, mode)
}

// bareTree has none of the optional contracts.
type bareTree struct{ vfs.FS }

func TestAvailableIsTheLesserOfRoomAndQuota(t *testing.T) {
	broken := errors.New("no such device")
	tests := []struct {
		name  string
		tree  func(*memfs.Tree) vfs.FS
		quota int64
		used  int64
		want  int64
		kind  fault.Kind
	}{
		{"no quota", func(m *memfs.Tree) vfs.FS { return spaced{Tree: m, free: 500} }, 0, 700, 500, 0},
		{"less room than quota", func(m *memfs.Tree) vfs.FS { return spaced{Tree: m, free: 500} }, 1000, 100, 500, 0},
		{"less quota than room", func(m *memfs.Tree) vfs.FS { return spaced{Tree: m, free: 500} }, 1000, 900, 100, 0},
		{"the quota is used up", func(m *memfs.Tree) vfs.FS { return spaced{Tree: m, free: 500} }, 1000, 1000, 0, 0},
		{"more is used than may be", func(m *memfs.Tree) vfs.FS { return spaced{Tree: m, free: 500} }, 1000, 1100, 0, 0},
		{"the disk is full", func(m *memfs.Tree) vfs.FS { return spaced{Tree: m} }, 1000, 0, 0, 0},
		{"more room than a number can say", func(m *memfs.Tree) vfs.FS { return spaced{Tree: m, free: 1 << 63} }, 0, 0, 1<<63 - 1, 0},
		{"the room is not known", func(m *memfs.Tree) vfs.FS { return spaced{Tree: m, err: broken} }, 1000, 100, 900, 0},
		{"a tree that tells no room", func(m *memfs.Tree) vfs.FS { return bareTree{m} }, 1000, 100, 900, 0},
		{"nothing is known", func(m *memfs.Tree) vfs.FS { return bareTree{m} }, 0, 0, 0, fault.NotBuilt},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := newHouse(t)
			h.gate.Trees = func(context.Context, account.Account) (vfs.FS, error) { return tt.tree(h.tree), nil }
			h.gate.Ledger = &book{t: t, bytes: tt.used}
			s := h.login(account.Account{Name: "anna", Rights: account.Full, MaxBytes: tt.quota})
			got, err := s.Available(t.Context(), vfs.Root)
			if tt.kind != 0 {
				is(t, "Available", err, tt.kind, fault.IDNotBuilt)
			} else if err != nil || got != tt.want {
				t.Errorf("Available = %d, %v; want %d", got, err, tt.want)
			}
		})
	}
}

func TestAvailableIsAskedOfDirectories(t *testing.T) {
	s := furnish(t).anna()
	_, err := s.Available(t.Context(), at(t, "/file"))
	is(t, "of a file", err, fault.NotDir, fault.IDNotDir)
	_, err = s.Available(t.Context(), at(t, "/nowhere"))
	is(t, "of nothing", err, fault.NotFound, fault.IDNotFound)
}

func TestADirectoryWhoseModeFailsIsNotMade(t *testing.T) {
	h := furnish(t)
	h.gate.Trees = func(context.Context, account.Account) (vfs.FS, error) {
		return spaced{Tree: h.tree, deny: fs.ErrPermission}, nil
	}
	before := snapshot(t, h.tree)
	s := h.anna()
	is(t, "MkdirMode", s.MkdirMode(t.Context(), at(t, "/made"), 0o700), fault.Denied, fault.IDPerm)
	if after := snapshot(t, h.tree); after != before {
		t.Errorf("the tree has changed to\n%s", after)
	}
	if es := h.events.take(); len(es) != 0 {
		t.Errorf("events %+v", es)
	}
	is(t, "MkdirMode of what is there", s.MkdirMode(t.Context(), at(t, "/dir"), 0o700), fault.Exists, fault.IDExists)
}

func TestTreesWithoutModesAndLinks(t *testing.T) {
	h := furnish(t)
	h.gate.Trees = func(context.Context, account.Account) (vfs.FS, error) { return bareTree{h.tree}, nil }
	s := h.login(account.Account{Name: "anna", Rights: account.All})
	is(t, "Chmodable", s.Chmodable(t.Context(), at(t, "/file")), fault.NotBuilt, fault.IDNotBuilt)
	is(t, "MkdirMode", s.MkdirMode(t.Context(), at(t, "/made"), 0o700), fault.NotBuilt, fault.IDNotBuilt)
	is(t, "Symlink", s.Symlink(t.Context(), "file", at(t, "/made")), fault.NotBuilt, fault.IDNotBuilt)
}

func TestSymlinkHoldsARelativeTarget(t *testing.T) {
	tests := []struct{ name, target, link, want string }{
		{"a relative target is kept", "other", "/dir/l", "other"},
		{"also one that goes up", "../file", "/dir/l", "../file"},
		{"absolute, in the same directory", "/dir/other", "/dir/l", "other"},
		{"absolute, above", "/file", "/dir/l", "../file"},
		{"absolute, below", "/dir/sub/x", "/l", "dir/sub/x"},
		{"absolute, beside", "/empty/x", "/dir/l", "../empty/x"},
		{"the root", "/", "/dir/l", ".."},
		{"the root, from the root", "/", "/l", "."},
		{"its own directory", "/dir", "/dir/l", "."},
		{"a name that begins like another", "/directory", "/dir/l", "../directory"},
		{"too many dots end at the root", "/../../file", "/dir/l", "../file"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := furnish(t)
			s := h.login(account.Account{Name: "anna", Rights: account.All})
			need(t, s.Symlink(t.Context(), tt.target, at(t, tt.link)))
			if got, err := h.tree.Readlink(t.Context(), at(t, tt.link)); got != tt.want || err != nil {
				t.Errorf("the link holds %q, %v; want %q", got, err, tt.want)
			}
		})
	}
}

func TestSymlinkRefuses(t *testing.T) {
	tests := []struct {
		name, target, link string
		kind               fault.Kind
		id                 fault.ID
	}{
		{"a target outside", "../../etc", "/dir/l", fault.Denied, fault.IDPerm},
		{"a target outside, by a detour", "x/../../../etc", "/dir/l", fault.Denied, fault.IDPerm},
		{"a hidden target", vfs.Hidden + "x", "/l", fault.BadName, fault.IDBadName},
		{"a hidden absolute target", "/dir/" + vfs.Hidden + "x", "/l", fault.BadName, fault.IDBadName},
		{"a name that is taken", "file", "/dir", fault.Exists, fault.IDExists},
		{"the root", "file", "/", fault.Exists, fault.IDExists},
		{"no directory", "file", "/no/such/l", fault.NotFound, fault.IDNotFound},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := furnish(t)
			s := h.login(account.Account{Name: "anna", Rights: account.All})
			before := snapshot(t, h.tree)
			is(t, "Symlink", s.Symlink(t.Context(), tt.target, at(t, tt.link)), tt.kind, tt.id)
			if after := snapshot(t, h.tree); after != before {
				t.Errorf("the tree has changed to\n%s", after)
			}
		})
	}
}

// The right to make links is no way around the rights of another place.
func TestALinkGivesNoRight(t *testing.T) {
	h := furnish(t)
	s := h.login(account.Account{Name: "anna", Rights: account.All, Paths: []account.PathRights{{Path: "/dir", Rights: account.List}}})
	need(t, s.Symlink(t.Context(), "/dir/other", at(t, "/l")))
	_, err := s.Open(t.Context(), at(t, "/l"))
	is(t, "Open", err, fault.Denied, fault.IDPerm)
	is(t, "Symlink", s.Symlink(t.Context(), "x", at(t, "/dir/l")), fault.Denied, fault.IDPerm)
}

// The right to set modes counts where the file is made, and not where else the account
// has it.
func TestAModeOfANewFileTakesTheRightToItThere(t *testing.T) {
	h := newHouse(t)
	need(t, h.tree.MkdirAll("/in"))
	s := h.login(account.Account{Name: "anna", Rights: account.All, Paths: places("/in", account.All&^account.Attributes)})
	for dir, want := range map[string]fs.FileMode{"": 0o600, "/in": 0o644} {
		need(t, store(t, s, dir+"/a", vfs.Create{Mode: 0o600}, 5))
		e, err := s.Make(t.Context(), at(t, dir+"/b"), 0o600)
		need(t, err)
		need(t, e.Close(t.Context(), nil))
		for _, name := range []string{"/a", "/b"} {
			fi, err := h.tree.Stat(t.Context(), at(t, dir+name))
			need(t, err)
			if fi.Mode() != want {
				t.Errorf("%s%s has the mode %v, want %v", dir, name, fi.Mode(), want)
			}
		}
	}
}
