package cli

import (
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"text/template"
	"unicode"

	"github.com/spf13/cobra"

	"dray/account"
	"dray/account/accountsql"
	"dray/certs"
	"dray/config"
	"dray/screen"
	"dray/serve"
)

// serviceUser is whom a server of the whole machine runs as.
const serviceUser = "dray"

//go:embed dray.service
var unitText string

const unitFile = "/etc/systemd/system/dray.service"

func initCommand() *cobra.Command {
	var file, state, homes, public, name string
	var noService bool
	p := secrets{usual: "--generate"}
	cmd := &cobra.Command{
		Use:   "init",
		Short: "write a configuration and the first account",
		Long: `Write a commented configuration for this machine, and the first account with
it, and show what clients and firewalls have to know. No file that is there
already is changed: init refuses a configuration that exists, and a directory
that has accounts already. The password is made and shown once, unless a flag
gives one.

As root it is for the whole machine: /etc/dray/dray.toml, /var/lib/dray, homes
below /srv/ftp, a user "dray" that the server runs as, and a unit for systemd.
Otherwise it is for you alone, on the ports 2121 and 2990 where 21 and 990 may
not be bound.`,
		Example: `  dray init
  dray init --user anna --public ftp.example.net --password-file password.txt
  dray init --config ./dray.toml --state ./state --homes ./homes`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("init takes no argument\n      dray init --help shows its flags")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			in := initial{cmd: cmd, root: os.Geteuid() == 0, name: name}
			if err := in.places(file, state, homes); err != nil {
				return err
			}
			return in.run(public, !noService, &p)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&name, "user", "", "`NAME` of the first account (default: yours, and for root ftpuser)")
	p.flags(f)
	f.StringVar(&public, "public", "", "`ADDRESS` or name that clients reach this host by, when it is behind NAT")
	f.StringVar(&file, "config", "", "`FILE` to write (default "+DefaultConfig+" for root, else ~/.config/dray/dray.toml)")
	f.StringVar(&state, "state", "", "`DIR` for accounts and certificate (default "+stateHint()+")")
	f.StringVar(&homes, "homes", "", "`DIR` that holds the homes of accounts (default /srv/ftp for root, else ~/ftp)")
	f.BoolVar(&noService, "no-service", false, "as root: no user and no unit for systemd")
	completeFlags(cmd)
	cmd.ValidArgsFunction = cobra.NoFileCompletions
	return cmd
}

// An initial is one run of init.
type initial struct {
	cmd                      *cobra.Command
	root                     bool
	file, state, homes, name string
	found                    bool // other commands find the file without being told
	uid, gid                 int  // of whom the server runs as; -1: of whoever runs this
}

// places decides where everything goes.
func (in *initial) places(file, state, homes string) (err error) {
	in.uid, in.gid = -1, -1
	in.file, in.state, in.homes = file, state, homes
	home, _ := os.UserHomeDir()
	if in.file == "" {
		if in.file, err = initConfig(); err != nil {
			return err
		}
	}
	if in.state == "" {
		in.state = config.StateDir()
	}
	if in.homes == "" {
		in.homes = "/srv/ftp"
		if !in.root {
			if home == "" {
				return usagef("no home directory is known; name the place of the accounts' homes with --homes")
			}
			in.homes = filepath.Join(home, "ftp")
		}
	}
	for _, dir := range []*string{&in.file, &in.state, &in.homes} {
		if *dir, err = filepath.Abs(*dir); err != nil {
			return err
		}
		if strings.ContainsFunc(*dir, unicode.IsControl) {
			return usagef("%q has control characters in it\n      name another place; dray init --help shows the flags", *dir)
		}
	}
	if usual, err := initConfig(); err == nil && in.file == usual && os.Getenv(configEnv) == "" {
		in.found = true
	}
	if in.name == "" {
		in.name = "ftpuser"
		if u, err := user.Current(); err == nil && !in.root {
			in.name = u.Username
		}
	}
	if why := account.CheckName(in.name); why != "" {
		return usagef("%q can't be the name of an account: %s", in.name, why)
	}
	if _, err := os.Stat(in.file); err == nil {
		return usagef("%s exists\n      dray config check %s looks at it; dray user add %s%s adds an account", in.file, shellWord(in.file), in.name, in.option())
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("can't look at %s: %w", in.file, err)
	}
	return nil
}

