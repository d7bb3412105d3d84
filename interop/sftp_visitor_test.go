//go:build linux

package interop

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"dray/sftp"
)

// An sftpVisitor is an SFTP client that sends one request at a time and reports
// every answer that it did not expect. What real clients make of a server is tested
// with them; this one knows at every moment what was acknowledged.
type sftpVisitor struct {
	nc  net.Conn
	ssh *ssh.Client
	ch  ssh.Channel
	buf []byte
	id  uint32
}

// A status is an answer that was not what the visitor needed.
type status struct {
	what string
	code sftp.Code
	text string
}

func (s *status) Error() string { return fmt.Sprintf("%s: status %d %s", s.what, s.code, s.text) }

// shake connects to a server and logs name in.
func shake(ctx context.Context, addr, name string) (net.Conn, *ssh.Client, error) {
	nc, err := (&net.Dialer{Timeout: 20 * time.Second}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, nil, err
	}
	_ = nc.SetDeadline(time.Now().Add(patience))
	conn, chans, reqs, err := ssh.NewClientConn(nc, addr, &ssh.ClientConfig{
		User: name, Auth: []ssh.AuthMethod{ssh.Password(password)}, HostKeyCallback: ssh.InsecureIgnoreHostKey(),
	})
	if err != nil {
		_ = nc.Close()
		return nil, nil, err
	}
	return nc, ssh.NewClient(conn, chans, reqs), nil
}

// dive is a login and SFTP on a channel.
func dive(ctx context.Context, addr, name string) (*sftpVisitor, error) {
	nc, c, err := shake(ctx, addr, name)
	if err != nil {
		return nil, err
	}
	v := &sftpVisitor{nc: nc, ssh: c}
	if err := v.begin(); err != nil {
		v.hangUp()
		return nil, err
	}
	return v, nil
}

func (v *sftpVisitor) begin() error {
	ch, reqs, err := v.ssh.OpenChannel("session", nil)
	if err != nil {
		return err
	}
	v.ch = ch
	go ssh.DiscardRequests(reqs)
	if ok, err := ch.SendRequest("subsystem", true, ssh.Marshal(struct{ S string }{"sftp"})); err != nil || !ok {
		return fmt.Errorf("the subsystem was refused: %w", err)
	}
	if _, err := ch.Write((&sftp.Request{Type: sftp.TypeInit, Version: sftp.Version}).Append(nil)); err != nil {
		return err
	}
	p, err := v.receive()
	if err == nil && (p.Type != sftp.TypeVersion || p.Version != sftp.Version) {
		err = fmt.Errorf("INIT is answered with %+v", p)
	}
	return err
}

// hangUp closes the socket, without a word of SSH, as the kernel does for a client
// that was killed.
func (v *sftpVisitor) hangUp() { _ = v.nc.Close() }

func (v *sftpVisitor) receive() (p sftp.Reply, err error) {
	_ = v.nc.SetDeadline(time.Now().Add(patience))
	for {
		body, rest, _, err := sftp.Split(v.buf)
		if err != nil {
			return p, err
		}
		if body != nil {
			v.buf = rest
			return p, p.Parse(bytes.Clone(body))
		}
		b := make([]byte, 64<<10)
		n, err := v.ch.Read(b)
		if n == 0 {
			return p, errors.Join(err, errors.New("the session has ended"))
		}
		v.buf = append(v.buf, b[:n]...)
	}
}

// say sends a request and does not wait for its answer.
func (v *sftpVisitor) say(q sftp.Request) error {
	v.id++
	q.ID = v.id
	_ = v.nc.SetDeadline(time.Now().Add(patience))
	_, err := v.ch.Write(q.Append(nil))
	return err
}

// ask sends a request and reads its answer.
func (v *sftpVisitor) ask(q sftp.Request) (sftp.Reply, error) {
	if err := v.say(q); err != nil {
		return sftp.Reply{}, err
	}
	p, err := v.receive()
	if err == nil && p.ID != v.id {
		err = fmt.Errorf("an answer to request %d; %d was asked", p.ID, v.id)
	}
	return p, err
}

// need is ask for an answer of one type; for a STATUS it must be OK.
func (v *sftpVisitor) need(what string, q sftp.Request, want sftp.Type) (sftp.Reply, error) {
	p, err := v.ask(q)
	if err == nil && (p.Type != want || p.Type == sftp.TypeStatus && p.Code != sftp.OK) {
		err = &status{what, p.Code, string(p.Text)}
	}
	return p, err
}

func (v *sftpVisitor) ok(what string, q sftp.Request) error {
	_, err := v.need(what, q, sftp.TypeStatus)
	return err
}

// What is opened to be uploaded, and to be changed where it is.
const (
	toUpload = sftp.OpenWrite | sftp.OpenCreate | sftp.OpenTrunc
	toAppend = sftp.OpenWrite | sftp.OpenAppend
	toEdit   = sftp.OpenWrite
)

func (v *sftpVisitor) open(path string, flags uint32) ([]byte, error) {
	p, err := v.need("OPEN "+path, sftp.Request{Type: sftp.TypeOpen, Path: []byte(path), Flags: flags}, sftp.TypeHandle)
	return p.Handle, err
}

// piece is how much one WRITE carries, as most clients have it.
const piece = 32 << 10

