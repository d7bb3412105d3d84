package osfs

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"

	"dray/vfs"
)

var _ vfs.Measurer = (*Tree)(nil)

// Measure walks the whole tree. A directory that goes away meanwhile is passed
// over; one that can't be read is an error, because the sum would be wrong.
func (t *Tree) Measure(ctx context.Context, owner string) (files int, sizeBytes int64, err error) {
	seen := map[fileID]struct{}{} // files with several names
	count := func(i *info) {
		if !i.mode.IsRegular() {
			return
		}
		if i.attr.Links > 1 {
			if _, again := seen[i.id()]; again {
				return
			}
			seen[i.id()] = struct{}{}
		}
		files++
		sizeBytes += i.size
	}
	left := newTodo()
	for rel, ok := left.next(); ok; rel, ok = left.next() {
		if err := context.Cause(ctx); err != nil {
			return 0, 0, err
		}
		var f *os.File
		var dirs []string
		err := t.as(func() (err error) {
			f, err = t.jail.open(rel, os.O_RDONLY|openDirectory, 0)
			if err == nil && owner != "" {
				err = t.partials(rel, ownerHash(owner), count)
			}
			return err
		})
		if errors.Is(err, fs.ErrNotExist) && rel != "." {
			if f != nil {
				_ = f.Close()
			}
			continue
		}
		if err != nil {
			if f != nil {
				_ = f.Close()
			}
			return 0, 0, err
		}
		list(ctx, f, t.guise, func(fi fs.FileInfo, lerr error) bool {
			if err = lerr; err != nil {
				return false
			}
			if fi.IsDir() {
				dirs = append(dirs, strings.Clone(fi.Name()))
			} else if i, ok := fi.(*info); ok {
				count(i)
			}
			return true
		})
		_ = f.Close()
		if err != nil {
			return 0, 0, err
		}
		left.below(rel, dirs)
	}
	return files, sizeBytes, nil
}

// partials counts the idle partials in a directory, of the owner with that hash. It
// runs as the owner of the tree.
func (t *Tree) partials(rel, owner string, count func(*info)) error {
	d, err := t.jail.dir(rel)
	if err != nil {
		return err
	}
	defer d.close()
	names, _, err := d.(lister).names()
	if err != nil {
		return err
	}
	for _, name := range names {
		if k := parseHidden(name); k.owner != owner || !k.idle() {
			continue
		}
		if i, err := d.lstat(name); err == nil {
			count(i)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
