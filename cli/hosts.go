package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"dray/remote"
	"dray/screen"
)

func hostsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "hosts",
		Short: "names for servers: NAME:path in place of a URL",
		Long: `Store servers under names of their own, so that NAME:path stands for a URL with all
that belongs to it. They are in hosts.toml in the configuration directory, which can
be edited by hand. A password is best kept elsewhere: in a password manager, with
--password-command, or in ~/.netrc.`,
		Example: `  dray hosts add nas sftp://alice@nas.example.net/backups
  dray ls nas:2026
  dray hosts import filezilla`,
		Args: noWord,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(hostsListCommand(), hostsAddCommand(false), hostsAddCommand(true), hostsRemoveCommand(), hostsImportCommand())
	return cmd
}

// noWord refuses words where a command of a group was meant.
func noWord(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("there is no command %q of %s\n      %[2]s --help shows the commands", args[0], cmd.CommandPath())
	}
	return nil
}

// storedHosts are the hosts of the file, and the file.
func storedHosts() (*remote.Hosts, string, error) {
	dirs, err := remote.FindDirs(os.Getenv)
	if err != nil {
		return nil, "", usagef("%v", err)
	}
	file := dirs.HostsFile(os.Getenv)
	h, err := remote.LoadHosts(file)
	if err != nil {
		return nil, "", usagef("%v", err)
	}
	return h, file, nil
}

func hostsListCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "ls",
		Short:   "list stored hosts",
		Example: "  dray hosts ls",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			h, _, err := storedHosts()
			if err != nil {
				return err
			}
			for _, w := range h.Warnings {
				fmt.Fprintln(cmd.ErrOrStderr(), "dray: "+screen.Line(w))
			}
			type row struct {
				Name string `json:"name"`
				URL  string `json:"url"`
			}
			rows := []row{}
			wide := 0
			for _, one := range h.List() {
				u, err := one.Place()
				if err != nil {
					return usagef("%v", err)
				}
				u.StoredName = ""
				rows = append(rows, row{one.Name, u.String()})
				wide = max(wide, len(one.Name))
			}
			if asJSON {
				c := &client{stdout: cmd.OutOrStdout()}
				c.jsonLine(rows)
				return nil
			}
			for _, r := range rows {
				fmt.Fprintf(cmd.OutOrStdout(), "%-*s  %s\n", wide, r.Name, screen.Line(r.URL))
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "write the list as JSON")
	return cmd
}

