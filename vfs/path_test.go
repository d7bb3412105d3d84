package vfs

import (
	"io/fs"
	"path"
	"strings"
	"testing"
	"time"

	"dray/fault"
)

func resolve(t testing.TB, s string) Path {
	t.Helper()
	p, err := Resolve(Root, s)
	if err != nil {
		t.Fatalf("Resolve(/, %q): %v", s, err)
	}
	return p
}

func TestResolve(t *testing.T) {
	long := strings.Repeat("n", MaxName)
	deep := strings.Repeat("/"+long, MaxPath/(MaxName+1)) // exactly MaxPath bytes
	for _, row := range []struct{ name, cwd, arg, want string }{
		{"nothing is the current directory", "/a/b", "", "/a/b"},
		{"nothing at the root is the root", "/", "", "/"},
		{"a dot is the current directory", "/a/b", ".", "/a/b"},
		{"a name is below the current directory", "/a", "b", "/a/b"},
		{"a name at the root", "/", "b", "/b"},
		{"a slash makes it absolute", "/a", "/b", "/b"},
		{"a slash alone is the root", "/a", "/", "/"},
		{"two dots go up", "/a/b", "..", "/a"},
		{"two dots go up to the root", "/a", "..", "/"},
		{"two dots at the root stay there", "/", "..", "/"},
		{"many dots at the root stay there", "/a", "../../../../etc", "/etc"},
		{"many dots in an absolute path stay inside", "/a", "/../../etc", "/etc"},
		{"dots in the middle go away", "/", "a/./b/../c", "/a/c"},
		{"slashes at the end and in the middle go away", "/", "//a///b//", "/a/b"},
		{"three dots are a name", "/", "...", "/..."},
		{"a name may begin with dots", "/", "..a/.b", "/..a/.b"},
		{"a space is part of the name", "/", " a ", "/ a "},
		{"a backslash is part of the name", "/", `a\..\b`, `/a\..\b`},
		{"other control characters are kept", "/", "a\tb\x7f\x1b", "/a\tb\x7f\x1b"},
		{"a tilde is a name", "/a", "~", "/a/~"},
		{"bytes that are not UTF-8 are kept", "/", "caf\xe9/\xff", "/caf\xe9/\xff"},
		{"composed and decomposed letters are not the same", "/", "e\u0301\u00e9", "/e\u0301\u00e9"},
		{"a name may have 255 bytes", "/", long, "/" + long},
		{"a path may have 4096 bytes", "/", deep, deep},
		{"a name like a hidden one", "/", ".dray", "/.dray"},
		{"a name that holds a hidden one", "/", "x" + Hidden + "1", "/x" + Hidden + "1"},
		{"a hidden name in other letters", "/", strings.ToUpper(Hidden) + "1", "/" + strings.ToUpper(Hidden) + "1"},
		{"what goes away may be long", "/", long + "n/../a", "/a"},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, err := Resolve(resolve(t, row.cwd), row.arg)
			if got.String() != row.want || err != nil {
				t.Errorf("Resolve(%q, %q) = %q, %v; want %q", row.cwd, row.arg, got, err, row.want)
			}
		})
	}
}

func TestMeansDir(t *testing.T) {
	for arg, want := range map[string]bool{
		"": true, "/": true, ".": true, "..": true, "a/": true, "a//": true, "a/.": true, "/a/..": true, "a": false, "/a": false, "a.": false, "a/..b": false, "/.a": false,
	} {
		if got := MeansDir(arg); got != want {
			t.Errorf("MeansDir(%q) = %v; want %v", arg, got, want)
		}
	}
}

func TestResolveRefuses(t *testing.T) {
	long := strings.Repeat("n", MaxName)
	deep := strings.Repeat("/"+long, MaxPath/(MaxName+1))
	for _, row := range []struct{ name, cwd, arg string }{
		{"NUL", "/", "a\x00b"},
		{"CR", "/", "a\rb"},
		{"LF", "/", "a\nb"},
		{"a control character in what goes away", "/", "a\n/../b"},
		{"a control character alone", "/", "\x00"},
		{"a name of 256 bytes", "/", long + "n"},
		{"a name of 256 bytes in the middle", "/", "a/" + long + "n/b"},
		{"a path of more than 4096 bytes", "/", deep + "/a"},
		{"a relative path that gets more than 4096 bytes", deep, "a"},
		{"more than 4096 bytes to read", "/", strings.Repeat("/", MaxPath+1)},
		{"a hidden name", "/", Hidden + "1"},
		{"the beginning of hidden names", "/", Hidden},
		{"a hidden directory", "/a", "../" + Hidden + "x/b"},
		{"a hidden name in an absolute path", "/a", "/b/./" + Hidden + "1/"},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, err := Resolve(resolve(t, row.cwd), row.arg)
			if fault.KindOf(err) != fault.BadName || err == nil || got != Root {
				t.Errorf("Resolve(%q, %q) = %q, %v; want kind BadName and the zero Path", row.cwd, row.arg, got, err)
			}
		})
	}
}

