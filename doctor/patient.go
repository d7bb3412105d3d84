package doctor

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"dray/account"
	"dray/explain"
	"dray/fault"
	"dray/ftp"
	"dray/ftpclient"
	"dray/remote"
	"dray/screen"
	"dray/sshclient"
	"dray/transfer"
)

// A patient is what the checks of one examination know of the server.
type patient struct {
	o     Options
	u     remote.URL
	login remote.Login
	times times

	host    string // where connections end: of ssh_config, or of the URL
	port    int
	user    string        // of ssh_config, or of this machine
	named   bool          // the URL or ssh_config names who logs in
	knocked bool          // the port of FTP was looked at for the choice of the scheme
	between string        // who connects for us, and looks up the name; "": nobody
	hidden  []string      // secrets, which are in nothing that is told
	chose   time.Duration // how long the choice of the scheme took

	human   human
	asks    bool       // somebody may be asked about a certificate
	telling sync.Mutex // of Options.Trace

	mu    sync.Mutex // of what is below
	addrs []netip.Addr
	doors map[int]door
	ends  []func()

	ftpPatient
	sshPatient
}

// times are how long the steps are waited for.
type times struct {
	connect  time.Duration // a control connection
	greeting time.Duration
	answer   time.Duration // a reply; a transfer without a byte
	data     time.Duration // a data connection
	ports    time.Duration // for all data ports together
	all      time.Duration // for all of it; 0: as long as it takes
	idle     time.Duration // how long a connection is left in peace; 0: idleFor
}

var (
	quick = times{connect: 4 * time.Second, greeting: 8 * time.Second, answer: 6 * time.Second, data: 2500 * time.Millisecond, ports: 3 * time.Second, all: 9 * time.Second}
	slow  = times{connect: 20 * time.Second, greeting: 70 * time.Second, answer: 30 * time.Second, data: 8 * time.Second, ports: 25 * time.Second}
)

// prepare settles what is looked at and who logs in.
func (p *patient) prepare(ctx context.Context) error {
	p.times = quick
	if p.o.Deep {
		p.times = slow
	}
	if p.o.times != nil {
		p.times = *p.o.times
	}
	if p.o.Write {
		p.times.all *= 2
	}
	if d := p.o.Remote.Connect; d > 0 {
		p.times.connect = d
	}
	if d := p.o.Remote.Timeout; d > 0 {
		p.times.answer = d
	}
	p.doors = map[int]door{}
	p.asks = p.human.asks(&p.o.Remote)
	p.host = p.u.Host
	if p.o.Open && p.u.Scheme.IsFTP() && p.u.Port == 0 {
		p.choose(ctx)
	}
	p.host, p.port, p.named = p.u.Host, p.u.PortNumber(), p.u.User != ""
	if p.o.Remote.Proxied {
		p.between = "the proxy"
	}
	if !p.u.Scheme.IsFTP() {
		if s, err := sshclient.Read(p.o.Remote.SSHConn(p.u)); err == nil {
			p.host, p.port, p.user, p.named = s.Name, s.Port, s.User, s.UserNamed
			switch {
			case len(s.Hops) > 0:
				p.between = "the jump host"
			case s.Command != "" && !p.o.Remote.Proxied:
				p.between = "ProxyCommand"
			}
		}
		return nil // over SSH a password is looked for when the server asks
	}
	var err error
	p.login, err = p.o.Remote.Login(ctx, p.u)
	p.hide(p.login.Password.Reveal())
	p.hide(p.login.Account.Reveal())
	return err
}

// unknown tells that somebody logs in over FTP whose password nobody knows. An empty one
// would be a login that failed, and servers ban for those.
func (p *patient) unknown() bool {
	return p.login.User != "" && !p.login.HasPassword && !account.IsAnonymousName(p.login.User)
}

// toldNothing is a login that was not tried, because no password is known for who.
func (p *patient) toldNothing(who, saw string, args ...any) Finding {
	f := skip("no password is known for %s: %s", screen.Line(who), screen.Line(fmt.Sprintf(saw, args...)))
	f.Do = []explain.Step{p.givePassword()}
	return f
}

func (p *patient) givePassword() explain.Step {
	return you(p.command("doctor", p.u, []string{"--ask-password"}, "batch"), "have it asked for; or --password-file, DRAY_PASSWORD and ~/.netrc are where it may come from:")
}

