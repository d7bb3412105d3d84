//go:build linux

package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A small round of clients: everyone does all that it can, with every server, and
// what it brings is whole.
func TestASmallRoundOfClients(t *testing.T) {
	var got struct{ Rows []clientResult }
	out := smallRound(t, &got, "-clients")
	at := 0
	for _, r := range clientRows() {
		if r.trip > 1 {
			continue
		}
		for _, server := range r.servers() {
			if at == len(got.Rows) || got.Rows[at].Row != r.name || got.Rows[at].Server != server {
				t.Fatalf("there is no row %s with %s\n%s", r.name, server, out)
			}
			res := got.Rows[at]
			at++
			for _, p := range programs() {
				why := res.Failed[p.name]
				switch {
				case !p.does(r.proto, r.work):
				case strings.HasPrefix(why, errNoCommand.Error()):
					t.Logf("SKIPPED: %s: %s: %s", r.name, p.name, why)
				case len(res.Samples[p.name]) != 1 || res.Commands[p.name] == "":
					t.Errorf("%s: %s: %s: %d samples: %s", r.name, server, p.name, len(res.Samples[p.name]), why)
				}
			}
		}
	}
	if t.Failed() {
		t.Logf("%s", out)
	}
}

// A row is as fast as the best other client when its single rounds lie on both
// sides of it, but a target of a third is a third.
func TestARowOfClientsIsComparedWithinItsSpread(t *testing.T) {
	r := clientResult{Server: "vsftpd", result: result{Row: "cdl-ftp", Samples: map[string][]sample{
		"dray": {{wall: 1.1}, {wall: 1.2}, {wall: 0.9}},
		"lftp": {{wall: 1}, {wall: 1}, {wall: 1}},
		"curl": {{wall: 9}},
	}}}
	for target, want := range map[float64]string{1: "met within the spread", 1.0 / 3: "missed", 1.15: "met"} {
		if c := compareClients(r, wallFigure(target)); c.Verdict != want || c.Best != "lftp" {
			t.Errorf("target %v: %+v", target, c)
		}
	}
	r.Samples["dray"] = []sample{{wall: 1.1}, {wall: 1.2}, {wall: 1.01}}
	if c := compareClients(r, wallFigure(1)); c.Verdict != "missed" {
		t.Errorf("slower in every round: %+v", c)
	}
	if r.leaveOut(); !slices.Equal(r.Slow, []string{"curl"}) {
		t.Errorf("left out: %q", r.Slow)
	}
}

// What a client brought is compared by name, size and checksum.
func TestATreeThatIsNotTheSameIsFound(t *testing.T) {
	make := func(files map[string]string) string {
		dir := t.TempDir()
		for name, text := range files {
			if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	want := make(map[string]string{"a": "1", "d/b": "22", "e": "3"})
	tests := []struct {
		what  string
		files map[string]string
		same  bool
	}{
		{"the same", map[string]string{"a": "1", "d/b": "22", "e": "3"}, true},
		{"a file is missing", map[string]string{"a": "1", "d/b": "22"}, false},
		{"a file is shorter", map[string]string{"a": "1", "d/b": "2", "e": "3"}, false},
		{"a file is left over", map[string]string{"a": "1", "d/b": "22", "e": "3", "e.dray-part": "3"}, false},
		{"the file in the middle differs", map[string]string{"a": "1", "d/b": "23", "e": "3"}, false},
	}
	for _, tt := range tests {
		if err := same(want, make(tt.files)); (err == nil) != tt.same {
			t.Errorf("%s: %v", tt.what, err)
		}
	}
	copied := filepath.Join(t.TempDir(), "copy")
	if err := copyTree(want, copied); err != nil {
		t.Fatal(err)
	}
	if err := same(want, copied); err != nil {
		t.Error(err)
	}
	then := time.Now()
	time.Sleep(20 * time.Millisecond) // times of files have a grain
	if n, err := changedSince(copied, then); n != 0 || err != nil {
		t.Errorf("%d files changed, though nobody wrote: %v", n, err)
	}
	if err := os.WriteFile(filepath.Join(copied, "a"), []byte("1"), 0o644); err != nil {
		t.Fatal(err)
	}
	if n, err := changedSince(copied, then); n != 1 || err != nil {
		t.Errorf("%d files changed, not 1: %v", n, err)
	}
}

// Every row of clients has a name of its own, and patterns choose by it.
func TestRowsOfClientsAreTold(t *testing.T) {
	var names []string
	for _, r := range clientRows() {
		if r.what == "" || len(r.figures) != 2 || r.figures[0].target == 0 || slices.Contains(names, r.name) {
			t.Errorf("row %q: %q, %d figures", r.name, r.what, len(r.figures))
		}
		names = append(names, r.name)
	}
	if some, err := chooseClients("c100*,cdl-ftp,cdl-*"); err != nil || len(some) != 8+3 {
		t.Errorf("%d rows: %v", len(some), err)
	}
	if _, err := chooseClients("cdl-ftp,nothing"); err == nil {
		t.Error("a row that there is not was chosen")
	}
}

// The command that is told is the one that a shell would run, and a long list of
// URLs is told by its beginning.
func TestACommandIsTold(t *testing.T) {
	c := command{argv: []string{"lftp", "-c", "open 'x'; get a"}, reads: "1\n2\n3\n4\n5\n6\n"}
	if got, want := c.String(), "lftp -c 'open '\\''x'\\''; get a'\n1\n2\n3\n4\n…"; got != want {
		t.Errorf("%q, not %q", got, want)
	}
	for said, want := range map[string]string{
		"dray: it failed   [auth]\n      more    dray explain auth\n": "dray: it failed   [auth]",
		"one\r\ntwo\r\n\n": "two",
		"":                 "",
	} {
		if got := lastLine([]byte(said)); got != want {
			t.Errorf("the last line of %q: %q", said, got)
		}
	}
}

// The line delivers packets in order and late, and a limited one drops what its
// buffer can't hold.
func TestALineDelivers(t *testing.T) {
	pair := func() (*os.File, *os.File) {
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		a, b := os.NewFile(uintptr(fds[0]), "a"), os.NewFile(uintptr(fds[1]), "b")
		t.Cleanup(func() { _, _ = a.Close(), b.Close() })
		return a, b
	}
	for _, rate := range []int64{0, 10_000} { // 10 packets a second: two wait, the first has left
		l := &line{rate: rate}
		l.set(100 * time.Millisecond)
		from, in := pair()
		out, to := pair()
		go l.carry(out, in)
		start := time.Now()
		packet := make([]byte, 1000)
		for i := range 10 {
			packet[0] = byte(i)
			if _, err := from.Write(packet); err != nil {
				t.Fatal(err)
			}
		}
		want := 10
		if rate > 0 {
			want = 3
		}
		_ = to.SetReadDeadline(start.Add(2 * time.Second))
		for i := range want {
			n, err := to.Read(packet)
			if err != nil || n != 1000 || packet[0] != byte(i) {
				t.Fatalf("rate %d, packet %d: %d bytes, the first is %d: %v", rate, i, n, packet[0], err)
			}
			least := 50 * time.Millisecond
			if rate > 0 {
				least += time.Duration(i+1) * 100 * time.Millisecond
			}
			if took := time.Since(start); took < least {
				t.Errorf("rate %d: packet %d came after %v", rate, i, took)
			}
		}
		_ = to.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		if n, err := to.Read(packet); err == nil {
			t.Errorf("rate %d: one packet more, of %d bytes", rate, n)
		}
	}
}
