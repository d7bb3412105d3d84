package cli

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"dray/account"
	"dray/account/accountsql"
	"dray/config"
)

// publicKey is the line of the n-th of keys that never change.
func publicKey(t testing.TB, n int) string {
	t.Helper()
	seed := make([]byte, ed25519.SeedSize)
	seed[0], seed[1] = byte(n), byte(n>>8)
	pub, err := ssh.NewPublicKey(ed25519.NewKeyFromSeed(seed).Public())
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(pub)))
}

// keyFor is a parsed line.
func keyFor(t testing.TB, line string) account.Key {
	t.Helper()
	k, err := account.ParseKey(line)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// keyring makes a database with the account anna, and returns what runs a command
// of dray user key over it.
func keyring(t *testing.T) (file string, run func(stdin string, args ...string) (string, error)) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv(configEnv, filepath.Join(dir, "missing.toml"))
	file = filepath.Join(dir, "accounts.db")
	db, err := accountsql.Open(t.Context(), file, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if err := db.Put(t.Context(), account.Account{Name: "anna", Home: dir, Rights: account.Full}); err != nil {
		t.Fatal(err)
	}
	return file, func(stdin string, args ...string) (string, error) {
		var out bytes.Buffer
		root := Root()
		root.SetArgs(append(append([]string{"user"}, args...), "--database", file))
		root.SetIn(strings.NewReader(stdin))
		root.SetOut(&out)
		root.SetErr(&out)
		err := root.ExecuteContext(t.Context())
		return out.String(), err
	}
}

func TestParseKeysTakesWhatAFileOfAuthorizedKeysHas(t *testing.T) {
	one, two := publicKey(t, 1), publicKey(t, 2)
	tests := []struct {
		name, in string
		want     []string // lines
	}{
		{"one line without an end", one + " anna@laptop", []string{one + " anna@laptop"}},
		{"comments and empty lines between", "# of anna\n\n" + one + "\n  \n\t# old: " + two + "\n" + two + "\n", []string{one, two}},
		{"line ends of Windows and a mark before the first", "\ufeff" + one + "\r\n" + two + " b\r\n", []string{one, two + " b"}},
		{"options", `restrict,from="192.0.2.0/24" ` + one, []string{`from="192.0.2.0/24" ` + one}},
		{"nothing", "", nil},
		{"comments alone", "# none\n", nil},
	}
	for _, tt := range tests {
		keys, wrong := parseKeys(tt.in)
		var got []string
		for i := range keys {
			got = append(got, keys[i].Line())
		}
		if len(wrong) > 0 || !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, problems %q; want %q", tt.name, got, wrong, tt.want)
		}
	}
}

func TestParseKeysListsEveryLineThatIsWrong(t *testing.T) {
	one, two := publicKey(t, 1), publicKey(t, 2)
	tests := []struct {
		name, in string
		want     []string // beginnings of the problems
	}{
		{"two of four", "# head\n" + one + "\nnonsense\n" + two + "\ncommand=\"x\" " + one + "\n",
			[]string{"line 3: it is no line of authorized_keys", "line 5: command= is refused"}},
		{"a key twice", one + " a\n\n" + one + " b\n", []string{"line 3: it is the key of line 1 again"}},
		{"the private key", "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk\nAAAA\n-----END OPENSSH PRIVATE KEY-----\nnonsense\n",
			[]string{"line 1: it is a private key", "line 5: it is no line"}},
		{"the form of PuTTYgen", "---- BEGIN SSH2 PUBLIC KEY ----\nComment: \"a\"\nAAAA\n---- END SSH2 PUBLIC KEY ----\n" + one,
			[]string{"line 1: it is a public key in another form; ssh-keygen -i -f FILE"}},
		{"an option with what a terminal would do", "\x1b[2J " + one, []string{"line 1: the option ?[2j is refused"}},
	}
	for _, tt := range tests {
		_, wrong := parseKeys(tt.in)
		if !slices.EqualFunc(wrong, tt.want, strings.HasPrefix) {
			t.Errorf("%s: %q; want %q", tt.name, wrong, tt.want)
		}
	}
}

func FuzzParseKeys(f *testing.F) {
	f.Add("# of anna\n" + publicKey(f, 1) + " anna@laptop\n")
	f.Add(`cert-authority,principals="a,b",from="!::1" ` + publicKey(f, 2))
	f.Add("-----BEGIN OPENSSH PRIVATE KEY-----\n")
	f.Fuzz(func(t *testing.T, text string) {
		keys, wrong := parseKeys(text)
		for _, problem := range wrong {
			if !strings.HasPrefix(problem, "line ") || plain(problem) != problem {
				t.Errorf("%q gives the problem %q", text, problem)
			}
		}
		seen := map[string]bool{}
		for i := range keys {
			if line := keyLine(&keys[i]); plain(line) != line {
				t.Errorf("%q is shown as %q", text, line)
			}
			if seen[keys[i].Key] {
				t.Errorf("%q gives a key twice: %s", text, keys[i].Key)
			}
			seen[keys[i].Key] = true
		}
	})
}

