package remote

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"dray/account"
	"dray/certs"
)

// A Scheme is a protocol and what it asks of TLS.
type Scheme string

// The schemes, as String writes them. Parse reads ftpes for FTPTLS and scp for
// SFTP too.
const (
	FTP      Scheme = "ftp"       // TLS where the server offers it; no password in clear text
	FTPTLS   Scheme = "ftp+tls"   // AUTH TLS, or nothing
	FTPS     Scheme = "ftps"      // TLS from the first byte
	FTPPlain Scheme = "ftp+plain" // clear text, on purpose
	SFTP     Scheme = "sftp"
)

// schemes are all words that Parse takes for a scheme.
var schemes = map[string]Scheme{
	"ftp": FTP, "ftp+tls": FTPTLS, "ftpes": FTPTLS, "ftps": FTPS, "ftp+plain": FTPPlain, "sftp": SFTP, "scp": SFTP,
}

// Port is the port where servers of the scheme listen.
func (s Scheme) Port() int {
	switch s {
	case FTPS:
		return 990
	case SFTP:
		return 22
	}
	return 21
}

// IsFTP tells whether FTP is spoken, over TLS or not.
func (s Scheme) IsFTP() bool { return s != SFTP }

const (
	maxURL    = 64 << 10
	maxPath   = 4096
	maxUser   = 512
	maxSecret = 4096
	maxHost   = 255
)

// A URL is a place on a server. It prints without its password.
type URL struct {
	Scheme      Scheme
	User        string         // "": not given
	Password    account.Secret // where HasPassword
	HasPassword bool           // the password stood in the URL, where others may have seen it
	Host        string         // a name in lower case, or an address, with its zone behind a %
	Port        int            // 0: not given; see PortNumber
	// Path is decoded and has no slash at its end. It begins at the root when it
	// begins with a slash, else where a login begins; "" is that place itself.
	Path       string
	DirWanted  bool   // the path ended with a slash, or is "" or "/": it has to be a directory
	Type       string // "A" or "I" of ;type=; "": not given
	HostPrint  string // of ;fingerprint=, as certs.Fingerprint.String; "": not given
	StoredName string // the stored host that the URL came from; "": none
}

// Absolute tells whether the path begins at the root.
func (u URL) Absolute() bool { return strings.HasPrefix(u.Path, "/") }

// PortNumber is the port that was given, else the one of the scheme.
func (u URL) PortNumber() int {
	if u.Port != 0 {
		return u.Port
	}
	return u.Scheme.Port()
}

// Address is host and port, as net.Dial takes them.
func (u URL) Address() string { return net.JoinHostPort(u.Host, strconv.Itoa(u.PortNumber())) }

// String is the URL without its password; Parse reads it back.
func (u URL) String() string {
	var b strings.Builder
	b.WriteString(string(u.Scheme) + "://")
	if u.User != "" {
		b.WriteString(escape(u.User, "") + "@")
	}
	switch host, zone, zoned := strings.Cut(u.Host, "%"); {
	case zoned:
		b.WriteString("[" + host + "%25" + zone + "]")
	case strings.Contains(host, ":"):
		b.WriteString("[" + host + "]")
	default:
		b.WriteString(host)
	}
	if u.Port != 0 {
		b.WriteString(":" + strconv.Itoa(u.Port))
	}
	p := u.Path
	switch {
	case u.Scheme.IsFTP():
		b.WriteString("/")
	case !u.Absolute():
		b.WriteString("/~/")
	case strings.HasPrefix(p, "/~"):
		b.WriteString("/%7E")
		p = p[2:]
	}
	b.WriteString(escape(p, "/:@!$&'()*+,="))
	if u.DirWanted && p != "" && p != "/" {
		b.WriteString("/")
	}
	if u.Type != "" {
		b.WriteString(";type=" + u.Type)
	}
	if u.HostPrint != "" {
		b.WriteString(";fingerprint=" + u.HostPrint)
	}
	return b.String()
}

// GoString is String: the password is in neither.
func (u URL) GoString() string { return u.String() }

// escape writes what is neither unreserved (RFC 3986, 2.3), nor in also, nor a
// letter of another script as %XX.
func escape(s, also string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r < utf8.RuneSelf && (isAlnum(s[i]) || strings.IndexByte("-._~"+also, s[i]) >= 0),
			r >= utf8.RuneSelf && (r != utf8.RuneError || n > 1) && unicode.IsPrint(r):
			b.WriteString(s[i : i+n])
		default:
			for _, c := range []byte(s[i : i+n]) {
				fmt.Fprintf(&b, "%%%02X", c)
			}
		}
		i += n
	}
	return b.String()
}

