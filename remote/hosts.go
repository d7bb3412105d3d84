package remote

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/pelletier/go-toml/v2/unstable"

	"dray/account"
)

// A Host is a stored host: what its NAME:path stands for. The zero value of each
// field is what is not stored.
type Host struct {
	Name            string // see CheckHostName
	URL             string // scheme://host, may have a user, a port, a path and ;fingerprint=
	User            string
	Port            int
	Plain           bool // clear text, on purpose
	Trust           TrustMode
	Identity        string // file of a private key
	Jump            string // host to go through, over SSH
	Path            string // where NAME:path begins; in place of the path in URL
	Charset         string
	Active          bool
	Parallel        int // at most so many connections
	PasswordCommand string
	Password        account.Secret // where HasPassword
	HasPassword     bool
	Exposed         bool // others may read the file with the password: it is not used
}

// A hostKey is one key of a stored host: how it is read, and how it is written
// ("" where it is not set).
type hostKey struct {
	name  string
	kind  unstable.Kind
	set   func(h *Host, s string) error
	value func(h *Host) string
}

func text(name string, field func(*Host) *string, check func(string) error) hostKey {
	return hostKey{name, unstable.String, func(h *Host, s string) error {
		if check != nil {
			if err := check(s); err != nil {
				return err
			}
		}
		*field(h) = s
		return nil
	}, func(h *Host) string {
		if *field(h) == "" {
			return ""
		}
		return quoteTOML(*field(h))
	}}
}

func number(name string, field func(*Host) *int, most int) hostKey {
	return hostKey{name, unstable.Integer, func(h *Host, s string) error {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > most {
			return fmt.Errorf("is a number from 1 to %d", most)
		}
		*field(h) = n
		return nil
	}, func(h *Host) string {
		if *field(h) == 0 {
			return ""
		}
		return strconv.Itoa(*field(h))
	}}
}

func yes(name string, field func(*Host) *bool) hostKey {
	return hostKey{name, unstable.Bool, func(h *Host, s string) error {
		*field(h) = s == "true"
		return nil
	}, func(h *Host) string {
		if !*field(h) {
			return ""
		}
		return "true"
	}}
}

// hostKeys are all keys, in the order in which they are written.
func hostKeys() []hostKey {
	return []hostKey{
		text("url", func(h *Host) *string { return &h.URL }, checkHostURL),
		text("user", func(h *Host) *string { return &h.User }, func(s string) error {
			if len(s) > maxUser || strings.ContainsAny(s, "\x00\r\n") {
				return fmt.Errorf("is at most %d bytes on one line", maxUser)
			}
			return nil
		}),
		number("port", func(h *Host) *int { return &h.Port }, 65535),
		yes("plain", func(h *Host) *bool { return &h.Plain }),
		text("trust", func(h *Host) *string { return (*string)(&h.Trust) }, func(s string) error {
			_, err := ParseTrustMode(s)
			return err
		}),
		text("identity", func(h *Host) *string { return &h.Identity }, nil),
		text("jump", func(h *Host) *string { return &h.Jump }, func(s string) error {
			if strings.HasPrefix(s, "-") || strings.ContainsAny(s, " \t\x00\r\n") {
				return errors.New("is written [user@]host[:port]")
			}
			return nil
		}),
		text("path", func(h *Host) *string { return &h.Path }, func(s string) error { return new(URL).setPath(s) }),
		text("charset", func(h *Host) *string { return &h.Charset }, account.CheckCharset),
		yes("active", func(h *Host) *bool { return &h.Active }),
		number("parallel", func(h *Host) *int { return &h.Parallel }, 64),
		text("password-command", func(h *Host) *string { return &h.PasswordCommand }, nil),
		{"password", unstable.String, func(h *Host, s string) error {
			if strings.ContainsAny(s, "\x00\r\n") {
				return errors.New("is one line")
			}
			h.Password, h.HasPassword = account.NewSecret(s), true
			return nil
		}, func(h *Host) string {
			if !h.HasPassword {
				return ""
			}
			return quoteTOML(h.Password.Reveal())
		}},
	}
}

