//go:build linux

package interop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// uploadBytes is the size of the uploads that are killed, uploadTime how long each
// of them would take at least. curl counts the time of its login, too, and makes
// up for it: its rate is lower.
const (
	uploadBytes = 64 << 20
	uploadTime  = 2500 * time.Millisecond
)

// victims are the clients that are killed, each with an upload that takes
// uploadTime.
var victims = []struct {
	name    string
	program string
	command func(t *testing.T, p *play, remote string) command
}{
	{"curl", "curl", func(_ *testing.T, p *play, remote string) command {
		return p.command("curl", p.curlArgs("--limit-rate", "12M", "-T", "up.bin", p.url(remote))...)
	}},
	{"lftp", "lftp", func(t *testing.T, p *play, remote string) command {
		return p.command("lftp", "-f", p.lftpScript(t,
			"set net:limit-rate 0:26214400", "set net:limit-max 1048576", // else the first 50 MiB go at once
			fmt.Sprintf("put up.bin -o %s", remote)))
	}},
	{"ftplib", "python3", func(t *testing.T, p *play, remote string) command {
		return p.command("python3", append([]string{script(t, "fault_upload.py"), "file=up.bin", "remote=" + remote,
			fmt.Sprintf("seconds=%v", uploadTime.Seconds())}, p.arguments()...)...)
	}},
}

// lftpScript is a file with commands for lftp, which is logged in before the
// first of them and never tries anything twice.
func (p *play) lftpScript(t *testing.T, commands ...string) string {
	t.Helper()
	lines := []string{
		"set cmd:fail-exit yes", "set cmd:interactive no", "set xfer:log no",
		"set net:max-retries 1", "set net:timeout 20", "set net:reconnect-interval-base 1",
		fmt.Sprintf("set ftp:ssl-allow %v", !p.plain()), fmt.Sprintf("set ftp:ssl-force %v", !p.plain()),
		"set ftp:ssl-protect-data yes", "set ssl:verify-certificate no",
		fmt.Sprintf("open -u %s,%s %s", user, password, strings.TrimSuffix(p.url(""), "/")),
	}
	lines = append(append(lines, commands...), "bye")
	f, err := os.CreateTemp(t.TempDir(), "commands-")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(strings.Join(lines, "\n") + "\n"); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

// together bounds how many slow uploads run at a time over all tests.
var together = make(chan struct{}, 10)

// A client that is killed at any moment of its data leaves no file: what came is
// hidden, is a true beginning of what was sent, and is shorter than that.
func TestAKilledClientLeavesNoFile(t *testing.T) {
	t.Parallel()
	up := file{"a killed upload", uploadBytes}.content()
	for _, w := range []way{{"IPv4", "passive", "plain"}, {"IPv4", "passive", "explicit"}} {
		for _, victim := range victims {
			t.Run(victim.name+" "+w.tls, func(t *testing.T) {
				t.Parallel()
				peer(t, victim.program)
				// Without fsync there is nothing but the grace between the end of data and the
				// look at the control connection: the harder case.
				p := newPlay(t, w, "--sync", "none")
				p.ctx = t.Context()
				plant(t, p.local, named{"up.bin", up})
				j := p.journal()
				n := times(4, 100)
				var inside, kept atomic.Int64
				var wg sync.WaitGroup
				for i := range n {
					together <- struct{}{}
					wg.Go(func() {
						defer func() { <-together }()
						// Spread over the data, with chance between two moments of the row, but for the
						// first 40 ms: uploads below 20 ms get no grace, so that small files pay nothing,
						// and in the clear a client that is killed so early leaves what it sent.
						at := time.Duration(40e6 + (float64(i)+rand.Float64())/float64(n)*0.88*float64(uploadTime))
						name := fmt.Sprintf("k%03d.bin", i)
						bytes, err := killOne(t, p, j, victim.command(t, p, name[:4]+"/"+name), name, at, up)
						if err != nil {
							t.Errorf("killed %v after the 150: %v", at, err)
							return
						}
						inside.Add(1)
						if bytes > 0 {
							kept.Add(1)
						}
					})
				}
				wg.Wait()
				t.Logf("%d kills, %d inside the data, %d with a partial kept", n, inside.Load(), kept.Load())
			})
		}
	}
}

// killOne starts cmd, which uploads to a directory of its own under name, kills
// it at that time after the 150, and looks at what is left. It returns the size
// of what is kept hidden.
func killOne(t *testing.T, p *play, j *journal, cmd command, name string, at time.Duration, up []byte) (int64, error) {
	dir := filepath.Join(p.root, name[:4])
	if err := os.Mkdir(dir, 0o755); err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancelCause(p.ctx)
	defer cancel(nil)
	go func() {
		err := cmd.Wait()
		cancel(fmt.Errorf("the client ended: %v", err))
		ended <- err
	}()
	defer func() {
		_ = cmd.Process.Kill() // it has ended, unless we are late with an error
		<-ended
	}()
	if _, err := j.await(ctx, regexp.MustCompile(`msg=reply .*line="150 .*\b`+regexp.QuoteMeta(name)), 30*time.Second); err != nil {
		return 0, fmt.Errorf("before the data: %w\n%s", err, tail(out.String(), 2000))
	}
	select {
	case <-time.After(at):
	case <-ctx.Done():
		return 0, fmt.Errorf("%w before it was killed\n%s", context.Cause(ctx), tail(out.String(), 2000))
	}
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		return 0, err
	}
	err := <-ended
	ended <- err
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		return 0, fmt.Errorf("the client ended before it was killed: %v\n%s", err, tail(out.String(), 2000))
	}

	line, err := j.await(p.ctx, regexp.MustCompile(`msg="upload (cut|done)" .*path=\S*`+regexp.QuoteMeta(name)), 20*time.Second)
	if err != nil {
		return 0, err
	}
	shown, hidden := namesIn(t, dir)
	if len(shown) > 0 {
		return 0, fmt.Errorf("the directory shows %q\n%s", shown, line)
	}
	if !strings.Contains(line, `msg="upload cut"`) {
		return 0, fmt.Errorf("the log calls it finished:\n%s", line)
	}
	came, kept := number(line, "bytes"), number(line, "kept")
	if came < 0 || came >= uploadBytes {
		return 0, fmt.Errorf("%d bytes came; want some of %d: the kill was not inside the data\n%s", came, uploadBytes, line)
	}
	if want := max(0, came-4096); kept != want {
		return 0, fmt.Errorf("of %d bytes %d are kept; want %d", came, kept, want)
	}
	if kept == 0 {
		if len(hidden) > 0 {
			return 0, fmt.Errorf("nothing was kept, yet there is %q", hidden)
		}
		return 0, nil
	}
	if len(hidden) != 1 || !cutName.MatchString(hidden[0]) {
		return 0, fmt.Errorf("hidden names %q; want one without a number", hidden)
	}
	b, err := os.ReadFile(filepath.Join(dir, hidden[0]))
	if err != nil {
		return 0, err
	}
	if int64(len(b)) != kept || !bytes.Equal(b, up[:kept]) {
		return 0, fmt.Errorf("the partial has %d bytes, the log says %d; as far as both go they are equal: %v",
			len(b), kept, bytes.HasPrefix(up, b))
	}
	return kept, nil
}

