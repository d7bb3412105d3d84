//go:build linux

package interop

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"dray/sftp"
)

// addr is where an SFTP play's server listens.
func (p *sftpPlay) addr() string { return p.ready.SFTP[0] }

// wider gives a small file system more room.
func wider(t *testing.T, dir, options string) {
	t.Helper()
	if err := syscall.Mount("dray-test", dir, "tmpfs", syscall.MS_REMOUNT|syscall.MS_NOSUID|syscall.MS_NODEV, options); err != nil {
		t.Fatal(err)
	}
}

// onlyPartial checks that a directory holds one cut upload, which is a beginning of
// whole, and returns its length.
func onlyPartial(t *testing.T, dir string, whole []byte) int64 {
	t.Helper()
	_, hidden := namesIn(t, dir)
	if len(hidden) != 1 || !cutName.MatchString(hidden[0]) {
		t.Fatalf("hidden names %q; want that of one cut upload", hidden)
	}
	b, err := os.ReadFile(filepath.Join(dir, hidden[0]))
	if err != nil {
		t.Fatal(err)
	}
	if len(b) > len(whole)-4096 || !bytes.HasPrefix(whole, b) {
		t.Errorf("the partial has %d bytes; want a beginning of the %d that were sent, less 4096 at least", len(b), len(whole))
	}
	return int64(len(b))
}

// refusedWith checks that err is a status with a sentence and its id.
func refusedWith(t *testing.T, what string, err error, code sftp.Code, sentence string) string {
	t.Helper()
	var s *status
	if !errors.As(err, &s) || s.code != code || !regexp.MustCompile(sentence).MatchString(s.text) {
		t.Errorf("%s: %v; want status %d with %s", what, err, code, sentence)
		return ""
	}
	return s.text
}

const diskFull = `No space left on the server's disk: \d.* free; (\d+) bytes kept to resume\..* \[no-space\]$`

// A full disk costs the upload and nothing else: the client hears what is free and
// what is kept, the old file stays, and with room again the upload goes on.
func TestSFTPAFullDisk(t *testing.T) {
	t.Parallel()
	root := small(t, "size=8m,mode=0755")
	p := newSFTPAt(t, root)
	old, big := file{"the old report", 1 << 20}, file{"too big", 16 << 20}
	plant(t, root, old.as("report.bin"))
	v, err := dive(t.Context(), p.addr(), user)
	if err != nil {
		t.Fatal(err)
	}
	defer v.hangUp()

	h, err := v.open("report.bin", toUpload)
	if err != nil {
		t.Fatal(err)
	}
	text := refusedWith(t, "16 MiB to a disk of 8", v.write(h, 0, big.content(), nil), sftp.Failure, diskFull)
	t.Log(text)
	// Whatever follows hears the same.
	if again := refusedWith(t, "WRITE behind it", v.write(h, 0, []byte("x"), nil), sftp.Failure, diskFull); again != text {
		t.Errorf("the next WRITE hears %q; want what the first heard", again)
	}
	if again := refusedWith(t, "CLOSE", v.close(h), sftp.Failure, diskFull); again != text {
		t.Errorf("CLOSE hears %q; want what the first WRITE heard", again)
	}
	holds(t, filepath.Join(root, "report.bin"), old.content())
	if names, err := v.names(); err != nil || len(names) != 1 {
		t.Errorf("a listing shows %q, %v; want the old file", names, err)
	}
	kept := onlyPartial(t, root, big.content())
	if !strings.Contains(text, fmt.Sprintf("; %d bytes kept", kept)) {
		t.Errorf("%d bytes are kept; the client was told %q", kept, text)
	}
	if size, err := v.size("report.bin"); err != nil || size != int64(old.size) {
		t.Errorf("STAT: %d bytes, %v; want those of the old file", size, err)
	}

	// With the old file out of its way the partial is seen, and the upload goes on.
	if err := v.rename("report.bin", "old.bin"); err != nil {
		t.Fatal(err)
	}
	if size, err := v.size("report.bin"); err != nil || size != kept {
		t.Errorf("STAT of what was kept: %d bytes, %v; want %d", size, err, kept)
	}
	wider(t, root, "size=64m")
	if err := v.goOn("report.bin", big.content()); err != nil {
		t.Errorf("going on: %v", err)
	}
	same(t, root, treeOf(big.as("report.bin"), old.as("old.bin")))
}

