package certs

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"time"
)

// maxFile is how much of a file is read, in bytes. A chain with its key has 10 KiB.
const maxFile = 1 << 20

// A Why is one cause for which a certificate can't be used.
type Why int

// The causes.
const (
	NoFile        Why = iota + 1 // there is no such file
	Unreadable                   // the file is there and can't be read
	NotPEM                       // no PEM block in the file
	Damaged                      // a block is cut off or does not parse
	Request                      // a certificate request in place of a certificate
	NoCertificate                // a file without a certificate
	NoKey                        // a file without a private key
	Locked                       // the key is protected by a passphrase
	Mismatch                     // key and certificate do not belong together
	Order                        // the key belongs to a later certificate of the file
	Expired                      // the certificate's time is over
	NotYet                       // the certificate's time has not begun
	Exposed                      // others can read the key
)

// An Error says what is wrong with a certificate or its key, and the remedy.
type Error struct {
	File string
	Why  Why
	Text string // what is wrong
	Do   string // what to do about it
	Err  error  // the cause, if there is one below
}

func (e *Error) Error() string {
	s := e.File + ": " + e.Text
	if e.Err != nil {
		s += ": " + cause(e.Err)
	}
	return s + "; " + e.Do
}

func (e *Error) Unwrap() error { return e.Err }

// cause is the text of err without the path, which Error says already.
func cause(err error) string {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		return pathErr.Err.Error()
	}
	return err.Error()
}

// Load reads a certificate with its chain, the server's own first, and the
// private key, both as PEM. One file may hold both: keyFile is then the same
// name or "". Every failure is an *Error. An expired or not yet valid
// certificate comes back together with its error, so that the caller may go on
// with it: a server with a late certificate is of more use than none.
func Load(certFile, keyFile string) (*Certificate, error) {
	return load(certFile, keyFile, time.Now())
}

func load(certFile, keyFile string, now time.Time) (*Certificate, error) {
	if keyFile == "" {
		keyFile = certFile
	}
	certPEM, mode, err := read(certFile)
	if err != nil {
		return nil, err
	}
	keyPEM := certPEM
	if keyFile != certFile {
		if keyPEM, mode, err = read(keyFile); err != nil {
			return nil, err
		}
	}
	c, err := parse(certFile, keyFile, certPEM, keyPEM)
	if err != nil {
		return nil, err
	}
	// Group access stays without a remark: Debian keeps keys for a group.
	if runtime.GOOS != "windows" && mode&0o007 != 0 {
		c.problems = append(c.problems, fmt.Sprintf("the key %s is open to everybody on this machine: chmod o= %s", keyFile, quote(keyFile)))
	}
	return c, c.inTime(certFile, now)
}

// read returns a file and its permission bits, which are those of the file that
// was read and not of one that took its name since.
func read(name string) ([]byte, fs.FileMode, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, 0, unreadable(name, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, 0, unreadable(name, err)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, 0, unreadable(name, err)
	}
	if len(data) > maxFile {
		return nil, 0, &Error{File: name, Why: NotPEM, Text: "more than 1 MiB, which no certificate or key is",
			Do: "check the name of the file"}
	}
	return data, info.Mode().Perm(), nil
}

func unreadable(name string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return &Error{File: name, Why: NoFile, Text: "can't be opened", Err: err, Do: "check the name and the directory"}
	}
	return &Error{File: name, Why: Unreadable, Text: "can't be read", Err: err,
		Do: "let the user that the server runs as read it"}
}

// blocks is what one PEM file holds.
type blocks struct {
	certs   [][]byte
	key     *pem.Block // the first private key
	request bool
	other   bool
	damaged bool // something begins that is no whole block
}

func scan(data []byte) blocks {
	var b blocks
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")) // editors of Windows put it there; it hides the first block
	begun, whole := bytes.Count(data, []byte("-----BEGIN ")), 0
	for {
		block, rest := pem.Decode(data)
		if block == nil {
			b.damaged = begun > whole
			return b
		}
		data = rest
		whole++
		switch {
		case block.Type == "CERTIFICATE":
			b.certs = append(b.certs, block.Bytes)
		case strings.HasSuffix(block.Type, "CERTIFICATE REQUEST"): // NEW CERTIFICATE REQUEST too
			b.request = true
		case strings.HasSuffix(block.Type, "PRIVATE KEY"):
			if b.key == nil {
				b.key = block
			}
		default: // EC PARAMETERS, DH PARAMETERS, a TRUSTED CERTIFICATE
			b.other = true
		}
	}
}

