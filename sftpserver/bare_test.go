package sftpserver

import (
	"bufio"
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"dray/kexinit"
)

// Messages of SSH (RFC 4253, 12; RFC 4252, 6; RFC 4254, 9).
const (
	msgDisconnect     = 1
	msgServiceRequest = 5
	msgServiceAccept  = 6
	msgNewKeys        = 21
	msgECDHInit       = 30
	msgECDHReply      = 31
	msgAuthRequest    = 50
	msgAuthSuccess    = 52
	msgGlobalRequest  = 80
	msgOpen           = 90
	msgOpened         = 91
	msgOpenFailure    = 92
	msgWindowAdjust   = 93
	msgData           = 94
	msgExtendedData   = 95
	msgChannelClose   = 97
	msgChannelRequest = 98
	msgChannelSuccess = 99
)

// A bare client writes any packet of SSH, which package ssh does not. It knows one
// algorithm of each kind, and the server's key it does not check.
type bare struct {
	t         testing.TB
	nc        net.Conn
	r         *bufio.Reader
	version   string // of the server
	offered   []byte // its KEXINIT
	session   []byte
	in, out   cipher.AEAD // nil before the keys are new
	nin, nout [12]byte
}

// shake connects and exchanges versions.
func (st *stage) shake() *bare {
	st.t.Helper()
	nc, err := net.Dial("tcp", st.addr)
	need(st.t, err)
	st.t.Cleanup(func() { _ = nc.Close() })
	b := &bare{t: st.t, nc: nc, r: bufio.NewReader(nc)}
	_ = nc.SetDeadline(time.Now().Add(20 * time.Second))
	_, err = io.WriteString(nc, "SSH-2.0-bare\r\n")
	need(st.t, err)
	line, err := b.r.ReadString('\n')
	need(st.t, err)
	b.version = strings.TrimRight(line, "\r\n")
	b.offered = b.want(kexinit.Message)
	return b
}

// kexInit is a KEXINIT.
func kexInit() []byte {
	m := append([]byte{kexinit.Message}, make([]byte, 16)...)
	for _, names := range []string{
		"curve25519-sha256", "ssh-ed25519", "aes128-gcm@openssh.com", "aes128-gcm@openssh.com",
		"hmac-sha2-256-etm@openssh.com", "hmac-sha2-256-etm@openssh.com", "none", "none", "", "",
	} {
		m = append(m, ssh.Marshal(struct{ S string }{names})...)
	}
	return append(m, 0, 0, 0, 0, 0)
}

// keys exchanges keys (RFC 8731, RFC 4253, 7.2).
func (b *bare) keys() {
	b.t.Helper()
	ours := kexInit()
	b.write(ours)
	private, err := ecdh.X25519().GenerateKey(rand.Reader)
	need(b.t, err)
	b.write(ssh.Marshal(struct {
		Public []byte `sshtype:"30"`
	}{private.PublicKey().Bytes()}))
	var reply struct {
		Key, Public, Signature []byte
	}
	need(b.t, ssh.Unmarshal(b.want(msgECDHReply)[1:], &reply))
	theirs, err := ecdh.X25519().NewPublicKey(reply.Public)
	need(b.t, err)
	shared, err := private.ECDH(theirs)
	need(b.t, err)
	secret := ssh.Marshal(struct{ K *big.Int }{new(big.Int).SetBytes(shared)})
	h := sha256.New()
	for _, s := range [][]byte{[]byte("SSH-2.0-bare"), []byte(b.version), ours, b.offered, reply.Key, private.PublicKey().Bytes(), reply.Public} {
		h.Write(ssh.Marshal(struct{ S []byte }{s}))
	}
	h.Write(secret)
	hash := h.Sum(nil)
	if b.session == nil {
		b.session = hash
	}
	derive := func(letter byte) []byte {
		sum := sha256.Sum256(bytes.Join([][]byte{secret, hash, {letter}, b.session}, nil))
		return sum[:]
	}
	gcm := func(key []byte) cipher.AEAD {
		block, err := aes.NewCipher(key[:16])
		need(b.t, err)
		a, err := cipher.NewGCM(block)
		need(b.t, err)
		return a
	}
	b.write([]byte{msgNewKeys})
	b.out = gcm(derive('C'))
	copy(b.nout[:], derive('A'))
	b.want(msgNewKeys)
	b.in = gcm(derive('D'))
	copy(b.nin[:], derive('B'))
}