// nobodyNamed is a login that was refused, and nobody had said who logs in.
func (p *patient) nobodyNamed(saw string, args ...any) Finding {
	u := p.u
	u.User = "USER"
	text := "give a user to have the rest looked at:"
	if known := p.o.Remote.Passwords; known != nil {
		if e, ok := known.Netrc.Find(p.u.Host, ""); ok && e.Machine != "" && e.Login != "" {
			u.User = e.Login // over SSH the URL or ssh_config say who
			text = "give a user to have the rest looked at; ~/.netrc has this one:"
		}
	}
	f := skip("no user was given, and %s", screen.Line(fmt.Sprintf(saw, args...)))
	f.Do = []explain.Step{you(p.command("doctor", u, nil), "%s", text)}
	return f
}

// hide keeps a secret out of all that is told, where servers repeat it. One that is
// shorter than words are is left.
func (p *patient) hide(secret string) {
	if len(secret) >= 4 {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.hidden = append(p.hidden, secret, screen.Line(secret))
	}
}

// hushed is s without secrets.
func (p *patient) hushed(s string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, secret := range p.hidden {
		s = strings.ReplaceAll(s, secret, "***")
	}
	return s
}

// without is a finding without secrets. The words that are ours stay as they are: a
// password that is one of them would be told by its absence.
func (p *patient) without(f Finding) Finding {
	f.Saw = p.hushed(f.Saw)
	entry, _ := explain.For(f.ID)
	for name, fact := range f.Facts {
		switch fact := fact.(type) {
		case string:
			f.Facts[name] = p.hushed(fact)
		case []string:
			all := make([]string, len(fact))
			for i, text := range fact {
				all[i] = p.hushed(screen.Line(text))
			}
			f.Facts[name] = all
		}
	}
	for i, s := range f.Do {
		if !strings.Contains(strings.ReplaceAll(entry.You+entry.Admin, "`", ""), s.Text) {
			f.Do[i].Text = p.hushed(s.Text)
		}
	}
	return f
}

// choose takes SFTP where nobody speaks FTP and somebody speaks SSH.
func (p *patient) choose(ctx context.Context) {
	began := time.Now()
	defer func() { p.chose = time.Since(began) }()
	ports := []int{remote.FTP.Port(), remote.SFTP.Port()}
	var all [2]door
	var looking sync.WaitGroup
	for i, port := range ports {
		looking.Go(func() { all[i] = p.knock(ctx, port) })
	}
	looking.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.knocked = true
	for i, port := range ports {
		p.doors[port] = all[i]
	}
	if all[0].state != open && all[1].speaks == speaksSSH {
		p.u.Scheme = remote.SFTP
	}
}

// atEnd has f called when the examination is over.
func (p *patient) atEnd(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ends = append(p.ends, f)
}

func (p *patient) close() {
	p.mu.Lock()
	ends := p.ends
	p.ends = nil
	p.mu.Unlock()
	for _, f := range ends {
		f()
	}
}

// trace tells a line of the dialogue of one connection.
func (p *patient) trace(who, format string, args ...any) {
	if p.o.Trace == nil {
		return
	}
	p.telling.Lock()
	defer p.telling.Unlock()
	p.o.Trace(who + ": " + p.hushed(screen.Line(fmt.Sprintf(format, args...))))
}

// command is a command line of ours for a URL, with the options that the examination
// has.
func (p *patient) command(verb string, u remote.URL, more []string, leave ...string) string {
	u.HasPassword = false
	if p.o.Command != nil {
		return p.o.Command(verb, u, more, leave...)
	}
	return strings.Join(append(append([]string{"dray", verb}, more...), u.String()), " ")
}

