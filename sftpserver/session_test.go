package sftpserver

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"dray/account"
	"dray/gate"
	"dray/guard"
	"dray/sftp"
	"dray/vfs"
	"dray/vfs/memfs"
)

// A script is a channel whose client sends what it holds, and reads all.
type script struct {
	in  *bytes.Reader
	out bytes.Buffer
}

func (s *script) Read(b []byte) (int, error)                     { return s.in.Read(b) }
func (s *script) Write(b []byte) (int, error)                    { return s.out.Write(b) }
func (s *script) Close() error                                   { return nil }
func (s *script) CloseWrite() error                              { return nil }
func (s *script) SendRequest(string, bool, []byte) (bool, error) { return false, nil }
func (s *script) Stderr() io.ReadWriter                          { return &bytes.Buffer{} }
func (s *script) replies(t testing.TB) (all []sftp.Reply) {
	t.Helper()
	for rest := s.out.Bytes(); len(rest) > 0; {
		body, more, _, err := sftp.Split(rest)
		if err != nil || body == nil {
			t.Fatalf("the server sent %x: %v", rest[:min(len(rest), 40)], err)
		}
		var p sftp.Reply
		if err := p.Parse(bytes.Clone(body)); err != nil {
			t.Fatalf("the server sent %x: %v", body[:min(len(body), 40)], err)
		}
		all, rest = append(all, p), more
	}
	return all
}

// everybody lets everybody in.
type everybody struct{ a account.Account }

func (v everybody) Verify(context.Context, string, account.Secret, netip.Addr, account.Bar) (account.Account, error) {
	return v.a, nil
}

// inMemory is a connection whose session has a tree in memory, and no SSH.
func inMemory(t testing.TB, rights account.Rights) (*conn, *memfs.Tree) {
	t.Helper()
	tree := memfs.New(memfs.Options{MaxBytes: 1 << 20})
	for name, content := range map[string]string{"/file": "12345", "/dir/other": "123"} {
		need(t, tree.MkdirAll("/dir"))
		need(t, tree.WriteFile(name, []byte(content)))
	}
	need(t, tree.MkdirAll("/empty"))
	need(t, tree.Link("/link", "file"))
	return offline(t, rights, func() (vfs.FS, error) { return tree, nil }), tree
}

// offline is a connection that has logged in, without a network or an SSH session.
func offline(t testing.TB, rights account.Rights, open func() (vfs.FS, error)) *conn {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	g := &gate.Gate{
		Guard: guard.New(guard.Limits{}, nil), Verifier: everybody{account.Account{Name: "anna", Rights: rights}}, Log: quiet,
		Trees: func(context.Context, account.Account) (vfs.FS, error) { return open() },
	}
	v, err := g.Knock(gate.Peer{Remote: netip.MustParseAddrPort("192.0.2.1:5"), Door: &gate.Door{Protocol: gate.ProtocolSFTP}})
	need(t, err)
	t.Cleanup(v.Leave)
	s, err := v.Password(t.Context(), "anna", account.NewSecret("x"))
	need(t, err)
	t.Cleanup(s.Close)
	here, there := net.Pipe()
	t.Cleanup(func() { _, _ = here.Close(), there.Close() })
	c := newConn(New(g, quiet), here, v, &Rules{Door: v.Peer().Door, Stall: time.Minute, HostKeys: hostSigners()})
	c.session = s
	c.ssh = &ssh.ServerConn{Conn: nobody{}}
	return c
}

// nobody is a client without a version.
type nobody struct{ ssh.Conn }

func (nobody) ClientVersion() []byte { return []byte("SSH-2.0-test") }

// sample is a request of each row, for things that are there.
func sample(row *request, h []byte) sftp.Request {
	q := sftp.Request{
		Type: row.typ, ID: 7, Handle: h, Into: h, Path: []byte("file"), To: []byte("made"), Flags: makes, Length: 1, Data: []byte("x"),
		Attrs: sftp.Attributes{Flags: sftp.HasMode, Mode: 0o600}, Algorithms: []byte("md5"),
	}
	switch row.typ {
	case sftp.TypeMkdir:
		q.Path = []byte("made")
	case sftp.TypeRmdir:
		q.Path = []byte("empty")
	case sftp.TypeOpendir:
		q.Path = []byte("dir")
	case sftp.TypeReadlink:
		q.Path = []byte("link")
	}
	if row.ext != "" {
		q.Type, q.Extension = sftp.TypeExtended, []byte(row.ext)
		if row.ext == sftp.ExtHomeDirectory {
			q.Path = nil
		}
	}
	return q
}

