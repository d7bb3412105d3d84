package cli

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"os/user"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"dray/account"
	"dray/account/accountsql"
	"dray/config"
	"dray/gate"
)

// DefaultConfig is the configuration of a server that runs as a service.
const DefaultConfig = "/etc/dray/dray.toml"

func userCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "user",
		Short: "add, change, list and remove accounts",
		Long: `Accounts are kept in the database that the configuration names. All of these
commands work while the server runs: an account that is removed, disabled or
expired ends its sessions within 30 s, any other change acts on the next login.

The configuration is the file of --config, else of the environment variable
` + configEnv + `, else the usual one: for others than root ~/.config/dray/dray.toml where
it is there, else ` + DefaultConfig + `.`,
		Example: `  dray user add anna --home /srv/ftp/anna < password.txt
  dray user add camera --upload-only --quota 20G --networks 192.0.2.0/24 --generate
  dray user set anna --rights full --path /archive=read-only
  dray user key add anna anna.pub
  dray user ls`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(userAdd(), userSet(), userPasswd(), userRm(), userKey(), userLs(), userShow(), userRecount())
	return cmd
}

// configEnv names the environment variable with the configuration file.
const configEnv = "DRAY_CONFIG"

func noArgs(cmd *cobra.Command, args []string) error {
	switch {
	case len(args) > 0 && cmd.HasSubCommands():
		return usagef("%s has no command %q\n      %s --help shows them", cmd.CommandPath(), args[0], cmd.CommandPath())
	case len(args) > 0:
		return usagef("%s takes no argument\n      leave %q away; %s --help shows the options", cmd.CommandPath(), args[0], cmd.CommandPath())
	}
	return nil
}

// oneName is for commands that take the name of one account.
func oneName(cmd *cobra.Command, args []string) error {
	if len(args) == 1 {
		return nil
	}
	if f := cmd.Flags().Lookup("hash"); f != nil && f.Changed && len(args) > 1 {
		return usagef("%s", hashUse)
	}
	return usagef("%s takes the name of one account\n      for example: %s anna", cmd.CommandPath(), cmd.CommandPath())
}

// where is how a command finds the accounts.
type where struct {
	config, database string
	creates          bool           // accounts that are missing are made
	root             bool           // the accounts were opened by root, which has become another user for that
	read             *config.Config // once it was
}

// command gives cmd the flags of every command about accounts, and those of more
// behind them. Its argument is the name of an account unless cmd completes another.
func (w *where) command(cmd *cobra.Command, more ...func(*pflag.FlagSet)) *cobra.Command {
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&w.config, "config", "", "`FILE` of the configuration (default $"+configEnv+", else ~/.config/dray/dray.toml, else "+DefaultConfig+")")
	f.StringVar(&w.database, "database", "", "`FILE` of the accounts, in place of the one that the configuration names")
	for _, add := range more {
		add(f)
	}
	completeFlags(cmd)
	if cmd.ValidArgsFunction == nil {
		cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return w.names(cmd.Context()), cobra.ShellCompDirectiveNoFileComp
		}
	}
	return cmd
}

// configuration names the file for a sentence.
func (w *where) configuration() string { return cmp.Or(w.config, "the configuration") }

// names are those of the accounts, as far as they can be had. No database is made.
func (w *where) names(ctx context.Context) (names []string) {
	if ctx == nil {
		ctx = context.Background()
	}
	file := w.database
	if file == "" {
		c, err := w.load()
		if err != nil {
			return nil
		}
		file = c.Database()
	}
	if _, err := os.Stat(file); err != nil {
		return nil
	}
	_ = w.use(ctx, func(db *accountsql.DB, _ *config.Config) error {
		for a, err := range db.All(ctx) {
			if err != nil {
				return err
			}
			names = append(names, a.Name)
		}
		return nil
	})
	return names
}

// completeFlags says what the values of the flags may be that cmd has.
func completeFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	for flag, words := range map[string][]string{
		"rights":    {"full", "read-only", "upload-only", "none", "list", "read", "write", "overwrite", "delete", "rename", "mkdir", "attributes", "link"},
		"protocols": {"ftp", "ftps", "sftp", "ftp,ftps", "ftps,sftp", "all"},
		"factors":   {"any", "publickey", "publickey,password", "password"},
		"sync":      {"commit", "none"},
		"umask":     {"022", "027", "077"},
		"networks":  {"any"},
		"expires":   {"never"},
		"partials":  {"hidden", "listed"},
		"uploads":   {"beside", "in-place"},
		"charset":   {"utf-8", "windows-1252", "iso-8859-15", "gbk", "shift_jis"},
		"ftp":       {"off", ":21", ":2121"},
		"ftps":      {"off", ":990", ":2990"},
		"sftp":      {"off", ":22", ":2022"},
	} {
		if f.Lookup(flag) != nil {
			_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
		}
	}
	for _, flag := range []string{"home", "homes", "state"} {
		if f.Lookup(flag) != nil {
			_ = cmd.MarkFlagDirname(flag)
		}
	}
	for flag, ext := range map[string][]string{"config": {"toml"}, "database": {"db"}, "certificate": {"pem", "crt"}, "password-file": nil, "ready": nil, "authorized-keys": nil, "socket": {"sock"}} {
		if f.Lookup(flag) != nil {
			_ = cmd.MarkFlagFilename(flag, ext...)
		}
	}
	for _, flag := range []string{"user", "owner", "quota", "quota-files", "sessions", "rate-down", "rate-up", "mount", "path", "public", "passive"} {
		if f.Lookup(flag) != nil {
			_ = cmd.RegisterFlagCompletionFunc(flag, cobra.NoFileCompletions)
		}
	}
}

// load reads the configuration, as far as it can be read: a mistake in it must
// not keep anybody from locking an account.
func (w *where) load() (config.Config, error) {
	if w.read != nil {
		return *w.read, nil
	}
	c, err := w.parse()
	if err == nil {
		w.read = &c
	}
	return c, err
}

