package sshclient

import (
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"dray/fault"
)

// Settings are what Options and ssh_config together say about one host.
type Settings struct {
	Host string // as it was typed
	Name string // where to connect to: HostName, else Host
	Port int
	User string
	// UserNamed tells that Options or ssh_config name User, and that it is not only who
	// runs this.
	UserNamed bool

	Identities      []string // files of keys, the first to be offered first
	Named           bool     // Identities were named, and are not those that OpenSSH tries by itself
	Certificates    []string // CertificateFile
	OnlyIdentities  bool     // IdentitiesOnly
	Agent           string   // path of the agent's socket, "" for none
	Hops            []Hop    // ProxyJump, in the order in which they are passed
	Command         string   // ProxyCommand, with its tokens filled in
	KnownHosts      []string // the first is appended to
	HashNames       bool     // HashKnownHosts
	KeyAlias        string   // HostKeyAlias
	Strict          Strict
	Connect         time.Duration // per address and step
	Alive           time.Duration // ServerAliveInterval
	AliveCount      int
	Family          string // "tcp", "tcp4" or "tcp6"
	Bind            string // BindAddress
	Methods         []string
	PasswordPrompts int
	algorithms      algorithms
}

// Strict is what to do with a host key that is not on file.
type Strict int

// StrictHostKeyChecking. None of them lets a changed key pass.
const (
	StrictAsk Strict = iota // ask; without somebody to ask, refuse
	StrictYes
	StrictNew // accept and remember a key of a host that has none on file
)

// A Hop is a jump host.
type Hop struct {
	User, Host string
	Port       int // 0: as ssh_config says
}

func (h Hop) String() string {
	s := h.Host
	if strings.Contains(s, ":") {
		s = "[" + s + "]"
	}
	if h.User != "" {
		s = h.User + "@" + s
	}
	if h.Port != 0 {
		s += ":" + strconv.Itoa(h.Port)
	}
	return s
}

// ParseJump reads what stands behind -J: hosts with commas between, each
// [user@]host[:port] or ssh://[user@]host[:port]; an IPv6 address with a port
// stands in brackets. "none" and "" are no hosts.
func ParseJump(s string) ([]Hop, error) {
	if s == "" || strings.EqualFold(s, "none") {
		return nil, nil
	}
	var hops []Hop
	for one := range strings.SplitSeq(s, ",") {
		h, err := parseHop(strings.TrimSpace(one))
		if err != nil {
			return nil, fmt.Errorf("jump host %q: %w", one, err)
		}
		if hops = append(hops, h); len(hops) > maxHops {
			return nil, fmt.Errorf("more than %d jump hosts", maxHops)
		}
	}
	return hops, nil
}

func parseHop(s string) (h Hop, err error) {
	if rest, ok := strings.CutPrefix(s, "ssh://"); ok {
		s = strings.TrimSuffix(rest, "/")
	}
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		if h.User, s = s[:i], s[i+1:]; h.User == "" {
			return h, fmt.Errorf("no user in front of @")
		}
	}
	port := ""
	switch {
	case strings.HasPrefix(s, "["):
		end := strings.IndexByte(s, ']')
		if end < 0 {
			return h, fmt.Errorf("[ without ]")
		}
		h.Host, s = s[1:end], s[end+1:]
		if s != "" && s[0] != ':' {
			return h, fmt.Errorf("what stands behind ] is no port")
		}
		port = strings.TrimPrefix(s, ":")
		if s == ":" {
			return h, fmt.Errorf("no port behind the colon")
		}
	case strings.Count(s, ":") == 1:
		h.Host, port, _ = strings.Cut(s, ":")
		if port == "" {
			return h, fmt.Errorf("no port behind the colon")
		}
	default:
		h.Host = s
	}
	if h.Host == "" || strings.HasPrefix(h.Host, "-") || strings.ContainsAny(h.Host, " \t\r\n\x00/@[]") || strings.ContainsAny(h.User, "\r\n\x00") {
		return h, fmt.Errorf("no name of a host")
	}
	if port != "" {
		if h.Port, err = parsePort(port); err != nil {
			return h, err
		}
	}
	return h, nil
}

func parsePort(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > 65535 {
		return 0, fmt.Errorf("%q is no port", s)
	}
	return n, nil
}

