package sftpclient

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"dray/fault"
	"dray/sftp"
	"dray/transfer"
)

// everything is one call of each kind.
func everything(c *Client) map[string]func(ctx context.Context) error {
	send := func(n int) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := c.Send(ctx, "up", Store{Mode: 0o600}, from(make([]byte, n)), 0, transfer.Options{})
			return err
		}
	}
	receive := func(size int64) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := c.Receive(ctx, "file", 0, size, &memory{}, transfer.Options{})
			return err
		}
	}
	return map[string]func(ctx context.Context) error{
		"realpath": func(ctx context.Context) error { _, err := c.Realpath(ctx, "."); return err },
		"stat":     func(ctx context.Context) error { _, err := c.Stat(ctx, "file"); return err },
		"mkdir":    func(ctx context.Context) error { return c.Mkdir(ctx, "d", 0o755) },
		"rename":   func(ctx context.Context) error { return c.Rename(ctx, "a", "b") },
		"space":    func(ctx context.Context) error { _, err := c.Space(ctx, "a"); return err },
		"owners":   func(ctx context.Context) error { _, _, err := c.Owners(ctx, []uint32{1}, nil); return err },
		"sums": func(ctx context.Context) error {
			_, err := c.CheckFile(ctx, "file", Range{}, "md5")
			return err
		},
		"list": func(ctx context.Context) error {
			for _, err := range c.List(ctx, "/") {
				if err != nil {
					return err
				}
			}
			return nil
		},
		"send": send(100_000), "send little": send(10), "receive": receive(100_000), "receive unknown": receive(-1),
		"file": func(ctx context.Context) error {
			f, err := c.Open(ctx, "file", sftp.OpenRead|sftp.OpenWrite, nil)
			if err != nil {
				return err
			}
			_, rerr := f.ReadAt(ctx, make([]byte, 10), 0)
			_, werr := f.WriteAt(ctx, make([]byte, 10), 0)
			return errors.Join(rerr, werr, f.Close(ctx))
		},
	}
}

var extensionsOfAll = []string{sftp.ExtPosixRename, sftp.ExtStatvfs, sftp.ExtUsersGroups, sftp.ExtCheckName}

func TestAServerThatBreaksTheProtocol(t *testing.T) {
	names := func(q *sftp.Request, count int, name string) []byte {
		n, out := sftp.BeginNames(nil, q.ID)
		for range count {
			out = n.Append(out, []byte(name), nil, &sftp.Attributes{})
		}
		return n.End(out)
	}
	tests := []struct {
		name string
		typ  sftp.Type
		call string
		says func(q *sftp.Request) []byte
	}{
		{"an answer that nobody asked for", sftp.TypeStat, "stat", func(q *sftp.Request) []byte { return sftp.AppendStatus(nil, q.ID+99, sftp.OK, "") }},
		{"two answers", sftp.TypeStat, "stat", func(q *sftp.Request) []byte {
			return append(sftp.AppendHandle(nil, q.ID, nil), sftp.AppendHandle(nil, q.ID, nil)...)
		}},
		{"HANDLE to STAT", sftp.TypeStat, "stat", func(q *sftp.Request) []byte { return sftp.AppendHandle(nil, q.ID, []byte("h")) }},
		{"OK to STAT", sftp.TypeStat, "stat", func(q *sftp.Request) []byte { return status(q, sftp.OK, "") }},
		{"OK to OPEN", sftp.TypeOpen, "receive", func(q *sftp.Request) []byte { return status(q, sftp.OK, "") }},
		{"OK to READ", sftp.TypeRead, "receive", func(q *sftp.Request) []byte { return status(q, sftp.OK, "") }},
		{"DATA to WRITE", sftp.TypeWrite, "send", func(q *sftp.Request) []byte { return data(q, []byte("x")) }},
		{"DATA to CLOSE", sftp.TypeClose, "send", func(q *sftp.Request) []byte { return data(q, []byte("x")) }},
		{"ATTRS to READDIR", sftp.TypeReaddir, "list", func(q *sftp.Request) []byte { return sftp.AppendAttrs(nil, q.ID, &sftp.Attributes{}) }},
		{"more data than was asked for", sftp.TypeRead, "receive", func(q *sftp.Request) []byte { return data(q, make([]byte, q.Length+1)) }},
		{"more data than was asked for", sftp.TypeRead, "file", func(q *sftp.Request) []byte { return data(q, make([]byte, q.Length+1)) }},
		{"a second VERSION", sftp.TypeStat, "stat", func(q *sftp.Request) []byte { return sftp.AppendVersion(nil, nil) }},
		{"a packet of no type", sftp.TypeStat, "stat", func(q *sftp.Request) []byte { return []byte{0, 0, 0, 5, 77, 0, 0, 0, 1} }},
		{"an empty packet", sftp.TypeStat, "stat", func(q *sftp.Request) []byte { return []byte{0, 0, 0, 0} }},
		{"a packet without an end", sftp.TypeStat, "stat", func(q *sftp.Request) []byte { return []byte{0x7f, 0, 0, 0, 105} }},
		{"a handle that is too long", sftp.TypeOpen, "receive", func(q *sftp.Request) []byte { return sftp.AppendHandle(nil, q.ID, make([]byte, 300)) }},
		{"a name that is too long", sftp.TypeReaddir, "list", func(q *sftp.Request) []byte { return names(q, 1, strings.Repeat("a", 5000)) }},
		{"answers without names", sftp.TypeReaddir, "list", func(q *sftp.Request) []byte { return names(q, 0, "") }},
		{"a listing without an end", sftp.TypeReaddir, "list", func(q *sftp.Request) []byte { return names(q, 20_000, "") }},
	}
	for _, tt := range tests {
		s := newFake()
		s.announce(extensionsOfAll...)
		s.put("file", make([]byte, 100_000))
		s.says = func(q *sftp.Request, _ []byte) []byte {
			if q.Type == tt.typ {
				return tt.says(q)
			}
			return nil
		}
		c := s.dial(t, Options{Host: "example.org"})
		c.names = 100_000
		err := everything(c)[tt.call](t.Context())
		var e *fault.Error
		if !errors.As(err, &e) || e.ID != fault.IDBadReply || fmt.Sprint(e.Facts) != "[example.org SFTP]" {
			t.Errorf("%s: %v", tt.name, err)
		}
		if _, err := c.Lstat(t.Context(), "file"); idOf(err) != fault.IDBadReply || c.Err() == nil {
			t.Errorf("behind %s: %v", tt.name, err)
		}
	}
}

