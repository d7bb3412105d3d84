package doctor

import (
	"os"
	"strings"
	"testing"
)

// Every key of the evidence is in the manual, behind its check.
func TestEveryFactIsExplained(t *testing.T) {
	page, err := os.ReadFile("../doc/client.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	for line := range strings.Lines(string(page)) {
		if name, keys, ok := strings.Cut(strings.TrimPrefix(line, "| `"), "` | "); ok && strings.HasPrefix(line, "| `") {
			rows[name] += keys
		}
	}
	var reports []Report
	f := newFake(t)
	f.cert = issue(t, nil, nil)
	o := f.options()
	o.Write = true
	reports = append(reports, f.examine(t.Context(), o))
	f = newFake(t)
	f.cert, f.at = issue(t, nil, nil), says("PASS", "530 Login incorrect.")
	reports = append(reports, f.examine(t.Context(), f.options()))
	s := newSSHFake(t)
	s.known(s.key.PublicKey())
	so := s.options()
	so.Write = true
	reports = append(reports, s.examine(t.Context(), so))
	for _, r := range reports {
		for _, found := range r.Findings {
			for key := range found.Facts {
				if key != "server" && key != "cause" && found.Check != "other ports" && !strings.Contains(rows[found.Check], "`"+key+"`") {
					t.Errorf("doc/client.md says nothing of %q of the check %q", key, found.Check)
				}
			}
		}
	}
}
