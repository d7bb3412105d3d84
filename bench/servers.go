//go:build linux

package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

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
}

// A server is one that runs.
type server struct {
	name   string
	recipe recipe
	place  place
	addr   string
	group  *group
	cmd    *exec.Cmd
	exited chan error
}

// A recipe says how a server is started: it writes what it needs into dir and
// returns the command.
type recipe struct {
	name    string
	port    int
	prepare func(p place, dir, port string) (*exec.Cmd, error)
}

// recipes are all servers, ours first. dray-commit is dray as it comes, which
// has an upload on the disk before it answers; the peers never do that.
func recipes() []recipe {
	return []recipe{
		{"dray", 2101, func(p place, dir, port string) (*exec.Cmd, error) { return drayServer(p, dir, port, "none") }},
		{"vsftpd", 2102, vsftpd},
		{"proftpd", 2103, proftpd},
		{"pureftpd", 2104, pureftpd},
		{"dray-commit", 2105, func(p place, dir, port string) (*exec.Cmd, error) { return drayServer(p, dir, port, "commit") }},
	}
}

func (r recipe) start(p place) (*server, error) {
	dir := filepath.Join(p.dir, r.name)
	if err := os.RemoveAll(dir); err != nil { // of the one before
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	cmd, err := r.prepare(p, dir, fmt.Sprint(r.port))
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
		name: r.name, recipe: r, place: p, addr: fmt.Sprintf("127.0.0.1:%d", r.port), cmd: cmd,
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

// ready waits until somebody can log in.
func (s *server) ready() error {
	for deadline := time.Now().Add(15 * time.Second); ; {
		nc, err := net.Dial("tcp", s.addr)
		if err == nil {
			_ = nc.Close()
			break
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

func drayServer(p place, dir, port, sync string) (*exec.Cmd, error) {
	config := filepath.Join(dir, "dray.toml")
	err := write(config, fmt.Sprintf(`state = %q
passive = "31000-32999"
sync = %q
[[listener]]
listen = ["127.0.0.1:%s"]
plain = true
[[tls.certificate]]
file = %q
[limits]
sessions = 40000
sessions-per-address = "off"
[log]
xferlog = %q
`, dir, sync, port, p.certificate(), filepath.Join(dir, "xferlog")))
	if err != nil {
		return nil, err
	}
	add := exec.Command(p.dray, "user", "add", userName, "--config", config, "--home", p.home, "--hash")
	add.Stdin = strings.NewReader(passwordHash + "\n")
	if out, err := add.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("user add: %w\n%s", err, out)
	}
	err = filepath.WalkDir(dir, func(name string, _ os.DirEntry, err error) error {
		return errors.Join(err, os.Chown(name, userID, userID))
	})
	cmd := exec.Command(p.dray, "serve", "--config", config)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: userID, Gid: userID}}
	return cmd, err
}

func vsftpd(p place, dir, port string) (*exec.Cmd, error) {
	empty, config := filepath.Join(dir, "empty"), filepath.Join(dir, "vsftpd.conf")
	if err := os.Mkdir(empty, 0o755); err != nil {
		return nil, err
	}
	own := filepath.Join(p.deb, "vsftpd")
	return environ(exec.Command(filepath.Join(own, "usr/sbin/vsftpd"), config), own, p), write(config, strings.Join([]string{
		"listen=YES", "background=NO", "listen_address=127.0.0.1", "listen_port=" + port,
		"anonymous_enable=NO", "local_enable=YES", "write_enable=YES", "pam_service_name=vsftpd",
		"chroot_local_user=YES", "allow_writeable_chroot=YES", "secure_chroot_dir=" + empty, "local_umask=022",
		"ascii_download_enable=YES", "xferlog_enable=YES", "xferlog_file=" + filepath.Join(dir, "xferlog"),
		"max_clients=40000", "max_per_ip=40000", "pasv_min_port=33000", "pasv_max_port=34999", "idle_session_timeout=3600", "data_connection_timeout=600",
		"ssl_enable=YES", "force_local_logins_ssl=NO", "force_local_data_ssl=NO", "require_ssl_reuse=NO",
		"rsa_cert_file=" + p.certificate(), "",
	}, "\n"))
}

func proftpd(p place, dir, port string) (*exec.Cmd, error) {
	own := filepath.Join(p.deb, "proftpd")
	config, users := filepath.Join(dir, "proftpd.conf"), filepath.Join(dir, "users")
	if err := write(users, fmt.Sprintf("%s:%s:%d:%d::%s:/bin/sh\n", userName, passwordHash, userID, userID, p.home)); err != nil {
		return nil, err
	}
	lines := []string{
		"ModulePath " + filepath.Join(own, "usr/lib/proftpd"), "LoadModule mod_tls.c",
		"ServerType standalone", "ServerName bench", "DefaultAddress 127.0.0.1", "SocketBindTight on", "Port " + port, "UseIPv6 off",
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

func pureftpd(p place, dir, port string) (*exec.Cmd, error) {
	own := filepath.Join(p.deb, "pureftpd")
	users := filepath.Join(dir, "users")
	if err := write(users, fmt.Sprintf("%s:%s:%d:%d::%s/./::::::::::::\n", userName, passwordHash, userID, userID, p.home)); err != nil {
		return nil, err
	}
	if out, err := environ(exec.Command(filepath.Join(own, "usr/bin/pure-pw"), "mkdb", users+".pdb", "-f", users), own, p).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("pure-pw: %w\n%s", err, out)
	}
	return environ(exec.Command(filepath.Join(own, "usr/sbin/pure-ftpd"), "-S", "127.0.0.1,"+port, "-l", "puredb:"+users+".pdb",
		"-4", "-A", "-E", "-H", "-c", "4000", "-C", "4000", "-I", "60", "-L", "2000000:2", "-p", "37000:38999", "-U", "133:022", "-Y", "1",
		"-2", p.certificate(), "-O", "clf:"+filepath.Join(dir, "xferlog"), "-g", filepath.Join(dir, "pid")), own, p), nil
}

// environ gives an unpacked program its libraries, and OpenSSL the suite that
// crypto/tls offers first, so that all servers encrypt alike.
func environ(cmd *exec.Cmd, own string, p place) *exec.Cmd {
	cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+libraries(own), "OPENSSL_CONF="+filepath.Join(p.dir, "openssl.cnf"))
	return cmd
}

// certificate is the file with the certificate, ECDSA P-256, and its key.
func (p place) certificate() string { return filepath.Join(p.dir, certs.SelfSignedFile) }

// furnish writes what the servers share: a certificate, the user, the
// configuration of OpenSSL and PAM. It runs in a mount namespace of the bench.
func (p place) furnish() error {
	if _, err := certs.SelfSigned(p.dir, []string{"localhost"}, nil, time.Now()); err != nil {
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
