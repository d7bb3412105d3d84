//go:build unix

package cli

import (
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"dray/certs"
	"dray/remote"
	"dray/sshclient"
)

// stored is the fingerprints of the host keys that the program knows of an address, with
// blanks between.
func (w *ward) stored(addr string) string {
	w.t.Helper()
	host, port, err := net.SplitHostPort(addr)
	fine(w.t, err)
	n, err := strconv.Atoi(port)
	fine(w.t, err)
	keys, err := sshclient.Known([]string{filepath.Join(w.home, ".ssh", "known_hosts")}, host, n)
	fine(w.t, err)
	var all []string
	for _, k := range keys {
		all = append(all, ssh.FingerprintSHA256(k.Key))
	}
	return strings.Join(all, " ")
}

// relay passes the connections of a new listener on to to.
func relay(t *testing.T, listen, to string) string {
	return serveAll(t, listen, func(_ context.Context, nc net.Conn) {
		out, err := net.Dial("tcp", to)
		if err != nil {
			return
		}
		defer out.Close()
		go func() { _, _ = io.Copy(nc, out); _ = nc.Close() }()
		_, _ = io.Copy(out, nc)
	}).String()
}

func TestTrustAtAPort(t *testing.T) {
	t.Parallel()
	f := newSFTPFake(t)
	host, port, err := net.SplitHostPort(f.addr)
	fine(t, err)
	print := ssh.FingerprintSHA256(f.key.PublicKey())
	w := newWard(t)
	w.dray("trust", "--port", port, host, print).is(0, "")
	if got := w.stored(f.addr); got != print {
		t.Errorf("stored is %q; want %q", got, print)
	}
	p := w.dray("trust", "--ls", "--port", port, host)
	p.is(0, "")
	if !strings.Contains(p.out, print) {
		t.Errorf("--ls shows %q", p.out)
	}
	w.dray("trust", "--rm", "--port", "1", host).is(7, "not-found")
	if w.stored(f.addr) != print {
		t.Error("what is stored of another port is gone")
	}
	w.dray("trust", "--rm", "--port", port, host).is(0, "")
	if got := w.stored(f.addr); got != "" {
		t.Errorf("stored is %q behind --rm", got)
	}

	// So is a certificate.
	ftp := newFTPFake(t)
	ftp.cert = newCertificate(t, nil)
	_, port, err = net.SplitHostPort(ftp.addr)
	fine(t, err)
	w.dray("trust", "--connect-timeout", "1s", "--port", port, host, certs.KeyPrint(ftp.cert.leaf).String()).is(0, "")
	cert, ok := remote.NewCertStore(filepath.Join(w.home, ".local", "state", "dray", "trusted_certs")).Find(host, mustPort(t, port))
	if !ok || cert.Key != certs.KeyPrint(ftp.cert.leaf) {
		t.Errorf("stored is %v, %v", cert, ok)
	}
	for _, bad := range []string{"-1", "65536"} {
		w.dray("trust", "--port="+bad, host, print).is(2, "")
	}
	p = w.dray("trust", "--ls", "--port", port)
	p.is(2, "")
	p.says("--port is for a host, which is not there")
}

func mustPort(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	fine(t, err)
	return n
}

// -4 and -6 leave out the addresses of the other kind, for both kinds of servers.
func TestTrustOverOneKindOfAddress(t *testing.T) {
	t.Parallel()
	sftp, ftp := newSFTPFake(t), newFTPFake(t)
	ftp.cert = newCertificate(t, nil)
	for _, tt := range []struct{ name, scheme, addr, print string }{
		{"SFTP", "sftp", sftp.addr, ssh.FingerprintSHA256(sftp.key.PublicKey())},
		{"FTP", "ftp", ftp.addr, certs.KeyPrint(ftp.cert.leaf).String()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWard(t)
			certs := filepath.Join(w.home, ".local", "state", "dray", "trusted_certs")
			nothing := func() {
				t.Helper()
				b, _ := os.ReadFile(certs)
				known, _ := os.ReadFile(filepath.Join(w.home, ".ssh", "known_hosts"))
				if len(known) > 0 || len(b) > 0 {
					t.Errorf("stored is %q and %q", known, b)
				}
			}
			p := w.dray("trust", "-6", tt.scheme+"://"+tt.addr+"/", tt.print)
			p.is(2, "")
			p.says("127.0.0.1 is an address of the other kind")
			nothing()
			w.dray("trust", "-4", "-6", tt.scheme+"://"+tt.addr+"/", tt.print).is(2, "")
			w.dray("trust", "-4", tt.scheme+"://"+tt.addr+"/", tt.print).is(0, "")
			p = w.dray("trust", "--rm", "-4", tt.addr)
			p.is(2, "")
			p.says("--ipv4 is for a connection")
			w.dray("trust", "--rm", tt.addr).is(0, "")

			if l, err := net.Listen("tcp", "[::1]:0"); err != nil {
				if os.Getenv("CI") != "" {
					t.Fatalf("CI must have IPv6: %v", err)
				}
				t.Skipf("SKIPPED: no IPv6 here: %v", err)
			} else {
				_ = l.Close()
			}
			six := relay(t, "[::1]:0", tt.addr)
			p = w.dray("trust", "-4", tt.scheme+"://"+six+"/", tt.print)
			p.is(2, "")
			p.says("::1 is an address of the other kind")
			nothing()
			w.dray("trust", "-6", tt.scheme+"://"+six+"/", tt.print).is(0, "")
			w.dray("trust", "--rm", six).is(0, "")

			// Of a name with both, the other one is not asked.
			_, port, err := net.SplitHostPort(tt.addr)
			fine(t, err)
			other, err := net.Listen("tcp", "[::1]:"+port)
			if err != nil {
				return // somebody has it
			}
			defer other.Close()
			w.dray("trust", "-4", tt.scheme+"://localhost:"+port+"/", tt.print).is(0, "")
			fine(t, other.(*net.TCPListener).SetDeadline(time.Now().Add(50*time.Millisecond)))
			if nc, err := other.Accept(); err == nil {
				_ = nc.Close()
				t.Error("-4 connects over IPv6")
			}
		})
	}
}