func (in *initial) run(public string, service bool, p *secrets) error {
	out := in.cmd.OutOrStdout()
	say := func(format string, args ...any) { fmt.Fprintf(out, format+"\n", args...) }
	c := config.Defaults()
	c.State, c.Public = in.state, public
	c.Accounts.Home = filepath.Join(in.homes, "{name}")
	var ports string
	c.Listeners, ports = listeners(bindable)
	read, problems := config.Parse(in.file, []byte(config.Commented(c)), nil)
	if wrong, _ := split(append(problems, read.Check(serve.Outside())...)); len(wrong) > 0 {
		return refuse("nothing was written", wrong)
	}
	w := where{config: in.file, database: c.Database(), creates: true} // whatever variables say of another one
	if _, err := os.Stat(c.Database()); err == nil {
		return usagef("%s has accounts already\n      name another directory with --state, or write the configuration alone: dray config example", in.state)
	}
	a := account.Account{Name: in.name, Rights: c.Accounts.Rights}
	home, _ := c.HomeOf(&a)
	c.File = in.file
	wrong := p.check()
	if why := homeFlaw(home, &c); why != "" {
		wrong = append(wrong, "--homes: "+why)
	}
	if len(wrong) > 0 {
		return refuseLines("nothing was written", wrong)
	}
	if !p.given() {
		p.generate = true
	}
	hash, made, err := p.read(in.cmd)
	if err != nil {
		return err
	}
	if in.root && service {
		if err := in.findUser(say); err != nil {
			return err
		}
		if in.uid > 0 {
			c.User = serviceUser
			note, err := inherit(in.state, in.uid, in.gid)
			if err != nil {
				return err
			}
			if note != "" {
				say("%s: %s", in.state, note)
			}
		}
	}
	if ports != "" {
		say("%s", ports)
	}
	text := config.Commented(c)
	for _, d := range []struct {
		dir  string
		mode os.FileMode
		own  bool
	}{{filepath.Dir(in.file), 0o755, false}, {in.state, 0o700, true}, {in.homes, 0o755, true}} {
		if err := in.mkdir(d.dir, d.mode, d.own); err != nil {
			return err
		}
	}
	if err := writeNew(in.file, []byte(text), 0o644); err != nil {
		return err
	}
	say("%s: written; every setting is in it, with a comment", in.file)
	if c.User != "" {
		if err := in.unit(say); err != nil {
			return err
		}
	}
	a.Hash = hash
	at, err := makeHome(home, nil, &c, &w)
	if err != nil {
		return err
	}
	// From here on as the user that the server runs as.
	card, err := in.card(c)
	if err != nil {
		return err
	}
	err = w.use(in.cmd.Context(), func(db *accountsql.DB, _ *config.Config) error { return putNew(in.cmd.Context(), db, a, at) })
	if err != nil {
		return err
	}
	say("%s: the home of the first account, %q", home, in.name)
	if at.note != "" {
		say("%s", at.note)
	}
	say("")
	password := account.Secret{}
	from := "as you gave it"
	switch {
	case made != "":
		password, from = account.NewSecret(made), ""
	case p.no:
		from = fmt.Sprintf("none, and nobody can log in yet: dray user passwd %s%s, or dray user set %s%s --certificate FILE",
			in.name, in.option(), in.name, in.option())
	}
	card.User = in.name
	printCard(out, card, password, from)
	say("next:")
	if c.User != "" && in.uid > 0 {
		say("  systemctl daemon-reload && systemctl enable --now dray")
		say("  or, by hand: dray serve --config %s", shellWord(in.file))
	} else {
		say("  dray serve --config %s", shellWord(in.file))
	}
	say("  dray user add NAME%s", in.option())
	return nil
}

// option is what other commands need to find the configuration.
func (in *initial) option() string {
	if in.found {
		return ""
	}
	return " --config " + shellWord(in.file)
}

