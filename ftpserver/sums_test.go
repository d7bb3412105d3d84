package ftpserver

import (
	"context"
	"io/fs"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"dray/account"
	"dray/fault"
	"dray/vfs"
	"dray/vfs/memfs"
)

// A slow tree holds the first read of its file "/slow" until it is let go.
type slow struct {
	*memfs.Tree
	reading, release chan struct{}
}

type slowFile struct {
	vfs.File
	first sync.Once
	tree  *slow
}

func (s *slow) Open(ctx context.Context, p vfs.Path) (vfs.File, error) {
	f, err := s.Tree.Open(ctx, p)
	if err == nil && p.Base() == "slow" {
		f = &slowFile{File: f, tree: s}
	}
	return f, err
}

func (f *slowFile) ReadAt(b []byte, at int64) (int, error) {
	f.first.Do(func() {
		close(f.tree.reading)
		<-f.tree.release
	})
	return f.File.ReadAt(b, at)
}

// newSlow is a site with /slow, of four buffers, and /a.
func newSlow(t *testing.T) (*site, *slow) {
	s := switchedOn()
	tree := &slow{withFiles(t), make(chan struct{}), make(chan struct{})}
	if err := tree.WriteFile("/slow", []byte(noise(1<<20))); err != nil {
		t.Fatal(err)
	}
	s.tree = tree
	st := newSite(t, s)
	st.mem = tree.Tree
	return st, tree
}

// queued waits until the server has read n lines beside what runs.
func (st *site) queued(n int) {
	st.t.Helper()
	st.eventually("lines are waiting", func() bool {
		for _, each := range st.server.loop.Conns() {
			c := each.(*conn)
			c.mu.Lock()
			got := len(c.queue)
			c.mu.Unlock()
			if got == n {
				return true
			}
		}
		return false
	})
}

// long are lines that read /slow.
var long = []string{
	"HASH slow", "XCRC slow", "XSHA512 slow", "MD5 slow", "MMD5 a, slow", "COMB new slow", "COMB a slow", "SITE COPY slow new", "SITE COPY slow a",
}

func TestAborEndsWhatReadsAFile(t *testing.T) {
	for _, line := range long {
		t.Run(line, func(t *testing.T) {
			st, tree := newSlow(t)
			before := snapshot(t, tree.Tree)
			k := st.login()
			k.say(line)
			<-tree.reading
			k.say("ABOR")
			st.queued(1)
			close(tree.release)
			hasID(t, k.hear(426), fault.IDAborted)
			if reply := k.hear(226); !strings.Contains(reply, "was ended") {
				t.Errorf("ABOR: %q", reply)
			}
			if after := snapshot(t, tree.Tree); after != before {
				t.Errorf("the tree changed from\n%s\nto\n%s", before, after)
			}
			if reply := k.do(226, "ABOR"); !strings.Contains(reply, "No transfer") {
				t.Errorf("a second ABOR: %q", reply)
			}
			k.bye()
		})
	}
}

func TestALostClientEndsWhatReadsAFile(t *testing.T) {
	for _, line := range long {
		t.Run(line, func(t *testing.T) {
			st, tree := newSlow(t)
			before := snapshot(t, tree.Tree)
			k := st.login()
			k.say(line)
			<-tree.reading
			reset(k.nc)
			st.eventually("the server has seen the end", func() bool {
				for _, each := range st.server.loop.Conns() {
					c := each.(*conn)
					c.mu.Lock()
					ended := c.readErr != nil
					c.mu.Unlock()
					return ended
				}
				return false
			})
			close(tree.release)
			st.quiet()
			if after := snapshot(t, tree.Tree); after != before {
				t.Errorf("the tree changed from\n%s\nto\n%s", before, after)
			}
		})
	}
}

