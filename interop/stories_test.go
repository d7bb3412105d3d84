package interop

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Clients without TLS learn from the 530 what the way out is, before they have
// sent a password.
func TestClearTextIsRefusedWithTheWayOut(t *testing.T) {
	explicit := way{"IPv4", "passive", "explicit"}
	for name, call := range map[string]func(t *testing.T, p *play) (string, bool){
		"tnftp": func(t *testing.T, p *play) (string, bool) {
			peer(t, "tnftp")
			return p.tnftp(t, "ls"), true
		},
		"ncftp": func(t *testing.T, p *play) (string, bool) {
			peer(t, "ncftpls")
			out, err := p.try("ncftpls", append(p.ncftpArgs(), "-d", "stdout", p.url(""))...)
			return out, err != nil
		},
		"wget": func(t *testing.T, p *play) (string, bool) {
			peer(t, "wget")
			out, err := p.try("wget", "--no-config", "-d", "--tries=1", "--timeout=20",
				"--user="+user, "--password="+password, "-O", "fetched", p.url("one"))
			return out, err != nil
		},
		"curl": func(t *testing.T, p *play) (string, bool) {
			peer(t, "curl")
			out, err := p.try("curl", "-q", "-v", "--max-time", "20", "-u", user+":"+password, p.url("one"))
			return out, err != nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPlay(t, explicit)
			plant(t, p.root, named{"one", []byte("1")})
			out, failed := call(t, p)
			if !failed {
				t.Errorf("%s succeeded in clear text:\n%s", name, out)
			}
			refusal := strings.TrimSpace(regexp.MustCompile(`530[ :].*`).FindString(out)) // ncftp prints a colon
			if !strings.Contains(refusal, "TLS") || !strings.HasSuffix(refusal, "[tls-required]") {
				t.Errorf("the refusal is %q; want a 530 that names TLS and ends with [tls-required]\n%s", refusal, out)
			}
			if strings.Contains(p.printed(t), password) {
				t.Error("the log holds the password")
			}
		})
	}
}

// A client that is killed in the middle of an upload leaves no file under the
// final name, and any client goes on from what the server kept.
func TestACutUploadIsNotAFileAndCanBeResumed(t *testing.T) {
	for _, w := range []way{{"IPv4", "passive", "plain"}, {"IPv4", "passive", "explicit"}, {"IPv6", "passive", "implicit"}} {
		for name, resume := range map[string]func(t *testing.T, p *play){
			"curl": func(t *testing.T, p *play) {
				p.run(t, "curl", p.curlArgs("-C", "-", "-T", "big.bin", p.url("big.bin"))...)
			},
			"lftp": func(t *testing.T, p *play) {
				peer(t, "lftp")
				p.lftp(t, "put -c big.bin")
			},
		} {
			t.Run(name+" "+w.String(), func(t *testing.T) {
				t.Parallel()
				peer(t, "curl")
				p := newPlay(t, w)
				plant(t, p.local, big.as("big.bin"))
				p.killedUpload(t, "big.bin")

				out := p.run(t, "curl", p.curlArgs("-l", p.url(""))...)
				if strings.TrimSpace(out) != "" {
					t.Errorf("after the cut a listing shows %q; want nothing", out)
				}
				if out, err := p.try("curl", p.curlArgs("-o", "cut", p.url("big.bin"))...); err == nil {
					t.Errorf("after the cut the file can be fetched\n%s", out)
				}
				head := p.run(t, "curl", p.curlArgs("-I", p.url("big.bin"))...)
				if !strings.Contains(head, "Content-Length: ") || strings.Contains(head, "Content-Length: 0") {
					t.Errorf("SIZE after the cut: %q; want the size of what was kept", head)
				}
				resume(t, p)
				same(t, p.root, treeOf(big.as("big.bin")))
			})
		}
	}
}

