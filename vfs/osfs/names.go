package osfs

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"iter"
	"os"
	"strings"
	"syscall"

	"dray/vfs"
)

// The hidden name of a partial is a hash. Of uploads with Create.Listed the name
// itself is kept too: as an extended attribute of the hidden file, and where that
// can't be, in a note beside it. Either counts only when the hash is that of the
// name, so neither can be out of date, and others who write into the tree can't
// forge one for a partial.

// nameAttr is the extended attribute. A finished file has none, but for one that
// was published as the machine went down, where it means nothing.
const nameAttr = "user.dray.name"

// nameNote is the name of the note that tells the name of a partial. While the
// upload runs it has the same.
func nameNote(partial string) string { return partial + ".name" }

// keepName keeps the name of a listed upload with its hidden file. That fails in
// silence: a partial without it is only not listed. It runs as the owner.
func (u *upload) keepName() {
	if u.how.Listed && u.how.Owner != "" {
		u.disk.setName(u.dir, u.name, u.how.Owner, u.f)
	}
}

// loseName takes the attribute off a file that is published.
func (u *upload) loseName() {
	if (u.how.Listed || u.how.How == vfs.Resume) && u.how.Owner != "" {
		_ = u.as(func() error { return removeAttr(u.f, nameAttr) })
	}
}

func (d *Disk) setName(dir handle, name, owner string, f *os.File) {
	if d.notes || setAttr(f, nameAttr, []byte(name)) != nil {
		d.noteName(dir, name, owner)
	}
}

func (d *Disk) noteName(dir handle, name, owner string) {
	// Made anew: what has that name may be somebody else's, and another name of a
	// file that must not be written to.
	at := nameNote(partialName(name, owner))
	_ = dir.unlink(at)
	note, err := dir.open(at, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return
	}
	_, _ = note.WriteString(name)
	_ = note.Close()
}

// nameOf is the name whose hash is in the hidden name of owner's partial; false
// when nobody has kept it. f is the partial, open for reading; nil when it can't
// be read. It runs as the owner of the tree.
func (d *Disk) nameOf(dir handle, partial, owner string, f *os.File) (name string, known bool) {
	right := func(b []byte) bool {
		name = string(b)
		return len(b) > 0 && len(b) <= vfs.MaxName && name != "." && name != ".." && !strings.ContainsAny(name, "/\x00") &&
			!hidden(name) && partialName(name, owner) == partial
	}
	if f != nil && !d.notes {
		if b, err := getAttr(f, nameAttr); err == nil && right(b) {
			return name, true
		}
	}
	note, err := dir.open(nameNote(partial), os.O_RDONLY|openNonblock, 0)
	if err != nil {
		return "", false
	}
	defer note.Close()
	b, err := io.ReadAll(io.LimitReader(note, vfs.MaxName+1))
	if err != nil || !right(b) {
		return "", false
	}
	return name, true
}

// knownName is nameOf for a partial that is not open.
func (d *Disk) knownName(dir handle, partial, owner string) (name string, known bool) {
	f, err := dir.open(partial, os.O_RDONLY|openNonblock, 0)
	if err != nil {
		return d.nameOf(dir, partial, owner, nil)
	}
	defer f.Close()
	return d.nameOf(dir, partial, owner, f)
}

// Names yields owner's idle partials in a directory whose names are known.
func (t *Tree) Names(ctx context.Context, dir vfs.Path, owner string) iter.Seq2[fs.FileInfo, error] {
	return func(yield func(fs.FileInfo, error) bool) {
		if err := context.Cause(ctx); err != nil {
			yield(nil, err)
			return
		}
		if owner == "" {
			return
		}
		var found []*info
		err := t.as(func() (err error) {
			found, err = t.named(ctx, dir, owner)
			return err
		})
		for _, i := range found {
			if !yield(i, nil) {
				return
			}
		}
		if err != nil {
			yield(nil, err)
		}
	}
}

// named runs as the owner of the tree.
func (t *Tree) named(ctx context.Context, dir vfs.Path, owner string) (found []*info, err error) {
	d, err := t.jail.dir(dir.Rel())
	if err != nil {
		return nil, err
	}
	defer d.close()
	names, _, err := d.(lister).names()
	if err != nil {
		return nil, err
	}
	for _, partial := range names {
		if err := context.Cause(ctx); err != nil {
			return found, err
		}
		k := parseHidden(partial)
		if k.owner != ownerHash(owner) || !k.idle() {
			continue
		}
		i, err := d.lstat(partial)
		if errors.Is(err, fs.ErrNotExist) || err == nil && !i.mode.IsRegular() {
			continue
		}
		if err != nil {
			return found, err
		}
		if name, known := t.disk.knownName(d, partial, owner); known {
			i.name = name
			found = append(found, i)
		}
	}
	return found, nil
}

// A reading is a partial that is open, under the name of its file.
type reading struct {
	file
	name string
}

func (r *reading) Stat() (fs.FileInfo, error) {
	i, err := fstat(r.File)
	if err != nil {
		return nil, err
	}
	i.name = r.name
	return i, nil
}

// OpenPartial opens owner's partial of p. Its time of access stays as it is where
// that may be: see keptTime.
func (t *Tree) OpenPartial(ctx context.Context, p vfs.Path, owner string) (vfs.File, error) {
	var f *os.File
	err := t.kept(ctx, p, owner, func(d handle, name string) (err error) {
		f, err = d.open(name, os.O_RDONLY|openNonblock|openNoAtime, 0)
		if errors.Is(err, syscall.EPERM) { // not the owner of the file
			f, err = d.open(name, os.O_RDONLY|openNonblock, 0)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return &reading{file{File: f}, p.Base()}, nil
}
