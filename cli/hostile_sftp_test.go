//go:build unix

package cli

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"dray/sftp"
)

// An sftpFake is a small SFTP server with its files in memory, over SSH, whose
// tests say what it does instead.
type sftpFake struct {
	t    testing.TB
	addr string
	key  ssh.Signer
	dirs map[string][]sftp.Name

	// ssh is asked at the steps "hello", "password", "channel" and "subsystem", and true
	// when it has done all that is to be done there.
	ssh func(step string, nc net.Conn) bool
	// says replaces an answer: nil keeps the usual one, empty sends none.
	says func(s *sftpSession, q *sftp.Request, usual []byte) []byte
	// first is sent in front of everything.
	first  []byte
	honest atomic.Bool

	mu    sync.Mutex
	files map[string]string
	seen  []sftp.Type
	reads []uint64 // their offsets
}

// An sftpSession is one session with it.
type sftpSession struct {
	*sftpFake
	nc      net.Conn
	ch      ssh.Channel
	handles map[string]string
	listed  map[string]bool
	reads   int
}

func newHostKey(t testing.TB) ssh.Signer {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	fine(t, err)
	key, err := ssh.NewSignerFromKey(private)
	fine(t, err)
	return key
}

func newSFTPFake(t testing.TB) *sftpFake {
	f := &sftpFake{t: t, key: newHostKey(t), files: map[string]string{}, dirs: map[string][]sftp.Name{}}
	f.addr = serveAll(t, "127.0.0.1:0", func(ctx context.Context, nc net.Conn) {
		step := func(name string) bool { return f.ssh != nil && !f.honest.Load() && f.ssh(name, nc) }
		if step("hello") {
			return
		}
		config := &ssh.ServerConfig{PasswordCallback: func(ssh.ConnMetadata, []byte) (*ssh.Permissions, error) {
			if step("password") {
				return nil, fmt.Errorf("no")
			}
			return nil, nil
		}}
		config.AddHostKey(f.key)
		conn, channels, requests, err := ssh.NewServerConn(nc, config)
		if err != nil {
			return
		}
		defer conn.Close()
		go ssh.DiscardRequests(requests)
		for c := range channels {
			if step("channel") {
				return
			}
			ch, asked, err := c.Accept()
			if err != nil {
				return
			}
			go func() {
				for r := range asked {
					if step("subsystem") {
						_ = r.Reply(false, nil) // a refusal, or much too late
						continue
					}
					_ = r.Reply(r.Type == "subsystem", nil)
					if r.Type == "subsystem" {
						s := &sftpSession{sftpFake: f, nc: nc, ch: ch, handles: map[string]string{}, listed: map[string]bool{}}
						go s.serve()
					}
				}
			}()
		}
	}).String()
	return f
}

func (f *sftpFake) url(path string) string { return "sftp://alice@" + f.addr + path }

// known makes the host key one that the program knows.
func (f *sftpFake) known(w *ward, key ssh.PublicKey) {
	dir := filepath.Join(w.home, ".ssh")
	fine(f.t, os.MkdirAll(dir, 0o700))
	fine(f.t, os.WriteFile(filepath.Join(dir, "known_hosts"), []byte(knownhosts.Line([]string{knownhosts.Normalize(f.addr)}, key)+"\n"), 0o600))
}

func (f *sftpFake) file(name string) (string, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s, ok := f.files[name]
	return s, ok
}

func (f *sftpFake) firstRead() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.reads[0]
}

func (s *sftpSession) serve() {
	defer s.ch.Close()
	if len(s.first) > 0 && !s.honest.Load() {
		_, _ = s.ch.Write(s.first)
	}
	var in []byte
	buf := make([]byte, 64<<10)
	for {
		body, rest, _, err := sftp.Split(in)
		if err != nil {
			return
		}
		if body == nil {
			n, err := s.ch.Read(buf)
			in = append(in, buf[:n]...)
			if err != nil {
				return
			}
			continue
		}
		var q sftp.Request
		if q.Parse(body) != nil {
			return
		}
		s.mu.Lock()
		s.seen = append(s.seen, q.Type)
		if q.Type == sftp.TypeRead {
			s.sftpFake.reads = append(s.sftpFake.reads, q.Offset)
		}
		out := s.answer(&q)
		s.mu.Unlock()
		if s.says != nil && !s.honest.Load() {
			if other := s.says(s, &q, out); other != nil {
				out = other
			}
		}
		in = rest
		if len(out) > 0 {
			if _, err := s.ch.Write(out); err != nil {
				return
			}
		}
	}
}

