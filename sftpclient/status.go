package sftpclient

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"dray/fault"
	"dray/sftp"
)

// A StatusError is a status by which the server refuses a request.
type StatusError struct {
	Code sftp.Code
	Text string // the server's words as they came, at most 1 KiB of them
	Op   string // the request, as the draft calls it
	Path string // that it was about
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("%s %s: %s (status %d)", e.Op, e.Path, e.Said(), uint32(e.Code))
}

// Said is what the server says, clean, in one line; the name of the status where
// it says nothing.
func (e *StatusError) Said() string {
	if s := strings.TrimSpace(clean(e.Text)); s != "" {
		return s
	}
	return codeName(e.Code)
}

// maxSaid bounds what is kept of the server's words, in bytes.
const maxSaid = 1 << 10

func bounded(s string) string { return s[:min(len(s), maxSaid)] }

// clean is text of the server that may stand in a line.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\r' || r == '\t':
			return ' '
		case r == utf8.RuneError || unicode.In(r, unicode.Cc, unicode.Zl, unicode.Zp, unicode.Bidi_Control):
			return '?'
		}
		return r
	}, s)
}

// A meaning is what a status says. The zero value is "refused".
type meaning struct {
	kind fault.Kind
	id   fault.ID
}

// codes are those that say it all. Those above 8 are of later versions, and some
// servers use them with clients of version 3 (draft-ietf-secsh-filexfer-13, 9.1).
var codes = map[sftp.Code]struct {
	name string
	meaning
}{
	sftp.OK:               {"OK", meaning{}},
	sftp.EOF:              {"end of file", meaning{}},
	sftp.NoSuchFile:       {"no such file", meaning{fault.NotFound, fault.IDNotFound}},
	sftp.PermissionDenied: {"permission denied", meaning{fault.Denied, fault.IDPerm}},
	sftp.Failure:          {"failure", meaning{}},
	sftp.BadMessage:       {"bad message", meaning{}},
	sftp.NoConnection:     {"no connection", meaning{}},
	sftp.ConnectionLost:   {"connection lost", meaning{}},
	sftp.OpUnsupported:    {"operation unsupported", meaning{fault.Unsupported, fault.IDUnsupported}},
	9:                     {"invalid handle", meaning{}},
	10:                    {"no such path", meaning{fault.NotFound, fault.IDNotFound}},
	11:                    {"file already exists", meaning{fault.Exists, fault.IDExists}},
	12:                    {"write protected", meaning{fault.Denied, fault.IDPerm}},
	13:                    {"no media", meaning{}},
	14:                    {"no space on the file system", meaning{fault.NoSpace, fault.IDNoSpace}},
	15:                    {"quota exceeded", meaning{fault.OverQuota, fault.IDQuota}},
	16:                    {"unknown principal", meaning{}},
	17:                    {"lock conflict", meaning{fault.Busy, fault.IDInUse}},
	18:                    {"directory not empty", meaning{fault.NotEmpty, fault.IDNotEmpty}},
	19:                    {"not a directory", meaning{fault.NotDir, fault.IDNotDir}},
	20:                    {"invalid file name", meaning{fault.BadName, fault.IDBadName}},
	21:                    {"too many links", meaning{}},
	22:                    {"cannot delete", meaning{fault.Denied, fault.IDPerm}},
	23:                    {"invalid parameter", meaning{}},
	24:                    {"file is a directory", meaning{fault.IsDir, fault.IDIsDir}},
}

func codeName(c sftp.Code) string {
	if row, ok := codes[c]; ok {
		return row.name
	}
	return fmt.Sprintf("status %d", uint32(c))
}

