package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/crypto/ssh"
)

// hostKeyBits is the length of an RSA host key that is made here.
const hostKeyBits = 3072

// hostKinds are the host keys that are made, the best first; for clients that know
// none of the first the others are there.
var hostKinds = []struct {
	file string // the name that OpenSSH gives it
	make func() (crypto.PrivateKey, error)
}{
	{"ssh_host_ed25519_key", func() (crypto.PrivateKey, error) {
		_, k, err := ed25519.GenerateKey(rand.Reader)
		return k, err
	}},
	{"ssh_host_ecdsa_key", func() (crypto.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }},
	{"ssh_host_rsa_key", func() (crypto.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, hostKeyBits) }},
}

// HostKeys are the SSH host keys in dir, one of each kind, made where they are
// missing. Whoever can read them can be the server: they are files of 0600, and others
// are refused.
func HostKeys(dir string) ([]ssh.Signer, error) {
	var all []ssh.Signer
	for _, kind := range hostKinds {
		file := filepath.Join(dir, kind.file)
		s, err := LoadHostKey(file)
		if errors.Is(err, fs.ErrNotExist) {
			if err = makeHostKey(file, kind.make); err == nil {
				s, err = LoadHostKey(file)
			}
		}
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

func makeHostKey(file string, gen func() (crypto.PrivateKey, error)) error {
	k, err := gen()
	if err != nil {
		return err
	}
	block, err := ssh.MarshalPrivateKey(k, "dray")
	if err != nil {
		return err
	}
	return write(file, pem.EncodeToMemory(block), func(temp string) error {
		// Another server may have made one meanwhile, and told it to a client.
		if err := os.Link(temp, file); err != nil && !errors.Is(err, fs.ErrExist) {
			return os.Rename(temp, file) // a file system without links
		}
		return nil
	})
}

// LoadHostKey reads a private key as OpenSSH keeps its host keys. One that others than
// its owner have access to, one with a passphrase, a DSA key and an RSA key below 2048
// bits are refused.
func LoadHostKey(file string) (ssh.Signer, error) {
	b, mode, err := read(file)
	if err != nil {
		return nil, err
	}
	// OpenSSH takes a key that a group may read when it belongs to somebody else.
	if runtime.GOOS != "windows" && mode&0o077 != 0 {
		return nil, &Error{File: file, Why: Exposed,
			Text: fmt.Sprintf("is a host key, and others than its owner have access to it (mode %04o)", mode),
			Do:   "chmod 600 " + quote(file) + ", as a file of the user that the server becomes; make another one if somebody may have read it"}
	}
	s, err := ssh.ParsePrivateKey(b)
	var locked *ssh.PassphraseMissingError
	switch {
	case errors.As(err, &locked):
		return nil, fmt.Errorf("%s has a passphrase, and a server can't type one: make one without (ssh-keygen -p -f %s)", file, file)
	case err != nil:
		return nil, fmt.Errorf("%s is no private key that SSH knows: %w", file, err)
	}
	switch pub := s.PublicKey(); pub.Type() {
	case "ssh-dss": // ssh.InsecureKeyAlgoDSA is deprecated
		return nil, fmt.Errorf("%s is a DSA key, which no client should trust: name an ed25519 key", file)
	case ssh.KeyAlgoRSA:
		if k, ok := pub.(ssh.CryptoPublicKey).CryptoPublicKey().(*rsa.PublicKey); ok && k.N.BitLen() < 2048 {
			return nil, fmt.Errorf("%s is an RSA key of %d bits, which is too short: name one of 3072, or an ed25519 key", file, k.N.BitLen())
		}
	}
	return s, nil
}
