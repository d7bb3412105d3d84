package ftpserver

import (
	"context"
	"slices"
	"strings"

	"dray/account"
	"dray/fault"
	"dray/ftp"
)

// An argRule says what may stand behind a verb.
type argRule int

const (
	argNone     argRule = iota
	argOptional         // anything or nothing
	argRequired
	argPath // a path, required; everything after one space belongs to it
)

// Traits of a row.
type trait int

const (
	opensData    trait = 1 << iota // needs a data connection
	changesTree                    // refused where the tree is read-only
	keepsPending                   // REST, ALLO and RNFR outlive it
	holdsNoName                    // its argument has no name in it, so blanks at its ends mean nothing
)

// A command is one row of the table: everything about a verb that is not its
// code. FEAT, HELP, the reference page, the tests over all rows and the fuzz
// seeds come from it.
type command struct {
	verb  string
	arg   argRule
	phase phase
	also  trait
	run   func(*conn, context.Context, string) (ftp.Reply, error)
	feat  func(*conn) string // its line of FEAT, "" when there is none now
	needs account.Rights     // FEAT has it after the login only for who has these somewhere
	by    string             // the word of Rules.Allow that switches it on; "": it always is
	usage string             // the argument as the reference writes it
	help  string
	rfc   string
}

// form is how the command is written.
func (row *command) form() string {
	if row.usage == "" {
		return row.verb
	}
	return row.verb + " " + row.usage
}

// takes tells whether the rule of the row lets arg be its argument.
func (row *command) takes(arg string) bool {
	switch row.arg {
	case argNone:
		return arg == ""
	case argRequired, argPath:
		return arg != ""
	}
	return true
}

// plain tells whether blanks at the ends of the argument mean nothing.
func (row *command) plain() bool { return row.arg == argNone || row.also&holdsNoName != 0 }

// form is row.form with what is switched on.
func (c *conn) form(row *command) string {
	if row.verb != "OPTS" {
		return row.form()
	}
	options := slices.DeleteFunc(strings.Split(row.usage, " | "), func(option string) bool {
		verb, _, _ := strings.Cut(option, " ")
		of := c.server.rows[verb]
		return of != nil && c.off(of, verb) || verb == "MODE" && c.deniesZ()
	})
	return row.verb + " " + strings.Join(options, " | ")
}

func always(s string) func(*conn) string { return func(*conn) string { return s } }

// withTLS is a feature that only exists where TLS does.
func withTLS(s string) func(*conn) string {
	return func(c *conn) string {
		if c.rules.TLS == nil {
			return ""
		}
		return s
	}
}

// underTLS is a feature that ends with TLS: CCC leaves no way back.
func underTLS(s string) func(*conn) string {
	return func(c *conn) string {
		if c.rules.TLS == nil || c.cleared {
			return ""
		}
		return s
	}
}

func commands() []command { // a function: FEAT and HELP read the table they stand in
	return slices.Concat(baseCommands(), factCommands(), sumCommands(), copyCommands(), fxpCommands(), cccCommands())
}

