package vfs

import (
	"path"
	"strings"

	"dray/fault"
)

// Limits of a path, in bytes.
const (
	MaxPath = 4096
	MaxName = 255
)

// Hidden is how the names begin that a tree keeps for itself: uploads that are
// not finished and notes beside files. No Path holds such a name, no listing
// shows one.
const Hidden = ".dray-"

// A Path is a cleaned absolute path inside a tree. The only makers are Root,
// Resolve and the methods of Path, so whoever holds one need not ask whether it
// was cleaned: it begins with a slash, has no empty, "." or ".." part, no NUL,
// CR or LF, no reserved name, and keeps the limits above. Bytes are kept as
// they came, UTF-8 or not. The zero Path is the root.
type Path struct{ s string }

// Root is "/".
var Root = Path{}

// Resolve reads what a peer wrote, an absolute path or one relative to cwd.
// An empty arg is cwd. ".." at the root stays there, as chroot has it. Errors
// are of kind fault.BadName.
func Resolve(cwd Path, arg string) (Path, error) {
	if strings.ContainsAny(arg, "\x00\r\n") {
		return Path{}, fault.New(fault.BadName, fault.IDBadName, "it contains a control character that cannot be in a name (NUL, CR or LF)")
	}
	if len(arg) > MaxPath {
		return Path{}, fault.New(fault.BadName, fault.IDBadName, "a path has at most 4096 bytes")
	}
	if !strings.HasPrefix(arg, "/") {
		arg = cwd.s + "/" + arg
	}
	s := path.Clean(arg)
	if s == "/" {
		return Root, nil
	}
	if len(s) > MaxPath {
		return Path{}, fault.New(fault.BadName, fault.IDBadName, "a path has at most 4096 bytes")
	}
	for part := range strings.SplitSeq(s[1:], "/") {
		if len(part) > MaxName {
			return Path{}, fault.New(fault.BadName, fault.IDBadName, "a name has at most 255 bytes")
		}
		if strings.HasPrefix(part, Hidden) {
			return Path{}, fault.New(fault.BadName, fault.IDBadName, `names that begin with "`+Hidden+`" are kept for unfinished uploads`)
		}
	}
	return Path{s}, nil
}

// MeansDir tells whether what a peer wrote can be a directory and nothing else: its
// last part is empty, "." or "..". No Path tells that any more.
func MeansDir(arg string) bool {
	switch arg[strings.LastIndexByte(arg, '/')+1:] {
	case "", ".", "..":
		return true
	}
	return false
}

// String is the path as a peer would write it; "/" for the root.
func (p Path) String() string {
	if p.s == "" {
		return "/"
	}
	return p.s
}

// IsRoot tells whether p is "/".
func (p Path) IsRoot() bool { return p.s == "" }

// Base is the last part, "/" for the root.
func (p Path) Base() string {
	if p.s == "" {
		return "/"
	}
	return p.s[strings.LastIndexByte(p.s, '/')+1:]
}

// Dir is the path without its last part; the root's is the root.
func (p Path) Dir() Path {
	if p.s == "" {
		return p
	}
	return Path{p.s[:strings.LastIndexByte(p.s, '/')]}
}

// Rel is the path without its leading slash, "." for the root: the form that
// calls relative to a directory handle take.
func (p Path) Rel() string {
	if p.s == "" {
		return "."
	}
	return p.s[1:]
}

// Join is Resolve(p, name) for one name that a tree handed out.
func (p Path) Join(name string) (Path, error) {
	if name == "" || name == "." || name == ".." || strings.Contains(name, "/") {
		return Path{}, fault.New(fault.BadName, fault.IDBadName, "a single name is not empty, has no slash, and is neither . nor ..")
	}
	return Resolve(p, "./"+name)
}

// Under tells whether p is dir or below it.
func (p Path) Under(dir Path) bool {
	return p.s == dir.s || strings.HasPrefix(p.s, dir.s+"/")
}

// Below is p as a tree sees it whose root is dir; false when p is not under dir.
func (p Path) Below(dir Path) (Path, bool) {
	if !p.Under(dir) {
		return Path{}, false
	}
	return Path{p.s[len(dir.s):]}, true
}

// CheckTarget tells whether a symbolic link at p may hold target: kind Denied
// when it is absolute or its dots lead out of the tree, BadName when no Path can
// have such a part or when it is empty. It reads the letters only. What links on
// its way make of the target is the tree's to watch when it is followed.
func (p Path) CheckTarget(target string) error {
	if target == "" {
		return fault.New(fault.BadName, fault.IDBadName, "a link needs a target")
	}
	if strings.HasPrefix(target, "/") {
		return fault.New(fault.Denied, fault.IDPerm, "make a link with an absolute target")
	}
	if _, err := Resolve(p.Dir(), target); err != nil {
		return err
	}
	depth := strings.Count(p.Dir().s, "/")
	for part := range strings.SplitSeq(target, "/") {
		switch {
		case part == "..":
			depth--
		case part != "" && part != ".":
			depth++
		}
		if depth < 0 {
			return fault.New(fault.Denied, fault.IDPerm, "make a link that leads out of this tree")
		}
		if strings.HasPrefix(part, Hidden) { // also one that ".." takes back
			return fault.New(fault.BadName, fault.IDBadName, `names that begin with "`+Hidden+`" are kept for unfinished uploads`)
		}
	}
	return nil
}
