//go:build linux

package interop

import (
	"bytes"
	"crypto/ed25519"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"dray/certs"
)

// passwordHash is the hash of password that the peers' servers get.
const passwordHash = "$6$draytests$w8ZRlH2FECVUbuVITowxUd5lhwVUJwHUK1oIpNBaqvLtrMBwapzOxGgxfjgZfaan8XM2eVGivdG6fWX7565sP/"

// userID is who the one user of the peers' servers is.
const userID = 61234

// A station is a server that the client of dray visits: dray's own or a peer's. It
// may be ended and started again, and has the same port and files then.
type station struct {
	name  string
	root  string   // what its user sees
	own   string   // its configuration and whatever else it needs
	host  string   // its address on the loopback
	low   int      // its port; the data ports are the next ones
	at    string   // scheme and path of a URL: "sftp", "/~/"
	flags []string // what the client needs to trust it
	known bool     // its certificate is trusted by its fingerprint
	make  func(t *testing.T, s *station) *exec.Cmd

	cmd   *exec.Cmd
	ended chan error
}

// A recipe makes a station. more are lines for its configuration.
type recipe struct {
	name string
	make func(t *testing.T, s *station, more []string)
}

// recipes are all servers that the client is tested with.
func recipes() []recipe {
	return []recipe{
		{"vsftpd plain", plainVsftpd},
		{"vsftpd TLS 1.2", func(t *testing.T, s *station, more []string) { secureVsftpd(t, s, "TLSv1.2", more) }},
		{"vsftpd TLS 1.3", func(t *testing.T, s *station, more []string) { secureVsftpd(t, s, "TLSv1.3", more) }},
		{"ProFTPD TLS 1.2", func(t *testing.T, s *station, more []string) { proftpd(t, s, "TLSv1.2", more) }},
		{"ProFTPD TLS 1.3", func(t *testing.T, s *station, more []string) { proftpd(t, s, "TLSv1.3", more) }},
		{"Pure-FTPd", pureftpd},
		{"pyftpdlib plain", func(t *testing.T, s *station, more []string) { pyftpdlib(t, s, "plain", more) }},
		{"pyftpdlib TLS", func(t *testing.T, s *station, more []string) { pyftpdlib(t, s, "explicit", more) }},
		{"inetutils-ftpd", inetutils},
		{"OpenSSH", openssh},
		{"dropbear", dropbear},
		{"dray ftp", func(t *testing.T, s *station, more []string) { drayStation(t, s, "ftp", more) }},
		{"dray ftps", func(t *testing.T, s *station, more []string) { drayStation(t, s, "ftps", more) }},
		{"dray sftp", func(t *testing.T, s *station, more []string) { drayStation(t, s, "sftp", more) }},
	}
}

// visitTo starts the server of that name on an empty directory.
func visitTo(t *testing.T, name string, more ...string) *station {
	t.Helper()
	return visitOn(t, name, open(t), more...)
}

// visitOn starts the server of that name on root.
func visitOn(t *testing.T, name, root string, more ...string) *station {
	t.Helper()
	return visitAt(t, "127.0.0.1", name, root, more...)
}

// visitAt starts it at another address of the loopback.
func visitAt(t *testing.T, host, name, root string, more ...string) *station {
	t.Helper()
	for _, r := range recipes() {
		if r.name != name {
			continue
		}
		if !strings.HasPrefix(name, "dray") && !strings.HasPrefix(name, "pyftpdlib") {
			needsRoot(t, r.name+" runs as root only")
			if err := os.Chown(root, userID, userID); err != nil {
				t.Fatal(err)
			}
		}
		s := &station{name: name, root: root, own: open(t), host: host}
		for s.low = lowPort(); !free(s.low); s.low = lowPort() {
		}
		for i := range more { // five ports for data
			more[i] = strings.NewReplacer("1 PORT", s.few(" "), "1:PORT", s.few(":"), "1-PORT", s.few("-"), "PORT", strconv.Itoa(s.low+5)).Replace(more[i])
		}
		r.make(t, s, more)
		s.start(t)
		return s
	}
	t.Fatalf("there is no server %q", name)
	return nil
}

