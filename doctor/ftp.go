package doctor

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"dray/certs"
	"dray/explain"
	"dray/fault"
	"dray/ftp"
	"dray/ftpclient"
	"dray/remote"
	"dray/screen"
)

// ftpPatient is what is known of an FTP server.
type ftpPatient struct {
	main    sync.Mutex      // who holds it uses conn
	conn    *ftpclient.Conn // the control connection that all goes over that needs only one
	control seen
	offered ftp.Features // in clear text, before AUTH
	tlsErr  error        // why there is no TLS on it
	entries []ftp.Listed // of the directory
	listErr error
	listed  int // how many there are
	trying  sync.Mutex
	ports   []try // of the passive range

	entered atomic.Bool           // somebody is logged in
	alone   atomic.Pointer[error] // why the server lets no other connection in
}

// ftpChecks are those of FTP, the more basic first.
func ftpChecks(o *Options) []check {
	all := []check{
		{name: "name", run: (*patient).name},
		{name: "control", needs: []string{"name"}, run: (*patient).controlOf},
		{name: "families", needs: []string{"name"}, after: []string{"control"}, run: (*patient).families},
		{name: "tls", needs: []string{"control"}, run: (*patient).tlsOf},
		{name: "login", needs: []string{"tls"}, run: (*patient).loginOf},
		{name: "both ends", needs: []string{"login"}, after: []string{"passive"}, run: (*patient).bothEnds},
		{name: "passive", needs: []string{"login"}, after: []string{"listing"}, run: (*patient).passiveOf},
		{name: "pasv", needs: []string{"login"}, after: []string{"both ends"}, run: (*patient).pasvOf},
		{name: "listing", needs: []string{"login"}, run: (*patient).listingOf},
		{name: "active", needs: []string{"login"}, after: []string{"listing"}, run: (*patient).activeOf},
		{name: "reuse", needs: []string{"listing"}, after: []string{"active"}, run: (*patient).reuseOf},
		{name: "download", needs: []string{"listing"}, run: (*patient).downloadOf},
	}
	if o.Write {
		all = append(all, check{name: "upload", needs: []string{"listing"}, after: []string{"download"}, run: (*patient).uploadOf})
	}
	if o.Deep {
		all = append(all, check{name: "tls versions", needs: []string{"tls"}, after: []string{"download"}, run: (*patient).versionsOf})
		all = append(all, check{name: "idle", needs: []string{"login"}, after: []string{"pasv", "listing"}, run: (*patient).idleOf})
	}
	return append(all, check{name: "other ports", needs: []string{"name"}, after: []string{"control"}, run: (*patient).doorsOf})
}

// connection is how control connections are made here.
func (p *patient) connection(ctx context.Context) (ftpclient.Options, error) {
	o := p.o.Remote
	o.Connect, o.Timeout = p.times.connect, p.times.answer
	fo, err := o.FTPConn(ctx, p.u)
	if err != nil {
		return fo, err
	}
	p.login.For(&fo)
	fo.Greeting, fo.DataWait = p.times.greeting, p.times.data
	// In clear text nothing is sent behind a USER that the server refuses: the password
	// would be on the network for nothing.
	fo.OneByOne = fo.Plain || p.unknown()
	if o.FTP.EPSV != remote.EPSVAuto {
		fo.Memory = &ftpclient.Memory{}
		fo.Memory.SetEPSV(o.FTP.EPSV == remote.EPSVAlways)
	}
	return fo, nil
}

// another is one more connection that is logged in, changed by how. The caller closes it.
// A server that has turned one away is not asked again.
func (p *patient) another(ctx context.Context, who string, s *seen, how func(o *ftpclient.Options)) (*ftpclient.Conn, error) {
	if err := p.alone.Load(); err != nil {
		return nil, *err
	}
	c, err := p.oneMore(ctx, who, s, how)
	if err != nil && ctx.Err() == nil && p.entered.Load() && crowded(err) {
		p.alone.Store(&err)
	}
	return c, err
}

