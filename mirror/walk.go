package mirror

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"unicode"

	"dray/fault"
	"dray/remote"
)

// maxDepth is how deep a tree may be: a server may answer for directories that
// do not end.
const maxDepth = 200

// A Filter tells whether a name below the top of a walk is to be transferred; rel is
// its path below the top, with slashes. nil lets everything pass.
type Filter func(rel string, e *remote.Entry) bool

// A walk goes through a tree, several directories at a time.
type walk struct {
	run   *Run
	mu    sync.Mutex
	cond  sync.Cond
	dirs  []walked
	width int
	busy  int
}

// A walked is a directory that is still to be listed.
type walked struct {
	rel   string // below the top, "" for the top
	depth int
	fresh bool // the other side has nothing in it
	way   *way
}

// A way is a directory of the source and those above it, as far as they are known, so
// that a link back to one of them is seen.
type way struct {
	up    *way
	real  string      // on the server: the path, links resolved as far as they are told
	fi    fs.FileInfo // on this machine
	links int         // that were followed
}

// maxLinks is how many links are followed to get to a directory; one that leads nobody
// knows where counts twice.
const maxLinks = 8

// has tells whether the way has been at a place.
func (w *way) has(there *way) bool {
	if there.links > maxLinks {
		return true
	}
	for ; w != nil; w = w.up {
		if w.fi != nil && there.fi != nil && os.SameFile(w.fi, there.fi) || w.real != "" && w.real == there.real {
			return true
		}
	}
	return false
}

const whyLoop = "the link leads back to a directory that it is in"

// followed is the Target of an entry that stands for what a link leads to, where nobody
// tells what that is.
const followed = "?"

// each lists directories by several goroutines until none is left. one adds those
// that it finds.
func (r *Run) each(width int, one func(w *walk, d walked)) {
	w := &walk{run: r, width: width, dirs: []walked{{}}}
	w.cond.L = &w.mu
	stop := context.AfterFunc(r.ctx, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.cond.Broadcast()
	})
	defer stop()
	var all sync.WaitGroup
	for range width {
		all.Go(func() {
			for {
				w.mu.Lock()
				for len(w.dirs) == 0 && w.busy > 0 && r.ctx.Err() == nil {
					w.cond.Wait()
				}
				if len(w.dirs) == 0 || r.ctx.Err() != nil {
					w.cond.Broadcast()
					w.mu.Unlock()
					return
				}
				d := w.dirs[len(w.dirs)-1] // deep first: fewer wait
				w.dirs = w.dirs[:len(w.dirs)-1]
				w.busy++
				w.mu.Unlock()
				one(w, d)
				w.mu.Lock()
				w.busy--
				w.cond.Broadcast()
				w.mu.Unlock()
			}
		})
	}
	all.Wait()
}

func (w *walk) add(d walked) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dirs = append(w.dirs, d)
	w.cond.Broadcast()
}

// A Tree is a directory to be transferred with all that is in it.
type Tree struct {
	Path   string // on the server
	URL    string // of that, without a password
	Place  *Place // of a download
	Name   string // in the place, "" for its top
	Dir    string // of an upload: on this machine
	Filter Filter
	// Else is asked when the top can't be listed, whether it has settled what is to be
	// done with it, because it is no directory; nil: nobody is.
	Else func() bool
}

// DownloadTree queues all files below a directory of the server and makes the
// directories. It returns when all is queued.
func (r *Run) DownloadTree(t Tree) {
	r.each(r.listWidth(), func(w *walk, d walked) {
		if d.way == nil {
			d.way = &way{real: path.Clean(t.Path)}
		}
		if err := r.receiveDir(w, &t, d); err != nil {
			r.Fail(joinURL(t.URL, d.rel), t.Place.Path(path.Join(t.Name, d.rel)), err)
		}
	})
}

// listWidth is how many directories are listed at once.
func (r *Run) listWidth() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return min(max(r.tree.Width(len(r.queue)+r.running+8), 1), 8)
}