// A file that is changed where it is keeps what was written of it, and the client is
// told so.
func TestSFTPAFullDiskUnderAFileInPlace(t *testing.T) {
	t.Parallel()
	root := small(t, "size=4m,mode=0755")
	p := newSFTPAt(t, root)
	old, more := file{"the old log", 1 << 20}, file{"more of it", 8 << 20}
	plant(t, root, old.as("log"))
	v, err := dive(t.Context(), p.addr(), user)
	if err != nil {
		t.Fatal(err)
	}
	defer v.hangUp()
	h, err := v.open("log", toAppend)
	if err != nil {
		t.Fatal(err)
	}
	acked := 0
	err = v.write(h, 0, more.content(), func(n int) { acked = n })
	refusedWith(t, "an append of 8 MiB to a disk of 4", err, sftp.Failure,
		`^No space left on the server's disk: 0 bytes free; what was written before is in the file\. .*\[no-space\]$`)
	if err := v.close(h); err != nil {
		t.Error(err)
	}
	b, err := os.ReadFile(filepath.Join(root, "log"))
	if err != nil {
		t.Fatal(err)
	}
	if whole := slices.Concat(old.content(), more.content()); len(b) < old.size+acked || !bytes.HasPrefix(whole, b) {
		t.Errorf("the log has %d bytes; want %d at least, and all as they were sent", len(b), old.size+acked)
	}
}

// What real clients make of it: they fail, the old file stays, and they go on with
// what is kept once there is room.
func TestSFTPClientsAndAFullDisk(t *testing.T) {
	t.Parallel()
	for _, c := range sftpUploaders {
		said := `[Ff]ailure` // most of them show no more than the status
		if c.name == "scp -O" {
			said = `scp: ` + strings.TrimSuffix(diskFull, "$")
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			root := small(t, "size=8m,mode=0755")
			program, _, _ := strings.Cut(c.name, " ")
			peer(t, program)
			p := newSFTPAt(t, root)
			old, up := file{"the old report", 1 << 20}, file{"too big", 16 << 20}
			plant(t, root, old.as("report.bin"))
			plant(t, p.local, up.as("up.bin"))
			for _, remote := range []string{"report.bin", "new.bin"} {
				out, err := c.put(t, p, remote).output()
				if err == nil || !regexp.MustCompile(said).MatchString(out) {
					t.Errorf("put %s: %v; want a failure that says %s\n%s", remote, err, said, tail(out, 3000))
				}
				holds(t, filepath.Join(root, "report.bin"), old.content())
				kept := onlyPartial(t, root, up.content())
				if kept < 4<<20 {
					t.Errorf("%d bytes are kept; there was more room", kept)
				}
				if remote == "report.bin" { // and with it what was kept
					p.sftp(t, "rm report.bin")
					same(t, root, tree{})
					plant(t, root, old.as("report.bin"))
				}
			}
			wider(t, root, "size=64m")
			p.sftp(t, "reput up.bin new.bin")
			same(t, root, treeOf(old.as("report.bin"), up.as("new.bin")))
		})
	}
}

// A bridge is a proxy in front of a server. It carries so many bytes a second to it,
// and may break down.
type bridge struct {
	l      net.Listener
	server string
	rate   int

	mu    sync.Mutex
	conns []*net.TCPConn
}

// over makes the clients of a play go over a bridge.
func (p *sftpPlay) over(t *testing.T, rate int) *bridge {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &bridge{l: l, server: p.addr(), rate: rate}
	t.Cleanup(func() {
		_ = l.Close()
		b.breaks(false)
	})
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // the test has ended
			}
			go b.carry(c.(*net.TCPConn))
		}
	}()
	if p.host, p.port, err = net.SplitHostPort(l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	p.trustHostKeys(t)
	return b
}

