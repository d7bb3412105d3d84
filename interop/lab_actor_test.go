//go:build linux

package interop

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// An actor is a small server for FTP that does what real ones do but for what its
// script says. Its one user sees two files.
type actor struct {
	greeting string        // default: 220
	late     time.Duration // before the greeting
	tls      *tls.Config   // nil: TLS is not offered
	// says answers a command in place of the actor: "" lets the actor answer, and "-"
	// ends the connection.
	says func(p *part, verb, arg string) string

	m     *machine
	mu    sync.Mutex
	files map[string][]byte
}

// A part is one connection of an actor.
type part struct {
	*actor
	raw    net.Conn // below TLS
	conn   net.Conn
	rd     *bufio.Reader
	in     bool // logged in
	prot   bool // data is under TLS
	data   net.Listener
	active string
}

// play lets the actor serve a port of the server until the test ends.
func (s *scene) play(port int, a *actor) {
	s.t.Helper()
	a.m = s.server
	a.files = map[string][]byte{"readme.txt": []byte("hello\n"), "big.bin": bytes.Repeat([]byte("0123456789abcde\n"), 40_000)}
	a.serve(s.t, s.server.listen(port))
}

func (a *actor) serve(t *testing.T, l net.Listener) {
	var wg sync.WaitGroup
	t.Cleanup(func() {
		_ = l.Close()
		wg.Wait()
	})
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			ended := make(chan struct{})
			wg.Go(func() {
				defer close(ended)
				(&part{actor: a, raw: c, conn: c, rd: bufio.NewReader(c)}).run()
			})
			wg.Go(func() { // the end of the test ends it
				select {
				case <-ended:
				case <-t.Context().Done():
				}
				_ = c.Close()
			})
		}
	})
}

func (p *part) say(lines string) bool {
	_, err := io.WriteString(p.conn, strings.ReplaceAll(lines, "\n", "\r\n")+"\r\n")
	return err == nil
}

func (p *part) run() {
	defer func() {
		if p.data != nil {
			_ = p.data.Close()
		}
	}()
	greeting := p.greeting
	if greeting == "" {
		greeting = "220 Service ready."
	}
	time.Sleep(p.late)
	if !p.say(greeting) || greeting[0] != '2' {
		return
	}
	for {
		line, err := p.rd.ReadString('\n')
		if err != nil {
			return
		}
		verb, arg, _ := strings.Cut(strings.TrimRight(line, "\r\n"), " ")
		verb = strings.ToUpper(verb)
		reply := ""
		if p.says != nil {
			reply = p.says(p, verb, arg)
		}
		if reply == "" {
			reply = p.answer(verb, arg)
		}
		if reply == "-" || !p.say(reply) {
			return
		}
		if verb == "AUTH" && reply[0] == '2' {
			c := tls.Server(p.raw, p.tls)
			if c.Handshake() != nil {
				return
			}
			p.conn, p.rd, p.in = c, bufio.NewReader(c), false
		}
	}
}

func (p *part) secured() bool { return p.conn != p.raw }

