package shell

import (
	"context"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"dray/mirror"
)

// How long a listing is good for completions, how long one is waited for, and how
// long it may go on meanwhile.
const (
	namesFor  = 10 * time.Second
	namesWait = 2 * time.Second
	namesEnd  = 20 * time.Second
)

// What is kept of listings for completions.
const (
	maxNames   = 10000
	maxListed  = 32
	maxMatches = 1000
)

// names remembers listings.
type names struct {
	mu   sync.Mutex
	dirs map[string]*listed
}

// listed is a listing that is there, or on its way.
type listed struct {
	at      time.Time
	done    chan struct{}
	entries []nameEntry // when done is closed
}

type nameEntry struct {
	name string
	dir  bool
}

// list is what is in a directory of the server, nil when that takes too long.
func (n *names) list(ctx context.Context, p place, dir string) []nameEntry {
	key := p.url(dir)
	n.mu.Lock()
	l := n.dirs[key]
	if l == nil || time.Since(l.at) > namesFor {
		if n.dirs == nil || len(n.dirs) >= maxListed {
			n.dirs = map[string]*listed{}
		}
		l = &listed{at: time.Now(), done: make(chan struct{})}
		n.dirs[key] = l
		p.conn.keep()
		go func() {
			defer p.conn.release()
			defer close(l.done)
			ctx, cancel := context.WithTimeout(ctx, namesEnd)
			defer cancel()
			for e, err := range p.conn.tree.List(ctx, at(dir)) {
				if err != nil || len(l.entries) >= maxNames {
					break
				}
				if mirror.CheckName(e.Name) == nil && printable(e.Name) == e.Name { // others would steer the terminal
					l.entries = append(l.entries, nameEntry{e.Name, e.Mode.IsDir()})
				}
			}
		}()
	}
	n.mu.Unlock()
	timer := time.NewTimer(namesWait)
	defer timer.Stop()
	select {
	case <-l.done:
		return l.entries
	case <-timer.C:
	case <-ctx.Done():
	}
	return nil
}

// forget makes the next completion look again.
func (n *names) forget() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.dirs = nil
}

// printable is a text in which nothing is left that a terminal would not show as a
// letter.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}

// complete is what the last word of a line may become; head is what stands before.
func (s *Shell) complete(ctx context.Context, line string) (head string, all []string) {
	sc := scan(line)
	if sc.quote == '#' || sc.start > len(line) {
		return line, nil
	}
	head, typed := line[:sc.start], sc.word.Text
	if sc.start == len(line) {
		typed = ""
	}
	if len(sc.last.Words) == 0 {
		for _, v := range s.table {
			if strings.HasPrefix(v.name, typed) && v.name != "!" {
				all = append(all, v.name+" ")
			}
		}
		if len(all) == 0 {
			for _, v := range s.table {
				for _, a := range v.aliases {
					if strings.HasPrefix(a, typed) {
						all = append(all, a+" ")
					}
				}
			}
		}
		return head, all
	}
	v, err := s.find(sc.last.Words[0].Text)
	if err != nil {
		return head, nil
	}
	ended := slices.ContainsFunc(sc.last.Words, func(w Word) bool { return w.Text == "--" })
	if strings.HasPrefix(typed, "-") && sc.quote == 0 && !v.raw && !ended {
		for _, o := range v.opts {
			if form := "--" + o.long; strings.HasPrefix(form, typed) && len(typed) > 1 {
				all = append(all, form+" ")
			}
		}
		return head, all
	}
	n, options := 0, !v.raw
	for _, w := range sc.last.Words[1:] {
		switch {
		case options && w.Text == "--":
			options = false
		case !options || !strings.HasPrefix(w.Text, "-"):
			n++
		}
	}
	kind := v.kind(n)
	if v.name == "mirror" {
		up := slices.ContainsFunc(sc.last.Words, func(w Word) bool { return w.Text == "-R" || w.Text == "--reverse" })
		if kind = remoteDir; up == (n == 0) {
			kind = localDir
		}
	}
	dir, base := "", typed
	if i := strings.LastIndexByte(typed, '/'); i >= 0 {
		dir, base = typed[:i+1], typed[i+1:]
	}
	var entries []nameEntry
	switch kind {
	case verbName:
		for _, v := range s.table {
			if strings.HasPrefix(v.name, typed) {
				all = append(all, v.name+" ")
			}
		}
		return head, all
	case jobNumber:
		for _, j := range s.jobs.sorted() {
			if n := strconv.Itoa(j.n); strings.HasPrefix(n, typed) {
				all = append(all, n+" ")
			}
		}
		return head, all
	case remoteName, remoteDir:
		if s.place.conn == nil {
			return head, nil
		}
		where := s.place.cwd
		if dir != "" {
			where = s.place.resolve(dir)
		}
		entries = s.names.list(ctx, s.place, where)
	case localName, localDir:
		where := dir
		if where == "" {
			where = "."
		}
		found, err := os.ReadDir(s.set.here(where))
		if err != nil {
			return head, nil
		}
		for _, e := range found {
			if printable(e.Name()) == e.Name() {
				entries = append(entries, nameEntry{e.Name(), e.IsDir() || e.Type()&os.ModeSymlink != 0 && isDir(s.set.here(where+"/"+e.Name()))})
			}
		}
	default:
		return head, nil
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.name, base) || base == "" && e.name[0] == '.' || (kind == remoteDir || kind == localDir) && !e.dir {
			continue
		}
		name := dir + e.name
		if dir == "" && (e.name[0] == '-' || e.name[0] == '~') && sc.quote == 0 {
			name = "./" + name
		}
		text := escape(name, sc.quote)
		switch {
		case e.dir && strings.HasPrefix(text, "\"") && sc.quote == '\'': // closed already
			text = strings.TrimSuffix(text, `"`) + "/"
		case e.dir:
			text += "/"
		case sc.quote == '\'' && strings.HasPrefix(text, `"`):
			text += " "
		case sc.quote != 0:
			text += string(rune(sc.quote)) + " "
		default:
			text += " "
		}
		if all = append(all, text); len(all) >= maxMatches {
			break
		}
	}
	slices.Sort(all)
	return head, all
}