func (w *where) parse() (config.Config, error) {
	file := w.config
	if file == "" {
		file = configFile(nil)
	}
	c, problems, err := config.Load(file, os.Environ())
	if errors.Is(err, fs.ErrNotExist) && w.config == "" && w.database != "" {
		c, _ = config.Parse("", nil, os.Environ())
		return c, nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		return c, usagef("there is no configuration %s\n      dray init writes one; --config names another, --database the accounts alone", file)
	}
	if err != nil {
		return c, usagef("%v", err)
	}
	if wrong, _ := split(problems); len(wrong) > 0 && w.database == "" {
		// What names the database may be among the mistakes: none is made on a guess.
		if _, err := os.Stat(c.Database()); err != nil {
			return c, refuse(file+" has mistakes, and there are no accounts where it says", wrong)
		}
		fmt.Fprintf(os.Stderr, "dray: %s has mistakes (dray config check lists them); the accounts used are those in %s\n", file, c.Database())
	}
	return c, nil
}

// open opens the accounts. Root becomes the owner of the database first: a file
// that it left behind could not be opened by the server.
func (w *where) open(ctx context.Context) (*accountsql.DB, config.Config, error) {
	c, err := w.load()
	if err != nil {
		return nil, c, err
	}
	file := w.database
	if file == "" {
		file = c.Database()
	}
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) && !w.creates {
		if w.database != "" {
			return nil, c, fmt.Errorf("there is no database %s\n      name the one of the server, or leave --database away: the configuration names it", file)
		}
		return nil, c, fmt.Errorf("there are no accounts yet: %s is missing\n      dray user add NAME adds the first, and makes it", file)
	}
	w.root = os.Geteuid() == 0
	if err := becomeOwner(filepath.Dir(file)); err != nil {
		return nil, c, err
	}
	db, err := accountsql.Open(ctx, file, slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
	return db, c, err
}

// use opens the accounts for f and closes them.
func (w *where) use(ctx context.Context, f func(*accountsql.DB, *config.Config) error) error {
	db, c, err := w.open(ctx)
	if err != nil {
		return err
	}
	return errors.Join(f(db, &c), db.Close())
}

// one opens the accounts for f with one of them, and closes them.
func (w *where) one(ctx context.Context, name string, f func(*accountsql.DB, *config.Config, account.Account) error) error {
	return w.use(ctx, func(db *accountsql.DB, c *config.Config) error {
		a, err := lookup(ctx, db, name)
		if err != nil {
			return err
		}
		return f(db, c, a)
	})
}

func lookup(ctx context.Context, d account.Directory, name string) (account.Account, error) {
	a, err := d.Lookup(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		return a, fmt.Errorf("there is no account %q\n      dray user ls lists them", name)
	}
	return a, err
}

// settings are the flags that change an account.
type settings struct {
	home, rights, owner, umask, quota, down, up, expires, networks, protocols, factors, charset string
	partials, uploads                                                                           string
	mounts, paths, certificates                                                                 []string
	readOnly, uploadOnly, disable, enable, transcript, noTranscript                             bool
	files, sessions                                                                             int

	pins map[string]pin // of the certificates that were read
}

// A pin is what an account keeps of a client certificate, or why it can't be had.
type pin struct {
	text string
	err  error
}

// pin is that of a value of --certificate, which is read once: root may read files
// that the owner of the accounts can't.
func (s *settings) pin(certificate string) pin {
	p, ok := s.pins[certificate]
	if !ok {
		p.text, p.err = certificatePin(certificate)
		if s.pins == nil {
			s.pins = map[string]pin{}
		}
		s.pins[certificate] = p
	}
	return p
}

// unreachable lists what is wrong with the directories that clients would see: home,
// unless it is "", and those of --mount.
func (s *settings) unreachable(home string, c config.Config, w *where) (wrong []string) {
	if w.database != "" {
		c.Accounts.Database = w.database
	}
	if why := homeFlaw(home, &c); why != "" {
		key := "--home"
		if s.home == "" {
			key = "accounts.home"
		}
		wrong = append(wrong, key+": "+why)
	}
	for _, m := range s.mounts {
		if _, dir, _ := strings.Cut(m, "="); filepath.IsAbs(dir) {
			if why := exposed(dir, &c); why != "" {
				wrong = append(wrong, "--mount: "+why)
			}
		}
	}
	return wrong
}

func (s *settings) flags(f *pflag.FlagSet) {
	f.StringVar(&s.home, "home", "", "`DIR` that the account sees as /")
	f.StringArrayVar(&s.mounts, "mount", nil, "`PATH=DIR`: show another directory in its tree; PATH= takes it away (may be repeated)")
	f.StringVar(&s.rights, "rights", "", "`RIGHTS`: full, read-only, upload-only, none, or words between commas of list, read, write, overwrite, delete, rename, mkdir, attributes, link")
	f.StringArrayVar(&s.paths, "path", nil, "`PATH=RIGHTS` in one directory and below; PATH= takes them away (may be repeated)")
	f.BoolVar(&s.readOnly, "read-only", false, "--rights read-only")
	f.BoolVar(&s.uploadOnly, "upload-only", false, "--rights upload-only: what is there can't be seen, taken, replaced or removed")
	f.StringVar(&s.owner, "owner", "", "`USER[:GROUP]` of this machine whose files they are, never root or its group; none: the server's")
	f.StringVar(&s.umask, "umask", "", "`OCTAL` umask of new files, with an owner (default 022)")
	f.StringVar(&s.quota, "quota", "", "`SIZE` of all files together, as 10G; 0: no limit")
	f.IntVar(&s.files, "quota-files", 0, "`NUMBER` of files; 0: no limit")
	f.IntVar(&s.sessions, "sessions", 0, "`NUMBER` of sessions at once; 0: as many as the server allows")
	f.StringVar(&s.down, "rate-down", "", "`SIZE` a second to the client, of all its transfers, as 5M; 0: no limit")
	f.StringVar(&s.up, "rate-up", "", "`SIZE` a second from the client; 0: no limit")
	f.StringVar(&s.expires, "expires", "", "last `DAY`, as 2027-12-31, or never")
	f.BoolVar(&s.disable, "disable", false, "no login; sessions end within 30 s")
	f.BoolVar(&s.enable, "enable", false, "undo --disable")
	f.StringVar(&s.networks, "networks", "", "`LIST` of networks to log in from, between commas; any: from anywhere")
	f.StringVar(&s.protocols, "protocols", "", "`LIST` of ftp, ftps and sftp; all: every one")
	f.StringVar(&s.factors, "factors", "", "`LIST`: what a login over SSH needs, all of them in any order, between commas, of publickey and password; any: one of them suffices")
	f.StringArrayVar(&s.certificates, "certificate", nil, "`WHAT` logs in without a password: the PEM file or SHA-256 of a client certificate, or ca for those of the listener's client-ca; none takes all away (may be repeated)")
	f.StringVar(&s.partials, "partials", "", "`WHAT`: hidden (the default), or listed: its own cut uploads are in its listings, as NAME.part")
	f.StringVar(&s.uploads, "uploads", "", "`WHERE`: beside (the default), or in-place: every upload writes to its name from the first byte on, and a cut one stays there")
	f.StringVar(&s.charset, "charset", "", "`NAME` of the character set of its programs, as windows-1252; utf-8 by default")
	f.BoolVar(&s.transcript, "transcript", false, "log its dialogue, with passwords masked")
	f.BoolVar(&s.noTranscript, "no-transcript", false, "undo --transcript")
}

