package config

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files")

// today is the day of all tests.
var today = time.Date(2027, time.January, 14, 12, 0, 0, 0, time.Local)

var knownCommands = []string{"STOR", "RETR", "SITE CHMOD", "MODE Z"}

// bare is c without what Parse keeps to itself, to be compared.
func bare(c Config) Config {
	c.File, c.at, c.bad, c.cut = "", nil, nil, false
	return c
}

func refused(problems []Problem) bool {
	return slices.ContainsFunc(problems, func(p Problem) bool { return !p.Warning })
}

func lines(problems []Problem) string {
	var b strings.Builder
	for _, p := range problems {
		fmt.Fprintln(&b, p)
	}
	return b.String()
}

// Every file of testdata has a golden one: all of its problems, and the effective
// configuration of those without.
func TestFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/*.toml")
	if err != nil || len(files) < 5 {
		t.Fatalf("Glob = %v, %v", files, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			c, problems := Parse(filepath.Base(file), text, nil)
			problems = append(problems, c.Check(Outside{Now: today, Commands: knownCommands})...)
			Sort(problems)
			got := lines(problems)
			if !refused(problems) {
				got += "\n" + show(c, today)
			}
			golden := strings.TrimSuffix(file, "toml") + "golden"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("%s gives\n%s\nwant\n%s", file, got, want)
			}
			for _, p := range problems {
				if p.Line == 0 || p.File == "" {
					t.Errorf("%v has no line", p)
				}
			}
		})
	}
}

func TestOneProblem(t *testing.T) {
	exception := "[[exception]]\nallow = \"tls1.0\"\nreason = \"x\"\n"
	for _, tt := range []struct {
		name, text, want string // want "": no problem
	}{
		{"nothing at all", "", ""},
		{"a file of Windows", "\xef\xbb\xbfsync = \"none\"\r\n[limits]\r\nidle = \"3m\"\r\n", ""},
		{"a dotted key", "limits.idle = \"3m\"", ""},
		{"a list of tables in one line", `listener = [{ listen = [":2121"] }]`, ""},
		{"a date in quotes", exception + `until = "2027-06-30"`, ""},
		{"a date with a time", exception + "until = 2027-06-30T10:00:00Z", "t:4: exception[0].until: 2027-06-30T10:00:00Z has a time of day; write the day alone, as 2027-06-30: it counts to its end"},
		{"a date that no calendar has", exception + "until = 2027-06-31", "t:4: exception[0].until: 2027-06-31 is no day; write a day such as 2027-06-30"},
		{"a date that nobody means", exception + "until = 0027-06-30", "t:4: exception[0].until: 0027-06-30 is no day; write a day such as 2027-06-30"},
		{"a missing key", exception, "t:1: exception[0].until: is missing; add until = 2027-06-30"},
		{"an empty reason", "[[exception]]\nallow = \"tls1.0\"\nreason = \"\"\nuntil = 2027-06-30", `t:3: exception[0].reason: "" says nothing; write reason = "the scanner has no TLS"`},

		{"a size without unit", "[anonymous]\nmax-bytes = 5", ""},
		{"a size in small letters", "[anonymous]\nmax-bytes = \"5g\"", ""},
		{"a size beyond all", "[anonymous]\nmax-bytes = \"9999999999G\"", `t:2: anonymous.max-bytes: "9999999999G" is more than any disk holds; write a size such as "500M" or "10G", in units of 1024`},
		{"a negative size", "[anonymous]\nmax-bytes = -5", `t:2: anonymous.max-bytes: -5 is negative; write a size such as "10G"`},
		{"half a size", "[anonymous]\nmax-bytes = 1.5", `t:2: anonymous.max-bytes: 1.5 is a number with a fraction, where a size is needed; write max-bytes = "10G"`},
		{"no passwords wrong", "[limits]\nban-after = \"off\"", ""},
		{"off where it is no value", "[limits]\ntries = \"off\"", `t:2: limits.tries: "off" is a string, where a number is needed; write tries = 3`},
		{"a port that is none", "[[listener]]\nactive-port = 65536", "t:2: listener[0].active-port: 65536 is too large; write a number from -1 to 65535"},
		{"a duration without unit", "[limits]\nidle = \"30\"", `t:2: limits.idle: "30" is no duration; write a duration such as "30s", "10m" or "168h" (a week)`},
		{"no time", "[limits]\nidle = \"0s\"", `t:2: limits.idle: "0s" leaves no time; write a duration such as "30s"`},
		{"no grace is an answer", "[limits]\nstop-grace = \"0s\"", ""},

		{"an address without port", "[[listener]]\nlisten = [\"192.0.2.1\"]", `t:2: listener[0].listen: "192.0.2.1" is no address to listen on; write an address such as "192.0.2.1:21", "[2001:db8::1]:21" or ":2121"`},
		{"an address that is none", "[[listener]]\nlisten = [\"192.0.2.256:21\"]", `t:2: listener[0].listen: "192.0.2.256:21" is no address to listen on; write an address such as "192.0.2.1:21", "[2001:db8::1]:21" or ":2121"`},
		{"an address with a zone", "[[listener]]\nlisten = [\"[fe80::1%eth0]:21\"]", ""},
		{"the second address of a list, on its line", "[[listener]]\nlisten = [\n  \":21\",\n  \"x\",\n]", `t:4: listener[0].listen: "x" is no address to listen on; write an address such as "192.0.2.1:21", "[2001:db8::1]:21" or ":2121"`},
		{"a network with a zone", "limits.exempt = [\"fe80::1%eth0\"]", `t:1: limits.exempt: "fe80::1%eth0" is no network; write a network such as "192.0.2.0/24" or "2001:db8::/32", or one address`},
		{"an empty element", "commands.deny = [\"\"]", `t:1: commands.deny: "" says nothing; write deny = ["SITE CHMOD"], or [] for none`},
		{"a list in a list", "commands.deny = [[\"STOR\"]]", `t:1: commands.deny: what is given stands in another list; write one list: deny = ["SITE CHMOD"]`},
		{"a public address with a port", "public = \"192.0.2.1:21\"", `t:1: public: "192.0.2.1:21" is neither an address nor a host name; write the address that clients dial, without a port`},
		{"a public wildcard", "public = \"0.0.0.0\"", `t:1: public: "0.0.0.0" is no address that a client could reach; write the address that clients dial`},
		{"a NUL in a path", `state = "/a\u0000b"`, `t:1: state: "/a\x00b" has a NUL byte in it; write it without`},
		{"a table for a value", "state = { a = 1 }", `t:1: state: what is given is a table, where a string is needed; write state = "/var/lib/dray"`},
		{"a value for a table", "limits = 3", "t:1: limits: 3 is a number, where a table is needed; write [limits] and its keys below"},
		{"a value for a list of tables", "listener = \":21\"", `t:1: listener: ":21" is a string, where a table is needed; write [[listener]] and its keys below`},
		{"a file that is not there", `state = { file = "testdata/missing" }`, `t:1: state: the file "testdata/missing", which has the value, can't be read: no such file or directory; name a file whose first line is the value`},
		{"a file that is a directory", `state = { file = "testdata" }`, `t:1: state: the file "testdata", which has the value, can't be read: not a regular file; name a file whose first line is the value`},
		{"a value of a file is not shown", `sync = { file = "testdata/format.txt" }`, `t:1: sync: the first line of "testdata/format.txt" is not one of its values; write "commit" or "none"`},

		{"a key of another table", "[tls]\nidle-max = \"3h\"", "t:2: tls.idle-max: is no key of [tls]; idle-max belongs in [limits]"},
		{"a key of several others", "[limits]\nplain = true", "t:2: limits.plain: is no key of [limits]; plain belongs in [[listener]] or [anonymous]"},
		{"a misspelled key of another table", "[tls]\nidel-max = \"3h\"", "t:2: tls.idel-max: is no key of [tls]; idle-max belongs in [limits]"},
		{"a key of the top", "[limits]\nsync = \"none\"", "t:2: limits.sync: is no key of [limits]; sync belongs in the top of the file, above all tables"},
		{"a misspelled key is one problem", "[[exception]]\nallow = \"tls1.0\"\nreasons = \"x\"\nuntil = 2027-06-30", "t:3: exception[0].reasons: is no key of [[exception]]; write reason"},
		{"a misspelled table", "[limit]\nidle = \"3m\"", "t:1: limit: is no table; write [limits]"},
		{"a misspelled list of tables", "[[listeners]]\nplain = true", "t:1: listeners: is no table; write [[listener]]"},
		{"a table in another", "[limits.log]\nlevel = \"info\"", "t:1: limits.log: is no table of [limits]; write [log]"},
		{"a key that resembles nothing", "zzzzzz = 1", "t:1: zzzzzz: is no key; remove it; dray config example lists all keys"},
		{"a key with strange letters", `"a\nb" = 1`, `t:1: "a\nb": is no key; remove it; dray config example lists all keys`},
		{"an array that does not end", "[commands]\nallow = [\"COPY\"\nsync = 1", `t:3: syntax: expected ',' or ']' after array value; write lines as key = "value" below headers as [limits]; the file was read up to here only`},
		{"two assignments on a line", `sync = "none" state = "x"`, `t:1: sync: ` + "`" + `"none" state = "x"` + "`" + ` is no value: expected newline but got U+0073 's'; write sync = "commit"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, problems := Parse("t", []byte(tt.text), nil)
			if got := strings.TrimSpace(lines(problems)); got != tt.want {
				t.Errorf("Parse(%q):\n%s\nwant\n%s", tt.text, got, tt.want)
			}
		})
	}
}

func TestAFileThatIsTooLarge(t *testing.T) {
	text := strings.Repeat("#\n", maxFile/2)
	if _, problems := Parse("t", []byte(text), nil); len(problems) != 0 {
		t.Errorf("a file of 1 MiB: %v", problems)
	}
	c, problems := Parse("t", []byte(text+"#"), nil)
	if len(problems) != 1 || !strings.Contains(problems[0].What, "more than 1 MiB") {
		t.Errorf("a file of 1 MiB and a byte: %v", problems)
	}
	if more := c.Check(Outside{}); more != nil {
		t.Errorf("Check of a file that was not read: %v", more)
	}
}

func TestLoad(t *testing.T) {
	file := filepath.Join(t.TempDir(), "dray.toml")
	if err := os.WriteFile(file, []byte("sync = \"none\"\nstate = 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, problems, err := Load(file, []string{"DRAY_PUBLIC=192.0.2.1"})
	if err != nil || len(problems) != 1 || problems[0].File != file || problems[0].Line != 2 {
		t.Errorf("Load: %v, %v", problems, err)
	}
	if c.Sync != "none" || c.Public != "192.0.2.1" || c.State != "/var/lib/dray" || c.File != file {
		t.Errorf("Load: %+v", c)
	}
	if _, _, err := Load(filepath.Join(t.TempDir(), "missing.toml"), nil); err == nil || !strings.Contains(err.Error(), "missing.toml: no such file or directory") {
		t.Errorf("Load of nothing: %v", err)
	}
	if _, _, err := Load(t.TempDir(), nil); err == nil || !strings.Contains(err.Error(), "is a directory") {
		t.Errorf("Load of a directory: %v", err)
	}
}

// A server, a command of somebody else and a check mean the same places, wherever
// each of them was started.
func TestRelativePathsBeginAtTheFile(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"dray.toml": `
state = "../state"
public = { file = "public" }
[accounts]
home = "homes/{name}"
[anonymous]
directory = "/srv/pub"
incoming = "incoming"
[log]
file = "log"
[[listener]]
client-ca = "ca.pem"
[[tls.certificate]]
file = "cert.pem"
`,
		"public": "ftp.example.net\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, "etc", name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for from, file := range map[string]string{dir: filepath.Join("etc", "dray.toml"), filepath.Join(dir, "etc"): "dray.toml"} {
		t.Chdir(from)
		c, problems, err := Load(file, []string{"DRAY_TLS_CERTIFICATE_0_KEY=key.pem"})
		if err != nil || len(problems) > 0 {
			t.Fatal(err, problems)
		}
		for _, p := range []struct{ key, got, want string }{
			{"state", c.State, filepath.Join(dir, "state")},
			{"accounts", c.Database(), filepath.Join(dir, "state", "accounts.db")},
			{"accounts.home", c.Accounts.Home, filepath.Join(dir, "etc", "homes", "{name}")},
			{"anonymous.directory", c.Anonymous.Directory, "/srv/pub"},
			{"anonymous.incoming", c.Anonymous.Incoming, "incoming"},
			{"log.file", c.Log.File, filepath.Join(dir, "etc", "log")},
			{"log.xferlog", c.Log.Xferlog, ""},
			{"listener[0].client-ca", c.Listeners[0].ClientCA, filepath.Join(dir, "etc", "ca.pem")},
			{"tls.certificate[0].file", c.TLS.Certificates[0].File, filepath.Join(dir, "etc", "cert.pem")},
			{"tls.certificate[0].key", c.TLS.Certificates[0].Key, filepath.Join(dir, "etc", "key.pem")},
			{"public", c.Public, "ftp.example.net"},
		} {
			if p.got != p.want {
				t.Errorf("%s of %s is %q; want %q", p.key, file, p.got, p.want)
			}
		}
	}
}

func TestListenersGetPortsAndNames(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       []string
	}{
		{"none", "", nil},
		{"one of each", "[[listener]]\n[[listener]]\nprotocol = \"ftps\"", []string{"ftp [:21]", "ftps [:990]"}},
		{"a second one has its port in the name", "[[listener]]\n[[listener]]\nlisten = [\"2121\"]", []string{"ftp [:21]", "ftp-2121 [2121]"}},
		{"a name that is taken is not given again", "[[listener]]\n[[listener]]\nname = \"ftp\"\nlisten = [\":2121\"]", []string{"ftp-21 [:21]", "ftp [:2121]"}},
		{"nor is the one with the port", "[[listener]]\n[[listener]]\nlisten = [\"192.0.2.1:22\"]\n[[listener]]\nlisten = [\"192.0.2.2:22\"]", []string{"ftp [:21]", "ftp-22 [192.0.2.1:22]", "ftp-22-2 [192.0.2.2:22]"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, problems := Parse("t", []byte(tt.text), nil)
			var got []string
			for _, l := range c.Listeners {
				got = append(got, fmt.Sprint(l.Name, " ", l.Listen))
			}
			if len(problems) > 0 || !slices.Equal(got, tt.want) {
				t.Errorf("listeners %v, problems %v; want %v", got, problems, tt.want)
			}
		})
	}
}

func TestDefaultsAreThoseOfTheTags(t *testing.T) {
	c := Defaults()
	if c.State != "/var/lib/dray" || c.Limits.Idle != 10*time.Minute || c.Limits.BanAfter != 50 || !c.Anonymous.Plain ||
		c.Accounts.Rights.String() != "full" || c.Listeners != nil || c.Messages.Goodbye != "Goodbye." {
		t.Errorf("Defaults() = %+v", c)
	}
	parsed, problems := Parse("t", nil, nil)
	if len(problems) > 0 || !reflect.DeepEqual(bare(parsed), c) {
		t.Errorf("an empty file gives %+v, %v; want the defaults", parsed, problems)
	}
	if problems := parsed.Check(Outside{}); refused(problems) {
		t.Errorf("the defaults have problems: %v", problems)
	}
}

var keyLine = regexp.MustCompile(`(?m)^#([a-z]|\[\[)`)

func TestTheExample(t *testing.T) {
	example := Example()
	c, problems := Parse("example", []byte(example), nil)
	if len(problems) > 0 || !reflect.DeepEqual(bare(c), Defaults()) {
		t.Errorf("the example gives %+v, %v; want the defaults", c, problems)
	}
	all := keyLine.ReplaceAllString(example, "$1")
	c, problems = Parse("example", []byte(all), nil)
	if len(problems) > 0 {
		t.Errorf("the example with all keys set:\n%s\n%s", lines(problems), all)
	}
	if len(c.Listeners) != 1 || len(c.Exceptions) != 1 || len(c.TLS.Certificates) != 1 || len(c.PublicFor) != 1 {
		t.Errorf("the example with all keys set: %+v", c)
	}
	for _, k := range Reference() {
		if k.Env != "" && c.at[strings.ReplaceAll(k.Path, "[]", "[0]")].line == 0 {
			t.Errorf("the example lacks %s", k.Path)
		}
	}
	for line := range strings.Lines(example) {
		if strings.HasPrefix(line, "# ") && len([]rune(strings.TrimSuffix(line, "\n"))) > 80 {
			t.Errorf("more than 80 columns: %s", line)
		}
	}
}

func TestTheExampleWithWhatIsSet(t *testing.T) {
	text, err := os.ReadFile("testdata/good.toml")
	if err != nil {
		t.Fatal(err)
	}
	c, problems := Parse("good.toml", text, nil)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	commented := Commented(c)
	again, problems := Parse("commented", []byte(commented), nil)
	if len(problems) > 0 || !reflect.DeepEqual(bare(again), bare(c)) {
		t.Errorf("Commented loses something: %v\n%s", problems, commented)
	}
	for _, want := range []string{"\nidle = \"1m30s\"\n", "\n#stall = \"2m\"\n", "\n[[listener]]\n", "\n#[[tls.certificate]]\n"} {
		if !strings.Contains(commented, want) {
			t.Errorf("Commented lacks %q", want)
		}
	}
}

func TestTheReference(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range Reference() {
		if seen[k.Path] || k.Doc == "" || k.Type == "" {
			t.Errorf("row %+v", k)
		}
		seen[k.Path] = true
		if k.Env == "" {
			continue
		}
		if k.Default == "" && k.Example == "" {
			t.Errorf("%s has neither a default nor an example", k.Path)
		}
		way := schema.match(strings.ReplaceAll(strings.TrimPrefix(k.Env, envPrefix), "_N_", "_0_"))
		if way == nil || way[len(way)-1].f.key != k.Path[strings.LastIndexByte(k.Path, '.')+1:] {
			t.Errorf("%s does not stand for %s", k.Env, k.Path)
		}
	}
	for _, want := range []Key{
		{Path: "limits.login-time", Type: "duration", Default: "30s", Doc: "from connect to login", Env: "DRAY_LIMITS_LOGIN_TIME"},
		{Path: "tls.certificate[].file", Type: "string", Example: "/etc/dray/cert.pem", Doc: "PEM file with the certificate and its chain", Env: "DRAY_TLS_CERTIFICATE_N_FILE", Required: true},
		{Path: "listener[].networks", Type: "list of networks", Example: "192.0.2.0/24", Doc: "who may connect; default: everybody", Env: "DRAY_LISTENER_N_NETWORKS"},
	} {
		if !slices.ContainsFunc(Reference(), func(k Key) bool { return reflect.DeepEqual(k, want) }) {
			t.Errorf("Reference() lacks %+v", want)
		}
	}
}

// What is shown is a file that says the same.
func FuzzParse(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.toml")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text, "")
	}
	f.Add([]byte(keyLine.ReplaceAllString(Example(), "$1")), "DRAY_LIMITS_IDLE=3m\nDRAY_LISTENER_1_PLAIN=yes\nDRAY_STATE_FILE=testdata/format.txt")
	f.Add([]byte(`state = "\u0085\U0010FFFF\u001b\""`), "DRAY_LISTENER_0_LISTEN=:1,:2\nDRAY_EXCEPTION_0_ALLOW=plain")
	f.Fuzz(func(t *testing.T, text []byte, env string) {
		c, problems := Parse("dray.toml", text, strings.Split(env, "\n"))
		for _, p := range problems {
			if p.What == "" || p.Do == "" || p.Field == "" || p.Line < 0 || p.Line > 0 && p.File == "" {
				t.Errorf("problem %+v", p)
			}
		}
		if refused(problems) {
			return
		}
		shown := show(c, today)
		again, problems := Parse("shown", []byte(shown), nil)
		if len(problems) > 0 {
			t.Fatalf("what is shown has problems:\n%s\n%s", lines(problems), shown)
		}
		if !reflect.DeepEqual(bare(again), bare(c)) {
			t.Errorf("%+v is shown as\n%s\nwhich is %+v", bare(c), shown, bare(again))
		}
	})
}
