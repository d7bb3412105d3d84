package shell

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"dray/fault"
	"dray/remote"
)

func TestEveryRowOfTheTableHoldsTogether(t *testing.T) {
	seen := map[string]bool{}
	for _, v := range verbs() {
		for _, name := range append([]string{v.name}, v.aliases...) {
			if seen[name] {
				t.Errorf("two verbs are called %s", name)
			}
			seen[name] = true
		}
		if v.help == "" || v.run == nil || !strings.HasPrefix(v.usage, v.name) {
			t.Errorf("%s: help %q, usage %q", v.name, v.help, v.usage)
		}
		if v.max >= 0 && v.max < v.min {
			t.Errorf("%s: from %d to %d arguments", v.name, v.min, v.max)
		}
		short, long := map[byte]bool{}, map[string]bool{}
		for _, o := range v.opts {
			if o.short != 0 && short[o.short] || long[o.long] {
				t.Errorf("%s: two options %s", v.name, o.form())
			}
			short[o.short], long[o.long] = true, true
		}
	}
}

func TestTooFewWordsAreAMisuseAndNothingIsDone(t *testing.T) {
	for _, v := range verbs() {
		if v.min == 0 {
			continue
		}
		s := newSession(t, "a")
		if s.do(v.name, 2); !strings.Contains(s.err.String(), v.usage) {
			t.Errorf("%s: %q tells no usage", v.name, s.err.String())
		}
	}
}

func TestWithoutAServerWhatNeedsOneSaysSo(t *testing.T) {
	var out, errs bytes.Buffer
	s := New(&fakeFront{}, Options{Out: &out, Err: &errs})
	for _, v := range verbs() {
		if !v.online {
			continue
		}
		errs.Reset()
		if status := s.Do(t.Context(), v.name+strings.Repeat(" x", v.min)); status != 2 || !strings.Contains(errs.String(), "open one first") {
			t.Errorf("%s: status %d, %q", v.name, status, errs.String())
		}
	}
}

func TestDirectoriesAreChangedOnBothSides(t *testing.T) {
	s := newSession(t, "pub/a/x.txt", "pub/b/", "f")
	s.do("cd pub/a", 0)
	if got := s.do("pwd", 0); got != "sftp://one/pub/a\n" {
		t.Errorf("pwd: %q", got)
	}
	s.do("cd ../b; cd -", 0)
	if s.place.cwd != "/pub/a" {
		t.Errorf("cd - leads to %q", s.place.cwd)
	}
	s.do("cd", 0)
	if s.place.cwd != "/" {
		t.Errorf("cd leads to %q", s.place.cwd)
	}
	s.do("cd p*/a", 0)
	if s.place.cwd != "/pub/a" {
		t.Errorf("cd p*/a leads to %q", s.place.cwd)
	}
	s.do("cd /f", 1)
	s.do("cd nowhere", 7)
	if s.place.cwd != "/pub/a" {
		t.Errorf("a cd that failed leads to %q", s.place.cwd)
	}
	s.do("lmkdir -p l/m; lcd l; get x.txt; lcd ..", 0)
	if _, err := os.Stat(filepath.Join(s.dir, "l", "x.txt")); err != nil {
		t.Error(err)
	}
	s.do("lcd nowhere", 7)
	if got, _ := filepath.EvalSymlinks(strings.TrimSpace(s.do("lpwd", 0))); got != mustEval(t, s.dir) {
		t.Errorf("lpwd: %q", got)
	}
}

