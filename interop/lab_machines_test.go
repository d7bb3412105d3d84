//go:build linux

package interop

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The addresses of the laboratory look public, so that a private one in a reply is
// wrong. Each scene has namespaces of its own, and all have the same addresses.
const (
	clientAddress = "203.0.113.10"
	routerAddress = "203.0.113.1"
	serverAddress = "203.0.113.20"
	insideAddress = "198.51.100.20" // of a server behind a router
	clientIPv6    = "2001:db8::10"
	serverIPv6    = "2001:db8::20"
	serverName    = "ftp.example.test"
	otherName     = "other.example.test"
)

// A machine is namespaces of its own for mounts, processes and network, as a room
// has them, in which /etc, /run, /srv, /var/lib, /usr/local/bin and the home of root
// are its own: what is pasted into a shell there stays there. Nothing of it has a name
// outside, and all of it goes with the process that keeps it.
type machine struct {
	t    *testing.T
	name string
	pid  int    // of the process that keeps it
	dir  string // where its own files are, seen from inside
}

// keep makes a machine of namespaces that are there, and keeps it until its standard
// input ends. There is no systemd in it: systemctl only notes that something is to be
// started again, or to be told that its configuration has changed.
const keep = `
mount --make-rprivate /
mount -t proc proc /proc
mount -t tmpfs -o mode=755 dray-test "$1"
cd "$1"
mkdir etc lib srv run bin root run/sshd
cp -a /etc/. etc/
rm -rf etc/dray etc/vsftpd* etc/proftpd etc/pure-ftpd etc/resolv.conf etc/ssh/ssh*
sed -i "s|^\\(root:[^:]*:[^:]*:[^:]*:[^:]*:\\)[^:]*|\\1$1/root|" etc/passwd
ln -s "$2" bin/dray
printf '#!/bin/sh\ncase " $* " in *" reload "*) touch /run/reload ;; *start*|*reload*) touch /run/restart ;; esac\n' >bin/systemctl
printf '#!/bin/sh\n[ "$1" = -u ] || exec "$@"\nuser=$2; shift 2; exec runuser -u "$user" -- "$@"\n' >bin/sudo
printf '#!/bin/sh\ncase "$*" in *yes/no*) echo yes ;; *) echo "$DRAY_PASSWORD" ;; esac\n' >bin/askpass
cp bin/systemctl bin/service
chmod 755 bin/*
for d in etc srv run; do mount --bind $d /$d; done
mount --bind lib /var/lib
mount --bind bin /usr/local/bin
ip link set lo up
cd /
echo ready
exec cat >/dev/null
`

// newMachine makes a machine without a network; it ends with the test.
func newMachine(t *testing.T, name string) *machine {
	t.Helper()
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	m := &machine{t: t, name: name, dir: t.TempDir()}
	cmd := exec.Command("sh", "-ec", keep, "sh", m.dir, bin)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET}
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
		missing(t, "MISSING RIGHT: no namespaces here: "+err.Error())
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	t.Cleanup(func() {
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the machine %s: %v\n%s", name, err, said.String())
		}
	})
	if err != nil || line != "ready\n" {
		t.Fatalf("the machine %s can't be made: %q, %v", name, line, err)
	}
	m.pid = cmd.Process.Pid
	return m
}

// path is where the test finds a file of m.
func (m *machine) path(name string) string { return fmt.Sprintf("/proc/%d/root%s", m.pid, name) }

// write writes a file of m that every user may read, and returns its name.
func (m *machine) write(name, text string) string {
	m.t.Helper()
	if err := os.MkdirAll(filepath.Dir(m.path(name)), 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(m.path(name), []byte(text), 0o644); err != nil {
		m.t.Fatal(err)
	}
	return name
}

// add appends lines to a file of m.
func (m *machine) add(name, text string) {
	m.t.Helper()
	old, err := os.ReadFile(m.path(name))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		m.t.Fatal(err)
	}
	m.write(name, string(old)+text)
}

// in is a command in m. All of its processes end with ctx.
func (m *machine) in(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "nsenter", append([]string{"-t", fmt.Sprint(m.pid), "-m", "-n", "-p", "-w" + m.dir, "--"}, args...)...)
	cmd.Env = []string{"PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + m.dir + "/root", "LC_ALL=C.UTF-8", "TZ=UTC", "TERM=dumb", "DRAY_PASSWORD=" + password}
	cmd.Cancel = func() error { return m.end(cmd) }
	cmd.WaitDelay = 2 * time.Second
	return cmd
}

// end ends a command of m that runs, and every process that it has started.
func (m *machine) end(cmd *exec.Cmd) error {
	for _, pid := range below(m.t, cmd.Process.Pid) {
		_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended
	}
	return cmd.Process.Kill()
}

