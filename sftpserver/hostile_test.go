package sftpserver

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"dray/account"
	"dray/sftp"
	"dray/vfs"
	"dray/vfs/osfs"
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

// A request is one of the table, cut at every byte: each is answered once, with its
// id, and the next is understood.
func TestRequestsCutAtEveryByte(t *testing.T) {
	c, tree := inMemory(t, account.All)
	for _, row := range requests() {
		q := sample(&row, []byte("12345678"))
		whole := q.Append(nil)[4:]
		in := (&sftp.Request{Type: sftp.TypeInit, Version: 3}).Append(nil)
		cuts := 0
		for n := 5; n < len(whole); n++ {
			in = append(binary.BigEndian.AppendUint32(in, uint32(n)), whole[:n]...)
			cuts++
		}
		in = (&sftp.Request{Type: sftp.TypeRealpath, ID: 99, Path: []byte("/")}).Append(in)
		ch := &script{in: bytes.NewReader(in)}
		if status := c.sftp(t.Context(), &paced{Channel: ch, conn: c}); status != 0 {
			t.Errorf("%s: the session ends with %d", row.name(), status)
		}
		got := ch.replies(t)
		if len(got) != cuts+2 {
			t.Fatalf("%s: %d replies to %d requests", row.name(), len(got), cuts+2)
		}
		for i, p := range got[1 : cuts+1] {
			// Some are whole without what is cut off: limits, and names that end early.
			if p.ID != q.ID || p.Type == sftp.TypeStatus && p.Code == sftp.OK && row.changes {
				t.Errorf("%s of %d bytes: %+v", row.name(), i+5, p)
			}
		}
		if p := got[cuts+1]; p.ID != 99 || p.Type != sftp.TypeName {
			t.Errorf("behind %s: %+v", row.name(), p)
		}
	}
	if b, err := tree.ReadFile("/file"); err != nil || string(b) != "12345" {
		t.Errorf("the file holds %q, %v", b, err)
	}
}

// Every type that is none is answered.
func TestUnknownTypes(t *testing.T) {
	st := newStage(t)
	w := st.newWire()
	for typ := range 256 {
		if st.server.rows[typ] != nil || sftp.Type(typ) == sftp.TypeInit {
			continue
		}
		id := uint32(1000 + typ)
		body := append(binary.BigEndian.AppendUint32([]byte{byte(typ)}, id), 0, 0, 0, 3, 'f', 'o', 'o')
		w.send(append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...))
		if p := w.receive(); p.Type != sftp.TypeStatus || p.ID != id || p.Code != sftp.OpUnsupported {
			t.Errorf("type %d: %+v", typ, p)
		}
	}
}

// A session whose last request never ends publishes nothing of what is open.
func TestTheEndInTheMiddleOfARequest(t *testing.T) {
	st := newStage(t)
	for n, last := range [][]byte{{0, 0, 0}, {0, 0, 0, 13, byte(sftp.TypeClose), 0, 0}} {
		w := st.newWire()
		w.write(w.open("f", makes), 0, strings.Repeat("x", 10_000))
		w.send(last)
		need(t, w.ch.CloseWrite())
		if p, ok := w.next(); ok {
			t.Errorf("the answer is %+v", p)
		}
		until(t, "the end of the upload", func() bool { return len(st.events.transfers()) == n+1 })
		st.missing("f")
	}
}

// Whatever numbers a request has, it gets one answer, and no file becomes long by it.
func TestNumbersAtTheEdgeInEveryRequest(t *testing.T) {
	st := newStage(t)
	w := st.newWire()
	for _, row := range requests() {
		edge := []uint64{0, 1<<31 - 1, 1<<32 - 1, 1<<63 - sftp.MaxData, 1<<63 - 1, 1 << 63, 1<<64 - 1}
		switch {
		case row.typ == sftp.TypeClose, row.typ == sftp.TypeOpen, row.typ == sftp.TypeRemove, row.typ == sftp.TypeRename, row.ext == sftp.ExtPosixRename:
			continue // they have none
		case row.typ == sftp.TypeSetstat, row.typ == sftp.TypeFsetstat, row.typ == sftp.TypeWrite, row.ext == sftp.ExtLsetstat, row.ext == sftp.ExtCopyData:
			edge = []uint64{0, 1 << 63, 1<<64 - 1} // with a hole a file may be as long as the others
		}
		for _, n := range edge {
			st.put("file", "12345")
			st.put("from", "abc")
			h, from := w.open("file", sftp.OpenRead|sftp.OpenWrite), w.open("from", sftp.OpenRead)
			q := sample(&row, h)
			q.Offset, q.Size, q.At, q.Length, q.Block = n, n, n, uint32(min(n, 1<<32-1)), uint32(min(n, 1<<32-1))
			q.Attrs = sftp.Attributes{Flags: sftp.HasSize, Size: max(n, 1)}
			if row.ext == sftp.ExtCopyData {
				q.Handle, q.Into, q.Offset = from, h, 0
			}
			p := w.do(q) // it has the id
			if p.Type == sftp.TypeStatus && p.Code > sftp.OpUnsupported {
				t.Errorf("%s with %d: %+v", row.name(), n, p)
			}
			w.close(h)
			w.close(from)
			if got := st.file("file"); len(got) > 8 {
				t.Errorf("behind %s with %d the file has %d bytes", row.name(), n, len(got))
			}
			_ = os.Remove(filepath.Join(st.dir, "made"))
		}
	}
}

