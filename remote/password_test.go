package remote

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dray/account"
)

func TestPasswordsInOrder(t *testing.T) {
	hosts, err := LoadHosts(hostsFile(t, `[prod]
url = "sftp://alice@h"
password-command = "echo from-command"
[kept]
url = "sftp://h"
user = "alice"
password = "from-store"
`, 0o600))
	if err != nil {
		t.Fatal(err)
	}
	netrc, err := ParseNetrc("machine h login alice password from-netrc account acct\nmachine f login bob password from-bob\ndefault login anonymous password me@x")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "pw")
	if err := os.WriteFile(file, []byte("from-file\r\nsecond"), 0o600); err != nil {
		t.Fatal(err)
	}
	ask := func(_ context.Context, u URL) (account.Secret, error) {
		return account.NewSecret("asked-" + u.User), nil
	}
	env := PasswordEnv{Password: account.NewSecret("from-env"), Given: true, Command: "echo from-env-command"}
	tests := []struct {
		name, url          string
		p                  Passwords
		user, want, source string
	}{
		{"a command of the command line is first", "sftp://alice:x@h", Passwords{Command: "printf 'one\\ntwo'", File: file, Env: env}, "alice", "one", "--password-cmd"},
		{"then a file", "sftp://alice:x@h", Passwords{File: file, Env: env}, "alice", "from-file", "--password-file"},
		{"then the variable", "sftp://alice:x@h", Passwords{Env: env}, "alice", "from-env", "DRAY_PASSWORD"},
		{"then its command", "sftp://alice:x@h", Passwords{Env: PasswordEnv{Command: env.Command}}, "alice", "from-env-command", "DRAY_PASSWORD_CMD"},
		{"then the URL", "sftp://alice:from-url@h", Passwords{}, "alice", "from-url", "the URL"},
		{"then the command of a stored host", "prod:", Passwords{}, "alice", "from-command", "password-command of the stored host prod"},
		{"then its password", "kept:", Passwords{}, "alice", "from-store", "the stored host kept"},
		{"what is stored for one user is not another's", "eve@kept:", Passwords{Ask: ask}, "eve", "asked-eve", "the terminal"},
		{"then netrc", "sftp://alice@h", Passwords{Ask: ask}, "alice", "from-netrc", "netrc, line 1"},
		{"netrc names the user too", "ftp://f", Passwords{Ask: ask}, "bob", "from-bob", "netrc, line 2"},
		{"somebody is asked last", "sftp://carl@h", Passwords{Ask: ask}, "carl", "asked-carl", "the terminal"},
		{"nobody can be asked", "sftp://carl@h", Passwords{}, "carl", "", ""},
		{"nobody is asked for anonymous", "ftp://anonymous@h", Passwords{Ask: ask, Env: env}, "anonymous", "me@x", "netrc, line 3"},
		{"the default of netrc is none of SFTP", "sftp://other", Passwords{Ask: ask}, "", "asked-", "the terminal"},
		{"nor without a user over FTP", "ftp://other", Passwords{Ask: ask, Env: env, Netrc: &Netrc{}}, "", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			u, err := Parse(tt.url, hosts)
			if err != nil {
				t.Fatal(err)
			}
			tt.p.Hosts = hosts
			if tt.p.Netrc == nil {
				tt.p.Netrc = netrc
			}
			l, err := tt.p.Find(t.Context(), u)
			if err != nil {
				t.Fatal(err)
			}
			if l.User != tt.user || l.Password.Reveal() != tt.want || l.From != tt.source || l.HasPassword != (tt.source != "") {
				t.Errorf("%q %q from %q", l.User, l.Password.Reveal(), l.From)
			}
			if tt.want != "" && strings.Contains(fmt.Sprintf("%+v %#v", l, l), tt.want) {
				t.Errorf("it prints: %+v", l)
			}
		})
	}
}

func TestPasswordFailures(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string, mode os.FileMode) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return name
	}
	u := URL{Scheme: SFTP, User: "alice", Host: "h"}
	for _, tt := range []struct {
		p    Passwords
		want string
	}{
		{Passwords{Command: "exit 3"}, "--password-cmd: exit status 3"},
		{Passwords{Command: "true '" + marker + "'"}, "it printed nothing"},
		{Passwords{Command: "echo '" + marker + "'; exit 1"}, "exit status 1"},
		{Passwords{Command: "yes | tr -d '\\n'"}, "without an end"},
		{Passwords{Command: "head -c 5000 /dev/zero | tr '\\0' x"}, "longer than 4096"},
		{Passwords{File: filepath.Join(dir, "none")}, "--password-file: open"},
		{Passwords{File: file("empty", "\n"+marker, 0o600)}, "the first line is empty"},
		{Passwords{File: file("nul", "a\x00b", 0o600)}, "NUL"},
		{Passwords{Ask: func(context.Context, URL) (account.Secret, error) { return account.Secret{}, errors.New("no terminal") }}, "no terminal"},
	} {
		_, err := tt.p.Find(t.Context(), u)
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), marker) {
			t.Errorf("%+v: %v, want %q", tt.p, err, tt.want)
		}
	}
	l, err := (&Passwords{File: file("open", marker, 0o644)}).Find(t.Context(), u)
	if err != nil || len(l.Warnings) != 1 || !strings.Contains(l.Warnings[0], "chmod 600") {
		t.Errorf("%v, %q", err, l.Warnings)
	}
}

func TestACommandEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	began := time.Now()
	_, err := (&Passwords{Command: "sleep 30; echo x"}).Find(ctx, URL{Scheme: SFTP, User: "a", Host: "h"})
	if !errors.Is(err, context.Canceled) || time.Since(began) > 5*time.Second {
		t.Errorf("%v after %v", err, time.Since(began))
	}
}

func TestACommandsComplaintsArePassedOn(t *testing.T) {
	var stderr strings.Builder
	l, err := (&Passwords{Command: "echo touch your key >&2; echo pw", Stderr: &stderr}).Find(t.Context(), URL{Scheme: SFTP, User: "a", Host: "h"})
	if err != nil || l.Password.Reveal() != "pw" || stderr.String() != "touch your key\n" {
		t.Errorf("%v, %q", err, stderr.String())
	}
}

func TestTheEnvironmentIsCleared(t *testing.T) {
	t.Setenv("DRAY_PASSWORD", marker)
	t.Setenv("DRAY_PASSWORD_CMD", "echo "+marker)
	e := TakePasswordEnv()
	if !e.Given || e.Password.Reveal() != marker || e.Command != "echo "+marker {
		t.Errorf("%+v", e)
	}
	l, err := (&Passwords{Command: "env; echo; true"}).Find(t.Context(), URL{Scheme: SFTP, User: "a", Host: "h"})
	if err != nil || strings.Contains(l.Password.Reveal(), marker) || strings.Contains(strings.Join(os.Environ(), "\n"), marker) {
		t.Errorf("it is still there: %v", err)
	}
	if e := TakePasswordEnv(); e.Given || e.Command != "" {
		t.Error("read twice")
	}
}
