package sshclient

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/crypto/ssh"

	"dray/fault"
)

// Limits on known_hosts.
const (
	maxKnownHosts = 64 << 20 // bytes of one file
	maxKnownLine  = 64 << 10 // longer lines are nobody's
)

// Markers of lines in known_hosts.
const (
	MarkCA      = "cert-authority"
	MarkRevoked = "revoked"
)

// A KnownKey is a line of known_hosts that speaks of a host.
type KnownKey struct {
	File   string
	Line   int
	Marker string // "", MarkCA or MarkRevoked
	Names  string // as they stand there; hashed ones tell nothing
	Key    ssh.PublicKey

	pattern bool // the host is not named, but fits a pattern
}

// Where is "file:line".
func (k KnownKey) Where() string { return k.File + ":" + strconv.Itoa(k.Line) }

// Fingerprint is "ED25519 SHA256:…".
func (k KnownKey) Fingerprint() string { return fingerprint(k.Key) }

// fingerprint is the kind of a key, as people call it, and its SHA-256.
func fingerprint(k ssh.PublicKey) string {
	if k == nil {
		return "a key of a kind that is not known here"
	}
	return kindName(k) + " " + ssh.FingerprintSHA256(k)
}

func kindName(k ssh.PublicKey) string {
	t := k.Type()
	t, cert := strings.CutSuffix(t, "-cert-v01@openssh.com")
	t = strings.TrimSuffix(t, "@openssh.com")
	sk := strings.HasPrefix(t, "sk-")
	t = strings.TrimPrefix(strings.TrimPrefix(t, "sk-"), "ssh-")
	if strings.HasPrefix(t, "ecdsa-") {
		t = "ecdsa"
	}
	t = strings.ToUpper(t)
	if sk {
		t += "-SK"
	}
	if cert {
		t += "-CERT"
	}
	return t
}

// HostName is a host as known_hosts names it: "host", or "[host]:port" when the
// port is not 22.
func HostName(host string, port int) string {
	host = strings.ToLower(host)
	if port == 0 || port == 22 {
		return host
	}
	return "[" + host + "]:" + strconv.Itoa(port)
}

// A knownLine is one line of known_hosts taken apart.
type knownLine struct {
	marker, names, kind, blob string
}

// parseKnownLine takes a line apart (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT); false
// for comments, and for what is no such line.
func parseKnownLine(line string) (k knownLine, ok bool) {
	f := strings.Fields(line)
	if len(f) == 0 || f[0][0] == '#' {
		return k, false
	}
	if m, marked := strings.CutPrefix(f[0], "@"); marked {
		if m != MarkCA && m != MarkRevoked {
			return k, false
		}
		k.marker, f = m, f[1:]
	}
	if len(f) < 3 {
		return k, false
	}
	k.names, k.kind, k.blob = f[0], f[1], f[2]
	return k, true
}

// key is the public key of the line, nil for one of a kind that is not known here.
func (k knownLine) key() ssh.PublicKey {
	b, err := base64.StdEncoding.DecodeString(k.blob)
	if err != nil {
		return nil
	}
	p, err := ssh.ParsePublicKey(b)
	if err != nil || p.Type() != k.kind {
		return nil
	}
	return p
}

// fits says that a line speaks of a name as HostName makes it; exact that it does
// not by a pattern.
func (k knownLine) fits(name string) (fits, exact bool) {
	if strings.HasPrefix(k.names, "|") {
		ok := hashFits(k.names, name)
		return ok, ok
	}
	patterns := strings.Split(k.names, ",")
	if !matchHosts(name, patterns) {
		return false, false
	}
	for _, p := range patterns {
		if strings.EqualFold(p, name) {
			return true, true
		}
	}
	return true, false
}

