//go:build linux

package main

import (
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"dray/sftp"
)

// A sftpClient is one SFTP session of the load generator. It checks nothing but
// replies and lengths.
type sftpClient struct {
	*link
	channel []byte // its number at the server
	window  int    // bytes that the server still takes
	most    int    // and in one packet
	owed    int    // bytes that came and were not given back to the server's window
	feed    []byte // of the stream of SFTP, not taken apart yet
	next    uint32
	req     sftp.Request
	rep     sftp.Reply
	buf     []byte
	said    []byte // requests that are in no packet yet
	number  [4]byte
	packets int // bytes of a READ or WRITE; 0: what clients without limits ask for
	flight  int // of them at once; 0: as many
	wide    int // our window
}

const (
	// usualWindow and usualPacket are those of OpenSSH's client; usualRequest and
	// usualFlight too, when a server announces no limits.
	usualWindow  = 2 << 20
	usualPacket  = 32 << 10
	usualRequest = 32 << 10
	usualFlight  = 64
)

// openSFTP connects as the one user that all servers have; by password without a key.
func openSFTP(addr string, want suite, key ed25519.PrivateKey) (*sftpClient, error) {
	return openWide(addr, want, key, usualWindow)
}

func openWide(addr string, want suite, key ed25519.PrivateKey, window int) (*sftpClient, error) {
	l, err := dial(addr, want)
	if err != nil {
		return nil, err
	}
	c := &sftpClient{link: l, wide: window}
	if err = l.login(key); err == nil {
		err = c.begin()
	}
	if err != nil {
		return nil, errors.Join(err, l.nc.Close())
	}
	return c, nil
}

// begin opens the channel and the subsystem (RFC 4254, 5.1 and 6.5).
func (c *sftpClient) begin() error {
	b := append(word([]byte{msgOpen}, "session"), 0, 0, 0, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(c.wide))
	c.write(binary.BigEndian.AppendUint32(b, usualPacket))
	p, err := c.want(msgOpened)
	if err != nil {
		return err
	}
	c.channel = append([]byte(nil), p[5:9]...)
	c.window, c.most = int(binary.BigEndian.Uint32(p[9:])), int(binary.BigEndian.Uint32(p[13:]))
	c.write([]byte{msgChannelAsk}, c.channel, word(nil, "subsystem"), []byte{1}, word(nil, "sftp"))
	for {
		p, err := c.want(msgChannelOK, msgWindow)
		if err != nil {
			return err
		}
		if p[0] == msgChannelOK {
			break
		}
		c.window += int(binary.BigEndian.Uint32(p[5:]))
	}
	c.req = sftp.Request{Type: sftp.TypeInit, Version: sftp.Version}
	if err := c.do(sftp.TypeVersion); err != nil {
		return err
	}
	for _, p := range c.rep.Pairs {
		if string(p.Name) == sftp.ExtLimits { // as OpenSSH's client does
			c.req = sftp.Request{Type: sftp.TypeExtended, Extension: []byte(sftp.ExtLimits)}
			return c.do(sftp.TypeExtendedReply)
		}
	}
	return nil
}

// send writes the request in c.req, whose Data is in data: WRITE has its data
// where they are.
func (c *sftpClient) send(data []byte) error {
	c.req.ID = c.next
	c.next++
	c.buf = c.req.Append(c.buf[:0])
	if data != nil { // of a WRITE: the lengths count what follows
		binary.BigEndian.PutUint32(c.buf, uint32(len(c.buf)-4+len(data)))
		binary.BigEndian.PutUint32(c.buf[len(c.buf)-4:], uint32(len(data)))
	}
	if err := c.push(c.buf); err != nil {
		return err
	}
	if err := c.push(data); err != nil {
		return err
	}
	if len(c.out) > linkBuffer/2 {
		return c.flush()
	}
	return nil
}

// push puts bytes into the channel, in packets that are as long as they may be: a
// client that has much to say need not end one with every request.
func (c *sftpClient) push(b []byte) error {
	for len(c.said)+len(b) >= c.most {
		n := c.most - len(c.said)
		if err := c.emit(c.said, b[:n]); err != nil {
			return err
		}
		c.said, b = c.said[:0], b[n:]
	}
	c.said = append(c.said, b...)
	return nil
}

