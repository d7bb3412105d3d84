package doctor

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"dray/explain"
	"dray/fault"
	"dray/ftp"
	"dray/ftpclient"
	"dray/remote"
	"dray/screen"
	"dray/transfer"
)

// A try is one data port of the passive range that was connected to.
type try struct {
	port uint16
	took time.Duration
	err  error
}

// mostTries is how many ports are tried where all is well, and where something is not.
const (
	mostTries = 8
	moreTries = 24
)

// passiveOf tries several ports of the passive range, because a firewall may have been
// given a smaller one than the server.
func (p *patient) passiveOf(ctx context.Context) Finding {
	if p.o.Remote.Proxied {
		return skip("the proxy connects to them")
	}
	f := p.passive(ctx)
	if p.o.Remote.FTP.Active && f.Verdict > Note {
		f.Verdict = Note // nobody asked for it
	}
	return f
}

func (p *patient) passive(ctx context.Context) Finding {
	p.main.Lock()
	defer p.main.Unlock()
	c := p.conn
	if c.Err() != nil {
		var err error
		if c, err = p.another(ctx, "passive", &seen{}, nil); err != nil {
			return of(Fail, p.conn.Err())
		}
		defer func() { _ = c.Close() }()
	}
	verb := "EPSV"
	if p.o.Remote.FTP.EPSV == remote.EPSVNever {
		verb = "PASV"
	}
	told, err := c.Passive(ctx, verb)
	if err != nil && fault.Of(err).ID != fault.IDPool && c.Err() == nil && verb == "EPSV" {
		refused := err
		verb = "PASV"
		if told, err = c.Passive(ctx, verb); err != nil && fault.Of(err).ID != fault.IDPool {
			f := found(Fail, fault.IDNoDataPort, "the server tells no data port: %s; %s", explain.Said(refused), explain.Said(err))
			return f
		}
	}
	if err != nil {
		return of(Fail, err)
	}
	within, cancel := context.WithTimeout(ctx, p.times.ports)
	defer cancel()
	add := func(t try) (all, bad int) {
		p.trying.Lock()
		defer p.trying.Unlock()
		p.ports = append(p.ports, t)
		for _, t := range p.ports {
			if t.err != nil {
				bad++
			}
		}
		return len(p.ports), bad
	}
	var more sync.WaitGroup
	helped := false
	patience := p.times.data
	if fault.Of(p.listErr).ID == fault.IDDataBlocked { // one port was waited for
		patience = p.patience()
	}
	for {
		began := time.Now()
		err := touch(c.Reach(within, told.Used, patience))
		if within.Err() != nil && err != nil && time.Since(began) < p.patience() {
			break // it had no time
		}
		all, bad := add(try{told.Used.Port(), time.Since(began), err})
		if bad > 0 {
			patience = p.patience()
		}
		if bad > 0 && !helped {
			helped = true
			for range 2 {
				more.Go(func() { p.tryMore(within, verb, add) })
			}
		}
		if bad == 0 && all >= mostTries || p.enough() || within.Err() != nil || c.Err() != nil {
			break
		}
		if told, err = c.Passive(ctx, verb); err != nil { // what comes behind needs the connection
			break
		}
	}
	more.Wait()
	f := p.spread(addrOf(c))
	f.sure = len(p.ports) > 0 // each port that was tried had its time
	return f
}

// enough tells whether more ports would say nothing new: none of several let us in, and
// some said so. A firewall limits how often it does (ICMP), so that some stay silent.
func (p *patient) enough() bool {
	p.trying.Lock()
	defer p.trying.Unlock()
	good := slices.ContainsFunc(p.ports, func(t try) bool { return t.err == nil })
	return len(p.ports) >= moreTries || len(p.ports) >= mostTries && !good && p.answered(p.ports)
}

// answered tells whether somebody has said of a port that nobody may come in there, or
// nobody is.
func (p *patient) answered(tries []try) bool {
	return fault.Of(p.listErr).ID == fault.IDUnpublished || slices.ContainsFunc(tries, func(t try) bool {
		id := why(t.err)
		return id == fault.IDRefused || id == fault.IDRejected
	})
}

