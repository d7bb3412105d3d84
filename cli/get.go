package cli

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"dray/fault"
	"dray/ftp"
	"dray/mirror"
	"dray/remote"
	"dray/transfer"
)

func getCommand() *cobra.Command {
	c, t := &client{}, &transfers{}
	var output string
	cmd := &cobra.Command{
		Use:   "get [-r] URL... [DIR]",
		Short: "fetch files from a server",
		Long: `Fetch files into DIR, or into this directory. With -r directories too, each as a
directory of its name. The last part of a URL may be a pattern (* ? [a-z]).

A file appears under its name when it is whole; until then it is NAME.dray-part.
What was cut is gone on with by the next get of the same URL, when it proves to
belong to the same version of the source; else it is fetched from the start. The
time and the mode of a file are kept. With -o the file gets that name, and "-"
writes it to standard output.

Over FTP a large file may come over several connections. By itself that begins when
64 MiB or more are left that would take eight seconds or longer, no other file waits,
and it goes on only while the file comes a fifth faster; --segments N makes N of files
of 16 MiB and more. The server is asked for the time of the file before and after. A
server that refuses a connection gets fewer, and --parallel is the most in any case.`,
		Example: `  dray get sftp://alice@example.net/report.pdf
  dray get -r ftp://ftp.example.net/pub/photos .
  dray get 'ftp://ftp.example.net/pub/*.iso' /srv/images
  dray get -o - sftp://example.net/~/notes.txt | less`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("get needs a URL\n      for example: dray get sftp://alice@example.net/report.pdf")
			}
			return nil
		},
	}
	c.flags(cmd.Flags())
	t.flags(cmd.Flags())
	t.segmentFlags(cmd.Flags())
	cmd.Flags().StringVarP(&output, "output", "o", "", "write to `FILE`, or to standard output when it is -")
	cmd.RunE = c.run(func(ctx context.Context, args []string) error {
		dir := "."
		if last := args[len(args)-1]; len(args) > 1 && local(last) {
			dir, args = last, args[:len(args)-1]
			if output != "" {
				return usagef("get takes a directory or --output, not both\n      leave %s away", dir)
			}
		}
		if output != "" && len(args) > 1 {
			return usagef("--output takes one URL, and there are %d", len(args))
		}
		var urls []remote.URL
		for _, arg := range args {
			if local(arg) {
				return usagef("%s is no URL\n      get fetches from a server: dray get sftp://host/%s, or dray get host:%[1]s", arg, strings.TrimLeft(arg, "./"))
			}
			u, err := c.parse(arg)
			if err != nil {
				return err
			}
			urls = append(urls, u)
		}
		return c.getAll(ctx, t, urls, dir, output)
	})
	return cmd
}

// getAll fetches those of one account together. What fails with one account ends
// nothing of the others, unless --fail-fast says so.
func (c *client) getAll(ctx context.Context, t *transfers, urls []remote.URL, dir, output string) error {
	var groups [][]remote.URL
	for _, u := range urls {
		i := slices.IndexFunc(groups, func(g []remote.URL) bool {
			return account1(g[0]) == account1(u) && (g[0].Type == "A") == (u.Type == "A")
		})
		if i < 0 {
			i, groups = len(groups), append(groups, nil)
		}
		groups[i] = append(groups[i], u)
	}
	r := c.reporter("get", nil)
	if len(groups) == 1 {
		return c.get(ctx, t, r, groups[0], dir, output)
	}
	r.several = true
	idle := 0
	for _, group := range groups {
		err := c.get(ctx, t, r, group, dir, output)
		var ee *exitError
		switch {
		case ctx.Err() != nil:
			r.over = context.Cause(ctx)
			return r.finish()
		case errors.As(err, &ee) && ee.status == exitNothing:
			idle++
		case errors.As(err, &ee) && ee.text != "":
			return err // a mistake in the command
		case err != nil && ee == nil:
			r.lost(group[0].String(), err)
		}
		if err != nil && t.failFast {
			break
		}
	}
	if r.over = nil; idle == len(groups) {
		r.over = errNothing
	}
	return r.finish()
}

// account1 tells the account of a URL from others.
func account1(u remote.URL) string {
	u.Path, u.DirWanted, u.Type = "", false, ""
	return u.String() + "\x00" + u.StoredName
}

