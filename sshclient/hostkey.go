package sshclient

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/crypto/ssh"

	"dray/fault"
)

// A judge decides about the host key of one connection.
type judge struct {
	o     Options
	s     *Settings
	jump  bool
	known []KnownKey // all that is on file for the host on its port
	bare  []KnownKey // and for the host on port 22, when the port is another
}

func newJudge(o Options, s *Settings, jump bool) (*judge, error) {
	j := &judge{o: o, s: s, jump: jump}
	name, port := s.keyName()
	var err error
	if j.known, err = Known(s.KnownHosts, name, port); err != nil {
		return nil, err
	}
	if port != 22 {
		if j.bare, err = Known(s.KnownHosts, name, 22); err != nil {
			return nil, err
		}
	}
	return j, nil
}

// certOf are the kinds of certificates that hold a kind of key.
var certOf = map[string]string{
	ssh.KeyAlgoED25519: ssh.CertAlgoED25519v01, ssh.KeyAlgoECDSA256: ssh.CertAlgoECDSA256v01, ssh.KeyAlgoECDSA384: ssh.CertAlgoECDSA384v01,
	ssh.KeyAlgoECDSA521: ssh.CertAlgoECDSA521v01, ssh.KeyAlgoRSASHA512: ssh.CertAlgoRSASHA512v01, ssh.KeyAlgoRSASHA256: ssh.CertAlgoRSASHA256v01,
}

// algorithms are those of host keys, what is on file first: a server with several
// keys then shows the one that is known. Certificates are asked for where an
// authority is.
func (j *judge) algorithms() []string {
	list := j.s.algorithms.hostKeys
	if j.s.algorithms.hostKeysSet {
		return list
	}
	var first, rest, certs []string
	hasKind := func(algo string) bool {
		kind := algo
		if algo == ssh.KeyAlgoRSASHA256 || algo == ssh.KeyAlgoRSASHA512 {
			kind = ssh.KeyAlgoRSA
		}
		return slices.ContainsFunc(slices.Concat(j.known, j.bare), func(k KnownKey) bool { return k.Marker == "" && k.Key.Type() == kind })
	}
	ca := len(j.o.Pins) == 0 && slices.ContainsFunc(j.known, func(k KnownKey) bool { return k.Marker == MarkCA })
	for _, a := range list {
		if hasKind(a) {
			first = append(first, a)
		} else {
			rest = append(rest, a)
		}
		if c := certOf[a]; ca && c != "" {
			certs = append(certs, c)
		}
	}
	return slices.Concat(certs, first, rest)
}

