package account

import (
	"fmt"
	"strings"
)

// Rights are what an account may do in its tree, as a set. As text they are
// words between commas: "list,read,write".
type Rights uint16

// The rights. Write is for new names, Overwrite for taking the place of a
// finished file or changing it. Link, making symbolic links, is in no preset.
const (
	List Rights = 1 << iota
	Read
	Write
	Overwrite
	Delete
	Rename
	MakeDir
	Attributes // times and modes
	Link

	ReadOnly   = List | Read
	UploadOnly = Write | MakeDir // what is there can't be seen, taken, changed or removed
	Full       = List | Read | Write | Overwrite | Delete | Rename | MakeDir | Attributes
	All        = Full | Link
)

var rightWords = []struct {
	word string
	r    Rights
}{
	{"list", List}, {"read", Read}, {"write", Write}, {"overwrite", Overwrite}, {"delete", Delete},
	{"rename", Rename}, {"mkdir", MakeDir}, {"attributes", Attributes}, {"link", Link},
}

var rightPresets = []struct {
	word string
	r    Rights
}{{"full", Full}, {"read-only", ReadOnly}, {"upload-only", UploadOnly}, {"none", 0}}

// Has tells whether all of want are in r.
func (r Rights) Has(want Rights) bool { return r&want == want }

// String is the name of a preset, else the words of r between commas.
func (r Rights) String() string {
	for _, p := range rightPresets {
		if r == p.r {
			return p.word
		}
	}
	var words []string
	for _, w := range rightWords {
		if r.Has(w.r) {
			words = append(words, w.word)
		}
	}
	return strings.Join(words, ",")
}

// RightsHelp lists what ParseRights takes, for messages.
const RightsHelp = "full, read-only, upload-only, none, or words between commas of list, read, write, overwrite, delete, rename, mkdir, attributes, link"

// ParseRights reads presets and words between commas, which add up:
// "read-only,mkdir", "full,link".
func ParseRights(s string) (Rights, error) {
	var r Rights
next:
	for word := range strings.SplitSeq(s, ",") {
		word = strings.ToLower(strings.TrimSpace(word))
		for _, p := range rightPresets {
			if word == p.word {
				r |= p.r
				continue next
			}
		}
		for _, w := range rightWords {
			if word == w.word {
				r |= w.r
				continue next
			}
		}
		return 0, fmt.Errorf("%q is no right", word)
	}
	return r, nil
}

// MarshalText writes String.
func (r Rights) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads with ParseRights.
func (r *Rights) UnmarshalText(b []byte) (err error) {
	*r, err = ParseRights(string(b))
	return err
}

// A PathRights says what may be done in one directory of an account's tree and
// all below it, in place of what holds above it. Path is absolute in the tree,
// as "/incoming".
type PathRights struct {
	Path   string `json:"path"`
	Rights Rights `json:"rights"`
}
