package shell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"dray/fault"
	"dray/mirror"
	"dray/remote"
	"dray/screen"
	"dray/transfer"
)

func (c *call) ls() error {
	if len(c.args) == 0 {
		return c.listDir(c.place.cwd)
	}
	all := c.remote(c.args)
	var plain []remote.Entry
	var dirs []found
	for _, f := range all {
		e := f.entry
		if e == nil || !e.Is(knownType) || e.Mode.Type() == fs.ModeSymlink && !c.long() {
			there, err := c.tree().Stat(c.ctx, at(f.path))
			if err != nil && (f.entry != nil || fault.KindOf(err) != fault.Unsupported) {
				if f.entry == nil {
					c.fail(c.url(f.path), err)
					continue
				}
				there = *f.entry // a link that leads nowhere
			}
			if err == nil || f.entry != nil {
				e = &there
			}
		}
		if e == nil || e.Mode.IsDir() && !c.has("directory") {
			dirs = append(dirs, f)
			continue
		}
		one := *e
		one.Name = c.relative(f.path)
		plain = append(plain, one)
	}
	if len(plain) > 0 {
		c.show(plain)
	}
	for i, d := range dirs {
		if len(all) > 1 {
			if i > 0 || len(plain) > 0 {
				fmt.Fprintln(c.out)
			}
			fmt.Fprintf(c.out, "%s:\n", c.shown(c.relative(d.path)))
		}
		if err := c.listDir(d.path); err != nil {
			c.fail(c.url(d.path), err)
		}
	}
	return nil
}

// relative is a path as somebody in the directory of the call would write it.
func (c *call) relative(p string) string {
	if p == c.place.cwd {
		return "."
	}
	if rel, ok := strings.CutPrefix(p, strings.TrimSuffix(c.place.cwd, "/")+"/"); ok && c.place.cwd != "" {
		return rel
	}
	return p
}

func (c *call) listDir(dir string) error {
	if c.has("directory") {
		e, err := c.tree().Stat(c.ctx, at(dir))
		if err != nil {
			return err
		}
		e.Name = c.relative(dir)
		c.show([]remote.Entry{e})
		return nil
	}
	var entries []remote.Entry
	var failed error
	for e, err := range c.tree().List(c.ctx, at(dir)) {
		if err != nil {
			failed = err
			break
		}
		if c.has("all") || !strings.HasPrefix(e.Name, ".") {
			entries = append(entries, e)
		}
	}
	c.show(entries)
	return failed
}

func (c *call) long() bool { return c.has("long") || c.verb.name == "ll" }

// show writes entries as ls does.
func (c *call) show(entries []remote.Entry) {
	l := screen.Listing{
		Terminal: c.sh.opt.Terminal, Width: c.sh.width(), Single: c.has("one"), Long: c.long(), Human: c.has("human-readable") || c.sh.opt.Terminal,
		ByTime: c.has("by-time"), BySize: c.has("by-size"), Reverse: c.has("reverse"),
	}
	l.Sort(entries)
	l.Write(c.out, entries)
}

func (c *call) lls() error {
	var names []string
	if len(c.args) == 0 {
		names = []string{c.set.here(".")}
	} else {
		var err error
		if names, err = c.files(c.args); err != nil {
			return err
		}
	}
	var plain []remote.Entry
	var dirs []string
	for _, name := range names {
		fi, err := os.Stat(name)
		switch {
		case err != nil:
			c.fail(name, mirror.LocalError(name, err))
		case fi.IsDir() && !c.has("directory"):
			dirs = append(dirs, name)
		default:
			plain = append(plain, mirror.LocalEntry(name, fi))
		}
	}
	if len(plain) > 0 {
		c.show(plain)
	}
	for i, dir := range dirs {
		if len(names) > 1 {
			if i > 0 || len(plain) > 0 {
				fmt.Fprintln(c.out)
			}
			fmt.Fprintf(c.out, "%s:\n", c.shown(dir))
		}
		entries, err := os.ReadDir(dir)
		if err != nil {
			c.fail(dir, mirror.LocalError(dir, err))
		}
		var inside []remote.Entry
		for _, e := range entries {
			if fi, err := e.Info(); err == nil && (c.has("all") || e.Name()[0] != '.') {
				inside = append(inside, mirror.LocalEntry(e.Name(), fi))
			}
		}
		c.show(inside)
	}
	return nil
}

func (c *call) stat() error {
	for _, f := range c.remote(c.args) {
		e, err := c.tree().Stat(c.ctx, at(f.path))
		if err != nil {
			c.fail(c.url(f.path), err)
			continue
		}
		screen.Facts(c.out, c.url(f.path), &e)
	}
	return nil
}

// walkable tells whether an entry is a directory that may be walked.
func walkable(e *remote.Entry) bool {
	return e.Mode.IsDir() && e.Name != "" && e.Name != "." && e.Name != ".." && !strings.Contains(e.Name, "/")
}

