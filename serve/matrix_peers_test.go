//go:build linux

package serve

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"dray/fault"
	"dray/ftpserver"
	"dray/sftp"
)

// A peer is what an account says and hears: over FTP in clear text, under implicit
// TLS, and over SSH.
type peer struct {
	ftp, ftps *client
	sftp      *sftpClient
}

// An answer is what a client has heard.
type answer struct {
	id  fault.ID // "" for no refusal
	got string   // everything
}

var idOf = regexp.MustCompile(`\[([a-z-]+)\]\s*$`)

// idIn is the id of a sentence.
func idIn(text string) fault.ID {
	if m := idOf.FindStringSubmatch(text); m != nil {
		return fault.ID(m[1])
	}
	return "none"
}

// reply is a whole reply of FTP.
func (c *client) reply() (code int, text string) {
	c.t.Helper()
	text = c.want("")
	begin, _, several := strings.Cut(text, "-")
	for line := text; several && len(begin) == 3 && !strings.HasPrefix(line, begin+" "); text += "\n" + line {
		line = c.want("")
	}
	code, err := strconv.Atoi(text[:min(len(text), 3)])
	if err != nil {
		c.t.Fatalf("the server said %q", text)
	}
	return code, text
}

// overData are the commands of ftpserver that have a data connection.
var overData = func() map[string]bool {
	over := map[string]bool{}
	commands, _ := ftpserver.Reference()
	for _, row := range commands {
		over[row.Verb] = row.Data
	}
	return over
}()

// try says a command and hears all of the answer.
func (c *client) try(f ftpWay) (heard answer) {
	c.t.Helper()
	_ = c.c.SetDeadline(time.Now().Add(20 * time.Second))
	say := func(line string) bool {
		if _, err := fmt.Fprintf(c.c, "%s\r\n", line); err != nil {
			c.t.Fatal(err)
		}
		code, text := c.reply()
		heard.got += text + "\n"
		if code < 400 {
			return true
		}
		heard.id = idIn(text)
		if code != 550 && code != 553 { // RFC 959, 4.2: no access, in both
			heard.id = fault.ID(fmt.Sprint(heard.id, " as ", code))
		}
		return false
	}
	if f.before != "" && !say(f.before) {
		return heard
	}
	verb, _, _ := strings.Cut(f.line, " ")
	if !overData[verb] {
		if say(f.line) && f.operation == "enter a directory" {
			c.say("CWD /", "250")
		}
		return heard
	}
	d := c.data()
	defer d.Close()
	if !say(f.line) {
		return heard
	}
	if slices.Contains([]string{"STOR", "STOU", "APPE"}, verb) {
		_, _ = io.WriteString(d, sent) // the reply says what has come of it
	} else {
		b, err := io.ReadAll(d)
		if err != nil {
			c.t.Fatal(err)
		}
		heard.got += string(b)
	}
	_ = d.Close()
	code, text := c.reply()
	heard.got += text
	if code >= 400 {
		heard.id = idIn(text)
	}
	return heard
}

// An sftpClient is one connection of SSH with SFTP on a channel.
type sftpClient struct {
	t   *testing.T
	ssh *ssh.Client
	ch  ssh.Channel
	buf []byte
	id  uint32
}