// shell runs a script in m as if it were pasted into a shell there.
func (m *machine) shell(limit time.Duration, script string) (out string, err error) {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), limit)
	defer cancel()
	b, err := m.in(ctx, "sh", "-c", script).CombinedOutput()
	if ctx.Err() != nil {
		err = fmt.Errorf("not done after %v", limit)
	}
	return string(b), err
}

// must is shell for what has to succeed.
func (m *machine) must(script string) string {
	m.t.Helper()
	out, err := m.shell(30*time.Second, script)
	if err != nil {
		m.t.Fatalf("%s: %s: %v\n%s", m.name, script, err, out)
	}
	return out
}

// nft loads rules, as nft -f does.
func (m *machine) nft(rules string) {
	m.t.Helper()
	cmd := m.in(m.t.Context(), "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(rules)
	if out, err := cmd.CombinedOutput(); err != nil {
		m.t.Fatalf("%s: nft: %v\n%s\n%s", m.name, err, out, rules)
	}
}

// cable joins a device of m to one of other. The addresses of both have their lengths.
func (m *machine) cable(device string, addresses []string, other *machine, itsDevice string, itsAddresses []string) {
	m.t.Helper()
	// Not among the processes of m: other's is told by its number here.
	add := exec.Command("nsenter", "-t", fmt.Sprint(m.pid), "-n", "--", "ip", "link", "add", device, "type", "veth",
		"peer", "name", itsDevice, "netns", fmt.Sprint(other.pid))
	if out, err := add.CombinedOutput(); err != nil {
		m.t.Fatalf("a cable from %s to %s: %v\n%s", m.name, other.name, err, out)
	}
	m.plug(device, addresses)
	other.plug(itsDevice, itsAddresses)
}

// tun makes a device of m of which the packets come out of a file, and go in there.
func (m *machine) tun(device string) *os.File {
	m.t.Helper()
	var f *os.File
	err := m.inside(func() error {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		req, err := unix.NewIfreq(device)
		if err == nil {
			req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
			err = unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
		}
		f = os.NewFile(uintptr(fd), device) // not before: no device, no events
		m.t.Cleanup(func() { _ = f.Close() })
		return err
	})
	if err != nil {
		missing(m.t, fmt.Sprintf("MISSING DEVICE /dev/net/tun: no way of a distance to %s: %v", m.name, err))
	}
	return f
}

// carry takes packets from one end to the other; each is under way so long. It ends
// with the test. (netem would do that too, and is not in every kernel.)
func carry(t *testing.T, from, to *os.File, each time.Duration) {
	type packet struct {
		due   time.Time
		bytes []byte
	}
	way := make(chan packet, 10_000)
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(way)
		b := make([]byte, 1<<16)
		for {
			n, err := from.Read(b)
			if err != nil {
				return
			}
			way <- packet{time.Now().Add(each), bytes.Clone(b[:n])}
		}
	})
	wg.Go(func() {
		for p := range way {
			time.Sleep(time.Until(p.due))
			_, _ = to.Write(p.bytes) // it may be closed: then nobody waits for it
		}
	})
	t.Cleanup(func() {
		_ = from.Close()
		wg.Wait()
	})
}

func (m *machine) plug(device string, addresses []string) {
	m.t.Helper()
	var script strings.Builder
	script.WriteString("set -e\n")
	for _, a := range addresses {
		dad := ""
		if strings.Contains(a, ":") {
			dad = " nodad"
		}
		fmt.Fprintf(&script, "ip address add %s dev %s%s\n", a, device, dad)
	}
	fmt.Fprintf(&script, "ip link set %s up\n", device)
	m.must(script.String())
}

// inside calls do on a thread in the network of m. What do opens stays in it.
func (m *machine) inside(do func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", m.pid))
		if err != nil {
			done <- err
			return
		}
		defer ns.Close()
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("setns: %w", err)
			return
		}
		done <- do()
	}()
	return <-done
}

// listen listens in the network of m until the test ends.
func (m *machine) listen(port int) net.Listener {
	m.t.Helper()
	var l net.Listener
	if err := m.inside(func() (err error) {
		l, err = net.Listen("tcp4", fmt.Sprintf("0.0.0.0:%d", port))
		return err
	}); err != nil {
		m.t.Fatalf("%s: %v", m.name, err)
	}
	m.t.Cleanup(func() { _ = l.Close() })
	return l
}

// dial connects from m to an address in digits.
func (m *machine) dial(addr string) (c net.Conn, err error) {
	err = m.inside(func() (err error) {
		c, err = net.DialTimeout("tcp", addr, 10*time.Second)
		return err
	})
	return c, err
}

// listens tells whether somebody in m listens on a port.
func (m *machine) listens(port int) bool {
	for _, table := range []string{"tcp", "tcp6"} {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", m.pid, table)) // no tcp6: no IPv6
		for line := range strings.Lines(string(b)) {
			if f := strings.Fields(line); len(f) > 3 && f[3] == "0A" && strings.HasSuffix(f[1], fmt.Sprintf(":%04X", port)) {
				return true
			}
		}
	}
	return false
}
