package osfs

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"dray/fault"
	"dray/vfs"
)

// partial opens the directory where owner's partial of p is and looks at it. It
// runs as the owner of the tree.
func (t *Tree) partial(ctx context.Context, p vfs.Path, owner string) (handle, string, *info, error) {
	none := fault.New(fault.NotFound, fault.IDNotFound, p.String())
	if owner == "" || p.IsRoot() {
		return nil, "", nil, none
	}
	d, name, _, err := t.locate(ctx, p)
	if err != nil {
		return nil, "", nil, err
	}
	hiddenName := partialName(name, owner)
	i, err := d.lstat(hiddenName)
	if err != nil || !i.mode.IsRegular() {
		_ = d.close()
		return nil, "", nil, none
	}
	i.name = p.Base()
	return d, hiddenName, i, nil
}

// Partial tells about owner's cut upload to p.
func (t *Tree) Partial(ctx context.Context, p vfs.Path, owner string) (fs.FileInfo, error) {
	var found *info
	err := t.as(func() error {
		d, _, i, err := t.partial(ctx, p, owner)
		if err != nil {
			return err
		}
		found = i
		return d.close()
	})
	if err != nil {
		return nil, err
	}
	return found, nil
}

// kept runs op as the owner of the tree, with the directory and the hidden name of
// owner's partial of p.
func (t *Tree) kept(ctx context.Context, p vfs.Path, owner string, op func(d handle, name string) error) error {
	return t.at(ctx, p, func(ctx context.Context, p vfs.Path) (handle, string, error) {
		d, name, _, err := t.partial(ctx, p, owner)
		return d, name, err
	}, op)
}

