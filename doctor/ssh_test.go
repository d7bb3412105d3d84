package doctor

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"dray/fault"
	"dray/remote"
	"dray/sftp"
)

// An sshFake is a small SFTP server over SSH with its files in memory, which does
// something else where a test says so. What it shares with the other are the files and
// the counts.
type sshFake struct {
	*fake
	key    ssh.Signer
	config ssh.ServerConfig
	home   string // of who runs the doctor
	// at is asked at the steps "accept" and "subsystem", and true when it has done all.
	at func(nc net.Conn, step string) bool
	// says replaces an answer; nil keeps it.
	says func(q *sftp.Request) []byte
	noise,
	denied string
	program func(ch ssh.Channel)       // runs in place of SFTP
	wrap    func(nc net.Conn) net.Conn // what is served in place of a connection
	served  net.Conn                   // the last one
}

// last is the connection that was served last.
func (s *sshFake) last() net.Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.served
}

func hostKey(t testing.TB) ssh.Signer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newSSHFake(t testing.TB) *sshFake {
	s := &sshFake{fake: &fake{t: t, files: map[string]string{"/a.txt": "content of a"}}, key: hostKey(t), home: t.TempDir()}
	s.config.PasswordCallback = func(c ssh.ConnMetadata, p []byte) (*ssh.Permissions, error) {
		if string(p) != marker {
			return nil, errors.New("no")
		}
		return nil, nil
	}
	s.addr = serveAll(t, func(_ context.Context, nc net.Conn) {
		s.mu.Lock()
		s.open++
		s.mu.Unlock()
		defer func() {
			s.mu.Lock()
			s.open--
			s.mu.Unlock()
		}()
		s.serve(nc)
	})
	return s
}

func (s *sshFake) serve(nc net.Conn) {
	if s.wrap != nil {
		nc = s.wrap(nc)
	}
	s.mu.Lock()
	s.served = nc
	s.mu.Unlock()
	if s.at != nil && s.at(nc, "accept") {
		return
	}
	config := s.config
	config.AddHostKey(s.key)
	conn, channels, requests, err := ssh.NewServerConn(nc, &config)
	if err != nil {
		return
	}
	defer func() { _ = conn.Close() }()
	go ssh.DiscardRequests(requests)
	for c := range channels {
		ch, asked, err := c.Accept()
		if err != nil {
			return
		}
		go func() {
			for r := range asked {
				if s.at != nil && s.at(nc, "subsystem") {
					_ = r.Reply(false, nil)
					continue
				}
				_ = r.Reply(r.Type == "subsystem", nil)
				switch {
				case r.Type != "subsystem":
				case s.program != nil:
					go s.program(ch)
				default:
					go s.session(ch)
				}
			}
		}()
	}
}

func (s *sshFake) session(ch ssh.Channel) {
	defer func() { _ = ch.Close() }()
	_, _ = io.WriteString(ch, s.noise)
	var in []byte
	handles, listed := map[string]string{}, map[string]bool{}
	buf := make([]byte, 64<<10)
	for {
		body, rest, _, err := sftp.Split(in)
		if err != nil {
			return
		}
		if body == nil {
			n, err := ch.Read(buf)
			if in = append(in, buf[:n]...); err != nil {
				return
			}
			continue
		}
		var q sftp.Request
		if q.Parse(body) != nil {
			return
		}
		var out []byte
		if s.says != nil {
			out = s.says(&q)
		}
		if out == nil {
			out = s.answer(&q, handles, listed)
		}
		in = rest
		if _, err := ch.Write(out); err != nil {
			return
		}
	}
}

func status(q *sftp.Request, c sftp.Code, text string) []byte {
	return sftp.AppendStatus(nil, q.ID, c, text)
}

func attributes(size int) sftp.Attributes {
	return sftp.Attributes{Flags: sftp.HasMode | sftp.HasSize, Mode: 0o100644, Size: uint64(size)}
}

