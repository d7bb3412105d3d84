package sshclient

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"dray/fault"
)

func TestSplitLine(t *testing.T) {
	tests := []struct {
		name, in, key string
		args          []string
		bad           bool
	}{
		{"a keyword has no case", "HostName  a.example", "hostname", []string{"a.example"}, false},
		{"an equals sign separates", "Port=22", "port", []string{"22"}, false},
		{"with blanks around", "Port = 22 ", "port", []string{"22"}, false},
		{"only one equals sign", "User ==a", "user", []string{"=a"}, false},
		{"quotes hold together", `IdentityFile "a b" c`, "identityfile", []string{"a b", "c"}, false},
		{"single quotes too", `IdentityFile 'a "b'`, "identityfile", []string{`a "b`}, false},
		{"quotes in the middle", `IdentityFile a" "b`, "identityfile", []string{"a b"}, false},
		{"a backslash before a blank", `IdentityFile a\ b`, "identityfile", []string{"a b"}, false},
		{"another backslash stays", `IdentityFile a\b`, "identityfile", []string{`a\b`}, false},
		{"a comment behind values", "Port 22 # x", "port", []string{"22"}, false},
		{"a comment", "  # Port 22", "", nil, false},
		{"nothing", " \t", "", nil, false},
		{"a keyword alone", "Port", "port", nil, false},
		{"a quote that does not end", `User "a`, "user", nil, true},
		{"a command is a line", `ProxyCommand nc "%h" %p # x`, "proxycommand", []string{`nc "%h" %p # x`}, false},
	}
	for _, tt := range tests {
		key, args, err := splitLine(tt.in)
		if key != tt.key || !slices.Equal(args, tt.args) || (err != nil) != tt.bad {
			t.Errorf("%s: splitLine(%q) = %q %q %v; want %q %q", tt.name, tt.in, key, args, err, tt.key, tt.args)
		}
	}
}

func TestMatchPattern(t *testing.T) {
	tests := []struct {
		s, p string
		want bool
	}{
		{"a", "a", true}, {"a", "b", false}, {"", "*", true}, {"", "", true}, {"a", "", false}, {"abc", "a*c", true}, {"abc", "a?c", true},
		{"ac", "a?c", false}, {"a.b.c", "*.c", true}, {"abcbc", "a*bc", true}, {"abcb", "a*bc", false}, {"x", "**", true},
		{strings.Repeat("a", 5000), strings.Repeat("*a", 2000) + "b", false},
	}
	for _, tt := range tests {
		if got := matchPattern(tt.s, tt.p); got != tt.want {
			t.Errorf("matchPattern(%.20q, %.20q) = %v", tt.s, tt.p, got)
		}
	}
}

func TestJumpHostsAreRead(t *testing.T) {
	tests := []struct {
		in, want string
	}{
		{"a", "[a]"}, {"", "[]"}, {"none", "[]"}, {"u@a:2222,b", "[u@a:2222 b]"}, {"u@d@a", "[u@d@a]"}, {"[::1]:22", "[[::1]:22]"}, {"::1", "[[::1]]"},
		{"ssh://u@a:22/", "[u@a:22]"}, {"u@[fe80::1%eth0]", "[u@[fe80::1%eth0]]"},
	}
	for _, tt := range tests {
		hops, err := ParseJump(tt.in)
		if err != nil || fmt.Sprint(hops) != tt.want {
			t.Errorf("ParseJump(%q) = %v, %v; want %s", tt.in, hops, err, tt.want)
		}
	}
	for _, bad := range []string{",", "a,", "@a", "a:", "a:0", "a:65536", "a:x", "[a", "[a]x", "-oProxyCommand=x", "a b", "a/b", strings.Repeat("a,", 30) + "a"} {
		if hops, err := ParseJump(bad); err == nil {
			t.Errorf("ParseJump(%q) = %v", bad, hops)
		}
	}
}

func TestTimesOfConfigurations(t *testing.T) {
	for in, want := range map[string]time.Duration{"10": 10 * time.Second, "1m30s": 90 * time.Second, "2h": 2 * time.Hour, "1w": 7 * 24 * time.Hour, "0": 0} {
		if got, err := parseTime(in); err != nil || got != want {
			t.Errorf("parseTime(%q) = %v, %v", in, got, err)
		}
	}
	for _, bad := range []string{"", "s", "1x", "-1", "99999999999", "9999999w"} {
		if got, err := parseTime(bad); err == nil {
			t.Errorf("parseTime(%q) = %v", bad, got)
		}
	}
}

