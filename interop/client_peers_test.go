//go:build linux

package interop

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// hundred are files of every size and name that a client has to carry.
func hundred() []named {
	sizes := []int{0, 1, 4095, 4096, 65536}
	names := []string{"with blanks in it.txt", "grüße 世界.dat", "half # and 100% and %41.txt", "-leading dash", strings.Repeat("long name ", 19) + "long name!", ".hidden",
		" blank in front", "deep/er/est/file.bin", "a+b&c=d;e,f'g.txt", "(x) [y] {z} $HOME ~.bin"}
	r := rand.New(rand.NewChaCha8(sha256.Sum256([]byte("hundred files"))))
	var out []named
	for i := range 100 {
		name := fmt.Sprintf("directory %d/file-%02d.bin", i%5, i)
		if i < len(names) {
			name = names[i]
		}
		size := r.IntN(300 << 10)
		if i%4 == 0 || i < len(sizes) {
			size = sizes[i%len(sizes)]
		}
		out = append(out, file{name, size}.as(name))
	}
	return out
}

// age gives every file below dir a time of its own, in the past.
func age(t *testing.T, dir string) {
	t.Helper()
	i := 0
	at := time.Now().Add(-170 * 24 * time.Hour).Truncate(time.Second)
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		i++
		when := at.Add(time.Duration(i)*40*time.Hour + time.Duration(i)*time.Second)
		return os.Chtimes(name, when, when)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// sameTimes compares the times of all files of want with those below got.
func sameTimes(t *testing.T, what, want, got string, step time.Duration) {
	t.Helper()
	wrong := 0
	for name, is := range scan(t, want) {
		if is == "directory" {
			continue
		}
		a, err := os.Stat(filepath.Join(want, name))
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.Stat(filepath.Join(got, name))
		if err != nil {
			t.Error(err)
			continue
		}
		if d := a.ModTime().Sub(b.ModTime()); d >= step || d <= -step {
			if wrong++; wrong < 4 {
				t.Errorf("%s: %s is of %v; want %v", what, name, b.ModTime().UTC(), a.ModTime().UTC())
			}
		}
	}
}

func sameTime(t *testing.T, want, got string) {
	t.Helper()
	a, err := os.Stat(want)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.Stat(got)
	if err != nil {
		t.Fatal(err)
	}
	if d := a.ModTime().Sub(b.ModTime()); d >= time.Second || d <= -time.Second {
		t.Errorf("%s is of %v; want %v", got, b.ModTime().UTC(), a.ModTime().UTC())
	}
}

// The doctor finds nothing wrong with any server. A hundred files go to each and come
// back, eight at once, whole and with
// their times; then there is nothing more to do, and at the end nothing is left.
func TestTheClientWithEveryServer(t *testing.T) {
	t.Parallel()
	for _, r := range recipes() {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			g := customerOf(t, visitTo(t, r.name))
			want := plant(t, g.in("up"), hundred()...)
			age(t, g.in("up"))

			well := 0
			if slices.Contains(g.flags, "--plain") {
				well = 20 // there is no TLS
			}
			g.must(well, "doctor", "--write", g.url(""))

			g.must(0, "put", "-q", "-r", "-P", "8", "up", g.url(""))
			same(t, g.root, want.below("up"))
			timeless := r.name == "inetutils-ftpd" // it lets no times be set
			if !timeless {
				sameTimes(t, "put", g.in("up"), filepath.Join(g.root, "up"), time.Second)
			}

			g.must(0, "get", "-q", "-r", "-P", "8", g.url("up"), "down")
			same(t, g.in("down"), want.below("up"))
			step := time.Second
			if strings.HasPrefix(r.name, "vsftpd") || timeless { // its listings have minutes
				step = time.Minute
			}
			sameTimes(t, "get", filepath.Join(g.root, "up"), g.in("down/up"), step)
			g.must(0, "get", "-q", "-o", "alone", g.url("up/a+b&c=d;e,f'g.txt"))
			sameTime(t, filepath.Join(g.root, "up/a+b&c=d;e,f'g.txt"), g.in("alone"))

			g.must(14, "mirror", "--error-on-no-transfer", "up", g.url("up"))
			if !timeless {
				g.must(14, "mirror", "--error-on-no-transfer", g.url("up"), "up")
			}
			same(t, g.root, want.below("up"))
			same(t, g.in("up"), want)

			g.listed("up")

			// What changes is moved, and nothing else.
			plant(t, g.in("up"), named{"one more.txt", []byte("one more")}, named{".hidden", []byte("another")})
			if out := g.must(0, "mirror", "--jsonl", "up", g.url("up")); !strings.Contains(out.stdout, `"done":2,`) {
				t.Errorf("mirror after two changes: %v; want 2 done", out)
			}
			want["one more.txt"], want[".hidden"] = sum([]byte("one more")), sum([]byte("another"))
			same(t, g.root, want.below("up"))

			g.must(0, "mv", g.url("up/one more.txt"), g.url("up/-moved #.txt"))
			if out := g.must(0, "stat", "--json", g.url("up/-moved #.txt")); !strings.Contains(out.stdout, `"size":8`) {
				t.Errorf("stat: %v; want size 8", out)
			}
			if out := g.must(0, "sum", g.url("up/-moved #.txt")); !strings.Contains(out.stdout, "-moved #.txt") || len(strings.Fields(out.stdout)[0]) < 8 {
				t.Errorf("sum: %v", out)
			}
			g.must(7, "stat", g.url("up/one more.txt"))

			g.must(0, "rm", "-r", g.url("up"))
			same(t, g.root, tree{})
			noParts(t, g.dir)
		})
	}
}

