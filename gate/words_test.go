package gate

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dray/account"
	"dray/explain"
	"dray/fault"
	"dray/vfs"
	"dray/vfs/memfs"
	"dray/vfs/osfs"
)

// onDisk is a session on a real directory, and where that is.
func onDisk(t *testing.T) (*Session, string) {
	dir := filepath.Join(t.TempDir(), "hush")
	need(t, os.Mkdir(dir, 0o700))
	tree, err := osfs.NewDisk(osfs.SyncNone, nil).Open(dir)
	need(t, err)
	h := newHouse(t)
	h.gate.Trees = func(context.Context, account.Account) (vfs.FS, error) { return tree, nil }
	return h.anna(), dir
}

// Whatever fails, the peer hears of its own names only, and a sentence that is
// complete: all the facts that it wants are there.
func TestErrorsSpeakOfThePeersPathsOnly(t *testing.T) {
	s, dir := onDisk(t)
	ctx := t.Context()
	need(t, os.WriteFile(filepath.Join(dir, "file"), []byte("12345"), 0o600))
	need(t, os.MkdirAll(filepath.Join(dir, "full", "in"), 0o700))
	need(t, os.Symlink("/etc/passwd", filepath.Join(dir, "absolute")))
	need(t, os.Symlink("../../outside", filepath.Join(dir, "outside")))
	need(t, os.Symlink("loop", filepath.Join(dir, "loop")))
	cut(t, s, "/part", vfs.Create{}, 10_000)
	cut(t, s, "/file", vfs.Create{}, 10_000)
	cut(t, s, "/full/in/part", vfs.Create{Owner: "anna"}, 10_000)
	running, err := s.Create(ctx, at(t, "/file"), vfs.Create{How: vfs.InPlace, Offset: -1})
	need(t, err)
	defer func() { _ = running.Cut(ctx, must(put(t, running, 0)), errGone) }()
	cancelled, cancel := context.WithCancel(ctx)
	cancel()

	p := func(name string) vfs.Path { return at(t, name) }
	list := func(name string) error {
		for _, err := range s.List(ctx, p(name)) {
			if err != nil {
				return err
			}
		}
		return nil
	}
	begin := func(name string, how vfs.Create) error { return second(s.Create(ctx, p(name), how)) }
	long := "/" + strings.Repeat("é", 127) // fits a path, and with a suffix no file name
	tests := []struct {
		name string
		err  error
		kind fault.Kind
	}{
		{"look at nothing", second(s.Stat(ctx, p("/no"))), fault.NotFound},
		{"look below a file", second(s.Stat(ctx, p("/file/x"))), fault.NotDir},
		{"look through an absolute link", second(s.Stat(ctx, p("/absolute"))), fault.Denied},
		{"look through a link that leaves", second(s.Finished(ctx, p("/outside"))), fault.Denied},
		{"look through a loop", second(s.Stat(ctx, p("/loop"))), fault.Denied},
		{"look at a partial that is not there", second(s.Partial(ctx, p("/no"))), fault.NotFound},
		{"list nothing", list("/no"), fault.NotFound},
		{"list a file", list("/file"), fault.NotDir},
		{"list through a link that leaves", list("/outside"), fault.Denied},
		{"download nothing", second(s.Open(ctx, p("/no"))), fault.NotFound},
		{"download a directory", second(s.Open(ctx, p("/full"))), fault.IsDir},
		{"download through a link that leaves", second(s.Open(ctx, p("/absolute"))), fault.Denied},
		{"upload into nothing", begin("/no/a", vfs.Create{}), fault.NotFound},
		{"upload below a file", begin("/file/a", vfs.Create{}), fault.NotDir},
		{"upload to a directory", begin("/full", vfs.Create{}), fault.IsDir},
		{"upload through a link that leaves", begin("/outside", vfs.Create{}), fault.Denied},
		{"upload to a name that is taken", begin("/file", vfs.Create{How: vfs.New}), fault.Exists},
		{"append to a file that is being appended to", begin("/file", vfs.Create{How: vfs.InPlace, Offset: -1}), fault.Busy},
		{"begin above the size", begin("/file", vfs.Create{Offset: 6}), fault.BadOffset},
		{"resume above the size", begin("/part", vfs.Create{How: vfs.Resume, Offset: 10_000}), fault.BadOffset},
		{"resume nothing", begin("/no", vfs.Create{How: vfs.Resume, Offset: 1}), fault.NotFound},
		{"go on with what does not fit", second(s.Continue(ctx, p("/file"), 3)), fault.BadOffset},
		{"go on with nothing", second(s.Continue(ctx, p("/no"), 3)), fault.BadOffset},
		{"go on through a link that leaves", second(s.Continue(ctx, p("/outside"), 3)), fault.Denied},
		{"make what is there", s.Mkdir(ctx, p("/full")), fault.Exists},
		{"make below nothing", s.Mkdir(ctx, p("/no/a")), fault.NotFound},
		{"delete nothing", s.Remove(ctx, p("/no")), fault.NotFound},
		{"delete a directory", s.Remove(ctx, p("/full")), fault.IsDir},
		{"remove a file as a directory", s.RemoveDir(ctx, p("/file")), fault.NotDir},
		{"remove a directory that is full", s.RemoveDir(ctx, p("/full")), fault.NotEmpty},
		{"remove the root", s.RemoveDir(ctx, vfs.Root), -1},
		{"rename nothing", s.Rename(ctx, p("/no"), p("/a"), vfs.Overwrite), fault.NotFound},
		{"rename over a directory", s.Rename(ctx, p("/file"), p("/full"), vfs.Overwrite), fault.IsDir},
		{"rename a directory over a file", s.Rename(ctx, p("/full"), p("/file"), vfs.Overwrite), fault.NotDir},
		{"rename without replacing", s.Rename(ctx, p("/file"), p("/full"), vfs.NoReplace), fault.Exists},
		{"rename into itself", s.Rename(ctx, p("/full"), p("/full/in/x"), vfs.Overwrite), fault.BadName},
		{"rename the root", s.Rename(ctx, vfs.Root, p("/x"), vfs.Overwrite), -1},
		{"set the time of nothing", s.SetTime(ctx, p("/no"), time.Now()), fault.NotFound},
		{"set the time through a link that leaves", s.SetTime(ctx, p("/outside"), time.Now()), fault.Denied},
		{"set the mode of nothing", s.Chmod(ctx, p("/no"), 0o600), fault.NotFound},
		{"more room than there is", s.Room(ctx, vfs.Root, 1<<62), fault.NoSpace},
		{"a name the file system does not take", s.Mkdir(ctx, p(long+"/"+strings.Repeat("x", 255)+"/y")), fault.NotFound},
		{"after the end", second(s.Stat(cancelled, p("/file"))), fault.Canceled},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.err == nil {
				t.Fatal("no error")
			}
			e := fault.Of(tt.err)
			if tt.kind >= 0 && e.Kind != tt.kind {
				t.Errorf("kind %d, want %d: %v", e.Kind, tt.kind, tt.err)
			}
			entry, ok := explain.For(e.ID)
			if !ok {
				t.Fatalf("id %q has no entry", e.ID)
			}
			if len(e.Facts) != len(entry.Facts) {
				t.Errorf("[%s] got the facts %q, wants %q", e.ID, e.Facts, entry.Facts)
			}
			sentence := explain.Sentence(e)
			for _, private := range []string{filepath.Dir(dir), "hush", "passwd", "../", vfs.Hidden} {
				if strings.Contains(sentence, private) || strings.Contains(fmt.Sprint(e.Facts...), private) {
					t.Errorf("the peer is told %q", sentence)
				}
			}
			if e.Kind == fault.Internal {
				t.Errorf("nobody has sorted %v", tt.err)
			}
		})
	}
}

