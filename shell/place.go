package shell

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"dray/fault"
	"dray/mirror"
	"dray/remote"
	"dray/screen"
)

// at is a path as trees take it.
func at(p string) string {
	if p == "" {
		return "."
	}
	return p
}

// resolve is the path that an argument means: below the directory, from the root, or
// from the place of the login, which ~ is.
func (p place) resolve(arg string) string {
	switch {
	case arg == "~" || strings.HasPrefix(arg, "~/"):
		arg = remote.Join(p.conn.home, strings.TrimLeft(strings.TrimPrefix(arg, "~"), "/"))
	case !strings.HasPrefix(arg, "/"):
		arg = remote.Join(p.cwd, arg)
	}
	if arg = path.Clean(arg); arg == "." {
		return ""
	}
	return arg
}

// url is a path for people.
func (p place) url(at string) string {
	if p.conn == nil {
		return at
	}
	u := p.conn.url
	u.Path, u.DirWanted, u.Type = at, false, ""
	if p.conn.home == "/" && u.Scheme.IsFTP() { // ftp://host/x and ftp://host//x are the same then
		u.Path = strings.TrimPrefix(at, "/")
	}
	return u.String()
}

// url is that of a path of this call's server.
func (c *call) url(p string) string { return c.place.url(p) }

func (c *call) tree() remote.Tree { return c.place.conn.tree }

// A found is a name of a server that an argument stands for.
type found struct {
	path  string
	entry *remote.Entry // nil: nobody has looked
	slash bool          // the argument ended with one
}

const (
	maxFound = 100000 // what patterns stand for, at most
	maxDeep  = 200    // directories below each other
)

// remote is what arguments stand for. What can't be found is noted as a failure, and
// the others are returned.
func (c *call) remote(words []Word) []found {
	var out []found
	for _, w := range words {
		if c.ctx.Err() != nil {
			return nil
		}
		some, err := c.expand(w)
		if err != nil {
			c.fail(c.url(c.place.resolve(w.Text)), err)
			continue
		}
		out = append(out, some...)
	}
	return out
}

// expand is what one argument stands for.
func (c *call) expand(w Word) ([]found, error) {
	slash := len(w.Text) > 1 && strings.HasSuffix(w.Text, "/")
	if w.Glob == "" {
		return []found{{path: c.place.resolve(w.Text), slash: slash}}, nil
	}
	parts := strings.Split(strings.TrimRight(w.Glob, "/"), "/")
	base := c.place.cwd
	switch {
	case parts[0] == "":
		base, parts = "/", parts[1:]
	case parts[0] == "~":
		base, parts = c.place.conn.home, parts[1:]
	}
	dirs, matched := []found{{path: base}}, false
	for i, part := range parts {
		last := i == len(parts)-1
		if !hasMeta(part) {
			name := unescape(part)
			for j := range dirs {
				dirs[j] = found{path: place{c.place.conn, dirs[j].path}.resolve(at(name))}
			}
			if last && matched { // as */index.html: where it is
				dirs = slices.DeleteFunc(dirs, func(f found) bool {
					_, err := c.tree().Stat(c.ctx, at(f.path))
					return err != nil && (errors.Is(err, fs.ErrNotExist) || fault.KindOf(err) == fault.NotDir)
				})
			}
			continue
		}
		matched = true
		var next []found
		for _, d := range dirs {
			some, err := c.match(d.path, part, last && !slash)
			if err != nil {
				if len(dirs) > 1 { // what looked like a directory and is none
					continue
				}
				return nil, err
			}
			if next = append(next, some...); len(next) > maxFound {
				return nil, misuse("%s stands for more than %d names", screen.Line(w.Text), maxFound)
			}
		}
		dirs = next
	}
	if len(dirs) == 0 {
		return nil, fault.New(fault.NotFound, fault.IDNotFound, c.url(c.place.resolve(w.Text)))
	}
	return dirs, nil
}

