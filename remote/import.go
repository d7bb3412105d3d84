package remote

import (
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"dray/account"
)

// An Imported is what was read of another program's hosts. Nothing is guessed:
// what has no counterpart here stands in Left.
type Imported struct {
	Hosts []Host
	Left  []string // a sentence each, without a full stop and without a password

	next map[string]int // for each name that was taken: the number for its next namesake
}

// An ImportOption says what to take beside what is harmless.
type ImportOption int

// WithPasswords takes passwords that are stored so that anybody can read them.
const WithPasswords ImportOption = 1

const (
	maxImport      = 4 << 20
	maxImportHosts = 2000
	maxXMLDepth    = 64
)

// left notes what was left out.
func (im *Imported) left(format string, args ...any) {
	if len(im.Left) == 10*maxProblems {
		im.Left = append(im.Left, "and more")
	}
	if len(im.Left) < 10*maxProblems {
		im.Left = append(im.Left, clean(fmt.Sprintf(format, args...)))
	}
}

// add takes a host under its name, or one that is made of it.
func (im *Imported) add(name string, h Host) {
	if len(im.Hosts) >= maxImportHosts {
		im.left("%s: more than %d hosts", name, maxImportHosts)
		return
	}
	plain := strings.Trim(strings.Map(func(r rune) rune {
		if r < 0x80 && isAlnum(byte(r)) || r == '.' || r == '_' || r == '-' {
			return r
		}
		return '-'
	}, name), "-._")
	if len(plain) > 56 {
		plain = plain[:56]
	}
	if len(plain) < 2 || isSchemeWord(plain) {
		plain = "host-" + plain
	}
	if im.next == nil {
		im.next = map[string]int{}
	}
	h.Name = plain
	for im.next[h.Name] > 0 {
		im.next[plain]++
		h.Name = plain + "-" + strconv.Itoa(im.next[plain])
	}
	// The same checks as for a line that somebody wrote.
	var bad *HostsError
	if _, err := parseHosts("", entry(&h)); errors.As(err, &bad) {
		im.left("%s: %s", name, bad.Problems[0].What)
		return
	}
	if h.Name != name {
		im.left("%s is called %s here", name, h.Name)
	}
	im.next[h.Name] = 1
	im.Hosts = append(im.Hosts, h)
}

// hostURL is the url of a stored host.
func hostURL(scheme Scheme, host string) (string, error) {
	u := URL{Scheme: scheme, DirWanted: true}
	if strings.Contains(host, ":") && !strings.HasPrefix(host, "[") {
		host = "[" + host + "]"
	}
	if err := u.setHost(host); err != nil {
		return "", err
	}
	return strings.TrimSuffix(strings.TrimSuffix(u.String(), "/"), "/~"), nil
}

// place fills url and port; port is text, "" for the usual one.
func (h *Host) place(scheme Scheme, host, port string) error {
	var err error
	if h.URL, err = hostURL(scheme, host); err != nil {
		return err
	}
	if port = strings.TrimSpace(port); port != "" && port != "0" {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil {
			return errors.New("its port is no number from 1 to 65535")
		}
		if int(n) != scheme.Port() {
			h.Port = int(n)
		}
	}
	return nil
}

func importText(text []byte) (string, error) {
	if len(text) > maxImport {
		return "", fmt.Errorf("larger than %d bytes", maxImport)
	}
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	if !utf8.Valid(text) {
		return "", errors.New("not UTF-8")
	}
	return string(text), nil
}

