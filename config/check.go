package config

import (
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"dray/account"
	"dray/spelling"
)

// switches are the words of commands.allow.
var switches = []string{"CCC", "COPY", "FXP", "PRET", "RMDA"}

// Outside is what Check needs of others.
type Outside struct {
	// Now is the time; the zero value: the real one.
	Now time.Time
	// Certificate loads a pair of files, key "" when both are in one. It
	// returns whether the certificate covers a host name, and what is wrong:
	// only What, Do and Warning of a Problem, and Field "key" where that is
	// about the key. nil: only the files are looked for.
	Certificate func(file, key string) (covers func(host string) bool, wrong []Problem)
	// HostKey tells what is wrong with the file of an SSH host key. nil: only the file
	// is looked for.
	HostKey func(file string) error
	// Commands are the names that commands.deny may have, as "STOR", "SITE
	// CHMOD" or "MODE Z". nil: any.
	Commands []string
	// User tells what is wrong with a user that the server is to become: only What,
	// Do and Warning of a Problem. nil: it is not looked for.
	User func(name string) *Problem
	// Writable tells whether whoever runs this may make files in a directory. nil:
	// it is not looked for.
	Writable func(dir string) bool
	// Ephemeral are the ports that outgoing connections take. nil: those of a Linux
	// that nobody has told others; 0, 0: none are looked at.
	Ephemeral func() (first, last uint16)
}

// Check lists what is wrong with c as a whole, and on this disk, as far as it can
// be known before anything is started. It follows Parse: keys that Parse has
// reported are taken as right. Where a syntax error hides a part of the file, it
// has nothing to say. The list is sorted by line.
func (c Config) Check(o Outside) []Problem {
	if c.cut {
		return nil
	}
	if o.Now.IsZero() {
		o.Now = time.Now()
	}
	ch := &checker{Config: c, o: o}
	ch.user()
	ch.addresses()
	ch.passive()
	ch.public()
	ch.certificates()
	ch.ssh()
	ch.files()
	ch.anonymous()
	ch.limits()
	ch.messages()
	ch.commands()
	ch.exceptions()
	Sort(ch.problems)
	return ch.problems
}

type checker struct {
	Config
	o        Outside
	problems []Problem
}

// place is where the key at path was set, else where its table begins.
func (c *Config) place(path string) place {
	for {
		if at, ok := c.at[path]; ok {
			return at
		}
		i := strings.LastIndexByte(path, '.')
		if i < 0 {
			return place{}
		}
		path = path[:i]
	}
}

func (ch *checker) add(path, what, do string) {
	if !ch.bad[path] { // else reported, and not what the file says
		ch.report(path, what, do)
	}
}

// report is add for what is as the file says, also beside other mistakes.
func (ch *checker) report(path, what, do string) {
	at := ch.place(path)
	if at.env != "" && ch.at[path].env == "" { // the variable that made the table
		at.env = envName(path)
	}
	ch.problems = append(ch.problems, problemAt(ch.File, at, path, what, do))
}

func (ch *checker) warn(path, what, do string) {
	n := len(ch.problems)
	ch.add(path, what, do)
	if len(ch.problems) > n {
		ch.problems[n].Warning = true
	}
}

func (ch *checker) user() {
	if ch.User == "" || ch.o.User == nil {
		return
	}
	switch p := ch.o.User(ch.User); {
	case p == nil:
	case p.Warning:
		ch.warn("user", p.What, p.Do)
	default:
		ch.add("user", p.What, p.Do)
	}
}

func listenerPath(i int, key string) string { return join(element("listener", i), key) }

