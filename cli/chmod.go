package cli

import (
	"context"
	"io/fs"

	"github.com/spf13/cobra"

	"dray/ftp"
)

func chmodCommand() *cobra.Command {
	c := &client{}
	cmd := &cobra.Command{
		Use:   "chmod MODE URL...",
		Short: "change the permissions of files on a server",
		Long:  `Change the permissions of files and directories on a server. MODE is octal, as 644.`,
		Example: `  dray chmod 640 sftp://alice@example.net/secret.txt
  dray chmod 755 ftp://ftp.example.net/cgi-bin/run`,
		Args: wantsURLs(2, "dray chmod 640 sftp://alice@example.net/secret.txt"),
	}
	c.flags(cmd.Flags())
	cmd.RunE = c.changing(func(ctx context.Context, args []string) error {
		mode, err := ftp.ParseMode(args[0])
		if err != nil || mode > 0o777 {
			return usagef("%q is no mode; write octal digits, as 644", args[0])
		}
		targets, err := c.targets("chmod", args[1:])
		if err != nil {
			return err
		}
		return c.eachMatch(ctx, targets, func(m match) error {
			if err := m.tree.Chmod(ctx, pathOf(m.u), fs.FileMode(mode)); err != nil {
				return err
			}
			c.did("chmod", m.u.String())
			return nil
		})
	})
	return cmd
}
