package sftpserver

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"dray/sftp"
)

func TestPacketsThatEndTheSession(t *testing.T) {
	st := newStage(t)
	c := st.dial()
	hello := (&sftp.Request{Type: sftp.TypeInit, Version: 3}).Append(nil)
	stat := (&sftp.Request{Type: sftp.TypeStat, ID: 1, Path: []byte("/")}).Append(nil)
	for name, in := range map[string][]byte{
		"a request before INIT":     stat,
		"INIT twice":                append(slices.Clone(hello), hello...),
		"256 MiB announced":         append(slices.Clone(hello), 0x10, 0, 0, 0),
		"4 GiB announced":           append(slices.Clone(hello), 0xff, 0xff, 0xff, 0xff),
		"an empty packet":           append(slices.Clone(hello), 0, 0, 0, 0),
		"INIT of three bytes":       {0, 0, 0, 3, 1, 0, 0},
		"a packet without its id":   append(slices.Clone(hello), 0, 0, 0, 2, byte(sftp.TypeStat), 0),
		"what is no SFTP":           []byte("GET / HTTP/1.1\r\n\r\n"),
		"the greeting of a shell":   []byte("Welcome to the machine\n"),
		"INIT with a broken string": {0, 0, 0, 9, 1, 0, 0, 0, 3, 0xff, 0xff, 0xff, 0xff},
	} {
		w := open(t, c)
		w.send(in)
		ended := make(chan struct{})
		go func() {
			for {
				if _, ok := w.next(); !ok {
					close(ended)
					return
				}
			}
		}()
		select {
		case <-ended:
		case <-time.After(5 * time.Second):
			t.Errorf("%s: the session goes on", name)
		}
	}
	// The connection, and other sessions of it, have no trouble.
	w := open(t, c)
	w.send(hello)
	if p := w.receive(); p.Type != sftp.TypeVersion {
		t.Errorf("a new session: %+v", p)
	}
}

// A packet is the same however it comes.
func TestPacketsInPiecesAndTogether(t *testing.T) {
	st := newStage(t)
	w := st.newWire()
	for _, b := range (&sftp.Request{Type: sftp.TypeRealpath, ID: 7, Path: []byte("a/../b")}).Append(nil) {
		w.send([]byte{b})
	}
	if p := w.receive(); p.ID != 7 || len(p.Names) != 1 || string(p.Names[0].Name) != "/b" {
		t.Errorf("byte by byte: %+v", p)
	}
	var all []byte
	for i := range 500 {
		all = (&sftp.Request{Type: sftp.TypeRealpath, ID: uint32(i), Path: []byte("x")}).Append(all)
	}
	w.send(all)
	for i := range 500 {
		if p := w.receive(); p.ID != uint32(i) || p.Type != sftp.TypeName {
			t.Fatalf("together: reply %d is %+v", i, p)
		}
	}
}

func TestMalformedRequestsGetAStatus(t *testing.T) {
	st := newStage(t)
	w := st.newWire()
	raw := func(typ sftp.Type, id uint32, rest ...byte) {
		t.Helper()
		b := binary.BigEndian.AppendUint32(nil, uint32(5+len(rest)))
		w.send(append(binary.BigEndian.AppendUint32(append(b, byte(typ)), id), rest...))
	}
	tests := []struct {
		name string
		typ  sftp.Type
		rest []byte
		want sftp.Code
	}{
		{"an unknown type", 99, nil, sftp.OpUnsupported},
		{"a reply", sftp.TypeStatus, []byte{0, 0, 0, 0}, sftp.OpUnsupported},
		{"an unknown extension", sftp.TypeExtended, append([]byte{0, 0, 0, 1}, 'x'), sftp.OpUnsupported},
		{"an extension without a name", sftp.TypeExtended, nil, sftp.BadMessage},
		{"OPEN of nothing", sftp.TypeOpen, nil, sftp.BadMessage},
		{"a path that is longer than the packet", sftp.TypeStat, []byte{0xff, 0xff, 0xff, 0xff, 'x'}, sftp.BadMessage},
		{"READ without a length", sftp.TypeRead, []byte{0, 0, 0, 0}, sftp.BadMessage},
		{"a handle of 300 bytes", sftp.TypeClose, append([]byte{0, 0, 1, 44}, make([]byte, 300)...), sftp.BadMessage},
	}
	for i, tt := range tests {
		raw(tt.typ, uint32(i), tt.rest...)
		if p := w.receive(); p.Type != sftp.TypeStatus || p.ID != uint32(i) || p.Code != tt.want {
			t.Errorf("%s: %+v; want status %d", tt.name, p, tt.want)
		}
	}
}

