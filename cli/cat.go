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
	cmd.Flags().StringVar(&t.limit, "limit-rate", "", rateHelp)
	cmd.RunE = c.run(func(ctx context.Context, args []string) error {
		if err := c.refuse("is not for cat, whose output is what is in the files", "json", "jsonl"); err != nil {
			return err
		}
		targets, err := c.targets("cat", args)
		if err != nil {
			return err
		}
		return c.each(ctx, targets, func(at target, _ *failures) error {
			t.ascii = at.u.Type == "A"
			return c.pour(ctx, c.stdout, at.tree, at.u, t)
		})
	})
	return cmd
}
