//go:build linux

package interop

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	numbers "math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// A scene is what one fault is staged on: a client and a server, and what they
// have between them.
type scene struct {
	t      *testing.T
	cas    *cas
	client *machine
	server *machine
	router *machine // nil: one cable joins client and server

	cert     string // file with key and chain, on the server
	services []*service
}

// A layout is how client and server are joined.
type layout int

const (
	direct layout = iota // by a cable
	routed               // by a router
	natted               // the server is behind a router that has its public address
	far                  // by a way of roundTrip
)

// roundTrip is how long an answer takes from far away.
const roundTrip = 100 * time.Millisecond

// newScene makes the machines. They know each other's names, the client trusts one CA,
// and the server has a certificate of it.
func newScene(t *testing.T, cas *cas, how layout) *scene {
	t.Helper()
	s := &scene{t: t, cas: cas, client: newMachine(t, "client"), server: newMachine(t, "server")}
	address := serverAddress
	atClient, atServer := []string{clientAddress + "/24", clientIPv6 + "/64"}, []string{serverAddress + "/24", serverIPv6 + "/64"}
	switch how {
	case direct:
		s.client.cable("eth0", atClient, s.server, "eth0", atServer)
	case far:
		near, there := s.client.tun("eth0"), s.server.tun("eth0")
		s.client.plug("eth0", atClient)
		s.server.plug("eth0", atServer)
		carry(t, near, there, roundTrip/2)
		carry(t, there, near, roundTrip/2)
	case routed, natted:
		s.router = newMachine(t, "router")
		outside := []string{routerAddress + "/24"}
		if how == natted {
			outside = append(outside, serverAddress+"/24")
		} else {
			address = insideAddress
		}
		s.client.cable("eth0", []string{clientAddress + "/24"}, s.router, "outside", outside)
		s.server.cable("eth0", []string{insideAddress + "/24"}, s.router, "inside", []string{insideRouter + "/24"})
		s.router.must("sysctl -qw net.ipv4.ip_forward=1")
		s.client.must("ip route add default via " + routerAddress)
		s.server.must("ip route add default via " + insideRouter)
	}
	for _, m := range []*machine{s.client, s.server} {
		m.write("/etc/hosts", fmt.Sprintf("127.0.0.1 localhost\n::1 localhost\n%s %s %s\n", address, serverName, otherName))
		m.write("/etc/resolv.conf", "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
		m.write("/etc/nsswitch.conf", "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n")
		m.knowsNoNames()
	}
	s.client.write("/etc/ssl/certs/ca-certificates.crt", string(cas.root.pem()))
	s.server.must(fmt.Sprintf(`set -e
sed -i '/^%[1]s:/d; /^sshd:/d' /etc/passwd /etc/shadow
sed -i '/^%[1]s:/d' /etc/group
echo '%[1]s:x:%[2]d:%[2]d::/srv/%[1]s:/bin/bash' >>/etc/passwd
echo 'sshd:x:%[3]d:65534::/run/sshd:/usr/sbin/nologin' >>/etc/passwd
echo '%[1]s:x:%[2]d:' >>/etc/group
echo '%[1]s:%[4]s:19000:0:99999:7:::' >>/etc/shadow
mkdir -p /srv/%[1]s/pub /etc/ssl/private
echo hello >/srv/%[1]s/readme.txt
echo hello >/srv/%[1]s/pub/readme.txt
head -c 1000000 /dev/urandom >/srv/%[1]s/big.bin
chown -R %[2]d:%[2]d /srv/%[1]s
printf 'auth required pam_unix.so\naccount required pam_unix.so\nsession required pam_permit.so\n' >/etc/pam.d/vsftpd
`, user, userID, userID+1, passwordHash))
	s.certify(cas.issue(t, hostNamed(serverName), cas.between), cas.between)
	return s
}

const insideRouter = "198.51.100.1"

// home is where the one user's files are, on the server.
const home = "/srv/" + user

// knowsNoNames answers every question for a name with: there is none.
func (m *machine) knowsNoNames() {
	m.t.Helper()
	var c net.PacketConn
	if err := m.inside(func() (err error) {
		c, err = net.ListenPacket("udp4", "127.0.0.1:53")
		return err
	}); err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { _ = c.Close() })
	go func() {
		b := make([]byte, 1500)
		for {
			n, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			end := 12 + bytes.IndexByte(b[12:max(n, 12)], 0) + 5 // RFC 1035, 4.1: header, name, type and class
			if n < 12 || end > n {
				continue
			}
			copy(b[2:], []byte{0x81, 0x83, 0, 1, 0, 0, 0, 0, 0, 0}) // a response: NXDOMAIN
			_, _ = c.WriteTo(b[:end], from)
		}
	}()
}

