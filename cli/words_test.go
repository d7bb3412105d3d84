package cli

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"dray/explain"
)

var anOption = regexp.MustCompile(`--[a-zA-Z][a-zA-Z0-9-]*`)

// unknownWords lists what a command line of dray has that the program has not.
func unknownWords(root *cobra.Command, line string) (unknown []string) {
	words := strings.Fields(line)
	cmd := root
	for _, w := range words[1:] {
		i := slices.IndexFunc(cmd.Commands(), func(c *cobra.Command) bool { return c.Name() == w })
		if i < 0 {
			if cmd.HasSubCommands() && !strings.HasPrefix(w, "-") {
				unknown = append(unknown, "the command "+w)
			}
			break
		}
		cmd = cmd.Commands()[i]
	}
	for _, o := range anOption.FindAllString(line, -1) {
		if cmd.Flags().Lookup(strings.TrimPrefix(o, "--")) == nil && o != "--help" && o != "--version" {
			unknown = append(unknown, "the option "+o+" of "+cmd.CommandPath())
		}
	}
	return unknown
}

func everyCommand(root *cobra.Command, f func(*cobra.Command)) {
	f(root)
	for _, c := range root.Commands() {
		everyCommand(c, f)
	}
}

// What stands between backquotes is typed; elsewhere an option is one of some
// command.
func TestNoEntryOfExplainNamesACommandOrOptionThatDoesNotExist(t *testing.T) {
	root := Root()
	options := map[string]bool{}
	everyCommand(root, func(c *cobra.Command) { c.Flags().VisitAll(func(f *pflag.Flag) { options["--"+f.Name] = true }) })
	for _, e := range explain.All() {
		texts := slices.Concat([]string{e.Peer, e.Means, e.Operator, e.Confirm, e.You, e.Admin}, e.Facts, e.Dialects)
		for _, text := range texts {
			for i, part := range strings.Split(text, "`") {
				if typed := i%2 == 1; typed {
					if part == "dray" || strings.HasPrefix(part, "dray ") {
						for _, u := range unknownWords(root, part) {
							t.Errorf("%s: there is not %s: `%s`", e.ID, u, part)
						}
					}
					if !strings.HasPrefix(part, "--") { // another tool's own
						continue
					}
				}
				for _, o := range anOption.FindAllString(part, -1) {
					if !options[o] {
						t.Errorf("%s: no command has the option %s: %q", e.ID, o, text)
					}
				}
				if strings.Contains(strings.ToLower(part), "dray ") {
					t.Errorf("%s: the program without backquotes around what is typed: %q", e.ID, text)
				}
			}
		}
	}
}

// Each line of the examples of a command can be typed as it is.
func TestExamplesNameOnlyWhatExists(t *testing.T) {
	root := Root()
	everyCommand(root, func(c *cobra.Command) {
		if c.Name() == "completion" || c.HasParent() && c.Parent().Name() == "completion" {
			return
		}
		if c.Runnable() && c.HasParent() && c.Example == "" && c.Name() != "help" {
			t.Errorf("%s has no example", c.CommandPath())
		}
		for line := range strings.Lines(c.Example) {
			_, typed, ok := strings.Cut(" "+line, " dray ")
			if !ok {
				t.Errorf("%s: an example that is none of dray: %q", c.CommandPath(), line)
				continue
			}
			typed, _, _ = strings.Cut(typed, " && ")
			for _, u := range unknownWords(root, "dray "+typed) {
				t.Errorf("%s: there is not %s: %q", c.CommandPath(), u, line)
			}
		}
	})
}

// Several ids are explained one behind the other, and words without quotes lead to
// --text.
func TestExplainTakesSeveralIDs(t *testing.T) {
	said := func(args ...string) (string, error) {
		var out strings.Builder
		root := Root()
		root.SetOut(&out)
		root.SetArgs(append([]string{"explain"}, args...))
		err := root.Execute()
		return out.String(), err
	}
	out, err := said("refused", "[filtered]")
	fine(t, err)
	if !strings.HasPrefix(out, "refused\n") || !strings.Contains(out, "\n\nfiltered\n\nWhat it means\n") {
		t.Errorf("two ids are explained as\n%s", out)
	}
	out, err = said("--json", "refused", "auth")
	fine(t, err)
	if lines := strings.Split(strings.TrimSpace(out), "\n"); len(lines) != 2 || !strings.Contains(lines[1], `"id":"auth"`) {
		t.Errorf("two ids as JSON are\n%s", out)
	}
	for _, words := range [][]string{{"Connection", "refused"}, {"refused", "by peer"}} {
		out, err = said(words...)
		if want := "dray explain --text '" + strings.Join(words, " ") + "'"; err == nil || !strings.Contains(err.Error(), want) || out != "" {
			t.Errorf("%q: %v, with\n%s\nwant %s", words, err, out, want)
		}
	}
}
