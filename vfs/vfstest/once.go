package vfstest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"sync/atomic"

	"dray/vfs"
)

// onceTests are worth most under the race detector. Their goroutines report by
// errors, because only a test's own goroutine may end it.
var onceTests = []test{
	{"of 32 uploads to one name one is there, whole", func(t *trial) {
		const writers = 32
		t.put("f", versions(0))
		ctx := t.Context()
		p := t.path("f")
		var readers, wg sync.WaitGroup
		var stop atomic.Bool
		for range 2 {
			readers.Go(func() {
				for !stop.Load() {
					b, err := read(ctx, t.tree, p)
					if err != nil {
						t.Errorf("reading f meanwhile: %v", err)
						return
					}
					if err := whole(b); err != nil {
						t.Errorf("f meanwhile: %v", err)
						return
					}
				}
			})
		}
		for i := 1; i <= writers; i++ {
			wg.Go(func() {
				if err := upload(ctx, t.tree, p, versions(byte(i))); err != nil {
					t.Errorf("upload %d: %v", i, err)
				}
			})
		}
		wg.Wait()
		stop.Store(true)
		readers.Wait()
		b := t.get("f")
		if err := whole(b); err != nil {
			t.Errorf("f: %v", err)
		}
		if b[0] == 0 {
			t.Errorf("f is still the old file after %d commits", writers)
		}
		t.lists("/", "f")
	}},
	{"of uploads of which half are cut the partial is the beginning of one", func(t *trial) {
		parts := t.partials()
		ctx := t.Context()
		p := t.path("f")
		var wg sync.WaitGroup
		for i := 1; i <= 32; i++ {
			wg.Go(func() {
				up, err := t.tree.Create(ctx, p, vfs.Create{Owner: "alice"})
				if err != nil {
					t.Errorf("Create %d: %v", i, err)
					return
				}
				_, err = up.WriteAt(versions(byte(i)), 0)
				if i%2 == 0 {
					err = errors.Join(err, up.Cut())
				} else {
					err = errors.Join(err, up.Commit(ctx))
				}
				if err != nil {
					t.Errorf("upload %d: %v", i, err)
				}
			})
		}
		wg.Wait()
		b := t.get("f")
		if err := whole(b); err != nil {
			t.Errorf("f: %v", err)
		}
		if b[0]%2 == 0 {
			t.Errorf("f is upload %d, which was cut", b[0])
		}
		fi, err := parts.Partial(ctx, p, "alice")
		if errors.Is(err, fs.ErrNotExist) {
			return // a commit came last
		}
		t.need(err, "Partial(f, alice)")
		n := fi.Size()
		up := t.create("f", vfs.Create{How: vfs.Resume, Offset: n, Owner: "alice"})
		got := make([]byte, n)
		_, err = up.ReadAt(got, 0)
		t.need(err, "ReadAt(%d bytes, 0)", n)
		if want := versions(got[0]); got[0]%2 != 0 || int64(len(want)) != n+vfs.CutTail || !bytes.Equal(got, want[:n]) {
			t.Errorf("the partial is %s; want the beginning of an upload that was cut", brief(got))
		}
		t.discard(up)
	}},
	{"of many exclusive uploads to one name one succeeds", func(t *trial) {
		ctx := t.Context()
		p := t.path("f")
		var wg sync.WaitGroup
		var won atomic.Int32
		for i := range 32 {
			wg.Go(func() {
				up, err := t.tree.Create(ctx, p, vfs.Create{How: vfs.New})
				if err == nil {
					_, err = up.WriteAt(versions(byte(i)), 0)
					if cerr := up.Commit(ctx); cerr != nil {
						err = errors.Join(err, cerr, up.Discard())
					}
				}
				switch {
				case err == nil:
					won.Add(1)
				case !errors.Is(err, fs.ErrExist):
					t.Errorf("upload %d: %v; want fs.ErrExist or success", i, err)
				}
			})
		}
		wg.Wait()
		if got := won.Load(); got != 1 {
			t.Errorf("%d uploads succeeded; want 1", got)
		}
		if err := whole(t.get("f")); err != nil {
			t.Errorf("f: %v", err)
		}
		t.lists("/", "f")
	}},
	{"one upload may be written by many at once", func(t *trial) {
		want := content(1, 512_000)
		up := t.create("f", vfs.Create{})
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				for off := i * 1000; off < len(want); off += 8000 {
					if n, err := up.WriteAt(want[off:off+1000], int64(off)); n != 1000 || err != nil {
						t.Errorf("WriteAt(1000 bytes, %d) = %d, %v", off, n, err)
					}
				}
			})
		}
		wg.Wait()
		t.commit(up)
		t.holds("f", want)
	}},
	{"writes that race with the end are done or refused", func(t *trial) {
		t.mkdir("d")
		for i := range 20 {
			up := t.create("d/f", vfs.Create{Owner: "alice"})
			var wg sync.WaitGroup
			for w := range 4 {
				wg.Go(func() {
					for j := 0; ; j++ {
						if _, err := up.WriteAt([]byte("some bytes"), int64(10*(4*j+w))); err != nil {
							if !errors.Is(err, fs.ErrClosed) {
								t.Errorf("WriteAt() = %v; want fs.ErrClosed", err)
							}
							return
						}
					}
				})
			}
			if i%2 == 0 {
				t.need(up.Commit(t.Context()), "Commit()")
				size := t.stat("d/f").Size()
				wg.Wait()
				if got := t.stat("d/f").Size(); got != size {
					t.Errorf("the file grew from %d to %d bytes after its commit", size, got)
				}
				t.need(t.tree.Remove(t.Context(), t.path("d/f")), "Remove(d/f)")
			} else {
				t.discard(up)
				wg.Wait()
			}
		}
		t.empties("d")
	}},
	{"an upload ends once, whoever is first", func(t *trial) {
		for i := range 20 {
			name := fmt.Sprint(i)
			up := t.create(name, vfs.Create{})
			t.write(up, []byte("hello"), 0)
			var wg sync.WaitGroup
			var ended atomic.Int32
			var committed atomic.Bool
			for _, end := range []func() error{
				func() error {
					err := up.Commit(t.Context())
					committed.Store(err == nil)
					return err
				},
				up.Cut, up.Discard,
			} {
				wg.Go(func() {
					switch err := end(); {
					case err == nil:
						ended.Add(1)
					case !errors.Is(err, fs.ErrClosed):
						t.Errorf("the end = %v; want nil or fs.ErrClosed", err)
					}
				})
			}
			wg.Wait()
			if got := ended.Load(); got != 1 {
				t.Errorf("the upload ended %d times; want once", got)
			}
			if committed.Load() {
				t.holds(name, []byte("hello"))
			} else {
				t.gone(name)
			}
		}
	}},
	{"a tree is used by many at once", func(t *trial) {
		ctx := t.Context()
		t.mkdir("d")
		t.put("d/f", versions(1))
		file, sub, other := t.path("d/f"), t.path("d/sub"), t.path("d/g")
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				for range 20 {
					// Others do the same to the same names, so each may find a name
					// taken or missing; what is under test is what remains.
					t.tree.Mkdir(ctx, sub)
					upload(ctx, t.tree, other, versions(byte(i)))
					t.tree.Rename(ctx, other, file, vfs.Overwrite)
					for fi, err := range t.tree.List(ctx, file.Dir()) {
						if err != nil {
							t.Errorf("List(d): %v", err)
							return
						}
						t.plain(fi)
					}
					t.tree.SetTime(ctx, file, day)
					t.tree.RemoveDir(ctx, sub)
					b, err := read(ctx, t.tree, file)
					if err == nil {
						err = whole(b)
					}
					if err != nil {
						t.Errorf("d/f: %v", err)
						return
					}
				}
			})
		}
		wg.Wait()
		if err := whole(t.get("d/f")); err != nil {
			t.Errorf("d/f: %v", err)
		}
		t.tree.Remove(ctx, other)
		t.tree.RemoveDir(ctx, sub)
		t.need(t.tree.Remove(ctx, file), "Remove(d/f)")
		t.empties("d")
	}},
}

// versions is the file that upload i brings: filled with i, in a length that
// only i has.
func versions(i byte) []byte {
	return bytes.Repeat([]byte{i}, 3*vfs.CutTail+int(i)*100)
}

// whole tells whether b is one of the versions.
func whole(b []byte) error {
	if len(b) == 0 {
		return errors.New("it is empty")
	}
	if want := versions(b[0]); !bytes.Equal(b, want) {
		return fmt.Errorf("it holds %s; want one upload, whole", brief(b))
	}
	return nil
}

// upload brings b in pieces.
func upload(ctx context.Context, tree vfs.FS, p vfs.Path, b []byte) error {
	up, err := tree.Create(ctx, p, vfs.Create{Owner: "alice"})
	if err != nil {
		return err
	}
	for off := 0; off < len(b) && err == nil; off += 1000 {
		_, err = up.WriteAt(b[off:min(off+1000, len(b))], int64(off))
	}
	if err == nil {
		err = up.Sync(ctx)
	}
	if err == nil {
		err = up.Commit(ctx)
	}
	if err != nil {
		return errors.Join(err, up.Discard())
	}
	return nil
}
