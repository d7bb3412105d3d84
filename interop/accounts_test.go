//go:build linux

package interop

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	mathbig "math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// A site is a configuration with accounts, and outlives the servers that run it.
type site struct {
	dir, state, config string
	homes              string // accounts.home is a directory in it
	binary             string
}

// newSite writes a configuration that ends with text, in directories that other
// users may enter. It begins with state and passive range.
func newSite(t *testing.T, passive, text string) *site {
	t.Helper()
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	dir := open(t)
	s := &site{dir: dir, state: filepath.Join(dir, "state"), config: filepath.Join(dir, "dray.toml"), homes: filepath.Join(dir, "homes"), binary: bin}
	for name, mode := range map[string]os.FileMode{s.state: 0o700, s.homes: 0o755} {
		if err := os.Mkdir(name, mode); err != nil {
			t.Fatal(err)
		}
	}
	s.write(t, fmt.Sprintf("passive = %q\nsync = \"none\"\n%s", passive, text))
	return s
}

// write puts another configuration in place of the one there is, at once.
func (s *site) write(t *testing.T, text string) {
	t.Helper()
	beside := s.config + ".new"
	if err := os.WriteFile(beside, fmt.Appendf(nil, "state = %q\n%s\n[accounts]\nhome = %q\nowners = %v\n", s.state, text,
		filepath.Join(s.homes, "{name}"), strings.HasPrefix(text, ownersToo)), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(beside, s.config); err != nil {
		t.Fatal(err)
	}
}

// ownersToo begins the text of a configuration whose accounts may have owners.
const ownersToo = "# owners\n"

// run runs the program on the configuration; it must succeed.
func (s *site) run(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), s.binary, args...)
	cmd.Env = append(os.Environ(), "DRAY_CONFIG="+s.config)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("dray %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// add makes an account with the usual password and returns its home.
func (s *site) add(t *testing.T, name string, flags ...string) string {
	t.Helper()
	s.run(t, password+"\n", append([]string{"user", "add", name}, flags...)...)
	return filepath.Join(s.homes, name)
}

// used is what "dray user show" says of an account.
func (s *site) used(t *testing.T, name string) (files int, bytes int64) {
	t.Helper()
	var v struct {
		Bytes int64 `json:"used-bytes"`
		Files int   `json:"used-files"`
	}
	if err := json.Unmarshal([]byte(s.run(t, "", "user", "show", name, "--json")), &v); err != nil {
		t.Fatal(err)
	}
	return v.Files, v.Bytes
}

// serve runs a server until the test ends; change may change its command. At the
// end it must stop by itself, unless it was killed.
func (s *site) serve(t *testing.T, change ...func(*exec.Cmd)) *server {
	t.Helper()
	own := t.TempDir()
	srv := &server{state: s.state, log: filepath.Join(own, "log")}
	logFile, err := os.Create(srv.log)
	if err != nil {
		t.Fatal(err)
	}
	defer logFile.Close()
	ready := filepath.Join(s.state, "ready.json") // whoever serves may write there
	_ = os.Remove(ready)                          // of the one before
	cmd := exec.Command(s.binary, "serve", "--config", s.config, "--ready", ready)
	cmd.Stdout, cmd.Stderr = logFile, logFile
	for _, f := range change {
		f(cmd)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	srv.process, srv.ended = cmd.Process, make(chan error, 1)
	go func() { srv.ended <- cmd.Wait() }()
	t.Cleanup(func() { srv.stop(t) })
	within(t, "the ready file", func() bool {
		select {
		case err := <-srv.ended:
			srv.ended <- err
			t.Fatalf("dray serve --config ended before it was ready: %v\n%s", err, srv.printed(t))
		default:
		}
		b, err := os.ReadFile(ready)
		return err == nil && json.Unmarshal(b, &srv.ready) == nil
	})
	return srv
}

// crash kills a server of a site; its end is no failure of the test.
func (s *server) crash(t *testing.T) {
	t.Helper()
	s.kill(t)
	<-s.ended
	s.ended <- nil
}

// enter logs name in over one of three roads: "plain", "explicit" or "implicit"
// TLS. from is the client's own address; "": any.
func enter(ctx context.Context, road, addr, name string, cfg *tls.Config, from string) (*visitor, error) {
	v := &visitor{dialer: net.Dialer{Timeout: 20 * time.Second}}
	if from != "" {
		v.dialer.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
	}
	nc, err := v.dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	v.host, _, _ = net.SplitHostPort(addr)
	v.over(nc)
	if road == "implicit" {
		v.tls = cfg.Clone()
		v.tls.ClientSessionCache = tls.NewLRUClientSessionCache(8)
		v.over(tls.Client(nc, v.tls))
	}
	err = v.expect("greeting", 220)
	if err == nil && road == "explicit" {
		err = v.secure(cfg)
	}
	for _, step := range []struct {
		line string
		code int
	}{{"USER " + name, 331}, {"PASS " + password, 230}, {"TYPE I", 200}} {
		if err == nil {
			err = v.ask(step.line, step.code)
		}
	}
	if err != nil {
		v.hangUp()
		return nil, fmt.Errorf("%s, %s: %w", road, name, err)
	}
	return v, nil
}

// download is RETR of a whole file.
func (v *visitor) download(ctx context.Context, name string) ([]byte, error) {
	data, err := v.open(ctx, "RETR "+name)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(data)
	return b, errors.Join(err, data.Close(), v.expect("RETR", 226))
}

// code is the code of an answer that was not the one wanted; 0 for other errors.
func code(err error) int {
	var a *answer
	if errors.As(err, &a) {
		return a.code
	}
	return 0
}

// A pair is a certificate with its key, in files.
type pair struct{ cert, key string }

// issue makes a self-signed certificate for names that holds from one time to
// another.
func issue(t *testing.T, from, to time.Time, names ...string) pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, mathbig.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: names[0]}, NotBefore: from, NotAfter: to, DNSNames: names,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true, IsCA: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	p := pair{filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")}
	for name, block := range map[string]*pem.Block{p.cert: {Type: "CERTIFICATE", Bytes: der}, p.key: {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// toml is the table of the pair in [tls].
func (p pair) toml() string {
	return fmt.Sprintf("[[tls.certificate]]\nfile = %q\nkey = %q\n", p.cert, p.key)
}

// trusting is a client that trusts the certificates, each for its first name.
func trusting(t *testing.T, pairs ...pair) *tls.Config {
	t.Helper()
	pool := x509.NewCertPool()
	for _, p := range pairs {
		b, err := os.ReadFile(p.cert)
		if err != nil {
			t.Fatal(err)
		}
		pool.AppendCertsFromPEM(b)
	}
	return &tls.Config{RootCAs: pool, ServerName: "localhost"}
}

// A guest runs peers against a server of a site.
func guest(t *testing.T, s *server) *play {
	t.Helper()
	return join(t, way{"IPv4", "passive", "explicit"}, s)
}

// openssl runs it in the directory of p.
func (p *play) openssl(t *testing.T, args ...string) {
	t.Helper()
	p.run(t, "openssl", args...)
}

// curlStatus is the exit status of curl that says that a login was denied.
const curlStatus = 67

// A client certificate logs in without a password, by its pin or by the CA; with
// one that is nobody's the password decides, and one account's is not another's.
// Data connections resume the session, for the listener takes no others.
func TestAClientCertificateLogsIn(t *testing.T) {
	t.Parallel()
	peer(t, "curl")
	peer(t, "openssl")
	p := guest(t, nil)
	at := func(name string) string { return filepath.Join(p.local, name) }
	authority := func(ca string) {
		p.openssl(t, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
			"-subj", "/CN="+ca, "-keyout", ca+".key", "-out", ca+".pem")
	}
	client := func(ca, name string) {
		file := ca + "-" + name
		p.openssl(t, "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN="+name,
			"-keyout", file+".key", "-out", file+".csr")
		if err := os.WriteFile(at("usage"), []byte("extendedKeyUsage = clientAuth\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		p.openssl(t, "x509", "-req", "-in", file+".csr", "-CA", ca+".pem", "-CAkey", ca+".key", "-CAcreateserial",
			"-days", "2", "-extfile", "usage", "-out", file+".pem")
	}
	authority("ours")
	authority("theirs")
	client("ours", "anna")
	client("ours", "berta")
	client("theirs", "anna")
	client("theirs", "berta")

	s := newSite(t, passive(), fmt.Sprintf("[[listener]]\nlisten = [\"127.0.0.1:0\"]\ndata-session = \"require\"\n"+
		"client-certificates = \"ask\"\nclient-ca = %q\n[limits]\nexempt = [\"127.0.0.0/8\"]\n", at("ours.pem")))
	s.run(t, "", "user", "add", "anna", "--no-password", "--certificate", at("theirs-anna.pem"))
	s.add(t, "berta", "--certificate", "ca")
	srv := s.serve(t)
	p.server, p.ca = srv, srv.trust(t, "localhost")
	p.host, p.port = address(t, "ftp", srv.ready.FTP)
	// One data connection of curl 7.88 after another resumes under TLS 1.3 only.
	curl := func(cert, login string, more ...string) (string, error) {
		args := []string{"-q", "-sS", "-v", "--max-time", "50", "--ssl-reqd", "--tlsv1.3", "--cacert", p.ca, "-u", login}
		if cert != "" {
			args = append(args, "--cert", cert+".pem", "--key", cert+".key")
		}
		return p.try("curl", append(args, more...)...)
	}
	file := "ftp://localhost:" + p.port + "/file.bin"
	source := plant(t, p.local, named{"up.bin", big.content()})["up.bin"]
	for _, c := range []struct {
		name, cert, login string
		code              string // what USER is answered with
		in                bool
	}{
		{"the pinned certificate is enough", "theirs-anna", "anna:", "232", true},
		{"a certificate of the CA with the account's name is enough", "ours-berta", "berta:", "232", true},
		{"the CA is not one for an account with a pin", "ours-anna", "anna:" + password, "331", false},
		{"another CA's certificate of that name is asked for a password", "theirs-berta", "berta:" + password, "331", true},
		{"another CA's certificate of that name is none", "theirs-berta", "berta:wrong", "331", false},
		{"a certificate of the CA for somebody else is none", "ours-anna", "berta:wrong", "331", false},
		{"somebody else's pin is none", "theirs-anna", "berta:wrong", "331", false},
		{"without a certificate the password logs in", "", "berta:" + password, "331", true},
		{"without a certificate an account that has no password is closed", "", "anna:", "331", false},
	} {
		out, err := curl(c.cert, c.login, "-T", "up.bin", file)
		if !strings.Contains(out, "< "+c.code+" ") {
			t.Errorf("%s: no reply %s:\n%s", c.name, c.code, out)
		}
		var exit *exec.ExitError
		if !c.in && (!errors.As(err, &exit) || exit.ExitCode() != curlStatus) || c.in && err != nil {
			t.Errorf("%s: curl: %v; want in: %v\n%s", c.name, err, c.in, tail(out, 3000))
		}
		if !c.in {
			continue
		}
		name, _, _ := strings.Cut(c.login, ":")
		if got := scan(t, filepath.Join(s.homes, name))["file.bin"]; got != source {
			t.Errorf("%s: file.bin is %s; want %s", c.name, got, source)
		}
		back, err := curl(c.cert, c.login, file, "-o", "back.bin", file, "-o", "again.bin")
		if got := scan(t, p.local); err != nil || got["back.bin"] != source || got["again.bin"] != source {
			t.Errorf("%s: downloads: %v, %s and %s; want %s\n%s", c.name, err, got["back.bin"], got["again.bin"], source, tail(back, 3000))
		}
		for _, name := range []string{"back.bin", "again.bin"} {
			if err := os.Remove(at(name)); err != nil {
				t.Error(err)
			}
		}
	}
}

// Strangers read, and put files into a directory in which they see nothing and
// replace nothing: a second upload to a name has a name of its own.
func TestStrangersUploadIntoAnIncomingDirectory(t *testing.T) {
	t.Parallel()
	peer(t, "curl")
	peer(t, "lftp")
	pub := t.TempDir()
	stored := plant(t, pub, append(all(), named{"incoming/.keep", nil})...)
	s := newSite(t, passive(), fmt.Sprintf("[[listener]]\nlisten = [\"127.0.0.1:0\"]\n[anonymous]\ndirectory = %q\nincoming = \"incoming\"\n", pub))
	srv := s.serve(t)
	for _, road := range []string{"plain", "explicit"} {
		p := join(t, way{"IPv4", "passive", road}, srv)
		p.host, p.port = address(t, "ftp", srv.ready.FTP)
		if !p.plain() {
			p.ca = srv.trust(t, p.host)
		}
		login := strings.Replace(p.url(""), "//", "//anonymous:guest@", 1)
		p.lftp(t, "mirror --exclude incoming "+login+" down")
		down := treeOf(all()...)
		same(t, filepath.Join(p.local, "down"), down)

		first, second := []byte("the first from "+road), []byte("the second from "+road)
		plant(t, p.local, named{"first", first}, named{"second", second})
		curl := func(more ...string) (string, error) {
			args := []string{"-q", "-sS", "--max-time", "50"}
			if !p.plain() {
				args = append(args, "--ssl-reqd", "--cacert", p.ca)
			}
			return p.try("curl", append(args, more...)...)
		}
		name := "gift from " + road
		to := p.url("incoming/" + name)
		for _, content := range []string{"first", "second"} {
			if out, err := curl("-T", content, to); err != nil {
				t.Errorf("%s: upload of the %s: %v\n%s", road, content, err, out)
			}
		}
		stored = stored.plus(treeOf(named{"incoming/" + name, first}, named{"incoming/" + name + ".1", second}))
		same(t, pub, stored)
		for _, list := range [][]string{{}, {"-l"}} {
			if out, err := curl(append(list, p.url("incoming/"))...); err != nil || out != "" {
				t.Errorf("%s: listing %q of incoming: %v, %q; want nothing in it", road, list, err, out)
			}
		}
		for what, args := range map[string][]string{
			"RETR":                {to, "-o", "back"},
			"RETR of what is not": {p.url("incoming/nothing"), "-o", "back"},
			"STOR outside":        {"-T", "first", p.url("outside")},
			"DELE":                {"-Q", "DELE /incoming/" + name, p.url("")},
			"RNFR":                {"-Q", "RNFR /incoming/" + name, p.url("")},
			"MKD":                 {"-Q", "MKD /incoming/directory", p.url("")},
			"SIZE":                {"-Q", "SIZE /incoming/" + name, p.url("")},
			"SIZE of what is not": {"-Q", "SIZE /incoming/nothing", p.url("")},
		} {
			if out, err := curl(append([]string{"-v"}, args...)...); err == nil || !regexp.MustCompile(`(?m)^< 55[0-9] `).MatchString(out) {
				t.Errorf("%s: %s: %v; want 55x\n%s", road, what, err, out)
			}
		}
		same(t, pub, stored)
		// What a stranger is told is the same for a name that is taken and one that isn't.
		_, taken := curl("-v", to, "-o", "back")
		_, free := curl("-v", p.url("incoming/nothing"), "-o", "back")
		if fmt.Sprint(taken) != fmt.Sprint(free) {
			t.Errorf("%s: RETR: %v for a name that is taken, %v for one that is free", road, taken, free)
		}
	}
}

// The certificate is that of the host that the client names, on each road.
func TestACertificateForEachHost(t *testing.T) {
	t.Parallel()
	peer(t, "openssl")
	now := time.Now()
	first := issue(t, now.Add(-time.Hour), now.Add(48*time.Hour), "first.test", "localhost")
	second := issue(t, now.Add(-time.Hour), now.Add(48*time.Hour), "second.test")
	s := newSite(t, passive(), "[[listener]]\nlisten = [\"127.0.0.1:0\"]\n[[listener]]\nprotocol = \"ftps\"\nlisten = [\"127.0.0.1:0\"]\n"+
		"[[listener]]\nname = \"second\"\nlisten = [\"127.0.0.1:0\"]\ncertificate = \"second.test\"\n"+first.toml()+second.toml())
	srv := s.serve(t)
	if len(srv.ready.FTP) != 2 || len(srv.ready.FTPS) != 1 {
		t.Fatalf("the server listens on %q and %q", srv.ready.FTP, srv.ready.FTPS)
	}
	p := guest(t, srv)
	subject := regexp.MustCompile(`subject=CN = (\S+)`)
	for _, c := range []struct{ name, addr, host, want string }{
		{"explicit, the first", srv.ready.FTP[0], "first.test", "first.test"},
		{"explicit, the second", srv.ready.FTP[0], "second.test", "second.test"},
		{"explicit, in capitals", srv.ready.FTP[0], "SECOND.test", "second.test"},
		{"explicit, one that there is not", srv.ready.FTP[0], "third.test", "first.test"},
		{"explicit, none", srv.ready.FTP[0], "", "first.test"},
		{"implicit, the first", srv.ready.FTPS[0], "first.test", "first.test"},
		{"implicit, the second", srv.ready.FTPS[0], "second.test", "second.test"},
		{"implicit, none", srv.ready.FTPS[0], "", "first.test"},
		{"a listener with another first, none", srv.ready.FTP[1], "", "second.test"},
		{"a listener with another first, the first", srv.ready.FTP[1], "first.test", "first.test"},
	} {
		args := []string{"s_client", "-connect", c.addr}
		if c.host != "" {
			args = append(args, "-servername", c.host)
		} else {
			args = append(args, "-noservername")
		}
		if slices.Contains(srv.ready.FTP, c.addr) {
			args = append(args, "-starttls", "ftp")
		}
		cmd := p.command("openssl", args...)
		out, err := cmd.output()
		if m := subject.FindStringSubmatch(out); err != nil || m == nil || m[1] != c.want {
			t.Errorf("%s: %v, subject %q; want %s\n%s", c.name, err, m, c.want, tail(out, 2000))
		}
	}
}

// A certificate that can't be used is told with its file and what to do, by the
// check and by a server that does not start.
func TestACertificateThatCantBeUsedIsTold(t *testing.T) {
	t.Parallel()
	now := time.Now()
	good := issue(t, now.Add(-time.Hour), now.Add(48*time.Hour), "good.test")
	other := issue(t, now.Add(-time.Hour), now.Add(48*time.Hour), "other.test")
	for _, c := range []struct {
		name string
		pair pair
		says string
	}{
		{"expired", issue(t, now.Add(-48*time.Hour), now.Add(-time.Hour), "old.test"), "expired"},
		{"not yet in force", issue(t, now.Add(24*time.Hour), now.Add(48*time.Hour), "early.test"), "valid"},
		{"a key of another", pair{good.cert, other.key}, "key"},
		{"no file", pair{good.cert + ".gone", good.key}, "can't be opened"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, passive(), "[[listener]]\nlisten = [\"127.0.0.1:0\"]\n"+c.pair.toml())
			for _, args := range [][]string{{"config", "check", s.config}, {"serve", "--config", s.config}} {
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				defer cancel()
				out, err := exec.CommandContext(ctx, s.binary, args...).CombinedOutput()
				var exit *exec.ExitError
				if !errors.As(err, &exit) || exit.ExitCode() != 2 {
					t.Errorf("dray %s: %v; want status 2\n%s", args[0], err, out)
				}
				if !strings.Contains(string(out), c.says) || !strings.Contains(string(out), s.config+":") {
					t.Errorf("dray %s does not say %q, or not where:\n%s", args[0], c.says, out)
				}
			}
		})
	}
}

// until is a day on which an exception still holds.
func until() string { return time.Now().AddDate(0, 1, 0).Format(time.DateOnly) }

// An exception for an old version of TLS is for its network and its listener.
func TestOldTLSByExceptionOnly(t *testing.T) {
	t.Parallel()
	peer(t, "curl")
	peer(t, "openssl")
	exception := func(allow, network, until string) string {
		return fmt.Sprintf("[[exception]]\nallow = %q\nnetwork = %q\nreason = \"a scanner of 2009\"\nuntil = %q\n", allow, network, until)
	}
	listeners := "[[listener]]\nlisten = [\"127.0.0.1:0\"]\n"
	s := newSite(t, passive(), listeners+exception("tls1.0", "127.0.0.1/32", until())+exception("tls1.1", "127.0.0.2/32", until())+
		exception("tls1.0", "127.0.0.3/32", "2020-01-01"))
	home := s.add(t, user)
	stored := plant(t, home, file{"file.bin", 300_000}.as("file.bin"))
	srv := s.serve(t)
	p := guest(t, srv)
	p.host, p.port = address(t, "ftp", srv.ready.FTP)
	p.ca = srv.trust(t, p.host)
	up := file{"up.bin", 200_000}.as("up.bin")
	plant(t, p.local, up)
	for _, c := range []struct {
		from, version string
		in            bool
	}{
		{"127.0.0.1", "1.0", true},
		{"127.0.0.1", "1.1", true},
		{"127.0.0.1", "1.2", true},
		{"127.0.0.1", "1.3", true},
		{"127.0.0.2", "1.0", false},
		{"127.0.0.2", "1.1", true},
		{"127.0.0.2", "1.3", true},
		{"127.0.0.3", "1.0", false}, // it is over
		{"127.0.0.4", "1.0", false},
		{"127.0.0.4", "1.1", false},
		{"127.0.0.4", "1.2", true},
	} {
		t.Run(c.from+" TLS "+c.version, func(t *testing.T) {
			flag := map[string]string{"1.0": "-tls1", "1.1": "-tls1_1", "1.2": "-tls1_2", "1.3": "-tls1_3"}[c.version]
			cmd := p.command("openssl", "s_client", "-connect", srv.ready.FTP[0], "-bind", c.from+":0", "-starttls", "ftp", flag, "-cipher", "DEFAULT@SECLEVEL=0")
			out, err := cmd.output()
			if in := err == nil && !strings.Contains(out, "Cipher is (NONE)"); in != c.in {
				t.Errorf("openssl s_client %s: %v; want in: %v\n%s", flag, err, c.in, tail(out, 2000))
			}
			args := []string{"--interface", c.from, "--tlsv1.0", "--tls-max", c.version, "--ciphers", "DEFAULT@SECLEVEL=0",
				"--no-progress-meter"}
			if err := os.RemoveAll(filepath.Join(home, "up.bin")); err != nil {
				t.Fatal(err)
			}
			for _, more := range [][]string{{"-T", "up.bin", p.url("up.bin")}, {"-o", "down.bin", p.url("file.bin")}} {
				if out, err = p.try("curl", p.curlArgs(append(args, more...)...)...); (err == nil) != c.in {
					t.Errorf("curl %s: %v; want in: %v\n%s", more[0], err, c.in, out)
				}
			}
			want := stored
			if c.in {
				want = stored.plus(treeOf(up))
				if got := scan(t, p.local)["down.bin"]; got != stored["file.bin"] {
					t.Errorf("download: %s; want %s", got, stored["file.bin"])
				}
			}
			same(t, home, want)
		})
	}
}

// An exception for clear text is for one account from one network; what others
// are told is a wrong password, and that TLS is needed elsewhere.
func TestClearTextByExceptionOnly(t *testing.T) {
	t.Parallel()
	s := newSite(t, passive(), "[[listener]]\nname = \"one\"\nlisten = [\"127.0.0.1:0\"]\n[[listener]]\nname = \"two\"\nlisten = [\"127.0.0.1:0\"]\n"+
		"[limits]\nexempt = [\"127.0.0.0/8\"]\n"+
		fmt.Sprintf("[[exception]]\nallow = \"plain\"\naccount = \"scanner\"\nlistener = \"one\"\nnetwork = \"127.0.0.1/32\"\nreason = \"it has no TLS\"\nuntil = %q\n", until()))
	s.add(t, "scanner")
	s.add(t, "anna")
	srv := s.serve(t)
	for _, c := range []struct {
		name, from string
		listener   int
		account    string
		user, pass int // replies; 0: not asked
	}{
		{"the account from its network", "127.0.0.1", 0, "scanner", 331, 230},
		{"another account from there", "127.0.0.1", 0, "anna", 331, 530},
		{"an account that there is not", "127.0.0.1", 0, "nobody", 331, 530},
		{"the account from elsewhere", "127.0.0.2", 0, "scanner", 530, 0},
		{"the account on another listener", "127.0.0.1", 1, "scanner", 530, 0},
	} {
		v, err := call(t.Context(), srv.ready.FTP[c.listener], c.from)
		if err != nil {
			t.Fatal(err)
		}
		defer v.hangUp()
		if err := v.ask("USER "+c.account, c.user); err != nil {
			t.Errorf("%s: %v; want %d", c.name, err, c.user)
		}
		if c.pass == 0 {
			continue
		}
		if err := v.ask("PASS "+password, c.pass); err != nil {
			t.Errorf("%s: %v; want %d", c.name, err, c.pass)
		}
		if c.pass == 230 {
			if err := errors.Join(v.ask("TYPE I", 200), v.upload(t.Context(), "STOR scan.pdf", big.content())); err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			same(t, filepath.Join(s.homes, c.account), treeOf(big.as("scan.pdf")))
		}
	}
	cfg := srv.trusted(t)
	for _, name := range []string{"scanner", "anna"} { // under TLS nothing has changed
		v, err := enter(t.Context(), "explicit", srv.ready.FTP[0], name, cfg, "")
		if err != nil {
			t.Fatal(err)
		}
		v.hangUp()
	}
}

// An upload under TLS that ends without close_notify is whole where an exception
// says so, and cut elsewhere.
func TestUploadsWithoutCloseNotifyByExceptionOnly(t *testing.T) {
	t.Parallel()
	s := newSite(t, passive(), "[[listener]]\nlisten = [\"127.0.0.1:0\"]\n[[listener]]\nprotocol = \"ftps\"\nlisten = [\"127.0.0.1:0\"]\n"+
		fmt.Sprintf("[[exception]]\nallow = \"tls-end\"\nnetwork = \"127.0.0.2/32\"\nreason = \"an old camera\"\nuntil = %q\n", until()))
	home := s.add(t, user)
	srv := s.serve(t)
	cfg, content, want := srv.trusted(t), file{"clip", 200_000}.content(), tree{}
	for road, addr := range map[string]string{"explicit": srv.ready.FTP[0], "implicit": srv.ready.FTPS[0]} {
		for _, c := range []struct {
			from string
			code int
		}{{"127.0.0.1", 426}, {"127.0.0.2", 226}} {
			v, err := enter(t.Context(), road, addr, user, cfg, c.from)
			if err != nil {
				t.Fatal(err)
			}
			defer v.hangUp()
			name := road + " from " + c.from
			data, err := v.open(t.Context(), "STOR "+name)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := data.Write(content); err != nil {
				t.Fatal(err)
			}
			// The end of TCP and not of TLS; what the server sends is read, or its end would be a reset.
			raw := data.(*tls.Conn).NetConn().(*net.TCPConn)
			if err := raw.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, raw)
			_ = raw.Close()
			if err := v.expect("STOR", c.code); err != nil {
				t.Errorf("%s: %v; want %d", name, err, c.code)
			}
			if c.code == 226 {
				want[name] = sum(content)
			}
		}
	}
	shown, _ := namesIn(t, home)
	sameNames(t, "the home", strings.Join(shown, "\n"), slices.Sorted(maps.Keys(want)))
	for name, content := range want {
		if got := scan(t, home)[name]; got != content {
			t.Errorf("%s: %s; want %s", name, got, content)
		}
	}
}
