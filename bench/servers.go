//go:build linux

package main

import (
	"cmp"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"

	"dray/certs"
)

// The one user of all servers. Its hash is cheap, so that hashing is not what is
// measured.
const (
	userName     = "benchuser"
	password     = "one for all"
	passwordHash = "$1$drayback$wO/WMRLLnGCn39pdiF0PZ1"
	userID       = 2000
)

// A place is the scratch folder of one run: on tmpfs, with everything in it.
type place struct {
	dir  string // the scratch folder
	home string // what the user sees as /
	deb  string // the unpacked peers
	dray string // the binary
	key  ed25519.PrivateKey
	hear string // where the servers listen that clients measure; "": loopback only
}

// listen is an address to listen on.
func (p place) listen(port int) string {
	return net.JoinHostPort(cmp.Or(p.hear, "127.0.0.1"), strconv.Itoa(port))
}

// A server is one that runs.
type server struct {
	name   string
	recipe recipe
	place  place
	addr   string // for FTP; "" without
	ssh    string // for SFTP; "" without
	group  *group
	cmd    *exec.Cmd
	exited chan error
}

// A recipe says how a server is started: it writes what it needs into dir and
// returns the command.
type recipe struct {
	name     string
	ftp, ssh int // ports; 0: it has none
	prepare  func(p place, dir string, r recipe) (*exec.Cmd, error)
}

// recipes are all servers, ours first. dray-commit is dray as it comes, which
// has an upload on the disk before it answers; the peers never do that. sshd has
// SFTP in its own process and a jail, sshd-ext the program sftp-server and none.
func recipes() []recipe {
	return []recipe{
		{"dray", 2101, 2201, func(p place, dir string, r recipe) (*exec.Cmd, error) { return drayServer(p, dir, r, "none") }},
		{"vsftpd", 2102, 0, vsftpd},
		{"proftpd", 2103, 0, proftpd},
		{"pureftpd", 2104, 0, pureftpd},
		{"dray-commit", 2105, 0, func(p place, dir string, r recipe) (*exec.Cmd, error) { return drayServer(p, dir, r, "commit") }},
		{"sshd", 0, 2202, func(p place, dir string, r recipe) (*exec.Cmd, error) {
			return sshd(p, dir, r, "internal-sftp", "ChrootDirectory "+p.dir, "ForceCommand internal-sftp -d /"+filepath.Base(p.home))
		}},
		{"sshd-ext", 0, 2203, func(p place, dir string, r recipe) (*exec.Cmd, error) {
			program := filepath.Join(dir, "sftp-server") // where its user may run it
			b, err := os.ReadFile(filepath.Join(p.deb, "openssh/usr/lib/openssh/sftp-server"))
			if err == nil {
				err = os.WriteFile(program, b, 0o755)
			}
			if err != nil {
				return nil, err
			}
			return sshd(p, dir, r, program)
		}},
		{"mod_sftp", 0, 2204, modSFTP},
	}
}

func at(port int) string {
	if port == 0 {
		return ""
	}
	return fmt.Sprintf("127.0.0.1:%d", port)
}

func (r recipe) start(p place) (*server, error) {
	dir := filepath.Join(p.dir, r.name)
	if err := os.RemoveAll(dir); err != nil { // of the one before
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	cmd, err := r.prepare(p, dir, r)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.name, err)
	}
	log, err := os.Create(filepath.Join(dir, "output"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", r.name, err)
	}
	s := &server{
		name: r.name, recipe: r, place: p, addr: at(r.ftp), ssh: at(r.ssh), cmd: cmd,
		group: newGroup(r.name, cmd.Process.Pid), exited: make(chan error, 1),
	}
	go func() { s.exited <- cmd.Wait() }()
	if err := s.ready(); err != nil {
		s.stop()
		said, _ := os.ReadFile(log.Name())
		return nil, fmt.Errorf("%s: %w\n%s", r.name, err, said)
	}
	return s, nil
}

