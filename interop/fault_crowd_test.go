//go:build linux

package interop

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// held is what a process holds: its descriptors but for pipes, and its listening
// sockets. The Go runtime keeps the pipes of splice for the next transfer and
// closes them when it collects garbage.
type held struct{ descriptors, listeners int }

// holds looks into /proc.
func (s *server) holds(t *testing.T) (h held) {
	t.Helper()
	listening := map[string]bool{} // inodes
	for _, table := range []string{"tcp", "tcp6"} {
		b, err := os.ReadFile("/proc/net/" + table)
		if err != nil {
			continue // no IPv6 here
		}
		for line := range strings.Lines(string(b)) {
			if f := strings.Fields(line); len(f) > 9 && f[3] == "0A" {
				listening["socket:["+f[9]+"]"] = true
			}
		}
	}
	dir := fmt.Sprintf("/proc/%d/fd", s.process.Pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		target, err := os.Readlink(filepath.Join(dir, e.Name()))
		if err != nil { // closed since
			continue
		}
		if !strings.HasPrefix(target, "pipe:") {
			h.descriptors++
		}
		if listening[target] {
			h.listeners++
		}
	}
	return h
}

// Two hundred uploads at once are two hundred whole files, and nothing stays
// behind in the process.
func TestTwoHundredUploadsAtOnce(t *testing.T) {
	for _, w := range []way{{"IPv4", "passive", "plain"}, {"IPv4", "passive", "explicit"}} {
		t.Run(w.tls, func(t *testing.T) {
			const visitors = 200
			args := []string{"--ftp", w.listen(), "--ftps", "off", "--passive", "31000-31499"}
			if w.plain() {
				args = append(args, "--plain")
			}
			s := start(t, t.TempDir(), args...)
			var cfg *tls.Config
			if !w.plain() {
				cfg = s.trusted(t)
			}
			upload := func(f file) error {
				v, err := visit(t.Context(), s.ready.FTP[0], cfg)
				if err != nil {
					return err
				}
				defer v.hangUp()
				if err := v.upload(t.Context(), "STOR "+f.name, f.content()); err != nil {
					return err
				}
				return v.ask("QUIT", 221)
			}
			if err := upload(file{"first.bin", 1 << 20}); err != nil { // whatever is opened once is open now
				t.Fatal(err)
			}
			before := s.settled(t, held{})
			want := treeOf(file{"first.bin", 1 << 20}.as("first.bin"))
			var wg sync.WaitGroup
			for i := range visitors {
				f := file{fmt.Sprintf("upload-%03d.bin", i), 1 << 20}
				want = want.plus(treeOf(f.as(f.name)))
				wg.Go(func() {
					if err := upload(f); err != nil {
						t.Errorf("%s: %v", f.name, err)
					}
				})
			}
			wg.Wait()
			same(t, s.root, want)
			after := s.settled(t, before)
			if after != before {
				t.Errorf("10 s after the uploads the process holds %+v; want %+v as before", after, before)
			}
			t.Logf("held before and after: %+v", after)
		})
	}
}

// settled is what s holds once that is want, or else after 10 s; for the zero
// want, once it has been the same for half a second.
func (s *server) settled(t *testing.T, want held) held {
	t.Helper()
	last, since, end := s.holds(t), time.Now(), time.Now().Add(10*time.Second)
	for time.Now().Before(end) {
		if last == want || want == (held{}) && time.Since(since) > 500*time.Millisecond {
			break
		}
		time.Sleep(20 * time.Millisecond)
		if now := s.holds(t); now != last {
			last, since = now, time.Now()
		}
	}
	return last
}

