package shell

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"dray/fault"
	"dray/meter"
	"dray/mirror"
	"dray/remote"
	"dray/screen"
)

// transfer makes a run as the options of the verb and the settings say.
func (c *call) transfer(again func(e mirror.Event) string, add func(run *mirror.Run) error) error {
	t, err := c.transferOptions()
	if err != nil {
		return err
	}
	t.Again = again
	if c.has("recursive") || c.verb.name == "mirror" {
		c.tree().Expect(c.ctx, 8)
	}
	return c.sh.front.Transfer(c.ctx, t, add)
}

func (c *call) transferOptions() (Transfer, error) {
	o := c.sh.opt.Transfer
	if c.set.parallel > 0 {
		o.Parallel = c.set.parallel
	}
	if p := c.value("parallel"); p != "" {
		n, err := parseParallel(p)
		if err != nil {
			return Transfer{}, err
		}
		o.Parallel = n
	}
	if c.set.rate != nil {
		o.Rate = c.set.rate
	}
	if c.has("continue") || c.has("append") || c.verb.name == "reget" || c.verb.name == "reput" {
		o.Resume = mirror.ResumeVerify
	}
	if c.has("dry-run") {
		o.DryRun = true
	}
	if c.has("dereference") {
		o.Follow = true
	}
	return Transfer{Verb: c.verb.name, Tree: c.tree(), Options: o, Err: c.err, Silent: c.job != nil || c.set.silent}, nil
}

func parseParallel(s string) (int, error) {
	if s == "auto" {
		return 0, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > 256 {
		return 0, misuse("%q is neither auto nor a number from 1 to 256", screen.Line(s))
	}
	return n, nil
}

// place opens the directory of this machine that receives files; a dry run makes none.
func (c *call) receive(dir string) (*mirror.Place, error) {
	if (c.has("dry-run") || c.sh.opt.Transfer.DryRun) && !isDir(dir) {
		return mirror.NoPlace(dir), nil
	}
	return mirror.OpenPlace(dir, true)
}

// get fetches files: get, mget, reget.
func (c *call) get() error {
	words, dir, name := c.args, c.set.here("."), ""
	switch {
	case c.has("output") && c.has("output-dir"):
		return misuse("-o and -O do not go together")
	case c.value("output") == "-":
		return c.cat()
	case c.has("output-dir"):
		dir = c.set.here(c.value("output-dir"))
	case c.has("output"):
		if len(words) > 1 || words[0].Glob != "" {
			return misuse("-o takes one file; -O names a directory for several")
		}
		if device(c.set.here(c.value("output"))) {
			return c.intoDevice(c.set.here(c.value("output")))
		}
		dir, name = splitHere(c.set.here(c.value("output")))
	case c.verb.name != "mget" && len(words) > 1:
		last := words[len(words)-1]
		target, err := c.isTarget(last)
		if err != nil {
			return err
		}
		if !target {
			break
		}
		words = words[:len(words)-1]
		to := c.set.here(last.Text)
		switch {
		case isDir(to) || strings.HasSuffix(last.Text, "/"):
			dir = to
		case len(words) == 1 && words[0].Glob == "":
			dir, name = splitHere(to)
		default:
			return misuse("%s is neither on the server nor a directory of this machine\nseveral files need a directory", screen.Line(last.Text))
		}
	}
	place, err := c.receive(dir)
	if err != nil {
		return err
	}
	defer place.Close()
	all := c.remote(words)
	if len(all) == 0 {
		return nil
	}
	again := func(e mirror.Event) string { return c.again(all, e.From, dir) }
	return c.transfer(again, func(run *mirror.Run) error {
		for _, f := range all {
			if c.ctx.Err() != nil {
				return context.Cause(c.ctx)
			}
			if err := c.fetch(run, f, place, name); err != nil {
				run.Fail(c.url(f.path), "", err)
			}
		}
		return nil
	})
}

// again is the line that goes on with a file that was cut.
func (c *call) again(all []found, url, dir string) string {
	line := "get "
	if len(all) == 1 || c.has("output") {
		return c.line()
	}
	for _, f := range all {
		if c.url(f.path) == url {
			line += Quote(c.relative(f.path))
			if dir != "." {
				line += " -O " + Quote(dir)
			}
			return line
		}
	}
	return c.line()
}

// line is the command as it may be typed again.
func (c *call) line() string {
	line := c.verb.name
	for _, o := range c.verb.opts {
		for _, v := range c.given[o.long] {
			line += " --" + o.long
			if o.arg != "" {
				line += "=" + Quote(v)
			}
		}
	}
	for _, w := range c.args {
		if w.Glob != "" {
			line += " " + quoteGlob(w.Glob)
		} else {
			line += " " + Quote(w.Text)
		}
	}
	return line
}

// isTarget tells whether the last word of get is where to write: it is not on the
// server, or can only be here.
func (c *call) isTarget(w Word) (bool, error) {
	switch {
	case w.Glob != "":
		return false, nil
	case w.Text == "." || w.Text == ".." || strings.HasPrefix(w.Text, "./") || w.Text == "~":
		return true, nil
	}
	_, err := c.tree().Stat(c.ctx, at(c.place.resolve(w.Text)))
	switch {
	case err == nil:
		return false, nil
	case errors.Is(err, fs.ErrNotExist), isDir(c.set.here(w.Text)):
		return true, nil
	}
	return false, err
}

// device tells whether a name of this machine is neither file nor directory, as
// /dev/null: such a one is written to, and not replaced.
func device(name string) bool {
	fi, err := os.Stat(name)
	return err == nil && !fi.Mode().IsRegular() && !fi.IsDir()
}

func (c *call) intoDevice(name string) error {
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return mirror.LocalError(name, err)
	}
	p := c.place.resolve(c.args[0].Text)
	if err := errors.Join(c.pour(p, f), f.Close()); err != nil {
		return Failures{{c.url(p), err}}
	}
	return nil
}