func (r *Run) receiveDir(w *walk, t *Tree, d walked) error {
	if d.depth > maxDepth {
		return fault.New(fault.BadName, fault.IDBadName, joinURL(t.URL, d.rel))
	}
	entries, err := r.list(below(t.Path, d.rel))
	if err != nil && len(entries) == 0 {
		if d.rel == "" && t.Else != nil && t.Else() {
			return nil
		}
		return err
	}
	dir := path.Join(t.Name, d.rel)
	if !r.opt.DryRun {
		if made := t.Place.Mkdir(dir); made != nil {
			return made
		}
	} else if fi, stat := t.Place.Stat(cmp.Or(dir, ".")); stat == nil && !fi.IsDir() && fi.Mode().Type() != fs.ModeSymlink {
		return fault.New(fault.NotDir, fault.IDLocal, t.Place.Path(dir), "it is no directory")
	}
	seen := map[string]string{}
	folds := r.folds(t.Place)
	for i := range entries {
		e := &entries[i]
		rel := path.Join(d.rel, e.Name)
		if bad := CheckName(e.Name); bad != nil {
			r.Fail(joinURL(t.URL, d.rel), t.Place.Path(dir), bad)
			continue
		}
		key := e.Name
		if folds {
			key = strings.ToLower(key)
		}
		other, twice := seen[key]
		switch {
		case twice && other == e.Name:
			continue
		case twice:
			r.Fail(joinURL(t.URL, rel), t.Place.Path(path.Join(t.Name, rel)), fault.New(fault.Exists, fault.IDNameClash, e.Name, other))
			continue
		}
		seen[key] = e.Name
		r.receiveEntry(w, t, d, rel, e)
	}
	return err
}

// below is a path of the server below dir, "" dir itself.
func below(dir, rel string) string {
	if rel == "" {
		return dir
	}
	return remote.Join(dir, rel)
}

// receiveEntry queues one name of a directory.
func (r *Run) receiveEntry(w *walk, t *Tree, d walked, rel string, e *remote.Entry) {
	url, p := joinURL(t.URL, rel), remote.Join(t.Path, rel)
	name := path.Join(t.Name, rel)
	passes := func() bool { return t.Filter == nil || t.Filter(rel, e) }
	if e.Is(typed) && !passes() {
		return
	}
	way := &way{up: d.way, real: path.Join(d.way.real, e.Name), links: d.way.links}
	link := e.Is(typed) && e.Mode.Type() == fs.ModeSymlink && r.opt.Follow
	if !e.Is(typed) || link {
		own := *e
		var there remote.Entry
		err := r.persist(url, func() (err error) {
			there, err = r.tree.Stat(r.ctx, p)
			return err
		})
		if err != nil {
			r.Fail(url, t.Place.Path(name), err)
			return
		}
		there.Name = own.Name
		e = &there
		if !passes() {
			return
		}
		if link && e.Mode.IsDir() {
			r.lead(r.tree, way, d.way.real, p, own.Target)
		}
	}
	switch {
	case e.Mode.IsDir() && link && d.way.has(way):
		r.Skip(url, t.Place.Path(name), -1, whyLoop)
	case e.Mode.IsDir():
		w.add(walked{rel, d.depth + 1, false, way})
	case unfinished(e.Name, r.opt.Suffix, r.folds(t.Place)):
		r.Skip(url, t.Place.Path(name), e.Size, "it is an upload that is not finished")
	case e.Mode.Type() == fs.ModeSymlink:
		r.receiveLink(t, rel, url, p, e)
	case e.Mode.Type() != 0:
		r.Skip(url, t.Place.Path(name), -1, "it is no regular file")
	default:
		r.fetch(Download{Path: p, URL: url, Entry: *e, Place: t.Place, Name: name})
	}
}

// lead finds out where a link of a server to a directory leads, which is in dir.
func (r *Run) lead(tree remote.Tree, w *way, dir, p, target string) {
	if target == "" || target == followed {
		target, _ = tree.Readlink(r.ctx, p)
	}
	switch {
	case target == "":
		w.links += 2
	case path.IsAbs(target):
		w.links++
		w.real = path.Clean(target)
	default:
		w.links++
		w.real = path.Join(dir, target)
	}
}

// stays tells whether a link at rel that has this target leads to something below the
// top. "" does not, nor a target that goes up behind the name of what may be a link.
func stays(rel, target string) bool {
	if target == "" || path.IsAbs(target) || strings.ContainsFunc(target, unicode.IsControl) || !filepath.IsLocal(filepath.FromSlash(path.Join(path.Dir(rel), target))) {
		return false
	}
	down := false
	for part := range strings.SplitSeq(target, "/") {
		if part == ".." && down {
			return false
		}
		down = down || part != ".." && part != "." && part != ""
	}
	return true
}