// texts are what servers say beside a status that says little: the first that is
// found, in lower case. OpenSSH has one text a status; the others here are those
// of ProFTPD's mod_sftp (strerror), SFTPGo, and of servers on Windows.
var texts = []struct {
	has string
	meaning
}{
	{"no such file", meaning{fault.NotFound, fault.IDNotFound}},
	{"not exist", meaning{fault.NotFound, fault.IDNotFound}},
	{"n't exist", meaning{fault.NotFound, fault.IDNotFound}},
	{"not found", meaning{fault.NotFound, fault.IDNotFound}},
	{"quota", meaning{fault.OverQuota, fault.IDQuota}},
	{"space limit", meaning{fault.OverQuota, fault.IDQuota}}, // SFTPGo: "denying write due to space limit"
	{"no space", meaning{fault.NoSpace, fault.IDNoSpace}},
	{"not enough space", meaning{fault.NoSpace, fault.IDNoSpace}},
	{"insufficient space", meaning{fault.NoSpace, fault.IDNoSpace}},
	{"out of space", meaning{fault.NoSpace, fault.IDNoSpace}},
	{"not enough disk", meaning{fault.NoSpace, fault.IDNoSpace}},
	{"disk full", meaning{fault.NoSpace, fault.IDNoSpace}},
	{"disk is full", meaning{fault.NoSpace, fault.IDNoSpace}},
	{"system is full", meaning{fault.NoSpace, fault.IDNoSpace}},
	{"system full", meaning{fault.NoSpace, fault.IDNoSpace}},
	{"not empty", meaning{fault.NotEmpty, fault.IDNotEmpty}},
	{"already exist", meaning{fault.Exists, fault.IDExists}},
	{"file exists", meaning{fault.Exists, fault.IDExists}},
	{"not a directory", meaning{fault.NotDir, fault.IDNotDir}},
	{"is a directory", meaning{fault.IsDir, fault.IDIsDir}},
	{"is directory", meaning{fault.IsDir, fault.IDIsDir}},
	{"name too long", meaning{fault.BadName, fault.IDBadName}},
	{"permission denied", meaning{fault.Denied, fault.IDPerm}},
	{"access denied", meaning{fault.Denied, fault.IDPerm}},
	{"access is denied", meaning{fault.Denied, fault.IDPerm}},
	{"not permitted", meaning{fault.Denied, fault.IDPerm}},
	{"read-only", meaning{fault.Denied, fault.IDPerm}},
	{"text file busy", meaning{fault.Busy, fault.IDInUse}},
	{"resource busy", meaning{fault.Busy, fault.IDInUse}},
	{"being used", meaning{fault.Busy, fault.IDInUse}},
	{"sharing violation", meaning{fault.Busy, fault.IDInUse}},
	{"not supported", meaning{fault.Unsupported, fault.IDUnsupported}},
	{"unsupported", meaning{fault.Unsupported, fault.IDUnsupported}},
	{"not implemented", meaning{fault.Unsupported, fault.IDUnsupported}},
}

// told are the ids that a server of ours puts at the end of its words, with their
// kinds. Others in its place are no ids: a server can't say what only a client
// finds out.
var told = map[string]fault.Kind{
	string(fault.IDNotFound): fault.NotFound, string(fault.IDExists): fault.Exists, string(fault.IDPerm): fault.Denied,
	string(fault.IDReadOnly): fault.Denied, string(fault.IDNotDir): fault.NotDir, string(fault.IDIsDir): fault.IsDir,
	string(fault.IDNotEmpty): fault.NotEmpty, string(fault.IDNotRegular): fault.Denied, string(fault.IDUploadInWay): fault.NotEmpty,
	string(fault.IDAcrossMounts): fault.Denied, string(fault.IDFixedDir): fault.Denied, string(fault.IDBadName): fault.BadName,
	string(fault.IDQuota): fault.OverQuota, string(fault.IDNoSpace): fault.NoSpace, string(fault.IDInUse): fault.Busy,
	string(fault.IDUnknown): fault.Unsupported, string(fault.IDNotBuilt): fault.Unsupported, string(fault.IDUnsupported): fault.Unsupported,
	string(fault.IDOffset): fault.BadOffset, string(fault.IDRange): fault.BadOffset, string(fault.IDResume): fault.BadOffset,
	string(fault.IDBusy): fault.Busy, string(fault.IDTooLarge): fault.NoSpace, string(fault.IDPartly): fault.Denied,
	string(fault.IDStall): fault.Stalled, string(fault.IDShutdown): fault.Closing, string(fault.IDIdle): fault.Closing,
}

// ownID is the id at the end of a text, "" without one.
func ownID(text string) fault.ID {
	text = strings.TrimRight(text, " .\r\n")
	i := strings.LastIndexByte(text, '[')
	if i < 0 || !strings.HasSuffix(text, "]") {
		return ""
	}
	id := text[i+1 : len(text)-1]
	if _, ok := told[id]; !ok {
		return ""
	}
	return fault.ID(id)
}

// mean sorts a status.
func mean(code sftp.Code, text, path string) meaning {
	if id := ownID(text); id != "" {
		return meaning{told[string(id)], id}
	}
	if row, ok := codes[code]; ok && row.id != "" {
		return row.meaning
	}
	if path != "" { // a name says nothing
		text = strings.ReplaceAll(text, path, "")
	}
	text = strings.ToLower(text)
	for _, row := range texts {
		if strings.Contains(text, row.has) {
			return row.meaning
		}
	}
	return meaning{}
}

// refused is the error of a status that is not OK; path is what the request was
// about.
func (c *Client) refused(q *sftp.Request, path string, p *sftp.Reply) error {
	return c.refuse(wire(q), plain(q), path, p.Code, bounded(string(p.Text)))
}

func (c *Client) refuse(op, verb, path string, code sftp.Code, text string) error {
	said := &StatusError{Code: code, Text: text, Op: op, Path: path}
	m := mean(code, text, path)
	what := strings.TrimSpace(verb + " " + path)
	if m.id == "" {
		// Nobody knows why. It is no fault of the permissions, and who asks by kind gets
		// the one of a request that can't be had.
		return fault.Because(said, fault.Unsupported, fault.IDServerSaysNo, "to "+what)
	}
	return known(said, m.kind, m.id, map[string]any{"path": path, "what": what, "where": "on the server", "host": c.host})
}