// ready waits until somebody can log in by each protocol that s has.
func (s *server) ready() error {
	deadline := time.Now().Add(15 * time.Second)
	for _, addr := range []string{s.addr, s.ssh} { // no server opens both at once
		if addr == "" {
			continue
		}
		if err := s.listens(addr, deadline); err != nil {
			return err
		}
	}
	if s.ssh != "" {
		if err := s.readySSH(); err != nil {
			return fmt.Errorf("login over SSH: %w", err)
		}
	}
	if s.addr == "" {
		return nil
	}
	for _, secure := range []bool{false, true} {
		c, err := login(s.addr, secure)
		if err != nil {
			return fmt.Errorf("login: %w", err)
		}
		if err := c.quit(); err != nil {
			return fmt.Errorf("quit: %w", err)
		}
	}
	return nil
}

// listens waits until somebody takes connections at addr.
func (s *server) listens(addr string, deadline time.Time) error {
	for {
		nc, err := net.Dial("tcp", addr)
		if err == nil {
			return nc.Close()
		}
		select {
		case err := <-s.exited:
			s.exited <- err
			return fmt.Errorf("it ended: %v", err)
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("it does not listen: %w", err)
		}
	}
}

// readySSH logs in with the password and with the key.
func (s *server) readySSH() error {
	for _, key := range []ed25519.PrivateKey{nil, s.place.key} {
		c, err := openSFTP(s.ssh, aes128gcm, key)
		if err != nil {
			return err
		}
		if err := errors.Join(c.nothing(), c.close()); err != nil {
			return err
		}
	}
	return nil
}

func (s *server) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-s.exited:
		s.exited <- err
	case <-time.After(3 * time.Second):
	}
	s.group.end()
}

// renew starts the server anew: a row about memory is about its own.
func (s *server) renew() error {
	s.stop()
	n, err := s.recipe.start(s.place)
	if err == nil {
		*s = *n
	}
	return err
}

func write(name, text string) error { return os.WriteFile(name, []byte(text), 0o600) }

func drayServer(p place, dir string, r recipe, sync string) (*exec.Cmd, error) {
	config := filepath.Join(dir, "dray.toml")
	secureShell := ""
	if r.ssh != 0 {
		secureShell = fmt.Sprintf("[[listener]]\nprotocol = \"sftp\"\nlisten = [\"%s\"]\n", p.listen(r.ssh))
	}
	err := write(config, fmt.Sprintf(`state = %q
passive = "31000-32999"
sync = %q
[[listener]]
listen = [%q]
plain = true
%s[[tls.certificate]]
file = %q
[limits]
sessions = 40000
sessions-per-address = "off"
[log]
xferlog = %q
`, dir, sync, p.listen(r.ftp), secureShell, p.certificate(), filepath.Join(dir, "xferlog")))
	if err != nil {
		return nil, err
	}
	add := exec.Command(p.dray, "user", "add", userName, "--config", config, "--home", p.home, "--hash")
	add.Stdin = strings.NewReader(passwordHash + "\n")
	if out, err := add.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("user add: %w\n%s", err, out)
	}
	add = exec.Command(p.dray, "user", "key", "add", userName, p.keyFile(), "--config", config)
	if out, err := add.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("user key add: %w\n%s", err, out)
	}
	err = filepath.WalkDir(dir, func(name string, _ os.DirEntry, err error) error {
		return errors.Join(err, os.Chown(name, userID, userID))
	})
	cmd := exec.Command(p.dray, "serve", "--config", config)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: userID, Gid: userID}}
	return cmd, err
}