// Names that are none, and names that lead out, in every request and in both places:
// nothing beside the tree is read or changed, and no answer tells where it is.
func TestNamesInEveryRequest(t *testing.T) {
	st := newStage(t)
	house := filepath.Dir(st.dir)
	outside := filepath.Join(house, "outside")
	need(t, os.Mkdir(outside, 0o755))
	need(t, os.WriteFile(filepath.Join(outside, "secret"), []byte("secret"), 0o644))
	need(t, os.Symlink("../outside", filepath.Join(st.dir, "out")))
	need(t, os.Symlink(outside, filepath.Join(st.dir, "far")))
	before := everyName(t, outside)
	w := st.newWire()
	for _, row := range requests() {
		for _, name := range []string{
			"a\x00b", "a\nb", "a\r\nb", strings.Repeat("x", 5000), strings.Repeat("y/", 2500) + "z", "\xff\xfe", "", "/", ".", "..",
			"../outside/secret", "/../../outside/secret", "x/../../outside/secret", "out/secret", "far/secret", "out/new", "far/new", "out/..", "out",
			outside + "/secret", ".dray-0123", "~anna/../../outside/secret", "~", "file/", "//file", "CON:stream",
		} {
			for place := range 3 {
				st.put("file", "12345")
				h := w.open("file", sftp.OpenRead|sftp.OpenWrite)
				q := sample(&row, h)
				if place != 1 {
					q.Path = []byte(name)
				}
				if place > 0 {
					q.To = []byte(name)
				}
				if row.typ == sftp.TypeClose {
					continue
				}
				p := w.do(q)
				answer := string(p.Text) + string(p.Data)
				for _, n := range p.Names {
					answer += string(n.Name) + string(n.Long)
				}
				if strings.Contains(answer, "secret\x00") || strings.Contains(answer, house) && !strings.Contains(name, house) {
					t.Errorf("%s of %.40q: %q", row.name(), name, answer)
				}
				if p.Type == sftp.TypeHandle {
					r := w.do(sftp.Request{Type: sftp.TypeRead, Handle: p.Handle, Length: 100})
					if strings.Contains(string(r.Data), "secret") {
						t.Errorf("%s of %.40q reads %q", row.name(), name, r.Data)
					}
					w.do(sftp.Request{Type: sftp.TypeClose, Handle: p.Handle})
				}
				w.close(h)
			}
		}
	}
	if after := everyName(t, outside); after != before {
		t.Errorf("outside there was\n%s\nand is\n%s", before, after)
	}
	all, err := os.ReadDir(house)
	need(t, err)
	for _, e := range all {
		if e.Name() != "outside" && e.Name() != filepath.Base(st.dir) && !strings.HasPrefix(e.Name(), "0") {
			t.Errorf("beside the tree there is %s", e.Name())
		}
	}
}

// everyName is what is below dir, with modes, times and contents.
func everyName(t testing.TB, dir string) string {
	t.Helper()
	var b strings.Builder
	need(t, filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		need(t, err)
		fi, err := e.Info()
		need(t, err)
		content := ""
		if fi.Mode().IsRegular() {
			c, err := os.ReadFile(path)
			need(t, err)
			content = string(c)
		}
		fmt.Fprintln(&b, path, fi.Mode(), fi.ModTime(), content)
		return nil
	}))
	return b.String()
}