func TestPathParts(t *testing.T) {
	for _, row := range []struct{ path, dir, base, rel string }{
		{"/", "/", "/", "."},
		{"/a", "/", "a", "a"},
		{"/a/b", "/a", "b", "a/b"},
		{"/a/b/c d", "/a/b", "c d", "a/b/c d"},
	} {
		p := resolve(t, row.path)
		if p.String() != row.path || p.Dir().String() != row.dir || p.Base() != row.base || p.Rel() != row.rel {
			t.Errorf("%s: String %q, Dir %q, Base %q, Rel %q; want dir %q, base %q, rel %q", row.path, p, p.Dir(), p.Base(), p.Rel(), row.dir, row.base, row.rel)
		}
		if p.IsRoot() != (row.path == "/") {
			t.Errorf("%s: IsRoot() = %v", row.path, p.IsRoot())
		}
	}
	var zero Path
	if zero != Root || zero != resolve(t, "/a/..") || !zero.IsRoot() {
		t.Errorf("the zero Path, Root and a resolved root are not the same")
	}
}

func TestUnder(t *testing.T) {
	for _, row := range []struct {
		path, dir string
		want      bool
	}{
		{"/", "/", true},
		{"/a", "/", true},
		{"/a", "/a", true},
		{"/a/b/c", "/a", true},
		{"/a/b/c", "/a/b", true},
		{"/ab", "/a", false},
		{"/a", "/a/b", false},
		{"/", "/a", false},
		{"/b/a", "/a", false},
	} {
		if got := resolve(t, row.path).Under(resolve(t, row.dir)); got != row.want {
			t.Errorf("%s under %s = %v; want %v", row.path, row.dir, got, row.want)
		}
	}
}

func TestBelow(t *testing.T) {
	for _, row := range []struct{ name, path, dir, want string }{
		{"a path below a directory", "/a/b/c", "/a", "/b/c"},
		{"the directory itself is the root", "/a/b", "/a/b", "/"},
		{"all is below the root", "/a/b", "/", "/a/b"},
		{"the root is below itself", "/", "/", "/"},
		{"a name that begins alike is not below", "/ab/c", "/a", ""},
		{"a directory is not below what it holds", "/a", "/a/b", ""},
		{"the root is below nothing else", "/", "/a", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			p, dir := resolve(t, row.path), resolve(t, row.dir)
			got, ok := p.Below(dir)
			if ok != (row.want != "") || (ok && got != resolve(t, row.want)) {
				t.Errorf("%s.Below(%s) = %s, %v; want %q", p, dir, got, ok, row.want)
			}
		})
	}
}

func TestCheckTarget(t *testing.T) {
	const fine = fault.Kind(-1)
	for _, row := range []struct {
		name, link, target string
		want               fault.Kind
	}{
		{"a name beside the link", "/d/l", "f", fine},
		{"the directory of the link", "/d/l", ".", fine},
		{"up to the root", "/d/e/l", "../..", fine},
		{"up and down again", "/d/l", "../e/./f//g/", fine},
		{"down and up again", "/l", "d/../f", fine},
		{"bytes that are not UTF-8", "/l", "caf\xe9", fine},
		{"a name that begins with dots", "/l", "..f", fine},
		{"nothing", "/l", "", fault.BadName},
		{"an absolute target", "/d/l", "/d/f", fault.Denied},
		{"the root", "/d/l", "/", fault.Denied},
		{"above the root", "/l", "..", fault.Denied},
		{"above the root from a directory", "/d/l", "../../f", fault.Denied},
		{"above the root by a way round", "/d/l", "e/../../../d/f", fault.Denied},
		{"above the root and back to the same place", "/d/l", "../../d/f", fault.Denied},
		{"a hidden name", "/l", "d/" + Hidden + "1", fault.BadName},
		{"a hidden name that dots take back", "/l", Hidden + "1/../f", fault.BadName},
		{"a NUL", "/l", "a\x00b", fault.BadName},
		{"a line end", "/l", "a\r\nb", fault.BadName},
		{"a name that is too long", "/l", strings.Repeat("n", MaxName+1), fault.BadName},
		{"a path that is too long", "/l", strings.Repeat("a/", MaxPath), fault.BadName},
	} {
		t.Run(row.name, func(t *testing.T) {
			err := resolve(t, row.link).CheckTarget(row.target)
			if (err == nil) != (row.want == fine) || (err != nil && fault.KindOf(err) != row.want) {
				t.Errorf("%s.CheckTarget(%q) = %v; want kind %d", row.link, row.target, err, row.want)
			}
		})
	}
}

