package doctor

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"dray/explain"
	"dray/fault"
	"dray/kexinit"
	"dray/remote"
	"dray/screen"
	"dray/sftp"
	"dray/sftpclient"
	"dray/sshclient"
	"dray/transfer"
)

// sshPatient is what is known of an SSH server.
type sshPatient struct {
	ssh    *sshclient.Conn
	sftp   *sftpclient.Client
	sshErr error
	names  []sftpclient.Entry
	gave   bool // the server was given a password
	asked  bool // it asked for one

	steps    sync.Mutex
	said     map[string]string // by step, the last that the client told
	greets   time.Time         // when the version came
	heard    moment            // when the client told something
	listedIn string
	theirs   kexinit.Offer // what the server says to know
	ours     kexinit.Offer
}

// sshChecks are those of SFTP, the more basic first.
func sshChecks(o *Options) []check {
	all := []check{
		{name: "name", run: (*patient).name},
		{name: "control", needs: []string{"name"}, run: (*patient).sshOf},
		{name: "families", needs: []string{"name"}, after: []string{"control"}, run: (*patient).families},
		{name: "algorithms", needs: []string{"control"}, run: (*patient).algorithmsOf},
		{name: "host key", needs: []string{"algorithms"}, run: (*patient).hostKeyOf},
		{name: "login", needs: []string{"host key"}, run: (*patient).sshLoginOf},
		{name: "sftp", needs: []string{"login"}, run: (*patient).sftpOf},
		{name: "both ends", needs: []string{"sftp"}, run: (*patient).sftpEnds},
		{name: "listing", needs: []string{"sftp"}, run: (*patient).sftpListingOf},
		{name: "space", needs: []string{"sftp"}, run: (*patient).spaceOf},
		{name: "download", needs: []string{"listing"}, run: (*patient).sftpDownloadOf},
	}
	if o.Write {
		all = append(all, check{name: "upload", needs: []string{"listing"}, after: []string{"download"}, run: (*patient).sftpUploadOf})
	}
	if o.Deep {
		all = append(all, check{name: "idle", needs: []string{"login"}, after: []string{"download", "space"}, run: (*patient).sshIdleOf})
	}
	return append(all, check{name: "other ports", needs: []string{"name"}, after: []string{"control"}, run: (*patient).doorsOf})
}

// sshSteps are the checks whose work one call of the client does, in its order, and how
// they are called in its trace.
var sshSteps = []struct{ check, step string }{
	{"control", "server version"}, {"algorithms", "algorithms"}, {"host key", "host key"}, {"login", "authenticated by"},
}

// sshOf makes the connection and logs in; the checks behind it tell what came of that.
func (p *patient) sshOf(ctx context.Context) Finding {
	o := p.o.Remote
	o.Connect, o.Timeout = p.times.connect, p.times.answer
	so := o.SSHConn(p.u)
	so.Greeting, so.Silent = p.times.greeting, p.o.Deep // which looks at a silent connection
	p.said = map[string]string{}
	p.heard = p.human.now()
	so.Trace = func(step, text string) {
		p.steps.Lock()
		p.heard = p.human.now()
		if step == "server version" {
			p.greets = time.Now()
		}
		if step != "host key" || p.said[step] == "" {
			p.said[step] = text
		}
		p.steps.Unlock()
		p.trace("ssh", "-- %s: %s", step, text)
	}
	so.Password = p.password
	so.Offered = func(o kexinit.Offer) { p.theirs = o } // before the first key, by the goroutine that Dial waits for
	if s, err := sshclient.Read(so); err == nil {
		p.ours = s.Offers()
	}
	began := time.Now()
	p.ssh, p.sshErr = sshclient.Dial(ctx, so)
	if p.ssh != nil {
		p.atEnd(func() { _ = p.ssh.Close() })
	}
	where := p.told("connected", "")
	if host, at, ok := strings.Cut(where, " at "); ok && host == at { // an address was asked for
		where = at
	}
	version := p.told("server version", "")
	after := time.Duration(0)
	if version != "" {
		after = p.greets.Sub(began)
	}
	if p.sshErr != nil {
		if f, ok := p.ranOut(ctx, p.sshHeard(), where, "SSH", version, after); ok {
			return f
		}
		if p.failedAt() == "control" {
			return p.noSSH(where)
		}
	}
	if after > late {
		return p.lateGreeting("the version of the server", version, after, "sshd: UseDNS no; else mend the resolver in /etc/resolv.conf").with("version", version)
	}
	return fine("%s: %s, %s", cmp.Or(where, p.u.Address()), cmp.Or(version, "SSH"), millis(after)).with("version", version).with("greeting_ms", after.Milliseconds())
}

