package certs

import (
	"crypto/tls"
	"errors"
	"strings"
	"sync/atomic"
)

// A Set is the certificates of one server, to be picked from by host name. It is
// safe for concurrent use, and can be exchanged while handshakes run.
type Set struct {
	certs atomic.Pointer[[]*Certificate]
}

// NewSet makes a Set; first is for clients that name no host or an unknown one.
// Where several certificates name the same host, an earlier one is preferred, as
// long as the client can use its kind of key.
func NewSet(first *Certificate, more ...*Certificate) *Set {
	s := new(Set)
	s.Swap(first, more...)
	return s
}

// Swap replaces all certificates at once. Handshakes that begin afterwards use
// the new ones; connections that are open keep what they have.
func (s *Set) Swap(first *Certificate, more ...*Certificate) {
	all := append([]*Certificate{first}, more...)
	s.certs.Store(&all)
}

func (s *Set) all() []*Certificate {
	if p := s.certs.Load(); p != nil {
		return *p
	}
	return nil
}

// For returns the first certificate that covers name, nil when none does: a host
// name, which a wildcard covers too, an IPv4 address, or an IPv6 address with or
// without brackets. Those are the forms of HOST (RFC 7151, 3.1).
func (s *Set) For(name string) *Certificate {
	if name == "" || strings.Contains(name, "*") { // a pattern covers itself and is no host
		return nil
	}
	for _, c := range s.all() {
		if c.covers(name) {
			return c
		}
	}
	return nil
}

// Has reports whether one of the certificates covers name, in the forms of For.
func (s *Set) Has(name string) bool { return s.For(name) != nil }

// GetCertificate picks by the name that the client asks for (RFC 6066, 3) and
// by the keys that it can use. No name, or one that no certificate covers, is
// answered with the first: FTP clients often connect by address. Only a zero
// Set has an error.
func (s *Set) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	all := s.all()
	if len(all) == 0 {
		return nil, errors.New("certs: no certificate")
	}
	if len(all) == 1 {
		return &all[0].TLS, nil
	}
	var fit []*Certificate
	if hello.ServerName != "" {
		for _, c := range all {
			if c.covers(hello.ServerName) {
				fit = append(fit, c)
			}
		}
	}
	ask := hello
	if len(fit) == 0 {
		fit = all
		unnamed := *hello // SupportsCertificate compares the name, which fits none of them
		unnamed.ServerName = ""
		ask = &unnamed
	}
	for _, c := range fit {
		if ask.SupportsCertificate(&c.TLS) == nil {
			return &c.TLS, nil
		}
	}
	return &fit[0].TLS, nil // the handshake fails, with the library's reason
}

// ServerConfig is the TLS side of a server: versions 1.2 and 1.3, for 1.2 the
// suites with forward secrecy and AEAD only (RFC 9325, 4.2), certificates from
// set at each handshake. The caller may change the config before its first use.
//
// ALPN: a client that offers nothing, or "ftp" or "x-filezilla-ftp" among
// others, is accepted. One that offers only foreign protocols, "h2" say, ends
// with the alert no_application_protocol (RFC 7301, 3.2): it is a browser that
// somebody redirected here to have it talk to the wrong server.
func ServerConfig(set *Set) *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: set.GetCertificate,
		NextProtos:     []string{"ftp", "x-filezilla-ftp"},
		CipherSuites: []uint16{ // 1.2 only; the library puts them in order
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
			tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		},
	}
}
