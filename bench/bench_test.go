//go:build linux

package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// smallRound builds the bench, has it run a small round and reads its figures into got.
// What it returns is what the bench printed. Where a peer is missing the test is
// skipped; in CI it fails.
func smallRound(t *testing.T, got any, flags ...string) (out []byte) {
	t.Helper()
	missing := t.Skipf
	if os.Getenv("CI") != "" {
		missing = t.Fatalf
	}
	if os.Geteuid() != 0 {
		missing("SKIPPED: the bench runs as root only")
	}
	if _, err := exec.LookPath("apt-get"); err != nil {
		missing("SKIPPED: the peers come from Debian packages: %v", err)
	}
	program, figures := filepath.Join(t.TempDir(), "bench"), filepath.Join(t.TempDir(), "figures.json")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd := exec.CommandContext(t.Context(), program, append(flags, "-smoke", "-json", figures)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // it has servers to end
	cmd.WaitDelay = 20 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	text, err := os.ReadFile(figures)
	if err != nil {
		t.Fatal(err)
	}
	var also struct{ Missing []string }
	for _, into := range []any{&also, got} {
		if err := json.Unmarshal(text, into); err != nil {
			t.Fatal(err)
		}
	}
	if len(also.Missing) > 0 {
		missing("MISSING PEER %q", also.Missing)
	}
	return out
}

// One small round of every row runs on every server: what the bench prints is
// worth something only when nobody failed.
func TestASmallRound(t *testing.T) {
	var got struct {
		Comparisons []comparison
		Rows        []result
	}
	out := smallRound(t, &got)
	all := rows()
	if len(got.Rows) != len(all) || len(got.Comparisons) < len(all) {
		t.Fatalf("%d rows and %d comparisons of %d rows", len(got.Rows), len(got.Comparisons), len(all))
	}
	for i, r := range got.Rows {
		servers := all[i].servers
		switch {
		case servers != nil:
		case all[i].ssh:
			servers = []string{"dray", "sshd", "sshd-ext", "mod_sftp"}
		default:
			servers = []string{"dray", "vsftpd", "proftpd", "pureftpd"}
		}
		for _, name := range servers {
			if r.Row == "mlsd" && name == "vsftpd" {
				continue // it has no MLSD
			}
			if r.Row[0] == 'c' && all[i].ssh && name == "mod_sftp" {
				continue // it has no chacha20
			}
			if len(r.Samples[name]) != 1 {
				t.Errorf("%s: %s: %d samples: %s", r.Row, name, len(r.Samples[name]), r.Failed[name])
			}
		}
	}
	if t.Failed() {
		t.Logf("%s", out)
	}
}

// The best peer is the one with the best median, the ratio is that of the
// rounds, and a target in our own unit is not compared with anybody.
func TestARatioIsThatOfTheRounds(t *testing.T) {
	r := result{Row: "dl1", Samples: map[string][]sample{
		"dray":     {{perGB: 2, mbs: 300}, {perGB: 4, mbs: 500}, {perGB: 3, mbs: 400}},
		"vsftpd":   {{perGB: 4, mbs: 100}, {perGB: 4, mbs: 100}, {perGB: 4, mbs: 100}},
		"pureftpd": {{perGB: 1, mbs: 900}, {perGB: 9, mbs: 90}, {perGB: 9, mbs: 90}},
	}}
	tests := []struct {
		figure figure
		best   string
		ratio  float64
		low    float64
		high   float64
		target string
		said   string
	}{
		{figure{name: perGB, target: 0.75}, "vsftpd", 0.75, 0.5, 1, "≤ 0.75 ×", "met"},
		{figure{name: perGB, target: 0.7}, "vsftpd", 0.75, 0.5, 1, "≤ 0.7 ×", "missed"},
		{figure{name: mbs, higher: true, target: 4.5}, "vsftpd", 4, 3, 5, "≥ 4.5 ×", "missed"},
		{figure{name: perGB, target: 3, bound: true}, "vsftpd", 0.75, 0.5, 1, "≤ 3", "met"},
		{figure{name: perGB}, "vsftpd", 0.75, 0.5, 1, "", ""},
	}
	for _, tt := range tests {
		c := compare(r, tt.figure)
		if c.Best != tt.best || c.Ratio != tt.ratio || c.Low != tt.low || c.High != tt.high || c.Target != tt.target || c.Verdict != tt.said {
			t.Errorf("%v: %+v", tt.figure, c)
		}
	}
}

// Every row has a name of its own, says what it does and measures something.
func TestRowsAreTold(t *testing.T) {
	var names []string
	for _, r := range rows() {
		if r.what == "" || len(r.figures) == 0 || slices.Contains(names, r.name) {
			t.Errorf("row %q: %q, %d figures", r.name, r.what, len(r.figures))
		}
		names = append(names, r.name)
	}
	if _, err := choose("dl1,nothing"); err == nil {
		t.Error("a row that there is not was chosen")
	}
}
