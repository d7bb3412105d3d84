package cli

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"dray/explain"
	"dray/fault"
)

func explainCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "explain [ID]",
		Short: "say what a message means and what to do about it",
		Long: `Explain the id that stands in brackets at the end of a message, of this program
or of a server: what it means, how to see it by hand, and what each side can do.
Without an ID, list them all.`,
		Example: `  dray explain data-blocked
  dray explain`,
		Args: cobra.MaximumNArgs(1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			var ids []string
			for _, e := range explain.All() {
				ids = append(ids, string(e.ID))
			}
			return ids, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			out := cmd.OutOrStdout()
			enc := json.NewEncoder(out)
			enc.SetEscapeHTML(false)
			value := func(e explain.Entry) map[string]any {
				return map[string]any{"id": e.ID, "means": e.Means, "confirm": e.Confirm, "you": e.You, "admin": e.Admin, "log": e.Operator, "elsewhere": e.Dialects}
			}
			if len(args) == 0 {
				entries := explain.All()
				slices.SortFunc(entries, func(a, b explain.Entry) int { return strings.Compare(string(a.ID), string(b.ID)) })
				if asJSON {
					var all []map[string]any
					for _, e := range entries {
						all = append(all, value(e))
					}
					return enc.Encode(all)
				}
				for _, e := range entries {
					first, _, _ := strings.Cut(e.Means, ". ")
					fmt.Fprintf(out, "%-22s%s.\n", e.ID, strings.TrimSuffix(first, "."))
				}
				return nil
			}
			id := strings.Trim(args[0], "[]")
			e, ok := explain.For(fault.ID(id))
			if !ok {
				return usagef("there is no message %q\n      dray explain lists them", id)
			}
			if asJSON {
				return enc.Encode(value(e))
			}
			part := func(title, text string) {
				if text == "" {
					return
				}
				fmt.Fprintf(out, "\n%s\n", title)
				for _, line := range fold(strings.ReplaceAll(text, "`", ""), 92) {
					fmt.Fprintf(out, "  %s\n", line)
				}
			}
			fmt.Fprintln(out, e.ID)
			part("What it means", e.Means)
			part("How to see it", e.Confirm)
			part("What you can do", e.You)
			part("What the administrator of the server can do", e.Admin)
			part("In the log of the server", e.Operator)
			part("How other servers say it", strings.Join(e.Dialects, "\n"))
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "write it as JSON")
	return cmd
}
