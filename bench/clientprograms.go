//go:build linux

package main

import (
	"bytes"
	"cmp"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/ssh"

	"dray/certs"
)

// A program is a client, with the command of its best setting for a work.
type program struct {
	name string
	pkg  string // Debian package; "" of ours
	file string // what has to be there
	does func(p proto, w work) bool
	run  func(t task) (command, error)
}

// A task is one run of a program: what is to be done, and with which server.
type task struct {
	row    clientRow
	client *clientPlace
	host   string
	port   string
	local  string // the directory here that gets or has the copy
	from   string // what is sent, with its directory
	source string // its name
	atOnce int    // connections
}

// A command is one to be run. What it reads besides its arguments is in files,
// which are told with it.
type command struct {
	argv  []string
	reads string // a file of commands or of URLs
}

// String is the command as a shell takes it.
func (c command) String() string {
	var b strings.Builder
	for i, a := range c.argv {
		if i > 0 {
			b.WriteByte(' ')
		}
		if a == "" || strings.ContainsAny(a, " '\"\\*?[]{}()<>|&;$`#~") {
			a = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
		b.WriteString(a)
	}
	if c.reads != "" {
		lines := strings.SplitAfterN(c.reads, "\n", 5)
		if len(lines) == 5 {
			lines[4] = "…\n"
		}
		fmt.Fprintf(&b, "\n%s", strings.TrimSpace(strings.Join(lines, "")))
	}
	return b.String()
}

// programs are all clients, ours first.
func programs() []program {
	return []program{
		{"dray", "", "", func(proto, work) bool { return true }, runDray},
		{"lftp", "lftp", "lftp", func(proto, work) bool { return true }, runLFTP},
		{"curl", "curl", "curl", func(_ proto, w work) bool { return w != mirrorTree }, runCurl},
		{"ncftp", "ncftp", "ncftpget", func(p proto, _ work) bool { return p == overFTP }, runNcFTP},
		{"rclone", "rclone", "rclone", func(proto, work) bool { return true }, runRclone},
		{"sftp", "openssh-client", "sftp", func(p proto, w work) bool { return p == overSFTP && w != mirrorTree }, runSFTP},
		{"scp", "openssh-client", "scp", func(p proto, w work) bool { return p == overSFTP && w != mirrorTree }, runSCP},
	}
}

// version is that of the package.
func (p program) version() string {
	if p.pkg == "" {
		return ""
	}
	out, err := exec.Command("dpkg-query", "-W", "-f", "${Version}", p.pkg).Output()
	if err != nil {
		return "unknown"
	}
	return string(out)
}

// A clientPlace is the home of all clients: keys, and whom to trust. No client is
// told to trust everybody.
type clientPlace struct {
	dir      string
	dray     string
	ca       string          // the certificate of the servers
	key      string          // the user's private key, beside it the public one
	password string          // a file
	config   string          // of OpenSSH
	known    string          // known_hosts
	obscured string          // the password as rclone takes it
	verbs    map[string]bool // commands that dray has, as far as it was asked
}

// newClientPlace writes what clients need beside the servers, which run.
func (b *bench) newClientPlace() (*clientPlace, error) {
	dir := filepath.Join(b.dir, "client")
	c := &clientPlace{
		dir: dir, dray: b.dray, key: filepath.Join(dir, ".ssh", "id_ed25519"), password: filepath.Join(dir, "password"),
		config: filepath.Join(dir, ".ssh", "config"), known: filepath.Join(dir, ".ssh", "known_hosts"), verbs: map[string]bool{},
	}
	if err := os.MkdirAll(filepath.Join(dir, ".ssh"), 0o700); err != nil {
		return nil, err
	}
	own, err := certs.Load(b.certificate(), "")
	if err != nil {
		return nil, err
	}
	if c.ca, err = own.WritePublic(dir); err != nil {
		return nil, err
	}
	block, err := ssh.MarshalPrivateKey(b.key, "bench")
	if err != nil {
		return nil, err
	}
	public, err := os.ReadFile(b.keyFile())
	if err != nil {
		return nil, err
	}
	known, err := b.knownHosts()
	if err != nil {
		return nil, err
	}
	if out, err := exec.Command("rclone", "obscure", password).Output(); err == nil {
		c.obscured = strings.TrimSpace(string(out))
	}
	return c, errors.Join(
		write(c.key, string(pem.EncodeToMemory(block))), write(c.key+".pub", string(public)),
		write(c.password, password+"\n"), write(c.known, known),
		write(c.config, strings.Join([]string{
			"Host *", "IdentityFile " + c.key, "IdentitiesOnly yes", "UserKnownHostsFile " + c.known, "GlobalKnownHostsFile none",
			"StrictHostKeyChecking yes", "UpdateHostKeys no", "BatchMode yes", "PreferredAuthentications publickey",
			"Compression no", "Ciphers aes128-gcm@openssh.com", "", // the fastest one; the default would be chacha20
		}, "\n")),
	)
}

// knownHosts asks the servers for all of their keys, which are theirs: nobody else
// is in this network.
func (b *bench) knownHosts() (string, error) {
	var text strings.Builder
	enough := errors.New("enough")
	for _, s := range b.servers {
		if s.ssh == "" {
			continue
		}
		_, port, err := net.SplitHostPort(s.ssh)
		if err != nil {
			return "", err
		}
		var found int
		for _, kind := range []string{ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoRSASHA512} {
			_, err := ssh.Dial("tcp", s.ssh, &ssh.ClientConfig{User: userName, HostKeyAlgorithms: []string{kind}, HostKeyCallback: func(_ string, _ net.Addr, key ssh.PublicKey) error {
				found++
				for _, host := range []string{"127.0.0.1", farEnd.String()} {
					fmt.Fprintf(&text, "[%s]:%s %s", host, port, ssh.MarshalAuthorizedKey(key))
				}
				return enough
			}})
			_ = err // the key is all that was wanted, and not every server has every kind
		}
		if found == 0 {
			return "", fmt.Errorf("%s shows no host key", s.name)
		}
	}
	return text.String(), nil
}

// environment is all that clients find in theirs.
func (c *clientPlace) environment() []string {
	return []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + c.dir, "LC_ALL=C.UTF-8", "USER=root", "LOGNAME=root", "TMPDIR=" + c.dir,
		"SSL_CERT_FILE=" + c.ca, // rclone's way to a certificate authority
	}
}

