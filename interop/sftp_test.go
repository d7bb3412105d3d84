//go:build linux

package interop

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// carried is what every client takes both ways over SFTP: no byte, one byte, more
// than a window and no multiple of any packet, and a name that has to be quoted.
var carried = []file{
	{"empty.bin", 0},
	{"one", 1},
	{"five.bin", 5<<20 + 17},
	{"Grüße mit Leerzeichen.txt", 70_001},
}

// five is the one of them that is worth resuming.
var five = carried[2]

// longAgo is the time that files get which have to keep theirs.
var longAgo = time.Date(2021, 3, 4, 5, 6, 7, 0, time.UTC)

// woods plants the carried files below dir, more of them in directories, and an
// empty directory.
func woods(t *testing.T, dir string) tree {
	t.Helper()
	var files []named
	for _, f := range carried {
		files = append(files, f.as(f.name))
	}
	files = append(files, file{"inner", 40_000}.as("a directory/b/inner"), file{"beside", 3}.as("a directory/größe"))
	out := plant(t, dir, files...)
	makeDir(t, filepath.Join(dir, "nothing in it"))
	out["nothing in it"] = "directory"
	return out
}

func makeDir(t *testing.T, dir string) {
	t.Helper()
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
}

// leads makes a symbolic link, which the account of these tests may not.
func leads(t *testing.T, dir, name, to string) {
	t.Helper()
	if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}

// keepsTime makes a file one whose mode and time can be told from those of a new one.
func keepsTime(t *testing.T, path string) {
	t.Helper()
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, longAgo, longAgo); err != nil {
		t.Fatal(err)
	}
}

// kept checks that a file has the mode and time of keepsTime.
func kept(t *testing.T, path string) {
	t.Helper()
	hasMode(t, path, 0o640)
	if fi, err := os.Stat(path); err == nil && !fi.ModTime().Equal(longAgo) {
		t.Errorf("%s was modified %v; want %v", filepath.Base(path), fi.ModTime().UTC(), longAgo)
	}
}

func hasMode(t *testing.T, path string, want fs.FileMode) {
	t.Helper()
	fi, err := os.Stat(path)
	if err != nil {
		t.Error(err)
	} else if fi.Mode() != want {
		t.Errorf("%s has mode %v; want %v", filepath.Base(path), fi.Mode(), want)
	}
}

// holds checks the content of one file.
func holds(t *testing.T, path string, want []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Error(err)
		return
	}
	if !bytes.Equal(b, want) {
		t.Errorf("%s: %s; want %s", filepath.Base(path), sum(b), sum(want))
	}
}

// An sftpPlay is a client's story over SFTP. Clients check the host keys, as the
// ready file and the state directory have them.
type sftpPlay struct {
	*play
	home     string          // of the client
	key      string          // file with the user's private key, as OpenSSH keeps it
	known    string          // file with the host keys, as OpenSSH keeps them
	hostKeys []ssh.PublicKey // what is in known
}

// newSFTP starts a server that speaks nothing but SFTP. password and a key both log
// in.
func newSFTP(t *testing.T, args ...string) *sftpPlay {
	t.Helper()
	return newSFTPAt(t, t.TempDir(), args...)
}

// newSFTPAt is newSFTP with a given directory.
func newSFTPAt(t *testing.T, root string, args ...string) *sftpPlay {
	t.Helper()
	p, line := traveller(t)
	authorized := filepath.Join(p.home, "authorized_keys")
	if err := os.WriteFile(authorized, line, 0o600); err != nil {
		t.Fatal(err)
	}
	p.visits(t, start(t, root, append([]string{
		"--sftp", "127.0.0.1:0", "--ftp", "off", "--ftps", "off", "--authorized-keys", authorized,
	}, args...)...))
	return p
}

// traveller is a client with a home and a key, whose line of authorized_keys it returns,
// and no server yet.
func traveller(t *testing.T) (*sftpPlay, []byte) {
	t.Helper()
	home := t.TempDir()
	p := &sftpPlay{home: home, key: filepath.Join(home, ".ssh", "id"), known: filepath.Join(home, ".ssh", "known_hosts")}
	if err := os.Mkdir(filepath.Join(home, ".ssh"), 0o700); err != nil {
		t.Fatal(err)
	}
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return p, keyFile(t, p.key, private)
}

// visits gives the play its server.
func (p *sftpPlay) visits(t *testing.T, s *server) {
	t.Helper()
	p.play = join(t, way{}, s)
	p.host, p.port = address(t, "sftp", p.ready.SFTP)
	p.env = append(p.env, "HOME="+p.home)
	p.trustHostKeys(t)
}

// keyFile writes a private key to path, and returns its line of authorized_keys.
func keyFile(t *testing.T, path string, private crypto.Signer) []byte {
	t.Helper()
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	pub, err := ssh.NewPublicKey(private.Public())
	if err != nil {
		t.Fatal(err)
	}
	return ssh.MarshalAuthorizedKey(pub)
}

// trustHostKeys writes known from the keys of the state directory, which are those
// that the ready file names.
func (p *sftpPlay) trustHostKeys(t *testing.T) {
	t.Helper()
	var lines, told []string
	for _, kind := range []string{"ed25519", "ecdsa", "rsa"} {
		b, err := os.ReadFile(filepath.Join(p.state, "ssh_host_"+kind+"_key"))
		if err != nil {
			t.Fatal(err)
		}
		signer, err := ssh.ParsePrivateKey(b)
		if err != nil {
			t.Fatal(err)
		}
		pub := signer.PublicKey()
		p.hostKeys = append(p.hostKeys, pub)
		told = append(told, kind+" "+ssh.FingerprintSHA256(pub))
		lines = append(lines, p.hostLine(pub))
	}
	if !slices.Equal(p.ready.HostKeys, told) {
		t.Errorf("ready file: host_keys = %q; the state directory has %q", p.ready.HostKeys, told)
	}
	if err := os.WriteFile(p.known, []byte(strings.Join(lines, "")), 0o600); err != nil {
		t.Fatal(err)
	}
}

// hostLine is a line of known_hosts.
func (p *sftpPlay) hostLine(pub ssh.PublicKey) string {
	return fmt.Sprintf("[%s]:%s %s", p.host, p.port, ssh.MarshalAuthorizedKey(pub))
}