func baseCommands() []command {
	return []command{
		{verb: "USER", arg: argRequired, run: (*conn).userCmd, usage: "name", help: "log in as", rfc: "RFC 959, 4.1.1"},
		{verb: "PASS", arg: argOptional, phase: phaseNamed, run: (*conn).pass, usage: "password", help: "the password", rfc: "RFC 959, 4.1.1"},
		{verb: "ACCT", arg: argRequired, phase: phaseNamed, run: (*conn).acct, usage: "text", help: "not needed here", rfc: "RFC 959, 4.1.1"},
		{verb: "AUTH", arg: argRequired, also: holdsNoName, run: (*conn).auth, feat: authFeat, usage: "TLS", help: "start TLS", rfc: "RFC 4217, 4"},
		{verb: "PBSZ", arg: argRequired, also: keepsPending | holdsNoName, run: (*conn).pbszCmd, feat: underTLS("PBSZ"), usage: "0", help: "protection buffer size", rfc: "RFC 4217, 9"},
		{verb: "PROT", arg: argRequired, also: keepsPending | holdsNoName, run: (*conn).protCmd, feat: underTLS("PROT"), usage: "P", help: "encrypt data connections", rfc: "RFC 4217, 9"},
		{verb: "HOST", arg: argRequired, also: holdsNoName, run: (*conn).host, feat: hostFeat, usage: "name", help: "choose the certificate of a name", rfc: "RFC 7151, 3"},
		{verb: "FEAT", arg: argNone, also: keepsPending, run: (*conn).featCmd, help: "list extensions", rfc: "RFC 2389, 3"},
		{verb: "OPTS", arg: argRequired, also: keepsPending | holdsNoName, run: (*conn).opts, usage: "UTF8 ON | MLST facts | HASH algorithm | MODE Z LEVEL n", help: "options of commands", rfc: "RFC 2389, 4"},
		{verb: "CLNT", arg: argRequired, also: keepsPending | holdsNoName, run: (*conn).clnt, feat: always("CLNT"), usage: "name", help: "the client's name, for the log", rfc: "no RFC"},
		{verb: "SYST", arg: argNone, also: keepsPending, run: (*conn).syst, help: "the form of listings", rfc: "RFC 959, 4.1.3"},
		{verb: "HELP", arg: argOptional, also: keepsPending | holdsNoName, run: (*conn).helpCmd, usage: "[command]", help: "list commands", rfc: "RFC 959, 4.1.3"},
		{verb: "NOOP", arg: argOptional, also: keepsPending | holdsNoName, run: (*conn).noop, help: "keep the connection", rfc: "RFC 959, 4.1.3"},
		{verb: "QUIT", arg: argOptional, also: holdsNoName, run: (*conn).quitCmd, help: "log out and end", rfc: "RFC 959, 4.1.1"},
		{verb: "REIN", arg: argNone, run: (*conn).rein, help: "log out, keep the connection", rfc: "RFC 959, 4.1.1"},
		{verb: "STAT", arg: argOptional, also: keepsPending, run: (*conn).stat, usage: "[path]", help: "status, or a listing over this connection", rfc: "RFC 959, 4.1.3"},
		{verb: "ABOR", arg: argOptional, also: holdsNoName, run: (*conn).abor, help: "end the running transfer", rfc: "RFC 959, 4.1.3"},

		{verb: "PWD", arg: argNone, phase: phaseIn, run: (*conn).pwd, help: "name the current directory", rfc: "RFC 959, 4.1.3"},
		{verb: "XPWD", arg: argNone, phase: phaseIn, run: (*conn).pwd, help: "PWD", rfc: "RFC 775"},
		{verb: "CWD", arg: argPath, phase: phaseIn, run: (*conn).cwdCmd, usage: "path", help: "change directory", rfc: "RFC 959, 4.1.1"},
		{verb: "XCWD", arg: argPath, phase: phaseIn, run: (*conn).cwdCmd, usage: "path", help: "CWD", rfc: "RFC 775"},
		{verb: "CDUP", arg: argNone, phase: phaseIn, run: (*conn).cdup, help: "change to the directory above", rfc: "RFC 959, 4.1.1"},
		{verb: "XCUP", arg: argNone, phase: phaseIn, run: (*conn).cdup, help: "CDUP", rfc: "RFC 775"},
		{verb: "MKD", arg: argPath, phase: phaseIn, also: changesTree, run: (*conn).mkd, usage: "path", help: "make a directory", rfc: "RFC 959, 4.1.3"},
		{verb: "XMKD", arg: argPath, phase: phaseIn, also: changesTree, run: (*conn).mkd, usage: "path", help: "MKD", rfc: "RFC 775"},
		{verb: "RMD", arg: argPath, phase: phaseIn, also: changesTree, run: (*conn).rmd, usage: "path", help: "remove an empty directory", rfc: "RFC 959, 4.1.3"},
		{verb: "XRMD", arg: argPath, phase: phaseIn, also: changesTree, run: (*conn).rmd, usage: "path", help: "RMD", rfc: "RFC 775"},
		{verb: "DELE", arg: argPath, phase: phaseIn, also: changesTree, run: (*conn).dele, usage: "path", help: "delete a file", rfc: "RFC 959, 4.1.3"},
		{verb: "RNFR", arg: argPath, phase: phaseIn, also: changesTree | keepsPending, run: (*conn).rnfr, usage: "path", help: "rename this", rfc: "RFC 959, 4.1.3"},
		{verb: "RNTO", arg: argPath, phase: phaseIn, also: changesTree, run: (*conn).rnto, usage: "path", help: "to that", rfc: "RFC 959, 4.1.3"},

		{verb: "TYPE", arg: argRequired, phase: phaseIn, also: keepsPending | holdsNoName, run: (*conn).typeCmd, usage: "A | I | L 8", help: "text or binary", rfc: "RFC 959, 3.1.1"},
		{verb: "STRU", arg: argRequired, phase: phaseIn, also: keepsPending | holdsNoName, run: (*conn).stru, usage: "F", help: "file structure", rfc: "RFC 959, 3.1.2"},
		{verb: "MODE", arg: argRequired, phase: phaseIn, also: keepsPending | holdsNoName, run: (*conn).mode, feat: modeFeat, usage: "S | Z", help: "plain or compressed data", rfc: "RFC 959, 3.4"},
		{verb: "PASV", arg: argNone, phase: phaseIn, also: keepsPending, run: (*conn).pasv, feat: always("PASV"), help: "offer a data port, IPv4", rfc: "RFC 959, 4.1.2"},
		{verb: "EPSV", arg: argOptional, phase: phaseIn, also: keepsPending | holdsNoName, run: (*conn).epsv, feat: always("EPSV"), usage: "[1 | 2 | ALL | NEXT]", help: "offer a data port", rfc: "RFC 2428, 3"},
		{verb: "PORT", arg: argRequired, phase: phaseIn, also: keepsPending | holdsNoName, run: (*conn).port, usage: "h1,h2,h3,h4,p1,p2", help: "connect to the client, IPv4", rfc: "RFC 959, 4.1.2"},
		{verb: "EPRT", arg: argRequired, phase: phaseIn, also: keepsPending | holdsNoName, run: (*conn).eprt, feat: eprtFeat, usage: "|1 or 2|address|port|", help: "connect to the client", rfc: "RFC 2428, 2"},

		{verb: "LIST", arg: argOptional, phase: phaseIn, also: opensData, run: (*conn).list, usage: "[-aR] [path]", help: "list as ls -l", rfc: "RFC 959, 4.1.3"},
		{verb: "NLST", arg: argOptional, phase: phaseIn, also: opensData, run: (*conn).nlst, usage: "[path]", help: "list names", rfc: "RFC 959, 4.1.3"},
		{verb: "MLSD", arg: argOptional, phase: phaseIn, also: opensData, run: (*conn).mlsd, usage: "[path]", help: "list facts", rfc: "RFC 3659, 7"},
		{verb: "MLST", arg: argOptional, phase: phaseIn, also: keepsPending, run: (*conn).mlst, feat: mlstFeat, usage: "[path]", help: "facts of one file", rfc: "RFC 3659, 7"},
		{verb: "SIZE", arg: argPath, phase: phaseIn, also: keepsPending, run: (*conn).size, feat: always("SIZE"), usage: "path", help: "size in bytes", rfc: "RFC 3659, 4"},
		{verb: "MDTM", arg: argPath, phase: phaseIn, also: keepsPending, run: (*conn).mdtm, feat: always("MDTM"), usage: "path", help: "modification time", rfc: "RFC 3659, 3"},
		{verb: "MFMT", arg: argRequired, phase: phaseIn, also: changesTree, run: (*conn).mfmt, feat: always("MFMT"), needs: account.Attributes, usage: "YYYYMMDDhhmmss path", help: "set the modification time", rfc: "draft-somers-ftp-mfxx"},

		{verb: "REST", arg: argRequired, phase: phaseIn, also: keepsPending | holdsNoName, run: (*conn).rest, feat: always("REST STREAM"), usage: "offset", help: "start the next transfer at this byte", rfc: "RFC 3659, 5"},
		{verb: "RETR", arg: argPath, phase: phaseIn, also: opensData, run: (*conn).retr, usage: "path", help: "download", rfc: "RFC 959, 4.1.3"},
		{verb: "STOR", arg: argPath, phase: phaseIn, also: opensData | changesTree, run: (*conn).stor, usage: "path", help: "upload, replacing", rfc: "RFC 959, 4.1.3"},
		{verb: "STOU", arg: argOptional, phase: phaseIn, also: opensData | changesTree, run: (*conn).stou, usage: "[path]", help: "upload under a new name", rfc: "RFC 1123, 4.1.2.9"},
		{verb: "APPE", arg: argPath, phase: phaseIn, also: opensData | changesTree, run: (*conn).appe, usage: "path", help: "upload to the end", rfc: "RFC 959, 4.1.3"},
		{verb: "ALLO", arg: argRequired, phase: phaseIn, also: keepsPending | holdsNoName, run: (*conn).allo, usage: "size", help: "announce a size", rfc: "RFC 959, 4.1.3"},
		{verb: "SITE", arg: argRequired, phase: phaseIn, run: (*conn).site, usage: "command", help: "commands of this server, see SITE HELP", rfc: "RFC 959, 4.1.3"},
	}
}

