//go:build linux

package interop

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A room is this machine as if dray had never been on it, in namespaces of its
// own for mounts and network: what is done in it stays in it. The program is
// installed as the README says.
type room struct {
	pid int // of the process that keeps it
	dir string
}

// setUp makes /etc a copy, and /var/lib, /srv and /usr/local/bin empty. It ends
// when its standard input does.
const setUp = `
mount -t tmpfs dray-test "$1"
mkdir "$1/etc" "$1/lib" "$1/srv" "$1/bin"
cp -a /etc/. "$1/etc/"
rm -rf "$1/etc/dray" "$1/etc/systemd/system/dray.service"
mkdir -p "$1/etc/systemd/system"
mount --bind "$1/etc" /etc
mount --bind "$1/lib" /var/lib
mount --bind "$1/srv" /srv
mount --bind "$1/bin" /usr/local/bin
if getent passwd dray >/dev/null; then userdel dray; fi
if getent group dray >/dev/null; then groupdel dray; fi
ip link set lo up
install "$2" /usr/local/bin/dray
echo ready
cat >/dev/null
`

// tool is peer for a program of a package with another name.
func tool(t *testing.T, name, pkg string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		missing(t, "MISSING PEER "+name+": apt-get install "+pkg)
	}
}

func newRoom(t *testing.T) *room {
	t.Helper()
	needsRoot(t, "a machine of its own")
	for name, pkg := range map[string]string{"unshare": "util-linux", "nsenter": "util-linux", "ip": "iproute2", "useradd": "passwd"} {
		tool(t, name, pkg)
	}
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	if err := exec.Command("unshare", "-mn", "true").Run(); err != nil {
		missing(t, "MISSING PEER unshare: no namespaces here: "+err.Error())
	}
	r := &room{dir: t.TempDir()}
	cmd := exec.Command("unshare", "-mn", "--propagation", "private", "sh", "-ec", setUp, "sh", r.dir, bin)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r.pid = cmd.Process.Pid // unshare becomes the shell
	line, err := bufio.NewReader(out).ReadString('\n')
	t.Cleanup(func() {
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the room: %v\n%s", err, said.String())
		}
	})
	if err != nil || line != "ready\n" {
		t.Fatalf("the room can't be made: %q, %v", line, err)
	}
	return r
}

// in is a command in the room.
func (r *room) in(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "nsenter", append([]string{"-t", fmt.Sprint(r.pid), "-m", "-n", "--"}, args...)...)
	cmd.Env = []string{"PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8"}
	cmd.WaitDelay = 2 * time.Second
	return cmd
}

// run runs a command in the room; it must succeed.
func (r *room) run(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := r.in(ctx, args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// "dray init", "dray user add" and "dray serve --config" are the whole way on a
// machine that has never seen dray: then curl moves files over both kinds of TLS,
// verified, and the server is not root.
func TestThreeStepsOnAFreshMachine(t *testing.T) {
	t.Parallel()
	peer(t, "curl")
	peer(t, "openssl")
	r := newRoom(t)
	made := r.run(t, "", "dray", "init")
	r.run(t, password+"\n", "dray", "user", "add", "anna")

	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	printed := func() string {
		b, err := os.ReadFile(log.Name())
		if err != nil {
			t.Error(err)
		}
		return string(b)
	}
	cmd := r.in(context.Background(), "dray", "serve", "--config", "/etc/dray/dray.toml")
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("dray serve after SIGTERM: %v; want exit status 0", err)
			}
		case <-time.After(20 * time.Second):
			_ = cmd.Process.Kill()
			t.Error("dray serve did not end within 20 s of SIGTERM")
		}
		if t.Failed() {
			t.Logf("dray init printed:\n%s\ndray serve printed:\n%s", made, printed())
		}
	})
	within(t, "a server on ports 21 and 990", func() bool {
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("dray serve has ended: %v\n%s", err, printed())
		default:
		}
		out, err := r.in(t.Context(), "ss", "-Hltn").Output()
		if err != nil {
			t.Fatal(err)
		}
		return regexp.MustCompile(`:21\s`).Match(out) && regexp.MustCompile(`:990\s`).Match(out)
	})

	c := watch(cmd.Process.Pid, 1<<capNetBind)
	secret := regexp.MustCompile(`(?m)^\s*password\s+(\S+)`).FindStringSubmatch(made)
	if secret == nil {
		t.Fatalf("dray init shows no password:\n%s", made)
	}
	for _, u := range []struct{ name, password string }{{"anna", password}, {"ftpuser", secret[1]}} {
		for _, url := range []string{"ftp://localhost/", "ftps://localhost/"} {
			content := "by " + u.name + " over " + url
			curl := func(stdin string, more ...string) string {
				t.Helper()
				return r.run(t, stdin, append([]string{"curl", "-q", "-sS", "--max-time", "50", "--ssl-reqd", "--cacert", "/var/lib/dray/certificate.crt",
					"-u", u.name + ":" + u.password}, more...)...)
			}
			curl(content, "-T", "-", url+"file.txt")
			if got := curl("", url+"file.txt"); got != content {
				t.Errorf("%s over %s: %q came back; want %q", u.name, url, got, content)
			}
		}
		if got := r.run(t, "", "stat", "-c", "%U:%G", "/srv/ftp/"+u.name+"/file.txt"); got != "dray:dray\n" {
			t.Errorf("the file of %s belongs to %s; want dray:dray", u.name, got)
		}
	}
	c.end(t)
	for _, secret := range []string{password, secret[1]} {
		if strings.Contains(printed(), secret) {
			t.Errorf("dray serve printed a password:\n%s", printed())
		}
	}
	// What the card says about the certificate is what a client can see.
	sum := regexp.MustCompile(`SHA-256 ((?:[0-9A-F]{2}:){31}[0-9A-F]{2})`).FindStringSubmatch(made)
	if sum == nil || !strings.Contains(r.run(t, "", "openssl", "x509", "-in", "/var/lib/dray/certificate.crt", "-noout", "-fingerprint", "-sha256"), sum[1]) {
		t.Errorf("dray init shows another fingerprint than the certificate has:\n%s", made)
	}
	// The state is the server's, and nobody else reads it.
	if got := r.run(t, "", "stat", "-c", "%U:%G %a", "/var/lib/dray"); got != "dray:dray 700\n" {
		t.Errorf("/var/lib/dray is %s; want dray:dray 700", got)
	}
	if got := r.run(t, "", "find", "/var/lib/dray", "!", "-user", "dray"); got != "" {
		t.Errorf("not the server's in /var/lib/dray:\n%s", got)
	}
	// A second init changes nothing.
	again := r.in(t.Context(), "dray", "init")
	if out, err := again.CombinedOutput(); err == nil || again.ProcessState.ExitCode() != 2 || !strings.Contains(string(out), "/etc/dray/dray.toml exists") {
		t.Errorf("a second dray init: %v; want status 2\n%s", err, out)
	}
}