func (p *patient) oneMore(ctx context.Context, who string, s *seen, how func(o *ftpclient.Options)) (*ftpclient.Conn, error) {
	fo, err := p.connection(ctx)
	if err != nil {
		return nil, err
	}
	fo.Trace = p.watch(who, s)
	if wait := max(4*p.greetsIn(), 2*time.Second); p.entered.Load() && wait < fo.Greeting {
		fo.Greeting = wait
	}
	if how != nil {
		how(&fo)
	}
	return ftpclient.Dial(ctx, fo)
}

// greetsIn is how long the first connection waited for its greeting.
func (p *patient) greetsIn() time.Duration {
	p.control.mu.Lock()
	defer p.control.mu.Unlock()
	return p.control.greeted.Sub(p.control.connected)
}

// crowded tells that a server refuses one more connection, which says nothing about it:
// somebody is logged in already, in the same way.
func crowded(err error) bool {
	switch fault.Of(err).ID {
	case fault.IDBusy, fault.IDBanned, fault.IDLost, fault.IDAuth, fault.IDNoAnswer, fault.IDRefused, fault.IDFiltered, fault.IDRejected:
		return true
	}
	return false
}

// spare is a connection for something that it may not survive: one more, or the first
// where the server lets no other in. over gives it back.
func (p *patient) spare(ctx context.Context, who string, how func(o *ftpclient.Options)) (c *ftpclient.Conn, over func(), err error) {
	if c, err = p.another(ctx, who, &seen{}, how); err == nil {
		return c, func() { _ = c.Close() }, nil
	}
	p.main.Lock()
	if p.conn.Err() != nil || ctx.Err() != nil {
		p.main.Unlock()
		return nil, nil, err
	}
	return p.conn, p.main.Unlock, nil
}

// controlOf connects and hears the greeting. It begins TLS too, which tlsOf tells.
func (p *patient) controlOf(ctx context.Context) Finding {
	fo, err := p.connection(ctx)
	if err != nil {
		return of(Fail, err)
	}
	fo.Trace = p.watch("control", &p.control)
	fo.Greeted = func(ctx context.Context, c *ftpclient.Conn) {
		if r, err := c.Quote(ctx, "FEAT"); err == nil {
			p.offered = ftp.ParseFeatures(r)
		}
	}
	opening := ctx
	if p.asks { // in the handshake, which then has no limit of its own
		fo.Handshake = time.Hour
		within, end := p.human.within(ctx, fo.Connect+fo.Greeting+p.times.answer, p.u.Host)
		defer end()
		opening = within
	}
	began := time.Now()
	c, err := ftpclient.Open(opening, fo)
	if p.knocked && err != nil && fault.Of(err).ID == fault.IDBusy { // it may count the connection that looked who is there
		select {
		case <-time.After(500 * time.Millisecond):
			p.control.forget()
			c, err = ftpclient.Open(opening, fo)
		case <-opening.Done():
		}
	}
	s := &p.control
	s.mu.Lock()
	defer s.mu.Unlock()
	s.way = max(s.connected.Sub(began), 0)
	way := fine("connected to %s in %s", s.address, millis(s.way)).with("address", s.address).with("connect_ms", s.way.Milliseconds())
	after := s.way // of the greeting
	if !s.greeted.IsZero() {
		after += s.greeted.Sub(s.ready)
		way.Saw = screen.Line(fmt.Sprintf("%s: %s; %s", p.u.Address(), brief(s.greeting), millis(after)))
		way = way.with("greeting", screen.Line(s.greeting)).with("greeting_ms", after.Milliseconds())
	}
	if other := alien(s.greeting); other != "" {
		if err == nil {
			_ = c.Close()
		}
		return of(Fail, fault.New(fault.Unreachable, fault.IDWrongProto, p.u.Host, other, p.u.PortNumber(), "FTP")).with("server", screen.Line(s.greeting))
	}
	if err != nil {
		if f, ok := p.ranOut(ctx, s.heard, s.address, "FTP", s.greeting, after); ok {
			return f
		}
		if e := fault.Of(err); s.greeted.IsZero() && (fo.Mode != ftpclient.TLSImplicit || s.connected.IsZero() || s.tls != nil || e.Kind != fault.Untrusted && e.ID != fault.IDNoAnswer) {
			f := p.corrected(of(Fail, err), e)
			switch {
			case e.ID == fault.IDTLSMissing: // nothing was connected to
				f.Saw = "with --tls off the password would travel in clear text, and only --plain allows that: nothing was sent"
				f.Means = "The server was not asked whether it has TLS, because --tls off says so."
				f.Do = []explain.Step{
					you(p.command("doctor", p.u, nil, "tls"), "leave --tls off away, so that the server is asked for TLS:"),
					you(p.command("doctor", p.u, []string{"--plain"}), "where nobody else can listen, go on in clear text:"),
				}
			case e.ID == fault.IDFiltered, e.ID == fault.IDRejected:
				f = f.first(openPorts)
			case e.ID == fault.IDNoAnswer && !s.connected.IsZero():
				return p.silentServer(s.address, "FTP", fo.Greeting)
			case e.ID == fault.IDBusy && explain.Said(err) == "":
				return p.hungUp(err)
			}
			return f
		}
		p.tlsErr = err
		if after > late {
			return p.lateFTP(s.greeting, after)
		}
		return way
	}
	p.conn = c
	p.atEnd(func() {
		end, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = c.Quit(end)
	})
	if after > late {
		return p.lateFTP(s.greeting, after)
	}
	return way
}

