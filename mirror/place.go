package mirror

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"unicode"

	"dray/fault"
)

// A Place is a directory of this machine that receives files. No name that a
// server tells leads out of it: it is an os.Root, and CheckName is asked before.
type Place struct {
	root  *os.Root
	dir   string // as it was asked for
	umask fs.FileMode
	dirs  made
	below subPlaces

	fold        sync.Once
	insensitive bool
}

// OpenPlace opens a directory, and makes it where it is missing and make is true.
func OpenPlace(dir string, makeIt bool) (*Place, error) {
	if dir == "" {
		dir = "."
	}
	root, err := os.OpenRoot(dir)
	if errors.Is(err, fs.ErrNotExist) && makeIt {
		if err := os.MkdirAll(dir, 0o777); err != nil {
			return nil, LocalError(dir, err)
		}
		root, err = os.OpenRoot(dir)
	}
	if err != nil {
		return nil, LocalError(dir, err)
	}
	return &Place{root: root, dir: dir, umask: umask()}, nil
}

// NoPlace is a directory that is not there, for dry runs: nothing can be put there.
func NoPlace(dir string) *Place { return &Place{dir: dir} }

// Close closes the directory.
func (p *Place) Close() error {
	if p.root == nil {
		return nil
	}
	p.below.forget(nil)
	return p.root.Close()
}

// Path is a name of the place as the user would write it.
func (p *Place) Path(rel string) string { return filepath.Join(p.dir, filepath.FromSlash(rel)) }

// Stat looks at a name without following a last link.
func (p *Place) Stat(rel string) (fs.FileInfo, error) {
	if p.root == nil {
		return nil, fault.New(fault.NotFound, fault.IDNotFound, p.Path(rel))
	}
	fi, err := p.root.Lstat(filepath.FromSlash(rel))
	if err != nil {
		return nil, LocalError(p.Path(rel), err)
	}
	return fi, nil
}

func (p *Place) readlink(at string) (string, error) {
	if p.root == nil {
		return "", fs.ErrNotExist
	}
	return p.root.Readlink(at)
}

// Mkdir makes a directory and those above it.
func (p *Place) Mkdir(rel string) error {
	if rel == "." || rel == "" || p.dirs.has(rel) {
		return nil
	}
	if err := p.root.MkdirAll(filepath.FromSlash(rel), 0o777); err != nil {
		return LocalError(p.Path(rel), err)
	}
	p.dirs.add(rel)
	return nil
}

// LocalError is the failure of a file of this machine, which has that name here: id
// not-found where there is none, no-space where it has no room, else local-file. What
// has an id keeps it.
func LocalError(name string, err error) error {
	var fe *fault.Error
	if errors.As(err, &fe) {
		return err
	}
	why := err
	var pe *fs.PathError
	var le *os.LinkError
	switch {
	case errors.As(err, &pe):
		why = pe.Err
	case errors.As(err, &le):
		why = le.Err
	}
	switch kind := fault.KindOf(err); kind {
	case fault.NoSpace, fault.OverQuota:
		return fault.Because(err, kind, fault.IDNoSpace, name, "on this machine")
	case fault.NotFound:
		fe := fault.Because(err, kind, fault.IDNotFound, name)
		fe.Do = []string{"check the name: it was looked for on this machine"}
		return fe
	default:
		return fault.Because(err, kind, fault.IDLocal, name, why.Error())
	}
}

// CheckName tells whether a name that a server has told may be one file or
// directory below a place: id unsafe-name where it is empty, "." or "..", holds a
// separator, a control character or what is no file name on this system.
func CheckName(name string) error {
	bad := name == "" || name == "." || name == ".." || len(name) > 255 || strings.ContainsAny(name, "/\x00") ||
		strings.ContainsFunc(name, unicode.IsControl)
	if runtime.GOOS == "windows" {
		bad = bad || strings.ContainsAny(name, `\:*?"<>|`) || strings.TrimRight(name, ". ") != name || !filepath.IsLocal(name)
	}
	if bad {
		return fault.New(fault.BadName, fault.IDUnsafeName, fmt.Sprintf("%q", name))
	}
	return nil
}

// PartName is the name of the unfinished file beside the path p, on either side.
// A name that would be too long gives way to the beginning and a hash of it.
func PartName(p, suffix string) string {
	dir, base := path.Split(p)
	const most = 255 - len(".json~")
	if len(base)+len(suffix) > most {
		h := fnv.New64a()
		_, _ = h.Write([]byte(base))
		tail := fmt.Sprintf("~%016x", h.Sum64())
		base = strings.ToValidUTF8(base[:max(min(most-len(suffix)-len(tail), len(base)), 0)], "") + tail
	}
	return dir + base + suffix
}

// unfinished tells whether a name is that of a file that is not whole, or of a note
// about one. fold compares as a place does that takes a and A for one.
func unfinished(name, suffix string, fold bool) bool {
	if fold {
		name, suffix = strings.ToLower(name), strings.ToLower(suffix)
	}
	return strings.HasSuffix(name, suffix) || strings.HasSuffix(name, suffix+".json") || strings.HasSuffix(name, suffix+".json~")
}

// made remembers directories that are known to exist.
type made struct {
	mu   sync.Mutex
	dirs map[string]bool
}

func (m *made) has(dir string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.dirs[dir]
}

func (m *made) forget(dir string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.dirs, dir)
}

func (m *made) add(dir string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dirs == nil {
		m.dirs = map[string]bool{}
	}
	m.dirs[dir] = true
}
