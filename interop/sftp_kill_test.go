//go:build linux

package interop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A changer is a writer over SSH: it makes one version after the other in the way of
// its kind, until the server is gone.
type changer struct {
	writer
	kind string // a key of changers

	sure atomic.Int64 // of the version that was begun: bytes that are in the file for good
	seen uint64       // of "new": the last version that was judged
}

// changers are the ways to change a file. run makes version n; judge says whether
// what a dead server has left is what was promised.
var changers = map[string]struct {
	run   func(c *changer, v *sftpVisitor, n uint64, b []byte) error
	judge func(c *changer, dir string) error
}{
	// Beside the name, and published by CLOSE: old or new.
	"replaced": {(*changer).replaces, func(c *changer, dir string) error { return c.judgeWhole(dir) }},
	"new":      {(*changer).makes, (*changer).judgeNew},
	"copied":   {nil, func(c *changer, dir string) error { return c.judgeWhole(dir) }}, // by scp's old protocol
	// Published by fsync in the middle, and changed where it is from then on.
	"flushed": {(*changer).flushes, (*changer).judgeFlushed},
	// Where it is: all that was acknowledged, and a beginning of what was not.
	"appended": {(*changer).appends, (*changer).judgeAppended},
	"edited":   {(*changer).edits, (*changer).judgeEdited},
}

// path is the name of version n.
func (c *changer) path(n uint64) string {
	if c.kind == "new" {
		return fmt.Sprintf("%s-%06d", c.name, n)
	}
	return c.name
}

// runs makes versions until an error.
func (c *changer) runs(ctx context.Context, addr string) error {
	make := changers[c.kind].run
	var v *sftpVisitor
	var s *scpVisitor
	var err error
	if make != nil {
		if v, err = dive(ctx, addr, user); err != nil {
			return err
		}
		defer v.hangUp()
	} else {
		if s, err = copyTo(ctx, addr, user, c.name); err != nil {
			return err
		}
		defer s.hangUp()
	}
	for {
		n := c.began.Load() + 1
		b := c.content(n)
		c.sure.Store(0)
		c.began.Store(n)
		c.busy.Store(true)
		if make != nil {
			err = make(c, v, n, b)
		} else if err = s.send(b); err == nil {
			err = s.done()
		}
		if err != nil {
			return err
		}
		c.acked.Store(n)
		c.busy.Store(false)
	}
}

// write sends b piece by piece, with a pause behind each; in place, what is
// acknowledged is there for good.
func (c *changer) write(v *sftpVisitor, h []byte, off int64, b []byte, inPlace bool) error {
	c.middle.Store(true)
	defer c.middle.Store(false)
	was := c.sure.Load()
	return v.write(h, off, b, func(n int) {
		if inPlace {
			c.sure.Store(was + int64(n))
		}
		time.Sleep(c.pause)
	})
}

func (c *changer) uploads(v *sftpVisitor, path string, b []byte) error {
	h, err := v.open(path, toUpload)
	if err == nil {
		err = c.write(v, h, 0, b, false)
	}
	if err != nil {
		return err
	}
	return v.close(h)
}

func (c *changer) replaces(v *sftpVisitor, _ uint64, b []byte) error { return c.uploads(v, c.name, b) }
func (c *changer) makes(v *sftpVisitor, n uint64, b []byte) error    { return c.uploads(v, c.path(n), b) }

func (c *changer) flushes(v *sftpVisitor, _ uint64, b []byte) error {
	h, err := v.open(c.name, toUpload)
	if err != nil {
		return err
	}
	half := len(b) / 2
	if err := errors.Join(c.write(v, h, 0, b[:half], false), v.fsync(h)); err != nil {
		return err
	}
	c.sure.Store(int64(half))
	return errors.Join(c.write(v, h, int64(half), b[half:], true), v.close(h))
}

func (c *changer) appends(v *sftpVisitor, _ uint64, b []byte) error {
	h, err := v.open(c.name, toAppend)
	if err != nil {
		return err
	}
	return errors.Join(c.write(v, h, 0, b, true), v.close(h))
}

// blocks is how many pieces an edited file has. Version n is piece n, again and again.
const blocks = 16

func (c *changer) edits(v *sftpVisitor, n uint64, b []byte) error {
	h, err := v.open(c.name, toEdit)
	if err != nil {
		return err
	}
	return errors.Join(c.write(v, h, int64(n%blocks)*piece, b, true), v.close(h))
}

// begins is the file before the first version.
func (c *changer) begins() []byte {
	if c.kind != "edited" {
		return c.content(1)
	}
	var b []byte
	for i := range uint64(blocks) {
		b = append(b, c.content(i)...)
	}
	return b
}