// apply changes a as the flags that were given say, and returns all that is wrong
// with them.
func (s *settings) apply(f *pflag.FlagSet, a *account.Account) (wrong []string) {
	bad := func(flag, format string, args ...any) {
		wrong = append(wrong, fmt.Sprintf("--%s: %s", flag, fmt.Sprintf(format, args...)))
	}
	absolute := func(flag, dir string) bool {
		if !filepath.IsAbs(dir) {
			bad(flag, "%q is not absolute; write the whole path of a directory of this machine", dir)
		}
		return filepath.IsAbs(dir)
	}
	sized := func(flag, value string, to *int64) {
		size, err := config.ParseSize(value)
		if err != nil {
			bad(flag, "%v; write 500M or 10G", err)
			return
		}
		*to = int64(size)
	}
	if f.Changed("home") && (s.home == "" || absolute("home", s.home)) {
		a.Home = s.home
		if s.home != "" {
			a.Home = filepath.Clean(s.home)
		}
	}
	for _, m := range s.mounts {
		at, dir, ok := strings.Cut(m, "=")
		if !ok || !strings.HasPrefix(at, "/") || path.Clean(at) == "/" {
			bad("mount", "%q is no PATH=DIR; write /projects=/srv/projects", m)
			continue
		}
		at = path.Clean(at)
		a.Mounts = slices.DeleteFunc(a.Mounts, func(m account.Mount) bool { return m.At == at })
		if dir != "" && absolute("mount", dir) {
			a.Mounts = append(a.Mounts, account.Mount{At: at, Dir: filepath.Clean(dir)})
		}
	}
	presets := 0
	for _, p := range []struct {
		given bool
		flag  string
		text  string
	}{{f.Changed("rights"), "rights", s.rights}, {s.readOnly, "read-only", "read-only"}, {s.uploadOnly, "upload-only", "upload-only"}} {
		if !p.given {
			continue
		}
		if presets++; presets > 1 {
			bad(p.flag, "the rights are given twice; leave one away")
		}
		r, err := account.ParseRights(p.text)
		if err != nil {
			bad(p.flag, "%v; write %s", err, account.RightsHelp)
			continue
		}
		a.Rights = r
	}
	for _, p := range s.paths {
		at, words, ok := strings.Cut(p, "=")
		if !ok || !strings.HasPrefix(at, "/") {
			bad("path", "%q is no PATH=RIGHTS; write /archive=read-only", p)
			continue
		}
		at = path.Clean(at)
		a.Paths = slices.DeleteFunc(a.Paths, func(p account.PathRights) bool { return p.Path == at })
		if words == "" {
			continue
		}
		r, err := account.ParseRights(words)
		if err != nil {
			bad("path", "%v; write %s", err, account.RightsHelp)
			continue
		}
		a.Paths = append(a.Paths, account.PathRights{Path: at, Rights: r})
	}
	if f.Changed("owner") {
		if o, err := findOwner(s.owner); err != nil {
			bad("owner", "%v", err)
		} else {
			if o != nil && a.Owner != nil {
				o.Umask = a.Owner.Umask
			}
			a.Owner = o
		}
	}
	if f.Changed("umask") {
		mask, err := strconv.ParseUint(s.umask, 8, 16)
		switch {
		case err != nil || mask > 0o777:
			bad("umask", "%q is no umask; write 022 or 027", s.umask)
		case a.Owner == nil:
			bad("umask", "it belongs to an owner; name one with --owner")
		default:
			a.Owner.Umask = uint32(mask)
		}
	}
	if f.Changed("quota") {
		sized("quota", s.quota, &a.MaxBytes)
	}
	if f.Changed("rate-down") {
		sized("rate-down", s.down, &a.RateDown)
	}
	if f.Changed("rate-up") {
		sized("rate-up", s.up, &a.RateUp)
	}
	for _, n := range []struct {
		flag  string
		value int
		to    *int
	}{{"quota-files", s.files, &a.MaxFiles}, {"sessions", s.sessions, &a.MaxSessions}} {
		if !f.Changed(n.flag) {
			continue
		}
		if n.value < 0 {
			bad(n.flag, "%d is below nothing; 0 is no limit", n.value)
			continue
		}
		*n.to = n.value
	}
	if f.Changed("expires") {
		switch day, err := time.ParseInLocation(time.DateOnly, s.expires, time.Local); {
		case s.expires == "never":
			a.Expires = time.Time{}
		case err != nil:
			bad("expires", "%q is no day; write 2027-12-31, or never", s.expires)
		default:
			a.Expires = config.Date{Time: day}.End()
		}
	}
	if s.disable && s.enable {
		bad("enable", "it is the opposite of --disable; leave one away")
	}
	a.Disabled = a.Disabled && !s.enable || s.disable
	if s.transcript && s.noTranscript {
		bad("no-transcript", "it is the opposite of --transcript; leave one away")
	}
	a.Transcript = a.Transcript && !s.noTranscript || s.transcript
	if f.Changed("networks") {
		a.Networks = nil
		for _, n := range list(s.networks, "any") {
			p, err := netip.ParsePrefix(n)
			if err != nil {
				addr, aerr := netip.ParseAddr(n)
				if aerr != nil {
					bad("networks", "%q is no network; write 192.0.2.0/24 or 2001:db8::/32", n)
					continue
				}
				p = netip.PrefixFrom(addr, addr.BitLen())
			}
			a.Networks = append(a.Networks, p.Masked())
		}
	}
	if f.Changed("protocols") {
		a.Protocols = nil
		for _, p := range list(s.protocols, "all") {
			if p != "ftp" && p != "ftps" && p != gate.ProtocolSFTP {
				bad("protocols", "%q is no protocol; write ftp, ftps, sftp, or several between commas", p)
				continue
			}
			a.Protocols = append(a.Protocols, p)
		}
	}
	if f.Changed("factors") {
		a.Factors = nil
		for _, factor := range list(s.factors, "any") {
			switch {
			case factor != account.FactorKey && factor != account.FactorPassword:
				bad("factors", "%q is no factor; write publickey, password, both between commas, or any", factor)
			case slices.Contains(a.Factors, factor):
				bad("factors", "%s is there twice; leave one away", factor)
			default:
				a.Factors = append(a.Factors, factor)
			}
		}
	}
	for _, c := range s.certificates {
		switch p := s.pin(c); {
		case c == "none":
			a.Certificates = nil
		case p.err != nil:
			bad("certificate", "%v", p.err)
		case !slices.Contains(a.Certificates, p.text):
			a.Certificates = append(a.Certificates, p.text)
		}
	}
	for _, w := range []struct {
		flag, value string
		to          *string
		usual, word string
	}{
		{"partials", s.partials, &a.Partials, "hidden", account.PartialsListed},
		{"uploads", s.uploads, &a.Uploads, "beside", account.UploadsInPlace},
	} {
		switch {
		case !f.Changed(w.flag):
		case w.value == w.usual:
			*w.to = ""
		case w.value == w.word:
			*w.to = w.word
		default:
			bad(w.flag, "%q is neither of its words; write %s or %s", w.value, w.usual, w.word)
		}
	}
	if f.Changed("charset") {
		if err := account.CheckCharset(s.charset); err != nil {
			bad("charset", "%v", err)
		} else if a.Charset = strings.ToLower(s.charset); a.Charset == "utf-8" || a.Charset == "utf8" {
			a.Charset = ""
		}
	}
	return wrong
}

