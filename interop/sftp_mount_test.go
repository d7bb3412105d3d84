//go:build linux

package interop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A mounted is a client's story on a directory that sshfs shows. Its programs run
// there.
type mounted struct {
	*sftpPlay
	at string
}

// needsMount skips where nothing can be mounted.
func needsMount(t *testing.T) {
	t.Helper()
	peer(t, "sshfs")
	peer(t, "fusermount3")
	f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		cannotMount(t, err.Error())
	}
	f.Close()
}

// cannotMount skips the test loudly. Even CI goes on without it: most containers may
// not mount.
func cannotMount(t *testing.T, why string) {
	t.Helper()
	line := "SKIPPED: sshfs can't mount here: " + strings.TrimSpace(why)
	fmt.Fprintln(os.Stderr, line)
	t.Skip(line)
}

// mount shows the server's files in a directory until the test ends.
func (p *sftpPlay) mount(t *testing.T) *mounted {
	t.Helper()
	return p.mountFrom(t, p.there(),
		"IdentityFile="+p.key, "IdentitiesOnly=yes", "StrictHostKeyChecking=yes", "UserKnownHostsFile="+p.known,
		"GlobalKnownHostsFile=/dev/null", "ConnectTimeout=20")
}

func (p *sftpPlay) mountFrom(t *testing.T, there string, options ...string) *mounted {
	t.Helper()
	own, shared := *p, *p.play // the programs of this mount have a directory of their own
	own.play = &shared
	m := &mounted{&own, t.TempDir()}
	before := device(t, m.at)
	args := []string{there + ":/", m.at, "-f", "-p", m.port, "-F", "/dev/null"}
	for _, o := range options {
		args = append(args, "-o", o)
	}
	var said bytes.Buffer
	cmd := m.command("sshfs", args...)
	cmd.Stdout, cmd.Stderr = &said, &said
	// At the end of its time it is killed, and every call on the mount fails.
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	shown := false
	t.Cleanup(func() {
		if out, err := unmount(m.at); err != nil && shown {
			t.Errorf("unmount: %v\n%s", err, out)
			_, _ = unmount("-z", m.at)
			_ = cmd.Process.Kill()
		}
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			_ = cmd.Process.Kill()
			<-ended
			t.Error("sshfs did not end within 20 s")
		}
		if t.Failed() {
			t.Logf("sshfs printed:\n%s", said.String())
		}
	})
	within(t, "the mount of sshfs", func() bool {
		select {
		case err := <-ended:
			ended <- err
			if strings.Contains(said.String(), "mount failed: Operation not permitted") {
				cannotMount(t, said.String())
			}
			t.Fatalf("sshfs ended: %v\n%s", err, said.String())
		default:
		}
		return device(t, m.at) != before
	})
	shown = true
	m.local = m.at
	return m
}

