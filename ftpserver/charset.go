package ftpserver

import (
	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/htmlindex"

	"dray/ftp"
)

// A charset is how an account's programs write names, nil for UTF-8. Names are
// kept as UTF-8; what does not convert goes through as the bytes it is, so that
// every name can be said again as it was shown.
type charset struct{ e encoding.Encoding }

// charsetOf is the character set of an account; nil when it is UTF-8 or unknown.
func charsetOf(name string) *charset {
	if name == "" {
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