// Read looks up a host in ssh_config and fills in what is not set: nothing is
// connected to. What it does not understand or obey is told to o.Trace.
func Read(o Options) (*Settings, error) {
	if o.Host == "" {
		return nil, fault.New(fault.Syntax, fault.IDDNS, "")
	}
	r := &reader{
		host: o.Host, user: o.User, home: o.home(),
		got:  found{map[string][]string{}, map[string]string{}, map[string][]string{}},
		warn: func(text string) { o.trace("config", text) },
	}
	if r.user == "" {
		r.user = localUser()
	}
	preset := func(key string, values ...string) { r.got.first[key], r.got.where[key] = values, "command line" }
	if o.User != "" {
		preset("user", o.User)
	}
	if o.Port != 0 {
		preset("port", strconv.Itoa(o.Port))
	}
	if o.Jump != "" {
		preset("proxyjump", o.Jump)
	}
	r.got.gather["identityfile"] = slices.Clone(o.Identities)
	if err := r.read(o); err != nil {
		return nil, err
	}
	if r.again {
		r.final = true
		if err := r.read(o); err != nil {
			return nil, err
		}
	}
	return o.settle(r.got)
}

// read reads the files in their order.
func (r *reader) read(o Options) error {
	mine := filepath.Join(r.home, ".ssh")
	r.files = 0
	switch {
	case o.NoConfig || strings.EqualFold(o.Config, "none"):
		return nil
	case o.Config != "":
		r.dir, r.check = mine, false
		return r.file(o.Config, true)
	}
	r.dir, r.check = mine, true
	if err := r.file(filepath.Join(mine, "config"), false); err != nil {
		return err
	}
	r.dir, r.check = o.system(), false
	return r.file(filepath.Join(o.system(), "ssh_config"), false)
}

// defaultIdentities are the files that OpenSSH tries by itself, without those of
// kinds that package ssh has no private keys of.
var defaultIdentities = []string{"id_ed25519", "id_ecdsa", "id_rsa", "id_ed25519_sk", "id_ecdsa_sk"}

