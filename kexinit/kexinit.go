// Package kexinit reads the first packet of an SSH connection, in which each side says
// in clear text what algorithms it knows (RFC 4253, 7.1). Package ssh does not show it.
package kexinit

import (
	"encoding/binary"
	"strings"
)

// Message is the number of the message, SSH_MSG_KEXINIT (RFC 4250, 4.1.2).
const Message = 20

// Max is the length in bytes of a packet that is read; what common programs say is below
// 2 KiB.
const Max = 8 << 10

// The lists of an Offer, by their place.
const (
	Kex         = iota // key exchanges, and what is said among them
	HostKeys           // kinds of host keys
	CiphersUp          // for what the client says
	CiphersDown        // for what it hears
	MACsUp
	MACsDown
	NumLists
)

// An Offer is what a KEXINIT says, the best first by the mind of its sender.
type Offer [NumLists][]string

// Parse reads the first packet of a peer. need is how many bytes there must be, when
// these are too few; 0, and the zero Offer, for what is no KEXINIT or longer than Max.
func Parse(b []byte) (o Offer, need int) {
	const head, cookie = 6, 16
	if len(b) < head {
		return o, head
	}
	length, padding := int64(binary.BigEndian.Uint32(b)), int64(b[4])
	if b[5] != Message || length > Max || length < padding+2+cookie {
		return o, 0
	}
	if int64(len(b)) < 4+length {
		return o, int(4 + length)
	}
	payload := b[head+cookie : 4+length-padding]
	for i := range o {
		if len(payload) < 4 {
			return Offer{}, 0
		}
		n := int64(binary.BigEndian.Uint32(payload))
		if n > int64(len(payload)-4) {
			return Offer{}, 0
		}
		o[i], payload = strings.Split(string(payload[4:4+n]), ","), payload[4+n:]
	}
	return o, 0
}