func sftpStatus(q *sftp.Request, c sftp.Code, text string) []byte {
	return sftp.AppendStatus(nil, q.ID, c, text)
}

func sftpData(id uint32, b []byte) []byte {
	out := append(make([]byte, sftp.DataHeader), b...)
	sftp.PutData(out, id, len(b))
	return out
}

const (
	regular = 0o100644
	folder  = 0o040755
	symlink = 0o120777
)

func named(kind uint32, size int, name string) sftp.Name {
	return sftp.Name{Name: []byte(name), Long: []byte(name), Attrs: sftp.Attributes{Flags: sftp.HasMode | sftp.HasSize | sftp.HasTimes, Mode: kind, Size: uint64(size), MTime: 1704164645}}
}

func (s *sftpSession) attributes(q *sftp.Request, name string) []byte {
	if _, ok := s.dirs[name]; ok {
		return sftp.AppendAttrs(nil, q.ID, &sftp.Attributes{Flags: sftp.HasMode, Mode: folder})
	}
	text, ok := s.files[name]
	if !ok {
		return sftpStatus(q, sftp.NoSuchFile, "No such file")
	}
	a := named(regular, len(text), name).Attrs
	return sftp.AppendAttrs(nil, q.ID, &a)
}

// answer is the usual one. s.mu is held.
func (s *sftpSession) answer(q *sftp.Request) []byte {
	p, handle := "/"+strings.TrimLeft(strings.TrimSuffix(string(q.Path), "/"), "/"), string(q.Handle)
	switch q.Type {
	case sftp.TypeInit:
		return sftp.AppendVersion(nil, nil)
	case sftp.TypeRealpath:
		return sftp.AppendName(nil, q.ID, "/", &sftp.Attributes{})
	case sftp.TypeStat, sftp.TypeLstat:
		return s.attributes(q, p)
	case sftp.TypeFstat:
		return s.attributes(q, s.handles[handle])
	case sftp.TypeOpen:
		text, ok := s.files[p]
		if q.Flags&sftp.OpenCreate == 0 && !ok {
			return sftpStatus(q, sftp.NoSuchFile, "No such file")
		}
		if q.Flags&sftp.OpenTrunc != 0 {
			text = ""
		}
		s.files[p] = text
		fallthrough
	case sftp.TypeOpendir:
		if _, ok := s.dirs[p]; !ok && q.Type == sftp.TypeOpendir {
			return sftpStatus(q, sftp.NoSuchFile, "No such file")
		}
		h := fmt.Sprintf("h%d", len(s.seen))
		s.handles[h] = p
		return sftp.AppendHandle(nil, q.ID, []byte(h))
	case sftp.TypeReaddir:
		if s.listed[handle] {
			return sftpStatus(q, sftp.EOF, "")
		}
		s.listed[handle] = true
		n, out := sftp.BeginNames(nil, q.ID)
		for _, e := range s.dirs[s.handles[handle]] {
			out = n.Append(out, e.Name, e.Long, &e.Attrs)
		}
		return n.End(out)
	case sftp.TypeRead:
		text := s.files[s.handles[handle]]
		if q.Offset >= uint64(len(text)) {
			return sftpStatus(q, sftp.EOF, "")
		}
		text = text[q.Offset:]
		return sftpData(q.ID, []byte(text[:min(len(text), int(q.Length))]))
	case sftp.TypeWrite:
		b := []byte(s.files[s.handles[handle]])
		if end := int(q.Offset) + len(q.Data); end > len(b) {
			b = append(b, make([]byte, end-len(b))...)
		}
		copy(b[q.Offset:], q.Data)
		s.files[s.handles[handle]] = string(b)
		return sftpStatus(q, sftp.OK, "")
	case sftp.TypeRename:
		s.files[string(q.To)] = s.files[p]
		delete(s.files, p)
		return sftpStatus(q, sftp.OK, "")
	case sftp.TypeRemove:
		delete(s.files, p)
		return sftpStatus(q, sftp.OK, "")
	case sftp.TypeReadlink:
		return sftp.AppendName(nil, q.ID, "../../../x", &sftp.Attributes{})
	case sftp.TypeExtended:
		return sftpStatus(q, sftp.OpUnsupported, "")
	}
	return sftpStatus(q, sftp.OK, "")
}

