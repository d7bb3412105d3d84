package record

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"dray/event"
	"dray/fault"
)

// page is a writer that may be read meanwhile.
type page struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (p *page) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.b.Write(b)
}

func (p *page) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.b.String()
}

func opened(t *testing.T, o Options) *Records {
	t.Helper()
	r, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closed(t, r) })
	return r
}

func closed(t *testing.T, r *Records) {
	t.Helper()
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

func content(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func reopen(t *testing.T, r *Records, o Options) {
	t.Helper()
	if err := r.Reopen(o); err != nil {
		t.Fatal(err)
	}
}

var someone = event.Meta{
	Time: time.Date(2026, 11, 20, 11, 29, 40, 0, time.Local), Session: "abc", Protocol: "ftp",
	Remote: netip.MustParseAddrPort("203.0.113.5:40001"), User: "anna",
}

func upload(name string) event.Transfer {
	return event.Transfer{Meta: someone, Direction: event.Upload, Path: name, Bytes: 7, Whole: true}
}

func failure(user string) event.Login {
	l := event.Login{Meta: someone, Reason: string(fault.IDAuth)}
	l.User = user
	return l
}

func TestEventsBecomeLines(t *testing.T) {
	dir := t.TempDir()
	xferlog, auth := filepath.Join(dir, "xferlog"), filepath.Join(dir, "auth.log")
	var log page
	r := opened(t, Options{Xferlog: xferlog, Auth: auth, Stderr: &log})
	last := failure("carl")
	last.Reason = string(fault.IDTries)
	off := failure("dora")
	off.Reason = string(fault.IDAccountOff)
	for _, e := range []any{
		upload("/a"),
		event.Transfer{Meta: someone, Direction: event.Listing, Path: "/"},
		event.Change{Meta: someone, Verb: "delete", Path: "/a"},
		event.Refusal{Meta: someone, Verb: "RETR", Path: "/b"},
		event.Login{Meta: someone, OK: true},
		failure("bert"), last, off,
		"something else", nil,
	} {
		r.Event(t.Context(), e)
	}
	closed(t, r)
	r.Event(t.Context(), upload("/late"))

	if got, want := content(t, xferlog), "Fri Nov 20 11:29:40 2026 1 203.0.113.5 7 /a b _ i r anna ftp 0 * c\n"; got != want {
		t.Errorf("xferlog = %q; want %q", got, want)
	}
	pid := os.Getpid()
	want := fmt.Sprintf("Fri Nov 20 11:29:40 2026 [pid %d] [bert] FAIL LOGIN: Client \"203.0.113.5\"\n"+
		"Fri Nov 20 11:29:40 2026 [pid %d] [carl] FAIL LOGIN: Client \"203.0.113.5\"\n", pid, pid)
	if got := content(t, auth); got != want {
		t.Errorf("auth = %q; want %q", got, want)
	}
	if log.String() != "" {
		t.Errorf("the log has %s", log.String())
	}
	for _, name := range []string{xferlog, auth} {
		if fi, err := os.Stat(name); err != nil || fi.Mode().Perm()&^0o640 != 0 {
			t.Errorf("%s: mode %v, %v; want at most 0640", name, fi.Mode(), err)
		}
	}
}

func TestFilesThatCannotBeOpened(t *testing.T) {
	dir := t.TempDir()
	fifo, plain := filepath.Join(dir, "fifo"), filepath.Join(dir, "plain")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	locked := filepath.Join(dir, "locked")
	lock := func() error { return os.Mkdir(locked, 0o500) }
	if os.Geteuid() == 0 { // modes don't stop root; in /sys the kernel does
		lock = func() error { return os.Symlink("/sys/kernel", locked) }
	}
	if err := lock(); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		o    Options
		is   error
		says string
	}{
		{"a directory", Options{File: dir}, syscall.EISDIR,
			"log.file: open DIR: is a directory; name a file in it: DIR/dray.log"},
		{"a missing directory", Options{Xferlog: filepath.Join(dir, "a/b/xferlog")}, fs.ErrNotExist,
			"log.xferlog: open DIR/a/b/xferlog: no such file or directory; make its directory: mkdir -p DIR/a/b"},
		{"a FIFO that nobody reads", Options{Auth: fifo}, syscall.ENXIO,
			"log.auth: open DIR/fifo: no such device or address; nobody reads this pipe or socket: start its reader first, or name a file"},
		{"below a file", Options{Auth: filepath.Join(plain, "auth.log")}, syscall.ENOTDIR,
			"log.auth: open DIR/plain/auth.log: not a directory; a part of its path is a file: name another place"},
		{"no permission", Options{File: filepath.Join(locked, "dray.log")}, fs.ErrPermission,
			"log.file: open DIR/locked/dray.log: permission denied; let the user id UID write there, with chown or chmod of it and of DIR/locked"},
		{"an unknown format", Options{Format: "xml"}, nil, `log.format is "xml": it must be text or json`},
		{"an unknown level", Options{Level: "loud"}, nil, `log.level is "loud": it must be debug, info, warn or error`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			says := strings.NewReplacer("DIR", dir, "UID", strconv.Itoa(os.Geteuid())).Replace(tt.says)
			r, err := Open(tt.o)
			if err == nil {
				closed(t, r)
				t.Fatalf("Open(%+v) succeeded", tt.o)
			}
			if err.Error() != says {
				t.Errorf("error %q; want %q", err, says)
			}
			if tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("error %v is no %v", err, tt.is)
			}
		})
	}
}

