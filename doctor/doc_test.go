package doctor

import (
	"os"
	"strings"
	"testing"
)

// Every check is in the manual.
func TestEveryCheckIsExplained(t *testing.T) {
	page, err := os.ReadFile("../doc/doctor.md")
	if err != nil {
		t.Fatal(err)
	}
	o := &Options{Deep: true, Write: true}
	for _, c := range append(ftpChecks(o), sshChecks(o)...) {
		if !strings.Contains(string(page), "| `"+c.name+"` |") {
			t.Errorf("doc/doctor.md says nothing of the check %q", c.name)
		}
	}
}