// judgeNew wants all versions that were acknowledged, whole, and of the one that was
// not nothing or all. Then they are removed.
func (c *changer) judgeNew(dir string) error {
	for ; c.seen < c.began.Load(); c.seen++ {
		n := c.seen + 1
		path := filepath.Join(dir, c.path(n))
		b, err := os.ReadFile(path)
		switch {
		case errors.Is(err, fs.ErrNotExist) && n > c.acked.Load(): // as if it had never begun
			continue
		case err != nil:
			return fmt.Errorf("version %d was acknowledged: %w", n, err)
		case !bytes.Equal(b, c.content(n)):
			return fmt.Errorf("%s: %d bytes that are not all of version %d, which has %d", c.path(n), len(b), n, len(c.content(n)))
		}
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	return nil
}

// judgeFlushed wants the last version that was acknowledged, or as much of the one
// that was begun as fsync and WRITE have acknowledged.
func (c *changer) judgeFlushed(dir string) error {
	b, err := os.ReadFile(filepath.Join(dir, c.name))
	if err != nil {
		return err
	}
	n, acked, began, sure := numberOf(b), c.acked.Load(), c.began.Load(), c.sure.Load()
	whole := c.content(n)
	switch {
	case n == acked && sure == 0:
		if !bytes.Equal(b, whole) {
			return fmt.Errorf("%s: %d bytes that are not all of version %d, which has %d", c.name, len(b), n, len(whole))
		}
	case n != began || n == acked:
		return fmt.Errorf("%s: version %d; %d was acknowledged, %d begun, %d bytes of it flushed", c.name, n, acked, began, sure)
	case int64(len(b)) < max(sure, int64(len(whole)/2)) || !bytes.HasPrefix(whole, b):
		return fmt.Errorf("%s: %d bytes of version %d, which has %d; %d were acknowledged", c.name, len(b), n, len(whole), sure)
	}
	return nil
}

// judgeAppended wants all pieces that were acknowledged, and behind them a beginning
// of the one that was not.
func (c *changer) judgeAppended(dir string) error {
	b, err := os.ReadFile(filepath.Join(dir, c.name))
	if err != nil {
		return err
	}
	size := len(b)
	for n := uint64(1); n <= c.acked.Load(); n++ {
		whole := c.content(n)
		if !bytes.HasPrefix(b, whole) {
			return fmt.Errorf("%s: of its %d bytes the last %d do not begin with piece %d of %d", c.name, size, len(b), n, c.acked.Load())
		}
		b = b[len(whole):]
	}
	if began := c.began.Load(); began > c.acked.Load() {
		if whole := c.content(began); int64(len(b)) < c.sure.Load() || !bytes.HasPrefix(whole, b) {
			return fmt.Errorf("%s: its last %d bytes are no beginning of piece %d, of which %d were acknowledged", c.name, len(b), began, c.sure.Load())
		}
		return nil
	}
	if len(b) > 0 {
		return fmt.Errorf("%s: %d bytes behind the last piece", c.name, len(b))
	}
	return nil
}

// judgeEdited wants each block as it was written last. The one that was being written
// may be new as far as the kernel had come.
func (c *changer) judgeEdited(dir string) error {
	b, err := os.ReadFile(filepath.Join(dir, c.name))
	if err != nil {
		return err
	}
	if len(b) != blocks*piece {
		return fmt.Errorf("%s: %d bytes; want %d as always", c.name, len(b), blocks*piece)
	}
	last := c.acked.Load()
	for i, block := range slices.Collect(slices.Chunk(b, piece)) {
		n := last - (last-uint64(i))%blocks // the newest that is acknowledged and goes there
		if last < uint64(i) {
			n = uint64(i)
		}
		want := c.content(n)
		if began := c.began.Load(); began > last && began%blocks == uint64(i) {
			fresh := c.content(began)
			come := 0
			for come < piece && block[come] == fresh[come] {
				come++
			}
			if int64(come) < c.sure.Load() {
				return fmt.Errorf("%s: block %d has %d bytes of version %d; %d were acknowledged", c.name, i, come, began, c.sure.Load())
			}
			want = slices.Concat(fresh[:come], want[come:])
		}
		if !bytes.Equal(block, want) {
			return fmt.Errorf("%s: block %d is not version %d", c.name, i, n)
		}
	}
	return nil
}

// restore makes the file again what all versions that were acknowledged make, for the
// next life.
func (c *changer) restore(t *testing.T, dir string) {
	t.Helper()
	path := filepath.Join(dir, c.name)
	switch c.kind {
	case "appended": // a new one, so that it does not grow forever
		c.began.Store(1)
		c.acked.Store(1)
	case "edited":
		c.began.Store(blocks - 1)
		c.acked.Store(blocks - 1)
	case "flushed": // in place it may be half of a version
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if n := numberOf(b); bytes.Equal(b, c.content(n)) {
			c.acked.Store(n)
			return
		}
		c.began.Add(1)
		c.acked.Store(c.began.Load())
		if err := os.WriteFile(path, c.content(c.began.Load()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	default:
		return
	}
	if err := os.WriteFile(path, c.begins(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// A server that is killed at any moment leaves what SFTP and scp were promised: of
// what goes beside its name the old file or the new one; of what is changed where it
// is all that was acknowledged. After the next start cut uploads go on.
func TestSFTPAKilledServer(t *testing.T) {
	t.Parallel()
	for _, sync := range []string{"commit", "none"} {
		t.Run("sync "+sync, func(t *testing.T) {
			t.Parallel()
			killSFTPServers(t, sync, times(8, 300))
		})
	}
}

func killSFTPServers(t *testing.T, durability string, kills int) {
	l := &life{root: t.TempDir(), state: t.TempDir(), passive: ownRange(), mortal: true,
		args: []string{"--sync", durability, "--sftp", "127.0.0.1:0", "--ftp", "off"}}
	var all []*changer
	var beside []*writer // whose partials there may be
	for kind, count := range map[string]int{"replaced": 2, "new": 2, "copied": 1, "flushed": 1, "appended": 1, "edited": 1} {
		for i := range count {
			c := &changer{kind: kind, writer: writer{name: fmt.Sprintf("%s-%d.bin", kind, i), verb: "STOR",
				least: 100, spread: 1 << 20, pause: time.Duration(i) * time.Millisecond}}
			c.began.Store(1)
			c.acked.Store(1)
			c.seen = 1
			switch kind {
			case "edited":
				c.least, c.spread = piece, 1
				c.began.Store(blocks - 1)
				c.acked.Store(blocks - 1)
			case "appended":
				c.spread = 200_000
			}
			if kind != "new" {
				plant(t, l.root, named{c.name, c.begins()})
			}
			all = append(all, c)
			beside = append(beside, &c.writer)
		}
	}

	inside, partials, resumed := 0, 0, 0
	for k := range kills {
		s := l.launch(t)
		addr := s.ready.SFTP[0]
		partials += judgeHidden(t, k-1, l.root, beside)
		for _, c := range all {
			if c.kind == "new" && c.began.Load() > c.acked.Load() {
				if c.resumes(t, l.root, addr) {
					resumed++
				}
			}
		}
		if t.Failed() {
			t.Fatalf("the start after kill %d printed:\n%s", k-1, tail(s.printed(t), 4000))
		}

		var killed atomic.Bool
		var wg sync.WaitGroup
		for _, c := range all {
			c.busy.Store(false)
			wg.Go(func() {
				err := c.runs(t.Context(), addr)
				if !killed.Load() {
					t.Errorf("kill %d: %s, before the kill: %v", k, c.name, err)
				}
			})
		}
		within(t, "all have begun", func() bool {
			return !slices.ContainsFunc(all, func(c *changer) bool { return !c.busy.Load() && c.acked.Load() == c.began.Load() }) || t.Failed()
		})
		time.Sleep(time.Duration(rand.Int64N(int64(300 * time.Millisecond))))
		for _, c := range all {
			if c.middle.Load() {
				inside++
			}
		}
		killed.Store(true)
		s.kill(t)
		wg.Wait()

		_, hidden := namesIn(t, l.root)
		for _, h := range hidden {
			if !cutName.MatchString(h) && !runningName.MatchString(h) {
				t.Errorf("kill %d: a hidden name that no upload has: %s", k, h)
			}
		}
		for _, c := range all {
			if err := changers[c.kind].judge(c, l.root); err != nil {
				t.Errorf("kill %d: %v", k, err)
			}
		}
		if t.Failed() {
			t.Fatalf("the killed server printed:\n%s", tail(s.printed(t), 8000))
		}
		for _, c := range all {
			c.restore(t, l.root)
		}
		if err := os.Remove(s.log); err != nil {
			t.Error(err)
		}
	}
	t.Logf("%d kills: %d were inside their data; %d partials seen after restarts, %d of them gone on with", kills, inside, partials, resumed)
}

// resumes goes on with the version that was cut, if anything was kept of it.
func (c *changer) resumes(t *testing.T, dir, addr string) bool {
	t.Helper()
	n := c.began.Load()
	v, err := dive(t.Context(), addr, user)
	if err != nil {
		t.Error(err)
		return false
	}
	defer v.hangUp()
	var s *status
	_, err = v.size(c.path(n))
	if errors.As(err, &s) { // nothing was kept
		return false
	}
	if err == nil {
		err = v.goOn(c.path(n), c.content(n))
	}
	if err != nil {
		t.Errorf("going on with %s: %v", c.path(n), err)
		return false
	}
	holds(t, filepath.Join(dir, c.path(n)), c.content(n))
	if err := os.Remove(filepath.Join(dir, c.path(n))); err != nil {
		t.Error(err)
	}
	return true
}
