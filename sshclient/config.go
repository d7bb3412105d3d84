package sshclient

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"dray/fault"
)

// Limits on ssh_config: it is the user's own, but a mistake must not hang us.
const (
	maxConfig        = 1 << 20 // bytes of one file
	maxConfigLine    = 64 << 10
	maxIncludeDepth  = 16 // as OpenSSH
	maxIncludedFiles = 256
)

// found is what the files say of one host: the first value of each keyword, and
// all of those that gather. The keys are in lower case.
type found struct {
	first  map[string][]string
	where  map[string]string // file:line of first
	gather map[string][]string
}

// gathers are the keywords of which every value counts.
var gathers = []string{"identityfile", "certificatefile"}

// A reader reads ssh_config(5) for one host.
type reader struct {
	host  string // as it was typed
	user  string // given, or that of this machine
	home  string
	dir   string // of relative Includes: ~/.ssh or /etc/ssh
	check bool   // refuse a file that others can write

	got   found
	final bool // the second pass, in which "Match final" holds
	again bool // a "Match final" was met
	files int
	warn  func(text string)
}

// file reads one file. A missing one is no error unless must.
func (r *reader) file(name string, must bool) error {
	err := r.one(name, true, 0)
	if errors.Is(err, fs.ErrNotExist) && !must {
		return nil
	}
	if errors.Is(err, fs.ErrPermission) && !must { // as OpenSSH
		r.warn(name + " can't be read")
		return nil
	}
	var fe *fault.Error
	if err != nil && !errors.As(err, &fe) {
		kind := fault.Syntax
		var pe *fs.PathError
		if errors.As(err, &pe) {
			kind = fault.KindOf(err)
		}
		return fault.Because(err, kind, fault.IDLocal, name, reason(err))
	}
	return err
}

// one reads a file; active is whether the block that includes it holds.
func (r *reader) one(name string, active bool, depth int) error {
	if r.files++; r.files > maxIncludedFiles {
		return fmt.Errorf("%s: more than %d files are included", name, maxIncludedFiles)
	}
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	if r.check && !private(fi, 0o022) {
		return fmt.Errorf("%s can be written by others: chmod go-w it", name)
	}
	if fi.IsDir() {
		return fmt.Errorf("%s is a directory", name)
	}
	return r.lines(name, io.LimitReader(f, maxConfig+1), active, depth)
}

func (r *reader) lines(name string, from io.Reader, parent bool, depth int) error {
	data, err := io.ReadAll(from)
	if err != nil {
		return err
	}
	if len(data) > maxConfig {
		return fmt.Errorf("%s has more than %d bytes", name, maxConfig)
	}
	active := parent
	sc := bufio.NewScanner(bytes.NewReader(data))
	sc.Buffer(nil, maxConfigLine)
	for n := 1; sc.Scan(); n++ {
		at := fmt.Sprintf("%s:%d", name, n)
		key, args, err := splitLine(sc.Text())
		if err != nil {
			return fmt.Errorf("%s: %w", at, err)
		}
		switch key {
		case "":
		case "host":
			if len(args) == 0 {
				return fmt.Errorf("%s: Host without a pattern", at)
			}
			active = parent && matchNames(r.host, args) // as OpenSSH: here the case counts
		case "match":
			ok, err := r.match(args, at)
			if err != nil {
				return fmt.Errorf("%s: %w", at, err)
			}
			active = parent && ok
		case "include":
			if depth+1 >= maxIncludeDepth {
				return fmt.Errorf("%s: Include is nested too deeply", at)
			}
			for _, a := range args {
				if err := r.include(a, active, depth+1); err != nil {
					return fmt.Errorf("%s: %w", at, err)
				}
			}
		default:
			if len(args) == 0 {
				return fmt.Errorf("%s: %s without a value", at, key)
			}
			if active {
				r.set(key, args, at)
			}
		}
	}
	if err := sc.Err(); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// set keeps a value, if it is the first.
func (r *reader) set(key string, args []string, at string) {
	key = modernName(key)
	if slices.Contains(gathers, key) {
		if !slices.Contains(r.got.gather[key], args[0]) {
			r.got.gather[key] = append(r.got.gather[key], args[0])
		}
		return
	}
	// Whichever of the two comes first is the way there.
	other := map[string]string{"proxyjump": "proxycommand", "proxycommand": "proxyjump"}[key]
	if r.got.first[key] != nil || other != "" && r.got.first[other] != nil {
		return
	}
	r.got.first[key] = slices.Clone(args)
	r.got.where[key] = at
}

// modernName is a keyword as OpenSSH calls it today.
func modernName(key string) string {
	switch key {
	case "pubkeyacceptedkeytypes":
		return "pubkeyacceptedalgorithms"
	case "challengeresponseauthentication", "skeyauthentication", "tisauthentication":
		return "kbdinteractiveauthentication"
	case "hostbasedkeytypes":
		return "hostbasedacceptedalgorithms"
	case "dsaauthentication":
		return "pubkeyauthentication"
	}
	return key
}

func (r *reader) include(pattern string, active bool, depth int) error {
	switch {
	case strings.HasPrefix(pattern, "~/"):
		pattern = filepath.Join(r.home, pattern[2:])
	case !filepath.IsAbs(pattern):
		pattern = filepath.Join(r.dir, pattern)
	}
	names, err := filepath.Glob(pattern)
	if err != nil {
		return fmt.Errorf("pattern %s: %w", pattern, err)
	}
	for _, name := range names {
		switch err := r.one(name, active, depth); {
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission): // as OpenSSH
		case err != nil:
			return err
		}
	}
	return nil
}

