package sftpserver

import (
	"encoding/binary"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/cpu"
)

// The client's order of ciphers is what counts (RFC 4253, 7.1), and OpenSSH and libssh
// put ChaCha20 first, which costs three times as much as AES-GCM where the processor
// has AES. What a client knows stands in its KEXINIT, which it sends in clear text and
// mostly without waiting for ours: who knows AES-GCM is offered nothing else, and who
// does not, or is asked by its user for another, all that there is. So is who does not
// mean to log in, but asks what there is: such programs do not say ext-info-c (RFC 8308,
// 2.1), which clients of our days do.

// offerTime is how long our KEXINIT waits for that of the client. From far away it comes
// later: that would cost a login a round trip, and there the line is slower than any cipher.
const offerTime = 25 * time.Millisecond

// maxOffer is the length of a KEXINIT that is looked at.
const maxOffer = 8 << 10

var gcmCiphers = []string{ssh.CipherAES128GCM, ssh.CipherAES256GCM}

// quickGCM says that the processor has what AES-GCM needs.
var quickGCM = cpu.X86.HasAES && cpu.X86.HasPCLMULQDQ || cpu.ARM64.HasAES && cpu.ARM64.HasPMULL

// An offer is what a KEXINIT says: the key exchanges, with what is said among them, the
// kinds of host keys, and the ciphers for what the client says and for what it hears.
type offer [4][]string

// ciphers are those of a list that are offered to the client.
func (o *offer) ciphers(list []string) []string {
	knows := func(c string) bool { return slices.Contains(o[2], c) && slices.Contains(o[3], c) }
	if !quickGCM || !slices.Contains(o[0], "ext-info-c") || !slices.ContainsFunc(gcmCiphers, knows) {
		return list
	}
	return gcmCiphers
}

// parseOffer reads the first packet of a client. need is how many bytes there must be,
// when these are too few; 0, and no offer, for what is no KEXINIT or too long a one.
func parseOffer(b []byte) (o offer, need int) {
	const head, cookie = 6, 16
	if len(b) < head {
		return o, head
	}
	length, padding := int64(binary.BigEndian.Uint32(b)), int64(b[4])
	if b[5] != msgKexInit || length > maxOffer || length < padding+2+cookie {
		return o, 0
	}
	if int64(len(b)) < 4+length {
		return o, int(4 + length)
	}
	payload := b[head+cookie : 4+length-padding]
	for i := range o {
		if len(payload) < 4 {
			return offer{}, 0
		}
		n := int64(binary.BigEndian.Uint32(payload))
		if n > int64(len(payload)-4) {
			return offer{}, 0
		}
		o[i], payload = strings.Split(string(payload[4:4+n]), ","), payload[4+n:]
	}
	return o, 0
}

// msgKexInit is SSH_MSG_KEXINIT (RFC 4250, 4.1.2).
const msgKexInit = 20

// offered waits until a time for the KEXINIT behind the version of the client. Package ssh
// reads it again.
func (w *wire) offered(until time.Time) offer {
	_ = w.Conn.SetReadDeadline(until)
	for {
		o, need := parseOffer(w.said)
		if len(w.said) >= need {
			return o
		}
		w.said = slices.Grow(w.said, need-len(w.said))
		n, err := w.Conn.Read(w.said[len(w.said):need])
		if w.said = w.said[:len(w.said)+n]; err != nil {
			return offer{} // package ssh meets it again, if it is more than the time
		}
	}
}
