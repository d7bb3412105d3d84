//go:build linux

package interop

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// sideBySide is how many faults are on the stage at once: they mostly wait.
const sideBySide = 8

// proved is how many faults at least are mended by what dray doctor prints.
const proved = 40

// A diagnosis is what dray doctor --json prints.
type diagnosis struct {
	V       int     `json:"v"`
	Target  string  `json:"target"`
	Verdict string  `json:"verdict"`
	First   string  `json:"first"`
	Seconds float64 `json:"seconds"`
	Checks  []struct {
		Check  string `json:"check"`
		Status string `json:"status"`
		ID     string `json:"id"`
		Saw    string `json:"saw"`
		Means  string `json:"means"`
		You    []step `json:"you"`
		Admin  []step `json:"admin"`
	} `json:"checks"`

	status int
	took   time.Duration
	text   string // all of it, as it came
}

// A step is what somebody can do; Run is to be pasted into a shell.
type step struct {
	Text string `json:"text"`
	Run  string `json:"run"`
}

func (d *diagnosis) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "status %d after %v\n", d.status, d.took.Round(time.Millisecond))
	for _, c := range d.Checks {
		fmt.Fprintf(&b, "%-11s %-4s %-16s %s\n", c.Check, c.Status, c.ID, c.Saw)
		if c.Status == "skip" || c.Status == "ok" {
			continue
		}
		for i, s := range append(append([]step{}, c.You...), c.Admin...) {
			who := "you"
			if i >= len(c.You) {
				who = "admin"
			}
			fmt.Fprintf(&b, "%16s: %s\n", who, s.Text)
			if s.Run != "" {
				fmt.Fprintf(&b, "%16s  $ %s\n", "", s.Run)
			}
		}
	}
	if len(d.Checks) == 0 {
		b.WriteString(d.text)
	}
	return tail(b.String(), 6000)
}

// steps are those that can be pasted on a side, of the check that comes first and then
// of the others with which something is wrong.
func (d *diagnosis) steps(on side) (out []step) {
	for _, first := range []bool{true, false} {
		for _, c := range d.Checks {
			if first != (c.ID == d.First) || !first && c.Status != "fail" && c.Status != "warn" {
				continue
			}
			of := c.You
			if on == admin {
				of = c.Admin
			}
			for _, s := range of {
				if s.Run != "" {
					out = append(out, s)
				}
			}
		}
	}
	return out
}

// doctor runs dray doctor on the client.
func (s *scene) doctor(secret string, limit time.Duration, args ...string) *diagnosis {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), limit)
	defer cancel()
	cmd := s.client.in(ctx, append([]string{"dray", "doctor", "--json"}, args...)...)
	if secret != "" {
		cmd.Env = append(cmd.Env, "DRAY_PASSWORD="+secret)
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	began := time.Now()
	err := cmd.Run()
	d := &diagnosis{took: time.Since(began), text: stdout.String() + stderr.String()}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		d.status = exit.ExitCode()
	} else if err != nil {
		s.t.Errorf("dray doctor: %v", err)
	}
	if ctx.Err() != nil {
		s.t.Errorf("dray doctor %s is not done after %v", strings.Join(args, " "), limit)
		return d
	}
	if err := json.Unmarshal(stdout.Bytes(), d); err != nil || d.V != 1 {
		s.t.Errorf("dray doctor %s prints no finding of version 1 (%v): %v", strings.Join(args, " "), err, d)
	}
	if want := map[string]int{"ok": 0, "warnings": 20, "problems": 21}; d.Verdict != "" && want[d.Verdict] != d.status {
		s.t.Errorf("dray doctor says %q and exits with %d", d.Verdict, d.status)
	}
	return d
}

// green tells whether a finding is the first one no more.
func (d *diagnosis) green(id string) bool { return d.status == 0 && d.First != id && d.Verdict != "" }

// A labLine is what came of a fault: a line of the table.
type labLine struct {
	name, first string
	right       bool
	took, limit time.Duration
	fix         string
	mended      bool
}

// The faults of the laboratory are found, by their names, in time, and what is printed
// mends them; in a long run once more from far away. DRAY_LAB_TABLE names a file to write
// the table of them to.
func TestLab(t *testing.T) {
	needsLab(t)
	t.Parallel() // what the laboratory does is mostly to wait
	cas := newCAs(t)
	all := troubles()
	for _, f := range troubles() {
		if f.how == direct && (f.away || longRun) {
			f.name, f.how = f.name+", from far away", far
			all = append(all, f)
		}
	}
	order := slices.Clone(all)
	slices.SortStableFunc(all, func(a, b trouble) int { return int(b.limit - a.limit) }) // the long ones first
	lines := map[string]*labLine{}
	var mu sync.Mutex
	next := make(chan trouble)
	var wg sync.WaitGroup
	for range sideBySide {
		wg.Go(func() {
			for f := range next {
				t.Run(f.name, func(t *testing.T) {
					line := &labLine{name: f.name, limit: f.limit}
					mu.Lock()
					lines[f.name] = line
					mu.Unlock()
					f.run(t, cas, line)
				})
			}
		})
	}
	for _, f := range all {
		next <- f
	}
	close(next)
	wg.Wait()
	var told []*labLine
	mended := 0
	for _, f := range order {
		if line := lines[f.name]; line != nil && line.fix != "" {
			told = append(told, line)
			if line.mended {
				mended++
			}
		}
	}
	table := labTable(told)
	t.Log("\n" + table)
	if file := os.Getenv("DRAY_LAB_TABLE"); file != "" {
		if err := os.WriteFile(file, []byte(table), 0o644); err != nil {
			t.Error(err)
		}
	}
	if len(told) == len(all) && mended < proved { // else only some were run
		t.Errorf("%d faults are mended by what is printed; want %d", mended, proved)
	}
}