func TestHostileNamesOverSFTP(t *testing.T) {
	names := []string{"../x", "/etc/passwd", "", "..", "a/b", "a\nb", "a\x01b", "a\x1b]0;owned\ab", "a\x00b", "sub/../../x", strings.Repeat("n", 300)}
	for _, verb := range []string{"get", "mirror", "ls"} {
		t.Run(verb, func(t *testing.T) {
			t.Parallel()
			f := newSFTPFake(t)
			for _, name := range names {
				f.dirs["/top"] = append(f.dirs["/top"], named(regular, 4, name))
				f.files["/top/"+name] = "evil"
			}
			f.dirs["/top"] = append(f.dirs["/top"], named(regular, 5, "good"), named(folder, 0, "deep"), named(symlink, 0, "out"), named(folder, 0, "out"))
			f.dirs["/top/deep"] = []sftp.Name{named(regular, 4, "../../x"), named(folder, 0, "../../y"), named(regular, 4, "well")}
			f.dirs["/top/out"] = []sftp.Name{named(regular, 4, "x")}
			f.files["/top/good"], f.files["/top/deep/well"], f.files["/top/out/x"] = "whole", "deep", "evil"
			w := newWard(t)
			f.known(w, f.key.PublicKey())
			if verb == "ls" {
				p := w.dray("ls", f.url("/top"))
				p.is(0, "")
				if n := strings.Count(p.out, "\n"); n != len(names)+4-2 { // neither "" nor ".."
					t.Errorf("%d lines: %q", n, p.out)
				}
				return
			}
			args := []string{"get", "-r", f.url("/top"), "got"}
			if verb == "mirror" {
				args = []string{"mirror", f.url("/top"), "got/top"}
			}
			p := w.dray(append(args, "--retry", "0")...)
			p.is(1, "unsafe-name")
			got := slices.DeleteFunc(w.inside(), func(s string) bool { return strings.HasPrefix(s, "got/top/out/") }) // the first or the second of that name
			if !slices.Equal(got, []string{"got/", "got/top/", "got/top/deep/", "got/top/deep/well", "got/top/good"}) {
				t.Errorf("on the disk: %q\n%s", got, p.err)
			}
			p.says(`../x`, `/etc/passwd`, `a/b`, `a\nb`, `a\x01b`, `a\x1b]0;owned\ab`, `a\x00b`, "leads out of the tree")
		})
	}
}

// An sftpFault is something that a server does, and what becomes of it.
type sftpFault struct {
	name string
	ssh  string // the step where it does not answer
	set  func(f *sftpFake)
	// typ is the request that is answered by says.
	typ  sftp.Type
	says func(s *sftpSession, q *sftp.Request, usual []byte) []byte

	verb   string // "": get
	more   []string
	status int // -1: any but 0
	id     string
	kept   int
	resume bool
	also   func(t *testing.T, f *sftpFake, p run)
}