func isAlnum(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// unescape decodes %XX, once. What is decoded must not end a line of a protocol.
func unescape(s string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '%' {
			n, err := strconv.ParseUint(s[i+1:min(i+3, len(s))], 16, 8)
			if err != nil || i+3 > len(s) || s[i+1] == '+' {
				return "", errors.New("a % that is not followed by two hexadecimal digits; a % itself is written %25")
			}
			c = byte(n)
			i += 2
		}
		if err := checkByte(c); err != nil {
			return "", err
		}
		b.WriteByte(c)
	}
	return b.String(), nil
}

func checkByte(c byte) error {
	switch c {
	case 0, '\r', '\n':
		return errors.New("a line end or a NUL byte can't be part of it")
	}
	return nil
}

// IsRemote tells whether s names a place on a server: it has a scheme, or a
// colon before its first slash. "./a:b" and "/a:b" are local, as is what begins
// with the letter of a drive.
func IsRemote(s string) bool {
	if scheme, _, ok := cutScheme(s); ok {
		return len(scheme) > 1
	}
	_, _, ok := cutHost(s)
	return ok
}

// cutScheme cuts s behind the :// of a scheme, known or not.
func cutScheme(s string) (scheme, rest string, ok bool) {
	scheme, rest, ok = strings.Cut(s, "://")
	if !ok || scheme == "" || !isAlnum(scheme[0]) || strings.Trim(scheme, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+.-") != "" {
		return "", "", false
	}
	return scheme, rest, true
}

// cutHost cuts [USER@]HOST:PATH; HOST may be an address in brackets.
func cutHost(s string) (host, path string, ok bool) {
	head, _, _ := strings.Cut(s, "/")
	from := 0
	if open := strings.IndexByte(head, '['); open == 0 || open > 0 && head[open-1] == '@' {
		if end := strings.Index(head, "]:"); end > 0 {
			from = end + 1
		}
	}
	i := strings.IndexByte(head[from:], ':')
	if i += from; i <= from-1 || i == 0 {
		return "", "", false
	}
	if i == 1 && isAlnum(s[0]) && (s[0] < '0' || s[0] > '9') { // C:\dir
		return "", "", false
	}
	return s[:i], s[i+1:], true
}

// Redact is s for a message: all that may be a user or a password in it is left
// out, also where s does not parse.
func Redact(s string) string {
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		scheme, _, ok := cutScheme(s)
		if ok {
			scheme += "://"
		}
		s = scheme + "…" + s[i:]
	}
	q := strconv.Quote(s)
	q = q[1 : len(q)-1]
	if len(q) > 200 {
		q = strings.ToValidUTF8(q[:200], "") + "…"
	}
	return q
}

// Parse reads a URL, HOST:PATH, or the NAME:PATH or NAME of a stored host. Its
// errors name the form that would be right and have no password in them.
func Parse(s string, hosts *Hosts) (URL, error) {
	u, err := parse(s, hosts)
	if err != nil {
		return URL{}, fmt.Errorf("%s: %w", Redact(s), err)
	}
	return u, nil
}

func parse(s string, hosts *Hosts) (URL, error) {
	if len(s) > maxURL {
		return URL{}, fmt.Errorf("longer than %d bytes", maxURL)
	}
	if word, rest, ok := cutScheme(s); ok {
		scheme, known := schemes[strings.ToLower(word)]
		if !known {
			return URL{}, errors.New("dray speaks ftp, ftps, ftp+tls, ftp+plain and sftp; write ftp://host/path or sftp://host/path")
		}
		return parseURL(scheme, rest)
	}
	head, path, ok := cutHost(s)
	switch {
	case ok:
		return parseShort(head, path, hosts)
	case hosts.has(s):
		return parseShort(s, "", hosts)
	}
	return URL{}, errors.New("a path of this machine; a place on a server is written ftp://host/path, sftp://host/path or host:path")
}

