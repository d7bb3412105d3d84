//go:build linux

package main

import (
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"
)

// A link is one SSH connection of the load generator (RFC 4253). It must cost
// less than the servers, so package ssh does not serve: it reads as much as there
// is, opens packets where they lie, and writes many at once. Who the server is and
// what its codes of authentication say is not checked, except where AES-GCM does
// it anyway.
type link struct {
	nc       net.Conn
	in       []byte // in[at:have] was read and not opened
	at, have int
	out      []byte // sealed packets that have not been sent
	sealer   sealer
	opener   opener
	sent     uint32 // packets, by which both ends number them
	taken    uint32
	wants    suite
	hello    [2]string // the versions: ours, the server's
	session  []byte    // the identifier of the session
}

// A suite is the cipher that a link asks for, and by what the server answers the
// code of authentication where the cipher has none of its own.
type suite struct {
	cipher string
	behind bool // encrypt-then-MAC
}

var (
	aes128gcm = suite{cipher: "aes128-gcm@openssh.com"}
	aes256gcm = suite{cipher: "aes256-gcm@openssh.com"}
	chacha20  = suite{cipher: "chacha20-poly1305@openssh.com"}
	aes128ctr = suite{cipher: "aes128-ctr"}
)

// The codes that are asked for: mod_sftp has the second one only.
const etm, plainMAC = "hmac-sha2-256-etm@openssh.com", "hmac-sha2-256"

const (
	linkBuffer = 1 << 20 // read at a time, and written
	maxPacket  = 1 << 19
)

// Messages by number (RFC 4250, 4.1).
const (
	msgDisconnect     = 1
	msgServiceAsk     = 5
	msgServiceOK      = 6
	msgKexInit        = 20
	msgNewKeys        = 21
	msgECDHInit       = 30
	msgECDHReply      = 31
	msgAuthAsk        = 50
	msgAuthOK         = 52
	msgBanner         = 53
	msgGlobal         = 80
	msgGlobalNo       = 82
	msgOpen           = 90
	msgOpened         = 91
	msgWindow         = 93
	msgData           = 94
	msgExtended       = 95
	msgEOF            = 96
	msgClosed         = 97
	msgChannelAsk     = 98
	msgChannelOK      = 99
	firstOfConnection = msgGlobal
)

// A word is a string of the wire (RFC 4251, 5).
func word[T ~string | ~[]byte](b []byte, s T) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
}

// cut takes a string off the front of b.
func cut(b []byte) (s, rest []byte) {
	if len(b) < 4 || uint64(len(b)-4) < uint64(binary.BigEndian.Uint32(b)) {
		return nil, nil
	}
	n := 4 + binary.BigEndian.Uint32(b)
	return b[4:n], b[n:]
}

// errNoSuite is a server that has nothing of what a row is about.
var errNoSuite = fmt.Errorf("it %w", errNotThis)

// dial connects and makes the keys.
func dial(addr string, want suite) (*link, error) {
	nc, err := net.DialTimeout("tcp", addr, 30*time.Second)
	if err != nil {
		return nil, err
	}
	l := &link{nc: nc, in: make([]byte, 4096), wants: want, sealer: open{}, opener: open{}}
	if err := l.greet(); err != nil {
		return nil, errors.Join(err, nc.Close())
	}
	return l, nil
}

func (l *link) greet() error {
	_ = l.nc.SetDeadline(time.Now().Add(patience))
	l.hello[0] = "SSH-2.0-bench"
	if _, err := l.nc.Write([]byte(l.hello[0] + "\r\n")); err != nil {
		return err
	}
	for l.hello[1] == "" {
		if err := l.fill(1); err != nil {
			return err
		}
		if i := slices.Index(l.in[l.at:l.have], '\n'); i >= 0 {
			if line := strings.TrimSpace(string(l.in[l.at : l.at+i])); strings.HasPrefix(line, "SSH-") {
				l.hello[1] = line
			}
			l.at += i + 1
		} else if err := l.fill(l.have - l.at + 1); err != nil {
			return err
		}
	}
	theirs, err := l.raw()
	if err != nil {
		return err
	}
	return l.exchange(slices.Clone(theirs))
}