// why is the id of what kept a connection from being made, "" for nothing.
func why(err error) fault.ID {
	if err == nil {
		return ""
	}
	return fault.Of(fault.Unreached(err, "", 0, time.Second)).ID
}

// patience is how long a port is waited for once it is known how far the server is.
func (p *patient) patience() time.Duration {
	p.control.mu.Lock()
	defer p.control.mu.Unlock()
	return min(p.times.data, max(600*time.Millisecond, 3*p.control.way))
}

// tryMore tries ports over a connection of its own, with less patience.
func (p *patient) tryMore(ctx context.Context, verb string, add func(try) (all, bad int)) {
	c, err := p.another(ctx, "passive", &seen{}, nil)
	if err != nil {
		return
	}
	defer func() { _ = c.Close() }()
	for ctx.Err() == nil {
		told, err := c.Passive(ctx, verb)
		if err != nil {
			return
		}
		began := time.Now()
		err = touch(c.Reach(ctx, told.Used, p.patience()))
		if ctx.Err() != nil && err != nil && time.Since(began) < p.patience() {
			return
		}
		if add(try{told.Used.Port(), time.Since(began), err}); p.enough() {
			return
		}
	}
}

// openPorts opens what the server listens at. dray finds it in its own configuration and
// in those of other servers.
var openPorts = admin("dray firewall --apply", "on the server, open its ports and the whole passive range; dray firewall alone shows the rules:")

// spread is what the tries come to, of a server that was reached at an address.
func (p *patient) spread(at netip.Addr) Finding {
	var good, bad []uint16
	kinds := map[fault.ID]int{}
	var slowest time.Duration
	for _, t := range p.ports {
		if t.err == nil {
			good = append(good, t.port)
			slowest = max(slowest, t.took)
			continue
		}
		bad = append(bad, t.port)
		kinds[why(t.err)]++
	}
	host := at.String()
	facts := func(f Finding) Finding { return f.with("reached", good).with("not_reached", bad) }
	switch {
	case len(bad) == 0 && len(good) > 0:
		return facts(fine("%d data ports between %d and %d answer, the slowest in %s", len(good), slices.Min(good), slices.Max(good), millis(slowest)))
	case len(bad) == 0:
		return skip("there was no time")
	case len(good) > 0:
		f := facts(found(Fail, fault.IDRangePartly, "%d of %d data ports of %s answer; not %s", len(good), len(good)+len(bad), host, some(bad)))
		return f.first(openPorts)
	case kinds[fault.IDRejected] > 0:
		f := facts(found(Fail, fault.IDDataBlocked, "a firewall rejects the data ports of %s: %s", host, some(bad)))
		return f.first(openPorts)
	case p.answered(p.ports):
		f := facts(found(Fail, fault.IDUnpublished, "%s refuses its own data ports %s: nobody listens there, or a firewall rejects them", host, some(bad)))
		f.Means += " A firewall that rejects with its default (ICMP port unreachable) looks the same."
		return f.first(
			admin("", "forward or publish the same ports as the server is set to: for Docker -p A-B:A-B, in a router each port to the same port"),
			admin(openPorts.Run, "where the firewall of the server rejects them, open its ports and the whole passive range; dray firewall alone shows the rules:"),
		)
	}
	f := facts(found(Fail, fault.IDDataBlocked, "nothing answers at the data ports of %s: %s were tried; the packets are dropped", host, some(bad)))
	return f.first(openPorts)
}

// some are ports for people, the lowest first.
func some(ports []uint16) string {
	ports = slices.Compact(slices.Sorted(slices.Values(ports)))
	var words []string
	for _, port := range ports[:min(len(ports), 5)] {
		words = append(words, fmt.Sprint(port))
	}
	if len(ports) > 5 {
		words = append(words, "and others")
	}
	return strings.Join(words, ", ")
}

