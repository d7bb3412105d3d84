package ftpserver

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"dray/account"
	"dray/explain"
	"dray/fault"
	"dray/ftp"
	"dray/gate"
	"dray/vfs"
)

func (c *conn) userCmd(ctx context.Context, arg string) (ftp.Reply, error) {
	c.logout()
	ask, err := c.visit.Name(ctx, arg)
	if err != nil {
		return ftp.Reply{}, err
	}
	if ask == gate.AskNothing {
		session, err := c.visit.Certificate(ctx, arg)
		if err != nil {
			return ftp.Reply{}, err
		}
		return c.enter(session, ftp.C232Certificate, c.rules.Welcome), nil // RFC 4217, 12.6; a PASS behind it gets 202
	}
	c.user, c.phase = arg, phaseNamed
	return ftp.Replyf(ftp.C331NeedPassword, "Password, please."), nil
}

func (c *conn) pass(ctx context.Context, arg string) (ftp.Reply, error) {
	if c.phase == phaseIn {
		if c.byCert {
			return ftp.Replyf(ftp.C202Superfluous, "The certificate was enough."), nil
		}
		return ftp.Reply{}, fault.New(fault.Sequence, fault.IDSequence, "USER") // RFC 959, 4.1.1: it follows USER
	}
	user := c.user
	c.user, c.phase = "", phaseGreeted
	session, err := c.visit.Password(ctx, user, account.NewSecret(arg))
	if err != nil {
		return ftp.Reply{}, err
	}
	welcome := c.rules.Welcome
	if session.Account().Anonymous && strings.HasPrefix(arg, "-") {
		welcome = "" // old programs that stumble over 230- say so; wu-ftpd began it
	}
	return c.enter(session, ftp.C230LoggedIn, welcome), nil
}

// enter begins a session.
func (c *conn) enter(session *gate.Session, code ftp.Code, welcome string) ftp.Reply {
	c.session, c.phase, c.log = session, phaseIn, session.Log()
	c.byCert = code == ftp.C232Certificate
	if !c.utf8 {
		c.charset = charsetOf(session.Account().Charset)
	}
	c.transcript = session.Account().Transcript || slices.Contains(c.rules.Transcript, session.Account().Name)
	c.mu.Lock()
	c.in = true
	c.mu.Unlock()
	a := session.Account()
	c.server.tickets.loggedIn(c.visit.ID(), a.Name, c.remote())
	if c.client != "" {
		c.log.Info("client", "name", c.client)
	}
	text := "Logged in."
	if a.AnyRights()&^account.ReadOnly == 0 {
		text = "Logged in, for reading only."
	}
	if welcome != "" {
		return ftp.Lines(code, strings.ReplaceAll(welcome, "{user}", a.Name), text)
	}
	return ftp.Replyf(code, "%s", text)
}

func (c *conn) acct(context.Context, string) (ftp.Reply, error) {
	return ftp.Replyf(ftp.C202Superfluous, "Not needed here."), nil
}

// logout takes the connection back to the greeting; TLS stays.
func (c *conn) logout() {
	if c.cleared {
		c.visit.Cleared()
	}
	if c.session != nil {
		c.session.Close()
		c.server.tickets.ended(c.visit.ID())
		c.begun = time.Now() // the login deadline is for the next login
		c.utf8 = false
		c.mu.Lock()
		c.in = false
		c.mu.Unlock()
	}
	c.data.release()
	c.attempts = attempts{}
	c.session, c.phase, c.user, c.log = nil, phaseGreeted, "", c.visit.Log()
	c.cwd, c.text, c.epsvAll, c.facts, c.pending = vfs.Root, true, false, ftp.DefaultFacts, pending{}
	c.charset, c.transcript = nil, false
	c.sums, c.deflate, c.fxp = sums{}, deflate{}, fxp{}
	c.idleFor, c.mask = 0, nil
}

// rein: RFC 4217, 11 wants TLS to end with it, or the command refused. Under
// AUTH TLS it is refused: going back to clear text makes the connection
// forgeable. On an implicit port there is no way back, so only the login ends.
func (c *conn) rein(context.Context, string) (ftp.Reply, error) {
	if c.tlsOn && !c.rules.Implicit {
		return ftp.Reply{}, fault.New(fault.NotBuilt, fault.IDNotBuilt, "under AUTH TLS a new login needs a new connection")
	}
	c.logout()
	return ftp.Lines(ftp.C220Ready, c.rules.Greeting, "Ready."), nil
}

func (c *conn) quitCmd(context.Context, string) (ftp.Reply, error) {
	c.quit = true
	return ftp.Lines(ftp.C221Bye, c.rules.Goodbye, "Goodbye."), nil
}