// settle turns words into values.
func (o Options) settle(got found) (*Settings, error) {
	var bad error
	fail := func(key, why string) {
		if bad == nil {
			where := got.where[key]
			bad = fault.Because(fmt.Errorf("%s: %s: %s", where, key, why), fault.Syntax, fault.IDLocal, where, key+": "+why)
		}
	}
	word := func(key string) string {
		if v := got.first[key]; v != nil {
			return v[0]
		}
		return ""
	}
	yes := func(key string, unset bool) bool {
		switch strings.ToLower(word(key)) {
		case "":
			return unset
		case "yes", "true":
			return true
		case "no", "false":
			return false
		}
		fail(key, fmt.Sprintf("%q is neither yes nor no", word(key)))
		return unset
	}
	s := &Settings{
		Host: o.Host, Name: o.Host, Port: 22, User: localUser(), Connect: o.Connect,
		Alive: 15 * time.Second, AliveCount: 3, Family: "tcp", KeyAlias: strings.ToLower(word("hostkeyalias")),
	}
	if v := word("hostname"); v != "" {
		name, err := expand(v, map[byte]string{'h': o.Host})
		if err != nil {
			fail("hostname", err.Error())
		}
		s.Name = name
	}
	s.Name = strings.ToLower(s.Name)
	if v := word("user"); v != "" {
		s.User, s.UserNamed = v, true
	}
	if v := word("port"); v != "" {
		p, err := parsePort(v)
		if err != nil {
			fail("port", err.Error())
		}
		s.Port = p
	}

	long, _ := os.Hostname()
	short, _, _ := strings.Cut(long, ".")
	alias := s.KeyAlias
	if alias == "" {
		alias = o.Host
	}
	tokens := map[byte]string{
		'd': o.home(), 'h': s.Name, 'i': strconv.Itoa(os.Getuid()), 'k': alias, 'L': short, 'l': long,
		'n': o.Host, 'p': strconv.Itoa(s.Port), 'r': s.User, 'u': localUser(),
	}
	path := func(v string) (string, error) {
		rest, atHome := strings.CutPrefix(v, "~/")
		v, err := expandEnv(rest, o.env)
		if err != nil {
			return "", err
		}
		if v, err = expand(v, tokens); atHome && err == nil {
			v = filepath.Join(o.home(), v)
		}
		return v, err
	}
	paths := func(key string, values []string) (list []string) {
		for _, v := range values {
			p, err := path(v)
			if err != nil {
				o.trace("config", key+": "+err.Error())
				continue
			}
			list = append(list, p)
		}
		return list
	}

	ids := got.gather["identityfile"]
	if s.Named = len(ids) > 0; s.Named {
		// -i names a file as it is; ssh_config has tokens.
		s.Identities = append(slices.Clone(o.Identities), paths("identityfile", ids[len(o.Identities):])...)
		s.Identities = slices.DeleteFunc(s.Identities, func(f string) bool { return strings.EqualFold(f, "none") })
	} else {
		for _, name := range defaultIdentities {
			s.Identities = append(s.Identities, filepath.Join(o.home(), ".ssh", name))
		}
	}
	s.Certificates = paths("certificatefile", got.gather["certificatefile"])
	s.OnlyIdentities = yes("identitiesonly", false)
	switch v := word("identityagent"); {
	case o.Agent != "":
		s.Agent = o.Agent
	case v == "" || v == "SSH_AUTH_SOCK":
		s.Agent = o.env("SSH_AUTH_SOCK")
	case strings.HasPrefix(v, "$") && !strings.HasPrefix(v, "${"):
		s.Agent = o.env(v[1:])
	default:
		if list := paths("identityagent", []string{v}); list != nil {
			s.Agent = list[0]
		}
	}
	if strings.EqualFold(s.Agent, "none") {
		s.Agent = ""
	}

	hops, err := ParseJump(word("proxyjump"))
	if err != nil {
		fail("proxyjump", err.Error())
	}
	s.Hops = hops
	if v := word("proxycommand"); v != "" && !none(v) {
		// The name goes to a shell, and may come from a link that somebody clicked.
		for token, w := range map[string]string{"%h": s.Name, "%k": alias, "%n": o.Host, "%r": s.User} {
			if strings.Contains(v, token) && !harmless(w) {
				fail("proxycommand", fmt.Sprintf("%q can't be handed to a command", w))
			}
		}
		c, err := expand(v, tokens)
		if err != nil {
			fail("proxycommand", err.Error())
		}
		s.Command = c
	}

	switch {
	case o.KnownHosts != nil:
		s.KnownHosts = slices.Clone(o.KnownHosts)
	default:
		users, all := got.first["userknownhostsfile"], got.first["globalknownhostsfile"]
		if users == nil {
			users = []string{"~/.ssh/known_hosts", "~/.ssh/known_hosts2"}
		}
		if all == nil {
			all = []string{filepath.Join(o.system(), "ssh_known_hosts"), filepath.Join(o.system(), "ssh_known_hosts2")}
		}
		// An empty name in the first place: there is nothing to append to.
		mine := paths("userknownhostsfile", slices.DeleteFunc(slices.Clone(users), none))
		if mine == nil {
			mine = []string{""}
		}
		s.KnownHosts = append(mine, paths("globalknownhostsfile", slices.DeleteFunc(slices.Clone(all), none))...)
	}
	s.HashNames = yes("hashknownhosts", false)
	switch v := strings.ToLower(word("stricthostkeychecking")); v {
	case "", "ask":
	case "yes", "true":
		s.Strict = StrictYes
	case "accept-new", "no", "off", "false":
		s.Strict = StrictNew // "no" is not obeyed for a key that changed
	default:
		fail("stricthostkeychecking", fmt.Sprintf("%q is no choice", v))
	}

	connect := defaultConnect
	if v := word("connecttimeout"); v != "" && !none(v) {
		d, err := parseTime(v)
		if err != nil {
			fail("connecttimeout", err.Error())
		}
		if d > 0 {
			connect = min(d, 10*time.Minute)
		}
	}
	if s.Connect <= 0 {
		s.Connect = connect
	}
	if v := word("serveraliveinterval"); v != "" && !none(v) {
		d, err := parseTime(v)
		if err != nil {
			fail("serveraliveinterval", err.Error())
		}
		if d > 0 { // 0 is the default of ssh, which then never notices; we do
			s.Alive = d
		}
	}
	if v := word("serveralivecountmax"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 0 {
			fail("serveralivecountmax", fmt.Sprintf("%q is no number", v))
		}
		s.AliveCount = max(n, 1)
	}
	switch v := strings.ToLower(word("addressfamily")); v {
	case "", "any":
	case "inet":
		s.Family = "tcp4"
	case "inet6":
		s.Family = "tcp6"
	default:
		fail("addressfamily", fmt.Sprintf("%q is no family", v))
	}
	if o.Family != "" {
		s.Family = o.Family
	}
	s.Bind = word("bindaddress")
	s.PasswordPrompts = 3
	if v := word("numberofpasswordprompts"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 0 {
			fail("numberofpasswordprompts", fmt.Sprintf("%q is no number", v))
		}
		s.PasswordPrompts = min(n, 10)
	}

	methods := []string{methodKey, methodAsk, methodPassword}
	if v := word("preferredauthentications"); v != "" {
		methods = slices.DeleteFunc(strings.Split(v, ","), func(m string) bool { return !slices.Contains(methods, m) })
	}
	for _, m := range methods {
		key := map[string]string{methodKey: "pubkeyauthentication", methodAsk: "kbdinteractiveauthentication", methodPassword: "passwordauthentication"}[m]
		on := true
		if m == methodKey && slices.Contains([]string{"unbound", "host-bound"}, strings.ToLower(word(key))) {
			on = true
		} else {
			on = yes(key, true)
		}
		if on && !slices.Contains(s.Methods, m) {
			s.Methods = append(s.Methods, m)
		}
	}
	if yes("batchmode", false) {
		s.Methods = slices.DeleteFunc(s.Methods, func(m string) bool { return m != methodKey })
	}
	s.algorithms = choose(word, func(text string) { o.trace("config", text) })
	return s, bad
}

