//go:build unix

package cli

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// pasted takes the first command that was printed and matches, and has a shell run it, as
// somebody would who pastes it: pasted PATTERN. What it ends with is for the next line.
func pasted(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: pasted pattern")
	}
	line := regexp.MustCompile("(?m)^ +(" + args[0] + ")$").FindStringSubmatch(ts.ReadFile("stdout"))
	if line == nil {
		ts.Fatalf("no command like %q was printed", args[0])
	}
	ts.Logf("$ %s", line[1])
	var exit *exec.ExitError
	if err := ts.Exec("sh", "-c", line[1]); errors.As(err, &exit) && (exit.ExitCode() == exitUsage || exit.ExitCode() > 125) {
		ts.Fatalf("%s: exit status %d", line[1], exit.ExitCode())
	}
}

// mode wants a file to have these permissions: mode 600 FILE.
func mode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: mode bits file")
	}
	want, err := strconv.ParseUint(args[0], 8, 32)
	ts.Check(err)
	info, err := os.Stat(ts.MkAbs(args[1]))
	ts.Check(err)
	if got := info.Mode().Perm(); got != os.FileMode(want) {
		ts.Fatalf("%s has the mode %o; want %s", args[1], got, args[0])
	}
}

func TestWithoutWord(t *testing.T) {
	for _, row := range []struct{ text, word, want string }{
		{"as alice: 230 alice", "alice", "as USER: 230 USER"},
		{"/home/alice/x and alice's", "alice", "/home/USER/x and USER's"},
		{"malice and aliceson", "alice", "malice and aliceson"},
		{"USER ALICE", "alice", "USER USER"},
		{"a cat as a: b", "a", "USER cat as USER: b"},
		{"ftp://a%40b.example@host", "a%40b.example", "ftp://USER@host"},
		{"élan éla", "éla", "élan USER"},
		{"\xffbob\xff", "bob", "\xffUSER\xff"},
	} {
		if got := withoutWord(row.text, row.word, "USER"); got != row.want {
			t.Errorf("withoutWord(%q, %q) = %q; want %q", row.text, row.word, got, row.want)
		}
	}
}

// No option of the doctor has a hostile server learn or show the password, and every
// output of it is clean.
func TestDoctorOfHostileServers(t *testing.T) {
	for name, at := range map[string]func(c *ftpConn, verb, arg string) bool{
		"repeats the password": func(c *ftpConn, verb, arg string) bool {
			if verb != "PASS" {
				return false
			}
			c.say("530-\x1b[2J\x07 %s", arg)
			c.say("530 wrong: %s\x9b", arg)
			return true
		},
		"welcomes with the password": func(c *ftpConn, verb, arg string) bool {
			if verb == "PASS" {
				c.say("230 hello %s\x1b]0;owned\a", arg)
			}
			return verb == "PASS"
		},
	} {
		for _, how := range [][]string{{}, {"-vv"}, {"--json"}, {"--jsonl"}, {"--report", "report.txt"}, {"--compare", "ftp,ftps"}, {"--write"}} {
			t.Run(fmt.Sprint(name, how), func(t *testing.T) {
				t.Parallel()
				f := newFTPFake(t)
				f.cert, f.at = newCertificate(t, nil), at
				w := newWard(t)
				p := w.dray(append([]string{"doctor", "--trust", "insecure", f.url("/")}, how...)...)
				if p.status != exitProblems && p.status != exitWarnings && p.status != 0 {
					t.Errorf("exit status %d: %s%s", p.status, p.out, p.err)
				}
				if bad := regexp.MustCompile("[\x00-\x08\x0b-\x1f\x7f\u0080-\u009f]").FindString(p.out); bad != "" {
					t.Errorf("%q in what is told: %q", bad, p.out)
				}
				if s := w.read("report.txt"); strings.Contains(s, "\x1b") {
					t.Errorf("the report steers a terminal: %q", s)
				}
				w.noMarker(p.out, p.err)
				f.mu.Lock()
				defer f.mu.Unlock()
				for _, line := range f.inClear {
					if strings.Contains(line, marker) {
						t.Errorf("in clear text came %q", line)
					}
				}
			})
		}
	}
}