func TestPickKeys(t *testing.T) {
	one, two, three := keyFor(t, publicKey(t, 1)+" desk"), keyFor(t, publicKey(t, 2)+" laptop"), keyFor(t, publicKey(t, 3)+" laptop")
	bare := keyFor(t, publicKey(t, 4))
	liar := keyFor(t, publicKey(t, 5)+" "+one.Fingerprint())
	tests := []struct {
		name   string
		keys   []account.Key
		words  []string
		picked []bool
		wrong  []string // parts of the problems
	}{
		{"by its comment", []account.Key{one, two}, []string{"laptop"}, []bool{false, true}, nil},
		{"by its fingerprint", []account.Key{two, three}, []string{three.Fingerprint()}, []bool{false, true}, nil},
		{"by both", []account.Key{one, two}, []string{"desk", one.Fingerprint()}, []bool{true, false}, nil},
		{"all", []account.Key{one, two, three}, []string{"all"}, []bool{true, true, true}, nil},
		{"a comment that is a fingerprint", []account.Key{liar, one}, []string{one.Fingerprint()}, []bool{false, true}, nil},
		{"a comment that is a fingerprint of no key", []account.Key{liar}, []string{one.Fingerprint()}, nil, []string{"is no fingerprint and no comment"}},
		{"a comment of two", []account.Key{one, two, three}, []string{"laptop"}, nil, []string{`"laptop" is the comment of 2 keys`}},
		{"nothing is no comment", []account.Key{bare}, []string{""}, nil, []string{`"" is no fingerprint`}},
		{"a part of a fingerprint", []account.Key{one}, []string{one.Fingerprint()[:20]}, nil, []string{"is no fingerprint"}},
		{"one of three words", []account.Key{one}, []string{"desk", "ALL", "de"}, nil, []string{`"ALL" is no`, `"de" is no`}},
	}
	for _, tt := range tests {
		picked, wrong := pickKeys(tt.keys, tt.words)
		if !slices.EqualFunc(wrong, tt.wrong, strings.Contains) {
			t.Errorf("%s: problems %q, want %q", tt.name, wrong, tt.wrong)
		}
		if len(wrong) == 0 && !slices.Equal(picked, tt.picked) {
			t.Errorf("%s: %v, want %v", tt.name, picked, tt.picked)
		}
	}
}

func TestRestrictions(t *testing.T) {
	now := time.Date(2031, 12, 24, 0, 0, 0, 0, time.UTC)
	key := publicKey(t, 1)
	tests := []struct{ in, want string }{
		{key, "-"},
		{"cert-authority " + key, "CA"},
		{`cert-authority,principals="anna,batch" ` + key, "CA for anna,batch"},
		{`from="192.0.2.0/24,!192.0.2.7" ` + key, "from 192.0.2.0/24,!192.0.2.7"},
		{`expiry-time="20311224Z" ` + key, "expired " + now.Local().Format(time.DateTime)},
		{`from="::1",expiry-time="20311225Z" ` + key, "from ::1; expires " + now.AddDate(0, 0, 1).Local().Format(time.DateTime)},
	}
	for _, tt := range tests {
		k := keyFor(t, tt.in)
		if got := restrictions(&k, now); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.in, got, tt.want)
		}
	}
}

