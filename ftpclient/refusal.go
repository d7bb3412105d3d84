package ftpclient

import (
	"slices"
	"strings"

	"dray/explain"
	"dray/fault"
	"dray/ftp"
)

// A ReplyError is a reply that says no, or one that nobody expected.
type ReplyError struct {
	Command string // as sent, with *** for what is secret
	Reply   ftp.Reply
}

func (e *ReplyError) Error() string { return e.Command + ": " + e.Reply.Said() }

// Said is what the server wrote, code and text in one line.
func (e *ReplyError) Said() string { return e.Reply.Said() }

// Facts are those of what a server of ours has said, as package explain names them;
// nil of any other.
func (e *ReplyError) Facts() []string {
	_, facts, _ := explain.Read(e.Reply.Text)
	return facts
}

func (c *Conn) replyError(cmd ftp.Command, r ftp.Reply) *ReplyError {
	return &ReplyError{Command: cmd.String(), Reply: r}
}

// A LostReply is in the chain of an error when all of an upload was sent and the
// reply that makes it true never came. Whether the file is there is to be asked
// over another connection, by ListName.
type LostReply struct{ Bytes int64 }

func (e *LostReply) Error() string {
	return "all was sent, and the server did not say whether it has it"
}

// A phrase is how servers say something.
type phrase struct {
	words []string
	kind  fault.Kind
	id    fault.ID
}

func says(text string, words ...string) bool {
	for _, w := range words {
		if strings.Contains(text, w) {
			return true
		}
	}
	return false
}

func text(r ftp.Reply) string { return strings.ToLower(strings.Join(r.All(), " ")) }

var (
	crowdWords = []string{"too many", "maximum number", "max number", "connection limit", "limit reached", "limit exceeded",
		"more than", "no more connections", "server is full", "maximum connections", "maximum login", "maximum allowed", "try again later"}
	banWords   = []string{"banned", "blacklist", "blocked", "too many failed", "too many login", "too many tries", "authentication failures"}
	tlsWords   = []string{"tls", "ssl", "encrypt", "secure connection", "cleartext", "clear text"}
	portWords  = []string{"vsf_sysutil_bind", "priv_sock", "data ports", "data port", "no free port", "no port", "passive port", "no available"}
	reuseWords = []string{"reuse", "resum"}
	peerWords  = []string{"bad ip connecting", "foreign ip", "does not match control connection", "mismatching address", "not same as control"}
)

// files is what replies about a file say, in the order in which they are looked
// for: the more exact first.
var files = []phrase{
	{[]string{"not empty", "isn't empty"}, fault.NotEmpty, fault.IDNotEmpty},
	{[]string{"not a directory", "isn't a directory", "not a folder"}, fault.NotDir, fault.IDNotDir},
	{[]string{"is a directory", "is a folder", "not a plain file", "not a regular file", "not a file", "i can only retrieve regular files", "regular files"}, fault.IsDir, fault.IDIsDir},
	{[]string{"no such", "not found", "does not exist", "doesn't exist", "not exist", "cannot find", "can't find", "could not find", "couldn't find", "can't check for file existence", "no existe", "nonexistent"}, fault.NotFound, fault.IDNotFound},
	{[]string{"quota", "storage allocation", "allocation exceeded"}, fault.OverQuota, fault.IDQuota},
	{[]string{"no space", "disk full", "disk is full", "not enough space", "insufficient storage", "insufficient disk", "out of space", "not enough disk"}, fault.NoSpace, fault.IDNoSpace},
	{[]string{"permission", "access is denied", "access denied", "not permitted", "not allowed", "forbidden", "privilege", "unauthorized", "not authorized", "read-only", "read only", "denied"}, fault.Denied, fault.IDPerm},
	{[]string{"exists", "already exist"}, fault.Exists, fault.IDExists},
	{[]string{"in use", "used by another", "locked", "busy"}, fault.Busy, fault.IDInUse},
	{[]string{"prohibited", "illegal", "invalid name", "invalid path", "invalid file", "bad name", "filename", "file name"}, fault.BadName, fault.IDBadName},
}

// listings are the commands that are about the working directory where they name none.
var listings = []string{"MLSD", "MLST", "LIST", "NLST"}

