package certs

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// SelfSignedFile is the name, inside the state directory, of the file that
// holds the self-signed certificate and its key. One file, so that no crash and
// no second process can leave a certificate beside another's key.
const SelfSignedFile = "certificate.pem"

// PublicFile is the name, beside SelfSignedFile, of the certificate alone: the
// copy to give to clients.
const PublicFile = "certificate.crt"

// maker stands as organization in what SelfSigned makes: only such a
// certificate is ever replaced without asking.
const maker = "dray"

// years of validity. Nobody checks a self-signed certificate but by its
// fingerprint, and each renewal would ask every user again.
const years = 10

// SelfSigned returns the certificate in dir, and makes it first where there is
// none: ECDSA P-256, valid from a day before now for ten years, for the names
// and addresses given (an address among the names counts as one), or for
// localhost when there are none. dir is created
// with mode 0700 when it is missing, the file has mode 0600. Processes that
// start at once agree on one certificate.
//
// A certificate that this function made and that has expired is replaced; Note
// says so, as it says when one was made, and when the one found lacks one of
// the names. Anything else that is wrong with the file is an *Error: it is the
// operator's to remove.
func SelfSigned(dir string, names []string, ips []netip.Addr, now time.Time) (*Certificate, error) {
	file := filepath.Join(dir, SelfSignedFile)
	c, err := reuse(file, names, now)
	var e *Error
	switch {
	case err == nil:
		return c, nil
	case errors.As(err, &e) && e.Why == NoFile:
		return create(file, names, ips, now)
	case errors.As(err, &e) && e.Why == Expired && c.ours():
		return replace(file, c, names, ips, now)
	case errors.As(err, &e) && e.Why != Exposed && e.Why != Unreadable:
		e.Do = "remove the file to have a new certificate made, or put a good one with its key there"
	}
	return nil, fmt.Errorf("self-signed certificate: %w", err)
}

// WritePublic puts the certificate without its key into dir as PublicFile, where
// it is not there already, and returns the name of the file.
func (c *Certificate) WritePublic(dir string) (string, error) {
	file := filepath.Join(dir, PublicFile)
	var data []byte
	for _, der := range c.TLS.Certificate {
		data = append(data, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	if old, err := os.ReadFile(file); err == nil && bytes.Equal(old, data) {
		return file, nil
	}
	return file, write(file, data, func(temp string) error {
		return errors.Join(os.Chmod(temp, 0o644), os.Rename(temp, file))
	})
}

// reuse loads what an earlier start left. The certificate comes with the error
// when it has expired.
func reuse(file string, names []string, now time.Time) (*Certificate, error) {
	data, mode, err := read(file)
	if err != nil {
		return nil, err
	}
	if runtime.GOOS != "windows" && mode&0o077 != 0 {
		return nil, &Error{File: file, Why: Exposed,
			Text: fmt.Sprintf("holds the private key and others have access to it (mode %04o)", mode),
			Do:   "chmod 600 " + quote(file) + ", or remove it to have a new one made if somebody may have read it"}
	}
	c, err := parse(file, file, data, data)
	if err != nil {
		return nil, err
	}
	err = c.inTime(file, now)
	var e *Error
	if errors.As(err, &e) && e.Why == NotYet {
		// A machine without a clock of its own starts in the past. A new
		// certificate now would have to be replaced in a minute.
		c.Note, err = e.Error(), nil
	}
	if lacks := slices.DeleteFunc(slices.Clone(names), c.covers); err == nil && c.Note == "" && len(lacks) > 0 {
		c.Note = fmt.Sprintf("%s: the certificate does not name %s; remove the file to have a new one made",
			file, strings.Join(lacks, ", "))
	}
	return c, err
}

// ours reports whether SelfSigned made c.
func (c *Certificate) ours() bool {
	return len(c.TLS.Certificate) == 1 && bytes.Equal(c.Leaf.RawIssuer, c.Leaf.RawSubject) &&
		slices.Equal(c.Leaf.Subject.Organization, []string{maker})
}

func create(file string, names []string, ips []netip.Addr, now time.Time) (*Certificate, error) {
	return makeAs(file, "made a self-signed certificate", names, ips, now, func(temp string) error {
		err := os.Link(temp, file) // never over another's
		if err == nil || errors.Is(err, fs.ErrExist) {
			return err
		}
		return os.Rename(temp, file) // a file system without hard links
	})
}

// replace puts a new certificate over the expired one. Of several processes
// that do so in the same moment the last one stays; each holds a matching pair.
func replace(file string, old *Certificate, names []string, ips []netip.Addr, now time.Time) (*Certificate, error) {
	note := fmt.Sprintf("replaced the self-signed certificate that expired at %s; clients will ask about the new one",
		old.Leaf.NotAfter.UTC().Format("2006-01-02"))
	return makeAs(file, note, names, ips, now, func(temp string) error { return os.Rename(temp, file) })
}

// makeAs makes a certificate, has it published under its name, and returns what
// is there then: another process may have been quicker.
func makeAs(file, note string, names []string, ips []netip.Addr, now time.Time, publish func(temp string) error) (*Certificate, error) {
	data, err := generate(names, ips, now)
	if err == nil {
		err = write(file, data, publish)
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("make self-signed certificate: %w", err)
	}
	first := err == nil
	c, err := reuse(file, names, now)
	if err != nil {
		return nil, fmt.Errorf("self-signed certificate: %w", err)
	}
	if first {
		c.Note = fmt.Sprintf("%s: %s, valid until %s", file, note, c.Leaf.NotAfter.UTC().Format("2006-01-02"))
	}
	return c, nil
}

// generate returns key and certificate as one PEM text.
func generate(names []string, ips []netip.Addr, now time.Time) ([]byte, error) {
	if len(names) == 0 && len(ips) == 0 {
		names = []string{"localhost"}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	start := now.Add(-24 * time.Hour) // for clients whose clock is slow
	cert := &x509.Certificate{
		Subject:               pkix.Name{CommonName: commonName(names, ips), Organization: []string{maker}},
		NotBefore:             start,
		NotAfter:              start.AddDate(years, 0, 0),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true, // and no CA: some clients refuse the certificate of an authority as a server's
	}
	for _, name := range names {
		if ip, err := netip.ParseAddr(name); err == nil {
			ips = append(slices.Clip(ips), ip)
			continue
		}
		cert.DNSNames = append(cert.DNSNames, name)
	}
	for _, ip := range ips {
		cert.IPAddresses = append(cert.IPAddresses, ip.Unmap().WithZone("").AsSlice())
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	if err != nil {
		return nil, err
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	for _, name := range names { // the library encodes, and finds again, what no client could ask for
		if made.VerifyHostname(name) != nil || slices.Contains(made.DNSNames, name) && strings.ContainsAny(name, " ,;/:@") {
			return nil, fmt.Errorf("%q is not a host name", name)
		}
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})...), nil
}

// commonName is the first name. RFC 5280, appendix A.1 allows 64 characters in
// it, and a host name may be longer: that one is among the alternative names only.
func commonName(names []string, ips []netip.Addr) string {
	switch {
	case len(names) == 0:
		return ips[0].Unmap().String()
	case len(names[0]) > 64:
		return maker
	}
	return names[0]
}

// write has data on the disk, complete, before publish gives it its name.
func write(file string, data []byte, publish func(temp string) error) error {
	dir := filepath.Dir(file)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, "."+filepath.Base(file)+"-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone already when publish renamed it
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := publish(f.Name()); err != nil {
		return err
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	if runtime.GOOS == "windows" { // no such thing there
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