// pasvOf compares the address that PASV tells with the one that was reached, and EPSV
// with what FEAT says of it.
func (p *patient) pasvOf(ctx context.Context) Finding {
	if p.o.Remote.Proxied {
		return skip("the proxy hides the server's address")
	}
	p.main.Lock()
	defer p.main.Unlock()
	c := p.conn
	if c.Err() != nil {
		return skip("the connection is lost")
	}
	reached := addrOf(c)
	if reached.Is6() {
		return skip("PASV is for IPv4, and this is IPv6")
	}
	_, epsvErr := c.Passive(ctx, "EPSV")
	if epsvErr != nil && c.Err() != nil {
		return of(Fail, epsvErr)
	}
	told, err := c.Passive(ctx, "PASV")
	switch {
	case err != nil && epsvErr == nil:
		f := found(Warn, fault.IDEpsvOnly, "EPSV works and PASV is refused: %s", explain.Said(err))
		f.Means = "Old programs know PASV only; they can log in and not transfer."
		return f
	case err != nil:
		return skip("told with the passive range")
	case told.Told.Addr() != reached:
		f := p.wrongAddress(told.Told.Addr(), epsvErr == nil).with("told", told.Told.Addr().String()).with("reached", reached.String())
		if why := noKnock(told.Told, reached); why != "" {
			f.Saw = fmt.Sprintf("PASV tells %s, %s; the server was reached at %s", told.Told.Addr(), why, reached)
			return f
		}
		if touch(c.Reach(ctx, told.Told, p.times.data)) != nil {
			f.Saw = fmt.Sprintf("PASV tells %s, which does not answer; the server was reached at %s", told.Told.Addr(), reached)
			return f
		}
		if epsvErr == nil {
			return fine("PASV tells %s, which answers too", told.Told.Addr())
		}
		fallthrough
	case epsvErr != nil && c.Features().Has("EPSV"):
		f := found(Warn, fault.IDEpsvLie, "FEAT names EPSV, and the server refuses it: %s", explain.Said(epsvErr))
		return f
	case epsvErr != nil:
		return Finding{Verdict: Note, Saw: "PASV works; EPSV is refused: " + screen.Line(explain.Said(epsvErr))}
	}
	return fine("EPSV and PASV work, and PASV tells the address that was reached")
}

// wrongAddress is what PASV tells and nobody should use; epsv tells whether the server has
// EPSV beside it, which tells no address.
func (p *patient) wrongAddress(told netip.Addr, epsv bool) Finding {
	f := found(Warn, fault.IDPasvAddress, "")
	f.Means = "The reply to PASV carries an address. "
	switch {
	case told.IsUnspecified():
		f.Means += told.String() + " is none: the server does not know its own, or its setting is empty. "
	case told.IsLoopback():
		f.Means += "This one is each machine itself: whoever uses it connects to their own. "
	case told.IsPrivate(), shared.Contains(told):
		f.Means += "This one belongs to the network behind the server's router, so clients outside cannot use it. "
	default:
		f.Means += "This one is not where the server was reached. "
	}
	first, use := "Clients that ignore it still work, and this server refuses EPSV, which has none.", "let your program take the address of the control connection, as most do"
	if epsv {
		first, use = "Clients that use EPSV, or ignore the address, still work.", "use EPSV, or "+use
	}
	f.Means += first
	f.Do = slices.DeleteFunc(f.Do, func(s explain.Step) bool { return s.Side == explain.You })
	return f.first(you("", "%s", use))
}

// A sink takes the beginning of a download, and ends it when it has enough.
type sink struct {
	ctx    context.Context
	stop   context.CancelCauseFunc
	size   int64
	enough int64

	mu    sync.Mutex
	bytes int64
}

// newSink takes at most limit bytes of a file of so many.
func newSink(ctx context.Context, size, limit int64) *sink {
	s := &sink{size: size, enough: min(limit, size)}
	s.ctx, s.stop = context.WithCancelCause(ctx)
	return s
}

