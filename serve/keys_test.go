package serve

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"dray/account"
	"dray/certs"
	"dray/config"
	"dray/ftpserver"
	"dray/gate"
	"dray/guard"
	"dray/sftpserver"
)

// A keyUse is one key of a configuration: how a test changes it, and what must be
// different then, by the names that effects has.
type keyUse struct {
	effect string
	change func(t *testing.T, c *config.Config)
}

// used are the keys that this package acts on. TestEveryKeyIsUsed fails for one
// that is neither here nor in elsewhere, and for one that changes nothing.
func used() map[string]keyUse {
	const pair = 0 // the first of each list is changed
	listener := func(effect string, change func(l *config.Listener)) keyUse {
		return keyUse{effect, func(_ *testing.T, c *config.Config) { change(&c.Listeners[pair]) }}
	}
	set := func(effect string, change func(c *config.Config)) keyUse {
		return keyUse{effect, func(_ *testing.T, c *config.Config) { change(c) }}
	}
	return map[string]keyUse{
		"admin":   set("admin socket", func(c *config.Config) { c.Admin = "/run/other.sock" }),
		"state":   {"certificate copy", func(t *testing.T, c *config.Config) { c.State, c.TLS.Certificates = t.TempDir(), nil }},
		"public":  set("Rules.Tell", func(c *config.Config) { c.Public = "198.51.100.2" }),
		"passive": set("Rules.Ports", func(c *config.Config) { c.Passive = "20600-20609" }),
		"sync":    set("durability", func(c *config.Config) { c.Sync = "commit" }),

		"public-for[].network": set("Rules.Tell", func(c *config.Config) { c.PublicFor[0].Network = netip.MustParsePrefix("192.0.2.128/25") }),
		"public-for[].address": set("Rules.Tell", func(c *config.Config) { c.PublicFor[0].Address = "local" }),

		"listener[].name":         listener("Door.Name", func(l *config.Listener) { l.Name = "another" }),
		"listener[].protocol":     listener("Rules.Implicit, Door.Protocol, Rules.ActivePort", func(l *config.Listener) { l.Protocol = "ftps" }),
		"listener[].listen":       listener("addresses", func(l *config.Listener) { l.Listen = []string{"127.0.0.2:0"} }),
		"listener[].plain":        listener("Door.Plain", func(l *config.Listener) { l.Plain = true }),
		"listener[].clear-data":   listener("Rules.ClearData", func(l *config.Listener) { l.ClearData = true }),
		"listener[].data-session": listener("Rules.Session", func(l *config.Listener) { l.DataSession = "require" }),
		"listener[].tls-end":      listener("Rules.BareEnd", func(l *config.Listener) { l.TLSEnd = "accept" }),
		"listener[].certificate":  listener("Rules.TLS", func(l *config.Listener) { l.Certificate = "second.example.net" }),
		"listener[].client-certificates": listener("Rules.TLS", func(l *config.Listener) {
			l.ClientCertificates = "ask"
		}),
		"listener[].client-ca": {"Door.ClientCA, Rules.TLS", func(t *testing.T, c *config.Config) { c.Listeners[0].ClientCA = pairOf(t, "ca") }},
		"listener[].active":    listener("Rules.NoActive", func(l *config.Listener) { l.Active = false }),
		"listener[].active-port": listener("Rules.ActivePort", func(l *config.Listener) {
			l.ActivePort = 0
		}),
		"listener[].passive":  listener("Rules.Ports", func(l *config.Listener) { l.Passive = "20610-20619" }),
		"listener[].networks": listener("Door.Networks", func(l *config.Listener) { l.Networks = loopback }),
		"listener[].banner":   listener("Rules.Greeting", func(l *config.Listener) { l.Banner = "another" }),

		"tls.certificate[].file": {"Rules.TLS, Rules.Host", func(t *testing.T, c *config.Config) {
			c.TLS.Certificates[0] = config.Certificate{File: pairOf(t, "third.example.net")}
		}},
		"tls.certificate[].key": {"error", func(t *testing.T, c *config.Config) { c.TLS.Certificates[0].Key = pairOf(t, "third.example.net") }},
		"tls.min-version":       set("Rules.TLS", func(c *config.Config) { c.TLS.MinVersion = "1.3" }),

		"ssh.host-keys": {"SFTP.HostKeys", func(t *testing.T, c *config.Config) {
			if _, err := certs.HostKeys(filepath.Join(c.State, "other")); err != nil {
				t.Fatal(err)
			}
			c.SSH.HostKeys = []string{filepath.Join(c.State, "other", "ssh_host_ed25519_key")}
		}},
		"ssh.idle":    set("SFTP.Idle", func(c *config.Config) { c.SSH.Idle++ }),
		"ssh.scp":     set("SFTP.Exec", func(c *config.Config) { c.SSH.SCP = !c.SSH.SCP }),
		"ssh.user-ca": {"Door.UserCAs", func(t *testing.T, c *config.Config) { c.SSH.UserCA = publicKeyFile(t) }},

		"accounts.database":  set("database", func(c *config.Config) { c.Accounts.Database = "/nowhere/else.db" }),
		"accounts.home":      set("home", func(c *config.Config) { c.Accounts.Home = "/nowhere/{name}" }),
		"accounts.make-home": set("home", func(c *config.Config) { c.Accounts.MakeHome = false }),

		"anonymous.directory":    set("stranger, Door.AnonymousPlain, Door.Verifier", func(c *config.Config) { c.Anonymous.Directory = "" }),
		"anonymous.incoming":     set("stranger", func(c *config.Config) { c.Anonymous.Incoming = "" }),
		"anonymous.plain":        set("Door.AnonymousPlain", func(c *config.Config) { c.Anonymous.Plain = false }),
		"anonymous.max-sessions": set("stranger", func(c *config.Config) { c.Anonymous.MaxSessions++ }),
		"anonymous.max-bytes":    set("stranger", func(c *config.Config) { c.Anonymous.MaxBytes++ }),
		"anonymous.rate-down":    set("stranger", func(c *config.Config) { c.Anonymous.RateDown++ }),
		"anonymous.rate-up":      set("stranger", func(c *config.Config) { c.Anonymous.RateUp++ }),

		"limits.sessions":             set("Guard.Total", func(c *config.Config) { c.Limits.Sessions = 77 }),
		"limits.sessions-per-address": set("Guard.PerAddress", func(c *config.Config) { c.Limits.SessionsPerAddress = -1 }),
		"limits.sessions-per-account": set("Door.MaxSessions", func(c *config.Config) { c.Limits.SessionsPerAccount = 3 }),
		"limits.tries":                set("Guard.Tries", func(c *config.Config) { c.Limits.Tries++ }),
		"limits.ban-after":            set("Guard.BanAfter", func(c *config.Config) { c.Limits.BanAfter = -1 }),
		"limits.ban-for":              set("Guard.BanFor", func(c *config.Config) { c.Limits.BanFor++ }),
		"limits.ban-window":           set("Guard.Window", func(c *config.Config) { c.Limits.BanWindow++ }),
		"limits.exempt":               set("Guard.Exempt", func(c *config.Config) { c.Limits.Exempt = nil }),
		"limits.login-time":           set("Rules.LoginTime, SFTP.LoginTime", func(c *config.Config) { c.Limits.LoginTime++ }),
		"limits.idle":                 set("Rules.Idle", func(c *config.Config) { c.Limits.Idle++ }),
		"limits.idle-max":             set("Rules.IdleMax", func(c *config.Config) { c.Limits.IdleMax++ }),
		"limits.data-wait":            set("Rules.DataWait", func(c *config.Config) { c.Limits.DataWait++ }),
		"limits.stall":                set("Rules.Stall, SFTP.Stall", func(c *config.Config) { c.Limits.Stall++ }),
		"limits.partials":             set("partials", func(c *config.Config) { c.Limits.Partials++ }),

		"messages.banner":  set("Rules.Greeting", func(c *config.Config) { c.Messages.Banner = "another" }),
		"messages.welcome": set("Rules.Welcome", func(c *config.Config) { c.Messages.Welcome = "another" }),
		"messages.goodbye": set("Rules.Goodbye", func(c *config.Config) { c.Messages.Goodbye = "another" }),
		"commands.allow":   set("Rules.Allow", func(c *config.Config) { c.Commands.Allow = []string{"COPY"} }),
		"commands.deny":    set("Rules.Deny", func(c *config.Config) { c.Commands.Deny = []string{"DELE"} }),
		"log.transcript":   set("Rules.Transcript", func(c *config.Config) { c.Log.Transcript = []string{"anna"} }),

		"exception[].allow": set("Rules.For, SFTP.For, Door.Exceptions", func(c *config.Config) {
			c.Exceptions[0].Allow = "tls1.0"
			c.Exceptions = append(c.Exceptions, config.Exception{Allow: "ssh-rsa", Network: c.Exceptions[0].Network, Until: tomorrow(), Reason: "old"})
		}),
		"exception[].account":  set("Door.Exceptions", func(c *config.Config) { c.Exceptions[0].Account = "scanner" }),
		"exception[].listener": set("Door.Exceptions", func(c *config.Config) { c.Exceptions[0].Listener = "ftps" }),
		"exception[].network":  set("Door.Exceptions", func(c *config.Config) { c.Exceptions[0].Network = netip.MustParsePrefix("192.0.2.128/25") }),
		"exception[].until":    set("Door.Exceptions", func(c *config.Config) { c.Exceptions[0].Until = yesterday() }),
		"exception[].reason":   set("log", func(c *config.Config) { c.Exceptions[0].Reason = "another" }),
	}
}