// What an account needs before anybody can log in, and no more than that.
func TestLacks(t *testing.T) {
	keys := []account.Key{{Key: "ssh-ed25519 AAAA"}}
	both := []string{account.FactorKey, account.FactorPassword}
	const password, certificate = "set a password (dray user passwd)", " or a certificate (dray user set --certificate)"
	const key, orKey = "add a key (dray user key add)", ", or add a key for SFTP (dray user key add)"
	withCA := config.Config{SSH: config.SSH{UserCA: "/etc/dray/users-ca.pub"}}
	tests := []struct {
		name string
		a    account.Account
		c    config.Config
		want string
	}{
		{"nothing there", account.Account{}, config.Config{}, password + certificate + orKey},
		{"a password", account.Account{Hash: "x"}, config.Config{}, ""},
		{"a certificate", account.Account{Certificates: []string{"ca"}}, config.Config{}, ""},
		{"a key", account.Account{Keys: keys}, config.Config{}, ""},
		{"a key, and no SFTP", account.Account{Keys: keys, Protocols: []string{"ftps"}}, config.Config{}, password + certificate},
		{"a certificate, and SFTP alone", account.Account{Certificates: []string{"ca"}, Protocols: []string{"sftp"}}, config.Config{}, password + orKey},
		{"the CA of all accounts", account.Account{}, withCA, ""},
		{"both factors, nothing there", account.Account{Factors: both}, config.Config{}, key + " and " + password},
		{"both factors, a key", account.Account{Factors: both, Keys: keys}, config.Config{}, password},
		{"both factors, a password", account.Account{Factors: both, Hash: "x"}, config.Config{}, key},
		{"both factors, a password and a certificate of TLS", account.Account{Factors: both, Hash: "x", Certificates: []string{"ca"}}, config.Config{}, key},
		{"both factors, a password and the CA of all accounts", account.Account{Factors: both, Hash: "x"}, withCA, ""},
		{"both factors, both there", account.Account{Factors: both, Hash: "x", Keys: keys}, config.Config{}, ""},
		{"a key alone, a password there", account.Account{Factors: both[:1], Hash: "x"}, config.Config{}, key},
	}
	for _, tt := range tests {
		if got := lacks(&tt.a, &tt.c); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// An account has MaxKeys keys and not one more, however they come; those that take the
// place of others do not count twice.
func TestAnAccountHasAtMostMaxKeys(t *testing.T) {
	_, run := keyring(t)
	var lines strings.Builder
	for n := range account.MaxKeys {
		fmt.Fprintln(&lines, publicKey(t, n), n)
	}
	if out, err := run(lines.String(), "key", "add", "anna"); err != nil || strings.Count(out, "key added to anna: ssh-ed25519 SHA256:") != account.MaxKeys {
		t.Fatalf("%v, %s", err, out)
	}
	if out, err := run(lines.String(), "key", "add", "anna", "-"); err != nil || strings.Count(out, "key replaced in anna: ssh-ed25519 SHA256:") != account.MaxKeys {
		t.Fatalf("%v, %s", err, out)
	}
	more := publicKey(t, 7) + " changed\n" + publicKey(t, account.MaxKeys) + " one more\n"
	if _, err := run(more, "key", "add", "anna"); err == nil || !strings.Contains(err.Error(), "would have 257 keys, and may have 256") {
		t.Errorf("one more: %v", err)
	}
	out, err := run("", "key", "ls", "anna", "--lines")
	if err != nil || out != lines.String() {
		t.Errorf("%v: the keys are not those that were there:\n%s", err, out)
	}
	if _, err := run(strings.Repeat("#", maxKeyText+1), "key", "add", "anna"); err == nil || !strings.Contains(err.Error(), "is no list of keys") {
		t.Errorf("a file without an end: %v", err)
	}
}

// A key may come from anybody: its comment does nothing to the terminal where it is
// shown. The lines for a file have it as it came.
func TestNoCommentReachesATerminalAsItIs(t *testing.T) {
	_, run := keyring(t)
	line := publicKey(t, 1) + " a\x1b]0;b\tc"
	for _, args := range [][]string{
		{"key", "add", "anna"}, {"key", "add", "anna"}, {"key", "ls", "anna"}, {"show", "anna"}, {"show", "anna", "--json"},
		{"key", "ls", "anna", "--json"}, {"key", "rm", "anna", "other"},
	} {
		out, err := run(line, args...)
		if err != nil {
			out += describeError(err)
		}
		if strings.ContainsAny(out, "\x1b\t") || !strings.Contains(out, "]0;b") {
			t.Errorf("%s: %q", args, out)
		}
	}
	if out, err := run("", "key", "ls", "anna", "--lines"); err != nil || out != line+"\n" {
		t.Errorf("%q, %v", out, err)
	}
}

// JSON has every key with its fingerprint, once.
func TestKeysAndFactorsInJSON(t *testing.T) {
	_, run := keyring(t)
	line := `from="192.0.2.0/24" ` + publicKey(t, 1) + " laptop"
	key := keyFor(t, line)
	want := keyView{"ssh-ed25519", key.Fingerprint(), key}
	if out, err := run(line, "key", "add", "anna"); err != nil {
		t.Fatal(err, out)
	}
	if out, err := run("", "set", "anna", "--factors", "publickey, password"); err != nil {
		t.Fatal(err, out)
	}
	var shown, listed struct {
		Keys    []keyView `json:"keys"`
		Factors []string  `json:"factors"`
	}
	var own keyView
	for _, tt := range []struct {
		args []string
		to   any
	}{{[]string{"show", "anna", "--json"}, &shown}, {[]string{"ls", "--json"}, &listed}, {[]string{"key", "ls", "anna", "--json"}, &own}} {
		out, err := run("", tt.args...)
		if err == nil {
			err = json.Unmarshal([]byte(out), tt.to)
		}
		if err != nil || strings.Count(out, `"fingerprint"`) != 1 || strings.Count(out, `"keys"`) > 1 {
			t.Errorf("%s: %v: %s", tt.args, err, out)
		}
	}
	for _, got := range [][]keyView{shown.Keys, listed.Keys, {own}} {
		if len(got) != 1 || got[0].Type != want.Type || got[0].Fingerprint != want.Fingerprint || got[0].Line() != want.Line() {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
	if both := []string{"publickey", "password"}; !slices.Equal(shown.Factors, both) || !slices.Equal(listed.Factors, both) {
		t.Errorf("factors %q and %q", shown.Factors, listed.Factors)
	}
}