func TestReopenFollowsARotation(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	o := Options{File: in("log"), Xferlog: in("xferlog")}
	r := opened(t, o)
	derived := r.Logger().With("session", "abc").WithGroup("of").With("user", "anna")
	derived.Info("first")
	for _, name := range []string{"log", "xferlog"} {
		if err := os.Rename(in(name), in(name+".1")); err != nil {
			t.Fatal(err)
		}
	}
	derived.Info("second")
	reopen(t, r, Options{Format: "json", Level: "warn", File: in("log"), Xferlog: in("xferlog")})
	derived.Info("too quiet")
	derived.Warn("third", "n", 3)
	r.Event(t.Context(), upload("/a"))
	closed(t, r)

	old := regexp.MustCompile(`^time=\S+ level=INFO msg=first session=abc of.user=anna\ntime=\S+ level=INFO msg=second session=abc of.user=anna\n$`)
	if got := content(t, in("log.1")); !old.MatchString(got) {
		t.Errorf("the old log is %q", got)
	}
	renewed := regexp.MustCompile(`^\{"time":"[^"]+","level":"WARN","msg":"third","session":"abc","of":\{"user":"anna","n":3\}\}\n$`)
	if got := content(t, in("log")); !renewed.MatchString(got) {
		t.Errorf("the new log is %q", got)
	}
	if got := content(t, in("xferlog")); strings.Count(got, "\n") != 1 {
		t.Errorf("the new xferlog is %q; want one line", got)
	}
	if err := r.Reopen(o); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Reopen after Close: %v; want os.ErrClosed", err)
	}
}

func TestAReopenThatFailsChangesNothing(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	r := opened(t, Options{File: in("log"), Xferlog: in("xferlog"), Auth: in("auth")})
	before := descriptors(t)
	err := r.Reopen(Options{Format: "json", Level: "error", File: in("log2"), Xferlog: in("xferlog2"), Auth: dir})
	if err == nil || !strings.HasPrefix(err.Error(), "log.auth: ") {
		t.Errorf("Reopen: %v; want an error about log.auth", err)
	}
	if after := descriptors(t); after != before {
		t.Errorf("%d descriptors after a failed Reopen; want %d", after, before)
	}
	r.Logger().Info("still")
	r.Event(t.Context(), upload("/a"))
	r.Event(t.Context(), failure("bert"))
	closed(t, r)
	for _, name := range []string{"log", "xferlog", "auth"} {
		if got := content(t, in(name)); strings.Count(got, "\n") != 1 {
			t.Errorf("%s is %q; want one line", name, got)
		}
	}
}