// What a server can do without breaking the session.
func TestAServerThatGivesNothing(t *testing.T) {
	s := newFake()
	s.put("file", make([]byte, 100))
	s.says = func(q *sftp.Request, _ []byte) []byte {
		switch q.Type {
		case sftp.TypeRead:
			return data(q, nil)
		case sftp.TypeRealpath:
			n, out := sftp.BeginNames(nil, q.ID)
			return n.End(out)
		}
		return nil
	}
	c := s.dial(t, Options{})
	for name, err := range map[string]error{
		"receive": everything(c)["receive"](t.Context()), "realpath": everything(c)["realpath"](t.Context()), "file": everything(c)["file"](t.Context()),
	} {
		if idOf(err) != fault.IDBadReply {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := c.Stat(t.Context(), "file"); err != nil {
		t.Errorf("behind it: %v", err)
	}
}

func TestTextInFrontOfThePackets(t *testing.T) {
	tests := []struct {
		first, shown string
		id           fault.ID
	}{
		{"Welcome to host!\nLast login: today\n", "Welcome to host! Last login: today", fault.IDSFTPNoise},
		{"This account is currently not available.\n", "This account is currently not available.", fault.IDNoSFTP}, // nologin(8)
		{"\x1b[31mred\x1b[0m\n", "?[31mred?[0m", fault.IDSFTPNoise},
	}
	for _, tt := range tests {
		s := newFake()
		s.first = tt.first
		_, err := s.try(t, Options{Host: "example.org"})
		var text *TextError
		if idOf(err) != tt.id || !errors.As(err, &text) || text.Said() != tt.shown {
			t.Errorf("%q: %v", tt.first, err)
		}
	}
}

// Less than a length, and then nothing or the end.
func TestALittleText(t *testing.T) {
	for _, ends := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			a, b := net.Pipe()
			go func() {
				_, _ = b.Write([]byte("no"))
				if ends {
					b.Close()
				} else {
					_, _ = io.Copy(io.Discard, b)
				}
			}()
			_, err := New(t.Context(), a, Options{})
			if idOf(err) != fault.IDSFTPNoise || !strings.Contains(err.Error(), `"no"`) {
				t.Errorf("ends %v: %v", ends, err)
			}
		})
	}
}

func TestVersions(t *testing.T) {
	for version, id := range map[uint32]fault.ID{2: fault.IDUnsupported, 3: "", 6: fault.IDUnsupported} {
		s := newFake()
		s.says = func(q *sftp.Request, usual []byte) []byte {
			if q.Type == sftp.TypeInit {
				binary.BigEndian.PutUint32(usual[5:], version)
			}
			return usual
		}
		if _, err := s.try(t, Options{}); err != nil && idOf(err) != id || err == nil && id != "" {
			t.Errorf("version %d: %v", version, err)
		}
	}
}