func vsftpd(p place, dir string, r recipe) (*exec.Cmd, error) {
	empty, config := filepath.Join(dir, "empty"), filepath.Join(dir, "vsftpd.conf")
	if err := os.Mkdir(empty, 0o755); err != nil {
		return nil, err
	}
	own := filepath.Join(p.deb, "vsftpd")
	return environ(exec.Command(filepath.Join(own, "usr/sbin/vsftpd"), config), own, p), write(config, strings.Join([]string{
		"listen=YES", "background=NO", "listen_address=" + cmp.Or(p.hear, "127.0.0.1"), "listen_port=" + fmt.Sprint(r.ftp),
		"anonymous_enable=NO", "local_enable=YES", "write_enable=YES", "pam_service_name=vsftpd",
		"chroot_local_user=YES", "allow_writeable_chroot=YES", "secure_chroot_dir=" + empty, "local_umask=022",
		"ascii_download_enable=YES", "xferlog_enable=YES", "xferlog_file=" + filepath.Join(dir, "xferlog"),
		"max_clients=40000", "max_per_ip=40000", "pasv_min_port=33000", "pasv_max_port=34999", "idle_session_timeout=3600", "data_connection_timeout=600",
		"ssl_enable=YES", "force_local_logins_ssl=NO", "force_local_data_ssl=NO", "require_ssl_reuse=NO",
		"rsa_cert_file=" + p.certificate(), "ssl_ciphers=ECDHE-ECDSA-AES128-GCM-SHA256", "", // of TLS 1.2; its default is for RSA
	}, "\n"))
}

func proftpd(p place, dir string, r recipe) (*exec.Cmd, error) {
	own := filepath.Join(p.deb, "proftpd")
	config, users := filepath.Join(dir, "proftpd.conf"), filepath.Join(dir, "users")
	if err := write(users, fmt.Sprintf("%s:%s:%d:%d::%s:/bin/sh\n", userName, passwordHash, userID, userID, p.home)); err != nil {
		return nil, err
	}
	lines := []string{
		"ModulePath " + filepath.Join(own, "usr/lib/proftpd"), "LoadModule mod_tls.c",
		"ServerType standalone", "ServerName bench", "DefaultAddress 127.0.0.1", "SocketBindTight on", "Port " + fmt.Sprint(r.ftp), "UseIPv6 off",
		"User nobody", "Group nogroup", "MaxInstances none", "UseReverseDNS off", "WtmpLog off", "RequireValidShell off",
		"AuthOrder mod_auth_file.c", "AuthUserFile " + users, "DefaultRoot ~", "AllowOverwrite on", "Umask 022",
		"UseSendfile on", "DelayEngine off", "TimeoutIdle 3600", "TimeoutLogin 600", "PassivePorts 35000 36999",
		"PidFile " + filepath.Join(dir, "pid"), "ScoreboardFile " + filepath.Join(dir, "scoreboard"), "DelayTable none",
		"SystemLog " + filepath.Join(dir, "log"), "TransferLog " + filepath.Join(dir, "xferlog"),
		"TLSEngine on", "TLSRequired off", "TLSProtocol TLSv1.2 TLSv1.3", "TLSOptions NoSessionReuseRequired",
		"TLSECCertificateFile " + p.certificate(), "TLSECCertificateKeyFile " + p.certificate(), "TLSVerifyClient off",
		"",
	}
	return environ(exec.Command(filepath.Join(own, "usr/sbin/proftpd"), "-n", "-q", "-c", config), own, p), write(config, strings.Join(lines, "\n"))
}

func pureftpd(p place, dir string, r recipe) (*exec.Cmd, error) {
	own := filepath.Join(p.deb, "pureftpd")
	users := filepath.Join(dir, "users")
	if err := write(users, fmt.Sprintf("%s:%s:%d:%d::%s/./::::::::::::\n", userName, passwordHash, userID, userID, p.home)); err != nil {
		return nil, err
	}
	if out, err := environ(exec.Command(filepath.Join(own, "usr/bin/pure-pw"), "mkdb", users+".pdb", "-f", users), own, p).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("pure-pw: %w\n%s", err, out)
	}
	return environ(exec.Command(filepath.Join(own, "usr/sbin/pure-ftpd"), "-S", fmt.Sprintf("127.0.0.1,%d", r.ftp), "-l", "puredb:"+users+".pdb",
		"-4", "-A", "-E", "-H", "-c", "4000", "-C", "4000", "-I", "60", "-L", "2000000:2", "-p", "37000:38999", "-U", "133:022", "-Y", "1",
		"-2", p.certificate(), "-O", "clf:"+filepath.Join(dir, "xferlog"), "-g", filepath.Join(dir, "pid")), own, p), nil
}

