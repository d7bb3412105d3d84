package remote

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"dray/account"
)

// marker is a password that must not be seen anywhere.
const marker = "gEheim&77"

// known are a few stored hosts.
func known(t testing.TB) *Hosts {
	t.Helper()
	return &Hosts{list: []Host{
		{Name: "prod", URL: "ftp+tls://ftp.example.net:2121/www", User: "alice"},
		{Name: "box", URL: "sftp://bob@[2001:db8::7]", Path: "/srv"},
		{Name: "old", URL: "ftp://old.example.net", Plain: true, Port: 2100},
	}}
}

func TestParse(t *testing.T) {
	hash := strings.Repeat("A", 42) + "8"
	hexHash := strings.Repeat("00", 31) + "0f"
	tests := []struct {
		name, in string
		want     URL // Password is compared with the word in pass
		pass     string
	}{
		{"FTP alone", "ftp://host", URL{Scheme: FTP, Host: "host", DirWanted: true}, ""},
		{"FTP with a slash is where the login begins", "ftp://host/", URL{Scheme: FTP, Host: "host", DirWanted: true}, ""},
		{"FTP paths are relative to it", "ftp://host/dir/a.txt", URL{Scheme: FTP, Host: "host", Path: "dir/a.txt"}, ""},
		{"two slashes are the root", "ftp://host//dir", URL{Scheme: FTP, Host: "host", Path: "/dir"}, ""},
		{"so is %2F", "ftp://host/%2Fdir", URL{Scheme: FTP, Host: "host", Path: "/dir"}, ""},
		{"and the root itself", "ftp://host//", URL{Scheme: FTP, Host: "host", Path: "/", DirWanted: true}, ""},
		{"a slash at the end wants a directory", "ftp://host/dir/", URL{Scheme: FTP, Host: "host", Path: "dir", DirWanted: true}, ""},
		{"explicit TLS", "ftp+tls://host/d", URL{Scheme: FTPTLS, Host: "host", Path: "d"}, ""},
		{"explicit TLS by its other name", "FTPES://host/d", URL{Scheme: FTPTLS, Host: "host", Path: "d"}, ""},
		{"implicit TLS", "ftps://host/d", URL{Scheme: FTPS, Host: "host", Path: "d"}, ""},
		{"clear text", "ftp+plain://host/d", URL{Scheme: FTPPlain, Host: "host", Path: "d"}, ""},
		{"SFTP alone is the home", "sftp://host", URL{Scheme: SFTP, Host: "host", DirWanted: true}, ""},
		{"SFTP with a slash is the root", "sftp://host/", URL{Scheme: SFTP, Host: "host", Path: "/", DirWanted: true}, ""},
		{"SFTP paths are absolute", "sftp://host/a/b", URL{Scheme: SFTP, Host: "host", Path: "/a/b"}, ""},
		{"~ is the home", "sftp://host/~/a/b/", URL{Scheme: SFTP, Host: "host", Path: "a/b", DirWanted: true}, ""},
		{"~ alone too", "sftp://host/~", URL{Scheme: SFTP, Host: "host", DirWanted: true}, ""},
		{"an encoded ~ is a name", "sftp://host/%7E/a", URL{Scheme: SFTP, Host: "host", Path: "/~/a"}, ""},
		{"~user is a name", "sftp://host/~user/a", URL{Scheme: SFTP, Host: "host", Path: "/~user/a"}, ""},
		{"scp means sftp", "scp://host/a", URL{Scheme: SFTP, Host: "host", Path: "/a"}, ""},

		{"user, port", "ftp://alice@HOST.example:2121/x", URL{Scheme: FTP, User: "alice", Host: "host.example", Port: 2121, Path: "x"}, ""},
		{"a password", "ftp://alice:" + marker + "@host/x", URL{Scheme: FTP, User: "alice", HasPassword: true, Host: "host", Path: "x"}, marker},
		{"an empty password is one", "ftp://alice:@host", URL{Scheme: FTP, User: "alice", HasPassword: true, Host: "host", DirWanted: true}, ""},
		{"user and password are decoded", "ftp://a%40b:p%2Fq%3a@host", URL{Scheme: FTP, User: "a@b", HasPassword: true, Host: "host", DirWanted: true}, "p/q:"},
		{"a password with @ and colons", "ftp://a:p@q:r#?@host", URL{Scheme: FTP, User: "a", HasPassword: true, Host: "host", DirWanted: true}, "p@q:r#?"},
		{"decoded once", "ftp://host/a%2541", URL{Scheme: FTP, Host: "host", Path: "a%41"}, ""},
		{"bytes that are no UTF-8", "ftp://host/%FF", URL{Scheme: FTP, Host: "host", Path: "\xff"}, ""},
		{"no query and no fragment", "ftp://host/a?b#c", URL{Scheme: FTP, Host: "host", Path: "a?b#c"}, ""},
		{"an empty port", "ftp://host:/a", URL{Scheme: FTP, Host: "host", Path: "a"}, ""},
		{"IPv6", "ftp://[2001:DB8::1]:2121/a", URL{Scheme: FTP, Host: "2001:db8::1", Port: 2121, Path: "a"}, ""},
		{"a zone", "sftp://[fe80::1%25eth0]/a", URL{Scheme: SFTP, Host: "fe80::1%eth0", Path: "/a"}, ""},
		{"a zone as people write it", "sftp://[fe80::1%eth0]/a", URL{Scheme: SFTP, Host: "fe80::1%eth0", Path: "/a"}, ""},
		{"a name in another script", "sftp://bücher.example/a", URL{Scheme: SFTP, Host: "bücher.example", Path: "/a"}, ""},

		{"text", "ftp://host/a.txt;type=a", URL{Scheme: FTP, Host: "host", Path: "a.txt", Type: "A"}, ""},
		{"a fingerprint", "ftps://host/a;fingerprint=SHA256:" + hash, URL{Scheme: FTPS, Host: "host", Path: "a", HostPrint: "SHA256:" + hash}, ""},
		{"a fingerprint in hexadecimal", "ftps://host;type=I;fingerprint=sha256:" + hexHash, URL{Scheme: FTPS, Host: "host", DirWanted: true, Type: "I", HostPrint: "SHA256:" + hash}, ""},
		{"a fingerprint where WinSCP has it", "sftp://bob;fingerprint=SHA256:" + hash + "@host/a", URL{Scheme: SFTP, User: "bob", Host: "host", Path: "/a", HostPrint: "SHA256:" + hash}, ""},
		{"a semicolon that begins no parameter", "ftp://host/a;b", URL{Scheme: FTP, Host: "host", Path: "a;b"}, ""},
		{"an encoded semicolon", "ftp://host/a%3Btype=A", URL{Scheme: FTP, Host: "host", Path: "a;type=A"}, ""},

		{"scp's form is relative to the home", "host:a/b", URL{Scheme: SFTP, Host: "host", Path: "a/b"}, ""},
		{"scp's form with a user", "bob@host:/a/b/", URL{Scheme: SFTP, User: "bob", Host: "host", Path: "/a/b", DirWanted: true}, ""},
		{"scp's form alone is the home", "host:", URL{Scheme: SFTP, Host: "host", DirWanted: true}, ""},
		{"scp's form with ~", "host:~/x", URL{Scheme: SFTP, Host: "host", Path: "x"}, ""},
		{"scp's form decodes nothing", "host:100%25;type=A", URL{Scheme: SFTP, Host: "host", Path: "100%25;type=A"}, ""},
		{"scp's form with IPv6", "bob@[fe80::1%eth0]:x", URL{Scheme: SFTP, User: "bob", Host: "fe80::1%eth0", Path: "x"}, ""},
		{"scp's form with an @ in the path", "host:a@2x.png", URL{Scheme: SFTP, Host: "host", Path: "a@2x.png"}, ""},
		{"scp's form with an @ and a colon far away", "host:d/a@b:c", URL{Scheme: SFTP, Host: "host", Path: "d/a@b:c"}, ""},
		{"a user with an @", "a@b@host:x", URL{Scheme: SFTP, User: "a@b", Host: "host", Path: "x"}, ""},

		{"a stored host", "prod:a", URL{Scheme: FTPTLS, User: "alice", Host: "ftp.example.net", Port: 2121, Path: "www/a", StoredName: "prod"}, ""},
		{"a stored host without a path", "prod:", URL{Scheme: FTPTLS, User: "alice", Host: "ftp.example.net", Port: 2121, Path: "www", StoredName: "prod"}, ""},
		{"a stored host without a colon", "prod", URL{Scheme: FTPTLS, User: "alice", Host: "ftp.example.net", Port: 2121, Path: "www", StoredName: "prod"}, ""},
		{"an absolute path at a stored host", "prod:/a", URL{Scheme: FTPTLS, User: "alice", Host: "ftp.example.net", Port: 2121, Path: "/a", StoredName: "prod"}, ""},
		{"a stored host with a directory", "box:a/", URL{Scheme: SFTP, User: "bob", Host: "2001:db8::7", Path: "/srv/a", DirWanted: true, StoredName: "box"}, ""},
		{"a stored host for another user", "eve@box:", URL{Scheme: SFTP, User: "eve", Host: "2001:db8::7", Path: "/srv", StoredName: "box"}, ""},
		{"a stored host in clear text", "old:", URL{Scheme: FTPPlain, Host: "old.example.net", Port: 2100, DirWanted: true, StoredName: "old"}, ""},
		{"names of stored hosts are in the short form only", "sftp://prod/a", URL{Scheme: SFTP, Host: "prod", Path: "/a"}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Parse(tt.in, known(t))
			if err != nil {
				t.Fatal(err)
			}
			if pass := got.Password.Reveal(); pass != tt.pass {
				t.Errorf("password %q, want %q", pass, tt.pass)
			}
			if fields(got) != fields(tt.want) {
				t.Errorf("Parse(%q) =\n%s\nwant\n%s", tt.in, fields(got), fields(tt.want))
			}
			if tt.in != "prod" && !IsRemote(tt.in) {
				t.Errorf("IsRemote(%q) = false", tt.in)
			}
		})
	}
}

