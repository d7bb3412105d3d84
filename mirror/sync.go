package mirror

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"dray/fault"
	"dray/remote"
)

// Sync says how one side is made equal to the other.
type Sync struct {
	Tree
	Up        bool // the server is made equal to this machine
	Delete    bool // what the source has not goes
	MaxDelete int  // at most so many names; below 0: no limit
	// Confirm is asked before names are deleted; nil: nobody is.
	Confirm func(names int) bool
	// Backup is a directory of the target's side to which files are moved that would be
	// replaced or deleted; "": they are not kept.
	Backup string
	// SizeOnly compares sizes and no times.
	SizeOnly bool
	// NewerOnly leaves files alone that are newer at the target.
	NewerOnly bool
}

// extra is a name that the target has and the source has not.
type extra struct {
	rel string
	dir bool
}

// A syncing is a Sync under way.
type syncing struct {
	*Sync
	run    *Run
	mu     sync.Mutex
	extras []extra
	failed bool // a directory of the source could not be listed: nothing is deleted
}

// Sync queues what differs, and when all of that is over deletes what is too much.
// It returns then.
func (r *Run) Sync(s Sync) {
	y := &syncing{Sync: &s, run: r}
	r.each(r.listWidth(), func(w *walk, d walked) {
		if err := y.dir(w, d); err != nil {
			y.fail()
			r.Fail(y.sourceName(d.rel), y.targetName(d.rel), err)
		}
	})
	if !s.Delete || len(y.extras) == 0 || r.ctx.Err() != nil {
		return
	}
	r.drain()
	y.remove()
}

// drain waits until no transfer is queued or under way.
func (r *Run) drain() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for (len(r.queue) > 0 || r.running > 0) && r.ctx.Err() == nil {
		r.cond.Wait()
	}
}

func (y *syncing) fail() {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.failed = true
}

func (y *syncing) sourceName(rel string) string {
	if y.Up {
		return filepath.Join(y.Dir, filepath.FromSlash(rel))
	}
	return joinURL(y.URL, rel)
}

func (y *syncing) targetName(rel string) string {
	if y.Up {
		return joinURL(y.URL, rel)
	}
	return y.Place.Path(path.Join(y.Name, rel))
}

// dir compares one directory.
func (y *syncing) dir(w *walk, d walked) error {
	if d.depth > maxDepth {
		return fault.New(fault.BadName, fault.IDBadName, y.sourceName(d.rel))
	}
	source, err := y.source(d.rel)
	if err != nil {
		return err
	}
	fresh := d.fresh
	if d.rel == "" && !fresh {
		if fresh, err = y.top(); err != nil {
			return err
		}
	}
	target := map[string]remote.Entry{}
	if !fresh {
		entries, err := y.target(d.rel)
		if err != nil {
			return err
		}
		for _, e := range entries {
			target[e.Name] = e
		}
	}
	folds := !y.Up && y.run.folds(y.Place)
	seen := map[string]string{}
	for i := range source {
		e := &source[i]
		rel := path.Join(d.rel, e.Name)
		if !y.Up {
			if bad := CheckName(e.Name); bad != nil {
				y.run.Fail(y.sourceName(d.rel), y.targetName(d.rel), bad)
				continue
			}
		}
		if folds {
			key := strings.ToLower(e.Name)
			if other, ok := seen[key]; ok {
				y.run.Fail(y.sourceName(rel), y.targetName(rel), fault.New(fault.Exists, fault.IDNameClash, e.Name, other))
				continue
			}
			seen[key] = e.Name
		}
		old, there := target[e.Name]
		delete(target, e.Name)
		if y.Filter != nil && !y.Filter(rel, e) {
			continue
		}
		y.entry(w, d, rel, e, old, there)
	}
	if !y.Delete {
		return nil
	}
	y.mu.Lock()
	defer y.mu.Unlock()
	for name, e := range target {
		rel := path.Join(d.rel, name)
		if strings.HasSuffix(strings.TrimSuffix(name, ".json"), y.run.opt.Suffix) || y.Filter != nil && !y.Filter(rel, &e) || y.isBackup(rel) {
			continue // it may be gone on with; or it is none of ours to judge
		}
		y.extras = append(y.extras, extra{rel, e.Mode.IsDir()})
	}
	return nil
}

// isBackup tells whether a name of the target is the backup directory.
func (y *syncing) isBackup(rel string) bool {
	if y.Backup == "" {
		return false
	}
	at := path.Join(y.Name, rel)
	if y.Up {
		at = remote.Join(y.Path, rel)
	}
	return path.Clean(at) == path.Clean(y.Backup)
}

