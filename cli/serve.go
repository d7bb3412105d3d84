package cli

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"dray/account"
	"dray/config"
	"dray/serve"
)

// grace is how long transfers may go on after the first SIGTERM.
const grace = 30 * time.Second

// passwordEnv names the environment variable that may hold the password.
const passwordEnv = "DRAY_PASSWORD"

func serveCommand() *cobra.Command {
	var c config.Quick
	var passwordFile, ready string
	var verbose bool
	cmd := &cobra.Command{
		Use:   "serve DIR",
		Short: "serve a directory over FTP and FTPS",
		Long: `Serve DIR to one user, over FTP with TLS (AUTH TLS) on port 21 and over implicit
FTPS on port 990; where these ports may not be bound, on 2121 and 2990. The
certificate is self-signed, made at the first start and kept.

The password comes from --password-file, from the environment variable
` + passwordEnv + `, or is made for this run and shown once. It is accepted over TLS only,
unless --plain allows clear text.

SIGTERM and SIGINT end accepting and let transfers finish, for 30 s at most; a
second one ends at once.`,
		Example: `  dray serve /srv/files
  dray serve /srv/pub --anonymous --read-only
  dray serve /srv/scans --plain --user scanner --password-file /etc/dray/scanner
  dray serve /srv/files --public ftp.example.net --passive 40000-40099`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("serve takes one directory\n      for example: dray serve /srv/files")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			c.Dir = args[0]
			return runServe(cmd, c, passwordFile, ready, verbose)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&c.User, "user", "", "`NAME` of the user (default dray)")
	f.StringVar(&passwordFile, "password-file", "", "read the password from the first line of `FILE`")
	f.BoolVar(&c.Anonymous, "anonymous", false, "let anybody read, as anonymous or ftp, also in clear text")
	f.BoolVar(&c.ReadOnly, "read-only", false, "let nobody change anything")
	f.BoolVar(&c.Plain, "plain", false, "allow passwords and files in clear text, for devices without TLS")
	f.StringVar(&c.FTP, "ftp", "", "`ADDR` of the listener for FTP and AUTH TLS, or off (default :21, else :2121)")
	f.StringVar(&c.FTPS, "ftps", "", "`ADDR` of the listener for implicit FTPS, or off (default :990, else :2990)")
	f.StringVar(&c.Passive, "passive", "", "ports `A-B` for data connections (default "+config.DefaultPassive+")")
	f.StringVar(&c.Public, "public", "", "`ADDRESS` or name that clients reach this host by, when it is behind NAT")
	f.StringVar(&c.State, "state", "", "`DIR` for the certificate (default "+stateHint()+")")
	f.StringVar(&c.Sync, "sync", "", "`HOW` uploads are kept: commit, on the disk before they are answered, or none, by the kernel (default commit)")
	f.StringVar(&ready, "ready", "", "write the addresses as JSON to `FILE` once all listeners are up")
	f.BoolVarP(&verbose, "verbose", "v", false, "log the dialogue, with passwords masked")
	_ = cmd.RegisterFlagCompletionFunc("sync", cobra.FixedCompletions([]string{"commit", "none"}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.MarkFlagFilename("password-file")
	_ = cmd.MarkFlagFilename("ready")
	_ = cmd.MarkFlagDirname("state")
	cmd.ValidArgsFunction = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return nil, cobra.ShellCompDirectiveFilterDirs
	}
	return cmd
}

func stateHint() string { return "/var/lib/dray for root, else $XDG_STATE_HOME/dray" }

func runServe(cmd *cobra.Command, c config.Quick, passwordFile, ready string, verbose bool) error {
	level := slog.LevelInfo
	if verbose {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: level}))
	password, from, err := readPassword(passwordFile, log)
	if err != nil {
		return err
	}
	c.Password, c.Secrets = password, passwordFile
	c = c.Defaults()
	if problems := c.Check(); len(problems) > 0 {
		noun := "problems"
		if len(problems) == 1 {
			noun = "problem"
		}
		lines := []string{fmt.Sprintf("nothing was started: %d %s", len(problems), noun)}
		for _, p := range problems {
			lines = append(lines, "      "+p.String())
		}
		return usagef("%s", strings.Join(lines, "\n"))
	}

	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt)
	defer signal.Stop(signals)
	running, err := serve.Start(c, log)
	if err != nil {
		return fmt.Errorf("can't serve %s: %w", c.Dir, err)
	}
	printCard(cmd.OutOrStdout(), running.Card, password, from)
	if ready != "" {
		if err := writeReady(ready, running.Card); err != nil {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			_ = running.Stop(ctx)
			return fmt.Errorf("--ready: %w", err)
		}
	}

	log.Info("stopping: transfers may finish", "signal", (<-signals).String(), "grace", grace)
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	go func() {
		<-signals
		log.Warn("stopping now")
		cancel()
	}()
	if err := running.Stop(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
		return err
	}
	log.Info("stopped")
	return nil
}