func (f trouble) run(t *testing.T, cas *cas, line *labLine) {
	s := newScene(t, cas, f.how)
	if f.stage != nil {
		f.stage(s)
	}
	seen, _ := s.client.shell(time.Minute, "{ "+f.shows+"; } 2>&1") // what it prints tells
	if !regexp.MustCompile(f.like).MatchString(seen) {
		t.Fatalf("the fault is not there: %s prints\n%s\nwant %s", f.shows, tail(seen, 3000), f.like)
	}
	args := f.args
	if args == nil {
		args = []string{atFTP}
	}
	if line.limit == 0 {
		line.limit = 10 * time.Second
	}
	d := s.doctor(f.password, line.limit+20*time.Second, args...)
	if d.took > line.limit && line.limit <= 10*time.Second {
		d = s.doctor(f.password, line.limit+20*time.Second, args...) // the machine may have been busy
	}
	line.first, line.took, line.fix = d.First, d.took, "nothing printed"
	verdict := cmp.Or(f.verdict, "problems")
	line.right = d.First == f.first && d.Verdict == verdict
	if !line.right {
		t.Errorf("dray doctor %s: first %q, %s; want %q, %s\n%v", strings.Join(args, " "), d.First, d.Verdict, f.first, verdict, d)
	}
	if d.took > line.limit {
		t.Errorf("dray doctor took %v; want less than %v", d.took, line.limit)
	}
	switch {
	case f.fix == none:
		line.fix = "none: " + f.why
		return
	case f.slow && !longRun:
		line.fix = "tried with DRAY_LONG=1 only"
		return
	case f.again != nil:
		args = f.again
		if d := s.doctor(f.password, line.limit, args...); d.status == 0 {
			t.Errorf("dray doctor %s does not see the fault: %v", strings.Join(args, " "), d)
		}
	}
	for _, on := range []side{you, admin} {
		if f.fix != on && f.fix != anyone {
			continue
		}
		for _, step := range d.steps(on) {
			why := f.try(s, on, step, args)
			if why == "" {
				line.fix, line.mended = fmt.Sprintf("%s: `%s`", map[side]string{you: "you", admin: "admin"}[on], step.Run), true
				return
			}
			t.Logf("pasted, and not green: %s\n%s", step.Run, why)
			line.fix = "not green"
		}
	}
	t.Errorf("no fix that is printed mends it (%s)\n%v", line.fix, d)
}

// try pastes one step and looks whether the fault is gone: "" when it is, else why not.
func (f trouble) try(s *scene, on side, step step, args []string) string {
	limit := max(f.limit, 10*time.Second) + 20*time.Second
	m := s.client
	if on == admin {
		m = s.server
	}
	wanted := func(what string) bool { return os.Remove(m.path("/run/"+what)) == nil }
	wanted("restart")
	wanted("reload")
	out, err := m.shell(limit, step.Run)
	if err != nil {
		return fmt.Sprintf("%v\n%s", err, tail(out, 3000))
	}
	if on == you && strings.Contains(step.Run, "dray doctor") {
		return "" // it has exited with 0
	}
	switch {
	case wanted("restart"):
		s.restart()
	case wanted("reload"):
		s.reload()
	}
	time.Sleep(f.settles)
	if d := s.doctor(f.password, limit, args...); !d.green(f.first) {
		return d.String()
	}
	return ""
}

func labTable(lines []*labLine) string {
	var b strings.Builder
	b.WriteString("| fault | first verdict | right | seconds | fix |\n|---|---|---|---|---|\n")
	right, mended := 0, 0
	for _, l := range lines {
		yes := "no"
		if l.right {
			yes, right = "yes", right+1
		}
		fix := l.fix
		if l.mended {
			fix, mended = fix+", green", mended+1
		}
		fmt.Fprintf(&b, "| %s | `%s` | %s | %.1f | %s |\n", l.name, l.first, yes, l.took.Seconds(), strings.ReplaceAll(fix, "|", `\|`))
	}
	fmt.Fprintf(&b, "\n%d faults, %d with the right first verdict, %d mended by what is printed.\n", len(lines), right, mended)
	return b.String()
}

// needsLab skips, loudly, where the laboratory can't be set up.
func needsLab(t *testing.T) {
	t.Helper()
	needsRoot(t, "namespaces for the laboratory")
	for name, pkg := range map[string]string{"ip": "iproute2", "nsenter": "util-linux", "nft": "nftables", "curl": "curl", "openssl": "openssl",
		"ssh": "openssh-client", "ssh-keyscan": "openssh-client", "sysctl": "procps", "bash": "bash"} {
		tool(t, name, pkg)
	}
	probe := exec.Command("unshare", "-mnp", "--fork", "nft", "add table inet probe { chain c { type filter hook input priority 0 ; ct state established accept ; } ; }")
	if out, err := probe.CombinedOutput(); err != nil {
		missing(t, fmt.Sprintf("MISSING RIGHT: no namespaces with packet filters here: %v %s", err, tail(string(out), 300)))
	}
}