// top makes the target itself, and tells whether it was missing.
func (y *syncing) top() (fresh bool, err error) {
	r := y.run
	if y.Up {
		if r.opt.DryRun {
			_, err := r.tree.Stat(r.ctx, y.Path)
			return errors.Is(err, fs.ErrNotExist), nil
		}
		return r.makeDir(y.Path, y.URL)
	}
	if y.Name == "" || y.Name == "." {
		return false, nil
	}
	_, err = y.Place.Stat(y.Name)
	if fresh = errors.Is(err, fs.ErrNotExist); fresh && !r.opt.DryRun {
		return true, y.Place.Mkdir(y.Name)
	}
	return fresh, nil
}

// source lists a directory of the source.
func (y *syncing) source(rel string) ([]remote.Entry, error) {
	if !y.Up {
		entries, err := y.run.list(remote.Join(y.Path, rel))
		if err != nil {
			return nil, err // half of it would look as if the rest were gone
		}
		for i := range entries {
			e := &entries[i]
			if !e.Is(typed) || e.Mode.Type() == fs.ModeSymlink && y.run.opt.Follow {
				name := e.Name
				link := ""
				if e.Is(typed) {
					link = cmp.Or(e.Target, followed)
				}
				if there, err := y.run.tree.Stat(y.run.ctx, remote.Join(y.Path, path.Join(rel, name))); err == nil {
					*e = there
					e.Name, e.Target = name, link
				}
			}
		}
		return entries, nil
	}
	return localList(filepath.Join(y.Dir, filepath.FromSlash(rel)), y.run.opt.Follow)
}

// localList lists a directory of this machine.
func localList(dir string, follow bool) ([]remote.Entry, error) {
	des, err := os.ReadDir(dir)
	if err != nil {
		return nil, LocalError(dir, err)
	}
	var out []remote.Entry
	for _, de := range des {
		link := ""
		fi, err := de.Info()
		if err == nil && fi.Mode().Type() == fs.ModeSymlink && follow {
			if there, bad := os.Stat(filepath.Join(dir, de.Name())); bad == nil {
				fi, link = there, followed
			}
		}
		if errors.Is(err, fs.ErrNotExist) {
			continue // it has gone since
		}
		if err != nil {
			return nil, LocalError(filepath.Join(dir, de.Name()), err)
		}
		e := LocalEntry(de.Name(), fi)
		e.Target = link
		if fi.Mode().Type() == fs.ModeSymlink {
			e.Target, _ = os.Readlink(filepath.Join(dir, de.Name()))
		}
		out = append(out, e)
	}
	return out, nil
}

