//go:build linux

package osfs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"dray/fault"
	"dray/vfs"
)

func open(t *testing.T, d Durability) (*Tree, string) {
	t.Helper()
	dir := t.TempDir()
	tree, err := NewDisk(d, nil).Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tree.Close() })
	return tree, dir
}

func vpath(t *testing.T, s string) vfs.Path {
	t.Helper()
	p, err := vfs.Resolve(vfs.Root, s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func put(t *testing.T, tree *Tree, name, content string, how vfs.Create) error {
	t.Helper()
	up, err := tree.Create(t.Context(), vpath(t, name), how)
	if err != nil {
		return err
	}
	if _, err := up.WriteAt([]byte(content), up.Offset()); err != nil {
		return errors.Join(err, up.Cut())
	}
	return up.Commit(t.Context())
}

func content(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// entries are the names in a directory of the disk, hidden ones too.
func entries(t *testing.T, dir string) []string {
	t.Helper()
	es, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range es {
		names = append(names, e.Name())
	}
	return names
}

var errStop = errors.New("stopped here")

// A commit is write, flush of the file, rename, flush of the directory, in this
// order. Wherever it fails or the process dies, the name shows the old file or
// the whole new one, and what Sweep leaves is that and at most a partial.
func TestCommitStopsAtEveryStep(t *testing.T) {
	want := []string{"create", "write", "fsync", "rename", "fsync directory"}
	var steps []string
	tree, _ := open(t, SyncCommit)
	tree.disk.hook = func(op string) error { steps = append(steps, op); return nil }
	if err := put(t, tree, "f", "new", vfs.Create{Owner: "alice"}); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(steps) != fmt.Sprint(want) {
		t.Fatalf("steps of a commit: %q; want %q", steps, want)
	}
	old, fresh := strings.Repeat("old", 10000), strings.Repeat("new", 20000)
	for n, op := range want {
		for _, dies := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s dies=%v", op, dies), func(t *testing.T) {
				tree, dir := open(t, SyncCommit)
				name := filepath.Join(dir, "f")
				if err := os.WriteFile(name, []byte(old), 0o640); err != nil {
					t.Fatal(err)
				}
				calls := 0
				tree.disk.hook = func(string) error {
					if calls++; calls > n {
						return errStop
					}
					return nil
				}
				up, err := tree.Create(t.Context(), vpath(t, "f"), vfs.Create{Owner: "alice"})
				if err == nil {
					if _, err = up.WriteAt([]byte(fresh), 0); err == nil {
						err = up.Commit(t.Context())
					}
				}
				if !errors.Is(err, errStop) {
					t.Fatalf("no step failed: %v", err)
				}
				if up != nil {
					if dies {
						_ = up.(*upload).f.Close() // as the kernel does: its lock goes with it
					} else if op != "fsync directory" { // there it is published, and the error says that it may not last
						if err := up.Cut(); err != nil {
							t.Errorf("Cut: %v", err)
						}
					}
				}
				want := old
				if op == "fsync directory" {
					want = fresh
				}
				if got := content(t, name); got != want {
					t.Errorf("the file has %d bytes, %.6q…; want %d", len(got), got, len(want))
				}
				if err := tree.Sweep(t.Context(), time.Now().Add(-time.Hour), func(int64) {}); err != nil {
					t.Errorf("Sweep: %v", err)
				}
				for _, e := range entries(t, dir) {
					if k := parseHidden(e); k.number != "" {
						t.Errorf("left behind: %s", e)
					}
				}
				fi, err := tree.Partial(t.Context(), vpath(t, "f"), "alice")
				if kept := op == "fsync" || op == "rename"; kept != (err == nil) {
					t.Errorf("partial: %v, %v; want one: %v", fi, err, kept)
				} else if kept && fi.Size() != int64(len(fresh)-vfs.CutTail) {
					t.Errorf("partial has %d bytes; want %d", fi.Size(), len(fresh)-vfs.CutTail)
				}
			})
		}
	}
}

