package remote

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"dray/certs"
	"dray/fault"
	"dray/sshclient"
)

// A TrustMode says who vouches for a server's certificate.
type TrustMode string

// The modes. A certificate that was stored for the host is good in CA and TOFU.
const (
	TrustCA       TrustMode = "ca"       // a certificate authority; else what Ask says. Also the zero value
	TrustTOFU     TrustMode = "tofu"     // what was met first is stored, without a question
	TrustPin      TrustMode = "pin"      // the fingerprints of Pins and nothing else
	TrustInsecure TrustMode = "insecure" // anybody; the caller warns
)

// ParseTrustMode reads the word of --trust; "" is TrustCA.
func ParseTrustMode(s string) (TrustMode, error) {
	switch m := TrustMode(s); m {
	case "":
		return TrustCA, nil
	case TrustCA, TrustTOFU, TrustPin, TrustInsecure:
		return m, nil
	}
	return "", errors.New("trust is ca, tofu, pin or insecure")
}

// A CertQuestion is what somebody decides on when nobody vouches for a
// certificate.
type CertQuestion struct {
	Host  string
	Port  int
	Chain []*x509.Certificate // as the server sends it, its own first
	Key   certs.Fingerprint   // certs.KeyPrint of the first
	Why   *fault.Error        // what is wrong, and what follows when the answer is no
}

// An Answer is what somebody says to a CertQuestion.
type Answer int

// The answers.
const (
	AnswerNo     Answer = iota
	AnswerOnce          // as long as the Trust is used
	AnswerAlways        // and stored
)

// Trust decides whom to trust over TLS. One Trust is used for all connections
// of a program, so that somebody is asked once; it must not be copied after its
// first use, and is safe for concurrent use.
type Trust struct {
	Mode       TrustMode
	CAFile     string // PEM; "": the system's authorities
	ClientCert string // PEM files, both or neither
	ClientKey  string // "": the key is in ClientCert
	MinVersion uint16 // 0: TLS 1.2
	MaxVersion uint16 // 0: the newest
	// Pins are fingerprints of which the server has to have one, whatever else
	// is right or wrong with its certificate: of its public key or of the
	// certificate itself.
	Pins  []certs.Fingerprint
	Store *CertStore // nil: nothing is stored
	// Ask is nil where nobody can be asked. It is called in the middle of a
	// handshake, by one connection at a time; a server that loses patience
	// meanwhile is not asked about again at the next connection.
	Ask func(context.Context, CertQuestion) (Answer, error)
	Now func() time.Time // nil: time.Now

	mu     sync.Mutex
	once   map[string]certs.Fingerprint // host:port of AnswerOnce
	asking chan struct{}                // holds one token while somebody is asked
	roots  *x509.CertPool               // nil: the system's, unless a test sets it
}

// ParseTLSVersion reads the value of --tls-min or --tls-max; "" is 0.
func ParseTLSVersion(s string) (uint16, error) {
	switch s {
	case "":
		return 0, nil
	case "1.2":
		return tls.VersionTLS12, nil
	case "1.3":
		return tls.VersionTLS13, nil
	case "1.1":
		return tls.VersionTLS11, nil
	case "1.0":
		return tls.VersionTLS10, nil
	}
	return 0, fmt.Errorf("%q is no version of TLS: it is 1.2 or 1.3, for old servers also 1.0 or 1.1", s)
}

