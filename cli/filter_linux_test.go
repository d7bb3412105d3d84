package cli

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// filtered is a program that becomes another one for which there is no openat2, as
// under some filters of systemd: filtered PROGRAM [ARGS...].
func filtered() {
	fail := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, "filtered:", err)
			os.Exit(1)
		}
	}
	program, err := exec.LookPath(os.Args[1])
	fail(err)
	code := []unix.SockFilter{ // seccomp(2); the number of the call comes first
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: unix.SYS_OPENAT2},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	filter := unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}
	runtime.LockOSThread() // it is for this thread, which is all that is left after exec
	fail(unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
	fail(unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&filter)), 0, 0))
	fail(syscall.Exec(program, os.Args[1:], os.Environ()))
}
