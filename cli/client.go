package cli

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"dray/account"
	"dray/certs"
	"dray/fault"
	"dray/remote"
	"dray/screen"
	"dray/sshclient"
)

// A client is one run of a command that talks to servers: what its options say,
// and what it writes to.
type client struct {
	cmd    *cobra.Command
	stdout io.Writer
	show   *display // standard error

	// Who and where.
	user, passwordFile, passwordCmd string
	askPassword                     bool
	port                            int
	only4, only6                    bool
	jump, proxy, sshConfig          string
	identities                      []string
	noNetrc, noSSH                  bool

	// Trust.
	tls, tlsMin, tlsMax, ca, cert, key, trust string
	insecure, plain, sslReqd                  bool

	// FTP.
	active, passive       bool
	epsv                  string
	activePorts, activeIP string
	charset               string

	// Patience.
	connect, timeout, maxTime time.Duration

	// Output.
	quiet           bool
	verbose         int
	log, progress   string
	asJSON, asJSONL bool
	batch, yes      bool

	dirs    remote.Dirs
	hosts   *remote.Hosts
	logFile *os.File
	tty     *terminal
	trees   []remote.Tree
	ci      bool
	typed   []*pflag.Flag // options that stood on the command line
	calm    bool          // nobody is told of connections that take their time
	changes *wireChanges  // of a command that tells them; else nil
	errors  *[]wireEvent  // for --json, told already; nil in a shell
	spoken  []remote.Scheme

	passwords *remote.Passwords
}

// CommonFlag is the annotation of the options that all commands of the client share.
const CommonFlag = "dray_common"

// clientUsage writes the usage of a command: its own options, and then those that all
// commands of the client have.
func clientUsage(cmd *cobra.Command) error {
	w := cmd.OutOrStderr()
	fmt.Fprintf(w, "Usage:\n  %s\n", cmd.UseLine())
	if cmd.HasExample() {
		fmt.Fprintf(w, "\nExamples:\n%s\n", cmd.Example)
	}
	var own, common pflag.FlagSet
	own.SortFlags, common.SortFlags = false, false
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if _, ok := f.Annotations[CommonFlag]; ok {
			common.AddFlag(f)
		} else {
			own.AddFlag(f)
		}
	})
	if own.HasAvailableFlags() {
		fmt.Fprintf(w, "\nOptions:\n%s", own.FlagUsages())
	}
	fmt.Fprintf(w, "\nOptions of all commands that talk to servers:\n%s", common.FlagUsages())
	return nil
}

