package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"

	"dray/account"
	"dray/config"
)

// A place is what was found out about a home, or made of it.
type place struct {
	note   string // what the administrator has to know, or do
	files  bool   // the home was there, with files in it
	remove func()
}

// undo takes back what makeHome has made, if it still can.
func (p place) undo() {
	if p.remove != nil {
		p.remove()
	}
}

// makeHome makes the home of an account when it is missing and gives it to
// whoever will write to it: the owner of the account, else the user that the
// server runs as, who is the owner of the state directory.
func makeHome(home string, o *account.Owner, c *config.Config, w *where) (place, error) {
	if home == "" {
		return place{}, nil
	}
	uid, gid, groups := actsAs(o, c, w)
	ensure := ensureDir
	if w.root {
		ensure = safeDir // root will do what the note says
	}
	d, err := ensure(home, 0o750, uid, gid)
	var planted *plantedError
	switch {
	case errors.As(err, &planted):
		return place{}, usagef("home %s: %v\n      name the directory that it leads to with --home, or remove the link", home, planted)
	case err != nil:
		return place{}, fmt.Errorf("home %s: %w", home, err)
	case d.was == nil && d.given != nil:
		return place{note: fmt.Sprintf("give the new home to its user: chown -h %d:%d %s", uid, gid, shellWord(home)), remove: d.remove}, nil
	case d.was == nil:
		return place{remove: d.remove}, nil
	case d.was.Mode().Type() == fs.ModeSymlink:
		return place{}, usagef("home %s is a link\n      name the directory that it leads to with --home", home)
	case !d.was.IsDir():
		return place{}, usagef("home %s is a file\n      name a directory with --home", home)
	}
	return place{note: mayWrite(home, d.was, uid, gid, groups), files: hasFiles(home)}, nil
}

// systemDirs are no homes: what is in them is the system's.
var systemDirs = []string{
	"/", "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/lib32", "/lib64", "/libx32", "/opt", "/proc", "/root", "/run", "/sbin", "/sys",
	"/usr", "/usr/bin", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/libx32", "/usr/local", "/usr/sbin", "/usr/share",
	"/var", "/var/lib", "/var/log",
}

// homeFlaw says why home can't be one, and what to do; "" when it can.
func homeFlaw(home string, c *config.Config) string {
	if home == "" {
		return ""
	}
	real := filepath.Clean(home)
	if to, err := filepath.EvalSymlinks(real); err == nil {
		real = to
	}
	if slices.Contains(systemDirs, filepath.Clean(home)) || slices.Contains(systemDirs, real) {
		return fmt.Sprintf("%q is a directory of the system; name one for the files of the account, as /srv/ftp/anna", home)
	}
	return exposed(home, c)
}

// exposed says why clients must not see dir; "" when they may.
func exposed(dir string, c *config.Config) string {
	if what := c.Exposes(dir); what != "" {
		return fmt.Sprintf("%q %s, which clients must not reach; name a directory apart from it", dir, what)
	}
	return ""
}

// hasFiles tells whether anything is in dir, also when nobody here may know.
func hasFiles(dir string) bool {
	f, err := os.Open(dir)
	if err != nil {
		return true
	}
	defer f.Close()
	_, err = f.ReadDir(1)
	return err != io.EOF
}

// mayEnter tells whether the mode of a directory lets a user in.
func mayEnter(fi fs.FileInfo, uid, gid int, groups []uint32) bool {
	owner, group, ok := ownersOf(fi)
	need := fs.FileMode(0o001)
	switch {
	case !ok || uid <= 0:
		return true
	case owner == uid:
		need = 0o100
	case group == gid || slices.Contains(groups, uint32(group)):
		need = 0o010
	}
	return fi.Mode()&need == need
}

// actsAs are the user, the group and further groups that serve an account: those
// of its owner, else of the state directory; -1 where they are not known.
func actsAs(o *account.Owner, c *config.Config, w *where) (uid, gid int, groups []uint32) {
	if o != nil {
		return int(o.UID), int(o.GID), o.Groups
	}
	if u, g, ok := ownerOf(stateOf(c, w)); ok {
		return u, g, nil
	}
	return -1, -1, nil
}

// mayWrite says what to do where the mode of a home keeps its user out. Lists of
// rights beside the mode (ACL) are not looked at.
func mayWrite(home string, fi fs.FileInfo, uid, gid int, groups []uint32) string {
	owner, group, ok := ownersOf(fi)
	if !ok || uid <= 0 {
		return ""
	}
	need := fs.FileMode(0o003)
	switch {
	case owner == uid:
		need = 0o300
	case group == gid || slices.Contains(groups, uint32(group)):
		need = 0o030
	}
	if fi.Mode()&need == need {
		return ""
	}
	if owner == 0 && hasFiles(home) {
		return fmt.Sprintf("the home %s belongs to root and is not empty, and its mode %04o lets uid %d not write, which does so for this account: name another directory if it has to",
			home, fi.Mode().Perm(), uid)
	}
	return fmt.Sprintf("the home %s belongs to uid %d, and its mode %04o lets uid %d not write, which does so for this account: chown -h %d:%d %s",
		home, owner, fi.Mode().Perm(), uid, uid, gid, shellWord(home))
}

// stateOf is the directory of the accounts, whose owner the server runs as.
func stateOf(c *config.Config, w *where) string {
	if w.database != "" {
		return filepath.Dir(w.database)
	}
	return filepath.Dir(c.Database())
}

// ownerOf are the user and the group of what name leads to.
func ownerOf(name string) (uid, gid int, ok bool) {
	fi, err := os.Stat(name)
	if err != nil {
		return -1, -1, false
	}
	return ownersOf(fi)
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