func (c *call) du() error {
	args := c.args
	if len(args) == 0 {
		args = []Word{{Text: "."}}
	}
	for _, f := range c.remote(args) {
		e, err := c.tree().Stat(c.ctx, at(f.path))
		if err == nil && !e.Mode.IsDir() {
			c.usage(e.Size, f.path)
			continue
		}
		if _, err := c.duDir(f.path, 0); err != nil {
			c.fail(c.url(f.path), err)
		}
	}
	return nil
}

func (c *call) usage(n int64, p string) {
	size := screen.Size(n)
	if c.has("bytes") {
		size = strconv.FormatInt(n, 10)
	}
	fmt.Fprintf(c.out, "%10s  %s\n", size, c.shown(c.relative(p)))
}

// duDir adds up a directory. One below it that can't be listed is a failure, and what is
// known of it counts.
func (c *call) duDir(dir string, depth int) (int64, error) {
	if depth > maxDeep {
		return 0, fault.New(fault.BadName, fault.IDBadName, c.url(dir))
	}
	var sum int64
	var subs []string
	for e, err := range c.tree().List(c.ctx, at(dir)) {
		switch {
		case err != nil:
			return sum, err
		case walkable(&e):
			subs = append(subs, remote.Join(dir, e.Name))
		case e.Is(knownSize) && e.Mode.Type() == 0:
			sum += e.Size
		}
	}
	for _, sub := range subs {
		n, err := c.duDir(sub, depth+1)
		sum += n
		if c.ctx.Err() != nil {
			return sum, err
		}
		if err != nil {
			c.fail(c.url(sub), err)
		}
	}
	if depth == 0 || !c.has("summarize") {
		c.usage(sum, dir)
	}
	return sum, nil
}

func (c *call) df() error {
	dir := c.place.cwd
	if len(c.args) > 0 {
		dir = c.place.resolve(c.args[0].Text)
	}
	free, total, err := c.tree().Space(c.ctx, at(dir))
	if err != nil {
		return Failures{{c.url(dir), err}}
	}
	fmt.Fprintln(c.out, screen.Room(free, total, screen.Size))
	return nil
}

func (c *call) find() error {
	kind, depth := c.value("type"), maxDeep
	if kind != "" && kind != "f" && kind != "d" && kind != "l" {
		return misuse("-t of find is f, d or l, not %q", screen.Line(kind))
	}
	if d := c.value("maxdepth"); d != "" {
		n, err := strconv.Atoi(d)
		if err != nil || n < 0 {
			return misuse("-d of find is a number, not %q", screen.Line(d))
		}
		depth = min(n, maxDeep)
	}
	pattern := c.value("name")
	if _, err := path.Match(pattern, ""); err != nil {
		return misuse("%q is no pattern: a [ without its ]", screen.Line(pattern))
	}
	wanted := func(e *remote.Entry) bool {
		if ok, _ := path.Match(pattern, e.Name); pattern != "" && !ok {
			return false
		}
		switch kind {
		case "f":
			return e.Mode.Type() == 0
		case "d":
			return e.Mode.IsDir()
		case "l":
			return e.Mode.Type() == fs.ModeSymlink
		}
		return true
	}
	args := c.args
	if len(args) == 0 {
		args = []Word{{Text: "."}}
	}
	for _, f := range c.remote(args) {
		if err := c.findIn(f.path, 0, depth, wanted); err != nil {
			c.fail(c.url(f.path), err)
		}
	}
	return nil
}

func (c *call) findIn(dir string, level, depth int, wanted func(*remote.Entry) bool) error {
	if level >= depth {
		return nil
	}
	var subs []string
	for e, err := range c.tree().List(c.ctx, at(dir)) {
		if err != nil {
			return err
		}
		p := remote.Join(dir, e.Name)
		if wanted(&e) {
			fmt.Fprintln(c.out, c.shown(c.relative(p)))
		}
		if walkable(&e) {
			subs = append(subs, p)
		}
	}
	for _, sub := range subs {
		err := c.findIn(sub, level+1, depth, wanted)
		if c.ctx.Err() != nil {
			return err
		}
		if err != nil {
			c.fail(c.url(sub), err)
		}
	}
	return nil
}

func (c *call) sum() error {
	algorithm := "sha256"
	if a := c.value("algo"); a != "" {
		algorithm = strings.ToLower(strings.ReplaceAll(a, "-", ""))
	}
	if !slices.Contains(mirror.Sums(), algorithm) {
		return misuse("-a of sum is one of %s, not %q", strings.Join(mirror.Sums(), ", "), screen.Line(algorithm))
	}
	for _, f := range c.remote(c.args) {
		if f.entry != nil && f.entry.Mode.IsDir() {
			continue
		}
		sum, err := c.sumOf(f.path, algorithm)
		if err != nil {
			c.fail(c.url(f.path), err)
			continue
		}
		fmt.Fprintf(c.out, "%s  %s\n", sum, c.shown(c.relative(f.path)))
	}
	return nil
}