// configurations are read by OpenSSH too, in TestSSHReadsTheSame.
var configurations = []struct {
	name, text string
	hosts      []string
}{
	{"nothing", "", []string{"a"}},
	{"the first value counts", "Host a\n Port 1\nHost *\n Port 2\n User u\n", []string{"a", "b"}},
	{"patterns and negation", "Host *.x !no.x\n Port 7\nHost ?\n Port 8\n", []string{"a.x", "no.x", "q", "NO.X"}},
	{"several patterns", "Host a b c*\n User u\n", []string{"a", "b", "cc", "d"}},
	{"a name is filled in", "Host short\n HostName %h.example.net\n", []string{"short"}},
	{"names without case", "HOST A\n hostname B.Example\n", []string{"a", "A"}},
	{"identities gather", "Host a\n IdentityFile ~/.ssh/one\n IdentityFile /two\nHost *\n IdentityFile \"/three four\"\n IdentityFile /two\n", []string{"a", "b"}},
	{"only identities", "IdentitiesOnly yes\nIdentityFile /x/%d/%h/%r/%u/%%\n", []string{"a"}},
	{"certificates", "CertificateFile /c1\nCertificateFile /c2\n", []string{"a"}},
	{"a jump", "Host a\n ProxyJump u@b:2222,c\n", []string{"a", "b"}},
	{"no jump", "Host a\n ProxyJump none\nHost *\n ProxyJump b\n", []string{"a"}},
	{"a command before a jump", "Host a\n ProxyCommand nc %h %p\nHost *\n ProxyJump b\n", []string{"a", "c"}},
	{"a jump before a command", "Host a\n ProxyJump b\nHost *\n ProxyCommand nc %h %p\n", []string{"a", "c"}},
	{"files of known hosts", "UserKnownHostsFile /a /b\nGlobalKnownHostsFile /g\n", []string{"a"}},
	{"host keys", "StrictHostKeyChecking accept-new\nHostKeyAlias Other\nHashKnownHosts yes\n", []string{"a"}},
	{"times", "ConnectTimeout 7\nServerAliveInterval 1m\nServerAliveCountMax 5\n", []string{"a"}},
	{"methods", "PreferredAuthentications password,publickey\nPubkeyAuthentication no\nPasswordAuthentication yes\nNumberOfPasswordPrompts 1\n", []string{"a"}},
	{"an old name", "ChallengeResponseAuthentication no\n", []string{"a"}},
	{"families", "AddressFamily inet6\nBindAddress ::1\n", []string{"a"}},
	{"match all", "Match all\n Port 9\n", []string{"a"}},
	{"match host", "Host a\n HostName b.x\nMatch host *.x\n Port 9\nMatch originalhost a\n User o\n", []string{"a", "b.x", "c"}},
	{"match user", "Match user root\n Port 9\nMatch user anna,!eve\n Port 10\n", []string{"a", "anna@a", "root@a", "eve@a"}},
	{"match user as set before", "Host a\n User anna\nMatch user anna\n Port 10\n", []string{"a", "b"}},
	{"match with several", "Match host a user anna\n Port 9\nMatch !host a\n Port 11\n", []string{"anna@a", "anna@b"}},
	{"match final", "Match final\n Port 12\nHost a\n User u\n", []string{"a"}},
	{"match final host", "Match final host b\n Port 12\nHost a\n HostName b\n", []string{"a", "c"}},
	{"the end of a block", "Host a\n Port 1\nMatch all\n User z\n", []string{"a", "b"}},
	{"equals and quotes", "Host=\"a\"\nPort=\"44\"\nUser = x\n", []string{"a", "b"}},
	{"comments", "# c\nHost a # trailing\n Port 5 # five\n", []string{"a", "#"}},
	{"lists of ciphers", "Ciphers aes256-ctr,aes128-gcm@openssh.com\nMACs hmac-sha2-256\n", []string{"a"}},
	{"include", "Include extra/*.conf\nHost *\n Port 3\n", []string{"a", "b"}},
	{"include in a block", "Host a\n Include extra/*.conf\nHost *\n Port 3\n", []string{"a", "b"}},
	{"a missing include", "Include nothing/*\nPort 4\n", []string{"a"}},
	{"what dray does not obey", "ForwardAgent yes\nControlMaster auto\nControlPath ~/.ssh/%C\nSendEnv LANG LC_*\n", []string{"a"}},
}

