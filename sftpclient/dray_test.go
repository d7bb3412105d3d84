package sftpclient

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"dray/account"
	"dray/event"
	"dray/fault"
	"dray/gate"
	"dray/guard"
	"dray/sftp"
	"dray/sftpserver"
	"dray/transfer"
	"dray/vfs"
	"dray/vfs/osfs"
)

// anna is the one account, whatever the password.
type anna struct{ account.Account }

func (a anna) Lookup(_ context.Context, name string) (account.Account, error) {
	if name != a.Name {
		return account.Account{}, fs.ErrNotExist
	}
	return a.Account, nil
}

func (a anna) Verify(ctx context.Context, name string, _ account.Secret, _ netip.Addr, _ account.Bar) (account.Account, error) {
	return a.Lookup(ctx, name)
}

// nobodyHears takes events.
type nobodyHears struct{}

func (nobodyHears) Event(context.Context, any) {}

var _ event.Sink = nobodyHears{}

// channel is the subsystem as a stream, over an SSH connection of its own.
type channel struct {
	ssh.Channel
	client *ssh.Client
}

func (c channel) Close() error {
	return errors.Join(c.Channel.Close(), c.client.Close())
}

// dray is this project's server on a directory.
func dray(t testing.TB, o Options) (c *Client, dir string) {
	t.Helper()
	dir = t.TempDir()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	need(t, err)
	signer, err := ssh.NewSignerFromSigner(key)
	need(t, err)
	people := anna{account.Account{Name: "anna", Rights: account.All}}
	log := slog.New(slog.DiscardHandler)
	disk := osfs.NewDisk(osfs.SyncNone, log)
	g := &gate.Gate{
		Guard: guard.New(guard.Limits{}, nil), Verifier: people, Directory: people, Events: nobodyHears{}, Log: log,
		Trees: func(context.Context, account.Account) (vfs.FS, error) { return disk.Open(dir) },
	}
	rules := (&sftpserver.Rules{Door: &gate.Door{Name: "test", Protocol: gate.ProtocolSFTP}, HostKeys: []ssh.Signer{signer}}).Complete()
	server := sftpserver.New(g, log)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	need(t, err)
	served := make(chan error, 1)
	go func() { served <- server.Serve(l, func() *sftpserver.Rules { return rules }) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		_ = server.Shutdown(ctx)
		if err := <-served; err != nil {
			t.Errorf("Serve = %v", err)
		}
	})
	conn, err := ssh.Dial("tcp", l.Addr().String(), &ssh.ClientConfig{
		User: "anna", Auth: []ssh.AuthMethod{ssh.Password("sesame")}, HostKeyCallback: ssh.InsecureIgnoreHostKey(), Timeout: 10 * time.Second,
	})
	need(t, err)
	ch, reqs, err := conn.OpenChannel("session", nil)
	need(t, err)
	go ssh.DiscardRequests(reqs)
	ok, err := ch.SendRequest("subsystem", true, ssh.Marshal(struct{ S string }{"sftp"}))
	if err != nil || !ok {
		t.Fatalf("the subsystem: %v, %v", ok, err)
	}
	c, err = New(t.Context(), channel{ch, conn}, o)
	need(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c, dir
}

func TestDraysServer(t *testing.T) {
	c, dir := dray(t, Options{})
	ctx := t.Context()
	for _, n := range []int{0, 1, 1024, sftp.MaxData, 10<<20 + 17} {
		content := random(n)
		rep, err := c.Send(ctx, "/file", Store{Mode: 0o640, MTime: time.Unix(1e9, 0), Fsync: true}, from(content), 0, transfer.Options{})
		if err != nil || rep.Bytes != int64(n) {
			t.Fatalf("Send of %d bytes: %+v, %v", n, rep, err)
		}
		if b, err := os.ReadFile(filepath.Join(dir, "file")); err != nil || !bytes.Equal(b, content) {
			t.Fatalf("%d bytes arrive as %d, %v", n, len(b), err)
		}
		if a, err := c.Stat(ctx, "/file"); err != nil || a.MTime != 1e9 || a.Mode&0o777 != 0o640 {
			t.Errorf("its attributes are %+v, %v", a, err)
		}
		for _, size := range []int64{int64(n), -1} {
			d := newTarget(t)
			if rep, err := c.Receive(ctx, "/file", 0, size, d, transfer.Options{}); err != nil || !bytes.Equal(d.content(t), content) {
				t.Fatalf("Receive of %d bytes, size %d: %+v, %v", n, size, rep, err)
			}
		}
		sums, err := c.CheckFile(ctx, "/file", Range{}, "sha256")
		if want := sha256.Sum256(content); err != nil || !bytes.Equal(sums.Bytes, want[:]) {
			t.Errorf("CheckFile = %x, %v; want %x", sums.Bytes, err, want)
		}
		f, err := c.Open(ctx, "/file", sftp.OpenRead, nil)
		need(t, err)
		if again, err := f.Check(ctx, Range{}, "sha256"); err != nil || !bytes.Equal(again.Bytes, sums.Bytes) {
			t.Errorf("Check = %x, %v", again.Bytes, err)
		}
		need(t, f.Close(ctx))
	}
	if rep, err := c.Send(ctx, "/file", Store{How: Resume}, from(random(10<<20+20)), 10<<20+17, transfer.Options{}); err != nil || rep.Bytes != 3 {
		t.Errorf("Resume: %+v, %v", rep, err)
	}
	need(t, c.Mkdir(ctx, "/d", 0))
	need(t, c.Rename(ctx, "/file", "/d/file"))
	tests := []struct {
		name string
		err  error
		id   fault.ID
	}{
		{"Mkdir of one that is there", c.Mkdir(ctx, "/d", 0), fault.IDExists},
		{"RemoveDir of one that is full", c.RemoveDir(ctx, "/d"), fault.IDNotEmpty},
		{"Remove of a directory", c.Remove(ctx, "/d"), fault.IDIsDir},
		{"Remove of none", c.Remove(ctx, "/none"), fault.IDNotFound},
		{"RenameNew onto a name", c.RenameNew(ctx, "/d/file", "/d"), fault.IDExists},
	}
	for _, tt := range tests {
		var said *StatusError
		if idOf(tt.err) != tt.id || !errors.As(tt.err, &said) || said.Said() == "" {
			t.Errorf("%s: %v; want %s", tt.name, tt.err, tt.id)
		}
	}
	_, err := c.Receive(ctx, "/d", 0, 10, &memory{}, transfer.Options{})
	if idOf(err) != fault.IDIsDir {
		t.Errorf("Receive of a directory: %v", err)
	}
}