// listed compares ls -l --json of a directory with the disk.
func (g *customer) listed(dir string) {
	t := g.t
	t.Helper()
	out := g.must(0, "ls", "-l", "-a", "-R", "--json", g.url(dir+"/"))
	var entries []struct {
		Path, Type string
		Size       int64
		MTime      time.Time
	}
	if err := json.Unmarshal([]byte(out.stdout), &entries); err != nil {
		t.Fatalf("%v: %v", out, err)
	}
	want := scan(t, filepath.Join(g.root, dir))
	for _, e := range entries {
		fi, err := os.Stat(filepath.Join(g.root, dir, e.Path))
		switch {
		case err != nil:
			t.Errorf("ls shows %q: %v", e.Path, err)
			continue
		case fi.IsDir():
			if e.Type != "dir" {
				t.Errorf("ls shows %q as %s", e.Path, e.Type)
			}
		case e.Type != "file" || e.Size != fi.Size():
			t.Errorf("ls shows %q as %s of %d bytes; want %d", e.Path, e.Type, e.Size, fi.Size())
		default:
			if d := e.MTime.Sub(fi.ModTime()); d > time.Minute || d < -time.Minute {
				t.Errorf("ls shows %q of %v; want %v", e.Path, e.MTime, fi.ModTime())
			}
		}
		delete(want, e.Path)
	}
	for name := range want {
		t.Errorf("ls does not show %q", name)
	}
}

// A server that wants TLS 1.2 resumed, and has no tickets for that, is refused by
// its reason and not taken for a blocked port.
func TestTheClientTellsThatASessionCantBeResumed(t *testing.T) {
	t.Parallel()
	g := customerOf(t, visitTo(t, "ProFTPD TLS 1.2", "TLSSessionTickets off"))
	plant(t, g.dir, named{"a", []byte("content")})
	if out := g.must(6, "put", "--retry", "0", "a", g.url("")); !strings.Contains(out.stderr, "[tls-reuse]") {
		t.Errorf("%v; want [tls-reuse]", out)
	}
	if got := scan(t, g.root)["a"]; got != "" {
		t.Errorf("a on the server: %s; want nothing", got)
	}
}