func TestHandlesThatAreNone(t *testing.T) {
	st := newStage(t)
	st.put("f", "x")
	w, other := st.newWire(), st.newWire()
	h := w.open("f", sftp.OpenRead)
	w.close(h)
	foreign := other.open("f", sftp.OpenRead)
	forged := slices.Clone(foreign)
	forged[7] ^= 1
	for name, bad := range map[string][]byte{
		"closed": h, "of another session": foreign, "forged": forged, "empty": {}, "short": {0, 0, 0, 0}, "long": make([]byte, 200),
		"of a slot that is far away": {0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0},
	} {
		for _, q := range []sftp.Request{
			{Type: sftp.TypeRead, Length: 1}, {Type: sftp.TypeWrite, Data: []byte("x")}, {Type: sftp.TypeClose}, {Type: sftp.TypeFstat}, {Type: sftp.TypeFsetstat},
			{Type: sftp.TypeReaddir}, {Type: sftp.TypeExtended, Extension: []byte(sftp.ExtFsync)}, {Type: sftp.TypeExtended, Extension: []byte(sftp.ExtFstatvfs)},
			{Type: sftp.TypeExtended, Extension: []byte(sftp.ExtCopyData), Into: bad},
		} {
			q.Handle = bad
			if text := w.fails(q, sftp.Failure); !strings.Contains(text, "[bad-handle]") {
				t.Errorf("%s, request %d: %q", name, q.Type, text)
			}
		}
	}
	if got := other.read(foreign, 0, 1); got != "x" {
		t.Errorf("the other session reads %q", got)
	}
}

// What is for files is refused for directories, and the other way round.
func TestHandlesOfTheOtherKind(t *testing.T) {
	st := newStage(t)
	st.put("f", "x")
	w := st.newWire()
	dir := w.do(sftp.Request{Type: sftp.TypeOpendir, Path: []byte("/")}).Handle
	f := w.open("f", sftp.OpenRead)
	for _, q := range []sftp.Request{
		{Type: sftp.TypeRead, Handle: dir, Length: 1}, {Type: sftp.TypeWrite, Handle: dir, Data: []byte("x")},
		{Type: sftp.TypeExtended, Extension: []byte(sftp.ExtCopyData), Handle: f, Into: dir},
	} {
		w.fails(q, sftp.Failure)
	}
	w.fails(sftp.Request{Type: sftp.TypeReaddir, Handle: f}, sftp.NoSuchFile)
	w.fails(sftp.Request{Type: sftp.TypeWrite, Handle: f, Data: []byte("x")}, sftp.PermissionDenied)
	w.fails(sftp.Request{Type: sftp.TypeRead, Handle: w.open("new", makes), Length: 1}, sftp.PermissionDenied)
	w.ok(sftp.Request{Type: sftp.TypeExtended, Extension: []byte(sftp.ExtFsync), Handle: dir})
}

func TestAtMost256Handles(t *testing.T) {
	st := newStage(t)
	st.put("f", "x")
	w := st.newWire()
	var all [][]byte
	for range maxHandles {
		all = append(all, w.open("f", sftp.OpenRead))
	}
	for range 50 {
		w.fails(sftp.Request{Type: sftp.TypeOpen, Path: []byte("f"), Flags: sftp.OpenRead}, sftp.Failure)
		w.fails(sftp.Request{Type: sftp.TypeOpen, Path: []byte("new"), Flags: makes}, sftp.Failure)
		w.fails(sftp.Request{Type: sftp.TypeOpendir, Path: []byte("/")}, sftp.Failure)
	}
	if got := st.partials(); len(got) != 0 {
		t.Errorf("refused uploads left %v", got)
	}
	for _, h := range all {
		w.close(h)
	}
	w.close(w.open("f", sftp.OpenRead))
}

