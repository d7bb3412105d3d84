package mirror

import (
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
)

// mostSubPlaces is how many directories that nobody uses stay open.
const mostSubPlaces = 32

// subPlaces are directories of a place that are open: a file has about eight calls by
// its name, and each would walk there from the top.
type subPlaces struct {
	mu   sync.Mutex
	open map[string]*subPlace
	idle []*subPlace // the one that was left last behind
}

// A subPlace is one of them.
type subPlace struct {
	Place
	rel   string
	is    fs.FileInfo
	users int
	gone  bool // it is closed when nobody uses it
}

// enter is the directory rel as a place of its own, nil where it can't be opened or is
// the place itself. It ends by leave.
func (p *Place) enter(rel string) *subPlace {
	if p.root == nil || rel == "" || rel == "." || runtime.GOOS == "windows" { // there an open directory can't be removed
		return nil
	}
	b := &p.below
	b.mu.Lock()
	defer b.mu.Unlock()
	if s := b.open[rel]; s != nil {
		if s.users == 0 {
			b.unlist(s)
		}
		s.users++
		return s
	}
	root, err := p.root.OpenRoot(filepath.FromSlash(rel))
	if err != nil {
		return nil
	}
	is, err := root.Stat(".")
	if err != nil {
		_ = root.Close()
		return nil
	}
	s := &subPlace{Place: Place{root: root, dir: p.Path(rel), umask: p.umask}, rel: rel, is: is, users: 1}
	if b.open == nil {
		b.open = map[string]*subPlace{}
	}
	b.open[rel] = s
	return s
}

// leave is called as often as enter.
func (p *Place) leave(s *subPlace) {
	b := &p.below
	b.mu.Lock()
	defer b.mu.Unlock()
	if s.users--; s.users > 0 {
		return
	}
	if s.gone {
		_ = s.root.Close()
		return
	}
	if b.idle = append(b.idle, s); len(b.idle) > mostSubPlaces {
		b.drop(b.idle[0])
	}
}

// forget closes a directory when nobody uses it. nil: all.
func (b *subPlaces) forget(one *subPlace) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.open {
		if one == nil || s == one {
			b.drop(s)
		}
	}
}

// drop takes a directory off the list. b.mu is held.
func (b *subPlaces) drop(s *subPlace) {
	delete(b.open, s.rel)
	s.gone = true
	if s.users == 0 {
		b.unlist(s)
		_ = s.root.Close()
	}
}

// unlist takes a directory out of the idle ones. b.mu is held.
func (b *subPlaces) unlist(s *subPlace) {
	for i := range b.idle {
		if b.idle[i] == s {
			b.idle = append(b.idle[:i], b.idle[i+1:]...)
			return
		}
	}
}

// has tells whether the directory is at its name in the place still.
func (p *Place) has(s *subPlace) bool {
	there, err := p.root.Stat(filepath.FromSlash(s.rel))
	return err == nil && os.SameFile(there, s.is)
}