func (p *patient) lateFTP(greeting string, after time.Duration) Finding {
	return p.lateGreeting("the greeting", greeting, after, "ProFTPD: UseReverseDNS off and IdentLookups off; Pure-FTPd: DontResolve yes; vsftpd: reverse_lookup_enable=NO; else mend the resolver in /etc/resolv.conf")
}

// brief is what a server says, cut where it says a lot: some tell their rules at the door.
func brief(said string) string {
	const enough = 120
	if cut := screen.Cut(said, enough); cut != said {
		return cut + "…"
	}
	return said
}

// alien is the protocol of a greeting that FTP takes for its own: that of SMTP begins with
// the same number (RFC 5321, 4.2). "" where it is FTP's.
func alien(greeting string) string {
	if upper := strings.ToUpper(greeting); strings.Contains(upper, "SMTP") && !strings.Contains(upper, "FTP") {
		return "SMTP"
	}
	return ""
}

// hungUp is a connection that was taken and ended before a word.
func (p *patient) hungUp(err error) Finding {
	f := found(Fail, fault.IDLost, "%s accepts and %s before it says anything", p.u.Address(), ended(err)).with("cause", screen.Line(explain.Cause(err)))
	f.Means = "The server does not say why. One that has banned this address does so (fail2ban, tcp wrappers), one at its limit of connections, and one that falls over; and a proxy, a balancer or the port of a container that reaches no server behind it."
	f.Do = []explain.Step{
		you("", "wait a minute, and try from another network: what works there is a ban here"),
		admin("", "see whether the server itself runs and holds the port: ss -tlnp; look for a ban: fail2ban-client status, /etc/hosts.deny; and in the log of the server at that time"),
	}
	return f
}

// corrected puts the URL that would be right before what else there is to do.
func (p *patient) corrected(f Finding, e *fault.Error) Finding {
	var scheme remote.Scheme
	switch {
	case e.ID == fault.IDImplicitTLS:
		scheme = remote.FTPS
	case e.ID == fault.IDWrongProto && len(e.Facts) > 1 && e.Facts[1] == "SSH":
		scheme = remote.SFTP
	case e.ID == fault.IDWrongProto && len(e.Facts) > 1 && e.Facts[1] == "FTP":
		scheme = remote.FTP
	default:
		return f
	}
	u := other(p.u, scheme)
	return f.first(you(p.command("doctor", u, nil, "tls", "plain"), "with the protocol of that port:"))
}

