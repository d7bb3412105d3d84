//go:build linux

package interop

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// divided are the servers that one file is fetched from over several connections.
func divided() []string {
	var out []string
	for _, r := range recipes() {
		if r.name != "OpenSSH" && r.name != "dropbear" && r.name != "dray sftp" {
			out = append(out, r.name)
		}
	}
	return out
}

var goneWrong = regexp.MustCompile(`report\.bin: (going on|the |nothing )|again in `)

// held is how much of an unfinished file is on the disk: its length has holes in it.
func (j *journey) held() int64 {
	fi, err := os.Stat(j.to + ".dray-part")
	if err != nil {
		return 0
	}
	return fi.Sys().(*syscall.Stat_t).Blocks * 512
}

// A file that is fetched in segments and killed at any byte, again and again, is whole
// in the end; what had come is not fetched again.
func TestAKilledClientGoesOnWithSegments(t *testing.T) {
	t.Parallel()
	for _, name := range divided() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const size = 96 << 20
			j := customerOf(t, visitTo(t, name)).downward("12M")
			content := noise(name, size)
			j.lay(t, content, 3)
			args := append([]string{"get", "--segments", "4"}, j.args[1:]...)
			resumed, kills, earlier := 0, 0, int64(0)
			for want := times(2, 6); kills < want && !t.Failed(); {
				target := min(earlier+rand.Int64N(size/2), size-size/16)
				r := j.begin(args...)
				done := make(chan result, 1)
				go func() { done <- r.end() }()
				var out result
				for ended := false; !ended; {
					select {
					case out = <-done:
						ended = true
					case <-time.After(2 * time.Millisecond):
						if j.held() >= target {
							_ = r.Process.Signal(syscall.SIGKILL)
							out, ended = <-done, true
						}
					}
				}
				if out.status == 0 {
					t.Logf("it was through before %d bytes", target)
					break
				}
				if out.status != -1 {
					t.Fatalf("killed at %d bytes: %v", target, out)
				}
				kills++
				j.arrived(t, fmt.Sprintf("killed at %d bytes", target), nil)
				if goingOn.MatchString(out.stderr) {
					resumed++
				}
				earlier = j.held()
			}
			began := time.Now()
			out := j.must(0, "get", "--segments", "4", j.url("report.bin"), ".")
			j.arrived(t, "at the end", content)
			noParts(t, j.dir)
			if kills > 2 && resumed == 0 {
				t.Errorf("%d kills: no run went on with what was there", kills)
			}
			t.Logf("%d kills, %d runs went on; the last took %v: %s", kills, resumed, time.Since(began).Round(time.Millisecond), strings.TrimSpace(out.stderr))
			if err := os.Remove(j.to); err != nil {
				t.Fatal(err)
			}

			// From the start: four connections, each of which works when its part is there.
			out = j.must(0, "get", "-vv", "--segments", "4", j.url("report.bin"), ".")
			j.arrived(t, "in one go", content)
			if n := strings.Count(out.stderr, "RETR report.bin"); n < 4 {
				t.Errorf("%d downloads; want 4 and more: %v", n, out)
			}
			logins := strings.Count(out.stderr, "-> PASS")
			if logins > 8 { // one that does not answer to ABOR in time is given up
				t.Errorf("%d logins; want 4", logins)
			}
			if goneWrong.MatchString(out.stderr) {
				t.Errorf("something went wrong on the way: %v", out)
			}
			t.Logf("in one go: %v, %d logins, %d times ABOR", out.took.Round(time.Millisecond), logins, strings.Count(out.stderr, "-> ABOR"))
			j.clear(t)
		})
	}
}

// A server that takes fewer connections than segments were asked for sends the file
// over those.
func TestSegmentsOverFewConnections(t *testing.T) {
	t.Parallel()
	for _, try := range []struct {
		name string
		more []string
	}{
		{"vsftpd TLS 1.3", []string{"max_per_ip=2"}},
		{"vsftpd plain", []string{"max_per_ip=1"}},
		{"ProFTPD TLS 1.3", []string{"MaxClientsPerHost 2"}},
		{"Pure-FTPd", []string{"-C", "2"}},
		{"vsftpd TLS 1.2", []string{"pasv_max_port=PORT"}},
		{"Pure-FTPd", []string{"-p", "1:PORT"}},
		{"dray ftp", []string{"--passive", "1-PORT"}},
	} {
		t.Run(try.name+" "+strings.Join(try.more, " "), func(t *testing.T) {
			t.Parallel()
			j := customerOf(t, visitTo(t, try.name, try.more...)).downward("16M")
			content := noise(try.name, 40<<20)
			j.lay(t, content, 3)
			out := j.must(0, append([]string{"get", "--segments", "8"}, j.args[1:]...)...)
			j.arrived(t, "over few connections", content)
			noParts(t, j.dir)
			if out.took > 15*time.Second {
				t.Errorf("it took long: %v", out)
			}
		})
	}
}

// A source that is replaced while its segments are fetched is fetched again: what
// arrives is never some of each.
func TestASourceThatChangesWhileItsSegmentsAreFetched(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"vsftpd plain", "ProFTPD TLS 1.3", "dray ftps"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := customerOf(t, visitTo(t, name)).downward("12M")
			before, after := noise("before "+name, 32<<20), noise("after "+name, 32<<20)
			j.lay(t, before, 3)
			r := j.begin(append([]string{"get", "--segments", "4"}, j.args[1:]...)...)
			for deadline := time.Now().Add(20 * time.Second); j.held() < 4<<20 && time.Now().Before(deadline); {
				time.Sleep(5 * time.Millisecond)
			}
			// In its place: who has the old one open reads that to its end, or some of each.
			fresh := j.from + ".new"
			if err := os.WriteFile(fresh, after, 0o644); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(fresh, j.from); err != nil {
				t.Fatal(err)
			}
			out := r.end()
			if out.status != 0 {
				t.Fatalf("%v; want the new file", out)
			}
			b, err := os.ReadFile(j.to)
			if err != nil || sha256.Sum256(b) != sha256.Sum256(after) {
				t.Errorf("%s arrived, %v; want the new file %s: %v", sum(b), err, sum(after), out)
			}
			noParts(t, j.dir)
		})
	}
}