// elsewhere are the keys that the command line acts on, by what its source says.
var elsewhere = map[string]string{
	"user":              "becomeUser(c.User",
	"accounts.owners":   "c.Accounts.Owners)",
	"accounts.rights":   ".Accounts.Rights",
	"limits.stop-grace": ".Limits.StopGrace",
	"log.format":        "c.Log.Format",
	"log.level":         "c.Log.Level",
	"log.file":          "c.Log.File",
	"log.xferlog":       "c.Log.Xferlog",
	"log.auth":          "c.Log.Auth",
}

// settled are the fields of the rules that no key sets, and why.
var settled = map[string]string{
	"SFTP.Door":               "its fields are those of every door",
	"SFTP.Banner":             "the key is that of Rules.Greeting",
	"SFTP.Legacy":             "by exceptions only, through SFTP.For",
	"Rules.Door":              "its fields are looked at",
	"Rules.CutGrace":          "a property of the protocol",
	"Guard.Pending":           "follows from the limit in all",
	"Guard.PendingPerAddress": "follows from the limit of an address",
}

// everything is a configuration in which each key has something to act on.
func everything(t *testing.T) config.Config {
	c := site(t)
	c.TLS.Certificates = []config.Certificate{{File: pairOf(t, "first.example.net")}, {File: pairOf(t, "second.example.net")}}
	c.Public = "198.51.100.1"
	c.PublicFor = []config.PublicFor{{Network: netip.MustParsePrefix("192.0.2.0/24"), Address: "198.51.100.8"}}
	c.Exceptions = []config.Exception{{Allow: "plain", Network: netip.MustParsePrefix("192.0.2.0/24"), Until: tomorrow(), Reason: "old"}}
	public(t, &c)
	c.Listeners = append(c.Listeners, config.Listener{Name: "sftp", Protocol: "sftp", Listen: []string{"127.0.0.1:0"}})
	return c
}