func (b *bridge) carry(client *net.TCPConn) {
	defer client.Close()
	nc, err := net.Dial("tcp", b.server)
	if err != nil {
		return
	}
	server := nc.(*net.TCPConn)
	defer server.Close()
	_ = client.SetReadBuffer(64 << 10)
	b.mu.Lock()
	b.conns = append(b.conns, client, server)
	b.mu.Unlock()
	go func() {
		_, _ = io.Copy(client, server)
		_ = client.CloseWrite()
	}()
	buf := make([]byte, 32<<10)
	for {
		n, err := client.Read(buf)
		if _, werr := server.Write(buf[:n]); err != nil || werr != nil {
			_ = server.CloseWrite() // what the kernel does for a client that is gone
			return
		}
		time.Sleep(time.Duration(n) * time.Second / time.Duration(b.rate))
	}
}

// breaks ends all connections, with a reset or without.
func (b *bridge) breaks(reset bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.conns {
		if reset {
			_ = c.SetLinger(0)
		}
		_ = c.Close()
	}
	b.conns = nil
}

// sftpUploaders are programs that upload up.bin.
var sftpUploaders = []struct {
	name string
	put  func(t *testing.T, p *sftpPlay, remote string) command
}{
	{"sftp", func(_ *testing.T, p *sftpPlay, remote string) command {
		return p.batch(nil, "put up.bin "+remote)
	}},
	{"scp", func(_ *testing.T, p *sftpPlay, remote string) command {
		return p.scp("-s", "up.bin", p.there()+":"+remote)
	}},
	{"scp -O", func(_ *testing.T, p *sftpPlay, remote string) command {
		return p.scp("-O", "up.bin", p.there()+":"+remote)
	}},
	{"psftp", func(t *testing.T, p *sftpPlay, remote string) command {
		common, login := p.puttyArgs(t)
		return p.psftp(t, slices.Concat(common, login), "put up.bin "+remote)
	}},
}

// A client that is killed, or loses its connection, at any moment of its data leaves
// no file, and of an old file nothing else. What came is a beginning of what was sent,
// with which OpenSSH's sftp goes on.
func TestSFTPUploadsThatAreCut(t *testing.T) {
	t.Parallel()
	const size, rate = 6 << 20, 12 << 20
	up, old := file{"an upload that is cut", size}.content(), file{"the old file", 100_000}
	for _, c := range sftpUploaders {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			program, _, _ := strings.Cut(c.name, " ")
			peer(t, program)
			p := newSFTP(t, "--sync", "none")
			b := p.over(t, rate)
			plant(t, p.local, named{"up.bin", up})
			plant(t, p.root, old.as("old.bin"))
			j := p.journal()
			for i := range times(1, 30) {
				for _, end := range []string{"killed", "closed", "reset"} {
					p.goOn(t)
					name := "old.bin"
					if i%2 == 0 && end != "closed" {
						name = "new.bin"
					}
					seen, err := j.from(0)
					if err != nil {
						t.Fatal(err)
					}
					enough := int64(1<<20 + rand.IntN(size-3<<20))
					out, err := cutAt(t, c.put(t, p, name), func() bool { return onDisk(t, p.root) >= enough }, func(kill func()) {
						if end == "killed" {
							kill()
						} else {
							b.breaks(end == "reset")
						}
					})
					if err == nil {
						t.Fatalf("%s: the client ended well\n%s", end, tail(out, 3000))
					}
					line := ""
					within(t, "the end of the upload", func() bool {
						lines, err := j.from(len(seen))
						i := slices.IndexFunc(lines, func(l string) bool {
							return strings.Contains(l, `msg="upload cut"`) || strings.Contains(l, `msg="upload done"`)
						})
						if i >= 0 {
							line = lines[i]
						}
						return err != nil || i >= 0
					})
					came, keeps := number(line, "bytes"), number(line, "kept")
					if !strings.Contains(line, `msg="upload cut"`) || keeps != came-4096 {
						t.Errorf("%s, after %d bytes: %s", end, enough, line)
					}
					if shown, _ := namesIn(t, p.root); !slices.Equal(shown, []string{"old.bin"}) {
						t.Errorf("%s: the directory shows %q; want the old file", end, shown)
					}
					holds(t, filepath.Join(p.root, "old.bin"), old.content())
					if kept := onlyPartial(t, p.root, up); kept != keeps {
						t.Errorf("%s: %d bytes are kept; the log says %d", end, kept, keeps)
					}

					if name == "old.bin" { // out of the way: then what is kept is seen
						p.sftp(t, "rename old.bin away", "reput up.bin old.bin", "rename old.bin new.bin", "rename away old.bin")
					} else {
						p.sftp(t, "reput up.bin new.bin")
					}
					same(t, p.root, treeOf(old.as("old.bin"), named{"new.bin", up}))
					if err := os.Remove(filepath.Join(p.root, "new.bin")); err != nil {
						t.Fatal(err)
					}
				}
			}
		})
	}
}

