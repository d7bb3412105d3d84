package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"

	"dray/account"
	"dray/config"
)

// A place is what was found out about a home, or made of it.
type place struct {
	made bool
	note string // what the administrator has to know, or do
}

// makeHome makes the home of an account when it is missing and gives it to
// whoever will write to it: the owner of the account, else the user that the
// server runs as, who is the owner of the state directory.
func makeHome(home string, o *account.Owner, c *config.Config, w *where) (place, error) {
	if home == "" {
		return place{}, nil
	}
	uid, gid, groups := -1, -1, []uint32(nil)
	if o != nil {
		uid, gid, groups = int(o.UID), int(o.GID), o.Groups
	} else if at, ok := ownerOf(stateOf(c, w)); ok {
		uid, gid = int(at.Uid), int(at.Gid)
	}
	fi, err := os.Stat(home)
	switch {
	case err == nil && !fi.IsDir():
		return place{}, usagef("home %s is a file\n      name a directory with --home", home)
	case err == nil:
		return place{note: mayWrite(home, fi, uid, gid, groups)}, nil
	case !errors.Is(err, fs.ErrNotExist):
		return place{}, fmt.Errorf("home %s: %w", home, err)
	}
	if err = os.MkdirAll(filepath.Dir(home), 0o755); err == nil {
		err = os.Mkdir(home, 0o750)
	}
	if err != nil {
		return place{}, fmt.Errorf("home %s can't be made: %w", home, err)
	}
	if uid >= 0 && uid != os.Geteuid() {
		if err := os.Lchown(home, uid, gid); err != nil {
			return place{true, fmt.Sprintf("give the new home to its user: chown %d:%d %s", uid, gid, home)}, nil
		}
	}
	return place{made: true}, nil
}

// undo takes back what makeHome has made, if it still can.
func (p place) undo(home string) {
	if p.made {
		_ = os.Remove(home)
	}
}

// mayWrite says what to do where the mode of a home keeps its user out. Lists of
// rights beside the mode (ACL) are not looked at.
func mayWrite(home string, fi fs.FileInfo, uid, gid int, groups []uint32) string {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok || uid <= 0 {
		return ""
	}
	need := fs.FileMode(0o003)
	switch {
	case int(st.Uid) == uid:
		need = 0o300
	case int(st.Gid) == gid || slices.Contains(groups, st.Gid):
		need = 0o030
	}
	if fi.Mode()&need == need {
		return ""
	}
	return fmt.Sprintf("the home %s belongs to uid %d, and its mode %04o lets uid %d not write, which does so for this account: chown %d:%d %s",
		home, st.Uid, fi.Mode().Perm(), uid, uid, gid, home)
}

// stateOf is the directory of the accounts, whose owner the server runs as.
func stateOf(c *config.Config, w *where) string {
	if w.database != "" {
		return filepath.Dir(w.database)
	}
	return filepath.Dir(c.Database())
}

func ownerOf(name string) (*syscall.Stat_t, bool) {
	fi, err := os.Stat(name)
	if err != nil {
		return nil, false
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	return st, ok
}

// becomeOwner makes root the owner of dir, for good: files that root made in it
// could not be opened by a server that runs as that user.
func becomeOwner(dir string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	st, ok := ownerOf(dir)
	if !ok || st.Uid == 0 {
		return nil
	}
	err := errors.Join(syscall.Setgroups([]int{int(st.Gid)}), syscall.Setgid(int(st.Gid)), syscall.Setuid(int(st.Uid)))
	if err != nil {
		return fmt.Errorf("can't become the owner of %s: %w", dir, err)
	}
	return nil
}

// idsOf are those of the user that a server is to become.
func idsOf(name string) (uid, gid int, err error) {
	u, err := user.Lookup(name)
	if err != nil {
		return 0, 0, usagef("user: this machine has no user %q\n      make it: useradd --system --user-group --no-create-home --shell /usr/sbin/nologin %s", name, name)
	}
	if uid, err = strconv.Atoi(u.Uid); err == nil {
		gid, err = strconv.Atoi(u.Gid)
	}
	if err == nil && uid == 0 {
		err = usagef("user: %q is root\n      name a user without privileges", name)
	}
	return uid, gid, err
}