// emit writes one packet, for which it waits until the window has room.
func (c *sftpClient) emit(parts ...[]byte) error {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	for c.window < n {
		p, err := c.packet()
		if err != nil {
			return err
		}
		if err := c.take(p); err != nil {
			return err
		}
	}
	c.window -= n
	binary.BigEndian.PutUint32(c.number[:], uint32(n))
	c.write(append([][]byte{dataHead, c.channel, c.number[:]}, parts...)...)
	return nil
}

// await is the next packet. What was said goes out before it waits.
func (c *sftpClient) await() ([]byte, error) {
	if len(c.said) > 0 && c.have-c.at < c.opener.head() {
		if err := c.emit(c.said); err != nil {
			return nil, err
		}
		c.said = c.said[:0]
	}
	return c.packet()
}

var dataHead = []byte{msgData}

// take is what a packet means for the channel.
func (c *sftpClient) take(p []byte) error {
	switch p[0] {
	case msgWindow:
		c.window += int(binary.BigEndian.Uint32(p[5:]))
	case msgData:
		data, _ := cut(p[5:])
		c.feed = append(c.feed, data...)
		c.eaten(len(data))
	case msgExtended:
		text, _ := cut(p[9:])
		return fmt.Errorf("the server says: %s", text)
	case msgEOF, msgClosed:
		return errors.New("the server has closed the channel")
	}
	return nil
}

// eaten gives the server its window back, when half of it is used.
func (c *sftpClient) eaten(n int) {
	if c.owed += n; c.owed > c.wide/2 {
		c.write([]byte{msgWindow}, c.channel, binary.BigEndian.AppendUint32(nil, uint32(c.owed)))
		c.owed = 0
	}
}

// reply reads the next one into c.rep.
func (c *sftpClient) reply() error {
	for {
		body, rest, _, err := sftp.Split(c.feed)
		if err != nil {
			return err
		}
		if body != nil {
			err := c.rep.Parse(body)
			c.feed = rest
			return err
		}
		c.feed = append(c.feed[:0:0], c.feed...)
		p, err := c.await()
		if err != nil {
			return err
		}
		if err := c.take(p); err != nil {
			return err
		}
	}
}

// A counter follows the DATA replies of a download through the stream of SFTP
// without putting them together.
type counter struct {
	left int // bytes of the reply that is under way
	head []byte
}

// count takes the next bytes of the stream, and returns how many replies ended in
// them and how many bytes of data those have that began.
func (k *counter) count(b []byte) (replies int, bytes int64, err error) {
	for len(b) > 0 {
		if k.left > 0 {
			n := min(k.left, len(b))
			k.left -= n
			b = b[n:]
			if k.left == 0 {
				replies++
			}
			continue
		}
		n := min(sftp.DataHeader-len(k.head), len(b))
		k.head = append(k.head, b[:n]...)
		b = b[n:]
		if len(k.head) < sftp.DataHeader {
			continue
		}
		if sftp.Type(k.head[4]) != sftp.TypeData {
			return replies, bytes, fmt.Errorf("a reply of type %d to READ", k.head[4])
		}
		k.left = int(binary.BigEndian.Uint32(k.head[9:]))
		bytes += int64(k.left)
		k.head = k.head[:0]
	}
	return replies, bytes, nil
}

// answer is the next reply, which must be of that type, or OK.
func (c *sftpClient) answer(typ sftp.Type) error {
	if err := c.reply(); err != nil {
		return err
	}
	switch {
	case c.rep.Type != typ:
		return fmt.Errorf("a reply of type %d, not %d: status %d %s", c.rep.Type, typ, c.rep.Code, c.rep.Text)
	case typ == sftp.TypeStatus && c.rep.Code != sftp.OK:
		return fmt.Errorf("status %d %s", c.rep.Code, c.rep.Text)
	}
	return nil
}

// do sends c.req and awaits its answer.
func (c *sftpClient) do(typ sftp.Type) error {
	if err := c.send(nil); err != nil {
		return err
	}
	return c.answer(typ)
}

func (c *sftpClient) openFile(path string, flags uint32) (handle []byte, err error) {
	c.req = sftp.Request{Type: sftp.TypeOpen, Path: []byte(path), Flags: flags}
	err = c.do(sftp.TypeHandle)
	return append([]byte(nil), c.rep.Handle...), err
}