// There is no 150 before the reply to HASH: a NOOP that is answered first would
// be taken for it.
func TestRepliesKeepTheOrderOfTheirCommandsDuringAChecksum(t *testing.T) {
	for _, line := range long {
		t.Run(line, func(t *testing.T) {
			st, tree := newSlow(t)
			k := st.login()
			k.say(line)
			<-tree.reading
			k.write("NOOP\r\nSTAT\r\nSYST\r\n")
			st.queued(3)
			close(tree.release)
			code, reply, err := k.reply()
			if err != nil || code < 200 || code > 259 || strings.Contains(reply, "here") {
				t.Errorf("the first reply is %q, %v", reply, err)
			}
			k.hear(200)
			k.hear(211)
			k.hear(215)
		})
	}
}

func TestAFileThatBecomesShorterHasNoChecksum(t *testing.T) {
	st, tree := newSlow(t)
	k := st.login()
	k.say("XMD5 slow")
	<-tree.reading
	up, err := tree.Create(t.Context(), mustPath(t, "/slow"), vfs.Create{How: vfs.InPlace})
	if err != nil {
		t.Fatal(err)
	}
	if err := up.Truncate(300_000); err != nil {
		t.Fatal(err)
	}
	close(tree.release)
	hasID(t, k.hear(450), fault.IDInUse)
	if err := up.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func mustPath(t *testing.T, s string) vfs.Path {
	t.Helper()
	p, err := vfs.Resolve(vfs.Root, s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// What may not be read has no checksum and no copy, and whether it exists is not
// told, whatever rights there are besides.
func TestNoChecksumAndNoCopyWithoutTheRightToRead(t *testing.T) {
	s := switchedOn()
	s.users = []account.Account{{Name: "alice", Rights: account.All &^ account.Read}}
	tree := withFiles(t)
	s.tree = tree
	before := snapshot(t, tree)
	st := newSite(t, s)
	k := st.login()
	for _, row := range append(sumCommands(), copyCommands()...) {
		if row.verb == "RANG" {
			continue
		}
		for _, name := range []string{"secret", "nowhere"} {
			line := row.verb + " " + name
			if row.verb == "COMB" {
				line = "COMB new " + name
			}
			hasID(t, k.do(550, line), fault.IDPerm)
		}
	}
	for _, name := range []string{"secret", "nowhere", "d"} {
		hasID(t, k.do(550, "SITE CPFR "+name), fault.IDPerm)
		hasID(t, k.do(550, "SITE COPY "+name+" new"), fault.IDPerm)
	}
	if after := snapshot(t, tree); after != before {
		t.Errorf("the tree changed:\n%s", after)
	}
}

// On a disk the kernel copies, so this tells whether its road leads to the right
// places: an old file, two parts, and the copy of the result.
func TestCopiesOnADisk(t *testing.T) {
	s := switchedOn()
	var dir string
	s.tree, dir = onDisk(t)
	st := newSite(t, s)
	st.dir = dir
	k := st.login()
	k.do(200, "TYPE I")
	content := noise(3_000_000)
	k.put("STOR t", content[:1_000_001])
	k.put("STOR p1", content[1_000_001:1_000_003])
	k.put("STOR p2", content[1_000_003:])
	k.do(250, "COMB t p1 p2")
	k.do(200, "SITE COPY t copy")
	for _, name := range []string{"t", "copy"} {
		if got := k.get("RETR " + name); got != content {
			t.Errorf("%s has %d bytes that differ from %d", name, len(got), len(content))
		}
	}
	names := strings.Fields(k.get("NLST"))
	if slices.Sort(names); !slices.Equal(names, []string{"copy", "t"}) {
		t.Errorf("left are %q", names)
	}
}

// crowded is newSlow where one checksum is made at a time, and one is being made:
// that of k, until the tree releases it.
func crowded(t *testing.T) (st *site, tree *slow, k *talk) {
	st, tree = newSlow(t)
	st.server.sums = account.NewQueue(1)
	k = st.login()
	k.say("HASH slow")
	<-tree.reading
	return st, tree, k
}

// One account with many sessions took every processor.
func TestAChecksumWaitsUntilThereIsRoomForIt(t *testing.T) {
	for _, line := range []string{"HASH a", "XCRC a", "XMD5 a", "XSHA a", "XSHA1 a", "XSHA256 a", "XSHA512 a", "MD5 a", "MMD5 a"} {
		t.Run(line, func(t *testing.T) {
			st, tree, first := crowded(t)
			k := st.login()
			k.write(line + "\r\nSYST\r\n")
			st.queued(1)
			close(tree.release)
			first.hear(213)
			if code, reply, err := k.reply(); err != nil || code < 213 || code > 252 {
				t.Errorf("%s: %q, %v", line, reply, err)
			}
			k.hear(215)
		})
	}
}

func TestAborEndsTheWaitForAChecksum(t *testing.T) {
	st, tree, first := crowded(t)
	k := st.login()
	k.write("HASH a\r\nABOR\r\n")
	hasID(t, k.hear(426), fault.IDAborted)
	if reply := k.hear(226); !strings.Contains(reply, "was ended") {
		t.Errorf("ABOR: %q", reply)
	}
	close(tree.release)
	first.hear(213)
	k.do(213, "HASH a")
}

func TestALostClientWaitsForNoChecksum(t *testing.T) {
	st, tree, first := crowded(t)
	k := st.login()
	k.write("HASH a\r\nSYST\r\n")
	st.queued(1)
	reset(k.nc)
	st.eventually("its connection has ended", func() bool {
		return len(st.server.loop.Conns()) == 1
	})
	close(tree.release)
	first.hear(213)
}

func TestTheWaitForAChecksumEndsWithTheIdleTime(t *testing.T) {
	s := plain()
	s.tree = withFiles(t)
	inNoTime(t, s, func(t *testing.T, st *site, k *talk, _ chan struct{}) {
		st.server.sums = account.NewQueue(1)
		k.hear(220)
		k.as("alice")
		k.do(200, "SITE IDLE 7200")
		release, done := make(chan struct{}), make(chan error)
		go func() { done <- st.server.sums.Do(t.Context(), netip.Addr{}, func() { <-release }) }()
		synctest.Wait()
		begun := time.Now()
		_ = k.raw.SetDeadline(time.Time{})
		k.write("HASH a\r\n")
		line, err := k.rd.ReadString('\n')
		if err != nil || !strings.HasPrefix(line, "450 Too many checksums at once") || time.Since(begun) != 2*time.Hour {
			t.Errorf("after %v: %q, %v; want 450 after two hours", time.Since(begun), line, err)
		}
		hasID(t, strings.TrimSpace(line), fault.IDBusy)
		close(release)
		if err := <-done; err != nil {
			t.Error(err)
		}
		k.do(213, "HASH a") // the session has not ended
	})
}

// A vast tree has one file "/vast", of two pieces. Its second piece can be read
// when second is closed.
type vast struct {
	*memfs.Tree
	begun, first, second chan struct{}
}

type vastFile struct {
	tree *vast
	once sync.Once
}

func (v *vast) Open(ctx context.Context, p vfs.Path) (vfs.File, error) {
	if p.Base() == "vast" {
		return &vastFile{tree: v}, nil
	}
	return v.Tree.Open(ctx, p)
}

type vastInfo struct{ fs.FileInfo }

func (vastInfo) Size() int64 { return 2 * sumPiece }

func (f *vastFile) Stat() (fs.FileInfo, error) { return vastInfo{}, nil }
func (f *vastFile) Close() error               { return nil }

func (f *vastFile) ReadAt(b []byte, at int64) (int, error) {
	f.once.Do(func() {
		close(f.tree.begun)
		<-f.tree.first
	})
	if at >= sumPiece {
		<-f.tree.second
	}
	return len(b), nil
}

func TestASmallFileDoesNotWaitForTheEndOfALargeOne(t *testing.T) {
	tree := &vast{withFiles(t), make(chan struct{}), make(chan struct{}), make(chan struct{})}
	s := plain()
	s.tree = tree
	st := newSite(t, s)
	st.server.sums = account.NewQueue(1)
	large, small := st.login(), st.login()
	large.say("XCRC vast")
	<-tree.begun
	small.write("XCRC a\r\nSYST\r\n")
	st.queued(1) // it waits
	close(tree.first)
	small.hear(250)
	small.hear(215)
	close(tree.second)
	large.hear(250)
}
