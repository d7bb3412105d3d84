package osfs

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"dray/vfs"
)

const (
	openDirectory = unix.O_DIRECTORY
	openNonblock  = unix.O_NONBLOCK
	openNoAtime   = unix.O_NOATIME
)

// openJail takes openat2 where the kernel has it (5.6) and nothing forbids it,
// else os.Root.
func openJail(dir string) (jail, error) {
	j, err := openBeneath(dir)
	if errors.Is(err, errNoOpenat2) {
		return openRoot(dir)
	}
	if err != nil {
		return nil, err
	}
	return j, nil
}

var errNoOpenat2 = errors.New("no openat2 here")

func openBeneath(dir string) (*beneath, error) {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: dir, Err: err}
	}
	j := &beneath{fd: fd}
	probe, err := j.openat2(".", unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		_ = unix.Close(fd)
		if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EINVAL) {
			return nil, errNoOpenat2
		}
		return nil, &fs.PathError{Op: "open", Path: dir, Err: err}
	}
	_ = unix.Close(probe)
	return j, nil
}

// beneath is a jail by openat2 with RESOLVE_BENEATH.
type beneath struct {
	fd   int
	also uint64 // RESOLVE_NO_SYMLINKS, or nothing
}

func (j *beneath) straight() { j.also = unix.RESOLVE_NO_SYMLINKS }

func (j *beneath) openat2(rel string, flags int, perm fs.FileMode) (int, error) {
	how := unix.OpenHow{
		Flags:   uint64(flags) | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS | j.also,
	}
	if flags&unix.O_CREAT != 0 {
		how.Mode = uint64(perm.Perm())
	}
	for tries := 0; ; tries++ {
		fd, err := unix.Openat2(j.fd, rel, &how)
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN && flags&unix.O_NONBLOCK == 0 && tries < 100,
			err == unix.EAGAIN && tries < 10: // openat2(2): a ".." raced with a rename elsewhere
		default:
			return fd, err
		}
	}
}

func (j *beneath) open(rel string, flags int, perm fs.FileMode) (*os.File, error) {
	fd, err := j.openat2(rel, flags, perm)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: rel, Err: err}
	}
	return newFile(fd, rel, flags), nil
}

// newFile keeps the descriptor blocking: a regular file never blocks, and the
// poller would only cost.
func newFile(fd int, name string, flags int) *os.File {
	if flags&unix.O_NONBLOCK != 0 {
		_ = unix.SetNonblock(fd, false)
	}
	return os.NewFile(uintptr(fd), name)
}

func (j *beneath) stat(rel string, follow bool) (*info, error) {
	flags := unix.O_PATH
	if !follow {
		flags |= unix.O_NOFOLLOW
	}
	fd, err := j.openat2(rel, flags, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "stat", Path: rel, Err: err}
	}
	defer unix.Close(fd)
	i := &info{name: path.Base(rel)}
	if err := statx(fd, &emptyName[0], unix.AT_EMPTY_PATH, i); err != nil {
		return nil, &fs.PathError{Op: "stat", Path: rel, Err: err}
	}
	return i, nil
}

// noLinks resolves rel without links: one in it is ELOOP, also before a part that
// is missing.
func (j *beneath) noLinks(rel string) bool {
	fd, err := unix.Openat2(j.fd, rel, &unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_CLOEXEC, // with O_NOFOLLOW the last part might be one
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS,
	})
	if err == nil {
		_ = unix.Close(fd)
	}
	return err == nil || err == unix.ENOENT || err == unix.ENOTDIR
}

func (j *beneath) dir(rel string) (handle, error) {
	// Not O_PATH: fsync needs a descriptor that is open for reading. A directory
	// that may be entered and not read still works, without durability for its names.
	fd, err := j.openat2(rel, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if errors.Is(err, unix.EACCES) {
		fd, err = j.openat2(rel, unix.O_PATH|unix.O_DIRECTORY, 0)
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: rel, Err: err}
	}
	return &dirfd{fd: fd}, nil
}