// sshd is OpenSSH's server, with lines of configuration that differ.
func sshd(p place, dir string, r recipe, subsystem string, more ...string) (*exec.Cmd, error) {
	own := filepath.Join(p.deb, "openssh")
	config := filepath.Join(dir, "sshd_config")
	lines := append([]string{
		"ListenAddress " + p.listen(r.ssh), "HostKey " + p.hostKey(), "PidFile none", "UsePAM no", "UseDNS no", "StrictModes no",
		"PasswordAuthentication yes", "AuthorizedKeysFile " + p.keyFile(), "LogLevel INFO",
		"MaxStartups 4000", "LoginGraceTime 600", "Subsystem sftp " + subsystem,
	}, more...)
	return environ(exec.Command(filepath.Join(own, "usr/sbin/sshd"), "-D", "-e", "-f", config), own, p), write(config, strings.Join(lines, "\n")+"\n")
}

// modSFTP is ProFTPD with SFTP.
func modSFTP(p place, dir string, r recipe) (*exec.Cmd, error) {
	own := filepath.Join(p.deb, "proftpd")
	config, users, keys := filepath.Join(dir, "proftpd.conf"), filepath.Join(dir, "users"), filepath.Join(dir, "keys")
	err := errors.Join(
		write(users, fmt.Sprintf("%s:%s:%d:%d::%s:/bin/sh\n", userName, passwordHash, userID, userID, p.home)),
		write(keys, fmt.Sprintf("---- BEGIN SSH2 PUBLIC KEY ----\n%s\n---- END SSH2 PUBLIC KEY ----\n", base64.StdEncoding.EncodeToString(publicKey(p.key)))),
		os.Chmod(keys, 0o644),
		write(config, strings.Join([]string{
			"ModulePath " + filepath.Join(own, "usr/lib/proftpd"), "LoadModule mod_sftp.c",
			"ServerType standalone", "ServerName bench", "DefaultAddress 127.0.0.1", "SocketBindTight on", "Port " + fmt.Sprint(r.ssh), "UseIPv6 off",
			"User nobody", "Group nogroup", "MaxInstances none", "UseReverseDNS off", "WtmpLog off", "RequireValidShell off",
			"AuthOrder mod_auth_file.c", "AuthUserFile " + users, "DefaultRoot ~", "AllowOverwrite on", "Umask 022",
			"DelayEngine off", "TimeoutIdle 3600", "TimeoutLogin 600", "DelayTable none",
			"PidFile " + filepath.Join(dir, "pid"), "ScoreboardFile " + filepath.Join(dir, "scoreboard"),
			"SystemLog " + filepath.Join(dir, "log"), "TransferLog " + filepath.Join(dir, "xferlog"),
			"SFTPEngine on", "SFTPHostKey " + p.hostKey(), "SFTPAuthorizedUserKeys file:" + keys, "SFTPAuthMethods publickey password",
			"",
		}, "\n")))
	return environ(exec.Command(filepath.Join(own, "usr/sbin/proftpd"), "-n", "-q", "-c", config), own, p), err
}

// environ gives an unpacked program its libraries, and OpenSSL the suite that
// crypto/tls offers first, so that all servers encrypt alike.
func environ(cmd *exec.Cmd, own string, p place) *exec.Cmd {
	cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+libraries(own), "OPENSSL_CONF="+filepath.Join(p.dir, "openssl.cnf"))
	return cmd
}

// certificate is the file with the certificate, ECDSA P-256, and its key.
func (p place) certificate() string { return filepath.Join(p.dir, certs.SelfSignedFile) }

