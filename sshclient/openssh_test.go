package sshclient

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"dray/fault"
)

// tool is a program of OpenSSH. Without it the test is skipped, and fails under CI.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		path = "/usr/sbin/" + name
		_, err = os.Stat(path)
	}
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("%s is missing", name)
		}
		t.Skipf("SKIPPED: OpenSSH's %s is missing", name)
	}
	return path
}

// keygen makes a key with OpenSSH, and returns its file.
func keygen(t *testing.T, dir, name, kind, phrase string, more ...string) string {
	t.Helper()
	file := filepath.Join(dir, name)
	if out, err := exec.Command(tool(t, "ssh-keygen"), append([]string{"-q", "-t", kind, "-N", phrase, "-C", name, "-f", file}, more...)...).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen: %v\n%s", err, out)
	}
	return file
}

func public(t *testing.T, file string) ssh.PublicKey {
	t.Helper()
	k, _, err := readPublic(file + ".pub")
	need(t, err)
	return k
}

// realServer has an sshd of its own for each connection, with a port of the test.
func realServer(t *testing.T, lines ...string) *peer {
	t.Helper()
	sshd := tool(t, "sshd")
	if os.Getuid() == 0 {
		if _, err := os.Stat("/run/sshd"); err != nil && os.Getenv("CI") == "" {
			t.Skip("SKIPPED: sshd has no /run/sshd to run as root")
		}
	}
	file := filepath.Join(t.TempDir(), "sshd_config")
	text := "UsePAM no\nStrictModes no\nPermitRootLogin yes\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nSubsystem sftp internal-sftp\nPidFile none\n" + strings.Join(lines, "\n") + "\n"
	need(t, os.WriteFile(file, []byte(text), 0o600))
	if out, err := exec.Command(sshd, "-t", "-f", file).CombinedOutput(); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("sshd does not start: %v\n%s", err, out)
		}
		t.Skipf("SKIPPED: sshd does not start: %v\n%s", err, out)
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	host, port := speaker(t, func(c net.Conn) {
		f, err := c.(*net.TCPConn).File()
		if err != nil {
			return
		}
		defer f.Close()
		cmd := exec.CommandContext(ctx, sshd, "-i", "-f", file, "-e")
		cmd.Stdin, cmd.Stdout = f, f
		if err := cmd.Start(); err != nil {
			return
		}
		f.Close()
		c.Close() // sshd has it now
		_ = cmd.Wait()
	})
	return &peer{t: t, host: host, port: port, addr: net.JoinHostPort(host, fmt.Sprint(port))}
}

// isSFTP asks for the version (draft-ietf-secsh-filexfer-02, 4).
func isSFTP(t *testing.T, c *Conn) {
	t.Helper()
	ch, err := c.Subsystem(t.Context(), "sftp")
	need(t, err)
	_, err = ch.Write([]byte{0, 0, 0, 5, 1, 0, 0, 0, 3})
	need(t, err)
	got := make([]byte, 9)
	if _, err := io.ReadFull(ch, got); err != nil || !bytes.Equal(got[4:], []byte{2, 0, 0, 0, 3}) {
		t.Errorf("the answer to INIT is %v, %v", got, err)
	}
	need(t, ch.Close())
}