func (s *sink) WriteAt(b []byte, off int64) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bytes = max(s.bytes, off+int64(len(b))); s.bytes >= s.enough && s.enough < s.size || s.bytes > s.size {
		s.stop(errEnough)
	}
	return len(b), nil
}

func (s *sink) Offset() int64 { return 0 }

// came is how much came, and err unless that was enough.
func (s *sink) came(err error) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if errors.Is(context.Cause(s.ctx), errEnough) {
		err = nil
	}
	return s.bytes, err
}

// A sample is a file that may be fetched.
type sample struct {
	name string
	size int64
}

// A fetcher fetches a file as far as limit, and tells how much came.
type fetcher func(ctx context.Context, path string, size, limit int64) (int64, error)

// downloadOf fetches a small file, and the beginning of a large one.
func (p *patient) downloadOf(ctx context.Context) Finding {
	var files []sample
	for _, e := range p.entries {
		if e.Is(ftp.KnownSize) && (!e.Is(ftp.KnownType) || e.Mode.IsRegular()) {
			files = append(files, sample{e.Name, e.Size})
		}
	}
	var c *ftpclient.Conn
	over := func() {}
	defer func() { over() }()
	return p.download(ctx, files, p.directoryOf(), func(ctx context.Context, path string, size, limit int64) (int64, error) {
		if c == nil || c.Err() != nil {
			over()
			another, end, err := p.spare(ctx, "download", nil)
			if err != nil {
				c, over = nil, func() {}
				return 0, err
			}
			c, over = another, end
		}
		s := newSink(ctx, size, limit)
		defer s.stop(nil)
		_, err := c.Receive(s.ctx, path, ftpclient.Get{Size: -1}, s, transfer.Options{Idle: p.times.answer})
		return s.came(err)
	})
}

// download fetches the smallest and the largest of files: packets that are too large for
// the way are lost, and small ones are not.
func (p *patient) download(ctx context.Context, files []sample, dir string, fetch fetcher) Finding {
	files = slices.DeleteFunc(files, func(f sample) bool { return f.size == 0 })
	if len(files) == 0 {
		return skip("there is no file to fetch")
	}
	bySize := func(a, b sample) int { return cmp.Compare(a.size, b.size) }
	wanted := []sample{slices.MinFunc(files, bySize), slices.MaxFunc(files, bySize)}
	if i := slices.IndexFunc(files, func(f sample) bool { return !p.u.DirWanted && f.name == remote.Base(p.u.Path) }); i >= 0 {
		wanted = files[i : i+1]
	}
	limit := int64(1 << 20)
	if p.o.Deep {
		limit = 16 << 20
	}
	var told []string
	for _, s := range slices.Compact(wanted) {
		path, began := remote.Join(dir, s.name), time.Now()
		n, err := fetch(ctx, path, s.size, limit)
		if err == nil {
			told = append(told, fmt.Sprintf("%s of %s in %s", screen.Size(n), s.name, millis(time.Since(began))))
			continue
		}
		f := of(Fail, err).with("file", screen.Line(s.name)).with("bytes", n).with("size", s.size)
		switch fault.Of(err).ID {
		case fault.IDStall, fault.IDNoAnswer, fault.IDDataLost:
			return p.stalled(ctx, f, fetch, path, s.size, limit, n)
		case fault.IDPerm, fault.IDNotFound: // of this file only
			told = append(told, f.Saw)
		default:
			return f
		}
	}
	return fine("%s", strings.Join(told, "; "))
}