// addresses finds listeners that can't both have their address.
func (ch *checker) addresses() {
	type taken struct{ host, by string }
	byPort := map[uint16][]taken{}
	names := map[string]int{}
	for i, l := range ch.Listeners {
		if first, ok := names[l.Name]; ok {
			ch.add(listenerPath(i, "name"), fmt.Sprintf("%q is the name of listener[%d] too", l.Name, first), "give each its own name")
		} else {
			names[l.Name] = i
		}
		if _, set := ch.at[listenerPath(i, "client-certificates")]; set && l.ClientCertificates == "off" && l.ClientCA != "" {
			ch.warn(listenerPath(i, "client-certificates"), "has no effect: for client-ca clients are asked for a certificate", `remove it, or client-ca`)
		}
		if l.Plain && l.Protocol == "ftps" {
			ch.warn(listenerPath(i, "plain"), "has no effect: implicit TLS begins before any command", `remove it, or write protocol = "ftp"`)
		}
		if l.Protocol == "sftp" {
			for _, key := range []string{
				"plain", "clear-data", "data-session", "tls-end", "certificate", "client-certificates", "client-ca", "active", "active-port", "passive",
			} {
				if _, set := ch.at[listenerPath(i, key)]; set {
					ch.warn(listenerPath(i, key), "has no effect: SFTP has one connection, and SSH under it", "remove it")
				}
			}
		}
	address:
		for _, addr := range l.Listen {
			host, port, err := SplitAddr(addr)
			if err != nil || port == 0 { // 0: another one each time
				continue
			}
			host = plainHost(host)
			for _, other := range byPort[port] {
				if host == other.host || host == "" || other.host == "" {
					ch.report(listenerPath(i, "listen"), fmt.Sprintf("%q is taken by %s", addr, other.by),
						"give each listener an address or a port of its own")
					continue address
				}
			}
			byPort[port] = append(byPort[port], taken{host, fmt.Sprintf("listener[%d] (%s), which listens on %q", i, l.Name, addr)})
		}
	}
}

// plainHost is host in one form; "" for all addresses, of which one kind takes
// the other too. To listen on a name is to listen on its IPv4 address, and that of
// localhost is known.
func plainHost(host string) string {
	a, err := netip.ParseAddr(host)
	switch {
	case err != nil:
		host = strings.ToLower(strings.TrimSuffix(host, "."))
		if host == "localhost" {
			return "127.0.0.1"
		}
		return host
	case a.Unmap().IsUnspecified():
		return ""
	}
	return a.Unmap().String()
}

// listenHost tells whether host can stand in an address to listen on.
func listenHost(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return strings.Trim(host, "0123456789.") != "" && hostName(host)
}

// The ephemeral ports of Linux, which outgoing connections take.
func ephemeral() (first, last uint16) { return 32768, 60999 }

const fewPorts = 10

func (ch *checker) passive() {
	ranges := []struct{ path, text string }{{"passive", ch.Passive}}
	for i, l := range ch.Listeners {
		if l.Passive != "" {
			ranges = append(ranges, struct{ path, text string }{listenerPath(i, "passive"), l.Passive})
		}
	}
	theirs := ch.o.Ephemeral
	if theirs == nil {
		theirs = ephemeral
	}
	low, high := theirs()
	for _, r := range ranges {
		first, last, err := PassiveRange(r.text)
		if err != nil {
			continue
		}
		if n := int(last) - int(first) + 1; n < fewPorts {
			ch.warn(r.path, fmt.Sprintf("%q has %d ports, and each transfer takes one", r.text, n), "write a range of 100 or more, such as \""+DefaultPassive+`"`)
		}
		if first <= high && last >= low {
			ch.warn(r.path, fmt.Sprintf("%q overlaps %d-%d, which outgoing connections of Linux take ports of", r.text, low, high),
				"write a range outside, such as \""+DefaultPassive+`"`)
		}
	listeners:
		for i, l := range ch.Listeners {
			for _, addr := range l.Listen {
				if _, port, err := SplitAddr(addr); err == nil && first <= port && port <= last {
					ch.add(r.path, fmt.Sprintf("%q has port %d, where listener[%d] (%s) listens", r.text, port, i, l.Name),
						"write a range without it")
					break listeners
				}
			}
		}
	}
}