// flags adds the options that every command of the client has. taken are letters that
// the command has for something else.
func (c *client) flags(f *pflag.FlagSet, taken ...string) {
	f.SortFlags = false
	own := map[string]bool{}
	f.VisitAll(func(fl *pflag.Flag) { own[fl.Name] = true })
	defer f.VisitAll(func(fl *pflag.Flag) {
		if !own[fl.Name] {
			_ = f.SetAnnotation(fl.Name, CommonFlag, nil)
		}
	})
	short := func(letter string) string {
		if slices.Contains(taken, letter) {
			return ""
		}
		return letter
	}
	f.StringVarP(&c.user, "user", "u", "", "log in as `NAME`; NAME:PASSWORD works and shows the password to who looks")
	f.StringVar(&c.passwordFile, "password-file", "", "read the password from the first line of `FILE`")
	f.StringVar(&c.passwordCmd, "password-cmd", "", "run `COMMAND`, whose first line is the password")
	f.BoolVar(&c.askPassword, "ask-password", false, "ask for the password, whatever is stored")
	f.IntVarP(&c.port, "port", short("p"), 0, "connect to port `N`")
	f.BoolVarP(&c.only4, "ipv4", "4", false, "connect over IPv4 only")
	f.BoolVarP(&c.only6, "ipv6", "6", false, "connect over IPv6 only")
	f.StringArrayVarP(&c.identities, "identity", "i", nil, "offer the private key in `FILE` (SFTP)")
	f.StringVarP(&c.jump, "jump", "J", "", "go through `HOST`, or several with commas between (SFTP)")
	f.StringVarP(&c.sshConfig, "ssh-config-file", "F", "", "read `FILE` in place of ~/.ssh/config (SFTP)")
	f.BoolVar(&c.noSSH, "no-ssh-config", false, "read no ssh_config (SFTP)")
	f.BoolVar(&c.noNetrc, "no-netrc", false, "look up no password in ~/.netrc")
	f.StringVar(&c.proxy, "proxy", "", "connect through `URL`: socks5://host:port or http://host:port")
	f.StringVar(&c.tls, "tls", "", "`HOW` TLS is used over FTP: require, prefer, implicit or off (default as the URL says)")
	f.StringVar(&c.tlsMin, "tls-min", "", "refuse TLS below `VERSION` (default 1.2)")
	f.StringVar(&c.tlsMax, "tls-max", "", "offer no TLS above `VERSION`, to a server that fails with 1.3")
	f.StringVar(&c.ca, "ca", "", "trust the certificates in `FILE` in place of the system's")
	f.StringVar(&c.cert, "client-cert", "", "log in with the certificate in `FILE` (FTPS)")
	f.StringVar(&c.key, "client-key", "", "private key of the certificate, in `FILE`")
	f.StringVar(&c.trust, "trust", "", "whom to trust, `HOW`: ca, tofu (remember at first sight), pin (only the stored or given fingerprint) or insecure")
	f.BoolVar(&c.plain, "plain", false, "allow a password in clear text where the server has no TLS")
	f.BoolVar(&c.active, "active", false, "let the server connect to us for data (FTP)")
	f.BoolVar(&c.passive, "passive", false, "connect to the server for data: the default (FTP)")
	f.StringVar(&c.epsv, "epsv", "auto", "use EPSV: `HOW` is auto, always or never (FTP)")
	f.StringVar(&c.activePorts, "active-ports", "", "listen on ports `A-B` in active mode (FTP)")
	f.StringVar(&c.activeIP, "active-ip", "", "tell `ADDRESS` to the server in active mode (FTP)")
	f.StringVar(&c.charset, "charset", "", "names on the server are in `CHARSET`, as latin1 or cp1252 (FTP)")
	f.DurationVar(&c.connect, "connect-timeout", 10*time.Second, "how long to wait for a connection, for each `TIME` and address")
	f.DurationVar(&c.timeout, "timeout", time.Minute, "how long nothing may come or go, a `TIME` as 90s")
	f.DurationVar(&c.maxTime, "max-time", 0, "end after this `TIME` in any case")
	f.BoolVarP(&c.quiet, "quiet", "q", false, "say only what went wrong")
	f.CountVarP(&c.verbose, "verbose", "v", "say what is done; twice: the dialogue too, with passwords masked")
	f.StringVar(&c.log, "log", "", "write the dialogue to `FILE`, with passwords masked")
	f.StringVar(&c.progress, "progress", "auto", "show progress: `HOW` is auto, bar, plain, json or none")
	f.BoolVar(&c.asJSON, "json", false, "write the result as JSON")
	f.BoolVar(&c.asJSONL, "jsonl", false, "write what happens as it happens, a JSON object a line")
	f.BoolVarP(&c.batch, "batch", "b", false, "ask nothing")
	// Words that users of curl bring along.
	f.BoolVarP(&c.insecure, "insecure", "k", false, "")
	f.BoolVar(&c.sslReqd, "ssl-reqd", false, "")
	_ = f.MarkHidden("insecure")
	_ = f.MarkHidden("ssl-reqd")
	f.Lookup("connect-timeout").Usage = "how long to wait for a connection to each address, a `TIME` as 10s"
}

// yesFlag adds the option of commands that may ask before they delete.
func (c *client) yesFlag(f *pflag.FlagSet) {
	f.BoolVarP(&c.yes, "yes", "y", false, "delete without asking")
}

// confirms makes a question of the deletions of a run; nil where nobody is asked.
func (c *client) confirms(ctx context.Context, source, target string) func(n int) bool {
	if c.tty == nil || c.yes {
		return nil
	}
	return func(n int) bool {
		ok, err := c.tty.confirm(ctx, fmt.Sprintf("Delete %d names of %s that %s has not?", n, screen.Line(target), screen.Line(source)))
		return ok && err == nil
	}
}

