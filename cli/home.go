package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"dray/account"
	"dray/config"
)

// makeHome makes the home of a new account when it is missing and gives it to
// whoever will write to it: the owner of the account, else the user that the
// server runs as, who is the owner of the state directory. note says what the
// administrator has to know, or do.
func makeHome(home string, o *account.Owner, c *config.Config, w *where) (note string, err error) {
	if home == "" {
		return "", nil
	}
	fi, err := os.Stat(home)
	switch {
	case err == nil && !fi.IsDir():
		return "", usagef("home %s is a file\n      name a directory with --home", home)
	case err == nil:
		return "", nil
	case !errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("home %s: %w", home, err)
	}
	if err = os.MkdirAll(filepath.Dir(home), 0o755); err == nil {
		err = os.Mkdir(home, 0o750)
	}
	if err != nil {
		return "", fmt.Errorf("home %s can't be made: %w", home, err)
	}
	uid, gid := -1, -1
	if o != nil {
		uid, gid = int(o.UID), int(o.GID)
	} else if at, ok := ownerOf(stateOf(c, w)); ok {
		uid, gid = int(at.Uid), int(at.Gid)
	}
	if uid >= 0 && uid != os.Geteuid() {
		if err := os.Lchown(home, uid, gid); err != nil {
			return fmt.Sprintf("give the new home to its user: chown %d:%d %s", uid, gid, home), nil
		}
	}
	return "", nil
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
