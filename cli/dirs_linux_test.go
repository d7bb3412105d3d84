package cli

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// stranger is a user who is not root, and need not exist.
const stranger = 54321

// rootPlace is a directory of root's that nobody else can change.
func rootPlace(t *testing.T) string {
	t.Helper()
	asRoot(t)
	place, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	must(t, os.Chmod(place, 0o755))
	return place
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// modeOf is the owner and the mode of what has a name, of a link itself.
func modeOf(t *testing.T, name string) (uid int, mode fs.FileMode) {
	t.Helper()
	fi, err := os.Lstat(name)
	must(t, err)
	uid, _, _ = ownersOf(fi)
	return uid, fi.Mode()
}

func TestRootFollowsOnlyLinksThatOnlyRootCanHaveMade(t *testing.T) {
	tests := []struct {
		name    string
		prepare func(t *testing.T) // in the directory that holds all of it
		dir     string
		made    string // where it must be afterwards; "": nowhere
		planted string // the link that is named
		err     error
	}{
		{name: "without a link", dir: "a/b/home", made: "a/b/home"},
		{
			name: "below a directory of somebody else", dir: "theirs/a/home", made: "theirs/a/home",
			prepare: func(t *testing.T) { must(t, os.Mkdir("theirs", 0o755), os.Chown("theirs", stranger, stranger)) },
		},
		{
			name: "over a link of root in a directory of root", dir: "link/a/home", made: "real/a/home",
			prepare: func(t *testing.T) { must(t, os.Mkdir("real", 0o755), os.Symlink("real", "link")) },
		},
		{
			name: "over links that lead up, to the top and to links", dir: "first/home", made: "real/home",
			prepare: func(t *testing.T) {
				here, err := os.Getwd()
				must(t, err, os.MkdirAll("x/y", 0o755), os.Mkdir("real", 0o755),
					os.Symlink("x/y/up", "first"), os.Symlink("../../second", "x/y/up"), os.Symlink(here+"/./real/", "second"))
			},
		},
		{
			name: "not over a link of somebody else", dir: "link/home", planted: "link",
			prepare: func(t *testing.T) {
				must(t, os.Mkdir("etc", 0o755), os.Symlink("etc", "link"), os.Lchown("link", stranger, stranger))
			},
		},
		{
			name: "not over a link in a directory of somebody else", dir: "theirs/link/home", planted: "theirs/link",
			prepare: func(t *testing.T) {
				must(t, os.Mkdir("etc", 0o755), os.Mkdir("theirs", 0o755), os.Symlink("../etc", "theirs/link"), os.Chown("theirs", stranger, stranger))
			},
		},
		{
			name: "not over a link in a directory of root that all may write to", dir: "all/link/home", planted: "all/link",
			prepare: func(t *testing.T) {
				must(t, os.Mkdir("etc", 0o755), os.Mkdir("all", 0o755), os.Symlink("../etc", "all/link"), os.Chmod("all", 0o777|fs.ModeSticky))
			},
		},
		{
			name: "over a link in a directory of root in a sticky one", dir: "all/mine/link/home", made: "real/home",
			prepare: func(t *testing.T) {
				must(t, os.Mkdir("real", 0o755), os.MkdirAll("all/mine", 0o755), os.Symlink("../../real", "all/mine/link"), os.Chmod("all", 0o777|fs.ModeSticky))
			},
		},
		{
			name: "not over a link in a directory of root that others can move", dir: "theirs/mine/link/home", planted: "theirs/mine/link",
			prepare: func(t *testing.T) {
				must(t, os.Mkdir("etc", 0o755), os.MkdirAll("theirs/mine", 0o755), os.Symlink("../../etc", "theirs/mine/link"), os.Chown("theirs", stranger, stranger))
			},
		},
		{
			name: "not over a link of root's to one of somebody else", dir: "link/home", planted: "theirs/link",
			prepare: func(t *testing.T) {
				must(t, os.Mkdir("etc", 0o755), os.Mkdir("theirs", 0o755), os.Symlink("../etc", "theirs/link"), os.Chown("theirs", stranger, stranger),
					os.Symlink("theirs/link", "link"))
			},
		},
		{
			name: "not up from a directory of somebody else", dir: "link/home", planted: "theirs/a",
			prepare: func(t *testing.T) {
				must(t, os.MkdirAll("theirs/a/b", 0o755), os.Chown("theirs", stranger, stranger), os.Symlink("theirs/a/b/..", "link"))
			},
		},
		{
			name: "nothing is made where a link leads to nothing", dir: "link/home", err: fs.ErrNotExist,
			prepare: func(t *testing.T) { must(t, os.Symlink("nowhere/real", "link")) },
		},
		{
			name: "links in a circle", dir: "link/home", err: unix.ELOOP,
			prepare: func(t *testing.T) { must(t, os.Symlink("other", "link"), os.Symlink("link", "other")) },
		},
		{
			name: "a file on the way", dir: "file/home", err: unix.ENOTDIR,
			prepare: func(t *testing.T) { must(t, os.WriteFile("file", nil, 0o644)) },
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			place := rootPlace(t)
			t.Chdir(place)
			if tt.prepare != nil {
				tt.prepare(t)
			}
			d, err := ensureDir(tt.dir, 0o750, stranger, stranger)
			var planted *plantedError
			switch {
			case tt.planted != "":
				if !errors.As(err, &planted) || planted.name != filepath.Join(place, tt.planted) {
					t.Errorf("ensureDir(%q): %v; want it to name the link %s", tt.dir, err, tt.planted)
				}
			case tt.err != nil:
				if !errors.Is(err, tt.err) {
					t.Errorf("ensureDir(%q): %v; want %v", tt.dir, err, tt.err)
				}
			case err != nil || d.was != nil || d.given != nil:
				t.Fatalf("ensureDir(%q) = %+v, %v; want a new one", tt.dir, d, err)
			}
			var found []string
			must(t, filepath.WalkDir(place, func(name string, e fs.DirEntry, err error) error {
				if e.Name() == "home" {
					found = append(found, name)
				}
				return err
			}))
			if tt.made == "" {
				if len(found) > 0 {
					t.Errorf("it was made: %q", found)
				}
				return
			}
			want := filepath.Join(place, tt.made)
			if len(found) != 1 || found[0] != want {
				t.Fatalf("it was made at %q; want %s", found, want)
			}
			if uid, mode := modeOf(t, want); uid != stranger || mode != fs.ModeDir|0o750 {
				t.Errorf("it belongs to uid %d and has the mode %v", uid, mode)
			}
			if d, err := ensureDir(tt.dir, 0o700, -1, -1); err != nil || d.was == nil || d.was.Mode() != fs.ModeDir|0o750 {
				t.Errorf("once more: %+v, %v; want what was made before", d, err)
			}
			d.remove()
			if _, err := os.Lstat(want); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("after remove: %v; want it to be gone", err)
			}
		})
	}
}

