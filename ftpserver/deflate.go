package ftpserver

import (
	"slices"
	"strconv"
	"strings"

	"dray/fault"
	"dray/ftp"
	"dray/transfer"
)

// A deflate is what the client has chosen of MODE Z. A new login begins with the
// zero value.
type deflate struct {
	on    bool
	level int // of OPTS; 0: the usual one
}

// optionsForm is what OPTS takes for MODE Z.
const optionsForm = "OPTS MODE Z LEVEL 1 to 9"

func (c *conn) deniesZ() bool { return slices.Contains(c.rules.Deny, "MODE Z") }

func modeFeat(c *conn) string {
	if c.deniesZ() {
		return ""
	}
	return "MODE Z"
}

// modeZ switches compression on, for data connections of every kind.
func (c *conn) modeZ() (ftp.Reply, error) {
	if c.deniesZ() {
		return ftp.Reply{}, fault.New(fault.NotBuilt, fault.IDNotBuilt, switchedOff)
	}
	c.deflate.on = true
	return ftp.Replyf(ftp.C200OK, "Mode: deflate."), nil
}

// optsMode takes the options of MODE Z (draft-preston-ftpext-deflate, 4): pairs
// of name and value, all or nothing. Without any they are the usual ones again.
func (c *conn) optsMode(arg string) (ftp.Reply, error) {
	words := strings.Fields(strings.ToUpper(arg))
	switch {
	case len(words) == 0 || words[0] != "Z":
		return ftp.Reply{}, fault.New(fault.Syntax, fault.IDSyntax, optionsForm)
	case c.deniesZ():
		return ftp.Reply{}, fault.New(fault.NotBuilt, fault.IDNotBuilt, switchedOff)
	case len(words)%2 == 0:
		return ftp.Reply{}, fault.New(fault.Syntax, fault.IDSyntax, optionsForm)
	}
	level := transfer.DefaultLevel
	for pair := range slices.Chunk(words[1:], 2) {
		switch name, value := pair[0], pair[1]; name {
		case "LEVEL":
			n, err := strconv.Atoi(value)
			if err != nil {
				return ftp.Reply{}, fault.Because(err, fault.Syntax, fault.IDSyntax, optionsForm)
			}
			if n < 1 || n > 9 {
				return ftp.Reply{}, fault.New(fault.Unsupported, fault.IDUnsupported, optionsForm)
			}
			level = n
		case "ENGINE":
			if value != "ZLIB" {
				return ftp.Reply{}, fault.New(fault.Unsupported, fault.IDUnsupported, "OPTS MODE Z ENGINE ZLIB")
			}
		case "METHOD":
			if value != "8" { // deflate, as RFC 1950 counts
				return ftp.Reply{}, fault.New(fault.Unsupported, fault.IDUnsupported, "OPTS MODE Z METHOD 8")
			}
		default:
			return ftp.Reply{}, fault.New(fault.Unsupported, fault.IDUnsupported, optionsForm)
		}
	}
	c.deflate.level = level
	return ftp.Replyf(ftp.C200OK, "MODE Z LEVEL set to %d.", level), nil
}