// has tells whether the dray that is measured has a command.
func (c *clientPlace) has(verb string) bool {
	if _, asked := c.verbs[verb]; !asked {
		out, err := exec.Command(c.dray, verb, "--help").Output()
		c.verbs[verb] = err == nil && bytes.Contains(out, []byte("\n  dray "+verb+" "))
	}
	return c.verbs[verb]
}

var errNoCommand = errors.New("this dray has no such command")

// runDray is as a user types it, but for TLS: with 1.3 a session that is resumed costs
// both sides a key exchange, and nobody beside it speaks that.
func runDray(t task) (command, error) {
	verb := map[work]string{getOne: "get", getTree: "get", putOne: "put", putTree: "put", mirrorTree: "mirror"}[t.row.work]
	if !t.client.has(verb) {
		return command{}, fmt.Errorf("%w: %s", errNoCommand, verb)
	}
	url := map[proto]string{overFTP: "ftp+plain://", overFTPS: "ftp+tls://", overSFTP: "sftp://"}[t.row.proto] +
		userName + "@" + net.JoinHostPort(t.host, t.port) + map[proto]string{overSFTP: "/~"}[t.row.proto]
	argv := []string{t.client.dray, verb, "-b", "-q"}
	switch t.row.proto {
	case overFTPS:
		argv = append(argv, "--tls-max", "1.2", "--ca", t.client.ca, "--password-file", t.client.password)
	case overFTP:
		argv = append(argv, "--password-file", t.client.password)
	case overSFTP:
		argv = append(argv, "-F", t.client.config)
	}
	switch t.row.work {
	case getOne:
		argv = append(argv, url+"/"+t.source, t.local)
	case getTree:
		argv = append(argv, "-r", url+"/"+t.source, t.local)
	case putOne:
		argv = append(argv, t.from, url+"/up/")
	case putTree:
		argv = append(argv, "-r", t.from, url+"/up/")
	case mirrorTree:
		argv = append(argv, url+"/"+t.source, filepath.Join(t.local, t.source))
	}
	return command{argv: argv}, nil
}