// fields is all of u but its password.
func fields(u URL) string {
	u.Password = account.Secret{}
	type plain URL
	return fmt.Sprintf("%+v", plain(u))
}

func TestParseErrors(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"another protocol", "http://host/x", "dray speaks ftp, ftps, ftp+tls, ftp+plain and sftp"},
		{"a path", "/dir/a", "a path of this machine"},
		{"a path with a colon", "./a:b", "a path of this machine"},
		{"a scheme without slashes", "ftp:host/x", "write ftp://host/path"},
		{"a scheme with one slash", "sftp:/host/x", "write sftp://host/path"},
		{"no host", "ftp:///x", "the host is missing"},
		{"an option for ssh", "sftp://-oProxyCommand=x/", "no host has"},
		{"an option for ssh in the short form", "-oProxyCommand=x:y", "no host has"},
		{"a space in the host", "ftp://ho st/", "no host has"},
		{"a port that is none", "ftp://host:x/", "no number from 1 to 65535"},
		{"port 0", "ftp://host:0/", "no number from 1 to 65535"},
		{"port 65536", "ftp://host:65536/", "no number from 1 to 65535"},
		{"a bare IPv6 address", "ftp://2001:db8::1/", "in brackets: [2001:db8::1]"},
		{"brackets with a name", "ftp://[host]/", "no IPv6 address"},
		{"brackets with IPv4", "ftp://[192.0.2.1]/", "no IPv6 address"},
		{"brackets that stay open", "ftp://[2001:db8::1/", "] behind the address is missing"},
		{"text behind the brackets", "ftp://[2001:db8::1]x/", "no number"},
		{"an empty zone", "ftp://[fe80::1%25]/", "zone"},
		{"a % alone", "ftp://host/100%", "two hexadecimal digits"},
		{"a % with one digit", "ftp://host/%4", "two hexadecimal digits"},
		{"a % with a sign", "ftp://host/%+4", "two hexadecimal digits"},
		{"a line end", "ftp://host/a%0D%0ADELE%20b", "line end"},
		{"a NUL", "ftp://host/a%00", "NUL"},
		{"a line end in the user", "ftp://a%0Ab@host/", "line end"},
		{"a line end in the short form", "host:a\r\nb", "line end"},
		{"a password without a user", "ftp://:" + marker + "@host/", "user:password@host"},
		{"a password in the short form", "alice:" + marker + "@host:x", "no place for a password"},
		{"a password with a slash", "ftp://alice:" + marker + "/x@host/", "%2F"},
		{"a password with a bad escape", "ftp://alice:" + marker + "%zz@host/", "two hexadecimal digits"},
		{"a password with a parameter", "ftp://alice:" + marker + ";x=y@host/", "unknown parameter"},
		{"an unknown parameter", "ftp://host/a;color=red", ";type=A, ;type=I and ;fingerprint=SHA256:"},
		{"a type of directories", "ftp://host/a;type=d", "type is A for text"},
		{"text over SFTP", "sftp://host/a;type=a", "SFTP has no transfer of text"},
		{"a fingerprint that is none", "ftps://host/;fingerprint=" + marker, "no SHA-256 fingerprint"},
		{"a long path", "ftp://host/" + strings.Repeat("a", 5000), "longer than 4096"},
		{"a very long URL", "ftp://host/" + strings.Repeat("a", 70000), "longer than 65536"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse(tt.in, known(t))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("Parse(%q): %v, want %q", tt.in, err, tt.want)
			}
			if strings.Contains(err.Error(), marker) && !strings.Contains(tt.in, "fingerprint") {
				t.Errorf("the password is in the error: %v", err)
			}
			if strings.ContainsAny(err.Error(), "\r\n\x00") || len(err.Error()) > 500 {
				t.Errorf("no short line: %q", err)
			}
		})
	}
}