// hostsAddCommand is add, or set for a host that is there.
func hostsAddCommand(set bool) *cobra.Command {
	var one remote.Host
	var trust string
	use, short, example := "add NAME URL", "store a host", `  dray hosts add nas sftp://alice@nas.example.net/backups
  dray hosts add camera ftp+plain://10.0.0.7 --password-command 'pass show camera'`
	if set {
		use, short, example = "set NAME [URL]", "change a stored host", `  dray hosts set nas --jump gate.example.net
  dray hosts set nas sftp://bob@nas.example.net`
	}
	cmd := &cobra.Command{Use: use, Short: short, Example: example}
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		switch {
		case set && len(args) != 1 && len(args) != 2:
			return usagef("hosts set takes a name, and perhaps a URL\n      for example: dray hosts set nas --jump gate.example.net")
		case !set && len(args) != 2:
			return usagef("hosts add takes a name and a URL\n      for example: dray hosts add nas sftp://alice@nas.example.net/backups")
		}
		return nil
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&one.Identity, "identity", "", "offer the private key in `FILE` (SFTP)")
	f.StringVar(&one.Jump, "jump", "", "go through `HOST` (SFTP)")
	f.StringVar(&one.Path, "path", "", "where NAME:path begins, a `PATH` on the server")
	f.StringVar(&trust, "trust", "", "whom to trust, `HOW`: ca, tofu, pin or insecure")
	f.StringVar(&one.PasswordCommand, "password-command", "", "run `COMMAND`, whose first line is the password")
	f.BoolVar(&one.Plain, "plain", false, "a password may go in clear text (FTP)")
	f.BoolVar(&one.Active, "active", false, "let the server connect to us for data (FTP)")
	f.StringVar(&one.Charset, "charset", "", "names on the server are in `CHARSET` (FTP)")
	f.IntVar(&one.Parallel, "parallel", 0, "at most `N` connections at once")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		hosts, file, err := storedHosts()
		if err != nil {
			return err
		}
		old, there := hosts.Get(args[0])
		switch {
		case set && !there:
			return &exitError{exitNotFound, fmt.Sprintf("there is no stored host %q\n      dray hosts ls lists them, dray hosts add stores one", args[0])}
		case !set && there:
			return &exitError{exitFailed, fmt.Sprintf("there is a stored host %q already\n      dray hosts set changes it", args[0])}
		}
		if set && len(args) == 1 && cmd.Flags().NFlag() == 0 {
			return usagef("hosts set needs something to change: a URL or an option\n      dray hosts set --help shows the options")
		}
		host := old
		host.Name = args[0]
		if len(args) == 2 {
			u, err := remote.Parse(args[1], nil)
			if err != nil {
				return usagef("%v", err)
			}
			if u.HasPassword {
				return usagef("a password does not belong into the URL of a stored host\n      use --password-command, ~/.netrc, or edit %s, which nobody else may read then", file)
			}
			host.URL = u.String()
		}
		fields := map[string]func(){
			"identity": func() { host.Identity = one.Identity }, "jump": func() { host.Jump = one.Jump }, "path": func() { host.Path = one.Path },
			"password-command": func() { host.PasswordCommand = one.PasswordCommand }, "plain": func() { host.Plain = one.Plain }, "active": func() { host.Active = one.Active },
			"charset": func() { host.Charset = one.Charset }, "parallel": func() { host.Parallel = one.Parallel },
		}
		cmd.Flags().Visit(func(fl *pflag.Flag) {
			if apply := fields[fl.Name]; apply != nil {
				apply()
			}
		})
		if cmd.Flags().Changed("trust") {
			if host.Trust, err = remote.ParseTrustMode(trust); err != nil {
				return usagef("--trust: %v", err)
			}
		}
		if err := hosts.Set(host); err != nil {
			return usagef("%v", err)
		}
		if err := hosts.Save(); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		return nil
	}
	return cmd
}

func hostsRemoveCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "rm NAME...",
		Short:   "forget stored hosts",
		Example: "  dray hosts rm nas",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("hosts rm takes the names of stored hosts\n      for example: dray hosts rm nas")
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			hosts, file, err := storedHosts()
			if err != nil {
				return err
			}
			for _, name := range args {
				found, err := hosts.Remove(name)
				if err != nil {
					return usagef("%v", err)
				}
				if !found {
					return &exitError{exitNotFound, fmt.Sprintf("there is no stored host %q\n      dray hosts ls lists them; nothing was removed", name)}
				}
			}
			if err := hosts.Save(); err != nil {
				return fmt.Errorf("%s: %w", file, err)
			}
			return nil
		},
	}
}

