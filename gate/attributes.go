package gate

import (
	"context"
	"io/fs"
	"math"
	"strings"
	"time"

	"dray/account"
	"dray/fault"
	"dray/vfs"
)

// Available is how many bytes more the account may store in a directory that it
// may list: the lesser of the room in the tree and what is left of the quota.
// Kind NotBuilt when neither is known.
func (s *Session) Available(ctx context.Context, dir vfs.Path) (sizeBytes int64, err error) {
	if err := s.may(account.List, "list", dir); err != nil {
		return 0, err
	}
	fi, err := s.Finished(ctx, dir)
	switch {
	case err != nil:
		return 0, err
	case !fi.IsDir():
		return 0, fault.New(fault.NotDir, fault.IDNotDir, dir.String())
	}
	least := int64(-1)
	if sp, ok := s.fs.(vfs.Spacer); ok {
		if free, _, err := sp.Space(ctx, dir); err == nil {
			least = int64(min(free, math.MaxInt64))
		}
	}
	if s.gate.Ledger != nil && s.account.MaxBytes > 0 {
		_, used, err := s.gate.Ledger.Usage(ctx, s.account.Name)
		if err != nil {
			return 0, s.fail(err, "look at", dir)
		}
		if left := max(s.account.MaxBytes-used, 0); least < 0 || left < least {
			least = left
		}
	}
	if least < 0 {
		return 0, fault.New(fault.NotBuilt, fault.IDNotBuilt, "this tree does not tell how much room it has")
	}
	return least, nil
}

// Chmodable tells whether the account may set permission bits at p, whether or
// not there is something of that name. Kind NotBuilt where the tree has none.
func (s *Session) Chmodable(_ context.Context, p vfs.Path) error {
	if err := s.may(account.Attributes, "set the mode of", p); err != nil {
		return err
	}
	if _, ok := s.fs.(vfs.Moder); !ok {
		return fault.New(fault.NotBuilt, fault.IDNotBuilt, "this tree has no permission bits")
	}
	return nil
}

// MkdirMode makes one directory with these permission bits, which takes the
// right to set them too. When they can't be set, the directory is not made.
func (s *Session) MkdirMode(ctx context.Context, p vfs.Path, mode fs.FileMode) error {
	if err := s.may(account.MakeDir, "make the directory", p); err != nil {
		return err
	}
	if err := s.Chmodable(ctx, p); err != nil {
		return err
	}
	if err := s.fs.Mkdir(ctx, p); err != nil {
		return s.fail(err, "make the directory", p)
	}
	if err := s.fs.(vfs.Moder).Chmod(ctx, p, mode.Perm()); err != nil {
		_ = s.fs.RemoveDir(context.WithoutCancel(ctx), p)
		return s.fail(err, "set the mode of", p)
	}
	return s.changed("mkdir", p, nil)
}

// Symlink makes a symbolic link p that leads to target: an absolute path of the
// tree, which the link will hold as a relative one, or a path relative to the
// directory of p, which is kept as it is (see vfs.Path.CheckTarget). Nothing need
// be there. Kind NotBuilt where the tree has no links.
func (s *Session) Symlink(ctx context.Context, target string, p vfs.Path) error {
	if err := s.mayName(account.Link, "make the link", p); err != nil {
		return err
	}
	links, ok := s.fs.(vfs.Symlinker)
	switch {
	case !ok:
		return fault.New(fault.NotBuilt, fault.IDNotBuilt, "this tree has no symbolic links")
	case p.IsRoot():
		return fault.New(fault.Exists, fault.IDExists, p.String())
	}
	if strings.HasPrefix(target, "/") {
		at, err := vfs.Resolve(vfs.Root, target)
		if err != nil {
			return err
		}
		target = relative(p.Dir(), at)
	}
	return s.changedTo("symlink", p, target, s.fail(links.Symlink(ctx, target, p), "make the link", p))
}

// Hardlink gives a finished file another name, which takes the right to make links
// and to read what is there. Where rights differ from path to path nothing is linked:
// the new name would have other rights to the same bytes.
func (s *Session) Hardlink(ctx context.Context, old, p vfs.Path) error {
	if err := s.mayName(account.Link, "make the link", p); err != nil {
		return err
	}
	if err := s.may(account.Read, "make a link to", old); err != nil {
		return err
	}
	if more := s.rightsOfName(p) &^ s.rightsOfName(old); more&(account.List|account.Read|account.Overwrite|account.Attributes) != 0 {
		return fault.New(fault.Denied, fault.IDPerm, "make a link to "+old.String()+" where it has more rights")
	}
	links, ok := s.fs.(vfs.HardLinker)
	if !ok {
		return fault.New(fault.NotBuilt, fault.IDNotBuilt, "this tree has no hard links")
	}
	err := links.Hardlink(ctx, old, p)
	at := p
	if fault.KindOf(err) == fault.NotFound && err != nil {
		if _, lerr := s.fs.Lstat(ctx, old); lerr != nil {
			at = old
		}
	}
	return s.changedTo("hardlink", old, p.String(), s.fail(err, "make the link", at))
}

// SetLinkTime sets the modification time of a link itself.
func (s *Session) SetLinkTime(ctx context.Context, p vfs.Path, mtime time.Time) error {
	if err := s.mayName(account.Attributes, "set the time of", p); err != nil {
		return err
	}
	l, ok := s.fs.(vfs.LinkTimer)
	if !ok {
		return fault.New(fault.NotBuilt, fault.IDNotBuilt, "links of this tree have no times")
	}
	return s.changed("set time", p, s.fail(l.SetLinkTime(ctx, p, mtime), "set the time of", p))
}

// depth is how many directories p is below the root.
func depth(p vfs.Path) int {
	if p.IsRoot() {
		return 0
	}
	return strings.Count(p.String(), "/")
}

// relative is the way from a directory to a path.
func relative(from, to vfs.Path) string {
	common := from
	for !to.Under(common) {
		common = common.Dir()
	}
	way := strings.Repeat("../", depth(from)-depth(common))
	if to != common {
		way += strings.TrimPrefix(strings.TrimPrefix(to.String(), strings.TrimSuffix(common.String(), "/")), "/")
	}
	if way == "" {
		return "."
	}
	return strings.TrimSuffix(way, "/")
}