// tlsOf tells of the TLS of the control connection.
func (p *patient) tlsOf(ctx context.Context) Finding {
	if p.tlsErr != nil {
		return p.noTLS(ctx)
	}
	cs, ok := p.conn.TLS()
	switch {
	case !ok && (p.o.Remote.FTP.TLS == remote.TLSOff || p.u.Scheme == remote.FTPPlain):
		return Finding{Verdict: Note, Saw: "in clear text, as was asked for: everybody on the way can read the password and the files"}
	case !ok:
		f := found(Warn, fault.IDTLSMissing, "the server offers no TLS: all goes in clear text")
		return f
	}
	leaf := cs.PeerCertificates[0]
	left := time.Until(leaf.NotAfter)
	how := "AUTH TLS"
	if p.u.Scheme == remote.FTPS || p.o.Remote.FTP.TLS == remote.TLSImplicit {
		how = "TLS from the first byte"
	}
	f := fine("%s, %s, %s; the certificate of %s is valid for %d days", how, tls.VersionName(cs.Version), tls.CipherSuiteName(cs.CipherSuite), certName(leaf), int(left.Hours()/24))
	switch {
	case left < 0: // somebody has said to trust it all the same
		f = Finding{Verdict: Note, Saw: screen.Line(fmt.Sprintf("%s, %s; the certificate of %s has expired on %s and is trusted here", how, tls.VersionName(cs.Version), certName(leaf), leaf.NotAfter.Format("2 Jan 2006")))}
	case left < min(14*24*time.Hour, leaf.NotAfter.Sub(leaf.NotBefore)/3): // some are made for days
		f = found(Warn, fault.IDExpired, "the certificate of %s expires in %d days, on %s", certName(leaf), int(left.Hours()/24), leaf.NotAfter.Format("2 Jan 2006"))
	}
	if why := p.unchecked(cs); why != "" {
		f.Verdict = max(f.Verdict, Note)
		f.Saw += "; nobody has checked it, as was asked for, and it would not pass: " + screen.Line(why)
	}
	if how == "AUTH TLS" && len(p.offered.Names()) > 0 && !p.offered.Has("AUTH") {
		f.Saw += "; FEAT does not name AUTH, so that some programs will not ask for TLS"
	}
	return f.with("version", tls.VersionName(cs.Version)).with("cipher", tls.CipherSuiteName(cs.CipherSuite)).with("features_in_clear", p.offered.Names()).with("certificate", describe(cs.PeerCertificates))
}

// unchecked is why the certificate of a connection would not have passed where it was not
// looked at; "" where it was, or would have.
func (p *patient) unchecked(cs tls.ConnectionState) string {
	if t := p.o.Remote.Trust; t == nil || t.Mode != remote.TrustInsecure || len(t.Pins) > 0 {
		return ""
	}
	o := x509.VerifyOptions{DNSName: p.u.Host, Intermediates: x509.NewCertPool()}
	for _, c := range cs.PeerCertificates[1:] {
		o.Intermediates.AddCert(c)
	}
	if _, err := cs.PeerCertificates[0].Verify(o); err != nil {
		return strings.TrimPrefix(err.Error(), "x509: ")
	}
	return ""
}

func certName(c *x509.Certificate) string {
	if len(c.DNSNames) > 0 {
		return c.DNSNames[0]
	}
	return c.Subject.CommonName
}

// describe is a chain for programs and reports.
func describe(chain []*x509.Certificate) []map[string]any {
	var all []map[string]any
	for _, c := range chain[:min(len(chain), 8)] {
		var names []string
		for _, name := range c.DNSNames[:min(len(c.DNSNames), 100)] {
			names = append(names, screen.Line(name))
		}
		for _, ip := range c.IPAddresses[:min(len(c.IPAddresses), 100)] {
			names = append(names, ip.String())
		}
		all = append(all, map[string]any{
			"subject": screen.Line(c.Subject.String()), "issuer": screen.Line(c.Issuer.String()), "names": names,
			"from": c.NotBefore.UTC().Format(time.RFC3339), "to": c.NotAfter.UTC().Format(time.RFC3339), "key": certs.KeyPrint(c).String(),
		})
	}
	return all
}

