//go:build linux

package osfs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"dray/fault"
	"dray/vfs"
	"dray/vfs/vfstest"
)

// Four owners; the first two share a group.
var owners = []Identity{
	{UID: 42001, GID: 42011, Groups: []uint32{42100}, Umask: 0o022},
	{UID: 42002, GID: 42012, Groups: []uint32{42101, 42100}, Umask: 0o077},
	{UID: 42003, GID: 42013, Umask: 0o027},
	{UID: 42004, GID: 42014, Groups: []uint32{42101}, Umask: 0o002},
}

// The tests named TestAs run twice: as root, and by TestOwnersWithoutRoot in a
// process of an ordinary user. That one finds what runs without the identity of
// its owner: it gets nothing in a directory of mode 0700.
const (
	streetEnv = "DRAY_TEST_STREET" // in the second process: what street returns
	childEnv  = "DRAY_TEST_CHILD"  // in other processes: which one it is
)

// street is a directory with a home of mode 0700 for each owner, named for the
// uid, and a place that all may write to, named common.
func street(t testing.TB) string {
	t.Helper()
	if dir := os.Getenv(streetEnv); dir != "" {
		return dir
	}
	needRoot(t)
	dir := t.TempDir()
	errs := []error{
		os.Chmod(filepath.Dir(dir), 0o755), os.Chmod(dir, 0o755),
		os.Mkdir(filepath.Join(dir, "common"), 0), os.Chmod(filepath.Join(dir, "common"), 0o777|fs.ModeSticky),
	}
	for _, id := range owners {
		home := filepath.Join(dir, strconv.Itoa(int(id.UID)))
		errs = append(errs, os.Mkdir(home, 0), os.Chmod(home, 0o700), os.Chown(home, int(id.UID), int(id.GID)))
	}
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	return dir
}

func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 || !CanSwitch() {
		t.Skip("SKIPPED: needs root, to make homes of other users")
	}
}

func openAs(t testing.TB, dir string, id Identity) *Tree {
	t.Helper()
	tree, err := NewDisk(SyncCommit, nil).OpenAs(dir, id)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tree.Close() })
	return tree
}

// inside makes an empty directory of mode 0700 in a street, where id may, and
// returns its name.
func inside(t testing.TB, dir string, id Identity) string {
	t.Helper()
	tree := openAs(t, dir, id)
	name := filepath.Join(dir, "test-"+number())
	owner(t, tree, func() error { return errors.Join(os.Mkdir(name, 0o700), os.Chmod(name, 0o700)) })
	return name
}

// house is an empty home of mode 0700 in a street, and its tree.
func house(t testing.TB, street string, id Identity) (tree *Tree, dir string) {
	t.Helper()
	dir = inside(t, filepath.Join(street, strconv.Itoa(int(id.UID))), id)
	return openAs(t, dir, id), dir
}

// owner does something on the disk as the owner of a tree.
func owner(t testing.TB, tree *Tree, do func() error) {
	t.Helper()
	if err := tree.as(do); err != nil {
		t.Fatal(err)
	}
}

// mine tells whether this thread has the identity of the process.
func mine() bool {
	const ask = ^uint32(0)
	return setfs(sysSetfsuid, ask) == uint32(os.Geteuid()) && setfs(sysSetfsgid, ask) == uint32(os.Getegid())
}

// allMine looks at every thread of the process.
func allMine(t *testing.T) {
	t.Helper()
	groups, err := os.Getgroups()
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(groups)
	files, err := filepath.Glob("/proc/self/task/*/status")
	if err != nil || len(files) == 0 {
		t.Fatalf("threads: %q, %v", files, err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			continue // it ended
		}
		for line := range strings.Lines(string(b)) {
			f := strings.Fields(line)
			switch f[0] {
			case "Uid:", "Gid:":
				want := os.Geteuid()
				if f[0] == "Gid:" {
					want = os.Getegid()
				}
				if f[4] != strconv.Itoa(want) { // real, effective, saved, file system
					t.Errorf("%s: %s", name, line)
				}
			case "Groups:":
				if want := fmt.Sprint(groups); fmt.Sprint(f[1:]) != want {
					t.Errorf("%s: %s; want %s", name, line, want)
				}
			}
		}
	}
}

