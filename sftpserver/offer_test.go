package sftpserver

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"dray/kexinit"
)

// packed is a message as the first packet of a connection, before any keys.
func packed(m []byte) []byte {
	padding := 8 - (len(m)+5)%8 + 4
	b := binary.BigEndian.AppendUint32(nil, uint32(1+len(m)+padding))
	return append(append(append(b, byte(padding)), m...), make([]byte, padding)...)
}

// lists are the name-lists of a KEXINIT, by their place in it.
func lists(t testing.TB, packet []byte) (all []string) {
	t.Helper()
	for b := packet[17:]; len(all) < 10; {
		n := binary.BigEndian.Uint32(b)
		all, b = append(all, string(b[4:4+n])), b[4+n:]
	}
	return all
}

// A client that knows AES-GCM is offered nothing else, whatever it likes better, and one
// that waits for our word is offered all.
func TestCiphersByClient(t *testing.T) {
	defer func(was bool) { quickGCM = was }(quickGCM)
	quickGCM = true // whatever this processor has
	st := newStage(t)
	for name, tt := range map[string]struct{ knows, want []string }{
		"all, as OpenSSH has them": {
			[]string{ssh.CipherChaCha20Poly1305, ssh.CipherAES128CTR, ssh.CipherAES128GCM, ssh.CipherAES256GCM}, gcmCiphers,
		},
		"one of the two":                     {[]string{ssh.CipherAES256CTR, ssh.CipherAES256GCM}, gcmCiphers},
		"none of them":                       {[]string{ssh.CipherChaCha20Poly1305, ssh.CipherAES256CTR}, ciphers},
		"nothing":                            {nil, ciphers},
		"all, of one who asks what there is": {slices.Concat(ciphers, []string{"ask"}), ciphers},
	} {
		t.Run(name, func(t *testing.T) {
			nc, err := net.Dial("tcp", st.addr)
			need(t, err)
			defer nc.Close()
			_ = nc.SetDeadline(time.Now().Add(20 * time.Second))
			hello := []byte("SSH-2.0-test\r\n")
			if tt.knows != nil {
				m := append([]byte{kexinit.Message}, make([]byte, 16)...)
				known := strings.Join(tt.knows, ",")
				kex := "curve25519-sha256,ext-info-c"
				if slices.Contains(tt.knows, "ask") {
					kex = "curve25519-sha256"
				}
				for _, names := range []string{kex, "ssh-ed25519", known, known, macs[0], macs[0], "none", "none", "", ""} {
					m = append(m, ssh.Marshal(struct{ S string }{names})...)
				}
				hello = append(hello, packed(append(m, 0, 0, 0, 0, 0))...)
			}
			_, err = nc.Write(hello)
			need(t, err)
			b := &bare{t: t, nc: nc, r: bufio.NewReader(nc)}
			_, err = b.r.ReadString('\n')
			need(t, err)
			all := lists(t, b.want(kexinit.Message))
			if want := strings.Join(tt.want, ","); all[2] != want || all[3] != want {
				t.Errorf("offered %s and %s; want %s", all[2], all[3], want)
			}
		})
	}
	for c, want := range map[string]string{"": ssh.CipherAES128GCM, ssh.CipherChaCha20Poly1305: ssh.CipherChaCha20Poly1305, "aes256-ctr": "aes256-ctr"} {
		if got := st.negotiated(c); !strings.Contains(got, "cipher: "+want+" ") {
			t.Errorf("OpenSSH with the ciphers %q: %s", c, got)
		}
	}
}

// negotiated is what OpenSSH says of the ciphers that it has agreed on.
func (st *stage) negotiated(ciphers string) string {
	st.t.Helper()
	if _, err := exec.LookPath("sftp"); err != nil {
		st.t.Skip("SKIPPED: OpenSSH is missing")
	}
	args := []string{"-v", "-o", "LogLevel=DEBUG1"}
	if ciphers != "" {
		args = append(args, "-c", ciphers)
	}
	out, err := st.sftpBatch("pwd\n", args...)
	if err != nil {
		st.t.Fatalf("%v\n%s", err, out)
	}
	var said []string
	for line := range strings.Lines(out) {
		if strings.Contains(line, "kex: server->client") || strings.Contains(line, "kex: client->server") {
			said = append(said, strings.TrimSpace(line))
		}
	}
	return strings.Join(said, "; ")
}

// A KEXINIT that comes in pieces, late or never costs a moment at most, and nothing of it
// is lost.
func TestASlowOffer(t *testing.T) {
	st := newStage(t)
	for name, pause := range map[string]time.Duration{"in pieces": time.Millisecond, "too late": 3 * offerTime} {
		near, far := net.Pipe()
		go func() {
			nc, err := net.Dial("tcp", st.addr)
			if err != nil {
				_ = far.Close()
				return
			}
			go func() { _, _ = io.Copy(far, nc) }()
			b := make([]byte, 100)
			for {
				n, err := far.Read(b)
				if err != nil {
					_ = nc.Close()
					return
				}
				time.Sleep(pause / 10)
				if _, err := nc.Write(b[:n]); err != nil {
					return
				}
			}
		}()
		conn, channels, requests, err := ssh.NewClientConn(near, "", &ssh.ClientConfig{
			User: "anna", Auth: []ssh.AuthMethod{ssh.Password(password)}, HostKeyCallback: ssh.InsecureIgnoreHostKey(),
		})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		c := ssh.NewClient(conn, channels, requests)
		open(t, c)
		_ = c.Close()
	}
}
