package cli

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"dray/fault"
	"dray/mirror"
	"dray/remote"
)

func putCommand() *cobra.Command {
	c, t := &client{}, &transfers{}
	cmd := &cobra.Command{
		Use:   "put [-r] FILE... URL",
		Short: "send files to a server",
		Long: `Send files to the directory that URL names, or under the name that it names where
that is no directory. With -r directories too, each as a directory of its name.
"-" is standard input, which needs a name in the URL.

A file is sent as NAME.dray-part and renamed when it is whole, so that nobody takes
a cut file for a whole one; a server of dray does this by itself. What was cut is
gone on with by the next put of the same file, when the file has not changed; else
it is sent from the start. The time and the mode of a file are kept where the
server lets them be set.`,
		Example: `  dray put report.pdf sftp://alice@example.net/inbox/
  dray put -r site/ ftp://deploy@www.example.net/htdocs/
  dray put --verify hash backup.tar sftp://nas/~/backups/
  tar c . | dray put - sftp://nas/~/site.tar`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 2 {
				return usagef("put needs files and a URL\n      for example: dray put report.pdf sftp://alice@example.net/inbox/")
			}
			return nil
		},
	}
	c.flags(cmd.Flags())
	t.flags(cmd.Flags())
	cmd.RunE = c.run(func(ctx context.Context, args []string) error {
		target := args[len(args)-1]
		files := args[:len(args)-1]
		if local(target) {
			return usagef("%s is no URL\n      put sends to a server: dray put %s sftp://host/%s", target, strings.Join(files, " "), filepath.Base(target))
		}
		for _, f := range files {
			if f != "-" && !local(f) {
				return usagef("%s is no file of this machine\n      where a file of this machine has a colon in its name, write ./%[1]s", f)
			}
		}
		u, err := c.parse(target)
		if err != nil {
			return err
		}
		t.ascii = u.Type == "A"
		return c.put(ctx, t, files, u)
	})
	return cmd
}

func (c *client) put(ctx context.Context, t *transfers, files []string, u remote.URL) error {
	for _, f := range files {
		if f == "-" {
			if len(files) > 1 {
				return usagef("- is standard input, which is sent alone\n      where a file has this name, write ./-")
			}
			continue
		}
		fi, err := os.Stat(f)
		switch {
		case err != nil:
			return mirror.LocalError(f, err)
		case fi.IsDir() && !t.recursive:
			return &fault.Error{Kind: fault.IsDir, ID: fault.IDIsDir, Facts: []any{f}, Do: []string{"dray put -r " + shellWord(f) + " " + shellWord(u.String()) + " sends it with all that is in it"}}
		}
	}
	if _, err := t.options(c); err != nil { // before what comes from a pipe is waited for
		return err
	}
	filter, err := t.filter()
	if err != nil {
		return err
	}
	if files[0] == "-" {
		if u.DirWanted {
			return usagef("what comes from standard input needs a name\n      write it at the end of the URL: %sNAME", u)
		}
		if err := c.refuse("is for files, and standard input is none", notPiped...); err != nil {
			return err
		}
		if t.preserve != "none" {
			if err := c.refuse("is for files, and what comes from standard input has neither time nor mode", "preserve"); err != nil {
				return err
			}
		}
	}
	tree, err := c.open(u)
	if err != nil {
		return err
	}
	if files[0] == "-" {
		name, done, err := spool(ctx, c.cmd.InOrStdin())
		if err != nil {
			return err
		}
		defer done()
		t.preserve = "none"
		r := c.reporter("put", nil)
		return c.transfer(ctx, t, tree, r, func(run *mirror.Run) error {
			run.Upload(mirror.Upload{File: name, Path: pathOf(u), URL: u.String(), Size: -1})
			return nil
		})
	}
	again := func(e mirror.Event) string { return c.again("put") + " " + shellWord(e.From) + " " + shellWord(e.To) }
	r := c.reporter("put", again)
	return c.transfer(ctx, t, tree, r, func(run *mirror.Run) error {
		into := u.DirWanted
		if !into {
			e, err := tree.Stat(ctx, pathOf(u))
			switch {
			case err == nil:
				into = e.Mode.IsDir()
			case !errors.Is(err, fs.ErrNotExist) && fault.KindOf(err) != fault.Unsupported:
				return err
			}
		}
		if !into && len(files) > 1 {
			return &fault.Error{Kind: fault.NotDir, ID: fault.IDNotDir, Facts: []any{u.String()}, Do: []string{"several files need a directory: write a slash at the end of the URL, and make it first"}}
		}
		for _, f := range files {
			to, url := pathOf(u), u
			if into {
				url.Path, url.DirWanted = remote.Join(u.Path, baseOf(f)), false
				to = url.Path
			}
			if isDir(f) {
				run.UploadTree(mirror.Tree{Dir: f, Path: to, URL: url.String(), Filter: filter})
				continue
			}
			if filter != nil {
				e, err := localEntry(f)
				if err != nil {
					run.Fail(f, url.String(), err)
					continue
				}
				if !filter(baseOf(f), &e) {
					run.Skip(f, url.String(), -1, "the options leave it out")
					continue
				}
			}
			size := int64(-1)
			if fi, err := os.Stat(f); err == nil {
				size = fi.Size()
			}
			run.Upload(mirror.Upload{File: f, Path: to, URL: url.String(), Size: size})
		}
		return nil
	})
}

// notPiped are options of put that are for files which have a name.
var notPiped = []string{"recursive", "follow", "exclude", "include", "exclude-from", "newer-than", "older-than", "size"}

// baseOf is the name that a file of this machine has on a server.
func baseOf(f string) string {
	if abs, err := filepath.Abs(f); err == nil {
		f = abs // "." and ".." have a name too
	}
	return filepath.Base(f)
}

func localEntry(f string) (remote.Entry, error) {
	fi, err := os.Stat(f)
	if err != nil {
		return remote.Entry{}, err
	}
	return mirror.LocalEntry(baseOf(f), fi), nil
}

// spool keeps what comes from a pipe in a file: a transfer that is tried again reads
// it twice, and its size is known. The end of ctx ends it, and leaves no file.
func spool(ctx context.Context, r io.Reader) (name string, done func(), err error) {
	f, err := os.CreateTemp("", "dray-stdin-*")
	if err != nil {
		return "", nil, err
	}
	done = func() { _ = os.Remove(f.Name()) }
	copied := make(chan error, 1)
	go func() {
		_, err := io.Copy(f, r)
		copied <- err
	}()
	select {
	case err = <-copied:
	case <-ctx.Done(): // what waits for the pipe ends with the program
		_ = f.Close()
		done()
		return "", nil, context.Cause(ctx)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		done()
		return "", nil, mirror.LocalError(f.Name(), err)
	}
	return f.Name(), done, nil
}