// Of an upload whose process died nobody knows in what order its pieces came. What is
// kept ends before the first hole.
func TestSweepKeepsNothingBehindAHole(t *testing.T) {
	const tail = vfs.CutTail
	piece := strings.Repeat("x", 40_000)
	for name, tt := range map[string]struct {
		at   []int64
		most int64 // that may be kept; 0: nothing is
	}{
		"whole":              {[]int64{0, 40_000}, 80_000},
		"a gap":              {[]int64{0, 400_000}, 40_000},
		"nothing before it":  {[]int64{400_000}, 0},
		"from back to front": {[]int64{40_000, 0}, 80_000},
	} {
		tree, dir := open(t, SyncNone)
		up, err := tree.Create(t.Context(), vpath(t, "f"), vfs.Create{Owner: "alice"})
		if err != nil {
			t.Fatal(err)
		}
		for _, off := range tt.at {
			if _, err := up.WriteAt([]byte(piece), off); err != nil {
				t.Fatal(err)
			}
		}
		_ = up.(*upload).f.Close() // as the kernel does
		fi, err := os.Stat(filepath.Join(dir, up.(*upload).temp))
		if err != nil {
			t.Fatal(err)
		}
		freed := int64(0)
		if err := tree.Sweep(t.Context(), time.Now().Add(-time.Hour), func(n int64) { freed += n }); err != nil {
			t.Errorf("%s: Sweep: %v", name, err)
		}
		kept := int64(0)
		if fi, err := tree.Partial(t.Context(), vpath(t, "f"), "alice"); err == nil {
			kept = fi.Size()
		}
		if kept > max(tt.most-tail, 0) || tt.most > 0 && kept < tt.most-4*tail {
			t.Errorf("%s: %d bytes are kept; want %d, or a few blocks less", name, kept, max(tt.most-tail, 0))
		}
		if freed != fi.Size()-kept {
			t.Errorf("%s: of %d bytes %d are kept and %d freed", name, fi.Size(), kept, freed)
		}
	}
}

