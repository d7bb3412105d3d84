package config

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"dray/spelling"
)

// maxFile is the size of the largest file that is read, in bytes.
const maxFile = 1 << 20

// Load reads a configuration file, as Parse does. Relative paths in it, and those
// of variables, are taken from its directory on, so that every command means the
// same places. The error says why the file can't be read at all; whatever is wrong
// in it is a Problem.
func Load(file string, env []string) (Config, []Problem, error) {
	f, err := os.Open(file)
	if err != nil {
		return Config{}, nil, fmt.Errorf("read the configuration %s: %w", file, cause(err))
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return Config{}, nil, fmt.Errorf("read the configuration %s: %w", file, cause(err))
	}
	full, err := filepath.Abs(file)
	if err != nil {
		return Config{}, nil, fmt.Errorf("read the configuration %s: %w", file, err)
	}
	c, problems := parseIn(filepath.Dir(full), file, text, env)
	return c, problems, nil
}

// Parse reads the text of a configuration file, at most 1 MiB, and what env,
// "NAME=value" as of os.Environ, says in place of it. name is for messages. It
// returns the complete list of problems, sorted by line, those of variables
// last; keys with a problem keep their default. Besides the files that text and
// env name as { file = "..." } or DRAY_..._FILE it looks at nothing; Check does.
// Relative paths stay as they are.
func Parse(name string, text []byte, env []string) (Config, []Problem) {
	return parseIn("", name, text, env)
}