// publicKeyFile is a file with one key in it.
func publicKeyFile(t *testing.T) string {
	t.Helper()
	keys, err := certs.HostKeys(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "key.pub")
	if err := os.WriteFile(file, ssh.MarshalAuthorizedKey(keys[0].PublicKey()), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// effects are what a configuration comes to, as text by name.
func effects(t *testing.T, c config.Config, database *Running) map[string]string {
	t.Helper()
	j := new(journal)
	r := &Running{log: j.log(), gate: &gate.Gate{}, db: database.db, checker: account.NewChecker(database.db, account.NewQueue(1), nil)}
	g, err := r.generation(c, nil)
	if err != nil {
		return map[string]string{"error": err.Error()}
	}
	out := map[string]string{
		"error": "", "durability": fmt.Sprint(durability(c)), "certificate copy": g.publicCert, "database": c.Database(), "admin socket": c.AdminSocket(),
		"addresses": fmt.Sprint(addresses(&c.Listeners[0])), "partials": fmt.Sprint(partialsLast(c)),
	}
	home, made := c.HomeOf(&account.Account{Name: "x"})
	out["home"] = fmt.Sprint(home, made)
	if g.anonymous != nil {
		out["stranger"] = fmt.Sprintf("%+v", *g.anonymous)
	}
	for line := range strings.Lines(j.String()) {
		_, text, _ := strings.Cut(line, " ") // without the time
		out["log"] += text
	}
	fields(out, "Guard", limits(c))
	rules, sftp := g.rules[0].ftp, g.rules[len(g.rules)-1].sftp
	fields(out, "SFTP", *sftp)
	out["SFTP.HostKeys"], out["SFTP.For"] = "", ""
	for _, k := range sftp.HostKeys {
		out["SFTP.HostKeys"] += ssh.FingerprintSHA256(k.PublicKey()) + " "
	}
	out["SFTP.Exec"] = fmt.Sprint(len(sftp.Exec))
	if sftp.For != nil {
		out["SFTP.For"] = fmt.Sprintf("%+v", sftp.For(netip.MustParseAddr("192.0.2.1")).Legacy)
	}
	fields(out, "Door", *rules.Door)
	out["Door.UserCAs"] = fmt.Sprint(sftp.Door.UserCAs)
	fields(out, "Rules", *rules)
	peers := []string{"192.0.2.1", "192.0.2.200", "8.8.8.8"}
	out["Rules.Tell"], out["Rules.For"], out["Rules.Host"] = "", "", ""
	for _, p := range peers {
		peer := netip.MustParseAddr(p)
		tell, err := rules.Tell(peer, netip.MustParseAddr("10.0.0.1"))
		out["Rules.Tell"] += fmt.Sprint(tell, err, " ")
		if rules.For != nil {
			own := rules.For(peer)
			out["Rules.For"] += fmt.Sprint(own.TLS.MinVersion, len(own.TLS.CipherSuites), own.BareEnd, " ")
		}
	}
	for _, name := range []string{"first.example.net", "second.example.net", "third.example.net"} {
		_, known := rules.Host(name)
		out["Rules.Host"] += fmt.Sprint(known, " ")
	}
	cert, err := rules.TLS.GetCertificate(hello)
	if err != nil {
		t.Fatal(err)
	}
	out["Rules.TLS"] = fmt.Sprint(rules.TLS.MinVersion, rules.TLS.ClientAuth, rules.TLS.ClientCAs != nil, cert.Leaf.SerialNumber)
	out["Rules.Ports"] = rules.Ports.String()
	_, verr := rules.Door.Verifier.Verify(context.Background(), "anonymous", account.NewSecret("x"), netip.Addr{}, nil)
	out["Door.Verifier"] = fmt.Sprint(verr)
	out["Door.ClientCA"] = fmt.Sprint(rules.Door.ClientCA != nil)
	return out
}

// hello is that of a client that names no host.
var hello = &tls.ClientHelloInfo{
	SupportedVersions: []uint16{tls.VersionTLS13}, SignatureSchemes: []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256},
	CipherSuites: []uint16{tls.TLS_AES_128_GCM_SHA256}, SupportedCurves: []tls.CurveID{tls.X25519},
}

// fields are those of a struct as text.
func fields(out map[string]string, name string, v any) {
	s := reflect.ValueOf(v)
	for i := range s.NumField() {
		if !s.Type().Field(i).IsExported() {
			continue
		}
		out[name+"."+s.Type().Field(i).Name] = fmt.Sprintf("%+v", s.Field(i).Interface())
	}
}

// Each key of a configuration changes what it is for, and no key is forgotten.
func TestEveryKeyIsUsed(t *testing.T) {
	uses := used()
	base := everything(t)
	add(t, base)
	r := &Running{db: stored(t, base)}
	before := effects(t, base, r)
	if before["error"] != "" {
		t.Fatal(before["error"])
	}
	touched := map[string]bool{}
	known := map[string]bool{}
	for _, key := range config.Reference() {
		if key.Env == "" { // a table
			continue
		}
		known[key.Path] = true
		u, here := uses[key.Path]
		if _, there := elsewhere[key.Path]; here == there {
			t.Errorf("the key %s: used here %v, elsewhere %v; list it once", key.Path, here, there)
			continue
		}
		if !here {
			continue
		}
		t.Run(key.Path, func(t *testing.T) {
			c := base
			c.Listeners, c.Exceptions, c.PublicFor = slices.Clone(base.Listeners), slices.Clone(base.Exceptions), slices.Clone(base.PublicFor)
			c.TLS.Certificates = slices.Clone(base.TLS.Certificates)
			u.change(t, &c)
			if reflect.DeepEqual(c, base) {
				t.Fatal("the test changes nothing")
			}
			after := effects(t, c, r)
			for name := range strings.SplitSeq(u.effect, ", ") {
				touched[name] = true
				if _, ok := after[name]; !ok && before[name] == "" {
					t.Errorf("there is no %q", name)
				}
				if after[name] == before[name] {
					t.Errorf("%s stays %q", name, after[name])
				}
			}
		})
	}
	for key := range uses {
		if !known[key] {
			t.Errorf("there is no key %s", key)
		}
	}
	// The other way round: nothing in the rules is out of reach.
	for _, s := range []struct {
		name string
		t    reflect.Type
	}{{"Rules", reflect.TypeFor[ftpserver.Rules]()}, {"SFTP", reflect.TypeFor[sftpserver.Rules]()}, {"Door", reflect.TypeFor[gate.Door]()}, {"Guard", reflect.TypeFor[guard.Limits]()}} {
		for i := range s.t.NumField() {
			name := s.name + "." + s.t.Field(i).Name
			if !s.t.Field(i).IsExported() {
				continue
			}
			if why, ok := settled[name]; ok == touched[name] {
				t.Errorf("%s: set by a key %v, settled %v (%s); it must be one of them", name, touched[name], ok, why)
			}
		}
	}
}

func TestTheCommandLineUsesTheOtherKeys(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("..", "cli", "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var source strings.Builder
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		source.Write(b)
	}
	for _, key := range slices.Sorted(maps.Keys(elsewhere)) {
		if !strings.Contains(source.String(), elsewhere[key]) {
			t.Errorf("nobody reads the key %s: the command line has no %s", key, elsewhere[key])
		}
	}
}

// The times of a file reach the connection: here the shortest of them.
func TestTheTimesOfTheFileEndConnections(t *testing.T) {
	c := site(t)
	add(t, c, account.Account{Name: "anna"})
	c.Limits.LoginTime, c.Limits.Idle = 100*time.Millisecond, 100*time.Millisecond
	r, _, _ := run(t, Setup{Config: c})
	k := dial(t, r.Card.FTP[0])
	k.want("220")
	k.want("421") // nothing was said
	if _, err := k.r.ReadString('\n'); err != io.EOF {
		t.Errorf("after the goodbye: %v", err)
	}
}

// A transcript of the accounts that the file names, with passwords masked.
func TestTheTranscriptIsOfTheAccountsOfTheFile(t *testing.T) {
	c := site(t)
	add(t, c, account.Account{Name: "anna"}, account.Account{Name: "otto"})
	c.Log.Transcript = []string{"otto"}
	r, _, j := run(t, Setup{Config: c})
	in(t, r, "anna").say("SIZE of-anna", "550")
	in(t, r, "otto").say("SIZE of-otto", "550")
	log := j.String()
	if strings.Contains(log, "SIZE of-anna") || !strings.Contains(log, "SIZE of-otto") || strings.Contains(log, password) {
		t.Errorf("the log:\n%s", log)
	}
}
