//go:build linux

package interop

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"dray/sftp"
)

var update = flag.Bool("update", false, "write the golden files")

// sshfsDialog is what sshfs asked for in the story of TestSFTPMountIsRecorded, what the
// server answered, and what its disk held in the end.
const sshfsDialog = "testdata/sshfs.dialog"

const sshfsHead = `# The SFTP of a directory that sshfs shows, line by line: what it asks for (>), what is
# answered (<), and what the server's disk holds in the end (=). Replies come between
# the requests as they came to sshfs, which does not wait for each. Written by
#   go test ./interop -run TestSFTPMountIsRecorded -update
# where something can be mounted, and replayed everywhere by TestSFTPRecordedRequests.
`

// A dialog is SFTP as lines. Handles have names: h1 is the first that was given.
type dialog struct {
	mu      sync.Mutex
	lines   []string
	names   map[string]string // of open handles
	handles map[string]string // by name
	given   int
}

func newDialog() *dialog { return &dialog{names: map[string]string{}, handles: map[string]string{}} }

func (d *dialog) add(line string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, line)
}

// handleNamed is the name of a handle.
func (d *dialog) handleNamed(h []byte) string { return cmp.Or(d.names[string(h)], "unknown") }

// verbs are the requests that are no extensions.
var verbs = map[sftp.Type]string{
	sftp.TypeInit: "INIT", sftp.TypeOpen: "OPEN", sftp.TypeClose: "CLOSE", sftp.TypeRead: "READ", sftp.TypeWrite: "WRITE", sftp.TypeLstat: "LSTAT",
	sftp.TypeFstat: "FSTAT", sftp.TypeSetstat: "SETSTAT", sftp.TypeFsetstat: "FSETSTAT", sftp.TypeOpendir: "OPENDIR", sftp.TypeReaddir: "READDIR",
	sftp.TypeRemove: "REMOVE", sftp.TypeMkdir: "MKDIR", sftp.TypeRmdir: "RMDIR", sftp.TypeRealpath: "REALPATH", sftp.TypeStat: "STAT",
	sftp.TypeRename: "RENAME", sftp.TypeReadlink: "READLINK", sftp.TypeSymlink: "SYMLINK",
}

