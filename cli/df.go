package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"dray/screen"
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
		size := screen.Size
		if exact {
			size = func(n int64) string { return fmt.Sprint(n) }
		}
		err = c.each(ctx, targets, func(t target, _ *failures) error {
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
			default:
				fmt.Fprintf(c.stdout, "%s  %s\n", screen.Room(free, total, size), screen.Line(t.u.String()))
			}
			return nil
		})
		if c.asJSON {
			c.jsonList(rows, err)
		}
		return err
	})
	return cmd
}