// receiveLink makes a symbolic link as the server has it, when it stays in the tree.
func (r *Run) receiveLink(t *Tree, rel, url, p string, e *remote.Entry) {
	name := path.Join(t.Name, rel)
	target := e.Target
	if target == "" {
		err := r.persist(url, func() (err error) {
			target, err = r.tree.Readlink(r.ctx, p)
			return err
		})
		if err != nil {
			r.Skip(url, t.Place.Path(name), -1, "nobody knows where this link leads")
			return
		}
	}
	out := fmt.Sprintf("the link leads out of the tree, to %q", target)
	if !stays(rel, target) {
		r.Skip(url, t.Place.Path(name), -1, out)
		return
	}
	at := filepath.FromSlash(name)
	if have, err := t.Place.readlink(at); err == nil {
		if have == filepath.FromSlash(target) || r.opt.Conflict == Skip {
			r.Skip(url, t.Place.Path(name), -1, "the same is there")
			return
		}
		if !r.opt.DryRun {
			_ = t.Place.root.Remove(at)
		}
	}
	if r.opt.DryRun {
		r.say(Event{What: Planned, From: url, To: t.Place.Path(name), Size: -1, Why: target})
		return
	}
	if err := t.Place.root.Symlink(filepath.FromSlash(target), at); err != nil {
		r.Fail(url, t.Place.Path(name), LocalError(t.Place.Path(name), err))
		return
	}
	if _, err := t.Place.root.Stat(at); err != nil && !errors.Is(err, fs.ErrNotExist) { // by way of other links
		_ = t.Place.root.Remove(at)
		r.Skip(url, t.Place.Path(name), -1, out)
		return
	}
	r.say(Event{What: Linked, From: url, To: t.Place.Path(name), Size: -1, Why: target})
}

// list reads a whole directory before anything is done with it: the connection that
// lists must be free for what is found. It is tried again where that may help.
func (r *Run) list(dir string) (out []remote.Entry, err error) {
	err = r.persist(dir, func() error {
		out = out[:0]
		for e, err := range r.tree.List(r.ctx, dir) {
			switch {
			case err != nil:
				return err
			case len(out) == maxEntries:
				return fault.New(fault.Unsupported, fault.IDUnsupported, fmt.Sprintf("the directory %s has more than %d entries", dir, maxEntries))
			}
			out = append(out, e)
		}
		return nil
	})
	return out, err
}

// maxEntries bounds what a server may tell of one directory.
const maxEntries = 4 << 20

// UploadTree queues all files below a directory of this machine and makes the
// directories on the server. It returns when all is queued.
func (r *Run) UploadTree(t Tree) {
	top := &way{}
	if fi, err := os.Stat(t.Dir); err == nil {
		top.fi = fi
	}
	r.each(r.listWidth(), func(w *walk, d walked) {
		if d.way == nil {
			d.way = top
		}
		if err := r.sendDir(w, &t, d); err != nil {
			r.Fail(filepath.Join(t.Dir, filepath.FromSlash(d.rel)), joinURL(t.URL, d.rel), err)
		}
	})
}

func (r *Run) sendDir(w *walk, t *Tree, d walked) error {
	dir := filepath.Join(t.Dir, filepath.FromSlash(d.rel))
	if d.depth > maxDepth {
		return fault.New(fault.BadName, fault.IDLocal, dir, "the directories are too deep")
	}
	entries, broken := os.ReadDir(dir)
	if broken != nil && len(entries) == 0 {
		return LocalError(dir, broken)
	}
	there := below(t.Path, d.rel)
	fresh := d.fresh
	if !r.opt.DryRun {
		var err error
		if fresh, err = r.makeDir(there, joinURL(t.URL, d.rel)); err != nil {
			return err
		}
	}
	for _, de := range entries {
		rel := path.Join(d.rel, de.Name())
		r.sendEntry(w, t, d, rel, de, fresh)
	}
	if broken != nil {
		return LocalError(dir, broken)
	}
	return nil
}

