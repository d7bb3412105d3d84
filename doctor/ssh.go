package doctor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strings"
	"sync"
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

	steps    sync.Mutex
	said     map[string]string // by step, the last that the client told
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
	p.said = map[string]string{}
	so.Trace = func(step, text string) {
		p.steps.Lock()
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
	if p.sshErr != nil && p.failedAt() == "control" {
		return p.corrected(of(Fail, p.sshErr), fault.Of(p.sshErr))
	}
	if p.ssh != nil {
		p.atEnd(func() { _ = p.ssh.Close() })
	}
	where := p.told("connected", p.u.Address())
	if host, at, ok := strings.Cut(where, " at "); ok && host == at { // an address was asked for
		where = at
	}
	return fine("%s: %s, %s", where, p.told("server version", "SSH"), millis(time.Since(began))).with("version", p.told("server version", ""))
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
	if !l.HasPassword {
		return "", errors.New("no password is known")
	}
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
	for _, kind := range []struct {
		name string
		list int
	}{{"key exchange", kexinit.Kex}, {"host key", kexinit.HostKeys}, {"cipher", kexinit.CiphersUp}, {"MAC", kexinit.MACsUp}} {
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
		f = f.with(kind.name, map[string]any{"server": theirs, "here": ours, "both": both})
	}
	return f
}

func (p *patient) hostKeyOf(context.Context) Finding { return p.part("host key", "host key") }

func (p *patient) sshLoginOf(context.Context) Finding {
	f := p.part("login", "authenticated by")
	if f.Verdict == OK {
		f.Saw = screen.Line(fmt.Sprintf("as %s by %s", p.ssh.User(), p.ssh.By()))
	}
	return f
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
		return of(Fail, err)
	}
	p.atEnd(func() { _ = p.sftp.Close() })
	var names []string
	for name := range p.sftp.Extensions() {
		names = append(names, name)
	}
	return fine("version 3, %d extensions", len(names)).with("extensions", names)
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
			return of(Fail, err)
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
		return of(Fail, t.err)
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
	select {
	case <-time.After(idleFor):
	case <-ctx.Done():
		return skip("interrupted")
	}
	if _, _, err := p.ssh.Client().SendRequest("keepalive@openssh.com", true, nil); err != nil {
		return found(Warn, fault.IDIdle, "after %d s without a word the connection was gone: %s", int(idleFor.Seconds()), explain.Cause(err))
	}
	return fine("after %d s the connection is still there", int(idleFor.Seconds()))
}
