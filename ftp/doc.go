// Package ftp is the wire vocabulary of FTP: command lines, replies, address
// forms, facts, listing lines, times, quoting and name patterns. It turns bytes
// into values and back.
//
// It opens no sockets, touches no files and knows no users. Every parser in it
// has a limit and a fuzz test, because the other end of a wire is hostile; every
// writer keeps one line one line, whatever a name holds.
//
//   - RFC 854  Telnet, as far as a control connection carries it
//   - RFC 959  File Transfer Protocol
//   - RFC 1123 section 4.1, what hosts must do about it
//   - RFC 2228 FTP Security Extensions
//   - RFC 2389 FEAT and OPTS
//   - RFC 2428 EPRT and EPSV
//   - RFC 3659 SIZE, MDTM, REST STREAM, MLST, MLSD
//   - RFC 4217 FTP over TLS
//   - RFC 7151 HOST
package ftp

import "errors"

// What the parsers of this package return. They return these values themselves,
// without details: a peer knows what it wrote.
var (
	ErrSyntax      = errors.New("argument does not parse")
	ErrUnsupported = errors.New("parameter is not supported")
	ErrFamily      = errors.New("address family is not supported")
)