// Commands are the names of all commands, for lists of those to refuse: "STOR",
// "SITE CHMOD", "MODE Z".
func Commands() []string {
	names := []string{"MODE Z"}
	for _, row := range commands() {
		names = append(names, row.verb)
	}
	for _, row := range siteCommands() {
		names = append(names, "SITE "+row.verb)
	}
	slices.Sort(names)
	return names
}

// siteCommands are the sub-commands of SITE, rows of the same kind.
func siteCommands() []command {
	return slices.Concat(baseSite(), factSite(), copySite())
}

func baseSite() []command {
	return []command{
		{verb: "CHMOD", arg: argRequired, phase: phaseIn, also: changesTree, run: (*conn).chmod, usage: "mode path", help: "set permission bits", rfc: "no RFC"},
		{verb: "HELP", arg: argOptional, phase: phaseIn, also: holdsNoName, run: (*conn).siteHelp, usage: "[command]", help: "list these", rfc: "RFC 959, 4.1.3"},
	}
}

// neverBuilt are commands that exist elsewhere and will not exist here, with the
// reason that the 502 gives.
var neverBuilt = map[string]string{
	"MAIL": mailGone, "MLFL": mailGone, "MSND": mailGone, "MSOM": mailGone, "MSAM": mailGone,
	"MRSQ": mailGone, "MRCP": mailGone, "XRSQ": mailGone, "XSEM": mailGone, "XSEN": mailGone, "XRCP": mailGone,
	"LPRT": "EPRT has taken its place", "LPSV": "EPSV has taken its place",
	"SPSV": "EPSV has taken its place", "P@SW": "EPSV and TLS do what it was for",
	"ESTA": "only one other server ever had it", "ESTP": "only one other server ever had it",
	"THMB": "this server does not draw", "SMNT": "there are no other file systems to mount",
	"SITE EXEC": "no program is run for a client", "SITE PSWD": "passwords are the administrator's",
	"SITE GROUPS": aboutUsers, "SITE WHO": aboutUsers, "SITE QUOTA": aboutUsers, "SITE MSG": aboutUsers,
	"SITE CHGRP": "files keep the group that they have", "SITE ZONE": "all times are UTC", "SITE CKSM": noSums, "SITE MD5": noSums,
	"ADAT": onlyTLS, "MIC": onlyTLS, "CONF": onlyTLS, "ENC": onlyTLS,
}