// bare is a client that has logged in.
func (st *stage) bare() *bare {
	st.t.Helper()
	b := st.shake()
	b.keys()
	b.write(ssh.Marshal(struct {
		Service string `sshtype:"5"`
	}{"ssh-userauth"}))
	b.want(msgServiceAccept)
	b.write(ssh.Marshal(struct {
		User            string `sshtype:"50"`
		Service, Method string
		New             bool
		Password        string
	}{"anna", "ssh-connection", "password", false, password}))
	b.want(msgAuthSuccess)
	return b
}

// sealed is a packet as the wire has it.
func (b *bare) sealed(payload []byte) []byte {
	block, length := 8, 4
	if b.out != nil {
		block, length = 16, 0 // the length is not counted
	}
	pad := block - (length+1+len(payload))%block
	if pad < 4 {
		pad += block
	}
	p := binary.BigEndian.AppendUint32(nil, uint32(1+len(payload)+pad))
	p = append(append(append(p, byte(pad)), payload...), make([]byte, pad)...)
	if b.out == nil {
		return p
	}
	sealed := b.out.Seal(p[:4:4], b.nout[:], p[4:], p[:4])
	next(&b.nout)
	return sealed
}

func next(nonce *[12]byte) {
	binary.BigEndian.PutUint64(nonce[4:], binary.BigEndian.Uint64(nonce[4:])+1)
}

func (b *bare) write(payload []byte) {
	b.t.Helper()
	_, err := b.nc.Write(b.sealed(payload))
	need(b.t, err)
}

// read is the payload of the next packet.
func (b *bare) read() ([]byte, error) {
	var length [4]byte
	if _, err := io.ReadFull(b.r, length[:]); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint32(length[:]))
	if b.in != nil {
		n += b.in.Overhead()
	}
	p := make([]byte, n)
	if _, err := io.ReadFull(b.r, p); err != nil {
		return nil, err
	}
	if b.in != nil {
		var err error
		if p, err = b.in.Open(p[:0], b.nin[:], p, length[:]); err != nil {
			return nil, err
		}
		next(&b.nin)
	}
	return p[1 : len(p)-int(p[0])], nil
}

// want is the next message of a type; others are passed over.
func (b *bare) want(typ byte) []byte {
	b.t.Helper()
	for {
		m, err := b.read()
		if err != nil {
			b.t.Fatalf("in place of message %d: %v", typ, err)
		}
		if m[0] == typ {
			return m
		}
		if m[0] == msgDisconnect {
			b.t.Fatalf("in place of message %d the end: %q", typ, m)
		}
	}
}

// ended tells whether the server ends the connection soon.
func (b *bare) ended(within time.Duration) bool {
	_ = b.nc.SetReadDeadline(time.Now().Add(within))
	_, err := io.Copy(io.Discard, b.nc)
	return err == nil || !strings.Contains(err.Error(), "timeout")
}

// open asks for channel id.
func (b *bare) open(id, window, maxPacket uint32) {
	b.t.Helper()
	b.write(ssh.Marshal(struct {
		Type               string `sshtype:"90"`
		ID, Window, Packet uint32
	}{"session", id, window, maxPacket}))
}

// opened is the server's number of the channel that was asked for.
func (b *bare) opened() uint32 {
	b.t.Helper()
	return binary.BigEndian.Uint32(b.want(msgOpened)[5:])
}

func (b *bare) request(to uint32, name, arg string) {
	b.t.Helper()
	b.write(ssh.Marshal(struct {
		To    uint32 `sshtype:"98"`
		Name  string
		Reply bool
		Arg   string
	}{to, name, true, arg}))
}

func (b *bare) data(to uint32, p []byte) {
	b.t.Helper()
	b.write(dataMessage(to, p))
}

func dataMessage(to uint32, p []byte) []byte {
	return ssh.Marshal(struct {
		To uint32 `sshtype:"94"`
		P  []byte
	}{to, p})
}

func (b *bare) adjust(to, window uint32) {
	b.t.Helper()
	b.write(ssh.Marshal(struct {
		To     uint32 `sshtype:"93"`
		Window uint32
	}{to, window}))
}

// sftp begins SFTP on a channel, with nothing sent.
func (b *bare) sftp(window, maxPacket uint32) uint32 {
	b.t.Helper()
	b.open(0, window, maxPacket)
	to := b.opened()
	b.request(to, "subsystem", "sftp")
	b.want(msgChannelSuccess)
	return to
}