// noTLS tells why there is none: the certificate, the versions, or nothing of TLS at all.
func (p *patient) noTLS(ctx context.Context) Finding {
	e := fault.Of(p.tlsErr)
	f := p.corrected(of(Fail, p.tlsErr), e)
	f.sure = true
	switch e.ID {
	case fault.IDTLSMissing:
		u := p.u
		u.Scheme = remote.FTPPlain
		return f.first(you(p.command("doctor", u, nil, "tls"), "where nobody else can listen, go on in clear text:"))
	case fault.IDTLSVersion, fault.IDTLSFailed, fault.IDNoAnswer, fault.IDLost:
		if version, ok := p.oldTLS(ctx); ok {
			old := found(Fail, fault.IDTLSVersion, "the server speaks %s and nothing newer", tls.VersionName(version)).with("cause", screen.Line(explain.Cause(p.tlsErr)))
			number := strings.TrimPrefix(tls.VersionName(version), "TLS ")
			return old.first(you(p.command("doctor", p.u, []string{"--tls-min", number}), "until it is updated, let the old version in for this server:"))
		}
		return f
	}
	if e.Kind != fault.Untrusted {
		return f
	}
	// Something is wrong with the certificate: here it is.
	u := p.u
	dial := p.o.Remote.Dial
	if dial == nil {
		dial = (*remote.Proxies)(nil).DialContext
	}
	look, cancel := context.WithTimeout(ctx, p.times.connect)
	defer cancel()
	if chain, err := remote.Fetch(look, u, dial); err == nil {
		f = f.with("certificate", describe(chain)).with("clock", time.Now().UTC().Format(time.RFC3339))
	}
	return f
}

// oldTLS is the newest version below 1.2 that the server speaks.
func (p *patient) oldTLS(ctx context.Context) (uint16, bool) {
	for _, version := range []uint16{tls.VersionTLS11, tls.VersionTLS10} {
		if p.speaks(ctx, version) {
			return version, true
		}
	}
	return 0, false
}

// speaks tells whether the server takes a version of TLS. Nobody logs in.
func (p *patient) speaks(ctx context.Context, version uint16) bool {
	fo, err := p.connection(ctx)
	if err != nil {
		return false
	}
	fo.Trace = p.watch(tls.VersionName(version), &seen{})
	fo.Greeting = p.times.answer
	fo.TLS = &tls.Config{InsecureSkipVerify: true, MinVersion: version, MaxVersion: version} // nothing secret is said
	for _, s := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		fo.TLS.CipherSuites = append(fo.TLS.CipherSuites, s.ID)
	}
	if fo.Mode != ftpclient.TLSImplicit {
		fo.Mode = ftpclient.TLSRequire
	}
	c, err := ftpclient.Open(ctx, fo)
	if err != nil {
		return false
	}
	_ = c.Close()
	return true
}

// versionsOf tries each version of TLS.
func (p *patient) versionsOf(ctx context.Context) Finding {
	if _, ok := p.conn.TLS(); !ok {
		return skip("there is no TLS")
	}
	var names []string
	old := false
	for _, version := range []uint16{tls.VersionTLS13, tls.VersionTLS12, tls.VersionTLS11, tls.VersionTLS10} {
		if p.speaks(ctx, version) {
			names = append(names, tls.VersionName(version))
			old = old || version < tls.VersionTLS12
		}
	}
	f := fine("the server speaks %s", strings.Join(names, ", ")).with("versions", names)
	if old {
		f.Verdict = Note
		f.Saw += "; versions below 1.2 are broken, and only old devices need them"
	}
	return f
}

// loginOf logs in.
func (p *patient) loginOf(ctx context.Context) Finding {
	p.main.Lock()
	defer p.main.Unlock()
	err := p.asPossible(ctx, &p.control, p.conn.Login)
	who := p.login.User
	if who == "" {
		who = "anonymous"
	}
	if err == nil {
		p.entered.Store(true)
		welcome := p.conn.Welcome()
		return fine("as %s: %s", who, brief(ftp.Reply{Code: welcome.Code, Text: cmp.Or(welcome.Last, welcome.Text)}.Said())).with("user", who).with("features", p.conn.Features().Names())
	}
	if errors.Is(err, errAsked) {
		return p.toldNothing(p.login.User, "%s", p.control.asks())
	}
	if f, ok := p.loginRanOut(ctx); ok {
		return f
	}
	e := fault.Of(err)
	_, secure := p.conn.TLS()
	if !secure && e.Kind != fault.Canceled && (e.ID == fault.IDTLSRequired || p.worksOverTLS(ctx)) {
		if e.ID != fault.IDTLSRequired {
			err = fault.Because(err, fault.NeedTLS, fault.IDTLSRequired, p.u.Host)
		}
		u := p.u
		u.Scheme = remote.FTPTLS
		return of(Fail, err).first(you(p.command("doctor", u, nil, "tls", "plain"), "log in over TLS:"))
	}
	if p.login.User == "" && e.Kind == fault.NotLoggedIn {
		return p.nobodyNamed("anonymous is refused: %s", explain.Said(err))
	}
	f := of(Fail, err).with("user", who).with("user_length", len(who))
	if secret := p.login.Password.Reveal(); strings.TrimSpace(secret) != secret {
		f = f.first(you("", "the password that was sent begins or ends with a blank or a line end: it may have come along when it was copied"))
	}
	if e.ID == fault.IDAuth && p.login.From != "" {
		f = f.with("password_from", p.login.From)
	}
	return f
}