func TestAsContract(t *testing.T) {
	home := filepath.Join(street(t), "42001")
	vfstest.RunWith(t, func(t *testing.T) vfs.FS {
		dir := inside(t, home, owners[0])
		tree, err := NewDisk(SyncNone, nil).OpenAs(dir, owners[0])
		if err != nil {
			t.Fatal(err)
		}
		return placed{tree, dir}
	}, vfstest.Options{Symlink: func(t *testing.T, tree vfs.FS, p vfs.Path, target string) {
		t.Helper()
		at := tree.(placed)
		owner(t, at.Tree, func() error { return os.Symlink(target, filepath.Join(at.dir, p.Rel())) })
	}})
	allMine(t)
}

// 16 sessions of 4 owners: what one makes is its own, and the kernel refuses it
// everything in the homes of the others.
func TestAsManyAtOnce(t *testing.T) {
	dir := street(t)
	disk := NewDisk(SyncNone, nil)
	var wg sync.WaitGroup
	for n := range 16 {
		id, other := owners[n%4], owners[(n+1+n/4%3)%4]
		tree, err := disk.OpenAs(dir, id)
		if err != nil {
			t.Fatal(err)
		}
		defer tree.Close()
		at := func(id Identity, name string) vfs.Path {
			return vpath(t, fmt.Sprintf("%d/%d%s", id.UID, n, name))
		}
		ctx := t.Context()
		wg.Go(func() {
			for range 20 {
				up, err := tree.Create(ctx, at(id, "f"), vfs.Create{Owner: "x"})
				if err == nil {
					if _, err = up.WriteAt([]byte("hello"), 0); err == nil {
						err = up.Commit(ctx)
					}
				}
				if err == nil {
					err = tree.Mkdir(ctx, at(id, "d"))
				}
				if err == nil {
					err = tree.Rename(ctx, at(id, "f"), at(id, "g"), vfs.Overwrite)
				}
				if err == nil {
					err = tree.Symlink(ctx, "g", at(id, "l"))
				}
				for fi, lerr := range tree.List(ctx, at(id, "").Dir()) {
					if lerr != nil {
						err = errors.Join(err, lerr)
					} else if a := vfs.AttrOf(fi); a.UID != id.UID || a.GID != id.GID {
						err = errors.Join(err, fmt.Errorf("%s belongs to %d:%d", fi.Name(), a.UID, a.GID))
					}
				}
				if err != nil {
					t.Errorf("uid %d at home: %v", id.UID, err)
					return
				}
				_, statErr := tree.Stat(ctx, at(other, "g"))
				_, openErr := tree.Open(ctx, at(other, "g"))
				_, createErr := tree.Create(ctx, at(other, "h"), vfs.Create{})
				_, asErr := disk.OpenAs(filepath.Join(dir, strconv.Itoa(int(other.UID))), id)
				var listErr error
				for _, err := range tree.List(ctx, at(other, "").Dir()) {
					listErr = err
				}
				for what, err := range map[string]error{
					"Stat": statErr, "Open": openErr, "Create": createErr, "OpenAs": asErr, "List": listErr,
					"Mkdir":   tree.Mkdir(ctx, at(other, "h")),
					"Remove":  tree.Remove(ctx, at(other, "g")),
					"Rename":  tree.Rename(ctx, at(id, "g"), at(other, "h"), vfs.Overwrite),
					"SetTime": tree.SetTime(ctx, at(other, "g"), time.Unix(1, 0)),
					"Chmod":   tree.Chmod(ctx, at(other, "g"), 0o777),
					"Symlink": tree.Symlink(ctx, "g", at(other, "h")),
				} {
					if err == nil || fault.KindOf(err) != fault.Denied {
						t.Errorf("%s by uid %d in the home of uid %d: %v; want it refused", what, id.UID, other.UID, err)
						return
					}
				}
				err = errors.Join(tree.Remove(ctx, at(id, "g")), tree.Remove(ctx, at(id, "l")), tree.RemoveDir(ctx, at(id, "d")))
				if err != nil {
					t.Errorf("uid %d at home: %v", id.UID, err)
					return
				}
			}
		})
	}
	wg.Wait()
	allMine(t)
}