func splitHere(name string) (dir, base string) {
	if isDir(name) {
		return name, ""
	}
	dir, base = filepath.Split(name)
	if dir == "" {
		dir = "."
	}
	return dir, base
}

// fetch queues a file or directory.
func (c *call) fetch(run *mirror.Run, f found, place *mirror.Place, name string) error {
	e := f.entry
	if e == nil || !e.Is(knownType) || e.Mode.Type() == fs.ModeSymlink { // what it leads to, as it was named
		there, err := c.tree().Stat(c.ctx, at(f.path))
		if err != nil {
			if fault.KindOf(err) != fault.Unsupported {
				return err
			}
			there = remote.Entry{}
		}
		e = &there
	}
	if name == "" {
		name = remote.Base(f.path)
	}
	switch {
	case e.Mode.IsDir() && !c.has("recursive"):
		if f.entry != nil {
			run.Skip(c.url(f.path), "", -1, "it is a directory; -r takes it too")
			return nil
		}
		return &fault.Error{Kind: fault.IsDir, ID: fault.IDIsDir, Facts: []any{c.url(f.path)}, Do: []string{"get -r fetches it with all that is in it"}}
	case e.Mode.IsDir():
		if name == "/" || name == "." || name == ".." {
			name = "" // all of it, without a directory of its own
		}
		run.DownloadTree(mirror.Tree{Path: at(f.path), URL: c.url(f.path), Place: place, Name: name})
		return nil
	}
	if err := mirror.CheckName(name); err != nil {
		return err
	}
	run.Download(mirror.Download{Path: at(f.path), URL: c.url(f.path), Entry: *e, Place: place, Name: name})
	return nil
}