// Somebody on the server makes a directory a link to elsewhere and back, as fast as
// it goes: what is elsewhere is never read, written, made or removed.
func TestDirectoriesThatBecomeLinks(t *testing.T) {
	st := newStage(t, func(st *stage) {
		disk := osfs.NewDisk(osfs.SyncNone, nil) // the more is tried
		st.gate.Trees = func(context.Context, account.Account) (vfs.FS, error) { return disk.Open(st.dir) }
	})
	outside := filepath.Join(filepath.Dir(st.dir), "outside")
	need(t, os.Mkdir(outside, 0o755))
	need(t, os.WriteFile(filepath.Join(outside, "f"), []byte("secret"), 0o644))
	need(t, os.Mkdir(filepath.Join(outside, "empty"), 0o755))
	before := everyName(t, outside)
	dir, link, moved := filepath.Join(st.dir, "d"), filepath.Join(st.dir, "link"), filepath.Join(st.dir, "moved")
	need(t, os.Mkdir(dir, 0o755))
	root, err := os.OpenRoot(dir) // wherever it is
	need(t, err)
	defer root.Close()
	need(t, os.Symlink(outside, link))
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			for _, r := range [][2]string{{dir, moved}, {link, dir}, {dir, link}, {moved, dir}} {
				select {
				case <-stop:
					return
				default:
					_ = os.Rename(r[0], r[1])
					time.Sleep(mathrand.N(100 * time.Microsecond)) // with one processor, too, all four are seen
				}
			}
		}
	}()
	w := st.newWire()
	read, missed := 0, 0
	for begun := time.Now(); time.Since(begun) < time.Second || (read < 5 || missed < 5) && time.Since(begun) < 10*time.Second; {
		need(t, root.WriteFile("f", []byte("inside"), 0o644)) // which may have been renamed away
		for _, flags := range []uint32{sftp.OpenRead, makes, sftp.OpenWrite, sftp.OpenWrite | sftp.OpenCreate | sftp.OpenExcl, sftp.OpenWrite | sftp.OpenCreate | sftp.OpenAppend} {
			path := "d/f"
			if flags&(sftp.OpenTrunc|sftp.OpenExcl) != 0 {
				path = "d/new"
			}
			p := w.do(sftp.Request{Type: sftp.TypeOpen, Path: []byte(path), Flags: flags})
			if p.Type != sftp.TypeHandle {
				missed++
				continue
			}
			h := bytes.Clone(p.Handle)
			if flags == sftp.OpenRead {
				if got := w.read(h, 0, 100); got == "secret" {
					t.Fatal("what is elsewhere was read")
				}
				read++
			} else {
				w.do(sftp.Request{Type: sftp.TypeWrite, Handle: h, Data: []byte("inside")})
			}
			w.do(sftp.Request{Type: sftp.TypeClose, Handle: h})
		}
		for _, q := range []sftp.Request{
			{Type: sftp.TypeRemove, Path: []byte("d/new")}, {Type: sftp.TypeMkdir, Path: []byte("d/dir")}, {Type: sftp.TypeRmdir, Path: []byte("d/dir")},
			{Type: sftp.TypeRmdir, Path: []byte("d/empty")}, {Type: sftp.TypeSymlink, Path: []byte("f"), To: []byte("d/l")}, {Type: sftp.TypeRemove, Path: []byte("d/l")},
			{Type: sftp.TypeSetstat, Path: []byte("d/f"), Attrs: sftp.Attributes{Flags: sftp.HasMode | sftp.HasTimes, Mode: 0o644, ATime: 5, MTime: 5}},
			{Type: sftp.TypeExtended, Extension: []byte(sftp.ExtHardlink), Path: []byte("d/f"), To: []byte("taken")},
			{Type: sftp.TypeRename, Path: []byte("d/f"), To: []byte("renamed")}, {Type: sftp.TypeRename, Path: []byte("renamed"), To: []byte("d/f")},
		} {
			w.do(q)
		}
		if b, err := os.ReadFile(filepath.Join(st.dir, "taken")); err == nil && string(b) == "secret" {
			t.Fatal("what is elsewhere was linked")
		}
		w.do(sftp.Request{Type: sftp.TypeRemove, Path: []byte("taken")})
		if p := w.do(sftp.Request{Type: sftp.TypeOpendir, Path: []byte("d")}); p.Type == sftp.TypeHandle {
			h := bytes.Clone(p.Handle)
			for _, n := range w.do(sftp.Request{Type: sftp.TypeReaddir, Handle: h}).Names {
				if string(n.Name) == "empty" {
					t.Fatal("what is elsewhere was listed")
				}
			}
			w.close(h)
		}
	}
	close(stop)
	<-stopped
	if after := everyName(t, outside); after != before {
		t.Errorf("elsewhere there was\n%s\nand is\n%s", before, after)
	}
	if read == 0 || missed == 0 {
		t.Errorf("%d times the file was read, %d times it was not to be opened: that was no race", read, missed)
	}
}

// What ends in a slash is a directory: no file is made under its name, and none opened.
func TestAFileHasNoSlashBehindIt(t *testing.T) {
	st := newStage(t)
	st.put("old", "old")
	need(t, os.Mkdir(filepath.Join(st.dir, "dir"), 0o755))
	w := st.newWire()
	for _, flags := range []uint32{makes, sftp.OpenWrite | sftp.OpenCreate, sftp.OpenWrite | sftp.OpenCreate | sftp.OpenExcl, sftp.OpenRead, sftp.OpenRead | sftp.OpenWrite} {
		for path, want := range map[string]string{"new/": "[not-dir]", "/new/.": "[not-dir]", "dir/new/": "[not-dir]", "old/": "[not-dir]", "old/.": "[not-dir]", "dir/": "[is-dir]"} {
			p := w.do(sftp.Request{Type: sftp.TypeOpen, Path: []byte(path), Flags: flags})
			if p.Type != sftp.TypeStatus || !strings.Contains(string(p.Text), want) && !(path == "dir/" && flags&sftp.OpenExcl != 0) {
				t.Errorf("OPEN %s with flags %#x: type %d, %q; want %q", path, flags, p.Type, p.Text, want)
			}
		}
	}
	st.missing("new")
	st.missing("dir/new")
	if got := st.file("old"); got != "old" {
		t.Errorf("old holds %q", got)
	}
}