// stalled looks again where a download stood still: at the same place it is no accident.
func (p *patient) stalled(ctx context.Context, f Finding, fetch fetcher, path string, size, limit, n int64) Finding {
	if !p.o.Deep {
		f.ID, f.Saw = fault.IDStall, screen.Line(fmt.Sprintf("%s stood still after %d bytes", path, n))
		return f.first(you(p.command("doctor", p.u, []string{"--deep"}), "see whether it is the same place each time:"))
	}
	again, err := fetch(ctx, path, size, limit)
	if err == nil {
		f.Verdict, f.Saw = Warn, screen.Line(fmt.Sprintf("%s stood still after %d bytes, and came whole at the second try", path, n))
		return f
	}
	f.ID = fault.IDStall
	f.Saw = screen.Line(fmt.Sprintf("%s stood still after %d bytes, and again after %d", path, n, again))
	if n == again || n < 4096 && again < 4096 {
		f.Means = "Small packets arrive and full ones do not: somewhere on the way they are too large, and the message that says so is thrown away (path MTU)."
		f.Do = []explain.Step{
			admin(smallSegments, "on the server, have it send smaller packets (nft delete table inet mss undoes it):"),
			admin("", "in the router before it: nft add rule inet filter forward tcp flags syn tcp option maxseg size set rt mtu, and let ICMP \"fragmentation needed\" through"),
			you("", "a smaller MTU on this machine helps too: ip link set dev DEVICE mtu 1280"),
		}
	}
	return f
}

// smallSegments makes what clients say to take smaller on its way in (RFC 9293, 3.7.1).
const smallSegments = "nft 'add table inet mss; add chain inet mss input { type filter hook input priority mangle; }; add rule inet mss input tcp flags syn tcp option maxseg size set 1200'"

// A memory is a file in memory, to be sent.
type memory struct{ *bytes.Reader }

func (memory) Close() error                 { return nil }
func (m memory) Stat() (fs.FileInfo, error) { return sized(m.Size()), nil }

// sized is what there is to know of a memory.
type sized int64

func (s sized) Name() string     { return "memory" }
func (s sized) Size() int64      { return int64(s) }
func (sized) Mode() fs.FileMode  { return 0o600 }
func (sized) ModTime() time.Time { return time.Time{} }
func (sized) IsDir() bool        { return false }
func (sized) Sys() any           { return nil }

// probeSize is the length of the file that is uploaded: more than one record of TLS and
// one window, so that an end that is cut off shows.
const probeSize = 300 << 10

// probe is a file that nobody has, and where it goes.
func probe(dir string) (path string, content []byte) {
	content = make([]byte, probeSize)
	_, _ = rand.Read(content)
	return remote.Join(dir, "dray-doctor-"+hex.EncodeToString(content[:4])+".tmp"), content
}

// cameBack is what came back of a probe.
func cameBack(path string, content, got []byte, err error) trial {
	switch id := fault.Of(err).ID; {
	case err != nil && (id == fault.IDPerm || id == fault.IDNotFound): // an account that may not, or somebody who has fetched it already
		return trial{note: "not compared, because it may not be read"}
	case err != nil:
		return trial{err: err}
	case !bytes.Equal(got, content):
		return trial{err: fault.New(fault.Mismatch, fault.IDVerify, path, "bytes")}
	}
	return trial{}
}

// A trial is one upload: what came of it.
type trial struct {
	err   error
	stays error  // why the file is still there; nil: it is not
	note  string // what could not be looked at
}

// uploadOf sends a file under each version of TLS, compares it, and removes it.
func (p *patient) uploadOf(ctx context.Context) Finding {
	versions := []uint16{0}
	if cs, ok := p.conn.TLS(); ok {
		versions = []uint16{cs.Version}
		if cs.Version == tls.VersionTLS13 {
			versions = []uint16{tls.VersionTLS13, tls.VersionTLS12}
		}
	}
	path, content := probe(p.directoryOf())
	var told []string
	var first error // of TLS 1.3
	for i, version := range versions {
		if i > 0 && p.alone.Load() != nil {
			told = append(told, "TLS 1.2 was not tried, because the server lets no second connection in")
			break
		}
		began := time.Now()
		t := p.upload(ctx, path, content, version)
		switch {
		case t.stays != nil:
			return p.stays(ctx, path, t)
		case t.err == nil && first != nil:
			f := found(Fail, fault.IDTLS13Loss, "an upload fails with TLS 1.3 and works with 1.2: %s", of(Fail, first).Saw)
			return f.first(you(p.command("doctor", p.u, []string{"--write", "--tls-max", "1.2"}), "until the server is updated, upload with TLS 1.2:"))
		case t.err == nil:
			with := ""
			if version != 0 {
				with = " with " + tls.VersionName(version)
			}
			told = append(told, fmt.Sprintf("%s%s in %s, %s and removed", screen.Size(probeSize), with, millis(time.Since(began)), cmp.Or(t.note, "compared")))
		case i == 0 && len(versions) > 1 && !aboutRoom(t.err):
			first = t.err
		case first != nil:
			return of(Fail, first)
		case i > 0 && (fault.Of(t.err).Kind == fault.Untrusted || crowded(t.err)):
			told = append(told, "with TLS 1.2 the server lets nobody in")
		default:
			return of(Fail, t.err)
		}
	}
	return fine("%s", strings.Join(told, "; "))
}