func TestALinkAtTheEndOfANameIsNotFollowed(t *testing.T) {
	t.Chdir(rootPlace(t))
	must(t, os.Mkdir("etc", 0o700), os.Symlink("etc", "home"), os.Symlink("nowhere", "hanging"))
	for _, name := range []string{"home", "hanging"} {
		d, err := ensureDir(name, 0o750, stranger, stranger)
		if err != nil || d.was == nil || d.was.Mode().Type() != fs.ModeSymlink {
			t.Errorf("ensureDir(%q) = %+v, %v; want the link itself", name, d, err)
		}
		if err := newDir("hanging", 0o750, stranger, stranger); err == nil {
			t.Error("a directory was made where a link is")
		}
	}
	if uid, mode := modeOf(t, "etc"); uid != 0 || mode != fs.ModeDir|0o700 {
		t.Errorf("what the link leads to belongs to uid %d and has the mode %v", uid, mode)
	}
}

func TestANewHomeKeepsTheGroupBitOfTheDirectoryAboveIt(t *testing.T) {
	t.Chdir(rootPlace(t))
	must(t, os.Mkdir("homes", 0o755), os.Chmod("homes", 0o755|fs.ModeSetgid))
	_, err := ensureDir("homes/anna", 0o750, stranger, stranger)
	must(t, err)
	if _, mode := modeOf(t, "homes/anna"); mode != fs.ModeDir|fs.ModeSetgid|0o750 {
		t.Errorf("its mode is %v", mode)
	}
}