func TestLimitsOfTheServer(t *testing.T) {
	tests := []struct{ has, want sftp.Limits }{
		{sftp.Limits{Packet: 262144, Read: 261120, Write: 261120, Handles: 1019}, sftp.Limits{Packet: sftp.MaxPacket, Read: 261120, Write: 261120, Handles: 1019}},
		{sftp.Limits{}, sftp.Limits{Packet: sftp.MaxPacket, Read: sftp.MaxData, Write: sftp.MaxData, Handles: 128}},
		{sftp.Limits{Packet: 34000, Handles: 1 << 60}, sftp.Limits{Packet: sftp.MaxPacket, Read: 34000 - 1024, Write: 34000 - 1024, Handles: 1024}},
		{sftp.Limits{Packet: 1, Read: 1, Write: 1 << 63}, sftp.Limits{Packet: sftp.MaxPacket, Read: 1, Write: 1024, Handles: 128}},
	}
	for _, tt := range tests {
		s := newFake()
		s.limits = &tt.has
		c := s.dial(t, Options{})
		if got := c.Limits(); got != tt.want {
			t.Errorf("%+v become %+v; want %+v", tt.has, got, tt.want)
		}
	}
}

// A connection that is cut at any byte ends every call.
func TestAConnectionThatIsCut(t *testing.T) {
	for name := range everything(nil) {
		for cut := 0; ; cut += 7 {
			s := newFake()
			s.announce(extensionsOfAll...)
			s.put("file", make([]byte, 100_000))
			a, b := net.Pipe()
			limited := &cutting{Conn: b, left: cut}
			go s.serve(limited)
			c, err := New(t.Context(), a, Options{Host: "example.org"})
			if err == nil {
				err = everything(c)[name](t.Context())
				_ = c.Close()
			}
			if id := idOf(err); err == nil || limited.left >= 0 { // it came to its end
				break
			} else if id != fault.IDLost || fault.KindOf(err) != fault.Cut {
				t.Errorf("%s, cut after %d bytes: %v", name, cut, err)
			}
			if cut > 700 {
				cut += 5000
			}
		}
	}
}

// cutting ends after so many bytes that it sends.
type cutting struct {
	net.Conn
	left int
}

func (c *cutting) Write(b []byte) (int, error) {
	n := len(b)
	if c.left -= n; c.left < 0 {
		_, _ = c.Conn.Write(b[:n+c.left])
		_ = c.Conn.Close()
		return 0, io.ErrClosedPipe
	}
	return c.Conn.Write(b)
}

func TestAServerThatSaysNothing(t *testing.T) {
	for _, typ := range []sftp.Type{sftp.TypeInit, sftp.TypeStat, sftp.TypeOpen, sftp.TypeRead, sftp.TypeReaddir, sftp.TypeWrite, sftp.TypeClose} {
		synctest.Test(t, func(t *testing.T) {
			s := newFake()
			s.put("file", make([]byte, 100_000))
			s.says = func(q *sftp.Request, _ []byte) []byte {
				if q.Type == typ {
					return []byte{}
				}
				return nil
			}
			began := time.Now()
			c, err := s.try(t, Options{Host: "example.org", Answer: 10 * time.Second})
			if err == nil {
				calls := everything(c)
				err = errors.Join(calls["stat"](t.Context()), calls["list"](t.Context()), calls["receive"](t.Context()), calls["send"](t.Context()))
				_ = c.Close()
			}
			most := 13 * time.Second
			if typ == sftp.TypeClose {
				most = 130 * time.Second
			}
			if took := time.Since(began); idOf(err) != fault.IDNoAnswer || took < 10*time.Second || took > most {
				t.Errorf("no answer to %d: %v after %v", typ, err, took)
			}
		})
	}
}

// A checksum takes as long as it takes.
func TestPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFake()
		s.announce(extensionsOfAll...)
		s.says = func(q *sftp.Request, _ []byte) []byte {
			if string(q.Extension) == sftp.ExtCheckName {
				time.Sleep(time.Hour)
				return q.AppendSums(nil, "md5", []byte("0123456789abcdef"))
			}
			return nil
		}
		c := s.dial(t, Options{})
		if sums, err := c.CheckFile(t.Context(), "file", Range{}, "sha256", "md5"); err != nil || sums.Algorithm != "md5" || len(sums.Bytes) != 16 {
			t.Errorf("%+v, %v", sums, err)
		}
		_ = c.Close()
	})
}

