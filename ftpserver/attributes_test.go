package ftpserver

import (
	"context"
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"dray/account"
	"dray/event"
	"dray/fault"
	"dray/vfs"
	"dray/vfs/memfs"
	"dray/vfs/mount"
)

func TestFeatHasWhatIsSwitchedOnAndAllowed(t *testing.T) {
	has := func(k *talk, feature string) bool {
		return slices.Contains(strings.Split(k.do(211, "FEAT"), "\n"), " "+feature)
	}
	s := switchedOn()
	s.users = []account.Account{alice, {Name: "bob", Rights: account.All}}
	s.rules.Deny = []string{"AVBL", "SITE UTIME"}
	k := newSite(t, s).login()
	for feature, want := range map[string]bool{
		"PRET": true, "RMDA": true, "MFF modify;UNIX.mode;": true, "LANG EN*": true, "SITE MKDIR": true,
		"AVBL": false, "SITE UTIME": false, "SITE SYMLINK": false,
	} {
		if has(k, feature) != want {
			t.Errorf("FEAT has %s: %v", feature, !want)
		}
	}
	k.do(331, "USER bob")
	k.do(230, "PASS secret")
	if !has(k, "SITE SYMLINK") {
		t.Error("who may make links is not told how")
	}
	k = newSite(t, plain()).login()
	if has(k, "PRET") || has(k, "RMDA") {
		t.Error("FEAT has what is switched off")
	}
}

func TestCSIDIsLogged(t *testing.T) {
	st := newSite(t, plain())
	k := st.greeted()
	k.do(200, "CSID Name=Some Client;Version=1.0;OS=none;")
	if strings.Contains(st.log.String(), "msg=client") {
		t.Error("a client is logged that has not logged in")
	}
	k.as("alice")
	st.eventually("the name is logged at the login", func() bool { return strings.Contains(st.log.String(), `name="Some Client 1.0"`) })
	k.do(200, "CSID Version=2.0;Name="+strings.Repeat("x", 300))
	st.eventually("and at once after it", func() bool { return strings.Contains(st.log.String(), "name="+strings.Repeat("x", 128)) })
	if strings.Contains(st.log.String(), "name="+strings.Repeat("x", 129)) {
		t.Error("a long name is not cut off")
	}
	k.bye()
}

func TestSiteIdleHoldsUntilTheNextLogin(t *testing.T) {
	for name, tt := range map[string]struct {
		say  []string
		want time.Duration
	}{
		"shorter":         {[]string{"SITE IDLE 60"}, time.Minute},
		"longer":          {[]string{"SITE IDLE 7200"}, 2 * time.Hour},
		"refused":         {[]string{"SITE IDLE 60", "SITE IDLE 7201"}, time.Minute},
		"another login":   {[]string{"SITE IDLE 60", "USER alice", "PASS secret"}, 10 * time.Minute},
		"only asked for":  {[]string{"SITE IDLE"}, 10 * time.Minute},
		"the last counts": {[]string{"SITE IDLE 60", "SITE IDLE 120"}, 2 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			inNoTime(t, plain(), func(t *testing.T, _ *site, k *talk, _ chan struct{}) {
				k.hear(220)
				k.as("alice")
				for _, line := range tt.say {
					k.say(line)
					if _, _, err := k.reply(); err != nil {
						t.Fatal(err)
					}
				}
				begun := time.Now()
				reply := k.patient(421)
				hasID(t, reply, fault.IDIdle)
				if took := time.Since(begun); took != tt.want {
					t.Errorf("it took %v, want %v: %s", took, tt.want, reply)
				}
			})
		})
	}
}

// endless is a tree whose directory endless has always one more entry. With seen
// it tells of the first one, and then waits for the end of the command.
type endless struct {
	*memfs.Tree
	each time.Duration // for one entry
	mode fs.FileMode
	seen chan struct{}
}

type entry struct {
	fs.FileInfo
	name string
	mode fs.FileMode
}

func (e entry) Name() string      { return e.name }
func (e entry) Mode() fs.FileMode { return e.mode }
func (e entry) IsDir() bool       { return e.mode.IsDir() }
func (e entry) Size() int64       { return 1 }

func (e endless) List(ctx context.Context, p vfs.Path) iter.Seq2[fs.FileInfo, error] {
	if p.Base() != "endless" {
		return e.Tree.List(ctx, p)
	}
	return func(yield func(fs.FileInfo, error) bool) {
		for i := 0; ; i++ {
			if e.seen != nil && i == 1 {
				close(e.seen)
				<-ctx.Done()
			}
			time.Sleep(e.each)
			if !yield(entry{name: fmt.Sprint("n", i), mode: e.mode}, nil) {
				return
			}
		}
	}
}