// An append whose process died is taken back at the next start, by its note.
func TestDeadAppendIsTakenBack(t *testing.T) {
	tree, dir := open(t, SyncCommit)
	name := filepath.Join(dir, "log")
	if err := os.WriteFile(name, []byte("whole\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	up, err := tree.Create(t.Context(), vpath(t, "log"), vfs.Create{How: vfs.InPlace, Offset: -1, Owner: "alice"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := up.WriteAt([]byte("half a li"), up.Offset()); err != nil {
		t.Fatal(err)
	}
	sweep := func() {
		t.Helper()
		if err := tree.Sweep(t.Context(), time.Now(), func(int64) {}); err != nil {
			t.Fatal(err)
		}
	}
	sweep()
	if got := content(t, name); got != "whole\nhalf a li" {
		t.Fatalf("a sweep took back an append that lives: %q", got)
	}
	_ = up.(*upload).f.Close()
	_ = up.(*upload).noteF.Close()
	sweep()
	if got := content(t, name); got != "whole\n" {
		t.Errorf("after the sweep: %q; want the old content", got)
	}
	if names := entries(t, dir); len(names) != 1 {
		t.Errorf("left behind: %q", names)
	}
}

// What was acknowledged is not taken back: the note goes before the answer.
func TestCommittedAppendLeavesNoNote(t *testing.T) {
	tree, dir := open(t, SyncCommit)
	name := filepath.Join(dir, "log")
	if err := os.WriteFile(name, []byte("one\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := put(t, tree, "log", "two\n", vfs.Create{How: vfs.InPlace, Offset: -1}); err != nil {
		t.Fatal(err)
	}
	if got, names := content(t, name), entries(t, dir); got != "one\ntwo\n" || len(names) != 1 {
		t.Errorf("after the append: %q, %q", got, names)
	}
}

// The new file has the old one's mode, owner and extended attributes; a file
// with several names keeps them all; a link inside the tree is followed.
func TestReplacementKeepsWhatTheOldFileHad(t *testing.T) {
	tree, dir := open(t, SyncNone)
	name := filepath.Join(dir, "f")
	if err := os.WriteFile(name, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name, 0o606); err != nil {
		t.Fatal(err)
	}
	xattr := unix.Setxattr(name, "user.colour", []byte("blue"), 0) == nil
	owned := os.Geteuid() == 0 && os.Chown(name, 12345, 54321) == nil
	if err := os.Symlink("f", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := put(t, tree, "link", "new content", vfs.Create{}); err != nil {
		t.Fatal(err)
	}
	fi, err := os.Lstat(name)
	if err != nil || fi.Mode().Perm() != 0o606 || content(t, name) != "new content" {
		t.Errorf("%v, %v, %q", fi.Mode(), err, content(t, name))
	}
	if st := fi.Sys().(*syscall.Stat_t); owned && (st.Uid != 12345 || st.Gid != 54321) {
		t.Errorf("owner %d:%d; want that of the old file", st.Uid, st.Gid)
	}
	if xattr {
		b := make([]byte, 16)
		if n, err := unix.Getxattr(name, "user.colour", b); err != nil || string(b[:n]) != "blue" {
			t.Errorf("extended attribute: %q, %v", b[:max(n, 0)], err)
		}
	}
	if target, err := os.Readlink(filepath.Join(dir, "link")); err != nil || target != "f" {
		t.Errorf("the link is %q, %v", target, err)
	}
	if err := os.Link(name, filepath.Join(dir, "twin")); err != nil {
		t.Fatal(err)
	}
	if err := put(t, tree, "f", "third", vfs.Create{}); err != nil {
		t.Fatal(err)
	}
	if got := content(t, filepath.Join(dir, "twin")); got != "third" {
		t.Errorf("the other name has %q; want both to stay one file", got)
	}
	if names := entries(t, dir); len(names) != 3 {
		t.Errorf("left behind: %q", names)
	}
}

// unwritable is a tree whose directory can't be written, with a file f that can.
// As root every directory can be: the test takes a user's identity for the file
// system, on its thread only, until it calls asRoot or ends.
func unwritable(t *testing.T) (tree *Tree, dir string, asRoot func()) {
	t.Helper()
	tree, dir = open(t, SyncNone)
	name := filepath.Join(dir, "f")
	if err := os.WriteFile(name, []byte("old content"), 0o666); err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]os.FileMode{name: 0o666, dir: 0o555, filepath.Dir(dir): 0o755} {
		if err := os.Chmod(name, mode); err != nil {
			t.Fatal(err)
		}
	}
	asRoot = func() {}
	if os.Geteuid() == 0 {
		runtime.LockOSThread()
		if err := unix.Setfsuid(65534); err != nil {
			t.Fatal(err)
		}
		asRoot = sync.OnceFunc(func() {
			_ = unix.Setfsuid(0)
			runtime.UnlockOSThread()
		})
	}
	t.Cleanup(func() {
		asRoot()
		_ = os.Chmod(dir, 0o755)
	})
	return tree, dir, asRoot
}

// Where the directory can't be written but the file can, the old content stays
// until the upload is whole, and a cut one changes nothing.
func TestUnwritableDirectory(t *testing.T) {
	tree, dir, _ := unwritable(t)
	name := filepath.Join(dir, "f")
	up, err := tree.Create(t.Context(), vpath(t, "f"), vfs.Create{})
	if err != nil {
		t.Fatal(err)
	}
	if got := content(t, name); got != "old content" {
		t.Errorf("before the first byte the file has %q", got)
	}
	if _, err := up.WriteAt([]byte("half"), 0); err != nil {
		t.Fatal(err)
	}
	if err := up.Cut(); err != nil {
		t.Fatal(err)
	}
	if got := content(t, name); got != "old content" {
		t.Errorf("after a cut the file has %q", got)
	}
	if err := put(t, tree, "f", "new", vfs.Create{}); err != nil {
		t.Fatal(err)
	}
	if got := content(t, name); got != "new" {
		t.Errorf("the file has %q", got)
	}
}

// A file that this process may not write is not replaced by a rename either.
func TestReadOnlyFileIsNotReplaced(t *testing.T) {
	if os.Geteuid() == 0 {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
	}
	tree, dir := open(t, SyncNone)
	name := filepath.Join(dir, "f")
	if err := os.WriteFile(name, []byte("old"), 0o444); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		// faccessat with AT_EACCESS asks the kernel for the effective identity.
		if err := rawSeteuid(65534); err != nil {
			t.Fatal(err)
		}
		defer rawSeteuid(0)
	}
	if err := put(t, tree, "f", "new", vfs.Create{}); fault.KindOf(err) != fault.Denied {
		t.Errorf("replaced a file of mode 0444: %v", err)
	}
}

// rawSeteuid changes the effective user of this thread alone.
func rawSeteuid(uid int) error {
	_, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, ^uintptr(0), uintptr(uid), ^uintptr(0))
	if errno != 0 {
		return errno
	}
	return nil
}