// bracketed are the ids that a server of ours says at the end of a reply and that
// are as true here. Those that only a client can find out are not among them.
var bracketed = map[fault.ID]fault.Kind{
	fault.IDNotFound: fault.NotFound, fault.IDExists: fault.Exists, fault.IDPerm: fault.Denied, fault.IDReadOnly: fault.Denied,
	fault.IDNotDir: fault.NotDir, fault.IDIsDir: fault.IsDir, fault.IDNotEmpty: fault.NotEmpty, fault.IDNotRegular: fault.IsDir,
	fault.IDUploadInWay: fault.NotEmpty, fault.IDAcrossMounts: fault.Denied, fault.IDFixedDir: fault.Denied,
	fault.IDBadName: fault.BadName, fault.IDQuota: fault.OverQuota, fault.IDNoSpace: fault.NoSpace, fault.IDInUse: fault.Busy,
	fault.IDTooLarge: fault.NoSpace, fault.IDUnsupported: fault.Unsupported, fault.IDNotBuilt: fault.NotBuilt,
	fault.IDLogin: fault.NotLoggedIn, fault.IDAuth: fault.NotLoggedIn, fault.IDAccountOff: fault.NotLoggedIn, fault.IDProtocol: fault.NotLoggedIn,
	fault.IDHome: fault.NotLoggedIn, fault.IDNetwork: fault.NotLoggedIn, fault.IDTLSRequired: fault.NeedTLS, fault.IDProtRequired: fault.NeedProt,
	fault.IDPool: fault.NoData, fault.IDNoDataPort: fault.NoData, fault.IDActiveBlock: fault.NoData, fault.IDTLSReuse: fault.NoData, fault.IDTLSData: fault.NoData,
	fault.IDImplicitTLS: fault.Unreachable, fault.IDOffset: fault.BadOffset, fault.IDResume: fault.BadOffset, fault.IDPartly: fault.Internal,
	fault.IDBusy: fault.Closing, fault.IDBanned: fault.Closing, fault.IDTries: fault.Closing, fault.IDLoginTime: fault.Closing, fault.IDShutdown: fault.Closing, fault.IDIdle: fault.Closing,
}

// idOf is the id in brackets at the end of a reply.
func idOf(r ftp.Reply) (fault.ID, bool) {
	all := r.All()
	last := strings.TrimSpace(all[len(all)-1])
	if r.Body != nil && r.Last == "" {
		last = strings.TrimSpace(all[0])
	}
	if !strings.HasSuffix(last, "]") {
		return "", false
	}
	i := strings.LastIndexByte(last, '[')
	if i < 0 {
		return "", false
	}
	id := fault.ID(last[i+1 : len(last)-1])
	_, ok := bracketed[id]
	return id, ok
}

// named is the refusal whose id stands in the reply, with the facts that its line
// has here.
func (c *Conn) named(id fault.ID, path string, err error) *fault.Error {
	e := fault.Because(err, bracketed[id], id)
	switch id {
	case fault.IDAuth:
		e.Facts = []any{c.host, c.opt.User}
	case fault.IDAccountOff, fault.IDLogin, fault.IDTLSRequired, fault.IDTLSData, fault.IDBusy, fault.IDBanned:
		e.Facts = []any{c.host}
	case fault.IDNoSpace:
		e.Facts = []any{path, "on the server"}
	case fault.IDImplicitTLS:
		e.Facts = []any{c.host, c.port}
	case fault.IDActiveBlock:
		e.Facts = []any{seconds(c.opt.DataWait)}
	case fault.IDNotFound, fault.IDExists, fault.IDPerm, fault.IDNotDir, fault.IDIsDir, fault.IDNotEmpty, fault.IDNotRegular, fault.IDBadName, fault.IDQuota, fault.IDInUse, fault.IDReadOnly:
		if path != "" {
			e.Facts = []any{path}
		}
	}
	return e
}

// closing is what a 421 means.
func (c *Conn) closing(r ftp.Reply) error {
	err := &ReplyError{Command: "(nothing)", Reply: r}
	switch id, ok := idOf(r); {
	case ok && bracketed[id] == fault.Closing && id != fault.IDIdle && id != fault.IDShutdown:
		return c.named(id, "", err)
	case says(text(r), banWords...):
		return fault.Because(err, fault.Closing, fault.IDBanned, c.host)
	case says(text(r), crowdWords...):
		return fault.Because(err, fault.Closing, fault.IDBusy, c.host)
	}
	return fault.Because(err, fault.Closing, fault.IDLost, c.host)
}

// turnedAway is a refusal before the login.
func (c *Conn) turnedAway(r ftp.Reply) error {
	err := &ReplyError{Command: "(the greeting)", Reply: r}
	switch id, ok := idOf(r); {
	case ok && (bracketed[id] == fault.Closing || bracketed[id] == fault.Unreachable):
		if id == fault.IDBusy {
			c.opt.Memory.full()
		}
		return c.named(id, "", err)
	case says(text(r), banWords...):
		return fault.Because(err, fault.Closing, fault.IDBanned, c.host)
	case r.Code == ftp.C421Closing || says(text(r), crowdWords...):
		c.opt.Memory.full()
	}
	return fault.Because(err, fault.Closing, fault.IDBusy, c.host)
}