// OpenSSH's own reading is the reference.
func TestSSHReadsTheSame(t *testing.T) {
	ssh, err := exec.LookPath("ssh")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("ssh is missing")
		}
		t.Skip("SKIPPED: OpenSSH's ssh is missing")
	}
	for _, tt := range configurations {
		t.Run(tt.name, func(t *testing.T) {
			st := newStage(t)
			// OpenSSH looks for relative Includes in the home of the system's user.
			text := strings.ReplaceAll(tt.text, "extra/", filepath.Join(st.home, ".ssh", "extra")+"/")
			file := st.write("config", text)
			st.write("extra/one.conf", "Host a\n User included\n")
			st.write("extra/two.conf", "Port 99\n")
			for _, host := range tt.hosts {
				o := st.bare(host, 0)
				o.User, o.Config, o.Connect = "", file, 0
				args := []string{"-F", file, "-G"}
				if user, name, ok := strings.Cut(host, "@"); ok {
					o.User, o.Host = user, name
				}
				s, err := Read(o)
				need(t, err)
				out, err := exec.Command(ssh, append(args, "--", host)...).CombinedOutput()
				if err != nil {
					t.Fatalf("ssh -G %s: %v\n%s", host, err, out)
				}
				compare(t, host, s, string(out), st.home)
			}
		})
	}
}

func compare(t *testing.T, host string, s *Settings, out, home string) {
	t.Helper()
	theirs := map[string][]string{}
	for line := range strings.Lines(out) {
		k, v, _ := strings.Cut(strings.TrimSpace(line), " ")
		theirs[k] = append(theirs[k], v)
	}
	check := func(key, ours string) {
		t.Helper()
		if got := strings.Join(theirs[key], " "); got != ours {
			t.Errorf("%s: %s is %q, for OpenSSH %q", host, key, ours, got)
		}
	}
	// ssh -G prints most files before ~ and tokens are filled in.
	r := strings.NewReplacer(home, "~")
	check("hostname", s.Name)
	check("port", fmt.Sprint(s.Port))
	check("user", s.User)
	if s.Named {
		theirs["identityfile"] = filled(theirs["identityfile"], s, home)
		check("identityfile", r.Replace(strings.Join(s.Identities, " ")))
	}
	check("certificatefile", strings.Join(s.Certificates, " "))
	check("identitiesonly", map[bool]string{true: "yes", false: "no"}[s.OnlyIdentities])
	var hops []string
	for _, h := range s.Hops {
		hops = append(hops, h.String())
	}
	check("proxyjump", strings.Join(hops, ","))
	if c := theirs["proxycommand"]; c != nil {
		theirs["proxycommand"] = filled(c, s, home)
	}
	check("proxycommand", s.Command)
	if strings.Contains(out, "userknownhostsfile /a /b") {
		check("userknownhostsfile", "/a /b")
		if got := strings.Join(s.KnownHosts, " "); got != "/a /b /g" {
			t.Errorf("known hosts in %s", got)
		}
	}
	strict := map[Strict]string{StrictAsk: "ask", StrictYes: "true", StrictNew: "accept-new"}[s.Strict]
	check("stricthostkeychecking", strict)
	if s.KeyAlias != "" {
		theirs["hostkeyalias"] = []string{strings.ToLower(theirs["hostkeyalias"][0])}
		check("hostkeyalias", s.KeyAlias)
	}
	check("hashknownhosts", map[bool]string{true: "yes", false: "no"}[s.HashNames])
	if c := theirs["connecttimeout"][0]; c != "none" {
		check("connecttimeout", fmt.Sprint(s.Connect.Seconds()))
	}
	if c := theirs["serveraliveinterval"][0]; c != "0" {
		check("serveraliveinterval", fmt.Sprint(s.Alive.Seconds()))
	}
	check("serveralivecountmax", fmt.Sprint(s.AliveCount))
	check("numberofpasswordprompts", fmt.Sprint(s.PasswordPrompts))
	check("addressfamily", map[string]string{"tcp": "any", "tcp4": "inet", "tcp6": "inet6"}[s.Family])
	check("bindaddress", s.Bind)
	for m, key := range map[string]string{methodKey: "pubkeyauthentication", methodAsk: "kbdinteractiveauthentication", methodPassword: "passwordauthentication"} {
		if on := theirs[key][0] != "no" && theirs[key][0] != "false"; !on && slices.Contains(s.Methods, m) {
			t.Errorf("%s: %s is on, for OpenSSH it is off", host, m)
		}
	}
	if strings.Contains(out, "ciphers aes256-ctr,aes128-gcm@openssh.com\n") {
		check("ciphers", strings.Join(s.algorithms.ciphers, ","))
		check("macs", strings.Join(s.algorithms.macs, ","))
	}
}