// No spelling, link or special file leads out of the tree or hangs the server.
func TestNothingLeadsOut(t *testing.T) {
	for _, jailed := range []struct {
		name string
		open func(string) (jail, error)
	}{{"openat2", openJail}, {"os.Root", openRoot}} {
		t.Run(jailed.name, func(t *testing.T) {
			outer := t.TempDir()
			dir := filepath.Join(outer, "jail")
			for _, err := range []error{
				os.Mkdir(dir, 0o755), os.Mkdir(filepath.Join(dir, "sub"), 0o755), os.Mkdir(filepath.Join(outer, "jail-too"), 0o755),
				os.WriteFile(filepath.Join(outer, "secret"), []byte("secret"), 0o644),
				os.Symlink("../secret", filepath.Join(dir, "up")),
				os.Symlink(filepath.Join(outer, "secret"), filepath.Join(dir, "absolute")),
				os.Symlink("/", filepath.Join(dir, "root")),
				os.Symlink("..", filepath.Join(dir, "dirup")),
				os.Symlink("sub/../../secret", filepath.Join(dir, "winding")),
				os.Symlink("loop", filepath.Join(dir, "loop")),
				os.Symlink("../jail-too", filepath.Join(dir, "sibling")),
				unix.Mkfifo(filepath.Join(dir, "fifo"), 0o666),
			} {
				if err != nil {
					t.Fatal(err)
				}
			}
			j, err := jailed.open(dir)
			if err != nil {
				t.Fatal(err)
			}
			tree := &Tree{disk: NewDisk(SyncNone, nil), jail: j}
			defer tree.Close()
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			for _, name := range []string{"up", "absolute", "winding", "loop", "root/etc/passwd", "dirup/secret", "sibling/x", "fifo"} {
				p := vpath(t, name)
				if f, err := tree.Open(ctx, p); err == nil {
					f.Close()
					t.Errorf("Open(%s) succeeds", name)
				}
				if up, err := tree.Create(ctx, p, vfs.Create{}); err == nil {
					_ = up.Discard()
					t.Errorf("Create(%s) succeeds", name)
				}
				if name != "fifo" {
					if err := tree.SetTime(ctx, p, time.Unix(1, 0)); err == nil {
						t.Errorf("SetTime(%s) succeeds", name)
					}
					if err := tree.Chmod(ctx, p, 0o777); err == nil {
						t.Errorf("Chmod(%s) succeeds", name)
					}
				}
			}
			for _, name := range []string{"root/tmp/x", "dirup/x", "sibling/x"} {
				if err := tree.Mkdir(ctx, vpath(t, name)); err == nil {
					t.Errorf("Mkdir(%s) succeeds", name)
				}
				if err := tree.Rename(ctx, vpath(t, "sub"), vpath(t, name), vfs.Overwrite); err == nil {
					t.Errorf("Rename to %s succeeds", name)
				}
			}
			if err := tree.Remove(ctx, vpath(t, "dirup/secret")); err == nil {
				t.Error("Remove leads out")
			}
			if got := content(t, filepath.Join(outer, "secret")); got != "secret" {
				t.Errorf("the file outside has %q", got)
			}
		})
	}
}