// publicFlaw says what is wrong with the address or name that clients dial.
func publicFlaw(s string) *flaw {
	a, err := netip.ParseAddr(s)
	switch {
	case err == nil && (a.IsUnspecified() || a.Zone() != ""):
		return &flaw{"is no address that a client could reach", "write the address that clients dial"}
	case err != nil && (!hostName(s) || strings.Trim(s, "0123456789.") == ""):
		return &flaw{"is neither an address nor a host name", "write the address that clients dial, without a port"}
	}
	return nil
}

func (ch *checker) public() {
	first := map[netip.Prefix]int{}
	for i, p := range ch.PublicFor {
		path := join(element("public-for", i), "network")
		if was, ok := first[p.Network]; ok && p.Network.IsValid() {
			ch.add(path, fmt.Sprintf("%v has an address already, of public-for[%d]", p.Network, was), "keep one of them")
			continue
		}
		first[p.Network] = i
	}
}

// ssh looks at host keys and CAs. The elements of a list have no paths of their own.
func (ch *checker) ssh() {
	for _, key := range ch.SSH.HostKeys {
		if ch.o.HostKey == nil {
			ch.file("ssh.host-keys", key)
		} else if err := ch.o.HostKey(key); err != nil {
			ch.add("ssh.host-keys", err.Error(), "name a private key that the server alone may read, without a passphrase")
		}
	}
	if ca := ch.SSH.UserCA; ca != "" {
		switch keys, err := account.ReadKeys(ca); {
		case err != nil:
			ch.add("ssh.user-ca", err.Error(), "name a file with the public keys of CAs, one a line")
		case len(keys) == 0:
			ch.add("ssh.user-ca", fmt.Sprintf("%q holds no key", ca), "write the public key of the CA into it")
		}
	}
}

func (ch *checker) certificates() {
	var covers []func(string) bool
	sure := len(ch.TLS.Certificates) > 0 // that a name which is not covered is unknown
	for i, cert := range ch.TLS.Certificates {
		path := element("tls.certificate", i)
		if ch.bad[join(path, "file")] || ch.bad[join(path, "key")] {
			sure = false
			continue
		}
		if ch.o.Certificate == nil {
			sure = false
			ch.file(join(path, "file"), cert.File)
			ch.file(join(path, "key"), cert.Key)
			continue
		}
		has, wrong := ch.o.Certificate(cert.File, cert.Key)
		for _, w := range wrong {
			key := "file"
			if w.Field == "key" && cert.Key != "" {
				key = "key"
			}
			if w.Warning {
				ch.warn(join(path, key), w.What, w.Do)
			} else {
				ch.add(join(path, key), w.What, w.Do)
			}
		}
		if has == nil {
			sure = false
			continue
		}
		covers = append(covers, has)
	}
	if sure {
		ch.publicCovered(covers)
	}
	for i, l := range ch.Listeners {
		if l.Certificate == "" {
			continue
		}
		path := listenerPath(i, "certificate")
		switch known := slices.ContainsFunc(covers, func(has func(string) bool) bool { return has(l.Certificate) }); {
		case len(ch.TLS.Certificates) == 0:
			ch.add(path, fmt.Sprintf("there is no certificate for %q", l.Certificate), "add one under [[tls.certificate]], or remove the key")
		case sure && !known:
			ch.add(path, fmt.Sprintf("no certificate covers %q", l.Certificate), "write a name that one under [[tls.certificate]] has, or add one")
		}
	}
}