func TestOpenAsRefuses(t *testing.T) {
	dir := street(t)
	tree, home := house(t, dir, owners[0])
	owner(t, tree, func() error {
		return errors.Join(os.WriteFile(filepath.Join(home, "file"), nil, 0o600), os.Mkdir(filepath.Join(home, "shut"), 0o600))
	})
	with := func(change func(*Identity)) Identity {
		id := owners[0]
		change(&id)
		return id
	}
	for _, c := range []struct {
		name, dir string
		id        Identity
		is        func(error) bool
		says      string
	}{
		{"root", home, with(func(id *Identity) { id.UID = 0 }), func(error) bool { return true }, "never root"},
		{"a uid that is none", home, with(func(id *Identity) { id.UID = ^uint32(0) }), func(error) bool { return true }, "no id"},
		{"a group that is none", home, with(func(id *Identity) { id.Groups = []uint32{^uint32(0)} }), func(error) bool { return true }, "no id"},
		{"a missing home", filepath.Join(home, "no"), owners[0], func(err error) bool { return errors.Is(err, fs.ErrNotExist) }, "no such file"},
		{"a file", filepath.Join(home, "file"), owners[0], func(err error) bool { return fault.KindOf(err) == fault.NotDir }, "not a directory"},
		{"the home of another", filepath.Join(dir, "42002"), owners[0], func(err error) bool {
			var e *HomeError
			return errors.As(err, &e) && e.Dir == filepath.Join(dir, "42002") && e.UID == 42001 && e.Owner == 42002 &&
				e.Group == 42012 && e.Mode.Perm() == 0o700 && fault.KindOf(err) == fault.Denied
		}, "belongs to somebody else"},
		{"a home below that of another", filepath.Join(dir, "42002", "a", "b"), owners[0], func(err error) bool {
			var e *HomeError
			return errors.As(err, &e) && e.Dir == filepath.Join(dir, "42002")
		}, "42002"},
		{"a home that its owner has shut", filepath.Join(home, "shut"), owners[0], func(err error) bool {
			var e *HomeError
			return errors.As(err, &e) && !strings.Contains(err.Error(), "somebody")
		}, "may not enter"},
	} {
		tree, err := NewDisk(SyncNone, nil).OpenAs(c.dir, c.id)
		if err == nil {
			tree.Close()
			t.Errorf("%s: OpenAs succeeds", c.name)
		} else if !c.is(err) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: OpenAs = %v; want %q", c.name, err, c.says)
		}
	}
}

// Whatever the umask of the process is, a new name has the mode that its owner's
// umask leaves, or that was asked for.
func TestAsModesAreExact(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	for _, process := range []int{0, 0o022, 0o077} {
		for _, id := range owners {
			syscall.Umask(0)
			tree, _ := house(t, street(t), id)
			syscall.Umask(process)
			for _, c := range []struct {
				name string
				how  vfs.Create
				want fs.FileMode
			}{
				{"replace", vfs.Create{}, 0o666 &^ id.Umask},
				{"new", vfs.Create{How: vfs.New}, 0o666 &^ id.Umask},
				{"mode", vfs.Create{Mode: 0o664}, 0o664},
				{"newmode", vfs.Create{How: vfs.New, Mode: 0o604}, 0o604},
			} {
				if err := put(t, tree, c.name, "x", c.how); err != nil {
					t.Fatal(err)
				}
				fi, err := tree.Stat(t.Context(), vpath(t, c.name))
				if err != nil || fi.Mode() != c.want {
					t.Errorf("%s with umasks %03o and %03o: %v, %v; want %v", c.name, process, id.Umask, fi.Mode(), err, c.want)
				}
			}
			if err := tree.Mkdir(t.Context(), vpath(t, "d")); err != nil {
				t.Fatal(err)
			}
			if fi, err := tree.Stat(t.Context(), vpath(t, "d")); err != nil || fi.Mode() != fs.ModeDir|0o777&^id.Umask {
				t.Errorf("a directory with umasks %03o and %03o: %v, %v", process, id.Umask, fi.Mode(), err)
			}
			if got := syscall.Umask(process); got != process {
				t.Fatalf("the umask of the process became %03o", got)
			}
		}
	}
}

