package cli

import (
	"context"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"dray/mirror"
	"dray/remote"
	"dray/shell"
)

func editCommand() *cobra.Command {
	c := &client{}
	cmd := &cobra.Command{
		Use:   "edit URL",
		Short: "edit a file of a server with $EDITOR",
		Long: `Fetch a file, open it with $VISUAL or $EDITOR, and send it back when it was changed. A
file that is not there is made. When the file on the server was changed meanwhile it is
left alone, and yours is kept here.`,
		Example: `  dray edit sftp://alice@example.net/~/notes.txt`,
		Args:    wantsURLs(1, "dray edit sftp://alice@example.net/~/notes.txt"),
	}
	c.flags(cmd.Flags())
	cmd.RunE = c.run(func(ctx context.Context, args []string) error {
		if len(args) > 1 {
			return usagef("edit takes one URL, and there are %d", len(args))
		}
		if err := c.refuse("is not for edit, which shows the file to a person", "json", "jsonl"); err != nil {
			return err
		}
		return c.edit(ctx, args[0])
	})
	return cmd
}

// edit is the edit of a shell that does nothing else.
func (c *client) edit(ctx context.Context, arg string) error {
	if local(arg) {
		return usagef("%s is no URL\n      edit works on a server: dray edit sftp://host/%s", arg, baseOf(arg))
	}
	u, err := c.parse(arg)
	if err != nil {
		return err
	}
	if err := asItIs(u, "edit"); err != nil {
		return err
	}
	in, inFile := c.cmd.InOrStdin().(*os.File)
	terminal, _ := c.toTerminal()
	c.spoken = append(c.spoken, u.Scheme)
	file := pathOf(u)
	u.Path, u.DirWanted = "", true
	sh := shell.New(&editFront{&shellFront{c, &questions{c: c, to: make(chan os.Signal, 1)}}, u}, shell.Options{
		Out: c.stdout, Err: c.show, Terminal: terminal && inFile && term.IsTerminal(int(in.Fd())), Home: c.dirs.Home, Timeout: c.timeout,
		Transfer: mirror.Options{Idle: c.timeout, Retry: 3, RetryFor: time.Minute, Suffix: mirror.Suffix, Resume: mirror.ResumeNever},
	})
	if err := sh.Open(ctx, shell.Open{}); err != nil {
		sh.Close()
		return err
	}
	if status := sh.Command(ctx, "edit -- "+shell.Quote(file)); status != exitOK {
		return &exitError{status, ""}
	}
	return nil
}

// An editFront opens one account, that of the URL of the command.
type editFront struct {
	*shellFront
	u remote.URL
}

func (f *editFront) Open(shell.Open) (remote.URL, remote.Tree, error) {
	tree, err := f.tree(f.u)
	return f.u, tree, err
}