func (j *beneath) rename(from, to string, how vfs.Rename) error {
	a, err := j.dir(path.Dir(from))
	if err != nil {
		return err
	}
	defer a.close()
	b, err := j.dir(path.Dir(to))
	if err != nil {
		return err
	}
	defer b.close()
	return renameat(a.(*dirfd).fd, path.Base(from), b.(*dirfd).fd, path.Base(to), how)
}

func (j *beneath) link(old, name string) error {
	a, err := j.dir(path.Dir(old))
	if err != nil {
		return err
	}
	defer a.close()
	b, err := j.dir(path.Dir(name))
	if err != nil {
		return err
	}
	defer b.close()
	if err := unix.Linkat(a.(*dirfd).fd, path.Base(old), b.(*dirfd).fd, path.Base(name), 0); err != nil {
		return &os.LinkError{Op: "link", Old: old, New: name, Err: err}
	}
	return nil
}

func (j *beneath) close() error { return unix.Close(j.fd) }

// dirfd is a directory handle.
type dirfd struct{ fd int }

func (d *dirfd) open(name string, flags int, perm fs.FileMode) (*os.File, error) {
	for {
		fd, err := unix.Openat(d.fd, name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, uint32(perm.Perm()))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, &fs.PathError{Op: "open", Path: name, Err: err}
		}
		return newFile(fd, name, flags), nil
	}
}

func (d *dirfd) lstat(name string) (*info, error) {
	p, err := unix.BytePtrFromString(name)
	if err != nil {
		return nil, err
	}
	i := &info{name: name}
	if err := statx(d.fd, p, unix.AT_SYMLINK_NOFOLLOW, i); err != nil {
		return nil, &fs.PathError{Op: "lstat", Path: name, Err: err}
	}
	return i, nil
}

func (d *dirfd) mkdir(name string, perm fs.FileMode) error {
	return pathErr("mkdir", name, unix.Mkdirat(d.fd, name, uint32(perm.Perm())))
}

func (d *dirfd) unlink(name string) error {
	return pathErr("remove", name, unix.Unlinkat(d.fd, name, 0))
}

func (d *dirfd) rmdir(name string) error {
	return pathErr("rmdir", name, unix.Unlinkat(d.fd, name, unix.AT_REMOVEDIR))
}

func (d *dirfd) rename(from, to string, how vfs.Rename) error {
	return renameat(d.fd, from, d.fd, to, how)
}

func (d *dirfd) readlink(name string) (string, error) {
	buf := make([]byte, vfs.MaxPath)
	n, err := unix.Readlinkat(d.fd, name, buf)
	if err != nil {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: err}
	}
	return string(buf[:n]), nil
}

func (d *dirfd) chtimes(name string, atime, mtime time.Time) error {
	ts := [2]unix.Timespec{spec(atime), spec(mtime)}
	return pathErr("chtimes", name, unix.UtimesNanoAt(d.fd, name, ts[:], unix.AT_SYMLINK_NOFOLLOW))
}

func (d *dirfd) linkTime(name string, mtime time.Time) error {
	return d.chtimes(name, time.Time{}, mtime)
}

func spec(t time.Time) unix.Timespec {
	if t.IsZero() {
		return unix.Timespec{Nsec: unix.UTIME_OMIT}
	}
	ts, err := unix.TimeToTimespec(t)
	if err != nil { // beyond what this machine's time_t holds
		return unix.Timespec{Nsec: unix.UTIME_OMIT}
	}
	return ts
}

// chmod goes through a handle of the file itself: fchmodat would follow a link
// that takes the name's place meanwhile.
func (d *dirfd) chmod(name string, perm fs.FileMode) error {
	fd, err := unix.Openat(d.fd, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return pathErr("chmod", name, err)
	}
	defer unix.Close(fd)
	bits := uint32(perm.Perm())
	if perm&fs.ModeSetgid != 0 {
		bits |= unix.S_ISGID
	}
	// The kernel lets every thread of a process follow these, whatever its identity
	// for file systems is.
	err = unix.Chmod("/proc/self/fd/"+strconv.Itoa(fd), bits)
	if errors.Is(err, unix.ENOENT) { // no /proc here
		f, oerr := d.open(name, unix.O_RDONLY|unix.O_NONBLOCK, 0)
		if oerr != nil {
			return oerr
		}
		defer f.Close()
		return f.Chmod(perm.Perm())
	}
	return pathErr("chmod", name, err)
}