// name looks the name up.
func (p *patient) name(ctx context.Context) Finding {
	if p.between != "" {
		return fine("%s looks it up", p.between)
	}
	if addr, err := netip.ParseAddr(p.host); err == nil {
		p.addrs = []netip.Addr{addr.Unmap()}
		return fine("%s is an address", addr)
	}
	ctx, cancel := context.WithTimeout(ctx, p.times.connect)
	defer cancel()
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", p.host)
	if err != nil || len(addrs) == 0 {
		if err == nil {
			err = errors.New("no address")
		}
		f := of(Fail, fault.Because(err, fault.Unreachable, fault.IDDNS, p.host))
		var dns *net.DNSError
		if errors.As(err, &dns) && dns.IsTimeout {
			f.Saw += ": the resolver does not answer"
			return f
		}
		if p.o.Near == nil {
			return f
		}
		if near := p.o.Near(p.host); near != "" {
			u := p.u
			u.Host = near
			f = f.first(you(p.command("doctor", u, nil), "did you mean %s? You have been there before:", near))
		}
		return f
	}
	var four, six []string
	for i, a := range addrs {
		addrs[i] = a.Unmap()
		if addrs[i].Is4() {
			four = append(four, addrs[i].String())
		} else {
			six = append(six, addrs[i].String())
		}
	}
	p.mu.Lock()
	p.addrs = addrs
	p.mu.Unlock()
	text := func(list []string, none string) string {
		if len(list) == 0 {
			return none
		}
		return strings.Join(list[:min(len(list), 4)], ", ")
	}
	return fine("%s is %s, %s", p.host, text(four, "no IPv4 address"), text(six, "no IPv6 address")).with("ipv4", four).with("ipv6", six)
}

// families tells whether the port answers over IPv4 and IPv6 alike.
func (p *patient) families(ctx context.Context) Finding {
	var four, six netip.Addr
	for _, a := range p.addrs {
		switch {
		case a.Is4() && !four.IsValid():
			four = a
		case a.Is6() && !six.IsValid():
			six = a
		}
	}
	switch {
	case p.between != "":
		return skip("%s is in between", p.between)
	case !four.IsValid() || !six.IsValid():
		return skip("the name has addresses of one family only")
	case p.o.Remote.Network != "" && p.o.Remote.Network != "tcp":
		return skip("one family was asked for")
	case !hasRoute(six):
		return skip("this machine has no IPv6")
	case !hasRoute(four):
		return skip("this machine has no IPv4")
	}
	var errs [2]error
	var looking sync.WaitGroup
	for i, a := range []netip.Addr{four, six} {
		looking.Go(func() {
			d := net.Dialer{Timeout: p.times.data}
			errs[i] = touch(d.DialContext(ctx, "tcp", netip.AddrPortFrom(a, uint16(p.port)).String()))
		})
	}
	looking.Wait()
	switch {
	case errs[0] == nil && errs[1] != nil:
		f := found(Warn, fault.IDIPv6Dead, "%s answers at %s and not at %s: %s", p.host, four, six, reason(errs[1]))
		return f.first(you(p.command("doctor", p.u, []string{"-4"}), "until that is put right, connect over IPv4"))
	case errs[0] != nil && errs[1] == nil:
		return Finding{Verdict: Note, Saw: screen.Line(fmt.Sprintf("%s answers at %s and not at %s: %s", p.host, six, four, reason(errs[0])))}
	case errs[0] != nil:
		return skip("neither family answers")
	}
	return fine("IPv4 and IPv6 both answer")
}

// hasRoute tells whether this machine sends packets to an address at all. Nothing is
// sent.
func hasRoute(a netip.Addr) bool {
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, 9)))
	if err != nil {
		return false
	}
	_ = c.Close()
	return true
}

// touch closes a connection that was only to be made.
func touch(c net.Conn, err error) error {
	if err != nil {
		return err
	}
	return c.Close()
}

// reason says in plain words why a connection was not made.
func reason(err error) string {
	switch e := fault.Of(fault.Unreached(err, "", 0, time.Second)); {
	case err == nil:
		return ""
	case e.ID == fault.IDRefused:
		return "refused"
	case e.ID == fault.IDFiltered:
		return "no answer"
	case e.ID == fault.IDRejected:
		return "rejected by a firewall or router"
	}
	return screen.Line(err.Error())
}

// seen is what the trace of a control connection has told.
type seen struct {
	mu        sync.Mutex
	connected time.Time
	ready     time.Time     // when a greeting could come: the connection stood, with its TLS
	heard     moment        // when something came last
	way       time.Duration // how long the connection took to be made
	address   string
	greeted   time.Time
	refusal   string // the last reply that said no
	question  string // what the password was asked for with
	asked     func() // is told when it is; nil: nobody is
	greeting  string
	tls       *tls.ConnectionState
	data      []tls.ConnectionState
}

// forget makes it as if nothing had been seen.
func (s *seen) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.connected, s.ready, s.greeted, s.greeting, s.address, s.tls = time.Time{}, time.Time{}, time.Time{}, "", "", nil
}

// asks is what the server asked for the password with.
func (s *seen) asks() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.question
}

