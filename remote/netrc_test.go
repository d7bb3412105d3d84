package remote

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestNetrc(t *testing.T) {
	const text = `# comment
machine ftp.example.net login alice password ` + marker + ` account acct # not this
machine ftp.example.net
	login "bob smith"
	password "a \"b\" \\ #c"
macdef init
	machine evil login x password y

machine MULTI.example login u1 password p1 machine multi.example login u2 password p2
machine nologin.example password only
machine keyword.example login password password login
default login anonymous password me@example.net
`
	n, err := ParseNetrc(text)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ host, user, login, password string }{
		{"ftp.example.net", "", "alice", marker},
		{"FTP.example.net.", "alice", "alice", marker},
		{"ftp.example.net", "bob smith", "bob smith", `a "b" \ #c`},
		{"multi.example", "u2", "u2", "p2"},
		{"nologin.example", "carl", "", "only"},
		{"keyword.example", "", "password", "login"},
		{"elsewhere.example", "", "anonymous", "me@example.net"},
		{"evil", "", "anonymous", "me@example.net"},
	}
	for _, tt := range tests {
		e, ok := n.Find(tt.host, tt.user)
		if !ok || e.Login != tt.login || e.Password.Reveal() != tt.password {
			t.Errorf("Find(%q, %q) = %q %q, %v", tt.host, tt.user, e.Login, e.Password.Reveal(), ok)
		}
	}
	if e, ok := n.Find("ftp.example.net", "eve"); ok {
		t.Errorf("eve has the login of %q", e.Login)
	}
	if e, _ := n.Find("ftp.example.net", "alice"); e.Account.Reveal() != "acct" || e.Line != 2 {
		t.Errorf("account %q, line %d", e.Account.Reveal(), e.Line)
	}
	if len(n.Warnings) != 0 {
		t.Errorf("warnings %q", n.Warnings)
	}
}

func TestNetrcErrors(t *testing.T) {
	for in, want := range map[string]string{
		"machine":                              "1: nothing follows machine",
		"\nmachine a login":                    "2: nothing follows login",
		"login a":                              "1: login stands before",
		"machine a password \"" + marker:       "1: a quote that does not end",
		"machine a password \"x\\n\"":          "1: a line end",
		"machine \"\"":                         "1: a machine without a name",
		strings.Repeat("machine a ", 50_001):   "more than 100000 words",
		"machine " + strings.Repeat("a", 5000): "more than 4096 bytes",
	} {
		_, err := ParseNetrc(in)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), marker) {
			t.Errorf("%.40q: %v", in, err)
		}
	}
	n, err := ParseNetrc("machine a login b password c " + marker + "\n")
	if err != nil || len(n.Warnings) != 1 || strings.Contains(n.Warnings[0], marker) {
		t.Errorf("%v, %q", err, n.Warnings)
	}
}

func TestLoadNetrc(t *testing.T) {
	home := t.TempDir()
	env := func(string) string { return "" }
	if n, err := LoadNetrc(NetrcFile(env, home)); err != nil || len(n.entries) != 0 {
		t.Error(err)
	}
	file := filepath.Join(home, ".netrc")
	if err := os.WriteFile(file, []byte("machine a login b password "+marker), 0o644); err != nil {
		t.Fatal(err)
	}
	n, err := LoadNetrc(NetrcFile(env, home))
	if err != nil || len(n.Warnings) != 1 || !strings.Contains(n.Warnings[0], "chmod 600 "+file) {
		t.Fatalf("%v, %q", err, n.Warnings)
	}
	if err := os.Chmod(file, 0o600); err != nil {
		t.Fatal(err)
	}
	if n, _ = LoadNetrc(file); len(n.Warnings) != 0 {
		t.Errorf("%q", n.Warnings)
	}
	if got := NetrcFile(func(k string) string { return map[string]string{"NETRC": "~/other"}[k] }, home); got != filepath.Join(home, "other") {
		t.Error(got)
	}
	if err := os.WriteFile(file, make([]byte, maxNetrc+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadNetrc(file); err == nil {
		t.Error("a file of more than 1 MiB")
	}
}

// Whatever a file says, an entry that is written down again is found again.
func FuzzNetrc(f *testing.F) {
	f.Add("machine a login b password \"c\\\" d\" account x\ndefault login y\nmacdef z\nfoo\n\nmachine e")
	f.Add("machine # x\n b macdef\nlogin macdef macdef")
	f.Fuzz(func(t *testing.T, s string) {
		n, err := ParseNetrc(s)
		if err != nil {
			return
		}
		quote := func(s string) string {
			return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`).Replace(s) + `"`
		}
		var b strings.Builder
		for _, e := range n.entries {
			if strings.ContainsAny(e.Machine+e.Login+e.Password.Reveal()+e.Account.Reveal(), "\x00\r\n") {
				t.Fatalf("%q: a line end in an entry", s)
			}
			if e.Machine == "" {
				b.WriteString("default")
			} else {
				b.WriteString("machine " + quote(e.Machine))
			}
			if e.Login != "" {
				b.WriteString(" login " + quote(e.Login))
			}
			if e.HasPassword {
				b.WriteString(" password " + quote(e.Password.Reveal()))
			}
			b.WriteString("\n")
		}
		again, err := ParseNetrc(b.String())
		if err != nil {
			t.Fatalf("%q written as %q: %v", s, b.String(), err)
		}
		if len(again.entries) != len(n.entries) {
			t.Fatalf("%q written as %q: %d entries", s, b.String(), len(again.entries))
		}
		for i, e := range n.entries {
			o := again.entries[i]
			if o.Machine != e.Machine || o.Login != e.Login || o.Password.Reveal() != e.Password.Reveal() {
				t.Fatalf("%q written as %q", s, b.String())
			}
		}
	})
}