// descriptors is how many of this process refer to files with a name.
func descriptors(t *testing.T) int {
	t.Helper()
	open, err := os.ReadDir("/dev/fd") // on Linux a link into /proc
	if err != nil {
		t.Fatal(err)
	}
	return len(open)
}

func TestTheLogOutlivesItsFiles(t *testing.T) {
	var err page
	r := opened(t, Options{File: filepath.Join(t.TempDir(), "log"), Stderr: &err})
	closed(t, r)
	r.Logger().Info("late")
	if !strings.Contains(err.String(), "msg=late") {
		t.Errorf("standard error has %q; want what was logged after Close", err.String())
	}
	closed(t, r)
}

func TestEnabledIsFree(t *testing.T) {
	r := opened(t, Options{Stderr: io.Discard})
	log := r.Logger().With("session", "abc").WithGroup("g").With("user", "anna")
	ctx := context.Background()
	if n := testing.AllocsPerRun(1000, func() {
		if log.Enabled(ctx, slog.LevelDebug) || !log.Enabled(ctx, slog.LevelInfo) {
			t.Error("Enabled is wrong")
		}
		log.Debug("nobody reads this")
	}); n != 0 {
		t.Errorf("%v allocations; want none", n)
	}
	h, s := log.Handler().(*handler), r.state.Load()
	if h.in(s) != h.in(s) {
		t.Error("a derived handler is made again for every line")
	}
}

var (
	xferlogLine = regexp.MustCompile(`^\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4} [1-9]\d* \S+ \d+ \S+ [ab] _ [io] [ar] \S+ s?ftp 0 \* [ci]$`)
	authLine    = regexp.MustCompile(`^\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4} \[pid \d+\] \[[^\[\]" ]+\] FAIL LOGIN: Client "203\.0\.113\.5"$`)
	logLine     = regexp.MustCompile(`^(?:time=\S+ level=INFO msg=busy session=\d+ n=\d+|\{"time":"\S+","level":"INFO","msg":"busy","session":\d+,"n":\d+\})$`)
)

// Lines that are written while the files are renamed and opened again are in one
// of the files, whole.
func TestNothingIsLostInAReopen(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	o := Options{File: in("log"), Xferlog: in("xferlog"), Auth: in("auth")}
	r := opened(t, o)
	const each, writers = 300, 4
	var wg sync.WaitGroup
	done := make(chan struct{})
	for w := range writers {
		log := r.Logger().With("session", w)
		wg.Go(func() {
			for n := range each {
				r.Event(t.Context(), upload(fmt.Sprintf("/%d/%d", w, n)))
				r.Event(t.Context(), failure("x] y"))
				log.Info("busy", "n", n)
			}
		})
	}
	go func() { wg.Wait(); close(done) }()
	for turn, busy := 0, true; busy; turn++ {
		select {
		case <-done:
			busy = false
		default:
		}
		for _, name := range []string{"log", "xferlog", "auth"} {
			if err := os.Rename(in(name), in(fmt.Sprintf("%s.%d", name, turn))); err != nil {
				t.Error(err)
			}
		}
		o.Format = []string{"text", "json"}[turn%2]
		reopen(t, r, o)
	}
	closed(t, r)
	for name, line := range map[string]*regexp.Regexp{"log": logLine, "xferlog": xferlogLine, "auth": authLine} {
		parts, err := filepath.Glob(in(name + "*"))
		if err != nil {
			t.Fatal(err)
		}
		var lines []string
		for _, part := range parts {
			if text := content(t, part); text != "" {
				lines = append(lines, strings.Split(strings.TrimSuffix(text, "\n"), "\n")...)
			}
		}
		if len(lines) != each*writers {
			t.Errorf("%s: %d lines in %d files; want %d", name, len(lines), len(parts), each*writers)
		}
		for _, l := range lines {
			if !line.MatchString(l) {
				t.Errorf("%s: %q; want it to match %s", name, l, line)
			}
		}
	}
}