// sshHeard is when the client told something last.
func (p *patient) sshHeard() moment {
	p.steps.Lock()
	defer p.steps.Unlock()
	return p.heard
}

// noSSH is a connection that did not come as far as the version of the server; where is
// "" when there was none.
func (p *patient) noSSH(where string) Finding {
	e := fault.Of(p.sshErr)
	switch f := p.corrected(of(Fail, p.sshErr), e); {
	case e.ID == fault.IDBusy && explain.Said(p.sshErr) == "":
		return found(Fail, fault.IDSSHDropped, "%s accepts and %s before it says anything", cmp.Or(where, p.u.Address()), ended(p.sshErr)).with("cause", screen.Line(explain.Cause(p.sshErr)))
	case e.ID == fault.IDNoAnswer && where != "":
		return p.silentServer(where, "SSH", p.times.greeting)
	default:
		return f
	}
}

// told is what the client told of a step.
func (p *patient) told(step, or string) string {
	p.steps.Lock()
	defer p.steps.Unlock()
	if text, ok := p.said[step]; ok {
		return text
	}
	return or
}

// failedAt is the check that the error of the connection belongs to, "" when there is
// none.
func (p *patient) failedAt() string {
	if p.sshErr == nil {
		return ""
	}
	switch fault.Of(p.sshErr).ID {
	case fault.IDHostKeyNew, fault.IDHostKeyOther, fault.IDHostKeyGone:
		return "host key"
	case fault.IDKexCipher, fault.IDHostKeyAlg:
		return "algorithms"
	case fault.IDAuth:
		return "login"
	}
	for _, s := range sshSteps {
		if p.told(s.step, "") == "" {
			return s.check
		}
	}
	return "login"
}

func (p *patient) password(ctx context.Context, q sshclient.Question) (string, error) {
	if q.Try > 1 {
		return "", errors.New("it was refused")
	}
	u := p.u
	u.User = q.User
	l, err := p.o.Remote.Login(ctx, u)
	if err != nil {
		return "", err
	}
	p.asked = true
	if !l.HasPassword {
		return "", sshclient.ErrNoPassword
	}
	p.gave = true
	p.hide(l.Password.Reveal())
	return l.Password.Reveal(), nil
}

// part is the finding of a check whose work the connection did.
func (p *patient) part(name, step string) Finding {
	if p.failedAt() != name {
		return fine("%s", p.told(step, ""))
	}
	f := of(Fail, p.sshErr)
	if text := p.told("server takes", ""); name == "login" && text != "" {
		f.Saw += "; the server takes " + screen.Line(text)
		f = f.with("methods", text)
	}
	return f
}

// algorithmsOf tells what was agreed on, and for programs what each side knows.
func (p *patient) algorithmsOf(context.Context) Finding {
	f := p.part("algorithms", "algorithms")
	var agreed []string // RFC 4253, 7.1: the first of ours that they know
	for _, kind := range kinds {
		theirs, ours := p.theirs[kind.list], p.ours[kind.list]
		if len(theirs) == 0 {
			continue
		}
		var both []string
		for _, name := range ours {
			if slices.Contains(theirs, name) {
				both = append(both, name)
			}
		}
		for i, name := range theirs {
			theirs[i] = screen.Line(name)
		}
		if len(both) > 0 && kind.list != kexinit.MACsUp && kind.list != kexinit.HostKeys { // of which what is on file comes first
			agreed = append(agreed, both[0])
		}
		f = f.with(kind.name, map[string]any{"server": theirs, "here": ours, "both": both})
	}
	switch {
	case f.Verdict == OK && f.Saw == "": // it ended before the client could tell
		f.Saw = strings.Join(agreed, ", ")
	case f.ID == fault.IDKexCipher:
		return p.noneInCommon(f)
	}
	return f
}