// A service is a server that runs on a machine, and may be started again.
type service struct {
	m       *machine
	name    string
	port    int
	command func() *exec.Cmd
	cmd     *exec.Cmd
	ended   chan struct{}
	log     string
}

// serve runs a server until the test ends; it listens on port.
func (s *scene) serve(name string, port int, command func() *exec.Cmd) *service {
	s.t.Helper()
	sv := &service{m: s.server, name: name, port: port, command: command, log: filepath.Join(s.t.TempDir(), "output")}
	s.services = append(s.services, sv)
	sv.start()
	s.t.Cleanup(func() {
		if s.t.Failed() {
			s.t.Logf("%s printed:\n%s", name, tail(sv.printed(), 3000))
		}
	})
	return sv
}

func (sv *service) printed() string {
	b, _ := os.ReadFile(sv.log)
	return string(b)
}

func (sv *service) start() {
	t := sv.m.t
	t.Helper()
	log, err := os.OpenFile(sv.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	sv.cmd, sv.ended = sv.command(), make(chan struct{})
	sv.cmd.Stdout, sv.cmd.Stderr = log, log
	if err := sv.cmd.Start(); err != nil {
		t.Fatalf("%s: %v", sv.name, err)
	}
	go func(cmd *exec.Cmd, ended chan struct{}) {
		_ = cmd.Wait() // it is killed in the end
		close(ended)
	}(sv.cmd, sv.ended)
	for deadline := time.Now().Add(20 * time.Second); !sv.m.listens(sv.port); time.Sleep(10 * time.Millisecond) {
		select {
		case <-sv.ended:
			t.Fatalf("%s ended before it listened:\n%s", sv.name, tail(sv.printed(), 3000))
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not listen after 20 s:\n%s", sv.name, tail(sv.printed(), 3000))
		}
	}
}

// restart starts all servers again.
func (s *scene) restart() {
	s.t.Helper()
	for _, sv := range s.services {
		_ = sv.m.end(sv.cmd) // it may have ended
		<-sv.ended
		for deadline := time.Now().Add(5 * time.Second); sv.m.listens(sv.port) && time.Now().Before(deadline); {
			time.Sleep(10 * time.Millisecond)
		}
		sv.start()
	}
}

// reload tells all servers that their configurations have changed.
func (s *scene) reload() {
	s.t.Helper()
	for _, sv := range s.services {
		if pids := below(s.t, sv.cmd.Process.Pid); len(pids) > 0 { // nsenter waits for the first
			if err := syscall.Kill(pids[0], syscall.SIGHUP); err != nil {
				s.t.Errorf("%s: %v", sv.name, err)
			}
		}
	}
	time.Sleep(time.Second) // none of them says when it is done
}

// vsftpd serves with TLS as /etc/vsftpd.conf says; lines replace those of their names.
func (s *scene) vsftpd(port int, lines ...string) {
	s.t.Helper()
	program := peer(s.t, "vsftpd")
	s.server.must("mkdir -p /run/vsftpd/empty")
	s.server.write("/etc/vsftpd.conf", settings("=", append([]string{
		"listen=YES", "listen_ipv6=NO", "background=NO", fmt.Sprintf("listen_port=%d", port), "anonymous_enable=NO", "local_enable=YES", "write_enable=YES",
		"pam_service_name=vsftpd", "local_root=" + home, "seccomp_sandbox=NO", "chroot_local_user=YES", "allow_writeable_chroot=YES",
		"secure_chroot_dir=/run/vsftpd/empty", "local_umask=022", "use_localtime=NO", "pasv_min_port=30000", "pasv_max_port=30099",
		"ssl_enable=YES", "force_local_logins_ssl=YES", "force_local_data_ssl=YES", "require_ssl_reuse=NO", "ssl_ciphers=HIGH",
		"rsa_cert_file=" + s.cert, "rsa_private_key_file=" + s.cert,
	}, lines...)))
	s.serve("vsftpd", port, func() *exec.Cmd { return s.server.in(s.t.Context(), program, "/etc/vsftpd.conf") })
}

// settings are the lines of a configuration; of two of one name the last is taken.
func settings(join string, lines []string) string {
	at, out := map[string]int{}, []string{}
	for _, line := range lines {
		name, _, _ := strings.Cut(line, join)
		if name == "LoadModule" {
			name = line
		}
		if i, ok := at[name]; ok {
			out[i] = line
			continue
		}
		at[name] = len(out)
		out = append(out, line)
	}
	return strings.Join(out, "\n") + "\n"
}

// proftpd serves with TLS as /etc/proftpd/proftpd.conf says.
func (s *scene) proftpd(port int, lines ...string) {
	s.t.Helper()
	program, root := unpacked(s.t, "proftpd")
	s.server.write("/etc/proftpd/users", fmt.Sprintf("%s:%s:%d:%d::%s:/bin/sh\n", user, passwordHash, userID, userID, home))
	s.server.must("chmod 600 /etc/proftpd/users; mkdir -p /run/proftpd")
	s.server.write("/etc/proftpd/proftpd.conf", settings(" ", append([]string{
		"ModulePath " + filepath.Join(root, "usr/lib/proftpd"), "LoadModule mod_tls.c",
		"ServerType standalone", "ServerName lab", fmt.Sprintf("Port %d", port), "UseIPv6 off", "DefaultAddress " + s.server.own(s.t),
		"User nobody", "Group nogroup", "MaxInstances 30", "UseReverseDNS off", "WtmpLog off", "RequireValidShell off",
		"AuthOrder mod_auth_file.c", "AuthUserFile /etc/proftpd/users", "DefaultRoot ~", "AllowOverwrite on", "Umask 022",
		"DelayEngine off", "DelayTable none", "PassivePorts 30000 30099",
		"PidFile /run/proftpd/pid", "ScoreboardFile /run/proftpd/scoreboard", "SystemLog /run/proftpd/log", "TransferLog none",
		"TLSEngine on", "TLSRequired on", "TLSProtocol TLSv1.2 TLSv1.3", "TLSVerifyClient off", "TLSLog /run/proftpd/tls.log", "TLSOptions NoSessionReuseRequired",
		"TLSECCertificateFile " + s.cert, "TLSECCertificateKeyFile " + s.cert, "TLSCertificateChainFile " + s.cert,
	}, lines...)))
	s.serve("proftpd", port, func() *exec.Cmd {
		return libraries(s.server.in(s.t.Context(), program, "-n", "-q", "-c", "/etc/proftpd/proftpd.conf"), root)
	})
}

// own is the IPv4 address of a server's cable.
func (m *machine) own(t *testing.T) string {
	t.Helper()
	f := strings.Fields(m.must("ip -4 -o address show dev eth0"))
	addr, _, _ := strings.Cut(f[3], "/")
	return addr
}

// pureftpd serves with TLS required, over IPv4 unless args have -S.
func (s *scene) pureftpd(port int, args ...string) {
	s.t.Helper()
	program, root := unpacked(s.t, "pure-ftpd")
	s.server.write("/etc/pure-ftpd/pureftpd.passwd", fmt.Sprintf("%s:%s:%d:%d::%s/./::::::::::::\n", user, passwordHash, userID, userID, home))
	mkdb := s.server.in(s.t.Context(), filepath.Join(root, "usr/bin/pure-pw"), "mkdb", "/etc/pure-ftpd/pureftpd.pdb", "-f", "/etc/pure-ftpd/pureftpd.passwd")
	if out, err := libraries(mkdb, root).CombinedOutput(); err != nil {
		s.t.Fatalf("pure-pw: %v\n%s", err, out)
	}
	if !slices.Contains(args, "-S") {
		args = append(args, "-4", "-S", fmt.Sprintf("0.0.0.0,%d", port))
	}
	s.serve("pure-ftpd", port, func() *exec.Cmd {
		return libraries(s.server.in(s.t.Context(), append([]string{program, "-l", "puredb:/etc/pure-ftpd/pureftpd.pdb",
			"-A", "-E", "-H", "-c", "50", "-C", "50", "-p", "30000:30099", "-U", "133:022", "-Y", "2", "-2", s.cert, "-g", "/run/pure-ftpd.pid"}, args...)...), root)
	})
}

// sshd serves as /etc/ssh/sshd_config says.
func (s *scene) sshd(port int, lines ...string) {
	s.t.Helper()
	program, root := unpacked(s.t, "sshd")
	s.hostKey()
	s.server.write("/etc/ssh/sshd_config", settings(" ", append([]string{
		fmt.Sprintf("Port %d", port), "HostKey /etc/ssh/ssh_host_ed25519_key", "PidFile none", "UsePAM no", "UseDNS no", "StrictModes no",
		"PasswordAuthentication yes", "Subsystem sftp internal-sftp",
	}, lines...)))
	s.serve("sshd", port, func() *exec.Cmd {
		return libraries(s.server.in(s.t.Context(), program, "-D", "-e", "-f", "/etc/ssh/sshd_config"), root)
	})
}

// sftpServer is the program of OpenSSH that speaks SFTP on its standard input.
func sftpServer(t *testing.T) string {
	t.Helper()
	_, root := unpacked(t, "sshd")
	return filepath.Join(root, "usr/lib/openssh/sftp-server")
}

// hostKey makes the host key of sshd, another one each time.
func (s *scene) hostKey() {
	s.t.Helper()
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		s.t.Fatal(err)
	}
	file := s.server.write("/etc/ssh/ssh_host_ed25519_key", string(pem.EncodeToMemory(block)))
	s.server.must("chmod 600 " + file + " && ssh-keygen -yf " + file + " >" + file + ".pub")
}

