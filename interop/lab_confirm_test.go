//go:build linux

package interop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"dray/explain"
)

// A confirmation is how the commands are tried by which an entry of explain is
// confirmed by hand. Those without one are tried on a server that is well.
type confirmation struct {
	row   string         // the fault of this name is on the stage
	stage func(s *scene) // or this one
	set   values         // beside those of everywhere
	types string         // what is typed into each of them; into curl a password is
	while string         // what is done on the client while they run

	// What each of them prints, in the order of the text; "" is anything, and none
	// that nothing is printed for a second. The exit status stands in the last line.
	shows []string
}

const nothing = "nothing"

// values are what stands for the words in capitals.
type values map[string]string

var everywhere = values{
	"HOST": serverName, "PORT": "21", "NAME": user, "ADDRESS": serverAddress, "CLIENT": clientAddress, "A-B": "30000-30099",
	"PATH": home + "/readme.txt", "DIRECTORY": home, "HOME": home, "FILE": "notes.txt", "PID": "1", "NUMBER": "0000000000000400",
}

// capitals are the words in capitals that are to be typed as they are.
var capitals = []string{"MLSD", "KEX", "MAC", "SECLEVEL", "ALL"}

// parts are what stands between backquotes and is a part of a command only, or needs a
// terminal, with the command that it makes.
var parts = map[string]string{
	"-k":                            "curl -k -v --ssl-reqd --user NAME ftp://HOST/",
	"-tls1_3":                       "openssl s_client -starttls ftp -connect HOST:21 -tls1_3",
	"-cipher ALL:@SECLEVEL=0 -tls1": "openssl s_client -starttls ftp -connect HOST:21 -cipher ALL:@SECLEVEL=0 -tls1",
	"-starttls ftp":                 "openssl s_client -connect HOST:990",
	"od -c":                         "printf %s NAME | od -c",
	"cat -A":                        "curl -s -l --ssl-reqd --user NAME ftp://HOST/ | cat -A",
	"ftp":                           "ftp HOST",
	"sftp -v":                       "sftp -v NAME@HOST",
	"ls":                            "ftp HOST",
	"ls -a":                         "ftp HOST",
	"nlist":                         "ftp HOST",
	"put -p FILE":                   "echo put -p FILE | sftp NAME@HOST",
	"put FILE":                      "echo put FILE | sftp NAME@HOST",
	"touch":                         "touch PATH",
	"vsftpd /etc/vsftpd.conf":       "vsftpd /etc/vsftpd.conf 0>&1", // it speaks on standard input, which is no terminal here
}

// notHere are programs that the laboratory has not, and what they need.
var notHere = map[string]string{
	"docker":          "a daemon of containers",
	"fail2ban-client": "the daemon of fail2ban",
}