func TestOffsetsAndLengthsAtTheEdge(t *testing.T) {
	st := newStage(t)
	st.put("f", "12345")
	w := st.newWire()
	h := w.open("f", sftp.OpenRead|sftp.OpenWrite)
	for _, off := range []uint64{5, 1 << 40, 1<<63 - 1, 1 << 63, 1<<64 - 1} {
		if got := w.read(h, off, 100); got != "EOF" {
			t.Errorf("READ at %d = %q", off, got)
		}
	}
	if got := w.read(h, 1, 1<<32-1); got != "2345" {
		t.Errorf("READ of 4 GiB = %q", got)
	}
	if got := w.read(h, 0, 0); got != "" {
		t.Errorf("READ of nothing = %q", got)
	}
	for _, off := range []uint64{1<<63 - 1, 1 << 63, 1<<64 - 1} {
		w.fails(sftp.Request{Type: sftp.TypeWrite, Handle: h, Offset: off, Data: []byte("xy")}, sftp.Failure)
		w.fails(sftp.Request{Type: sftp.TypeFsetstat, Handle: h, Attrs: sftp.Attributes{Flags: sftp.HasSize, Size: max(off, 1<<63)}}, sftp.Failure)
	}
	w.close(h)
	if got := st.file("f"); got != "12345" {
		t.Errorf("f holds %q", got)
	}
}

func TestPathsStayInside(t *testing.T) {
	st := newStage(t)
	outside := filepath.Join(filepath.Dir(st.dir), "outside")
	need(t, os.WriteFile(outside, []byte("secret"), 0o644))
	t.Cleanup(func() { _ = os.Remove(outside) })
	need(t, os.Symlink(outside, filepath.Join(st.dir, "absolute")))
	need(t, os.Symlink("../outside", filepath.Join(st.dir, "relative")))
	w := st.newWire()
	bad := []string{
		"../outside", "/../outside", "a/../../outside", "absolute", "relative", "a\x00b", "a\nb", "a\rb", strings.Repeat("x", 300),
		strings.Repeat("x/", 2500), ".dray-0123", "d/.dray-x/f",
	}
	for _, p := range bad {
		for _, q := range []sftp.Request{
			{Type: sftp.TypeOpen, Flags: sftp.OpenRead}, {Type: sftp.TypeStat}, {Type: sftp.TypeOpendir},
			{Type: sftp.TypeSetstat, Attrs: sftp.Attributes{Flags: sftp.HasMode, Mode: 0o777}},
			{Type: sftp.TypeExtended, Extension: []byte(sftp.ExtStatvfs)},
		} {
			q.Path = []byte(p)
			if r := w.do(q); r.Type != sftp.TypeStatus || r.Code == sftp.OK || strings.Contains(string(r.Text), st.dir) {
				t.Errorf("request %d of %.40q: %+v", q.Type, p, r)
			}
		}
	}
	for _, p := range bad[5:] {
		for _, q := range []sftp.Request{
			{Type: sftp.TypeOpen, Flags: makes}, {Type: sftp.TypeMkdir}, {Type: sftp.TypeRealpath}, {Type: sftp.TypeRename, To: []byte("x")},
			{Type: sftp.TypeSymlink, To: []byte("x"), Path: []byte(p)}, {Type: sftp.TypeRemove}, {Type: sftp.TypeRmdir}, {Type: sftp.TypeReadlink},
		} {
			q.Path = []byte(p)
			if r := w.do(q); r.Type != sftp.TypeStatus || r.Code == sftp.OK {
				t.Errorf("request %d of %.40q: %+v", q.Type, p, r)
			}
		}
	}
	for _, target := range []string{"../outside", "a/../../outside", "../../etc/passwd"} {
		w.fails(sftp.Request{Type: sftp.TypeSymlink, Path: []byte(target), To: []byte("l")}, sftp.PermissionDenied)
	}
	w.ok(sftp.Request{Type: sftp.TypeSymlink, Path: []byte("/etc/passwd"), To: []byte("l")}) // of the tree
	w.fails(sftp.Request{Type: sftp.TypeStat, Path: []byte("l")}, sftp.NoSuchFile)
	if p := w.do(sftp.Request{Type: sftp.TypeReadlink, Path: []byte("l")}); len(p.Names) != 1 || string(p.Names[0].Name) != "etc/passwd" {
		t.Errorf("READLINK = %+v", p)
	}
	if got, err := os.ReadFile(outside); err != nil || string(got) != "secret" {
		t.Errorf("what is outside: %q, %v", got, err)
	}
}