// publicCovered warns where clients that dial the public name get a certificate for
// another one. covers are those of all certificates.
func (ch *checker) publicCovered(covers []func(string) bool) {
	name := ch.Public
	if _, err := netip.ParseAddr(name); err == nil || name == "" || ch.bad["public"] {
		return
	}
	covered := func(has func(string) bool) bool { return has(name) }
	first := len(ch.Listeners) == 0 || slices.ContainsFunc(ch.Listeners, func(l Listener) bool { return l.Certificate == "" })
	switch {
	case !slices.ContainsFunc(covers, covered):
		ch.warn("public", fmt.Sprintf("no certificate covers %q, and clients that check it refuse the connection", name),
			"add one with that name under [[tls.certificate]], or write the name that one has")
	case first && !covers[0](name):
		ch.warn("public", fmt.Sprintf("the first certificate does not cover %q, and clients that name no host get that one", name),
			"put the one that does first")
	}
}

// file reports a file that is not there to be read; "" is none.
func (ch *checker) file(path, name string) {
	if name == "" {
		return
	}
	fi, err := os.Stat(name)
	switch {
	case err != nil:
		ch.add(path, fmt.Sprintf("%q can't be read: %v", name, cause(err)), "name a file that exists and that the server may read")
	case fi.IsDir():
		ch.add(path, fmt.Sprintf("%q is a directory", name), "name the file in it")
	}
}

// parent reports a file that can't be made, because its directory is not there.
func (ch *checker) parent(path, name string) {
	if name == "" {
		return
	}
	if fi, err := os.Stat(name); err == nil && fi.IsDir() {
		ch.add(path, fmt.Sprintf("%q is a directory", name), "name a file in it")
		return
	}
	dir := filepath.Dir(name)
	switch fi, err := os.Stat(dir); {
	case err != nil:
		ch.add(path, fmt.Sprintf("its directory %q can't be used: %v", dir, cause(err)), "make the directory, or name another one")
	case !fi.IsDir():
		ch.add(path, fmt.Sprintf("%q is not a directory", dir), "name a file in a directory")
	}
}

// files looks for what the other keys name.
func (ch *checker) files() {
	switch fi, err := os.Stat(ch.State); {
	case ch.State == "":
		ch.add("state", "no directory is named", `write state = "/var/lib/dray"`)
	case err == nil && !fi.IsDir():
		ch.add("state", fmt.Sprintf("%q is not a directory", ch.State), "name a directory; it is made when it is not there")
	}
	for i, l := range ch.Listeners {
		ch.file(listenerPath(i, "client-ca"), l.ClientCA)
	}
	if filepath.Dir(ch.Accounts.Database) != filepath.Clean(ch.State) { // which is made
		ch.parent("accounts.database", ch.Accounts.Database)
	}
	ch.parent("admin", ch.Admin)
	ch.parent("log.file", ch.Log.File)
	ch.parent("log.xferlog", ch.Log.Xferlog)
	ch.parent("log.auth", ch.Log.Auth)
	if home := ch.Accounts.Home; home != "" {
		if !strings.Contains(home, "{name}") {
			ch.add("accounts.home", fmt.Sprintf("%q would be the home of all accounts", home), "put {name} in it: "+strconv.Quote(filepath.Join(home, "{name}")))
		} else {
			ch.outside(func(name string) bool { return inHome(name, home) }, fmt.Sprintf("the home %q of an account could have it", home))
		}
	}
}

// inHome tells whether the home of some account, which has {name} in it, would
// have the file.
func inHome(name, home string) bool {
	parts := func(s string) []string {
		if abs, err := filepath.Abs(s); err == nil {
			s = abs
		}
		return strings.Split(s, string(filepath.Separator))
	}
	have, want := parts(name), parts(home)
	if name == "" || len(have) < len(want) {
		return false
	}
	for i, part := range want {
		before, after, open := strings.Cut(part, "{name}")
		if !open && have[i] != part {
			return false
		}
		if open && (len(have[i]) <= len(before)+len(after) || !strings.HasPrefix(have[i], before) || !strings.HasSuffix(have[i], after)) {
			return false
		}
	}
	return true
}

