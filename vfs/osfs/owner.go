package osfs

import (
	"fmt"
	"io/fs"
	"slices"
	"syscall"
)

// An Identity is whose rights the operations of a tree have and to whom the
// files belong that it makes. GID and Groups are taken as they are, 0 too; UID is
// never 0. Umask are the permission bits that new files (0666) and directories
// (0777) don't get, whatever the umask of the process is. In a directory with a
// default ACL that rules instead, as everywhere.
type Identity struct {
	UID, GID uint32
	Groups   []uint32 // supplementary
	Umask    fs.FileMode
}

// A HomeError is a home that its owner may not enter. It wraps syscall.EACCES.
type HomeError struct {
	Dir  string      // the home, or the directory above it that is in the way
	UID  uint32      // who may not enter it
	Mode fs.FileMode // of Dir; 0, and the next two mean nothing, when this process can't see it

	Owner, Group uint32 // of Dir
}

func (e *HomeError) Error() string {
	switch {
	case e.Mode == 0:
		return fmt.Sprintf("uid %d may not enter %s", e.UID, e.Dir)
	case e.Owner == e.UID:
		return fmt.Sprintf("uid %d may not enter %s, which has mode %04o", e.UID, e.Dir, e.Mode.Perm())
	}
	return fmt.Sprintf("uid %d may not enter %s: it belongs to somebody else (uid %d, gid %d, mode %04o)",
		e.UID, e.Dir, e.Owner, e.Group, e.Mode.Perm())
}

func (e *HomeError) Unwrap() error { return syscall.EACCES }

// OpenAs is Open for a tree whose every operation on paths runs with the file
// system identity of id, from finding dir on: the kernel checks its rights, and
// new files are its own. Reads and writes of open files don't, nor do functions
// of the caller's. It needs Linux 5.6 and the capabilities CAP_SETUID and
// CAP_SETGID: an error that wraps syscall.EPERM says that they are missing, or
// that others are there with which the kernel would check nothing. A home that
// is missing is fs.ErrNotExist, one that is no directory kind NotDir, and one
// that id may not enter a *HomeError.
func (d *Disk) OpenAs(dir string, id Identity) (*Tree, error) {
	const nobody = ^uint32(0) // -1: what system calls take for "leave it as it is"
	switch {
	case id.UID == 0:
		return nil, fmt.Errorf("open tree as uid 0: an owner is never root")
	case id.UID == nobody || id.GID == nobody || slices.Contains(id.Groups, nobody):
		return nil, fmt.Errorf("open tree as uid %d: %d is no id of a user or group", id.UID, nobody)
	}
	g, err := newGuise(id, d.log)
	if err != nil {
		return nil, fmt.Errorf("open tree as uid %d: %w", id.UID, err)
	}
	j, err := g.openJail(dir)
	if err != nil {
		return nil, fmt.Errorf("open tree as uid %d: %w", id.UID, err)
	}
	return &Tree{disk: d, jail: j, guise: g}, nil
}

// as runs what finds, opens or changes names, with the identity of the tree if it
// has one. op must not block on anybody, nor call what is not the tree's own: no
// function of the caller's, no log.
func (t *Tree) as(op func() error) error { return t.guise.run(op) }

// modes are the permission bits of a new name. exact: the umask of this process
// must not take any off.
type modes struct {
	bits  fs.FileMode
	exact bool
}

// modes says which of the bits in all a new name in a directory gets. It runs as
// the owner.
func (g *guise) modes(dir handle, all fs.FileMode) modes {
	if g == nil || dir.defaultACL() {
		return modes{bits: all}
	}
	return modes{bits: all &^ g.umask, exact: true}
}

// mkdir makes a directory. It runs as the owner.
func (g *guise) mkdir(d handle, name string) error {
	m := g.modes(d, 0o777)
	if err := d.mkdir(name, m.bits); err != nil || !m.exact {
		return err
	}
	if i, err := d.lstat(name); err == nil && i.IsDir() && i.mode.Perm() != m.bits {
		// A file system without modes refuses; set-gid is inherited, and stays.
		_ = d.chmod(name, m.bits|i.mode&fs.ModeSetgid)
	}
	return nil
}
