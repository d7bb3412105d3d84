// Package vfstest is the contract of vfs.FS as a test suite. Every tree runs
// it; what it asks is what the servers rely on, and no more: where the contract
// leaves a choice, the suite accepts each of them.
//
// What only a second process could show (uploads left behind by a crash, data
// that survives a power failure) is tested by the tree that promises it.
package vfstest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"dray/fault"
	"dray/vfs"
)

// Options say what a tree cannot do. The zero value is a tree that can do all
// of it.
type Options struct {
	// NoPartials is a tree that keeps no cut uploads; the tests of partials are
	// skipped. Without it a tree that is no vfs.Partials fails.
	NoPartials bool
	// UTF8Only is a tree that refuses names with other bytes.
	UTF8Only bool
	// Symlink makes a symbolic link at p in a tree that newTree made, of any
	// target: vfs.Symlinker refuses some that a tree may hold all the same. Most
	// tests of links are skipped when it is nil.
	Symlink func(t *testing.T, tree vfs.FS, p vfs.Path, target string)
	// Shows are the names that a new tree has in its root. The tests leave them
	// alone, and name nothing so.
	Shows []string
}

// Run runs the suite. Each test asks newTree for a tree of its own, empty but for
// Options.Shows, and closes it. The tree must take its times from the wall clock.
func Run(t *testing.T, newTree func(t *testing.T) vfs.FS) {
	RunWith(t, newTree, Options{})
}

// RunWith is Run for a tree with options.
func RunWith(t *testing.T, newTree func(t *testing.T) vfs.FS, opt Options) {
	for _, group := range groups {
		t.Run(group.name, func(t *testing.T) {
			for _, test := range group.tests {
				t.Run(test.name, func(t *testing.T) {
					tree := newTree(t)
					t.Cleanup(func() {
						if err := tree.Close(); err != nil {
							t.Errorf("Close() = %v", err)
						}
					})
					test.run(&trial{T: t, tree: tree, opt: opt})
				})
			}
		})
	}
}

type test struct {
	name string
	run  func(*trial)
}

var groups = []struct {
	name  string
	tests []test
}{
	{"names", nameTests},
	{"listings", listTests},
	{"renames", renameTests},
	{"links", linkTests},
	{"links that are made", symlinkTests},
	{"modes and room", extraTests},
	{"uploads", uploadTests},
	{"uploads in place", inPlaceTests},
	{"uploads to the name itself", directTests},
	{"files where they are", editTests},
	{"partials", partialTests},
	{"names of partials", namesTests},
	{"at once", onceTests},
}

// A trial is one test with its tree. Its helpers end the test when the tree
// does not do what the test needs to go on.
type trial struct {
	*testing.T
	tree vfs.FS
	opt  Options
}

func (t *trial) path(s string) vfs.Path {
	t.Helper()
	p, err := vfs.Resolve(vfs.Root, s)
	if err != nil {
		t.Fatalf("Resolve(/, %q): %v", s, err)
	}
	return p
}

// need ends the test when err is not nil.
func (t *trial) need(err error, doing string, args ...any) {
	t.Helper()
	if err != nil {
		t.Fatalf(doing+": %v", append(args, err)...)
	}
}

// is wants err to match a sentinel.
func (t *trial) is(err, want error, doing string, args ...any) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf(doing+" = %v; want %v", append(args, err, want)...)
	}
}

// kind wants err to be of one of the kinds.
func (t *trial) kind(err error, want []fault.Kind, doing string, args ...any) {
	t.Helper()
	if err == nil || !slices.Contains(want, fault.KindOf(err)) {
		t.Errorf(doing+" = %v (kind %d); want one of the kinds %d", append(args, err, fault.KindOf(err), want)...)
	}
}

func kinds(k ...fault.Kind) []fault.Kind { return k }

// fails wants any error.
func (t *trial) fails(err error, doing string, args ...any) {
	t.Helper()
	if err == nil {
		t.Errorf(doing+" = nil; want an error", args...)
	}
}

func (t *trial) mkdir(s string) {
	t.Helper()
	t.need(t.tree.Mkdir(t.Context(), t.path(s)), "Mkdir(%s)", s)
}

func (t *trial) create(s string, how vfs.Create) vfs.Upload {
	t.Helper()
	up, err := t.tree.Create(t.Context(), t.path(s), how)
	t.need(err, "Create(%s, %+v)", s, how)
	return up
}

// refused is Create where no upload may come out of it.
func (t *trial) refused(s string, how vfs.Create) error {
	t.Helper()
	up, err := t.tree.Create(t.Context(), t.path(s), how)
	if err == nil {
		up.Discard()
	}
	return err
}

func (t *trial) write(up vfs.Upload, b []byte, off int64) {
	t.Helper()
	n, err := up.WriteAt(b, off)
	if n != len(b) || err != nil {
		t.Fatalf("WriteAt(%d bytes, %d) = %d, %v", len(b), off, n, err)
	}
}

func (t *trial) commit(up vfs.Upload) {
	t.Helper()
	t.need(up.Sync(t.Context()), "Sync()")
	t.need(up.Commit(t.Context()), "Commit()")
}

func (t *trial) cut(up vfs.Upload) {
	t.Helper()
	t.need(up.Cut(), "Cut()")
}

func (t *trial) discard(up vfs.Upload) {
	t.Helper()
	t.need(up.Discard(), "Discard()")
}

// put uploads a whole file, replacing, for nobody.
func (t *trial) put(s string, b []byte) {
	t.Helper()
	up := t.create(s, vfs.Create{})
	t.write(up, b, 0)
	t.commit(up)
}

