package ftpclient

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"dray/fault"
	"dray/ftp"
)

// serverKind is a server that is known by its words, because it takes something
// that not all take or writes something in its own way.
type serverKind int

const (
	kindOther serverKind = iota
	kindDray
	kindVsftpd
	kindProFTPD
	kindPureFTPd
	kindPyftpdlib
	kindFileZilla
	kindIIS
)

// kinds are the words by which greetings give a server away.
var kinds = []struct {
	word string
	kind serverKind
}{
	{"dray", kindDray}, {"vsftpd", kindVsftpd}, {"proftpd", kindProFTPD}, {"pure-ftpd", kindPureFTPd},
	{"pyftpdlib", kindPyftpdlib}, {"filezilla server", kindFileZilla}, {"microsoft ftp", kindIIS},
}

func kindOf(greeting ftp.Reply) serverKind {
	text := strings.ToLower(strings.Join(greeting.All(), "\n"))
	for _, k := range kinds {
		if strings.Contains(text, k.word) {
			return k.kind
		}
	}
	return kindOther
}

// together tells whether commands may be sent before the reply to the last one.
func (c *Conn) together() bool {
	switch c.kind {
	case kindDray, kindVsftpd, kindProFTPD, kindPureFTPd:
		return !c.opt.OneByOne && !c.opt.Memory.isSet(&c.opt.Memory.serial)
	}
	return false
}

// begin is all from the open connection to the login, and without it.
func (c *Conn) begin(ctx context.Context) error {
	if c.opt.Mode == TLSImplicit {
		if err := c.handshake(ctx); err != nil {
			return c.notTLS(err)
		}
	}
	c.rd = ftp.NewReplyReader(c.nc)
	go c.read()
	if err := c.greeting(ctx); err != nil {
		return err
	}
	if c.opt.Greeted != nil {
		c.opt.Greeted(ctx, c)
		if err := c.lost(); err != nil {
			return err
		}
	}
	if c.opt.Mode == TLSPrefer || c.opt.Mode == TLSRequire {
		return c.auth(ctx)
	}
	return nil
}

// handshake does that of the control connection.
func (c *Conn) handshake(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, c.opt.Handshake, errSlow)
	defer cancel()
	_ = c.raw.SetWriteDeadline(time.Time{}) // that of AUTH: somebody may be asked meanwhile
	c.under = &under{Conn: c.raw}
	t := tls.Client(c.under, c.tls)
	if err := t.HandshakeContext(ctx); err != nil {
		return err
	}
	c.nc = t
	c.opt.Trace.tls(StepControl, t.ConnectionState())
	return nil
}

// notTLS sorts the failure of a handshake on the control connection. What the
// verification said comes as it is.
func (c *Conn) notTLS(err error) error {
	port, _ := strconv.Atoi(c.port)
	var record tls.RecordHeaderError
	if errors.As(err, &record) {
		switch head, implicit := string(record.RecordHeader[:]), c.opt.Mode == TLSImplicit; {
		case !implicit && strings.IndexFunc(head, func(r rune) bool { return r < ' ' || r > '~' }) < 0: // it has agreed to TLS
			return c.cleared(record, err)
		case !implicit:
		case strings.HasPrefix(head, "SSH-"):
			return fault.Because(err, fault.Unreachable, fault.IDWrongProto, c.host, "SSH", port, "FTPS")
		case strings.HasPrefix(head, "220"), strings.HasPrefix(head, "120"):
			return fault.Because(err, fault.Unreachable, fault.IDWrongProto, c.host, "FTP", port, "implicit FTPS")
		case strings.HasPrefix(head, "421"):
			return fault.Because(err, fault.Closing, fault.IDBusy, c.host)
		case strings.HasPrefix(head, "HTTP/"):
			return fault.Because(err, fault.Unreachable, fault.IDWrongProto, c.host, "HTTP", port, "FTPS")
		}
	}
	return c.untrusted(err, fault.IDTLSFailed)
}