func (r *Run) sendEntry(w *walk, t *Tree, d walked, rel string, de fs.DirEntry, fresh bool) {
	file := filepath.Join(t.Dir, filepath.FromSlash(rel))
	url := joinURL(t.URL, rel)
	fi, err := de.Info()
	link := err == nil && fi.Mode().Type() == fs.ModeSymlink && r.opt.Follow
	if link {
		fi, err = os.Stat(file)
	}
	if errors.Is(err, fs.ErrNotExist) && fi == nil {
		if _, still := os.Lstat(file); still != nil {
			return // it has gone since
		}
	}
	if err != nil {
		r.Fail(file, url, LocalError(file, err))
		return
	}
	if t.Filter != nil {
		e := LocalEntry(de.Name(), fi)
		if !t.Filter(rel, &e) {
			return
		}
	}
	way := &way{up: d.way, fi: fi, links: d.way.links}
	if link {
		way.links++
	}
	switch {
	case fi.IsDir() && link && d.way.has(way):
		r.Skip(file, url, -1, whyLoop)
	case fi.IsDir():
		w.add(walked{rel, d.depth + 1, fresh, way})
	case unfinished(de.Name(), r.opt.Suffix, false):
		r.Skip(file, url, fi.Size(), "it is a download that is not finished")
	case fi.Mode().Type() == fs.ModeSymlink:
		r.sendLink(t, rel, file, url)
	case !fi.Mode().IsRegular():
		r.Skip(file, url, -1, "it is no regular file")
	default:
		r.give(Upload{File: file, Path: remote.Join(t.Path, rel), URL: url, Fresh: fresh, Size: fi.Size()})
	}
}

// sendLink makes a symbolic link on the server, where it has them.
func (r *Run) sendLink(t *Tree, rel, file, url string) {
	target, err := os.Readlink(file)
	switch {
	case err != nil:
		r.Fail(file, url, LocalError(file, err))
		return
	case !r.traits().Links:
		r.Skip(file, url, -1, "it is a link, and the server has none; --follow sends what it leads to")
		return
	}
	p := remote.Join(t.Path, rel)
	target = filepath.ToSlash(target)
	same := false
	err = r.persist(file, func() error {
		have, err := r.tree.Readlink(r.ctx, p)
		switch same = err == nil && (have == target || r.opt.Conflict == Skip); {
		case same || r.opt.DryRun:
			return nil
		case err == nil:
			_ = r.tree.Remove(r.ctx, p)
		}
		return r.tree.Symlink(r.ctx, target, p)
	})
	switch {
	case err != nil:
		r.Fail(file, url, err)
		return
	case same:
		r.Skip(file, url, -1, "the same is there")
		return
	case r.opt.DryRun:
		r.say(Event{What: Planned, From: file, To: url, Size: -1, Why: target})
		return
	}
	r.say(Event{What: Linked, From: file, To: url, Size: -1, Why: target})
}

// makeDir makes a directory of the server; fresh tells that it was not there.
func (r *Run) makeDir(p, url string) (fresh bool, err error) {
	if p == "" || p == "." || p == "/" || r.dirs.has(p) {
		return false, nil
	}
	err = r.persist(url, func() error {
		err := r.tree.Mkdir(r.ctx, p)
		if fresh = err == nil; fresh || Transient(err) {
			return err
		}
		e, stat := r.tree.Stat(r.ctx, p) // most servers say that it is there in words of their own
		switch {
		case stat != nil && Transient(stat):
			return stat
		case stat != nil:
			return err
		case e.Is(typed) && !e.Mode.IsDir():
			return fault.Because(err, fault.NotDir, fault.IDNotDir, url)
		}
		return nil
	})
	if err != nil {
		return false, err
	}
	if fresh {
		r.say(Event{What: Made, To: url, Size: -1})
	}
	r.dirs.add(p)
	return fresh, nil
}

// LocalEntry is a file of this machine as an Entry.
func LocalEntry(name string, fi fs.FileInfo) remote.Entry {
	e := remote.Entry{Known: typed | sized | timed | moded}
	e.Name, e.Mode, e.Size, e.Time = name, fi.Mode(), fi.Size(), fi.ModTime()
	return e
}

// joinURL is a URL below another. What stands in it is for people.
func joinURL(url, rel string) string {
	if rel == "" {
		return url
	}
	return strings.TrimSuffix(url, "/") + "/" + rel
}

// folds asks the place, unless nothing may be changed there: then it is a guess.
func (r *Run) folds(p *Place) bool {
	if r.opt.DryRun {
		return runtime.GOOS == "windows" || runtime.GOOS == "darwin"
	}
	return p.folds()
}

// folds tells whether the place takes names that differ in case for one.
func (p *Place) folds() bool {
	if p.root == nil {
		return false
	}
	p.fold.Do(func() {
		const lower, upper = ".dray-case", ".DRAY-CASE"
		f, err := p.root.OpenFile(lower, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return
		}
		_ = f.Close()
		_, err = p.root.Lstat(upper)
		p.insensitive = err == nil
		_ = p.root.Remove(lower)
	})
	return p.insensitive
}
