package ftpclient

import (
	"fmt"
	"path"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/htmlindex"

	"dray/fault"
	"dray/ftp"
)

// charset is how the server writes names, nil for the bytes as they are.
type charset struct{ e encoding.Encoding }

// newCharset knows the names of the WHATWG list, and some that people use.
func newCharset(name string) (*charset, error) {
	name = strings.ToLower(strings.TrimSpace(name))
	switch name {
	case "", "utf8", "utf-8":
		return nil, nil
	}
	if page, ok := strings.CutPrefix(name, "cp"); ok {
		switch {
		case strings.HasPrefix(page, "125"):
			name = "windows-" + page
		case page == "932":
			name = "shift_jis"
		case page == "936":
			name = "gbk"
		case page == "949":
			name = "euc-kr"
		case page == "950":
			name = "big5"
		}
	}
	if name == "latin9" {
		name = "iso-8859-15"
	}
	e, err := htmlindex.Get(name)
	if err != nil {
		return nil, fault.Because(fmt.Errorf("no character set is called %q", name), fault.Unsupported, fault.IDUnsupported, "the character set "+name)
	}
	return &charset{e}, nil
}

// decode turns a name from the wire into UTF-8. One that would not be the same
// name again stays as it is.
func (cs *charset) decode(s string) string {
	if cs == nil {
		return s
	}
	out, err := cs.e.NewDecoder().String(s)
	if err != nil {
		return s
	}
	if back, err := cs.e.NewEncoder().String(out); err != nil || back != s {
		return s
	}
	return out
}

// encode turns a name into what the server knows it by; false when the character
// set has no such name. Bytes that are no UTF-8 came from the server as they are.
func (cs *charset) encode(s string) (string, bool) {
	if cs == nil || !utf8.ValidString(s) {
		return s, true
	}
	out, err := cs.e.NewEncoder().String(s)
	return out, err == nil
}

// wire is a path as it goes to the server. CR, LF and NUL can't, and are an error
// of kind BadName.
func (c *Conn) wire(p string) (string, error) {
	w, ok := c.names.encode(p)
	if !ok || !ftp.NameOK(w) || len(w) > ftp.MaxLine-32 {
		return "", fault.New(fault.BadName, fault.IDBadName, p)
	}
	return w, nil
}

// split is the directory of a path, "" for the current one, and the name in it,
// "" for the root.
func split(p string) (dir, name string) {
	for len(p) > 1 && strings.HasSuffix(p, "/") {
		p = p[:len(p)-1]
	}
	if p == "/" {
		return "/", ""
	}
	dir, name = path.Split(p)
	if len(dir) > 1 {
		dir = strings.TrimRight(dir, "/")
		if dir == "" {
			dir = "/"
		}
	}
	return dir, name
}