func overSSH(t *testing.T, r *Running, user string) *sftpClient {
	t.Helper()
	nc, err := net.DialTimeout("tcp", r.Card.SFTP[0], 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	_ = nc.SetDeadline(time.Now().Add(time.Minute)) // of all that it does
	sc, channels, asked, err := ssh.NewClientConn(nc, "", &ssh.ClientConfig{
		User: user, Auth: []ssh.AuthMethod{ssh.Password(password)}, HostKeyCallback: ssh.InsecureIgnoreHostKey(),
	})
	if err != nil {
		_ = nc.Close()
		t.Fatal(err)
	}
	c := ssh.NewClient(sc, channels, asked)
	t.Cleanup(func() { _ = c.Close() })
	w := &sftpClient{t: t, ssh: c}
	var requests <-chan *ssh.Request
	if w.ch, requests, err = c.OpenChannel("session", nil); err != nil {
		t.Fatal(err)
	}
	go ssh.DiscardRequests(requests)
	if ok, err := w.ch.SendRequest("subsystem", true, ssh.Marshal(struct{ S string }{"sftp"})); err != nil || !ok {
		t.Fatal(ok, err)
	}
	if _, err := w.ch.Write((&sftp.Request{Type: sftp.TypeInit, Version: sftp.Version}).Append(nil)); err != nil {
		t.Fatal(err)
	}
	if p := w.receive(); p.Type != sftp.TypeVersion {
		t.Fatalf("VERSION is %+v", p)
	}
	return w
}

func (w *sftpClient) receive() (p sftp.Reply) {
	w.t.Helper()
	for {
		body, rest, _, err := sftp.Split(w.buf)
		if err == nil && body != nil {
			err = p.Parse(slices.Clone(body))
			w.buf = rest
		}
		switch {
		case err != nil:
			w.t.Fatal(err)
		case body != nil:
			return p
		}
		b := make([]byte, 32<<10)
		n, err := w.ch.Read(b)
		if n == 0 {
			w.t.Fatalf("the session has ended: %v", err)
		}
		w.buf = append(w.buf, b[:n]...)
	}
}

// A visit is a few requests of a way, up to the first that is refused.
type visit struct {
	w     *sftpClient
	heard answer
}

func (v *visit) ask(q sftp.Request) sftp.Reply {
	w := v.w
	w.t.Helper()
	w.id++
	q.ID = w.id
	if _, err := w.ch.Write(q.Append(nil)); err != nil {
		w.t.Fatal(err)
	}
	p := w.receive()
	if p.ID != q.ID {
		w.t.Fatalf("the reply %+v is not to %d", p, q.ID)
	}
	return p
}

func (v *visit) do(q sftp.Request) (p sftp.Reply) {
	v.w.t.Helper()
	if v.heard.id != "" {
		return p
	}
	switch p = v.ask(q); p.Type {
	case sftp.TypeStatus:
		if p.Code == sftp.OK || p.Code == sftp.EOF {
			break
		}
		v.heard.id = idIn(string(p.Text))
		v.heard.got += string(p.Text)
		code, ok := map[fault.ID]sftp.Code{
			fault.IDPerm: sftp.PermissionDenied, fault.IDReadOnly: sftp.PermissionDenied, fault.IDNotFound: sftp.NoSuchFile, fault.IDExists: sftp.Failure,
		}[v.heard.id]
		if !ok || p.Code != code {
			v.heard.id = fault.ID(fmt.Sprint(v.heard.id, " as ", p.Code))
		}
	case sftp.TypeData:
		v.heard.got += string(p.Data)
	case sftp.TypeExtendedReply:
		v.heard.got += "reply " + hex.EncodeToString(p.Data)
	case sftp.TypeAttrs:
		v.heard.got += fmt.Sprintf("mode %o size %d time %d", p.Attrs.Mode, p.Attrs.Size, p.Attrs.MTime)
	case sftp.TypeName:
		for _, n := range p.Names {
			v.heard.got += fmt.Sprintf("name %s\n", n.Name)
		}
	}
	return p
}

func (v *visit) open(name string, flags uint32, a sftp.Attributes) []byte {
	v.w.t.Helper()
	return v.do(sftp.Request{Type: sftp.TypeOpen, Path: []byte(name), Flags: flags, Attrs: a}).Handle
}

// close closes what was opened, also behind a refusal.
func (v *visit) close(h []byte) {
	v.w.t.Helper()
	q := sftp.Request{Type: sftp.TypeClose, Handle: h}
	if v.heard.id == "" {
		v.do(q)
	} else if h != nil {
		v.ask(q)
	}
}

// scp runs a command on a channel of its own, as scp's other end.
func (w *sftpClient) scp(s scpWay) (heard answer) {
	w.t.Helper()
	ch, requests, err := w.ssh.OpenChannel("session", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	defer ch.Close()
	status := make(chan uint32, 1)
	go func() {
		defer close(status)
		for req := range requests {
			var p struct{ N uint32 }
			if req.Type == "exit-status" && ssh.Unmarshal(req.Payload, &p) == nil {
				status <- p.N
			}
		}
	}()
	if ok, err := ch.SendRequest("exec", true, ssh.Marshal(struct{ S string }{s.command})); err != nil || !ok {
		w.t.Fatal(ok, err)
	}
	r := bufio.NewReader(ch)
	// refusal reads the rest of a line that tells of an error.
	refusal := func() {
		line, _ := r.ReadString('\n')
		heard.got += line
		if heard.id == "" {
			heard.id = idIn(line)
		}
	}
	say := func(text string) {
		if _, err := io.WriteString(ch, text); err != nil && !errors.Is(err, io.EOF) {
			w.t.Fatal(err)
		}
	}
	if s.says == nil {
		w.fetch(r, say, refusal, &heard)
	}
	for i := 0; s.says != nil && i <= len(s.says); i++ {
		b, err := r.ReadByte()
		if err != nil {
			break
		}
		if b != 0 {
			refusal()
			break
		}
		if i < len(s.says) {
			say(s.says[i])
		}
	}
	_ = ch.CloseWrite()
	_, _ = io.Copy(io.Discard, r)
	if n, ok := <-status; !ok || (n != 0) != (heard.id != "") {
		w.t.Errorf("%s: exit status %d, and it heard %q", s.command, n, heard.got)
	}
	return heard
}

// fetch takes all that the server sends.
func (w *sftpClient) fetch(r *bufio.Reader, say func(string), refusal func(), heard *answer) {
	say("\x00")
	for {
		b, err := r.ReadByte()
		switch {
		case err != nil:
			return
		case b == 1:
			refusal()
			continue
		}
		line, err := r.ReadString('\n')
		if err != nil {
			w.t.Fatal(err)
		}
		heard.got += "record " + string(b) + line
		say("\x00")
		if b != 'C' {
			continue
		}
		size, err := strconv.Atoi(strings.Fields(line)[1])
		file := make([]byte, size+1)
		if err == nil {
			_, err = io.ReadFull(r, file)
		}
		if err != nil {
			w.t.Fatal(err)
		}
		heard.got += string(file[:size])
		say("\x00")
	}
}