func TestNothingButSFTPIsOffered(t *testing.T) {
	st := newStage(t)
	c := st.dial()
	for _, typ := range []string{"direct-tcpip", "direct-streamlocal@openssh.com", "x11", "tun@openssh.com", "auth-agent@openssh.com"} {
		if _, _, err := c.OpenChannel(typ, ssh.Marshal(struct {
			Host  string
			Port  uint32
			From  string
			FPort uint32
		}{"127.0.0.1", 22, "127.0.0.1", 1})); err == nil {
			t.Errorf("a channel of type %s was opened", typ)
		}
	}
	for _, req := range []string{"tcpip-forward", "streamlocal-forward@openssh.com", "keepalive@openssh.com", "no-more-sessions@openssh.com"} {
		if ok, _, err := c.SendRequest(req, true, nil); ok || err != nil {
			t.Errorf("the request %s: %v, %v", req, ok, err)
		}
	}
	ch, reqs, err := c.OpenChannel("session", nil)
	need(t, err)
	go ssh.DiscardRequests(reqs)
	for req, payload := range map[string][]byte{
		"shell": nil, "pty-req": nil, "env": nil, "auth-agent-req@openssh.com": nil, "x11-req": nil,
		"exec": ssh.Marshal(struct{ S string }{"id"}), "subsystem": ssh.Marshal(struct{ S string }{"netconf"}),
	} {
		if ok, err := ch.SendRequest(req, true, payload); ok || err != nil {
			t.Errorf("the request %s: %v, %v", req, ok, err)
		}
	}
	// Malformed ones too, and then the channel is still good for SFTP.
	for _, payload := range [][]byte{nil, {0}, {0xff, 0xff, 0xff, 0xff}, {0, 0, 0, 9, 's'}} {
		if ok, _ := ch.SendRequest("subsystem", true, payload); ok {
			t.Errorf("a subsystem request of %x was taken", payload)
		}
	}
	if ok, err := ch.SendRequest("subsystem", true, ssh.Marshal(struct{ S string }{"sftp"})); !ok || err != nil {
		t.Errorf("sftp behind all of that: %v, %v", ok, err)
	}
}

func TestAtMostTenChannels(t *testing.T) {
	st := newStage(t)
	c := st.dial()
	var open []ssh.Channel
	for range maxChannels {
		ch, reqs, err := c.OpenChannel("session", nil)
		need(t, err)
		go ssh.DiscardRequests(reqs)
		open = append(open, ch)
	}
	for range 40 {
		var refused *ssh.OpenChannelError
		if _, _, err := c.OpenChannel("session", nil); !errors.As(err, &refused) || refused.Reason != ssh.ResourceShortage {
			t.Fatalf("one more channel: %v", err)
		}
	}
	_ = open[0].Close()
	until(t, "a place for a channel", func() bool {
		ch, reqs, err := c.OpenChannel("session", nil)
		if err == nil {
			go ssh.DiscardRequests(reqs)
			_ = ch.Close()
		}
		return err == nil
	})
}

// A client that asks and never reads is waited for, within bounds, and hinders
// nobody.
func TestAClientThatNeverReads(t *testing.T) {
	st := newStage(t, func(st *stage) { st.rules.Stall = 300 * time.Millisecond })
	big := make([]byte, 4<<20)
	_, _ = rand.Read(big)
	st.put("big", string(big))
	w := st.newWire()
	h := w.open("big", sftp.OpenRead)
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		for i := range 100_000 {
			q := sftp.Request{Type: sftp.TypeRead, ID: uint32(i), Handle: h, Offset: uint64(i%64) << 16, Length: 1 << 16}
			if _, err := w.ch.Write(q.Append(nil)); err != nil {
				return
			}
		}
	}()
	other := st.newWire()
	if got := other.read(other.open("big", sftp.OpenRead), 0, 10); got != string(big[:10]) {
		t.Errorf("another session reads %x", got)
	}
	select {
	case <-asked:
	case <-time.After(20 * time.Second):
		t.Error("it is never ended")
	}
}