func lowPort() int {
	low, _, _ := strings.Cut(ownRange(), "-")
	n, _ := strconv.Atoi(low)
	return n
}

// free tells whether nobody listens on a port.
func free(port int) bool {
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return false
	}
	return l.Close() == nil
}

// certificate is a file with a certificate for the loopback and its key.
func (s *station) certificate(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(s.own, "tls")
	if _, err := certs.SelfSigned(dir, []string{"localhost", s.host}, nil, time.Now()); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, certs.SelfSignedFile)
}

// start starts the server and waits until it greets.
func (s *station) start(t *testing.T) {
	t.Helper()
	s.cmd = s.make(t, s)
	log, err := os.OpenFile(filepath.Join(s.own, "output"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	s.cmd.Stdout, s.cmd.Stderr = log, log
	if err := s.cmd.Start(); err != nil {
		t.Fatalf("%s: %v", s.name, err)
	}
	ended := make(chan error, 1)
	s.ended = ended
	cmd := s.cmd
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		err := <-ended
		ended <- err
		if t.Failed() {
			said, _ := os.ReadFile(log.Name())
			t.Logf("%s printed:\n%s", s.name, tail(string(said), 4000))
		}
	})
	for deadline := time.Now().Add(20 * time.Second); ; {
		if c, err := net.DialTimeout("tcp", s.addr(), time.Second); err == nil {
			_ = c.Close()
			return
		}
		select {
		case err := <-ended:
			ended <- err
			said, _ := os.ReadFile(log.Name())
			t.Fatalf("%s ended before it listened: %v\n%s", s.name, err, said)
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not listen after 20 s", s.name)
		}
	}
}

// kill ends the server and every process of its sessions.
func (s *station) kill(t *testing.T) {
	t.Helper()
	if err := s.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	err := <-s.ended
	s.ended <- err
	// The processes of a namespace end with its first one, which is not waited for.
	for deadline := time.Now().Add(5 * time.Second); !free(s.low) && time.Now().Before(deadline); {
		time.Sleep(5 * time.Millisecond)
	}
}

// below are the processes that descend from pid.
func below(t *testing.T, pid int) []int {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	children := map[int][]int{}
	for _, name := range all {
		b, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended
		}
		fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		child, _ := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		if len(fields) > 1 {
			parent, _ := strconv.Atoi(fields[1])
			children[parent] = append(children[parent], child)
		}
	}
	var out []int
	for next := []int{pid}; len(next) > 0; {
		some := children[next[0]]
		next = append(next[1:], some...)
		out = append(out, some...)
	}
	return out
}

func (s *station) addr() string { return fmt.Sprintf("%s:%d", s.host, s.low) }

// url is the address of a path below the root; its characters are written as a URL
// wants them.
func (s *station) url(path string) string {
	scheme, before, _ := strings.Cut(s.at, " ")
	return fmt.Sprintf("%s://%s@%s%s%s", scheme, user, s.addr(), before, escape(path))
}

