package scpserver

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"dray/account"
	"dray/event"
	"dray/fault"
	"dray/gate"
	"dray/guard"
	"dray/vfs"
	"dray/vfs/memfs"
)

func TestSplit(t *testing.T) {
	tests := []struct {
		name, in string
		want     []string
		err      error
	}{
		{"as OpenSSH sends it", "scp -r -t -- dir", []string{"scp", "-r", "-t", "--", "dir"}, nil},
		{"a name with a blank in quotes", "scp -f 'a b'", []string{"scp", "-f", "a b"}, nil},
		{"a blank behind a backslash", `scp -f a\ b`, []string{"scp", "-f", "a b"}, nil},
		{"a quote in quotes, as shells have it", `scp -f 'it'\''s'`, []string{"scp", "-f", "it's"}, nil},
		{"quotes of two kinds", `scp -f "a 'b'" 'c "d"'`, []string{"scp", "-f", "a 'b'", `c "d"`}, nil},
		{"a backslash in double quotes", `scp -f "a\"b\n"`, []string{"scp", "-f", `a"b\n`}, nil},
		{"an empty word", "scp -t ''", []string{"scp", "-t", ""}, nil},
		{"nothing is expanded", "scp -f $HOME `id`", []string{"scp", "-f", "$HOME", "`id`"}, nil},
		{"a quote that is open", "scp -f 'a", nil, errQuote},
		{"a long line", "scp " + strings.Repeat("x", maxCommand), nil, errLong},
		{"many words", "scp " + strings.Repeat("x ", maxWords+2), nil, errLong},
	}
	for _, tt := range tests {
		words, err := split(tt.in)
		var got []string
		for _, w := range words {
			got = append(got, w.text)
		}
		if !errors.Is(err, tt.err) || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: split(%.60q) = %q, %v; want %q, %v", tt.name, tt.in, got, err, tt.want, tt.err)
		}
	}
	words, _ := split(`scp a* 'b*' c\* "d*"`)
	var patterns []bool
	for _, w := range words {
		patterns = append(patterns, w.pattern())
	}
	if want := []bool{false, true, false, false, false}; !reflect.DeepEqual(patterns, want) {
		t.Errorf("patterns %v; want %v", patterns, want)
	}
}

// What bash 5.2 makes of the same words.
func TestSpell(t *testing.T) {
	for in, want := range map[string]string{
		"a":               "a",
		"{a,b}":           "a|b",
		"x{a,b}y":         "xay|xby",
		"{a,b}{1,2}":      "a1|a2|b1|b2",
		"{b,a,b}":         "b|a|b",
		"a{,b}":           "a|ab",
		"{,a,}":           "a",
		"{,}":             "",
		"{a,b{1,2},c}":    "a|b1|b2|c",
		"{{a,b},c}":       "a|b|c",
		"{}":              "{}",
		"{a}":             "{a}",
		"x{}y":            "x{}y",
		"{},b}":           "{},b}",
		"x{},b}":          "x}|xb",
		"{a},b}":          "a}|b",
		"{a,b":            "{a,b",
		"a,b}":            "a,b}",
		"a{b,{c,d}":       "a{b,c|a{b,d",
		"{{a,b}":          "{a|{b",
		"{a,b}}":          "a}|b}",
		"{{a},b}":         "{a}|b",
		"{1..3}":          "{1..3}",
		"${a,b}":          "${a,b}",
		"'{a,b}'":         "{a,b}",
		`"{a,b}"`:         "{a,b}",
		`\{a,b}`:          "{a,b}",
		`{a\,b}`:          "{a,b}",
		`{a,b\}`:          "{a,b}",
		`{a,'b,c'}`:       "a|b,c",
		`{'{',"}"}`:       "{|}",
		"{a' 'b,c}.{d,e}": "a b.d|a b.e|c.d|c.e",
		"'' {a,b}":        "|a|b",
		"{*,'*'}":         "*|*",
	} {
		words, err := split(in)
		if err != nil {
			t.Fatal(err)
		}
		words, err = spell(words)
		var got []string
		for _, w := range words {
			got = append(got, w.text)
		}
		if err != nil || strings.Join(got, "|") != want {
			t.Errorf("%s is %q, %v; want %q", in, got, err, want)
		}
	}
	words, _ := split("{*,'*'}")
	if words, _ = spell(words); !words[0].pattern() || words[1].pattern() {
		t.Error("what is quoted in braces is not what it was")
	}
}