// What was there before is in the place of what root has just made.
func TestADirectoryThatIsNotTheNewOneIsNotGivenAway(t *testing.T) {
	tests := []struct {
		name    string
		prepare func() error
		refused bool
	}{
		{"the new one", func() error { return os.Mkdir("home", 0o700) }, false},
		{"one of root's that holds something", func() error { return os.MkdirAll("home/keys", 0o700) }, true},
		{"one of somebody else", func() error { return errors.Join(os.Mkdir("home", 0o700), os.Chown("home", stranger, stranger)) }, true},
		{"a link", func() error { return errors.Join(os.Mkdir("etc", 0o700), os.Symlink("etc", "home")) }, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Chdir(rootPlace(t))
			must(t, tt.prepare())
			here, err := os.Getwd()
			must(t, err)
			w := &walk{}
			defer w.close()
			_, _, err = w.down(here)
			must(t, err)
			f, err := w.take("home", 0)
			if (err != nil) != tt.refused {
				t.Errorf("it is taken for the new one with %v", err)
			}
			if err == nil {
				must(t, f.Close())
			}
		})
	}
}

// Somebody who can change the directory above a home changes it all the time.
func TestNothingOfRootsIsGivenAwayWhateverIsSwapped(t *testing.T) {
	place := rootPlace(t)
	t.Chdir(place)
	must(t, os.MkdirAll("homes/team", 0o755), os.Chown("homes", stranger, stranger), os.Chown("homes/team", stranger, stranger),
		os.MkdirAll("etc/keys", 0o700), os.Symlink("../etc", "homes/trap"), os.Symlink(place+"/etc/keys", "homes/away"))
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
			}
			_ = unix.Renameat2(unix.AT_FDCWD, "homes/team", unix.AT_FDCWD, "homes/trap", unix.RENAME_EXCHANGE)
			_ = unix.Renameat2(unix.AT_FDCWD, "homes/new", unix.AT_FDCWD, "homes/away", unix.RENAME_EXCHANGE)
		}
	}()
	made := 0
	for range 2000 {
		for _, name := range []string{"homes/team/evil", "homes/new", "homes/new/sub"} {
			d, err := ensureDir(name, 0o750, stranger, stranger)
			if err == nil && d.was == nil {
				made++
				d.remove()
			}
		}
	}
	close(stop)
	<-stopped
	if made == 0 {
		t.Error("nothing was ever made, so nothing was tried")
	}
	must(t, filepath.WalkDir("etc", func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name != "etc" && name != "etc/keys" {
			t.Errorf("%s was made", name)
		}
		if uid, mode := modeOf(t, name); uid != 0 || mode.Perm() != 0o700 {
			t.Errorf("%s belongs to uid %d and has the mode %v", name, uid, mode)
		}
		return nil
	}))
}

func TestUndoRemovesNothingElse(t *testing.T) {
	t.Chdir(rootPlace(t))
	must(t, os.MkdirAll("homes/team", 0o755), os.Chown("homes", stranger, stranger), os.MkdirAll("etc/evil", 0o755))
	d, err := ensureDir("homes/team/evil", 0o750, stranger, stranger)
	must(t, err, os.Rename("homes/team", "homes/moved"), os.Symlink("../etc", "homes/team"))
	place{remove: d.remove}.undo()
	if _, err := os.Lstat("etc/evil"); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat("homes/moved/evil"); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("the home is still there: %v", err)
	}
}