// outside reports what clients must not fetch and could.
func (ch *checker) outside(reached func(name string) bool, why string) {
	files := []struct{ path, name string }{
		{"state", ch.State}, {"admin", ch.Admin}, {"accounts.database", ch.Accounts.Database},
		{"log.file", ch.Log.File}, {"log.xferlog", ch.Log.Xferlog}, {"log.auth", ch.Log.Auth},
	}
	for i, cert := range ch.TLS.Certificates {
		if path := element("tls.certificate", i); cert.Key != "" {
			files = append(files, struct{ path, name string }{join(path, "key"), cert.Key})
		} else {
			files = append(files, struct{ path, name string }{join(path, "file"), cert.File})
		}
	}
	for _, key := range ch.SSH.HostKeys {
		files = append(files, struct{ path, name string }{"ssh.host-keys", key})
	}
	for _, f := range files {
		if reached(f.name) {
			ch.add(f.path, fmt.Sprintf("%q is where clients could fetch it: %s", f.name, why), "keep it elsewhere")
		}
	}
}

func (ch *checker) anonymous() {
	a := ch.Anonymous
	if a.Directory == "" {
		if a.Incoming != "" && !ch.bad["anonymous.directory"] {
			ch.add("anonymous.incoming", "there is no anonymous login without a directory", "write directory as well, or remove incoming")
		}
		return
	}
	switch fi, err := os.Stat(a.Directory); {
	case err != nil:
		ch.add("anonymous.directory", fmt.Sprintf("%q can't be served: %v", a.Directory, cause(err)), "name a directory that exists")
		return
	case !fi.IsDir():
		ch.add("anonymous.directory", fmt.Sprintf("%q is not a directory", a.Directory), "name the directory that holds it")
		return
	}
	ch.outside(func(name string) bool { return within(name, a.Directory) }, fmt.Sprintf("it lies in the directory %q of anonymous", a.Directory))
	if a.Incoming == "" {
		return
	}
	const path = "anonymous.incoming"
	name := filepath.Join(a.Directory, a.Incoming)
	switch fi, err := os.Stat(name); {
	case !fs.ValidPath(a.Incoming) || a.Incoming == ".":
		ch.add(path, fmt.Sprintf("%q is no plain path in the directory", a.Incoming), `write it without a slash in front and without "..", as "incoming"`)
	case err != nil:
		ch.add(path, fmt.Sprintf("%q can't be used: %v", name, cause(err)), "make the directory; the server must be able to write in it")
	case !fi.IsDir():
		ch.add(path, fmt.Sprintf("%q is not a directory", name), "name a directory")
	case !within(name, a.Directory):
		ch.add(path, fmt.Sprintf("%q is a link that leads out of %q", name, a.Directory), "name a directory in it")
	case ch.o.Writable != nil && !ch.o.Writable(name):
		ch.warn(path, fmt.Sprintf("%q can't be written to, so strangers can upload nothing", name), "give it to the user that the server runs as")
	}
}

func (ch *checker) limits() {
	l := ch.Limits
	known := func(keys ...string) bool {
		return !slices.ContainsFunc(keys, func(key string) bool { return ch.bad["limits."+key] })
	}
	if l.Sessions > 0 && l.SessionsPerAddress > l.Sessions {
		ch.warn("limits.sessions-per-address", fmt.Sprintf("%d are more than sessions, %d", l.SessionsPerAddress, l.Sessions),
			"write less: one address could take all of them")
	}
	if l.Sessions > 0 && l.SessionsPerAccount > l.Sessions {
		ch.warn("limits.sessions-per-account", fmt.Sprintf("%d are more than sessions, %d", l.SessionsPerAccount, l.Sessions), "write less, or remove it")
	}
	if l.BanAfter > 0 && l.BanAfter <= l.Tries && known("ban-after", "tries") {
		ch.warn("limits.ban-after", fmt.Sprintf("one connection with %d wrong passwords bans an address", l.BanAfter),
			"write several times the value of tries, "+strconv.Itoa(l.Tries))
	}
	if l.Idle > l.IdleMax && known("idle", "idle-max") {
		ch.warn("limits.idle", fmt.Sprintf("%s is longer than idle-max, %s", formatDuration(l.Idle), formatDuration(l.IdleMax)),
			"raise idle-max, so that SITE IDLE may ask for what is there anyway")
	}
}

