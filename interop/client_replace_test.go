//go:build linux

package interop

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// interrupt starts the transfer and ends it when some of the file has come.
func (j *journey) interrupt(t *testing.T) {
	t.Helper()
	r := j.begin(j.args...)
	j.moving(t)
	_ = r.Process.Signal(syscall.SIGINT)
	if out := r.end(); out.status != 130 || !strings.Contains(out.stderr, "to go on where it was cut") {
		t.Fatalf("%v; want a cut transfer", out)
	}
}

// A file that replaces another is gone on with as a new one is, and the old one is
// there until then.
func TestAReplacementIsGoneOnWith(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"vsftpd TLS 1.3", "OpenSSH", "dray ftp", "dray sftp"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := customerOf(t, visitTo(t, name))
			for _, j := range []*journey{g.downward("4M"), g.upward("4M")} {
				old, content := noise("old", 3<<20), noise("new", 4<<20)
				if err := os.WriteFile(j.to, old, 0o644); err != nil {
					t.Fatal(err)
				}
				_ = os.Chown(j.to, userID, userID) // as root, where it matters
				j.lay(t, content, 3)
				j.interrupt(t)
				j.arrived(t, "cut", old)
				// SFTP has no word for it: what a server of dray keeps of a replacement is
				// behind the name of the file that is to be replaced.
				anew := j.up && name == "dray sftp"
				if out := j.must(0, j.args...); goingOn.MatchString(out.stderr) == anew {
					t.Errorf("%v; want to go on: %v", out, !anew)
				}
				j.arrived(t, "at the end", content)
				j.clear(t)
				if !anew { // what it hides goes with the next sweep
					noParts(t, g.root)
				}
				noParts(t, g.dir)
			}
		})
	}
}

// A file that is there already, and is sent once more, or has grown since, is not in
// the way of an upload of the same name that was cut.
func TestACutUploadBesideItsOwnBeginning(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"vsftpd TLS 1.3", "OpenSSH", "dray ftp", "dray sftp"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := customerOf(t, visitTo(t, name))
			j := g.upward("4M")
			content := noise("grows", 4<<20)
			for _, first := range []int{4 << 20, 3 << 20} {
				j.lay(t, content[:first], 9)
				j.must(0, "put", "report.bin", g.url("report.bin"))
				j.lay(t, content, 3)
				j.interrupt(t)
				j.arrived(t, "cut", content[:first])
				j.must(0, j.args...)
				j.arrived(t, "at the end", content)
				j.clear(t)
				if name != "dray sftp" { // which puts away by itself what it hides
					noParts(t, g.root)
				}
			}
		})
	}
}

// A server that is down for a moment is waited for by the tries that are left.
func TestAServerThatComesBack(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"dray ftp", "vsftpd TLS 1.3", "OpenSSH"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := customerOf(t, visitTo(t, name))
			j := g.downward("12M")
			content := noise("back", 16<<20) // more than sockets hold
			j.lay(t, content, 3)
			r := j.begin(append([]string{"get", "--retry", "3"}, j.args[1:]...)...)
			j.moving(t)
			g.kill(t)
			time.Sleep(1500 * time.Millisecond) // longer than the first wait
			g.start(t)
			if out := r.end(); out.status != 0 || !strings.Contains(out.stderr, "again in") {
				t.Errorf("%v; want it done after all", out)
			}
			j.arrived(t, "at the end", content)

			// One that stays away is given up; what came is kept.
			j.clear(t)
			j.lay(t, content, 2)
			r = j.begin(append([]string{"get", "--retry", "1"}, j.args[1:]...)...)
			j.moving(t)
			g.kill(t)
			if out := r.end(); out.status != 11 || !strings.Contains(out.stderr, "to go on where it was cut:\n        dray get ") {
				t.Errorf("%v; want status 11 and the command", out)
			}
		})
	}
}