// hashFits compares a name with "|1|salt|hash" (ssh-keygen -H).
func hashFits(hashed, name string) bool {
	f := strings.Split(hashed, "|")
	if len(f) != 4 || f[0] != "" || f[1] != "1" {
		return false
	}
	salt, err1 := base64.StdEncoding.DecodeString(f[2])
	want, err2 := base64.StdEncoding.DecodeString(f[3])
	return err1 == nil && err2 == nil && len(want) == sha1.Size && hmac.Equal(hashName(salt, name), want)
}

// hashName hides a name: not a matter of trust, so SHA-1, as the format has it.
func hashName(salt []byte, name string) []byte {
	h := hmac.New(sha1.New, salt)
	_, _ = io.WriteString(h, name)
	return h.Sum(nil)
}

// Known lists the lines of files that speak of a host on a port, with those of
// authorities and of revoked keys. Missing files are empty; lines that nobody can
// read are passed over, as OpenSSH does.
func Known(files []string, host string, port int) ([]KnownKey, error) {
	var all []KnownKey
	name := HostName(host, port)
	for _, file := range files {
		err := eachLine(file, func(n int, line string) {
			l, ok := parseKnownLine(line)
			if !ok {
				return
			}
			fits, exact := l.fits(name)
			if !fits {
				return
			}
			if key := l.key(); key != nil {
				all = append(all, KnownKey{File: file, Line: n, Marker: l.marker, Names: l.names, Key: key, pattern: !exact})
			}
		})
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// KnownNames are the hosts that files of known hosts name readably. What can't be read
// is left out.
func KnownNames(files []string) []string {
	var names []string
	for _, file := range files {
		_ = eachLine(file, func(_ int, line string) {
			k, ok := parseKnownLine(line)
			if !ok || k.marker != "" || strings.ContainsAny(k.names, "|*?!") {
				return
			}
			for name := range strings.SplitSeq(k.names, ",") {
				if host, _, err := net.SplitHostPort(name); err == nil {
					name = host // "[host]:port"
				}
				names = append(names, name)
			}
		})
	}
	return names
}

// eachLine reads a file of known hosts. A missing one has no lines.
func eachLine(file string, use func(n int, line string)) error {
	data, err := readKnown(file)
	if err != nil {
		return err
	}
	n := 0
	for line := range strings.Lines(string(data)) {
		if n++; len(line) <= maxKnownLine {
			use(n, line)
		}
	}
	return nil
}

func readKnown(file string) ([]byte, error) {
	if file == "" {
		return nil, nil
	}
	fi, err := os.Stat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, localFault(file, err)
	case fi.Mode().IsRegular():
	case fi.Mode()&fs.ModeDevice != 0: // /dev/null
		return nil, nil
	default:
		return nil, localFault(file, errors.New("no regular file"))
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, localFault(file, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxKnownHosts+1))
	if err == nil && len(data) > maxKnownHosts {
		err = fmt.Errorf("more than %d bytes", maxKnownHosts)
	}
	if err != nil {
		return nil, localFault(file, err)
	}
	return data, nil
}

func localFault(file string, err error) error {
	return fault.Because(err, fault.KindOf(err), fault.IDLocal, file, reason(err))
}

// A Remembering says how Remember writes.
type Remembering struct {
	Hash bool // the name can't be read in the file (HashKnownHosts)
}

// Remember adds the key of a host to a file, which is made when it is missing:
// readable by its owner only, in a directory of the same kind. The line is written
// in one piece. A key that stands there already is not added again.
func Remember(file, host string, port int, key ssh.PublicKey, how Remembering) error {
	if file == "" {
		return localFault("known_hosts", errors.New("no file to remember the key in"))
	}
	name := HostName(host, port)
	if strings.ContainsAny(name, " \t\r\n\x00,*?!|#@") || name == "" {
		return localFault(file, fmt.Errorf("%q can't be the name of a host there", name))
	}
	if c, ok := key.(*ssh.Certificate); ok {
		key = c.Key
	}
	known, err := Known([]string{file}, host, port)
	if err != nil {
		return err
	}
	for _, k := range known {
		if k.Marker == "" && bytes.Equal(k.Key.Marshal(), key.Marshal()) {
			return nil
		}
	}
	if how.Hash {
		salt := make([]byte, sha1.Size)
		_, _ = rand.Read(salt)
		name = "|1|" + base64.StdEncoding.EncodeToString(salt) + "|" + base64.StdEncoding.EncodeToString(hashName(salt, name))
	}
	line := name + " " + strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))) + "\n"
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return localFault(file, err)
	}
	f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return localFault(file, err)
	}
	if fi, err := f.Stat(); err == nil && fi.Mode().IsRegular() && fi.Size() > 0 {
		last := make([]byte, 1)
		if _, err := f.ReadAt(last, fi.Size()-1); err == nil && last[0] != '\n' {
			line = "\n" + line
		}
	}
	_, err = io.WriteString(f, line)
	if err := errors.Join(err, f.Close()); err != nil {
		return localFault(file, err)
	}
	return nil
}