// placeholder is a word that looks as if something else were to stand there.
var placeholder = regexp.MustCompile(`\{[A-Za-z][A-Za-z0-9_-]*\}`)

// messages finds placeholders that clients would see as they are written.
func (ch *checker) messages() {
	look := func(path, text, do string) {
		for _, word := range placeholder.FindAllString(text, -1) {
			ch.warn(path, strconv.Quote(short(word))+" stands for nothing here, and clients see it as it is", do)
		}
	}
	const nameless = "remove it; only welcome has a placeholder, {user}"
	look("messages.banner", ch.Messages.Banner, nameless)
	look("messages.welcome", strings.ReplaceAll(ch.Messages.Welcome, "{user}", ""), "write {user} for the name of the account, or remove it")
	look("messages.goodbye", ch.Messages.Goodbye, nameless)
	for i, l := range ch.Listeners {
		look(listenerPath(i, "banner"), l.Banner, nameless)
	}
}

func (ch *checker) commands() {
	for _, word := range ch.Commands.Deny {
		switch {
		case word == "USER", word == "PASS" && !slices.ContainsFunc(ch.Listeners, Listener.AsksCertificate):
			ch.add("commands.deny", fmt.Sprintf("nobody can log in without %s", word), "remove it; dray user set NAME --disable locks one account")
		case ch.o.Commands != nil && !slices.Contains(ch.o.Commands, word):
			do := "remove it; HELP lists all commands"
			if near := spelling.Nearest(word, ch.o.Commands); near != "" {
				do = fmt.Sprintf("write %q", near)
			}
			ch.add("commands.deny", strconv.Quote(short(word))+" is no command that the server has", do)
		}
	}
}

func (ch *checker) exceptions() {
	var names []string
	for _, l := range ch.Listeners {
		names = append(names, l.Name)
	}
	if names == nil {
		names = []string{"ftp", "ftps", "sftp"} // those of a file without any
	}
	for i, e := range ch.Exceptions {
		at := element("exception", i)
		path := func(key string) string { return join(at, key) }
		known := e.Allow != "" && !ch.bad[path("allow")]
		if known && e.Allow == "plain" && !e.Network.IsValid() {
			ch.add(path("network"), "is missing: clear text is let in from a network only",
				`add network = "192.0.2.0/24" with the network of the devices`)
		}
		if known && e.Allow == "plain" && e.Network.IsValid() && e.Network.Bits() == 0 {
			ch.warn(path("network"), fmt.Sprintf("%v is everybody: passwords from anywhere may cross in clear text", e.Network), "write the network of the devices")
		}
		if known && e.Allow != "plain" && e.Account != "" {
			ch.add(path("account"), fmt.Sprintf("an account has no part in %q, which is decided before the login", e.Allow),
				"remove it; listener and network say for whom it is")
		}
		if e.Listener != "" && !slices.Contains(names, e.Listener) {
			do := "write " + alternatives(names)
			if near := spelling.Nearest(e.Listener, names); near != "" {
				do = fmt.Sprintf("write %q", near)
			}
			ch.add(path("listener"), fmt.Sprintf("%q is no listener", short(e.Listener)), do)
		}
		if days := e.DaysLeft(ch.o.Now); !e.Until.IsZero() && days < 0 {
			ch.warn(path("until"), fmt.Sprintf("the exception is over since %v, so it lets nobody in", e.Until), "remove it, or write a later day")
		}
	}
}
