package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// safeDir does what ensureDir does, for root. The directories above a home may
// belong to the server's user. So it goes down from / by handles: it makes nothing
// behind a link that others than root could have planted (a *plantedError), and
// gives away nothing but what it has just made.
func safeDir(name string, mode fs.FileMode, uid, gid int) (d dir, err error) {
	if name, err = filepath.Abs(name); err != nil {
		return dir{}, err
	}
	for range 8 {
		// Somebody may make a part of the way at the same time.
		if d, err = walkDir(name, mode, uid, gid); !errors.Is(err, fs.ErrExist) {
			break
		}
	}
	return d, err
}

func walkDir(name string, mode fs.FileMode, uid, gid int) (dir, error) {
	w := &walk{}
	defer w.close()
	was, missing, err := w.down(name)
	if err != nil || was != nil {
		return dir{was: was}, err
	}
	type entry struct {
		parent *os.File // kept open for remove, which is called at once or never
		name   string
	}
	var made []entry
	remove := func() {
		for _, e := range slices.Backward(made) {
			_ = unix.Unlinkat(int(e.parent.Fd()), e.name, unix.AT_REMOVEDIR)
			_ = e.parent.Close()
		}
	}
	for ; len(missing) > 1; missing = missing[1:] {
		f, err := w.mkdir(missing[0], uid)
		if err != nil {
			remove()
			return dir{}, err
		}
		made = append(made, entry{w.at, missing[0]})
		w.at = nil
		if fileOwner(f) == os.Geteuid() {
			err = f.Chmod(0o755)
		}
		if err = errors.Join(err, w.enter(f)); err != nil {
			remove()
			return dir{}, err
		}
	}
	f, err := w.mkdir(missing[0], uid)
	if err != nil {
		remove()
		return dir{}, err
	}
	defer f.Close()
	made = append(made, entry{w.at, missing[0]})
	w.at = nil
	d := dir{remove: remove}
	fi, err := f.Stat()
	if err != nil || fileOwner(f) != os.Geteuid() {
		return d, err
	}
	if err := f.Chmod(mode | fi.Mode()&fs.ModeSetgid); err != nil { // the bit is from its parent
		return d, err
	}
	if uid >= 0 && uid != os.Geteuid() {
		d.given = f.Chown(uid, gid)
	}
	return d, nil
}

// A walk goes down from / and holds the directory that it has come to.
type walk struct {
	at     *os.File // opened with O_PATH
	pinned bool     // up to here nobody but root can replace what belongs to root
	closed bool     // nobody but root can add anything to at
}

func (w *walk) close() {
	if w.at != nil {
		_ = w.at.Close()
	}
}

// enter goes on to the directory f, which the walk then owns.
func (w *walk) enter(f *os.File) error {
	fi, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	st := fi.Sys().(*syscall.Stat_t)
	w.close()
	w.at = f
	w.closed = st.Uid == 0 && st.Mode&0o022 == 0
	// In a sticky directory, as /tmp, others can't rename what is root's.
	w.pinned = w.pinned && st.Uid == 0 && (w.closed || st.Mode&unix.S_ISVTX != 0)
	return nil
}