// kinds are the algorithms of which one of each has to be known to both sides, with the
// keyword of ssh_config and sshd_config, and what every server may offer.
var kinds = []struct {
	name    string
	list    int
	keyword string
	good    string
}{
	{"key exchange", kexinit.Kex, "KexAlgorithms", "curve25519-sha256"},
	{"host key", kexinit.HostKeys, "HostKeyAlgorithms", "ssh-ed25519"},
	{"cipher", kexinit.CiphersUp, "Ciphers", "aes256-gcm@openssh.com and aes256-ctr"},
	{"MAC", kexinit.MACsUp, "MACs", "hmac-sha2-256"},
}

// noneInCommon says of which kinds nothing is known to both sides, what the server offers
// of them, and what to do about those kinds.
func (p *patient) noneInCommon(f Finding) Finding {
	own := fault.Of(p.sshErr).Do
	f.Do = f.Do[:min(len(own), len(f.Do))]
	if len(own) == 0 {
		f.Do = []explain.Step{you("", "nothing that the server offers of this kind is known here: update the older side")}
	}
	cause, _, _ := strings.Cut(explain.Cause(p.sshErr), " in common")
	var saw []string
	for _, kind := range kinds {
		theirs := slices.DeleteFunc(slices.Clone(p.theirs[kind.list]), func(name string) bool {
			return strings.HasPrefix(name, "ext-info-") || strings.HasPrefix(name, "kex-strict-") // which are none
		})
		lacks := !slices.ContainsFunc(p.ours[kind.list], func(name string) bool { return slices.Contains(theirs, name) })
		if !strings.HasSuffix(cause, kind.name) && (!lacks || kind.list == kexinit.MACsUp) { // some ciphers need no MAC
			continue
		}
		saw = append(saw, fmt.Sprintf("no %s in common: the server offers %s", kind.name, cmp.Or(strings.Join(theirs, ", "), "none")))
		f.Do = append(f.Do, admin("", "offer %s; take the line %s out of sshd_config, or add to it", kind.good, kind.keyword))
	}
	if len(saw) > 0 {
		f.Saw = screen.Line(strings.Join(saw, "; "))
	}
	return f
}

func (p *patient) hostKeyOf(context.Context) Finding { return p.part("host key", "host key") }

func (p *patient) sshLoginOf(context.Context) Finding {
	f := p.part("login", "authenticated by")
	if f.Verdict == OK {
		f.Saw = screen.Line(fmt.Sprintf("as %s by %s", p.ssh.User(), p.ssh.By()))
		return f
	}
	var e *sshclient.AuthError
	if f.ID != fault.IDAuth || !errors.As(p.sshErr, &e) || !p.refusedHere() {
		return f
	}
	takes := screen.Line(p.told("server takes", ""))
	switch {
	case !p.named:
		return p.nobodyNamed("%s, who runs this, is refused; the server takes %s", p.user, takes).with("methods", takes)
	case p.gave, !p.asked:
	case !slices.ContainsFunc(e.Tried, func(what string) bool { return what != "keyboard-interactive" }):
		return p.toldNothing(p.user, "the server takes %s, and there is no key", takes).with("methods", takes)
	default:
		f.Saw += "; it takes none of the keys here, and no password is known"
		return f.first(p.givePassword())
	}
	return f
}

// refusedHere tells whether the server refused the login, and not a jump host.
func (p *patient) refusedHere() bool {
	facts := fault.Of(p.sshErr).Facts
	return len(facts) > 0 && facts[0] == p.host
}