// Without an owner too a mode that was asked for is exact; otherwise the umask of
// the process is the tree's.
func TestModesWithoutOwner(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o027))
	for _, jailed := range []func(string) (jail, error){openJail, openRoot} {
		j, err := jailed(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		tree := &Tree{disk: NewDisk(SyncNone, nil), jail: j}
		defer tree.Close()
		for name, want := range map[string]fs.FileMode{"plain": 0o640, "asked": 0o666} {
			how := vfs.Create{}
			if name == "asked" {
				how.Mode = want
			}
			if err := put(t, tree, name, "x", how); err != nil {
				t.Fatal(err)
			}
			if fi, err := tree.Stat(t.Context(), vpath(t, name)); err != nil || fi.Mode() != want {
				t.Errorf("%s: %v, %v; want %v", name, fi.Mode(), err, want)
			}
		}
	}
}

// In a directory with set-gid, directories and files inherit the group whatever
// is done for their modes; a default ACL rules in place of the umask.
func TestAsDirectoriesThatHandDown(t *testing.T) {
	tree, dir := house(t, street(t), owners[0])
	defer syscall.Umask(syscall.Umask(0o077))
	owner(t, tree, func() error {
		return errors.Join(os.Mkdir(filepath.Join(dir, "s"), 0o777), os.Chown(filepath.Join(dir, "s"), -1, 42100),
			os.Chmod(filepath.Join(dir, "s"), 0o770|fs.ModeSetgid))
	})
	if err := errors.Join(tree.Mkdir(t.Context(), vpath(t, "s/d")), put(t, tree, "s/f", "x", vfs.Create{})); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]fs.FileMode{"s/d": fs.ModeDir | fs.ModeSetgid | 0o755, "s/f": 0o644} {
		if fi, err := tree.Stat(t.Context(), vpath(t, name)); err != nil || fi.Mode() != want || vfs.AttrOf(fi).GID != 42100 {
			t.Errorf("%s: %v of group %d, %v; want %v of group 42100", name, fi.Mode(), vfs.AttrOf(fi).GID, err, want)
		}
	}
	// user::rwx, user:42003:rwx, group::r-x, mask::rwx, other::---
	acl := binary.LittleEndian.AppendUint32(nil, 2)
	for _, e := range []struct {
		tag, perm uint16
		id        uint32
	}{{1, 7, ^uint32(0)}, {2, 7, 42003}, {4, 5, ^uint32(0)}, {16, 7, ^uint32(0)}, {32, 0, ^uint32(0)}} {
		acl = binary.LittleEndian.AppendUint16(acl, e.tag)
		acl = binary.LittleEndian.AppendUint16(acl, e.perm)
		acl = binary.LittleEndian.AppendUint32(acl, e.id)
	}
	err := tree.as(func() error {
		name := filepath.Join(dir, "acl")
		return errors.Join(os.Mkdir(name, 0o777), unix.Setxattr(name, "system.posix_acl_default", acl, 0))
	})
	if errors.Is(err, unix.EOPNOTSUPP) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(tree.Mkdir(t.Context(), vpath(t, "acl/d")), put(t, tree, "acl/f", "x", vfs.Create{})); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]fs.FileMode{"acl/d": fs.ModeDir | 0o770, "acl/f": 0o660} {
		if fi, err := tree.Stat(t.Context(), vpath(t, name)); err != nil || fi.Mode() != want {
			t.Errorf("%s: %v, %v; want %v, as the ACL says", name, fi.Mode(), err, want)
		}
	}
}

// A directory that a supplementary group may write to is open to its members and
// to nobody else; what they replace there becomes theirs and keeps its mode.
func TestAsSupplementaryGroup(t *testing.T) {
	common := filepath.Join(street(t), "common")
	shared := inside(t, common, owners[0])
	tree := openAs(t, shared, owners[0])
	owner(t, tree, func() error {
		return errors.Join(os.Chown(shared, -1, 42100), os.Chmod(shared, 0o770))
	})
	if err := put(t, tree, "f", "old", vfs.Create{Mode: 0o666}); err != nil {
		t.Fatal(err)
	}
	member := openAs(t, shared, owners[1])
	if err := errors.Join(put(t, member, "f", "new", vfs.Create{}), put(t, member, "f", "er", vfs.Create{How: vfs.InPlace, Offset: -1})); err != nil {
		t.Fatal(err)
	}
	fi, err := member.Stat(t.Context(), vpath(t, "f"))
	if err != nil || fi.Mode() != 0o666 || fi.Size() != 5 || vfs.AttrOf(fi).UID != 42002 || vfs.AttrOf(fi).GID != 42012 {
		t.Errorf("the replaced file: %v %d bytes %+v, %v", fi.Mode(), fi.Size(), vfs.AttrOf(fi), err)
	}
	if other, err := NewDisk(SyncNone, nil).OpenAs(shared, owners[2]); err == nil {
		other.Close()
		t.Error("who is not in the group enters")
	}
}

