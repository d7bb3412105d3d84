package cli

import (
	"context"

	"github.com/spf13/cobra"

	"dray/remote"
	"dray/screen"
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
		err = c.each(ctx, targets, func(t target, _ *failures) error {
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
				screen.Facts(c.stdout, t.u.String(), &e)
			}
			return nil
		})
		if c.asJSON {
			c.jsonList(all, err)
		}
		return err
	})
	return cmd
}