// A flood of connections that say nothing, and sessions that hold every passive
// port, keep nobody from logging in; not even one from the same address.
func TestAFloodOfSilentConnectionsKeepsNobodyOut(t *testing.T) {
	const silent = 2000
	s := start(t, t.TempDir(), "--ftp", "127.0.0.1:0", "--ftps", "off")
	addr, cfg := s.ready.FTP[0], s.trusted(t)

	// First those who hold the range: they are guests like others.
	var holders []*visitor
	defer func() {
		for _, v := range holders {
			v.hangUp()
		}
	}()
	full := false
	for range 110 {
		v, err := visit(t.Context(), addr, cfg)
		if err != nil {
			t.Fatal(err)
		}
		holders = append(holders, v)
		err = v.ask("EPSV", 229)
		var a *answer
		if errors.As(err, &a) && strings.HasSuffix(a.text, "[pool-exhausted]") {
			full = true
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if !full {
		t.Fatalf("%d sessions hold a passive port each, of a hundred", len(holders))
	}

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	var connected, dropped atomic.Int64
	limit := make(chan struct{}, 50)
	for i := range silent {
		from := "127.0.0.1"
		if i%2 == 1 {
			from = fmt.Sprintf("127.0.0.%d", 2+i/2%100)
		}
		wg.Go(func() {
			limit <- struct{}{}
			d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 20 * time.Second}
			nc, err := d.DialContext(ctx, "tcp", addr)
			<-limit
			if err != nil {
				if ctx.Err() == nil {
					t.Errorf("silent connection %d: %v", i, err)
				}
				return
			}
			stop := context.AfterFunc(ctx, func() { _ = nc.Close() })
			defer stop()
			_, err = io.ReadFull(nc, make([]byte, 3)) // of the greeting: the server has let it in
			connected.Add(1)
			if err != nil && ctx.Err() == nil {
				t.Errorf("silent connection %d was not even greeted: %v", i, err)
			}
			_, _ = io.Copy(io.Discard, nc) // until one of us hangs up
			if ctx.Err() == nil {
				dropped.Add(1)
			}
			_ = nc.Close()
		})
	}
	for end := time.Now().Add(30 * time.Second); connected.Load() < silent && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	if n := connected.Load(); n < silent {
		t.Fatalf("only %d silent connections were let in", n)
	}
	for _, from := range []string{"127.0.0.1", "127.0.0.2", "127.0.0.250"} {
		begun := time.Now()
		v, err := call(t.Context(), addr, from)
		if err != nil {
			t.Errorf("from %s: %v", from, err)
			continue
		}
		err = errors.Join(v.ask("FEAT", 211), v.secure(cfg), v.login(), v.ask("PWD", 257))
		took := time.Since(begun)
		if err != nil {
			t.Errorf("from %s: %v", from, err)
		}
		if took > 4*time.Second {
			t.Errorf("from %s: the login took %v; want 4 s at most", from, took)
		}
		t.Logf("from %s: logged in after %v; %d silent connections stand, %d were dropped, %d sessions hold the range",
			from, took, connected.Load()-dropped.Load(), dropped.Load(), len(holders)-1)
		v.hangUp()
	}
	// Who holds the range lets go of it, and it serves again.
	for _, v := range holders {
		v.hangUp()
	}
	holders = nil
	v, err := visit(t.Context(), addr, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer v.hangUp()
	for end := time.Now().Add(5 * time.Second); ; {
		if err = v.upload(t.Context(), "STOR after.bin", []byte("after")); err == nil || time.Now().After(end) {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if err != nil {
		t.Errorf("an upload after the range was let go: %v", err)
	}
	same(t, s.root, treeOf(named{"after.bin", []byte("after")}))
}

var peakMemory = regexp.MustCompile(`VmHWM:\s+(\d+) kB`)

// A directory of a million entries is listed in as much memory as a small one.
func TestAMillionEntriesInLittleMemory(t *testing.T) {
	entries := times(200_000, 1_000_000)
	root := t.TempDir()
	if os.Geteuid() == 0 {
		root = small(t, "nr_inodes=1100000,mode=0755")
	}
	var wg sync.WaitGroup
	for part := range 4 {
		wg.Go(func() {
			for i := part; i < entries; i += 4 {
				f, err := os.Create(filepath.Join(root, fmt.Sprintf("entry-%07d.txt", i)))
				if err != nil {
					t.Error(err)
					return
				}
				_ = f.Close() // nothing was written
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	l := &life{root: root, state: t.TempDir(), passive: ownRange(), env: []string{"GOMEMLIMIT=64MiB"}}
	s := l.launch(t)
	for _, how := range []struct {
		name string
		cfg  *tls.Config
	}{{"in the clear", nil}, {"over TLS", s.trusted(t)}} {
		v, err := visit(t.Context(), s.ready.FTP[0], how.cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer v.hangUp()
		for verb, want := range map[string]int{"LIST": entries, "NLST": entries, "MLSD": entries + 1} { // MLSD: and the directory itself
			begun := time.Now()
			n, err := v.lines(t.Context(), verb)
			if err != nil {
				t.Errorf("%s %s: %v", verb, how.name, err)
			}
			if n != want {
				t.Errorf("%s %s: %d lines; want %d", verb, how.name, n, want)
			}
			t.Logf("%s %s: %d lines in %v", verb, how.name, n, time.Since(begun))
		}
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	m := peakMemory.FindSubmatch(b)
	if m == nil {
		t.Fatal("no VmHWM in /proc")
	}
	kib, err := strconv.Atoi(string(m[1]))
	if err != nil || kib >= 64<<10 {
		t.Errorf("the process has used %d KiB at most (%v); want less than 64 MiB", kib, err)
	}
	t.Logf("peak of the process: %d KiB", kib)
}
