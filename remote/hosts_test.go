package remote

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"dray/account"
)

const goodHosts = `# ours
[prod] # the site
url = "ftp+tls://ftp.example.net:2121/www"
user = "alice"
trust = "tofu"
password-command = "pass show prod"

# the box in the cellar
["box.local"]
url = 'sftp://bob@box.local'
identity = "~/.ssh/box"
jump = "bastion"
path = "~/data"
parallel = 3

[old.example]
url = "ftp://old.example"
plain = true
active = true
charset = "latin1"
password = "` + marker + `"
port = 2100
`

func hostsFile(t testing.TB, text string, mode os.FileMode) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "dray", "hosts.toml")
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestLoadHosts(t *testing.T) {
	h, err := LoadHosts(hostsFile(t, goodHosts, 0o600))
	if err != nil {
		t.Fatal(err)
	}
	if len(h.List()) != 3 || len(h.Warnings) != 0 {
		t.Fatalf("%d hosts, warnings %q", len(h.List()), h.Warnings)
	}
	old, ok := h.Get("old.example")
	if !ok || old.Password.Reveal() != marker || !old.Plain || !old.Active || old.Port != 2100 || old.Exposed {
		t.Errorf("old.example is %+v", old)
	}
	if u, err := Parse("box.local:x", h); err != nil || u.String() != "sftp://bob@box.local/~/data/x" {
		t.Errorf("box.local:x is %v, %v", u, err)
	}
	if none, err := LoadHosts(filepath.Join(t.TempDir(), "none")); err != nil || len(none.List()) != 0 {
		t.Errorf("a missing file: %v", err)
	}
}

func TestAPasswordThatOthersMayReadIsNotUsed(t *testing.T) {
	h, err := LoadHosts(hostsFile(t, goodHosts, 0o644))
	if err != nil {
		t.Fatal(err)
	}
	if len(h.Warnings) != 1 || !strings.Contains(h.Warnings[0], "chmod 600") || strings.Contains(h.Warnings[0], marker) {
		t.Errorf("warnings %q", h.Warnings)
	}
	u, _ := Parse("bob@old.example:", h)
	if l, err := (&Passwords{Hosts: h}).Find(t.Context(), u); err != nil || l.HasPassword {
		t.Errorf("it was used: %+v, %v", l, err)
	}
}

func TestAllProblemsOfAFileAreTold(t *testing.T) {
	text := `user = "nobody"
[a]
url = "ftp://h"
[sftp]
url = "sftp://h"
[one]
url = "http://h"
port = "21"
port = 22
[two]
user = "x"
colour = "red"
password = 1
[[three]]
url = "ftp://h"
[four]
url = "ftp://u:` + marker + `@h"
plain = "yes"
trust = "me"
charset = "klingon"
parallel = 65
[five]
url = "sftp://bob@h:22"
user = "eve"
port = 2222
plain = true
[five]
url = "sftp://h"
six = = 7
[seven]
`
	_, err := LoadHosts(hostsFile(t, text, 0o600))
	var bad *HostsError
	if !errors.As(err, &bad) {
		t.Fatal(err)
	}
	for _, want := range []string{
		":1: stands below no", ":2: the name of a stored host", ":4: sftp: is a protocol", ":7: url: ", ":8: port is a number", ":9: port is there twice",
		":10: two has no url", ":12: unknown key", ":13: password is a text in quotes", ":14: write [three]", ":17: url: has a password in it", ":18: plain is true or false",
		":19: trust: trust is ca, tofu", ":20: charset: ", ":21: parallel: is a number from 1 to 64", ":22: five has one user", ":22: five has one port",
		":22: five has plain", ":27: five is there twice", ":29: not TOML",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in\n%v", want, err)
		}
	}
	if strings.Contains(err.Error(), marker) {
		t.Error("the password is in the problems")
	}
}