// shellWord is s as a shell has to get it.
func shellWord(s string) string {
	special := func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+:@,", r))
	}
	if s != "" && !strings.ContainsFunc(s, special) {
		return s
	}
	if screen.Line(s) != s { // nothing that steers a terminal; bash and zsh read this
		return "$'" + strings.ReplaceAll(strings.Trim(strconv.QuoteToASCII(s), `"`), "'", `\'`) + "'"
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// findUser finds the user that the server will run as, and makes it where there
// is none.
func (in *initial) findUser(say func(string, ...any)) error {
	u, err := user.Lookup(serviceUser)
	if err != nil {
		args := []string{"--system", "--user-group", "--home-dir", in.state, "--no-create-home", "--shell", "/usr/sbin/nologin", serviceUser}
		if out, uerr := exec.Command("useradd", args...).CombinedOutput(); uerr != nil {
			return fmt.Errorf("the user %q that the server is to run as can't be made: %w %s\n      make it (useradd %s), or leave it away with --no-service",
				serviceUser, uerr, strings.TrimSpace(string(out)), strings.Join(args, " "))
		}
		if u, err = user.Lookup(serviceUser); err != nil {
			return err
		}
		say("user %s: made, without a login; the server runs as it", serviceUser)
	}
	if in.uid, err = strconv.Atoi(u.Uid); err == nil {
		in.gid, err = strconv.Atoi(u.Gid)
	}
	return err
}

// inherit gives a state directory of root's to the user that the server will run
// as, where it is empty or has no more than the certificate that "dray serve DIR"
// leaves there: that user could not open it. note tells what was done or is to do.
func inherit(state string, uid, gid int) (note string, err error) {
	dir, err := os.OpenRoot(state)
	if err != nil {
		return "", nil // missing, and made later; what else is wrong with it mkdir says
	}
	defer dir.Close()
	fi, err := dir.Stat(".")
	if err != nil {
		return "", err
	}
	if owner, _, ok := ownersOf(fi); !ok || owner != 0 {
		return "", nil
	}
	names, err := fs.ReadDir(dir.FS(), ".")
	if err != nil {
		return "", err
	}
	alone := fi.Mode()&0o022 == 0 // nobody else can have put anything there
	for _, f := range names {
		if f.Name() != certs.SelfSignedFile && f.Name() != certs.PublicFile || !f.Type().IsRegular() {
			alone = false
		}
	}
	if !alone {
		return fmt.Sprintf("belongs to root, and holds more than a certificate: the server can use it after chown -R %d:%d %s", uid, gid, shellWord(state)), nil
	}
	for _, f := range names {
		if err := dir.Lchown(f.Name(), uid, gid); err != nil {
			return "", fmt.Errorf("%s can't be given to the server: %w", state, err)
		}
	}
	if err := dir.Lchown(".", uid, gid); err != nil {
		return "", fmt.Errorf("%s can't be given to the server: %w", state, err)
	}
	return "was root's, and belongs to the user of the server now, with the certificate in it", nil
}

// listeners are nil, for the standard ports, where bind can have both; else each
// has the standard port or the high one, and said tells why.
func listeners(bind func(port int) error) (ls []config.Listener, said string) {
	var text, notes []string
	for _, protocol := range []string{"ftp", "ftps", "sftp"} {
		ports := config.Ports(protocol)
		port, err := 0, error(nil)
		for i, p := range ports {
			if port, err = int(p), bind(int(p)); err == nil {
				break
			}
			if i+1 < len(ports) {
				notes = append(notes, fmt.Sprintf("%v: %d is configured", noPort(err, port), ports[i+1]))
			}
		}
		if err != nil {
			notes = append(notes, fmt.Sprintf("%v: write a free port under [[listener]] before the server starts", noPort(err, port)))
		}
		text = append(text, fmt.Sprintf("[[listener]]\nprotocol = %q\nlisten = [\":%d\"]\n", protocol, port))
	}
	if len(notes) == 0 {
		return nil, ""
	}
	// Parsed, because then all that is not said here has its default.
	c, _ := config.Parse("", []byte(strings.Join(text, "")), nil)
	return c.Listeners, strings.Join(notes, "\n")
}

// bindable tries a port on all addresses.
func bindable(port int) error {
	l, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
	if err == nil {
		_ = l.Close()
	}
	return err
}

// noPort says why a port can't be bound, as the server does.
func noPort(err error, port int) error {
	switch {
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("port %d needs the capability CAP_NET_BIND_SERVICE or root", port)
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("port %d is in use by another program (ss -ltnp names it)", port)
	}
	return fmt.Errorf("port %d can't be had (%w)", port, err)
}

// mkdir makes a directory that is missing, with those above it.
func (in *initial) mkdir(dir string, mode os.FileMode, own bool) error {
	if fi, err := os.Stat(dir); err == nil {
		if !fi.IsDir() {
			return usagef("%s is a file\n      name another place; dray init --help shows the flags", dir)
		}
		return nil
	}
	uid, gid := -1, -1
	if own && in.uid > 0 {
		uid, gid = in.uid, in.gid
	}
	return newDir(dir, mode, uid, gid)
}

// writeNew writes a file that must not exist.
func writeNew(name string, text []byte, mode os.FileMode) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", name, err), os.Remove(name))
	}
	return nil
}