func none(s string) bool { return strings.EqualFold(s, "none") }

// harmless says that a word means no more than itself to a shell.
func harmless(w string) bool {
	return !strings.HasPrefix(w, "-") && !strings.ContainsAny(w, "'`\"$\\;&<>|(){}\n\r\x00 \t*?~!#")
}

// parseTime reads a time of ssh_config: seconds, or numbers with s, m, h, d, w.
func parseTime(s string) (time.Duration, error) {
	units := map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour, 'w': 7 * 24 * time.Hour}
	var sum time.Duration
	digits := 0
	n := int64(0)
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= '0' && c <= '9' {
			if n = n*10 + int64(c-'0'); n > 1<<30 {
				return 0, fmt.Errorf("%q is too long a time", s)
			}
			digits++
			continue
		}
		unit, ok := units[c|0x20]
		if !ok || digits == 0 {
			return 0, fmt.Errorf("%q is no time", s)
		}
		if sum += min(time.Duration(n), 1<<20) * unit; sum > 1<<52 {
			return 0, fmt.Errorf("%q is too long a time", s)
		}
		n, digits = 0, 0
	}
	if s == "" {
		return 0, fmt.Errorf("no time")
	}
	return sum + time.Duration(n)*time.Second, nil
}

// home, system and env are where the user's and the system's files are.
func (o Options) home() string {
	if o.Home != "" {
		return o.Home
	}
	if runtime.GOOS != "windows" { // OpenSSH asks the system, not HOME
		if u, err := user.Current(); err == nil && u.HomeDir != "" {
			return u.HomeDir
		}
	}
	h, _ := os.UserHomeDir()
	return h
}

func (o Options) system() string {
	if o.System != "" {
		return o.System
	}
	if runtime.GOOS == "windows" {
		return filepath.Join(os.Getenv("ProgramData"), "ssh")
	}
	return "/etc/ssh"
}

func (o Options) env(name string) string {
	if o.Env != nil {
		return o.Env(name)
	}
	return os.Getenv(name)
}

func localUser() string {
	if u, err := user.Current(); err == nil {
		name := u.Username
		if i := strings.LastIndexByte(name, '\\'); i >= 0 { // DOMAIN\name
			name = name[i+1:]
		}
		return name
	}
	return os.Getenv("USER")
}

// address is where to connect to.
func (s *Settings) address() string { return net.JoinHostPort(s.Name, strconv.Itoa(s.Port)) }

// keyName and keyPort are under which the host key is looked up.
func (s *Settings) keyName() (string, int) {
	if s.KeyAlias != "" {
		return s.KeyAlias, 22
	}
	return strings.ToLower(s.Name), s.Port
}
