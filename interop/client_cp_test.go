//go:build linux

package interop

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// allowing is a server of dray with a configuration that begins with commands, over
// explicit TLS, and where plain is given in clear text too.
func allowing(commands, listener string) func(t *testing.T, s *station, more []string) {
	return func(t *testing.T, s *station, _ []string) {
		bin, err := binary()
		if err != nil {
			t.Fatal(err)
		}
		s.at, s.known = "ftp /", true
		if strings.Contains(listener, "plain = true") {
			s.at, s.known = "ftp+plain /", false
		}
		state := filepath.Join(s.own, "state")
		if err := os.Mkdir(state, 0o700); err != nil {
			t.Fatal(err)
		}
		file := s.write(t, "dray.toml", fmt.Sprintf("state = %q\npassive = %q\nsync = \"none\"\n\n%s\n\n[[listener]]\nlisten = [%q]\n%s\n", state, s.ports("-"), commands, s.addr(), listener))
		add := exec.Command(bin, "user", "add", user, "--config", file, "--home", s.root)
		add.Stdin = strings.NewReader(password + "\n")
		if out, err := add.CombinedOutput(); err != nil {
			t.Fatalf("dray user add: %v\n%s", err, out)
		}
		s.make = func(t *testing.T, s *station) *exec.Cmd { return exec.Command(bin, "serve", "--config", file) }
	}
}

const (
	fxpSwitch  = "[commands]\nallow = [\"FXP\"]"
	copySwitch = "[commands]\nallow = [\"COPY\"]"
	clearText  = "plain = true\nclear-data = true"
)

// A partner is one of two servers between which files are copied.
type partner struct {
	name string // of a recipe, or "dray"
	more []string
	own  func(t *testing.T, s *station, more []string)
}

func (p partner) start(t *testing.T, host string) *station {
	t.Helper()
	if p.own == nil {
		return visitAt(t, host, p.name, open(t), p.more...)
	}
	s := &station{name: p.name, root: open(t), own: open(t), host: host}
	for s.low = lowPort(); !free(s.low); s.low = lowPort() {
	}
	p.own(t, s, nil)
	s.start(t)
	return s
}

