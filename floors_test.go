// Package dray_test checks the house: which package stands on which floor.
package dray_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// floors are the floors of doc/map.md, the lowest first. A package imports only
// from floors below its own.
var floors = [][]string{
	{"ftp", "sftp", "kexinit", "spelling", "fault"},
	{"explain", "vfs", "meter", "account", "event"},
	{"vfs/osfs", "vfs/memfs", "vfs/mount", "vfs/vfstest", "account/accountsql", "account/accounttest", "transfer", "guard", "certs", "config", "record", "accept"},
	{"gate"},
	{"ftpserver", "sftpserver", "scpserver", "ftpclient", "sftpclient", "sshclient"},
	{"remote", "admin"},
	{"mirror", "screen", "firewall"},
	{"shell", "doctor"},
	{"serve"},
	{"cli"},
	{"cmd/dray", "cmd/gendoc", "bench", "interop"},
}

// testsOnly are packages that only tests may import.
var testsOnly = []string{"vfs/vfstest", "account/accounttest"}

func TestFloors(t *testing.T) {
	floor := map[string]int{}
	for i, packages := range floors {
		for _, p := range packages {
			floor[p] = i
		}
	}
	out, err := exec.Command("go", "list", "-f", "{{.ImportPath}} {{join .Imports \" \"}}", "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	seen := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		name, ours := strings.CutPrefix(fields[0], "dray/")
		if !ours { // the root has tests only
			continue
		}
		own, ok := floor[name]
		if !ok {
			t.Errorf("package %s stands on no floor: name one in floors and in doc/map.md", name)
			continue
		}
		seen[name] = true
		for _, imported := range fields[1:] {
			below, ours := strings.CutPrefix(imported, "dray/")
			if !ours {
				continue
			}
			switch at, ok := floor[below]; {
			case !ok:
				t.Errorf("%s imports %s, which stands on no floor", name, below)
			case at >= own:
				t.Errorf("%s (floor %d) imports %s (floor %d): imports go down", name, own, below, at)
			case slices.Contains(testsOnly, below):
				t.Errorf("%s imports %s, which is for tests", name, below)
			}
		}
	}
	for name := range floor {
		if !seen[name] {
			t.Errorf("floors names %s, which is not there", name)
		}
	}
}

// Every id is used by code outside fault and explain, or is what fault gives to an
// error that has only a kind, or what the words of another program lead to.
func TestEveryRefusalIsUsed(t *testing.T) {
	constants, err := os.ReadFile("fault/fault.go")
	if err != nil {
		t.Fatal(err)
	}
	var code strings.Builder
	code.Write(constants[strings.Index(string(constants), "var ids ="):])
	err = filepath.WalkDir(".", func(name string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") ||
			strings.HasPrefix(name, "explain/") && name != "explain/texts.go" || strings.HasPrefix(name, "fault/") {
			return err
		}
		b, err := os.ReadFile(name)
		code.Write(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	ids := regexp.MustCompile(`(?m)^\t(ID\w+)\s+ID = `).FindAllStringSubmatch(string(constants), -1)
	if len(ids) < 30 {
		t.Fatalf("only %d ids found in fault/fault.go", len(ids))
	}
	for _, m := range ids {
		if !regexp.MustCompile(`\b` + m[1] + `\b`).MatchString(code.String()) {
			t.Errorf("fault.%s is used by no refusal", m[1])
		}
	}
}
