package mirror

import (
	"io/fs"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"dray/remote"
)

// day is the time of all files of the tests.
var day = time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)

func entryOf(dir bool, size int64, at time.Time) *remote.Entry {
	e := &remote.Entry{Known: typed | sized | timed}
	e.Size, e.Time = size, at
	if dir {
		e.Mode = fs.ModeDir
	}
	return e
}

func TestFilters(t *testing.T) {
	none := Rules{Most: -1}
	with := func(include, exclude string) Rules {
		r := none
		r.Include, r.Exclude = strings.Fields(include), strings.Fields(exclude)
		return r
	}
	tests := []struct {
		rules   Rules
		rel     string
		dir     bool
		size    int64
		at      time.Time
		want    bool
		comment string
	}{
		{rules: with("", "*.tmp"), rel: "a.tmp", want: false},
		{rules: with("", "*.tmp"), rel: "d/a.tmp", want: false},
		{rules: with("", "*.tmp"), rel: "a.txt", want: true},
		{rules: with("", "*.tmp"), rel: "a.tmp", dir: true, want: false},
		{rules: with("", "cache/"), rel: "cache", want: true},
		{rules: with("", "cache/"), rel: "cache", dir: true, want: false},
		{rules: with("", "cache/"), rel: "d/cache", dir: true, want: false},
		{rules: with("", "/cache"), rel: "d/cache", want: true},
		{rules: with("", "/cache"), rel: "cache", want: false},
		{rules: with("", "d/*.c"), rel: "d/a.c", want: false},
		{rules: with("", "d/*.c"), rel: "d/e/a.c", want: true},
		{rules: with("", "d/*.c"), rel: "e/d/a.c", want: true},
		{rules: with("", "**/d/*.c"), rel: "e/d/a.c", want: false},
		{rules: with("", "**/d/*.c"), rel: "d/a.c", want: false},
		{rules: with("", "d/**"), rel: "d/e/f/g", want: false},
		{rules: with("", "d/**/g"), rel: "d/g", want: false},
		{rules: with("", "d/**/g"), rel: "d/e/f/g", want: false},
		{rules: with("", "d/**/g"), rel: "d/e/f/h", want: true},
		{rules: with("", "**/a/**/b/**/c"), rel: "x/a/a/y/b/b/c/c", want: false},
		{rules: with("", "**/a/**/b/**/c"), rel: "x/b/a/y/c", want: true},
		{rules: with("", "d//e"), rel: "d/e", want: false},
		{rules: with("", "./d/e"), rel: "d/e", want: false},
		{rules: with("*.txt", ""), rel: "a.txt", want: true},
		{rules: with("*.txt", ""), rel: "a.c", want: false},
		{rules: with("*.txt", ""), rel: "dir", dir: true, want: true},
		{rules: with("*.txt", "a*"), rel: "a.txt", want: true, comment: "include is over exclude"},
		{rules: with("*.txt", "a*"), rel: "a.c", want: false},
		{rules: with("*.txt", "a*"), rel: "b.c", want: true},
		{rules: with("", "[a-c]?"), rel: "b1", want: false},
		{rules: with("", "[a-c]?"), rel: "d1", want: true},
		{rules: Rules{Least: 10, Most: 20}, rel: "a", size: 9, want: false},
		{rules: Rules{Least: 10, Most: 20}, rel: "a", size: 10, want: true},
		{rules: Rules{Least: 10, Most: 20}, rel: "a", size: 20, want: true},
		{rules: Rules{Least: 10, Most: 20}, rel: "a", size: 21, want: false},
		{rules: Rules{Least: 10, Most: 20}, rel: "a", dir: true, want: true},
		{rules: Rules{Newer: day, Most: -1}, rel: "a", at: day, want: true},
		{rules: Rules{Newer: day, Most: -1}, rel: "a", at: day.Add(-1), want: false},
		{rules: Rules{Older: day, Most: -1}, rel: "a", at: day, want: true},
		{rules: Rules{Older: day, Most: -1}, rel: "a", at: day.Add(1), want: false},
	}
	for _, tt := range tests {
		f, err := tt.rules.Filter()
		if err != nil {
			t.Errorf("%+v: %v", tt.rules, err)
			continue
		}
		if got := f(tt.rel, entryOf(tt.dir, tt.size, tt.at)); got != tt.want {
			t.Errorf("%+v: %q (directory %v, %d bytes, %v) = %v %s", tt.rules, tt.rel, tt.dir, tt.size, tt.at, got, tt.comment)
		}
	}
	if f, err := none.Filter(); f != nil || err != nil {
		t.Error("no rules make a filter")
	}
	for _, bad := range []string{"", "/", "//", ".", "[a", "a\\", strings.Repeat("a", maxPattern+1)} {
		if _, err := (Rules{Exclude: []string{bad}, Most: -1}).Filter(); err == nil {
			t.Errorf("the pattern %.20q was taken", bad)
		}
	}
	unknown := &remote.Entry{Known: typed}
	if f, _ := (Rules{Least: 10, Most: 20, Newer: day}).Filter(); !f("a", unknown) {
		t.Error("what is not told is held against a file")
	}
}

// A pattern is done with a path in time that grows with the product of their lengths.
func TestPatternsAreFast(t *testing.T) {
	f, err := Rules{Exclude: []string{strings.Repeat("**/a/", 400) + "b", "**/" + strings.Repeat("*a", 1000) + "b"}, Most: -1}.Filter()
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if !f(strings.Repeat("a/", 400)+strings.Repeat("a", 250), entryOf(false, 0, day)) {
		t.Error("it matched")
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("it took %v", took)
	}
}

// slow says by recursion what a pattern matches.
func slow(pat, parts []string) bool {
	switch {
	case len(pat) == 0:
		return len(parts) == 0
	case pat[0] == "**":
		return slow(pat[1:], parts) || len(parts) > 0 && slow(pat, parts[1:])
	case len(parts) == 0:
		return false
	}
	ok, _ := path.Match(pat[0], parts[0])
	return ok && slow(pat[1:], parts[1:])
}

func FuzzFilter(f *testing.F) {
	f.Add("**/a/*.c", "x/a/b.c")
	f.Add("a/", "a")
	f.Add("[a-", "a")
	f.Fuzz(func(t *testing.T, text, rel string) {
		all, err := patterns([]string{text})
		if err != nil || len(rel) > 500 {
			return
		}
		parts := strings.Split(rel, "/")
		if !all[0].whole {
			parts = parts[len(parts)-1:]
		}
		got := all[0].match(parts)
		if slices.Contains(all[0].parts, "**") && len(all[0].parts)*len(parts) > 80 {
			return // too slow for slow
		}
		if want := slow(all[0].parts, parts); got != want {
			t.Errorf("%q against %q = %v; want %v", all[0].parts, parts, got, want)
		}
	})
}