func TestHostileSFTPServers(t *testing.T) {
	t.Parallel()
	nothing := func(*sftpSession, *sftp.Request, []byte) []byte { return []byte{} }
	fails := func(c sftp.Code, text string) func(*sftpSession, *sftp.Request, []byte) []byte {
		return func(_ *sftpSession, q *sftp.Request, _ []byte) []byte { return sftpStatus(q, c, text) }
	}
	hangUp := func(s *sftpSession, _ *sftp.Request, _ []byte) []byte {
		_ = s.nc.Close()
		return []byte{}
	}
	// later does something at the READ or WRITE of this number.
	later := func(n int, do func(s *sftpSession, q *sftp.Request, usual []byte) []byte) func(*sftpSession, *sftp.Request, []byte) []byte {
		return func(s *sftpSession, q *sftp.Request, usual []byte) []byte {
			if s.reads++; s.reads < n {
				return nil
			}
			return do(s, q, usual)
		}
	}
	rows := []sftpFault{
		// Silence at each step.
		{name: "silence in place of SSH", ssh: "hello", status: 12, id: "no-answer"},
		{name: "silence at the password", ssh: "password", status: 12, id: "no-answer"},
		{name: "silence at the channel", ssh: "channel", status: 12, id: "no-answer"},
		{name: "closed at the channel", ssh: "closed", status: 11, id: "connection-lost"},
		{name: "silence at the subsystem", ssh: "subsystem", status: 12, id: "no-answer"},
		{name: "silence at INIT", typ: sftp.TypeInit, says: nothing, status: 12, id: "no-answer"},
		{name: "silence at STAT", typ: sftp.TypeStat, says: nothing, status: 12, id: "no-answer"},
		{name: "silence at OPEN", typ: sftp.TypeOpen, says: nothing, status: 12, id: "no-answer"},
		{name: "silence at READ", typ: sftp.TypeRead, says: nothing, status: 12},
		{name: "silence in the data", typ: sftp.TypeRead, says: later(4, nothing), status: 12, kept: 65_536, resume: true},
		{name: "silence at OPENDIR", verb: "ls", typ: sftp.TypeOpendir, says: nothing, status: 12, id: "no-answer"},
		{name: "silence at READDIR", verb: "ls", typ: sftp.TypeReaddir, says: nothing, status: 12},
		{name: "silence at WRITE", verb: "put", typ: sftp.TypeWrite, says: nothing, status: 12},
		{name: "silence at the CLOSE of an upload", verb: "put", typ: sftp.TypeClose, says: nothing, status: 12, id: "no-answer"},
		{name: "silence at RENAME", verb: "put", typ: sftp.TypeRename, says: nothing, status: 12, id: "no-answer"},

		// Not the protocol.
		{name: "text in front of VERSION", set: func(f *sftpFake) { f.first = []byte("Welcome to the machine of alice\n") }, status: 3},
		{name: "HTTP in place of SSH", ssh: "HTTP", status: 3, id: "wrong-protocol"},
		{name: "no SFTP", ssh: "refuse", status: 3, id: "no-sftp"},
		{name: "a packet of 2 GiB", typ: sftp.TypeStat, says: func(*sftpSession, *sftp.Request, []byte) []byte { return []byte{0x7f, 0xff, 0xff, 0xff, 105} }, status: 3, id: "bad-reply"},
		{name: "an answer to nobody", typ: sftp.TypeRead, says: func(_ *sftpSession, q *sftp.Request, _ []byte) []byte { return sftpData(q.ID+1000, []byte("x")) }, status: 3, id: "bad-reply"},
		{name: "answers to READ in each other's place", typ: sftp.TypeRead, says: func(_ *sftpSession, q *sftp.Request, _ []byte) []byte {
			return sftp.AppendHandle(nil, q.ID, []byte("h"))
		}, status: 3, id: "bad-reply"},
		{name: "READ with more than was asked for", typ: sftp.TypeRead, says: func(_ *sftpSession, q *sftp.Request, _ []byte) []byte {
			return sftpData(q.ID, make([]byte, q.Length+1))
		}, status: 3, id: "bad-reply"},
		{name: "READ without a byte, for ever", typ: sftp.TypeRead, says: func(_ *sftpSession, q *sftp.Request, _ []byte) []byte { return sftpData(q.ID, nil) }, status: -1},
		{name: "READ that ends early", typ: sftp.TypeRead, says: later(3, fails(sftp.EOF, "")), status: 10, id: "short-file", kept: 32_768, resume: true},
		{name: "READ of one byte at a time", typ: sftp.TypeRead, says: func(s *sftpSession, q *sftp.Request, _ []byte) []byte {
			text, _ := s.file("/file")
			if q.Offset >= uint64(len(text)) {
				return nil
			}
			time.Sleep(time.Millisecond)
			return sftpData(q.ID, []byte{text[q.Offset]})
		}, more: []string{"--max-time", "2s"}, status: 124, id: "max-time"},
		{name: "an endless directory", verb: "ls", typ: sftp.TypeReaddir, says: func(_ *sftpSession, q *sftp.Request, _ []byte) []byte {
			n, out := sftp.BeginNames(nil, q.ID)
			for range 1000 {
				e := named(regular, 1, "name")
				out = n.Append(out, e.Name, e.Long, &e.Attrs)
			}
			return n.End(out)
		}, more: []string{"--max-time", "3s"}, status: -1, also: func(t *testing.T, f *sftpFake, p run) {
			if p.status != 124 && p.status != 3 {
				t.Errorf("status %d\n%s", p.status, p.err)
			}
			if p.memory > 1536<<20 {
				t.Errorf("it took %d MiB", p.memory>>20)
			}
		}},
		{name: "directories without end", set: func(f *sftpFake) {
			at := "/deep"
			for range 300 {
				f.dirs[at] = []sftp.Name{named(folder, 0, "deep")}
				at += "/deep"
			}
		}, verb: "get -r", status: 1, id: "bad-name"},

		// Trust.
		{name: "another host key", set: func(f *sftpFake) {}, verb: "changed", status: 4, id: "hostkey-changed"},
		{name: "an unknown host key", verb: "unknown", status: 4, id: "hostkey-unknown"},

		// What breaks off.
		{name: "closed at OPEN", typ: sftp.TypeOpen, says: hangUp, status: 11, id: "connection-lost"},
		{name: "closed in the data", typ: sftp.TypeRead, says: later(4, hangUp), status: 11, kept: 65_536, resume: true},
		{name: "closed in an upload", verb: "put", typ: sftp.TypeWrite, says: later(4, hangUp), status: 11},
		{name: "the channel closed in the data", typ: sftp.TypeRead, says: later(4, func(s *sftpSession, _ *sftp.Request, _ []byte) []byte {
			_ = s.ch.Close()
			return []byte{}
		}), status: 11, kept: 65_536, resume: true},

		// Refusals.
		{name: "a failure of READ", typ: sftp.TypeRead, says: later(3, fails(sftp.Failure, "Input/output \x1b[31merror\x07")), status: 1, id: "server-refused"},
		{name: "no space", verb: "put", typ: sftp.TypeWrite, says: fails(sftp.Failure, "No space left on device"), status: 9, id: "no-space"},
		{name: "a quota at CLOSE", verb: "put", typ: sftp.TypeClose, says: fails(sftp.Failure, "Disk quota exceeded"), status: 9, id: "quota"},
		{name: "permission denied", typ: sftp.TypeOpen, says: fails(sftp.PermissionDenied, "Permission denied"), status: 8, id: "perm"},
		{name: "no such file", typ: sftp.TypeStat, says: fails(sftp.NoSuchFile, "No such file"), status: 7, id: "not-found"},
		{name: "a server that says the password back", typ: sftp.TypeOpen, says: fails(sftp.Failure, "I know "+marker[:5]), status: 1, id: "server-refused"},
		{name: "a wrong password", ssh: "wrong", status: 5, id: "auth"},
	}
	together(t, rows, func(row sftpFault) string { return row.name }, func(t testing.TB, row sftpFault) (*running, func(*testing.T, run)) {
		f := newSFTPFake(t)
		f.files["/file"] = theFile
		f.dirs["/dir"] = []sftp.Name{named(regular, 1, "a")}
		switch row.ssh {
		case "":
		case "HTTP":
			f.ssh = func(step string, nc net.Conn) bool {
				_, _ = io.WriteString(nc, "HTTP/1.1 400 Bad Request\r\n\r\n")
				return true
			}
		case "refuse":
			f.ssh = func(step string, nc net.Conn) bool { return step == "subsystem" }
		case "closed":
			f.ssh = func(step string, nc net.Conn) bool { return step == "channel" }
		case "wrong":
			f.ssh = func(step string, nc net.Conn) bool { return step == "password" }
		default:
			f.ssh = func(step string, nc net.Conn) bool {
				if step == row.ssh && step == "hello" {
					_, _ = io.Copy(io.Discard, nc)
				} else if step == row.ssh {
					time.Sleep(8 * time.Second)
				}
				return step == row.ssh
			}
		}
		if row.says != nil {
			f.says = func(s *sftpSession, q *sftp.Request, usual []byte) []byte {
				if q.Type != row.typ {
					return nil
				}
				return row.says(s, q, usual)
			}
		}
		if row.set != nil {
			row.set(f)
		}
		w := newWard(t)
		args := []string{"get", f.url("/file"), "--retry", "0"}
		switch row.verb {
		case "put":
			fine(t, os.WriteFile(filepath.Join(w.target, "mine"), []byte(theFile), 0o644))
			args = []string{"put", "mine", f.url("/yours"), "--retry", "0"}
		case "ls":
			args = []string{"ls", f.url("/dir/")}
		case "get -r":
			args = []string{"get", "-r", f.url("/deep"), "--retry", "0"}
		}
		switch row.verb {
		case "unknown":
		case "changed":
			f.known(w, newHostKey(t).PublicKey())
		default:
			f.known(w, f.key.PublicKey())
		}
		args = append(append(args, "--timeout", "1s", "--connect-timeout", "1s"), row.more...)
		return w.start(args...), func(t *testing.T, p run) {
			if row.status >= 0 {
				p.is(row.status, row.id)
			} else if p.status == 0 {
				t.Errorf("it is content")
			}
			if p.took > 25*time.Second { // a server has ten times as long for its CLOSE
				t.Errorf("it took %v", p.took)
			}
			if slices.Contains(w.inside(), "file") {
				t.Error("the file has its name")
			}
			if n := len(w.read("file.dray-part")); n < row.kept {
				t.Errorf("%d bytes are kept, want %d", n, row.kept)
			}
			if row.also != nil {
				row.also(t, f, p)
			}
			if row.resume {
				f.honest.Store(true)
				f.mu.Lock()
				f.reads = nil
				f.mu.Unlock()
				w.dray(p.resume()...).is(0, "")
				if w.read("file") != theFile {
					t.Errorf("the file has %d bytes behind the resumption", len(w.read("file")))
				}
				if f.firstRead() == 0 && len(w.read("file.dray-part")) > 65_536 {
					t.Error("it was fetched from the start")
				}
				if left := w.inside(); !slices.Equal(left, []string{"file"}) {
					t.Errorf("left is %q", left)
				}
			}
		}
	})
}
