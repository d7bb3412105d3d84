//go:build linux

package interop

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A journey is one file that goes one way, and is cut on it.
type journey struct {
	*customer
	up       bool
	from, to string // on the disk
	args     []string
}

// downward and upward are the journeys of report.bin. limit is bytes a second.
func (g *customer) downward(limit string) *journey {
	return &journey{customer: g, from: filepath.Join(g.root, "report.bin"), to: g.in("report.bin"),
		args: []string{"get", "--limit-rate", limit, g.url("report.bin"), "."}}
}

func (g *customer) upward(limit string) *journey {
	return &journey{customer: g, up: true, from: g.in("report.bin"), to: filepath.Join(g.root, "report.bin"),
		args: []string{"put", "--limit-rate", limit, "report.bin", g.url("report.bin")}}
}

// lay makes the source new content, as old as days.
func (j *journey) lay(t *testing.T, b []byte, days int) {
	t.Helper()
	if err := os.WriteFile(j.from, b, 0o644); err != nil {
		t.Fatal(err)
	}
	when := time.Now().Add(-time.Duration(days) * 24 * time.Hour).Truncate(time.Second)
	if err := os.Chtimes(j.from, when, when); err != nil {
		t.Fatal(err)
	}
	if !j.up && os.Geteuid() == 0 {
		_ = os.Chown(j.from, userID, userID) // dray's own server does not need it
	}
}

// arrived checks what has the final name: content, or nothing when that is nil.
func (j *journey) arrived(t *testing.T, when string, content []byte) {
	t.Helper()
	b, err := os.ReadFile(j.to)
	switch {
	case content == nil && os.IsNotExist(err):
	case content == nil:
		t.Errorf("%s: there is %s; want no file", when, sum(b))
	case err != nil:
		t.Errorf("%s: %v", when, err)
	case sha256.Sum256(b) != sha256.Sum256(content):
		t.Errorf("%s: %s; want %s", when, sum(b), sum(content))
	}
}

// cut starts the transfer and ends it by a signal after some time; false: it was
// through before.
func (j *journey) cut(t *testing.T, with syscall.Signal, after time.Duration) (result, bool) {
	t.Helper()
	r := j.begin(j.args...)
	timer := time.AfterFunc(after, func() { _ = r.Process.Signal(with) })
	defer timer.Stop()
	out := r.end()
	return out, out.status != 0
}

// part is how much of the unfinished file there is.
func (j *journey) part() int64 {
	all, _ := os.ReadDir(filepath.Dir(j.to)) // none is shown by the size
	most := int64(0)
	for _, e := range all {
		if fi, err := e.Info(); err == nil && strings.Contains(e.Name(), "dray-") && !strings.HasSuffix(e.Name(), ".json") {
			most = max(most, fi.Size())
		}
	}
	return most
}

// moving waits until some of the file has come.
func (j *journey) moving(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); j.part() < 1<<20; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: nothing has come in 20 s", j.args[0])
		}
	}
}

// clear takes the file away on both sides.
func (j *journey) clear(t *testing.T) {
	t.Helper()
	for _, name := range []string{j.from, j.to} {
		if err := os.Remove(name); err != nil {
			t.Error(err)
		}
	}
}

func noise(seed string, size int) []byte {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8(sha256.Sum256([]byte(seed))).Read(b) // never fails
	return b
}

var goingOn = regexp.MustCompile(`report\.bin: going on at `)

// A client that is killed or interrupted at any moment shows no unfinished file
// under its name, and goes on until the file is there, whole.
func TestAKilledClientGoesOn(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"dray ftp", "dray sftp", "vsftpd TLS 1.3", "OpenSSH"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			down := customerOf(t, visitTo(t, name)).downward("8M")
			up := customerOf(t, visitTo(t, name)).upward("8M")
			var both sync.WaitGroup // they wait most of the time
			both.Go(func() { down.killed(t, times(4, 50)) })
			both.Go(func() { up.killed(t, times(4, 50)) })
			both.Wait()
		})
	}
}