func TestIsRemote(t *testing.T) {
	tests := []struct {
		in   string
		want bool
	}{
		{"ftp://host", true}, {"http://host", true}, {"host:", true}, {"host:a", true}, {"u@host:a", true},
		{"[::1]:a", true}, {"u@[::1]:a", true}, {"ab:b/c", true}, {"prod:", true},
		{"", false}, {"-", false}, {"a", false}, {"./a:b", false}, {"/a:b", false}, {"a/b:c", false}, {"../x", false},
		{`C:\dir`, false}, {"c:/dir", false}, {"C:", false}, {":a", false}, {"c://x", false}, {"prod", false}, {"[x]", false}, {"[x/y]:z", false}, {"[::1", true},
	}
	for _, tt := range tests {
		if got := IsRemote(tt.in); got != tt.want {
			t.Errorf("IsRemote(%q) = %v", tt.in, got)
		}
	}
}

// However a URL is printed, its password is not in it.
func TestAURLPrintsWithoutItsPassword(t *testing.T) {
	u, err := Parse("ftp://alice:"+marker+"@host/x", nil)
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "url", u, "in", struct{ U URL }{u})
	js, _ := json.Marshal(u)
	out := log.String() + string(js) + u.Address()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
		out += fmt.Sprintf(verb, u) + fmt.Sprintf(verb, &u) + fmt.Sprintf(verb, []URL{u}) + fmt.Sprintf(verb, struct{ U URL }{u})
	}
	if strings.Contains(out, marker) || strings.Contains(out, fmt.Sprintf("%x", marker)) {
		t.Errorf("the password is in %s", out)
	}
}

