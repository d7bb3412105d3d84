package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/spf13/cobra"

	"dray/fault"
	"dray/mirror"
	"dray/remote"
	"dray/screen"
)

func watchCommand() *cobra.Command {
	c, t := &client{}, &transfers{recursive: true}
	var w watcher
	cmd := &cobra.Command{
		Use:   "watch DIR URL",
		Short: "keep a directory of a server equal to one here, as it changes",
		Long: `Make the directory URL equal to DIR, as mirror does, and then send each file when it
changes, until Ctrl-C. A file is sent when it has been quiet for the time of --settle.
What is deleted here is deleted there only with --delete; on a terminal it is asked
about before the first comparison deletes something. A failure that may pass is tried
again, and the whole is compared again when changes came faster than they could
be followed.`,
		Example: `  dray watch site/ sftp://deploy@www.example.net/htdocs
  dray watch --delete -x '*.swp' site/ ftp://deploy@www.example.net/htdocs`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 2 {
				return usagef("watch needs a directory and a URL\n      for example: dray watch site/ sftp://deploy@www.example.net/htdocs")
			}
			return nil
		},
	}
	c.flags(cmd.Flags())
	t.flags(cmd.Flags())
	c.yesFlag(cmd.Flags())
	for _, hidden := range []string{"recursive", "dry-run", "error-on-no-transfer"} {
		_ = cmd.Flags().MarkHidden(hidden)
	}
	cmd.Flags().BoolVar(&w.delete, "delete", false, "delete there what was deleted here")
	cmd.Flags().DurationVar(&w.settle, "settle", 500*time.Millisecond, "how long a file has to be quiet, a `TIME` as 2s")
	cmd.RunE = c.run(func(ctx context.Context, args []string) error {
		if !local(args[0]) || local(args[1]) {
			return usagef("watch needs a directory of this machine, and then a URL\n      for example: dray watch site/ sftp://deploy@www.example.net/htdocs")
		}
		switch {
		case t.dryRun:
			return usagef("--dry-run has nothing to show of changes that are still to come\n      dray mirror -n %s %s shows what watch would begin with", shellWord(args[0]), shellWord(args[1]))
		case t.nothing:
			return usagef("--error-on-no-transfer is for commands that end by themselves, and watch waits for changes")
		}
		if _, err := t.options(c); err != nil { // what fails later may be tried again
			return err
		}
		fi, err := os.Stat(args[0])
		switch {
		case err != nil:
			return mirror.LocalError(args[0], err)
		case !fi.IsDir():
			return noDirectory(args[0])
		}
		u, err := c.parse(args[1])
		if err != nil {
			return err
		}
		if err := asItIs(u, "watch"); err != nil {
			return err
		}
		w.c, w.t, w.dir, w.u = c, t, filepath.Clean(args[0]), u
		if w.filter, err = t.filter(); err != nil {
			return err
		}
		if w.tree, err = c.open(u); err != nil {
			return err
		}
		return w.run(ctx)
	})
	return cmd
}

// A watcher follows the changes of a directory.
type watcher struct {
	c      *client
	t      *transfers
	dir    string
	u      remote.URL
	tree   remote.Tree
	filter mirror.Filter
	delete bool
	settle time.Duration

	last    *reporter        // of what was sent last
	confirm func(n int) bool // asked before a comparison deletes; nil: nobody is

	notify *fsnotify.Watcher
	dirty  map[string]time.Time // names below dir, and when they last changed
	all    bool                 // everything is to be compared again
}

func (w *watcher) run(ctx context.Context) error {
	var err error
	if w.notify, err = fsnotify.NewWatcher(); err != nil {
		return fmt.Errorf("watch %s: %w", w.dir, err)
	}
	defer w.notify.Close()
	w.dirty = map[string]time.Time{}
	if err := w.follow(w.dir); err != nil { // before the comparison: nothing is missed
		return err
	}
	w.all = true
	refused := false
	if ask := w.c.confirms(ctx, w.dir, w.u.String()); ask != nil {
		w.confirm = func(n int) bool {
			refused = refused || !ask(n) // and never asked again
			return !refused
		}
	}
	retry := time.Duration(0)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case e, ok := <-w.notify.Events:
			if !ok {
				return errors.New("the system watches no more")
			}
			w.changed(e)
			timer.Reset(w.settle)
			continue
		case err := <-w.notify.Errors:
			if errors.Is(err, fsnotify.ErrEventOverflow) {
				w.all = true
				timer.Reset(w.settle)
				continue
			}
			return fmt.Errorf("watch %s: %w", w.dir, err)
		case <-timer.C:
		}
		err := w.send(ctx)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err == nil:
			if retry = 0; !refused { // what is deleted from now on was deleted here meanwhile
				w.confirm = nil
			}
		case w.passes(err) && !w.t.failFast:
			retry = min(max(2*retry, time.Second), time.Minute)
			w.all = true
			if told := new(exitError); !errors.As(err, &told) {
				complain(w.c.show, err, w.c.advice)
			}
			w.c.warn("again in %s", screen.Duration(retry))
			timer.Reset(retry)
		default:
			var told *exitError
			if w.t.failFast || !errors.As(err, &told) { // single files that failed were told, and wait for their next change
				return err
			}
			retry = 0
		}
		if len(w.dirty) > 0 {
			timer.Reset(w.settle)
		}
	}
}