// ImportSSH reads the Host blocks of ssh_config(5) that name hosts. The blocks
// with patterns are left out: dray reads them when it connects.
func ImportSSH(text []byte) (*Imported, error) {
	s, err := importText(text)
	if err != nil {
		return nil, err
	}
	im := &Imported{}
	var names []string
	var keys map[string]string
	finish := func() {
		for _, name := range names {
			h := Host{User: keys["user"], Identity: keys["identityfile"], Jump: keys["proxyjump"]}
			host := keys["hostname"]
			if host == "" {
				host = name
			}
			host = strings.ReplaceAll(host, "%h", name)
			if h.Jump == "none" {
				h.Jump = ""
			}
			for _, f := range []struct {
				word  string
				value *string
			}{{"IdentityFile", &h.Identity}, {"User", &h.User}, {"ProxyJump", &h.Jump}} {
				if strings.ContainsAny(*f.value, "%$") {
					im.left("%s: %s has a part that is filled in when ssh runs", name, f.word)
					*f.value = ""
				}
			}
			if before, more, ok := strings.Cut(h.Jump, ","); ok {
				im.left("%s: of ProxyJump all but the first, %s", name, more)
				h.Jump = before
			}
			if err := h.place(SFTP, host, keys["port"]); err != nil {
				im.left("%s: %v", name, err)
				continue
			}
			im.add(name, h)
		}
		names, keys = nil, map[string]string{}
	}
	finish()
	n := 0
	for line := range strings.Lines(s) {
		n++
		words, ok := sshWords(line)
		if !ok {
			im.left("line %d: a quote that does not end", n)
			continue
		}
		if len(words) == 0 {
			continue
		}
		switch word := strings.ToLower(words[0]); word {
		case "host":
			finish()
			for _, name := range words[1:] {
				switch {
				case strings.ContainsAny(name, "*?!"):
					im.left("line %d: Host %s is a pattern", n, name)
				case len(names) < maxImportHosts:
					names = append(names, name)
				}
			}
		case "match":
			finish()
			im.left("line %d: Match", n)
		case "include":
			im.left("line %d: Include of other files", n)
		case "hostname", "user", "port", "identityfile", "proxyjump":
			if len(words) > 1 && names != nil {
				if _, given := keys[word]; !given { // the first one counts
					keys[word] = words[1]
				} else if word == "identityfile" {
					im.left("line %d: IdentityFile beside the first", n)
				}
			}
		default:
			if names != nil {
				im.left("line %d: %s of %s", n, words[0], names[0])
			}
		}
	}
	finish()
	return im, nil
}

// sshWords cuts a line of ssh_config into keyword and arguments.
func sshWords(line string) (words []string, ok bool) {
	line = strings.TrimSpace(line)
	for line != "" && line[0] != '#' {
		if line[0] == '"' {
			word, rest, closed := strings.Cut(line[1:], `"`)
			if !closed {
				return nil, false
			}
			words, line = append(words, word), strings.TrimLeft(rest, " \t")
			continue
		}
		stop := " \t"
		if len(words) == 0 {
			stop = " \t="
		}
		end := strings.IndexAny(line, stop)
		if end < 0 {
			end = len(line)
		}
		words, line = append(words, line[:end]), strings.TrimLeft(line[end:], " \t")
		if len(words) == 1 {
			line = strings.TrimLeft(strings.TrimPrefix(line, "="), " \t")
		}
	}
	return words, true
}

// ImportFileZilla reads sitemanager.xml. Passwords behind a master password are
// always left out.
func ImportFileZilla(text []byte, options ...ImportOption) (*Imported, error) {
	s, err := importText(text)
	if err != nil {
		return nil, err
	}
	im := &Imported{}
	d := xml.NewDecoder(strings.NewReader(s))
	d.CharsetReader = func(string, io.Reader) (io.Reader, error) { return nil, errors.New("not UTF-8") }
	var path []string
	var site map[string]string
	var encoding string
	seen := false
	for {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			line, _ := d.InputPos()
			return nil, fmt.Errorf("line %d: not the XML of FileZilla", line)
		}
		switch t := token.(type) {
		case xml.StartElement:
			if len(path) == maxXMLDepth {
				return nil, errors.New("elements are nested too deeply")
			}
			path = append(path, t.Name.Local)
			switch {
			case t.Name.Local == "FileZilla3":
				seen = true
			case t.Name.Local == "Server":
				site, encoding = map[string]string{}, ""
			case t.Name.Local == "Pass":
				for _, a := range t.Attr {
					if a.Name.Local == "encoding" {
						encoding = a.Value
					}
				}
			}
		case xml.CharData:
			if n := len(path); site != nil && n > 1 && path[n-2] == "Server" {
				if v := site[path[n-1]] + string(t); len(v) <= maxValue {
					site[path[n-1]] = v
				}
			}
		case xml.EndElement:
			path = path[:len(path)-1]
			if t.Name.Local == "Server" && site != nil {
				im.fileZilla(site, encoding, slices.Contains(options, WithPasswords))
				site = nil
			}
		}
	}
	if !seen {
		return nil, errors.New("not the XML of FileZilla")
	}
	return im, nil
}

