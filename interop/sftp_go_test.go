//go:build linux

package interop

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

// An sftpSite is a server of SFTP alone, and an account on it that may do everything,
// links included. root is the account's.
type sftpSite struct {
	*server
	host, port string
	hostKey    ssh.PublicKey
}

func newSFTPSite(t *testing.T) *sftpSite {
	t.Helper()
	s := newSite(t, passive(), "[[listener]]\nprotocol = \"sftp\"\nlisten = [\"127.0.0.1:0\"]\n")
	root := s.add(t, "anna", "--rights", "full,link")
	srv := s.serve(t)
	srv.root = root
	b, err := os.ReadFile(filepath.Join(s.state, "ssh_host_ed25519_key"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.ParsePrivateKey(b)
	if err != nil {
		t.Fatal(err)
	}
	host, port := address(t, "sftp", srv.ready.SFTP)
	return &sftpSite{srv, host, port, key.PublicKey()}
}

// dial logs in.
func (s *sftpSite) dial(t *testing.T) *ssh.Client {
	t.Helper()
	conn, err := ssh.Dial("tcp", net.JoinHostPort(s.host, s.port), &ssh.ClientConfig{
		User: "anna", Auth: []ssh.AuthMethod{ssh.Password(password)}, Timeout: 20 * time.Second,
		HostKeyCallback: ssh.FixedHostKey(s.hostKey), HostKeyAlgorithms: []string{ssh.KeyAlgoED25519},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// channel is SFTP before its first packet.
func (s *sftpSite) channel(t *testing.T) (in io.WriteCloser, out io.Reader) {
	t.Helper()
	session, err := s.dial(t).NewSession()
	if err != nil {
		t.Fatal(err)
	}
	if in, err = session.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if out, err = session.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	if err := session.RequestSubsystem("sftp"); err != nil {
		t.Fatal(err)
	}
	return in, out
}

// A goClient is the client library that rclone and most programs in Go have.
type goClient struct {
	*sftp.Client
	conn *ssh.Client
	root string // on the server's disk
}

// newGoClient starts a server and logs in, with concurrent reads and writes.
func newGoClient(t *testing.T) *goClient {
	t.Helper()
	s := newSFTPSite(t)
	c := &goClient{conn: s.dial(t), root: s.root}
	c.Client = c.session(t)
	return c
}

// session is one more session of the connection.
func (c *goClient) session(t *testing.T) *sftp.Client {
	t.Helper()
	session, err := sftp.NewClient(c.conn, sftp.UseConcurrentReads(true), sftp.UseConcurrentWrites(true), sftp.UseFstat(true))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = session.Close() })
	return session
}

// upload writes a file with many requests at once.
func upload(c *sftp.Client, name string, content []byte) error {
	f, err := c.Create(name)
	if err != nil {
		return err
	}
	n, err := f.ReadFrom(bytes.NewReader(content))
	if err == nil && n != int64(len(content)) {
		err = fmt.Errorf("%d of %d bytes were written", n, len(content))
	}
	return errors.Join(err, f.Close())
}

// download reads a file with many requests at once.
func download(c *sftp.Client, name string) (sum string, err error) {
	f, err := c.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := counted{Hash: sha256.New()}
	_, err = f.WriteTo(&h)
	return fmt.Sprintf("%d bytes %x", h.n, h.Sum(nil)), err
}

// counted is a checksum that knows of how many bytes.
type counted struct {
	hash.Hash
	n int
}

func (c *counted) Write(b []byte) (int, error) {
	c.n += len(b)
	return c.Hash.Write(b)
}

// A large file, and many at once in two sessions of one connection, with up to 64
// requests of each file on their way.
func TestSFTPGoClientCarriesManyFilesAtOnce(t *testing.T) {
	t.Parallel()
	c := newGoClient(t)
	large := file{"large", 64 << 20}
	want := treeOf(large.as("large"))
	if err := upload(c.Client, "large", large.content()); err != nil {
		t.Fatal(err)
	}
	if got, err := download(c.Client, "large"); err != nil || got != want["large"] {
		t.Errorf("the large file comes back as %s, %v; want %s", got, err, want["large"])
	}

	sessions := []*sftp.Client{c.Client, c.session(t)}
	var wg sync.WaitGroup
	for i := range 80 {
		f := file{fmt.Sprintf("file %02d", i), i * i * 97} // up to 600 KB, and an empty one
		want[f.name] = sum(f.content())
		wg.Go(func() {
			up, down := sessions[i%2], sessions[i/2%2]
			if err := upload(up, f.name, f.content()); err != nil {
				t.Errorf("%s: %v", f.name, err)
				return
			}
			if got, err := download(down, f.name); err != nil || got != sum(f.content()) {
				t.Errorf("%s comes back as %s, %v", f.name, got, err)
			}
		})
	}
	// One file that several read at once, at places of their own.
	wg.Go(func() {
		f, err := c.Open("large")
		if err != nil {
			t.Error(err)
			return
		}
		defer f.Close()
		content := large.content()
		var readers sync.WaitGroup
		for i := range 8 {
			readers.Go(func() {
				b := make([]byte, 1<<20)
				off := i * 7 << 20
				if n, err := f.ReadAt(b, int64(off)); err != nil || !bytes.Equal(b, content[off:off+len(b)]) {
					t.Errorf("1 MiB at %d: %d bytes, %v", off, n, err)
				}
			})
		}
		readers.Wait()
	})
	wg.Wait()
	same(t, c.root, want)
}

// Everything that the library can do to a tree.
func TestSFTPGoClientChangesATree(t *testing.T) {
	t.Parallel()
	c := newGoClient(t)
	disk := func(name string) string { return filepath.Join(c.root, filepath.FromSlash(name)) }
	ok := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	refused := func(what string, err, want error) {
		t.Helper()
		if err == nil || want != nil && !errors.Is(err, want) {
			t.Errorf("%s: %v; want %v", what, err, want)
		}
	}
	has := func(name, want string) {
		t.Helper()
		holds(t, disk(name), []byte(want))
	}
	create := func(name string, flags int) *sftp.File {
		t.Helper()
		f, err := c.OpenFile(name, flags)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	write := func(f *sftp.File, text string) {
		t.Helper()
		_, err := f.Write([]byte(text))
		ok("write to "+f.Name(), err)
	}

	if wd, err := c.Getwd(); err != nil || wd != "/" {
		t.Errorf("Getwd = %q, %v", wd, err)
	}
	if at, err := c.RealPath("a/../b/./c/.."); err != nil || at != "/b" {
		t.Errorf("RealPath = %q, %v", at, err)
	}
	ok("MkdirAll", c.MkdirAll("a/b/c"))
	ok("MkdirAll of what is there", c.MkdirAll("/a/b/c"))
	ok("upload", upload(c.Client, "a/file", []byte("one")))
	refused("MkdirAll through a file", c.MkdirAll("a/file/d"), nil)
	refused("Mkdir of what is there", c.Mkdir("a/b"), nil)

	// What is opened to be made and not to exist is there at once.
	lock := create("lock", os.O_RDWR|os.O_CREATE|os.O_EXCL)
	has("lock", "")
	_, err := c.OpenFile("lock", os.O_RDWR|os.O_CREATE|os.O_EXCL)
	refused("a lock that is taken", err, nil)
	write(lock, "pid")
	ok("close", lock.Close())
	refused("a second close", lock.Close(), os.ErrClosed)
	has("lock", "pid")
	ok("Remove", c.Remove("lock"))
	refused("Remove of nothing", c.Remove("lock"), fs.ErrNotExist)
	_, err = c.Open("lock")
	refused("Open of nothing", err, fs.ErrNotExist)

	// Beyond the end, and back.
	f := create("holes", os.O_RDWR|os.O_CREATE|os.O_TRUNC)
	write(f, "begin")
	if at, err := f.Seek(95, io.SeekEnd); err != nil || at != 100 {
		t.Errorf("Seek = %d, %v; want 100", at, err)
	}
	write(f, "end")
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		t.Error(err)
	}
	holes := "begin" + strings.Repeat("\x00", 95) + "end"
	if b, err := io.ReadAll(f); err != nil || string(b) != holes {
		t.Errorf("before the close it reads %q, %v", b, err)
	}
	if _, err := os.Stat(disk("holes")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the name is there before the close: %v", err)
	}
	ok("Sync", f.Sync())
	has("holes", holes)
	write(f, " and more")
	ok("Truncate of an open file", f.Truncate(106))
	ok("Chmod of an open file", f.Chmod(0o640))
	if fi, err := f.Stat(); err != nil || fi.Size() != 106 || fi.Mode() != 0o640 {
		t.Errorf("Stat of an open file: %v, %v", fi, err)
	}
	ok("close", f.Close())
	has("holes", holes+" an")
	hasMode(t, disk("holes"), 0o640)

	// To the end.
	for i := range 3 {
		// The library writes at an offset that it counts itself, from 0 on.
		f := create("log", os.O_WRONLY|os.O_CREATE|os.O_APPEND)
		write(f, fmt.Sprintf("line %d,", i))
		write(f, "more\n")
		ok("close", f.Close())
	}
	has("log", "line 0,more\nline 1,more\nline 2,more\n")
	ok("Truncate", c.Truncate("log", 6))
	has("log", "line 0")
	ok("Truncate to more", c.Truncate("log", 8))
	has("log", "line 0\x00\x00")
	f = create("log", os.O_RDWR)
	if _, err := f.WriteAt([]byte("LINE"), 0); err != nil {
		t.Error(err)
	}
	ok("close", f.Close())
	has("log", "LINE 0\x00\x00")
	f = create("log", os.O_WRONLY|os.O_TRUNC)
	has("log", "")
	ok("close", f.Close())

	// Names.
	ok("Rename", c.Rename("log", "a/log"))
	refused("Rename to a name that is taken", c.Rename("a/log", "a/file"), nil)
	ok("PosixRename to a name that is taken", c.PosixRename("a/file", "a/log"))
	has("a/log", "one")
	refused("PosixRename of nothing", c.PosixRename("a/file", "x"), fs.ErrNotExist)
	ok("Rename of a directory", c.Rename("a/b", "a/d"))
	refused("PosixRename of a directory to a file", c.PosixRename("a/d", "a/log"), nil)
	ok("Link", c.Link("a/log", "twin"))
	refused("Link to a name that is taken", c.Link("a/log", "twin"), nil)
	f = create("twin", os.O_WRONLY)
	write(f, "two")
	ok("close", f.Close())
	has("a/log", "two")

	ok("Symlink", c.Symlink("a/log", "link"))
	ok("Symlink to nothing", c.Symlink("nothing", "a/dangling"))
	ok("Symlink to the root", c.Symlink("/a/d", "a/d/link"))
	for name, want := range map[string]string{"link": "a/log", "a/dangling": "nothing", "a/d/link": "."} {
		if to, err := c.ReadLink(name); err != nil || to != want {
			t.Errorf("ReadLink %s = %q, %v; want %q", name, to, err, want)
		}
	}
	refused("Symlink that leads out", c.Symlink("../../etc/passwd", "out"), fs.ErrPermission)
	refused("ReadLink of a file", func() error { _, err := c.ReadLink("twin"); return err }(), nil)
	if fi, err := c.Lstat("link"); err != nil || fi.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("Lstat of a link: %v, %v", fi, err)
	}
	if fi, err := c.Stat("link"); err != nil || !fi.Mode().IsRegular() || fi.Size() != 3 {
		t.Errorf("Stat of a link: %v, %v", fi, err)
	}
	refused("Stat of a link to nothing", func() error { _, err := c.Stat("a/dangling"); return err }(), fs.ErrNotExist)

	ok("Chmod", c.Chmod("link", 0o640))
	ok("Chtimes", c.Chtimes("link", longAgo, longAgo))
	kept(t, disk("a/log"))
	refused("Chown", c.Chown("link", 12345, 12345), fs.ErrPermission)

	vfs, err := c.StatVFS("a")
	if err != nil || vfs.TotalSpace() == 0 || vfs.FreeSpace() > vfs.TotalSpace() || vfs.Namemax != 255 {
		t.Errorf("StatVFS = %+v, %v", vfs, err)
	}

	var walked []string
	for w := c.Walk("/"); w.Step(); {
		ok("Walk", w.Err())
		walked = append(walked, w.Path())
	}
	slices.Sort(walked)
	if want := []string{"/", "/a", "/a/d", "/a/d/c", "/a/d/link", "/a/dangling", "/a/log", "/holes", "/link", "/twin"}; !slices.Equal(walked, want) {
		t.Errorf("Walk = %q; want %q", walked, want)
	}
	for pattern, want := range map[string][]string{
		"*": {"a", "holes", "link", "twin"}, "a/d*": {"a/d", "a/dangling"}, "[hl]*s": {"holes"}, "?/?/*": {"a/d/c", "a/d/link"}, "none*": nil,
	} {
		got, err := c.Glob(pattern)
		slices.Sort(got)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("Glob %s = %q, %v; want %q", pattern, got, err, want)
		}
	}

	refused("RemoveDirectory of one that is not empty", c.RemoveDirectory("a"), nil)
	ok("RemoveAll", c.RemoveAll("a"))
	for _, name := range []string{"holes", "link", "twin"} {
		ok("Remove "+name, c.Remove(name))
	}
	same(t, c.root, tree{})
}