// notes are what the administrator has to know about settings that were taken,
// and that do not work as they are.
func (s *settings) notes(f *pflag.FlagSet, a *account.Account, c *config.Config, w *where) (notes []string) {
	uid, gid, groups := actsAs(a.Owner, c, w)
	for _, m := range a.Mounts {
		note := ""
		switch fi, err := os.Stat(m.Dir); {
		case errors.Is(err, fs.ErrNotExist):
			note = "is missing: nobody can log in to the account until it is there"
		case errors.Is(err, fs.ErrPermission) && uid == os.Geteuid(), err == nil && fi.IsDir() && !mayEnter(fi, uid, gid, groups):
			note = fmt.Sprintf("is closed to uid %d, which serves this account: nobody can log in to it until that user may enter it", uid)
		case err == nil && !fi.IsDir():
			note = "is a file: nobody can log in to the account until it is a directory"
		}
		if note != "" {
			notes = append(notes, fmt.Sprintf("%s, to be seen at %s, %s", m.Dir, m.At, note))
		}
	}
	file := w.configuration()
	if f.Changed("owner") && a.Owner != nil && !c.Accounts.Owners {
		notes = append(notes, fmt.Sprintf("accounts.owners is off, so only a server that is root can act as the owner: write owners = true under [accounts] in %s, and start the server again", file))
	}
	if f.Changed("certificate") && len(a.Certificates) > 0 && !slices.ContainsFunc(c.Listeners, config.Listener.AsksCertificate) {
		notes = append(notes, fmt.Sprintf("no listener asks clients for a certificate: write client-certificates = \"ask\" under [[listener]] in %s", file))
	}
	if len(a.Factors) > 0 && (f.Changed("factors") || f.Changed("protocols") || f.Changed("certificate")) {
		note := "a login needs " + strings.Join(a.Factors, " and ") + ", so no protocol but SFTP lets the account in"
		if len(a.Certificates) > 0 {
			note += ", and its certificates count for nothing"
		}
		notes = append(append(notes, note+"; --factors any undoes that"), sftpNotes(a, c, w)...)
	}
	return notes
}

// list parts a list at its commas; the word none, or nothing, is an empty one.
func list(s, none string) []string {
	if s == "" || s == none {
		return nil
	}
	var out []string
	for part := range strings.SplitSeq(s, ",") {
		out = append(out, strings.TrimSpace(part))
	}
	return out
}