// A directory that is swapped for a link while a path is resolved leads nowhere.
func TestSymlinkRace(t *testing.T) {
	outer := t.TempDir()
	dir := filepath.Join(outer, "jail")
	for _, err := range []error{
		os.MkdirAll(filepath.Join(dir, "a"), 0o755), os.WriteFile(filepath.Join(dir, "a", "f"), []byte("inside"), 0o644),
		os.WriteFile(filepath.Join(outer, "f"), []byte("outside"), 0o644), os.Symlink("..", filepath.Join(dir, "b")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	tree, err := NewDisk(SyncNone, nil).Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
		for {
			select {
			case <-stop:
				return
			default:
				_ = unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE)
			}
		}
	})
	read := 0
	for range 3000 {
		f, err := tree.Open(t.Context(), vpath(t, "a/f"))
		if err != nil {
			continue
		}
		b := make([]byte, 16)
		n, _ := f.ReadAt(b, 0)
		f.Close()
		if read++; string(b[:n]) != "inside" {
			t.Fatalf("read %q through a swapped directory", b[:n])
		}
	}
	close(stop)
	wg.Wait()
	if read == 0 {
		t.Log("the race was never lost by the swapper; nothing was read")
	}
	if got := content(t, filepath.Join(outer, "f")); got != "outside" {
		t.Errorf("outside: %q", got)
	}
}

// Flushes of one directory are shared: those who come while one runs wait for
// one more, together.
func TestDirectoryFlushesAreGrouped(t *testing.T) {
	d := NewDisk(SyncCommit, nil)
	h := &slowDir{begun: make(chan struct{}, 100), let: make(chan struct{})}
	var wg sync.WaitGroup
	flush := func() {
		wg.Go(func() {
			if err := d.syncDir(h); err != nil {
				t.Error(err)
			}
		})
	}
	flush()
	<-h.begun
	for range 50 {
		flush()
	}
	for { // until all 50 wait
		d.mu.Lock()
		f := d.flushes[h.id()]
		waiting := f != nil && f.next != nil && f.next.members == 50
		d.mu.Unlock()
		if waiting {
			break
		}
		runtime.Gosched()
	}
	close(h.let)
	wg.Wait()
	if h.syncs != 2 {
		t.Errorf("51 flushes of one directory made %d; want 2", h.syncs)
	}
	if len(d.flushes) != 0 {
		t.Errorf("%d flushes remembered", len(d.flushes))
	}
}

type slowDir struct {
	handle
	begun, let chan struct{}
	syncs      int
}

func (s *slowDir) id() fileID { return fileID{1, 2} }

func (s *slowDir) sync() error {
	s.syncs++
	s.begun <- struct{}{}
	<-s.let
	return nil
}

// A note that somebody else planted is not believed.
func TestForgedNoteIsNotBelieved(t *testing.T) {
	tree, dir := open(t, SyncNone)
	outside := filepath.Join(filepath.Dir(dir), "outside")
	if err := os.WriteFile(outside, []byte("outside the tree"), 0o644); err != nil {
		t.Fatal(err)
	}
	fi, err := os.Stat(outside)
	if err != nil {
		t.Fatal(err)
	}
	st := fi.Sys().(*syscall.Stat_t)
	for _, name := range []string{"../outside", outside} {
		b, err := json.Marshal(note{[]byte(name), st.Dev, st.Ino, 3})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, noteName(name)), b, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := tree.Sweep(t.Context(), time.Now(), func(int64) {}); err != nil {
			t.Fatal(err)
		}
		if got := content(t, outside); got != "outside the tree" {
			t.Fatalf("a note about %q cut a file outside to %q", name, got)
		}
	}
}