// untrusted is a handshake that failed: what the verification said as it is, else
// id with the cause.
func (c *Conn) untrusted(err error, id fault.ID) error {
	no := distrusted(err)
	switch {
	case no != nil:
		return no
	case errors.Is(err, errSlow), errors.Is(err, context.DeadlineExceeded):
		return fault.Because(err, fault.Stalled, fault.IDNoAnswer, c.host, seconds(c.opt.Timeout))
	case errors.Is(err, context.Canceled):
		return err
	case noVersion(err):
		return fault.Because(err, fault.Untrusted, fault.IDTLSVersion, c.host)
	}
	return fault.Because(err, fault.Untrusted, id, c.host)
}

// noVersion tells whether a handshake failed because no version of TLS is known to
// both sides (RFC 8446, 4.2.1 and 6.2; RFC 5246, E.1).
func noVersion(err error) bool {
	const protocolVersion = 70
	var alert tls.AlertError
	return errors.As(err, &alert) && alert == protocolVersion || strings.Contains(err.Error(), "tls: protocol version not supported") ||
		strings.Contains(err.Error(), "tls: server selected unsupported protocol version")
}

// greeting hears the server out, and looks at what it is if it is no FTP server.
func (c *Conn) greeting(ctx context.Context) error {
	port, _ := strconv.Atoi(c.port)
	probing, cancel := context.WithCancel(ctx)
	defer cancel()
	var implicit chan string // what became of the look at what is spoken
	suspicious := time.NewTimer(min(2*time.Second, c.opt.Greeting/2))
	defer suspicious.Stop()
	if c.opt.Mode == TLSImplicit {
		suspicious.Stop()
	}
	for range maxPreliminary {
		c.listen()
		timer := time.NewTimer(c.opt.Greeting)
		var r ftp.Reply
		for waiting := true; waiting; {
			select {
			case a := <-c.got:
				timer.Stop()
				if a.err != nil {
					return c.noServer(a.err)
				}
				r, _ = c.take(a)
				waiting = false
			case <-ctx.Done():
				timer.Stop()
				return context.Cause(ctx)
			case <-suspicious.C:
				implicit = make(chan string, 1)
				go func() { implicit <- c.waitsFor(probing) }()
			case other := <-implicit:
				if other != "" {
					timer.Stop()
					return c.expects(other, port)
				}
				implicit = nil
			case <-timer.C:
				if implicit != nil {
					if other := <-implicit; other != "" {
						return c.expects(other, port)
					}
				}
				return c.silent(c.opt.Greeting)
			}
		}
		switch {
		case r.Code == ftp.C120Soon: // RFC 959, 5.4: 220 follows
			continue
		case r.Code >= 200 && r.Code < 300:
			c.greets, c.kind = r, kindOf(r)
			return nil
		}
		return c.turnedAway(r)
	}
	return c.unread(ftp.ErrBadReply)
}

// noServer is a connection that did not begin with a reply.
func (c *Conn) noServer(err error) error {
	port, _ := strconv.Atoi(c.port)
	first := c.rd.First(8)
	other := ""
	switch head := string(first); {
	case strings.HasPrefix(head, "SSH-"):
		other = "SSH"
	case strings.HasPrefix(head, "HTTP/"), strings.HasPrefix(head, "<"):
		other = "HTTP"
	case strings.HasPrefix(head, "* OK"):
		other = "IMAP"
	case strings.HasPrefix(head, "+OK"):
		other = "POP3"
	case len(first) >= 2 && (first[0] == 0x15 || first[0] == 0x16) && first[1] == 3:
		return fault.Because(err, fault.Unreachable, fault.IDImplicitTLS, c.host, port)
	case len(first) == 0 && (errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)):
		// Wrappers, bans and full servers close without a word.
		return fault.Because(err, fault.Closing, fault.IDBusy, c.host)
	}
	if other != "" {
		return fault.Because(err, fault.Unreachable, fault.IDWrongProto, c.host, other, port, "FTP")
	}
	return c.unread(err)
}

// expects is a server that waits for another protocol to begin.
func (c *Conn) expects(other string, port int) error {
	if other == "TLS" {
		return fault.New(fault.Unreachable, fault.IDImplicitTLS, c.host, port)
	}
	return fault.New(fault.Unreachable, fault.IDWrongProto, c.host, other, port, "FTP")
}

