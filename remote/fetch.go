package remote

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"dray/fault"
)

const (
	maxReplyLine  = 4096
	maxReplyLines = 200
)

// Fetch gets the chain of certificates that a server has, its own first,
// without trusting it and without a login: over TLS from the first byte with
// the scheme FTPS, else behind AUTH TLS. ctx ends all of it.
func Fetch(ctx context.Context, u URL, dial DialFunc) ([]*x509.Certificate, error) {
	if !u.Scheme.IsFTP() {
		return nil, errors.New("SFTP has host keys and no certificates")
	}
	began := time.Now()
	nc, err := dial(ctx, "tcp", u.Address())
	if err != nil {
		if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.DeadlineExceeded) {
			return nil, cause
		}
		if e := fault.Unreached(err, u.Host, u.PortNumber(), time.Since(began)); e != nil {
			return nil, e
		}
		return nil, fault.Because(err, fault.Unreachable, fault.IDLost, u.Host)
	}
	defer func() { _ = nc.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = nc.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	chain, err := fetch(ctx, u, nc)
	if err != nil && ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return chain, err
}

func fetch(ctx context.Context, u URL, nc net.Conn) ([]*x509.Certificate, error) {
	if u.Scheme != FTPS {
		if err := authTLS(u, nc); err != nil {
			return nil, err
		}
	}
	var chain []*x509.Certificate
	err := tls.Client(nc, &tls.Config{
		ServerName:         strings.TrimSuffix(u.Host, "."),
		MinVersion:         tls.VersionTLS10,
		CipherSuites:       oldSuites(),
		InsecureSkipVerify: true, // to be looked at, by whoever asked
		VerifyConnection: func(cs tls.ConnectionState) error {
			chain = cs.PeerCertificates
			return nil
		},
	}).HandshakeContext(ctx)
	if len(chain) > 0 { // also where the server then wants one of ours
		return chain, nil
	}
	if err == nil {
		err = errors.New("no certificate")
	}
	var first tls.RecordHeaderError
	if errors.As(err, &first) && u.Scheme == FTPS {
		if speaks := spoken(first.RecordHeader[:]); speaks != "" {
			return nil, fault.Because(err, fault.Unreachable, fault.IDWrongProto, u.Host, speaks, u.PortNumber(), "FTP over implicit TLS")
		}
	}
	return nil, fault.Because(err, fault.Untrusted, fault.IDTLSFailed, u.Host)
}

// spoken says what a server speaks by its first bytes; "" for nothing known.
func spoken(first []byte) string {
	switch s := string(first); {
	case strings.HasPrefix(s, "220"), strings.HasPrefix(s, "120"), strings.HasPrefix(s, "421"):
		return "FTP"
	case strings.HasPrefix(s, "SSH-"):
		return "SSH"
	case strings.HasPrefix(s, "HTTP"):
		return "HTTP"
	}
	return ""
}

// A refusal is what a server said instead of doing it.
type refusal string

func (r refusal) Error() string { return "the server says: " + string(r) }

// Said returns the server's words.
func (r refusal) Said() string { return string(r) }

// authTLS gets to where a handshake begins (RFC 4217, 4).
func authTLS(u URL, nc net.Conn) error {
	code, text, err := readReply(nc)
	for tries := 0; err == nil && code == 120 && tries < 3; tries++ { // RFC 959, 5.4: ready in some minutes
		code, text, err = readReply(nc)
	}
	switch {
	case errors.Is(err, errNoReply):
		if speaks := spoken([]byte(text)); speaks != "" && speaks != "FTP" {
			return fault.Because(err, fault.Unreachable, fault.IDWrongProto, u.Host, speaks, u.PortNumber(), "FTP")
		}
		return fault.Because(err, fault.Unreachable, fault.IDBadReply, u.Host, "FTP")
	case err != nil:
		return fault.Because(err, fault.Unreachable, fault.IDLost, u.Host)
	case code == 421:
		return fault.Because(refusal(text), fault.Busy, fault.IDBusy, u.Host)
	case code != 220:
		return fault.Because(refusal(text), fault.Denied, fault.IDServerSaysNo, "the connection")
	}
	if _, err = io.WriteString(nc, "AUTH TLS\r\n"); err == nil {
		code, text, err = readReply(nc)
	}
	switch {
	case errors.Is(err, errNoReply):
		return fault.Because(err, fault.Unreachable, fault.IDBadReply, u.Host, "FTP")
	case err != nil:
		return fault.Because(err, fault.Unreachable, fault.IDLost, u.Host)
	case code != 234:
		return fault.Because(refusal(text), fault.Untrusted, fault.IDTLSMissing, u.Host)
	}
	return nil
}

var errNoReply = errors.New("no reply of FTP")

// readReply reads one reply (RFC 959, 4.2), byte by byte, because TLS may follow
// it. text is its first line, clean.
func readReply(r io.Reader) (code int, text string, err error) {
	line := func() (string, error) {
		var b []byte
		var one [1]byte
		for len(b) < maxReplyLine {
			if _, err := io.ReadFull(r, one[:]); err != nil {
				if len(b) > 0 && errors.Is(err, io.EOF) {
					err = io.ErrUnexpectedEOF
				}
				return string(b), err
			}
			if one[0] == '\n' {
				return strings.TrimSuffix(string(b), "\r"), nil
			}
			if b = append(b, one[0]); len(b) == 4 && string(b) == "SSH-" {
				return string(b), nil // it would wait for us
			}
		}
		return string(b), errNoReply
	}
	first, err := line()
	text = clean(first)
	if err != nil {
		return 0, text, err
	}
	if len(first) < 3 || strings.Trim(first[:3], "0123456789") != "" || first[0] == '0' || len(first) > 3 && first[3] != ' ' && first[3] != '-' {
		return 0, text, errNoReply
	}
	if code, err = strconv.Atoi(first[:3]); err != nil {
		return 0, text, errNoReply
	}
	if len(first) == 3 || first[3] == ' ' {
		return code, text, nil
	}
	for range maxReplyLines {
		next, err := line()
		if err != nil {
			return 0, text, err
		}
		if strings.HasPrefix(next, first[:3]+" ") || next == first[:3] {
			return code, text, nil
		}
	}
	return 0, text, errNoReply
}