func escape(path string) string {
	var b strings.Builder
	for i := range len(path) {
		if c := path[i]; c > ' ' && c < 0x7f && !strings.ContainsRune("%#?;\"<>[]*", rune(c)) {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

func (s *station) over(protocol string) bool { return strings.HasPrefix(s.at, protocol+" ") }

// ports is the range for data connections.
func (s *station) ports(join string) string { return fmt.Sprintf("%d%s%d", s.low+1, join, s.low+99) }

// few are five of them.
func (s *station) few(join string) string { return fmt.Sprintf("%d%s%d", s.low+1, join, s.low+5) }

// write writes a file of the station that every user may read, and returns its name.
func (s *station) write(t *testing.T, name, text string) string {
	t.Helper()
	name = filepath.Join(s.own, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

// apart is a command that runs a server where user is a user of the system, where
// PAM asks for the password and nothing else, and where all of its processes end
// with it.
func (s *station) apart(t *testing.T, program string, args ...string) *exec.Cmd {
	t.Helper()
	unshare := peer(t, "unshare")
	if err := exec.Command(unshare, "-m", "-p", "--fork", "true").Run(); err != nil {
		missing(t, "MISSING PEER "+s.name+": no namespaces here: "+err.Error())
	}
	for file, line := range map[string]string{
		"passwd": fmt.Sprintf("%s:x:%d:%d::%s:/bin/sh\nsshd:x:%d:65534::/run/sshd:/usr/sbin/nologin\n", user, userID, userID, s.root, userID+1),
		"group":  fmt.Sprintf("%s:x:%d:\n", user, userID),
		"shadow": fmt.Sprintf("%s:%s:19000:0:99999:7:::\nsshd:*:19000:0:99999:7:::\n", user, passwordHash),
	} {
		old, err := os.ReadFile(filepath.Join("/etc", file))
		if err != nil {
			t.Fatal(err)
		}
		kept := ""
		for l := range strings.Lines(string(old)) {
			if !strings.HasPrefix(l, "sshd:") || file == "group" {
				kept += l
			}
		}
		s.write(t, "etc/"+file, kept+line)
	}
	s.write(t, "pam.d/other", "auth required pam_unix.so\naccount required pam_unix.so\nsession required pam_permit.so\n")
	const furnish = `cd "$1" && shift && for f in passwd group shadow; do mount --bind etc/$f /etc/$f; done && mount --bind pam.d /etc/pam.d && ` +
		`mount -t tmpfs -o mode=755 none /run && mkdir /run/sshd && "$@"; exit`
	cmd := exec.Command(unshare, append([]string{"-m", "-p", "--fork", "--kill-child=SIGKILL", "sh", "-ec", furnish, "sh", s.own, program}, args...)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	return cmd
}

// peersOf are the packages of servers that can't be installed beside each other:
// they are unpacked where they are missing.
var peersOf = map[string][]string{
	"proftpd":   {"proftpd-core", "proftpd-mod-crypto"},
	"pure-ftpd": {"pure-ftpd", "pure-ftpd-common"},
	"sshd":      {"openssh-server", "openssh-sftp-server"},
	"ftpd":      {"inetutils-ftpd", "libwrap0"},
}

var unpacking sync.Mutex

// unpacked is the program and the directory below which its package is: "/" where
// it is installed.
func unpacked(t *testing.T, program string) (path, root string) {
	t.Helper()
	if path, err := exec.LookPath(program); err == nil && strings.HasPrefix(path, "/usr/") {
		return path, "/"
	}
	unpacking.Lock()
	defer unpacking.Unlock()
	cache, err := os.UserCacheDir()
	if err != nil {
		missing(t, fmt.Sprintf("MISSING PEER %s: %v", program, err))
	}
	root = filepath.Join(cache, "dray-interop", program)
	path = filepath.Join(root, "usr/sbin", program)
	if _, err := os.Stat(path); err == nil {
		return path, root
	}
	packages := peersOf[program]
	lack := func(err error, out []byte) {
		missing(t, fmt.Sprintf("MISSING PEER %s: apt-get download %s: %v %s", program, strings.Join(packages, " "), err, tail(string(out), 300)))
	}
	list, err := exec.Command("apt-get", append([]string{"install", "-y", "--no-install-recommends", "--print-uris"}, packages...)...).Output()
	if err == nil { // else there is a conflict with what is installed
		for line := range strings.Lines(string(list)) {
			if f := strings.Fields(line); strings.HasPrefix(line, "'") && len(f) > 1 && strings.HasPrefix(f[1], "lib") {
				library, _, _ := strings.Cut(f[1], "_")
				packages = append(packages, library)
			}
		}
	} else if program == "proftpd" {
		packages = append(packages, "libhiredis0.14", "libmemcached11", "libmemcachedutil2", "libhashkit2", "libpcre2-8-0", "libpcre2-posix3")
	}
	if err := os.MkdirAll(filepath.Dir(root), 0o755); err != nil {
		lack(err, nil)
	}
	fresh, err := os.MkdirTemp(filepath.Dir(root), "unpacking-")
	if err != nil {
		lack(err, nil)
	}
	defer os.RemoveAll(fresh)
	get := exec.Command("apt-get", append([]string{"download", "-q", "-o", "Acquire::Retries=3"}, packages...)...)
	get.Dir = fresh
	if out, err := get.CombinedOutput(); err != nil {
		lack(err, out)
	}
	debs, _ := filepath.Glob(filepath.Join(fresh, "*.deb")) // a pattern without mistakes
	for _, deb := range debs {
		if out, err := exec.Command("dpkg", "-x", deb, fresh).CombinedOutput(); err != nil {
			lack(err, out)
		}
		_ = os.Remove(deb)
	}
	if err := os.Chmod(fresh, 0o755); err != nil {
		lack(err, nil)
	}
	if err := os.Rename(fresh, root); err != nil {
		if _, there := os.Stat(path); there != nil { // another process was faster
			lack(err, nil)
		}
	}
	return path, root
}

// libraries adds to the environment where an unpacked program finds its own.
func libraries(cmd *exec.Cmd, root string, more ...string) *exec.Cmd {
	if root != "/" {
		found, _ := filepath.Glob(filepath.Join(root, "usr/lib/*-linux-*")) // a pattern without mistakes
		cmd.Env = append(cmd.Env, "LD_LIBRARY_PATH="+strings.Join(append(found, filepath.Join(root, "usr/lib")), ":"))
	}
	cmd.Env = append(cmd.Env, more...)
	return cmd
}

func plainVsftpd(t *testing.T, s *station, more []string) {
	s.at, s.flags = "ftp /", []string{"--plain"}
	s.make = func(t *testing.T, s *station) *exec.Cmd { return vsftpd(t, s, more) }
}

// secureVsftpd requires TLS of that version, and that data connections resume it.
func secureVsftpd(t *testing.T, s *station, version string, more []string) {
	cert := s.certificate(t)
	s.at, s.flags = "ftp /", []string{"--ca", cert}
	// vsftpd has no setting for versions that are newer than it is.
	openssl := s.write(t, "openssl.cnf", "openssl_conf = all\n[all]\nssl_conf = ssl\n[ssl]\nsystem_default = versions\n[versions]\nMinProtocol = "+version+"\nMaxProtocol = "+version+"\n")
	s.make = func(t *testing.T, s *station) *exec.Cmd {
		cmd := vsftpd(t, s, append([]string{"ssl_enable=YES", "force_local_logins_ssl=YES", "force_local_data_ssl=YES",
			"require_ssl_reuse=YES", "rsa_cert_file=" + cert, "rsa_private_key_file=" + cert, "ssl_ciphers=HIGH"}, more...))
		cmd.Env = append(cmd.Env, "OPENSSL_CONF="+openssl)
		return cmd
	}
}

func vsftpd(t *testing.T, s *station, more []string) *exec.Cmd {
	t.Helper()
	program := peer(t, "vsftpd")
	if err := os.MkdirAll(filepath.Join(s.own, "empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	config := s.write(t, "vsftpd.conf", strings.Join(append([]string{
		"listen=YES", "listen_ipv6=NO", "background=NO", "listen_address=" + s.host, fmt.Sprintf("listen_port=%d", s.low),
		"anonymous_enable=NO", "local_enable=YES", "write_enable=YES", "pam_service_name=vsftpd", "local_root=" + s.root, "seccomp_sandbox=NO",
		"chroot_local_user=YES", "allow_writeable_chroot=YES", "secure_chroot_dir=" + filepath.Join(s.own, "empty"), "local_umask=022",
		fmt.Sprintf("pasv_min_port=%d", s.low+1), fmt.Sprintf("pasv_max_port=%d", s.low+99), "use_localtime=NO",
	}, more...), "\n")+"\n")
	return s.apart(t, program, config)
}

// proftpd requires TLS of that version, and that data connections resume it.
func proftpd(t *testing.T, s *station, version string, more []string) {
	program, root := unpacked(t, "proftpd")
	cert := s.certificate(t)
	s.at, s.flags = "ftp /", []string{"--ca", cert}
	if version == "TLSv1.2" && !slices.Contains(more, "TLSSessionTickets off") {
		more = append(more, "TLSSessionTickets on") // crypto/tls resumes no other sessions of 1.2
	}
	s.make = func(t *testing.T, s *station) *exec.Cmd {
		users := s.write(t, "users", fmt.Sprintf("%s:%s:%d:%d::%s:/bin/sh\n", user, passwordHash, userID, userID, s.root))
		if err := os.Chmod(users, 0o600); err != nil {
			t.Fatal(err)
		}
		in := func(name string) string { return filepath.Join(s.own, name) }
		config := s.write(t, "proftpd.conf", strings.Join(append([]string{
			"ModulePath " + filepath.Join(root, "usr/lib/proftpd"), "LoadModule mod_tls.c",
			"ServerType standalone", "ServerName stations", "DefaultAddress " + s.host, "SocketBindTight on", fmt.Sprintf("Port %d", s.low), "UseIPv6 off",
			"User nobody", "Group nogroup", "MaxInstances none", "UseReverseDNS off", "WtmpLog off", "RequireValidShell off",
			"AuthOrder mod_auth_file.c", "AuthUserFile " + users, "DefaultRoot ~", "AllowOverwrite on", "AllowStoreRestart on", "AllowRetrieveRestart on", "Umask 022",
			"DelayEngine off", "DelayTable none", "PassivePorts " + s.ports(" "),
			"PidFile " + in("pid"), "ScoreboardFile " + in("scoreboard"), "SystemLog " + in("log"), "TransferLog none",
			"TLSEngine on", "TLSRequired on", "TLSProtocol " + version, "TLSVerifyClient off", "TLSLog " + in("tls.log"),
			"TLSECCertificateFile " + cert, "TLSECCertificateKeyFile " + cert,
		}, more...), "\n")+"\n")
		return libraries(s.apart(t, program, "-n", "-q", "-c", config), root)
	}
}

func pureftpd(t *testing.T, s *station, more []string) {
	program, root := unpacked(t, "pure-ftpd")
	cert := s.certificate(t)
	s.at, s.known = "ftp /", true
	s.make = func(t *testing.T, s *station) *exec.Cmd {
		users := s.write(t, "users", fmt.Sprintf("%s:%s:%d:%d::%s/./::::::::::::\n", user, passwordHash, userID, userID, s.root))
		mkdb := exec.Command(filepath.Join(root, "usr/bin/pure-pw"), "mkdb", users+".pdb", "-f", users)
		mkdb.Env = os.Environ()
		if out, err := libraries(mkdb, root).CombinedOutput(); err != nil {
			t.Fatalf("pure-pw: %v\n%s", err, out)
		}
		args := append([]string{"-S", fmt.Sprintf("%s,%d", s.host, s.low), "-l", "puredb:" + users + ".pdb", "-4", "-A", "-E", "-H",
			"-c", "100", "-C", "100", "-p", s.ports(":"), "-U", "133:022", "-Y", "2", "-2", cert, "-g", filepath.Join(s.own, "pid")}, more...)
		return libraries(s.apart(t, program, args...), root)
	}
}

func pyftpdlib(t *testing.T, s *station, tls string, more []string) {
	python := "/usr/bin/python3"
	s.at, s.flags = "ftp /", []string{"--plain"}
	cert := ""
	if tls == "explicit" {
		library(t, "python3-pyftpdlib python3-openssl", python, "-c", "import pyftpdlib, OpenSSL")
		cert = s.certificate(t)
		s.flags = []string{"--ca", cert}
	} else {
		library(t, "python3-pyftpdlib", python, "-c", "import pyftpdlib")
	}
	s.make = func(t *testing.T, s *station) *exec.Cmd {
		return exec.Command(python, append([]string{script(t, "pyftpdlib_server.py"), s.root, strconv.Itoa(s.low), user, password, cert, s.host}, more...)...)
	}
}

func openssh(t *testing.T, s *station, more []string) {
	program, root := unpacked(t, "sshd")
	s.at = "sftp /~/"
	key := filepath.Join(s.own, "hostkey")
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(key, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	s.make = func(t *testing.T, s *station) *exec.Cmd {
		config := s.write(t, "sshd_config", strings.Join(append([]string{
			"ListenAddress " + s.addr(), "HostKey " + key, "PidFile none", "UsePAM no", "UseDNS no", "StrictModes no",
			"PasswordAuthentication yes", "MaxStartups 100", "Subsystem sftp internal-sftp",
		}, more...), "\n")+"\n")
		return libraries(s.apart(t, program, "-D", "-e", "-f", config), root)
	}
}

// inetutils is the server of GNU: no TLS, no MLSD, and listings by ls.
func inetutils(t *testing.T, s *station, more []string) {
	program, root := unpacked(t, "ftpd")
	activate := peer(t, "systemd-socket-activate")
	s.at, s.flags = "ftp /", []string{"--plain"}
	s.make = func(t *testing.T, s *station) *exec.Cmd {
		cmd := s.apart(t, activate, append([]string{"--inetd", "-a", "-l", s.addr(), "-E", "LD_LIBRARY_PATH", program}, more...)...)
		return libraries(cmd, root)
	}
}

// dropbear is the SSH server of small devices, with the SFTP of OpenSSH.
func dropbear(t *testing.T, s *station, more []string) {
	program := peer(t, "dropbear")
	s.at = "sftp /~/"
	key := filepath.Join(s.own, "hostkey")
	if out, err := exec.Command(peer(t, "dropbearkey"), "-t", "ed25519", "-f", key).CombinedOutput(); err != nil {
		t.Fatalf("dropbearkey: %v\n%s", err, out)
	}
	s.make = func(t *testing.T, s *station) *exec.Cmd {
		return s.apart(t, program, append([]string{"-F", "-E", "-r", key, "-p", s.addr(), "-P", filepath.Join(s.own, "pid")}, more...)...)
	}
}

// drayStation is dray's own server.
func drayStation(t *testing.T, s *station, protocol string, more []string) {
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	s.at = map[string]string{"ftp": "ftp /", "ftps": "ftps /", "sftp": "sftp /"}[protocol]
	state := filepath.Join(s.own, "state")
	if err := os.Mkdir(state, 0o700); err != nil {
		t.Fatal(err)
	}
	if protocol != "sftp" {
		s.flags = []string{"--ca", filepath.Join(state, certs.PublicFile)}
	}
	s.make = func(t *testing.T, s *station) *exec.Cmd {
		args := []string{"serve", s.root, "--user", user, "--passive", s.ports("-"), "--state", state, "--ready", filepath.Join(s.own, "ready.json")}
		for _, p := range []string{"ftp", "ftps", "sftp"} {
			if p == protocol {
				args = append(args, "--"+p, s.addr())
			} else {
				args = append(args, "--"+p, "off")
			}
		}
		cmd := exec.Command(bin, append(args, more...)...)
		cmd.Env = append(os.Environ(), "DRAY_PASSWORD="+password)
		return cmd
	}
}

// A customer is who uses the client: a home and a working directory of their own.
type customer struct {
	*station
	t    *testing.T
	bin  string
	home string
	dir  string
	tmp  string
	env  []string
}

// customerOf is somebody who trusts s and knows the password.
func customerOf(t *testing.T, s *station) *customer {
	t.Helper()
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	g := &customer{station: s, t: t, bin: bin, home: t.TempDir(), dir: t.TempDir(), tmp: t.TempDir()}
	g.env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + g.home, "TMPDIR=" + g.tmp, "LC_ALL=C.UTF-8", "TZ=UTC", "TERM=dumb", "CI=1", "DRAY_PASSWORD=" + password}
	switch {
	case s.over("sftp"):
		g.trust(s.addr())
	case s.known:
		g.trust("ftp://" + s.addr())
	}
	return g
}

// trust stores what the server shows, as somebody does who has compared it.
func (g *customer) trust(place string) {
	g.t.Helper()
	shown := g.dray("trust", place)
	at := strings.LastIndex(shown.stdout, "SHA256:")
	if shown.status != 4 || at < 0 {
		g.t.Fatalf("dray trust %s: %v; want the fingerprint, and status 4", place, shown)
	}
	print := strings.Fields(shown.stdout[at:])[0]
	if got := g.dray("trust", place, print); got.status != 0 {
		g.t.Fatalf("dray trust %s %s: %v", place, print, got)
	}
}

// A result is what a run of the client came to.
type result struct {
	args           []string
	status         int // -1: ended by a signal
	stdout, stderr string
	took           time.Duration
}

func (r result) String() string {
	return fmt.Sprintf("status %d after %v\ndray %s\n%s\n%s", r.status, r.took.Round(time.Millisecond), strings.Join(r.args, " "), tail(r.stdout, 3000), tail(r.stderr, 6000))
}

// A run is a client that runs.
type run struct {
	*exec.Cmd
	g     *customer
	began time.Time
	out   result
	o, e  bytes.Buffer
	timer *time.Timer
}

// begin starts the client; the station's flags are added to commands that connect.
func (g *customer) begin(args ...string) *run {
	g.t.Helper()
	all := append([]string{args[0]}, g.flags...)
	if args[0] == "trust" {
		all = all[:1]
	}
	all = append(all, args[1:]...)
	r := &run{Cmd: exec.Command(g.bin, all...), g: g, began: time.Now(), out: result{args: all}}
	r.Dir, r.Env, r.Stdout, r.Stderr = g.dir, g.env, &r.o, &r.e
	if err := r.Start(); err != nil {
		g.t.Fatal(err)
	}
	r.timer = time.AfterFunc(time.Minute, func() {
		_ = r.Process.Signal(syscall.SIGQUIT) // what it waits for is written
	})
	return r
}

// end waits for the client.
func (r *run) end() result {
	err := r.Wait()
	r.timer.Stop()
	r.out.took, r.out.stdout, r.out.stderr = time.Since(r.began), r.o.String(), r.e.String()
	var exit *exec.ExitError
	switch {
	case err == nil:
	case errors.As(err, &exit):
		r.out.status = exit.ExitCode()
	default:
		r.g.t.Errorf("dray: %v", err)
	}
	if strings.Contains(r.out.stderr, "goroutine ") {
		r.g.t.Errorf("dray panicked, or did not end in a minute: %v", r.out)
	}
	return r.out
}

// dray runs the client.
func (g *customer) dray(args ...string) result {
	g.t.Helper()
	return g.begin(args...).end()
}

// must runs the client, which has to end with that status.
func (g *customer) must(status int, args ...string) result {
	g.t.Helper()
	r := g.dray(args...)
	if r.status != status {
		g.t.Fatalf("%s: want status %d, got %v", g.name, status, r)
	}
	return r
}

// in is a path of the customer's directory.
func (g *customer) in(name string) string { return filepath.Join(g.dir, name) }

// noParts fails for every name below dir that only unfinished files have.
func noParts(t *testing.T, dir string) {
	t.Helper()
	for name := range scan(t, dir) {
		if strings.Contains(filepath.Base(name), "dray-") {
			t.Errorf("%s is left in %s", name, dir)
		}
	}
}
