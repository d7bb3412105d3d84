package sftpserver

import (
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
)

// The algorithms, the best first; those for old clients last (doc/security.md names
// them). No SHA-1, no CBC, no DSA; a list of package ssh is never taken as it is,
// because it grows with the package.
var (
	keyExchanges = []string{
		ssh.KeyExchangeMLKEM768X25519, ssh.KeyExchangeCurve25519,
		ssh.KeyExchangeDH16SHA512, ssh.KeyExchangeDHGEXSHA256,
		ssh.KeyExchangeECDHP256, ssh.KeyExchangeECDHP384, ssh.KeyExchangeECDHP521, ssh.KeyExchangeDH14SHA256,
	}
	ciphers = []string{
		ssh.CipherAES128GCM, ssh.CipherAES256GCM, ssh.CipherChaCha20Poly1305,
		ssh.CipherAES128CTR, ssh.CipherAES192CTR, ssh.CipherAES256CTR,
	}
	macs           = []string{ssh.HMACSHA256ETM, ssh.HMACSHA512ETM}
	userAlgorithms = []string{
		ssh.KeyAlgoED25519, ssh.KeyAlgoSKED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoSKECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521,
		ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256,
	}
)

// Legacy are algorithms that an exception lets in. The names are those of SSH.
type Legacy struct {
	KeyExchanges, Ciphers, MACs []string
	RSASHA1                     bool // ssh-rsa with SHA-1, by host and user
}

// with is a list with the old ones behind it.
func with(list, old []string) []string { return slices.Concat(list, old) }

// elderly are programs that know no MAC with encrypt-then-MAC and no AEAD cipher, by
// how their versions begin. For them alone the MACs of their time are offered, which
// are SHA-2 too: libssh2 has the others since 1.11 (2023), and curl of Debian 12 is
// built with 1.10.
var elderly = []string{
	"SSH-2.0-libssh2_1.4", "SSH-2.0-libssh2_1.5", "SSH-2.0-libssh2_1.6", "SSH-2.0-libssh2_1.7", "SSH-2.0-libssh2_1.8", "SSH-2.0-libssh2_1.9",
	"SSH-2.0-libssh2_1.10", "SSH-2.0-JSCH-0.1", "SSH-2.0-phpseclib_1", "SSH-2.0-phpseclib_2",
}

var elderlyMACs = []string{ssh.HMACSHA256, ssh.HMACSHA512}

// macsFor are the MACs that are offered to a program.
func macsFor(version string, list []string) []string {
	if slices.ContainsFunc(elderly, func(e string) bool { return strings.HasPrefix(version, e) }) {
		return with(list, elderlyMACs)
	}
	return list
}
