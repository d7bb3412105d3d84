package sftpserver

import (
	"slices"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/cpu"

	"dray/kexinit"
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

var gcmCiphers = []string{ssh.CipherAES128GCM, ssh.CipherAES256GCM}

// quickGCM says that the processor has what AES-GCM needs.
var quickGCM = cpu.X86.HasAES && cpu.X86.HasPCLMULQDQ || cpu.ARM64.HasAES && cpu.ARM64.HasPMULL

// ciphersFor are those of a list that are offered to a client.
func ciphersFor(o *kexinit.Offer, list []string) []string {
	knows := func(c string) bool {
		return slices.Contains(o[kexinit.CiphersUp], c) && slices.Contains(o[kexinit.CiphersDown], c)
	}
	if !quickGCM || !slices.Contains(o[kexinit.Kex], "ext-info-c") || !slices.ContainsFunc(gcmCiphers, knows) {
		return list
	}
	return gcmCiphers
}

// offered waits until a time for the KEXINIT behind the version of the client. Package ssh
// reads it again.
func (w *wire) offered(until time.Time) kexinit.Offer {
	_ = w.Conn.SetReadDeadline(until)
	for {
		o, need := kexinit.Parse(w.said)
		if len(w.said) >= need {
			return o
		}
		w.said = slices.Grow(w.said, need-len(w.said))
		n, err := w.Conn.Read(w.said[len(w.said):need])
		if w.said = w.said[:len(w.said)+n]; err != nil {
			return kexinit.Offer{} // package ssh meets it again, if it is more than the time
		}
	}
}