// checkHostURL looks at the url of a stored host.
func checkHostURL(s string) error {
	if _, _, ok := cutScheme(s); !ok {
		return errors.New("is written ftp://host, ftps://host or sftp://host")
	}
	u, err := Parse(s, nil)
	if err != nil {
		return err
	}
	if u.HasPassword {
		return errors.New("has a password in it: leave it out, and store password-command, or password when it must be")
	}
	return nil
}

// CheckHostName says what is wrong with the name of a stored host.
func CheckHostName(name string) error {
	switch {
	case len(name) < 2 || len(name) > 64 || strings.ContainsFunc(name, func(r rune) bool {
		return r >= 0x80 || !isAlnum(byte(r)) && !strings.ContainsRune("._-", r)
	}) || !isAlnum(name[0]):
		return errors.New("the name of a stored host is 2 to 64 letters, digits, dots, - and _, and begins with a letter or digit")
	case isSchemeWord(name):
		return fmt.Errorf("%s: is a protocol, not the name of a stored host", name)
	}
	return nil
}

// Place is where the stored host leads to. Its passwords are not in it.
func (h Host) Place() (URL, error) {
	u, err := Parse(h.URL, nil)
	if err != nil {
		return URL{}, fmt.Errorf("stored host %s: %w", h.Name, err)
	}
	u.StoredName = h.Name
	if h.User != "" {
		u.User, u.Password, u.HasPassword = h.User, account.Secret{}, false
	}
	if h.Port != 0 {
		u.Port = h.Port
	}
	if h.Plain && u.Scheme == FTP {
		u.Scheme = FTPPlain
	}
	if h.Path != "" {
		path := h.Path
		if rest, ok := strings.CutPrefix(path, "~"); ok && (rest == "" || rest[0] == '/') {
			path = strings.TrimLeft(rest, "/")
		}
		if err := u.setPath(path); err != nil {
			return URL{}, fmt.Errorf("stored host %s: %w", h.Name, err)
		}
	}
	return u, nil
}

// A HostProblem is what is wrong in a line of the file.
type HostProblem struct {
	Line int
	What string // no value of a key is in it
}

// A HostsError is a file of stored hosts that can't be used, and is never
// written over.
type HostsError struct {
	File     string
	Problems []HostProblem // all of them, as far as the file could be read
}

func (e *HostsError) Error() string {
	var lines []string
	for _, p := range e.Problems {
		lines = append(lines, fmt.Sprintf("%s:%d: %s", e.File, p.Line, p.What))
	}
	return strings.Join(lines, "\n")
}

const (
	maxHostsFile = 1 << 20
	maxHosts     = 5000
	maxValue     = 4096
	maxProblems  = 100
)

// Hosts are the stored hosts of a file. A nil *Hosts has none.
type Hosts struct {
	Warnings []string // about the file, for whoever uses it

	file  string
	text  []byte // with the changes
	was   []byte // as it was read
	list  []Host
	spans map[string]span
}

// A span is where an entry stands: from its header to the end of its last line.
type span struct{ from, to int }

// LoadHosts reads the file. A missing one has no hosts. A file that has
// problems is a *HostsError.
func LoadHosts(file string) (*Hosts, error) {
	b, err := readBounded(file, maxHostsFile)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	h, err := parseHosts(file, b)
	if err != nil {
		return nil, err
	}
	h.was = b
	if exposed(file) && slices.ContainsFunc(h.list, func(one Host) bool { return one.HasPassword }) {
		h.Warnings = append(h.Warnings, fmt.Sprintf("%s has passwords and may be read by others, so they are not used: chmod 600 %s", file, file))
		for i := range h.list {
			h.list[i].Exposed = h.list[i].HasPassword
		}
	}
	return h, nil
}

// exposed tells whether others than the owner may read the file.
func exposed(file string) bool {
	fi, err := os.Stat(file)
	return err == nil && fi.Mode().IsRegular() && runtime.GOOS != "windows" && fi.Mode().Perm()&0o077 != 0
}