// Many goroutines on one session.
func TestManyAtOnce(t *testing.T) {
	for name, peer := range map[string]func(testing.TB, Options) (*Client, string){"dray": dray, "OpenSSH": openssh} {
		t.Run(name, func(t *testing.T) {
			c, dir := peer(t, Options{})
			ctx := t.Context()
			var wg sync.WaitGroup
			for i := range 60 {
				wg.Go(func() {
					path := fmt.Sprint("f", i)
					content := random(i * i * 300)
					if _, err := c.Send(ctx, path, Store{}, from(content), 0, transfer.Options{}); err != nil {
						t.Errorf("Send of %s: %v", path, err)
						return
					}
					m := &memory{}
					if _, err := c.Receive(ctx, path, 0, int64(len(content)), m, transfer.Options{}); err != nil || !bytes.Equal(m.b, content) {
						t.Errorf("Receive of %s: %v", path, err)
					}
					for e, err := range c.List(ctx, ".") {
						if err != nil || e.Name == "" {
							t.Errorf("List: %v", err)
						}
					}
				})
			}
			wg.Wait()
			if all, err := os.ReadDir(dir); err != nil || len(all) != 60 {
				t.Errorf("%d files, %v", len(all), err)
			}
		})
	}
}

func BenchmarkTransfers(b *testing.B) {
	const size = 256 << 20
	for name, peer := range map[string]func(testing.TB, Options) (*Client, string){"dray": dray, "OpenSSH": openssh} {
		c, dir := peer(b, Options{})
		need(b, os.WriteFile(filepath.Join(dir, "file"), make([]byte, size), 0o644))
		src, err := os.Open(filepath.Join(dir, "file"))
		need(b, err)
		defer src.Close()
		null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
		need(b, err)
		defer null.Close()
		b.Run(name+"/receive", func(b *testing.B) {
			b.SetBytes(size)
			b.ReportAllocs()
			for b.Loop() {
				_, err := c.Receive(b.Context(), "file", 0, size, nowhere{}, transfer.Options{})
				need(b, err)
			}
		})
		b.Run(name+"/send", func(b *testing.B) {
			b.SetBytes(size)
			b.ReportAllocs()
			for b.Loop() {
				_, err := c.Send(b.Context(), "up", Store{}, src, 0, transfer.Options{})
				need(b, err)
			}
		})
	}
}

type nowhere struct{}

func (nowhere) Offset() int64                          { return 0 }
func (nowhere) WriteAt(b []byte, _ int64) (int, error) { return len(b), nil }

var _ io.WriterAt = nowhere{}

func TestSightOfDraysServer(t *testing.T) {
	c, _ := dray(t, Options{})
	s, err := c.Sight(t.Context())
	nc := c.rw.(channel).client
	if err != nil || s.Peer.String() != nc.LocalAddr().String() || s.Local.String() != nc.RemoteAddr().String() ||
		s.Kex == "" || s.HostKey != ssh.KeyAlgoED25519 || s.Up == "" || s.Down == "" || s.Auth != "password" {
		t.Errorf("Sight = %+v, %v", s, err)
	}
	c, _ = openssh(t, Options{})
	if _, err := c.Sight(t.Context()); idOf(err) != fault.IDUnsupported {
		t.Errorf("Sight of another server: %v", err)
	}
}
