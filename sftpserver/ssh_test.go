package sftpserver

import (
	"bytes"
	"crypto/rand"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"dray/kexinit"
	"dray/sftp"
)

// bystander is a session that must have no trouble, whatever others do.
func (st *stage) bystander() func(when string) {
	st.t.Helper()
	st.put("bystander", "12345")
	w := st.newWire()
	h := w.open("bystander", sftp.OpenRead)
	return func(when string) {
		st.t.Helper()
		if got := w.read(h, 0, 10); got != "12345" {
			st.t.Errorf("%s: another session reads %q", when, got)
		}
	}
}

// What is no SSH is ended, at the latest when the time for a login is up, and hinders
// nobody.
func TestGarbageInPlaceOfSSH(t *testing.T) {
	st := newStage(t, func(st *stage) { st.rules.LoginTime = time.Second })
	fine := st.bystander()
	noise := make([]byte, 4096)
	_, _ = rand.Read(noise)
	noise = bytes.ReplaceAll(noise, []byte{'\n'}, nil)
	const version = "SSH-2.0-x\r\n"
	kex := func(payload ...byte) []byte { return append([]byte(version), (&bare{}).sealed(payload)...) }
	noCommon := bytes.ReplaceAll(kexInit(), []byte("curve25519-sha256"), []byte("curve25519-sha257"))
	point := func(key []byte) []byte {
		return append(kex(kexInit()...), (&bare{}).sealed(ssh.Marshal(struct {
			Public []byte `sshtype:"30"`
		}{key}))...)
	}
	for name, in := range map[string][]byte{
		"HTTP":                        []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
		"noise":                       noise,
		"a version of 10 KB":          []byte("SSH-2.0-" + strings.Repeat("x", 10<<10) + "\r\n"),
		"a version of 300 bytes":      []byte("SSH-2.0-" + strings.Repeat("x", 292) + "\r\n"),
		"10 KB without a line end":    bytes.Repeat([]byte("x"), 10<<10),
		"10 KB of lines":              bytes.Repeat([]byte("hello\r\n"), 1500),
		"version 1":                   []byte("SSH-1.5-old\r\n\x00\x00\x00\x00"),
		"a packet of 256 MiB":         []byte(version + "\x10\x00\x00\x00" + strings.Repeat("\x00", 12)),
		"a packet of 4 GiB":           []byte(version + "\xff\xff\xff\xff" + strings.Repeat("\x00", 12)),
		"a packet of nothing":         []byte(version + "\x00\x00\x00\x00" + strings.Repeat("\x00", 12)),
		"a packet that is padding":    []byte(version + "\x00\x00\x00\x0c\xff" + strings.Repeat("\x00", 11)),
		"noise in place of keys":      append([]byte(version), noise...),
		"a KEXINIT that is cut":       kex(kexInit()[:60]...),
		"a KEXINIT of false lengths":  kex(append([]byte{kexinit.Message}, bytes.Repeat([]byte{0xff}, 40)...)...),
		"no algorithm in common":      kex(noCommon...),
		"new keys without any":        kex(msgNewKeys),
		"a login without keys":        kex(msgAuthRequest, 0, 0, 0, 1, 'x'),
		"a channel without keys":      kex(msgOpen, 0, 0, 0, 1, 'x'),
		"the end":                     kex(msgDisconnect, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0),
		"a point of no bytes":         point(nil),
		"a point of 31 bytes":         point(make([]byte, 31)),
		"a point of low order":        point(make([]byte, 32)),
		"a point that is longer":      point(make([]byte, 4096)),
		"something else for a point":  append(kex(kexInit()...), (&bare{}).sealed([]byte{msgGlobalRequest, 0, 0, 0, 0, 0})...),
		"new keys in place of points": append(kex(kexInit()...), (&bare{}).sealed([]byte{msgNewKeys})...),
	} {
		nc, err := net.Dial("tcp", st.addr)
		need(t, err)
		_, _ = nc.Write(in) // the end may come before all of it was sent
		b := &bare{nc: nc}
		if !b.ended(5 * time.Second) {
			t.Errorf("%s: the connection goes on", name)
		}
		_ = nc.Close()
		fine(name)
	}
}