func (w *walk) top() error {
	f, err := os.OpenFile("/", unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	w.pinned = true
	return w.enter(f)
}

// maxLinks is how many links a name may lead over, as many as for the kernel.
const maxLinks = 40

// down goes down to name, which is absolute. It returns what is there, or the parts
// of name that are missing below w.at. It follows links of root in directories of
// root, but none at the end of name.
func (w *walk) down(name string) (was fs.FileInfo, missing []string, err error) {
	if err := w.top(); err != nil {
		return nil, nil, err
	}
	parts := partsOf(name)
	own := len(parts) // so many at the end of parts are of name, and not of a link
	for links := 0; len(parts) > 0; {
		f, err := w.look(parts[0])
		if errors.Is(err, fs.ErrNotExist) && len(parts) <= own {
			return nil, parts, nil
		}
		if err != nil {
			return nil, nil, err
		}
		fi, err := f.Stat()
		if err != nil {
			return nil, nil, errors.Join(err, f.Close())
		}
		if fi.IsDir() {
			if parts[0] == ".." && !w.pinned { // it is wherever others have moved w.at to
				return nil, nil, errors.Join(&plantedError{f.Name()}, f.Close())
			}
			if err := w.enter(f); err != nil {
				return nil, nil, err
			}
			parts = parts[1:]
			continue
		}
		target, err := w.target(f, fi)
		_ = f.Close()
		switch links++; {
		case len(parts) == 1:
			return fi, nil, nil
		case err != nil:
			return nil, nil, err
		case links > maxLinks:
			return nil, nil, &fs.PathError{Op: "open", Path: name, Err: unix.ELOOP}
		}
		own = min(own, len(parts)-1)
		parts = slices.Concat(partsOf(target), parts[1:])
		if filepath.IsAbs(target) {
			if err := w.top(); err != nil {
				return nil, nil, err
			}
		}
	}
	was, err = w.at.Stat()
	return was, nil, err
}

func partsOf(name string) []string {
	return slices.DeleteFunc(strings.Split(name, "/"), func(p string) bool { return p == "" || p == "." })
}

// look opens what has that name below the walk, a link itself.
func (w *walk) look(name string) (*os.File, error) {
	// With O_DIRECTORY, or nothing would be mounted that is mounted when it is used.
	f, err := w.open(name, unix.O_PATH|unix.O_DIRECTORY)
	if errors.Is(err, unix.ENOTDIR) {
		return w.open(name, unix.O_PATH)
	}
	return f, err
}

func (w *walk) open(name string, flags int) (*os.File, error) {
	at := filepath.Join(w.at.Name(), name)
	for {
		fd, err := unix.Openat(int(w.at.Fd()), name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		switch {
		case err == nil:
			return os.NewFile(uintptr(fd), at), nil
		case err != unix.EINTR:
			return nil, &fs.PathError{Op: "open", Path: at, Err: err}
		}
	}
}

// target is where the link f in the directory of the walk leads, if it may be
// followed.
func (w *walk) target(f *os.File, fi fs.FileInfo) (string, error) {
	if fi.Mode().Type() != fs.ModeSymlink {
		return "", &fs.PathError{Op: "open", Path: f.Name(), Err: unix.ENOTDIR}
	}
	// Where others may add names even a link of root's can be one of theirs: a hard
	// link to it.
	if uid, _, _ := ownersOf(fi); uid != 0 || !w.pinned || !w.closed {
		return "", &plantedError{f.Name()}
	}
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(int(f.Fd()), "", buf)
	if err != nil {
		return "", &fs.PathError{Op: "readlink", Path: f.Name(), Err: err}
	}
	return string(buf[:n]), nil
}

// mkdir makes a directory below the walk and opens it.
func (w *walk) mkdir(name string, uid int) (*os.File, error) {
	if err := unix.Mkdirat(int(w.at.Fd()), name, 0o700); err != nil {
		return nil, &fs.PathError{Op: "mkdir", Path: filepath.Join(w.at.Name(), name), Err: err}
	}
	return w.take(name, uid)
}

// take opens the directory that was just made. It is empty, for others may have put
// another one in its place, and belongs to who runs this, or to uid: there are file
// systems where everything does.
func (w *walk) take(name string, uid int) (*os.File, error) {
	f, err := w.open(name, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	if owner := fileOwner(f); owner != os.Geteuid() && (owner != uid || owner < 0) {
		err = fmt.Errorf("%s was made a moment ago and belongs to uid %d: make it by hand, while nobody else can change the directories above it", f.Name(), owner)
	} else if _, err = f.ReadDir(1); err == nil {
		err = fmt.Errorf("%s was made a moment ago and is not empty", f.Name())
	} else if err == io.EOF {
		return f, nil
	}
	return nil, errors.Join(err, f.Close())
}

// fileOwner is the uid of an open file, or -1.
func fileOwner(f *os.File) int {
	fi, err := f.Stat()
	if err != nil {
		return -1
	}
	uid, _, _ := ownersOf(fi)
	return uid
}