// A cut upload of A to the name of a finished file B, and then a resume: the name holds
// B or the whole of A afterwards, never the head of one and the tail of the other.
func TestSFTPAResumeOntoAReplacedFileNeverMixes(t *testing.T) {
	t.Parallel()
	a := file{"file A", 5<<20 + 3}
	for _, c := range []struct {
		name   string
		resume func(t *testing.T, p *sftpPlay) command
	}{
		{"sftp", func(_ *testing.T, p *sftpPlay) command { return p.batch(nil, "reput up.bin f.bin") }},
		{"psftp", func(t *testing.T, p *sftpPlay) command {
			common, login := p.puttyArgs(t)
			return p.psftp(t, slices.Concat(common, login), "reput up.bin f.bin")
		}},
		{"curl", func(_ *testing.T, p *sftpPlay) command {
			return p.command("curl", p.curlSFTP("-u", user+":", "--key", p.key, "-C", "-", "-T", "up.bin", p.sftpURL("f.bin"))...)
		}},
		{"lftp", func(t *testing.T, p *sftpPlay) command {
			return p.command("lftp", p.lftpArgs(t, "publickey", "put -c up.bin -o f.bin")...)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			peer(t, c.name)
			p := newSFTP(t, "--sync", "none")
			plant(t, p.local, a.as("up.bin"))
			for what, size := range map[string]int{
				"a shorter old file": 1 << 20, "a longer old file": 7 << 20, "an old file of the same size": a.size,
				"an old file of the size of the partial": a.size/2 - 4096,
			} {
				b := file{"file B", size}
				plant(t, p.root, b.as("f.bin"))
				v, err := dive(t.Context(), p.addr(), user)
				if err != nil {
					t.Fatal(err)
				}
				h, err := v.open("f.bin", toUpload)
				if err == nil {
					err = v.write(h, 0, a.content()[:a.size/2], nil)
				}
				if err != nil {
					t.Fatal(err)
				}
				v.hangUp()
				within(t, "the cut", func() bool {
					_, hidden := namesIn(t, p.root)
					return len(hidden) == 1 && cutName.MatchString(hidden[0])
				})
				out, err := c.resume(t, p).output()
				switch got := scan(t, p.root)["f.bin"]; {
				case got == sum(a.content()):
				case got == sum(b.content()) && (err != nil || size >= a.size): // refused; or the client compared sizes and sent nothing
				default:
					t.Errorf("onto %s: the name holds %s, the client ended with %v; want A, %s, or an error and B, %s\n%s",
						what, got, err, sum(a.content()), sum(b.content()), tail(out, 3000))
				}
				p.sftp(t, "put up.bin f.bin") // the way out that every client has: from the start
				same(t, p.root, treeOf(a.as("f.bin")))
			}
		})
	}
}

// cutAt starts a client, and calls cut when it is due. It returns how the client ended.
func cutAt(t *testing.T, cmd command, due func() bool, cut func(kill func())) (string, error) {
	t.Helper()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	kill := func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // its group, which may be gone
	defer kill()
	within(t, "the moment to cut the upload", func() bool {
		select {
		case err := <-ended:
			t.Fatalf("the client ended before it was cut: %v\n%s", err, tail(out.String(), 4000))
		default:
		}
		return due()
	})
	cut(kill)
	select {
	case err := <-ended:
		return out.String(), err
	case <-time.After(20 * time.Second):
		kill()
		t.Errorf("the client did not end within 20 s")
		return out.String(), <-ended
	}
}