func TestWhatAPeerMayKnowOfALink(t *testing.T) {
	tests := []struct{ at, target, want string }{
		{"/l", "a", "a"},
		{"/l", "./a/b", "./a/b"},
		{"/l", "nowhere", "nowhere"},
		{"/l", "..", ""},
		{"/l", "../a", ""},
		{"/l", "a/../../b", ""},
		{"/l", "/a", ""},
		{"/l", "/", ""},
		{"/l", vfs.Hidden + "x", ""},
		{"/l", "a/" + vfs.Hidden + "x", ""},
		{"/d/l", "../a", "../a"},
		{"/d/l", "..", ".."},
		{"/d/l", "../..", ""},
		{"/d/l", "../../etc", ""},
		{"/d/l", "x/../../a", "x/../../a"},
		{"/d/l", "x/../../../a", ""},
		{"/d/e/l", "../../a", "../../a"},
		{"/d/e/l", "../../../a", ""},
	}
	for _, tt := range tests {
		t.Run(tt.at+" to "+tt.target, func(t *testing.T) {
			h := newHouse(t)
			need(t, h.tree.MkdirAll("/d/e"))
			need(t, h.tree.Link(tt.at, tt.target))
			if got := h.anna().Link(t.Context(), at(t, tt.at)); got != tt.want {
				t.Errorf("Link = %q, want %q", got, tt.want)
			}
		})
	}
	h := newHouse(t)
	need(t, h.tree.WriteFile("/file", nil))
	for _, name := range []string{"/file", "/no"} {
		if got := h.anna().Link(t.Context(), at(t, name)); got != "" {
			t.Errorf("Link(%s) = %q, want nothing", name, got)
		}
	}
}

func TestAFullDiskTellsHowMuchIsFree(t *testing.T) {
	h := newHouse(t)
	h.tree = memfs.New(memfs.Options{MaxBytes: 20_000})
	s := h.anna()
	up, err := s.Create(t.Context(), at(t, "/a"), vfs.Create{})
	need(t, err)
	rep, err := put(t, up, 100_000)
	err = up.Cut(t.Context(), rep, err)
	is(t, "Cut", err, fault.NoSpace, fault.IDNoSpace)
	if facts := fault.Of(err).Facts; len(facts) != 2 || facts[0] != "19.5 KiB free" || facts[1] != "nothing kept" {
		t.Errorf("facts %q", facts)
	}
}