// A replacement that was cut in its first bytes keeps a partial of nothing, so
// that nobody goes on from the length of the old file.
func TestEarlyCutKeepsOldAndNewApart(t *testing.T) {
	tree, dir := open(t, SyncNone)
	if err := os.WriteFile(filepath.Join(dir, "f"), []byte("finished"), 0o644); err != nil {
		t.Fatal(err)
	}
	up, err := tree.Create(t.Context(), vpath(t, "f"), vfs.Create{Owner: "alice"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := up.WriteAt([]byte("another"), 0); err != nil {
		t.Fatal(err)
	}
	if err := up.Cut(); err != nil {
		t.Fatal(err)
	}
	if fi, err := tree.Partial(t.Context(), vpath(t, "f"), "alice"); err != nil || fi.Size() != 0 {
		t.Errorf("partial: %v, %v; want one of no bytes", fi, err)
	}
}

// A listing of many entries allocates for the directory, not for each entry.
func TestListDoesNotAllocatePerEntry(t *testing.T) {
	tree, dir := open(t, SyncNone)
	const n = 2000
	for i := range n {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("file-%06d", i)), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	seen := 0
	allocs := testing.AllocsPerRun(5, func() {
		seen = 0
		for fi, err := range tree.List(t.Context(), vfs.Root) {
			if err != nil || !strings.HasPrefix(fi.Name(), "file-") {
				t.Fatal(fi, err)
			}
			seen++
		}
	})
	if seen != n || allocs > 50 {
		t.Errorf("%d entries listed with %.0f allocations; want %d with at most 50", seen, allocs, n)
	}
}

// A resume that begins before the partial's end cuts nothing until its first
// byte comes.
func TestResumeCutsWithItsFirstByte(t *testing.T) {
	tree, _ := open(t, SyncNone)
	leave := func(n int) {
		t.Helper()
		up, err := tree.Create(t.Context(), vpath(t, "f"), vfs.Create{Owner: "alice"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := up.WriteAt(make([]byte, n), 0); err != nil {
			t.Fatal(err)
		}
		if err := up.Cut(); err != nil {
			t.Fatal(err)
		}
	}
	leave(20_000 + vfs.CutTail)
	up, err := tree.Create(t.Context(), vpath(t, "f"), vfs.Create{How: vfs.Resume, Offset: 100, Owner: "alice"})
	if err != nil {
		t.Fatal(err)
	}
	if f := up.(vfs.Kernel).OSFile(); f != nil {
		t.Error("the kernel would write behind the old bytes")
	}
	if err := up.Cut(); err != nil {
		t.Fatal(err)
	}
	if fi, err := tree.Partial(t.Context(), vpath(t, "f"), "alice"); err != nil || fi.Size() != 20_000 {
		t.Errorf("after a resume without a byte: %v, %v; want all of the partial", fi, err)
	}
}

// A file that is removed or replaced while an upload is to be written over it
// is no place for a 226.
func TestWrittenOverFileMustStillBeThere(t *testing.T) {
	tree, dir, asRoot := unwritable(t)
	up, err := tree.Create(t.Context(), vpath(t, "f"), vfs.Create{})
	asRoot()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := up.WriteAt([]byte("new"), 0); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Chmod(dir, 0o755), os.Remove(filepath.Join(dir, "f"))); err != nil {
		t.Fatal(err)
	}
	if err := up.Commit(t.Context()); err == nil {
		t.Error("Commit says that a removed file was written")
	}
	if err := up.Cut(); err != nil {
		t.Error(err)
	}
}

// Of exclusive uploads that run at once, each whose Create has succeeded gets its
// name: what another one has just taken is seen by who comes next.
func TestANameThatWasFreeForAnExclusiveUploadStaysFree(t *testing.T) {
	for range 50 {
		tree, _ := open(t, SyncNone)
		names := []vfs.Path{vpath(t, "/0"), vpath(t, "/1"), vpath(t, "/2"), vpath(t, "/3")}
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				for _, p := range names {
					up, err := tree.Create(t.Context(), p, vfs.Create{How: vfs.New})
					if fault.KindOf(err) == fault.Exists {
						continue
					}
					if err == nil {
						err = up.Commit(t.Context())
					}
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
	}
}