// However a line is written, it stands for a thousand names, and is seen through at once.
func TestBracesThatAreTooMuch(t *testing.T) {
	hundred := "{" + strings.Repeat("x,", 99) + "x}"
	for name, tt := range map[string]struct {
		line string
		err  error
	}{
		"a thousand":              {hundred + "{" + strings.Repeat("y,", 9) + "y}", nil},
		"one more":                {hundred + "{" + strings.Repeat("y,", 9) + "y} z", errBraces},
		"ten to the power of 200": {strings.Repeat("{0,1,2,3,4,5,6,7,8,9}", 200), errBraces},
		"a long list":             {"{" + strings.Repeat(",", 16_000) + "}", errBraces},
		"several words":           {strings.Repeat("{1,2,3,4,5,6,7,8} ", 126), errBraces},
		"long names":              {strings.Repeat("x", 12_000) + "{" + strings.Repeat("y,", 900) + "y}", errBraces},
		"64 in each other":        {strings.Repeat("{a,", 63) + "b" + strings.Repeat("}", 63), nil},
		"5,000 in each other":     {strings.Repeat("{a,", 5000) + strings.Repeat("}", 1000), errBraces},
		"none that is closed":     {strings.Repeat("{", 16_000), errBraces},
		"none with a comma":       {strings.Repeat("{a}", 5000), errBraces},
		"a few of them":           {strings.Repeat("{a}", 500), nil},
	} {
		words, err := split(tt.line)
		if err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		words, err = spell(words)
		if !errors.Is(err, tt.err) || len(words) > maxBraces {
			t.Errorf("%s: %d names, %v; want %v", name, len(words), err, tt.err)
		}
		if took := time.Since(begun); took > 5*time.Second {
			t.Errorf("%s takes %v", name, took)
		}
	}
	st := newStage(t, account.All)
	_, _, wait := st.run("scp -f " + strings.Repeat("{0,1,2,3,4,5,6,7,8,9}", 4))
	if status := wait(); status != 1 {
		t.Errorf("status %d", status)
	}
}

func TestParseRecord(t *testing.T) {
	tests := []struct {
		in   string
		want record
		ok   bool
	}{
		{"C0644 5 name with blanks", record{kind: 'C', mode: 0o644, size: 5, name: "name with blanks"}, true},
		{"D0755 0 dir", record{kind: 'D', mode: 0o755, name: "dir"}, true},
		{"C4755 1 setuid", record{kind: 'C', mode: 0o755, size: 1, name: "setuid"}, true},
		{"T10 0 20 0", record{kind: 'T', mtime: time.Unix(10, 0), atime: time.Unix(20, 0)}, true},
		{"E", record{kind: 'E'}, true},
		{in: ""}, {in: "E "}, {in: "X"}, {in: "C0644 5"}, {in: "C0644 -5 x"}, {in: "C0644 5 ../x"}, {in: "C0644 5 .."}, {in: "C0644 5 ."}, {in: "C0644 5 "},
		{in: "C0644 5 /etc/passwd"}, {in: "Cxyz 5 x"}, {in: "C0644 99999999999999999999 x"}, {in: "T1 2 3"}, {in: "T-1 0 0 0"}, {in: "C999999 5 x"},
	}
	for _, tt := range tests {
		got, err := parseRecord(tt.in)
		if (err == nil) != tt.ok || tt.ok && !reflect.DeepEqual(got, tt.want) {
			t.Errorf("parseRecord(%q) = %+v, %v; want %+v, ok %v", tt.in, got, err, tt.want, tt.ok)
		}
	}
}

// A stage is a session with a tree in memory.
type stage struct {
	t       testing.TB
	tree    *memfs.Tree
	session *gate.Session
	events  []any // by one session, one behind the other
}

