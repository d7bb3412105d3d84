//go:build linux

package main

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"hash"

	chachastream "golang.org/x/crypto/chacha20"
	"golang.org/x/crypto/chacha20poly1305"
	"golang.org/x/crypto/poly1305" //lint:ignore SA1019 SSH has it apart from the cipher, and this is no place for secrets
)

// A sealer makes packets.
type sealer interface {
	// seal appends the packet of a payload, which comes in parts.
	seal(out []byte, number uint32, parts ...[]byte) []byte
}

// An opener reads packets.
type opener interface {
	// head is how many bytes tell the length.
	head() int
	// length is that of the whole packet.
	length(head []byte, number uint32) int
	// open is the payload, in place.
	open(packet []byte, number uint32) ([]byte, error)
}

// frame appends length, padding length, payload and padding to out, so that all
// behind the first skip bytes is a multiple of block.
func frame(out []byte, block, skip int, parts [][]byte) []byte {
	n := 5 - skip
	for _, p := range parts {
		n += len(p)
	}
	pad := block - n%block
	if pad < 4 {
		pad += block
	}
	out = binary.BigEndian.AppendUint32(out, uint32(n+pad-4+skip))
	out = append(out, byte(pad))
	for _, p := range parts {
		out = append(out, p...)
	}
	return append(out, make([]byte, pad)...)
}

// payload is what the length of the padding leaves of a body.
func payload(body []byte) []byte {
	if len(body) == 0 || int(body[0])+1 > len(body) {
		return nil
	}
	return body[1 : len(body)-int(body[0])]
}

// open is what there is before the first keys.
type open struct{}

func (open) seal(out []byte, _ uint32, parts ...[]byte) []byte { return frame(out, 8, 0, parts) }
func (open) head() int                                         { return 4 }
func (open) length(head []byte, _ uint32) int                  { return 4 + int(binary.BigEndian.Uint32(head)) }
func (open) open(p []byte, _ uint32) ([]byte, error)           { return payload(p[4:]), nil }

// Both ends of a connection are made of the same parts.
type keyed interface {
	sealer
	opener
}

// make is one direction; the letters are those of its IV, its key and its key for
// authentication.
func (s suite) make(derive func(letter byte, n int) []byte, iv, key, mac byte) keyed {
	block := func(n int) cipher.Block {
		b, err := aes.NewCipher(derive(key, n))
		if err != nil { // n is one that AES has
			panic(err)
		}
		return b
	}
	switch s.cipher {
	case chacha20.cipher:
		k := derive(key, 64)
		aead, err := chacha20poly1305.New(k[:32])
		if err != nil {
			panic(err)
		}
		return &chachaCipher{aead: aead, body: k[:32], lengths: k[32:]}
	case aes128ctr.cipher:
		return &ctrCipher{
			stream: cipher.NewCTR(block(16), derive(iv, 16)), mac: hmac.New(sha256.New, derive(mac, 32)),
			behind: s.behind,
		}
	case aes256gcm.cipher:
		return newGCM(block(32), derive(iv, 12))
	}
	return newGCM(block(16), derive(iv, 12))
}

// gcmCipher is RFC 5647 as OpenSSH has it.
type gcmCipher struct {
	aead  cipher.AEAD
	nonce []byte
}

func newGCM(b cipher.Block, nonce []byte) *gcmCipher {
	aead, err := cipher.NewGCM(b)
	if err != nil { // AES has the block size
		panic(err)
	}
	return &gcmCipher{aead, nonce}
}

const tagBytes = 16

func (g *gcmCipher) next() {
	binary.BigEndian.PutUint64(g.nonce[4:], binary.BigEndian.Uint64(g.nonce[4:])+1)
}

func (g *gcmCipher) seal(out []byte, _ uint32, parts ...[]byte) []byte {
	at := len(out)
	out = frame(out, 16, 4, parts)
	out = g.aead.Seal(out[:at+4], g.nonce, out[at+4:], out[at:at+4])
	g.next()
	return out
}

func (g *gcmCipher) head() int { return 4 }