// A link to the home of another does not lead there: out of the tree the jail
// refuses, inside of a larger one the kernel.
func TestAsLinkToAnotherHome(t *testing.T) {
	dir := street(t)
	small, home := house(t, dir, owners[0])
	theirs, other := house(t, dir, owners[1])
	if err := put(t, theirs, "secret", "x", vfs.Create{Mode: 0o666}); err != nil {
		t.Fatal(err)
	}
	large := openAs(t, dir, owners[0])
	rel, err := filepath.Rel(home, other)
	if err != nil {
		t.Fatal(err)
	}
	owner(t, small, func() error {
		return errors.Join(os.Symlink(rel, filepath.Join(home, "rel")), os.Symlink(other, filepath.Join(home, "abs")))
	})
	inLarge := strings.TrimPrefix(home, dir)
	for _, c := range []struct {
		tree *Tree
		name string
	}{{small, "rel"}, {small, "abs"}, {large, inLarge + "/rel"}, {large, inLarge + "/abs"}} {
		_, err := c.tree.Open(t.Context(), vpath(t, c.name+"/secret"))
		_, cerr := c.tree.Create(t.Context(), vpath(t, c.name+"/f"), vfs.Create{})
		if fault.KindOf(err) != fault.Denied || fault.KindOf(cerr) != fault.Denied {
			t.Errorf("through %s: %v, %v; want both refused", c.name, err, cerr)
		}
	}
	if err := small.Symlink(t.Context(), rel, vpath(t, "made")); fault.KindOf(err) != fault.Denied {
		t.Errorf("Symlink(%s) = %v; want it refused", rel, err)
	}
}

// A listing of several batches shows every name once, and what consumes it runs
// as the server, as does everything that a tree calls.
func TestAsServerIsCalledBack(t *testing.T) {
	tree, dir := house(t, street(t), owners[2])
	const n = 3*listBatch + 7
	owner(t, tree, func() error {
		for i := range n {
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%s-%d", strings.Repeat("x", 150), i)), nil, 0o600); err != nil {
				return err
			}
		}
		return nil
	})
	seen := map[string]bool{}
	for fi, err := range tree.List(t.Context(), vfs.Root) {
		if err != nil {
			t.Fatal(err)
		}
		if !mine() {
			t.Fatal("an entry is handed out with the identity of the owner")
		}
		seen[strings.Clone(fi.Name())] = true
	}
	if len(seen) != n {
		t.Errorf("%d names listed; want %d", len(seen), n)
	}
	for _, err := range tree.List(t.Context(), vfs.Root) {
		if err != nil {
			t.Fatal(err)
		}
		break
	}
	for _, owner := range []string{"alice", ""} {
		up, err := tree.Create(t.Context(), vpath(t, "f"), vfs.Create{Owner: owner})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := up.WriteAt(make([]byte, 10_000), 0); err != nil {
			t.Fatal(err)
		}
		if owner == "" { // its process dies
			_ = up.(*upload).f.Close()
			continue
		}
		if err := up.Cut(); err != nil {
			t.Fatal(err)
		}
	}
	calls := 0
	freed := func(int64) {
		if calls++; !mine() {
			t.Error("what was freed is reported with the identity of the owner")
		}
	}
	err := errors.Join(tree.Clear(t.Context(), vfs.Root, "alice", freed), tree.Sweep(t.Context(), time.Now().Add(time.Hour), freed))
	if err != nil || calls != 2 {
		t.Errorf("Clear and Sweep: %d files freed, %v; want 2", calls, err)
	}
}