func filled(list []string, s *Settings, home string) []string {
	for i, v := range list {
		list[i] = strings.NewReplacer("%d", "~", "%h", s.Name, "%r", s.User, "%u", localUser(), "%p", fmt.Sprint(s.Port), "%%", "%").Replace(v)
	}
	return list
}

func TestWhatIsNotObeyedIsTold(t *testing.T) {
	st := newStage(t)
	marker := filepath.Join(st.home, "ran")
	file := st.write("config", "Match exec \"touch "+marker+"\"\n Port 1\nMatch localnetwork 10.0.0.0/8\n Port 2\nHost *\nCiphers nonsense,aes128-ctr\nKexAlgorithms +sntrup761x25519-sha512@openssh.com\n")
	o := st.bare("a", 0)
	o.Config = file
	s, err := Read(o)
	need(t, err)
	if s.Port != 22 || !slices.Equal(s.algorithms.ciphers, []string{"aes128-ctr"}) || !slices.Equal(s.algorithms.kex, keyExchanges) {
		t.Errorf("port %d, ciphers %q, key exchanges %q", s.Port, s.algorithms.ciphers, s.algorithms.kex)
	}
	if _, err := os.Stat(marker); err == nil {
		t.Error("a command of Match exec was run")
	}
	for _, want := range []string{":1: Match exec", ":3: Match localnetwork", "ciphers: not known here: nonsense", "kexalgorithms: not known here: sntrup761"} {
		if !strings.Contains(st.trace(), want) {
			t.Errorf("the trace lacks %q:\n%s", want, st.trace())
		}
	}
}

func TestListsOfAlgorithms(t *testing.T) {
	ours, known := []string{"a1", "a2", "b1"}, []string{"a1", "a2", "b1", "old"}
	tests := []struct{ in, want, unknown string }{
		{"b1,a1", "b1 a1", ""}, {"+old", "a1 a2 b1 old", ""}, {"-a*", "b1", ""}, {"^b1", "b1 a1 a2", ""}, {"x,a2", "a2", "x"}, {"+x", "a1 a2 b1", "x"}, {"-*", "", ""},
	}
	for _, tt := range tests {
		list, unknown := assemble(tt.in, ours, known)
		if strings.Join(list, " ") != tt.want || strings.Join(unknown, " ") != tt.unknown {
			t.Errorf("assemble(%q) = %q, %q", tt.in, list, unknown)
		}
	}
}

// The command line is before ssh_config.
func TestTheCommandLineCounts(t *testing.T) {
	st := newStage(t)
	st.write("config", "Host *\n Port 7\n User x\n ProxyJump y\n IdentityFile ~/.ssh/z\n ConnectTimeout 3\n KnownHosts none\n")
	o := st.bare("a", 2222)
	o.Identities, o.Jump, o.Connect, o.KnownHosts = []string{"/i"}, "none", time.Second, []string{"/k"}
	s, err := Read(o)
	need(t, err)
	if s.Port != 2222 || s.User != "anna" || s.Hops != nil || s.Connect != time.Second || !slices.Equal(s.KnownHosts, []string{"/k"}) ||
		!slices.Equal(s.Identities, []string{"/i", filepath.Join(st.home, ".ssh", "z")}) {
		t.Errorf("%+v", s)
	}
}

func TestBadConfigurationsAreRefused(t *testing.T) {
	for _, text := range []string{
		"Port x", "Port 0", "Port", "Host", "Match", "Match host", "User \"a", "ProxyJump a:", "StrictHostKeyChecking perhaps", "ConnectTimeout x",
		"AddressFamily inet5", "IdentitiesOnly perhaps", "Include " + strings.Repeat("x", 70000), "HostName %x", "ProxyCommand nc " + password + " %Q",
	} {
		st := newStage(t)
		file := st.write("config", "\n"+text+"\n")
		o := st.bare("a", 0)
		o.User, o.Config = "", file
		_, err := Read(o)
		st.secretless(fmt.Sprint(err))
		if fault.Of(err).ID != fault.IDLocal || !strings.Contains(err.Error(), file) {
			t.Errorf("%.40q: %v", text, err)
		}
	}
	st := newStage(t)
	o := st.bare("a", 0)
	o.Config = filepath.Join(st.home, "missing")
	if _, err := Read(o); fault.Of(err).ID != fault.IDLocal {
		t.Errorf("a missing file that was named: %v", err)
	}
	file := st.write("config", "Include config\nInclude ~/.ssh/config\n")
	o.Config = ""
	if _, err := Read(o); fault.Of(err).ID != fault.IDLocal {
		t.Errorf("a file that includes itself: %v", err)
	}
	need(t, os.WriteFile(file, nil, 0o600))
	need(t, os.Chmod(file, 0o666))
	if _, err := Read(o); fault.Of(err).ID != fault.IDLocal {
		t.Errorf("a file that others can write: %v", err)
	}
}