// passes tells whether what made err may be over in a while: the failure of the
// connection, or one of the files of the last run.
func (w *watcher) passes(err error) bool {
	may := func(err error) bool { return mirror.Transient(err) || fault.Of(err).Kind == fault.Unreachable }
	var told *exitError
	if !errors.As(err, &told) {
		return may(err)
	}
	for _, one := range w.last.told {
		if may(one) {
			return true
		}
	}
	return false
}

// follow watches a directory and those below it.
func (w *watcher) follow(dir string) error {
	return filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		}
		if !d.IsDir() {
			return nil
		}
		if rel := w.rel(name); rel != "" && w.filter != nil {
			if fi, err := d.Info(); err == nil {
				e := mirror.LocalEntry(d.Name(), fi)
				if !w.filter(rel, &e) {
					return filepath.SkipDir
				}
			}
		}
		if err := w.notify.Add(name); err != nil {
			return fmt.Errorf("watch %s: %w (Linux allows fs.inotify.max_user_watches directories: sysctl shows and sets it)", name, err)
		}
		return nil
	})
}

// rel is a name below the directory, with slashes; "" is the directory itself.
func (w *watcher) rel(name string) string {
	rel, err := filepath.Rel(w.dir, name)
	if err != nil || rel == "." {
		return ""
	}
	return filepath.ToSlash(rel)
}

func (w *watcher) changed(e fsnotify.Event) {
	rel := w.rel(e.Name)
	base := path.Base(rel)
	if rel == "" || e.Op == fsnotify.Chmod && w.t.preserve == "none" || strings.HasSuffix(strings.TrimSuffix(base, ".json"), w.t.suffix) {
		return
	}
	if e.Op&fsnotify.Create != 0 {
		if fi, err := os.Lstat(e.Name); err == nil && fi.IsDir() {
			if err := w.follow(e.Name); err != nil {
				w.c.warn("%v", err)
			}
		}
	}
	w.dirty[rel] = time.Now()
}

// send sends what has been quiet long enough.
func (w *watcher) send(ctx context.Context) error {
	r := w.c.reporter("watch", nil)
	w.last = r
	if w.all {
		w.all = false
		w.dirty = map[string]time.Time{}
		return w.c.transfer(ctx, w.t, w.tree, r, func(run *mirror.Run) error {
			run.Sync(mirror.Sync{Tree: mirror.Tree{Path: pathOf(w.u), URL: w.u.String(), Dir: w.dir, Filter: w.filter}, Up: true, Delete: w.delete, MaxDelete: -1, Confirm: w.confirm})
			return nil
		})
	}
	var ready []string
	for rel, at := range w.dirty {
		if time.Since(at) >= w.settle {
			ready = append(ready, rel)
			delete(w.dirty, rel)
		}
	}
	if len(ready) == 0 {
		return nil
	}
	return w.c.transfer(ctx, w.t, w.tree, r, func(run *mirror.Run) error {
		for _, rel := range ready {
			w.sendOne(ctx, run, rel)
		}
		return nil
	})
}

func (w *watcher) sendOne(ctx context.Context, run *mirror.Run, rel string) {
	file := filepath.Join(w.dir, filepath.FromSlash(rel))
	u := w.u
	u.Path, u.DirWanted = remote.Join(w.u.Path, rel), false
	fi, err := os.Lstat(file)
	if err == nil && fi.Mode().Type() == fs.ModeSymlink && w.t.follow {
		fi, err = os.Stat(file)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if w.delete && (w.filter == nil || w.wanted(rel)) {
			e, err := w.tree.Seen(ctx, pathOf(u))
			if err == nil {
				err = run.Remove(pathOf(u), u.String(), e.Mode.IsDir())
			}
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				run.Fail(file, u.String(), err)
			}
		}
	case err != nil:
		run.Fail(file, u.String(), err)
	default:
		e := mirror.LocalEntry(filepath.Base(file), fi)
		if w.filter != nil && !w.filter(rel, &e) {
			return
		}
		if fi.IsDir() {
			run.UploadTree(mirror.Tree{Dir: file, Path: pathOf(u), URL: u.String(), Filter: w.below(rel)})
		} else if fi.Mode().IsRegular() {
			run.Upload(mirror.Upload{File: file, Path: pathOf(u), URL: u.String(), Size: fi.Size()})
		}
	}
}

// wanted tells whether the filter lets a name pass of which nothing else is known.
func (w *watcher) wanted(rel string) bool {
	var e remote.Entry
	e.Name = path.Base(rel)
	return w.filter(rel, &e)
}

// below is the filter for a walk that begins at rel.
func (w *watcher) below(rel string) mirror.Filter {
	if w.filter == nil {
		return nil
	}
	return func(sub string, e *remote.Entry) bool { return w.filter(path.Join(rel, sub), e) }
}