// aboutRoom tells whether an upload failed for a reason that no version of TLS changes.
func aboutRoom(err error) bool {
	switch fault.Of(err).ID {
	case fault.IDNoSpace, fault.IDQuota, fault.IDPerm, fault.IDTooLarge:
		return true
	}
	return false
}

// stays is an upload whose file is still there.
func (p *patient) stays(ctx context.Context, path string, t trial) Finding {
	why := cmp.Or(explain.Said(t.stays), explain.Line(fault.Of(t.stays)))
	f := of(Warn, t.stays)
	f.Saw = screen.Line(fmt.Sprintf("the upload works, and its file %s can't be removed: %s", path, why))
	if t.err != nil {
		f = of(Fail, t.err)
		f.Saw = screen.Line(fmt.Sprintf("%s; and its file %s may be left there: %s", f.Saw, path, why))
	}
	if ctx.Err() != nil {
		f.Verdict, f.sure = Warn, true
	}
	u := p.u
	u.Path, u.DirWanted = path, false
	return f.with("left", path).first(you(p.command("rm", u, nil), "remove the file of the doctor, as somebody who may:"))
}

// directoryOf is the directory that was listed.
func (p *patient) directoryOf() string {
	if p.u.DirWanted || p.u.Path == "" {
		return p.u.Path
	}
	for _, e := range p.entries {
		if e.Name == remote.Base(p.u.Path) {
			return remote.Dir(p.u.Path)
		}
	}
	return p.u.Path
}

func (p *patient) upload(ctx context.Context, path string, content []byte, version uint16) (t trial) {
	c, over, err := p.spare(ctx, "upload", func(o *ftpclient.Options) {
		if version != 0 {
			o.TLS = o.TLS.Clone()
			o.TLS.MinVersion, o.TLS.MaxVersion = version, version
		}
	})
	if err != nil {
		return trial{err: err}
	}
	sent := false
	defer func() {
		t.stays = p.remove(ctx, c, path, sent)
		over()
	}()
	if _, err := c.Send(ctx, path, ftpclient.Put{Size: int64(len(content))}, memory{bytes.NewReader(content)}, transfer.Options{Idle: p.times.answer}); err != nil {
		return trial{err: err}
	}
	sent = true
	if size, err := c.Size(ctx, path); err == nil && size != int64(len(content)) {
		return trial{err: fault.New(fault.Cut, fault.IDShortFile, path, size, len(content))}
	}
	got := make(buffer, len(content))
	_, err = c.Receive(ctx, path, ftpclient.Get{Size: int64(len(content))}, got, transfer.Options{Idle: p.times.answer})
	return cameBack(path, content, got, err)
}