// Between two servers that allow it no byte of a file comes here; between others all
// do. What arrives is whole either way, with its times, and nothing else is left. The
// three have addresses of their own, because servers let their own client be anything.
func TestFilesBetweenTwoServers(t *testing.T) {
	t.Parallel()
	var (
		vsftpd     = partner{name: "vsftpd plain", more: []string{"port_promiscuous=YES", "pasv_promiscuous=YES"}}
		strict     = partner{name: "vsftpd plain"}
		pure       = partner{name: "Pure-FTPd", more: []string{"-Y", "0", "-w"}}
		pureTLS    = partner{name: "Pure-FTPd", more: []string{"-w"}}
		python     = partner{name: "pyftpdlib plain", more: []string{"foreign"}}
		proftpd    = partner{name: "ProFTPD TLS 1.3", more: []string{"AllowForeignAddress on", "TLSOptions NoSessionReuseRequired"}}
		proftpd12  = partner{name: "ProFTPD TLS 1.2", more: []string{"AllowForeignAddress on", "TLSOptions NoSessionReuseRequired"}}
		reuses     = partner{name: "ProFTPD TLS 1.3", more: []string{"AllowForeignAddress on"}}
		dray       = partner{name: "dray plain", own: allowing(fxpSwitch, clearText)}
		drayStrict = partner{name: "dray plain", own: allowing("", clearText)}
		drayTLS    = partner{name: "dray TLS", own: allowing(fxpSwitch, "")}
		drayNoFXP  = partner{name: "dray TLS", own: allowing("", "")}
	)
	for _, try := range []struct {
		name     string
		from, to partner
		flag     string
		fxp      bool
		why      string // that it goes through here
		either   bool   // some versions end at the first data connection on which they are TLS client
	}{
		{name: "vsftpd to vsftpd", from: vsftpd, to: vsftpd, flag: "--plain", fxp: true},
		{name: "vsftpd that forbids it", from: strict, to: strict, flag: "--plain", why: "500 Illegal PORT command."},
		{name: "vsftpd that forbids it to one that does not", from: strict, to: vsftpd, flag: "--plain", why: "500 Illegal PORT command."},
		{name: "Pure-FTPd to Pure-FTPd", from: pure, to: pure, flag: "--plain", fxp: true},
		{name: "Pure-FTPd to vsftpd", from: pure, to: vsftpd, flag: "--plain", fxp: true},
		{name: "vsftpd to Pure-FTPd", from: vsftpd, to: pure, flag: "--plain", fxp: true},
		{name: "pyftpdlib to vsftpd", from: python, to: vsftpd, flag: "--plain", fxp: true},
		{name: "dray to pyftpdlib", from: dray, to: python, flag: "--plain", fxp: true},
		{name: "dray to dray", from: dray, to: dray, flag: "--plain", fxp: true},
		{name: "dray to vsftpd", from: dray, to: vsftpd, flag: "--plain", fxp: true},
		{name: "vsftpd to dray", from: vsftpd, to: dray, flag: "--plain", fxp: true},
		{name: "dray that forbids it", from: drayStrict, to: drayStrict, flag: "--plain", why: "[illegal-port]"},
		{name: "dray that forbids it to vsftpd that does not", from: drayStrict, to: vsftpd, flag: "--plain", why: "[illegal-port]"},
		{name: "vsftpd to dray that forbids it", from: vsftpd, to: drayStrict, flag: "--plain", why: "[illegal-port]"},
		{name: "TLS dray that forbids it to ProFTPD", from: drayNoFXP, to: proftpd, why: "[illegal-port]"},
		{name: "TLS dray to dray", from: drayTLS, to: drayTLS, fxp: true},
		{name: "TLS dray that forbids it", from: drayNoFXP, to: drayNoFXP, why: "SSCN or CPSV"},
		{name: "TLS dray to Pure-FTPd", from: drayTLS, to: pureTLS, fxp: true},
		{name: "TLS Pure-FTPd to dray", from: pureTLS, to: drayTLS, fxp: true},
		{name: "TLS ProFTPD to ProFTPD", from: proftpd, to: proftpd, either: true},
		{name: "TLS 1.2 ProFTPD to ProFTPD", from: proftpd12, to: proftpd12, either: true},
		{name: "TLS ProFTPD to dray", from: proftpd, to: drayTLS, fxp: true},
		{name: "TLS dray to ProFTPD", from: drayTLS, to: proftpd, fxp: true},
		{name: "TLS ProFTPD that wants sessions resumed", from: reuses, to: reuses, why: "machine"},
		{name: "TLS to clear text", from: drayTLS, to: dray, flag: "--plain", why: "one of them encrypts its data"},
	} {
		t.Run(try.name, func(t *testing.T) {
			t.Parallel()
			from, to := try.from.start(t, "127.0.0.2"), try.to.start(t, "127.0.0.3")
			from.flags, to.flags = nil, nil
			from.known = false // below, for both
			g := customerOf(t, from)
			for _, s := range []*station{from, to} {
				if try.flag == "" || s.name == "dray TLS" {
					g.trust("ftp://" + s.addr())
				}
			}
			want := plant(t, filepath.Join(from.root, "d"), hundred()...)
			age(t, filepath.Join(from.root, "d"))
			cp := func(status int, args ...string) result {
				t.Helper()
				if try.flag != "" {
					args = append([]string{try.flag}, args...)
				}
				return g.must(status, append([]string{"cp"}, args...)...)
			}
			out := cp(0, "-r", "-P", "4", "--retry", "1", "--log", g.in("log"), "-vv", from.url("d"), to.url(""))
			same(t, to.root, want.below("d"))
			step := time.Second
			if strings.HasPrefix(from.name, "vsftpd") { // its listings have minutes
				step = time.Minute
			}
			sameTimes(t, "cp", filepath.Join(from.root, "d"), filepath.Join(to.root, "d"), step)
			log, err := os.ReadFile(g.in("log"))
			if err != nil {
				t.Fatal(err)
			}
			here := strings.Count(string(log), "-- RETR: ") + strings.Count(string(log), "-- STOR: ")
			if try.fxp { // what has no bytes may come here
				here -= strings.Count(string(log), "-- RETR: 0 bytes") + strings.Count(string(log), "-- STOR: 0 bytes")
			}
			switch {
			case try.either:
			case try.fxp && (here > 0 || !strings.Contains(out.stderr, "(FXP)")):
				t.Errorf("%d transfers were ours: %v", here, out)
			case !try.fxp && here != 200:
				t.Errorf("%d transfers were ours; want 200: %v", here, out)
			case !try.fxp && strings.Count(out.stderr, "the bytes go through this machine") != 1:
				t.Errorf("it is not said once that the bytes go through here: %v", out)
			case !try.fxp && !strings.Contains(out.stderr, try.why):
				t.Errorf("%v; want %q", out, try.why)
			}
			// Once more over what is there.
			plant(t, filepath.Join(from.root, "d"), named{"one more", []byte("one more")})
			cp(0, "-q", "--through", "--verify", "hash", from.url("d/one more"), to.url("d/.hidden"))
			cp(0, "-q", "--verify", "hash", from.url("d/one more"), to.url("d/grüße 世界.dat"))
			want[".hidden"], want["grüße 世界.dat"] = sum([]byte("one more")), sum([]byte("one more"))
			cp(7, "-q", "--retry", "0", from.url("d/none"), to.url("d/x"))
			same(t, to.root, want.below("d"))
			noParts(t, to.root)
		})
	}
}