// A client that is killed while it replaces a file leaves the old file whole.
func TestACutReplacementLeavesTheOldFile(t *testing.T) {
	for _, w := range []way{{"IPv4", "passive", "plain"}, {"IPv4", "passive", "explicit"}} {
		t.Run(w.String(), func(t *testing.T) {
			t.Parallel()
			peer(t, "curl")
			p := newPlay(t, w)
			old := file{"old", 123_456}
			plant(t, p.root, old.as("big.bin"))
			plant(t, p.local, big.as("big.bin"))
			p.killedUpload(t, "big.bin")
			p.run(t, "curl", p.curlArgs("-o", "fetched", p.url("big.bin"))...)
			if got := scan(t, p.local)["fetched"]; got != sum(old.content()) {
				t.Errorf("after the cut: %s; want the old file, %s", got, sum(old.content()))
			}
			p.run(t, "curl", p.curlArgs("-T", "big.bin", p.url("big.bin"))...)
			same(t, p.root, treeOf(big.as("big.bin")))
		})
	}
}

// killedUpload uploads the file name slowly with curl and kills curl when the
// server has some of it on disk; then it waits until the server has seen it.
func (p *play) killedUpload(t *testing.T, name string) {
	t.Helper()
	before := onDisk(t, p.root)
	cmd := p.command("curl", p.curlArgs("--limit-rate", "1M", "-T", name, p.url(name))...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for onDisk(t, p.root) < before+(1<<20) {
		select {
		case <-p.ctx.Done():
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			t.Fatal("the upload never reached the disk")
		case <-time.After(20 * time.Millisecond):
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	// The cut is over when the size stands still: a partial loses its end.
	last, since := onDisk(t, p.root), time.Now()
	for time.Since(since) < 300*time.Millisecond {
		select {
		case <-p.ctx.Done():
			t.Fatal("the size of the cut upload never settles")
		case <-time.After(20 * time.Millisecond):
		}
		if now := onDisk(t, p.root); now != last {
			last, since = now, time.Now()
		}
	}
}

// onDisk is the size of all files below dir.
func onDisk(t *testing.T, dir string) (total int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		fi, err := d.Info()
		if os.IsNotExist(err) { // renamed meanwhile
			return nil
		}
		if err == nil {
			total += fi.Size()
		}
		return err
	})
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return total
}

// Anonymous visitors of a read-only server read and do not write.
func TestAnonymousReadOnly(t *testing.T) {
	for name, w := range map[string]way{
		"in the clear": {"IPv4", "passive", "plain"},
		"over TLS":     {"IPv4", "passive", "explicit"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			peer(t, "curl")
			peer(t, "lftp")
			p := newPlay(t, w, "--anonymous", "--read-only")
			stored := plant(t, p.root, all()...)
			plant(t, p.local, file{"mine", 10}.as("mine"))

			args := []string{"-q", "-sS", "-g", "--max-time", "20"} // curl says anonymous by itself
			if !p.plain() {
				args = append(args, "--ssl-reqd", "-k")
			}
			p.run(t, "curl", append(args, "-o", "fetched", p.url(big.name))...)
			if got := scan(t, p.local)["fetched"]; got != stored[big.name] {
				t.Errorf("fetched: %s; want %s", got, stored[big.name])
			}
			for _, refused := range [][]string{
				{"-T", "mine", p.url("mine")},
				{"-T", "mine", p.url("one")},
				{"-Q", "DELE one", p.url("")},
				{"-Q", "MKD new", p.url("")},
				{"-Q", "RNFR one", "-Q", "RNTO two", p.url("")},
			} {
				out, err := p.try("curl", append(append(args, "-v"), refused...)...)
				if err == nil || !strings.Contains(out, "[read-only]") {
					t.Errorf("curl %q: %v; want a refusal with [read-only]\n%s", refused, err, out)
				}
			}
			same(t, p.root, stored)
		})
	}
}