func TestCloseEndsEverything(t *testing.T) {
	before := runtime.NumGoroutine()
	for name := range everything(nil) {
		s := newFake()
		s.announce(extensionsOfAll...)
		s.put("file", make([]byte, 100_000))
		a, b := net.Pipe()
		go s.serve(b)
		c, err := New(t.Context(), a, Options{})
		need(t, err)
		s.change(func(q *sftp.Request, usual []byte) []byte { return []byte{} })
		got := make(chan error, 1)
		go func() { got <- everything(c)[name](t.Context()) }()
		time.Sleep(5 * time.Millisecond)
		need(t, c.Close())
		select {
		case err := <-got:
			if idOf(err) != fault.IDLost || !errors.Is(err, net.ErrClosed) {
				t.Errorf("%s: %v", name, err)
			}
		case <-time.After(5 * time.Second):
			t.Fatalf("%s does not end", name)
		}
		if err := everything(c)[name](t.Context()); idOf(err) != fault.IDLost {
			t.Errorf("%s behind Close: %v", name, err)
		}
		need(t, c.Close())
	}
	waitFor(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= before })
}

func TestStatuses(t *testing.T) {
	tests := []struct {
		code sftp.Code
		text string
		kind fault.Kind
		id   fault.ID
		line string
	}{
		{sftp.NoSuchFile, "No such file", fault.NotFound, fault.IDNotFound, "[/a/quota]"},
		{sftp.PermissionDenied, "", fault.Denied, fault.IDPerm, "[/a/quota]"},
		{sftp.Failure, "Failure", fault.Unsupported, fault.IDServerSaysNo, "[to look at /a/quota]"},
		{sftp.Failure, "cannot look at /a/quota", fault.Unsupported, fault.IDServerSaysNo, "[to look at /a/quota]"},
		{sftp.Failure, "Disk quota exceeded", fault.OverQuota, fault.IDQuota, "[/a/quota]"},
		{sftp.Failure, "No space left on device", fault.NoSpace, fault.IDNoSpace, "[/a/quota on the server]"},
		{sftp.Failure, "denying write due to space limit", fault.OverQuota, fault.IDQuota, "[/a/quota]"},
		{sftp.Failure, "File already exists", fault.Exists, fault.IDExists, "[/a/quota]"},
		{sftp.Failure, "the file does not exist", fault.NotFound, fault.IDNotFound, "[/a/quota]"},
		{sftp.Failure, "Directory not empty", fault.NotEmpty, fault.IDNotEmpty, "[/a/quota]"},
		{sftp.Failure, "Is a directory", fault.IsDir, fault.IDIsDir, "[/a/quota]"},
		{sftp.NoSuchFile, "It is no directory. [not-dir]", fault.NotDir, fault.IDNotDir, "[/a/quota]"},
		{sftp.PermissionDenied, "This server is read-only. [read-only]", fault.Denied, fault.IDReadOnly, "[]"},
		{sftp.Failure, "Trust me. [hostkey-changed]", fault.Unsupported, fault.IDServerSaysNo, "[to look at /a/quota]"},
		{sftp.OpUnsupported, "", fault.Unsupported, fault.IDUnsupported, "[look at /a/quota]"},
		{14, "", fault.NoSpace, fault.IDNoSpace, "[/a/quota on the server]"},
		{15, "", fault.OverQuota, fault.IDQuota, "[/a/quota]"},
		{11, "", fault.Exists, fault.IDExists, "[/a/quota]"},
		{99, "", fault.Unsupported, fault.IDServerSaysNo, "[to look at /a/quota]"},
	}
	for _, tt := range tests {
		s := newFake()
		s.says = func(q *sftp.Request, _ []byte) []byte {
			if q.Type == sftp.TypeStat {
				return status(q, tt.code, tt.text)
			}
			return nil
		}
		c := s.dial(t, Options{})
		_, err := c.Stat(t.Context(), "/a/quota")
		var e *fault.Error
		var said *StatusError
		if !errors.As(err, &e) || !errors.As(err, &said) {
			t.Fatalf("%d %q: %v", tt.code, tt.text, err)
		}
		if e.Kind != tt.kind || e.ID != tt.id || fmt.Sprint(e.Facts) != tt.line || said.Text != tt.text || said.Said() == "" || said.Op != "STAT" {
			t.Errorf("%d %q: kind %d, %s, %v, %+v", tt.code, tt.text, e.Kind, e.ID, e.Facts, said)
		}
	}
}

func TestWhatAServerSaysIsOneCleanLine(t *testing.T) {
	e := &StatusError{Text: "a\r\nb\x1b[2J\x00\xff\u202e " + strings.Repeat("x", 10)}
	if got := e.Said(); got != "a  b?[2J???"+" "+strings.Repeat("x", 10) {
		t.Errorf("Said = %q", got)
	}
}