// parseURL reads what follows the :// of a scheme.
func parseURL(scheme Scheme, s string) (URL, error) {
	u := URL{Scheme: scheme}
	authority, path, slash := strings.Cut(s, "/")
	at := strings.LastIndexByte(authority, '@')
	if i := parameter(authority[at+1:]); i >= 0 { // ftp://host;type=A
		i += at + 1
		authority, path, slash = s[:i], s[i:], false
	}
	if at >= 0 {
		if err := u.userinfo(authority[:at]); err != nil {
			return URL{}, err
		}
		authority = authority[at+1:]
	}
	if err := u.hostPort(authority); err != nil {
		return URL{}, err
	}
	if i := parameter(path); i >= 0 {
		if err := u.parameters(path[i+1:]); err != nil {
			return URL{}, err
		}
		path = path[:i]
	}
	home := !slash
	if scheme == SFTP && slash {
		rest, ok := strings.CutPrefix(path, "~")
		if home = ok && (rest == "" || rest[0] == '/'); home {
			path = strings.TrimLeft(rest, "/")
		}
	}
	path, err := unescape(path)
	if err != nil {
		return URL{}, fmt.Errorf("the path has %w", err)
	}
	switch {
	case scheme != SFTP: // RFC 1738, 3.2.2: relative to where the login begins; //dir and /%2Fdir are absolute
	case home:
		path = strings.TrimLeft(path, "/")
	default:
		path = "/" + path
	}
	return u, u.setPath(path)
}

// setPath takes a decoded path.
func (u *URL) setPath(path string) error {
	for i := range len(path) {
		if err := checkByte(path[i]); err != nil {
			return fmt.Errorf("the path: %w", err)
		}
	}
	u.Path = strings.TrimRight(path, "/")
	if u.Path == "" && path != "" {
		u.Path = "/"
	}
	u.DirWanted = u.Path != path || u.Path == "" || u.Path == "/"
	if len(u.Path) > maxPath {
		return fmt.Errorf("the path is longer than %d bytes", maxPath)
	}
	return nil
}

// userinfo reads USER[:PASSWORD], and WinSCP's ;fingerprint= behind it.
func (u *URL) userinfo(s string) error {
	if i := parameter(s); i >= 0 {
		if err := u.parameters(s[i+1:]); err != nil {
			return err
		}
		s = s[:i]
	}
	user, password, has := strings.Cut(s, ":")
	var err error
	if user, err = unescape(user); err != nil {
		return fmt.Errorf("the user has %w", err)
	}
	if password, err = unescape(password); err != nil {
		return fmt.Errorf("the password has %w", err)
	}
	switch {
	case user == "" && has:
		return errors.New("a password without a user; write user:password@host")
	case len(user) > maxUser:
		return fmt.Errorf("the user is longer than %d bytes", maxUser)
	case len(password) > maxSecret:
		return fmt.Errorf("the password is longer than %d bytes", maxSecret)
	}
	u.User, u.HasPassword = user, has
	if has {
		u.Password = account.NewSecret(password)
	}
	return nil
}

// errPort does not show what it is about: it may be a password with a slash.
var errPort = errors.New("the port is no number from 1 to 65535 (a slash, @ or colon in a password is written %2F, %40, %3A)")

// hostPort reads HOST[:PORT].
func (u *URL) hostPort(s string) error {
	host, port := s, ""
	if strings.HasPrefix(s, "[") {
		end := strings.IndexByte(s, ']')
		if end < 0 {
			return errors.New("the ] behind the address is missing; write [2001:db8::1]")
		}
		host, port = s[:end+1], s[end+1:]
	} else if i := strings.IndexByte(s, ':'); i >= 0 {
		host, port = s[:i], s[i:]
		if addr, err := netip.ParseAddr(s); err == nil {
			return fmt.Errorf("an IPv6 address stands in brackets: [%s]", addr.WithZone(""))
		}
	}
	if port != "" && port != ":" { // RFC 3986, 3.2.3: the port may be empty
		n, err := strconv.ParseUint(strings.TrimPrefix(port, ":"), 10, 16)
		if err != nil || n == 0 || port[0] != ':' || port[1] == '+' {
			return errPort
		}
		u.Port = int(n)
	}
	return u.setHost(host)
}

// setHost takes a name, an IPv4 address, or an IPv6 address in brackets.
func (u *URL) setHost(host string) error {
	if v6, ok := strings.CutPrefix(host, "["); ok {
		v6, ok = strings.CutSuffix(v6, "]")
		v6, zone, zoned := strings.Cut(v6, "%")
		zone = strings.TrimPrefix(zone, "25") // RFC 6874
		addr, err := netip.ParseAddr(v6)
		if !ok || err != nil || !addr.Is6() {
			return errors.New("what stands in brackets is no IPv6 address; write [2001:db8::1]")
		}
		u.Host = addr.String()
		if zoned {
			if zone == "" || len(zone) > 32 || strings.ContainsFunc(zone, func(r rune) bool { return r >= 0x80 || !isAlnum(byte(r)) && !strings.ContainsRune("-._~", r) }) {
				return errors.New("the zone behind the address is no name of an interface; write [fe80::1%25eth0]")
			}
			u.Host += "%" + zone
		}
		return nil
	}
	switch {
	case host == "":
		return errors.New("the host is missing; write ftp://host/path")
	case len(host) > maxHost:
		return fmt.Errorf("the host is longer than %d bytes", maxHost)
	case !utf8.ValidString(host) || host[0] == '-' || host[0] == '.' || strings.ContainsFunc(host, func(r rune) bool {
		return r < 0x80 && !isAlnum(byte(r)) && !strings.ContainsRune("-._", r) || !unicode.IsPrint(r) || r == utf8.RuneError
	}):
		return errors.New("the host has a character that no host has")
	}
	u.Host = lower(host)
	return nil
}