// get fetches what URLs of one account name, which are of one type.
func (c *client) get(ctx context.Context, t *transfers, r *reporter, urls []remote.URL, dir, output string) error {
	tree, err := c.open(urls[0])
	if err != nil {
		return err
	}
	filter, err := t.filter()
	if err != nil {
		return err
	}
	t.ascii = urls[0].Type == "A"
	fi, err := os.Stat(output)
	device := output != "" && err == nil && !fi.IsDir() && !fi.Mode().IsRegular() // it is written to and not replaced
	if output == "-" || device {
		if err := c.refuse("is for files, and "+output+" is written as it comes", notPoured...); err != nil {
			return err
		}
	}
	if output == "-" {
		return c.pour(ctx, c.stdout, tree, urls[0], t)
	}
	if device {
		f, err := os.OpenFile(output, os.O_WRONLY, 0)
		if err != nil {
			return usagef("--output: %v", err)
		}
		return errors.Join(c.pour(ctx, f, tree, urls[0], t), f.Close())
	}
	if _, err := t.options(c); err != nil { // before a directory is made for what comes
		return err
	}
	name := ""
	if output != "" {
		dir, name = filepath.Split(output)
		if isDir(output) {
			dir, name = output, ""
		}
	}
	place, err := t.place(dir)
	if err != nil {
		return err
	}
	defer place.Close()
	r.again = func(e mirror.Event) string {
		if name != "" && filepath.Clean(e.To) == filepath.Join(dir, name) {
			return c.again("get") + " -o " + shellWord(e.To) + " " + shellWord(e.From)
		}
		return c.again("get") + " " + shellWord(e.From) + " " + shellWord(filepath.Dir(e.To))
	}
	return c.transfer(ctx, t, tree, r, func(run *mirror.Run) error {
		for _, u := range urls {
			c.getOne(ctx, t, tree, run, u, place, name, filter)
		}
		return nil
	})
}

// notPoured are options of get that are for files: what is written to standard output
// is neither compared nor gone on with nor taken back.
var notPoured = []string{"json", "jsonl", "recursive", "continue", "resume", "algo", "atomic", "inplace", "temp-suffix", "parallel", "transfers", "retry", "retry-max-time", "retry-on",
	"no-clobber", "on-conflict", "preserve", "follow", "exclude", "include", "exclude-from", "newer-than", "older-than", "size", "dry-run", "error-on-no-transfer"}

// getOne queues what a URL names. name is that of the file here, "" for its own.
func (c *client) getOne(ctx context.Context, t *transfers, tree remote.Tree, run *mirror.Run, u remote.URL, place *mirror.Place, name string, filter mirror.Filter) {
	if base := remote.Base(u.Path); name == "" && strings.ContainsAny(base, "*?[") {
		if c.getPattern(ctx, t, tree, run, u, place, filter) {
			return
		}
	}
	if u.DirWanted || t.recursive || filter != nil {
		c.getDir(ctx, t, tree, run, u, place, name, filter)
		return
	}
	if name == "" {
		name = remote.Base(u.Path)
		if err := mirror.CheckName(name); err != nil {
			run.Fail(u.String(), "", fault.New(fault.IsDir, fault.IDIsDir, u.String()))
			return
		}
	}
	run.Download(mirror.Download{Path: pathOf(u), URL: u.String(), Place: place, Name: name})
}

// getDir queues what a URL names that may be a directory.
func (c *client) getDir(ctx context.Context, t *transfers, tree remote.Tree, run *mirror.Run, u remote.URL, place *mirror.Place, name string, filter mirror.Filter) {
	said := u.DirWanted && u.Path != ""
	look := func() (e remote.Entry, ok bool) {
		e, err := statRemote(ctx, tree, u)
		if err != nil {
			run.Fail(u.String(), "", err)
		}
		return e, err == nil
	}
	traits, err := tree.Traits(ctx)
	if err != nil || !t.recursive || !said && !traits.DirsOnly {
		if e, ok := look(); ok {
			c.getEntry(t, run, u, e, place, name, filter)
		}
		return
	}
	// The listing tells whether it is one, without a question before it.
	run.DownloadTree(mirror.Tree{Path: pathOf(u), URL: u.String(), Place: place, Name: nameHere(u, name), Filter: filter, Else: func() bool {
		if said {
			return false
		}
		e, ok := look()
		if ok && e.Mode.IsDir() {
			return false
		}
		if ok {
			c.getEntry(t, run, u, e, place, name, filter)
		}
		return true
	}})
}

// nameHere is the name that a file gets here: the given one, else its own.
func nameHere(u remote.URL, name string) string {
	base := remote.Base(u.Path)
	if name == "" && u.Path != "" && base != "/" && base != "." && base != ".." {
		return base
	}
	return name
}

