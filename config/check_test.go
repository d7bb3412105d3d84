package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// parse reads a file without problems.
func parse(t *testing.T, text string) Config {
	t.Helper()
	c, problems := Parse("t", []byte(text), nil)
	if len(problems) > 0 {
		t.Fatalf("Parse(%q): %v", text, problems)
	}
	return c
}

// says compares what Check reports, a line each, with parts of it in their order.
func says(t *testing.T, problems []Problem, want ...string) {
	t.Helper()
	for i, p := range problems {
		if i >= len(want) || !strings.Contains(p.String(), want[i]) {
			t.Errorf("problems\n%s\nwant %q", lines(problems), want)
			return
		}
	}
	if len(problems) < len(want) {
		t.Errorf("problems\n%s\nwant %q", lines(problems), want)
	}
}

func TestCheckOfListeners(t *testing.T) {
	two := func(a, b string) string {
		return "[[listener]]\nlisten = [\"" + a + "\"]\n[[listener]]\nname = \"b\"\nlisten = [\"" + b + "\"]\n"
	}
	for _, tt := range []struct {
		name, text, want string
	}{
		{"two ports", two(":21", ":2121"), ""},
		{"one port of two addresses", two("192.0.2.1:21", "192.0.2.2:21"), ""},
		{"any port twice", two(":0", ":0"), ""},
		{"one port twice", two(":21", "21"), `t:5: listener[1].listen: "21" is taken by listener[0] (ftp), which listens on ":21"`},
		{"all addresses and one of them", two("[2001:db8::1]:21", ":21"), `":21" is taken by`},
		{"all addresses of both families", two("0.0.0.0:21", "[::]:21"), `"[::]:21" is taken by`},
		{"all addresses and one of the other family", two("0.0.0.0:21", "[2001:db8::1]:21"), `"[2001:db8::1]:21" is taken by`},
		{"one address in two forms", two("[2001:db8::1]:21", "[2001:DB8:0::1]:21"), "is taken by"},
		{"one IPv4 address in the form of IPv6", two("192.0.2.1:21", "[::ffff:192.0.2.1]:21"), "is taken by"},
		{"one name in two forms", two("localhost:21", "LocalHost.:21"), "is taken by"},
		{"one name and its address", two("localhost:2121", "127.0.0.1:2121"), `t:5: listener[1].listen: "127.0.0.1:2121" is taken by listener[0] (ftp), which listens on "localhost:2121"`},
		{"one name and the address of another", two("localhost:2121", "127.0.0.2:2121"), ""},
		{"one listener that takes its own port", "[[listener]]\nlisten = [\":21\", \"192.0.2.1:21\"]", "t:2: listener[0].listen: "},
		{"the port of the protocol, which nobody wrote", "[[listener]]\nprotocol = \"ftps\"\n[[listener]]\nname = \"b\"\nlisten = [\":990\"]", `t:5: listener[1].listen: ":990" is taken by listener[0] (ftps)`},
		{"clear text where there is no TLS yet", "[[listener]]\nplain = true", ""},
		{"the passive range of a listener has the port of another", "[[listener]]\nlisten = [\":31007\"]\n[[listener]]\nname = \"b\"\nlisten = [\":21\"]\npassive = \"31000-31099\"", `t:6: listener[1].passive: "31000-31099" has port 31007, where listener[0] (ftp) listens`},
		{"the default passive range has a port", "[[listener]]\nlisten = [\":30000\"]", `passive: "30000-30999" has port 30000`},
		{"a passive range of ten", "passive = \"31000-31009\"", ""},
		{"a passive range of nine", "passive = \"31000-31008\"", `t:1: warning: passive: "31000-31008" has 9 ports`},
		{"a passive range that ends before those of outgoing connections", "passive = \"31000-32767\"", ""},
		{"a passive range that reaches them", "passive = \"31000-32768\"", `t:1: warning: passive: "31000-32768" overlaps 32768-60999`},
		{"client certificates that client-ca asks for", "[[listener]]\nclient-ca = 'check_test.go'", ""},
		{"client certificates that are off, and asked for", "[[listener]]\nclient-certificates = \"off\"\nclient-ca = 'check_test.go'",
			"t:2: warning: listener[0].client-certificates: has no effect: for client-ca clients are asked for a certificate; remove it, or client-ca"},
		{"a passive range that begins after them", "passive = \"61000-61999\"", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			problems := parse(t, tt.text).Check(Outside{Now: today})
			if tt.want == "" {
				says(t, problems)
			} else {
				says(t, problems, tt.want)
			}
		})
	}
}

