package doctor

import (
	"strconv"

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