// loginRanOut is a login that the server left without an answer until the time was over.
func (p *patient) loginRanOut(ctx context.Context) (Finding, bool) {
	p.control.mu.Lock()
	quiet := p.human.goneBy(p.control.heard)
	p.control.mu.Unlock()
	if !errors.Is(context.Cause(ctx), errNoTime) || quiet < pending {
		return Finding{}, false
	}
	f := found(Fail, fault.IDNoAnswer, "the login was not answered for %d s", int(quiet.Seconds()))
	if !p.o.Deep {
		f = f.first(you(p.command("doctor", p.u, []string{"--deep"}), "see whether it is answered later:"))
	}
	f.sure = true
	return f, true
}

// errAsked ends a login that would go on with a password that nobody knows.
var errAsked = errors.New("the server asks for the password")

// asPossible logs in, as far as that goes without a password where none is known: errAsked
// when the server asks for it.
func (p *patient) asPossible(ctx context.Context, s *seen, login func(ctx context.Context) error) error {
	if !p.unknown() {
		return login(ctx)
	}
	within, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s.mu.Lock()
	s.asked = func() { cancel(errAsked) }
	s.mu.Unlock()
	return login(within)
}

// worksOverTLS tells whether the same login is taken over TLS.
func (p *patient) worksOverTLS(ctx context.Context) bool {
	var s seen
	err := p.asPossible(ctx, &s, func(ctx context.Context) error {
		c, err := p.another(ctx, "over TLS", &s, func(o *ftpclient.Options) { o.Mode = ftpclient.TLSRequire })
		if err == nil {
			_ = c.Close()
		}
		return err
	})
	return err == nil || errors.Is(err, errAsked)
}

// directory is what is listed: the one of the URL, or the one that its file is in.
func (p *patient) directory(ctx context.Context, c *ftpclient.Conn) string {
	if p.u.DirWanted || p.u.Path == "" {
		return p.u.Path
	}
	if e, err := c.Stat(ctx, p.u.Path); err == nil && e.Is(ftp.KnownType) && e.Mode.IsRegular() {
		return remote.Dir(p.u.Path)
	}
	return p.u.Path
}

const mostEntries = 2000

// list is a directory: its first entries, and how many there are.
func list(ctx context.Context, c *ftpclient.Conn, dir string) (entries []ftp.Listed, n int, err error) {
	for e, err := range c.List(ctx, dir) {
		if err != nil {
			return entries, n, err
		}
		if n++; n <= mostEntries { // the rest is read and forgotten
			entries = append(entries, e)
		}
	}
	return entries, n, nil
}

// listingOf lists the directory, as a program would.
func (p *patient) listingOf(ctx context.Context) Finding {
	p.main.Lock()
	defer p.main.Unlock()
	began := time.Now()
	dir := p.directory(ctx, p.conn)
	p.entries, p.listed, p.listErr = list(ctx, p.conn, dir)
	if p.listErr != nil {
		f := of(Fail, p.listErr)
		if e := fault.Of(p.listErr); e.ID == fault.IDDataBlocked {
			if why(e.Err) == fault.IDRejected {
				f.Saw = "a firewall rejects the server's data port"
			}
			f = f.first(openPorts)
		}
		return f
	}
	name := dir
	if name == "" || name == "." {
		name = "the directory of the login"
	}
	f := fine("%s in %s, %s", countOf(p.listed), name, millis(time.Since(began)))
	p.control.mu.Lock()
	defer p.control.mu.Unlock()
	if n := len(p.control.data); n > 0 {
		if p.control.data[n-1].DidResume {
			f.Saw += ", the data connection resumed the TLS session"
		}
		f = f.with("resumed", p.control.data[n-1].DidResume)
	}
	return f
}