func TestWithOpenSSH(t *testing.T) {
	dir := t.TempDir()
	hostKey, rsaHost := keygen(t, dir, "host", "ed25519", ""), keygen(t, dir, "rsahost", "rsa", "")
	authorized := filepath.Join(dir, "authorized")
	plain, locked, rsaKey := keygen(t, dir, "plain", "ed25519", ""), keygen(t, dir, "locked", "ecdsa", passphrase), keygen(t, dir, "rsa", "rsa", "")
	var lines []byte
	old, oldLocked, bare := keygen(t, dir, "old", "rsa", "", "-m", "PEM"), keygen(t, dir, "oldlocked", "ecdsa", passphrase, "-m", "PEM"), keygen(t, dir, "bare", "rsa", passphrase, "-m", "PEM")
	kinds := []string{plain, locked, rsaKey, old, oldLocked, bare, keygen(t, dir, "pkcs8", "ecdsa", "", "-m", "PKCS8")}
	for _, f := range kinds {
		lines = append(lines, ssh.MarshalAuthorizedKey(public(t, f))...)
	}
	need(t, os.WriteFile(authorized, lines, 0o600))
	need(t, os.Remove(bare+".pub")) // only the passphrase shows what key it is
	p := realServer(t, "HostKey "+hostKey, "HostKey "+rsaHost, "AuthorizedKeysFile "+authorized)
	start := func(t *testing.T) (*stage, Options) {
		st := newStage(t)
		o := st.options(p)
		o.User = localUser()
		return st, o
	}

	t.Run("keys of all kinds", func(t *testing.T) {
		for _, file := range kinds {
			for _, host := range []string{hostKey, rsaHost} {
				st, o := start(t)
				st.trust(p, public(t, host))
				o.Identities, o.Prompt = []string{file}, (&answering{answers: []string{passphrase}}).prompt
				c := st.connects(o)
				if !same(c.HostKey(), public(t, host)) || !strings.HasPrefix(c.Server(), "SSH-2.0-OpenSSH") {
					t.Errorf("%s with %s", c.Server(), c.Fingerprint())
				}
				isSFTP(t, c)
			}
		}
	})
	t.Run("a server that is not known", func(t *testing.T) {
		st, o := start(t)
		st.fails(o, fault.IDHostKeyNew)
		keys, err := Fetch(t.Context(), o)
		need(t, err)
		if len(keys) != 2 || !same(keys[0], public(t, hostKey)) || !same(keys[1], public(t, rsaHost)) {
			t.Errorf("%d keys", len(keys))
		}
	})
	t.Run("an agent", func(t *testing.T) {
		socket := realAgent(t, rsaKey)
		st, o := start(t)
		st.trust(p, public(t, hostKey))
		o.Agent = socket
		c := st.connects(o)
		if !strings.HasPrefix(c.By(), "publickey agent: rsa RSA SHA256:") {
			t.Errorf("by %q", c.By())
		}
		isSFTP(t, c)
	})
	t.Run("an agent with too many keys", func(t *testing.T) {
		var many []string
		for i := range 7 {
			many = append(many, keygen(t, t.TempDir(), fmt.Sprint("k", i), "ed25519", ""))
		}
		st, o := start(t)
		st.trust(p, public(t, hostKey))
		o.Agent = realAgent(t, append(many, plain)...)
		fe := st.fails(o, fault.IDAuth)
		var said interface{ Said() string }
		if !errors.As(fe, &said) || !strings.Contains(said.Said(), "Too many authentication failures") {
			t.Errorf("the cause is %v", fe.Err)
		}
		o.Identities = []string{plain} // named, it comes first
		st.connects(o)
	})
	t.Run("no key that it takes", func(t *testing.T) {
		st, o := start(t)
		st.trust(p, public(t, hostKey))
		o.Identities, o.Password = []string{keygen(t, t.TempDir(), "stranger", "ed25519", "")}, gives(password)
		fe := st.fails(o, fault.IDAuth)
		if !strings.Contains(fe.Err.Error(), "the server takes publickey; tried ") || !strings.Contains(fe.Err.Error(), "stranger ED25519 SHA256:") {
			t.Errorf("the cause is %v", fe.Err)
		}
	})
	t.Run("certificates of both sides", func(t *testing.T) {
		ca := keygen(t, dir, "ca", "ed25519", "")
		sign := func(args ...string) {
			if out, err := exec.Command(tool(t, "ssh-keygen"), append([]string{"-q", "-s", ca}, args...)...).CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
		}
		sign("-I", "h", "-h", "-n", "127.0.0.1", hostKey+".pub")
		mine := keygen(t, dir, "mine", "ed25519", "")
		sign("-I", "u", "-n", localUser(), mine+".pub")
		p := realServer(t, "HostKey "+hostKey, "HostCertificate "+hostKey+"-cert.pub", "TrustedUserCAKeys "+ca+".pub", "AuthorizedKeysFile none")
		st := newStage(t)
		st.write("known_hosts", "@cert-authority "+line("[127.0.0.1]:*", public(t, ca)))
		o := st.options(p)
		o.User, o.Identities = localUser(), []string{mine}
		c := st.connects(o)
		if !strings.Contains(c.By(), "ED25519-CERT") || c.HostKey().Type() != ssh.CertAlgoED25519v01 {
			t.Errorf("by %q, host %s", c.By(), c.Fingerprint())
		}
		isSFTP(t, c)
	})
	t.Run("a jump", func(t *testing.T) {
		st, o := start(t)
		st.trust(p, public(t, hostKey))
		st.write("config", fmt.Sprintf("Host jump\n HostName %s\n Port %d\n IdentityFile %s\n", p.host, p.port, plain))
		o.Identities, o.Jump = []string{plain}, localUser()+"@jump"
		isSFTP(t, st.connects(o))
		o.Port = 1
		st.fails(o, fault.IDRefused)
	})
	t.Run("a command", func(t *testing.T) {
		st, o := start(t)
		st.trust(p, public(t, hostKey))
		st.write("config", "ProxyCommand "+tool(t, "ssh")+" -F none -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -i "+plain+" -p %p -W %h:%p %r@%h\n")
		o.Identities = []string{plain}
		o.Env = nil
		isSFTP(t, st.connects(o))
	})
	t.Run("no forwarding", func(t *testing.T) {
		p := realServer(t, "HostKey "+hostKey, "AuthorizedKeysFile "+authorized, "AllowTcpForwarding no", "Banner "+hostKey+".pub")
		st := newStage(t)
		st.trust(p, public(t, hostKey))
		o := st.options(p)
		o.User, o.Identities = localUser(), []string{plain}
		st.write("config", fmt.Sprintf("Host jump\n HostName %s\n Port %d\n IdentityFile %s\n", p.host, p.port, plain))
		o.Jump = localUser() + "@jump"
		fe := st.fails(o, fault.IDProxy)
		if fe.Facts[1] != "open failed" && !strings.Contains(fmt.Sprint(fe.Facts[1]), "prohibited") {
			t.Errorf("facts %v", fe.Facts)
		}
		o.Jump = ""
		if c := st.connects(o); !strings.HasPrefix(c.Banner(), "ssh-ed25519 ") {
			t.Errorf("banner %q", c.Banner())
		}
	})
	t.Run("no subsystem", func(t *testing.T) {
		p := realServer(t, "HostKey "+hostKey, "AuthorizedKeysFile "+authorized, "ForceCommand echo hello")
		st := newStage(t)
		st.trust(p, public(t, hostKey))
		o := st.options(p)
		o.User, o.Identities = localUser(), []string{plain}
		c := st.connects(o)
		ch, err := c.Subsystem(t.Context(), "sftp") // the command runs in its place
		need(t, err)
		if b, err := io.ReadAll(ch); err != nil || string(b) != "hello\n" || ch.Status() != "0" {
			t.Errorf("%q, %v, status %q", b, err, ch.Status())
		}
		none, err := c.Subsystem(t.Context(), "none")
		need(t, err)
		if _, err := io.ReadAll(none); fault.Of(err).ID != fault.IDNoSFTP {
			t.Errorf("%v", err)
		}
	})
}

// realAgent is an ssh-agent with keys; it ends with the test.
func realAgent(t *testing.T, files ...string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ag")
	need(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	cmd := exec.Command(tool(t, "ssh-agent"), "-D", "-a", socket)
	need(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	for range 200 {
		if _, err := os.Stat(socket); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	for _, f := range files {
		add := exec.Command(tool(t, "ssh-add"), "-q", f)
		add.Env = append(os.Environ(), "SSH_AUTH_SOCK="+socket)
		if out, err := add.CombinedOutput(); err != nil {
			t.Fatalf("ssh-add: %v\n%s", err, out)
		}
	}
	return socket
}