// Get returns the stored host of that name.
func (h *Hosts) Get(name string) (Host, bool) {
	if h == nil {
		return Host{}, false
	}
	for _, one := range h.list {
		if one.Name == name {
			return one, true
		}
	}
	return Host{}, false
}

func (h *Hosts) has(name string) bool { _, ok := h.Get(name); return ok }

// List returns the stored hosts in the order of the file.
func (h *Hosts) List() []Host {
	if h == nil {
		return nil
	}
	return slices.Clone(h.list)
}

// Set stores one host, in place of the one of its name if there is one. The
// other entries stay as they are written, their comments too. Save writes it.
func (h *Hosts) Set(one Host) error {
	if err := CheckHostName(one.Name); err != nil {
		return err
	}
	next := slices.Clone(h.text)
	if at, ok := h.spans[one.Name]; ok {
		next = slices.Concat(h.text[:at.from], entry(&one), h.text[at.to:])
	} else {
		if len(next) > 0 {
			next = append(bytes.TrimRight(next, "\r\n"), "\n\n"...)
		}
		next = append(next, entry(&one)...)
	}
	return h.take(next)
}

// Remove takes a stored host away, and tells whether there was one.
func (h *Hosts) Remove(name string) (bool, error) {
	at, ok := h.spans[name]
	if !ok {
		return false, nil
	}
	return true, h.take(slices.Concat(h.text[:at.from], bytes.TrimLeft(h.text[at.to:], "\r\n")))
}

// take makes text the content, when it has no problems.
func (h *Hosts) take(text []byte) error {
	if len(text) > maxHostsFile {
		return fmt.Errorf("%s would be larger than %d bytes", h.file, maxHostsFile)
	}
	next, err := parseHosts(h.file, text)
	if err != nil {
		return err
	}
	h.text, h.list, h.spans = next.text, next.list, next.spans
	return nil
}

// Save replaces the file, or makes it, so that only its owner may read it. A
// file that somebody else changed meanwhile is left alone.
func (h *Hosts) Save() error {
	return withLock(h.file, func() error {
		b, err := readBounded(h.file, maxHostsFile)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		if !bytes.Equal(b, h.was) {
			return fmt.Errorf("%s was changed meanwhile; try again", h.file)
		}
		if err := writeWhole(h.file, h.text); err != nil {
			return err
		}
		h.was = h.text
		return nil
	})
}

// entry writes one host.
func entry(h *Host) []byte {
	var b bytes.Buffer
	name := h.Name
	if strings.Contains(name, ".") {
		name = quoteTOML(name)
	}
	fmt.Fprintf(&b, "[%s]\n", name)
	for _, k := range hostKeys() {
		if v := k.value(h); v != "" {
			fmt.Fprintf(&b, "%s = %s\n", k.name, v)
		}
	}
	return b.Bytes()
}