func (j *journey) killed(t *testing.T, want int) {
	kills, interrupts, resumed, files := 0, 0, 0, 0
	var old, last []byte // what has the name from the file before; what was sent last
	for kills+interrupts < want && !t.Failed() {
		files++
		content := noise(fmt.Sprint(j.name, j.up, files), 20<<20)
		j.lay(t, content, 100-files)
		left := false // the last run has left something to go on with, and said so
		for whole := false; !whole && !t.Failed(); {
			with, after := syscall.SIGINT, 200*time.Millisecond+time.Duration(rand.Int64N(int64(time.Second)))
			switch {
			case kills+interrupts >= want:
				after = time.Minute
			case (kills+interrupts)%2 == 1:
				with, after = syscall.SIGKILL, 100*time.Millisecond+time.Duration(rand.Int64N(int64(2400*time.Millisecond)))
			}
			before := j.part()
			out, cut := j.cut(t, with, after)
			if goingOn.MatchString(out.stderr) {
				resumed++
			} else if left && (!cut || out.took > 1500*time.Millisecond) {
				t.Errorf("what was interrupted was begun anew: %v", out)
			}
			whole = j.whole(t, fmt.Sprintf("after %v and %v", with, after), old, content)
			left = false
			switch {
			case !cut:
				if !whole {
					t.Errorf("%v; want the whole file", out)
				}
			case with == syscall.SIGKILL:
				kills++
				if out.status != -1 {
					t.Errorf("killed after %v: %v", after, out)
				}
			default:
				interrupts++
				if out.status != 130 {
					t.Errorf("interrupted after %v: %v; want status 130", after, out)
				}
				left = strings.Contains(out.stderr, "to go on where it was cut:\n        dray "+j.args[0]+" ")
				if !left && !whole && j.part() > before+64<<10 {
					t.Errorf("interrupted after %v: %v; want the command that goes on", after, out)
				}
			}
		}
		old, last = content, content
		if j.up && strings.HasPrefix(j.name, "dray") {
			// Beside a finished file dray's server does not tell how long its partial is:
			// TestAReplacementIsGoneOnWith. Each upload is that of a new file here.
			old = nil
			if err := os.Remove(j.to); err != nil {
				t.Error(err)
			}
		}
	}
	if resumed == 0 {
		t.Errorf("%s: %d kills and %d interrupts: no run went on with what was there", j.args[0], kills, interrupts)
	}
	// A client that was killed behind the last byte could not put away what it had noted.
	j.must(0, j.args...)
	j.whole(t, "at the end", nil, last)
	noParts(t, j.root)
	noParts(t, j.dir)
	t.Logf("%s: %d kills, %d interrupts, %d files: %d runs went on", j.args[0], kills, interrupts, files, resumed)
}

// whole tells whether content has the final name. Else old must have it, or nothing
// where that is nil.
func (j *journey) whole(t *testing.T, when string, old, content []byte) bool {
	t.Helper()
	b, err := os.ReadFile(j.to)
	switch {
	case err == nil && bytes.Equal(b, content):
		return true
	case err == nil && old != nil && bytes.Equal(b, old), os.IsNotExist(err) && old == nil:
	case err != nil:
		t.Errorf("%s: %v", when, err)
	default:
		t.Errorf("%s: there is %s; want %s or the file of before", when, sum(b), sum(content))
	}
	return false
}

// A source that changes between the cut and the next run is transferred from its
// start: what arrives is never half of each.
func TestAChangedSourceIsBegunAnew(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"dray ftp", "dray sftp", "vsftpd TLS 1.2", "ProFTPD TLS 1.3", "Pure-FTPd", "pyftpdlib TLS", "OpenSSH"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := visitTo(t, name)
			for _, up := range []bool{false, true} {
				for _, change := range []string{"time", "length", "content"} {
					g := customerOf(t, s)
					j := g.downward("8M")
					if up {
						j = g.upward("8M")
					}
					j.lay(t, noise("before"+name, 4<<20), 3)
					r := j.begin(j.args...)
					j.moving(t)
					_ = r.Process.Signal(syscall.SIGINT)
					out := r.end()
					if out.status != 130 || !strings.Contains(out.stderr, "to go on where it was cut") {
						t.Fatalf("%s: %v; want a cut transfer", change, out)
					}
					after := noise("after"+name, 4<<20)
					switch change {
					case "time":
						j.lay(t, after, 2)
					case "length":
						after = after[:3<<20]
						j.lay(t, after, 3)
					case "content": // all that can be seen without reading it is as it was
						fi, err := os.Stat(j.from)
						if err != nil {
							t.Fatal(err)
						}
						if err := os.WriteFile(j.from, after, 0o644); err != nil {
							t.Fatal(err)
						}
						if err := os.Chtimes(j.from, fi.ModTime(), fi.ModTime()); err != nil {
							t.Fatal(err)
						}
					}
					j.must(0, j.args...)
					j.arrived(t, change+" changed", after)
					j.clear(t)
					noParts(t, j.root)
					noParts(t, j.dir)
				}
			}
		})
	}
}