// confirmed are the commands of entries by id.
func confirmed() map[string]confirmation {
	inClear := func(s *scene) {
		s.dray("", listener("ftp", 21, "plain = true", "clear-data = true")+listener("sftp", 22))
		s.knows(22)
	}
	const (
		withTLS = `(?s)< 234 .*PBSZ 0.*PROT P.*readme\.txt`
		typed   = user + "\n" + password + "\nls\nls -a\nnlist\nquit\n"
		listing = "curl -sS --max-time 9 --ssl-reqd -u " + user + ":" + password + " ftp://" + serverName + "/"
	)
	return map[string]confirmation{
		// Login and TLS on the control connection.
		"auth":           {row: "wrong password", shows: []string{`530 Login incorrect`, `530 Login incorrect`}},
		"tls-required":   {row: "TLS required, vsftpd 530", shows: []string{`530 Non-anonymous`, withTLS, withTLS, `BEGIN CERTIFICATE`}},
		"prot-required":  {shows: []string{withTLS, withTLS}},
		"tls-active":     {shows: []string{`(?m)^220 `}},
		"tls-missing":    {row: "TLS not offered", shows: []string{`[Nn]o peer certificate|[Dd]idn't find STARTTLS`}},
		"implicit-tls":   {shows: []string{`(?s)BEGIN CERTIFICATE.*220 `, nothing}},
		"wrong-protocol": {row: "SSH on 21", shows: []string{`^SSH-2\.0`}},
		"unknown-host":   {set: values{"NAME": serverName}, shows: []string{`^203\.0\.113\.20 `}},
		"account-off": {stage: func(s *scene) {
			s.dray("", "")
			s.server.must("dray user set " + user + " --disable")
		}, shows: []string{`disabled`}},
		"protocol-off":  {stage: func(s *scene) { s.dray("", "", "--protocols", "sftp") }, shows: []string{`(?m)protocols\s.*sftp`}},
		"home":          {shows: []string{home, `(?m)^d\S+ \S+ \S+ +` + user}},
		"login-timeout": {stage: func(s *scene) { s.dray("", "[limits]\nlogin-time = \"1s\"\n") }, shows: []string{`421 .*\[login-timeout\]`}},

		// Limits, commands.
		"busy":            {row: "421 busy", shows: []string{serverAddress + `:21\s+` + clientAddress}},
		"shutdown":        {shows: []string{`^220`}},
		"unknown-command": {types: "HELP\n", shows: []string{`214[- ]`}},
		"not-offered":     {types: "FEAT\n", shows: []string{`211-`}},
		"bad-line":        {set: values{"NAME": `a\tb`}, shows: []string{``}},

		// Files.
		"perm":        {shows: []string{`(?m)^d\S+ root +root +srv$`}},
		"not-found":   {set: values{"NAME": "'a '"}, shows: []string{`a\s{4,}`}},
		"not-regular": {set: values{"PATH": "/srv/fifo"}, stage: func(s *scene) { s.server.must("mkfifo /srv/fifo") }, shows: []string{`^p`}},
		"upload-in-the-way": {while: "(head -c 300000 /dev/zero; sleep 4) | " + listing + "up.bin -T -",
			shows: []string{`(?m)^\.dray-`}},
		"across-mounts": {shows: []string{`Filesystem`}},
		"bad-name":      {set: values{"NAME": "ü"}, shows: []string{`^2\n`}},
		"in-use": {stage: func(s *scene) { s.server.must("sleep 60 <" + home + "/readme.txt >/dev/null 2>&1 &") },
			shows: []string{`sleep`}},
		"too-large": {shows: []string{`^\d+\n`}},
		"quota":     {row: "quota", shows: []string{`^10\d{5}\s`}},
		"no-space":  {row: "disk full", set: values{"PATH": home}, shows: []string{`100%`, `IUse%`}},

		// Data connections.
		"data-blocked": {row: "range dropped", set: values{"PORT": "30000"}, while: "nc -vz -w 1 " + serverName + " 30000", shows: []string{`timed out`, `\.30000: Flags \[S\]`}},
		"active-blocked": {stage: func(s *scene) {
			s.vsftpd(21)
			s.client.nft("table inet filter { chain input { type filter hook input priority filter; policy accept; tcp flags syn / syn,ack drop; }; }")
		}, while: "timeout 3 dray ls --active " + atFTP, shows: []string{`> 203\.0\.113\.10\.\d+: Flags \[S\]`}},
		"pool-exhausted": {row: "pool exhausted", shows: []string{`:30000\s`}},
		"pasv-address":   {row: "PASV private", shows: []string{`227 .*\(192,168,7,9,`}},
		"pasv-ipv6": {stage: func(s *scene) {
			s.client.add("/etc/hosts", serverIPv6+" "+serverName+"\n")
			s.dray("", "")
		}, shows: []string{`(?s)EPSV.*readme\.txt`}},
		"wrong-family":  {row: "421 busy", shows: []string{serverAddress + `:21`}},
		"bad-data-peer": {while: listing, shows: []string{`203\.0\.113\.10\.\d+ > 203\.0\.113\.20\.300\d\d: Flags`}},
		"tls-reuse":     {row: "session reuse required, vsftpd 522", shows: []string{withTLS, withTLS}},
		"tls-data":      {row: "session reuse required, vsftpd 522", shows: []string{`(?s)Client hello.*PROT P.*Client hello`, ``}},
		"tls-no-close":  {shows: []string{`exit 0$`}},
		"data-lost":     {while: listing, shows: []string{`203\.0\.113\.\d+\.\d+: Flags`}},
		"bad-deflate":   {stage: inClear, shows: []string{`exit 0$`}},
		"bomb":          {set: values{"FILE": "bomb"}, stage: func(s *scene) { s.client.must("head -c 1000000 /dev/zero | gzip >bomb.gz") }, shows: []string{`99\.\d%`}},
		"stall":         {row: "stall at an offset", shows: []string{`100% packet loss`, `\d bytes from`}},

		// The way there.
		"dns":      {row: "name unknown", set: values{"HOST": "nowhere.example.test"}, shows: []string{`^exit 2$`}},
		"refused":  {row: "refused", shows: []string{`refused`}},
		"filtered": {row: "dropped", shows: []string{`timed out`}},
		"rejected": {row: "rejected by ICMP", shows: []string{`dev eth0`, `203\.0\.113\.20`}},
		"proxy": {stage: func(s *scene) {
			s.vsftpd(21)
			s.refusingProxy(3128)
		}, set: values{"PROXY": "http://" + serverName + ":3128"}, shows: []string{`HTTP/1\.1 403 Not that way`}},

		// Trust.
		"cert-self-signed":  {row: "self-signed", shows: []string{`sha256 Fingerprint=`}},
		"cert-unknown-ca":   {row: "unknown CA", shows: []string{`(?m)i:CN = Unknown Root`}},
		"cert-incomplete":   {row: "missing intermediate", shows: []string{`unable to get local issuer certificate`}},
		"cert-expired":      {row: "expired", shows: []string{`notAfter=`, `20\d\d`}},
		"cert-name":         {row: "wrong name", shows: []string{`DNS:` + otherName}},
		"cert-changed":      {row: "changed certificate", shows: []string{`sha256 Fingerprint=`}},
		"cert-pin":          {row: "self-signed", shows: []string{`sha256 Fingerprint=`}},
		"tls-failed":        {row: "TLS 1.0 only", shows: []string{`protocol version|unsupported protocol`, `protocol version|unsupported protocol`, ``}},
		"tls-version":       {row: "TLS 1.0 only", shows: []string{`protocol version|unsupported protocol`, `protocol version|unsupported protocol`, `Protocol *: TLSv1\n|New, TLSv1\.0`, ``}},
		"plaintext-in-tls":  {row: "errors in clear inside TLS, vsftpd", while: listing, shows: []string{`500 OOPS`}},
		"tls13-upload-loss": {shows: []string{`exit 0$`, `Content-Length: 1[0-9]`}},

		// SSH.
		"hostkey-unknown": {row: "host key unknown", shows: []string{`SHA256:.*ED25519`, `SHA256:.*ED25519`}},
		"hostkey-changed": {row: "host key changed", shows: []string{`SHA256:`, `SHA256:`}},
		"hostkey-revoked": {stage: func(s *scene) {
			s.sftpBeside()
			s.client.must("sed -i 's/^/@revoked /' ~/.ssh/known_hosts")
		}, shows: []string{`@revoked`}},
		"ssh-failed":        {row: "no common algorithm", set: values{"PORT": "22"}, shows: []string{`no matching key exchange method`}},
		"no-sftp":           {row: "SFTP subsystem missing", shows: []string{`subsystem request failed`, `^exit 0$`}},
		"ssh-dropped-early": {stage: func(s *scene) { s.sshd(22) }, shows: []string{`(?s)(SSH-2\.0-.*){6}`}},
		"ssh-hostkey-alg":   {stage: (*scene).sftpBeside, set: values{"PORT": "22"}, shows: []string{`(?s)(host key algorithms: .*){2}`}},
		"ssh-kex-cipher": {row: "no common algorithm", set: values{"PORT": "22"},
			shows: []string{`(?s)(KEX algorithms: .*){2}`, `curve25519-sha256`, `aes128-gcm`, `hmac-sha2-256`}},
		"ssh-userkey-sha1": {stage: func(s *scene) {
			s.sftpBeside()
			s.client.must("ssh-keygen -q -t rsa -N '' -f key")
			s.server.write(home+"/.ssh/authorized_keys", s.client.must("cat key.pub"))
			s.server.must(fmt.Sprintf("chown -R %d %s/.ssh && chmod 700 %[2]s/.ssh", userID, home))
		}, set: values{"KEY": "key"}, shows: []string{`Authenticated to .* using "publickey"`}},
		"too-many-auth": {stage: func(s *scene) {
			s.sftpBeside()
			s.client.must("ssh-keygen -q -t ed25519 -N '' -f ~/.ssh/id_ed25519")
		}, shows: []string{`(?m)^\d+$`, `Offering public key`}},
		"authorized-keys-perm": {stage: func(s *scene) { s.server.must("mkdir -p ~/.ssh && touch ~/.ssh/authorized_keys") }, shows: []string{`(?m)^\s*-rw-r--r-- root root\s+authorized_keys`}},
		"ssh-chroot-owner":     {set: values{"DIRECTORY": "/srv"}, shows: []string{`(?m)^drwxr-xr-x root root +srv`}},
		"sftp-noise":           {row: "login script prints text", shows: []string{`W +e +l +c +o +m +e`}},
		"pq-warning":           {stage: (*scene).sftpBeside, shows: []string{`kex: algorithm: sntrup761x25519-sha512|kex: algorithm: mlkem`}},

		// What the server says, and what a client sees.
		"bad-reply":      {row: "SSH on 21", shows: []string{`^SSH-2\.0`}},
		"no-answer":      {row: "421 busy", shows: []string{`Recv-Q +Send-Q`}},
		"server-refused": {stage: inClear, types: typed, shows: []string{`readme\.txt`, `(?i)sftp>|Connected to`}},
		"short-file":     {set: values{"PATH": "readme.txt"}, shows: []string{`Content-Length: 6`}},
		"verify-failed":  {shows: []string{`^[0-9a-f]{64} `}},
		"unsafe-name":    {shows: []string{`readme\.txt\$`}},
		"local-file":     {set: values{"PATH": "notes.txt"}, shows: []string{`^-rw`, `Filesystem`}},
		"ipv6-dead":      {row: "IPv6 published but dead", shows: []string{`[Tt]ime(d )?-?out`, `220 `, `(?s)2001:db8::20.*203\.0\.113\.20|203\.0\.113\.20.*2001:db8::20`}},

		// Other servers.
		"writable-root": {row: "errors in clear inside TLS, vsftpd", shows: []string{`^drwx`}},
		"home-missing":  {shows: []string{`:` + home + `:`, `(?m)^d\S+ \S+ \S+ +` + user, `^drwx`}},
		"vsftpd-config": {stage: func(s *scene) {
			s.vsftpd(21)
			s.server.add("/etc/vsftpd.conf", "no_such_key=YES \n")
		}, shows: []string{`500 OOPS: unrecognised variable in config file: no_such_key`, `no_such_key=YES`, `vsftpd`}},
		"oops-log": {stage: func(s *scene) { s.vsftpd(21, "xferlog_enable=YES", "vsftpd_log_file=/run/v.log") },
			shows: []string{`vsftpd_log_file=`, `exit 0$`}},
		"server-config":     {stage: func(s *scene) { s.server.add("/etc/ssh/sshd_config", "NoSuchKey yes\n") }, shows: []string{`Bad configuration option: NoSuchKey`}},
		"pasv-unpublished":  {row: "range not forwarded", set: values{"PORT": "30000"}, shows: []string{`refused`, ``}},
		"range-partly-open": {row: "range half open", set: values{"PORT": "30077"}, shows: []string{`timed out`}},
		"epsv-lie":          {row: "EPSV refused but advertised", shows: []string{`(?s)EPSV.*500 Unknown`, `(?s)227 .*readme\.txt`}},
		"active-bind": {stage: inClear, while: "curl -sS -P - -u " + user + ":" + password + " ftp://" + serverName + "/",
			shows: []string{`TIME-WAIT .*203\.0\.113\.20:20 `, `CapEff:`, `cap_net_bind_service`}},
		"proxy-explosion": {shows: []string{`^0\n`}},
		"sftp-setstat":    {stage: (*scene).sftpBeside, types: "ls\n", shows: []string{`readme\.txt`, `Uploading`, `Uploading`}},
		"partial-pickup": {stage: func(s *scene) { s.client.must("head -c 100000 /dev/urandom | gzip | head -c 1000 >cut.gz") }, set: values{"FILE": "cut.gz"},
			shows: []string{`unexpected end of file`, `End-of-central-directory signature not found`}},
		"names-garbled": {set: values{"FILE": "/srv/ü"}, stage: func(s *scene) { s.server.write("/srv/ü", "") }, shows: []string{`303 274`}},
		"empty-list": {stage: inClear, types: typed,
			shows: []string{`readme\.txt`, `readme\.txt`, `readme\.txt`, `readme\.txt`, `readme\.txt`, `type=file.*readme\.txt`}},
		"ascii-damage": {shows: []string{`1 +\d+ notes\.txt`}},
	}
}