// watch is a trace that fills s and tells the dialogue.
func (p *patient) watch(who string, s *seen) *ftpclient.Trace {
	locked := func(f func()) {
		s.mu.Lock()
		defer s.mu.Unlock()
		f()
	}
	return &ftpclient.Trace{
		Connected: func(addr string) {
			locked(func() {
				s.connected, s.address, s.heard = time.Now(), addr, p.human.now()
				s.ready = s.connected
			})
			p.trace(who, "-- connected to %s", addr)
		},
		Command: func(line string) { p.trace(who, "-> %s", line) },
		Reply: func(r ftp.Reply) {
			locked(func() {
				s.heard = p.human.now()
				switch {
				case r.Code >= 400:
					s.refusal = r.Said()
				case r.Code == ftp.C331NeedPassword:
					if s.question = r.Said(); s.asked != nil {
						s.asked()
					}
				}
				if s.greeted.IsZero() && r.Code >= 200 && r.Code < 300 {
					s.greeted, s.greeting = time.Now(), r.Said()
				}
			})
			for _, line := range r.All() {
				p.trace(who, "<- %d %s", r.Code, line)
			}
		},
		TLS: func(step ftpclient.Step, cs tls.ConnectionState) {
			locked(func() {
				s.heard = p.human.now()
				if step == ftpclient.StepControl {
					if s.tls = &cs; s.greeted.IsZero() {
						s.ready = time.Now()
					}
				} else {
					s.data = append(s.data, cs)
				}
			})
			p.trace(who, "-- %s: %s, %s, resumed %v", step, tls.VersionName(cs.Version), tls.CipherSuiteName(cs.CipherSuite), cs.DidResume)
		},
		Data: func(addr string) { p.trace(who, "-- data connection to %s", addr) },
		Road: func(verb string, r transfer.Report) { p.trace(who, "-- %s: %d bytes in %v", verb, r.Bytes, r.Took) },
		Note: func(text string) { p.trace(who, "-- %s", text) },
	}
}

// late is a greeting for which many programs do not wait.
const late = 5 * time.Second

// lateGreeting is what came at last.
func (p *patient) lateGreeting(what, greeting string, after time.Duration, server string) Finding {
	f := found(Warn, fault.IDNoAnswer, "%s came after %d s: %s", what, int(after.Seconds()), greeting).with("greeting_ms", after.Milliseconds())
	f.Means = "The server does something before it speaks; mostly it looks up the name of your address, and nobody answers. Many programs give up meanwhile."
	f.Do = []explain.Step{
		you(p.command("ls", p.u, []string{"--connect-timeout", fmt.Sprintf("%ds", int(after.Seconds())*2)}), "until that is put right, wait longer"),
		admin("", "%s", server),
	}
	f.sure = true
	return f
}

// silentServer is one that takes the connection and does not speak first, as servers of
// its protocol do.
func (p *patient) silentServer(where, protocol string, waited time.Duration) Finding {
	f := found(Fail, fault.IDNoAnswer, "%s takes the connection and says nothing: no greeting of %s in %d s", where, protocol, int(waited.Round(time.Second).Seconds()))
	f.Means = "A server of this protocol speaks first, and this one did not. It is overloaded, waits for something before it speaks, such as the name of your address, or what stands on this port is another service."
	f.Do = []explain.Step{admin("", "look at the log and the load of the server at that time; when it looks up the names of its clients, switch that off (sshd: UseDNS no; ProFTPD: UseReverseDNS off; vsftpd: reverse_lookup_enable=NO; Pure-FTPd: DontResolve yes)")}
	if !p.o.Deep {
		f = f.first(you(p.command("doctor", p.u, []string{"--deep"}), "see whether it speaks later:"))
	}
	f.sure = true
	return f
}

// pending is how long an answer may be under way when the time is over, before that is told.
const pending = 2 * time.Second

// ranOut is an examination whose time is over while an answer was waited for, longer
// than a server that is only slow or far away takes: heard is when something came last,
// greeting what had come, and after how long.
func (p *patient) ranOut(ctx context.Context, heard moment, where, protocol, greeting string, after time.Duration) (Finding, bool) {
	quiet := p.human.goneBy(heard)
	switch {
	case !errors.Is(context.Cause(ctx), errNoTime) || quiet < pending || where == "":
		return Finding{}, false
	case greeting == "":
		return p.silentServer(where, protocol, quiet), true
	}
	f := found(Fail, fault.IDNoAnswer, "the greeting came after %s, and then nothing for %d s: %s", millis(after), int(quiet.Seconds()), greeting)
	if !p.o.Deep {
		f = f.first(you(p.command("doctor", p.u, []string{"--deep"}), "see whether it answers later:"))
	}
	f.sure = true
	return f, true
}

