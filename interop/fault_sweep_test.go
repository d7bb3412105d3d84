//go:build linux

package interop

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// chain is the directory that a look through the tree comes to last: it is below
// five others, one in the other.
const chain = "1/2/3/4/5/deep"

// slowly makes each step of the look through the tree take so long that clients
// are let in before it ends, and gives them time between the opening of a hidden
// file and the question whether its upload lives. What it opens is in the file
// that is returned.
func (l *life) slowly(t *testing.T) (trace string) {
	t.Helper()
	trace = filepath.Join(t.TempDir(), "trace")
	l.prefix = []string{peer(t, "strace"), "-D", "-f", "-qq", "-s", "200", "-o", trace,
		"-e", "trace=getdents64,openat,flock",
		"-e", "inject=getdents64:delay_enter=400000",
		"-e", "inject=flock:delay_enter=1500000"}
	return trace
}

// eventually waits up to 30 s for what to become true.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !is(); {
		if time.Now().After(end) {
			t.Fatalf("after 30 s still not: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// A start whose look through the tree takes long lets clients in before it ends.
// An append that it has not yet taken back must not cost one that is
// acknowledged meanwhile.
func TestAnAppendAfterAKillIsKept(t *testing.T) {
	t.Parallel()
	peer(t, "strace")
	l := &life{root: t.TempDir(), state: t.TempDir(), passive: ownRange(), args: []string{"--sync", "none"}, mortal: true}
	base, lost, mine := bytes.Repeat([]byte("base "), 1000), bytes.Repeat([]byte("lost "), 200_000), bytes.Repeat([]byte("mine "), 1000)
	plant(t, l.root, named{chain + "/log.txt", base})
	path := filepath.Join(l.root, chain, "log.txt")

	s := l.launch(t)
	v, err := visit(t.Context(), s.ready.FTP[0], nil)
	if err != nil {
		t.Fatal(err)
	}
	data, err := v.open(t.Context(), "APPE "+chain+"/log.txt")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := data.Write(lost); err != nil {
		t.Fatal(err)
	}
	eventually(t, "some of the append is in the file", func() bool {
		fi, err := os.Stat(path)
		return err == nil && fi.Size() > int64(len(base))
	})
	s.kill(t)
	v.hangUp()
	_ = data.Close()

	l.slowly(t)
	l.mortal = false
	s = l.launch(t)
	if v, err = visit(t.Context(), s.ready.FTP[0], nil); err != nil {
		t.Fatal(err)
	}
	defer v.hangUp()
	if _, hidden := namesIn(t, filepath.Dir(path)); len(hidden) != 1 {
		t.Fatalf("beside the file is %q; want the note of the dead append", hidden)
	}
	err = v.upload(t.Context(), "APPE "+chain+"/log.txt", mine)
	t.Logf("the second append: %v", err)
	eventually(t, "nothing hidden is left", func() bool {
		_, hidden := namesIn(t, filepath.Dir(path))
		return len(hidden) == 0
	})
	want := base
	if err == nil {
		want = append(bytes.Clone(base), mine...)
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("the file has %d bytes: %s; want %s", len(got), words(got), words(want))
	}
}

// words counts the words of five letters in b.
func words(b []byte) string {
	var out []string
	for _, w := range []string{"base ", "lost ", "mine "} {
		out = append(out, fmt.Sprintf("%d bytes of %q", len(w)*bytes.Count(b, []byte(w)), w))
	}
	return strings.Join(out, ", ")
}

// An upload that ends while the look through the tree has its hidden file open
// is no leftover: what is acknowledged stays as it is.
func TestAnUploadThatEndsWhileLeftoversAreLookedFor(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		verb   string
		hidden string // what the server opens beside the file
	}{{"STOR", `\.[0-9a-f]{16}`}, {"APPE", `\.n0`}} {
		t.Run(c.verb, func(t *testing.T) {
			t.Parallel()
			peer(t, "strace")
			l := &life{root: t.TempDir(), state: t.TempDir(), passive: ownRange(), args: []string{"--sync", "none"}}
			base, mine := bytes.Repeat([]byte("base "), 1000), bytes.Repeat([]byte("mine "), 10_000)
			plant(t, l.root, named{chain + "/file.bin", base})
			path := filepath.Join(l.root, chain, "file.bin")
			trace := l.slowly(t)
			s := l.launch(t)
			v, err := visit(t.Context(), s.ready.FTP[0], nil)
			if err != nil {
				t.Fatal(err)
			}
			defer v.hangUp()
			data, err := v.open(t.Context(), c.verb+" "+chain+"/file.bin")
			if err != nil {
				t.Fatal(err)
			}
			defer data.Close()
			if _, err := data.Write(mine[:len(mine)/2]); err != nil {
				t.Fatal(err)
			}
			// Without O_CREAT: not by the upload itself.
			opened := regexp.MustCompile(`openat\(.*"\.dray-[0-9a-f-]{12}-[0-9a-f]{32}` + c.hidden +
				`", O_RDWR\|(O_NOFOLLOW|O_CLOEXEC)[^)]*(\) += \d| <unfinished)`)
			eventually(t, "the look through the tree has opened the hidden file", func() bool {
				b, err := os.ReadFile(trace)
				return err == nil && opened.Match(b)
			})
			if _, err := data.Write(mine[len(mine)/2:]); err != nil {
				t.Fatal(err)
			}
			if err := finish(data); err != nil {
				t.Fatal(err)
			}
			if err := v.expect(c.verb, 226); err != nil {
				t.Fatal(err)
			}
			want := mine
			if c.verb == "APPE" {
				want = append(bytes.Clone(base), mine...)
			}
			check := func(when string) {
				t.Helper()
				got, err := os.ReadFile(path)
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("%s the file has %d bytes: %s (%v); want %s", when, len(got), words(got), err, words(want))
				}
			}
			check("at the 226")
			time.Sleep(2 * time.Second) // the question comes 1.5 s after the opening
			check("2 s after the 226")
			_, hidden := namesIn(t, filepath.Dir(path))
			if len(hidden) > 0 {
				t.Errorf("beside the file is %q; want nothing", hidden)
			}
		})
	}
}