// match evaluates the criteria of a Match line, all of which must hold.
func (r *reader) match(args []string, at string) (bool, error) {
	if len(args) == 0 {
		return false, errors.New("no criterion behind Match")
	}
	holds := true
	for i := 0; i < len(args); i++ {
		word, value, joined := strings.Cut(args[i], "=")
		word, negated := strings.CutPrefix(strings.ToLower(word), "!")
		var ok bool
		switch word {
		case "all", "canonical", "final":
			if joined {
				return false, fmt.Errorf("%s takes no value behind Match", word)
			}
			switch {
			case word == "all":
				ok = true
			case word == "final":
				r.again = true
				ok = r.final
			}
		default:
			if !joined {
				if i++; i >= len(args) {
					return false, fmt.Errorf("%s without a value behind Match", word)
				}
				value = args[i]
			}
			patterns := strings.Split(value, ",")
			switch word {
			case "host":
				ok = matchHosts(r.hostNow(), patterns)
			case "originalhost":
				ok = matchHosts(r.host, patterns)
			case "user":
				user := r.user
				if v := r.got.first["user"]; v != nil {
					user = v[0]
				}
				ok = matchNames(user, patterns)
			case "localuser":
				ok = matchNames(localUser(), patterns)
			case "exec":
				// A command of a file is not run to find out where to connect to.
				r.warn(at + ": Match exec is not supported; the block is left out")
				holds, negated = false, false
			default:
				r.warn(at + ": Match " + word + " is not supported; the block is left out")
				holds, negated = false, false
			}
		}
		if ok == negated {
			holds = false
		}
	}
	return holds, nil
}

// hostNow is the host as the lines up to here make it.
func (r *reader) hostNow() string {
	v := r.got.first["hostname"]
	if v == nil {
		return r.host
	}
	h, err := expand(v[0], map[byte]string{'h': r.host})
	if err != nil {
		return v[0]
	}
	return h
}

// splitLine is a line of ssh_config: a keyword in lower case, and its values.
// Both are empty for a comment. The keyword is followed by blanks or one '=';
// values may be quoted, and a '#' that begins one begins a comment.
func splitLine(line string) (key string, args []string, err error) {
	line = strings.Trim(line, " \t\r\n\f")
	if line == "" || line[0] == '#' {
		return "", nil, nil
	}
	end := strings.IndexAny(line, " \t=")
	if end < 0 {
		return strings.ToLower(line), nil, nil
	}
	key = strings.ToLower(line[:end])
	if len(key) >= 2 && key[0] == '"' && key[len(key)-1] == '"' {
		key = key[1 : len(key)-1]
	}
	if key == "" {
		return "", nil, errors.New("a line without a keyword")
	}
	rest := strings.TrimLeft(line[end:], " \t")
	if strings.HasPrefix(rest, "=") {
		rest = strings.TrimLeft(rest[1:], " \t")
	}
	if key == "proxycommand" || key == "localcommand" || key == "remotecommand" || key == "knownhostscommand" {
		if rest == "" {
			return key, nil, nil
		}
		return key, []string{rest}, nil // the whole line is for the shell
	}
	args, err = splitWords(rest)
	return key, args, err
}