// write sends b piece by piece; done, where there is one, hears after each how much
// of b was acknowledged.
func (v *sftpVisitor) write(h []byte, off int64, b []byte, done func(n int)) error {
	for at := 0; at < len(b); {
		n := min(piece, len(b)-at)
		err := v.ok("WRITE", sftp.Request{Type: sftp.TypeWrite, Handle: h, Offset: uint64(off) + uint64(at), Data: b[at : at+n]})
		if err != nil {
			return err
		}
		at += n
		if done != nil {
			done(at)
		}
	}
	return nil
}

func (v *sftpVisitor) close(h []byte) error {
	return v.ok("CLOSE", sftp.Request{Type: sftp.TypeClose, Handle: h})
}

func (v *sftpVisitor) fsync(h []byte) error {
	return v.ok("fsync", sftp.Request{Type: sftp.TypeExtended, Extension: []byte(sftp.ExtFsync), Handle: h})
}

// put uploads b. Like other clients it closes what was refused.
func (v *sftpVisitor) put(path string, b []byte) error { return v.change(path, toUpload, 0, b) }

// change opens path, writes b at an offset and closes.
func (v *sftpVisitor) change(path string, flags uint32, off int64, b []byte) error {
	h, err := v.open(path, flags)
	if err != nil {
		return err
	}
	werr := v.write(h, off, b, nil)
	if err := v.close(h); werr == nil {
		return err
	}
	return werr
}

// goOn is what clients do that resume: they ask how long the file is, and send the
// rest of b.
func (v *sftpVisitor) goOn(path string, b []byte) error {
	size, err := v.size(path)
	if err != nil {
		return err
	}
	if size > int64(len(b)) {
		return fmt.Errorf("%s has %d bytes already; all of it are %d", path, size, len(b))
	}
	return v.change(path, sftp.OpenWrite|sftp.OpenCreate, size, b[size:])
}

// size asks with STAT.
func (v *sftpVisitor) size(path string) (int64, error) {
	p, err := v.need("STAT "+path, sftp.Request{Type: sftp.TypeStat, Path: []byte(path)}, sftp.TypeAttrs)
	return int64(p.Attrs.Size), err
}

func (v *sftpVisitor) setSize(path string, size int64) error {
	return v.ok("SETSTAT "+path, sftp.Request{Type: sftp.TypeSetstat, Path: []byte(path), Attrs: sftp.Attributes{Flags: sftp.HasSize, Size: uint64(size)}})
}

func (v *sftpVisitor) remove(path string) error {
	return v.ok("REMOVE "+path, sftp.Request{Type: sftp.TypeRemove, Path: []byte(path)})
}

// rename replaces what has the new name.
func (v *sftpVisitor) rename(from, to string) error {
	return v.ok("posix-rename "+from, sftp.Request{Type: sftp.TypeExtended, Extension: []byte(sftp.ExtPosixRename), Path: []byte(from), To: []byte(to)})
}

func (v *sftpVisitor) hardlink(from, to string) error {
	return v.ok("hardlink "+from, sftp.Request{Type: sftp.TypeExtended, Extension: []byte(sftp.ExtHardlink), Path: []byte(from), To: []byte(to)})
}

// names are those of the root, without points.
func (v *sftpVisitor) names() (names []string, err error) {
	p, err := v.need("OPENDIR", sftp.Request{Type: sftp.TypeOpendir, Path: []byte("/")}, sftp.TypeHandle)
	if err != nil {
		return nil, err
	}
	for {
		list, err := v.ask(sftp.Request{Type: sftp.TypeReaddir, Handle: p.Handle})
		if err != nil || list.Type != sftp.TypeName {
			return names, errors.Join(err, v.close(p.Handle))
		}
		for _, n := range list.Names {
			if s := string(n.Name); s != "." && s != ".." {
				names = append(names, s)
			}
		}
	}
}

// A scpVisitor is a client of scp's old protocol that sends files.
type scpVisitor struct {
	nc net.Conn
	ch ssh.Channel
	r  *bufio.Reader
}

// copyTo logs name in and runs "scp -t".
func copyTo(ctx context.Context, addr, name, path string) (*scpVisitor, error) {
	nc, c, err := shake(ctx, addr, name)
	if err != nil {
		return nil, err
	}
	v := &scpVisitor{nc: nc}
	ch, reqs, err := c.OpenChannel("session", nil)
	if err == nil {
		go ssh.DiscardRequests(reqs)
		v.ch, v.r = ch, bufio.NewReader(ch)
		_, err = ch.SendRequest("exec", true, ssh.Marshal(struct{ S string }{"scp -t " + path}))
	}
	if err == nil {
		err = v.answer()
	}
	if err != nil {
		_ = nc.Close()
		return nil, err
	}
	return v, nil
}

// answer reads one answer: zero, or the line of a refusal.
func (v *scpVisitor) answer() error {
	_ = v.nc.SetDeadline(time.Now().Add(patience))
	b, err := v.r.ReadByte()
	if err != nil || b == 0 {
		return err
	}
	line, err := v.r.ReadString('\n')
	return errors.Join(err, errors.New(strings.TrimSuffix(line, "\n")))
}

// send is one file under the name that the command has, all of it but the last word.
func (v *scpVisitor) send(b []byte) error {
	if _, err := fmt.Fprintf(v.ch, "C0644 %d file\n", len(b)); err != nil {
		return err
	}
	if err := v.answer(); err != nil {
		return err
	}
	_, err := v.ch.Write(b)
	return err
}

// done is the last word, which publishes the file.
func (v *scpVisitor) done() error {
	if _, err := io.WriteString(v.ch, "\x00"); err != nil {
		return err
	}
	return v.answer()
}

func (v *scpVisitor) hangUp() { _ = v.nc.Close() }
