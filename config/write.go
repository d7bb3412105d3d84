package config

import (
	"fmt"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"dray/account"
)

// literal is a value of f as a file has it.
func literal(f *field, v reflect.Value) string {
	if f.list && v.Kind() == reflect.Slice {
		var parts []string
		for i := range v.Len() {
			parts = append(parts, literal(f, v.Index(i)))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	}
	switch x := v.Interface().(type) {
	case time.Duration:
		return quote(formatDuration(x))
	case Size:
		if s := x.String(); strings.Trim(s, "0123456789") != "" {
			return quote(s)
		}
		return strconv.FormatInt(int64(x), 10)
	case Date:
		return x.String()
	case netip.Prefix:
		if !x.IsValid() {
			return `""`
		}
		return quote(x.String())
	case account.Rights:
		return quote(x.String())
	case string:
		return quote(x)
	}
	return fmt.Sprint(v.Interface()) // int and bool
}

// quote writes a basic string of TOML on one line.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r < ' ' || r >= 0x7f && r < 0xa0 || r == utf8.RuneError || r == 0x2028 || r == 0x2029 || r == 0xfeff:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// unset tells whether v stands for a key that is not there.
func (f *field) unset(v reflect.Value) bool { return !f.hasDef && v.IsZero() }

// Show is the effective configuration of c as a file, defaults included, with a
// comment for whatever was set: the line of the file or the variable that it
// came from. Keys without a value are comments. Exceptions come last, with the
// days that are left to them.
func Show(c Config) string { return show(c, time.Now()) }

func show(c Config, now time.Time) string {
	w := &writer{c: c, now: now}
	w.b.WriteString("# The configuration in effect, as a file. Behind a value stands where it was set;\n# without that it is the default.\n\n")
	w.effective(schema, reflect.ValueOf(c), "")
	return w.b.String()
}

type writer struct {
	b   strings.Builder
	c   Config
	now time.Time
}

func (w *writer) effective(t *table, v reflect.Value, path string) {
	for _, f := range t.fields {
		if f.sub != nil {
			continue
		}
		x := v.Field(f.index)
		switch {
		case !f.unset(x):
		case f.kind == isDate: // an empty string is no day
			continue
		default:
			w.b.WriteString("#")
		}
		fmt.Fprintf(&w.b, "%s = %s", f.key, literal(f, x))
		if from := w.from(join(path, f.key)); from != "" {
			w.b.WriteString("  # " + from)
		}
		w.b.WriteByte('\n')
	}
	for _, f := range t.fields {
		if f.sub == nil {
			continue
		}
		x, full := v.Field(f.index), join(path, f.key)
		if !f.list {
			fmt.Fprintf(&w.b, "\n[%s]\n", header(full))
			w.effective(f.sub, x, full)
			continue
		}
		for i := range x.Len() {
			w.b.WriteByte('\n')
			if e, ok := x.Index(i).Interface().(Exception); ok {
				w.b.WriteString("# " + left(e.DaysLeft(w.now)) + "\n")
			}
			fmt.Fprintf(&w.b, "[[%s]]\n", header(full))
			w.effective(f.sub, x.Index(i), element(full, i))
		}
	}
}

// left says how long an exception still holds.
func left(days int) string {
	switch {
	case days < 0:
		return "over: as if it were not there"
	case days == 0:
		return "today is its last day"
	case days == 1:
		return "1 day left"
	}
	return fmt.Sprintf("%d days left", days)
}

// from names the place where a key was set, "" for none.
func (w *writer) from(path string) string {
	at := w.c.at[path]
	var s string
	switch {
	case w.c.bad[path]:
		return ""
	case at.env != "":
		s = at.env
	case at.line > 0:
		s = fmt.Sprintf("%s:%d", oneLine(w.c.File), at.line)
	default:
		return ""
	}
	if at.file != "" {
		s += ", from " + oneLine(at.file)
	}
	return s
}

// oneLine keeps a name from ending a comment.
func oneLine(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r == utf8.RuneError }) {
		return quote(s)
	}
	return s
}

// Example is a configuration file that sets nothing, with every key in a
// comment.
func Example() string { return Commented(Defaults()) }

// Commented is the example file with what c has besides the defaults filled in:
// those keys are set, all others are comments with their default. A key in a
// comment is set by taking its mark, the "#", away; a list of tables has its
// header in a comment too.
func Commented(c Config) string {
	w := &writer{c: c}
	w.b.WriteString(wrap("A configuration of dray. A key with a # in front has its default, or an example where it has none: " +
		"take the # away and change the value. Tables such as [[listener]] may be there several times, and have a # in front of their header too. Sizes are in units of 1024; durations are as 30s, 10m or 2h. " +
		"Paths that are not absolute begin at the directory of this file. " +
		"Every value may also be { file = \"/path\" }, the first line of a file, or come from a variable: " +
		"limits.login-time from DRAY_LIMITS_LOGIN_TIME, the first listener's plain from DRAY_LISTENER_0_PLAIN. " +
		"After a change: dray config check"))
	w.b.WriteByte('\n')
	w.commented(schema, reflect.ValueOf(c), reflect.ValueOf(Defaults()), "")
	return strings.TrimRight(w.b.String(), "\n") + "\n"
}

func (w *writer) commented(t *table, v, def reflect.Value, path string) {
	for _, f := range t.fields {
		if f.sub == nil {
			w.key(f, v.Field(f.index), def.Field(f.index))
		}
	}
	for _, f := range t.fields {
		if f.sub == nil {
			continue
		}
		x, full := v.Field(f.index), join(path, f.key)
		w.b.WriteString(wrap(f.doc))
		if !f.list {
			fmt.Fprintf(&w.b, "[%s]\n\n", full)
			w.commented(f.sub, x, def.Field(f.index), full)
			continue
		}
		blank := reflect.New(f.elem).Elem()
		f.sub.setDefaults(blank)
		if x.Len() == 0 {
			fmt.Fprintf(&w.b, "#[[%s]]\n\n", full)
			w.commented(f.sub, blank, blank, full)
		}
		for i := range x.Len() {
			fmt.Fprintf(&w.b, "[[%s]]\n\n", full)
			w.commented(f.sub, x.Index(i), blank, full)
		}
	}
}

// key writes what a key is for and its line.
func (w *writer) key(f *field, v, def reflect.Value) {
	doc := f.doc
	if f.oneOf != nil {
		doc += "; one of " + alternatives(f.oneOf)
	}
	if f.required {
		doc += "; required"
	} else if f.unset(v) {
		doc += "; not set, for example:"
	}
	w.b.WriteString(wrap(doc))
	if reflect.DeepEqual(v.Interface(), def.Interface()) {
		fmt.Fprintf(&w.b, "#%s\n\n", f.sample())
		return
	}
	fmt.Fprintf(&w.b, "%s = %s\n\n", f.key, literal(f, v))
}

// wrap writes a comment of at most 80 columns.
func wrap(doc string) string {
	var b strings.Builder
	column := 0
	for word := range strings.FieldsSeq(doc) {
		switch {
		case column == 0:
			b.WriteString("# ")
			column = 2
		case column+1+utf8.RuneCountInString(word) > 80:
			b.WriteString("\n# ")
			column = 2
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += utf8.RuneCountInString(word)
	}
	b.WriteByte('\n')
	return b.String()
}
