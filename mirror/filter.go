package mirror

import (
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"

	"dray/remote"
)

// Rules say which files are transferred. Patterns are those of a shell (* ? [a-z]);
// one with a slash inside is matched against the path below the top, ** standing
// for any number of directories; one without against each name; one that ends with a
// slash matches directories only. What Include matches is taken although Exclude
// matches it too; with Include and no Exclude only that is taken.
type Rules struct {
	Include, Exclude []string
	Newer, Older     time.Time // of the last change; zero: no limit
	Least, Most      int64     // bytes; Most -1: no limit
}

// Filter makes the filter, nil when everything passes. An error is a pattern that
// can't be read.
func (r Rules) Filter() (Filter, error) {
	include, err := patterns(r.Include)
	if err != nil {
		return nil, err
	}
	exclude, err := patterns(r.Exclude)
	if err != nil {
		return nil, err
	}
	if len(include)+len(exclude) == 0 && r.Newer.IsZero() && r.Older.IsZero() && r.Least == 0 && r.Most < 0 {
		return nil, nil
	}
	return func(rel string, e *remote.Entry) bool {
		dir := e.Mode.IsDir()
		switch {
		case matches(include, rel, dir):
		case matches(exclude, rel, dir):
			return false
		case len(include) > 0 && len(exclude) == 0 && !dir:
			return false
		}
		if dir || e.Mode.Type() == fs.ModeSymlink {
			return true
		}
		if e.Is(timed) && (!r.Newer.IsZero() && e.Time.Before(r.Newer) || !r.Older.IsZero() && e.Time.After(r.Older)) {
			return false
		}
		return !e.Is(sized) || e.Size >= r.Least && (r.Most < 0 || e.Size <= r.Most)
	}, nil
}

// A pattern is one line of Rules.
type pattern struct {
	parts []string // "**" stands for any number
	whole bool     // against the path, not against each name
	dir   bool
}

const maxPattern = 4096

func patterns(texts []string) ([]pattern, error) {
	var out []pattern
	for _, text := range texts {
		p := pattern{}
		s := text
		if strings.HasSuffix(s, "/") {
			p.dir, s = true, strings.TrimRight(s, "/")
		}
		if strings.HasPrefix(s, "/") {
			p.whole, s = true, strings.TrimLeft(s, "/")
		}
		p.whole = p.whole || strings.Contains(s, "/")
		if s == "" || len(s) > maxPattern {
			return nil, fmt.Errorf("the pattern %q matches nothing; write names with * ? or [a-z] in them", text)
		}
		for part := range strings.SplitSeq(s, "/") {
			if part == "" || part == "." {
				continue
			}
			if _, err := path.Match(part, ""); err != nil {
				return nil, fmt.Errorf("the pattern %q: a [ without its ], or a \\ at the end", text)
			}
			if part == "**" && len(p.parts) > 0 && p.parts[len(p.parts)-1] == "**" {
				continue
			}
			p.parts = append(p.parts, part)
		}
		if len(p.parts) == 0 {
			return nil, fmt.Errorf("the pattern %q matches nothing; write names with * ? or [a-z] in them", text)
		}
		out = append(out, p)
	}
	return out, nil
}

func matches(all []pattern, rel string, dir bool) bool {
	for i := range all {
		p := &all[i]
		if p.dir && !dir {
			continue
		}
		parts := strings.Split(rel, "/")
		if !p.whole {
			parts = parts[len(parts)-1:]
		}
		if p.match(parts) {
			return true
		}
	}
	return false
}

// match matches the parts of a path. When what follows a ** does not fit, the ** takes
// one part more; those before it need no other try.
func (p *pattern) match(parts []string) bool {
	i, at := 0, 0
	star, from := -1, 0
	for at < len(parts) {
		switch {
		case i < len(p.parts) && p.parts[i] == "**":
			star, from = i, at
			i++
			continue
		case i < len(p.parts):
			if ok, err := path.Match(p.parts[i], parts[at]); err == nil && ok {
				i++
				at++
				continue
			}
		}
		if star < 0 {
			return false
		}
		from++
		i, at = star+1, from
	}
	for i < len(p.parts) && p.parts[i] == "**" {
		i++
	}
	return i == len(p.parts)
}