// fill reads until n bytes are there, and what else there is.
func (l *link) fill(n int) error {
	if l.have-l.at >= n {
		return nil
	}
	if l.at > 0 && (l.at == l.have || len(l.in)-l.at < n) {
		l.have, l.at = copy(l.in, l.in[l.at:l.have]), 0
	}
	if n > len(l.in) {
		l.in = append(make([]byte, 0, linkBuffer), l.in[:l.have]...)[:linkBuffer]
	}
	for l.have-l.at < n {
		got, err := l.nc.Read(l.in[l.have:])
		if l.have += got; err != nil && l.have-l.at < n {
			return err
		}
	}
	return nil
}

// raw is the next packet, valid until the next one is asked for.
func (l *link) raw() ([]byte, error) {
	if err := l.fill(l.opener.head()); err != nil {
		return nil, err
	}
	n := l.opener.length(l.in[l.at:l.at+l.opener.head()], l.taken)
	if n < 5 || n > maxPacket {
		return nil, fmt.Errorf("a packet of %d bytes", n)
	}
	if err := l.fill(n); err != nil {
		return nil, err
	}
	p, err := l.opener.open(l.in[l.at:l.at+n], l.taken)
	l.at += n
	l.taken++
	return p, err
}

// packet is the next one that is not about the transport itself. What is written
// and not sent goes out before it waits.
func (l *link) packet() ([]byte, error) {
	for {
		if l.have-l.at < l.opener.head() {
			if err := l.flush(); err != nil {
				return nil, err
			}
		}
		p, err := l.raw()
		if err != nil {
			return nil, err
		}
		switch {
		case len(p) == 0:
			return nil, errors.New("an empty packet")
		case p[0] == msgKexInit:
			if err := l.exchange(slices.Clone(p)); err != nil {
				return nil, err
			}
		case p[0] == msgDisconnect:
			text, _ := cut(p[5:])
			return nil, fmt.Errorf("disconnected: %s", text)
		case p[0] == msgGlobal:
			if name, rest := cut(p[1:]); name != nil && len(rest) > 0 && rest[0] != 0 {
				l.write([]byte{msgGlobalNo})
			}
		case p[0] == msgBanner, p[0] < msgServiceAsk, p[0] > msgServiceOK && p[0] < msgKexInit:
		default:
			return p, nil
		}
	}
}

// want is the next packet, which must be of that type.
func (l *link) want(types ...byte) ([]byte, error) {
	p, err := l.packet()
	if err == nil && !slices.Contains(types, p[0]) {
		err = fmt.Errorf("message %d came, not %d", p[0], types)
	}
	return p, err
}

// write seals a packet of these parts, to be sent with others.
func (l *link) write(parts ...[]byte) {
	l.out = l.sealer.seal(l.out, l.sent, parts...)
	l.sent++
}

// flush sends what was written.
func (l *link) flush() error {
	if len(l.out) == 0 {
		return nil
	}
	_, err := l.nc.Write(l.out)
	l.out = l.out[:0]
	return err
}

// lists are those of KEXINIT (RFC 4253, 7.1), in its order.
func (l *link) lists() [10]string {
	const macs = etm + "," + plainMAC
	return [10]string{
		"curve25519-sha256,ecdh-sha2-nistp256", "ssh-ed25519,ecdsa-sha2-nistp256,rsa-sha2-512",
		l.wants.cipher, l.wants.cipher, macs, macs, "none", "none", "", "",
	}
}

