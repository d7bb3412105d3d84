package config

import (
	"fmt"
	"math"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"time"

	"dray/account"
)

// A Key is one row of the reference.
type Key struct {
	Path     string // "limits.idle"; "listener[].plain" in a list of tables
	Type     string // "duration", "list of networks", "table"
	Default  string // as text; "" when a missing key has no value
	Example  string // as text, where there is no default
	Doc      string
	Env      string // "DRAY_LISTENER_N_PLAIN", N from 0; "" for tables
	OneOf    []string
	Required bool
}

// Reference lists every key in the order of the file, tables before their keys.
func Reference() []Key { return reference(schema, "", "DRAY") }

func reference(t *table, path, env string) []Key {
	var keys []Key
	for _, f := range t.fields {
		k := Key{Path: path + f.key, Type: f.typeName(), Default: f.def, Example: f.example, Doc: f.doc,
			Env: env + "_" + f.env(), OneOf: f.oneOf, Required: f.required}
		switch {
		case f.sub == nil:
			keys = append(keys, k)
			continue
		case f.list:
			k.Path += "[]"
			k.Env += "_N"
		}
		below := reference(f.sub, k.Path+".", k.Env)
		k.Env = ""
		keys = append(append(keys, k), below...)
	}
	return keys
}

// Defaults is the configuration of an empty file.
func Defaults() Config {
	var c Config
	schema.setDefaults(reflect.ValueOf(&c).Elem())
	return c
}

// A kind is what the value of a key is.
type kind int

const (
	isString kind = iota
	isBool
	isInt
	isDuration
	isSize
	isDate
	isNetwork
	isRights
	isTable
)

// kinds has the names of each kind, alone and in a list, and a value in the form
// of a file.
var kinds = [...]struct{ name, many, sample string }{
	isString:   {"string", "strings", `"text"`},
	isBool:     {"true or false", "switches", "true"},
	isInt:      {"number", "numbers", "10"},
	isDuration: {"duration", "durations", `"30s"`},
	isSize:     {"size", "sizes", `"500M"`},
	isDate:     {"date", "dates", "2027-06-30"},
	isNetwork:  {"network", "networks", `"192.0.2.0/24"`},
	isRights:   {"rights", "rights", `"read-only"`},
	isTable:    {"table", "tables", ""},
}

// kindOf is the kind of a Go type; false when the schema can't have it.
func kindOf(t reflect.Type) (kind, bool) {
	switch t {
	case reflect.TypeFor[time.Duration]():
		return isDuration, true
	case reflect.TypeFor[Size]():
		return isSize, true
	case reflect.TypeFor[Date]():
		return isDate, true
	case reflect.TypeFor[netip.Prefix]():
		return isNetwork, true
	case reflect.TypeFor[account.Rights]():
		return isRights, true
	}
	switch t.Kind() {
	case reflect.String:
		return isString, true
	case reflect.Bool:
		return isBool, true
	case reflect.Int:
		return isInt, true
	case reflect.Struct:
		return isTable, true
	}
	return 0, false
}

// A table is a struct of the schema, a field one of its keys with what the tags
// say about it.
type table struct {
	fields []*field
}

type field struct {
	key   string
	index int // in the struct
	kind  kind
	list  bool
	elem  reflect.Type // of one element of a list, else of the field
	sub   *table       // of isTable

	def, doc, example, form    string
	oneOf                      []string
	required, positive, hasDef bool
	least, most, off           int
	line                       string // sample
	hasOff                     bool
}

// schema is Config as the tags have it.
var schema = tableOf(reflect.TypeFor[Config]())

// tableOf panics where the tags are no schema, which any test shows.
func tableOf(t reflect.Type) *table {
	out := &table{}
	for i := range t.NumField() {
		tags := t.Field(i).Tag
		key := tags.Get("toml")
		if key == "" || key == "-" {
			continue
		}
		f := &field{key: key, index: i, elem: t.Field(i).Type, doc: tags.Get("doc"), example: tags.Get("example"),
			form: tags.Get("form"), required: tags.Get("required") != "", positive: tags.Get("positive") != "",
			most: math.MaxInt}
		if f.elem.Kind() == reflect.Slice {
			f.list, f.elem = true, f.elem.Elem()
		}
		var ok bool
		if f.kind, ok = kindOf(f.elem); !ok {
			panic(fmt.Sprintf("config: %s has a type without a form: %v", key, f.elem))
		}
		if f.kind == isTable {
			f.sub = tableOf(f.elem)
		}
		f.def, f.hasDef = tags.Lookup("default")
		if f.kind == isBool && !f.list && !f.hasDef {
			f.def, f.hasDef = "false", true
		}
		if s := tags.Get("oneof"); s != "" {
			f.oneOf = strings.Split(s, ",")
		}
		number := func(name string, n *int) bool {
			s, ok := tags.Lookup(name)
			if !ok {
				return false
			}
			var err error
			if *n, err = strconv.Atoi(s); err != nil {
				panic(fmt.Sprintf("config: %s of %s: %v", name, key, err))
			}
			return true
		}
		number("min", &f.least)
		number("max", &f.most)
		f.hasOff = number("off", &f.off)
		if f.sub == nil {
			f.line = f.makeSample()
		}
		out.fields = append(out.fields, f)
	}
	return out
}

func (t *table) field(key string) *field {
	for _, f := range t.fields {
		if f.key == key {
			return f
		}
	}
	return nil
}

func (t *table) setDefaults(v reflect.Value) {
	for _, f := range t.fields {
		switch {
		case f.sub != nil && !f.list:
			f.sub.setDefaults(v.Field(f.index))
		case f.hasDef:
			x, wrong := f.fromText(f.def)
			if wrong != nil { // tableOf has read it
				panic(fmt.Sprintf("config: the default of %s %s", f.key, wrong.what))
			}
			v.Field(f.index).Set(x)
		}
	}
}

// env is the part of a variable's name that stands for f.
func (f *field) env() string { return strings.ToUpper(strings.ReplaceAll(f.key, "-", "_")) }

func (f *field) typeName() string {
	if f.list {
		return "list of " + kinds[f.kind].many
	}
	return kinds[f.kind].name
}

// need is what f needs, for messages.
func (f *field) need() string {
	switch {
	case f.list:
		return "a list of " + kinds[f.kind].many + " is needed"
	case f.kind == isBool:
		return "true or false is needed"
	case f.kind == isRights:
		return "rights are needed"
	}
	return "a " + kinds[f.kind].name + " is needed"
}

// sample is a line of a file that sets f: to its default, its example or any
// value of its kind.
func (f *field) sample() string { return f.line }

func (f *field) makeSample() string {
	for _, text := range []string{f.def, f.example} {
		if text == "" {
			continue
		}
		v, wrong := f.fromText(text)
		if wrong != nil {
			panic(fmt.Sprintf("config: the default or example of %s %s", f.key, wrong.what))
		}
		return f.key + " = " + literal(f, v)
	}
	if f.list {
		return f.key + " = [" + kinds[f.kind].sample + "]"
	}
	return f.key + " = " + kinds[f.kind].sample
}