func (b blocks) empty() bool { return len(b.certs) == 0 && b.key == nil && !b.request && !b.other }

// parse makes a Certificate of the contents of two files; the names are for the errors.
func parse(certFile, keyFile string, certPEM, keyPEM []byte) (*Certificate, error) {
	inCert, inKey := scan(certPEM), scan(keyPEM)
	chain, err := parseChain(certFile, inCert)
	if err != nil {
		return nil, err
	}
	key, err := parseKey(keyFile, inKey)
	if err != nil {
		return nil, err
	}
	for i, cert := range chain {
		if !belongs(key, cert) {
			continue
		}
		if i > 0 {
			return nil, &Error{File: certFile, Why: Order,
				Text: fmt.Sprintf("the key belongs to certificate %d of the file, and the first must be the server's own", i+1),
				Do:   "put the server's certificate first and those of the authorities after it"}
		}
		c := &Certificate{Leaf: chain[0], TLS: tls.Certificate{Certificate: inCert.certs, PrivateKey: key, Leaf: chain[0]}}
		c.problems = remarks(chain)
		return c, nil
	}
	return nil, &Error{File: keyFile, Why: Mismatch,
		Text: fmt.Sprintf("the key does not belong to the certificate in %s, issued to %q", certFile, title(chain[0])),
		Do:   "name the key that the request for this certificate was made with, or have a certificate made for this key"}
}

func parseChain(file string, b blocks) ([]*x509.Certificate, error) {
	switch {
	case b.damaged:
		return nil, damaged(file, errors.New("a block begins that does not end"))
	case b.empty():
		return nil, notPEM(file)
	case len(b.certs) == 0 && b.request:
		return nil, &Error{File: file, Why: Request, Text: "a certificate request, not a certificate",
			Do: "send it to the authority and name the certificate that comes back"}
	case len(b.certs) == 0 && b.key != nil:
		return nil, &Error{File: file, Why: NoCertificate, Text: "a private key and no certificate",
			Do: "name the certificate here; maybe the two files are swapped"}
	case len(b.certs) == 0:
		return nil, &Error{File: file, Why: NoCertificate, Text: "no certificate in it",
			Do: "name a file with a block BEGIN CERTIFICATE"}
	}
	chain := make([]*x509.Certificate, len(b.certs))
	for i, der := range b.certs {
		var err error
		if chain[i], err = x509.ParseCertificate(der); err != nil {
			return nil, damaged(file, fmt.Errorf("certificate %d: %w", i+1, err))
		}
	}
	return chain, nil
}

func parseKey(file string, b blocks) (crypto.Signer, error) {
	switch {
	case b.damaged:
		return nil, damaged(file, errors.New("a block begins that does not end"))
	case b.empty():
		return nil, notPEM(file)
	case b.key == nil && len(b.certs) > 0:
		return nil, &Error{File: file, Why: NoKey, Text: "a certificate and no private key",
			Do: "name the key that belongs to it; maybe the two files are swapped"}
	case b.key == nil:
		return nil, &Error{File: file, Why: NoKey, Text: "no private key in it",
			Do: "name a file with a block BEGIN PRIVATE KEY"}
	case b.key.Type == "ENCRYPTED PRIVATE KEY", strings.Contains(b.key.Headers["Proc-Type"], "ENCRYPTED"):
		return nil, &Error{File: file, Why: Locked, Text: "the key is protected by a passphrase, which nobody can type at a start",
			Do: "take it off into a file that only the server can read: openssl pkey -in " + quote(file) + " -out key.pem"}
	case b.key.Type == "OPENSSH PRIVATE KEY":
		return nil, &Error{File: file, Why: NoKey, Text: "a key for SSH, not for TLS",
			Do: "name the key that belongs to the certificate"}
	}
	key, err := anyKey(b.key.Bytes)
	if err != nil {
		return nil, damaged(file, err)
	}
	return key, nil
}