// findOwner reads USER[:GROUP], names or numbers; "none" is no owner.
func findOwner(s string) (*account.Owner, error) {
	if s == "none" || s == "" {
		return nil, nil
	}
	name, group, _ := strings.Cut(s, ":")
	o := &account.Owner{Umask: 0o022}
	u, err := user.Lookup(name)
	if err != nil {
		if u, err = user.LookupId(name); err != nil {
			return nil, fmt.Errorf("this machine has no user %q; make one with useradd, or name another", name)
		}
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	if err := errors.Join(err, err2); err != nil {
		return nil, err
	}
	if uid == 0 {
		return nil, errors.New("root can't own an account; name a user without privileges")
	}
	o.UID, o.GID = uint32(uid), uint32(gid)
	if group != "" {
		g, err := user.LookupGroup(group)
		if err != nil {
			if g, err = user.LookupGroupId(group); err != nil {
				return nil, fmt.Errorf("this machine has no group %q", group)
			}
		}
		gid, err := strconv.ParseUint(g.Gid, 10, 32)
		if err != nil {
			return nil, err
		}
		o.GID = uint32(gid)
	}
	if o.GID == 0 {
		return nil, errors.New("the group of root can't own an account: it may read and write what is root's; name another as USER:GROUP")
	}
	ids, err := u.GroupIds()
	if err != nil {
		return nil, fmt.Errorf("the groups of %q can't be looked up: %w", name, err)
	}
	for _, id := range ids {
		n, err := strconv.ParseUint(id, 10, 32)
		switch {
		case err != nil || uint32(n) == o.GID:
		case n == 0:
			return nil, fmt.Errorf("%q is in the group of root, which may read and write what is root's; take it out of that group, or name another user", name)
		default:
			o.Groups = append(o.Groups, uint32(n))
		}
	}
	return o, nil
}

// certificatePin is what an account keeps of a client certificate.
func certificatePin(s string) (string, error) {
	if s == "ca" || s == "none" {
		return s, nil
	}
	digits := strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(s, "sha256:"), ":", ""))
	if b, err := hex.DecodeString(digits); err == nil && len(b) == sha256.Size {
		return digits, nil
	}
	text, err := os.ReadFile(s)
	if err != nil {
		return "", fmt.Errorf("%q is neither a SHA-256, nor ca, nor a file that can be read", s)
	}
	block, text := pem.Decode(text)
	for block != nil && block.Type != "CERTIFICATE" { // the key may come first
		block, text = pem.Decode(text)
	}
	if block == nil {
		return "", fmt.Errorf("%s holds no certificate in PEM form", s)
	}
	sum := sha256.Sum256(block.Bytes)
	return hex.EncodeToString(sum[:]), nil
}

// secrets are the flags that give a password.
type secrets struct {
	usual              string // where a password comes from without any of them; "": standard input
	file               string
	generate, hash, no bool
}

func (s *secrets) flags(f *pflag.FlagSet) {
	f.StringVar(&s.file, "password-file", "", "read the password from the first line of `FILE` (default: "+cmp.Or(s.usual, "standard input")+")")
	f.BoolVar(&s.generate, "generate", false, "make a password and show it once")
	f.BoolVar(&s.hash, "hash", false, "the line that is read is a crypt(3) hash of another system, and no password")
	f.BoolVar(&s.no, "no-password", false, "no password logs in: for certificates and keys")
}

// hashUse is for whoever writes a hash behind --hash, where others can see it.
const hashUse = "--hash takes no value: the hash is a line that is read\n      pipe it in, or name a file with --password-file"

// given tells whether any of the flags was.
func (s *secrets) given() bool { return s.file != "" || s.generate || s.hash || s.no }

// check lists what is wrong with the flags, as far as it shows before a password
// is read.
func (s *secrets) check() (wrong []string) {
	sources := 0
	for _, on := range []bool{s.file != "", s.generate, s.no} {
		if on {
			sources++
		}
	}
	if sources > 1 {
		wrong = append(wrong, "the password is given twice: leave all but one of --password-file, --generate and --no-password away")
	}
	if s.hash && (s.generate || s.no) {
		wrong = append(wrong, "--hash: it is for a line that is read, and none is; leave it away, or --generate and --no-password")
	}
	return wrong
}

// asks tells whether somebody at a terminal is asked for the password.
func (s *secrets) asks(cmd *cobra.Command) bool {
	in, ok := cmd.InOrStdin().(*os.File)
	return s.file == "" && !s.generate && !s.no && ok && term.IsTerminal(int(in.Fd()))
}

// read returns the hash of the password that the flags name, and the password
// when it was made here. The flags were checked.
func (s *secrets) read(cmd *cobra.Command) (account.Hash, string, error) {
	var secret account.Secret
	var made, flag string
	var err error
	switch {
	case s.no:
		return "", "", nil
	case s.generate:
		made = newPassword()
		secret = account.NewSecret(made)
	case s.file != "":
		flag = "--password-file: "
		secret, err = passwordIn("--password-file", s.file, slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil)))
	default:
		secret, err = s.ask(cmd)
	}
	if err != nil {
		return "", "", err
	}
	var h account.Hash
	if s.hash {
		flag += "--hash: "
		h, err = account.ParseHash(secret.Reveal())
	} else {
		h, err = account.NewHash(secret)
	}
	if err != nil {
		return "", "", usagef("%s%v", flag, err)
	}
	return h, made, nil
}

// ask reads a password from standard input: twice and unseen on a terminal, else
// the first line. A hash is asked for once: what it lacks, it shows.
func (s *secrets) ask(cmd *cobra.Command) (account.Secret, error) {
	in, ok := cmd.InOrStdin().(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		line, err := passwordLine(cmd.InOrStdin())
		if err != nil {
			return account.Secret{}, usagef("standard input: %v", err)
		}
		if line != "" {
			return account.NewSecret(line), nil
		}
		if s.hash {
			return account.Secret{}, usagef("standard input has no hash\n      pipe one in, or name a file with --password-file")
		}
		return account.Secret{}, usagef("standard input has no password\n      pipe one in, or use --generate")
	}
	ask := func(prompt string) (string, error) {
		fmt.Fprint(cmd.ErrOrStderr(), prompt)
		b, err := term.ReadPassword(int(in.Fd()))
		fmt.Fprintln(cmd.ErrOrStderr())
		return string(b), err
	}
	if s.hash {
		hash, err := ask("Hash: ")
		return account.NewSecret(hash), err
	}
	first, err := ask("Password: ")
	if err != nil {
		return account.Secret{}, err
	}
	again, err := ask("Once more: ")
	switch {
	case err != nil:
		return account.Secret{}, err
	case first == "":
		return account.Secret{}, usagef("an empty password is none\n      --generate makes one, --no-password leaves it away")
	case first != again:
		return account.Secret{}, usagef("the two passwords differ")
	}
	return account.NewSecret(first), nil
}