func TestCheckOfExceptions(t *testing.T) {
	exception := "[[exception]]\nreason = \"x\"\nuntil = 2027-01-14\n"
	for _, tt := range []struct {
		name, text, want string
	}{
		{"plain for a network, on its last day", exception + "allow = \"plain\"\nnetwork = \"192.0.2.0/24\"", ""},
		{"plain for an account in a network", exception + "allow = \"plain\"\nnetwork = \"192.0.2.0/24\"\naccount = \"anna\"", ""},
		{"plain for a network that is everybody", exception + "allow = \"plain\"\nnetwork = \"0.0.0.0/0\"", "t:5: warning: exception[0].network: 0.0.0.0/0 is everybody: passwords from anywhere may cross in clear text; write the network of the devices"},
		{"plain for everybody with IPv6", exception + "allow = \"plain\"\nnetwork = \"::/0\"", "t:5: warning: exception[0].network: ::/0 is everybody"},
		{"plain for everybody", exception + "allow = \"plain\"", "t:1: exception[0].network: is missing"},
		{"plain for an account from anywhere", exception + "allow = \"plain\"\naccount = \"anna\"", "t:1: exception[0].network: is missing"},
		{"old TLS for all", exception + "allow = \"tls1.0\"", ""},
		{"old TLS for an account", exception + "allow = \"tls1.0\"\naccount = \"anna\"", `t:5: exception[0].account: an account has no part in "tls1.0"`},
		{"a listener of a file without any", exception + "allow = \"tls-end\"\nlistener = \"ftps\"", ""},
		{"a listener that is not there", exception + "allow = \"tls-end\"\nlistener = \"ftpx\"", `t:5: exception[0].listener: "ftpx" is no listener; write "ftp"`},
		{"an exception of yesterday", "[[exception]]\nallow = \"tls-end\"\nreason = \"x\"\nuntil = 2027-01-13", "t:4: warning: exception[0].until: the exception is over since 2027-01-13"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			problems := parse(t, tt.text).Check(Outside{Now: today})
			if tt.want == "" {
				says(t, problems)
			} else {
				says(t, problems, tt.want)
			}
		})
	}
}

// A key that Parse has reported is not reported again for what it is missing.
func TestCheckTakesReportedKeysAsRight(t *testing.T) {
	for _, text := range []string{
		"[[exception]]\nallow = \"plain\"\nnetwork = \"all\"\nreason = \"x\"\nuntil = 2027-06-30",
		"[[exception]]\nallow = \"plain\"\nnetwrok = \"192.0.2.0/24\"\nreason = \"x\"\nuntil = 2027-06-30",
		"[[listener]]\n[[listener]]\nname = \"b\"\nlisten = \"192.0.2.1:2121\"",
		"[limits]\nidle = \"3h\"\nidle-max = \"four hours\"",
		"[anonymous]\ndirectory = 1\nincoming = \"incoming\"",
		"[tls]\nmin-version = 1\n[[exception",
	} {
		c, problems := Parse("t", []byte(text), nil)
		if len(problems) == 0 {
			t.Errorf("Parse(%q) has no problem", text)
		}
		if more := c.Check(Outside{Now: today}); len(more) > 0 {
			t.Errorf("after %v, Check says %v", problems, more)
		}
	}
}

