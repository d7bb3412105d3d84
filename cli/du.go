package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"dray/fault"
	"dray/ftp"
	"dray/remote"
	"dray/screen"
)

func duCommand() *cobra.Command {
	c := &client{}
	var summary, exact bool
	var depth int
	cmd := &cobra.Command{
		Use:   "du [-s] URL...",
		Short: "add up the sizes of files in directories of a server",
		Example: `  dray du -s sftp://alice@example.net/~/
  dray du --depth 1 nas:backups`,
		Args: wantsURLs(1, "dray du sftp://alice@example.net/~/"),
	}
	c.flags(cmd.Flags())
	cmd.Flags().BoolVarP(&summary, "summarize", "s", false, "only the sum of each URL")
	cmd.Flags().IntVarP(&depth, "depth", "d", -1, "only directories down to `N` levels below")
	cmd.Flags().BoolVar(&exact, "bytes", false, "sizes in bytes")
	cmd.RunE = c.run(func(ctx context.Context, args []string) error {
		targets, err := c.targets("du", args)
		if err != nil {
			return err
		}
		if summary {
			if err := c.refuse("and --summarize do not go together", "depth"); err != nil {
				return err
			}
			depth = 0
		}
		w := &usage{c: c, depth: depth, exact: exact}
		err = c.each(ctx, targets, func(t target, fails *failures) error {
			e, err := statRemote(ctx, t.tree, t.u)
			if err != nil {
				return err
			}
			if !e.Mode.IsDir() {
				w.show(t.u.String(), e.Size, 1)
				return nil
			}
			_, _, err = w.dir(ctx, t, fails, 0)
			return err
		})
		if c.asJSON {
			if w.rows == nil {
				w.rows = []wireUsage{}
			}
			c.jsonList(w.rows, err)
		}
		return err
	})
	return cmd
}

type wireUsage struct {
	URL   string `json:"url"`
	Bytes int64  `json:"bytes"`
	Files int64  `json:"files"`
}

// A usage adds up directories.
type usage struct {
	c     *client
	depth int // -1: no limit
	exact bool
	rows  []wireUsage
}

func (w *usage) show(url string, bytes, files int64) {
	row := wireUsage{url, bytes, files}
	switch {
	case w.c.asJSON:
		w.rows = append(w.rows, row)
	case w.c.asJSONL:
		w.c.jsonLine(row)
	case w.exact:
		fmt.Fprintf(w.c.stdout, "%12d  %s\n", bytes, screen.Line(url))
	default:
		fmt.Fprintf(w.c.stdout, "%10s  %s\n", screen.Size(bytes), screen.Line(url))
	}
}

// dir adds up a directory. One below it that can't be listed is told, and what is known
// of it counts.
func (w *usage) dir(ctx context.Context, t target, fails *failures, level int) (bytes, files int64, err error) {
	if level > maxShown {
		return 0, 0, fault.New(fault.BadName, fault.IDBadName, t.u.String())
	}
	var subs []string
	for e, err := range t.tree.List(ctx, pathOf(t.u)) {
		switch {
		case err != nil:
			return bytes, files, err
		case e.Mode.IsDir():
			if e.Name != "" && e.Name != "." && e.Name != ".." && !strings.Contains(e.Name, "/") {
				subs = append(subs, e.Name)
			}
		case e.Is(ftp.KnownSize) && e.Mode.Type() == 0:
			bytes += e.Size
			files++
		}
	}
	for _, name := range subs {
		sub := t
		sub.u.Path, sub.u.DirWanted = remote.Join(t.u.Path, name), false
		b, n, err := w.dir(ctx, sub, fails, level+1)
		bytes, files = bytes+b, files+n
		switch {
		case ctx.Err() != nil:
			return bytes, files, err
		case err != nil:
			fails.at(sub, err)
		}
		if fails.over(t) {
			return bytes, files, nil
		}
	}
	if w.depth < 0 || level <= w.depth {
		w.show(t.u.String(), bytes, files)
	}
	return bytes, files, nil
}
