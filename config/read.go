package config

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"dray/account"
	"dray/spelling"
)

// A flaw is what is wrong with one value: a verb with what follows, as "is no
// network", and what to write instead.
type flaw struct{ what, do string }

// fromText reads a whole value of f, the elements of a list between commas.
func (f *field) fromText(text string) (reflect.Value, *flaw) {
	if !f.list {
		return f.one(&node{form: asText, text: text})
	}
	list := reflect.Zero(reflect.SliceOf(f.elem))
	if strings.TrimSpace(text) == "" {
		return list, nil
	}
	for part := range strings.SplitSeq(text, ",") {
		v, wrong := f.one(&node{form: asText, text: strings.TrimSpace(part)})
		if wrong != nil {
			if strings.Contains(text, ",") {
				wrong.what = fmt.Sprintf("has an element that %s: %q", wrong.what, short(strings.TrimSpace(part)))
			}
			return list, wrong
		}
		list = reflect.Append(list, v)
	}
	return list, nil
}

// one reads one value, or one element of a list, and checks it against the tags.
func (f *field) one(n *node) (reflect.Value, *flaw) {
	v, wrong := f.typed(n)
	if wrong == nil {
		wrong = f.check(v)
	}
	if wrong != nil {
		return reflect.Value{}, wrong
	}
	return reflect.ValueOf(v).Convert(f.elem), nil
}

// mismatch is the flaw of a value of another type.
func (f *field) mismatch(n *node, do string) *flaw {
	need := f.need()
	if f.list {
		need = (&field{kind: f.kind}).need()
	}
	return &flaw{"is " + n.form.String() + ", where " + need, do}
}

// unquoted is the flaw of a value that stands in quotes in a file.
func (f *field) unquoted(n *node) *flaw {
	if _, wrong := f.one(&node{form: asText, text: n.text}); wrong == nil {
		return f.mismatch(n, "write it in quotes: "+quote(n.text))
	}
	return f.mismatch(n, "write "+f.sample())
}

func (f *field) typed(n *node) (any, *flaw) {
	if f.kind == isBool || f.kind == isInt {
		return f.plain(n)
	}
	switch n.form {
	case asText, asString:
	case asInteger:
		switch f.kind {
		case isDuration:
			return nil, f.mismatch(n, fmt.Sprintf(`write it with its unit, in quotes: "%ss"`, strings.TrimPrefix(n.text, "-")))
		case isSize:
			size, err := strconv.ParseInt(n.text, 0, 64)
			switch {
			case err != nil:
				return nil, &flaw{"is more than any disk holds", `write a size such as "10G"`}
			case size < 0:
				return nil, &flaw{"is negative", `write a size such as "10G"`}
			}
			return Size(size), nil
		}
		return nil, f.unquoted(n)
	case asDate:
		if f.kind != isDate {
			return nil, f.unquoted(n)
		}
	case asDateTime:
		if f.kind == isDate {
			return nil, &flaw{"has a time of day", "write the day alone, as 2027-06-30: it counts to its end"}
		}
		return nil, f.unquoted(n)
	case asList:
		if f.list {
			return nil, &flaw{"stands in another list", "write one list: " + f.sample()}
		}
		return nil, f.mismatch(n, "write one value, without the brackets")
	case asTable:
		return nil, f.mismatch(n, "write "+f.sample())
	default:
		return nil, f.unquoted(n)
	}
	if !utf8.ValidString(n.text) {
		return nil, &flaw{"is not UTF-8", "write it in UTF-8"}
	}
	switch f.kind {
	case isDuration:
		d, err := time.ParseDuration(n.text)
		if err != nil {
			return nil, &flaw{"is no duration", `write a duration such as "30s", "10m" or "168h" (a week)`}
		}
		return d, nil
	case isSize:
		size, err := ParseSize(n.text)
		if err != nil {
			return nil, &flaw{strings.TrimPrefix(err.Error(), strconv.Quote(n.text)+" "), `write a size such as "500M" or "10G", in units of 1024`}
		}
		return size, nil
	case isDate:
		d, err := ParseDate(n.text)
		if err != nil {
			return nil, &flaw{"is no day", "write a day such as 2027-06-30"}
		}
		return d, nil
	case isNetwork:
		p, wrong := parseNetwork(n.text)
		if wrong != nil {
			return nil, wrong
		}
		return p, nil
	case isRights:
		r, err := account.ParseRights(n.text)
		if err != nil {
			return nil, &flaw{"is not a set of rights: " + err.Error(), "write " + account.RightsHelp}
		}
		return r, nil
	}
	return n.text, nil
}

