package cli

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"dray/certs"
	"dray/config"
)

// Each port is tried by itself, and the high ones too.
func TestInitConfiguresThePortsThatCanBeHad(t *testing.T) {
	const taken = "is in use by another program (ss -ltnp names it)"
	in := func(ports ...int) map[int]error {
		m := map[int]error{}
		for _, p := range ports {
			m[p] = &net.OpError{Op: "listen", Err: syscall.EADDRINUSE}
		}
		return m
	}
	for _, tt := range []struct {
		name   string
		refuse map[int]error
		want   string // ports; "" for no listener, which are the standard ones
		said   []string
	}{
		{"all are free", nil, "", nil},
		{"990 is busy", in(990), "ftp:21 ftps:2990 sftp:22", []string{"port 990 " + taken + ": 2990 is configured"}},
		{"21 is busy", in(21), "ftp:2121 ftps:990 sftp:22", []string{"port 21 " + taken + ": 2121 is configured"}},
		{"sshd has 22", in(22), "ftp:21 ftps:990 sftp:2022", []string{"port 22 " + taken + ": 2022 is configured"}},
		{"and another program 2022", in(22, 2022), "ftp:21 ftps:990 sftp:2222", []string{"port 22 " + taken + ": 2022 is configured", "port 2022 " + taken + ": 2222 is configured"}},
		{"a high one is busy that is not needed", in(2121), "", nil},
		{"990 and 2990 are busy", in(990, 2990), "ftp:21 ftps:2990 sftp:22",
			[]string{"port 990 " + taken + ": 2990 is configured", "port 2990 " + taken + ": write a free port under [[listener]] before the server starts"}},
		{"low ones may not be bound", map[int]error{21: syscall.EACCES, 990: syscall.EACCES}, "ftp:2121 ftps:2990 sftp:22",
			[]string{"port 21 needs the capability CAP_NET_BIND_SERVICE or root: 2121 is configured", "port 990 needs the capability CAP_NET_BIND_SERVICE or root: 2990 is configured"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ls, said := listeners(func(port int) error { return tt.refuse[port] })
			var got []string
			for _, l := range ls {
				got = append(got, fmt.Sprint(l.Protocol, strings.Join(l.Listen, ",")))
			}
			if text := strings.Join(got, " "); text != tt.want {
				t.Errorf("listeners %q, want %q", text, tt.want)
			}
			if want := strings.Join(tt.said, "\n"); said != want {
				t.Errorf("said:\n%s\nwant:\n%s", said, want)
			}
			c := config.Defaults()
			c.Listeners = ls
			if read, problems := config.Parse("dray.toml", []byte(config.Commented(c)), nil); len(problems) > 0 || len(read.Listeners) != len(ls) {
				t.Errorf("%d listeners come back from the file, and %v", len(read.Listeners), problems)
			}
		})
	}
}

// asRoot is for what only root can do, as giving files away. CI is root.
func asRoot(t *testing.T) {
	t.Helper()
	switch {
	case os.Geteuid() == 0:
	case os.Getenv("CI") != "":
		t.Fatal("CI must run this as root")
	default:
		t.Skip("SKIPPED: only root can give files away; run it as root")
	}
}

// Whoever tried "dray serve DIR" as root has a certificate that is root's.
func TestInitGivesTheServerAStateDirectoryThatRootHasUsed(t *testing.T) {
	asRoot(t)
	const uid, gid = 12345, 54321
	for _, tt := range []struct {
		name  string
		files []string
		mode  os.FileMode
		given bool
		note  string
	}{
		{"it is empty", nil, 0o700, true, "belongs to the user of the server now"},
		{"it has the certificate", []string{certs.SelfSignedFile, certs.PublicFile}, 0o755, true, "belongs to the user of the server now"},
		{"it has something else too", []string{certs.SelfSignedFile, "id_rsa"}, 0o700, false, "holds more than a certificate: the server can use it after chown -R 12345:54321 "},
		{"others can write there", []string{certs.SelfSignedFile}, 0o777, false, "chown -R"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "state")
			if err := os.Mkdir(dir, tt.mode); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(dir, tt.mode); err != nil { // whatever the umask says
				t.Fatal(err)
			}
			all := []string{dir}
			for _, name := range tt.files {
				all = append(all, filepath.Join(dir, name))
				if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			note, err := inherit(dir, uid, gid)
			if err != nil || !strings.Contains(note, tt.note) {
				t.Errorf("inherit: %q, %v; want %q", note, err, tt.note)
			}
			wantUID, wantGID := 0, 0
			if tt.given {
				wantUID, wantGID = uid, gid
			}
			for _, name := range all {
				if u, g, _ := ownerOf(name); u != wantUID || g != wantGID && tt.given {
					t.Errorf("%s belongs to %d:%d, want %d:%d", name, u, g, wantUID, wantGID)
				}
			}
			if note, err := inherit(dir, uid, gid); tt.given && (note != "" || err != nil) {
				t.Errorf("a second time: %q, %v", note, err)
			}
		})
	}
	if note, err := inherit(filepath.Join(t.TempDir(), "missing"), uid, gid); note != "" || err != nil {
		t.Errorf("a directory that is missing: %q, %v", note, err)
	}
}

