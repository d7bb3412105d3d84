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
	"slices"
	"strings"
	"syscall"
	"time"
	"unicode"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"dray/account"
	"dray/config"
	"dray/serve"
)

// grace is how long transfers may go on after the first SIGTERM.
const grace = 30 * time.Second

// passwordEnv names the environment variable that may hold the password.
const passwordEnv = "DRAY_PASSWORD"

// passwordFileEnv names the one that may name a file with the password.
const passwordFileEnv = passwordEnv + "_FILE"

func serveCommand() *cobra.Command {
	var c config.Quick
	var passwordFile, ready, file string
	var verbose bool
	cmd := &cobra.Command{
		Use:   "serve DIR | --config FILE",
		Short: "serve a directory, or what a configuration says, over SFTP, FTP and FTPS",
		Long: `Serve DIR to one user: over SFTP on port 22, over FTP with TLS (AUTH TLS) on port
21 and over implicit FTPS on port 990; where these ports may not be bound, on 2022
or 2222, 2121 and 2990. The host keys and the certificate, which is self-signed,
are made at the first start and kept.

The password comes from --password-file, from the environment variable
` + passwordEnv + `, from the file that ` + passwordFileEnv + ` names, or is made for this
run and shown once. It is accepted over SSH and TLS only, unless --plain allows
clear text. Over SFTP the keys of --authorized-keys log in too; that file is read
again when it changes.

With --config, serve the accounts of "dray user" as the file says; "dray init"
writes one. SIGHUP reads it again, with its certificates and listeners, and ends
no session; a file with a mistake changes nothing. Sockets of systemd are taken,
and readiness is told to it.

SIGTERM and SIGINT end accepting and let transfers finish, for 30 s at most; a
second one ends the process at once, by force and with exit status 1.`,
		Example: `  dray serve /srv/files
  dray serve --config /etc/dray/dray.toml
  dray serve /srv/files --authorized-keys ~/.ssh/authorized_keys --ftp off --ftps off
  dray serve /srv/pub --anonymous --read-only
  dray serve /srv/scans --plain --user scanner --password-file /etc/dray/scanner
  dray serve /srv/files --public ftp.example.net --passive 40000-40099`,
		Args: func(cmd *cobra.Command, args []string) error {
			switch {
			case file != "" && len(args) > 0:
				return usagef("serve takes a directory or --config, not both\n      leave %s away to serve what %s says", strings.Join(args, " "), file)
			case file != "":
				var extra []string
				cmd.Flags().Visit(func(f *pflag.Flag) {
					if f.Name != "config" && f.Name != "ready" && f.Name != "verbose" {
						extra = append(extra, "--"+f.Name)
					}
				})
				if len(extra) > 0 {
					return usagef("with --config the file says it all: no %s\n      write it into %s; dray config example shows where", strings.Join(extra, ", "), file)
				}
			case len(args) != 1:
				return usagef("serve takes one directory, or --config\n      for example: dray serve /srv/files")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if file != "" {
				return runConfigured(cmd, file, ready, verbose)
			}
			c.Dir = args[0]
			return runServe(cmd, c, passwordFile, ready, verbose)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&file, "config", "", "serve what `FILE` says")
	f.StringVar(&c.User, "user", "", "`NAME` of the user (default dray)")
	f.StringVar(&passwordFile, "password-file", "", "read the password from the first line of `FILE`")
	f.BoolVar(&c.Anonymous, "anonymous", false, "let anybody read, as anonymous or ftp, also in clear text")
	f.BoolVar(&c.ReadOnly, "read-only", false, "let nobody change anything")
	f.BoolVar(&c.Plain, "plain", false, "allow passwords and files in clear text, for devices without TLS")
	f.StringVar(&c.SFTP, "sftp", "", "`ADDR` of the listener for SFTP, or off (default :22, else :2022 or :2222)")
	f.StringVar(&c.Keys, "authorized-keys", "", "`FILE` with the public keys that log in over SFTP, one a line")
	f.StringVar(&c.FTP, "ftp", "", "`ADDR` of the listener for FTP and AUTH TLS, or off (default :21, else :2121)")
	f.StringVar(&c.FTPS, "ftps", "", "`ADDR` of the listener for implicit FTPS, or off (default :990, else :2990)")
	f.StringVar(&c.Passive, "passive", "", "ports `A-B` for data connections (default "+config.DefaultPassive+")")
	f.StringVar(&c.Public, "public", "", "`ADDRESS` or name that clients reach this host by, when it is behind NAT")
	f.StringVar(&c.State, "state", "", "`DIR` for the certificate and the host keys (default "+stateHint()+")")
	f.StringVar(&c.Sync, "sync", "", "`HOW` uploads are kept: commit, on the disk before they are answered, or none, by the kernel (default commit)")
	f.StringVar(&ready, "ready", "", "write the addresses as JSON to `FILE` once all listeners are up")
	f.BoolVarP(&verbose, "verbose", "v", false, "log the dialogue, with passwords masked")
	completeFlags(cmd)
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
	c.Secrets = passwordFile
	if c.Secrets == "" {
		c.Secrets = os.Getenv(passwordFileEnv)
	}
	password, from, err := readPassword(passwordFile, log)
	if err != nil {
		return err
	}
	c.Password = password
	c = c.Defaults()
	if problems := c.Check(); len(problems) > 0 {
		return refuse("nothing was started", problems)
	}
	tellLacks(log)
	stop := listenForSignals()
	defer stop.end()
	setup := serve.Quick(c)
	setup.Version = version()
	running, err := serve.Start(setup, log)
	if err != nil {
		return fmt.Errorf("can't serve %s: %w", c.Dir, err)
	}
	printCard(cmd.OutOrStdout(), running.Card, password, from)
	return stop.wait(running, log, ready, func() time.Duration { return grace }, nil)
}

// refuse is the error that lists what is wrong with a configuration.
func refuse(what string, problems []config.Problem) error {
	var lines []string
	for _, p := range problems {
		lines = append(lines, p.String())
	}
	return refuseLines(what, lines)
}

// refuseLines is the error that lists what is wrong, one line each.
func refuseLines(what string, wrong []string) error {
	noun := "problems"
	if len(wrong) == 1 {
		noun = "problem"
	}
	return usagef("%s: %d %s\n      %s", what, len(wrong), noun, strings.Join(wrong, "\n      "))
}

// signals are those that a server hears.
type signals struct {
	c    chan os.Signal
	exit func(status int) // os.Exit
}

func listenForSignals() signals {
	s := signals{make(chan os.Signal, 8), os.Exit}
	signal.Notify(s.c, syscall.SIGTERM, os.Interrupt, syscall.SIGHUP)
	return s
}

func (s signals) end() { signal.Stop(s.c) }

// wait writes the ready file and serves until a signal ends it; reload is called
// at SIGHUP, which ends a server that has nothing to read again. grace is how long
// transfers may go on then.
func (s signals) wait(running *serve.Running, log *slog.Logger, ready string, grace func() time.Duration, reload func()) error {
	if ready != "" {
		if err := writeReady(ready, running.Card); err != nil {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			_ = running.Stop(ctx)
			return fmt.Errorf("--ready: %w", err)
		}
	}
	notifyReady("serving")
	got := <-s.c
	for got == syscall.SIGHUP && reload != nil {
		reload()
		got = <-s.c
	}
	return s.stop(got, log, grace(), running.Stop)
}

// stop ends a server by end, which has grace for its transfers; the signal got
// asks for it. Another one ends the process, for what hangs in the kernel has no
// other end.
func (s signals) stop(got os.Signal, log *slog.Logger, grace time.Duration, end func(context.Context) error) error {
	go func() {
		again := <-s.c
		for again == syscall.SIGHUP {
			again = <-s.c
		}
		time.AfterFunc(time.Second, func() { s.exit(exitFailed) }) // the log may be on the disk that hangs
		log.Error("stopped by force: the next start looks for what was cut", "signal", again.String())
		s.exit(exitFailed)
	}()
	notify(daemon.SdNotifyStopping)
	log.Info("stopping: transfers may finish", "signal", got.String(), "grace", grace)
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	if err := end(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	log.Info("stopped")
	return nil
}

// notify tells systemd, where it listens (sd_notify(3)).
func notify(state string) { _, _ = daemon.SdNotify(false, state) }

// notifyReady tells systemd that the server serves, and what it shows of that.
func notifyReady(status string) {
	notify(daemon.SdNotifyReady + "\nSTATUS=" + statusLine(status))
}

// statusLine is the first line of text, of 200 letters at most. Anybody may see it,
// and a line more would tell systemd something else.
func statusLine(text string) string {
	text, _, _ = strings.Cut(strings.ToValidUTF8(text, "\uFFFD"), "\n")
	letters := []rune(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text))
	if len(letters) > 200 {
		return string(letters[:200]) + "…"
	}
	return string(letters)
}

// readPassword returns the password and, unless it was made here, where it came
// from.
func readPassword(file string, log *slog.Logger) (account.Secret, string, error) {
	env, inEnv := os.LookupEnv(passwordEnv)
	fileEnv, inFile := os.LookupEnv(passwordFileEnv)
	_ = os.Unsetenv(passwordEnv) // nothing that is started later gets it
	switch {
	case file != "":
		s, err := passwordIn("--password-file", file, log)
		return s, "from " + file, err
	case inEnv && inFile:
		return account.Secret{}, "", usagef("%s is set together with %s\n      set one of them", passwordFileEnv, passwordEnv)
	case inFile && fileEnv == "":
		return account.Secret{}, "", usagef("%s is set and empty\n      name a file, or unset it to have a password made", passwordFileEnv)
	case inFile:
		s, err := passwordIn(passwordFileEnv, fileEnv, log)
		return s, "from " + fileEnv, err
	case inEnv && env == "":
		return account.Secret{}, "", usagef("%s is set and empty\n      set a password, or unset it to have one made", passwordEnv)
	case inEnv:
		return account.NewSecret(env), "from " + passwordEnv, nil
	}
	return account.NewSecret(newPassword()), "", nil
}

// newPassword is a new password of 100 bits.
func newPassword() string {
	text := strings.ToLower(rand.Text())
	return text[:5] + "-" + text[5:10] + "-" + text[10:15] + "-" + text[15:20]
}

// passwordIn is the first line of a file, which key has named.
func passwordIn(key, file string, log *slog.Logger) (account.Secret, error) {
	f, err := os.Open(file)
	if err != nil {
		return account.Secret{}, usagef("%s: %v", key, err)
	}
	defer f.Close()
	if fi, err := f.Stat(); err == nil && fi.Mode().Perm()&0o077 != 0 && runtime.GOOS != "windows" {
		log.Warn("others on this machine may read the password file", "file", file, "fix", "chmod 600 "+shellWord(file))
	}
	line, err := passwordLine(f)
	if err != nil {
		return account.Secret{}, usagef("%s: %v", key, err)
	}
	if line == "" {
		return account.Secret{}, usagef("%s: the first line of %s is empty", key, file)
	}
	return account.NewSecret(line), nil
}

// passwordLine is the first line, of less than 4 KiB.
func passwordLine(r io.Reader) (string, error) {
	const most = 4096
	line, err := bufio.NewReader(io.LimitReader(r, most)).ReadString('\n')
	switch {
	case err != nil && err != io.EOF:
		return "", err
	case len(line) == most && !strings.HasSuffix(line, "\n"):
		return "", fmt.Errorf("the first line has more than %d bytes, and a password at most %d", most-1, account.MaxPassword)
	case strings.ContainsRune(line, 0):
		return "", errors.New("the first line has a NUL byte in it, which no client can send; write it without")
	}
	return strings.TrimRight(line, "\r\n"), nil
}

// printCard writes what a client, and whoever opens the firewall, has to know.
// Where accounts are in a database the card has no user.
func printCard(w io.Writer, card serve.Card, password account.Secret, from string) {
	row := func(name, value string) { fmt.Fprintf(w, "  %-15s %s\n", name, value) }
	if card.Dir != "" {
		fmt.Fprintf(w, "dray serves %s\n\n", card.Dir)
	}
	url := func(scheme, addr string) string {
		host, port, _ := net.SplitHostPort(addr)
		standard := map[string]string{"sftp": "22", "ftp": "21", "ftps": "990"}[scheme]
		if port == standard {
			addr = host
			if strings.Contains(host, ":") {
				addr = "[" + host + "]"
			}
		}
		if card.User != "" {
			addr = card.User + "@" + addr
		}
		return fmt.Sprintf("%s://%s/", scheme, addr)
	}
	for _, l := range []struct {
		title, scheme string
		addrs         []string
	}{{"SFTP", "sftp", withPublic(card.SFTP, card.Public)}, {"FTP, AUTH TLS", "ftp", withPublic(card.FTP, card.Public)}, {"FTPS, implicit", "ftps", withPublic(card.FTPS, card.Public)}} {
		title, best := l.title, ""
		if l.scheme == "sftp" {
			best = "   (recommended: one port, always encrypted)"
		}
		for _, addr := range l.addrs {
			row(title, url(l.scheme, addr)+best)
			title, best = "", ""
		}
	}
	switch {
	case card.User == "":
		row("accounts", "those of dray user")
	case from == "":
		row("user", card.User)
		row("password", password.Reveal()+"   (made now, shown once)")
	default:
		row("user", card.User)
		row("password", from)
	}
	if card.Anonymous {
		row("anonymous", "anonymous or ftp with any password")
	}
	if card.ReadOnly {
		row("rights", "read only")
	}
	switch {
	case len(card.FTP)+len(card.FTPS) == 0:
	case card.Plain:
		row("clear text", "allowed: passwords and files can be read on the way")
	case card.Excepted:
		row("clear text", "by exceptions only (dray config show); elsewhere set clients to explicit TLS")
	default:
		row("clear text", "no password is taken without TLS: set clients to explicit TLS")
	}
	title := "host keys"
	for _, k := range card.HostKeys {
		row(title, k)
		title = ""
	}
	if len(card.FTP)+len(card.FTPS) == 0 {
		row("firewall", "let in TCP "+strings.Join(card.Ports, ", "))
		fmt.Fprintln(w)
		return
	}
	kind := "SHA-256 "
	if card.SelfSigned {
		kind = "self-signed, SHA-256 "
	}
	row("certificate", kind+card.SHA256)
	row("", "dray shows its users the key: "+card.KeySHA256)
	if card.Certificate != "" {
		row("", card.Certificate)
	}
	row("passive range", card.Passive)
	firewall := fmt.Sprintf("let in TCP %s and %s", strings.Join(card.Ports, ", "), card.Passive)
	if len(card.Active) > 0 {
		firewall += "; for active mode let out from TCP " + strings.Join(card.Active, " and ")
	}
	row("firewall", firewall)
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
	first := net.JoinHostPort(public, port)
	return append([]string{first}, slices.DeleteFunc(slices.Clone(addrs), func(addr string) bool { return addr == first })...)
}

// writeReady writes the file at once: who sees it sees all of it.
func writeReady(name string, card serve.Card) error {
	b, err := json.Marshal(struct {
		SFTP     []string `json:"sftp"`
		FTP      []string `json:"ftp"`
		FTPS     []string `json:"ftps"`
		Passive  string   `json:"passive"`
		SHA256   string   `json:"certificate_sha256"`
		HostKeys []string `json:"host_keys"`
	}{orEmpty(card.SFTP), orEmpty(card.FTP), orEmpty(card.FTPS), card.Passive, card.SHA256Hex, orEmpty(card.HostKeys)})
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