func mustEval(t *testing.T, name string) string {
	got, err := filepath.EvalSymlinks(name)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestListings(t *testing.T) {
	s := newSession(t, "a.txt", "b.bin", ".hidden", "d/x.txt", "d/e/y.txt", "it's")
	for line, want := range map[string]string{
		"ls":               "a.txt\nb.bin\nd\nit's\n",
		"ls -a":            ".hidden\na.txt\nb.bin\nd\nit's\n",
		"cls -r *.*":       "b.bin\na.txt\n",
		"ls d":             "e\nx.txt\n",
		"ls a.txt d":       "a.txt\n\nd:\ne\nx.txt\n",
		"ls -d d":          "d\n",
		"ls */*.txt":       "d/x.txt\n",
		"ls d/*/":          "y.txt\n",
		"ls \"it's\"":      "it's\n",
		"find d":           "d/e\nd/x.txt\nd/e/y.txt\n",
		"find -N '*.txt'":  "a.txt\nd/x.txt\nd/e/y.txt\n",
		"find -t d":        "d\nd/e\n",
		"du -s -b d":       "        28  d\n",
		"df":               "1.0 GiB free of 4.0 GiB (75% used)\n",
		"cat a.txt d/x.*":  "this is a.txt\nthis is x.txt\n",
		"get -o - a.txt":   "this is a.txt\n",
		"sum -a md5 b.bin": "ec7b49f2c0f43d6fc4a4d4cb6e2a1ad1  b.bin\n",
		"echo 'a  b' c":    "a  b c\n",
		"version":          "dray 1.2.3\n",
	} {
		if got := s.do(line, 0); got != want && !strings.HasPrefix(line, "sum") {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
	if got := s.do("ll a.txt", 0); !strings.HasPrefix(got, "-rw-r--r--  -  -  14  ") || !strings.HasSuffix(got, "a.txt\n") {
		t.Errorf("ll: %q", got)
	}
	s.do("ls nothing*", 7)
	s.do("cat nothing", 7)
	s.do("ls -Z", 2)
}

func TestNamesThatSteerATerminalAreShownWithoutThat(t *testing.T) {
	s := newSession(t, "ok")
	s.tree.hostile = []string{"\x1b[2Jx", "a\nb", "../evil", "\u202efdp"}
	s.opt.Terminal = true
	s.do("ls; ls -l; find; quote STAT", 0)
	if strings.ContainsAny(s.out.String(), "\x1b\u202e") {
		t.Errorf("%q", s.out.String())
	}
	s.opt.Terminal = false
	if got := s.do("ls", 0); strings.Count(got, "\n") != 4 {
		t.Errorf("a name has more than a line: %q", got)
	}
	if head, all := s.complete(t.Context(), "get "); len(all) != 1 || head != "get " {
		t.Errorf("completion offers %q", all)
	}
}

func TestNothingIsWrittenOutsideOfTheLocalDirectory(t *testing.T) {
	s := newSession(t, "d/ok.txt")
	s.tree.hostile = []string{"../evil", "..", "a/b", "/abs", "\x1bc", ""}
	s.do("lmkdir in; lcd in; mget *", 1)
	s.do("get -r d", 1)
	entries, err := os.ReadDir(s.dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("beside the directory: %v, %v", entries, err)
	}
	if _, err := os.Stat(filepath.Join(s.dir, "in", "d", "ok.txt")); err != nil {
		t.Error(err)
	}
	s.do("rm -r d", 1)
	if _, f := s.tree.at("/evil"); f != nil {
		t.Error("rm went out of the directory")
	}
}

func TestWhereTransfersGo(t *testing.T) {
	for _, tt := range []struct {
		line   string
		status int
		here   string // that has to be there afterwards
		there  string
	}{
		{"get a.txt", 0, "a.txt", ""},
		{"get a.txt new.txt", 0, "new.txt", ""},
		{"get a.txt b.txt", 0, "b.txt", ""},
		{"get a.txt b.txt local", 0, "local/b.txt", ""},
		{"get a.txt .", 0, "a.txt", ""},
		{"get a.txt fresh/", 0, "fresh/a.txt", ""},
		{"get -o x/new.txt a.txt", 0, "x/new.txt", ""},
		{"get -O x/y a.txt b.txt", 0, "x/y/b.txt", ""},
		{"mget -O x *.txt", 0, "x/b.txt", ""},
		{"get -r d", 0, "d/e/y.txt", ""},
		{"get 'sp ace'", 0, "sp ace", ""},
		{"get -- -dash", 0, "-dash", ""},
		{"reget a.txt", 0, "a.txt", ""},
		{"get d", 1, "", ""},
		{"get nope", 7, "", ""},
		{"get a.txt b.txt neither", 2, "", ""},
		{"get -o x a.txt b.txt", 2, "", ""},
		{"put l.txt", 0, "", "/l.txt"},
		{"put l.txt d", 0, "", "/d/l.txt"},
		{"put l.txt new.txt", 0, "", "/new.txt"},
		{"put l.txt m.txt d/", 0, "", "/d/m.txt"},
		{"put -o d/other l.txt", 0, "", "/d/other"},
		{"put -O d l.txt m.txt", 0, "", "/d/m.txt"},
		{"mput -O d *.txt", 0, "", "/d/m.txt"},
		{"put -r local d", 0, "", "/d/local/in.txt"},
		{"cd d; put l.txt .", 0, "", "/d/l.txt"},
		{"put local", 1, "", ""},
		{"put nope.txt", 7, "", ""},
		{"mput *.nope", 7, "", ""},
		{"mirror d", 0, "d/x.txt", ""},
		{"mirror d copy", 0, "copy/e/y.txt", ""},
		{"mirror d copy/", 0, "copy/d/x.txt", ""},
		{"cd d; mirror", 0, "x.txt", ""},
		{"mirror -R local", 0, "", "/local/in.txt"},
		{"mirror -R local d/up", 0, "", "/d/up/in.txt"},
		{"mirror nowhere", 7, "", ""},
	} {
		s := newSession(t, "a.txt", "b.txt", "sp ace", "-dash", "d/x.txt", "d/e/y.txt")
		for _, name := range []string{"l.txt", "m.txt", "local/in.txt"} {
			if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(name, []byte("local\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		s.do(tt.line, tt.status)
		if tt.here != "" {
			if _, err := os.Stat(tt.here); err != nil {
				t.Errorf("%s: %v\n%s", tt.line, err, s.err.String())
			}
		}
		if tt.there != "" && !strings.Contains(strings.Join(s.names(), "\n")+"\n", tt.there+"\n") {
			t.Errorf("%s: there is no %s in %q", tt.line, tt.there, s.names())
		}
		if _, err := os.Stat("nowhere"); err == nil {
			t.Errorf("%s has made a directory for nothing", tt.line)
		}
	}
}

// What can't be listed below a directory is told, and the rest is shown.
func TestWalksGoOnBehindADirectoryThatCantBeListed(t *testing.T) {
	s := newSession(t, "top/a/1.txt", "top/b/", "top/c/2.txt")
	s.place.conn.tree = &walled{s.tree, "/top/b"}
	for _, line := range []string{"find top", "du -b top"} {
		out := s.do(line, 1)
		if !strings.Contains(out, "top/c") || strings.Count(s.err.String(), "/top/b") != 1 {
			t.Errorf("%s: %s%s", line, out, s.err.String())
		}
	}
}

// A walled tree has a directory that can't be listed.
type walled struct {
	*fakeTree
	dir string
}

func (w *walled) List(ctx context.Context, dir string) iter.Seq2[remote.Entry, error] {
	if dir != w.dir {
		return w.fakeTree.List(ctx, dir)
	}
	return func(yield func(remote.Entry, error) bool) {
		yield(remote.Entry{}, fault.New(fault.Denied, fault.IDPerm, dir))
	}
}

func TestANameBehindAPatternIsThoseThatAreThere(t *testing.T) {
	s := newSession(t, "a/index.html", "b/other.html", "c/index.html", "file")
	s.do("get -O . a/*.html", 0)
	if out := s.do("get -O . */index.html", 1); !strings.Contains(out+s.err.String(), "name-clash") { // one of them would be lost
		t.Errorf("%q", out)
	}
	if out := s.do("ls */index.html", 0); out != "a/index.html\nc/index.html\n" {
		t.Errorf("%q", out)
	}
	s.do("ls */none.html", 7)
}

func TestADeviceIsWrittenToAndNotReplaced(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there are none with a path")
	}
	s := newSession(t, "a.txt")
	s.do("get -o /dev/null a.txt", 0)
	if fi, err := os.Stat("/dev/null"); err != nil || fi.Mode()&os.ModeDevice == 0 {
		t.Errorf("/dev/null is %v, %v", fi.Mode(), err)
	}
	s.do("get -o /dev/null nope", 7)
}

func TestMirrorDeletesWhenThatIsConfirmed(t *testing.T) {
	s := newSession(t, "d/x.txt", "d/old.txt")
	if err := os.MkdirAll("up", 0o755); err != nil {
		t.Fatal(err)
	}
	s.do("mirror -R -e up d", 0)
	if len(s.front.asked) != 1 || len(s.names()) != 3 {
		t.Errorf("asked %q, left %q", s.front.asked, s.names())
	}
	s.do("mirror -R -e -n up d", 0)
	if len(s.names()) != 3 {
		t.Errorf("a dry run left %q", s.names())
	}
	s.front.yes = true
	s.do("mirror -R -e -x 'x.*' up d", 0)
	if got := s.names(); !reflect.DeepEqual(got, []string{"/d", "/d/x.txt"}) {
		t.Errorf("left %q", got)
	}
}

func TestChanges(t *testing.T) {
	s := newSession(t, "a.txt", "b.txt", "c.bin", "d/x.txt", "d/e/y.txt", "-x", "[z]", "z")
	s.do("mkdir -p n/o/p; mkdir n", 1)
	s.do("mv a.txt b.txt n", 0)
	s.do("rename c.bin c2.bin", 0)
	s.do("chmod 600 c2.bin; rm -- -x", 0)
	s.do("rm '[z]'", 0)
	s.do("rmdir n", 1)
	s.do("rm d", 1)
	s.do("rm -r d n/*.txt", 0)
	s.do("rm -f nope; rm nope", 7)
	s.do("rm -r /; rm -r .; rm -r ..", 2)
	s.do("chmod u+x c2.bin", 2)
	if got, want := s.names(), []string{"/c2.bin", "/n", "/n/o", "/n/o/p", "/z"}; !reflect.DeepEqual(got, want) {
		t.Errorf("left %q, want %q", got, want)
	}
	if mode := s.tree.files["/c2.bin"].mode; mode != 0o600 {
		t.Errorf("mode %v", mode)
	}
	s.do("quote FEAT; site 'UTIME x'", 0)
	if want := []string{"FEAT", "SITE UTIME x"}; !reflect.DeepEqual(s.tree.quoted, want) {
		t.Errorf("quoted %q", s.tree.quoted)
	}
}

func TestWhatRunsAfterWhat(t *testing.T) {
	s := newSession(t)
	for line, want := range map[string]string{
		"echo a; echo b":               "a\nb\n",
		"echo a && echo b":             "a\nb\n",
		"echo a || echo b":             "a\n",
		"cat nope && echo b":           "",
		"cat nope || echo b":           "b\n",
		"cat nope && echo b || echo c": "c\n",
		"cat nope; echo b":             "b\n",
		"echo '#'; # echo":             "#\n",
		"hist; ech x":                  "x\n",
		"false":                        "",
		"echo a && exit 0; echo never": "a\n",
	} {
		s.exit = nil
		s.out.Reset()
		s.Do(t.Context(), line)
		if got := s.out.String(); got != want {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
}

func TestScripts(t *testing.T) {
	for _, tt := range []struct {
		name, script string
		status       int
		out, told    string // what was written, and what was told with -v
	}{
		{"the first failure ends it, with its status", "echo a\ncat nope\necho b\n", 7, "a\n", "dray> echo a\ndray> cat nope\nfailed: sftp://one/nope: "},
		{"a line that begins with - may fail", "-cat nope\necho b", 0, "b\n", "dray> cat nope\nfailed: sftp://one/nope: "},
		{"a line that begins with @ is not told", "@echo a\n- @ cat nope\n@-echo b", 0, "a\nb\n", "failed: sftp://one/nope: "},
		{"comments and empty lines", "# a\n\n  # b\necho c # d", 0, "c\n", ""},
		{"exit has a status", "exit 9\necho a", 9, "", "dray> exit 9\n"},
		{"- does not keep exit from its work", "-exit 3\necho a", 3, "", ""},
		{"a line that can't be read", "get 'x\n", 2, "", ""},
		{"a job that failed is a failure", "cat nope &\necho a", 7, "a\n", ""},
		{"exit waits for the jobs", "cat job.txt &\nexit", 0, "", "dray> cat job.txt &\n[1] cat job.txt\n"},
		{"and has the status of one that failed", "cat nope &\nexit", 7, "", ""},
		{"a password is not told", "-open sftp://me:sesame@nowhere/\n-open -u me,sesame nowhere:", 0, "", "dray> open [hidden]\n"},
		{"a mark of the order of bytes", "\ufeffecho a", 0, "a\n", ""},
	} {
		s := newSession(t, "job.txt")
		s.opt.Verbose = true
		s.out.Reset()
		status := s.Script(t.Context(), strings.NewReader(tt.script))
		if status != tt.status || s.out.String() != tt.out || !strings.HasPrefix(s.err.String(), tt.told) {
			t.Errorf("%s: status %d, %q, told %q", tt.name, status, s.out.String(), s.err.String())
		}
		if strings.HasPrefix(tt.script, "cat job.txt &") && !strings.Contains(s.err.String(), "[1] done  cat job.txt\nthis is job.txt\n") {
			t.Errorf("%s: told %q", tt.name, s.err.String())
		}
		if strings.Contains(s.err.String(), "sesame") {
			t.Errorf("%s: a password in %q", tt.name, s.err.String())
		}
	}
}

func TestOpenAndClose(t *testing.T) {
	s := newSession(t, "a")
	s.do("open -u me,secret -p 2222 sftp://two/", 0)
	if o := s.front.opens[1]; o.User != "me" || o.Password.Reveal() != "secret" || o.Port != 2222 {
		t.Errorf("%+v", o)
	}
	if !s.tree.isClosed() {
		t.Error("the connection of before is open")
	}
	if got := s.do("ls", 0); got != "other.txt\n" {
		t.Errorf("ls: %q", got)
	}
	s.do("open nowhere.example:", 1)
	if got := s.do("ls", 0); got != "other.txt\n" {
		t.Errorf("after an open that failed: %q", got)
	}
	s.do("close; ls", 2)
}

func TestAnInterruptEndsTheCommandAndNotTheShell(t *testing.T) {
	s := newSession(t, "hang.bin", "a", "hang/")
	ints := make(chan os.Signal, 1)
	s.opt.Interrupts = ints
	for _, line := range []string{"get hang.bin", "cat hang.bin; echo never", "ls hang", "find hang || echo never"} {
		time.AfterFunc(50*time.Millisecond, func() { ints <- syscall.SIGINT })
		s.do(line, 130)
		if strings.Contains(s.out.String(), "never") {
			t.Errorf("%s went on", line)
		}
	}
	if got := s.do("cat a", 0); got != "this is a\n" {
		t.Errorf("afterwards: %q", got)
	}
	time.AfterFunc(50*time.Millisecond, func() { ints <- syscall.SIGINT })
	if status := s.Script(t.Context(), strings.NewReader("-get hang.bin\necho never\n")); status != 130 || strings.Contains(s.out.String(), "never") {
		t.Errorf("a script: status %d, %q", status, s.out.String())
	}
}

func TestJobs(t *testing.T) {
	s := newSession(t, "hang.bin", "a")
	for range maxJobs {
		s.do("cat hang.bin &", 0)
	}
	s.do("get a &", 2)
	if got := s.do("jobs", 0); strings.Count(got, "running") != maxJobs {
		t.Errorf("jobs: %q", got)
	}
	s.do("kill 1 2", 0)
	s.do("kill 77", 2)
	s.do("cat a &", 0)
	s.do("wait 9", 0)
	if !strings.Contains(s.err.String(), "[9] done  cat a\nthis is a\n") {
		t.Errorf("a job that was waited for: %q", s.err.String())
	}
	s.do("cat nope &", 0)
	s.do("fg", 7)
	if strings.Count(s.err.String(), "failed: sftp") != 1 {
		t.Errorf("a failure is told once: %q", s.err.String())
	}
	s.do("cd / &", 2)
	// Its connection lives as long as the job.
	s.do("close", 0)
	if s.tree.isClosed() {
		t.Error("the connection of jobs was closed")
	}
	s.do("kill all", 0)
	if !s.tree.isClosed() {
		t.Error("the connection is open after its last job")
	}
	if got := s.do("jobs", 0); got != "" {
		t.Errorf("jobs: %q", got)
	}
}

func TestTheEndOfTheShellEndsItsJobs(t *testing.T) {
	s := newSession(t, "hang.bin")
	before := runtime.NumGoroutine()
	s.do("cat hang.bin & get hang.bin &", 0)
	s.Close()
	for begin := time.Now(); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		if time.Since(begin) > 5*time.Second {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
	}
}

func TestCompletion(t *testing.T) {
	s := newSession(t, "alpha.txt", "alpine/in.txt", "it's", "sp ace", "-dash", "star*")
	if err := os.MkdirAll("here dir/sub", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("here.txt", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		line, head string
		want       []string
	}{
		{"mi", "", []string{"mirror "}},
		{"ls; mi", "ls; ", []string{"mirror "}},
		{"delet", "", []string{"delete "}},
		{"get alp", "get ", []string{"alpha.txt ", "alpine/"}},
		{"cd alp", "cd ", []string{"alpine/"}},
		{"get alpine/", "get ", []string{"alpine/in.txt "}},
		{"get -r alpha.txt s", "get -r alpha.txt ", []string{`sp\ ace `, `star\* `}},
		{`get sp\ a`, "get ", []string{`sp\ ace `}},
		{`get 'sp`, "get ", []string{`'sp ace' `}},
		{`get "it`, "get ", []string{`"it's" `}},
		{`get 'it`, "get ", []string{`"it's" `}},
		{"get it", "get ", []string{`it\'s `}},
		{"get -d", "get ", nil},
		{"get -- -d", "get -- ", []string{"./-dash "}},
		{"get --out", "get ", []string{"--output ", "--output-dir "}},
		{"put he", "put ", []string{`here.txt `, `here\ dir/`}},
		{"lcd he", "lcd ", []string{`here\ dir/`}},
		{"lcd 'here dir/", "lcd ", []string{`'here dir/sub/`}},
		{"mirror -R he", "mirror -R ", []string{`here\ dir/`}},
		{"mirror al", "mirror ", []string{"alpine/"}},
		{"mirror alpine he", "mirror alpine ", []string{`here\ dir/`}},
		{"help mir", "help ", []string{"mirror "}},
		{"!ls al", "!ls al", nil},
		{"open al", "open ", nil},
		{"nonsense al", "nonsense ", nil},
	} {
		head, all := s.complete(t.Context(), tt.line)
		if head != tt.head || strings.Join(sorted(all), "|") != strings.Join(sorted(tt.want), "|") {
			t.Errorf("%q: %q %q, want %q %q", tt.line, head, all, tt.head, tt.want)
		}
	}
	if s.tree.listings() > 2 {
		t.Errorf("%d listings of two directories", s.tree.listings())
	}
	before := s.tree.listings()
	s.do("mkdir new", 0)
	if _, all := s.complete(t.Context(), "cd ne"); len(all) != 1 || s.tree.listings() == before {
		t.Errorf("a directory that was made is not offered: %q", all)
	}
}

func sorted(all []string) []string {
	out := append([]string(nil), all...)
	for i := range out {
		for j := range i {
			if out[i] < out[j] {
				out[i], out[j] = out[j], out[i]
			}
		}
	}
	return out
}

func TestCompletionWaitsTwoSecondsForAListing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tree := newFake("hang/", "a")
		s := New(&fakeFront{trees: map[string]*fakeTree{"one": tree}}, Options{Out: &bytes.Buffer{}, Err: &bytes.Buffer{}})
		defer s.Close()
		if err := s.Open(t.Context(), Open{URL: "sftp://one/"}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		began := time.Now()
		if _, all := s.complete(ctx, "get hang/"); all != nil || time.Since(began) != namesWait {
			t.Errorf("%q after %v", all, time.Since(began))
		}
		lists := tree.listings()
		s.complete(ctx, "get hang/")
		if tree.listings() != lists {
			t.Error("a listing that is under way is begun again")
		}
		s.complete(ctx, "get a")
		lists = tree.listings()
		time.Sleep(namesFor + time.Second)
		s.complete(ctx, "get a")
		if tree.listings() != lists+1 {
			t.Error("an old listing is used")
		}
	})
}

func TestEdit(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the editors are of sh")
	}
	s := newSession(t, "a.txt", "d/")
	editor := ""
	s.opt.Getenv = func(name string) string {
		if name == "EDITOR" {
			return editor
		}
		return ""
	}
	t.Setenv("TMPDIR", t.TempDir())
	left := func() int {
		entries, err := os.ReadDir(os.Getenv("TMPDIR"))
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	editor = "true"
	if s.do("edit a.txt", 0); !strings.Contains(s.err.String(), "nothing was changed") {
		t.Errorf("%q", s.err.String())
	}
	editor = "f() { echo more >> $1; }; f"
	s.do("edit a.txt", 0)
	if got := string(s.tree.files["/a.txt"].data); got != "this is a.txt\nmore\n" {
		t.Errorf("a.txt is %q", got)
	}
	s.do("edit new.txt", 0)
	if got := string(s.tree.files["/new.txt"].data); got != "more\n" {
		t.Errorf("new.txt is %q", got)
	}
	editor = "false"
	s.do("edit a.txt", 1)
	s.do("edit d", 1)
	if n := left(); n != 0 {
		t.Errorf("%d directories are left", n)
	}
}

func TestEditSendsNothingWhenTheFileHasChangedMeanwhile(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the editors are of sh")
	}
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	for name, other := range map[string]*fakeFile{
		"another size":         {data: []byte("theirs\n"), time: longAgo},
		"the same size, later": {data: []byte("THIS IS A.TXT\n"), time: longAgo.Add(time.Hour)},
		"only other bytes":     {data: []byte("THIS IS A.TXT\n"), time: longAgo},
		"it is gone":           nil,
	} {
		s := newSession(t, "a.txt")
		s.opt.Getenv = func(name string) string {
			if name != "EDITOR" {
				return ""
			}
			return "f() { echo mine >> $1; }; f"
		}
		real := s.tree
		s.place.conn.tree = &meddled{real, other}
		s.do("edit a.txt", map[bool]int{true: 1, false: 1}[other == nil])
		if f := real.files["/a.txt"]; (f == nil) != (other == nil) || f != nil && !bytes.Equal(f.data, other.data) {
			t.Errorf("%s: what is there was replaced", name)
		}
		_, kept, _ := strings.Cut(s.err.String(), "what was edited is in ")
		kept, _, _ = strings.Cut(kept, "\n")
		if b, err := os.ReadFile(kept); err != nil || !strings.HasSuffix(string(b), "mine\n") {
			t.Errorf("%s: the edited file %q: %q, %v", name, kept, b, err)
		}
	}
}

func TestLinesWithPasswordsAreKnown(t *testing.T) {
	for line, want := range map[string]bool{
		"open ftp://me:sesame@host/":    true,
		"open 'ftp://me:se same@host/'": true,
		"ls; open -u me,sesame host:":   true,
		"o --user=me,sesame host:":      true,
		"opne -u 'me,ses ame' host:":    true,
		"open -vu me:sesame host":       true,
		"quote PASS sesame":             true,
		"open ftp://me@host/":           false,
		"open host:path":                false,
		"get passes.txt":                false,
		"get a@b":                       false,
		"du -u":                         false,
	} {
		if got := Secret(line); got != want {
			t.Errorf("Secret(%q) = %v", line, got)
		}
		if strings.Contains(masked(line), "sesame") {
			t.Errorf("masked(%q) = %q", line, masked(line))
		}
	}
}

func TestTheLinesOfTheHistoryAreFew(t *testing.T) {
	s := newSession(t)
	s.opt.State = t.TempDir()
	name := filepath.Join(s.opt.State, historyFile)
	var b strings.Builder
	for i := range 3 * maxHistory {
		fmt.Fprintf(&b, "echo %d\n", i)
	}
	b.WriteString("open ftp://me:sesame@host/\necho \x1b[2Jx\n")
	if err := os.WriteFile(name, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	s.loadHistory()
	if n := len(s.history); n != maxHistory || s.history[n-1] != "echo ?[2Jx" {
		t.Errorf("%d lines, the last %q", n, s.history[n-1])
	}
	text, err := os.ReadFile(name)
	if err != nil || strings.Count(string(text), "\n") != maxHistory || strings.Contains(string(text), "sesame") {
		t.Errorf("the file has %d lines, %v", strings.Count(string(text), "\n"), err)
	}
	if fi, err := os.Stat(name); err != nil || runtime.GOOS != "windows" && fi.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", fi.Mode(), err)
	}
}