const (
	mailGone = "the mail commands have a protocol of their own"
	onlyTLS  = "the one security mechanism is TLS"

	aboutUsers = "users and their groups are nobody's business here"
	noSums     = "it has no common form"
)

func eprtFeat(c *conn) string {
	if c.rules.NoActive {
		return ""
	}
	return "EPRT"
}

func authFeat(c *conn) string {
	if c.rules.TLS == nil || c.rules.Implicit || c.cleared {
		return ""
	}
	return "AUTH TLS"
}

func hostFeat(c *conn) string {
	if c.rules.Host == nil || c.cleared {
		return ""
	}
	return "HOST"
}

func mlstFeat(c *conn) string { return "MLST " + ftp.FeatFacts(c.facts) }

func (c *conn) featCmd(context.Context, string) (ftp.Reply, error) {
	r := ftp.Reply{Code: ftp.C211Features, Text: "Extensions:", Last: "End"}
	held := account.All // before the login nobody knows
	if c.session != nil {
		a := c.session.Account()
		held = a.AnyRights()
	}
	add := func(rows []command, prefix string) {
		for i := range rows {
			row := &rows[i]
			if row.feat == nil || !held.Has(row.needs) || c.off(row, prefix+row.verb) {
				continue
			}
			if line := row.feat(c); line != "" {
				r.Body = append(r.Body, line)
			}
		}
	}
	add(c.server.table, "")
	add(c.server.site, "SITE ")
	r.Body = append(r.Body, "TVFS", "UTF8") // RFC 3659, 6; RFC 2640
	slices.Sort(r.Body)
	return r, nil
}