// knows makes the client know the host key that the server shows on a port.
func (s *scene) knows(port int) {
	s.t.Helper()
	s.client.must(fmt.Sprintf(`set -e; mkdir -p ~/.ssh; ssh-keyscan -p %d %s >>~/.ssh/known_hosts 2>/dev/null; test -s ~/.ssh/known_hosts`, port, serverName))
}

// dray serves as /etc/dray/dray.toml says. The configuration is lines, before the
// sections of sections; the account is added with args.
func (s *scene) dray(lines, sections string, args ...string) {
	s.t.Helper()
	bin, err := binary()
	if err != nil {
		s.t.Fatal(err)
	}
	config := "state = \"/var/lib/dray\"\nsync = \"none\"\n"
	if !strings.Contains(lines, "passive") {
		config += "passive = \"30000-30099\"\n"
	}
	config += lines + "\n"
	if !strings.Contains(sections, "[[tls.certificate]]") && s.cert != "" {
		config += fmt.Sprintf("[[tls.certificate]]\nfile = %q\n", s.cert)
	}
	config += sections
	s.server.write("/etc/dray/dray.toml", config)
	s.server.must("mkdir -p -m 700 /var/lib/dray; printf '%s\\n' " + password + " | dray user add " + user + " --home " + home + " " + strings.Join(args, " "))
	port := 21
	if strings.Contains(sections, "[[listener]]") {
		_, after, _ := strings.Cut(sections, `listen = [":`)
		_, _ = fmt.Sscanf(after, "%d", &port)
	}
	s.serve("dray", port, func() *exec.Cmd {
		return s.server.in(s.t.Context(), bin, "serve", "--config", "/etc/dray/dray.toml", "-v")
	})
}