// leave lets an upload of b by owner be cut.
func (t *trial) leave(s, owner string, b []byte) {
	t.Helper()
	up := t.create(s, vfs.Create{Owner: owner})
	t.write(up, b, 0)
	t.cut(up)
}

func (t *trial) get(s string) []byte {
	t.Helper()
	b, err := read(t.Context(), t.tree, t.path(s))
	t.need(err, "reading %s", s)
	return b
}

func read(ctx context.Context, tree vfs.FS, p vfs.Path) (b []byte, err error) {
	f, err := tree.Open(ctx, p)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return io.ReadAll(io.NewSectionReader(f, 0, 1<<30))
}

// holds wants the file to be exactly b, by content and by Stat.
func (t *trial) holds(s string, b []byte) {
	t.Helper()
	if got := t.get(s); !bytes.Equal(got, b) {
		t.Errorf("%q holds %s; want %s", s, brief(got), brief(b))
	}
	if fi := t.stat(s); fi.Size() != int64(len(b)) || !fi.Mode().IsRegular() {
		t.Errorf("Stat(%s): size %d, mode %v; want a regular file of %d bytes", s, fi.Size(), fi.Mode(), len(b))
	}
}

func (t *trial) stat(s string) fs.FileInfo {
	t.Helper()
	fi, err := t.tree.Stat(t.Context(), t.path(s))
	t.need(err, "Stat(%s)", s)
	return fi
}

// gone wants that the name is not there for anybody who asks the tree.
func (t *trial) gone(s string) {
	t.Helper()
	p := t.path(s)
	_, err := t.tree.Stat(t.Context(), p)
	t.is(err, fs.ErrNotExist, "Stat(%s)", s)
	_, err = t.tree.Lstat(t.Context(), p)
	t.is(err, fs.ErrNotExist, "Lstat(%s)", s)
	f, err := t.tree.Open(t.Context(), p)
	t.is(err, fs.ErrNotExist, "Open(%s)", s)
	if err == nil {
		f.Close()
	}
	if slices.Contains(t.list(p.Dir().String()), p.Base()) {
		t.Errorf("List(%s) shows %q", p.Dir(), p.Base())
	}
}

// list is the sorted names of a directory, in the root without Options.Shows.
func (t *trial) list(s string) []string {
	t.Helper()
	p := t.path(s)
	names := []string{}
	shown := 0
	for fi, err := range t.tree.List(t.Context(), p) {
		t.need(err, "List(%s)", s)
		if p.IsRoot() && slices.Contains(t.opt.Shows, fi.Name()) {
			shown++
			continue
		}
		names = append(names, strings.Clone(fi.Name())) // a copy: valid until the next step only
	}
	if p.IsRoot() && shown != len(t.opt.Shows) {
		t.Errorf("List(/) shows %d of the names %q; want each once", shown, t.opt.Shows)
	}
	slices.Sort(names)
	return names
}

func (t *trial) lists(s string, want ...string) {
	t.Helper()
	want = slices.Sorted(slices.Values(want))
	if got := t.list(s); !slices.Equal(got, want) {
		t.Errorf("List(%s) = %q; want %q", s, got, want)
	}
}

// empties removes a directory in which nothing may be left, hidden or not.
func (t *trial) empties(s string) {
	t.Helper()
	t.lists(s)
	if err := t.tree.RemoveDir(t.Context(), t.path(s)); err != nil {
		t.Errorf("RemoveDir(%s) = %v; want nothing left in it", s, err)
	}
}

func (t *trial) partials() vfs.Partials {
	t.Helper()
	if t.opt.NoPartials {
		t.Skip("this tree keeps no partials")
	}
	p, ok := t.tree.(vfs.Partials)
	if !ok {
		t.Fatalf("%T is no vfs.Partials and Options.NoPartials is not set", t.tree)
	}
	return p
}

// partial wants owner's partial of s to have size bytes.
func (t *trial) partial(s, owner string, size int64) {
	t.Helper()
	fi, err := t.partials().Partial(t.Context(), t.path(s), owner)
	t.need(err, "Partial(%s, %q)", s, owner)
	if fi.Size() != size || !fi.Mode().IsRegular() {
		t.Errorf("Partial(%s, %q): size %d, mode %v; want a regular file of %d bytes", s, owner, fi.Size(), fi.Mode(), size)
	}
	t.plain(fi)
}

func (t *trial) noPartial(s, owner string) {
	t.Helper()
	_, err := t.partials().Partial(t.Context(), t.path(s), owner)
	t.is(err, fs.ErrNotExist, "Partial(%s, %q)", s, owner)
}

// plain wants that fi does not tell a name that the tree keeps for itself.
func (t *trial) plain(fi fs.FileInfo) {
	t.Helper()
	if strings.HasPrefix(fi.Name(), vfs.Hidden) {
		t.Errorf("FileInfo.Name() = %q; such names are never shown", fi.Name())
	}
}

// content is n bytes that no other seed has at the same places.
func content(seed byte, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i) + byte(i>>8)*3 + seed*31
	}
	return b
}

// brief is b for a message.
func brief(b []byte) string {
	const most = 24
	if len(b) <= most {
		return fmt.Sprintf("%q", b)
	}
	return fmt.Sprintf("%q… (%d bytes)", b[:most], len(b))
}

// day is a time that no test reaches by itself, in whole seconds because not
// every file system keeps more.
var day = time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)

func (t *trial) dated(fi fs.FileInfo, want time.Time, of string) {
	t.Helper()
	if !fi.ModTime().Truncate(time.Second).Equal(want) {
		t.Errorf("%s is dated %v; want %v", of, fi.ModTime().UTC(), want)
	}
}