func userAdd() *cobra.Command {
	var w where
	var s settings
	var p secrets
	cmd := &cobra.Command{
		Use:     "add NAME",
		Aliases: []string{"create"},
		Short:   "add an account",
		Long: `Add an account. The password is read from standard input: asked for twice and
unseen on a terminal, else the first line. With --hash that line is a crypt(3) hash
of another system. A home that is missing is made, and given to the user that will
write to it; what one holds already counts for the quota as soon as the server has
counted it, within 10 s or at its next start. Home and rights that no flag gives are
as the section [accounts] of the configuration says.`,
		Example: `  dray user add anna
  printf '%s\n' "$PASSWORD" | dray user add anna --home /srv/ftp/anna
  dray user add camera --upload-only --quota 20G --generate
  dray user add batch --owner batch:www-data --umask 027 --password-file batch.txt
  dray user add press --read-only --expires 2027-12-31 --networks 192.0.2.0/24 --generate
  dray user add robot --no-password --certificate robot.pem
  dray user add backup --no-password --protocols sftp --factors publickey
  getent shadow old | cut -d: -f2 | dray user add old --hash`,
		Args:              oneName,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := w.load()
			if err != nil {
				return err
			}
			var wrong []string
			if why := account.CheckName(args[0]); why != "" {
				wrong = append(wrong, fmt.Sprintf("%q can't be the name of an account: %s", args[0], why))
			}
			a := account.Account{Name: args[0], Rights: c.Accounts.Rights}
			wrong = append(append(wrong, s.apply(cmd.Flags(), &a)...), p.check()...)
			home, _ := c.HomeOf(&a)
			if home == "" && len(a.Mounts) == 0 && len(s.mounts) == 0 && s.home == "" {
				wrong = append(wrong, "it has no home: name one with --home DIR, or for all accounts with home under [accounts] of the configuration")
			}
			wrong = append(wrong, s.unreachable(home, c, &w)...)
			if len(wrong) > 0 {
				return refuseLines("no account was added", wrong)
			}
			w.creates = w.database == "" || sameFile(w.database, c.Database())
			// A password in a file is read while root still is root; somebody at a
			// terminal is asked when nothing else can go wrong.
			var made string
			if !p.asks(cmd) {
				if a.Hash, made, err = p.read(cmd); err != nil {
					return err
				}
			}
			at, err := makeHome(home, a.Owner, &c, &w)
			if err != nil {
				return err
			}
			err = w.use(cmd.Context(), func(db *accountsql.DB, _ *config.Config) error {
				switch _, err := db.Lookup(cmd.Context(), a.Name); {
				case err == nil:
					return fmt.Errorf("there is an account %q already\n      dray user set %s changes it, dray user passwd %s its password", a.Name, a.Name, a.Name)
				case !errors.Is(err, fs.ErrNotExist):
					return err
				}
				if p.asks(cmd) {
					var err error
					if a.Hash, made, err = p.read(cmd); err != nil {
						return err
					}
				}
				return putNew(cmd.Context(), db, a, at)
			})
			if err != nil {
				at.undo()
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "account %s added: %s in %s\n", a.Name, a.Rights, orMounts(home))
			if made != "" {
				fmt.Fprintf(cmd.OutOrStdout(), "password: %s   (shown once)\n", made)
			}
			notes := s.notes(cmd.Flags(), &a, &c, &w)
			if at.note != "" {
				notes = append(notes, at.note)
			}
			if do := lacks(&a, &c); do != "" {
				notes = append(notes, "nobody can log in to it yet: "+do)
			}
			tellNotes(cmd, notes)
			return nil
		},
	}
	return w.command(cmd, p.flags, s.flags)
}

// putNew stores a new account. What its directories hold already is counted by the
// server, for the quota.
func putNew(ctx context.Context, db *accountsql.DB, a account.Account, home place) error {
	err := db.Put(ctx, a)
	if err == nil && (home.files || len(a.Mounts) > 0) {
		err = wantRecount(ctx, db, a.Name)
	}
	return err
}

// wantRecount is for an account that was stored.
func wantRecount(ctx context.Context, db *accountsql.DB, name string) error {
	if err := db.WantRecount(ctx, name); err != nil {
		return fmt.Errorf("the account was stored, and its files may not be counted: %w\n      dray user recount %s has them counted", err, name)
	}
	return nil
}

// tellNotes writes what is no result and no error.
func tellNotes(cmd *cobra.Command, notes []string) {
	for _, n := range notes {
		fmt.Fprintln(cmd.ErrOrStderr(), "dray: "+n)
	}
}

// sameFile tells whether two names, absolute or not, are one.
func sameFile(a, b string) bool {
	a, aerr := filepath.Abs(a)
	b, berr := filepath.Abs(b)
	return aerr == nil && berr == nil && a == b
}

func orMounts(home string) string {
	if home == "" {
		return "its mounts"
	}
	return home
}