func newEndless(t testing.TB) endless {
	tree := memfs.New(memfs.Options{})
	if err := tree.MkdirAll("/top/endless"); err != nil {
		t.Fatal(err)
	}
	return endless{Tree: tree}
}

func TestDSIZHasLimits(t *testing.T) {
	for name, tt := range map[string]struct {
		mode fs.FileMode
		each time.Duration
		says string
	}{
		"entries":     {0, 0, "more than 1000000 entries"},
		"directories": {fs.ModeDir, 0, "more than 8 MiB of names of directories"},
		"time":        {0, time.Second, "more than 30 seconds"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := plain()
				tree := newEndless(t)
				tree.mode, tree.each = tt.mode, tt.each
				s.tree = tree
				st := newServer(t, s)
				k, done := st.piped(t)
				k.hear(220)
				k.as("alice")
				_ = k.raw.SetReadDeadline(time.Time{})
				k.write("DSIZ top\r\n")
				line, err := k.rd.ReadString('\n')
				if err != nil || !strings.HasPrefix(line, "550 /top: ") || !strings.Contains(line, tt.says) {
					t.Fatalf("reply %q, %v; want %q", line, err, tt.says)
				}
				hasID(t, strings.TrimSpace(line), fault.IDTooLarge)
				k.do(200, "NOOP")
				k.raw.Close()
				<-done
			})
		})
	}
}

func TestABOREndsTheWorkOfOneCommand(t *testing.T) {
	for _, line := range []string{"DSIZ top", "RMDA top"} {
		for _, first := range []string{"", "NOOP\r\n"} { // it waits: no reply comes before that of its elder
			t.Run(line+", "+first+"ABOR", func(t *testing.T) {
				s := switchedOn()
				tree := newEndless(t)
				tree.seen = make(chan struct{})
				s.tree = tree
				k := newSite(t, s).login()
				k.t = t
				k.say(line)
				<-tree.seen
				k.write(first + "ABOR\r\n")
				hasID(t, k.hear(426), fault.IDAborted)
				if first != "" {
					k.hear(200)
				}
				// It said that nothing had been running.
				if reply := k.hear(226); first == "" && !strings.Contains(reply, "was ended") {
					t.Errorf("ABOR: %q", reply)
				}
				k.do(257, "PWD")
				k.bye()
			})
		}
	}
}

// A client that leaves takes its work along.
func TestTheWorkOfOneCommandEndsWithItsClient(t *testing.T) {
	s := plain()
	tree := newEndless(t)
	tree.seen = make(chan struct{})
	s.tree = tree
	st := newSite(t, s)
	k := st.login()
	k.say("DSIZ top")
	<-tree.seen
	k.nc.Close()
	st.quiet()
}

func TestRemovingALargeTree(t *testing.T) {
	s := switchedOn()
	tree := memfs.New(memfs.Options{})
	want := 0
	for i := range 2*removeNames + 1 {
		if err := tree.WriteFile(fmt.Sprintf("/top/f%d", i), nil); i == 0 && err != nil {
			if err = tree.MkdirAll("/top"); err != nil {
				t.Fatal(err)
			}
			err = tree.WriteFile("/top/f0", nil)
			if err != nil {
				t.Fatal(err)
			}
		} else if err != nil {
			t.Fatal(err)
		}
		want++
	}
	for i := range 2*removeDirs + 1 {
		if err := tree.MkdirAll(fmt.Sprintf("/top/d%d/e", i)); err != nil {
			t.Fatal(err)
		}
		want += 2
	}
	s.tree = tree
	st := newSite(t, s)
	k := st.login()
	if got := k.do(250, "RMDA top"); got != fmt.Sprintf("250 Removed, with %d entries in it.", want) {
		t.Errorf("RMDA = %q, want %d", got, want)
	}
	if left := snapshot(t, tree); left != "" {
		t.Errorf("left:\n%s", left)
	}
	st.events.mu.Lock()
	defer st.events.mu.Unlock()
	n := 0
	for _, e := range st.events.all {
		if _, ok := e.(event.Change); ok {
			n++
		}
	}
	if n != want+1 {
		t.Errorf("%d events of %d removals", n, want+1)
	}
}

// denying refuses to remove or to date what is named so.
type denying struct{ *memfs.Tree }

func (d denying) Remove(ctx context.Context, p vfs.Path) error {
	if p.Base() == "stays" {
		return fs.ErrPermission
	}
	return d.Tree.Remove(ctx, p)
}