// SIGTERM lets uploads come to their end that run, by SFTP and by scp's old protocol,
// and takes no new visitors.
func TestSFTPAStopLetsUploadsEnd(t *testing.T) {
	t.Parallel()
	p := newSFTP(t)
	b := file{"ended behind SIGTERM", 1 << 20}.content()
	v, err := dive(t.Context(), p.addr(), user)
	if err != nil {
		t.Fatal(err)
	}
	defer v.hangUp()
	idle, err := dive(t.Context(), p.addr(), user)
	if err != nil {
		t.Fatal(err)
	}
	defer idle.hangUp()
	c, err := copyTo(t.Context(), p.addr(), user, "copied.bin")
	if err != nil {
		t.Fatal(err)
	}
	defer c.hangUp()
	h, err := v.open("put.bin", toUpload)
	if err == nil {
		_, err = v.open("put.bin", sftp.OpenRead) // it is closed when the client leaves
		err = errors.Join(err, v.write(h, 0, b[:len(b)/2], nil), c.send(b))
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := p.process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if _, err := idle.receive(); err == nil {
		t.Error("a session without open files goes on behind SIGTERM")
	}
	within(t, "the end of the listener", func() bool {
		nc, err := net.Dial("tcp", p.addr())
		if err == nil {
			_ = nc.Close()
		}
		return err != nil
	})
	if err := errors.Join(v.write(h, int64(len(b)/2), b[len(b)/2:], nil), v.close(h)); err != nil {
		t.Errorf("the rest of the upload: %v", err)
	}
	if err := c.done(); err != nil {
		t.Errorf("the end of scp's file: %v", err)
	}
	v.hangUp()
	c.hangUp()
	same(t, p.root, treeOf(named{"put.bin", b}, named{"copied.bin", b}))
	select {
	case err := <-p.ended:
		p.ended <- err
	case <-time.After(10 * time.Second):
		t.Error("10 s behind the last CLOSE the server still runs")
	}
}

// When the grace is over what runs is cut in order: the client is told, and what came
// is kept.
func TestSFTPAStopCutsWhatDoesNotEnd(t *testing.T) {
	t.Parallel()
	s := newSite(t, passive(), onSFTP+"[limits]\nstop-grace = \"300ms\"\n")
	home := s.add(t, "anna")
	b := file{"never ended", 1 << 20}.content()
	for round := range 2 {
		srv := s.serve(t)
		v, err := dive(t.Context(), srv.ready.SFTP[0], "anna")
		if err != nil {
			t.Fatal(err)
		}
		defer v.hangUp()
		if round == 1 { // what was kept is there after the next start
			if err := v.goOn("put.bin", b); err != nil {
				t.Error(err)
			}
			same(t, home, treeOf(named{"put.bin", b}))
			return
		}
		c, err := copyTo(t.Context(), srv.ready.SFTP[0], "anna", "copied.bin")
		if err != nil {
			t.Fatal(err)
		}
		defer c.hangUp()
		h, err := v.open("put.bin", toUpload)
		if err == nil {
			err = errors.Join(v.write(h, 0, b[:len(b)/2], nil), c.send(b))
		}
		if err != nil {
			t.Fatal(err)
		}
		var told bytes.Buffer
		heard := make(chan struct{})
		go func() {
			defer close(heard)
			_, _ = io.Copy(&told, v.ch.Stderr())
		}()
		srv.end(t)
		<-heard
		if !strings.Contains(told.String(), "[shutdown]") {
			t.Errorf("the client was told %q", told.String())
		}
		shown, hidden := namesIn(t, home)
		if len(shown) > 0 || len(hidden) != 2 {
			t.Fatalf("the directory has %q and %q; want two cut uploads", shown, hidden)
		}
		for _, h := range hidden {
			part, err := os.ReadFile(filepath.Join(home, h))
			if err != nil || !cutName.MatchString(h) || !bytes.HasPrefix(b, part) || len(part) != len(b)/2-4096 && len(part) != len(b)-4096 {
				t.Errorf("%s has %d bytes, %v; want a beginning of what was sent", h, len(part), err)
			}
			if len(part) == len(b)-4096 { // scp's, with which nobody goes on
				if err := os.Remove(filepath.Join(home, h)); err != nil {
					t.Error(err)
				}
			}
		}
	}
}

// onSFTP is a listener of SFTP alone.
const onSFTP = "[[listener]]\nprotocol = \"sftp\"\nlisten = [\"127.0.0.1:0\"]\n"

// OK is the last step: the bytes are in the file, the file is on the disk, it has its
// name, the name is on the disk, and then the client is told. fsync is the same, and
// so is the last word of scp's old protocol.
func TestSFTPAnUploadIsOnTheDiskBeforeItsReply(t *testing.T) {
	t.Parallel()
	strace := peer(t, "strace")
	trace := filepath.Join(t.TempDir(), "trace")
	root, err := filepath.EvalSymlinks(t.TempDir()) // strace prints real paths
	if err != nil {
		t.Fatal(err)
	}
	l := &life{root: root, state: t.TempDir(), passive: ownRange(),
		args: []string{"--sync", "commit", "--sftp", "127.0.0.1:0", "--ftp", "off"},
		prefix: []string{
			strace, "-D", "-f", "-y", "-qq", "-s", "128", "-o", trace,
			"-e", "trace=write,pwrite64,fsync,fdatasync,rename,renameat,renameat2,sendto,writev",
		}}
	addr := l.launch(t).ready.SFTP[0]
	b := file{"ordered", 100_000}.content()
	v, err := dive(t.Context(), addr, user)
	if err != nil {
		t.Fatal(err)
	}
	defer v.hangUp()
	c, err := copyTo(t.Context(), addr, user, "copied.bin")
	if err != nil {
		t.Fatal(err)
	}
	defer c.hangUp()
	var h []byte
	begin := func(name string) error {
		var err error
		if h, err = v.open(name, toUpload); err != nil {
			return err
		}
		return v.write(h, 0, b, nil)
	}
	for _, step := range []struct {
		name, file  string
		begin, last func() error
	}{
		{"CLOSE of a new file", "new.bin", func() error { return begin("new.bin") }, func() error { return v.close(h) }},
		{"CLOSE of an old one", "old.bin", func() error { return begin("old.bin") }, func() error { return v.close(h) }},
		{"fsync", "synced.bin", func() error { return begin("synced.bin") }, func() error { return v.fsync(h) }},
		{"the last word of scp", "copied.bin", func() error { return c.send(b) }, c.done},
	} {
		t.Run(step.name, func(t *testing.T) {
			plant(t, root, named{"old.bin", []byte("old")})
			if err := step.begin(); err != nil {
				t.Fatal(err)
			}
			if err := step.last(); err != nil {
				t.Fatal(err)
			}
			// The client says nothing more, so the last that the server writes to a socket is
			// the answer, once it stands in the trace behind the rename.
			hidden := regexp.MustCompile(regexp.QuoteMeta(root) + `/\.dray-[0-9a-f]{12}-[0-9a-f]{32}\.[0-9a-f]{16}`)
			socket := regexp.MustCompile(`^\d+<(socket|TCP)`)
			renamed := func(c *syscallLine) bool {
				return strings.HasPrefix(c.name, "rename") && c.result >= 0 && strings.Contains(c.args, `"`+step.file+`"`)
			}
			var calls []*syscallLine
			var answer *syscallLine
			eventually(t, "the answer in the trace", func() bool {
				time.Sleep(50 * time.Millisecond) // strace writes a little later
				calls, answer = readTrace(t, trace), nil
				i := slices.IndexFunc(calls, renamed)
				if i < 0 {
					return false
				}
				for _, c := range calls {
					if (c.name == "write" || c.name == "sendto" || c.name == "writev") && c.result > 0 && socket.MatchString(c.args) {
						answer = c
					}
				}
				return answer != nil && answer.begin > calls[i].end
			})
			first := slices.IndexFunc(calls, renamed)
			rename := calls[first]
			temp := hidden.FindString(root + "/" + regexp.MustCompile(`\.dray-[0-9a-f.-]+`).FindString(rename.args))
			written, last := int64(0), 0
			var flush, dir *syscallLine
			for _, c := range calls {
				into, _, _ := strings.Cut(c.args, ">, ")
				switch {
				case c.result < 0:
				case movesBytes.MatchString(c.name) && strings.HasSuffix(into, "<"+temp):
					written, last = written+c.result, max(last, c.end)
				case (c.name == "fsync" || c.name == "fdatasync") && strings.Contains(c.args, "<"+temp+">"):
					flush = c
				case c.name == "fsync" && strings.Contains(c.args, "<"+root+">") && dir == nil && c.begin > rename.begin:
					dir = c
				}
			}
			if temp == "" || flush == nil || dir == nil || written != int64(len(b)) {
				t.Fatalf("hidden name %q, %d bytes written, flush %v, flush of the directory %v\n%s", temp, written, flush, dir, tail(show(calls), 6000))
			}
			for _, order := range []struct {
				what          string
				before, after int
			}{
				{"the last byte before the flush of the file", last, flush.begin},
				{"the flush of the file before the rename", flush.end, rename.begin},
				{"the rename before the flush of the directory", rename.end, dir.begin},
				{"the flush of the directory before the answer", dir.end, answer.begin},
			} {
				if order.before >= order.after {
					t.Errorf("%s: lines %d and %d of the trace\n%s", order.what, order.before, order.after, tail(show(calls), 6000))
				}
			}
			holds(t, filepath.Join(root, step.file), b)
		})
	}
}

// A crowd that uploads one name, with two handles each, is told OK every time; the name
// holds one of the files, whole, and nothing stays behind in directory and process.
func TestSFTPACrowdOnOneName(t *testing.T) {
	t.Parallel()
	const visitors, rounds = 40, 2
	p := newSFTP(t, "--sync", "none")
	content := func(i, round, handle int) []byte {
		return version{fmt.Sprintf("visitor %d, handle %d", i, handle), uint64(round)}.content(50_000, 100_000)
	}
	session := func(i int) error {
		v, err := dive(t.Context(), p.addr(), user)
		if err != nil {
			return err
		}
		defer v.hangUp()
		for round := range rounds {
			var h [2][]byte
			var b [2][]byte
			for k := range h {
				b[k] = content(i, round, k)
				if h[k], err = v.open("one.bin", toUpload); err != nil {
					return err
				}
			}
			for at := 0; at < max(len(b[0]), len(b[1])); at += piece { // in turn
				for k := range h {
					if at < len(b[k]) {
						if err := v.write(h[k], int64(at), b[k][at:min(at+piece, len(b[k]))], nil); err != nil {
							return err
						}
					}
				}
			}
			for _, k := range []int{round % 2, 1 - round%2} {
				if err := v.close(h[k]); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if err := session(visitors); err != nil { // whatever is opened once is open now
		t.Fatal(err)
	}
	before := p.settled(t, held{})
	var wg sync.WaitGroup
	for i := range visitors {
		wg.Go(func() {
			if err := session(i); err != nil {
				t.Errorf("visitor %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	b, err := os.ReadFile(filepath.Join(p.root, "one.bin"))
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for i := range visitors {
		// In the last round the first handle is closed last, and it is what the session leaves.
		found = found || bytes.Equal(b, content(i, rounds-1, 0))
	}
	if !found {
		t.Errorf("the name holds %s, which is what no session has closed last", sum(b))
	}
	if shown, hidden := namesIn(t, p.root); len(shown) != 1 || len(hidden) > 0 {
		t.Errorf("the directory has %q and %q", shown, hidden)
	}
	if after := p.settled(t, before); after != before {
		t.Errorf("10 s after the uploads the process holds %+v; want %+v as before", after, before)
	}
}