// put sends files: put, mput, reput.
func (c *call) put() error {
	words := c.args
	to, name := c.place.cwd, ""
	switch {
	case c.has("output") && c.has("output-dir"):
		return misuse("-o and -O do not go together")
	case c.has("output-dir"):
		to = c.place.resolve(c.value("output-dir"))
	case c.has("output"):
		if len(words) > 1 || words[0].Glob != "" {
			return misuse("-o takes one file; -O names a directory for several")
		}
		name = c.value("output")
	case c.verb.name != "mput" && len(words) > 1 && c.goesTo(words[len(words)-1]):
		last := words[len(words)-1].Text
		words = words[:len(words)-1]
		p := c.place.resolve(last)
		switch {
		case strings.HasSuffix(last, "/") || last == "." || last == ".." || c.statDir(c.ctx, p):
			to = p
		case len(words) == 1 && words[0].Glob == "":
			name = last
		default:
			return misuse("%s is neither here nor a directory of the server\nseveral files need a directory", screen.Line(last))
		}
	}
	files, err := c.files(words)
	if err != nil {
		return err
	}
	again := func(e mirror.Event) string { return c.line() }
	return c.transfer(again, func(run *mirror.Run) error {
		for _, f := range files {
			if c.ctx.Err() != nil {
				return context.Cause(c.ctx)
			}
			if err := c.send(run, f, to, name); err != nil {
				run.Fail(f, "", err)
			}
		}
		return nil
	})
}

// goesTo tells whether the last word of put is a place of the server: nothing of that
// name is here that could be sent.
func (c *call) goesTo(w Word) bool {
	if w.Glob != "" {
		return false
	}
	if w.Text == "." || w.Text == ".." {
		return true
	}
	fi, err := os.Stat(c.set.here(w.Text))
	return err != nil || fi.IsDir() && !c.has("recursive")
}

// send queues a file or directory.
func (c *call) send(run *mirror.Run, file, to, name string) error {
	fi, err := os.Stat(file)
	if err != nil {
		return mirror.LocalError(file, err)
	}
	p := c.place.resolve(name)
	if name == "" {
		base := file
		if abs, err := filepath.Abs(file); err == nil {
			base = abs // "." and ".." have a name too
		}
		p = remote.Join(to, filepath.Base(base))
	} else if strings.HasSuffix(name, "/") {
		p = remote.Join(p, filepath.Base(file))
	}
	if fi.IsDir() {
		if !c.has("recursive") {
			return &fault.Error{Kind: fault.IsDir, ID: fault.IDIsDir, Facts: []any{file}, Do: []string{c.verb.name + " -r sends it with all that is in it"}}
		}
		run.UploadTree(mirror.Tree{Dir: file, Path: p, URL: c.url(p)})
		return nil
	}
	run.Upload(mirror.Upload{File: file, Path: p, URL: c.url(p), Size: fi.Size()})
	return nil
}