func TestMaximumPacketSizeOfNothing(t *testing.T) {
	st := newStage(t)
	for _, size := range []uint32{0, 1, 8, 1<<32 - 1} {
		c := rawConn(t, st)
		c.write(ssh.Marshal(struct {
			Msg     byte `sshtype:"90"`
			Type    string
			ID      uint32
			Window  uint32
			MaxSize uint32
		}{0, "session", 0, 0, size}))
		// Whatever becomes of it, it is over soon, and nothing spins.
		_ = c.nc.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
		_, _ = io.Copy(io.Discard, c.nc)
		_ = c.nc.Close()
	}
	st.newWire()
}

// raw is a connection that has logged in; what it writes is a packet of SSH as the
// library below would not write it.
type raw struct {
	nc    net.Conn
	write func([]byte)
}

func rawConn(t testing.TB, st *stage) *raw {
	t.Helper()
	nc, err := net.Dial("tcp", st.addr)
	need(t, err)
	c, chans, reqs, err := ssh.NewClientConn(nc, st.addr, &ssh.ClientConfig{
		User: "anna", Auth: []ssh.AuthMethod{ssh.Password(password)}, HostKeyCallback: ssh.InsecureIgnoreHostKey(),
	})
	need(t, err)
	go ssh.DiscardRequests(reqs)
	go func() {
		for range chans {
		}
	}()
	return &raw{nc: nc, write: func(b []byte) {
		// A global request carries any bytes, and none of them is a packet of its own; so
		// the message goes as one whose name is the message, and what the server makes of
		// it is its answer to nonsense.
		_, _, _ = c.SendRequest(string(b), false, b)
	}}
}

func TestQuotaAndRateHold(t *testing.T) {
	st := newStage(t, func(st *stage) {
		a := st.people.known["anna"]
		a.RateUp = 200_000
		st.people.known["anna"] = a
	})
	w := st.newWire()
	h := w.open("f", makes)
	begun := time.Now()
	for i := range 10 {
		w.write(h, uint64(i)*40_000, strings.Repeat("x", 40_000))
	}
	w.close(h)
	if took := time.Since(begun); took < time.Second {
		t.Errorf("400,000 bytes at 200,000 a second took %v", took)
	}
}

func TestReaddirStreams(t *testing.T) {
	st := newStage(t)
	for i := range 2000 {
		st.put("file with a long name, so that the answer takes several packets, "+string(rune('a'+i%26))+strings.Repeat("x", i/26), "")
	}
	st.put("new\nline", "")
	w := st.newWire()
	h := w.do(sftp.Request{Type: sftp.TypeOpendir, Path: []byte("/")}).Handle
	seen := map[string]bool{}
	for packets := 0; ; packets++ {
		p := w.do(sftp.Request{Type: sftp.TypeReaddir, Handle: h})
		if p.Type == sftp.TypeStatus {
			if p.Code != sftp.EOF || packets < 5 {
				t.Errorf("behind %d packets: %+v", packets, p)
			}
			break
		}
		size := 0
		for _, n := range p.Names {
			seen[string(n.Name)] = true
			size += len(n.Name) + len(n.Long) + 40
			if !bytes.HasSuffix(n.Long, n.Name) || n.Long[0] != '-' && n.Long[0] != 'd' || bytes.ContainsAny(n.Long, "\r\n") {
				t.Errorf("the line of %q is %q", n.Name, n.Long)
			}
		}
		if size > 34_000 {
			t.Errorf("an answer of about %d bytes", size)
		}
	}
	if len(seen) != 2002 {
		t.Errorf("%d names", len(seen))
	}
	w.close(h)
}