// rejected is a refusal of USER, PASS or ACCT.
func (c *Conn) rejected(step ftp.Command, r ftp.Reply) error {
	err := c.replyError(step, r)
	said := text(r)
	if id, ok := idOf(r); ok {
		if bracketed[id] == fault.Closing {
			c.opt.Memory.full()
		}
		return c.named(id, "", err)
	}
	_, secure := c.TLS()
	switch {
	case says(said, banWords...):
		return fault.Because(err, fault.Closing, fault.IDBanned, c.host)
	// Pure-FTPd wants TLS with 421, as servers that are full.
	case !secure && (says(said, tlsWords...) || r.Code == ftp.C431NoTLS || r.Code == ftp.C521NeedProt || r.Code == ftp.C534NoClear || r.Code == ftp.C533):
		return fault.Because(err, fault.NeedTLS, fault.IDTLSRequired, c.host)
	case says(said, crowdWords...), r.Code == ftp.C421Closing:
		c.opt.Memory.full()
		return fault.Because(err, fault.Closing, fault.IDBusy, c.host)
	case says(said, "disabled", "expired", "account is locked", "account locked"):
		return fault.Because(err, fault.NotLoggedIn, fault.IDAccountOff, c.host)
	case r.Code >= 100 && r.Code < 300, r.Code == 500, r.Code == 502:
		return fault.Because(err, fault.Unreachable, fault.IDServerSaysNo, step.Verb)
	}
	return fault.Because(err, fault.NotLoggedIn, fault.IDAuth, c.host, c.opt.User)
}

// refused is a refusal of a command about path after the login.
//
// An id of ours at the end of the reply wins, then the code where it has one
// meaning, then the words that servers use.
func (c *Conn) refused(cmd ftp.Command, r ftp.Reply, path string) error {
	if path == "" && slices.Contains(listings, cmd.Verb) {
		path = "." // the directory of the login
	}
	err := c.replyError(cmd, r)
	if id, ok := idOf(r); ok {
		return c.named(id, path, err)
	}
	said := text(r)
	switch {
	case says(said, peerWords...):
		return fault.Because(err, fault.NoData, fault.IDDataPeer)
	case r.Code == ftp.C421Closing:
		return c.closing(r)
	case r.Code == ftp.C530NotLoggedIn && says(said, crowdWords...):
		return fault.Because(err, fault.Closing, fault.IDBusy, c.host)
	case r.Code == ftp.C522DataTLS, r.Code == ftp.C521NeedProt, r.Code == ftp.C425NoData:
		return c.noData(err, r)
	case r.Code == ftp.C530NotLoggedIn:
		return fault.Because(err, fault.NotLoggedIn, fault.IDLogin, c.host)
	case r.Code == 500 && says(said, "oops") && says(said, portWords...):
		return fault.Because(err, fault.NoData, fault.IDPool)
	case r.Code == ftp.C552OverQuota:
		if says(said, "no space", "disk full", "disk is full") {
			return fault.Because(err, fault.NoSpace, fault.IDNoSpace, path, "on the server")
		}
		return fault.Because(err, fault.OverQuota, fault.IDQuota, path)
	case r.Code == ftp.C452NoSpace && !says(said, "quota"), r.Code == ftp.C451Local && says(said, "failure writing to local file"): // vsftpd never says why
		return fault.Because(err, fault.NoSpace, fault.IDNoSpace, path, "on the server")
	case r.Code == ftp.C426Cut:
		return fault.Because(err, fault.Cut, fault.IDServerSaysNo, cmd.String())
	case r.Code == ftp.C500Unknown, r.Code == ftp.C502NotBuilt, r.Code == ftp.C504Parameter, r.Code == 202:
		return fault.Because(err, fault.Unsupported, fault.IDUnsupported, cmd.Verb)
	case r.Code == ftp.C554BadOffset:
		return fault.Because(err, fault.BadOffset, fault.IDServerSaysNo, cmd.String())
	}
	for _, p := range files {
		if path == "" || !says(said, p.words...) {
			continue
		}
		if p.id == fault.IDNoSpace {
			return fault.Because(err, p.kind, p.id, path, "on the server")
		}
		return fault.Because(err, p.kind, p.id, path)
	}
	if r.Code == ftp.C553BadName && says(said, "could not create") {
		return fault.Because(err, fault.Denied, fault.IDPerm, path)
	}
	if r.Code == ftp.C450Busy {
		return fault.Because(err, fault.Busy, fault.IDServerSaysNo, cmd.String())
	}
	return fault.Because(err, fault.Denied, fault.IDServerSaysNo, cmd.String())
}

// noData is a refusal that is about the data connection.
func (c *Conn) noData(err error, r ftp.Reply) error {
	said := text(r)
	switch {
	case says(said, reuseWords...), c.prot && says(said, "operation not permitted"): // the second is ProFTPD's
		return fault.Because(err, fault.NoData, fault.IDTLSReuse)
	case r.Code == ftp.C521NeedProt:
		return fault.Because(err, fault.NeedTLS, fault.IDTLSRequired, c.host)
	case r.Code == ftp.C522DataTLS, c.prot && says(said, "tls", "ssl", "handshake"):
		return fault.Because(err, fault.NoData, fault.IDTLSData, c.host)
	case says(said, portWords...):
		return fault.Because(err, fault.NoData, fault.IDPool)
	case c.opt.Active:
		return fault.Because(err, fault.NoData, fault.IDActiveBlock, seconds(c.opt.DataWait))
	}
	return fault.Because(err, fault.NoData, fault.IDNoDataPort)
}