func (c *call) mirror() error {
	up := c.has("reverse")
	source, target := "", ""
	if len(c.args) > 0 {
		source = c.args[0].Text
	}
	if len(c.args) > 1 {
		target = c.args[1].Text
	}
	if source == "" {
		source, target = ".", "."
	}
	// lftp: without a target, and behind one that ends with a slash, it is the name of
	// the source.
	base := path.Base(filepath.ToSlash(strings.TrimRight(source, "/")))
	if base == "." || base == ".." || base == "~" {
		base = ""
	}
	switch {
	case target == "" && base != "":
		target = base
	case target == "":
		target = "."
	case strings.HasSuffix(target, "/") && target != "/" && base != "":
		target += base
	}
	s := mirror.Sync{Up: up, Delete: c.has("delete"), MaxDelete: -1, NewerOnly: c.has("only-newer"), SizeOnly: c.has("size-only")}
	if n := c.value("max-delete"); n != "" {
		var err error
		if s.MaxDelete, err = strconv.Atoi(n); err != nil || s.MaxDelete < 0 {
			return misuse("--max-delete is a number, not %q", screen.Line(n))
		}
	}
	rules := mirror.Rules{Most: -1}
	rules.Exclude = append(append(rules.Exclude, c.given["exclude"]...), c.given["exclude-glob"]...)
	rules.Include = append(append(rules.Include, c.given["include"]...), c.given["include-glob"]...)
	filter, err := rules.Filter()
	if err != nil {
		return misuse("%v", err)
	}
	s.Filter = filter
	if up {
		s.Dir, s.Path = c.set.here(source), at(c.place.resolve(target))
		fi, err := os.Stat(s.Dir)
		if err != nil {
			return mirror.LocalError(s.Dir, err)
		}
		if !fi.IsDir() {
			return fault.New(fault.NotDir, fault.IDNotDir, s.Dir)
		}
	} else {
		s.Path = at(c.place.resolve(source))
		if err := c.place.check(c.ctx, c.place.resolve(source)); err != nil { // nothing is made here for a wrong name
			return Failures{{c.url(s.Path), err}}
		}
		if s.Place, err = c.receive(c.set.here(target)); err != nil {
			return err
		}
		defer s.Place.Close()
	}
	s.URL = c.url(strings.TrimPrefix(s.Path, "./"))
	if s.Path == "." {
		s.URL = c.url("")
	}
	if s.Delete && c.job == nil && !c.has("dry-run") {
		s.Confirm = func(n int) bool {
			return c.sh.front.Confirm(c.ctx, fmt.Sprintf("Delete %d names of %s that %s has not?", n, screen.Line(target), screen.Line(source)))
		}
	}
	return c.transfer(nil, func(run *mirror.Run) error {
		run.Sync(s)
		return nil
	})
}

// The settings.

func (c *call) progress() error {
	if len(c.args) == 0 {
		c.sh.set.silent = !c.sh.set.silent
	} else {
		switch c.args[0].Text {
		case "on", "yes", "true":
			c.sh.set.silent = false
		case "off", "no", "false":
			c.sh.set.silent = true
		default:
			return misuse("progress is on or off, not %q", screen.Line(c.args[0].Text))
		}
	}
	fmt.Fprintf(c.err, "progress %s\n", map[bool]string{true: "off", false: "on"}[c.sh.set.silent])
	return nil
}

func (c *call) limitRate() error {
	if len(c.args) == 0 {
		fmt.Fprintf(c.out, "limit-rate %s\n", c.set.limit())
		return nil
	}
	return c.setLimit(c.args[0].Text)
}

func (s *settings) limit() string {
	if s.rate == nil {
		return "0"
	}
	return s.rateText
}

func (c *call) setLimit(text string) error {
	n, err := screen.ParseSize(text)
	if err != nil {
		return misuse("%q is no rate; write bytes a second, as 500K or 5M; 0 is no limit", screen.Line(text))
	}
	if c.sh.set.rate == nil {
		c.sh.set.rate = meter.NewRate(n)
	}
	c.sh.set.rate.Set(n) // transfers that run already too
	c.sh.set.rateText = text
	return nil
}

func (c *call) setting() error {
	parallel := "auto"
	if c.set.parallel > 0 {
		parallel = strconv.Itoa(c.set.parallel)
	}
	if len(c.args) == 0 {
		fmt.Fprintf(c.out, "set limit-rate %s\nset parallel %s\nset progress %s\n", c.set.limit(), parallel, map[bool]string{true: "off", false: "on"}[c.sh.set.silent])
		return nil
	}
	name, value := c.args[0].Text, ""
	if len(c.args) > 1 {
		value = c.args[1].Text
	}
	switch name {
	case "limit-rate", "net:limit-rate", "net:limit-total-rate":
		if value == "" {
			value = "0"
		}
		return c.setLimit(value)
	case "parallel", "mirror:parallel-transfer-count":
		if value == "" {
			value = "auto"
		}
		n, err := parseParallel(value)
		if err == nil {
			c.sh.set.parallel = n
		}
		return err
	case "progress":
		if value == "" {
			value = "on"
		}
		c.args = []Word{{Text: value}}
		return c.progress()
	}
	return misuse("there is no setting %q\nthe settings are limit-rate, parallel and progress", screen.Line(name))
}
