package cli

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"os"

	"dray/fault"
	"dray/ftp"
	"dray/mirror"
	"dray/remote"
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
	f.BoolVarP(&l.long, "long", "l", false, "show mode, owner, size and time")
	f.BoolVarP(&l.single, "one", "1", false, "one name a line")
	f.BoolVarP(&l.all, "all", "a", false, "names that begin with a dot too")
	f.BoolVarP(&l.deep, "recursive", "R", false, "directories below too")
	f.BoolVarP(&l.self, "directory", "d", false, "the directory itself, not what is in it")
	f.BoolVarP(&l.byTime, "by-time", "t", false, "newest first")
	f.BoolVarP(&l.bySize, "by-size", "S", false, "largest first")
	f.BoolVar(&l.reverse, "reverse", false, "the other way round")
	f.BoolVar(&l.exact, "bytes", false, "sizes in bytes, times with seconds")
	f.BoolVarP(&l.human, "human-readable", "h", false, "sizes in KiB, MiB: the default on a terminal")
	f.Bool("help", false, "help for ls") // -h is for sizes, as in ls
	cmd.RunE = c.run(func(ctx context.Context, args []string) error {
		if l.byTime && l.bySize {
			return usagef("-t and -S do not go together")
		}
		if out, ok := c.stdout.(*os.File); ok && term.IsTerminal(int(out.Fd())) {
			l.tty = true
			if w, _, err := term.GetSize(int(out.Fd())); err == nil {
				l.width = w
			}
		}
		l.c = c
		for i, arg := range args {
			if local(arg) {
				return usagef("%s is no URL\n      ls lists a server: dray ls sftp://host/%s; for this machine there is ls", arg, strings.TrimLeft(arg, "./"))
			}
			u, err := c.parse(arg)
			if err != nil {
				return err
			}
			tree, err := c.open(u)
			if err != nil {
				return err
			}
			if len(args) > 1 && !l.structured() {
				if i > 0 {
					fmt.Fprintln(c.stdout)
				}
				fmt.Fprintf(c.stdout, "%s:\n", clean(u.String()))
			}
			if err := l.list(ctx, tree, u); err != nil {
				return err
			}
		}
		if c.asJSON {
			if l.found == nil {
				l.found = []wireEntry{}
			}
			c.jsonLine(l.found)
		}
		return nil
	})
	return cmd
}