// quoteTOML writes a basic string of TOML.
func quoteTOML(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i, r := range s {
		switch {
		case r == utf8.RuneError && s[i] != "\ufffd"[0]: // no UTF-8: stays so, and is refused
			b.WriteByte(s[i])
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x2029:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// parseHosts reads what a file of stored hosts says: tables of keys, the name of
// a table being that of the host. A dot in a name needs no quotes.
func parseHosts(file string, text []byte) (*Hosts, error) {
	h := &Hosts{file: file, text: text, spans: map[string]span{}}
	bad := &HostsError{File: file}
	starts := []int{0}
	for i, c := range text {
		if c == '\n' {
			starts = append(starts, i+1)
		}
	}
	line := func(offset int) int { return sort.Search(len(starts), func(i int) bool { return starts[i] > offset }) }
	// nextLine is where the line after the one of the byte begins.
	nextLine := func(offset int) int {
		if n := line(offset); n < len(starts) {
			return starts[n]
		}
		return len(text)
	}
	problem := func(offset int, what string) {
		if len(bad.Problems) < maxProblems {
			bad.Problems = append(bad.Problems, HostProblem{line(offset), what})
		}
	}
	if !utf8.Valid(text) {
		for offset := 0; offset < len(text); offset = nextLine(offset) {
			if !utf8.Valid(text[offset:nextLine(offset)]) {
				problem(offset, "not UTF-8")
			}
		}
		return nil, bad
	}
	keys := map[string]hostKey{}
	var words []string
	for _, k := range hostKeys() {
		keys[k.name] = k
		words = append(words, k.name)
	}
	var here *Host // nil: before the first table, or below a bad header
	inNone := true
	header, end := 0, 0
	var given map[string]bool
	finish := func() {
		if here == nil {
			return
		}
		checkHost(here, func(what string) { problem(header, here.Name+" "+what) })
		h.list = append(h.list, *here)
		h.spans[here.Name] = span{starts[line(header)-1], nextLine(max(end-1, 0))}
		here = nil
	}
	var ast unstable.Parser
	ast.Reset(text)
	for ast.NextExpression() {
		e := ast.Expression()
		var path []string
		from, to := 0, 0
		for it := e.Key(); it.Next(); {
			if path == nil {
				from = int(it.Node().Raw.Offset)
			}
			path = append(path, string(it.Node().Data))
			to = int(it.Node().Raw.Offset + it.Node().Raw.Length)
		}
		if e.Kind != unstable.KeyValue {
			finish()
			inNone = false
			name := strings.Join(path, ".")
			err := CheckHostName(name)
			switch _, twice := h.spans[name]; {
			case err != nil:
				problem(from, err.Error())
			case e.Kind == unstable.ArrayTable:
				problem(from, "write ["+name+"], with one bracket")
			case twice:
				problem(from, name+" is there twice")
			case len(h.list) >= maxHosts:
				problem(from, fmt.Sprintf("more than %d stored hosts", maxHosts))
				return nil, bad
			default:
				here, header, end, given = &Host{Name: name}, from, to, map[string]bool{}
			}
			continue
		}
		end = max(int(e.Raw.Offset+e.Raw.Length), to)
		if inNone {
			problem(from, "stands below no [name] of a host")
			continue
		}
		if here == nil {
			continue
		}
		word := strings.Join(path, ".")
		k, ok := keys[word]
		v := e.Value()
		switch {
		case !ok:
			problem(from, "unknown key; known are "+strings.Join(words, ", "))
		case given[word]:
			problem(from, word+" is there twice")
		case v.Kind != k.kind:
			problem(from, word+" is "+map[unstable.Kind]string{unstable.String: "a text in quotes", unstable.Integer: "a number", unstable.Bool: "true or false"}[k.kind])
		case len(v.Data) > maxValue:
			problem(from, fmt.Sprintf("%s is longer than %d bytes", word, maxValue))
		default:
			if err := k.set(here, string(v.Data)); err != nil {
				problem(from, word+": "+err.Error())
			}
		}
		given[word] = true
	}
	if err := ast.Error(); err != nil {
		at := end
		var syntax *unstable.ParserError
		if errors.As(err, &syntax) {
			if i := cap(text) - cap(syntax.Highlight); i >= 0 && i <= len(text) {
				at = i
			}
		}
		here = nil
		problem(at, `not TOML; write lines as key = "value" below headers as [name]. The file was read up to here only`)
	}
	finish()
	if len(bad.Problems) > 0 {
		return nil, bad
	}
	return h, nil
}

// checkHost looks at what the keys of a host are together.
func checkHost(h *Host, problem func(string)) {
	if h.URL == "" {
		problem("has no url")
		return
	}
	u, err := Parse(h.URL, nil)
	if err != nil {
		return // told with the key
	}
	if u.User != "" && h.User != "" && u.User != h.User {
		problem("has one user in url and another in user")
	}
	if u.Port != 0 && h.Port != 0 && u.Port != h.Port {
		problem("has one port in url and another in port")
	}
	if h.Plain && u.Scheme != FTP && u.Scheme != FTPPlain {
		problem("has plain = true, which is for ftp:// only")
	}
}

// expandHome puts the home in place of a ~ at the beginning.
func expandHome(file, home string) string {
	if rest, ok := strings.CutPrefix(file, "~/"); ok && home != "" {
		return filepath.Join(home, rest)
	}
	return file
}