func userSet() *cobra.Command {
	var w where
	var s settings
	cmd := &cobra.Command{
		Use:     "set NAME",
		Aliases: []string{"mod", "modify"},
		Short:   "change an account",
		Long: `Change what the flags say, and nothing else. Sessions that are open keep what
they have, and the next login gets what is new; but --disable, and a day in the
past for --expires, end them within 30 s.`,
		Example: `  dray user set anna --quota 50G --rate-down 5M
  dray user set anna --disable
  dray user set anna --enable --expires 2027-12-31
  dray user set anna --mount /projects=/srv/projects --path /projects=read-only
  dray user set anna --protocols sftp --factors publickey,password`,
		Args: oneName,
		RunE: func(cmd *cobra.Command, args []string) error {
			changed := 0
			cmd.Flags().Visit(func(f *pflag.Flag) {
				if f.Name != "config" && f.Name != "database" {
					changed++
				}
			})
			if changed == 0 {
				return usagef("nothing to change\n      dray user set --help shows what can be")
			}
			c, err := w.load()
			if err != nil {
				return err
			}
			for _, certificate := range s.certificates {
				s.pin(certificate)
			}
			home := ""
			if filepath.IsAbs(s.home) {
				home = s.home
			}
			closed := s.unreachable(home, c, &w)
			return change(cmd, &w, args[0], "changed", func(a *account.Account, c *config.Config) error {
				if wrong := append(s.apply(cmd.Flags(), a), closed...); len(wrong) > 0 {
					return refuseLines(fmt.Sprintf("account %q was not changed", a.Name), wrong)
				}
				home, _ := c.HomeOf(a)
				if home == "" && len(a.Mounts) == 0 {
					return usagef("account %q would have no home and no mounts\n      name one with --home DIR", a.Name)
				}
				notes := s.notes(cmd.Flags(), a, c, &w)
				if cmd.Flags().Changed("home") || cmd.Flags().Changed("owner") {
					at, err := makeHome(home, a.Owner, c, &w)
					var refused *exitError
					switch {
					case errors.As(err, &refused):
						return err
					case err != nil:
						at.note = err.Error() + ": make it before the next login"
					}
					if at.note != "" {
						notes = append(notes, at.note)
					}
				}
				if do := lacks(a, c); do != "" && cmd.Flags().Changed("factors") {
					notes = append(notes, "nobody can log in to it now: "+do)
				}
				tellNotes(cmd, notes)
				return nil
			})
		},
	}
	return w.command(cmd, s.flags)
}

// change changes one account by f, and says so: what was done to it.
func change(cmd *cobra.Command, w *where, name, what string, f func(*account.Account, *config.Config) error) error {
	when := "from its next login on"
	err := w.one(cmd.Context(), name, func(db *accountsql.DB, c *config.Config, a account.Account) error {
		home, mounts := a.Home, slices.Clone(a.Mounts)
		if err := f(&a, c); err != nil {
			return err
		}
		if a.Usable(time.Now()) != "" {
			when = "nobody can log in, and its sessions end within 30 s"
		}
		err := db.Put(cmd.Context(), a)
		if err == nil && (a.Home != home || !slices.Equal(a.Mounts, mounts)) {
			err = wantRecount(cmd.Context(), db, a.Name)
		}
		return err
	})
	if err == nil {
		fmt.Fprintf(cmd.OutOrStdout(), "account %s %s: %s\n", name, what, when)
	}
	return err
}

func userPasswd() *cobra.Command {
	var w where
	var p secrets
	cmd := &cobra.Command{
		Use:     "passwd NAME",
		Aliases: []string{"password"},
		Short:   "set the password of an account",
		Long: `Set the password of an account. It is read from standard input: asked for twice
and unseen on a terminal, else the first line. With --hash that line is a crypt(3)
hash of another system. Sessions that are open go on.`,
		Example: `  dray user passwd anna
  dray user passwd anna --generate
  printf '%s\n' "$PASSWORD" | dray user passwd anna`,
		Args: oneName,
		RunE: func(cmd *cobra.Command, args []string) error {
			if wrong := p.check(); len(wrong) > 0 {
				return refuseLines("the password was not changed", wrong)
			}
			var hash account.Hash
			var made string
			late := p.asks(cmd)
			read := func() (err error) { hash, made, err = p.read(cmd); return err }
			if !late {
				if err := read(); err != nil {
					return err
				}
			}
			what := "has a new password"
			if p.no {
				what = "has no password now, and no password logs in to it any more"
			}
			err := change(cmd, &w, args[0], what, func(a *account.Account, _ *config.Config) error {
				if late {
					if err := read(); err != nil {
						return err
					}
				}
				a.Hash = hash
				return nil
			})
			if err != nil {
				return err
			}
			if made != "" {
				fmt.Fprintf(cmd.OutOrStdout(), "password: %s   (shown once)\n", made)
			}
			return nil
		},
	}
	return w.command(cmd, p.flags)
}

func userRm() *cobra.Command {
	var w where
	cmd := &cobra.Command{
		Use:     "rm NAME",
		Aliases: []string{"remove", "delete", "del"},
		Short:   "remove an account; its files stay",
		Long:    "Remove an account. Its sessions end within 30 s; its files stay where they are.",
		Example: "  dray user rm anna",
		Args:    oneName,
		RunE: func(cmd *cobra.Command, args []string) error {
			files := "its files stay"
			err := w.use(cmd.Context(), func(db *accountsql.DB, c *config.Config) error {
				a, unread := db.Lookup(cmd.Context(), args[0]) // settings that can't be read are no reason to keep it
				if home, _ := c.HomeOf(&a); unread == nil {
					files += " in " + orMounts(home)
				}
				err := db.Remove(cmd.Context(), args[0])
				if errors.Is(err, fs.ErrNotExist) {
					_, err = lookup(cmd.Context(), db, args[0])
				}
				return err
			})
			if err == nil {
				fmt.Fprintf(cmd.OutOrStdout(), "account %s removed: its sessions end within 30 s; %s\n", args[0], files)
			}
			return err
		},
	}
	return w.command(cmd)
}

func userLs() *cobra.Command {
	var w where
	var asJSON bool
	cmd := &cobra.Command{
		Use:               "ls",
		Aliases:           []string{"list"},
		Short:             "list accounts",
		Example:           "  dray user ls\n  dray user ls --json",
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return w.use(cmd.Context(), func(db *accountsql.DB, c *config.Config) error {
				out := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
				enc := json.NewEncoder(cmd.OutOrStdout())
				if !asJSON {
					fmt.Fprintln(out, "NAME\tRIGHTS\tUSED\tQUOTA\tHOME\tSTATE")
				}
				for a, err := range db.All(cmd.Context()) {
					if err != nil {
						return err
					}
					v, err := describe(cmd.Context(), db, c, a)
					if err != nil {
						return err
					}
					if asJSON {
						if err := enc.Encode(v); err != nil {
							return err
						}
						continue
					}
					quota := "-"
					if a.MaxBytes > 0 {
						quota = config.Size(a.MaxBytes).String()
					}
					fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%s\t%s\n", a.Name, a.Rights, gate.Bytes(v.UsedBytes), quota, orMounts(v.Home), v.State)
				}
				return out.Flush()
			})
		},
	}
	return w.command(cmd, func(f *pflag.FlagSet) { f.BoolVar(&asJSON, "json", false, "one JSON object a line") })
}