func TestRedact(t *testing.T) {
	for in, want := range map[string]string{
		"ftp://a:b@host/x":   "ftp://…@host/x",
		"ftp://a:b/c@host/x": "ftp://…@host/x",
		"a:b@host:x":         "…@host:x",
		"ftp://host/\n":      `ftp://host/\n`,
	} {
		if got := Redact(in); got != want {
			t.Errorf("Redact(%q) = %q, want %q", in, got, want)
		}
	}
}

// What parses prints as a URL that parses to the same.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"ftp://a:b@host:21//x;type=A", "sftp://host/~/x", "sftp://host/%7E", "u@[fe80::1%eth0]:~/a", "prod:x/", "box", "old:/",
		"ftps://h/%2F%2f/;fingerprint=SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA8", "ftp://[::1%2525]/\xff%ff%3b", "host:~", "ftp://h/\u202e",
	} {
		f.Add(s)
	}
	hosts := known(f)
	f.Fuzz(func(t *testing.T, s string) {
		u, err := Parse(s, hosts)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\r\n\x00") {
				t.Errorf("Parse(%q): no line: %q", s, err)
			}
			return
		}
		if !IsRemote(s) && !hosts.has(s) {
			t.Fatalf("Parse(%q) takes what is no place on a server", s)
		}
		again, err := Parse(u.String(), nil)
		if err != nil {
			t.Fatalf("Parse(%q) prints as %q: %v", s, u, err)
		}
		u.HasPassword, u.StoredName = false, ""
		if fields(u) != fields(again) {
			t.Fatalf("Parse(%q) =\n%s\nprints as %q\n%s", s, fields(u), u, fields(again))
		}
		if strings.ContainsAny(u.User+u.Host+u.Path+u.Password.Reveal(), "\r\n\x00") {
			t.Fatalf("Parse(%q) has a line end", s)
		}
	})
}