// auth starts TLS (RFC 4217, 4). What was said before does not count after it,
// and what a peer sent behind the command, in clear text, is an attack or a
// mistake: the connection ends.
func (c *conn) auth(_ context.Context, arg string) (ftp.Reply, error) {
	switch mech := strings.ToUpper(arg); {
	case c.rules.TLS == nil:
		return ftp.Reply{}, fault.New(fault.NotBuilt, fault.IDNotBuilt, "this listener has no TLS")
	case c.tlsOn:
		return ftp.Reply{}, fault.New(fault.Sequence, fault.IDTLSActive)
	case c.cleared:
		return ftp.Reply{}, fault.New(fault.NoClear, fault.IDNotBuilt, "after CCC there is no way back, so TLS needs a new connection")
	case mech != "TLS" && mech != "TLS-C" && mech != "TLS-P" && mech != "SSL":
		return ftp.Reply{}, fault.New(fault.Unsupported, fault.IDUnsupported, "AUTH TLS")
	case c.rd.Buffered() > 0 || c.hasQueue():
		return ftp.Reply{}, fault.New(fault.Closing, fault.IDBehindAuth)
	}
	if err := c.write(ftp.Replyf(ftp.C234TLS, "Start the TLS handshake.")); err != nil {
		c.quit = true
		return ftp.Reply{}, nil
	}
	c.logout()
	c.prot, c.pbsz, c.utf8 = false, false, false
	// The context of this command is that of the session which has just ended.
	if err := c.handshake(c.visit.Context(), c.raw); err != nil {
		c.log.Info("TLS handshake failed", "peer", c.visit.Peer().Remote.String(), "error", err)
		c.quit = true
	}
	return ftp.Reply{}, nil
}

func (c *conn) hasQueue() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.queue) > 0
}

// handshake puts the control connection under TLS, within the login deadline.
func (c *conn) handshake(ctx context.Context, nc net.Conn) error {
	_ = c.raw.SetDeadline(c.begun.Add(c.rules.LoginTime))
	defer c.raw.SetWriteDeadline(time.Time{})
	c.tlsCfg = controlTLS(c.tlsCfg, c.visit.ID())
	c.records = &records{Conn: nc}
	// A resumed session shows no certificate, so what is chosen is noted.
	var served []byte
	c.tlsCfg.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		served = leaf(c.tlsCfg, hello)
		return nil, nil
	}
	t := tls.Server(c.records, c.tlsCfg)
	err := t.HandshakeContext(ctx)
	c.tlsCfg.GetConfigForClient = nil // that was for this handshake; data connections have another
	if err != nil {
		return err
	}
	c.nc, c.tlsOn, c.served = t, true, served
	c.rd = ftp.NewReader(t)
	cs := t.ConnectionState()
	c.visit.Secured(cs)
	c.log.Debug("TLS", "version", tls.VersionName(cs.Version), "cipher", tls.CipherSuiteName(cs.CipherSuite), "resumed", cs.DidResume, "name", cs.ServerName)
	return nil
}

// leaf is the certificate that cfg answers a handshake with, in DER; nil when it
// has none.
func leaf(cfg *tls.Config, hello *tls.ClientHelloInfo) []byte {
	if cfg.GetCertificate != nil {
		if cert, err := cfg.GetCertificate(hello); err == nil && cert != nil && len(cert.Certificate) > 0 {
			return cert.Certificate[0]
		}
	}
	if len(cfg.Certificates) > 0 && len(cfg.Certificates[0].Certificate) > 0 {
		return cfg.Certificates[0].Certificate[0]
	}
	return nil
}

// implicitSilence is how long a peer may say nothing on an implicit port before
// it is taken for one that waits for a greeting in clear text. A ClientHello
// comes at once, also when its first packet was lost.
const implicitSilence = 3 * time.Second

// implicit does the handshake of an implicit port, or tells a wrong client so.
func (c *conn) implicit() bool {
	var first [8]byte
	_ = c.raw.SetReadDeadline(time.Now().Add(min(implicitSilence, c.rules.LoginTime)))
	n, err := c.raw.Read(first[:])
	silent := n == 0 && errors.Is(err, os.ErrDeadlineExceeded)
	if n == 0 && !silent || c.visit.Context().Err() != nil {
		return false
	}
	if silent || first[0] != 0x16 {
		e := fault.New(fault.Closing, fault.IDImplicitTLS)
		if proto, where := foreign(first[:n], ""); proto != "" && proto != "TLS" {
			e = fault.New(fault.Closing, fault.IDWrongProto, proto, where)
		}
		c.log.Warn("wrong door", "peer", c.visit.Peer().Remote.String(), "door", c.rules.Door.Name, "reason", string(e.ID))
		c.say(e)
		return false
	}
	c.visit.Spoke()
	if err := c.handshake(c.visit.Context(), &prefixed{c.raw, first[:n]}); err != nil {
		c.log.Info("TLS handshake failed", "peer", c.visit.Peer().Remote.String(), "error", err)
		return false
	}
	c.prot, c.pbsz = true, true
	return true
}