// What changes the tree is refused to an account that may only read, whatever row it
// is, and changes nothing; the rest is answered.
func TestTheWholeTableForAReader(t *testing.T) {
	for _, row := range requests() {
		c, tree := inMemory(t, account.ReadOnly)
		in := (&sftp.Request{Type: sftp.TypeInit, Version: 3}).Append(nil)
		in = (&sftp.Request{Type: sftp.TypeOpen, ID: 1, Path: []byte("file"), Flags: sftp.OpenRead}).Append(in)
		ch := &script{in: bytes.NewReader(in)}
		d := &dialogue{conn: c, ctx: t.Context(), ch: &paced{Channel: ch, conn: c}, session: c.session, in: make([]byte, idleBytes)}
		if err := d.run(); err != io.EOF {
			t.Fatal(err)
		}
		opened := ch.replies(t)
		if len(opened) != 2 || opened[1].Type != sftp.TypeHandle {
			t.Fatalf("OPEN: %+v", opened)
		}
		ch.out.Reset()
		q := sample(&row, opened[1].Handle)
		ch.in = bytes.NewReader(q.Append(nil))
		if err := d.run(); err != io.EOF {
			t.Fatal(err)
		}
		got := ch.replies(t)
		if len(got) != 1 || got[0].ID != 7 {
			t.Errorf("%s: %d replies %+v", row.name(), len(got), got)
			continue
		}
		if row.changes || row.typ == sftp.TypeOpen {
			if got[0].Code != sftp.PermissionDenied || !strings.Contains(string(got[0].Text), "[read-only]") {
				t.Errorf("%s: %+v", row.name(), got[0])
			}
		} else if got[0].Type == sftp.TypeStatus && got[0].Code != sftp.OK && row.typ != sftp.TypeReaddir {
			t.Errorf("%s: status %d %q", row.name(), got[0].Code, got[0].Text)
		}
		d.end()
		for name, want := range map[string]string{"/file": "12345", "/dir/other": "123"} {
			if b, err := tree.ReadFile(name); err != nil || string(b) != want {
				t.Errorf("behind %s %s holds %q, %v", row.name(), name, b, err)
			}
		}
		if b, err := tree.ReadFile("/made"); err == nil {
			t.Errorf("%s made a file of %q", row.name(), b)
		}
	}
}

// Behind a handle that is none no row does anything.
func TestTheWholeTableWithoutAHandle(t *testing.T) {
	c, _ := inMemory(t, account.All)
	for _, row := range requests() {
		if !row.handle {
			continue
		}
		in := (&sftp.Request{Type: sftp.TypeInit, Version: 3}).Append(nil)
		q := sample(&row, []byte("12345678"))
		ch := &script{in: bytes.NewReader(q.Append(in))}
		d := &dialogue{conn: c, ctx: t.Context(), ch: &paced{Channel: ch, conn: c}, session: c.session, in: make([]byte, idleBytes)}
		if err := d.run(); err != io.EOF {
			t.Fatal(err)
		}
		if got := ch.replies(t); len(got) != 2 || got[1].Code != sftp.Failure || !strings.Contains(string(got[1].Text), "[bad-handle]") {
			t.Errorf("%s: %+v", row.name(), got)
		}
		d.end()
	}
}

func TestRowsHaveOneNameEach(t *testing.T) {
	seen := map[string]bool{}
	for _, row := range requests() {
		if seen[row.name()] || row.run == nil || row.help == "" {
			t.Errorf("the row %q: %+v", row.name(), row)
		}
		seen[row.name()] = true
	}
}

// FuzzSession holds that whatever a client sends, each request gets at most one reply,
// in the order of the requests, that all replies parse, and that nothing stays open.
func FuzzSession(f *testing.F) {
	for _, row := range requests() {
		q := sample(&row, []byte{0, 0, 0, 0, 1, 2, 3, 4})
		f.Add(q.Append(nil))
	}
	f.Add((&sftp.Request{Type: 99, ID: 1}).Append(nil))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, in []byte) {
		c, _ := inMemory(t, account.All)
		var ids []uint32
		for rest := in; ; {
			body, more, _, err := sftp.Split(rest)
			if err != nil || body == nil {
				break
			}
			var q sftp.Request
			_ = q.Parse(body)
			ids, rest = append(ids, q.ID), more
		}
		ch := &script{in: bytes.NewReader(append((&sftp.Request{Type: sftp.TypeInit, Version: 3}).Append(nil), in...))}
		c.sftp(t.Context(), &paced{Channel: ch, conn: c})
		replies := ch.replies(t)
		if len(replies) == 0 || replies[0].Type != sftp.TypeVersion || len(replies)-1 > len(ids) {
			t.Fatalf("%d replies to %d requests", len(replies), len(ids))
		}
		for i, p := range replies[1:] {
			if p.ID != ids[i] {
				t.Fatalf("reply %d is to %d; request %d", i, p.ID, ids[i])
			}
			if p.Type == sftp.TypeStatus && p.Code > sftp.OpUnsupported {
				t.Fatalf("status %d is none of version 3", p.Code)
			}
		}
		if c.busy != 0 {
			t.Fatal("files stay open")
		}
	})
}