func TestCheckOfCertificates(t *testing.T) {
	file := filepath.Join(t.TempDir(), "cert.pem")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	text := "[[listener]]\ncertificate = \"ftp.example.net\"\n[[tls.certificate]]\nfile = '" + file + "'\nkey = '" + file + ".key'\n"
	t.Run("without a loader the files are looked for", func(t *testing.T) {
		says(t, parse(t, text).Check(Outside{}), `t:5: tls.certificate[0].key: "`+file+`.key" can't be read: no such file or directory`)
	})
	load := func(covered string, wrong ...Problem) Outside {
		return Outside{Certificate: func(cert, key string) (func(string) bool, []Problem) {
			if cert != file || key != file+".key" {
				t.Errorf("Certificate(%q, %q)", cert, key)
			}
			if covered == "" {
				return nil, wrong
			}
			return func(host string) bool { return host == covered }, wrong
		}}
	}
	public := "public = \"ftp.example.net\"\n[[listener]]\n[[tls.certificate]]\nfile = '" + file + "'\nkey = '" + file + ".key'\n"
	t.Run("a public name that is covered", func(t *testing.T) {
		says(t, parse(t, public).Check(load("ftp.example.net")))
	})
	t.Run("a public name that none covers", func(t *testing.T) {
		says(t, parse(t, public).Check(load("www.example.net")), `t:1: warning: public: no certificate covers "ftp.example.net", and clients that check it refuse the connection; add one`)
	})
	t.Run("a public address", func(t *testing.T) {
		says(t, parse(t, strings.Replace(public, "ftp.example.net", "192.0.2.7", 1)).Check(load("www.example.net")))
	})
	t.Run("a public name that only a later one covers", func(t *testing.T) {
		first := true
		two := Outside{Certificate: func(string, string) (func(string) bool, []Problem) {
			other := first
			first = false
			return func(string) bool { return !other }, nil
		}}
		text := public + "[[tls.certificate]]\nfile = '" + file + "'\n"
		says(t, parse(t, text).Check(two), `t:1: warning: public: the first certificate does not cover "ftp.example.net", and clients that name no host get that one; put the one that does first`)
		first = true
		text = strings.Replace(text, "[[listener]]", "[[listener]]\ncertificate = \"ftp.example.net\"", 1)
		says(t, parse(t, text).Check(two))
	})
	t.Run("a name that is covered", func(t *testing.T) {
		says(t, parse(t, text).Check(load("ftp.example.net")))
	})
	t.Run("a name that none covers", func(t *testing.T) {
		says(t, parse(t, text).Check(load("www.example.net")), `t:2: listener[0].certificate: no certificate covers "ftp.example.net"`)
	})
	t.Run("a name that may be in one that can't be loaded", func(t *testing.T) {
		says(t, parse(t, text).Check(load("", Problem{What: "is expired", Do: "renew it"})), "t:4: tls.certificate[0].file: is expired; renew it")
	})
	t.Run("what is wrong with the key", func(t *testing.T) {
		says(t, parse(t, text).Check(load("ftp.example.net", Problem{Field: "key", What: "does not match", Do: "x"}, Problem{Field: "key", What: "is open", Do: "x", Warning: true})),
			"t:5: tls.certificate[0].key: does not match; x", "t:5: warning: tls.certificate[0].key: is open")
	})
	t.Run("a name and no certificate", func(t *testing.T) {
		says(t, parse(t, "[[listener]]\ncertificate = \"ftp.example.net\"").Check(Outside{}), `t:2: listener[0].certificate: there is no certificate for "ftp.example.net"`)
	})
}

// An address that can't be read hides none of those beside it.
func TestClashesBesideOtherMistakes(t *testing.T) {
	for _, lists := range [][2]string{{`":2121", "oops"`, `":2121"`}, {`":2121"`, `"oops", ":2121"`}} {
		text := "[[listener]]\nlisten = [" + lists[0] + "]\n[[listener]]\nlisten = [" + lists[1] + "]\n"
		c, problems := Parse("t", []byte(text), nil)
		problems = append(problems, c.Check(Outside{Now: today})...)
		Sort(problems)
		var clash, oops bool
		for _, p := range problems {
			clash = clash || strings.Contains(p.String(), `t:4: listener[1].listen: ":2121" is taken by listener[0] (ftp`)
			oops = oops || strings.Contains(p.String(), `.listen: "oops" is no address`)
		}
		if len(problems) != 2 || !clash || !oops {
			t.Errorf("%s gives\n%s", text, lines(problems))
		}
	}
}

