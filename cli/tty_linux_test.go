package cli

import (
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// openTTY makes a terminal of 24 rows: master is the end of who sits there, slave that
// of the program. Both are closed with the test. CI has terminals.
func openTTY(t *testing.T, columns uint16) (master, slave *os.File) {
	t.Helper()
	open := func(name string) *os.File {
		f, err := os.OpenFile(name, os.O_RDWR|unix.O_NOCTTY, 0)
		if err != nil && os.Getenv("CI") != "" {
			t.Fatalf("CI must have terminals: %v", err)
		} else if err != nil {
			t.Skipf("SKIPPED: no terminals here: %v", err)
		}
		t.Cleanup(func() { _ = f.Close() })
		return f
	}
	master = open("/dev/ptmx")
	raw, err := master.SyscallConn() // Fd would make reads that nothing ends
	fine(t, err)
	n := 0
	var failed error
	fine(t, raw.Control(func(fd uintptr) {
		failed = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0)
		if failed == nil {
			n, failed = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		}
		if failed == nil {
			failed = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: columns})
		}
	}))
	fine(t, failed)
	return master, open(fmt.Sprintf("/dev/pts/%d", n))
}