// A view is an account as it is shown, and as JSON has it. It has no secret.
type view struct {
	Name     string `json:"name"`
	Password string `json:"password"`          // the form of its hash, "none"
	State    string `json:"state"`             // "active", "disabled", "expired"
	Expires  string `json:"expires,omitempty"` // the last day, as 2027-12-31
	account.Account
	Keys      []keyView `json:"keys,omitempty"`
	Home      string    `json:"home"` // also when it comes from the configuration
	UsedBytes int64     `json:"used-bytes"`
	UsedFiles int       `json:"used-files"`
}

func describe(ctx context.Context, db *accountsql.DB, c *config.Config, a account.Account) (view, error) {
	v := view{Name: a.Name, Password: a.Hash.Form(), State: "active", Account: a, Keys: describeKeys(a.Keys)}
	v.Home, _ = c.HomeOf(&a)
	if !a.Expires.IsZero() {
		v.Expires = a.Expires.Add(-time.Second).Format(time.DateOnly)
	}
	if why := a.Usable(time.Now()); why != "" {
		v.State = why
	}
	u, err := db.Usage(ctx, a.Name)
	v.UsedFiles, v.UsedBytes = u.Files, u.Bytes
	return v, err
}

func userShow() *cobra.Command {
	var w where
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "show NAME",
		Short:   "show an account and what it uses",
		Long:    "Show an account and what it uses, which may be a second old: the server writes it\ndown from time to time.",
		Example: "  dray user show anna\n  dray user show anna --json",
		Args:    oneName,
		RunE: func(cmd *cobra.Command, args []string) error {
			return w.one(cmd.Context(), args[0], func(db *accountsql.DB, c *config.Config, a account.Account) error {
				v, err := describe(cmd.Context(), db, c, a)
				if err != nil {
					return err
				}
				if asJSON {
					enc := json.NewEncoder(cmd.OutOrStdout())
					enc.SetIndent("", "  ")
					return enc.Encode(v)
				}
				v.print(cmd.OutOrStdout())
				return nil
			})
		},
	}
	return w.command(cmd, func(f *pflag.FlagSet) { f.BoolVar(&asJSON, "json", false, "as JSON") })
}

func (v *view) print(w io.Writer) {
	row := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%-13s %s\n", name, fmt.Sprintf(format, args...))
	}
	rate := func(n int64) string {
		if n == 0 {
			return "no limit"
		}
		return config.Size(n).String() + "/s"
	}
	row("name", "%s", v.Name)
	row("state", "%s", v.State)
	if v.Expires != "" {
		row("expires", "at the end of %s", v.Expires)
	}
	row("password", "%s", v.Password)
	for _, c := range v.Certificates {
		row("certificate", "%s", c)
	}
	if len(v.Keys) > 0 {
		row("keys", "%d", len(v.Keys))
	}
	for i := range v.Keys {
		row("key", "%s", keyLine(&v.Keys[i].Key))
	}
	if len(v.Factors) > 0 {
		row("factors", "%s", strings.Join(v.Factors, ", "))
	}
	row("home", "%s", orMounts(v.Home))
	row("rights", "%s", v.Rights)
	for _, m := range v.Mounts {
		row("mount", "%s = %s", m.At, m.Dir)
	}
	for _, p := range v.Paths {
		row("path", "%s = %s", p.Path, p.Rights)
	}
	if o := v.Owner; o != nil {
		groups := ""
		if len(o.Groups) > 0 {
			groups = fmt.Sprintf(", groups %v", o.Groups)
		}
		row("owner", "uid %d, gid %d%s, umask %03o", o.UID, o.GID, groups, o.Umask)
	}
	bytes, files := gate.Bytes(v.UsedBytes), strconv.Itoa(v.UsedFiles)+" files"
	if v.UsedFiles == 1 {
		files = "1 file"
	}
	if v.MaxBytes > 0 {
		bytes += " of " + config.Size(v.MaxBytes).String()
	}
	if v.MaxFiles > 0 {
		files += " of " + strconv.Itoa(v.MaxFiles)
	}
	row("used", "%s, %s", bytes, files)
	if v.MaxSessions > 0 {
		row("sessions", "%d at once", v.MaxSessions)
	}
	if v.RateDown > 0 || v.RateUp > 0 {
		row("rate", "%s down, %s up", rate(v.RateDown), rate(v.RateUp))
	}
	for _, n := range v.Networks {
		row("network", "%s", n)
	}
	if len(v.Protocols) > 0 {
		row("protocols", "%s", strings.Join(v.Protocols, ", "))
	}
	if v.Partials != "" {
		row("partials", "%s", v.Partials)
	}
	if v.Uploads != "" {
		row("uploads", "%s", v.Uploads)
	}
	if v.Charset != "" {
		row("charset", "%s", v.Charset)
	}
	if v.Transcript {
		row("transcript", "on")
	}
}

func userRecount() *cobra.Command {
	var w where
	cmd := &cobra.Command{
		Use:   "recount NAME",
		Short: "count the files of an account again, for its quota",
		Long: `Ask the server to count the files of an account again: within 10 s when it runs,
else at its next start. That is needed only when something else than the server has
changed them.`,
		Example: "  dray user recount anna",
		Args:    oneName,
		RunE: func(cmd *cobra.Command, args []string) error {
			err := w.one(cmd.Context(), args[0], func(db *accountsql.DB, _ *config.Config, a account.Account) error {
				return db.WantRecount(cmd.Context(), a.Name)
			})
			if err == nil {
				fmt.Fprintf(cmd.OutOrStdout(), "account %s is counted again within 10 s, or when the server starts; dray user show has the result\n", args[0])
			}
			return err
		},
	}
	return w.command(cmd)
}
