package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWhatADirectoryWouldExpose(t *testing.T) {
	root := t.TempDir()
	at := func(parts ...string) string { return filepath.Join(append([]string{root}, parts...)...) }
	for _, dir := range []string{"state/sub", "db", "live", "archive", "etc/homes", "srv/anna"} {
		if err := os.MkdirAll(at(dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(at("archive", "key1.pem"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for link, target := range map[string]string{"live/key.pem": at("archive", "key1.pem"), "alias": at("state")} {
		if err := os.Symlink(target, at(link)); err != nil {
			t.Fatal(err)
		}
	}
	c := Config{State: at("state"), File: at("etc", "dray.toml")}
	c.Accounts.Database = at("db", "accounts.db")
	c.TLS.Certificates = []Certificate{{File: at("cert.pem.d", "cert.pem"), Key: at("live", "key.pem")}, {File: at("both", "both.pem")}}
	for _, c2 := range []struct{ name, dir, want string }{
		{"a directory apart", at("srv", "anna"), ""},
		{"a directory apart that is not there yet", at("srv", "otto", "deep"), ""},
		{"a name that only begins alike", at("state-of-art"), ""},
		{"homes beside the configuration", at("etc", "homes"), ""},
		{"no directory", "", ""},
		{"the root", "/", "holds the state directory"},
		{"the state directory", at("state"), "is the state directory"},
		{"the state directory by a link", at("alias"), "is the state directory"},
		{"in the state directory", at("state", "sub"), "lies in the state directory"},
		{"in the state directory by a link, not there yet", at("alias", "new"), "lies in the state directory"},
		{"above all", root, "holds the state directory"},
		{"the directory of the database", at("db"), "holds the accounts"},
		{"the directory of a link to a key", at("live"), "holds the private key"},
		{"the directory that the key is in", at("archive"), "holds the private key"},
		{"the directory of a key beside its certificate in one file, missing", at("both"), "holds the private key"},
		{"the directory of a certificate alone", at("cert.pem.d"), ""},
		{"the directory of the configuration", at("etc"), "holds the configuration"},
	} {
		t.Run(c2.name, func(t *testing.T) {
			if got := c.Exposes(c2.dir); !strings.HasPrefix(got, c2.want) || c2.want == "" && got != "" {
				t.Errorf("%q %q; want %q", c2.dir, got, c2.want)
			}
		})
	}
}