func TestNamesDoNotReachTheShell(t *testing.T) {
	st := newStage(t)
	file := st.write("config", "ProxyCommand nc %h %p\n")
	for _, host := range []string{"a;touch x", "$(x)", "`x`", "-oX", "a b", "a|b"} {
		o := st.bare(host, 0)
		o.Config = file
		if s, err := Read(o); err == nil {
			t.Errorf("%q becomes %q", host, s.Command)
		}
	}
}

// The command is run by the shell, and what it says is told.
func TestProxyCommand(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("there is no sh")
		}
		t.Skip("SKIPPED: there is no sh")
	}
	st := newStage(t)
	file := st.write("config", "ProxyCommand echo 'no way there' >&2; exit 1 "+password+"\n")
	o := st.bare("a", 0)
	o.Config = file
	o.Env = func(name string) string { return map[string]string{"SHELL": sh}[name] }
	fe := st.fails(o, fault.IDProxy)
	if fe.Facts[1] != "no way there" {
		t.Errorf("facts %v", fe.Facts)
	}
	st.write("config", "ProxyCommand sleep 300\nConnectTimeout 1\n")
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	began := time.Now()
	if _, err := Dial(ctx, o); err == nil || time.Since(began) > 3*time.Second {
		t.Errorf("%v after %v", err, time.Since(began))
	}
}

func FuzzConfig(f *testing.F) {
	for _, tt := range configurations {
		f.Add(tt.text, "a")
	}
	f.Add("Match host a,b !user x\n Port 5\n", "b")
	f.Fuzz(func(t *testing.T, text, host string) {
		if strings.Contains(strings.ToLower(text), "include") {
			return
		}
		read := func(text string) (found, error) {
			r := &reader{host: host, user: "u", home: "/h", got: found{map[string][]string{}, map[string]string{}, map[string][]string{}}, warn: func(string) {}}
			return r.got, r.lines("f", strings.NewReader(text), true, 0)
		}
		first, err := read(text)
		if err != nil {
			return
		}
		// What comes behind changes nothing that was set once.
		second, err := read(text + "\nHost *\nPort 1\nUser later\n")
		if err != nil {
			t.Fatalf("two good halves: %v", err)
		}
		for k, v := range first.first {
			if !slices.Equal(second.first[k], v) {
				t.Errorf("%s was %q and became %q", k, v, second.first[k])
			}
		}
		o := Options{Host: host, Home: "/h", System: "/none", NoConfig: true, Env: func(string) string { return "" }}
		if s, err := o.settle(first); err == nil && (s.Port < 1 || s.Port > 65535 || s.Connect < 0 || s.AliveCount < 1) {
			t.Errorf("settings out of bounds: %+v", s)
		}
	})
}

func FuzzSplitWords(f *testing.F) {
	f.Add(`a "b c" 'd' e\ f # g`)
	f.Fuzz(func(t *testing.T, s string) {
		words, err := splitWords(s)
		if err != nil {
			return
		}
		var quoted []string
		for _, w := range words { // quoted again, they are the same words
			quoted = append(quoted, `"`+strings.NewReplacer(`\`, `\\`, `"`, `\"`, `'`, `\'`).Replace(w)+`"`)
		}
		again, err := splitWords(strings.Join(quoted, " "))
		if err != nil || !slices.Equal(words, again) {
			t.Errorf("%q is %q, and quoted again %q, %v", s, words, again, err)
		}
	})
}

// Who is named is told from who only runs the program.
func TestUserNamed(t *testing.T) {
	home := t.TempDir()
	file := filepath.Join(home, "config")
	if err := os.WriteFile(file, []byte("Host named\n  User anna\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		o    Options
		want bool
	}{
		{Options{Host: "named"}, true},
		{Options{Host: "other"}, false},
		{Options{Host: "other", User: "anna"}, true},
	} {
		row.o.Home, row.o.Config, row.o.Env = home, file, func(string) string { return "" }
		s, err := Read(row.o)
		if err != nil || s.UserNamed != row.want || s.User == "" {
			t.Errorf("Read(%+v): user %q, named %v, %v; want %v", row.o, s.User, s.UserNamed, err, row.want)
		}
	}
}