// unmount tries for a while: a program that has ended may not have left the mount
// yet.
func unmount(args ...string) (out []byte, err error) {
	for range 50 {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second) // the test's own is over
		out, err = exec.CommandContext(ctx, "fusermount3", append([]string{"-u"}, args...)...).CombinedOutput()
		cancel()
		if err == nil {
			return nil, nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return out, err
}

// device is that of the file system of a directory.
func device(t *testing.T, dir string) uint64 {
	t.Helper()
	fi, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	return fi.Sys().(*syscall.Stat_t).Dev
}

// sh runs a script in the mount; the first command that fails ends it.
func (m *mounted) sh(t *testing.T, lines ...string) string {
	t.Helper()
	return m.run(t, "sh", "-euc", strings.Join(lines, "\n"))
}

// disk is where the server has what the mount shows as name.
func (m *mounted) disk(name string) string { return filepath.Join(m.root, filepath.FromSlash(name)) }

// settled waits until every upload is published: the kernel tells sshfs of a close
// behind the back of the program that has closed. Nothing else may be left, either.
func (m *mounted) settled(t *testing.T) {
	t.Helper()
	within(t, "no upload is open or left behind", func() bool {
		left := false
		err := filepath.WalkDir(m.root, func(_ string, d fs.DirEntry, err error) error {
			if err == nil && (strings.HasPrefix(d.Name(), ".dray-") || strings.HasPrefix(d.Name(), ".fuse_hidden")) {
				left = true
			}
			return err
		})
		return err == nil && !left
	})
}

// git lets git run without the configuration of who runs the tests.
func (m *mounted) git() {
	m.env = append(m.env, "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=anna", "GIT_AUTHOR_EMAIL=anna@example.net", "GIT_COMMITTER_NAME=anna", "GIT_COMMITTER_EMAIL=anna@example.net")
}

// A repository that lives on the mount.
func TestSFTPMountHoldsARepository(t *testing.T) {
	t.Parallel()
	peer(t, "git")
	needsMount(t)
	m := newSFTP(t).mount(t)
	m.git()
	m.sh(t, "git init -q -b main site")
	site := woods(t, filepath.Join(m.at, "site"))
	m.sh(t, "cd site", "git add -A", "git commit -q -m first")
	for i := range 3 {
		plant(t, filepath.Join(m.at, "site"), named{"changes", fmt.Appendf(nil, "change %d\n", i)})
		m.sh(t, "cd site", "git add -A", fmt.Sprintf("git commit -q -m 'change %d'", i))
	}
	out := m.sh(t, "cd site", "git checkout -q -b side HEAD~2", "git checkout -q main", "git tag -a v1 -m v1",
		"git gc -q --prune=now", "git fsck --full --strict", "git status --porcelain",
		"cd ..", "git clone -q site clone", "git clone -q --bare --no-local site bare.git",
		"cd clone", "git fsck --full --strict", "git status --porcelain", "git log --format=%s",
		"echo more >more", "git add more", "git commit -q -m more", "git push -q ../bare.git main", "cd ../bare.git", "git fsck --full --strict",
		"git log -1 --format=%s main")
	if out != "change 2\nchange 1\nchange 0\nfirst\nmore\n" {
		t.Errorf("git says %q", out)
	}
	m.settled(t)
	// The server's disk has all of it, and nothing else.
	for _, repository := range []string{"site", "clone", "bare.git"} {
		cmd := m.command("git", "-C", m.disk(repository), "fsck", "--full", "--strict")
		if out, err := cmd.output(); err != nil {
			t.Errorf("git fsck on the server's disk: %v\n%s", err, out)
		}
	}
	for _, repository := range []string{"site", "clone"} {
		got := scan(t, m.disk(repository))
		for name, what := range site {
			if what != "directory" && got[name] != what {
				t.Errorf("%s/%s: %s; want %s", repository, name, orNothing(got[name]), what)
			}
		}
	}
}

// A tree goes in and out with its modes and times.
func TestSFTPMountTakesATree(t *testing.T) {
	t.Parallel()
	needsMount(t)
	m := newSFTP(t).mount(t)
	here := t.TempDir()
	source := woods(t, here)
	for name, mode := range map[string]fs.FileMode{"five.bin": 0o640, "one": 0o755, "a directory/b/inner": 0o444, "empty.bin": 0o600} {
		if err := os.Chmod(filepath.Join(here, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	for name := range source {
		if err := os.Chtimes(filepath.Join(here, name), longAgo, longAgo); err != nil {
			t.Fatal(err)
		}
	}
	back := filepath.Join(t.TempDir(), "back")
	m.run(t, "cp", "-a", here, "tree")
	m.run(t, "diff", "-r", here, "tree")
	m.run(t, "cp", "-a", "tree", back)
	m.run(t, "cp", "-a", "tree", "twin") // from there to there
	m.settled(t)
	for _, dir := range []string{m.disk("tree"), m.disk("twin"), back} {
		same(t, dir, source)
		for name := range source {
			want, err := os.Lstat(filepath.Join(here, name))
			if err != nil {
				t.Fatal(err)
			}
			got, err := os.Lstat(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			if got.Mode() != want.Mode() || !got.ModTime().Equal(want.ModTime()) {
				t.Errorf("%s: %v, %v; want %v, %v", filepath.Join(dir, name), got.Mode(), got.ModTime().UTC(), want.Mode(), want.ModTime().UTC())
			}
		}
	}
	m.sh(t, "mv tree moved", "tar -cf moved.tar moved", "rm -r moved", "tar -xf moved.tar", "diff -r moved twin", "rm -r moved twin moved.tar")
	same(t, m.root, tree{})
}

// Whole files appear when they are closed, or when their program says that they have
// to stay; a lock is there at once.
func TestSFTPMountSavesAsEditorsDo(t *testing.T) {
	t.Parallel()
	needsMount(t)
	m := newSFTP(t).mount(t)
	at := func(name string) string { return filepath.Join(m.at, name) }
	write := func(f *os.File, s string) {
		t.Helper()
		if _, err := f.WriteString(s); err != nil {
			t.Error(err)
		}
	}
	create := func(name string, flags int) *os.File {
		t.Helper()
		f, err := os.OpenFile(at(name), flags, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	closed := func(f *os.File) {
		t.Helper()
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		m.settled(t)
	}

	// A temporary file, fsync, rename over the old one.
	plant(t, m.at, named{"text", []byte("old")})
	for i := range 5 {
		f := create("text.tmp", os.O_CREATE|os.O_WRONLY|os.O_TRUNC)
		s := fmt.Sprintf("new %d", i)
		write(f, s)
		if err := f.Sync(); err != nil {
			t.Error(err)
		}
		holds(t, m.disk("text.tmp"), []byte(s)) // before it is closed
		closed(f)
		if err := os.Rename(at("text.tmp"), at("text")); err != nil {
			t.Error(err)
		}
		holds(t, m.disk("text"), []byte(s))
		holds(t, at("text"), []byte(s))
	}
	// What goes on behind the fsync is there behind the next, and behind the close.
	f := create("log", os.O_CREATE|os.O_WRONLY|os.O_TRUNC)
	want := ""
	for i := range 3 {
		line := fmt.Sprintf("line %d\n", i)
		want += line
		write(f, line)
		if err := f.Sync(); err != nil {
			t.Error(err)
		}
		holds(t, m.disk("log"), []byte(want))
	}
	write(f, "end\n")
	closed(f)
	holds(t, m.disk("log"), []byte(want+"end\n"))
	// A backup by renaming, as vim does it, and a program that writes in place.
	m.sh(t, "mv text text~", "echo saved >text", "rm text~", "printf Saved | dd of=text conv=notrunc status=none", "sed -i s/ave/olve/ text")
	m.settled(t)
	holds(t, m.disk("text"), []byte("Solved\n"))

	// A lock that two want.
	lock := create("lock", os.O_CREATE|os.O_EXCL|os.O_WRONLY)
	holds(t, m.disk("lock"), nil)
	for range 2 {
		if f, err := os.OpenFile(at("lock"), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644); !errors.Is(err, fs.ErrExist) {
			t.Errorf("the lock was taken twice: %v, %v", f, err)
		}
	}
	other := m.mount(t)
	if f, err := os.OpenFile(filepath.Join(other.at, "lock"), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644); err == nil {
		t.Errorf("the lock was taken in another mount, too: %v", f)
	}
	write(lock, strconv.Itoa(os.Getpid()))
	closed(lock)
	holds(t, m.disk("lock"), []byte(strconv.Itoa(os.Getpid())))
	// Somebody else has it, of whom this mount has not heard.
	plant(t, m.root, named{"others", []byte("theirs")})
	if f, err := os.OpenFile(at("others"), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644); err == nil {
		t.Errorf("the lock of somebody else was taken: %v", f)
	}
	holds(t, m.disk("others"), []byte("theirs"))
	if err := os.Remove(at("lock")); err != nil {
		t.Error(err)
	}
	closed(create("lock", os.O_CREATE|os.O_EXCL|os.O_WRONLY))
	m.sh(t, "rm lock others log text")
	same(t, m.root, tree{})
}

// A name that is removed while the file is open, one that was there before and one
// that was not.
func TestSFTPMountGoesOnWithAnUnlinkedFile(t *testing.T) {
	t.Parallel()
	needsMount(t)
	m := newSFTP(t).mount(t)
	name := filepath.Join(m.at, "gone")
	content := five.content()
	for _, before := range []string{"nothing", "a file"} {
		if before != "nothing" {
			plant(t, m.at, named{"gone", []byte(before)})
		}
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(content[:100_000]); err != nil {
			t.Error(err)
		}
		if err := os.Remove(name); err != nil {
			t.Errorf("%s before; remove: %v", before, err)
		}
		for _, gone := range []string{name, m.disk("gone")} {
			if _, err := os.Lstat(gone); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s before; the name is still there: %v", before, err)
			}
		}
		if _, err := f.Write(content[100_000:]); err != nil {
			t.Errorf("%s before; write to what has no name: %v", before, err)
		}
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			t.Error(err)
		}
		if b, err := io.ReadAll(f); err != nil || !bytes.Equal(b, content) {
			t.Errorf("%s before; what has no name holds %s, %v; want %s", before, sum(b), err, sum(content))
		}
		if err := f.Close(); err != nil {
			t.Errorf("%s before; close: %v", before, err)
		}
		m.settled(t) // sshfs had renamed it to a hidden name
		same(t, m.root, tree{})
	}
}

func TestSFTPMountAppendsAndCuts(t *testing.T) {
	t.Parallel()
	needsMount(t)
	m := newSFTP(t).mount(t)
	var want bytes.Buffer
	m.sh(t, "echo begin >log", "for i in $(seq 100); do echo line $i >>log; done", "echo new >>other", "cat log >>other")
	want.WriteString("begin\n")
	for i := range 100 {
		fmt.Fprintf(&want, "line %d\n", i+1)
	}
	m.settled(t)
	holds(t, m.disk("log"), want.Bytes())
	holds(t, m.disk("other"), slices.Concat([]byte("new\n"), want.Bytes()))

	content := five.content()
	plant(t, m.at, five.as("cut"))
	m.settled(t)
	m.sh(t, "truncate -s 3000000 cut")
	holds(t, m.disk("cut"), content[:3000000])
	m.sh(t, "truncate -s 3000100 cut", "printf end >>cut")
	grown := slices.Concat(content[:3000000], make([]byte, 100), []byte("end"))
	holds(t, m.disk("cut"), grown)
	holds(t, filepath.Join(m.at, "cut"), grown)
	// Pieces in any order, and a hole.
	f, err := os.OpenFile(filepath.Join(m.at, "pieces"), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	for _, piece := range [][2]int{{4 << 20, len(content)}, {0, 1 << 20}, {3 << 20, 4 << 20}} {
		if _, err := f.WriteAt(content[piece[0]:piece[1]], int64(piece[0])); err != nil {
			t.Error(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	m.settled(t)
	holed := bytes.Clone(content)
	clear(holed[1<<20 : 3<<20])
	holds(t, m.disk("pieces"), holed)

	size := m.sh(t, "df --output=size -B1 . | tail -1")
	if n, err := strconv.ParseInt(strings.TrimSpace(size), 10, 64); err != nil || n != m.blocks(t) {
		t.Errorf("df shows %q; want %d bytes", size, m.blocks(t))
	}
	m.sh(t, "mkdir d", "touch -d '2021-03-04 05:06:07 UTC' log", "chmod 640 log", "ls -la d >/dev/null", "rmdir d")
	kept(t, m.disk("log"))
	if log := m.printed(t); regexp.MustCompile(`level=(ERROR|WARN)`).MatchString(log) {
		t.Error("the server has warned")
	}
}

// sources are a small program in C, whose parts are compiled side by side.
var sources = []named{
	{"Makefile", []byte(`CFLAGS = -O1
hello: main.o libwords.a
	$(CC) -o $@ main.o libwords.a
libwords.a: one.o two.o three.o
	$(AR) rcs $@ $^
main.o one.o two.o three.o: words.h
clean:
	rm -f *.o *.a hello
`)},
	{"words.h", []byte("const char *one(void), *two(void), *three(void);\n")},
	{"one.c", []byte("#include \"words.h\"\nconst char *one(void) { return \"made\"; }\n")},
	{"two.c", []byte("#include \"words.h\"\nconst char *two(void) { return \"on a\"; }\n")},
	{"three.c", []byte("#include \"words.h\"\nconst char *three(void) { return \"mount\"; }\n")},
	{"main.c", []byte("#include <stdio.h>\n#include \"words.h\"\nint main(void) { return printf(\"%s %s %s\\n\", one(), two(), three()) < 0; }\n")},
}

// A repository from elsewhere is cloned into the mount, and built and run there.
func TestSFTPMountBuildsAProgram(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"git", "gcc", "make"} {
		peer(t, name)
	}
	needsMount(t)
	m := newSFTP(t).mount(t)
	m.git()
	here := t.TempDir()
	plant(t, here, sources...)
	m.sh(t, "cd "+here, "git init -q -b main", "git add -A", "git commit -q -m words")
	out := m.sh(t, "git clone -q "+here+" site", "cd site", "make -s -j4", "./hello",
		"make -s -q",
		"sed -i s/mount/server/ three.c", "make -s clean", "make -s", "./hello", // times are whole seconds, in which nothing is older
		"cp hello hello.new", "strip hello.new", "mv hello.new hello", "./hello",
		"git status --porcelain --untracked-files=no", "make -s clean", "git clean -qfdx", "git checkout -q .", "git status --porcelain")
	if want := "made on a mount\nmade on a server\nmade on a server\n M three.c\n"; out != want {
		t.Errorf("it prints %q; want %q", out, want)
	}
	m.settled(t)
	for _, f := range sources {
		holds(t, m.disk("site/"+f.name), f.content)
	}
}

// What fio has written in any order is there: for who has written it, behind another
// mount, and on the server's disk.
func TestSFTPMountKeepsRandomWrites(t *testing.T) {
	t.Parallel()
	peer(t, "fio")
	needsMount(t)
	p := newSFTP(t)
	m := p.mount(t)
	// Two files at once. The second round changes finished files where they are, and
	// reads between its writes.
	for _, round := range [][]string{
		{"--rw=randwrite", "--bs=4k", "--randseed=1", "--end_fsync=1"},
		{"--rw=randwrite", "--bsrange=512-96k", "--blockalign=512", "--randseed=2"},
		{"--rw=randrw", "--bs=4k", "--io_size=2M", "--randseed=3", "--fsync=64"},
	} {
		fio := func(dir string, more ...string) {
			t.Helper()
			args := append([]string{
				"--name=random", "--directory=" + dir, "--numjobs=2", "--size=6M", "--ioengine=psync", "--thread", "--fallocate=none",
				"--verify=crc32c", "--verify_fatal=1", "--verify_state_save=0", "--minimal",
			}, round...)
			m.run(t, "fio", append(args, more...)...)
		}
		fio(m.at, "--do_verify=1")
		m.settled(t)
		if slices.Contains(round, "--rw=randrw") { // what it reads it does not write: there is no other look
			continue
		}
		fio(m.root, "--verify_only")
		fio(p.mount(t).at, "--verify_only")
	}
	m.sh(t, "ls >names", "rm random.0.0 random.1.0")
	m.settled(t)
	holds(t, m.disk("names"), []byte("names\nrandom.0.0\nrandom.1.0\n"))
}