// Who the server becomes is looked for before anything is started.
func TestCheckOfTheUser(t *testing.T) {
	c := parse(t, "sync = \"none\"\nuser = \"nosuchuser\"")
	for _, p := range []Problem{{What: "is unknown", Do: "make it"}, {What: "is unknown", Do: "make it", Warning: true}} {
		want := "t:2: user: is unknown; make it"
		if p.Warning {
			want = "t:2: warning: user: is unknown; make it"
		}
		says(t, c.Check(Outside{User: func(name string) *Problem {
			if name != "nosuchuser" {
				t.Errorf("User(%q)", name)
			}
			return &p
		}}), want)
	}
	says(t, c.Check(Outside{User: func(string) *Problem { return nil }}))
	says(t, parse(t, "").Check(Outside{User: func(string) *Problem { return &Problem{What: "x", Do: "y"} }}))
}

// Strangers could log in, and none of their uploads would come.
func TestCheckOfAnIncomingDirectoryThatIsClosed(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "incoming"), 0o755); err != nil {
		t.Fatal(err)
	}
	c := parse(t, "[anonymous]\ndirectory = '"+dir+"'\nincoming = \"incoming\"")
	open := false
	o := Outside{Writable: func(name string) bool {
		if name != filepath.Join(dir, "incoming") {
			t.Errorf("Writable(%q)", name)
		}
		return open
	}}
	says(t, c.Check(o), "t:3: warning: anonymous.incoming: ")
	open = true
	says(t, c.Check(o))
}