// sumOf is a checksum that the server makes, or that of the bytes read.
func (c *call) sumOf(p, algorithm string) (string, error) {
	traits, err := c.tree().Traits(c.ctx)
	if err != nil {
		return "", err
	}
	for _, a := range traits.Sums {
		if !strings.EqualFold(a, algorithm) {
			continue
		}
		sum, err := c.tree().Sum(c.ctx, at(p), algorithm, 0, 0)
		if err == nil || fault.KindOf(err) != fault.Unsupported && fault.Of(err).ID != fault.IDServerSaysNo {
			return sum, err
		}
	}
	s := mirror.NewSummer(algorithm)
	if err := c.read(p, s); err != nil {
		return "", err
	}
	return s.Sum()
}

// read fetches a file into dst, all of it or an error.
func (c *call) read(p string, dst transfer.Dest) error {
	size := int64(-1)
	e, err := c.tree().Stat(c.ctx, at(p))
	switch {
	case err == nil && e.Mode.IsDir():
		return fault.New(fault.IsDir, fault.IDIsDir, c.url(p))
	case err == nil && e.Is(knownSize):
		size = e.Size
	case errors.Is(err, fs.ErrNotExist):
		return err
	}
	how := transfer.Options{Idle: c.sh.opt.Timeout}
	if c.set.rate != nil {
		how.Meter = c.set.rate
	}
	rep, err := c.tree().Get(c.ctx, at(p), remote.Get{Size: size, How: how}, dst)
	if err == nil && size >= 0 && rep.Bytes < size {
		err = fault.New(fault.Cut, fault.IDShortFile, c.url(p), rep.Bytes, size)
	}
	return err
}

// pour writes a file to w.
func (c *call) pour(p string, w io.Writer) error {
	o := mirror.InOrder(w)
	if err := c.read(p, o); err != nil {
		return err
	}
	return o.End()
}

func (c *call) cat() error {
	for _, f := range c.remote(c.args) {
		if err := c.pour(f.path, c.out); err != nil {
			c.fail(c.url(f.path), err)
		}
	}
	return nil
}

// cd and its kin.

func (c *call) open() error {
	o := Open{URL: c.args[0].Text}
	if u := c.value("user"); u != "" {
		name, password, has := strings.Cut(u, ",")
		o.User, o.HasPassword = name, has
		if has {
			o.Password = secret(password)
		}
	}
	if p := c.value("port"); p != "" {
		n, err := strconv.Atoi(p)
		if err != nil || n < 1 || n > 65535 {
			return misuse("%q is no port; ports are 1 to 65535", screen.Line(p))
		}
		o.Port = n
	}
	return c.sh.open(c.ctx, o)
}

func (c *call) close() error {
	c.sh.place.conn.release()
	c.sh.place, c.sh.previous = place{}, ""
	return nil
}

func (c *call) cd() error {
	dir := c.place.conn.home
	if len(c.args) > 0 {
		switch w := c.args[0]; {
		case w.Text == "-":
			dir = c.sh.previous
		case w.Glob != "":
			all, err := c.expand(w)
			if err != nil {
				return err
			}
			if len(all) > 1 {
				return misuse("%s stands for %d names, and cd takes one", screen.Line(w.Text), len(all))
			}
			dir = all[0].path
		default:
			dir = c.place.resolve(w.Text)
		}
	}
	if err := c.place.check(c.ctx, dir); err != nil {
		return Failures{{c.url(dir), err}}
	}
	c.sh.previous, c.sh.place.cwd = c.place.cwd, dir
	return nil
}

func (c *call) lcd() error {
	dir := c.set.home
	if len(c.args) > 0 {
		all, err := c.files(c.args)
		if err != nil {
			return err
		}
		if len(all) > 1 {
			return misuse("%s stands for %d names, and lcd takes one", screen.Line(c.args[0].Text), len(all))
		}
		dir = all[0]
	}
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(c.set.local, dir)
	}
	fi, err := os.Stat(dir)
	if err != nil {
		return mirror.LocalError(dir, err)
	}
	if !fi.IsDir() {
		return fault.New(fault.NotDir, fault.IDNotDir, dir)
	}
	c.sh.set.local = filepath.Clean(dir)
	return nil
}

func (c *call) pwd() error {
	fmt.Fprintln(c.out, c.shown(c.url(c.place.cwd)))
	return nil
}

func (c *call) lpwd() error {
	fmt.Fprintln(c.out, c.shown(c.set.local))
	return nil
}

// remoteEntry stats with the look that a download takes.
func (c *call) statDir(ctx context.Context, p string) bool {
	e, err := c.tree().Stat(ctx, at(p))
	return err == nil && e.Mode.IsDir()
}