func (s *sshFake) answer(q *sftp.Request, handles map[string]string, listed map[string]bool) []byte {
	p, handle := "/"+strings.Trim(string(q.Path), "/."), string(q.Handle)
	if strings.Contains(p, "dray-doctor") || strings.Contains(p, "a.txt") {
		p = "/" + strings.Trim(string(q.Path), "/")
	}
	text, ok := s.file(p)
	switch q.Type {
	case sftp.TypeInit:
		return sftp.AppendVersion(nil, nil)
	case sftp.TypeRealpath:
		return sftp.AppendName(nil, q.ID, "/", &sftp.Attributes{})
	case sftp.TypeStat, sftp.TypeLstat, sftp.TypeFstat:
		if q.Type == sftp.TypeFstat {
			text, ok = s.file(handles[handle])
		}
		if p == "/" && q.Type != sftp.TypeFstat {
			return sftp.AppendAttrs(nil, q.ID, &sftp.Attributes{Flags: sftp.HasMode, Mode: 0o040755})
		}
		if !ok {
			return status(q, sftp.NoSuchFile, "No such file")
		}
		a := attributes(len(text))
		return sftp.AppendAttrs(nil, q.ID, &a)
	case sftp.TypeOpen:
		if q.Flags&sftp.OpenCreate != 0 {
			if s.denied != "" {
				return status(q, sftp.PermissionDenied, s.denied)
			}
			s.put(p, "")
		} else if !ok {
			return status(q, sftp.NoSuchFile, "No such file")
		}
		fallthrough
	case sftp.TypeOpendir:
		h := fmt.Sprintf("h%d", len(handles))
		handles[h] = p
		return sftp.AppendHandle(nil, q.ID, []byte(h))
	case sftp.TypeReaddir:
		if listed[handle] {
			return status(q, sftp.EOF, "")
		}
		listed[handle] = true
		n, out := sftp.BeginNames(nil, q.ID)
		s.mu.Lock()
		defer s.mu.Unlock()
		for name, content := range s.files {
			a := attributes(len(content))
			out = n.Append(out, []byte(name[1:]), []byte(name[1:]), &a)
		}
		return n.End(out)
	case sftp.TypeRead:
		text, _ = s.file(handles[handle])
		if q.Offset >= uint64(len(text)) {
			return status(q, sftp.EOF, "")
		}
		text = text[q.Offset:]
		text = text[:min(len(text), int(q.Length))]
		out := append(make([]byte, sftp.DataHeader), text...)
		sftp.PutData(out, q.ID, len(text))
		return out
	case sftp.TypeWrite:
		text, _ = s.file(handles[handle])
		b := []byte(text)
		if end := int(q.Offset) + len(q.Data); end > len(b) {
			b = append(b, make([]byte, end-len(b))...)
		}
		copy(b[q.Offset:], q.Data)
		s.put(handles[handle], string(b))
	case sftp.TypeRemove:
		if !ok {
			return status(q, sftp.NoSuchFile, "No such file")
		}
		s.mu.Lock()
		delete(s.files, p)
		s.mu.Unlock()
	case sftp.TypeExtended:
		return status(q, sftp.OpUnsupported, "")
	}
	return status(q, sftp.OK, "")
}

// known makes the host key one that is on file.
func (s *sshFake) known(key ssh.PublicKey) {
	dir := filepath.Join(s.home, ".ssh")
	line := knownhosts.Line([]string{knownhosts.Normalize(s.addr)}, key) + "\n"
	if err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(filepath.Join(dir, "known_hosts"), []byte(line), 0o600)); err != nil {
		s.t.Fatal(err)
	}
}

func (s *sshFake) options() Options {
	o := Options{URL: s.url(remote.SFTP), times: &short}
	o.Remote.SSH.Home, o.Remote.SSH.Getenv = s.home, func(string) string { return "" }
	return o
}