// readPassword returns the password and, unless it was made here, where it came
// from.
func readPassword(file string, log *slog.Logger) (account.Secret, string, error) {
	env, inEnv := os.LookupEnv(passwordEnv)
	_ = os.Unsetenv(passwordEnv) // nothing that is started later gets it
	switch {
	case file != "":
		f, err := os.Open(file)
		if err != nil {
			return account.Secret{}, "", usagef("--password-file: %v", err)
		}
		defer f.Close()
		if fi, err := f.Stat(); err == nil && fi.Mode().Perm()&0o077 != 0 && runtime.GOOS != "windows" {
			log.Warn("others on this machine may read the password file", "file", file, "fix", "chmod 600 "+file)
		}
		line, err := bufio.NewReader(io.LimitReader(f, 4096)).ReadString('\n')
		if err != nil && err != io.EOF {
			return account.Secret{}, "", usagef("--password-file: %v", err)
		}
		if line = strings.TrimRight(line, "\r\n"); line == "" {
			return account.Secret{}, "", usagef("--password-file: the first line of %s is empty", file)
		}
		return account.NewSecret(line), "from " + file, nil
	case inEnv && env == "":
		return account.Secret{}, "", usagef("%s is set and empty\n      set a password, or unset it to have one made", passwordEnv)
	case inEnv:
		return account.NewSecret(env), "from " + passwordEnv, nil
	}
	text := strings.ToLower(rand.Text())
	return account.NewSecret(text[:5] + "-" + text[5:10] + "-" + text[10:15] + "-" + text[15:20]), "", nil
}

// printCard writes what a client, and whoever opens the firewall, has to know.
func printCard(w io.Writer, card serve.Card, password account.Secret, from string) {
	row := func(name, value string) { fmt.Fprintf(w, "  %-15s %s\n", name, value) }
	fmt.Fprintf(w, "dray serves %s\n\n", card.Dir)
	url := func(scheme, addr string) string {
		host, port, _ := net.SplitHostPort(addr)
		standard := map[string]string{"ftp": "21", "ftps": "990"}[scheme]
		if port == standard {
			addr = host
			if strings.Contains(host, ":") {
				addr = "[" + host + "]"
			}
		}
		return fmt.Sprintf("%s://%s@%s/", scheme, card.User, addr)
	}
	ports := []string{}
	for _, l := range []struct {
		title, scheme string
		addrs         []string
	}{{"FTP, AUTH TLS", "ftp", withPublic(card.FTP, card.Public)}, {"FTPS, implicit", "ftps", withPublic(card.FTPS, card.Public)}} {
		title := l.title
		for i, addr := range l.addrs {
			row(title, url(l.scheme, addr))
			title = ""
			if _, port, err := net.SplitHostPort(addr); err == nil && i == 0 {
				ports = append(ports, port)
			}
		}
	}
	row("user", card.User)
	if from == "" {
		row("password", password.Reveal()+"   (made for this run, shown once)")
	} else {
		row("password", from)
	}
	if card.Anonymous {
		row("anonymous", "anonymous or ftp with any password, to read")
	}
	if card.ReadOnly {
		row("rights", "read only")
	}
	if card.Plain {
		row("clear text", "allowed: passwords and files can be read on the way")
	} else {
		row("clear text", "no password is taken without TLS: set clients to explicit TLS")
	}
	row("certificate", "self-signed, SHA-256 "+card.SHA256)
	if card.Certificate != "" {
		row("", card.Certificate)
	}
	row("passive range", card.Passive)
	row("firewall", fmt.Sprintf("let in TCP %s and %s; for active mode let out from TCP 20 and 989", strings.Join(ports, ", "), card.Passive))
	fmt.Fprintln(w)
}

// withPublic puts the public name first, where it has the same port.
func withPublic(addrs []string, public string) []string {
	if public == "" || len(addrs) == 0 {
		return addrs
	}
	_, port, err := net.SplitHostPort(addrs[0])
	if err != nil {
		return addrs
	}
	return append([]string{net.JoinHostPort(public, port)}, addrs...)
}

// writeReady writes the file at once: who sees it sees all of it.
func writeReady(name string, card serve.Card) error {
	b, err := json.Marshal(struct {
		FTP     []string `json:"ftp"`
		FTPS    []string `json:"ftps"`
		Passive string   `json:"passive"`
		SHA256  string   `json:"certificate_sha256"`
	}{orEmpty(card.FTP), orEmpty(card.FTPS), card.Passive, card.SHA256Hex})
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".ready-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // renamed away when all went well
	_, err = f.Write(append(b, '\n'))
	if err := errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}

func orEmpty(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}