// exchange makes keys, for the first time or again; theirs is the KEXINIT of the
// server.
func (l *link) exchange(theirs []byte) error {
	ours := append([]byte{msgKexInit}, make([]byte, 16)...)
	_, _ = rand.Read(ours[1:17])
	for _, list := range l.lists() {
		ours = word(ours, list)
	}
	ours = append(ours, 0, 0, 0, 0, 0)
	l.write(ours)
	if len(theirs) < 17 || theirs[0] != msgKexInit {
		return errors.New("no KEXINIT")
	}
	var curve ecdh.Curve
	rest := theirs[17:]
	for i, list := range l.lists() {
		var offered []byte
		offered, rest = cut(rest)
		if i >= 8 {
			continue
		}
		chosen := ""
		for name := range strings.SplitSeq(list, ",") {
			if slices.Contains(strings.Split(string(offered), ","), name) {
				chosen = name
				break
			}
		}
		switch {
		case chosen == "":
			return fmt.Errorf("%w: %s of %s", errNoSuite, list, offered)
		case i == 0:
			curve = map[string]ecdh.Curve{"curve25519-sha256": ecdh.X25519(), "ecdh-sha2-nistp256": ecdh.P256()}[chosen]
		case i == 4:
			l.wants.behind = chosen == etm
		}
	}
	key, err := curve.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	mine := key.PublicKey().Bytes()
	l.write([]byte{msgECDHInit}, word(nil, mine))
	if err := l.flush(); err != nil {
		return err
	}
	reply, err := l.rawOf(msgECDHReply)
	if err != nil {
		return err
	}
	host, more := cut(reply[1:])
	point, _ := cut(more)
	peer, err := curve.NewPublicKey(point)
	if err != nil {
		return err
	}
	secret, err := key.ECDH(peer)
	if err != nil {
		return err
	}
	k := mpint(secret)
	var h []byte
	for _, s := range [][]byte{[]byte(l.hello[0]), []byte(l.hello[1]), ours, theirs, host, mine, point} {
		h = word(h, s)
	}
	sum := sha256.Sum256(append(h, k...))
	if l.session == nil {
		l.session = sum[:]
	}
	l.write([]byte{msgNewKeys})
	// What comes under the new keys: A to F of RFC 4253, 7.2.
	derive := func(letter byte, n int) []byte {
		var out []byte
		for d := sha256.New(); len(out) < n; d.Reset() {
			d.Write(k)
			d.Write(sum[:])
			if out == nil {
				d.Write([]byte{letter})
				d.Write(l.session)
			} else {
				d.Write(out)
			}
			out = d.Sum(out)
		}
		return out[:n]
	}
	if _, err := l.rawOf(msgNewKeys); err != nil {
		return err
	}
	l.sealer = l.wants.make(derive, 'A', 'C', 'E')
	l.opener = l.wants.make(derive, 'B', 'D', 'F')
	return l.flush()
}

// rawOf is the next packet of a type; what a key exchange does not care for is
// passed over.
func (l *link) rawOf(typ byte) ([]byte, error) {
	for {
		p, err := l.raw()
		if err != nil {
			return nil, err
		}
		if len(p) > 0 && p[0] == typ {
			return slices.Clone(p), nil
		}
		if len(p) == 0 || p[0] >= firstOfConnection || p[0] == msgDisconnect {
			return nil, fmt.Errorf("message %d in a key exchange", p[0])
		}
	}
}

// mpint is a positive number as the wire has it.
func mpint(b []byte) []byte {
	for len(b) > 0 && b[0] == 0 {
		b = b[1:]
	}
	if len(b) > 0 && b[0]&0x80 != 0 {
		b = append([]byte{0}, b...)
	}
	return word(nil, b)
}

// login proves who we are: by key, or by password without one (RFC 4252).
func (l *link) login(key ed25519.PrivateKey) error {
	l.write([]byte{msgServiceAsk}, word(nil, "ssh-userauth"))
	if _, err := l.want(msgServiceOK); err != nil {
		return err
	}
	ask := word(word([]byte{msgAuthAsk}, userName), "ssh-connection")
	if key == nil {
		l.write(ask, word(nil, "password"), []byte{0}, word(nil, password))
	} else {
		ask = append(word(ask, "publickey"), 1)
		ask = word(word(ask, "ssh-ed25519"), publicKey(key))
		sig := ed25519.Sign(key, append(word(nil, l.session), ask...))
		l.write(ask, word(nil, word(word(nil, "ssh-ed25519"), sig)))
	}
	_, err := l.want(msgAuthOK)
	return err
}

// publicKey is the public half as the wire has it (RFC 8709, 4).
func publicKey(key ed25519.PrivateKey) []byte {
	return word(word(nil, "ssh-ed25519"), key.Public().(ed25519.PublicKey))
}

func (l *link) close() error {
	l.write(word(word(append([]byte{msgDisconnect}, 0, 0, 0, 11), "done"), ""))
	return errors.Join(l.flush(), l.nc.Close())
}