func (st *stage) Event(_ context.Context, e any) { st.events = append(st.events, e) }

// last is the event of the last transfer.
func (st *stage) last() (t event.Transfer) {
	for _, e := range st.events {
		if e, ok := e.(event.Transfer); ok {
			t = e
		}
	}
	return t
}

type anybody struct{ a account.Account }

func (v anybody) Verify(context.Context, string, account.Secret, netip.Addr, account.Bar) (account.Account, error) {
	return v.a, nil
}

func newStage(t testing.TB, rights account.Rights) *stage {
	t.Helper()
	st := &stage{t: t, tree: memfs.New(memfs.Options{MaxBytes: 1 << 20})}
	g := &gate.Gate{
		Guard: guard.New(guard.Limits{}, nil), Verifier: anybody{account.Account{Name: "anna", Rights: rights}}, Events: st,
		Trees: func(context.Context, account.Account) (vfs.FS, error) { return st.tree, nil },
	}
	v, err := g.Knock(gate.Peer{Remote: netip.MustParseAddrPort("192.0.2.1:5"), Door: &gate.Door{Protocol: gate.ProtocolSFTP}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Leave)
	if st.session, err = v.Password(t.Context(), "anna", account.NewSecret("x")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(st.session.Close)
	return st
}

// A pipe is a Stream over a connection in memory.
type pipe struct {
	net.Conn
	told strings.Builder
}

func (p *pipe) Tell(text string) { p.told.WriteString(text) }

// run begins a command, and returns the other end and what waits for its status.
func (st *stage) run(command string) (*bufio.ReadWriter, net.Conn, func() int) {
	st.t.Helper()
	server, client := net.Pipe()
	done := make(chan int, 1)
	p := &pipe{Conn: server}
	go func() {
		done <- Run(st.t.Context(), st.session, command, p)
		_ = server.Close()
	}()
	_ = client.SetDeadline(time.Now().Add(10 * time.Second))
	st.t.Cleanup(func() { _ = client.Close() })
	return bufio.NewReadWriter(bufio.NewReader(client), bufio.NewWriter(client)), client, func() int { return <-done }
}

// put writes what a client would, and returns all answers. Each step of talk waits for
// one answer before it, which is zero or a line.
func (st *stage) put(command string, talk ...string) (answers []string, status int) {
	st.t.Helper()
	rw, nc, wait := st.run(command)
	read := func() bool {
		b, err := rw.ReadByte()
		if err != nil {
			return false
		}
		if b != 0 {
			line, _ := rw.ReadString('\n')
			answers = append(answers, line)
			return true
		}
		answers = append(answers, "")
		return true
	}
	for _, step := range talk {
		if !read() {
			break
		}
		if _, err := rw.WriteString(step); err != nil || rw.Flush() != nil {
			break
		}
	}
	_ = nc.SetReadDeadline(time.Now().Add(300 * time.Millisecond)) // a client that says no more hears no more
	read()
	_ = nc.Close()
	return answers, wait()
}

func (st *stage) holds(path, want string) {
	st.t.Helper()
	if got, err := st.tree.ReadFile(path); err != nil || string(got) != want {
		st.t.Errorf("%s holds %q, %v; want %q", path, got, err, want)
	}
}

func (st *stage) missing(path string) {
	st.t.Helper()
	if _, err := st.tree.ReadFile(path); !errors.Is(err, fs.ErrNotExist) {
		st.t.Errorf("%s is there: %v", path, err)
	}
}

func TestUploads(t *testing.T) {
	st := newStage(t, account.All)
	if a, status := st.put("scp -t f", "C0644 5 sent\n", "hello\x00"); status != 0 || strings.Join(a, "") != "" {
		t.Errorf("a file: %q, %d", a, status)
	}
	st.holds("/f", "hello")
	if err := st.tree.MkdirAll("/dir"); err != nil {
		t.Fatal(err)
	}
	if a, status := st.put("scp -p -t dir", "T1000 0 2000 0\n", "C0600 0 empty\n", "\x00"); status != 0 || strings.Join(a, "") != "" {
		t.Errorf("an empty file with its times: %q, %d", a, status)
	}
	fi, err := st.session.Stat(t.Context(), at(t, "/dir/empty"))
	if err != nil || fi.ModTime().Unix() != 1000 || fi.Mode().Perm() != 0o600 {
		t.Errorf("it is %v of %v, %v", fi.Mode(), fi.ModTime(), err)
	}
	if a, status := st.put("scp -r -t new", "D0755 0 tree\n", "C0644 1 a\n", "1\x00", "D0755 0 sub\n", "C0644 1 b\n", "2\x00", "E\n", "E\n"); status != 0 || strings.Join(a, "") != "" {
		t.Errorf("a tree: %q, %d", a, status)
	}
	st.holds("/new/a", "1")
	st.holds("/new/sub/b", "2")
}

// A directory is as closed as that of the client, once it is filled, and never more
// open than the umask has it; -p keeps what the client has.
func TestModesOfDirectories(t *testing.T) {
	st := newStage(t, account.All)
	mode := func(path string) fs.FileMode {
		t.Helper()
		fi, err := st.session.Finished(t.Context(), at(t, path))
		if err != nil {
			t.Fatal(err)
		}
		return fi.Mode().Perm()
	}
	talk := []string{"D0700 0 d\n", "D0500 0 sub\n", "C0600 1 f\n", "1\x00", "E\n", "D0777 0 open\n", "E\n", "E\n"}
	for i, tt := range []struct {
		command        string
		top, sub, open fs.FileMode
	}{
		{"scp -r -t one", 0o700, 0o500, 0o755}, {"scp -r -p -t two", 0o700, 0o500, 0o777},
	} {
		name := "/" + []string{"one", "two"}[i]
		if a, status := st.put(tt.command, talk...); status != 0 || strings.Join(a, "") != "" {
			t.Errorf("%s: %q, %d", tt.command, a, status)
		}
		if top, sub, open := mode(name), mode(name+"/sub"), mode(name+"/open"); top != tt.top || sub != tt.sub || open != tt.open {
			t.Errorf("%s: modes %04o, %04o, %04o; want %04o, %04o, %04o", tt.command, top, sub, open, tt.top, tt.sub, tt.open)
		}
		st.holds(name+"/sub/f", "1")
	}
	// One that is there keeps its mode, but for -p.
	for command, want := range map[string]fs.FileMode{"scp -r -t .": 0o700, "scp -r -p -t .": 0o750} {
		if a, status := st.put(command, "D0750 0 one\n", "E\n"); status != 0 || strings.Join(a, "") != "" || mode("/one") != want {
			t.Errorf("%s: %q, %d, mode %04o; want %04o", command, a, status, mode("/one"), want)
		}
		_ = st.session.Chmod(t.Context(), at(t, "/one"), 0o700)
	}
	// Without the right to set modes it is as all are.
	st = newStage(t, account.All&^account.Attributes)
	if a, status := st.put("scp -r -t one", "D0700 0 d\n", "E\n"); status != 0 || strings.Join(a, "") != "" || mode("/one") != 0o755 {
		t.Errorf("without the right: %q, %d, mode %04o", a, status, mode("/one"))
	}
}

// "dir/" means a directory: a file does not take its name because it is missing.
func TestATargetWithASlash(t *testing.T) {
	st := newStage(t, account.All)
	if err := st.tree.MkdirAll("/dir"); err != nil {
		t.Fatal(err)
	}
	if err := st.tree.WriteFile("/old", []byte("old")); err != nil {
		t.Fatal(err)
	}
	for target, want := range map[string]string{"dir/": "", "dir/.": "", "new/": "[not-dir]", "new/.": "[not-dir]", "dir/new/": "[not-dir]", "old/": "[not-dir]"} {
		a, status := st.put("scp -t "+target, "C0644 1 f\n", "1\x00")
		if got := strings.Join(a, ""); (status == 0) != (want == "") || !strings.Contains(got, want) {
			t.Errorf("a file to %s: %q, %d; want %q", target, got, status, want)
		}
	}
	st.holds("/dir/f", "1")
	st.holds("/old", "old")
	st.missing("/new")
	st.missing("/dir/new")
	if a, status := st.put("scp -r -t new/", "D0755 0 d\n", "C0644 1 f\n", "1\x00", "E\n"); status != 0 || strings.Join(a, "") != "" {
		t.Errorf("a directory to new/: %q, %d", a, status)
	}
	st.holds("/new/f", "1")
}

func TestUploadsThatAreNotWhole(t *testing.T) {
	st := newStage(t, account.All)
	if err := st.tree.WriteFile("/f", []byte("old")); err != nil {
		t.Fatal(err)
	}
	for name, talk := range map[string][]string{
		"the stream ends":                    {"C0644 5 f\n", "he"},
		"the client could not read its file": {"C0644 5 f\n", "hello\x01scp: f: I/O error\n"},
		"no word about the end":              {"C0644 5 f\n", "hello"},
	} {
		if _, status := st.put("scp -t f", talk...); status == 0 {
			t.Errorf("%s: status 0", name)
		}
		st.holds("/f", "old")
	}
}

func TestWhatIsRefused(t *testing.T) {
	st := newStage(t, account.All)
	for name, tt := range map[string]struct {
		command string
		talk    []string
	}{
		"a name that leads out":    {"scp -t .", []string{"C0644 5 ../f\n"}},
		"an absolute name":         {"scp -t .", []string{"C0644 5 /f\n"}},
		"a directory without -r":   {"scp -t .", []string{"D0755 0 d\n"}},
		"an end without beginning": {"scp -r -t .", []string{"E\n"}},
		"no record":                {"scp -t .", []string{"hello\n"}},
		"a long record":            {"scp -t .", []string{"C0644 5 " + strings.Repeat("x", maxRecord) + "\n"}},
		"a reserved name":          {"scp -t .", []string{"C0644 5 .dray-x\n"}},
		"a directory that is none": {"scp -d -t none", nil},
		"a missing directory":      {"scp -t no/f", []string{"C0644 5 f\n"}},
		"more than there is room":  {"scp -t big", []string{"C0644 2000000 f\n", strings.Repeat("x", 2_000_000) + "\x00"}},
		"another program":          {"scp", nil},
		"both directions":          {"scp -t -f x", nil},
		"an option of the client":  {"scp -S sh -t x", nil},
		"two targets":              {"scp -t a b", nil},
	} {
		a, status := st.put(tt.command, tt.talk...)
		if status == 0 {
			t.Errorf("%s: status 0, %q", name, a)
		}
	}
	for _, p := range []string{"/f", "/big", "/no/f"} {
		st.missing(p)
	}
	if a, status := newStage(t, account.ReadOnly).put("scp -t f", "C0644 5 f\n"); status != 1 || !strings.Contains(strings.Join(a, ""), "[read-only]") {
		t.Errorf("a read-only account: %q, %d", a, status)
	}
}

// get answers all that a server sends and returns what it has seen.
func (st *stage) get(command string) (records []string, files map[string]string, status int) {
	st.t.Helper()
	rw, nc, wait := st.run(command)
	files = map[string]string{}
	ok := func() {
		_ = rw.WriteByte(0)
		_ = rw.Flush()
	}
	ok()
	for {
		line, err := rw.ReadString('\n')
		if err != nil {
			break
		}
		line = strings.TrimSuffix(line, "\n")
		records = append(records, line)
		if line[0] == 1 {
			continue
		}
		ok()
		if line[0] != 'C' {
			continue
		}
		var mode, size int
		var name string
		_, _ = fmt.Sscanf(line, "C%o %d %s", &mode, &size, &name)
		b := make([]byte, size+1)
		if _, err := io.ReadFull(rw, b); err != nil {
			break
		}
		files[name] = string(b[:size])
		ok()
	}
	_ = nc.Close()
	return records, files, wait()
}

func TestDownloads(t *testing.T) {
	st := newStage(t, account.All)
	for p, content := range map[string]string{"/a.txt": "one", "/b.txt": "", "/c.bin": "three", "/d/e": "five", "/d/sub/g": "seven", "/star*": "literal", "/{x,y}": "literal", "/{z}": "literal"} {
		_ = st.tree.MkdirAll(at(t, p).Dir().String())
		if err := st.tree.WriteFile(p, []byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		command string
		files   map[string]string
		status  int
		says    string // in one of the records
	}{
		{"scp -f a.txt", map[string]string{"a.txt": "one"}, 0, "C0644 3 a.txt"},
		{"scp -p -f a.txt", map[string]string{"a.txt": "one"}, 0, "T"},
		{"scp -f -- /a.txt b.txt", map[string]string{"a.txt": "one", "b.txt": ""}, 0, ""},
		{"scp -f *.txt", map[string]string{"a.txt": "one", "b.txt": ""}, 0, ""},
		{"scp -f '*.txt'", map[string]string{}, 1, "[not-found]"},
		{"scp -f 'star*'", map[string]string{"star*": "literal"}, 0, ""},
		{"scp -f {a,b}.txt", map[string]string{"a.txt": "one", "b.txt": ""}, 0, ""},
		{"scp -f {b,none,a}.txt", map[string]string{"a.txt": "one", "b.txt": ""}, 1, "[not-found]"},
		{"scp -r -f {a.*,d/{e,sub}}", map[string]string{"a.txt": "one", "e": "five", "g": "seven"}, 0, ""},
		{"scp -f '{a,b}.txt'", map[string]string{}, 1, "[not-found]"},
		{`scp -f \{x,y\}`, map[string]string{"{x,y}": "literal"}, 0, ""},
		{"scp -f {x,y}", map[string]string{}, 1, "/x"}, // though there is a file of that name
		{"scp -f {z}", map[string]string{"{z}": "literal"}, 0, ""},
		{"scp -f d/?", map[string]string{"e": "five"}, 0, ""},
		{"scp -f ~/a.txt", map[string]string{"a.txt": "one"}, 0, ""},
		{"scp -f d", map[string]string{}, 1, "[is-dir]"},
		{"scp -r -f d", map[string]string{"e": "five", "g": "seven"}, 0, "D0755 0 sub"},
		{"scp -f none a.txt", map[string]string{"a.txt": "one"}, 1, "[not-found]"},
		{"scp -f ../a.txt", map[string]string{"a.txt": "one"}, 0, ""},
	} {
		records, files, status := st.get(tt.command)
		if status != tt.status || !reflect.DeepEqual(files, tt.files) || !strings.Contains(strings.Join(records, "\n"), tt.says) {
			t.Errorf("%s: %q, %v, status %d; want %v, %d, %q", tt.command, records, files, status, tt.files, tt.status, tt.says)
		}
	}
}

// Links that lead back are not followed: two of them stand for 2^64 directories.
func TestLinksThatLeadBack(t *testing.T) {
	st := newStage(t, account.All)
	for p, content := range map[string]string{"/d/f": "1", "/d/sub/g": "2", "/other/h": "3"} {
		_ = st.tree.MkdirAll(at(t, p).Dir().String())
		if err := st.tree.WriteFile(p, []byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	for p, target := range map[string]string{"/d/a": ".", "/d/b": ".", "/d/sub/up": "..", "/d/beside": "../other", "/d/twice": "../other"} {
		if err := st.tree.Symlink(t.Context(), target, at(t, p)); err != nil {
			t.Fatal(err)
		}
	}
	records, files, status := st.get("scp -r -f d")
	said := strings.Join(records, "\n")
	if status != 1 || len(records) > 20 || strings.Count(said, "[too-large]") != 3 || !reflect.DeepEqual(files, map[string]string{"f": "1", "g": "2", "h": "3"}) {
		t.Errorf("%d records, status %d, %v:\n%.2000s", len(records), status, files, said)
	}
	if strings.Count(said, " h") != 2 {
		t.Errorf("a link that leads elsewhere is not followed:\n%s", said)
	}
}

// A download whose client leaves was lost, which is nobody's bug.
func TestDownloadsThatAreLeft(t *testing.T) {
	st := newStage(t, account.All)
	if err := st.tree.WriteFile("/f", make([]byte, 500_000)); err != nil {
		t.Fatal(err)
	}
	for _, bytes := range []int{0, 100_000, 500_001} { // the last one lacks its word about the end
		rw, nc, wait := st.run("scp -f f")
		_, _ = rw.WriteString("\x00")
		_ = rw.Flush()
		if line, err := rw.ReadString('\n'); err != nil || !strings.HasPrefix(line, "C") {
			t.Fatalf("%q, %v", line, err)
		}
		_, _ = rw.WriteString("\x00")
		_ = rw.Flush()
		if _, err := io.CopyN(io.Discard, rw, int64(bytes)); err != nil {
			t.Fatal(err)
		}
		_ = nc.Close()
		if status := wait(); status == 0 {
			t.Errorf("left after %d bytes: status 0", bytes)
		}
		if e := st.last(); e.Direction != event.Download || e.Whole || e.Reason != string(fault.IDDataLost) {
			t.Errorf("left after %d bytes: event %+v", bytes, e)
		}
	}
}

func at(t testing.TB, p string) vfs.Path {
	t.Helper()
	got, err := vfs.Resolve(vfs.Root, p)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// FuzzRecord holds that a record that is taken names nothing but a file of one
// directory.
func FuzzRecord(f *testing.F) {
	for _, s := range []string{"C0644 5 x", "D0755 0 d", "E", "T1 0 2 0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		r, err := parseRecord(line)
		if err != nil {
			return
		}
		if (r.kind == 'C' || r.kind == 'D') && (r.name == "" || r.name == ".." || strings.Contains(r.name, "/") || r.size < 0 || r.mode > 0o777) {
			t.Fatalf("parseRecord(%q) = %+v", line, r)
		}
	})
}

// FuzzSplit holds that the words of a line are no longer than it is, and that quoting
// them gives the same words.
func FuzzSplit(f *testing.F) {
	f.Add(`scp -f 'a b' "c\"d" e\ f`)
	f.Fuzz(func(t *testing.T, line string) {
		words, err := split(line)
		if err != nil {
			return
		}
		quoted := ""
		for _, w := range words {
			if len(w.text) != len(w.bare) {
				t.Fatalf("%q: %q has %d marks", line, w.text, len(w.bare))
			}
			quoted += " '" + strings.ReplaceAll(w.text, "'", `'\''`) + "'"
		}
		if len(quoted) > maxCommand {
			return
		}
		again, err := split(quoted)
		if err != nil || len(again) != len(words) {
			t.Fatalf("%q is %d words, quoted %q %d, %v", line, len(words), quoted, len(again), err)
		}
		for i := range words {
			if again[i].text != words[i].text {
				t.Fatalf("%q: word %d is %q, quoted %q", line, i, words[i].text, again[i].text)
			}
		}
	})
}

// FuzzBraces holds that what a line spells is bounded, and is made of letters of one of
// its words, in their order and as they were quoted; what is quoted is one name.
func FuzzBraces(f *testing.F) {
	for _, s := range []string{"a{b,c{d,e}}f", "{{{,},}", "{a},b}", "'{a,b}'{c,d}", "${a,b}{1..3}", "{,}{,}{,}{,}{,}{,}{,}{,}{,}{,}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		words, err := split(line)
		if err != nil {
			return
		}
		names, err := spell(words)
		if err != nil {
			return
		}
		if len(names) > maxBraces {
			t.Fatalf("%q spells %d names", line, len(names))
		}
		from := words
		for _, n := range names {
			for len(from) > 0 && !spells(from[0], n) {
				from = from[1:]
			}
			if len(from) == 0 {
				t.Fatalf("%q spells %q", line, n.text)
			}
		}
		for _, w := range words {
			quoted := word{w.text, make([]bool, len(w.bare))}
			if one, err := spell([]word{quoted}); err != nil || len(one) != 1 || one[0].text != w.text {
				t.Fatalf("%q in quotes spells %d names, %v", w.text, len(one), err)
			}
		}
	})
}

// spells tells whether a name is a word without some of its letters.
func spells(w, name word) bool {
	at := 0
	for i := range len(w.text) {
		if at < len(name.text) && w.text[i] == name.text[at] && w.bare[i] == name.bare[at] {
			at++
		}
	}
	return at == len(name.text)
}