func TestJoin(t *testing.T) {
	for _, row := range []struct{ dir, name, want string }{
		{"/", "a", "/a"},
		{"/a", "b c", "/a/b c"},
		{"/a", "...", "/a/..."},
		{"/a", "-", "/a/-"},
		{"/a", "\xff", "/a/\xff"},
	} {
		got, err := resolve(t, row.dir).Join(row.name)
		if got.String() != row.want || err != nil {
			t.Errorf("%s.Join(%q) = %q, %v; want %q", row.dir, row.name, got, err, row.want)
		}
	}
	for _, name := range []string{"", "/", "a/b", "/a", "a/", "a\x00", "a\n", Hidden + "1", strings.Repeat("n", MaxName+1)} {
		if got, err := resolve(t, "/d").Join(name); fault.KindOf(err) != fault.BadName || err == nil {
			t.Errorf("Join(%q) = %q, %v; want kind BadName", name, got, err)
		}
	}
}

type bare struct{ sys any }

func (bare) Name() string       { return "" }
func (bare) Size() int64        { return 0 }
func (bare) Mode() fs.FileMode  { return 0 }
func (bare) ModTime() time.Time { return time.Time{} }
func (bare) IsDir() bool        { return false }
func (b bare) Sys() any         { return b.sys }

func TestAttrOf(t *testing.T) {
	want := Attr{Links: 2, UID: 3, GID: 4, Dev: 5, Ino: 6}
	if got := AttrOf(bare{&want}); got != want {
		t.Errorf("AttrOf = %+v; want %+v", got, want)
	}
	for _, sys := range []any{nil, 7, want} {
		if got := AttrOf(bare{sys}); got != (Attr{}) {
			t.Errorf("AttrOf of a FileInfo that carries a %T = %+v; want the zero Attr", sys, got)
		}
	}
}

// FuzzResolve checks what the doc of Path promises, of any path that comes out
// of Resolve.
func FuzzResolve(f *testing.F) {
	for _, s := range []string{"", "/", ".", "..", "a", "/a/b/", "a/../../b", "//a", "a\x00", "a\r\nb", Hidden + "1", "x/" + Hidden, "caf\xe9", strings.Repeat("n", 256), strings.Repeat("a/", 2048)} {
		f.Add("/d/e", s)
		f.Add(s, "../x")
	}
	f.Fuzz(func(t *testing.T, from, arg string) {
		cwd, err := Resolve(Root, from)
		if err != nil {
			cwd = Root
		}
		p, err := Resolve(cwd, arg)
		if err != nil {
			if fault.KindOf(err) != fault.BadName || p != Root {
				t.Fatalf("Resolve(%q, %q) = %q, %v; want kind BadName and the zero Path", cwd, arg, p, err)
			}
			return
		}
		s := p.String()
		want := path.Clean("/" + arg)
		if !strings.HasPrefix(arg, "/") {
			want = path.Clean(cwd.String() + "/" + arg)
		}
		if s != want {
			t.Fatalf("Resolve(%q, %q) = %q; want %q", cwd, arg, s, want)
		}
		if s[0] != '/' || len(s) > MaxPath || strings.ContainsAny(s, "\x00\r\n") {
			t.Fatalf("Resolve(%q, %q) = %q", cwd, arg, s)
		}
		if p.IsRoot() != (s == "/") || p.IsRoot() != (p == Root) || (p.Rel() == ".") != p.IsRoot() {
			t.Fatalf("%q: IsRoot() = %v, Rel() = %q", s, p.IsRoot(), p.Rel())
		}
		for _, cwd := range []Path{cwd, Root, p} {
			if again, err := Resolve(cwd, s); again != p || err != nil {
				t.Fatalf("Resolve(%q, %q) = %q, %v; want the same path", cwd, s, again, err)
			}
		}
		if again, err := Resolve(Root, p.Rel()); again != p || err != nil {
			t.Fatalf("Resolve(/, %q) = %q, %v; want %q", p.Rel(), again, err, s)
		}
		if !p.Under(Root) || !p.Under(p) || !p.Under(p.Dir()) || (!p.IsRoot() && p.Dir().Under(p)) {
			t.Fatalf("%q is not where it is", s)
		}
		if p.IsRoot() {
			return
		}
		for part := range strings.SplitSeq(s[1:], "/") {
			if part == "" || part == "." || part == ".." || len(part) > MaxName || strings.HasPrefix(part, Hidden) {
				t.Fatalf("Resolve(%q, %q) = %q, with the part %q", cwd, arg, s, part)
			}
		}
		if again, err := p.Dir().Join(p.Base()); again != p || err != nil {
			t.Fatalf("%q.Join(%q) = %q, %v; want %q", p.Dir(), p.Base(), again, err, s)
		}
	})
}
