package osfs

import (
	"io/fs"
	"os"
	"syscall"
	"time"

	"dray/vfs"
)

func infoOf(name string, fi fs.FileInfo) *info {
	i := &info{name: name, size: fi.Size(), mode: fi.Mode(), mtime: fi.ModTime()}
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		i.atime, i.ctime = time.Unix(st.Atim.Unix()), time.Unix(st.Ctim.Unix())
		i.attr = vfs.Attr{Links: uint64(st.Nlink), UID: st.Uid, GID: st.Gid, Dev: uint64(st.Dev), Ino: st.Ino}
	}
	return i
}

func syncDir(f *os.File) error { return (&dirfd{fd: int(f.Fd())}).sync() }
