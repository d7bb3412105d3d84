// Package cli is the command line of dray: one file per command.
package cli

import (
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"dray/account/accountsql"
)

// Exit statuses.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// An exitError ends the program with a status; its text was written already
// when it is empty.
type exitError struct {
	status int
	text   string
}

func (e *exitError) Error() string { return e.text }

func usagef(format string, args ...any) error {
	return &exitError{exitUsage, fmt.Sprintf(format, args...)}
}

// Main runs the command line and returns the exit status.
func Main(args []string, stdout, stderr io.Writer) int {
	root := Root()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	if len(args) > 0 && args[0] == cobra.ShellCompRequestCmd {
		unquote(root)
	}
	err := root.Execute()
	if err == nil {
		return exitOK
	}
	status := exitFailed
	var ee *exitError
	if errors.As(err, &ee) {
		status = ee.status
	}
	if text := describeError(err); text != "" {
		fmt.Fprintln(stderr, "dray: "+text)
	}
	return status
}

// unquote takes the backquotes out of what the flags of cmd and of those below it
// are for: help finds a value's name between them, and a shell would show them.
func unquote(cmd *cobra.Command) {
	cmd.Flags().VisitAll(func(f *pflag.Flag) { _, f.Usage = pflag.UnquoteUsage(f) })
	for _, sub := range cmd.Commands() {
		unquote(sub)
	}
}

// describeError is what went wrong, and below it, indented, what else did and
// what to do about it.
func describeError(err error) string {
	text := err.Error()
	var accounts *accountsql.Error
	if errors.As(err, &accounts) && accounts.Do != "" {
		text += "\n" + accounts.Do
	}
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	for i, line := range lines[1:] {
		lines[i+1] = "      " + strings.TrimLeft(line, " ")
	}
	return strings.Join(lines, "\n")
}

// Root is the command tree; the reference and man pages are made from it.
func Root() *cobra.Command {
	root := &cobra.Command{
		Use:   "dray",
		Short: "move files over SFTP, FTP and FTPS",
		Long: `dray serves a directory over SFTP, FTP, explicit FTPS (AUTH TLS) and implicit
FTPS. Passwords cross the network over SSH and TLS only, unless you say otherwise;
an upload is shown under its name when it is whole and on the disk, and not before.`,
		Version:       version(),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("there is no command %q\n      dray --help shows the commands", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetVersionTemplate("dray {{.Version}}\n")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		var value *pflag.InvalidValueError
		if errors.As(err, &value) && value.GetFlag().Name == "hash" { // its text has the hash in it
			return usagef("%s", hashUse)
		}
		if value != nil && value.GetFlag().Value.Type() == "int" {
			return usagef("--%s: %q is no number; write digits, as 1000\n      %s --help shows the options", value.GetFlag().Name, value.GetValue(), cmd.CommandPath())
		}
		return usagef("%v\n      %s --help shows the options", err, cmd.CommandPath())
	})
	root.AddCommand(lsCommand(), getCommand(), putCommand(), catCommand(), mirrorCommand(), cpCommand(), rmCommand(), mvCommand(), mkdirCommand(), rmdirCommand(), chmodCommand(), statCommand(),
		duCommand(), findCommand(), dfCommand(), sumCommand(), checkCommand(), editCommand(), shCommand(), watchCommand(), hostsCommand(), trustCommand(), doctorCommand(), explainCommand(),
		initCommand(), serveCommand(), statusCommand(), userCommand(), configCommand(), firewallCommand())
	for _, cmd := range root.Commands() {
		if f := cmd.Flags().Lookup("password-cmd"); f != nil {
			cmd.SetUsageFunc(clientUsage)
		}
	}
	return root
}

// version is what the build knows of itself.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v := strings.TrimSuffix(strings.TrimPrefix(info.Main.Version, "v"), "+dirty")
	if v == "" || v == "(devel)" {
		v = "development"
	}
	return v + " " + info.GoVersion
}