// keyFile is the public key of the user as authorized_keys has it, hostKey the
// private key of the servers that do not make their own.
func (p place) keyFile() string { return filepath.Join(p.dir, "key.pub") }
func (p place) hostKey() string { return filepath.Join(p.dir, "hostkey") }

// makeKeys makes both.
func (p *place) makeKeys() error {
	_, host, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	if _, p.key, err = ed25519.GenerateKey(rand.Reader); err != nil {
		return err
	}
	block, err := ssh.MarshalPrivateKey(host, "bench")
	if err != nil {
		return err
	}
	public := "ssh-ed25519 " + base64.StdEncoding.EncodeToString(publicKey(p.key)) + " bench\n"
	return errors.Join(write(p.hostKey(), string(pem.EncodeToMemory(block))), write(p.keyFile(), public), os.Chmod(p.keyFile(), 0o644))
}

// furnish writes what the servers share: a certificate, the user, the
// configuration of OpenSSL and PAM. It runs in a mount namespace of the bench.
func (p place) furnish() error {
	if _, err := certs.SelfSigned(p.dir, []string{"localhost", "127.0.0.1", farEnd.String()}, nil, time.Now()); err != nil {
		return err
	}
	if err := syscall.Mount("tmpfs", "/run", "tmpfs", 0, "mode=755"); err != nil { // sshd wants a folder there
		return fmt.Errorf("tmpfs: %w", err)
	}
	if err := os.Mkdir("/run/sshd", 0o755); err != nil {
		return err
	}
	for name, text := range map[string]string{
		filepath.Join(p.dir, "openssl.cnf"): "openssl_conf = all\n[all]\nssl_conf = ssl\n[ssl]\nsystem_default = suites\n" +
			"[suites]\nCiphersuites = TLS_AES_128_GCM_SHA256\n",
		filepath.Join(p.dir, "pam"): "auth required pam_unix.so\naccount required pam_unix.so\nsession required pam_permit.so\n",
	} {
		if err := write(name, text); err != nil {
			return err
		}
	}
	if err := os.Chown(p.certificate(), userID, userID); err != nil {
		return err
	}
	for name, line := range map[string]string{
		"passwd": fmt.Sprintf("%s:x:%d:%d::%s:/bin/sh\n", userName, userID, userID, p.home),
		"group":  fmt.Sprintf("%s:x:%d:\n", userName, userID),
		"shadow": fmt.Sprintf("%s:%s:19000:0:99999:7:::\n", userName, passwordHash),
	} {
		old, err := os.ReadFile(filepath.Join("/etc", name))
		if err != nil {
			return err
		}
		if name == "passwd" && !strings.Contains(string(old), "\nsshd:") {
			line += fmt.Sprintf("sshd:x:%d:65534::/run/sshd:/usr/sbin/nologin\n", userID+1)
		}
		if err := bind(filepath.Join(p.dir, name), filepath.Join("/etc", name), string(old)+line); err != nil {
			return err
		}
	}
	if err := os.Chmod("/etc/passwd", 0o644); err != nil { // the copies, by now
		return err
	}
	if err := os.Chmod("/etc/group", 0o644); err != nil {
		return err
	}
	// PAM reads a folder; ours has one service.
	pam := filepath.Join(p.dir, "pam.d")
	if err := errors.Join(os.Mkdir(pam, 0o755), os.Rename(filepath.Join(p.dir, "pam"), filepath.Join(pam, "vsftpd"))); err != nil {
		return err
	}
	return syscall.Mount(pam, "/etc/pam.d", "", syscall.MS_BIND, "")
}

// bind puts text in place of a file of the system, in this mount namespace.
func bind(name, over, text string) error {
	if err := write(name, text); err != nil {
		return err
	}
	if err := syscall.Mount(name, over, "", syscall.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind %s: %w", over, err)
	}
	return nil
}