// refusingProxy is a proxy of HTTP that lets nobody through.
func (s *scene) refusingProxy(port int) {
	l := s.server.listen(port)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.SetDeadline(time.Now().Add(5 * time.Second))
			_, _ = c.Read(make([]byte, 4096))
			_, _ = io.WriteString(c, "HTTP/1.1 403 Not that way\r\nContent-Length: 0\r\n\r\n")
			_ = c.(*net.TCPConn).CloseWrite()
			_, _ = io.Copy(io.Discard, c)
			_ = c.Close()
		}
	}()
}

// A handmade is a command in the text of an entry, and where it is to be typed.
type handmade struct {
	text     string
	onServer bool
}

var backquoted = regexp.MustCompile("`[^`]*`")

// byHand finds the commands between backquotes. What a sentence places on the server
// is typed there, but for what a part of it places here.
func byHand(text string) (all []handmade) {
	var commands []string
	text = backquoted.ReplaceAllStringFunc(text, func(q string) string {
		commands = append(commands, strings.Trim(q, "`"))
		return "`"
	})
	for sentence := range strings.SplitSeq(text, ". ") {
		server := strings.Contains(strings.ToLower(sentence), "on the server")
		for clause := range strings.SplitSeq(sentence, "; ") {
			for range strings.Count(clause, "`") {
				all = append(all, handmade{commands[len(all)], server && !strings.Contains(clause, " here")})
			}
		}
	}
	return all
}