// match is what a pattern matches in one directory; only directories unless last.
func (c *call) match(dir, part string, last bool) ([]found, error) {
	var out []found
	literal := unescape(part)
	for e, err := range c.tree().List(c.ctx, at(dir)) {
		if err != nil {
			return nil, err
		}
		one := found{path: remote.Join(dir, e.Name), entry: &e}
		if e.Name == literal && last {
			return []found{one}, nil
		}
		if ok, _ := path.Match(part, e.Name); !ok || e.Name == "" || e.Name[0] == '.' && part[0] != '.' {
			continue
		}
		if err := mirror.CheckName(e.Name); err != nil {
			c.fail(c.url(dir), err)
			continue
		}
		if !last && e.Is(knownType) && !e.Mode.IsDir() && e.Mode.Type() != fs.ModeSymlink {
			continue
		}
		if out = append(out, one); len(out) > maxFound {
			return nil, misuse("%s stands for more than %d names", screen.Line(part), maxFound)
		}
	}
	slices.SortFunc(out, func(a, b found) int { return strings.Compare(a.path, b.path) })
	return out, nil
}

func hasMeta(pattern string) bool {
	for i := 0; i < len(pattern); i++ {
		switch pattern[i] {
		case '\\':
			i++
		case '*', '?', '[':
			return true
		}
	}
	return false
}

// unescape is the name that a pattern without meta characters stands for.
func unescape(pattern string) string {
	var b strings.Builder
	for i := 0; i < len(pattern); i++ {
		if pattern[i] == '\\' && i+1 < len(pattern) {
			i++
		}
		b.WriteByte(pattern[i])
	}
	return b.String()
}

// files are the paths of this machine that arguments stand for.
func (c *call) files(words []Word) ([]string, error) {
	var out []string
	for _, w := range words {
		if w.Glob == "" {
			out = append(out, c.set.here(w.Text))
			continue
		}
		some, err := c.set.glob(w)
		if err != nil {
			return nil, err
		}
		if out = append(out, some...); len(out) > maxFound {
			return nil, misuse("%s stands for more than %d names", screen.Line(w.Text), maxFound)
		}
	}
	return out, nil
}

// glob is what a pattern stands for on this machine.
func (s *settings) glob(w Word) ([]string, error) {
	parts := strings.Split(strings.TrimRight(w.Glob, "/"), "/")
	dirs := []string{""}
	switch {
	case parts[0] == "":
		dirs, parts = []string{"/"}, parts[1:]
	case parts[0] == "~":
		dirs, parts = []string{s.home}, parts[1:]
	}
	for _, part := range parts {
		var next []string
		for _, dir := range dirs {
			if !hasMeta(part) {
				name := filepath.Join(dir, unescape(part))
				if _, err := os.Lstat(s.here(name)); err == nil {
					next = append(next, name)
				}
				continue
			}
			open := dir
			if open == "" {
				open = "."
			}
			entries, err := os.ReadDir(s.here(open))
			if err != nil {
				continue
			}
			for _, e := range entries {
				if ok, _ := path.Match(part, e.Name()); ok && (e.Name()[0] != '.' || part[0] == '.') || e.Name() == unescape(part) {
					next = append(next, filepath.Join(dir, e.Name()))
				}
			}
		}
		if dirs = next; len(dirs) > maxFound {
			return nil, misuse("%s stands for more than %d names", screen.Line(w.Text), maxFound)
		}
	}
	if len(dirs) == 0 {
		return nil, mirror.LocalError(s.here(w.Text), fs.ErrNotExist)
	}
	for i := range dirs {
		dirs[i] = s.here(dirs[i])
	}
	return dirs, nil
}

// isDir tells whether a path of this machine is a directory.
func isDir(name string) bool {
	fi, err := os.Stat(name)
	return err == nil && fi.IsDir()
}

// look tells what is at a path of the server, a link as such. A server that lists
// nothing where it is tells it by Stat.
func (c *call) look(ctx context.Context, p string) (remote.Entry, error) {
	e, err := c.tree().Seen(ctx, at(p))
	if err != nil && ctx.Err() == nil && !mirror.Fatal(err) {
		there, stat := c.tree().Stat(ctx, at(p))
		if stat == nil || errors.Is(stat, fs.ErrNotExist) {
			return there, stat
		}
	}
	return e, err
}
