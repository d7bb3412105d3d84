//go:build linux

package interop

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A version is one content of one name; all of it follows from name and number,
// and the content says both.
type version struct {
	name   string
	number uint64
}

// versionMark begins every version; its number in 16 hexadecimal digits follows.
const versionMark = "dray version\xff\x00\r\n"

// content is all bytes of v, least to least+spread of them.
func (v version) content(least, spread int) []byte {
	head := fmt.Appendf(nil, "%s%016x", versionMark, v.number)
	c := rand.NewChaCha8(sha256.Sum256([]byte(v.name + string(head))))
	b := make([]byte, least+int(c.Uint64()%uint64(spread)))
	_, _ = c.Read(b) // never fails
	copy(b, head)
	return b
}

// numberOf is the version that b says it is, 0 for none.
func numberOf(b []byte) uint64 {
	rest, ok := bytes.CutPrefix(b, []byte(versionMark))
	if !ok || len(rest) < 16 {
		return 0
	}
	n, err := strconv.ParseUint(string(rest[:16]), 16, 64)
	if err != nil {
		return 0
	}
	return n
}

// A writer uploads one version after the other to one name until the server is
// gone.
type writer struct {
	name          string
	verb          string // STOR, or APPE: then a version is a piece of the file
	least, spread int
	pause         time.Duration // after each 64 KiB: without one the kernel takes all data at once

	began  atomic.Uint64 // the newest version that was begun
	acked  atomic.Uint64 // the newest version that a 226 was read for
	middle atomic.Bool   // between the 150 and the last byte
	busy   atomic.Bool   // between the command and its reply
}

func (w *writer) content(n uint64) []byte { return version{w.name, n}.content(w.least, w.spread) }

// run ends with the first error.
func (w *writer) run(ctx context.Context, addr string) error {
	v, err := visit(ctx, addr, nil)
	if err != nil {
		return err
	}
	defer v.hangUp()
	for {
		n := w.began.Load() + 1
		b := w.content(n)
		w.began.Store(n)
		w.busy.Store(true)
		data, err := v.open(ctx, w.verb+" "+w.name)
		if err != nil {
			return err
		}
		w.middle.Store(true)
		for piece := range slices.Chunk(b, 64<<10) {
			if _, err := data.Write(piece); err != nil {
				_ = data.Close()
				return err
			}
			time.Sleep(w.pause)
		}
		w.middle.Store(false)
		if err := finish(data); err != nil {
			return err
		}
		if err := v.expect(w.verb, 226); err != nil {
			return err
		}
		w.acked.Store(n)
		w.busy.Store(false)
	}
}

// judgeWhole checks that the file is exactly one version, no older than the
// newest acknowledged one.
func (w *writer) judgeWhole(dir string) error {
	b, err := os.ReadFile(filepath.Join(dir, w.name))
	if err != nil {
		return err
	}
	n, acked, began := numberOf(b), w.acked.Load(), w.began.Load()
	switch {
	case n == 0:
		return fmt.Errorf("%s: %d bytes that are no version", w.name, len(b))
	case n < acked || n > began:
		return fmt.Errorf("%s: version %d; %d was acknowledged, %d begun", w.name, n, acked, began)
	case !bytes.Equal(b, w.content(n)):
		return fmt.Errorf("%s: %d bytes that are not all of version %d, which has %d", w.name, len(b), n, len(w.content(n)))
	}
	return nil
}

// judgePieces checks that the file is whole pieces, from first on, and none of
// the acknowledged ones is missing. It returns how many there are.
func (w *writer) judgePieces(dir string, first uint64) (last uint64, err error) {
	b, err := os.ReadFile(filepath.Join(dir, w.name))
	if err != nil {
		return 0, err
	}
	size := len(b)
	last = first - 1
	for len(b) > 0 {
		piece := w.content(last + 1)
		if !bytes.HasPrefix(b, piece) {
			return last, fmt.Errorf("%s: of its %d bytes the last %d are not piece %d; %d was acknowledged, %d begun",
				w.name, size, len(b), last+1, w.acked.Load(), w.began.Load())
		}
		b, last = b[len(piece):], last+1
	}
	if last < w.acked.Load() {
		return last, fmt.Errorf("%s: ends with piece %d; %d was acknowledged", w.name, last, w.acked.Load())
	}
	return last, nil
}

// A server that is killed at any moment leaves of every file the old version or
// one whole new one, and never loses what it has acknowledged. Its next start
// puts away what the dead one left.
func TestAKilledServerLeavesOldOrNew(t *testing.T) {
	t.Parallel()
	for _, sync := range []string{"commit", "none"} {
		t.Run("sync "+sync, func(t *testing.T) {
			t.Parallel()
			killServers(t, sync, times(12, 300))
		})
	}
}