// sftpOf begins SFTP in the connection.
func (p *patient) sftpOf(ctx context.Context) Finding {
	within, cancel := context.WithTimeoutCause(ctx, p.times.answer, fault.New(fault.Stalled, fault.IDNoAnswer, p.u.Host, int(p.times.answer.Seconds())))
	defer cancel()
	ch, err := p.ssh.Subsystem(within, "sftp")
	if err == nil {
		p.sftp, err = sftpclient.New(within, ch, sftpclient.Options{Host: p.u.Host, Answer: p.times.answer, Home: true, Trace: sftpclient.Trace{
			Sent: func(line string) { p.trace("sftp", "-> %s", line) },
			Got:  func(line string) { p.trace("sftp", "<- %s", line) },
		}})
	}
	if err != nil {
		return p.noSFTP(err)
	}
	p.atEnd(func() { _ = p.sftp.Close() })
	var names []string
	for name := range p.sftp.Extensions() {
		names = append(names, name)
	}
	return fine("version 3, %d extensions", len(names)).with("extensions", names)
}

// noSFTP tells a server that starts no SFTP from one that ends the connection as soon as
// somebody is logged in, which is what sshd does that may not lock them in.
func (p *patient) noSFTP(err error) Finding {
	f := of(Fail, err)
	var end *sftpclient.EndError
	cause := fault.Of(err).Err
	switch {
	case errors.As(err, &end):
		f.Saw = screen.Line("the login worked, and " + end.Error())
		if end.Printed != "" {
			f.Saw += ": " + screen.Line(end.Printed)
		}
		f.Means = "The server has SFTP, and runs something else in its place for this account, or its program fails: a ForceCommand, a login shell that lets nobody in, a path that is wrong."
		f.own = end.Status != "127" // of a shell: there is no such program
		f = f.first(admin("", "OpenSSH: look for ForceCommand in sshd_config and for command= in authorized_keys, and at the line Subsystem sftp; ForceCommand internal-sftp is right for accounts with files only"))
	case f.ID == fault.IDLost && explain.Said(err) == "" && (errors.Is(cause, io.EOF) || errors.Is(cause, syscall.ECONNRESET)):
		f = found(Fail, fault.IDChrootOwner, "the login worked, and the server %s right behind it, before SFTP began", ended(cause)).with("cause", screen.Line(explain.Cause(err)))
	}
	return f
}

// sftpEnds asks a server of dray what it sees of this connection.
func (p *patient) sftpEnds(ctx context.Context) Finding {
	s, err := p.sftp.Sight(ctx)
	if err != nil {
		return skip("the server is no dray that tells what it sees")
	}
	f := fine("the server sees us as %s, logged in by %s", s.Peer, s.Auth).with("peer", s.Peer.String()).with("kex", s.Kex).with("host_key", s.HostKey).with("cipher_up", s.Up).with("cipher_down", s.Down)
	own, err := netip.ParseAddrPort(p.ssh.Client().LocalAddr().String())
	if err == nil && own.Addr().Unmap() != s.Peer.Addr().Unmap() && !p.o.Remote.Proxied {
		f.Saw += ", behind a NAT"
	}
	return f
}

func (p *patient) sftpListingOf(ctx context.Context) Finding {
	began := time.Now()
	dir := p.u.Path
	if a, err := p.sftp.Stat(ctx, orDot(dir)); err == nil && a.FileMode().IsRegular() {
		dir = remote.Dir(dir)
	}
	p.listedIn = orDot(dir)
	for e, err := range p.sftp.List(ctx, p.listedIn) {
		if err != nil {
			return p.fromRoot(ctx, of(Fail, err))
		}
		p.listed++
		if len(p.names) < mostEntries {
			p.names = append(p.names, e)
		}
	}
	name := dir
	if name == "" {
		name = "the directory of the login"
	}
	return fine("%s in %s, %s", countOf(p.listed), name, millis(time.Since(began)))
}

// fromRoot is a finding about a path that begins at the root of the server, where that of
// the directory of the login may be meant: over FTP both are written alike.
func (p *patient) fromRoot(ctx context.Context, f Finding) Finding {
	path, ok := strings.CutPrefix(p.u.Path, "/")
	if !ok || f.ID != fault.IDPerm && f.ID != fault.IDNotFound {
		return f
	}
	home, err := p.sftp.Home(ctx)
	if err != nil || home == "/" || strings.HasPrefix(p.u.Path+"/", home+"/") {
		return f
	}
	u := p.u
	u.Path = path
	return f.first(you(p.command("doctor", u, nil), "this begins at the root of the server; when %s is meant, where a login begins:", screen.Line(strings.TrimSuffix(home+"/"+path, "/"))))
}