// target lists a directory of the target.
func (y *syncing) target(rel string) ([]remote.Entry, error) {
	if y.Up {
		entries, err := y.run.list(remote.Join(y.Path, rel))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return entries, err
	}
	if y.Place.root == nil {
		return nil, nil
	}
	f, err := y.Place.root.Open(filepath.FromSlash(path.Join(".", y.Name, rel)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, LocalError(y.targetName(rel), err)
	}
	defer f.Close()
	fis, err := f.Readdir(-1) // one look for all
	if err != nil {
		return nil, LocalError(y.targetName(rel), err)
	}
	out := make([]remote.Entry, 0, len(fis))
	for _, fi := range fis {
		out = append(out, LocalEntry(fi.Name(), fi))
	}
	return out, nil
}

// entry decides about one name of the source.
func (y *syncing) entry(w *walk, d walked, rel string, e *remote.Entry, old remote.Entry, there bool) {
	r := y.run
	if there && old.Is(typed) && old.Mode.IsDir() != e.Mode.IsDir() {
		if !y.Delete {
			r.Fail(y.sourceName(rel), y.targetName(rel), y.inTheWay(rel, old.Mode.IsDir()))
			return
		}
		if r.opt.DryRun {
			r.say(Event{What: Deleted, To: y.targetName(rel), Size: -1})
		} else if err := y.removeOne(extra{rel, old.Mode.IsDir()}); err != nil {
			r.Fail(y.sourceName(rel), y.targetName(rel), err)
			return
		}
		there = false
	}
	switch {
	case e.Mode.IsDir():
		way, loop := y.way(d, rel, e)
		if loop {
			r.Skip(y.sourceName(rel), y.targetName(rel), -1, whyLoop)
			return
		}
		if !there && !r.opt.DryRun {
			if err := y.makeDir(rel); err != nil {
				y.fail()
				r.Fail(y.sourceName(rel), y.targetName(rel), err)
				return
			}
		}
		w.add(walked{rel: rel, depth: d.depth + 1, fresh: !there || d.fresh, way: way})
	case e.Mode.Type() == fs.ModeSymlink:
		if y.Up {
			r.sendLink(&y.Tree, rel, y.sourceName(rel), y.targetName(rel))
		} else {
			r.receiveLink(&y.Tree, rel, y.sourceName(rel), remote.Join(y.Path, rel), e)
		}
	case e.Mode.Type() != 0:
		r.Skip(y.sourceName(rel), y.targetName(rel), -1, "it is no regular file")
	case strings.HasSuffix(strings.TrimSuffix(e.Name, ".json"), r.opt.Suffix):
		r.Skip(y.sourceName(rel), y.targetName(rel), e.Size, "it is a transfer that is not finished")
	case there && y.same(e, &old):
		r.Skip(y.sourceName(rel), y.targetName(rel), e.Size, "the same is there")
	case there && y.NewerOnly && !old.Time.Before(e.Time):
		r.Skip(y.sourceName(rel), y.targetName(rel), e.Size, "the target has a newer one")
	case y.Up:
		r.give(Upload{File: y.sourceName(rel), Path: remote.Join(y.Path, rel), URL: y.targetName(rel), Fresh: !there, Size: e.Size, Backup: y.backup(rel, there)})
	default:
		r.fetch(Download{Path: remote.Join(y.Path, rel), URL: y.sourceName(rel), Entry: *e, Place: y.Place, Name: path.Join(y.Name, rel), Backup: y.backup(rel, there)})
	}
}

// way is that of a directory of the source. loop tells that it is a link back.
func (y *syncing) way(d walked, rel string, e *remote.Entry) (there *way, loop bool) {
	up := d.way
	if up == nil {
		up = &way{real: path.Clean(y.Path)}
		if y.Up {
			up.real = realPath(y.Dir)
		}
	}
	there = &way{up: up, real: path.Join(up.real, e.Name), links: up.links}
	switch {
	case e.Target == "":
		return there, false
	case y.Up:
		there.links++
		there.real = realPath(y.sourceName(rel))
	default:
		y.run.lead(y.run.tree, there, up.real, remote.Join(y.Path, rel), e.Target)
	}
	return there, up.has(there)
}

// realPath is a path of this machine without links, with slashes.
func realPath(p string) string {
	if there, err := filepath.EvalSymlinks(p); err == nil {
		p = there
	}
	if abs, err := filepath.Abs(p); err == nil {
		p = abs
	}
	return filepath.ToSlash(p)
}

// backup is where the old file goes, "" when it is not kept.
func (y *syncing) backup(rel string, there bool) string {
	if y.Backup == "" || !there {
		return ""
	}
	return path.Join(y.Backup, rel)
}

func (y *syncing) inTheWay(rel string, dir bool) error {
	if dir {
		return &fault.Error{Kind: fault.IsDir, ID: fault.IDIsDir, Facts: []any{y.targetName(rel)}, Do: []string{"the source has a file of this name; with --delete the directory goes"}}
	}
	return &fault.Error{Kind: fault.NotDir, ID: fault.IDNotDir, Facts: []any{y.targetName(rel)}, Do: []string{"the source has a directory of this name; with --delete the file goes"}}
}

func (y *syncing) makeDir(rel string) error {
	if y.Up {
		_, err := y.run.makeDir(remote.Join(y.Path, rel), y.targetName(rel))
		return err
	}
	return y.Place.Mkdir(path.Join(y.Name, rel))
}

// fatStep is how exact times are on file systems of the FAT family.
const fatStep = 2 * time.Second

// same tells whether the target has the file already: of the same size and time, as
// exactly as both sides tell them. Where a server does not let times be set, a file
// that is not older than the source was made of it.
func (y *syncing) same(e, old *remote.Entry) bool {
	if e.Is(sized) && old.Is(sized) && e.Size != old.Size {
		return false
	}
	if y.SizeOnly {
		return e.Is(sized) && old.Is(sized)
	}
	if !e.Is(timed) || !old.Is(timed) {
		return e.Is(sized) && old.Is(sized)
	}
	near := max(e.Step, old.Step, fatStep)
	d := old.Time.Sub(e.Time)
	if d.Abs() < near {
		return true
	}
	return y.Up && d > 0 && (y.run.opt.NoTimes || !y.run.traits().Times) || !y.Up && d > 0 && y.run.opt.NoTimes
}

// remove deletes what the source has not, the deepest first.
func (y *syncing) remove() {
	r := y.run
	slices.SortFunc(y.extras, func(a, b extra) int { return strings.Compare(b.rel, a.rel) })
	switch {
	case y.failed:
		r.Note(y.sourceName(""), "nothing was deleted, because not all of the source could be listed", nil)
		return
	case y.MaxDelete >= 0 && len(y.extras) > y.MaxDelete:
		r.Fail(y.sourceName(""), y.targetName(""), &fault.Error{Kind: fault.Canceled, ID: fault.IDMaxDelete, Facts: []any{len(y.extras), y.MaxDelete}})
		return
	case r.opt.DryRun:
		for _, x := range y.extras {
			r.say(Event{What: Deleted, To: y.targetName(x.rel), Size: -1})
		}
		return
	case y.Confirm != nil && !y.Confirm(len(y.extras)):
		r.Note(y.targetName(""), "nothing was deleted", nil)
		return
	}
	for _, x := range y.extras {
		if r.ctx.Err() != nil {
			return
		}
		if err := y.removeOne(x); err != nil {
			r.Fail("", y.targetName(x.rel), err)
		}
	}
}

// removeOne takes one name of the target away, or keeps it in the backup.
func (y *syncing) removeOne(x extra) error {
	r := y.run
	var err error
	switch {
	case y.Backup != "" && y.Up:
		err = r.keepThere(remote.Join(y.Path, x.rel), path.Join(y.Backup, x.rel))
	case y.Backup != "":
		err = y.Place.keep(path.Join(y.Name, x.rel), path.Join(y.Backup, x.rel))
	case y.Up:
		err = r.removeThere(r.ctx, remote.Join(y.Path, x.rel), x.dir, 0)
	default:
		name := path.Join(y.Name, x.rel)
		if err = y.Place.root.RemoveAll(filepath.FromSlash(name)); err != nil {
			err = LocalError(y.Place.Path(name), err)
		}
	}
	if err == nil {
		r.say(Event{What: Deleted, To: y.targetName(x.rel), Size: -1})
		r.mu.Lock()
		r.sum.Deleted++
		r.mu.Unlock()
	}
	return err
}

// removeThere removes a name of the server with all that is in it.
func (r *Run) removeThere(ctx context.Context, p string, dir bool, depth int) error {
	if !dir {
		return r.tree.Remove(ctx, p)
	}
	if depth > maxDepth {
		return fault.New(fault.BadName, fault.IDBadName, p)
	}
	entries, err := r.list(p)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name == "" || e.Name == "." || e.Name == ".." || strings.Contains(e.Name, "/") {
			return fault.New(fault.BadName, fault.IDUnsafeName, e.Name)
		}
		if err := r.removeThere(ctx, remote.Join(p, e.Name), e.Mode.IsDir(), depth+1); err != nil {
			return err
		}
	}
	return r.tree.RemoveDir(ctx, p)
}

