package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"dray/fault"
	"dray/ftp"
	"dray/mirror"
	"dray/remote"
	"dray/transfer"
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
		t, err := c.one("edit", args[0])
		if err != nil {
			return err
		}
		return c.edit(ctx, t.tree, t.u)
	})
	return cmd
}

func (c *client) edit(ctx context.Context, tree remote.Tree, u remote.URL) error {
	dir, err := os.MkdirTemp("", "dray-edit-*")
	if err != nil {
		return err
	}
	name := filepath.Join(dir, "file")
	if base := remote.Base(u.Path); mirror.CheckName(base) == nil {
		name = filepath.Join(dir, base)
	}
	keep := false
	defer func() {
		if !keep {
			_ = os.RemoveAll(dir)
		}
	}()
	before, err := c.fetchTo(ctx, tree, u, name)
	if err != nil {
		return err
	}
	sumBefore, err := sumFile(name)
	if err != nil {
		return err
	}
	if err := c.editor(ctx, name); err != nil {
		return err
	}
	sumAfter, err := sumFile(name)
	if err != nil {
		return err
	}
	if sumBefore == sumAfter {
		c.warn("%s was not changed", u)
		return nil
	}
	keep = true
	now, err := tree.Stat(ctx, pathOf(u))
	gone := errors.Is(err, fs.ErrNotExist)
	if err != nil && !gone {
		return err
	}
	if gone != (before == nil) || before != nil && (now.Size != before.Size || !now.Time.Equal(before.Time)) {
		return &exitError{exitMismatch, fmt.Sprintf("%s was changed on the server meanwhile: nothing was sent\n      yours is %s", u, name)}
	}
	t := &transfers{resume: "never", verify: "auto", retry: 3, retryFor: time.Minute, retryOn: "transient", conflict: "replace", preserve: "none", parallel: "auto", suffix: mirror.Suffix}
	r := c.reporter("edit", nil)
	err = c.transfer(ctx, t, tree, r, func(run *mirror.Run) error {
		run.Upload(mirror.Upload{File: name, Path: pathOf(u), URL: u.String(), Size: -1})
		return nil
	})
	if err != nil {
		fmt.Fprintf(c.show, "      yours is kept: %s\n", name)
		return err
	}
	if before != nil && before.Is(ftp.KnownMode) {
		_ = tree.Chmod(ctx, pathOf(u), before.Mode.Perm())
	}
	keep = false
	return nil
}

// fetchTo fetches a file to a new one here; nil when there is none on the server.
func (c *client) fetchTo(ctx context.Context, tree remote.Tree, u remote.URL, name string) (*remote.Entry, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	e, err := tree.Stat(ctx, pathOf(u))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	case e.Mode.IsDir():
		return nil, fault.New(fault.IsDir, fault.IDIsDir, u.String())
	}
	_, err = tree.Get(ctx, pathOf(u), remote.Get{Size: e.Size, How: transfer.Options{Idle: c.timeout}}, at0{f})
	return &e, err
}

// at0 is a file as a transfer.Dest, from its beginning.
type at0 struct{ *os.File }

func (at0) Offset() int64 { return 0 }

func sumFile(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	return mirror.SumReader("sha256", f)
}

// editor opens a file with the editor of the user.
func (c *client) editor(ctx context.Context, name string) error {
	editor := os.Getenv("VISUAL")
	if editor == "" {
		editor = os.Getenv("EDITOR")
	}
	if editor == "" {
		editor = "vi"
		if runtime.GOOS == "windows" {
			editor = "notepad"
		}
	}
	cmd := exec.CommandContext(ctx, "sh", "-c", editor+` "$1"`, "sh", name) // $EDITOR may have arguments
	if runtime.GOOS == "windows" {
		cmd = exec.CommandContext(ctx, editor, name)
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, c.stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return &exitError{exitFailed, fmt.Sprintf("%s: %v\n      set EDITOR to the editor that you want; nothing was sent", editor, err)}
	}
	return nil
}