// lost adds up what the log says about lines lost, and counts how often.
func lost(t *testing.T, log string) (lines, told int) {
	t.Helper()
	for _, m := range regexp.MustCompile(`level=ERROR msg="records are lost" lines=(\d+) `).FindAllStringSubmatch(log, -1) {
		n, err := strconv.Atoi(m[1])
		if err != nil {
			t.Fatal(err)
		}
		lines, told = lines+n, told+1
	}
	return lines, told
}

func TestAFullDiskIsToldOnceAMinute(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("no /dev/full")
	}
	var log page
	r := opened(t, Options{Xferlog: "/dev/full", Stderr: &log})
	now := someone.Time
	r.now = func() time.Time { return now } // read by put, which this test alone calls
	for range 10 {
		if _, err := r.put(toXferlog, []byte("x\n")); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("put: %v; want ENOSPC", err)
		}
	}
	if lines, told := lost(t, log.String()); lines != 1 || told != 1 {
		t.Errorf("told %d lines in %d; want the first at once and the others later:\n%s", lines, told, log.String())
	}
	now = now.Add(time.Minute)
	_, _ = r.put(toXferlog, []byte("x\n"))
	if lines, told := lost(t, log.String()); lines != 11 || told != 2 {
		t.Errorf("told %d lines in %d after a minute; want 11 in 2:\n%s", lines, told, log.String())
	}
	if !strings.Contains(log.String(), `error="write /dev/full: no space left on device" file=/dev/full`) {
		t.Errorf("the log says neither file nor cause: %s", log.String())
	}
	_, _ = r.put(toXferlog, []byte("x\n"))
	closed(t, r)
	if lines, told := lost(t, log.String()); lines != 12 || told != 3 {
		t.Errorf("told %d lines in %d at the end; want 12 in 3:\n%s", lines, told, log.String())
	}
}

func TestALogThatCannotBeWrittenIsToldOnStandardError(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("no /dev/full")
	}
	var err page
	r := opened(t, Options{Format: "json", File: "/dev/full", Stderr: &err})
	for range 3 {
		r.Logger().Info("unread")
	}
	closed(t, r)
	if lines, told := lost(t, err.String()); lines != 3 || told != 2 {
		t.Errorf("told %d lines in %d; want 3 in 2:\n%s", lines, told, err.String())
	}
}

// pipe is a FIFO with a reader that doesn't read yet.
func pipe(t *testing.T) (name string, reader *os.File) {
	t.Helper()
	name = filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	reader, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = reader.Close() })
	return name, reader
}

// What doesn't fit into the queue is counted; what is written and what is told
// lost is everything.
func TestAFullQueueDropsAndCounts(t *testing.T) {
	name, reader := pipe(t)
	var log page
	r, err := open(Options{Xferlog: name, Stderr: &log}, 2)
	if err != nil {
		t.Fatal(err)
	}
	const sent = 30
	for range sent {
		r.Event(t.Context(), upload("/"+strings.Repeat("x", 50_000))) // the pipe takes one, and then waits
	}
	closed(t, r)
	got, err := io.ReadAll(reader)
	if err != nil {
		t.Fatal(err)
	}
	whole := 0
	for line := range strings.Lines(string(got)) {
		if xferlogLine.MatchString(strings.TrimSuffix(line, "\n")) {
			whole++
		}
	}
	lines, _ := lost(t, log.String())
	if whole == 0 || whole+lines != sent {
		t.Errorf("%d lines written and %d told lost; want %d in all\n%s", whole, lines, sent, log.String())
	}
	if !strings.Contains(log.String(), `error="the disk is too slow"`) {
		t.Errorf("the log doesn't say that the queue was full:\n%s", log.String())
	}
}

// long is a line that no pipe holds.
var long = []byte(strings.Repeat("x", 1<<20) + "\n")