var capital = regexp.MustCompile(`\bA-B\b|\b[A-Z]{2,}\b`)

// filled is a command with values for its words in capitals.
func filled(t *testing.T, command string, all values) string {
	t.Helper()
	return capital.ReplaceAllStringFunc(command, func(word string) string {
		v, ok := all[word]
		if !ok && !slices.Contains(capitals, word) {
			t.Errorf("%q: nothing is known for %s", command, word)
		}
		if !ok {
			return word
		}
		return v
	})
}

// misused is what programs say that were called in a wrong way.
var misused = regexp.MustCompile(`(?im)^usage:|unknown option|unrecognized option|invalid option|illegal option|option .* is unknown|Syntax error|^sh: [0-9]+: .*: not found`)

// What explain says to confirm a failure by can be typed as it stands, and shows what
// the text says.
func TestLabConfirm(t *testing.T) {
	needsLab(t)
	for name, pkg := range map[string]string{"nc": "netcat-openbsd", "tcpdump": "tcpdump", "fuser": "psmisc", "unzip": "unzip", "capsh": "libcap2-bin", "ping": "iputils-ping",
		"tcptraceroute": "tcptraceroute", "tnftp": "tnftp", "namei": "util-linux", "pgrep": "procps"} {
		tool(t, name, pkg)
	}
	t.Parallel() // what the laboratory does is mostly to wait
	cas := newCAs(t)
	how, rows := confirmed(), map[string]trouble{}
	for _, f := range troubles() {
		rows[f.name] = f
	}
	for id, c := range how {
		if e, ok := entries()[id]; !ok || len(byHand(e.Confirm)) != len(c.shows) {
			t.Errorf("%s has other commands than are tried here, or none", id)
		}
		if _, ok := rows[c.row]; c.row != "" && !ok {
			t.Errorf("%s: there is no fault %q", id, c.row)
		}
	}
	places := make(chan struct{}, sideBySide/2) // these do not wait
	var wg sync.WaitGroup
	for id, e := range entries() {
		commands := byHand(e.Confirm)
		if len(commands) == 0 {
			continue
		}
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			t.Run(id, func(t *testing.T) {
				began := time.Now()
				c := how[id]
				f := rows[c.row]
				s := newScene(t, cas, f.how)
				s.client.must("echo some words >notes.txt")
				switch {
				case f.stage != nil:
					f.stage(s)
				case c.stage != nil:
					c.stage(s)
				case c.row == "":
					s.dray("", "")
				}
				secret := password
				if f.password != "" {
					secret = f.password
				}
				for i, one := range commands {
					want := ""
					if i < len(c.shows) {
						want = c.shows[i]
					}
					s.confirm(c, secret, one, want)
				}
				t.Logf("%d commands after %.1f s", len(commands), time.Since(began).Seconds())
			})
		})
	}
	wg.Wait()
}