// remove removes the file of an upload, over another connection where that one is lost,
// and also when ctx has ended. sent tells that the file was there. nil: it is gone.
func (p *patient) remove(ctx context.Context, c *ftpclient.Conn, path string, sent bool) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.times.answer)
	defer cancel()
	if c.Err() == nil {
		if err := c.Remove(ctx, path); c.Err() == nil {
			return there(ctx, c, path, sent, err)
		}
	}
	_ = c.Close()
	var err error
	for wait := 100 * time.Millisecond; wait <= 800*time.Millisecond; wait *= 2 { // the server may have yet to notice that it is lost
		if c, err = p.oneMore(ctx, "upload", &seen{}, nil); err == nil {
			gone := c.Remove(ctx, path)
			err = there(ctx, c, path, sent, gone)
			_ = c.Close()
			if gone == nil {
				return nil
			}
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return err
		}
	}
	return err
}

// there is err of a removal when the file is there in spite of it.
func there(ctx context.Context, c *ftpclient.Conn, path string, sent bool, err error) error {
	if err == nil || fault.Of(err).ID == fault.IDNotFound {
		return nil
	}
	if _, missing := c.Size(ctx, path); missing != nil && !sent {
		return nil
	}
	return err
}

// A buffer takes a file of which the size is known.
type buffer []byte

func (b buffer) WriteAt(data []byte, off int64) (int, error) {
	if off > int64(len(b)) || copy(b[off:], data) < len(data) {
		return 0, errors.New("more came than was sent")
	}
	return len(data), nil
}

func (b buffer) Offset() int64 { return 0 }

// idleFor is how long a connection is left in peace: NATs and firewalls that forget
// connections early do so after a minute.
const idleFor = 65 * time.Second

func (p *patient) idleFor() time.Duration { return cmp.Or(p.times.idle, idleFor) }

// idleOf says nothing for a while.
func (p *patient) idleOf(ctx context.Context) Finding {
	c, err := p.another(ctx, "idle", &seen{}, nil)
	if err != nil {
		return skip("no second connection: %s", screen.Line(explain.Line(fault.Of(err))))
	}
	defer func() { _ = c.Close() }()
	select {
	case <-time.After(p.idleFor()):
	case <-ctx.Done():
		return skip("interrupted")
	}
	err = c.Noop(ctx)
	if err == nil {
		err = c.Err() // a 421 that was sent meanwhile is taken for the answer
	}
	switch {
	case err == nil:
		return fine("after %d s without a word the connection is still there", int(p.idleFor().Seconds()))
	case explain.Said(err) != "":
		return p.endedIdle(p.idleFor(), explain.Said(err))
	case silence(err):
		return p.forgotten()
	default:
		return p.endedIdle(p.idleFor(), "")
	}
}

// silence tells a connection on which no answer came from one that the other side has
// ended.
func silence(err error) bool {
	var timeout net.Error
	return fault.Of(err).ID == fault.IDNoAnswer || errors.As(err, &timeout) && timeout.Timeout()
}

// forgotten is a connection that something on the way has forgotten: what is said on it is
// not answered.
func (p *patient) forgotten() Finding {
	f := found(Warn, fault.IDIdle, "after %d s without a word nothing is answered on the connection any more", int(p.idleFor().Seconds()))
	f.Means = "Something between forgets connections on which nothing is said, and tells nobody. Long transfers then end without the server's last word."
	return f.first(admin("sysctl -w net.netfilter.nf_conntrack_tcp_timeout_established=7440", "where that is a firewall of Linux, have it remember for two hours:"))
}

// endedIdle is a connection that the server has ended within so much time: a firewall that
// forgets one says nothing.
func (p *patient) endedIdle(within time.Duration, said string) Finding {
	f := found(Warn, fault.IDIdle, "the server has closed the connection within %d s in which nothing was asked", int(within.Round(time.Second).Seconds()))
	if said != "" {
		f.Saw += ": " + screen.Line(said)
	}
	f.Means = "That is a time limit of the server's own. Programs that keep a connection for later have to connect again, or ask for something now and then."
	return f.first(admin("", "where it is too short: vsftpd idle_session_timeout, ProFTPD TimeoutIdle, Pure-FTPd MaxIdleTime, dray idle under [limits], sshd ClientAliveInterval times ClientAliveCountMax and ChannelTimeout"))
}