// getEntry queues a file or directory that is known.
func (c *client) getEntry(t *transfers, run *mirror.Run, u remote.URL, e remote.Entry, place *mirror.Place, name string, filter mirror.Filter) {
	name = nameHere(u, name)
	if !e.Mode.IsDir() {
		if filter != nil && !filter(remote.Base(u.Path), &e) {
			run.Skip(u.String(), "", -1, "the options leave it out")
			return
		}
		run.Download(mirror.Download{Path: pathOf(u), URL: u.String(), Entry: e, Place: place, Name: name})
		return
	}
	if !t.recursive {
		run.Fail(u.String(), "", &fault.Error{Kind: fault.IsDir, ID: fault.IDIsDir, Facts: []any{u.String()}, Do: []string{"dray get -r " + shellWord(u.String()) + " fetches it with all that is in it"}})
		return
	}
	run.DownloadTree(mirror.Tree{Path: pathOf(u), URL: u.String(), Place: place, Name: name, Filter: filter})
}

// getPattern queues what a pattern matches in its directory; false when there is a
// file of that very name.
func (c *client) getPattern(ctx context.Context, t *transfers, tree remote.Tree, run *mirror.Run, u remote.URL, place *mirror.Place, filter mirror.Filter) bool {
	pattern := remote.Base(u.Path)
	dir := u
	dir.Path, dir.DirWanted = strings.TrimSuffix(strings.TrimSuffix(u.Path, pattern), "/"), true
	if dir.Path == "" && u.Absolute() {
		dir.Path = "/"
	}
	rules := mirror.Rules{Include: []string{pattern}, Most: -1}
	match, err := rules.Filter()
	if err != nil {
		return false // no pattern, so a name
	}
	var found []remote.Entry
	for e, err := range tree.List(ctx, pathOf(dir)) {
		if err != nil {
			run.Fail(dir.String(), "", err)
			return true
		}
		if e.Name == pattern {
			return false
		}
		probe := e
		probe.Mode &^= fs.ModeDir
		if match(e.Name, &probe) && (filter == nil || filter(e.Name, &e)) && (e.Name[0] != '.' || pattern[0] == '.') {
			found = append(found, e)
		}
	}
	if len(found) == 0 {
		run.Fail(u.String(), "", fault.New(fault.NotFound, fault.IDNotFound, u.String()))
		return true
	}
	slices.SortFunc(found, func(a, b remote.Entry) int { return strings.Compare(a.Name, b.Name) })
	for _, e := range found {
		one := dir
		one.Path, one.DirWanted = remote.Join(dir.Path, e.Name), false
		if err := mirror.CheckName(e.Name); err != nil {
			run.Fail(dir.String(), "", err)
			continue
		}
		if e.Mode.IsDir() && !t.recursive {
			run.Skip(one.String(), "", -1, "it is a directory; -r takes it too")
			continue
		}
		if e.Mode.Type() == fs.ModeSymlink { // what it leads to, as it was named
			there, err := tree.Stat(ctx, one.Path)
			if err != nil {
				run.Fail(one.String(), "", err)
				continue
			}
			e = there
		}
		c.getEntry(t, run, one, e, place, "", filter)
	}
	return true
}

// pour writes a file to standard output, or to a device.
func (c *client) pour(ctx context.Context, to io.Writer, tree remote.Tree, u remote.URL, t *transfers) error {
	o, err := t.options(c)
	if err != nil {
		return err
	}
	if t.divided() {
		return usagef("--segments needs a file: what is written to standard output comes in its order")
	}
	if o.Verify == mirror.VerifyHash {
		return usagef("--verify hash needs a file: what is written to standard output can't be taken back")
	}
	w := mirror.InOrder(to)
	defer t.keep(ctx, o.Rate)()
	how := transfer.Options{Text: t.ascii, Meter: o.Permit()}
	if err := c.read(ctx, tree, u, how, w); err != nil {
		return err
	}
	return w.End()
}

// read fetches all of a file into dst, which may be asked for it in any order.
func (c *client) read(ctx context.Context, tree remote.Tree, u remote.URL, how transfer.Options, dst transfer.Dest) error {
	size := int64(-1)
	e, err := tree.Stat(ctx, pathOf(u))
	switch {
	case err == nil && e.Mode.IsDir():
		return fault.New(fault.IsDir, fault.IDIsDir, u.String())
	case err == nil && e.Is(ftp.KnownSize):
		size = e.Size
	case errors.Is(err, fs.ErrNotExist):
		return err
	}
	how.Idle = c.timeout
	rep, err := tree.Get(ctx, pathOf(u), remote.Get{Size: size, How: how}, dst)
	if err == nil && size >= 0 && rep.Bytes < size && !how.Text {
		err = fault.New(fault.Cut, fault.IDShortFile, u.String(), rep.Bytes, size)
	}
	return err
}