func (d *dirfd) writable(name string) error {
	// Not unix.Faccessat: where the kernel lacks the call (before 5.8) that one
	// reckons with the effective user, who need not be the thread's for files.
	err := unix.Faccessat2(d.fd, name, unix.W_OK, unix.AT_EACCESS)
	if err == unix.ENOSYS || err == unix.EPERM { // or a filter forbids it
		f, err := d.open(name, unix.O_WRONLY|unix.O_NONBLOCK, 0)
		if err != nil {
			return err
		}
		return f.Close()
	}
	return pathErr("write", name, err)
}

func (d *dirfd) defaultACL() bool {
	n, err := unix.Fgetxattr(d.fd, "system.posix_acl_default", nil)
	return err == nil && n > 0
}

func (d *dirfd) symlink(target, name string) error {
	if err := unix.Symlinkat(target, d.fd, name); err != nil {
		return &os.LinkError{Op: "symlink", Old: target, New: name, Err: err}
	}
	return nil
}

func (d *dirfd) sync() error {
	err := unix.Fsync(d.fd)
	if err == unix.EBADF || err == unix.EINVAL { // an O_PATH handle, or a file system without it
		return nil
	}
	return err
}

func (d *dirfd) info() (*info, error) {
	i := &info{name: "."}
	if err := statx(d.fd, &emptyName[0], unix.AT_EMPTY_PATH, i); err != nil {
		return nil, pathErr("stat", ".", err)
	}
	return i, nil
}

func (d *dirfd) id() fileID {
	i, err := d.info()
	if err != nil {
		return fileID{}
	}
	return i.id()
}

func (d *dirfd) close() error { return unix.Close(d.fd) }

func renameat(fromfd int, from string, tofd int, to string, how vfs.Rename) error {
	var flags uint
	if how == vfs.NoReplace {
		flags = unix.RENAME_NOREPLACE
	}
	err := unix.Renameat2(fromfd, from, tofd, to, flags)
	if how == vfs.NoReplace && errors.Is(err, unix.EINVAL) { // a file system without the flag
		if err = unix.Linkat(fromfd, from, tofd, to, 0); err == nil {
			err = unix.Unlinkat(fromfd, from, 0)
		}
	}
	if err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}

func pathErr(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: name, Err: err}
}

var emptyName [1]byte

// statx fills i but for its name. name is NUL terminated.
func statx(dirfd int, name *byte, flags int, i *info) error {
	var st unix.Statx_t
	for {
		_, _, errno := unix.Syscall6(unix.SYS_STATX, uintptr(dirfd), uintptr(unsafe.Pointer(name)),
			uintptr(flags), unix.STATX_BASIC_STATS, uintptr(unsafe.Pointer(&st)), 0)
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 {
			return errno
		}
		break
	}
	i.size = int64(st.Size)
	i.mode = fileMode(st.Mode)
	i.mtime = time.Unix(st.Mtime.Sec, int64(st.Mtime.Nsec))
	i.atime = time.Unix(st.Atime.Sec, int64(st.Atime.Nsec))
	i.ctime = time.Unix(st.Ctime.Sec, int64(st.Ctime.Nsec))
	i.attr = vfs.Attr{
		Links: uint64(st.Nlink), UID: st.Uid, GID: st.Gid,
		Dev: unix.Mkdev(st.Dev_major, st.Dev_minor), Ino: st.Ino,
	}
	return nil
}

func fileMode(m uint16) fs.FileMode {
	mode := fs.FileMode(m & 0o777)
	switch m & unix.S_IFMT {
	case unix.S_IFDIR:
		mode |= fs.ModeDir
	case unix.S_IFLNK:
		mode |= fs.ModeSymlink
	case unix.S_IFIFO:
		mode |= fs.ModeNamedPipe
	case unix.S_IFSOCK:
		mode |= fs.ModeSocket
	case unix.S_IFCHR:
		mode |= fs.ModeDevice | fs.ModeCharDevice
	case unix.S_IFBLK:
		mode |= fs.ModeDevice
	}
	if m&unix.S_ISUID != 0 {
		mode |= fs.ModeSetuid
	}
	if m&unix.S_ISGID != 0 {
		mode |= fs.ModeSetgid
	}
	if m&unix.S_ISVTX != 0 {
		mode |= fs.ModeSticky
	}
	return mode
}

