package firewall

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// owner is the program that listens on a TCP port, as /proc tells. Of the
// processes of others only root sees it.
func owner(port uint16) string {
	inodes := map[string]bool{}
	for _, name := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		b, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		for inode := range listening(string(b), port) {
			inodes["socket:["+inode+"]"] = true
		}
	}
	if len(inodes) == 0 {
		return ""
	}
	links, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil && inodes[to] {
			if b, err := os.ReadFile(filepath.Join(filepath.Dir(filepath.Dir(link)), "comm")); err == nil && printable(strings.TrimSpace(string(b))) {
				return strings.TrimSpace(string(b))
			}
		}
	}
	return ""
}

// listening are the inodes of the sockets that listen on a port, by a table of
// proc_pid_net(5).
func listening(table string, port uint16) map[string]bool {
	inodes := map[string]bool{}
	for line := range strings.Lines(table) {
		f := strings.Fields(line)
		if len(f) < 10 || f[3] != "0A" {
			continue
		}
		_, digits, _ := strings.Cut(f[1], ":")
		if n, err := strconv.ParseUint(digits, 16, 16); err == nil && uint16(n) == port {
			inodes[f[9]] = true
		}
	}
	return inodes
}