// A prefixed gives back bytes that were read to look at.
type prefixed struct {
	net.Conn
	head []byte
}

func (p *prefixed) Read(b []byte) (int, error) {
	if len(p.head) > 0 {
		n := copy(b, p.head)
		p.head = p.head[n:]
		return n, nil
	}
	return p.Conn.Read(b)
}

// foreign names the protocol that first bytes or a first line belong to, "" when
// it is none that is known, and where it is spoken.
func foreign(first []byte, line string) (proto, where string) {
	switch {
	case bytes.HasPrefix(first, []byte("SSH-")):
		return "SSH", "use an FTP program here, or the port of the SSH server, usually 22"
	case len(first) > 1 && first[0] == 0x16 && first[1] == 3:
		return "TLS", "it begins in clear text; choose explicit TLS (AUTH TLS), or ftps:// on the implicit port"
	case strings.HasSuffix(line, " HTTP/1.1"), strings.HasSuffix(line, " HTTP/1.0"),
		bytes.HasPrefix(first, []byte("GET /")), bytes.HasPrefix(first, []byte("POST /")), bytes.HasPrefix(first, []byte("HEAD /")):
		return "HTTP", "use an FTP program, with an address that begins with ftp://"
	}
	return "", ""
}

// wrongDoor answers a peer that speaks another protocol on this port: one
// readable line, then the end.
func (c *conn) wrongDoor(cmd ftp.Command) bool {
	if c.phase != phaseGreeted {
		return false
	}
	proto, where := foreign(c.rd.First(16), " "+cmd.Arg)
	if proto == "" {
		return false
	}
	c.log.Warn("wrong door", "peer", c.visit.Peer().Remote.String(), "door", c.rules.Door.Name, "spoke", proto)
	c.quit = true
	e := fault.New(fault.Closing, fault.IDWrongProto, proto, where)
	if !c.tlsOn {
		c.say(e)
	} else if c.write(replyFor(e)) == nil { // a browser, led here to say what a page wants
		c.lastWords()
	}
	return true
}

// say writes one line in clear text and waits until the peer can have read it:
// a close with unread bytes would reset the connection and take the line along.
func (c *conn) say(e *fault.Error) {
	_ = c.raw.SetWriteDeadline(time.Now().Add(2 * time.Second))
	if _, err := c.raw.Write(ftp.Replyf(ftp.C421Closing, "%s", explain.Sentence(e)).Append(nil)); err != nil {
		return
	}
	c.lastWords()
}

// lastWords ends our side and waits a moment, so that the peer can read what was
// said last.
func (c *conn) lastWords() {
	if t, ok := c.nc.(interface{ CloseWrite() error }); ok { // TCP or TLS
		_ = t.CloseWrite()
	}
	_ = c.raw.SetReadDeadline(time.Now().Add(time.Second))
	_, _ = io.CopyN(io.Discard, c.raw, 64<<10)
}

// needsTLS refuses a command that takes TLS on this connection.
func (c *conn) needsTLS(verb string) error {
	switch {
	case c.cleared:
		return fault.New(fault.Sequence, fault.IDNotBuilt, "after CCC there is no way back, so "+verb+" needs a new connection")
	case !c.tlsOn:
		return fault.New(fault.Sequence, fault.IDTLSMissing)
	}
	return nil
}

func (c *conn) pbszCmd(_ context.Context, arg string) (ftp.Reply, error) {
	if err := c.needsTLS("PBSZ"); err != nil {
		return ftp.Reply{}, err
	}
	if strings.Trim(arg, "0123456789") != "" || len(arg) > 10 {
		return ftp.Reply{}, fault.New(fault.Syntax, fault.IDSyntax, "PBSZ 0")
	}
	c.pbsz = true
	return ftp.Replyf(ftp.C200OK, "PBSZ=0"), nil // RFC 4217, 9: always 0 for TLS
}

// protCmd is lenient about a missing PBSZ, as clients are.
func (c *conn) protCmd(_ context.Context, arg string) (ftp.Reply, error) {
	if err := c.needsTLS("PROT"); err != nil {
		return ftp.Reply{}, err
	}
	switch strings.ToUpper(arg) {
	case "P":
		c.prot = true
		return ftp.Replyf(ftp.C200OK, "Data connections are encrypted."), nil
	case "C":
		if !c.rules.ClearData {
			return ftp.Reply{}, fault.New(fault.NoClear, fault.IDProtRequired)
		}
		c.prot = false
		return ftp.Replyf(ftp.C200OK, "Data connections are in clear text."), nil
	case "S", "E":
		return ftp.Replyf(ftp.C536ProtLevel, "TLS has the levels C and P. Say PROT P. [%s]", fault.IDUnsupported), nil
	}
	return ftp.Reply{}, fault.New(fault.Unsupported, fault.IDUnsupported, "PROT P")
}