const (
	direntBytes = 8 << 10 // few enough that what was read is still in the processor's cache when it is looked at
	listBatch   = 128     // entries that are looked at in one guise
)

// A batch is what a listing holds: used again for every entry, so that a million
// cost as much memory as one.
type batch struct {
	buf   [direntBytes]byte
	rest  []byte // of buf: read and not yet looked at
	infos [listBatch]info
}

var batchPool = sync.Pool{New: func() any { return new(batch) }}

// list walks an open directory. Entries are looked at in the guise, one by one
// where there is none, and yielded outside of it.
func list(ctx context.Context, f *os.File, g *guise, yield func(fs.FileInfo, error) bool) {
	b := batchPool.Get().(*batch)
	defer func() {
		clear(b.infos[:]) // their names are in the buffer
		b.rest = nil
		batchPool.Put(b)
	}()
	fd, size := int(f.Fd()), 1
	if g != nil {
		size = listBatch
	}
	var n int
	fill := func() (err error) {
		n, err = b.fill(fd, b.infos[:size])
		return err
	}
	for {
		if err := context.Cause(ctx); err != nil {
			yield(nil, err)
			return
		}
		err := g.run(fill)
		for i := range n {
			if !yield(&b.infos[i], nil) {
				return
			}
		}
		if err != nil {
			yield(nil, err)
			return
		}
		if n == 0 {
			return
		}
	}
}

// fill looks at the next entries, as many as there is place for and are in the
// buffer, and tells how many; 0 at the end.
func (b *batch) fill(fd int, infos []info) (n int, err error) {
	for n < len(infos) {
		if len(b.rest) == 0 {
			if n > 0 { // their names are in the buffer
				return n, nil
			}
			got, err := unix.ReadDirent(fd, b.buf[:])
			if err == unix.EINTR {
				continue
			}
			if err != nil {
				return 0, &fs.PathError{Op: "list", Path: ".", Err: err}
			}
			if got <= 0 {
				return 0, nil
			}
			b.rest = b.buf[:got]
		}
		// struct linux_dirent64: ino 8, off 8, reclen 2, type 1, name
		reclen := int(b.rest[16]) | int(b.rest[17])<<8
		raw := b.rest[19:reclen]
		b.rest = b.rest[reclen:]
		end := 0
		for end < len(raw) && raw[end] != 0 {
			end++
		}
		name := unsafe.String(&raw[0], end) // valid until the next step, as List says
		if name == "." || name == ".." || strings.HasPrefix(name, vfs.Hidden) {
			continue
		}
		i := &infos[n]
		i.name = name
		if err := statx(fd, &raw[0], unix.AT_SYMLINK_NOFOLLOW, i); err != nil {
			if err == unix.ENOENT { // removed since the directory was read
				continue
			}
			return n, &fs.PathError{Op: "stat", Path: strings.Clone(name), Err: err}
		}
		n++
	}
	return n, nil
}

// names lists the names of an open directory that begin with vfs.Hidden, and
// separately those of its subdirectories.
func (d *dirfd) names() (hiddenNames, dirs []string, err error) {
	f, err := d.open(".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	return hiddenAndDirs(f)
}

func space(f *os.File) (free, total uint64, err error) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &st); err != nil {
		return 0, 0, err
	}
	return st.Bavail * uint64(st.Frsize), st.Blocks * uint64(st.Frsize), nil
}

// lockFile takes a lock that ends with the process, waiting for it. A file
// system without locks is no error: Sweep then goes by age.
func lockFile(f *os.File) {
	for unix.Flock(int(f.Fd()), unix.LOCK_EX) == unix.EINTR {
	}
}

// tryLockFile tells whether nobody holds the lock; known is false where the file
// system has none.
func tryLockFile(f *os.File) (free, known bool) {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	return err == nil, err == nil || err == unix.EWOULDBLOCK
}

func linked(f *os.File) bool {
	var i info
	return statx(int(f.Fd()), &emptyName[0], unix.AT_EMPTY_PATH, &i) == nil && i.attr.Links > 0
}