// A copy on one server is made by it, where it can.
func TestFilesOnOneServer(t *testing.T) {
	t.Parallel()
	for _, try := range []struct {
		name   string
		p      partner
		direct bool
	}{
		{"OpenSSH", partner{name: "OpenSSH"}, true},
		{"dray over SFTP", partner{name: "dray sftp"}, true},
		{"dray over FTP", partner{name: "dray TLS", own: allowing(copySwitch, "")}, true},
		{"dray over FTP where it is not switched on", partner{name: "dray TLS", own: allowing("", "")}, false},
		{"ProFTPD", partner{name: "ProFTPD TLS 1.3", more: []string{"LoadModule mod_copy.c"}}, true},
		{"vsftpd", partner{name: "vsftpd TLS 1.3"}, false},
	} {
		t.Run(try.name, func(t *testing.T) {
			t.Parallel()
			s := try.p.start(t, "127.0.0.1")
			g := customerOf(t, s)
			want := plant(t, filepath.Join(s.root, "d"), hundred()...)
			if err := os.Chmod(s.root, 0o777); err != nil {
				t.Fatal(err)
			}
			age(t, filepath.Join(s.root, "d"))
			out := g.must(0, "cp", "-r", "--retry", "0", g.url("d"), g.url("e"))
			same(t, filepath.Join(s.root, "e"), want)
			step := time.Second
			if strings.HasPrefix(s.name, "vsftpd") {
				step = time.Minute
			}
			sameTimes(t, "cp", filepath.Join(s.root, "d"), filepath.Join(s.root, "e"), step)
			if strings.Contains(out.stderr, "the server copies it by itself") != try.direct {
				t.Errorf("%v; want that said: %v", out, try.direct)
			}
			if strings.Contains(out.stderr, "through this machine") { // nobody expects it of a server that does not offer it
				t.Errorf("%v", out)
			}
			plant(t, filepath.Join(s.root, "d"), named{"one more", []byte("one more")})
			g.must(0, "cp", "-q", "--verify", "hash", g.url("d/one more"), g.url("e/.hidden"))
			want[".hidden"] = sum([]byte("one more"))
			same(t, filepath.Join(s.root, "e"), want)
			g.must(7, "cp", "-q", "--retry", "0", g.url("d/none"), g.url("e/x"))
			same(t, filepath.Join(s.root, "e"), want)
			noParts(t, s.root)
		})
	}
}

// A copy between two servers that ends in its middle leaves what was there, and no
// beginning of the new file: not when the source dies, which the target takes for the
// end of the file, and not when somebody stops the client.
func TestACopyBetweenTwoServersThatIsCut(t *testing.T) {
	t.Parallel()
	slow := partner{name: "vsftpd plain", more: []string{"port_promiscuous=YES", "pasv_promiscuous=YES", "local_max_rate=400000"}}
	for _, to := range []partner{
		{name: "vsftpd plain", more: []string{"port_promiscuous=YES", "pasv_promiscuous=YES"}},
		{name: "Pure-FTPd", more: []string{"-Y", "0", "-w"}},
		{name: "dray plain", own: allowing(fxpSwitch, clearText)},
	} {
		for _, how := range []string{"the source dies", "Ctrl-C"} {
			t.Run(to.name+" "+how, func(t *testing.T) {
				t.Parallel()
				from, to := slow.start(t, "127.0.0.2"), to.start(t, "127.0.0.3")
				from.flags, from.known = []string{"--plain"}, false
				g := customerOf(t, from)
				plant(t, from.root, file{"big", 4 << 20}.as("big"))
				want := plant(t, to.root, named{"big", []byte("what was there")})
				if err := os.Chmod(filepath.Join(to.root, "big"), 0o666); err != nil {
					t.Fatal(err)
				}
				r := g.begin("cp", "--retry", "0", "--jsonl", from.url("big"), to.url("big"))
				for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
					came := int64(0)
					entries, err := os.ReadDir(to.root)
					if err != nil {
						t.Fatal(err)
					}
					for _, e := range entries {
						if fi, err := e.Info(); err == nil && e.Name() != "big" {
							came += fi.Size()
						}
					}
					if came > 200<<10 {
						break
					}
					if time.Now().After(deadline) {
						t.Fatalf("nothing comes: %v", r.end())
					}
				}
				if how == "Ctrl-C" {
					if err := r.Process.Signal(os.Interrupt); err != nil {
						t.Fatal(err)
					}
				} else {
					from.kill(t)
				}
				out := r.end()
				if how == "Ctrl-C" && out.status != 130 || out.status == 0 {
					t.Errorf("%v", out)
				}
				same(t, to.root, want)
			})
		}
	}
}