// lower makes ASCII letters small; names in other scripts are the resolver's.
func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] += 'a' - 'A'
		}
	}
	return string(b)
}

// parameter is where ;word= begins in s, or -1.
func parameter(s string) int {
	for i := 0; i < len(s); i++ {
		if s[i] != ';' {
			continue
		}
		j := i + 1
		for j < len(s) && (isAlnum(s[j]) || s[j] == '-') {
			j++
		}
		if j > i+1 && j < len(s) && s[j] == '=' {
			return i
		}
	}
	return -1
}

// parameters reads word=value, with semicolons between.
func (u *URL) parameters(s string) error {
	for part := range strings.SplitSeq(s, ";") {
		word, value, _ := strings.Cut(part, "=")
		value, err := unescape(value)
		if err != nil {
			return fmt.Errorf("the value of a parameter has %w", err)
		}
		switch strings.ToLower(word) {
		case "type":
			value = strings.ToUpper(value)
			switch {
			case value != "A" && value != "I":
				return errors.New("type is A for text or I for bytes: ;type=A")
			case u.Scheme == SFTP && value == "A":
				return errors.New("SFTP has no transfer of text; leave ;type=A out")
			}
			u.Type = value
		case "fingerprint":
			print, err := certs.ParseFingerprint(value)
			if err != nil {
				return fmt.Errorf("fingerprint: %w", err)
			}
			u.HostPrint = print.String()
		default:
			return errors.New("an unknown parameter; known are ;type=A, ;type=I and ;fingerprint=SHA256:…, and a semicolon in a name is written %3B")
		}
	}
	return nil
}

// parseShort reads [USER@]HOST and PATH as scp does: nothing is decoded. HOST
// may be the name of a stored host, which brings the rest along.
func parseShort(head, path string, hosts *Hosts) (URL, error) {
	if scheme, ok := schemes[strings.ToLower(head)]; ok {
		return URL{}, fmt.Errorf("write %s://host/path", scheme)
	}
	if before, _, _ := strings.Cut(path, "/"); strings.Contains(before, "@") && strings.Contains(before[strings.IndexByte(before, '@'):], ":") {
		return URL{}, errors.New("host:path has no place for a password or a port; write sftp://user@host:port/path")
	}
	u := URL{Scheme: SFTP}
	host := head
	user := ""
	if at := strings.LastIndexByte(head, '@'); at >= 0 {
		user, host = head[:at], head[at+1:]
		if user == "" || len(user) > maxUser || strings.ContainsAny(user, "\x00\r\n") {
			return URL{}, errors.New("the user is empty, too long, or has a line end")
		}
	}
	if path == "~" {
		path = ""
	}
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		path = strings.TrimLeft(rest, "/")
	}
	if h, ok := hosts.Get(host); ok {
		stored, err := h.Place()
		if err != nil {
			return URL{}, err
		}
		u = stored
		switch {
		case path == "":
			path = u.Path
			if u.DirWanted && !strings.HasSuffix(path, "/") && path != "" {
				path += "/"
			}
		case !strings.HasPrefix(path, "/") && u.Path != "":
			path = strings.TrimRight(u.Path, "/") + "/" + path
		}
	} else if err := u.setHost(host); err != nil {
		return URL{}, err
	}
	if user != "" && user != u.User { // what is stored for another user is not for this one
		u.User, u.Password, u.HasPassword = user, account.Secret{}, false
	}
	return u, u.setPath(path)
}

// isSchemeWord tells whether a stored host can't have this name.
func isSchemeWord(name string) bool {
	_, ok := schemes[strings.ToLower(name)]
	return ok || slices.Contains([]string{"http", "https", "file", "ssh", "tftp", "s3", "ftpse"}, strings.ToLower(name))
}