func (im *Imported) fileZilla(site map[string]string, encoding string, passwords bool) {
	get := func(key string) string { return strings.TrimSpace(site[key]) }
	name := get("Name")
	if name == "" {
		name = get("Host")
	}
	scheme, ok := map[string]Scheme{"": FTP, "0": FTP, "1": SFTP, "3": FTPS, "4": FTPTLS, "6": FTPPlain}[get("Protocol")]
	if !ok {
		im.left("%s: a protocol that is neither FTP nor SFTP", name)
		return
	}
	h := Host{Active: get("PasvMode") == "MODE_ACTIVE", Identity: get("Keyfile")}
	if err := h.place(scheme, get("Host"), get("Port")); err != nil {
		im.left("%s: %v", name, err)
		return
	}
	if get("Logontype") != "0" { // 0 is anonymous
		h.User = get("User")
	}
	if n, err := strconv.Atoi(get("MaximumMultipleConnections")); err == nil && n > 0 {
		h.Parallel = n
	}
	if get("EncodingType") == "Custom" {
		if h.Charset = get("CustomEncoding"); account.CheckCharset(h.Charset) != nil {
			im.left("%s: the character set %s", name, h.Charset)
			h.Charset = ""
		}
	}
	if dir := get("RemoteDir"); dir != "" {
		if h.Path, ok = fileZillaDir(dir); !ok {
			im.left("%s: its directory, which is not of a server with slashes", name)
		}
	}
	if pass := get("Pass"); pass != "" && get("Logontype") != "0" {
		b, err := base64.StdEncoding.DecodeString(pass)
		switch {
		case encoding != "base64" && encoding != "":
			im.left("%s: its password, which is locked with the master password", name)
		case !passwords:
			im.left("%s: its password", name)
		case encoding == "base64" && err != nil:
			im.left("%s: its password, which does not decode", name)
		default:
			if encoding == "" { // versions before 3.11
				b = []byte(pass)
			}
			h.Password, h.HasPassword = account.NewSecret(string(b)), true
		}
	}
	for _, key := range []string{"ProxyType", "Account", "PostLoginCommands"} {
		if get(key) != "" && get(key) != "0" {
			im.left("%s: %s", name, key)
		}
	}
	im.add(name, h)
}

// fileZillaDir reads "1 0 3 srv 3 www": kind, length of a prefix, and the parts,
// each after its length in characters.
func fileZillaDir(s string) (string, bool) {
	kind, rest, _ := strings.Cut(s, " ")
	prefix, rest, _ := strings.Cut(rest, " ")
	if kind != "1" && kind != "0" || prefix != "0" {
		return "", false
	}
	path := "/"
	for rest != "" {
		length, after, ok := strings.Cut(rest, " ")
		n, err := strconv.Atoi(length)
		runes := []rune(after)
		if !ok || err != nil || n < 1 || n > len(runes) {
			return "", false
		}
		path = strings.TrimSuffix(path, "/") + "/" + string(runes[:n])
		rest = strings.TrimPrefix(string(runes[n:]), " ")
		if len(path) > maxPath {
			return "", false
		}
	}
	return path, true
}

// An iniSection is a section of a file with name=value lines.
type iniSection struct {
	name string
	keys map[string]string // in small letters
}

// iniSections reads such a file. Comments begin with ; or #.
func iniSections(s string) []iniSection {
	var all []iniSection
	for line := range strings.Lines(s) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == ';' || line[0] == '#' || len(line) > 4*maxValue {
			continue
		}
		if line[0] == '[' && line[len(line)-1] == ']' {
			all = append(all, iniSection{line[1 : len(line)-1], map[string]string{}})
			continue
		}
		if key, value, ok := strings.Cut(line, "="); ok && len(all) > 0 {
			all[len(all)-1].keys[strings.ToLower(strings.TrimSpace(key))] = strings.TrimSpace(value)
		}
	}
	return all
}