// A server that dies in the middle of a download ends it with the part kept and the
// command that goes on; when it is back that command completes the file.
func TestAServerThatDies(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"dray ftp", "dray sftp", "vsftpd TLS 1.3", "ProFTPD TLS 1.2", "OpenSSH"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := customerOf(t, visitTo(t, name))
			for _, j := range []*journey{g.downward("12M"), g.upward("12M")} {
				content := noise(name, 16<<20) // more than sockets hold
				j.lay(t, content, 3)
				r := j.begin(append([]string{j.args[0], "--retry", "0"}, j.args[1:]...)...)
				j.moving(t)
				g.kill(t)
				out := r.end()
				if out.status != 11 || !strings.Contains(out.stderr, "to go on where it was cut:\n        dray "+j.args[0]+" ") {
					t.Errorf("the server died: %v; want status 11 and the command", out)
				}
				j.arrived(t, "after the server died", nil)
				if !j.up {
					if fi, err := os.Stat(g.in("report.bin.dray-part")); err != nil || fi.Size() == 0 {
						t.Errorf("the part: %v, %v; want it kept", fi, err)
					}
				}
				g.start(t)
				out = g.must(0, j.args...)
				if !goingOn.MatchString(out.stderr) && (!j.up || !strings.HasPrefix(name, "dray")) {
					t.Errorf("the server came back: %v; want to go on", out)
				}
				j.arrived(t, "after the server came back", content)
				j.clear(t)
			}
		})
	}
}

// A session that ends on the server's side is no end: the client comes again by
// itself, and goes on.
func TestASessionThatDies(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"vsftpd TLS 1.2", "ProFTPD TLS 1.3", "Pure-FTPd", "OpenSSH"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := customerOf(t, visitTo(t, name))
			servers := map[int]bool{}
			for _, pid := range below(t, g.cmd.Process.Pid) {
				servers[pid] = true
			}
			for _, j := range []*journey{g.downward("12M"), g.upward("12M")} {
				content := noise(name, 16<<20) // more than sockets hold
				j.lay(t, content, 3)
				r := j.begin(append([]string{j.args[0], "--retry", "3"}, j.args[1:]...)...)
				j.moving(t)
				ended := 0
				for _, pid := range below(t, g.cmd.Process.Pid) {
					if !servers[pid] {
						if err := syscall.Kill(pid, syscall.SIGKILL); err == nil {
							ended++
						}
					}
				}
				out := r.end()
				if ended == 0 {
					t.Fatalf("%s: no process of a session was found", j.args[0])
				}
				if out.status != 0 || !strings.Contains(out.stderr, "again in ") {
					t.Errorf("%d processes of the session were killed: %v; want it done again, with success", ended, out)
				}
				j.arrived(t, "after the session died", content)
				j.clear(t)
				noParts(t, g.root)
				noParts(t, g.dir)
			}
		})
	}
}

// A full disk, there or here, ends a transfer soon, with its own status, and shows
// no file that is not whole.
func TestAFullDiskForTheClient(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"OpenSSH", "vsftpd plain", "vsftpd TLS 1.3", "ProFTPD TLS 1.3", "dray ftp", "dray sftp"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := small(t, "size=1m,mode=0755")
			g := customerOf(t, visitOn(t, name, root))
			plant(t, g.dir, file{"big.bin", 5 << 20}.as("big.bin"))
			out := g.dray("put", "big.bin", g.url("big.bin"))
			if out.status != 9 || out.took > 10*time.Second {
				t.Errorf("put: %v; want status 9 within 10 s", out)
			}
			if got := scan(t, root)["big.bin"]; got != "" {
				t.Errorf("the server has %s; want no file", got)
			}
		})
		t.Run(name+" to here", func(t *testing.T) {
			t.Parallel()
			here := small(t, "size=1m,mode=0755")
			g := customerOf(t, visitTo(t, name))
			plant(t, g.root, file{"big.bin", 5 << 20}.as("big.bin"))
			out := g.dray("get", g.url("big.bin"), here)
			if out.status != 9 || out.took > 10*time.Second {
				t.Errorf("get: %v; want status 9 within 10 s", out)
			}
			if got := scan(t, here)["big.bin"]; got != "" {
				t.Errorf("here is %s; want no file", got)
			}
			if bytes.Contains([]byte(out.stderr), []byte(password)) {
				t.Error("the password is shown")
			}
		})
	}
}
