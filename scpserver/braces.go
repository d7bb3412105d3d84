package scpserver

import "fmt"

// Limits of what braces stand for. They multiply: a line of 16 KiB could spell more
// names than there are atoms.
const (
	maxBraces  = 1000     // names, of all words
	braceBytes = 4 << 20  // of all that is put together on the way
	braceSteps = 16 << 20 // bytes that are looked at
	braceDepth = 64       // braces in each other
)

var errBraces = fmt.Errorf("braces may stand for %d names at most", maxBraces)

// A braces counts what one command line has cost.
type braces struct{ bytes, steps int }

// spell replaces words with braces by all that they stand for, as bash does with comma
// lists: "a{b,c}" is "ab" and "ac", whether there are such files or not, and what stands
// for nothing goes. "{}" and "{a}" are letters, and so is "{1..3}".
func spell(words []word) ([]word, error) {
	var b braces
	var all []word
	for _, w := range words {
		names, err := b.expand(w, 0)
		if err != nil {
			return nil, err
		}
		for _, n := range names {
			if len(n.text) > 0 || len(w.text) == 0 {
				all = append(all, n)
			}
		}
		if len(all) > maxBraces {
			return nil, errBraces
		}
	}
	return all, nil
}

// expand is one word, or a part of one. Its rules are those of bash's braces.c, where the
// list ends at the first "}" of its own behind a comma.
func (b *braces) expand(w word, depth int) ([]word, error) {
	if depth == braceDepth {
		return nil, errBraces
	}
	begin, end := 0, 0
	for ; ; begin++ {
		if begin = b.find(w, begin, '{'); begin == len(w.text) {
			return []word{w}, nil
		}
		if end = b.find(w, begin+1, '}'); end < len(w.text) {
			break
		}
		if b.steps > braceSteps {
			return nil, errBraces
		}
	}
	var list []word
	for inner, at := w.part(begin+1, end), 0; at <= len(inner.text); {
		comma := b.find(inner, at, ',')
		names, err := b.expand(inner.part(at, comma), depth+1)
		if err != nil {
			return nil, err
		}
		if list = append(list, names...); len(list) > maxBraces || b.steps > braceSteps {
			return nil, errBraces
		}
		at = comma + 1
	}
	all, err := b.join([]word{w.part(0, begin)}, list)
	if err != nil || end+1 == len(w.text) {
		return all, err
	}
	rest, err := b.expand(w.part(end+1, len(w.text)), depth)
	if err != nil {
		return nil, err
	}
	return b.join(all, rest)
}

// find is where c, a letter without quotes, stands outside of braces that begin behind
// from; the length of the word when it does not. A "}" counts behind a comma only.
func (b *braces) find(w word, from int, c byte) int {
	level, comma := 0, c != '}'
	for i := from; i < len(w.text); i++ {
		b.steps++
		if !w.bare[i] {
			continue
		}
		switch got := w.text[i]; {
		case got == '$' && w.has(i+1, '{'): // begins no list in any shell
			level++
			i++
		case got == c && level == 0 && comma:
			if c == '{' && i == 0 && (len(w.text) == 1 || w.has(1, '}')) {
				continue
			}
			return i
		case got == '{':
			level++
		case got == '}' && level > 0:
			level--
		case got == ',' && level == 0:
			comma = true
		}
	}
	return len(w.text)
}

// has tells whether c stands at i without quotes.
func (w word) has(i int, c byte) bool { return i < len(w.text) && w.bare[i] && w.text[i] == c }

func (w word) part(from, to int) word { return word{w.text[from:to], w.bare[from:to:to]} }

// join is each of one list with each of another behind it.
func (b *braces) join(first, second []word) ([]word, error) {
	if len(first)*len(second) > maxBraces {
		return nil, errBraces
	}
	all := make([]word, 0, len(first)*len(second))
	for _, f := range first {
		for _, s := range second {
			if b.bytes += len(f.text) + len(s.text); b.bytes > braceBytes {
				return nil, errBraces
			}
			all = append(all, word{f.text + s.text, append(f.bare[:len(f.bare):len(f.bare)], s.bare...)})
		}
	}
	return all, nil
}