// Config is the configuration for one control connection and its data
// connections: they share its cache of sessions, which servers ask for. A
// certificate that is not trusted ends the handshake with a *fault.Error of the
// kind Untrusted, on a resumed session too. ctx ends a question that waits. An
// error is one of files or settings.
func (t *Trust) Config(ctx context.Context, host string, port int) (*tls.Config, error) {
	roots := t.roots
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read the certificates of --ca: %w", err)
		}
		roots = x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s has no certificate in PEM form", t.CAFile)
		}
	}
	if t.Mode == TrustPin && len(t.Pins) == 0 {
		return nil, errors.New("trust is pin, and no fingerprint was given: write ;fingerprint=SHA256:… behind the URL")
	}
	name := strings.TrimSuffix(host, ".")
	config := &tls.Config{
		// A name, always: without one the key of the cache has the port in it,
		// and no data connection resumes.
		ServerName:         name,
		MinVersion:         t.MinVersion,
		MaxVersion:         t.MaxVersion,
		ClientSessionCache: tls.NewLRUClientSessionCache(4),
		// VerifyConnection does it all, so that each failure has its name.
		InsecureSkipVerify: true,
		VerifyConnection: func(cs tls.ConnectionState) error {
			return t.verify(ctx, host, port, roots, cs.PeerCertificates)
		},
	}
	if config.MinVersion == 0 {
		config.MinVersion = tls.VersionTLS12
	}
	if config.MinVersion < tls.VersionTLS12 {
		config.CipherSuites = oldSuites()
	}
	if t.ClientCert != "" {
		key := t.ClientKey
		if key == "" {
			key = t.ClientCert
		}
		pair, err := tls.LoadX509KeyPair(t.ClientCert, key)
		if err != nil {
			return nil, fmt.Errorf("read the client certificate: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	} else if t.ClientKey != "" {
		return nil, errors.New("a key of a client certificate without the certificate")
	}
	return config, nil
}

// oldSuites are what servers that know no TLS 1.2 have, behind what is good.
func oldSuites() []uint16 {
	var ids []uint16
	for _, s := range tls.CipherSuites() {
		ids = append(ids, s.ID)
	}
	return append(ids, tls.TLS_RSA_WITH_AES_128_CBC_SHA, tls.TLS_RSA_WITH_AES_256_CBC_SHA)
}

// verify is Trust's judgement of a chain; nil: it is trusted.
func (t *Trust) verify(ctx context.Context, host string, port int, roots *x509.CertPool, chain []*x509.Certificate) error {
	if len(chain) == 0 {
		return fault.New(fault.Untrusted, fault.IDTLSFailed, host)
	}
	leaf, key := chain[0], certs.KeyPrint(chain[0])
	if t.Mode == TrustInsecure && len(t.Pins) == 0 {
		return nil
	}
	if len(t.Pins) > 0 {
		if slices.ContainsFunc(t.Pins, func(f certs.Fingerprint) bool { return f.Has(leaf) }) {
			return nil
		}
		return &fault.Error{Kind: fault.Untrusted, ID: fault.IDCertPin, Facts: []any{host, key.String()}, Do: []string{
			"If the server got another key on purpose, ask its administrator for the fingerprint and give that.",
		}}
	}
	stored, known := t.Store.Find(host, port)
	if known && stored.Key == key {
		return nil
	}
	now := time.Now()
	if t.Now != nil {
		now = t.Now()
	}
	why := judge(host, port, roots, chain, now)
	if why == nil {
		return nil
	}
	address := sshclient.TrustName(host, port, 21)
	if known {
		return &fault.Error{Kind: fault.Untrusted, ID: fault.IDCertChanged, Facts: []any{host, stored.Day()}, Err: why, Do: []string{
			fmt.Sprintf("Stored: %v; now it has: %v.", stored.Key, key),
			"Ask the administrator of the server whether its certificate was replaced, and compare the fingerprint. Only then: `dray trust " + address + " " + key.String() + " --replace`",
		}}
	}
	return t.decide(ctx, CertQuestion{Host: host, Port: port, Chain: chain, Key: key, Why: why})
}

// decide is what happens with a certificate that nobody vouches for and that
// was never met.
func (t *Trust) decide(ctx context.Context, q CertQuestion) error {
	t.mu.Lock()
	if t.asking == nil {
		t.asking = make(chan struct{}, 1)
		t.once = map[string]certs.Fingerprint{}
	}
	t.mu.Unlock()
	select { // one question at a time: the answer may be that of the next connection too
	case t.asking <- struct{}{}:
		defer func() { <-t.asking }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	address := net.JoinHostPort(q.Host, strconv.Itoa(q.Port))
	if key, ok := t.once[address]; ok && key == q.Key {
		return nil
	}
	if stored, known := t.Store.Find(q.Host, q.Port); known && stored.Key == q.Key {
		return nil
	}
	answer := AnswerNo
	switch {
	case t.Mode == TrustTOFU:
		answer = AnswerAlways
	case t.Ask != nil:
		var err error
		if answer, err = t.Ask(ctx, q); err != nil {
			return err
		}
	}
	if answer == AnswerNo {
		return q.Why
	}
	t.once[address] = q.Key
	if answer == AnswerAlways && t.Store != nil {
		if err := t.Store.Remember(q.Host, q.Port, q.Key); err != nil {
			return fmt.Errorf("store the certificate of %s: %w", q.Host, err)
		}
	}
	return nil
}

// A StoredCert is a line of a CertStore.
type StoredCert struct {
	Address string // host:port, an IPv6 address in brackets
	Key     certs.Fingerprint
	Since   time.Time // the day when it was stored
}

// Day is when it was stored, for a sentence.
func (c StoredCert) Day() string { return day(c.Since) }

// day writes a date for a sentence.
func day(t time.Time) string { return t.Format("2 Jan 2006") }

const (
	maxCerts    = 4 << 20 // bytes of the file
	maxCertLine = 600
)

// A CertStore is the file of certificates that somebody has said to trust: a
// line each of host:port, the fingerprint of the public key and the day. A
// later line wins. Several processes may use it; what one of them adds, the
// others see at once. A nil *CertStore is empty.
type CertStore struct{ file string }

// NewCertStore uses the file, which need not be there.
func NewCertStore(file string) *CertStore { return &CertStore{file} }

// Find returns what is stored for the host. A file that can't be read stores
// nothing; List tells why.
func (s *CertStore) Find(host string, port int) (StoredCert, bool) {
	all, _, _ := s.List()
	address := storedAddress(host, port)
	for _, c := range all {
		if c.Address == address {
			return c, true
		}
	}
	return StoredCert{}, false
}

func storedAddress(host string, port int) string {
	return net.JoinHostPort(lower(strings.TrimSuffix(host, ".")), strconv.Itoa(port))
}

// List returns what is stored, in the order of the file, and a sentence for each
// line that can't be read. A missing file is empty.
func (s *CertStore) List() (certs []StoredCert, damaged []string, err error) {
	if s == nil {
		return nil, nil, nil
	}
	text, err := readBounded(s.file, maxCerts)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	at := map[string]int{}
	n := 0
	for line := range bytes.Lines(text) {
		n++
		trimmed := strings.TrimSpace(string(line))
		if trimmed == "" || trimmed[0] == '#' {
			continue
		}
		c, err := parseCertLine(trimmed)
		if err != nil {
			damaged = append(damaged, fmt.Sprintf("%s:%d: %v", s.file, n, err))
			continue
		}
		if i, ok := at[c.Address]; ok {
			certs[i] = c
			continue
		}
		at[c.Address] = len(certs)
		certs = append(certs, c)
	}
	return certs, damaged, nil
}

func (c StoredCert) line() string {
	return c.Address + " " + c.Key.String() + " " + c.Since.UTC().Format(time.DateOnly) + "\n"
}

// parseCertLine reads a line without its end.
func parseCertLine(s string) (c StoredCert, err error) {
	fields := strings.Fields(s)
	if len(s) > maxCertLine || len(fields) != 3 {
		return c, errors.New("not three words: host:port, fingerprint, day")
	}
	host, port, err := net.SplitHostPort(fields[0])
	n, bad := strconv.ParseUint(port, 10, 16)
	if err != nil || bad != nil || strings.Trim(host, ".") == "" {
		return c, errors.New("the first word is not host:port")
	}
	c.Address = storedAddress(host, int(n))
	if c.Key, err = certs.ParseFingerprint(fields[1]); err != nil {
		return c, err
	}
	if c.Since, err = time.Parse(time.DateOnly, fields[2]); err != nil {
		return c, errors.New("the third word is no day like 2026-11-21")
	}
	return c, nil
}

// Remember stores the fingerprint of a public key for the host, in place of
// what was stored before.
func (s *CertStore) Remember(host string, port int, key certs.Fingerprint) error {
	c := StoredCert{Address: storedAddress(host, port), Key: key, Since: time.Now()}
	if len(c.line()) > maxCertLine || strings.ContainsAny(c.Address, " \t\r\n") {
		return errors.New("the name of the host is too long, or has a space")
	}
	return withLock(s.file, func() error {
		f, err := os.OpenFile(s.file, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
		if err != nil {
			return err
		}
		// After a line that somebody's editor left without an end.
		line := c.line()
		if text, err := readBounded(s.file, maxCerts); err == nil && len(text) > 0 && text[len(text)-1] != '\n' {
			line = "\n" + line
		}
		_, err = f.WriteString(line)
		return errors.Join(err, f.Close())
	})
}

// Forget removes what is stored for the host, and tells whether there was any.
// Damaged lines and comments stay.
func (s *CertStore) Forget(host string, port int) (found bool, err error) {
	address := storedAddress(host, port)
	err = withLock(s.file, func() error {
		text, err := readBounded(s.file, maxCerts)
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		var kept []byte
		for line := range bytes.Lines(text) {
			if c, err := parseCertLine(strings.TrimSpace(string(line))); err == nil && c.Address == address {
				found = true
				continue
			}
			kept = append(kept, line...)
		}
		if !found {
			return nil
		}
		return writeWhole(s.file, kept)
	})
	return found && err == nil, err
}