func (d denying) SetTime(ctx context.Context, p vfs.Path, mtime time.Time) error {
	if p.Base() == "stays" {
		return fs.ErrPermission
	}
	return d.Tree.SetTime(ctx, p, mtime)
}

func (d denying) Mkdir(ctx context.Context, p vfs.Path) error {
	if p.Base() == "stays" {
		return fs.ErrPermission
	}
	return d.Tree.Mkdir(ctx, p)
}

// It emptied a directory, and then it said that it can't remove it.
func TestWhatCanNotBeRemovedIsNotEmptied(t *testing.T) {
	root, other := withFiles(t), withFiles(t)
	for _, err := range []error{
		root.WriteFile("/p/q/keep/x", nil), root.WriteFile("/p/q/x", nil), root.WriteFile("/home/x", nil), root.WriteFile("/free/x", nil),
		root.WriteFile("/free/own/x", nil), root.WriteFile("/shut/hidden/x", nil), root.WriteFile("/shut/x", nil),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	resolve := func(name string) vfs.Path {
		p, err := vfs.Resolve(vfs.Root, name)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	tree, err := mount.New(root, []mount.Mount{{At: resolve("/home/m"), FS: other}})
	if err != nil {
		t.Fatal(err)
	}
	s := switchedOn()
	s.tree = tree
	s.users = []account.Account{{Name: "alice", Rights: account.Full, Paths: []account.PathRights{
		{Path: "/p/q/keep", Rights: account.Full &^ account.Delete}, {Path: "/free/own", Rights: account.Full &^ account.Rename},
		{Path: "/shut/hidden", Rights: account.Delete | account.Write}, {Path: "/p/gone", Rights: account.ReadOnly},
	}}}
	k := newSite(t, s).login()
	before := [2]string{snapshot(t, root), snapshot(t, other)}
	for _, tt := range []struct {
		path string
		id   fault.ID
	}{
		{"home/m", fault.IDFixedDir}, {"home", fault.IDFixedDir}, {"p", fault.IDPerm}, {"p/q", fault.IDPerm}, {"p/q/keep", fault.IDPerm}, {"shut", fault.IDPerm},
	} {
		for _, verb := range []string{"RMDA", "SITE RMDIR"} {
			reply := k.do(550, verb+" "+tt.path)
			hasID(t, reply, tt.id)
			if after := [2]string{snapshot(t, root), snapshot(t, other)}; after != before {
				t.Fatalf("%s %s: %q, and the trees have changed from\n%s\nto\n%s", verb, tt.path, reply, before, after)
			}
		}
	}
	if reply := k.do(550, "RMDA p"); !strings.Contains(reply, "may not remove /p, because other rights hold in it. Ask ") {
		t.Errorf("RMDA p: %q", reply)
	}
	k.do(350, "RNFR p")
	if reply := k.do(550, "RNTO y"); !strings.Contains(reply, "may not rename /p, because other rights hold in it. Ask ") {
		t.Errorf("RNTO: %q", reply)
	}
	k.do(250, "RMDA free")
	k.bye()
}

func TestWhatWasDoneBeforeAFailureIsTold(t *testing.T) {
	s := switchedOn()
	tree := withFiles(t)
	for _, err := range []error{tree.WriteFile("/d/b", nil), tree.WriteFile("/d/stays", []byte("x")), tree.MkdirAll("/empty")} {
		if err != nil {
			t.Fatal(err)
		}
	}
	s.tree = denying{tree}
	k := newSite(t, s).login()
	tests := []struct{ line, done string }{
		{"RMDA d", "removed below /d: 1"},
		{"MFF modify=20200102030405;UNIX.mode=0600; /d/stays", "the mode of /d/stays is 600"},
		{"SITE MKDIR one/two/stays/three", "/one/two was made"},
	}
	for _, tt := range tests {
		reply := k.do(550, tt.line)
		hasID(t, reply, fault.IDPartly)
		if !strings.Contains(reply, tt.done) || !strings.Contains(reply, "may not ") {
			t.Errorf("%s: %q; want what was done, %q, and the cause", tt.line, reply, tt.done)
		}
	}
	if got := snapshot(t, tree); !strings.Contains(got, "/d/stays -rw------- 1") || strings.Contains(got, "/d/b") || !strings.Contains(got, "/one/two ") {
		t.Errorf("the tree is\n%s", got)
	}
	// With nothing done before it, the failure is told as it is.
	hasID(t, k.do(550, "SITE MKDIR stays"), fault.IDPerm)
	hasID(t, k.do(550, "MFF modify=20200102030405; /d/stays"), fault.IDPerm)
	hasID(t, k.do(550, "RMDA d"), fault.IDPerm)
	k.bye()
}
