package ftp

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestGoldenListings reads the listings of testdata/listings, one file a dialect.
// "< " begins a line of the server, in quotes where it has bytes that do not show,
// and the line below it is what is expected: ">" and the type, the mode, the size,
// the time to its step, owner/group, the name and the target; "-" for what is not
// known, "~" before a size that is not exact; "> none" where there is no
// entry and "> unread" where nobody knows the line. It is noon of the 1st of July
// 2024, UTC.
func TestGoldenListings(t *testing.T) {
	files, err := filepath.Glob("testdata/listings/*.txt")
	if err != nil || len(files) != int(numDialects)-1 {
		t.Fatalf("%d files, %v; want one for each dialect", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txt")
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(data), "\n# - ") {
				t.Error("no source is named")
			}
			p := ListParser{Now: now}
			var got string
			entries, unread := 0, 0
			for i, line := range strings.Split(string(data), "\n") {
				switch {
				case strings.HasPrefix(line, "<"):
					in := strings.TrimPrefix(line[1:], " ")
					if strings.HasPrefix(line, `<"`) {
						if in, err = strconv.Unquote(line[1:]); err != nil {
							t.Fatalf("%s:%d: %v", file, i+1, err)
						}
					}
					got = golden(&p, in, &unread)
					if strings.Contains(got, `"`) {
						entries++
					}
				case strings.HasPrefix(line, ">"):
					if want := strings.TrimPrefix(line, "> "); got != want {
						t.Errorf("%s:%d:\n got %s\nwant %s", file, i+1, got, want)
					}
				case line != "" && line[0] != '#':
					t.Errorf("%s:%d: %q", file, i+1, line)
				}
			}
			if entries < 10 {
				t.Errorf("%d entries; want 10", entries)
			}
			if p.Dialect() != name {
				t.Errorf("dialect %q", p.Dialect())
			}
		})
	}
}

func golden(p *ListParser, line string, unread *int) string {
	l, ok := p.Line(line)
	if !ok {
		before := *unread
		if *unread, _ = p.Unread(); *unread > before && p.half == "" {
			return "unread"
		} else if p.half != "" {
			*unread = before
		}
		return "none"
	}
	kind, mode, size, when, owner := "-", "-", "-", "-", "-"
	if l.Is(KnownType) {
		kind = map[fs.FileMode]string{0: "file", fs.ModeDir: "dir", fs.ModeSymlink: "link", fs.ModeNamedPipe: "pipe", fs.ModeSocket: "socket",
			fs.ModeDevice: "block", fs.ModeDevice | fs.ModeCharDevice: "char", fs.ModeIrregular: "other"}[l.Mode.Type()]
	}
	if l.Is(KnownMode) {
		mode = fmt.Sprintf("%04o", unixMode(l.Mode))
	}
	if l.Is(KnownSize) {
		size = strconv.FormatInt(l.Size, 10)
	} else if l.Size > 0 {
		size = "~" + strconv.FormatInt(l.Size, 10)
	}
	if l.Is(KnownTime) {
		layout := map[time.Duration]string{time.Second: "2006-01-02T15:04:05.999999999", time.Minute: "2006-01-02T15:04", dayStep: "2006-01-02"}[l.Step]
		when = l.Time.UTC().Format(layout)
	}
	if l.Is(KnownOwner) {
		owner = fmt.Sprintf("%s/%s", l.Owner, l.Group)
	}
	s := fmt.Sprintf("%s %s %s %s %s %s", kind, mode, size, when, strings.ReplaceAll(owner, " ", "_"), quote(l.Name))
	if l.Target != "" {
		s += " -> " + quote(l.Target)
	}
	return s
}

func quote(s string) string {
	if strings.Contains(s, `\`) && strconv.CanBackquote(s) {
		return "`" + s + "`"
	}
	return strconv.Quote(s)
}