// Forget takes a host on a port out of a file, and returns what was removed. The
// file is replaced as a whole, and what it was is kept beside it as file.old. Lines
// of authorities and of revoked keys stay, and so do patterns: they speak of other
// hosts too. Of a line with several names only the one goes.
func Forget(file, host string, port int) ([]KnownKey, error) {
	target, err := filepath.EvalSymlinks(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, localFault(file, err)
	}
	data, err := readKnown(target)
	if err != nil || len(data) == 0 {
		return nil, err
	}
	after, gone := without(data, HostName(host, port))
	for i := range gone {
		gone[i].File = file
	}
	if len(gone) == 0 {
		return nil, nil
	}
	fi, err := os.Stat(target)
	if err != nil {
		return nil, localFault(file, err)
	}
	if err := replace(target+".old", data, fi.Mode().Perm()); err != nil {
		return nil, localFault(file, err)
	}
	if err := replace(target, after, fi.Mode().Perm()); err != nil {
		return nil, localFault(file, err)
	}
	return gone, nil
}

// without is a file of known hosts without the lines that name a host, and those.
func without(data []byte, name string) (after []byte, gone []KnownKey) {
	n := 0
	for line := range strings.Lines(string(data)) {
		n++
		l, ok := parseKnownLine(line)
		if !ok || l.marker != "" || len(line) > maxKnownLine {
			after = append(after, line...)
			continue
		}
		if _, exact := l.fits(name); !exact {
			after = append(after, line...)
			continue
		}
		gone = append(gone, KnownKey{Line: n, Names: l.names, Key: l.key()})
		var others []string
		real := false
		for p := range strings.SplitSeq(l.names, ",") {
			if !strings.EqualFold(p, name) && p != "" && !strings.ContainsAny(p[:1], "|@#") { // nobody's names, and another line at its start
				others = append(others, p)
				real = real || !strings.HasPrefix(p, "!")
			}
		}
		if !real {
			continue
		}
		rest := strings.Join(others, ",")
		if matchHosts(name, others) { // a pattern of the same line still has it
			rest += ",!" + strings.ToLower(name)
		}
		after = append(after, strings.Replace(line, l.names, rest, 1)...)
	}
	return after, gone
}

// replace writes a file beside and renames it.
func replace(file string, data []byte, mode fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(file), ".known_hosts-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), file)
}

// A HostKey is a host key that nobody knows, for Options.Ask.
type HostKey struct {
	Host        string // to be looked up: HostKeyAlias, else the name that is connected to
	Port        int
	Fingerprint string // "ED25519 SHA256:…"
	Key         ssh.PublicKey
	File        string // where Yes remembers it
	Jump        bool   // of a jump host
	Remote      net.Addr
}

// An Answer to whether a host key may be trusted.
type Answer int

// Answers.
const (
	No   Answer = iota
	Yes         // and remember it
	Once        // for this connection
)