// A listing is what ls shows.
type listing struct {
	long, single, all, deep, self, byTime, bySize, reverse, exact, human bool
	tty                                                                  bool
	width                                                                int
	c                                                                    *client
	found                                                                []wireEntry
	shown                                                                int
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
	w := wireEntry{Path: path, Name: e.Name, Type: typeOf(e), Owner: e.Owner, Group: e.Group, Link: e.Target, Perm: e.Perm, Unique: e.Unique}
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

func typeOf(e *remote.Entry) string {
	switch {
	case !e.Is(ftp.KnownType):
		return "unknown"
	case e.Mode.IsDir():
		return "dir"
	case e.Mode.Type() == fs.ModeSymlink:
		return "link"
	case e.Mode.Type() == 0:
		return "file"
	}
	return "other"
}

// list shows what a URL names.
func (l *listing) list(ctx context.Context, tree remote.Tree, u remote.URL) error {
	dir, pattern := u, ""
	if base := remote.Base(u.Path); strings.ContainsAny(base, "*?[") && !u.DirWanted {
		pattern = base
		dir.Path, dir.DirWanted = strings.TrimSuffix(strings.TrimSuffix(u.Path, base), "/"), true
		if dir.Path == "" && u.Absolute() {
			dir.Path = "/"
		}
	} else if l.self || !u.DirWanted {
		e, err := statRemote(ctx, tree, u)
		switch {
		case err != nil && (l.self || fault.KindOf(err) != fault.Unsupported):
			return err
		case err == nil && (l.self || !e.Mode.IsDir()):
			e.Name = remote.Base(u.Path)
			l.show(ctx, tree, "", []remote.Entry{e}, dir)
			return nil
		}
	}
	return l.walk(ctx, tree, dir, "", pattern)
}

const maxShown = 200 // directories deep

func (l *listing) walk(ctx context.Context, tree remote.Tree, dir remote.URL, rel, pattern string) error {
	if strings.Count(rel, "/") > maxShown {
		return fault.New(fault.BadName, fault.IDBadName, dir.String())
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
	for e, err := range tree.List(ctx, pathOf(dir)) {
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
		dir.Path, dir.DirWanted = remote.Join(dir.Path, pattern), false
		return fault.New(fault.NotFound, fault.IDNotFound, dir.String())
	}
	l.sort(entries)
	if l.deep && !l.structured() {
		if l.shown++; l.shown > 1 {
			fmt.Fprintln(l.c.stdout)
		}
		fmt.Fprintf(l.c.stdout, "%s:\n", clean(dir.String()))
	}
	l.show(ctx, tree, rel, entries, dir)
	if failed != nil {
		return failed
	}
	if !l.deep {
		return nil
	}
	for i := range entries {
		e := &entries[i]
		if !e.Mode.IsDir() || strings.Contains(e.Name, "/") || e.Name == ".." {
			continue
		}
		sub := dir
		sub.Path, sub.DirWanted = remote.Join(dir.Path, e.Name), true
		if err := l.walk(ctx, tree, sub, strings.TrimPrefix(rel+"/"+e.Name, "/"), ""); err != nil {
			return err
		}
	}
	return nil
}

func (l *listing) sort(entries []remote.Entry) {
	slices.SortStableFunc(entries, func(a, b remote.Entry) int {
		n := 0
		switch {
		case l.byTime:
			n = b.Time.Compare(a.Time)
		case l.bySize:
			n = int(min(max(b.Size-a.Size, -1), 1))
		}
		if n == 0 {
			n = strings.Compare(a.Name, b.Name)
		}
		if l.reverse {
			n = -n
		}
		return n
	})
}

// show writes entries of one directory.
func (l *listing) show(_ context.Context, _ remote.Tree, rel string, entries []remote.Entry, dir remote.URL) {
	out := l.c.stdout
	switch {
	case l.structured():
		for i := range entries {
			e := &entries[i]
			w := wireOf(strings.TrimPrefix(rel+"/"+e.Name, "/"), e)
			if l.c.asJSONL {
				l.c.jsonLine(w)
			} else {
				l.found = append(l.found, w)
			}
		}
	case l.long:
		l.showLong(entries)
	case l.tty && !l.single:
		l.columns(entries)
	default:
		for i := range entries {
			fmt.Fprintln(out, l.name(&entries[i]))
		}
	}
}

// name is a name as it may be shown: on a terminal without what would steer it.
func (l *listing) name(e *remote.Entry) string {
	n := e.Name
	if l.tty {
		n = clean(n)
		if e.Mode.IsDir() {
			n += "/"
		}
		return n
	}
	return strings.NewReplacer("\n", "?", "\r", "?", "\x00", "?").Replace(n)
}

func (l *listing) showLong(entries []remote.Entry) {
	type row struct{ mode, owner, group, size, time, name string }
	var rows []row
	var wOwner, wGroup, wSize int
	for i := range entries {
		e := &entries[i]
		r := row{mode: letters(e), owner: clean(orDash(e.Owner)), group: clean(orDash(e.Group)), size: "-", time: "-", name: l.name(e)}
		if e.Is(ftp.KnownSize) && !e.Mode.IsDir() {
			r.size = fmt.Sprint(e.Size)
			if !l.exact && (l.human || l.tty) {
				r.size = sizeOf(e.Size)
			}
		}
		if e.Is(ftp.KnownTime) {
			r.time = e.Time.Local().Format("2006-01-02 15:04")
			if l.exact {
				r.time = e.Time.Local().Format("2006-01-02 15:04:05")
			}
		}
		if e.Mode.Type() == fs.ModeSymlink && e.Target != "" {
			r.name = strings.TrimSuffix(r.name, "/") + " -> " + clean(e.Target)
		}
		wOwner, wGroup, wSize = max(wOwner, len(r.owner)), max(wGroup, len(r.group)), max(wSize, len(r.size))
		rows = append(rows, r)
	}
	for _, r := range rows {
		fmt.Fprintf(l.c.stdout, "%s  %-*s  %-*s  %*s  %-16s  %s\n", r.mode, wOwner, r.owner, wGroup, r.group, wSize, r.size, r.time, r.name)
	}
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// letters is the mode as ls writes it, with ? for what is not known.
func letters(e *remote.Entry) string {
	kind := "-"
	switch typeOf(e) {
	case "dir":
		kind = "d"
	case "link":
		kind = "l"
	case "unknown", "other":
		kind = "?"
	}
	if !e.Is(ftp.KnownMode) {
		return kind + "?????????"
	}
	return kind + e.Mode.Perm().String()[1:]
}

// columns shows names beside each other.
func (l *listing) columns(entries []remote.Entry) {
	var names []string
	widest := 0
	for i := range entries {
		n := l.name(&entries[i])
		names = append(names, n)
		widest = max(widest, len([]rune(n)))
	}
	width := l.width
	if width <= 0 {
		width = 80
	}
	per := max(width/(widest+2), 1)
	rows := (len(names) + per - 1) / per
	for r := range rows {
		line := ""
		for i := r; i < len(names); i += rows {
			if i+rows < len(names) {
				line += names[i] + strings.Repeat(" ", widest+2-len([]rune(names[i])))
			} else {
				line += names[i]
			}
		}
		fmt.Fprintln(l.c.stdout, line)
	}
}