func TestSSHFaults(t *testing.T) {
	write := func(o *Options) { o.Write = true }
	speaks := func(text string) func(nc net.Conn, step string) bool {
		return func(nc net.Conn, step string) bool {
			if step == "accept" {
				_, _ = io.WriteString(nc, text)
				if text == "" {
					return true
				}
				_, _ = io.Copy(io.Discard, nc)
			}
			return step == "accept"
		}
	}
	for _, row := range []struct {
		name  string
		stage func(s *sshFake)
		how   func(o *Options)

		check   string
		verdict Verdict
		id      fault.ID
		saw, do string
		all     Verdict
	}{
		{name: "all is well", check: "login", verdict: OK, saw: "as alice by password", all: OK},
		{name: "an upload is well", how: write, check: "upload", verdict: OK, saw: "compared and removed", all: OK},
		{name: "nobody listens", stage: func(s *sshFake) { s.addr = closedPort(s.t) }, check: "control", verdict: Fail, id: fault.IDRefused, all: Fail},
		{name: "FTP is there", stage: func(s *sshFake) { s.at = speaks("220 ready\r\n") }, check: "control", verdict: Fail, id: fault.IDWrongProto, saw: "speaks FTP", do: "ftp://alice@", all: Fail},
		{name: "a web server is there", stage: func(s *sshFake) { s.at = speaks("HTTP/1.1 400 Bad Request\r\n\r\n") }, check: "control", verdict: Fail, id: fault.IDWrongProto, all: Fail},
		{name: "nobody speaks", stage: func(s *sshFake) {
			s.at = func(nc net.Conn, _ string) bool { _, _ = io.Copy(io.Discard, nc); return true }
		}, check: "control", verdict: Fail, id: fault.IDNoAnswer, all: Fail},
		{name: "it hangs up at once", stage: func(s *sshFake) { s.at = speaks("") }, check: "control", verdict: Fail, id: fault.IDSSHDropped, saw: "the connection before it says anything", do: "another network", all: Fail},
		{name: "it is full", stage: func(s *sshFake) { s.at = speaks("Exceeded MaxStartups\r\n") }, check: "control", verdict: Fail, id: fault.IDBusy, saw: "Exceeded MaxStartups", all: Fail},
		{name: "SSH 1", stage: func(s *sshFake) { s.at = speaks("SSH-1.5-old\r\n") }, check: "algorithms", verdict: Fail, all: Fail},
		{name: "old key exchange alone", stage: func(s *sshFake) { s.config.KeyExchanges = []string{"diffie-hellman-group1-sha1"} }, check: "algorithms", verdict: Fail, id: fault.IDKexCipher, all: Fail},
		{name: "old ciphers alone", stage: func(s *sshFake) { s.config.Ciphers = []string{"3des-cbc"} }, check: "algorithms", verdict: Fail, id: fault.IDKexCipher, all: Fail},
		{name: "the host key is new", stage: func(s *sshFake) { _ = os.RemoveAll(filepath.Join(s.home, ".ssh")) }, check: "host key", verdict: Fail, id: fault.IDHostKeyNew, do: "dray trust", all: Fail},
		{name: "the host key is another", stage: func(s *sshFake) { s.known(hostKey(s.t).PublicKey()) }, check: "host key", verdict: Fail, id: fault.IDHostKeyOther, all: Fail},
		{name: "the password is wrong", stage: func(s *sshFake) {
			s.config.PasswordCallback = func(ssh.ConnMetadata, []byte) (*ssh.Permissions, error) { return nil, errors.New("no") }
		}, check: "login", verdict: Fail, id: fault.IDAuth, all: Fail},
		{name: "keys alone", stage: func(s *sshFake) {
			s.config.PasswordCallback = nil
			s.config.PublicKeyCallback = func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) { return nil, errors.New("no") }
		}, check: "login", verdict: Fail, id: fault.IDAuth, all: Fail},
		{name: "no SFTP", stage: func(s *sshFake) { s.at = func(_ net.Conn, step string) bool { return step == "subsystem" } }, check: "sftp", verdict: Fail, id: fault.IDNoSFTP, all: Fail},
		{name: "a login script that speaks", stage: func(s *sshFake) { s.noise = "Welcome to this machine!\n" }, check: "sftp", verdict: Fail, id: fault.IDSFTPNoise, saw: "Welcome", all: Fail},
		{name: "the directory may not be listed", stage: func(s *sshFake) {
			s.says = func(q *sftp.Request) []byte {
				if q.Type != sftp.TypeOpendir {
					return nil
				}
				return status(q, sftp.PermissionDenied, "Permission denied")
			}
		}, check: "listing", verdict: Fail, id: fault.IDPerm, all: Fail},
		{name: "what is at the root of the server, and not where a login begins", stage: func(s *sshFake) {
			s.says = func(q *sftp.Request) []byte {
				switch q.Type {
				case sftp.TypeRealpath:
					return sftp.AppendName(nil, q.ID, "/home/anna", &sftp.Attributes{})
				case sftp.TypeOpendir, sftp.TypeStat:
					return status(q, sftp.NoSuchFile, "No such file")
				}
				return nil
			}
		}, how: func(o *Options) { o.URL.Path = "/in" }, check: "listing", verdict: Fail, id: fault.IDNotFound, do: "when /home/anna/in is meant", all: Fail},
		{name: "uploads are refused", stage: func(s *sshFake) { s.denied = "Permission denied" }, how: write, check: "upload", verdict: Fail, id: fault.IDPerm, all: Fail},
		{name: "the disk is full", stage: func(s *sshFake) {
			s.says = func(q *sftp.Request) []byte {
				if q.Type != sftp.TypeWrite {
					return nil
				}
				return status(q, sftp.Failure, "No space left on device")
			}
		}, how: write, check: "upload", verdict: Fail, id: fault.IDNoSpace, all: Fail},
		{name: "an upload arrives altered", stage: func(s *sshFake) {
			s.says = func(q *sftp.Request) []byte {
				if q.Type == sftp.TypeClose && len(s.ever) == 1 {
					text, _ := s.file(s.ever[0])
					if text != "" {
						s.put(s.ever[0], "x"+text[1:])
					}
				}
				return nil
			}
		}, how: write, check: "upload", verdict: Fail, id: fault.IDVerify, all: Fail},
		{name: "a name of ssh_config", stage: func(s *sshFake) {
			host, port, _ := net.SplitHostPort(s.addr)
			text := fmt.Sprintf("Host the-files\n  HostName %s\n  Port %s\n", host, port)
			if err := os.WriteFile(filepath.Join(s.home, ".ssh", "config"), []byte(text), 0o600); err != nil {
				s.t.Fatal(err)
			}
		}, how: func(o *Options) { o.URL.Host, o.URL.Port = "the-files", 0 }, check: "name", verdict: OK, saw: "127.0.0.1", all: OK},
		{name: "a server without answers", stage: func(s *sshFake) {
			s.says = func(q *sftp.Request) []byte {
				if q.Type != sftp.TypeRead {
					return nil
				}
				return []byte{}
			}
		}, check: "download", verdict: Fail, all: Fail},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			s := newSSHFake(t)
			s.known(s.key.PublicKey())
			if row.stage != nil {
				row.stage(s)
			}
			o := s.options()
			if row.how != nil {
				row.how(&o)
			}
			r := s.examine(t.Context(), o)
			found := findingOf(t, r, row.check)
			if row.id == "" {
				row.id = found.ID
			}
			wants(t, r, row.check, row.verdict, row.id, row.saw)
			if row.do != "" {
				does(t, found, row.do)
			}
			if r.Verdict() != row.all {
				t.Errorf("all in all %v; want %v\n%s", r.Verdict(), row.all, asText(r))
			}
			if left := s.left(); len(left) > 0 {
				t.Errorf("%q is left", left)
			}
		})
	}
}

// Ctrl-C in the middle of an upload leaves nothing.
func TestInterruptedSFTPUpload(t *testing.T) {
	for _, step := range []sftp.Type{sftp.TypeOpen, sftp.TypeWrite, sftp.TypeClose, sftp.TypeRead} {
		t.Run(fmt.Sprint(step), func(t *testing.T) {
			t.Parallel()
			s := newSSHFake(t)
			s.known(s.key.PublicKey())
			ctx, cancel := context.WithCancel(t.Context())
			s.says = func(q *sftp.Request) []byte {
				if q.Type == step && (step != sftp.TypeOpen || q.Flags&sftp.OpenCreate != 0) && (step != sftp.TypeClose && step != sftp.TypeRead || len(s.ever) > 0) {
					cancel()
					time.Sleep(20 * time.Millisecond)
				}
				return nil
			}
			o := s.options()
			o.Write = true
			r := s.examine(ctx, o)
			if left := s.left(); len(left) > 0 {
				t.Errorf("%q is left", left)
			}
			if r.Verdict() == Fail {
				t.Errorf("somebody is to blame:\n%s", asText(r))
			}
		})
	}
}
