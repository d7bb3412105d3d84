package cli

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"dray/fault"
	"dray/ftp"
	"dray/mirror"
	"dray/remote"
	"dray/screen"
)

func lsCommand() *cobra.Command {
	c := &client{}
	var l listing
	cmd := &cobra.Command{
		Use:   "ls [-l] [-a] [-R] URL...",
		Short: "list directories of a server",
		Long: `List what is in directories of a server, or the files that are named. The last part
of a URL may be a pattern (* ? [a-z]). Names that begin with a dot are shown with -a.`,
		Example: `  dray ls ftp://ftp.example.net/pub/
  dray ls -l sftp://alice@example.net/~/
  dray ls -R --json nas:backups`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("ls needs a URL\n      for example: dray ls ftp://ftp.example.net/pub/")
			}
			return nil
		},
	}
	c.flags(cmd.Flags())
	f := cmd.Flags()
	f.BoolVarP(&l.how.Long, "long", "l", false, "show mode, owner, size and time")
	f.BoolVarP(&l.how.Single, "one", "1", false, "one name a line")
	f.BoolVarP(&l.all, "all", "a", false, "names that begin with a dot too")
	f.BoolVarP(&l.deep, "recursive", "R", false, "directories below too")
	f.BoolVarP(&l.self, "directory", "d", false, "the directory itself, not what is in it")
	f.BoolVarP(&l.how.ByTime, "by-time", "t", false, "newest first")
	f.BoolVarP(&l.how.BySize, "by-size", "S", false, "largest first")
	f.BoolVar(&l.how.Reverse, "reverse", false, "the other way round")
	f.BoolVar(&l.how.Seconds, "bytes", false, "sizes in bytes, times with seconds")
	f.BoolVarP(&l.how.Human, "human-readable", "h", false, "sizes in KiB, MiB: the default on a terminal")
	f.Bool("help", false, "help for ls") // -h is for sizes, as in ls
	cmd.RunE = c.run(func(ctx context.Context, args []string) error {
		if l.how.ByTime && l.how.BySize {
			return usagef("-t and -S do not go together")
		}
		if l.self && l.deep {
			return usagef("-d and -R do not go together\n      -d shows the directory, -R what is in it and below")
		}
		// -h and -1 are in many aliases: where they change nothing they may stand.
		switch {
		case !l.how.Long && !c.asJSON && !c.asJSONL:
			if err := c.refuse("is for sizes, which are shown with -l: add it", "bytes"); err != nil {
				return err
			}
		case l.how.Seconds:
			if err := c.refuse("and --bytes do not go together", "human-readable"); err != nil {
				return err
			}
		}
		l.c = c
		l.how.Terminal, l.how.Width = c.toTerminal()
		l.how.Human = !l.how.Seconds && (l.how.Human || l.how.Terminal)
		targets, err := c.targets("ls", args)
		if err != nil {
			return err
		}
		err = c.each(ctx, targets, func(t target, fails *failures) error {
			if len(targets) > 1 {
				l.head = t.u.String()
			}
			return l.list(ctx, t, fails)
		})
		if c.asJSON {
			if l.found == nil {
				l.found = []wireEntry{}
			}
			c.jsonList(l.found, err)
		}
		return err
	})
	return cmd
}

// toTerminal tells whether standard output is a terminal, and of how many cells.
func (c *client) toTerminal() (terminal bool, width int) {
	out, ok := c.stdout.(*os.File)
	if !ok || !term.IsTerminal(int(out.Fd())) {
		return false, 0
	}
	width, _, _ = term.GetSize(int(out.Fd()))
	return true, width
}

// A listing is what ls shows.
type listing struct {
	how             screen.Listing
	all, deep, self bool
	c               *client
	found           []wireEntry
	head            string // what is listed next; "": there is one thing only
	shown           bool   // something was
}

func (l *listing) structured() bool { return l.c.asJSON || l.c.asJSONL }

// A wireEntry is an entry as programs read it.
type wireEntry struct {
	Path   string `json:"path"`
	Name   string `json:"name"`
	Type   string `json:"type"`
	Size   *int64 `json:"size,omitempty"`
	MTime  string `json:"mtime,omitempty"`
	Mode   string `json:"mode,omitempty"`
	Owner  string `json:"owner,omitempty"`
	Group  string `json:"group,omitempty"`
	Link   string `json:"link,omitempty"`
	Perm   string `json:"perm,omitempty"`
	Unique string `json:"unique,omitempty"`
}