// parseIn is Parse with dir in front of relative paths.
func parseIn(dir, name string, text []byte, env []string) (Config, []Problem) {
	p := &parser{file: name, dir: dir, root: newTable(place{}), at: map[string]place{}, bad: map[string]bool{}}
	if len(text) > maxFile {
		p.cut = true
		p.add(place{line: 1}, "file", "has more than 1 MiB, which is not read", "check the name of the file")
	} else {
		// Editors of Windows put a mark in front.
		p.text = slices.Clip(bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")))
		p.readFile()
	}
	p.readEnv(env)
	c := Defaults()
	p.table(schema, reflect.ValueOf(&c).Elem(), p.root, "")
	p.conform()
	c.File, c.at, c.bad, c.cut = name, p.at, p.bad, p.cut
	c.settle()
	Sort(p.problems)
	return c, p.problems
}

// Sort puts problems in the order of their lines, and those without a line last.
func Sort(problems []Problem) {
	slices.SortStableFunc(problems, func(a, b Problem) int {
		switch {
		case a.Line == 0 || b.Line == 0:
			return b.Line - a.Line
		}
		return a.Line - b.Line
	})
}

// table decodes a table into the struct v, which has its defaults.
func (p *parser) table(t *table, v reflect.Value, n *node, path string) {
	seen := map[string]bool{}
	for _, name := range n.names {
		child, full := n.keys[name], join(path, name)
		if f := t.field(name); f != nil {
			seen[name] = true
			p.field(f, v.Field(f.index), child, full)
			continue
		}
		// A key that is probably a misspelled one is checked like that one.
		if f := p.unknown(t, n, name, path); f != nil {
			seen[f.key] = true
			p.bad[join(path, f.key)] = true
			p.field(f, reflect.New(v.Field(f.index).Type()).Elem(), child, full)
		}
	}
	for _, f := range t.fields {
		if f.required && !seen[f.key] && !p.cut {
			full := join(path, f.key)
			if n.at.env != "" {
				p.add(place{env: envName(full)}, full, "is missing", "set it, as in the file "+f.sample())
			} else {
				p.add(n.at, full, "is missing", "add "+f.sample())
			}
			p.bad[full] = true
		}
	}
}

// unknown reports a key that t does not have, and returns the one of t that was
// probably meant, nil for none.
func (p *parser) unknown(t *table, n *node, name, path string) *field {
	child := n.keys[name]
	tables := child.form == asTable && !child.isFile() ||
		child.form == asList && len(child.items) > 0 && child.items[0].form == asTable
	what := "is no key"
	if tables {
		what = "is no table"
	}
	var keys []string
	for _, f := range t.fields {
		if (f.sub != nil) == tables {
			keys = append(keys, f.key)
		}
	}
	near, homes := spelling.Nearest(name, keys), homesOf(name, tables)
	var do string
	switch {
	case near != "" && tables:
		do = "write " + t.field(near).mark(path)
	case near != "":
		do = "write " + near
	case len(homes) == 0 && !tables: // a misspelled key of another table
		if word := spelling.Nearest(name, everyKey()); word != "" {
			do = word + " belongs in " + strings.Join(homesOf(word, false), " or ")
		}
	}
	if len(homes) > 0 {
		belongs := name + " belongs in " + strings.Join(homes, " or ")
		if tables {
			belongs = "write " + strings.Join(homes, " or ")
		}
		if do != "" {
			do += ", or: "
		}
		do += belongs
	}
	if do == "" {
		do = "remove it; dray config example lists all keys"
	}
	p.add(child.at, join(path, name), what+where(path), do)
	if near == "" || len(homes) > 0 || n.keys[near] != nil {
		return nil
	}
	return t.field(near)
}

// isFile tells whether n is { file = "..." }, in place of a value.
func (n *node) isFile() bool {
	return n.form == asTable && n.closed && len(n.names) == 1 && n.names[0] == "file"
}

// mark is the header of a table in the table at path.
func (f *field) mark(path string) string {
	s := "[" + header(join(path, f.key)) + "]"
	if f.list {
		s = "[" + s + "]"
	}
	return s
}

// where names the table of a path for a sentence.
func where(path string) string {
	switch {
	case path == "":
		return ""
	case strings.HasSuffix(path, "]"):
		return " of [[" + header(path) + "]]"
	}
	return " of [" + header(path) + "]"
}

// homesOf names the tables that have a key of that name, or the headers of the
// tables of that name.
func homesOf(key string, tables bool) []string {
	var homes []string
	var walk func(t *table, path, at string)
	walk = func(t *table, path, at string) {
		for _, f := range t.fields {
			switch {
			case f.key != key || (f.sub != nil) != tables:
			case tables:
				homes = append(homes, f.mark(path))
			default:
				homes = append(homes, at)
			}
			if f.sub != nil {
				walk(f.sub, join(path, f.key), f.mark(path))
			}
		}
	}
	walk(schema, "", "the top of the file, above all tables")
	return homes
}

func everyKey() []string {
	var keys []string
	for _, k := range Reference() {
		if k.Env == "" {
			continue
		}
		keys = append(keys, k.Path[strings.LastIndexByte(k.Path, '.')+1:])
	}
	return keys
}

// field decodes the value of one key.
func (p *parser) field(f *field, dst reflect.Value, n *node, path string) {
	if n.under != nil { // the file is wrong even where a variable wins
		p.field(f, reflect.New(dst.Type()).Elem(), n.under, path)
		delete(p.bad, path)
	}
	p.at[path] = n.at
	if n.form == asBroken {
		p.bad[path] = true
		return
	}
	if f.sub != nil {
		p.tables(f, dst, n, path)
		return
	}
	if n.isFile() {
		var ok bool
		if n, ok = p.fromFile(f, n.keys["file"], path); !ok {
			p.bad[path] = true
			return
		}
		p.at[path] = n.at
	}
	var v reflect.Value
	var wrong *flaw
	switch {
	case !f.list:
		v, wrong = f.one(n)
	case n.form == asText:
		v, wrong = f.fromText(n.text)
	case n.form == asList:
		v = reflect.Zero(dst.Type())
		for _, item := range n.items {
			one, wrong := f.one(item)
			if wrong != nil {
				p.flaw(item, path, wrong)
				continue
			}
			v = reflect.Append(v, one)
		}
	default:
		wrong = &flaw{"is " + n.form.String() + ", where " + f.need(), "write " + f.sample()}
		if one, bad := f.one(n); bad == nil {
			list := reflect.Append(reflect.Zero(dst.Type()), one)
			wrong.do = "write " + f.key + " = " + literal(f, list)
		}
	}
	if wrong != nil {
		p.flaw(n, path, wrong)
		return
	}
	switch {
	case f.form == "path" && f.list:
		for i := range v.Len() {
			v.Index(i).SetString(p.place(v.Index(i).String()))
		}
	case f.form == "path":
		v = reflect.ValueOf(p.place(v.String()))
	}
	dst.Set(v)
}

// place is name from the directory of the configuration on.
func (p *parser) place(name string) string {
	if p.dir == "" || name == "" || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(p.dir, name)
}

func (p *parser) flaw(n *node, path string, wrong *flaw) {
	p.bad[path] = true
	p.add(n.at, path, n.said()+" "+wrong.what, wrong.do)
}

// tables decodes a table or a list of them.
func (p *parser) tables(f *field, dst reflect.Value, n *node, path string) {
	mark := "[" + header(path) + "]"
	if f.list {
		mark = "[" + mark + "]"
	}
	mistaken := func(n *node, path string) {
		p.add(n.at, path, n.said()+" is "+n.form.String()+", where a table is needed", "write "+mark+" and its keys below")
	}
	switch {
	case n.form == asTable && !f.list:
		p.table(f.sub, dst, n, path)
		return
	case n.form == asTable:
		p.add(n.at, path, "is one of a list of tables", "write "+mark+" and its keys below")
		n = &node{form: asList, at: n.at, items: []*node{n}}
	case n.form != asList || !f.list:
		mistaken(n, path)
		return
	}
	for i, item := range n.items {
		at := element(path, i)
		p.at[at] = item.at
		v := reflect.New(f.elem).Elem()
		f.sub.setDefaults(v)
		if item.form == asTable {
			p.table(f.sub, v, item, at)
		} else {
			mistaken(item, at)
		}
		dst.Set(reflect.Append(dst, v))
	}
}

// fromFile reads the value of f from the first line of the file that n names.
func (p *parser) fromFile(f *field, n *node, path string) (*node, bool) {
	if n.form == asBroken {
		return nil, false
	}
	if n.form != asString && n.form != asText {
		p.add(n.at, path, n.said()+" is "+n.form.String()+", where the name of a file is needed",
			fmt.Sprintf(`write %s = { file = "/etc/dray/%s" }`, f.key, f.key))
		return nil, false
	}
	line, err := firstLine(p.place(n.text))
	if err != nil {
		p.add(n.at, path, fmt.Sprintf("the file %q, which has the value, can't be read: %v", short(n.text), err),
			"name a file whose first line is the value")
		return nil, false
	}
	at := n.at
	at.file = n.text
	return &node{form: asText, text: line, at: at}, true
}

// firstLine reads the first line of a regular file, at most 64 KiB.
func firstLine(name string) (string, error) {
	fi, err := os.Stat(name) // before it is opened: a FIFO would wait
	switch {
	case err != nil:
		return "", cause(err)
	case !fi.Mode().IsRegular():
		return "", fmt.Errorf("not a regular file")
	}
	f, err := os.Open(name)
	if err != nil {
		return "", cause(err)
	}
	defer f.Close()
	const most = 64 << 10
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return "", cause(err)
	}
	line, _, _ := bytes.Cut(b, []byte("\n"))
	switch {
	case len(line) > most:
		return "", fmt.Errorf("its first line has more than 64 KiB")
	case len(bytes.TrimSpace(line)) == 0:
		return "", fmt.Errorf("its first line is empty")
	}
	return string(bytes.TrimSuffix(line, []byte("\r"))), nil
}

