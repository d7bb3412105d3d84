package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"dray/explain"
)

// maxPasted bounds what is read from standard input for --text; explain looks at the
// end of it.
const maxPasted = 16 << 20

func explainCommand() *cobra.Command {
	var asJSON bool
	var words string
	cmd := &cobra.Command{
		Use:   "explain [ID...]",
		Short: "say what a message means and what to do about it",
		Long: `Explain the id that stands in brackets at the end of a message, of this program
or of a server: what it means, how to see it by hand, and what each side can do.
Several are explained one behind the other; without an ID, all are listed.

With --text, find out what an error message of any program means, or a log: the
words of vsftpd, ProFTPD, Pure-FTPd, FileZilla, WinSCP, OpenSSH, PuTTY, curl,
lftp, rclone and others are known, and numbers and bytes that are text in truth
are read. A log of several lines tells more than its last line alone. German and
French messages of FileZilla, WinSCP, Windows and Linux are known too. Nothing is
sent anywhere. The exit status is 1 when nothing was found.`,
		Example: `  dray explain data-blocked
  dray explain
  dray explain --text '425 Security: Bad IP connecting.'
  dray explain --text 'Received message too long 1416128883'
  dray explain --text - < session.log`,
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
			switch {
			case cmd.Flags().Changed("text") && len(args) > 0:
				return usagef("give an ID or --text, not both; a text of several words needs quotes around it")
			case cmd.Flags().Changed("text"):
				return explainText(cmd, enc, words, asJSON)
			case len(args) == 0:
				entries := explain.All()
				slices.SortFunc(entries, func(a, b explain.Entry) int { return strings.Compare(string(a.ID), string(b.ID)) })
				if asJSON {
					var all []map[string]any
					for _, e := range entries {
						all = append(all, explained(e))
					}
					return enc.Encode(all)
				}
				for _, e := range entries {
					fmt.Fprintf(out, "%-22s%s.\n", e.ID, e.Short())
				}
				return nil
			}
			var entries []explain.Entry
			all := strings.Join(args, " ")
			for _, word := range args {
				e, ok := explain.Named(word)
				switch {
				case !ok && strings.ContainsAny(all, " \t\n"):
					return usagef("there is no message %q\n      for the words of a program: dray explain --text %s", word, shellWord(all))
				case !ok:
					return usagef("there is no message %q%s", word, meant(word))
				}
				entries = append(entries, e)
			}
			for i, e := range entries {
				if asJSON {
					if err := enc.Encode(explained(e)); err != nil {
						return err
					}
					continue
				}
				if i > 0 {
					fmt.Fprintln(out)
				}
				fmt.Fprintln(out, e.ID)
				writeEntry(out, e)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "write it as JSON")
	cmd.Flags().StringVar(&words, "text", "", "find out what `TEXT` means, an error message or a log; - reads it from standard input")
	return cmd
}

// meant is what to try in place of an id that does not exist.
func meant(word string) string {
	ids := explain.Close(word)
	if len(ids) == 0 {
		return "\n      dray explain lists them"
	}
	s := "\n      did you mean"
	for i, id := range ids {
		if i > 0 {
			s += ", or"
		}
		s += " " + string(id)
	}
	return s + "? dray explain lists them all"
}

// explained is an entry as JSON.
func explained(e explain.Entry) map[string]any {
	return map[string]any{"id": e.ID, "means": e.Means, "confirm": e.Confirm, "you": e.You, "admin": e.Admin, "log": e.Operator, "elsewhere": e.Dialects}
}

// writeEntry writes all of an entry but its id.
func writeEntry(out io.Writer, e explain.Entry) {
	part := func(title, text string) {
		if text == "" {
			return
		}
		fmt.Fprintf(out, "\n%s\n", title)
		for _, line := range fold(strings.ReplaceAll(text, "`", ""), 92) {
			fmt.Fprintf(out, "  %s\n", line)
		}
	}
	part("What it means", e.Means)
	part("How to see it", e.Confirm)
	part("What you can do", e.You)
	part("What the administrator of the server can do", e.Admin)
	part("In the log of the server", e.Operator)
	part("How other servers say it", strings.Join(e.Dialects, "\n"))
}

// explainText tells what the words of a program mean.
func explainText(cmd *cobra.Command, enc *json.Encoder, words string, asJSON bool) error {
	out := cmd.OutOrStdout()
	if words == "-" {
		b, err := io.ReadAll(io.LimitReader(cmd.InOrStdin(), maxPasted))
		if err != nil {
			return err
		}
		words = string(b)
	}
	if strings.TrimSpace(words) == "" {
		return usagef("there is no text")
	}
	matches := explain.Find(words)
	if len(matches) == 0 {
		if asJSON {
			if err := enc.Encode([]any{}); err != nil {
				return err
			}
		}
		return errors.New("nothing in this text is known here\n" +
			"      give more of it: the lines before the error tell what was going on\n" +
			"      to find the fault from here: dray doctor URL\n" +
			"      all that can be explained: dray explain")
	}
	if asJSON {
		var all []map[string]any
		for _, m := range matches {
			e, _ := explain.For(m.ID)
			v := explained(e)
			v["program"], v["line"], v["note"], v["also"] = m.Program, m.Line, m.Note, m.Also
			all = append(all, v)
		}
		return enc.Encode(all)
	}
	e, _ := explain.For(matches[0].ID)
	fmt.Fprintln(out, e.ID)
	writeMatch(out, matches[0], "  ")
	writeEntry(out, e)
	if len(matches[0].Also) > 0 {
		fmt.Fprint(out, "\nThe same words can also mean\n")
	}
	for _, id := range matches[0].Also {
		fmt.Fprintf(out, "  %-20s  dray explain %s\n", id, id)
	}
	if len(matches) > 1 {
		fmt.Fprint(out, "\nAlso in this text\n")
	}
	for _, m := range matches[1:] {
		fmt.Fprintf(out, "  %-20s  dray explain %s\n", m.ID, m.ID)
		writeMatch(out, m, "    ")
	}
	return nil
}

// writeMatch writes which words told it, and what was read out of them.
func writeMatch(out io.Writer, m explain.Match, indent string) {
	whose := ""
	if m.Program != "" {
		whose = m.Program + " says: "
	}
	for _, line := range fold(whose+m.Line, 92) {
		fmt.Fprintf(out, "%s%s\n", indent, line)
	}
	if m.Note != "" {
		for _, line := range fold(m.Note+".", 92) {
			fmt.Fprintf(out, "%s%s\n", indent, line)
		}
	}
}