// Options that only one of the protocols has.
var (
	onlyFTP  = []string{"tls", "tls-min", "tls-max", "ca", "client-cert", "client-key", "plain", "active", "passive", "epsv", "active-ports", "active-ip", "charset", "ssl-reqd"}
	onlySFTP = []string{"identity", "jump", "ssh-config-file", "no-ssh-config"}
)

// tellUnused warns of options that stood on the command line for a protocol that was
// not spoken.
func (c *client) tellUnused() {
	ftp, sftp := false, false
	for _, s := range c.spoken {
		ftp, sftp = ftp || s.IsFTP(), sftp || s == remote.SFTP
	}
	for _, f := range c.typed {
		switch {
		case sftp && !ftp && slices.Contains(onlyFTP, f.Name):
			c.warn("--%s is for FTP, and was not needed", f.Name)
		case ftp && !sftp && slices.Contains(onlySFTP, f.Name):
			c.warn("--%s is for SFTP, and was not needed", f.Name)
		}
	}
}

// given tells whether an option stood on the command line.
func (c *client) given(name string) bool {
	return slices.ContainsFunc(c.typed, func(f *pflag.Flag) bool { return f.Name == name })
}

// refuse refuses options that stood on the command line and mean nothing here.
func (c *client) refuse(why string, names ...string) error {
	for _, f := range c.typed {
		if slices.Contains(names, f.Name) {
			return usagef("--%s %s", f.Name, why)
		}
	}
	return nil
}

// environment gives every option that was not named the value of DRAY_NAME.
func environment(f *pflag.FlagSet) error {
	var err error
	f.VisitAll(func(fl *pflag.Flag) {
		if fl.Changed || fl.Name == "help" || err != nil {
			return
		}
		name := "DRAY_" + strings.ToUpper(strings.ReplaceAll(fl.Name, "-", "_"))
		if fl.Name == "password-cmd" || fl.Name == "password-file" {
			return // read and taken away by begin
		}
		if v, ok := os.LookupEnv(name); ok && v != "" {
			if bad := f.Set(fl.Name, v); bad != nil {
				err = usagef("%s: %v", name, bad)
			}
		}
	})
	return err
}

// notAgain are common options that a command which goes on with this one's work does
// without: what is in its URL, what is about this run, and what may have a password.
var notAgain = []string{"user", "port", "password-cmd", "max-time", "quiet", "verbose", "log", "progress", "json", "jsonl", "batch"}

// again is the beginning of the command that goes on with this one's work, with the
// options that it needs for the same server and the same partial.
// Those called leave are left out.
func (c *client) again(verb string, leave ...string) string {
	line := "dray " + verb
	for _, f := range c.typed {
		if slices.Contains(leave, f.Name) {
			continue
		}
		_, common := f.Annotations[CommonFlag]
		if common && slices.Contains(notAgain, f.Name) || !common && !slices.Contains([]string{"temp-suffix", "preserve", "verify", "algo"}, f.Name) {
			continue
		}
		values := []string{f.Value.String()}
		if list, ok := f.Value.(pflag.SliceValue); ok {
			values = list.GetSlice()
		}
		for _, v := range values {
			switch {
			case f.Name == "proxy" && strings.Contains(v, "@"): // it may have a password: the environment takes it again
			case f.Value.Type() != "bool":
				line += " --" + f.Name + " " + shellWord(v)
			case v == "true":
				line += " --" + f.Name
			default:
				line += " --" + f.Name + "=" + v
			}
		}
	}
	return line
}

// heapSoon is the memory in bytes from which on garbage is collected at once: a listing
// may be of two million names, and half as much again would lie about unused.
const heapSoon = 1 << 30

// run is the RunE of a command of the client.
func (c *client) run(do func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		c.cmd, c.stdout, c.errors = cmd, cmd.OutOrStdout(), &[]wireEvent{}
		cmd.Flags().Visit(func(f *pflag.Flag) { c.typed = append(c.typed, f) })
		if err := environment(cmd.Flags()); err != nil {
			return err
		}
		if err := c.begin(); err != nil {
			return err
		}
		if os.Getenv("GOMEMLIMIT") == "" {
			debug.SetMemoryLimit(heapSoon)
		}
		ctx, end := context.WithCancelCause(context.Background())
		defer end(nil)
		defer c.signals(end)()
		if c.maxTime > 0 {
			timer := time.AfterFunc(c.maxTime, func() {
				end(fault.New(fault.Canceled, fault.IDMaxTime, strconv.FormatFloat(c.maxTime.Seconds(), 'f', -1, 64)))
			})
			defer timer.Stop()
		}
		err := do(ctx, args)
		c.tellUnused()
		for _, t := range c.trees {
			_ = t.Close()
		}
		if c.logFile != nil {
			_ = c.logFile.Close()
		}
		return c.over(ctx, err)
	}
}

