package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// good is a configuration without problems.
func good(t *testing.T) Quick {
	t.Helper()
	return Quick{Dir: t.TempDir(), State: t.TempDir()}.Defaults()
}

func TestTheDefaultsHaveNoProblems(t *testing.T) {
	if ps := good(t).Check(); len(ps) != 0 {
		t.Errorf("Check() = %v", ps)
	}
}

func TestDefaultsSetOnlyWhatIsNotSet(t *testing.T) {
	got := Quick{}.Defaults()
	if got.User != "dray" || got.Passive != DefaultPassive || got.Sync != "commit" || got.State != StateDir() {
		t.Errorf("Defaults() = %+v", got)
	}
	if got.FTP != "" || got.FTPS != "" || got.Public != "" || got.Anonymous || got.ReadOnly || got.Plain {
		t.Errorf("Defaults() = %+v; switches and addresses have none", got)
	}
	set := Quick{User: "scanner", Passive: "40000-40099", Sync: "none", State: "/elsewhere", FTP: Off}
	if got := set.Defaults(); got.User != set.User || got.Passive != set.Passive || got.Sync != set.Sync ||
		got.State != set.State || got.FTP != Off {
		t.Errorf("Defaults() = %+v, changed what was set", got)
	}
}

func TestWhereStateIsKept(t *testing.T) {
	if os.Geteuid() == 0 {
		if got := StateDir(); got != "/var/lib/dray" {
			t.Errorf("StateDir() of root = %q", got)
		}
		return
	}
	t.Setenv("HOME", "/home/anna")
	for _, tt := range []struct{ name, xdg, want string }{
		{"where the environment says", "/state", "/state/dray"},
		{"below the home directory", "", "/home/anna/.local/state/dray"},
		{"a relative path does not count", "state", "/home/anna/.local/state/dray"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("XDG_STATE_HOME", tt.xdg)
			if got := StateDir(); got != tt.want {
				t.Errorf("StateDir() = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestCheck(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(t.TempDir(), "missing")
	tests := []struct {
		name  string
		set   func(*Quick)
		field string // "" when nothing is wrong
		what  string // a part of it
	}{
		{"no directory", func(c *Quick) { c.Dir = "" }, "DIR", "no directory is named"},
		{"a directory that is not there", func(c *Quick) { c.Dir = missing }, "DIR", `"` + missing + `" can't be served: no such file or directory`},
		{"a file in place of a directory", func(c *Quick) { c.Dir = file }, "DIR", "is not a directory"},

		{"a user of any name", func(c *Quick) { c.User = "Ännä O'Hara" }, "", ""},
		{"a user with a line break", func(c *Quick) { c.User = "a\nb" }, "--user", "control characters"},
		{"a user with DEL", func(c *Quick) { c.User = "a\x7f" }, "--user", "control characters"},
		{"a user of 255 bytes", func(c *Quick) { c.User = strings.Repeat("a", 255) }, "", ""},
		{"a user of 256 bytes", func(c *Quick) { c.User = strings.Repeat("a", 256) }, "--user", "255 bytes"},
		{"a user named as the strangers", func(c *Quick) { c.User, c.Anonymous = "FTP", true }, "--user", `"FTP" is the name of the anonymous account`},
		{"a user of that name where there are none", func(c *Quick) { c.User = "ftp" }, "", ""},

		{"an address with a port", func(c *Quick) { c.FTP = "192.0.2.1:21" }, "", ""},
		{"an IPv6 address with a port", func(c *Quick) { c.FTPS = "[2001:db8::1]:990" }, "", ""},
		{"a port with a colon", func(c *Quick) { c.FTP = ":2121" }, "", ""},
		{"a port alone", func(c *Quick) { c.FTP = "2121" }, "", ""},
		{"any free port", func(c *Quick) { c.FTP, c.FTPS = "0", ":0" }, "", ""},
		{"any free port twice", func(c *Quick) { c.FTP, c.FTPS = "0", "0" }, "", ""},
		{"an address without port", func(c *Quick) { c.FTP = "192.0.2.1" }, "--ftp", "is no port"},
		{"an IPv6 address without brackets", func(c *Quick) { c.FTP = "2001:db8::1" }, "--ftp", `"2001:db8::1" is no address to listen on`},
		{"a port that is none", func(c *Quick) { c.FTP = ":65536" }, "--ftp", `"65536" is no port`},
		{"a negative port", func(c *Quick) { c.FTPS = ":-1" }, "--ftps", `"-1" is no port`},
		{"a word", func(c *Quick) { c.FTPS = "none" }, "--ftps", `"none" is no port`},
		{"one listener off", func(c *Quick) { c.FTP = Off }, "", ""},
		{"all but SFTP off", func(c *Quick) { c.FTP, c.FTPS = Off, Off }, "", ""},
		{"all listeners off", func(c *Quick) { c.FTP, c.FTPS, c.SFTP = Off, Off, Off }, "--ftp, --ftps, --sftp", "all listeners are off"},
		{"SFTP at the address of FTP", func(c *Quick) { c.FTP, c.SFTP = ":2121", ":2121" }, "--sftp", "the same address"},
		{"SFTP at a word", func(c *Quick) { c.SFTP = "ssh" }, "--sftp", `"ssh" is no port`},
		{"keys that are not there", func(c *Quick) { c.Keys = "/nowhere/keys" }, "--authorized-keys", "no such file"},
		{"the same address twice", func(c *Quick) { c.FTP, c.FTPS = ":2121", ":2121" }, "--ftps", "the same address"},
		{"also when it is written in two ways", func(c *Quick) { c.FTP, c.FTPS = "2121", ":2121" }, "--ftps", "the same address"},
		{"the same port of two addresses", func(c *Quick) { c.FTP, c.FTPS = "192.0.2.1:21", "192.0.2.2:21" }, "", ""},

		{"a range", func(c *Quick) { c.Passive = "40000-40099" }, "", ""},
		{"a single port", func(c *Quick) { c.Passive = "40000" }, "", ""},
		{"a range with blanks", func(c *Quick) { c.Passive = "40000 - 40099" }, "", ""},
		{"a range that runs backwards", func(c *Quick) { c.Passive = "40099-40000" }, "--passive", "ends before it begins"},
		{"a range of services", func(c *Quick) { c.Passive = "1000-2000" }, "--passive", "below port 1024"},
		{"a range above the last port", func(c *Quick) { c.Passive = "65000-66000" }, "--passive", "is no range"},
		{"half a range", func(c *Quick) { c.Passive = "40000-" }, "--passive", "is no range"},
		{"a range from nothing", func(c *Quick) { c.Passive = "0-40000" }, "--passive", "is no range"},
		{"a range of words", func(c *Quick) { c.Passive = "all" }, "--passive", "is no range"},

		{"a public address", func(c *Quick) { c.Public = "198.51.100.7" }, "", ""},
		{"a public IPv6 address", func(c *Quick) { c.Public = "2001:db8::1" }, "", ""},
		{"a public name", func(c *Quick) { c.Public = "ftp.example.net" }, "", ""},
		{"a public name with its dot", func(c *Quick) { c.Public = "ftp.example.net." }, "", ""},
		{"a public address with a port", func(c *Quick) { c.Public = "198.51.100.7:21" }, "--public", "neither an address nor a host name"},
		{"a public URL", func(c *Quick) { c.Public = "ftp://ftp.example.net" }, "--public", "neither an address nor a host name"},
		{"a public name with an empty label", func(c *Quick) { c.Public = "ftp..net" }, "--public", "neither an address nor a host name"},
		{"a public name that is too long", func(c *Quick) { c.Public = strings.Repeat("a.", 127) }, "--public", "neither an address nor a host name"},
		{"the wildcard address as public", func(c *Quick) { c.Public = "0.0.0.0" }, "--public", "no address that a client could reach"},
		{"a public address with a zone", func(c *Quick) { c.Public = "fe80::1%eth0" }, "--public", "no address that a client could reach"},

		{"writing without sync", func(c *Quick) { c.Sync = "none" }, "", ""},
		{"another way to write", func(c *Quick) { c.Sync = "always" }, "--sync", `"always" is not a way to write`},
		{"no place for state", func(c *Quick) { c.State = "" }, "--state", "no home directory is known"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := good(t)
			tt.set(&c)
			ps := c.Check()
			switch {
			case tt.field == "" && len(ps) != 0:
				t.Errorf("Check() = %v, want nothing", ps)
			case tt.field == "":
			case len(ps) != 1 || ps[0].Field != tt.field || !strings.Contains(ps[0].What, tt.what):
				t.Errorf("Check() = %v, want one problem of %s: %s", ps, tt.field, tt.what)
			}
		})
	}
}

func TestAllProblemsAreListedAtOnce(t *testing.T) {
	c := Quick{
		User: "a\x00", FTP: ":ftp", FTPS: "none", Passive: "9-1", Public: "a b", Sync: "sometimes",
	}
	var fields []string
	for _, p := range c.Check() {
		fields = append(fields, p.Field)
		if p.What == "" || p.Do == "" || p.String() != p.Field+": "+p.What+"; "+p.Do {
			t.Errorf("%+v is told as %q", p, p)
		}
	}
	if want := []string{"DIR", "--user", "--ftp", "--ftps", "--passive", "--public", "--sync", "--state"}; !slices.Equal(fields, want) {
		t.Errorf("problems of %q, want %q", fields, want)
	}
}

func TestSplitAddr(t *testing.T) {
	tests := []struct {
		in, host string
		port     uint16
	}{
		{"21", "", 21},
		{":21", "", 21},
		{"0", "", 0},
		{"192.0.2.1:65535", "192.0.2.1", 65535},
		{"[::]:21", "::", 21},
		{"[fe80::1%eth0]:21", "fe80::1%eth0", 21},
		{"localhost:2121", "localhost", 2121},
	}
	for _, tt := range tests {
		host, port, err := SplitAddr(tt.in)
		if err != nil || host != tt.host || port != tt.port {
			t.Errorf("SplitAddr(%q) = %q, %d, %v; want %q, %d", tt.in, host, port, err, tt.host, tt.port)
		}
	}
}

func TestPassiveRange(t *testing.T) {
	tests := []struct {
		in          string
		first, last uint16
	}{
		{DefaultPassive, 30000, 30999},
		{"1024-65535", 1024, 65535},
		{"40000", 40000, 40000},
		{" 40000 - 40001 ", 40000, 40001},
	}
	for _, tt := range tests {
		first, last, err := PassiveRange(tt.in)
		if err != nil || first != tt.first || last != tt.last {
			t.Errorf("PassiveRange(%q) = %d, %d, %v; want %d, %d", tt.in, first, last, err, tt.first, tt.last)
		}
	}
}

// What is taken is a range that is not empty and has no ports of services.
func FuzzPassiveRange(f *testing.F) {
	for _, s := range []string{DefaultPassive, "40000", "", "-", "1-2", "65535-65536", "2-1", "40000-40000-40000"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		first, last, err := PassiveRange(s)
		if err == nil && (first < 1024 || last < first) {
			t.Errorf("PassiveRange(%q) = %d, %d", s, first, last)
		}
		if err != nil && (first != 0 || last != 0) {
			t.Errorf("PassiveRange(%q) = %d, %d with %v", s, first, last, err)
		}
	})
}