// settle fills in what follows from other keys.
func (c *Config) settle() {
	for i := range c.Commands.Allow {
		c.Commands.Allow[i] = strings.ToUpper(c.Commands.Allow[i])
	}
	for i, s := range c.Commands.Deny {
		c.Commands.Deny[i] = strings.ToUpper(strings.Join(strings.Fields(s), " "))
	}
	taken, of, again := map[string]bool{}, map[string]bool{}, map[string]int{}
	for _, l := range c.Listeners {
		taken[l.Name] = true
	}
	for i := range c.Listeners {
		l := &c.Listeners[i]
		// An address that was reported does not stand for the usual port.
		// SFTP is looked for a port when the server starts: sshd has the usual one on
		// most hosts.
		if len(l.Listen) == 0 && !c.bad[listenerPath(i, "listen")] && l.Protocol != "sftp" {
			l.Listen = []string{":" + strconv.Itoa(int(Ports(l.Protocol)[0]))}
		}
		first := !of[l.Protocol]
		of[l.Protocol] = true
		if l.Name != "" {
			continue
		}
		port := int(Ports(l.Protocol)[0])
		if len(l.Listen) > 0 {
			if _, n, err := SplitAddr(l.Listen[0]); err == nil {
				port = int(n)
			}
		}
		l.Name = l.Protocol
		if !first || taken[l.Name] {
			l.Name = fmt.Sprintf("%s-%d", l.Protocol, port)
		}
		for base := l.Name; taken[l.Name]; {
			again[base]++
			l.Name = fmt.Sprintf("%s-%d", base, again[base]+1)
		}
		taken[l.Name] = true
	}
}