func (c *sftpClient) closeFile(handle []byte) error {
	c.req = sftp.Request{Type: sftp.TypeClose, Handle: handle}
	return c.do(sftp.TypeStatus)
}

// shape is how much a request carries, and how many are under way.
func (c *sftpClient) shape() (bytes, flight int) {
	bytes, flight = c.packets, c.flight
	if bytes == 0 {
		bytes = usualRequest
	}
	if flight == 0 {
		flight = usualFlight
	}
	return bytes, flight
}

// get downloads a file of that size and throws it away.
func (c *sftpClient) get(path string, sizeBytes int64) error {
	handle, err := c.openFile(path, sftp.OpenRead)
	if err != nil {
		return err
	}
	one, flight := c.shape()
	var asked, came int64
	var counts counter
	under := 0
	ask := func() error {
		c.req = sftp.Request{Type: sftp.TypeRead, Handle: handle, Offset: uint64(asked), Length: uint32(min(int64(one), sizeBytes-asked))}
		asked += int64(c.req.Length)
		under++
		return c.send(nil)
	}
	for range flight {
		if asked < sizeBytes {
			if err := ask(); err != nil {
				return err
			}
		}
	}
	for under > 0 {
		p, err := c.await()
		if err != nil {
			return err
		}
		if p[0] != msgData {
			if err := c.take(p); err != nil {
				return err
			}
			continue
		}
		data, _ := cut(p[5:])
		c.eaten(len(data))
		replies, bytes, err := counts.count(data)
		if err != nil {
			return err
		}
		came += bytes
		under -= replies
		for ; replies > 0 && asked < sizeBytes; replies-- {
			if err := ask(); err != nil {
				return err
			}
		}
	}
	if came != sizeBytes || len(c.feed) > 0 {
		return fmt.Errorf("%s: %d bytes came, not %d", path, came, sizeBytes)
	}
	return c.closeFile(handle)
}

// put uploads size bytes of src.
func (c *sftpClient) put(path string, src source, sizeBytes int64) error {
	handle, err := c.openFile(path, sftp.OpenWrite|sftp.OpenCreate|sftp.OpenTrunc)
	if err != nil {
		return err
	}
	one, flight := c.shape()
	under := 0
	for at := int64(0); at < sizeBytes || under > 0; {
		for under < flight && at < sizeBytes {
			n := min(int64(one), sizeBytes-at)
			from := int(at % int64(len(src.bytes)-one))
			c.req = sftp.Request{Type: sftp.TypeWrite, Handle: handle, Offset: uint64(at)}
			if err := c.send(src.bytes[from : from+int(n)]); err != nil {
				return err
			}
			at += n
			under++
		}
		if err := c.answer(sftp.TypeStatus); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		under--
	}
	return c.closeFile(handle)
}

// list reads a directory, one READDIR behind the other as clients do.
func (c *sftpClient) list(path string) (names int, first time.Duration, err error) {
	start := time.Now()
	c.req = sftp.Request{Type: sftp.TypeOpendir, Path: []byte(path)}
	if err := c.do(sftp.TypeHandle); err != nil {
		return 0, 0, err
	}
	handle := append([]byte(nil), c.rep.Handle...)
	for {
		c.req = sftp.Request{Type: sftp.TypeReaddir, Handle: handle}
		if err := c.send(nil); err != nil {
			return 0, 0, err
		}
		if err := c.reply(); err != nil {
			return 0, 0, err
		}
		if first == 0 {
			first = time.Since(start)
		}
		if c.rep.Type == sftp.TypeStatus && c.rep.Code == sftp.EOF {
			break
		}
		if c.rep.Type != sftp.TypeName {
			return names, first, fmt.Errorf("a reply of type %d to READDIR", c.rep.Type)
		}
		names += len(c.rep.Names)
	}
	return names, first, c.closeFile(handle)
}

// nothing is a request that costs a server little: p99 of it is how soon it answers.
func (c *sftpClient) nothing() error {
	c.req = sftp.Request{Type: sftp.TypeRealpath, Path: []byte(".")}
	return c.do(sftp.TypeName)
}
