package sftpserver

import (
	"slices"

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
