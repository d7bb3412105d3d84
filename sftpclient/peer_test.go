package sftpclient

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"dray/fault"
	"dray/sftp"
	"dray/transfer"
	"dray/vfs"
)

func need(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// pipes are stdin and stdout of a process.
type pipes struct {
	io.Reader
	io.WriteCloser
	kill func()
}

func (p *pipes) Close() error {
	err := p.WriteCloser.Close()
	p.kill()
	return err
}

const opensshServer = "/usr/lib/openssh/sftp-server"

// openssh is OpenSSH's server on a directory, without an SSH.
func openssh(t testing.TB, o Options) (c *Client, dir string) {
	t.Helper()
	if _, err := os.Stat(opensshServer); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("MISSING PEER sftp-server: apt-get install openssh-sftp-server")
		}
		t.Skip("SKIPPED: MISSING PEER sftp-server: apt-get install openssh-sftp-server")
	}
	dir = t.TempDir()
	cmd := exec.Command(opensshServer, "-d", dir)
	in, err := cmd.StdinPipe()
	need(t, err)
	out, err := cmd.StdoutPipe()
	need(t, err)
	need(t, cmd.Start())
	var once sync.Once
	end := func() {
		once.Do(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		})
	}
	c, err = New(t.Context(), &pipes{out, in, end}, o)
	need(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c, dir
}

// A target is a file on this machine.
type target struct {
	*os.File
	at int64
}

func (d *target) Offset() int64 { return d.at }

func newTarget(t testing.TB) *target {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "target"))
	need(t, err)
	t.Cleanup(func() { _ = f.Close() })
	return &target{File: f}
}

func (d *target) content(t testing.TB) []byte {
	t.Helper()
	b, err := os.ReadFile(d.Name())
	need(t, err)
	return b
}

// source is bytes as a file.
type source struct{ *bytes.Reader }

func (source) Close() error                 { return nil }
func (s source) Stat() (fs.FileInfo, error) { return sized(s.Size()), nil }

var _ vfs.File = source{}

type sized int64

func (s sized) Name() string       { return "source" }
func (s sized) Size() int64        { return int64(s) }
func (s sized) Mode() fs.FileMode  { return 0o644 }
func (s sized) ModTime() time.Time { return time.Time{} }
func (s sized) IsDir() bool        { return false }
func (s sized) Sys() any           { return nil }

func from(b []byte) source { return source{bytes.NewReader(b)} }

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}

func idOf(err error) fault.ID {
	var e *fault.Error
	if errors.As(err, &e) {
		return e.ID
	}
	return fault.ID(fmt.Sprint(err))
}

func TestOpenSSHsServer(t *testing.T) {
	c, dir := openssh(t, Options{})
	ctx := t.Context()
	for _, n := range []int{0, 1, 1024, 32 << 10, sftp.MaxData - 1, sftp.MaxData, sftp.MaxData + 1, 3 * sftp.MaxData, 10<<20 + 17} {
		data := random(n)
		rep, err := c.Send(ctx, "file", Store{Mode: 0o640, MTime: time.Unix(1e9, 0), Fsync: n == 1024}, from(data), 0, transfer.Options{})
		if err != nil || rep.Bytes != int64(n) || !rep.Whole {
			t.Fatalf("Send of %d bytes: %+v, %v", n, rep, err)
		}
		b, err := os.ReadFile(filepath.Join(dir, "file"))
		if err != nil || !bytes.Equal(b, data) {
			t.Fatalf("%d bytes arrive as %d, %v", n, len(b), err)
		}
		a, err := c.Stat(ctx, "file")
		if err != nil || a.MTime != 1e9 || a.Mode&0o777 != 0o640 || a.Size != uint64(n) {
			t.Errorf("its attributes are %+v, %v", a, err)
		}
		for _, size := range []int64{int64(n), -1} {
			for _, at := range []int64{0, int64(n / 3)} {
				d := newTarget(t)
				rep, err := c.Receive(ctx, "file", at, size, d, transfer.Options{})
				if err != nil || rep.Bytes != int64(n)-at || !bytes.Equal(d.content(t), data[at:]) {
					t.Fatalf("Receive of %d bytes from %d, size %d: %+v, %v", n, at, size, rep, err)
				}
			}
		}
	}
}