// Forget removes it.
func (t *Tree) Forget(ctx context.Context, p vfs.Path, owner string) error {
	err := t.kept(ctx, p, owner, unlinkPartial)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// unlinkPartial removes a partial, and the note with its name.
func unlinkPartial(d handle, name string) error {
	err := d.unlink(name)
	if err == nil {
		_ = d.unlink(nameNote(name))
	}
	return err
}

// MovePartial gives it another name, in another directory if need be. Where its
// name was known, the new one is.
func (t *Tree) MovePartial(ctx context.Context, from, to vfs.Path, owner string) error {
	return t.kept(ctx, from, owner, func(d handle, name string) error {
		into, base, old, err := t.locate(ctx, to)
		if err != nil {
			return err
		}
		defer into.close()
		if old != nil { // a finished file of that name would hide it
			return fault.New(fault.Exists, fault.IDExists, to.String())
		}
		_, known := t.disk.knownName(d, name, owner)
		toName := partialName(base, owner)
		if d.id() == into.id() {
			err = d.rename(name, toName, vfs.Overwrite)
		} else {
			dir := func(p vfs.Path) string { return p.Dir().Rel() + "/" }
			err = t.jail.rename(dir(from)+name, dir(to)+toName, vfs.Overwrite)
		}
		if err != nil || d.id() == into.id() && name == toName {
			return err
		}
		_ = d.unlink(nameNote(name))
		if known {
			t.disk.renamed(into, toName, base, owner)
		}
		return nil
	})
}

// renamed keeps the new name of a partial.
func (d *Disk) renamed(dir handle, partial, name, owner string) {
	f, err := dir.open(partial, os.O_RDWR|openNonblock, 0)
	if err != nil { // its mode forbids it
		d.noteName(dir, name, owner)
		return
	}
	defer f.Close()
	d.setName(dir, name, owner, f)
}

// SetPartialTime sets access and modification time alike: see keptTime.
func (t *Tree) SetPartialTime(ctx context.Context, p vfs.Path, owner string, mtime time.Time) error {
	return t.kept(ctx, p, owner, func(d handle, name string) error { return d.chtimes(name, mtime, mtime) })
}

// ChmodPartial sets the nine permission bits.
func (t *Tree) ChmodPartial(ctx context.Context, p vfs.Path, owner string, mode fs.FileMode) error {
	return t.kept(ctx, p, owner, func(d handle, name string) error {
		if mode&0o400 == 0 { // its attributes can't be read any more
			if base, known := t.disk.knownName(d, name, owner); known {
				t.disk.noteName(d, base, owner)
			}
		}
		return d.chmod(name, mode.Perm())
	})
}

// Clear removes the idle partials of owner in a directory.
func (t *Tree) Clear(ctx context.Context, dir vfs.Path, owner string, freed func(sizeBytes int64)) error {
	if owner == "" {
		return nil
	}
	var gone gone
	err := t.as(func() error { return t.clear(ctx, dir, owner, &gone) })
	gone.tell(freed)
	return err
}

// A gone is what was removed and what is to be logged, until the identity is the
// server's again.
type gone struct {
	sizes []int64
	lines []func()
}

func (g *gone) freed(sizeBytes int64) { g.sizes = append(g.sizes, sizeBytes) }

func (g *gone) tell(freed func(sizeBytes int64)) {
	for _, size := range g.sizes {
		freed(size)
	}
	for _, log := range g.lines {
		log()
	}
}

func (t *Tree) clear(ctx context.Context, dir vfs.Path, owner string, gone *gone) error {
	d, err := t.jail.dir(dir.Rel())
	if err != nil {
		return err
	}
	defer d.close()
	names, _, err := d.(lister).names()
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		k := parseHidden(name)
		if k.owner == ownerHash(owner) && k.isName {
			_ = d.unlink(name)
			continue
		}
		if k.owner != ownerHash(owner) || !k.idle() {
			continue
		}
		i, err := d.lstat(name)
		if err == nil {
			err = d.unlink(name)
		}
		if err == nil {
			gone.freed(i.size)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

type lister interface {
	names() (hiddenNames, dirs []string, err error)
}

// A hiddenName is a name of ours, taken apart.
type hiddenName struct {
	owner   string // "" when it is none of ours
	partial string // its form without number
	number  string
	isNote  bool // about an append
	isName  bool // the note with the name of a partial
}

// idle tells whether it is a partial.
func (k hiddenName) idle() bool { return k.number == "" && !k.isName }

// parseHidden is the zero hiddenName for a name that none of ours has the form of.
func parseHidden(name string) hiddenName {
	rest, ok := strings.CutPrefix(name, vfs.Hidden)
	if !ok || len(rest) < ownerDigits+1+nameDigits || rest[ownerDigits] != '-' {
		return hiddenName{}
	}
	k := hiddenName{owner: rest[:ownerDigits], partial: name[:len(vfs.Hidden)+ownerDigits+1+nameDigits]}
	if !hexDigits(rest[ownerDigits+1:ownerDigits+1+nameDigits]) || k.owner != noOwner && !hexDigits(k.owner) {
		return hiddenName{}
	}
	tail := rest[ownerDigits+1+nameDigits:]
	switch tail {
	case "":
		return k
	case nameNote(""):
		k.isName = true
		return k
	}
	k.number, ok = strings.CutPrefix(tail, ".")
	k.number, k.isNote = strings.CutPrefix(k.number, "n")
	if !ok || !hexDigits(k.number) {
		return hiddenName{}
	}
	return k
}

func hexDigits(s string) bool { return s != "" && strings.Trim(s, "0123456789abcdef") == "" }

// Sweep walks the whole tree; see vfs.Partials. What it can't read it passes
// over and reports at the end, joined.
func (t *Tree) Sweep(ctx context.Context, before time.Time, freed func(sizeBytes int64)) error {
	var problems []error
	left := newTodo()
	for rel, ok := left.next(); ok; rel, ok = left.next() {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		var gone gone
		err := t.as(func() error {
			d, err := t.jail.dir(rel)
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil {
				return err
			}
			defer d.close()
			names, dirs, err := d.(lister).names()
			if err != nil {
				problems = append(problems, err)
			}
			for _, name := range names {
				if err := t.sweep(d, name, names, before, &gone); err != nil && !errors.Is(err, fs.ErrNotExist) {
					problems = append(problems, err)
				}
			}
			left.below(rel, dirs)
			return nil
		})
		if err != nil {
			problems = append(problems, err)
		}
		gone.tell(freed)
		if len(problems) > 20 {
			problems = problems[:20]
		}
	}
	return errors.Join(problems...)
}

// sweep looks at one hidden name; beside are all of its directory.
func (t *Tree) sweep(dir handle, name string, beside []string, before time.Time, gone *gone) error {
	k := parseHidden(name)
	if k.owner == "" {
		return nil // not ours
	}
	i, err := dir.lstat(name)
	if err != nil || !i.mode.IsRegular() {
		return err
	}
	age := i.ctime // mtime may have been set
	if age.IsZero() {
		age = i.mtime
	}
	if k.isName {
		// It goes with its partial. One that is alone was left behind, unless it is
		// young: what it tells about may have come since the directory was read.
		alone := !slices.ContainsFunc(beside, func(other string) bool { return other != name && strings.HasPrefix(other, k.partial) })
		if !alone || !age.Before(before) {
			return nil
		}
		return dir.unlink(name)
	}
	if k.number == "" {
		if !age.Before(before) {
			return nil
		}
		if err := unlinkPartial(dir, name); err != nil {
			return err
		}
		gone.freed(i.size)
		return nil
	}
	f, err := dir.open(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if free, known := tryLockFile(f); !free && (known || !age.Before(before)) {
		return nil // it lives
	}
	opened, err := fstat(f)
	if err != nil {
		return err
	}
	if i, err = dir.lstat(name); err != nil || i.id() != opened.id() {
		return err // it was published between the opening and the lock
	}
	if k.isNote {
		gone.lines = append(gone.lines, t.disk.takeBack(dir, f, t.guise))
		return dir.unlink(name)
	}
	// Its pieces may have come in any order: behind a gap nothing counts.
	keep := solid(f, i.size) - vfs.CutTail
	switch {
	case k.owner == noOwner || keep <= 0: // whether a finished file has the name, the hash does not say
		if err := dir.unlink(name); err != nil {
			return err
		}
		gone.freed(i.size)
		if k.owner == noOwner {
			return nil
		}
		older, err := dir.lstat(k.partial)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			_ = dir.unlink(nameNote(k.partial))
		case err == nil && i.size > 0 && unlinkPartial(dir, k.partial) == nil:
			gone.freed(older.size) // as Cut has it: what came may have been another file
		}
		return nil
	}
	if err := f.Truncate(keep); err != nil {
		return err
	}
	gone.freed(i.size - keep)
	return dir.rename(name, k.partial, vfs.Overwrite)
}

// takeBack ends an append whose process died: the file gets its old length. It
// runs as the owner, and returns what is to be logged about it later.
func (d *Disk) takeBack(dir handle, f *os.File, g *guise) (log func()) {
	log = func() {}
	var n note
	b, err := io.ReadAll(io.LimitReader(f, 8<<10))
	if err != nil || json.Unmarshal(b, &n) != nil {
		return log // cut while it was written: before the first byte of the append
	}
	// Others may write into the tree. A note counts that this user wrote, about a
	// file beside it.
	if i, err := fstat(f); err != nil || !g.owns(i) || n.Size < 0 || noteName(string(n.Name)) != path.Base(f.Name()) || strings.Contains(string(n.Name), "/") {
		return func() {
			d.log.Warn("a note of an append that is not ours is removed unread", "name", f.Name())
		}
	}
	target, err := dir.open(string(n.Name), os.O_RDWR|openNonblock, 0)
	if err != nil {
		return log
	}
	defer target.Close()
	i, err := fstat(target)
	if err != nil || !i.mode.IsRegular() || i.attr.Dev != n.Dev || i.attr.Ino != n.Ino || i.size <= n.Size {
		return log
	}
	if err := target.Truncate(n.Size); err != nil {
		return func() { d.log.Error("a cut append can't be taken back", "error", err) }
	}
	return func() { d.log.Warn("a cut append was taken back", "bytes", i.size-n.Size) }
}
