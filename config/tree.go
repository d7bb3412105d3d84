package config

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"

	toml "github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// A form is how a value is written.
type form int

const (
	asText   form = iota // in a variable, or in a file of its own
	asString             // in quotes
	asInteger
	asFloat
	asBool
	asDate
	asDateTime
	asList
	asTable
	asBroken // not readable, and reported
)

func (f form) String() string {
	return [...]string{"text", "a string", "a number", "a number with a fraction", "true or false", "a date", "a time",
		"a list", "a table", "broken"}[f]
}

// A place is where a value comes from: a line of the file or a variable, and the
// file of its own that either may name.
type place struct {
	line int
	env  string
	file string
}

// A node is a value as it was written, before the schema says what it means.
type node struct {
	form  form
	text  string // of a scalar; of a string without its quotes
	at    place
	items []*node          // of a list
	keys  map[string]*node // of a table
	names []string         // the keys in their order

	header bool  // a table with a header of its own
	closed bool  // written inline: no header or dotted key adds to it
	under  *node // what a variable took the place of
}

func newTable(at place) *node { return &node{form: asTable, at: at, keys: map[string]*node{}} }

func (n *node) put(name string, child *node) {
	if n.keys[name] == nil {
		n.names = append(n.names, name)
	}
	n.keys[name] = child
}

// said is the value for a message. What a file of its own holds is not shown: it
// may be a secret.
func (n *node) said() string {
	switch {
	case n.at.file != "":
		return fmt.Sprintf("the first line of %q", n.at.file)
	case n.form == asText || n.form == asString:
		return strconv.Quote(short(n.text))
	case n.form == asList || n.form == asTable:
		return "what is given"
	}
	return short(n.text)
}