// host chooses the certificate for an AUTH TLS that follows, and nothing else
// (RFC 7151, 3). Under TLS the choice was made, by the name in the handshake, so
// only a host with the same certificate is served on this connection.
func (c *conn) host(_ context.Context, arg string) (ftp.Reply, error) {
	if c.phase != phaseGreeted {
		return ftp.Reply{}, fault.New(fault.Sequence, fault.IDSequence, "HOST, before USER,")
	}
	name := strings.TrimSuffix(strings.TrimPrefix(arg, "["), "]")
	if c.rules.Host != nil {
		if cfg, ok := c.rules.Host(name); ok {
			switch {
			case !c.tlsOn && !c.cleared:
				c.tlsCfg = cfg
			case c.served == nil || !bytes.Equal(c.served, leaf(cfg, &tls.ClientHelloInfo{ServerName: name})):
				return ftp.Reply{}, fault.New(fault.Unsupported, fault.IDHost)
			}
			return ftp.Replyf(ftp.C220Host, "That host is served here."), nil
		}
	}
	return ftp.Reply{}, fault.New(fault.Unsupported, fault.IDHost)
}

// options are what OPTS may be said of (RFC 2389, 4).
func options() map[string]func(*conn, string) (ftp.Reply, error) {
	return map[string]func(*conn, string) (ftp.Reply, error){
		"UTF8": (*conn).optsUTF8, "UTF-8": (*conn).optsUTF8, "MLST": (*conn).optsMLST,
		"HASH": (*conn).optsHash, "MODE": (*conn).optsMode,
	}
}

func (c *conn) opts(_ context.Context, arg string) (ftp.Reply, error) {
	name, rest, _ := strings.Cut(arg, " ")
	if run, ok := options()[strings.ToUpper(name)]; ok {
		return run(c, strings.TrimSpace(rest))
	}
	return ftp.Reply{}, fault.New(fault.Syntax, fault.IDSyntax, c.form(c.server.rows["OPTS"]))
}

// optsUTF8: bytes are kept as they come, so it is always on, but for an account
// whose programs write another character set: they can say which it is.
func (c *conn) optsUTF8(arg string) (ftp.Reply, error) {
	own := ""
	if c.session != nil {
		own = c.session.Account().Charset
	}
	switch strings.ToUpper(arg) {
	case "", "ON", "NLST":
		c.charset = nil
		c.utf8 = c.session == nil // clients say it before the login too
		if own != "" {
			return ftp.Replyf(ftp.C200OK, "Names are UTF-8 now."), nil
		}
		return ftp.Replyf(ftp.C200OK, "Names are UTF-8, always."), nil
	case "OFF":
		if own != "" {
			c.charset = charsetOf(own)
			return ftp.Replyf(ftp.C200OK, "Names are %s now.", own), nil
		}
		return ftp.Reply{}, fault.New(fault.Unsupported, fault.IDUnsupported, "OPTS UTF8 ON; names are bytes, and go back as they came")
	}
	return ftp.Reply{}, fault.New(fault.Syntax, fault.IDSyntax, "OPTS UTF8 ON")
}

func (c *conn) optsMLST(arg string) (ftp.Reply, error) {
	c.facts = ftp.ParseFacts(arg)
	return ftp.Replyf(ftp.C200OK, "%s", strings.TrimSpace("MLST OPTS "+c.facts.String())), nil // RFC 3659, 7.9
}

func (c *conn) clnt(_ context.Context, arg string) (ftp.Reply, error) {
	if len(arg) > 128 {
		arg = arg[:128]
	}
	c.client = arg
	return ftp.Replyf(ftp.C200OK, "Noted."), nil
}

func (c *conn) syst(context.Context, string) (ftp.Reply, error) {
	return ftp.Replyf(ftp.C215System, "UNIX Type: L8"), nil
}

func (c *conn) noop(context.Context, string) (ftp.Reply, error) {
	return ftp.Replyf(ftp.C200OK, "Still here."), nil
}

// abor answers after the transfer that it ended has had its own reply (426), or
// alone.
func (c *conn) abor(context.Context, string) (ftp.Reply, error) {
	c.data.release()
	if c.aborted {
		c.aborted = false
		return ftp.Replyf(ftp.C226Aborted, "The transfer was ended."), nil
	}
	return ftp.Replyf(ftp.C226Aborted, "No transfer was running."), nil
}