// fstat is the info of an open file.
func fstat(f *os.File) (*info, error) {
	i := &info{name: path.Base(f.Name())}
	if err := statx(int(f.Fd()), &emptyName[0], unix.AT_EMPTY_PATH, i); err != nil {
		return nil, &fs.PathError{Op: "stat", Path: i.name, Err: err}
	}
	return i, nil
}

func setFileTime(f *os.File, mtime time.Time) error {
	ts := [2]unix.Timespec{spec(time.Time{}), spec(mtime)}
	// UtimesNanoAt has no form for a bare descriptor; the empty name with
	// AT_EMPTY_PATH is one (utimensat(2), Linux 5.8), /proc the older way.
	err := unix.UtimesNanoAt(int(f.Fd()), "", ts[:], unix.AT_EMPTY_PATH)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
		err = unix.UtimesNanoAt(unix.AT_FDCWD, "/proc/self/fd/"+strconv.Itoa(int(f.Fd())), ts[:], 0)
	}
	return pathErr("chtimes", path.Base(f.Name()), err)
}

// inherit gives the new file what the old one has and a rename would lose:
// owner and group, ACL and extended attributes, as far as this process may.
func inherit(to, from *os.File, old *info) {
	fresh, err := fstat(to)
	if err != nil {
		return
	}
	if uid, gid := int(old.attr.UID), int(old.attr.GID); old.attr.UID != fresh.attr.UID || old.attr.GID != fresh.attr.GID {
		if unix.Fchown(int(to.Fd()), uid, gid) != nil {
			_ = unix.Fchown(int(to.Fd()), -1, gid)
		}
	}
	if from == nil {
		return
	}
	src, dst := int(from.Fd()), int(to.Fd())
	size, err := unix.Flistxattr(src, nil)
	if err != nil || size == 0 {
		return
	}
	names := make([]byte, size)
	if size, err = unix.Flistxattr(src, names); err != nil {
		return
	}
	for name := range strings.SplitSeq(strings.TrimRight(string(names[:size]), "\x00"), "\x00") {
		// Capabilities were given to the old content, as set-uid was.
		if strings.HasPrefix(name, "security.") && name != "security.selinux" || name == nameAttr {
			continue
		}
		n, err := unix.Fgetxattr(src, name, nil)
		if err != nil {
			continue
		}
		value := make([]byte, n)
		if n, err = unix.Fgetxattr(src, name, value); err == nil {
			_ = unix.Fsetxattr(dst, name, value[:n], 0)
		}
	}
}

func setAttr(f *os.File, name string, value []byte) error {
	return unix.Fsetxattr(int(f.Fd()), name, value, 0)
}

func getAttr(f *os.File, name string) ([]byte, error) {
	b := make([]byte, vfs.MaxName)
	n, err := unix.Fgetxattr(int(f.Fd()), name, b)
	return b[:max(n, 0)], err
}

func removeAttr(f *os.File, name string) error { return unix.Fremovexattr(int(f.Fd()), name) }

// disarm takes set-uid and set-gid off a file that is opened to be written over,
// as the kernel does when somebody writes who is not root: later the writes are
// the server's.
func disarm(f *os.File, i *info) error {
	if i.mode&(fs.ModeSetuid|fs.ModeSetgid) == 0 {
		return nil
	}
	return f.Truncate(i.size)
}

// reserveRoom takes the room for size bytes, where the file system can.
func reserveRoom(f *os.File, size int64) error {
	if size == 0 {
		return nil
	}
	err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, size)
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return pathErr("allocate", path.Base(f.Name()), err)
	}
	return nil
}

// solid is how far a file of size bytes goes without a hole, as far as the file
// system tells. It tells of whole blocks only: before a hole the last one is left out.
func solid(f *os.File, size int64) int64 {
	hole, err := unix.Seek(int(f.Fd()), 0, unix.SEEK_HOLE)
	if err != nil || hole >= size {
		return size
	}
	var st unix.Stat_t
	if unix.Fstat(int(f.Fd()), &st) == nil {
		hole -= int64(st.Blksize)
	}
	return max(hole, 0)
}