// dice are the bytes of a fuzzer as decisions.
type dice struct{ b []byte }

func (d *dice) next() byte {
	if len(d.b) == 0 {
		return 0
	}
	v := d.b[0]
	d.b = d.b[1:]
	return v
}

// FuzzSession holds that every call returns, whatever the server answers, that no
// download is called whole which is not, and that nothing is left behind.
func FuzzSession(f *testing.F) {
	for i := range 24 {
		f.Add(bytes.Repeat([]byte{0, 0, 0, byte(i), 3}, 12))
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, in []byte) {
		synctest.Test(t, func(t *testing.T) {
			d := &dice{in}
			s := newFake()
			s.announce(extensionsOfAll...)
			content := random(70_000)
			s.put("file", bytes.Clone(content))
			var lies atomic.Bool
			s.says = func(q *sftp.Request, usual []byte) []byte {
				what := d.next()
				if what != 0 {
					lies.Store(true)
				}
				switch what % 16 {
				case 1: // a byte is another
					if at := int(d.next()) % len(usual); at >= 0 {
						usual[at] ^= d.next()
					}
				case 2:
					return usual[:int(d.next())%len(usual)]
				case 3:
					return []byte{}
				case 4:
					return status(q, sftp.Code(d.next()%12), "No space left")
				case 5:
					return data(q, make([]byte, int(d.next())*300))
				case 6:
					return sftp.AppendHandle(nil, q.ID, []byte{d.next()})
				case 7:
					return append(usual, usual...)
				case 8:
					n, out := sftp.BeginNames(nil, q.ID)
					for range d.next() % 8 {
						out = n.Append(out, []byte{d.next()}, nil, &sftp.Attributes{})
					}
					return n.End(out)
				case 9:
					return append(usual, status(q, sftp.OK, "")...)
				case 10:
					return sftp.AppendAttrs(nil, q.ID, &sftp.Attributes{Flags: sftp.HasSize, Size: uint64(d.next()) << (d.next() % 64)})
				case 11:
					return d.b[:min(len(d.b), 30)]
				case 12:
					q.Length = uint32(d.next())
					return s.answerLocked(q)
				case 13:
					time.Sleep(time.Duration(d.next()) * time.Second)
				case 14: // the extended answers
					return sftp.AppendLimits(nil, q.ID, sftp.Limits{Packet: uint64(d.next()), Read: uint64(d.next()), Write: 1 << 63, Handles: uint64(d.next())})
				}
				return usual
			}
			c, err := s.try(t, Options{Answer: 10 * time.Second})
			if err != nil {
				return
			}
			calls := everything(c)
			for _, name := range []string{"stat", "list", "receive", "receive unknown", "send", "send little", "file", "space", "owners", "sums", "rename", "realpath"} {
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
				defer cancel()
				if name == "receive" {
					m := &memory{}
					rep, err := c.Receive(ctx, "file", 0, 70_000, m, transfer.Options{Idle: time.Minute})
					if err == nil && rep.Bytes < 70_000 || rep.Bytes > int64(len(m.b)) {
						t.Errorf("Receive = %+v, %v", rep, err)
					}
					if !lies.Load() && (err != nil || !bytes.Equal(m.b, content)) {
						t.Errorf("an honest server: %v", err)
					}
					continue
				}
				if err := calls[name](ctx); errors.Is(err, context.DeadlineExceeded) && name != "sums" { // which may take long
					t.Errorf("%s has no end of its own", name)
				}
			}
			_ = c.Close()
		})
	})
}

func (s *fake) answerLocked(q *sftp.Request) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.answer(q)
}

// An endedProgram is a channel of SSH whose program has ended without a word of SFTP.
type endedProgram struct{}

func (endedProgram) Read([]byte) (int, error)    { return 0, io.EOF }
func (endedProgram) Write(b []byte) (int, error) { return len(b), nil }
func (endedProgram) Close() error                { return nil }
func (endedProgram) Status() string              { return "1" }
func (endedProgram) Printed() string             { return "sorry" }

// ForceCommand /bin/false: the connection stands, and there is no SFTP.
func TestAProgramThatEndsAtOnce(t *testing.T) {
	_, err := New(t.Context(), endedProgram{}, Options{Host: "example.org"})
	var end *EndError
	if idOf(err) != fault.IDNoSFTP || !errors.As(err, &end) || end.Status != "1" || end.Said() != "sorry" {
		t.Errorf("New = %v", err)
	}
}