// join appends a key to a path.
func join(path, key string) string {
	if key == "" || strings.Trim(key, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != "" {
		key = strconv.Quote(short(key))
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

func element(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }

// A parser collects what one file and one environment say, and all that is wrong
// with it.
type parser struct {
	file     string
	dir      string // where relative paths begin, "": they stay
	text     []byte
	lines    []int // where each line begins
	root     *node
	problems []Problem
	at       map[string]place
	bad      map[string]bool
	cut      bool // the file was read up to a syntax error only
	nodes    int
}

// add reports a problem of the key at path, which is written at.
func (p *parser) add(at place, path, what, do string) {
	p.problems = append(p.problems, problemAt(p.file, at, path, what, do))
}

func problemAt(file string, at place, path, what, do string) Problem {
	pr := Problem{Field: path, What: what, Do: do}
	switch {
	case at.env != "":
		pr.Field = at.env
	case at.line > 0:
		pr.File, pr.Line = file, at.line
	}
	return pr
}

// line is the number of the line that holds the byte at offset.
func (p *parser) line(offset int) int {
	return sort.Search(len(p.lines), func(i int) bool { return p.lines[i] > offset })
}

// A scope is the table that keys go to.
type scope struct {
	n    *node
	t    *table // nil below keys that are not known
	path string
}

// readFile builds the tree of p.text. A line that can't be read is reported and
// left out where it is certain that it is one line; else the rest of the file is
// not read.
func (p *parser) readFile() {
	p.lines = append(p.lines, 0)
	for i, b := range p.text {
		if b == '\n' {
			p.lines = append(p.lines, i+1)
		}
	}
	here := scope{p.root, schema, ""}
	var ast unstable.Parser
	base, end := 0, 0 // where the parser began, and the last expression ended
	ast.Reset(p.text)
	for {
		for ast.NextExpression() {
			e := ast.Expression()
			keys := p.keysOf(e, base)
			if e.Kind == unstable.KeyValue {
				end = base + int(e.Raw.Offset+e.Raw.Length)
				p.assign(here, keys, p.value(e.Value(), base, keys[0].line))
				continue
			}
			end = keys[len(keys)-1].end
			here = p.open(keys, e.Kind == unstable.ArrayTable)
		}
		err := ast.Error()
		if err == nil {
			break
		}
		at := end
		var syntax *unstable.ParserError
		if errors.As(err, &syntax) {
			if i := cap(p.text) - cap(syntax.Highlight); i >= base && i <= len(p.text) {
				at = i
			}
		}
		next, ok := p.skip(here, at, end, err.Error())
		if !ok {
			p.cut = true
			p.add(place{line: p.line(at)}, "syntax", err.Error(), `write lines as key = "value" below headers as [limits]; the file was read up to here only`)
			return
		}
		base, end = next, next
		ast.Reset(p.text[base:])
	}
}

var assignment = regexp.MustCompile(`^[ \t]*([A-Za-z0-9_-]+(?:[ \t]*\.[ \t]*[A-Za-z0-9_-]+)*)[ \t]*(?:=[ \t]*(.*))?$`)

// skip gets over the line with the byte at offset, in which message is wrong,
// when it is a comment or an assignment of its own. It returns the beginning of
// the next line.
func (p *parser) skip(here scope, offset, end int, message string) (next int, ok bool) {
	number := p.line(offset)
	start, next := p.lines[number-1], len(p.text)
	if number < len(p.lines) {
		next = p.lines[number]
	}
	for between := range bytes.Lines(p.text[min(p.after(end), start):start]) {
		if between = bytes.TrimSpace(between); len(between) > 0 && between[0] != '#' {
			return 0, false // it began further up
		}
	}
	line := strings.TrimRight(string(p.text[start:next]), "\r\n")
	at := place{line: number}
	if strings.HasPrefix(strings.TrimSpace(line), "#") {
		p.add(at, "comment", message, "write comments in UTF-8 without control characters")
		return next, true
	}
	m := assignment.FindStringSubmatch(line)
	if m == nil {
		return 0, false
	}
	value := strings.TrimSpace(m[2])
	for _, several := range []struct{ begin, end string }{{"[", "]"}, {"{", "}"}, {`"""`, ""}, {"'''", ""}} {
		if strings.HasPrefix(value, several.begin) && (several.end == "" || !strings.HasSuffix(value, several.end)) {
			return 0, false
		}
	}
	var keys []keyPart
	for name := range strings.SplitSeq(m[1], ".") {
		keys = append(keys, keyPart{strings.TrimSpace(name), number, start})
	}
	path, do := join(here.path, keys[0].name), fmt.Sprintf("write %s = %q", m[1], value)
	for t, i := here.t, 0; t != nil && i < len(keys); i++ {
		f := t.field(keys[i].name)
		if f == nil {
			break
		}
		if i > 0 {
			path = join(path, keys[i].name)
		}
		if t = f.sub; t == nil && i == len(keys)-1 {
			do = "write " + f.sample()
			bare, _, _ := strings.Cut(value, "#")
			if v, wrong := f.fromText(strings.TrimSpace(bare)); wrong == nil && strings.Trim(value, `"'[{`) == value && value != "" {
				do = "write " + f.key + " = " + literal(f, v)
				if strings.Contains(do, `"`) {
					message = "text stands in quotes"
				}
			}
		}
	}
	what := strconv.Quote(short(value)) + " is no value: " + message
	switch {
	case value == "":
		what = "has no value"
	case strings.ContainsAny(value, `"\`): // else with each of them escaped
		what = fmt.Sprintf("%#q is no value: %s", short(value), message)
	}
	p.add(at, path, what, do)
	p.assign(here, keys, &node{form: asBroken, at: at})
	return next, true
}

// after is the beginning of the line after the byte at offset, unless that is
// the first of its own line.
func (p *parser) after(offset int) int {
	n := p.line(offset)
	if p.lines[n-1] == offset {
		return offset
	}
	if n < len(p.lines) {
		return p.lines[n]
	}
	return len(p.text)
}

// A keyPart is one word of a dotted key.
type keyPart struct {
	name string
	line int
	end  int
}

func (p *parser) keysOf(e *unstable.Node, base int) []keyPart {
	var keys []keyPart
	for it := e.Key(); it.Next(); {
		raw := it.Node().Raw
		from := base + int(raw.Offset)
		keys = append(keys, keyPart{string(it.Node().Data), p.line(from), from + int(raw.Length)})
	}
	return keys
}

// value turns an expression into a node; line is for those without a position.
func (p *parser) value(e *unstable.Node, base, line int) *node {
	p.nodes++
	n := &node{text: string(e.Data), at: place{line: line}}
	if e.Raw.Length > 0 {
		n.at.line = p.line(base + int(e.Raw.Offset))
	}
	switch e.Kind {
	case unstable.String:
		n.form = asString
	case unstable.Integer:
		n.form = asInteger
	case unstable.Float:
		n.form = asFloat
	case unstable.Bool:
		n.form = asBool
	case unstable.LocalDate:
		n.form = asDate
	case unstable.LocalTime, unstable.LocalDateTime, unstable.DateTime:
		n.form = asDateTime
	case unstable.Array:
		n.form = asList
		n.closed = true
		for it := e.Children(); it.Next(); {
			n.items = append(n.items, p.value(it.Node(), base, n.at.line))
		}
	case unstable.InlineTable:
		at := n.at
		n = newTable(at)
		for it := e.Children(); it.Next(); {
			keys := p.keysOf(it.Node(), base)
			p.assign(scope{n, nil, ""}, keys, p.value(it.Node().Value(), base, keys[0].line))
		}
		n.closed = true
	}
	return n
}

// assign puts a value under a key that may be dotted.
func (p *parser) assign(here scope, keys []keyPart, v *node) {
	p.nodes++
	for _, k := range keys[:len(keys)-1] {
		var ok bool
		if here, ok = p.descend(here, k); !ok {
			return
		}
	}
	k := keys[len(keys)-1]
	if was := here.n.keys[k.name]; was != nil {
		p.twice(was, join(here.path, k.name), k.line)
		return
	}
	here.n.put(k.name, v)
}

func (p *parser) twice(was *node, path string, line int) {
	p.add(place{line: line}, path, "is given twice, first in line "+strconv.Itoa(was.at.line), "keep one of them")
}

// descend goes to a table that a longer key passes through, and makes it where
// it is not there.
func (p *parser) descend(here scope, k keyPart) (scope, bool) {
	below := scope{here.n.keys[k.name], nil, join(here.path, k.name)}
	if f := here.t.find(k.name); f != nil {
		below.t = f.sub
	}
	switch was := below.n; {
	case was == nil:
		below.n = newTable(place{line: k.line})
		here.n.put(k.name, below.n)
	case was.form == asList && !was.closed && len(was.items) > 0:
		below.n = was.items[len(was.items)-1]
		below.path = element(below.path, len(was.items)-1)
	case was.form != asTable || was.closed:
		p.twice(was, below.path, k.line)
		return scope{}, false
	}
	return below, true
}

// find is field of a table that may be unknown.
func (t *table) find(key string) *field {
	if t == nil {
		return nil
	}
	return t.field(key)
}

// open begins the table of a header, [a.b] or [[a.b]].
func (p *parser) open(keys []keyPart, double bool) scope {
	p.nodes++
	here := scope{p.root, schema, ""}
	for _, k := range keys[:len(keys)-1] {
		var ok bool
		if here, ok = p.descend(here, k); !ok {
			return scope{newTable(place{line: k.line}), nil, here.path}
		}
	}
	k := keys[len(keys)-1]
	at := place{line: k.line}
	to := scope{newTable(at), nil, join(here.path, k.name)}
	to.n.header = true
	list := double
	if f := here.t.find(k.name); f != nil && f.sub != nil {
		to.t, list = f.sub, f.list
		switch {
		case f.list && !double:
			p.add(at, to.path, "is one of a list of tables", "write [["+header(to.path)+"]]")
		case !f.list && double:
			p.add(at, to.path, "is there only once", "write ["+header(to.path)+"]")
		}
	}
	was := here.n.keys[k.name]
	switch {
	case list && was == nil:
		here.n.put(k.name, &node{form: asList, at: at, items: []*node{to.n}})
		to.path = element(to.path, 0)
	case list && was.form == asList && !was.closed:
		was.items = append(was.items, to.n)
		to.path = element(to.path, len(was.items)-1)
	case was == nil:
		here.n.put(k.name, to.n)
	case was.form == asTable && !was.closed && !list:
		if was.header {
			p.twice(was, to.path, k.line)
		}
		was.header = true
		to.n = was
	default:
		p.twice(was, to.path, k.line)
	}
	return to
}

var indices = regexp.MustCompile(`\[\d+\]`)

// header is the path of a table as a file writes it.
func header(path string) string { return indices.ReplaceAllString(path, "") }

// conform asks the library about the rules of TOML that the tree does not know,
// such as a header for a table that dotted keys have made. It reports at most
// one problem, and none for a line that has one.
func (p *parser) conform() {
	if p.cut || p.nodes > 10000 { // it searches all keys for each
		return
	}
	var ignored map[string]any
	err := toml.Unmarshal(p.text, &ignored)
	var syntax *toml.DecodeError
	if !errors.As(err, &syntax) {
		return
	}
	line, _ := syntax.Position()
	if !slices.ContainsFunc(p.problems, func(pr Problem) bool { return pr.Line == line }) {
		p.add(place{line: line}, "syntax", strings.TrimPrefix(syntax.Error(), "toml: "), "write each key and each table once, in one place")
	}
}
