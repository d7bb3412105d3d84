package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"dray/ftp"
	"dray/remote"
)

func statCommand() *cobra.Command {
	c := &client{}
	cmd := &cobra.Command{
		Use:     "stat URL...",
		Short:   "show what a server tells of a file",
		Example: `  dray stat --json sftp://alice@example.net/report.pdf`,
		Args:    wantsURLs(1, "dray stat sftp://alice@example.net/report.pdf"),
	}
	c.flags(cmd.Flags())
	cmd.RunE = c.run(func(ctx context.Context, args []string) error {
		targets, err := c.targets("stat", args)
		if err != nil {
			return err
		}
		all := []wireEntry{}
		err = c.each(ctx, targets, func(t target) error {
			e, err := statRemote(ctx, t.tree, t.u)
			if err != nil {
				return err
			}
			e.Name = remote.Base(pathOf(t.u))
			switch {
			case c.asJSONL:
				c.jsonLine(wireOf(t.u.String(), &e))
			case c.asJSON:
				all = append(all, wireOf(t.u.String(), &e))
			default:
				c.printStat(t.u, &e)
			}
			return nil
		})
		if c.asJSON {
			c.jsonLine(all)
		}
		return err
	})
	return cmd
}

func (c *client) printStat(u remote.URL, e *remote.Entry) {
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(c.stdout, "%-7s %s\n", name, clean(value))
		}
	}
	row("url", u.String())
	row("type", typeOf(e))
	if e.Is(ftp.KnownSize) && !e.Mode.IsDir() {
		row("size", fmt.Sprintf("%d (%s)", e.Size, sizeOf(e.Size)))
	}
	if e.Is(ftp.KnownTime) {
		row("time", e.Time.Local().Format(time.RFC3339))
	}
	if e.Is(ftp.KnownMode) {
		row("mode", fmt.Sprintf("%04o %s", e.Mode.Perm(), letters(e)))
	}
	owner := e.Owner
	if owner == "" && e.UID|e.GID != 0 {
		owner = fmt.Sprint(e.UID)
	}
	row("owner", owner)
	row("group", e.Group)
	row("link", e.Target)
	row("perm", e.Perm)
	row("unique", e.Unique)
}
