//go:build linux

package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A syscallLine is one system call of a trace, whose begin and end are line
// numbers: calls of other threads may lie between them.
type syscallLine struct {
	begin, end int
	name       string
	args       string
	result     int64
}

var (
	wholeCall   = regexp.MustCompile(`^(\d+) +(\w+)\((.*)\) += (-?\d+)`)
	brokenOff   = regexp.MustCompile(`^(\d+) +(\w+)\((.*) <unfinished \.\.\.>$`)
	takenUp     = regexp.MustCompile(`^(\d+) +<\.\.\. (\w+) resumed>(.*)\) += (-?\d+)`)
	movesBytes  = regexp.MustCompile(`^(write|pwrite64|splice)$`)
	finalAnswer = regexp.MustCompile(`"226 `)
)

// readTrace reads what strace -f -o wrote, in the order in which calls began.
func readTrace(t *testing.T, path string) []*syscallLine {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var calls []*syscallLine
	open := map[string]*syscallLine{}
	i := 0
	for line := range strings.Lines(string(b)) {
		i++
		line = strings.TrimSuffix(line, "\n")
		if m := brokenOff.FindStringSubmatch(line); m != nil {
			c := &syscallLine{begin: i, end: 1 << 60, name: m[2], args: m[3], result: -1}
			calls, open[m[1]] = append(calls, c), c
			continue
		}
		if m := takenUp.FindStringSubmatch(line); m != nil {
			if c := open[m[1]]; c != nil && c.name == m[2] {
				c.end, c.args = i, c.args+m[3]
				c.result, _ = strconv.ParseInt(m[4], 10, 64) // digits alone
			}
			continue
		}
		if m := wholeCall.FindStringSubmatch(line); m != nil {
			c := &syscallLine{begin: i, end: i, name: m[2], args: m[3]}
			c.result, _ = strconv.ParseInt(m[4], 10, 64) // digits alone
			calls = append(calls, c)
		}
	}
	return calls
}

// 226 is the last step: the bytes are in the file, the file is on the disk, it
// has its name, the name is on the disk, and then the client is told.
func TestAnUploadIsOnTheDiskBeforeItsReply(t *testing.T) {
	t.Parallel()
	strace := peer(t, "strace")
	trace := filepath.Join(t.TempDir(), "trace")
	root := t.TempDir()
	root, err := filepath.EvalSymlinks(root) // strace prints real paths
	if err != nil {
		t.Fatal(err)
	}
	l := &life{root: root, state: t.TempDir(), passive: ownRange(), args: []string{"--sync", "commit"}, prefix: []string{
		strace, "-D", "-f", "-y", "-qq", "-s", "128", "-o", trace,
		"-e", "trace=openat,openat2,write,pwrite64,splice,fsync,fdatasync,rename,renameat,renameat2,sendto",
	}}
	f := file{"ordered", 100_000}
	for _, verb := range []string{"STOR new.bin", "STOR old.bin"} {
		_, name, _ := strings.Cut(verb, " ")
		plant(t, root, named{"old.bin", []byte("old")})
		t.Run(verb, func(t *testing.T) {
			s := l.launch(t)
			v, err := visit(t.Context(), s.ready.FTP[0], nil)
			if err != nil {
				t.Fatal(err)
			}
			defer v.hangUp()
			if err := v.upload(t.Context(), verb, f.content()); err != nil {
				t.Fatal(err)
			}
			var calls []*syscallLine
			answer := -1
			for deadline := time.Now().Add(10 * time.Second); answer < 0; { // strace writes a little later
				calls = readTrace(t, trace)
				for i, c := range calls {
					if (c.name == "write" || c.name == "sendto") && finalAnswer.MatchString(c.args) {
						answer = i
					}
				}
				if time.Now().After(deadline) {
					t.Fatal("the trace has no reply 226")
				}
			}

			hidden := regexp.MustCompile(regexp.QuoteMeta(root) + `/\.dray-[0-9a-f]{12}-[0-9a-f]{32}\.[0-9a-f]{16}`)
			// find is the only successful call that passes.
			find := func(what string, passes func(c *syscallLine) bool) *syscallLine {
				t.Helper()
				var found *syscallLine
				for _, c := range calls {
					if c.result < 0 || !passes(c) {
						continue
					}
					if found != nil {
						t.Errorf("%s: twice in the trace:\n%v\n%v", what, *found, *c)
					}
					found = c
				}
				if found == nil {
					t.Fatalf("%s: not in the trace:\n%s", what, tail(show(calls), 6000))
				}
				return found
			}
			written, last := int64(0), 0
			for _, c := range calls {
				if !movesBytes.MatchString(c.name) || c.result <= 0 {
					continue
				}
				into := c.args // of splice the second descriptor
				if c.name == "splice" {
					into = c.args[strings.Index(c.args, ">, ")+1:]
				} else {
					into, _, _ = strings.Cut(into, ">, ")
				}
				if hidden.MatchString(into) {
					written, last = written+c.result, max(last, c.end)
				}
			}
			if written != int64(f.size) {
				t.Errorf("%d bytes were written to the hidden name; want %d\n%s", written, f.size, tail(show(calls), 6000))
			}
			flush := find("flush of the file", func(c *syscallLine) bool {
				return (c.name == "fsync" || c.name == "fdatasync") && hidden.MatchString(c.args)
			})
			rename := find("rename", func(c *syscallLine) bool {
				return strings.HasPrefix(c.name, "rename") && strings.Contains(c.args, `"`+name+`"`)
			})
			dir := find("flush of the directory", func(c *syscallLine) bool {
				return c.name == "fsync" && strings.Contains(c.args, "<"+root+">")
			})
			for _, step := range []struct {
				what          string
				before, after int
			}{
				{"the last byte before the flush of the file", last, flush.begin},
				{"the flush of the file before the rename", flush.end, rename.begin},
				{"the rename before the flush of the directory", rename.end, dir.begin},
				{"the flush of the directory before the 226", dir.end, calls[answer].begin},
			} {
				if step.before >= step.after {
					t.Errorf("%s: lines %d and %d of the trace\n%s", step.what, step.before, step.after, tail(show(calls), 6000))
				}
			}
			same(t, root, treeOf(named{"old.bin", []byte("old")}).plus(treeOf(f.as(name))))
		})
		if err := os.Remove(filepath.Join(root, name)); err != nil {
			t.Error(err)
		}
	}
}

func show(calls []*syscallLine) string {
	var b strings.Builder
	for _, c := range calls {
		fmt.Fprintf(&b, "%d-%d %s(%s) = %d\n", c.begin, c.end, c.name, c.args, c.result)
	}
	return b.String()
}
