package osfs

import (
	"strings"
	"testing"

	"dray/vfs"
)

func TestHiddenNamesAreTakenApart(t *testing.T) {
	partial := partialName("a file", "alice")
	for _, c := range []struct {
		name, in string
		want     hiddenName
	}{
		{"a partial", partial, hiddenName{owner: ownerHash("alice"), partial: partial}},
		{"an upload that runs", partial + ".0123456789abcdef", hiddenName{owner: ownerHash("alice"), partial: partial, number: "0123456789abcdef"}},
		{"the name of a partial", nameNote(partial), hiddenName{owner: ownerHash("alice"), partial: partial, isName: true}},
		{"the name of an upload that runs", nameNote(partial + ".0123456789abcdef"), hiddenName{}},
		{"a note", noteName("f"), hiddenName{owner: noOwner, partial: partialName("f", ""), number: "0", isNote: true}},
		{"the prefix alone", vfs.Hidden, hiddenName{}},
		{"a name of somebody else", vfs.Hidden + "something", hiddenName{}},
		{"a partial with more behind it", partial + "x", hiddenName{}},
		{"an ordinary name", "a file", hiddenName{}},
	} {
		if got := parseHidden(c.in); got != c.want {
			t.Errorf("%s: parseHidden(%q) = %+v; want %+v", c.name, c.in, got, c.want)
		}
	}
	for _, name := range []string{"f", strings.Repeat("x", vfs.MaxName)} {
		if n := len(partialName(name, "alice") + "." + number()); n > vfs.MaxName {
			t.Errorf("the hidden name of a name of %d bytes has %d", len(name), n)
		}
	}
}

// Whatever lies in a directory, what is taken for ours can be put together again.
func FuzzParseHidden(f *testing.F) {
	f.Add(partialName("f", "alice"))
	f.Add(partialName("f", "alice") + "." + number())
	f.Add(noteName("f"))
	f.Add(nameNote(partialName("f", "alice")))
	f.Add(vfs.Hidden)
	f.Fuzz(func(t *testing.T, name string) {
		k := parseHidden(name)
		if k.owner == "" {
			if k != (hiddenName{}) {
				t.Errorf("parseHidden(%q) = %+v, of nobody", name, k)
			}
			return
		}
		again := k.partial
		switch {
		case k.isName:
			again += ".name"
		case k.isNote:
			again += ".n" + k.number
		case k.number != "":
			again += "." + k.number
		}
		if again != name || !strings.HasPrefix(k.partial, vfs.Hidden+k.owner+"-") {
			t.Errorf("parseHidden(%q) = %+v, which is %q", name, k, again)
		}
	})
}
