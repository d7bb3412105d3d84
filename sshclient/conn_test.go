package sshclient

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"

	"dray/fault"
)

// A login with a key of a file, and an echo through the subsystem.
func TestSubsystemAnswers(t *testing.T) {
	st := newStage(t)
	file, key := keyInFile(t, st.home, "id", "")
	host := newKey(t)
	p := newPeer(t, takesKeys(key.PublicKey()), host)
	st.trust(p, host.PublicKey())
	o := st.options(p)
	o.Identities = []string{file}
	c := st.connects(o)
	ch, err := c.Subsystem(t.Context(), "sftp")
	need(t, err)
	_, err = ch.Write([]byte("hello"))
	need(t, err)
	need(t, ch.CloseWrite())
	b, err := io.ReadAll(ch)
	if err != nil || string(b) != "hello" {
		t.Errorf("the echo is %q, %v", b, err)
	}
	if ch.Status() != "3" || ch.Printed() != "a word beside" {
		t.Errorf("status %q, printed %q", ch.Status(), ch.Printed())
	}
	if c.Server() != "SSH-2.0-Go" || c.User() != "anna" || !same(c.HostKey(), host.PublicKey()) || !strings.HasPrefix(c.By(), "publickey "+file) {
		t.Errorf("the connection says %q %q %q", c.Server(), c.User(), c.By())
	}
	other, err := c.Subsystem(t.Context(), "other")
	need(t, err)
	if _, err := io.ReadAll(other); fault.Of(err).ID != fault.IDNoSFTP {
		t.Errorf("a subsystem that is not there: %v", err)
	}
	for _, want := range []string{"connected: 127.0.0.1:", "server version: SSH-2.0-Go", "algorithms: mlkem768x25519-sha256, ssh-ed25519", "host key: ED25519 SHA256:", "offered key: " + file, "accepted key: ", "authenticated by: publickey"} {
		if !strings.Contains(st.trace(), want) {
			t.Errorf("the trace lacks %q:\n%s", want, st.trace())
		}
	}
}

// paced is a connection that keeps how much each write had.
type paced struct {
	net.Conn
	mu    sync.Mutex
	sizes []int
}

func (p *paced) Write(b []byte) (int, error) {
	p.mu.Lock()
	p.sizes = append(p.sizes, len(b))
	p.mu.Unlock()
	return p.Conn.Write(b)
}

// What is for a subsystem goes behind the request for it, whichever goroutine runs first:
// dropbear throws away what comes before, and sshd lets nothing come.
func TestASubsystemIsAskedForFirst(t *testing.T) {
	st, _, o := lobby(t, open())
	for range 50 {
		var line *paced
		o.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			nc, err := new(net.Dialer).DialContext(ctx, network, address)
			line = &paced{Conn: nc}
			return line, err
		}
		c := st.connects(o)
		line.mu.Lock()
		before := len(line.sizes)
		line.mu.Unlock()
		for i := range 2 { // the second one waits for its answer
			ch, err := c.Subsystem(t.Context(), "sftp")
			need(t, err)
			_, err = ch.Write([]byte("x"))
			need(t, err)
			_, err = io.ReadFull(ch, make([]byte, 1))
			need(t, err)
			line.mu.Lock()
			sizes := line.sizes[before:]
			before = len(line.sizes)
			line.mu.Unlock()
			if len(sizes) != 3 || sizes[1] <= sizes[2] { // the channel, the request, and a byte
				t.Fatalf("channel %d: packets of %d bytes", i+1, sizes)
			}
		}
		need(t, c.Close())
	}
}

func TestPasswordIsAskedForAndTaken(t *testing.T) {
	st := newStage(t)
	host := newKey(t)
	p := newPeer(t, takesPassword(), host)
	st.trust(p, host.PublicKey())
	o := st.options(p)
	o.Password = gives(password)
	st.connects(o)
	o.Password = gives("wrong")
	fe := st.fails(o, fault.IDAuth)
	if fe.Err.Error() != "the server takes password; tried password" {
		t.Errorf("the cause is %v", fe.Err)
	}
	o.Password = func(_ context.Context, q Question) (string, error) { // has one, and no other
		if q.Try > 1 {
			return "", errors.New("no password is known")
		}
		return "wrong", nil
	}
	if fe := st.fails(o, fault.IDAuth); fe.Err.Error() != "the server takes password; tried password" {
		t.Errorf("the cause is %v", fe.Err)
	}
}

var _ ssh.Signer