func countOf(names int) string {
	if names == 1 {
		return "1 name"
	}
	return fmt.Sprintf("%d names", names)
}

// activeOf lets the server connect to us.
func (p *patient) activeOf(ctx context.Context) Finding {
	switch {
	case p.o.Remote.Proxied:
		return skip("the proxy can't be connected to")
	case p.o.Remote.FTP.Active:
		return skip("all of it is in active mode")
	}
	c, err := p.another(ctx, "active", &seen{}, func(o *ftpclient.Options) { o.Active = true })
	if err != nil {
		return skip("no second connection: %s", screen.Line(explain.Line(fault.Of(err))))
	}
	defer func() { _ = c.Close() }()
	if _, _, err := list(ctx, c, p.directoryOf()); err != nil {
		if id := fault.Of(err).ID; id == fault.IDPerm || id == fault.IDNotDir || id == fault.IDNotFound || p.listErr != nil && id == fault.Of(p.listErr).ID && !aboutData(id) {
			return skip("the directory can't be listed") // which is told elsewhere
		}
		f := of(Note, err)
		f.Means = "Only who asks for active mode needs it. Behind NAT, or a firewall that lets nobody in, it can't work."
		f.Do = nil
		return f
	}
	return fine("the server connects to us")
}

// reuseOf does without the session that the server may want to be resumed.
func (p *patient) reuseOf(ctx context.Context) Finding {
	p.control.mu.Lock()
	n := len(p.control.data)
	p.control.mu.Unlock()
	if n == 0 {
		return skip("no TLS on data connections")
	}
	var s seen
	c, err := p.another(ctx, "without reuse", &s, func(o *ftpclient.Options) { o.NoReuse = true })
	if err != nil {
		return skip("no second connection: %s", screen.Line(explain.Line(fault.Of(err))))
	}
	defer func() { _ = c.Close() }()
	if _, _, err := list(ctx, c, p.directoryOf()); err != nil {
		s.mu.Lock()
		why := cmp.Or(explain.Said(err), s.refusal, explain.Cause(err))
		s.mu.Unlock()
		switch fault.Of(err).ID {
		case fault.IDTLSReuse, fault.IDTLSData, fault.IDTLSFailed, fault.IDDataLost, fault.IDListingCut, fault.IDNoDataPort, fault.IDLost:
		default:
			return skip("it could not be looked at: %s", screen.Line(why))
		}
		f := found(Note, fault.IDTLSReuse, "data connections must resume the TLS session: %s", why)
		f.Means = "dray does. Programs that do not fail at the first listing: then update them, or let the server do without."
		return f
	}
	return fine("data connections need not resume the TLS session")
}

// doorsOf looks at the other ports that file transfer has.
func (p *patient) doorsOf(ctx context.Context) Finding {
	if p.between != "" {
		return skip("%s is in between", p.between)
	}
	var looking sync.WaitGroup
	var mu sync.Mutex
	said := map[int]string{}
	ports := []int{remote.FTP.Port(), remote.SFTP.Port(), remote.FTPS.Port()}
	for _, port := range ports {
		if port == p.port {
			continue
		}
		looking.Go(func() {
			p.mu.Lock()
			d, known := p.doors[port]
			p.mu.Unlock()
			if !known {
				d = p.knock(ctx, port)
			}
			p.mu.Lock()
			p.doors[port] = d
			p.mu.Unlock()
			mu.Lock()
			defer mu.Unlock()
			said[port] = d.String()
		})
	}
	looking.Wait()
	var parts []string
	f := fine("")
	for _, port := range ports {
		if text, ok := said[port]; ok {
			parts = append(parts, fmt.Sprintf("%d %s", port, text))
			f = f.with(fmt.Sprint(port), text)
		}
	}
	f.Saw = screen.Line(strings.Join(parts, "; "))
	return f
}

// errEnough ends a transfer of which enough was seen.
var errEnough = errors.New("enough was seen")

// addrOf is the address of the server's end of a connection.
func addrOf(c *ftpclient.Conn) netip.Addr {
	a, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		return netip.Addr{}
	}
	return a.Addr().Unmap()
}
