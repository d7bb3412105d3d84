package ftpserver

import (
	"strings"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/htmlindex"

	"dray/account"
	"dray/fault"
	"dray/ftp"
	"dray/vfs"
)

// A charset is how an account's programs write names, nil for UTF-8. Names are
// kept as UTF-8; what does not convert goes through as the bytes it is.
type charset struct{ e encoding.Encoding }

// charsetOf is the character set of an account; nil when it is UTF-8 or unknown.
func charsetOf(name string) *charset {
	if name == "" || account.CheckCharset(name) != nil {
		return nil
	}
	e, err := htmlindex.Get(name)
	if err != nil {
		return nil
	}
	return &charset{e}
}

// decode turns what came from the wire into UTF-8.
func (cs *charset) decode(s string) string {
	if cs == nil {
		return s
	}
	out, err := cs.e.NewDecoder().String(s)
	if err != nil || cs.encode(out) != s { // it would not be the same name again
		return s
	}
	return out
}

// encode turns UTF-8 into what goes to the wire.
func (cs *charset) encode(s string) string {
	if cs == nil {
		return s
	}
	out, err := cs.e.NewEncoder().String(s)
	if err != nil {
		return s
	}
	if back, err := cs.e.NewDecoder().String(out); err != nil || back != s { // it would be another name when it is said
		return s
	}
	return out
}

// reply is r with its texts encoded.
func (cs *charset) reply(r ftp.Reply) ftp.Reply {
	if cs == nil {
		return r
	}
	r.Text, r.Last = cs.encode(r.Text), cs.encode(r.Last)
	body := make([]string, len(r.Body))
	for i, line := range r.Body {
		body[i] = cs.encode(line)
	}
	r.Body = body
	return r
}

// asShown is p, or where nothing has that name, what the same bytes are without
// the character set: a name that has no form in it was shown as it is, and most
// bytes mean some other name in it. Each part of the path is looked at on its own.
func (c *conn) asShown(p vfs.Path) vfs.Path {
	if c.session == nil || p.IsRoot() || c.taken(p) {
		return p
	}
	at := vfs.Root
	for name := range strings.SplitSeq(p.Rel(), "/") {
		next, err := at.Join(name)
		if err != nil {
			return p
		}
		if raw := c.charset.encode(name); raw != name && !c.taken(next) {
			if shown, err := at.Join(raw); err == nil && c.taken(shown) {
				next = shown
			}
		}
		at = next
	}
	return at
}

// taken tells whether something has the name p. Where the account may not know,
// it is.
func (c *conn) taken(p vfs.Path) bool {
	_, err := c.session.Lstat(c.context(), p)
	return err == nil || fault.KindOf(err) != fault.NotFound
}