// check is asked once, before anything secret is sent. nil means that the key is
// the host's; Ask may take as long as a human takes.
func (j *judge) check(ctx context.Context, remote net.Addr, key ssh.PublicKey) error {
	name, port := j.s.keyName()
	shown := HostName(name, port)
	cert, _ := key.(*ssh.Certificate)
	plain := key
	if cert != nil {
		plain = cert.Key
	}
	for _, k := range slices.Concat(j.known, j.bare) {
		if k.Marker == MarkRevoked && (same(k.Key, plain) || cert != nil && same(k.Key, cert.SignatureKey)) {
			if j.o.Insecure && !j.jump {
				break
			}
			return fault.Because(errors.New("host key "+fingerprint(plain)), fault.Untrusted, fault.IDHostKeyGone, name, k.Where())
		}
	}
	if len(j.o.Pins) > 0 && !j.jump {
		for _, pin := range j.o.Pins {
			if samePin(pin, plain) {
				j.o.trace("host key", fingerprint(plain)+", as it was given")
				return nil
			}
		}
		if !j.o.Insecure {
			e := fault.Because(fmt.Errorf("none of the fingerprints given (%s)", strings.Join(j.o.Pins, ", ")),
				fault.Untrusted, fault.IDHostKeyOther, name, fingerprint(plain), "the fingerprint that was given")
			return e
		}
	}
	var why error // what was wrong with a certificate
	if cert != nil {
		k, err := j.vouched(cert, name)
		if err == nil {
			j.o.trace("host key", fingerprint(plain)+", vouched for by "+k.Where())
			return nil
		}
		why = err
		j.o.trace("host key", "certificate not taken: "+err.Error())
	}
	var kind, other *KnownKey // on file with another key of this kind, or of another
	for i, k := range j.known {
		switch {
		case k.Marker != "":
		case same(k.Key, plain):
			j.o.trace("host key", fingerprint(plain)+", as in "+k.Where())
			return nil
		case k.Key.Type() == plain.Type():
			if kind == nil {
				kind = &j.known[i]
			}
		case other == nil:
			other = &j.known[i]
		}
	}
	for _, k := range j.bare { // as OpenSSH: a key of the host counts on all of its ports
		if k.Marker == "" && same(k.Key, plain) {
			j.o.trace("host key", fingerprint(plain)+", as in "+k.Where())
			return nil
		}
	}
	if j.o.Insecure && !j.jump {
		j.o.trace("host key", fingerprint(plain)+", not checked")
		return nil
	}
	// What is on file was asked for first, so a server that shows a key of another
	// kind does not have it any more.
	if kind == nil && !j.s.algorithms.hostKeysSet {
		kind = other
	}
	if kind != nil {
		e := fault.Because(errors.Join(fmt.Errorf("on file: %s", kind.Fingerprint()), why), fault.Untrusted, fault.IDHostKeyOther,
			name, fingerprint(plain), kind.Where())
		e.Do = []string{
			"Ask the administrator of the server whether its key was changed. Only if it was, and the fingerprint is the same:",
			"dray trust " + TrustName(name, port, 22) + " " + ssh.FingerprintSHA256(plain) + " --replace",
		}
		return e
	}
	unknown := fault.Because(why, fault.Untrusted, fault.IDHostKeyNew, name, fingerprint(plain))
	unknown.Do = []string{
		"Compare the fingerprint with what the administrator of the server says, then:",
		"dray trust " + TrustName(name, port, 22) + " " + ssh.FingerprintSHA256(plain),
	}
	file := ""
	if len(j.s.KnownHosts) > 0 {
		file = j.s.KnownHosts[0]
	}
	remember := func() {
		if err := Remember(file, name, port, plain, Remembering{Hash: j.s.HashNames}); err != nil {
			j.o.trace("host key", "not remembered: "+reason(err))
			return
		}
		j.o.trace("host key", "remembered in "+file)
	}
	switch {
	case j.s.Strict == StrictNew:
		j.o.trace("host key", fingerprint(plain)+", accepted because it is the first")
		remember()
		return nil
	case j.s.Strict == StrictYes || j.o.Ask == nil:
		return unknown
	}
	answer, err := j.o.Ask(ctx, HostKey{
		Host: name, Port: port, Fingerprint: fingerprint(plain), Key: plain, File: file, Jump: j.jump, Remote: remote,
	})
	switch {
	case err != nil:
		return fmt.Errorf("host key of %s: %w", shown, err)
	case answer == Yes:
		remember()
	case answer != Once:
		return unknown
	}
	j.o.trace("host key", fingerprint(plain)+", accepted on request")
	return nil
}

// vouched says which authority on file vouches for a certificate.
func (j *judge) vouched(cert *ssh.Certificate, name string) (by KnownKey, err error) {
	found := false
	checker := ssh.CertChecker{
		IsHostAuthority: func(auth ssh.PublicKey, _ string) bool {
			for _, k := range j.known {
				if k.Marker == MarkCA && same(k.Key, auth) {
					by, found = k, true
					return true
				}
			}
			return false
		},
	}
	if cert.CertType != ssh.HostCert {
		return by, errors.New("it is none of a host")
	}
	if err := checker.CheckHostKey(net.JoinHostPort(name, "22"), nil, cert); err != nil {
		if !found {
			return by, errors.New("nobody on file vouches for it")
		}
		return by, errors.New(strings.TrimPrefix(err.Error(), "ssh: "))
	}
	return by, nil
}

func same(a, b ssh.PublicKey) bool {
	return a != nil && b != nil && bytes.Equal(a.Marshal(), b.Marshal())
}

// samePin compares a fingerprint that somebody typed: "SHA256:…", with or without
// the kind of the key in front and the padding behind.
func samePin(pin string, key ssh.PublicKey) bool {
	if f := strings.Fields(pin); len(f) > 0 {
		pin = f[len(f)-1]
	}
	if len(pin) > 7 && strings.EqualFold(pin[:7], "SHA256:") {
		pin = "SHA256:" + pin[7:]
	}
	return strings.TrimRight(pin, "=") == ssh.FingerprintSHA256(key)
}

// TrustName is HOST[:PORT] as dray trust takes it, without the usual port, and in quotes
// where a shell would take its brackets for a pattern.
func TrustName(host string, port, usual int) string {
	if port != usual {
		host = net.JoinHostPort(host, strconv.Itoa(port))
	}
	if strings.HasPrefix(host, "[") {
		return "'" + host + "'"
	}
	return host
}
