package config

import (
	"slices"
	"strconv"
	"strings"

	"dray/spelling"
)

const envPrefix = "DRAY_"

// foreign are the variables that are no keys: the password and the file are
// named to commands, the others steer the tests.
var foreign = []string{"DRAY_PASSWORD", "DRAY_PASSWORD_FILE", "DRAY_CONFIG", "DRAY_BINARY", "DRAY_LONG"}

// A step is one part of the way to a key; index is -1 but in lists of tables.
type step struct {
	f     *field
	index int
}

// readEnv lays the variables over the tree: in the order of their indices, so
// that each may create the next table of a list.
func (p *parser) readEnv(env []string) {
	values := map[string]string{} // the last one counts, as for programs that are started
	for _, s := range env {
		name, value, ok := strings.Cut(s, "=")
		if ok && strings.HasPrefix(name, envPrefix) && !slices.Contains(foreign, name) {
			values[name] = value
		}
	}
	type variable struct {
		name string
		way  []step
		file bool
	}
	var all []variable
	for name := range values {
		v := variable{name: name, way: schema.match(name[len(envPrefix):])}
		if v.way == nil {
			if rest, ok := strings.CutSuffix(name, "_FILE"); ok && len(rest) > len(envPrefix) {
				v.way, v.file = schema.match(rest[len(envPrefix):]), true
			}
		}
		all = append(all, v)
	}
	slices.SortFunc(all, func(a, b variable) int {
		for i := range min(len(a.way), len(b.way)) {
			if a.way[i].f != b.way[i].f {
				break
			}
			if d := a.way[i].index - b.way[i].index; d != 0 {
				return d
			}
		}
		return strings.Compare(a.name, b.name)
	})
	if slices.ContainsFunc(all, func(v variable) bool { return v.way != nil && v.way[0].f.key == "listener" }) {
		p.usualListeners()
	}
	for _, v := range all {
		if v.way == nil {
			p.strange(v.name)
			continue
		}
		n := &node{form: asText, text: values[v.name], at: place{env: v.name}}
		if v.file {
			if plain := strings.TrimSuffix(v.name, "_FILE"); has(values, plain) {
				p.add(n.at, "", "is set together with "+plain, "set one of them")
				continue
			}
			holder := newTable(n.at)
			holder.put("file", n)
			holder.closed = true
			n = holder
		}
		p.setEnv(v.way, n)
	}
}

// usualListeners writes down those of a file without any: a variable changes one
// of them, and takes none away.
func (p *parser) usualListeners() {
	const key = "listener"
	if n := p.root.keys[key]; n != nil && (n.form != asList || len(n.items) > 0) {
		return
	}
	of := func(protocol string) *node {
		t := newTable(place{})
		t.put("protocol", &node{form: asString, text: protocol})
		return t
	}
	p.root.put(key, &node{form: asList, items: []*node{of("ftp"), of("ftps"), of("sftp")}})
}

func has(values map[string]string, name string) bool { _, ok := values[name]; return ok }

// match finds the key that a variable's name, without DRAY_, stands for; nil for
// none.
func (t *table) match(name string) []step {
	for _, f := range t.fields {
		rest, ok := strings.CutPrefix(name, f.env())
		if !ok {
			continue
		}
		if f.sub == nil {
			if rest == "" {
				return []step{{f, -1}}
			}
			continue
		}
		if rest, ok = strings.CutPrefix(rest, "_"); !ok {
			continue
		}
		index := -1
		if f.list {
			digits, below, ok := strings.Cut(rest, "_")
			n, err := strconv.Atoi(digits)
			if !ok || err != nil || n < 0 || strconv.Itoa(n) != digits {
				continue
			}
			index, rest = n, below
		}
		if way := f.sub.match(rest); way != nil {
			return append([]step{{f, index}}, way...)
		}
	}
	return nil
}

// strange warns of a variable that stands for no key.
func (p *parser) strange(name string) {
	var names []string
	for _, k := range Reference() {
		if k.Env != "" {
			names = append(names, k.Env)
		}
	}
	do := "unset it; dray config example lists all keys"
	numbered := indexed(name)
	if near := spelling.Nearest(numbered.pattern, names); near != "" {
		do = "write " + numbered.fill(near)
	}
	pr := Problem{Field: name, What: "stands for no key", Do: do, Warning: true}
	p.problems = append(p.problems, pr)
}

// A numbers is the name of a variable with N in place of its indices.
type numbers struct {
	pattern string
	digits  []string
}

func indexed(name string) numbers {
	parts := strings.Split(name, "_")
	var n numbers
	for i, part := range parts {
		if part != "" && strings.Trim(part, "0123456789") == "" {
			digits := strings.TrimLeft(part, "0")
			if digits == "" {
				digits = "0"
			}
			n.digits = append(n.digits, digits)
			parts[i] = "N"
		}
	}
	n.pattern = strings.Join(parts, "_")
	return n
}

// fill puts the indices into another pattern.
func (n numbers) fill(pattern string) string {
	parts := strings.Split(pattern, "_")
	for i, part := range parts {
		if part == "N" && len(n.digits) > 0 {
			parts[i], n.digits = n.digits[0], n.digits[1:]
		}
	}
	return strings.Join(parts, "_")
}

// setEnv puts a variable's value where its key is in the tree. Where the file has
// something else in place of a table, that is reported anyway.
func (p *parser) setEnv(way []step, v *node) {
	n, path := p.root, ""
	for _, s := range way[:len(way)-1] {
		child := n.keys[s.f.key]
		path = join(path, s.f.key)
		if !s.f.list {
			if child == nil {
				child = newTable(v.at)
				n.put(s.f.key, child)
			}
			if child.form != asTable {
				return
			}
			n = child
			continue
		}
		switch {
		case child == nil:
			child = &node{form: asList, at: v.at}
			n.put(s.f.key, child)
		case child.form == asTable && s.index == 0: // listener.plain for [[listener]], which is reported
			child = &node{form: asList, items: []*node{child}}
		case child.form != asList:
			return
		}
		if s.index > len(child.items) {
			p.add(v.at, "", "would leave a gap: there are "+strconv.Itoa(len(child.items))+" of "+path+" so far",
				"number them from 0; the next is "+strconv.Itoa(len(child.items)))
			return
		}
		if s.index == len(child.items) {
			child.items = append(child.items, newTable(v.at))
		}
		path = element(path, s.index)
		if n = child.items[s.index]; n.form != asTable {
			return
		}
	}
	key := way[len(way)-1].f.key
	v.under = n.keys[key]
	n.put(key, v)
}

// envName is the variable for the key at path.
func envName(path string) string {
	return envPrefix + strings.ToUpper(strings.NewReplacer("[", "_", "]", "", ".", "_", "-", "_").Replace(path))
}