func wireOf(path string, e *remote.Entry) wireEntry {
	w := wireEntry{Path: path, Name: e.Name, Type: screen.Type(e), Owner: e.Owner, Group: e.Group, Link: e.Target, Perm: e.Perm, Unique: e.Unique}
	if e.Is(ftp.KnownSize) && !e.Mode.IsDir() {
		w.Size = &e.Size
	}
	if e.Is(ftp.KnownTime) {
		w.MTime = e.Time.UTC().Format(time.RFC3339)
	}
	if e.Is(ftp.KnownMode) {
		w.Mode = fmt.Sprintf("%04o", e.Mode.Perm())
	}
	return w
}

// list shows what a URL names.
func (l *listing) list(ctx context.Context, t target, fails *failures) error {
	dir, pattern := t, ""
	if base := remote.Base(t.u.Path); strings.ContainsAny(base, "*?[") && !t.u.DirWanted {
		pattern = base
		dir.u.Path, dir.u.DirWanted = strings.TrimSuffix(strings.TrimSuffix(t.u.Path, base), "/"), true
		if dir.u.Path == "" && t.u.Absolute() {
			dir.u.Path = "/"
		}
	} else if l.self || !t.u.DirWanted {
		e, err := statRemote(ctx, t.tree, t.u)
		switch {
		case err != nil && (l.self || fault.KindOf(err) != fault.Unsupported):
			return err
		case err == nil && (l.self || !e.Mode.IsDir()):
			e.Name = remote.Base(t.u.Path)
			l.show("", []remote.Entry{e})
			return nil
		}
	}
	return l.walk(ctx, dir, "", pattern, fails)
}

const maxShown = 200 // directories deep

// walk lists a directory, and with -R those below it, of which those that can't be
// listed are told.
func (l *listing) walk(ctx context.Context, dir target, rel, pattern string, fails *failures) error {
	if strings.Count(rel, "/") > maxShown {
		return fault.New(fault.BadName, fault.IDBadName, dir.u.String())
	}
	var match mirror.Filter
	if pattern != "" {
		var err error
		if match, err = (mirror.Rules{Include: []string{pattern}, Exclude: []string{"*"}, Most: -1}).Filter(); err != nil {
			return usagef("%v", err)
		}
	}
	var entries []remote.Entry
	var failed error
	for e, err := range dir.tree.List(ctx, pathOf(dir.u)) {
		if err != nil {
			failed = err
			break
		}
		if !l.all && strings.HasPrefix(e.Name, ".") && !strings.HasPrefix(pattern, ".") || match != nil && !match(e.Name, &e) {
			continue
		}
		entries = append(entries, e)
	}
	if failed != nil && len(entries) == 0 {
		return failed
	}
	if pattern != "" && len(entries) == 0 {
		dir.u.Path, dir.u.DirWanted = remote.Join(dir.u.Path, pattern), false
		return fault.New(fault.NotFound, fault.IDNotFound, dir.u.String())
	}
	l.how.Sort(entries)
	if l.deep {
		l.head = dir.u.String()
	}
	l.show(rel, entries)
	if failed != nil || !l.deep {
		return failed
	}
	for i := range entries {
		e := &entries[i]
		if !e.Mode.IsDir() || strings.Contains(e.Name, "/") || e.Name == ".." {
			continue
		}
		sub := dir
		sub.u.Path, sub.u.DirWanted = remote.Join(dir.u.Path, e.Name), true
		if err := l.walk(ctx, sub, strings.TrimPrefix(rel+"/"+e.Name, "/"), "", fails); err != nil {
			if ctx.Err() != nil {
				return err
			}
			if fails.at(sub, err); fails.over(sub) {
				return nil
			}
		}
	}
	return nil
}

// show writes entries of one directory.
func (l *listing) show(rel string, entries []remote.Entry) {
	if !l.structured() {
		if l.head != "" {
			if l.shown {
				fmt.Fprintln(l.c.stdout)
			}
			fmt.Fprintf(l.c.stdout, "%s:\n", screen.Line(l.head))
		}
		l.shown = true
		l.how.Write(l.c.stdout, entries)
		return
	}
	for i := range entries {
		e := &entries[i]
		w := wireOf(strings.TrimPrefix(rel+"/"+e.Name, "/"), e)
		if l.c.asJSONL {
			l.c.jsonLine(w)
		} else {
			l.found = append(l.found, w)
		}
	}
}