// runLFTP sends commands ahead of replies, and lets SFTP have as much under way
// as OpenSSH does. Modes are not set: it would take a command for each file. With
// TLS 1.3 it takes several times as long (GnuTLS), and loses an upload to vsftpd
// now and then.
func runLFTP(t task) (command, error) {
	set := []string{"net:max-retries 1", "net:timeout 60", "cmd:fail-exit yes", "xfer:clobber yes", "xfer:log no", "cmd:trace no"}
	open := fmt.Sprintf(`open -u %s,"%s" ftp://%s`, userName, password, net.JoinHostPort(t.host, t.port))
	switch t.row.proto {
	case overFTP:
		set = append(set, "ftp:sync-mode off", "ftp:ssl-allow no")
	case overFTPS:
		set = append(set, "ftp:sync-mode off", "ftp:ssl-force yes", "ftp:ssl-protect-data yes", "ssl:priority NORMAL:-VERS-TLS1.3", "ssl:ca-file "+t.client.ca)
	case overSFTP:
		set = append(set, fmt.Sprintf(`sftp:connect-program "ssh -a -x -F %s"`, t.client.config), "sftp:max-packets-in-flight 64")
		open = fmt.Sprintf(`open -u %s, sftp://%s`, userName, net.JoinHostPort(t.host, t.port))
	}
	here := filepath.Join(t.local, t.source)
	do := map[work]string{
		getOne:     fmt.Sprintf("get -O %s %s", t.local, t.source),
		putOne:     fmt.Sprintf("put -O up %s", t.from),
		getTree:    fmt.Sprintf("mirror --no-perms -P %d %s %s", t.atOnce, t.source, here),
		putTree:    fmt.Sprintf("mirror -R --no-perms -P %d %s up/%s", t.atOnce, t.from, t.source),
		mirrorTree: fmt.Sprintf("mirror --no-perms -P %d %s %s", t.atOnce, t.source, here),
	}[t.row.work]
	return command{argv: []string{"lftp", "-c", "set " + strings.Join(set, "; set ") + "; " + open + "; " + do}}, nil
}

// runCurl knows no trees: it is given every name, which spares it the listings. With
// TLS 1.3 it closes uploads over the tickets that it did not read, which resets them:
// one in eight to vsftpd ends with 426, the others 200 ms later.
func runCurl(t task) (command, error) {
	argv := []string{"curl", "-q", "--no-progress-meter", "--fail", "-u", userName + ":" + password}
	url := "ftp://"
	switch t.row.proto {
	case overFTPS:
		argv = append(argv, "--ssl-reqd", "--tls-max", "1.2", "--cacert", t.client.ca)
	case overSFTP:
		argv = []string{"curl", "-q", "--no-progress-meter", "--fail", "-u", userName + ":", "--key", t.client.key, "--pubkey", t.client.key + ".pub"}
		url = "sftp://"
	}
	url += net.JoinHostPort(t.host, t.port) + "/"
	if t.row.proto == overSFTP {
		url += "~/"
	}
	switch t.row.work {
	case getOne:
		return command{argv: append(argv, "-o", filepath.Join(t.local, t.source), url+t.source)}, nil
	case putOne:
		return command{argv: append(argv, "-T", t.from, url+"up/"+t.source)}, nil
	}
	var list strings.Builder
	home := filepath.Dir(t.from)
	err := filepath.WalkDir(t.from, func(name string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(home, name)
		if t.row.work == putTree {
			fmt.Fprintf(&list, "upload-file = %q\nurl = %q\n", name, url+"up/"+rel)
		} else {
			fmt.Fprintf(&list, "url = %q\noutput = %q\n", url+rel, filepath.Join(t.local, rel))
		}
		return err
	})
	urls := filepath.Join(t.client.dir, "urls")
	argv = append(argv, "-Z", "--parallel-max", fmt.Sprint(t.atOnce), "--create-dirs")
	switch {
	case t.row.work == getTree:
		argv = append(argv, "--ftp-method", "nocwd")
	case t.row.source == treeSource: // it makes directories one by one
		argv = append(argv, "--ftp-create-dirs")
	default:
		argv = append(argv, "--ftp-create-dirs", "--ftp-method", "singlecwd")
	}
	return command{argv: append(argv, "-K", urls), reads: list.String()}, errors.Join(err, write(urls, list.String()))
}