// A jumpHost lets everybody in, and connects further.
type jumpHost struct {
	addr string
	key  ssh.Signer
	mu   sync.Mutex
	to   []string // where it was asked to connect to
}

func newJumpHost(t *testing.T) *jumpHost {
	j := &jumpHost{key: newHostKey(t)}
	j.addr = serveAll(t, "127.0.0.1:0", func(ctx context.Context, nc net.Conn) {
		config := &ssh.ServerConfig{NoClientAuth: true}
		config.AddHostKey(j.key)
		conn, channels, requests, err := ssh.NewServerConn(nc, config)
		if err != nil {
			return
		}
		defer conn.Close()
		go ssh.DiscardRequests(requests)
		for c := range channels {
			var to struct {
				Host string
				Port uint32
				From string
				Src  uint32
			}
			if c.ChannelType() != "direct-tcpip" || ssh.Unmarshal(c.ExtraData(), &to) != nil {
				_ = c.Reject(ssh.UnknownChannelType, "no")
				continue
			}
			addr := net.JoinHostPort(to.Host, strconv.Itoa(int(to.Port)))
			j.mu.Lock()
			j.to = append(j.to, addr)
			j.mu.Unlock()
			out, err := net.Dial("tcp", addr)
			if err != nil {
				_ = c.Reject(ssh.ConnectionFailed, "Connection refused")
				continue
			}
			ch, asked, err := c.Accept()
			if err != nil {
				return
			}
			go ssh.DiscardRequests(asked)
			go func() { _, _ = io.Copy(ch, out); _ = ch.Close() }()
			go func() { _, _ = io.Copy(out, ch); _ = out.Close() }()
		}
	}).String()
	return j
}

func (j *jumpHost) asked() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]string{}, j.to...)
}

func TestTrustThroughAJumpHost(t *testing.T) {
	t.Parallel()
	f, j := newSFTPFake(t), newJumpHost(t)
	print := ssh.FingerprintSHA256(f.key.PublicKey())
	jump := knownhosts.Line([]string{knownhosts.Normalize(j.addr)}, j.key.PublicKey()) + "\n"
	w := newWard(t)

	// Nobody knows the jump host: nothing is asked of it, and the target is not asked
	// on another way.
	p := w.dray("trust", "--jump", "bob@"+j.addr, f.addr, print)
	p.is(4, "hostkey-unknown")
	if len(j.asked()) > 0 || w.stored(f.addr)+w.stored(j.addr) != "" {
		t.Errorf("the jump host was asked for %q, stored is %q", j.asked(), w.stored(f.addr)+w.stored(j.addr))
	}
	fine(t, os.MkdirAll(filepath.Join(w.home, ".ssh"), 0o700))
	fine(t, os.WriteFile(filepath.Join(w.home, ".ssh", "known_hosts"), []byte(jump), 0o600))
	w.dray("trust", "--jump", "bob@"+j.addr, f.addr, "SHA256:"+strings.Repeat("A", 43)).is(4, "")
	if got := w.stored(f.addr); got != "" {
		t.Errorf("stored is %q", got)
	}
	w.dray("trust", "-J", "bob@"+j.addr, f.addr, print).is(0, "")
	if asked := j.asked(); len(asked) == 0 || asked[0] != f.addr {
		t.Errorf("the jump host was asked for %q", asked)
	}
	if w.stored(f.addr) != print || w.stored(j.addr) != ssh.FingerprintSHA256(j.key.PublicKey()) {
		t.Errorf("stored is %q, and of the jump host %q", w.stored(f.addr), w.stored(j.addr))
	}

	// A server of FTP is not reached past the jump host.
	ftp := newFTPFake(t)
	ftp.cert = newCertificate(t, nil)
	p = w.dray("trust", "--jump", "bob@"+j.addr, "ftp://"+ftp.addr+"/", certs.KeyPrint(ftp.cert.leaf).String())
	p.is(2, "")
	p.says("--jump is for SFTP")
	if p = w.dray("trust", "--jump", "bob@"+j.addr, ftp.addr, certs.KeyPrint(ftp.cert.leaf).String()); p.status == 0 || ftp.count("AUTH") > 0 {
		t.Errorf("status %d, the server heard %q\n%s", p.status, ftp.heard, p.err)
	}
}