// What clients must not fetch may not lie where they are served from.
func TestCheckOfPlaces(t *testing.T) {
	root := t.TempDir()
	for _, dir := range []string{"pub/incoming", "aside", "srv/homes"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, to := range map[string]string{"link": "pub", "pub/out": "../aside"} {
		if err := os.Symlink(to, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(root)
	root, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, text string
		want       []string
	}{
		{"everything beside", "state = \"aside\"\n[anonymous]\ndirectory = \"pub\"\nincoming = \"incoming\"", nil},
		{"state inside, not there yet", "state = \"pub/state\"\n[anonymous]\ndirectory = \"pub\"", []string{`t:1: state: "pub/state" is where clients could fetch it: it lies in the directory "pub" of anonymous; keep it elsewhere`}},
		{"state inside through a link", "state = \"link/state\"\n[anonymous]\ndirectory = \"pub\"", []string{"t:1: state: "}},
		{"accounts and logs inside", "[accounts]\ndatabase = \"pub/a.db\"\n[log]\nfile = \"pub/log\"\nxferlog = \"pub/x\"\nauth = \"pub/auth\"\n[anonymous]\ndirectory = \"pub\"",
			[]string{"t:2: accounts.database", "t:4: log.file", "t:5: log.xferlog", "t:6: log.auth"}},
		{"no directory", "[anonymous]\ndirectory = \"nowhere\"", []string{`t:2: anonymous.directory: "nowhere" can't be served: no such file or directory`}},
		{"uploads without a directory", "[anonymous]\nincoming = \"incoming\"", []string{"t:2: anonymous.incoming: there is no anonymous login without a directory"}},
		{"uploads to a directory that is not there", "[anonymous]\ndirectory = \"pub\"\nincoming = \"upload\"", []string{`t:3: anonymous.incoming: "pub/upload" can't be used: no such file or directory`}},
		{"uploads out of it", "[anonymous]\ndirectory = \"pub\"\nincoming = \"../aside\"", []string{"is no plain path in the directory"}},
		{"uploads to an absolute path", "[anonymous]\ndirectory = \"pub\"\nincoming = \"/incoming\"", []string{"is no plain path in the directory"}},
		{"uploads to all of it", "[anonymous]\ndirectory = \"pub\"\nincoming = \".\"", []string{"is no plain path in the directory"}},
		{"uploads out of it by a link", "[anonymous]\ndirectory = \"pub\"\nincoming = \"out\"", []string{`"pub/out" is a link that leads out of "pub"`}},

		{"homes beside state", "state = \"srv/state\"\n[accounts]\nhome = \"" + root + "/srv/homes/{name}\"", nil},
		{"homes below state", "state = \"srv\"\n[accounts]\nhome = \"srv/homes/{name}\"", nil},
		{"state that an account could have for a home", "state = \"srv/state\"\n[accounts]\nhome = \"" + root + "/srv/{name}\"", []string{"t:1: state: \"srv/state\" is where clients could fetch it: the home"}},
		{"homes with a beginning that state lacks", "state = \"srv/state\"\n[accounts]\nhome = \"srv/ftp-{name}\"", nil},
		{"homes below directories of accounts", "state = \"srv/anna/state\"\n[accounts]\nhome = \"srv/{name}/files\"", nil},
		{"state in a home below such a directory", "state = \"srv/anna/files/state\"\n[accounts]\nhome = \"srv/{name}/files\"", []string{"t:1: state: "}},
		{"one home for all", "[accounts]\nhome = \"/srv/ftp\"", []string{`t:2: accounts.home: "/srv/ftp" would be the home of all accounts; put {name} in it: "/srv/ftp/{name}"`}},
		{"accounts in a state directory that is not there yet", "state = \"new\"\n[accounts]\ndatabase = \"new/accounts.db\"", nil},
		{"state in place of a file", "state = \"link/../file\"", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			says(t, parse(t, tt.text).Check(Outside{Now: today}), tt.want...)
		})
	}
}

func TestCheckOfCommands(t *testing.T) {
	c := parse(t, "[commands]\ndeny = [\"stor\", \"mode z\", \"RETRO\"]")
	says(t, c.Check(Outside{}))
	says(t, c.Check(Outside{Commands: knownCommands}), `t:2: commands.deny: "RETRO" is no command that the server has; write "RETR"`)
}

// Whoever writes such a list wants to keep somebody out, and would keep out all.
func TestDenyThatLocksEverybodyOut(t *testing.T) {
	deny := func(list, listener string) string { return "[commands]\ndeny = " + list + "\n" + listener }
	says(t, parse(t, deny(`["user", "PASS"]`, "")).Check(Outside{}),
		"t:2: commands.deny: nobody can log in without USER; remove it; dray user set NAME --disable locks one account",
		"t:2: commands.deny: nobody can log in without PASS; ")
	ask := "[[listener]]\nclient-certificates = \"ask\""
	says(t, parse(t, deny(`["PASS"]`, ask)).Check(Outside{})) // RFC 4217, 12.6: 232 needs none
	says(t, parse(t, deny(`["USER"]`, ask)).Check(Outside{}), "nobody can log in without USER")
}

func TestPlaceholdersThatClientsWouldSee(t *testing.T) {
	for _, tt := range []struct {
		name, text, want string
	}{
		{"the name of the account", "[messages]\nwelcome = \"{user}, welcome, {user}.\"", ""},
		{"braces around no word", "[messages]\nwelcome = \"{} { user } {1} {\"", ""},
		{"the word that homes have", "[messages]\nwelcome = \"Welcome, {name}.\"", `t:2: warning: messages.welcome: "{name}" stands for nothing here, and clients see it as it is; write {user} `},
		{"a greeting, before there is a name", "[messages]\nbanner = \"{host} ready.\"", `t:2: warning: messages.banner: "{host}" stands for nothing here`},
		{"a goodbye", "[messages]\ngoodbye = \"Goodbye, {user}.\"", `t:2: warning: messages.goodbye: "{user}" stands for nothing here`},
		{"the greeting of a listener", "[[listener]]\nbanner = \"Hello, {user}.\"", `t:2: warning: listener[0].banner: "{user}" stands for nothing here`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var want []string
			if tt.want != "" {
				want = append(want, tt.want)
			}
			says(t, parse(t, tt.text).Check(Outside{Now: today}), want...)
		})
	}
}
