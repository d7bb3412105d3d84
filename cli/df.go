package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
)

func dfCommand() *cobra.Command {
	c := &client{}
	var exact bool
	cmd := &cobra.Command{
		Use:   "df URL...",
		Short: "show how much room there is on a server",
		Long: `Show how much may still be stored in a directory of a server, as far as the server
tells: by statvfs over SFTP, by AVBL over FTP.`,
		Example: `  dray df sftp://alice@example.net/~/`,
		Args:    wantsURLs(1, "dray df sftp://alice@example.net/~/"),
	}
	c.flags(cmd.Flags())
	cmd.Flags().BoolVar(&exact, "bytes", false, "sizes in bytes")
	cmd.RunE = c.run(func(ctx context.Context, args []string) error {
		targets, err := c.targets("df", args)
		if err != nil {
			return err
		}
		type row struct {
			URL   string `json:"url"`
			Free  uint64 `json:"free"`
			Total uint64 `json:"total,omitempty"`
		}
		rows := []row{}
		size := func(n uint64) string {
			if exact {
				return fmt.Sprint(n)
			}
			return sizeOf(int64(min(n, 1<<62)))
		}
		err = c.each(ctx, targets, func(t target) error {
			free, total, err := t.tree.Space(ctx, pathOf(t.u))
			if err != nil {
				return err
			}
			r := row{t.u.String(), free, total}
			switch {
			case c.asJSONL:
				c.jsonLine(r)
			case c.asJSON:
				rows = append(rows, r)
			case total > 0:
				fmt.Fprintf(c.stdout, "%s free of %s (%d%% used)  %s\n", size(free), size(total), percent(int64(min(total-min(free, total), 1<<62)), int64(min(total, 1<<62))), clean(t.u.String()))
			default:
				fmt.Fprintf(c.stdout, "%s free  %s\n", size(free), clean(t.u.String()))
			}
			return nil
		})
		if c.asJSON {
			c.jsonLine(rows)
		}
		return err
	})
	return cmd
}