func hostsImportCommand() *cobra.Command {
	var dry, passwords bool
	cmd := &cobra.Command{
		Use:   "import ssh|filezilla|winscp|rclone|lftp [FILE]",
		Short: "store the hosts of another program",
		Long: `Store the hosts of another program under their names there. FILE is where that
program keeps them; without it the usual place is read. What has no counterpart here
is listed and left out, and so are passwords, unless --passwords asks for them.
Hosts that are stored already are left alone.`,
		Example: `  dray hosts import ssh
  dray hosts import filezilla ~/.config/filezilla/sitemanager.xml
  dray hosts import -n rclone`,
		ValidArgs: []string{"ssh", "filezilla", "winscp", "rclone", "lftp"},
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < 1 || len(args) > 2 {
				return usagef("hosts import takes a program, and perhaps a file: ssh, filezilla, winscp, rclone or lftp\n      for example: dray hosts import ssh")
			}
			return nil
		},
	}
	cmd.Flags().BoolVarP(&dry, "dry-run", "n", false, "show what would be stored, and store nothing")
	cmd.Flags().BoolVar(&passwords, "passwords", false, "store passwords too, where they are not protected (filezilla, lftp)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		hosts, file, err := storedHosts()
		if err != nil {
			return err
		}
		dirs, err := remote.FindDirs(os.Getenv)
		if err != nil {
			return usagef("%v", err)
		}
		var with []remote.ImportOption
		if passwords {
			with = append(with, remote.WithPasswords)
		}
		read := map[string]func(b []byte) (*remote.Imported, error){
			"ssh":       func(b []byte) (*remote.Imported, error) { return remote.ImportSSH(b) },
			"filezilla": func(b []byte) (*remote.Imported, error) { return remote.ImportFileZilla(b, with...) },
			"winscp":    func(b []byte) (*remote.Imported, error) { return remote.ImportWinSCP(b) },
			"rclone":    func(b []byte) (*remote.Imported, error) { return remote.ImportRclone(b) },
			"lftp":      func(b []byte) (*remote.Imported, error) { return remote.ImportLftp(b, with...) },
		}[args[0]]
		if read == nil {
			return usagef("nothing is known of the hosts of %q\n      known are ssh, filezilla, winscp, rclone and lftp", args[0])
		}
		from := importPlace(args[0], dirs.Home)
		if len(args) == 2 {
			from = args[1]
		}
		b, err := os.ReadFile(from)
		if err != nil {
			return &exitError{exitNotFound, fmt.Sprintf("%v\n      name the file: dray hosts import %s FILE", err, args[0])}
		}
		found, err := read(b)
		if err != nil {
			return &exitError{exitFailed, fmt.Sprintf("%s: %v", from, err)}
		}
		out := cmd.OutOrStdout()
		stored := 0
		for _, one := range found.Hosts {
			if _, there := hosts.Get(one.Name); there {
				fmt.Fprintf(out, "left alone  %s: stored already\n", screen.Line(one.Name))
				continue
			}
			if err := hosts.Set(one); err != nil {
				found.Left = append(found.Left, fmt.Sprintf("%s: %v", one.Name, err))
				continue
			}
			stored++
			u, err := one.Place()
			if err != nil {
				return usagef("%v", err)
			}
			fmt.Fprintf(out, "stored      %s  %s\n", screen.Line(one.Name), screen.Line(u.String()))
		}
		for _, l := range found.Left {
			fmt.Fprintf(out, "left out    %s\n", screen.Line(l))
		}
		if dry || stored == 0 {
			return nil
		}
		if err := hosts.Save(); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		return nil
	}
	return cmd
}

// importPlace is where another program keeps its hosts.
func importPlace(program, home string) string {
	config := os.Getenv("XDG_CONFIG_HOME")
	if config == "" {
		config = filepath.Join(home, ".config")
	}
	data := os.Getenv("XDG_DATA_HOME")
	if data == "" {
		data = filepath.Join(home, ".local", "share")
	}
	first := func(names ...string) string {
		for _, n := range names {
			if _, err := os.Stat(n); err == nil {
				return n
			}
		}
		return names[0]
	}
	switch program {
	case "ssh":
		return filepath.Join(home, ".ssh", "config")
	case "filezilla":
		if runtime.GOOS == "windows" {
			return filepath.Join(os.Getenv("APPDATA"), "FileZilla", "sitemanager.xml")
		}
		return first(filepath.Join(config, "filezilla", "sitemanager.xml"), filepath.Join(home, ".filezilla", "sitemanager.xml"))
	case "winscp":
		return filepath.Join(os.Getenv("APPDATA"), "WinSCP.ini")
	case "rclone":
		return first(filepath.Join(config, "rclone", "rclone.conf"), filepath.Join(home, ".rclone.conf"))
	}
	return first(filepath.Join(data, "lftp", "bookmarks"), filepath.Join(home, ".lftp", "bookmarks"))
}