// waitsFor tells what a server waits for that says nothing: TLS and HTTP answer to a
// hello of TLS, each in its way. "" for neither. Nothing else is said.
func (c *Conn) waitsFor(ctx context.Context) string {
	wait := min(c.opt.Connect, c.opt.Greeting, 5*time.Second)
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	nc, err := c.dialTo(ctx, c.opt.Network, c.opt.Addr, netip.Addr{}, wait)
	if err != nil {
		return ""
	}
	defer nc.Close()
	probe := tls.Client(nc, &tls.Config{InsecureSkipVerify: true, ServerName: c.host}) // nobody is trusted: nothing is sent
	err = probe.HandshakeContext(ctx)
	var alert tls.AlertError
	var op *net.OpError
	var record tls.RecordHeaderError
	switch {
	case err == nil, errors.As(err, &alert), errors.As(err, &op) && op.Op == "remote error":
		return "TLS"
	case errors.As(err, &record) && string(record.RecordHeader[:]) == "HTTP/":
		return "HTTP"
	}
	return ""
}

// auth begins TLS (RFC 4217, 4).
func (c *Conn) auth(ctx context.Context) error {
	r, err := c.do(ctx, "AUTH", "TLS")
	if err != nil {
		return err
	}
	if r.Code != ftp.C234TLS {
		if r.Code == ftp.C421Closing {
			return c.turnedAway(r)
		}
		if c.clear() {
			c.opt.Trace.note("no TLS: the dialogue goes on in clear text")
			c.tls = nil
			return nil
		}
		return fault.Because(c.replyError(cmd("AUTH", "TLS"), r), fault.NeedTLS, fault.IDTLSMissing, c.host)
	}
	// What came behind the 234 was said before anybody was known, and must not be
	// taken for what is said under TLS.
	if c.rd.Buffered() > 0 {
		return fault.New(fault.Untrusted, fault.IDBehindAuth, c.host)
	}
	if err := c.handshake(ctx); err != nil {
		return c.notTLS(err)
	}
	c.rd = ftp.NewReplyReader(c.nc)
	return nil
}

// login is USER, PASS and ACCT. settled tells that what comes behind it is done too.
func (c *Conn) login(ctx context.Context) (settled bool, err error) {
	if c.tls == nil && !c.clear() { // cannot be: nobody gets here without either
		return false, fault.New(fault.NeedTLS, fault.IDTLSMissing, c.host)
	}
	user, ok := c.names.encode(c.opt.User)
	if !ok {
		user = c.opt.User
	}
	password := c.opt.Password.Reveal()
	if password == "" && c.anonymous {
		password = "anonymous@"
	}
	step := cmd("USER", user)
	if c.together() && c.opt.Account == "" {
		pass := cmd("PASS", password)
		pass.HasArg = true
		return true, c.loginAtOnce(ctx, step, pass)
	}
	for range 4 {
		r, err := c.do(ctx, step.Verb, step.Arg)
		if err != nil {
			return false, err
		}
		switch {
		case r.Code >= 200 && r.Code < 300:
			c.enters = r
			return false, nil
		case r.Code == ftp.C331NeedPassword && step.Verb == "USER":
			step = cmd("PASS", password)
			step.HasArg = true
		case r.Code == ftp.C332NeedAccount && step.Verb != "ACCT" && c.opt.Account != "":
			step = cmd("ACCT", c.opt.Account)
		default:
			return false, c.rejected(step, r)
		}
	}
	return false, fault.New(fault.NotLoggedIn, fault.IDAuth, c.host, c.opt.User)
}