func runNcFTP(t task) (command, error) {
	argv := []string{"ncftpget", "-V", "-r", "1", "-t", "60", "-u", userName, "-p", password, "-P", t.port}
	switch t.row.work {
	case getOne:
		return command{argv: append(argv, t.host, t.local, t.source)}, nil
	case getTree, mirrorTree: // it leaves alone what has the size and the time
		return command{argv: append(argv, "-R", "-T", t.host, t.local, t.source)}, nil
	}
	argv[0] = "ncftpput"
	if t.row.work == putTree {
		argv = append(argv, "-R")
	}
	return command{argv: append(argv, t.host, "up", t.from)}, nil
}

// runRclone compares nothing with what is there already, and uses no shell of the
// server, for checksums or otherwise. With TLS 1.3 vsftpd ends its connections.
func runRclone(t task) (command, error) {
	if t.client.obscured == "" {
		return command{}, errors.New("rclone obscure failed")
	}
	where := fmt.Sprintf(":ftp,host=%s,port=%s,user=%s,pass=%s", t.host, t.port, userName, t.client.obscured)
	switch t.row.proto {
	case overFTPS:
		where += ",explicit_tls=true,disable_tls13=true"
	case overSFTP:
		where = fmt.Sprintf(":sftp,host=%s,port=%s,user=%s,key_file=%s,known_hosts_file=%s,shell_type=none,disable_hashcheck=true,chunk_size=255k",
			t.host, t.port, userName, t.client.key, t.client.known)
	}
	where += ":"
	n := fmt.Sprint(t.atOnce)
	argv := []string{"rclone", "--config", "", "--retries", "1", "--low-level-retries", "1", "--transfers", n, "--checkers", n}
	here := filepath.Join(t.local, t.source)
	switch t.row.work {
	case getOne:
		argv = append(argv, "--multi-thread-streams", "0", "--no-check-dest", "copyto", where+t.source, here)
	case putOne:
		argv = append(argv, "--no-check-dest", "copyto", t.from, where+"up/"+t.source)
	case getTree:
		argv = append(argv, "--no-check-dest", "copy", where+t.source, here)
	case putTree:
		argv = append(argv, "--no-check-dest", "copy", t.from, where+"up/"+t.source)
	case mirrorTree:
		argv = append(argv, "--size-only", "sync", where+t.source, here)
	}
	return command{argv: argv}, nil
}

// runSFTP leaves the length and the number of requests to sftp: it takes what the
// server announces, and its window of 2 MiB is the bound in any case.
func runSFTP(t task) (command, error) {
	do := map[work]string{
		getOne:  fmt.Sprintf("get %s %s/\n", t.source, t.local),
		putOne:  fmt.Sprintf("put %s up/\n", t.from),
		getTree: fmt.Sprintf("get -R %s %s/\n", t.source, t.local),
		putTree: fmt.Sprintf("put -R %s up/\n", t.from),
	}[t.row.work]
	batch := filepath.Join(t.client.dir, "batch")
	return command{argv: []string{"sftp", "-q", "-b", batch, "-F", t.client.config, "-P", t.port, userName + "@" + t.host}, reads: do}, write(batch, do)
}

// runSCP speaks scp's old protocol, which has fewer round trips than SFTP.
func runSCP(t task) (command, error) {
	argv := []string{"scp", "-q", "-O", "-F", t.client.config, "-P", t.port}
	if t.row.work == getTree || t.row.work == putTree {
		argv = append(argv, "-r")
	}
	there := userName + "@" + t.host + ":"
	if t.row.work.uploads() {
		return command{argv: append(argv, t.from, there+"up/")}, nil
	}
	return command{argv: append(argv, there+t.source, t.local)}, nil
}

// lastLine is what a program said last; of dray, whose first line says what
// happened, the first one.
func lastLine(said []byte) string {
	last := ""
	for line := range strings.FieldsFuncSeq(string(said), func(r rune) bool { return r == '\n' || r == '\r' }) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "dray: ") {
			return line
		}
		last = cmp.Or(line, last)
	}
	return last
}