// A certificate there may be a link to another file of root's.
func TestInitGivesNoLinkAway(t *testing.T) {
	asRoot(t)
	dir := t.TempDir()
	other := filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(other, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(other, filepath.Join(dir, certs.SelfSignedFile)); err != nil {
		t.Fatal(err)
	}
	if note, err := inherit(dir, 12345, 54321); err != nil || !strings.Contains(note, "chown") {
		t.Errorf("inherit: %q, %v", note, err)
	}
	for _, name := range []string{dir, other} {
		if u, _, _ := ownerOf(name); u != 0 {
			t.Errorf("%s belongs to %d", name, u)
		}
	}
}

// The unit would start nothing where the program is below a directory of root's own.
func TestInitSeesThatTheServerCanNotReachTheProgram(t *testing.T) {
	top := t.TempDir()
	if err := os.Chmod(filepath.Dir(top), 0o755); err != nil { // the test's own too
		t.Fatal(err)
	}
	outer := "" // a directory of the test's place may be closed, too
	for dir := top; dir != filepath.Dir(dir) && outer == ""; dir = filepath.Dir(dir) {
		if fi, err := os.Stat(dir); err == nil && fi.Mode()&0o001 == 0 {
			outer = dir
		}
	}
	closed := filepath.Join(top, "closed")
	if err := os.MkdirAll(filepath.Join(closed, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(closed, "bin", "dray")
	uid, gid := os.Getuid()+12345, os.Getgid()+12345
	if got := closedAbove(program, uid, gid); got != outer {
		t.Errorf("closedAbove = %q, want %q", got, outer)
	}
	if err := os.Chmod(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	if got := closedAbove(program, uid, gid); got != closed {
		t.Errorf("closedAbove = %q, want %q", got, closed)
	}
}

// What stands in the unit is read by systemd, and what is to be typed by a shell.
func TestPathsWithABlankReachTheirProgram(t *testing.T) {
	for _, tt := range []struct{ path, unit, shell string }{
		{"/etc/dray/dray.toml", "/etc/dray/dray.toml", "/etc/dray/dray.toml"},
		{"/srv/my files", `"/srv/my files"`, "'/srv/my files'"},
		{"/srv/100%", "/srv/100%%", "'/srv/100%'"},
		{`/srv/a"b\c`, `"/srv/a\"b\\c"`, `'/srv/a"b\c'`},
		{"/srv/it's", `"/srv/it's"`, `'/srv/it'\''s'`},
		{"/srv/$HOME", "/srv/$HOME", "'/srv/$HOME'"},
		{"", "", "''"},
	} {
		if got := unitWord(tt.path); got != tt.unit {
			t.Errorf("unitWord(%q) = %s; want %s", tt.path, got, tt.unit)
		}
		if got := shellWord(tt.path); got != tt.shell {
			t.Errorf("shellWord(%q) = %s; want %s", tt.path, got, tt.shell)
		}
	}
	text, err := unit("/opt/my programs/dray", "/etc/dray/100%/$x.toml", "dray", "/var/lib/dray", "/srv/ftp")
	if err != nil {
		t.Fatal(err)
	}
	if want := "\nExecStart=\"/opt/my programs/dray\" serve --config /etc/dray/100%%/$$x.toml\n"; !strings.Contains(string(text), want) {
		t.Errorf("the unit lacks %s:\n%s", want, text)
	}
	for _, line := range []string{"ReadWritePaths", "PrivateTmp=no", "\n\n\n", "<no value>"} {
		if strings.Contains(string(text), line) {
			t.Errorf("the unit has %q:\n%s", line, text)
		}
	}
}

// ProtectSystem=full would let the server write to none of its places in /usr and
// /etc, and with a /tmp of its own it would not see those there.
func TestTheUnitLetsTheServerWriteWhereItHasTo(t *testing.T) {
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink("/usr/bin", link); err != nil {
		t.Fatal(err)
	}
	text, err := unit("/usr/local/bin/dray", "/etc/dray/dray.toml", "dray", "/usr/local/my state", "/etc/ftp", link)
	if err != nil {
		t.Fatal(err)
	}
	if want := "\nProtectSystem=full\nReadWritePaths=\"/usr/local/my state\"\nReadWritePaths=/etc/ftp\nReadWritePaths=" + link + "\nProtectKernelTunables=yes\n"; !strings.Contains(string(text), want) {
		t.Errorf("the unit lacks %s:\n%s", want, text)
	}
	text, err = unit("/usr/local/bin/dray", "/tmp/dray.toml", "dray", "/var/lib/dray", "/srv/ftp")
	if err != nil || !strings.Contains(string(text), "\nPrivateTmp=no\n") {
		t.Errorf("the configuration is in /tmp: %v\n%s", err, text)
	}
}