// over tells how a command ended, and makes its error one that ends the program with
// its status.
func (c *client) over(ctx context.Context, err error) error {
	err = c.conclude(ctx, err)
	var ee *exitError
	if c.asJSON && c.changes != nil && (!errors.As(err, &ee) || ee.text == "") {
		if c.changes.OK = ee == nil; ee != nil {
			c.changes.Exit = ee.status
		}
		c.changes.Errors = *c.errors
		c.jsonLine(c.changes)
	}
	return err
}

// conclude tells a failure that was not told, and makes it one that has a status.
func (c *client) conclude(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if cause := context.Cause(ctx); cause != nil {
		var silent *exitError
		if !errors.As(err, &silent) || silent.text != "" {
			err = cause
		} else {
			return &exitError{exitOf(cause), ""}
		}
	}
	var ee *exitError
	if errors.As(err, &ee) {
		return err
	}
	switch {
	case c.asJSON && c.changes != nil:
		*c.errors = append(*c.errors, wireEvent{V: 1, T: stamp(), Event: "error", Error: wire(err)})
	case c.asJSON || c.asJSONL:
		c.jsonError(err)
	}
	complain(c.show, err, c.advice)
	return &exitError{exitOf(err), ""}
}

// begin reads what the options leave open, and refuses what does not fit together.
func (c *client) begin() error {
	c.ci = os.Getenv("CI") != "" && os.Getenv("CI") != "false" && os.Getenv("CI") != "0"
	c.batch = c.batch || c.ci
	stderr := c.cmd.ErrOrStderr()
	c.show = &display{w: stderr, quiet: c.quiet, width: func() int { return 80 }}
	if f, ok := stderr.(*os.File); ok && term.IsTerminal(int(f.Fd())) && !c.ci && os.Getenv("TERM") != "dumb" {
		c.show.bar = true
		c.show.width = func() int {
			if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 0 {
				return w
			}
			return 80
		}
	}
	switch c.progress {
	case "auto":
		c.show.quiet = c.show.quiet || c.asJSON || c.asJSONL
	case "bar":
		c.show.bar = true
	case "plain":
		c.show.bar = false
	case "none":
		c.show.quiet = true
	case "json":
		c.asJSONL, c.show.quiet = true, true
	default:
		return usagef("--progress is auto, bar, plain, json or none, not %q", c.progress)
	}
	if c.asJSON && c.asJSONL {
		return usagef("--json and --jsonl do not go together\n      --json is one value at the end, --jsonl a line for each event")
	}
	if c.only4 && c.only6 {
		return usagef("--ipv4 and --ipv6 do not go together")
	}
	if c.active && c.passive {
		return usagef("--active and --passive do not go together")
	}
	for _, f := range []string{"connect-timeout", "timeout", "max-time"} {
		if d, err := c.cmd.Flags().GetDuration(f); err == nil && d < 0 {
			return usagef("--%s: %v is no time to wait; write one as 90s", f, d)
		}
	}
	if c.insecure {
		if c.trust != "insecure" {
			if err := c.refuse(c.trust+" and --insecure do not go together\n      --insecure trusts everybody: leave one of them away", "trust"); err != nil {
				return err
			}
		}
		c.trust = "insecure"
	}
	if c.sslReqd && c.tls != "implicit" {
		if c.tls != "require" {
			if err := c.refuse(c.tls+" and --ssl-reqd do not go together\n      --ssl-reqd is --tls require: leave one of them away", "tls"); err != nil {
				return err
			}
		}
		c.tls = "require"
	}
	if _, err := remote.ParseTrustMode(c.trust); err != nil {
		return usagef("--trust: %v", err)
	}
	if err := c.contradictions(); err != nil {
		return err
	}
	if c.key != "" && c.cert == "" {
		return usagef("--client-key needs --client-cert")
	}
	dirs, err := remote.FindDirs(os.Getenv)
	if err != nil {
		return usagef("%v", err)
	}
	c.dirs = dirs
	if !c.batch {
		c.tty = openTerminal(c.show)
	}
	if c.log != "" {
		if c.logFile, err = os.OpenFile(c.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
			return usagef("--log: %v", err)
		}
	}
	if c.passwordFile == "" {
		c.passwordFile = os.Getenv(passwordFileEnv)
	}
	if c.hosts, err = remote.LoadHosts(dirs.HostsFile(os.Getenv)); err != nil {
		return usagef("%v", err)
	}
	for _, w := range c.hosts.Warnings {
		c.warn("%s", screen.Line(w))
	}
	c.passwords = &remote.Passwords{Command: c.passwordCmd, File: c.passwordFile, Env: remote.TakePasswordEnv(), Hosts: c.hosts, Stderr: c.show}
	if !c.noNetrc {
		if c.passwords.Netrc, err = remote.LoadNetrc(remote.NetrcFile(os.Getenv, dirs.Home)); err != nil {
			return usagef("%v", err)
		}
	}
	if c.tty != nil {
		c.passwords.Ask = c.askForPassword
	}
	if c.askPassword {
		if c.tty == nil {
			return usagef("--ask-password needs a terminal, and there is none, or --batch forbids to ask")
		}
		c.passwords = &remote.Passwords{Ask: c.askForPassword}
	}
	return nil
}