// request is the line of one. Fields that are empty or 0 are left out.
func (d *dialog) request(body []byte) (string, error) {
	var q sftp.Request
	if err := q.Parse(body); err != nil {
		return "", err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	verb := verbs[q.Type]
	if q.Type == sftp.TypeExtended {
		verb = string(q.Extension)
	}
	if verb == "" {
		return "", fmt.Errorf("a request of type %d", q.Type)
	}
	b := fmt.Appendf(nil, "> %d %s", q.ID, verb)
	text := func(name string, value []byte) {
		if len(value) > 0 {
			b = fmt.Appendf(b, " %s=%q", name, value)
		}
	}
	number := func(name string, value uint64) {
		if value > 0 {
			b = fmt.Appendf(b, " %s=%d", name, value)
		}
	}
	number("version", uint64(q.Version))
	text("path", q.Path)
	text("to", q.To)
	if len(q.Handle) > 0 {
		b = fmt.Appendf(b, " handle=%s", d.handleNamed(q.Handle))
	}
	number("flags", uint64(q.Flags))
	number("offset", q.Offset)
	number("length", uint64(q.Length))
	if a := q.Attrs; a.Flags != 0 {
		if a.Has(sftp.HasSize) {
			b = fmt.Appendf(b, " size=%d", a.Size)
		}
		if a.Has(sftp.HasOwner) {
			owner := fmt.Sprintf("%d:%d", a.UID, a.GID)
			if int(a.UID) == os.Getuid() && int(a.GID) == os.Getgid() {
				owner = "own"
			}
			b = fmt.Appendf(b, " owner=%s", owner)
		}
		if a.Has(sftp.HasMode) {
			b = fmt.Appendf(b, " mode=%#o", a.Mode)
		}
		if a.Has(sftp.HasTimes) {
			b = fmt.Appendf(b, " times=%d,%d", a.ATime, a.MTime)
		}
	}
	if len(q.Data) > 0 {
		b = append(append(b, " data="...), written(q.Data)...)
	}
	return string(b), nil
}

// written are bytes as short as it is easily done: a piece and how often it comes, as
// they are, or in base 64.
func written(b []byte) string {
	for period := 1; period <= 64 && period < len(b); period++ {
		if len(b)%period == 0 && bytes.Equal(b[period:], b[:len(b)-period]) {
			return strconv.Itoa(len(b)/period) + "*" + strconv.Quote(string(b[:period]))
		}
	}
	coded := base64.StdEncoding.EncodeToString(b)
	if quoted := strconv.Quote(string(b)); len(quoted) < len(coded)+2 {
		return quoted
	}
	return coded
}

// unwritten is the other way.
func unwritten(s string) ([]byte, error) {
	times := 1
	if n, rest, ok := strings.Cut(s, "*"); ok {
		if i, err := strconv.Atoi(n); err == nil {
			times, s = i, rest
		}
	}
	if !strings.HasPrefix(s, `"`) {
		return base64.StdEncoding.DecodeString(s)
	}
	s, err := strconv.Unquote(s)
	return []byte(strings.Repeat(s, times)), err
}

// packet is the request of a line.
func (d *dialog) packet(line string) ([]byte, error) {
	rest, _ := strings.CutPrefix(line, "> ")
	id, rest, _ := strings.Cut(rest, " ")
	verb, rest, _ := strings.Cut(rest, " ")
	var q sftp.Request
	n, err := strconv.ParseUint(id, 10, 32)
	if err != nil {
		return nil, err
	}
	q.ID, q.Type, q.Extension = uint32(n), sftp.TypeExtended, []byte(verb)
	for typ, name := range verbs {
		if name == verb {
			q.Type = typ
		}
	}
	for rest != "" {
		name, value, _ := strings.Cut(rest, "=")
		// A value ends at a space that is not in quotes.
		times, quoted, _ := strings.Cut(value, `"`)
		if strings.Contains(times, " ") || !strings.Contains(value, `"`) {
			value, rest, _ = strings.Cut(value, " ")
		} else {
			quoted, err := strconv.QuotedPrefix(`"` + quoted)
			if err != nil {
				return nil, err
			}
			value, rest = times+quoted, strings.TrimPrefix(value[len(times)+len(quoted):], " ")
		}
		if err := d.field(&q, name, value); err != nil {
			return nil, fmt.Errorf("%s=%s: %w", name, value, err)
		}
	}
	return q.Append(nil), nil
}

func (d *dialog) field(q *sftp.Request, name, value string) (err error) {
	a := &q.Attrs
	number := func(text string) uint64 {
		n, perr := strconv.ParseUint(text, 0, 64)
		err = cmp.Or(err, perr)
		return n
	}
	text := func() []byte {
		s, perr := strconv.Unquote(value)
		err = cmp.Or(err, perr)
		return []byte(s)
	}
	switch name {
	case "version":
		q.Version = uint32(number(value))
	case "path":
		q.Path = text()
	case "to":
		q.To = text()
	case "handle":
		q.Handle = []byte(d.handles[value])
	case "flags":
		q.Flags = uint32(number(value))
	case "offset":
		q.Offset = number(value)
	case "length":
		q.Length = uint32(number(value))
	case "size":
		a.Size, a.Flags = number(value), a.Flags|sftp.HasSize
	case "owner":
		a.UID, a.GID, a.Flags = uint32(os.Getuid()), uint32(os.Getgid()), a.Flags|sftp.HasOwner
		if uid, gid, ok := strings.Cut(value, ":"); ok {
			a.UID, a.GID = uint32(number(uid)), uint32(number(gid))
		}
	case "mode":
		a.Mode, a.Flags = uint32(number(value)), a.Flags|sftp.HasMode
	case "times":
		atime, mtime, _ := strings.Cut(value, ",")
		a.ATime, a.MTime, a.Flags = uint32(number(atime)), uint32(number(mtime)), a.Flags|sftp.HasTimes
	case "data":
		q.Data, err = unwritten(value)
	default:
		err = fmt.Errorf("no field of that name")
	}
	return err
}

// reply is the line of one, without what differs from run to run: times, owners,
// sizes of directories, room on the disk, and what is said to people.
func (d *dialog) reply(body []byte) (string, error) {
	var p sftp.Reply
	if err := p.Parse(body); err != nil {
		return "", err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	line := fmt.Sprintf("< %d ", p.ID)
	switch p.Type {
	case sftp.TypeVersion:
		line += fmt.Sprintf("version %d", p.Version)
	case sftp.TypeStatus:
		line += fmt.Sprintf("status %d", p.Code)
	case sftp.TypeHandle:
		d.given++
		name := fmt.Sprintf("h%d", d.given)
		d.names[string(p.Handle)], d.handles[name] = name, string(p.Handle)
		line += "handle " + name
	case sftp.TypeData:
		line += fmt.Sprintf("data %d %s", len(p.Data), short(p.Data))
	case sftp.TypeAttrs:
		line += "attrs " + told(p.Attrs.FileMode(), p.Attrs.Size)
	case sftp.TypeName:
		var names []string // a directory has them in any order
		for _, n := range p.Names {
			name := strconv.Quote(string(n.Name))
			if n.Attrs.Flags != 0 {
				name += " " + told(n.Attrs.FileMode(), n.Attrs.Size)
			}
			names = append(names, name)
		}
		slices.Sort(names)
		line += "names " + strings.Join(names, ", ")
	case sftp.TypeExtendedReply:
		line += fmt.Sprintf("extended %d", len(p.Data))
	}
	return line, nil
}

func short(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:6])
}