// plain reads what a file has without quotes.
func (f *field) plain(n *node) (any, *flaw) {
	if f.kind == isBool {
		switch word := strings.ToLower(n.text); {
		case n.form == asBool:
			return n.text == "true", nil
		case n.form == asText && (word == "true" || word == "yes" || word == "on" || word == "1"):
			return true, nil
		case n.form == asText && (word == "false" || word == "no" || word == "off" || word == "0"):
			return false, nil
		case n.form == asString && (word == "true" || word == "false"):
			return nil, f.mismatch(n, "write it without quotes: "+word)
		case n.form == asText:
			return nil, &flaw{"is neither true nor false", "write true or false"}
		}
		return nil, f.mismatch(n, "write true or false")
	}
	do := "write " + f.sample()
	text := n.text
	switch {
	case (n.form == asText || n.form == asString) && f.hasOff && text == "off":
		return f.off, nil
	case n.form == asString:
		if _, err := strconv.Atoi(text); err == nil {
			do = "write it without quotes: " + text
		}
		return nil, f.mismatch(n, do)
	case n.form != asText && n.form != asInteger:
		return nil, f.mismatch(n, do)
	}
	base := 10
	if n.form == asInteger {
		base = 0 // TOML has 0x, 0o, 0b and underscores
	}
	i, err := strconv.ParseInt(text, base, strconv.IntSize)
	if err != nil {
		return nil, &flaw{"is no number that can be used", do}
	}
	return int(i), nil
}

// check is for what the type alone does not say.
func (f *field) check(v any) *flaw {
	switch v := v.(type) {
	case string:
		return f.checkString(v)
	case int:
		if f.hasOff && v == f.off {
			return nil
		}
		if v >= f.least && v <= f.most {
			return nil
		}
		do := fmt.Sprintf("write a number from %d on", f.least)
		if f.most < 1<<31-1 {
			do = fmt.Sprintf("write a number from %d to %d", f.least, f.most)
		}
		if f.hasOff {
			do += `, or "off"`
		}
		if v < f.least {
			return &flaw{"is too small", do}
		}
		return &flaw{"is too large", do}
	case time.Duration:
		switch {
		case v < 0:
			return &flaw{"is negative", `write a duration such as "30s"`}
		case v == 0 && f.positive:
			return &flaw{"leaves no time", `write a duration such as "30s"`}
		}
	}
	return nil
}

func (f *field) checkString(s string) *flaw {
	if strings.ContainsRune(s, 0) {
		return &flaw{"has a NUL byte in it", "write it without"}
	}
	if f.oneOf != nil {
		for _, word := range f.oneOf {
			if s == word {
				return nil
			}
		}
		do := "write " + alternatives(f.oneOf)
		if near := spelling.Nearest(s, f.oneOf); near != "" {
			do = fmt.Sprintf("write %q", near)
		}
		return &flaw{"is not one of its values", do}
	}
	if s == "" {
		switch {
		case f.required:
			return &flaw{"says nothing", "write " + f.sample()}
		case f.list:
			return &flaw{"says nothing", "write " + f.sample() + ", or [] for none"}
		case !f.hasDef:
			return nil // as if it were not there
		}
	}
	switch f.form {
	case "address":
		host, _, err := SplitAddr(s)
		if err == nil && host != "" && !listenHost(host) {
			err = fmt.Errorf("%q is no address", host)
		}
		if err != nil {
			return &flaw{"is no address to listen on", `write an address such as "192.0.2.1:21", "[2001:db8::1]:21" or ":2121"`}
		}
	case "range":
		if _, _, err := PassiveRange(s); err != nil {
			_, what, _ := strings.Cut(err.Error(), strconv.Quote(s)+" ")
			return &flaw{what, "write two ports, such as \"" + DefaultPassive + `"`}
		}
	case "public", "public-for":
		if f.form == "public-for" && s == "local" {
			return nil
		}
		return publicFlaw(s)
	case "switch":
		for _, word := range switches {
			if strings.EqualFold(s, word) {
				return nil
			}
		}
		do := "write one of " + strings.Join(switches, ", ")
		if near := spelling.Nearest(strings.ToUpper(s), switches); near != "" {
			do = fmt.Sprintf("write %q", near)
		}
		return &flaw{"is not off by default, or unknown", do}
	}
	return nil
}

// alternatives lists words for a sentence: "a", "b" or "c".
func alternatives(words []string) string {
	var b strings.Builder
	for i, word := range words {
		switch {
		case i == 0:
		case i == len(words)-1:
			b.WriteString(" or ")
		default:
			b.WriteString(", ")
		}
		b.WriteString(strconv.Quote(word))
	}
	return b.String()
}

// short cuts a value that would fill a screen.
func short(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	end := most
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "…"
}