// entries are those of explain by their ids.
func entries() map[string]explain.Entry {
	all := map[string]explain.Entry{}
	for _, e := range explain.All() {
		all[string(e.ID)] = e
	}
	return all
}

// confirm types a command and looks at what it prints.
func (s *scene) confirm(c confirmation, secret string, one handmade, want string) {
	s.t.Helper()
	command, ok := parts[one.text]
	if !ok {
		command = one.text
	}
	program := strings.Fields(command)[0]
	if why, ok := notHere[program]; ok {
		s.t.Logf("%s needs %s", program, why)
		return
	}
	all := maps.Clone(everywhere)
	maps.Copy(all, c.set)
	command = filled(s.t, command, all)
	m := s.client
	if one.onServer {
		m = s.server
	}
	types := c.types
	if program == "curl" {
		types = secret + "\n"
	}
	while := c.while
	var meanwhile sync.WaitGroup
	defer meanwhile.Wait()
	if program != "tcpdump" && while != "" {
		meanwhile.Go(func() { _, _ = s.client.shell(20*time.Second, c.while) }) // what the command prints tells
		while = ""
	}
	like := regexp.MustCompile(want)
	out := s.typed(m, command, types, while, want)
	for range 10 {
		if c.while == "" || program == "tcpdump" || like.MatchString(out) {
			break
		}
		time.Sleep(300 * time.Millisecond) // it may not have begun
		out = s.typed(m, command, types, "", want)
	}
	switch {
	case misused.MatchString(out) || strings.HasSuffix(out, "exit 127") || strings.HasSuffix(out, "exit 126"):
		s.t.Errorf("$ %s\n%s\nit can't be called like that", command, tail(out, 2000))
	case want == nothing && out != "":
		s.t.Errorf("$ %s\n%s\nwant nothing", command, tail(out, 2000))
	case want != nothing && !like.MatchString(out):
		s.t.Errorf("$ %s\n%s\nwant %s", command, tail(out, 2000), want)
	}
}