// told is what is the same of a file wherever it is.
func told(mode fs.FileMode, size uint64) string {
	if mode.IsDir() {
		return mode.String()
	}
	return fmt.Sprintf("%v %d", mode, size)
}

// disk adds what is below dir.
func (d *dialog) disk(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		fi, err := e.Info()
		if err != nil {
			return err
		}
		line := fmt.Sprintf("= %q %s", path[len(dir)+1:], told(fi.Mode(), uint64(fi.Size())))
		switch {
		case fi.Mode()&fs.ModeSymlink != 0:
			to, err := os.Readlink(path)
			d.add(line + " " + to)
			return err
		case fi.IsDir():
			d.add(line)
			return nil
		}
		b, err := os.ReadFile(path)
		d.add(line + " " + short(b))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A tap is an address where a client speaks SFTP without SSH, with the server behind
// it, and everything is recorded.
type tap struct {
	*dialog
	port string
	over chan struct{} // closed when the client has gone and all is recorded
}

func (s *sftpSite) tap(t *testing.T) *tap {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	r := &tap{newDialog(), port, make(chan struct{})}
	in, out := s.channel(t)
	go func() {
		defer close(r.over)
		nc, err := l.Accept()
		l.Close()
		if err != nil {
			return
		}
		defer nc.Close()
		var wg sync.WaitGroup
		wg.Go(func() {
			defer in.Close()
			r.copy(t, in, nc, r.request)
		})
		r.copy(t, nc, out, r.reply)
		nc.Close()
		wg.Wait()
	}()
	t.Cleanup(func() { l.Close() })
	return r
}

// copy passes packets on when their lines are written: what one side does behind a
// packet of the other is recorded behind it.
func (r *tap) copy(t *testing.T, to io.Writer, from io.Reader, line func([]byte) (string, error)) {
	for {
		packet, body, err := next(from)
		if err != nil {
			return // the end of one of them
		}
		l, err := line(body)
		if err != nil {
			t.Errorf("what was recorded: %v", err)
		}
		r.add(l)
		if _, err := to.Write(packet); err != nil {
			return
		}
	}
}

// next reads a packet.
func next(from io.Reader) (packet, body []byte, err error) {
	packet = make([]byte, 4)
	if _, err := io.ReadFull(from, packet); err != nil {
		return nil, nil, err
	}
	_, _, length, err := sftp.Split(packet)
	if err != nil {
		return nil, nil, err
	}
	packet = append(packet, make([]byte, length-4)...)
	if _, err := io.ReadFull(from, packet[4:]); err != nil {
		return nil, nil, err
	}
	body, _, _, err = sftp.Split(packet)
	return packet, body, err
}

// A story in the mount of what programs do to files. Every program of it runs to its
// end before the next begins.
func tell(t *testing.T, m *mounted) {
	t.Helper()
	at := func(name string) string { return filepath.Join(m.at, filepath.FromSlash(name)) }
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	file := func(name string, flags int) *os.File {
		t.Helper()
		f, err := os.OpenFile(at(name), flags, 0o644)
		ok(err)
		return f
	}
	write := func(f *os.File, text string) {
		t.Helper()
		_, err := f.WriteString(text)
		ok(err)
	}
	const create = os.O_CREATE | os.O_WRONLY | os.O_TRUNC

	// Editors: a temporary file, fsync, and the name of the old one; a backup by
	// renaming, with the mode of the old one, or by copying; in place; a lock that is a
	// link to nowhere.
	m.sh(t, "mkdir text", "echo old >text/a", "chmod 640 text/a")
	for i := range 2 {
		f := file("text/a.tmp", create)
		write(f, fmt.Sprintf("new %d\n", i))
		ok(f.Sync())
		ok(f.Chmod(0o640))
		ok(f.Close())
		ok(os.Rename(at("text/a.tmp"), at("text/a")))
	}
	m.sh(t, "cd text", "ln -s anna@example.net.1234 .#a", "mv a a~", "echo saved >a", "chmod --reference=a~ a", "touch -r a~ a", "rm a~ .#a",
		"cp -p a a~", "printf Saved | dd of=a conv=notrunc status=none", "sed -i s/ave/olve/ a", "cat a a~")
	f := file("text/.a.swp", os.O_CREATE|os.O_EXCL|os.O_RDWR)
	write(f, strings.Repeat("swap", 1024))
	ok(f.Sync())
	_, err := f.WriteAt([]byte("U3210"), 8)
	ok(err)
	ok(f.Close())
	ok(os.Remove(at("text/.a.swp")))

	// Locks: who is second, by the name and by a link.
	m.sh(t, "mkdir locks", "cd locks", "set -C", "echo 1 >lock", "if (echo 2 >lock) 2>/dev/null; then exit 1; fi", "cat lock", "rm lock", "set +C",
		"echo me >me", "echo you >you", "ln me lock", "if ln you lock 2>/dev/null; then exit 1; fi", "stat -c %h me", "rm me", "cat lock", "mkdir dir.lock", "if mkdir dir.lock 2>/dev/null; then exit 1; fi",
		"rmdir dir.lock")

	// Files whose names go or change while they are open.
	ok(os.Mkdir(at("open"), 0o755))
	for _, name := range []string{"open/new", "open/old"} {
		if name == "open/old" {
			m.sh(t, "echo before >open/old")
		}
		f := file(name, os.O_CREATE|os.O_RDWR|os.O_TRUNC)
		write(f, "first\n")
		ok(os.Remove(at(name)))
		write(f, "second\n")
		b := make([]byte, 100)
		if n, err := f.ReadAt(b, 0); string(b[:n]) != "first\nsecond\n" || err != io.EOF {
			t.Errorf("what has no name holds %q, %v", b[:n], err)
		}
		ok(f.Close())
	}
	f = file("open/here", create)
	write(f, "one\n")
	ok(os.Rename(at("open/here"), at("open/there")))
	write(f, "two\n")
	ok(os.Mkdir(at("open/dir"), 0o700))
	g := file("open/dir/inside", create)
	write(g, "three\n")
	ok(os.Rename(at("open/dir"), at("open/moved")))
	write(g, "four\n")
	ok(g.Close())
	ok(f.Close())
	m.settled(t)

	// To the end, shorter, longer, and with holes.
	m.sh(t, "mkdir log", "cd log", "for i in 1 2 3 4 5; do echo line $i >>log; done", "cat log log >>twice", "truncate -s 20 twice", "truncate -s 50 twice",
		"printf end >>twice", "truncate -s 5 new", "dd if=/dev/zero of=holes bs=1000 seek=200 count=1 status=none", "cp --sparse=never holes copied", "cmp holes copied",
		"yes 0123456789abcde | head -20000 >large", "tail -1 large", "touch -d '2021-03-04 05:06:07 UTC' large", "cp -a large kept", "stat -c %Y kept", "df . >/dev/null")

	// Pieces in any order, of a new file and of a finished one, and what a program has
	// in its memory.
	const piece, pieces = 4096, 64
	r := rand.New(rand.NewPCG(1, 2))
	want := make([]byte, piece*pieces)
	for round, flags := range []int{os.O_CREATE | os.O_RDWR, os.O_RDWR} {
		f := file("pieces", flags)
		for n, i := range r.Perm(pieces) {
			if round == 1 && n%3 > 0 {
				continue
			}
			b := bytes.Repeat(fmt.Appendf(nil, "%d %013d\n", round, i), piece/16)
			copy(want[i*piece:], b)
			_, err := f.WriteAt(b, int64(i*piece))
			ok(err)
			if n%10 == 9 {
				ok(f.Sync())
			}
		}
		got := make([]byte, piece)
		for range 20 {
			off := r.IntN(len(want) - piece)
			if _, err := f.ReadAt(got, int64(off)); err != nil || !bytes.Equal(got, want[off:off+piece]) {
				t.Errorf("at %d: %v, or other bytes", off, err)
			}
		}
		ok(f.Close())
	}
	// Not here: whoever waits for such a file can't pass on the requests of sshfs.
	for i := piece; i < len(want); i += 7 * piece {
		copy(want[i:], bytes.Repeat([]byte("mapped 0"), piece/8))
	}
	m.run(t, python, "-c", fmt.Sprintf("import mmap\nf = open('pieces', 'r+b')\nm = mmap.mmap(f.fileno(), 0)\n"+
		"for i in range(%d, %d, %d): m[i:i+%[1]d] = b'mapped 0' * (%[1]d // 8)\nm.close()", piece, len(want), 7*piece))
	holds(t, at("pieces"), want)

	// A repository.
	m.git()
	m.env = append(m.env, "GIT_AUTHOR_DATE=2026-01-02T03:04:05Z", "GIT_COMMITTER_DATE=2026-01-02T03:04:05Z")
	m.sh(t, "git init -q -b main --template= site", "cd site", "mkdir -p a/b", "echo one >a/b/one", "seq 100 >numbers", "ln -s numbers link", "git add -A",
		"git commit -q -m first", "seq 150 >numbers", "git mv a/b/one two", "git commit -q -a -m second", "git checkout -q HEAD~1", "git checkout -q main",
		"git -c gc.reflogExpire=never gc -q --prune=now", "git status --porcelain")
	if out := m.sh(t, "git -C site log --format=%s main"); out != "second\nfirst\n" {
		t.Errorf("git says %q", out)
	}

	m.sh(t, "cp -r site copy", "mv copy moved", "diff -r site moved", "ls -laR >/dev/null", "rm -r moved", "find . -type d -empty -delete")
	m.settled(t)
}

// The story is told on a mount whose requests are recorded.
func TestSFTPMountIsRecorded(t *testing.T) {
	t.Parallel()
	peer(t, "git")
	peer(t, python)
	needsMount(t)
	s := newSFTPSite(t)
	r := s.tap(t)
	p := &sftpPlay{play: join(t, way{}, s.server)}
	whole := false
	t.Run("story", func(t *testing.T) { // its end unmounts
		tell(t, p.mountFrom(t, "127.0.0.1", "directport="+r.port))
		whole = true
	})
	if !whole {
		return
	}
	select {
	case <-r.over:
	case <-time.After(20 * time.Second):
		t.Fatal("sshfs has not hung up")
	}
	r.disk(t, s.root)
	if len(r.lines) < 1000 {
		t.Errorf("only %d lines were recorded", len(r.lines))
	}
	if !*update || t.Failed() {
		return
	}
	if err := os.WriteFile(sshfsDialog, []byte(sshfsHead+strings.Join(r.lines, "\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}

// What sshfs asked for is asked again, as far ahead of the answers as it was then, and
// all answers are what they were.
func TestSFTPRecordedRequests(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(sshfsDialog)
	if err != nil {
		t.Fatal(err)
	}
	s := newSFTPSite(t)
	in, out := s.channel(t)
	d := newDialog()
	var disk []string
	asked := map[string]string{} // by id
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		line = strings.TrimSuffix(line, "\n")
		switch kind, rest, _ := strings.Cut(line, " "); kind {
		case ">":
			id, _, _ := strings.Cut(rest, " ")
			asked[id] = line
			packet, err := d.packet(line)
			if err != nil {
				t.Fatalf("line %d: %v", n, err)
			}
			if _, err := in.Write(packet); err != nil {
				t.Fatalf("line %d: %s: %v", n, line, err)
			}
		case "<":
			_, body, err := next(out)
			if err != nil {
				t.Fatalf("line %d: %s: %v", n, line, err)
			}
			id, _, _ := strings.Cut(rest, " ")
			if got, err := d.reply(body); err != nil || got != line {
				t.Fatalf("line %d: %s\nis answered with %s, %v; want %s", n, tail(asked[id], 1000), got, err, line)
			}
		case "=":
			disk = append(disk, line)
		}
	}
	if err := in.Close(); err != nil {
		t.Error(err)
	}
	if b, err := io.ReadAll(out); len(b) > 0 || err != nil {
		t.Errorf("behind the last answer there are %d bytes, %v", len(b), err)
	}
	d.disk(t, s.root)
	if !slices.Equal(d.lines, disk) {
		t.Errorf("the disk holds\n%s\nwant\n%s", strings.Join(d.lines, "\n"), strings.Join(disk, "\n"))
	}
}