// loginAtOnce sends the name, the password and what comes behind the login in one
// piece, to servers that are known to take it: two round trips less for each
// connection. The password is no more in the open than in two pieces, because it was
// settled before whether it may be sent.
func (c *Conn) loginAtOnce(ctx context.Context, user, pass ftp.Command) error {
	rest := c.settling()
	if err := c.say(ctx, append([]ftp.Command{user, pass}, rest...)...); err != nil {
		return err
	}
	r, err := c.final(ctx)
	if err != nil {
		return err
	}
	in := r.Code >= 200 && r.Code < 300
	if !in && r.Code != ftp.C331NeedPassword {
		return c.rejected(user, r)
	}
	if in {
		c.enters = r
	}
	if r, err = c.final(ctx); err != nil {
		return err
	}
	if !in { // else PASS was one too many, whatever is said to it
		if r.Code < 200 || r.Code >= 300 {
			return c.rejected(pass, r)
		}
		c.enters = r
	}
	var replies []ftp.Reply
	for range rest {
		if r, err = c.final(ctx); err != nil {
			return err
		}
		if r.Code == ftp.C421Closing {
			return c.turnedAway(r)
		}
		replies = append(replies, r)
	}
	return c.agree(ctx, rest, replies)
}

// wanted are the facts that are asked for where a server offers them.
var wanted = []string{"type", "size", "sizd", "modify", "perm", "unique", "UNIX.mode", "UNIX.uid", "UNIX.gid", "UNIX.ownername", "UNIX.groupname", "UNIX.owner", "UNIX.group"}

// settling is what is said behind the login.
func (c *Conn) settling() []ftp.Command {
	commands := []ftp.Command{cmd("FEAT", "")}
	if c.tls != nil {
		commands = append(commands, cmd("PBSZ", "0"), cmd("PROT", "P")) // RFC 4217, 9
	}
	commands = append(commands, cmd("TYPE", "I"))
	if c.together() && c.names == nil {
		commands = append(commands, cmd("OPTS", "UTF8 ON"))
	}
	if c.together() && c.kind == kindDray { // it passes over facts that it doesn't know (RFC 3659, 7.9)
		commands = append(commands, cmd("OPTS", "MLST "+strings.Join(wanted, ";")+";"))
	}
	if c.far && c.kind == kindVsftpd { // it has no MLST: directories are found out by CWD
		commands = append(commands, cmd("PWD", ""))
	}
	if c.far {
		commands = append(commands, c.aheadCommands()...)
	}
	return commands
}

// settle does what comes behind the login, in one round trip where it can.
func (c *Conn) settle(ctx context.Context) error {
	commands := c.settling()
	replies, err := c.batch(ctx, commands...)
	if err != nil {
		return err
	}
	return c.agree(ctx, commands, replies)
}

// agree takes the replies, and says what depends on them.
func (c *Conn) agree(ctx context.Context, commands []ftp.Command, replies []ftp.Reply) error {
	early := c.together()
	for i, r := range replies {
		if r.Code == ftp.C421Closing {
			return c.turnedAway(r)
		}
		switch said := commands[i].String(); {
		case said == "FEAT":
			c.feat = ftp.ParseFeatures(r)
		case said == "PROT P":
			if c.prot = r.Code < 300; !c.prot && !c.opt.Plain {
				return fault.Because(c.replyError(commands[i], r), fault.NoClear, fault.IDTLSData, c.host)
			}
		case said == "TYPE I" && r.Code < 300:
			c.text = 'I'
		case said == "PWD":
			_ = c.tookDir(r)
		case commands[i].Verb == "EPSV":
			c.tookAhead(r)
		}
	}
	if !early && c.names == nil && c.feat.Has("UTF8") {
		if _, err := c.do(ctx, "OPTS", "UTF8 ON"); err != nil {
			return err
		}
	}
	if early && c.kind == kindDray {
		return nil
	}
	if facts := c.facts(); facts != "" {
		if _, err := c.do(ctx, "OPTS", "MLST "+facts); err != nil {
			return err
		}
	}
	return nil
}

// facts is the argument of OPTS MLST, "" when what is wanted is on already.
func (c *Conn) facts() string {
	fold := func(list []string, name string) bool {
		return slices.ContainsFunc(list, func(s string) bool { return strings.EqualFold(s, name) })
	}
	var b strings.Builder
	off := false
	on := c.feat.MLSTDefaults()
	for _, fact := range c.feat.Facts() {
		if fold(wanted, fact) && !strings.ContainsAny(fact, "\r\n\x00 ") {
			b.WriteString(fact + ";")
			off = off || !fold(on, fact)
		}
	}
	if !off {
		return ""
	}
	return b.String()
}
