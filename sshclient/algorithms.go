package sshclient

import (
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/cpu"

	"dray/kexinit"
)

// The algorithms, the best first. No SHA-1, no CBC, no DSA, unless ssh_config asks
// for one by its name; a list of package ssh is never taken as it is, because it
// grows with the package.
var (
	keyExchanges = []string{
		ssh.KeyExchangeMLKEM768X25519, ssh.KeyExchangeCurve25519,
		ssh.KeyExchangeECDHP256, ssh.KeyExchangeECDHP384, ssh.KeyExchangeECDHP521,
		ssh.KeyExchangeDH16SHA512, ssh.KeyExchangeDHGEXSHA256, ssh.KeyExchangeDH14SHA256,
	}
	macs              = []string{ssh.HMACSHA256ETM, ssh.HMACSHA512ETM, ssh.HMACSHA256, ssh.HMACSHA512}
	hostKeyAlgorithms = []string{
		ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256,
	}
	userAlgorithms = []string{
		ssh.KeyAlgoED25519, ssh.KeyAlgoSKED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoSKECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521,
		ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256,
	}
)

// curve25519Old is curve25519-sha256 as OpenSSH called it before RFC 8731. Package ssh
// offers both when it is given one.
const curve25519Old = "curve25519-sha256@libssh.org"

// ciphers has AES-GCM first where the processor has what it needs: the order of the
// client counts (RFC 4253, 7.1), and ChaCha20 costs three times as much there.
func ciphers() []string {
	gcm := []string{ssh.CipherAES128GCM, ssh.CipherAES256GCM}
	chacha := []string{ssh.CipherChaCha20Poly1305}
	ctr := []string{ssh.CipherAES128CTR, ssh.CipherAES192CTR, ssh.CipherAES256CTR}
	if quickGCM {
		return slices.Concat(gcm, chacha, ctr)
	}
	return slices.Concat(chacha, gcm, ctr)
}

// quickGCM says that the processor has what AES-GCM needs.
var quickGCM = cpu.X86.HasAES && cpu.X86.HasPCLMULQDQ || cpu.ARM64.HasAES && cpu.ARM64.HasPMULL

// Offers is what we say to know, the best first; compared with what the server says by
// RFC 4253, 7.1. The kinds of host keys that are on file come first in a connection.
func (s *Settings) Offers() kexinit.Offer {
	a := s.algorithms
	return kexinit.Offer{
		kexinit.Kex: a.kex, kexinit.HostKeys: a.hostKeys,
		kexinit.CiphersUp: a.ciphers, kexinit.CiphersDown: a.ciphers, kexinit.MACsUp: a.macs, kexinit.MACsDown: a.macs,
	}
}

// algorithms are those of one connection.
type algorithms struct {
	kex, ciphers, macs, hostKeys, users []string
	hostKeysSet                         bool // by ssh_config: their order is not changed
}

// choose takes the lists of ssh_config, as far as package ssh knows what they name.
func choose(word func(key string) string, warn func(string)) algorithms {
	good, old := ssh.SupportedAlgorithms(), ssh.InsecureAlgorithms()
	certs := []string{
		ssh.CertAlgoED25519v01, ssh.CertAlgoECDSA256v01, ssh.CertAlgoECDSA384v01, ssh.CertAlgoECDSA521v01,
		ssh.CertAlgoRSASHA512v01, ssh.CertAlgoRSASHA256v01, ssh.CertAlgoRSAv01,
	}
	one := func(key string, ours, known, silent []string) []string {
		v := word(key)
		if v == "" {
			return ours
		}
		list, unknown := assemble(v, ours, known)
		unknown = slices.DeleteFunc(unknown, func(n string) bool { return slices.Contains(silent, n) })
		if len(unknown) > 0 {
			warn(key + ": not known here: " + strings.Join(unknown, ","))
		}
		if len(list) == 0 {
			warn(key + ": nothing of " + v + " is known here; it is not obeyed")
			return ours
		}
		return list
	}
	return algorithms{
		kex:         one("kexalgorithms", keyExchanges, slices.Concat(good.KeyExchanges, old.KeyExchanges, []string{curve25519Old}), nil),
		ciphers:     one("ciphers", ciphers(), slices.Concat(good.Ciphers, old.Ciphers), nil),
		macs:        one("macs", macs, slices.Concat(good.MACs, old.MACs), nil),
		hostKeys:    one("hostkeyalgorithms", hostKeyAlgorithms, slices.Concat(good.HostKeys, old.HostKeys), certs),
		users:       one("pubkeyacceptedalgorithms", userAlgorithms, slices.Concat(userAlgorithms, []string{ssh.KeyAlgoRSA}), certs),
		hostKeysSet: word("hostkeyalgorithms") != "",
	}
}

// assemble makes a list of what ssh_config says: names, or with '+' behind ours,
// with '-' without those that match, with '^' in front of ours. What is not known
// is returned apart.
func assemble(v string, ours, known []string) (list, unknown []string) {
	how := byte(0)
	if v != "" && strings.IndexByte("+-^", v[0]) >= 0 {
		how, v = v[0], v[1:]
	}
	if how == '-' {
		patterns := strings.Split(v, ",")
		return slices.DeleteFunc(slices.Clone(ours), func(n string) bool { return matchNames(n, patterns) }), nil
	}
	var named []string
	for n := range strings.SplitSeq(v, ",") {
		var fits []string
		for _, k := range known {
			if matchPattern(k, n) {
				fits = append(fits, k)
			}
		}
		if fits == nil {
			unknown = append(unknown, n)
		}
		named = append(named, fits...)
	}
	switch how {
	case '+':
		list = slices.Concat(ours, named)
	case '^':
		list = slices.Concat(named, ours)
	default:
		list = named
	}
	var once []string
	for _, n := range list {
		if !slices.Contains(once, n) {
			once = append(once, n)
		}
	}
	return once, unknown
}