func orDot(dir string) string {
	if dir == "" {
		return "."
	}
	return dir
}

// spaceOf asks how much room there is.
func (p *patient) spaceOf(ctx context.Context) Finding {
	fs, err := p.sftp.Space(ctx, orDot(p.u.Path))
	if err != nil {
		return skip("the server does not tell")
	}
	free, total := fs.Available*fs.Fragment, fs.Blocks*fs.Fragment
	f := fine("%s", screen.Room(free, total, func(n int64) string { return screen.Size(n) })).with("free", free).with("total", total)
	if free == 0 {
		f = found(Warn, fault.IDNoSpace, "no space left on the server").with("total", total)
	}
	return f
}

// sftpDownloadOf fetches a small file and the beginning of a large one.
func (p *patient) sftpDownloadOf(ctx context.Context) Finding {
	var files []sample
	for _, e := range p.names {
		if e.Attrs.Has(sftp.HasSize) && e.Attrs.FileMode().IsRegular() {
			files = append(files, sample{e.Name, int64(e.Attrs.Size)})
		}
	}
	return p.download(ctx, files, p.listedIn, func(ctx context.Context, path string, size, limit int64) (int64, error) {
		s := newSink(ctx, size, limit)
		defer s.stop(nil)
		_, err := p.sftp.Receive(s.ctx, path, 0, size, s, transfer.Options{Idle: p.times.answer})
		return s.came(err)
	})
}

// sftpUploadOf sends a file, compares it, and removes it.
func (p *patient) sftpUploadOf(ctx context.Context) Finding {
	path, content := probe(p.listedIn)
	began := time.Now()
	t := p.sftpUpload(ctx, path, content)
	switch {
	case t.stays != nil:
		return p.stays(ctx, path, t)
	case t.err != nil:
		return p.fromRoot(ctx, of(Fail, t.err))
	case t.note != "":
		return fine("%s in %s, %s, and removed", screen.Size(probeSize), millis(time.Since(began)), t.note)
	}
	return fine("%s in %s, compared and removed", screen.Size(probeSize), millis(time.Since(began)))
}

func (p *patient) sftpUpload(ctx context.Context, path string, content []byte) (t trial) {
	sent := false
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.times.answer)
		defer cancel()
		if err := p.sftp.Remove(end, path); err != nil && (sent || !errors.Is(err, fs.ErrNotExist)) {
			t.stays = err
		}
	}()
	if _, err := p.sftp.Send(ctx, path, sftpclient.Store{}, memory{bytes.NewReader(content)}, 0, transfer.Options{Idle: p.times.answer}); err != nil {
		return trial{err: err}
	}
	sent = true
	got := make(buffer, len(content))
	_, err := p.sftp.Receive(ctx, path, 0, int64(len(content)), got, transfer.Options{Idle: p.times.answer})
	return cameBack(path, content, got, err)
}

// sshIdleOf says nothing for a while, and then asks whether the server is there.
func (p *patient) sshIdleOf(ctx context.Context) Finding {
	began := time.Now()
	select {
	case <-time.After(p.idleFor()):
	case <-p.ssh.Done():
	case <-ctx.Done():
		return skip("interrupted")
	}
	answered := make(chan error, 1)
	go func() {
		_, _, err := p.ssh.Client().SendRequest("keepalive@openssh.com", true, nil)
		answered <- err
	}()
	select {
	case err := <-answered:
		if err == nil {
			return fine("after %d s without a word the connection is still there", int(p.idleFor().Seconds()))
		}
	case <-time.After(p.times.answer):
		return p.forgotten()
	case <-ctx.Done():
		return skip("interrupted")
	}
	err := p.ssh.Err()
	if silence(err) {
		return p.forgotten()
	}
	return p.endedIdle(min(time.Since(began), p.idleFor()), explain.Said(err))
}
