package ftp

import (
	"maps"
	"slices"
	"strings"
)

const maxFeatures = 500

// Features is what a server said to FEAT. The zero Features has none.
type Features struct {
	args map[string]string // by name in upper case
}

// ParseFeatures reads the 211 of FEAT: a feature on each line between the first
// and the last (RFC 2389, 3.2), of which 500 count. A missing blank before it and
// a repeated "211-" do not matter. Other replies have none.
func ParseFeatures(r Reply) Features {
	f := Features{args: map[string]string{}}
	if r.Code != C211Features {
		return f
	}
	for _, line := range r.Body[:min(len(r.Body), maxFeatures)] {
		line = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "211-"))
		name, arg, _ := strings.Cut(line, " ")
		if name = strings.ToUpper(name); name == "" {
			continue
		}
		arg = strings.TrimSpace(arg)
		if before := f.args[name]; before != "" && arg != "" {
			arg = before + " " + arg
		} else if arg == "" {
			arg = before
		}
		f.args[name] = arg
	}
	return f
}

// Has tells whether the server named this feature, in any case.
func (f Features) Has(name string) bool {
	_, ok := f.args[strings.ToUpper(name)]
	return ok
}

// Arg is what stands behind a feature; where it was named several times, as AUTH
// may be, all of it with blanks between.
func (f Features) Arg(name string) string { return f.args[strings.ToUpper(name)] }

// Names are the features that there are, in the order of the alphabet.
func (f Features) Names() []string { return slices.Sorted(maps.Keys(f.args)) }

// Facts are the facts that MLST and MLSD know here, as the server wrote them (RFC
// 3659, 7.8).
func (f Features) Facts() []string {
	all, _ := f.starred("MLST")
	return all
}

// MLSTDefaults are those of Facts that are on before any OPTS MLST.
func (f Features) MLSTDefaults() []string {
	_, on := f.starred("MLST")
	return on
}

// Hashes are the algorithms of HASH, in upper case, the one that is selected
// first (draft-bryan-ftp-hash).
func (f Features) Hashes() []string {
	all, on := f.starred("HASH")
	hashes := make([]string, 0, len(all))
	for _, name := range on {
		hashes = append(hashes, strings.ToUpper(name))
	}
next:
	for _, name := range all {
		for _, selected := range on {
			if name == selected {
				continue next
			}
		}
		hashes = append(hashes, strings.ToUpper(name))
	}
	return hashes
}

// starred reads "a*;b;c*;".
func (f Features) starred(name string) (all, on []string) {
	words := strings.FieldsFunc(f.Arg(name), func(r rune) bool { return r == ';' || r == ' ' })
	for _, word := range words[:min(len(words), maxFeatures)] {
		name, star := strings.CutSuffix(word, "*")
		if name == "" {
			continue
		}
		if all = append(all, name); star {
			on = append(on, name)
		}
	}
	return all, on
}