// ended is how the other side ends a connection.
func ended(err error) string {
	if errors.Is(err, syscall.ECONNRESET) {
		return "resets the connection"
	}
	return "closes the connection"
}

// suggest adds to the first finding that failed what else works with this host.
func (p *patient) suggest(findings []Finding) {
	for i := range findings {
		if findings[i].ID != "" && !findings[i].own {
			p.remedy(&findings[i], p.behind(&findings[i])...)
		}
	}
	active := slices.ContainsFunc(findings, func(f Finding) bool { return f.Check == "active" && f.Verdict == OK })
	for i := range findings {
		f := &findings[i]
		if f.Verdict != Fail {
			continue
		}
		switch f.Check {
		case "both ends", "passive", "listing":
			if !aboutData(f.ID) {
				return
			}
			if active && !p.o.Remote.FTP.Active {
				f.Do = append([]explain.Step{you(p.command("doctor", p.u, []string{"--active"}), "active mode works from here:")}, f.Do...)
			}
			f.Do = append(f.Do, p.elsewhere(f.ID)...)
		case "tls":
			if f.ID == fault.IDTLSMissing { // what is encrypted comes first
				f.Do = append(p.elsewhere(f.ID), f.Do...)
			}
		case "control":
			f.Do = append(f.Do, p.elsewhere(f.ID)...)
		}
		return
	}
}

// behind is what the words mean that a server wrote in clear text inside TLS; none where
// nobody knows them.
func (p *patient) behind(f *Finding) []fault.ID {
	said, _ := f.Facts["server"].(string)
	if f.ID != fault.IDPlainInTLS || said == "" {
		return nil
	}
	var ids []fault.ID
	for _, m := range explain.Find(said) {
		if e, ok := explain.For(m.ID); ok && m.ID != f.ID && m.ID != fault.IDServerSaysNo {
			ids = append(ids, m.ID)
			f.Means = strings.ReplaceAll(e.Means, "`", "")
			f.Do = slices.Insert(f.Do, 0, admin("", "%s", strings.ReplaceAll(e.Admin, "`", "")))
		}
	}
	return ids
}

// aboutData tells whether another kind of data connection may do what one did not.
func aboutData(id fault.ID) bool {
	switch id {
	case fault.IDDataBlocked, fault.IDUnpublished, fault.IDRangePartly, fault.IDNoDataPort, fault.IDDataPeer, fault.IDPool, fault.IDALG, fault.IDTLSData:
		return true
	}
	return false
}

// other is u by another scheme, at the same port. What it begins with is no path of
// another protocol: "/" of SFTP is the root, and of FTP the directory of the login.
func other(u remote.URL, scheme remote.Scheme) remote.URL {
	if u.Scheme.IsFTP() != scheme.IsFTP() && u.Path == "/" {
		u.Path = ""
	}
	u.Port, u.Scheme, u.HostPrint = u.PortNumber(), scheme, ""
	return u
}

// elsewhere are the other ways to this host that answered.
func (p *patient) elsewhere(id fault.ID) []explain.Step {
	p.mu.Lock()
	defer p.mu.Unlock()
	var steps []explain.Step
	for _, way := range []struct {
		scheme remote.Scheme
		speaks string
	}{{remote.SFTP, speaksSSH}, {remote.FTP, speaksFTP}, {remote.FTPS, speaksTLS}} {
		d, ok := p.doors[way.scheme.Port()]
		if !ok || d.state != open || d.speaks != way.speaks || way.scheme == p.u.Scheme && p.u.PortNumber() == way.scheme.Port() {
			continue
		}
		if way.speaks != speaksSSH && (id == fault.IDDataBlocked || id == fault.IDUnpublished || id == fault.IDDataPeer) {
			continue // its data goes the same way
		}
		u := other(p.u, way.scheme)
		u.Port = 0
		steps = append(steps, you(p.command("doctor", u, nil, "tls", "plain"), "port %d of this host answers with %s", way.scheme.Port(), way.speaks))
	}
	return steps
}