// A page is what was printed so far.
type page struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (p *page) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.Write(b)
}

func (p *page) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

// typed runs a command as if somebody sat before it: it gets what is typed and nothing
// more, and is interrupted when it has printed what is wanted, or after a while; one that
// watches the client do something when that is done.
func (s *scene) typed(m *machine, command, types, while, want string) string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 30*time.Second)
	defer cancel()
	cmd := m.in(ctx, "sh", "-c", command)
	cmd.Env = append(cmd.Env, "SSH_ASKPASS=/usr/local/bin/askpass", "SSH_ASKPASS_REQUIRE=force")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // no terminal: passwords are read from standard input
	printed := &page{}
	cmd.Stdout, cmd.Stderr = printed, printed
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		s.t.Fatal(err)
	}
	defer in.Close()
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	_, _ = io.WriteString(in, types) // it may have ended
	wait := 14 * time.Second
	switch {
	case while != "":
		time.Sleep(700 * time.Millisecond)
		_, _ = s.client.shell(20*time.Second, while)
		wait = 1500 * time.Millisecond // packets are handed over once a second
	case want == "" || want == nothing:
		wait = 1500 * time.Millisecond
	}
	like := regexp.MustCompile(want)
	for deadline := time.Now().Add(wait); time.Now().Before(deadline); {
		select {
		case err := <-ended:
			status := 0
			var exit *exec.ExitError
			if errors.As(err, &exit) {
				status = exit.ExitCode()
			}
			out := printed.String()
			if out != "" && !strings.HasSuffix(out, "\n") {
				out += "\n"
			}
			return fmt.Sprintf("%sexit %d", out, status)
		case <-time.After(20 * time.Millisecond):
		}
		if while == "" && want != "" && want != nothing && like.MatchString(printed.String()) {
			break
		}
	}
	for _, pid := range below(s.t, cmd.Process.Pid) {
		_ = syscall.Kill(pid, syscall.SIGINT) // it may have ended
	}
	select {
	case <-ended:
	case <-time.After(700 * time.Millisecond):
		_ = m.end(cmd) // it may have ended
		<-ended
	}
	return printed.String()
}