// contradictions refuses common options that another one takes the meaning from.
func (c *client) contradictions() error {
	for _, pair := range []struct {
		when  bool
		why   string
		names []string
	}{
		{c.tls == "off", "is for TLS, and --tls off has none\n      leave one of them away", []string{"tls-min", "tls-max", "ca", "client-cert", "client-key"}},
		{c.tls == "require" || c.tls == "implicit", "is for a server without TLS, to which --tls " + c.tls + " sends nothing\n      leave one of them away", []string{"plain"}},
		{c.trust == "insecure", "is for certificates that are checked, and --trust insecure checks none\n      leave one of them away", []string{"ca"}},
		{c.noSSH, "and --no-ssh-config do not go together", []string{"ssh-config-file"}},
		{c.askPassword, "and --ask-password do not go together", []string{"password-file", "password-cmd"}},
	} {
		if !pair.when {
			continue
		}
		if err := c.refuse(pair.why, pair.names...); err != nil {
			return err
		}
	}
	return nil
}

func (c *client) askForPassword(ctx context.Context, u remote.URL) (account.Secret, error) {
	s, err := c.tty.ask(ctx, fmt.Sprintf("Password for %s@%s: ", screen.Line(u.User), screen.Line(u.Host)), false)
	return account.NewSecret(s), err
}

// signals ends the command at the first SIGINT or SIGTERM, and the program at the
// second.
func (c *client) signals(end context.CancelCauseFunc) (stop func()) {
	ch := make(chan os.Signal, 2)
	signal.Notify(ch, os.Interrupt, syscall.SIGTERM)
	over := make(chan struct{})
	go func() {
		status := exitInt
		select {
		case s := <-ch:
			name := "Ctrl-C"
			if s == syscall.SIGTERM {
				status, name = exitTerm, "SIGTERM"
			}
			end(&signalError{name, status})
		case <-over:
			return
		}
		select {
		case <-ch:
			os.Exit(status)
		case <-over:
		}
	}()
	return func() {
		signal.Stop(ch)
		close(over)
	}
}

// warn tells something that is no failure.
func (c *client) warn(format string, args ...any) {
	if !c.quiet {
		fmt.Fprintf(c.show, "dray: "+format+"\n", args...)
	}
}

// parse reads an argument that has to be a URL, a stored host or host:path.
func (c *client) parse(arg string) (remote.URL, error) {
	u, err := remote.Parse(arg, c.hosts)
	if err != nil {
		return remote.URL{}, usagef("%v", err)
	}
	if u.HasPassword {
		c.warn("a password in a URL can be seen by others on this machine: --password-file, --ask-password or ~/.netrc keep it apart")
	}
	if c.user != "" {
		name, password, has := strings.Cut(c.user, ":")
		u.User = name
		if has {
			u.Password, u.HasPassword = account.NewSecret(password), true
			c.warn("a password behind --user can be seen by others on this machine: --password-file, --ask-password or ~/.netrc keep it apart")
		}
	}
	if c.given("port") {
		if c.port < 1 || c.port > 65535 {
			return remote.URL{}, usagef("--port: %d is no port; ports are 1 to 65535", c.port)
		}
		u.Port = c.port
	}
	return u, nil
}

