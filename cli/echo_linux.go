package cli

import "golang.org/x/sys/unix"

// echoOff makes a terminal show nothing of what is typed, before a question for a
// password stands there: who types at once is not shown either. The state of the
// terminal is restored by who has asked.
func echoOff(fd int) {
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return
	}
	t.Lflag &^= unix.ECHO
	_ = unix.IoctlSetTermios(fd, unix.TCSETS, t)
}
