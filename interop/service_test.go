//go:build linux

package interop

import (
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// hasCall tells whether a set of system calls, as "@file-system", has one.
func hasCall(r *room, t *testing.T, set, call string) bool {
	t.Helper()
	if !strings.HasPrefix(set, "@") {
		return set == call
	}
	for line := range strings.Lines(r.run(t, "", "systemd-analyze", "syscall-filter", "--no-pager", set)) {
		word := strings.TrimSpace(line)
		if word == call || strings.HasPrefix(word, "@") && word != set && hasCall(r, t, word, call) {
			return true
		}
	}
	return false
}

// The unit that "dray init" writes has nothing that systemd warns of, names a
// program, user and configuration that are there, and gives the service little to
// do harm with.
func TestTheUnitForSystemd(t *testing.T) {
	t.Parallel()
	tool(t, "systemd-analyze", "systemd")
	r := newRoom(t)
	r.run(t, "", "dray", "init")
	const unit = "/etc/systemd/system/dray.service"
	text := r.run(t, "", "cat", unit)
	for _, want := range []string{
		"\nExecStart=/usr/local/bin/dray serve --config /etc/dray/dray.toml\n", "\nUser=dray\n", "\nGroup=dray\n", "\nType=notify", "\nAmbientCapabilities=CAP_NET_BIND_SERVICE\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the unit has no line %q:\n%s", strings.TrimSpace(want), text)
		}
	}
	// The manual page comes with a package, not with init.
	if out := r.run(t, "", "systemd-analyze", "verify", "--man=no", "--recursive-errors=one", unit); out != "" {
		t.Errorf("systemd-analyze verify:\n%s\n%s", out, text)
	}
	page := regexp.MustCompile(`(?m)^Documentation=man:(\S+)\((\d)\)$`).FindStringSubmatch(text)
	if page == nil {
		t.Fatalf("the unit names no manual page:\n%s", text)
	}
	if _, err := os.Stat("../doc/man/" + page[1] + "." + page[2]); err != nil {
		t.Error(err)
	}
	// With owners two more capabilities, as the comment in the unit says.
	r.run(t, "", "sed", "-i", "-e", "/^AmbientCapabilities/d", "-e", "/^CapabilityBoundingSet/d",
		"-e", "s/^#AmbientCapabilities/AmbientCapabilities/", "-e", "s/^#CapabilityBoundingSet/CapabilityBoundingSet/", unit)
	if out := r.run(t, "", "systemd-analyze", "verify", "--man=no", "--recursive-errors=one", unit); out != "" {
		t.Errorf("systemd-analyze verify, with the lines for owners:\n%s", out)
	}
	if text := r.run(t, "", "cat", unit); !strings.Contains(text, "\nAmbientCapabilities=CAP_NET_BIND_SERVICE CAP_SETUID CAP_SETGID\n") {
		t.Errorf("the lines for owners are not there:\n%s", text)
	}
	// The jails of accounts need openat2. Of the filters of systemd RestrictSUIDSGID
	// answers it with ENOSYS, because it can't see the mode, and SystemCallFilter does
	// unless a set that it names has it.
	filtered := 0
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch key {
		case "RestrictSUIDSGID":
			t.Errorf("the unit has %s, which forbids openat2", line)
		case "SystemCallFilter":
			filtered++
			if strings.HasPrefix(value, "~") || !slices.ContainsFunc(strings.Fields(value), func(set string) bool { return hasCall(r, t, set, "openat2") }) {
				t.Errorf("the unit has %s, which forbids openat2", line)
			}
		}
	}
	if filtered != 1 {
		t.Errorf("the unit has SystemCallFilter %d times; want once", filtered)
	}
	// 0 is best; below 4 systemd says "OK".
	out := r.run(t, "", "systemd-analyze", "security", "--offline=yes", "--no-pager", unit)
	m := regexp.MustCompile(`Overall exposure level for dray\.service: ([0-9.]+)`).FindStringSubmatch(out)
	if m == nil {
		t.Fatalf("systemd-analyze security:\n%s", out)
	}
	if level, err := strconv.ParseFloat(m[1], 64); err != nil || level >= 4 {
		t.Errorf("exposure %s; want less than 4:\n%s", m[1], out)
	}
	t.Logf("exposure %s", m[1])
}