// open makes the tree of a URL. Nothing is connected to yet.
func (c *client) open(u remote.URL) (remote.Tree, error) {
	o, err := c.options(u)
	if err != nil {
		return nil, err
	}
	t, err := remote.Open(u, o)
	if err != nil {
		return nil, err
	}
	c.trees, c.spoken = append(c.trees, t), append(c.spoken, u.Scheme)
	return t, nil
}

func (c *client) options(u remote.URL) (remote.Options, error) {
	var o remote.Options
	mode, err := remote.ParseTrustMode(c.trust)
	if err != nil {
		return o, usagef("--trust: %v", err)
	}
	stored, _ := c.hosts.Get(u.StoredName)
	if c.trust == "" && stored.Trust != "" {
		mode = stored.Trust
	}
	least, err := remote.ParseTLSVersion(c.tlsMin)
	if err != nil {
		return o, usagef("--tls-min: %v", err)
	}
	most, err := remote.ParseTLSVersion(c.tlsMax)
	if err != nil {
		return o, usagef("--tls-max: %v", err)
	}
	if most != 0 && most < cmp.Or(least, tls.VersionTLS12) {
		return o, usagef("--tls-max %s leaves no version of TLS: the lowest is %s; see --tls-min", c.tlsMax, cmp.Or(c.tlsMin, "1.2"))
	}
	o.Trust = &remote.Trust{Mode: mode, CAFile: c.ca, ClientCert: c.cert, ClientKey: c.key, MinVersion: least, MaxVersion: most, Store: remote.NewCertStore(c.dirs.CertsFile())}
	if u.HostPrint != "" {
		if u.Scheme == remote.SFTP {
			o.SSH.Pins = []string{u.HostPrint}
		} else {
			p, err := certs.ParseFingerprint(u.HostPrint)
			if err != nil {
				return o, usagef("%v", err)
			}
			o.Trust.Pins = []certs.Fingerprint{p}
		}
	}
	if c.tty != nil {
		o.Trust.Ask = c.askCertificate
		o.SSH.Ask = c.askHostKey
		o.SSH.Prompt = c.askPrompts
	}
	switch mode {
	case remote.TrustTOFU:
		o.SSH.Ask = func(context.Context, sshclient.HostKey) (sshclient.Answer, error) { return sshclient.Yes, nil }
	case remote.TrustPin:
		if u.Scheme != remote.SFTP && len(o.Trust.Pins) == 0 {
			cert, ok := o.Trust.Store.Find(u.Host, u.PortNumber())
			if !ok {
				return o, usagef("--trust pin: no certificate is stored for %s, and the URL has no ;fingerprint=\n      dray trust %[1]s stores the one that it shows", u.Address())
			}
			o.Trust.Pins = []certs.Fingerprint{cert.Key}
		}
	}
	if mode == remote.TrustInsecure {
		c.warn("--trust insecure: anybody on the way can read and change what is sent, the password too")
	}
	switch c.tls {
	case "":
	case "require":
		o.FTP.TLS = remote.TLSRequire
	case "prefer":
		o.FTP.TLS = remote.TLSPrefer
	case "implicit":
		o.FTP.TLS = remote.TLSImplicit
	case "off":
		o.FTP.TLS = remote.TLSOff
	default:
		return o, usagef("--tls is require, prefer, implicit or off, not %q", c.tls)
	}
	switch c.epsv {
	case "auto":
	case "always":
		o.FTP.EPSV = remote.EPSVAlways
	case "never":
		o.FTP.EPSV = remote.EPSVNever
	default:
		return o, usagef("--epsv is auto, always or never, not %q", c.epsv)
	}
	o.FTP.Plain, o.FTP.Active, o.FTP.ActiveIP, o.FTP.Charset = c.plain, c.active || stored.Active && !c.passive, c.activeIP, c.charset
	if u.Scheme.IsFTP() && !o.FTP.Active {
		if err := c.refuse("is for active mode, and needs --active", "active-ports", "active-ip"); err != nil {
			return o, err
		}
	}
	if c.charset == "" {
		o.FTP.Charset = stored.Charset
	}
	o.Parallel = stored.Parallel
	if c.activePorts != "" {
		from, to, ok := strings.Cut(c.activePorts, "-")
		if !ok {
			to = from
		}
		a, errA := strconv.ParseUint(from, 10, 16)
		b, errB := strconv.ParseUint(to, 10, 16)
		if errA != nil || errB != nil || a == 0 || b < a {
			return o, usagef("--active-ports: %q is no range of ports; write A-B, as 40000-40099", c.activePorts)
		}
		o.FTP.ActivePorts = [2]int{int(a), int(b)}
	}
	o.SSH.Identities, o.SSH.Jump, o.SSH.Config, o.SSH.NoConfig = c.identities, c.jump, c.sshConfig, c.noSSH
	if stored.Identity != "" {
		o.SSH.Identities = append(o.SSH.Identities, stored.Identity)
	}
	if c.jump == "" {
		o.SSH.Jump = stored.Jump
	}
	o.SSH.Insecure = mode == remote.TrustInsecure
	o.SSH.Home, o.SSH.Getenv = c.dirs.Home, os.Getenv
	o.Connect, o.Timeout = c.connect, c.timeout
	o.Network = "tcp"
	if addr, err := netip.ParseAddr(u.Host); err == nil && (c.only4 && !addr.Unmap().Is4() || c.only6 && addr.Unmap().Is4()) {
		return o, usagef("%s is an address of the other kind than --ipv4 or --ipv6 allows\n      leave the option away", u.Host)
	}
	if c.only4 {
		o.Network = "tcp4"
	}
	if c.only6 {
		o.Network = "tcp6"
	}
	proxies, err := remote.FindProxies(c.proxy, u.Scheme, os.Getenv)
	if err != nil {
		return o, usagef("%v", err)
	}
	o.Dial, o.Proxied = c.slowly(proxies.DialContext), proxies.For(u.Host, u.PortNumber()) != nil
	o.Passwords, o.Warn = c.passwords, func(text string) { c.warn("%s", screen.Line(text)) }
	if c.verbose >= 2 || c.logFile != nil {
		o.Trace = c.trace
		o.Debug = true
	}
	return o, nil
}