// The spool is the server's, the file that it is written over the owner's.
func TestAsUnwritableDirectory(t *testing.T) {
	tree, dir := house(t, street(t), owners[0])
	if err := put(t, tree, "f", "old content", vfs.Create{}); err != nil {
		t.Fatal(err)
	}
	owner(t, tree, func() error { return os.Chmod(dir, 0o500) })
	if err := put(t, tree, "f", "new", vfs.Create{Offset: 4}); err != nil {
		t.Fatal(err)
	}
	f, err := tree.Open(t.Context(), vpath(t, "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if b, err := io.ReadAll(io.NewSectionReader(f, 0, 100)); string(b) != "old new" || err != nil {
		t.Errorf("the file has %q, %v", b, err)
	}
	if err := tree.Mkdir(t.Context(), vpath(t, "d")); fault.KindOf(err) != fault.Denied {
		t.Errorf("Mkdir = %v; want it refused by the kernel", err)
	}
}

// Set-uid was given to the old content. The kernel takes it off when another
// user writes; that the writes are the server's changes nothing.
func TestAsWritingDisarms(t *testing.T) {
	common := filepath.Join(street(t), "common")
	shared := inside(t, common, owners[0])
	name := filepath.Join(shared, "tool")
	tree := openAs(t, shared, owners[0])
	owner(t, tree, func() error {
		return errors.Join(os.Chmod(shared, 0o755), os.WriteFile(name, []byte("old"), 0o700),
			os.Chown(name, -1, 42100), os.Chmod(name, 0o775|fs.ModeSetuid))
	})
	member := openAs(t, shared, owners[1])
	for _, how := range []vfs.Create{{How: vfs.InPlace, Offset: -1}, {}} {
		owner(t, tree, func() error { return os.Chmod(name, 0o775|fs.ModeSetuid) })
		if err := put(t, member, "tool", "new", how); err != nil {
			t.Fatal(err)
		}
		if fi, err := member.Stat(t.Context(), vpath(t, "tool")); err != nil || fi.Mode() != 0o775 {
			t.Errorf("written with %+v: %v, %v; want no set-uid", how, fi.Mode(), err)
		}
	}
}

// An append leaves a note that is the owner's, by which it is taken back after a
// crash; one that is committed leaves nothing.
func TestAsAppendHasItsNote(t *testing.T) {
	tree, dir := house(t, street(t), owners[3])
	if err := put(t, tree, "f", "whole", vfs.Create{}); err != nil {
		t.Fatal(err)
	}
	names := func() (names []string) {
		owner(t, tree, func() error {
			es, err := os.ReadDir(dir)
			for _, e := range es {
				fi, ierr := e.Info()
				if err = errors.Join(err, ierr); err == nil && fi.Sys().(*syscall.Stat_t).Uid != 42004 {
					err = fmt.Errorf("%s belongs to %d", e.Name(), fi.Sys().(*syscall.Stat_t).Uid)
				}
				names = append(names, e.Name())
			}
			return err
		})
		return names
	}
	size := func() int64 {
		fi, err := tree.Stat(t.Context(), vpath(t, "f"))
		if err != nil {
			t.Fatal(err)
		}
		return fi.Size()
	}
	sweep := func() error { return tree.Sweep(t.Context(), time.Now(), func(int64) {}) }
	next := func() error { return put(t, tree, "f", "", vfs.Create{How: vfs.InPlace, Offset: -1}) }
	for _, takesBack := range []func() error{sweep, next} {
		up, err := tree.Create(t.Context(), vpath(t, "f"), vfs.Create{How: vfs.InPlace, Offset: -1})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := up.WriteAt([]byte(" and half"), up.Offset()); err != nil {
			t.Fatal(err)
		}
		if got := names(); len(got) != 2 {
			t.Errorf("beside an append there are %q; want its note too", got)
		}
		u := up.(*upload) // its process dies: the kernel closes its files, and its locks go
		_ = u.f.Close()
		_ = u.noteF.Close()
		u.unlock()
		if err := takesBack(); err != nil {
			t.Fatal(err)
		}
		if got := size(); got != 5 || len(names()) != 1 {
			t.Errorf("after a crash %d bytes and %q; want the old length and no note", got, names())
		}
	}
	if err := put(t, tree, "f", " more", vfs.Create{How: vfs.InPlace, Offset: -1}); err != nil {
		t.Fatal(err)
	}
	if size() != 10 || len(names()) != 1 {
		t.Errorf("after the append %d bytes and %q", size(), names())
	}
}

// A file with several names is written over by its owner, who sets its time and
// leaves nothing behind.
func TestAsSeveralNames(t *testing.T) {
	tree, dir := house(t, street(t), owners[0])
	if err := put(t, tree, "f", "old", vfs.Create{}); err != nil {
		t.Fatal(err)
	}
	owner(t, tree, func() error { return os.Link(filepath.Join(dir, "f"), filepath.Join(dir, "twin")) })
	up, err := tree.Create(t.Context(), vpath(t, "f"), vfs.Create{Owner: "alice"})
	if err != nil {
		t.Fatal(err)
	}
	then := time.Unix(1_000_000_000, 0)
	if _, err := up.WriteAt([]byte("newer"), 0); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(up.SetTime(then), up.Commit(t.Context())); err != nil {
		t.Fatal(err)
	}
	fi, err := tree.Stat(t.Context(), vpath(t, "twin"))
	if err != nil || fi.Size() != 5 || !fi.ModTime().Equal(then) || vfs.AttrOf(fi).Links != 2 {
		t.Errorf("the other name: %d bytes, %v, %+v, %v", fi.Size(), fi.ModTime(), vfs.AttrOf(fi), err)
	}
	owner(t, tree, func() error {
		es, err := os.ReadDir(dir)
		if len(es) != 2 {
			t.Errorf("left in the directory: %v", es)
		}
		return err
	})
}

// A thread that can't go back ends, or is parked for good if it is the first: no
// goroutine runs on it again.
func TestThreadThatIsStuckIsNotUsedAgain(t *testing.T) {
	if os.Getenv(childEnv) != "stuck" { // a process of its own: the first thread stays what it is
		needRoot(t)
		cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
		cmd.Env = append(os.Environ(), childEnv+"=stuck")
		if out, err := cmd.CombinedOutput(); err != nil || !bytes.Contains(out, []byte("--- PASS")) {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	var log bytes.Buffer
	g, err := newGuise(owners[0], slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	g.own.uid = ^uint32(0) // setfsuid leaves what is there
	stuck := map[int]bool{}
	for range 3 {
		if err := g.run(func() error { stuck[unix.Gettid()] = true; return nil }); err != nil {
			t.Fatal(err)
		}
	}
	if len(stuck) != 3 || strings.Count(log.String(), "can't go back") != 3 {
		t.Errorf("three operations took the threads %v and logged:\n%s", stuck, &log)
	}
	for range 500 {
		done := make(chan bool)
		go func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			done <- mine()
		}()
		if !<-done {
			t.Fatal("a goroutine runs with the identity of the owner")
		}
	}
	delete(stuck, os.Getpid())
	for tid := range stuck {
		for deadline := time.Now().Add(10 * time.Second); ; runtime.Gosched() {
			if _, err := os.Stat("/proc/self/task/" + strconv.Itoa(tid)); errors.Is(err, fs.ErrNotExist) {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("thread %d is still there", tid)
			}
		}
	}
}

// A panic in an operation comes out where it was called, as without an owner.
func TestPanicComesOutOfTheGuise(t *testing.T) {
	needRoot(t)
	g, err := newGuise(owners[0], NewDisk(SyncNone, nil).log)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if v := fmt.Sprint(recover()); !strings.Contains(v, "out of range") || !mine() {
			t.Errorf("recovered %q", v)
		}
		allMine(t)
	}()
	_ = g.run(func() error { _ = make([]int, 1)[len(owners)]; return nil })
}

// child runs a test of this binary in a process of an ordinary user with some
// capabilities, and returns what it prints.
func child(t *testing.T, run, env string, caps ...uintptr) string {
	t.Helper()
	needRoot(t)
	dir := t.TempDir()
	public := os.Chmod(filepath.Dir(dir), 0o755)
	binary := filepath.Join(dir, "test")
	self, err := os.ReadFile("/proc/self/exe")
	if err := errors.Join(public, err, os.Chmod(dir, 0o755), os.WriteFile(binary, self, 0o755), os.Chmod(binary, 0o755)); err != nil {
		t.Fatal(err)
	}
	tmp := filepath.Join(dir, "tmp")
	if err := errors.Join(os.Mkdir(tmp, 0o700), os.Chown(tmp, 42999, 42999)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), binary, "-test.run="+run, "-test.v")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env, "TMPDIR="+tmp)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Credential:  &syscall.Credential{Uid: 42999, Gid: 42999, Groups: []uint32{42998}},
		AmbientCaps: caps,
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%s as an ordinary user: %v\n%s", run, err, out)
	}
	if bytes.Contains(out, []byte("SKIPPED")) || !bytes.Contains(out, []byte("--- PASS")) {
		t.Errorf("%s as an ordinary user did not run:\n%s", run, out)
	}
	return string(out)
}

