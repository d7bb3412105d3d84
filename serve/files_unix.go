//go:build unix

package serve

import "golang.org/x/sys/unix"

// maxFiles is how many descriptors this process may open; the Go runtime has
// raised the soft limit to the hard one.
func maxFiles() int {
	var r unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &r) != nil {
		return 0
	}
	return int(min(r.Cur, 1<<30))
}
