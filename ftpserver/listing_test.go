package ftpserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"dray/account"
	"dray/fault"
	"dray/vfs"
	"dray/vfs/memfs"
)

// names is the last column of a LIST, links included.
func names(list string) string {
	var out []string
	for line := range strings.Lines(list) {
		line = strings.TrimSuffix(line, "\r\n")
		if f := strings.Fields(line); len(f) > 8 {
			line = strings.Join(f[8:], " ")
		}
		out = append(out, line)
	}
	return strings.Join(out, "|")
}

func TestListings(t *testing.T) {
	t.Parallel()
	s := plain()
	tree := memfs.New(memfs.Options{})
	for _, dir := range []string{"/d/e/deep", "/d/f", "/.hid"} {
		if err := tree.MkdirAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"/a.txt", "/b.txt", "/d/x.txt", "/d/e/y.txt", "/d/e/deep/z", "/d/f/y.txt", "/.dot", "/[lit]*", "/-R"} {
		if err := tree.WriteFile(name, []byte("12345")); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{
		"/l/in": "../a.txt", "/l/dir": "../d", "/l/absolute": "/etc/passwd", "/l/out": "../../etc/passwd", "/l/dangling": "nothing", "/l/up": "..",
	} {
		_ = tree.MkdirAll("/l")
		if err := tree.Link(link, to); err != nil {
			t.Fatal(err)
		}
	}
	s.tree = tree
	st := newSite(t, s)
	k := st.login()
	for _, try := range []struct{ command, want string }{
		{"LIST d", "e|f|x.txt"},
		{"LIST -la d", "e|f|x.txt"},
		{"LIST -a -l --color d/e", "deep|y.txt"},
		{"LIST -R d", "e|f|x.txt||d/e:|deep|y.txt||d/e/deep:|z||d/f:|y.txt"},
		{"LIST -R d/f", "y.txt"},
		{"LIST -R", "-R|.dot|.hid|[lit]*|a.txt|b.txt|d|l||./.hid:||./d:|e|f|x.txt||./d/e:|deep|y.txt||./d/e/deep:|z||./d/f:|y.txt||./l:|absolute|dangling -> nothing|dir -> ../d|in -> ../a.txt|out|up -> .."},
		{"LIST *.txt", "a.txt|b.txt"},
		{"LIST /d/*.txt", "/d/x.txt"},
		{"LIST d/*/y.txt", "d/e/y.txt|d/f/y.txt"},
		{"LIST */*/y.*", "d/e/y.txt|d/f/y.txt"},
		{"LIST d/e/y.txt", "d/e/y.txt"},
		{"LIST [lit]*", "[lit]*"}, // a file of that very name wins
		{"LIST .*", ".dot|.hid"},
		{"LIST l/in", "l/in -> ../a.txt"},
		{"LIST l/dangling", "l/dangling -> nothing"},
		{"LIST l/dir", "e|f|x.txt"},
		{"LIST z*", ""},
		{"LIST nowhere/*", ""},
		{"LIST a.txt/*", ""},
		{"LIST ..", "-R|.dot|.hid|[lit]*|a.txt|b.txt|d|l"},
		{"NLST", "-R|.dot|.hid|[lit]*|a.txt|b.txt|d|l"},
		{"NLST -1 d", "e|f|x.txt"},
		{"NLST -R", "-R"}, // a file of that very name wins
		{"NLST d/*.txt", "d/x.txt"},
		{"NLST a.txt", "a.txt"},
		{"NLST ?.txt", "a.txt|b.txt"},
		{"NLST d/[ef]", "d/e|d/f"},
	} {
		want := try.want
		if try.command == "LIST -R" { // the file of that name wins
			want = "-R"
		}
		if got := names(k.get(try.command)); got != want {
			t.Errorf("%s = %q; want %q", try.command, got, want)
		}
	}
	k.do(250, "DELE -R")
	if got, want := names(k.get("LIST -R l")), "absolute|dangling -> nothing|dir -> ../d|in -> ../a.txt|out|up -> .."; got != want {
		t.Errorf("LIST -R l = %q; want %q", got, want)
	}
	if got := k.get("LIST -R"); strings.Contains(got, "passwd") || !strings.Contains(got, "\r\n\r\n./d/e/deep:\r\n") {
		t.Errorf("LIST -R = %q", got)
	}
	if got := k.get("MLSD l"); !strings.Contains(got, "type=OS.unix=slink:../a.txt;") || strings.Contains(got, "passwd") {
		t.Errorf("MLSD l = %q", got)
	}
	if got := k.get("MLSD d/f"); !strings.HasPrefix(got, "type=cdir;") || strings.Count(got, "\r\n") != 2 {
		t.Errorf("MLSD d/f = %q", got)
	}
	k.do(250, "CWD d")
	if got := names(k.get("LIST *")); got != "e|f|x.txt" {
		t.Errorf("LIST * in a directory = %q", got)
	}
	hasID(t, k.do(550, "SIZE /l/dangling"), fault.IDNotFound)
	if got := k.do(213, "SIZE /l/in"); got != "213 5" {
		t.Errorf("SIZE of a link = %q", got)
	}
}

func TestPatternsAndStatHaveLimits(t *testing.T) {
	t.Parallel()
	s := plain()
	tree := memfs.New(memfs.Options{})
	for i := range maxStat + 500 {
		if err := tree.WriteFile(fmt.Sprintf("/%s%d", strings.Repeat("a", 120), i), nil); err != nil {
			t.Fatal(err)
		}
	}
	s.tree = tree
	st := newSite(t, s)
	k := st.login()
	reply := k.do(212, "STAT /")
	if n := strings.Count(reply, "\n"); n != maxStat+2 || !strings.Contains(reply, "use LIST") {
		t.Errorf("STAT has %d lines", n+1)
	}
}

func TestCostlyPatternIsRefused(t *testing.T) {
	t.Parallel()
	s := plain()
	tree := memfs.New(memfs.Options{})
	for i := range 400 {
		if err := tree.WriteFile(fmt.Sprintf("/%s%d", strings.Repeat("a", 240), i), nil); err != nil {
			t.Fatal(err)
		}
	}
	s.tree = tree
	st := newSite(t, s)
	k := st.login()
	nc := k.pasv()
	k.do(150, "NLST *"+strings.Repeat("a", 120)+"b")
	hasID(t, k.hear(550), fault.IDGlob)
	nc.Close()
	k.do(200, "NOOP")
}

func TestListingsNeedTheRight(t *testing.T) {
	t.Parallel()
	s := plain()
	s.users = []account.Account{{Name: "alice", Rights: account.Read | account.Write}}
	s.tree = withFiles(t)
	st := newSite(t, s)
	k := st.login()
	for _, command := range []string{"LIST", "NLST", "MLSD", "LIST *", "LIST -R"} {
		k.do(229, "EPSV")
		k.say(command)
		code, text, err := k.reply()
		if code == 150 { // a pattern finds out later
			code, text, err = k.reply()
		}
		if code != 550 || err != nil {
			t.Errorf("%s: %q, %v", command, text, err)
		}
	}
	hasID(t, k.do(550, "STAT /"), fault.IDPerm)
	if got := k.do(250, "MLST d"); !strings.Contains(got, ";perm=ce;") {
		t.Errorf("MLST = %q", got)
	}
	if got := k.do(250, "MLST a"); !strings.Contains(got, ";perm=r;") {
		t.Errorf("MLST = %q", got)
	}
}

func TestWhatPasvTells(t *testing.T) {
	t.Parallel()
	s := plain()
	s.noisy = true // the watchdog is loud
	public := netip.MustParseAddr("203.0.113.7")
	s.rules.Tell = func(peer, local netip.Addr) (netip.Addr, error) {
		if peer != netip.MustParseAddr("127.0.0.1") || local != peer {
			return netip.Addr{}, errors.New("other addresses than of this connection")
		}
		return public, nil
	}
	st := newSite(t, s)
	k := st.login()
	if got := k.do(227, "PASV"); !strings.HasPrefix(got, "227 Entering Passive Mode (203,0,113,7,") || !strings.HasSuffix(got, ").") {
		t.Errorf("%q", got)
	}
	if got := k.do(211, "STAT"); !strings.Contains(got, "\n Passive on 203.0.113.7:") {
		t.Errorf("STAT = %q", got)
	}
	k.do(229, "EPSV")
	s.rules.Tell = func(_, _ netip.Addr) (netip.Addr, error) {
		return netip.Addr{}, fault.New(fault.NoData, fault.IDPasvAddress, "10.0.0.1")
	}
	st = newSite(t, s)
	k = st.login()
	hasID(t, k.do(425, "PASV"), fault.IDPasvAddress)
}

func TestActiveDataComesFromTheDataPortWhereItMay(t *testing.T) {
	t.Parallel()
	s := plain()
	s.tree = withFiles(t)
	ports := freePorts(t, 1)
	s.rules.ActivePort = ports.First
	st := newSite(t, s)
	k := st.login()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	fetch := func() uint16 {
		k.do(200, fmt.Sprintf("PORT 127,0,0,1,%d,%d", port>>8, port&255))
		k.say("RETR a")
		nc, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		k.hear(150)
		k.hear(226)
		return uint16(nc.RemoteAddr().(*net.TCPAddr).Port)
	}
	if got := fetch(); got != ports.First {
		t.Errorf("the connection comes from port %d; want %d", got, ports.First)
	}
	if got := fetch(); got == 0 { // the same pair of addresses, a moment later
		t.Errorf("the connection comes from port %d", got)
	}
	// Taken by another program: any other port.
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	s.rules.ActivePort = uint16(taken.Addr().(*net.TCPAddr).Port)
	st = newSite(t, s)
	k = st.login()
	if got := fetch(); got == s.rules.ActivePort {
		t.Errorf("the connection comes from port %d, which is taken", got)
	}
}

// failing is a tree whose listing ends in the middle.
type failing struct{ *memfs.Tree }

func (f failing) List(ctx context.Context, p vfs.Path) iter.Seq2[fs.FileInfo, error] {
	return func(yield func(fs.FileInfo, error) bool) {
		for fi, err := range f.Tree.List(ctx, p) {
			if !yield(fi, err) {
				return
			}
		}
		yield(nil, errors.New("the disk is broken"))
	}
}

func TestAListingThatFailsIsNoWholeOne(t *testing.T) {
	t.Parallel()
	s := plain()
	s.noisy = true
	s.tree = failing{withFiles(t)}
	st := newSite(t, s)
	k := st.login()
	for _, command := range []string{"LIST", "MLSD", "NLST"} {
		nc := k.pasv()
		k.do(150, command)
		hasID(t, k.hear(451), fault.IDInternal)
		if _, err := io.Copy(io.Discard, nc); err == nil {
			t.Errorf("%s: the data end like those of a whole listing", command)
		}
		nc.Close()
	}
	for _, e := range st.events.transfers() {
		if e.Whole {
			t.Errorf("%+v", e)
		}
	}
}

// Behind the first, an entry is written into memory that is there already.
func TestListingsDoNotAllocatePerEntry(t *testing.T) { // not beside others, which allocate
	s := plain()
	tree, dir := onDisk(t)
	s.tree = tree
	const few, many = 100, 3100
	for name, n := range map[string]int{"few": few, "many": many} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
		for i := range n {
			if err := os.WriteFile(filepath.Join(dir, name, fmt.Sprintf("%d.txt", i)), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	k := newSite(t, s).login()
	for _, command := range []string{"LIST ", "MLSD ", "NLST "} {
		allocations := func(name string, n int) uint64 {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			text := k.get(command + name)
			runtime.ReadMemStats(&after)
			if got := strings.Count(text, "\r\n"); got < n {
				t.Fatalf("%s%s: %d lines", command, name, got)
			}
			return after.Mallocs - before.Mallocs
		}
		allocations("many", many)
		if more := int64(allocations("many", many)) - int64(allocations("few", few)); more > (many-few)/10 {
			t.Errorf("%s allocates %d times for %d entries more", command, more, many-few)
		}
	}
}