func (p *part) answer(verb, arg string) string {
	switch verb {
	case "FEAT":
		feats := "211-Features:\n EPRT\n EPSV\n MDTM\n MLST type*;size*;modify*;\n PASV\n REST STREAM\n SIZE\n UTF8\n"
		if p.tls != nil {
			feats += " AUTH TLS\n PBSZ\n PROT\n"
		}
		return feats + "211 End"
	case "AUTH":
		if p.tls == nil || p.secured() {
			return "502 Command not implemented."
		}
		return "234 Proceed."
	case "PBSZ", "PROT":
		if !p.secured() {
			return "503 AUTH first."
		}
		p.prot = verb == "PROT" && arg == "P"
		return "200 OK."
	case "USER":
		return "331 Password please."
	case "PASS":
		p.in = arg == password
		if !p.in {
			return "530 Login incorrect."
		}
		return "230 Welcome."
	case "QUIT":
		p.say("221 Goodbye.")
		return "-"
	case "SYST":
		return "215 UNIX Type: L8"
	case "NOOP", "OPTS", "TYPE", "CLNT", "MODE", "STRU":
		return "200 OK."
	case "HELP", "SITE", "STAT":
		return "502 Command not implemented."
	}
	if !p.in {
		return "530 Please login with USER and PASS."
	}
	name := strings.TrimPrefix(arg, "/")
	p.mu.Lock()
	content, there := p.files[name]
	p.mu.Unlock()
	switch verb {
	case "PWD":
		return `257 "/" is the current directory.`
	case "CWD":
		return "250 OK."
	case "EPSV", "PASV":
		return p.passive(verb)
	case "PORT":
		var n [6]int
		if _, err := fmt.Sscanf(arg, "%d,%d,%d,%d,%d,%d", &n[0], &n[1], &n[2], &n[3], &n[4], &n[5]); err != nil {
			return "501 Bad address."
		}
		p.active = fmt.Sprintf("%d.%d.%d.%d:%d", n[0], n[1], n[2], n[3], n[4]*256+n[5])
		return "200 OK."
	case "EPRT":
		f := strings.Split(arg, "|")
		if len(f) != 5 {
			return "501 Bad address."
		}
		p.active = net.JoinHostPort(f[2], f[3])
		return "200 OK."
	case "SIZE", "MDTM", "RETR", "DELE", "MLST":
		if !there {
			return "550 No such file."
		}
	}
	const changed = "20260101120000"
	switch verb {
	case "SIZE":
		return fmt.Sprintf("213 %d", len(content))
	case "MDTM":
		return "213 " + changed
	case "MLST":
		return fmt.Sprintf("250-Listing\n type=file;size=%d;modify=%s; /%s\n250 End", len(content), changed, name)
	case "DELE":
		p.mu.Lock()
		delete(p.files, name)
		p.mu.Unlock()
		return "250 Gone."
	case "REST":
		return "501 From the start only."
	case "RETR":
		return p.transfer(func(c io.ReadWriter) error {
			_, err := c.Write(content)
			return err
		})
	case "STOR":
		return p.transfer(func(c io.ReadWriter) error {
			b, err := io.ReadAll(c)
			p.mu.Lock()
			p.files[name] = b
			p.mu.Unlock()
			return err
		})
	case "LIST", "NLST", "MLSD":
		return p.transfer(func(c io.ReadWriter) error {
			p.mu.Lock()
			defer p.mu.Unlock()
			for name, content := range p.files {
				line := map[string]string{
					"LIST": fmt.Sprintf("-rw-r--r-- 1 ftp ftp %12d Jan 01 12:00 %s", len(content), name),
					"NLST": name, "MLSD": fmt.Sprintf("type=file;size=%d;modify=%s; %s", len(content), changed, name),
				}[verb]
				if _, err := io.WriteString(c, line+"\r\n"); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return "500 Unknown command."
}

func (p *part) passive(verb string) string {
	if p.data != nil {
		_ = p.data.Close()
	}
	at, _ := p.raw.LocalAddr().(*net.TCPAddr)
	err := p.m.inside(func() (err error) {
		for port := 30000; port < 30100; port++ {
			if p.data, err = net.ListenTCP("tcp", &net.TCPAddr{IP: at.IP, Port: port}); err == nil {
				return nil
			}
		}
		return err
	})
	if err != nil {
		p.data = nil
		return "425 No port."
	}
	p.active = ""
	port := p.data.Addr().(*net.TCPAddr).Port
	if verb == "EPSV" {
		return fmt.Sprintf("229 Entering extended passive mode (|||%d|)", port)
	}
	return fmt.Sprintf("227 Entering passive mode (%s,%d,%d).", strings.ReplaceAll(at.IP.To4().String(), ".", ","), port>>8, port&255)
}

// transfer makes the data connection and moves what do moves.
func (p *part) transfer(do func(c io.ReadWriter) error) string {
	var c net.Conn
	var err error
	switch {
	case p.active != "":
		c, err = p.m.dial(p.active)
		p.active = ""
	case p.data != nil:
		_ = p.data.(*net.TCPListener).SetDeadline(time.Now().Add(15 * time.Second))
		c, err = p.data.Accept()
		_ = p.data.Close()
		p.data = nil
	default:
		return "425 Use EPSV, PASV, EPRT or PORT first."
	}
	if err != nil {
		return "425 No data connection."
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	if !p.say("150 Here it comes.") {
		return "-"
	}
	if p.prot {
		t := tls.Server(c, p.tls)
		if t.Handshake() != nil {
			return "425 TLS failed."
		}
		c = t
	}
	if do(c) != nil || c.Close() != nil {
		return "426 Cut."
	}
	return "226 Done."
}

// inClear answers a command with a line unless TLS is there.
func inClear(verb, reply string) func(*part, string, string) string {
	return func(p *part, v, _ string) string {
		if v == verb && !p.secured() {
			return reply
		}
		return ""
	}
}

// instead answers commands with lines.
func instead(replies map[string]string) func(*part, string, string) string {
	return func(_ *part, verb, _ string) string { return replies[verb] }
}