// there is the account as OpenSSH's programs write it.
func (p *sftpPlay) there() string { return user + "@" + p.host }

// sshArgs are the arguments that OpenSSH's programs share. The first of two values
// of one option counts.
func (p *sftpPlay) sshArgs(first ...string) []string {
	return append(first, "-F", "/dev/null", "-i", p.key, "-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=yes",
		"-o", "UserKnownHostsFile="+p.known, "-o", "GlobalKnownHostsFile=/dev/null", "-o", "UpdateHostKeys=no", "-o", "ConnectTimeout=20")
}

// batch is OpenSSH's sftp with commands, of which the first that fails ends it; one
// that begins with "-" may fail.
func (p *sftpPlay) batch(first []string, commands ...string) command {
	cmd := p.command("sftp", append(p.sshArgs(first...), "-b", "-", "-P", p.port, p.there())...)
	cmd.Stdin = strings.NewReader(strings.Join(commands, "\n") + "\n")
	return cmd
}

// scp is OpenSSH's, with "-s" over SFTP and with "-O" by its old protocol.
func (p *sftpPlay) scp(how string, args ...string) command {
	return p.command("scp", append(p.sshArgs(how, "-P", p.port, "-o", "BatchMode=yes"), args...)...)
}

func (p *sftpPlay) sftp(t *testing.T, commands ...string) string {
	t.Helper()
	out, err := p.batch(nil, commands...).output()
	if err != nil {
		t.Fatalf("sftp: %v\n%s", err, tail(out, 6000))
	}
	return out
}

