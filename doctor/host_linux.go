package doctor

import (
	"io/fs"
	"slices"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// roomAt asks the file system of a directory.
func roomAt(dir string) (room, error) {
	var fs unix.Statfs_t
	var st unix.Stat_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return room{}, err
	}
	if err := unix.Stat(dir, &st); err != nil {
		return room{}, err
	}
	size := uint64(fs.Frsize)
	return room{
		device: strconv.FormatUint(uint64(st.Dev), 16),
		free:   fs.Bavail * size, total: fs.Blocks * size, names: fs.Ffree, inodes: fs.Files,
	}, nil
}

// passes tells whether the mode of a directory lets somebody pass through it.
func passes(dir fs.FileInfo, who identity) bool {
	st, ok := dir.Sys().(*syscall.Stat_t)
	mode := dir.Mode().Perm()
	switch {
	case !ok || who.UID == 0:
		return true
	case st.Uid == who.UID:
		return mode&0o100 != 0
	case st.Gid == who.GID || slices.Contains(who.Groups, st.Gid):
		return mode&0o010 != 0
	}
	return mode&0o001 != 0
}

// maxDescriptors is the hard limit: the Go runtime raises the soft one to it.
func maxDescriptors() uint64 {
	var r unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &r) != nil {
		return 0
	}
	return r.Max
}

// clockSet tells whether the kernel's clock is kept by somebody (adjtimex(2)).
func clockSet() (set, known bool) {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	return state != unix.TIME_ERROR && t.Status&unix.STA_UNSYNC == 0, err == nil
}