// keepThere moves a name of the server into the backup.
func (r *Run) keepThere(p, to string) error {
	at := ""
	if strings.HasPrefix(to, "/") {
		at = "/"
	}
	for part := range strings.SplitSeq(strings.Trim(path.Dir(to), "/"), "/") {
		if at = remote.Join(at, part); part == "." || part == "" {
			continue
		}
		if _, err := r.makeDir(at, at); err != nil {
			return err
		}
	}
	return r.tree.Rename(r.ctx, p, to)
}

// keep moves a name of the place into the backup, in the place.
func (p *Place) keep(name, to string) error {
	if err := p.Mkdir(Dir(to)); err != nil {
		return err
	}
	at := filepath.FromSlash(to)
	_ = p.root.RemoveAll(at) // an older backup of this name
	if err := p.root.Rename(filepath.FromSlash(name), at); err != nil {
		return LocalError(p.Path(to), err)
	}
	return nil
}

// Remove removes a name of the server, with all that is in it.
func (r *Run) Remove(p, url string, dir bool) error {
	err := r.removeThere(r.ctx, p, dir, 0)
	if err == nil {
		r.mu.Lock()
		r.sum.Deleted++
		r.mu.Unlock()
		r.say(Event{What: Deleted, To: url, Size: -1})
	}
	return err
}