// Other entries and their comments stay as they are written.
func TestChangesLeaveTheRestAlone(t *testing.T) {
	file := hostsFile(t, goodHosts, 0o644)
	h, err := LoadHosts(file)
	if err != nil {
		t.Fatal(err)
	}
	box, _ := h.Get("box.local")
	box.Parallel, box.Path = 5, "a \"b\"\\\t\u0085ü"
	if err := h.Set(box); err != nil {
		t.Fatal(err)
	}
	if err := h.Set(Host{Name: "new", URL: "sftp://[::1]", Password: account.NewSecret(marker), HasPassword: true}); err != nil {
		t.Fatal(err)
	}
	if ok, err := h.Remove("prod"); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if ok, _ := h.Remove("prod"); ok {
		t.Error("removed twice")
	}
	if err := h.Save(); err != nil {
		t.Fatal(err)
	}
	if fi, _ := os.Stat(file); fi.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", fi.Mode())
	}
	text, _ := os.ReadFile(file)
	old := goodHosts[strings.Index(goodHosts, "[old.example]"):]
	if !strings.Contains(string(text), old) || !strings.Contains(string(text), "# the box in the cellar\n[\"box.local\"]") || !strings.HasPrefix(string(text), "# ours\n") {
		t.Errorf("the file is\n%s", text)
	}
	again, err := LoadHosts(file)
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := again.Get("box.local"); !reflect.DeepEqual(got, box) {
		t.Errorf("%+v was stored as %+v", box, got)
	}
	if got, _ := again.Get("new"); got.Password.Reveal() != marker {
		t.Error("the password was not stored")
	}
}

func TestABadEntryIsNotStored(t *testing.T) {
	h, _ := LoadHosts(filepath.Join(t.TempDir(), "d", "hosts.toml"))
	for _, one := range []Host{
		{Name: "x", URL: "ftp://h"}, {Name: "ftps", URL: "ftp://h"}, {Name: "a b", URL: "ftp://h"}, {Name: "ok"}, {Name: "ok", URL: "h:"},
		{Name: "ok", URL: "ftp://h", Path: "a\nb"}, {Name: "ok", URL: "ftp://u:" + marker + "@h"}, {Name: "ok", URL: "ftp://h", User: "a\xff"},
		{Name: "ok", URL: "sftp://h", Jump: "-oX"},
	} {
		err := h.Set(one)
		if err == nil || strings.Contains(err.Error(), marker) {
			t.Errorf("Set(%+v): %v", one, err)
		}
	}
	if err := h.Set(Host{Name: "ok", URL: "ftp://h"}); err != nil {
		t.Error(err)
	}
	if err := h.Save(); err != nil {
		t.Error(err)
	}
}

func TestAFileThatChangedMeanwhileIsLeftAlone(t *testing.T) {
	file := hostsFile(t, goodHosts, 0o600)
	h, _ := LoadHosts(file)
	if err := os.WriteFile(file, []byte("broken ["), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Remove("prod"); err != nil {
		t.Fatal(err)
	}
	if err := h.Save(); err == nil || !strings.Contains(err.Error(), "changed meanwhile") {
		t.Error(err)
	}
	if b, _ := os.ReadFile(file); string(b) != "broken [" {
		t.Errorf("the file is %q", b)
	}
}

// A file that loads keeps its hosts through any change of another.
func FuzzHosts(f *testing.F) {
	f.Add(goodHosts)
	f.Add("[ab]\nurl=\"ftp://h\"\n[cd] # x\r\nurl='sftp://h'\r\n#end")
	f.Add("[ab]\nurl = \"\"\"\nftp://h\"\"\"\n")
	f.Add("[ab]\nurl.x = 1\n")
	f.Fuzz(func(t *testing.T, s string) {
		h, err := parseHosts("f", []byte(s))
		if err != nil {
			var bad *HostsError
			if !errors.As(err, &bad) || len(bad.Problems) == 0 {
				t.Fatalf("%q: %v", s, err)
			}
			for _, p := range bad.Problems {
				if p.Line < 1 || p.Line > strings.Count(s, "\n")+1 {
					t.Fatalf("%q: line %d", s, p.Line)
				}
			}
			return
		}
		was := h.List()
		if err := h.Set(Host{Name: "zz-new", URL: "ftp://new"}); err != nil {
			t.Fatalf("%q: add: %v", s, err)
		}
		for _, one := range was {
			if one.Name == "zz-new" {
				return
			}
			if err := h.Set(one); err != nil {
				t.Fatalf("%q: set %s again: %v", s, one.Name, err)
			}
		}
		if _, err := h.Remove("zz-new"); err != nil {
			t.Fatalf("%q: remove: %v", s, err)
		}
		if !reflect.DeepEqual(h.List(), was) && len(was) > 0 {
			t.Fatalf("%q:\n%+v\nbecame\n%+v", s, was, h.List())
		}
	})
}
