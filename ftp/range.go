package ftp

import (
	"math"
	"strings"
)

// C252Hashes is the answer to MMD5, as its draft has it.
const C252Hashes Code = 252

// A Range is the bytes of a file from Start up to, and without, End. The zero
// Range is the whole file; in every other one End is above zero.
type Range struct{ Start, End int64 }

// ParseRang reads the argument of RANG, "start end" in decimal digits, where the
// byte at end belongs to the range. "1 0" is the whole file
// (draft-bryan-ftp-range-08, 3).
func ParseRang(arg string) (Range, error) {
	first, last, _ := strings.Cut(arg, " ")
	a, ok := number(first, math.MaxInt64)
	b, too := number(last, math.MaxInt64)
	switch {
	case !ok || !too, a > b && (a != 1 || b != 0):
		return Range{}, ErrSyntax
	case a > b:
		return Range{}, nil
	}
	// No file has a byte at the largest offset, so nothing is lost by the limit.
	return Range{min(a, math.MaxInt64-1), min(b, math.MaxInt64-1) + 1}, nil
}

// A Part is what XCRC and its kin are asked about. Whole says that no range was
// written; "0 0" is one, and empty.
type Part struct {
	Path       string
	Start, End int64
	Whole      bool
}

// ParseParts reads the argument of XCRC and its kin, "path", "path start end" or
// the same with the path in quotes, as Quote writes it. The byte at end does not
// belong to the range, as servers have it. Since a path may look like all of
// these, every reading is returned, the most literal first; there is always that
// one. Start may be above End; both are zero where Whole is set.
func ParseParts(arg string) []Part {
	parts := []Part{{Path: arg, Whole: true}}
	if path, ok := unquote(arg); ok {
		parts = append(parts, Part{Path: path, Whole: true})
	}
	rest, last, _ := cutLast(arg)
	rest, first, _ := cutLast(rest)
	start, ok := number(first, math.MaxInt64)
	end, too := number(last, math.MaxInt64)
	if !ok || !too || rest == "" {
		return parts
	}
	parts = append(parts, Part{Path: rest, Start: start, End: end})
	if path, ok := unquote(rest); ok {
		parts = append(parts, Part{Path: path, Start: start, End: end})
	}
	return parts
}

// cutLast cuts at the last blank.
func cutLast(s string) (before, after string, found bool) {
	i := strings.LastIndexByte(s, ' ')
	if i < 0 {
		return "", s, false
	}
	return s[:i], s[i+1:], true
}

// unquote is the one name that s holds between quotes.
func unquote(s string) (string, bool) {
	if !strings.HasPrefix(s, `"`) {
		return "", false
	}
	names, err := ParseNames(s)
	if err != nil || len(names) != 1 {
		return "", false
	}
	return names[0], true
}

// ParseNames reads names between blanks, as COMB and SITE COPY have them. A name
// that holds blanks or begins with a quote stands in double quotes, as Quote
// writes it: those inside are doubled. Where that reading fails, a backslash
// before a quote is taken for the same; every other backslash is a character of
// its own. No name is empty.
func ParseNames(arg string) ([]string, error) {
	names, rest := splitNames(arg, ` `, "")
	if rest != "" {
		names, rest = splitNames(arg, ` `, `\`)
	}
	if rest != "" || len(names) == 0 {
		return nil, ErrSyntax
	}
	return names, nil
}

// ParseList reads names between commas, as MMD5 has them; blanks around a name
// are not part of it (draft-twine-ftpmd5-00, 3.2). A name that holds commas
// stands in quotes, as with ParseNames.
func ParseList(arg string) ([]string, error) {
	names, rest := splitNames(arg, `,`, "")
	if rest != "" || len(names) == 0 {
		return nil, ErrSyntax
	}
	return names, nil
}

// splitNames returns the names before what it can't read, and that. escape is
// what may stand before a quote inside quotes to make it one of the name; a
// second quote always may.
func splitNames(s, between, escape string) (names []string, rest string) {
	for {
		s = strings.TrimLeft(s, " ")
		if s == "" {
			if between == "," && len(names) > 0 {
				return nil, "," // a list does not end with a comma
			}
			return names, ""
		}
		name, after, ok := nextName(s, between, escape)
		if !ok || name == "" {
			return names, s
		}
		names = append(names, name)
		after = strings.TrimLeft(after, " ")
		if after == "" {
			return names, ""
		}
		if between == "," {
			if after[0] != ',' {
				return names, after
			}
			after = after[1:]
		}
		s = after
	}
}

// nextName cuts the first name off. What follows it begins with a blank, with
// between, or is empty.
func nextName(s, between, escape string) (name, after string, ok bool) {
	if s[0] != '"' {
		end := strings.IndexByte(s, between[0])
		if end < 0 {
			end = len(s)
		}
		return strings.TrimRight(s[:end], " "), s[end:], true
	}
	var b strings.Builder
	for s = s[1:]; ; {
		i := strings.IndexByte(s, '"')
		if i < 0 {
			return "", "", false
		}
		if escape != "" && strings.HasSuffix(s[:i], escape) {
			b.WriteString(s[:i-len(escape)] + `"`)
			s = s[i+1:]
			continue
		}
		b.WriteString(s[:i])
		s = s[i+1:]
		if strings.HasPrefix(s, `"`) {
			b.WriteByte('"')
			s = s[1:]
			continue
		}
		return b.String(), s, s == "" || s[0] == ' ' || s[0] == between[0]
	}
}