// askpass makes OpenSSH's programs read a password from a program.
func (p *sftpPlay) askpass(t *testing.T, secret string) []string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "askpass")
	if err := os.WriteFile(program, []byte("#!/bin/sh\necho '"+secret+"'\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return []string{"SSH_ASKPASS=" + program, "SSH_ASKPASS_REQUIRE=force"}
}

// blocks is what the file system of the served directory has, in bytes.
func (p *sftpPlay) blocks(t *testing.T) int64 {
	t.Helper()
	var st syscall.Statfs_t
	if err := syscall.Statfs(p.root, &st); err != nil {
		t.Fatal(err)
	}
	return int64(st.Blocks) * st.Frsize
}

// Both ways of a password, keys of all kinds, every host key, and what does not log
// in.
func TestSFTPLogins(t *testing.T) {
	t.Parallel()
	peer(t, "sftp")
	p := newSFTP(t)
	only := func(method string) []string {
		return []string{"-o", "BatchMode=no", "-o", "NumberOfPasswordPrompts=1", "-o", "PreferredAuthentications=" + method}
	}
	call := func(env, first []string) (string, error) {
		cmd := p.batch(first, "pwd")
		cmd.Env = append(cmd.Env, env...)
		return cmd.output()
	}
	with := func(key string) (string, error) {
		other := *p
		other.key = filepath.Join(p.home, ".ssh", key)
		return other.batch(only("publickey"), "pwd").output()
	}
	allowed := func(what string, env, first []string) {
		t.Helper()
		if out, err := call(env, first); err != nil || !strings.Contains(out, "Remote working directory: /") {
			t.Errorf("%s: %v\n%s", what, err, out)
		}
	}
	refused := func(what string, env, first []string) {
		t.Helper()
		if out, err := call(env, first); err == nil || !strings.Contains(out, "Permission denied (") {
			t.Errorf("%s: %v; want permission denied\n%s", what, err, out)
		}
	}

	right := p.askpass(t, password)
	allowed("the password", right, only("password"))
	allowed("the password as an answer", right, only("keyboard-interactive"))
	allowed("the key", nil, only("publickey"))
	for i, algorithm := range []string{"ssh-ed25519", "ecdsa-sha2-nistp256", "rsa-sha2-512", "rsa-sha2-256"} {
		allowed("the host key "+algorithm, nil, append(only("publickey"), "-o", "HostKeyAlgorithms="+algorithm))
		// All that the client knows is one key: it learns the others.
		if i == 3 {
			continue
		}
		known := filepath.Join(t.TempDir(), "known_hosts")
		if err := os.WriteFile(known, []byte(p.hostLine(p.hostKeys[i])), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := p.batch([]string{"-o", "UserKnownHostsFile=" + known, "-o", "UpdateHostKeys=yes"}, "pwd",
			// It learns them while it does something else: it is not to leave before.
			"!for i in $(seq 200); do [ $(wc -l <"+known+") -ge 3 ] && break; sleep 0.05; done").output()
		if err != nil {
			t.Errorf("one known host key, %s: %v\n%s", algorithm, err, out)
		}
		b, err := os.ReadFile(known)
		if err != nil {
			t.Fatal(err)
		}
		for _, pub := range p.hostKeys {
			if !strings.Contains(string(b), strings.TrimSpace(p.hostLine(pub))) {
				t.Errorf("a client that knew %s has not learned %s:\n%s", algorithm, pub.Type(), b)
			}
		}
	}

	// The file with the keys is read again when it changes.
	authorized := filepath.Join(p.home, "authorized_keys")
	lines, err := os.ReadFile(authorized)
	if err != nil {
		t.Fatal(err)
	}
	ec, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	keys := map[string]crypto.Signer{"ecdsa": ec, "rsa": rsaKey}
	for name, k := range keys {
		lines = append(lines, keyFile(t, filepath.Join(p.home, ".ssh", name), k)...)
		if out, err := with(name); err == nil || !strings.Contains(out, "Permission denied (") {
			t.Errorf("an unknown %s key: %v; want permission denied\n%s", name, err, out)
		}
	}
	if err := os.WriteFile(authorized, lines, 0o600); err != nil {
		t.Fatal(err)
	}
	for name := range keys {
		within(t, "the new "+name+" key logs in", func() bool {
			_, err := with(name)
			return err == nil
		})
	}
	refused("a wrong password", p.askpass(t, "not "+password), only("password"))
}

// Every cipher and key exchange carries files both ways, and new keys are made in the
// middle of them.
func TestSFTPEveryAlgorithm(t *testing.T) {
	t.Parallel()
	peer(t, "sftp")
	p := newSFTP(t)
	plant(t, p.local, five.as("up.bin"))
	var all []string
	for _, cipher := range []string{
		"aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com", "aes128-ctr", "aes192-ctr", "aes256-ctr",
	} {
		all = append(all, "Ciphers="+cipher)
	}
	for _, mac := range []string{"hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com"} {
		all = append(all, "MACs="+mac)
	}
	for _, kex := range []string{
		"curve25519-sha256", "curve25519-sha256@libssh.org", "diffie-hellman-group16-sha512", "diffie-hellman-group-exchange-sha256",
		"ecdh-sha2-nistp256", "ecdh-sha2-nistp384", "ecdh-sha2-nistp521", "diffie-hellman-group14-sha256",
	} {
		all = append(all, "KexAlgorithms="+kex)
	}
	for _, option := range all {
		first := []string{"-o", option, "-o", "RekeyLimit=2M"}
		if strings.HasPrefix(option, "MACs=") {
			first = append(first, "-o", "Ciphers=aes128-ctr") // the others need no MAC
		}
		if out, err := p.batch(first, "put up.bin", "get up.bin back.bin", "rm up.bin").output(); err != nil {
			t.Errorf("%s: %v\n%s", option, err, out)
			continue
		}
		holds(t, filepath.Join(p.local, "back.bin"), five.content())
	}
}

func TestSFTPWithOpenSSH(t *testing.T) {
	t.Parallel()
	peer(t, "sftp")
	p := newSFTP(t)
	up, down := filepath.Join(p.local, "up"), filepath.Join(p.local, "down")
	source := woods(t, up)
	keepsTime(t, filepath.Join(up, five.name))
	makeDir(t, down)
	half := named{"half.bin", five.content()[:five.size/2]}
	plant(t, p.root, half)
	plant(t, p.local, half)
	leads(t, p.root, "link", "single/five.bin")

	commands := []string{"pwd", "mkdir single"}
	for _, f := range carried {
		commands = append(commands,
			fmt.Sprintf("put %q %q", "up/"+f.name, "single/"+f.name),
			fmt.Sprintf("get %q %q", "single/"+f.name, "down/"+f.name))
	}
	commands = append(commands,
		"put -p up/five.bin kept.bin", "get -p kept.bin kept.bin",
		"put -r up all", "get -r all all",
		"put -f up/one durable",
		"rename single/one single/two", "rename single/two single/empty.bin",
		"put up/one mode", "chmod 600 mode",
		"put up/one passing", "rm passing",
		"mkdir empty", "rmdir empty",
		"cp all/five.bin copied.bin", "get link through-link.bin", "-ln -s single/five.bin other",
		"reget all/five.bin half.bin", "reput up/five.bin half.bin",
		"-get missing", "-rmdir all", "-mkdir all", "-rm missing")
	out := p.sftp(t, commands...)
	for _, want := range []string{
		"Remote working directory: /\n", `File "/missing" not found.`,
		"remote rmdir \"/all\": Failure", "remote mkdir \"/all\": Failure", "remote delete /missing: No such file or directory",
		`remote symlink file "single/five.bin" to "/other": Permission denied`,
	} {
		if !strings.Contains(out, want) {
			t.Errorf("sftp does not say %q:\n%s", want, out)
		}
	}

	single := tree{}
	for _, f := range carried {
		single[f.name] = sum(f.content())
	}
	same(t, down, single)
	same(t, filepath.Join(p.local, "all"), source)
	kept(t, filepath.Join(p.root, "kept.bin"))
	kept(t, filepath.Join(p.local, "kept.bin"))
	holds(t, filepath.Join(p.local, "half.bin"), five.content())
	holds(t, filepath.Join(p.local, "through-link.bin"), five.content())
	single["empty.bin"] = single["one"] // replaced by the rename
	delete(single, "one")
	want := source.below("all").plus(single.below("single"),
		treeOf(five.as("kept.bin"), five.as("copied.bin"), five.as("half.bin"), five.as("link"), carried[1].as("mode"), carried[1].as("durable")))
	same(t, p.root, want)

	listing := p.sftp(t, "ls -la", "ls -1 single", "ls -lan mode")
	for _, want := range []string{
		`(?m)^-rw------- .* 1 .* mode$`, `(?m)^-rw-r----- .* 5242897 Mar  4 +2021 kept\.bin$`,
		`(?m)^lrwxrwxrwx .* link( -> single/five\.bin)?$`, `(?m)^drwxr-xr-x .* \.$`, `(?m)^drwxr-xr-x .* \.\.$`, `(?m)^drwxr-xr-x .* all$`,
		`(?m)^single/Grüße mit Leerzeichen\.txt *$`,
	} {
		if !regexp.MustCompile(want).MatchString(listing) {
			t.Errorf("the listing has no line %s:\n%s", want, listing)
		}
	}
	df := p.sftp(t, "df")
	if m := regexp.MustCompile(`(?m)^ *(\d+) +\d+ +\d+ +\d+ +\d+%$`).FindStringSubmatch(df); m == nil || m[1] != strconv.FormatInt(p.blocks(t)/1024, 10) {
		t.Errorf("df = %s; want %d KiB", df, p.blocks(t)/1024)
	}
}

// The SFTP mode of scp, which newer ones have by default.
func TestSFTPWithScp(t *testing.T) {
	t.Parallel()
	peer(t, "scp")
	p := newSFTP(t)
	up, down := filepath.Join(p.local, "up"), filepath.Join(p.local, "down")
	source := woods(t, up)
	keepsTime(t, filepath.Join(up, five.name))
	makeDir(t, down)
	makeDir(t, filepath.Join(p.root, "single"))
	scp := func(args ...string) string {
		t.Helper()
		return p.run(t, "scp", append(p.sshArgs("-s", "-P", p.port, "-o", "BatchMode=yes"), args...)...)
	}
	var files, back []string
	single := tree{}
	for _, f := range carried {
		files = append(files, "up/"+f.name)
		back = append(back, p.there()+":single/"+f.name)
		single[f.name] = sum(f.content())
	}
	scp(append(files, p.there()+":single/")...)
	same(t, filepath.Join(p.root, "single"), single)
	scp(append(back, "down")...)
	same(t, down, single)

	scp("-r", "-p", "up", p.there()+":all")
	same(t, filepath.Join(p.root, "all"), source)
	kept(t, filepath.Join(p.root, "all", five.name))
	scp("-r", "-p", p.there()+":all", "back")
	same(t, filepath.Join(p.local, "back"), source)
	kept(t, filepath.Join(p.local, "back", five.name))

	// A pattern, a copy from there to there, and a new name.
	makeDir(t, filepath.Join(p.local, "matched"))
	scp(p.there()+":single/*.bin", "matched")
	same(t, filepath.Join(p.local, "matched"), treeOf(carried[0].as("empty.bin"), five.as(five.name)))
	scp("-3", p.there()+":single/five.bin", p.there()+":again.bin")
	scp("up/one", p.there()+":single/empty.bin") // replaces
	single["empty.bin"] = single["one"]
	same(t, p.root, source.below("all").plus(single.below("single"), treeOf(five.as("again.bin"))))

	out, err := p.try("scp", append(p.sshArgs("-s", "-P", p.port, "-o", "BatchMode=yes"), p.there()+":missing", "down")...)
	if err == nil || !strings.Contains(out, "No such file or directory") {
		t.Errorf("scp of a missing file: %v\n%s", err, out)
	}
}

// paramiko runs one of the stories of its script.
func (p *sftpPlay) paramiko(t *testing.T, story string) {
	t.Helper()
	p.run(t, python, append([]string{script(t, "sftp_paramiko.py"), "story=" + story, "key=" + p.key, "known=" + p.known, "big=" + five.name},
		p.arguments()...)...)
}

// python is Debian's, which has Debian's paramiko.
const python = "/usr/bin/python3"

// CREAT and EXCL without WRITE make an empty file (draft-ietf-secsh-filexfer-02, 6.3
// asks for no WRITE, and OpenSSH for none): mode "x" of paramiko is used for locks.
func TestSFTPParamikoMakesALockWithoutWriting(t *testing.T) {
	t.Parallel()
	library(t, "python3-paramiko", python, "-c", "import paramiko")
	p := newSFTP(t)
	p.paramiko(t, "lock")
	same(t, p.root, treeOf(named{"lock", nil}))
}

func TestSFTPWithParamiko(t *testing.T) {
	t.Parallel()
	library(t, "python3-paramiko", python, "-c", "import paramiko")
	p := newSFTP(t)
	var files, many []named
	for _, f := range carried {
		files = append(files, f.as(f.name))
	}
	source := plant(t, filepath.Join(p.local, "up"), files...)
	for i := range 3000 {
		many = append(many, named{fmt.Sprintf("name %04d", i), make([]byte, i%7)})
	}
	listed := plant(t, filepath.Join(p.root, "many"), many...)
	leads(t, p.root, "link", "b.txt")

	p.paramiko(t, "everything")

	same(t, filepath.Join(p.local, "down"), source.plus(treeOf(five.as("prefetched.bin"))))
	want := source.below("files").plus(listed.below("many"), treeOf(named{"cut.txt", []byte("0123\x00\x00")},
		named{"slow.txt", []byte("first")}, named{"b.txt", []byte("a.txt")}))
	for i := range 200 {
		want = want.plus(treeOf(named{fmt.Sprintf("crowd/%03d", i), fmt.Appendf(nil, "content of %03d", i)}))
	}
	same(t, p.root, want)
}

// puttyArgs are what PuTTY's programs share, with the fingerprints of the ready file,
// and a login.
func (p *sftpPlay) puttyArgs(t *testing.T) (common, byPassword []string) {
	t.Helper()
	pwfile := filepath.Join(p.home, "password")
	if err := os.WriteFile(pwfile, []byte(password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, k := range p.ready.HostKeys {
		_, fingerprint, _ := strings.Cut(k, " ")
		common = append(common, "-hostkey", fingerprint)
	}
	return append(common, "-batch", "-noagent", "-P", p.port), []string{"-pwfile", pwfile}
}

// psftp is PuTTY's client with commands, of which the first that fails ends it.
func (p *sftpPlay) psftp(t *testing.T, args []string, commands ...string) command {
	t.Helper()
	batch := filepath.Join(t.TempDir(), "commands")
	if err := os.WriteFile(batch, []byte(strings.Join(commands, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return p.command("psftp", append(slices.Clone(args), "-bc", "-b", batch, p.there())...)
}

// psftp and pscp, by key and by password.
func TestSFTPWithPutty(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"psftp", "pscp", "puttygen"} {
		peer(t, name)
	}
	p := newSFTP(t)
	common, byPassword := p.puttyArgs(t)
	ppk := filepath.Join(p.home, "id.ppk")
	none := filepath.Join(p.home, "no-passphrase")
	if err := os.WriteFile(none, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	p.run(t, "puttygen", p.key, "-O", "private", "-o", ppk, "--new-passphrase", none)
	byKey := []string{"-i", ppk}
	psftp := func(login []string, commands ...string) string {
		t.Helper()
		out, err := p.psftp(t, slices.Concat(common, login), commands...).output()
		if err != nil {
			t.Fatalf("psftp: %v\n%s", err, tail(out, 6000))
		}
		return out
	}

	source := woods(t, filepath.Join(p.local, "up"))
	makeDir(t, filepath.Join(p.local, "down"))
	half := named{"half.bin", five.content()[:five.size/2]}
	plant(t, p.root, half)
	plant(t, p.local, half)
	single := tree{}
	commands := []string{"pwd", "mkdir single"}
	for _, f := range carried {
		commands = append(commands,
			fmt.Sprintf(`put "up/%s" "single/%s"`, f.name, f.name),
			fmt.Sprintf(`get "single/%s" "down/%s"`, f.name, f.name))
		single[f.name] = sum(f.content())
	}
	commands = append(commands, "put -r up all", "get -r all all",
		"reput up/five.bin half.bin", "reget all/five.bin half.bin",
		"put up/one passing", "chmod 600 passing", "mv passing renamed", "put up/one gone", "del gone",
		"mkdir empty", "rmdir empty", "ls", "dir single")
	out := psftp(byKey, commands...)
	for _, want := range []string{"Remote working directory is /\n", "Listing directory /\n", "Grüße mit Leerzeichen.txt\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("psftp does not say %q:\n%s", want, out)
		}
	}
	same(t, filepath.Join(p.local, "down"), single)
	same(t, filepath.Join(p.local, "all"), source)
	holds(t, filepath.Join(p.local, "half.bin"), five.content())
	want := source.below("all").plus(single.below("single"), treeOf(five.as("half.bin"), carried[1].as("renamed")))
	same(t, p.root, want)
	hasMode(t, filepath.Join(p.root, "renamed"), 0o600)
	if out := psftp(byPassword, "ls single"); !strings.Contains(out, " five.bin\n") {
		t.Errorf("with the password psftp lists\n%s", out)
	}

	pscp := func(login []string, args ...string) {
		t.Helper()
		p.run(t, "pscp", append(slices.Concat([]string{"-sftp", "-q"}, common, login), args...)...)
	}
	keepsTime(t, filepath.Join(p.local, "up", five.name))
	makeDir(t, filepath.Join(p.root, "pscp"))
	makeDir(t, filepath.Join(p.local, "pscp"))
	var files []string
	for _, f := range carried {
		files = append(files, "up/"+f.name)
		pscp(byPassword, p.there()+":single/"+f.name, "pscp/"+f.name)
	}
	same(t, filepath.Join(p.local, "pscp"), single)
	pscp(byKey, append(append([]string{"-p"}, files...), p.there()+":pscp/")...)
	kept(t, filepath.Join(p.root, "pscp", five.name))
	makeDir(t, filepath.Join(p.local, "tree"))
	pscp(byKey, "-r", "up", p.there()+":")
	pscp(byKey, "-r", p.there()+":up", "tree")
	same(t, filepath.Join(p.local, "tree"), source.below("up"))
	same(t, p.root, want.plus(single.below("pscp"), source.below("up")))
}

// lftpArgs are a file of commands for lftp, whose ssh checks the host key. method
// is how it logs in.
func (p *sftpPlay) lftpArgs(t *testing.T, method string, commands ...string) []string {
	t.Helper()
	connect := strings.Join(append([]string{"ssh", "-a", "-x"}, p.sshArgs("-o", "PreferredAuthentications="+method)...), " ")
	lines := append([]string{
		"set cmd:fail-exit yes", "set cmd:interactive no", "set net:max-retries 1", "set net:timeout 20",
		"set net:reconnect-interval-base 1", "set xfer:log no", "set sftp:connect-program \"" + connect + "\"",
		fmt.Sprintf("open -u %s,%s sftp://%s", user, password, net.JoinHostPort(p.host, p.port)),
	}, commands...)
	path := filepath.Join(t.TempDir(), "commands")
	if err := os.WriteFile(path, []byte(strings.Join(append(lines, "bye"), "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return []string{"-d", "-f", path}
}

func TestSFTPWithLftp(t *testing.T) {
	t.Parallel()
	peer(t, "lftp")
	peer(t, "ssh")
	p := newSFTP(t)
	source := woods(t, filepath.Join(p.local, "here"))
	keepsTime(t, filepath.Join(p.local, "here", five.name))
	stored := woods(t, filepath.Join(p.root, "there"))
	half := five.content()[:five.size/2]
	plant(t, p.root, named{"put.bin", half})
	plant(t, p.local, named{"get.bin", half})

	out := p.run(t, "lftp", p.lftpArgs(t, "publickey",
		"cls -1 -a there", "mirror there mirrored", "mirror -P 4 there parallel",
		"mirror -R here up", "mirror -R -P 4 here up4",
		"put -c here/five.bin -o put.bin", "get -c there/five.bin -o get.bin", "pget -n 4 there/five.bin -o pget.bin",
		"mkdir made", `put "here/Grüße mit Leerzeichen.txt" -o "made/ä b"`, `mv "made/ä b" made/two`, "chmod 600 made/two",
		"cls -l made", "rm made/two", "rmdir made")...)
	if !regexp.MustCompile(`(?m)^-rw------- .* 70001 .* made/two$`).MatchString(out) {
		t.Errorf("the listing does not show the mode:\n%s", tail(out, 4000))
	}
	want := stored.below("there").plus(source.below("up"), source.below("up4"), treeOf(five.as("put.bin")))
	same(t, p.root, want)
	same(t, p.local, source.below("here").plus(stored.below("mirrored"), stored.below("parallel"), treeOf(five.as("get.bin"), five.as("pget.bin"))))
	kept(t, filepath.Join(p.root, "up", five.name))

	// What did not change is not sent again; what did, is.
	if err := os.WriteFile(filepath.Join(p.local, "here", "one"), []byte("changed"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(p.local, "here", "empty.bin")); err != nil {
		t.Fatal(err)
	}
	out = p.run(t, "lftp", p.lftpArgs(t, "keyboard-interactive", "mirror -R -e -v here up")...)
	if strings.Contains(out, "`five.bin'") {
		t.Errorf("the second mirror sent five.bin again:\n%s", tail(out, 4000))
	}
	want["up/one"] = sum([]byte("changed"))
	delete(want, "up/empty.bin")
	same(t, p.root, want)
	p.run(t, "lftp", p.lftpArgs(t, "password", "rm -r up4", "cls")...)
	for name := range want {
		if name == "up4" || strings.HasPrefix(name, "up4/") {
			delete(want, name)
		}
	}
	same(t, p.root, want)
}

// curlSFTP are the arguments of every call; curl takes known_hosts from its home.
func (p *sftpPlay) curlSFTP(more ...string) []string {
	return append([]string{"-q", "-sS", "-g", "--max-time", "50"}, more...)
}

func (p *sftpPlay) sftpURL(path string) string {
	return strings.Replace(p.url(path), "ftp://", "sftp://", 1)
}

func TestSFTPWithCurl(t *testing.T) {
	t.Parallel()
	peer(t, "curl")
	p := newSFTP(t)
	_, fingerprint, _ := strings.Cut(p.ready.HostKeys[0], " SHA256:")
	logins := []struct {
		name string
		args []string
	}{
		{"key", []string{"-u", user + ":", "--key", p.key}},
		{"password", []string{"-u", user + ":" + password}},
		{"fingerprint", []string{"-u", user + ":" + password, "--hostpubsha256", fingerprint}},
	}
	if out := p.run(t, "curl", "--version"); !strings.Contains(out, "sftp") {
		missing(t, "MISSING PEER curl with sftp: apt-get install curl")
	}
	source := woods(t, filepath.Join(p.local, "up"))
	half := five.content()[:five.size/2]
	want := tree{}
	for _, login := range logins {
		name := login.name
		call := func(more ...string) string {
			t.Helper()
			return p.run(t, "curl", p.curlSFTP(append(slices.Clone(login.args), more...)...)...)
		}
		var up, down []string
		single := tree{}
		for _, f := range carried {
			up = append(up, "-T", filepath.Join("up", f.name), p.sftpURL(name+"/new directory/"+f.name))
			down = append(down, p.sftpURL(name+"/new directory/"+f.name), "-o", filepath.Join(name, f.name))
			single[f.name] = source[f.name]
		}
		call(append(up, "--ftp-create-dirs")...)
		call(append(down, "--create-dirs")...)
		same(t, filepath.Join(p.local, name), single)
		want = want.plus(single.below("new directory").below(name))

		plant(t, p.root, named{name + "/resumed.bin", half}, named{name + "/appended.bin", half})
		plant(t, p.local, named{"resumed-" + name, half})
		plant(t, p.local, named{"rest", five.content()[five.size/2:]})
		call("-C", "-", "-T", "up/five.bin", p.sftpURL(name+"/resumed.bin"))
		call("-C", "-", "-o", "resumed-"+name, p.sftpURL(name+"/resumed.bin"))
		holds(t, filepath.Join(p.local, "resumed-"+name), five.content())
		call("--append", "-T", "rest", p.sftpURL(name+"/appended.bin"))
		call("-r", "1000-1999", "-o", "piece", p.sftpURL(name+"/resumed.bin"))
		holds(t, filepath.Join(p.local, "piece"), five.content()[1000:2000])
		call("-r", "-17", "-o", "piece", p.sftpURL(name+"/resumed.bin"))
		holds(t, filepath.Join(p.local, "piece"), five.content()[five.size-17:])
		want = want.plus(treeOf(five.as(name+"/resumed.bin"), five.as(name+"/appended.bin")))

		sameNames(t, "curl -l", call("-l", p.sftpURL(name+"/")), []string{".", "..", "appended.bin", "new directory", "resumed.bin"})
		call("-o", "ignored", p.sftpURL(name+"/"), "-Q", "-mkdir /"+name+"/made", "-Q", "-rename /"+name+"/appended.bin /"+name+"/made/moved.bin",
			"-Q", "-chmod 600 /"+name+"/made/moved.bin")
		delete(want, name+"/appended.bin")
		want = want.plus(treeOf(five.as(name + "/made/moved.bin")))
		hasMode(t, filepath.Join(p.root, name, "made", "moved.bin"), 0o600)
		same(t, p.root, want)

		out, err := p.try("curl", p.curlSFTP(append(login.args, p.sftpURL(name+"/missing"))...)...)
		if code := exitCode(err); code != 78 { // CURLE_REMOTE_FILE_NOT_FOUND
			t.Errorf("curl of a missing file: %v; want status 78\n%s", err, out)
		}
	}
	if out, err := p.try("curl", p.curlSFTP("-u", user+":not "+password, p.sftpURL(""))...); exitCode(err) != 67 { // CURLE_LOGIN_DENIED
		t.Errorf("curl with a wrong password: %v; want status 67\n%s", err, out)
	}
}

func TestSFTPWithRclone(t *testing.T) {
	t.Parallel()
	peer(t, "rclone")
	p := newSFTP(t)
	remote := func(name string, more ...string) {
		prefix := "RCLONE_CONFIG_" + name + "_"
		p.env = append(p.env, prefix+"TYPE=sftp", prefix+"HOST="+p.host, prefix+"PORT="+p.port, prefix+"USER="+user, prefix+"KNOWN_HOSTS_FILE="+p.known)
		for _, m := range more {
			p.env = append(p.env, prefix+m)
		}
	}
	p.env = append(p.env, "RCLONE_CONFIG="+filepath.Join(p.home, "none.conf"),
		// One try of each step: what would be repaired by trying again fails here.
		"RCLONE_RETRIES=1", "RCLONE_LOW_LEVEL_RETRIES=1", "RCLONE_TRANSFERS=8", "RCLONE_CHECKERS=4")
	remote("DRAY", "KEY_FILE="+p.key)
	remote("PASS", "PASS="+strings.TrimSpace(p.run(t, "rclone", "obscure", password)))

	up := filepath.Join(p.local, "up")
	source := woods(t, up)
	for i := range 60 {
		f := file{fmt.Sprintf("directory %d/file %d.bin", i%7, i), 977 * i}
		source = source.plus(plant(t, up, f.as(f.name)))
	}
	const dirs = "--create-empty-src-dirs"
	p.run(t, "rclone", "copy", dirs, "up", "dray:up")
	same(t, p.root, source.below("up"))
	p.run(t, "rclone", "check", "--download", "up", "dray:up")
	p.run(t, "rclone", "copy", dirs, "pass:up", "down")
	same(t, filepath.Join(p.local, "down"), source)
	if out := p.run(t, "rclone", "copy", "-v", "up", "pass:up"); strings.Contains(out, ": Copied") {
		t.Errorf("the second copy sent files again:\n%s", out)
	}

	// The same size, another content: the time tells.
	changed := named{five.name, slices.Concat([]byte("changed"), five.content()[7:])}
	source = source.plus(plant(t, up, changed, named{"new/file", []byte("new")}))
	if err := os.Remove(filepath.Join(up, "one")); err != nil {
		t.Fatal(err)
	}
	delete(source, "one")
	out := p.run(t, "rclone", "sync", "-v", dirs, "up", "dray:up")
	same(t, p.root, source.below("up"))
	if n := strings.Count(out, ": Copied"); n != 2 {
		t.Errorf("sync sent %d files; want 2:\n%s", n, out)
	}
	p.run(t, "rclone", "check", "--download", "up", "pass:up")

	p.run(t, "rclone", "moveto", "dray:up/"+five.name, "dray:moved/to/other name.bin")
	moved := source.below("up").plus(treeOf(named{"moved/to/other name.bin", changed.content}))
	delete(moved, "up/"+five.name)
	same(t, p.root, moved)

	var about struct{ Total, Used, Free int64 }
	if err := json.Unmarshal([]byte(p.run(t, "rclone", "about", "--json", "dray:")), &about); err != nil {
		t.Fatal(err)
	}
	if want := p.blocks(t); about.Total != want || about.Used <= 0 || about.Free <= 0 || about.Used+about.Free > want {
		t.Errorf("about = %+v; want a total of %d", about, want)
	}
	p.run(t, "rclone", "purge", "dray:up")
	p.run(t, "rclone", "purge", "pass:moved")
	same(t, p.root, tree{})
}

// What ssh-audit finds is what doc/security.md says of old clients, and names that
// are newer than it.
func TestSFTPWithSSHAudit(t *testing.T) {
	t.Parallel()
	peer(t, "ssh-audit")
	p := newSFTP(t)
	out, err := p.try("ssh-audit", "-n", "-t", "10", "-p", p.port, p.host)
	if code := exitCode(err); err != nil && code != 2 && code != 3 { // warnings, failures
		t.Fatalf("ssh-audit: %v\n%s", err, out)
	}
	accepted := regexp.MustCompile(`^(ecdh-sha2-nistp(256|384|521)|ecdsa-sha2-nistp256|diffie-hellman-group14-sha256)$`)
	algorithm, seen := "", 0
	for line := range strings.Lines(out) {
		if m := regexp.MustCompile(`^\((?:kex|key|enc|mac)\) (\S+)`).FindStringSubmatch(line); m != nil {
			algorithm = m[1]
			seen++
		}
		bad := strings.Contains(line, "[fail]") || strings.Contains(line, "[warn]")
		if bad && !accepted.MatchString(algorithm) && !strings.Contains(line, "[warn] unknown algorithm") {
			t.Errorf("ssh-audit says of %s: %s", algorithm, line)
		}
	}
	if seen < 20 {
		t.Errorf("ssh-audit names %d algorithms; want all of them\n%s", seen, out)
	}
	if t.Failed() {
		t.Logf("ssh-audit:\n%s", out)
	}
}

// exitCode is the status of a program that has failed, 0 of one that has not, -1 of
// one that did not run or was killed.
func exitCode(err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.ExitCode()
	}
	return -1
}

// A client that is killed in the middle of an upload leaves no file under the name.
// It goes on from what is kept, which only its account sees, and which no listing
// shows.
func TestSFTPKilledUploadsGoOn(t *testing.T) {
	t.Parallel()
	const size, rate, enough = 24 << 20, 6 << 20, 3 << 20
	up := file{"a killed upload over SFTP", size}.content()
	for _, c := range []struct {
		name string
		// put sends up.bin to cut.bin at the rate, again goes on with it.
		put, again func(t *testing.T, p *sftpPlay) command
	}{
		{"sftp", func(_ *testing.T, p *sftpPlay) command {
			return p.batch([]string{"-l", strconv.Itoa(rate * 8 / 1000)}, "put up.bin cut.bin")
		}, func(_ *testing.T, p *sftpPlay) command {
			return p.batch(nil, "reput up.bin cut.bin")
		}},
		{"curl", func(_ *testing.T, p *sftpPlay) command {
			return p.command("curl", p.curlSFTP("-u", user+":", "--key", p.key, "--limit-rate", strconv.Itoa(rate), "-T", "up.bin", p.sftpURL("cut.bin"))...)
		}, func(_ *testing.T, p *sftpPlay) command {
			return p.command("curl", p.curlSFTP("-u", user+":", "--key", p.key, "-C", "-", "-T", "up.bin", p.sftpURL("cut.bin"))...)
		}},
		{"lftp", func(t *testing.T, p *sftpPlay) command {
			return p.command("lftp", p.lftpArgs(t, "publickey", fmt.Sprintf("set net:limit-rate 0:%d", rate), "put up.bin -o cut.bin")...)
		}, func(t *testing.T, p *sftpPlay) command {
			return p.command("lftp", p.lftpArgs(t, "publickey", "put -c up.bin -o cut.bin")...)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			peer(t, c.name)
			peer(t, "sftp")
			p := newSFTP(t)
			plant(t, p.local, named{"up.bin", up})
			j := p.journal()
			killGroup(t, c.put(t, p), func() bool {
				_, hidden := namesIn(t, p.root)
				for _, h := range hidden {
					if fi, err := os.Stat(filepath.Join(p.root, h)); err == nil && fi.Size() >= enough {
						return true
					}
				}
				return false
			})
			line, err := j.await(p.ctx, regexp.MustCompile(`msg="upload (cut|done)" .*path=\S*cut\.bin`), 20*time.Second)
			if err != nil {
				t.Fatal(err)
			}
			came, keeps := number(line, "bytes"), number(line, "kept")
			if !strings.Contains(line, `msg="upload cut"`) || came < enough || came >= size || keeps != came-4096 {
				t.Errorf("of %d bytes and more, %d are not kept: %s", enough, 4096, line)
			}
			shown, hidden := namesIn(t, p.root)
			if len(shown) > 0 || len(hidden) != 1 || !cutName.MatchString(hidden[0]) {
				t.Fatalf("the directory has %q and %q; want no name and a hidden one", shown, hidden)
			}
			holds(t, filepath.Join(p.root, hidden[0]), up[:keeps])
			if out := p.sftp(t, "ls -la", "ls -1"); strings.Contains(out, "cut.bin") || strings.Contains(out, ".dray") {
				t.Errorf("a listing shows the upload that was cut:\n%s", out)
			}

			if out, err := c.again(t, p).output(); err != nil {
				t.Fatalf("going on: %v\n%s", err, tail(out, 4000))
			}
			same(t, p.root, treeOf(named{"cut.bin", up}))
			line, err = j.await(p.ctx, regexp.MustCompile(`msg="upload done" .*path=\S*cut\.bin`), 20*time.Second)
			if err != nil {
				t.Fatal(err)
			}
			if n := number(line, "bytes"); n != size-keeps {
				t.Errorf("%d bytes were sent again; want %d: %s", n, size-keeps, line)
			}
		})
	}
}

// killGroup starts cmd, and kills it with all that it has started once it is due.
func killGroup(t *testing.T, cmd command, due func() bool) {
	t.Helper()
	if out, err := cutAt(t, cmd, due, func(kill func()) { kill() }); err == nil {
		t.Fatalf("the client ended well, although it was killed\n%s", tail(out, 4000))
	}
}

// onlySFTP is what a client hears that asks for a command.
const onlySFTP = "commands are not run here; sftp and scp are offered"

// OpenSSH's ssh shows why a command and a shell are refused.
func TestSFTPSSHShowsWhyACommandIsRefused(t *testing.T) {
	t.Parallel()
	peer(t, "ssh")
	p := newSFTP(t)
	const noShell = "there is no shell here; use sftp"
	for _, c := range []struct {
		name string
		args []string
		want string
	}{
		{"a command", []string{p.there(), "ls", "-l"}, onlySFTP},
		{"a shell", []string{"-T", p.there()}, noShell},
		{"a connection through here", []string{"-W", "127.0.0.1:" + p.port, p.there()}, "only sftp and scp are offered here"},
	} {
		var stdout, stderr bytes.Buffer
		cmd := p.command("ssh", append(p.sshArgs("-o", "BatchMode=yes", "-p", p.port), c.args...)...)
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		if err := cmd.Run(); exitCode(err) <= 0 {
			t.Errorf("%s: %v; want a status that is not 0", c.name, err)
		}
		if !strings.Contains(stderr.String(), c.want) || stdout.Len() > 0 {
			t.Errorf("%s: standard error %q, output %q; want %q", c.name, stderr.String(), stdout.String(), c.want)
		}
	}
	// At a terminal, which is what script makes.
	peer(t, "script")
	line := strings.Join(append(p.sshArgs("ssh", "-o", "BatchMode=yes", "-p", p.port), p.there()), " ")
	if out, err := p.try("script", "-q", "-e", "-c", line, filepath.Join(p.local, "typescript")); err == nil || !strings.Contains(out, noShell) {
		t.Errorf("a shell at a terminal: %v, %q; want %q", err, out, noShell)
	}
}

// Everything but SFTP is refused, and the connection goes on: a master of OpenSSH
// carries it all.
func TestSFTPRefusalsEndNoConnection(t *testing.T) {
	t.Parallel()
	peer(t, "ssh")
	p := newSFTP(t)
	source := plant(t, p.local, five.as("up.bin"))
	secret := filepath.Join(t.TempDir(), "secret") // a socket that only the server's host reaches
	inside, err := net.Listen("unix", secret)
	if err != nil {
		t.Fatal(err)
	}
	defer inside.Close()
	reached := make(chan struct{}, 10)
	go func() {
		for {
			c, err := inside.Accept()
			if err != nil {
				return
			}
			reached <- struct{}{}
			c.Close()
		}
	}()

	control := filepath.Join(t.TempDir(), "control")
	toPort, toSocket := filepath.Join(t.TempDir(), "port"), filepath.Join(t.TempDir(), "socket")
	var said bytes.Buffer
	master := p.command("ssh", p.sshArgs("-M", "-S", control, "-N", "-A", "-o", "BatchMode=yes", "-p", p.port,
		"-L", toPort+":"+net.JoinHostPort(p.host, p.port), "-L", toSocket+":"+secret, "-R", "0:127.0.0.1:1", p.there())...)
	master.Stdout, master.Stderr = &said, &said
	if err := master.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- master.Wait() }()
	through := func(args ...string) (string, error) {
		return p.try("ssh", append([]string{"-F", "/dev/null", "-S", control}, args...)...)
	}
	within(t, "the master of OpenSSH", func() bool {
		_, err := through("-O", "check", p.there())
		return err == nil
	})

	for _, path := range []string{toPort, toSocket} {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		if b, err := io.ReadAll(c); len(b) > 0 || err != nil && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("a forwarded connection: %q, %v; want its end", b, err)
		}
		c.Close()
	}
	for _, args := range [][]string{
		{"-O", "forward", "-R", "0:127.0.0.1:2", p.there()},
		{"-O", "forward", "-R", filepath.Join(p.root, "socket") + ":127.0.0.1:1", p.there()},
		{p.there(), "ls"}, {"-T", p.there()}, {"-s", p.there(), "shell"},
	} {
		if out, err := through(args...); err == nil {
			t.Errorf("ssh %q was not refused: %s", args, out)
		}
	}
	out, err := p.batch([]string{"-o", "ControlPath=" + control}, "put up.bin there.bin", "get there.bin back.bin").output()
	if err != nil {
		t.Errorf("sftp behind the refusals: %v\n%s", err, out)
	}
	same(t, p.root, treeOf(five.as("there.bin")))
	same(t, p.local, source.plus(treeOf(five.as("back.bin"))))
	if len(reached) > 0 {
		t.Error("the server has connected to a socket for its client")
	}

	if out, err := through("-O", "exit", p.there()); err != nil {
		t.Errorf("the master: %v\n%s", err, out)
	}
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		_ = master.Process.Kill()
		<-ended
		t.Error("the master did not end")
	}
	if n := strings.Count(said.String(), "only sftp and scp are offered here"); n != 2 {
		t.Errorf("ssh shows %d times why a connection is not forwarded; want 2:\n%s", n, said.String())
	}
	if !strings.Contains(said.String(), "remote port forwarding failed") {
		t.Errorf("ssh does not say that -R was refused:\n%s", said.String())
	}
	// One connection carried it all.
	if log := p.printed(t); strings.Count(log, "msg=client ") != 1 {
		t.Errorf("there was not one connection:\n%s", tail(log, 4000))
	}
}

// Braces stand for names, which OpenSSH leaves to the far side in the old protocol.
func TestSFTPScpWithBraces(t *testing.T) {
	t.Parallel()
	peer(t, "scp")
	p := newSFTP(t)
	source := plant(t, p.root, file{"a.txt", 10}.as("a.txt"), file{"b.txt", 20}.as("b.txt"), file{"c.txt", 30}.as("c.txt"))
	to := filepath.Join(p.local, "to")
	makeDir(t, to)
	if out, err := p.scp("-O", p.there()+":{a,b}.txt", "to").output(); err != nil {
		t.Fatalf("scp: %v\n%s", err, out)
	}
	delete(source, "c.txt")
	same(t, to, source)
}
