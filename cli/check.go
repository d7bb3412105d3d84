package cli

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"dray/mirror"
	"dray/remote"
	"dray/screen"
)

func checkCommand() *cobra.Command {
	c, t := &client{}, &transfers{}
	var hash, sizeOnly bool
	cmd := &cobra.Command{
		Use:   "check SOURCE TARGET",
		Short: "compare a directory here with one on a server, and change nothing",
		Long: `Compare two directories, of which one is a URL, by size and time, or with --hash by
content, and list what differs. Exit status 0 means that nothing does, 10 that
something does.`,
		Example: `  dray check site/ sftp://deploy@www.example.net/htdocs
  dray check --hash nas:backups /srv/backups`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 2 {
				return usagef("check needs a source and a target\n      for example: dray check site/ sftp://deploy@www.example.net/htdocs")
			}
			return nil
		},
	}
	c.flags(cmd.Flags())
	f := cmd.Flags()
	f.BoolVar(&hash, "hash", false, "compare contents: by checksums of the server, else by reading")
	f.BoolVar(&sizeOnly, "size-only", false, "compare sizes and no times")
	f.StringVar(&t.algo, "algo", "", "checksum of --hash: `NAME` as sha256 (default the server's strongest)")
	f.StringArrayVarP(&t.exclude, "exclude", "x", nil, "leave out what matches `PATTERN`, as *.bak or cache/")
	f.StringArrayVar(&t.include, "include", nil, "take what matches `PATTERN`, although --exclude leaves it out")
	f.StringVar(&t.excludeFrom, "exclude-from", "", "read patterns to leave out from `FILE`, one a line")
	f.BoolVarP(&t.follow, "follow", "L", false, "compare what symbolic links lead to")
	cmd.RunE = c.run(func(ctx context.Context, args []string) error {
		source, target := args[0], args[1]
		if !hash {
			if err := c.refuse("is for --hash, which is not there", "algo"); err != nil {
				return err
			}
		}
		if hash && sizeOnly {
			return usagef("--hash and --size-only do not go together\n      --hash compares sizes too, and no times: leave --size-only away")
		}
		if local(source) == local(target) {
			return usagef("one of %s and %s has to be a URL, and the other a directory of this machine", source, target)
		}
		s := mirror.Sync{Up: local(source), SizeOnly: sizeOnly}
		at, here := source, target
		if s.Up {
			at, here = target, source
		}
		if fi, err := os.Stat(here); err != nil {
			return mirror.LocalError(here, err)
		} else if !fi.IsDir() {
			return noDirectory(here)
		}
		u, err := c.parse(at)
		if err != nil {
			return err
		}
		if err := asItIs(u, "check"); err != nil {
			return err
		}
		if s.Filter, err = t.filter(); err != nil {
			return err
		}
		tree, err := c.open(u)
		if err != nil {
			return err
		}
		s.Path, s.URL, s.Dir = pathOf(u), u.String(), here
		if !s.Up {
			if s.Place, err = mirror.OpenPlace(here, false); err != nil {
				return err
			}
			defer s.Place.Close()
		}
		return c.check(ctx, t, s, tree, hash)
	})
	return cmd
}

func (c *client) check(ctx context.Context, t *transfers, s mirror.Sync, tree remote.Tree, hash bool) error {
	type row struct {
		Path string `json:"path"`
		Why  string `json:"why"`
	}
	rows := []row{}
	differ := 0
	r := c.reporter("check", nil)
	run := mirror.NewRun(ctx, tree, mirror.Options{Tell: r.tell, Follow: t.follow, Algorithm: t.algo, Idle: c.timeout, Retry: 3})
	began := time.Now()
	run.Check(s, hash, func(d mirror.Difference) {
		differ++
		switch {
		case c.asJSONL:
			c.jsonLine(row{d.Name, d.Why})
		case c.asJSON:
			rows = append(rows, row{d.Name, d.Why})
		default:
			fmt.Fprintf(c.stdout, "%-8s %s\n", d.Why, screen.Line(d.Name))
		}
	})
	sum := run.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	asJSON := c.asJSON
	if sum.Failed > 0 {
		for _, e := range sum.Errors {
			*c.errors = append(*c.errors, toWire(e))
		}
		c.asJSON, c.asJSONL = false, false // its rows are what is written, and no summary
		err := r.end(sum, time.Since(began))
		if c.asJSON = asJSON; asJSON {
			c.jsonList(rows, err)
		}
		return err
	}
	if asJSON {
		c.jsonLine(rows)
	}
	if differ > 0 {
		return &exitError{exitMismatch, ""}
	}
	return nil
}
