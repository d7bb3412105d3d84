//go:build unix

package sshclient

import (
	"io/fs"
	"os"
	"os/exec"
	"syscall"
)

// own makes a command the head of a process group, so that what it starts can be
// ended with it.
func own(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// kill ends a command and what it has started.
func kill(cmd *exec.Cmd) {
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
	_ = cmd.Process.Kill()
}

// private says that a file belongs to us or to root, and that nobody else may do
// with it what the bits say.
func private(fi fs.FileInfo, bits fs.FileMode) bool {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok && st.Uid != 0 && int(st.Uid) != os.Getuid() {
		return false
	}
	return fi.Mode()&bits == 0
}

// exposed says that others can read a private key of ours, which OpenSSH refuses.
func exposed(fi fs.FileInfo) bool {
	st, ok := fi.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == os.Getuid() && fi.Mode()&0o077 != 0
}