func TestOwnersWithoutRoot(t *testing.T) {
	needRoot(t)
	out := child(t, "^(TestAs|TestOpenAs)", streetEnv+"="+street(t), unix.CAP_SETUID, unix.CAP_SETGID)
	if n := strings.Count(out, "\n--- PASS: TestAs"); n < 11 {
		t.Errorf("%d tests passed; want all:\n%s", n, out)
	}
}

// What a process lacks, or has too much, OpenAs says.
func TestCapabilities(t *testing.T) {
	kinds := map[string]struct {
		caps []uintptr
		can  bool
		says string
	}{
		"none":     {nil, false, "needs CAP_SETUID and CAP_SETGID"},
		"one":      {[]uintptr{unix.CAP_SETUID}, false, "needs CAP_SETUID and CAP_SETGID"},
		"too many": {[]uintptr{unix.CAP_SETUID, unix.CAP_SETGID, unix.CAP_DAC_OVERRIDE}, true, "check nothing"},
	}
	if c, ok := kinds[os.Getenv(childEnv)]; ok {
		if got := CanSwitch(); got != c.can {
			t.Errorf("CanSwitch() = %v", got)
		}
		_, err := NewDisk(SyncNone, nil).OpenAs(t.TempDir(), owners[0])
		if !errors.Is(err, syscall.EPERM) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("OpenAs = %v; want %q", err, c.says)
		}
		return
	}
	for kind, c := range kinds {
		t.Run(kind, func(t *testing.T) { child(t, "^TestCapabilities$", childEnv+"="+kind, c.caps...) })
	}
}