// What breaks the rules behind the exchange of keys, before and behind the login.
func TestGarbageInsideOfSSH(t *testing.T) {
	st := newStage(t)
	fine := st.bystander()
	service := ssh.Marshal(struct {
		S string `sshtype:"5"`
	}{"ssh-userauth"})
	long := func(typ byte) []byte { return append([]byte{typ}, bytes.Repeat([]byte{0xff}, 100)...) }
	for name, in := range map[string][][]byte{
		"another service": {ssh.Marshal(struct {
			S string `sshtype:"5"`
		}{"ssh-connection"})},
		"a channel before the login": {service, ssh.Marshal(struct {
			Type               string `sshtype:"90"`
			ID, Window, Packet uint32
		}{"session", 0, 1 << 20, 32768})},
		"a login of false lengths": {service, long(msgAuthRequest)},
		"an unknown message":       {{200, 1, 2, 3}},
		"nothing":                  {{}},
		"success by the client":    {service, {msgAuthSuccess}},
	} {
		b := st.shake()
		b.keys()
		for _, m := range in {
			b.write(m)
		}
		if !b.ended(5 * time.Second) {
			t.Errorf("%s: the connection goes on", name)
		}
		fine(name)
	}
	// A bit that was changed on the way.
	b := st.shake()
	b.keys()
	p := b.sealed(service)
	p[9] ^= 1
	_, err := b.nc.Write(p)
	need(t, err)
	if !b.ended(5 * time.Second) {
		t.Error("a changed bit: the connection goes on")
	}

	// Behind the login some of it is passed over. What ends nothing leaves the channel
	// whole.
	for name, in := range map[string][]byte{
		"a channel of false lengths": long(msgOpen),
		"data of false lengths":      long(msgData),
		"data for no channel":        dataMessage(77, []byte("x")),
		"data of 256 KiB":            dataMessage(0, make([]byte, 255<<10)),
		"more than the window":       dataMessage(0, make([]byte, 40_000)),
		"a window of more than 4 GiB": ssh.Marshal(struct {
			To     uint32 `sshtype:"93"`
			Window uint32
		}{0, 1<<32 - 1}),
		"a request of false lengths":        long(msgChannelRequest),
		"a reply to nothing":                {msgChannelSuccess, 0, 0, 0, 0},
		"a channel that nobody has opened":  {msgOpened, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
		"a failure that nobody waits for":   append([]byte{msgOpenFailure}, make([]byte, 16)...),
		"the end of a channel that is none": {msgChannelClose, 0, 0, 0, 99},
		"a login once more":                 long(msgAuthRequest),
		"a service once more":               service,
		"an unknown message":                {200, 1, 2, 3},
		"new keys without any":              {msgNewKeys},
		"a KEXINIT that is cut":             {kexinit.Message, 1, 2, 3},
		"standard error of an unknown kind": append([]byte{msgExtendedData, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1}, 'x'),
		"a global request of no name":       {msgGlobalRequest},
	} {
		b := st.bare()
		to := b.sftp(1<<20, 32768)
		if to != 0 {
			t.Fatalf("the first channel is %d", to)
		}
		b.write(in)
		_, _ = b.nc.Write(b.sealed(dataMessage(to, (&sftp.Request{Type: sftp.TypeInit, Version: 3}).Append(nil))))
		_ = b.nc.SetReadDeadline(time.Now().Add(5 * time.Second))
		for {
			m, err := b.read()
			if err != nil && strings.Contains(err.Error(), "timeout") {
				t.Errorf("%s: neither an answer nor the end", name)
			}
			if err != nil || m[0] == msgDisconnect || m[0] == msgData {
				break
			}
		}
		_ = b.nc.Close()
		fine(name)
	}
}

// Who says nothing is gone when the time for a login is up, and whoever logs in
// meanwhile does.
func TestAHundredSilentConnections(t *testing.T) {
	st := newStage(t, func(st *stage) { st.rules.LoginTime = 600 * time.Millisecond })
	fine := st.bystander()
	begun := time.Now()
	var silent []net.Conn
	for i := range 100 {
		nc, err := net.Dial("tcp", st.addr)
		need(t, err)
		defer nc.Close()
		if i%2 > 0 { // these have said who they are
			_, err := io.WriteString(nc, "SSH-2.0-silent\r\n")
			need(t, err)
		}
		silent = append(silent, nc)
	}
	st.newWire()
	fine("beside a hundred that say nothing")
	for i, nc := range silent {
		b := &bare{nc: nc}
		if !b.ended(5 * time.Second) {
			t.Fatalf("connection %d is let stay", i)
		}
	}
	if took := time.Since(begun); took > 4*time.Second {
		t.Errorf("they are let stay for %v", took)
	}
	fine("behind them")
}

// The largest packet that a client takes, from nothing to all there is, and every
// other number is refused or kept.
func TestMaximumPacketSizes(t *testing.T) {
	st := newStage(t)
	fine := st.bystander()
	b := st.bare()
	for _, size := range []uint32{0, 1, 8, 1<<32 - 1} {
		b.open(1, 1<<20, size)
		b.want(msgOpenFailure)
	}
	hello := (&sftp.Request{Type: sftp.TypeInit, Version: 3}).Append(nil)
	for _, size := range []uint32{9, 100, 1 << 31} {
		to := b.sftp(1<<20, size)
		b.data(to, hello)
		var got []byte
		for {
			m := b.want(msgData)[9:]
			if len(m) > int(size) {
				t.Errorf("%d bytes for a client that takes %d", len(m), size)
			}
			got = append(got, m...)
			if body, _, _, err := sftp.Split(got); body != nil || err != nil {
				if err != nil || body[0] != byte(sftp.TypeVersion) {
					t.Errorf("in packets of %d bytes VERSION is %x, %v", size, got, err)
				}
				break
			}
		}
		b.write([]byte{msgChannelClose, byte(to >> 24), byte(to >> 16), byte(to >> 8), byte(to)})
		b.want(msgChannelClose)
	}
	fine("beside packets of nine bytes")
}

// A client whose window is nothing gets nothing, and all of it when it makes room;
// when it does not, it is ended like one that takes nothing from its socket.
func TestAWindowOfNothing(t *testing.T) {
	st := newStage(t, func(st *stage) { st.rules.Stall = 400 * time.Millisecond })
	fine := st.bystander()
	hello := (&sftp.Request{Type: sftp.TypeInit, Version: 3}).Append(nil)
	b := st.bare()
	to := b.sftp(0, 32768)
	b.data(to, hello)
	time.Sleep(50 * time.Millisecond)
	b.adjust(to, 7)
	if m := b.want(msgData)[9:]; len(m) != 7 {
		t.Errorf("in a window of 7 come %d bytes", len(m))
	}
	b.adjust(to, 1<<20)
	if m := b.want(msgData); len(m) < 100 {
		t.Errorf("the rest of VERSION has %d bytes", len(m)-9)
	}
	to = b.sftp(0, 32768)
	b.data(to, hello)
	if !b.ended(5 * time.Second) {
		t.Error("a client that never makes room is let stay")
	}
	fine("behind a window of nothing")
	// What is wrong is not told where there is no room, and the session ends all the
	// same: what it has open does not stay so.
	b = st.bare()
	to = b.sftp(0, 32768)
	b.data(to, []byte{0x10, 0, 0, 0})
	b.want(msgChannelClose)
}

// A refusal is told to a client which does not take it, and goes on asking: the
// server is done with it when it hangs up.
func TestARefusalThatNobodyReads(t *testing.T) {
	st := newStage(t)
	b := st.bare()
	b.open(0, 0, 32768)
	to := b.opened()
	for range 100 {
		b.request(to, "exec", "id")
	}
	time.Sleep(100 * time.Millisecond)
	_ = b.nc.Close()
	until(t, "the end of the connection", func() bool { return strings.Contains(st.log.String(), "msg=disconnected") })
}

// inUse is what the process holds, in bytes.
func inUse() int64 {
	runtime.GC()
	runtime.GC() // what pools keep for the next
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// What waits in the kernel for a client that reads nothing does so as long as the
// client may take nothing: then the connection ends, and not its answers alone.
func TestAClientThatTakesNoAnswers(t *testing.T) {
	st := newStage(t, func(st *stage) { st.rules.Stall = 300 * time.Millisecond })
	b := st.bare()
	ping := ssh.Marshal(struct {
		Name  string `sshtype:"80"`
		Reply bool
	}{"keepalive@openssh.com", true})
	_ = b.nc.SetWriteDeadline(time.Now().Add(10 * time.Second))
	var err error
	for begun := time.Now(); err == nil && time.Since(begun) < 10*time.Second; {
		var many []byte
		for range 1000 {
			many = append(many, b.sealed(ping)...)
		}
		_, err = b.nc.Write(many)
	}
	if err == nil || strings.Contains(err.Error(), "timeout") {
		t.Errorf("it is never ended: %v", err)
	}
}

// A client that asks and asks on all of its channels and reads nothing is held to
// what its windows and a few buffers take.
func TestAClientThatReadsNothingIsHeldToItsBuffers(t *testing.T) {
	st := newStage(t, func(st *stage) { st.rules.Stall = 1500 * time.Millisecond })
	st.put("big", string(make([]byte, 1<<20)))
	fine := st.bystander()
	b := st.bare()
	type asking struct {
		to   uint32
		many []byte
	}
	var all []asking
	for range maxChannels {
		to := b.sftp(1<<31, 32768)
		b.data(to, (&sftp.Request{Type: sftp.TypeInit, Version: 3}).Append(nil))
		b.want(msgData)
		b.data(to, (&sftp.Request{Type: sftp.TypeOpen, ID: 1, Path: []byte("big"), Flags: sftp.OpenRead}).Append(nil))
		var p sftp.Reply
		need(t, p.Parse(b.want(msgData)[9+4:]))
		one := (&sftp.Request{Type: sftp.TypeRead, Handle: p.Handle, Length: sftp.MaxData}).Append(nil)
		all = append(all, asking{to, bytes.Repeat(one, 32_000/len(one))})
	}
	before := inUse()
	_ = b.nc.SetWriteDeadline(time.Now().Add(time.Second))
	for range 64 { // 2 MiB on each channel, which is its window
		for _, a := range all {
			_, _ = b.nc.Write(b.sealed(dataMessage(a.to, a.many)))
		}
	}
	fine("beside it")
	// What may be ahead; for each channel two buffers of a dialogue; two of the wire, and
	// what packages keep for themselves.
	const bound = 2*hardAhead + maxChannels*2*bufferBytes + 2*bufferBytes + 8<<20 // garbage included
	if grown := inUse() - before; grown > bound {
		t.Errorf("it makes the server hold %d bytes more; want %d at most", grown, bound)
	}
	_ = b.nc.Close()
	until(t, "its end", func() bool { return strings.Contains(st.log.String(), "msg=disconnected") })
	fine("behind it")
}

// New keys are made in the middle of transfers in both directions, as often as the
// client likes.
func TestNewKeysInTheMiddleOfTransfers(t *testing.T) {
	st := newStage(t)
	content := make([]byte, 4<<20)
	_, _ = rand.Read(content)
	st.put("down", string(content))
	cfg := &ssh.ClientConfig{Auth: []ssh.AuthMethod{ssh.Password(password)}}
	cfg.RekeyThreshold = 256 << 10
	c, _, err := st.login(cfg)
	need(t, err)
	begin := func() *wireClient {
		w := open(t, c)
		w.send((&sftp.Request{Type: sftp.TypeInit, Version: 3}).Append(nil))
		w.receive()
		return w
	}
	down, up := begin(), begin()
	from, to := down.open("down", sftp.OpenRead), up.open("up", makes)
	const piece = 32 << 10
	var wg sync.WaitGroup
	wg.Go(func() { // many at once in each direction
		for off := 0; off < len(content); off += piece {
			_, _ = down.ch.Write((&sftp.Request{Type: sftp.TypeRead, ID: uint32(off / piece), Handle: from, Offset: uint64(off), Length: piece}).Append(nil))
		}
	})
	wg.Go(func() {
		for off := 0; off < len(content); off += piece {
			_, _ = up.ch.Write((&sftp.Request{Type: sftp.TypeWrite, Handle: to, Offset: uint64(off), Data: content[off : off+piece]}).Append(nil))
		}
	})
	for off := 0; off < len(content); off += piece {
		if p := down.receive(); p.ID != uint32(off/piece) || !bytes.Equal(p.Data, content[off:off+piece]) {
			t.Fatalf("READ at %d: reply %d with %d bytes", off, p.ID, len(p.Data))
		}
		if p := up.receive(); p.Type != sftp.TypeStatus || p.Code != sftp.OK {
			t.Fatalf("WRITE at %d: %+v", off, p)
		}
	}
	wg.Wait()
	up.close(to)
	if st.file("up") != string(content) {
		t.Error("what came up is not what was sent")
	}
}