// trace writes a line of the dialogue.
func (c *client) trace(line string) {
	line = screen.Line(line)
	if c.logFile != nil {
		fmt.Fprintf(c.logFile, "%s %s\n", time.Now().Format("2006-01-02T15:04:05.000"), line)
	}
	if c.verbose >= 2 {
		fmt.Fprintln(c.show, line)
	}
}

// sayAfter is how long a connection may take until that is said.
const sayAfter = 2 * time.Second

// slowly tells who is waited for when a connection takes its time.
func (c *client) slowly(dial func(ctx context.Context, network, addr string) (net.Conn, error)) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		timer := time.AfterFunc(sayAfter, func() {
			if !c.quiet && !c.calm {
				fmt.Fprintf(c.show, "waiting for %s ...\n", screen.Line(addr))
			}
		})
		defer timer.Stop()
		return dial(ctx, network, addr)
	}
}

// A terminal is where a person is asked.
type terminal struct {
	in   *os.File
	show *display
	mu   sync.Mutex
}

// openTerminal is the terminal of the process, nil when it has none.
func openTerminal(show *display) *terminal {
	if f, err := os.OpenFile("/dev/tty", os.O_RDWR, 0); err == nil {
		if term.IsTerminal(int(f.Fd())) {
			return &terminal{in: f, show: show}
		}
		_ = f.Close()
	}
	if term.IsTerminal(int(os.Stdin.Fd())) {
		return &terminal{in: os.Stdin, show: show}
	}
	return nil
}

