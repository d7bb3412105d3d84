package interop

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A file is a name below some directory, with content that follows from name
// and size alone.
type file struct {
	name string
	size int
}

// samples are what every client has to carry.
var samples = []file{
	{"empty.bin", 0},
	{"one", 1},
	{"with space.txt", 1000},
	{".hidden", 4097},
	{"grüße 世界.dat", 5<<20 + 3},
}

// big is the sample that is worth resuming.
var big = samples[len(samples)-1]

func (f file) content() []byte {
	seed := sha256.Sum256([]byte(f.name))
	b := make([]byte, f.size)
	// Fill never fails: ChaCha8's Read has no other end than its buffer's.
	_, _ = rand.NewChaCha8(seed).Read(b)
	return b
}

func (f file) as(name string) named { return named{name, f.content()} }

// A named is content under a name of the test's choice.
type named struct {
	name    string
	content []byte
}

// A tree maps slashed paths to size and SHA-256 of a file, or to "directory".
type tree map[string]string

func sum(b []byte) string { return fmt.Sprintf("%d bytes %x", len(b), sha256.Sum256(b)) }

// treeOf is the tree that holds files, and their directories.
func treeOf(files ...named) tree {
	out := tree{}
	for _, f := range files {
		out[f.name] = sum(f.content)
		for dir := f.name; strings.Contains(dir, "/"); {
			dir = dir[:strings.LastIndexByte(dir, '/')]
			out[dir] = "directory"
		}
	}
	return out
}

// plus is t with all of others.
func (t tree) plus(others ...tree) tree {
	out := maps.Clone(t)
	for _, o := range others {
		maps.Copy(out, o)
	}
	return out
}

// below is t moved into directory dir.
func (t tree) below(dir string) tree {
	out := tree{dir: "directory"}
	for name, what := range t {
		out[dir+"/"+name] = what
	}
	return out
}

// all are the samples under their own names.
func all() []named {
	var out []named
	for _, f := range samples {
		out = append(out, f.as(f.name))
	}
	return out
}

// names are the names of the samples.
func names() []string {
	var out []string
	for _, f := range samples {
		out = append(out, f.name)
	}
	return out
}

// plant writes files below dir and returns their tree.
func plant(t *testing.T, dir string, files ...named) tree {
	t.Helper()
	for _, f := range files {
		path := filepath.Join(dir, filepath.FromSlash(f.name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, f.content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return treeOf(files...)
}

// scan reads everything below dir, hidden names included: what a server leaves
// behind beside the files of its clients is seen here.
func scan(t *testing.T, dir string) tree {
	t.Helper()
	out := tree{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil || name == ".":
			return err
		case d.IsDir():
			out[name] = "directory"
			return nil
		}
		b, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
		out[name] = sum(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// same fails the test for every path in which dir differs from want.
func same(t *testing.T, dir string, want tree) {
	t.Helper()
	got := scan(t, dir)
	for _, name := range slices.Sorted(maps.Keys(want.plus(got))) {
		if got[name] != want[name] {
			t.Errorf("%s/%s: %s; want %s", filepath.Base(dir), name, orNothing(got[name]), orNothing(want[name]))
		}
	}
}

func orNothing(s string) string {
	if s == "" {
		return "nothing"
	}
	return s
}

// sameNames compares a listing of names with want, both in any order.
func sameNames(t *testing.T, what, listing string, want []string) {
	t.Helper()
	var got []string
	for line := range strings.Lines(listing) {
		got = append(got, strings.TrimRight(line, "\r\n"))
	}
	want = slices.Sorted(slices.Values(want))
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("%s = %q; want %q", what, got, want)
	}
}
