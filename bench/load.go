//go:build linux

package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"dray/transfer"
)

// A client is one session of the load generator. It must cost less than the
// servers: what it downloads in clear text the kernel throws away, what it
// uploads comes by sendfile or from memory, and it checks nothing but replies
// and lengths.
type client struct {
	addr string
	nc   net.Conn
	rd   *bufio.Reader
	tls  *tls.Config // nil in clear text
	buf  []byte      // of downloads
}

// patience is how long one reply or transfer may take.
const patience = 5 * time.Minute

// connect takes the greeting; under TLS it says AUTH and does the handshake.
func connect(addr string, secure bool) (*client, error) {
	nc, err := net.DialTimeout("tcp", addr, 30*time.Second)
	if err != nil {
		return nil, err
	}
	c := &client{addr: addr, nc: nc, rd: bufio.NewReaderSize(nc, 512)}
	_ = nc.SetDeadline(time.Now().Add(patience))
	if _, err := c.reply("2"); err != nil {
		return nil, errors.Join(err, nc.Close())
	}
	if !secure {
		return c, nil
	}
	// The certificate is the bench's own; who it is proves nothing here.
	c.tls = &tls.Config{
		ServerName: "localhost", InsecureSkipVerify: true, MinVersion: tls.VersionTLS13,
		ClientSessionCache: new(oneTicket), DynamicRecordSizingDisabled: true,
	}
	if _, err := c.do("2", "AUTH TLS"); err != nil {
		return nil, errors.Join(err, nc.Close())
	}
	t := tls.Client(nc, c.tls)
	if err := t.Handshake(); err != nil {
		return nil, errors.Join(fmt.Errorf("control connection: %w", err), nc.Close())
	}
	c.nc = t
	c.rd.Reset(t)
	return c, nil
}

// login connects as the one user that all servers have.
func login(addr string, secure bool) (*client, error) {
	c, err := connect(addr, secure)
	if err != nil {
		return nil, err
	}
	if err := c.login(); err != nil {
		return nil, errors.Join(err, c.nc.Close())
	}
	return c, nil
}

func (c *client) login() error {
	if _, err := c.do("331", "USER "+userName); err != nil {
		return err
	}
	if _, err := c.do("230", "PASS "+password); err != nil {
		return err
	}
	if _, err := c.do("200", "TYPE I"); err != nil {
		return err
	}
	if c.tls == nil {
		return nil
	}
	if _, err := c.do("2", "PBSZ 0"); err != nil {
		return err
	}
	_, err := c.do("2", "PROT P")
	return err
}

// quit ends the session as a client should.
func (c *client) quit() error {
	_, err := c.do("2", "QUIT")
	return errors.Join(err, c.nc.Close())
}

// reply reads one reply, whose code begins with want.
func (c *client) reply(want string) (string, error) {
	for code := ""; ; {
		b, err := c.rd.ReadSlice('\n')
		if err != nil {
			return "", fmt.Errorf("awaiting %s: %w", want, err)
		}
		line := string(b)
		if code == "" && len(line) > 3 {
			code = line[:3]
		}
		if len(line) > 3 && line[:3] == code && line[3] != '-' {
			if !strings.HasPrefix(code, want) {
				return line, fmt.Errorf("awaiting %s: %s", want, strings.TrimSpace(line))
			}
			return line, nil
		}
	}
}

func (c *client) do(want, command string) (string, error) {
	if _, err := io.WriteString(c.nc, command+"\r\n"); err != nil {
		return "", err
	}
	line, err := c.reply(want)
	if err != nil {
		verb, _, _ := strings.Cut(command, " ")
		err = fmt.Errorf("%s: %w", verb, err)
	}
	return line, err
}

// passiveTries is how often a server is asked again for a passive port: two of the
// peers take one at random and answer 425 when another session has it.
const passiveTries = 5

// begin opens a data connection and starts a command on it.
func (c *client) begin(command string) (net.Conn, error) {
	line, err := c.do("229", "EPSV")
	for range passiveTries {
		if err == nil || !strings.Contains(err.Error(), ": 425") {
			break
		}
		line, err = c.do("229", "EPSV")
	}
	if err != nil {
		return nil, err
	}
	_, port, _ := strings.Cut(line, "(|||") // RFC 2428, 3
	port, _, _ = strings.Cut(port, "|")
	host, _, _ := net.SplitHostPort(c.addr)
	raw, err := net.Dial("tcp", net.JoinHostPort(host, port))
	if err != nil {
		return nil, err
	}
	_ = raw.SetDeadline(time.Now().Add(patience))
	if _, err := c.do("1", command); err != nil {
		return nil, errors.Join(err, raw.Close())
	}
	if c.tls == nil {
		return raw, nil
	}
	s := transfer.Client(raw, c.tls)
	if err := s.HandshakeContext(context.Background()); err != nil {
		return nil, errors.Join(fmt.Errorf("data connection: %w", err), raw.Close())
	}
	return s, nil
}

