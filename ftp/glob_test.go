package ftp

import (
	"math"
	"strings"
	"testing"
	"unicode/utf8"
)

var globTests = []struct {
	name, pattern, in string
	want              bool
}{
	{"a name", "abc", "abc", true},
	{"the whole of it", "abc", "abcd", false},
	{"nothing matches the empty name", "", "", true},
	{"and no other", "", "a", false},
	{"a star is many", "*.txt", "a.txt", true},
	{"a star is none", "a*", "a", true},
	{"a star is not enough", "*.txt", "a.txt~", false},
	{"stars between", "a*b*c", "a-b-b-c-c", true},
	{"a star comes back", "*ab", "aab", true},
	{"many stars", "**a**", "xax", true},
	{"a question mark is one", "a?c", "abc", true},
	{"and not none", "a?c", "ac", false},
	{"a character of UTF-8 is one", "?", "ü", true},
	{"a byte that is no UTF-8 is one", "a?b", "a\xe4b", true},
	{"such a byte is itself only", "\xe4", "\xe5", false},
	{"such a byte is not the character of its number", "\xe4", "ä", false},
	{"a set", "[abc]", "b", true},
	{"a set of ranges", "[a-cx-z]", "y", true},
	{"not in a set", "[a-c]", "d", false},
	{"a set that is turned round", "[!a-c]", "d", true},
	{"turned round in the other way", "[^a-c]", "b", false},
	{"a bracket that comes first is a member", "[]a]", "]", true},
	{"also when it is turned round", "[!]]", "]", false},
	{"a dash at the end is a member", "[a-]", "-", true},
	{"a dash at the beginning too", "[-a]", "-", true},
	{"a backslash in a set", `[\]]`, "]", true},
	{"a range of characters that are not ASCII", "[ä-ü]", "ö", true},
	{"a range upside down has nothing", "[z-a]", "m", false},
	{"and not its ends", "[z-a]", "z", false},
	{"a set may hold a star", "[*]", "*", true},
	{"an escaped star is a star", `\*`, "*", true},
	{"and nothing else", `\*`, "a", false},
	{"a backslash at the end is itself", `a\`, `a\`, true},
	{"a bracket that is not closed is itself", "a[b", "a[b", true},
	{"also before a star", "[a*", "[abc", true},
	{"an empty set is not closed", "[]", "[]", true},
	{"case matters", "A*", "abc", false},
	{"braces are themselves", "{a,b}", "{a,b}", true},
	{"a leading dot is not for a star", "*", ".profile", false},
	{"nor for a question mark", "?profile", ".profile", false},
	{"nor for a set", "[.]profile", ".profile", false},
	{"nor for a set that is turned round", "[!a]profile", ".profile", false},
	{"a dot takes it", ".*", ".profile", true},
	{"an escaped dot too", `\.p*`, ".profile", true},
	{"a dot inside is a character", "a*", "a.b", true},
}

func TestGlob(t *testing.T) {
	for _, tt := range globTests {
		g, err := ParseGlob(tt.pattern)
		if err != nil {
			t.Errorf("%s: ParseGlob(%q) = %v", tt.name, tt.pattern, err)
			continue
		}
		budget := 1000
		if got, err := g.Match(tt.in, &budget); got != tt.want || err != nil {
			t.Errorf("%s: %q.Match(%q) = %v, %v; want %v", tt.name, tt.pattern, tt.in, got, err, tt.want)
		}
		if got, err := g.Match(tt.in, nil); got != tt.want || err != nil {
			t.Errorf("%s: without a budget %q.Match(%q) = %v, %v; want %v", tt.name, tt.pattern, tt.in, got, err, tt.want)
		}
	}
}

func TestParseGlobRefuses(t *testing.T) {
	for _, s := range []string{"a/b", "/", "[/]", strings.Repeat("a", maxGlob+1)} {
		if _, err := ParseGlob(s); err != ErrSyntax {
			t.Errorf("ParseGlob(%.20q) = %v; want ErrSyntax", s, err)
		}
	}
}

func TestHasGlob(t *testing.T) {
	for s, want := range map[string]bool{"": false, "a.txt": false, `a\b`: false, "{a}": false, "*": true, "a?": true, "a[": true} {
		if got := HasGlob(s); got != want {
			t.Errorf("HasGlob(%q) = %v", s, got)
		}
	}
}

func TestGlobBudget(t *testing.T) {
	g, err := ParseGlob("a*b")
	if err != nil {
		t.Fatal(err)
	}
	budget := 3
	if ok, err := g.Match("axxxxxxxxb", &budget); ok || err != ErrGlobBudget || budget != 0 {
		t.Errorf("with too few steps Match = %v, %v, %d left", ok, err, budget)
	}
	if _, err := g.Match("a", &budget); err != ErrGlobBudget {
		t.Errorf("with none left Match = %v", err)
	}
	budget = 100
	if ok, err := g.Match("ab", &budget); !ok || err != nil || budget >= 100 || budget < 90 {
		t.Errorf("Match = %v, %v, %d of 100 left", ok, err, budget)
	}
}

// The pattern that takes a recursive matcher for ever costs at most the length
// of the name times that of the pattern.
func TestGlobIsNotExponential(t *testing.T) {
	g, err := ParseGlob(strings.Repeat("*a", 120) + "b")
	if err != nil {
		t.Fatal(err)
	}
	budget := 255 * 241
	if ok, err := g.Match(strings.Repeat("a", 255), &budget); ok || err != nil {
		t.Errorf("Match = %v, %v", ok, err)
	}
	if _, err := ParseGlob(strings.Repeat("[", maxGlob)); err != nil {
		t.Errorf("many brackets: %v", err)
	}
}

func TestGlobMatchDoesNotAllocate(t *testing.T) {
	g, err := ParseGlob("*[a-z]?.t*t")
	if err != nil {
		t.Fatal(err)
	}
	budget := math.MaxInt
	if n := testing.AllocsPerRun(100, func() { _, _ = g.Match("some-name-ü.text", &budget) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// quoteGlob writes a name as the pattern that matches it alone.
func quoteGlob(name string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(name)
}

func FuzzGlob(f *testing.F) {
	for _, tt := range globTests {
		f.Add(tt.pattern, tt.in)
	}
	f.Fuzz(func(t *testing.T, pattern, name string) {
		if len(name) > 255 {
			return
		}
		if g, err := ParseGlob(pattern); err == nil {
			budget := (len(pattern) + 1) * (len(pattern) + 1) * (len(name) + 1)
			if _, err := g.Match(name, &budget); err != nil {
				t.Errorf("%q.Match(%q) = %v", pattern, name, err)
			}
		}
		if strings.Contains(name, "/") {
			return
		}
		itself, err := ParseGlob(quoteGlob(name))
		if err != nil {
			t.Fatalf("ParseGlob(%q) = %v", quoteGlob(name), err)
		}
		if ok, err := itself.Match(name, nil); !ok || err != nil {
			t.Errorf("%q does not match itself: %v", name, err)
		}
		if ok, _ := itself.Match(name+"x", nil); ok {
			t.Errorf("%q matches a longer name", quoteGlob(name))
		}
		if len(pattern) == 0 || strings.HasPrefix(name, ".") || utf8.RuneCountInString(name) == 0 {
			return
		}
		for _, p := range []string{"*", strings.Repeat("?", utf8.RuneCountInString(name)), "*" + quoteGlob(name) + "*"} {
			g, err := ParseGlob(p)
			if err != nil {
				t.Fatalf("ParseGlob(%q) = %v", p, err)
			}
			if ok, err := g.Match(name, nil); !ok || err != nil {
				t.Errorf("%q does not match %q: %v", p, name, err)
			}
		}
	})
}