// A log that nobody reads any more slows no session: one line in five seconds
// waits for its reader, and what was dropped meanwhile the log tells itself.
func TestALogWhoseReaderHangsSlowsNobody(t *testing.T) {
	for format, want := range map[string]string{
		"text": `^\ntime=\S+ level=ERROR msg="lines were lost" lines=52\ntime=\S+ level=INFO msg=after\ntime=\S+ level=INFO msg=then\n$`,
		"json": `^\n\{"time":"[^"]+","level":"ERROR","msg":"lines were lost","lines":52\}\n\{"time":"[^"]+","level":"INFO","msg":"after"\}\n\{"time":"[^"]+","level":"INFO","msg":"then"\}\n$`,
	} {
		t.Run(format, func(t *testing.T) {
			name, reader := pipe(t)
			var stderr page
			r := opened(t, Options{Format: format, File: name, Stderr: &stderr})
			now := someone.Time
			r.now = func() time.Time { return now } // read by put, which this test alone calls
			if _, err := r.put(toLog, long); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("put: %v; want that the reader is too slow", err)
			}
			begin := time.Now()
			for range 50 {
				r.Logger().Info("dropped")
			}
			if took := time.Since(begin); took > 50*patience/2 {
				t.Errorf("50 lines took %v", took)
			}
			b := make([]byte, 1<<20)
			n, err := io.ReadFull(reader, b[:1<<15])
			if err != nil {
				t.Fatal(err)
			}
			r.Logger().Info("too early")
			now = now.Add(pause)
			r.Logger().Info("after")
			r.Logger().Info("then")
			closed(t, r)
			rest, err := io.ReadAll(reader)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.TrimLeft(string(b[:n])+string(rest), "x"); !regexp.MustCompile(want).MatchString(got) {
				t.Errorf("the log has %q; want it to match %s", got, want)
			}
			if lines, _ := lost(t, stderr.String()); lines != 52 {
				t.Errorf("standard error tells %d lines lost; want 52:\n%s", lines, stderr.String())
			}
		})
	}
}

// A reader that hangs is asked again after five seconds; when it is back, the log
// tells what it has missed at once.
func TestAReaderThatHangsIsTriedFromTimeToTime(t *testing.T) {
	name, reader := pipe(t)
	var log page
	r := opened(t, Options{Xferlog: name, Stderr: &log})
	now := someone.Time
	r.now = func() time.Time { return now } // read by put, which this test alone calls
	put := func(line []byte, want error) {
		t.Helper()
		if _, err := r.put(toXferlog, line); !errors.Is(err, want) {
			t.Errorf("put: %v; want %v", err, want)
		}
	}
	for range 2 {
		put(long, os.ErrDeadlineExceeded)
		put([]byte("x\n"), errHangs)
		now = now.Add(pause - 1)
		put([]byte("x\n"), errHangs)
		now = now.Add(1)
	}
	if _, err := io.ReadFull(reader, make([]byte, 1<<15)); err != nil {
		t.Fatal(err)
	}
	put([]byte("x\n"), nil)
	put([]byte("x\n"), nil)
	if lines, told := lost(t, log.String()); lines != 6 || told != 2 {
		t.Errorf("told %d lines in %d; want the first at once and the rest with the end:\n%s", lines, told, log.String())
	}
}

func TestALineAfterACutOneBeginsAnew(t *testing.T) {
	name, reader := pipe(t)
	r := opened(t, Options{Auth: name, Stderr: io.Discard})
	now := someone.Time
	r.now = func() time.Time { return now } // read by put, which this test alone calls
	if _, err := r.put(toAuth, long); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("put: %v; want that the reader is too slow", err)
	}
	b := make([]byte, 1<<20)
	n, err := io.ReadFull(reader, b[:1<<15])
	if err != nil {
		t.Fatal(err)
	}
	now = now.Add(pause)
	for _, line := range []string{"first\n", "second\n"} {
		if _, err := r.put(toAuth, []byte(line)); err != nil {
			t.Fatal(err)
		}
	}
	closed(t, r)
	rest, err := io.ReadAll(reader)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimLeft(string(b[:n])+string(rest), "x"); got != "\nfirst\nsecond\n" {
		t.Errorf("after the cut line %q; want a new line", got)
	}
}