func killServers(t *testing.T, durability string, kills int) {
	l := &life{root: t.TempDir(), state: t.TempDir(), passive: ownRange(), args: []string{"--sync", durability}, mortal: true}
	var writers []*writer
	for i := range 8 {
		writers = append(writers, &writer{name: fmt.Sprintf("replaced-%d.bin", i), verb: "STOR", least: 100, spread: 3 << 20, pause: time.Duration(i%4) * time.Millisecond})
	}
	for i := range 3 {
		writers = append(writers, &writer{name: fmt.Sprintf("appended-%d.bin", i), verb: "APPE", least: 100, spread: 1 << 20, pause: time.Duration(i) * time.Millisecond})
	}
	first := map[*writer]uint64{} // number of the first piece of an appended file
	for _, w := range writers {
		w.began.Store(1)
		w.acked.Store(1)
		first[w] = 1
		plant(t, l.root, named{w.name, w.content(1)})
	}

	inside, waiting, taken, partials := 0, 0, 0, 0
	var left []string // hidden names after the last kill
	for k := range kills {
		s := l.launch(t)
		// What the dead server left is put away before the first client comes.
		partials += judgeHidden(t, k-1, l.root, writers)
		for _, w := range writers {
			if w.verb == "STOR" {
				continue
			}
			last, err := w.judgePieces(l.root, first[w])
			if err != nil {
				t.Errorf("kill %d, after the next start: %v", k-1, err)
			}
			if last < w.began.Load() {
				taken++
			}
			if fi, err := os.Stat(filepath.Join(l.root, w.name)); err == nil && fi.Size() > 48<<20 {
				// A file that grows forever tests nothing more. Nobody else has it now.
				last++
				first[w] = last
				if err := os.WriteFile(filepath.Join(l.root, w.name), w.content(last), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			w.acked.Store(last) // the next one goes on from here
			w.began.Store(last)
		}
		if t.Failed() {
			t.Fatalf("kill %d had left %q; the start after it printed:\n%s", k-1, left, tail(s.printed(t), 4000))
		}

		addr := s.ready.FTP[0]
		var killed atomic.Bool
		var wg sync.WaitGroup
		begun := make(chan struct{}, len(writers))
		for _, w := range writers {
			w.middle.Store(false)
			w.busy.Store(false)
			before := w.acked.Load()
			wg.Go(func() {
				err := w.run(t.Context(), addr)
				if !killed.Load() {
					t.Errorf("kill %d: %s %s, before the kill: %v", k, w.verb, w.name, err)
				}
			})
			wg.Go(func() {
				for !w.busy.Load() && w.acked.Load() == before && !killed.Load() {
					time.Sleep(time.Millisecond)
				}
				begun <- struct{}{}
			})
		}
		for range writers {
			select {
			case <-begun:
			case <-time.After(20 * time.Second):
				t.Fatal("not all uploads have begun after 20 s")
			}
		}
		time.Sleep(time.Duration(rand.Int64N(int64(300 * time.Millisecond))))
		for _, w := range writers {
			if w.middle.Load() {
				inside++
			} else if w.busy.Load() {
				waiting++
			}
		}
		killed.Store(true)
		s.kill(t)
		wg.Wait()

		shown, hidden := namesIn(t, l.root)
		left = hidden
		if len(shown) != len(writers) {
			t.Errorf("kill %d: the directory shows %q", k, shown)
		}
		for _, h := range hidden {
			if !cutName.MatchString(h) && !runningName.MatchString(h) {
				t.Errorf("kill %d: a hidden name that no upload has: %s", k, h)
			}
		}
		for _, w := range writers {
			if w.verb != "STOR" {
				continue
			}
			if err := w.judgeWhole(l.root); err != nil {
				t.Errorf("kill %d: %v", k, err)
			}
		}
		if t.Failed() {
			t.Fatalf("the killed server printed:\n%s", tail(s.printed(t), 8000))
		}
		if err := os.Remove(s.log); err != nil {
			t.Error(err)
		}
	}
	s := l.launch(t)
	for _, w := range writers {
		var err error
		if w.verb == "STOR" {
			err = w.judgeWhole(l.root)
		} else {
			_, err = w.judgePieces(l.root, first[w])
		}
		if err != nil {
			t.Errorf("after the last start: %v", err)
		}
	}
	v, err := visit(t.Context(), s.ready.FTP[0], nil)
	if err != nil {
		t.Fatal(err)
	}
	defer v.hangUp()
	if n, err := v.lines(t.Context(), "NLST"); err != nil || n != len(writers) {
		t.Errorf("NLST after the last start: %d names, %v; want %d", n, err, len(writers))
	}
	s.kill(t)
	var versions uint64
	for _, w := range writers {
		versions += w.began.Load()
	}
	t.Logf("%d kills: %d uploads were inside their data, %d waited for the 226; about %d uploads in all, %d unacknowledged appends taken back, %d partials seen after restarts",
		kills, inside, waiting, versions, taken, partials)
}

// judgeHidden checks what is hidden behind a start: partials of writers and nothing else.
// It returns how many there are.
func judgeHidden(t *testing.T, kill int, root string, writers []*writer) (partials int) {
	t.Helper()
	_, hidden := namesIn(t, root)
	for _, h := range hidden {
		if !cutName.MatchString(h) {
			t.Errorf("kill %d: after the next start there is %s", kill, h)
			continue
		}
		partials++
		if err := judgePartial(filepath.Join(root, h), writers); err != nil {
			t.Errorf("kill %d: after the next start, %s: %v", kill, h, err)
		}
	}
	return partials
}

// judgePartial checks that a partial is the beginning of one version, and less
// than all of it.
func judgePartial(path string, writers []*writer) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	n := numberOf(b)
	for _, w := range writers {
		if w.verb != "STOR" || n == 0 || n > w.began.Load() {
			continue
		}
		if whole := w.content(n); bytes.HasPrefix(whole, b) {
			if len(b) > len(whole)-4096 {
				return fmt.Errorf("%d of the %d bytes of %s are kept; want 4096 less at least", len(b), len(whole), w.name)
			}
			return nil
		}
	}
	return fmt.Errorf("%d bytes are not the beginning of a version", len(b))
}