// listener is the section of one listener of dray.
func listener(protocol string, port int, more ...string) string {
	return fmt.Sprintf("[[listener]]\nprotocol = %q\nlisten = [\":%d\"]\n%s\n", protocol, port, strings.Join(more, "\n"))
}

// certify gives the server that certificate, with what it sends beside it.
func (s *scene) certify(leaf *identity, more ...*identity) {
	s.t.Helper()
	s.cert = s.server.write("/etc/ssl/private/ftp.pem", leaf.bundle(s.t, more...))
	s.server.must("chmod 600 " + s.cert)
}

// An identity is a certificate with its key.
type identity struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// cas are a root that the clients trust, one below it, and one that nobody trusts.
type cas struct{ root, between, stranger *identity }

func newCAs(t *testing.T) *cas {
	t.Helper()
	c := &cas{}
	authority := func(name string) x509.Certificate {
		return x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, KeyUsage: x509.KeyUsageCertSign}
	}
	c.root = c.issue(t, authority("Laboratory Root"), nil)
	c.between = c.issue(t, authority("Laboratory Intermediate"), c.root)
	c.stranger = c.issue(t, authority("Unknown Root"), nil)
	return c
}

// pool is what the clients trust.
func (c *cas) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(c.root.cert)
	return pool
}

// hostNamed is a certificate of a server.
func hostNamed(names ...string) x509.Certificate {
	return x509.Certificate{Subject: pkix.Name{CommonName: names[0]}, DNSNames: names, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
}

// issue makes a certificate; without an issuer it signs itself, and without times it is
// good now.
func (c *cas) issue(t *testing.T, tmpl x509.Certificate, by *identity) *identity {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if tmpl.SerialNumber, err = rand.Int(rand.Reader, numbers.NewInt(1<<62)); err != nil {
		t.Fatal(err)
	}
	if tmpl.NotBefore.IsZero() {
		tmpl.NotBefore = time.Now().AddDate(0, -1, 0)
	}
	if tmpl.NotAfter.IsZero() {
		tmpl.NotAfter = time.Now().AddDate(0, 6, 0)
	}
	tmpl.BasicConstraintsValid = true
	if by == nil {
		by = &identity{&tmpl, key}
	}
	der, err := x509.CreateCertificate(rand.Reader, &tmpl, by.cert, key.Public(), by.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &identity{cert, key}
}

func (i *identity) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.cert.Raw})
}

// bundle is the text of a file with the key, the certificate, and those that are sent
// with it.
func (i *identity) bundle(t *testing.T, more ...*identity) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(i.key)
	if err != nil {
		t.Fatal(err)
	}
	out := append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), i.pem()...)
	for _, m := range more {
		out = append(out, m.pem()...)
	}
	return string(out)
}

// tls is the certificate as crypto/tls has it.
func (i *identity) tls(more ...*identity) tls.Certificate {
	c := tls.Certificate{Certificate: [][]byte{i.cert.Raw}, PrivateKey: i.key}
	for _, m := range more {
		c.Certificate = append(c.Certificate, m.cert.Raw)
	}
	return c
}