func benchmarkTrees(b *testing.B) (plain, owned *Tree) {
	_, dir := house(b, street(b), owners[0])
	disk := NewDisk(SyncNone, nil)
	plain, err := disk.Open(dir)
	if err != nil {
		b.Fatal(err)
	}
	owned, err = disk.OpenAs(dir, owners[0])
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { plain.Close(); owned.Close() })
	return plain, owned
}

func benchmarkList(b *testing.B, of func(plain, owned *Tree) *Tree) {
	plain, owned := benchmarkTrees(b)
	for i := range 1000 {
		p, err := vfs.Root.Join("file-" + strconv.Itoa(i))
		if err == nil {
			err = plain.Mkdir(b.Context(), p)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	tree := of(plain, owned)
	for b.Loop() {
		for _, err := range tree.List(b.Context(), vfs.Root) {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
}

func benchmarkCreate(b *testing.B, of func(plain, owned *Tree) *Tree) {
	tree := of(benchmarkTrees(b))
	p, err := vfs.Root.Join("f")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		up, err := tree.Create(b.Context(), p, vfs.Create{Owner: "alice"})
		if err == nil {
			_, err = up.WriteAt([]byte("hello"), 0)
		}
		if err == nil {
			err = up.Commit(b.Context())
		}
		if err == nil {
			err = tree.Remove(b.Context(), p)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}

func benchmarkStat(b *testing.B, of func(plain, owned *Tree) *Tree) {
	tree := of(benchmarkTrees(b))
	for b.Loop() {
		if _, err := tree.Stat(b.Context(), vfs.Root); err != nil {
			b.Fatal(err)
		}
	}
}

func plainTree(plain, _ *Tree) *Tree { return plain }
func ownedTree(_, owned *Tree) *Tree { return owned }

// The same as the server and as an owner.

func BenchmarkList(b *testing.B)     { benchmarkList(b, plainTree) }
func BenchmarkListAs(b *testing.B)   { benchmarkList(b, ownedTree) }
func BenchmarkCreate(b *testing.B)   { benchmarkCreate(b, plainTree) }
func BenchmarkCreateAs(b *testing.B) { benchmarkCreate(b, ownedTree) }
func BenchmarkStat(b *testing.B)     { benchmarkStat(b, plainTree) }
func BenchmarkStatAs(b *testing.B)   { benchmarkStat(b, ownedTree) }