func (g *gcmCipher) length(head []byte, _ uint32) int {
	return 4 + int(binary.BigEndian.Uint32(head)) + tagBytes
}

func (g *gcmCipher) open(p []byte, _ uint32) ([]byte, error) {
	body, err := g.aead.Open(p[4:4], g.nonce, p[4:], p[:4])
	g.next()
	return payload(body), err
}

// ctrCipher is AES in counter mode with HMAC (RFC 4344, RFC 6668), the code over
// what was encrypted or over what is to be. Codes that come are not checked.
type ctrCipher struct {
	stream cipher.Stream
	mac    hash.Hash
	behind bool // encrypt-then-MAC
}

func (c *ctrCipher) seal(out []byte, number uint32, parts ...[]byte) []byte {
	at, skip := len(out), 0
	if c.behind {
		skip = 4
	}
	out = frame(out, 16, skip, parts)
	c.mac.Reset()
	var n [4]byte
	binary.BigEndian.PutUint32(n[:], number)
	c.mac.Write(n[:])
	if !c.behind {
		c.mac.Write(out[at:])
	}
	c.stream.XORKeyStream(out[at+skip:], out[at+skip:])
	if c.behind {
		c.mac.Write(out[at:])
	}
	return c.mac.Sum(out)
}

func (c *ctrCipher) head() int {
	if c.behind {
		return 4
	}
	return 16
}

func (c *ctrCipher) length(head []byte, _ uint32) int {
	if !c.behind {
		c.stream.XORKeyStream(head, head) // open leaves it alone
	}
	return 4 + int(binary.BigEndian.Uint32(head)) + sha256.Size
}

func (c *ctrCipher) open(p []byte, _ uint32) ([]byte, error) {
	body := p[:len(p)-sha256.Size]
	c.stream.XORKeyStream(body[c.head():], body[c.head():])
	return payload(body[4:]), nil
}

// chachaCipher is chacha20-poly1305@openssh.com (OpenSSH, PROTOCOL.chacha20poly1305).
// The stream of RFC 8439 is the same for packets of this length, and its AEAD is
// the fast one here, so that is what encrypts; its tag is thrown away. Codes that
// come are not checked.
type chachaCipher struct {
	aead          cipher.AEAD
	body, lengths []byte
	one           [64]byte
}

func nonceOf(number uint32) (n [12]byte) {
	binary.BigEndian.PutUint32(n[8:], number)
	return n
}

func (c *chachaCipher) stream(key []byte, number uint32) *chachastream.Cipher {
	n := nonceOf(number)
	s, err := chachastream.NewUnauthenticatedCipher(key, n[:])
	if err != nil { // lengths of ours
		panic(err)
	}
	return s
}

func (c *chachaCipher) seal(out []byte, number uint32, parts ...[]byte) []byte {
	at := len(out)
	out = frame(out, 8, 4, parts)
	c.stream(c.lengths, number).XORKeyStream(out[at:at+4], out[at:at+4])
	n := nonceOf(number)
	end := len(out)
	out = c.aead.Seal(out[:at+4], n[:], out[at+4:], nil)[:end]
	c.one = [64]byte{}
	c.stream(c.body, number).XORKeyStream(c.one[:], c.one[:])
	var tag [tagBytes]byte
	poly1305.Sum(&tag, out[at:], (*[32]byte)(c.one[:32]))
	return append(out, tag[:]...)
}

func (c *chachaCipher) head() int { return 4 }

func (c *chachaCipher) length(head []byte, number uint32) int {
	var plain [4]byte
	c.stream(c.lengths, number).XORKeyStream(plain[:], head)
	return 4 + int(binary.BigEndian.Uint32(plain[:])) + tagBytes
}

func (c *chachaCipher) open(p []byte, number uint32) ([]byte, error) {
	n := nonceOf(number)
	body := p[4 : len(p)-tagBytes]
	return payload(c.aead.Seal(body[:0], n[:], body, nil)[:len(body)]), nil // the tag goes where theirs was
}