// A fetch is what became of a download.
type fetch struct {
	bytes int64
	first time.Duration // to the first byte of data
}

// get runs a command that sends data, and throws the data away.
func (c *client) get(command string) (fetch, error) {
	start := time.Now()
	var f fetch
	data, err := c.begin(command)
	if err != nil {
		return f, err
	}
	defer data.Close()
	if c.buf == nil {
		c.buf = make([]byte, 512<<10)
	}
	read := data.Read
	if tcp, ok := data.(*net.TCPConn); ok {
		read = func(b []byte) (int, error) { return discard(tcp, b) }
	}
	for {
		n, err := read(c.buf)
		if f.first == 0 {
			f.first = time.Since(start)
		}
		f.bytes += int64(n)
		if err == io.EOF {
			break
		}
		if err != nil {
			return f, fmt.Errorf("%s: after %d bytes: %w", command, f.bytes, err)
		}
	}
	_ = data.Close() // vsftpd waits for it before it answers
	_, err = c.reply("2")
	return f, err
}

// discard lets the kernel throw away up to len(b) bytes that came (tcp(7),
// MSG_TRUNC); b is not written.
func discard(tcp *net.TCPConn, b []byte) (n int, err error) {
	rc, err := tcp.SyscallConn()
	if err != nil {
		return 0, err
	}
	var errno syscall.Errno
	err = rc.Read(func(fd uintptr) bool {
		r, _, e := syscall.Syscall6(syscall.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), syscall.MSG_TRUNC, 0, 0)
		n, errno = int(r), e
		return e != syscall.EAGAIN
	})
	switch {
	case err != nil:
		return 0, err
	case errno != 0:
		return 0, errno
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

// A source is what uploads send: a file, again and again, and the beginning of it
// in memory.
type source struct {
	file  *os.File
	bytes []byte // all of it when it is small
}

// put uploads size bytes of src.
func (c *client) put(command string, src source, sizeBytes int64) error {
	data, err := c.begin(command)
	if err != nil {
		return err
	}
	defer data.Close()
	switch conn := data.(type) {
	case *net.TCPConn:
		if sizeBytes <= int64(len(src.bytes)) {
			_, err = conn.Write(src.bytes[:sizeBytes])
		} else {
			err = sendFile(conn, src, sizeBytes)
		}
		if err == nil {
			err = conn.CloseWrite()
		}
	case *transfer.Secure:
		for left := sizeBytes; left > 0 && err == nil; {
			var n int
			n, err = conn.Write(src.bytes[:min(left, int64(len(src.bytes)))])
			left -= int64(n)
		}
		if err == nil {
			err = errors.Join(conn.CloseWrite(), conn.Raw().(*net.TCPConn).CloseWrite())
		}
		// The end of the other side is awaited: a close with its tickets unread
		// would reset the connection and take the tail of the file along.
		if err == nil {
			_, err = io.Copy(io.Discard, conn.Raw())
		}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", command, err)
	}
	_, err = c.reply("2")
	return err
}

// sendFile sends by sendfile, from a position of its own.
func sendFile(conn *net.TCPConn, src source, sizeBytes int64) error {
	f, err := os.Open(src.file.Name())
	if err != nil {
		return err
	}
	defer f.Close()
	for left := sizeBytes; left > 0; {
		n, err := io.CopyN(conn, f, left)
		if left -= n; err != nil && (err != io.EOF || n == 0) {
			return err
		}
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return err
		}
	}
	return nil
}

// oneTicket remembers the first ticket of the control connection and offers it
// to every data connection, as FileZilla and lftp do.
type oneTicket struct {
	mu sync.Mutex
	s  *tls.ClientSessionState
}

func (t *oneTicket) Get(string) (*tls.ClientSessionState, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.s, t.s != nil
}

func (t *oneTicket) Put(_ string, s *tls.ClientSessionState) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.s == nil {
		t.s = s
	}
}
