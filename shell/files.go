package shell

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"

	"dray/account"
	"dray/fault"
	"dray/ftp"
	"dray/mirror"
	"dray/remote"
	"dray/screen"
)

func secret(s string) account.Secret { return account.NewSecret(s) }

func (c *call) rm() error {
	force := c.has("force")
	for _, w := range c.args {
		p := c.place.resolve(w.Text)
		if base := path.Base(w.Text); base == "." || base == ".." || p == "" || p == "/" || p == c.place.conn.home {
			return misuse("%s is where everything is, and is not removed\nname what is in it", screen.Line(w.Text))
		}
	}
	for _, w := range c.args {
		all, err := c.expand(w)
		if err != nil {
			if !force || !errors.Is(err, fs.ErrNotExist) {
				c.fail(c.url(c.place.resolve(w.Text)), err)
			}
			continue
		}
		for _, f := range all {
			if c.ctx.Err() != nil {
				return nil
			}
			c.remove(f, force)
		}
	}
	return nil
}

func (c *call) remove(f found, force bool) {
	e := f.entry
	if e == nil || !e.Is(knownType) {
		seen, err := c.look(c.ctx, f.path)
		if err != nil {
			if !force || !errors.Is(err, fs.ErrNotExist) {
				c.fail(c.url(f.path), err)
			}
			return
		}
		e = &seen
	}
	switch {
	case !e.Mode.IsDir():
		c.did(f.path, c.tree().Remove(c.ctx, at(f.path)))
	case !c.has("recursive"):
		c.fail(c.url(f.path), &fault.Error{Kind: fault.IsDir, ID: fault.IDIsDir, Facts: []any{c.url(f.path)}, Do: []string{"rm -r removes it with all that is in it, rmdir an empty one"}})
	default:
		c.removeDir(f.path, 0)
	}
}

// did notes the failure of one change, and tells whether there was none.
func (c *call) did(p string, err error) bool {
	if err != nil {
		c.fail(c.url(p), err)
	}
	return err == nil
}

// removeDir removes a directory with all that is in it. A link in it is removed, and
// not what it leads to.
func (c *call) removeDir(p string, depth int) bool {
	if depth > maxDeep {
		return c.did(p, fault.New(fault.BadName, fault.IDBadName, c.url(p)))
	}
	var entries []remote.Entry
	for e, err := range c.tree().List(c.ctx, at(p)) {
		if err != nil {
			return c.did(p, err)
		}
		entries = append(entries, e)
	}
	whole := true
	for i := range entries {
		e := &entries[i]
		if c.ctx.Err() != nil {
			return false
		}
		sub := remote.Join(p, e.Name)
		switch {
		case e.Name == "" || e.Name == "." || e.Name == ".." || strings.Contains(e.Name, "/"): // a server that names its way out
			whole = c.did(p, fault.New(fault.BadName, fault.IDUnsafeName, fmt.Sprintf("%q", e.Name)))
		case !e.Is(knownType):
			there, err := c.look(c.ctx, sub)
			if err == nil && there.Mode.IsDir() {
				whole = c.removeDir(sub, depth+1) && whole
			} else {
				whole = c.did(sub, c.tree().Remove(c.ctx, sub)) && whole
			}
		case e.Mode.IsDir():
			whole = c.removeDir(sub, depth+1) && whole
		default:
			whole = c.did(sub, c.tree().Remove(c.ctx, sub)) && whole
		}
	}
	return whole && c.did(p, c.tree().RemoveDir(c.ctx, at(p)))
}

func (c *call) mv() error {
	last := c.args[len(c.args)-1]
	to, err := c.expand(last)
	if err != nil {
		return err
	}
	if len(to) != 1 {
		return misuse("%s has to be one name", screen.Line(last.Text))
	}
	from := c.remote(c.args[:len(c.args)-1])
	into := to[0].slash || c.statDir(c.ctx, to[0].path)
	if !into && len(from) > 1 {
		return fault.New(fault.NotDir, fault.IDNotDir, c.url(to[0].path))
	}
	for _, f := range from {
		target := to[0].path
		if into {
			target = remote.Join(target, remote.Base(f.path))
		}
		c.did(f.path, c.tree().Rename(c.ctx, at(f.path), at(target)))
	}
	return nil
}

func (c *call) mkdir() error {
	for _, w := range c.args {
		p := c.place.resolve(w.Text)
		if !c.has("parents") {
			c.did(p, c.tree().Mkdir(c.ctx, at(p)))
			continue
		}
		c.did(p, c.mkdirAll(p))
	}
	return nil
}

func (c *call) mkdirAll(p string) error {
	dir := ""
	if strings.HasPrefix(p, "/") {
		dir = "/"
	}
	for part := range strings.SplitSeq(strings.Trim(p, "/"), "/") {
		if dir = remote.Join(dir, part); c.statDir(c.ctx, dir) {
			continue
		}
		if err := c.tree().Mkdir(c.ctx, dir); err != nil && !c.statDir(c.ctx, dir) {
			return err
		}
	}
	return nil
}

func (c *call) lmkdir() error {
	for _, w := range c.args {
		name, err := c.set.here(w.Text), error(nil)
		if c.has("parents") {
			err = os.MkdirAll(name, 0o777)
		} else {
			err = os.Mkdir(name, 0o777)
		}
		if err != nil {
			c.fail(name, mirror.LocalError(name, err))
		}
	}
	return nil
}

func (c *call) rmdir() error {
	for _, f := range c.remote(c.args) {
		c.did(f.path, c.tree().RemoveDir(c.ctx, at(f.path)))
	}
	return nil
}

func (c *call) chmod() error {
	mode, err := ftp.ParseMode(c.args[0].Text)
	if err != nil || mode > 0o777 {
		return misuse("%q is no mode; write octal digits, as 644", screen.Line(c.args[0].Text))
	}
	for _, f := range c.remote(c.args[1:]) {
		c.did(f.path, c.tree().Chmod(c.ctx, at(f.path), fs.FileMode(mode)))
	}
	return nil
}

func (c *call) ln() error {
	p := c.place.resolve(c.args[1].Text)
	if c.statDir(c.ctx, p) {
		p = remote.Join(p, remote.Base(c.args[0].Text))
	}
	c.did(p, c.tree().Symlink(c.ctx, c.args[0].Text, p))
	return nil
}

// A Quoter is a tree that sends a command as it is, and returns the server's answer.
type Quoter interface {
	Quote(ctx context.Context, line string) (text string, err error)
}

func (c *call) quote() error {
	q, ok := c.tree().(Quoter)
	if !ok {
		return &fault.Error{Kind: fault.Unsupported, ID: fault.IDUnsupported, Facts: []any{"commands as they are"}, Do: []string{"quote and site work over FTP only"}}
	}
	var words []string
	if c.verb.name == "site" {
		words = append(words, "SITE")
	}
	for _, w := range c.args {
		words = append(words, w.Text)
	}
	text, err := q.Quote(c.ctx, strings.Join(words, " "))
	for line := range strings.Lines(text) {
		fmt.Fprintln(c.out, c.shown(strings.TrimRight(line, "\r\n")))
	}
	return err
}