// ImportWinSCP reads WinSCP.ini. Its passwords are always left out.
func ImportWinSCP(text []byte) (*Imported, error) {
	s, err := importText(text)
	if err != nil {
		return nil, err
	}
	im := &Imported{}
	found := false
	for _, section := range iniSections(s) {
		name, ok := strings.CutPrefix(section.name, `Sessions\`)
		found = found || strings.HasPrefix(section.name, "Configuration")
		if !ok {
			continue
		}
		found = true
		get := func(key string) string { return winSCPText(section.keys[key]) }
		name = winSCPText(name)
		if name == "Default Settings" {
			continue
		}
		var scheme Scheme
		switch protocol, ftps := get("fsprotocol"), get("ftps"); {
		case protocol == "" || protocol == "0" || protocol == "1" || protocol == "2":
			scheme = SFTP
		case protocol == "5" && (ftps == "" || ftps == "0"):
			scheme = FTP
			im.left("%s: WinSCP spoke clear text there; where the server has no TLS, set plain = true", name)
		case protocol == "5" && ftps == "1":
			scheme = FTPS
		case protocol == "5":
			scheme = FTPTLS
		default:
			im.left("%s: a protocol that is neither FTP nor SFTP", name)
			continue
		}
		h := Host{User: get("username"), Path: get("remotedirectory"), Active: get("ftppasvmode") == "0"}
		if err := h.place(scheme, get("hostname"), get("portnumber")); err != nil {
			im.left("%s: %v", name, err)
			continue
		}
		if key := get("publickeyfile"); key != "" {
			im.left("%s: the key %s; where it is a .ppk, puttygen makes one of OpenSSH of it", name, key)
		}
		if section.keys["password"] != "" || section.keys["passwordplain"] != "" {
			im.left("%s: its password", name)
		}
		if get("tunnel") == "1" {
			im.left("%s: its tunnel", name)
		}
		if m := get("proxymethod"); m != "" && m != "0" {
			im.left("%s: its proxy", name)
		}
		im.add(name, h)
	}
	if !found {
		return nil, errors.New("not the file of WinSCP: it has no session")
	}
	return im, nil
}

// winSCPText decodes %XX, where it is one.
func winSCPText(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(n))
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return strings.ToValidUTF8(strings.TrimPrefix(b.String(), "\ufeff"), "\ufffd")
}

// ImportRclone reads the ftp and sftp remotes of rclone.conf. Its passwords are
// always left out.
func ImportRclone(text []byte) (*Imported, error) {
	s, err := importText(text)
	if err != nil {
		return nil, err
	}
	if strings.Contains(s, "RCLONE_ENCRYPT_V") {
		return nil, errors.New("the file is encrypted: give what `rclone config show` prints")
	}
	im := &Imported{}
	for _, section := range iniSections(s) {
		name, keys := section.name, section.keys
		scheme := SFTP
		switch {
		case keys["type"] == "sftp":
		case keys["type"] == "ftp" && keys["tls"] == "true":
			scheme = FTPS
		case keys["type"] == "ftp" && keys["explicit_tls"] == "true":
			scheme = FTPTLS
		case keys["type"] == "ftp":
			scheme = FTP
			im.left("%s: rclone spoke clear text there; where the server has no TLS, set plain = true", name)
		default:
			im.left("%s: neither ftp nor sftp", name)
			continue
		}
		h := Host{User: keys["user"], Identity: keys["key_file"]}
		if err := h.place(scheme, keys["host"], keys["port"]); err != nil {
			im.left("%s: %v", name, err)
			continue
		}
		for _, key := range []string{"pass", "key_file_pass", "key_pem"} {
			if keys[key] != "" {
				im.left("%s: %s", name, key)
			}
		}
		if keys["no_check_certificate"] == "true" {
			im.left("%s: no_check_certificate; use dray trust", name)
		}
		for _, key := range []string{"ssh", "socks_proxy", "http_proxy", "encoding"} {
			if keys[key] != "" {
				im.left("%s: %s", name, key)
			}
		}
		if n, err := strconv.Atoi(keys["concurrency"]); err == nil && n > 0 {
			h.Parallel = n
		}
		im.add(name, h)
	}
	return im, nil
}

// ImportLftp reads the bookmarks of lftp: a name and a URL on each line.
func ImportLftp(text []byte, options ...ImportOption) (*Imported, error) {
	s, err := importText(text)
	if err != nil {
		return nil, err
	}
	im := &Imported{}
	n := 0
	for line := range strings.Lines(s) {
		n++
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		if len(words) < 2 {
			im.left("line %d: not a name and a URL", n)
			continue
		}
		name := words[0]
		if _, _, ok := cutScheme(words[1]); !ok {
			im.left("%s: its URL has no protocol", name)
			continue
		}
		u, err := Parse(words[1], nil)
		if err != nil {
			im.left("%s: %v", name, err)
			continue
		}
		h := Host{User: u.User, Path: u.Path}
		if h.Path == "~" || strings.HasPrefix(h.Path, "~/") {
			h.Path = strings.TrimLeft(h.Path[1:], "/")
		}
		if err := h.place(u.Scheme, bracketed(u.Host), strconv.Itoa(u.Port)); err != nil {
			im.left("%s: %v", name, err)
			continue
		}
		switch {
		case u.HasPassword && slices.Contains(options, WithPasswords):
			h.Password, h.HasPassword = u.Password, true
		case u.HasPassword:
			im.left("%s: its password", name)
		}
		im.add(name, h)
	}
	return im, nil
}

// bracketed is the host of a URL as hostURL takes it.
func bracketed(host string) string {
	if strings.Contains(host, ":") {
		return "[" + host + "]"
	}
	return host
}
