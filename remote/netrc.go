package remote

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"dray/account"
)

const (
	maxNetrc      = 1 << 20
	maxNetrcWords = 100_000
)

// A Netrc is a file of logins. A nil *Netrc is empty.
type Netrc struct {
	Warnings []string // about the file, without a password in them

	entries []NetrcEntry
}

// A NetrcEntry is the login for one machine.
type NetrcEntry struct {
	Machine     string // "": the entry default, for every machine
	Login       string
	Password    account.Secret // where HasPassword
	HasPassword bool
	Account     account.Secret // the third word that few servers ask for (RFC 959, ACCT)
	HasAccount  bool
	Line        int
}

// NetrcFile is $NETRC, or .netrc in the home directory (_netrc on Windows where
// that is there).
func NetrcFile(getenv func(string) string, home string) string {
	if file := getenv("NETRC"); file != "" {
		return expandHome(file, home)
	}
	if home == "" {
		return ""
	}
	for _, name := range []string{".netrc", "_netrc"} {
		if _, err := os.Stat(filepath.Join(home, name)); err == nil {
			return filepath.Join(home, name)
		}
	}
	return filepath.Join(home, ".netrc")
}

// LoadNetrc reads a file. A missing one, and the name "", are empty. Passwords of
// a file that others may read are used, with a warning.
func LoadNetrc(file string) (*Netrc, error) {
	if file == "" {
		return &Netrc{}, nil
	}
	text, err := readBounded(file, maxNetrc)
	if errors.Is(err, os.ErrNotExist) {
		return &Netrc{}, nil
	}
	if err != nil {
		return nil, err
	}
	n, err := ParseNetrc(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s:%w", file, err)
	}
	for i := range n.Warnings {
		n.Warnings[i] = file + ":" + n.Warnings[i]
	}
	if exposed(file) {
		for _, e := range n.entries {
			if e.HasPassword && e.Login != "anonymous" {
				n.Warnings = append(n.Warnings, fmt.Sprintf("%s has passwords and may be read by others: chmod 600 %s", file, file))
				break
			}
		}
	}
	return n, nil
}

// A netrcWord is one word, with its line.
type netrcWord struct {
	text   string
	line   int
	quoted bool
}

// ParseNetrc reads the form of ftp(1), with the quotes of curl: a word in double
// quotes may have spaces, and \n, \r, \t, \" and \\ in it; a # that begins a word
// makes the rest of the line a comment. A macro ends at an empty line. An error
// begins with the number of the line.
func ParseNetrc(text string) (*Netrc, error) {
	words, err := netrcWords(text)
	if err != nil {
		return nil, err
	}
	n := &Netrc{}
	var e *NetrcEntry
	add := func(one NetrcEntry) {
		n.entries = append(n.entries, one)
		e = &n.entries[len(n.entries)-1]
	}
	for i := 0; i < len(words); i++ {
		w := words[i]
		value := func() (string, error) {
			if i+1 == len(words) {
				return "", fmt.Errorf("%d: nothing follows %s", w.line, w.text)
			}
			i++
			if strings.ContainsAny(words[i].text, "\x00\r\n") {
				return "", fmt.Errorf("%d: a line end in the value of %s", words[i].line, w.text)
			}
			return words[i].text, nil
		}
		var v string
		switch word := strings.ToLower(w.text); word {
		case "default":
			add(NetrcEntry{Line: w.line})
		case "machine":
			if v, err = value(); err == nil {
				add(NetrcEntry{Machine: lower(v), Line: w.line})
				if v == "" {
					err = fmt.Errorf("%d: a machine without a name", w.line)
				}
			}
		case "login", "user", "password", "account":
			if v, err = value(); err != nil {
				break
			}
			switch {
			case e == nil:
				err = fmt.Errorf("%d: %s stands before the first machine", w.line, word)
			case word == "password":
				e.Password, e.HasPassword = account.NewSecret(v), true
			case word == "account":
				e.Account, e.HasAccount = account.NewSecret(v), true
			default:
				e.Login = v
			}
		default:
			// The word is not shown: it may be a part of a password with a space.
			n.Warnings = append(n.Warnings, fmt.Sprintf("%d: a word that is not known was left out", w.line))
			if len(n.Warnings) > maxProblems {
				return nil, fmt.Errorf("%d: too many words that are not known", w.line)
			}
		}
		if err != nil {
			return nil, err
		}
	}
	return n, nil
}

// netrcWords cuts text into words, without comments and macros.
func netrcWords(text string) ([]netrcWord, error) {
	var words []netrcWord
	macro := 0 // 1: its name comes, 2: its lines come
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimRight(line, "\r\n")
		if macro == 2 {
			if strings.TrimSpace(line) == "" {
				macro = 0
			}
			continue
		}
		for {
			line = strings.TrimLeft(line, " \t\v\f\r")
			if line == "" || line[0] == '#' {
				break
			}
			if len(words) == maxNetrcWords {
				return nil, fmt.Errorf("%d: more than %d words", number, maxNetrcWords)
			}
			w := netrcWord{line: number}
			if line[0] == '"' {
				rest, ok := w.unquote(line[1:])
				if !ok {
					return nil, fmt.Errorf("%d: a quote that does not end", number)
				}
				line = rest
			} else {
				end := strings.IndexAny(line, " \t\v\f\r")
				if end < 0 {
					end = len(line)
				}
				w.text, line = line[:end], line[end:]
			}
			if len(w.text) > maxValue {
				return nil, fmt.Errorf("%d: a word of more than %d bytes", number, maxValue)
			}
			if macro == 1 {
				macro = 2
				break
			}
			if !w.quoted && strings.EqualFold(w.text, "macdef") && !wantsValue(words) {
				macro = 1
				continue
			}
			words = append(words, w)
		}
		if macro == 1 {
			macro = 2
		}
	}
	return words, nil
}

// wantsValue tells whether the next word is a value, whatever it is.
func wantsValue(words []netrcWord) bool {
	want := false
	for i := len(words) - 1; i >= 0; i-- { // "password password": how many in a row
		switch strings.ToLower(words[i].text) {
		case "machine", "login", "user", "password", "account":
			want = !want
		default:
			return want
		}
	}
	return want
}

// unquote reads a word up to its closing quote.
func (w *netrcWord) unquote(s string) (rest string, ok bool) {
	var b strings.Builder
	w.quoted = true
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch c {
		case '"':
			w.text = b.String()
			return s[i+1:], true
		case '\\':
			if i++; i == len(s) {
				return "", false
			}
			switch c = s[i]; c {
			case 'n':
				c = '\n'
			case 'r':
				c = '\r'
			case 't':
				c = '\t'
			}
		}
		b.WriteByte(c)
	}
	return "", false
}

// Find returns the login for a host: the first entry of that machine, with that
// login when user is not "", else the entry default.
func (n *Netrc) Find(host, user string) (NetrcEntry, bool) {
	if n == nil {
		return NetrcEntry{}, false
	}
	host = lower(strings.TrimSuffix(host, "."))
	for _, e := range n.entries {
		if e.Machine != "" && strings.TrimSuffix(e.Machine, ".") == host && (user == "" || e.Login == user || e.Login == "") {
			return e, true
		}
	}
	for _, e := range n.entries {
		if e.Machine == "" && (user == "" || e.Login == user) {
			return e, true
		}
	}
	return NetrcEntry{}, false
}
