package cli

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"dray/config"
)

func configCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "check and show the configuration of a server",
		Long: `The configuration is the file that is named, else that of the environment variable
` + configEnv + `, else the usual one: for others than root ~/.config/dray/dray.toml where
it is there, else ` + DefaultConfig + `. Every value can also come from a variable:
DRAY_LIMITS_IDLE is idle in [limits].`,
		Example: `  dray config example > dray.toml
  dray config check dray.toml
  dray config show`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	file := func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return []string{"toml"}, cobra.ShellCompDirectiveFilterFileExt
	}
	cmd.AddCommand(
		&cobra.Command{
			Use: "example", Short: "print a configuration with every setting in a comment",
			Long: `Print a configuration that sets nothing: every key in a comment, with its default
and what it is for. dray init writes the same with what this machine needs filled in.`,
			Example: "  dray config example > dray.toml", Args: noArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				_, err := fmt.Fprint(cmd.OutOrStdout(), config.Example())
				return err
			},
		},
		&cobra.Command{
			Use: "check [FILE]", Short: "list all that is wrong with a configuration, and what to write instead",
			Long: `List all that is wrong with a configuration, with file and line, and what to
write instead. The status is 2 when there is a mistake, and 0 when there are
only warnings.`,
			Example: `  dray config check
  dray config check ./dray.toml
  dray config check && systemctl reload dray`,
			Args: oneFile, ValidArgsFunction: file,
			RunE: func(cmd *cobra.Command, args []string) error {
				file := configFile(args)
				c, problems, err := loadConfig(file)
				if err != nil {
					return err
				}
				wrong, warnings := split(problems)
				if len(wrong) == 0 { // root may read what the server may not: look again as the server
					if err := becomeUser(c.User, c.Accounts.Owners); err != nil {
						return err
					}
				}
				for _, p := range warnings {
					fmt.Fprintln(cmd.OutOrStdout(), p)
				}
				if len(wrong) > 0 {
					return refuse(file+" can't be used", wrong)
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%s: no mistakes\n", file)
				return nil
			},
		},
		&cobra.Command{
			Use: "show [FILE]", Short: "print the configuration in effect, with defaults and where each value comes from",
			Long: `Print the configuration in effect as a file: every key with its value, and behind
those that were set the line of the file or the variable that did it.`,
			Example: `  dray config show
  DRAY_LIMITS_IDLE=20m dray config show ./dray.toml | grep idle`,
			Args: oneFile, ValidArgsFunction: file,
			RunE: func(cmd *cobra.Command, args []string) error {
				file := configFile(args)
				c, problems, err := loadConfig(file)
				if err != nil {
					return err
				}
				if wrong, _ := split(problems); len(wrong) > 0 {
					return refuse(file+" can't be used", wrong)
				}
				_, err = fmt.Fprint(cmd.OutOrStdout(), config.Show(c))
				return err
			},
		},
	)
	return cmd
}

func oneFile(cmd *cobra.Command, args []string) error {
	if len(args) > 1 {
		return usagef("%s takes one file\n      for example: %s dray.toml", cmd.CommandPath(), cmd.CommandPath())
	}
	return nil
}

// configFile is the file that was named, or the usual one.
func configFile(args []string) string {
	if len(args) > 0 {
		return args[0]
	}
	if file := os.Getenv(configEnv); file != "" {
		return file
	}
	own, err := initConfig()
	if err != nil {
		return DefaultConfig
	}
	if _, err := os.Stat(own); err != nil {
		if _, err := os.Stat(DefaultConfig); err == nil {
			return DefaultConfig
		}
	}
	return own
}

// initConfig is the configuration that init writes for whoever runs this.
func initConfig() (string, error) {
	if os.Geteuid() == 0 {
		return DefaultConfig, nil
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", usagef("no home directory is known; name the file with --config")
	}
	return filepath.Join(dir, "dray", "dray.toml"), nil
}
