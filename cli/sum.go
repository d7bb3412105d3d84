package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"dray/fault"
	"dray/mirror"
	"dray/remote"
	"dray/screen"
	"dray/transfer"
)

func sumCommand() *cobra.Command {
	c := &client{}
	var algorithm string
	cmd := &cobra.Command{
		Use:   "sum [--algo sha256] URL...",
		Short: "show the checksums of files on a server",
		Long: `Show the checksum of each file, in the form of sha256sum. The server makes it where it
can (HASH, XSHA256 and their kin over FTP, check-file over SFTP); else the file is
read and nothing of it is kept.`,
		Example: `  dray sum sftp://alice@example.net/backup.tar
  dray sum --algo md5 'ftp://ftp.example.net/pub/*.iso'`,
		Args: wantsURLs(1, "dray sum sftp://alice@example.net/backup.tar"),
	}
	c.flags(cmd.Flags())
	cmd.Flags().StringVar(&algorithm, "algo", "sha256", "`NAME` of the checksum: "+strings.Join(mirror.Sums(), ", "))
	cmd.RunE = c.run(func(ctx context.Context, args []string) error {
		algorithm = strings.ToLower(strings.ReplaceAll(algorithm, "-", ""))
		if !slices.Contains(mirror.Sums(), algorithm) {
			return usagef("--algo is one of %s, not %q", strings.Join(mirror.Sums(), ", "), algorithm)
		}
		targets, err := c.targets("sum", args)
		if err != nil {
			return err
		}
		type row struct {
			URL       string `json:"url"`
			Algorithm string `json:"algorithm"`
			Sum       string `json:"sum"`
			By        string `json:"by"`
		}
		rows := []row{}
		err = c.eachMatch(ctx, targets, func(m match) error {
			if m.entry != nil && m.entry.Mode.IsDir() {
				return nil
			}
			sum, by, err := sumOf(ctx, c, m.tree, m.u, algorithm)
			if err != nil {
				return err
			}
			r := row{m.u.String(), algorithm, sum, by}
			switch {
			case c.asJSONL:
				c.jsonLine(r)
			case c.asJSON:
				rows = append(rows, r)
			default:
				fmt.Fprintf(c.stdout, "%s  %s\n", sum, screen.Line(remote.Base(m.u.Path)))
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

// sumOf is the checksum of a file, and who has made it: "server", or "read".
func sumOf(ctx context.Context, c *client, tree remote.Tree, u remote.URL, algorithm string) (sum, by string, err error) {
	traits, err := tree.Traits(ctx)
	if err != nil {
		return "", "", err
	}
	for _, a := range traits.Sums {
		if !strings.EqualFold(a, algorithm) {
			continue
		}
		sum, err := tree.Sum(ctx, pathOf(u), algorithm, 0, 0)
		if err == nil || fault.KindOf(err) != fault.Unsupported && fault.Of(err).ID != fault.IDServerSaysNo {
			return sum, "server", err
		}
	}
	s := mirror.NewSummer(algorithm)
	if err := c.read(ctx, tree, u, transfer.Options{}, s); err != nil {
		return "", "", err
	}
	sum, err = s.Sum()
	return sum, "read", err
}