// splitWords takes values apart as OpenSSH's argv_split does: blanks separate,
// quotes of both kinds hold together, and a backslash takes the meaning from a
// quote, a backslash, and outside of quotes from a blank.
func splitWords(s string) ([]string, error) {
	var words []string
	for i := 0; ; {
		for i < len(s) && (s[i] == ' ' || s[i] == '\t') {
			i++
		}
		if i >= len(s) || s[i] == '#' {
			return words, nil
		}
		var b strings.Builder
		var quote byte
	word:
		for ; i < len(s); i++ {
			c := s[i]
			switch {
			case c == '\\' && i+1 < len(s) && (s[i+1] == '\'' || s[i+1] == '"' || s[i+1] == '\\' || quote == 0 && s[i+1] == ' '):
				i++
				b.WriteByte(s[i])
			case quote == 0 && (c == ' ' || c == '\t'):
				break word
			case quote == 0 && (c == '"' || c == '\''):
				quote = c
			case quote != 0 && c == quote:
				quote = 0
			default:
				b.WriteByte(c)
			}
		}
		if quote != 0 {
			return nil, errors.New("a quote that does not end")
		}
		words = append(words, b.String())
	}
}

// matchHosts is matchNames for the names of hosts, which have no case.
func matchHosts(host string, patterns []string) bool {
	lower := make([]string, len(patterns))
	for i, p := range patterns {
		lower[i] = strings.ToLower(p)
	}
	return matchNames(strings.ToLower(host), lower)
}

// matchNames says that one of the patterns fits and none that begins with '!'.
func matchNames(name string, patterns []string) bool {
	fits := false
	for _, p := range patterns {
		if n, ok := strings.CutPrefix(p, "!"); ok {
			if matchPattern(name, n) {
				return false
			}
		} else if matchPattern(name, p) {
			fits = true
		}
	}
	return fits
}

// matchPattern knows '*' and '?'. It takes at most len(s) times len(pattern)
// steps, whatever stands in the pattern.
func matchPattern(s, pattern string) bool {
	star, mark := -1, 0
	i, p := 0, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, i
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == s[i]):
			i++
			p++
		case star >= 0:
			mark++
			i, p = mark, star+1
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// expand replaces %x by values; an unknown token is an error, as in OpenSSH. The
// error does not repeat s, which may be a command with a password in it.
func expand(s string, values map[byte]string) (string, error) {
	if !strings.Contains(s, "%") {
		return s, nil
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b.WriteByte(s[i])
			continue
		}
		if i++; i >= len(s) {
			return "", errors.New("it ends with a single %")
		}
		v, ok := values[s[i]]
		switch {
		case s[i] == '%':
			b.WriteByte('%')
		case ok:
			b.WriteString(v)
		default:
			return "", fmt.Errorf("%%%c can't be used here", s[i])
		}
	}
	return b.String(), nil
}

// expandEnv replaces ${NAME}; one that is not set is an error, as in OpenSSH.
func expandEnv(s string, env func(string) string) (string, error) {
	var b strings.Builder
	for {
		i := strings.Index(s, "${")
		if i < 0 {
			return b.String() + s, nil
		}
		end := strings.IndexByte(s[i:], '}')
		if end < 0 {
			return "", fmt.Errorf("%q: ${ without }", s)
		}
		name := s[i+2 : i+end]
		v := env(name)
		if v == "" {
			return "", fmt.Errorf("%q: %s is not set", s, name)
		}
		b.WriteString(s[:i] + v)
		s = s[i+end+1:]
	}
}

// reason is an error of a file without the name of the file.
func reason(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err.Error()
	}
	return err.Error()
}
