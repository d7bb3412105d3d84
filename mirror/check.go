package mirror

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"

	"dray/fault"
	"dray/remote"
)

// A Difference is a name by which two trees differ.
type Difference struct {
	Name string // below the top
	Why  string // "missing", "extra", "type", "size", "time" or "content"
	Text string // for people
	Size int64  // of the source's, -1 unknown
}

// Check compares two trees, and changes neither. What differs is told to found, one at
// a time; a failure to t's run. With hash contents are compared where sizes do not
// differ: by checksums of the server, else by reading.
func (r *Run) Check(s Sync, hash bool, found func(Difference)) {
	y := &syncing{Sync: &s, run: r}
	var mu sync.Mutex
	tell := func(d Difference) {
		mu.Lock()
		defer mu.Unlock()
		found(d)
	}
	r.each(r.listWidth(), func(w *walk, d walked) {
		if err := y.checkDir(w, d, hash, tell); err != nil {
			r.Fail(y.sourceName(d.rel), y.targetName(d.rel), err)
		}
	})
}

func (y *syncing) checkDir(w *walk, d walked, hash bool, tell func(Difference)) error {
	if d.depth > maxDepth {
		return fault.New(fault.BadName, fault.IDBadName, y.sourceName(d.rel))
	}
	source, err := y.source(d.rel)
	if err != nil {
		return err
	}
	entries, err := y.target(d.rel)
	if err != nil {
		return err
	}
	target := map[string]remote.Entry{}
	for _, e := range entries {
		target[e.Name] = e
	}
	for i := range source {
		e := &source[i]
		rel := path.Join(d.rel, e.Name)
		old, there := target[e.Name]
		delete(target, e.Name)
		if y.Filter != nil && !y.Filter(rel, e) {
			continue
		}
		switch {
		case !there:
			tell(Difference{rel, "missing", "only at the source", e.Size})
		case e.Is(typed) && old.Is(typed) && e.Mode.Type() != old.Mode.Type():
			tell(Difference{rel, "type", "one is a directory or a link, the other is not", e.Size})
		case e.Mode.IsDir():
			if way, loop := y.way(d, rel, e); !loop {
				w.add(walked{rel: rel, depth: d.depth + 1, way: way})
			}
		case e.Mode.Type() != 0:
		case e.Is(sized) && old.Is(sized) && e.Size != old.Size:
			tell(Difference{rel, "size", "the sizes differ", e.Size})
		case hash:
			same, err := y.sameContent(rel, e)
			if err != nil {
				y.run.Fail(y.sourceName(rel), y.targetName(rel), err)
			} else if !same {
				tell(Difference{rel, "content", "the contents differ", e.Size})
			}
		case !y.same(e, &old):
			tell(Difference{rel, "time", "the times differ", e.Size})
		}
	}
	for name, e := range target {
		rel := path.Join(d.rel, name)
		if strings.HasSuffix(strings.TrimSuffix(name, ".json"), y.run.opt.Suffix) || y.Filter != nil && !y.Filter(rel, &e) {
			continue
		}
		tell(Difference{rel, "extra", "only at the target", e.Size})
	}
	return nil
}

// sameContent compares the checksums of both sides.
func (y *syncing) sameContent(rel string, e *remote.Entry) (bool, error) {
	size := int64(-1)
	if e.Is(sized) {
		size = e.Size
	}
	algorithm, theirs, err := y.run.theirSum(y.run.ctx, remote.Join(y.Path, rel), size)
	if err != nil {
		return false, err
	}
	var f *os.File
	if y.Up {
		f, err = os.Open(filepath.Join(y.Dir, filepath.FromSlash(rel)))
	} else {
		f, err = y.Place.root.Open(filepath.FromSlash(path.Join(y.Name, rel)))
	}
	if err != nil {
		return false, LocalError(rel, err)
	}
	defer f.Close()
	ours, err := SumReader(algorithm, f)
	if err != nil {
		return false, LocalError(rel, err)
	}
	return strings.EqualFold(ours, theirs), nil
}

// Exists tells whether a path of the server is there.
func Exists(ctx context.Context, tree remote.Tree, p string) (bool, error) {
	_, err := tree.Stat(ctx, p)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
