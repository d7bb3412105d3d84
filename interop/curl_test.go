package interop

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

var curl = client{
	name:  "curl",
	needs: func(t *testing.T) { peer(t, "curl") },
	cannot: func(w way) string {
		if w.active() && !w.plain() {
			return `7.88 fails every active transfer over TLS by itself, with any server ("sa_addr inet_ntop() failed")`
		}
		return ""
	},
	story: func(t *testing.T, p *play) {
		versions := [][]string{nil}
		if !p.plain() {
			versions = [][]string{{"--tlsv1.2", "--tls-max", "1.2"}, {"--tlsv1.3"}}
		}
		stored := plant(t, p.root, all()...)
		for i, version := range versions {
			stored = curlStory(t, p, fmt.Sprintf("round%d", i), stored, version)
		}
	},
}

// curlArgs are the arguments of every call.
func (p *play) curlArgs(more ...string) []string {
	args := []string{"-q", "-sS", "-g", "--max-time", "50", "-u", user + ":" + password}
	if p.active() {
		args = append(args, "--ftp-port", "-")
	}
	if p.tls == "explicit" {
		args = append(args, "--ssl-reqd")
	}
	switch {
	case p.plain():
	case p.ca == "":
		args = append(args, "-k")
	default:
		args = append(args, "--cacert", p.ca)
	}
	return append(args, more...)
}

// curlStory does everything once, in directories named round, and returns what
// the server must hold after it.
func curlStory(t *testing.T, p *play, round string, stored tree, version []string) tree {
	t.Helper()
	call := func(more ...string) string {
		t.Helper()
		return p.run(t, "curl", p.curlArgs(append(version, more...)...)...)
	}
	local := filepath.Join(p.local, round)
	source := plant(t, filepath.Join(local, "up"), all()...)

	var top []string
	for name := range stored {
		if !strings.Contains(name, "/") {
			top = append(top, name)
		}
	}
	sameNames(t, "NLST of the root", call("-l", p.url("")), top)
	long := call(p.url(""))
	for _, f := range samples {
		if !strings.Contains(long, " "+f.name+"\r\n") && !strings.Contains(long, " "+f.name+"\n") {
			t.Errorf("LIST shows no %q:\n%s", f.name, long)
		}
	}

	var down, up []string
	for _, f := range samples {
		down = append(down, p.url(f.name), "-o", filepath.Join(local, "down", f.name))
		up = append(up, "-T", filepath.Join(local, "up", f.name), p.url(round+"/new directory/"+f.name))
	}
	// In one session curl 7.88 sleeps for a second before each further data
	// connection when the reply to EPSV was quick: downloads go side by side.
	call(append(down, "--create-dirs", "-Z")...)
	same(t, filepath.Join(local, "down"), treeOf(all()...))

	// The directories do not exist yet: MKD comes after a refused CWD.
	call(append(up, "--ftp-create-dirs")...)
	stored = stored.plus(source.below("new directory").below(round))
	same(t, p.root, stored)

	// Both directions go on from the half.
	half := big.content()[:big.size/2]
	plant(t, local, named{"resumed.bin", half})
	call("-C", "-", "-o", filepath.Join(local, "resumed.bin"), p.url(big.name))
	plant(t, p.root, named{round + "/resumed.bin", half})
	call("-C", "-", "-T", filepath.Join(local, "up", big.name), p.url(round+"/resumed.bin"))
	stored = stored.plus(treeOf(big.as(round + "/resumed.bin")))
	same(t, p.root, stored)
	if got := scan(t, local)["resumed.bin"]; got != sum(big.content()) {
		t.Errorf("resumed download: %s; want %s", got, sum(big.content()))
	}

	// A piece: curl hangs up on the data connection before the end.
	call("-r", "1000-1999", "-o", filepath.Join(local, "piece"), p.url(big.name))
	if got := scan(t, local)["piece"]; got != sum(big.content()[1000:2000]) {
		t.Errorf("bytes 1000 to 1999: %s; want %s", got, sum(big.content()[1000:2000]))
	}

	// Eight at once, each way, over sessions that share their tickets.
	var out, in []string
	var eight []named
	for i := range 8 {
		name := fmt.Sprintf("parallel-%d.bin", i)
		f := file{name, 300_000 + i}
		eight = append(eight, f.as(name))
		in = append(in, "-T", filepath.Join(local, "eight", name), p.url(round+"/eight/"+name))
		out = append(out, p.url(round+"/eight/"+name), "-o", filepath.Join(local, "back", name))
	}
	if err := os.Mkdir(filepath.Join(p.root, round, "eight"), 0o755); err != nil {
		t.Fatal(err)
	}
	want := plant(t, filepath.Join(local, "eight"), eight...)
	call(append(in, "-Z", "--parallel-immediate", "--parallel-max", "8")...)
	stored = stored.plus(want.below("eight").below(round))
	same(t, p.root, stored)
	call(append(out, "-Z", "--parallel-immediate", "--parallel-max", "8", "--create-dirs")...)
	same(t, filepath.Join(local, "back"), want)
	return stored
}

// A client under TLS begins the handshake on the data connection as soon as it
// stands. An upload that is refused before that must not reset it: curl would say
// "bad PASV response" in place of the server's sentence.
func TestCurlHearsWhyAnUploadIsRefused(t *testing.T) {
	t.Parallel()
	peer(t, "curl")
	s := start(t, t.TempDir(), "--read-only", "--ftp", "127.0.0.1:0", "--ftps", "127.0.0.1:0")
	file := filepath.Join(t.TempDir(), "up")
	if err := os.WriteFile(file, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, url := range []string{"ftp://" + s.ready.FTP[0] + "/up", "ftps://" + s.ready.FTPS[0] + "/up"} {
		for range 5 {
			cmd := exec.CommandContext(t.Context(), "curl", "-q", "-sS", "-k", "--ssl-reqd", "--max-time", "20", "-u", user+":"+password, "-T", file, url)
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != 25 {
				t.Errorf("curl -T %s: %v\n%s; want status 25, an upload that failed", url, err, out)
			}
		}
	}
}