// A client whose password is wrong is told so, over TLS.
func TestAWrongPasswordIsRefused(t *testing.T) {
	t.Parallel()
	peer(t, "curl")
	p := newPlay(t, way{"IPv4", "passive", "explicit"})
	out, err := p.try("curl", "-q", "-sS", "-v", "--ssl-reqd", "-k", "--max-time", "30", "-u", user+":wrong", p.url(""))
	if err == nil || !strings.Contains(out, "530 ") || !strings.Contains(out, "[auth]") {
		t.Errorf("curl with a wrong password: %v; want a 530 with [auth]\n%s", err, out)
	}
}

// One listener without an address serves both families: IPv4 peers of a socket
// that speaks both are told and matched by their IPv4 address.
func TestOneListenerServesBothFamilies(t *testing.T) {
	t.Parallel()
	peer(t, "curl")
	way{family: "IPv6"}.needs(t)
	s := start(t, t.TempDir(), "--plain", "--sync", "none", "--ftp", ":0", "--ftps", "off")
	if len(s.ready.FTPS) != 0 {
		t.Errorf("ready file: ftps = %q; want none", s.ready.FTPS)
	}
	told := map[string]string{} // address and port, as the ready file has them
	for _, addr := range s.ready.FTP {
		host, port := address(t, "ftp", []string{addr})
		told[host] = port
	}
	want := tree{}
	for _, w := range ways() {
		if !w.plain() {
			continue
		}
		for _, form := range []struct{ name, flag string }{{"extended", ""}, {"old", "--disable-epsv"}} {
			p := join(t, w, s)
			p.host = map[string]string{"IPv4": "127.0.0.1", "IPv6": "::1"}[w.family]
			if p.port = told[p.host]; p.port == "" {
				t.Fatalf("ready file: ftp = %q; want %s among them", s.ready.FTP, p.host)
			}
			args := p.curlArgs()
			if form.flag != "" {
				if w.family == "IPv6" {
					continue // PASV and PORT have no room for the address
				}
				args = append(args, form.flag, "--disable-eprt")
			}
			f := file{form.name + " " + w.String(), 100_000}
			plant(t, p.local, f.as(f.name))
			p.run(t, "curl", append(args, "-T", f.name, p.url(f.name))...)
			p.run(t, "curl", append(args, "-o", "back", p.url(f.name))...)
			if got := scan(t, p.local)["back"]; got != sum(f.content()) {
				t.Errorf("%v, %s commands: %s came back", w, form.name, got)
			}
			want = want.plus(treeOf(f.as(f.name)))
		}
	}
	same(t, s.root, want)
}

// SIGTERM lets an upload that runs come to its end, and takes no new visitors.
func TestSIGTERMDrains(t *testing.T) {
	for _, w := range []way{{"IPv4", "passive", "plain"}, {"IPv4", "passive", "explicit"}} {
		t.Run(w.String(), func(t *testing.T) {
			t.Parallel()
			peer(t, "curl")
			p := newPlay(t, w)
			plant(t, p.local, big.as("big.bin"))
			cmd := p.command("curl", p.curlArgs("--limit-rate", "2M", "-T", "big.bin", p.url("big.bin"))...)
			done := make(chan error, 1)
			var out string
			go func() {
				var err error
				out, err = cmd.output()
				done <- err
			}()
			for onDisk(t, p.root) < 1<<20 {
				select {
				case err := <-done:
					t.Fatalf("curl ended early: %v\n%s", err, out)
				case <-time.After(20 * time.Millisecond):
				}
			}
			if err := p.process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			if err := <-done; err != nil {
				t.Errorf("the upload: %v\n%s", err, out)
			}
			same(t, p.root, treeOf(big.as("big.bin")))
			select {
			case err := <-p.ended:
				p.ended <- err
			case <-time.After(15 * time.Second):
				t.Error("dray serve runs 15 s after the last transfer")
			}
			if out, err := p.try("curl", p.curlArgs(p.url(""))...); err == nil {
				t.Errorf("a visitor after SIGTERM is served:\n%s", out)
			}
		})
	}
}