// anyKey reads the three DER forms by trial: the name of the block is often wrong.
func anyKey(der []byte) (crypto.Signer, error) {
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err == nil {
		if s, ok := key.(crypto.Signer); ok {
			return s, nil
		}
		return nil, fmt.Errorf("a key of type %T can't sign", key)
	}
	if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return key, nil
	}
	if key, err := x509.ParseECPrivateKey(der); err == nil {
		return key, nil
	}
	return nil, fmt.Errorf("private key: %w", err)
}

func belongs(key crypto.Signer, cert *x509.Certificate) bool {
	pub, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	return ok && pub.Equal(cert.PublicKey)
}

func damaged(file string, err error) error {
	return &Error{File: file, Why: Damaged, Text: "damaged", Err: err, Do: "copy it again, whole, or have it made again"}
}

func notPEM(file string) error {
	return &Error{File: file, Why: NotPEM, Text: "not a PEM file",
		Do: "convert it: openssl x509 -inform DER for a .der or .cer, openssl pkcs12 -nodes for a .p12 or .pfx"}
}

// inTime is the *Error of a certificate whose time is over or has not begun.
func (c *Certificate) inTime(file string, now time.Time) error {
	const day = "2006-01-02 15:04 MST"
	switch {
	case now.After(c.Leaf.NotAfter):
		return &Error{File: file, Why: Expired, Text: "the certificate expired at " + c.Leaf.NotAfter.UTC().Format(day),
			Do: "renew it, or set the clock if that is wrong"}
	case now.Before(c.Leaf.NotBefore):
		return &Error{File: file, Why: NotYet, Text: "the certificate is valid from " + c.Leaf.NotBefore.UTC().Format(day) + " on",
			Do: "set the clock, which most likely is wrong, or wait"}
	}
	return nil
}

// remarks are the problems that can be seen without asking anybody.
func remarks(chain []*x509.Certificate) []string {
	var out []string
	leaf := chain[0]
	if len(chain) == 1 && !bytes.Equal(leaf.RawIssuer, leaf.RawSubject) {
		out = append(out, fmt.Sprintf("the file has no certificate of its issuer, %s, so clients that do not know that one can't check it: use the file with the whole chain (fullchain.pem)",
			orUnnamed(leaf.Issuer.String())))
	}
	for i := 1; i < len(chain); i++ {
		if !bytes.Equal(chain[i-1].RawIssuer, chain[i].RawSubject) {
			out = append(out, fmt.Sprintf("certificate %d of the file did not issue certificate %d, so some clients can't follow the chain: put each issuer right behind what it issued", i+1, i))
			break
		}
	}
	if len(leaf.DNSNames) == 0 && len(leaf.IPAddresses) == 0 {
		out = append(out, "it names no host and no address, so every client that checks names refuses it: have one made with a subject alternative name")
	}
	if !forServers(leaf) {
		out = append(out, "it is not meant for servers, so clients refuse it: have one made with the extended key usage serverAuth")
	}
	if pub, ok := leaf.PublicKey.(*rsa.PublicKey); ok && pub.N.BitLen() < 2048 {
		out = append(out, fmt.Sprintf("its RSA key has %d bits and clients want 2048: have one made with a new key", pub.N.BitLen()))
	}
	if leaf.SignatureAlgorithm == x509.SHA1WithRSA || leaf.SignatureAlgorithm == x509.ECDSAWithSHA1 {
		out = append(out, "it is signed with SHA-1, which clients refuse: have it issued again")
	}
	return out
}

// forServers follows RFC 5280, 4.2.1.12: no extended key usage means all of them.
func forServers(leaf *x509.Certificate) bool {
	if len(leaf.ExtKeyUsage) == 0 && len(leaf.UnknownExtKeyUsage) == 0 {
		return true
	}
	for _, u := range leaf.ExtKeyUsage {
		if u == x509.ExtKeyUsageServerAuth || u == x509.ExtKeyUsageAny {
			return true
		}
	}
	return false
}

// title is how people call a certificate.
func title(cert *x509.Certificate) string {
	if len(cert.DNSNames) > 0 {
		return cert.DNSNames[0]
	}
	return orUnnamed(cert.Subject.String())
}

func orUnnamed(s string) string {
	if s == "" {
		return "(no name)"
	}
	return s
}

// quote makes a path safe to paste into a shell.
func quote(path string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+:@", r)
	}
	if path != "" && strings.IndexFunc(path, func(r rune) bool { return !plain(r) }) < 0 {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}