// What clients that leave early get. FTP without TLS has no end of file but the
// FIN, and that of a killed client looks the same: all that anybody can know is
// whether the control connection lives 10 ms later.
func TestAClientThatLeavesBeforeItsReply(t *testing.T) {
	const (
		published = "the whole file"
		cut       = "no file"
		either    = "the whole file or none"
	)
	f := file{"left early", 3 << 20}
	for _, c := range []struct {
		name, tls, end, wait string
		want                 string
	}{
		{"QUIT and gone, in the clear", "plain", "quit", "0", published},
		{"QUIT and gone, over TLS", "explicit", "quit", "0", published},
		// All bytes came, and nobody can tell: the control FIN came within 10 ms.
		{"killed with its data, in the clear", "plain", "killed", "0", cut},
		// close_notify says that the data are whole. The server looks once at a control
		// connection that dies at the same time; both answers are true.
		{"killed with its data, over TLS", "explicit", "killed", "0", either},
		// Alive 10 ms after its data is all the proof that there is.
		{"killed long after its data, in the clear", "plain", "killed", "0.3", published},
		{"killed long after its data, over TLS", "explicit", "killed", "0.3", published},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			peer(t, "python3")
			for _, sync := range []string{"none", "commit"} {
				p := newPlay(t, way{"IPv4", "passive", c.tls}, "--sync", sync)
				p.ctx = t.Context()
				plant(t, p.local, f.as("up.bin"))
				j := p.journal()
				for i := range times(3, 30) {
					name := fmt.Sprintf("left%02d.bin", i)
					out, err := p.try("python3", append([]string{script(t, "fault_hangup.py"), "file=up.bin",
						"remote=" + name, "end=" + c.end, "wait=" + c.wait}, p.arguments()...)...)
					var exit *exec.ExitError
					switch killed := errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL; {
					case c.end == "quit" && err != nil, c.end == "killed" && !killed:
						t.Fatalf("the client: %v\n%s", err, out)
					}
					line, err := j.await(p.ctx, regexp.MustCompile(`msg="upload (cut|done)" .*path=\S*`+regexp.QuoteMeta(name)), 20*time.Second)
					if err != nil {
						t.Fatal(err)
					}
					shown, hidden := namesIn(t, p.root)
					done := slices.Contains(shown, name)
					if done != strings.Contains(line, `msg="upload done"`) {
						t.Errorf("the directory shows %q, the log says %s", shown, line)
					}
					switch {
					case done && c.want == cut, !done && c.want == published:
						t.Errorf("--sync %s: the directory shows %q; want %s\n%s", sync, shown, c.want, line)
					case done:
						if got := scan(t, p.root)[name]; got != sum(f.content()) {
							t.Errorf("--sync %s: published is %s; want %s", sync, got, sum(f.content()))
						}
					default:
						for _, h := range hidden {
							b, err := os.ReadFile(filepath.Join(p.root, h))
							if err != nil || len(b) > f.size-4096 || !bytes.HasPrefix(f.content(), b) {
								t.Errorf("--sync %s: the partial has %d bytes (%v); want %d of what was sent at most", sync, len(b), err, f.size-4096)
							}
						}
					}
					for _, n := range append(shown, hidden...) {
						if err := os.Remove(filepath.Join(p.root, n)); err != nil {
							t.Error(err)
						}
					}
				}
			}
		})
	}
}
