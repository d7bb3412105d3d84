package ftp

import (
	"errors"
	"strings"
	"unicode/utf8"
)

// ErrGlobBudget ends a match that has used up the steps it was given.
var ErrGlobBudget = errors.New("pattern needs too many steps")

// maxGlob is the length of a pattern in bytes. Names have 255 bytes, and each of
// them may be escaped.
const maxGlob = 1024

// A Glob is a pattern for one name of a directory: '*' any characters, '?' one
// character, "[a-z]" one of a set, "[!a-z]" or "[^a-z]" one that is not in it,
// '\' takes the next character as it is. There are no braces, no "**" and no
// named classes. A character is one of UTF-8, or one byte that is none. The zero
// Glob matches the empty name only.
type Glob struct {
	parts []globPart
	sets  [][]globRange
}

type globOp uint8

const (
	globLiteral globOp = iota
	globOne
	globAny
	globIn
	globNotIn
)

type globPart struct {
	op globOp
	r  rune // of a literal
	at int  // of a set, in Glob.sets
}

type globRange struct{ lo, hi rune }

// HasGlob tells whether s has a character that makes it a pattern. A backslash
// does not: alone it is part of a name.
func HasGlob(s string) bool { return strings.ContainsAny(s, "*?[") }

// globChar returns the first character of s, and its length. A byte that is not
// UTF-8 is a character of its own, above all others.
func globChar(s string) (rune, int) {
	r, n := utf8.DecodeRuneInString(s)
	if r == utf8.RuneError && n == 1 {
		r = utf8.MaxRune + 1 + rune(s[0])
	}
	return r, n
}

// ParseGlob reads a pattern. As in a shell a '[' that is never closed and a '\'
// at the end are themselves. ErrSyntax is a pattern with a slash, or with more
// than 1024 bytes.
func ParseGlob(pattern string) (Glob, error) {
	if len(pattern) > maxGlob || strings.Contains(pattern, "/") {
		return Glob{}, ErrSyntax
	}
	var g Glob
	unclosed := false
	for s := pattern; s != ""; {
		r, n := globChar(s)
		part := globPart{op: globLiteral, r: r}
		switch {
		case r == '*':
			part.op = globAny
			if k := len(g.parts); k > 0 && g.parts[k-1].op == globAny {
				s = s[n:] // as one: each would be another place to come back to
				continue
			}
		case r == '?':
			part.op = globOne
		case r == '\\' && len(s) > 1:
			c, m := globChar(s[1:])
			part.r, n = c, 1+m
		case r == '[' && !unclosed:
			if set, op, m := parseSet(s); m > 0 {
				part.op, part.at, n = op, len(g.sets), m
				g.sets = append(g.sets, set)
			} else {
				unclosed = true // and so is every later one: do not look again
			}
		}
		g.parts = append(g.parts, part)
		s = s[n:]
	}
	return g, nil
}

// parseSet reads the set that s begins with, and its length; 0 when it is not
// closed. A ']' that comes first and a '-' at either end are members.
func parseSet(s string) (set []globRange, op globOp, length int) {
	i, op := 1, globIn
	if i < len(s) && (s[i] == '!' || s[i] == '^') {
		i, op = i+1, globNotIn
	}
	char := func() (rune, bool) {
		if i < len(s) && s[i] == '\\' {
			i++
		}
		if i >= len(s) {
			return 0, false
		}
		r, n := globChar(s[i:])
		i += n
		return r, true
	}
	for first := true; ; first = false {
		if i < len(s) && s[i] == ']' && !first {
			return set, op, i + 1
		}
		lo, ok := char()
		if !ok {
			return nil, op, 0
		}
		hi := lo
		if i+1 < len(s) && s[i] == '-' && s[i+1] != ']' {
			i++
			if hi, ok = char(); !ok {
				return nil, op, 0
			}
		}
		set = append(set, globRange{lo, hi}) // upside down: matches nothing
	}
}

// Match tells whether the pattern matches the whole name. A dot at the beginning
// of a name is matched by a dot only. Each step takes one from *budget, and
// ErrGlobBudget says that there was none left; nil is no limit. At worst the
// steps are the length of the name times that of the pattern.
func (g Glob) Match(name string, budget *int) (bool, error) {
	if strings.HasPrefix(name, ".") && (len(g.parts) == 0 || g.parts[0].op != globLiteral) {
		return false, nil
	}
	// Only the last '*' is ever taken back: what stands before it has matched as
	// early as it can.
	p, i := 0, 0
	star, from := -1, 0
	for {
		cost := 1
		if p < len(g.parts) && g.parts[p].op >= globIn {
			cost += len(g.sets[g.parts[p].at])
		}
		if budget != nil {
			if *budget < cost {
				*budget = 0
				return false, ErrGlobBudget
			}
			*budget -= cost
		}
		switch {
		case p < len(g.parts) && g.parts[p].op == globAny:
			p++
			star, from = p, i
			if p == len(g.parts) {
				return true, nil
			}
			continue
		case i == len(name) && p == len(g.parts):
			return true, nil
		case i == len(name):
			return false, nil // a longer '*' leaves even less
		case p < len(g.parts):
			if r, n := globChar(name[i:]); g.one(g.parts[p], r) {
				p, i = p+1, i+n
				continue
			}
		}
		if star < 0 {
			return false, nil
		}
		_, n := globChar(name[from:])
		from += n
		p, i = star, from
	}
}

// one tells whether a part that is not '*' matches r.
func (g Glob) one(part globPart, r rune) bool {
	switch part.op {
	case globLiteral:
		return part.r == r
	case globOne:
		return true
	}
	for _, s := range g.sets[part.at] {
		if s.lo <= r && r <= s.hi {
			return part.op == globIn
		}
	}
	return part.op == globNotIn
}