// ask asks for a line, unseen unless echo is true. The end of ctx ends it.
func (t *terminal) ask(ctx context.Context, question string, echo bool) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.show.mu.Lock()
	t.show.wipe()
	held := t.show.progress
	t.show.progress = nil // nothing is drawn over the question
	t.show.mu.Unlock()
	defer func() {
		t.show.mu.Lock()
		t.show.progress = held
		t.show.mu.Unlock()
	}()
	out := io.Writer(os.Stderr)
	if t.in != os.Stdin {
		out = t.in
	}
	fd := int(t.in.Fd())
	state, _ := term.GetState(fd)
	if !echo && state != nil {
		echoOff(fd)
		defer func() { _ = term.Restore(fd, state) }()
	}
	fmt.Fprint(out, question)
	type line struct {
		text string
		err  error
	}
	got := make(chan line, 1)
	go func() {
		if !echo {
			b, err := term.ReadPassword(fd)
			got <- line{string(b), err}
			return
		}
		s, err := bufio.NewReader(io.LimitReader(t.in, 4096)).ReadString('\n')
		got <- line{strings.TrimRight(s, "\r\n"), err}
	}()
	select {
	case l := <-got:
		if !echo {
			fmt.Fprintln(out)
		}
		return l.text, l.err
	case <-ctx.Done():
		if state != nil {
			_ = term.Restore(fd, state)
		}
		fmt.Fprintln(out)
		return "", context.Cause(ctx)
	}
}

// confirm asks a question that is answered by yes or no.
func (t *terminal) confirm(ctx context.Context, question string) (bool, error) {
	for range 5 {
		s, err := t.ask(ctx, question+" [yes/no] ", true)
		if err != nil {
			return false, err
		}
		switch strings.ToLower(strings.TrimSpace(s)) {
		case "y", "yes":
			return true, nil
		case "n", "no", "":
			return false, nil
		}
	}
	return false, nil
}

func (c *client) askHostKey(ctx context.Context, k sshclient.HostKey) (sshclient.Answer, error) {
	s, err := c.tty.ask(ctx, fmt.Sprintf("First contact with %s. Its host key is\n  %s\nTrust it? [yes = and remember it, once, no] ", screen.Line(sshclient.HostName(k.Host, k.Port)), screen.Line(k.Fingerprint)), true)
	if err != nil {
		return sshclient.No, err
	}
	s = strings.TrimSpace(s)
	switch {
	case strings.EqualFold(s, "yes"), s != "" && strings.HasSuffix(k.Fingerprint, " "+s):
		return sshclient.Yes, nil
	case strings.EqualFold(s, "once"):
		return sshclient.Once, nil
	}
	return sshclient.No, nil
}

func (c *client) askCertificate(ctx context.Context, q remote.CertQuestion) (remote.Answer, error) {
	leaf := q.Chain[0]
	s, err := c.tty.ask(ctx, fmt.Sprintf("%s\n  host     %s\n  for      %s\n  issued   %s, valid %s to %s\n  key      %s\n  whole    SHA-256 %s\nTrust it? [yes = and remember it, once, no] ",
		headline(q.Why), screen.Line(net.JoinHostPort(q.Host, strconv.Itoa(q.Port))), screen.Line(strings.Join(append(leaf.DNSNames, leaf.Subject.CommonName), " ")), screen.Line("by "+leaf.Issuer.String()),
		leaf.NotBefore.Format("2 Jan 2006"), leaf.NotAfter.Format("2 Jan 2006"), q.Key, certs.CertPrint(leaf).Pairs()), true)
	if err != nil {
		return remote.AnswerNo, err
	}
	s = strings.TrimSpace(s)
	switch {
	case strings.EqualFold(s, "yes"), s == q.Key.String(), s == certs.CertPrint(leaf).Pairs():
		return remote.AnswerAlways, nil
	case strings.EqualFold(s, "once"):
		return remote.AnswerOnce, nil
	}
	return remote.AnswerNo, nil
}

func (c *client) askPrompts(ctx context.Context, instruction string, prompts []sshclient.Prompt) ([]string, error) {
	if instruction = screen.Line(instruction); instruction != "" {
		fmt.Fprintln(c.show, instruction)
	}
	var out []string
	for _, p := range prompts {
		s, err := c.tty.ask(ctx, strings.TrimRight(screen.Line(p.Text), " ")+" ", p.Echo)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

// local tells whether an argument is a path of this machine.
func local(arg string) bool { return !remote.IsRemote(arg) || filepath.VolumeName(arg) != "" }