func (c *conn) helpCmd(ctx context.Context, arg string) (ftp.Reply, error) {
	name, rest, _ := strings.Cut(strings.ToUpper(strings.TrimSpace(arg)), " ")
	switch {
	case name == "":
		return c.helpTable("Commands:", "", c.server.table), nil
	case name == "SITE":
		return c.siteHelp(ctx, rest)
	}
	if row := c.server.rows[name]; row != nil {
		return c.helpOf(c.form(row), row, row.verb), nil
	}
	if why, ok := neverBuilt[name]; ok {
		return helpOfNone(name, why), nil
	}
	return c.siteHelp(ctx, name) // asked for without SITE
}

func (c *conn) siteHelp(_ context.Context, arg string) (ftp.Reply, error) {
	name, _, _ := strings.Cut(strings.ToUpper(strings.TrimSpace(arg)), " ")
	if name == "" {
		return c.helpTable("Commands behind SITE:", "SITE ", c.server.site), nil
	}
	if row := c.server.siteRow(name); row != nil {
		return c.helpOf("SITE "+row.form(), row, "SITE "+row.verb), nil
	}
	if why, ok := neverBuilt["SITE "+name]; ok {
		return helpOfNone("SITE "+name, why), nil
	}
	return ftp.Reply{}, fault.New(fault.Unknown, fault.IDUnknown)
}

// helpOf is the help of one command.
func (c *conn) helpOf(form string, row *command, name string) ftp.Reply {
	if c.off(row, name) {
		return ftp.Replyf(ftp.C214Help, "%s: %s (%s). It is switched off here.", form, row.help, row.rfc)
	}
	return ftp.Replyf(ftp.C214Help, "%s: %s (%s).", form, row.help, row.rfc)
}

// helpOfNone is that of a command which will not exist here.
func helpOfNone(name, why string) ftp.Reply {
	return ftp.Replyf(ftp.C214Help, "%s is not offered here: %s.", name, why)
}

// helpTable lists the commands that are on.
func (c *conn) helpTable(title, prefix string, rows []command) ftp.Reply {
	rows = slices.DeleteFunc(slices.Clone(rows), func(row command) bool { return c.off(&row, prefix+row.verb) })
	r := ftp.Reply{Code: ftp.C214Help, Text: title, Last: "HELP command says more."}
	var line strings.Builder
	for i, row := range rows {
		line.WriteString(row.verb + strings.Repeat(" ", max(1, 6-len(row.verb))))
		if i%8 == 7 || i == len(rows)-1 {
			r.Body = append(r.Body, strings.TrimRight(line.String(), " "))
			line.Reset()
		}
	}
	return r
}

func (c *conn) site(ctx context.Context, arg string) (ftp.Reply, error) {
	name, rest, _ := strings.Cut(arg, " ")
	name = strings.ToUpper(name)
	row := c.server.siteRow(name)
	if row == nil {
		if why, ok := neverBuilt["SITE "+name]; ok {
			return ftp.Reply{}, fault.New(fault.NotBuilt, fault.IDNotBuilt, why)
		}
		return ftp.Reply{}, fault.New(fault.Unsupported, fault.IDUnsupported, "the commands that SITE HELP lists")
	}
	if row.plain() {
		rest = strings.Trim(rest, " ")
	}
	switch {
	case c.off(row, "SITE "+name):
		return ftp.Reply{}, fault.New(fault.NotBuilt, fault.IDNotBuilt, switchedOff)
	case !row.takes(rest):
		return ftp.Reply{}, fault.New(fault.Syntax, fault.IDSyntax, "SITE "+row.form())
	}
	return row.run(c, ctx, rest)
}

const switchedOff = "it is switched off here"

// off tells whether the listener's rules switch a command off, by name. Who
// refuses a command means its other names too.
func (c *conn) off(row *command, name string) bool {
	return row.by != "" && !slices.Contains(c.rules.Allow, row.by) || slices.Contains(c.rules.Deny, name) ||
		aliases[name] != "" && slices.Contains(c.rules.Deny, aliases[name])
}

// aliases are other names of commands.
var aliases = map[string]string{
	"XCWD": "CWD", "XCUP": "CDUP", "XPWD": "PWD", "XMKD": "MKD", "SITE MKDIR": "MKD", "XRMD": "RMD", "SITE RMDIR": "RMD", "RMDA": "RMD",
	"XSHA": "XSHA1", "SITE UTIME": "MFMT", "SITE COPY": "SITE CPTO",
}
