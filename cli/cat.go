package cli

import (
	"context"

	"github.com/spf13/cobra"
)

func catCommand() *cobra.Command {
	c, t := &client{}, &transfers{parallel: "auto", resume: "auto", verify: "auto", retryOn: "transient", conflict: "replace", preserve: "none", suffix: "."}
	cmd := &cobra.Command{
		Use:     "cat URL...",
		Short:   "write files of a server to standard output",
		Long:    `Write files of a server to standard output, one behind the other.`,
		Example: `  dray cat sftp://alice@example.net/etc/motd`,
		Args:    wantsURLs(1, "dray cat sftp://alice@example.net/notes.txt"),
	}
	c.flags(cmd.Flags())
	cmd.Flags().StringVar(&t.limit, "limit-rate", "", "move at most so many bytes a second, a `RATE` as 500K or 5M")
	cmd.RunE = c.run(func(ctx context.Context, args []string) error {
		targets, err := c.targets("cat", args)
		if err != nil {
			return err
		}
		return c.each(ctx, targets, func(at target) error {
			t.ascii = at.u.Type == "A"
			return c.pour(ctx, c.stdout, at.tree, at.u, t)
		})
	})
	return cmd
}