// unit writes the unit for systemd, where that runs this machine.
func (in *initial) unit(say func(string, ...any)) error {
	if runtime.GOOS != "linux" {
		return nil
	}
	if fi, err := os.Stat(filepath.Dir(unitFile)); err != nil || !fi.IsDir() {
		return nil
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	text, err := unit(program, in.file, serviceUser, in.state, in.homes)
	if err != nil {
		return err
	}
	err = writeNew(unitFile, text, 0o644)
	if errors.Is(err, fs.ErrExist) {
		say("%s: exists, and was left alone", unitFile)
		return nil
	}
	if err == nil {
		say("%s: written", unitFile)
		if dir := closedAbove(program, in.uid, in.gid); dir != "" {
			say("%s: the user %s may not enter %s: install the program in /usr/local/bin, and write that into the unit", program, serviceUser, dir)
		}
	}
	return err
}

// closedAbove is a directory above name that keeps a user out, by its mode; "" when
// there is none.
func closedAbove(name string, uid, gid int) string {
	for dir := filepath.Dir(name); ; dir = filepath.Dir(dir) {
		if fi, err := os.Stat(dir); err == nil && !mayEnter(fi, uid, gid, nil) {
			return dir
		}
		if dir == filepath.Dir(dir) {
			return ""
		}
	}
}

// unit is the text of the unit. The server writes in dirs, which are there.
func unit(program, file, user string, dirs ...string) ([]byte, error) {
	t, err := template.New("unit").Parse(unitText)
	if err != nil {
		return nil, err
	}
	var writes []string
	private := "yes"
	for _, dir := range dirs {
		if lies(dir, "/usr", "/etc", "/boot", "/efi") { // what ProtectSystem=full closes
			writes = append(writes, unitWord(dir))
		}
	}
	for _, name := range append([]string{program, file}, dirs...) {
		if lies(name, "/tmp", "/var/tmp") {
			private = "no" // else the server has others of these names
		}
	}
	var b strings.Builder
	err = t.Execute(&b, map[string]any{
		"Program": unitWord(program), "Config": strings.ReplaceAll(unitWord(file), "$", "$$"), "User": user, "Writes": writes, "PrivateTmp": private,
	})
	return []byte(b.String()), err
}

// lies tells whether name is in one of some directories, links followed.
func lies(name string, dirs ...string) bool {
	if real, err := filepath.EvalSymlinks(name); err == nil {
		name = real
	}
	return slices.ContainsFunc(dirs, func(dir string) bool { return strings.HasPrefix(name, dir+"/") })
}

// unitWord is s as one word of a unit (systemd.syntax(7), systemd.unit(5)).
func unitWord(s string) string {
	s = strings.ReplaceAll(s, "%", "%%")
	if !strings.ContainsAny(s, ` "'\;`) {
		return s
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// card is what clients have to know of a server that does not run yet. It makes
// the certificate.
func (in *initial) card(c config.Config) (serve.Card, error) {
	if in.root && in.uid > 0 { // its files have to be the server's
		if err := becomeOwner(in.state); err != nil {
			return serve.Card{}, err
		}
	}
	return serve.Preview(c, slog.New(slog.DiscardHandler))
}
